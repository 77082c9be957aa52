/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_connect: what libpq is told of a node: server_tls_* first, then the node's options,
 * which win over them, then what we know, which wins over all.
 */
#include "proxy_probe_link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proxy_tls.h"

enum { KEYWORDS_MAX = 64 };

/* The keywords of one attempt. The texts that they point to live as long as this struct. */
struct keywords {
    const char *names[KEYWORDS_MAX + 1];
    const char *values[KEYWORDS_MAX + 1];
    int count;
    PQconninfoOption *options;
    char hosts[1024], ports[128], settings[512];
};

static void keyword(struct keywords *k, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    assert(k->count < KEYWORDS_MAX);
    k->names[k->count] = name;
    k->values[k->count] = value;
    k->count++;
    k->names[k->count] = k->values[k->count] = NULL;
}

static const char *keyword_find(const struct keywords *k, const char *name)
{
    for (int i = 0; i < k->count; i++) {
        if (strcmp(k->names[i], name) == 0)
            return k->values[i];
    }
    return "";
}

/* libpq wants one host and one port for each address. */
static void repeat(char *to, size_t to_size, const char *text, const char *addresses)
{
    size_t size = 0;
    for (const char *p = addresses; p != NULL;) {
        size += (size_t)snprintf(to + size, to_size - size, "%s%s", size > 0 ? "," : "", text);
        if (size >= to_size)
            return;
        const char *comma = strchr(p, ',');
        p = comma != NULL ? comma + 1 : NULL;
    }
}

static void fill(struct keywords *k, const struct config *config, const struct config_node *node,
                 const char *addresses)
{
    const struct config_probe *probe = &config->probe;
    char port[16];

    k->count = (int)tls_server_keywords(config, k->names, k->values);
    k->names[k->count] = k->values[k->count] = NULL;
    for (PQconninfoOption *o = k->options; o != NULL && o->keyword != NULL; o++) {
        if (k->count < KEYWORDS_MAX / 2 + TLS_KEYWORDS_MAX)
            keyword(k, o->keyword, o->val);
    }
    /* Roles may have defaults that a standby refuses, or that would end a slow probe. */
    snprintf(k->settings, sizeof(k->settings),
             "%s -c default_transaction_isolation=read\\ committed -c statement_timeout=0",
             keyword_find(k, "options"));
    snprintf(port, sizeof(port), "%llu", (unsigned long long)node->port);
    repeat(k->hosts, sizeof(k->hosts), node->host, addresses);
    repeat(k->ports, sizeof(k->ports), port, addresses);
    if (keyword_find(k, "user")[0] == '\0') {
        keyword(k, "user", probe->user);
        keyword(k, "password", probe->password);
    }
    keyword(k, "dbname", probe->dbname);
    keyword(k, "host", k->hosts);
    keyword(k, "hostaddr", addresses);
    keyword(k, "port", k->ports);
    keyword(k, "options", k->settings);
    keyword(k, "gssencmode", "disable");
    keyword(k, "application_name", "switchgear-probe");
}

PGconn *link_start(const struct config *config, const struct config_node *node,
                   const char *addresses, char *error, size_t error_size)
{
    struct keywords k = {.count = 0};
    char *complaint = NULL;

    k.options = node->options[0] != '\0' ? PQconninfoParse(node->options, &complaint) : NULL;
    if (complaint != NULL) {
        snprintf(error, error_size, "%s", complaint);
        PQfreemem(complaint);
        return NULL;
    }
    fill(&k, config, node, addresses);
    PGconn *conn = PQconnectStartParams(k.names, k.values, 0);
    PQconninfoFree(k.options);
    if (conn == NULL)
        snprintf(error, error_size, "no memory");
    return conn;
}
