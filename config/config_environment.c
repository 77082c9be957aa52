/* SPDX-License-Identifier: PostgreSQL
 *
 * config_environment: DATABASE_URL and its companions become nodes, a database and a user. Pure:
 * the caller looks the variables up.
 */
#include "config_internal.h"

#include <string.h>

/* What a URL said that is not for us. */
static void dropped_say(const struct config_url *u, const struct config_source *source,
                        struct config_problems *p)
{
    if (u->dropped[0] != '\0')
        config_warning(p, source,
                       "not used, as libpq does not know it: %s (it belongs into the application's "
                       "own URL, that of the proxy)",
                       u->dropped);
    if (u->certificate_wanted)
        config_warning(p, source,
                       "sslaccept=strict: write sslmode=verify-full&sslrootcert=FILE for a server "
                       "that has to show its certificate");
}

/* One node of a URL; its credentials go to `options` where they are not the primary's. */
static void node_set(struct config *c, const char *name, const struct config_url *u,
                     const struct config_url *primary, const struct config_source *source,
                     struct config_problems *p)
{
    struct config_place place;
    const char *options = u->options;
    if (!config_place_open(c, CONFIG_SECTION_NODE, name, source, p, &place))
        return;
    const bool other_user = u->user[0] != '\0' && strcmp(u->user, primary->user) != 0;
    const bool other_password =
        u->password[0] != '\0' && (other_user || strcmp(u->password, primary->password) != 0);
    if (other_user)
        options = config_keyword_append(c->arena, options, "user", u->user);
    if (other_password)
        options = config_keyword_append(c->arena, options, "password", u->password);
    if (u->host[0] != '\0')
        config_apply_string(&place, "host", u->host, source);
    if (u->port[0] != '\0')
        config_apply(c, &place, "port", u->port, source, p);
    if (options[0] != '\0')
        config_apply_string(&place, "options", options, source);
}

static void database_set(struct config *c, const struct config_url *u,
                         const struct config_source *source, struct config_problems *p)
{
    const char *dbname = u->dbname[0] != '\0' ? u->dbname : u->user; /* libpq's rule */
    struct config_place place;
    if (dbname[0] == '\0') {
        config_error(p, source, "it names no database: add /database behind the host");
        return;
    }
    if (!config_place_open(c, CONFIG_SECTION_DATABASE, dbname, source, p, &place))
        return;
    config_apply_string(&place, "user", u->user, source);
    config_apply_string(&place, "password", u->password, source);
    const struct config_place probe = config_place_of(c, CONFIG_SECTION_PROBE, 0);
    config_apply_string(&probe, "dbname", config_arena_copy(c->arena, dbname, strlen(dbname)),
                        source);
    if (u->user[0] == '\0')
        return;
    config_apply_string(&probe, "user", u->user, source);
    config_apply_string(&probe, "password", u->password, source);
}

/* Clients log in with the URL's user and password; without a password there is nothing to check. */
static void login_set(struct config *c, const struct config_url *u,
                      const struct config_source *source, struct config_problems *p)
{
    if (u->password[0] == '\0') {
        const struct config_place place = config_place_of(c, CONFIG_SECTION_SWITCHGEAR, 0);
        config_apply(c, &place, "auth_type", "trust", source, p);
        return;
    }
    if (u->user[0] == '\0') {
        config_error(p, source, "it has a password but no user: write user:password@host");
        return;
    }
    const struct config_user_line line = {.user = {.name = u->user, .secret = u->password}};
    config_users_add(c, &line, 1, source->file, p);
}

static void replicas_set(struct config *c, const char *list, const struct config_url *primary,
                         struct config_problems *p)
{
    struct config_source source = {.file = "environment", .rank = CONFIG_BY_ENVIRONMENT};
    struct config_item item;
    uint32_t number = 0;
    for (size_t position = 0; config_list_next(list, &position, &item);) {
        struct config_url u;
        number++;
        source.about = config_arena_print(c->arena, "DATABASE_READ_REPLICAS, URL %u: ", number);
        const char *text = config_arena_copy(c->arena, item.text, item.size);
        const char *wrong = config_url_parse(c->arena, text, &u);
        if (wrong != NULL) {
            config_error(p, &source, "%s%s", wrong,
                         number > 1 ? " (write a comma inside a URL as %2C)" : "");
            continue;
        }
        dropped_say(&u, &source, p);
        const char *dbname = primary->dbname[0] != '\0' ? primary->dbname : primary->user;
        if (u.dbname[0] != '\0' && strcmp(u.dbname, dbname) != 0)
            config_warning(p, &source,
                           "it names database %s, but a replica holds the same databases as the "
                           "primary: reads use %s",
                           u.dbname, dbname);
        const char *name = config_arena_print(c->arena, "replica%u", number);
        if (c->nodes_count == CONFIG_NODES_MAX) {
            config_error(p, &source, "more than %d nodes", CONFIG_NODES_MAX);
            return;
        }
        node_set(c, name, &u, primary, &source, p);
    }
}

/* A variable that is another way to write one option. */
static void option_set(struct config *c, const char *name, const char *value,
                       enum config_section section, const char *key, struct config_problems *p)
{
    if (value == NULL || value[0] == '\0')
        return;
    const struct config_source source = {.file = "environment",
                                         .rank = CONFIG_BY_ENVIRONMENT,
                                         .about = config_arena_print(c->arena, "%s: ", name)};
    const struct config_place place = config_place_of(c, section, 0);
    config_apply(c, &place, key, value, &source, p);
}

/* Variables that deployments set for what stands around a proxy. What this one has no part in is
 * said, so that nobody relies on it. */
static void deployment_read(struct config *c, const char *(*get)(void *arg, const char *name),
                            void *arg, struct config_problems *p)
{
    static const struct {
        const char *name, *instead;
    } unused[] = {
        {"SLOW_QUERY_THRESHOLD_MS", "slow statements are not logged"},
        {"QUERY_MONITORING_ENABLED", "statements are counted on /metrics, always"},
        {"APM_SAMPLE_RATE", "there is no tracing"},
        {"RATE_LIMIT_REDIS_KEY_PREFIX", "there are no limits by key"},
        {"RATE_LIMIT_GRACEFUL_DEGRADATION", "there are no limits by key"},
        {"DETAILED_HEALTH_CHECK_ENABLED", "/health/detailed is there with http_listen, always"}};
    const struct config_source source = {
        .file = "environment", .rank = CONFIG_BY_ENVIRONMENT, .about = ""};
    option_set(c, "PGBOUNCER_POOL_SIZE", get(arg, "PGBOUNCER_POOL_SIZE"), CONFIG_SECTION_SWITCHGEAR,
               "default_pool_size", p);
    option_set(c, "PGBOUNCER_RESERVE_POOL_SIZE", get(arg, "PGBOUNCER_RESERVE_POOL_SIZE"),
               CONFIG_SECTION_SWITCHGEAR, "reserve_pool_size", p);
    for (size_t i = 0; i < sizeof unused / sizeof unused[0]; i++) {
        const char *value = get(arg, unused[i].name);
        if (value != NULL && value[0] != '\0')
            config_warning(p, &source, "%s has no effect: %s", unused[i].name, unused[i].instead);
    }
}

void config_parse_environment(struct config *c, const char *(*get)(void *arg, const char *name),
                              void *arg, struct config_problems *p)
{
    const struct config_source source = {
        .file = "environment", .rank = CONFIG_BY_ENVIRONMENT, .about = "DATABASE_URL: "};
    const char *text = get(arg, "DATABASE_URL");
    const char *replicas = get(arg, "DATABASE_READ_REPLICAS");
    const char *threshold = get(arg, "DATABASE_REPLICA_FAILOVER_THRESHOLD");
    const char *interval = get(arg, "DATABASE_REPLICA_HEALTH_CHECK_INTERVAL");
    struct config_url primary = {"", "", "", "", "", "", "", false};
    if (c->arena->main_file == NULL)
        c->arena->main_file = "environment";
    if (text == NULL || text[0] == '\0') {
        config_error(p, &source,
                     "it is not set: set it to postgres://user:password@host:port/database, or "
                     "name a configuration file");
    } else {
        const char *wrong = config_url_parse(c->arena, text, &primary);
        if (wrong != NULL) {
            config_error(p, &source, "%s", wrong);
        } else {
            dropped_say(&primary, &source, p);
            node_set(c, "primary", &primary, &primary, &source, p);
            database_set(c, &primary, &source, p);
            login_set(c, &primary, &source, p);
        }
    }
    if (replicas != NULL)
        replicas_set(c, replicas, &primary, p);
    option_set(c, "DATABASE_REPLICA_FAILOVER_THRESHOLD", threshold, CONFIG_SECTION_BREAKER,
               "failures", p);
    option_set(c, "DATABASE_REPLICA_HEALTH_CHECK_INTERVAL", interval, CONFIG_SECTION_PROBE,
               "interval", p);
    deployment_read(c, get, arg, p);
}
