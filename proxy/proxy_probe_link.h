/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_link: one libpq connection to one node, and one query at a time on it. The
 * supervisor's loop; nothing here blocks. Callbacks come from the loop or from link_ask() itself.
 */
#ifndef PROXY_PROBE_LINK_H
#define PROXY_PROBE_LINK_H

#include <stdint.h>

#include "config.h"
#include "proxy_evidence.h"
#include "proxy_libpq.h"

enum link_state {
    LINK_CLOSED,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_PREPARING,
    LINK_IDLE, /* connected, nothing asked */
    LINK_ASKED,
};

#define LINK_FAULT_MAP(X)                                                  \
    X(REFUSED, "refused")         /* nobody listens */                     \
    X(UNREACHABLE, "unreachable") /* or reset in the handshake */          \
    X(REJECTED, "rejected")       /* an ErrorResponse at the door */       \
    X(TIMEOUT_CONNECT, "connect timeout")                                  \
    X(TIMEOUT_ANSWER, "no answer in time")                                 \
    X(LOGIN, "no password, or not understood") /* at the door, by libpq */ \
    X(OURS, "no descriptor or port is left here")                          \
    X(LOST_IDLE, "connection lost")                                        \
    X(LOST_ASKED, "connection lost while a probe ran")                     \
    X(ERROR, "error") /* an ErrorResponse to the probe */                  \
    X(GARBLED, "answer not understood")
enum link_fault {
#define X(name, text) LINK_##name,
    LINK_FAULT_MAP(X)
#undef X
        LINK_FAULT_COUNT
};
const char *link_fault_text(enum link_fault fault);

struct link_failure {
    enum link_fault fault;
    char sqlstate[6];  /* "" where there was none */
    char message[112]; /* one line */
    bool page;         /* it was the page that failed */
};

struct link {
    struct libpq_watch watch;
    void *owner;
    /* Either may call link_close() and link_ask(). on_failed: the connection is closed already. */
    void (*on_answer)(struct link *l, const struct evidence_answer *answer);
    void (*on_failed)(struct link *l, const struct link_failure *failure);

    enum link_state state;
    bool wants_full; /* of the question that is on its way */
    bool wants_page; /* set by the owner: behind its answer a page is written and read */
    bool at_page;    /* that is under way */
    struct evidence_answer answer; /* ... and this was the answer */
    uint8_t variant;               /* which text of the full query this server lets us run */
    uint8_t prepared;              /* statements prepared on this connection */
    uint64_t sent_ns;              /* read before the last question was sent */
    uint64_t asked_ns;             /* when link_ask() was called */
    PGconn *conn;
    PGresult *result;               /* the first one of a reply that is not complete */
    struct link_lookup *lookup;     /* of the host's name; outlives us when it is given up */
    const struct config_node *node; /* only while it connects */
    const struct config *config;    /* the node's */
    char lost_sqlstate[6];          /* of a FATAL that came unasked */
};

void link_init(struct link *l, uv_loop_t *loop, void *owner);
/* Sends a question, on a new connection (with a full one) if there is none. LINK_CLOSED or
 * LINK_IDLE only. `config`, and `node` of it, must live until it is answered or the link is
 * closed. */
void link_ask(struct link *l, const struct config *config, const struct config_node *node,
              bool full);
/* Closes without a callback; in any state. */
void link_close(struct link *l);
/* Is something of an answer there to be read? */
bool link_has_answer(const struct link *l);
/* The probe took too long: closes, on_failed. */
void link_time_out(struct link *l);

/* proxy_probe_connect.c: begins a connection; `addresses`: numeric ones of the host, comma
 * separated, or "" for a Unix socket. NULL: `error` says why. */
PGconn *link_start(const struct config *config, const struct config_node *node,
                   const char *addresses, char *error, size_t error_size);

#endif
