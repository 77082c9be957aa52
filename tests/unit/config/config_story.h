/* SPDX-License-Identifier: PostgreSQL
 *
 * config_story: what the tests of config/ share: a config, its problems, and what was said of them.
 */
#ifndef CONFIG_STORY_H
#define CONFIG_STORY_H

#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct story {
    struct config *config;
    struct config_problems problems;
    const char *environment[8][2];
};

/* A file that is right, but for what a test adds to it. */
#define STORY_NODE "[node pg1]\nhost = 10.0.0.1\n"
#define STORY_DATABASE "[database app]\n"
#define STORY_LOGIN "[switchgear]\nauth_type = trust\n"

static inline int story_begin(void **state)
{
    struct story *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->config = config_create();
    assert_non_null(s->config);
    config_problems_init(&s->problems);
    *state = s;
    return 0;
}

static inline int story_end(void **state)
{
    struct story *s = *state;
    config_destroy(s->config);
    config_problems_deinit(&s->problems);
    config_problems_deinit(&s->problems); /* twice is safe */
    free(s);
    return 0;
}

static inline void story_read(struct story *s, const char *text)
{
    config_parse_ini(s->config, "sg.ini", text, strlen(text), &s->problems);
}

static inline void story_read_and_finish(struct story *s, const char *text)
{
    story_read(s, text);
    config_finish(s->config, &s->problems);
}

static inline void story_print(const struct story *s)
{
    for (uint32_t i = 0; i < s->problems.count; i++)
        print_message("%s:%u:%s %s\n", s->problems.items[i].file, s->problems.items[i].line,
                      s->problems.items[i].warning ? " warning:" : "",
                      s->problems.items[i].message);
}

static inline void story_is_clean(const struct story *s)
{
    if (s->problems.count != 0)
        story_print(s);
    assert_int_equal(s->problems.count, 0);
    assert_int_equal(s->problems.errors, 0);
}

/* There is a problem at this line whose message has this in it. */
static inline const struct config_problem *story_problem(const struct story *s, uint32_t line,
                                                         const char *part)
{
    for (uint32_t i = 0; i < s->problems.count; i++) {
        const struct config_problem *problem = &s->problems.items[i];
        if (problem->line == line && strstr(problem->message, part) != NULL)
            return problem;
    }
    story_print(s);
    fail_msg("no problem in line %u that says: %s", line, part);
    return NULL;
}

static inline void story_error(const struct story *s, uint32_t line, const char *part)
{
    assert_false(story_problem(s, line, part)->warning);
}

static inline void story_warning(const struct story *s, uint32_t line, const char *part)
{
    assert_true(story_problem(s, line, part)->warning);
}

/* The one and only error. */
static inline void story_only_error(const struct story *s, uint32_t line, const char *part)
{
    story_error(s, line, part);
    if (s->problems.errors != 1)
        story_print(s);
    assert_int_equal(s->problems.errors, 1);
}

#define STORY(f) cmocka_unit_test_setup_teardown(f, story_begin, story_end)

#endif
