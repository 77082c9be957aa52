/* SPDX-License-Identifier: PostgreSQL
 *
 * What goes in front of a client's message, in the same flight: when it fails, nothing of the
 * client's has run.
 */
#include <stdio.h>

#include "core_internal.h"
#include "core_settings.h"
#include "core_story.h"

static const char set_commit[] = "P(|set work_mem = '1MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E";
static const char answers[] = "1 2 C(RESET) 1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT)";

/* The session has set work_mem, and the primary's connection has since served another. */
static int begin(void **state)
{
    static struct story st;
    story_begin(&st);
    story_client(&st, "Q(SET work_mem = '1MB')");
    story_server(&st, 0, "C(SET) Z(I)");
    st.backends[0]->settings_hash = 4;
    st.backends[0]->with_role = false;
    st.log_size = 0;
    *state = &st;
    return 0;
}

/* "primary: " RESET ALL, the setting, BEGIN, COMMIT, and then this. */
static void expect_flight(struct story *st, const char *then)
{
    char line[512];
    (void)snprintf(line, sizeof(line), "primary: P(|RESET ALL) B() E %s %s\n", set_commit, then);
    story_expect(st, line);
}

static void settings_and_statement_are_one_flight(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    expect_flight(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, answers);
    story_expect(st, "");
    story_server(st, 0, "C(INSERT 0 1) S(TimeZone|UTC) Z(I)");
    story_expect(st, "client: C(INSERT 0 1) Z(I)\nrelease primary\n"); /* it knows its TimeZone */
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    story_expect(st, "primary: Q(INSERT INTO t VALUES (2))\n");
    story_server(st, 0, "C(INSERT 0 1) S(TimeZone|Asia/Tokyo) Z(I)"); /* this one is its own */
    story_expect(st, "client: C(INSERT 0 1) S Z(I)\nrelease primary\n");
}

/* A replica may refuse them, and the statement that the batch begins with would be gone. */
static void what_could_not_be_said_again_waits_for_them(void **state)
{
    struct story *st = *state;
    story_replicate(st);
    story_client(st, "P(|SELECT 1) S");
    story_server(st, 1, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) 1 Z(I)");
    assert_null(st->session.backend);
    st->backends[1]->settings_hash = 4; /* another has been served */
    st->backends[1]->with_role = false;
    st->log_size = 0;
    story_client(st, "B() E P(|SELECT 2) B() E S");
    assert_null(strstr(st->log, "SELECT"));
    st->log_size = 0;
    story_server(st, 1, "C(RESET) C(SET) Z(I)");
    story_expect(st, "replica: P(|SELECT 1) B() E P(|SELECT 2) B() E S\n");
}

static void they_stay_when_the_statement_fails(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, answers);
    story_server(st, 0, "E(23505) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    story_expect(st, "primary: Q(INSERT INTO t VALUES (2))\n");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
}

static void they_come_before_the_block_and_outlive_its_rollback(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, answers);
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    story_expect(st, "primary: Q(ROLLBACK)\nclient: C(ROLLBACK) Z(I)\nrelease primary\n");
    story_client(st, "Q(INSERT INTO t VALUES (2))");
    story_expect(st, "primary: Q(INSERT INTO t VALUES (2))\n");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
}

/* It would run without them, if they failed. */
static void what_is_pipelined_behind_waits_for_their_answers(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1)) Q(INSERT INTO t VALUES (2))");
    expect_flight(st, "Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, answers);
    story_expect(st, "");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_expect(st, "client: C(INSERT 0 1) Z(I)\nrelease primary\n"
                     "primary: Q(INSERT INTO t VALUES (2))\n");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
}

/* What the server tells of its parameters could not be told apart. */
static void a_set_of_the_clients_waits_for_them(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SET TimeZone = 'UTC')");
    story_expect(st, "primary: Q(RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;set work_me)\n");
    story_server(st, 0, "C(SET) S(TimeZone|PRC) Z(I)");
    story_expect(st, "primary: Q(SET TimeZone = 'UTC')\n");
    story_server(st, 0, "C(SET) S(TimeZone|UTC) Z(I)");
    story_expect(st, "client: C(SET) S Z(I)\nrelease primary\n");
}

static void one_that_the_primary_refuses_is_the_clients_error(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 0, "1 2 C(RESET) 1 2 E(22023)");
    story_expect(st, "primary: S\nclient: E(22023)\n"); /* the Query was skipped */
    story_server(st, 0, "Z(I)");
    story_expect(st, "client: Z(I)\nclose primary\n");
}

static void in_the_extended_protocol_the_clients_own_sync_ends_it(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|INSERT INTO t VALUES (1)) B() E S");
    expect_flight(st, "P(|INSERT INTO t VALUES (1)) B() E S");
    story_server(st, 0, "1 2 C(RESET) 1 2 E(22023) Z(I)");
    story_expect(st, "client: E(22023) Z(I)\nclose primary\n");
    story_client(st, "Q(SELECT 1)"); /* and the session goes on */
    story_expect(st, "primary: P(|set work_mem = '1MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 1)\n");
}

/* The client believes to be in it, and what it sends next would be committed at once. */
static void a_block_whose_begin_is_skipped_has_failed(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 0, "1 2 C(RESET) 1 2 E(22023)");
    story_expect(st, "client: E(22023) Z(E)\nclose primary\n");
    story_client(st, "Q(INSERT INTO t VALUES (2)) Q(COMMIT)");
    story_expect(st, "client: E(25P02) Z(E) C(ROLLBACK) Z(I)\n");
}

static void a_cancel_that_hits_a_setting_is_the_statements(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
    st->log_size = 0;
    story_server(st, 0, "1 2 E(57014)");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: S\nclient: E(57014)\nclient: Z(I)\nclose primary\n");
}

static void those_that_a_replica_refuses_are_the_primarys_and_asked_for_first_then(void **state)
{
    struct story *st = *state;
    st->backends[0]->settings_hash = st->session.settings->hash;
    for (uint32_t node = 1; node < STORY_NODES; node++)
        st->topology.nodes[node].fresh_as_of_ns = st->now_ns;
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "1 2 E(42704)");
    story_expect(st, "replica: P(|set work_mem = '1MB') B() E P(|BEGIN) B() E P(|COMMIT) B() E "
                     "Q(SELECT 1)\nclose replica\nprimary: Q(SELECT 1)\n");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(SELECT 2)"); /* not at the price of a connection again */
    story_expect(st, "replica: Q(set work_mem = '1MB';)\n");
    story_server(st, 1, "E(42704) Z(I)");
    story_expect(st, "release replica\nprimary: Q(SELECT 2)\n");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
}

static void what_another_left_tainted_is_discarded_in_the_same_flight(void **state)
{
    struct story *st = *state;
    struct core_backend *b = st->backends[0];
    b->tainted = true;
    b->last_session_id = st->session.id + 1;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    char line[4096];
    (void)snprintf(line, sizeof(line), "primary: P(|DISCARD ALL) B() E P(|%s) B() E %s %s %s\n",
                   CORE_RESET_SEED, "P(|" CORE_RESET_EXTENSIONS ") B() E", set_commit,
                   "Q(INSERT INTO t VALUES (1))");
    story_expect(st, line);
    story_server(st, 0, "1 2 C(DISCARD ALL) 1 2 D(1) C(SELECT 1) 1 2 C(DO)");
    story_server(st, 0, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT)");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_expect(st, "client: C(INSERT 0 1) Z(I)\nrelease primary\n");
    assert_false(b->tainted);
}

/* Its former session has seen to it, by a timeout perhaps: none of that is the client's affair. */
static void a_reset_that_fails_costs_the_connection_and_nothing_else(void **state)
{
    struct story *st = *state;
    struct core_backend *b = st->backends[0];
    b->tainted = true;
    b->last_session_id = st->session.id + 1;
    const uint64_t written = st->session.last_write_ns;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 0, "1 2 E(57014)");
    char line[512];
    (void)snprintf(line, sizeof(line), "close primary\nprimary: %s P(|BEGIN) B() E %s\n",
                   set_commit, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, line);
    assert_int_equal(st->session.last_write_before_ns, written);
    story_server(st, 0, "1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) 1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_expect(st, "client: C(INSERT 0 1) Z(T)\n");
}

static void an_awaited_reset_that_fails_costs_the_connection_and_nothing_else(void **state)
{
    struct story *st = *state;
    struct core_backend *b = st->backends[0];
    b->tainted = true;
    b->last_session_id = st->session.id + 1;
    story_client(st, "Q(SET work_mem = '2MB')"); /* its answer is followed: nothing comes between */
    st->log_size = 0;
    story_server(st, 0, "E(57014) Z(I)");
    story_expect(st, "close primary\nprimary: Q(set work_mem = '1MB';)\n");
    story_server(st, 0, "C(SET) Z(I)");
    story_expect(st, "primary: Q(SET work_mem = '2MB')\n");
}

static void a_cancel_that_hits_a_reset_is_the_statements(void **state)
{
    struct story *st = *state;
    st->backends[0]->tainted = true;
    st->backends[0]->last_session_id = st->session.id + 1;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SERVER);
    st->log_size = 0;
    story_server(st, 0, "1 2 E(57014)");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: S\nclient: E(57014)\nclient: Z(I)\nclose primary\n");
}

static void no_batch_meets_more_than_three_resets_that_fail(void **state)
{
    struct story *st = *state;
    st->backends[0]->tainted = true;
    st->backends[0]->last_session_id = st->session.id + 1;
    st->session.resets_failed = 3;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 0, "1 2 E(53100)");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: S\nclient: E(53100)\nclient: Z(I)\nclose primary\n");
    assert_int_equal(st->session.resets_failed, 0);
}

/* The server says nothing of a COPY's end before the Sync behind it. */
static void the_sync_behind_a_copy_does_not_wait_for_its_answer(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|COPY t FROM STDIN) B() E() S");
    story_server(st, 0, "1 2 C(RESET) 1 2 C(SET) 1 2 C(BEGIN) 1 2 C(COMMIT) 1 2 G");
    st->log_size = 0;
    story_client(st, "d(x) c S");
    story_expect(st, "primary: d c S\n");
    story_server(st, 0, "C(COPY 1) Z(I)");
    story_expect(st, "client: C(COPY 1) Z(I)\nrelease primary\n");
}

static void a_role_that_may_be_set_is_reset_too(void **state)
{
    struct story *st = *state;
    st->backends[0]->with_role = true;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    char line[512];
    (void)snprintf(line, sizeof(line),
                   "primary: P(|RESET SESSION AUTHORIZATION) B() E "
                   "P(|RESET ROLE) B() E P(|RESET ALL) B() E %s %s\n",
                   set_commit, "Q(INSERT INTO t VALUES (1))");
    story_expect(st, line);
}

static void a_server_may_forget_its_sqlstate(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    st->log_size = 0;
    story_server(st, 0, "1 2 C(RESET) E()");
    story_expect(st, "primary: S\nclient: E(XX000)\n");
    story_server(st, 0, "Z(I)");
}

#define AHEAD(name) cmocka_unit_test_setup_teardown(name, begin, story_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AHEAD(settings_and_statement_are_one_flight),
        AHEAD(what_could_not_be_said_again_waits_for_them),
        AHEAD(they_stay_when_the_statement_fails),
        AHEAD(they_come_before_the_block_and_outlive_its_rollback),
        AHEAD(what_is_pipelined_behind_waits_for_their_answers),
        AHEAD(a_set_of_the_clients_waits_for_them),
        AHEAD(one_that_the_primary_refuses_is_the_clients_error),
        AHEAD(in_the_extended_protocol_the_clients_own_sync_ends_it),
        AHEAD(a_block_whose_begin_is_skipped_has_failed),
        AHEAD(a_cancel_that_hits_a_setting_is_the_statements),
        AHEAD(those_that_a_replica_refuses_are_the_primarys_and_asked_for_first_then),
        AHEAD(what_another_left_tainted_is_discarded_in_the_same_flight),
        AHEAD(a_reset_that_fails_costs_the_connection_and_nothing_else),
        AHEAD(an_awaited_reset_that_fails_costs_the_connection_and_nothing_else),
        AHEAD(a_cancel_that_hits_a_reset_is_the_statements),
        AHEAD(no_batch_meets_more_than_three_resets_that_fail),
        AHEAD(the_sync_behind_a_copy_does_not_wait_for_its_answer),
        AHEAD(a_role_that_may_be_set_is_reset_too),
        AHEAD(a_server_may_forget_its_sqlstate),
    };
    return cmocka_run_group_tests_name("core ahead", tests, NULL, NULL);
}
