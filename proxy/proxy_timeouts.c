/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_timeouts: clients that take too long: to log in, over a statement or a transaction, or to
 * say something at all. Looked at every tenth of the shortest limit, at each tick at most. And
 * those who say half a batch: it begins without its end (core_unended()), by a timer of its own.
 */
#include "proxy_client_io.h"
#include "proxy_log.h"
#include "proxy_worker.h"

enum {
    LOOK_RARELY_MS = 1000, /* with no limit, and at the latest */
    UNANSWERED_MS = 5000,  /* a cancelled statement that still runs ends its client */
    CANCEL_AGAIN_MS = 1000,
    FLUSH_MS = 10000, /* a last message that is not taken */
    PAUSE_MS = 10,    /* silence behind a batch that has no end */
};

static bool is_over(uint64_t since_ns, uint64_t limit_ns, uint64_t now_ns)
{
    return limit_ns != 0 && now_ns > since_ns && now_ns - since_ns > limit_ns;
}

/* Its FATAL is written; what it leaves behind is taken care of by core_client_gone(). */
static void end(struct worker *w, struct client *c, enum timeout_kind kind, const char *sqlstate,
                const char *message)
{
    const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = sqlstate, .message = message};
    shared_add(&w->stats.timeouts[kind], 1);
    log_info("client_timeout", "client=%llu reason=\"%s\"", (unsigned long long)c->core.id,
             message);
    client_end(c, &error);
    if (!c->closing && !c->close_after_flush)
        client_close(c, message);
}

static void look_at_logins(struct worker *w, uint64_t now_ns)
{
    const uint64_t limit_ns = w->config->switchgear.client_login_timeout_ns;
    struct client *c;
    struct client *next;
    TAILQ_EACH_SAFE (c, &w->logins, link, next) {
        if (!is_over(c->accepted_ns, limit_ns, now_ns))
            break; /* oldest first */
        if (!c->close_after_flush)
            end(w, c, TIMEOUT_CLIENT_LOGIN, "57014",
                "canceling authentication due to client_login_timeout");
        else if (is_over(c->accepted_ns, limit_ns + FLUSH_MS * UINT64_C(1000000), now_ns))
            client_close(c, "its last message was not taken");
    }
}

/* The statement is cancelled and fails; its client stays, as with PostgreSQL's statement_timeout.
 * A server that does not even answer the cancel ends the client. */
static void end_statement(struct worker *w, struct client *c, uint64_t since_ns, uint64_t now_ns)
{
    const struct config_switchgear *o = &w->config->switchgear;
    struct server *v = c->core.backend->shell;
    const uint64_t late_ns = now_ns - since_ns - o->query_timeout_ns;
    if (late_ns > UNANSWERED_MS * UINT64_C(1000000)) {
        end(w, c, TIMEOUT_QUERY, "57014",
            "terminating connection due to query_timeout: the server did not answer the cancel");
        return;
    }
    if (!c->core.timed_out) {
        shared_add(&w->stats.timeouts[TIMEOUT_QUERY], 1);
        core_timed_out(&c->core);
        server_cancel(v);
    } else if (late_ns > CANCEL_AGAIN_MS * UINT64_C(1000000)) {
        server_cancel(v);
    }
}

static void look_at(struct worker *w, struct client *c, uint64_t now_ns)
{
    const struct config_switchgear *o = &w->config->switchgear;
    const struct core_session *s = &c->core;
    if (c->close_after_flush) {
        if (c->flushing_since_ns == 0)
            c->flushing_since_ns = now_ns;
        else if (is_over(c->flushing_since_ns, FLUSH_MS * UINT64_C(1000000), now_ns))
            client_close(c, "its last message was not taken");
        return;
    }
    if (c->server_stopped && s->backend != NULL &&
        is_over(c->took_ns, o->client_write_timeout_ns, now_ns)) {
        end(w, c, TIMEOUT_CLIENT_WRITE, "57P01",
            "terminating connection: the client has taken nothing for client_write_timeout");
        client_close(c, "client_write_timeout"); /* it would not take its last message either */
        return;
    }
    if (s->waiting || s->phase != CORE_QUERY)
        return; /* query_wait_timeout is the pool's */
    const uint64_t began_ns = c->block_since_ns != 0 ? c->block_since_ns : s->sent_ns;
    const bool in_transaction = s->block != CORE_NO_BLOCK || s->unsynced;
    if ((s->in_flight || c->block_since_ns != 0) &&
        is_over(began_ns, o->transaction_timeout_ns, now_ns)) {
        end(w, c, TIMEOUT_TRANSACTION, "25P04",
            "terminating connection due to transaction timeout (transaction_timeout)");
        return;
    }
    if (s->in_flight) {
        const uint64_t since_ns = s->sent_ns > s->progress_ns ? s->sent_ns : s->progress_ns;
        if (is_over(since_ns, o->query_timeout_ns, now_ns) && s->backend != NULL)
            end_statement(w, c, since_ns, now_ns);
        return;
    }
    if (s->client_pending > 0 || s->preflight || s->emitting || s->signal == CORE_SIGNAL_ASKED)
        return; /* it is the client's turn to take, or ours */
    if (in_transaction && is_over(c->quiet_since_ns, o->idle_transaction_timeout_ns, now_ns))
        end(w, c, TIMEOUT_IDLE_TRANSACTION, "25P03",
            "terminating connection due to idle-in-transaction timeout (idle_transaction_timeout)");
    else if (!in_transaction && is_over(c->quiet_since_ns, o->client_idle_timeout_ns, now_ns))
        end(w, c, TIMEOUT_CLIENT_IDLE, "57P05",
            "terminating connection due to idle-session timeout (client_idle_timeout)");
}

static uint64_t interval_ns(const struct config_switchgear *o)
{
    const uint64_t limits[] = {o->client_idle_timeout_ns, o->idle_transaction_timeout_ns,
                               o->transaction_timeout_ns, o->query_timeout_ns,
                               o->client_write_timeout_ns};
    uint64_t shortest_ns = LOOK_RARELY_MS * UINT64_C(10000000);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        if (limits[i] != 0 && limits[i] < shortest_ns)
            shortest_ns = limits[i];
    return shortest_ns / 10;
}

void clients_tick(struct worker *w, uint64_t now_ns)
{
    struct client *c;
    struct client *next;
    look_at_logins(w, now_ns);
    if (now_ns - w->timeouts_looked_ns < interval_ns(&w->config->switchgear))
        return;
    w->timeouts_looked_ns = now_ns;
    TAILQ_EACH_SAFE (c, &w->clients, link, next) { /* closing one takes that one out, no other */
        client_io_rest(c, now_ns);
        if (!c->closing)
            look_at(w, c, now_ns);
    }
}

/* ---- batches without an end ---- */

static void on_pause(uv_timer_t *timer);

static void unended_add(struct client *c, uint64_t now_ns)
{
    struct worker *w = c->worker;
    c->is_unended = true;
    c->unended_until_ns = now_ns + PAUSE_MS * UINT64_C(1000000);
    TAILQ_INSERT_TAIL(&w->unended, c, pause);
    if (!uv_is_active((uv_handle_t *)&w->pause))
        (void)uv_timer_start(&w->pause, on_pause, PAUSE_MS, 0);
}

void client_unended(struct client *c, uint64_t now_ns)
{
    if (!c->is_unended && !c->closing)
        unended_add(c, now_ns);
}

void client_forget_unended(struct client *c)
{
    if (c->is_unended)
        TAILQ_REMOVE(&c->worker->unended, c, pause);
    c->is_unended = false;
}

static void on_pause(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    const uint64_t now_ns = uv_hrtime();
    struct client *c;
    worker_topology_refresh(w);
    while ((c = TAILQ_FIRST(&w->unended)) != NULL && c->unended_until_ns <= now_ns) {
        client_forget_unended(c);
        if (c->quiet_since_ns + PAUSE_MS * UINT64_C(1000000) > now_ns)
            unended_add(c, now_ns); /* more has come: it may go on */
        else
            worker_apply(w, c, core_unended(&c->core, now_ns), now_ns);
    }
    if (c != NULL)
        (void)uv_timer_start(&w->pause, on_pause,
                             (c->unended_until_ns - now_ns) / UINT64_C(1000000) + 1, 0);
}
