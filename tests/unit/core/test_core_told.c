/* SPDX-License-Identifier: PostgreSQL
 *
 * What a client was told of a name holds though the name is taken back and given again.
 */
#include "core_story.h"

/* What skips a Close leaves the name, and what its client knows of it. */
static void a_name_whose_close_is_skipped_is_still_described(void **state)
{
    static const char *const batches[] = {"P(|SELECT 1/0) B() E C(Sa) S",
                                          "P(|SELECT 1/0) B() E C(Sa) P(a|SELECT v FROM t) S",
                                          "P(|SELECT 1/0) B() E P(|DEALLOCATE a) B() E S"};
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        struct story *st = story_described(state);
        story_client(st, batches[i]);
        story_server(st, 0, "1 2 E(22012) Z(I)");
        st->log_size = 0;
        story_client(st, "B(a) E S");
        story_expect(st, "primary: P(sg|SELECT v FROM t) D(Ssg) H\n");
        story_server(st, 0, "1 t T(text)");
        story_server(st, 0, "E(42601) Z(I)");
        story_end(st);
        (void)story_open(state);
    }
}

/* A name that a replay gives again was described when it was given first. */
static void a_name_that_is_given_twice_is_described_once(void **state)
{
    static const char *const ends[] = {"1 E(0A000|RevalidateCachedQuery) Z(I)", "1 E(57014) Z(I)"};
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        story_client(st, "P(a|SELECT v FROM t) D(Sa) P(|SELECT 1) B() E S");
        story_server(st, 1, "1 t T(int)");
        story_server_dies(st, 1);
        story_server(st, 0, ends[i]);
        st->topology.nodes[1].breaker = BREAKER_OPEN;
        st->log_size = 0;
        story_client(st, "B(a) E S");
        story_expect(st, "primary: C(Ssg) P(sg|SELECT v FROM t) D(Ssg) H\n");
        story_server(st, 0, "3 1 t T(text)");
        story_server(st, 0, "E(42601) Z(I)");
        story_end(st);
        (void)story_open(state);
        st = *state;
    }
}

static void what_a_name_was_before_it_was_closed_is_forgotten(void **state)
{
    struct story *st = story_described(state);
    story_client(st, "C(Sa) P(a|SELECT v FROM t) S");
    story_server(st, 0, "1 Z(I)");
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_expect(st, "primary: B(sg) E S\n");
    story_server(st, 0, "2 D(x) C(SELECT 1) Z(I)");
}

/* What describes a portal may come after a while; the Bind is sent before. */
static void a_portal_that_is_described_later_is_described(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) P(a|SELECT v FROM t) S");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T) 1 Z(T)");
    uint8_t bytes[256];
    const size_t size = story_encode(true, "B(a) D(P)", bytes, sizeof(bytes));
    story_client_bytes(st, bytes, size - 1); /* all but the end of it is here */
    story_pause(st);
    story_server(st, 0, "2");
    story_client_bytes(st, bytes + size - 1, 1);
    story_client(st, "E S");
    story_server(st, 0, "T(int) D(7) C(SELECT 1) Z(T)");
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    story_replicate(st);
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_expect(st, "replica: P(sg|SELECT v FROM t) D(Ssg) H\n");
    story_server(st, 1, "1 t T(int)");
    story_server(st, 1, "2 D(7) C(SELECT 1) Z(I)");
}

/* ... but not by what comes behind another Bind. */
static void another_portal_that_is_described_later_is_another(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(BEGIN) Q(INSERT INTO t VALUES (1)) P(a|SELECT v FROM t) S");
    story_server(st, 0, "1 2 C(BEGIN) C(INSERT 0 1) Z(T) 1 Z(T)");
    story_client(st, "B(a)");
    story_pause(st);
    story_server(st, 0, "2");
    story_client(st, "E P(|SELECT w FROM t) B() D(P) E S");
    story_server(st, 0, "D(7) C(SELECT 1) 1 2 T(text) D(x) C(SELECT 1) Z(T)");
    story_client(st, "Q(COMMIT)");
    story_server(st, 0, "C(COMMIT) Z(I)");
    story_replicate(st);
    st->log_size = 0;
    story_client(st, "B(a) E S");
    story_expect(st, "replica: P(sg|SELECT v FROM t) B(sg) E S\n");
    story_server(st, 1, "1 2 D(7) C(SELECT 1) Z(I)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_name_whose_close_is_skipped_is_still_described),
        STORY(a_name_that_is_given_twice_is_described_once),
        STORY(a_portal_that_is_described_later_is_described),
        STORY(another_portal_that_is_described_later_is_another),
        STORY(what_a_name_was_before_it_was_closed_is_forgotten),
    };
    return cmocka_run_group_tests_name("core_told", tests, NULL, NULL);
}
