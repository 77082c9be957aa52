/* SPDX-License-Identifier: PostgreSQL
 *
 * RESET among other statements of one string: what the client brought along is there behind it.
 */
#include <stdio.h>

#include "core_internal.h"
#include "core_settings.h"
#include "core_story.h"

/* The session has brought work_mem and a role along, and is bound to the primary, which has them.
 */
static struct story *begin(void **state)
{
    static const struct core_setting memory = {"work_mem", "SELECT m", 0};
    static const struct core_setting role = {"role", "SELECT r", ROUTER_SETTING_ROLE};
    struct story *st = *state;
    struct core_profile *plain = st->session.profile;
    struct core_settings *one =
        core_settings_with(&st->worker, st->session.settings, &memory, true);
    struct core_settings *start = core_settings_with(&st->worker, one, &role, true);
    core_settings_release(&st->worker, one);
    st->session.profile = core_profile_get(&st->worker, &st->group, start);
    core_profile_release(&st->worker, plain);
    core_settings_release(&st->worker, st->session.settings);
    st->session.settings = start;
    story_client(st, "Q(LISTEN a)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) T(a) D(1) C(SELECT 1) Z(I)");
    story_server(st, 0, "C(LISTEN) Z(I)");
    st->log_size = 0;
    return st;
}

static void what_stands_behind_a_reset_sees_what_was_brought_along(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(SELECT 1; RESET ALL; SELECT 2)");
    story_expect(st, "primary: Q(SELECT 1; RESET ALL;SELECT m; SELECT 2)\n");
    story_server(st, 0,
                 "T(a) D(1) C(SELECT 1) C(RESET) T(m) D(3MB) C(SELECT 1) T(a) D(2) "
                 "C(SELECT 1) Z(I)");
    story_expect(st, "client: T D(1) C(SELECT 1) C(RESET) T D(2) C(SELECT 1) Z(I)\n");
    assert_false(st->session.settings_off);
}

static void what_is_set_behind_it_counts(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(RESET work_mem; SET work_mem = 1)");
    story_expect(st, "primary: Q(RESET work_mem;SELECT m; SET work_mem = 1)\n");
    story_server(st, 0, "C(RESET) T(m) D(3MB) C(SELECT 1) C(SET) Z(I)");
    story_expect(st, "client: C(RESET) C(SET) Z(I)\n");
    assert_string_equal(st->session.settings->items[1].text, "set work_mem = 1");
}

static void several_in_a_row_are_one(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(RESET role; RESET ALL; SELECT 2)");
    story_expect(st, "primary: Q(RESET role; RESET ALL;SELECT m;SELECT r; SELECT 2)\n");
    story_server(st, 0,
                 "C(RESET) C(RESET) T(m) D() C(SELECT 1) T(r) D() C(SELECT 1) T(a) D(2) "
                 "C(SELECT 1) Z(I)");
    story_expect(st, "client: C(RESET) C(RESET) T D(2) C(SELECT 1) Z(I)\n");
}

static void a_second_one_further_on_too(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(RESET role; SELECT 1; RESET ALL; S 2)");
    story_server(st, 0, "E(42601) Z(I)");
    st->log_size = 0;
    story_client(st, "Q(RESET role; SELECT 1; RESET work_mem; SELECT 2)");
    story_expect(st, "primary: Q(RESET role;SELECT r; SELECT 1; RESET work_mem;SELECT m; SELE)\n");
    story_server(st, 0,
                 "C(RESET) T(r) D() C(SELECT 1) T(a) D(1) C(SELECT 1) C(RESET) T(m) D() "
                 "C(SELECT 1) T(a) D(2) C(SELECT 1) Z(I)");
    story_expect(st, "client: C(RESET) T D(1) C(SELECT 1) C(RESET) T D(2) C(SELECT 1) Z(I)\n");
    assert_false(st->session.settings_off);
}

static void nothing_is_put_in_where_nothing_is_lost(void **state)
{
    static const char *const texts[] = {
        "SELECT 1; RESET geqo; SELECT 2", /* not brought along */
        "SET work_mem = 1; SELECT 2",     /* no RESET */
        "RESET ALL; SELECT '\xc3\xa4'",
    };
    struct story *st = begin(state);
    char line[256];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        (void)snprintf(line, sizeof(line), "Q(%s)", texts[i]);
        story_client(st, line);
        (void)snprintf(line, sizeof(line), "primary: Q(%s)\n", texts[i]);
        story_expect(st, line);
        story_server(st, 0, "E(22012) Z(I)");
        st->log_size = 0;
    }
}

/* At the end it is mended, as the RESET that stands alone. */
static void a_reset_at_the_end_is_mended(void **state)
{
    struct story *st = begin(state);
    story_client(st, "Q(SELECT 1; RESET ALL)");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) C(RESET) Z(I)");
    story_expect(st, "primary: Q(SELECT 1; RESET ALL)\nprimary: Q(SELECT m;SELECT r;)\n"
                     "client: T D(1) C(SELECT 1) C(RESET)\n");
    story_server(st, 0, "T(a) D(1) C(SELECT 1) T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: Z(I)\n");
}

/* In a batch what stands behind it is a statement of its own. */
static void in_a_batch_they_are_made_behind_the_execute(void **state)
{
    struct story *st = begin(state);
    story_client(st, "P(|RESET work_mem) B() E() P(|SELECT 1) B() E() S");
    story_expect(st, "primary: P(|RESET work_mem) B() E C(Ssg_reset) P(sg_reset|SELECT m) "
                     "B(sg_reset) E C(Psg_reset) P(|SELECT 1) B() E S\n");
    story_server(st, 0, "1 2 C(RESET) 3 1 2 D(3MB) C(SELECT 1) 3 1 2 D(1) C(SELECT 1) Z(I)");
    story_expect(st, "client: 1 2 C(RESET) 1 2 D(1) C(SELECT 1) Z(I)\n");
    assert_false(st->session.settings_off);
}

static void fails_at(struct story *st, unsigned position, const char *expected)
{
    uint8_t bytes[128] = {'E'};
    const int n = snprintf((char *)bytes + 5, sizeof(bytes) - 5, "SERROR%cC42703%cP%u%cMx%c", 0, 0,
                           position, 0, 0);
    const size_t size = 5 + (size_t)n + 1;
    proto_store_u32(bytes + 1, (uint32_t)(size - 1));
    story_client(st, "Q(RESET ALL; SELECT nonsense)");
    st->now_ns += 1000;
    const struct core_sink *said =
        &core_server_data(st->backends[0], (struct proto_span){bytes, size}, st->now_ns)->client;
    uint8_t all[128];
    size_t got = 0;
    for (uint32_t i = 0; i < said->count; got += said->spans[i++].size)
        memcpy(all + got, said->spans[i].base, said->spans[i].size);
    assert_int_equal(proto_load_u32(all + 1), got - 1);
    const char *const at = memchr(all + 5, 'P', got - 5);
    if (expected == NULL)
        assert_null(at);
    else
        assert_string_equal(at, expected);
    assert_memory_equal(all + got - 4, "Mx\0", 4);
    story_server(st, 0, "Z(I)");
    st->log_size = 0;
}

static void the_position_in_an_error_is_the_clients(void **state)
{
    struct story *st = begin(state);
    const unsigned put_in = sizeof(";SELECT m") - 1;
    fails_at(st, 3, "P3");
    fails_at(st, 9, "P9");            /* the last letter of RESET ALL */
    fails_at(st, 10, NULL);           /* in what was put in */
    fails_at(st, 9 + put_in, NULL);   /* its last letter */
    fails_at(st, 18 + put_in, "P18"); /* nonsense */
    fails_at(st, 1000000 + put_in, "P1000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_stands_behind_a_reset_sees_what_was_brought_along),
        STORY(what_is_set_behind_it_counts),
        STORY(several_in_a_row_are_one),
        STORY(a_second_one_further_on_too),
        STORY(nothing_is_put_in_where_nothing_is_lost),
        STORY(a_reset_at_the_end_is_mended),
        STORY(in_a_batch_they_are_made_behind_the_execute),
        STORY(the_position_in_an_error_is_the_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
