/* SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker: stories of one breaker in virtual time. Its trials: test_breaker_trial.c.
 */
#include "breaker_story.h"

/* ---- starting ---- */

static void a_fresh_node_is_open_until_its_first_good_probe(void **arg)
{
    (void)arg;
    struct story s = starting();
    assert_state(s, OPEN);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_STARTING);
    feed(&s, BREAKER_PROBE_FAILURE);
    feed(&s, BREAKER_SUCCESS);
    wait(&s, 100 * SECOND);
    assert_state(s, OPEN);
    assert_true(feed(&s, BREAKER_PROBE_SUCCESS));
    assert_state(s, CLOSED);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_NONE);
}

/* ---- closed ---- */

static void three_failures_in_a_row_open(void **arg)
{
    (void)arg;
    struct story s = closed();
    assert_false(feed(&s, BREAKER_FAILURE));
    assert_false(feed_as(&s, BREAKER_PROBE_FAILURE, BREAKER_REASON_CONNECT));
    assert_state(s, CLOSED);
    assert_true(feed_as(&s, BREAKER_FAILURE, BREAKER_REASON_CONNECT));
    assert_state(s, OPEN);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_CONNECT);
}

static void a_success_of_either_kind_ends_the_row(void **arg)
{
    (void)arg;
    struct story s = closed();
    for (int i = 0; i < 10; i++) {
        feed(&s, BREAKER_FAILURE);
        feed(&s, BREAKER_FAILURE);
        feed(&s, i % 2 == 0 ? BREAKER_SUCCESS : BREAKER_PROBE_SUCCESS);
    }
    assert_state(s, CLOSED);
}

static void neutral_resets_nothing(void **arg)
{
    (void)arg;
    struct story s = closed();
    feed(&s, BREAKER_FAILURE);
    feed(&s, BREAKER_FAILURE);
    feed(&s, BREAKER_NEUTRAL);
    feed(&s, BREAKER_FAILURE);
    assert_state(s, OPEN);
}

static void a_flood_of_neutral_results_keeps_it_closed(void **arg)
{
    (void)arg;
    struct story s = closed();
    for (int i = 0; i < 1000; i++)
        assert_false(feed(&s, BREAKER_NEUTRAL));
    assert_state(s, CLOSED);
}

static void half_failures_count_by_twos(void **arg)
{
    (void)arg;
    struct story s = closed();
    for (int i = 0; i < 5; i++)
        feed(&s, BREAKER_HALF_FAILURE);
    assert_state(s, CLOSED);
    feed(&s, BREAKER_HALF_FAILURE);
    assert_state(s, OPEN);
}

static void a_fatal_input_opens_at_once_even_before_min_dwell(void **arg)
{
    (void)arg;
    struct story s = starting();
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_true(feed_as(&s, BREAKER_FATAL, BREAKER_REASON_ROLE));
    assert_state(s, OPEN);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_ROLE);
}

static void failures_before_min_dwell_open_when_it_is_over(void **arg)
{
    (void)arg;
    struct story s = starting();
    feed(&s, BREAKER_PROBE_SUCCESS);
    for (int i = 0; i < 3; i++)
        feed_as(&s, BREAKER_FAILURE, BREAKER_REASON_CONNECT);
    assert_state(s, CLOSED);
    assert_int_equal(breaker_deadline_ns(&s.breaker, &s.config), s.now_ns + SECOND);
    wait(&s, SECOND - 1);
    assert_state(s, CLOSED);
    wait(&s, 1);
    assert_state(s, OPEN);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_CONNECT);
}

/* ---- generations ---- */

static void late_success_is_ignored(void **arg)
{
    (void)arg;
    struct story s = opened();
    const uint32_t old = s.breaker.generation - 1;
    to_half_open(&s);
    wait(&s, 2 * SECOND);
    for (int i = 0; i < 100; i++)
        breaker_step(&s.breaker, &s.config, BREAKER_SUCCESS, BREAKER_REASON_NONE, old, 0, s.now_ns);
    assert_int_equal(s.breaker.trial_results, 0);
    assert_state(s, HALF_OPEN);
}

static void late_failure_is_ignored(void **arg)
{
    (void)arg;
    struct story s = half_open();
    const uint32_t old = s.breaker.generation;
    for (int i = 0; i < 10; i++)
        feed(&s, BREAKER_SUCCESS);
    assert_state(s, CLOSED);
    s.now_ns += 5 * SECOND;
    for (int i = 0; i < 10; i++)
        breaker_step(&s.breaker, &s.config, BREAKER_FATAL, BREAKER_REASON_ERRORS, old, 0, s.now_ns);
    assert_state(s, CLOSED);
}

static void every_change_makes_a_new_generation(void **arg)
{
    (void)arg;
    struct story s = starting();
    uint32_t last = s.breaker.generation;
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_int_equal(s.breaker.generation, ++last);
    feed(&s, BREAKER_FATAL);
    assert_int_equal(s.breaker.generation, ++last);
    to_half_open(&s);
    assert_int_equal(s.breaker.generation, ++last);
    assert_int_equal(s.breaker.transitions, 3);
}

/* ---- open ---- */

static void probes_before_the_open_time_is_over_do_not_count(void **arg)
{
    (void)arg;
    struct story s = opened();
    for (int i = 0; i < 5; i++)
        feed(&s, BREAKER_PROBE_SUCCESS);
    s.now_ns += 2 * SECOND;
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_state(s, OPEN);
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_state(s, HALF_OPEN);
}

static void a_failed_probe_starts_the_row_of_good_ones_again(void **arg)
{
    (void)arg;
    struct story s = opened();
    s.now_ns += 2 * SECOND;
    feed(&s, BREAKER_PROBE_SUCCESS);
    feed(&s, BREAKER_PROBE_FAILURE);
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_state(s, OPEN);
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_state(s, HALF_OPEN);
    assert_int_equal(s.breaker.reason, BREAKER_REASON_CONNECT);
}

static void clients_successes_never_close_an_open_breaker(void **arg)
{
    (void)arg;
    struct story s = opened();
    s.now_ns += 100 * SECOND;
    for (int i = 0; i < 100; i++)
        feed(&s, BREAKER_SUCCESS);
    assert_state(s, OPEN);
}

/* Without jitter 1, 2, 4, 8, 16, 30, 30; flap_limit would multiply on top. */
static void open_times_double_up_to_their_bound(void **arg)
{
    (void)arg;
    struct story s = opened();
    s.config.flap_limit = 0;
    const uint64_t seconds[] = {1, 2, 4, 8, 16, 30, 30};
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        const uint64_t open_ns = s.breaker.retry_at_ns - s.breaker.since_ns;
        assert_int_equal(open_ns, seconds[i] * SECOND / 4 * 3);
        to_half_open(&s);
        assert_state(s, HALF_OPEN);
        feed(&s, BREAKER_FATAL);
    }
}

static void jitter_stays_within_a_quarter_and_under_the_bound(void **arg)
{
    (void)arg;
    uint64_t shortest_ns = UINT64_MAX;
    uint64_t longest_ns = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        struct story s = closed();
        s.random = i * UINT64_C(0x9e3779b97f4a7c15);
        feed(&s, BREAKER_FATAL);
        const uint64_t open_ns = s.breaker.retry_at_ns - s.breaker.since_ns;
        shortest_ns = open_ns < shortest_ns ? open_ns : shortest_ns;
        longest_ns = open_ns > longest_ns ? open_ns : longest_ns;
    }
    assert_in_range(shortest_ns, 750 * MS, 800 * MS);
    assert_in_range(longest_ns, 1200 * MS, 1250 * MS);
}

static void a_long_quiet_time_forgets_the_levels_one_by_one(void **arg)
{
    (void)arg;
    struct story s = closed();
    s.breaker.level = 3;
    s.breaker.decay_at_ns = s.now_ns + 60 * SECOND;
    assert_int_equal(breaker_deadline_ns(&s.breaker, &s.config), s.now_ns + 60 * SECOND);
    wait(&s, 60 * SECOND - 1);
    assert_int_equal(s.breaker.level, 3);
    wait(&s, 1);
    assert_int_equal(s.breaker.level, 2);
    wait(&s, 120 * SECOND);
    assert_int_equal(s.breaker.level, 0);
    assert_int_equal(breaker_deadline_ns(&s.breaker, &s.config), UINT64_MAX);
}

static void more_than_four_opens_in_a_minute_are_flapping(void **arg)
{
    (void)arg;
    struct story s = closed();
    for (int i = 0; i < 5; i++) {
        s.breaker.level = 0; /* the level apart */
        feed(&s, BREAKER_FATAL);
        assert_int_equal(s.breaker.flapping, i == 4);
        if (i == 4)
            break;
        to_half_open(&s);
        wait(&s, SECOND);
        for (int j = 0; j < 10; j++)
            feed(&s, BREAKER_SUCCESS);
        assert_state(s, CLOSED);
    }
    assert_int_equal(s.breaker.retry_at_ns - s.breaker.since_ns, 3 * SECOND); /* 75 % of 4 s */
    to_half_open(&s);
    wait(&s, SECOND);
    for (int j = 0; j < 10; j++)
        feed(&s, BREAKER_SUCCESS);
    assert_true(s.breaker.flapping);
    wait(&s, 60 * SECOND);
    assert_false(s.breaker.flapping);
}

/* ---- the override ---- */

/* A primary of which there is no other: nobody can be served better by waiting for it. */
static struct story alone(void)
{
    struct story s = closed();
    s.config.alone = true;
    return s;
}

static void a_primary_alone_closes_at_its_first_good_probe(void **arg)
{
    (void)arg;
    struct story s = alone();
    for (uint32_t i = 0; i < 20; i++) { /* however often, and however soon again */
        feed_as(&s, BREAKER_FATAL, BREAKER_REASON_CONNECT);
        assert_state(s, OPEN);
        feed(&s, BREAKER_PROBE_FAILURE);
        feed(&s, BREAKER_SUCCESS); /* of a client that was in it */
        assert_state(s, OPEN);
        s.now_ns += MS;
        feed(&s, BREAKER_PROBE_SUCCESS);
        assert_state(s, CLOSED);
        assert_int_equal(s.breaker.level, 0);
        assert_false(s.breaker.flapping);
    }
}

static void a_primary_alone_on_trial_closes_at_its_next_good_probe(void **arg)
{
    (void)arg;
    struct story s = half_open();
    s.config.alone = true; /* the other one has gone meanwhile */
    feed(&s, BREAKER_PROBE_FAILURE);
    assert_state(s, HALF_OPEN);
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_state(s, CLOSED);
}

static void a_primary_alone_opens_without_dwelling(void **arg)
{
    (void)arg;
    struct story s = alone();
    feed(&s, BREAKER_FATAL);
    feed(&s, BREAKER_PROBE_SUCCESS);
    for (int i = 0; i < 2; i++)
        feed(&s, BREAKER_PROBE_FAILURE);
    assert_state(s, CLOSED);
    feed(&s, BREAKER_PROBE_FAILURE);
    assert_state(s, OPEN);
}

static void under_an_override_the_state_below_goes_on(void **arg)
{
    (void)arg;
    struct story s = closed();
    assert_true(breaker_force(&s.breaker, BREAKER_FORCED_OPEN, s.now_ns));
    assert_int_equal(breaker_effective(&s.breaker), BREAKER_OPEN);
    assert_int_equal(breaker_effective_reason(&s.breaker), BREAKER_REASON_ADMIN);
    feed_as(&s, BREAKER_FATAL, BREAKER_REASON_ROLE);
    assert_false(breaker_force(&s.breaker, BREAKER_AUTO, s.now_ns)); /* open either way */
    assert_int_equal(breaker_effective_reason(&s.breaker), BREAKER_REASON_ROLE);
    assert_true(breaker_force(&s.breaker, BREAKER_FORCED_CLOSED, s.now_ns));
    assert_int_equal(breaker_effective(&s.breaker), BREAKER_CLOSED);
    to_half_open(&s);
    assert_true(breaker_force(&s.breaker, BREAKER_AUTO, s.now_ns));
    assert_int_equal(breaker_effective(&s.breaker), BREAKER_HALF_OPEN);
}

/* ---- weight ---- */

static void a_closed_breaker_starts_slowly(void **arg)
{
    (void)arg;
    struct story s = half_open();
    for (int i = 0; i < 10; i++)
        feed(&s, BREAKER_SUCCESS);
    assert_state(s, CLOSED);
    assert_int_equal(breaker_weight_permille(&s.breaker, &s.config, s.now_ns), 100);
    assert_in_range(breaker_weight_permille(&s.breaker, &s.config, s.now_ns + 5 * SECOND), 545,
                    552);
    assert_int_equal(breaker_weight_permille(&s.breaker, &s.config, s.now_ns + 10 * SECOND), 1000);
    s.config.slow_start_ns = 0;
    assert_int_equal(breaker_weight_permille(&s.breaker, &s.config, s.now_ns), 1000);
}

static void the_first_admission_is_no_slow_start(void **arg)
{
    (void)arg;
    struct story s = starting();
    feed(&s, BREAKER_PROBE_SUCCESS);
    assert_int_equal(breaker_weight_permille(&s.breaker, &s.config, s.now_ns), 1000);
}

/* ---- a longer story ---- */

/* A node that works 2 s and fails 2 s, with a probe every 500 ms: it soon stays open for long. */
static void a_flapping_node_makes_few_transitions(void **arg)
{
    (void)arg;
    struct story s = closed();
    const uint64_t begin_ns = s.now_ns;
    const uint64_t before = s.breaker.transitions;
    for (; s.now_ns < begin_ns + 120 * SECOND; s.now_ns += 100 * MS) {
        const bool works = (s.now_ns - begin_ns) / (2 * SECOND) % 2 == 0;
        if ((s.now_ns - begin_ns) % (500 * MS) == 0)
            feed(&s, works ? BREAKER_PROBE_SUCCESS : BREAKER_PROBE_FAILURE);
        if (s.breaker.state != BREAKER_OPEN)
            feed(&s, works ? BREAKER_SUCCESS : BREAKER_FAILURE);
    }
    assert_in_range(s.breaker.transitions - before, 3, 40); /* 60 changes of the node itself */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_node_is_open_until_its_first_good_probe),
        cmocka_unit_test(three_failures_in_a_row_open),
        cmocka_unit_test(a_success_of_either_kind_ends_the_row),
        cmocka_unit_test(neutral_resets_nothing),
        cmocka_unit_test(a_flood_of_neutral_results_keeps_it_closed),
        cmocka_unit_test(half_failures_count_by_twos),
        cmocka_unit_test(a_fatal_input_opens_at_once_even_before_min_dwell),
        cmocka_unit_test(failures_before_min_dwell_open_when_it_is_over),
        cmocka_unit_test(late_success_is_ignored),
        cmocka_unit_test(late_failure_is_ignored),
        cmocka_unit_test(every_change_makes_a_new_generation),
        cmocka_unit_test(probes_before_the_open_time_is_over_do_not_count),
        cmocka_unit_test(a_failed_probe_starts_the_row_of_good_ones_again),
        cmocka_unit_test(clients_successes_never_close_an_open_breaker),
        cmocka_unit_test(open_times_double_up_to_their_bound),
        cmocka_unit_test(jitter_stays_within_a_quarter_and_under_the_bound),
        cmocka_unit_test(a_long_quiet_time_forgets_the_levels_one_by_one),
        cmocka_unit_test(more_than_four_opens_in_a_minute_are_flapping),
        cmocka_unit_test(a_primary_alone_closes_at_its_first_good_probe),
        cmocka_unit_test(a_primary_alone_on_trial_closes_at_its_next_good_probe),
        cmocka_unit_test(a_primary_alone_opens_without_dwelling),
        cmocka_unit_test(under_an_override_the_state_below_goes_on),
        cmocka_unit_test(a_closed_breaker_starts_slowly),
        cmocka_unit_test(the_first_admission_is_no_slow_start),
        cmocka_unit_test(a_flapping_node_makes_few_transitions),
    };
    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
