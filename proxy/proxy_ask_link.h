/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_ask_link: one libpq connection of a worker for questions of its own, one at a time: about
 * users (proxy_auth_ask.c) and about a database's names (proxy_catalog.c). It carries nothing of
 * any client. The worker's loop; nothing blocks.
 */
#ifndef PROXY_ASK_LINK_H
#define PROXY_ASK_LINK_H

#include "config.h"
#include "proxy_libpq.h"

enum ask_link_state {
    ASK_LINK_CLOSED,
    ASK_LINK_RESOLVING,
    ASK_LINK_CONNECTING,
    ASK_LINK_IDLE,
    ASK_LINK_ASKED
};

/* Where to, and as whom. The texts outlive the connection: the configuration's do, which lives as
 * long as every worker. */
struct ask_target {
    const struct config *config;
    const char *user;
    const char *password; /* NULL: whatever libpq finds (a passfile) */
    const char *scram[2]; /* libpq 18: the client's and the server's key; NULL: none */
    const char *settings; /* for the start-up packet, where neither ALTER ROLE nor ALTER DATABASE
                             changes them */
    const char *prelude;  /* asked once, on a new connection, for what it does there; or NULL */
    const char *application_name;
    bool node_user_first; /* a user and password among the node's options win, as in pools */
    uint8_t node;
    char dbname[256];
};

struct ask_link {
    struct libpq_watch watch;
    void *owner;
    enum ask_link_state state;
    bool prelude; /* ... is under way */
    bool reused; /* the question went over a connection that had been idle: it may have been dead */
    uint64_t since_ns; /* in this state */
    struct ask_target target;
    void *entry; /* the owner's: what the question is about */
    /* The owner's. `result`: PGRES_TUPLES_OK; the link is idle, and may be closed there. */
    void (*answered)(struct ask_link *l, const PGresult *result);
    /* The link is closed. `sqlstate` "": the server said nothing. */
    void (*failed)(struct ask_link *l, const char *sqlstate, const char *message);
    const char *query;
    bool has_parameter;
    char name[256];
    PGconn *conn;
    struct connect_step *step; /* of its connecting, while it runs: conn is the step's then */
    PGresult *result;
    struct ask_resolve *lookup; /* of the host's name; outlives us when it is given up */
};

/* CLOSED, or IDLE with the same target. answered() or failed() comes, perhaps at once. `name`: the
 * query's parameter; NULL: it has none. */
void ask_link_ask(struct ask_link *l, const struct ask_target *target, const char *query,
                  const char *name, uint64_t now_ns);
bool ask_link_fits(const struct ask_link *l, const struct ask_target *target);
/* Without a callback; in any state. */
void ask_link_close(struct ask_link *l);
void ask_link_time_out(struct ask_link *l);

#endif
