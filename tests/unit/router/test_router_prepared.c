/* SPDX-License-Identifier: PostgreSQL
 *
 * What a text may set free, and which prepared statements it names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "router_classify.h"
#include "router_prepared.h"

static struct router_class class_of(const char *text)
{
    struct router_class class;
    router_classify(text, strlen(text), NULL, &class, NULL);
    return class;
}

static void what_may_undo_a_pin_asks(void **state)
{
    static const struct {
        const char *text;
        uint16_t asks;
    } cases[] = {
        {"SELECT pg_advisory_unlock(1)", ROUTER_PIN_ADVISORY},
        {"SELECT pg_advisory_unlock_shared($1, $2)", ROUTER_PIN_ADVISORY},
        {"SELECT 1 FROM t WHERE pg_advisory_unlock(id)", ROUTER_PIN_ADVISORY},
        {"SELECT pg_advisory_unlock_all()", ROUTER_PIN_ADVISORY},
        {"SELECT pg_try_advisory_lock(1)", ROUTER_PIN_ADVISORY},
        {"SELECT pg_advisory_lock(1)", 0},
        {"SELECT pg_advisory_xact_lock(1)", 0},
        {"UNLISTEN a", ROUTER_PIN_LISTEN},
        {"UNLISTEN *", ROUTER_PIN_LISTEN},
        {"CLOSE c", ROUTER_PIN_CURSOR},
        {"FETCH c", 0},
        {"DEALLOCATE p", ROUTER_PIN_PREPARE},
        {"DROP TABLE t", ROUTER_PIN_TEMP},
        {"DROP FUNCTION pg_temp.f()", ROUTER_PIN_TEMP},
        {"DISCARD TEMP", ROUTER_PIN_TEMP},
        {"DISCARD PLANS", 0},
        {"SELECT 1; CLOSE c; DROP VIEW v", ROUTER_PIN_CURSOR | ROUTER_PIN_TEMP},
        {"SELECT 1", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (class_of(cases[i].text).asks != cases[i].asks)
            fail_msg("%s", cases[i].text);
}

/* A function of that name may be another schema's; it may not be called at all. */
static void unlocking_all_is_not_believed(void **state)
{
    (void)state;
    assert_int_equal(class_of("SELECT pg_advisory_unlock_all()").releases, 0);
    assert_int_equal(class_of("SELECT x.pg_advisory_unlock_all()").releases, 0);
    assert_int_equal(class_of("UNLISTEN *").releases, ROUTER_PIN_LISTEN);
}

static void expect_names(const char *text, const char *names)
{
    struct router_prepared p;
    char all[256] = "";
    router_prepared_read(text, strlen(text), &p);
    for (uint32_t i = 0; i < p.count; i++) {
        assert_true(strlen(all) + strlen(p.names[i]) + 2 < sizeof(all));
        memcpy(all + strlen(all), p.names[i], strlen(p.names[i]) + 1);
        memcpy(all + strlen(all), " ", 2);
    }
    assert_string_equal(all, names);
    assert_int_equal(class_of(text).names_prepared, names[0] != '\0');
}

static void statements_are_named_by_execute_and_prepare(void **state)
{
    (void)state;
    expect_names("EXECUTE a(1, 'x')", "a ");
    expect_names("EXECUTE A; execute \"A b\"; EXECUTE a", "a A b ");
    expect_names("EXPLAIN (ANALYZE) EXECUTE a", "a ");
    expect_names("CREATE TEMP TABLE t AS EXECUTE a", "a ");
    expect_names("PREPARE p AS SELECT 1", "p ");
    expect_names("DEALLOCATE p; SELECT 1", "p ");
    expect_names("DEALLOCATE ALL", "");
    expect_names("SELECT 'EXECUTE a'", "");
}

static void of_too_many_names_some_are_left_out(void **state)
{
    (void)state;
    char text[1024] = "";
    struct router_prepared p;
    for (char c = 'a'; c <= 'z'; c++) {
        const char one[] = {'E', 'X', 'E', 'C', 'U', 'T', 'E', ' ', c, ';', '\0'};
        memcpy(text + strlen(text), one, sizeof(one));
    }
    router_prepared_read(text, strlen(text), &p);
    assert_int_equal(p.count, ROUTER_PREPARED_MAX);
    router_prepared_read("EXECUTE", 7, &p);
    assert_int_equal(p.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_undo_a_pin_asks),
        cmocka_unit_test(unlocking_all_is_not_believed),
        cmocka_unit_test(statements_are_named_by_execute_and_prepare),
        cmocka_unit_test(of_too_many_names_some_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
