/* SPDX-License-Identifier: PostgreSQL
 *
 * What the session core tells a node's breaker: nothing that a client can write counts by itself.
 */
#include "core_story.h"

static void expect_outcome(const struct story *st, enum breaker_input input, uint8_t suspicion,
                           uint8_t node)
{
    assert_int_equal(st->outcome.input, input);
    assert_int_equal(st->outcome.suspicion, suspicion);
    assert_int_equal(st->outcome_node, node);
}

static void an_error_of_a_statement_is_an_answer_whatever_it_says(void **state)
{
    struct story *st = *state;
    static const char *const errors[] = {"E(57P03) Z(I)", "E(57P02) Z(I)", "E(XX000) Z(I)",
                                         "E(08006) Z(I)", "E(53300) Z(I)", "E(25006) Z(I)"};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        story_client(st, "Q(DO 'x')");
        story_server(st, 0, errors[i]);
    }
    assert_int_equal(st->outcome.input, BREAKER_SUCCESS); /* nothing else was ever told */
    assert_false(st->outcome.alert);
}

static void a_grave_one_on_the_primary_is_an_alert_and_asks_for_a_page(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(DO 'x')");
    story_server(st, 0, "E(58030) Z(I)");
    expect_outcome(st, BREAKER_SUCCESS, BREAKER_SUSPICION_NONE, 0);
    assert_true(st->outcome.alert && st->outcome.page && st->outcome.probe_now);
}

static void the_last_words_of_a_server_count(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(DO 'x')");
    story_server(st, 0, "X(57P02)");
    expect_outcome(st, BREAKER_FATAL, BREAKER_SUSPICION_NONE, 0);
}

static void an_ended_backend_asks_for_a_witness(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(DO 'x')");
    story_server(st, 0, "X(57P01)");
    expect_outcome(st, BREAKER_NEUTRAL, BREAKER_SUSPICION_NONE, 0);
    assert_true(st->outcome.probe_now);
}

static void a_read_that_meets_a_sick_disk_is_answered_elsewhere(void **state)
{
    struct story *st = *state;
    static const char *const errors[] = {"E(58P01) Z(I)", "E(53100) Z(I)", "E(XX001) Z(I)"};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        st->outcome = (struct breaker_outcome){0};
        story_client(st, "Q(SELECT 1)");
        story_server(st, 1, errors[i]);
        story_expect(st, "replica: Q(SELECT 1)\nclose replica\nprimary: Q(SELECT 1)\n");
        expect_outcome(st, BREAKER_NEUTRAL, BREAKER_SUSPICION_NONE, 1);
        story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
        story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease primary\n");
        expect_outcome(st, BREAKER_NEUTRAL, BREAKER_SUSPICION_SICK, 1);
        assert_true(st->outcome_what != 0); /* the statement's fingerprint */
    }
}

static void one_that_fails_elsewhere_too_suspects_nobody(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "E(58030) Z(I)");
    story_server(st, 0, "E(58030) Z(I)"); /* so it is the statement's own */
    story_expect(st, "replica: Q(SELECT 1)\nclose replica\nprimary: Q(SELECT 1)\n"
                     "client: E(58030) Z(I)\nrelease primary\n");
    assert_int_equal(st->outcome.suspicion, BREAKER_SUSPICION_NONE);
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)"); /* nor does the next one */
    assert_int_equal(st->outcome.suspicion, BREAKER_SUSPICION_NONE);
}

/* A view may write, on the primary: that it was answered there proves nothing. */
static void a_read_that_nobody_knows_suspects_nobody_by_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT * FROM t)");
    story_server(st, 1, "E(58030) Z(I)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    assert_int_equal(st->outcome.suspicion, BREAKER_SUSPICION_NONE);
}

static void what_was_begun_stays_where_it_is(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) E(58030) Z(I)");
    story_expect(st, "replica: Q(SELECT 1)\nclient: T D(1) E(58030) Z(I)\nrelease replica\n");
    expect_outcome(st, BREAKER_SUCCESS, BREAKER_SUSPICION_NONE, 1);
}

static void a_connection_that_breaks_is_a_suspicion(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(DO 'x')");
    story_server_dies(st, 0);
    expect_outcome(st, BREAKER_NEUTRAL, BREAKER_SUSPICION_BROKEN, 0);
    assert_true(st->outcome.probe_now);
}

static void a_reply_that_does_not_fit_is_a_suspicion_and_is_told(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|DO 'x') B() E() S");
    story_server(st, 0, "1 1");
    expect_outcome(st, BREAKER_NEUTRAL, BREAKER_SUSPICION_BROKEN, 0);
    assert_int_equal(st->misfit, '1');
    assert_string_equal(st->misfit_expected, "BindComplete");
}

static void behind_a_client_that_left_it_is_not_even_that(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(DO 'x')");
    story_leave(st);
    story_server(st, 0, "2");
    expect_outcome(st, BREAKER_NEUTRAL, BREAKER_SUSPICION_NONE, 0);
    assert_int_equal(st->misfit, '2');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(an_error_of_a_statement_is_an_answer_whatever_it_says),
        STORY(a_grave_one_on_the_primary_is_an_alert_and_asks_for_a_page),
        STORY(the_last_words_of_a_server_count),
        STORY(an_ended_backend_asks_for_a_witness),
        STORY(a_read_that_meets_a_sick_disk_is_answered_elsewhere),
        STORY(one_that_fails_elsewhere_too_suspects_nobody),
        STORY(a_read_that_nobody_knows_suspects_nobody_by_the_primary),
        STORY(what_was_begun_stays_where_it_is),
        STORY(a_connection_that_breaks_is_a_suspicion),
        STORY(a_reply_that_does_not_fit_is_a_suspicion_and_is_told),
        STORY(behind_a_client_that_left_it_is_not_even_that),
    };
    return cmocka_run_group_tests_name("core_evidence", tests, NULL, NULL);
}
