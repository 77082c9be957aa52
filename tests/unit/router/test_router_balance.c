/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_balance: which of the fit replicas gets a read: trials, weights and loads.
 */
#include "router_world.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trial_gets_about_one_read_in_sixteen),
        cmocka_unit_test(a_lone_trial_gets_every_read_that_has_a_permit),
        cmocka_unit_test(the_quicker_the_idler_and_the_heavier_get_more),
        cmocka_unit_test(of_equal_ones_the_heavier_gets_three_of_four),
        cmocka_unit_test(latency_jumps_up_and_creeps_down),
    };
    return cmocka_run_group_tests_name("router_balance", tests, NULL, NULL);
}
