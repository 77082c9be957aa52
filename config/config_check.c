/* SPDX-License-Identifier: PostgreSQL
 *
 * config_check: what no single value shows: contradictions, references, and what is accepted but
 * has no effect yet. Every message stands at the line to change.
 */
#include "config_internal.h"

#include <assert.h>
#include <string.h>

struct config_source config_at_key(const struct config *c, const struct config_place *place,
                                   const char *key)
{
    const struct config_origin *origin = config_origin_of(place, key);
    struct config_source source = {.file = origin->file, .line = origin->line, .about = ""};
    if (source.file == NULL) {
        source.file = place->origins->header.file;
        source.line = place->origins->header.line;
    }
    if (source.file == NULL)
        source.file = c->arena->main_file;
    return source;
}

void config_setting_problem(const struct config *c, const char *key, bool warning,
                            const char *message, struct config_problems *p)
{
    const struct config_place place = {.section = CONFIG_SECTION_SWITCHGEAR,
                                       .origins = &c->arena->switchgear};
    const struct config_source source = config_at_key(c, &place, key);
    if (warning)
        config_warning(p, &source, "%s", message);
    else
        config_error(p, &source, "%s", message);
}

void config_node_problem(const struct config *c, uint32_t node, const char *key,
                         const char *message, struct config_problems *p)
{
    assert(node < c->nodes_count);
    const struct config_place place = {.section = CONFIG_SECTION_NODE,
                                       .origins = c->arena->nodes[node]};
    const struct config_source source = config_at_key(c, &place, key);
    config_error(p, &source, "node %s: %s", c->nodes[node].name, message);
}

static struct config_source at_header(const struct config_place *place)
{
    return (struct config_source){
        .file = place->origins->header.file, .line = place->origins->header.line, .about = ""};
}

/* ---- [switchgear] ---- */

static void list_check(struct config *c, const struct config_place *place, const char *key,
                       const char *list, struct config_problems *p)
{
    const struct config_source source = config_at_key(c, place, key);
    struct config_item item;
    for (size_t position = 0; config_list_next(list, &position, &item);) {
        if (item.size > 0)
            continue;
        config_error(p, &source, "%s: there is nothing between two commas", key);
        return;
    }
}

static void listen_item_check(struct config *c, const char *text,
                              const struct config_source *source, struct config_problems *p)
{
    struct config_address address;
    if (!config_address_parse(text, &address)) {
        config_error(p, source,
                     "listen: %s is no address: write host:port, [ipv6]:port, *:port, :port, "
                     "unix:/directory or unix:@name",
                     text);
        return;
    }
    if (!address.is_loopback && c->switchgear.auth_type == CONFIG_AUTH_TRUST &&
        !c->switchgear.trust_anywhere)
        config_error(p, source,
                     "auth_type = trust lets anybody in who reaches %s: listen on 127.0.0.1, "
                     "choose scram-sha-256, or set trust_anywhere = yes",
                     text);
    if (strcmp(text, c->switchgear.http_listen) == 0)
        config_error(p, source, "listen and http_listen are both %s: change one", text);
}

static void listen_check(struct config *c, const struct config_place *place,
                         struct config_problems *p)
{
    const struct config_source source = config_at_key(c, place, "listen");
    const char *seen[CONFIG_LISTEN_MAX];
    struct config_item item;
    uint32_t count = 0;
    for (size_t position = 0; config_list_next(c->switchgear.listen, &position, &item);) {
        if (count == CONFIG_LISTEN_MAX) {
            config_error(p, &source, "listen: more than %d addresses", CONFIG_LISTEN_MAX);
            return;
        }
        const char *text = config_arena_copy(c->arena, item.text, item.size);
        for (uint32_t i = 0; i < count; i++) {
            if (strcmp(seen[i], text) == 0)
                config_error(p, &source, "listen: %s is here twice", text);
        }
        seen[count++] = text;
        listen_item_check(c, text, &source, p);
    }
    if (count == 0)
        config_error(p, &source, "listen is empty: name an address, for example 127.0.0.1:6432");
}

static void http_check(struct config *c, const struct config_place *place,
                       struct config_problems *p)
{
    const struct config_source source = config_at_key(c, place, "http_listen");
    const char *text = c->switchgear.http_listen;
    struct config_address address;
    if (text[0] == '\0')
        return;
    if (!config_address_parse(text, &address) || address.is_unix)
        config_error(p, &source,
                     "http_listen: %s is no address: write host:port, [ipv6]:port or *:port, or "
                     "nothing",
                     text);
}

static void admin_socket_check(struct config *c, const struct config_place *place,
                               struct config_problems *p)
{
    const struct config_source source = config_at_key(c, place, "admin_socket");
    const char *directory = c->switchgear.admin_socket;
    struct config_address address;
    const char *text = config_arena_print(c->arena, "unix:%s", directory);
    if (directory[0] != '\0' && (directory[0] == '@' || !config_address_parse(text, &address)))
        config_error(p, &source,
                     "admin_socket: %s: write the full path of a directory, at most 92 bytes",
                     directory);
}

static void switchgear_check(struct config *c, struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_SWITCHGEAR, 0);
    listen_check(c, &place, p);
    http_check(c, &place, p);
    admin_socket_check(c, &place, p);
    config_check_auth(c, p);
    config_check_network(c, p);
    list_check(c, &place, "admin_users", c->switchgear.admin_users, p);
    list_check(c, &place, "stats_users", c->switchgear.stats_users, p);
}

/* ---- nodes ---- */

static void node_pair_check(struct config *c, uint32_t first, uint32_t second,
                            struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_NODE, second);
    const struct config_node *a = &c->nodes[first];
    const struct config_node *b = &c->nodes[second];
    if (a->port == b->port && strcmp(a->host, b->host) == 0) {
        const struct config_source source = config_at_key(c, &place, "port");
        config_error(p, &source, "nodes %s and %s are the same server, %s port %llu: remove one",
                     a->name, b->name, a->host, (unsigned long long)a->port);
    }
    if (a->role == CONFIG_ROLE_PRIMARY && b->role == CONFIG_ROLE_PRIMARY &&
        strcmp(a->shard, b->shard) == 0) {
        const struct config_source source = config_at_key(c, &place, "role");
        config_error(p, &source,
                     "nodes %s and %s are both role = primary in shard %s: a shard has one; write "
                     "role = auto",
                     a->name, b->name, a->shard);
    }
}

static void node_check(struct config *c, uint32_t index, struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_NODE, index);
    const struct config_node *n = &c->nodes[index];
    const struct config_source shard = config_at_key(c, &place, "shard");
    const struct config_source host = config_at_key(c, &place, "host");
    const struct config_source options = config_at_key(c, &place, "options");
    if (n->shard[0] == '\0' || strlen(n->shard) > CONFIG_NAME_MAX ||
        strpbrk(n->shard, ", \t") != NULL)
        config_error(p, &shard, "shard: write one name without blanks, at most %d bytes",
                     CONFIG_NAME_MAX);
    if (n->host[0] == '\0')
        config_error(p, &host, "host is empty: write a host name, an address or a directory");
    else if (n->host[0] != '/' && strpbrk(n->host, ", \t") != NULL)
        config_error(p, &host,
                     "host: a node is one server: write one host, and a [node NAME] for each");
    const char *wrong = config_keywords_check(c->arena, n->options);
    if (wrong != NULL)
        config_error(p, &options, "%s", wrong);
    for (uint32_t i = 0; i < index; i++)
        node_pair_check(c, i, index, p);
}

/* A slip of the pen in --set must not make a node or a database. */
static void set_only_check(struct config *c, enum config_section section, uint32_t count,
                           struct config_problems *p)
{
    bool declared = false;
    for (uint32_t i = 0; i < count; i++)
        declared = declared || config_place_of(c, section, i).origins->header.rank != CONFIG_BY_SET;
    for (uint32_t i = 0; i < count && declared; i++) {
        const struct config_place place = config_place_of(c, section, i);
        const struct config_source source = at_header(&place);
        if (place.origins->header.rank != CONFIG_BY_SET)
            continue;
        const bool is_node = section == CONFIG_SECTION_NODE;
        config_error(p, &source, "there is no %s %s: check its name", config_section_text(section),
                     is_node ? c->nodes[i].name : c->databases[i].name);
    }
}

/* ---- databases ---- */

static bool shard_known(const struct config *c, const struct config_item *item)
{
    for (uint32_t i = 0; i < c->shards_count; i++) {
        if (strlen(c->shards[i]) == item->size && memcmp(c->shards[i], item->text, item->size) == 0)
            return true;
    }
    return false;
}

static void shards_check(struct config *c, const struct config_place *place,
                         const struct config_database *d, struct config_problems *p)
{
    const struct config_source source = config_at_key(c, place, "shards");
    struct config_item item;
    uint32_t count = 0;
    for (size_t position = 0; config_list_next(d->shards, &position, &item);) {
        count++;
        if (c->nodes_count > 0 && !shard_known(c, &item))
            config_error(p, &source, "database %s: no node is in shard %.*s: check its name",
                         d->name, item.size > 100 ? 100 : (int)item.size, item.text);
    }
    if (count > 1)
        config_warning(p, &source, "database %s: only the first of its shards is used so far",
                       d->name);
}

static void database_check(struct config *c, uint32_t index, struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_DATABASE, index);
    const struct config_place breaker = config_place_of(c, CONFIG_SECTION_BREAKER, 0);
    const struct config_database *d = &c->databases[index];
    shards_check(c, &place, d, p);
    if (d->password[0] != '\0' && d->user[0] == '\0') {
        const struct config_source source = config_at_key(c, &place, "password");
        config_error(p, &source, "database %s has a password but no user: add user", d->name);
    }
    if (d->max_lag_ns > c->breaker.lag_hard_ns) {
        const bool said = config_origin_of(&place, "max_lag")->file != NULL;
        const struct config_source source =
            said ? config_at_key(c, &place, "max_lag") : config_at_key(c, &breaker, "lag_hard");
        config_error(p, &source,
                     "max_lag of database %s is above lag_hard in [breaker], which shuts a node "
                     "first: lower max_lag or raise lag_hard",
                     d->name);
    }
}

/* ---- [breaker] ---- */

static void breaker_check(struct config *c, struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_BREAKER, 0);
    const struct config_breaker *b = &c->breaker;
    if (b->open_max_ns < b->open_for_ns) {
        const struct config_source source = config_at_key(c, &place, "open_max");
        config_error(p, &source, "open_max is below open_for: raise it");
    }
    if (b->trial_failures > b->trial_calls) {
        const struct config_source source = config_at_key(c, &place, "trial_failures");
        config_error(p, &source,
                     "trial_failures is above trial_calls, so that no trial could fail: lower it");
    }
}

/* ---- accepted, without effect ---- */

static void effects_check(struct config *c, const struct config_place *place,
                          struct config_problems *p)
{
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        const struct config_origin *origin = &place->origins->keys[i];
        if (o->section != place->section || o->in_effect || origin->file == NULL ||
            origin->automatic || config_value_is_default(o, place->values, c->arena))
            continue;
        const struct config_source source = config_at_key(c, place, o->name);
        config_warning(p, &source, "%s is accepted, but has no effect yet", o->name);
    }
}

void config_check(struct config *c, struct config_problems *p)
{
    const struct config_source whole = {.file = c->arena->main_file, .about = ""};
    if (c->nodes_count == 0)
        config_error(p, &whole, "there is no node: add a section [node NAME] with host and port");
    if (c->databases_count == 0)
        config_error(p, &whole,
                     "there is no database: add a section [database NAME] for what clients name, "
                     "or [database *] for all");
    switchgear_check(c, p);
    config_tls_check(c, p);
    breaker_check(c, p);
    set_only_check(c, CONFIG_SECTION_NODE, c->nodes_count, p);
    set_only_check(c, CONFIG_SECTION_DATABASE, c->databases_count, p);
    for (uint32_t i = 0; i < c->nodes_count; i++)
        node_check(c, i, p);
    for (uint32_t i = 0; i < c->databases_count; i++)
        database_check(c, i, p);
    for (int s = CONFIG_SECTION_SWITCHGEAR; s <= CONFIG_SECTION_BREAKER; s++) {
        uint32_t count = 1;
        if (s == CONFIG_SECTION_NODE)
            count = c->nodes_count;
        else if (s == CONFIG_SECTION_DATABASE)
            count = c->databases_count;
        for (uint32_t i = 0; i < count; i++) {
            const struct config_place place = config_place_of(c, (enum config_section)s, i);
            effects_check(c, &place, p);
        }
    }
}
