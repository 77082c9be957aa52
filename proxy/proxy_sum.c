/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_sum: the counters of all workers, added up.
 */
#include "proxy_sum.h"

#include <assert.h>
#include <string.h>

#include "proxy_worker.h"

/* Both structs hold nothing but uint64_t, histograms included. */
static_assert(sizeof(struct stats_worker) % sizeof(uint64_t) == 0, "only counters");
static_assert(sizeof(struct stats_database) % sizeof(uint64_t) == 0, "only counters");

static void add(uint64_t *to, const uint64_t *from, size_t size)
{
    for (size_t i = 0; i < size / sizeof(uint64_t); i++)
        to[i] += shared_load(&from[i]);
}

void sum_workers(const struct proxy *p, struct stats_worker *ret)
{
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < p->workers_count; i++)
        add((uint64_t *)ret, (const uint64_t *)worker_stats(p, i), sizeof *ret);
}

void sum_database(const struct proxy *p, uint32_t database, struct stats_database *ret)
{
    memset(ret, 0, sizeof *ret);
    for (uint32_t i = 0; i < p->workers_count; i++) {
        const struct stats_database *stats = worker_database_stats(p, i, database);
        if (stats != NULL)
            add((uint64_t *)ret, (const uint64_t *)stats, sizeof *ret);
    }
}

void sum_pool(const struct proxy *p, const struct shared_pool *pool, uint64_t now_ns,
              struct sum_pool *ret)
{
    *ret = (struct sum_pool){.connections = shared_load(&pool->budget_used)};
    for (uint32_t i = 0; i < p->workers_count; i++) {
        const struct shared_pool_worker *w = &pool->workers[i];
        const uint64_t oldest_ns = shared_load(&w->oldest_waiter_ns);
        if (oldest_ns != 0 && oldest_ns < now_ns && now_ns - oldest_ns > ret->maxwait_ns)
            ret->maxwait_ns = now_ns - oldest_ns;
        ret->idle += shared_load(&w->idle);
        ret->active += shared_load(&w->active);
        ret->opening += shared_load(&w->opening);
        ret->waiting += shared_load(&w->waiting);
        ret->tested += shared_load(&w->tested);
        ret->canceling += shared_load(&w->canceling);
        ret->clients_active += shared_load(&w->clients_active);
    }
}

void sum_pools(const struct proxy *p, uint32_t node, uint32_t database, uint64_t now_ns,
               struct sum_pool *ret)
{
    *ret = (struct sum_pool){0};
    for (const struct shared_pool *pool = shared_pools_first(p); pool != NULL;
         pool = shared_pools_next(pool)) {
        if ((node != UINT32_MAX && pool->node != node) ||
            (database != UINT32_MAX && pool->database != database))
            continue;
        struct sum_pool one;
        sum_pool(p, pool, now_ns, &one);
        ret->idle += one.idle;
        ret->active += one.active;
        ret->opening += one.opening;
        ret->waiting += one.waiting;
        ret->tested += one.tested;
        ret->canceling += one.canceling;
        ret->clients_active += one.clients_active;
        ret->connections += one.connections;
        if (one.maxwait_ns > ret->maxwait_ns)
            ret->maxwait_ns = one.maxwait_ns;
    }
}
