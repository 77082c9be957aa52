/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_snapshot: a worker describes its clients and servers for SHOW CLIENTS and SHOW SERVERS.
 */
#include <stdlib.h>
#include <time.h>

#include "proxy_pool_internal.h"
#include "proxy_tls_bytes.h"

/* Unix time of a moment of the monotonic clock. */
static uint64_t unix_seconds(uint64_t moment_ns, uint64_t now_ns)
{
    return (uint64_t)time(NULL) - (now_ns - moment_ns) / 1000000000u;
}

static const char *client_state(const struct client *c)
{
    if (c->logging_in)
        return "login";
    if (c->core.waiting)
        return "waiting";
    return c->core.backend != NULL || c->core.block != CORE_NO_BLOCK ? "active" : "idle";
}

static void describe_client(const struct client *c, struct snapshot_row *row, uint64_t now_ns)
{
    const struct group *g = (const struct group *)c->core.group;
    const struct server *v = c->core.backend != NULL ? c->core.backend->shell : NULL;
    row->is_client = true;
    if (g != NULL) {
        (void)snprintf(row->user, sizeof(row->user), "%.63s", c->user != NULL ? c->user : g->user);
        (void)snprintf(row->database, sizeof(row->database), "%.63s", g->client_database);
    }
    client_address_text(c, row->address, sizeof(row->address));
    row->port = c->port;
    (void)snprintf(row->state, sizeof(row->state), "%s", client_state(c));
    if (v != NULL) {
        (void)snprintf(row->node, sizeof(row->node), "%s",
                       c->worker->proxy->node_names[v->pool->node]);
        row->link = v->id;
    }
    if (c->core.pin != ROUTER_REASON_NONE)
        (void)snprintf(row->pin, sizeof(row->pin), "%s",
                       router_reason_text((enum router_reason)c->core.pin));
    tls_bytes_describe(c->ssl, row->tls, sizeof(row->tls));
    row->id = c->core.id;
    row->connect_time_s = unix_seconds(c->accepted_ns, now_ns);
    row->request_time_s = c->core.sent_ns != 0 ? unix_seconds(c->core.sent_ns, now_ns) : 0;
    row->wait_us = c->core.waiting ? (now_ns - c->core.waiting_since_ns) / 1000 : 0;
    row->remote_pid = c->core.cancel_pid;
    row->statements = c->core.statements;
    row->last_write_ms_ago = -1;
    if (c->core.last_write_ns == ROUTER_NEVER_NS)
        row->last_write_ms_ago = 0;
    else if (c->core.last_write_ns != 0)
        row->last_write_ms_ago = (int64_t)((now_ns - c->core.last_write_ns) / 1000000);
}

static void describe_server(const struct server *v, struct snapshot_row *row, uint64_t now_ns)
{
    static const char *const states[] = {"login",  "login",  "tested",         "idle",
                                         "active", "tested", "being_canceled", "closing"};
    const struct group *g = v->pool->group;
    const struct config_node *node = &v->worker->config->nodes[v->pool->node];
    row->is_replica = v->core.is_replica;
    row->close_needed = pool_is_stale(v);
    (void)snprintf(row->user, sizeof(row->user), "%.63s", g->server_user);
    (void)snprintf(row->database, sizeof(row->database), "%.63s", g->client_database);
    (void)snprintf(row->address, sizeof(row->address), "%s", node->host);
    row->port = (uint16_t)node->port;
    (void)snprintf(row->state, sizeof(row->state), "%s", states[v->state]);
    (void)snprintf(row->node, sizeof(row->node), "%s", v->worker->proxy->node_names[v->pool->node]);
    row->id = v->id;
    if (v->core.session != NULL)
        row->link = v->core.session->id;
    row->connect_time_s = unix_seconds(v->started_ns, now_ns);
    row->request_time_s = unix_seconds(v->since_ns, now_ns);
    row->remote_pid = v->conn != NULL ? (uint32_t)PQbackendPID(v->conn) : 0;
    tls_bytes_describe(v->ssl, row->tls, sizeof(row->tls));
}

static struct snapshot_row *next_row(struct mail_snapshot *mail, uint32_t *capacity)
{
    if (mail->rows_count == *capacity) {
        const uint32_t larger = *capacity == 0 ? 64 : *capacity * 2;
        struct snapshot_row *rows = realloc(mail->rows, larger * sizeof(*rows));
        if (rows == NULL)
            return NULL;
        mail->rows = rows;
        *capacity = larger;
    }
    struct snapshot_row *row = &mail->rows[mail->rows_count++];
    memset(row, 0, sizeof(*row));
    return row;
}

static void add_servers(struct worker *w, struct mail_snapshot *mail, uint32_t *capacity,
                        uint64_t now_ns)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < CONFIG_NODES_MAX; n++) {
            if (g->pools[n].shared == NULL)
                continue;
            struct server_list *lists[] = {&g->pools[n].idle, &g->pools[n].others};
            for (int i = 0; i < 2; i++) {
                struct server *v;
                TAILQ_FOREACH (v, lists[i], link) {
                    struct snapshot_row *row = next_row(mail, capacity);
                    if (row == NULL)
                        return;
                    describe_server(v, row, now_ns);
                }
            }
        }
}

void worker_snapshot(struct worker *w, struct mail_snapshot *mail)
{
    uint32_t capacity = 0;
    const uint64_t now_ns = uv_hrtime();
    mail->rows = NULL;
    mail->rows_count = 0;
    mail->worker = w->index;
    struct client_list *lists[] = {&w->clients, &w->logins};
    for (int i = 0; mail->want_clients && i < 2; i++) {
        struct client *c;
        TAILQ_FOREACH (c, lists[i], link) {
            struct snapshot_row *row = next_row(mail, &capacity);
            if (row == NULL)
                break;
            describe_client(c, row, now_ns);
        }
    }
    if (mail->want_servers)
        add_servers(w, mail, &capacity, now_ns);
    mail->mail.kind = MAIL_SNAPSHOT_DONE;
    if (!mailbox_post(w->proxy->supervisor_mail, &mail->mail)) {
        free(mail->rows);
        free(mail);
    }
}
