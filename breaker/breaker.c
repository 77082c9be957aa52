/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker: the state machine. Guards count and classify, one table moves, entering a state starts
 * it with clean counters.
 */
#include "breaker.h"

#include <assert.h>
#include <string.h>

/* What an input amounts to, once counters and time have been looked at. */
enum move {
    STAY,
    TRIP,   /* too much went wrong */
    COOLED, /* the open time is over and our own probes pass */
    PROVED, /* the trial went well, or the very first probe did */
    MOVE_COUNT
};

static const enum breaker_state next_state[BREAKER_STATE_COUNT][MOVE_COUNT] = {
    /* clang-format off */
    /*                       STAY               TRIP          COOLED             PROVED         */
    [BREAKER_CLOSED]    = { BREAKER_CLOSED,    BREAKER_OPEN, BREAKER_CLOSED,    BREAKER_CLOSED },
    [BREAKER_OPEN]      = { BREAKER_OPEN,      BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CLOSED },
    [BREAKER_HALF_OPEN] = { BREAKER_HALF_OPEN, BREAKER_OPEN, BREAKER_HALF_OPEN, BREAKER_CLOSED },
    /* clang-format on */
};

enum {
    LEVEL_MAX = 32,
    FLAP_FACTOR = 4,
    WEIGHT_FULL = 1000,
    WEIGHT_START = 100,
};

#define SECOND_NS UINT64_C(1000000000)
#define FLAP_WINDOW_NS (60 * SECOND_NS)

static_assert((int)BREAKER_CLOSED == 0, "a zeroed state word reads as CLOSED");

struct breaker_config breaker_config_default(void)
{
    return (struct breaker_config){
        .failures = 3,
        .open_for_ns = 1 * SECOND_NS,
        .open_factor = 2,
        .open_max_ns = 30 * SECOND_NS,
        .open_decay_ns = 60 * SECOND_NS,
        .trial_probes = 2,
        .trial_permits = 3,
        .trial_lease_ns = 5 * SECOND_NS,
        .trial_calls = 10,
        .trial_failures = 2,
        .trial_max_ns = 5 * SECOND_NS,
        .min_dwell_ns = 1 * SECOND_NS,
        .slow_start_ns = 10 * SECOND_NS,
        .flap_limit = 4,
    };
}

static uint32_t at_least_one(uint32_t n)
{
    return n > 0 ? n : 1;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A sum of times that stays at "never" instead of wrapping round. */
static uint64_t later_by(uint64_t at_ns, uint64_t by_ns)
{
    return at_ns > UINT64_MAX - by_ns ? UINT64_MAX : at_ns + by_ns;
}

static uint32_t permits_limit(const struct breaker_config *config)
{
    const uint32_t limit = at_least_one(config->trial_permits);
    return limit < BREAKER_PERMITS_MAX ? limit : BREAKER_PERMITS_MAX;
}

static bool trial_failed(const struct breaker *b, const struct breaker_config *config)
{
    return b->trial_bad >= at_least_one(config->trial_failures);
}

static bool trial_passed(const struct breaker *b, const struct breaker_config *config)
{
    return b->trial_results >= at_least_one(config->trial_calls);
}

static void breaker_invariants(const struct breaker *b)
{
    uint32_t leases = 0;
    for (uint32_t i = 0; i < BREAKER_PERMITS_MAX; i++)
        leases += b->lease_ends_ns[i] != 0;
    assert(b->permits_out == leases);
    assert(b->permits_out == 0 || b->state == BREAKER_HALF_OPEN);
    assert(b->admitted || b->state == BREAKER_OPEN);
    assert(b->level <= LEVEL_MAX);
    assert((b->reason == BREAKER_REASON_NONE) == (b->state == BREAKER_CLOSED));
}

void breaker_init(struct breaker *b, uint64_t now_ns)
{
    assert(b != NULL);
    *b = (struct breaker){
        .state = BREAKER_OPEN,
        .override = BREAKER_AUTO,
        .reason = BREAKER_REASON_STARTING,
        .generation = 1,
        .since_ns = now_ns,
    };
}

/* ---- time: what passes without any input ---- */

static uint32_t opens_lately(const struct breaker *b, uint64_t now_ns)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < BREAKER_FLAPS_MAX; i++)
        count += b->opens_ns[i] != 0 && now_ns - b->opens_ns[i] < FLAP_WINDOW_NS;
    return count;
}

static bool is_flapping(const struct breaker *b, const struct breaker_config *config,
                        uint64_t now_ns)
{
    /* The array remembers BREAKER_FLAPS_MAX openings; a larger limit could never be exceeded. */
    const uint32_t limit =
        config->flap_limit < BREAKER_FLAPS_MAX ? config->flap_limit : BREAKER_FLAPS_MAX - 1;
    return config->flap_limit > 0 && opens_lately(b, now_ns) > limit;
}

static void leases_expire(struct breaker *b, uint64_t now_ns)
{
    for (uint32_t i = 0; i < BREAKER_PERMITS_MAX && b->permits_out > 0; i++) {
        if (b->lease_ends_ns[i] == 0 || b->lease_ends_ns[i] > now_ns)
            continue;
        b->lease_ends_ns[i] = 0;
        b->permits_out--;
        b->leases_expired++;
    }
}

static void level_decay(struct breaker *b, const struct breaker_config *config, uint64_t now_ns)
{
    if (b->state != BREAKER_CLOSED)
        return;
    while (b->level > 0 && config->open_decay_ns > 0 && now_ns >= b->decay_at_ns) {
        b->level--;
        b->decay_at_ns += config->open_decay_ns;
    }
    if (b->flapping)
        b->flapping = is_flapping(b, config, now_ns);
}

/* ---- counting: one input into the counters of the state ---- */

static void count_failure(struct breaker *b, enum breaker_input input, enum breaker_reason reason)
{
    b->failure_reason = (uint8_t)(reason != BREAKER_REASON_NONE ? reason : BREAKER_REASON_ERRORS);
    if (input == BREAKER_HALF_FAILURE && ++b->halves_row % 2 != 0)
        return;
    if (input != BREAKER_HALF_FAILURE)
        b->probes_row = 0;
    b->failures_row++;
    if (b->state != BREAKER_HALF_OPEN)
        return;
    b->trial_bad++;
    if (input != BREAKER_PROBE_FAILURE) /* trial_calls are clients' results */
        b->trial_results++;
}

static void count(struct breaker *b, enum breaker_input input, enum breaker_reason reason,
                  uint64_t now_ns)
{
    switch (input) {
    case BREAKER_SUCCESS:
        b->failures_row = b->halves_row = 0;
        if (b->state == BREAKER_HALF_OPEN)
            b->trial_results++;
        break;
    case BREAKER_PROBE_SUCCESS:
        b->failures_row = b->halves_row = 0;
        if (b->state != BREAKER_OPEN || now_ns >= b->retry_at_ns)
            b->probes_row++;
        break;
    case BREAKER_FAILURE:
    case BREAKER_HALF_FAILURE:
    case BREAKER_FATAL:
    case BREAKER_PROBE_FAILURE:
        count_failure(b, input, reason);
        break;
    case BREAKER_NEUTRAL: /* is not success: it resets nothing */
    case BREAKER_TICK:
        break;
    }
}

/* ---- guards: what the counters amount to ---- */

static enum move classify_open(const struct breaker *b, const struct breaker_config *config,
                               enum breaker_input input, bool dwelt, uint64_t now_ns)
{
    if (!b->admitted || config->alone)
        return input == BREAKER_PROBE_SUCCESS ? PROVED : STAY;
    if (dwelt && now_ns >= b->retry_at_ns && b->probes_row >= at_least_one(config->trial_probes))
        return COOLED;
    return STAY;
}

static enum move classify_half_open(const struct breaker *b, const struct breaker_config *config,
                                    enum breaker_input input, bool dwelt, uint64_t now_ns)
{
    if (config->alone && input == BREAKER_PROBE_SUCCESS)
        return PROVED;
    if (now_ns >= later_by(b->since_ns, config->trial_max_ns)) {
        /* Too few clients for a verdict: our own probes decide. */
        const bool probed = b->probes_row >= at_least_one(config->trial_probes);
        return probed && !trial_failed(b, config) ? PROVED : TRIP;
    }
    if (!dwelt)
        return STAY;
    if (trial_failed(b, config))
        return TRIP;
    return trial_passed(b, config) ? PROVED : STAY;
}

static enum move classify(const struct breaker *b, const struct breaker_config *config,
                          enum breaker_input input, uint64_t now_ns)
{
    const bool dwelt =
        config->alone || now_ns >= later_by(b->since_ns, config->min_dwell_ns);

    switch ((enum breaker_state)b->state) {
    case BREAKER_CLOSED:
        if (input == BREAKER_FATAL)
            return TRIP;
        return dwelt && b->failures_row >= at_least_one(config->failures) ? TRIP : STAY;
    case BREAKER_OPEN:
        return classify_open(b, config, input, dwelt, now_ns);
    case BREAKER_HALF_OPEN:
        if (input == BREAKER_FATAL)
            return TRIP;
        return classify_half_open(b, config, input, dwelt, now_ns);
    case BREAKER_STATE_COUNT:
        break;
    }
    assert(!"a breaker without a state");
    return STAY;
}

/* ---- entering a state ---- */

/* open_for x factor^level (x4 when flapping) +-25 %, never above open_max. */
static uint64_t open_time_ns(const struct breaker *b, const struct breaker_config *config,
                             uint64_t random)
{
    const uint64_t max_ns = config->open_max_ns;
    const uint64_t factor = at_least_one(config->open_factor);
    uint64_t time_ns = earlier(config->open_for_ns, max_ns);

    for (uint32_t i = 0; i < b->level && time_ns < max_ns; i++)
        time_ns = time_ns > max_ns / factor ? max_ns : time_ns * factor;
    if (b->flapping)
        time_ns = time_ns > max_ns / FLAP_FACTOR ? max_ns : time_ns * FLAP_FACTOR;

    const uint64_t quarter_ns = time_ns / 4;
    return earlier(time_ns - quarter_ns + random % (2 * quarter_ns + 1), max_ns);
}

static void enter_open(struct breaker *b, const struct breaker_config *config, uint64_t random,
                       uint64_t now_ns)
{
    memmove(&b->opens_ns[1], &b->opens_ns[0], sizeof(b->opens_ns) - sizeof(b->opens_ns[0]));
    b->opens_ns[0] = now_ns;
    b->flapping = !config->alone && is_flapping(b, config, now_ns);
    b->reason =
        b->failure_reason != BREAKER_REASON_NONE ? b->failure_reason : BREAKER_REASON_ERRORS;
    b->probes_row = 0;
    b->retry_at_ns = later_by(now_ns, open_time_ns(b, config, random));
    if (b->level < LEVEL_MAX && !config->alone)
        b->level++;
}

static void enter_closed(struct breaker *b, const struct breaker_config *config, uint64_t now_ns)
{
    b->admitted = true;
    b->reason = BREAKER_REASON_NONE;
    b->failure_reason = BREAKER_REASON_NONE;
    b->decay_at_ns = later_by(now_ns, config->open_decay_ns);
}

static void enter(struct breaker *b, const struct breaker_config *config, enum breaker_state to,
                  uint64_t random, uint64_t now_ns)
{
    b->state = (uint8_t)to;
    b->generation++;
    b->transitions++;
    b->since_ns = now_ns;
    b->failures_row = b->halves_row = 0;
    b->trial_results = b->trial_bad = 0;
    b->leases_expired = b->permits_out = 0;
    memset(b->lease_ends_ns, 0, sizeof(b->lease_ends_ns));
    /* Into HALF_OPEN the row of good probes goes along: it is what trial_max falls back on. */
    if (to == BREAKER_OPEN)
        enter_open(b, config, random, now_ns);
    else if (to == BREAKER_CLOSED)
        enter_closed(b, config, now_ns);
}

bool breaker_step(struct breaker *b, const struct breaker_config *config, enum breaker_input input,
                  enum breaker_reason reason, uint32_t generation, uint64_t random, uint64_t now_ns)
{
    assert(config->open_for_ns > 0);
    assert(now_ns >= b->since_ns);

    if (generation != b->generation)
        input = BREAKER_TICK; /* a result of another age; but time has passed */

    leases_expire(b, now_ns);
    level_decay(b, config, now_ns);
    count(b, input, reason, now_ns);

    const enum breaker_state from = (enum breaker_state)b->state;
    const enum breaker_state to = next_state[from][classify(b, config, input, now_ns)];
    if (to != from)
        enter(b, config, to, random, now_ns);
    breaker_invariants(b);
    return to != from;
}

bool breaker_would_open(const struct breaker *b, const struct breaker_config *config,
                        enum breaker_input input, uint32_t generation, uint64_t now_ns)
{
    struct breaker copy = *b;
    return breaker_step(&copy, config, input, BREAKER_REASON_ERRORS, generation, 0, now_ns) &&
           copy.state == BREAKER_OPEN;
}

/* ---- the override ---- */

enum breaker_state breaker_effective(const struct breaker *b)
{
    switch ((enum breaker_override)b->override) {
    case BREAKER_FORCED_OPEN:
        return BREAKER_OPEN;
    case BREAKER_FORCED_CLOSED:
        return BREAKER_CLOSED;
    case BREAKER_AUTO:
        break;
    }
    return (enum breaker_state)b->state;
}

enum breaker_reason breaker_effective_reason(const struct breaker *b)
{
    if (b->override != BREAKER_AUTO)
        return BREAKER_REASON_ADMIN;
    return (enum breaker_reason)b->reason;
}

bool breaker_force(struct breaker *b, enum breaker_override override, uint64_t now_ns)
{
    assert(now_ns >= b->since_ns);
    const enum breaker_state before = breaker_effective(b);
    b->override = (uint8_t) override;
    return breaker_effective(b) != before;
}

/* ---- trial permits ---- */

bool breaker_permit_acquire(struct breaker *b, const struct breaker_config *config, uint64_t now_ns)
{
    if (breaker_effective(b) != BREAKER_HALF_OPEN)
        return false;
    leases_expire(b, now_ns);
    if (trial_failed(b, config) || trial_passed(b, config)) /* only min_dwell is waited for */
        return false;
    if (b->permits_out >= permits_limit(config))
        return false;
    for (uint32_t i = 0; i < BREAKER_PERMITS_MAX; i++) {
        if (b->lease_ends_ns[i] != 0)
            continue;
        /* An end of 0 would mean free. */
        b->lease_ends_ns[i] =
            later_by(now_ns, config->trial_lease_ns > 0 ? config->trial_lease_ns : 1);
        b->permits_out++;
        breaker_invariants(b);
        return true;
    }
    assert(!"fewer leases than permits");
    return false;
}

void breaker_permit_release(struct breaker *b)
{
    uint32_t oldest = BREAKER_PERMITS_MAX;

    /* Leases have no owner. The oldest end goes: what stays out is never called late too early. */
    for (uint32_t i = 0; i < BREAKER_PERMITS_MAX; i++) {
        if (b->lease_ends_ns[i] == 0)
            continue;
        if (oldest == BREAKER_PERMITS_MAX || b->lease_ends_ns[i] < b->lease_ends_ns[oldest])
            oldest = i;
    }
    if (oldest == BREAKER_PERMITS_MAX)
        return; /* the state has changed since, and voided it */
    b->lease_ends_ns[oldest] = 0;
    b->permits_out--;
    breaker_invariants(b);
}

/* ---- questions ---- */

uint64_t breaker_deadline_ns(const struct breaker *b, const struct breaker_config *config)
{
    const uint64_t dwelt_ns = later_by(b->since_ns, config->min_dwell_ns);
    uint64_t at_ns = UINT64_MAX;

    switch ((enum breaker_state)b->state) {
    case BREAKER_CLOSED:
        if (b->level > 0 && config->open_decay_ns > 0)
            at_ns = b->decay_at_ns;
        if (b->failures_row >= at_least_one(config->failures))
            at_ns = config->alone ? b->since_ns : earlier(at_ns, dwelt_ns);
        break;
    case BREAKER_HALF_OPEN:
        at_ns = later_by(b->since_ns, config->trial_max_ns);
        if (trial_failed(b, config) || trial_passed(b, config))
            at_ns = earlier(at_ns, dwelt_ns);
        for (uint32_t i = 0; i < BREAKER_PERMITS_MAX; i++) {
            if (b->lease_ends_ns[i] != 0)
                at_ns = earlier(at_ns, b->lease_ends_ns[i]);
        }
        break;
    case BREAKER_OPEN: /* probes end it, not time alone */
    case BREAKER_STATE_COUNT:
        break;
    }
    return at_ns;
}

uint32_t breaker_weight_permille(const struct breaker *b, const struct breaker_config *config,
                                 uint64_t now_ns)
{
    if (b->override == BREAKER_FORCED_CLOSED)
        return WEIGHT_FULL;
    if (breaker_effective(b) != BREAKER_CLOSED)
        return WEIGHT_START;
    /* Our own start says nothing of the node's caches: the first admission is no slow start. */
    if (b->transitions <= 1)
        return WEIGHT_FULL;
    const uint64_t closed_ns = now_ns - b->since_ns;
    if (closed_ns >= config->slow_start_ns)
        return WEIGHT_FULL;
    /* In steps of 1/1024 of the way, so that no product can overflow. */
    const uint64_t step_ns = config->slow_start_ns / 1024 + 1;
    const uint64_t steps = closed_ns / step_ns;
    return WEIGHT_START + (uint32_t)(steps * (WEIGHT_FULL - WEIGHT_START) / 1024);
}

const char *breaker_state_text(enum breaker_state state)
{
    static const char *const texts[] = {
#define X(name, text) text,
        BREAKER_STATE_MAP(X)
#undef X
    };
    assert(state < BREAKER_STATE_COUNT);
    return texts[state];
}

const char *breaker_reason_text(enum breaker_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        BREAKER_REASON_MAP(X)
#undef X
    };
    assert(reason < BREAKER_REASON_COUNT);
    return texts[reason];
}
