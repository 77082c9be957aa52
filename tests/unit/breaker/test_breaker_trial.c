/* SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker_trial: a breaker that is HALF_OPEN: what ends its trial, and who gets a permit.
 */
#include "breaker_story.h"

/* ---- half open ---- */

static void ten_good_results_close(void **arg)
{
    (void)arg;
    struct story s = half_open();
    for (int i = 0; i < 9; i++)
        assert_false(feed(&s, i == 4 ? BREAKER_FAILURE : BREAKER_SUCCESS));
    assert_true(feed(&s, BREAKER_SUCCESS));
    assert_state(s, CLOSED);
}

static void the_second_failure_of_a_trial_opens_the_next_level(void **arg)
{
    (void)arg;
    struct story s = half_open();
    feed(&s, BREAKER_FAILURE);
    for (int i = 0; i < 5; i++)
        feed(&s, BREAKER_SUCCESS);
    assert_state(s, HALF_OPEN);
    assert_true(feed(&s, BREAKER_FAILURE));
    assert_state(s, OPEN);
    assert_int_equal(s.breaker.retry_at_ns - s.breaker.since_ns, 1500 * MS);
}

static void neutral_results_bring_a_trial_no_further(void **arg)
{
    (void)arg;
    struct story s = half_open();
    for (int i = 0; i < 100; i++)
        feed(&s, BREAKER_NEUTRAL);
    assert_state(s, HALF_OPEN);
    assert_int_equal(s.breaker.trial_results, 0);
}

static void a_verdict_waits_for_min_dwell_and_admits_nobody_meanwhile(void **arg)
{
    (void)arg;
    struct story s = opened();
    to_half_open(&s);
    for (int i = 0; i < 10; i++)
        feed(&s, BREAKER_SUCCESS);
    assert_state(s, HALF_OPEN);
    assert_false(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    assert_int_equal(breaker_deadline_ns(&s.breaker, &s.config), s.now_ns + SECOND);
    wait(&s, SECOND);
    assert_state(s, CLOSED);
}

static void a_quiet_shard_closes_by_its_probes_at_trial_max(void **arg)
{
    (void)arg;
    struct story s = half_open();
    const uint64_t until_ns = s.breaker.since_ns + 5 * SECOND;
    assert_int_equal(breaker_deadline_ns(&s.breaker, &s.config), until_ns);
    feed(&s, BREAKER_PROBE_SUCCESS);
    wait(&s, until_ns - s.now_ns - 1);
    assert_state(s, HALF_OPEN);
    wait(&s, 1);
    assert_state(s, CLOSED);
}

static void a_quiet_shard_whose_probe_failed_opens_at_trial_max(void **arg)
{
    (void)arg;
    struct story s = half_open();
    feed_as(&s, BREAKER_PROBE_FAILURE, BREAKER_REASON_CONNECT);
    wait(&s, 5 * SECOND);
    assert_state(s, OPEN);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_CONNECT);
}

/* ---- permits ---- */

static void at_most_trial_permits_are_out(void **arg)
{
    (void)arg;
    struct story s = half_open();
    for (int i = 0; i < 3; i++)
        assert_true(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    for (int i = 0; i < 1000; i++)
        assert_false(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    breaker_permit_release(&s.breaker);
    assert_true(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    assert_false(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
}

static void there_are_no_permits_but_in_half_open(void **arg)
{
    (void)arg;
    struct story s = closed();
    assert_false(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    s = opened();
    assert_false(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    s = half_open();
    breaker_force(&s.breaker, BREAKER_FORCED_OPEN, s.now_ns);
    assert_false(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
}

/* Any client can hold one for as long as it likes: our own probes say what is slow. */
static void expired_leases_are_neutral_however_many(void **arg)
{
    (void)arg;
    struct story s = half_open();
    s.config.trial_max_ns = 60 * SECOND;
    for (int i = 0; i < 2; i++)
        breaker_permit_acquire(&s.breaker, &s.config, s.now_ns);
    assert_int_equal(breaker_deadline_ns(&s.breaker, &s.config), s.now_ns + 5 * SECOND);
    for (uint32_t round = 0; round < 4; round++) {
        wait(&s, 5 * SECOND);
        assert_int_equal(s.breaker.permits_out, 0);
        assert_int_equal(s.breaker.trial_bad, 0);
        assert_int_equal(s.breaker.leases_expired, 2 + 3 * round);
        assert_state(s, HALF_OPEN);
        for (int i = 0; i < 3; i++)
            assert_true(breaker_permit_acquire(&s.breaker, &s.config, s.now_ns));
    }
}

static void a_change_of_state_voids_the_leases(void **arg)
{
    (void)arg;
    struct story s = half_open();
    breaker_permit_acquire(&s.breaker, &s.config, s.now_ns);
    feed(&s, BREAKER_FATAL);
    assert_int_equal(s.breaker.permits_out, 0);
    breaker_permit_release(&s.breaker); /* of a lease that is gone: nothing happens */
    assert_int_equal(s.breaker.permits_out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_good_results_close),
        cmocka_unit_test(the_second_failure_of_a_trial_opens_the_next_level),
        cmocka_unit_test(neutral_results_bring_a_trial_no_further),
        cmocka_unit_test(a_verdict_waits_for_min_dwell_and_admits_nobody_meanwhile),
        cmocka_unit_test(a_quiet_shard_closes_by_its_probes_at_trial_max),
        cmocka_unit_test(a_quiet_shard_whose_probe_failed_opens_at_trial_max),
        cmocka_unit_test(at_most_trial_permits_are_out),
        cmocka_unit_test(there_are_no_permits_but_in_half_open),
        cmocka_unit_test(expired_leases_are_neutral_however_many),
        cmocka_unit_test(a_change_of_state_voids_the_leases),
    };
    return cmocka_run_group_tests_name("breaker_trial", tests, NULL, NULL);
}
