/* SPDX-License-Identifier: PostgreSQL
 *
 * core_settings: sets of settings, made from one another, and one object each.
 */
#include "core_settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "core_internal.h"

enum { BUCKETS = 1024 };

struct core_settings_table {
    struct core_settings *buckets[BUCKETS];
    struct core_settings *none;
    uint32_t count;
};

/* ---- a set that is being made ---- */

struct draft {
    uint32_t count;
    struct core_setting items[CORE_SETTINGS_COUNT_MAX + 1];
};

static void draft_add(struct draft *d, const struct core_setting *one)
{
    assert(d->count <= CORE_SETTINGS_COUNT_MAX);
    uint32_t at = d->count++;
    if ((one->flags & ROUTER_SETTING_ENCODING) != 0) {
        memmove(d->items + 1, d->items, at * sizeof(d->items[0]));
        at = 0;
    }
    d->items[at] = *one;
}

static void draft_remove(struct draft *d, const char *name)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (strcmp(d->items[i].name, name) == 0) {
            memmove(d->items + i, d->items + i + 1, (d->count - i - 1) * sizeof(d->items[0]));
            d->count--;
            return;
        }
}

static void draft_from(struct draft *d, const struct core_settings *set)
{
    d->count = set->count;
    for (uint32_t i = 0; i < set->count; i++)
        d->items[i] = set->items[i];
}

static bool has_wide(const struct draft *d)
{
    for (uint32_t i = 0; i < d->count; i++)
        if ((d->items[i].flags & ROUTER_SETTING_WIDE) != 0)
            return true;
    return false;
}

static const struct core_setting *find(const struct core_settings *set, const char *name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i].name, name) == 0)
            return &set->items[i];
    return NULL;
}

/* ---- interning ---- */

static void digest_of(struct core_worker *w, const struct draft *d, bool parsing,
                      uint8_t ret[PROTO_SHA256_SIZE])
{
    uint8_t *text = malloc(CORE_SETTINGS_TEXT_MAX + 1);
    size_t size = 0;
    if (text == NULL)
        abort();
    for (uint32_t i = 0; i < d->count; i++) {
        const struct core_setting *one = &d->items[i];
        if (parsing && (one->flags & ROUTER_SETTING_PARSES) == 0)
            continue;
        const char *const parts[] = {one->name, one->text};
        for (size_t p = 0; p < 2; p++) {
            const size_t part_size = strlen(parts[p]) + 1;
            assert(size + part_size <= CORE_SETTINGS_TEXT_MAX);
            memcpy(text + size, parts[p], part_size);
            size += part_size;
        }
    }
    w->hashes->sha256(text, size, ret);
    free(text);
}

static bool is_same(const struct core_settings *set, uint64_t hash, const struct draft *d)
{
    if (set->hash != hash || set->count != d->count)
        return false;
    for (uint32_t i = 0; i < d->count; i++)
        if (strcmp(set->items[i].name, d->items[i].name) != 0 ||
            strcmp(set->items[i].text, d->items[i].text) != 0)
            return false;
    return true;
}

static struct core_settings *make(struct core_worker *w, const struct draft *d, size_t size,
                                  uint64_t hash)
{
    struct core_settings *set = calloc(1, sizeof(*set) + d->count * sizeof(set->items[0]) + size);
    if (set == NULL)
        abort();
    char *to = (char *)&set->items[d->count];
    for (uint32_t i = 0; i < d->count; i++) {
        const char *const parts[] = {d->items[i].name, d->items[i].text};
        const char *copies[2];
        for (size_t p = 0; p < 2; p++) {
            const size_t part_size = strlen(parts[p]) + 1;
            memcpy(to, parts[p], part_size);
            copies[p] = to;
            to += part_size;
        }
        set->items[i] = (struct core_setting){copies[0], copies[1], d->items[i].flags};
        set->flags |= d->items[i].flags;
    }
    set->hash = hash;
    set->references = 1;
    set->count = d->count;
    set->texts_size = (uint32_t)size;
    set->salted = (set->flags & ROUTER_SETTING_PARSES) != 0;
    if (set->salted) {
        uint8_t digest[PROTO_SHA256_SIZE];
        digest_of(w, d, true, digest);
        memcpy(set->salt, digest, sizeof(set->salt));
    }
    return set;
}

/* NULL: too large. */
static struct core_settings *intern(struct core_worker *w, const struct draft *d)
{
    struct core_settings_table *t = w->settings;
    size_t size = 0;
    for (uint32_t i = 0; i < d->count; i++)
        size += strlen(d->items[i].name) + strlen(d->items[i].text) + 2;
    if (d->count > CORE_SETTINGS_COUNT_MAX || size > CORE_SETTINGS_TEXT_MAX)
        return NULL;
    uint64_t hash = 0;
    if (d->count > 0) {
        uint8_t digest[PROTO_SHA256_SIZE];
        digest_of(w, d, false, digest);
        memcpy(&hash, digest, sizeof(hash));
        hash |= 2; /* neither 0 nor CORE_SETTINGS_UNKNOWN */
    }
    struct core_settings **bucket = &t->buckets[hash / 4 % BUCKETS];
    for (struct core_settings *set = *bucket; set != NULL; set = set->next)
        if (is_same(set, hash, d))
            return core_settings_hold(set);
    struct core_settings *set = make(w, d, size, hash);
    set->next = *bucket;
    *bucket = set;
    t->count++;
    return set;
}

void core_settings_release(struct core_worker *w, struct core_settings *set)
{
    assert(set->references > 0);
    if (--set->references > 0)
        return;
    struct core_settings **link = &w->settings->buckets[set->hash / 4 % BUCKETS];
    while (*link != set)
        link = &(*link)->next;
    *link = set->next;
    w->settings->count--;
    free(set);
}

bool core_settings_init(struct core_worker *w)
{
    static const struct draft empty = {.count = 0};
    w->settings = calloc(1, sizeof(*w->settings));
    if (w->settings == NULL)
        return false;
    w->settings->none = intern(w, &empty);
    return true;
}

void core_settings_deinit(struct core_worker *w)
{
    if (w->settings == NULL)
        return;
    core_settings_release(w, w->settings->none);
    assert(w->settings->count == 0); /* a reference leaked */
    free(w->settings);
    w->settings = NULL;
}

/* ---- one setting ---- */

/* E'text', quotes and backslashes doubled; 0: it does not fit. */
static size_t literal_write(const char *text, char *to, size_t room)
{
    size_t size = 0;
    if (room < 2 * strlen(text) + 4)
        return 0;
    to[size++] = 'E';
    to[size++] = '\'';
    for (const char *c = text; *c != '\0'; c++) {
        to[size++] = *c;
        if (*c == '\'' || *c == '\\')
            to[size++] = *c;
    }
    to[size++] = '\'';
    to[size] = '\0';
    return size;
}

bool core_setting_make(const char *name, const char *value, char text[CORE_SETTING_TEXT_MAX],
                       struct core_setting *ret)
{
    char quoted_name[CORE_SETTING_TEXT_MAX / 4];
    char quoted_value[CORE_SETTING_TEXT_MAX / 2];
    if (literal_write(name, quoted_name, sizeof(quoted_name)) == 0 ||
        literal_write(value, quoted_value, sizeof(quoted_value)) == 0)
        return false;
    (void)snprintf(text, CORE_SETTING_TEXT_MAX, "SELECT pg_catalog.set_config(%s,%s,false)",
                   quoted_name, quoted_value);
    *ret = (struct core_setting){name, text,
                                 router_setting_flags((struct router_name){name, strlen(name)},
                                                      (struct router_name){value, strlen(value)})};
    for (const char *c = text; *c != '\0'; c++)
        if ((*c & 0x80) != 0)
            ret->flags |= ROUTER_SETTING_WIDE;
    return true;
}

/* ---- sets from sets ---- */

struct core_settings *core_settings_none(struct core_worker *w)
{
    return core_settings_hold(w->settings->none);
}

bool core_settings_has(const struct core_settings *set, const char *name)
{
    return find(set, name) != NULL;
}

struct core_settings *core_settings_with(struct core_worker *w, const struct core_settings *set,
                                         const struct core_setting *one, bool start)
{
    struct draft d;
    draft_from(&d, set);
    draft_remove(&d, one->name);
    if (strcmp(one->name, "session_authorization") == 0)
        draft_remove(&d, "role"); /* the server forgets it too */
    if (!start && (one->flags & ROUTER_SETTING_ENCODING) != 0 && has_wide(&d))
        return NULL;
    draft_add(&d, one);
    return intern(w, &d);
}

struct core_settings *core_settings_reset(struct core_worker *w, const struct core_settings *set,
                                          const struct core_settings *start, const char *name)
{
    struct draft d;
    const struct core_setting *first = find(start, name);
    draft_from(&d, set);
    draft_remove(&d, name);
    if (strcmp(name, "session_authorization") == 0)
        draft_remove(&d, "role");
    if (strcmp(name, "client_encoding") == 0 && has_wide(&d))
        return NULL;
    if (first != NULL)
        draft_add(&d, first);
    return intern(w, &d);
}

struct core_settings *core_settings_reset_all(struct core_worker *w,
                                              const struct core_settings *set,
                                              const struct core_settings *start, bool discard)
{
    struct draft d = {.count = 0};
    for (uint32_t i = 0; i < start->count; i++)
        if ((start->items[i].flags & ROUTER_SETTING_ROLE) == 0)
            draft_add(&d, &start->items[i]);
    for (uint32_t i = 0; !discard && i < set->count; i++)
        if ((set->items[i].flags & ROUTER_SETTING_ROLE) != 0)
            draft_add(&d, &set->items[i]);
    return intern(w, &d);
}

struct core_settings *core_settings_common(struct core_worker *w, const struct core_settings *set,
                                           const struct core_settings *start)
{
    struct draft d = {.count = 0};
    for (uint32_t i = 0; i < set->count; i++) {
        const struct core_setting *one = find(start, set->items[i].name);
        if (one != NULL && strcmp(one->text, set->items[i].text) == 0)
            draft_add(&d, one);
    }
    return intern(w, &d);
}

/* ---- to a backend ---- */

static uint32_t write_query(struct proto_writer *w, const char *reset,
                            const struct core_setting *items, uint32_t count)
{
    char text[CORE_SETTINGS_TEXT_MAX + 256];
    size_t size = strlen(reset);
    memcpy(text, reset, size + 1);
    for (uint32_t i = 0; i < count; i++) {
        const size_t one = strlen(items[i].text);
        assert(size + one + 1 < sizeof(text));
        memcpy(text + size, items[i].text, one);
        size += one;
        text[size++] = ';';
    }
    proto_write_query(w, (struct proto_span){.base = (const uint8_t *)text, .size = size});
    return 1;
}

uint32_t core_settings_write(const struct core_settings *set, bool fresh, bool apart,
                             struct proto_writer *w)
{
    static const char all[] = "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;";
    const char *reset = fresh ? "" : all;
    const struct core_setting *items = set->items;
    uint32_t count = set->count;
    uint32_t queries = 0;
    if (fresh && count == 0)
        return 0;
    if (apart && !fresh && count > 0) {
        queries += write_query(w, reset, items, 0);
        reset = "";
    }
    /* the texts behind an encoding are to be read in it, so they come in another message */
    if (count > 1 && (items[0].flags & ROUTER_SETTING_ENCODING) != 0 &&
        (set->flags & ROUTER_SETTING_WIDE) != 0) {
        queries += write_query(w, reset, items, 1);
        reset = "";
        items++;
        count--;
    }
    return queries + write_query(w, reset, items, count);
}
