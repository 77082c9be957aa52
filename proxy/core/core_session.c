/* SPDX-License-Identifier: PostgreSQL
 *
 * core_session: backends come and go. Granted, released, refused, lost.
 *
 * Failure modes: core_refused (no backend), core_server_lost (replay or FATAL). A client that is
 * gone: core_gone.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "core_base.h"
#include "core_begin.h"
#include "core_internal.h"
#include "core_left.h"
#include "core_pin.h"
#include "core_settings.h"

/* ---- backends come and go ---- */

/* Its size cannot be changed where a temporary table has been: such a session gets a connection
 * where none has. */
static bool wants_temp_buffers(const struct core_session *s)
{
    static const char name[] = "temp_buffers";
    if (s->phase != CORE_QUERY)
        return false;
    if (core_settings_has(s->settings, name))
        return true;
    const struct proto_span text = core_block_span(s->hold);
    const size_t size = s->batch_size < text.size ? s->batch_size : text.size;
    for (size_t i = 0; s->class.changes && i + sizeof(name) <= size; i++)
        if (strncasecmp((const char *)text.base + i, name, sizeof(name) - 1) == 0)
            return true;
    return false;
}

struct core_actions *core_granted(struct core_session *s, struct core_backend *b, uint64_t now_ns)
{
    struct core_worker *w = s->worker;
    struct core_actions *a = core_actions_begin(w);
    assert(s->waiting);
    a->backend = b;
    struct router_request request;
    /* one that is granted in the very step that chose it is still right */
    const bool just_chosen = s->choice.node == b->node && s->decided_ns == now_ns &&
                             s->decided_by == w->topology->generation;
    if (s->phase == CORE_QUERY && b->is_replica && !just_chosen) {
        core_request_fill(s, &s->class, &request);
        if (router_refusal(w->topology, &request, b->node, now_ns) != ROUTER_REASON_NONE) {
            a->release = true; /* it was right when it was asked for, and is no longer */
            core_want(s, now_ns, a);
            return a;
        }
    }
    core_base_note(s->group, b);
    if (core_base_is_old(s->group, b) ||
        (b->temp_used && b->last_session_id != s->id && wants_temp_buffers(s))) {
        b->broken = true;
        a->close_backend = CORE_CLOSE_NOW;
        core_want(s, now_ns, a);
        return a;
    }
    s->waiting = false;
    if (core_base_is_other(s, b))
        core_base_meet(s, b, a);
    core_attach(s, b);
    if (core_preflight(s, a))
        return a;
    core_preflight_over(s, now_ns, a);
    return a;
}

static void preflight_alone_over(struct core_session *s, struct core_actions *a)
{
    s->preflight = s->preflight_alone = false;
    if (s->ready_held)
        core_ready_write(s, a);
    s->ready_held = false;
    a->settle = true; /* and then what the client sent since */
}

/* A server would not make the session's settings. A replica: the primary may. The primary: it is
 * what the client has to know. */
static void preflight_refused(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    char sqlstate[6] = "XX000";
    char message[512] = "";
    s->settings_off = true;
    if (b->is_replica && !s->preflight_alone) {
        core_block_give(b->worker, &b->preflight_error);
        s->worker->counters.settings_refused++;
        s->replay_on_primary = true;
        core_detach(s);
        a->release = !b->broken;
        a->close_backend = b->broken ? CORE_CLOSE_NOW : CORE_KEEP;
        core_want(s, now_ns, a);
        return;
    }
    const struct proto_span error = core_block_span(b->preflight_error);
    memcpy(sqlstate, error.base, 5);
    (void)snprintf(message, sizeof(message), "%.*s", (int)error.size - 5,
                   (const char *)error.base + 5);
    core_block_give(b->worker, &b->preflight_error);
    const struct proto_error_text text = {
        .severity = "ERROR",
        .sqlstate = sqlstate,
        .message = message,
        .hint = s->preflight_alone
                    ? "The server refused to make a setting again that the session began with."
                    : "The server refused to make a setting of this session again; the statement "
                      "was not run."};
    if (s->preflight_alone) { /* behind what the client has as done: its block fails, if any */
        b->broken = true;
        if (s->ready_held && (b->status != 'I' || strcmp(sqlstate, "57014") != 0))
            core_write_error(s, &text, a);
        preflight_alone_over(s, a);
        return;
    }
    core_fail_unsent(s, &text, now_ns, a);
    a->settle = true;
}

void core_preflight_over(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    s->preflight = false;
    a->backend = s->backend;
    if (s->backend->preflight_error != NULL) {
        preflight_refused(s, now_ns, a);
        return;
    }
    if (s->preflight_alone) {
        preflight_alone_over(s, a);
        return;
    }
    if (s->phase != CORE_QUERY) {
        core_login_welcome(s, a);
        a->settle = true;
        return;
    }
    if (s->cancelled) {
        core_cancel_unsent(s, now_ns, a);
        return;
    }
    struct core_backend *b = s->backend;
    enum router_reason reason = (enum router_reason)s->choice.reason;
    core_route_count(s, b->is_replica ? ROUTER_TARGET_REPLICA : ROUTER_TARGET_PRIMARY, b->node,
                     (enum router_verdict)s->class.verdict, reason, now_ns);
    if (s->class.verdict == ROUTER_VERDICT_READ && !b->is_replica)
        s->worker->counters.reads_missed++;
    if (s->class.verdict == ROUTER_VERDICT_WRITE && b->is_replica && s->block != CORE_OPEN &&
        s->choice.target == ROUTER_TARGET_REPLICA && !core_begin_reads_only(s))
        s->class.verdict = ROUTER_VERDICT_READ; /* route = replica lifted a doubt */
    core_start_batch(s, now_ns);
    core_pump(s, (struct proto_span){0}, now_ns, a);
}

bool core_at_rest(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    return b != NULL && !b->fatal_seen && b->status == 'I' && core_expect_count(b) == 0 &&
           b->body_left == 0 && b->hold == NULL && b->cancels == 0 &&
           s->client_pending <= s->worker->limits.spool_max && !s->preflight &&
           (s->block == CORE_NO_BLOCK || s->block == CORE_FAILED) && !s->copy_in &&
           s->stream_left == 0 && !s->emitting && !s->streaming && !s->unsynced && s->syncs == 0;
}

bool core_may_release(const struct core_session *s)
{
    /* what is left on a connection that ends cannot be asked, and reaches nobody */
    return s->pin == ROUTER_REASON_NONE && core_at_rest(s) &&
           (!s->left_unknown || s->backend->broken);
}

void core_release(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    assert(core_may_release(s));
    assert(a->server.size == 0 && a->client.size == 0);
    core_detach(s);
    b->broken = b->broken || b->spoiled;
    a->backend = b;
    a->release = !b->broken;
    a->close_backend = b->broken ? CORE_CLOSE_NOW : CORE_KEEP;
}

struct core_actions *core_client_drained(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    struct core_backend *b = s->backend;
    if (s->phase == CORE_DOOMED || b == NULL || b->linked)
        return a;
    a->backend = b;
    if (s->preflight_alone && core_expect_count(b) == 0 && b->cancels == 0) { /* it has waited */
        if (b->broken && !core_is_bound(s))
            preflight_alone_over(s, a); /* its next backend is told */
        else
            a->settle = !core_preflight_alone(s, a);
        return a;
    }
    if (core_may_release(s))
        core_release(s, a);
    else if (core_expect_count(b) > 0 || (s->pins_doubtful && core_unpin_ask(s, a)) ||
             (s->left_unknown && core_left_ask(s, a)))
        return a;
    if (s->hold != NULL && s->phase == CORE_QUERY)
        core_pump(s, (struct proto_span){0}, now_ns, a);
    a->backend = b;
    return a;
}

struct core_actions *core_redecide(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (core_waits_for_pin(s)) {
        s->waiting = false;
        core_pump(s, (struct proto_span){0}, now_ns, a);
    } else if (s->waiting) {
        core_want(s, now_ns, a);
    }
    return a;
}

struct core_actions *core_pin_give_up(struct core_session *s, uint64_t now_ns)
{
    assert(core_waits_for_pin(s));
    s->pin_wait = CORE_PIN_WAITED;
    struct core_actions *a = core_actions_begin(s->worker);
    s->waiting = false;
    core_pump(s, (struct proto_span){0}, now_ns, a);
    return a;
}

struct core_actions *core_turned_away(struct core_session *s, uint64_t now_ns)
{
    assert(s->waiting);
    const uint8_t node = s->choice.node;
    if (s->phase != CORE_QUERY || s->replay_on_primary || node == ROUTER_NODE_NONE ||
        s->worker->topology->nodes[node].role != ROUTER_ROLE_REPLICA)
        return NULL;
    struct core_actions *a = core_actions_begin(s->worker);
    s->replay_on_primary = true;
    core_want(s, now_ns, a);
    return a;
}

struct core_actions *core_refused(struct core_session *s, const struct proto_error_text *error,
                                  uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    assert(s->waiting);
    s->waiting = false;
    core_fail_unsent(s, error, now_ns, a);
    return a;
}

static void drop_batch(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    struct proto_header last = {0};
    s->hurried = false;
    for (size_t pos = 0; pos < s->batch_size; pos += PROTO_HEADER_SIZE + last.body_size)
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &last);
    core_block_consume(s->worker, &s->hold, s->batch_size);
    s->framed = s->judged = 0;
    if (last.type == 'Q') { /* as a server does at every Query */
        s->unnamed_id = 0;
        core_block_give(s->worker, &s->unnamed);
    }
    if (last.type == 'Q' || last.type == 'F' || last.type == 'S')
        core_ready_write(s, a);
    else
        s->skipping = true;
}

/* The batch at the front fails, before anything of it was sent. */
void core_fail_unsent(struct core_session *s, const struct proto_error_text *error, uint64_t now_ns,
                      struct core_actions *a)
{
    s->cancelled = false;
    if (s->pin == ROUTER_REASON_NONE)
        core_pin_drop(s); /* it was counted for what is not sent */
    if (s->phase != CORE_QUERY || strcmp(error->severity, "FATAL") == 0) {
        struct proto_error_text fatal = *error;
        fatal.severity = "FATAL";
        core_fatal_text(s, &fatal, a);
        return;
    }
    core_write_error(s, error, a);
    core_block_fails(s);
    core_replay_ends(s);
    const struct proto_span in = core_block_span(s->hold);
    if (s->streaming)
        core_drop_long(s, in, a);
    else
        drop_batch(s, in, a);
    if (s->hold != NULL)
        core_pump(s, (struct proto_span){0}, now_ns, a);
}

void core_server_lost_for(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool deferred = core_may_defer(s);
    if (deferred)
        core_move_defer(s);
    const bool bound = !deferred && core_is_bound(s);
    const bool alone = s->preflight_alone && !bound; /* the client has had its answer */
    const bool running =
        !alone && !deferred && (core_expect_count(b) > 0 || s->emitting || s->stream_left > 0);
    const bool unsent =
        s->preflight && !s->preflight_alone && s->phase != CORE_DOOMED && !s->retried;
    const bool told = b->fatal_seen && !s->preflight; /* by the server's own last words */
    const bool half = b->body_left > 0 && !b->body_swallow;
    if (s->dirty_block) /* it may have been committed: whoever looks shall find it */
        core_write_raise(s->group->database->global_write_ns, now_ns);
    core_not_in_flight(s, b->node);
    core_expect_undo(b, core_expect_count(b), false);
    core_block_give(s->worker, &s->kept); /* its last words may have come with the last reply */
    s->replayable = false;
    if (unsent) { /* only our own settings were on their way: nothing of the client's was sent */
        const bool streaming = s->streaming;
        core_detach(s);
        core_forget_flight(s);
        s->streaming = streaming;
        s->retried = true;
        s->avoid_node = b->node;
        if (s->login != NULL)
            core_login_forget(s);
        core_want(s, now_ns, a);
        return;
    }
    if (!running && !bound && !half) {
        core_detach(s);
        if (s->ready_held)
            core_ready_write(s, a);
        core_forget_flight(s);
        if (s->hold != NULL && s->phase == CORE_QUERY)
            core_pump(s, (struct proto_span){0}, now_ns, a);
        return;
    }
    if (!told)
        core_fatal(
            s, "08006", "the connection to the server was lost",
            s->dirty_block ? "The outcome of the statement that was running is unknown." : NULL, a);
    s->phase = CORE_DOOMED;
    a->close_client = CORE_CLOSE_AFTER_FLUSH;
    core_detach(s);
    core_forget_flight(s);
}
