/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_users: PgBouncer's auth_file.
 */
#include "config_story.h"

static void read_users(struct story *s, const char *text)
{
    config_parse_users(s->config, "users.txt", text, strlen(text), &s->problems);
}

static void users_are_found_by_name(void **state)
{
    struct story *s = *state;
    read_users(s, "; users\n\"zoe\" \"open sesame\"\n\n  \"adam\" \"md50123456789abcdef0123456789"
                  "abcdef\" \"\"\r\n\"mia\"\t\"SCRAM-SHA-256$4096:c2FsdA==$a:b\"");
    story_is_clean(s);
    assert_int_equal(s->config->users_count, 3);
    assert_string_equal(s->config->users[0].name, "adam");
    assert_string_equal(config_user_find(s->config, "zoe")->secret, "open sesame");
    assert_string_equal(config_user_find(s->config, "mia")->secret,
                        "SCRAM-SHA-256$4096:c2FsdA==$a:b");
    assert_null(config_user_find(s->config, "eve"));
    assert_null(config_user_find(s->config, ""));
}

static void quotes_are_doubled_inside(void **state)
{
    struct story *s = *state;
    read_users(s, "\"a\"\"b\" \"\"\"x\"\"\"\n\"empty\" \"\"\n");
    story_is_clean(s);
    assert_string_equal(config_user_find(s->config, "a\"b")->secret, "\"x\"");
    assert_string_equal(config_user_find(s->config, "empty")->secret, "");
}

static void every_bad_line_is_named_without_its_secret(void **state)
{
    struct story *s = *state;
    read_users(s, "\"good\" \"1\"\n"
                  "zoe \"hush\"\n"
                  "\"zoe\" hush\n"
                  "\"zoe\n"
                  "\"zoe\" \"hush\n"
                  "\"\" \"hush\"\n"
                  "\"good\" \"hush\"\n"
                  "\"zoe\"\n");
    const uint32_t lines[] = {2, 3, 4, 5, 6, 8, 7}; /* twice: found at the end, before sorting */
    assert_int_equal(s->problems.errors, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(s->problems.items[i].line, lines[i]);
        assert_null(strstr(s->problems.items[i].message, "hush"));
    }
    story_error(s, 7, "user good is here twice");
    assert_string_equal(config_user_find(s->config, "good")->secret, "1");
}

static void too_long_a_name_or_secret_is_an_error(void **state)
{
    struct story *s = *state;
    char text[7000];
    snprintf(text, sizeof text, "\"%0128d\" \"x\"\n\"y\" \"%02048d\"\n\"z\" \"%04096d\"\n", 1, 1,
             1);
    read_users(s, text);
    story_error(s, 1, "longer than 127 bytes");
    story_error(s, 2, "longer than 2047 bytes");
    story_error(s, 3, "too long");
}

static void a_file_full_of_users_is_sorted_and_bounded(void **state)
{
    struct story *s = *state;
    static char text[200000];
    size_t used = 0;
    for (int i = 0; i < CONFIG_USERS_MAX + 5; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "\"u%d\" \"s%d\"\n", i, i);
    read_users(s, text);
    story_only_error(s, CONFIG_USERS_MAX + 1, "more than 4096 users");
    assert_int_equal(s->config->users_count, CONFIG_USERS_MAX);
    for (int i = 0; i < CONFIG_USERS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "u%d", i);
        assert_string_equal(config_user_find(s->config, name)->secret + 1, name + 1);
    }
}

static void md5_secrets_cannot_do_scram_and_are_warned_of(void **state)
{
    struct story *s = *state;
    read_users(s, "\"adam\" \"md50123456789abcdef0123456789abcdef\"\n");
    story_read_and_finish(s, "[switchgear]\nserver_passwordless = yes\n" STORY_NODE STORY_DATABASE);
    story_warning(s, 1, "the secrets of 1 users are md5 hashes");
    assert_int_equal(s->problems.errors, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(users_are_found_by_name),
        STORY(quotes_are_doubled_inside),
        STORY(every_bad_line_is_named_without_its_secret),
        STORY(too_long_a_name_or_secret_is_an_error),
        STORY(a_file_full_of_users_is_sorted_and_bounded),
        STORY(md5_secrets_cannot_do_scram_and_are_warned_of),
    };
    return cmocka_run_group_tests_name("config users", tests, NULL, NULL);
}
