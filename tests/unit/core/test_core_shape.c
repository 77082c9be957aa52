/* SPDX-License-Identifier: PostgreSQL
 *
 * What a client was told of a prepared statement holds wherever it is bound.
 */
#include "core_internal.h"
#include "core_stmt.h"
#include "core_story.h"

/* "a" was described on the replica, to whoever keeps descriptions; then reads go to the primary. */
static struct story *begin(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT v FROM t) D(Sa) S");
    story_server(st, 1, "1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    st->log_size = 0;
    return st;
}

static void a_bind_waits_until_the_backend_has_described_it(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) E S");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 0, "1 t");
    story_expect(st, "");
    story_server(st, 0, "T(int)");
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S"); /* now it is known */
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void another_result_is_the_error_that_postgresql_has_for_it(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) E S");
    st->log_size = 0;
    story_server(st, 0, "1 t T(text)");
    /* was it parsed before the table changed? once more */
    story_expect(st, "primary: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 0, "3 1 t T(text)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: E(0A000) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S"); /* it stays so until the client prepares anew */
    story_expect(st, "primary: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 0, "3 1 t T(text)");
    story_server(st, 0, "E(42601) Z(I)");
    st->log_size = 0;
    story_client(st, "C(Sa) P(a|SELECT v FROM t) D(Sa) S");
    story_server(st, 0, "3 1 t T(text) Z(I)");
    story_client(st, "B(a) E S");
    story_server(st, 0, "2 D(x) C(SELECT 1) Z(I)");
    story_expect(st, "primary: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) S\n"
                     "client: 3\n"
                     "client: 1 t T Z(I)\n"
                     "release primary\n"
                     "primary: B(sg) E S\n"
                     "client: 2 D(x) C(SELECT 1) Z(I)\n"
                     "release primary\n");
}

static void other_parameters_are_that_error_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|INSERT INTO t VALUES ($1)) D(Sa) S");
    story_server(st, 0, "1 t(i) n Z(I)");
    story_server_dies(st, 0); /* the pool has another */
    story_client(st, "B(a) E S");
    st->log_size = 0;
    story_server(st, 0, "1 t(x) n");
    story_server(st, 0, "3 1 t(x) n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "primary: C(Ssg) P(sg|INSERT INTO t VALUES ($1)) D(Ssg) H\n"
                     "primary: P(sg_error|switchgear provokes an error) E S\n"
                     "client: E(0A000) Z(I)\n"
                     "release primary\n");
}

static void what_takes_and_gives_nothing_need_not_be_asked(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|DELETE FROM t) D(Sa) S");
    story_server(st, 0, "1 t n Z(I)");
    story_server_dies(st, 0);
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_expect(st, "primary: P(sg|DELETE FROM t) B(sg) E S\n");
    story_server(st, 0, "1 2 C(DELETE 1) Z(I)");
}

static void who_is_told_with_each_result_need_not_ask(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) D(P) E S");
    story_expect(st, "primary: P(sg|SELECT v FROM t) B(sg) D(P) E S\n");
    story_server(st, 0, "1 2 T(text) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 T D(x) C(SELECT 1) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S"); /* that was the last word */
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(x) C(SELECT 1) Z(I)");
}

static void a_plan_from_before_the_change_makes_way(void **state)
{
    struct story *st = *state;
    story_client(st, "P(old|SELECT v FROM t) D(Sold) S");
    story_server(st, 1, "1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    story_client(st, "P(new|SELECT v FROM t) D(Snew) S");
    story_server(st, 0, "1 t T(text) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_CLOSED;
    story_replicate(st);
    st->topology.nodes[0].breaker = BREAKER_OPEN;
    st->log_size = 0;
    story_client(st, "B(new) E S");
    story_expect(st, "replica: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 1, "3 1 t T(text)");
    story_expect(st, "replica: B(sg) E S\n");
    story_server(st, 1, "2 D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(x) C(SELECT 1) Z(I)\nrelease replica\n");
}

static void what_cannot_be_parsed_any_more_fails_the_batch(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) E H");
    story_server(st, 0, "E(42P01)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\nclient: E(42P01)\n");
    story_client(st, "S Q(SELECT 1)");
    story_server(st, 0, "Z(I)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "primary: S Q(SELECT 1)\n"
                     "client: Z(I)\n"
                     "client: T D(1) C(SELECT 1) Z(I)\n"
                     "release primary\n");
}

static void a_whole_batch_that_fails_so_is_synced(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) E S");
    story_server(st, 0, "E(42P01)");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "primary: S\n"
                     "client: E(42P01)\n"
                     "client: Z(I)\n"
                     "release primary\n");
}

static void a_server_that_dies_meanwhile_is_not_missed(void **state)
{
    struct story *st = *state;
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    story_client(st, "P(a|SELECT v FROM t) D(Sa) S");
    story_server(st, 0, "1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_CLOSED;
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_expect(st, "replica: P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server_dies(st, 1);
    story_expect(st, "close replica\nprimary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void a_client_that_leaves_meanwhile_takes_its_connection_along(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) E S");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "close primary\n");
}

static void what_comes_meanwhile_waits_its_turn(void **state)
{
    struct story *st = begin(state);
    story_client(st, "B(a) E S");
    story_client(st, "B(a) E S");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 0, "1 t T(int)");
    story_expect(st, "primary: B(sg) E S\n"); /* what names statements waits for what was parsed */
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease primary\n"
                     "primary: B(sg) E S Q(SELECT 1)\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I) T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I) T D(1) C(SELECT 1) Z(I)\n"
                     "release primary\n");
}

static void a_block_whose_bind_is_refused_has_failed(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(BEGIN) Q(UPDATE t SET v = 1)");
    story_server(st, 0, "1 2 C(BEGIN) C(UPDATE 1) Z(T)");
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_server(st, 0, "1 t T(text)");
    story_server(st, 0, "3 1 t T(text)");
    story_server(st, 0, "E(42601) Z(E)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "primary: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "primary: P(sg_error|switchgear provokes an error) E S\n"
                     "client: E(0A000) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_bind_waits_until_the_backend_has_described_it),
        STORY(another_result_is_the_error_that_postgresql_has_for_it),
        STORY(other_parameters_are_that_error_too),
        STORY(what_takes_and_gives_nothing_need_not_be_asked),
        STORY(who_is_told_with_each_result_need_not_ask),
        STORY(a_plan_from_before_the_change_makes_way),
        STORY(what_cannot_be_parsed_any_more_fails_the_batch),
        STORY(a_whole_batch_that_fails_so_is_synced),
        STORY(a_server_that_dies_meanwhile_is_not_missed),
        STORY(a_client_that_leaves_meanwhile_takes_its_connection_along),
        STORY(what_comes_meanwhile_waits_its_turn),
        STORY(a_block_whose_bind_is_refused_has_failed),
    };
    return cmocka_run_group_tests_name("core_shape", tests, NULL, NULL);
}
