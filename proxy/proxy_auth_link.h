/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_link: one libpq connection of a worker for auth_query, and one question at a time on
 * it. It carries nothing of any client, and its search_path is empty: only what names its schema,
 * or is pg_catalog's, is found. The worker's loop; nothing blocks.
 */
#ifndef PROXY_AUTH_LINK_H
#define PROXY_AUTH_LINK_H

#include "config.h"
#include "proxy_libpq.h"

enum auth_link_state {
    AUTH_LINK_CLOSED,
    AUTH_LINK_RESOLVING,
    AUTH_LINK_CONNECTING,
    AUTH_LINK_IDLE,
    AUTH_LINK_ASKED
};

/* Where to, and as whom. The texts are the configuration's, which outlives every worker. */
struct auth_target {
    const struct config *config;
    const char *user;
    const char *password; /* NULL: whatever libpq finds (a passfile) */
    uint8_t node;
    char dbname[256];
};

struct auth_link {
    struct libpq_watch watch;
    void *owner;
    enum auth_link_state state;
    bool reused; /* the question went over a connection that had been idle: it may have been dead */
    uint64_t since_ns; /* in this state */
    struct auth_target target;
    struct auth_entry *entry; /* the owner's: whom the question is about */
    const char *query;
    char name[256];
    PGconn *conn;
    PGresult *result;
    struct auth_resolve *lookup; /* of the host's name; outlives us when it is given up */
};

/* CLOSED, or IDLE with the same target. auth_link_answered() or _failed() comes, perhaps at once.
 */
void auth_link_ask(struct auth_link *l, const struct auth_target *target, const char *query,
                   const char *name, uint64_t now_ns);
bool auth_link_fits(const struct auth_link *l, const struct auth_target *target);
/* Without a callback; in any state. */
void auth_link_close(struct auth_link *l);
void auth_link_time_out(struct auth_link *l);

/* The owner's (proxy_auth_ask.c). `result`: PGRES_TUPLES_OK; the link is idle. */
void auth_link_answered(struct auth_link *l, const PGresult *result);
/* The link is closed. `sqlstate` "": the server said nothing. */
void auth_link_failed(struct auth_link *l, const char *sqlstate, const char *message);

#endif
