/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth: who may log in, and how they prove who they are. The session core runs the exchange;
 * this decides which one, against which secret. The client's worker thread; nothing blocks: what
 * takes time (auth_query, names of the operating system) is awaited within client_login_timeout.
 *
 * Strangers learn nothing: a user who is not there is asked for a proof like any other, and whether
 * a database is there is said only to whoever has proven who they are.
 */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdint.h>

struct client;
struct config;
struct group;
struct proxy;
struct worker;

/* The start-up packet is read (core_actions.login_want_user): core_login_user() follows. */
void auth_login(struct client *c, uint64_t now_ns);
/* It is who it says it is (core_actions.login_proven): may it enter the database that it named? */
void auth_proven(struct client *c, uint64_t now_ns);
/* A FATAL was written to a client that had not logged in yet: counted and logged. */
void auth_failed(struct client *c, const char *sqlstate);
/* The log-in is over, or its client is gone. */
void auth_forget(struct client *c);

/* ---- proxy_auth_user.c ---- */

/* The supervisor, before it publishes `next`: SCRAM's form of secrets in clear text, each costs a
 * millisecond. What `former` has is taken over. NULL: none. */
void auth_prepare(const struct proxy *p, struct config *next, const struct config *former);
/* The password that this group's connections use, from the configuration. */
void auth_group_password(struct worker *w, struct group *g);

/* A client that has proven itself: its password (NULL: not known in clear text) and its SCRAM keys
 * are what its group logs in to servers with. */
void auth_group_learn(struct group *g, const struct client *c, const char *password);

/* ---- proxy_auth_ask.c ---- */

void auth_ask_tick(struct worker *w, uint64_t now_ns);
/* The worker ends: its connections are closed; once its loop has ended, the rest. */
void auth_ask_stop(struct worker *w);
void auth_ask_destroy(struct worker *w);

#endif
