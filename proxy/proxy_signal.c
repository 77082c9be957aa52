/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_signal: see the header.
 *
 * Happy path: signal_requested -> (mail) signal_mail -> obey -> (mail) signal_done_mail ->
 * core_signalled. With a timeout: obey -> signals_tick, until the server has forgotten the session.
 */
#include "proxy_signal.h"

#include <stdlib.h>

#include "proxy_cancel.h"
#include "proxy_cancel_key.h"
#include "proxy_log.h"
#include "router_signal.h"

enum { LOST_MS = 5000 }; /* an answer that has not come by then will not come */

/* A client that waits for an answer. */
struct signal_ask {
    TAILQ_ENTRY(signal_ask) link;
    struct client *client;
    uint64_t serial;
    uint64_t until_ns;
};

/* A session was ended; who asked for it waits until its server has forgotten it. */
struct signal_wait {
    TAILQ_ENTRY(signal_wait) link;
    const struct pool *pool;
    uint64_t server; /* its id */
    uint64_t until_ns;
    struct signal_ticket ticket;
};

/* ---- who asks ---- */

static const char *name_of(const struct client *c)
{
    return c->user != NULL ? c->user : ((const struct group *)c->core.group)->user;
}

/* A name that only a database's own auth_query has vouched for is nobody's admin. */
static bool is_admin(const struct client *c)
{
    const struct config *config = c->worker->config;
    const struct group *g = (const struct group *)c->core.group;
    const char *name = name_of(c);
    return config_list_has(config->switchgear.admin_users, name) &&
           (config_user_find(config, name) != NULL ||
            config->databases[g->database].auth_user[0] == '\0');
}

static void tell(struct worker *w, const struct signal_ticket *ticket, enum core_signal answer)
{
    struct mail_signal_done *mail = malloc(sizeof(*mail));
    if (mail == NULL)
        return; /* signals_tick() ends its wait */
    *mail = (struct mail_signal_done){{MAIL_SIGNAL_DONE}, *ticket, (uint8_t)answer};
    if (!worker_post(w->proxy, ticket->worker, &mail->mail))
        free(mail);
}

static bool post(struct client *c, const struct core_signal_wish *wish,
                 const struct signal_ticket *ticket)
{
    struct worker *w = c->worker;
    const struct cancel_name name = cancel_name_read(wish->pid, w->proxy->workers_count);
    if (name.instance != w->config->switchgear.instance_id ||
        name.worker >= w->proxy->workers_count)
        return false;
    struct mail_signal *mail = malloc(sizeof(*mail));
    if (mail == NULL)
        return false;
    *mail = (struct mail_signal){.mail = {MAIL_SIGNAL},
                                 .wish = *wish,
                                 .slot = name.slot,
                                 .ticket = *ticket,
                                 .is_admin = is_admin(c),
                                 .shard = c->core.group->database->shard};
    (void)snprintf(mail->user, sizeof(mail->user), "%s", name_of(c));
    if (worker_post(w->proxy, name.worker, &mail->mail))
        return true;
    free(mail);
    return false;
}

void signal_requested(struct client *c, const struct core_signal_wish *wish, uint64_t now_ns)
{
    struct worker *w = c->worker;
    struct signal_ask *ask = malloc(sizeof(*ask));
    if (ask == NULL)
        abort();
    const uint64_t timeout_ms = wish->timeout_ms < UINT32_MAX ? wish->timeout_ms : UINT32_MAX;
    *ask = (struct signal_ask){.client = c,
                               .serial = ++w->signals_serial,
                               .until_ns = now_ns + (timeout_ms + LOST_MS) * UINT64_C(1000000)};
    TAILQ_INSERT_TAIL(&w->signals, ask, link);
    const struct signal_ticket ticket = {.worker = w->index, .serial = ask->serial};
    if (!post(c, wish, &ticket))
        tell(w, &ticket, CORE_SIGNAL_NOBODY);
}

static void ask_end(struct signal_ask *ask)
{
    TAILQ_REMOVE(&ask->client->worker->signals, ask, link);
    free(ask);
}

void signal_forget(struct client *c)
{
    struct signal_ask *ask;
    TAILQ_FOREACH (ask, &c->worker->signals, link)
        if (ask->client == c) {
            ask_end(ask);
            return;
        }
}

static void answered(struct signal_ask *ask, enum core_signal answer)
{
    struct client *c = ask->client;
    const uint64_t now_ns = uv_hrtime();
    ask_end(ask);
    worker_apply(c->worker, c, core_signalled(&c->core, answer, now_ns), now_ns);
}

void signal_done_mail(struct worker *w, const struct mail_signal_done *mail)
{
    struct signal_ask *ask;
    TAILQ_FOREACH (ask, &w->signals, link)
        if (ask->serial == mail->ticket.serial) {
            answered(ask, (enum core_signal)mail->answer);
            return;
        }
}

/* ---- who is meant ---- */

/* NULL: there is no such session, as far as this user can know. */
static struct client *meant(const struct worker *w, const struct mail_signal *mail)
{
    struct client *c = cancel_key_slot(w, mail->slot);
    if (c == NULL || c->closing || c->core.cancel_pid != mail->wish.pid || c->core.group == NULL ||
        (c->core.phase != CORE_QUERY && c->core.phase != CORE_LINKED))
        return NULL;
    const bool elsewhere = c->core.group->database->shard != mail->shard;
    return elsewhere && !mail->is_admin ? NULL : c; /* another cluster, with roles of its own */
}

/* Does the server still do something for the session that it had? */
static bool is_left(const struct pool *pool, uint64_t server)
{
    const struct server *v;
    TAILQ_FOREACH (v, &pool->others, link)
        if (v->id == server)
            return v->state == SERVER_DRAINING || v->state == SERVER_RESETTING;
    return false;
}

static void end(struct worker *w, struct client *c, const struct mail_signal *mail)
{
    const struct server *v = c->core.backend != NULL ? c->core.backend->shell : NULL;
    const struct pool *pool = v != NULL ? v->pool : NULL;
    const uint64_t id = v != NULL ? v->id : 0;
    client_terminate(c);
    struct signal_wait *wait = NULL;
    if (mail->wish.timeout_ms > 0 && pool != NULL && is_left(pool, id))
        wait = malloc(sizeof(*wait));
    if (wait == NULL) {
        tell(w, &mail->ticket, CORE_SIGNAL_DONE);
        return;
    }
    const uint64_t timeout_ms =
        mail->wish.timeout_ms < UINT32_MAX ? mail->wish.timeout_ms : UINT32_MAX;
    *wait = (struct signal_wait){.pool = pool,
                                 .server = id,
                                 .until_ns = uv_hrtime() + timeout_ms * UINT64_C(1000000),
                                 .ticket = mail->ticket};
    TAILQ_INSERT_TAIL(&w->signal_waits, wait, link);
}

void signal_mail(struct worker *w, const struct mail_signal *mail)
{
    struct client *c = meant(w, mail);
    if (c == NULL) {
        tell(w, &mail->ticket, CORE_SIGNAL_NOBODY);
        return;
    }
    const bool ends = mail->wish.kind == ROUTER_SIGNAL_TERMINATE;
    const bool may = mail->is_admin || strcmp(name_of(c), mail->user) == 0;
    log_info("client_signal", "client=%llu by=\"%s\" what=%s allowed=%d",
             (unsigned long long)c->core.id, mail->user, ends ? "terminate" : "cancel", may);
    if (!may) {
        tell(w, &mail->ticket, CORE_SIGNAL_DENIED);
    } else if (ends) {
        end(w, c, mail);
    } else {
        cancel_client(w, c);
        tell(w, &mail->ticket, CORE_SIGNAL_DONE);
    }
}

void signals_tick(struct worker *w, uint64_t now_ns)
{
    struct signal_wait *wait;
    struct signal_wait *next;
    TAILQ_EACH_SAFE (wait, &w->signal_waits, link, next) {
        const bool left = is_left(wait->pool, wait->server);
        if (left && now_ns < wait->until_ns)
            continue;
        tell(w, &wait->ticket, left ? CORE_SIGNAL_LATE : CORE_SIGNAL_DONE);
        TAILQ_REMOVE(&w->signal_waits, wait, link);
        free(wait);
    }
    struct signal_ask *ask = TAILQ_FIRST(&w->signals);
    while (ask != NULL && ask->until_ns > now_ns)
        ask = TAILQ_NEXT(ask, link);
    if (ask != NULL)
        answered(ask, CORE_SIGNAL_NOBODY); /* one a tick: a step may change the list */
}

void signals_drop(struct worker *w)
{
    struct signal_wait *wait;
    assert(TAILQ_EMPTY(&w->signals));
    while ((wait = TAILQ_FIRST(&w->signal_waits)) != NULL) {
        TAILQ_REMOVE(&w->signal_waits, wait, link);
        free(wait);
    }
}
