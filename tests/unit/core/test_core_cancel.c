/* SPDX-License-Identifier: PostgreSQL
 *
 * What a cancel request means, by what its session is doing.
 */
#include "core_story.h"

static int begin(void **state)
{
    static struct story st;
    story_begin(&st);
    *state = &st;
    return 0;
}

/* A session whose settings no server has yet. */
static int begin_with_a_setting(void **state)
{
    static struct story st;
    static const uint8_t start[] = "\0\0\0\x25\0\3\0\0user\0u\0application_name\0a'b\0";
    story_init(&st);
    story_client_bytes(&st, start, sizeof(start));
    story_server(&st, 0, "C(RESET) S(application_name|a'b) T(x) D(x) C(SELECT 1) Z(I)");
    assert_int_equal(st.session.phase, CORE_QUERY);
    st.log_size = 0;
    *state = &st;
    return 0;
}

static int end(void **state)
{
    story_end(*state);
    return 0;
}

static void refuse(struct story *st)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57014", .message = "cancelled"};
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
}

static void an_idle_session_has_nothing_to_be_cancelled(void **state)
{
    struct story *st = *state;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

static void neither_has_a_block_that_no_server_knows_of(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN)");
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_client(st, "Q(COMMIT)");
    story_expect(st, "client: C(COMMIT) Z(I)\n");
}

static void a_statement_is_cancelled_where_it_runs(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
    story_server(st, 1, "E(57014) Z(I)");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
}

static void a_batch_that_was_flushed_and_not_synced_is_cancelled_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E() H");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
}

static void a_copy_is_cancelled(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(COPY t FROM STDIN)");
    story_server(st, 0, "G");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
}

static void a_session_that_waits_leaves_the_queue(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "Q(SELECT 1)");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_WAIT);
    refuse(st);
    story_expect(st, "client: E(57014) Z(I)\n");
    st->nobody_grants = false;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

static void a_read_that_waits_to_be_repeated_leaves_the_queue(void **state)
{
    struct story *st = *state;
    st->topology.nodes_count = 3;
    story_client(st, "Q(SELECT 1)");
    const uint32_t node = st->session.backend->node;
    st->log_size = 0;
    st->nobody_grants = true;
    story_server_dies(st, node);
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_WAIT);
    refuse(st);
    story_expect(st, "client: E(57014) Z(I)\n");
}

/* The cancel would hit our own settings, and leave the connection in a state that nobody knows. */
static void what_settings_are_sent_for_fails_instead_of_the_settings(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1)");
    assert_true(st->session.preflight);
    st->log_size = 0;
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_NOTHING);
    story_expect(st, "");
    story_server(st, 1, "C(RESET) T(x) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: E(57014) Z(I)\nrelease replica\n");
    story_client(st, "Q(SELECT 1)"); /* the settings arrived, and the next statement runs */
    story_expect(st, "replica: Q(SELECT 1)\n");
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(an_idle_session_has_nothing_to_be_cancelled),
        STORY(neither_has_a_block_that_no_server_knows_of),
        STORY(a_statement_is_cancelled_where_it_runs),
        STORY(a_batch_that_was_flushed_and_not_synced_is_cancelled_too),
        STORY(a_copy_is_cancelled),
        STORY(a_session_that_waits_leaves_the_queue),
        STORY(a_read_that_waits_to_be_repeated_leaves_the_queue),
        cmocka_unit_test_setup_teardown(what_settings_are_sent_for_fails_instead_of_the_settings,
                                        begin_with_a_setting, end),
    };
    return cmocka_run_group_tests_name("core cancel", tests, NULL, NULL);
}
