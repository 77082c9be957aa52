/* SPDX-License-Identifier: PostgreSQL
 *
 * core_pin: sessions that keep one backend because their state cannot be replayed elsewhere, and
 * the bound on how many of a pool's connections they may hold.
 */
#include "core_internal.h"

static bool pins(const struct router_class *class)
{
    return class->verdict == ROUTER_VERDICT_PIN || (class->verdict == ROUTER_VERDICT_SESSION &&
                                                    !(class->alone && class->forgets_statements));
}

static bool count_one(struct core_group *g)
{
    if (g->pins_used == NULL)
        return true;
    if (__atomic_fetch_add(g->pins_used, 1, __ATOMIC_RELAXED) < g->pins_max)
        return true;
    (void)__atomic_fetch_sub(g->pins_used, 1, __ATOMIC_RELAXED);
    return false;
}

void core_pin_ask(struct core_session *s)
{
    s->pin_denied = false;
    if (s->pin != ROUTER_REASON_NONE || s->pin_counted || !pins(&s->class))
        return;
    /* a session cannot stay on a replica: no write could follow */
    const bool on_replica = s->backend != NULL && s->backend->is_replica && core_is_bound(s);
    s->pin_counted = !on_replica && count_one(s->group);
    if (s->pin_counted)
        return;
    s->pin_denied = true; /* it goes to the primary and fails there, in whatever block it is */
    s->class.verdict = ROUTER_VERDICT_WRITE;
    s->class.writes = s->class.taints = s->class.unpins = false;
}

void core_sequence_ask(struct core_session *s)
{
    const bool at_home = s->pin != ROUTER_REASON_NONE ||
                         (s->block == CORE_OPEN && s->dirty_block) ||
                         s->group->database->pool_mode == CORE_POOL_SESSION;
    s->sequence_denied = s->class.asks_sequence && s->class.alone && !at_home;
    if (s->sequence_denied)
        s->class.writes = false; /* it will fail */
}

void core_pin_take(struct core_session *s, const struct router_class *class)
{
    if (s->pin != ROUTER_REASON_NONE || s->pin_denied || !pins(class))
        return;
    s->pin = class->reason;
    s->worker->counters.pins[class->reason]++;
}

void core_pin_drop(struct core_session *s)
{
    s->pin = ROUTER_REASON_NONE;
    if (s->pin_counted && s->group->pins_used != NULL)
        (void)__atomic_fetch_sub(s->group->pins_used, 1, __ATOMIC_RELAXED);
    s->pin_counted = false;
}
