/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_apply: the one place where the session core's wishes are executed: bytes are written,
 * backends released or closed, clients queued, cancels passed on, outcomes reported.
 */
#include <stdlib.h>

#include "proxy_auth.h"
#include "proxy_cancel.h"
#include "proxy_client_io.h"
#include "proxy_log.h"
#include "proxy_preface.h"
#include "proxy_signal.h"
#include "proxy_worker.h"

/* ---- executing what a step asked for ---- */

/* Of the name that a client has logged in with, which may be another one than its pool's: FNV-1a.
 */
static uint64_t login_of(const struct client *c, const struct core_actions *a)
{
    if (c == NULL || c->user == NULL || a->outcome.suspicion == BREAKER_SUSPICION_NONE)
        return a->outcome_who;
    uint32_t h = 2166136261u; /* as core_hash(), whose values it is compared with */
    for (const char *p = c->user; *p != '\0'; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    return h;
}

static void outcome_of(struct worker *w, const struct client *c, const struct core_actions *a)
{
    struct outcome_record record = {.node = a->outcome_node,
                                    .input = (uint8_t)a->outcome.input,
                                    .reason = (uint8_t)a->outcome.reason,
                                    .suspicion = a->outcome.suspicion,
                                    .probe_now = a->outcome.probe_now,
                                    .page = a->outcome.page,
                                    .alert = a->outcome.alert,
                                    .generation = a->outcome_generation,
                                    .who = a->outcome_who,
                                    .login = login_of(c, a),
                                    .what = a->outcome_what};
    if (a->backend != NULL && a->backend->trial && a->backend->node == a->outcome_node) {
        record.permit = true;
        a->backend->trial = false;
    }
    worker_outcome(w, &record);
}

static void log_misfit(struct worker *w, const struct client *c, const struct core_actions *a)
{
    const uint8_t type = a->misfit;
    const struct group *g = c != NULL ? (const struct group *)c->core.group : NULL;
    log_warning("no_protocol", "node=%s user=\"%s\" expected=\"%s\" got=\"%c\" code=%u",
                w->proxy->node_names[a->outcome_node], g != NULL ? g->user : "", a->misfit_expected,
                type > ' ' && type < 127 && type != '"' ? type : '?', type);
}

static void count_ended(struct worker *w, struct client *c, const struct core_actions *a,
                        uint64_t now_ns)
{
    struct group *g = (struct group *)c->core.group;
    const struct core_session *s = &c->core;
    if (a->latency_ns == 0 && s->block == CORE_NO_BLOCK && !s->in_flight && !s->waiting)
        c->block_since_ns = 0; /* the block has ended, and no server was asked */
    if (g == NULL || a->latency_ns == 0)
        return;
    struct stats_database *d = &w->database_stats[g->database];
    const bool replica = a->backend != NULL && a->backend->is_replica;
    shared_add(&d->queries, 1);
    shared_add(&d->query_ns, a->latency_ns);
    c->quiet_since_ns = now_ns;
    if (c->block_since_ns == 0)
        c->block_since_ns = c->core.sent_ns;
    if (c->core.block == CORE_NO_BLOCK) {
        shared_add(&d->transactions, 1);
        shared_add(&d->transaction_ns, now_ns - c->block_since_ns);
        c->block_since_ns = 0;
    }
    histogram_observe(&d->latency[replica ? 1 : 0], a->latency_ns);
}

static void note_pin(struct worker *w, struct client *c)
{
    if (c->pin_seen == c->core.pin)
        return;
    client_forget_pin(c);
    c->pin_seen = c->core.pin;
    if (c->pin_seen != 0) {
        shared_add(&w->stats.pins[c->pin_seen], 1);
        shared_add(&w->stats.pinned_now[c->pin_seen], 1);
        shared_add(&w->stats.pinned, 1);
    }
}

/* Backends: close, or back to the pool. */
static void apply_backend(struct worker *w, const struct core_actions *a, uint64_t now_ns)
{
    struct core_backend *b = a->backend;
    if (b == NULL || (a->close_backend == CORE_KEEP && !a->release && !a->drain))
        return;
    struct server *v = b->shell;
    if (b->trial) { /* nothing came of its permit */
        const struct outcome_record record = {
            .node = b->node, .input = BREAKER_NEUTRAL, .permit = true, .generation = b->generation};
        b->trial = false;
        worker_outcome(w, &record);
    }
    if (a->close_backend != CORE_KEEP) {
        if (a->cancel_backend)
            server_cancel(v); /* nobody waits for its result any more */
        server_close(v, "broken or in use when its client left");
    } else if (a->drain) {
        server_drain(v, a->cancel_backend, now_ns);
    } else {
        pool_release(w, v, now_ns);
    }
}

/* What a step of a log-in asked for. */
struct login_wish {
    bool start_tls, user, proven, link;
};

/* False: nothing. */
static bool login_goes_on(struct worker *w, struct client *c, const struct login_wish *wish,
                          uint64_t now_ns)
{
    if (wish->start_tls) {
        if (c->out != NULL || !client_io_start_tls(c, (struct proto_span){0}))
            client_close(c, "no TLS");
    } else if (wish->user && c->lacks_header) {
        preface_refuse(c);
    } else if (wish->user) {
        if (!c->counted)
            ck_pr_inc_64(&w->proxy->client_count);
        c->counted = true;
        auth_login(c, now_ns);
    } else if (wish->proven) {
        auth_proven(c, now_ns);
    } else if (wish->link) {
        replication_open(w, c, now_ns);
    } else {
        return false;
    }
    return true;
}

/* One round; what comes next is returned, or NULL. */
static struct core_actions *apply_once(struct worker *w, struct client *c, struct core_actions *a,
                                       uint64_t now_ns)
{
    if (a->server.size > 0 && a->backend != NULL && a->close_backend == CORE_KEEP)
        server_write(a->backend->shell, &a->server);
    if (a->client.size > 0 && c != NULL)
        client_write(c, &a->client);
    if (a->login_failed && c != NULL)
        auth_failed(c, a->login_sqlstate);
    if (a->misfit != 0)
        log_misfit(w, c, a);
    if (a->has_outcome)
        outcome_of(w, c, a);
    if (a->probe)
        worker_want_probe(w);
    if (a->moves_database.size > 0)
        pools_make_way(w, a->moves_database, now_ns);
    if (c != NULL) {
        count_ended(w, c, a, now_ns);
        note_pin(w, c);
    }
    /* the actions are the worker's only ones: keep what is needed before the next step */
    const bool want = a->want, again = a->again, again_server = a->again_server;
    const bool settle = a->settle, tired = a->tired;
    struct core_backend *b = a->backend;
    const bool kept = b != NULL && a->close_backend == CORE_KEEP && !a->release && !a->drain;
    const uint8_t close_client = a->close_client;
    if (a->cancel_want && c != NULL)
        pool_forget_waiter(c);
    if (a->login_done)
        client_logged_in(c);
    if (a->unended && c != NULL)
        client_unended(c, now_ns);
    const struct login_wish login = {.start_tls = a->start_tls,
                                     .user = a->login_want_user,
                                     .proven = a->login_proven,
                                     .link = a->want_link};
    const bool cancels = a->cancel_request;
    if (a->signal && c != NULL)
        signal_requested(c, &a->wish, now_ns);
    apply_backend(w, a, now_ns);
    if (cancels)
        cancel_requested(c); /* a step of another client's: `a` is its from here on */
    if (c == NULL)
        return again_server && kept ? core_server_data(b, (struct proto_span){0}, now_ns) : NULL;
    if (c->closing)
        return NULL;
    if (login_goes_on(w, c, &login, now_ns))
        return NULL;
    if (close_client == CORE_CLOSE_NOW) {
        client_close(c, "ended");
        return NULL;
    }
    if (close_client == CORE_CLOSE_AFTER_FLUSH) {
        client_close_after_flush(c);
        return NULL;
    }
    if (want) {
        pool_want(w, c, now_ns);
        return NULL;
    }
    if (tired) {
        client_later(c);
        return NULL;
    }
    if (again_server && kept)
        return core_server_data(b, (struct proto_span){0}, now_ns);
    if (again && c->core.client_pending < WORKER_OUT_HIGH)
        return core_resume(&c->core, now_ns);
    if (settle && client_is_spooled(c))
        return core_client_drained(&c->core, now_ns);
    return NULL;
}

void worker_apply(struct worker *w, struct client *c, struct core_actions *a, uint64_t now_ns)
{
    while (a != NULL)
        a = apply_once(w, c, a, now_ns);
    if (c == NULL)
        return;
    if (c->lingers && !c->closing && !core_client_lingers(&c->core))
        client_close(c, "what it sent before its goodbye is on its way");
    client_events_update(c);
}
