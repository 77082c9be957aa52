/* SPDX-License-Identifier: PostgreSQL
 *
 * What pins does so on the primary: in a block that may still be on a replica, or begin there, too.
 */
#include <stdio.h>

#include "core_block_story.h"

static const char *const pinning[] = {
    "SET LOCAL standard_conforming_strings = off",
    "SET LOCAL client_encoding = 'SJIS'",
    "SET LOCAL client_encoding TO gbk",
    "SET LOCAL search_path FROM CURRENT",
    "SET LOCAL TimeZone FROM CURRENT",
    "SET LOCAL seed = 0.5",
    "/* a comment */ SET LOCAL standard_conforming_strings TO 'off';",
};

enum { PINNING = sizeof(pinning) / sizeof(pinning[0]) };

static void tell(struct story *st, const char *before, const char *text, const char *after)
{
    char message[256];
    (void)snprintf(message, sizeof(message), "%s%s%s", before, text, after);
    story_client(st, message);
}

/* The next story begins anew, with the database as it is. */
static void begin_again(struct story *st)
{
    story_end(st);
    story_begin(st);
    st->database.until_write = true;
}

static void it_begins_a_block_on_the_primary(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < PINNING; i++) {
        begin_again(st);
        story_client(st, "Q(BEGIN)");
        st->log_size = 0;
        tell(st, "Q(", pinning[i], ")");
        story_server(st, 0, "1 2 C(BEGIN) C(SET) Z(T)");
        assert_true(st->session.backend != NULL && !st->session.backend->is_replica);
        story_client(st, "Q(SELECT 1)");
        story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(T)");
        assert_true(st->session.pin != ROUTER_REASON_NONE);
    }
}

static void it_begins_a_block_on_the_primary_in_the_extended_protocol(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < PINNING; i++) {
        begin_again(st);
        tell(st, "P(|BEGIN) B() E P(|", pinning[i], ") B() E S");
        story_server(st, 0, "1 2 C(BEGIN) 1 2 C(SET) Z(T)");
        assert_true(st->session.backend != NULL && !st->session.backend->is_replica);
        assert_true(st->session.pin != ROUTER_REASON_NONE);
    }
}

static void it_moves_a_block_that_has_read(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < PINNING; i++) {
        begin_again(st);
        open_by_a_read(st);
        assert_true(st->session.backend->is_replica);
        if (i % 2 == 0)
            tell(st, "Q(", pinning[i], ")");
        else
            tell(st, "P(|", pinning[i], ") B() E S");
        assert_true(st->session.backend != NULL && !st->session.backend->is_replica);
    }
}

/* It does nothing there, and the server says so. */
static void in_a_failed_block_it_stays_where_it_is(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < PINNING; i++) {
        begin_again(st);
        open_by_a_read(st);
        story_client(st, "Q(SELECT 1/0)");
        story_server(st, 1, "E(22012) Z(E)");
        st->log_size = 0;
        tell(st, "Q(", pinning[i], ")");
        story_server(st, 1, "E(25P02) Z(E)");
        assert_true(st->session.backend->is_replica);
        story_client(st, "Q(ROLLBACK)");
        story_server(st, 1, "C(ROLLBACK) Z(I)");
        assert_true(st->session.pin == ROUTER_REASON_NONE);
        assert_true(st->session.backend == NULL);
    }
}

static void it_moves_a_block_that_is_read_only(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < PINNING; i++) {
        begin_again(st);
        story_client(st, "Q(BEGIN READ ONLY)");
        story_client(st, "Q(SELECT 1)");
        story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
        tell(st, "Q(", pinning[i], ")");
        assert_true(st->session.backend != NULL && !st->session.backend->is_replica);
        assert_true(st->session.pin != ROUTER_REASON_NONE);
    }
}

static void it_is_refused_in_a_snapshot_that_is_read_only(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < PINNING; i++) {
        begin_again(st);
        story_client(st, "Q(BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY)");
        story_client(st, "Q(SELECT 1)");
        story_server(st, 1, "1 2 C(BEGIN) T(a) D(1) C(SELECT 1) Z(T)");
        tell(st, "Q(", pinning[i], ")");
        assert_true(st->session.pin == ROUTER_REASON_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(it_begins_a_block_on_the_primary),
        STORY(it_begins_a_block_on_the_primary_in_the_extended_protocol),
        STORY(it_moves_a_block_that_has_read),
        STORY(in_a_failed_block_it_stays_where_it_is),
        STORY(it_moves_a_block_that_is_read_only),
        STORY(it_is_refused_in_a_snapshot_that_is_read_only),
    };
    return cmocka_run_group_tests_name("core_pin", tests, NULL, NULL);
}
