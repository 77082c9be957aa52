/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_outcomes: what one worker has to tell of the nodes, on its way to the supervisor (ck_ring,
 * one writer, one reader).
 */
#ifndef PROXY_OUTCOMES_H
#define PROXY_OUTCOMES_H

#include <ck_ring.h>
#include <stdbool.h>
#include <stdint.h>

/* The work on a node, for its breaker. */
struct outcome_record {
    uint8_t node;
    uint8_t input;     /* enum breaker_input */
    uint8_t reason;    /* enum breaker_reason */
    uint8_t suspicion; /* enum breaker_suspicion_kind */
    bool probe_now;
    bool late;   /* it answers nobody, and somebody waits: proxy_quiet.h */
    bool page;   /* ... by a probe that writes and reads a page */
    bool alert;  /* a client was told that disk, memory or data are sick */
    bool permit; /* the work held a trial permit */
    uint32_t generation;
    uint64_t who, login, what; /* of a suspicion: breaker_suspicion.h */
    uint64_t at_ns;            /* of a plain success: when (to the millisecond); else 0 */
};

struct outcomes {
    struct ck_ring ring;
    struct ck_ring_buffer *buffer;
};

/* `size` is a power of two. False: no memory. */
bool outcomes_init(struct outcomes *o, uint32_t size);
/* Both threads have stopped using it; what was not taken is dropped. */
void outcomes_deinit(struct outcomes *o);

/* The worker: puts a copy in. False: it is full, or there is no memory. */
bool outcomes_put(struct outcomes *o, const struct outcome_record *record);
/* The supervisor: takes the oldest out. False: there is none. */
bool outcomes_take(struct outcomes *o, struct outcome_record *ret);

#endif
