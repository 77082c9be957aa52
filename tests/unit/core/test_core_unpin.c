/* SPDX-License-Identifier: PostgreSQL
 *
 * What pins is undone piece by piece: the server is asked what is left of it.
 */
#include <stdio.h>

#include "core_internal.h"
#include "core_pin.h"
#include "core_story.h"

#define QUESTION "primary: Q(SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels()\n"
#define UNLOCK "primary: Q(SELECT pg_advisory_unlock(1))\nclient: T D(t) C(SELECT 1) Z(I)\n"

static void is_locked(struct story *st)
{
    story_client(st, "Q(SELECT pg_advisory_lock(1))");
    story_server(st, 0, "T(a) D() C(SELECT 1) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_ADVISORY_LOCK);
    st->log_size = 0;
}

static void unlocks(struct story *st)
{
    story_client(st, "Q(SELECT pg_advisory_unlock(1))");
    story_server(st, 0, "T(a) D(t) C(SELECT 1) Z(I)");
    story_expect(st, UNLOCK QUESTION);
}

static void behind_an_unlock_the_server_is_asked_and_sets_the_session_free(void **state)
{
    struct story *st = *state;
    is_locked(st);
    unlocks(st);
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "release primary\n");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "primary: Q(SELECT 1)\n"); /* a write was there: read-your-writes */
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
}

static void what_is_left_keeps_it_there(void **state)
{
    struct story *st = *state;
    is_locked(st);
    unlocks(st);
    story_server(st, 0, "T(a) D(f|t|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "");
    assert_int_equal(st->session.pin, ROUTER_REASON_ADVISORY_LOCK);
    story_client(st, "Q(SELECT 1)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "primary: Q(SELECT 1)\nclient: T D(1) C(SELECT 1) Z(I)\n"); /* asked once */
}

static void what_nobody_knew_of_pins_too(void **state)
{
    struct story *st = *state;
    is_locked(st);
    unlocks(st);
    story_server(st, 0, "T(a) D(f|f|t|f|f) C(SELECT 1) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_TEMP_TABLE);
    assert_int_equal(st->session.pins, ROUTER_PIN_TEMP);
}

static void an_answer_that_is_none_frees_nobody(void **state)
{
    static const char *const answers[] = {
        "E(57014) Z(I)",
        "T(a) C(SELECT 0) Z(I)",
        "T(a) D(f|f|f|f) C(SELECT 1) Z(I)",
        "T(a) D(f|f|f|f|no) C(SELECT 1) Z(I)",
        "T(a) D(f|f|f|f|f|f) C(SELECT 1) Z(I)",
        "T(a) D(f|f|f|f|x) C(SELECT 1) Z(I)",
    };
    struct story *st = *state;
    is_locked(st);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        unlocks(st);
        story_server(st, 0, answers[i]);
        story_expect(st, "");
        assert_int_equal(st->session.pin, ROUTER_REASON_ADVISORY_LOCK);
    }
}

static void an_answer_may_come_byte_by_byte(void **state)
{
    struct story *st = *state;
    uint8_t buf[512];
    is_locked(st);
    unlocks(st);
    const size_t size = story_encode(false, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)", buf, sizeof(buf));
    for (size_t i = 0; i < size; i++)
        story_server_bytes(st, 0, buf + i, 1);
    story_expect(st, "release primary\n");
}

static void what_comes_meanwhile_waits_and_is_decided_anew(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(LISTEN a)");
    story_server(st, 0, "C(LISTEN) Z(I)");
    story_replicate(st);
    st->log_size = 0;
    story_client(st, "Q(UNLISTEN a)");
    story_server(st, 0, "C(UNLISTEN) Z(I)");
    story_expect(st, "primary: Q(UNLISTEN a)\nclient: C(UNLISTEN) Z(I)\n" QUESTION);
    st->now_ns += 1000;
    story_replicate(st);
    story_client(st, "Q(SELECT 1) Q(SELECT 2)");
    story_expect(st, "");
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "release primary\nreplica: Q(SELECT 1) Q(SELECT 2)\n");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I) T(a) D(2) C(SELECT 1) Z(I)");
}

static void in_a_pipeline_the_question_comes_last(void **state)
{
    struct story *st = *state;
    is_locked(st);
    story_client(st, "P(|SELECT pg_advisory_unlock($1)) B() E() S P(|SELECT 1) B() E() S");
    story_server(st, 0, "1 2 D(t) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_server(st, 0, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 D(1) C(SELECT 1) Z(I)\n" QUESTION);
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "release primary\n");
}

static void the_question_waits_for_the_end_of_the_block(void **state)
{
    struct story *st = *state;
    is_locked(st);
    story_client(st, "Q(BEGIN) Q(SELECT pg_advisory_unlock(1))");
    story_server(st, 0, "C(BEGIN) Z(T) T(a) D(t) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    story_expect(st, "primary: Q(COMMIT)\nclient: C(COMMIT) Z(I)\n" QUESTION);
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "release primary\n");
}

static void the_unnamed_statement_outlives_the_question(void **state)
{
    struct story *st = *state;
    is_locked(st);
    story_client(st, "P(|SELECT pg_advisory_unlock($1)) B() E() S");
    story_server(st, 0, "1 2 D(t) C(SELECT 1) Z(I)");
    story_server(st, 0, "T(a) D(f|t|f|f|f) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "B() E() S");
    story_expect(st, "primary: P(|SELECT pg_advisory_unlock($1)) B() E S\n");
    story_server(st, 0, "1 2 D(t) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(t) C(SELECT 1) Z(I)\n" QUESTION);
}

static void an_error_behind_a_pin_asks(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(CREATE TEMP TABLE x (id nonsense))");
    story_server(st, 0, "E(42704) Z(I)");
    story_expect(st,
                 "primary: Q(CREATE TEMP TABLE x (id nonsense))\nclient: E(42704) Z(I)\n" QUESTION);
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "release primary\n");
}

static void a_client_that_leaves_meanwhile_leaves_it_to_be_reset(void **state)
{
    struct story *st = *state;
    is_locked(st);
    unlocks(st);
    story_leave(st);
    story_expect(st, "drain primary\n");
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

static void a_server_that_is_lost_meanwhile_ends_the_session(void **state)
{
    struct story *st = *state;
    is_locked(st);
    unlocks(st);
    story_server_dies(st, 0);
    story_expect(st, "client: E(FATAL 08006)\nclose primary\nclose client\n");
}

static void nothing_is_asked_in_session_mode_or_of_a_text_that_nobody_read(void **state)
{
    struct story *st = *state;
    is_locked(st);
    core_pin_force(&st->session, ROUTER_PIN_LONG);
    story_client(st, "Q(SELECT pg_advisory_unlock(1))");
    story_server(st, 0, "T(a) D(t) C(SELECT 1) Z(I)");
    story_expect(st, UNLOCK);
    core_pin_release(&st->session, ROUTER_PIN_LONG);
    core_pin_force(&st->session, ROUTER_PIN_POOL);
    story_client(st, "Q(SELECT pg_advisory_unlock(1))");
    story_server(st, 0, "T(a) D(t) C(SELECT 1) Z(I)");
    story_expect(st, UNLOCK);
}

static void a_library_or_a_backup_stays_with_its_connection(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(LOAD 'x')");
    story_server(st, 0, "C(LOAD) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(DISCARD ALL)");
    story_server(st, 0, "C(DISCARD ALL) Z(I)");
    story_expect(st, "primary: Q(DISCARD ALL)\nclient: C(DISCARD ALL) Z(I)\nclose primary\n");
    story_client(st, "Q(SELECT pg_backup_start('a'))");
    story_server(st, 0, "T(a) D() C(SELECT 1) Z(I)");
    story_client(st, "Q(DISCARD ALL)");
    story_server(st, 0, "C(DISCARD ALL) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_BACKUP);
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "close primary\n");
}

/* Longer than what is planned whole. */
static void a_batch_that_is_not_planned_pins_as_it_goes(void **state)
{
    struct story *st = *state;
    static char batch[4096];
    static char pad[2100];
    memset(pad, ' ', sizeof(pad) - 1);
    (void)snprintf(batch, sizeof(batch), "P(|LISTEN a) B() E() P(|SELECT 1%s) B() E() S", pad);
    story_client(st, batch);
    story_server(st, 0, "1 2 C(LISTEN) 1 2 D(1) C(SELECT 1) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_LISTEN);
    story_client(st, "Q(UNLISTEN *)");
    story_server(st, 0, "C(UNLISTEN) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
    story_client(st, "P(l|LISTEN a) S");
    story_server(st, 0, "1 Z(I)");
    story_client(st, "Q(UNLISTEN *)");
    story_server(st, 0, "C(UNLISTEN) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
    (void)snprintf(batch, sizeof(batch), "B(l) E() P(|SELECT 1%s) B() E() S", pad);
    story_client(st, batch);
    story_server(st, 0, "2 C(LISTEN) 1 2 D(1) C(SELECT 1) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_LISTEN);
}

static void on_a_replica_it_may_not(void **state)
{
    struct story *st = *state;
    static char batch[4096];
    static char pad[2100];
    memset(pad, ' ', sizeof(pad) - 1);
    story_client(st, "Q(BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    (void)snprintf(batch, sizeof(batch),
                   "P(|SELECT pg_advisory_lock(1)) B() E() P(|SELECT 1%s) B() E() S", pad);
    story_client(st, batch);
    st->log_size = 0;
    story_server(st, 1, "E(42601) Z(E)");
    story_expect(st, "client: E(0A000) Z(E)\n");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(behind_an_unlock_the_server_is_asked_and_sets_the_session_free),
        STORY(what_is_left_keeps_it_there),
        STORY(what_nobody_knew_of_pins_too),
        STORY(an_answer_that_is_none_frees_nobody),
        STORY(an_answer_may_come_byte_by_byte),
        STORY(what_comes_meanwhile_waits_and_is_decided_anew),
        STORY(in_a_pipeline_the_question_comes_last),
        STORY(the_question_waits_for_the_end_of_the_block),
        STORY(the_unnamed_statement_outlives_the_question),
        STORY(an_error_behind_a_pin_asks),
        STORY(a_client_that_leaves_meanwhile_leaves_it_to_be_reset),
        STORY(a_server_that_is_lost_meanwhile_ends_the_session),
        STORY(nothing_is_asked_in_session_mode_or_of_a_text_that_nobody_read),
        STORY(a_batch_that_is_not_planned_pins_as_it_goes),
        STORY(on_a_replica_it_may_not),
        STORY(a_library_or_a_backup_stays_with_its_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
