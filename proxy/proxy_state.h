/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_state: what a restart of the proxy must not forget, in a file: the highest timeline of each
 * shard's primaries, by system identifier, and what operators have flipped (DRAIN, BREAKER, READS).
 * Without it a proxy that starts while the new primary is away takes the old one, which is still
 * writable, and acknowledges writes that the cluster will lose.
 *
 * The file is JSON. It is written whole beside its place, synced and renamed, on a thread of
 * libuv's pool, after each change. What cannot be read is said in the log and passed over: a proxy
 * that remembers nothing starts as it did the first time.
 *
 * Thread: the supervisor's.
 */
#ifndef PROXY_STATE_H
#define PROXY_STATE_H

#include "proxy_supervisor.h"

/* Behind probes_start(), before clients: reads the file and puts everything back. */
void state_restore(struct supervisor *s);
/* Something of it has changed. */
void state_save(struct supervisor *s);
/* The loop has ended. */
void state_destroy(struct supervisor *s);

#endif
