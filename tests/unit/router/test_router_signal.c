/* SPDX-License-Identifier: PostgreSQL
 *
 * Texts that signal a backend, and what is next to them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "router_classify.h"
#include "router_signal.h"

static void assert_reads(const char *text, struct router_signal_call expected)
{
    struct router_signal_call call;
    struct router_class class;
    if (!router_signal_read(text, strlen(text), &call))
        fail_msg("not read: %s", text);
    assert_int_equal(call.kind, expected.kind);
    assert_int_equal(call.pid.parameter, expected.pid.parameter);
    assert_int_equal(call.pid.value, expected.pid.value);
    assert_int_equal(call.pid.cast, expected.pid.cast);
    assert_int_equal(call.timeout.given, expected.timeout.given);
    assert_int_equal(call.timeout.parameter, expected.timeout.parameter);
    assert_int_equal(call.timeout.value, expected.timeout.value);
    assert_int_equal(call.timeout.cast, expected.timeout.cast);
    router_classify(text, strlen(text), NULL, &class, NULL);
    assert_int_equal(class.signals, expected.kind);
    assert_int_equal(class.verdict, ROUTER_VERDICT_WRITE); /* where it is not ours */
}

#define CALL(k, ...)                                                    \
    (struct router_signal_call)                                         \
    {                                                                   \
        .kind = ROUTER_SIGNAL_##k, .pid = {.given = true, __VA_ARGS__ } \
    }

static void the_forms_are_read(void **state)
{
    (void)state;
    assert_reads("SELECT pg_terminate_backend(5000000)", CALL(TERMINATE, .value = 5000000));
    assert_reads("select pg_cancel_backend(5000000);", CALL(CANCEL, .value = 5000000));
    assert_reads("/* a */ SELECT -- b\n pg_catalog . PG_Cancel_Backend ( '7' ) ; ;",
                 CALL(CANCEL, .value = 7));
    assert_reads("SELECT pg_cancel_backend($1)", CALL(CANCEL, .parameter = 1));
    assert_reads("SELECT pg_cancel_backend($1::int4)",
                 CALL(CANCEL, .parameter = 1, .cast = ROUTER_SIGNAL_INT4));
    assert_reads("SELECT pg_cancel_backend(CAST($1 AS integer))",
                 CALL(CANCEL, .parameter = 1, .cast = ROUTER_SIGNAL_INT4));
    struct router_signal_call both = CALL(TERMINATE, .value = 7);
    both.timeout = (struct router_signal_argument){.given = true, .value = 100};
    assert_reads("SELECT pg_terminate_backend(7, 100)", both);
    assert_reads("SELECT pg_terminate_backend(7, timeout => 100)", both);
    both.timeout.cast = ROUTER_SIGNAL_INT8;
    assert_reads("SELECT pg_terminate_backend(7, 100::bigint)", both);
    both.timeout = (struct router_signal_argument){.given = true, .parameter = 2};
    assert_reads("SELECT pg_terminate_backend(7, $2)", both);
}

static void anything_else_is_not_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "SELECT",
        "SELECT pg_terminate_backend",
        "SELECT pg_terminate_backend(",
        "SELECT pg_terminate_backend()",
        "SELECT pg_terminate_backend(7",
        "SELECT pg_terminate_backend(7) x",
        "SELECT pg_terminate_backend(7) FROM t",
        "SELECT pg_terminate_backend(7), 1",
        "SELECT 1; SELECT pg_terminate_backend(7)",
        "SELECT pg_terminate_backend(7); SELECT 1",
        "SELECT pg_terminate_backend(-7)",
        "SELECT pg_terminate_backend(7.5)",
        "SELECT pg_terminate_backend(1e6)",
        "SELECT pg_terminate_backend(7 + 1)",
        "SELECT pg_terminate_backend(pid)",
        "SELECT pg_terminate_backend(E'7')",
        "SELECT pg_terminate_backend('7 ')",
        "SELECT pg_terminate_backend('')",
        "SELECT pg_terminate_backend(7::bigint)",
        "SELECT pg_terminate_backend(7::text)",
        "SELECT pg_terminate_backend(9999999999::int)",
        "SELECT pg_terminate_backend(99999999999999999999999999)",
        "SELECT pg_terminate_backend(NULL)",
        "SELECT pg_terminate_backend($0)",
        "SELECT pg_terminate_backend($3)",
        "SELECT pg_terminate_backend(7, 1, 2)",
        "SELECT pg_terminate_backend(7, timeout)",
        "SELECT pg_terminate_backend(7,)",
        "SELECT pg_cancel_backend(7, 1)",
        "SELECT public.pg_cancel_backend(7)",
        "SELECT pg_catalog pg_cancel_backend(7)",
        "SELECT \"pg_cancel_backend\"(7)",
        "SELECT pg_log_backend_memory_contexts(7)",
        "SELECT (pg_cancel_backend(7))",
        "EXPLAIN SELECT pg_cancel_backend(7)",
        "TABLE pg_cancel_backend",
        "SELECT pg_cancel_backend(7) /* ",
        "SELECT pg_cancel_backend('7",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct router_signal_call call;
        if (router_signal_read(texts[i], strlen(texts[i]), &call))
            fail_msg("read: %s", texts[i]);
    }
}

/* The class is kept for all texts that differ in their literals only. */
static void the_class_does_not_depend_on_literals(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT pg_terminate_backend(5000000)", "SELECT pg_terminate_backend('x')",
        "SELECT pg_terminate_backend(1, 2, 3)", "SELECT pg_terminate_backend(7.5)"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct router_class class;
        router_classify(texts[i], strlen(texts[i]), NULL, &class, NULL);
        assert_int_equal(class.signals, ROUTER_SIGNAL_TERMINATE);
    }
}

static void other_texts_have_no_such_class(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 1",
        "SELECT pg_terminate_backend(1); SELECT 1",
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity",
        "SELECT public.pg_terminate_backend(1)",
        "UPDATE t SET a = pg_terminate_backend(1)",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct router_class class;
        router_classify(texts[i], strlen(texts[i]), NULL, &class, NULL);
        assert_int_equal(class.signals, ROUTER_SIGNAL_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_forms_are_read),
        cmocka_unit_test(anything_else_is_not_read),
        cmocka_unit_test(the_class_does_not_depend_on_literals),
        cmocka_unit_test(other_texts_have_no_such_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
