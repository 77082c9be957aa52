/* SPDX-License-Identifier: PostgreSQL
 *
 * core_flight: the end of what is in flight: all replies are in, or it is taken back and replayed.
 */
#include <stdlib.h>

#include "core_begin.h"
#include "core_internal.h"
#include "core_known.h"
#include "core_shape.h"
#include "core_stmt.h"

void core_not_in_flight(struct core_session *s, uint8_t node)
{
    if (s->in_flight)
        s->worker->loads[node].in_flight--;
    s->in_flight = false;
}

bool core_writes_nothing(const struct core_session *s)
{
    return s->writes_nothing;
}

void core_outcome(struct core_backend *b, enum breaker_event event, struct core_actions *a)
{
    const struct core_session *s = b->session;
    a->has_outcome = true;
    a->outcome = breaker_judge(event, NULL, "", b->is_replica);
    a->outcome_node = b->node;
    a->outcome_generation = b->generation;
    a->outcome_who = a->outcome_what = 0;
    if (a->outcome.suspicion == BREAKER_SUSPICION_NONE || s == NULL || s->group == NULL)
        return;
    a->outcome_who = core_hash(CORE_HASH_START, core_span(s->group->user));
    a->outcome_what = s->id;
}

/* Another node has answered what one was too sick for. */
static void tell_sickness(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool answered = s->sick_node != ROUTER_NODE_NONE && b->node != s->sick_node;
    /* a replica that has run it proves that it writes nothing */
    if (answered && !s->flight_failed && (b->is_replica || core_writes_nothing(s))) {
        core_outcome(b, BREAKER_EVENT_ELSEWHERE, a);
        a->outcome_node = s->sick_node;
        a->outcome_generation = s->sick_generation;
        a->outcome_what = s->hashes_count > 0 ? s->hashes[0].low ^ s->hashes[0].high : 0;
    }
    s->sick_node = ROUTER_NODE_NONE;
}

void core_flight_over(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    struct core_backend *b = s->backend;
    assert(core_expect_count(b) == 0);
    if (s->in_flight) {
        const uint8_t node = b->node;
        const uint64_t sample_ns = now_ns > s->sent_ns ? now_ns - s->sent_ns : 1;
        router_load_observe(&w->loads[node], sample_ns, now_ns - w->loads_seen_ns[node]);
        w->loads_seen_ns[node] = now_ns;
        a->latency_ns = sample_ns;
        if (s->sick_node != ROUTER_NODE_NONE)
            tell_sickness(s, a);
        if (!a->has_outcome) {
            a->has_outcome = true;
            a->outcome_node = node;
            a->outcome = (struct breaker_outcome){.input = BREAKER_SUCCESS};
            a->outcome_generation = b->generation;
        }
    }
    if (!s->class.proven && b->is_replica && s->proves && !s->flight_failed)
        for (uint32_t i = 0; i < s->hashes_count; i++)
            router_cache_prove(w->cache, &s->hashes[i]);
    if (b->is_replica && s->unsynced && s->rows_forwarded) { /* no ReadyForQuery will say so */
        s->floor_ns = now_ns;
        s->floor_node = b->node;
    }
    core_not_in_flight(s, b->node);
    core_block_give(w, &s->kept);
    s->replayable = s->retried = s->replay_on_primary = s->replan = false;
    s->barrier = s->barrier && s->unsynced; /* what it is for ends with the batch: a COMMIT's Z */
    s->unbegun = s->cancel_asked = false;
    s->resets_failed = 0;
    s->refused = false;
    if (s->movable_once) /* it has shown something of this replica, though no Sync came yet */
        s->movable = s->movable_once = false;
    s->names_in_flight = s->unnamed_in_flight = s->unnamed_used = s->rows_forwarded =
        s->salt_unique = false;
    s->kept_run = 0;
    /* replay_swallow goes with its ReadyForQuery: behind a Flush more of it may be to come */
    s->named_replayed = 0;
    s->timed_out = false;
    s->avoid_node = ROUTER_NODE_NONE;
    a->settle = true;
}

void core_forget_flight(struct core_session *s)
{
    s->syncs = 0;
    s->emitting = s->streaming = s->preflight = s->unsynced = s->executed = s->copy_in = s->copied =
        false;
    s->names_in_flight = s->unnamed_in_flight = s->unnamed_used = s->rows_forwarded = false;
    s->barrier = s->error_seen = s->preflight_alone = s->salt_unique = s->group_failed = false;
    s->ready_held = s->settings_fly = s->settings_hidden = s->unbegun = s->cancel_asked = false;
    core_shape_forget(s);
    s->batch_left = s->kept_run = 0;
}

/* The next named Parse of what is kept; false: there is none. */
static bool next_named(struct proto_span *in, struct proto_parse *ret)
{
    struct proto_header h;
    while (proto_header_peek(*in, UINT32_MAX - 4, &h) == PROTO_OK) {
        const struct proto_span body = {.base = in->base + PROTO_HEADER_SIZE, .size = h.body_size};
        *in = core_span_skip(*in, PROTO_HEADER_SIZE + (size_t)h.body_size);
        if (h.type == 'P' && proto_parse_read(body, ret) == PROTO_OK && ret->name.size > 0)
            return true;
    }
    return false;
}

/* Does what will be sent again bind the unnamed portal? */
static bool binds_portal(const struct core_session *s)
{
    struct proto_span in = core_block_span(s->kept);
    struct proto_header h;
    while (proto_header_peek(in, UINT32_MAX - 4, &h) == PROTO_OK) {
        if (h.type == 'B' && in.size > PROTO_HEADER_SIZE && in.base[PROTO_HEADER_SIZE] == '\0')
            return true;
        in = core_span_skip(in, PROTO_HEADER_SIZE + (size_t)h.body_size);
    }
    return false;
}

/* Before a replay: the names that were given already will be given again. */
static void forget_names(struct core_session *s)
{
    struct proto_span in = core_block_span(s->kept);
    struct proto_parse parse;
    if (s->named_replayed < s->named_answered) /* its client has had so many, now or before */
        s->named_replayed = s->named_answered;
    for (; s->named_answered > 0 && next_named(&in, &parse); s->named_answered--)
        core_names_take(s, parse.name);
}

void core_replay_ends(struct core_session *s)
{
    struct proto_span in = core_block_span(s->hold);
    struct proto_parse parse;
    for (; s->named_replayed > 0 && next_named(&in, &parse); s->named_replayed--) {
        struct core_known known;
        if (core_names_find(s->names, parse.name) != NULL)
            continue;
        core_classify_parse(s, &parse, &known);
        (void)core_names_set(s, parse.name,
                             core_stmt_intern(s->worker, parse.text, parse.types, &known));
    }
    s->named_replayed = s->replay_swallow = s->told_count = 0;
    s->retried = s->replay_on_primary = s->replan = s->refused = false;
    s->avoid_node = s->sick_node = ROUTER_NODE_NONE;
}

/* What was in flight goes in front of what came since. */
static void put_back(struct core_session *s)
{
    core_block_append(s->worker, &s->kept, core_block_span(s->hold));
    core_block_give(s->worker, &s->hold);
    s->hold = s->kept;
    s->kept = NULL;
    s->framed = s->judged = 0;
}

/* Nothing that counts of the oldest batch was forwarded, and all of what is in flight is kept. What
 * waits for a description is still in front of what came since. */
static bool is_whole(const struct core_session *s)
{
    const bool stopped = s->shape != CORE_SHAPE_NONE && !s->streaming;
    const bool kept = stopped || (s->kept != NULL && !s->emitting);
    return kept && s->replayable && !s->rows_forwarded && s->phase == CORE_QUERY &&
           s->stream_left == 0 && s->backend->body_left == 0;
}

bool core_unbegun_whole(const struct core_session *s)
{
    const bool stopped = s->shape != CORE_SHAPE_NONE && !s->streaming;
    return s->unbegun && !s->rows_forwarded && s->stream_left == 0 && s->backend->body_left == 0 &&
           (stopped || (s->kept != NULL && !s->emitting));
}

void core_unbegun_take(struct core_session *s)
{
    forget_names(s);
    put_back(s);
    if (s->dirty_block) { /* by this batch alone: the session was not bound to its backend */
        s->dirty_block = s->dirty_for_good = false;
        s->last_write_ns = s->last_write_before_ns;
    }
}

bool core_may_replay(const struct core_session *s)
{
    return !s->retried && !s->unproven && s->backend != NULL && core_expect_count(s->backend) > 0 &&
           is_whole(s);
}

bool core_replay(struct core_session *s, uint8_t avoid_node, enum router_reason reason,
                 uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool learned = reason == ROUTER_REASON_LEARNED;
    if (learned ? s->replay_on_primary : s->retried)
        return false; /* once for each reason */
    if (!is_whole(s) || (s->movable && b->status == 'E'))
        return false;
    if (s->movable && s->block == CORE_OPEN) {
        if (binds_portal(s)) /* it will be there again */
            s->own_portal = CORE_PORTAL_NONE;
        core_move_defer(s);
    }
    s->movable = false;
    s->cancelled = s->cancelled || b->cancels > 0; /* it goes nowhere with this server */
    core_not_in_flight(s, b->node);
    core_expect_undo(b, core_expect_count(b), false);
    forget_names(s);
    b->broken = true; /* what it still sends belongs to nobody */
    core_detach(s);
    core_forget_flight(s);
    s->retried = s->retried || !learned;
    s->replay_on_primary = s->replay_on_primary || learned;
    s->replay_swallow += s->forwarded;
    if (s->told_count > 0 && !s->replan) { /* a plan from before a change could not be described */
        s->replan = true;
        s->planned_count = 0;
    }
    s->avoid_node = avoid_node;
    put_back(s);
    s->worker->counters.retries++;
    a->backend = b;
    a->close_backend = CORE_CLOSE_NOW;
    core_pump(s, (struct proto_span){0}, now_ns, a);
    a->backend = b;
    return true;
}
