/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_judge: one answer or failure -> role, freshness, lag gate, breaker. One log line a
 * transition.
 */
#include "proxy_probe_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proxy_log.h"
#include "proxy_state.h"

/* Early re-probes of a replica that has not replayed the newest mark. */
#define BACKOFF_FIRST_NS (5 * PROBE_MS)
#define BACKOFF_LAST_NS (50 * PROBE_MS)
/* How long a worker's wish for fresher evidence is remembered. */
#define WISH_NS (1000 * PROBE_MS)

#define OTHER_CLUSTER "another database cluster than the shard's (system identifier)"

static const char *node_name(const struct supervisor *s, uint32_t node)
{
    return s->proxy->config->nodes[node].name;
}

uint64_t probes_lag_ns(const struct node_state *n, uint64_t now_ns)
{
    if (n->role == ROUTER_ROLE_PRIMARY)
        return 0;
    if (n->fresh_as_of_ns == 0)
        return UINT64_MAX;
    return now_ns > n->fresh_as_of_ns ? now_ns - n->fresh_as_of_ns : 0;
}

/* ---- breaker ---- */

/* `error` is what was met last: by the probes, or nothing where only clients met it, who have lines
 * of their own. */
static void say_moved(const struct node_state *n, const char *name, enum breaker_state from,
                      enum breaker_state to)
{
    const char *reason = breaker_reason_text((enum breaker_reason)n->breaker.reason);
    const char *forced = n->breaker.override != BREAKER_AUTO ? "yes" : "no";
    const char *flapping = n->breaker.flapping ? "yes" : "no";
    if (to == BREAKER_OPEN)
        log_warning("breaker",
                    "node=%s from=%s to=%s reason=\"%s\" generation=%u override=%s flapping=%s "
                    "error=\"%s\"",
                    name, breaker_state_text(from), breaker_state_text(to), reason,
                    n->breaker.generation, forced, flapping,
                    n->last_error[0] != '\0' ? n->last_error : "met by clients");
    else
        log_info("breaker",
                 "node=%s from=%s to=%s reason=\"%s\" generation=%u override=%s flapping=%s", name,
                 breaker_state_text(from), breaker_state_text(to), reason, n->breaker.generation,
                 forced, flapping);
}

bool probe_step(struct supervisor *s, uint32_t node, enum breaker_input input,
                enum breaker_reason reason, uint32_t generation)
{
    struct node_state *n = &s->nodes[node];
    struct breaker_config config;
    const enum breaker_state from = (enum breaker_state)n->breaker.state;

    probe_breaker_config(s, node, &config);
    const uint32_t expired = n->breaker.leases_expired;
    const bool moved =
        breaker_step(&n->breaker, &config, input, reason, generation, probe_random(s), uv_hrtime());
    /* a statement runs for long, or the node does not get on with it: a page will tell */
    if (n->breaker.leases_expired > expired)
        witness_want(s, node, true);
    if (!moved)
        return false;
    const enum breaker_state to = (enum breaker_state)n->breaker.state;
    say_moved(n, node_name(s, node), from, to);
    return true;
}

/* Our own probes pass: once an interval, so that frequent early probes neither hide the failures
 * that clients meet in between nor make a trial of two probes too short. */
static bool step_success(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    const uint64_t interval_ns = s->proxy->config->probe.interval_ns;

    if (n->breaker.admitted && now_ns - n->probe->success_ns < interval_ns - interval_ns / 4)
        return false;
    /* It answers questions and cannot write a page: not for a replica, of which there are others.
     */
    if (n->role == ROUTER_ROLE_REPLICA && n->probe->witness.is_page_bad)
        return false;
    n->probe->success_ns = now_ns;
    return probe_step(s, node, BREAKER_PROBE_SUCCESS, BREAKER_REASON_NONE, n->breaker.generation);
}

/* ---- voiding ---- */

bool probe_void(struct supervisor *s, uint32_t node, const char *why)
{
    struct node_state *n = &s->nodes[node];
    const bool was_known = n->fresh_as_of_ns != 0;

    evidence_void(&n->probe->evidence);
    n->fresh_as_of_ns = n->evidence_ns = 0;
    n->probe->early_ns = PROBE_NEVER;
    if (!was_known)
        return false;
    n->voided++;
    if (n->role == ROUTER_ROLE_REPLICA)
        log_info("evidence_void", "node=%s why=\"%s\"", node_name(s, node), why);
    return true;
}

/* The primary's history has ended: what replicas had replayed of it says nothing of the next. */
static void end_history(struct supervisor *s, struct probe_shard *shard, const char *system,
                        uint32_t timeline)
{
    marks_reset(&shard->marks, system, timeline);
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        struct node_state *n = &s->nodes[i];
        if (probe_shard_of(s, i) != shard || n->role != ROUTER_ROLE_REPLICA)
            continue;
        n->probe->evidence.fresh_as_of_ns = n->probe->evidence.evidence_ns = 0;
        if (n->fresh_as_of_ns != 0)
            n->voided++;
        n->fresh_as_of_ns = n->evidence_ns = 0;
    }
}

/* ---- roles ---- */

static bool set_role(struct supervisor *s, uint32_t node, enum router_role role)
{
    static const char *const texts[] = {"unknown", "primary", "replica"};
    struct node_state *n = &s->nodes[node];

    if (n->role == role)
        return false;
    log_info("role", "node=%s from=%s to=%s timeline=%u", node_name(s, node), texts[n->role],
             texts[role], n->timeline);
    n->role = role;
    n->gate = (struct breaker_gate){.reason = BREAKER_GATE_OPEN};
    n->lag_hard = false;
    n->fresh_as_of_ns = n->evidence_ns = 0;
    return true;
}

/* Not what we may use it for: no role, and an open breaker until that changes. */
static bool fence(struct supervisor *s, uint32_t node, const char *why)
{
    struct node_state *n = &s->nodes[node];
    bool changed = set_role(s, node, ROUTER_ROLE_UNKNOWN);

    if (!n->probe->is_fenced)
        log_error("fenced", "node=%s timeline=%u why=\"%s\"", node_name(s, node), n->timeline, why);
    n->probe->is_fenced = true;
    snprintf(n->last_error, sizeof(n->last_error), "fenced: %s", why);
    changed |= probe_void(s, node, why);
    changed |= probe_step(s, node, BREAKER_FATAL, BREAKER_REASON_ROLE, n->breaker.generation);
    return changed;
}

static bool unfence(struct supervisor *s, uint32_t node)
{
    struct probe *p = s->nodes[node].probe;
    if (!p->is_fenced)
        return false;
    p->is_fenced = false;
    log_info("unfenced", "node=%s", node_name(s, node));
    return true;
}

static const char *configured_role_refuses(const struct supervisor *s, uint32_t node,
                                           const struct evidence *e)
{
    const int role = s->proxy->config->nodes[node].role;
    if (role == CONFIG_ROLE_PRIMARY && e->in_recovery)
        return "configured as the primary, but in recovery";
    if (role == CONFIG_ROLE_REPLICA && !e->in_recovery)
        return "configured as a replica, but not in recovery";
    return NULL;
}

static bool is_other_cluster(const struct probe_shard *shard, const struct evidence *e)
{
    return !marks_fits(&shard->marks, e->system_identifier, 0);
}

/* A node that answers and belongs to the history that we know. */
static bool has_members(const struct supervisor *s, const struct probe_shard *shard)
{
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const struct node_state *n = &s->nodes[i];
        if (probe_shard_of(s, i) == shard && n->role != ROUTER_ROLE_UNKNOWN &&
            !n->probe->is_failing && !is_other_cluster(shard, &n->probe->evidence))
            return true;
    }
    return false;
}

/* An earlier run of the proxy has seen a later primary of this cluster. */
static bool is_older_than_remembered(const struct probe_shard *shard, const struct evidence *e)
{
    const bool same = shard->remembered_system[0] == '\0' || e->system_identifier[0] == '\0' ||
                      strcmp(shard->remembered_system, e->system_identifier) == 0;
    return same && e->timeline < shard->remembered_timeline;
}

/* What the others know may be newer than what a sole primary says of itself. Only where an earlier
 * run has known the shard: who starts for the first time believes what is there. */
static bool must_wait(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct probe_shard *shard = probe_shard_of(s, node);
    const uint64_t wait_ns = s->proxy->config->switchgear.role_wait_ns;
    bool all = true;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        all = all && (probe_shard_of(s, i) != shard || s->nodes[i].probed_ns != 0);
    if (all || shard->timeline != 0 || shard->remembered_timeline == 0 ||
        now_ns - shard->since_ns >= wait_ns)
        return false;
    if (!shard->has_waited)
        log_warning("role_wait",
                    "node=%s wait_ms=%llu why=\"not all nodes of its shard have answered since the "
                    "start, and one of them may have been promoted\"",
                    node_name(s, node), (unsigned long long)(wait_ns / PROBE_MS));
    shard->has_waited = true;
    return true;
}

/* For the next run. */
static void remember(struct supervisor *s, struct probe_shard *shard, const struct evidence *e)
{
    const bool same = strcmp(shard->remembered_system, e->system_identifier) == 0;
    if (same && shard->remembered_timeline == e->timeline)
        return;
    shard->remembered_timeline = e->timeline;
    memcpy(shard->remembered_system, e->system_identifier, sizeof(shard->remembered_system));
    state_save(s);
}

/* Two nodes out of recovery: the higher timeline wins, with equal ones whoever was first. A cluster
 * that was built anew is taken for the shard's when nobody of the old one answers any more. */
static const char *why_not_primary(const struct supervisor *s, uint32_t node,
                                   const struct evidence *e)
{
    const struct probe_shard *shard = probe_shard_of(s, node);

    if (shard->primary == node)
        return NULL;
    if (is_older_than_remembered(shard, e))
        return "a primary of an older timeline than the last one (state_file); FORGET CLUSTER, if "
               "it is to be believed";
    if (is_other_cluster(shard, e))
        return has_members(s, shard) ? OTHER_CLUSTER : NULL;
    if (e->timeline < shard->timeline)
        return "a primary of an older timeline";
    if (shard->primary != ROUTER_NODE_NONE && e->timeline == shard->timeline)
        return "a second primary on the same timeline";
    return NULL;
}

static bool become_primary(struct supervisor *s, uint32_t node, const struct evidence *e)
{
    struct probe_shard *shard = probe_shard_of(s, node);
    const uint8_t former = shard->primary;
    const bool is_rebuilt = is_other_cluster(shard, e);
    bool changed = unfence(s, node);

    if (former != node && former != ROUTER_NODE_NONE) {
        shard->primary = ROUTER_NODE_NONE;
        changed |= fence(s, former, "another node is the primary now");
    }
    if (is_rebuilt)
        shard->has_promoted = false;
    else if (shard->timeline != 0 && e->timeline > shard->timeline)
        shard->has_promoted = true;
    shard->primary = (uint8_t)node;
    shard->timeline = e->timeline;
    changed |= set_role(s, node, ROUTER_ROLE_PRIMARY);
    if (former != node || is_rebuilt || shard->marks.timeline != e->timeline) {
        end_history(s, shard, e->system_identifier, e->timeline);
        changed = true;
    }
    return changed;
}

static bool become_replica(struct supervisor *s, uint32_t node)
{
    struct probe_shard *shard = probe_shard_of(s, node);
    bool changed = unfence(s, node);

    if (shard->primary == node) {
        shard->primary = ROUTER_NODE_NONE;
        end_history(s, shard, shard->marks.system_identifier, 0);
    }
    changed |= set_role(s, node, ROUTER_ROLE_REPLICA);
    return changed;
}

/* ---- replicas ---- */

/* Each read has its database's own bound besides: the gate takes the widest one. */
static uint64_t widest_max_lag_ns(const struct config *c, uint32_t shard)
{
    uint64_t widest = 0;
    for (uint32_t i = 0; i < c->databases_count; i++) {
        if (c->databases[i].shard_first != shard)
            continue;
        if (c->databases[i].max_lag_ns == 0)
            return 0;
        if (c->databases[i].max_lag_ns > widest)
            widest = c->databases[i].max_lag_ns;
    }
    return widest;
}

bool probe_primary_is_alive(const struct supervisor *s, const struct probe_shard *shard)
{
    return shard->primary != ROUTER_NODE_NONE && !s->nodes[shard->primary].probe->is_failing;
}

static bool step_gate(struct supervisor *s, uint32_t node, bool same_history, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    const struct config *c = s->proxy->config;
    const struct probe_shard *shard = probe_shard_of(s, node);
    const struct breaker_gate_config config = {
        .max_lag_ns = widest_max_lag_ns(c, c->nodes[node].shard_index),
        .lag_hard_ns = c->breaker.lag_hard_ns,
    };
    /* Without a primary there is nothing to receive: then the lag alone counts. */
    const struct breaker_gate_sample sample = {
        .lag_ns = n->stands_ns != 0 ? 0 : probes_lag_ns(n, now_ns),
        .replay_paused = n->replay_paused,
        .receiver_down = !n->receiver_up && probe_primary_is_alive(s, shard),
        .wrong_timeline = !same_history,
    };
    if (!breaker_gate_step(&n->gate, &config, &sample))
        return false;
    log_info("gate", "node=%s reason=\"%s\" lag_ms=%lld", node_name(s, node),
             breaker_gate_text((enum breaker_gate_reason)n->gate.reason),
             sample.lag_ns == UINT64_MAX ? -1LL : (long long)(sample.lag_ns / PROBE_MS));
    return true;
}

bool probe_age(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    const uint64_t limit_ns = s->proxy->config->breaker.lag_hard_ns;
    const uint64_t lag_ns = probes_lag_ns(n, now_ns);
    const bool hard = n->role == ROUTER_ROLE_REPLICA && limit_ns > 0 && n->stands_ns == 0 &&
                      lag_ns != UINT64_MAX && lag_ns > limit_ns;
    if (hard == n->lag_hard)
        return false;
    n->lag_hard = hard;
    log_info("lag_hard", "node=%s above=%s", node_name(s, node), hard ? "yes" : "no");
    return true;
}

/* Behind the newest mark while somebody waits: look again soon. */
static void look_again(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    const struct probe_shard *shard = probe_shard_of(s, node);
    struct probe *p = s->nodes[node].probe;

    if (p->evidence.lsn >= marks_newest_lsn(&shard->marks)) {
        p->backoff_ns = 0;
        return;
    }
    if (!shard->is_waited_for || now_ns - shard->wanted_ns > WISH_NS)
        return;
    p->backoff_ns = p->backoff_ns == 0 ? BACKOFF_FIRST_NS : p->backoff_ns * 2;
    if (p->backoff_ns > BACKOFF_LAST_NS)
        p->backoff_ns = BACKOFF_LAST_NS;
    probe_soon(p, now_ns + p->backoff_ns, false);
}

static bool replica_answered(struct supervisor *s, uint32_t node,
                             const struct evidence_answer *answer, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    struct probe_shard *shard = probe_shard_of(s, node);
    struct evidence *e = &n->probe->evidence;

    /* A node that may not tell its timeline has no proof that it followed a promotion. */
    const bool is_provable = e->timeline != 0 || !shard->has_promoted;
    const bool same_history =
        is_provable && evidence_refresh(e, &shard->marks, n->probe->link.sent_ns);
    const uint64_t primary_lsn = marks_newest_lsn(&shard->marks);

    n->fresh_as_of_ns = e->fresh_as_of_ns;
    n->evidence_ns = e->evidence_ns;
    n->lag_bytes = primary_lsn > e->lsn ? primary_lsn - e->lsn : 0;
    if (answer->is_full) {
        n->receiver_up = answer->receiver_up;
        n->replay_paused = answer->replay_paused;
        n->received_lsn = answer->received_lsn;
    }
    bool changed = probe_gone_look(s, node, now_ns);
    changed |= probe_age(s, node, now_ns);
    if (answer->is_full) {
        changed |= step_gate(s, node, same_history, now_ns);
    }
    look_again(s, node, now_ns);
    return changed;
}

/* ---- the primary ---- */

static void primary_answered(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    struct probe_shard *shard = probe_shard_of(s, node);
    struct probe *p = n->probe;

    marks_add(&shard->marks, p->link.sent_ns, p->evidence.lsn);
    n->fresh_as_of_ns = n->evidence_ns = p->link.sent_ns;
    n->lag_bytes = 0;
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        if (probe_shard_of(s, i) == shard && s->nodes[i].role == ROUTER_ROLE_REPLICA)
            probe_soon(s->nodes[i].probe, now_ns, false);
    }
}

/* ---- answers ---- */

/* A name or an address may lead to another server now, or this one was started again. Connections
 * to the former one may live on. */
static void look_who_answers(struct supervisor *s, uint32_t node, const struct evidence *e)
{
    const struct node_state *n = &s->nodes[node];
    struct shared_node *shared = &s->proxy->nodes[node];
    if (!evidence_differs(n->postmaster_start, e->postmaster_start) &&
        !evidence_differs(n->system_identifier, e->system_identifier))
        return;
    log_info("server_changed", "node=%s started=%s before=%s", s->proxy->node_names[node],
             e->postmaster_start, n->postmaster_start);
    shared_set(&shared->left_ns, n->answered_ns);
    shared_set(&shared->renewed_ns, n->probe->link.sent_ns);
    workers_wake(s->proxy);
}

static bool accept_answer(struct supervisor *s, uint32_t node, const struct evidence_answer *answer,
                          uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    struct probe_shard *shard = probe_shard_of(s, node);
    const struct evidence *e = &n->probe->evidence;

    look_who_answers(s, node, e);
    n->answered_ns = n->probe->link.sent_ns;
    n->lsn = e->lsn;
    n->timeline = e->timeline;
    memcpy(n->system_identifier, e->system_identifier, sizeof(e->system_identifier));
    memcpy(n->postmaster_start, e->postmaster_start, sizeof(e->postmaster_start));

    const char *refusal = configured_role_refuses(s, node, e);
    if (refusal == NULL && e->in_recovery && is_other_cluster(shard, e))
        refusal = OTHER_CLUSTER;
    if (refusal == NULL && !e->in_recovery)
        refusal = why_not_primary(s, node, e);
    if (refusal != NULL) {
        if (shard->primary == node)
            shard->primary = ROUTER_NODE_NONE;
        return fence(s, node, refusal);
    }
    bool changed;
    if (e->in_recovery) {
        changed = become_replica(s, node);
        changed |= replica_answered(s, node, answer, now_ns);
    } else {
        if (must_wait(s, node, now_ns))
            return false;
        changed = become_primary(s, node, e);
        remember(s, shard, e);
        changed |= probe_gone_over(s, shard, now_ns);
        primary_answered(s, node, now_ns);
    }
    n->last_error[0] = '\0';
    return changed | step_success(s, node, now_ns);
}

/* Wakes workers for freshness alone only when one of them has asked for it. */
static bool satisfies_wish(struct supervisor *s, uint32_t node)
{
    struct probe_shard *shard = probe_shard_of(s, node);
    const struct node_state *n = &s->nodes[node];

    if (!shard->is_waited_for || n->role != ROUTER_ROLE_REPLICA ||
        n->fresh_as_of_ns < shard->wanted_ns)
        return false;
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        if (probe_shard_of(s, i) == shard && s->nodes[i].role == ROUTER_ROLE_REPLICA &&
            s->nodes[i].fresh_as_of_ns < shard->wanted_ns)
            return true; /* the others are still looked for */
    }
    shard->is_waited_for = false;
    return true;
}

void probe_judge_answer(struct supervisor *s, uint32_t node, const struct evidence_answer *answer)
{
    struct node_state *n = &s->nodes[node];
    struct probe *p = n->probe;
    const uint64_t now_ns = uv_hrtime();
    const uint64_t fresh_before_ns = n->fresh_as_of_ns;
    const uint64_t evidence_before_ns = n->evidence_ns;

    n->probes++;
    n->probed_ns = now_ns;
    p->refusals = 0;
    if (p->is_failing)
        log_info("probe", "node=%s ok=yes", node_name(s, node));
    p->is_failing = false;
    probe_late_over(p);

    if (!p->evidence.is_known && !answer->is_full) {
        p->due_ns = now_ns; /* voided while it was on its way: only a full one says who answers */
        return;
    }
    const enum evidence_finding finding = evidence_take(&p->evidence, answer);
    if (finding != EVIDENCE_GOOD) {
        /* Another incarnation or history answers: whatever we believed has to be seen anew. */
        const bool changed = probe_void(s, node, evidence_finding_text(finding));
        link_close(&p->link);
        p->due_ns = now_ns;
        if (changed)
            probes_publish(s, false);
        return;
    }
    const bool changed = accept_answer(s, node, answer, now_ns);
    const bool fresher = n->role == ROUTER_ROLE_REPLICA &&
                         (n->fresh_as_of_ns != fresh_before_ns ||
                          n->evidence_ns != evidence_before_ns || n->stands_ns != 0);
    if (changed || fresher) {
        const bool wake = satisfies_wish(s, node);
        probes_publish(s, changed);
        if (wake && !changed)
            workers_wake(s->proxy);
    }
}
