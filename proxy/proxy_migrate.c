/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_migrate: connections that change worker, so that N workers are like one pool.
 */
#include <stdlib.h>

#include "proxy_log.h"
#include "proxy_pool_internal.h"

uint64_t pool_oldest_elsewhere(const struct pool *pool, uint32_t *ret_worker)
{
    uint64_t oldest_ns = 0;
    const struct worker *w = pool->group->worker;
    for (uint32_t i = 0; i < pool_workers(w); i++) {
        if (i == w->index)
            continue;
        const uint64_t t = shared_load(&pool->shared->workers[i].oldest_waiter_ns);
        if (t != 0 && (oldest_ns == 0 || t < oldest_ns)) {
            oldest_ns = t;
            *ret_worker = i;
        }
    }
    return oldest_ns;
}

/* It belongs to this worker from now on, active until it is released. */
static void adopt(struct worker *w, struct server *v, struct pool *pool)
{
    v->worker = w;
    v->pool = pool;
    v->core.worker = &w->core;
    v->state = SERVER_ACTIVE;
    TAILQ_INSERT_TAIL(&pool->others, v, link);
    pool->active_count++;
    w->servers_count++;
    shared_set(&w->stats.servers, w->servers_count);
}

void pool_migrate(struct server *v, uint32_t to)
{
    struct worker *w = v->worker;
    struct pool *pool = v->pool;
    struct mail_backend *mail = malloc(sizeof(*mail));
    if (mail == NULL)
        abort();
    mail->mail.kind = MAIL_BACKEND;
    mail->server = v;
    server_unwatch(v);
    pool_move(v, SERVER_ACTIVE, uv_hrtime());
    TAILQ_REMOVE(&pool->others, v, link);
    pool->active_count--;
    pool_publish_gauges(pool);
    w->servers_count--;
    shared_set(&w->stats.servers, w->servers_count);
    shared_add(&w->stats.migrations_out, 1);
    assert(v->core.hold == NULL && v->out == NULL && core_backend_idle(&v->core));
    ck_pr_inc_64(&pool->shared->workers[to].incoming);
    if (worker_post(w->proxy, to, &mail->mail))
        return;
    ck_pr_dec_64(&pool->shared->workers[to].incoming);
    free(mail); /* its mailbox is full: keep the connection, and do not try again from here */
    adopt(w, v, pool);
    if (server_watch(v)) {
        server_events_update(v);
        pool_move(v, SERVER_IDLE, uv_hrtime());
    } else {
        server_close(v, "cannot watch the socket");
    }
}

void pool_take_backend(struct worker *w, struct server *v)
{
    const struct shared_pool *shared = v->pool->shared;
    struct group *g =
        worker_group(w, shared->database, shared->client_database, v->pool->group->user);
    struct pool *pool = pool_of(g, shared->node);
    const uint64_t now_ns = uv_hrtime();
    assert(pool->shared == shared);
    adopt(w, v, pool);
    ck_pr_dec_64(&pool_mine(pool)->incoming);
    if (!server_watch(v)) {
        server_close(v, "cannot watch the socket");
        return;
    }
    server_events_update(v);
    pool_release(w, v, now_ns);
}

void pool_steal(struct worker *w, const struct shared_pool *shared, uint32_t thief)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
            struct pool *pool = &g->pools[n];
            if (pool->shared != shared)
                continue;
            struct server *v = TAILQ_FIRST(&pool->idle);
            if (v != NULL && pool_first_waiter(g, (uint8_t)n) == NULL &&
                shared_load(&shared->workers[thief].oldest_waiter_ns) != 0 &&
                shared_load(&shared->workers[thief].incoming) == 0)
                pool_migrate(v, thief);
            return;
        }
}
