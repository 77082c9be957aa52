/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_pool_tick: what only time does to a pool: waits that are too long, connections that are too
 * old, idle or slow to come.
 */
#include <stdlib.h>

#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_pool_internal.h"

/* Attempts in a row that make a primary unreachable, whatever the probe's own connection says. */
enum { OUT_OF_REACH = 3 };

/* ---- timeouts ---- */

/* What the last attempt to open a connection for it met; NULL: it went well. */
static const char *connect_trouble(const struct group *g, const struct client *c, char *buf,
                                   size_t buf_size)
{
    const uint8_t node = c->core.choice.node;
    if (node == ROUTER_NODE_NONE || g->pools[node].shared == NULL ||
        g->pools[node].failures_row == 0)
        return NULL;
    (void)snprintf(buf, buf_size, "The last attempt to open one failed: %s",
                   g->pools[node].error_message);
    return buf;
}

/* It wants the primary, which is there for the probe, whose connection was made before; and none
 * can be made now: its name is not known any more, its address leads nowhere. To who waits that is
 * no primary. A server that says no at its door is one. */
static bool is_out_of_reach(const struct group *g, const struct client *c)
{
    const uint8_t node = c->core.choice.node;
    if (c->wait.kind != WAITLIST_PRIMARY || node == ROUTER_NODE_NONE)
        return false;
    const struct pool *pool = &g->pools[node];
    return pool->shared != NULL && pool->failures_row >= OUT_OF_REACH && !pool->refused &&
           !pool_has_connections(pool);
}

/* Its limit is write_wait. */
static bool has_no_primary(const struct group *g, const struct client *c)
{
    return c->wait.kind == WAITLIST_HOMELESS || is_out_of_reach(g, c);
}

static void refuse(struct worker *w, struct client *c, uint64_t now_ns)
{
    struct proto_error_text error = {.severity = "ERROR"};
    struct group *g = (struct group *)c->core.group;
    char detail[320];
    const bool homeless = has_no_primary(g, c);
    if (is_out_of_reach(g, c)) {
        error.sqlstate = "57P03";
        error.message = "no primary can be reached";
        error.detail = connect_trouble(g, c, detail, sizeof(detail));
    } else if (homeless && c->core.choice.target == ROUTER_TARGET_PRIMARY) {
        error.sqlstate = "57P03";
        error.message = "no primary can be reached";
        error.detail = "The statement waited for write_wait, nothing of it was sent.";
    } else if (homeless) {
        error.sqlstate = "57P03";
        error.message = "no node may serve this read";
        error.hint = "See SHOW NODES in the admin console.";
    } else if (c->wait.kind == WAITLIST_FALLBACK) {
        error.sqlstate = "57P03";
        error.message = "no replica may serve this read, and the primary takes no more of them";
        error.detail = "fallback_limit keeps the rest of the primary's pool for writes.";
        error.hint = "See SHOW NODES in the admin console.";
    } else {
        error.sqlstate = "53300";
        error.message = "no server connection became free within query_wait_timeout";
        error.hint = "Raise pool_size or query_wait_timeout, or look for long transactions with "
                     "SHOW CLIENTS in the admin console.";
        error.detail = connect_trouble(g, c, detail, sizeof(detail));
    }
    shared_add(&w->database_stats[g->database].wait_timeouts, 1);
    if (core_waits_for_pin(&c->core)) { /* it says why itself, where it would have run */
        pool_dequeue(c);
        shared_add(&w->stats.timeouts[TIMEOUT_QUERY_WAIT], 1);
        worker_apply(w, c, core_pin_give_up(&c->core, now_ns), now_ns);
        return;
    }
    shared_add(&w->stats.timeouts[homeless ? TIMEOUT_WRITE_WAIT : TIMEOUT_QUERY_WAIT], 1);
    pool_dequeue(c);
    worker_apply(w, c, core_refused(&c->core, &error, now_ns), now_ns);
}

static uint64_t wait_limit_ns(const struct worker *w, const struct group *g, const struct client *c)
{
    const uint64_t query_ns = w->config->switchgear.query_wait_timeout_ns;
    if (!has_no_primary(g, c))
        return query_ns;
    const uint64_t set_ns = pool_section(g)->write_wait_ns;
    const uint64_t write_ns = set_ns != 0 ? set_ns : 1; /* 0: do not wait */
    return query_ns != 0 && query_ns < write_ns ? query_ns : write_ns;
}

/* Since may be later: what happens within the tick reads the clock afresh. 0: no limit. */
static bool is_over(uint64_t since_ns, uint64_t limit_ns, uint64_t now_ns)
{
    return limit_ns != 0 && now_ns > since_ns && now_ns - since_ns > limit_ns;
}

/* min_pool_size: where somebody is, or the section itself says who logs in. */
static void fill(struct worker *w, struct group *g, uint64_t now_ns)
{
    const struct config_database *d = pool_section(g);
    const uint64_t least = d->min_pool_size < d->pool_size ? d->min_pool_size : d->pool_size;
    if (least == 0 || w->stopping || pool_is_paused(g) || (g->clients == 0 && d->user[0] == '\0'))
        return;
    for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
        const struct router_node *node = &w->topology.nodes[n];
        if (node->shard != d->shard_first || node->role == ROUTER_ROLE_UNKNOWN || node->drained ||
            node->breaker != BREAKER_CLOSED)
            continue;
        struct pool *pool = pool_of(g, (uint8_t)n);
        while (pool->opening_count < w->config->switchgear.connect_parallel &&
               !pool_rests(pool, now_ns) && limits_take(pool, least, 0, now_ns))
            server_open(pool, now_ns);
    }
}

/* Pools of sections that say who logs in are there before their first client. */
static void fill_forced(struct worker *w)
{
    if (w->index != 0 || w->stopping)
        return;
    for (uint32_t i = 0; i < w->config->databases_count; i++) {
        const struct config_database *d = &w->config->databases[i];
        if (d->min_pool_size > 0 && d->user[0] != '\0' && strcmp(d->name, "*") != 0)
            (void)worker_group(w, i, d->name, d->user);
    }
}

/* Clients that have a connection of this pool, and for the primary's those that need none. */
static void publish_clients(const struct worker *w, struct group *g)
{
    uint64_t linked = 0;
    for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
        struct pool *pool = &g->pools[n];
        uint64_t here = 0;
        uint64_t canceling = 0;
        const struct server *v;
        if (pool->shared == NULL)
            continue;
        TAILQ_FOREACH (v, &pool->others, link) {
            here += v->core.session != NULL;
            canceling += v->state == SERVER_DRAINING;
        }
        linked += here;
        shared_set(&pool_mine(pool)->clients_active, here);
        shared_set(&pool_mine(pool)->canceling, canceling);
    }
    const uint8_t primary = router_primary(&w->topology, g->core.database->shard);
    if (primary == ROUTER_NODE_NONE || g->pools[primary].shared == NULL)
        return;
    struct shared_pool_worker *m = pool_mine(&g->pools[primary]);
    const uint64_t busy = linked + g->waiting;
    shared_set(&m->clients_active, m->clients_active + (g->clients > busy ? g->clients - busy : 0));
}

/* Closes what is too old, too long idle, or too slow to come. */
static void tick_pool(struct worker *w, struct pool *pool, uint64_t now_ns)
{
    const uint64_t idle_ns = w->config->switchgear.server_idle_timeout_ns;
    const uint64_t connect_ns = w->config->switchgear.server_connect_timeout_ns;
    const uint64_t least = pool_section(pool->group)->min_pool_size;
    struct server *v;
    struct server *next;
    TAILQ_EACH_SAFE (v, &pool->idle, link, next)
        if (pool_is_too_old(v, now_ns) || (is_over(v->since_ns, idle_ns, now_ns) &&
                                           shared_load(&pool->shared->budget_used) > least))
            server_close(v, "idle or old");
    TAILQ_EACH_SAFE (v, &pool->others, link, next)
        if ((v->state == SERVER_CONNECTING || v->state == SERVER_RESOLVING) &&
            is_over(v->started_ns, connect_ns, now_ns))
            server_connect_timeout(v);
        else if (v->state == SERVER_RESETTING && is_over(v->since_ns, connect_ns, now_ns))
            server_close(v, "its reset took longer than server_connect_timeout");
        else if (v->state == SERVER_DRAINING)
            server_drain_tick(v, now_ns);
}

static void tick_group(struct worker *w, struct group *g, uint64_t now_ns)
{
    for (int kind = 0; kind < WAITLIST_KINDS && g->waiting > 0; kind++) {
        struct waiter *oldest;
        while ((oldest = waitlist_oldest(&g->waiters, (enum waitlist_kind)kind)) != NULL) {
            struct client *c = pool_waiting_client(oldest);
            const uint64_t limit_ns = wait_limit_ns(w, g, c);
            if (!is_over(c->core.waiting_since_ns, limit_ns, now_ns))
                break;
            refuse(w, c, now_ns);
        }
    }
    pool_publish_waiters(g); /* SHOW POOLS tells since when somebody waits, with one worker too */
    for (uint32_t n = 0; n < w->topology.nodes_count; n++)
        if (g->pools[n].shared != NULL)
            tick_pool(w, &g->pools[n], now_ns);
    fill(w, g, now_ns);
    publish_clients(w, g);
    if (g->waiting > 0)
        pool_mark_dirty(g);
}

void pools_tick(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    fill_forced(w);
    TAILQ_FOREACH (g, &w->groups, link)
        tick_group(w, g, now_ns);
    pools_warm(w, now_ns);
}
