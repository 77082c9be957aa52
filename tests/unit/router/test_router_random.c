/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_random: random worlds, and the promises that hold in all of them.
 */
#include "router_world.h"

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
        cmocka_unit_test(random_worlds_keep_every_promise),
    };
    return cmocka_run_group_tests_name("router_random", tests, NULL, NULL);
}
