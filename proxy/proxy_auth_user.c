/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_user: secrets of users, and the passwords that go to the servers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto_base64.h"
#include "proxy_auth_internal.h"
#include "proxy_log.h"

static struct proto_span text_span(const char *text)
{
    return (struct proto_span){.base = (const uint8_t *)text, .size = strlen(text)};
}

static bool is_scram(const char *secret)
{
    return proto_scram_is_secret(text_span(secret));
}

/*
 * The salt is the one that a stranger of this name would get: it must not differ between workers,
 * nor change with a reload, as a made-up one does neither.
 */
void auth_scram_make(const struct proxy *p, const char *user, const char *password, char ret[256])
{
    struct proto_scram_secret secret;
    char salt[64], stored[64], server[64];
    proto_scram_secret_mock(&proxy_hashes, text_span(user), p->server_key, &secret);
    const struct proto_scram_secret mock = secret;
    proto_scram_secret_make(&proxy_hashes, text_span(password), mock.salt, mock.salt_size,
                            PROTO_SCRAM_ITERATIONS, &secret);
    proto_base64_encode((struct proto_span){secret.salt, secret.salt_size}, salt);
    proto_base64_encode((struct proto_span){secret.stored_key, 32}, stored);
    proto_base64_encode((struct proto_span){secret.server_key, 32}, server);
    (void)snprintf(ret, 256, "SCRAM-SHA-256$%u:%s$%s:%s", PROTO_SCRAM_ITERATIONS, salt, stored,
                   server);
    explicit_bzero(&secret, sizeof(secret));
}

void auth_prepare(const struct proxy *p, struct config *next, const struct config *former)
{
    for (uint32_t i = 0; i < next->users_count; i++) {
        struct config_user *user = &next->users[i];
        const struct config_user *was =
            former != NULL ? config_user_find(former, user->name) : NULL;
        char text[256];
        struct proto_scram_secret secret;
        if (is_scram(user->secret) && !proto_scram_secret_read(text_span(user->secret), &secret))
            log_warning("secret_unreadable",
                        "user=\"%s\" reason=\"it begins as one of SCRAM and is none: nobody can "
                        "log in with it\"",
                        user->name);
        if (!config_secret_is_clear(user->secret))
            continue;
        if (was != NULL && was->scram != NULL && strcmp(was->secret, user->secret) == 0) {
            user->scram = config_keep(next, was->scram);
            continue;
        }
        auth_scram_make(p, user->name, user->secret, text);
        user->scram = config_keep(next, text);
    }
}

enum core_auth auth_way_of_strangers(const struct auth *a)
{
    const struct worker *w = a->client->worker;
    const struct config *config = w->config;
    if (a->asked) /* as the last one whom auth_query knew; PostgreSQL has SCRAM since version 10 */
        return w->auth_seen_md5 ? CORE_AUTH_MD5 : CORE_AUTH_SCRAM;
    for (uint32_t i = 0; i < config->users_count; i++)
        if (!is_scram(config->users[i].secret))
            return CORE_AUTH_MD5;
    return config->users_count > 0 ? CORE_AUTH_SCRAM : CORE_AUTH_MD5;
}

/* ---- towards the servers ---- */

static void text_set(const char **to, const char *text)
{
    union {
        const char *in;
        char *out;
    } cast = {.in = *to};
    if (cast.out != NULL)
        explicit_bzero(cast.out, strlen(cast.out));
    free(cast.out);
    *to = text != NULL ? strdup(text) : NULL;
}

void auth_group_password(struct worker *w, struct group *g)
{
    const struct config_database *d = &w->config->databases[g->database];
    const struct config_user *known = config_user_find(w->config, g->user);
    if (d->password[0] != '\0')
        text_set(&g->password, d->password);
    else if (d->user[0] == '\0' && known != NULL)
        text_set(&g->password, config_secret_is_clear(known->secret) ? known->secret : NULL);
    else if (d->user[0] != '\0')
        text_set(&g->password, NULL);
}

static void keys_learn(struct group *g, const struct proto_scram *scram)
{
    if (g->scram_keys == NULL)
        g->scram_keys = calloc(1, sizeof(*g->scram_keys));
    if (g->scram_keys == NULL)
        abort();
    proto_base64_encode((struct proto_span){scram->client_key, 32}, g->scram_keys->client);
    proto_base64_encode((struct proto_span){scram->secret.server_key, 32}, g->scram_keys->server);
}

void auth_group_learn(struct group *g, const struct client *c, const char *password)
{
    const struct config *config = c->worker->config;
    if (config->databases[g->database].user[0] != '\0')
        return; /* the section's own user and password */
    if (password != NULL && (g->password == NULL || strcmp(g->password, password) != 0))
        text_set(&g->password, password);
    const struct proto_scram *scram = core_login_scram(&c->core);
    if (scram != NULL && config->switchgear.server_scram_keys)
        keys_learn(g, scram);
}
