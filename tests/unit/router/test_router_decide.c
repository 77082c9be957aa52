/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_decide: where a statement goes and why, one reason a story.
 */
#include "router_world.h"

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
    w.request.class.reason = ROUTER_REASON_UTILITY;
    w.request.class.home = true; /* ANALYZE, which a replica would refuse */
    primary(&w, ROUTER_REASON_UTILITY, false);
    w.request.class.home = false; /* a weak LOCK */
    replica(&w, ROUTER_REASON_READ_ONLY_TRANSACTION);
    w.request.class.reason = ROUTER_REASON_DML;
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
        cmocka_unit_test(explain_says_why_each_node_was_passed_over),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests_name("router_decide", tests, NULL, NULL);
}
