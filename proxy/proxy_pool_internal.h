/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_pool_internal: what the files of the pool share: proxy_pool.c (connections and the budget),
 * proxy_waiters.c (who wants one), proxy_migrate.c (between workers), proxy_pool_tick.c (timeouts).
 */
#ifndef PROXY_POOL_INTERNAL_H
#define PROXY_POOL_INTERNAL_H

#include "proxy_worker.h"

/* A worker hands a connection over when the other's waiter is older by more than this. */
enum { POOL_HANDOVER_NS = 1000000 };

const struct config_database *pool_section(const struct group *g);
uint32_t pool_workers(const struct worker *w);
struct shared_pool_worker *pool_mine(const struct pool *pool);
/* The oldest that this node may serve, or NULL. */
struct client *pool_first_waiter(struct group *g, uint8_t node);
struct client *pool_waiting_client(struct waiter *w); /* NULL for NULL */
void pool_publish_waiters(struct group *g);
void pool_enqueue(struct client *c);
void pool_dequeue(struct client *c);
/* Opens one, if the limits allow. `since_ns`: of the oldest client that waits for it; 0: none. */
bool pool_open_one(struct pool *pool, uint64_t since_ns, uint64_t now_ns);
uint64_t pool_oldest_elsewhere(const struct pool *pool, uint32_t *ret_worker);
bool pool_is_mislabelled(const struct worker *w, const struct server *v);
bool pool_is_vouched_for(const struct worker *w, const struct server *v);
/* Some worker's, in use or idle. */
bool pool_has_connections(const struct pool *pool);
bool pool_is_too_old(const struct server *v, uint64_t now_ns);
void pool_migrate(struct server *v, uint32_t to);
void pool_publish_gauges(struct pool *pool);
void pool_refuse_waiters(struct pool *pool, uint64_t now_ns);
/* A connection has just failed, and nothing has happened since by which the next may do better. */
bool pool_rests(const struct pool *pool, uint64_t now_ns);
/* From before RECONNECT. */
bool pool_is_stale(const struct server *v);
bool pool_is_paused(const struct group *g);
struct pool *pool_of(struct group *g, uint8_t node);

#endif
