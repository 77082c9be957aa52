/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_check_connect: see the header.
 *
 * Happy path: check_connect -> node_try -> log_in_try, for the probes, then for each database and
 * each user whose password is known. Failure modes: a node that cannot be reached is said once, and
 * its other log-ins are not tried; all else is a line of its own.
 */
#include "proxy_check_connect.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy_libpq.h"
#include "proxy_tls.h"

enum { USERS_TRIED_MAX = 16, WAIT_MAX_MS = 5000 };

/* One log-in: at whose section it stands is told by `why`. */
struct log_in {
    const char *user, *password, *dbname;
    const char *why; /* "probes", "clients", "auth_query" */
};

struct trial {
    const struct config *config;
    uint32_t node;
    bool unreachable; /* said already */
    bool primary;
    uint32_t failed, worked;
    struct {
        const char *user, *dbname;
    } seen[CONFIG_DATABASES_MAX * (USERS_TRIED_MAX + 2)];
    uint32_t seen_count;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* As for a client's connection: server_tls_*, the node's options, what we know. */
static PGconn *start(const struct config *config, const struct config_node *node,
                     const struct log_in *in)
{
    struct libpq_keywords k = {.count = 0};
    char port[16];
    PQconninfoOption *options =
        PQconninfoParse(node->options, NULL); /* config_load() has checked */
    tls_server_keywords(config, &k);
    libpq_keywords_add(&k, options);
    const bool own_user = libpq_keyword_find(&k, "user") != NULL;
    const bool own_password = own_user || libpq_keyword_find(&k, "password") != NULL;
    (void)snprintf(port, sizeof(port), "%llu", (unsigned long long)node->port);
    libpq_keyword_add(&k, "host", node->host);
    libpq_keyword_add(&k, "port", port);
    libpq_keyword_add(&k, "dbname", in->dbname);
    libpq_keyword_add(&k, "gssencmode", "disable");
    libpq_keyword_add(&k, "application_name", "switchgear-check");
    libpq_keyword_add(&k, "user", own_user ? NULL : in->user);
    libpq_keyword_add(&k, "password", own_password ? NULL : in->password);
    PGconn *conn = PQconnectStartParams(k.names, k.values, 0);
    PQconninfoFree(options);
    if (conn != NULL)
        (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* so that there is an SQLSTATE */
    return conn;
}

/* NULL: it is connected; else why not, in memory of conn or static. */
static const char *finish(PGconn *conn)
{
    const uint64_t end_ms = now_ms() + WAIT_MAX_MS;
    if (conn == NULL)
        return "no memory";
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (PQstatus(conn) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
           status != PGRES_POLLING_FAILED) {
        const uint64_t at_ms = now_ms();
        struct pollfd p = {.fd = PQsocket(conn),
                           .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (at_ms >= end_ms || poll(&p, 1, (int)(end_ms - at_ms)) == 0)
            return "no answer within 5 seconds";
        status = PQconnectPoll(conn);
    }
    return status == PGRES_POLLING_OK ? NULL : PQerrorMessage(conn);
}

static void name_print(FILE *to, const struct trial *t, const char *user, const struct log_in *in)
{
    const struct config_node *node = &t->config->nodes[t->node];
    (void)fprintf(to, "node %s (%s port %llu), user \"%s\", database \"%s\", for %s: ", node->name,
                  node->host, (unsigned long long)node->port, user, in->dbname, in->why);
}

static void failure_print(struct trial *t, const char *user, const struct log_in *in,
                          const PGconn *conn, const char *message)
{
    char sqlstate[6];
    char reason[256];
    libpq_sqlstate(message, sqlstate);
    libpq_reason(message, reason, sizeof(reason));
    t->failed++;
    name_print(stderr, t, user, in);
    (void)fprintf(stderr, "%s", reason);
    if (sqlstate[0] != '\0')
        (void)fprintf(stderr, " (%s)", sqlstate);
    const bool wanted = conn != NULL && PQconnectionNeedsPassword(conn);
    if (wanted)
        (void)fprintf(stderr, ": the server wants a password, and none is known: write it in "
                              "auth_file, or as password of the section");
    (void)fputc('\n', stderr);
    if (sqlstate[0] == '\0' && !wanted)
        t->unreachable = conn == NULL || !PQconnectionUsedPassword(conn);
}

static void role_ask(struct trial *t, PGconn *conn)
{
    PGresult *r = PQexec(conn, "SELECT pg_catalog.pg_is_in_recovery()");
    const bool replica = PQresultStatus(r) == PGRES_TUPLES_OK && PQgetvalue(r, 0, 0)[0] == 't';
    t->primary = t->primary || (PQresultStatus(r) == PGRES_TUPLES_OK && !replica);
    (void)printf("ok, %s, PostgreSQL %s%s\n", replica ? "replica" : "primary",
                 PQparameterStatus(conn, "server_version"), PQsslInUse(conn) ? ", TLS" : "");
    PQclear(r);
}

static void log_in_try(struct trial *t, const struct log_in *in)
{
    const struct config_node *node = &t->config->nodes[t->node];
    for (uint32_t i = 0; i < t->seen_count; i++)
        if (strcmp(t->seen[i].user, in->user) == 0 && strcmp(t->seen[i].dbname, in->dbname) == 0)
            return;
    if (t->unreachable || t->seen_count == sizeof(t->seen) / sizeof(t->seen[0]))
        return;
    t->seen[t->seen_count].user = in->user;
    t->seen[t->seen_count++].dbname = in->dbname;
    PGconn *conn = start(t->config, node, in);
    const char *wrong = finish(conn);
    const char *user = conn != NULL && PQuser(conn) != NULL ? PQuser(conn) : in->user;
    if (wrong == NULL) {
        t->worked++;
        name_print(stdout, t, user, in);
        role_ask(t, conn);
    } else {
        failure_print(t, user, in, conn, wrong);
    }
    PQfinish(conn);
}

static void database_try(struct trial *t, const struct config_database *d)
{
    const struct config *c = t->config;
    const bool any = strcmp(d->name, "*") == 0;
    const char *dbname = d->dbname[0] != '\0' ? d->dbname : d->name;
    uint32_t tried = 0;
    if (any && d->dbname[0] == '\0') /* any name: the probes' database stands for them */
        dbname = c->probe.dbname;
    if (d->auth_user[0] != '\0') {
        const struct config_database *of = config_database_find(c, d->auth_dbname);
        const char *in = of != NULL && of->dbname[0] != '\0' ? of->dbname : d->auth_dbname;
        log_in_try(t, &(struct log_in){d->auth_user, config_user_password(c, d->auth_user),
                                       in[0] != '\0' ? in : dbname, "auth_query"});
    }
    if (d->user[0] != '\0') {
        log_in_try(t, &(struct log_in){d->user, d->password, dbname, "clients"});
        return;
    }
    for (uint32_t i = 0; i < c->users_count && tried < USERS_TRIED_MAX; i++) {
        const struct config_user *user = &c->users[i];
        if (!config_secret_is_clear(user->secret) || config_user_has_console(c, user->name) ||
            (d->auth_user[0] != '\0' && strcmp(d->auth_user, user->name) == 0))
            continue;
        tried++;
        log_in_try(t, &(struct log_in){user->name, user->secret, dbname, "clients"});
    }
}

/* Returns how many log-ins failed. */
static uint32_t node_try(const struct config *config, uint32_t node, bool *ret_primary)
{
    struct trial *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return 1;
    t->config = config;
    t->node = node;
    log_in_try(t, &(struct log_in){config->probe.user, config->probe.password, config->probe.dbname,
                                   "the probes"});
    for (uint32_t i = 0; i < config->databases_count; i++)
        if (config->databases[i].shard_first == config->nodes[node].shard_index)
            database_try(t, &config->databases[i]);
    const uint32_t failed = t->failed;
    *ret_primary = t->primary;
    free(t);
    return failed;
}

bool check_connect(const struct config *config)
{
    uint32_t failed = 0;
    for (uint32_t s = 0; s < config->shards_count; s++) {
        uint32_t primaries = 0;
        uint32_t refused = 0;
        for (uint32_t i = 0; i < config->nodes_count; i++) {
            bool primary = false;
            if (config->nodes[i].shard_index != s)
                continue;
            refused += node_try(config, i, &primary);
            primaries += primary;
        }
        failed += refused;
        if (primaries == 1)
            continue;
        failed++;
        (void)fprintf(stderr, "shard %s: %s\n", config->shards[s],
                      primaries > 1 ? "more than one of its nodes is a primary"
                      : refused > 0 ? "no primary was found among the nodes that answered"
                                    : "no primary: all of its nodes are replicas");
    }
    (void)fflush(stdout);
    return failed == 0;
}
