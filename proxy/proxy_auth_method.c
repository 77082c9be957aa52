/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_method: auth_type and the lines of auth_hba_file: how a client is to prove who it is,
 * and what its certificate proves.
 */
#include <stdarg.h>
#include <stdio.h>

#include "proxy_auth_internal.h"
#include "proxy_tls.h"

enum { NAME_SIZE_MAX = 1024 };

void auth_refuse(struct auth_refusal *r, const char *sqlstate, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(r->message, sizeof(r->message), format, list);
    va_end(list);
    r->text =
        (struct proto_error_text){.severity = "FATAL", .sqlstate = sqlstate, .message = r->message};
}

bool auth_name_allowed(const struct auth *a, const char *name)
{
    const struct config *config = a->client->worker->config;
    const char *user = core_login_user_name(&a->client->core);
    if (a->line != NULL)
        return config_ident_allows(config, a->line->map, name, user);
    return config_ident_allows(config, "", name, user) ||
           config_ident_allows(config, "cert", name, user);
}

/* ---- certificates ---- */

static bool certificate_right(struct auth *a, enum config_hba_certificate wanted,
                              struct auth_refusal *ret)
{
    char cn[NAME_SIZE_MAX];
    char dn[NAME_SIZE_MAX];
    if (!tls_peer_name(a->client, cn, sizeof(cn), dn, sizeof(dn))) {
        auth_refuse(ret, "28000", "connection requires a valid client certificate");
        return false;
    }
    const bool by_dn = a->line != NULL && a->line->by_dn;
    if (wanted == CONFIG_HBA_VERIFY_CA || auth_name_allowed(a, by_dn ? dn : cn))
        return true;
    auth_refuse(ret, "28000", "certificate authentication failed for user \"%s\"",
                core_login_user_name(&a->client->core));
    return false;
}

/* ---- pg_hba.conf ---- */

static void host_text(const struct client *c, char *buf, size_t buf_size)
{
    if (c->is_unix)
        (void)snprintf(buf, buf_size, "[local]");
    else
        client_address_text(c, buf, buf_size);
}

static enum config_hba_match line_find(struct auth *a)
{
    const struct client *c = a->client;
    struct config_hba_request request = {.is_local = c->is_unix,
                                         .is_tls = tls_is_on(c),
                                         .is_replication = core_login_replication(&c->core) ==
                                                           CORE_REPLICATION_PHYSICAL,
                                         .host = a->host,
                                         .host_name = a->host_name,
                                         .roles = a->roles,
                                         .database = core_login_database(&c->core),
                                         .user = core_login_user_name(&c->core)};
    memcpy(request.address, &c->address, sizeof(request.address));
    return config_hba_match(c->worker->config, &request, &a->line);
}

/* `line`: NULL, or one that rejects. */
static void hba_refuse(const struct client *c, const struct config_hba *line,
                       struct auth_refusal *ret)
{
    const char *user = core_login_user_name(&c->core);
    const char *tls = tls_is_on(c) ? "SSL encryption" : "no encryption";
    const bool physical = core_login_replication(&c->core) == CORE_REPLICATION_PHYSICAL;
    char host[64];
    host_text(c, host, sizeof(host));
    if (physical)
        auth_refuse(ret, "28000", "%s host \"%s\", user \"%s\", %s",
                    line == NULL ? "no pg_hba.conf entry for replication connection from"
                                 : "pg_hba.conf rejects replication connection for",
                    host, user, tls);
    else
        auth_refuse(ret, "28000", "%s host \"%s\", user \"%s\", database \"%s\", %s",
                    line == NULL ? "no pg_hba.conf entry for"
                                 : "pg_hba.conf rejects connection for",
                    host, user, core_login_database(&c->core), tls);
}

static enum auth_verdict hba_method(struct auth *a, struct auth_refusal *ret)
{
    const enum config_hba_match found = line_find(a);
    if (found == CONFIG_HBA_WANTS_HOST)
        return AUTH_WANTS_HOST;
    if (found == CONFIG_HBA_WANTS_ROLES)
        return AUTH_WANTS_ROLES;
    if (found == CONFIG_HBA_NO_LINE || a->line->method == CONFIG_HBA_REJECT) {
        hba_refuse(a->client, a->line, ret);
        return AUTH_REFUSED;
    }
    switch ((enum config_hba_method)a->line->method) {
    case CONFIG_HBA_REJECT:
    case CONFIG_HBA_TRUST:
    case CONFIG_HBA_CERT:
    case CONFIG_HBA_PEER:
        a->way = CORE_AUTH_TRUST;
        break;
    case CONFIG_HBA_MD5:
        a->way = CORE_AUTH_MD5;
        break;
    case CONFIG_HBA_PASSWORD:
        a->way = CORE_AUTH_PASSWORD;
        break;
    case CONFIG_HBA_SCRAM:
        a->way = CORE_AUTH_SCRAM;
        break;
    }
    return a->line->certificate == CONFIG_HBA_NO_CERTIFICATE ||
                   certificate_right(a, (enum config_hba_certificate)a->line->certificate, ret)
               ? AUTH_ASKS
               : AUTH_REFUSED;
}

enum auth_verdict auth_method(struct auth *a, struct auth_refusal *ret)
{
    a->way = CORE_AUTH_TRUST;
    if (a->client->is_admin_socket)
        return AUTH_ASKS; /* the socket's permissions and peer credentials decided */
    switch ((enum config_auth)a->client->worker->config->switchgear.auth_type) {
    case CONFIG_AUTH_TRUST:
        break;
    case CONFIG_AUTH_MD5:
        a->way = CORE_AUTH_MD5;
        break;
    case CONFIG_AUTH_SCRAM:
        a->way = CORE_AUTH_SCRAM;
        break;
    case CONFIG_AUTH_CERT:
        return certificate_right(a, CONFIG_HBA_VERIFY_FULL, ret) ? AUTH_ASKS : AUTH_REFUSED;
    case CONFIG_AUTH_HBA:
        return hba_method(a, ret);
    }
    return AUTH_ASKS;
}
