/* SPDX-License-Identifier: PostgreSQL
 *
 * What a client was told of a prepared statement holds wherever it is bound.
 */
#include "core_internal.h"
#include "core_stmt.h"
#include "core_story.h"

static void a_bind_waits_until_the_backend_has_described_it(void **state)
{
    struct story *st = story_described(state);
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
    struct story *st = story_described(state);
    story_client(st, "B(a) E S");
    st->log_size = 0;
    story_server(st, 0, "1 t T(text)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: E(0A000) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S"); /* it stays so until the client prepares anew */
    /* was it parsed before the table changed? once more */
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

/* The second name's Parse makes a new plan of the same text, which nobody has described yet. */
static void a_description_on_its_way_is_of_the_plan_before_another_names_parse(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E P(a|SELECT v FROM t) H");
    story_server(st, 0, "1 2 C(INSERT 0 1) 1");
    st->log_size = 0;
    story_client(st, "D(Sa) P(b|SELECT v FROM t) D(Sb) B(a) E S");
    story_expect(st, "primary: D(Ssg) C(Ssg) P(sg|SELECT v FROM t) D(Ssg) D(Ssg) H\n");
    story_server(st, 0, "t T(int) 3 1 t T(text) t T(text)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n"
                     "client: t T 1 t T\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: E(0A000) Z(I)\nrelease primary\n");
}

static void where_both_plans_are_the_same_the_bind_goes_on(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E P(a|SELECT v FROM t) H");
    story_server(st, 0, "1 2 C(INSERT 0 1) 1");
    story_client(st, "D(Sa) P(b|SELECT v FROM t) D(Sb) B(a) E S");
    st->log_size = 0;
    story_server(st, 0, "t T(int) 3 1 t T(int) t T(int)");
    story_expect(st, "primary: B(sg) E S\nclient: t T 1 t T\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease primary\n");
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
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n"
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
    struct story *st = story_described(state);
    story_client(st, "B(a) D(P) E S");
    story_expect(st, "primary: P(sg|SELECT v FROM t) B(sg) D(P) E S\n");
    story_server(st, 0, "1 2 T(text) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 T D(x) C(SELECT 1) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S"); /* that was the last word */
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(x) C(SELECT 1) Z(I)");
}

/* One format a column, and a Describe: as pgx binds. */
static void a_column_that_went_is_a_stale_plan_though_the_result_is_described(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "B(a) D(P) E S");
    story_server(st, 0, "1 E(08P01|PortalSetResultFormat) Z(I)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) B(sg) D(P) E S\n"
                     "client: E(0A000) Z(I)\n"
                     "release primary\n");
    story_client(st, "B(a) D(P) E S"); /* now the backend has it, and nobody knows its columns */
    story_server(st, 0, "E(08P01|PortalSetResultFormat) Z(I)");
    story_expect(st, "primary: B(sg) D(P) E S\n"
                     "client: E(0A000) Z(I)\n"
                     "release primary\n");
}

static void formats_that_never_fitted_are_the_protocols_error(void **state)
{
    struct story *st = *state;
    story_client(st, "P(b|SELECT v FROM t) D(Sb) S");
    story_server(st, 1, "1 t T(int) Z(I)");
    st->log_size = 0;
    story_client(st, "B(b) D(P) E S");
    story_server(st, 1, "E(08P01|PortalSetResultFormat) Z(I)");
    story_expect(st, "replica: B(sg) D(P) E S\n"
                     "client: E(08P01) Z(I)\n"
                     "release replica\n");
    story_client(st, "P(|SELECT v FROM t) B() D(P) E S");
    story_server(st, 1, "1 E(08P01|PortalSetResultFormat) Z(I)");
    story_expect(st, "replica: P(|SELECT v FROM t) B() D(P) E S\n"
                     "client: 1 E(08P01) Z(I)\n"
                     "release replica\n");
}

static void an_unnamed_statement_that_was_parsed_elsewhere_may_be_stale_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT v FROM t) D(S) S");
    story_server(st, 1, "1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    st->log_size = 0;
    story_client(st, "B() D(P) E S");
    story_server(st, 0, "1 E(08P01|PortalSetResultFormat) Z(I)");
    story_expect(st, "primary: P(|SELECT v FROM t) B() D(P) E S\n"
                     "client: E(0A000) Z(I)\n"
                     "release primary\n");
}

/* Where nobody knows what a name stands for it may reach outside; but a Bind has run nothing. */
static void what_may_reach_outside_is_planned_anew_too(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "B(a) D(P) E S");
    st->session.outside = true;
    story_server(st, 0, "1 E(0A000|RevalidateCachedQuery) Z(I)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) B(sg) D(P) E S\n"
                     "close primary\n"
                     "primary: P(sg|SELECT v FROM t) B(sg) D(P) E S\n");
    story_server(st, 0, "1 2 T(int) D(7) C(SELECT 1) Z(I)");
}

/* The parameters that it lacks are the client's own fault. */
static void another_error_of_the_protocol_is_as_it_is(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "B(a) D(P) E S");
    story_server(st, 0, "1 E(08P01|exec_bind_message) Z(I)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) B(sg) D(P) E S\n"
                     "client: E(08P01) Z(I)\n"
                     "release primary\n");
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
    struct story *st = story_described(state);
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
    struct story *st = story_described(state);
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
    struct story *st = story_described(state);
    story_client(st, "B(a) E S");
    st->log_size = 0;
    story_leave(st);
    story_expect(st, "close primary\n");
}

static void what_comes_meanwhile_waits_its_turn(void **state)
{
    struct story *st = story_described(state);
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
    struct story *st = story_described(state);
    story_client(st, "Q(BEGIN) Q(UPDATE t SET v = 1)");
    story_server(st, 0, "1 2 C(BEGIN) C(UPDATE 1) Z(T)");
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_server(st, 0, "1 t T(text)");
    story_server(st, 0, "E(42601) Z(E)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "primary: P(sg_error|switchgear provokes an error) E S\n"
                     "client: E(0A000) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
}

/* "new" and "more" are known as the primary has them; the replica has them from before. */
static struct story *begin_stale(void **state)
{
    struct story *st = *state;
    story_client(st, "P(old|SELECT v FROM t) D(Sold) P(less|SELECT w FROM t) D(Sless) S");
    story_server(st, 1, "1 t T(int) 1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    story_client(st, "P(new|SELECT v FROM t) D(Snew) P(more|SELECT w FROM t) D(Smore) S");
    story_server(st, 0, "1 t T(text) 1 t T(text) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_CLOSED;
    story_replicate(st);
    st->log_size = 0;
    return st;
}

static void each_bind_of_a_batch_has_its_own_question(void **state)
{
    struct story *st = begin_stale(state);
    story_client(st, "B(new) E B(more) E S");
    story_server(st, 1, "3 1 t T(text)");
    story_server(st, 1, "2 D(x) C(SELECT 1) 3 1 t T(text)");
    story_expect(st, "replica: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "replica: B(sg) E C(Ssg) P(sg|SELECT w FROM t) D(Ssg) H\n"
                     "replica: B(sg) E S\n"
                     "client: 2 D(x) C(SELECT 1)\n");
    story_server(st, 1, "2 D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(x) C(SELECT 1) Z(I)\nrelease replica\n");
}

static void a_batch_that_is_planned_anew_asks_once(void **state)
{
    struct story *st = story_described(state);
    st->topology.nodes[1].breaker = BREAKER_CLOSED;
    story_replicate(st);
    story_client(st, "P(b|SELECT w FROM t) D(Sb) S");
    story_server(st, 1, "1 t T(int) Z(I)");
    st->log_size = 0;
    story_client(st, "B(a) D(P) E B(b) E S");
    story_server(st, 1, "E(0A000|RevalidateCachedQuery)");
    story_expect(st,
                 "replica: B(sg) D(P) E B(sg) E S\n"
                 "close replica\n"
                 "replica: P(sg|SELECT v FROM t) B(sg) D(P) E P(sg|SELECT w FROM t) D(Ssg) H\n");
    story_server(st, 1, "1 2 T(text) D(x) C(SELECT 1) 1 t T(int)");
    story_expect(st, "replica: B(sg) E S\nclient: 2 T D(x) C(SELECT 1)\n");
    story_server(st, 1, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease replica\n");
}

static void what_is_described_next_has_to_be_that_portal(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "B(a) D(Sa) E S");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 0, "1 t T(int)");
    story_server(st, 0, "2 t T(int) D(7) C(SELECT 1) Z(I)");
    st->log_size = 0;
    /* ... and what is described later is not taken for its */
    story_client(st, "B(a) D(Sa) P(|SELECT other FROM t) B() D(P) E S");
    story_server(st, 0, "2 t T(int) 1 2 T(other) D(7) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "B(a|p) D(P) E(p) S");
    story_server(st, 0, "2 E(34000) Z(I)");
}

static void who_sends_binary_parameters_has_to_know_their_types(void **state)
{
    static const uint8_t binary[] = "B\0\0\0\x14\0a\0\0\1\0\1\0\1\0\0\0\1x\0\0"
                                    "D\0\0\0\6P\0E\0\0\0\x9\0\0\0\0\0S\0\0\0\4";
    struct story *st = *state;
    story_client(st, "P(a|INSERT INTO t VALUES ($1)) D(Sa) S");
    story_server(st, 0, "1 t(i) n Z(I)");
    story_server_dies(st, 0);
    st->log_size = 0;
    story_client_bytes(st, binary, sizeof(binary) - 1);
    story_expect(st, "primary: P(sg|INSERT INTO t VALUES ($1)) D(Ssg) H\n");
    story_server(st, 0, "1 t(x) n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) D(P) E S\n"
                     "client: E(0A000) Z(I)\n"
                     "release primary\n");
}

static void a_cancel_meanwhile_fails_the_bind_that_waits(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "B(a) E S");
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
    story_server(st, 0, "1 t T(int)"); /* it came too late for that */
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: E(57014) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S"); /* once */
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
}

static void a_cancel_that_hits_the_question_is_used_up(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "B(a) E S");
    (void)core_cancel(&st->session);
    story_server(st, 0, "E(57014)");
    story_server(st, 0, "Z(I)");
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_server(st, 0, "1 t T(int)");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "primary: B(sg) E S\n"
                     "client: 2 D(7) C(SELECT 1) Z(I)\n"
                     "release primary\n");
}

static void last_words_that_come_with_the_answer_are_not_missed(void **state)
{
    struct story *st = *state;
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    story_client(st, "P(a|SELECT v FROM t) D(Sa) S");
    story_server(st, 0, "1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_CLOSED;
    story_client(st, "B(a) E S");
    st->log_size = 0;
    story_server(st, 1, "1 t T(int) X(57P01)");
    story_expect(st, "close replica\nprimary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(7) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void a_path_that_is_set_meanwhile_is_another_question(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "P(|SET search_path = 'x') B() E B(a) E S");
    st->log_size = 0;
    story_server(st, 0, "1 2 C(SET) 1 t T(int)");
    story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\nclient: 1 2 C(SET)\n");
    story_server(st, 0, "1 t T(int)");
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
}

static void rows_of_another_result_than_was_described_are_not_given(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT v FROM t) B() D(P) E S");
    story_server(st, 1, "1 2 T(int)");
    story_server_dies(st, 1);
    story_server(st, 0, "1 2 T(int) D(7) C(SELECT 1) Z(I)"); /* as it should be */
    st->log_size = 0;
    story_client(st, "Q(SELECT v FROM t)");
    story_server(st, 1, "T(int)");
    story_server_dies(st, 1);
    st->log_size = 0;
    story_server(st, 0, "T(text) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: E(FATAL 0A000)\nclose primary\nclose client\n");
}

/* What has come of the row, or of the end, is nothing that its client has had. */
static void nor_where_the_first_run_ends_within_what_follows(void **state)
{
    static const struct {
        const char *client, *described, *follows, *again;
        size_t cut;
    } runs[] = {{"Q(SELECT v FROM t)", "T(int)", "D(1)", "T(text)", 8},
                {"P(|SELECT v FROM t) B() D(P) S", "1 2 T(int)", "Z(I)", "1 2 T(text)", 1},
                {"P(|SELECT v FROM t) B() D(P) E S", "1 2 T(int)", "D(1)", "1 2 T(text)", 8}};
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        uint8_t bytes[256];
        size_t size = story_encode(false, runs[i].described, bytes, sizeof(bytes));
        size += story_encode(false, runs[i].follows, bytes + size, sizeof(bytes) - size);
        story_client(st, runs[i].client);
        story_server_bytes(st, 1, bytes, size - runs[i].cut);
        story_server_dies(st, 1);
        st->log_size = 0;
        story_server(st, 0, runs[i].again);
        story_expect(st, "client: E(FATAL 0A000)\nclose primary\nclose client\n");
        story_end(st);
        (void)story_open(state);
    }
}

static void also_where_the_second_run_is_the_last(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "Q(BEGIN) Q(SELECT v FROM t)");
    story_server(st, 1, "1 2 C(BEGIN) T(int)");
    story_server_dies(st, 1);
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    st->log_size = 0;
    story_server(st, 0, "1 2 C(BEGIN) T(text) D(x) C(SELECT 1) Z(T)");
    story_expect(st, "client: E(FATAL 0A000)\nclose primary\nclose client\n");
}

static void a_batch_that_is_not_planned_anew_leaves_the_next_one_alone(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "P(w|INSERT INTO t VALUES (1) RETURNING v) S");
    story_server(st, 0, "1 Z(I)");
    st->log_size = 0;
    story_client(st, "B(w) D(P) E S");
    story_client(st, "B(a) E S");
    story_server(st, 0, "E(0A000|RevalidateCachedQuery) Z(I) 1 t T(int)");
    story_expect(st, "primary: B(sg) D(P) E S\n"
                     "primary: P(sg|SELECT v FROM t) D(Ssg) H\n"
                     "primary: B(sg) E S\n"
                     "client: E(0A000) Z(I)\n");
    story_server(st, 0, "2 D(7) C(SELECT 1) Z(I)");
}

static void what_comes_behind_a_batch_that_failed_so_can_run_again(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT v FROM t) P(b|SELECT w FROM t) D(Sb) S");
    story_server(st, 1, "1 1 t T(int) Z(I)");
    story_server_dies(st, 1);
    story_client(st, "B(a) D(P) E B(b) E S Q(SELECT lower('x'))");
    st->log_size = 0;
    story_server(st, 1, "1 2 T(int) D(7) C(SELECT 1) E(42501)");
    story_expect(st, "replica: S\nclient: 2 T D(7) C(SELECT 1) E(42501)\n");
    story_server(st, 1, "Z(I)"); /* that could not be sent again, and what goes along neither */
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "client: Z(I)\n"
                     "release replica\n"
                     "replica: Q(SELECT lower('x'))\n"
                     "close replica\n"
                     "primary: Q(SELECT lower('x'))\n");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_bind_waits_until_the_backend_has_described_it),
        STORY(another_result_is_the_error_that_postgresql_has_for_it),
        STORY(a_description_on_its_way_is_of_the_plan_before_another_names_parse),
        STORY(where_both_plans_are_the_same_the_bind_goes_on),
        STORY(other_parameters_are_that_error_too),
        STORY(what_takes_and_gives_nothing_need_not_be_asked),
        STORY(who_is_told_with_each_result_need_not_ask),
        STORY(a_column_that_went_is_a_stale_plan_though_the_result_is_described),
        STORY(formats_that_never_fitted_are_the_protocols_error),
        STORY(an_unnamed_statement_that_was_parsed_elsewhere_may_be_stale_too),
        STORY(another_error_of_the_protocol_is_as_it_is),
        STORY(what_may_reach_outside_is_planned_anew_too),
        STORY(a_plan_from_before_the_change_makes_way),
        STORY(what_cannot_be_parsed_any_more_fails_the_batch),
        STORY(a_whole_batch_that_fails_so_is_synced),
        STORY(a_server_that_dies_meanwhile_is_not_missed),
        STORY(a_client_that_leaves_meanwhile_takes_its_connection_along),
        STORY(what_comes_meanwhile_waits_its_turn),
        STORY(a_block_whose_bind_is_refused_has_failed),
        STORY(each_bind_of_a_batch_has_its_own_question),
        STORY(a_batch_that_is_planned_anew_asks_once),
        STORY(what_is_described_next_has_to_be_that_portal),
        STORY(who_sends_binary_parameters_has_to_know_their_types),
        STORY(a_cancel_meanwhile_fails_the_bind_that_waits),
        STORY(a_cancel_that_hits_the_question_is_used_up),
        STORY(last_words_that_come_with_the_answer_are_not_missed),
        STORY(a_path_that_is_set_meanwhile_is_another_question),
        STORY(rows_of_another_result_than_was_described_are_not_given),
        STORY(nor_where_the_first_run_ends_within_what_follows),
        STORY(also_where_the_second_run_is_the_last),
        STORY(a_batch_that_is_not_planned_anew_leaves_the_next_one_alone),
        STORY(what_comes_behind_a_batch_that_failed_so_can_run_again),
    };
    return cmocka_run_group_tests_name("core_shape", tests, NULL, NULL);
}
