/* SPDX-License-Identifier: PostgreSQL
 *
 * core_adopt: compares and takes over. A value that a text of the client's has set as it stands is
 * left as the client's text, so that equal sessions stay equal; any other is set by its value.
 */
#include "core_adopt.h"

#include <stdio.h>
#include <strings.h>

#include "core_follow.h"
#include "core_internal.h"

enum { NAME_SIZE = 128, TEXT_SIZE = ROUTER_CHANGE_TEXT_MAX };

void core_adopt_drop(struct core_adoption *d)
{
    if (d->next != NULL)
        core_settings_release(d->session->worker, d->next);
    d->next = NULL;
}

void core_adopt_begin(struct core_adoption *d, struct core_session *s)
{
    memset(d, 0, sizeof(*d));
    d->session = s;
    d->next = core_settings_hold(s->settings);
}

/* ---- the text that sets a value ---- */

/* Doubles what has to be doubled within `quote`. False: no room. */
static bool put(char *text, size_t *size, struct proto_span value, char quote)
{
    for (size_t i = 0; i < value.size; i++) {
        const char c = (char)value.base[i];
        const bool twice = c == quote || (quote == '\'' && c == '\\');
        if (c == '\0' || *size + 2 >= TEXT_SIZE)
            return false;
        if (twice)
            text[(*size)++] = c;
        text[(*size)++] = c;
    }
    return true;
}

static bool make_text(char *text, const char *name, struct proto_span value)
{
    const bool role = strcmp(name, "role") == 0;
    const bool user = strcmp(name, "session_authorization") == 0;
    size_t size = (size_t)snprintf(text, TEXT_SIZE, "%s",
                                   role   ? "SET ROLE \""
                                   : user ? "SET SESSION AUTHORIZATION \""
                                          : "SELECT pg_catalog.set_config(E'");
    if (role || user) {
        if (!put(text, &size, value, '"') || size + 2 >= TEXT_SIZE)
            return false;
        memcpy(text + size, "\"", 2);
        return true;
    }
    if (!put(text, &size, core_span(name), '\'') || size + 5 >= TEXT_SIZE)
        return false;
    memcpy(text + size, "',E'", 4);
    size += 4;
    if (!put(text, &size, value, '\'') || size + 9 >= TEXT_SIZE)
        return false;
    memcpy(text + size, "',false)", 9);
    return true;
}

/* ---- what a text has set ---- */

/* 'text' at `*at`, or E'text'. False: it is none, or one whose meaning depends on settings. */
static bool read_literal(const char **at, char **ret, const char *end)
{
    const bool escapes = (**at | 0x20) == 'e';
    const char *c = *at + escapes;
    if (*c++ != '\'')
        return false;
    for (; *c != '\'' || c[1] == '\''; c++) {
        if (*c == '\0' || *ret == end || (*c == '\\' && (!escapes || c[1] != '\\')))
            return false;
        *(*ret)++ = *c;
        c += *c == '\'' || *c == '\\';
    }
    *at = c + 1;
    return true;
}

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_.+-", c) != NULL);
}

/* A word, folded as PostgreSQL folds it, or a name in quotes, which keeps them as SHOW does. */
static bool read_word(const char **at, char **ret, const char *end)
{
    const char *c = *at;
    const bool quoted = *c == '"';
    while (*c != '\0' && *ret != end && (quoted || in_word(*c))) {
        *(*ret)++ = quoted ? *c : core_lower(*c);
        if (*c++ == '"' && c > *at + 1)
            break;
    }
    const bool complete = quoted ? c > *at + 1 && c[-1] == '"' && *c != '"' : c > *at;
    *at = c;
    return complete;
}

/* The values behind SET name TO, as SHOW shows them. */
static bool read_values(const char *at, char *ret, const char *end)
{
    for (;;) {
        at += strspn(at, " \t\n");
        const bool literal = *at == '\'' || ((*at | 0x20) == 'e' && at[1] == '\'');
        if (!(literal ? read_literal(&at, &ret, end) : read_word(&at, &ret, end)))
            return false;
        at += strspn(at, " \t\n");
        if (*at != ',' || end - ret < 2)
            break;
        at++;
        *ret++ = ',';
        *ret++ = ' ';
    }
    *ret = '\0';
    return *at == '\0' || (*at == ';' && at[1] == '\0');
}

/* What stands between SET and the values in the forms of their own. */
static const struct {
    const char *name, *words;
} forms[] = {
    {"timezone", "time zone "},
    {"role", "role "},
    {"session_authorization", "session authorization "},
};

/* Where the values begin in SET name TO, SET name = or such a form; NULL: it is another statement.
 */
static const char *behind_name(const char *text, const char *name)
{
    static const char blanks[] = " \t\n", session[] = "session ";
    if (strncasecmp(text, "set ", 4) != 0)
        return NULL;
    const char *at = text + 4 + strspn(text + 4, blanks);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strcmp(name, forms[i].name) == 0 &&
            strncasecmp(at, forms[i].words, strlen(forms[i].words)) == 0)
            return at + strlen(forms[i].words);
    if (strncasecmp(at, session, sizeof(session) - 1) == 0)
        at += sizeof(session) - 1;
    if (strncasecmp(at, name, strlen(name)) != 0)
        return NULL;
    at += strlen(name) + strspn(at + strlen(name), blanks);
    if (*at == '=')
        return at + 1;
    return strncasecmp(at, "to ", 3) == 0 ? at + 3 : NULL;
}

static bool read_value(const struct core_setting *one, char *ret, const char *end)
{
    static const char call[] = "SELECT pg_catalog.set_config(";
    if (strncmp(one->text, call, sizeof(call) - 1) == 0) {
        const char *at = one->text + sizeof(call) - 1;
        char name[TEXT_SIZE], *to = name;
        if (!read_literal(&at, &to, name + sizeof(name)) || *at++ != ',' ||
            !read_literal(&at, &ret, end))
            return false;
        *ret = '\0';
        return strcmp(at, ",false)") == 0;
    }
    const char *from = behind_name(one->text, one->name);
    return from != NULL && read_values(from, ret, end);
}

/* Exactly: what differs in a letter is another value. A text that is not understood does not say
 * it; what is then taken over has the text that is made of it each time. */
static bool says(const struct core_setting *one, struct proto_span value)
{
    char said[TEXT_SIZE];
    if (make_text(said, one->name, value) && strcmp(said, one->text) == 0)
        return true;
    return read_value(one, said, said + sizeof(said) - 1) && core_text_equal(value, said);
}

static bool is_wide(const char *text)
{
    for (; *text != '\0'; text++)
        if ((uint8_t)*text >= 0x80)
            return true;
    return false;
}

/* ---- rows ---- */

static void replace(struct core_adoption *d, struct core_settings *next)
{
    core_settings_release(d->session->worker, d->next);
    d->next = next;
    d->changed = true;
}

static void take(struct core_adoption *d, const char *name, struct proto_span value)
{
    char text[TEXT_SIZE];
    if (!make_text(text, name, value)) {
        replace(d, NULL);
        return;
    }
    const struct router_name named = {.base = name, .size = strlen(name)};
    const struct router_name meant = {.base = (const char *)value.base, .size = value.size};
    uint8_t flags = router_setting_flags(named, meant);
    if (is_wide(text))
        flags |= ROUTER_SETTING_WIDE;
    const struct core_setting one = {name, text, flags};
    replace(d, core_settings_with(d->session->worker, d->next, &one, false));
}

static int64_t find(const struct core_settings *set, const char *name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i].name, name) == 0)
            return i;
    return -1;
}

void core_adopt_row(struct core_adoption *d, struct proto_span name, struct proto_span value)
{
    const struct core_settings *had = d->session->settings;
    char lower[NAME_SIZE];
    if (d->next == NULL)
        return;
    if (value.base == NULL || !core_fold(name, lower, sizeof(lower))) {
        replace(d, NULL);
        return;
    }
    d->temp_buffers = d->temp_buffers || strcmp(lower, "temp_buffers") == 0;
    const int64_t at = find(had, lower);
    if (strcmp(lower, "role") == 0 && core_text_equal(value, "none"))
        return; /* not set; where it was, that has been reset */
    if (strchr(lower, '.') != NULL && value.size == 0 && at < 0)
        return; /* somebody has used the name, and it has no value any more */
    if (at >= 0)
        d->seen[at / 8] |= (uint8_t)(1 << at % 8);
    if (at < 0 || !says(&had->items[at], value))
        take(d, lower, value);
}

/* What was set and did not come, a function has reset. */
static void reset_missing(struct core_adoption *d)
{
    struct core_session *s = d->session;
    const struct core_settings *had = s->settings;
    for (uint32_t i = 0; i < had->count && d->next != NULL; i++) {
        const char *name = had->items[i].name;
        const bool seen = (d->seen[i / 8] >> i % 8 & 1) != 0;
        const bool asked = strchr(name, '.') == NULL && strncmp(name, "transaction_", 12) != 0;
        if (seen || !asked)
            continue;
        replace(d, core_settings_reset(s->worker, d->next, s->profile->start, name));
        /* what the client brought along is to be made there again */
        s->settings_off = s->settings_off || core_settings_has(s->profile->start, name);
    }
}

bool core_adopt_end(struct core_adoption *d, bool *ret_changed)
{
    struct core_session *s = d->session;
    if (d->next != NULL)
        reset_missing(d);
    if (d->next == NULL)
        return false;
    *ret_changed = *ret_changed || d->changed;
    if (d->changed)
        core_follow_adopt(s, d->next);
    else
        core_settings_release(s->worker, d->next);
    d->next = NULL;
    return true;
}
