/* SPDX-License-Identifier: PostgreSQL
 *
 * config_value: values of options from text and back. Pure; no locale. Everything is written out
 * again in the largest unit that shows it exactly.
 */
#include "config_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};
/* Smallest first. */
static const struct unit durations[] = {{"us", 1000},
                                        {"ms", 1000000},
                                        {"s", 1000000000},
                                        {"m", UINT64_C(60000000000)},
                                        {"h", UINT64_C(3600000000000)},
                                        {NULL, 0}};
static const struct unit sizes[] = {
    {"bytes", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {NULL, 0}};
static const struct unit shares[] = {{"%", 10}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};

static const struct unit *unit_find(const struct unit *units, const char *name)
{
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (strcmp(u->name, name) == 0)
            return u;
    }
    return NULL;
}

/* "12", "1.5s", "20 ms": the number times its unit. False: no number, an unknown unit, too large,
 * or finer than the smallest step. */
static bool number_parse(const char *text, const struct unit *units, const char *plain_unit,
                         uint64_t *ret)
{
    uint64_t digits = 0;
    uint64_t scale = 1; /* 10 to the number of decimals */
    const char *at = text;
    bool point = false;
    if (*at < '0' || *at > '9')
        return false;
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !point); at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        const uint64_t digit = (uint64_t)(*at - '0');
        if (digits > (UINT64_MAX - digit) / 10 || scale > UINT64_MAX / 10)
            return false;
        digits = digits * 10 + digit;
        scale *= point ? 10 : 1;
    }
    if (at[-1] == '.')
        return false;
    while (*at == ' ' || *at == '\t')
        at++;
    const struct unit *u = unit_find(units, *at == '\0' ? plain_unit : at);
    if (u == NULL || (digits != 0 && u->factor > UINT64_MAX / digits))
        return false;
    if (digits * u->factor % scale != 0)
        return false;
    *ret = digits * u->factor / scale;
    return true;
}

static const struct unit *units_of(enum config_type type)
{
    switch (type) {
    case CONFIG_DURATION:
        return durations;
    case CONFIG_SIZE:
        return sizes;
    case CONFIG_SHARE:
        return shares;
    case CONFIG_BOOL:
    case CONFIG_INTEGER:
    case CONFIG_STRING:
    case CONFIG_ENUM:
    case CONFIG_LIST:
        break;
    }
    return counts;
}

static const char *type_hint(enum config_type type)
{
    switch (type) {
    case CONFIG_BOOL:
        return "write yes or no";
    case CONFIG_INTEGER:
        return "write a whole number";
    case CONFIG_DURATION:
        return "write a number and us, ms, s, m or h, for example 500ms";
    case CONFIG_SIZE:
        return "write a number and kB, MB or GB, for example 64kB";
    case CONFIG_SHARE:
        return "write a share such as 50%";
    case CONFIG_STRING:
    case CONFIG_ENUM:
    case CONFIG_LIST:
        break;
    }
    return "write one of";
}

static bool number_of(const struct config_option *o, const char *text, uint64_t *ret)
{
    return number_parse(text, units_of(o->type), o->unit, ret);
}

static const char *number_check(const struct config_option *o, const char *text,
                                struct config_arena *scratch, uint64_t *ret)
{
    const bool may_be_auto = strcmp(o->default_text, "auto") == 0;
    uint64_t value = 0;
    uint64_t bound = 0;
    if (!number_of(o, text, &value))
        return config_arena_print(scratch, "%s = %s is not valid: %s%s", o->name, text,
                                  type_hint(o->type), may_be_auto ? ", or auto" : "");
    if (o->min_text != NULL && number_of(o, o->min_text, &bound) && value < bound)
        return config_arena_print(scratch, "%s = %s is too small: the least is %s", o->name, text,
                                  o->min_text);
    if (o->max_text != NULL && number_of(o, o->max_text, &bound) && value > bound)
        return config_arena_print(scratch, "%s = %s is too large: the most is %s", o->name, text,
                                  o->max_text);
    *ret = value;
    return NULL;
}

static const char *choice_check(const struct config_option *o, const char *text,
                                struct config_arena *scratch, int *ret)
{
    const char *all = "";
    for (int i = 0; o->choices[i] != NULL; i++) {
        if (strcmp(o->choices[i], text) == 0) {
            *ret = i;
            return NULL;
        }
        all = config_arena_print(scratch, "%s%s%s", all, i == 0 ? "" : ", ", o->choices[i]);
    }
    return config_arena_print(scratch, "%s = %s is not valid: write one of %s", o->name, text, all);
}

static bool bool_parse(const char *text, bool *ret)
{
    static const char *const words[] = {"yes", "no", "on", "off", "true", "false", "1", "0"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2 == 0;
            return true;
        }
    }
    return false;
}

const char *config_value_parse(const struct config_option *o, const char *text,
                               struct config_arena *scratch, union config_value *ret,
                               bool *ret_automatic)
{
    union config_value value = {0};
    const char *wrong = NULL;
    uint64_t share = 0;
    int choice = 0;
    *ret_automatic = false;
    switch (o->type) {
    case CONFIG_BOOL:
        if (!bool_parse(text, &value.boolean))
            wrong = config_arena_print(scratch, "%s = %s is not valid: %s", o->name, text,
                                       type_hint(o->type));
        break;
    case CONFIG_INTEGER:
        if (strcmp(text, "auto") == 0 && strcmp(o->default_text, "auto") == 0) {
            *ret_automatic = true;
            break;
        }
        wrong = number_check(o, text, scratch, &value.number);
        break;
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        wrong = number_check(o, text, scratch, &value.number);
        break;
    case CONFIG_SHARE:
        wrong = number_check(o, text, scratch, &share);
        value.share = (uint32_t)share; /* its bounds say at most 1000 */
        break;
    case CONFIG_ENUM:
        wrong = choice_check(o, text, scratch, &value.choice);
        break;
    case CONFIG_STRING:
        if (o->choices != NULL)
            wrong = choice_check(o, text, scratch, &choice);
        value.string = text;
        break;
    case CONFIG_LIST:
        value.string = text;
        break;
    }
    if (wrong == NULL)
        *ret = value;
    return wrong;
}

void config_value_store(const struct config_option *o, void *section_struct,
                        union config_value value)
{
    void *at = (char *)section_struct + o->offset;
    switch (o->type) {
    case CONFIG_BOOL:
        memcpy(at, &value.boolean, sizeof value.boolean);
        break;
    case CONFIG_INTEGER:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        memcpy(at, &value.number, sizeof value.number);
        break;
    case CONFIG_SHARE:
        memcpy(at, &value.share, sizeof value.share);
        break;
    case CONFIG_ENUM:
        memcpy(at, &value.choice, sizeof value.choice);
        break;
    case CONFIG_STRING:
    case CONFIG_LIST:
        memcpy(at, &value.string, sizeof value.string);
        break;
    }
}

static union config_value value_load(const struct config_option *o, const void *section_struct)
{
    const void *at = (const char *)section_struct + o->offset;
    union config_value value = {0};
    switch (o->type) {
    case CONFIG_BOOL:
        memcpy(&value.boolean, at, sizeof value.boolean);
        break;
    case CONFIG_INTEGER:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        memcpy(&value.number, at, sizeof value.number);
        break;
    case CONFIG_SHARE:
        memcpy(&value.share, at, sizeof value.share);
        break;
    case CONFIG_ENUM:
        memcpy(&value.choice, at, sizeof value.choice);
        break;
    case CONFIG_STRING:
    case CONFIG_LIST:
        memcpy(&value.string, at, sizeof value.string);
        break;
    }
    return value;
}

bool config_value_is_default(const struct config_option *o, const void *section_struct,
                             struct config_arena *scratch)
{
    const union config_value value = value_load(o, section_struct);
    union config_value usual = {0};
    bool automatic = false;
    const char *wrong = config_value_parse(o, o->default_text, scratch, &usual, &automatic);
    assert(wrong == NULL);
    switch (o->type) {
    case CONFIG_BOOL:
        return value.boolean == usual.boolean;
    case CONFIG_INTEGER:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return value.number == usual.number;
    case CONFIG_SHARE:
        return value.share == usual.share;
    case CONFIG_ENUM:
        return value.choice == usual.choice;
    case CONFIG_STRING:
    case CONFIG_LIST:
        break;
    }
    assert(value.string != NULL && usual.string != NULL);
    return strcmp(value.string, usual.string) == 0;
}

/* Nanoseconds below a microsecond do not come from text, but from config_finish()'s quarter. */
static const char *number_text(uint64_t value, const struct unit *units, char *buf, size_t size)
{
    const struct unit *best = &units[0];
    if (value == 0 || value % best->factor != 0) {
        snprintf(buf, size, "%llu%s", (unsigned long long)(value / best->factor),
                 value == 0 ? "" : best->name);
        return buf;
    }
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (value % u->factor == 0)
            best = u;
    }
    assert(best->name != NULL);
    snprintf(buf, size, "%llu%s", (unsigned long long)(value / best->factor),
             strcmp(best->name, "bytes") == 0 ? "" : best->name);
    return buf;
}

const char *config_value_text(const struct config_option *o, const void *section_struct, char *buf,
                              size_t buf_size)
{
    const union config_value value = value_load(o, section_struct);
    switch (o->type) {
    case CONFIG_BOOL:
        return value.boolean ? "yes" : "no";
    case CONFIG_INTEGER:
        if (value.number == 0 && strcmp(o->default_text, "auto") == 0 &&
            o->section == CONFIG_SECTION_SWITCHGEAR)
            return "auto";
        return number_text(value.number, counts, buf, buf_size);
    case CONFIG_DURATION:
        return number_text(value.number, durations, buf, buf_size);
    case CONFIG_SIZE:
        return number_text(value.number, sizes, buf, buf_size);
    case CONFIG_SHARE:
        if (value.share % 10 == 0)
            snprintf(buf, buf_size, "%u%%", value.share / 10);
        else
            snprintf(buf, buf_size, "%u.%u%%", value.share / 10, value.share % 10);
        return buf;
    case CONFIG_ENUM:
        return o->choices[value.choice];
    case CONFIG_STRING:
    case CONFIG_LIST:
        break;
    }
    assert(value.string != NULL);
    return value.string;
}
