/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth: who may log in, and how they prove who they are. See the header.
 */
#include "proxy_auth.h"

#include <stdlib.h>

#include "proto_base64.h"
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

void auth_login(struct client *c, uint64_t now_ns)
{
    struct worker *w = c->worker;
    const struct config *config = w->config;
    const char *user_name = core_login_user_name(&c->core);
    const char *database_name = core_login_database(&c->core);
    struct core_login_answer answer = {.auth = CORE_AUTH_REJECT};
    struct proto_error_text error = {.severity = "FATAL"};
    char message[512];
    error.message = message;
    proxy_random(answer.random, sizeof(answer.random));
    memcpy(answer.server_key, w->proxy->server_key, sizeof(answer.server_key));
    const struct config_user *user = config_user_find(config, user_name);
    const struct config_database *database = config_database_find(config, database_name);
    answer.is_admin = c->is_admin_socket || is_admin_database(database_name);

    c->user = user != NULL ? user->name : NULL;
    answer.auth = auth_of(w, user, &answer);
    if (c->is_admin_socket) {
        answer.auth = CORE_AUTH_TRUST; /* the socket's permissions and peer credentials decide */
        if (!is_admin_database(database_name)) {
            error.sqlstate = "3D000";
            error.hint = "The admin socket serves the database switchgear only.";
            (void)snprintf(message, sizeof(message), "database \"%s\" does not exist",
                           database_name);
            answer.error = &error;
        }
    } else if (answer.is_admin && !config_list_has(config->switchgear.admin_users, user_name) &&
               !config_list_has(config->switchgear.stats_users, user_name)) {
        error.sqlstate = "42501";
        error.hint = "Name the user in admin_users or stats_users.";
        (void)snprintf(message, sizeof(message), "user \"%s\" may not use the admin console",
                       user_name);
        answer.error = &error;
    } else if (!answer.is_admin && database == NULL) {
        error.sqlstate = "3D000";
        (void)snprintf(message, sizeof(message), "database \"%s\" does not exist", database_name);
        answer.error = &error;
    } else if (!answer.is_admin && (user != NULL || answer.auth == CORE_AUTH_TRUST)) {
        /* strangers get none: they could make as many as there are names */
        const uint32_t index = (uint32_t)(database - config->databases);
        answer.group = &worker_group(w, index, database_name, user_name)->core;
    }
    if (!c->is_admin_socket &&
        ck_pr_load_64(&w->proxy->client_count) > config->switchgear.max_client_conn) {
        error.sqlstate = "53300";
        error.hint = "Raise max_client_conn.";
        (void)snprintf(message, sizeof(message), "no more connections allowed (max_client_conn)");
        answer.error = &error;
    }
    if (ck_pr_load_64(&w->proxy->shutting_down) != 0) {
        error.sqlstate = "57P01";
        (void)snprintf(message, sizeof(message), "the proxy is shutting down");
        answer.error = &error;
    }
    worker_apply(w, c, core_login_user(&c->core, &answer, now_ns), now_ns);
}
