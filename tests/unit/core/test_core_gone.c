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
    story_expect(st, "primary: Q(DISCARD ALL)\n");
    story_server(st, 0, "C(DISCARD ALL) Z(I)");
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
    story_expect(st, "replica: Q(DISCARD ALL)\n");
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
    story_expect(st, "drain replica, cancel\nreplica: Q(DISCARD ALL)\n");
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
    story_expect(st, "drain primary, cancel\nprimary: Q(ROLLBACK) Q(DISCARD ALL)\n");
}

/* Its Sync will never come: one of ours ends the batch, which then rolls back. */
static void a_batch_without_its_sync_is_ended(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "drain primary, cancel\nprimary: S\n");
    story_server(st, 0, "1 2 E(57014)");
    assert_false(core_backend_drained(st->backends[0]));
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: Q(DISCARD ALL)\n");
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
    story_expect(st, "primary: Q(DISCARD ALL)\n");
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
    story_expect(st, "primary: Q(DISCARD ALL)\n");
}

static void a_goodbye_behind_a_read_or_in_a_block_cancels(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (2)) X");
    story_leave(st);
    story_expect(st, "primary: Q(INSERT INTO t VALUES (2))\ndrain primary, cancel\n");
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
        STORY(a_batch_without_its_sync_is_ended),
        STORY(a_pipeline_is_waited_for_to_its_last_ready),
        STORY(a_copy_in_that_was_left_ends_its_server),
        STORY(a_copy_in_that_begins_too_late_ends_its_server),
        STORY(half_a_message_that_was_left_ends_its_server),
        STORY(a_fatal_for_nobody_ends_its_server),
        STORY(a_goodbye_behind_a_write_lets_it_end),
        STORY(who_says_goodbye_and_stays_gets_its_answers),
        STORY(a_goodbye_behind_a_read_or_in_a_block_cancels),
        STORY(a_cancel_under_way_is_waited_for),
    };
    return cmocka_run_group_tests_name("core_gone", tests, NULL, NULL);
}
