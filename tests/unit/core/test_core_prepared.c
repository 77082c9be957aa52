/* SPDX-License-Identifier: PostgreSQL
 *
 * Prepared statements: names of a client, names of a server, and batches that are cut short.
 */
#include <stdio.h>

#include "core_story.h"

static void a_second_named_parse_is_42P05(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    story_expect(st, "replica: P(sg|SELECT 1) S\nclient: 1 Z(I)\nrelease replica\n");
    story_client(st, "P(a|SELECT 2) S");
    story_expect(st, "replica: C(Ssg_taken) P(sg_taken|) P(sg_taken|SELECT 2) S\n");
    story_server(st, 1, "3 1 E(42P05) Z(I)");
    story_expect(st, "client: E(42P05) Z(I)\nrelease replica\n");
}

/* PostgreSQL looks at the text before it looks at the name. */
static void what_is_wrong_with_the_text_comes_before_the_name(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    st->log_size = 0;
    story_client(st, "P(a|SELEC) S B(a) E() S");
    story_expect(
        st, "primary: C(Ssg_taken) P(sg_taken|) P(sg_taken|SELEC) S P(sg|SELECT 1) B(sg) E S\n");
    story_server(st, 0, "3 1 E(42601) Z(I) 1 2 C(SELECT 1) Z(I)");
    story_expect(st, "client: E(42601) Z(I) 2 C(SELECT 1) Z(I)\nrelease primary\n");
}

static void bind_on_another_backend_is_parsed_there_first(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    st->log_size = 0;
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    story_client(st, "B(a) E S");
    story_expect(st, "primary: P(sg|SELECT 1) B(sg) E S\n");
    story_server(st, 0, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(1) C(SELECT 1) Z(I)\nrelease primary\n");
    story_client(st, "B(a) E S");
    story_server(st, 0, "2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "primary: B(sg) E S\nclient: 2 D(1) C(SELECT 1) Z(I)\nrelease primary\n");
}

static void a_stale_plan_is_told_to_whom_no_description_comes(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 1;
    story_client(st, "P(a|SELECT 1) D(S|a) S");
    story_server(st, 0, "1 t T(x) Z(I)");
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_server(st, 0, "E(0A000|RevalidateCachedQuery) Z(I)");
    story_expect(st, "primary: B(sg) E S\nclient: E(0A000) Z(I)\nrelease primary\n");
    story_client(st,
                 "B(a) D(P) E S"); /* this one sees what it gets: it is parsed again elsewhere */
    story_server(st, 0, "E(0A000|RevalidateCachedQuery) Z(I)");
    story_expect(st, "primary: B(sg) D(P) E S\nclose primary\n"
                     "primary: P(sg|SELECT 1) B(sg) D(P) E S\n");
}

static void an_error_undoes_the_skipped_parse(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1/0) B() E P(a|SELECT 1) S");
    story_server(st, 1, "1 2 E(22012) Z(I)");
    st->log_size = 0;
    story_client(st, "P(a|SELECT 1) S");
    story_expect(st, "replica: P(sg|SELECT 1) S\n");
    story_server(st, 1, "1 Z(I)");
    story_expect(st, "client: 1 Z(I)\nrelease replica\n");
}

static void a_name_that_a_skipped_batch_would_have_given_is_not_used_ahead(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1/0) B() E P(a|SELECT 1) S B(a) E S");
    story_expect(st, "replica: P(|SELECT 1/0) B() E P(sg|SELECT 1) S\n");
    story_server(st, 1, "1 2 E(22012) Z(I)");
    story_expect(st, "client: 1 2 E(22012) Z(I)\n"
                     "release replica\n"
                     "primary: B(a) E S\n");
}

static void a_closed_name_may_be_given_again(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    story_client(st, "C(Sa) P(a|SELECT 2) S");
    story_server(st, 1, "1 Z(I)");
    story_expect(st, "replica: P(sg|SELECT 1) S\nclient: 1 Z(I)\nrelease replica\n"
                     "replica: P(sg|SELECT 2) S\nclient: 3\nclient: 1 Z(I)\nrelease replica\n");
}

static void the_list_of_a_backend_is_bounded(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) P(b|SELECT 2) P(c|SELECT 3) P(d|SELECT 4) S");
    story_server(st, 1, "1 1 1 1 Z(I)");
    st->log_size = 0;
    story_client(st, "P(e|SELECT 5) S");
    story_expect(st, "replica: C(Ssg) P(sg|SELECT 5) S\n");
    story_server(st, 1, "3 1 Z(I)");
    story_expect(st, "client: 1 Z(I)\nrelease replica\n");
}

/* The Close that was to make room is skipped with what it made room for. */
static void what_an_error_has_kept_from_making_room_is_still_there(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(LISTEN x) P(a|SELECT 1) P(b|SELECT 2) P(c|SELECT 3) P(d|SELECT 4) S");
    story_server(st, 0, "C(LISTEN) Z(I) 1 1 1 1 Z(I)");
    st->log_size = 0;
    story_client(st, "P(|SELECT 1/0) B() E P(e|SELECT 5) S");
    story_server(st, 0, "1 2 E(22012) Z(I)");
    story_expect(st, "primary: P(|SELECT 1/0) B() E C(Ssg) P(sg|SELECT 5) S\n"
                     "client: 1 2 E(22012) Z(I)\n");
    story_client(st, "B(a) E S");
    story_expect(st, "primary: B(sg) E S\n");
}

static void the_unnamed_statement_outlives_its_backend(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) S");
    story_server(st, 1, "1 Z(I)");
    st->topology.nodes[1].drained = true;
    st->log_size = 0;
    story_client(st, "B() E S");
    story_expect(st, "primary: P(|SELECT 1) B() E S\n");
    story_server(st, 0, "1 2 D(1) C(SELECT 1) Z(I)");
    story_client(st, "Q(BEGIN) Q(COMMIT) B() E S");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: 2 D(1) C(SELECT 1) Z(I)\nrelease primary\n"
                     "client: C(BEGIN) Z(T) C(COMMIT) Z(I)\n"
                     "primary: P(sg_error|switchgear provokes an error) E S\n"
                     "client: E(26000) Z(I)\nrelease primary\n");
}

static void the_class_of_an_unnamed_statement_is_its_own(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) P(|INSERT INTO t VALUES (1)) S");
    story_server(st, 0, "1 1 Z(I)");
    st->log_size = 0;
    story_client(st, "B() E S"); /* not a read because the batch's first Parse was one */
    story_expect(st, "primary: B() E S\n");
    assert_true(st->session.last_write_ns == ROUTER_NEVER_NS);
}

static void an_unknown_portal_is_the_servers_to_refuse(void **state)
{
    struct story *st = *state;
    story_client(st, "E(p) S");
    story_server(st, 1, "E(34000) Z(I)");
    story_expect(st, "replica: E S\nclient: E(34000) Z(I)\nrelease replica\n");
}

static void flush_is_answered_without_sync(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) D(S) H");
    story_server(st, 1, "1 t T(a)");
    story_expect(st, "replica: P(|SELECT 1) D(S) H\nclient: 1 t T\n");
    story_client(st, "B() E S");
    story_server(st, 1, "2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "replica: B() E S\nclient: 2 D(1) C(SELECT 1) Z(I)\nrelease replica\n");
}

static void an_error_behind_a_flush_skips_to_sync(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) D(S) H");
    story_server(st, 1, "E(42P01)");
    story_client(st, "B() E");
    story_client(st, "S");
    story_server(st, 1, "Z(I)");
    story_expect(st, "replica: P(|SELECT 1) D(S) H\nclient: E(42P01)\n"
                     "replica: S\nclient: Z(I)\nrelease replica\n");
}

static void a_query_that_the_server_skipped_leaves_it_waiting_for_sync(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|nonsense) Q(SELECT 1)");
    story_server(st, 0, "E(42601)");
    story_expect(st, "primary: P(|nonsense) H Q(SELECT 1)\nclient: E(42601)\n");
    story_client(st, "Q(SELECT 2)");
    story_expect(st, ""); /* skipped too, and the connection is not given back */
    story_client(st, "S");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: S\nclient: Z(I)\nrelease primary\n");
}

static void a_connection_in_which_a_query_was_skipped_is_not_given_back_as_it_is(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|nonsense) Q(SELECT 1)");
    story_server(st, 0, "E(42601)");
    story_expect(st, "primary: P(|nonsense) H Q(SELECT 1)\nclient: E(42601)\n");
    story_leave(st);
    story_expect(st, "drain primary\nprimary: S\n");
    story_server(st, 0, "Z(I)");
}

/* The connection's list is full: what falls out of it is closed, but for an error ahead of that. */
static void what_fell_out_and_was_not_closed_is_there_still(void **state)
{
    struct story *st = *state;
    static const char *const parses[] = {"P(a|SELECT 1) S", "P(b|SELECT 2) S", "P(c|SELECT 3) S",
                                         "P(d|SELECT 4) S"};
    for (size_t i = 0; i < sizeof(parses) / sizeof(parses[0]); i++) {
        story_client(st, parses[i]);
        story_server(st, 1, "1 Z(I)");
    }
    st->log_size = 0;
    story_client(st, "P(|SELECT 1/0) B() E() P(e|SELECT 5) S");
    story_server(st, 1, "1 2 E(22012) Z(I)");
    story_expect(st, "replica: P(|SELECT 1/0) B() E C(Ssg) P(sg|SELECT 5) S\n"
                     "client: 1 2 E(22012) Z(I)\nrelease replica\n");
    story_client(st, "B(a) E() S");
    story_expect(st, "replica: B(sg) E S\n");
    story_server(st, 1, "2 C(SELECT 1) Z(I)");
    story_client(st, "P(e|SELECT 5) S");
    st->log_size = 0;
    story_server(st, 1, "3 1 Z(I)");
    story_expect(st, "client: 1 Z(I)\nrelease replica\n");
}

/* Were the Parse skipped, the Bind would meet what another client has left there. */
static void an_unnamed_statement_is_used_when_its_parse_is_answered(void **state)
{
    struct story *st = *state;
    story_client(st, "P(n|SELEC) P(|SELECT 1) B() E() S B() E() S");
    story_expect(st, "primary: P(sg|SELEC) P(|SELECT 1) B() E S\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: E(42601) Z(I)\nrelease primary\n"
                     "primary: P(sg_error|switchgear provokes an error) E S\n");
}

static void one_that_is_parsed_again_for_a_bind_too(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 1;
    story_client(st, "P(|SELECT 1) S");
    story_server(st, 0, "1 Z(I)");
    st->backends[0]->unnamed_id = 0; /* another client came in between */
    st->log_size = 0;
    story_client(st, "P(n|SELEC) B() E() S B() E() S");
    story_expect(st, "primary: P(sg|SELEC) P(|SELECT 1) B() E S\n");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "client: E(42601) Z(I)\nrelease primary\nprimary: P(|SELECT 1) B() E S\n");
}

static void the_unnamed_statement_outlives_what_is_skipped(void **state)
{
    static const char *const skipped[] = {"P(|SELECT 2) S", "P(|SELECT 2) C(S) P(|SELECT 3) S",
                                          "Q(SELECT 2) P(|SELECT 3) S"};
    struct story *st = *state;
    st->topology.nodes_count = 1;
    for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++) {
        story_client(st, "P(|SELECT 1) S");
        story_server(st, 0, "1 Z(I)");
        story_client(st, "P(n|SELEC)");
        story_client(st, skipped[i]);
        story_server(st, 0, "E(42601) Z(I)");
        st->log_size = 0;
        story_client(st, "B() E() S");
        story_expect(st, "primary: P(|SELECT 1) B() E S\n");
        story_server(st, 0, "1 2 C(SELECT 1) Z(I)");
        st->log_size = 0;
    }
}

static void but_not_a_parse_that_fails(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 1;
    story_client(st, "P(|SELECT 1) S");
    story_server(st, 0, "1 Z(I)");
    story_client(st, "P(n|SELECT 2) P(|SELEC) P(|SELECT 3) S");
    story_server(st, 0, "1 E(42601) Z(I)");
    st->log_size = 0;
    story_client(st, "B() E() S");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n");
}

/* What the next batch makes of it is not undone with what was skipped in this one. */
static void nor_what_came_behind_the_sync(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 1;
    story_client(st, "P(|SELECT 1) S");
    story_server(st, 0, "1 Z(I)");
    story_client(st, "P(n|SELEC) P(|SELECT 2) S P(|SELECT 3) S");
    story_server(st, 0, "E(42601) Z(I) 1 Z(I)");
    st->log_size = 0;
    story_client(st, "B() E() S");
    story_expect(st, "primary: B() E S\n");
    story_server(st, 0, "2 C(SELECT 1) Z(I)");
    story_client(st, "P(n|SELEC) P(|SELECT 2) S Q(SELECT 3)");
    story_server(st, 0, "E(42601) Z(I) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "B() E() S");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n");
}

static void what_did_not_run_has_forgotten_nothing(void **state)
{
    static const char *const failed[] = {"Q(SELECT 1/0; DEALLOCATE ALL)", "Q(DISCARD ALL)"};
    struct story *st = *state;
    st->topology.nodes_count = 1;
    story_client(st, "P(a|SELECT 1) S");
    story_server(st, 0, "1 Z(I)");
    for (size_t i = 0; i < sizeof(failed) / sizeof(failed[0]); i++) {
        story_client(st, failed[i]);
        story_server(st, 0, "E(25001) Z(I)");
        st->log_size = 0;
        story_client(st, "B(a) E() S");
        story_expect(st, "primary: B(sg) E S\n");
        story_server(st, 0, "2 C(SELECT 1) Z(I)");
    }
    story_client(st, "Q(DEALLOCATE ALL; SELECT 1/0)");
    story_server(st, 0, "C(DEALLOCATE ALL) E(22012) Z(I)");
    st->log_size = 0;
    story_client(st, "B(a) E() S");
    story_expect(st, "primary: B(a) E S\n");
}

static void what_is_parsed_behind_deallocate_all_is_there(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 1;
    story_client(st, "P(a|SELECT 1) P(d|DEALLOCATE ALL) S");
    story_server(st, 0, "1 1 Z(I)");
    story_client(st, "B(d) E() P(b|SELECT 2) S");
    story_server(st, 0, "2 C(DEALLOCATE ALL)"); /* what comes behind it waits for that */
    story_server(st, 0, "1 Z(I)");
    st->log_size = 0;
    story_client(st, "B(b) E() S B(a) E() S");
    story_expect(st, "primary: B(sg) E S B(a) E S\n");
}

/* The proxy's own BEGIN has left an unnamed portal. */
static void what_asks_for_an_unbound_portal_does_not_find_ours(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) D(P) S");
    story_expect(st, "client: C(BEGIN) Z(T)\nprimary: P(|BEGIN) B() E C(P) D(P) S\n");
    story_server(st, 0, "1 2 C(BEGIN) 3 E(34000) Z(E)");
    story_expect(st, "client: E(34000) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    st->log_size = 0;
    story_client(st, "P(|BEGIN) B() E() S D(P) S"); /* but the one of its own BEGIN */
    story_expect(st, "client: 1 2 C(BEGIN) Z(T)\nprimary: P(|BEGIN) B() E D(P) S\n");
}

static void batches_that_parse_for_themselves_do_not_wait(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) B() E() S P(|SELECT 2) B() E() S");
    story_expect(st, "replica: P(|SELECT 1) B() E S P(|SELECT 2) B() E S\n");
}

/* ---- the room that names have ---- */

/* Names what fits. Returns how many. */
static uint32_t fill(struct story *st)
{
    char message[64];
    for (uint32_t i = 0;; i++) {
        (void)snprintf(message, sizeof(message), "P(fill%u|DELETE FROM t WHERE i = %u) S", i, i);
        story_client(st, message);
        const bool refused = strstr(st->log, "sg_error") != NULL;
        const bool evicts = strstr(st->log, "C(Ssg)") != NULL;
        story_server(st, 0, refused ? "E(42601) Z(I)" : evicts ? "3 1 Z(I)" : "1 Z(I)");
        if (refused)
            return i;
        st->log_size = 0;
        st->log[0] = '\0';
        assert_true(i < 100);
    }
}

static void names_have_room_for_so_many_bytes(void **state)
{
    struct story *st = *state;
    const uint32_t count = fill(st);
    assert_true(count > 4);
    assert_non_null(strstr(st->log, "client: E(54000) Z(I)\n"));
    st->log_size = 0;
    story_client(st, "C(Sfill0) P(next|DELETE FROM t) S"); /* what is closed makes room */
    story_server(st, 0, "3 1 Z(I)");                       /* that of what falls out there */
    assert_non_null(strstr(st->log, "1 Z(I)\n"));
    st->log_size = 0;
    story_client(st, "B(next) E S");
    story_server(st, 0, "2 C(DELETE 1) Z(I)");
    assert_non_null(strstr(st->log, "client: 2 C(DELETE 1) Z(I)\n"));
    story_client(st, "Q(DEALLOCATE ALL)");
    story_server(st, 0, "C(DEALLOCATE ALL) Z(I)");
    assert_int_equal(fill(st), count);
}

static void long_texts_take_more_of_it(void **state)
{
    struct story *st = *state;
    char text[1500];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (uint32_t i = 0; i < 3; i++) {
        char message[1600];
        (void)snprintf(message, sizeof(message), "P(n%u|DELETE FROM t%u /*%s*/) S", i, i, text);
        story_client(st, message);
        story_server(st, 0, i < 2 ? "1 Z(I)" : "E(42601) Z(I)");
    }
    assert_non_null(strstr(st->log, "client: E(54000) Z(I)\n"));
}

static void what_is_undone_takes_nothing(void **state)
{
    struct story *st = *state;
    for (uint32_t i = 0; i < 100; i++) {
        st->log_size = 0;
        story_client(st, "P(n|DELETE FROM nowhere) S"); /* it fails each time */
        story_server(st, 0, "E(42P01) Z(I)");
        assert_non_null(strstr(st->log, "client: E(42P01) Z(I)\n"));
        st->log_size = 0;
        story_client(st, "P(|nonsense) P(m|DELETE FROM t) S"); /* and this is skipped */
        story_server(st, 0, "E(42601) Z(I)");
    }
    st->log_size = 0;
    story_client(st, "P(n|DELETE FROM t) S");
    story_server(st, 0, "1 Z(I)");
    assert_non_null(strstr(st->log, "client: 1 Z(I)\n"));
}

static void statements_of_ours_have_the_same_room(void **state)
{
    struct story *st = *state;
    (void)fill(st);
    st->log_size = 0;
    story_client(st, "P(ours|SHOW switchgear.last_route) S");
    story_expect(st, "client: E(54000) Z(I)\n");
    story_client(st, "C(Sfill0) P(ours|SHOW switchgear.last_route) S");
    story_expect(st, "client: 3 1 Z(I)\n");
}

static void in_a_block_it_fails_that(void **state)
{
    struct story *st = *state;
    (void)fill(st);
    story_client(st, "Q(BEGIN) Q(DELETE FROM t)");
    story_server(st, 0, "1 2 C(BEGIN) C(DELETE 1) Z(T)");
    st->log_size = 0;
    story_client(st, "P(more|DELETE FROM t WHERE i = 1000) S");
    story_server(st, 0, "E(42601) Z(E)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) S\n"
                     "client: E(54000) Z(E)\n");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_second_named_parse_is_42P05),
        STORY(what_is_wrong_with_the_text_comes_before_the_name),
        STORY(bind_on_another_backend_is_parsed_there_first),
        STORY(a_stale_plan_is_told_to_whom_no_description_comes),
        STORY(an_error_undoes_the_skipped_parse),
        STORY(a_name_that_a_skipped_batch_would_have_given_is_not_used_ahead),
        STORY(a_closed_name_may_be_given_again),
        STORY(the_list_of_a_backend_is_bounded),
        STORY(what_an_error_has_kept_from_making_room_is_still_there),
        STORY(the_unnamed_statement_outlives_its_backend),
        STORY(the_class_of_an_unnamed_statement_is_its_own),
        STORY(an_unknown_portal_is_the_servers_to_refuse),
        STORY(flush_is_answered_without_sync),
        STORY(an_error_behind_a_flush_skips_to_sync),
        STORY(a_query_that_the_server_skipped_leaves_it_waiting_for_sync),
        STORY(what_fell_out_and_was_not_closed_is_there_still),
        STORY(an_unnamed_statement_is_used_when_its_parse_is_answered),
        STORY(one_that_is_parsed_again_for_a_bind_too),
        STORY(the_unnamed_statement_outlives_what_is_skipped),
        STORY(but_not_a_parse_that_fails),
        STORY(nor_what_came_behind_the_sync),
        STORY(what_asks_for_an_unbound_portal_does_not_find_ours),
        STORY(what_did_not_run_has_forgotten_nothing),
        STORY(what_is_parsed_behind_deallocate_all_is_there),
        STORY(batches_that_parse_for_themselves_do_not_wait),
        STORY(a_connection_in_which_a_query_was_skipped_is_not_given_back_as_it_is),
        STORY(names_have_room_for_so_many_bytes),
        STORY(long_texts_take_more_of_it),
        STORY(what_is_undone_takes_nothing),
        STORY(statements_of_ours_have_the_same_room),
        STORY(in_a_block_it_fails_that),
    };
    return cmocka_run_group_tests_name("core_prepared", tests, NULL, NULL);
}
