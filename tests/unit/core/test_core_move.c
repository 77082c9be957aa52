/* SPDX-License-Identifier: PostgreSQL
 *
 * transaction_reads = until_write: blocks that begin on a replica, what keeps them there, what
 * moves them, and what becomes of them when their replica is lost.
 */
#include "core_block_story.h"

/* ---- the move ---- */

static void the_first_write_moves_the_block(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|INSERT INTO t VALUES (1)) B() E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(INSERT 0 1) Z(T)");
    story_expect(st, "client: 1 2 C(INSERT 0 1) Z(T)\n");
    story_client(st, "P(|SELECT 2) B() E S");
    story_expect(st, "primary: P(|SELECT 2) B() E S\n");
    assert_int_equal(st->worker.counters.blocks_moved, 1);
}

static void a_statement_that_the_replica_knew_is_parsed_on_the_primary(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(r|SELECT 2) B(r) E S");
    story_server(st, 1, "1 2 D(2) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "P(w|INSERT INTO t VALUES (1)) B(w) E B(r) E S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(sg|INSERT INTO t VALUES (1)) B(sg) E "
                     "P(sg|SELECT 2) B(sg) E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(INSERT 0 1) 1 2 D(2) C(SELECT 1) Z(T)");
    story_expect(st, "client: 1 2 C(INSERT 0 1) 2 D(2) C(SELECT 1) Z(T)\n");
}

static void savepoints_in_the_extended_protocol_are_said_again(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(s|SAVEPOINT one) B(s) D(P) E(|1) S");
    story_server(st, 1, "1 2 n C(SAVEPOINT) Z(T)");
    story_client(st, "P(|SET LOCAL work_mem = '8MB') B() E S");
    story_server(st, 1, "1 2 C(SET) Z(T)");
    story_client(st, "P(|SELECT 1/0) B() E S");
    story_server(st, 1, "1 2 E(22012) Z(E)");
    story_client(st, "P(|ROLLBACK TO one) B() E S");
    story_server(st, 1, "1 2 C(ROLLBACK) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|SAVEPOINT one) B() E "
                     "P(|SET LOCAL work_mem = '8MB') B() E P(|ROLLBACK TO one) B() E "
                     "Q(INSERT INTO t VALUES (1))\n");
}

static void rows_that_are_asked_for_open_nothing_where_there_are_none(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(c|COMMIT) B(c) E(|1) S");
    story_expect(st, "replica: P(sg|COMMIT) B(sg) E S\n");
    story_server(st, 1, "1 2 C(COMMIT) Z(I)");
    story_expect(st, "client: 1 2 C(COMMIT) Z(I)\nrelease replica\n");
}

static void a_portal_that_has_a_name_opens_the_block_on_the_primary(void **state)
{
    static const char bind_named[] = "B\0\0\0\x0d"
                                     "C\0\0\0\0\0\0\0\0";
    struct story *st = *state;
    uint8_t bytes[256];
    size_t size = story_encode(true, "P(|BEGIN) B() E P(|SELECT 2)", bytes, sizeof(bytes));
    memcpy(bytes + size, bind_named, sizeof(bind_named) - 1);
    size += sizeof(bind_named) - 1;
    size += story_encode(true, "E(C|1) S", bytes + size, sizeof(bytes) - size);
    story_client_bytes(st, bytes, size);
    story_server(st, 0, "1 2 C(BEGIN) 1 2 D(2) s Z(T)");
    story_expect(st, "client: 1 2 C(BEGIN)\n"
                     "primary: P(|BEGIN) B() E P(|SELECT 2) B() E S\n"
                     "client: 1 2 D(2) s Z(T)\n");
    assert_int_equal(st->session.last_route.reason, ROUTER_REASON_IN_TRANSACTION);
}

/* Who wants one row asks for one, and leaves the portal. */
static void a_portal_that_is_left_half_read_does_not_keep_the_block_from_a_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1) B() E(|1) S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) s Z(T)");
    st->log_size = 0;
    story_client(st, "E(|1) S"); /* this one goes on */
    story_server(st, 1, "C(SELECT 0) Z(T)");
    story_expect(st, "replica: E S\nclient: C(SELECT 0) Z(T)\n");
    story_client(st, "P(|SELECT 2) B() E(|1) S");
    story_server(st, 1, "1 2 D(2) s Z(T)");
    st->log_size = 0;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E C(P) P(|INSERT INTO t VALUES (1)) B() E S\n");
}

static void a_half_read_portal_is_not_lost_for_a_write_that_is_only_prepared(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1) B() E(|1) S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) s Z(T)");
    st->log_size = 0;
    story_client(st, "P(w|INSERT INTO t VALUES (1)) D(Sw) H");
    story_server(st, 1, "1 t n");
    story_client(st, "E(|1) S");
    story_server(st, 1, "D(1) s Z(T)");
    story_expect(st, "replica: P(sg|INSERT INTO t VALUES (1)) D(Ssg) H\n"
                     "client: 1 t n\n"
                     "replica: E S\n"
                     "client: D(1) s Z(T)\n");
    story_client(st, "B(w) E S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E C(P) P(sg|INSERT INTO t VALUES (1)) B(sg) E S\n");
}

static void a_portal_that_goes_on_is_not_said_again_elsewhere(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1) B() E(|1) S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) s Z(T)");
    st->log_size = 0;
    story_client(st, "E(|1) S");
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly) Z(E)");
    story_expect(st, "replica: E S\nclient: E(25006) Z(E)\n");
}

/* psycopg says so after each ROLLBACK TO. */
static void statements_are_forgotten_where_the_block_is(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(r|SELECT 2) B(r) E S");
    story_server(st, 1, "1 2 D(2) C(SELECT 1) Z(T)");
    story_client(st, "P(|DEALLOCATE ALL) B() E S");
    story_server(st, 1, "1 2 C(DEALLOCATE ALL) Z(T)");
    st->log_size = 0;
    story_client(st, "P(r|SELECT 3) B(r) E S");
    story_expect(st, "replica: P(sg|SELECT 3) B(sg) E S\n");
    story_server(st, 1, "1 2 D(3) C(SELECT 1) Z(T)");
    assert_int_equal(st->worker.counters.blocks_moved, 0);
}

static void what_a_replica_refuses_begins_anew_on_the_primary(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|SELECT lower('x')) B() D(P) E S");
    story_server(st, 1, "1 2");
    st->log_size = 0;
    story_server(st, 1, "T(a) E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "client: T\n"
                     "close replica\n"
                     "primary: P(|BEGIN) B() E P(|SELECT lower('x')) B() D(P) E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 T(a) D(x) C(SELECT 1) Z(T)");
    story_expect(st, "client: D(x) C(SELECT 1) Z(T)\n");
}

/* ---- batches that end in Flush ---- */

/* asyncpg and postgres.js look at a statement before they bind it. */
static void a_statement_that_is_looked_at_first_keeps_the_block_on_its_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) P(a|SELECT 1) D(Sa) H");
    story_server(st, 1, "1 2 C(BEGIN) 1 t T(a)");
    story_client(st, "B(a) E S");
    story_server(st, 1, "2 D(1) C(SELECT 1) Z(T)");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "replica: P(|BEGIN) B() E P(sg|SELECT 1) D(Ssg) H\n"
                     "client: 1 t T\n"
                     "replica: B(sg) E S\n"
                     "client: 2 D(1) C(SELECT 1) Z(T)\n");
}

static void a_block_whose_server_waits_for_a_sync_gets_one_before_it_moves(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() D(P) E P(|SELECT 1) B() D(P) E H");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 T(a) D(1) C(SELECT 1)");
    story_expect(st, "client: 1 2 n C(BEGIN)\n"
                     "replica: P(|BEGIN) B() E P(|SELECT 1) B() D(P) E H\n"
                     "client: 1 2 T D(1) C(SELECT 1)\n");
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() D(P) E H");
    story_expect(st, "replica: S\n");
    story_server(st, 1, "Z(T)");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|INSERT INTO t VALUES (1)) B() D(P) E H\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 n C(INSERT 0 1)");
    story_client(st, "S");
    story_server(st, 0, "Z(T)");
    story_expect(st, "client: 1 2 n C(INSERT 0 1)\nprimary: S\nclient: Z(T)\n");
}

static void what_follows_a_flush_waits_so_that_it_can_be_said_again_alone(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|SELECT 2) B() E H P(|SELECT lower('y')) B() E S");
    story_expect(st, "replica: P(|SELECT 2) B() E H\n");
    story_server(st, 1, "1 2 D(2) C(SELECT 1)");
    story_expect(st, "client: 1 2 D(2) C(SELECT 1)\n"
                     "replica: P(|SELECT lower('y')) B() E S\n");
    story_server(st, 1, "1 2 E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "client: 1 2\n"
                     "close replica\n"
                     "primary: P(|BEGIN) B() E P(|SELECT lower('y')) B() E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 D(y) C(SELECT 1) Z(T)");
    story_expect(st, "client: D(y) C(SELECT 1) Z(T)\n");
}

static void an_error_behind_a_flush_stays_where_it_is(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1/0) B() E H");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 E(22012)");
    st->log_size = 0;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E H");
    story_expect(st, "");
    story_client(st, "S");
    story_server(st, 1, "Z(E)");
    story_expect(st, "replica: S\nclient: Z(E)\n");
    story_client(st, "P(|ROLLBACK) B() E S");
    story_server(st, 1, "1 2 C(ROLLBACK) Z(I)");
    story_expect(st, "replica: P(|ROLLBACK) B() E S\n"
                     "client: 1 2 C(ROLLBACK) Z(I)\n"
                     "release replica\n");
}

/* ---- a replica that is lost ---- */

static void a_replica_lost_behind_a_flush_is_not_missed(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(a|SELECT 1) D(Sa) H");
    story_server(st, 1, "1 2 C(BEGIN) 1 t T(a)");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "close replica\n");
    story_client(st, "B(a) E S");
    story_server(st, 1, "1 2 C(BEGIN) 1 t T(a)");
    story_server(st, 1, "2 D(1) C(SELECT 1) Z(T)");
    story_expect(st, "replica: P(|BEGIN) B() E P(sg|SELECT 1) D(Ssg) H\n"
                     "replica: B(sg) E S\n"
                     "client: 2 D(1) C(SELECT 1) Z(T)\n");
}

static void a_failed_block_does_not_outlive_its_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1/0) B() E H");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 E(22012)");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "client: E(FATAL 08006)\nclose replica\nclose client\n");
}

static void a_replica_lost_while_a_sync_of_ours_is_on_its_way_is_not_missed(void **state)
{
    struct story *st = *state;
    for (int how = 0; how < 2; how++) {
        story_client(st, "P(|BEGIN) B() E P(|SELECT 1) B() E H");
        story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1)");
        story_client(st, "P(|INSERT INTO t VALUES (1)) B() E S");
        st->log_size = 0;
        if (how == 1)
            story_server(st, 1, "X(57P01)");
        story_server_dies(st, 1);
        story_expect(st, "close replica\n"
                         "primary: P(|BEGIN) B() E P(|INSERT INTO t VALUES (1)) B() E S\n");
        story_server(st, 0, "1 2 C(BEGIN) 1 2 C(INSERT 0 1) Z(T)");
        story_client(st, "Q(COMMIT)");
        story_server(st, 0, "C(COMMIT) Z(I)");
        story_replicate(st);
    }
}

static void a_savepoint_whose_replica_dies_is_made_elsewhere(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(SAVEPOINT one)");
    story_server(st, 1, "C(SAVEPOINT) Z(T)");
    story_client(st, "P(|SAVEPOINT two) B() E S");
    story_server(st, 1, "1");
    st->log_size = 0;
    st->topology.nodes_count = 3;
    story_replicate(st);
    story_server_dies(st, 1);
    story_expect(st, "close replica\n"
                     "other: P(|BEGIN) B() E P(|SAVEPOINT one) B() E P(|SAVEPOINT two) B() E S\n");
    story_server(st, 2, "1 2 C(BEGIN) 1 2 C(SAVEPOINT) 1 2 C(SAVEPOINT) Z(T)");
    story_expect(st, "client: 2 C(SAVEPOINT) Z(T)\n");
}

/* It has read and no more: there is nothing that could have been lost. */
static void what_follows_an_end_without_its_sync_is_not_said_again_in_the_block(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|ROLLBACK) B() E H");
    story_server(st, 1, "1 2 C(ROLLBACK)");
    story_client(st, "Q(SELECT 1)");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "client: E(FATAL 08006)\nclose replica\nclose client\n");
}

static void a_commit_whose_replica_dies_is_one(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|COMMIT) B() E S");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "client: 1 2 C(COMMIT) Z(I)\nclose replica\n");
    open_by_a_read(st);
    story_client(st, "P(|COMMIT) B() E S");
    story_server(st, 1, "1");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "close replica\nprimary: P(|BEGIN) B() E P(|COMMIT) B() E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(COMMIT) Z(I)");
    story_expect(st, "client: 2 C(COMMIT) Z(I)\nrelease primary\n");
}

static void a_rollback_of_a_failed_block_whose_replica_dies_is_not_made_up(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|SELECT 1/0) B() E S");
    story_server(st, 1, "1 2 E(22012) Z(E)");
    story_client(st, "Q(ROLLBACK)");
    st->log_size = 0;
    story_server_dies(st, 1);
    story_expect(st, "client: E(FATAL 08006)\nclose replica\nclose client\n");
}

/* ---- a replica that does no longer ---- */

static void a_drained_replica_is_left_for_another(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    st->topology.nodes_count = 3;
    st->topology.nodes[1].drained = true;
    story_replicate(st);
    story_client(st, "P(|SELECT 2) B() E S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "other: P(|BEGIN) B() E P(|SELECT 2) B() E S\n");
    story_server(st, 2, "1 2 C(BEGIN) 1 2 D(2) C(SELECT 1) Z(T)");
    assert_int_equal(st->worker.counters.blocks_moved, 0);
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, "release other\n"
                     "other: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E Q(INSERT INTO t VALUES (1))\n");
    assert_int_equal(st->worker.counters.blocks_moved, 1);
}

/* What is sent behind a Sync of ours could not be sent again. */
static void nothing_follows_a_sync_of_ours_before_it_is_answered(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|SELECT 2) B() E H");
    story_server(st, 1, "1 2 D(2) C(SELECT 1)");
    st->topology.nodes[1].drained = true;
    st->log_size = 0;
    story_client(st, "P(|SELECT 3) B() E S");
    story_client(st, "Q(SELECT 4)");
    story_expect(st, "replica: S\n");
    st->topology.nodes[1].drained = false;
    story_server(st, 1, "Z(T)");
    story_expect(st, "replica: P(|SELECT 3) B() E S Q(SELECT 4)\n");
}

static void another_sessions_write_moves_the_next_read_at_level_global(void **state)
{
    struct story *st = *state;
    uint64_t global_write_ns = 0;
    st->database.level = st->session.level = ROUTER_LEVEL_GLOBAL;
    st->database.global_write_ns = &global_write_ns;
    open_by_a_read(st);
    global_write_ns = st->now_ns;
    story_client(st, "P(|SELECT 2) B() E S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|SELECT 2) B() E S\n");
}

static void a_level_that_the_block_asks_for_counts_from_then_on(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(SET LOCAL switchgear.consistency = 'primary') Q(SELECT 2)");
    story_expect(st, "client: C(SET) Z(T)\n"
                     "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E Q(SELECT 2)\n");
}

static void a_failed_block_is_not_moved_for_its_replica(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|SELECT 1/0) B() E S");
    story_server(st, 1, "1 2 E(22012) Z(E)");
    st->topology.nodes[1].drained = true;
    st->log_size = 0;
    story_client(st, "Q(SELECT 2) Q(LISTEN a)"); /* the server says what it thinks of both */
    story_server(st, 1, "E(25P02) Z(E)");
    story_server(st, 1, "E(25P02) Z(E)");
    story_expect(st, "replica: Q(SELECT 2)\n"
                     "client: E(25P02) Z(E)\n"
                     "replica: Q(LISTEN a)\n"
                     "client: E(25P02) Z(E)\n");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
}

/* ---- what is remembered ---- */

/* More statements in flight than are learned from: this one goes on looking like a read. */
static void what_a_replica_has_refused_counts_as_a_write(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) P(b|SELECT 2) P(c|SELECT 3) P(d|SELECT 4) S "
                     "P(|SELECT lower('x')) B() E S");
    story_server(st, 1, "1 1 1 1 Z(I) 1 2 E(25006|PreventCommandIfReadOnly)");
    st->log_size = 0;
    story_server(st, 0, "1 2 D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: D(x) C(SELECT 1) Z(I)\nrelease primary\n");
    assert_true(st->session.last_write_ns == st->now_ns);
}

static void an_explained_route_knows_that_a_write_would_move(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(EXPLAIN (ROUTE) INSERT INTO t VALUES (1))");
    st->log[st->log_size] = '\0';
    assert_non_null(strstr(st->log, "D(primary,primary,write,"));
    st->log_size = 0;
    story_client(st, "Q(EXPLAIN (ROUTE) SELECT 2)");
    st->log[st->log_size] = '\0';
    assert_non_null(strstr(st->log, "D(replica,replica,read,"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_first_write_moves_the_block),
        STORY(a_statement_that_the_replica_knew_is_parsed_on_the_primary),
        STORY(savepoints_in_the_extended_protocol_are_said_again),
        STORY(rows_that_are_asked_for_open_nothing_where_there_are_none),
        STORY(a_portal_that_has_a_name_opens_the_block_on_the_primary),
        STORY(a_portal_that_is_left_half_read_does_not_keep_the_block_from_a_replica),
        STORY(a_half_read_portal_is_not_lost_for_a_write_that_is_only_prepared),
        STORY(a_portal_that_goes_on_is_not_said_again_elsewhere),
        STORY(statements_are_forgotten_where_the_block_is),
        STORY(what_a_replica_refuses_begins_anew_on_the_primary),
        STORY(a_statement_that_is_looked_at_first_keeps_the_block_on_its_replica),
        STORY(a_block_whose_server_waits_for_a_sync_gets_one_before_it_moves),
        STORY(what_follows_a_flush_waits_so_that_it_can_be_said_again_alone),
        STORY(an_error_behind_a_flush_stays_where_it_is),
        STORY(a_replica_lost_behind_a_flush_is_not_missed),
        STORY(a_failed_block_does_not_outlive_its_replica),
        STORY(a_replica_lost_while_a_sync_of_ours_is_on_its_way_is_not_missed),
        STORY(a_savepoint_whose_replica_dies_is_made_elsewhere),
        STORY(what_follows_an_end_without_its_sync_is_not_said_again_in_the_block),
        STORY(a_commit_whose_replica_dies_is_one),
        STORY(a_rollback_of_a_failed_block_whose_replica_dies_is_not_made_up),
        STORY(a_drained_replica_is_left_for_another),
        STORY(nothing_follows_a_sync_of_ours_before_it_is_answered),
        STORY(another_sessions_write_moves_the_next_read_at_level_global),
        STORY(a_level_that_the_block_asks_for_counts_from_then_on),
        STORY(a_failed_block_is_not_moved_for_its_replica),
        STORY(what_a_replica_has_refused_counts_as_a_write),
        STORY(an_explained_route_knows_that_a_write_would_move),
    };
    return cmocka_run_group_tests_name("core_move", tests, NULL, NULL);
}
