/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_libpq: what everybody needs who uses libpq: the keywords of a connection, the watch of its
 * descriptor under uv_poll, and what is in an error that comes as text. Nothing blocks.
 */
#ifndef PROXY_LIBPQ_H
#define PROXY_LIBPQ_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <uv.h>

/* What libpq is told of a connection: of two with one name the later wins, and it passes over what
 * is empty. The texts are the caller's. Zeroed: none; `names` and `values` end in NULL. */
enum { LIBPQ_KEYWORDS_MAX = 80, LIBPQ_OPTIONS_MAX = 46 };
struct libpq_keywords {
    const char *names[LIBPQ_KEYWORDS_MAX + 1];
    const char *values[LIBPQ_KEYWORDS_MAX + 1];
    size_t count;
};
/* `value` NULL: nothing is said. */
void libpq_keyword_add(struct libpq_keywords *k, const char *name, const char *value);
/* All that a node's options have, as PQconninfoParse() has read them (NULL: nothing), while there
 * are no more than LIBPQ_OPTIONS_MAX keywords. */
void libpq_keywords_add(struct libpq_keywords *k, const PQconninfoOption *options);
/* The first of this name; NULL: there is none. */
const char *libpq_keyword_find(const struct libpq_keywords *k, const char *name);

/* A PGconn's descriptor in a loop. Zeroed but for the first three: not watched. */
struct libpq_watch {
    uv_loop_t *loop;
    uv_poll_cb on_ready;
    void *arg;       /* poll->data of on_ready */
    uv_poll_t *poll; /* its own memory: it outlives the watch until its handle has closed */
};

/* False: libpq has no descriptor, or the loop does not take it. */
bool libpq_watch_start(struct libpq_watch *w, const PGconn *conn, int events);
/* Before libpq may close the descriptor (PQconnectPoll, PQfinish): the watch has to go first. */
void libpq_watch_end(struct libpq_watch *w);
/* Writes what libpq holds and watches for what comes next. False: the connection is lost. */
bool libpq_watch_flush(struct libpq_watch *w, PGconn *conn);

/* Of verbose messages, which read "FATAL:  57P03: the database system is starting up", in whatever
 * language the first word is. Empty: there is none. */
void libpq_sqlstate(const char *message, char ret[6]);

/* What a client may read of such a message, which names our servers' addresses: the server's own
 * words, or the reason that libpq gives. One line, NUL-terminated, cut to `size`. */
void libpq_reason(const char *message, char *ret, size_t size);

/* Whose fault a connection is that did not come about, when no ErrorResponse says so. */
enum libpq_blame {
    LIBPQ_NODE,        /* unreachable, silent, or it closed the connection */
    LIBPQ_NO_PASSWORD, /* the node asks for one, and none is known */
    LIBPQ_LOGIN, /* it asked for one: it is there, what went wrong is between it and this user */
    LIBPQ_OURS,  /* no descriptor, port or buffer of this machine is left */
};
/* The errno that the message speaks of, by its name ("ECONNREFUSED"); "": none. */
const char *libpq_errno(const char *message);
/* `message`: libpq's, or our own. conn may be NULL. */
enum libpq_blame libpq_blame(const PGconn *conn, const char *message);

/* A name needs a look-up off the loop: libpq's own would block it. Addresses and the directories of
 * Unix sockets need none. */
bool libpq_needs_lookup(const char *host);

#endif
