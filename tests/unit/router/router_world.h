/* SPDX-License-Identifier: PostgreSQL
 *
 * router_world: a small world of one primary and two replicas, and what is decided in it.
 */
#ifndef ROUTER_WORLD_H
#define ROUTER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "router_decide.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define NOW (1000 * SECOND)

enum { PRIMARY, REPLICA_A, REPLICA_B, WORLD_NODES };

struct world {
    struct router_topology topology;
    struct router_load loads[ROUTER_NODES_MAX];
    struct router_request request;
    uint32_t trial_ok;
    uint64_t random;
    struct router_choice choice;
};

/* Both replicas showed 100 ms ago all that had been committed; the session is new. */
static inline struct world healthy(void)
{
    struct world w = {
        .topology = {.generation = 1, .nodes_count = WORLD_NODES},
        .request = {.class = {.verdict = ROUTER_VERDICT_READ,
                              .reason = ROUTER_REASON_SELECT,
                              .alone = true},
                    .level = ROUTER_LEVEL_SESSION,
                    .fallback_allowed = true,
                    .floor_node = ROUTER_NODE_NONE,
                    .avoid_node = ROUTER_NODE_NONE,
                    .max_lag_ns = 5 * SECOND},
        .random = UINT64_C(0x8000000000000000),
    };
    for (uint32_t i = 0; i < WORLD_NODES; i++)
        w.topology.nodes[i] = (struct router_node){
            .role = ROUTER_ROLE_REPLICA, .weight_permille = 1000, .fresh_as_of_ns = NOW - 100 * MS};
    w.topology.nodes[PRIMARY].role = ROUTER_ROLE_PRIMARY;
    w.topology.nodes[PRIMARY].weight_permille = 0;
    return w;
}

static inline void decide(struct world *w)
{
    router_decide(&w->topology, w->loads, &w->request, w->trial_ok, w->random, NOW, &w->choice);
}

static inline void replica(struct world *w, enum router_reason reason)
{
    decide(w);
    assert_int_equal(w->choice.target, ROUTER_TARGET_REPLICA);
    assert_in_range(w->choice.node, REPLICA_A, REPLICA_B);
    assert_int_equal(w->choice.reason, reason);
    assert_false(w->choice.fell_back);
}

static inline void primary(struct world *w, enum router_reason reason, bool fell_back)
{
    decide(w);
    assert_int_equal(w->choice.target, ROUTER_TARGET_PRIMARY);
    assert_int_equal(w->choice.node, PRIMARY);
    assert_int_equal(w->choice.reason, reason);
    assert_int_equal(w->choice.fell_back, fell_back);
}

static inline void nowhere(struct world *w, enum router_reason reason)
{
    decide(w);
    assert_int_equal(w->choice.node, ROUTER_NODE_NONE);
    assert_int_equal(w->choice.reason, reason);
    assert_false(w->choice.fell_back);
}

#endif
