/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_failure: what a probe that failed says of its node.
 */
#include "proxy_probe_internal.h"

#include <assert.h>
#include <stdio.h>

#include "breaker_outcome.h"
#include "proxy_log.h"

/* Least time between two connections when the first one was lost. */
#define AT_ONCE_NS (10 * PROBE_MS)
/* Least pause after a failure that a second look does not tell more of. */
#define RETRY_LEAST_NS (50 * PROBE_MS)

struct breaker_outcome probe_failure_outcome(const struct supervisor *s, uint32_t node,
                                             const struct link_failure *failure, uint32_t refusals)
{
    const bool on_replica = s->nodes[node].role != ROUTER_ROLE_PRIMARY;

    switch (failure->fault) {
    case LINK_REFUSED:
        if (refusals < 2) /* tried again at once: no verdict yet */
            return (struct breaker_outcome){.input = BREAKER_NEUTRAL};
        return breaker_judge(BREAKER_EVENT_CONNECT_REFUSED_TWICE, NULL, "", on_replica);
    case LINK_REJECTED:
        return breaker_judge(BREAKER_EVENT_PROBE_REJECTED, failure->sqlstate, "", on_replica);
    case LINK_ERROR:
        return breaker_judge(BREAKER_EVENT_PROBE_ERROR, failure->sqlstate, "", on_replica);
    case LINK_LOGIN: /* it is there; what the probes lack is no fault of its */
    case LINK_OURS:
    case LINK_LOST_IDLE: /* perhaps just this one backend: the next connection will tell */
        return (struct breaker_outcome){.input = BREAKER_NEUTRAL};
    case LINK_LOST_ASKED: /* its last words, where there were any */
        if (failure->sqlstate[0] != '\0')
            return breaker_judge(BREAKER_EVENT_PROBE_ERROR, failure->sqlstate, "", on_replica);
        return (struct breaker_outcome){.input = BREAKER_FAILURE, .reason = BREAKER_REASON_CONNECT};
    case LINK_UNREACHABLE:
    case LINK_TIMEOUT_CONNECT:
        return (struct breaker_outcome){.input = BREAKER_FAILURE, .reason = BREAKER_REASON_CONNECT};
    case LINK_TIMEOUT_ANSWER:
        return (struct breaker_outcome){.input = BREAKER_FAILURE, .reason = BREAKER_REASON_SLOW};
    case LINK_GARBLED:
        return (struct breaker_outcome){.input = BREAKER_FAILURE, .reason = BREAKER_REASON_ERRORS};
    case LINK_FAULT_COUNT:
        break;
    }
    assert(!"a failure without a fault");
    return (struct breaker_outcome){.input = BREAKER_NEUTRAL};
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* When to try again: at once where that tells more, else after the interval. */
static uint64_t retry_at_ns(const struct supervisor *s, uint32_t node, enum link_fault fault,
                            bool ended, uint64_t now_ns)
{
    const struct probe *p = s->nodes[node].probe;
    const uint64_t interval_ns = s->proxy->config->probe.interval_ns;

    if (fault == LINK_REFUSED && p->refusals == 1)
        return now_ns;
    if (!p->is_failing && (fault == LINK_LOST_IDLE || fault == LINK_LOST_ASKED || ended))
        return later(now_ns, p->link.asked_ns + AT_ONCE_NS);
    if (!p->is_failing) /* the first one: a second look soon tells a hiccup from an outage */
        return now_ns + RETRY_LEAST_NS;
    return later(now_ns + RETRY_LEAST_NS, p->link.asked_ns + interval_ns);
}

void probe_judge_failure(struct supervisor *s, uint32_t node, const struct link_failure *failure)
{
    struct node_state *n = &s->nodes[node];
    struct probe *p = n->probe;
    const uint64_t now_ns = uv_hrtime();

    p->refusals = failure->fault == LINK_REFUSED ? p->refusals + 1 : 0;
    const bool is_silent =
        failure->fault == LINK_LOST_IDLE || (failure->fault == LINK_REFUSED && p->refusals == 1);
    const struct breaker_outcome outcome = probe_failure_outcome(s, node, failure, p->refusals);
    if (!is_silent)
        n->probes_failed++;
    snprintf(n->last_error, sizeof(n->last_error), "%s: %s", link_fault_text(failure->fault),
             failure->message);
    const bool voided = probe_void(s, node, link_fault_text(failure->fault));
    bool changed = false;
    if (outcome.input != BREAKER_NEUTRAL) {
        const enum breaker_input input =
            outcome.input == BREAKER_FATAL ? BREAKER_FATAL : BREAKER_PROBE_FAILURE;
        /* a new connection is a witness of its own; one that was open may have been ended */
        changed = failure->fault == LINK_ERROR || failure->fault == LINK_LOST_ASKED
                      ? probe_suspect(s, node, input, outcome.reason, n->breaker.generation)
                      : probe_step(s, node, input, outcome.reason, n->breaker.generation);
    }
    /* 57P01 as the answer to a probe: our backend was ended, perhaps the server with it. */
    const bool ended = failure->fault == LINK_ERROR && outcome.probe_now;
    p->due_ns = retry_at_ns(s, node, failure->fault, ended, now_ns);
    if (!is_silent && !p->is_failing) {
        log_warning("probe", "node=%s ok=no fault=\"%s\" sqlstate=\"%s\" message=\"%s\"",
                    s->proxy->config->nodes[node].name, link_fault_text(failure->fault),
                    failure->sqlstate, failure->message);
        p->is_failing = true;
    }
    if (changed || voided)
        probes_publish(s, changed);
}
