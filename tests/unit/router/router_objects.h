/* SPDX-License-Identifier: PostgreSQL
 *
 * router_objects: a database of which facts are known, and tables of statements about it.
 */
#ifndef ROUTER_OBJECTS_H
#define ROUTER_OBJECTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "router_change.h"
#include "router_classify.h"

enum {
    RUNS = ROUTER_FACT_RUNS,
    WRITE_RUNS = ROUTER_FACT_WRITE_RUNS,
    HOME = ROUTER_FACT_HOME,
    OUTSIDE = ROUTER_FACT_OUTSIDE,
    OPAQUE = ROUTER_FACT_OPAQUE,
    WRITE_OPAQUE = ROUTER_FACT_WRITE_OPAQUE,
};

#define LONG_63 "a23456789b123456789c123456789d123456789e123456789f123456789g123"

static const struct {
    enum router_fact_kind kind;
    uint8_t flags;
    const char *name;
} objects[] = {
    {ROUTER_FACT_RELATION, 0, "t"},
    {ROUTER_FACT_RELATION, 0, "u"},
    {ROUTER_FACT_RELATION, 0, "odd_seq"}, /* a table, whatever its name */
    {ROUTER_FACT_RELATION, 0, "plain_view"},
    {ROUTER_FACT_RELATION, WRITE_RUNS, "triggered"},
    {ROUTER_FACT_RELATION, WRITE_RUNS | WRITE_OPAQUE, "darkly_triggered"},
    {ROUTER_FACT_RELATION, RUNS | WRITE_RUNS, "policed"},
    {ROUTER_FACT_RELATION, RUNS, "stable_view"},
    {ROUTER_FACT_RELATION, RUNS | HOME, "volatile_view"},
    {ROUTER_FACT_RELATION, RUNS | HOME | OPAQUE, "dark_view"},
    {ROUTER_FACT_RELATION, RUNS | HOME | OUTSIDE, "remote_view"},
    {ROUTER_FACT_RELATION, HOME, "tickets"},
    {ROUTER_FACT_RELATION, HOME, "unlogged"},
    {ROUTER_FACT_RELATION, HOME | OUTSIDE, "far"},
    {ROUTER_FACT_RELATION, RUNS | HOME, "pg_class"},
    {ROUTER_FACT_RELATION, HOME, LONG_63},
    {ROUTER_FACT_RELATION, HOME, "Näh"},
    {ROUTER_FACT_RELATION, HOME, "qu\"ote"},
    {ROUTER_FACT_FUNCTION, 0, "similarity"},
    {ROUTER_FACT_FUNCTION, RUNS, "stable_f"},
    {ROUTER_FACT_FUNCTION, RUNS | HOME, "volatile_f"},
    {ROUTER_FACT_FUNCTION, RUNS | HOME | OPAQUE, "dark_f"},
    {ROUTER_FACT_FUNCTION, RUNS | HOME | OUTSIDE, "remote_f"},
    {ROUTER_FACT_FUNCTION, RUNS | HOME, "lower"},
    {ROUTER_FACT_FUNCTION, RUNS, "upper"},
    {ROUTER_FACT_FUNCTION, 0, "abs"},
    {ROUTER_FACT_TYPE, 0, "mood"},
    {ROUTER_FACT_TYPE, 0, "vector"},
    {ROUTER_FACT_TYPE, RUNS, "checked"},
    {ROUTER_FACT_OPERATOR, 0, "<=>"},
    {ROUTER_FACT_OPERATOR, RUNS, "@@@"},
    {ROUTER_FACT_OPERATOR, RUNS | OUTSIDE, "<"},
    {ROUTER_FACT_OPERATOR, RUNS, ">="},
    {ROUTER_FACT_OPERATOR, 0, "="},
    {ROUTER_FACT_OPERATOR_APART, RUNS | HOME, "="},
    {ROUTER_FACT_OPERATOR_APART, RUNS, "+"},
    {ROUTER_FACT_OPERATOR_APART, RUNS | HOME, "<#>"},
};
enum { OBJECTS_COUNT = sizeof(objects) / sizeof(objects[0]) };

static const struct router_facts *facts;

static int set_up(void **state)
{
    struct router_fact all[OBJECTS_COUNT];
    for (size_t i = 0; i < OBJECTS_COUNT; i++)
        all[i] = (struct router_fact){
            .kind = (uint8_t)objects[i].kind,
            .flags = objects[i].flags,
            .name = {.base = objects[i].name, .size = strlen(objects[i].name)}};
    *state = router_facts_create(all, OBJECTS_COUNT, NULL, 0);
    facts = *state;
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    router_facts_destroy(*state);
    return 0;
}

/* What must hold of a class, by letters: t taints, w writes, p proven, o opaque, x outside, h home,
 * c changes_catalog. What is not named must not. */
struct row {
    const char *text;
    enum router_verdict verdict;
    enum router_reason reason;
    const char *is;
};

#define READ(reason) ROUTER_VERDICT_READ, ROUTER_REASON_##reason
#define WRITE(reason) ROUTER_VERDICT_WRITE, ROUTER_REASON_##reason
#define PIN(reason) ROUTER_VERDICT_PIN, ROUTER_REASON_##reason
#define SESSION(reason) ROUTER_VERDICT_SESSION, ROUTER_REASON_##reason

static struct router_class classify(const char *text, const struct router_context *context)
{
    struct router_class class;
    router_classify(text, strlen(text), context, &class, NULL);
    return class;
}

static void letters(const struct router_class *c, char ret[16])
{
    size_t n = 0;
    const struct {
        char letter;
        bool is;
    } all[] = {{'t', c->taints},          {'w', c->writes},     {'p', c->proven},
               {'o', c->opaque},          {'x', c->outside},    {'h', c->home},
               {'c', c->changes_catalog}, {'m', c->makes_names}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].is)
            ret[n++] = all[i].letter;
    ret[n] = '\0';
}

static void check(const struct row *rows, size_t count, const struct router_context *context)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const struct router_class class = classify(rows[i].text, context);
        char is[16];
        letters(&class, is);
        if (class.verdict == rows[i].verdict && class.reason == rows[i].reason &&
            strcmp(is, rows[i].is) == 0)
            continue;
        wrong++;
        print_error("%s/%s \"%s\" (not \"%s\"): %s\n", router_verdict_text(class.verdict),
                    router_reason_text(class.reason), is, rows[i].is, rows[i].text);
    }
    assert_int_equal(wrong, 0);
}
#define CHECK(rows, ...) \
    check(rows, sizeof(rows) / sizeof((rows)[0]), &(struct router_context){__VA_ARGS__})
#define STRICT .facts = facts, .strict = true, .key = 1

#endif
