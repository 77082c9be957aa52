/* SPDX-License-Identifier: PostgreSQL
 *
 * config_finish: what follows from what was said: shards, inherited values, the user of the probes;
 * and what a reload would change that it cannot.
 */
#include "config_internal.h"

#include <assert.h>
#include <string.h>

static bool shard_find(const struct config *c, const char *name, size_t size, uint32_t *ret)
{
    for (uint32_t i = 0; i < c->shards_count; i++) {
        if (strlen(c->shards[i]) != size || memcmp(c->shards[i], name, size) != 0)
            continue;
        *ret = i;
        return true;
    }
    return false;
}

static void shards_collect(struct config *c)
{
    static_assert(CONFIG_SHARDS_MAX >= CONFIG_NODES_MAX, "a shard has a node");
    c->shards_count = 0;
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        struct config_node *n = &c->nodes[i];
        const struct config_place place = config_place_of(c, CONFIG_SECTION_NODE, i);
        n->weight_given = config_origin_of(&place, "weight")->rank != CONFIG_BY_DEFAULT;
        if (shard_find(c, n->shard, strlen(n->shard), &n->shard_index))
            continue;
        n->shard_index = c->shards_count;
        c->shards[c->shards_count++] = n->shard;
    }
    for (uint32_t i = 0; i < c->databases_count; i++) {
        struct config_database *d = &c->databases[i];
        if (d->shards[0] == '\0') /* main, or the only one there is */
            d->shards = c->shards_count == 1 ? c->shards[0] : "main";
    }
}

static void database_finish(struct config *c, uint32_t index)
{
    struct config_database *d = &c->databases[index];
    const struct config_place place = config_place_of(c, CONFIG_SECTION_DATABASE, index);
    struct config_item first;
    size_t position = 0;
    if (!config_list_next(d->shards, &position, &first) ||
        !shard_find(c, first.text, first.size, &d->shard_first))
        d->shard_first = 0;
    if (d->user[0] != '\0' && d->password[0] == '\0') /* as PgBouncer does */
        d->password = config_user_password(c, d->user);
    if (d->auth_query[0] == '\0')
        d->auth_query = c->switchgear.auth_query;
    if (d->auth_user[0] == '\0')
        d->auth_user = c->switchgear.auth_user;
    if (d->auth_dbname[0] == '\0')
        d->auth_dbname = c->switchgear.auth_dbname;
    if (config_origin_of(&place, "pool_size")->automatic)
        d->pool_size = c->switchgear.default_pool_size;
    if (config_origin_of(&place, "min_pool_size")->automatic)
        d->min_pool_size = c->switchgear.min_pool_size;
    if (config_origin_of(&place, "reserve_pool_size")->automatic)
        d->reserve_pool_size = c->switchgear.reserve_pool_size;
    if (config_origin_of(&place, "max_db_connections")->automatic)
        d->max_db_connections = c->switchgear.max_db_connections;
    if (config_origin_of(&place, "max_db_connections_per_node")->automatic)
        d->max_db_connections_per_node = c->switchgear.max_db_connections_per_node;
}

/* Somebody of auth_file whom the servers let in: of those who log in here with a password, the
 * first that is not there for the console. NULL: none. */
static const struct config_user *first_user(const struct config *c)
{
    const struct config_user *first = NULL;
    for (uint32_t i = 0; i < c->users_count; i++) {
        const struct config_user *user = &c->users[i];
        if (config_secret_is_clear(user->secret) && (first == NULL || user->line < first->line) &&
            !config_user_has_console(c, user->name))
            first = user;
    }
    return first;
}

/* Without a user of its own a probe goes as one who may log in to the servers anyway. */
static void probe_user_find(struct config *c)
{
    const struct config_database *first = c->databases_count > 0 ? &c->databases[0] : NULL;
    const struct config_place place = config_place_of(c, CONFIG_SECTION_PROBE, 0);
    if (first != NULL && first->user[0] != '\0') {
        c->probe.user = first->user;
        if (c->probe.password[0] == '\0')
            c->probe.password = first->password;
        return;
    }
    if (c->switchgear.auth_user[0] != '\0') {
        c->probe.user = c->switchgear.auth_user;
        return;
    }
    const struct config_user *user = first_user(c);
    c->probe.user = "postgres";
    if (c->probe.password[0] != '\0' || config_user_password(c, "postgres")[0] != '\0' ||
        user == NULL)
        return;
    c->probe.user = user->name; /* who surely may use that database, and perhaps no other */
    if (config_origin_of(&place, "dbname")->rank == CONFIG_BY_DEFAULT && first != NULL &&
        strcmp(first->name, "*") != 0)
        c->probe.dbname = first->dbname[0] != '\0' ? first->dbname : first->name;
}

static void probe_finish(struct config *c)
{
    for (uint32_t i = 0; i < c->databases_count; i++) {
        const uint64_t quarter_ns = c->databases[i].max_lag_ns / 4;
        if (quarter_ns < c->probe.freshness_interval_ns)
            c->probe.freshness_interval_ns = quarter_ns;
    }
    if (c->probe.user[0] == '\0')
        probe_user_find(c);
    if (c->probe.password[0] == '\0')
        c->probe.password = config_user_password(c, c->probe.user);
}

void config_finish(struct config *c, struct config_problems *p)
{
    shards_collect(c);
    config_check(c, p);
    for (uint32_t i = 0; i < c->databases_count; i++)
        database_finish(c, i);
    probe_finish(c);
    config_tls_finish(c);
    if (c->arena->failed) {
        const struct config_source source = {.file = c->arena->main_file, .about = ""};
        config_error(p, &source, "no memory, or more than %d MB of text", CONFIG_MEMORY_MAX >> 20);
    }
    config_problems_sort(p);
}

/* ---- reload ---- */

static void section_diff(enum config_section section, const void *from, const void *to,
                         const struct config_origins *origins, const char *name,
                         struct config_problems *p)
{
    char from_buf[32];
    char to_buf[32];
    for (size_t i = 0; i < config_options_count; i++) {
        const struct config_option *o = &config_options[i];
        if (o->section != section || o->reloadable)
            continue;
        const char *before = config_value_text(o, from, from_buf, sizeof from_buf);
        const char *after = config_value_text(o, to, to_buf, sizeof to_buf);
        if (strcmp(before, after) == 0)
            continue;
        const struct config_origin *origin = &origins->keys[i];
        const struct config_source source = {
            .file = origin->file, .line = origin->line, .about = ""};
        const char *blank = *name == '\0' ? "" : " ";
        /* the options of a node may hold a password: their values are not shown */
        if (strcmp(o->name, "options") == 0)
            config_error(p, &source, "%s %s: options changed: that needs a restart",
                         config_section_text(section), name);
        else
            config_error(p, &source, "%s%s%s: %s changed from %s to %s: that needs a restart",
                         config_section_text(section), blank, name, o->name, before, after);
    }
}

static uint32_t node_find(const struct config *c, const char *name)
{
    uint32_t i = 0;
    while (i < c->nodes_count && strcmp(c->nodes[i].name, name) != 0)
        i++;
    return i;
}

static void nodes_diff(const struct config *from, const struct config *to,
                       struct config_problems *p)
{
    const struct config_source whole = {.file = to->arena->main_file, .about = ""};
    bool same_names = from->nodes_count == to->nodes_count;
    bool moved = false;
    for (uint32_t i = 0; i < from->nodes_count; i++) {
        if (node_find(to, from->nodes[i].name) < to->nodes_count)
            continue;
        same_names = false;
        config_error(p, &whole, "node %s was removed: that needs a restart", from->nodes[i].name);
    }
    for (uint32_t i = 0; i < to->nodes_count; i++) {
        const struct config_node *n = &to->nodes[i];
        const struct config_origins *origins = to->arena->nodes[i];
        const uint32_t was = node_find(from, n->name);
        if (was == from->nodes_count) {
            const struct config_source source = {
                .file = origins->header.file, .line = origins->header.line, .about = ""};
            config_error(p, &source, "node %s was added: that needs a restart", n->name);
            continue;
        }
        moved = moved || was != i;
        section_diff(CONFIG_SECTION_NODE, &from->nodes[was], n, origins, n->name, p);
    }
    if (moved && same_names)
        config_error(p, &whole, "the nodes are in another order: that needs a restart");
}

void config_diff(const struct config *from, const struct config *to, struct config_problems *p)
{
    section_diff(CONFIG_SECTION_SWITCHGEAR, &from->switchgear, &to->switchgear,
                 &to->arena->switchgear, "", p);
    section_diff(CONFIG_SECTION_PROBE, &from->probe, &to->probe, &to->arena->probe, "", p);
    section_diff(CONFIG_SECTION_BREAKER, &from->breaker, &to->breaker, &to->arena->breaker, "", p);
    nodes_diff(from, to, p);
    for (uint32_t i = 0; i < to->databases_count; i++) {
        const struct config_database *d = &to->databases[i];
        const struct config_database *was = config_database_find(from, d->name);
        if (was != NULL && strcmp(was->name, d->name) == 0)
            section_diff(CONFIG_SECTION_DATABASE, was, d, to->arena->databases[i], d->name, p);
    }
}
