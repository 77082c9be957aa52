/* SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker_suspicion: three users are a failure, one never is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "breaker_outcome.h"
#include "breaker_suspicion.h"

#define S UINT64_C(1000000000)
#define WINDOW (10 * S)

static bool suspect(struct breaker_suspicions *s, uint64_t who, uint64_t what, uint64_t now_ns)
{
    return breaker_suspect(s, (struct breaker_suspicion){.who = who, .login = who, .what = what},
                           WINDOW, now_ns);
}

static void three_users_with_three_statements_are_a_failure(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    assert_false(suspect(&s, 1, 10, 1 * S));
    assert_false(suspect(&s, 2, 20, 2 * S));
    assert_true(suspect(&s, 3, 30, 3 * S));
    assert_false(suspect(&s, 1, 10, 4 * S)); /* they were forgotten */
}

static void one_user_is_none_whatever_it_runs(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    for (uint64_t i = 0; i < 1000; i++)
        assert_false(suspect(&s, 1, i, S + i));
}

static void two_users_are_none(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    for (uint64_t i = 0; i < 1000; i++)
        assert_false(suspect(&s, i % 2, i, S + i));
}

static void many_users_with_one_statement_are_none(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    for (uint64_t i = 0; i < 1000; i++)
        assert_false(suspect(&s, i, 7, S + i));
}

static void only_those_of_the_window_count(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    assert_false(suspect(&s, 1, 10, 1 * S));
    assert_false(suspect(&s, 2, 20, 8 * S));
    assert_false(suspect(&s, 3, 30, 12 * S)); /* the first one is too old */
    assert_true(suspect(&s, 4, 40, 13 * S));
}

/* A user whose latest statement is another's hides neither itself nor the other for good. */
static void a_shared_statement_counts_once(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    assert_false(suspect(&s, 1, 10, 1 * S));
    assert_false(suspect(&s, 2, 10, 2 * S));
    assert_false(suspect(&s, 3, 30, 3 * S));
    assert_true(suspect(&s, 2, 20, 4 * S));
}

static void more_users_than_are_remembered_push_out_the_oldest(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    for (uint64_t i = 0; i < 100; i++)
        assert_false(suspect(&s, i, 7, S + i));
    assert_false(suspect(&s, 1000, 8, 2 * S));
    assert_true(suspect(&s, 1001, 9, 2 * S + 1));
}

/* One client, three databases that have a user of their own. */
static void one_login_under_three_names_is_none(void **arg)
{
    (void)arg;
    struct breaker_suspicions s = {0};
    for (uint64_t i = 0; i < 100; i++) {
        const struct breaker_suspicion one = {.who = i % 3, .login = 7, .what = i};
        assert_false(breaker_suspect(&s, one, WINDOW, S + i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_users_with_three_statements_are_a_failure),
        cmocka_unit_test(one_user_is_none_whatever_it_runs),
        cmocka_unit_test(one_login_under_three_names_is_none),
        cmocka_unit_test(two_users_are_none),
        cmocka_unit_test(many_users_with_one_statement_are_none),
        cmocka_unit_test(only_those_of_the_window_count),
        cmocka_unit_test(a_shared_statement_counts_once),
        cmocka_unit_test(more_users_than_are_remembered_push_out_the_oldest),
    };
    return cmocka_run_group_tests_name("breaker_suspicion", tests, NULL, NULL);
}
