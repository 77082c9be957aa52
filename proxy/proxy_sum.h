/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_sum: the counters of all workers, added up. The supervisor's thread; nothing is locked:
 * each counter is read relaxed, so a sum is exact only when nothing moves.
 */
#ifndef PROXY_SUM_H
#define PROXY_SUM_H

#include "proxy_shared.h"

void sum_workers(const struct proxy *p, struct stats_worker *ret);
void sum_database(const struct proxy *p, uint32_t database, struct stats_database *ret);

static inline uint32_t sum_route_index(uint32_t target, uint32_t verdict, uint32_t reason)
{
    return (target * ROUTER_VERDICT_COUNT + verdict) * ROUTER_REASON_COUNT + reason;
}

struct sum_pool {
    uint64_t idle, active, opening, waiting, tested, canceling, clients_active;
    uint64_t connections; /* open or opening */
    uint64_t maxwait_ns;  /* of the client that waits longest, 0: none */
};
void sum_pool(const struct proxy *p, const struct shared_pool *pool, uint64_t now_ns,
              struct sum_pool *ret);

/* Over the pools of one node, or of one database (the other one UINT32_MAX: any). */
void sum_pools(const struct proxy *p, uint32_t node, uint32_t database, uint64_t now_ns,
               struct sum_pool *ret);

#endif
