/* SPDX-License-Identifier: PostgreSQL
 *
 * BEGIN in the extended protocol, as drivers send it: alone, or in one batch with the first
 * statement of its block.
 */
#include <stdio.h>

#include "core_block_story.h"

/* ---- BEGIN in the extended protocol ---- */

static void a_begin_alone_is_answered_as_a_server_would(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() D(P) E S");
    story_expect(st, "client: 1 2 n C(BEGIN) Z(T)\n");
    story_client(st, "P(|ROLLBACK) B() E S P(a|START TRANSACTION) D(Sa) B(a) E(|1) S");
    story_expect(st, "client: 1 2 C(ROLLBACK) Z(I) 1 t n 2 C(START TRANSACTION) Z(T)\n");
    story_client(st, "P(|SELECT 1) B() D(P) E S");
    story_expect(st, "replica: P(|START TRANSACTION) B() E P(|SELECT 1) B() D(P) E S\n");
    story_server(st, 1, "1 2 C(START TRANSACTION) 1 2 T(a) D(1) C(SELECT 1) Z(T)");
    story_expect(st, "client: 1 2 T D(1) C(SELECT 1) Z(T)\n");
    commit_on_replica(st);
}

static void a_begin_in_one_batch_with_a_read_opens_the_block_on_a_replica(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    commit_on_replica(st);
    assert_int_equal(st->worker.counters.blocks_moved, 0);
}

static void a_begin_in_one_batch_with_a_write_opens_it_on_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|INSERT INTO t VALUES (1)) B() E S");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(INSERT 0 1) Z(T)");
    story_expect(st, "client: 1 2 C(BEGIN)\n"
                     "primary: P(|BEGIN) B() E P(|INSERT INTO t VALUES (1)) B() E S\n"
                     "client: 1 2 C(INSERT 0 1) Z(T)\n");
    assert_int_equal(st->worker.counters.blocks_moved, 0);
}

static void a_begin_that_has_a_name_is_known_from_then_on(void **state)
{
    struct story *st = *state;
    for (int i = 0; i < 2; i++) {
        story_client(st, i == 0 ? "P(S_3|BEGIN) B(S_3) E P(S_4|SELECT 1) B(S_4) E S"
                                : "B(S_3) E B(S_4) E S");
        story_server(st, 1,
                     i == 0 ? "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) Z(T)"
                            : "1 2 C(BEGIN) 2 D(1) C(SELECT 1) Z(T)");
        story_expect(st, i == 0 ? "client: 1 2 C(BEGIN)\n"
                                  "replica: P(|BEGIN) B() E P(sg|SELECT 1) B(sg) E S\n"
                                  "client: 1 2 D(1) C(SELECT 1) Z(T)\n"
                                : "client: 2 C(BEGIN)\n"
                                  "replica: P(|BEGIN) B() E B(sg) E S\n"
                                  "client: 2 D(1) C(SELECT 1) Z(T)\n");
        commit_on_replica(st);
    }
}

static void only_what_cannot_fail_is_answered_here(void **state)
{
    static const char bind_one[] = "B\0\0\0\x11\0\0\0\0\0\1\0\0\0\1x\0\0";
    struct story *st = *state;
    uint8_t bytes[256];
    size_t size = story_encode(true, "P(|BEGIN)", bytes, sizeof(bytes));
    memcpy(bytes + size, bind_one, sizeof(bind_one) - 1);
    size += sizeof(bind_one) - 1;
    size += story_encode(true, "E S", bytes + size, sizeof(bytes) - size);
    story_client_bytes(st, bytes, size);
    story_server(st, 0, "1 E(08P01) Z(I)");
    story_expect(st, "primary: P(|BEGIN) B() E S\n"
                     "client: 1 E(08P01) Z(I)\n"
                     "release primary\n");
    story_client(st, "P(|BEGIN) B(other) E S");
    story_server(st, 0, "1 E(26000) Z(I)");
    story_expect(st, "primary: P(|BEGIN) B(other) E S\n"
                     "client: 1 E(26000) Z(I)\n"
                     "release primary\n");
    story_client(st, "P(|SELECT 1) B() E P(|BEGIN) B() E S");
    story_server(st, 0, "1 2 D(1) C(SELECT 1) 1 2 C(BEGIN) Z(T)");
    story_expect(st, "primary: P(|SELECT 1) B() E P(|BEGIN) B() E S\n"
                     "client: 1 2 D(1) C(SELECT 1) 1 2 C(BEGIN) Z(T)\n");
}

static void a_declared_block_in_one_batch_with_its_read_is_read_only_there(void **state)
{
    struct story *st = *state;
    st->database.until_write = false;
    story_client(st, "P(|BEGIN READ ONLY) B() E P(|SELECT 1) B() E S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) Z(T)");
    story_expect(st, "client: 1 2 C(BEGIN)\n"
                     "replica: P(|BEGIN READ ONLY) B() E P(|SELECT 1) B() E S\n"
                     "client: 1 2 D(1) C(SELECT 1) Z(T)\n");
}

static void a_read_and_the_end_of_its_block_in_one_batch_are_read_on_a_replica(void **state)
{
    struct story *st = *state;
    static const char *const ends[] = {"P(|COMMIT) B() E S", "P(|ROLLBACK) B() E S"};
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "P(|BEGIN) B() E P(|SELECT 1) B() D(P) E %s", ends[i]);
        story_client(st, text);
        story_server(st, 1, "1 2 C(BEGIN) 1 2 T(a) D(1) C(SELECT 1) 1 2 C(COMMIT) Z(I)");
        assert_non_null(strstr(st->log, "replica: P(|BEGIN) B() E P(|SELECT 1) B() D(P) E"));
        assert_non_null(
            strstr(st->log, "T D(1) C(SELECT 1) 1 2 C(COMMIT) Z(I)\nrelease replica\n"));
        assert_true(st->session.block == CORE_NO_BLOCK && st->session.last_write_ns == 0);
        st->log_size = 0;
    }
    story_client(st, "P(|BEGIN READ ONLY) B() E P(|SELECT 1) B() E P(|COMMIT) B() E S");
    assert_non_null(strstr(st->log, "replica: P(|BEGIN READ ONLY) B() E P(|SELECT 1)"));
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) 1 2 C(COMMIT) Z(I)");
    st->log_size = 0;
    story_read_on_replica(st);
}

/* Its text says read, and it writes: the whole block is run on the primary, once. */
static void such_a_block_is_run_on_the_primary_when_its_replica_refuses_it(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1) B() E P(|COMMIT) B() E S");
    st->log_size = 0;
    story_server(st, 1, "1 2 C(BEGIN) 1 2 E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "client: 1 2\nclose replica\nprimary: P(|BEGIN) B() E P(|SELECT 1) B() E "
                     "P(|COMMIT) B() E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) 1 2 C(COMMIT) Z(I)");
    story_expect(st, "client: D(1) C(SELECT 1) 1 2 C(COMMIT) Z(I)\nrelease primary\n");
    assert_true(st->session.last_write_ns == st->now_ns);
}

static void what_is_not_just_reads_and_an_end_goes_to_the_primary(void **state)
{
    struct story *st = *state;
    static const char *const texts[] = {
        "P(|BEGIN) B() E P(|SELECT 1) B() E P(|COMMIT) B() E P(|SELECT 2) B() E S",
        "P(|BEGIN) B() E P(|INSERT INTO t VALUES (1)) B() E P(|COMMIT) B() E S",
        "P(|BEGIN) B() E P(|SELECT 1) B() E P(|COMMIT) B() E P(|INSERT INTO t VALUES (1)) B() E S",
        "P(|BEGIN) B() E P(|SELECT 1) B() P(|COMMIT) B() E S",
        "P(|BEGIN ISOLATION LEVEL SERIALIZABLE) B() E P(|SELECT 1) B() E P(|COMMIT) B() E S",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        story_client(st, texts[i]);
        assert_non_null(strstr(st->log, "primary: "));
        assert_null(strstr(st->log, "replica: "));
        story_end(st);
        (void)block_open(state);
    }
}

static void a_function_call_takes_its_read_only_block_to_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) F()");
    assert_non_null(strstr(st->log, "primary: P(|BEGIN READ ONLY) B() E"));
}

/* An unlogged table: the primary has it, in a READ ONLY block too. */
static void a_read_only_block_is_taken_elsewhere_by_what_its_replica_refuses_first(void **state)
{
    struct story *st = *state;
    st->database.until_write = false;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    st->log_size = 0;
    story_server(st, 1, "1 2 C(BEGIN) E(0A000|get_relation_info) Z(E)");
    story_expect(st, "close replica\nprimary: P(|BEGIN READ ONLY) B() E Q(SELECT 1)\n");
    story_server(st, 0, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    st->log_size = 0;
    st->session.last_write_ns = 0;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)"); /* learned: it goes there at once */
    assert_non_null(strstr(st->log, "primary: P(|BEGIN READ ONLY)"));
}

static void a_snapshot_that_has_answered_stays_where_it_is(void **state)
{
    struct story *st = *state;
    st->database.until_write = false;
    story_client(st, "Q(BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY) Q(SELECT 1) "
                     "Q(SELECT a FROM u)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_server(st, 1, "E(0A000|get_relation_info) Z(E)");
    story_expect(st, "client: E(0A000) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 1, "C(ROLLBACK) Z(I)");
    st->log_size = 0;
    story_read_on_replica(st);
}

static void a_read_only_block_begins_elsewhere_when_its_replica_dies_first(void **state)
{
    struct story *st = *state;
    st->database.until_write = false;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "close replica\nprimary: P(|BEGIN READ ONLY) B() E Q(SELECT 1)\n");
}

/* A standby would take the lock, and it would keep nobody out. */
static void a_lock_in_a_read_only_block_is_the_primarys_or_fails(void **state)
{
    struct story *st = *state;
    st->database.until_write = false;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT pg_advisory_xact_lock(1))");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "primary: P(|BEGIN READ ONLY) B() E Q(SELECT pg_advisory_xact_lock(1))\n");
    story_server(st, 0, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    st->log_size = 0;
    story_replicate(st);
    story_client(st, "Q(BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(SELECT pg_advisory_xact_lock(1))");
    assert_null(strstr(st->log, "advisory"));
    story_server(st, 1, "E(26000) Z(E)");
    assert_non_null(strstr(st->log, "E(0A000) Z(E)"));
    st->log_size = 0;
    story_client(st, "P(|SELECT pg_advisory_xact_lock(1)) B() E S"); /* it has failed: no harm */
    assert_non_null(strstr(st->log, "advisory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_begin_alone_is_answered_as_a_server_would),
        STORY(a_begin_in_one_batch_with_a_read_opens_the_block_on_a_replica),
        STORY(a_begin_in_one_batch_with_a_write_opens_it_on_the_primary),
        STORY(a_begin_that_has_a_name_is_known_from_then_on),
        STORY(only_what_cannot_fail_is_answered_here),
        STORY(a_declared_block_in_one_batch_with_its_read_is_read_only_there),
        STORY(a_read_and_the_end_of_its_block_in_one_batch_are_read_on_a_replica),
        STORY(such_a_block_is_run_on_the_primary_when_its_replica_refuses_it),
        STORY(what_is_not_just_reads_and_an_end_goes_to_the_primary),
        STORY(a_function_call_takes_its_read_only_block_to_the_primary),
        STORY(a_read_only_block_is_taken_elsewhere_by_what_its_replica_refuses_first),
        STORY(a_snapshot_that_has_answered_stays_where_it_is),
        STORY(a_read_only_block_begins_elsewhere_when_its_replica_dies_first),
        STORY(a_lock_in_a_read_only_block_is_the_primarys_or_fails),
    };
    return cmocka_run_group_tests_name("core_block", tests, NULL, NULL);
}
