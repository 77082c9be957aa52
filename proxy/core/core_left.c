/* SPDX-License-Identifier: PostgreSQL
 *
 * core_left: the question, what its answer means, and which texts need none.
 *
 * Failure modes: the question fails, or is answered by nonsense: the session stays where it is. No
 * pin is left for what was found: the session ends with 53300, as it cannot keep what it has.
 */
#include "core_left.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "core_adopt.h"
#include "core_catalog.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_pin.h"
#include "core_settings.h"

enum {
    TEXTS = 4096,      /* remembered; a power of two */
    CLEAN_ENOUGH = 8,  /* times that a text has left nothing */
    CUSTOM_MAX = 32,   /* names per group */
    CUSTOM_SIZE = 64,  /* ... of a name with its NUL */
    SCAN_MAX = 16384,  /* bytes of a text that are looked at for names */
    ROWS_MAX = 262144, /* bytes of an answer */
};

struct core_lefts {
    struct {
        uint64_t key;
        uint8_t clean;
    } texts[TEXTS];
};

struct core_custom {
    uint32_t count;
    char names[CUSTOM_MAX][CUSTOM_SIZE];
};

bool core_lefts_init(struct core_worker *w)
{
    w->lefts = calloc(1, sizeof(*w->lefts));
    return w->lefts != NULL;
}

void core_lefts_deinit(struct core_worker *w)
{
    free(w->lefts);
    w->lefts = NULL;
}

/* ---- what has to be asked about ---- */

static uint64_t key_of(const struct router_hash *hash)
{
    return (hash->low ^ (hash->high << 1)) | 1;
}

static bool is_clean(const struct core_worker *w, const struct router_hash *hash)
{
    const uint64_t key = key_of(hash);
    const uint32_t at = (uint32_t)(key >> 1) & (TEXTS - 1);
    return w->lefts->texts[at].key == key && w->lefts->texts[at].clean >= CLEAN_ENOUGH;
}

static void remember(struct core_worker *w, const struct router_hash *hash, bool clean)
{
    const uint64_t key = key_of(hash);
    const uint32_t at = (uint32_t)(key >> 1) & (TEXTS - 1);
    if (w->lefts->texts[at].key != key) {
        w->lefts->texts[at].key = key;
        w->lefts->texts[at].clean = 0;
    }
    if (!clean)
        w->lefts->texts[at].clean = 0;
    else if (w->lefts->texts[at].clean < CLEAN_ENOUGH)
        w->lefts->texts[at].clean++;
}

void core_left_note(struct core_session *s)
{
    const struct core_database *d = s->group->database;
    if (!d->isolates || d->pool_mode == CORE_POOL_SESSION || s->phase != CORE_QUERY)
        return;
    /* a full list may have lost some; a text that nobody reads has no hash */
    bool known = s->hashes_count > 0 && s->hashes_count < CORE_HASHES_MAX && !s->class.unread;
    for (uint32_t i = 0; i < s->hashes_count && known; i++)
        known = is_clean(s->worker, &s->hashes[i]);
    if (known)
        return;
    s->left_unknown = true;
    if (s->hashes_count == 0 || s->hashes_count == CORE_HASHES_MAX)
        s->left_count = CORE_HASHES_MAX + 1;
    for (uint32_t i = 0; i < s->hashes_count && s->left_count <= CORE_HASHES_MAX; i++) {
        if (s->left_count < CORE_HASHES_MAX)
            s->left[s->left_count] = s->hashes[i];
        s->left_count++;
    }
}

void core_left_forget(struct core_session *s)
{
    s->left_unknown = false;
    s->left_count = 0;
    core_block_give(s->worker, &s->left_rows);
}

/* ---- names of custom settings ---- */

static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool in_name(char c)
{
    return begins_name(c) || (c >= '0' && c <= '9') || c == '$' || c == '.';
}

static void name_add(struct core_group *g, struct proto_span name)
{
    char lower[CUSTOM_SIZE];
    if (!core_fold(name, lower, sizeof(lower)) ||
        (g->custom != NULL && g->custom->count == CUSTOM_MAX))
        return;
    if (g->custom == NULL && (g->custom = calloc(1, sizeof(*g->custom))) == NULL)
        return;
    for (uint32_t i = 0; i < g->custom->count; i++)
        if (strcmp(g->custom->names[i], lower) == 0)
            return;
    memcpy(g->custom->names[g->custom->count++], lower, name.size + 1);
}

/* Words with a dot, in quotes as set_config() has them, or behind SET as a statement has them. */
void core_left_text(struct core_session *s, struct proto_span text)
{
    const char *at = (const char *)text.base;
    const size_t size = text.size < SCAN_MAX ? text.size : SCAN_MAX;
    bool behind_set = false;
    for (size_t i = 0; i < size;) {
        if (!begins_name(at[i])) {
            behind_set = behind_set && (at[i] == ' ' || at[i] == '\n' || at[i] == '\t');
            i++;
            continue;
        }
        size_t end = i;
        while (end < size && in_name(at[end]))
            end++;
        const bool quoted = i > 0 && at[i - 1] == '\'' && end < size && at[end] == '\'';
        const bool dotted = memchr(at + i, '.', end - i) != NULL && at[end - 1] != '.';
        if (dotted && (quoted || behind_set))
            name_add(s->group, (struct proto_span){(const uint8_t *)at + i, end - i});
        behind_set = (end - i == 3 && strncasecmp(at + i, "set", 3) == 0) ||
                     (behind_set && (strncasecmp(at + i, "local", end - i) == 0 ||
                                     strncasecmp(at + i, "session", end - i) == 0));
        i = end;
    }
}

/* ---- the question ---- */

/* Of the first row: one letter for each; see `kinds`. */
static const char question_bits[] =
    "SELECT ''::pg_catalog.text,pg_catalog.concat(" CORE_PINS_QUESTION
    ",EXISTS(SELECT FROM pg_catalog.pg_replication_slots WHERE temporary "
    "AND active_pid OPERATOR(pg_catalog.=)pg_catalog.pg_backend_pid()),"
    /* a function that few may call is called by a text, so that it is not even looked up; a standby
     * has no origins, and fails it */
    "CASE WHEN NOT pg_catalog.pg_is_in_recovery()AND pg_catalog.has_function_privilege("
    "'pg_catalog.pg_replication_origin_session_is_setup()','EXECUTE')"
    "THEN pg_catalog.query_to_xml("
    "'SELECT 1 WHERE pg_catalog.pg_replication_origin_session_is_setup()',false,true,'')"
    "::pg_catalog.text OPERATOR(pg_catalog.<>)'' ELSE false END)";

/* Then a row per setting: its name and its value, NULL where that is too long to be followed. */
static const char question_settings[] =
    " UNION ALL SELECT n,CASE WHEN pg_catalog.octet_length(v)OPERATOR(pg_catalog.<)2000 THEN v END "
    "FROM(SELECT name AS n,pg_catalog.current_setting(name)AS v FROM pg_catalog.pg_settings "
    "WHERE source OPERATOR(pg_catalog.=)'session'AND NOT pg_catalog.starts_with(name,"
    "'transaction_')UNION ALL SELECT 'role',pg_catalog.current_setting('role')"
    "UNION ALL SELECT 'session_authorization',SESSION_USER::pg_catalog.text "
    "FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())AS a "
    "WHERE a.usesysid OPERATOR(pg_catalog.<>)(SELECT oid FROM pg_catalog.pg_roles "
    "WHERE rolname OPERATOR(pg_catalog.=)SESSION_USER)"
    "UNION ALL SELECT n,pg_catalog.current_setting(n,true)FROM pg_catalog.unnest('{";
static const char question_names_end[] = "}'::pg_catalog.text[])AS n";
/* Without facts nobody has read the bodies of the database's functions for names. No backslash:
 * standard_conforming_strings may be off. */
static const char question_bodies[] =
    " UNION ALL SELECT n,pg_catalog.current_setting(n,true)FROM"
    "(SELECT DISTINCT pg_catalog.lower(m[1])AS n FROM pg_catalog.pg_proc AS p,"
    "pg_catalog.regexp_matches(p.prosrc,'(?:''|[[:<:]]set[[:space:]]+"
    "(?:(?:session|local)[[:space:]]+)?)([a-z_][a-z0-9_$]*(?:[.][a-z_][a-z0-9_$]*)+)"
    "(?:''|[[:space:]]*=|[[:space:]]+to[[:>:]])','gi')AS m "
    "WHERE p.oid OPERATOR(pg_catalog.>=)16384 AND p.prosrc OPERATOR(pg_catalog.~~*)'%set%')AS b";
static const char question_end[] = ")AS s WHERE v IS NOT NULL";

static const uint16_t kinds[] = {CORE_PINS_ASKED_IN_ORDER, ROUTER_PIN_OPAQUE, ROUTER_PIN_OPAQUE};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static bool is_plain(const char *name)
{
    const char *c = name;
    while (in_name(*c))
        c++;
    return *c == '\0' && strchr(name, '.') != NULL;
}

static void add_name(struct proto_span *room, const char *name, bool *first)
{
    const size_t size = strlen(name);
    if (!is_plain(name) || room->size < size + 1)
        return;
    uint8_t *to = (uint8_t *)(uintptr_t)room->base;
    if (!*first)
        *to++ = ',';
    memcpy(to, name, size);
    room->size -= size + !*first;
    room->base = to + size;
    *first = false;
}

/* Returns its size. */
static size_t write_question(const struct core_session *s, uint8_t *text, size_t size)
{
    const struct core_group *g = s->group;
    const struct router_facts *facts = g->catalog != NULL ? g->catalog->facts : NULL;
    const size_t head = sizeof(question_bits) - 1, middle = sizeof(question_settings) - 1;
    const size_t names_end = sizeof(question_names_end) - 1, end = sizeof(question_end) - 1;
    const bool reads_bodies = core_catalog_facts(s) == NULL;
    const size_t bodies = reads_bodies ? sizeof(question_bodies) - 1 : 0;
    memcpy(text, question_bits, head);
    memcpy(text + head, question_settings, middle);
    struct proto_span room = {.base = text + head + middle,
                              .size = size - head - middle - names_end - bodies - end};
    bool first = true;
    for (uint32_t i = 0; i < s->settings->count; i++)
        add_name(&room, s->settings->items[i].name, &first);
    for (uint32_t i = 0; g->custom != NULL && i < g->custom->count; i++)
        add_name(&room, g->custom->names[i], &first);
    for (uint32_t i = 0; facts != NULL && i < router_facts_settings_count(facts); i++)
        add_name(&room, router_facts_setting(facts, i), &first);
    uint8_t *to = (uint8_t *)(uintptr_t)room.base;
    memcpy(to, question_names_end, names_end);
    to += names_end;
    memcpy(to, question_bodies, bodies);
    to += bodies;
    memcpy(to, question_end, end);
    return (size_t)(to - text) + end;
}

bool core_left_ask(struct core_session *s, struct core_actions *a)
{
    uint8_t text[16 * 1024];
    struct core_backend *b = s->backend;
    if (!core_at_rest(s) || s->phase != CORE_QUERY || b->broken || s->pin != ROUTER_REASON_NONE)
        return false;
    core_block_give(s->worker, &s->left_rows);
    core_lend_back(s, a);
    const struct proto_span question = {.base = text,
                                        .size = write_question(s, text, sizeof(text))};
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_query(&w, question);
    core_sink_commit(&a->server, &w);
    core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW)->follow = CORE_FOLLOW_LEFT;
    a->backend = b;
    b->unnamed_id = 0; /* a Query drops it */
    s->barrier = true;
    s->worker->counters.lefts_asked++;
    return true;
}

/* ---- its answer ---- */

void core_left_row(struct core_session *s, struct proto_span body)
{
    const struct proto_span rows = core_block_span(s->left_rows);
    if (rows.size + body.size + sizeof(uint32_t) <= ROWS_MAX) {
        const uint32_t size = (uint32_t)body.size;
        core_block_append(s->worker, &s->left_rows,
                          (struct proto_span){(const uint8_t *)&size, sizeof(size)});
        core_block_append(s->worker, &s->left_rows, body);
    }
}

/* One value of a row. False: there is none; base NULL: it is NULL. */
static bool take_value(struct proto_reader *r, struct proto_span *ret)
{
    const uint32_t size = proto_read_u32(r);
    *ret = (struct proto_span){0};
    if (size != UINT32_MAX)
        *ret = proto_read_bytes(r, size);
    return !r->failed;
}

/* Which of `kinds` there are; false: it is not that row. */
static bool read_bits(struct proto_span value, uint16_t *ret)
{
    if (value.size != KINDS)
        return false;
    *ret = 0;
    for (uint32_t i = 0; i < KINDS; i++) {
        if (value.base[i] != 't' && value.base[i] != 'f')
            return false;
        if (value.base[i] == 't')
            *ret |= kinds[i];
    }
    return true;
}

/* Reads all rows. False: they are not what was asked for. */
static bool read_rows(struct core_session *s, struct core_adoption *adoption, uint16_t *ret_pins)
{
    struct proto_span rows = core_block_span(s->left_rows);
    bool complete = false;
    while (rows.size > sizeof(uint32_t)) {
        uint32_t size;
        memcpy(&size, rows.base, sizeof(size));
        const struct proto_span body = {.base = rows.base + sizeof(size), .size = size};
        rows = core_span_skip(rows, sizeof(size) + size);
        struct proto_reader r = proto_reader_make(body);
        struct proto_span name, value;
        if (proto_read_u16(&r) != 2 || !take_value(&r, &name) || !take_value(&r, &value))
            return false;
        if (name.size == 0)
            complete = read_bits(value, ret_pins);
        else
            core_adopt_row(adoption, name, value);
    }
    return complete;
}

/* What was found on a replica cannot stay there: the text is taken for what it is. */
static void learn(struct core_session *s, uint64_t now_ns)
{
    const uint32_t count = s->left_count <= CORE_HASHES_MAX ? s->left_count : 0;
    for (uint32_t i = 0; i < count; i++)
        core_learn(s, &s->left[i], now_ns);
}

static void bind(struct core_session *s, uint16_t pins, uint64_t now_ns, struct core_actions *a)
{
    if (s->backend->is_replica) {
        learn(s, now_ns);
        s->backend->broken = true;
    } else if (!core_pin_found(s, pins)) {
        core_fatal(s, "53300", "no connection is left for what this session keeps",
                   "A function has left locks, temporary objects or the like. Raise pin_limit or "
                   "pool_size.",
                   a);
    }
}

void core_left_ready(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    uint16_t pins = 0;
    struct core_adoption adoption;
    core_adopt_begin(&adoption, s);
    const bool answered = read_rows(s, &adoption, &pins);
    const bool many = s->left_count > CORE_HASHES_MAX;
    bool found = pins != 0;
    if (!answered) {
        core_adopt_drop(&adoption);
        pins = ROUTER_PIN_OPAQUE;
    } else if (!core_adopt_end(&adoption, &found))
        pins |= ROUTER_PIN_SET | ROUTER_PIN_OTHER;
    else if (adoption.temp_buffers && (pins & ROUTER_PIN_TEMP) != 0)
        pins |= ROUTER_PIN_OPAQUE; /* no other size can be set there any more */
    if (pins != 0)
        bind(s, pins, now_ns, a);
    found = found || pins != 0;
    w->counters.lefts_found += found;
    for (uint32_t i = 0; !many && i < s->left_count; i++)
        remember(w, &s->left[i], !found);
    core_left_forget(s);
}
