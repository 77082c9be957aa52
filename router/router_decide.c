/* SPDX-License-Identifier: PostgreSQL
 *
 * router_decide: the policy. First what the statement and its session ask for (must it be the
 * primary?), then which replicas are fit, then the better of two of them. Why no replica was fit is
 * found out on the cold path only, when that is the answer.
 */
#include "router_decide.h"

#include <assert.h>
#include <strings.h>

/* What a read asks of every replica, worked out once a decision. fresh_as_of at or above the bound
 * is fit: one comparison a node. */
struct need {
    uint64_t fresh_ns;       /* max_lag and the session's (or anybody's) last write */
    uint64_t fresh_other_ns; /* that, and never back in time: for all but the floor's node */
    uint64_t lag_ns;         /* the part of max_lag alone */
    uint64_t write_ns;       /* the part of writes alone */
    bool any_age;            /* READS ... TO REPLICAS: evidence is not looked at */
    bool lagging_is_fit;     /* a gate that is shut for lag keeps nobody out */
};

/* Nodes that are fit, by how much we like to use them. */
struct candidates {
    uint8_t nodes[ROUTER_NODES_MAX]; /* those of mask, and a primary that takes reads */
    uint32_t count;
    uint32_t mask;         /* CLOSED replicas */
    uint32_t trial_mask;   /* HALF_OPEN, with a permit */
    uint32_t lagging_mask; /* gate shut for lag, level eventual */
};

static bool bit_of(uint32_t mask, uint32_t node)
{
    return (mask >> node & 1) != 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

const char *router_level_text(enum router_level level)
{
    static const char *const texts[] = {"eventual", "bounded", "session", "global", "primary"};
    assert(level <= ROUTER_LEVEL_PRIMARY);
    return texts[level];
}

bool router_level_parse(const char *text, enum router_level *ret)
{
    for (enum router_level level = ROUTER_LEVEL_EVENTUAL; level <= ROUTER_LEVEL_PRIMARY; level++) {
        if (strcasecmp(text, router_level_text(level)) == 0) {
            *ret = level;
            return true;
        }
    }
    return false;
}

uint8_t router_primary(const struct router_topology *t, uint8_t shard)
{
    uint8_t found = ROUTER_NODE_NONE;

    assert(t->nodes_count <= ROUTER_NODES_MAX);
    for (uint32_t i = 0; i < t->nodes_count; i++) {
        const struct router_node *n = &t->nodes[i];
        if (n->role != ROUTER_ROLE_PRIMARY || n->shard != shard)
            continue;
        /* Two at once only while a failover settles: the one that works. */
        if (n->breaker != BREAKER_OPEN)
            return (uint8_t)i;
        if (found == ROUTER_NODE_NONE)
            found = (uint8_t)i;
    }
    return found;
}

/* ---- what the statement and its session ask for ---- */

/* A hint or setting route=replica lifts only doubts about what a function does. */
static bool doubt_is_lifted(const struct router_request *request)
{
    const struct router_class *c = &request->class;

    if (request->route != ROUTER_ROUTE_REPLICA || c->verdict != ROUTER_VERDICT_WRITE)
        return false;
    if (c->by_node_type || c->acts || !c->alone)
        return false;
    return c->reason == ROUTER_REASON_VOLATILE_FUNCTION ||
           c->reason == ROUTER_REASON_UNKNOWN_FUNCTION ||
           c->reason == ROUTER_REASON_UNKNOWN_OPERATOR || c->reason == ROUTER_REASON_CATALOG ||
           c->reason == ROUTER_REASON_NODE_SPECIFIC;
}

/* The server itself keeps a READ ONLY block from writing, on any node. A text that may end the
 * block, state of the session, and what a READ ONLY block may do but only on the primary, are not
 * the block's. */
static bool reads_in_read_only_block(const struct router_request *request)
{
    const struct router_class *c = &request->class;

    if (!request->begins_read_only || c->has_transaction || c->home)
        return false;
    return c->verdict == ROUTER_VERDICT_READ || c->verdict == ROUTER_VERDICT_WRITE ||
           (c->verdict == ROUTER_VERDICT_TRANSACTION &&
            (c->reason == ROUTER_REASON_SAVEPOINT || c->set_read_only ||
             c->begin != ROUTER_BEGIN_NONE));
}

static enum router_reason route_reason(const struct router_request *request)
{
    return request->class.hinted ? ROUTER_REASON_HINT : ROUTER_REASON_FORCED;
}

/* Why this must go to the primary, or ROUTER_REASON_NONE for a read that a replica may serve. */
static enum router_reason primary_reason(const struct router_request *request)
{
    const struct router_class *c = &request->class;

    if (c->verdict != ROUTER_VERDICT_READ && !reads_in_read_only_block(request) &&
        !doubt_is_lifted(request))
        return (enum router_reason)c->reason;
    if (request->reads == ROUTER_READS_PRIMARY)
        return ROUTER_REASON_FORCED;
    if (request->route == ROUTER_ROUTE_PRIMARY)
        return route_reason(request);
    if (request->in_write_block)
        return ROUTER_REASON_IN_WRITE_TRANSACTION;
    if (request->in_plain_block)
        return ROUTER_REASON_IN_TRANSACTION;
    if (request->level == ROUTER_LEVEL_PRIMARY && request->reads != ROUTER_READS_REPLICAS)
        return ROUTER_REASON_CONSISTENCY;
    return ROUTER_REASON_NONE;
}

/* The reason of a read that found its replica. */
static enum router_reason read_reason(const struct router_request *request)
{
    if (request->reads == ROUTER_READS_REPLICAS)
        return ROUTER_REASON_FORCED;
    if (request->route == ROUTER_ROUTE_REPLICA)
        return route_reason(request);
    if (request->begins_read_only)
        return ROUTER_REASON_READ_ONLY_TRANSACTION;
    return (enum router_reason)request->class.reason;
}

static struct need need_of(const struct router_request *request, uint64_t now_ns)
{
    struct need need = {.fresh_ns = 1, .fresh_other_ns = 1}; /* 0 is "no evidence" */

    if (request->reads == ROUTER_READS_REPLICAS) {
        need.any_age = need.lagging_is_fit = true;
        need.fresh_ns = need.fresh_other_ns = 0;
        return need;
    }
    if (request->level == ROUTER_LEVEL_EVENTUAL) {
        need.lagging_is_fit = true;
        return need;
    }
    if (request->max_lag_ns != 0 && now_ns > request->max_lag_ns)
        need.lag_ns = now_ns - request->max_lag_ns;
    if (request->level >= ROUTER_LEVEL_SESSION)
        need.write_ns = request->last_write_ns;
    if (request->level >= ROUTER_LEVEL_GLOBAL)
        need.write_ns = later(need.write_ns, request->global_write_ns);
    need.fresh_ns = later(need.fresh_ns, later(need.lag_ns, need.write_ns));
    need.fresh_other_ns = need.fresh_ns;
    if (request->level >= ROUTER_LEVEL_SESSION && request->floor_node != ROUTER_NODE_NONE)
        need.fresh_other_ns = later(need.fresh_ns, request->floor_ns);
    return need;
}

/* ---- which nodes are fit ---- */

static enum router_reason refusal(const struct router_topology *t,
                                  const struct router_request *request, const struct need *need,
                                  uint32_t trial_ok, uint32_t node)
{
    const struct router_node *n = &t->nodes[node];

    if (n->shard != request->shard || n->role == ROUTER_ROLE_PRIMARY || n->weight_permille == 0)
        return ROUTER_REASON_NO_REPLICA;
    if (n->drained)
        return ROUTER_REASON_DRAINED;
    if (n->breaker == BREAKER_OPEN)
        return ROUTER_REASON_BREAKER_OPEN;
    if (n->breaker == BREAKER_HALF_OPEN && !bit_of(trial_ok, node))
        return ROUTER_REASON_BREAKER_OPEN;
    if (n->role != ROUTER_ROLE_REPLICA)
        return ROUTER_REASON_NO_EVIDENCE;
    if (node == request->avoid_node)
        return ROUTER_REASON_RETRY;
    if (n->lag_hard)
        return ROUTER_REASON_LAGGING;
    if (n->gate != BREAKER_GATE_OPEN && !(need->lagging_is_fit && n->gate == BREAKER_GATE_LAGGING))
        return ROUTER_REASON_LAGGING;
    if (need->any_age)
        return ROUTER_REASON_NONE;
    if (n->fresh_as_of_ns == 0)
        return ROUTER_REASON_NO_EVIDENCE;
    if (n->fresh_as_of_ns < need->lag_ns)
        return ROUTER_REASON_LAGGING;
    if (n->fresh_as_of_ns < need->write_ns)
        return ROUTER_REASON_RECENT_WRITE;
    if (node != request->floor_node && n->fresh_as_of_ns < need->fresh_other_ns)
        return ROUTER_REASON_BACK_IN_TIME;
    return ROUTER_REASON_NONE;
}

/* A primary takes its share of reads where it has a weight. Of two at once (a failover settles) the
 * one that choose_primary() would take. */
static void add_primary(const struct router_topology *t, const struct router_request *request,
                        struct candidates *c)
{
    const uint8_t primary = router_primary(t, request->shard);

    if (primary == ROUTER_NODE_NONE || primary == request->avoid_node)
        return;
    if (request->reads == ROUTER_READS_REPLICAS || request->route == ROUTER_ROUTE_REPLICA)
        return;
    const struct router_node *n = &t->nodes[primary];
    if (n->weight_permille > 0 && n->breaker == BREAKER_CLOSED && !n->drained)
        c->nodes[c->count++] = primary;
}

/* The same as refusal() == NONE, for all nodes and in few instructions; a test holds them equal.
 * True when a primary might take reads too. */
static bool find_fit(const struct router_topology *t, const struct router_request *request,
                     const struct need *need, uint32_t trial_ok, struct candidates *ret)
{
    const struct router_node *n = t->nodes;
    bool primary_reads = false;
    uint32_t mask = 0;

    ret->count = ret->trial_mask = ret->lagging_mask = 0;
    for (uint32_t i = 0; i < t->nodes_count; i++, n++) {
        if (n->shard != request->shard || n->weight_permille == 0)
            continue;
        if (n->role != ROUTER_ROLE_REPLICA) {
            primary_reads |= n->role == ROUTER_ROLE_PRIMARY;
            continue;
        }
        const uint64_t fresh_ns = i == request->floor_node ? need->fresh_ns : need->fresh_other_ns;
        if (n->fresh_as_of_ns < fresh_ns || i == request->avoid_node)
            continue;
        if (n->breaker == BREAKER_OPEN || n->drained || n->lag_hard)
            continue;
        if (n->breaker == BREAKER_HALF_OPEN && !bit_of(trial_ok, i))
            continue;
        if (n->gate != BREAKER_GATE_OPEN) {
            if (need->lagging_is_fit && n->gate == BREAKER_GATE_LAGGING)
                ret->lagging_mask |= 1u << i;
        } else if (n->breaker == BREAKER_HALF_OPEN) {
            ret->trial_mask |= 1u << i;
        } else {
            mask |= 1u << i;
            ret->nodes[ret->count++] = (uint8_t)i;
        }
    }
    ret->mask = mask;
    return primary_reads;
}

/* If all are shut for lag, a read that may be stale keeps the best one. */
static void keep_freshest(const struct router_topology *t, struct candidates *c)
{
    uint32_t best = ROUTER_NODES_MAX;

    for (uint32_t i = 0; i < t->nodes_count; i++) {
        if (!bit_of(c->lagging_mask, i))
            continue;
        if (best == ROUTER_NODES_MAX || t->nodes[i].fresh_as_of_ns > t->nodes[best].fresh_as_of_ns)
            best = i;
    }
    if (best == ROUTER_NODES_MAX)
        return;
    if (t->nodes[best].breaker == BREAKER_HALF_OPEN) {
        c->trial_mask |= 1u << best;
        return;
    }
    c->mask |= 1u << best;
    c->nodes[c->count++] = (uint8_t)best;
}

/* ---- which of the fit ones ---- */

/* latency x (in flight + 1), in a range where a product with a weight cannot overflow. */
static uint64_t load_cost(const struct router_load *load)
{
    uint64_t latency = (load->latency_ns >> 10) + 1; /* about microseconds */
    uint64_t waiting = (uint64_t)load->in_flight + 1;

    latency = latency < UINT64_C(1) << 28 ? latency : UINT64_C(1) << 28;
    waiting = waiting < UINT64_C(1) << 19 ? waiting : UINT64_C(1) << 19;
    return latency * waiting; /* <= 2^47 */
}

/* The better of two drawn with replacement: even the worst node is used now and then, so that its
 * latency stays known. The quotients are compared crosswise, without a division. */
static uint8_t better_of_two(const struct router_topology *t, const struct router_load *loads,
                             const uint8_t *nodes, uint32_t count, uint64_t random)
{
    assert(count > 0 && count <= ROUTER_NODES_MAX);
    if (count == 1)
        return nodes[0];
    const uint8_t a = nodes[((uint32_t)(random & 0xffffff) * count) >> 24];
    const uint8_t b = nodes[((uint32_t)(random >> 24 & 0xffffff) * count) >> 24];
    if (a == b)
        return a;
    const uint64_t cost_a = load_cost(&loads[a]) * t->nodes[b].weight_permille;
    const uint64_t cost_b = load_cost(&loads[b]) * t->nodes[a].weight_permille;
    return cost_a <= cost_b ? a : b;
}

/* The n-th (modulo their number) set bit of a mask that is not 0. */
static uint8_t any_of(uint32_t mask, uint32_t random)
{
    uint32_t skip = (random & 0xff) * (uint32_t)__builtin_popcount(mask) >> 8;

    while (skip-- > 0)
        mask &= mask - 1;
    return (uint8_t)__builtin_ctz(mask);
}

/* ---- answers ---- */

static void choose_primary(const struct router_topology *t, const struct router_request *request,
                           uint32_t trial_ok, enum router_reason reason, struct router_choice *ret)
{
    const uint8_t node = router_primary(t, request->shard);

    *ret = (struct router_choice){
        .target = ROUTER_TARGET_PRIMARY, .node = ROUTER_NODE_NONE, .reason = (uint8_t)reason};
    if (node == ROUTER_NODE_NONE) {
        ret->reason = ROUTER_REASON_NO_PRIMARY;
        return;
    }
    const struct router_node *n = &t->nodes[node];
    const bool is_trial = n->breaker == BREAKER_HALF_OPEN;
    if (n->drained) {
        ret->reason = ROUTER_REASON_DRAINED;
    } else if (n->breaker == BREAKER_OPEN || (is_trial && !bit_of(trial_ok, node))) {
        ret->reason = ROUTER_REASON_BREAKER_OPEN;
    } else if (node == request->avoid_node) {
        ret->reason = ROUTER_REASON_RETRY;
    } else {
        ret->node = node;
        ret->is_trial = is_trial;
    }
}

/* How much a refusal tells: of several replicas' the highest becomes the read's reason. */
static uint32_t telling(enum router_reason reason)
{
    static const uint8_t ranks[ROUTER_REASON_COUNT] = {
        [ROUTER_REASON_RECENT_WRITE] = 7, [ROUTER_REASON_BACK_IN_TIME] = 6,
        [ROUTER_REASON_LAGGING] = 5,      [ROUTER_REASON_RETRY] = 4,
        [ROUTER_REASON_BREAKER_OPEN] = 3, [ROUTER_REASON_DRAINED] = 2,
        [ROUTER_REASON_NO_EVIDENCE] = 1,
    };
    return ranks[reason];
}

/* No replica is fit: the primary, if it may be; and why. */
static void fall_back(const struct router_topology *t, const struct router_request *request,
                      const struct need *need, uint32_t trial_ok, struct router_choice *ret)
{
    enum router_reason reason = ROUTER_REASON_NO_REPLICA;
    bool is_configured = false;

    for (uint32_t i = 0; i < t->nodes_count; i++) {
        const struct router_node *n = &t->nodes[i];
        if (n->shard != request->shard || n->role == ROUTER_ROLE_PRIMARY || n->weight_permille == 0)
            continue;
        const enum router_reason why = refusal(t, request, need, trial_ok, i);
        assert(why != ROUTER_REASON_NONE);
        is_configured = true;
        if (telling(why) > telling(reason))
            reason = why;
    }

    const bool is_too_early =
        reason == ROUTER_REASON_RECENT_WRITE || reason == ROUTER_REASON_BACK_IN_TIME;
    const bool is_fallback = is_configured && !is_too_early;
    if (request->reads == ROUTER_READS_REPLICAS || (is_fallback && !request->fallback_allowed)) {
        *ret = (struct router_choice){
            .target = ROUTER_TARGET_REPLICA, .node = ROUTER_NODE_NONE, .reason = (uint8_t)reason};
        if (request->reads == ROUTER_READS_REPLICAS)
            ret->reason = ROUTER_REASON_NO_REPLICA;
        return;
    }
    choose_primary(t, request, trial_ok, reason, ret);
    ret->fell_back = is_fallback && ret->node != ROUTER_NODE_NONE;
    /* While a write still runs no evidence can be new enough. */
    ret->wants_probe = is_too_early && need->write_ns != ROUTER_NEVER_NS;
}

static void choose_replica(const struct router_topology *t, const struct router_load *loads,
                           const struct router_request *request, uint32_t trial_ok, uint64_t random,
                           uint64_t now_ns, struct router_choice *ret)
{
    const struct need need = need_of(request, now_ns);
    struct candidates c;

    const bool primary_reads = find_fit(t, request, &need, trial_ok, &c);
    if ((c.mask | c.trial_mask) == 0 && c.lagging_mask != 0)
        keep_freshest(t, &c);
    if ((c.mask | c.trial_mask) == 0) {
        fall_back(t, request, &need, trial_ok, ret);
        return;
    }

    *ret = (struct router_choice){
        .target = ROUTER_TARGET_REPLICA, .reason = (uint8_t)read_reason(request), .fit = c.mask};
    /* A trial gets one read in 16, or all that find nothing else. */
    if (c.trial_mask != 0 && (c.mask == 0 || random >> 60 == 0)) {
        ret->node = any_of(c.trial_mask, (uint32_t)(random >> 48));
        ret->is_trial = true;
        ret->fit |= 1u << ret->node;
        return;
    }
    if (primary_reads)
        add_primary(t, request, &c);
    ret->node = better_of_two(t, loads, c.nodes, c.count, random);
    if (t->nodes[ret->node].role == ROUTER_ROLE_PRIMARY)
        ret->target = ROUTER_TARGET_PRIMARY;
}

void router_decide(const struct router_topology *t, const struct router_load *loads,
                   const struct router_request *request, uint32_t trial_ok, uint64_t random,
                   uint64_t now_ns, struct router_choice *ret)
{
    assert(t->nodes_count <= ROUTER_NODES_MAX);

    if (request->class.verdict == ROUTER_VERDICT_LOCAL) {
        *ret = (struct router_choice){.target = ROUTER_TARGET_PROXY,
                                      .node = ROUTER_NODE_NONE,
                                      .reason = request->class.reason};
        return;
    }
    const enum router_reason reason = primary_reason(request);
    if (reason != ROUTER_REASON_NONE)
        choose_primary(t, request, trial_ok, reason, ret);
    else
        choose_replica(t, loads, request, trial_ok, random, now_ns, ret);
}

enum router_reason router_refusal(const struct router_topology *t,
                                  const struct router_request *request, uint8_t node,
                                  uint64_t now_ns)
{
    assert(node < t->nodes_count);
    const struct router_node *n = &t->nodes[node];

    if (n->role == ROUTER_ROLE_PRIMARY && n->shard == request->shard) {
        if (request->reads == ROUTER_READS_REPLICAS &&
            primary_reason(request) == ROUTER_REASON_NONE)
            return ROUTER_REASON_FORCED;
        if (n->drained)
            return ROUTER_REASON_DRAINED;
        return n->breaker == BREAKER_OPEN ? ROUTER_REASON_BREAKER_OPEN : ROUTER_REASON_NONE;
    }
    const enum router_reason reason = primary_reason(request);
    if (reason != ROUTER_REASON_NONE)
        return reason;
    const struct need need = need_of(request, now_ns);
    return refusal(t, request, &need, UINT32_MAX, node);
}

/* ---- load ---- */

/* Weight of a sample: the share of ~8.6 s (2^33 ns) since the one before; no exp(), no division. */
enum { LOAD_DECAY_SHIFT = 33 };

void router_load_observe(struct router_load *load, uint64_t sample_ns, uint64_t elapsed_ns)
{
    if (sample_ns >= load->latency_ns) {
        load->latency_ns = sample_ns;
        return;
    }
    const uint64_t period_ns = UINT64_C(1) << LOAD_DECAY_SHIFT;
    const uint64_t excess_ns = load->latency_ns - sample_ns;
    if (elapsed_ns >= period_ns) {
        load->latency_ns = sample_ns;
    } else if (excess_ns < UINT64_C(1) << 30) {
        /* Rounded up: many samples in a short time must not decay by nothing each. */
        load->latency_ns -= (excess_ns * elapsed_ns + period_ns - 1) >> LOAD_DECAY_SHIFT;
    } else {
        /* Above a second nanoseconds do not matter, but the product must fit. */
        load->latency_ns -= (excess_ns >> 20) * (elapsed_ns >> 13);
    }
}
