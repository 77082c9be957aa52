/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker: decides whether one node may be offered work.
 *
 * A value: no lock, no clock, no allocation, no randomness of its own. The caller owns the memory,
 * passes time (monotonic, never decreasing) and random bits in, and steps each breaker from one
 * thread only (the supervisor).
 */
#ifndef BREAKER_H
#define BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_STATE_MAP(X) \
    X(CLOSED, "CLOSED")      \
    X(OPEN, "OPEN")          \
    X(HALF_OPEN, "HALF_OPEN")
enum breaker_state {
#define X(name, text) BREAKER_##name,
    BREAKER_STATE_MAP(X)
#undef X
        BREAKER_STATE_COUNT
};

/* Why the breaker is where it is. */
#define BREAKER_REASON_MAP(X) \
    X(NONE, "")               \
    X(CONNECT, "connect")     \
    X(ERRORS, "errors")       \
    X(SLOW, "slow")           \
    X(ROLE, "role")           \
    X(STARTING, "starting")   \
    X(ADMIN, "admin")
enum breaker_reason {
#define X(name, text) BREAKER_REASON_##name,
    BREAKER_REASON_MAP(X)
#undef X
        BREAKER_REASON_COUNT
};

enum breaker_override { BREAKER_AUTO, BREAKER_FORCED_OPEN, BREAKER_FORCED_CLOSED };

/* What happened on the node. */
enum breaker_input {
    BREAKER_SUCCESS,       /* a statement was answered */
    BREAKER_NEUTRAL,       /* says nothing of the node's health; resets nothing */
    BREAKER_FAILURE,       /* counts */
    BREAKER_FATAL,         /* opens at once */
    BREAKER_PROBE_SUCCESS, /* our own probe was answered well */
    BREAKER_PROBE_FAILURE, /* our own probe failed or timed out: counts */
    BREAKER_TICK,          /* only time passed */
    BREAKER_HALF_FAILURE,  /* counts half: two of them are a failure */
};

struct breaker_config {
    uint32_t failures;       /* in a row that open; >= 1 */
    uint64_t open_for_ns;    /* first OPEN lasts this long, +-25 % jitter; > 0 */
    uint32_t open_factor;    /* each further one this many times longer; >= 1 */
    uint64_t open_max_ns;    /* but never longer */
    uint64_t open_decay_ns;  /* one level back per so long CLOSED */
    uint32_t trial_probes;   /* probes in a row that must pass before any client; 0 means 1 */
    uint32_t trial_permits;  /* client statements at once while HALF_OPEN */
    uint64_t trial_lease_ns; /* a permit not returned by then is taken back: neutral */
    uint32_t trial_calls;    /* results after which the trial ends well ... */
    uint32_t trial_failures; /* ... with fewer failures than this (2: the second one re-opens) */
    uint64_t trial_max_ns;   /* HALF_OPEN never longer: CLOSED if the probes pass, else OPEN */
    uint64_t min_dwell_ns;   /* in a state, instant opens aside */
    uint64_t slow_start_ns;  /* after closing, from 10 % to 100 % of the weight; 0: off */
    uint32_t flap_limit;     /* more opens than this in 60 s: open time x4; 0: off */
    bool alone; /* a primary, and no other node has its role: nobody gains by waiting. Its first
                   good probe closes it; no dwell, no trial, and no open time that grows. */
};

/* The defaults of docs/reference/configuration.md. */
struct breaker_config breaker_config_default(void);

enum { BREAKER_PERMITS_MAX = 16, BREAKER_FLAPS_MAX = 8 };

struct breaker {
    uint8_t state; /* enum breaker_state, by itself; the override is not in it */
    uint8_t override;
    uint8_t reason;
    bool admitted;         /* the first good probe has been seen: until then OPEN, `starting` */
    uint32_t generation;   /* grows at every change of state; results of older ones are dropped */
    uint32_t failures_row; /* in CLOSED; probes' and clients' alike */
    uint32_t halves_row;   /* half failures that wait for their other half */
    uint32_t level;        /* how many times open_factor applies to the next opening */
    uint32_t probes_row;   /* good ones in OPEN after the cooldown, and in HALF_OPEN */
    uint32_t trial_results;
    uint32_t trial_bad;
    uint32_t leases_expired; /* since the state began: a client may just let a statement run */
    uint32_t permits_out;
    uint64_t lease_ends_ns[BREAKER_PERMITS_MAX]; /* 0: free */
    uint64_t since_ns;
    uint64_t retry_at_ns; /* OPEN: not before this */
    uint64_t decay_at_ns;
    uint64_t opens_ns[BREAKER_FLAPS_MAX]; /* when the last ones opened, for flap_limit */
    uint64_t transitions;                 /* all of them */
    bool flapping;
    uint8_t failure_reason; /* enum breaker_reason of the last failure: what opens it later on */
};

/* A node starts OPEN (reason starting); its first good probe closes it at once. */
void breaker_init(struct breaker *b, uint64_t now_ns);

/*
 * Feeds one input. `generation` is the one under which the work was admitted; an older one is
 * dropped (a late success cannot close an open breaker); probes and ticks pass b->generation.
 * `reason` is taken when this input opens it. True when the state (or the effective state) changed,
 * so that the caller publishes a new topology.
 */
bool breaker_step(struct breaker *b, const struct breaker_config *config, enum breaker_input input,
                  enum breaker_reason reason, uint32_t generation, uint64_t random,
                  uint64_t now_ns);

/* Would it be OPEN after this input? A step that is not taken: whoever asks may want a second
 * witness first. False when it is OPEN already. */
bool breaker_would_open(const struct breaker *b, const struct breaker_config *config,
                        enum breaker_input input, uint32_t generation, uint64_t now_ns);

/* What the router should believe: the override, else the state; and its reason (`admin` when the
 * override decides). */
enum breaker_state breaker_effective(const struct breaker *b);
enum breaker_reason breaker_effective_reason(const struct breaker *b);

/* BREAKER n OPEN / CLOSE / AUTO. Under an override the state below goes on being stepped. True when
 * the effective state changed. */
bool breaker_force(struct breaker *b, enum breaker_override override, uint64_t now_ns);

/*
 * Leases of trial permits. acquire: false when none is free, when the verdict is in already, or
 * when the effective state is not HALF_OPEN. release: gives one back; its result goes to
 * breaker_step() besides (SUCCESS, FAILURE or NEUTRAL). An expired lease is freed by the next step
 * or acquire: so release only a permit that was acquired under the current generation and less than
 * trial_lease_ns ago. A change of state voids all leases.
 */
bool breaker_permit_acquire(struct breaker *b, const struct breaker_config *config,
                            uint64_t now_ns);
void breaker_permit_release(struct breaker *b);

/* When breaker_step(TICK) has something to do; UINT64_MAX: never. */
uint64_t breaker_deadline_ns(const struct breaker *b, const struct breaker_config *config);

/* Share of its weight that a node gets now, per mille: 100 after closing to 1000. */
uint32_t breaker_weight_permille(const struct breaker *b, const struct breaker_config *config,
                                 uint64_t now_ns);

const char *breaker_state_text(enum breaker_state state);
const char *breaker_reason_text(enum breaker_reason reason);

/* ---- lag gate: separate from the breaker, with hysteresis ---- */

#define BREAKER_GATE_MAP(X)                                  \
    X(OPEN, "") /* reads may come */                         \
    X(LAGGING, "lagging")                                    \
    X(PAUSED, "paused")     /* replay is paused */           \
    X(RECEIVER, "receiver") /* no WAL receiver is running */ \
    X(TIMELINE, "timeline") /* not the primary's timeline */
enum breaker_gate_reason {
#define X(name, text) BREAKER_GATE_##name,
    BREAKER_GATE_MAP(X)
#undef X
        BREAKER_GATE_COUNT
};

struct breaker_gate_config {
    uint64_t max_lag_ns;  /* above it in 2 probes in a row: shut */
    uint64_t lag_hard_ns; /* above it once: shut */
};

struct breaker_gate {
    uint8_t reason;
    uint32_t above_row;
    uint32_t below_row;
    uint64_t last_lag_ns;
};

/* One probe's evidence. */
struct breaker_gate_sample {
    uint64_t lag_ns; /* UINT64_MAX: unknown */
    bool replay_paused;
    bool receiver_down;
    bool wrong_timeline;
};

/* True when the gate's reason changed. Opens again below half of max_lag in 3 probes in a row and
 * not growing. */
bool breaker_gate_step(struct breaker_gate *gate, const struct breaker_gate_config *config,
                       const struct breaker_gate_sample *sample);

const char *breaker_gate_text(enum breaker_gate_reason reason);

#endif
