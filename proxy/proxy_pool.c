/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_pool: one pool per (database, user, node), over all workers. Each worker has its own idle
 * list (last in, first out) and its own waiters (first in, first out); the number of connections
 * is one budget that all share; connections move to the worker whose waiter is older.
 *
 * No lost wake-up: a worker publishes its waiter, then (full fence) looks at what others have idle;
 * a worker publishes what is idle, then (full fence) looks at the others' waiters.
 */
#include <stdlib.h>

#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_pool_internal.h"

enum { BACKOFF_NS = 50000000, BACKOFF_MAX = 6, NO_DATABASE_NS = 200000000 };

const struct config_database *pool_section(const struct group *g)
{
    return &g->worker->config->databases[g->database];
}

uint32_t pool_workers(const struct worker *w)
{
    return w->proxy->workers_count;
}

struct shared_pool_worker *pool_mine(const struct pool *pool)
{
    return &pool->shared->workers[pool->group->worker->index];
}

void pool_init(struct pool *pool, struct group *g, uint8_t node)
{
    pool->group = g;
    pool->node = node;
    pool->shared = shared_pool_get(g->worker->proxy, g->database, g->client_database, g->dbname,
                                   g->server_user, node);
    TAILQ_INIT(&pool->idle);
    TAILQ_INIT(&pool->others);
}

void pool_mark_dirty(struct group *g)
{
    if (g->dirty)
        return;
    g->dirty = true;
    TAILQ_INSERT_TAIL(&g->worker->dirty, g, dirty_link);
}

void pool_publish_gauges(struct pool *pool)
{
    struct shared_pool_worker *m = pool_mine(pool);
    shared_set(&m->idle, pool->idle_count);
    shared_set(&m->active, pool->active_count);
    shared_set(&m->opening, pool->opening_count + pool->warming_count);
    shared_set(&m->tested, pool->resetting_count);
}

/* Every move between the lists goes through here: the counts follow the state. */
static uint32_t *count_of(struct pool *pool, uint8_t state)
{
    switch ((enum server_state)state) {
    case SERVER_RESOLVING:
    case SERVER_CONNECTING:
        return &pool->opening_count;
    case SERVER_WARMING:
        return &pool->warming_count;
    case SERVER_IDLE:
        return &pool->idle_count;
    case SERVER_RESETTING:
        return &pool->resetting_count;
    case SERVER_ACTIVE:
    case SERVER_DRAINING:
    case SERVER_CLOSING:
        break;
    }
    return &pool->active_count;
}

void pool_move(struct server *v, enum server_state state, uint64_t now_ns)
{
    struct pool *pool = v->pool;
    TAILQ_REMOVE(v->state == SERVER_IDLE ? &pool->idle : &pool->others, v, link);
    (*count_of(pool, v->state))--;
    v->state = (uint8_t)state;
    v->since_ns = now_ns;
    (*count_of(pool, v->state))++;
    if (state == SERVER_IDLE)
        TAILQ_INSERT_HEAD(&pool->idle, v, link);
    else
        TAILQ_INSERT_TAIL(&pool->others, v, link);
    pool_publish_gauges(pool);
}
/* ---- the budget ---- */

bool pool_open_one(struct pool *pool, uint64_t since_ns, uint64_t now_ns)
{
    const struct config_database *d = pool_section(pool->group);
    const uint64_t reserve_ns = pool->group->worker->config->switchgear.reserve_pool_timeout_ns;
    const bool too_long = since_ns != 0 && now_ns > since_ns && now_ns - since_ns >= reserve_ns;
    const uint64_t size = d->pool_size + (too_long ? d->reserve_pool_size : 0);
    if (!limits_take(pool, size, since_ns, now_ns))
        return false;
    server_open(pool, now_ns);
    return true;
}

/* ---- connections come and go ---- */

bool pool_is_vouched_for(const struct worker *w, const struct server *v)
{
    const struct router_node *node = &w->topology.nodes[v->pool->node];
    return !v->core.is_replica || node->evidence_ns >= v->core.opened_ns;
}

void pool_opened(struct server *v, uint64_t now_ns)
{
    struct worker *w = v->worker;
    struct pool *pool = v->pool;
    if (pool_is_mislabelled(w, v)) { /* the probes will see it too: not before the next look */
        server_close(v, "its role is not what the probes saw");
        pool_open_failed(pool, "", "the server's role has just changed", now_ns);
        worker_want_probe(w);
        return;
    }
    if (!pool_is_vouched_for(w, v)) {
        /* a restarted replica may accept us at an older point than the evidence knows */
        pool_move(v, SERVER_WARMING, now_ns);
        worker_want_probe(w);
        return;
    }
    pool_move(v, SERVER_ACTIVE, now_ns);
    pool_release(w, v, now_ns);
}

/* In any worker. */
bool pool_has_connections(const struct pool *pool)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < pool_workers(pool->group->worker); i++) {
        const struct shared_pool_worker *m = &pool->shared->workers[i];
        count += shared_load(&m->active) + shared_load(&m->idle) + shared_load(&m->tested) +
                 shared_load(&m->incoming);
    }
    return count > 0;
}

/* The server said no to this user or database. */
static bool is_for_good(const char *sqlstate)
{
    return strncmp(sqlstate, "28", 2) == 0 || strcmp(sqlstate, "3D000") == 0 ||
           strcmp(sqlstate, "42501") == 0;
}

/* What else it says at its door may be over soon: log-ins are told, and who is in waits. */
static struct client *first_refused(const struct pool *pool)
{
    struct group *g = pool->group;
    if (is_for_good(pool->error_sqlstate))
        return pool_first_waiter(g, pool->node);
    return pool_waiting_client(
        g->waiting == 0 ? NULL : waitlist_first(&g->waiters, WAITLIST_LOGIN, pool->node));
}

/* The server refused the log-in, and is not asked again for server_login_retry: who wants a
 * connection meanwhile gets the same answer. */
static void refuse_waiters(struct pool *pool, uint64_t now_ns)
{
    struct group *g = pool->group;
    char message[300];
    if (pool_has_connections(pool))
        return;
    (void)snprintf(message, sizeof(message), "cannot connect to the server: %s",
                   pool->error_message);
    const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = pool->error_sqlstate, .message = message};
    struct client *c;
    while ((c = first_refused(pool)) != NULL) {
        pool_dequeue(c);
        c->wait.mask &= ~(1u << pool->node);
        if (c->wait.mask != 0) { /* another node will do as well */
            pool_enqueue(c);
            continue;
        }
        struct core_actions *a = core_turned_away(&c->core, now_ns);
        if (a == NULL)
            a = core_refused(&c->core, &error, now_ns);
        worker_apply(g->worker, c, a, now_ns);
    }
}

/* RELOAD and SET make another configuration; RECONNECT says that the servers are others now. */
bool pool_rests(const struct pool *pool, uint64_t now_ns)
{
    const struct group *g = pool->group;
    return now_ns < pool->retry_at_ns && pool->failed_config == g->worker->config &&
           pool->failed_ns >= shared_load(&g->worker->proxy->reconnect_ns[g->database]);
}

void pool_refuse_waiters(struct pool *pool, uint64_t now_ns)
{
    if (pool->refused && pool_rests(pool, now_ns))
        refuse_waiters(pool, now_ns);
}

/* The server said no at its door: waiting does not help whoever has no connection there. It does
 * while the server starts or ends (57P0x). */
static bool is_final(const char *sqlstate)
{
    return sqlstate[0] != '\0' && strncmp(sqlstate, "57", 2) != 0 &&
           strncmp(sqlstate, "08", 2) != 0;
}

/* Until it is asked again. Whoever makes the database that was missing uses it next, a limit has
 * room soon, and what else is wrong somebody is just putting right. */
static uint64_t rest_of(const struct pool *pool, const char *sqlstate)
{
    const uint64_t long_ns = pool->group->worker->config->switchgear.server_login_retry_ns;
    if (is_for_good(sqlstate) && strcmp(sqlstate, "3D000") != 0)
        return long_ns;
    if (is_final(sqlstate) && strncmp(sqlstate, "53", 2) != 0)
        return long_ns > NO_DATABASE_NS ? NO_DATABASE_NS : long_ns;
    return (uint64_t)BACKOFF_NS << pool->failures_row;
}

void pool_open_failed(struct pool *pool, const char *sqlstate, const char *message, uint64_t now_ns)
{
    struct group *g = pool->group;
    pool->failures_row += pool->failures_row < BACKOFF_MAX;
    pool->failed_ns = now_ns;
    pool->failed_config = g->worker->config;
    (void)snprintf(pool->error_sqlstate, sizeof(pool->error_sqlstate), "%s", sqlstate);
    (void)snprintf(pool->error_message, sizeof(pool->error_message), "%s", message);
    pool->refused = is_final(sqlstate);
    pool->retry_at_ns = now_ns + rest_of(pool, sqlstate);
    if (pool->refused)
        refuse_waiters(pool, now_ns);
    pool_mark_dirty(g);
}

void pool_gone(struct server *v)
{
    struct pool *pool = v->pool;
    struct worker *w = v->worker;
    TAILQ_REMOVE(v->state == SERVER_IDLE ? &pool->idle : &pool->others, v, link);
    (*count_of(pool, v->state))--;
    v->state = SERVER_CLOSING;
    w->servers_count--;
    shared_set(&w->stats.servers, w->servers_count);
    pool_publish_gauges(pool);
    fallback_give(v);
    limits_give(pool);
    if (pool->group->waiting > 0)
        pool_mark_dirty(pool->group);
    uint32_t other;
    ck_pr_fence_memory();
    if (pool_workers(w) > 1 && pool_oldest_elsewhere(pool, &other) != 0)
        mailbox_wake(&w->proxy->workers[other].mail); /* it may open one now */
}

bool pool_is_too_old(const struct server *v, uint64_t now_ns)
{
    const uint64_t lifetime_ns = v->worker->config->switchgear.server_lifetime_ns;
    return lifetime_ns != 0 && now_ns > v->started_ns && now_ns - v->started_ns > lifetime_ns;
}

void pool_release(struct worker *w, struct server *v, uint64_t now_ns)
{
    struct pool *pool = v->pool;
    assert(v->core.session == NULL);
    v->stopped = false; /* whoever took nothing of it is gone; a reset has to be read too */
    fallback_give(v);
    const bool left_dirty = v->core.status != 'I' || (v->core.tainted && v->core.pinned_left);
    if (left_dirty && !v->core.broken) {
        v->core.pinned_left = false;
        struct core_actions *a = core_backend_reset(&v->core);
        pool_move(v, SERVER_RESETTING, now_ns);
        if (v->core.resetting) {
            server_write(v, &a->server);
            server_events_update(v);
            return;
        }
    }
    /* unsent bytes are the late data of a COPY that has failed: nobody else's connection */
    if (!core_backend_idle(&v->core) || v->out != NULL || pool_is_mislabelled(w, v) ||
        (v->core.last_session_id != 0 && pool_is_too_old(v, now_ns)) || /* a new one serves once */
        pool_is_paused(pool->group) || pool_is_stale(v) || limits_must_close(v, now_ns)) {
        server_close(v, "not to be used again");
        return;
    }
    server_events_update(v);
    pool_move(v, SERVER_IDLE, now_ns);
    uint32_t other = 0;
    uint64_t theirs_ns = 0;
    if (pool_workers(w) > 1 && !w->stopping) {
        ck_pr_fence_memory(); /* it is published as idle: now look at who waits elsewhere */
        theirs_ns = pool_oldest_elsewhere(pool, &other);
    }
    /* one at a time: what a worker that sleeps is sent would be taken from those that work */
    if (theirs_ns != 0 && shared_load(&pool->shared->workers[other].incoming) == 0) {
        const struct client *own = pool_first_waiter(pool->group, pool->node);
        /* who has another connection in use will soon have that one, and asks if not */
        const struct shared_pool_worker *m = &pool->shared->workers[other];
        const bool has_none = shared_load(&m->active) + shared_load(&m->tested) == 0;
        const uint64_t ours_ns = own != NULL ? own->core.waiting_since_ns : now_ns;
        if ((own == NULL && has_none) || theirs_ns + POOL_HANDOVER_NS < ours_ns) {
            pool_migrate(v, other);
            return;
        }
    }
    if (pool->group->waiting > 0)
        pool_mark_dirty(pool->group);
}
