/* SPDX-License-Identifier: PostgreSQL
 *
 * What a client sets goes where the client goes, and no further.
 */
#include "core_internal.h"
#include "core_settings.h"
#include "core_stmt.h"
#include "core_story.h"

static void a_set_pins_nobody_and_goes_ahead_of_the_next_statement_elsewhere(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET work_mem = '1MB')");
    story_server(st, 0, "C(SET) Z(I)");
    story_expect(st, "primary: Q(SET work_mem = '1MB')\nclient: C(SET) Z(I)\nrelease primary\n");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: P(|set work_mem = '1MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 1)\n");
    story_server(st, 1, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease replica\n");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n"); /* it has them */
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
}

static void a_set_that_failed_or_was_rolled_back_is_forgotten(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET work_mem = 'x')");
    story_server(st, 0, "E(22023) Z(I)");
    story_client(st, "Q(BEGIN) Q(SET work_mem = '1MB') Q(ROLLBACK)");
    story_server(st, 0, "1 2 C(BEGIN) C(SET) Z(T)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
}

/* As if its start-up packet had set work_mem; the primary has it. */
static void brought_along(struct story *st)
{
    static const struct core_setting own = {"work_mem", "set work_mem = '2MB'", 0};
    struct core_profile *plain = st->session.profile;
    struct core_settings *start = core_settings_with(&st->worker, st->session.settings, &own, true);
    st->session.profile = core_profile_get(&st->worker, &st->group, start);
    core_profile_release(&st->worker, plain);
    core_settings_release(&st->worker, st->session.settings);
    st->session.settings = start;
    story_client(st, "Q(RESET ALL)");
    story_server(st, 0, "C(SET) Z(I)");
}

static void a_reset_goes_back_to_what_the_client_brought_along(void **state)
{
    struct story *st = *state;
    brought_along(st);
    story_server(st, 0, "C(RESET) Z(I)");
    story_expect(st, "primary: Q(set work_mem = '2MB';)\nprimary: Q(RESET ALL)\n"
                     "primary: Q(set work_mem = '2MB';)\n"
                     "client: C(RESET)\n");
    story_client(st, "Q(SELECT 1)"); /* waits until the server has them again */
    story_expect(st, "");
    story_server(st, 0, "C(RESET) S(work_mem|2MB) Z(I)");
    story_expect(st, "client: S Z(I)\nrelease primary\nreplica: P(|set work_mem = '2MB') B() E "
                     "P(|BEGIN) B() E P(|COMMIT) B() E Q(SELECT 1)\n");
    story_server(st, 1, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease replica\n");
}

/* RESET ALL would take it back. */
static void a_reset_in_a_block_leaves_its_set_local_alone(void **state)
{
    struct story *st = *state;
    brought_along(st);
    story_server(st, 0, "C(RESET) Z(I)");
    story_server(st, 0, "C(SET) Z(I)");
    story_client(st, "Q(BEGIN) Q(SET LOCAL search_path = a)");
    story_server(st, 0, "1 2 C(BEGIN) C(SET) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(RESET work_mem)");
    story_server(st, 0, "C(RESET) Z(T)");
    story_expect(st, "primary: Q(RESET work_mem)\nprimary: Q(set work_mem = '2MB';)\n"
                     "client: C(RESET)\n");
    story_server(st, 0, "C(SET) Z(T)");
    story_expect(st, "client: Z(T)\n");
}

/* Beyond ASCII nothing is put into a string: core_splice.c. */
static void a_set_behind_the_reset_needs_no_mending(void **state)
{
    struct story *st = *state;
    brought_along(st);
    story_server(st, 0, "C(RESET) Z(I)");
    story_server(st, 0, "C(SET) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(BEGIN; RESET work_mem; SET work_mem = '3MB' --\xc3\xa4)");
    story_server(st, 0, "C(BEGIN) C(RESET) C(SET) Z(T)");
    story_expect(st, "primary: Q(BEGIN; RESET work_mem; SET work_mem = '3MB' --\xc3\xa4)\n"
                     "client: C(BEGIN) C(RESET) C(SET) Z(T)\n");
}

static void a_pinned_session_on_a_connection_that_goes_with_it_is_mended_too(void **state)
{
    struct story *st = *state;
    brought_along(st);
    story_server(st, 0, "C(RESET) Z(I)");
    story_server(st, 0, "C(SET) Z(I)");
    story_client(st, "Q(LISTEN a)");
    story_server(st, 0, "C(LISTEN) Z(I)");
    st->session.backend->broken = true;
    st->log_size = 0;
    story_client(st, "Q(RESET work_mem)");
    story_server(st, 0, "C(RESET) Z(I)");
    story_expect(st, "primary: Q(RESET work_mem)\nprimary: Q(set work_mem = '2MB';)\n"
                     "client: C(RESET)\n");
    story_server(st, 0, "C(SET) Z(I)");
    st->log_size = 0;
}

static void what_cannot_be_followed_pins(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT set_config('work_mem', 1 || 'MB', false))");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    story_client(st, "Q(SELECT 1)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "primary: Q(SELECT set_config('work_mem', 1 || 'MB', false))\n"
                     "client: T D(1) C(SELECT 1) Z(I)\n"
                     "primary: Q(SELECT 1)\nclient: T D(1) C(SELECT 1) Z(I)\n");
    story_leave(st); /* and what it left is cleaned up */
    story_expect(st, "primary: " STORY_RESET "\n");
}

static void a_named_statement_has_another_name_under_another_search_path(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|INSERT INTO t VALUES (1)) S");
    story_server(st, 0, "1 Z(I)");
    struct core_stmt *stmt = core_names_find(st->session.names, core_span("a"));
    char first[CORE_SERVER_NAME_SIZE + 1];
    memcpy(first, core_stmt_under(&st->session, stmt)->server_name, sizeof(first));
    assert_string_equal(first, stmt->server_name);
    story_client(st, "Q(SET search_path = 'x')");
    story_server(st, 0, "C(SET) Z(I)");
    assert_string_not_equal(core_stmt_under(&st->session, stmt)->server_name, first);
    story_client(st, "Q(RESET search_path)");
    story_server(st, 0, "C(RESET) Z(I)");
    assert_string_equal(core_stmt_under(&st->session, stmt)->server_name, first);
    story_client(st, "Q(BEGIN) Q(SET LOCAL search_path = 'x')");
    story_server(st, 0, "1 2 C(BEGIN) C(SET) Z(T)");
    assert_string_not_equal(core_stmt_under(&st->session, stmt)->server_name, first);
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    assert_string_equal(core_stmt_under(&st->session, stmt)->server_name, first);
}

static void unlisten_all_releases_what_listen_pinned(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(LISTEN a)");
    story_server(st, 0, "C(LISTEN) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_LISTEN);
    story_client(st, "Q(SELECT pg_advisory_lock(1))");
    story_server(st, 0, "T(a) D() C(SELECT 1) Z(I)");
    story_client(st, "Q(UNLISTEN *)");
    story_server(st, 0, "C(UNLISTEN) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_ADVISORY_LOCK);
    st->log_size = 0;
    story_client(st, "Q(SELECT pg_advisory_unlock_all())");
    story_server(st, 0, "T(a) D() C(SELECT 1) Z(I)");
    story_expect(st, "primary: Q(SELECT pg_advisory_unlock_all())\n"
                     "client: T D() C(SELECT 1) Z(I)\n"
                     "primary: Q(SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels()\n");
    story_server(st, 0, "T(a) D(f|f|f|f|f) C(SELECT 1) Z(I)");
    story_expect(st, "release primary\n");
}

/* It was decided while the BEGIN was on its way, and is sent when the session is bound by it. */
static void a_listen_pipelined_behind_a_read_only_begin_does_not_pin_to_the_replica(void **state)
{
    struct story *st = *state;
    story_client(st, "C(Sx) P(|BEGIN READ ONLY) B() E S"); /* not deferred, for its Close */
    story_client(st, "Q(LISTEN a)");
    story_expect(st, "replica: C(Sx) P(|BEGIN READ ONLY) B() E S\n");
    story_server(st, 1, "3 1 2 C(BEGIN) Z(T)");
    story_expect(st, "client: 3 1 2 C(BEGIN) Z(T)\n"
                     "replica: P(sg_error|switchgear provokes an error) S\n");
    story_server(st, 1, "E(42601) Z(E)");
    story_expect(st, "client: E(0A000) Z(E)\n");
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
}

static void what_pins_in_a_read_only_block_goes_to_the_primary(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(LISTEN a)");
    story_expect(st, "client: C(BEGIN) Z(T)\nprimary: P(|BEGIN READ ONLY) B() E Q(LISTEN a)\n");
}

static void a_write_in_a_read_only_block_moves_no_sequence(void **state)
{
    struct story *st = *state;
    st->database.keeps_sequences = true;
    story_client(st, "Q(BEGIN READ ONLY) Q(INSERT INTO t VALUES (1))");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "replica: P(|BEGIN READ ONLY) B() E Q(INSERT INTO t VALUES (1))\n");
    story_server(st, 1, "1 2 C(BEGIN) E(25006) Z(E)");
    story_expect(st, "client: E(25006) Z(E)\n"); /* the server's to refuse */
    assert_int_equal(st->session.pin, ROUTER_REASON_NONE);
}

static void a_long_text_that_sets_something_pins(void **state)
{
    struct story *st = *state;
    static char text[300 * 1024];
    memset(text, ' ', sizeof(text));
    text[0] = 'Q';
    proto_store_u32((uint8_t *)text + 1, sizeof(text) - 1);
    memcpy(text + 5, "SET work_mem = '1MB'", 20);
    text[sizeof(text) - 1] = '\0';
    story_client_bytes(st, text, sizeof(text));
    story_server(st, 0, "C(SET) Z(I)");
    assert_int_equal(st->session.pin, ROUTER_REASON_TOO_LONG);
}

/* ALTER ROLE ... SET standard_conforming_strings = off: it means other texts than our lexer reads.
 */
static void a_role_whose_strings_we_cannot_read_stays_on_the_primary(void **state)
{
    struct story *st = *state;
    uint8_t bytes[64];
    struct proto_writer w = proto_writer_make(bytes, sizeof(bytes));
    proto_write_parameter_status(&w, core_span("standard_conforming_strings"), core_span("off"));
    core_profile_learn(st->session.profile, (struct proto_span){bytes, w.size},
                       (struct proto_span){0});
    st->session.told_flags = st->session.profile->flags;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "primary: Q(SELECT 1)\nclient: T D(1) C(SELECT 1) Z(I)\nrelease primary\n");
    /* a LISTEN may have been in it, as the server reads it; nobody else is to meet that */
    assert_true(st->backends[0]->tainted && st->session.last_write_ns == st->now_ns);
    st->backends[0]->tainted = false;
    story_replicate(st);
    w.size = 0;
    proto_write_parameter_status(&w, core_span("standard_conforming_strings"), core_span("on"));
    core_profile_learn(st->session.profile, (struct proto_span){bytes, w.size},
                       (struct proto_span){0});
    st->session.told_flags = st->session.profile->flags;
    story_read_on_replica(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_role_whose_strings_we_cannot_read_stays_on_the_primary),
        STORY(a_set_pins_nobody_and_goes_ahead_of_the_next_statement_elsewhere),
        STORY(a_set_that_failed_or_was_rolled_back_is_forgotten),
        STORY(a_reset_goes_back_to_what_the_client_brought_along),
        STORY(a_reset_in_a_block_leaves_its_set_local_alone),
        STORY(a_set_behind_the_reset_needs_no_mending),
        STORY(a_pinned_session_on_a_connection_that_goes_with_it_is_mended_too),
        STORY(what_cannot_be_followed_pins),
        STORY(a_named_statement_has_another_name_under_another_search_path),
        STORY(unlisten_all_releases_what_listen_pinned),
        STORY(a_listen_pipelined_behind_a_read_only_begin_does_not_pin_to_the_replica),
        STORY(what_pins_in_a_read_only_block_goes_to_the_primary),
        STORY(a_write_in_a_read_only_block_moves_no_sequence),
        STORY(a_long_text_that_sets_something_pins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
