/* SPDX-License-Identifier: PostgreSQL
 *
 * config: sections, keys and who said what. Every value, wherever it comes from, goes through
 * config_apply(): the table checks it, the rank decides whether it is stored.
 */
#include "config_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *config_section_text(enum config_section section)
{
    switch (section) {
    case CONFIG_SECTION_SWITCHGEAR:
        return "switchgear";
    case CONFIG_SECTION_NODE:
        return "node";
    case CONFIG_SECTION_DATABASE:
        return "database";
    case CONFIG_SECTION_PROBE:
        return "probe";
    case CONFIG_SECTION_BREAKER:
        return "breaker";
    }
    return "";
}

struct config_place config_place_of(struct config *c, enum config_section section, uint32_t index)
{
    struct config_place place = {.section = section};
    switch (section) {
    case CONFIG_SECTION_SWITCHGEAR:
        place.values = &c->switchgear;
        place.origins = &c->arena->switchgear;
        break;
    case CONFIG_SECTION_NODE:
        assert(index < c->nodes_count);
        place.values = &c->nodes[index];
        place.origins = c->arena->nodes[index];
        break;
    case CONFIG_SECTION_DATABASE:
        assert(index < c->databases_count);
        place.values = &c->databases[index];
        place.origins = c->arena->databases[index];
        break;
    case CONFIG_SECTION_PROBE:
        place.values = &c->probe;
        place.origins = &c->arena->probe;
        break;
    case CONFIG_SECTION_BREAKER:
        place.values = &c->breaker;
        place.origins = &c->arena->breaker;
        break;
    }
    return place;
}

/* The table is ours: a default that does not parse is a mistake in it. */
static void defaults_store(struct config_arena *a, const struct config_place *place)
{
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        union config_value value;
        bool automatic = false;
        if (o->section != place->section)
            continue;
        const char *wrong = config_value_parse(o, o->default_text, a, &value, &automatic);
        assert(wrong == NULL);
        config_value_store(o, place->values, value);
        place->origins->keys[i].automatic = automatic;
    }
}

struct config *config_create(void)
{
    static_assert(sizeof(bool) == 1, "a bool is a byte");
    assert(config_options_count <= CONFIG_OPTIONS_MAX);
    struct config *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->arena = config_arena_create();
    if (c->arena == NULL) {
        free(c);
        return NULL;
    }
    const enum config_section unnamed[] = {CONFIG_SECTION_SWITCHGEAR, CONFIG_SECTION_PROBE,
                                           CONFIG_SECTION_BREAKER};
    for (size_t i = 0; i < sizeof unnamed / sizeof unnamed[0]; i++) {
        const struct config_place place = config_place_of(c, unnamed[i], 0);
        defaults_store(c->arena, &place);
    }
    return c;
}

void config_destroy(struct config *c)
{
    if (c == NULL)
        return;
    config_arena_destroy(c->arena);
    free(c);
}

/* ---- sections ---- */

static bool name_check(enum config_section section, const char *name,
                       const struct config_source *source, struct config_problems *p)
{
    const char *kind = config_section_text(section);
    const size_t size = strlen(name);
    if (size == 0) {
        config_error(p, source, "the section needs a name: write [%s NAME]", kind);
        return false;
    }
    if (size > CONFIG_NAME_MAX) {
        config_error(p, source, "the name of this %s is longer than %d bytes", kind,
                     CONFIG_NAME_MAX);
        return false;
    }
    if (section == CONFIG_SECTION_DATABASE) {
        if (strcmp(name, "switchgear") != 0 && strcmp(name, "pgbouncer") != 0)
            return true;
        config_error(p, source, "the name %s belongs to the admin console: choose another", name);
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        const char ch = name[i];
        const bool good = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                          (ch >= '0' && ch <= '9') || ch == '_' || ch == '-' || ch == '.';
        if (good)
            continue;
        config_error(p, source, "node name %s: use letters, digits, _ - and . only", name);
        return false;
    }
    return true;
}

static void node_add(struct config *c, const char *name, struct config_origins *origins)
{
    c->arena->nodes[c->nodes_count] = origins;
    c->nodes[c->nodes_count++] = (struct config_node){.name = name};
}

static void database_add(struct config *c, const char *name, struct config_origins *origins)
{
    c->arena->databases[c->databases_count] = origins;
    c->databases[c->databases_count++] = (struct config_database){.name = name};
}

static bool section_find(const struct config *c, enum config_section section, const char *name,
                         uint32_t *ret_index)
{
    const bool is_node = section == CONFIG_SECTION_NODE;
    const uint32_t count = is_node ? c->nodes_count : c->databases_count;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(is_node ? c->nodes[i].name : c->databases[i].name, name) != 0)
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

static bool section_add(struct config *c, enum config_section section, const char *name,
                        const struct config_source *source, struct config_problems *p)
{
    const bool is_node = section == CONFIG_SECTION_NODE;
    const uint32_t count = is_node ? c->nodes_count : c->databases_count;
    const uint32_t max = is_node ? CONFIG_NODES_MAX : CONFIG_DATABASES_MAX;
    if (!name_check(section, name, source, p))
        return false;
    if (count == max) {
        config_error(p, source, "more than %u sections [%s ...]", max,
                     config_section_text(section));
        return false;
    }
    struct config_origins *origins = config_arena_alloc(c->arena, sizeof *origins);
    if (origins == NULL) /* config_finish() says so */
        return false;
    const char *copy = config_arena_copy(c->arena, name, strlen(name));
    (is_node ? node_add : database_add)(c, copy, origins);
    const struct config_place place = config_place_of(c, section, count);
    defaults_store(c->arena, &place);
    return true;
}

bool config_place_open(struct config *c, enum config_section section, const char *name,
                       const struct config_source *source, struct config_problems *p,
                       struct config_place *ret)
{
    const bool named = section == CONFIG_SECTION_NODE || section == CONFIG_SECTION_DATABASE;
    uint32_t index = 0;
    if (named && !section_find(c, section, name, &index)) {
        if (!section_add(c, section, name, source, p))
            return false;
        index = (section == CONFIG_SECTION_NODE ? c->nodes_count : c->databases_count) - 1;
    }
    const struct config_place place = config_place_of(c, section, index);
    struct config_origins *origins = place.origins;
    if (source->rank == CONFIG_BY_FILE) {
        if (origins->header_file_line != 0)
            config_error(p, source, "the section is here twice, first in line %u: join the two",
                         origins->header_file_line);
        else
            origins->header_file_line = source->line;
    }
    if (origins->header.file == NULL || origins->header.rank == CONFIG_BY_SET)
        origins->header = (struct config_origin){
            .file = source->file, .line = source->line, .rank = (uint8_t)source->rank};
    *ret = place;
    return true;
}

/* ---- keys ---- */

const struct config_option *config_option_find(enum config_section section, const char *name)
{
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        if (o->section == section && strcmp(o->name, name) == 0)
            return o;
    }
    return NULL;
}

struct config_origin *config_origin_of(const struct config_place *place, const char *name)
{
    const struct config_option *o = config_option_find(place->section, name);
    assert(o != NULL);
    return &place->origins->keys[o - config_options];
}

/* Names of PgBouncer's for what is called otherwise here. */
static const char *other_name(const char *key)
{
    static const char *const pairs[][2] = {{"listen_addr", "listen = ADDRESS:PORT"},
                                           {"listen_port", "listen = ADDRESS:PORT"},
                                           {"unix_socket_dir", "listen = unix:DIRECTORY"},
                                           {"host", "host in a section [node NAME]"},
                                           {"port", "port in a section [node NAME]"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (strcmp(pairs[i][0], key) == 0)
            return pairs[i][1];
    }
    return NULL;
}

static void key_unknown(enum config_section section, const char *key,
                        const struct config_source *source, struct config_problems *p)
{
    const char *names[CONFIG_OPTIONS_MAX + 1];
    const char *kind = config_section_text(section);
    size_t count = 0;
    for (size_t i = 0; i < config_options_count; i++) {
        if (config_options[i].section == section)
            names[count++] = config_options[i].name;
    }
    names[count] = NULL;
    const char *other = other_name(key);
    if (other != NULL) {
        config_error(p, source, "unknown key %s in [%s]: write %s", key, kind, other);
        return;
    }
    for (size_t i = 0; i < config_options_count; i++) {
        if (strcmp(config_options[i].name, key) != 0)
            continue;
        config_error(p, source, "unknown key %s in [%s]: it belongs in [%s%s]", key, kind,
                     config_section_text(config_options[i].section),
                     config_options[i].section == CONFIG_SECTION_NODE ||
                             config_options[i].section == CONFIG_SECTION_DATABASE
                         ? " NAME"
                         : "");
        return;
    }
    const char *nearest = config_nearest(key, names);
    if (nearest != NULL)
        config_error(p, source, "unknown key %s in [%s]: did you mean %s?", key, kind, nearest);
    else
        config_error(p, source,
                     "unknown key %s in [%s]: remove it, or see `switchgear show CONFIG-options`",
                     key, kind);
}

static void origin_set(struct config_origin *origin, const struct config_source *source,
                       bool automatic)
{
    origin->file = source->file;
    origin->line = source->line;
    origin->rank = (uint8_t)source->rank;
    origin->automatic = automatic;
}

void config_apply(struct config *c, const struct config_place *place, const char *key,
                  const char *value, const struct config_source *source, struct config_problems *p)
{
    const struct config_option *o = config_option_find(place->section, key);
    if (o == NULL) {
        key_unknown(place->section, key, source, p);
        return;
    }
    struct config_origin *origin = &place->origins->keys[o - config_options];
    if (source->rank == CONFIG_BY_FILE) {
        if (origin->file_line != 0) {
            config_error(p, source, "%s is here twice, first in line %u: remove one", key,
                         origin->file_line);
            return;
        }
        origin->file_line = source->line;
    }
    union config_value parsed;
    bool automatic = false;
    const char *wrong = config_value_parse(o, value, c->arena, &parsed, &automatic);
    if (wrong != NULL) {
        config_error(p, source, "%s", wrong);
        return;
    }
    if (origin->rank > source->rank)
        return;
    if (o->type == CONFIG_STRING || o->type == CONFIG_LIST)
        parsed.string = config_arena_copy(c->arena, value, strlen(value));
    config_value_store(o, place->values, parsed);
    origin_set(origin, source, automatic);
}

void config_apply_string(const struct config_place *place, const char *key, const char *value,
                         const struct config_source *source)
{
    const struct config_option *o = config_option_find(place->section, key);
    assert(o != NULL && o->type == CONFIG_STRING && o->choices == NULL);
    struct config_origin *origin = config_origin_of(place, key);
    if (origin->rank > source->rank)
        return;
    config_value_store(o, place->values, (union config_value){.string = value});
    origin_set(origin, source, false);
}

/* ---- --set ---- */

static bool set_section(const char *word, size_t size, enum config_section *ret)
{
    for (int i = CONFIG_SECTION_SWITCHGEAR; i <= CONFIG_SECTION_BREAKER; i++) {
        const char *name = config_section_text((enum config_section)i);
        if (strlen(name) != size || strncmp(name, word, size) != 0)
            continue;
        *ret = (enum config_section)i;
        return true;
    }
    return false;
}

/* The text between two places, blanks trimmed. */
static const char *trimmed(struct config_arena *a, const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return config_arena_copy(a, from, (size_t)(to - from));
}

void config_set(struct config *c, const char *assignment, struct config_problems *p)
{
    const struct config_source source = {.file = "--set", .rank = CONFIG_BY_SET, .about = ""};
    const char *equals = strchr(assignment, '=');
    const char *first = strchr(assignment, '.');
    if (equals == NULL || first == NULL || first > equals) {
        config_error(p, &source,
                     "%.*s is no assignment: write section.key=value, for example "
                     "switchgear.workers=2 or node.pg1.port=5433",
                     equals == NULL ? 100
                                    : (int)(equals - assignment > 100 ? 100 : equals - assignment),
                     assignment);
        return;
    }
    enum config_section section = CONFIG_SECTION_SWITCHGEAR;
    if (!set_section(assignment, (size_t)(first - assignment), &section)) {
        config_error(p, &source,
                     "unknown section %.*s: write switchgear, node.NAME, database.NAME, probe or "
                     "breaker",
                     (int)(first - assignment > 100 ? 100 : first - assignment), assignment);
        return;
    }
    const bool named = section == CONFIG_SECTION_NODE || section == CONFIG_SECTION_DATABASE;
    const char *last = memrchr(assignment, '.', (size_t)(equals - assignment));
    if (named && last == first) {
        const char *kind = config_section_text(section);
        config_error(p, &source, "%.*s lacks a name: write %s.NAME.key=value",
                     (int)(equals - assignment > 100 ? 100 : equals - assignment), assignment,
                     kind);
        return;
    }
    const char *key = trimmed(c->arena, (named ? last : first) + 1, equals);
    const char *name = named ? trimmed(c->arena, first + 1, last) : "";
    struct config_place place;
    if (config_option_find(section, key) == NULL) { /* before a section is made for it */
        key_unknown(section, key, &source, p);
        return;
    }
    if (config_place_open(c, section, name, &source, p, &place))
        config_apply(c, &place, key, trimmed(c->arena, equals + 1, equals + strlen(equals)),
                     &source, p);
}

/* ---- reading ---- */

const struct config_database *config_database_find(const struct config *c, const char *name)
{
    const struct config_database *any = NULL;
    for (uint32_t i = 0; i < c->databases_count; i++) {
        if (strcmp(c->databases[i].name, name) == 0)
            return &c->databases[i];
        if (strcmp(c->databases[i].name, "*") == 0)
            any = &c->databases[i];
    }
    return any;
}

const struct config_user *config_user_find(const struct config *c, const char *name)
{
    uint32_t low = 0;
    uint32_t high = c->users_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = strcmp(name, c->users[middle].name);
        if (order == 0)
            return &c->users[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
