/* SPDX-License-Identifier: PostgreSQL
 *
 * Replication connections: a backend of the session's own, and bytes that pass as they come.
 */
#include "core_login_story.h"

#include <stdlib.h>

#define START_UP(st, text) /* each value has its NUL */ \
    login_start_up(st, text, sizeof(text), 3u << 16)

static const char logical[] = "user\0u\0replication\0database\0application_name\0a b";

static struct core_backend *link_up(struct story *st)
{
    struct core_backend *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    core_backend_init(b, &st->worker, 0, false, st->now_ns, NULL);
    st->backends[0] = b;
    START_UP(st, logical);
    story_expect(st, "client: R(0)\nwant link\n");
    story_execute(st, core_linked(&st->session, b, st->now_ns));
    story_expect(st, "client: K Z(I)\n");
    return b;
}

static void assert_sink(const struct core_sink *sink, const char *bytes)
{
    assert_int_equal(sink->size, strlen(bytes));
    assert_int_equal(sink->count, 1);
    assert_memory_equal(sink->spans[0].base, bytes, sink->size);
}

static void settings_are_told_as_options(void **state)
{
    struct story *st = *state;
    START_UP(st, logical);
    assert_int_equal(core_login_replication(&st->session), CORE_REPLICATION_LOGICAL);
    assert_string_equal(core_login_options(&st->session), "-c application_name=a\\ b ");
    story_expect(st, "client: R(0)\nwant link\n");
}

static void false_is_an_ordinary_session(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    START_UP(st, "user\0u\0replication\0off");
    assert_int_equal(core_login_replication(&st->session), CORE_REPLICATION_NONE);
    story_expect(st, "client: R(0)\n");
}

static void what_means_nothing_is_refused(void **state)
{
    struct story *st = *state;
    START_UP(st, "user\0u\0replication\0maybe");
    story_expect(st, "client: E(FATAL 22023)\nclose client\n");
}

static void bytes_pass_as_they_come(void **state)
{
    struct story *st = *state;
    struct core_backend *b = link_up(st);
    const char *bytes = "no message at all";
    const struct proto_span in = {(const uint8_t *)bytes, strlen(bytes)};
    struct core_actions *a = core_client_data(&st->session, in, st->now_ns);
    assert_ptr_equal(a->backend, b);
    assert_sink(&a->server, bytes);
    a = core_server_data(b, in, st->now_ns);
    assert_sink(&a->client, bytes);
    assert_false(a->settle || a->release);
    assert_false(core_may_replay(&st->session));
    a = core_client_drained(&st->session, st->now_ns);
    assert_false(a->release); /* not between two messages either */
}

static void the_backend_goes_with_its_client(void **state)
{
    struct story *st = *state;
    (void)link_up(st);
    story_leave(st);
    story_expect(st, "close primary\n");
}

static void the_client_goes_with_its_backend_and_without_a_word(void **state)
{
    struct story *st = *state;
    (void)link_up(st);
    story_server_dies(st, 0);
    story_expect(st, "close primary\nclose client\n");
}

static void a_shutdown_ends_it_without_a_word(void **state)
{
    struct story *st = *state;
    static const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = "57P01", .message = "shutting down"};
    (void)link_up(st);
    story_execute(st, core_client_fatal(&st->session, &error));
    story_expect(st, "close client\nclose primary\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOGIN(settings_are_told_as_options),
        LOGIN(false_is_an_ordinary_session),
        LOGIN(what_means_nothing_is_refused),
        LOGIN(bytes_pass_as_they_come),
        LOGIN(the_backend_goes_with_its_client),
        LOGIN(the_client_goes_with_its_backend_and_without_a_word),
        LOGIN(a_shutdown_ends_it_without_a_word),
    };
    return cmocka_run_group_tests_name("core_replication", tests, NULL, NULL);
}
