/* SPDX-License-Identifier: PostgreSQL
 *
 * What a replica refuses is learned, whatever can still be done for the client that met it: that
 * text alone, and wherever in a flight it stands.
 */
#include "core_internal.h"
#include "core_known.h"
#include "core_story.h"

#define REFUSED "E(25006|PreventCommandIfReadOnly)"

/* What was learned goes to the primary, a read next to it does not. */
static void learned(struct story *st, const char *text, bool is)
{
    struct core_known known;
    core_classify(&st->session, core_span(text), &known, NULL);
    assert_int_equal(known.class.reason == ROUTER_REASON_LEARNED, is);
}

static void a_copy_that_has_begun_is_learned(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY (SELECT x FROM v) TO STDOUT)");
    story_server(st, 1, "H " REFUSED " Z(I)");
    story_expect(st, "replica: Q(COPY (SELECT x FROM v) TO STDOUT)\n"
                     "client: H E(25006) Z(I)\nrelease replica\n");
    story_client(st, "Q(COPY (SELECT x FROM v) TO STDOUT)");
    story_expect(st, "primary: Q(COPY (SELECT x FROM v) TO STDOUT)\n");
}

static void rows_before_it_do_not_matter(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT x FROM late)");
    story_server(st, 1, "T(a) D(1) D(2) " REFUSED " Z(I)");
    story_client(st, "P(|SELECT y FROM late) B() E S");
    story_server(st, 1, "1 2 D(1) " REFUSED " Z(I)");
    story_client(st, "P(n|SELECT z FROM late) B(n) E S");
    story_server(st, 1, "1 2 D(1) " REFUSED " Z(I)");
    learned(st, "SELECT x FROM late", true);
    learned(st, "SELECT y FROM late", true);
    learned(st, "SELECT z FROM late", true);
    st->log_size = 0;
    story_client(st, "B(n) E S");
    story_expect(st, "primary: P(sg|SELECT z FROM late) B(sg) E S\n");
}

static void a_statement_behind_another_in_one_string_is(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 2; SELECT x FROM v)");
    story_server(st, 1, "T(a) D(2) C(SELECT 1) " REFUSED " Z(I)");
    learned(st, "SELECT 2; SELECT x FROM v", true);
    learned(st, "SELECT 2", false);
}

static void in_a_pipeline_it_alone_is(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) B() E P(|SELECT x FROM v) B() E P(|SELECT y FROM t) B() E S");
    story_server(st, 1, "1 2 D(1) C(SELECT 1) 1 2 " REFUSED " Z(I)");
    learned(st, "SELECT 1", false);
    learned(st, "SELECT x FROM v", true);
    learned(st, "SELECT y FROM t", false);
}

/* More statements than are remembered for anything else. */
static void in_a_long_pipeline_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT a) B() E P(|SELECT b) B() E P(|SELECT c) B() E P(|SELECT d) B() E "
                     "P(|SELECT x FROM v) B() E S");
    story_server(st, 1,
                 "1 2 D(1) C(SELECT 1) 1 2 D(1) C(SELECT 1) 1 2 D(1) C(SELECT 1) "
                 "1 2 D(1) C(SELECT 1) 1 2 " REFUSED " Z(I)");
    learned(st, "SELECT x FROM v", true);
    learned(st, "SELECT d", false);
}

static void two_portals_at_a_time_are_told_apart(void **state)
{
    struct story *st = *state;
    story_client(st, "P(v|SELECT x FROM v) P(t|SELECT y FROM t) B(v|one) B(t|two) E(one) E(two) S");
    story_server(st, 1, "1 1 2 2 " REFUSED " Z(I)");
    learned(st, "SELECT x FROM v", true);
    learned(st, "SELECT y FROM t", false);
}

static void a_portal_that_goes_on_is_known(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "P(|BEGIN) B() E P(|SELECT x FROM late) B() E(|1) S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) s Z(T)");
    story_client(st, "E(|1) S");
    story_server(st, 1, REFUSED " Z(E)");
    learned(st, "SELECT x FROM late", true);
}

static void a_bind_that_runs_something_is_known(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 7) B() E P(n|SELECT f(1)) B(n) E S");
    story_client(st, "P(m|SELECT x FROM t WHERE a = g()) B(m) E S");
    st->log_size = 0;
    story_server(st, 0, "1 2 D(7) C(SELECT 1) 1 2 D(1) C(SELECT 1) Z(I)");
    story_server(st, 0, "1 2 C(SELECT 0) Z(I)");
    story_replicate(st);
    story_client(st, "P(k|SELECT x FROM v) B(k) E S");
    story_server(st, 1, "1 E(55000|LockAcquireExtended) Z(I)"); /* the planner's own lock */
    learned(st, "SELECT x FROM v", true);
}

/* The words of a client, and not of ours: it is told, and nothing is learned of its INSERT. */
static void what_was_no_read_is_not_learned(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 1, REFUSED " Z(E)");
    assert_int_equal(st->worker.counters.learned, 0);
    learned(st, "INSERT INTO t VALUES (1)", false);
}

/* In whatever words: a function of a user's may raise it where it finds itself on a replica. */
static void a_25006_of_any_routine_counts(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT x FROM v)");
    story_server(st, 1, "E(25006|exec_stmt_raise)");
    st->log_size = 0;
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease primary\n");
    learned(st, "SELECT x FROM v", true);
}

/* ---- what may have reached outside of the database ---- */

#define OUTSIDE "/* switchgear: route=replica */ SELECT remote('x')"

/* The replica may have done it: it is done there once, and nowhere else. */
static void what_may_have_reached_outside_is_not_done_twice(void **state)
{
    static const char *const ways[] = {"Q(" OUTSIDE ")", "P(|" OUTSIDE ") B() E S",
                                       "P(n|" OUTSIDE ") B(n) E S",
                                       "P(|SELECT 1) B() E P(|" OUTSIDE ") B() E S"};
    static const char *const errors[] = {REFUSED, "E(40001)", "E(0A000|RevalidateCachedQuery)",
                                         "E(55000|LockAcquireExtended)"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < sizeof(errors) / sizeof(errors[0]); j++) {
            struct story *st = *state;
            story_client(st, ways[i]);
            story_server(st, 1,
                         i == 1   ? "1"
                         : i == 2 ? "1 2"
                         : i == 3 ? "1 2 D(1) C(SELECT 1) 1 2"
                                  : "");
            story_server(st, 1, errors[j]);
            story_server(st, 1, "Z(I)");
            assert_int_equal(st->worker.counters.retries, 0);
            assert_null(st->session.backend);
            learned(st, OUTSIDE, j == 0 || j == 3);
            story_end(st);
            story_begin(st);
        }
        struct story *st = *state;
        story_client(st, ways[i]);
        story_server_dies(st, 1);
        assert_int_equal(st->worker.counters.retries, 0);
        assert_int_equal(st->session.phase, CORE_DOOMED);
        story_end(st);
        story_begin(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_copy_that_has_begun_is_learned),
        STORY(rows_before_it_do_not_matter),
        STORY(a_statement_behind_another_in_one_string_is),
        STORY(in_a_pipeline_it_alone_is),
        STORY(in_a_long_pipeline_too),
        STORY(two_portals_at_a_time_are_told_apart),
        STORY(a_portal_that_goes_on_is_known),
        STORY(a_bind_that_runs_something_is_known),
        STORY(what_was_no_read_is_not_learned),
        STORY(a_25006_of_any_routine_counts),
        STORY(what_may_have_reached_outside_is_not_done_twice),
    };
    return cmocka_run_group_tests_name("core_learn", tests, NULL, NULL);
}
