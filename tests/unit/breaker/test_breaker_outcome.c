/* SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker_outcome: the table of what counts, row by row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "breaker_outcome.h"

enum { ON_PRIMARY = 1, ON_REPLICA = 2, ON_BOTH = 3 };

/* clang-format off */
#define EVENT(event)    BREAKER_EVENT_##event, NULL, ""
#define ANSWER(state)   BREAKER_EVENT_SQLSTATE, state, ""
#define RESULT(name, why) .input = BREAKER_##name, .reason = BREAKER_REASON_##why
#define FAILURE(why)       {RESULT(FAILURE, why)}
#define FAILURE_PROBE(why) {RESULT(FAILURE, why), .probe_now = true}
#define HALF_FAILURE(why)  {RESULT(HALF_FAILURE, why)}
#define FATAL_PROBE(why)   {RESULT(FATAL, why), .probe_now = true}
#define CONNECT(state)  BREAKER_EVENT_CONNECT_SQLSTATE, state, ""

static const struct {
    enum breaker_event event;
    const char *sqlstate;
    const char *routine;
    int where;
    struct breaker_outcome expected;
} rows[] = {
    {EVENT(ANSWERED),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
    {EVENT(CONNECT_FAILED),        ON_BOTH,    FAILURE_PROBE(CONNECT)},
    {EVENT(CONNECT_REFUSED_TWICE), ON_BOTH,    FATAL_PROBE(CONNECT)},
    {EVENT(LOST_RUNNING),          ON_BOTH,    FAILURE_PROBE(ERRORS)},
    {EVENT(LOST_IDLE),             ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {EVENT(QUERY_TIMEOUT),         ON_BOTH,    {.input = BREAKER_NEUTRAL, .probe_now = true}},
    {EVENT(CLIENT_GAVE_UP),        ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {EVENT(NO_PROTOCOL),           ON_BOTH,    FATAL_PROBE(ERRORS)},
    {ANSWER("57P02"),              ON_BOTH,    FATAL_PROBE(ERRORS)},
    {ANSWER("57P03"),              ON_BOTH,    FATAL_PROBE(STARTING)},
    {ANSWER("57P01"),              ON_BOTH,    {.input = BREAKER_NEUTRAL, .probe_now = true}},
    {ANSWER("57P04"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("57P05"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("25P03"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("25P04"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("57014"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("40001"),              ON_REPLICA, {.input = BREAKER_NEUTRAL}},
    {ANSWER("40001"),              ON_PRIMARY, {.input = BREAKER_SUCCESS}},
    {ANSWER("40P01"),              ON_PRIMARY, {.input = BREAKER_SUCCESS}},
    {ANSWER("25006"),              ON_PRIMARY, {.input = BREAKER_NEUTRAL, .probe_now = true}},
    {ANSWER("25006"),              ON_REPLICA, {.input = BREAKER_SUCCESS}}, /* a RAISE */
    {BREAKER_EVENT_WRITE_REFUSED, "25006", "PreventCommandIfReadOnly",
                                   ON_PRIMARY, FATAL_PROBE(ROLE)},
    {BREAKER_EVENT_SQLSTATE, "25006", "PreventCommandDuringRecovery",
                                   ON_PRIMARY, FATAL_PROBE(ROLE)},
    {BREAKER_EVENT_SQLSTATE, "25006", "PreventCommandIfReadOnly",
                                   ON_REPLICA, {.input = BREAKER_NEUTRAL, .misroute = true}},
    {BREAKER_EVENT_SQLSTATE, "XX000", "GetNewObjectId",
                                   ON_REPLICA, {.input = BREAKER_NEUTRAL, .misroute = true}},
    {BREAKER_EVENT_SQLSTATE, "0A000", "get_relation_info",
                                   ON_REPLICA, {.input = BREAKER_NEUTRAL, .misroute = true}},
    {BREAKER_EVENT_SQLSTATE, "55000", "LockAcquireExtended",
                                   ON_REPLICA, {.input = BREAKER_NEUTRAL, .misroute = true}},
    {ANSWER("53300"),              ON_BOTH,    {.input = BREAKER_NEUTRAL, .overload = true}},
    {ANSWER("53400"),              ON_BOTH,    {.input = BREAKER_NEUTRAL, .overload = true}},
    {ANSWER("53100"),              ON_BOTH,    HALF_FAILURE(ERRORS)},
    {ANSWER("53200"),              ON_BOTH,    HALF_FAILURE(ERRORS)},
    {ANSWER("58000"),              ON_BOTH,    FAILURE(ERRORS)},
    {ANSWER("58030"),              ON_BOTH,    FAILURE(ERRORS)},
    {ANSWER("58P01"),              ON_BOTH,    FAILURE(ERRORS)},
    {ANSWER("XX001"),              ON_REPLICA, FAILURE(ERRORS)},
    {ANSWER("XX002"),              ON_REPLICA, FAILURE(ERRORS)},
    {ANSWER("XX001"),              ON_PRIMARY, {.input = BREAKER_NEUTRAL, .alert = true}},
    {ANSWER("XX002"),              ON_PRIMARY, {.input = BREAKER_NEUTRAL, .alert = true}},
    {ANSWER("XX000"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("08006"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("08P01"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("26000"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {ANSWER("42P05"),              ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {CONNECT("28P01"),             ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {CONNECT("28000"),             ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {CONNECT("3D000"),             ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {CONNECT("42501"),             ON_BOTH,    {.input = BREAKER_NEUTRAL}},
    {CONNECT("53300"),             ON_BOTH,    {.input = BREAKER_NEUTRAL, .overload = true}},
    {CONNECT("57P03"),             ON_BOTH,    FATAL_PROBE(STARTING)},
    {CONNECT("22023"),             ON_BOTH,    {.input = BREAKER_NEUTRAL}}, /* never a success */
    {ANSWER("42501"),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
    {ANSWER("42601"),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
    {ANSWER("23505"),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
    {ANSWER("55000"),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
    {ANSWER("0A000"),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
    {ANSWER("P0001"),              ON_BOTH,    {.input = BREAKER_SUCCESS}},
};
/* clang-format on */

static void every_row_of_the_table_holds(void **arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int where = ON_PRIMARY; where <= ON_REPLICA; where++) {
            if ((rows[i].where & where) == 0)
                continue;
            const struct breaker_outcome got = breaker_judge(rows[i].event, rows[i].sqlstate,
                                                             rows[i].routine, where == ON_REPLICA);
            const struct breaker_outcome want = rows[i].expected;
            if (got.input != want.input || got.reason != want.reason ||
                got.probe_now != want.probe_now || got.misroute != want.misroute ||
                got.overload != want.overload || got.alert != want.alert)
                fail_msg("row %zu (%s, %s) on a %s: input %d reason %d probe %d", i,
                         rows[i].sqlstate ? rows[i].sqlstate : "-", rows[i].routine,
                         where == ON_REPLICA ? "replica" : "primary", (int)got.input,
                         (int)got.reason, got.probe_now);
        }
    }
}

static void a_refusal_needs_both_sqlstate_and_routine(void **arg)
{
    (void)arg;
    assert_true(breaker_is_refusal("25006", "PreventCommandIfReadOnly"));
    assert_true(breaker_is_refusal("25006", "PreventCommandDuringRecovery"));
    assert_true(breaker_is_refusal("25006", "replorigin_check_prerequisites"));
    assert_true(breaker_is_refusal("0A000", "call_enum_check_hook"));
    assert_true(breaker_is_refusal("0A000", "call_bool_check_hook"));
    assert_true(breaker_is_refusal("0A000", "CheckLogicalDecodingRequirements"));
    assert_true(breaker_is_refusal("55000", "pg_current_wal_lsn"));
    assert_true(breaker_is_refusal("55000", "pg_current_wal_insert_lsn"));
    assert_true(breaker_is_refusal("55000", "pg_switch_wal"));
    assert_true(breaker_is_refusal("XX000", "GetNewTransactionId"));
    assert_true(breaker_is_refusal("XX000", "XLogBeginInsert"));
    assert_false(breaker_is_refusal("25006", ""));
    assert_false(breaker_is_refusal("25006", "exec_stmt_raise"));
    assert_false(breaker_is_refusal("25006", "pgfdw_report_error"));
    assert_false(breaker_is_refusal("55000", "currval_oid"));
    assert_false(breaker_is_refusal("0A000", "RevalidateCachedQuery"));
    assert_false(breaker_is_refusal("XX000", "PreventCommandIfReadOnly"));
    assert_false(breaker_is_refusal("42P01", "get_relation_info"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_holds),
        cmocka_unit_test(a_refusal_needs_both_sqlstate_and_routine),
    };
    return cmocka_run_group_tests_name("breaker_outcome", tests, NULL, NULL);
}
