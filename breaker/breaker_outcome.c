/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_outcome: the table "what counts against a node", and how a standby says no. Pure.
 */
#include "breaker_outcome.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

enum node_kind { PRIMARY = 1, REPLICA = 2, ANY = PRIMARY | REPLICA };

/* Words of the server's own: FATAL, PANIC, and what our probes are answered. One row a SQLSTATE, or
 * a class of them by its prefix. The first row that matches decides; what none matches says nothing
 * of the node. */
struct rule {
    const char *prefix;
    enum node_kind kind;
    struct breaker_outcome outcome;
};

/* clang-format off */
#define VERDICT(kind, ...) { .input = BREAKER_##kind, __VA_ARGS__ }
#define N            VERDICT(NEUTRAL, .probe_now = false)
#define N_AND(flag)  VERDICT(NEUTRAL, .flag = true)
#define F(why)       VERDICT(FAILURE, .reason = BREAKER_REASON_##why)
#define F_PROBE(why) VERDICT(FAILURE, .reason = BREAKER_REASON_##why, .probe_now = true)
#define F_HALF(why)  VERDICT(HALF_FAILURE, .reason = BREAKER_REASON_##why)
#define F_NOW(why)   VERDICT(FATAL, .reason = BREAKER_REASON_##why, .probe_now = true)

static const struct rule rules[] = {
    {"57P02", ANY,     F_NOW(ERRORS)},     /* crash_shutdown: all sessions are being dropped */
    {"57P03", ANY,     F_NOW(STARTING)},   /* cannot_connect_now */
    {"57P01", ANY,     N_AND(probe_now)},  /* perhaps just this one backend was terminated */
    {"57P04", ANY,     N},                 /* database_dropped */
    {"57P05", ANY,     N},                 /* idle_session_timeout */
    {"57014", ANY,     N},                 /* query_canceled */
    {"25P03", ANY,     N},                 /* idle_in_transaction_session_timeout */
    {"25P04", ANY,     N},                 /* transaction_timeout */
    {"40001", REPLICA, N},                 /* conflict with recovery */
    {"53300", ANY,     N_AND(overload)},   /* too_many_connections */
    {"53400", ANY,     N_AND(overload)},   /* configuration_limit_exceeded */
    {"53100", ANY,     F_HALF(ERRORS)},    /* disk_full */
    {"53200", ANY,     F_HALF(ERRORS)},    /* out_of_memory */
    {"58",    ANY,     F(ERRORS)},         /* errors of the system: files, I/O */
    {"XX001", REPLICA, F(ERRORS)},         /* data_corrupted */
    {"XX002", REPLICA, F(ERRORS)},         /* index_corrupted */
    {"XX001", PRIMARY, N_AND(alert)},      /* without the primary nothing would be better */
    {"XX002", PRIMARY, N_AND(alert)},
    {"XX000", ANY,     N},                 /* internal_error: a bug that one statement meets */
    {"08",    ANY,     N},                 /* a foreign data wrapper speaks of its own remote */
    /* A read-only transaction refuses so on a healthy primary too: the probe tells which it is. */
    {"25006", PRIMARY, N_AND(probe_now)},
};
/* clang-format on */

/* The routines by which a standby refuses what is no read. They are not localised. */
struct refusal {
    const char *sqlstate;
    const char *routine;
};
static const struct refusal refusals[] = {
    {"25006", "PreventCommandIfReadOnly"},
    {"25006", "PreventCommandDuringRecovery"},
    {"25006", "replorigin_check_prerequisites"},
    {"0A000", "call_enum_check_hook"}, /* SERIALIZABLE */
    {"0A000", "call_bool_check_hook"}, /* READ WRITE */
    {"0A000", "GetSerializableTransactionSnapshot"},
    {"0A000", "get_relation_info"}, /* temporary and unlogged relations */
    {"0A000", "CheckLogicalDecodingRequirements"},
    {"55000", "CheckLogicalDecodingRequirements"},
    {"55000", "LockAcquireExtended"},
    {"55000", "pg_current_wal_lsn"},
    {"55000", "pg_current_wal_insert_lsn"},
    {"55000", "pg_current_wal_flush_lsn"},
    {"55000", "pg_switch_wal"},
    {"55000", "pg_walfile_name"},
    {"55000", "pg_walfile_name_offset"},
    {"55000", "pg_create_restore_point"},
    {"55000", "pg_log_standby_snapshot"},
    {"55000", "gin_clean_pending_list"},
    {"55000", "brin_summarize_range"},
    {"55000", "brin_desummarize_range"},
    {"55000", "heap_force_common"}, /* pg_surgery */
    {"XX000", "GetNewObjectId"},
    {"XX000", "GetNewTransactionId"},
    {"XX000", "GetNewMultiXactId"},
    {"XX000", "XLogBeginInsert"},
};

bool breaker_is_refusal(const char *sqlstate, const char *routine)
{
    assert(sqlstate != NULL && routine != NULL);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (strcmp(refusals[i].sqlstate, sqlstate) == 0 &&
            strcmp(refusals[i].routine, routine) == 0)
            return true;
    }
    return false;
}

bool breaker_is_sickness(const char *sqlstate)
{
    return strncmp(sqlstate, "58", 2) == 0 || strcmp(sqlstate, "53100") == 0 ||
           strcmp(sqlstate, "53200") == 0 || strcmp(sqlstate, "XX001") == 0 ||
           strcmp(sqlstate, "XX002") == 0;
}

static struct breaker_outcome judge_server(const char *sqlstate, bool on_replica)
{
    const enum node_kind kind = on_replica ? REPLICA : PRIMARY;

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *rule = &rules[i];
        if ((rule->kind & kind) != 0 && strncmp(rule->prefix, sqlstate, strlen(rule->prefix)) == 0)
            return rule->outcome;
    }
    return (struct breaker_outcome)N;
}

/* An answer, whatever it says. What would be grave if it were true is looked at by a probe. */
static struct breaker_outcome judge_client(const char *sqlstate, const char *routine,
                                           bool on_replica)
{
    if (on_replica && breaker_is_refusal(sqlstate, routine))
        return (struct breaker_outcome)N_AND(misroute);
    struct breaker_outcome outcome = {.input = BREAKER_SUCCESS};
    if (breaker_is_sickness(sqlstate))
        outcome.alert = outcome.page = outcome.probe_now = true;
    else if (!on_replica && strcmp(sqlstate, "25006") == 0)
        outcome.probe_now = true; /* is it a primary still? */
    else if (strcmp(sqlstate, "57014") == 0 || (on_replica && strcmp(sqlstate, "40001") == 0))
        outcome.input = BREAKER_NEUTRAL; /* ended from outside, or by replay */
    return outcome;
}

/* At a pool's log-in a user meets what its role and its database are set to, which users may
 * change: a library that is to be loaded and is not there is 58P01. "Cannot connect now" is the
 * server's own word: no setting makes it. */
static struct breaker_outcome judge_connect(const char *sqlstate, bool on_replica)
{
    struct breaker_outcome outcome = judge_server(sqlstate, on_replica);
    if (outcome.input == BREAKER_NEUTRAL || strcmp(sqlstate, "57P03") == 0)
        return outcome;
    return (struct breaker_outcome)N_AND(probe_now);
}

/* "Out of shared memory" at the door is a limit, as too many connections is: one transaction that
 * takes all locks keeps newcomers out, while who is connected goes on. */
static struct breaker_outcome judge_door(const char *sqlstate, bool on_replica)
{
    if (strcmp(sqlstate, "53200") == 0)
        return (struct breaker_outcome)N_AND(overload);
    return judge_server(sqlstate, on_replica);
}

#define SUSPICION(kind) VERDICT(NEUTRAL, .suspicion = BREAKER_SUSPICION_##kind, .probe_now = true)

struct breaker_outcome breaker_judge(enum breaker_event event, const char *sqlstate,
                                     const char *routine, bool on_replica)
{
    switch (event) {
    case BREAKER_EVENT_ANSWERED:
        break;
    case BREAKER_EVENT_ERROR:
        return judge_client(sqlstate, routine, on_replica);
    case BREAKER_EVENT_FATAL:
    case BREAKER_EVENT_PROBE_ERROR:
        return judge_server(sqlstate, on_replica);
    case BREAKER_EVENT_PROBE_REJECTED:
        return judge_door(sqlstate, on_replica);
    case BREAKER_EVENT_CONNECT_SQLSTATE:
        return judge_connect(sqlstate, on_replica);
    case BREAKER_EVENT_CONNECT_FAILED:
        return (struct breaker_outcome)F_PROBE(CONNECT);
    case BREAKER_EVENT_CONNECT_REFUSED_TWICE:
        return (struct breaker_outcome)F_NOW(CONNECT);
    case BREAKER_EVENT_LOST_RUNNING:
    case BREAKER_EVENT_NO_PROTOCOL:
        return (struct breaker_outcome)SUSPICION(BROKEN);
    case BREAKER_EVENT_ELSEWHERE:
        return (struct breaker_outcome)VERDICT(NEUTRAL, .suspicion = BREAKER_SUSPICION_SICK,
                                               .probe_now = true, .page = true, .alert = true);
    case BREAKER_EVENT_LOST_IDLE:
    case BREAKER_EVENT_CLIENT_GAVE_UP:
    case BREAKER_EVENT_CONNECT_OURS:
        return (struct breaker_outcome)N;
    case BREAKER_EVENT_LEFT:
    case BREAKER_EVENT_CONNECT_LOGIN:
    case BREAKER_EVENT_QUERY_TIMEOUT:
        return (struct breaker_outcome)N_AND(probe_now);
    }
    return (struct breaker_outcome){.input = BREAKER_SUCCESS};
}
