/* SPDX-License-Identifier: PostgreSQL
 *
 * core_cancel: what a cancel request means to a session, by what it is doing.
 *
 * A request is for what the client believes to be running. Where that is still here, because
 * something of ours comes first (settings, a question, a Sync, another cancel's end), it fails when
 * its turn comes; what is ours is never hit by it.
 */
#include "core_follow.h"
#include "core_internal.h"
#include "core_pin.h"
#include "core_shape.h"

/* Is anything of the client's outstanding at its server? */
static bool runs(const struct core_session *s)
{
    struct core_backend *b = s->backend;
    if (b == NULL || core_expect_count(b) == 0)
        return false;
    const uint32_t count = core_expect_count(b);
    bool own = s->emitting || s->streaming || s->stream_left > 0;
    for (uint32_t i = 0; i < count && !own; i++)
        own = core_expect_at(b, i)->action != CORE_SWALLOW;
    return own;
}

/* Has the client sent something that would run, were it not for us? */
static bool waits(struct core_session *s)
{
    const struct proto_span in = core_block_span(s->hold);
    struct core_batch batch;
    if (in.size == 0 || s->stream_left > 0 || s->skipping || s->copy_in ||
        strchr("Xdcf", in.base[0]) != NULL)
        return false;
    switch (core_batch_scan(s, in, &batch)) {
    case CORE_BATCH_WHOLE:
        return batch.needs_server && !batch.all_local;
    case CORE_BATCH_TOO_LONG:
        return true;
    case CORE_BATCH_MORE:
    case CORE_BATCH_EBADLEN:
    case CORE_BATCH_EUNKNOWN:
        break;
    }
    return false;
}

enum core_cancel core_cancel(struct core_session *s)
{
    if (s->phase == CORE_LINKED)
        return CORE_CANCEL_SERVER;
    if (s->phase != CORE_QUERY)
        return CORE_CANCEL_NOTHING;
    if (s->waiting)
        return CORE_CANCEL_WAIT;
    if (s->signal == CORE_SIGNAL_ASKED)
        return CORE_CANCEL_SIGNAL;
    core_shape_cancel(s);
    if (s->preflight && !s->preflight_alone)
        s->cancelled = true; /* what they are sent for is the client's */
    else if (runs(s)) {
        s->cancel_asked = true;
        return CORE_CANCEL_SERVER;
    } else
        s->cancelled = s->cancelled || waits(s);
    return CORE_CANCEL_NOTHING; /* idle, or in a block that no server knows of: as in PostgreSQL */
}

void core_cancel_unsent(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    assert(s->cancelled && !s->preflight && s->backend != NULL);
    const struct proto_error_text error = core_own_error_text(core_own_cancelled(s));
    s->timed_out = false;
    core_fail_unsent(s, &error, now_ns, a);
    a->settle = true; /* it needs the backend no more */
}

static void fail(struct core_session *s, struct core_actions *a)
{
    core_own_error_write(s, core_own_cancelled(s), "", a);
    s->cancelled = CORE_CANCELLED_NOT;
    s->timed_out = false;
    if (s->pin == ROUTER_REASON_NONE)
        core_pin_drop(s); /* it was counted for what is not sent */
    core_block_fails(s);
    core_replay_ends(s);
    a->settle = a->settle || s->backend != NULL;
}

/* Is nothing open at a server that its failure would have to end there? */
static bool fails_here(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    return b == NULL || (b->status == 'I' && !s->unsynced && s->block != CORE_OPEN);
}

bool core_cancel_next(struct core_session *s, const struct core_batch *batch,
                      struct core_actions *a)
{
    assert(s->cancelled && (s->backend == NULL || core_expect_count(s->backend) == 0));
    if (batch->class.verdict == ROUTER_VERDICT_TRANSACTION) {
        s->cancelled = false; /* quick, and what follows may rely on it: a BEGIN, a COMMIT */
        return false;
    }
    if (fails_here(s)) {
        fail(s, a);
        if (batch->flushes)
            s->skipping = true;
        else
            core_ready_write(s, a);
        return true;
    }
    const struct core_backend *b = s->backend;
    s->cancel_denied = b->status != 'E' ? s->cancelled : CORE_CANCELLED_NOT;
    if (s->cancel_denied != CORE_CANCELLED_NOT) {
        s->class =
            (struct router_class){.verdict = ROUTER_VERDICT_READ, .reason = batch->class.reason};
        s->loggable = false;
    }
    return false;
}

bool core_cancel_long(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    const bool fails = s->cancelled && fails_here(s);
    if (fails) {
        fail(s, a);
        core_drop_long(s, in, a);
    }
    s->cancelled = false;
    return fails;
}
