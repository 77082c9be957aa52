/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_quiet: looks at the worker's own counters; who is asked to look is the supervisor.
 */
#include "proxy_quiet.h"

#include "proxy_worker.h"

/* With half a second for the probe's answer, and a tick, a silent node is known within one. */
#define LATE_NS UINT64_C(200000000)

/* Nodes that are to let somebody in. */
static uint32_t opening(const struct worker *w)
{
    uint32_t mask = 0;
    const struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < w->topology.nodes_count; n++)
            if (g->pools[n].shared != NULL && g->pools[n].opening_count > 0)
                mask |= 1u << n;
    return mask;
}

void quiet_tick(struct worker *w, uint64_t now_ns)
{
    const uint32_t doors = opening(w);
    for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
        struct quiet *q = &w->quiet[n];
        const bool owes = w->core.loads[n].in_flight > 0 || (doors & 1u << n) != 0;
        if (!owes || w->topology.nodes[n].breaker == BREAKER_OPEN ||
            q->seen_ns != w->core.loads_seen_ns[n]) {
            *q = (struct quiet){.seen_ns = w->core.loads_seen_ns[n], .since_ns = now_ns};
            continue;
        }
        if (now_ns - q->since_ns < LATE_NS)
            continue;
        q->since_ns = now_ns; /* a long statement: again after as long */
        const struct outcome_record record = {
            .node = (uint8_t)n, .input = BREAKER_NEUTRAL, .late = true};
        worker_outcome(w, &record);
    }
}
