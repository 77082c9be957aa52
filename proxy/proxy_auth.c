/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth: who may log in, and how they prove who they are. See the header.
 */
#include "proxy_auth.h"

#include <stdlib.h>

#include "proto_base64.h"
#include "proxy_log.h"
#include "proxy_tls.h"
#include "proxy_worker.h"

/* The user's secret, in SCRAM's form where it is clear text: made once, as it costs a millisecond.
 */
static const char *scram_of(struct worker *w, const struct config_user *user)
{
    if (strncmp(user->secret, "SCRAM-SHA-256$", 14) == 0 || strncmp(user->secret, "md5", 3) == 0)
        return user->secret;
    if (w->scram_of != w->config) {
        for (uint32_t i = 0; w->scram != NULL && i < w->scram_of->users_count; i++)
            free(w->scram[i]);
        free(w->scram);
        w->scram = calloc(w->config->users_count, sizeof(char *));
        w->scram_of = w->config;
        if (w->scram == NULL)
            abort();
    }
    char **cached = &w->scram[user - w->config->users];
    if (*cached != NULL)
        return *cached;
    struct proto_scram_secret secret;
    uint8_t salt[16];
    char salt64[64], stored64[64], server64[64];
    proxy_random(salt, sizeof(salt));
    proto_scram_secret_make(
        &proxy_hashes, (struct proto_span){(const uint8_t *)user->secret, strlen(user->secret)},
        salt, sizeof(salt), PROTO_SCRAM_ITERATIONS, &secret);
    salt64[proto_base64_encode((struct proto_span){salt, sizeof(salt)}, salt64)] = '\0';
    stored64[proto_base64_encode((struct proto_span){secret.stored_key, 32}, stored64)] = '\0';
    server64[proto_base64_encode((struct proto_span){secret.server_key, 32}, server64)] = '\0';
    char text[256];
    (void)snprintf(text, sizeof(text), "SCRAM-SHA-256$%u:%s$%s:%s", PROTO_SCRAM_ITERATIONS, salt64,
                   stored64, server64);
    *cached = strdup(text);
    if (*cached == NULL)
        abort();
    return *cached;
}

static bool is_admin_database(const char *name)
{
    return strcmp(name, "switchgear") == 0 || strcmp(name, "pgbouncer") == 0;
}

static enum core_auth auth_of(struct worker *w, const struct config_user *user,
                              struct core_login_answer *answer)
{
    switch ((enum config_auth)w->config->switchgear.auth_type) {
    case CONFIG_AUTH_TRUST:
        return CORE_AUTH_TRUST;
    case CONFIG_AUTH_MD5:
        answer->secret = user != NULL ? user->secret : NULL;
        if (user == NULL || strncmp(user->secret, "SCRAM-SHA-256$", 14) != 0)
            return CORE_AUTH_MD5;
        return CORE_AUTH_SCRAM;
    case CONFIG_AUTH_SCRAM:
        answer->secret = user != NULL ? scram_of(w, user) : NULL;
        return CORE_AUTH_SCRAM;
    case CONFIG_AUTH_CERT:
    case CONFIG_AUTH_HBA:
        break;
    }
    return CORE_AUTH_REJECT;
}

/* The proxy's own state forbids it, whoever it is. */
static bool closed_to_all(const struct client *c, struct proto_error_text *error)
{
    const struct proxy *p = c->worker->proxy;
    if (ck_pr_load_64(&p->shutting_down) != 0) {
        error->sqlstate = "57P01";
        error->message = "the proxy is shutting down";
        return true;
    }
    if (!c->is_admin_socket &&
        ck_pr_load_64(&p->client_count) > c->worker->config->switchgear.max_client_conn) {
        error->sqlstate = "53300";
        error->message = "no more connections allowed (max_client_conn)";
        error->hint = "Raise max_client_conn.";
        return true;
    }
    return false;
}

void auth_login(struct client *c, uint64_t now_ns)
{
    struct worker *w = c->worker;
    const char *user_name = core_login_user_name(&c->core);
    struct core_login_answer answer = {.auth = CORE_AUTH_REJECT};
    struct proto_error_text error = {.severity = "FATAL"};
    uint8_t binding[PROTO_SCRAM_BINDING_SIZE_MAX];
    proxy_random(answer.random, sizeof(answer.random));
    memcpy(answer.server_key, w->proxy->server_key, sizeof(answer.server_key));
    answer.channel_binding = (struct proto_span){
        .base = binding, .size = tls_channel_binding(c, binding, sizeof(binding))};
    const struct config_user *user = config_user_find(w->config, user_name);
    answer.auth = auth_of(w, user, &answer);
    if (c->is_admin_socket)
        answer.auth = CORE_AUTH_TRUST; /* the socket's permissions and peer credentials decide */
    if (closed_to_all(c, &error))
        answer.error = &error;
    worker_apply(w, c, core_login_user(&c->core, &answer, now_ns), now_ns);
}

/* ---- who it is, is proven: where it may go ---- */

/* Only now, and not before the proof: strangers shall not learn which databases there are, nor
 * make a group for each name that they can think of. */
static bool may_enter(const struct client *c, struct proto_error_text *error, char *message,
                      size_t message_size)
{
    const struct config *config = c->worker->config;
    const char *user = core_login_user_name(&c->core);
    const char *database = core_login_database(&c->core);
    if (is_admin_database(database)) {
        if (c->is_admin_socket || config_list_has(config->switchgear.admin_users, user) ||
            config_list_has(config->switchgear.stats_users, user))
            return true;
        error->sqlstate = "42501";
        error->hint = "Name the user in admin_users or stats_users.";
        (void)snprintf(message, message_size, "user \"%s\" may not use the admin console", user);
        return false;
    }
    if (!c->is_admin_socket && config_database_find(config, database) != NULL)
        return true;
    error->sqlstate = "3D000";
    if (c->is_admin_socket)
        error->hint = "The admin socket serves the database switchgear only.";
    (void)snprintf(message, message_size, "database \"%s\" does not exist", database);
    return false;
}

void auth_proven(struct client *c, uint64_t now_ns)
{
    struct worker *w = c->worker;
    const char *user = core_login_user_name(&c->core);
    const char *name = core_login_database(&c->core);
    struct proto_error_text error = {.severity = "FATAL"};
    char message[512];
    error.message = message;
    if (!may_enter(c, &error, message, sizeof(message))) {
        worker_apply(w, c, core_login_admit(&c->core, NULL, &error, now_ns), now_ns);
        return;
    }
    if (is_admin_database(name)) {
        client_hand_to_admin(c);
        return;
    }
    const struct config_user *known = config_user_find(w->config, user);
    c->user = known != NULL ? known->name : NULL;
    const uint32_t index = (uint32_t)(config_database_find(w->config, name) - w->config->databases);
    struct group *g = worker_group(w, index, name, user);
    worker_apply(w, c, core_login_admit(&c->core, &g->core, NULL, now_ns), now_ns);
}

/* ---- failures ---- */

static enum login_failure failure_of(const char *sqlstate)
{
    static const struct {
        const char *start;
        enum login_failure failure;
    } classes[] = {{"28P01", LOGIN_FAILED_PASSWORD}, {"28", LOGIN_FAILED_REJECTED},
                   {"42501", LOGIN_FAILED_REJECTED}, {"3D", LOGIN_FAILED_DATABASE},
                   {"53", LOGIN_FAILED_LIMIT},       {"08", LOGIN_FAILED_PROTOCOL},
                   {"57014", LOGIN_FAILED_TIMEOUT}};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strncmp(sqlstate, classes[i].start, strlen(classes[i].start)) == 0)
            return classes[i].failure;
    return LOGIN_FAILED_OTHER;
}

void auth_failed(struct client *c, const char *sqlstate)
{
    struct worker *w = c->worker;
    const bool named = c->core.login != NULL;
    const char *user = named ? core_login_user_name(&c->core) : "";
    const char *name = named ? core_login_database(&c->core) : "";
    char address[64];
    shared_add(&w->stats.logins_failed[failure_of(sqlstate)], 1);
    const struct config_database *d = config_database_find(w->config, name);
    if (d != NULL && name[0] != '\0')
        shared_add(&w->database_stats[d - w->config->databases].login_failures, 1);
    client_address_text(c, address, sizeof(address));
    log_info("login_failed", "client=%llu address=%s user=\"%s\" database=\"%s\" sqlstate=%s",
             (unsigned long long)c->core.id, address, user, name, sqlstate);
}
