/* SPDX-License-Identifier: PostgreSQL
 *
 * test_router_texts: what is said to the proxy itself, by statements and by hints; and texts that
 * are deep, long, or hold a NUL.
 */
#include "router_lexer.h"
#include "router_rows.h"

static void the_proxys_own_statements(void **state)
{
    (void)state;
    struct router_class class = classify("SHOW Switchgear.Last_Route");
    assert_int_equal(class.local, ROUTER_LOCAL_SHOW);
    assert_string_equal(detail.name, "last_route");
    class = classify("SET switchgear.min_position = '\"a\\<b>\"'");
    assert_int_equal(class.local, ROUTER_LOCAL_SET);
    assert_string_equal(detail.name, "min_position");
    assert_string_equal(detail.value, "\"a\\<b>\"");
    class = classify("SET LOCAL switchgear.sharding_key TO 42");
    assert_int_equal(class.local, ROUTER_LOCAL_SET_LOCAL);
    assert_string_equal(detail.value, "42");
    classify("SET switchgear.sharding_key TO 0");
    assert_string_equal(detail.value, "0");
    class = classify("SET switchgear.route TO DEFAULT");
    assert_int_equal(class.local, ROUTER_LOCAL_SET);
    assert_string_equal(detail.value, "");
    assert_int_equal(classify("RESET switchgear.route").local, ROUTER_LOCAL_RESET);
    class = classify("EXPLAIN (ROUTE) /* x */ BEGIN");
    assert_int_equal(class.local, ROUTER_LOCAL_EXPLAIN_ROUTE);
    assert_int_equal(class.verdict, ROUTER_VERDICT_LOCAL);
    assert_int_equal(detail.body_offset, 24);
    assert_int_equal(classify(" ; -- x").local, ROUTER_LOCAL_EMPTY);
    assert_int_equal(classify("").local, ROUTER_LOCAL_EMPTY);
    assert_int_equal(classify("").reason, ROUTER_REASON_EMPTY);
}

static void hints_move_what_is_in_doubt(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"/* switchgear: route=primary */ SELECT 1", WRITE(HINT)},
        {"SELECT 1 -- switchgear: route=primary", WRITE(HINT)},
        {"SELECT 1 /*tenant='4',route='primary'*/", WRITE(HINT)},
        {"/* switchgear: route=replica */ SELECT f()", READ(HINT)},
        {"/* switchgear: route=replica */ SELECT 1 @#@ 2", READ(HINT)},
        {"/* switchgear: route=replica */ SELECT f() FOR UPDATE", WRITE(UNKNOWN_FUNCTION)},
        {"/* switchgear: route=replica */ DELETE FROM t", WRITE(DML)},
        {"/* switchgear: route=replica */ SELECT 1 INTO x", WRITE(SELECT_INTO)},
        {"/* switchgear: route=replica */ SELECT pg_read_file('x')", WRITE(VOLATILE_FUNCTION)},
        {"/* switchgear: route=replica */ SELECT dblink('x')", WRITE(SQL_AS_TEXT)},
        {"/* switchgear: route=replica */ SELECT f(); DELETE FROM t", WRITE(UNKNOWN_FUNCTION)},
        {"/* switchgear: route=replica */ /* switchgear: route=primary */ SELECT 1", WRITE(HINT)},
        {"SELECT /*+ route=primary */ 1", READ(SELECT)},
        {"SELECT 1 /*route='/polls',controller='a'*/", READ(SELECT)},
        {"SELECT '/* switchgear: route=primary */'", READ(SELECT)},
        {"SELECT 1 /* see switchgear: route=primary */", READ(SELECT)},
    };
    CHECK(rows);
    assert_true(classify("/* switchgear: route=primary */ SELECT 1").hinted);
    assert_false(classify("/* switchgear: route=primary */ SELECT 1").writes);
    assert_false(classify("/* switchgear: tenant=42 */ SELECT 1").cacheable);
    classify("/* switchgear: max_lag=200ms, tenant='4 2' */ SELECT 1");
    assert_string_equal(detail.hint.max_lag, "200ms");
    assert_string_equal(detail.hint.tenant, "4 2");
    classify("SELECT 1 /*tenant='a%20b',traceparent='00-1'*/");
    assert_string_equal(detail.hint.tenant, "a b");
}

static char *repeat(const char *head, const char *middle, size_t count, const char *tail)
{
    const size_t size = strlen(head) + strlen(middle) * count + strlen(tail) + 1;
    char *text = malloc(size);
    size_t used = (size_t)snprintf(text, size, "%s", head);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, size - used, "%s", middle);
    snprintf(text + used, size - used, "%s", tail);
    return text;
}

/* libpg_query writes its tree by recursion: unbounded, each of these would end the process. */
static void deep_texts_are_writes_and_harmless(void **state)
{
    (void)state;
    static const char *const parts[][3] = {
        {"SELECT ", "1 + ", "1"},
        {"SELECT ", "NOT ", "true"},
        {"SELECT ", "(", "1"},
        {"SELECT ", "(SELECT ", "1"},
        {"SELECT ", "CASE WHEN a AND b THEN 1 ELSE ", "1"},
        {"SELECT 1, 1", " UNION SELECT 1, 1", ""},
        {"SELECT * FROM t", " JOIN t ON a AND b", ""},
        {"SELECT ", "a BETWEEN 1 AND NOT ", "true"},
        {"SELECT 1", "::int", ""},
        {"SELECT a", "[a", ""},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *text = repeat(parts[i][0], parts[i][1], 20000, parts[i][2]);
        const struct router_class class = classify(text);
        if (class.verdict != ROUTER_VERDICT_WRITE || class.reason != ROUTER_REASON_TOO_LONG)
            fail_msg("%s", parts[i][1]);
        free(text);
    }
}

/* Up to what the parser may take; a list of literals is as long as its first one. */
static void long_but_flat_texts_are_classified(void **state)
{
    (void)state;
    static const struct {
        const char *head, *part, *tail;
        size_t times;
    } texts[] = {
        {"SELECT * FROM t WHERE a IN (", "1, ", "1)", 50000},
        {"SELECT * FROM t WHERE a IN (", "$1,", "$1)", 65000},
        {"SELECT * FROM t WHERE a = ANY (ARRAY[", "'x', ", "'x'])", 40000},
        {"SELECT a FROM t WHERE b IN (", "'x'/**/,", "'x') AND c IN (1, 2)", 10000},
        {"SELECT a, ", "t.created_at AS created_at_1, ", "b FROM t", 400},
        {"SELECT * FROM t WHERE ", "a = $1 OR ", "b", 400},
        {"SELECT * FROM t WHERE (a, b) IN (", "($1, $2), ", "(1, 2))", 700},
        {"SELECT 1;", "SELECT 1;", "", 700},
        {"SELECT ", "(a + 1), ", "1", 500},
        {"SELECT '", "a", "'", 128 * 1024},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char *text = repeat(texts[i].head, texts[i].part, texts[i].times, texts[i].tail);
        const struct router_class class = classify(text);
        if (class.verdict != ROUTER_VERDICT_READ)
            fail_msg("%s: %d", texts[i].part, class.reason);
        free(text);
    }
}

static void what_would_take_the_parser_too_long_is_a_write(void **state)
{
    (void)state;
    static const struct {
        const char *head, *part, *tail;
        size_t times;
    } texts[] = {
        {"SELECT ", "+", "1", 5000},
        {"SELECT ", "+-", "1", 100000},
        {"", "/**/", "SELECT 1", 5000},
        {"SELECT 1", "/**/", "", 60000},
        {"", "/*", "SELECT 1", 5000},
        {"SELECT a", ", a", "", 5000},
        {"SELECT 1", " OR a = 1", "", 5000},
        {"SELECT 1", ", (t)::int", " FROM t", 5000},
        {"SELECT * FROM t WHERE (a, b) IN (", "($1, $2), ", "(1, 2))", 5000},
        {"SELECT '", "a", "'", 250 * 1024},
        {"SET search_path = ", "a, ", "a", 5000},
        {"SET search_path = 'x'", ", 'x'", "", 40000}, /* what they are matters here */
        {"", "SET a.b = 1;", "", 5000},
        {"/* switchgear: route=replica */ SELECT ", "a, ", "1", 5000},
        {"SELECT a,", "1, ", "1 /* switchgear: route=replica */", 50000},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char *text = repeat(texts[i].head, texts[i].part, texts[i].times, texts[i].tail);
        const struct router_class class = classify(text);
        const bool broken = class.reason == ROUTER_REASON_PARSE_ERROR; /* an open comment */
        if (class.verdict != ROUTER_VERDICT_WRITE || !class.unread || class.cacheable ||
            (class.reason != ROUTER_REASON_TOO_LONG && !broken))
            fail_msg("%s: %d", texts[i].part, class.reason);
        free(text);
    }
}

/* What a list leaves behind when it is cut is the same statement. */
static void a_list_is_cut_to_its_first(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"SELECT 1, 2, 3", "SELECT 1"},
        {"a IN ($1,$2 , $3)", "a IN ($1)"},
        {"f('a', 'b', 1, 2, c)", "f('a', 1, c)"},
        {"(1, -2, 3)", "(1, -2)"},
        {"1,,2", "1,,2"},
        {"1,", "1,"},
        {"'a', /* b */ 'c' -- d\n", "'a' -- d\n"},
        {"VALUES (1, 'a'), (2, 'b')", "VALUES (1, 'a')"},
        {"VALUES (1, 2, 'a'), (NULL, -3, 'b'::date), (4, 5, 6) x",
         "VALUES (1, 2, 'a'), (NULL, -3, 'b'::date) x"},
        {"VALUES (1), (2), (3, f(4, 5)), (6)", "VALUES (1), (3, f(4)), (6)"},
        {"SET a = 1, 2", ""},
        {"SELECT set_config('a', 'b', true)", ""},
        {"SELECT 'a", ""},
        {"/* switchgear: route=primary */ SELECT 1, 2", ""},
    };
    char cut[128];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const size_t size = router_lexer_cut_lists(texts[i][0], strlen(texts[i][0]), cut);
        if (size != strlen(texts[i][1]) || memcmp(cut, texts[i][1], size) != 0)
            fail_msg("%s: %.*s", texts[i][0], (int)size, cut);
    }
}

static void a_nul_inside_hides_nothing(void **state)
{
    (void)state;
    static const char text[] = "SELECT 1\0; DELETE FROM t";
    struct router_class class;
    router_classify(text, sizeof(text) - 1, NULL, &class, NULL);
    assert_int_equal(class.verdict, ROUTER_VERDICT_WRITE);
    assert_int_equal(class.reason, ROUTER_REASON_PARSE_ERROR);
    assert_false(class.cacheable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_proxys_own_statements),
        cmocka_unit_test(hints_move_what_is_in_doubt),
        cmocka_unit_test(deep_texts_are_writes_and_harmless),
        cmocka_unit_test(long_but_flat_texts_are_classified),
        cmocka_unit_test(what_would_take_the_parser_too_long_is_a_write),
        cmocka_unit_test(a_list_is_cut_to_its_first),
        cmocka_unit_test(a_nul_inside_hides_nothing),
    };
    return cmocka_run_group_tests_name("router_texts", tests, NULL, NULL);
}
