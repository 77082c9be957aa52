/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_outcome: which error counts against a node, and how much. Pure; any thread.
 */
#ifndef BREAKER_OUTCOME_H
#define BREAKER_OUTCOME_H

#include "breaker.h"

/* What became of work on a node, as the shell saw it. */
enum breaker_event {
    BREAKER_EVENT_ANSWERED,         /* success */
    BREAKER_EVENT_SQLSTATE,         /* an ErrorResponse with this SQLSTATE */
    BREAKER_EVENT_CONNECT_FAILED,   /* unreachable, reset in the handshake, connect/TLS/auth timeout */
    BREAKER_EVENT_CONNECT_REFUSED_TWICE, /* a second try confirmed it */
    BREAKER_EVENT_LOST_RUNNING,     /* EOF or reset while a statement ran */
    BREAKER_EVENT_LOST_IDLE,        /* EOF on an idle pooled connection */
    BREAKER_EVENT_NO_PROTOCOL,      /* bytes that are no protocol */
    BREAKER_EVENT_CLIENT_GAVE_UP,   /* our query_timeout, our pool exhausted, the client left */
};

struct breaker_outcome {
    enum breaker_input input;
    enum breaker_reason reason;
    bool probe_now; /* ask for a probe at once */
    bool misroute;  /* a replica refused what was no read: our mistake, never the node's */
};

/*
 * `sqlstate` is five characters for EVENT_SQLSTATE, else NULL. `on_replica`: the node was used as a
 * replica. `routine` is the error's R field ("" if absent).
 */
struct breaker_outcome breaker_judge(enum breaker_event event, const char *sqlstate,
                                     const char *routine, bool on_replica);

/* True when this error of a standby says "this was no read": the learning retry's key. */
bool breaker_is_refusal(const char *sqlstate, const char *routine);

#endif
