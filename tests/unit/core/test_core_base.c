/* SPDX-License-Identifier: PostgreSQL
 *
 * What a client was told of its server at its log-in holds, though connections begin with other
 * parameters than before: ALTER ROLE ... SET, another configuration, another server.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_base.h"
#include "core_settings.h"
#include "core_story.h"

/* The connection to a node is a new one, which began with these ("S(name|value)" each). */
static void begin_with(struct story *st, uint32_t node, const char *parameters)
{
    struct core_backend *b = st->backends[node];
    if (b == NULL) { /* somebody has to make it */
        st->session.last_write_ns = node == 0 ? st->now_ns : 0;
        story_client(st, "Q(SELECT 1)");
        story_server(st, node, "T(a) D(1) C(SELECT 1) Z(I)");
        b = st->backends[node];
        st->session.last_write_ns = 0;
    }
    st->log_size = 0;
    free(b->params);
    b->params = malloc(1024);
    assert_non_null(b->params);
    b->params_size = (uint32_t)story_encode(false, parameters, b->params, 1024);
    b->base_hash = b->settings_hash = 0;
    b->opened_ns = st->now_ns;
}

/* The session was told of these. */
static void tell(struct story *st, const char *parameters)
{
    begin_with(st, 1, parameters);
    begin_with(st, 0, parameters);
    core_base_release(&st->worker, st->session.base);
    st->session.base = core_base_of(st->backends[0]);
    st->session.told_flags = st->session.base->flags;
}

static void what_another_connection_has_otherwise_is_set(void **state)
{
    static const struct {
        const char *told, *other, *ahead;
    } cases[] = {
        {"S(TimeZone|UTC) S(x|1)", "S(TimeZone|Asia/Tokyo) S(x|1)", "timezone',E'UTC"},
        {"S(DateStyle|ISO, MDY)", "S(DateStyle|German)", "datestyle',E'ISO, MDY"},
        {"S(IntervalStyle|postgres)", "S(IntervalStyle|iso_8601)", "intervalstyle',E'postgres"},
        {"S(client_encoding|UTF8)", "S(client_encoding|SJIS)", "client_encoding',E'UTF8"},
        {"S(standard_conforming_strings|on)", "S(standard_conforming_strings|off)",
         "standard_conforming_strings',E'on"},
        {"S(application_name|a\\b)", "S(application_name|b)", "application_name',E'a\\\\b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct story *st = *state;
        char expected[512];
        tell(st, cases[i].told);
        begin_with(st, 1, cases[i].other);
        story_client(st, "Q(SELECT 2)");
        (void)snprintf(expected, sizeof(expected),
                       "replica: P(|SELECT pg_catalog.set_config(E'%s',false)) B() E "
                       "P(|BEGIN) B() E P(|COMMIT) B() E Q(SELECT 2)\n",
                       cases[i].ahead);
        story_expect(st, expected);
        story_server(st, 1,
                     "1 2 D(x) C(SELECT 1) 1 2 C(BEGIN) 1 2 S(TimeZone|UTC) C(COMMIT) "
                     "T(a) D(2) C(SELECT 1) Z(I)");
        story_expect(st, "client: T D(2) C(SELECT 1) Z(I)\nrelease replica\n");
        story_client(st, "Q(SELECT 2)"); /* it is there now */
        story_server(st, 1, "T(a) D(2) C(SELECT 1) Z(I)");
        story_expect(st, "replica: Q(SELECT 2)\nclient: T D(2) C(SELECT 1) Z(I)\n"
                         "release replica\n");
        story_end(st);
        story_begin(st);
    }
}

/* A client sees one server, and that is the primary. */
static void what_cannot_be_set_is_told_where_it_is_the_primarys(void **state)
{
    struct story *st = *state;
    tell(st, "S(server_version|15.1) S(is_superuser|off)");
    begin_with(st, 1, "S(server_version|15.2) S(is_superuser|off) S(in_hot_standby|on)");
    story_client(st, "Q(SELECT 2)");
    story_server(st, 1, "T(a) D(2) C(SELECT 1) Z(I)");
    story_expect(st, "replica: Q(SELECT 2)\nclient: T D(2) C(SELECT 1) Z(I)\nrelease replica\n");
    begin_with(st, 0, "S(server_version|15.3) S(is_superuser|on)");
    for (int turn = 0; turn < 2; turn++) {
        story_client(st, "Q(INSERT INTO t VALUES (1))");
        story_server(st, 0, "C(INSERT 0 1) Z(I)");
        story_expect(st, turn == 0 ? "primary: Q(INSERT INTO t VALUES (1))\n"
                                     "client: S S\n"
                                     "client: C(INSERT 0 1) Z(I)\nrelease primary\n"
                                   : "primary: Q(INSERT INTO t VALUES (1))\n"
                                     "client: C(INSERT 0 1) Z(I)\nrelease primary\n");
    }
}

static void what_the_client_has_set_itself_is_left_alone(void **state)
{
    struct story *st = *state;
    tell(st, "S(TimeZone|UTC)");
    story_client(st, "Q(SET timezone = 'PST')");
    story_server(st, 0, "C(SET) S(TimeZone|PST) Z(I)");
    st->session.last_write_ns = 0;
    begin_with(st, 1, "S(TimeZone|Asia/Tokyo)");
    story_client(st, "Q(SELECT 2)");
    story_expect(st, "replica: P(|set timezone = 'PST') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 2)\n");
}

static void whether_a_replica_is_read_only_is_its_own_affair(void **state)
{
    struct story *st = *state;
    tell(st, "S(default_transaction_read_only|off) S(TimeZone|UTC)");
    begin_with(st, 1, "S(default_transaction_read_only|on) S(TimeZone|UTC) S(in_hot_standby|on)");
    story_client(st, "Q(SELECT 2)");
    story_expect(st, "replica: Q(SELECT 2)\n");
}

/* The next log-in is told what the newest connection began with. */
static void a_welcome_follows_the_newest_connection(void **state)
{
    struct story *st = *state;
    tell(st, "S(TimeZone|UTC)");
    st->now_ns += 1000;
    begin_with(st, 0, "S(TimeZone|Asia/Tokyo)");
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 D(x) C(SELECT 1) 1 2 C(BEGIN) 1 2 C(COMMIT) C(INSERT 0 1) Z(I)");
    struct core_session second;
    core_session_init(&second, &st->worker, NULL);
    second.group = &st->group;
    second.settings = core_settings_none(&st->worker);
    second.profile = core_profile_get(&st->worker, &st->group, second.settings);
    second.phase = CORE_WELCOME;
    second.cancel_key_size = CORE_CANCEL_KEY_SIZE;
    assert_true(core_base_is_current(&st->group));
    core_login_welcome(&second, core_actions_begin(&st->worker));
    assert_true(core_profile_says(second.profile, "TimeZone", "Asia/Tokyo"));
    assert_true(second.base == st->group.base && second.base != NULL);
    core_session_deinit(&second);
    uint64_t renewed_ns = st->now_ns + 1; /* RECONNECT: the next one is asked */
    st->group.renewed_ns = &renewed_ns;
    assert_false(core_base_is_current(&st->group));
    st->group.renewed_ns = NULL;
}

/* What it would show beside what is reported, such as work_mem, is of before the change too. */
static void an_older_connection_is_given_up(void **state)
{
    struct story *st = *state;
    tell(st, "S(TimeZone|UTC)");
    struct core_backend newer = {.opened_ns = st->now_ns + 1, .worker = &st->worker};
    uint8_t params[64];
    newer.params = params;
    newer.params_size =
        (uint32_t)story_encode(false, "S(TimeZone|Asia/Tokyo)", params, sizeof(params));
    core_base_note(&st->group, &newer);
    st->now_ns += 2;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, "close primary\nprimary: Q(INSERT INTO t VALUES (1))\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_another_connection_has_otherwise_is_set),
        STORY(what_cannot_be_set_is_told_where_it_is_the_primarys),
        STORY(what_the_client_has_set_itself_is_left_alone),
        STORY(whether_a_replica_is_read_only_is_its_own_affair),
        STORY(an_older_connection_is_given_up),
        STORY(a_welcome_follows_the_newest_connection),
    };
    return cmocka_run_group_tests_name("core_base", tests, NULL, NULL);
}
