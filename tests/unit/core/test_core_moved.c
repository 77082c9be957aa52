/* SPDX-License-Identifier: PostgreSQL
 *
 * transaction_reads = until_write: what is open on a replica, and cannot go along when its block
 * moves; and what a block may no longer declare.
 */
#include "core_block_story.h"

#define GONE "E(34000|exec_execute_message)"

static void what_is_read_in_pieces_begins_on_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) P(|SELECT 1) B() E(|2) S");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "primary: P(|BEGIN) B() E P(|SELECT 1) B() E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 D(1) D(2) s Z(T)");
    story_client(st, "P(|INSERT INTO t VALUES (1)) B(|x) E(x) S");
    story_server(st, 0, "1 2 C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "E(|2) S");
    story_expect(st, "primary: E S\n");
}

static void a_block_moves_before_it_reads_in_pieces(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "P(|SELECT 2) B() E(|100) S");
    story_expect(st, "release replica\n"
                     "replica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|SELECT 2) B() E S\n");
}

static void one_row_is_no_piece(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) P(|SELECT 1) B() E(|1) S");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "replica: P(|BEGIN) B() E P(|SELECT 1) B() E S\n");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) s Z(T)");
}

/* Neither a portal with a name nor a FunctionCall ends the unnamed one. */
static void who_goes_on_with_what_is_gone_is_told_to_run_it_again(void **state)
{
    static const char *const writes[] = {"P(|INSERT INTO t VALUES (1)) B(|x) E(x) S", "F()",
                                         "P(n|UPDATE t SET a = 1) B(n|x) E(x) S"};
    static const char *const answers[] = {"1 2 C(BEGIN) 3 1 2 C(INSERT 0 1) Z(T)",
                                          "1 2 C(BEGIN) 3 V Z(T)",
                                          "1 2 C(BEGIN) 3 1 2 C(UPDATE 1) Z(T)"};
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        struct story *st = *state;
        one_row_is_no_piece(state);
        story_client(st, writes[i]);
        story_server(st, 1, "C(ROLLBACK) Z(I)");
        story_server(st, 0, answers[i]);
        st->log_size = 0;
        story_client(st, "E(|1) S");
        story_server(st, 0, GONE " Z(E)");
        story_expect(st, "primary: E S\nclient: E(40001) Z(E)\n");
        story_client(st, "Q(ROLLBACK)");
        story_server(st, 0, "C(ROLLBACK) Z(I)");
        st->log_size = 0;
        story_client(st, "E() S"); /* this one was never there */
        story_server(st, 1, GONE " Z(I)");
        story_expect(st, "replica: E S\nclient: E(34000) Z(I)\nrelease replica\n");
        story_end(st);
        (void)block_open(state);
    }
}

/* Nothing that has a name is left where a block moves. */
static void a_portal_that_never_was_is_not_gone(void **state)
{
    struct story *st = *state;
    one_row_is_no_piece(state);
    story_client(st, "P(|INSERT INTO t VALUES (1)) B(|x) E(x) S");
    story_server(st, 1, "C(ROLLBACK) Z(I)");
    story_server(st, 0, "1 2 C(BEGIN) 3 1 2 C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "E(y|1) S");
    story_server(st, 0, GONE " Z(E)");
    story_expect(st, "primary: E S\nclient: E(34000) Z(E)\n");
}

static void who_looks_at_it_again_is_told_too(void **state)
{
    struct story *st = *state;
    one_row_is_no_piece(state);
    story_client(st, "E(|1) P(|INSERT INTO t VALUES (1)) B() E S");
    story_expect(st, "client: 1 2 D(1) s Z(T)\n"
                     "release replica\nreplica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E C(P) E P(|INSERT INTO t VALUES (1)) B() E S\n");
    story_server(st, 0, "1 2 C(BEGIN) 3 " GONE " Z(E)");
    story_expect(st, "client: E(40001) Z(E)\n");
}

static void a_half_read_portal_whose_replica_is_lost_is_gone(void **state)
{
    struct story *st = *state;
    one_row_is_no_piece(state);
    story_server_dies(st, 1);
    story_client(st, "E(|1) S");
    story_server(st, 0, "1 2 C(BEGIN) 3 " GONE " Z(E)");
    story_expect(st, "client: 1 2 D(1) s Z(T)\nclose replica\n"
                     "primary: P(|BEGIN) B() E C(P) E S\nclient: E(40001) Z(E)\n");
}

/* Read to its end it is there all the same: executed again it has no more rows. */
static void a_whole_portal_whose_replica_is_lost_is_gone(void **state)
{
    static const char *const begins[] = {"P(|BEGIN) B() D(P) E S", "Q(BEGIN)"};
    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        struct story *st = *state;
        story_client(st, begins[i]);
        story_client(st, "P(|SELECT 1) B() E S");
        story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) Z(T)");
        story_server_dies(st, 1);
        st->log_size = 0;
        story_client(st, "E() S");
        story_server(st, 0, "1 2 C(BEGIN) 3 " GONE " Z(E)");
        story_expect(st, "primary: P(|BEGIN) B() E C(P) E S\nclient: E(40001) Z(E)\n");
        story_end(st);
        (void)block_open(state);
    }
}

/* Of a block that has failed nothing can be executed, wherever it is. */
static void in_a_failed_block_a_portal_that_is_gone_is_of_no_use_either(void **state)
{
    struct story *st = *state;
    one_row_is_no_piece(state);
    story_client(st, "P(|INSERT INTO t VALUES (1)) B(|x) E(x) S");
    story_server(st, 1, "C(ROLLBACK) Z(I)");
    story_server(st, 0, "1 2 C(BEGIN) 3 1 2 E(23505) Z(E)");
    st->log_size = 0;
    story_client(st, "E(|1) S");
    story_server(st, 0, GONE " Z(E)");
    story_expect(st, "primary: E S\nclient: E(25P02) Z(E)\n");
}

/* What a Query has ended never was there. */
static void a_portal_that_a_query_has_ended_is_not_gone(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E S P(|SELECT 1) B() E S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(SELECT 2)");
    story_server(st, 1, "T(a) D(2) C(SELECT 1) Z(T)");
    story_server_dies(st, 1);
    st->log_size = 0;
    story_client(st, "E() S");
    story_server(st, 0, "1 2 C(BEGIN) 3 " GONE " Z(E)");
    story_expect(st, "primary: P(|BEGIN) B() E C(P) E S\nclient: E(34000) Z(E)\n");
}

/* The BEGIN's own cannot be run twice, wherever it is. */
static void the_portal_of_a_begin_goes_along(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E S P(s|SELECT 1) S");
    story_server(st, 1, "1 2 C(BEGIN) 1 Z(T)");
    story_server_dies(st, 1);
    st->log_size = 0;
    story_client(st, "E() S");
    story_expect(st, "primary: P(|BEGIN) B() E E S\n");
}

/* A function that says STABLE has opened it. */
static void a_cursor_is_read_where_it_is(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(FETCH 1 FROM c)");
    story_server(st, 1, "T(a) D(1) C(FETCH 1) Z(T)");
    story_expect(st, "replica: Q(FETCH 1 FROM c)\nclient: T D(1) C(FETCH 1) Z(T)\n");
    story_client(st, "P(|MOVE 1 FROM c) B() E S");
    story_server(st, 1, "1 2 C(MOVE 1) Z(T)");
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(FETCH 1 FROM c)");
    story_server(st, 0, "E(34000|PerformPortalFetch) Z(E)");
    story_expect(st, "primary: Q(FETCH 1 FROM c)\nclient: E(40001) Z(E)\n");
}

static void a_declared_cursor_begins_on_the_primary(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(DECLARE c CURSOR FOR SELECT 1)");
    story_expect(st, "release replica\nreplica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E Q(DECLARE c CURSOR FOR SELECT 1)\n");
}

/* ---- what is declared too late ---- */

static void a_level_comes_too_late_behind_a_read(void **state)
{
    static const char *const late[] = {
        "Q(SET TRANSACTION ISOLATION LEVEL REPEATABLE READ)",
        "Q(BEGIN ISOLATION LEVEL SERIALIZABLE)",
        "P(|START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY) B() E S",
        "Q(SET LOCAL transaction_isolation = 'serializable')",
        "Q(SET transaction_isolation TO 'repeatable read')",
        "P(|SET TRANSACTION DEFERRABLE) B() E S",
        "Q(SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED)",
    };
    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        struct story *st = *state;
        open_by_a_read(st);
        story_client(st, late[i]);
        st->log_size = 0;
        story_server(st, 1, "E(25001) Z(E)");
        story_expect(st, "client: E(25001) Z(E)\n");
        story_client(st, "Q(INSERT INTO t VALUES (1))");
        story_server(st, 1, "E(25P02) Z(E)");
        story_client(st, "Q(COMMIT)");
        story_server(st, 1, "C(ROLLBACK) Z(I)");
        assert_int_equal(st->worker.counters.blocks_moved, 0);
        story_end(st);
        (void)block_open(state);
    }
}

static void a_level_comes_in_time_before_the_first_read(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(SAVEPOINT a)");
    story_server(st, 1, "1 2 C(BEGIN) C(SAVEPOINT) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(RELEASE a)");
    story_server(st, 1, "C(RELEASE) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(SET TRANSACTION ISOLATION LEVEL REPEATABLE READ)");
    story_expect(st, "release replica\nreplica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E P(|SAVEPOINT a) B() E P(|RELEASE a) B() E "
                     "Q(SET TRANSACTION ISOLATION LEVEL REPEATABLE READ)\n");
}

static void read_write_is_never_too_late(void **state)
{
    struct story *st = *state;
    open_by_a_read(st);
    story_client(st, "Q(SET TRANSACTION READ WRITE)");
    story_expect(st, "release replica\nreplica: Q(ROLLBACK)\n"
                     "primary: P(|BEGIN) B() E Q(SET TRANSACTION READ WRITE)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_is_read_in_pieces_begins_on_the_primary),
        STORY(a_block_moves_before_it_reads_in_pieces),
        STORY(one_row_is_no_piece),
        STORY(who_goes_on_with_what_is_gone_is_told_to_run_it_again),
        STORY(a_portal_that_never_was_is_not_gone),
        STORY(who_looks_at_it_again_is_told_too),
        STORY(a_half_read_portal_whose_replica_is_lost_is_gone),
        STORY(a_whole_portal_whose_replica_is_lost_is_gone),
        STORY(in_a_failed_block_a_portal_that_is_gone_is_of_no_use_either),
        STORY(a_portal_that_a_query_has_ended_is_not_gone),
        STORY(the_portal_of_a_begin_goes_along),
        STORY(a_cursor_is_read_where_it_is),
        STORY(a_declared_cursor_begins_on_the_primary),
        STORY(a_level_comes_too_late_behind_a_read),
        STORY(a_level_comes_in_time_before_the_first_read),
        STORY(read_write_is_never_too_late),
    };
    return cmocka_run_group_tests_name("core_moved", tests, NULL, NULL);
}
