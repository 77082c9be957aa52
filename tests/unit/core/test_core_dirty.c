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

/* ---- what does not look like a write ---- */

/* Facts of a database that says nothing of what these tests name. */
static void know(struct story *st)
{
    static struct core_catalog catalog;
    static uint64_t changes;
    static struct router_facts *facts;
    if (facts == NULL)
        facts = router_facts_create(NULL, 0, NULL, 0);
    catalog = (struct core_catalog){.facts = facts, .changes = &changes};
    st->group.catalog = &catalog;
}

/* A view may hide a function that writes. On the primary nobody refuses it. */
static void what_is_not_known_to_write_nothing_counts(void **state)
{
    static const struct {
        const char *client, *server;
    } ends[] = {
        {"Q(BEGIN) Q(SELECT x FROM v) Q(COMMIT)",
         "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T) C(COMMIT) Z(I)"},
        {"P(|BEGIN) B() E P(|SELECT x FROM v) B() E P(|COMMIT) B() E S",
         "1 2 C(BEGIN) 1 2 D(1) C(SELECT 1) 1 2 C(COMMIT) Z(I)"},
        {"Q(BEGIN; SELECT x FROM v; COMMIT)", "C(BEGIN) T(a) D(1) C(SELECT 1) C(COMMIT) Z(I)"},
        {"Q(SELECT x FROM v; COMMIT; SELECT 1/0)", "T(a) D(1) C(SELECT 1) C(COMMIT) E(22012) Z(I)"},
        {"Q(SELECT 1; SELECT x FROM v; INSERT INTO t VALUES (1))",
         "T(a) D(1) C(SELECT 1) T(a) D(1) C(SELECT 1) E(23505) Z(I)"},
        {"Q(BEGIN) Q(DECLARE c CURSOR FOR SELECT x FROM v) Q(FETCH c) Q(COMMIT)",
         "1 2 C(BEGIN) C(DECLARE CURSOR) Z(T) T(a) D(1) C(FETCH 1) Z(T) C(COMMIT) Z(I)"},
        {"Q(BEGIN) Q(SAVEPOINT a) Q(SELECT x FROM v) Q(ROLLBACK TO b) Q(COMMIT)",
         "1 2 C(BEGIN) C(SAVEPOINT) Z(T) T(a) D(1) C(SELECT 1) Z(T) E(3B001) Z(E) C(ROLLBACK) "
         "Z(I)"},
        {"Q(BEGIN) Q(COPY (SELECT x FROM v) TO STDOUT) Q(END)",
         "1 2 C(BEGIN) H d(1) c C(COPY 1) Z(T) C(COMMIT) Z(I)"},
        {"Q(BEGIN) Q(EXPLAIN ANALYZE SELECT x FROM v) Q(END)",
         "1 2 C(BEGIN) T(a) D(1) C(EXPLAIN) Z(T) C(COMMIT) Z(I)"},
        {"P(|BEGIN) B() E P(|SELECT x FROM v) B() E(|1) S E(|1) S Q(COMMIT)",
         "1 2 C(BEGIN) 1 2 D(1) s Z(T) D(1) s Z(T) C(COMMIT) Z(I)"},
        {"Q(/* switchgear: route=primary */ SELECT x FROM v)", "T(a) D(1) C(SELECT 1) Z(I)"},
        {"Q(SET work_mem = 1; SELECT x FROM v)", "C(SET) T(a) D(1) C(SELECT 1) Z(I)"},
        {"Q(SELECT x FROM v, pg_class)", "T(a) D(1) C(SELECT 1) Z(I)"},
        {"Q(BEGIN) Q(INSERT INTO t VALUES (1)) Q(SELECT x FROM v) Q(COMMIT)",
         "1 2 C(BEGIN) C(INSERT 0 1) Z(T) E(57014) Z(E) C(ROLLBACK) Z(I)"},
        {"Q(BEGIN READ WRITE) F() Q(COMMIT)", "1 2 C(BEGIN) V Z(T) C(COMMIT) Z(I)"},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct story *st = *state;
        know(st);
        story_client(st, ends[i].client);
        story_server(st, 0, ends[i].server);
        assert_true(st->session.last_write_ns == st->now_ns);
        assert_false(st->session.dirty_block);
        story_end(st);
        story_begin(st);
    }
}

static void what_is_known_to_write_nothing_does_not(void **state)
{
    static const struct {
        const char *client, *server;
    } ends[] = {
        {"Q(BEGIN) Q(SELECT 1) Q(COMMIT)",
         "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T) C(COMMIT) Z(I)"},
        {"Q(BEGIN; SELECT 1; COMMIT)", "C(BEGIN) T(a) D(1) C(SELECT 1) C(COMMIT) Z(I)"},
        {"Q(BEGIN) Q(SAVEPOINT a) Q(RELEASE a) Q(SELECT 1) Q(COMMIT)",
         "1 2 C(BEGIN) C(SAVEPOINT) Z(T) C(RELEASE) Z(T) T(a) D(1) C(SELECT 1) Z(T) C(COMMIT) "
         "Z(I)"},
        {"Q(BEGIN) Q(SHOW work_mem) Q(COMMIT)",
         "1 2 C(BEGIN) T(a) D(1) C(SHOW) Z(T) C(COMMIT) Z(I)"},
        {"Q(BEGIN) Q(DECLARE c CURSOR FOR SELECT 1) Q(FETCH c) Q(COMMIT)",
         "1 2 C(BEGIN) C(DECLARE CURSOR) Z(T) T(a) D(1) C(FETCH 1) Z(T) C(COMMIT) Z(I)"},
        {"P(|BEGIN) B() E P(|SELECT x FROM v) D(S) S Q(COMMIT)", /* it was only prepared */
         "1 2 C(BEGIN) 1 t T(a) Z(T) C(COMMIT) Z(I)"},
        {"Q(BEGIN) Q(SELECT x FROM v) Q(ROLLBACK)", /* it was taken back */
         "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T) C(ROLLBACK) Z(I)"},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct story *st = *state;
        know(st);
        story_client(st, ends[i].client);
        story_server(st, 0, ends[i].server);
        assert_true(st->session.last_write_ns == 0);
        assert_true(st->session.block == CORE_NO_BLOCK);
        story_end(st);
        story_begin(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(commit_makes_dirty_rollback_does_not),
        STORY(a_rollback_does_not_take_back_what_a_chained_commit_kept),
        STORY(others_wait_for_a_write_as_soon_as_it_may_be_there),
        STORY(what_is_not_known_to_write_nothing_counts),
        STORY(what_is_known_to_write_nothing_does_not),
        STORY(a_write_that_ends_behind_its_client_counts_for_others),
    };
    return cmocka_run_group_tests_name("core_dirty", tests, NULL, NULL);
}
