/* SPDX-License-Identifier: PostgreSQL
 *
 * Portals: what they change is known though others are bound or executed in between; and what is
 * provoked, or answered twice, leaves the rest of a session as it was.
 */
#include <stdio.h>

#include "core_settings.h"
#include "core_story.h"

static void a_setting_by_a_portal_that_has_a_name_is_followed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "P(|SET work_mem = '8MB') B(|p) E(p) S Q(COMMIT)");
    story_server(st, 1, "1 2 C(SET) Z(T)");
    story_server(st, 1, "C(COMMIT) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, "primary: P(|set work_mem = '8MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(INSERT INTO t VALUES (1))\n");
}

static void a_setting_is_followed_though_another_portal_is_bound_before_it_runs(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SET work_mem = '8MB') B() P(x|INSERT INTO t VALUES (1)) B(x|p) E() S");
    story_server(st, 0, "1 2 1 2 C(SET) Z(I)");
    story_replicate(st);
    st->log_size = 0;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: P(|set work_mem = '8MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 1)\n");
}

static void the_portal_of_a_later_batch_is_not_forgotten_with_an_earlier_one(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1)) P(|SET work_mem = '8MB') B() H");
    story_server(st, 0, "C(INSERT 0 1) Z(I) 1 2");
    story_client(st, "E S");
    story_server(st, 0, "C(SET) Z(I)");
    story_replicate(st);
    st->log_size = 0;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: P(|set work_mem = '8MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 1)\n");
}

/* Who wants one row asks for one. */
static void a_function_that_sets_and_is_suspended_behind_its_row_has_set(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT set_config('work_mem', '8MB', false)) B() E(|1) S");
    story_server(st, 0, "1 2 D(8MB) s Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
    st->log_size = 0;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) T(a) D(1) C(SELECT 1) Z(I)");
    assert_non_null(strstr(st->log, "replica: P(|"));
    assert_non_null(strstr(st->log, "8MB"));
}

static void so_many_portals_that_would_change_something_pin(void **state)
{
    struct story *st = *state;
    char bytes[64];
    story_client(st, "Q(BEGIN)");
    for (int i = 0; i < 65; i++) {
        (void)snprintf(bytes, sizeof(bytes), "P(|SET work_mem = '%d') B(|p%d) H", i, i);
        story_client(st, bytes);
        story_server(st, 0, i == 0 ? "1 2 C(BEGIN) 1 2" : "1 2");
    }
    assert_int_equal(st->session.pins, ROUTER_PIN_SET | ROUTER_PIN_OTHER);
}

/* ---- COMMIT in a text that began in a failed block ---- */

static void what_a_string_sets_behind_the_end_of_a_failed_block_is_committed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(SELECT 1/0)");
    story_server(st, 0, "1 2 C(BEGIN) E(22012) Z(E)");
    story_client(st, "Q(ROLLBACK; BEGIN; SET work_mem = '8MB'; COMMIT)");
    story_server(st, 0, "C(ROLLBACK) C(BEGIN) C(SET) C(COMMIT) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: P(|set work_mem = '8MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 1)\n");
}

static void a_commit_that_says_rollback_has_kept_nothing(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(SET work_mem = '8MB') P(|SELECT 1/0) B() E P(|COMMIT) B() E S");
    story_server(st, 0, "1 2 C(BEGIN) C(SET) Z(T)");
    story_server(st, 0, "1 2 E(22012) Z(E)");
    story_client(st, "P(|COMMIT) B() E S");
    story_server(st, 0, "1 2 C(ROLLBACK) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

/* ---- errors of our own ---- */

/* It comes in two pieces and is too long to wait for: nobody could tell a server again what it is.
 */
static void parse_long(struct story *st)
{
    char text[3000];
    uint8_t bytes[3000];
    (void)snprintf(text, sizeof(text), "P(|SELECT '%0*d') S", 2400, 0);
    const size_t size = story_encode(true, text, bytes, sizeof(bytes));
    story_client_bytes(st, bytes, 2200);
    story_client_bytes(st, bytes + 2200, size - 2200);
    story_server(st, 0, "1 Z(I)");
    assert_int_equal(st->session.pins, ROUTER_PIN_LONG);
    st->log_size = 0;
}

static void an_error_that_is_provoked_leaves_the_unnamed_statement_alone(void **state)
{
    struct story *st = *state;
    parse_long(st);
    story_client(st, "P(x|SELECT 1) P(x|SELECT 1) S");
    story_server(st, 0, "1 E(42601) Z(I)");
    st->log_size = 0;
    story_client(st, "B() E S");
    story_expect(st, "primary: B() E S\n");
}

static void a_long_parse_in_a_failed_block_is_its_servers_to_refuse(void **state)
{
    struct story *st = *state;
    char text[3000];
    uint8_t bytes[3000];
    (void)snprintf(text, sizeof(text), "P(|SELECT '%0*d') S", 2400, 0);
    const size_t size = story_encode(true, text, bytes, sizeof(bytes));
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1/0)");
    story_server(st, 1, "1 2 C(BEGIN) E(22012) Z(E)");
    story_client_bytes(st, bytes, 2200);
    story_client_bytes(st, bytes + 2200, size - 2200);
    st->log_size = 0;
    story_server(st, 1, "E(25P02) Z(E)");
    story_expect(st, "client: E(25P02) Z(E)\n");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
}

static void a_long_unnamed_statement_outlives_a_parse_that_is_skipped(void **state)
{
    struct story *st = *state;
    parse_long(st);
    story_client(st, "B(x) P(|SELECT 2) S");
    story_server(st, 0, "E(26000) Z(I)");
    st->log_size = 0;
    story_client(st, "B() E S");
    story_expect(st, "primary: B() E S\n");
}

static void two_batches_that_fail_leave_the_unnamed_statement_of_before(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) S");
    story_server(st, 0, "1 Z(I)");
    st->log_size = 0;
    story_client(st, "B(x) P(|INSERT INTO t VALUES (2)) S B(x) P(|INSERT INTO t VALUES (3)) S");
    story_server(st, 0, "E(26000) Z(I) E(26000) Z(I)");
    st->log_size = 0;
    story_client(st, "B() E S");
    story_expect(st, "primary: P(|INSERT INTO t VALUES (1)) B() E S\n");
}

static void a_long_unnamed_statement_that_a_query_of_ours_dropped_does_not_exist(void **state)
{
    struct story *st = *state;
    parse_long(st);
    st->session.backend->unnamed_id = 0;
    st->log_size = 0;
    story_client(st, "B() E S");
    story_server(st, 0, "E(42601) Z(I)");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n"
                     "client: E(26000) Z(I)\n");
}

/* ---- bytes of a server half-way ---- */

static void an_answer_of_ours_waits_for_the_rest_of_a_notice(void **state)
{
    struct story *st = *state;
    uint8_t notice[64];
    (void)story_encode(false, "N", notice, sizeof(notice));
    st->nobody_drains = true;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_server_bytes(st, 0, notice, 10);
    st->log_size = 0;
    st->session.cancelled = true;
    story_client(st, "Q(SELECT 2)");
    story_expect(st, "");
}

/* ---- behind a Flush ---- */

/* Its settings flew ahead of what was flushed: what is reported of them is not for the client. */
static void what_a_later_batch_sets_is_reported_though_settings_flew_ahead(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET work_mem = '1MB')");
    story_server(st, 0, "C(SET) Z(I)");
    story_replicate(st);
    st->session.last_write_ns = ROUTER_NEVER_NS; /* to the primary, which another has used */
    st->backends[0]->settings_hash = CORE_SETTINGS_UNKNOWN;
    story_client(st, "P(|SELECT 1) B() E H");
    story_server(st, 0, "1 2 C(RESET) 1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) 1 2 D(1) C(SELECT 1)");
    story_client(st, "P(|SET application_name = 'x') B() E S");
    st->log_size = 0;
    story_server(st, 0, "1 2 C(SET) S(application_name|x) Z(I)");
    story_expect(st, "client: 1 2 C(SET) S Z(I)\nrelease primary\n");
}

static void
a_block_that_ended_behind_a_flush_does_not_begin_again_when_its_replica_dies(void **state)
{
    struct story *st = *state;
    st->database.until_write = true;
    story_client(st, "Q(BEGIN) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    story_client(st, "P(|COMMIT) B() E H");
    story_server(st, 1, "1 2 C(COMMIT)");
    st->log_size = 0;
    story_server_dies(st, 1);
    assert_non_null(strstr(st->log, "client: E(FATAL 08006)"));
}

/* ---- a BEGIN of ours that fails ---- */

/* What is behind it in the same flight is skipped too, and its client waits for it. */
static void a_block_that_cannot_begin_ends_who_has_flushed_more_behind_it(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) P(|SELECT 1) B() E H");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "primary: P(|BEGIN) B() E Q(INSERT INTO t VALUES (1)) P(|SELECT 1) B() E H\n");
    story_server(st, 0, "E(57014)");
    assert_non_null(strstr(st->log, "client: E(FATAL 57014)"));
}

/* ---- answered twice ---- */

static void a_close_that_was_answered_is_not_answered_again_by_a_replay(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SELECT 1) C(Sa) H P(|SELECT 2) B() E S");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I) 3 1");
    story_server_dies(st, 0);
    story_expect(st, "primary: Q(SELECT 1) C(Sa) H P(|SELECT 2) B() E S\n"
                     "client: T D(1) C(SELECT 1) Z(I) 3 1\n"
                     "close primary\n"
                     "primary: P(|SELECT 2) B() E S\n");
    story_server(st, 0, "1 2 D(2) C(SELECT 1) Z(I)");
    story_expect(st, "client: 2 D(2) C(SELECT 1) Z(I)\nrelease primary\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_setting_by_a_portal_that_has_a_name_is_followed),
        STORY(a_setting_is_followed_though_another_portal_is_bound_before_it_runs),
        STORY(the_portal_of_a_later_batch_is_not_forgotten_with_an_earlier_one),
        STORY(a_function_that_sets_and_is_suspended_behind_its_row_has_set),
        STORY(so_many_portals_that_would_change_something_pin),
        STORY(what_a_string_sets_behind_the_end_of_a_failed_block_is_committed),
        STORY(a_commit_that_says_rollback_has_kept_nothing),
        STORY(an_error_that_is_provoked_leaves_the_unnamed_statement_alone),
        STORY(a_long_parse_in_a_failed_block_is_its_servers_to_refuse),
        STORY(a_long_unnamed_statement_outlives_a_parse_that_is_skipped),
        STORY(two_batches_that_fail_leave_the_unnamed_statement_of_before),
        STORY(a_long_unnamed_statement_that_a_query_of_ours_dropped_does_not_exist),
        STORY(an_answer_of_ours_waits_for_the_rest_of_a_notice),
        STORY(what_a_later_batch_sets_is_reported_though_settings_flew_ahead),
        STORY(a_block_that_ended_behind_a_flush_does_not_begin_again_when_its_replica_dies),
        STORY(a_block_that_cannot_begin_ends_who_has_flushed_more_behind_it),
        STORY(a_close_that_was_answered_is_not_answered_again_by_a_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
