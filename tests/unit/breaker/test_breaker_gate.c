/* SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker_gate: stories of the lag gate, one probe after the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "breaker.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

static const struct breaker_gate_config config = {.max_lag_ns = 5 * SECOND,
                                                  .lag_hard_ns = 30 * SECOND};

static bool probe(struct breaker_gate *gate, uint64_t lag_ns)
{
    const struct breaker_gate_sample sample = {.lag_ns = lag_ns};
    return breaker_gate_step(gate, &config, &sample);
}

static struct breaker_gate lagging(void)
{
    struct breaker_gate gate = {0};
    probe(&gate, 6 * SECOND);
    probe(&gate, 6 * SECOND);
    return gate;
}

static void one_probe_above_max_lag_does_not_shut(void **arg)
{
    (void)arg;
    struct breaker_gate gate = {0};
    for (int i = 0; i < 10; i++) {
        assert_false(probe(&gate, 6 * SECOND));
        assert_false(probe(&gate, 5 * SECOND));
    }
    assert_int_equal(gate.reason, BREAKER_GATE_OPEN);
}

static void two_probes_above_max_lag_shut(void **arg)
{
    (void)arg;
    struct breaker_gate gate = {0};
    assert_false(probe(&gate, 6 * SECOND));
    assert_true(probe(&gate, 6 * SECOND));
    assert_int_equal(gate.reason, BREAKER_GATE_LAGGING);
    assert_string_equal(breaker_gate_text(BREAKER_GATE_LAGGING), "lagging");
}

static void one_probe_above_the_hard_limit_shuts(void **arg)
{
    (void)arg;
    struct breaker_gate gate = {0};
    assert_true(probe(&gate, 31 * SECOND));
    assert_int_equal(gate.reason, BREAKER_GATE_LAGGING);
}

static void three_probes_below_half_open_again(void **arg)
{
    (void)arg;
    struct breaker_gate gate = lagging();
    assert_false(probe(&gate, 2 * SECOND));
    assert_false(probe(&gate, 2 * SECOND));
    assert_true(probe(&gate, 2 * SECOND));
    assert_int_equal(gate.reason, BREAKER_GATE_OPEN);
}

static void below_max_lag_but_above_half_stays_shut(void **arg)
{
    (void)arg;
    struct breaker_gate gate = lagging();
    for (int i = 0; i < 20; i++)
        assert_false(probe(&gate, 3 * SECOND));
    probe(&gate, 2 * SECOND);
    probe(&gate, 2 * SECOND);
    assert_false(probe(&gate, 3 * SECOND)); /* the row is broken */
    assert_false(probe(&gate, 2 * SECOND));
    assert_int_equal(gate.reason, BREAKER_GATE_LAGGING);
}

static void a_growing_lag_does_not_open(void **arg)
{
    (void)arg;
    struct breaker_gate gate = lagging();
    for (uint64_t lag_ns = 100 * MS; lag_ns < 2400 * MS; lag_ns += 500 * MS)
        assert_false(probe(&gate, lag_ns));
    assert_true(probe(&gate, 100 * MS)); /* it shrinks, and the row is long enough */
}

static void a_pause_shuts_at_once_and_says_so(void **arg)
{
    (void)arg;
    struct breaker_gate gate = {0};
    const struct breaker_gate_sample paused = {.lag_ns = 0, .replay_paused = true};
    assert_true(breaker_gate_step(&gate, &config, &paused));
    assert_int_equal(gate.reason, BREAKER_GATE_PAUSED);
    assert_false(probe(&gate, 1 * SECOND));
    assert_true(probe(&gate, 7 * SECOND)); /* it has to catch up first */
    assert_int_equal(gate.reason, BREAKER_GATE_LAGGING);
    assert_false(probe(&gate, 0));
    assert_false(probe(&gate, 0));
    assert_true(probe(&gate, 0));
}

static void the_worst_reason_wins(void **arg)
{
    (void)arg;
    struct breaker_gate gate = {0};
    struct breaker_gate_sample sample = {.replay_paused = true, .receiver_down = true};
    breaker_gate_step(&gate, &config, &sample);
    assert_int_equal(gate.reason, BREAKER_GATE_RECEIVER);
    sample.wrong_timeline = true;
    breaker_gate_step(&gate, &config, &sample);
    assert_int_equal(gate.reason, BREAKER_GATE_TIMELINE);
}

static void unknown_lag_neither_shuts_nor_opens(void **arg)
{
    (void)arg;
    struct breaker_gate gate = {0};
    for (int i = 0; i < 10; i++)
        assert_false(probe(&gate, UINT64_MAX));
    assert_int_equal(gate.reason, BREAKER_GATE_OPEN);
    gate = lagging();
    probe(&gate, 0);
    probe(&gate, 0);
    probe(&gate, UINT64_MAX);
    assert_false(probe(&gate, 0)); /* the row of good ones began anew */
    assert_int_equal(gate.reason, BREAKER_GATE_LAGGING);
}

static void without_a_max_lag_only_the_hard_limit_shuts(void **arg)
{
    (void)arg;
    const struct breaker_gate_config hard = {.max_lag_ns = 0, .lag_hard_ns = 30 * SECOND};
    struct breaker_gate gate = {0};
    struct breaker_gate_sample sample = {.lag_ns = 29 * SECOND};
    for (int i = 0; i < 10; i++)
        assert_false(breaker_gate_step(&gate, &hard, &sample));
    sample.lag_ns = 31 * SECOND;
    assert_true(breaker_gate_step(&gate, &hard, &sample));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_probe_above_max_lag_does_not_shut),
        cmocka_unit_test(two_probes_above_max_lag_shut),
        cmocka_unit_test(one_probe_above_the_hard_limit_shuts),
        cmocka_unit_test(three_probes_below_half_open_again),
        cmocka_unit_test(below_max_lag_but_above_half_stays_shut),
        cmocka_unit_test(a_growing_lag_does_not_open),
        cmocka_unit_test(a_pause_shuts_at_once_and_says_so),
        cmocka_unit_test(the_worst_reason_wins),
        cmocka_unit_test(unknown_lag_neither_shuts_nor_opens),
        cmocka_unit_test(without_a_max_lag_only_the_hard_limit_shuts),
    };
    return cmocka_run_group_tests_name("breaker_gate", tests, NULL, NULL);
}
