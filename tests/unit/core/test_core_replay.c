/* SPDX-License-Identifier: PostgreSQL
 *
 * What is sent again elsewhere when a node fails or refuses, and what never is.
 */
#include "core_story.h"

static void a_read_is_replayed_when_its_node_dies_before_a_row(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) B() D(P) E S");
    story_server(st, 1, "1 2 T(a)");
    story_server_dies(st, 1);
    story_expect(st, "replica: P(|SELECT 1) B() D(P) E S\n"
                     "client: 1 2 T\n"
                     "close replica\n"
                     "primary: P(|SELECT 1) B() D(P) E S\n");
    story_server(st, 0, "1 2 T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: D(1) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void a_named_parse_is_replayed_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) B(a) E S");
    story_server(st, 1, "1");
    story_server_dies(st, 1);
    story_expect(st, "replica: P(sg|SELECT 1) B(sg) E S\nclient: 1\nclose replica\n"
                     "primary: P(sg|SELECT 1) B(sg) E S\n");
    story_server(st, 0, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(1) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void what_was_answered_of_a_pipeline_is_not_replayed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) Q(SELECT 2)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    story_server_dies(st, 1);
    story_expect(st, "replica: Q(SELECT 1) Q(SELECT 2)\n"
                     "client: T D(1) C(SELECT 1) Z(I)\n"
                     "close replica\n"
                     "primary: Q(SELECT 2)\n");
    story_server(st, 0, "T(a) D(2) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(2) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void the_last_words_of_a_dying_node_are_not_forwarded(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "X(57P01)");
    story_expect(st, "replica: Q(SELECT 1)\nclose replica\nprimary: Q(SELECT 1)\n");
}

static void a_read_that_recovery_cancels_is_tried_elsewhere(void **state)
{
    struct story *st = *state;
    static const char *const conflicts[] = {"E(40001)", "E(40P01)"};
    for (size_t i = 0; i < 2; i++) {
        story_client(st, "Q(SELECT 1)");
        story_server(st, 1, conflicts[i]);
        story_expect(st, "replica: Q(SELECT 1)\nclose replica\nprimary: Q(SELECT 1)\n");
        story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
        st->log_size = 0;
        story_replicate(st);
    }
}

/* Both replicas replay the same vacuum. */
static void a_read_that_recovery_cancels_twice_is_the_primarys(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 3;
    st->topology.nodes[2] = st->topology.nodes[1];
    story_client(st, "Q(SELECT 1)");
    const uint8_t first = st->session.backend->node;
    const uint8_t second = first == 1 ? 2 : 1;
    story_server(st, first, "E(40001)");
    assert_int_equal(st->session.backend->node, second);
    st->log_size = 0;
    story_server(st, second, "E(40001)");
    assert_int_equal(st->session.backend->node, 0);
    story_server(st, 0, "E(40001) Z(I)"); /* that is the client's own affair */
    assert_non_null(strstr(st->log, "client: E(40001) Z(I)\n"));
    story_replicate(st);
    st->topology.nodes[0].breaker = BREAKER_OPEN; /* it could not answer */
    story_client(st, "Q(SELECT 1)");
    const uint8_t third = st->session.backend->node;
    story_server(st, third, "E(40001)");
    st->log_size = 0;
    story_server(st, third == 1 ? 2 : 1, "E(40001) Z(I)");
    assert_non_null(strstr(st->log, "client: E(40001) Z(I)\n"));
}

/* Another session has just made the table: the primary knows it. */
static void what_a_replica_does_not_know_yet_is_asked_of_the_primary(void **state)
{
    struct story *st = *state;
    uint64_t written = st->now_ns;
    st->database.global_write_ns = &written;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "E(42P01)");
    story_expect(st, "replica: Q(SELECT 1)\nclose replica\nprimary: Q(SELECT 1)\n");
    story_server(st, 0, "E(42P01) Z(I)"); /* so it is */
    story_expect(st, "client: E(42P01) Z(I)\nrelease primary\n");
    assert_true(st->session.last_write_ns == 0);
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "E(22012) Z(I)"); /* any other error is its own */
    story_expect(st, "replica: Q(SELECT 1)\nclient: E(22012) Z(I)\nrelease replica\n");
    story_replicate(st);
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "E(42P01) Z(I)"); /* it shows all that there is */
    story_expect(st, "replica: Q(SELECT 1)\nclient: E(42P01) Z(I)\nrelease replica\n");
}

static void a_read_is_not_replayed_after_a_row(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1)");
    story_server_dies(st, 1);
    story_expect(st, "replica: Q(SELECT 1)\nclient: T D(1)\n"
                     "client: E(FATAL 08006)\nclose replica\nclose client\n");
}

/* A view may hide a function that writes. Once a replica has run it, it is known that it does not.
 */
static void what_only_looks_like_a_read_is_not_run_twice_on_the_primary(void **state)
{
    struct story *st = *state;
    static const char *const texts[] = {"Q(SELECT a FROM v)", "P(|SELECT f2() FROM v) B() E S",
                                        "P(x|SELECT b FROM v) B(x) E S"};
    st->session.last_write_ns = st->now_ns; /* so that the primary reads */
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        story_client(st, texts[i]);
        st->log_size = 0;
        story_server_dies(st, 0);
        story_expect(st, "client: E(FATAL 08006)\nclose primary\nclose client\n");
        story_end(st);
        story_begin(st);
        st->session.last_write_ns = st->now_ns;
    }
}

static void what_a_replica_has_run_may_be_run_again_on_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "P(x|SELECT a FROM v) S");
    story_server(st, 1, "1 Z(I)"); /* this is no proof yet */
    st->session.last_write_ns = st->now_ns;
    story_client(st, "B(x) E S");
    assert_true(st->session.unproven);
    story_server(st, 0, "1 2 D(1) C(SELECT 1) Z(I)");
    story_replicate(st);
    story_client(st, "B(x) E S");
    story_server(st, 1, "2 E(22012) Z(I)"); /* nor is this */
    story_client(st, "B(x) E S");
    story_server(st, 1, "2 D(1) C(SELECT 1) Z(I)");
    st->session.last_write_ns = st->now_ns;
    st->session.floor_node = ROUTER_NODE_NONE;
    story_client(st, "B(x) E S");
    assert_false(st->session.unproven);
    st->log_size = 0;
    story_server_dies(st, 0);
    story_expect(st, "close primary\nprimary: P(sg|SELECT a FROM v) B(sg) E S\n");
}

static void a_write_is_never_replayed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server_dies(st, 0);
    story_expect(st, "primary: Q(INSERT INTO t VALUES (1))\n"
                     "client: E(FATAL 08006)\nclose primary\nclose client\n");
}

static void a_server_that_dies_within_a_message_takes_its_client_along(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server_bytes(st, 1, "D\0\0\0\x20\0\1abc", 10);
    story_server_dies(st, 1);
    story_expect(st, "replica: Q(SELECT 1)\nclient: ...\nclose replica\nclose client\n");
}

static void a_refusal_is_learned_and_replayed_on_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT lower('a'))");
    story_server(st, 1, "T(a) E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "replica: Q(SELECT lower('a'))\nclient: T\nclose replica\n"
                     "primary: Q(SELECT lower('a'))\n");
    story_server(st, 0, "T(a) D(a) C(SELECT 1) Z(I)");
    story_replicate(st);
    story_client(st, "Q(SELECT lower('b'))");
    story_expect(st, "client: D(a) C(SELECT 1) Z(I)\nrelease primary\n"
                     "primary: Q(SELECT lower('b'))\n");
    assert_int_equal(st->worker.counters.learned, 1);
}

static void runs(struct story *st, const char *client, uint8_t node, const char *server)
{
    story_replicate(st);
    story_client(st, client);
    story_server(st, node, server);
    if (strstr(st->log, node == 0 ? "primary: " : "replica: ") == NULL)
        fail_msg("went elsewhere: %s", st->log);
    st->log_size = 0;
}

/* One worker keeps a prepared statement once, for all its clients; what one of them learned holds
 * for those for whom its names mean the same. */
static void a_lesson_is_not_another_users(void **state)
{
    struct story *st = *state;
    st->group.names_key = 1;
    story_client(st, "P(a|SELECT lower($1)) S");
    story_server(st, 1, "1 Z(I)");
    story_client(st, "B(a) E S");
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly)");
    story_server(st, 0, "1 2 C(SELECT 1) Z(I)");
    st->log_size = 0;
    runs(st, "B(a) E S", 0, "2 C(SELECT 1) Z(I)");
    st->group.names_key = 2; /* as if another user's session had it */
    runs(st, "B(a) E S", 1, "1 2 C(SELECT 1) Z(I)");
    st->group.names_key = 1;
    runs(st, "B(a) E S", 0, "2 C(SELECT 1) Z(I)");
    router_cache_clock(st->worker.cache, st->now_ns + ROUTER_CACHE_LEARNED_NS + 1);
    runs(st, "B(a) E S", 1, "2 C(SELECT 1) Z(I)");
}

static void an_unnamed_statement_is_looked_at_again_too(void **state)
{
    struct story *st = *state;
    st->group.names_key = 1;
    story_client(st, "P(|SELECT lower($1)) S");
    story_server(st, 1, "1 Z(I)");
    story_client(st, "B() E S");
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly)");
    story_server(st, 0, "1 2 C(SELECT 1) Z(I)");
    st->log_size = 0;
    runs(st, "B() E S", 0, "2 C(SELECT 1) Z(I)");
    st->group.names_key = 2;
    story_replicate(st);
    story_client(st, "B() E S");
    assert_non_null(strstr(st->log, "replica: "));
}

static void what_is_refused_is_learned_and_not_what_follows_it(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT lower('a')) Q(SELECT 2) Q(INSERT INTO t VALUES (1))");
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly)");
    story_server(st, 0, "T(a) D(a) C(SELECT 1) Z(I) T(a) D(2) C(SELECT 1) Z(I) C(INSERT 0 1) Z(I)");
    story_replicate(st);
    st->log_size = 0;
    story_client(st, "Q(SELECT lower('b'))");
    story_expect(st, "primary: Q(SELECT lower('b'))\n");
}

/* Its Sync has not come: what dies with the server is not made up for by a read behind it. */
static void a_read_behind_an_unsynced_write_is_not_repeated(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 C(INSERT 0 1)");
    story_client(st, "P(|SELECT 1) B() E() S");
    st->log_size = 0;
    story_server_dies(st, 0);
    story_expect(st, "client: E(FATAL 08006)\nclose primary\nclose client\n");
}

static void a_sync_behind_an_unsynced_write_is_not_repeated(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    story_server(st, 0, "1 2 C(INSERT 0 1)");
    story_client(st, "S");
    st->log_size = 0;
    story_server_dies(st, 0);
    story_expect(st, "client: E(FATAL 08006)\nclose primary\nclose client\n");
}

/* Nobody expects anything of a Flush. */
static void batches_that_expect_nothing_come_in_a_row(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) H");
    story_server(st, 1, "1");
    st->log_size = 0;
    story_client(st, "H H C(Sa) H C(Sa) H H S");
    story_expect(st, "replica: H H H C(Sa) H H S\nclient: 3\n");
}

/* Nor does a Sync alone keep the reads around it from being repeated. */
static void a_sync_between_reads_is_repeated_with_them(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(x) D(1) C(SELECT 1) Z(T)");
    story_client(st, "P(c|SELECT 2) S S P(|SELECT lower('x')) B() E() S");
    story_server(st, 1, "1 Z(T) Z(T) 1 2");
    st->log_size = 0;
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "close replica\nprimary: P(|BEGIN) B() E P(|SELECT lower('x')) B() E S\n");
}

/* The batch replaces a statement that it began with: the server's would be gone if it were sent
 * again. What comes behind it can be. */
static void behind_what_cannot_be_repeated_a_flight_of_its_own_begins(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) H");
    story_server(st, 1, "1");
    st->log_size = 0;
    story_client(st, "B() E P(|SELECT 2) B() E S Q(SELECT lower('x'))");
    story_expect(st, "replica: B() E P(|SELECT 2) B() E S\n");
    story_server(st, 1, "2 D(1) C(SELECT 1) 1 2 D(2) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_server(st, 1, "E(25006|PreventCommandIfReadOnly)");
    story_expect(st, "close replica\nprimary: Q(SELECT lower('x'))\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_read_is_replayed_when_its_node_dies_before_a_row),
        STORY(a_named_parse_is_replayed_too),
        STORY(what_was_answered_of_a_pipeline_is_not_replayed),
        STORY(the_last_words_of_a_dying_node_are_not_forwarded),
        STORY(a_read_that_recovery_cancels_is_tried_elsewhere),
        STORY(a_read_that_recovery_cancels_twice_is_the_primarys),
        STORY(what_a_replica_does_not_know_yet_is_asked_of_the_primary),
        STORY(a_read_is_not_replayed_after_a_row),
        STORY(what_only_looks_like_a_read_is_not_run_twice_on_the_primary),
        STORY(what_a_replica_has_run_may_be_run_again_on_the_primary),
        STORY(a_write_is_never_replayed),
        STORY(a_server_that_dies_within_a_message_takes_its_client_along),
        STORY(a_refusal_is_learned_and_replayed_on_the_primary),
        STORY(a_lesson_is_not_another_users),
        STORY(an_unnamed_statement_is_looked_at_again_too),
        STORY(what_is_refused_is_learned_and_not_what_follows_it),
        STORY(a_read_behind_an_unsynced_write_is_not_repeated),
        STORY(a_sync_behind_an_unsynced_write_is_not_repeated),
        STORY(batches_that_expect_nothing_come_in_a_row),
        STORY(a_sync_between_reads_is_repeated_with_them),
        STORY(behind_what_cannot_be_repeated_a_flight_of_its_own_begins),
    };
    return cmocka_run_group_tests_name("core_replay", tests, NULL, NULL);
}
