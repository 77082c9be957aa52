/* SPDX-License-Identifier: PostgreSQL
 *
 * A batch that has neither Sync nor Flush begins when nothing more comes for a while.
 */
#include "core_story.h"

static void its_error_comes_without_a_sync(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1/0) B() E");
    story_expect(st, "");
    story_pause(st);
    story_expect(st, "primary: P(|SELECT 1/0) B() E H\n");
    story_server(st, 0, "1 2 E(22012)");
    story_expect(st, "client: 1 2 E(22012)\n");
    story_client(st, "P(|SELECT 2) B() E"); /* skipped, as a server does it */
    story_pause(st);
    story_expect(st, "");
    story_client(st, "S");
    story_server(st, 0, "Z(I)");
    story_expect(st, "primary: S\nclient: Z(I)\nrelease primary\n");
    story_read_on_replica(st);
}

static void one_that_ends_in_time_is_decided_as_a_whole(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) B()");
    story_client(st, "E S");
    story_expect(st, "replica: P(|SELECT 1) B() E S\n");
    story_pause(st); /* it was too late */
    story_server(st, 1, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 D(1) C(SELECT 1) Z(I)\nrelease replica\n");
}

static void once_begun_it_goes_on_at_once(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1) B() E");
    story_pause(st);
    story_client(st, "P(|SELECT 2) B()");
    story_client(st, "E");
    story_client(st, "S");
    story_expect(st, "primary: P(|SELECT 1) B() E H\n"
                     "primary: P(|SELECT 2) B() H\n"
                     "primary: E H\n"
                     "primary: S\n");
    story_server(st, 0, "1 2 D(1) C(SELECT 1) 1 2 D(2) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 D(1) C(SELECT 1) 1 2 D(2) C(SELECT 1) Z(I)\n"
                     "release primary\n");
}

static void what_is_only_prepared_leaves_the_way_to_a_replica_open(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT 1)");
    story_pause(st);
    story_server(st, 1, "1");
    story_client(st, "B() E S");
    story_server(st, 1, "2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "replica: P(|SELECT 1) H\n"
                     "client: 1\n"
                     "replica: B() E S\n"
                     "client: 2 D(1) C(SELECT 1) Z(I)\n"
                     "release replica\n");
}

static void in_a_block_its_error_fails_that(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN)");
    story_client(st, "P(|SELECT 1/0) B() E");
    story_pause(st);
    story_server(st, 0, "1 2 C(BEGIN) 1 2 E(22012)");
    story_client(st, "S");
    story_server(st, 0, "Z(E)");
    story_client(st, "Q(ROLLBACK)");
    story_server(st, 0, "C(ROLLBACK) Z(I)");
    story_expect(st, "client: C(BEGIN) Z(T)\n"
                     "primary: P(|BEGIN) B() E P(|SELECT 1/0) B() E H\n"
                     "client: 1 2 E(22012)\n"
                     "primary: S\n"
                     "client: Z(E)\n"
                     "primary: Q(ROLLBACK)\n"
                     "client: C(ROLLBACK) Z(I)\n"
                     "release primary\n");
}

static void what_we_answer_is_answered(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E");
    story_pause(st);
    story_expect(st, "client: 1 2 C(BEGIN)\n");
    story_client(st, "S");
    story_expect(st, "client: Z(T)\n");
    story_client(st, "P(|COMMIT) B() D(P) E S");
    story_expect(st, "client: 1 2 n C(COMMIT) Z(I)\n");
    story_client(st, "P(|SET switchgear.route = 'nowhere') B() E");
    story_pause(st);
    story_expect(st, "client: 1 2 E(22023)\n");
    story_client(st, "E S");
    story_expect(st, "client: Z(I)\n");
}

static void one_that_cannot_be_had_a_connection_for_fails_up_to_its_sync(void **state)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57P03", .message = "no"};
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "P(|DELETE FROM t) B() E");
    story_pause(st);
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
    story_expect(st, "client: E(57P03)\n");
    story_client(st, "P(|DELETE FROM t) B() E");
    story_pause(st);
    story_client(st, "S");
    story_expect(st, "client: Z(I)\n");
}

/* The second is begun when the replies to the first are in; nobody is to guess what it is. */
static void one_behind_another_has_its_turn(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT 1) B(a) E S B(a) E");
    story_pause(st);
    story_expect(st, "replica: P(sg|SELECT 1) B(sg) E S\n");
    story_server(st, 1, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 D(1) C(SELECT 1) Z(I)\n"
                     "release replica\n"
                     "primary: P(sg|SELECT 1) B(sg) E H\n");
    story_server(st, 0, "1 2 D(1) C(SELECT 1)");
    story_client(st, "S");
    story_server(st, 0, "Z(I)");
    story_expect(st, "client: 2 D(1) C(SELECT 1)\n"
                     "primary: S\n"
                     "client: Z(I)\n"
                     "release primary\n");
}

static void a_commit_of_a_read_only_block_is_waited_for(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
    st->log_size = 0;
    story_client(st, "P(|COMMIT) B() E");
    story_pause(st);
    story_server(st, 1, "1 2 C(COMMIT)");
    story_client(st, "S Q(DELETE FROM t)");
    story_expect(st, "replica: P(|COMMIT) B() E H\n"
                     "client: 1 2 C(COMMIT)\n"
                     "replica: S\n");
    story_server(st, 1, "Z(I)");
    story_expect(st, "client: Z(I)\n"
                     "release replica\n"
                     "primary: Q(DELETE FROM t)\n");
    story_server(st, 0, "C(DELETE 0) Z(I)");
}

/* It turns out to be whole while a Sync of ours makes way for it: it may run again all the same. */
static void what_follows_a_sync_of_ours_is_a_flight_of_its_own(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|SELECT v FROM w)");
    story_pause(st);
    story_server(st, 1, "1");
    st->log_size = 0;
    story_client(st, "B() E");
    story_pause(st);
    story_expect(st, "replica: S\n");
    story_client(st, "S");
    story_server(st, 1, "Z(I)");
    story_server(st, 1, "2 E(25006|PreventCommandIfReadOnly) Z(I)");
    story_server(st, 0, "1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "release replica\n"
                     "replica: B() E S\n"
                     "client: 2\n"
                     "close replica\n"
                     "primary: P(|SELECT v FROM w) B() E S\n"
                     "client: D(1) C(SELECT 1) Z(I)\n"
                     "release primary\n");
}

/* ---- long ones: 2048 bytes are planned whole here, a 32nd of that is long ---- */

#define LONG_INSERT "P(|INSERT INTO accounts VALUES (1, 'one row of a good many'))"
#define LONG_SELECT "P(|SELECT balance FROM accounts WHERE name = 'one of a good many')"

static void a_long_write_begins_before_its_end(void **state)
{
    struct story *st = *state;
    story_client(st, LONG_INSERT " B() E B() E");
    story_client(st, "B() E"); /* goes on when it is known that its statement is there */
    story_expect(st, "primary: " LONG_INSERT " B() E B() E H\n");
    story_server(st, 0, "1 2 C(INSERT 0 1) 2 C(INSERT 0 1)");
    story_client(st, "B() E S");
    story_server(st, 0, "2 C(INSERT 0 1) 2 C(INSERT 0 1) Z(I)");
    story_expect(st, "client: 1 2 C(INSERT 0 1) 2 C(INSERT 0 1)\n"
                     "primary: B() E H\n"
                     "primary: B() E S\n"
                     "client: 2 C(INSERT 0 1) 2 C(INSERT 0 1) Z(I)\n"
                     "release primary\n");
}

static void a_long_write_in_a_block_that_comes_with_it_begins_too(void **state)
{
    struct story *st = *state;
    story_client(st, "P(|BEGIN) B() E " LONG_INSERT " B() E");
    story_expect(st, "client: 1 2 C(BEGIN)\n"
                     "primary: P(|BEGIN) B() E " LONG_INSERT " B() E H\n");
}

static void a_long_read_waits_for_its_end_and_may_go_to_a_replica(void **state)
{
    struct story *st = *state;
    story_client(st, LONG_SELECT " B() E");
    for (int i = 0; i < 6; i++)
        story_client(st, "B() E");
    story_expect(st, "");
    story_client(st, "S");
    story_expect(st, "replica: " LONG_SELECT " B() E B() E B() E B() E B() E B() E B() E S\n");
}

static void what_begins_as_a_read_and_writes_later_begins_then(void **state)
{
    struct story *st = *state;
    story_client(st, LONG_SELECT " B() E");
    story_expect(st, "");
    story_client(st, LONG_INSERT " B() E B() E"); /* twice as long: looked at again */
    story_expect(st, "primary: " LONG_SELECT " B() E " LONG_INSERT " B() E B() E H\n");
}

/* What is known of the frames at the front is forgotten with them. */
static void one_that_is_refused_is_forgotten_to_its_last_byte(void **state)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57P03", .message = "no"};
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, LONG_INSERT " B() E");
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
    story_client(st, "B() E");
    story_client(st, "B() E S");
    story_expect(st, "client: E(57P03)\n"
                     "client: Z(I)\n");
    st->nobody_grants = false;
    story_read_on_replica(st);
}

static void half_a_batch_that_is_refused_when_whole_is_forgotten_too(void **state)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57P03", .message = "no"};
    struct story *st = *state;
    st->nobody_grants = true;
    story_client(st, "P(|DELETE FROM t) B()");
    story_client(st, "E S");
    story_execute(st, core_refused(&st->session, &error, st->now_ns));
    story_expect(st, "client: E(57P03) Z(I)\n");
    st->nobody_grants = false;
    story_read_on_replica(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(its_error_comes_without_a_sync),
        STORY(one_that_ends_in_time_is_decided_as_a_whole),
        STORY(once_begun_it_goes_on_at_once),
        STORY(what_is_only_prepared_leaves_the_way_to_a_replica_open),
        STORY(in_a_block_its_error_fails_that),
        STORY(what_we_answer_is_answered),
        STORY(one_that_cannot_be_had_a_connection_for_fails_up_to_its_sync),
        STORY(one_behind_another_has_its_turn),
        STORY(a_commit_of_a_read_only_block_is_waited_for),
        STORY(what_follows_a_sync_of_ours_is_a_flight_of_its_own),
        STORY(a_long_write_begins_before_its_end),
        STORY(a_long_write_in_a_block_that_comes_with_it_begins_too),
        STORY(a_long_read_waits_for_its_end_and_may_go_to_a_replica),
        STORY(what_begins_as_a_read_and_writes_later_begins_then),
        STORY(one_that_is_refused_is_forgotten_to_its_last_byte),
        STORY(half_a_batch_that_is_refused_when_whole_is_forgotten_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
