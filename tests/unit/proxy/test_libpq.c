/* SPDX-License-Identifier: PostgreSQL
 *
 * test_libpq: what is read out of libpq's texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy_libpq.h"

static const char *state_of(const char *message)
{
    static char sqlstate[6];
    memset(sqlstate, 'x', sizeof(sqlstate));
    libpq_sqlstate(message, sqlstate);
    return sqlstate;
}

static void a_sqlstate_stands_behind_the_severity_in_any_language(void **state)
{
    (void)state;
    assert_string_equal(state_of("FATAL:  28P01: password authentication failed"), "28P01");
    assert_string_equal(state_of("connection to server at \"db\" (::1), port 5432 failed: "
                                 "FATAL:  57P03: the database system is starting up\n"),
                        "57P03");
    assert_string_equal(state_of("\xd0\x92\xd0\x90\xd0\x96\xd0\x9d\xd0\x9e:  3D000: no"), "3D000");
}

static void what_is_none_is_not_read_as_one(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "",
        "FATAL:  ",
        "FATAL:  28P0",
        "FATAL:  28P01",
        "FATAL:  sorry: too many clients already",
        "FATAL:  28p01: lower case",
        "connection to server at \"ABCDE: 5\" failed: Connection refused",
        "FATAL:  12345678: too long",
    };
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        assert_string_equal(state_of(messages[i]), "");
}

static void names_are_looked_up_and_nothing_else(void **state)
{
    (void)state;
    assert_true(libpq_needs_lookup("localhost"));
    assert_true(libpq_needs_lookup("db.example"));
    assert_true(libpq_needs_lookup("10.0.0.300"));
    assert_false(libpq_needs_lookup(""));
    assert_false(libpq_needs_lookup("/run/postgresql"));
    assert_false(libpq_needs_lookup("@abstract"));
    assert_false(libpq_needs_lookup("127.0.0.1"));
    assert_false(libpq_needs_lookup("::1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sqlstate_stands_behind_the_severity_in_any_language),
        cmocka_unit_test(what_is_none_is_not_read_as_one),
        cmocka_unit_test(names_are_looked_up_and_nothing_else),
    };
    return cmocka_run_group_tests_name("libpq", tests, NULL, NULL);
}
