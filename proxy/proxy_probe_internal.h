/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_internal: what the files of the prober share. All on the supervisor's thread.
 *
 *   proxy_probe.c         when to ask whom; the public functions
 *   proxy_probe_judge.c   what an answer changes: role, freshness, gate, breaker
 *   proxy_probe_failure.c what its absence changes
 *   proxy_probe_late.c    a probe that a late statement asked for
 *   proxy_probe_witness.c suspicions, and the second look that they ask for
 *   proxy_probe_publish.c the topology that workers see, trial permits, weights
 *   proxy_probe_link.c    one connection to one node
 *   proxy_marks.c, proxy_evidence.c: pure
 */
#ifndef PROXY_PROBE_INTERNAL_H
#define PROXY_PROBE_INTERNAL_H

#include "breaker_outcome.h"
#include "breaker_suspicion.h"
#include "proxy_evidence.h"
#include "proxy_marks.h"
#include "proxy_probe_link.h"
#include "proxy_supervisor.h"

#define PROBE_MS UINT64_C(1000000)
#define PROBE_NEVER UINT64_MAX

/* A probe on a new connection, at once, when what clients met says something of a node that one of
 * them may have made itself. */
/* Between things that somebody may ask for as often as he likes. */
struct probe_pause {
    uint64_t ns;       /* how long it is; 0: there was none yet */
    uint64_t until_ns; /* not before */
};

struct probe_witness {
    struct link link;
    bool is_wanted;      /* a look that begins after now */
    bool wants_page;     /* ... and writes and reads a page */
    bool is_page_bad;    /* the last page failed: asked for again until one does not */
    bool is_withheld;    /* `input` would open the primary: when the look fails, it does */
    uint8_t input;       /* enum breaker_input */
    uint8_t reason;      /* enum breaker_reason */
    uint32_t generation; /* of the input */
    uint32_t refusals;   /* in a row */
    struct probe_pause look;
    struct probe_pause page;
    uint64_t counted_ns; /* when a look that failed last counted */
    uint64_t alert_ns;   /* no line in the log before */
    struct probes_evidence counts;
    struct breaker_suspicions suspects[BREAKER_SUSPICION_COUNT];
};

struct probe {
    struct supervisor *s;
    struct link link;
    struct evidence evidence;
    uint64_t due_ns;        /* next full question */
    uint64_t anew_ns;       /* when its connection was last made */
    uint64_t early_ns;      /* next question before that; PROBE_NEVER: none */
    bool early_full;        /* the early one is a full one */
    uint64_t backoff_ns;    /* between early ones, while the replica is behind the newest mark */
    uint64_t success_ns;    /* when the breaker was last fed a success */
    uint32_t refusals;      /* in a row */
    bool is_fenced;         /* out of recovery, but not the shard's primary */
    bool is_late;           /* statements wait for it: until it answers */
    bool is_late_witnessed; /* ... and a witness has been sent meanwhile */
    uint64_t slept_ns;      /* probes.slept_ns when its link was asked */
    bool is_failing;        /* the last probe failed */
    uint64_t failing_ns;    /* ... since then; and what was said of it last */
    uint64_t said_ns;
    enum link_fault said_fault;
    char said_sqlstate[6];
    uint32_t granted; /* trial permits in the shared word when it was last set */
    uint32_t granted_generation;
    struct probe_witness witness;
    char *target; /* what the link is for: another one after a reload means another link */
};

struct probe_shard {
    struct marks marks;    /* of the primary's history */
    uint8_t primary;       /* ROUTER_NODE_NONE: none known */
    uint32_t timeline;     /* the highest one that a primary of this shard had */
    bool has_promoted;     /* another timeline began while we looked */
    uint64_t round_due_ns; /* next question to the primary for a mark */
    bool is_wanted;        /* workers wait for a mark later than now */
    bool is_waited_for;    /* ... and for a replica that has reached wanted_ns */
    uint64_t wanted_ns;    /* when they last said so */
    uint64_t primary_asked_ns;
    uint64_t alive_ns; /* when a primary last answered, or when it was first looked for */
    bool is_gone;      /* none has for a while: proxy_probe_gone.c */
    uint64_t since_ns; /* when it was first looked at */
    bool has_waited;   /* the log has said that a sole primary waits for the other nodes */
    /* The highest timeline that a primary of it had, by any run of the proxy (proxy_state.c), and
     * that cluster's system identifier; 0: nothing is remembered. */
    uint32_t remembered_timeline;
    char remembered_system[MARKS_SYSTEM_MAX];
    uint64_t said_ns; /* when that was last said; 0: not since one answered */
};

struct probes {
    struct supervisor *s;
    uv_timer_t timer;
    struct probe_shard shards[CONFIG_SHARDS_MAX];
    struct probe nodes[CONFIG_NODES_MAX];
    uint64_t random;
    uint64_t planned_ns; /* when the next look was due, at the latest */
    uint64_t slept_ns;   /* by how much looks came too late, all told: nobody could answer then */
    bool is_stopping;
    bool is_running; /* probe_schedule() is not entered twice */
    bool runs_again;
};

static inline uint64_t probe_later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline struct probe_shard *probe_shard_of(const struct supervisor *s, uint32_t node)
{
    return &s->probes->shards[s->proxy->config->nodes[node].shard_index];
}

/* ---- proxy_probe.c ---- */

/* Looks at the clock, asks what is due, arms the timer. After anything that may change that. */
void probe_schedule(struct supervisor *s);
/* A full question as soon as possible, for instance on a new connection. */
void probe_soon(struct probe *p, uint64_t at_ns, bool full);
uint64_t probe_random(struct supervisor *s);

/* ---- proxy_probe_judge.c ---- */

void probe_judge_answer(struct supervisor *s, uint32_t node, const struct evidence_answer *answer);
void probe_judge_failure(struct supervisor *s, uint32_t node, const struct link_failure *failure);
/* Steps the breaker and logs a change. True when workers must see it. */
bool probe_step(struct supervisor *s, uint32_t node, enum breaker_input input,
                enum breaker_reason reason, uint32_t generation);
/* The same of an input that is not yet certain: what would open a primary waits for a witness. */
bool probe_suspect(struct supervisor *s, uint32_t node, enum breaker_input input,
                   enum breaker_reason reason, uint32_t generation);
/* What is known of its freshness holds no longer. True when something was known. */
bool probe_void(struct supervisor *s, uint32_t node, const char *why);
bool probe_primary_is_alive(const struct supervisor *s, const struct probe_shard *shard);
/* Time alone makes evidence too old: true when lag_hard changed. */
bool probe_age(struct supervisor *s, uint32_t node, uint64_t now_ns);

/* ---- proxy_probe_failure.c ---- */

/* `refusals`: so many in a row, with this one. */
struct breaker_outcome probe_failure_outcome(const struct supervisor *s, uint32_t node,
                                             const struct link_failure *failure, uint32_t refusals);

/* ---- proxy_probe_late.c ---- */

void probe_late(struct supervisor *s, uint32_t node);
/* It has answered. */
void probe_late_over(struct probe *p);
/* How long an answer may take now. */
uint64_t probe_timeout_ns(const struct supervisor *s, const struct probe *p);
/* Does this failure say all there is to say? */
bool probe_late_decides(const struct supervisor *s, uint32_t node, enum link_fault fault);
/* The question has waited since `since_ns`. Returns when to look again. */
uint64_t probe_late_witness(struct supervisor *s, uint32_t node, uint64_t since_ns,
                            uint64_t now_ns);

/* ---- proxy_probe_witness.c ---- */

void witness_init(struct supervisor *s, struct probe *p);
void witness_want(struct supervisor *s, uint32_t node, bool page);
/* A worker's record: alerts and suspicions are counted. Returns its input, or the one that several
 * suspicions amount to. */
enum breaker_input witness_take(struct supervisor *s, uint32_t node,
                                const struct outcome_record *record, uint64_t now_ns);
/* Looks at what is due; returns when to look again. */
uint64_t witness_schedule(struct supervisor *s, uint32_t node, uint64_t now_ns);
/* The configuration has changed: a look that reads the old one begins again. */
void witness_restart(struct probe *p);

/* ---- proxy_probe_publish.c ---- */

void probe_breaker_config(const struct supervisor *s, uint32_t node, struct breaker_config *ret);
/* Brings the shared word and the breaker's leases together. */
bool probe_permits_sync(struct supervisor *s, uint32_t node, uint64_t now_ns);

void workers_wake(struct proxy *p); /* proxy_worker.h */

/* ---- proxy_probe_gone.c ---- */

/* A replica has answered. True: it stands for a shard without a primary from now on, or no longer.
 */
bool probe_gone_look(struct supervisor *s, uint32_t node, uint64_t now_ns);
/* A primary has answered. True: none had. */
bool probe_gone_over(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns);
/* Says that a shard has no primary, and again while that lasts. */
void probe_gone_remind(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns);

#endif
