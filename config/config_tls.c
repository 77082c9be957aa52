/* SPDX-License-Identifier: PostgreSQL
 *
 * config_tls: what client_tls_* and server_tls_* mean together. Certificates and keys are read by
 * the shell.
 */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- versions ---- */

bool config_tls_versions_parse(const char *text, struct config_tls_versions *ret)
{
    static const struct {
        const char *word;
        bool v12, v13;
    } words[] = {{"secure", true, true},
                 {"all", true, true},
                 {"default", true, true},
                 {"tlsv1.2", true, false},
                 {"tlsv1.3", false, true}};
    struct config_tls_versions found = {false, false};
    for (const char *at = text; *at != '\0';) {
        const size_t size = strcspn(at, ",: ");
        bool known = size == 0;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !known; i++) {
            if (strlen(words[i].word) != size || strncmp(words[i].word, at, size) != 0)
                continue;
            known = true;
            found.v12 = found.v12 || words[i].v12;
            found.v13 = found.v13 || words[i].v13;
        }
        if (!known)
            return false;
        at += at[size] == '\0' ? size : size + 1;
    }
    if (!found.v12 && !found.v13)
        return false;
    *ret = found;
    return true;
}

static void protocols_check(struct config *c, const char *key, const char *text,
                            struct config_problems *p)
{
    struct config_tls_versions versions;
    char message[256];
    if (config_tls_versions_parse(text, &versions))
        return;
    (void)snprintf(message, sizeof(message),
                   "%s: %.80s: write secure, all, or a list of tlsv1.2 and tlsv1.3; older versions "
                   "are not spoken",
                   key, text);
    config_setting_problem(c, key, false, message, p);
}

/* ---- towards clients ---- */

static const char *mode_text(int mode)
{
    static const char *const texts[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};
    return texts[mode];
}

static void client_needs(struct config *c, const char *key, const char *value,
                         struct config_problems *p)
{
    char message[160];
    if (value[0] != '\0')
        return;
    (void)snprintf(message, sizeof(message), "client_tls_sslmode = %s needs %s: name a file",
                   mode_text(c->switchgear.client_tls_sslmode), key);
    config_setting_problem(c, "client_tls_sslmode", false, message, p);
}

static void client_check(struct config *c, struct config_problems *p)
{
    const struct config_switchgear *s = &c->switchgear;
    protocols_check(c, "client_tls_protocols", s->client_tls_protocols, p);
    if (s->client_tls_crl_file[0] != '\0' && s->client_tls_ca_file[0] == '\0')
        config_setting_problem(c, "client_tls_crl_file", false,
                               "client_tls_crl_file says which certificates of client_tls_ca_file "
                               "are revoked: name that file too",
                               p);
    if (s->client_tls_sslmode == CONFIG_SSL_DISABLE)
        return;
    client_needs(c, "client_tls_cert_file", s->client_tls_cert_file, p);
    client_needs(c, "client_tls_key_file", s->client_tls_key_file, p);
    if (s->client_tls_sslmode >= CONFIG_SSL_VERIFY_CA)
        client_needs(c, "client_tls_ca_file", s->client_tls_ca_file, p);
}

/* ---- towards servers ---- */

static bool nodes_name_authorities(const struct config *c)
{
    for (uint32_t i = 0; i < c->nodes_count; i++)
        if (strstr(c->nodes[i].options, "sslrootcert") == NULL)
            return false;
    return true;
}

static void server_check(struct config *c, struct config_problems *p)
{
    const struct config_switchgear *s = &c->switchgear;
    char message[160];
    protocols_check(c, "server_tls_protocols", s->server_tls_protocols, p);
    if (strcmp(s->server_tls_ciphers, "default") != 0)
        config_setting_problem(c, "server_tls_ciphers", false,
                               "server_tls_ciphers: libpq has no setting for it: leave it at "
                               "default, and restrict ssl_ciphers of the servers",
                               p);
    if ((s->server_tls_cert_file[0] == '\0') != (s->server_tls_key_file[0] == '\0'))
        config_setting_problem(
            c, s->server_tls_cert_file[0] == '\0' ? "server_tls_key_file" : "server_tls_cert_file",
            false, "server_tls_cert_file and server_tls_key_file go together: name both", p);
    if (s->server_tls_sslmode < CONFIG_SSL_VERIFY_CA || s->server_tls_ca_file[0] != '\0' ||
        nodes_name_authorities(c))
        return;
    (void)snprintf(message, sizeof(message),
                   "server_tls_sslmode = %s needs server_tls_ca_file: name a file",
                   mode_text(s->server_tls_sslmode));
    config_setting_problem(c, "server_tls_sslmode", false, message, p);
}

void config_tls_check(struct config *c, struct config_problems *p)
{
    client_check(c, p);
    server_check(c, p);
}

/* ---- files ---- */

/* A relative name is beside the configuration file, as auth_file's. */
static void resolve(struct config *c, const char **name)
{
    const char *main_file = c->arena->main_file;
    const char *slash = main_file != NULL ? strrchr(main_file, '/') : NULL;
    if ((*name)[0] != '\0' && (*name)[0] != '/' && slash != NULL)
        *name =
            config_arena_print(c->arena, "%.*s%s", (int)(slash - main_file + 1), main_file, *name);
}

void config_tls_finish(struct config *c)
{
    struct config_switchgear *s = &c->switchgear;
    resolve(c, &s->client_tls_cert_file);
    resolve(c, &s->client_tls_key_file);
    resolve(c, &s->client_tls_ca_file);
    resolve(c, &s->client_tls_crl_file);
    resolve(c, &s->server_tls_cert_file);
    resolve(c, &s->server_tls_key_file);
    resolve(c, &s->server_tls_ca_file);
}
