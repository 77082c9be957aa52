/* SPDX-License-Identifier: PostgreSQL
 *
 * Blocks that are READ ONLY, on a replica: what takes them to the primary, what keeps them where
 * they are, and what becomes of them when their replica is lost.
 */
#include <stdio.h>

#include "core_story.h"

static void open_by_a_read_with(struct story *st, const char *begin)
{
    char messages[128];
    (void)snprintf(messages, sizeof(messages), "Q(%s) Q(SELECT 1)", begin);
    story_client(st, messages);
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    assert_true(st->session.backend != NULL && st->session.backend->is_replica);
    st->log_size = 0;
}

static void open_by_a_read(struct story *st)
{
    open_by_a_read_with(st, "BEGIN READ ONLY");
}

static void begin_again(struct story *st)
{
    story_end(st);
    story_begin(st);
}

/* ---- what is the primary's ---- */

static void what_nobody_knows_takes_the_block_to_the_primary(void **state)
{
    static const char *const texts[] = {
        "SELECT f(1)",
        "SELECT a FROM t WHERE f(a) > 1",
        "CALL p()",
        "DO 'BEGIN PERFORM f(1); END'",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_notify('a', 'b')",
        "SELECT txid_current()",
        "SELECT * FROM dblink('a', 'b') AS x(a int)",
        "NOTIFY a",
        "LISTEN a",
        "LOCK TABLE t IN SHARE MODE",
        "SELECT 1; SELECT f(1)",
        "SELECT set_config('a.b', x, false) FROM t",
        "EXPLAIN ANALYZE SELECT f(1)",
        "COPY (SELECT f(1)) TO STDOUT",
        "SELEC 1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct story *st = *state;
        char message[256];
        char log[512];
        open_by_a_read(st);
        (void)snprintf(message, sizeof(message), "Q(%s)", texts[i]);
        story_client(st, message);
        (void)snprintf(log, sizeof(log),
                       "release replica\nreplica: Q(ROLLBACK)\n"
                       "primary: P(|BEGIN READ ONLY) B() E %s\n",
                       message);
        story_expect(st, log);
        assert_int_equal(st->worker.counters.blocks_moved, 1);
        begin_again(st);
    }
}

static void in_the_extended_protocol_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|START TRANSACTION READ ONLY) B() E P(|SELECT 1) B() E S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "P(|SELECT f(1)) B() D(P) E S");
    story_expect(st, "release replica\nreplica: Q(ROLLBACK)\n"
                     "primary: P(|START TRANSACTION READ ONLY) B() E "
                     "P(|SELECT f(1)) B() D(P) E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 T(a) D(1) C(SELECT 1) Z(T)");
    story_expect(st, "client: 1 2 T D(1) C(SELECT 1) Z(T)\n");
    story_client(st, "Q(SELECT 1)"); /* the rest of it is there, too */
    story_expect(st, "primary: Q(SELECT 1)\n");
}

static void what_the_block_has_said_is_said_again(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(SET TRANSACTION READ ONLY)");
    story_server(st, 1, "1 2 C(BEGIN) C(SET) Z(T)");
    story_client(st, "Q(SET LOCAL statement_timeout = 1000)");
    story_server(st, 1, "C(SET) Z(T)");
    story_client(st, "Q(SAVEPOINT a)");
    story_server(st, 1, "C(SAVEPOINT) Z(T)");
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(SELECT f(1))");
    story_expect(st, "release replica\nreplica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|SET TRANSACTION READ ONLY) B() E "
                     "P(|SET LOCAL statement_timeout = 1000) B() E P(|SAVEPOINT a) B() E "
                     "Q(SELECT f(1))\n");
}

static void a_block_that_begins_with_set_local_reads_on_a_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(SET LOCAL statement_timeout = 1000)");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "replica: P(|BEGIN READ ONLY) B() E Q(SET LOCAL statement_timeout = 1000)\n");
}

static void a_session_that_is_read_only_by_default_moves_with_its_setting(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET default_transaction_read_only = on)");
    story_server(st, 0, "C(SET) Z(I)");
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    story_server(st, 1, "C(SET) Z(I)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(SELECT f(1))");
    assert_non_null(strstr(st->log, "release replica\n"));
    assert_non_null(strstr(st->log, "Q(SELECT f(1))"));
    assert_false(st->session.backend->is_replica);
}

/* ---- what stays ---- */

/* The server refuses it, or it is a read. */
static void what_the_block_may_not_do_is_refused_where_it_is(void **state)
{
    static const char *const texts[] = {
        "INSERT INTO t VALUES (1)", "CREATE TABLE u (a int)",
        "SELECT lower('a')",        "SELECT a FROM t FOR UPDATE",
        "SELECT * FROM pg_class",   "SELECT pg_backend_pid()",
        "EXPLAIN SELECT f(1)",      "FETCH a",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct story *st = *state;
        char message[256];
        char log[512];
        open_by_a_read(st);
        (void)snprintf(message, sizeof(message), "Q(%s)", texts[i]);
        (void)snprintf(log, sizeof(log), "replica: %s\n", message);
        story_client(st, message);
        story_expect(st, log);
        begin_again(st);
    }
}

static void behind_what_lives_on_its_replica_the_block_stays(void **state)
{
    static const char *const tying[] = {
        "Q(DECLARE a CURSOR FOR SELECT 1)", "Q(LOCK TABLE t IN ACCESS SHARE MODE)",
        "Q(SET work_mem = '8MB')",          "Q(SELECT set_config('a.b', 'c', true))",
        "P(|SELECT 2) B() E(|2) S",         "Q(DECLARE a CURSOR FOR SELECT 1; FETCH a)",
        "Q(SET CONSTRAINTS ALL DEFERRED)",
    };
    for (size_t i = 0; i < sizeof(tying) / sizeof(tying[0]); i++) {
        struct story *st = *state;
        open_by_a_read(st);
        story_client(st, tying[i]);
        if (tying[i][0] == 'P')
            story_server(st, 1, "1 2 D(1) s Z(T)");
        else if (strstr(tying[i], "SELECT set") != NULL)
            story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(T)");
        else
            story_server(st, 1,
                         strstr(tying[i], ";") != NULL
                             ? "C(DECLARE CURSOR) T(a) D(1) C(FETCH 1) Z(T)"
                             : "C(DONE) Z(T)");
        st->log_size = 0;
        story_client(st, "Q(SELECT f(1))");
        story_expect(st, "replica: Q(SELECT f(1))\n");
        begin_again(st);
    }
}

static void a_snapshot_stays(void **state)
{
    static const char *const begins[] = {
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
    };
    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        struct story *st = *state;
        open_by_a_read_with(st, begins[i]);
        story_client(st, "Q(SELECT f(1))");
        story_expect(st, "replica: Q(SELECT f(1))\n");
        begin_again(st);
    }
    struct story *st = *state;
    story_client(st, "Q(SET default_transaction_isolation = 'repeatable read')");
    story_server(st, 0, "C(SET) Z(I)");
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "C(SET) Z(I)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(SELECT f(1))");
    story_expect(st, "replica: Q(SELECT f(1))\n");
}

/* ALTER DATABASE ... SET, say: the catalog's facts have it. */
static void a_snapshot_that_the_server_makes_by_default_stays(void **state)
{
    struct story *st = *state;
    static const struct router_fact all[] = {
        {.kind = ROUTER_FACT_FUNCTION,
         .flags = ROUTER_FACT_HOME | ROUTER_FACT_RUNS,
         .name = {"f", 1}},
        {.kind = ROUTER_FACT_DEFAULT,
         .flags = 0,
         .name = {ROUTER_DEFAULT_ISOLATION, sizeof(ROUTER_DEFAULT_ISOLATION) - 1}}};
    for (uint32_t count = 1; count <= 2; count++) {
        uint64_t changes = 0, suspects = 0, wishes = 0;
        struct router_facts *facts = router_facts_create(all, count, NULL, 0);
        struct core_catalog catalog = {
            .facts = facts, .changes = &changes, .wishes = &wishes, .suspects = &suspects};
        st->group.catalog = &catalog;
        open_by_a_read(st);
        story_client(st, "Q(SELECT f(1))");
        if (count == 2)
            story_expect(st, "replica: Q(SELECT f(1))\n");
        else
            assert_false(st->session.backend->is_replica);
        story_leave(st);
        st->group.catalog = NULL;
        router_facts_destroy(facts);
        begin_again(st);
    }
}

/* The facts say that it is harmless. */
static void a_function_that_is_known_reads_where_the_block_is(void **state)
{
    struct story *st = *state;
    static const struct router_fact fact = {
        .kind = ROUTER_FACT_FUNCTION, .flags = 0, .name = {"f", 1}};
    uint64_t changes = 0, suspects = 0;
    struct router_facts *facts = router_facts_create(&fact, 1, NULL, 0);
    struct core_catalog catalog = {.facts = facts, .changes = &changes, .suspects = &suspects};
    st->group.catalog = &catalog;
    open_by_a_read(st);
    story_client(st, "Q(SELECT f(1))");
    story_expect(st, "replica: Q(SELECT f(1))\n");
    story_leave(st);
    st->group.catalog = NULL;
    router_facts_destroy(facts);
}

static void what_is_asked_to_run_on_a_replica_does(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(/* switchgear: route=replica */ SELECT f(1))");
    story_expect(st, "replica: Q(/* switchgear: route=replica */ SELECT f(1))\n");
}

/* ---- replicas that fail ---- */

static void a_block_whose_idle_replica_is_lost_begins_elsewhere(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_server_dies(st, 1);
    story_client(st, "Q(SELECT 2)");
    assert_non_null(strstr(st->log, "P(|BEGIN READ ONLY) B() E Q(SELECT 2)\n"));
}

static void behind_an_error_it_moves_once_it_is_rolled_back(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(SAVEPOINT a)");
    story_server(st, 1, "C(SAVEPOINT) Z(T)");
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 1, "E(25006) Z(E)");
    st->log_size = 0;
    story_client(st, "Q(SELECT f(1))");
    story_server(st, 1, "E(25P02) Z(E)");
    story_expect(st, "replica: Q(SELECT f(1))\nclient: E(25P02) Z(E)\n");
    story_client(st, "Q(ROLLBACK TO a)");
    story_server(st, 1, "C(ROLLBACK) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(SELECT f(1))");
    story_expect(st, "release replica\nreplica: Q(ROLLBACK) " STORY_RESET "\n"
                     "primary: P(|BEGIN READ ONLY) B() E P(|SAVEPOINT a) B() E "
                     "P(|ROLLBACK TO a) B() E Q(SELECT f(1))\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_nobody_knows_takes_the_block_to_the_primary),
        STORY(in_the_extended_protocol_too),
        STORY(what_the_block_has_said_is_said_again),
        STORY(a_block_that_begins_with_set_local_reads_on_a_replica),
        STORY(a_session_that_is_read_only_by_default_moves_with_its_setting),
        STORY(what_the_block_may_not_do_is_refused_where_it_is),
        STORY(behind_what_lives_on_its_replica_the_block_stays),
        STORY(a_snapshot_stays),
        STORY(a_snapshot_that_the_server_makes_by_default_stays),
        STORY(a_function_that_is_known_reads_where_the_block_is),
        STORY(what_is_asked_to_run_on_a_replica_does),
        STORY(a_block_whose_idle_replica_is_lost_begins_elsewhere),
        STORY(behind_an_error_it_moves_once_it_is_rolled_back),
    };
    return cmocka_run_group_tests_name("core_read_only", tests, NULL, NULL);
}
