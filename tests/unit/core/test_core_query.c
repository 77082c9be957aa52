/* SPDX-License-Identifier: PostgreSQL
 *
 * What a logged-in client says, where it goes and what comes back.
 */
#include <stdio.h>

#include "core_story.h"

/* ---- routing ---- */

static void a_read_goes_to_the_replica_and_a_write_to_the_primary(void **state)
{
    struct story *st = *state;
    story_read_on_replica(st);
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_expect(st, "primary: Q(INSERT INTO t VALUES (1))\n"
                     "client: C(INSERT 0 1) Z(I)\n"
                     "release primary\n");
}

static void a_read_after_a_write_waits_for_evidence(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_client(st, "Q(SELECT 1)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_replicate(st);
    story_read_on_replica(st);
}

/* ---- transactions ---- */

static void begin_is_answered_locally_and_sent_with_the_first_statement(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN)");
    story_expect(st, "client: C(BEGIN) Z(T)\n");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "primary: P(|BEGIN) B() E Q(SELECT 1)\n");
    story_server(st, 0, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(T)\n");
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    story_expect(st, "primary: Q(COMMIT)\nclient: C(COMMIT) Z(I)\nrelease primary\n");
}

static void an_empty_block_needs_no_server(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(START TRANSACTION) Q(COMMIT) Q(BEGIN) Q(BEGIN) Q(ROLLBACK)");
    story_expect(st, "client: C(START TRANSACTION) Z(T) C(COMMIT) Z(I) C(BEGIN) Z(T) N(25001) "
                     "C(BEGIN) Z(T) C(ROLLBACK) Z(I)\n");
}

static void a_read_only_block_stays_on_its_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "Q(COMMIT) Q(INSERT INTO t VALUES (1))");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "replica: P(|BEGIN READ ONLY) B() E Q(SELECT 1)\n"
                     "client: T D(1) C(SELECT 1) Z(T)\n"
                     "replica: Q(COMMIT)\n");
    story_server(st, 1, "C(COMMIT) Z(I)");
    story_expect(st, "client: C(COMMIT) Z(I)\n"
                     "release replica\n"
                     "primary: Q(INSERT INTO t VALUES (1))\n");
}

/* The client has been told of a block: what it sends next would be committed at once. */
static void a_begin_that_fails_fails_its_block(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    st->log_size = 0;
    story_server(st, 0, "E(53200)");
    story_expect(st, "client: E(53200) Z(E)\nclose primary\n");
    story_client(st, "Q(ROLLBACK)");
    story_expect(st, "client: C(ROLLBACK) Z(I)\n");
}

/* The server has skipped what came behind it too, and nobody kept that. */
static void a_begin_that_fails_in_a_pipeline_ends_its_session(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) Q(COMMIT)");
    st->log_size = 0;
    story_server(st, 0, "E(53200)");
    story_expect(st, "primary: S\nclient: E(FATAL 53200)\nclose client\nclose primary\n");
}

static void a_write_half_sent_keeps_the_session_dirty(void **state)
{
    struct story *st = *state;
    char text[4096] = "P(|INSERT INTO t VALUES (1) -- ";
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    memset(text + strlen(text), 'x', 3000);
    strncat(text, ")", 2);
    story_client(st, text); /* too long to wait for its end: it is on its way */
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    assert_true(st->session.last_write_ns == ROUTER_NEVER_NS);
}

static void nothing_comes_between_the_parts_of_a_query_behind_a_long_batch(void **state)
{
    struct story *st = *state;
    char text[4096] = "P(|INSERT INTO t VALUES (1) -- ";
    uint8_t bytes[8192];
    memset(text + strlen(text), 'x', 3000);
    strncat(text, ") B() E Q(SELECT 2)", 32);
    const size_t size = story_encode(true, text, bytes, sizeof(bytes));
    story_client_bytes(st, bytes, 2500); /* too long to wait for its end */
    story_client_bytes(st, bytes + 2500, size - 2505);
    story_client_bytes(st, bytes + size - 5, 5);
    assert_int_equal(st->sent, size); /* no Flush among them */
}

/* ---- pins ---- */

static void a_replica_that_asks_for_data_is_not_believed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 1, "G");
    st->log[st->log_size] = '\0';
    assert_non_null(strstr(st->log, "close replica"));
    assert_null(strstr(st->log, "replica: Q(INSERT"));
}

/* What comes before its Sync follows it there, whatever it is. */
static void an_execute_of_nothing_that_was_bound_goes_to_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "E() Q(INSERT INTO t VALUES (1))");
    story_expect(st, "primary: E H Q(INSERT INTO t VALUES (1))\n");
}

static void discard_all_unpins(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(LISTEN a)");
    story_server(st, 0, "C(LISTEN) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(DISCARD ALL) Q(SELECT 1)");
    story_expect(st, "primary: Q(DISCARD ALL)\n");
    story_replicate(st);
    st->topology.nodes[1].fresh_as_of_ns += 1000000;
    story_server(st, 0, "C(DISCARD ALL) Z(I)");
    story_expect(st, "client: C(DISCARD ALL) Z(I)\nrelease primary\nreplica: Q(SELECT 1)\n");
}

static void nothing_is_pinned_to_a_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(LISTEN a)");
    story_server(st, 1, "E(42601) Z(E)");
    story_expect(st,
                 "replica: P(sg_error|switchgear provokes an error) S\nclient: E(0A000) Z(E)\n");
}

/* ---- COPY ---- */

static void late_copy_data_is_dropped(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY t FROM STDIN)");
    story_server(st, 0, "G");
    story_client(st, "d(1)");
    story_server(st, 0, "E(22P04) Z(I)");
    story_client(st, "d(2) c Q(SELECT 1)");
    story_expect(st, "primary: Q(COPY t FROM STDIN)\nclient: G\nprimary: d\n"
                     "client: E(22P04) Z(I)\nrelease primary\nprimary: Q(SELECT 1)\n");
}

static void copy_data_that_does_not_wait_waits_here(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY t FROM STDIN) d(1) c");
    story_expect(st, "primary: Q(COPY t FROM STDIN)\n");
    story_server(st, 0, "G");
    story_server(st, 0, "C(COPY 1) Z(I)");
    story_expect(st, "primary: d c\nclient: G\nclient: C(COPY 1) Z(I)\nrelease primary\n");
}

static void sync_during_copy_in_gives_one_ready(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|COPY t FROM STDIN) B() E S");
    story_server(st, 0, "1 2 G");
    story_client(st, "d(1) c S");
    story_server(st, 0, "C(COPY 1) Z(I)");
    story_expect(st, "primary: P(|COPY t FROM STDIN) B() E S\nclient: 1 2 G\n"
                     "primary: d c S\nclient: C(COPY 1) Z(I)\nrelease primary\n");
}

/* ---- refusals, bad peers ---- */

static void a_batch_without_a_backend_fails_alone(void **state)
{
    struct story *st = *state;
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57P03", .message = "none"};
    st->nobody_grants = true;
    story_client(st, "P(|SELECT 'S') B() E S P(|SELECT 1) D(S) H B() E S Q(SELECT 2)");
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
    story_expect(st, "client: E(57P03) Z(I)\n");
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
    story_expect(st, "client: E(57P03) Z(I)\n"); /* what is behind the Flush is skipped */
    assert_true(st->session.waiting);
}

/* It was chosen, then it had to wait: what was right then need not be right any more. */
static void a_grant_that_comes_too_late_for_its_read_is_given_back(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    st->nobody_grants = true;
    story_client(st, "Q(SELECT 2)");
    assert_int_equal(st->session.choice.node, 1);
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    st->topology.generation++;
    story_grant(st); /* in the same nanosecond, by a newer topology */
    story_expect(st, "release replica\n");
    assert_true(st->session.waiting);
    assert_int_equal(st->session.choice.node, 0);
    st->topology.nodes[1].breaker = BREAKER_CLOSED;
    st->topology.generation++;
    story_execute(st, core_redecide(&st->session, st->now_ns));
    assert_int_equal(st->session.choice.node, 1);
    st->database.max_lag_ns = 1000000;
    st->now_ns += 2000000; /* by the same topology, but later */
    story_grant(st);
    story_expect(st, "release replica\n");
    assert_int_equal(st->session.choice.node, 0);
}

/* The replica has not got the user or the database yet: nobody else is asked than the primary. */
static void a_read_that_a_replica_does_not_let_in_asks_the_primary(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(SELECT 1)");
    assert_int_equal(st->session.choice.node, 1);
    story_execute(st, core_turned_away(&st->session, st->now_ns));
    assert_true(st->session.waiting);
    assert_int_equal(st->session.choice.node, 0);
    assert_null(core_turned_away(&st->session, st->now_ns));
}

static void a_client_out_of_its_mind_gets_08P01(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, "Q\0\0\0\3", 5);
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void an_unknown_message_gets_08P01(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, "y\0\0\0\4", 5);
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void a_sync_cannot_be_large(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, "S\0\1\0\0", 5);
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void the_server_says_what_is_wrong_with_a_malformed_message(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, "H\0\0\0\5xS\0\0\0\4", 11);
    story_expect(st, "primary: H S\n");
    story_server(st, 0, "E(08P01) Z(I)");
    story_expect(st, "client: E(08P01) Z(I)\nrelease primary\n");
}

/* CopyBothResponse: else what waits would go there as it is, a write too. */
static void a_replica_that_begins_a_copy_in_gets_nothing_more(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server_bytes(st, 1, "W\0\0\0\x07\0\0\0", 8);
    story_expect(st, "client: E(FATAL 08P01)\nclose replica\nclose client\n");
}

static void a_server_out_of_its_mind_is_closed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    story_server_bytes(st, 1, "R\0\0\0\x08\0\0\0\0", 9);
    story_expect(st, "replica: Q(SELECT 1)\nclient: E(FATAL 08P01)\n"
                     "close replica\nclose client\n");
}

static void a_release_waits_for_the_client(void **state)
{
    struct story *st = *state;
    st->nobody_drains = true;
    story_client(st, "Q(SELECT 1)");
    st->session.client_pending = 1;
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "replica: Q(SELECT 1)\nclient: T D(1) C(SELECT 1) Z(I)\n");
    st->session.client_pending = 0;
    story_execute(st, core_client_drained(&st->session, st->now_ns));
    story_expect(st, "release replica\n");
}

static void a_notice_in_two_halves_does_not_keep_the_backend(void **state)
{
    struct story *st = *state;
    uint8_t bytes[256];
    const size_t size = story_encode(false, "T(a) D(1) C(SELECT 1) Z(I) N", bytes, sizeof(bytes));
    story_client(st, "Q(SELECT 1)");
    story_server_bytes(st, 1, bytes, size - 3);
    st->log_size = 0;
    story_server_bytes(st, 1, bytes + size - 3, 3);
    story_expect(st, "client: ...\nrelease replica\n");
}

static void every_cut_of_a_conversation_gives_the_same(void **state)
{
    struct story *st = *state;
    uint8_t out[512];
    uint8_t in[512];
    const size_t out_size =
        story_encode(true, "P(|SELECT 1) B() D(P) E S Q(SELECT 2)", out, sizeof(out));
    const size_t in_size = story_encode(
        false, "1 2 T(a) D(1) C(SELECT 1) Z(I) T(a) D(2) C(SELECT 1) Z(I)", in, sizeof(in));
    story_read_on_replica(st);
    for (size_t cut = 1; cut < out_size; cut++) {
        story_client_bytes(st, out, cut);
        story_client_bytes(st, out + cut, out_size - cut);
        for (size_t pos = 0; pos < in_size;) {
            const size_t size = pos + cut < in_size ? cut : in_size - pos;
            story_server_bytes(st, 1, in + pos, size);
            pos += size;
        }
        assert_null(st->session.backend);
        assert_null(st->session.hold);
        st->log_size = 0;
    }
}

/* It is bound to the replica by nothing but a Parse that was flushed. */
static void what_is_too_long_behind_a_flushed_read_goes_to_the_primary(void **state)
{
    struct story *st = *state;
    static char text[4000];
    uint8_t bytes[4500];
    story_client(st, "P(|SELECT 1) H");
    story_server(st, 1, "1");
    st->log_size = 0;
    (void)snprintf(text, sizeof(text), "Q(INSERT INTO t VALUES (1) --%*s)", 3000, "");
    const size_t size = story_encode(true, text, bytes, sizeof(bytes));
    story_client_bytes(st, bytes, 2500);
    story_expect(st, "replica: S\n");
    story_server(st, 1, "Z(I)");
    story_expect(st, "release replica\nprimary: ...\n");
    story_client_bytes(st, bytes + 2500, size - 2500);
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    st->log_size = 0;
}

/* A Flush of ours would go into the middle of it. */
static void half_a_query_behind_a_long_batch_stays_whole(void **state)
{
    struct story *st = *state;
    static char text[4000];
    uint8_t bytes[4500];
    (void)snprintf(text, sizeof(text), "P(|INSERT INTO t VALUES (1) --%*s) B() E() Q(SELECT 22)",
                   3000, "");
    const size_t size = story_encode(true, text, bytes, sizeof(bytes));
    story_client_bytes(st, bytes, 2500); /* too long to wait for its end: it is on its way */
    const struct proto_span parts[] = {{bytes + 2500, size - 2504}, {bytes + size - 4, 4}};
    for (size_t i = 0; i < 2; i++) {
        const struct core_sink *sent =
            &core_client_data(&st->session, parts[i], st->now_ns)->server;
        assert_int_equal(sent->size, parts[i].size);
        for (uint32_t n = 0, at = 0; n < sent->count; at += (uint32_t)sent->spans[n++].size)
            assert_memory_equal(sent->spans[n].base, parts[i].base + at, sent->spans[n].size);
    }
    st->log_size = 0;
    story_server(st, 0, "1 2 C(INSERT 0 1) T(a) D(22) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 C(INSERT 0 1) T D(22) C(SELECT 1) Z(I)\n");
}

/* A long Parse is not looked at and pins; this one is not whole yet. */
static void half_a_parse_behind_a_long_bind_is_no_long_one(void **state)
{
    struct story *st = *state;
    static char text[4000];
    uint8_t bytes[4500];
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    (void)snprintf(text, sizeof(text), "B(a|%03000d) P(|SELECT 22)", 7);
    const size_t size = story_encode(true, text, bytes, sizeof(bytes));
    story_client_bytes(st, bytes, size - 4);
    story_client_bytes(st, bytes + size - 4, 4);
    story_client(st, "S");
    story_server(st, 0, "1 2 1 Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
    assert_null(st->session.backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_read_goes_to_the_replica_and_a_write_to_the_primary),
        STORY(a_read_after_a_write_waits_for_evidence),
        STORY(begin_is_answered_locally_and_sent_with_the_first_statement),
        STORY(an_empty_block_needs_no_server),
        STORY(a_read_only_block_stays_on_its_replica),
        STORY(a_begin_that_fails_fails_its_block),
        STORY(a_begin_that_fails_in_a_pipeline_ends_its_session),
        STORY(a_write_half_sent_keeps_the_session_dirty),
        STORY(nothing_comes_between_the_parts_of_a_query_behind_a_long_batch),
        STORY(an_execute_of_nothing_that_was_bound_goes_to_the_primary),
        STORY(a_replica_that_asks_for_data_is_not_believed),
        STORY(discard_all_unpins),
        STORY(nothing_is_pinned_to_a_replica),
        STORY(late_copy_data_is_dropped),
        STORY(copy_data_that_does_not_wait_waits_here),
        STORY(sync_during_copy_in_gives_one_ready),
        STORY(a_batch_without_a_backend_fails_alone),
        STORY(a_grant_that_comes_too_late_for_its_read_is_given_back),
        STORY(a_read_that_a_replica_does_not_let_in_asks_the_primary),
        STORY(a_client_out_of_its_mind_gets_08P01),
        STORY(an_unknown_message_gets_08P01),
        STORY(a_sync_cannot_be_large),
        STORY(the_server_says_what_is_wrong_with_a_malformed_message),
        STORY(a_replica_that_begins_a_copy_in_gets_nothing_more),
        STORY(a_server_out_of_its_mind_is_closed),
        STORY(a_release_waits_for_the_client),
        STORY(a_notice_in_two_halves_does_not_keep_the_backend),
        STORY(half_a_query_behind_a_long_batch_stays_whole),
        STORY(half_a_parse_behind_a_long_bind_is_no_long_one),
        STORY(what_is_too_long_behind_a_flushed_read_goes_to_the_primary),
        STORY(every_cut_of_a_conversation_gives_the_same),
    };
    return cmocka_run_group_tests_name("core_query", tests, NULL, NULL);
}
