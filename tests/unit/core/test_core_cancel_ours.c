/* SPDX-License-Identifier: PostgreSQL
 *
 * A cancel that comes while something of ours runs, or would hit it: it is for the client's next
 * statement, if there is one, and never for what is ours.
 */
#include <stdio.h>

#include "core_internal.h"
#include "core_settings.h"
#include "core_story.h"

#define QUESTION "primary: Q(SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels()\n"
#define LEFT "T(a) D(f|t|f|f|f) C(SELECT 1) Z(I)"
#define NOTHING_LEFT "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)"

static void cancel(struct story *st, enum core_cancel what)
{
    assert_int_equal(core_cancel(&st->session), what);
}

/* The request to the server has come to its end. */
static void cancel_ends(struct story *st, uint32_t node, bool may_come)
{
    struct core_backend *b = st->backends[node];
    b->cancels--;
    b->broken = b->broken || may_come;
    story_execute(st, core_client_drained(&st->session, st->now_ns));
}

static void is_asked(struct story *st)
{
    story_client(st, "Q(SELECT pg_advisory_lock(1))");
    story_server(st, 0, "T(a) D() C(SELECT 1) Z(I)");
    story_client(st, "Q(SELECT pg_advisory_unlock(1))");
    story_server(st, 0, "T(a) D(t) C(SELECT 1) Z(I)");
    assert_string_equal(st->log + st->log_size - strlen(QUESTION), QUESTION);
    st->log_size = 0;
}

/* ---- the question what still pins ---- */

static void during_the_question_an_idle_client_has_nothing_to_be_cancelled(void **state)
{
    struct story *st = *state;
    is_asked(st);
    cancel(st, CORE_CANCEL_NOTHING);
    story_server(st, 0, LEFT);
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "primary: Q(SELECT 1)\n");
}

static void what_waits_for_the_answer_fails_behind_it(void **state)
{
    struct story *st = *state;
    is_asked(st);
    story_client(st, "P(|SELECT 1) B() E() S Q(SELECT 2)");
    cancel(st, CORE_CANCEL_NOTHING);
    cancel(st, CORE_CANCEL_NOTHING); /* twice is once */
    story_expect(st, "");
    story_server(st, 0, LEFT);
    story_expect(st, "primary: Q(SELECT 2)\nclient: E(57014) Z(I)\n");
}

static void half_a_batch_does_not_run_yet(void **state)
{
    struct story *st = *state;
    is_asked(st);
    story_client(st, "P(|SELECT 1) B() E()");
    cancel(st, CORE_CANCEL_NOTHING);
    story_client(st, "S");
    story_server(st, 0, LEFT);
    story_expect(st, "primary: P(|SELECT 1) B() E S\n");
}

static void what_ends_in_a_flush_fails_up_to_its_sync(void **state)
{
    struct story *st = *state;
    is_asked(st);
    story_client(st, "P(|SELECT 1) B() E() H");
    cancel(st, CORE_CANCEL_NOTHING);
    story_server(st, 0, NOTHING_LEFT);
    story_expect(st, "client: E(57014)\nrelease primary\n");
    story_client(st, "B() E() S");
    story_expect(st, "client: Z(I)\n");
}

static void a_begin_that_waits_is_answered_and_takes_the_request_along(void **state)
{
    struct story *st = *state;
    is_asked(st);
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    cancel(st, CORE_CANCEL_NOTHING);
    story_server(st, 0, NOTHING_LEFT);
    story_expect(st, "client: C(BEGIN) Z(T)\nrelease primary\n"
                     "primary: P(|BEGIN) B() E Q(INSERT INTO t VALUES (1))\n");
}

static void what_is_too_long_to_be_planned_fails_too(void **state)
{
    static uint8_t text[6000];
    struct story *st = *state;
    is_asked(st);
    memset(text, ' ', sizeof(text));
    text[0] = 'Q';
    proto_store_u32(text + 1, sizeof(text) - 1);
    memcpy(text + 5, "SELECT 1", 8);
    text[sizeof(text) - 1] = '\0';
    story_client_bytes(st, text, 4000);
    cancel(st, CORE_CANCEL_NOTHING);
    story_server(st, 0, LEFT);
    story_expect(st, "client: E(57014) Z(I)\n");
    story_client_bytes(st, text + 4000, 2000);
    story_client(st, "Q(SELECT 2)");
    story_expect(st, "primary: Q(SELECT 2)\n");
}

/* ---- another cancel's end ---- */

static void a_second_cancel_is_for_what_waits_for_the_end_of_the_first(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    cancel(st, CORE_CANCEL_SERVER);
    st->backends[0]->cancels = 1;
    story_server(st, 0, "E(57014) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (2)) Q(INSERT INTO t VALUES (3))");
    cancel(st, CORE_CANCEL_NOTHING);
    story_expect(st, "");
    cancel_ends(st, 0, false);
    story_expect(st,
                 "client: E(57014) Z(I)\nrelease primary\nprimary: Q(INSERT INTO t VALUES (3))\n");
}

static void in_a_block_its_server_is_made_to_fail_it(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    cancel(st, CORE_CANCEL_SERVER);
    st->backends[0]->cancels = 1;
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    cancel(st, CORE_CANCEL_NOTHING);
    cancel_ends(st, 0, false);
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) S\n");
    story_server(st, 0, "E(42601) Z(E)");
    story_expect(st, "client: E(57014) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    story_expect(st, "primary: Q(ROLLBACK)\nclient: C(ROLLBACK) Z(I)\nrelease primary\n");
}

static void the_end_of_a_block_is_not_cancelled(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    st->backends[0]->cancels = 1;
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(COMMIT)");
    cancel(st, CORE_CANCEL_NOTHING);
    cancel_ends(st, 0, false);
    story_expect(st, "primary: Q(COMMIT)\n");
    story_server(st, 0, "C(COMMIT) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    story_expect(st, "primary: Q(INSERT INTO t VALUES (2))\n");
}

/* What is pipelined behind it would be committed at once. */
static void nor_is_its_beginning(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(LISTEN a)");
    st->backends[0]->cancels = 1;
    story_server(st, 0, "C(LISTEN) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) Q(ROLLBACK)");
    cancel(st, CORE_CANCEL_NOTHING);
    cancel_ends(st, 0, false);
    story_expect(st, "primary: Q(BEGIN) Q(INSERT INTO t VALUES (1)) Q(ROLLBACK)\n");
}

/* ---- a replay ---- */

static void a_cancel_that_is_lost_with_its_server_ends_the_repetition(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) Q(SELECT 2)");
    cancel(st, CORE_CANCEL_SERVER);
    st->backends[1]->cancels = 1;
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "client: E(57014) Z(I)\nclose replica\nreplica: Q(SELECT 2)\n");
}

static void so_does_one_for_a_read_that_its_replica_refuses(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) B(a) D(P) E() S");
    st->backends[1]->cancels = 1;
    story_server(st, 1, "1 2");
    st->log_size = 0;
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly) Z(I)");
    story_expect(st, "client: E(57014) Z(I)\nclose replica\n");
}

static void one_of_query_timeout_says_so(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    core_timed_out(&st->session);
    st->backends[1]->cancels = 1;
    story_server_dies(st, 1);
    assert_false(st->session.timed_out);
    assert_false(st->session.cancelled);
    st->log_size = 0;
    story_client(st, "Q(SELECT 2)");
    story_expect(st, "replica: Q(SELECT 2)\n");
}

/* ---- a setting of ours in front of the statement, in the same flight ---- */

/* The session has set work_mem, and the primary's connection has since served another. */
static int begin_with_a_set(void **state)
{
    (void)story_open(state);
    struct story *st = *state;
    story_client(st, "Q(SET work_mem = '1MB')");
    story_server(st, 0, "C(SET) Z(I)");
    st->backends[0]->settings_hash = 4;
    st->backends[0]->with_role = false;
    st->log_size = 0;
    return 0;
}

static void a_block_that_was_to_begin_behind_it_has_failed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) Q(INSERT INTO t VALUES (2))");
    cancel(st, CORE_CANCEL_SERVER);
    st->log_size = 0;
    story_server(st, 0, "1 2 E(57014)");
    story_expect(st, "client: E(57014) Z(E) E(25P02) Z(E)\nclose primary\n");
    assert_false(st->session.dirty_block);
    story_client(st, "Q(ROLLBACK AND CHAIN) Q(INSERT INTO t VALUES (3))");
    story_expect(st, "client: C(ROLLBACK) Z(T)\n"
                     "primary: P(|set work_mem = '1MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "P(|BEGIN) B() E Q(INSERT INTO t VALUES (3))\n");
}

static void what_was_to_pin_does_not(void **state)
{
    struct story *st = *state;
    st->backends[0]->settings_hash = st->session.settings->hash;
    story_client(st, "Q(BEGIN) Q(LISTEN a)");
    assert_int_equal(st->session.pin, ROUTER_REASON_LISTEN);
    story_server(st, 0, "1 2 E(57014)");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
    st->log_size = 0;
}

static void what_was_said_of_a_block_is_kept_no_longer_than_need_be(void **state)
{
    struct story *st = *state;
    st->backends[0]->settings_hash = st->session.settings->hash;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    assert_int_equal(st->worker.blocks_out, 0);
}

static void a_batch_of_such_a_block_is_skipped_to_its_sync(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) P(a|INSERT INTO t VALUES ($1)) D(Sa) H");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
    st->log_size = 0;
    story_server(st, 0, "1 2 E(57014)");
    story_expect(st, "client: E(57014)\nclose primary\n");
    story_client(st, "B(a) E() S");
    story_expect(st, "client: Z(E)\n");
    story_client(st, "Q(ROLLBACK) P(a|SELECT 1) S"); /* else it would be a duplicate */
    assert_null(strstr(st->log, "42P05"));
    st->log_size = 0;
}

static void a_long_one_is_dropped_to_its_end(void **state)
{
    static uint8_t text[6000];
    struct story *st = *state;
    memset(text, ' ', sizeof(text));
    text[0] = 'Q';
    proto_store_u32(text + 1, sizeof(text) - 1);
    memcpy(text + 5, "INSERT INTO t VALUES (1)", 24);
    text[sizeof(text) - 1] = '\0';
    story_client(st, "Q(BEGIN)");
    story_client_bytes(st, text, 4000);
    st->log_size = 0;
    story_server(st, 0, "C(RESET) Z(I)"); /* what is long has its settings sent first */
    assert_true(st->session.streaming || st->session.stream_left > 0);
    st->log_size = 0;
    story_server(st, 0, "E(57014)"); /* it hits the BEGIN */
    story_expect(st, "client: E(57014) Z(E)\nclose primary\n");
    story_client_bytes(st, text + 4000, 2000);
    st->log_size = 0;
    story_client(st, "Q(ROLLBACK)");
    story_expect(st, "client: C(ROLLBACK) Z(I)\n");
}

/* transaction_reads = until_write: what it has said on a replica is said again on the primary. */
static void what_a_block_has_said_is_there_after_a_cancel(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(x) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(SAVEPOINT a)");
    story_server(st, 1, "C(SAVEPOINT) Z(T)");
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 0, "1 2 C(BEGIN) 1 E(57014)"); /* it hits the SAVEPOINT */
    story_expect(st, "client: E(57014) Z(E)\nclose primary\n");
    story_client(st, "Q(ROLLBACK TO a)");
    story_expect(st, "primary: P(|BEGIN) B() E P(|SAVEPOINT a) B() E Q(ROLLBACK TO a)\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(SAVEPOINT) C(ROLLBACK) Z(T)");
    story_expect(st, "client: C(ROLLBACK) Z(T)\n");
}

/* ---- a setting that is mended behind a RESET ---- */

/* As if its start-up packet had set work_mem; the primary has it. */
static int begin_with_a_start(void **state)
{
    static const struct core_setting own = {"work_mem", "set work_mem = '2MB'", 0};
    (void)story_open(state);
    struct story *st = *state;
    struct core_profile *plain = st->session.profile;
    struct core_settings *start = core_settings_with(&st->worker, st->session.settings, &own, true);
    st->session.profile = core_profile_get(&st->worker, &st->group, start);
    core_profile_release(&st->worker, plain);
    core_settings_release(&st->worker, st->session.settings);
    st->session.settings = start;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) C(INSERT 0 1) Z(I)");
    st->log_size = 0;
    return 0;
}

static void it_waits_for_the_end_of_a_cancel(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(RESET work_mem)");
    cancel(st, CORE_CANCEL_SERVER);
    st->backends[0]->cancels = 1;
    st->log_size = 0;
    story_server(st, 0, "C(RESET) Z(I)");
    story_expect(st, "client: C(RESET)\n");
    story_client(st, "Q(SHOW switchgear.last_route) Q(INSERT INTO t VALUES (2))");
    story_expect(st, "");
    cancel_ends(st, 0, false);
    story_expect(st, "primary: Q(set work_mem = '2MB';)\n");
    story_server(st, 0, "C(SET) Z(I)");
    assert_non_null(strstr(st->log, "client: Z(I)\n"));
    assert_non_null(strstr(st->log, "primary: Q(INSERT INTO t VALUES (2))\n"));
    st->log_size = 0;
}

static void or_is_left_to_the_next_server(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(RESET work_mem)");
    st->backends[0]->cancels = 1;
    st->log_size = 0;
    story_server(st, 0, "C(RESET) Z(I)");
    st->log_size = 0;
    cancel_ends(st, 0, true); /* it was given up, and may still come */
    story_expect(st, "client: Z(I)\nclose primary\n");
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    story_expect(st, "primary: P(|set work_mem = '2MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(INSERT INTO t VALUES (2))\n");
}

static void what_comes_behind_it_is_cancelled_when_its_turn_comes(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(RESET work_mem) Q(INSERT INTO t VALUES (2))");
    story_server(st, 0, "C(RESET) Z(I)");
    assert_true(st->session.preflight_alone);
    cancel(st, CORE_CANCEL_NOTHING);
    st->log_size = 0;
    story_server(st, 0, "C(SET) Z(I)");
    story_expect(st, "client: Z(I)\nclient: E(57014) Z(I)\nrelease primary\n");
}

static void a_server_that_cancels_it_all_the_same_is_replaced(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(RESET work_mem)");
    story_server(st, 0, "C(RESET) Z(I)");
    st->log_size = 0;
    story_server(st, 0, "E(57014) Z(I)");
    story_expect(st, "client: Z(I)\nclose primary\n");
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    assert_non_null(strstr(st->log, "set work_mem = '2MB'"));
    st->log_size = 0;
}

static void in_a_block_that_has_failed_with_it(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_client(st, "Q(RESET work_mem)");
    story_server(st, 0, "C(RESET) Z(T)");
    st->log_size = 0;
    story_server(st, 0, "E(57014) Z(E)");
    story_expect(st, "client: E(57014) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    story_expect(st, "primary: Q(ROLLBACK)\nclient: C(ROLLBACK) Z(I)\nclose primary\n");
}

#define SET_STORY(name) cmocka_unit_test_setup_teardown(name, begin_with_a_set, story_close)
#define START_STORY(name) cmocka_unit_test_setup_teardown(name, begin_with_a_start, story_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(during_the_question_an_idle_client_has_nothing_to_be_cancelled),
        STORY(what_waits_for_the_answer_fails_behind_it),
        STORY(half_a_batch_does_not_run_yet),
        STORY(what_ends_in_a_flush_fails_up_to_its_sync),
        STORY(a_begin_that_waits_is_answered_and_takes_the_request_along),
        STORY(what_is_too_long_to_be_planned_fails_too),
        STORY(a_second_cancel_is_for_what_waits_for_the_end_of_the_first),
        STORY(in_a_block_its_server_is_made_to_fail_it),
        STORY(the_end_of_a_block_is_not_cancelled),
        STORY(nor_is_its_beginning),
        STORY(a_cancel_that_is_lost_with_its_server_ends_the_repetition),
        STORY(so_does_one_for_a_read_that_its_replica_refuses),
        STORY(one_of_query_timeout_says_so),
        SET_STORY(a_block_that_was_to_begin_behind_it_has_failed),
        SET_STORY(what_was_to_pin_does_not),
        SET_STORY(what_was_said_of_a_block_is_kept_no_longer_than_need_be),
        SET_STORY(a_batch_of_such_a_block_is_skipped_to_its_sync),
        SET_STORY(a_long_one_is_dropped_to_its_end),
        STORY(what_a_block_has_said_is_there_after_a_cancel),
        START_STORY(it_waits_for_the_end_of_a_cancel),
        START_STORY(or_is_left_to_the_next_server),
        START_STORY(what_comes_behind_it_is_cancelled_when_its_turn_comes),
        START_STORY(a_server_that_cancels_it_all_the_same_is_replaced),
        START_STORY(in_a_block_that_has_failed_with_it),
    };
    return cmocka_run_group_tests_name("core cancel of what is ours", tests, NULL, NULL);
}
