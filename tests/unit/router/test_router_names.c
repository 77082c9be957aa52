/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_names: what a statement is where the catalog says what its names stand for.
 */
#include "router_objects.h"

static void relations_are_what_the_catalog_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t", READ(SELECT), "p"},
        {"TABLE t", READ(SELECT), "p"},
        {"SELECT * FROM public.t, u WHERE t.id = u.id", READ(SELECT), "p"},
        {"SELECT last_value FROM t", READ(SELECT), "p"},
        {"SELECT * FROM odd_seq", READ(SELECT), "p"},
        {"SELECT * FROM plain_view", READ(SELECT), "p"},
        {"SELECT * FROM triggered", READ(SELECT), "p"},
        {"COPY t TO STDOUT", READ(COPY_OUT), "p"},
        {"COPY triggered TO STDOUT", READ(COPY_OUT), "p"},
        {"SELECT * FROM policed", READ(SELECT), "t"},
        {"SELECT * FROM stable_view", READ(SELECT), "t"},
        {"SELECT 1 WHERE EXISTS (SELECT 1 FROM stable_view)", READ(SELECT), "t"},
        {"SELECT * FROM volatile_view", WRITE(CATALOG_RELATION), "twh"},
        {"TABLE volatile_view", WRITE(CATALOG_RELATION), "twh"},
        {"COPY (SELECT x FROM volatile_view) TO STDOUT", WRITE(CATALOG_RELATION), "twh"},
        {"SELECT 2; SELECT x FROM volatile_view", WRITE(CATALOG_RELATION), "twh"},
        {"SELECT (SELECT x FROM app.volatile_view)", WRITE(CATALOG_RELATION), "twh"},
        {"SELECT * FROM dark_view", WRITE(CATALOG_RELATION), "twoh"},
        {"SELECT * FROM remote_view", WRITE(CATALOG_RELATION), "twxh"},
        {"COPY (SELECT * FROM remote_view) TO STDOUT", WRITE(CATALOG_RELATION), "twxh"},
        {"EXPLAIN ANALYZE SELECT * FROM remote_view", WRITE(CATALOG_RELATION), "twxh"},
        {"EXPLAIN SELECT * FROM remote_view", READ(EXPLAIN), "tx"},
        {"EXPLAIN SELECT * FROM t", READ(EXPLAIN), "p"},
        {"EXPLAIN SELECT * FROM tickets", READ(EXPLAIN), ""},
        {"SELECT * FROM tickets", WRITE(CATALOG_RELATION), "wh"},
        {"TABLE tickets", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT last_value FROM tickets", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT t.id FROM t JOIN tickets ON true", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT * FROM unlogged", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT * FROM far", WRITE(CATALOG_RELATION), "wxh"},
        {"SELECT * FROM \"Näh\"", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT * FROM \"qu\"\"ote\"", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT * FROM " LONG_63, WRITE(CATALOG_RELATION), "wh"},
        {"SELECT * FROM " LONG_63 "tail", WRITE(CATALOG_RELATION), "wh"},
        {"SELECT * FROM pg_class", WRITE(CATALOG_RELATION), "twh"},
        {"SELECT * FROM pg_catalog.pg_class", WRITE(CATALOG), "p"},
        {"SELECT * FROM pg_attribute", WRITE(CATALOG), "p"},
        {"SELECT * FROM information_schema.t", WRITE(CATALOG), "p"},
        {"SELECT * FROM nowhere", WRITE(UNKNOWN_RELATION), "twxh"},
        {"SELECT * FROM t, s.nowhere", WRITE(UNKNOWN_RELATION), "twxh"},
        {"SELECT * FROM pg_nowhere", WRITE(CATALOG), "twxh"},
    };
    CHECK(rows, STRICT);
}

/* PostgreSQL's own scopes: a query that is not shown here is a relation. */
static void a_with_hides_relations_where_it_is_seen(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"WITH q AS (SELECT 1) SELECT * FROM q", READ(SELECT), "p"},
        {"WITH q AS (SELECT 1), r AS (SELECT * FROM q) TABLE r", READ(SELECT), "p"},
        {"WITH q AS (SELECT 1) SELECT (SELECT count(*) FROM q)", READ(SELECT), "p"},
        {"WITH t AS (SELECT * FROM t) SELECT * FROM t", READ(SELECT), "p"},
        {"WITH RECURSIVE q AS (SELECT 1 UNION SELECT * FROM q) TABLE q", READ(SELECT), "p"},
        {"WITH q AS (SELECT * FROM q) SELECT * FROM q", WRITE(UNKNOWN_RELATION), "twxh"},
        {"WITH r AS (SELECT * FROM q), q AS (SELECT 1) TABLE r", WRITE(UNKNOWN_RELATION), "twxh"},
        {"SELECT * FROM (WITH q AS (SELECT 1) TABLE q) s, q", WRITE(UNKNOWN_RELATION), "twxh"},
        {"WITH q AS (SELECT 1) SELECT * FROM public.q", WRITE(UNKNOWN_RELATION), "twxh"},
        {"WITH stable_view AS (SELECT 1) SELECT * FROM stable_view", READ(SELECT), "t"},
        {"WITH q AS (SELECT * FROM volatile_view) TABLE q", WRITE(CATALOG_RELATION), "twh"},
        {"WITH q AS (SELECT 1) INSERT INTO t TABLE q", WRITE(DML), "w"},
        {"WITH q AS (SELECT 1) INSERT INTO q TABLE q", WRITE(DML), "twxh"},
    };
    CHECK(rows, STRICT);
}

static void functions_are_what_the_catalog_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 1", READ(SELECT), "p"},
        {"SELECT now(), length('a')", READ(SELECT), "p"},
        {"SELECT count(*), max(id) FROM t", READ(SELECT), "p"},
        {"SELECT random()", READ(SELECT), "p"},
        {"SELECT similarity('a', 'b')", READ(SELECT), "p"},
        {"SELECT public.similarity('a', 'b') FROM t", READ(SELECT), "p"},
        {"SELECT stable_f(1)", READ(SELECT), "t"},
        {"SELECT app.stable_f(1)", READ(SELECT), "t"},
        {"SELECT * FROM stable_f(1)", READ(SELECT), "t"},
        {"SELECT id FROM t ORDER BY stable_f(id)", READ(SELECT), "t"},
        {"SELECT volatile_f()", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT VOLATILE_F()", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT s.volatile_f() FROM t", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT * FROM t WHERE id = volatile_f()", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT dark_f()", WRITE(UNKNOWN_FUNCTION), "twoh"},
        {"SELECT remote_f()", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"SELECT nobody_knows()", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"SELECT pg_temp.similarity('a', 'b')", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"SELECT pg_temp_3.f()", WRITE(UNKNOWN_FUNCTION), "twxh"},
        /* users' functions of built-in names */
        {"SELECT lower('A')", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT pg_catalog.lower('A')", READ(SELECT), "p"},
        {"SHOW work_mem", READ(SHOW), "p"},
        {"SELECT app.lower('A')", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT upper('a')", READ(SELECT), "t"},
        {"SELECT abs(1)", READ(SELECT), "p"},
        {"SELECT nextval('s')", WRITE(VOLATILE_FUNCTION), "wh"},
        /* attribute notation */
        {"SELECT t.volatile_f FROM t", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT x.stable_f FROM t AS x", READ(SELECT), "t"},
        {"SELECT public.t.volatile_f FROM t", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT t.lower FROM t", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT volatile_f FROM t", READ(SELECT), "p"},
        {"SELECT t.id FROM t", READ(SELECT), "p"},
        {"SELECT (t).volatile_f FROM t", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT (t).stable_f FROM t", READ(SELECT), "t"},
        {"SELECT (t).id FROM t", READ(SELECT), "p"},
        {"SELECT (SELECT t FROM t).dark_f", WRITE(UNKNOWN_FUNCTION), "twoh"},
        {"SELECT a[1].remote_f FROM t", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"EXPLAIN SELECT volatile_f()", READ(EXPLAIN), "t"},
        {"EXPLAIN SELECT length('a')", READ(EXPLAIN), "p"},
        {"EXPLAIN SELECT dark_f()", READ(EXPLAIN), "to"},
        {"EXPLAIN ANALYZE SELECT volatile_f()", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"DECLARE c CURSOR FOR SELECT volatile_f()", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"DECLARE c CURSOR FOR SELECT * FROM t", WRITE(CURSOR), "p"},
        {"SELECT * FROM t TABLESAMPLE similarity (1)", READ(SELECT), "p"},
        {"SELECT * FROM t TABLESAMPLE volatile_f (1)", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT dblink('x', 'y')", WRITE(SQL_AS_TEXT), "twxh"},
        {"SELECT query_to_xml('x', true, true, '')", WRITE(SQL_AS_TEXT), "two"},
    };
    CHECK(rows, STRICT);
}

static void types_and_operators_are_what_the_catalog_says(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 'ok'::mood", READ(SELECT), "p"},
        {"SELECT 'ok'::app.mood FROM t", READ(SELECT), "p"},
        {"SELECT mood('ok')", READ(SELECT), "p"},
        {"SELECT '{ok}'::mood[]", READ(SELECT), "p"},
        {"SELECT '[1]'::vector <=> v FROM t", READ(SELECT), "p"},
        {"SELECT id FROM t ORDER BY v OPERATOR(public.<=>) '[1]'", READ(SELECT), "p"},
        {"SELECT '1'::checked", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT checked('1')", READ(SELECT), "t"},
        {"SELECT CAST(id AS s.checked) FROM t", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT '1'::unheard_of", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"SELECT * FROM json_to_record('{}') AS x(a checked)", WRITE(UNKNOWN_FUNCTION), "twh"},
        {"SELECT '1'::int, '1'::text COLLATE \"C\"", READ(SELECT), "p"},
        {"SELECT 'x'::regclass", WRITE(CATALOG), "p"},
        {"SELECT to_tsvector('english'::regconfig, 'x')", READ(SELECT), "p"},
        {"SELECT 1 + 1, 'a' || 'b'", READ(SELECT), "p"},
        {"SELECT id FROM t WHERE id = 1", READ(SELECT), "p"},
        {"SELECT 1 @@@ 2", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT 1 <@@> 2", WRITE(UNKNOWN_OPERATOR), "twxh"},
        {"SELECT id FROM t WHERE id < 1", WRITE(UNKNOWN_OPERATOR), "twxh"},
        {"SELECT id FROM t WHERE id OPERATOR(pg_catalog.<) 1", READ(SELECT), "p"},
        {"SELECT id FROM t WHERE id > 1", READ(SELECT), "p"},
        {"SELECT id FROM t WHERE id BETWEEN 1 AND 2", WRITE(UNKNOWN_OPERATOR), "twxh"},
        {"SELECT id FROM t WHERE id < ANY ('{1}')", WRITE(UNKNOWN_OPERATOR), "twxh"},
        {"SELECT id FROM t ORDER BY id USING <", WRITE(UNKNOWN_OPERATOR), "twxh"},
        {"SELECT * FROM t JOIN u USING (id)", READ(SELECT), "p"},
        {"SELECT CASE id WHEN 1 THEN 2 END FROM t", READ(SELECT), "p"},
        {"SELECT id IN (SELECT id FROM u) FROM t", READ(SELECT), "p"},
    };
    CHECK(rows, STRICT);
}

static void an_operator_is_meant_where_its_schema_is(void **state)
{
    (void)state;
    static const struct row apart[] = {
        {"SELECT id FROM t WHERE id = 1 AND id + 1 = 3", READ(SELECT), "p"},
        {"SELECT id FROM t JOIN u USING (id)", READ(SELECT), "p"},
        {"SELECT id OPERATOR(pg_catalog.=) 1 FROM t", READ(SELECT), "p"},
        {"SELECT id OPERATOR(app.=) 1 FROM t", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT id OPERATOR(app.<#>) 1 FROM t", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT id <#> 1 FROM t", WRITE(UNKNOWN_OPERATOR), "twxh"}, /* of nobody's */
        {"INSERT INTO t SELECT id + 1 FROM u", WRITE(DML), "w"},
    };
    static const struct row anywhere[] = {
        {"SELECT id FROM t WHERE id = 1", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT id FROM t JOIN u USING (id)", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT CASE id WHEN 1 THEN 2 END FROM t", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT id + 1 FROM t", WRITE(UNKNOWN_OPERATOR), "twh"},
        {"SELECT id OPERATOR(pg_catalog.=) 1 FROM t", READ(SELECT), "p"},
        {"SELECT id > 1 FROM t", READ(SELECT), "p"},
        {"SELECT id <#> 1 FROM t", WRITE(UNKNOWN_OPERATOR), "twh"},
    };
    CHECK(apart, STRICT);
    CHECK(anywhere, STRICT, .any_path = true);
    CHECK(anywhere, .facts = facts); /* nobody asks there what a function has set */
}

static void what_is_written_may_run_more(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"INSERT INTO t VALUES (1)", WRITE(DML), "w"},
        {"UPDATE t SET a = 1", WRITE(DML), "w"},
        {"DELETE FROM t", WRITE(DML), "w"},
        {"COPY t FROM STDIN", WRITE(UTILITY), "wh"},
        {"TRUNCATE t, u", WRITE(DDL), "w"},
        {"INSERT INTO triggered VALUES (1)", WRITE(DML), "tw"},
        {"UPDATE s.triggered SET a = 1", WRITE(DML), "tw"},
        {"DELETE FROM triggered", WRITE(DML), "tw"},
        {"MERGE INTO triggered USING t ON true WHEN MATCHED THEN DELETE", WRITE(DML), "tw"},
        {"MERGE INTO t USING triggered ON true WHEN MATCHED THEN DELETE", WRITE(DML), "w"},
        {"COPY triggered FROM STDIN", WRITE(UTILITY), "twh"},
        {"TRUNCATE t, triggered", WRITE(DDL), "tw"},
        {"WITH d AS (DELETE FROM triggered RETURNING 1) TABLE d", WRITE(CTE_DML), "tw"},
        {"WITH d AS (DELETE FROM t RETURNING 1) TABLE d", WRITE(CTE_DML), "w"},
        {"INSERT INTO t SELECT * FROM triggered", WRITE(DML), "w"},
        {"INSERT INTO t SELECT * FROM stable_view", WRITE(DML), "tw"},
        {"INSERT INTO t VALUES (volatile_f())", WRITE(DML), "twh"},
        {"UPDATE t SET a = 1 WHERE a::checked IS NULL", WRITE(DML), "twh"},
        {"INSERT INTO darkly_triggered VALUES (1)", WRITE(DML), "two"},
        {"SELECT * FROM darkly_triggered", READ(SELECT), "p"},
        {"INSERT INTO far VALUES (1)", WRITE(DML), "wxh"},
        {"INSERT INTO policed VALUES (1)", WRITE(DML), "tw"},
        {"INSERT INTO nowhere VALUES (1)", WRITE(DML), "twxh"},
        {"EXPLAIN INSERT INTO triggered VALUES (1)", READ(EXPLAIN), "t"},
        {"LOCK TABLE t", WRITE(UTILITY), "wh"},
    };
    CHECK(rows, STRICT);
}

static void what_runs_unseen_code_taints(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"DO 'BEGIN PERFORM 1; END'", WRITE(CALL), "twh"},
        {"DO 'BEGIN PERFORM volatile_f(); END'", WRITE(CALL), "twh"},
        {"DO 'BEGIN PERFORM dark_f(); END'", WRITE(CALL), "twoh"},
        {"DO 'BEGIN PERFORM \"dark_f\"(); END'", WRITE(CALL), "twoh"},
        {"DO 'BEGIN INSERT INTO darkly_triggered VALUES (1); END'", WRITE(CALL), "twoh"},
        {"DO 'BEGIN PERFORM REMOTE_F(); END'", WRITE(CALL), "twxh"},
        {"DO $$ BEGIN PERFORM SetSeed(0.5); END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN SET LOCAL seed = 0.5; END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN EXECUTE 'SET SESSION seed TO 0.5'; END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN PERFORM set_config('seed', '0.5', false); END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN UPDATE triggered SET a = seed, seed = 1; END $$", WRITE(CALL), "twh"},
        {"DO $$ BEGIN EXECUTE 'SET ROLE a'; END $$", WRITE(CALL), "twh"},
        {"DO $$ BEGIN EXECUTE 'SET a.b = 1'; END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN EXECUTE 'SELECT dark_f()'; END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN EXECUTE 'SET ' || x; END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN EXECUTE x; END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN EXECUTE format('SET %I', x); END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN PERFORM set_config('work_mem', x, false); END $$", WRITE(CALL), "twh"},
        {"DO $$ BEGIN PERFORM set_config(x, 'y', false); END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN PERFORM set_config('a' || 'b', 'y', false); END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN PERFORM set_config('app.a', 'b', false); END $$", WRITE(CALL), "twoxh"},
        {"DO $$ BEGIN SET app.tenant = 'a'; END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN SET SESSION \"app\".tenant = 'a'; END $$", WRITE(CALL), "twoh"},
        {"DO $$ BEGIN SET work_mem = '1MB'; UPDATE t SET a = 1; END $$", WRITE(CALL), "twh"},
        {"DO LANGUAGE plpython3u 'pass'", WRITE(CALL), "twoxh"},
        {"DO LANGUAGE plpgsql 'BEGIN END'", WRITE(CALL), "twh"},
        {"CALL volatile_f()", WRITE(CALL), "twh"},
        {"CALL dark_f()", WRITE(CALL), "twoh"},
        {"CALL nobody_knows()", WRITE(CALL), "twxh"},
        {"EXECUTE p", PIN(SQL_PREPARE), "twx"},
        {"LOAD 'x'", PIN(LOAD), "two"},
        {"SELECT 'unterminated", WRITE(PARSE_ERROR), "twoxh"},
        {"SELEC dark_f()", WRITE(PARSE_ERROR), "twoxh"},
        {"SELEC volatile_f()", WRITE(PARSE_ERROR), "twxh"},
    };
    CHECK(rows, STRICT);
    assert_false(classify("DO 'BEGIN END'", &(struct router_context){STRICT}).cacheable);
}

/* Until the question is answered everything is the worst that it can be. */
static void without_facts_the_worst_is_taken(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 1", READ(SELECT), "p"},
        {"SELECT * FROM t", WRITE(UNKNOWN_RELATION), "twxh"},
        {"EXPLAIN SELECT * FROM t", READ(EXPLAIN), "tx"},
        {"WITH q AS (SELECT 1) TABLE q", READ(SELECT), "p"},
        {"WITH q AS (SELECT * FROM q) TABLE q", WRITE(UNKNOWN_RELATION), "twxh"},
        {"SELECT * FROM pg_class", WRITE(CATALOG), "t"},
        {"SELECT * FROM pg_catalog.pg_class", WRITE(CATALOG), "p"},
        {"SELECT lower('A')", READ(SELECT), "t"},
        {"SELECT pg_catalog.lower('A')", READ(SELECT), "p"},
        {"SELECT 1 + 1", READ(SELECT), "t"},
        {"SELECT f()", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"SELECT 'ok'::mood", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"INSERT INTO t VALUES (1)", WRITE(DML), "twxh"},
        {"DO 'BEGIN END'", WRITE(CALL), "twoxh"},
    };
    CHECK(rows, .facts = NULL, .strict = true);
}

/* isolation = text: what the text shows, and no more. */
static void by_the_text_alone(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 1", READ(SELECT), "p"},
        {"SELECT * FROM t", READ(SELECT), ""},
        {"SELECT * FROM volatile_view", READ(SELECT), ""},
        {"SELECT lower('A')", READ(SELECT), ""},
        {"SELECT 1 + 1", READ(SELECT), "p"},
        {"SELECT f()", WRITE(UNKNOWN_FUNCTION), "twxh"},
        {"SELECT 'ok'::mood", WRITE(UNKNOWN_FUNCTION), "w"},
        {"SELECT 1 <=> 2", WRITE(UNKNOWN_OPERATOR), "tw"},
        {"INSERT INTO t VALUES (1)", WRITE(DML), "w"},
        {"SELECT * FROM a_seq", WRITE(NODE_SPECIFIC), "h"},
        {"DO 'BEGIN END'", WRITE(CALL), "twxh"},
    };
    CHECK(rows, .facts = NULL);
}

static void hints_move_what_is_in_doubt(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"/* switchgear: route=primary */ SELECT * FROM t", WRITE(HINT), "p"},
        {"/* switchgear: route=primary */ SELECT * FROM stable_view", WRITE(HINT), "tw"},
        {"/* switchgear: route=replica */ SELECT volatile_f()", READ(HINT), "twh"},
        {"/* switchgear: route=replica */ SELECT * FROM tickets", READ(HINT), "wh"},
        {"/* switchgear: route=replica */ SELECT * FROM nowhere", READ(HINT), "twxh"},
        {"/* switchgear: route=replica */ INSERT INTO t VALUES (1)", WRITE(DML), "w"},
    };
    CHECK(rows, STRICT);
}

static void a_temporary_place_pins(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 9 AS id INTO pg_temp.doc",
        "SELECT 9 AS id INTO TEMP doc",
        "CREATE TABLE pg_temp_3.x (a int)",
        "CREATE TABLE pg_temp.x AS SELECT 1",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'select 1'",
        "SET search_path = pg_temp, public",
        "SET search_path = public, pg_temp",
        "SET LOCAL search_path TO 'PG_TEMP'",
        "SET SESSION search_path = pg_temp_3",
        "SELECT set_config('search_path', 'pg_temp, public', false)",
        "SELECT set_config('search_path', ' \"pg_temp\"', true)",
        "SELECT pg_catalog.set_config('SEARCH_PATH', 'a,PG_TEMP', false), 1",
        "BEGIN; SET LOCAL search_path = pg_temp; COMMIT",
    };
    const struct router_context contexts[] = {{.facts = NULL}, {STRICT}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        for (size_t j = 0; j < 2; j++) {
            const struct router_class class = classify(texts[i], &contexts[j]);
            if ((class.pins & ROUTER_PIN_TEMP) == 0 || !class.taints)
                fail_msg("pins %x, taints %d: %s", class.pins, class.taints, texts[i]);
        }
    static const char *const others[] = {
        "SET search_path = public",
        "SET application_name = 'pg_temp'",
        "SELECT set_config('search_path', 'public', false)",
        "SELECT set_config('app.tenant', $1, true)",
        "SELECT 'pg_temp'",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        const struct router_class class = classify(others[i], &contexts[1]);
        if ((class.pins & ROUTER_PIN_TEMP) != 0 || class.taints)
            fail_msg("pins %x, taints %d: %s", class.pins, class.taints, others[i]);
    }
    assert_true(classify("SELECT set_config('search_path', $1, true)", &contexts[1]).taints);
}

static const char *savepoint_name(const char *text)
{
    static char name[128];
    struct router_changes *c =
        router_changes_savepoint(ROUTER_CHANGE_SAVEPOINT, text, strlen(text));
    assert_non_null(c);
    assert_int_equal(c->count, 1);
    (void)snprintf(name, sizeof(name), "%s", c->texts + c->items[0].name);
    router_changes_free(c);
    return name;
}

/* Two names that PostgreSQL takes for one are one savepoint. */
static void savepoints_are_told_apart_by_63_bytes(void **state)
{
    (void)state;
    assert_string_equal(savepoint_name(LONG_63), LONG_63);
    assert_string_equal(savepoint_name(LONG_63 "b"), LONG_63);
    assert_string_equal(savepoint_name("A"), "a");
    char wide[70] = LONG_63;
    memcpy(wide + 62, "é", sizeof("é")); /* its second byte would be the 64th */
    char narrow[70] = LONG_63;
    narrow[62] = '\0';
    assert_string_equal(savepoint_name(wide), narrow);
    char huge[500];
    memset(huge, 'a', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_int_equal(strlen(savepoint_name(huge)), 63);
}

/* While DDL has made the facts void, what was not there is taken for what outlasts each reset. */
static void what_is_new_keeps_until_it_is_known(void **state)
{
    static const struct router_fact known[] = {
        {ROUTER_FACT_FUNCTION, ROUTER_FACT_RUNS, {"plain", 5}},
        {ROUTER_FACT_FUNCTION, ROUTER_FACT_RUNS | ROUTER_FACT_OPAQUE, {"dark", 4}},
        {ROUTER_FACT_RELATION, 0, {"t", 1}},
        {ROUTER_FACT_RELATION, ROUTER_FACT_WRITE_OPAQUE, {"traps", 5}},
        {ROUTER_FACT_RELATION, ROUTER_FACT_RUNS | ROUTER_FACT_KEEPS, {"far", 3}},
    };
    static const struct {
        const char *text;
        bool now, keeps; /* with these facts; when they are void */
    } rows[] = {
        {"SELECT plain()", false, false},
        {"SELECT dark()", false, true},
        {"SELECT new_one()", false, true},
        {"SELECT now(), random()", false, false},
        {"SELECT * FROM t", false, false},
        {"INSERT INTO traps VALUES (1)", false, true},
        {"SELECT * FROM new_t", false, true},
        {"SELECT * FROM far", true, true},
        {"COPY far TO STDOUT", true, true},
        {"UPDATE t SET a = new_one()", false, true},
        {"INSERT INTO far VALUES (1)", true, true},
        {"SELECT 1 FROM t WHERE a IN (SELECT a FROM far)", true, true},
    };
    struct router_facts *f = router_facts_create(known, sizeof(known) / sizeof(known[0]), NULL, 0);
    const struct router_context with = {.facts = f, .strict = true};
    const struct router_context without = {.stale = f, .strict = true};
    const struct router_context never = {.strict = true};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(classify(rows[i].text, &with).keeps, rows[i].now);
        assert_int_equal(classify(rows[i].text, &without).keeps, rows[i].keeps);
        assert_false(classify(rows[i].text, &never).keeps);
    }
    router_facts_destroy(f);
}

/* No primary could be asked, and none could run it either. */
static void without_a_primary_unknown_relations_are_read_where_they_can_be(void **state)
{
    const struct router_context orphaned = {.strict = true, .orphaned = true};
    (void)state;
    struct router_class c = classify("SELECT * FROM nobody_knows", &orphaned);
    assert_int_equal(c.verdict, ROUTER_VERDICT_READ);
    assert_true(c.taints && c.outside && !c.proven);
    c = classify("SELECT * FROM nobody_knows FOR UPDATE", &orphaned);
    assert_int_equal(c.verdict, ROUTER_VERDICT_WRITE);
    c = classify("WITH x AS (DELETE FROM nobody_knows RETURNING 1) SELECT * FROM x", &orphaned);
    assert_int_equal(c.verdict, ROUTER_VERDICT_WRITE);
    c = classify("INSERT INTO nobody_knows VALUES (1)", &orphaned);
    assert_int_equal(c.verdict, ROUTER_VERDICT_WRITE);
    c = classify("SELECT nobody_knows_it()", &orphaned);
    assert_int_equal(c.verdict, ROUTER_VERDICT_WRITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relations_are_what_the_catalog_says),
        cmocka_unit_test(a_with_hides_relations_where_it_is_seen),
        cmocka_unit_test(functions_are_what_the_catalog_says),
        cmocka_unit_test(types_and_operators_are_what_the_catalog_says),
        cmocka_unit_test(an_operator_is_meant_where_its_schema_is),
        cmocka_unit_test(what_is_written_may_run_more),
        cmocka_unit_test(what_runs_unseen_code_taints),
        cmocka_unit_test(without_facts_the_worst_is_taken),
        cmocka_unit_test(what_is_new_keeps_until_it_is_known),
        cmocka_unit_test(without_a_primary_unknown_relations_are_read_where_they_can_be),
        cmocka_unit_test(by_the_text_alone),
        cmocka_unit_test(hints_move_what_is_in_doubt),
        cmocka_unit_test(a_temporary_place_pins),
        cmocka_unit_test(savepoints_are_told_apart_by_63_bytes),
    };
    return cmocka_run_group_tests_name("router_names", tests, set_up, tear_down);
}
