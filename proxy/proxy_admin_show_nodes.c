/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_show_nodes: SHOW NODES, BREAKERS, ROUTES, PINS and CONSISTENCY.
 */
#include <inttypes.h>

#include "proxy_admin_internal.h"
#include "proxy_worker.h"

#define MS UINT64_C(1000000)

static const char *role_text(enum router_role role)
{
    return role == ROUTER_ROLE_PRIMARY   ? "primary"
           : role == ROUTER_ROLE_REPLICA ? "replica"
                                         : "unknown";
}

/* The breaker's reason, else the lag gate's. */
static const char *reason_text(const struct node_state *n)
{
    const char *reason = breaker_reason_text(breaker_effective_reason(&n->breaker));
    const bool is_closed = breaker_effective(&n->breaker) == BREAKER_CLOSED;
    if (*reason != 0 &&
        !(is_closed && n->gate.reason != BREAKER_GATE_OPEN && n->breaker.override == BREAKER_AUTO))
        return reason;
    if (n->gate.reason == BREAKER_GATE_OPEN && n->stands_ns != 0)
        return "primary_gone";
    return breaker_gate_text((enum breaker_gate_reason)n->gate.reason);
}

static void table_ms(struct table *t, uint64_t ns)
{
    if (ns == UINT64_MAX)
        table_string(t, NULL);
    else
        table_number(t, ns / MS);
}

static uint64_t since_ns(uint64_t then_ns, uint64_t now_ns)
{
    if (then_ns == 0)
        return UINT64_MAX;
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

/* The slowest worker's view: it is what keeps reads away. */
static void table_latency(struct table *t, const struct proxy *p, uint32_t node)
{
    uint64_t latency_ns = 0;
    for (uint32_t i = 0; i < p->workers_count; i++) {
        const uint64_t ns = shared_load(&worker_stats(p, i)->node_latency_ns[node]);
        latency_ns = ns > latency_ns ? ns : latency_ns;
    }
    if (latency_ns == 0)
        table_string(t, NULL);
    else
        table_number(t, latency_ns / 1000);
}

static void show_node(const struct admin_show_context *x, uint32_t index, struct table *t)
{
    const struct node_state *n = &x->s->nodes[index];
    const struct config_node *config = &x->config->nodes[index];
    struct sum_pool sum;
    sum_pools(x->proxy, index, UINT32_MAX, x->now_ns, &sum);
    const bool is_primary = n->role == ROUTER_ROLE_PRIMARY;
    table_string(t, config->shard);
    table_string(t, config->name);
    table_string(t, config->host);
    table_number(t, config->port);
    table_string(t, role_text(n->role));
    table_string(t, breaker_state_text(breaker_effective(&n->breaker)));
    table_string(t, reason_text(n));
    table_number(t, n->breaker.generation);
    table_ms(t, is_primary ? 0 : probes_lag_ns(n, x->now_ns));
    table_ms(t, is_primary ? since_ns(n->probed_ns, x->now_ns)
                           : since_ns(n->fresh_as_of_ns, x->now_ns));
    if (n->lsn == 0)
        table_string(t, NULL);
    else
        table_format(t, "%" PRIX32 "/%" PRIX32, (uint32_t)(n->lsn >> 32), (uint32_t)n->lsn);
    if (n->timeline == 0)
        table_string(t, NULL);
    else
        table_number(t, n->timeline);
    table_number(t, sum.active);
    table_number(t, sum.connections);
    table_latency(t, x->proxy, index);
    table_number(t, config->weight);
    table_string(t, n->drained                                     ? "drained"
                    : n->breaker.override == BREAKER_FORCED_OPEN   ? "forced open"
                    : n->breaker.override == BREAKER_FORCED_CLOSED ? "forced closed"
                                                                   : "");
    table_row_end(t);
}

void admin_show_nodes(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->s->nodes_count; i++)
        show_node(x, i, t);
}

static const char *override_text(uint8_t override)
{
    return override == BREAKER_FORCED_OPEN     ? "open"
           : override == BREAKER_FORCED_CLOSED ? "closed"
                                               : "auto";
}

void admin_show_breakers(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->s->nodes_count; i++) {
        const struct node_state *n = &x->s->nodes[i];
        const struct breaker *b = &n->breaker;
        const bool waits = b->state == BREAKER_OPEN && b->retry_at_ns != 0;
        table_string(t, x->config->nodes[i].shard);
        table_string(t, x->config->nodes[i].name);
        table_string(t, breaker_state_text(breaker_effective(b)));
        table_string(t, breaker_reason_text(breaker_effective_reason(b)));
        table_string(t, override_text(b->override));
        table_string(t, n->gate.reason == BREAKER_GATE_OPEN
                            ? "open"
                            : breaker_gate_text((enum breaker_gate_reason)n->gate.reason));
        table_ms(t, since_ns(b->since_ns, x->now_ns));
        table_number(t, b->generation);
        table_number(t, n->faults[0] + n->faults[1] + n->faults[2] + n->faults[3]);
        table_number(t, n->faults[2] + n->faults[3]);
        table_number(t, b->failures_row);
        table_ms(t, !waits                       ? UINT64_MAX
                    : b->retry_at_ns > x->now_ns ? b->retry_at_ns - x->now_ns
                                                 : 0);
        table_number(t, b->transitions);
        table_number(t, b->level);
        table_string(t, b->flapping ? "yes" : "no");
        table_number(t, n->probes);
        table_number(t, n->probes_failed);
        table_string(t, n->last_error);
        table_row_end(t);
    }
}

static void show_routes_of(const struct admin_show_context *x, uint32_t database, uint32_t target,
                           const struct stats_database *sum, struct table *t)
{
    const struct config_database *d = &x->config->databases[database];
    for (uint32_t verdict = 0; verdict < ROUTER_VERDICT_COUNT; verdict++) {
        for (uint32_t reason = 0; reason < ROUTER_REASON_COUNT; reason++) {
            const uint64_t count = sum->routes[sum_route_index(target, verdict, reason)];
            if (count == 0)
                continue;
            table_string(t, d->name);
            table_string(t, x->config->shards[d->shard_first]);
            table_string(t, router_target_text((enum router_target)target));
            table_string(t, router_verdict_text((enum router_verdict)verdict));
            table_string(t, router_reason_text((enum router_reason)reason));
            table_number(t, count);
            table_row_end(t);
        }
    }
}

void admin_show_routes(const struct admin_show_context *x, struct table *t)
{
    for (uint32_t i = 0; i < x->config->databases_count; i++) {
        struct stats_database sum;
        sum_database(x->proxy, i, &sum);
        for (uint32_t target = 0; target < ROUTER_TARGET_COUNT; target++)
            show_routes_of(x, i, target, &sum, t);
    }
}

void admin_show_pins(const struct admin_show_context *x, struct table *t)
{
    struct stats_worker sum;
    sum_workers(x->proxy, &sum);
    for (uint32_t reason = 0; reason < ROUTER_REASON_COUNT; reason++) {
        if (sum.pins[reason] == 0 && sum.pinned_now[reason] == 0)
            continue;
        table_string(t, router_reason_text((enum router_reason)reason));
        table_number(t, sum.pinned_now[reason]);
        table_number(t, sum.pins[reason]);
        table_row_end(t);
    }
}

static uint64_t reads(const struct stats_database *sum, enum router_target target)
{
    uint64_t count = 0;
    for (uint32_t reason = 0; reason < ROUTER_REASON_COUNT; reason++)
        count += sum->routes[sum_route_index(target, ROUTER_VERDICT_READ, reason)];
    return count;
}

void admin_show_consistency(const struct admin_show_context *x, struct table *t)
{
    static const enum router_reason refusals[] = {
        ROUTER_REASON_RECENT_WRITE, ROUTER_REASON_BACK_IN_TIME, ROUTER_REASON_LAGGING,
        ROUTER_REASON_NO_EVIDENCE,  ROUTER_REASON_NO_REPLICA,   ROUTER_REASON_BREAKER_OPEN,
        ROUTER_REASON_CONSISTENCY};
    for (uint32_t i = 0; i < x->config->databases_count; i++) {
        const struct config_database *d = &x->config->databases[i];
        struct stats_database sum;
        sum_database(x->proxy, i, &sum);
        table_string(t, d->name);
        table_string(t, router_level_text((enum router_level)d->consistency));
        table_number(t, d->max_lag_ns / MS);
        table_number(t, reads(&sum, ROUTER_TARGET_REPLICA));
        table_number(t, reads(&sum, ROUTER_TARGET_PRIMARY));
        for (size_t r = 0; r < sizeof refusals / sizeof refusals[0]; r++)
            table_number(t, sum.routes[sum_route_index(ROUTER_TARGET_PRIMARY, ROUTER_VERDICT_READ,
                                                       refusals[r])]);
        table_row_end(t);
    }
}
