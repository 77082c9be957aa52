/* SPDX-License-Identifier: PostgreSQL
 *
 * router_decide: verdict x session x topology -> a node and a reason.
 *
 * Pure: time and randomness are arguments. The topology is an immutable snapshot that the
 * supervisor publishes; the load is the calling worker's own. No allocation; any thread.
 */
#ifndef ROUTER_DECIDE_H
#define ROUTER_DECIDE_H

#include "breaker.h"
#include "router_classify.h"

enum { ROUTER_NODES_MAX = 16, ROUTER_NODE_NONE = 0xff };

/* Nobody knows yet, or the evidence says that the session's write still runs. */
#define ROUTER_NEVER_NS UINT64_MAX

enum router_role { ROUTER_ROLE_UNKNOWN, ROUTER_ROLE_PRIMARY, ROUTER_ROLE_REPLICA };

/* One node as the supervisor saw it last. */
struct router_node {
    uint8_t role;    /* enum router_role, as probed */
    uint8_t breaker; /* enum breaker_state: the effective one, overrides applied */
    uint8_t gate;    /* enum breaker_gate_reason: BREAKER_GATE_OPEN when reads may come */
    bool drained;
    bool lag_hard; /* lag is above lag_hard: not even `eventual` reads */
    uint8_t shard;
    uint16_t weight_permille; /* share of reads, slow start applied; 0: no reads */
    uint32_t generation;      /* of the breaker: outcomes carry it */
    uint64_t fresh_as_of_ns;  /* monotonic; 0: unknown */
    uint64_t evidence_ns;     /* when the probe behind fresh_as_of_ns was sent; a connection that
                                 was opened later carries no read yet */
    uint64_t proven_ns;       /* fresh_as_of_ns is what no primary contradicts, and this is what is
                                 proven of it; ROUTER_NEVER_NS: all of it is */
};

struct router_topology {
    uint64_t generation;
    uint32_t nodes_count;
    bool is_gone; /* of some shard no primary answers: see proven_ns */
    struct router_node nodes[ROUTER_NODES_MAX];
};

/* What one worker knows of one node's load. */
struct router_load {
    uint64_t latency_ns; /* peak EWMA */
    uint32_t in_flight;
};

enum router_level {
    ROUTER_LEVEL_EVENTUAL,
    ROUTER_LEVEL_BOUNDED,
    ROUTER_LEVEL_SESSION,
    ROUTER_LEVEL_GLOBAL,
    ROUTER_LEVEL_PRIMARY,
};
const char *router_level_text(enum router_level level);
bool router_level_parse(const char *text, enum router_level *ret);

enum router_reads { ROUTER_READS_AUTO, ROUTER_READS_PRIMARY, ROUTER_READS_REPLICAS };

/* The session's side of a decision, all at one moment. */
struct router_request {
    struct router_class class;
    uint8_t shard;
    uint8_t level;          /* enum router_level */
    uint8_t route;          /* enum router_route: SET switchgear.route or a hint */
    uint8_t reads;          /* enum router_reads: READS <db> TO ... */
    bool fallback_allowed;  /* read_fallback = primary */
    bool begins_read_only;  /* a deferred READ ONLY block: every statement in it reads */
    bool in_plain_block;    /* a deferred BEGIN that declared nothing: primary, `in_transaction` */
    bool in_write_block;    /* a deferred BEGIN READ WRITE or SERIALIZABLE */
    uint8_t floor_node;     /* the replica that this session read last; ROUTER_NODE_NONE: none */
    uint8_t avoid_node;     /* a retry must not use this one; ROUTER_NODE_NONE: none */
    uint64_t floor_ns;      /* when that last reply came */
    uint64_t last_write_ns; /* 0: never; ROUTER_NEVER_NS: a write runs */
    uint64_t global_write_ns; /* level global: newest write of any session */
    uint64_t max_lag_ns;      /* 0: unbounded */
};

struct router_choice {
    uint8_t target;   /* enum router_target */
    uint8_t node;     /* the chosen one; ROUTER_NODE_NONE: none is fit (reason says why) */
    uint8_t reason;   /* enum router_reason */
    bool fell_back;   /* a read on the primary because no configured replica was admitted (counts
                         against fallback_limit): not for its level, a hint, a recent write */
    bool wants_probe; /* newer evidence might have let a replica serve this read */
    bool is_trial;    /* the node is HALF_OPEN: take a permit before the statement is sent */
    uint32_t fit;     /* bit per node: all that would have been as right (primary excluded) */
};

/*
 * Decides. `random` is any 64 random bits. A read goes to the better of two random fit replicas by
 * latency x (in flight + 1) / weight; a primary with a weight competes with them.
 *
 * HALF_OPEN replicas are fit only when `trial_ok` has their bit (the worker believes that a permit
 * is free). They are chosen when no CLOSED one is fit, and for one read in 16 by `random`, so that
 * a trial gets its traffic. `ret->fit` names a HALF_OPEN node only when it is the chosen one.
 *
 * A session stays on floor_node until other replicas show at least what it has seen there
 * (fresh_as_of_ns >= floor_ns): from then on they are equally right, and load decides.
 *
 * No fit replica: the primary, with the most telling refusal as the reason. When replicas are
 * configured but none is admitted for this read (fell_back), only if fallback_allowed. A read that
 * comes too early after a write uses the primary in any case. With ROUTER_READS_REPLICAS neither.
 */
void router_decide(const struct router_topology *t, const struct router_load *loads,
                   const struct router_request *request, uint32_t trial_ok, uint64_t random,
                   uint64_t now_ns, struct router_choice *ret);

/* Why one node may not serve this request: ROUTER_REASON_NONE when it may. For EXPLAIN (ROUTE). */
enum router_reason router_refusal(const struct router_topology *t,
                                  const struct router_request *request, uint8_t node,
                                  uint64_t now_ns);

/* The node that is primary of a shard, or ROUTER_NODE_NONE. */
uint8_t router_primary(const struct router_topology *t, uint8_t shard);

/* Peak EWMA: jumps up to a slower sample at once, decays towards faster ones over ~10 s. */
void router_load_observe(struct router_load *load, uint64_t sample_ns, uint64_t elapsed_ns);

#endif
