/* SPDX-License-Identifier: PostgreSQL
 *
 * Prepared statements of the protocol, named in SQL.
 */
#include <stdio.h>

#include "core_internal.h"
#include "core_stmt.h"
#include "core_story.h"

#define QUESTION "Q(SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels()"
#define FREE "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)"

/* "a" is a statement of the protocol. */
static struct story *begin(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 7) S");
    story_server(st, 1, "1 Z(I)");
    st->log_size = 0;
    return st;
}

static void execute_is_lent_the_statement_and_gives_it_back(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(EXECUTE a)");
    story_expect(st, "primary: C(Sa) P(a|SELECT 7) Q(EXECUTE a)\n");
    story_server(st, 0, "3 1 T(a) D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(7) C(SELECT 1) Z(I)\nprimary: C(Sa) " QUESTION "\n");
    story_server(st, 0, "3 " FREE);
    story_expect(st, "release primary\n");
}

static void explain_and_create_table_as_are_lent_it_too(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(EXPLAIN EXECUTE a) Q(CREATE TABLE t AS EXECUTE a)");
    story_expect(st, "primary: C(Sa) P(a|SELECT 7) Q(EXPLAIN EXECUTE a)\n");
    story_server(st, 0, "3 1 T(a) D(7) C(EXPLAIN) Z(I)");
    story_expect(st, "client: T D(7) C(EXPLAIN) Z(I)\nprimary: C(Sa) " QUESTION "\n");
    story_server(st, 0, "3 " FREE);
    story_expect(st, "release primary\n"
                     "primary: C(Sa) P(a|SELECT 7) Q(CREATE TABLE t AS EXECUTE a)\n");
    story_server(st, 0, "3 1 C(SELECT 1) Z(I)");
}

static void a_name_that_is_not_ours_is_the_servers(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(EXECUTE b)");
    story_server(st, 0, "E(26000) Z(I)");
    story_expect(st, "primary: Q(EXECUTE b)\nclient: E(26000) Z(I)\nprimary: " QUESTION "\n");
    story_server(st, 0, FREE);
    story_expect(st, "release primary\n");
}

static void what_cannot_be_parsed_any_more_is_executes_error(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(EXECUTE a) Q(SELECT 1)");
    story_expect(st, "primary: C(Sa) P(a|SELECT 7) Q(EXECUTE a)\n");
    story_server(st, 0, "3 E(42P01)");
    story_expect(st, "primary: S\nclient: E(42P01)\n");
    story_server(st, 0, "Z(I)");
    story_expect(st, "client: Z(I)\nprimary: C(Sa) " QUESTION "\n");
    story_server(st, 0, "3 " FREE);
    st->log_size = 0;
}

static void behind_a_held_back_begin(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(BEGIN) Q(EXECUTE a)");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "primary: P(|BEGIN) B() E C(Sa) P(a|SELECT 7) Q(EXECUTE a)\n");
    story_server(st, 0, "1 2 C(BEGIN) 3 1 T(a) D(7) C(SELECT 1) Z(T)");
    story_expect(st, "client: T D(7) C(SELECT 1) Z(T)\n");
    story_client(st, "Q(COMMIT)");
    story_expect(st, "primary: C(Sa) Q(COMMIT)\n");
    story_server(st, 0, "3 C(COMMIT) Z(I)");
    story_expect(st, "client: C(COMMIT) Z(I)\nprimary: " QUESTION "\n");
    story_server(st, 0, FREE);
}

static void an_extended_execute_finds_it_at_parse_and_at_bind(void **state)
{
    struct story *st = begin(state);
    story_client(st, "P(|EXECUTE a) B() E() S");
    story_expect(st, "primary: C(Sa) P(a|SELECT 7) P(|EXECUTE a) B() E S\n");
    story_server(st, 0, "3 1 1 2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 D(7) C(SELECT 1) Z(I)\nprimary: C(Sa) " QUESTION "\n");
    story_server(st, 0, "3 T(a) D(t|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "");
    story_client(st, "B() E() S");
    story_expect(st, "primary: P(|EXECUTE a) C(Sa) P(a|SELECT 7) B() E S\n");
    story_server(st, 0, "1 3 1 2 D(7) C(SELECT 1) Z(I)");
}

static void a_closed_one_is_lent_no_longer(void **state)
{
    struct story *st = begin(state);
    story_client(st, "P(|EXECUTE a) B() E() C(Sa) S");
    story_expect(st, "primary: C(Sa) P(a|SELECT 7) P(|EXECUTE a) B() E C(Sa) S\n");
    story_server(st, 0, "3 1 1 2 D(7) C(SELECT 1) 3 Z(I)");
    story_expect(st, "client: 1 2 D(7) C(SELECT 1) 3 Z(I)\nprimary: " QUESTION "\n");
    story_server(st, 0, FREE);
    story_expect(st, "release primary\n");
    story_client(st, "Q(EXECUTE a)");
    story_expect(st, "primary: Q(EXECUTE a)\n");
    story_server(st, 0, "E(26000) Z(I)");
}

static void a_name_that_sql_has_given_is_taken(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(PREPARE b AS SELECT 1)");
    story_server(st, 0, "C(PREPARE) Z(I)");
    st->log_size = 0;
    story_client(st, "P(b|SELECT 2) S");
    story_expect(st, "primary: P(b|SELECT 2) C(Sb) P(sg|SELECT 2) S\n");
    story_server(st, 0, "E(42P05) Z(I)");
    story_expect(st, "client: E(42P05) Z(I)\n");
    assert_null(core_names_find(st->session.names, core_span("b")));
    story_client(st, "B(b) E() S"); /* and its answer may be a write */
    story_server(st, 0, "2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "primary: B(b) E S\nclient: 2 D(1) C(SELECT 1) Z(I)\n");
    assert_true(st->session.last_write_ns == st->now_ns && st->backends[0]->tainted);
}

static void deallocate_among_others_drops_it_for_good(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(DEALLOCATE a; PREPARE a AS SELECT 8)");
    story_expect(st, "primary: C(Sa) P(a|SELECT 7) Q(DEALLOCATE a; PREPARE a AS SELECT 8)\n");
    story_server(st, 0, "3 1 C(DEALLOCATE) C(PREPARE) Z(I)");
    story_expect(st, "client: C(DEALLOCATE) C(PREPARE) Z(I)\nprimary: " QUESTION "\n");
    assert_null(core_names_find(st->session.names, core_span("a")));
    story_server(st, 0, "T(a) D(f|f|f|t|f) C(SELECT 1) Z(I)");
    story_client(st, "Q(EXECUTE a)");
    story_expect(st, "primary: Q(EXECUTE a)\n");
}

static void and_only_if_it_runs(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(SELECT 1/0; DEALLOCATE a)");
    story_server(st, 0, "3 1 E(22012) Z(I)");
    assert_non_null(core_names_find(st->session.names, core_span("a")));
    story_server(st, 0, "3 " FREE);
}

static void what_it_runs_pins_as_if_it_were_written_out(void **state)
{
    struct story *st = begin(state);
    story_client(st, "P(l|LISTEN x) P(w|SET work_mem = 1) S");
    story_server(st, 0, "1 1 Z(I)");
    st->session.pins = 0;
    st->session.pin = ROUTER_REASON_NONE;
    story_client(st, "Q(EXECUTE l)");
    assert_int_equal(st->session.pins, ROUTER_PIN_PREPARE | ROUTER_PIN_LISTEN);
    story_server(st, 0, "3 1 C(LISTEN) Z(I)");
    story_server(st, 0, "3 T(a) D(t|f|f|f|f) C(SELECT 1) Z(I)");
    assert_int_equal(st->session.pins, ROUTER_PIN_LISTEN);
    story_client(st, "Q(EXECUTE w)");
    story_server(st, 0, "3 1 C(SET) Z(I)");
    story_server(st, 0, "3 T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    assert_int_equal(st->session.pins, ROUTER_PIN_SET | ROUTER_PIN_OTHER);
}

/* Of so many in a batch no names are remembered; what they are is. */
static void the_seventeenth_statement_of_a_batch_pins_too(void **state)
{
    struct story *st = begin(state);
    char batch[1024];
    size_t size = 0;
    for (int i = 0; i < 16; i++)
        size += (size_t)snprintf(batch + size, sizeof(batch) - size, "P(|SELECT %d) ", i);
    (void)snprintf(batch + size, sizeof(batch) - size, "P(|LISTEN x) B() E() S");
    story_client(st, batch);
    assert_int_equal(st->session.pin, ROUTER_REASON_LISTEN);
    story_server(st, 0, "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2 C(LISTEN) Z(I)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(execute_is_lent_the_statement_and_gives_it_back),
        STORY(explain_and_create_table_as_are_lent_it_too),
        STORY(a_name_that_is_not_ours_is_the_servers),
        STORY(what_cannot_be_parsed_any_more_is_executes_error),
        STORY(behind_a_held_back_begin),
        STORY(an_extended_execute_finds_it_at_parse_and_at_bind),
        STORY(a_closed_one_is_lent_no_longer),
        STORY(a_name_that_sql_has_given_is_taken),
        STORY(deallocate_among_others_drops_it_for_good),
        STORY(and_only_if_it_runs),
        STORY(what_it_runs_pins_as_if_it_were_written_out),
        STORY(the_seventeenth_statement_of_a_batch_pins_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
