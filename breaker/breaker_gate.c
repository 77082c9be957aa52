/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_gate: whether a replica is fresh enough for reads at all, with hysteresis. Pure.
 *
 * A single read compares its own bound besides (router_decide.h): the gate is what people see, and
 * what keeps a replica that swings round the limit from being used by every second read.
 */
#include "breaker.h"

#include <assert.h>

enum {
    ABOVE_TO_SHUT = 2,
    BELOW_TO_OPEN = 3,
};

/* What shuts at once, whatever the lag: the worst first. */
static enum breaker_gate_reason instant_reason(const struct breaker_gate_sample *sample)
{
    if (sample->wrong_timeline)
        return BREAKER_GATE_TIMELINE;
    if (sample->receiver_down)
        return BREAKER_GATE_RECEIVER;
    if (sample->replay_paused)
        return BREAKER_GATE_PAUSED;
    return BREAKER_GATE_OPEN;
}

/* The reason after a sample that holds a lag and nothing that shuts at once. */
static enum breaker_gate_reason
lag_reason(struct breaker_gate *gate, const struct breaker_gate_config *config, uint64_t lag_ns)
{
    const enum breaker_gate_reason now = (enum breaker_gate_reason)gate->reason;
    uint64_t limit_ns = config->lag_hard_ns > 0 ? config->lag_hard_ns : UINT64_MAX;
    const bool hard = lag_ns > limit_ns;
    if (config->max_lag_ns > 0 && config->max_lag_ns < limit_ns)
        limit_ns = config->max_lag_ns;
    const bool growing = lag_ns > gate->last_lag_ns;

    gate->last_lag_ns = lag_ns;
    gate->above_row = lag_ns > limit_ns ? gate->above_row + 1 : 0;
    gate->below_row = lag_ns < limit_ns / 2 ? gate->below_row + 1 : 0;

    if (hard || gate->above_row >= ABOVE_TO_SHUT)
        return BREAKER_GATE_LAGGING;
    if (now == BREAKER_GATE_OPEN)
        return BREAKER_GATE_OPEN;
    /* Stalled replay looks fine for a while, but its lag grows from probe to probe. */
    if (gate->below_row >= BELOW_TO_OPEN && !growing)
        return BREAKER_GATE_OPEN;
    return gate->above_row > 0 ? BREAKER_GATE_LAGGING : now;
}

bool breaker_gate_step(struct breaker_gate *gate, const struct breaker_gate_config *config,
                       const struct breaker_gate_sample *sample)
{
    assert(gate->reason < BREAKER_GATE_COUNT);
    const uint8_t before = gate->reason;
    const enum breaker_gate_reason instant = instant_reason(sample);

    if (instant != BREAKER_GATE_OPEN) {
        gate->reason = (uint8_t)instant;
        gate->above_row = gate->below_row = 0;
    } else if (sample->lag_ns == UINT64_MAX) {
        /* Unknown is no sign of health, nor of lag: reads ask for evidence by themselves. */
        gate->below_row = 0;
    } else {
        gate->reason = (uint8_t)lag_reason(gate, config, sample->lag_ns);
    }
    return gate->reason != before;
}

const char *breaker_gate_text(enum breaker_gate_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        BREAKER_GATE_MAP(X)
#undef X
    };
    assert(reason < BREAKER_GATE_COUNT);
    return texts[reason];
}
