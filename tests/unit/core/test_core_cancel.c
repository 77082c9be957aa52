/* SPDX-License-Identifier: PostgreSQL
 *
 * What a cancel request means, by what its session is doing.
 */
#include "core_settings.h"
#include "core_story.h"

/* A session whose settings no server has yet. */
static int begin_with_a_setting(void **state)
{
    static struct story st;
    static const uint8_t start[] = "\0\0\0\x25\0\3\0\0user\0u\0application_name\0a'b\0";
    story_init(&st);
    story_client_bytes(&st, start, sizeof(start));
    story_server(&st, 0, "C(RESET) S(application_name|a'b) T(x) D(x) C(SELECT 1) Z(I)");
    assert_int_equal(st.session.phase, CORE_QUERY);
    st.log_size = 0;
    *state = &st;
    return 0;
}

static void refuse(struct story *st)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57014", .message = "cancelled"};
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
}

static void an_idle_session_has_nothing_to_be_cancelled(void **state)
{
    struct story *st = *state;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

static void neither_has_a_block_that_no_server_knows_of(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN)");
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_client(st, "Q(COMMIT)");
    story_expect(st, "client: C(COMMIT) Z(I)\n");
}

static void a_statement_is_cancelled_where_it_runs(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
    story_server(st, 1, "E(57014) Z(I)");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
}

static void a_batch_that_was_flushed_and_not_synced_is_cancelled_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
}

static void a_copy_is_cancelled(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY t FROM STDIN)");
    story_server(st, 0, "G");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
}

static void a_session_that_waits_leaves_the_queue(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(SELECT 1)");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_WAIT);
    refuse(st);
    story_expect(st, "client: E(57014) Z(I)\n");
    st->nobody_grants = false;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

static void a_read_that_waits_to_be_repeated_leaves_the_queue(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 3;
    story_client(st, "Q(SELECT 1)");
    const uint32_t node = st->session.backend->node;
    st->log_size = 0;
    st->nobody_grants = true;
    story_server_dies(st, node);
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_WAIT);
    refuse(st);
    story_expect(st, "client: E(57014) Z(I)\n");
}

/* The cancel would hit our own settings, and leave the connection in a state that nobody knows. */
static void what_settings_are_sent_for_fails_instead_of_the_settings(void **state)
{
    struct story *st = *state;
    st->backends[0]->settings_hash = CORE_SETTINGS_UNKNOWN;
    story_client(st, "Q(SET work_mem = '1MB')");
    assert_true(st->session.preflight);
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_expect(st, "");
    story_server(st, 0, "C(RESET) T(x) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: E(57014) Z(I)\nrelease primary\n");
    story_client(st, "Q(SET work_mem = '1MB')"); /* they arrived, and the next statement runs */
    story_expect(st, "primary: Q(SET work_mem = '1MB')\n");
}

/* ---- a block that no server knows of fails ---- */

static void waits_in_a_deferred_block(struct story *st)
{
    st->nobody_grants = true;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_expect(st, "client: C(BEGIN) Z(T)\n");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_WAIT);
    refuse(st);
    story_expect(st, "client: E(57014) Z(E)\n");
}

static void a_cancelled_wait_fails_the_deferred_block_and_keeps_the_session(void **state)
{
    struct story *st = *state;
    waits_in_a_deferred_block(st);
    story_client(st, "Q(INSERT INTO t VALUES (2)) Q(BEGIN) Q() Q(COMMIT PREPARED 'x') F");
    story_expect(st, "client: E(25P02) Z(E) E(25P02) Z(E) I Z(E) E(25P02) Z(E) E(25P02) Z(E)\n");
    story_client(st, "Q(ROLLBACK TO SAVEPOINT a)");
    story_expect(st, "client: E(3B001) Z(E)\n");
    story_client(st, "Q(/* all of it */ COMMIT WORK;)");
    story_expect(st, "client: C(ROLLBACK) Z(I)\n");
    st->nobody_grants = false;
    story_client(st, "Q(INSERT INTO t VALUES (3))");
    story_expect(st, "primary: Q(INSERT INTO t VALUES (3))\n");
}

static void each_end_of_a_block_ends_a_failed_one(void **state)
{
    struct story *st = *state;
    static const char *const ends[] = {"Q(ROLLBACK)", "Q(END TRANSACTION)", "Q(ABORT;)",
                                       "Q(PREPARE TRANSACTION 'x')", "Q(COMMIT AND NO CHAIN)"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        waits_in_a_deferred_block(st);
        story_client(st, ends[i]);
        story_expect(st, "client: C(ROLLBACK) Z(I)\n");
    }
}

static void a_failed_block_that_is_chained_is_a_deferred_one_again(void **state)
{
    struct story *st = *state;
    waits_in_a_deferred_block(st);
    story_client(st, "Q(ROLLBACK AND CHAIN)");
    story_expect(st, "client: C(ROLLBACK) Z(T)\n");
    st->nobody_grants = false;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, "primary: P(|BEGIN) B() E Q(INSERT INTO t VALUES (1))\n");
}

static void what_follows_the_end_in_the_same_text_runs_outside_the_block(void **state)
{
    struct story *st = *state;
    waits_in_a_deferred_block(st);
    st->nobody_grants = false;
    story_client(st, "Q(ROLLBACK; INSERT INTO t VALUES (1))");
    story_expect(st, "primary: Q(ROLLBACK; INSERT INTO t VALUES (1))\n");
    story_server(st, 0, "N C(ROLLBACK) C(INSERT 0 1) Z(I)");
    story_expect(st, "client: N C(ROLLBACK) C(INSERT 0 1) Z(I)\nrelease primary\n");
}

static void a_failed_block_speaks_the_extended_protocol(void **state)
{
    struct story *st = *state;
    waits_in_a_deferred_block(st);
    story_client(st, "P(|SELECT 1) B() E() S");
    story_expect(st, "client: E(25P02) Z(E)\n");
    story_client(st, "P(|SELECT 1) H");
    story_expect(st, "client: E(25P02)\n");
    story_client(st, "B() E()");
    story_client(st, "S");
    story_expect(st, "client: Z(E)\n");
    story_client(st, "B(nowhere) S E() S C(Snowhere) S");
    story_expect(st, "client: E(26000) Z(E) E(34000) Z(E) 3 Z(E)\n");
    story_client(st, "P(r|ROLLBACK) D(Sr) S");
    story_expect(st, "client: 1 t n Z(E)\n");
    story_client(st, "P(r|ROLLBACK) S B(r) D(P) E() P(|INSERT INTO t VALUES (1)) B() E() S");
    st->nobody_grants = false;
    story_grant(st);
    story_expect(st, "client: E(42P05) Z(E) 2 n C(ROLLBACK)\n"
                     "primary: P(|INSERT INTO t VALUES (1)) B() E S\n");
}

static void a_cancelled_wait_with_a_batch_fails_its_block(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(BEGIN) P(|INSERT INTO t VALUES (1)) B() E() H");
    refuse(st);
    story_expect(st, "client: C(BEGIN) Z(T)\nclient: E(57014)\n");
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() S P(|ROLLBACK) B() E() S");
    story_expect(st, "client: Z(E) 1 2 C(ROLLBACK) Z(I)\n");
}

/* A setting of the session is sent ahead of the block, to a server that is given back. */
static void a_block_that_is_cancelled_behind_its_settings_fails_too(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    assert_true(st->session.preflight);
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    st->nobody_drains = true;
    story_server(st, 1, "C(RESET) T(x) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: E(57014) Z(E)\n");
    story_client(st, "Q() Q(SELECT 1)"); /* with a connection that is about to go */
    story_expect(st, "client: I Z(E) E(25P02) Z(E)\n");
    st->nobody_drains = false;
    story_execute(st, core_client_drained(&st->session, st->now_ns));
    story_expect(st, "release replica\n");
    story_client(st, "Q(ROLLBACK)");
    story_expect(st, "client: C(ROLLBACK) Z(I)\n");
}

/* transaction_reads = until_write: what it has said on a replica is said again on the primary. */
static void a_savepoint_of_a_block_that_moves_outlives_a_cancelled_wait(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(x) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(SAVEPOINT a)");
    story_server(st, 1, "C(SAVEPOINT) Z(T)");
    st->log_size = 0;
    st->nobody_grants = true;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    refuse(st);
    story_expect(st, "release replica\nreplica: Q(ROLLBACK)\nclient: E(57014) Z(E)\n");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "client: E(25P02) Z(E)\n");
    st->nobody_grants = false;
    story_client(st, "Q(ROLLBACK TO a)");
    story_expect(st, "primary: P(|BEGIN) B() E P(|SAVEPOINT a) B() E Q(ROLLBACK TO a)\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(SAVEPOINT) C(ROLLBACK) Z(T)");
    story_expect(st, "client: C(ROLLBACK) Z(T)\n");
}

/* ---- what is too long to be kept ---- */

static void say_long(struct story *st, uint8_t type, size_t size)
{
    static uint8_t text[8192];
    memset(text, ' ', sizeof(text));
    text[0] = type;
    proto_store_u32(text + 1, (uint32_t)(size - 1));
    memcpy(text + 5, type == 'Q' ? "SELECT 1" : "\0SELECT 1", 9);
    text[size - 1] = text[size - 2] = text[size - 3] = '\0';
    story_client_bytes(st, text, size - 1000);
    if (st->session.waiting)
        refuse(st);
    story_client_bytes(st, text + size - 1000, 1000);
}

static void a_long_query_that_is_cancelled_is_dropped_to_its_end(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    say_long(st, 'Q', 6000);
    story_expect(st, "client: E(57014) Z(I)\n");
    st->nobody_grants = false;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

static void a_long_batch_that_is_cancelled_is_dropped_to_its_sync(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    say_long(st, 'P', 6000);
    story_expect(st, "client: E(57014)\n");
    story_client(st, "B() E() Q(SELECT 1)");
    story_expect(st, "");
    st->nobody_grants = false;
    story_client(st, "S Q(SELECT 1)");
    story_expect(st, "client: Z(I)\nreplica: Q(SELECT 1)\n");
}

static void what_is_long_fails_in_a_failed_block(void **state)
{
    struct story *st = *state;
    waits_in_a_deferred_block(st);
    say_long(st, 'Q', 6000);
    story_expect(st, "client: E(25P02) Z(E)\n");
    say_long(st, 'P', 6000);
    story_client(st, "B() E() S");
    story_expect(st, "client: E(25P02)\nclient: Z(E)\n");
}

/* ---- what was answered in part already ---- */

static void a_replay_that_was_answered_in_part_leaves_the_queue(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) B(a) D(P) E() S");
    story_server(st, 1, "1 2");
    st->log_size = 0;
    st->nobody_grants = true;
    story_server_dies(st, 1);
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_WAIT);
    st->log_size = 0;
    refuse(st);
    story_expect(st, "client: E(57014) Z(I)\n");
    st->nobody_grants = false;
    story_client(st, "B(a) E() S"); /* what was parsed is there */
    story_expect(st, "replica: P(sg|SELECT 1) B(sg) E S\n");
    story_server(st, 1, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(1) C(SELECT 1) Z(I)\nrelease replica\n");
}

static void what_was_not_answered_of_a_replay_is_not_there(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) B(a) E() P(b|SELECT 2) S");
    story_server(st, 1, "1");
    st->nobody_grants = true;
    story_server_dies(st, 1);
    refuse(st);
    assert_non_null(st->session.names);
    st->log_size = 0;
    st->nobody_grants = false;
    story_client(st, "P(b|SELECT 2) B(b) E() S"); /* else it would be a duplicate */
    story_expect(st, "replica: P(sg|SELECT 2) B(sg) E S\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(an_idle_session_has_nothing_to_be_cancelled),
        STORY(neither_has_a_block_that_no_server_knows_of),
        STORY(a_statement_is_cancelled_where_it_runs),
        STORY(a_batch_that_was_flushed_and_not_synced_is_cancelled_too),
        STORY(a_copy_is_cancelled),
        STORY(a_session_that_waits_leaves_the_queue),
        STORY(a_read_that_waits_to_be_repeated_leaves_the_queue),
        STORY(a_cancelled_wait_fails_the_deferred_block_and_keeps_the_session),
        STORY(each_end_of_a_block_ends_a_failed_one),
        STORY(a_failed_block_that_is_chained_is_a_deferred_one_again),
        STORY(what_follows_the_end_in_the_same_text_runs_outside_the_block),
        STORY(a_failed_block_speaks_the_extended_protocol),
        STORY(a_cancelled_wait_with_a_batch_fails_its_block),
        STORY(a_savepoint_of_a_block_that_moves_outlives_a_cancelled_wait),
        STORY(a_long_query_that_is_cancelled_is_dropped_to_its_end),
        STORY(a_long_batch_that_is_cancelled_is_dropped_to_its_sync),
        STORY(what_is_long_fails_in_a_failed_block),
        STORY(a_replay_that_was_answered_in_part_leaves_the_queue),
        STORY(what_was_not_answered_of_a_replay_is_not_there),
        cmocka_unit_test_setup_teardown(a_block_that_is_cancelled_behind_its_settings_fails_too,
                                        begin_with_a_setting, story_close),
        cmocka_unit_test_setup_teardown(what_settings_are_sent_for_fails_instead_of_the_settings,
                                        begin_with_a_setting, story_close),
    };
    return cmocka_run_group_tests_name("core cancel", tests, NULL, NULL);
}
