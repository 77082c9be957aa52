/* SPDX-License-Identifier: PostgreSQL
 *
 * The status byte of ReadyForQuery is the only truth about blocks, whatever the texts were.
 */
#include "core_story.h"

static void a_lone_read_that_leaves_a_block_open_stays_where_it_is(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(T)");
    assert_int_equal(st->session.block, CORE_OPEN);
    story_client(st, "Q(DELETE FROM t)"); /* in that block: the server will say what it thinks */
    story_server(st, 1, "E(25006) Z(E)");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 1, "C(ROLLBACK) Z(I)");
    story_expect(st, "replica: Q(SELECT 1)\n"
                     "client: T D(1) C(SELECT 1) Z(T)\n"
                     "replica: Q(DELETE FROM t)\n"
                     "client: E(25006) Z(E)\n"
                     "replica: Q(ROLLBACK)\n"
                     "client: C(ROLLBACK) Z(I)\n"
                     "release replica\n");
    story_client(st, "Q(DELETE FROM t)");
    story_expect(st, "primary: Q(DELETE FROM t)\n");
    story_server(st, 0, "C(DELETE 1) Z(I)");
}

static void it_does_not_move_as_no_begin_of_the_clients_is_known(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "P(|SELECT 1) B() E S");
    story_server(st, 1, "1 2 D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(SAVEPOINT a)");
    story_server(st, 1, "C(SAVEPOINT) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(DELETE FROM t)");
    story_expect(st, "replica: Q(DELETE FROM t)\n");
    story_server(st, 1, "E(25006) Z(E)");
}

static void a_read_that_fails_a_block_that_nobody_began(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(E)");
    story_client(st, "Q(SELECT 2)");
    story_server(st, 1, "E(25P02) Z(E)");
    story_client(st, "Q(COMMIT)");
    story_server(st, 1, "C(ROLLBACK) Z(I)");
    st->log_size = 0;
    story_read_on_replica(st);
}

static void a_write_that_leaves_a_block_open_is_not_over(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(DELETE FROM t)");
    story_server(st, 0, "C(DELETE 1) Z(T)");
    story_client(st, "Q(SELECT 1)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    story_expect(st, "primary: Q(DELETE FROM t)\n"
                     "client: C(DELETE 1) Z(T)\n"
                     "primary: Q(SELECT 1)\n"
                     "client: T D(1) C(SELECT 1) Z(T)\n"
                     "primary: Q(COMMIT)\n"
                     "client: C(COMMIT) Z(I)\n"
                     "release primary\n");
    assert_true(st->session.last_write_ns == st->now_ns);
}

static void a_block_that_ends_by_itself_is_over(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(I)");
    assert_int_equal(st->session.block, CORE_NO_BLOCK);
    st->log_size = 0;
    story_client(st, "Q(DELETE FROM t)");
    story_expect(st, "primary: Q(DELETE FROM t)\n");
    story_server(st, 0, "C(DELETE 1) Z(I)");
}

static void whoever_leaves_it_open_has_it_rolled_back(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_leave(st);
    assert_non_null(strstr(st->log, "replica: Q(ROLLBACK)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_lone_read_that_leaves_a_block_open_stays_where_it_is),
        STORY(it_does_not_move_as_no_begin_of_the_clients_is_known),
        STORY(a_read_that_fails_a_block_that_nobody_began),
        STORY(a_write_that_leaves_a_block_open_is_not_over),
        STORY(a_block_that_ends_by_itself_is_over),
        STORY(whoever_leaves_it_open_has_it_rolled_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
