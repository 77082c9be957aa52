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
#define ERROR(state)    BREAKER_EVENT_ERROR, state, ""
#define FATAL(state)    BREAKER_EVENT_FATAL, state, ""
#define PROBE(state)    BREAKER_EVENT_PROBE_ERROR, state, ""
#define DOOR(state)     BREAKER_EVENT_PROBE_REJECTED, state, ""
#define CONNECT(state)  BREAKER_EVENT_CONNECT_SQLSTATE, state, ""
#define RESULT(name, why) .input = BREAKER_##name, .reason = BREAKER_REASON_##why
#define FAILURE(why)       {RESULT(FAILURE, why)}
#define FAILURE_PROBE(why) {RESULT(FAILURE, why), .probe_now = true}
#define HALF_FAILURE(why)  {RESULT(HALF_FAILURE, why)}
#define FATAL_PROBE(why)   {RESULT(FATAL, why), .probe_now = true}
#define ANSWERED           {.input = BREAKER_SUCCESS}
#define ANSWERED_PROBE     {.input = BREAKER_SUCCESS, .probe_now = true}
#define ALARMING           {.input = BREAKER_SUCCESS, .probe_now = true, .page = true, \
                            .alert = true}
#define NEUTRAL            {.input = BREAKER_NEUTRAL}
#define NEUTRAL_PROBE      {.input = BREAKER_NEUTRAL, .probe_now = true}
#define OVERLOAD           {.input = BREAKER_NEUTRAL, .overload = true}
#define MISROUTE           {.input = BREAKER_NEUTRAL, .misroute = true}
#define BROKEN             {.input = BREAKER_NEUTRAL, .probe_now = true, \
                            .suspicion = BREAKER_SUSPICION_BROKEN}
#define SICK               {.input = BREAKER_NEUTRAL, .probe_now = true, .page = true, \
                            .alert = true, .suspicion = BREAKER_SUSPICION_SICK}

static const struct {
    enum breaker_event event;
    const char *sqlstate;
    const char *routine;
    int where;
    struct breaker_outcome expected;
} rows[] = {
    {EVENT(ANSWERED),              ON_BOTH,    ANSWERED},
    {EVENT(CONNECT_FAILED),        ON_BOTH,    FAILURE_PROBE(CONNECT)},
    {EVENT(CONNECT_REFUSED_TWICE), ON_BOTH,    FATAL_PROBE(CONNECT)},
    {EVENT(CONNECT_LOGIN),         ON_BOTH,    NEUTRAL_PROBE},
    {EVENT(CONNECT_OURS),          ON_BOTH,    NEUTRAL},
    {EVENT(LOST_RUNNING),          ON_BOTH,    BROKEN},
    {EVENT(LOST_IDLE),             ON_BOTH,    NEUTRAL},
    {EVENT(NO_PROTOCOL),           ON_BOTH,    BROKEN},
    {EVENT(LEFT),                  ON_BOTH,    NEUTRAL_PROBE},
    {EVENT(ELSEWHERE),             ON_REPLICA, SICK},
    {EVENT(QUERY_TIMEOUT),         ON_BOTH,    NEUTRAL_PROBE},
    {EVENT(CLIENT_GAVE_UP),        ON_BOTH,    NEUTRAL},
    /* what a client's own statement says: nothing counts */
    {ERROR("57P02"),               ON_BOTH,    ANSWERED},
    {ERROR("57P03"),               ON_BOTH,    ANSWERED},
    {ERROR("57P01"),               ON_BOTH,    ANSWERED},
    {ERROR("57014"),               ON_BOTH,    NEUTRAL},
    {ERROR("40001"),               ON_REPLICA, NEUTRAL},
    {ERROR("40001"),               ON_PRIMARY, ANSWERED},
    {ERROR("40P01"),               ON_PRIMARY, ANSWERED},
    {ERROR("53100"),               ON_BOTH,    ALARMING},
    {ERROR("53200"),               ON_BOTH,    ALARMING},
    {ERROR("58000"),               ON_BOTH,    ALARMING},
    {ERROR("58030"),               ON_BOTH,    ALARMING},
    {ERROR("58P01"),               ON_BOTH,    ALARMING},
    {ERROR("XX001"),               ON_BOTH,    ALARMING},
    {ERROR("XX002"),               ON_BOTH,    ALARMING},
    {ERROR("XX000"),               ON_BOTH,    ANSWERED},
    {ERROR("53300"),               ON_BOTH,    ANSWERED},
    {ERROR("08006"),               ON_BOTH,    ANSWERED},
    {ERROR("25006"),               ON_PRIMARY, ANSWERED_PROBE},
    {ERROR("25006"),               ON_REPLICA, ANSWERED}, /* a RAISE */
    {ERROR("42601"),               ON_BOTH,    ANSWERED},
    {ERROR("P0001"),               ON_BOTH,    ANSWERED},
    {ERROR(""),                    ON_BOTH,    ANSWERED},
    {BREAKER_EVENT_ERROR, "25006", "PreventCommandDuringRecovery", ON_PRIMARY, ANSWERED_PROBE},
    {BREAKER_EVENT_ERROR, "25006", "PreventCommandIfReadOnly", ON_REPLICA, MISROUTE},
    {BREAKER_EVENT_ERROR, "XX000", "GetNewObjectId",           ON_REPLICA, MISROUTE},
    {BREAKER_EVENT_ERROR, "0A000", "get_relation_info",        ON_REPLICA, MISROUTE},
    {BREAKER_EVENT_ERROR, "55000", "LockAcquireExtended",      ON_REPLICA, MISROUTE},
    /* the server's last words */
    {FATAL("57P02"),               ON_BOTH,    FATAL_PROBE(ERRORS)},
    {FATAL("57P03"),               ON_BOTH,    FATAL_PROBE(STARTING)},
    {FATAL("57P01"),               ON_BOTH,    NEUTRAL_PROBE},
    {FATAL("57P04"),               ON_BOTH,    NEUTRAL},
    {FATAL("57P05"),               ON_BOTH,    NEUTRAL},
    {FATAL("25P03"),               ON_BOTH,    NEUTRAL},
    {FATAL("25P04"),               ON_BOTH,    NEUTRAL},
    {FATAL("40001"),               ON_BOTH,    NEUTRAL},
    {FATAL("08P01"),               ON_BOTH,    NEUTRAL},
    {FATAL("XX000"),               ON_BOTH,    NEUTRAL},
    {FATAL("53100"),               ON_BOTH,    HALF_FAILURE(ERRORS)},
    {FATAL("58030"),               ON_BOTH,    FAILURE(ERRORS)},
    /* what our own probes are told */
    {PROBE("57P03"),               ON_BOTH,    FATAL_PROBE(STARTING)},
    {PROBE("53300"),               ON_BOTH,    OVERLOAD},
    {PROBE("53400"),               ON_BOTH,    OVERLOAD},
    {PROBE("53100"),               ON_BOTH,    HALF_FAILURE(ERRORS)},
    {PROBE("53200"),               ON_BOTH,    HALF_FAILURE(ERRORS)},
    {PROBE("58P01"),               ON_BOTH,    FAILURE(ERRORS)},
    {PROBE("XX001"),               ON_REPLICA, FAILURE(ERRORS)},
    {PROBE("XX001"),               ON_PRIMARY, {.input = BREAKER_NEUTRAL, .alert = true}},
    {PROBE("28P01"),               ON_BOTH,    NEUTRAL},
    {PROBE("42501"),               ON_BOTH,    NEUTRAL},
    {PROBE("25006"),               ON_PRIMARY, NEUTRAL_PROBE},
    {DOOR("57P03"),                ON_BOTH,    FATAL_PROBE(STARTING)},
    {DOOR("53300"),                ON_BOTH,    OVERLOAD},
    {DOOR("53200"),                ON_BOTH,    OVERLOAD}, /* one transaction may have all locks */
    {DOOR("58030"),                ON_BOTH,    FAILURE(ERRORS)},
    {DOOR("28P01"),                ON_BOTH,    NEUTRAL},
    /* a pool's log-in meets its user's and its database's settings, which are theirs to change */
    {CONNECT("28P01"),             ON_BOTH,    NEUTRAL},
    {CONNECT("28000"),             ON_BOTH,    NEUTRAL},
    {CONNECT("3D000"),             ON_BOTH,    NEUTRAL},
    {CONNECT("42501"),             ON_BOTH,    NEUTRAL},
    {CONNECT("53300"),             ON_BOTH,    OVERLOAD},
    {CONNECT("58P01"),             ON_BOTH,    NEUTRAL_PROBE}, /* local_preload_libraries */
    {CONNECT("53100"),             ON_BOTH,    NEUTRAL_PROBE},
    {CONNECT("57P03"),             ON_BOTH,    FATAL_PROBE(STARTING)},
    {CONNECT("22023"),             ON_BOTH,    NEUTRAL}, /* never a success */
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
                got.overload != want.overload || got.alert != want.alert || got.page != want.page ||
                got.suspicion != want.suspicion)
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

static void no_error_of_a_client_is_ever_a_failure(void **arg)
{
    (void)arg;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char state[6] = "";
    for (uint32_t n = 0; n < 36 * 36 * 36; n++) {
        const char *tails[] = {"00", "01", "02", "03", "06", "30", "P1"};
        for (size_t t = 0; t < sizeof(tails) / sizeof(tails[0]); t++) {
            state[0] = digits[n % 36], state[1] = digits[n / 36 % 36], state[2] = digits[n / 1296];
            state[3] = tails[t][0], state[4] = tails[t][1];
            for (int on_replica = 0; on_replica < 2; on_replica++) {
                const struct breaker_outcome o =
                    breaker_judge(BREAKER_EVENT_ERROR, state, "exec_stmt_raise", on_replica);
                assert_true(o.input == BREAKER_SUCCESS || o.input == BREAKER_NEUTRAL);
                assert_int_equal(o.suspicion, BREAKER_SUSPICION_NONE);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_holds),
        cmocka_unit_test(no_error_of_a_client_is_ever_a_failure),
        cmocka_unit_test(a_refusal_needs_both_sqlstate_and_routine),
    };
    return cmocka_run_group_tests_name("breaker_outcome", tests, NULL, NULL);
}
