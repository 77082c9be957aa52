/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_ident: pg_ident.conf: who may be whom, and what is wrong with a line.
 */
#include "config_hba.h"
#include "config_story.h"

static void read_ident(struct story *s, const char *text)
{
    config_parse_ident(s->config, "ident.conf", text, strlen(text), &s->problems);
}

static void maps_say_who_may_be_whom(void **state)
{
    struct story *s = *state;
    read_ident(s, "# map system database\n"
                  "m root postgres\n"
                  "m root dba\n"
                  "m /^(.*)@example\\.com$ \\1\n"
                  "m /^(.*)@guest$ guest\n"
                  "n \"CN=web,O=shop\" web\n"
                  "any boss all\n"
                  "some boss /^s_\n"
                  "q /^(x)(y)?$ \"pre_\\1_post\"\n");
    story_is_clean(s);
    const struct config *c = s->config;
    assert_true(config_ident_allows(c, "m", "root", "postgres"));
    assert_true(config_ident_allows(c, "m", "root", "dba"));
    assert_false(config_ident_allows(c, "m", "root", "root")); /* with a map only what it says */
    assert_true(config_ident_allows(c, "m", "zoe@example.com", "zoe"));
    assert_false(config_ident_allows(c, "m", "zoe@example.com", "adam"));
    assert_false(config_ident_allows(c, "m", "zoe@exampleXcom", "zoe"));
    assert_true(config_ident_allows(c, "m", "eve@guest", "guest"));
    assert_true(config_ident_allows(c, "n", "CN=web,O=shop", "web"));
    assert_false(config_ident_allows(c, "n", "root", "postgres"));
    assert_true(config_ident_allows(c, "any", "boss", "whoever"));
    assert_true(config_ident_allows(c, "some", "boss", "s_1"));
    assert_false(config_ident_allows(c, "some", "boss", "t_1"));
    assert_true(config_ident_allows(c, "q", "x", "pre_x_post"));
    assert_true(config_ident_allows(c, "", "zoe", "zoe"));
    assert_false(config_ident_allows(c, "", "zoe", "adam"));
    assert_false(config_ident_allows(c, "unknown", "zoe", "zoe"));
}

static void every_bad_map_is_named(void **state)
{
    struct story *s = *state;
    read_ident(s, "m root\n"
                  "m root a b\n"
                  "m root,toor a\n"
                  "m /( a\n"
                  "m root \\1\n"
                  "m /^root$ \\1\n"
                  "m root +staff\n"
                  "m \"\" a\n");
    assert_int_equal(s->problems.errors, 8);
    for (uint32_t line = 1; line <= 3; line++)
        story_error(s, line, "write three fields");
    story_error(s, 4, "no regular expression");
    story_error(s, 5, "part in parentheses");
    story_error(s, 6, "part in parentheses");
    story_error(s, 7, "members of a role");
    story_error(s, 8, "a name is empty");
    assert_int_equal(s->config->idents_count, 0);
}

static void a_part_that_is_too_long_maps_to_nobody(void **state)
{
    struct story *s = *state;
    char name[3000];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    read_ident(s, "m /^(.*)$ \\1\n");
    assert_false(config_ident_allows(s->config, "m", name, name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(maps_say_who_may_be_whom),
        STORY(every_bad_map_is_named),
        STORY(a_part_that_is_too_long_maps_to_nobody),
    };
    return cmocka_run_group_tests_name("config_ident", tests, NULL, NULL);
}
