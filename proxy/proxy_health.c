/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_health: /health, /health/detailed and /ready.
 *
 * cJSON frees what it made when it runs out of memory, and printing NULL gives NULL.
 */
#include "proxy_health.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#include "proxy_sum.h"

static const char *const health_names[] = {"healthy", "degraded", "unhealthy"};

static bool is_reachable(const struct node_state *n)
{
    return breaker_effective(&n->breaker) != BREAKER_OPEN;
}

static bool is_admitted(const struct node_state *n)
{
    return n->role != ROUTER_ROLE_UNKNOWN && !n->drained &&
           breaker_effective(&n->breaker) == BREAKER_CLOSED && n->gate.reason == BREAKER_GATE_OPEN;
}

/* A bit for each shard that has a primary which can be reached. */
static uint32_t primaries(const struct supervisor *s)
{
    uint32_t shards = 0;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (s->nodes[i].role == ROUTER_ROLE_PRIMARY && is_reachable(&s->nodes[i]))
            shards |= UINT32_C(1) << s->proxy->config->nodes[i].shard_index;
    return shards;
}

enum health health_of(const struct supervisor *s)
{
    const struct config *c = s->proxy->config;
    bool all_admitted = true;
    const uint32_t with_primary = primaries(s);
    for (uint32_t i = 0; i < s->nodes_count; i++)
        all_admitted = all_admitted && is_admitted(&s->nodes[i]);
    for (uint32_t i = 0; i < c->shards_count; i++) {
        if ((with_primary & UINT32_C(1) << i) == 0)
            return HEALTH_UNHEALTHY;
    }
    return all_admitted ? HEALTH_HEALTHY : HEALTH_DEGRADED;
}

static double seconds_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? (double)(now_ns - then_ns) / 1e9 : 0;
}

static void add_seconds(cJSON *to, const char *name, bool known, double seconds)
{
    if (known)
        cJSON_AddNumberToObject(to, name, (double)(int64_t)(seconds * 1000) / 1000);
    else
        cJSON_AddNullToObject(to, name);
}

static cJSON *head(const struct supervisor *s)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "status", health_names[health_of(s)]);
    cJSON_AddStringToObject(root, "version", SWITCHGEAR_VERSION);
    cJSON_AddBoolToObject(root, "stopping", s->stopping);
    return root;
}

static char *print(cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

/* Why a node serves nothing, or not all; "" where it does. */
static void why_not(const struct node_state *n, char *buf, size_t buf_size)
{
    const enum breaker_state state = breaker_effective(&n->breaker);
    buf[0] = '\0';
    if (state != BREAKER_CLOSED)
        (void)snprintf(buf, buf_size, "breaker %s: %s%s%s", breaker_state_text(state),
                       breaker_reason_text(breaker_effective_reason(&n->breaker)),
                       n->last_error[0] != '\0' ? "; last error: " : "", n->last_error);
    else if (n->role == ROUTER_ROLE_UNKNOWN)
        (void)snprintf(buf, buf_size, "role unknown%s%s",
                       n->last_error[0] != '\0' ? "; last error: " : "", n->last_error);
    else if (n->drained)
        (void)snprintf(buf, buf_size, "drained");
    else if (n->gate.reason != BREAKER_GATE_OPEN)
        (void)snprintf(buf, buf_size, "gate shut: %s",
                       breaker_gate_text((enum breaker_gate_reason)n->gate.reason));
}

static void add_reason(cJSON *reasons, const char *kind, const char *name, const char *why)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "%s %s: %s", kind, name, why);
    cJSON_AddItemToArray(reasons, cJSON_CreateString(text));
}

/* What keeps the status from `healthy`: a line for each shard without a primary and each node that
 * is not admitted. */
static void add_reasons(cJSON *root, const struct supervisor *s)
{
    const struct config *c = s->proxy->config;
    cJSON *reasons = cJSON_AddArrayToObject(root, "reasons");
    uint32_t with_primary = primaries(s);
    for (uint32_t i = 0; i < c->shards_count; i++)
        if ((with_primary & UINT32_C(1) << i) == 0)
            add_reason(reasons, "shard", c->shards[i], "no primary can be reached");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        char why[400];
        why_not(&s->nodes[i], why, sizeof(why));
        if (why[0] != '\0')
            add_reason(reasons, "node", c->nodes[i].name, why);
    }
}

char *health_json(const struct supervisor *s)
{
    cJSON *root = head(s);
    add_reasons(root, s);
    return print(root);
}

char *health_ready_json(bool ready)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddBoolToObject(root, "ready", ready);
    return print(root);
}

static void add_node(cJSON *nodes, const struct supervisor *s, uint32_t index, uint64_t now_ns)
{
    static const char *const roles[] = {"unknown", "primary", "replica"};
    const struct node_state *n = &s->nodes[index];
    const struct config_node *config = &s->proxy->config->nodes[index];
    const uint64_t lag_ns = probes_lag_ns(n, now_ns);
    const bool is_replica = n->role == ROUTER_ROLE_REPLICA;
    struct sum_pool sum;
    sum_pools(s->proxy, index, UINT32_MAX, now_ns, &sum);
    cJSON *node = cJSON_CreateObject();
    cJSON_AddStringToObject(node, "name", config->name);
    cJSON_AddStringToObject(node, "shard", config->shard);
    cJSON_AddStringToObject(node, "host", config->host);
    cJSON_AddNumberToObject(node, "port", (double)config->port);
    cJSON_AddStringToObject(node, "role", roles[n->role]);
    cJSON_AddBoolToObject(node, "admitted", is_admitted(n));
    cJSON_AddBoolToObject(node, "drained", n->drained);
    cJSON_AddStringToObject(node, "breaker", breaker_state_text(breaker_effective(&n->breaker)));
    cJSON_AddStringToObject(node, "breaker_reason",
                            breaker_reason_text(breaker_effective_reason(&n->breaker)));
    cJSON_AddNumberToObject(node, "breaker_generation", n->breaker.generation);
    cJSON_AddNumberToObject(node, "breaker_transitions", (double)n->breaker.transitions);
    cJSON_AddStringToObject(node, "gate",
                            n->gate.reason == BREAKER_GATE_OPEN
                                ? "open"
                                : breaker_gate_text((enum breaker_gate_reason)n->gate.reason));
    add_seconds(node, "lag_seconds", is_replica && lag_ns != UINT64_MAX, (double)lag_ns / 1e9);
    add_seconds(node, "probed_seconds_ago", n->probed_ns != 0, seconds_since(n->probed_ns, now_ns));
    cJSON_AddNumberToObject(node, "lag_bytes", is_replica ? (double)n->lag_bytes : 0);
    cJSON_AddNumberToObject(node, "timeline", n->timeline);
    cJSON_AddNumberToObject(node, "weight", (double)config->weight);
    cJSON_AddNumberToObject(node, "connections", (double)sum.connections);
    cJSON_AddNumberToObject(node, "active", (double)sum.active);
    cJSON_AddStringToObject(node, "last_error", n->last_error);
    cJSON_AddItemToArray(nodes, node);
}

static void add_pool(cJSON *pools, const struct supervisor *s, const struct shared_pool *p,
                     uint64_t now_ns)
{
    const struct config *c = s->proxy->config;
    struct sum_pool sum;
    if (p->node >= c->nodes_count || p->database >= c->databases_count)
        return;
    sum_pool(s->proxy, p, now_ns, &sum);
    cJSON *pool = cJSON_CreateObject();
    cJSON_AddStringToObject(pool, "database", p->client_database);
    cJSON_AddStringToObject(pool, "user", p->user);
    cJSON_AddStringToObject(pool, "node", c->nodes[p->node].name);
    cJSON_AddNumberToObject(pool, "size", (double)c->databases[p->database].pool_size);
    cJSON_AddNumberToObject(pool, "connections", (double)sum.connections);
    cJSON_AddNumberToObject(pool, "active", (double)sum.active);
    cJSON_AddNumberToObject(pool, "idle", (double)sum.idle);
    cJSON_AddNumberToObject(pool, "opening", (double)sum.opening);
    cJSON_AddNumberToObject(pool, "waiting", (double)sum.waiting);
    add_seconds(pool, "longest_wait_seconds", true, (double)sum.maxwait_ns / 1e9);
    cJSON_AddItemToArray(pools, pool);
}

static double count(const struct stats_database *sum, uint32_t target, bool reads)
{
    double total = 0;
    for (uint32_t verdict = 0; verdict < ROUTER_VERDICT_COUNT; verdict++) {
        if ((verdict == ROUTER_VERDICT_READ) != reads)
            continue;
        for (uint32_t reason = 0; reason < ROUTER_REASON_COUNT; reason++)
            total += (double)sum->routes[sum_route_index(target, verdict, reason)];
    }
    return total;
}

static void add_database(cJSON *databases, const struct supervisor *s, uint32_t index)
{
    struct stats_database sum;
    sum_database(s->proxy, index, &sum);
    cJSON *d = cJSON_CreateObject();
    cJSON_AddStringToObject(d, "name", s->proxy->config->databases[index].name);
    cJSON_AddNumberToObject(d, "clients", (double)sum.clients);
    cJSON_AddNumberToObject(d, "queries", (double)sum.queries);
    cJSON_AddNumberToObject(d, "reads_on_replicas", count(&sum, ROUTER_TARGET_REPLICA, true));
    cJSON_AddNumberToObject(d, "reads_on_primary", count(&sum, ROUTER_TARGET_PRIMARY, true));
    cJSON_AddNumberToObject(d, "others_on_primary", count(&sum, ROUTER_TARGET_PRIMARY, false));
    cJSON_AddItemToArray(databases, d);
}

char *health_detailed_json(const struct supervisor *s)
{
    const uint64_t now_ns = uv_hrtime();
    struct stats_worker workers;
    cJSON *root = head(s);
    add_reasons(root, s);
    add_seconds(root, "uptime_seconds", true, seconds_since(s->proxy->started_ns, now_ns));
    sum_workers(s->proxy, &workers);
    cJSON_AddNumberToObject(root, "workers", s->proxy->workers_count);
    cJSON_AddNumberToObject(root, "clients", (double)workers.clients);
    cJSON_AddNumberToObject(root, "clients_waiting", (double)workers.waiting);
    cJSON_AddNumberToObject(root, "clients_pinned", (double)workers.pinned);
    cJSON_AddNumberToObject(root, "servers", (double)workers.servers);
    cJSON *nodes = cJSON_AddArrayToObject(root, "nodes");
    for (uint32_t i = 0; i < s->nodes_count; i++)
        add_node(nodes, s, i, now_ns);
    cJSON *pools = cJSON_AddArrayToObject(root, "pools");
    for (const struct shared_pool *p = shared_pools_first(s->proxy); p != NULL;
         p = shared_pools_next(p))
        add_pool(pools, s, p, now_ns);
    cJSON *databases = cJSON_AddArrayToObject(root, "databases");
    for (uint32_t i = 0; i < s->proxy->config->databases_count; i++)
        add_database(databases, s, i);
    return print(root);
}
