/* SPDX-License-Identifier: PostgreSQL
 *
 * test_config_write: the sample file, the reference page and the list of options. With the argument
 * `sample`, `reference` or `options` it prints that text instead, for whoever makes the files.
 */
#include "config_story.h"

static char text[65536];

static void the_sample_is_a_file_without_a_mistake(void **state)
{
    struct story *s = *state;
    const size_t size = config_write_sample(text, sizeof text);
    assert_true(size < sizeof text);
    assert_int_equal(strlen(text), size);
    story_read_and_finish(s, text);
    story_is_clean(s);
    assert_int_equal(s->config->nodes_count, 2);
    assert_non_null(config_database_find(s->config, "app"));
}

/* With the commented options switched on it still parses: each default can be written. */
static void every_commented_option_of_the_sample_parses(void **state)
{
    struct story *s = *state;
    (void)config_write_sample(text, sizeof text);
    for (char *at = strstr(text, "\n;"); at != NULL; at = strstr(at + 1, "\n;")) {
        if (at[2] != ' ')
            memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
    story_read_and_finish(s, text);
    story_is_clean(s);
}

static void every_option_is_in_the_sample_the_reference_and_the_list(void **state)
{
    (void)state;
    static char sample[65536];
    static char list[65536];
    assert_true(config_write_reference(text, sizeof text) < sizeof text);
    assert_true(config_write_options(list, sizeof list) < sizeof list);
    assert_true(config_write_sample(sample, sizeof sample) < sizeof sample);
    for (size_t i = 0; i < config_options_count; i++) {
        char needle[100];
        snprintf(needle, sizeof needle, "| `%s` | ", config_options[i].name);
        assert_non_null(strstr(text, needle));
        snprintf(needle, sizeof needle, "\t%s\t", config_options[i].name);
        assert_non_null(strstr(list, needle));
        snprintf(needle, sizeof needle, "%s =", config_options[i].name);
        assert_non_null(strstr(sample, needle));
        assert_non_null(strstr(text, config_options[i].help));
    }
    assert_non_null(strstr(text, "DATABASE_READ_REPLICAS"));
}

static void a_line_of_the_list_has_nine_columns(void **state)
{
    (void)state;
    uint32_t lines = 0;
    (void)config_write_options(text, sizeof text);
    for (const char *at = text; *at != '\0'; lines++) {
        uint32_t tabs = 0;
        for (; *at != '\n'; at++)
            tabs += *at == '\t' ? 1 : 0;
        assert_int_equal(tabs, 8);
        at++;
    }
    assert_int_equal(lines, config_options_count + 1);
}

static void a_buffer_that_is_too_small_is_not_overrun(void **state)
{
    (void)state;
    const size_t size = config_write_sample(NULL, 0);
    char small[50];
    memset(small, 'x', sizeof small);
    assert_int_equal(config_write_sample(small, 40), size);
    assert_int_equal(small[39], '\0');
    assert_int_equal(small[40], 'x');
    assert_int_equal(config_write_sample(text, size + 1), size);
    assert_int_equal(strlen(text), size);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        STORY(the_sample_is_a_file_without_a_mistake),
        STORY(every_commented_option_of_the_sample_parses),
        STORY(every_option_is_in_the_sample_the_reference_and_the_list),
        cmocka_unit_test(a_line_of_the_list_has_nine_columns),
        cmocka_unit_test(a_buffer_that_is_too_small_is_not_overrun),
    };
    const struct {
        const char *name;
        size_t (*write)(char *buf, size_t buf_size);
    } pages[] = {{"sample", config_write_sample},
                 {"reference", config_write_reference},
                 {"options", config_write_options}};
    for (size_t i = 0; argc == 2 && i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(argv[1], pages[i].name) != 0)
            continue;
        (void)pages[i].write(text, sizeof text);
        return fputs(text, stdout) < 0;
    }
    return cmocka_run_group_tests_name("config write", tests, NULL, NULL);
}
