/* SPDX-License-Identifier: PostgreSQL
 *
 * What a function has left is asked, followed, or binds.
 */
#include <stdio.h>

#include "core_internal.h"
#include "core_left.h"
#include "core_settings.h"
#include "core_story.h"

#define CALL "primary: Q(SELECT f())\nclient: T D(1) C(SELECT 1) Z(I)\n"
#define NOTHING "T(a) D(|fffffff) D(role|none) C(SELECT 2) Z(I)"

static int begin(void **state)
{
    const int r = story_open(state);
    struct story *st = *state;
    st->database.isolates = true;
    return r;
}

/* The question's end depends on the names that are asked for. */
static void expect_question(struct story *st, const char *before)
{
    char *at = strstr(st->log, "primary: Q(SELECT ''");
    assert_non_null(at);
    *at = '\0';
    assert_string_equal(st->log, before);
    st->log_size = 0;
}

static void calls(struct story *st, const char *text)
{
    char messages[512];
    (void)snprintf(messages, sizeof(messages), "Q(%s)", text);
    st->log_size = 0;
    story_client(st, messages);
    story_server(st, 0, "T(a) D(1) C(SELECT 1) Z(I)");
}

static void what_left_nothing_goes_back(void **state)
{
    struct story *st = *state;
    calls(st, "SELECT f()");
    expect_question(st, CALL);
    story_server(st, 0, NOTHING);
    story_expect(st, "release primary\n");
    assert_true(st->backends[0]->tainted);
    assert_int_equal(st->session.settings->count, 0);
}

static void a_setting_is_taken_over(void **state)
{
    struct story *st = *state;
    calls(st, "SELECT f()");
    story_server(st, 0, "T(a) D(|fffffff) D(work_mem|9MB) D(role|none) C(SELECT 3) Z(I)");
    assert_int_equal(st->session.settings->count, 1);
    assert_string_equal(st->session.settings->items[0].text,
                        "SELECT pg_catalog.set_config(E'work_mem',E'9MB',false)");
    assert_true(st->backends[0]->settings_hash == st->session.settings->hash);
    /* and it is gone again */
    calls(st, "SELECT g()");
    story_server(st, 0, NOTHING);
    assert_int_equal(st->session.settings->count, 0);
}

static void quotes_in_values_stay_in_them(void **state)
{
    struct story *st = *state;
    calls(st, "SELECT f()");
    story_server(st, 0, "T(a) D(|fffffff) D(app.x|a'b\\c) D(role|x\"y) C(SELECT 3) Z(I)");
    assert_int_equal(st->session.settings->count, 2);
    assert_string_equal(st->session.settings->items[0].text,
                        "SELECT pg_catalog.set_config(E'app.x',E'a''b\\\\c',false)");
    assert_string_equal(st->session.settings->items[1].text, "SET ROLE \"x\"\"y\"");
}

static void what_the_client_has_set_keeps_its_text(void **state)
{
    static const char *const same[][2] = {
        {"SET work_mem = '9MB'", "work_mem|9MB"},
        {"SET work_mem TO '9MB'", "work_mem|9MB"},
        {"SET search_path = a, b", "search_path|a, b"},
        {"SET TIME ZONE 'UTC'", "TimeZone|UTC"},
        {"SET ROLE x", "role|x"},
        {"SELECT set_config('app.t', '7', false)", "app.t|7"},
    };
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char messages[512];
        (void)snprintf(messages, sizeof(messages), "Q(%s)", same[i][0]);
        story_client(st, messages);
        story_server(st, 0, "C(SET) Z(I)");
        const struct core_settings *set = st->session.settings;
        assert_int_equal(set->count, 1);
        calls(st, "SELECT f()");
        (void)snprintf(messages, sizeof(messages), "T(a) D(|fffffff) D(%s) C(SELECT 2) Z(I)",
                       same[i][1]);
        story_server(st, 0, messages);
        assert_ptr_equal(st->session.settings, set);
        story_client(st, "Q(DISCARD ALL)");
        story_server(st, 0, "C(DISCARD ALL) Z(I)");
    }
}

static void what_cannot_be_followed_binds(void **state)
{
    static const struct {
        const char *bits;
        uint16_t pin;
    } kinds[] = {
        {"tffffff", ROUTER_PIN_LISTEN}, {"ftfffff", ROUTER_PIN_ADVISORY},
        {"fftffff", ROUTER_PIN_TEMP},   {"ffftfff", ROUTER_PIN_PREPARE},
        {"fffftff", ROUTER_PIN_CURSOR}, {"ffffftf", ROUTER_PIN_OPAQUE},
        {"fffffft", ROUTER_PIN_OPAQUE},
    };
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char messages[128];
        (void)snprintf(messages, sizeof(messages), "T(a) D(|%s) C(SELECT 1) Z(I)", kinds[i].bits);
        calls(st, "SELECT f()");
        story_server(st, 0, messages);
        assert_int_equal(st->session.pins, kinds[i].pin);
        assert_non_null(st->session.backend);
        story_client(st, "Q(DISCARD ALL)");
        story_server(st, 0, "C(DISCARD ALL) Z(I)");
        assert_int_equal(st->session.pins, 0);
    }
}

static void an_answer_that_fails_leaves_it_where_it_is(void **state)
{
    static const char *const answers[] = {
        "E(57014) Z(I)",
        "T(a) C(SELECT 0) Z(I)",
        "T(a) D(|ffff) C(SELECT 1) Z(I)",
        "T(a) D(|fffffxf) C(SELECT 1) Z(I)",
        "T(a) D(role) C(SELECT 1) Z(I)",
    };
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        calls(st, "SELECT f()");
        story_server(st, 0, answers[i]);
        assert_int_equal(st->session.pins, ROUTER_PIN_OPAQUE);
        story_client(st, "Q(DISCARD ALL)"); /* the connection goes: nobody knows what is there */
        st->log_size = 0;
        story_server(st, 0, "C(DISCARD ALL) Z(I)");
        assert_non_null(strstr(st->log, "close primary"));
    }
}

static void a_text_that_left_nothing_eight_times_is_not_asked_about(void **state)
{
    struct story *st = *state;
    for (int i = 0; i < 8; i++) {
        calls(st, "SELECT f()");
        expect_question(st, CALL);
        story_server(st, 0, NOTHING);
    }
    calls(st, "SELECT f()");
    story_expect(st, CALL "release primary\n");
    assert_true(st->backends[0]->tainted);
    calls(st, "SELECT f(), g()");
    assert_non_null(strstr(st->log, "primary: Q(SELECT ''"));
    story_server(st, 0, "T(a) D(|tffffff) C(SELECT 1) Z(I)");
    assert_int_equal(st->worker.counters.lefts_asked, 9);
    assert_int_equal(st->worker.counters.lefts_found, 1);
}

static void custom_settings_that_a_text_names_are_asked_for(void **state)
{
    struct story *st = *state;
    calls(st, "SELECT f('app.tenant'), 'no name', a.b, 'x.y z', 'tail.'");
    story_server(st, 0, NOTHING);
    story_client(st, "P(|DO 'BEGIN SET LOCAL My.Other = 1; SET SESSION p.q = 2; END') B() E() S");
    story_server(st, 0, "1 2 C(DO) Z(I)");
    const char *const *names = (const char *const *)&st->group.custom;
    assert_non_null(*names);
    core_left_text(&st->session, core_span("SET z.z = 1"));
    /* the number of names, then each in 64 bytes */
    uint32_t count;
    memcpy(&count, *names, sizeof(count));
    assert_int_equal(count, 4);
    assert_string_equal(*names + 4, "app.tenant");
    assert_string_equal(*names + 4 + 64, "my.other");
    assert_string_equal(*names + 4 + 2 * 64, "p.q");
}

static void nothing_is_asked_where_texts_are_believed(void **state)
{
    struct story *st = *state;
    st->database.isolates = false;
    calls(st, "SELECT f()");
    story_expect(st, CALL "release primary\n");
}

static void without_a_pin_for_it_the_session_ends(void **state)
{
    uint64_t used = 1;
    struct story *st = *state;
    st->group.pins_used = &used;
    st->group.pins_max = 1;
    calls(st, "SELECT f()");
    st->log_size = 0;
    story_server(st, 0, "T(a) D(|tffffff) C(SELECT 1) Z(I)");
    assert_non_null(strstr(st->log, "client: E(FATAL 53300"));
    assert_non_null(strstr(st->log, "close client"));
    assert_int_equal(used, 1);
    st->group.pins_used = NULL;
}

static void a_connection_that_ends_is_not_asked(void **state)
{
    struct story *st = *state;
    story_client(st, "Q(SELECT f())");
    st->backends[0]->broken = true;
    st->log_size = 0;
    story_server(st, 0, "E(0A000) Z(I)");
    story_expect(st, "client: E(0A000) Z(I)\nclose primary\n");
    story_client(st, "Q(SELECT f())"); /* and another serves */
    story_expect(st, "primary: Q(SELECT f())\n");
}

/* An untrusted language, say. `used`: pins of one. */
static void calls_opaque(struct story *st, uint64_t *used)
{
    static const struct router_fact fact = {.kind = ROUTER_FACT_FUNCTION,
                                            .flags = ROUTER_FACT_RUNS | ROUTER_FACT_HOME |
                                                     ROUTER_FACT_OPAQUE,
                                            .name = {"f", 1}};
    uint64_t changes = 0, suspects = 0;
    struct router_facts *facts = router_facts_create(&fact, 1, NULL, 0);
    struct core_catalog catalog = {.facts = facts, .changes = &changes, .suspects = &suspects};
    st->group.catalog = &catalog;
    st->group.pins_used = used;
    st->group.pins_max = 1;
    calls(st, "SELECT f()");
    assert_int_equal(suspects, 1);
    assert_non_null(st->session.backend);
    story_leave(st);
    st->group.catalog = NULL;
    st->group.pins_used = NULL;
    router_facts_destroy(facts);
}

static void what_nobody_can_tell_binds_and_ends_with_its_session(void **state)
{
    uint64_t used = 0;
    calls_opaque(*state, &used);
    story_expect(*state, CALL "close primary\n");
    assert_int_equal(used, 1); /* until the session is taken apart */
}

static void or_runs_all_the_same_and_ends_its_connection(void **state)
{
    uint64_t used = 1;
    calls_opaque(*state, &used);
    char *asked = strstr(((struct story *)*state)->log, "primary: Q(SELECT ''");
    assert_non_null(asked);
    assert_int_equal(used, 1);
    assert_non_null(strstr(asked, "close primary"));
}

#define LEFT(name) cmocka_unit_test_setup_teardown(name, begin, story_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEFT(what_left_nothing_goes_back),
        LEFT(a_setting_is_taken_over),
        LEFT(quotes_in_values_stay_in_them),
        LEFT(what_the_client_has_set_keeps_its_text),
        LEFT(what_cannot_be_followed_binds),
        LEFT(an_answer_that_fails_leaves_it_where_it_is),
        LEFT(a_text_that_left_nothing_eight_times_is_not_asked_about),
        LEFT(custom_settings_that_a_text_names_are_asked_for),
        LEFT(nothing_is_asked_where_texts_are_believed),
        LEFT(without_a_pin_for_it_the_session_ends),
        LEFT(a_connection_that_ends_is_not_asked),
        LEFT(what_nobody_can_tell_binds_and_ends_with_its_session),
        LEFT(or_runs_all_the_same_and_ends_its_connection),
    };
    return cmocka_run_group_tests_name("core left", tests, NULL, NULL);
}
