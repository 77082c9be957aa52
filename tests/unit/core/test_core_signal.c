/* SPDX-License-Identifier: PostgreSQL
 *
 * pg_terminate_backend and pg_cancel_backend of a client of the proxy: answered here, once the
 * shell has done it.
 */
#include "core_story.h"

#define END "SELECT pg_terminate_backend(5000000)"
#define CANCEL "SELECT pg_cancel_backend(5000000)"

static void says(struct story *st, enum core_signal answer)
{
    story_execute(st, core_signalled(&st->session, answer, st->now_ns));
}

static void what_is_done_is_answered(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(" END ")");
    story_expect(st, "end 5000000 0\n");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "client: T D(t) C(SELECT 1) Z(I)\n");
    story_client(st, "Q(" CANCEL ")");
    story_expect(st, "cancel 5000000 0\n");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "client: T D(t) C(SELECT 1) Z(I)\n");
}

static void the_extended_protocol_gets_all_its_replies(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|" END ") D(S) B() D(P) E S");
    story_expect(st, "end 5000000 0\n");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "client: 1 t T 2 T D(t) C(SELECT 1) Z(I)\n");
    story_client(st, "B() E(|1) C(P) S");
    story_expect(st, "end 5000000 0\n");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "client: 2 D(t) s 3 Z(I)\n");
    story_client(st, "P(n|" END ") B(n) E C(Sn) H");
    says(st, CORE_SIGNAL_DONE);
    story_client(st, "S");
    story_expect(st, "end 5000000 0\nclient: 1 2 D(t) C(SELECT 1) 3\nclient: Z(I)\n");
}

static void who_is_nobody_is_the_servers_to_say(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(" END ") Q(SELECT 1)");
    says(st, CORE_SIGNAL_NOBODY);
    story_expect(st, "end 5000000 0\nprimary: Q(" END ") Q(SELECT 1)\n");
    story_server(st, 0, "N(x) T(a) D(f) C(SELECT 1) Z(I)");
    story_expect(st, "client: N T D(f) C(SELECT 1) Z(I)\n");
}

static void small_ids_are_the_servers(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT pg_terminate_backend(4194304))");
    story_expect(st, "primary: Q(SELECT pg_terminate_backend(4194304))\n");
}

static void an_end_that_comes_late_is_told(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT pg_terminate_backend(5000000, 70))");
    story_expect(st, "end 5000000 70\n");
    says(st, CORE_SIGNAL_LATE);
    story_expect(st, "client: T N(01000) D(f) C(SELECT 1) Z(I)\n");
}

static void who_may_not_gets_an_error(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(" END ") P(|" CANCEL ") B() E S");
    says(st, CORE_SIGNAL_DENIED);
    story_expect(st, "end 5000000 0\nclient: E(42501) Z(I)\ncancel 5000000 0\n");
    says(st, CORE_SIGNAL_DENIED);
    story_expect(st, "client: E(42501) Z(I)\n");
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "replica: Q(SELECT 1)\n");
}

static void a_block_fails_by_it_where_it_is(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(" END ")");
    says(st, CORE_SIGNAL_DENIED);
    story_client(st, "Q(" END ") Q(ROLLBACK)");
    story_expect(st, "client: C(BEGIN) Z(T)\nend 5000000 0\nclient: E(42501) Z(E)\n"
                     "client: E(25P02) Z(E) C(ROLLBACK) Z(I)\n");
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(" END ")");
    says(st, CORE_SIGNAL_DENIED);
    story_expect(st, "end 5000000 0\nprimary: P(sg_error|switchgear provokes an error) S\n");
    story_server(st, 0, "E(42601) Z(E)");
    story_expect(st, "client: E(42501) Z(E)\n");
    story_client(st, "Q(" END ")");
    story_expect(st, "primary: Q(" END ")\n");
}

/* As with any other; the portal does not, and is of no use in the failed block. */
static void the_unnamed_statement_ends_with_a_query_that_is_denied(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) P(|INSERT INTO t VALUES (1)) B() E S P(|ROLLBACK) B() S");
    story_server(st, 0, "1 2 C(BEGIN) 1 2 C(INSERT 0 1) Z(T)");
    story_server(st, 0, "1 2 Z(T)");
    st->log_size = 0;
    story_client(st, "Q(" END ")");
    says(st, CORE_SIGNAL_DENIED);
    story_expect(st, "end 5000000 0\nprimary: P(sg_error|switchgear provokes an error) S\n");
    story_server(st, 0, "E(42601) Z(E)");
    st->log_size = 0;
    story_client(st, "B() E S");
    story_expect(st, "primary: P(sg_error|switchgear provokes an error) E S\n");
    story_server(st, 0, "E(42601) Z(E)");
    story_expect(st, "client: E(26000) Z(E)\n");
    story_client(st, "E() S");
    story_expect(st, "primary: E S\n");
}

static void an_open_block_goes_on(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(" END ") Q(COMMIT)");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "end 5000000 0\nprimary: Q(COMMIT)\nclient: T D(t) C(SELECT 1) Z(T)\n");
}

static void it_waits_for_what_is_outstanding_and_others_wait_for_it(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT 1) Q(" END ") Q(SELECT 2)");
    story_expect(st, "replica: Q(SELECT 1)\n");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) Z(I)\nrelease replica\nend 5000000 0\n");
    story_client(st, "Q(SELECT 3)");
    story_expect(st, "");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "client: T D(t) C(SELECT 1) Z(I)\nreplica: Q(SELECT 2) Q(SELECT 3)\n");
}

static void what_was_only_flushed_is_synced_first(void **state)
{
    struct story *st = *state;
    story_client(st, "P(n|" END ") D(Sn) H");
    story_server(st, 0, "1 t T(a)");
    st->log_size = 0;
    story_client(st, "B(n) E S");
    story_expect(st, "primary: S\n");
    story_server(st, 0, "Z(I)");
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "release primary\nend 5000000 0\nclient: 2 D(t) C(SELECT 1) Z(I)\n");
}

static void a_session_ends_or_cancels_itself(void **state)
{
    struct story *st = *state;
    st->session.cancel_pid = 5000000;
    story_client(st, "Q(" CANCEL ")");
    story_expect(st, "client: E(57014) Z(I)\n");
    story_client(st, "Q(" END ") Q(SELECT 1)");
    story_expect(st, "client: E(FATAL 57P01)\nclose client\n");
}

static void a_cancel_ends_the_wait(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(" END ")");
    assert_int_equal(core_cancel(&st->session), CORE_CANCEL_SIGNAL);
    says(st, CORE_SIGNAL_CANCELLED);
    story_expect(st, "end 5000000 0\nclient: E(57014) Z(I)\n");
    says(st, CORE_SIGNAL_DONE); /* late: for nobody */
    story_expect(st, "");
}

static void a_client_that_leaves_waits_no_more(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(" END ")");
    story_leave(st);
    st->log_size = 0;
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "");
}

static void a_server_that_is_lost_ends_the_block_not_the_wait(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1))");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T)");
    st->log_size = 0;
    story_client(st, "Q(" END ")");
    story_server_dies(st, 0);
    says(st, CORE_SIGNAL_DONE);
    story_expect(st, "end 5000000 0\nclient: E(FATAL 08006)\nclose primary\nclose client\n");
}

/* Whatever is not exactly one such statement, said in the plainest way. */
static void other_batches_are_the_servers(void **state)
{
    struct story *st = *state;
    static const char *const batches[] = {
        "P(|" END ") B() E P(|SELECT 1) B() E S",
        "P(|" END ") B(|portal) E(portal) S",
        "P(|" END ") B() E E S",
        "P(|" END ") B() S",
        "P(|" END ") D(P) B() E S",
        "Q(" END "; SELECT 1)",
        "P(|SELECT pg_cancel_backend($1)) B() E S",
    };
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        story_end(st);
        story_begin(st);
        story_client(st, batches[i]);
        if (strncmp(st->log, "primary: ", 9) != 0)
            fail_msg("%s: %s", batches[i], st->log);
        st->log_size = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_is_done_is_answered),
        STORY(the_extended_protocol_gets_all_its_replies),
        STORY(who_is_nobody_is_the_servers_to_say),
        STORY(small_ids_are_the_servers),
        STORY(an_end_that_comes_late_is_told),
        STORY(who_may_not_gets_an_error),
        STORY(a_block_fails_by_it_where_it_is),
        STORY(the_unnamed_statement_ends_with_a_query_that_is_denied),
        STORY(an_open_block_goes_on),
        STORY(it_waits_for_what_is_outstanding_and_others_wait_for_it),
        STORY(what_was_only_flushed_is_synced_first),
        STORY(a_session_ends_or_cancels_itself),
        STORY(a_cancel_ends_the_wait),
        STORY(a_client_that_leaves_waits_no_more),
        STORY(a_server_that_is_lost_ends_the_block_not_the_wait),
        STORY(other_batches_are_the_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
