/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_witness: what one client may have made itself decides nothing alone. Suspicions are
 * counted until several users share them, and each asks for a second look at the node: a probe on a
 * new connection, at once, that writes and reads a page where the disk is in question.
 *
 * Happy path: an input that would open the primary is withheld, the witness answers, and the input
 * is forgotten.
 * Failure modes: the witness fails: the input takes its effect, or the failure does by itself.
 */
#include "proxy_probe_internal.h"

#include <assert.h>
#include <stdio.h>

#include "proxy_log.h"

/* At most one look in this time, and one page. Each that finds all well doubles its pause, up to
 * the maximum: a client that asks for looks all the time does not load the node with them. One line
 * in the log for what clients are told. */
#define LOOK_NS (100 * PROBE_MS)
#define LOOK_MAX_NS (5000 * PROBE_MS)
#define PAGE_NS (1000 * PROBE_MS)
#define PAGE_MAX_NS (10000 * PROBE_MS)
#define ALERT_NS (10000 * PROBE_MS)

static uint32_t index_of(const struct supervisor *s, const struct probe *p)
{
    return (uint32_t)(p - s->probes->nodes);
}

/* The pause that follows: it grows while looks find all well, until nobody has asked for one. */
static uint64_t pause_after(const struct probe_pause *p, uint64_t least_ns, uint64_t most_ns,
                            uint64_t now_ns)
{
    if (p->ns < least_ns || now_ns - p->until_ns > p->ns)
        return least_ns;
    return p->ns < most_ns / 2 ? p->ns * 2 : most_ns;
}

static void pause_begin(struct probe_pause *p, uint64_t least_ns, uint64_t most_ns, uint64_t now_ns)
{
    p->ns = pause_after(p, least_ns, most_ns, now_ns);
    p->until_ns = now_ns + p->ns;
}

static void pause_cut(struct probe_pause *p, uint64_t least_ns)
{
    if (p->ns > least_ns)
        p->until_ns = p->until_ns - p->ns + least_ns;
    p->ns = 0;
}

/* Something depends on the next look. */
static void hurry(struct probe_witness *w)
{
    pause_cut(&w->look, LOOK_NS);
}

void witness_want(struct supervisor *s, uint32_t node, bool page)
{
    struct probe_witness *w = &s->nodes[node].probe->witness;
    w->is_wanted = true;
    w->wants_page = w->wants_page || page;
}

bool probe_suspect(struct supervisor *s, uint32_t node, enum breaker_input input,
                   enum breaker_reason reason, uint32_t generation)
{
    struct node_state *n = &s->nodes[node];
    struct probe_witness *w = &n->probe->witness;
    struct breaker_config config;

    probe_breaker_config(s, node, &config);
    /* On trial, a clock that runs out opens it: nobody depends on it yet. */
    const bool on_trial = input == BREAKER_TICK && n->breaker.state == BREAKER_HALF_OPEN;
    if (n->role != ROUTER_ROLE_PRIMARY || on_trial ||
        !breaker_would_open(&n->breaker, &config, input, generation, uv_hrtime()))
        return probe_step(s, node, input, reason, generation);
    if (!w->is_withheld || input == BREAKER_FATAL) {
        w->input = (uint8_t)input;
        w->reason = (uint8_t)reason;
        w->generation = generation;
    }
    if (!w->is_withheld)
        log_debug("witness", "node=%s why=\"what clients met would open its breaker\"",
                  s->proxy->config->nodes[node].name);
    w->is_withheld = true;
    hurry(w);
    witness_want(s, node, false);
    return false;
}

/* ---- what workers tell ---- */

static void alert(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct probe_witness *w = &s->nodes[node].probe->witness;
    w->counts.alerts++;
    if (now_ns < w->alert_ns)
        return;
    w->alert_ns = now_ns + ALERT_NS;
    log_warning("alert",
                "node=%s alerts=%llu why=\"a client was told of an error of disk, memory or data\"",
                s->proxy->config->nodes[node].name, (unsigned long long)w->counts.alerts);
}

enum breaker_input witness_take(struct supervisor *s, uint32_t node,
                                const struct outcome_record *record, uint64_t now_ns)
{
    struct probe_witness *w = &s->nodes[node].probe->witness;
    const uint8_t kind = record->suspicion;
    assert(kind < BREAKER_SUSPICION_COUNT);
    if (record->alert)
        alert(s, node, now_ns);
    if (kind == BREAKER_SUSPICION_NONE)
        return (enum breaker_input)record->input;
    w->counts.suspicions[kind]++;
    const struct breaker_suspicion one = {
        .who = record->who, .login = record->login, .what = record->what};
    if (record->generation != s->nodes[node].breaker.generation ||
        !breaker_suspect(&w->suspects[kind], one, s->proxy->config->breaker.window_ns, now_ns))
        return BREAKER_NEUTRAL;
    /* Three users were sent elsewhere, and were answered there: it is not a failure in a row that
     * the reads which its disk does not hinder would end. */
    return kind == BREAKER_SUSPICION_SICK ? BREAKER_FATAL : BREAKER_FAILURE;
}

/* ---- the look ---- */

/* Good enough for whatever was suspected. Unless a look was asked for since this one began. */
static void settle(struct supervisor *s, uint32_t node)
{
    struct node_state *n = &s->nodes[node];
    struct probe_witness *w = &n->probe->witness;
    if (w->is_wanted || !w->is_withheld)
        return;
    w->is_withheld = false;
    if (probe_step(s, node, BREAKER_PROBE_SUCCESS, BREAKER_REASON_NONE, n->breaker.generation))
        probes_publish(s, true);
}

static void on_answer(struct link *l, const struct evidence_answer *answer)
{
    struct probe *p = l->owner;
    struct supervisor *s = p->s;
    struct probe_witness *w = &p->witness;

    (void)answer; /* the node's own link brings what is new of it */
    if (l->wants_page && w->is_page_bad)
        log_info("page", "node=%s ok=yes", s->proxy->config->nodes[index_of(s, p)].name);
    if (l->wants_page)
        w->is_page_bad = false;
    link_close(l);
    w->counts.witnesses_good++;
    w->refusals = 0;
    settle(s, index_of(s, p));
    probe_schedule(s);
}

static void page_failed(struct supervisor *s, uint32_t node, const struct link_failure *failure)
{
    struct probe_witness *w = &s->nodes[node].probe->witness;
    if (!w->is_page_bad)
        log_warning("page", "node=%s ok=no sqlstate=\"%s\" message=\"%s\"",
                    s->proxy->config->nodes[node].name, failure->sqlstate, failure->message);
    snprintf(s->nodes[node].last_error, sizeof(s->nodes[node].last_error), "page: %s",
             failure->message);
    w->is_page_bad = true;
    witness_want(s, node, true);
}

/* A node that says no at its door, to too many connections for instance, is there. A refusal is
 * confirmed by a second try. What else ended the look tells nothing. */
static void look_in_vain(struct supervisor *s, uint32_t node, enum link_fault fault)
{
    struct probe_witness *w = &s->nodes[node].probe->witness;
    if (fault == LINK_REJECTED || fault == LINK_LOGIN) {
        settle(s, node);
        return;
    }
    if (fault == LINK_REFUSED)
        w->look = (struct probe_pause){0};
    if (fault == LINK_REFUSED || w->is_withheld)
        witness_want(s, node, false);
}

static void on_failed(struct link *l, const struct link_failure *failure)
{
    struct probe *p = l->owner;
    struct supervisor *s = p->s;
    struct probe_witness *w = &p->witness;
    const uint32_t node = index_of(s, p);
    const uint32_t generation = s->nodes[node].breaker.generation;

    w->counts.witnesses_bad++;
    hurry(w);
    if (failure->page)
        pause_cut(&w->page, PAGE_NS);
    w->refusals = failure->fault == LINK_REFUSED ? w->refusals + 1 : 0;
    const struct breaker_outcome outcome = probe_failure_outcome(s, node, failure, w->refusals);
    if (outcome.input == BREAKER_NEUTRAL) {
        look_in_vain(s, node, failure->fault);
        probe_schedule(s);
        return;
    }
    if (failure->page)
        page_failed(s, node, failure);
    bool changed = false;
    if (w->is_withheld && w->input != BREAKER_TICK)
        changed = probe_step(s, node, (enum breaker_input)w->input, (enum breaker_reason)w->reason,
                             w->generation);
    w->is_withheld = false;
    const enum breaker_input input =
        outcome.input == BREAKER_FAILURE ? BREAKER_PROBE_FAILURE : outcome.input;
    /* Clients ask for looks as often as they like: what fails again and again is one failure an
     * interval, as it is for the node's own probes, which end the row when they are answered. */
    const uint64_t now_ns = uv_hrtime();
    const bool again = now_ns - w->counted_ns < s->proxy->config->probe.interval_ns;
    if (!changed && (input == BREAKER_FATAL || !again)) {
        w->counted_ns = now_ns;
        changed = probe_step(s, node, input, outcome.reason, generation);
    }
    if (changed)
        probes_publish(s, true);
    probe_schedule(s);
}

static void ask(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    const struct config *c = s->proxy->config;
    struct probe_witness *w = &s->nodes[node].probe->witness;

    w->is_wanted = false;
    pause_begin(&w->look, LOOK_NS, LOOK_MAX_NS, now_ns);
    w->link.wants_page = w->wants_page && now_ns >= w->page.until_ns;
    if (w->link.wants_page) {
        w->wants_page = false;
        pause_begin(&w->page, PAGE_NS, PAGE_MAX_NS, now_ns);
    }
    link_ask(&w->link, c, &c->nodes[node], true);
}

uint64_t witness_schedule(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct probe_witness *w = &s->nodes[node].probe->witness;
    const uint64_t timeout_ns = probe_timeout_ns(s, s->nodes[node].probe);

    if (w->link.state != LINK_CLOSED) {
        if (now_ns < w->link.asked_ns + timeout_ns)
            return w->link.asked_ns + timeout_ns;
        link_time_out(&w->link);
        return w->look.until_ns;
    }
    uint64_t at_ns = PROBE_NEVER;
    if (w->is_wanted)
        at_ns = w->look.until_ns;
    if (w->wants_page && w->page.until_ns < at_ns)
        at_ns = w->page.until_ns > w->look.until_ns ? w->page.until_ns : w->look.until_ns;
    if (at_ns > now_ns)
        return at_ns;
    ask(s, node, now_ns);
    return w->link.asked_ns + timeout_ns;
}

struct probes_evidence probes_evidence(const struct supervisor *s, uint32_t node)
{
    return s->nodes[node].probe->witness.counts;
}

void witness_init(struct supervisor *s, struct probe *p)
{
    link_init(&p->witness.link, s->loop, p);
    p->witness.link.on_answer = on_answer;
    p->witness.link.on_failed = on_failed;
}

void witness_restart(struct probe *p)
{
    struct probe_witness *w = &p->witness;
    if (w->link.state == LINK_CLOSED)
        return;
    w->is_wanted = true;
    w->wants_page = w->wants_page || w->link.wants_page;
    link_close(&w->link);
}
