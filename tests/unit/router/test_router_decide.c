/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_decide: where a statement goes and why. A small world of one primary and two replicas
 * first, one reason a story; then random worlds, and the promises that hold in all of them.
 */
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
static struct world healthy(void)
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

static void decide(struct world *w)
{
    router_decide(&w->topology, w->loads, &w->request, w->trial_ok, w->random, NOW, &w->choice);
}

static void replica(struct world *w, enum router_reason reason)
{
    decide(w);
    assert_int_equal(w->choice.target, ROUTER_TARGET_REPLICA);
    assert_in_range(w->choice.node, REPLICA_A, REPLICA_B);
    assert_int_equal(w->choice.reason, reason);
    assert_false(w->choice.fell_back);
}

static void primary(struct world *w, enum router_reason reason, bool fell_back)
{
    decide(w);
    assert_int_equal(w->choice.target, ROUTER_TARGET_PRIMARY);
    assert_int_equal(w->choice.node, PRIMARY);
    assert_int_equal(w->choice.reason, reason);
    assert_int_equal(w->choice.fell_back, fell_back);
}

static void nowhere(struct world *w, enum router_reason reason)
{
    decide(w);
    assert_int_equal(w->choice.node, ROUTER_NODE_NONE);
    assert_int_equal(w->choice.reason, reason);
    assert_false(w->choice.fell_back);
}

static void both_replicas(struct world *w, void (*change)(struct router_node *n))
{
    change(&w->topology.nodes[REPLICA_A]);
    change(&w->topology.nodes[REPLICA_B]);
}

static void open_it(struct router_node *n)
{
    n->breaker = BREAKER_OPEN;
}

static void try_it(struct router_node *n)
{
    n->breaker = BREAKER_HALF_OPEN;
}

static void drain_it(struct router_node *n)
{
    n->drained = true;
}

static void lag_it(struct router_node *n)
{
    n->gate = BREAKER_GATE_LAGGING;
}

static void pause_it(struct router_node *n)
{
    n->gate = BREAKER_GATE_PAUSED;
}

static void lag_it_hard(struct router_node *n)
{
    n->gate = BREAKER_GATE_LAGGING;
    n->lag_hard = true;
}

static void void_it(struct router_node *n)
{
    n->fresh_as_of_ns = 0;
}

/* ---- what the statement and its session ask for ---- */

static void a_read_goes_to_a_replica(void **arg)
{
    (void)arg;
    struct world w = healthy();
    replica(&w, ROUTER_REASON_SELECT);
    assert_int_equal(w.choice.fit, 1 << REPLICA_A | 1 << REPLICA_B);
}

static void what_is_no_read_goes_to_the_primary_with_its_own_reason(void **arg)
{
    (void)arg;
    struct world w = healthy();
    const enum router_verdict verdicts[] = {ROUTER_VERDICT_WRITE, ROUTER_VERDICT_TRANSACTION,
                                            ROUTER_VERDICT_SESSION, ROUTER_VERDICT_PIN};
    w.request.class.reason = ROUTER_REASON_DML;
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        w.request.class.verdict = (uint8_t)verdicts[i];
        primary(&w, ROUTER_REASON_DML, false);
    }
}

static void what_is_local_goes_nowhere_but_the_proxy(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.class.verdict = ROUTER_VERDICT_LOCAL;
    w.request.class.reason = ROUTER_REASON_EMPTY;
    nowhere(&w, ROUTER_REASON_EMPTY);
    assert_int_equal(w.choice.target, ROUTER_TARGET_PROXY);
}

static void a_level_a_setting_or_a_hint_forces_the_primary(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.level = ROUTER_LEVEL_PRIMARY;
    primary(&w, ROUTER_REASON_CONSISTENCY, false);
    w.request.route = ROUTER_ROUTE_PRIMARY;
    primary(&w, ROUTER_REASON_FORCED, false);
    w.request.class.hinted = true;
    primary(&w, ROUTER_REASON_HINT, false);
    w.request.reads = ROUTER_READS_PRIMARY;
    primary(&w, ROUTER_REASON_FORCED, false);
}

static void a_route_to_replicas_lifts_doubts_but_no_write(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.route = ROUTER_ROUTE_REPLICA;
    replica(&w, ROUTER_REASON_FORCED);
    w.request.class.verdict = ROUTER_VERDICT_WRITE;
    w.request.class.reason = ROUTER_REASON_VOLATILE_FUNCTION;
    w.request.class.hinted = true;
    replica(&w, ROUTER_REASON_HINT);
    w.request.class.alone = false; /* something else stands beside it */
    primary(&w, ROUTER_REASON_VOLATILE_FUNCTION, false);
    w.request.class.alone = true;
    w.request.class.by_node_type = true;
    primary(&w, ROUTER_REASON_VOLATILE_FUNCTION, false);
    w.request.class.by_node_type = false;
    w.request.class.reason = ROUTER_REASON_LOCKING_CLAUSE;
    primary(&w, ROUTER_REASON_LOCKING_CLAUSE, false);
    w.request.class.reason = ROUTER_REASON_LEARNED;
    primary(&w, ROUTER_REASON_LEARNED, false);
}

static void blocks_that_may_write_stay_on_the_primary(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.in_plain_block = true;
    primary(&w, ROUTER_REASON_IN_TRANSACTION, false);
    w.request.in_write_block = true;
    primary(&w, ROUTER_REASON_IN_WRITE_TRANSACTION, false);
}

static void everything_in_a_read_only_block_reads(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.begins_read_only = true;
    replica(&w, ROUTER_REASON_READ_ONLY_TRANSACTION);
    w.request.class.verdict = ROUTER_VERDICT_WRITE;
    w.request.class.reason = ROUTER_REASON_DML;
    replica(&w, ROUTER_REASON_READ_ONLY_TRANSACTION);
    w.request.class.has_transaction = true; /* COMMIT; INSERT ...: it leaves the block */
    primary(&w, ROUTER_REASON_DML, false);
    w.request.class = (struct router_class){.verdict = ROUTER_VERDICT_TRANSACTION,
                                            .reason = ROUTER_REASON_SAVEPOINT};
    replica(&w, ROUTER_REASON_READ_ONLY_TRANSACTION);
    w.request.class.reason = ROUTER_REASON_SET; /* SET TRANSACTION READ WRITE */
    primary(&w, ROUTER_REASON_SET, false);
    w.request.class.verdict = ROUTER_VERDICT_PIN;
    w.request.class.reason = ROUTER_REASON_LISTEN;
    primary(&w, ROUTER_REASON_LISTEN, false);
}

/* ---- the primary itself ---- */

static void without_a_working_primary_writes_go_nowhere(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.class.verdict = ROUTER_VERDICT_WRITE;
    w.request.class.reason = ROUTER_REASON_DML;
    w.topology.nodes[PRIMARY].breaker = BREAKER_OPEN;
    nowhere(&w, ROUTER_REASON_BREAKER_OPEN);
    w.topology.nodes[PRIMARY].breaker = BREAKER_CLOSED;
    w.topology.nodes[PRIMARY].drained = true;
    nowhere(&w, ROUTER_REASON_DRAINED);
    w.topology.nodes[PRIMARY].role = ROUTER_ROLE_UNKNOWN;
    nowhere(&w, ROUTER_REASON_NO_PRIMARY);
}

static void a_primary_on_trial_needs_a_permit(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.class.verdict = ROUTER_VERDICT_WRITE;
    w.request.class.reason = ROUTER_REASON_DML;
    w.topology.nodes[PRIMARY].breaker = BREAKER_HALF_OPEN;
    nowhere(&w, ROUTER_REASON_BREAKER_OPEN);
    w.trial_ok = 1 << PRIMARY;
    primary(&w, ROUTER_REASON_DML, false);
    assert_true(w.choice.is_trial);
}

static void of_two_primaries_the_working_one_counts(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.topology.nodes[REPLICA_B].role = ROUTER_ROLE_PRIMARY;
    assert_int_equal(router_primary(&w.topology, 0), PRIMARY);
    w.topology.nodes[PRIMARY].breaker = BREAKER_OPEN;
    assert_int_equal(router_primary(&w.topology, 0), REPLICA_B);
    w.topology.nodes[REPLICA_B].breaker = BREAKER_OPEN;
    assert_int_equal(router_primary(&w.topology, 0), PRIMARY);
    assert_int_equal(router_primary(&w.topology, 1), ROUTER_NODE_NONE);
}

static void a_primary_with_a_weight_takes_its_share(void **arg)
{
    (void)arg;
    struct world w = healthy();
    int on_primary = 0;
    w.topology.nodes[PRIMARY].weight_permille = 1000;
    for (uint64_t i = 0; i < 1000; i++) {
        w.random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        decide(&w);
        assert_int_equal(w.choice.reason, ROUTER_REASON_SELECT);
        assert_int_equal(w.choice.target == ROUTER_TARGET_PRIMARY, w.choice.node == PRIMARY);
        on_primary += w.choice.node == PRIMARY;
    }
    assert_in_range(on_primary, 250, 420);
    w.topology.nodes[PRIMARY].drained = true;
    replica(&w, ROUTER_REASON_SELECT);
}

/* ---- why a replica may not ---- */

static void what_all_replicas_suffer_from_becomes_the_reason(void **arg)
{
    (void)arg;
    static const struct {
        void (*change)(struct router_node *n);
        enum router_reason reason;
    } cases[] = {
        {open_it, ROUTER_REASON_BREAKER_OPEN}, {try_it, ROUTER_REASON_BREAKER_OPEN},
        {drain_it, ROUTER_REASON_DRAINED},     {lag_it, ROUTER_REASON_LAGGING},
        {pause_it, ROUTER_REASON_LAGGING},     {lag_it_hard, ROUTER_REASON_LAGGING},
        {void_it, ROUTER_REASON_NO_EVIDENCE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w = healthy();
        both_replicas(&w, cases[i].change);
        primary(&w, cases[i].reason, true);
        w.request.fallback_allowed = false;
        nowhere(&w, cases[i].reason);
        assert_int_equal(w.choice.target, ROUTER_TARGET_REPLICA);
    }
}

static void without_replicas_a_read_on_the_primary_is_no_fallback(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.topology.nodes_count = 1;
    primary(&w, ROUTER_REASON_NO_REPLICA, false);
    w.request.fallback_allowed = false;
    primary(&w, ROUTER_REASON_NO_REPLICA, false);
}

static void replicas_of_another_shard_do_not_count(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.topology.nodes[REPLICA_A].shard = 1;
    w.topology.nodes[REPLICA_B].shard = 1;
    primary(&w, ROUTER_REASON_NO_REPLICA, false);
}

static void a_read_follows_its_own_write(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.last_write_ns = NOW - 50 * MS;
    primary(&w, ROUTER_REASON_RECENT_WRITE, false);
    assert_true(w.choice.wants_probe);
    w.request.fallback_allowed = false; /* it is no fallback */
    primary(&w, ROUTER_REASON_RECENT_WRITE, false);
    w.topology.nodes[REPLICA_B].fresh_as_of_ns = NOW - 50 * MS;
    replica(&w, ROUTER_REASON_SELECT);
    assert_int_equal(w.choice.node, REPLICA_B);
    assert_int_equal(w.choice.fit, 1 << REPLICA_B);
    w.request.last_write_ns = ROUTER_NEVER_NS;
    primary(&w, ROUTER_REASON_RECENT_WRITE, false);
    assert_false(w.choice.wants_probe); /* the write still runs */
    w.request.level = ROUTER_LEVEL_BOUNDED;
    replica(&w, ROUTER_REASON_SELECT);
}

static void only_level_global_sees_the_writes_of_others(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.global_write_ns = NOW - 50 * MS;
    replica(&w, ROUTER_REASON_SELECT);
    w.request.level = ROUTER_LEVEL_GLOBAL;
    primary(&w, ROUTER_REASON_RECENT_WRITE, false);
}

static void a_bound_on_lag_is_kept(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.max_lag_ns = 100 * MS;
    replica(&w, ROUTER_REASON_SELECT);
    w.request.max_lag_ns = 99 * MS;
    primary(&w, ROUTER_REASON_LAGGING, true);
    w.request.level = ROUTER_LEVEL_EVENTUAL;
    replica(&w, ROUTER_REASON_SELECT);
    w.request.level = ROUTER_LEVEL_BOUNDED;
    w.request.max_lag_ns = 0;
    replica(&w, ROUTER_REASON_SELECT);
}

static void eventual_reads_keep_the_freshest_of_the_lagging(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.level = ROUTER_LEVEL_EVENTUAL;
    both_replicas(&w, lag_it);
    w.topology.nodes[REPLICA_A].fresh_as_of_ns = NOW - 20 * SECOND;
    w.topology.nodes[REPLICA_B].fresh_as_of_ns = NOW - 10 * SECOND;
    replica(&w, ROUTER_REASON_SELECT);
    assert_int_equal(w.choice.node, REPLICA_B);
    w.topology.nodes[REPLICA_B].lag_hard = true;
    replica(&w, ROUTER_REASON_SELECT);
    assert_int_equal(w.choice.node, REPLICA_A);
    w.topology.nodes[REPLICA_A].gate = BREAKER_GATE_TIMELINE;
    primary(&w, ROUTER_REASON_LAGGING, true);
}

static void a_session_never_goes_back_in_time(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.floor_node = REPLICA_A;
    w.request.floor_ns = NOW - 10 * MS;
    for (uint64_t i = 0; i < 100; i++) {
        w.random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        replica(&w, ROUTER_REASON_SELECT);
        assert_int_equal(w.choice.node, REPLICA_A);
    }
    w.topology.nodes[REPLICA_A].breaker = BREAKER_OPEN;
    primary(&w, ROUTER_REASON_BACK_IN_TIME, false);
    assert_true(w.choice.wants_probe);
    w.topology.nodes[REPLICA_B].fresh_as_of_ns = NOW - 10 * MS;
    replica(&w, ROUTER_REASON_SELECT);
    w.topology.nodes[REPLICA_B].fresh_as_of_ns = NOW - 100 * MS;
    w.request.level = ROUTER_LEVEL_BOUNDED;
    replica(&w, ROUTER_REASON_SELECT);
}

static void a_retry_goes_elsewhere(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.avoid_node = REPLICA_A;
    for (uint64_t i = 0; i < 100; i++) {
        w.random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        replica(&w, ROUTER_REASON_SELECT);
        assert_int_equal(w.choice.node, REPLICA_B);
    }
    w.topology.nodes[REPLICA_B].breaker = BREAKER_OPEN;
    primary(&w, ROUTER_REASON_RETRY, true);
    w.request.avoid_node = PRIMARY;
    w.topology.nodes[REPLICA_A].breaker = BREAKER_OPEN;
    nowhere(&w, ROUTER_REASON_RETRY);
}

static void the_most_telling_refusal_is_the_reason(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.topology.nodes[REPLICA_A].drained = true;
    w.topology.nodes[REPLICA_B].breaker = BREAKER_OPEN;
    primary(&w, ROUTER_REASON_BREAKER_OPEN, true);
    w.topology.nodes[REPLICA_A].drained = false;
    w.request.last_write_ns = NOW;
    primary(&w, ROUTER_REASON_RECENT_WRITE, false);
}

/* ---- READS ... TO REPLICAS ---- */

static void reads_to_replicas_set_level_and_fallback_aside(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.request.reads = ROUTER_READS_REPLICAS;
    w.request.level = ROUTER_LEVEL_PRIMARY;
    w.request.last_write_ns = NOW;
    w.topology.nodes[PRIMARY].weight_permille = 1000;
    both_replicas(&w, lag_it);
    replica(&w, ROUTER_REASON_FORCED);
    both_replicas(&w, void_it);
    replica(&w, ROUTER_REASON_FORCED);
    both_replicas(&w, open_it);
    nowhere(&w, ROUTER_REASON_NO_REPLICA);
    assert_int_equal(w.choice.target, ROUTER_TARGET_REPLICA);
    w.request.class.verdict = ROUTER_VERDICT_WRITE;
    w.request.class.reason = ROUTER_REASON_DML;
    primary(&w, ROUTER_REASON_DML, false);
}

/* ---- trials and the balancer ---- */

static void a_trial_gets_about_one_read_in_sixteen(void **arg)
{
    (void)arg;
    struct world w = healthy();
    int trials = 0;
    w.topology.nodes[REPLICA_B].breaker = BREAKER_HALF_OPEN;
    w.trial_ok = 1 << REPLICA_B;
    for (uint64_t i = 0; i < 1600; i++) {
        w.random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        replica(&w, ROUTER_REASON_SELECT);
        assert_int_equal(w.choice.is_trial, w.choice.node == REPLICA_B);
        trials += w.choice.is_trial;
    }
    assert_in_range(trials, 60, 140);
    w.trial_ok = 0;
    for (uint64_t i = 0; i < 1600; i++) {
        w.random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        replica(&w, ROUTER_REASON_SELECT);
        assert_int_equal(w.choice.node, REPLICA_A);
    }
}

static void a_lone_trial_gets_every_read_that_has_a_permit(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.topology.nodes[REPLICA_A].breaker = BREAKER_OPEN;
    w.topology.nodes[REPLICA_B].breaker = BREAKER_HALF_OPEN;
    w.trial_ok = 1 << REPLICA_B;
    replica(&w, ROUTER_REASON_SELECT);
    assert_true(w.choice.is_trial);
    w.trial_ok = 0;
    primary(&w, ROUTER_REASON_BREAKER_OPEN, true);
}

/* How many of 4000 reads go to B. */
static int share_of_b(struct world *w)
{
    int count = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        w->random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) | UINT64_C(1) << 63;
        decide(w);
        count += w->choice.node == REPLICA_B;
    }
    return count;
}

static void the_quicker_the_idler_and_the_heavier_get_more(void **arg)
{
    (void)arg;
    struct world w = healthy();
    w.loads[REPLICA_A] = (struct router_load){.latency_ns = MS, .in_flight = 3};
    w.loads[REPLICA_B] = (struct router_load){.latency_ns = MS, .in_flight = 3};
    assert_in_range(share_of_b(&w), 1800, 2200);
    w.loads[REPLICA_B].latency_ns = 2 * MS;
    assert_in_range(share_of_b(&w), 900, 1100); /* drawn twice: still seen */
    w.loads[REPLICA_B].in_flight = 0;
    assert_in_range(share_of_b(&w), 2900, 3100);
    w.topology.nodes[REPLICA_B].weight_permille = 100;
    assert_in_range(share_of_b(&w), 900, 1100);
    w.topology.nodes[REPLICA_B].weight_permille = 0;
    assert_int_equal(share_of_b(&w), 0);
    w.topology.nodes[REPLICA_A].weight_permille = UINT16_MAX;
    w.topology.nodes[REPLICA_B].weight_permille = UINT16_MAX;
    w.loads[REPLICA_A] = (struct router_load){.latency_ns = UINT64_MAX, .in_flight = UINT32_MAX};
    assert_in_range(share_of_b(&w), 2900, 3100); /* nothing overflows */
}

static void of_equal_ones_the_heavier_gets_three_of_four(void **arg)
{
    (void)arg;
    struct world w = healthy();
    for (uint32_t i = 0; i < ROUTER_NODES_MAX; i++)
        w.loads[i] = (struct router_load){.latency_ns = MS};
    w.topology.nodes[REPLICA_A].weight_permille = 111;
    assert_in_range(share_of_b(&w), 2900, 3100);
    w.topology.nodes[REPLICA_B].weight_permille = 111;
    assert_in_range(share_of_b(&w), 1800, 2200);
    w.topology.nodes[REPLICA_A].weight_permille = 112;
    assert_in_range(share_of_b(&w), 900, 1100);
}

static void latency_jumps_up_and_creeps_down(void **arg)
{
    (void)arg;
    struct router_load load = {0};
    router_load_observe(&load, 100 * MS, 0);
    assert_int_equal(load.latency_ns, 100 * MS);
    for (int i = 0; i < 1000; i++) /* one second of samples */
        router_load_observe(&load, MS, MS);
    assert_in_range(load.latency_ns, 85 * MS, 95 * MS);
    for (int i = 0; i < 30000; i++)
        router_load_observe(&load, MS, MS);
    assert_in_range(load.latency_ns, MS, 5 * MS);
    load.latency_ns = UINT64_MAX;
    for (int i = 0; i < 500; i++)
        router_load_observe(&load, MS, SECOND);
    assert_in_range(load.latency_ns, MS, 2 * MS);
    load.latency_ns = 2 * MS;
    router_load_observe(&load, MS, UINT64_MAX);
    assert_int_equal(load.latency_ns, MS);
}

/* ---- EXPLAIN (ROUTE), texts ---- */

static void explain_says_why_each_node_was_passed_over(void **arg)
{
    (void)arg;
    struct world w = healthy();
    assert_int_equal(router_refusal(&w.topology, &w.request, PRIMARY, NOW), ROUTER_REASON_NONE);
    assert_int_equal(router_refusal(&w.topology, &w.request, REPLICA_A, NOW), ROUTER_REASON_NONE);
    w.topology.nodes[REPLICA_A].drained = true;
    w.topology.nodes[PRIMARY].breaker = BREAKER_OPEN;
    assert_int_equal(router_refusal(&w.topology, &w.request, REPLICA_A, NOW),
                     ROUTER_REASON_DRAINED);
    assert_int_equal(router_refusal(&w.topology, &w.request, PRIMARY, NOW),
                     ROUTER_REASON_BREAKER_OPEN);
    w.request.class.verdict = ROUTER_VERDICT_WRITE;
    w.request.class.reason = ROUTER_REASON_DML;
    assert_int_equal(router_refusal(&w.topology, &w.request, REPLICA_B, NOW), ROUTER_REASON_DML);
}

static void levels_have_names(void **arg)
{
    (void)arg;
    enum router_level level = ROUTER_LEVEL_PRIMARY;
    assert_true(router_level_parse("Bounded", &level));
    assert_int_equal(level, ROUTER_LEVEL_BOUNDED);
    assert_string_equal(router_level_text(level), "bounded");
    assert_false(router_level_parse("strict", &level));
    assert_false(router_level_parse("", &level));
    assert_int_equal(level, ROUTER_LEVEL_BOUNDED);
}

/* ---- random worlds ---- */

static uint64_t seed;

static uint64_t draw(void)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool rarely(void)
{
    return draw() % 5 == 0;
}

static uint64_t recently(void)
{
    return rarely() ? 0 : NOW - draw() % (draw() % 2 == 0 ? 200 * MS : 20 * SECOND);
}

static void random_world(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->topology.nodes_count = (uint32_t)(draw() % (ROUTER_NODES_MAX + 1));
    for (uint32_t i = 0; i < w->topology.nodes_count; i++) {
        struct router_node *n = &w->topology.nodes[i];
        n->role = (uint8_t)(rarely() ? draw() % 3 : ROUTER_ROLE_REPLICA);
        n->breaker = (uint8_t)(rarely() ? draw() % BREAKER_STATE_COUNT : BREAKER_CLOSED);
        n->gate = (uint8_t)(rarely() ? draw() % BREAKER_GATE_COUNT : BREAKER_GATE_OPEN);
        n->drained = rarely();
        n->lag_hard = rarely();
        n->shard = (uint8_t)(draw() % 2);
        n->weight_permille = (uint16_t)(rarely() ? 0 : draw() % 3000);
        n->fresh_as_of_ns = recently();
        w->loads[i] = (struct router_load){.latency_ns = draw() % (10 * MS),
                                           .in_flight = (uint32_t)(draw() % 50)};
    }
    struct router_request *r = &w->request;
    r->class.verdict =
        (uint8_t)(draw() % 2 == 0 ? ROUTER_VERDICT_READ : draw() % ROUTER_VERDICT_COUNT);
    r->class.reason = (uint8_t)(1 + draw() % (ROUTER_REASON_COUNT - 1));
    r->class.alone = draw() % 2 == 0;
    r->class.by_node_type = draw() % 2 == 0;
    r->class.has_transaction = rarely();
    r->class.hinted = rarely();
    r->shard = (uint8_t)(draw() % 2);
    r->level = (uint8_t)(draw() % (ROUTER_LEVEL_PRIMARY + 1));
    r->route = (uint8_t)(rarely() ? draw() % 3 : ROUTER_ROUTE_AUTO);
    r->reads = (uint8_t)(rarely() ? draw() % 3 : ROUTER_READS_AUTO);
    r->fallback_allowed = draw() % 2 == 0;
    r->begins_read_only = rarely();
    r->in_plain_block = rarely();
    r->in_write_block = rarely();
    r->floor_node = (uint8_t)(draw() % 2 == 0 ? ROUTER_NODE_NONE : draw() % ROUTER_NODES_MAX);
    r->floor_ns = recently();
    r->avoid_node = (uint8_t)(rarely() ? draw() % ROUTER_NODES_MAX : ROUTER_NODE_NONE);
    r->last_write_ns = draw() % 2 == 0 ? 0 : rarely() ? ROUTER_NEVER_NS : recently();
    r->global_write_ns = draw() % 2 == 0 ? 0 : recently();
    r->max_lag_ns = rarely() ? 0 : draw() % (10 * SECOND);
    w->trial_ok = (uint32_t)draw();
    w->random = draw();
}

/* The promises of a read on a replica, spelt out one by one and not as the code has them. */
static void check_replica(const struct world *w, uint32_t node)
{
    const struct router_node *n = &w->topology.nodes[node];
    const struct router_request *r = &w->request;

    assert_int_equal(n->role, ROUTER_ROLE_REPLICA);
    assert_int_equal(n->shard, r->shard);
    assert_int_not_equal(n->breaker, BREAKER_OPEN);
    assert_false(n->drained);
    assert_false(n->lag_hard);
    assert_true(n->weight_permille > 0);
    assert_int_not_equal(node, r->avoid_node);
    if (n->breaker == BREAKER_HALF_OPEN)
        assert_true((w->trial_ok >> node & 1) != 0);
    assert_int_not_equal(n->gate, BREAKER_GATE_PAUSED);
    assert_int_not_equal(n->gate, BREAKER_GATE_RECEIVER);
    assert_int_not_equal(n->gate, BREAKER_GATE_TIMELINE);
    if (r->reads == ROUTER_READS_REPLICAS)
        return;
    assert_int_not_equal(r->level, ROUTER_LEVEL_PRIMARY);
    assert_true(n->fresh_as_of_ns != 0);
    if (r->level == ROUTER_LEVEL_EVENTUAL)
        return;
    assert_int_equal(n->gate, BREAKER_GATE_OPEN);
    if (r->max_lag_ns != 0)
        assert_true(NOW - n->fresh_as_of_ns <= r->max_lag_ns);
    if (r->level == ROUTER_LEVEL_BOUNDED)
        return;
    assert_true(n->fresh_as_of_ns >= r->last_write_ns);
    if (r->floor_node != ROUTER_NODE_NONE && r->floor_node != node)
        assert_true(n->fresh_as_of_ns >= r->floor_ns);
    if (r->level == ROUTER_LEVEL_GLOBAL)
        assert_true(n->fresh_as_of_ns >= r->global_write_ns);
}

static void check_statement(const struct world *w)
{
    const struct router_request *r = &w->request;
    const struct router_class *c = &r->class;

    if (c->verdict != ROUTER_VERDICT_READ && !r->begins_read_only) {
        assert_int_equal(c->verdict, ROUTER_VERDICT_WRITE);
        assert_int_equal(r->route, ROUTER_ROUTE_REPLICA);
        assert_true(c->alone && !c->by_node_type);
    }
    assert_int_not_equal(c->verdict, ROUTER_VERDICT_PIN);
    assert_int_not_equal(c->verdict, ROUTER_VERDICT_SESSION);
    assert_false(r->in_plain_block || r->in_write_block);
    assert_int_not_equal(r->route, ROUTER_ROUTE_PRIMARY);
    assert_int_not_equal(r->reads, ROUTER_READS_PRIMARY);
}

static void check_primary(const struct world *w)
{
    const struct router_node *n = &w->topology.nodes[w->choice.node];

    assert_int_equal(n->role, ROUTER_ROLE_PRIMARY);
    assert_int_equal(n->shard, w->request.shard);
    assert_int_not_equal(n->breaker, BREAKER_OPEN);
    assert_false(n->drained);
    assert_int_not_equal(w->choice.node, w->request.avoid_node);
    if (w->choice.fell_back)
        assert_true(w->request.fallback_allowed);
}

static void random_worlds_keep_every_promise(void **arg)
{
    (void)arg;
    uint32_t on_replica = 0;
    uint32_t on_primary = 0;
    uint32_t refused = 0;

    for (seed = 1; on_replica + on_primary + refused < 300000;) {
        struct world w;
        random_world(&w);
        decide(&w);
        assert_in_range(w.choice.reason, 1, ROUTER_REASON_COUNT - 1);
        if (w.choice.target == ROUTER_TARGET_REPLICA && w.choice.node != ROUTER_NODE_NONE) {
            on_replica++;
            check_statement(&w);
            assert_true((w.choice.fit >> w.choice.node & 1) != 0);
        } else if (w.choice.node != ROUTER_NODE_NONE) {
            on_primary++;
            check_primary(&w);
        } else {
            refused++;
        }
        for (uint32_t i = 0; i < ROUTER_NODES_MAX; i++) {
            if ((w.choice.fit >> i & 1) == 0)
                continue;
            check_replica(&w, i);
            assert_int_equal(router_refusal(&w.topology, &w.request, (uint8_t)i, NOW),
                             ROUTER_REASON_NONE);
        }
    }
    assert_true(on_replica > 30000 && on_primary > 30000 && refused > 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_goes_to_a_replica),
        cmocka_unit_test(what_is_no_read_goes_to_the_primary_with_its_own_reason),
        cmocka_unit_test(what_is_local_goes_nowhere_but_the_proxy),
        cmocka_unit_test(a_level_a_setting_or_a_hint_forces_the_primary),
        cmocka_unit_test(a_route_to_replicas_lifts_doubts_but_no_write),
        cmocka_unit_test(blocks_that_may_write_stay_on_the_primary),
        cmocka_unit_test(everything_in_a_read_only_block_reads),
        cmocka_unit_test(without_a_working_primary_writes_go_nowhere),
        cmocka_unit_test(a_primary_on_trial_needs_a_permit),
        cmocka_unit_test(of_two_primaries_the_working_one_counts),
        cmocka_unit_test(a_primary_with_a_weight_takes_its_share),
        cmocka_unit_test(what_all_replicas_suffer_from_becomes_the_reason),
        cmocka_unit_test(without_replicas_a_read_on_the_primary_is_no_fallback),
        cmocka_unit_test(replicas_of_another_shard_do_not_count),
        cmocka_unit_test(a_read_follows_its_own_write),
        cmocka_unit_test(only_level_global_sees_the_writes_of_others),
        cmocka_unit_test(a_bound_on_lag_is_kept),
        cmocka_unit_test(eventual_reads_keep_the_freshest_of_the_lagging),
        cmocka_unit_test(a_session_never_goes_back_in_time),
        cmocka_unit_test(a_retry_goes_elsewhere),
        cmocka_unit_test(the_most_telling_refusal_is_the_reason),
        cmocka_unit_test(reads_to_replicas_set_level_and_fallback_aside),
        cmocka_unit_test(a_trial_gets_about_one_read_in_sixteen),
        cmocka_unit_test(a_lone_trial_gets_every_read_that_has_a_permit),
        cmocka_unit_test(the_quicker_the_idler_and_the_heavier_get_more),
        cmocka_unit_test(of_equal_ones_the_heavier_gets_three_of_four),
        cmocka_unit_test(latency_jumps_up_and_creeps_down),
        cmocka_unit_test(explain_says_why_each_node_was_passed_over),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(random_worlds_keep_every_promise),
    };
    return cmocka_run_group_tests_name("router_decide", tests, NULL, NULL);
}
