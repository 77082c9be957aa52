/* SPDX-License-Identifier: PostgreSQL
 *
 * config_check_auth: how clients log in: what is missing for it, and what can never match.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "config_hba.h"
#include "config_internal.h"

static bool is_md5(const char *secret)
{
    return strncmp(secret, "md5", 3) == 0 && strlen(secret) == 35;
}

static bool tls_is_off(const struct config *c)
{
    return c->switchgear.client_tls_sslmode == CONFIG_SSL_DISABLE;
}

static void passwords_check(struct config *c, const struct config_source *source,
                            struct config_problems *p)
{
    const bool md5 = c->switchgear.auth_type == CONFIG_AUTH_MD5;
    uint32_t hashed = 0;
    bool asked = c->switchgear.auth_user[0] != '\0';
    for (uint32_t i = 0; i < c->databases_count; i++)
        asked = asked || c->databases[i].auth_user[0] != '\0';
    if (c->switchgear.auth_file[0] == '\0' && c->users_count == 0 && !asked)
        config_error(p, source,
                     "auth_type = %s, but there are no users: name a file of users in auth_file",
                     md5 ? "md5" : "scram-sha-256");
    for (uint32_t i = 0; i < c->users_count; i++)
        hashed += is_md5(c->users[i].secret) ? 1 : 0;
    if (!md5 && hashed > 0)
        config_warning(p, source,
                       "auth_type = scram-sha-256, but the secrets of %u users are md5 hashes: "
                       "these users cannot log in",
                       hashed);
}

static void hba_check(struct config *c, const struct config_source *at_type,
                      struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_SWITCHGEAR, 0);
    const struct config_source source = config_at_key(c, &place, "auth_hba_file");
    const bool used = c->switchgear.auth_type == CONFIG_AUTH_HBA;
    if (used && c->switchgear.auth_hba_file[0] == '\0')
        config_error(p, at_type, "auth_type = hba: name the file in auth_hba_file");
    if (used && c->hba_file != NULL && c->hba_count == 0 && p->errors == 0)
        config_warning(p, &source, "auth_hba_file has no line: nobody can log in");
    if (!used && c->switchgear.auth_hba_file[0] != '\0')
        config_warning(p, &source, "auth_hba_file is not used: write auth_type = hba");
    for (uint32_t i = 0; i < c->hba_count; i++) {
        const struct config_source line = {
            .file = c->hba_file, .line = c->hba[i].line, .about = ""};
        if (c->hba[i].type == CONFIG_HBA_HOSTSSL && tls_is_off(c))
            config_warning(p, &line,
                           "this line never matches, as client_tls_sslmode = disable: no client "
                           "has TLS");
        else if (c->hba[i].certificate != CONFIG_HBA_NO_CERTIFICATE &&
                 c->switchgear.client_tls_ca_file[0] == '\0')
            config_error(p, &line,
                         "certificates of clients are verified by client_tls_ca_file: name it");
    }
}

static void certificates_check(struct config *c, const struct config_source *source,
                               struct config_problems *p)
{
    if (tls_is_off(c))
        config_error(p, source,
                     "auth_type = cert, but client_tls_sslmode = disable: no client has TLS");
    else if (c->switchgear.client_tls_ca_file[0] == '\0')
        config_error(p, source,
                     "auth_type = cert: certificates of clients are verified by "
                     "client_tls_ca_file: name it");
}

/* ---- towards the servers ---- */

/* Is there, for all nodes, another way in than a password of the user's own? What a node's options
 * name is only looked for, not understood. */
static bool has_other_way(const struct config *c)
{
    static const char *const ways[] = {"passfile", "password", "sslcert"};
    bool all = c->nodes_count > 0;
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        bool found = c->switchgear.server_tls_cert_file[0] != '\0';
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++)
            found = found || strstr(c->nodes[i].options, ways[w]) != NULL;
        all = all && found;
    }
    return all || c->switchgear.server_scram_keys || c->switchgear.server_passwordless;
}

#define WAYS_OUT                                                                         \
    "which opens no server: write the password in clear text, give the database a user " \
    "and a password, or, where the servers let the proxy in without one, set "           \
    "server_passwordless = yes"

/* Whom we know by a hash alone we can let in, but not log in as: better said here than to each of
 * their clients. */
static void hashes_check(struct config *c, const struct config_place *place,
                         struct config_problems *p)
{
    const struct config_source at_file = config_at_key(c, place, "auth_file");
    const struct config_user *first = NULL;
    bool own_names = false; /* clients' names go to the servers */
    if (c->switchgear.auth_type == CONFIG_AUTH_TRUST || has_other_way(c))
        return;
    for (uint32_t i = 0; i < c->databases_count; i++) {
        const struct config_database *d = &c->databases[i];
        const struct config_place own = config_place_of(c, CONFIG_SECTION_DATABASE, i);
        const struct config_source source = d->auth_user[0] != '\0'
                                                ? config_at_key(c, &own, "auth_user")
                                                : config_at_key(c, place, "auth_user");
        if (d->user[0] != '\0')
            continue;
        own_names = true;
        if (d->auth_user[0] != '\0' || c->switchgear.auth_user[0] != '\0')
            config_error(p, &source,
                         "database %s: of users in PostgreSQL there is only a hash, " WAYS_OUT
                         " (also where auth_query gives passwords)",
                         d->name);
    }
    for (uint32_t i = 0; i < c->users_count && own_names; i++) {
        const struct config_user *user = &c->users[i];
        if (user->secret[0] != '\0' && !config_secret_is_clear(user->secret) &&
            !config_user_has_console(c, user->name) && (first == NULL || user->line < first->line))
            first = user;
    }
    if (first != NULL)
        config_error(p, &at_file, "of user %s, line %u, there is only a hash, " WAYS_OUT,
                     first->name, first->line);
}

/* ---- auth_query ---- */

static bool is_name(char ch)
{
    return isalnum((unsigned char)ch) || ch == '_' || ch == '$' || (ch & 0x80) != 0;
}

/* The first function or relation behind FROM that no schema is named for; NULL: none is seen. */
static const char *unqualified_find(struct config_arena *a, const char *query)
{
    for (const char *at = strcasestr(query, "from"); at != NULL; at = strcasestr(at + 4, "from")) {
        if ((at > query && is_name(at[-1])) || !isspace((unsigned char)at[4]))
            continue;
        const char *name = at + 4 + strspn(at + 4, " \t\r\n");
        size_t size = 0;
        while (is_name(name[size]))
            size++;
        if (size == 0 || name[size] == '.' || strncasecmp(name, "pg_", 3) == 0)
            continue;
        return config_arena_copy(a, name, size);
    }
    return NULL;
}

static void query_check(struct config *c, const char *query, const struct config_source *source,
                        struct config_problems *p)
{
    if (strstr(query, "$1") == NULL)
        config_error(p, source, "auth_query does not ask for $1, the name of the user");
    const char *name = strcasestr(query, "with") == NULL ? unqualified_find(c->arena, query) : NULL;
    if (name != NULL)
        config_warning(p, source,
                       "auth_query runs with an empty search_path, so that nobody can put another "
                       "%s in its place: write SCHEMA.%s",
                       name, name);
}

static void queries_check(struct config *c, const struct config_place *place,
                          struct config_problems *p)
{
    const struct config_source source = config_at_key(c, place, "auth_query");
    query_check(c, c->switchgear.auth_query, &source, p);
    const struct config_source dbname = config_at_key(c, place, "auth_dbname");
    if (c->switchgear.auth_dbname[0] != '\0' &&
        config_database_find(c, c->switchgear.auth_dbname) == NULL)
        config_error(p, &dbname, "auth_dbname: there is no database %s: add a section for it",
                     c->switchgear.auth_dbname);
    for (uint32_t i = 0; i < c->databases_count; i++) {
        const struct config_database *d = &c->databases[i];
        const struct config_place own = config_place_of(c, CONFIG_SECTION_DATABASE, i);
        const struct config_source at_query = config_at_key(c, &own, "auth_query");
        const struct config_source at_dbname = config_at_key(c, &own, "auth_dbname");
        if (d->auth_query[0] != '\0')
            query_check(c, d->auth_query, &at_query, p);
        if (d->auth_dbname[0] != '\0' && config_database_find(c, d->auth_dbname) == NULL)
            config_error(p, &at_dbname,
                         "auth_dbname: there is no database %s: add a section for it",
                         d->auth_dbname);
    }
}

void config_check_auth(struct config *c, struct config_problems *p)
{
    const struct config_place place = config_place_of(c, CONFIG_SECTION_SWITCHGEAR, 0);
    const struct config_source source = config_at_key(c, &place, "auth_type");
    const int type = c->switchgear.auth_type;
    if (type == CONFIG_AUTH_SCRAM || type == CONFIG_AUTH_MD5)
        passwords_check(c, &source, p);
    else if (type == CONFIG_AUTH_CERT)
        certificates_check(c, &source, p);
    hba_check(c, &source, p);
    hashes_check(c, &place, p);
    queries_check(c, &place, p);
}
