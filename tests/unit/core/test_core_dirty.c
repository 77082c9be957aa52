/* SPDX-License-Identifier: PostgreSQL
 *
 * When a write counts: for its own session's next read, and for everybody's at level global.
 */
#include "core_story.h"

static void commit_makes_dirty_rollback_does_not(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    assert_true(st->session.last_write_ns == ROUTER_NEVER_NS);
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    assert_true(st->session.last_write_ns == 0);
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    assert_true(st->session.last_write_ns == st->now_ns);
}

/* What was committed in the middle stays, whatever becomes of the block that came behind it. */
static void a_rollback_does_not_take_back_what_a_chained_commit_kept(void **state)
{
    static const char *const chains[] = {"Q(COMMIT AND CHAIN)", "Q(COMMIT; BEGIN)",
                                         "P(|COMMIT AND CHAIN) B() E S",
                                         "P(|COMMIT) B() E P(|BEGIN) B() E S"};
    struct story *st = *state;
    uint64_t global = 0;
    st->database.global_write_ns = &global;
    for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
        story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
        story_client(st, chains[i]);
        story_server(st, 0,
                     i == 0   ? "C(COMMIT) Z(T)"
                     : i == 1 ? "C(COMMIT) C(BEGIN) Z(T)"
                     : i == 2 ? "1 2 C(COMMIT) Z(T)"
                              : "1 2 C(COMMIT) 1 2 C(BEGIN) Z(T)");
        assert_true(global == st->now_ns); /* others may look already */
        story_client(st, "Q(ROLLBACK)");
        story_server(st, 0, "C(ROLLBACK) Z(I)");
        assert_true(st->session.last_write_ns == st->now_ns);
        st->session.last_write_ns = 0;
    }
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))"); /* and the next one is clean again */
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    assert_true(st->session.last_write_ns == 0);
}

/* Level global: each write counts when its client is told, and one whose end nobody is told too. */
static void others_wait_for_a_write_as_soon_as_it_may_be_there(void **state)
{
    struct story *st = *state;
    uint64_t global = 0;
    st->database.global_write_ns = &global;
    story_client(st, "Q(INSERT INTO t VALUES (1)) Q(INSERT INTO t VALUES (2))");
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    assert_true(global == st->now_ns); /* though another one is on its way */
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (3))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    story_client(st, "Q(COMMIT)");
    global = 0;
    story_server_dies(st, 0);
    assert_true(global == st->now_ns);
}

static void a_write_that_ends_behind_its_client_counts_for_others(void **state)
{
    struct story *st = *state;
    uint64_t global = 0;
    st->database.global_write_ns = &global;
    story_client(st, "Q(INSERT INTO t VALUES (1))");
    story_leave(st);
    assert_true(global == st->now_ns);
    global = 0;
    story_server(st, 0, "C(INSERT 0 1) Z(I)");
    assert_true(global == st->now_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(commit_makes_dirty_rollback_does_not),
        STORY(a_rollback_does_not_take_back_what_a_chained_commit_kept),
        STORY(others_wait_for_a_write_as_soon_as_it_may_be_there),
        STORY(a_write_that_ends_behind_its_client_counts_for_others),
    };
    return cmocka_run_group_tests_name("core_dirty", tests, NULL, NULL);
}
