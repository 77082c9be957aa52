/* SPDX-License-Identifier: PostgreSQL
 *
 * core_run: the way of a client's bytes. Frame a batch, decide, send, or wait for a backend.
 *
 * Happy path: core_client_data -> run -> next -> dispose -> core_want; core_granted -> run ->
 * core_emit.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_begin.h"
#include "core_internal.h"
#include "core_pin.h"
#include "core_signal.h"
#include "core_stmt.h"

/* ---- deciding what is next ---- */

static bool own_deallocate(const struct core_session *s, const struct core_batch *batch)
{
    return batch->simple && batch->class.alone && batch->detail.deallocate[0] != '\0' &&
           batch->class.reason == ROUTER_REASON_DEALLOCATE &&
           (s->backend == NULL || s->backend->status != 'E') &&
           core_names_find(s->names, core_span(batch->detail.deallocate)) != NULL;
}

/* What can be learned from, if a replica refuses it: of all batches in flight. */
static void remember_hashes(struct core_session *s, const struct core_batch *batch)
{
    const bool runs =
        batch->class.proven || batch->simple || (batch->executes && batch->hashes_count == 1);
    if (s->backend == NULL || core_expect_count(s->backend) == 0) {
        s->hashes_count = 0;
        s->proves = runs;
    } else {
        s->proves = s->proves && runs;
    }
    if (batch->simple)
        s->query_hash = batch->hashes_count > 0 ? batch->hashes[0] : (struct router_hash){0};
    for (uint32_t i = 0; i < batch->hashes_count && s->hashes_count < CORE_HASHES_MAX; i++)
        s->hashes[s->hashes_count++] = batch->hashes[i];
}

/* Statements were prepared and flushed, without a Sync, and the node or the proxy is not to see
 * what comes next: a Sync of ours sets the session free. True: it has to be waited for. */
static bool sync_before(struct core_session *s, bool answer, bool pipelined, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool misplaced =
        b != NULL && b->is_replica && (pipelined || s->class.verdict != ROUTER_VERDICT_READ);
    if (b == NULL || !s->unsynced || s->executed || s->emitting || s->copy_in ||
        s->block != CORE_NO_BLOCK || s->pin != ROUTER_REASON_NONE || (!misplaced && !answer))
        return false;
    if (core_expect_count(b) > 0 || b->fatal_seen)
        return true;
    core_inject_sync(b, a, CORE_SWALLOW);
    s->unsynced = false;
    s->barrier = true; /* what comes next begins a flight of its own, which may be replayed */
    return true;
}

/* pool_mode = statement: no server needs to be asked. */
static void refuse_block(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    s->block_denied = false;
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_TRANSACTION,
                     ROUTER_REASON_BEGIN, now_ns);
    core_own_error_write(s, CORE_OWN_NO_BLOCKS, "", a);
    core_ready_write(s, a);
}

static bool is_answering(const struct core_session *s)
{
    return s->backend != NULL && (core_expect_count(s->backend) > 0 || s->backend->body_left > 0);
}

/* The release rule, but for the open block. */
static bool is_idle(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    return s->client_pending == 0 && core_expect_count(b) == 0 && b->body_left == 0 &&
           !b->fatal_seen && b->hold == NULL && b->cancels == 0;
}

/* A block that is open on a replica leaves it before what is the primary's, or may not leave it any
 * more. False: the batch has to wait. */
static bool take_place(struct core_session *s, const struct core_batch *batch, uint64_t now_ns,
                       struct core_actions *a)
{
    s->loggable = core_move_logs(s, batch);
    if (s->movable && !s->movable_once && s->block == CORE_OPEN && s->backend != NULL) {
        const bool prepares = core_move_prepares(s, batch);
        if (prepares)
            s->class.verdict = ROUTER_VERDICT_READ; /* it is not run here */
        const bool failed = s->backend->status == 'E' && !core_move_revives(batch);
        const bool moves = !failed && !prepares && core_move_needed(s, batch);
        const bool ties = !failed && !moves && core_move_ties(s, batch);
        const bool reads = s->class.verdict == ROUTER_VERDICT_READ || !batch->needs_server;
        if ((moves || ties || !reads || s->unsynced) && !is_idle(s))
            return false; /* what is in flight may have to be replayed on the primary */
        const bool unfit =
            !moves && s->backend->status != 'E' && is_idle(s) && core_move_unfit(s, batch, now_ns);
        if ((moves || unfit) && !core_move(s, moves, a))
            return false;
        s->movable = s->movable && !ties;
    }
    /* what a second BEGIN declares is said again where the block moves, or it does not move */
    const bool declares = s->class.begin != ROUTER_BEGIN_NONE && s->class.declares && !s->loggable;
    if (s->block == CORE_DEFERRED &&
        (batch->opens || batch->continues || declares || core_move_ties(s, batch)))
        s->stays = true;
    return true;
}

/* Statements were prepared and flushed, no more: a Sync of ours changes nothing, in a block either.
 * Else this place of the batch is the server's. */
static bool may_sync(const struct core_session *s)
{
    return s->unsynced && !s->executed && !s->emitting && !s->copy_in && s->backend->status != 'E';
}

/* pg_terminate_backend or pg_cancel_backend of a client of ours? True: that has been dealt with, so
 * many bytes of it as *ret says; 0: it has to wait. */
static bool signals(struct core_session *s, struct proto_span in, const struct core_batch *batch,
                    uint64_t now_ns, struct core_actions *a, size_t *ret)
{
    struct core_signal_call call;
    *ret = 0;
    const bool cut = batch->cut && !batch->executes;
    if (!cut && !core_signal_read(s, in, batch, &call))
        return false;
    if (is_answering(s) || (s->backend != NULL && s->backend->fatal_seen))
        return true; /* then it shows what state the session is in */
    if ((s->backend != NULL && s->backend->status == 'E') || (s->unsynced && !may_sync(s)) ||
        s->replay_swallow > 0)
        return false;
    if (cut)
        return true; /* a part of it at a server would make all of it the server's */
    if (s->unsynced) {
        core_inject_sync(s->backend, a, CORE_SWALLOW);
        s->unsynced = false;
        s->barrier = true;
        return true;
    }
    switch (core_signal_next(s, in, batch, &call, now_ns, a)) {
    case CORE_SIGNAL_WAITS:
        return true;
    case CORE_SIGNAL_ANSWERED:
        *ret = batch->size;
        return true;
    case CORE_SIGNAL_FOR_SERVER:
        break;
    }
    return false;
}

/* The session has a backend. `answer`: the batch is for us to answer. */
static size_t dispose_attached(struct core_session *s, struct proto_span in,
                               const struct core_batch *batch, bool answer, uint64_t now_ns,
                               struct core_actions *a)
{
    const uint32_t owed = core_expect_count(s->backend);
    if (answer && (owed > 0 || s->backend->body_left > 0 || s->backend->fatal_seen))
        return 0; /* something is on its way to the client: nothing may come between */
    if (answer && !s->unsynced) {
        core_local_answer(s, in, batch, now_ns, a);
        return batch->size;
    }
    if (!core_may_follow(s, &s->class))
        return 0;
    if (owed > 0 && ((batch->names && s->names_in_flight) || s->class.names_prepared ||
                     (batch->uses_unnamed && s->unnamed_in_flight) ||
                     (batch->drops_unnamed && s->unnamed_used && s->replayable)))
        return 0;
    if (s->cancelled && owed == 0 && batch->needs_server) {
        if (s->backend->body_left > 0)
            return 0; /* a notice is half-way: nothing of ours may come between */
        if (core_cancel_next(s, batch, a))
            return batch->size;
    }
    s->cancelled = false;
    if (batch->executes)
        core_route_attached(s, &s->class, now_ns);
    remember_hashes(s, batch);
    core_start_batch(s, now_ns);
    return 0;
}

/* A whole batch is at the front. Returns the bytes that were dealt with; 0 with s->emitting: send
 * it; 0 without: it has to wait. */
static size_t dispose(struct core_session *s, struct proto_span in, const struct core_batch *batch,
                      uint64_t now_ns, struct core_actions *a)
{
    s->class = batch->class;
    s->batch_size = batch->size;
    s->odd = batch->odd;
    s->trades_unnamed = batch->uses_unnamed && batch->drops_unnamed;
    s->doubtful = batch->doubtful;
    s->asks_portal = batch->asks_portal || batch->executes_unbound;
    const bool empty = s->class.local == ROUTER_LOCAL_EMPTY;
    if (s->block == CORE_FAILED && (!batch->all_local || empty)) {
        if (is_answering(s))
            return 0;
        const size_t answered = core_failed_answer(s, in, batch, now_ns, a);
        if (answered > 0)
            return answered;
    }
    size_t signalled;
    if (batch->class.signals != 0 && signals(s, in, batch, now_ns, a, &signalled))
        return signalled;
    const bool answer = (batch->all_local && !empty) || own_deallocate(s, batch);
    const bool pipelined = batch->flushes && (batch->binds || batch->executes) &&
                           s->class.verdict == ROUTER_VERDICT_READ && s->block == CORE_NO_BLOCK;
    if (batch->needs_server && sync_before(s, answer, pipelined, a))
        return 0;
    if (!take_place(s, batch, now_ns, a))
        return 0;
    core_pin_ask(s);
    core_sequence_ask(s);
    core_block_ask(s);
    if (s->block_denied && batch->simple && !s->unsynced) {
        if (is_answering(s))
            return 0;
        refuse_block(s, now_ns, a);
        return batch->size;
    }
    s->parse_known_valid = batch->parse_known_valid;
    if (s->group->database->pool_mode == CORE_POOL_SESSION) {
        s->class.verdict = ROUTER_VERDICT_WRITE; /* one backend for all it will do: the primary's */
        s->class.reason = ROUTER_REASON_PINNED;
    }
    if (pipelined && s->class.verdict == ROUTER_VERDICT_READ) {
        s->class.verdict = ROUTER_VERDICT_WRITE; /* what comes before its Sync is not known */
        s->class.reason = ROUTER_REASON_PIPELINED;
    }
    if (s->backend != NULL)
        return dispose_attached(s, in, batch, answer, now_ns, a);
    if (answer || !batch->needs_server || batch->all_local) {
        core_local_answer(s, in, batch, now_ns, a);
        return batch->size;
    }
    if (batch->control || (batch->simple && batch->size <= CORE_BEGIN_SIZE_MAX &&
                           core_begin_answers(s, &batch->class))) {
        core_local_answer(s, in, batch, now_ns, a);
        return batch->size;
    }
    if (s->cancelled && core_cancel_next(s, batch, a))
        return batch->size;
    if ((s->pin_denied || s->pin_wait != CORE_PIN_WAIT_NONE) && core_pin_waits(s, now_ns, a))
        return 0;
    if (s->block == CORE_DEFERRED)
        core_begin_again(s, &s->class);
    remember_hashes(s, batch);
    core_want(s, now_ns, a);
    return 0;
}

static size_t too_long(struct core_session *s, struct proto_span in, uint64_t now_ns,
                       struct core_actions *a)
{
    if ((s->block == CORE_FAILED || s->cancelled) && is_answering(s))
        return 0;
    if (s->block == CORE_FAILED) {
        s->cancelled = false;
        core_failed_long(s, in, a);
        return 0;
    }
    s->class = (struct router_class){.verdict = ROUTER_VERDICT_WRITE,
                                     .reason = ROUTER_REASON_TOO_LONG,
                                     .writes = true,
                                     .taints = true,
                                     .home = true,
                                     .unread = true};
    s->streaming = true;
    s->pin_denied = s->sequence_denied = s->block_denied = false;
    s->cancel_denied = CORE_CANCELLED_NOT;
    s->doubtful = false; /* it writes, as far as anybody knows */
    s->batch_size = 0;
    s->parse_known_valid = false;
    s->hashes_count = 0;
    s->query_hash = (struct router_hash){0};
    s->loggable = false;
    if (sync_before(s, false, false, a)) {
        s->streaming = false;
        return 0;
    }
    if (s->movable && !s->movable_once && s->block == CORE_OPEN && s->backend != NULL) {
        s->streaming = is_idle(s);
        if (!s->streaming)
            return 0;
        s->streaming = s->backend->status == 'E' || core_move(s, true, a);
        if (!s->streaming)
            return 0;
    }
    if (s->backend == NULL && core_cancel_long(s, in, a))
        return 0;
    if (s->backend == NULL) {
        core_want(s, now_ns, a);
        return 0;
    }
    if (!core_may_follow(s, &s->class) ||
        (core_expect_count(s->backend) > 0 &&
         (s->names_in_flight || s->unnamed_in_flight || s->unnamed_used))) {
        s->streaming = false;
        return 0;
    }
    if (core_cancel_long(s, in, a))
        return 0;
    core_route_attached(s, &s->class, now_ns);
    core_start_batch(s, now_ns);
    return 0;
}

/* What is no message: what came before it is answered first. */
static size_t no_message(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    char text[64] = "invalid message length";
    if (is_answering(s) && !s->copy_in)
        return 0;
    if (proto_client_body_size_max(in.base[0]) == UINT32_MAX)
        (void)snprintf(text, sizeof(text), "invalid frontend message type %u", in.base[0]);
    core_fatal(s, "08P01", text, NULL, a);
    return in.size;
}

/* A message that is forwarded or dropped as it is, whatever its size. */
static size_t stream_message(struct core_session *s, struct proto_span in, bool drop,
                             struct core_actions *a)
{
    struct proto_header h;
    s->worker->work += CORE_WORK_MESSAGE / 2;
    const uint32_t max = proto_client_body_size_max(in.base[0]);
    const enum proto_status status =
        max == UINT32_MAX ? PROTO_EUNSUPPORTED : proto_header_peek(in, max, &h);
    if (status == PROTO_MORE)
        return 0;
    if (status != PROTO_OK)
        return no_message(s, in, a);
    s->stream_left = PROTO_HEADER_SIZE + h.body_size;
    s->stream_drop = drop;
    return 0;
}

/* While the server copies in: everything goes there; Sync and Flush it would ignore. */
static size_t copy_message(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    const uint8_t type = in.base[0];
    const bool ignored = type == 'S' || type == 'H';
    if (proto_client_body_size_max(type) == UINT32_MAX) { /* its type is enough for the server */
        core_sink_append(&a->server, (struct proto_span){.base = in.base, .size = 1});
        s->copy_in = false;
        return 1;
    }
    const size_t taken = stream_message(s, in, ignored, a);
    if (s->stream_left > 0 && type != 'd' && !ignored)
        s->copy_in = false; /* CopyDone, CopyFail, or what fails the COPY */
    return taken;
}

static size_t next(struct core_session *s, struct proto_span in, uint64_t now_ns,
                   struct core_actions *a)
{
    const uint8_t type = in.base[0];
    if (s->copy_in)
        return copy_message(s, in, a);
    if (type == 'X') {
        s->said_goodbye = true;
        if (is_answering(s))
            return 0; /* what it sent before is done first, as a server does it */
        s->phase = CORE_DOOMED;
        a->close_client = CORE_CLOSE_NOW;
        return in.size;
    }
    if (type == 'd' || type == 'c' || type == 'f') {
        if (s->backend != NULL && core_expect_count(s->backend) > 0)
            return 0;                          /* a COPY may be about to begin */
        return stream_message(s, in, true, a); /* late: it is over already */
    }
    if (s->skipping && type != 'S')
        return stream_message(s, in, true, a);

    struct core_batch batch;
    size_t taken;
    switch (core_batch_scan(s, in, &batch)) {
    case CORE_BATCH_MORE:
        s->hurried = false;
        a->unended = batch.size > 0;
        return 0;
    case CORE_BATCH_TOO_LONG:
        return too_long(s, in, now_ns, a);
    case CORE_BATCH_WHOLE:
        s->skipping = false;
        taken = dispose(s, in, &batch, now_ns, a);
        if (taken > 0) /* what these were meant for has been answered */
            s->cancelled = s->hurried = false;
        if (taken > 0 && batch.simple &&
            batch.drops_unnamed) { /* as a server does at every Query */
            s->unnamed_id = 0;
            core_block_give(s->worker, &s->unnamed);
        }
        return taken;
    case CORE_BATCH_EBADLEN:
    case CORE_BATCH_EUNKNOWN:
        break;
    }
    return no_message(s, in, a);
}

static size_t stream_part(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    const size_t size = in.size < s->stream_left ? in.size : s->stream_left;
    if (!s->stream_drop && s->backend != NULL)
        core_sink_append(&a->server, (struct proto_span){.base = in.base, .size = size});
    s->stream_left -= (uint32_t)size;
    return size;
}

/* Something else is at the front now: what is known of its frames is not true of that. */
static size_t front_at(struct core_session *s, size_t front, size_t pos)
{
    if (pos != front)
        s->framed = s->judged = 0;
    return pos;
}

/* Another batch is behind the last one. */
static __attribute__((noinline)) bool had_enough(struct core_session *s, struct core_actions *a)
{
    s->worker->work += CORE_WORK_BATCH;
    return core_is_tired(s->worker, a);
}

/* Takes what can be taken of the client's bytes. */
static size_t run(struct core_session *s, struct proto_span in, uint64_t now_ns,
                  struct core_actions *a)
{
    size_t pos = 0;
    size_t front = 0;
    while (pos < in.size && s->phase == CORE_QUERY && !s->waiting && !s->preflight &&
           s->signal != CORE_SIGNAL_ASKED) {
        const struct proto_span rest = core_span_skip(in, pos);
        if (core_sink_full(&a->server) || core_sink_full(&a->client)) {
            a->again = true;
            break;
        }
        size_t taken;
        if (s->stream_left > 0) {
            taken = stream_part(s, rest, a);
        } else if (s->emitting) {
            taken = core_emit(s, rest, a);
            core_keep(s, (struct proto_span){.base = rest.base, .size = taken});
            if (s->bad_message) {
                core_fatal(s, "08P01", "invalid frontend message in a long batch", NULL, a);
                break;
            }
            if (taken == 0 || a->again) {
                pos += taken;
                break;
            }
        } else if (pos > 0 && had_enough(s, a)) {
            a->again = true;
            break;
        } else {
            front = front_at(s, front, pos);
            taken = next(s, rest, now_ns, a);
            if (taken == 0 && !s->emitting && s->stream_left == 0)
                break;
        }
        pos += taken;
    }
    (void)front_at(s, front, pos);
    struct core_backend *b = s->backend;
    if (b != NULL) {
        a->backend = b;
        if (!s->emitting && core_expect_count(b) == 0) {
            if (s->in_flight)
                core_flight_over(s, now_ns, a); /* nothing of it wanted a reply */
            a->settle = a->settle || pos > 0;
        }
    }
    return s->phase == CORE_DOOMED ? in.size : pos;
}

/* One span is left to be taken: what was held back, or what just came. */
void core_pump(struct core_session *s, struct proto_span in, uint64_t now_ns,
               struct core_actions *a)
{
    struct core_worker *w = s->worker;
    if (s->hold == NULL) {
        const size_t taken = run(s, in, now_ns, a);
        if (taken < in.size) /* there may be nothing at all */
            core_block_append(w, &s->hold, core_span_skip(in, taken));
        return;
    }
    core_block_append(w, &s->hold, in);
    const size_t taken = run(s, core_block_span(s->hold), now_ns, a);
    core_block_consume(w, &s->hold, (uint32_t)taken);
}

struct core_actions *core_client_data(struct core_session *s, struct proto_span in, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (s->phase == CORE_DOOMED)
        return a;
    if (s->phase == CORE_LINKED) {
        core_link_client_data(s, in, a);
        return a;
    }
    if (s->phase != CORE_QUERY) {
        core_block_append(s->worker, &s->hold, in);
        core_login_data(s, now_ns, a);
        return a;
    }
    core_pump(s, in, now_ns, a);
    return a;
}

struct core_actions *core_resume(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (s->hold == NULL || s->phase == CORE_DOOMED)
        return a;
    if (s->phase != CORE_QUERY)
        core_login_data(s, now_ns, a);
    else
        core_pump(s, (struct proto_span){0}, now_ns, a);
    return a;
}

struct core_actions *core_unended(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (s->hold == NULL || s->phase != CORE_QUERY || s->waiting)
        return a;
    s->hurried = true;
    core_pump(s, (struct proto_span){0}, now_ns, a);
    return a;
}

bool core_client_paused(const struct core_session *s)
{
    static_assert(CORE_USER < CORE_ADMIT, "what comes before the proof comes first");
    const uint32_t max = s->phase < CORE_ADMIT ? CORE_HOLD_UNPROVEN : s->worker->limits.hold_max;
    return s->hold != NULL && s->hold->size - s->hold->start > max;
}
