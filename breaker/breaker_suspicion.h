/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_suspicion: what one client may have made itself, and several do not. A value of bounded
 * size: time comes in. Pure; one owner.
 */
#ifndef BREAKER_SUSPICION_H
#define BREAKER_SUSPICION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BREAKER_SUSPECTS = 3,     /* so many together are a failure */
    BREAKER_SUSPECTS_MAX = 8, /* users that are remembered, the latest of each */
};

struct breaker_suspicion {
    uint64_t at_ns; /* 0: none */
    uint64_t who;   /* a user, as the server knows it */
    uint64_t login; /* ... and as it logged in here */
    uint64_t what;  /* a statement's fingerprint, or a connection */
};

/* Zeroed: none. */
struct breaker_suspicions {
    struct breaker_suspicion latest[BREAKER_SUSPECTS_MAX];
};

/* Adds one of now (its at_ns is set here). True when with it three stand within `window_ns` of
 * which no two share a user, a log-in or a `what`: a failure, and they are forgotten. One user
 * never makes it, however many statements and connections it has, and in however many databases it
 * is called by another name. */
bool breaker_suspect(struct breaker_suspicions *s, struct breaker_suspicion one, uint64_t window_ns,
                     uint64_t now_ns);

#endif
