/* SPDX-License-Identifier: PostgreSQL
 *
 * core_relay_ready: what a server's ReadyForQuery ends for the client that gets it: a write, a
 * block, pins, the names of statements.
 */
#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_left.h"
#include "core_pin.h"
#include "core_stmt.h"

void core_write_raise(uint64_t *global_write_ns, uint64_t now_ns)
{
    if (global_write_ns == NULL)
        return;
    uint64_t seen = __atomic_load_n(global_write_ns, __ATOMIC_RELAXED);
    while (seen < now_ns && !__atomic_compare_exchange_n(global_write_ns, &seen, now_ns, true,
                                                         __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        continue;
}

/* No transaction is open. `in_block`: one was. */
static void finish_write(struct core_session *s, bool in_block, uint64_t now_ns,
                         struct core_actions *a)
{
    if (!s->dirty_block)
        return;
    const bool undone = s->rolls_back && in_block && !s->dirty_for_good;
    if (s->syncs > 0 || s->emitting ||
        s->unsynced) { /* another write may be on its way: stay dirty, but remember this one */
        s->last_write_before_ns = now_ns;
        core_write_raise(s->group->database->global_write_ns, now_ns);
        return;
    }
    s->dirty_block = s->dirty_for_good = false;
    s->last_write_ns = undone ? s->last_write_before_ns : now_ns;
    if (undone)
        return;
    a->probe = true;
    core_write_raise(s->group->database->global_write_ns, now_ns);
}

void core_relay_ready(struct core_backend *b, uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    assert(s->syncs > 0);
    s->syncs--;
    s->progress_ns = now_ns;
    s->settings_hidden = false;
    const bool in_block = s->block == CORE_OPEN;
    s->block = b->status == 'I' ? CORE_NO_BLOCK : CORE_OPEN;
    core_move_ready(s);
    core_follow_ready(s);
    s->copy_in = s->copied = false;
    if (b->is_replica) {
        s->floor_ns = now_ns;
        s->floor_node = b->node;
    }
    /* what is being sent has its own Sync or Query still to go */
    s->drops_statements = s->drops_statements && (s->syncs > 0 || s->emitting);
    if (b->status != 'I' && s->syncs == 0 && s->group->database->pool_mode == CORE_POOL_STATEMENT) {
        b->broken = true; /* it came in a text that nobody reads */
        core_fatal(s, "0A000", "transaction blocks not allowed in statement pooling mode", NULL, a);
    }
    if (b->status != 'I') {
        if (s->dirty_for_good) /* COMMIT AND CHAIN: what was before it is there for all */
            core_write_raise(s->group->database->global_write_ns, now_ns);
        return;
    }
    s->begin = ROUTER_BEGIN_NONE;
    s->level_local = 0xff;
    finish_write(s, in_block, now_ns, a);
    if ((s->pins & ROUTER_PIN_OTHER) != 0) /* RESET ALL leaves a role */
        s->releases &= (uint16_t) ~(ROUTER_PIN_SET | ROUTER_PIN_SET_CONFIG);
    if (s->releases != 0 && s->syncs == 0 && !s->emitting && !s->error_seen)
        core_pin_release(s, s->releases);
    if (!s->emitting)
        s->releases = 0;
    if (s->pins_new != 0)
        core_pin_ready(s, in_block);
    if (s->unpins && s->syncs == 0 && !s->emitting && !s->error_seen) {
        /* a library stays in the process: nobody else shall have it; a backup goes on */
        b->broken = b->broken || (s->pins & CORE_PINS_CLOSING) != 0;
        core_pin_release(s, (uint16_t) ~(ROUTER_PIN_POOL | ROUTER_PIN_BACKUP));
        s->seed_set = s->unpins = false;
        core_backend_clean(b);
        core_left_forget(s);
        b->unnamed_id = s->unnamed_id = 0;
        core_block_give(s->worker, &s->unnamed);
    }
    s->error_seen = false;
}

bool core_may_mend(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    /* broken: nobody else is to have it; what this client is told there is to be true all the same
     */
    return b->status != 'E' && !b->fatal_seen && !s->emitting && !s->streaming && !s->copy_in &&
           s->stream_left == 0 && !s->unsynced && b->body_left == 0 && s->phase == CORE_QUERY;
}
