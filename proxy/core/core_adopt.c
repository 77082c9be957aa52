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

/* ---- what a text has set ---- */

/* Letters that count: neither blanks nor quotes. Returns how many there are in `ret`. */
static size_t essence(const char *text, size_t size, char *ret, size_t ret_size)
{
    size_t count = 0;
    for (size_t i = 0; i < size && count < ret_size; i++)
        if (strchr(" \t\n'\"", text[i]) == NULL)
            ret[count++] =
                (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    return count;
}

/* Where the value begins in the statement that sets it; NULL: not known. */
static const char *value_in(const char *text)
{
    static const char *const words[] = {" to ", " role ", " zone ", " names ", " authorization "};
    const char *equals = strchr(text, '=');
    if (strncasecmp(text, "set ", 4) != 0)
        return NULL;
    for (const char *c = text; *c != '\0' && (equals == NULL || c < equals); c++)
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            if (strncasecmp(c, words[i], strlen(words[i])) == 0)
                return c + strlen(words[i]);
    return equals != NULL ? equals + 1 : NULL;
}

/* set_config('name', 'value', false) */
static bool configures(const char *text, struct proto_span value, char *room)
{
    (void)snprintf(room, TEXT_SIZE, ",%.*s,false)", (int)value.size, (const char *)value.base);
    char said[TEXT_SIZE], wanted[TEXT_SIZE];
    const size_t said_size = essence(text, strlen(text), said, sizeof(said));
    const size_t wanted_size = essence(room, strlen(room), wanted, sizeof(wanted));
    const char *comma = memchr(said, ',', said_size);
    return comma != NULL && (size_t)(said + said_size - comma) == wanted_size &&
           memcmp(comma, wanted, wanted_size) == 0;
}

static bool says(const struct core_setting *one, struct proto_span value)
{
    char said[TEXT_SIZE], wanted[TEXT_SIZE];
    const char *from = value_in(one->text);
    if (from == NULL)
        return configures(one->text, value, said);
    const size_t said_size = essence(from, strlen(from), said, sizeof(said));
    const size_t size = essence((const char *)value.base, value.size, wanted, sizeof(wanted));
    return said_size == size && memcmp(said, wanted, size) == 0;
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
    if (name.size >= sizeof(lower) || value.base == NULL) {
        replace(d, NULL);
        return;
    }
    for (size_t i = 0; i < name.size; i++)
        lower[i] = (char)(name.base[i] >= 'A' && name.base[i] <= 'Z' ? name.base[i] + ('a' - 'A')
                                                                     : name.base[i]);
    lower[name.size] = '\0';
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
