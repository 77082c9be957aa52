/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_outcome: which error counts against a node, and how much. Pure; any thread.
 */
#ifndef BREAKER_OUTCOME_H
#define BREAKER_OUTCOME_H

#include "breaker.h"

/*
 * What became of work on a node, as the shell saw it. A client can raise any SQLSTATE as an ERROR,
 * end its own connection on the server, and leave in the middle of any batch: what it can write
 * itself is at most a suspicion.
 */
enum breaker_event {
    BREAKER_EVENT_ANSWERED,         /* success */
    BREAKER_EVENT_ERROR,            /* an ERROR of a client's statement */
    BREAKER_EVENT_FATAL,            /* FATAL or PANIC: the server closes the connection */
    BREAKER_EVENT_PROBE_ERROR,      /* an ErrorResponse to our own probe */
    BREAKER_EVENT_PROBE_REJECTED,   /* an ErrorResponse to a probe's start-up packet */
    BREAKER_EVENT_CONNECT_SQLSTATE, /* an ErrorResponse to a pool's start-up packet */
    BREAKER_EVENT_CONNECT_FAILED,   /* unreachable, reset in the handshake, connect, TLS or auth
                                       timeout, refused once */
    BREAKER_EVENT_CONNECT_REFUSED_TWICE, /* a second try confirmed it */
    BREAKER_EVENT_CONNECT_LOGIN,  /* the node asked for a password, and what came of it is not its
                                     fault: none is there, or the two do not agree */
    BREAKER_EVENT_CONNECT_OURS,   /* we lack a descriptor, a port, memory */
    BREAKER_EVENT_LOST_RUNNING,   /* EOF or reset while a statement ran */
    BREAKER_EVENT_LOST_IDLE,      /* EOF on an idle pooled connection */
    BREAKER_EVENT_NO_PROTOCOL,    /* a reply that does not fit */
    BREAKER_EVENT_LEFT,           /* either of the two, where the client had left before */
    BREAKER_EVENT_ELSEWHERE,      /* a read met a sickness here, and another node answered it */
    BREAKER_EVENT_CLIENT_GAVE_UP, /* our pool exhausted, the client left */
    BREAKER_EVENT_QUERY_TIMEOUT,  /* a statement exceeded our own query_timeout */
};

/* What is a failure only when several users meet it: breaker_suspicion.h. */
enum breaker_suspicion_kind {
    BREAKER_SUSPICION_NONE,
    BREAKER_SUSPICION_BROKEN, /* its connections break, or speak no protocol */
    BREAKER_SUSPICION_SICK,   /* its disk, memory or data fail where another node's do not */
    BREAKER_SUSPICION_COUNT
};

struct breaker_outcome {
    enum breaker_input input;
    enum breaker_reason reason;
    uint8_t suspicion; /* enum breaker_suspicion_kind */
    bool probe_now;    /* ask for a probe at once, on a new connection */
    bool page;         /* ... that writes and reads a page */
    bool misroute;     /* a replica refused what was no read: our mistake, never the node's */
    bool overload;     /* too many connections: smaller pool target, slower connects */
    bool alert;        /* somebody should look: disk, memory or data */
};

/*
 * One event at a time. `sqlstate` is five characters for the events with an ErrorResponse, else
 * NULL. `on_replica`: the node was used as a replica. `routine` is the error's R field ("" if
 * absent).
 */
struct breaker_outcome breaker_judge(enum breaker_event event, const char *sqlstate,
                                     const char *routine, bool on_replica);

/* True when an error may say that the node's disk, memory or data are sick: a read that met it on a
 * replica is worth a try elsewhere. */
bool breaker_is_sickness(const char *sqlstate);

/* True when this error of a standby says "this was no read": the learning retry's key. Only exact
 * routines count: an error that a foreign server or a RAISE made carries another one. */
bool breaker_is_refusal(const char *sqlstate, const char *routine);

#endif
