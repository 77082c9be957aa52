/* SPDX-License-Identifier: PostgreSQL
 *
 * core_base: the parameters that a server connection began with, before anybody set anything. What
 * a client is told at its log-in holds for it, whatever connection it meets: ALTER ROLE or ALTER
 * DATABASE ... SET may have come between two of them, or a server may be configured otherwise. For
 * the session core alone; one worker's thread.
 */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include "core_internal.h"

/* One reference. */
struct core_base *core_base_of(struct core_backend *b);
static inline struct core_base *core_base_hold(struct core_base *base)
{
    base->references++;
    return base;
}
/* NULL does nothing. */
void core_base_release(struct core_worker *w, struct core_base *base);
void core_base_look(struct core_group *g, struct core_backend *b);
/* The group has got a connection: is it its newest? */
static inline void core_base_note(struct core_group *g, struct core_backend *b)
{
    if (b->base_hash == 0 || g->base == NULL || (!b->is_replica && b->opened_ns > g->base_ns))
        core_base_look(g, b);
}
/* Is what the newest connection said still what the next one would say, as far as is known? */
static inline bool core_base_is_current(const struct core_group *g)
{
    return g->defaults_ns <= g->base_ns &&
           (g->renewed_ns == NULL ||
            __atomic_load_n(g->renewed_ns, __ATOMIC_RELAXED) <= g->base_ns);
}
/* Has the primary another default by now than when this connection was opened? */
static inline bool core_base_is_old(const struct core_group *g, const struct core_backend *b)
{
    return !b->is_replica && b->opened_ns < g->base_ns && b->base_hash != g->base->hash;
}
/* Did it begin with others than this session was told of? One comparison; noted before. */
static inline bool core_base_is_other(const struct core_session *s, const struct core_backend *b)
{
    return s->base != NULL && (b->is_replica ? s->base->hash_set : s->base->hash) != b->base_hash;
}
/* The session is about to meet a connection that began with others than it was told. What it may
 * set becomes a setting of its own; of the rest it is told, where that is the primary's. */
void core_base_meet(struct core_session *s, struct core_backend *b, struct core_actions *a);

#endif
