/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_classify: what a statement is, by what stands in it.
 */
#include "router_rows.h"

static void functions_are_found_wherever_they_hide(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 1 ORDER BY nextval('s')", WRITE(VOLATILE_FUNCTION)},
        {"SELECT 1 LIMIT nextval('s')", WRITE(VOLATILE_FUNCTION)},
        {"SELECT 1 OFFSET f()", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM a JOIN b ON a.x = f(b.x)", WRITE(UNKNOWN_FUNCTION)},
        {"VALUES (1), (nextval('s'))", WRITE(VOLATILE_FUNCTION)},
        {"SELECT count(*) FILTER (WHERE f(x)) FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT count(*) OVER (PARTITION BY f()) FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT count(*) OVER w FROM t WINDOW w AS (ORDER BY f())", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT 1 FROM t GROUP BY GROUPING SETS ((a), (f(b)))", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT 1 FROM t GROUP BY a HAVING f(a)", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT DISTINCT ON (f(a)) a FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT CASE WHEN a THEN f() END FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT ARRAY[1, f()]", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT a[f()] FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT (f()).x", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT coalesce(1, greatest(2, f()))", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT string_agg(a, ',' ORDER BY f(a)) FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT percentile_cont(f()) WITHIN GROUP (ORDER BY a) FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM f()", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM ROWS FROM (generate_series(1,2), f())", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM t, LATERAL (SELECT f(t.a)) x", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM t TABLESAMPLE system (f())", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM t TABLESAMPLE my_method (1)", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT * FROM xmltable('/a' PASSING f() COLUMNS b int)", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT 1 UNION (SELECT 2 EXCEPT SELECT f())", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT 1 FETCH FIRST (f()) ROWS ONLY", WRITE(UNKNOWN_FUNCTION)},
        {"COPY (SELECT f()) TO STDOUT", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT abs(a => f())", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT ('s'::text).nextval", WRITE(VOLATILE_FUNCTION)},
        {"SELECT (1).pg_advisory_lock", PIN(ADVISORY_LOCK)},
        {"SELECT (0.5).setseed", PIN(SETSEED)},
        {"SELECT (t).f FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT ('a').upper, a[1], ('{1}'::int[])[1]", READ(SELECT)},
        {"SELECT xmlelement(name a, f())", WRITE(UNKNOWN_FUNCTION)},
    };
    CHECK(rows);
}

static void a_name_is_what_the_server_makes_of_it(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT now()", READ(SELECT)},
        {"SELECT NOW()", READ(SELECT)},
        {"SELECT \"now\"()", READ(SELECT)},
        {"SELECT pg_catalog.now()", READ(SELECT)},
        {"SELECT U&\"n\\006fw\"()", READ(SELECT)},
        {"SELECT \"Now\"()", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT public.now()", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT db.pg_catalog.now()", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT U&\"next\\0076al\"('s')", WRITE(VOLATILE_FUNCTION)},
        {"SELECT U&\"next!0076al\" UESCAPE '!' ('s')", WRITE(VOLATILE_FUNCTION)},
        {"SELECT 1 OPERATOR(pg_catalog.+) 1", READ(SELECT)},
        {"SELECT 1 OPERATOR(public.+) 1", WRITE(UNKNOWN_OPERATOR)},
        {"SELECT 1 <@> 2", WRITE(UNKNOWN_OPERATOR)},
        {"SELECT a FROM t ORDER BY a USING >", READ(SELECT)},
        {"SELECT a FROM t ORDER BY a USING OPERATOR(s.>)", WRITE(UNKNOWN_OPERATOR)},
        {"SELECT 1 = ANY (SELECT 1), 1 < ALL ('{1}')", READ(SELECT)},
        {"SELECT 1 OPERATOR(s.=) ANY (SELECT 1)", WRITE(UNKNOWN_OPERATOR)},
        {"SELECT a NOT BETWEEN 1 AND 2, a IS DISTINCT FROM 1, a LIKE 'x' FROM t", READ(SELECT)},
        {"SELECT * FROM \"pg_class\"", WRITE(CATALOG)},
        {"SELECT * FROM pg_catalog.x", WRITE(CATALOG)},
        {"SELECT * FROM information_schema.tables", WRITE(CATALOG)},
        {"SELECT * FROM app.pg_things", READ(SELECT)},
        {"SELECT * FROM pg_temp.x", WRITE(TEMP_TABLE)},
        {"SELECT '1'::int, CAST('a' AS varchar(10)), 1::pg_catalog.int8", READ(SELECT)},
        {"SELECT '{1}'::int[], '1 h'::interval, '{}'::jsonb, 1.5::numeric(4,2)", READ(SELECT)},
        {"SELECT date '2020-01-01', interval '1' hour, true::bool", READ(SELECT)},
        {"SELECT 'ok'::mood", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT '1'::public.int4", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT 't'::regclass", WRITE(CATALOG)},
        {"SELECT to_regclass('t')", WRITE(NODE_SPECIFIC)},
        {"SELECT pg_table_is_visible(1)", WRITE(NODE_SPECIFIC)},
    };
    CHECK(rows);
}

static void a_cast_of_a_row_may_be_anybodys_function(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT t::int FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT x::int FROM t AS x", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT CAST(t.* AS int) FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT (SELECT t FROM t LIMIT 1)::int", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT x::int FROM (SELECT t AS x FROM t) s", WRITE(UNKNOWN_FUNCTION)},
        {"SELECT t.a::int, b::text FROM t", READ(SELECT)},
        {"SELECT row_to_json(t)::text FROM t", READ(SELECT)},
        {"SELECT (SELECT count(*) FROM t)::int", READ(SELECT)},
    };
    CHECK(rows);
}

static void writes_are_found_inside_reads(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM (SELECT 1 FROM t FOR NO KEY UPDATE) x", WRITE(LOCKING_CLAUSE)},
        {"SELECT 1 WHERE 1 IN (SELECT a FROM t FOR SHARE)", WRITE(LOCKING_CLAUSE)},
        {"(SELECT 1 FROM t FOR UPDATE)", WRITE(LOCKING_CLAUSE)},
        {"SELECT 1 UNION SELECT 2 INTO x", WRITE(SELECT_INTO)},
        {"WITH a AS (SELECT 1) SELECT * INTO x FROM a", WRITE(SELECT_INTO)},
        {"WITH a AS (WITH b AS (DELETE FROM t RETURNING 1) SELECT 1) SELECT 1", WRITE(CTE_DML)},
        {"SELECT (WITH i AS (INSERT INTO t VALUES (1)) SELECT 1)", WRITE(CTE_DML)},
        {"WITH RECURSIVE m AS (UPDATE t SET a = 1 RETURNING 1) TABLE m", WRITE(CTE_DML)},
        {"MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", WRITE(DML)},
        {"CREATE TABLE x AS EXECUTE p", WRITE(DDL)},
        {"COPY (INSERT INTO t VALUES (1) RETURNING 1) TO STDOUT", WRITE(CTE_DML)},
        {"COPY t TO '/tmp/x'", WRITE(UTILITY)},
        {"COPY t TO PROGRAM 'x'", WRITE(UTILITY)},
        {"COPY pg_class TO STDOUT", WRITE(CATALOG)},
        {"SELECT query_to_xml('x', true, false, '')", WRITE(SQL_AS_TEXT)},
        {"SELECT * FROM other.dblink('x', 'y') AS d(a int)", WRITE(SQL_AS_TEXT)},
        {"SELECT dblink_connect('x', 'y')", PIN(LOAD)},
        {"SELECT ts_rewrite('a', 'SELECT 1')", WRITE(SQL_AS_TEXT)},
        {"SELECT pg_is_in_recovery()", WRITE(NODE_SPECIFIC)},
        {"SELECT current_setting('transaction_read_only')", WRITE(NODE_SPECIFIC)},
        {"SELECT current_setting('work_mem')", READ(SELECT)},
        {"SELECT current_setting(a) FROM t", WRITE(NODE_SPECIFIC)},
    };
    CHECK(rows);
}

static void explain_is_its_body_only_if_it_runs(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"EXPLAIN DELETE FROM t", READ(EXPLAIN)},
        {"EXPLAIN ANALYZE SELECT 1", READ(EXPLAIN)},
        {"EXPLAIN (ANALYZE) DELETE FROM t", WRITE(DML)},
        {"EXPLAIN (ANALYZE true) DELETE FROM t", WRITE(DML)},
        {"EXPLAIN (ANALYZE 'on') DELETE FROM t", WRITE(DML)},
        {"EXPLAIN (ANALYZE 1, VERBOSE) DELETE FROM t", WRITE(DML)},
        {"EXPLAIN (ANALYZE 'OFF') DELETE FROM t", READ(EXPLAIN)},
        {"EXPLAIN (ANALYZE 0) DELETE FROM t", READ(EXPLAIN)},
        {"EXPLAIN (ANALYZE false, ANALYZE) DELETE FROM t", WRITE(DML)},
        {"EXPLAIN (ANALYZE on, ANALYZE off) DELETE FROM t", WRITE(DML)},
        {"EXPLAIN ANALYZE EXECUTE p", PIN(SQL_PREPARE)},
        {"EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", WRITE(DDL)},
        {"EXPLAIN SELECT * FROM pg_class", WRITE(CATALOG)},
    };
    CHECK(rows);
}

static void statements_of_the_session(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SET work_mem = 1", SESSION(SET)},
        {"SET LOCAL work_mem = 1", TRANSACTION(SET)},
        {"SET CONSTRAINTS ALL DEFERRED", TRANSACTION(SET)},
        {"SET TRANSACTION SNAPSHOT 'x'", WRITE(SNAPSHOT)},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SESSION(SET)},
        {"RESET ALL", SESSION(SET)},
        {"DISCARD ALL", SESSION(DISCARD)},
        {"SELECT set_config('a.b', 'c', false)", SESSION(SET_CONFIG)},
        {"SELECT set_config('a.b', 'c', $1)", SESSION(SET_CONFIG)},
        {"SELECT set_config('a.b', 'c', true)", WRITE(SET_CONFIG)},
        {"UPDATE t SET a = set_config('a.b', 'c', false)", SESSION(SET_CONFIG)},
        {"UPDATE pg_settings SET setting = 1", SESSION(SET_CONFIG)},
        {"LISTEN c", PIN(LISTEN)},
        {"UNLISTEN *", SESSION(LISTEN)},
        {"LOAD 'x'", PIN(LOAD)},
        {"PREPARE p AS SELECT 1", PIN(SQL_PREPARE)},
        {"EXECUTE p", PIN(SQL_PREPARE)},
        {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", PIN(HOLD_CURSOR)},
        {"DECLARE c CURSOR FOR SELECT 1", WRITE(CURSOR)},
        {"FETCH ALL FROM c", TRANSACTION(CURSOR)},
        {"SELECT pg_advisory_lock(1)", PIN(ADVISORY_LOCK)},
        {"INSERT INTO t SELECT 1 WHERE pg_try_advisory_lock(1)", PIN(ADVISORY_LOCK)},
        {"SELECT pg_advisory_xact_lock(1)", WRITE(VOLATILE_FUNCTION)},
        {"SELECT setseed(0.5)", PIN(SETSEED)},
        {"SELECT pg_export_snapshot()", PIN(SNAPSHOT)},
        {"CREATE TEMP TABLE x (a int)", PIN(TEMP_TABLE)},
        {"CREATE TEMP TABLE x (a int) ON COMMIT DROP", WRITE(DDL)},
        {"CREATE TABLE pg_temp.x (a int)", PIN(TEMP_TABLE)},
        {"SELECT 1 INTO TEMP x", PIN(TEMP_TABLE)},
        {"CREATE TEMP VIEW v AS SELECT 1", PIN(TEMP_TABLE)},
        {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", PIN(TEMP_TABLE)},
        {"SHOW work_mem", READ(SHOW)},
        {"SHOW in_hot_standby", WRITE(NODE_SPECIFIC)},
        {"SHOW ALL", WRITE(NODE_SPECIFIC)},
        {"CALL p()", WRITE(CALL)},
        {"DO 'BEGIN END'", WRITE(CALL)},
        {"PREPARE TRANSACTION 'x'", WRITE(UTILITY)},
        {"COMMIT PREPARED 'x'", WRITE(UTILITY)},
        {"SAVEPOINT a", TRANSACTION(SAVEPOINT)},
    };
    CHECK(rows);
    assert_true(classify("DISCARD ALL").unpins);
    assert_true(classify("DISCARD ALL").forgets_statements);
    assert_false(classify("DISCARD TEMP").unpins);
    assert_true(classify("SELECT setseed(1)").changes_seed);
    assert_true(classify("SELECT random()").uses_random);
    assert_true(classify("DEALLOCATE ALL").forgets_statements);
    assert_false(classify("DEALLOCATE \"a b\"").forgets_statements);
    assert_string_equal(detail.deallocate, "a b");
    assert_true(classify("DROP DATABASE IF EXISTS x").moves_database);
    assert_true(classify("CREATE DATABASE x TEMPLATE y").moves_database);
    assert_true(classify("ALTER DATABASE x RENAME TO y").moves_database);
    assert_true(classify("ALTER DATABASE x SET TABLESPACE y").moves_database);
    assert_false(classify("ALTER TABLE x RENAME TO y").moves_database);
    assert_false(classify("ALTER DATABASE x SET work_mem = '1MB'").moves_database);
}

static void transactions_declare_themselves(void **state)
{
    (void)state;
    assert_int_equal(classify("BEGIN").begin, ROUTER_BEGIN_PLAIN);
    assert_int_equal(classify("START TRANSACTION READ ONLY").begin, ROUTER_BEGIN_READ_ONLY);
    assert_int_equal(classify("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").begin,
                     ROUTER_BEGIN_READ_ONLY);
    assert_int_equal(classify("BEGIN READ WRITE").begin, ROUTER_BEGIN_WRITE);
    assert_int_equal(classify("BEGIN READ ONLY, READ WRITE").begin, ROUTER_BEGIN_WRITE);
    assert_int_equal(classify("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE").begin,
                     ROUTER_BEGIN_WRITE);
    assert_true(classify("BEGIN DEFERRABLE").declares && !classify("BEGIN WORK").declares);
    /* a byte of a character may be a backslash: PostgreSQL looks at letters and digits of the name
     */
    assert_int_equal(classify("SET client_encoding = 's-j_is'").pins, ROUTER_PIN_SET);
    assert_int_equal(classify("SET NAMES 'g.b.k'").pins, ROUTER_PIN_SET);
    assert_int_equal(classify("SET client_encoding = 'utf-8'").pins, 0);
    assert_true(classify("COMMIT").ends && classify("END").ends);
    assert_false(classify("COMMIT AND CHAIN").ends);
    assert_true(classify("ABORT").rolls_back);
    assert_false(classify("ROLLBACK AND CHAIN").rolls_back);
    assert_false(classify("ROLLBACK TO a").rolls_back);
    assert_true(classify("SET TRANSACTION READ ONLY").set_read_only);
    assert_true(classify("SET transaction_read_only = on").set_read_only);
    assert_true(classify("SET transaction_read_only TO 1").set_read_only);
    assert_false(classify("SET transaction_read_only = off").set_read_only);
    assert_false(classify("SET transaction_read_only TO DEFAULT").set_read_only);
    assert_false(classify("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY").set_read_only);
    assert_false(classify("BEGIN; COMMIT").ends);
}

static void several_statements_decide_together(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 1; SELECT 2", READ(SELECT)},
        {"SELECT 1; DELETE FROM t", WRITE(DML)},
        {"BEGIN; SELECT 1", TRANSACTION(MULTI_STATEMENT)},
        {"BEGIN; DELETE FROM t; COMMIT", WRITE(DML)},
        {"DELETE FROM t; SET x = 1", SESSION(SET)},
        {"SET x = 1; LISTEN c", PIN(LISTEN)},
        {"SELECT 1; SHOW switchgear.last_route", SESSION(MULTI_STATEMENT)},
        {"SELECT 1; EXPLAIN (ROUTE) DELETE FROM t", READ(SELECT)},
    };
    CHECK(rows);
    assert_true(classify("SELECT 1;;").alone);
    assert_false(classify("SELECT 1; SELECT 2").alone);
    assert_true(classify("DELETE FROM t; SET x = 1").writes);
    assert_true(classify("BEGIN; SELECT 1").has_transaction);
    assert_false(classify("BEGIN").has_transaction);
    assert_true(classify("BEGIN").begins);
    assert_true(classify("SELECT 1; START TRANSACTION").begins);
    assert_false(classify("SELECT 1; COMMIT; SAVEPOINT a").begins);
    assert_false(classify("BEGINN").begins);
    assert_int_equal(classify("SET switchgear.route = 'x'; SELECT 1").local, ROUTER_LOCAL_NONE);
}

static void what_makes_a_session_dirty_or_tainted(void **state)
{
    (void)state;
    assert_false(classify("SELECT 1").writes || classify("BEGIN").writes);
    assert_false(classify("SET x = 1").writes);
    assert_true(classify("INSERT INTO t VALUES (1)").writes);
    assert_false(classify("INSERT INTO t VALUES (nextval('s'))").taints);
    assert_true(classify("INSERT INTO t VALUES (f())").taints);
    assert_true(classify("CALL p()").taints && classify("DO ''").taints);
    assert_true(classify("CREATE TABLE x AS EXECUTE p").taints);
    assert_true(classify("SELECT 1 @#@ 2").taints);
    assert_false(classify("SELECT set_config('a.b', 'c', true)").writes);
    assert_true(classify("garbage").taints && classify("garbage").writes);
}

/* They are the primary's to answer, and leave nothing for a replica to catch up with. */
static void questions_to_the_node_or_the_catalog_make_no_session_dirty(void **state)
{
    (void)state;
    static const char *const clean[] = {
        "SELECT pg_is_in_recovery()",
        "SELECT pg_backend_pid(), inet_server_port()",
        "SELECT current_setting('port')",
        "SELECT current_setting(a) FROM t",
        "SHOW ALL",
        "SELECT count(*) FROM pg_class",
        "SELECT * FROM pg_catalog.pg_stat_activity",
        "SELECT * FROM information_schema.tables",
        "SELECT 't'::regclass",
        "SELECT to_regclass('t') FROM pg_namespace",
        "SELECT 1; SHOW port; SELECT * FROM pg_type",
        "COPY pg_class TO STDOUT",
        "EXPLAIN SELECT * FROM pg_class",
    };
    static const char *const dirty[] = {
        "SELECT nextval('s'), pg_is_in_recovery()",
        "SELECT pg_is_in_recovery(), f()",
        "SELECT f() FROM pg_class",
        "SELECT ('s'::regclass).nextval",
        "SELECT * FROM pg_of_a_user",
        "SELECT * FROM pg_catalog.pg_of_a_user",
        "SELECT * FROM pg_class; DELETE FROM t",
        "SELECT * FROM pg_class FOR UPDATE",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM pg_class, x",
        "DELETE FROM t WHERE a = pg_backend_pid()",
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'y'",
        "SELECT pg_advisory_lock(1) FROM pg_class",
        "EXPLAIN ANALYZE DELETE FROM pg_class",
        "CREATE VIEW v AS SELECT pg_backend_pid()",
    };
    for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++) {
        const struct router_class class = classify(clean[i]);
        if (class.writes || class.taints || class.verdict != ROUTER_VERDICT_WRITE)
            fail_msg("makes a session dirty, or is a read: %s", clean[i]);
    }
    for (size_t i = 0; i < sizeof(dirty) / sizeof(dirty[0]); i++) {
        if (!classify(dirty[i]).writes)
            fail_msg("leaves a session clean: %s", dirty[i]);
    }
}

static void
a_value_of_a_sequence_is_asked_for_unless_something_before_may_have_made_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool asks, moves;
    } rows[] = {
        {"SELECT currval('s')", true, false},
        {"SELECT 1; SELECT lastval()", true, false},
        {"BEGIN; SELECT currval('s')", true, false},
        {"SELECT currval('s'); SELECT nextval('s')", true, true},
        {"SELECT nextval('s'); SELECT currval('s')", false, true},
        {"SELECT currval('s') FROM (SELECT nextval('s')) AS now", false, true},
        {"INSERT INTO t VALUES (1); SELECT lastval()", false, true},
        {"SELECT f(); SELECT lastval()", false, true},
        {"DO $$ BEGIN END $$; SELECT lastval()", false, true},
        {"SELECT 1", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct router_class class = classify(rows[i].text);
        if (class.asks_sequence != rows[i].asks || class.moves_sequence != rows[i].moves)
            fail_msg("asks %d, moves %d: %s", class.asks_sequence, class.moves_sequence,
                     rows[i].text);
    }
}

/* What a READ ONLY block may do and a replica may not, or not where it counts. */
static void a_read_only_block_wants_the_primary_for_what_acts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool home, acts;
    } rows[] = {
        {"SELECT pg_advisory_xact_lock(1)", true, true},
        {"SELECT f(), pg_try_advisory_xact_lock_shared(1)", true, true},
        {"SELECT 1; SELECT pg_terminate_backend(1)", true, true},
        {"DECLARE c CURSOR FOR SELECT pg_advisory_xact_lock(id) FROM t", true, true},
        {"SELECT * FROM dblink('x', 'y') AS d(a int)", true, true},
        {"COPY t TO '/tmp/x'", true, true},
        {"COPY t FROM '/tmp/x'", true, false},
        {"CHECKPOINT", true, true},
        {"SELECT pg_promote()", true, true},
        {"NOTIFY x", true, false},
        {"SELECT pg_notify('x', '')", true, false},
        {"SELECT txid_current()", true, false},
        {"SELECT pg_current_wal_lsn()", true, false},
        {"LOCK TABLE t", true, false},
        {"LOCK TABLE t IN SHARE MODE", true, false},
        {"LOCK TABLE t IN ROW EXCLUSIVE MODE", false, false},
        {"LOCK TABLE t IN ACCESS SHARE MODE", false, false},
        {"SELECT last_value FROM s", true, false},
        {"SELECT f()", true, false},
        {"SELECT app.pg_promote()", true, false},
        {"SELECT count(*) FROM pg_class", false, false},
        {"UPDATE t SET v = 1", false, false},
        {"SELECT 1", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct router_class class = classify(rows[i].text);
        if (class.home != rows[i].home || class.acts != rows[i].acts)
            fail_msg("home %d, acts %d: %s", class.home, class.acts, rows[i].text);
    }
    assert_true(
        classify("/* switchgear: route=replica */ SELECT pg_advisory_xact_lock(1)").verdict ==
        ROUTER_VERDICT_WRITE);
}

/* A standby shows up to 32 values more than were handed out. */
static void a_sequence_is_read_on_the_primary(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT last_value FROM ticket", WRITE(NODE_SPECIFIC)},
        {"SELECT s.is_called FROM app.ticket s", WRITE(NODE_SPECIFIC)},
        {"SELECT * FROM t WHERE id > (SELECT log_cnt FROM ticket)", WRITE(NODE_SPECIFIC)},
        {"SELECT * FROM t_id_seq", WRITE(NODE_SPECIFIC)},
        {"TABLE app.t_id_seq", WRITE(NODE_SPECIFIC)},
        {"SELECT last_value(v) OVER () FROM t", READ(SELECT)},
        {"SELECT * FROM seq", READ(SELECT)},
    };
    CHECK(rows);
    assert_false(classify("SELECT last_value FROM ticket").writes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_found_wherever_they_hide),
        cmocka_unit_test(a_name_is_what_the_server_makes_of_it),
        cmocka_unit_test(a_read_only_block_wants_the_primary_for_what_acts),
        cmocka_unit_test(a_sequence_is_read_on_the_primary),
        cmocka_unit_test(a_cast_of_a_row_may_be_anybodys_function),
        cmocka_unit_test(writes_are_found_inside_reads),
        cmocka_unit_test(explain_is_its_body_only_if_it_runs),
        cmocka_unit_test(statements_of_the_session),
        cmocka_unit_test(transactions_declare_themselves),
        cmocka_unit_test(several_statements_decide_together),
        cmocka_unit_test(what_makes_a_session_dirty_or_tainted),
        cmocka_unit_test(questions_to_the_node_or_the_catalog_make_no_session_dirty),
        cmocka_unit_test(
            a_value_of_a_sequence_is_asked_for_unless_something_before_may_have_made_it),
    };
    return cmocka_run_group_tests_name("router_classify", tests, NULL, NULL);
}
