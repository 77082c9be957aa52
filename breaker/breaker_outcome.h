/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_outcome: which error counts against a node, and how much. Pure; any thread.
 */
#ifndef BREAKER_OUTCOME_H
#define BREAKER_OUTCOME_H

#include "breaker.h"

/* What became of work on a node, as the shell saw it. */
enum breaker_event {
    BREAKER_EVENT_ANSWERED,       /* success */
    BREAKER_EVENT_SQLSTATE,       /* an ErrorResponse with this SQLSTATE */
    BREAKER_EVENT_CONNECT_FAILED, /* unreachable, reset in the handshake, connect, TLS or auth
                                     timeout, refused once */
    BREAKER_EVENT_CONNECT_REFUSED_TWICE, /* a second try confirmed it */
    BREAKER_EVENT_LOST_RUNNING,          /* EOF or reset while a statement ran */
    BREAKER_EVENT_LOST_IDLE,             /* EOF on an idle pooled connection */
    BREAKER_EVENT_NO_PROTOCOL,           /* bytes that are no protocol */
    BREAKER_EVENT_CLIENT_GAVE_UP,        /* our pool exhausted, the client left */
    BREAKER_EVENT_QUERY_TIMEOUT,         /* a statement exceeded our own query_timeout */
    BREAKER_EVENT_CONNECT_SQLSTATE,      /* an ErrorResponse to our start-up packet */
    BREAKER_EVENT_WRITE_REFUSED, /* 25006 for a write, and the transaction (with the session's
                                    default) is known not to be read-only */
};

struct breaker_outcome {
    enum breaker_input input;
    enum breaker_reason reason;
    bool probe_now; /* ask for a probe at once */
    bool misroute;  /* a replica refused what was no read: our mistake, never the node's */
    bool overload;  /* too many connections: smaller pool target, slower connects */
    bool alert;     /* somebody should look: damaged data on the primary */
};

/*
 * One event at a time: rules over several (three in a second, three fingerprints) are not here yet.
 * `sqlstate` is five characters for the events with an ErrorResponse, else NULL. `on_replica`: the
 * node was used as a replica. `routine` is the error's R field ("" if absent).
 */
struct breaker_outcome breaker_judge(enum breaker_event event, const char *sqlstate,
                                     const char *routine, bool on_replica);

/* True when this error of a standby says "this was no read": the learning retry's key. Only exact
 * routines count: an error that a foreign server or a RAISE made carries another one. */
bool breaker_is_refusal(const char *sqlstate, const char *routine);

#endif
