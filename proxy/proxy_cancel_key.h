/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel_key: the keys that clients are given, and whom they name.
 *
 * A key is a process id (proxy_cancel_name.h) and a secret. Secrets are random: 4 bytes for
 * protocol 3.0, 32 for 3.2. A cancel that was passed on by a peer has one byte more
 * (CANCEL_KEY_PASSED_ON): it is not passed on again. The worker's own thread.
 */
#ifndef PROXY_CANCEL_KEY_H
#define PROXY_CANCEL_KEY_H

#include "proxy_cancel_name.h"
#include "proxy_worker.h"

enum { CANCEL_KEY_PASSED_ON = 1 }; /* the byte behind the key of a request for a peer */

/* Gives the client a slot and a key. False: no slot is left. */
bool cancel_key_take(struct client *c);
void cancel_key_give(struct client *c);
/* The client in this slot, or NULL. */
struct client *cancel_key_slot(const struct worker *w, uint32_t slot);
/* Its owner, when the secret is right (compared in constant time). */
struct client *cancel_key_find(const struct worker *w, uint32_t slot, struct proto_span secret);

#endif
