/* SPDX-License-Identifier: PostgreSQL */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router_lexer.h"

static const uint8_t key[ROUTER_KEY_SIZE] = {7, 1, 2};

/*
 * The tokens of a text as one line: a letter for the kind, then its bytes in brackets. The text is
 * copied to a block of its exact size, so that a sanitizer sees a read past the end.
 */
static void check(const char *text, const char *expected)
{
    static const char letters[] = "?wqsnpo.c!";
    const size_t size = strlen(text);
    char *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, text, size); /* NOLINT(bugprone-not-null-terminated-result) */
    struct router_lexer lexer = router_lexer_make(exact, size);
    char line[1024];
    size_t used = 0;
    line[0] = '\0';
    for (struct router_token t = router_lexer_next(&lexer); t.kind != ROUTER_TOKEN_END;
         t = router_lexer_next(&lexer))
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%c[%.*s]", letters[t.kind],
                                 (int)t.size, exact + t.start);
    assert_string_equal(line, expected);
    assert_int_equal(router_lexer_next(&lexer).kind, ROUTER_TOKEN_END);
    free(exact);
}

static struct router_scan scan_of(const char *text)
{
    const size_t size = strlen(text);
    char *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, text, size); /* NOLINT(bugprone-not-null-terminated-result) */
    struct router_scan scan;
    router_lexer_scan(exact, size, key, &scan);
    free(exact);
    return scan;
}

static void same(const char *a, const char *b)
{
    const struct router_scan x = scan_of(a);
    const struct router_scan y = scan_of(b);
    if (x.hash.low != y.hash.low || x.hash.high != y.hash.high)
        fail_msg("hash apart: %s | %s", a, b);
}

static void apart(const char *a, const char *b)
{
    const struct router_scan x = scan_of(a);
    const struct router_scan y = scan_of(b);
    if (x.hash.low == y.hash.low && x.hash.high == y.hash.high)
        fail_msg("hash the same: %s | %s", a, b);
}

static void blanks_and_comments_separate(void **state)
{
    (void)state;
    check("", "");
    check(" \t\r\n\f", "");
    check("SELECT/**/1", "w[SELECT]c[/**/]n[1]");
    check("a--b\nc", "w[a]c[--b]w[c]");
    check("a--b", "w[a]c[--b]");
    check("/* a /* b */ c */d", "c[/* a /* b */ c */]w[d]");
    check("/*/*/ */*/x", "c[/*/*/ */*/]w[x]");
    check("/***/x", "c[/***/]w[x]");
    check("a /* b", "w[a]![/* b]");
    check("/* /* */", "![/* /* */]");
}

static void strings_end_where_postgresql_ends_them(void **state)
{
    (void)state;
    check("'a' x", "s['a']w[x]");
    check("'it''s'", "s['it''s']");
    check("'a\\' x", "s['a\\']w[x]");
    check("E'a\\' x'", "s[E'a\\' x']");
    check("e'\\\\' x", "s[e'\\\\']w[x]");
    check("E'\\u0061\\U00000061'", "s[E'\\u0061\\U00000061']");
    check("E'\\u00' x", "![E'\\u00' x]");
    check("E'a\\", "![E'a\\]");
    check("U&'d\\0061' UESCAPE '!'", "s[U&'d\\0061']w[UESCAPE]s['!']");
    check("N'a' B'01' x'ff'", "s[N'a']s[B'01']s[x'ff']");
    check("B'0''1' x", "s[B'0']s['1']w[x]");
    check("B''01' x", "s[B'']n[01]![' x]");
    check("u & 'a'", "w[u]o[&]s['a']");
    check("'a", "!['a]");
    check("'a''", "!['a'']");
}

static void strings_go_on_over_newlines_only(void **state)
{
    (void)state;
    check("'a'\n'b' x", "s['a'\n'b']w[x]");
    check("'a' 'b'", "s['a']s['b']");
    check("'a' -- c\n 'b'", "s['a' -- c\n 'b']");
    check("'a' -- c 'b'", "s['a']c[-- c 'b']");
    check("'a'\n/* c */'b'", "s['a']c[/* c */]s['b']");
    check("E'a'\n'b\\'c'", "s[E'a'\n'b\\'c']");
    check("'a'\n", "s['a']");
}

static void dollar_quotes_want_the_same_tag(void **state)
{
    (void)state;
    check("$$a'b$$ x", "s[$$a'b$$]w[x]");
    check("$q$ a $$ b ; $q$", "s[$q$ a $$ b ; $q$]");
    check("$a$ $b$a$ x", "s[$a$ $b$a$]w[x]");
    check("$a$ $A$", "![$a$ $A$]");
    check("a$b$c$b$", "w[a$b$c$b$]");
    check("1$a$b$a$", "n[1]s[$a$b$a$]");
    check("$1$$x$$", "p[$1]s[$$x$$]");
    check("$1a$", "![$1a].[$]");
    check("$a", ".[$]w[a]");
}

static void names(void **state)
{
    (void)state;
    check("SELECT\"id\"FROM\"t\"", "w[SELECT]q[\"id\"]w[FROM]q[\"t\"]");
    check("\"a\"\"b\"", "q[\"a\"\"b\"]");
    check("U&\"d\\0061t\" x", "q[U&\"d\\0061t\"]w[x]");
    check("\"\"", "![\"\"]");
    check("\"a", "![\"a]");
    check("\xc3\xa4_1$x", "w[\xc3\xa4_1$x]");
    check("a.b[1]::c", "w[a].[.]w[b].[[]n[1].[]].[::]w[c]");
}

static void numbers(void **state)
{
    (void)state;
    check("1 .5 5. 1e5 1.5E-3", "n[1]n[.5]n[5.]n[1e5]n[1.5E-3]");
    check("1..2", "n[1].[..]n[2]");
    check("1.e5", "n[1.e5]");
    check("123abc", "![123a]w[bc]");
    check("1e+", "![1e+]");
    check("1.5x", "![1.5x]");
    check("$1, $23", "p[$1].[,]p[$23]");
}

static void operators_stop_at_comments_and_signs(void **state)
{
    (void)state;
    check("1+--c\n2", "n[1]o[+]c[--c]n[2]");
    check("a*/*c*/b", "w[a]o[*]c[/*c*/]w[b]");
    check("1*-2", "n[1]o[*]o[-]n[2]");
    check("a@-b", "w[a]o[@-]w[b]");
    check("a<-1", "w[a]o[<]o[-]n[1]");
    check("a <-> b", "w[a]o[<->]w[b]");
    check("a=>b", "w[a]o[=>]w[b]");
    check("a:=b", "w[a].[:=]w[b]");
    check("1 @#@ 2", "n[1]o[@#@]n[2]");
}

static void an_embedded_nul_is_an_error(void **state)
{
    (void)state;
    static const char text[] = "SELECT 1\0; DROP TABLE t";
    struct router_scan scan;
    router_lexer_scan(text, sizeof(text) - 1, key, &scan);
    assert_false(scan.whole);
    router_lexer_scan("'a\0b'", 5, key, &scan);
    assert_false(scan.whole);
    router_lexer_scan("/*\0*/", 5, key, &scan);
    assert_false(scan.whole);
    router_lexer_scan("\"a\0\"", 4, key, &scan);
    assert_false(scan.whole);
    router_lexer_scan("$$\0$$", 5, key, &scan);
    assert_false(scan.whole);
}

static void literals_comments_case_and_blanks_do_not_count(void **state)
{
    (void)state;
    same("SELECT a FROM t WHERE id = 1", "select  A from T\nwhere ID=99999");
    same("SELECT 'a'", "SELECT /* x */ 'it''s' -- y");
    same("SELECT 'a'", "SELECT E'b\\''");
    same("SELECT 'a'", "SELECT $$b$$");
    same("SELECT 'a'\n'b'", "SELECT 'c'");
    same("x IN (1, 2, 3)", "x IN (7)");
    same("x IN ($1,$2)", "x IN ($1, $2, $3, $4)");
    same("VALUES ('a','b')", "VALUES ('a')");
    same("INSERT INTO t VALUES (1, 'a', -2)",
         "insert into t values (NULL, 5, true), ('b', false, 1)");
    same("VALUES ('2026-01-01'::date, 1)", "VALUES ('a', 1), ('2026-01-02'::date, 2), (3, 4)");
    same("VALUES ($1, $2) RETURNING a", "VALUES ($1, $2), ($3, $4), ($5, $6) RETURNING a");
    same("VALUES (1, 'a'); VALUES (-1, NULL)", "VALUES (NULL, 'b'); VALUES (1, 2), (3, 4)");
    same("SELECT averylongidentifierindeed", "SELECT AVeryLongIdentifierIndeed");
}

static void what_the_grammar_tells_apart_hashes_apart(void **state)
{
    (void)state;
    apart("SELECT a", "SELECT b");
    apart("SELECT a", "SELECT \"a\"");
    apart("SELECT a", "SELECT 'a'");
    apart("SELECT 1", "SELECT '1'");
    apart("SELECT 1", "SELECT 1.5");
    apart("SELECT 1", "SELECT 99999999999");
    apart("SELECT 'a'", "SELECT N'a'");
    apart("SELECT 'a'", "SELECT B'1'");
    apart("SELECT $1", "SELECT 1");
    apart("SELECT ab", "SELECT a b");
    apart("SELECT a+b", "SELECT a-b");
    apart("SELECT \"a b\"", "SELECT \"a\" \"b\"");
    apart("SELECT \"a\"", "SELECT \"A\"");
    apart("(1, 'a')", "('a', 1)");
    apart("(1, 'a')", "(1)");
    apart("(1,", "(1");
    apart("f(1,,2)", "f(1,2)");
    apart("VALUES (1), (2)", "VALUES (1), (f(2))");
    apart("VALUES (1), (f(2))", "VALUES (1), (g(2))");
    apart("VALUES (1), (DEFAULT)", "VALUES (1), (2)");
    apart("VALUES ('a'::date)", "VALUES ('a')");
    apart("VALUES ('a'::date)", "VALUES ('a'::mytype)");
    apart("VALUES ('a'::date), ('b'::mytype)", "VALUES ('a'::date), ('b'::date)");
    apart("VALUES (-1::mytype)", "VALUES (1::mytype)"); /* an operator of somebody's */
    apart("VALUES (- 'a')", "VALUES ('a')");
    apart("VALUES (+1)", "VALUES (1)");
    apart("VALUES (1), (2), 3", "VALUES (1), (2)");
    apart("VALUES (1) (2)", "VALUES (1), (2)");
    apart("VALUES (1),", "VALUES (1)");
    apart("VALUES (U&'a')", "VALUES ('a')");
    apart("f((1, 2), (3, 4))", "f((1, 2))");
    apart("VALUES (a)", "VALUES (b)");
    apart("VALUES (1), (2) -- x\n, (a)", "VALUES (1), (2) -- x\n, (b)");
    apart("SELECT a[", "SELECT a{");
    apart("SELECT @a", "SELECT `a");
    apart("SELECT \xc3\xa4", "SELECT \xc3\x84");
}

static void the_key_matters(void **state)
{
    (void)state;
    uint8_t one[ROUTER_KEY_SIZE];
    uint8_t other[ROUTER_KEY_SIZE];
    for (int i = 0; i < ROUTER_KEY_SIZE; i++) {
        one[i] = (uint8_t)(i * 37 + 1);
        other[i] = (uint8_t)(i * 91 + 5);
    }
    struct router_scan a;
    struct router_scan b;
    router_lexer_scan("SELECT 1", 8, one, &a);
    router_lexer_scan("SELECT 1", 8, other, &b);
    assert_true(a.hash.low != b.hash.low && a.hash.high != b.hash.high);
}

/* Longer than the buffer in which the encoding is collected. */
static void long_texts_hash_as_short_ones(void **state)
{
    (void)state;
    static char a[8192];
    static char b[8192];
    size_t n = 0;
    while (n + 24 < sizeof(a))
        n += (size_t)snprintf(a + n, sizeof(a) - n, "word%zu + ", n);
    snprintf(b, sizeof(b), "%s", a);
    snprintf(a + n, sizeof(a) - n, "1");
    snprintf(b + n, sizeof(b) - n, "22 -- x");
    same(a, b);
    b[n - 5] = 'z';
    apart(a, b);
    b[n - 5] = a[n - 5];
    b[0] = 'z';
    apart(a, b);
}

static void hints_and_words_that_matter_are_seen(void **state)
{
    (void)state;
    assert_true(scan_of("/* switchgear: route=primary */ SELECT 1").has_hint);
    assert_true(scan_of("SELECT 1 /*tenant='42'*/").has_hint);
    assert_true(scan_of("SELECT 1 -- switchgear: max_lag=1s").has_hint);
    assert_false(scan_of("SELECT /*+ SeqScan(t) */ 1").has_hint);
    assert_false(scan_of("SELECT 1 /*controller='x',route='/polls'*/").has_hint);
    assert_false(scan_of("SELECT '/* switchgear: route=primary */'").has_hint);
    assert_true(scan_of("Set x = 1").literal_matters);
    assert_true(scan_of("SELECT 1; SHOW x").literal_matters);
    assert_true(scan_of("explain select 1").literal_matters);
    assert_true(scan_of("SELECT SET_CONFIG('a','b',true)").literal_matters);
    assert_true(scan_of("SELECT U&\"x\" UESCAPE '!'").literal_matters);
    assert_false(scan_of("UPDATE t SET show = 1").literal_matters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_and_comments_separate),
        cmocka_unit_test(strings_end_where_postgresql_ends_them),
        cmocka_unit_test(strings_go_on_over_newlines_only),
        cmocka_unit_test(dollar_quotes_want_the_same_tag),
        cmocka_unit_test(names),
        cmocka_unit_test(numbers),
        cmocka_unit_test(operators_stop_at_comments_and_signs),
        cmocka_unit_test(an_embedded_nul_is_an_error),
        cmocka_unit_test(literals_comments_case_and_blanks_do_not_count),
        cmocka_unit_test(what_the_grammar_tells_apart_hashes_apart),
        cmocka_unit_test(the_key_matters),
        cmocka_unit_test(long_texts_hash_as_short_ones),
        cmocka_unit_test(hints_and_words_that_matter_are_seen),
    };
    return cmocka_run_group_tests_name("router_lexer", tests, NULL, NULL);
}
