/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel: cancel requests, from the connection that brings one to the server that it is for.
 *
 * A canceller's connection stays open until its request has done all it will do, as with
 * PostgreSQL: a client that waits for that end can be sure that no later statement of its is hit.
 * The session may belong to another worker (mail) or to another instance (a peer). Requests for one
 * server become one; few are under way to a node at once, the others wait for their turn, all for
 * at most cancel_wait_timeout. A server is not reused before its cancel has ended. The worker's own
 * thread.
 */
#ifndef PROXY_CANCEL_H
#define PROXY_CANCEL_H

#include "proxy_worker.h"

/* c brought a cancel request (actions->cancel_request); may close c. */
void cancel_requested(struct client *c);
/* pg_cancel_backend: what it runs, or waits to run. */
void cancel_client(struct worker *w, struct client *c);
/* Mail: a request for one of this worker's sessions, or the end of one of its cancellers' waits. */
void cancel_mail(struct worker *w, const struct mail_cancel *mail);
void cancel_done_mail(struct worker *w, const struct mail_cancel_done *mail);
/* The server's connection ends before its cancel does. */
void cancel_server_gone(const struct server *v);
/* Every 100 ms: what took too long is given up. */
void cancels_tick(struct worker *w, uint64_t now_ns);

/* proxy_server_key.c: reads the server's cancel key off libpq's trace while it logs in, as libpq
 * tells nobody. */
void server_key_listen(struct server *v);
void server_key_learn(struct server *v);
void server_key_drop(struct server *v);    /* listened, but the log-in failed */
void server_key_abandon(struct server *v); /* closed within a step: the step gives both back */

#endif
