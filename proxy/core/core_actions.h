/* SPDX-License-Identifier: PostgreSQL
 *
 * core_actions: what a step of the session core asks of the shell.
 */
#ifndef CORE_ACTIONS_H
#define CORE_ACTIONS_H

#include "breaker_outcome.h"
#include "proto_frame.h"

enum {
    CORE_SPANS_MAX = 256,
    CORE_SPANS_RESERVE = 16, /* one message never adds more */
    CORE_SCRATCH_SIZE = 256 * 1024,
    CORE_COPY_MAX = 1024, /* smaller pieces are copied together instead of getting a span */
};

/* Bytes for one peer, in order. */
struct core_sink {
    struct proto_span spans[CORE_SPANS_MAX];
    uint32_t count;
    size_t size;
    uint8_t *scratch;
    size_t scratch_used;
};

/* A session of this proxy is to be ended, or its statement cancelled. */
struct core_signal_wish {
    uint8_t kind;        /* enum router_signal */
    uint32_t pid;        /* its number: cancel_pid */
    uint64_t timeout_ms; /* wait so long for its end; 0: not at all */
};

enum core_close { CORE_KEEP, CORE_CLOSE_AFTER_FLUSH, CORE_CLOSE_NOW };

/* Executed by the shell in the order of the fields. */
struct core_actions {
    struct core_sink server;      /* to `backend` */
    struct core_sink client;      /* to the session's client */
    struct core_backend *backend; /* whom `server`, close_backend and release mean */
    uint8_t close_backend;        /* enum core_close: NOW means it is no longer to be trusted */
    bool cancel_backend;  /* with close_backend or drain: a statement runs that nobody waits for */
    bool drain;           /* detached, but replies are outstanding: feed them to core_server_data()
                             until core_backend_drained(), then core_backend_reset() it */
    bool release;         /* back to its pool; the session is detached already */
    bool settle;          /* once the client has taken everything: core_client_drained() */
    bool want_link;       /* replication: a backend of its own, then core_linked() */
    bool want;            /* a backend as of session->choice, then core_granted() */
    bool cancel_want;     /* withdrawn: the session waits for no backend any more */
    bool again;           /* call core_resume() after executing these */
    bool unended;         /* a batch at the front lacks its Sync or Flush: core_unended(), once
                             nothing more has come for some milliseconds */
    bool again_server;    /* call core_server_data() without new bytes */
    bool tired;           /* with either of these: not before others had their turn */
    bool probe;           /* fresher evidence would help: ask the supervisor */
    uint8_t close_client; /* enum core_close */
    bool login_failed;    /* a FATAL ended its log-in ... */
    char login_sqlstate[6]; /* ... with this */
    bool login_done;        /* the client has just got its first ReadyForQuery */
    bool login_want_user;   /* look the user up, then core_login_user() */
    bool login_proven;      /* it is who it says it is: core_login_admit(), or hand it over */
    bool cancel_request;    /* core_login_cancel() says whom; the shell closes the connection */
    bool has_outcome;       /* for the breaker of `outcome_node` */
    bool signal;            /* do what `wish` says, then core_signalled() */
    bool start_tls;         /* what comes next from the client begins a handshake */
    uint8_t outcome_node;
    uint8_t misfit; /* type of a server's message that fits nothing; 0: none */
    struct breaker_outcome outcome;
    uint32_t outcome_generation;
    uint64_t latency_ns; /* of the statement that ended here; 0: none ended */
    struct proto_span
        moves_database; /* the text of a DROP DATABASE or the like that leaves now: idle
                           connections to the databases that it names are in its way */
    /* these say something only where others say so, and are not cleared with the rest */
    uint64_t outcome_who;        /* of a suspicion: the user ... */
    uint64_t outcome_what;       /* ... and the statement's fingerprint, or the connection */
    const char *misfit_expected; /* what was to come instead of a misfit */
    struct core_signal_wish wish;
};

#endif
