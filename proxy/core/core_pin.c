/* SPDX-License-Identifier: PostgreSQL
 *
 * core_pin: sessions that keep one backend because their state cannot be replayed elsewhere, and
 * the bound on how many of a pool's connections they may hold.
 */
#include "core_pin.h"
#include "core_begin.h"
#include "core_internal.h"
#include "core_settings.h"

/* Where nothing can be written nothing moves a sequence: the server refuses it, on a replica too.
 */
static bool is_read_only(const struct core_session *s)
{
    return (s->backend != NULL && s->backend->is_replica) || core_begin_reads_only(s);
}

uint16_t core_pins_found(const struct core_session *s, const struct router_class *class)
{
    uint16_t pins = class->pins;
    if (s->group->database->keeps_sequences && class->moves_sequence &&
        class->verdict != ROUTER_VERDICT_READ && !is_read_only(s))
        pins |= ROUTER_PIN_SEQUENCE;
    /* what a text sets cannot be followed where our lexer does not know how to read it */
    const bool unsafe =
        class->changes && class->verdict == ROUTER_VERDICT_SESSION && core_is_misread(s);
    const bool discards = class->alone && class->unpins;
    if (class->opaque && s->group->database->isolates)
        pins |= ROUTER_PIN_OPAQUE;
    return unsafe && !discards ? pins | ROUTER_PIN_SET | ROUTER_PIN_OTHER : pins;
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

/* Is a pin left for it? Then it has it. */
static bool may_count(struct core_session *s)
{
    s->pin_counted = s->pin_counted || count_one(s->group);
    return s->pin_counted;
}

void core_pin_ask(struct core_session *s)
{
    s->pin_denied = s->spoils = false;
    if (s->pin != ROUTER_REASON_NONE)
        return;
    const uint16_t pins = core_pins_of(s, &s->class);
    if (pins == 0 && !s->class.acts)
        return;
    if (s->class.verdict == ROUTER_VERDICT_READ && pins != 0) {
        s->class.verdict = ROUTER_VERDICT_WRITE;
        s->class.reason = ROUTER_REASON_OPAQUE_FUNCTION;
    }
    if (pins != 0) /* no route=replica of the client's lifts that */
        s->class.by_node_type = true;
    /* a session cannot stay on a replica: no write could follow */
    const bool on_replica = s->backend != NULL && s->backend->is_replica && core_is_bound(s);
    if (pins == 0 && !on_replica)
        return; /* it acts, on the primary */
    if (s->group->database->pool_mode == CORE_POOL_SESSION)
        return; /* it keeps its backend anyway: pool_size is the limit */
    if (on_replica && s->backend->status == 'E' && core_expect_count(s->backend) == 0) {
        s->class.pins = 0; /* in a failed block it does nothing, and the server says so */
        s->class.changes = s->class.opaque = false;
        return;
    }
    if (pins == ROUTER_PIN_OPAQUE && (on_replica || !may_count(s))) {
        s->class.opaque =
            false; /* it may leave nothing: it runs, and its connection ends with it */
        s->class.taints = s->spoils = true;
        return;
    }
    if (on_replica)
        core_pin_drop(s); /* counted while it waited for the end of what turned out to be a BEGIN */
    s->pin_counted = !on_replica && may_count(s);
    if (s->pin_counted)
        return;
    s->pin_denied = true; /* it goes to the primary and fails there, in whatever block it is */
    s->class.verdict = ROUTER_VERDICT_WRITE;
    s->class.writes = s->class.taints = s->class.unpins = false;
}

bool core_pin_waits(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    const bool waited = s->pin_wait == CORE_PIN_WAITED;
    const bool waits = s->pin_wait == CORE_PIN_WAITS;
    s->pin_wait = CORE_PIN_WAIT_NONE;
    if (!s->pin_denied || s->backend != NULL || s->group->pins_max == 0)
        return false;
    s->pin_wait = CORE_PIN_WAITED;
    if (waited)
        return false;
    s->pin_wait = CORE_PIN_WAITS;
    s->choice = (struct router_choice){.node = ROUTER_NODE_NONE, .target = ROUTER_TARGET_PRIMARY};
    if (!waits)
        s->waiting_since_ns = now_ns;
    s->waiting = true;
    a->want = true;
    return true;
}

bool core_waits_for_pin(const struct core_session *s)
{
    return s->waiting && s->pin_wait == CORE_PIN_WAITS;
}

bool core_pin_is_left(const struct core_group *g)
{
    return g->pins_used == NULL || __atomic_load_n(g->pins_used, __ATOMIC_RELAXED) < g->pins_max;
}

void core_sequence_ask(struct core_session *s)
{
    /* where sequences bind, who is not bound has no value, and no other session left one */
    const struct core_database *d = s->group->database;
    const bool at_home = s->pin != ROUTER_REASON_NONE ||
                         (s->block == CORE_OPEN && s->dirty_block) || d->keeps_sequences ||
                         d->pool_mode == CORE_POOL_SESSION;
    s->sequence_denied = s->class.asks_sequence && !at_home;
    /* a value that is there may be another session's: the next time it is cleaned beforehand */
    s->sequence_denied = s->sequence_denied || (s->class.asks_sequence && s->backend != NULL &&
                                                s->backend->sequence_foreign);
    s->group->asks_sequences = s->group->asks_sequences || s->class.asks_sequence;
    if (s->sequence_denied)
        s->class.writes = false; /* it will fail */
}

void core_block_ask(struct core_session *s)
{
    /* what cannot be read is the server's to judge: if it opens a block after all, its session ends
     */
    s->block_denied = s->group->database->pool_mode == CORE_POOL_STATEMENT && s->class.begins;
    if (s->block_denied)
        s->class.writes = s->class.taints = false; /* it will fail */
}

void core_pin_force(struct core_session *s, uint16_t pins)
{
    assert(s->backend == NULL || !s->backend->is_replica);
    if (s->pin == ROUTER_REASON_NONE)
        s->worker->counters.pins[router_pin_reason(pins)]++;
    if (s->backend != NULL && (pins & ROUTER_PIN_TEMP) != 0)
        s->backend->temp_used = true;
    s->pins_new |= (uint16_t)(pins & ~s->pins);
    s->pins |= pins;
    s->pin = (uint8_t)router_pin_reason(s->pins);
}

bool core_pin_found(struct core_session *s, uint16_t pins)
{
    if (may_count(s))
        core_pin_force(s, pins);
    return s->pin_counted;
}

void core_pin_take(struct core_session *s, const struct router_class *class)
{
    const uint16_t pins = s->pin_denied ? 0 : core_pins_of(s, class);
    if (pins != 0 && s->backend->is_replica) /* core_pin_ask() lets none come here */
        s->spoils = s->backend->tainted = s->backend->spoiled = true;
    else if (pins != 0)
        core_pin_force(s, pins);
    const bool exact = class->alone && s->block == CORE_NO_BLOCK; /* `releases` says it all */
    const uint16_t asks = exact ? class->asks & (uint16_t) ~class->releases : class->asks;
    if ((asks & s->pins) != 0 || (pins != 0 && class->has_transaction))
        s->pins_doubtful = true;
}

bool core_pin_late(struct core_session *s, const struct router_class *class, struct core_actions *a)
{
    assert(s->streaming);
    if ((class->pins != 0 || class->acts) && s->backend->is_replica) {
        core_provoke(s, a, class->acts ? CORE_OWN_ACT_ON_REPLICA : CORE_OWN_PIN_ON_REPLICA,
                     core_span(""));
        return false;
    }
    core_pin_take(s, class);
    return true;
}

void core_pin_ready(struct core_session *s, bool in_block)
{
    if (s->error_seen || in_block) /* an error or a rollback takes back what was to pin */
        s->pins_doubtful = s->pins_doubtful || s->pins_new != 0;
    if (s->syncs > 0 || s->emitting)
        return;
    s->pins_new = 0;
    if ((s->pins & ROUTER_PIN_SNAPSHOT) != 0)
        core_pin_release(s, ROUTER_PIN_SNAPSHOT); /* it went with its transaction */
}

void core_pin_release(struct core_session *s, uint16_t pins)
{
    s->pins &= (uint16_t)~pins;
    s->pin = (uint8_t)router_pin_reason(s->pins);
    if (s->pin == ROUTER_REASON_NONE)
        core_pin_drop(s);
}

void core_pin_drop(struct core_session *s)
{
    s->pin = ROUTER_REASON_NONE;
    s->pins = s->pins_new = 0;
    s->pins_doubtful = false;
    if (s->pin_counted && s->group->pins_used != NULL)
        (void)__atomic_fetch_sub(s->group->pins_used, 1, __ATOMIC_RELAXED);
    s->pin_counted = false;
}
