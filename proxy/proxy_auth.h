/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth: who may log in, and how they prove who they are. The session core runs the exchange;
 * this decides which one, against which secret. The client's worker thread; nothing blocks.
 */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdint.h>

struct client;

/* The start-up packet is read (core_actions.login_want_user): answers with core_login_user(). */
void auth_login(struct client *c, uint64_t now_ns);
/* It is who it says it is (core_actions.login_proven): may it enter the database that it named? */
void auth_proven(struct client *c, uint64_t now_ns);
/* A FATAL was written to a client that had not logged in yet: counted and logged. */
void auth_failed(struct client *c, const char *sqlstate);

#endif
