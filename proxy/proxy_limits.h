/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_limits: how many server connections and clients there may be. Each limit is one word that
 * all workers change by fetch-and-add (struct shared_cap); a worker's own thread.
 *
 * A connection counts in its pool, its [database] section (over all nodes, and at its node), its
 * user and its node at once. Where one of these but the first is full, an idle connection of
 * another pool makes room; where none is idle, the one that is released next does, if whoever waits
 * here has waited longer.
 */
#ifndef PROXY_LIMITS_H
#define PROXY_LIMITS_H

#include "proxy_worker.h"

/* A place for one more connection, with at most `pool_max` in its pool. `since_ns`: the oldest
 * client that waits for it, 0: none does. */
bool limits_take(struct pool *pool, uint64_t pool_max, uint64_t since_ns, uint64_t now_ns);
void limits_give(struct pool *pool);
/* A connection that is released must go: a reload has lowered a limit, the reserve is needed no
 * more, or a client that a limit holds up has waited longer than those of this pool: not before it
 * has served one of them. */
bool limits_must_close(const struct server *v, uint64_t now_ns);
/* Another worker asks for room: closes one idle connection of the pool. */
void limits_evict(struct worker *w, const struct shared_pool *shared);

/* Reads that fell back to the primary: at most fallback_limit of its pool. */
uint64_t fallback_room(const struct pool *pool);
bool fallback_take(struct pool *pool);
void fallback_give(struct server *v);

/* Counts a client that has proved who it is. False: *error says which limit is reached. */
bool client_limits_take(struct client *c, uint32_t database, const char *user,
                        struct proto_error_text *error);
void client_limits_give(struct client *c);

#endif
