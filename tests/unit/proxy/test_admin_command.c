/* SPDX-License-Identifier: PostgreSQL
 *
 * test_admin_command: what people and drivers type into the console, and what is understood.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy_admin_command.h"

static struct proto_span span(const char *text)
{
    return (struct proto_span){(const uint8_t *)text, strlen(text)};
}

/* The one command of a text. */
static struct admin_command read_one(const char *text)
{
    struct proto_span rest = span(text);
    struct admin_command c, other;
    assert_true(admin_command_next(&rest, &c));
    assert_false(admin_command_next(&rest, &other));
    return c;
}

static void check(const char *text, enum admin_verb verb, const char *name)
{
    const struct admin_command c = read_one(text);
    if (c.verb != verb)
        print_error("%s: verb %d, %s\n", text, c.verb, c.problem);
    assert_int_equal(c.verb, verb);
    assert_string_equal(c.name, name);
}

static void check_bad(const char *text)
{
    const struct admin_command c = read_one(text);
    if (c.verb != ADMIN_BAD)
        print_error("%s: verb %d\n", text, c.verb);
    assert_int_equal(c.verb, ADMIN_BAD);
    assert_true(strlen(c.problem) > 0);
}

static void case_blanks_and_semicolons_do_not_matter(void **arg)
{
    (void)arg;
    check("SHOW NODES", ADMIN_SHOW, "NODES");
    check("show nodes;", ADMIN_SHOW, "NODES");
    check(" \t\n Show\n\tNodes ; ", ADMIN_SHOW, "NODES");
    check(";;show nodes;;", ADMIN_SHOW, "NODES");
    check("show \"nodes\"", ADMIN_SHOW, "NODES");
}

static void comments_are_blanks(void **arg)
{
    (void)arg;
    check("/* from /* a */ tool */ show -- here\n nodes -- ; and there", ADMIN_SHOW, "NODES");
    check("show/**/nodes/* never closed", ADMIN_SHOW, "NODES");
}

static void nothing_is_no_command(void **arg)
{
    (void)arg;
    static const char *const texts[] = {"", ";", " ; ;\n", "-- nothing", "/* nothing */ ;"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct proto_span rest = span(texts[i]);
        struct admin_command c;
        assert_false(admin_command_next(&rest, &c));
        assert_false(admin_command_next(&rest, &c));
    }
}

static void several_commands_come_one_after_the_other(void **arg)
{
    (void)arg;
    struct proto_span rest = span("BREAKER r1 OPEN; drain \"r;2\" ;SHOW NODES");
    struct admin_command c;
    assert_true(admin_command_next(&rest, &c));
    assert_int_equal(c.verb, ADMIN_BREAKER);
    assert_true(admin_command_next(&rest, &c));
    assert_int_equal(c.verb, ADMIN_DRAIN);
    assert_string_equal(c.name, "r;2");
    assert_true(admin_command_next(&rest, &c));
    assert_int_equal(c.verb, ADMIN_SHOW);
    assert_false(admin_command_next(&rest, &c));
}

static void a_breaker_is_forced_and_handed_back(void **arg)
{
    (void)arg;
    check("BREAKER pg-1.a OPEN", ADMIN_BREAKER, "pg-1.a");
    assert_int_equal(read_one("BREAKER r1 OPEN").override, BREAKER_FORCED_OPEN);
    assert_int_equal(read_one("breaker r1 close").override, BREAKER_FORCED_CLOSED);
    assert_int_equal(read_one("Breaker r1 Auto;").override, BREAKER_AUTO);
    check_bad("BREAKER r1 MAYBE");
    check_bad("BREAKER r1");
    check_bad("BREAKER OPEN");
    check_bad("BREAKER r1 OPEN now");
    check_bad("BREAKER = OPEN");
}

static void names_keep_their_case_and_may_be_quoted(void **arg)
{
    (void)arg;
    check("DRAIN R1", ADMIN_DRAIN, "R1");
    check("UNDRAIN \"a \"\"b\"\"\"", ADMIN_UNDRAIN, "a \"b\"");
    check("DRAIN 'r1'", ADMIN_DRAIN, "r1");
    check("READS * TO PRIMARY", ADMIN_READS, "*");
    check_bad("DRAIN");
    check_bad("DRAIN \"\"");
    check_bad("DRAIN r1 r2");
}

static void reads_flip_to_one_of_three(void **arg)
{
    (void)arg;
    check("READS app TO PRIMARY", ADMIN_READS, "app");
    assert_int_equal(read_one("READS app TO PRIMARY").reads, ROUTER_READS_PRIMARY);
    assert_int_equal(read_one("reads app to replicas").reads, ROUTER_READS_REPLICAS);
    assert_int_equal(read_one("READS app TO AUTO").reads, ROUTER_READS_AUTO);
    check_bad("READS app PRIMARY");
    check_bad("READS app TO SECONDARY");
    check_bad("READS TO PRIMARY");
}

static void pause_takes_a_database_or_none(void **arg)
{
    (void)arg;
    check("PAUSE", ADMIN_PAUSE, "");
    check("PAUSE app", ADMIN_PAUSE, "app");
    check("Reconnect", ADMIN_RECONNECT, "");
    check("kill app", ADMIN_KILL, "app");
    check("WAIT_CLOSE", ADMIN_WAIT_CLOSE, "");
    check("DISABLE app", ADMIN_DISABLE, "app");
    check("ENABLE app", ADMIN_ENABLE, "app");
    check("KILL_CLIENT 0x1000000000003", ADMIN_KILL_CLIENT, "0x1000000000003");
    assert_string_equal(read_one("wait_close app").tag, "WAIT_CLOSE");
    check_bad("DISABLE");
    check_bad("ENABLE");
    check_bad("KILL_CLIENT");
    check_bad("KILL a b");
    check("RESUME app;", ADMIN_RESUME, "app");
    check_bad("PAUSE app now");
}

static void shutdown_waits_only_when_told_so(void **arg)
{
    (void)arg;
    assert_int_equal(read_one("SHUTDOWN").shutdown, ADMIN_SHUTDOWN_NOW);
    check("SHUTDOWN WAIT_FOR_CLIENTS", ADMIN_SHUTDOWN, "");
    assert_int_equal(read_one("shutdown wait_for_clients").shutdown, ADMIN_SHUTDOWN_CLIENTS);
    assert_int_equal(read_one("SHUTDOWN WAIT_FOR_SERVERS;").shutdown, ADMIN_SHUTDOWN_SERVERS);
    check_bad("SHUTDOWN WAIT_FOR_GODOT");
    check_bad("RELOAD it");
}

static void explain_route_keeps_the_statement_as_it_is(void **arg)
{
    (void)arg;
    const struct admin_command c =
        read_one("EXPLAIN ROUTE app /* switchgear: route=primary */ select 'a;b'  from \"t;\" ;");
    static const char statement[] = " /* switchgear: route=primary */ select 'a;b'  from \"t;\" ";
    assert_int_equal(c.verb, ADMIN_EXPLAIN_ROUTE);
    assert_string_equal(c.name, "app");
    assert_int_equal(c.statement.size, strlen(statement));
    assert_memory_equal(c.statement.base, statement, strlen(statement));
    check_bad("EXPLAIN ROUTE app");
    check_bad("EXPLAIN select 1");
}

static void what_drivers_send_by_themselves_is_accepted(void **arg)
{
    (void)arg;
    check("SELECT 1", ADMIN_SELECT, "1");
    check("BEGIN", ADMIN_BEGIN, "BEGIN");
    check("begin isolation level read committed", ADMIN_BEGIN, "BEGIN");
    check("START TRANSACTION", ADMIN_BEGIN, "START TRANSACTION");
    check("COMMIT", ADMIN_END, "COMMIT");
    check("rollback", ADMIN_END, "ROLLBACK");
    check("DISCARD ALL", ADMIN_NOTHING, "DISCARD ALL");
    check("SET client_encoding TO 'UTF8'", ADMIN_NOTHING, "SET");
    check("set datestyle = ISO", ADMIN_NOTHING, "SET");
    check("SET extra_float_digits=3", ADMIN_NOTHING, "SET");
    check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ADMIN_NOTHING, "SET");
    check("SHOW TRANSACTION ISOLATION LEVEL", ADMIN_SHOW, "TRANSACTION_ISOLATION");
    check("show server_version", ADMIN_SHOW, "SERVER_VERSION");
}

static void options_are_not_set_here(void **arg)
{
    (void)arg;
    check("SET default_pool_size = 5", ADMIN_SET, "default_pool_size");
    assert_string_equal(read_one("SET default_pool_size = 5").value, "5");
    assert_string_equal(read_one("set query_timeout TO 5s").value, "5s");
    assert_string_equal(read_one("set admin_users = 'a, b'").value, "a, b");
    assert_string_equal(read_one("set auth_query = ''").value, "");
    check("SET database.app.pool_size=5", ADMIN_SET, "database.app.pool_size");
    check_bad("SET query_timeout 5");
    check_bad("SET query_timeout = ");
    check_bad("SET admin_users = a, b");
    check_bad("SET default_pool_size");
    check_bad("SET");
}

static void sql_is_refused(void **arg)
{
    (void)arg;
    check_bad("SELECT now()");
    check_bad("SELECT 1, 2");
    check_bad("INSERT INTO t VALUES (1)");
    check_bad("= show nodes");
    check_bad("SHOW");
    check_bad("SHOW NODES WHERE node = 1");
    check("SUSPEND", ADMIN_LATER, "SUSPEND");
    check("ROLLOUT x START", ADMIN_LATER, "ROLLOUT");
}

static void hostile_texts_end_in_an_error(void **arg)
{
    (void)arg;
    check_bad("DRAIN 'r1");
    check_bad("DRAIN \"r1");
    check_bad("'");
    check_bad("a b c d e f g h i j k l m n");
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    check_bad(text);
    memcpy(text, "DRAIN ", 6); /* a name longer than any node's */
    check_bad(text);
}

/* Every beginning of a text is read without looking behind its end. */
static void any_cut_is_safe(void **arg)
{
    (void)arg;
    static const char text[] =
        "/* a /* b */ */ BREAKER \"r\"\"1\" OPEN -- x\n; SET 'a''b' = \"c\";";
    for (size_t size = 0; size < sizeof text; size++) {
        char *copy = test_malloc(size + 1); /* valgrind or ASan see a byte too far */
        memcpy(copy, text, size);
        struct proto_span rest = {(const uint8_t *)copy, size};
        struct admin_command c;
        int commands = 0;
        while (admin_command_next(&rest, &c))
            commands++;
        assert_true(commands <= 2);
        test_free(copy);
    }
}

static void only_looking_is_unprivileged(void **arg)
{
    (void)arg;
    assert_false(admin_command_is_privileged(ADMIN_SHOW));
    assert_false(admin_command_is_privileged(ADMIN_SELECT));
    assert_false(admin_command_is_privileged(ADMIN_NOTHING));
    for (int verb = ADMIN_BREAKER; verb <= ADMIN_EXPLAIN_ROUTE; verb++)
        assert_true(admin_command_is_privileged((enum admin_verb)verb));
    assert_true(admin_command_is_privileged(ADMIN_SET));
    assert_true(admin_command_is_privileged(ADMIN_LATER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_blanks_and_semicolons_do_not_matter),
        cmocka_unit_test(comments_are_blanks),
        cmocka_unit_test(nothing_is_no_command),
        cmocka_unit_test(several_commands_come_one_after_the_other),
        cmocka_unit_test(a_breaker_is_forced_and_handed_back),
        cmocka_unit_test(names_keep_their_case_and_may_be_quoted),
        cmocka_unit_test(reads_flip_to_one_of_three),
        cmocka_unit_test(pause_takes_a_database_or_none),
        cmocka_unit_test(shutdown_waits_only_when_told_so),
        cmocka_unit_test(explain_route_keeps_the_statement_as_it_is),
        cmocka_unit_test(what_drivers_send_by_themselves_is_accepted),
        cmocka_unit_test(options_are_not_set_here),
        cmocka_unit_test(sql_is_refused),
        cmocka_unit_test(hostile_texts_end_in_an_error),
        cmocka_unit_test(any_cut_is_safe),
        cmocka_unit_test(only_looking_is_unprivileged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
