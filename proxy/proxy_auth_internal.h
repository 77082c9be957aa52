/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_internal: what the files of log-in share; only they include it. Everything belongs to
 * the client's worker thread, but for what proxy_auth_peer.c hands to a thread of the pool.
 */
#ifndef PROXY_AUTH_INTERNAL_H
#define PROXY_AUTH_INTERNAL_H

#include "config_hba.h"
#include "proxy_auth.h"
#include "proxy_hosts.h"
#include "proxy_worker.h"

struct auth_entry; /* proxy_auth_ask.c: what a server said of one user */

/* A log-in, from the start-up packet to its end. Its client's, which frees it: auth_forget(). */
struct auth {
    struct client *client;
    enum core_auth way;            /* how the client is to prove who it is */
    const struct config_hba *line; /* that it matched; NULL: no hba file */
    enum config_hba_host host;     /* for lines that name hosts */
    const char *host_name;         /* of CONFIG_HBA_HOST_NAMED; only while the line is found */
    char *roles;                   /* owned; config_hba.h; NULL: nobody asked for them */
    struct hosts_wait host_wait;   /* the name is being looked up */
    const char *secret;            /* configuration's, or `fetched` */
    char *fetched;                 /* owned: of auth_query */
    bool known;                    /* there is such a user; for the log alone */
    bool asked;                    /* auth_query was to tell */
    bool from_cache;               /* ... and it had told before this log-in */
    struct auth_peer *peer;        /* its name is being looked up in another thread */
    struct auth_entry *entry;      /* waits for what a server says: is among its waiters */
    TAILQ_ENTRY(auth) link;
    struct shared_catalog *look; /* it waits for a look at this database: proxy_look.h */
    uint64_t look_ns;            /* ... since then */
    bool looked;                 /* it has waited, or does */
    LIST_ENTRY(auth) look_link;
};

/* Why not, as PostgreSQL would say it. */
struct auth_refusal {
    struct proto_error_text text;
    char message[1024];
};
void auth_refuse(struct auth_refusal *r, const char *sqlstate, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- proxy_auth.c ---- */

bool auth_is_console(const char *database); /* the admin console's name */
/* The answer to the start-up packet; refusal NULL: ask for the proof. May free the auth. */
void auth_answer(struct auth *a, const struct auth_refusal *refusal, uint64_t now_ns);
/* What AUTH_WANTS_... asked for is there. May free the auth. */
void auth_continue(struct auth *a, uint64_t now_ns);
/* What auth_query said, or with a refusal why it could not be asked. May free the auth. */
void auth_fetched(struct auth *a, const struct auth_refusal *refusal, uint64_t now_ns);

/* ---- proxy_auth_method.c ---- */

enum auth_verdict {
    AUTH_REFUSED,    /* *ret says why */
    AUTH_ASKS,       /* a->way and a->line are filled */
    AUTH_WANTS_HOST, /* the name of the client's address comes first */
    AUTH_WANTS_ROLES /* ... the roles of its user */
};
enum auth_verdict auth_method(struct auth *a, struct auth_refusal *ret);
/* Is this name of the outside world (of a certificate, of the system) the user's? */
bool auth_name_allowed(const struct auth *a, const char *name);

/* ---- proxy_auth_peer.c ---- */

/* Looks up who is at the other end of a Unix socket; auth_answer() comes, perhaps at once. */
void auth_peer_start(struct auth *a, uint64_t now_ns);
void auth_peer_forget(struct auth_peer *peer);

/* ---- proxy_auth_user.c ---- */

/* The same in SCRAM's form, with the salt that a made-up secret of this user has. */
void auth_scram_make(const struct proxy *p, const char *user, const char *password, char ret[256]);
/* Which exchange a user who is not there is offered, so that it looks like those who are. */
enum core_auth auth_way_of_strangers(const struct auth *a);

/* ---- proxy_auth_query.c ---- */

/* Is there an auth_query for the database that the client named? */
bool auth_query_wanted(const struct auth *a);
/* auth_fetched() comes, perhaps at once. */
void auth_query_start(struct auth *a, uint64_t now_ns);
/* A password was wrong: it may have been changed since it was asked for. */
void auth_query_distrust(struct auth *a);

/* ---- proxy_auth_roles.c ---- */

/* auth_continue() comes with a->roles, perhaps at once, or auth_answer() with why not. */
void auth_roles_start(struct auth *a, uint64_t now_ns);

#endif
