/* SPDX-License-Identifier: PostgreSQL
 *
 * What becomes of the server connection that a client leaves behind.
 */
#include "core_story.h"

static void a_block_that_was_left_is_rolled_back_and_its_server_kept(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "primary: Q(ROLLBACK)\n");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    assert_true(core_backend_idle(st->backends[0]));
}

static void a_statement_that_runs_is_cancelled_and_its_server_kept(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(UPDATE t SET v = 1)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary, cancel\n");
    assert_false(core_backend_idle(st->backends[0]));
    story_server(st, 0, "E(57014) Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
    story_server(st, 0, STORY_RESET_DONE);
    assert_true(core_backend_idle(st->backends[0]));
}

static void rows_for_nobody_are_dropped(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) D(2)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain replica, cancel\n");
    story_server(st, 1, "D(3) N D(4) C(SELECT 4) Z(I)");
    story_expect(st, "replica: " STORY_RESET "\n");
}

static void half_a_row_for_nobody_is_dropped(void **state)
{
    struct story *st = *state;
    uint8_t row[64];
    story_client(st, "Q(SELECT 1)");
    const size_t size = story_encode(false, "D(123456789)", row, sizeof(row));
    story_server_bytes(st, 1, row, size - 3);
    st->log_size = 0;
    story_leave(st);
    story_server_bytes(st, 1, row + size - 3, 3);
    story_server(st, 1, "C(SELECT 1) Z(I)");
    story_expect(st, "drain replica, cancel\nreplica: " STORY_RESET "\n");
}

static void a_block_with_a_running_statement_is_cancelled_and_rolled_back(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_client(st, "Q(UPDATE t SET v = 1)");
    st->log_size = 0;
    story_leave(st);
    story_server(st, 0, "E(57014) Z(E)");
    story_expect(st, "drain primary, cancel\nprimary: Q(ROLLBACK) " STORY_RESET "\n");
}

/* Its Sync will never come: one of ours ends the batch, behind an error, so that it rolls back. */
static void a_batch_without_its_sync_is_not_committed(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 C(INSERT 0 1)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary\nprimary: P(|switchgear provokes an error) S\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

/* The server skips to the Sync already: an error of ours would be skipped too, and its place in the
 * queue of replies be taken by the ReadyForQuery. */
static void behind_an_error_only_the_sync_is_sent(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 E(22012)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary\nprimary: S\n");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
    assert_false(st->backends[0]->broken);
}

static void behind_an_error_in_a_block_only_the_sync_is_sent(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 E(22012)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary\nprimary: S\n");
    story_server(st, 0, "Z(E)");
    story_expect(st, "primary: Q(ROLLBACK) " STORY_RESET "\n");
    assert_false(st->backends[0]->broken);
}

/* The Sync that ended the failed batch has been answered: the next one is to be undone again. */
static void behind_the_next_sync_a_batch_is_undone_again(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() S");
    story_server(st, 0, "1 2 E(22012) Z(I)");
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 C(INSERT 0 1)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary\nprimary: P(|switchgear provokes an error) S\n");
}

/* ... and so it is while that Sync is still on its way. */
static void behind_a_sync_that_is_on_its_way_a_batch_is_undone_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 E(22012)");
    story_client(st, "S P(|INSERT INTO t VALUES (2)) B() E() H");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary, cancel\nprimary: P(|switchgear provokes an error) S\n");
}

/* The Sync that came along with it the server has ignored. */
static void a_copy_without_another_sync_is_not_committed(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|COPY t FROM STDIN) B() E() S");
    story_server(st, 0, "1 2 G");
    story_client(st, "d(1) c");
    story_server(st, 0, "C(COPY 1)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary\nprimary: P(|switchgear provokes an error) S\n");
}

static void a_batch_that_only_parses_is_synced(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) D(S) H");
    story_server(st, 0, "1 t n");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary\nprimary: S\n");
}

static void a_batch_without_its_sync_is_ended(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary, cancel\nprimary: P(|switchgear provokes an error) S\n");
    story_server(st, 0, "1 2 E(57014)");
    assert_false(core_backend_drained(st->backends[0]));
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

static void a_pipeline_is_waited_for_to_its_last_ready(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|INSERT INTO t VALUES (1)) B(a) E() S");
    story_client(st, "Q(INSERT INTO t VALUES (2)) Q(UPDATE t SET v = 1)");
    st->log_size = 0;
    story_leave(st);
    story_server(st, 0, "1 2 E(57014) Z(I)");
    story_server(st, 0, "C(INSERT 0 1) Z(I) C(UPDATE 1)");
    story_expect(st, "drain primary, cancel\n");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

static void a_copy_in_that_was_left_ends_its_server(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY t FROM STDIN)");
    story_server(st, 0, "G");
    story_client(st, "d(1)");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "close primary\n");
}

static void a_copy_in_that_begins_too_late_ends_its_server(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY t FROM STDIN)");
    st->log_size = 0;
    story_leave(st);
    story_server(st, 0, "G");
    assert_true(st->backends[0]->broken);
    story_expect(st, "drain primary, cancel\n");
}

static void half_a_message_that_was_left_ends_its_server(void **state)
{
    struct story *st = *state;
    static uint8_t text[2 * 1024 * 1024];
    st->worker.limits.statement_max = 1024;
    memset(text, ' ', sizeof(text));
    text[0] = 'Q';
    proto_store_u32(text + 1, 1024 * 1024);
    memcpy(text + 5, "SELECT 1", 8);
    story_client_bytes(st, text, 4096);
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "close primary\n");
}

static void a_fatal_for_nobody_ends_its_server(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(UPDATE t SET v = 1)");
    story_leave(st);
    story_server(st, 0, "X(57P01)");
    assert_true(st->backends[0]->broken);
    st->log_size = 0;
}

static void a_goodbye_behind_a_write_lets_it_end(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1)) X");
    story_leave(st);
    story_expect(st, "primary: Q(INSERT INTO t VALUES (1))\ndrain primary\n");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

/* Its COMMIT may be on its way; without one the block is rolled back when the write has ended. */
/* The connection is not to be used again: a library is in it, or a plan that is stale. */
static void a_goodbye_lets_a_write_end_on_a_connection_that_is_closed_then(void **state)
{
    struct story *st = *state;
    for (int i = 0; i < 2; i++) {
        story_client(st, "Q(LOAD 'x')");
        story_server(st, 0, "C(LOAD) Z(I)");
        st->session.backend->broken = i == 1;
        st->log_size = 0;
        story_client(st, "Q(INSERT INTO t VALUES (1)) X");
        story_leave(st);
        story_expect(st, "primary: Q(INSERT INTO t VALUES (1))\ndrain primary\n");
        assert_false(st->backends[0]->broken);
        story_server(st, 0, "C(INSERT 0 1) Z(I)");
        assert_true(st->backends[0]->broken);
        story_end(st);
        story_begin(st);
    }
}

static void a_goodbye_in_a_block_lets_its_write_end(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (2)) X");
    story_leave(st);
    story_expect(st, "primary: Q(INSERT INTO t VALUES (2))\ndrain primary\n");
    story_server(st, 0, "C(INSERT 0 1) Z(T)");
    story_expect(st, "primary: Q(ROLLBACK) " STORY_RESET "\n");
}

/* The server skips the Query with the rest, up to the Sync; what follows that is run. */
static void a_skipped_query_does_not_take_what_is_behind_its_sync_along(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1/f()) B() E() Q(SELECT 2) S Q(INSERT INTO t VALUES (1)) X");
    story_leave(st);
    st->log_size = 0;
    story_server(st, 0, "1 2 E(22012) Z(I)");
    assert_false(st->backends[0]->broken);
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

static void a_goodbye_behind_a_read_cancels_it(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) X");
    assert_false(core_client_lingers(&st->session));
    story_leave(st);
    story_expect(st, "replica: Q(SELECT 1)\ndrain replica, cancel\n");
}

static void a_write_that_waits_outlives_a_client_that_said_goodbye(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(INSERT INTO t VALUES (1)) X");
    assert_true(core_client_lingers(&st->session));
    story_grant(st);
    story_expect(st, "primary: Q(INSERT INTO t VALUES (1))\n");
    assert_false(core_client_lingers(&st->session));
    story_leave(st);
    story_expect(st, "drain primary\n");
}

static void a_whole_block_that_waits_outlives_its_client(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) P(|COMMIT) B() E() S X");
    assert_true(core_client_lingers(&st->session));
    st->log_size = 0;
    story_grant(st);
    story_expect(st, "primary: P(|BEGIN) B() E Q(INSERT INTO t VALUES (1)) P(|COMMIT) B() E S\n");
    assert_false(core_client_lingers(&st->session));
    story_leave(st);
    story_expect(st, "drain primary\n");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T) 1 2 C(COMMIT) Z(I)");
    story_expect(st, "primary: " STORY_RESET "\n");
}

static void nobody_lingers_without_a_goodbye_or_for_a_read(void **state)
{
    struct story *st = *state;
    uint8_t bytes[64];
    assert_false(core_client_lingers(&st->session));
    st->nobody_grants = true;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    assert_false(core_client_lingers(&st->session));
    (void)story_encode(true, "X", bytes, sizeof(bytes));
    story_client_bytes(st, bytes, 3); /* half of one is none */
    assert_false(core_client_lingers(&st->session));
}

static void a_read_that_waits_does_not_outlive_its_client(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(SELECT 1) X");
    assert_false(core_client_lingers(&st->session));
}

static void a_write_behind_a_read_that_waits_does(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(SELECT 1) Q(INSERT INTO t VALUES (1)) X");
    assert_true(core_client_lingers(&st->session));
    story_grant(st);
    st->log_size = 0;
    assert_true(core_client_lingers(&st->session));
    story_server(st, 1, "T(x) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease replica\n");
    assert_true(core_client_lingers(&st->session));
    story_grant(st);
    story_expect(st, "primary: Q(INSERT INTO t VALUES (1))\n");
}

static void who_says_goodbye_and_stays_gets_its_answers(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) X");
    story_expect(st, "replica: Q(SELECT 1)\n");
    story_server(st, 1, "T(x) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease replica\nclose client\n");
}

static void a_cancel_under_way_is_waited_for(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(UPDATE t SET v = 1)");
    story_leave(st);
    st->backends[0]->cancels = 1;
    story_server(st, 0, "E(57014) Z(I)");
    assert_false(core_backend_drained(st->backends[0]));
    st->backends[0]->cancels = 0;
    assert_true(core_backend_drained(st->backends[0]));
    st->log_size = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_block_that_was_left_is_rolled_back_and_its_server_kept),
        STORY(a_statement_that_runs_is_cancelled_and_its_server_kept),
        STORY(rows_for_nobody_are_dropped),
        STORY(half_a_row_for_nobody_is_dropped),
        STORY(a_block_with_a_running_statement_is_cancelled_and_rolled_back),
        STORY(a_batch_without_its_sync_is_not_committed),
        STORY(behind_an_error_only_the_sync_is_sent),
        STORY(behind_an_error_in_a_block_only_the_sync_is_sent),
        STORY(behind_the_next_sync_a_batch_is_undone_again),
        STORY(behind_a_sync_that_is_on_its_way_a_batch_is_undone_too),
        STORY(a_copy_without_another_sync_is_not_committed),
        STORY(a_batch_that_only_parses_is_synced),
        STORY(a_batch_without_its_sync_is_ended),
        STORY(a_pipeline_is_waited_for_to_its_last_ready),
        STORY(a_copy_in_that_was_left_ends_its_server),
        STORY(a_copy_in_that_begins_too_late_ends_its_server),
        STORY(half_a_message_that_was_left_ends_its_server),
        STORY(a_fatal_for_nobody_ends_its_server),
        STORY(a_goodbye_behind_a_write_lets_it_end),
        STORY(who_says_goodbye_and_stays_gets_its_answers),
        STORY(a_goodbye_lets_a_write_end_on_a_connection_that_is_closed_then),
        STORY(a_goodbye_in_a_block_lets_its_write_end),
        STORY(a_skipped_query_does_not_take_what_is_behind_its_sync_along),
        STORY(a_goodbye_behind_a_read_cancels_it),
        STORY(a_write_that_waits_outlives_a_client_that_said_goodbye),
        STORY(a_whole_block_that_waits_outlives_its_client),
        STORY(nobody_lingers_without_a_goodbye_or_for_a_read),
        STORY(a_read_that_waits_does_not_outlive_its_client),
        STORY(a_write_behind_a_read_that_waits_does),
        STORY(a_cancel_under_way_is_waited_for),
    };
    return cmocka_run_group_tests_name("core_gone", tests, NULL, NULL);
}
