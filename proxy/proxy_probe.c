/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe: when to ask which node what.
 *
 * Happy path: a round begins with a question to a shard's primary; its answer makes a mark, and the
 * replicas are asked at once whether they have replayed it. Rounds come at freshness_interval, and
 * early when a worker wants fresher evidence. Every node gets a full question each interval.
 * Failure modes: a probe that takes too long is closed and counts; the rest is judged elsewhere.
 */
#include "proxy_probe_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_log.h"
#include "proxy_state.h"

/* At most one early question to a node in this time. */
#define EARLY_NS (5 * PROBE_MS)
/* Between full questions where no primary answers: writes wait for one. */
#define SEARCH_NS (100 * PROBE_MS)
/* ... and between new connections there. */
#define ANEW_NS (500 * PROBE_MS)
/* Untaken permits are looked at this often (proxy_probe_publish.c). */
#define TRIAL_NS (50 * PROBE_MS)
/* A breaker whose deadline has passed without effect is not stepped in a tight loop. */
#define TICK_NS (10 * PROBE_MS)

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* SplitMix64. */
uint64_t probe_random(struct supervisor *s)
{
    uint64_t z = s->probes->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void probe_soon(struct probe *p, uint64_t at_ns, bool full)
{
    p->early_ns = earlier(p->early_ns, at_ns);
    p->early_full = p->early_full || full;
}

/* ---- asking ---- */

/* Some worker wants fresher evidence, of whichever shard. */
static void remember_wish(struct supervisor *s, uint64_t now_ns)
{
    for (uint32_t i = 0; i < s->proxy->config->shards_count; i++) {
        struct probe_shard *shard = &s->probes->shards[i];
        shard->is_wanted = shard->is_waited_for = true;
        shard->wanted_ns = now_ns;
    }
}

static void ask(struct supervisor *s, uint32_t node, bool full, uint64_t now_ns)
{
    const struct config *c = s->proxy->config;
    struct probe *p = s->nodes[node].probe;
    struct probe_shard *shard = probe_shard_of(s, node);
    const uint64_t interval_ns = probe_primary_is_alive(s, shard)
                                     ? c->probe.interval_ns
                                     : earlier(c->probe.interval_ns, SEARCH_NS);

    p->early_ns = PROBE_NEVER;
    p->early_full = false;
    /* An address may lead elsewhere by now (a service, a name, a virtual address), and a connection
     * that was made stays where it led. So while a primary is looked for, new ones look. */
    if (!probe_primary_is_alive(s, shard) && p->link.state == LINK_IDLE &&
        now_ns - p->anew_ns >= ANEW_NS)
        link_close(&p->link);
    if (p->link.state == LINK_CLOSED)
        p->anew_ns = now_ns;
    /* A full question that is due soon goes along with a round: no two in a row. */
    full = full || p->link.state == LINK_CLOSED || !p->evidence.is_known ||
           now_ns + interval_ns / 2 >= p->due_ns;
    if (full)
        p->due_ns = now_ns + interval_ns + interval_ns / 8;
    if (shard->primary == node) {
        /* First the flag, then the time (in link_ask): whoever raises it from here on asks anew. */
        if (ck_pr_fas_64(&s->proxy->probe_wanted, 0) != 0)
            remember_wish(s, now_ns);
        shard->is_wanted = false;
        shard->primary_asked_ns = now_ns;
        shard->round_due_ns = now_ns + c->probe.freshness_interval_ns;
    }
    p->slept_ns = s->probes->slept_ns;
    link_ask(&p->link, c, &c->nodes[node], full);
}

static void on_answer(struct link *l, const struct evidence_answer *answer)
{
    struct probe *p = l->owner;
    struct supervisor *s = p->s;
    const uint32_t node = (uint32_t)(p - s->probes->nodes);

    probe_judge_answer(s, node, answer);
    probe_schedule(s);
}

static void on_failed(struct link *l, const struct link_failure *failure)
{
    struct probe *p = l->owner;
    struct supervisor *s = p->s;
    const uint32_t node = (uint32_t)(p - s->probes->nodes);

    probe_judge_failure(s, node, failure);
    probe_schedule(s);
}

/* ---- the schedule ---- */

static bool is_busy(const struct link *l)
{
    return l->state != LINK_CLOSED && l->state != LINK_IDLE;
}

/* The round of a shard: asks its primary when that is due. Returns when to look again. */
static uint64_t schedule_shard(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns)
{
    if (shard->primary == ROUTER_NODE_NONE)
        return PROBE_NEVER;
    const struct probe *p = s->nodes[shard->primary].probe;
    if (p->link.state != LINK_IDLE) /* its answer, or its end, comes here again */
        return PROBE_NEVER;
    uint64_t due_ns = shard->round_due_ns;
    if (shard->is_wanted)
        due_ns = earlier(due_ns, shard->primary_asked_ns + EARLY_NS);
    if (due_ns > now_ns)
        return due_ns;
    ask(s, shard->primary, false, now_ns);
    return PROBE_NEVER;
}

static uint64_t schedule_busy(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct probe *p = s->nodes[node].probe;
    /* A node that answers clients is alive, however long it lets a probe wait. Its evidence ages
     * meanwhile; once that keeps clients away, the probe's own time counts. */
    const uint64_t served_ns = s->nodes[node].served_ns;
    const uint64_t alive_ns = p->link.asked_ns > served_ns ? p->link.asked_ns : served_ns;
    const uint64_t since_ns = alive_ns + (s->probes->slept_ns - p->slept_ns);
    const uint64_t deadline_ns = since_ns + probe_timeout_ns(s, p);
    const uint64_t witness_ns = probe_late_witness(s, node, since_ns, now_ns);
    if (now_ns < deadline_ns)
        return earlier(deadline_ns, witness_ns);
    if (!link_has_answer(&p->link)) /* else the loop is about to read it */
        link_time_out(&p->link);
    return earlier(p->due_ns, now_ns + TICK_NS);
}

static uint64_t schedule_node(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct probe *p = s->nodes[node].probe;

    if (is_busy(&p->link))
        return schedule_busy(s, node, now_ns);
    /* A closed link waits for its turn: an early question would be a storm of connections. */
    const bool is_early = p->early_ns <= now_ns && p->link.state == LINK_IDLE;
    if (is_early || p->due_ns <= now_ns) {
        ask(s, node, p->due_ns <= now_ns || p->early_full, now_ns);
        return p->link.asked_ns + probe_timeout_ns(s, p);
    }
    return p->link.state == LINK_IDLE ? earlier(p->early_ns, p->due_ns) : p->due_ns;
}

/* What time alone changes. */
static uint64_t schedule_breaker(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    struct breaker_config config;
    bool changed = probe_age(s, node, now_ns);

    probe_breaker_config(s, node, &config);
    uint64_t next_ns = breaker_deadline_ns(&n->breaker, &config);
    if (next_ns <= now_ns) {
        changed |= probe_suspect(s, node, BREAKER_TICK, BREAKER_REASON_NONE, n->breaker.generation);
        next_ns = breaker_deadline_ns(&n->breaker, &config);
        if (next_ns <= now_ns)
            next_ns = now_ns + TICK_NS;
    }
    if (breaker_effective(&n->breaker) == BREAKER_HALF_OPEN) {
        changed |= probe_permits_sync(s, node, now_ns);
        next_ns = earlier(next_ns, now_ns + TRIAL_NS);
    }
    if (changed)
        probes_publish(s, true);
    return next_ns;
}

static void on_timer(uv_timer_t *timer)
{
    probe_schedule(timer->data);
}

void probe_schedule(struct supervisor *s)
{
    struct probes *ps = s->probes;

    /* Failures can come from inside link_ask(): one run at a time, and another one after it. */
    if (ps == NULL || ps->is_stopping)
        return;
    if (ps->is_running) {
        ps->runs_again = true;
        return;
    }
    ps->is_running = true;
    ps->runs_again = false;
    const uint64_t now_ns = uv_hrtime();
    if (now_ns > ps->planned_ns + TICK_NS) /* on a machine that has no time for us */
        ps->slept_ns += now_ns - ps->planned_ns;
    uint64_t next_ns = PROBE_NEVER;
    for (uint32_t i = 0; i < s->proxy->config->shards_count; i++)
        next_ns = earlier(next_ns, schedule_shard(s, &ps->shards[i], now_ns));
    for (uint32_t i = 0; i < s->nodes_count; i++)
        next_ns = earlier(next_ns, schedule_node(s, i, now_ns));
    for (uint32_t i = 0; i < s->nodes_count; i++)
        next_ns = earlier(next_ns, witness_schedule(s, i, now_ns));
    for (uint32_t i = 0; i < s->nodes_count; i++)
        next_ns = earlier(next_ns, schedule_breaker(s, i, now_ns));
    ps->is_running = false;

    uint64_t wait_ms = 0;
    const uint64_t then_ns = uv_hrtime();
    if (!ps->runs_again && next_ns > then_ns)
        wait_ms = earlier((next_ns - then_ns + PROBE_MS - 1) / PROBE_MS, 1000);
    ps->planned_ns = then_ns + wait_ms * PROBE_MS;
    uv_update_time(s->loop);
    uv_timer_start(&ps->timer, on_timer, wait_ms, 0);
}

/* ---- public ---- */

void probes_wanted(struct supervisor *s, uint8_t node)
{
    const uint64_t now_ns = uv_hrtime();

    if (s->probes == NULL)
        return;
    if (node != ROUTER_NODE_NONE) {
        assert(node < s->nodes_count);
        struct probe *p = s->nodes[node].probe;
        const uint64_t at_ns = p->link.asked_ns + EARLY_NS;
        probe_soon(p, at_ns > now_ns ? at_ns : now_ns, true);
    } else {
        remember_wish(s, now_ns);
    }
    probe_schedule(s);
}

void probes_outcome(struct supervisor *s, const struct outcome_record *record)
{
    static const uint8_t columns[] = {
        [BREAKER_SUCCESS] = 0, [BREAKER_NEUTRAL] = 1,       [BREAKER_FAILURE] = 2,
        [BREAKER_FATAL] = 3,   [BREAKER_PROBE_SUCCESS] = 0, [BREAKER_PROBE_FAILURE] = 2,
        [BREAKER_TICK] = 1,    [BREAKER_HALF_FAILURE] = 2,
    };
    if (record->node >= s->nodes_count) /* a reload has taken the node away meanwhile */
        return;
    if (record->late) {
        probe_late(s, record->node);
        probe_schedule(s);
        return;
    }
    struct node_state *n = &s->nodes[record->node];
    assert(record->input < sizeof(columns));
    const enum breaker_input input = witness_take(s, record->node, record, uv_hrtime());
    n->faults[columns[input]]++;
    if (record->input == BREAKER_SUCCESS && record->at_ns > n->served_ns)
        n->served_ns = record->at_ns;

    if (record->permit && record->generation == n->breaker.generation) {
        (void)probe_permits_sync(s, record->node, uv_hrtime()); /* the lease exists, then it ends */
        breaker_permit_release(&n->breaker);
    }
    const bool changed = probe_suspect(s, record->node, input, (enum breaker_reason)record->reason,
                                       record->generation);
    if (changed)
        probes_publish(s, true);
    else if (record->permit && probe_permits_sync(s, record->node, uv_hrtime()))
        probes_publish(s, true);
    if (record->probe_now)
        witness_want(s, record->node, record->page);
    if (record->probe_now)
        probes_wanted(s, record->node);
    else if (changed)
        probe_schedule(s); /* its deadlines are others now */
}

/* ---- start, reload, stop ---- */

/* Its nodes are others now: it is learnt anew, but for what earlier runs have seen. */
static void probe_shard_restart(struct probe_shard *shard)
{
    const struct probe_shard former = *shard;
    *shard = (struct probe_shard){.primary = ROUTER_NODE_NONE,
                                  .alive_ns = uv_hrtime(),
                                  .since_ns = former.since_ns,
                                  .has_waited = former.has_waited,
                                  .remembered_timeline = former.remembered_timeline};
    memcpy(shard->remembered_system, former.remembered_system, sizeof(shard->remembered_system));
}

bool probes_forget(struct supervisor *s, const char *name, char *error)
{
    const struct config *c = s->proxy->config;
    for (uint32_t i = 0; s->probes != NULL && i < c->shards_count; i++) {
        struct probe_shard *shard = &s->probes->shards[i];
        if (strcmp(c->shards[i], name) != 0)
            continue;
        if (probe_primary_is_alive(s, shard)) {
            (void)snprintf(error, 256, "shard \"%.100s\" has a primary that answers", name);
            return false;
        }
        shard->remembered_timeline = 0;
        probe_shard_restart(shard);
        log_warning("forgotten", "shard=%s", name);
        state_save(s);
        for (uint32_t n = 0; n < s->nodes_count; n++)
            s->nodes[n].probe->due_ns = uv_hrtime();
        probe_schedule(s);
        return true;
    }
    (void)snprintf(error, 256, "there is no shard \"%.100s\": see SHOW NODES", name);
    return false;
}

/* What a node's link depends on, as one text. NULL: no memory. */
static char *target_of(const struct config *c, uint32_t node)
{
    const struct config_node *n = &c->nodes[node];
    char *text = NULL;
    if (asprintf(&text, "%s|%u|%s|%llu|%d|%s|%s|%s|%s", n->name, n->shard_index, n->host,
                 (unsigned long long)n->port, n->role, n->options, c->probe.user, c->probe.password,
                 c->probe.dbname) < 0)
        return NULL;
    return text;
}

static void node_init(struct supervisor *s, uint32_t i, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[i];
    struct probe *p = &s->probes->nodes[i];

    *n = (struct node_state){.role = ROUTER_ROLE_UNKNOWN, .probe = p};
    breaker_init(&n->breaker, now_ns);
    *p = (struct probe){.s = s, .due_ns = now_ns, .early_ns = PROBE_NEVER};
    p->target = target_of(s->proxy->config, i);
    link_init(&p->link, s->loop, p);
    p->link.on_answer = on_answer;
    p->link.on_failed = on_failed;
    witness_init(s, p);
}

static void node_deinit(struct supervisor *s, uint32_t i)
{
    struct probe *p = s->nodes[i].probe;

    link_close(&p->link);
    link_close(&p->witness.link);
    free(p->target);
    p->target = NULL;
    s->nodes[i].probe = NULL;
    ck_pr_store_64(&s->proxy->nodes[i].permits, 0);
    for (uint32_t k = 0; k < CONFIG_SHARDS_MAX; k++) {
        struct probe_shard *shard = &s->probes->shards[k];
        if (shard->primary == i) /* the shard is learnt anew */
            probe_shard_restart(shard);
    }
}

int probes_start(struct supervisor *s)
{
    struct probes *ps = calloc(1, sizeof(*ps));
    if (ps == NULL)
        return UV_ENOMEM;
    ps->s = s;
    ps->random = ps->planned_ns = uv_hrtime();
    const int r = uv_timer_init(s->loop, &ps->timer);
    if (r != 0) {
        free(ps);
        return r;
    }
    ps->timer.data = s;
    for (uint32_t i = 0; i < CONFIG_SHARDS_MAX; i++) {
        ps->shards[i].primary = ROUTER_NODE_NONE;
        ps->shards[i].alive_ns = ps->shards[i].since_ns = uv_hrtime();
    }
    s->probes = ps;
    s->nodes_count = s->proxy->config->nodes_count;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        node_init(s, i, uv_hrtime());
    probes_publish(s, true);
    probe_schedule(s);
    return 0;
}

void probes_config_changed(struct supervisor *s)
{
    const struct config *c = s->proxy->config;
    const uint32_t before = s->nodes_count;
    const uint64_t now_ns = uv_hrtime();

    for (uint32_t i = c->nodes_count; i < before; i++)
        node_deinit(s, i);
    s->nodes_count = c->nodes_count;
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        struct probe *p = &s->probes->nodes[i];
        char *target = target_of(c, i);
        const bool is_same =
            i < before && target != NULL && p->target != NULL && strcmp(target, p->target) == 0;
        free(target);
        if (!is_same) {
            if (i < before)
                node_deinit(s, i);
            node_init(s, i, now_ns);
            continue;
        }
        if (p->link.state != LINK_CLOSED && p->link.state != LINK_IDLE &&
            p->link.state != LINK_ASKED) { /* it is reading the old config */
            link_close(&p->link);
            p->due_ns = now_ns;
        }
        p->link.node = &c->nodes[i];
        p->link.config = c;
        witness_restart(p);
    }
    probes_publish(s, true);
    probe_schedule(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct supervisor *s = handle->data;
    free(s->probes);
    s->probes = NULL;
}

void probes_stop(struct supervisor *s)
{
    if (s->probes == NULL || s->probes->is_stopping)
        return;
    s->probes->is_stopping = true;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        node_deinit(s, i);
    uv_close((uv_handle_t *)&s->probes->timer, on_timer_closed);
}
