/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_failure: what a probe that failed says of its node.
 */
#include "proxy_probe_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

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

/* When to try again: at once where that tells more, else after the interval. */
static uint64_t retry_at_ns(const struct supervisor *s, uint32_t node, enum link_fault fault,
                            bool ended, uint64_t now_ns)
{
    const struct probe *p = s->nodes[node].probe;
    const uint64_t interval_ns = s->proxy->config->probe.interval_ns;

    if (fault == LINK_REFUSED && p->refusals == 1)
        return now_ns;
    if (!p->is_failing && (fault == LINK_LOST_IDLE || fault == LINK_LOST_ASKED || ended))
        return probe_later(now_ns, p->link.asked_ns + AT_ONCE_NS);
    if (!p->is_failing) /* the first one: a second look soon tells a hiccup from an outage */
        return now_ns + RETRY_LEAST_NS;
    return probe_later(now_ns + RETRY_LEAST_NS, p->link.asked_ns + interval_ns);
}

/* A line when it begins and when it becomes another fault; what lasts is said again. */
static void say_failing(struct supervisor *s, uint32_t node, const struct link_failure *failure,
                        uint64_t now_ns)
{
    const struct config *config = s->proxy->config;
    const struct config_node *n = &config->nodes[node];
    struct probe *p = s->nodes[node].probe;
    const bool is_new = !p->is_failing || p->said_fault != failure->fault ||
                        strcmp(p->said_sqlstate, failure->sqlstate) != 0;
    const uint64_t for_ns = p->is_failing ? now_ns - p->failing_ns : 0;
    if (!p->is_failing)
        p->failing_ns = now_ns;
    p->is_failing = true;
    if (!is_new && now_ns - p->said_ns < SAID_AGAIN_NS)
        return;
    p->said_ns = now_ns;
    p->said_fault = failure->fault;
    (void)snprintf(p->said_sqlstate, sizeof(p->said_sqlstate), "%s", failure->sqlstate);
    log_warning("probe",
                "node=%s ok=no host=\"%s\" port=%llu user=\"%s\" database=\"%s\" fault=\"%s\" "
                "sqlstate=\"%s\" errno=%s message=\"%s\" for_s=%llu",
                n->name, n->host, (unsigned long long)n->port, config->probe.user,
                config->probe.dbname, link_fault_text(failure->fault), failure->sqlstate,
                libpq_errno(failure->message), failure->message,
                (unsigned long long)(for_ns / (1000 * PROBE_MS)));
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
        const bool decides = probe_late_decides(s, node, failure->fault);
        const enum breaker_input input =
            outcome.input == BREAKER_FATAL || decides ? BREAKER_FATAL : BREAKER_PROBE_FAILURE;
        /* a new connection is a witness of its own; one that was open may have been ended */
        changed = failure->fault == LINK_ERROR || failure->fault == LINK_LOST_ASKED || decides
                      ? probe_suspect(s, node, input, outcome.reason, n->breaker.generation)
                      : probe_step(s, node, input, outcome.reason, n->breaker.generation);
    }
    /* 57P01 as the answer to a probe: our backend was ended, perhaps the server with it. */
    const bool ended = failure->fault == LINK_ERROR && outcome.probe_now;
    p->due_ns = retry_at_ns(s, node, failure->fault, ended, now_ns);
    if (!is_silent)
        say_failing(s, node, failure, now_ns);
    probe_gone_remind(s, probe_shard_of(s, node), now_ns);
    if (changed || voided)
        probes_publish(s, changed);
}
