/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_show_pools: SHOW POOLS, DATABASES, LISTS, USERS, MEM and the connections.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "proxy_admin_internal.h"
#include "proxy_tls_bytes.h"
#include "proxy_worker.h"

void admin_show_pools(const struct admin_show_context *x, struct table *t)
{
    for (const struct shared_pool *p = shared_pools_first(x->proxy); p != NULL;
         p = shared_pools_next(p)) {
        if (p->node >= x->config->nodes_count || p->database >= x->config->databases_count)
            continue;
        const struct config_database *d = &x->config->databases[p->database];
        struct sum_pool sum;
        sum_pool(x->proxy, p, x->now_ns, &sum);
        table_string(t, p->client_database);
        table_string(t, p->user);
        table_number(t, sum.clients_active);
        table_number(t, sum.waiting);
        table_number(t, 0); /* cancel requests are not kept waiting */
        table_number(t, 0);
        table_number(t, sum.active - (sum.canceling < sum.active ? sum.canceling : sum.active));
        table_number(t, 0);
        table_number(t, sum.canceling);
        table_number(t, sum.idle);
        table_number(t, 0); /* PgBouncer's `used`: idle for long, to be tested; we test none */
        table_number(t, sum.tested);
        table_number(t, sum.opening);
        table_number(t, sum.maxwait_ns / 1000000000);
        table_number(t, sum.maxwait_ns / 1000 % 1000000);
        table_string(t, admin_pool_mode_text(d->pool_mode));
        table_string(t, x->config->nodes[p->node].name);
        table_string(t, x->config->nodes[p->node].shard);
        table_number(t, sum.connections);
        table_number(t, d->pool_size);
        table_row_end(t);
    }
}

/* The primary of a shard, else its first node. */
static const struct config_node *node_of_shard(const struct admin_show_context *x, uint32_t shard)
{
    const struct config_node *first = NULL;
    for (uint32_t i = 0; i < x->s->nodes_count; i++) {
        const struct config_node *n = &x->config->nodes[i];
        if (n->shard_index != shard)
            continue;
        if (x->s->nodes[i].role == ROUTER_ROLE_PRIMARY)
            return n;
        first = first != NULL ? first : n;
    }
    return first;
}

static const char *reads_text(uint8_t reads)
{
    return reads == ROUTER_READS_PRIMARY    ? "primary"
           : reads == ROUTER_READS_REPLICAS ? "replicas"
                                            : "auto";
}

static void show_database(const struct admin_show_context *x, uint32_t index, struct table *t)
{
    const struct config_database *d = &x->config->databases[index];
    const struct config_node *node = node_of_shard(x, d->shard_first);
    struct sum_pool sum;
    sum_pools(x->proxy, UINT32_MAX, index, x->now_ns, &sum);
    table_string(t, d->name);
    table_string(t, node != NULL ? node->host : NULL);
    table_number(t, node != NULL ? node->port : 0);
    table_string(t, *d->dbname != 0 ? d->dbname : d->name);
    table_string(t, d->user);
    table_number(t, d->pool_size);
    table_number(t, d->min_pool_size);
    table_number(t, d->reserve_pool_size);
    table_string(t, admin_pool_mode_text(d->pool_mode));
    table_number(t, d->max_db_connections);
    table_number(t, sum.connections);
    table_number(t, shared_load(&x->proxy->paused[index]) != 0);
    table_number(t, shared_load(&x->proxy->disabled[index]) != 0);
    table_string(t, d->shards);
    table_string(t, router_level_text((enum router_level)d->consistency));
    table_number(t, d->max_lag_ns / 1000000);
    table_string(t, reads_text(ck_pr_load_8(&x->proxy->reads[index])));
    table_string(t, d->read_fallback == CONFIG_FALLBACK_PRIMARY ? "primary" : "fail");
    table_row_end(t);
}

void admin_show_databases(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->config->databases_count; i++)
        show_database(x, i, t);
}

static void show_item(struct table *t, const char *list, uint64_t items)
{
    table_string(t, list);
    table_number(t, items);
    table_row_end(t);
}

void admin_show_lists(const struct admin_show_context *x, struct table *t)
{
    struct stats_worker workers;
    struct sum_pool pools;
    sum_workers(x->proxy, &workers);
    sum_pools(x->proxy, UINT32_MAX, UINT32_MAX, x->now_ns, &pools);
    uint64_t pools_count = 0;
    for (const struct shared_pool *p = shared_pools_first(x->proxy); p != NULL;
         p = shared_pools_next(p))
        pools_count++;
    const uint64_t used = pools.active + pools.opening + pools.tested;
    show_item(t, "databases", x->config->databases_count);
    show_item(t, "users", x->config->users_count);
    show_item(t, "pools", pools_count);
    show_item(t, "free_clients", 0);
    show_item(t, "used_clients", workers.clients + x->admin->clients_count);
    show_item(t, "login_clients", workers.logging_in);
    show_item(t, "free_servers", pools.idle);
    show_item(t, "used_servers", used);
    show_item(t, "dns_names", 0);
    show_item(t, "dns_zones", 0);
    show_item(t, "dns_queries", 0);
    show_item(t, "dns_pending", 0);
    show_item(t, "nodes", x->s->nodes_count);
    show_item(t, "shards", x->config->shards_count);
    show_item(t, "workers", x->proxy->workers_count);
    show_item(t, "pinned_clients", workers.pinned);
    show_item(t, "admin_clients", x->admin->clients_count);
}

void admin_show_workers(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->proxy->workers_count; i++) {
        const struct stats_worker *stats = worker_stats(x->proxy, i);
        table_number(t, i + 1);
        table_number(t, shared_load(&stats->clients));
        table_number(t, shared_load(&stats->servers));
        table_number(t, shared_load(&stats->waiting));
        table_number(t, shared_load(&stats->loop_turns));
        table_number(t, shared_load(&stats->turn_max_ns) / 1000);
        table_number(t, shared_load(&stats->turn_recent_ns) / 1000);
        table_row_end(t);
    }
}

void admin_show_users(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->config->users_count; i++) {
        table_string(t, x->config->users[i].name);
        table_string(t, "");
        table_row_end(t);
    }
}

static void show_cache(struct table *t, const char *name, uint64_t size, uint64_t used)
{
    table_string(t, name);
    table_number(t, size);
    table_number(t, used);
    table_number(t, 0);
    table_number(t, size * used);
    table_row_end(t);
}

/* What malloc has given out and not got back, in all arenas. A sanitizer's malloc does not say. */
static uint64_t allocated_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

void admin_show_mem(const struct admin_show_context *x, struct table *t)
{
    struct stats_worker workers;
    sum_workers(x->proxy, &workers);
    uint64_t pools_count = 0;
    for (const struct shared_pool *p = shared_pools_first(x->proxy); p != NULL;
         p = shared_pools_next(p))
        pools_count++;
    size_t resident = 0;
    uv_resident_set_memory(&resident);
    show_cache(t, "client_cache", sizeof(struct client), shared_load(&x->proxy->client_count));
    show_cache(t, "server_cache", sizeof(struct server), workers.servers);
    show_cache(t, "pool_cache", sizeof(struct shared_pool), pools_count);
    show_cache(t, "block_cache", CORE_BLOCK_SIZE, workers.memory_blocks);
    show_cache(t, "admin_cache", sizeof(struct admin_client), x->admin->clients_count);
    show_cache(t, "allocated", allocated_bytes(), 1);
    show_cache(t, "resident", resident, 1);
}

/* ---- connections ---- */

static void table_time(struct table *t, uint64_t seconds)
{
    char buf[40] = "";
    const time_t at = (time_t)seconds;
    struct tm tm;
    if (seconds != 0 && gmtime_r(&at, &tm) != NULL)
        strftime(buf, sizeof buf, "%Y-%m-%d %H:%M:%S UTC", &tm);
    table_string(t, buf);
}

static void table_id(struct table *t, uint64_t id)
{
    if (id == 0)
        table_string(t, "");
    else
        table_format(t, "0x%" PRIx64, id);
}

/* The 18 columns that clients and servers share. */
static void show_socket(const struct snapshot_row *r, struct table *t)
{
    table_string(t, r->is_client ? "C" : "S");
    table_string(t, r->user);
    table_string(t, r->database);
    table_string(t, r->state);
    table_string(t, r->address);
    table_number(t, r->port);
    table_string(t, r->local_address);
    table_number(t, r->local_port);
    table_time(t, r->connect_time_s);
    table_time(t, r->request_time_s);
    table_number(t, r->wait_us / 1000000);
    table_number(t, r->wait_us % 1000000);
    table_number(t, r->close_needed);
    table_id(t, r->id);
    table_id(t, r->link);
    table_number(t, r->remote_pid);
    table_string(t, r->tls);
    table_string(t, r->application);
}

/* The console's own clients are clients too. */
static void admin_row(const struct admin_client *c, struct snapshot_row *ret)
{
    *ret = (struct snapshot_row){.is_client = true,
                                 .state = "active",
                                 .port = c->port,
                                 .id = c->id,
                                 .connect_time_s = c->connected_s,
                                 .last_write_ms_ago = -1};
    snprintf(ret->user, sizeof ret->user, "%s", c->user);
    snprintf(ret->database, sizeof ret->database, "%s", c->database);
    snprintf(ret->application, sizeof ret->application, "%s", c->application);
    snprintf(ret->address, sizeof ret->address, "%s", c->address);
    tls_bytes_describe(c->ssl, ret->tls, sizeof ret->tls);
}

static void show_client(const struct snapshot_row *r, struct table *t)
{
    show_socket(r, t);
    table_string(t, r->node);
    table_string(t, r->pin);
    table_number(t, r->statements);
    table_number(t, r->prepared);
    if (r->last_write_ms_ago < 0)
        table_string(t, NULL);
    else
        table_number(t, (uint64_t)r->last_write_ms_ago);
    table_row_end(t);
}

void admin_show_clients(const struct admin_show_context *x, struct table *t)
{
    const struct admin_client *c;
    LIST_FOREACH(c, &x->admin->clients, link)
    {
        struct snapshot_row row;
        admin_row(c, &row);
        show_client(&row, t);
    }
    for (uint32_t i = 0; i < x->rows_count; i++) {
        if (x->rows[i].is_client)
            show_client(&x->rows[i], t);
    }
}

void admin_show_servers(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->rows_count; i++) {
        const struct snapshot_row *r = &x->rows[i];
        if (r->is_client)
            continue;
        show_socket(r, t);
        table_string(t, r->node);
        table_string(t, r->is_replica ? "replica" : "primary");
        table_number(t, r->prepared);
        table_row_end(t);
    }
}

static void show_sockets(const struct admin_show_context *x, bool idle_too, struct table *t)
{
    for (uint32_t i = 0; i < x->rows_count; i++) {
        if (!idle_too && strcmp(x->rows[i].state, "idle") == 0)
            continue;
        show_socket(&x->rows[i], t);
        for (int column = 0; column < 7; column++)
            table_number(t, 0); /* buffer positions: an idle connection has no buffer here */
        table_row_end(t);
    }
}

void admin_show_sockets(const struct admin_show_context *x, struct table *t)
{
    show_sockets(x, true, t);
}

void admin_show_active_sockets(const struct admin_show_context *x, struct table *t)
{
    show_sockets(x, false, t);
}
