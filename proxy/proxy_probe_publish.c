/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_publish: what workers see of the nodes.
 */
#include "proxy_probe_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "proxy_log.h"

enum { WEIGHT_FULL = 1000 };

void probe_breaker_config(const struct supervisor *s, uint32_t node, struct breaker_config *ret)
{
    const struct config_breaker *c = &s->proxy->config->breaker;
    const struct node_state *n = &s->nodes[node];

    *ret = (struct breaker_config){
        .failures = (uint32_t)c->failures,
        .open_for_ns = c->open_for_ns,
        .open_factor = (uint32_t)c->open_factor,
        .open_max_ns = c->open_max_ns,
        .open_decay_ns = c->open_decay_ns,
        .trial_probes = (uint32_t)c->trial_probes,
        .trial_permits = (uint32_t)c->trial_permits,
        .trial_lease_ns = c->trial_lease_ns,
        .trial_calls = (uint32_t)c->trial_calls,
        .trial_failures = (uint32_t)c->trial_failures,
        .trial_max_ns = c->trial_max_ns,
        .min_dwell_ns = c->min_dwell_ns,
        .slow_start_ns = c->slow_start_ns,
        .flap_limit = (uint32_t)c->flap_limit,
        .alone = n->role == ROUTER_ROLE_PRIMARY && probe_shard_of(s, node)->primary == node,
    };
}

/* ---- trial permits ---- */

/* Permits that workers may still take: the limit less the leases that are out. */
static uint32_t permits_free(const struct breaker *b, const struct breaker_config *config)
{
    uint32_t limit = config->trial_permits > 0 ? config->trial_permits : 1;
    if (limit > BREAKER_PERMITS_MAX)
        limit = BREAKER_PERMITS_MAX;
    if (b->trial_bad >= config->trial_failures || b->trial_results >= config->trial_calls)
        return 0; /* the verdict is in, only its moment is waited for */
    return limit > b->permits_out ? limit - b->permits_out : 0;
}

/*
 * A permit in the word is nobody's; a worker takes it by counting the word down, without telling.
 * We see the difference here, and lease that many from the breaker: at most one look late, so an
 * untaken permit never expires and a lost one does.
 *
 * True: there were none to take, and now there are. Who waits is to be told.
 */
bool probe_permits_sync(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    struct probe *p = n->probe;
    uint64_t *word = &s->proxy->nodes[node].permits;
    struct breaker_config config;

    if (breaker_effective(&n->breaker) != BREAKER_HALF_OPEN) {
        ck_pr_store_64(word, 0);
        p->granted = 0;
        return false;
    }
    probe_breaker_config(s, node, &config);
    uint64_t seen = ck_pr_load_64(word);
    if (p->granted_generation != n->breaker.generation || seen >> 32 != n->breaker.generation) {
        p->granted = 0;
        p->granted_generation = n->breaker.generation;
        ck_pr_store_64(word, (uint64_t)n->breaker.generation << 32);
        seen = ck_pr_load_64(word);
    }
    for (;;) {
        assert((uint32_t)seen <= p->granted);
        for (; p->granted > (uint32_t)seen; p->granted--)
            (void)breaker_permit_acquire(&n->breaker, &config, now_ns);
        const uint32_t free_count = permits_free(&n->breaker, &config);
        const uint64_t next = (uint64_t)n->breaker.generation << 32 | free_count;
        if (ck_pr_cas_64_value(word, seen, next, &seen)) {
            const bool some_again = p->granted == 0 && free_count > 0;
            p->granted = free_count;
            return some_again;
        }
    }
}

/* ---- the topology ---- */

static uint64_t configured_weight(const struct config_node *c, enum router_role role)
{
    if (role == ROUTER_ROLE_PRIMARY && !c->weight_given)
        return 0;
    return c->weight;
}

/* Weights are relative: the heaviest node of a shard has 1000. */
static uint16_t weight_permille(const struct supervisor *s, uint32_t node,
                                const struct breaker_config *config, uint64_t now_ns)
{
    const struct config *c = s->proxy->config;
    const uint64_t own = configured_weight(&c->nodes[node], s->nodes[node].role);
    uint64_t heaviest = 1;

    if (own == 0)
        return 0;
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const uint64_t weight = configured_weight(&c->nodes[i], s->nodes[i].role);
        if (c->nodes[i].shard_index == c->nodes[node].shard_index && weight > heaviest)
            heaviest = weight;
    }
    const double share = (double)own / (double)heaviest;
    const uint32_t started = breaker_weight_permille(&s->nodes[node].breaker, config, now_ns);
    const uint32_t weight = (uint32_t)(share * started);
    return (uint16_t)(weight > 0 ? weight : 1);
}

static void fill_node(const struct supervisor *s, uint32_t i, const struct breaker_config *config,
                      uint64_t now_ns, struct router_node *ret)
{
    const struct node_state *n = &s->nodes[i];

    *ret = (struct router_node){
        .role = (uint8_t)n->role,
        .breaker = (uint8_t)breaker_effective(&n->breaker),
        .gate = n->gate.reason,
        .drained = n->drained,
        .lag_hard = n->lag_hard,
        .shard = (uint8_t)s->proxy->config->nodes[i].shard_index,
        .weight_permille = weight_permille(s, i, config, now_ns),
        .generation = n->breaker.generation,
        .fresh_as_of_ns = probe_later(n->fresh_as_of_ns, n->stands_ns),
        .evidence_ns = probe_later(n->evidence_ns, n->stands_ns),
        .proven_ns = n->stands_ns != 0 ? n->fresh_as_of_ns : ROUTER_NEVER_NS,
    };
}

void probes_publish(struct supervisor *s, bool admission_changed)
{
    const uint64_t now_ns = uv_hrtime();
    struct breaker_config config;
    struct topology *next = calloc(1, sizeof(*next));

    if (next == NULL) { /* the old one stays: as true as it was, and older by the moment */
        log_error("topology", "error=\"no memory\"");
        return;
    }
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        probe_breaker_config(s, i, &config);
        if (s->nodes[i].probe != NULL)
            (void)probe_permits_sync(s, i, now_ns);
        fill_node(s, i, &config, now_ns, &next->route.nodes[i]);
        next->route.is_gone |= s->nodes[i].stands_ns != 0;
    }
    next->route.nodes_count = s->nodes_count;
    next->route.generation = ++s->generation;
    if (admission_changed)
        s->admission++;
    next->admission = s->admission;
    next->config = s->proxy->config;
    next->tls = s->proxy->tls;
    topology_publish(&s->proxy->box, next);
    if (admission_changed)
        workers_wake(s->proxy);
}
