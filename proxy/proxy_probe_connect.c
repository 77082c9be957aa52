/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_connect: what libpq is told of a node: server_tls_* first, then the node's options,
 * which win over them, then what we know, which wins over all.
 */
#include "proxy_probe_link.h"

#include <stdio.h>
#include <string.h>

#include "proxy_libpq.h"
#include "proxy_tls.h"

/* The keywords of one attempt. The texts that they point to live as long as this struct. */
struct keywords {
    struct libpq_keywords all;
    PQconninfoOption *options;
    char hosts[1024], ports[128], settings[512];
};

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

    tls_server_keywords(config, &k->all);
    libpq_keywords_add(&k->all, k->options);
    const char *settings = libpq_keyword_find(&k->all, "options");
    const char *user = libpq_keyword_find(&k->all, "user");
    /* Roles may have defaults that a standby refuses, or that would end a slow probe. */
    snprintf(k->settings, sizeof(k->settings),
             "%s -c default_transaction_isolation=read\\ committed -c statement_timeout=0",
             settings != NULL ? settings : "");
    snprintf(port, sizeof(port), "%llu", (unsigned long long)node->port);
    repeat(k->hosts, sizeof(k->hosts), node->host, addresses);
    repeat(k->ports, sizeof(k->ports), port, addresses);
    if (user == NULL || user[0] == '\0') {
        libpq_keyword_add(&k->all, "user", probe->user);
        libpq_keyword_add(&k->all, "password", probe->password);
    }
    libpq_keyword_add(&k->all, "dbname", probe->dbname);
    libpq_keyword_add(&k->all, "host", k->hosts);
    libpq_keyword_add(&k->all, "hostaddr", addresses);
    libpq_keyword_add(&k->all, "port", k->ports);
    libpq_keyword_add(&k->all, "options", k->settings);
    libpq_keyword_add(&k->all, "gssencmode", "disable");
    libpq_keyword_add(&k->all, "application_name", "switchgear-probe");
}

PGconn *link_start(const struct config *config, const struct config_node *node,
                   const char *addresses, char *error, size_t error_size)
{
    struct keywords k = {.all = {.count = 0}};
    char *complaint = NULL;

    k.options = node->options[0] != '\0' ? PQconninfoParse(node->options, &complaint) : NULL;
    if (complaint != NULL) {
        snprintf(error, error_size, "%s", complaint);
        PQfreemem(complaint);
        return NULL;
    }
    fill(&k, config, node, addresses);
    PGconn *conn = PQconnectStartParams(k.all.names, k.all.values, 0);
    PQconninfoFree(k.options);
    if (conn == NULL)
        snprintf(error, error_size, "no memory");
    return conn;
}
