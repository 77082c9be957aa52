/* SPDX-License-Identifier: PostgreSQL
 *
 * What a server answers becomes facts, and nothing else does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy_catalog.h"

struct row {
    const char *kind, *name, *flags;
};

static PGresult *result_of(const struct row *rows, int count, int columns)
{
    PGresAttDesc names[4] = {{.name = (char[]){"kind"}},
                             {.name = (char[]){"name"}},
                             {.name = (char[]){"flags"}},
                             {.name = (char[]){"more"}}};
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_true(PQsetResultAttrs(result, columns, names));
    for (int i = 0; i < count; i++) {
        const char *const values[] = {rows[i].kind, rows[i].name, rows[i].flags, ""};
        for (int column = 0; column < columns; column++) {
            char text[80];
            (void)snprintf(text, sizeof(text), "%s", values[column]);
            assert_true(PQsetvalue(result, i, column, text, (int)strlen(text)));
        }
    }
    return result;
}

static bool read_rows(const struct row *rows, int count, int columns, struct catalog_answer *ret)
{
    PGresult *result = result_of(rows, count, columns);
    const bool good = catalog_answer_read(result, ret);
    PQclear(result);
    return good;
}

static void answer_free(struct catalog_answer *answer)
{
    free(answer->facts);
    free(answer->names);
}

static void test_rows_become_facts_and_settings(void **state)
{
    (void)state;
    const struct row rows[] = {{"0", "plain", "1"},      {"1", "f", "11"},
                               {"6", "app.tenant", "0"}, {"2", "Quoted name", "3"},
                               {"3", "===", "3"},        {"6", "app.mode", "0"}};
    struct catalog_answer answer;
    assert_true(read_rows(rows, 6, 3, &answer)); /* the PGresult is gone */
    assert_int_equal(answer.facts_count, 4);
    assert_int_equal(answer.facts[1].kind, ROUTER_FACT_FUNCTION);
    assert_int_equal(answer.facts[1].flags,
                     ROUTER_FACT_THERE | ROUTER_FACT_RUNS | ROUTER_FACT_HOME);
    assert_true(router_name_is(answer.facts[2].name, "Quoted name"));
    assert_string_equal(answer.facts[3].name.base, "===");
    assert_int_equal(answer.settings_count, 2);
    assert_string_equal(answer.settings[1], "app.mode");
    answer_free(&answer);
}

static void test_a_name_is_there_whatever_its_flags_say(void **state)
{
    (void)state;
    const struct row rows[] = {{"0", "plain", "0"}};
    struct catalog_answer answer;
    assert_true(read_rows(rows, 1, 3, &answer));
    assert_int_equal(answer.facts[0].flags, ROUTER_FACT_THERE);
    answer_free(&answer);
}

static void test_a_database_may_be_empty(void **state)
{
    (void)state;
    struct catalog_answer answer;
    assert_true(read_rows(NULL, 0, 3, &answer));
    assert_int_equal(answer.facts_count + answer.settings_count, 0);
    answer_free(&answer);
}

static void test_settings_beyond_the_limit_are_left_out(void **state)
{
    (void)state;
    struct row rows[ROUTER_FACT_SETTINGS_MAX + 5];
    for (int i = 0; i < ROUTER_FACT_SETTINGS_MAX + 5; i++)
        rows[i] = (struct row){"6", "a.b", "0"};
    struct catalog_answer answer;
    assert_true(read_rows(rows, ROUTER_FACT_SETTINGS_MAX + 5, 3, &answer));
    assert_int_equal(answer.settings_count, ROUTER_FACT_SETTINGS_MAX);
    answer_free(&answer);
}

static void test_what_is_no_answer_is_refused(void **state)
{
    (void)state;
    static const struct row bad[] = {
        {"7", "x", "1"}, {"-1", "x", "1"}, {"", "x", "1"},   {"0", "x", "256"},
        {"0", "x", ""},  {"0", "x", "1x"}, {" 1", "x", "1"}, {"0", "x", "99999999999999999999"}};
    struct catalog_answer answer;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(read_rows(&bad[i], 1, 3, &answer));
        assert_null(answer.facts);
    }
    const struct row good = {"0", "x", "1"};
    assert_false(read_rows(&good, 1, 2, &answer));
    assert_false(read_rows(&good, 1, 4, &answer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_become_facts_and_settings),
        cmocka_unit_test(test_a_name_is_there_whatever_its_flags_say),
        cmocka_unit_test(test_a_database_may_be_empty),
        cmocka_unit_test(test_settings_beyond_the_limit_are_left_out),
        cmocka_unit_test(test_what_is_no_answer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
