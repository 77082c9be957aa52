/* SPDX-License-Identifier: PostgreSQL
 *
 * core_send: what a batch changes about its session as it is sent, and what goes ahead of it.
 */
#include <stdlib.h>

#include "core_begin.h"
#include "core_catalog.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_left.h"
#include "core_pin.h"
#include "core_reset.h"
#include "core_settings.h"
#include "core_stmt.h"

/* ---- sending ---- */

bool core_is_bound(const struct core_session *s)
{
    return s->pin != ROUTER_REASON_NONE || s->block == CORE_OPEN || s->backend->status != 'I' ||
           s->unsynced || s->copy_in;
}

/* A Sync alone, behind the end of a COPY: the server says what became of it only then. */
static bool ends_copy(const struct core_session *s, const struct router_class *class)
{
    return s->copied && s->unsynced && class->verdict == ROUTER_VERDICT_LOCAL &&
           class->reason == ROUTER_REASON_EMPTY && class->local == ROUTER_LOCAL_NONE;
}

/* May the next batch go to the backend that the session has? */
bool core_may_follow(const struct core_session *s, const struct router_class *class)
{
    const struct core_backend *b = s->backend;
    if (core_expect_count(b) >= CORE_EXPECT_MAX ||
        (s->barrier && core_expect_count(b) > 0 && !ends_copy(s, class)))
        return false;
    if (b->cancels > 0)
        return false; /* it is meant for what runs, not for what comes next */
    if (b->fatal_seen || ((b->broken || s->settings_off) && !core_is_bound(s)))
        return false;
    if (core_is_bound(s))
        return true;
    if (!b->is_replica)
        return true;
    return class->verdict == ROUTER_VERDICT_READ;
}

/* What comes behind it may need another name on the server, or other settings. */
static bool moves_settings(const struct core_session *s, const struct router_class *class)
{
    const bool pending = core_follow_pending(s);
    if (class->changes)
        return pending || !class->alone || class->reason != ROUTER_REASON_SAVEPOINT;
    return pending && (class->ends || class->rolls_back || class->has_transaction || class->unread);
}

/* The block may be taken back: until core_move.c says otherwise, or until its first answer. */
static void begin_on_replica(struct core_session *s)
{
    s->movable_once = !core_move_eligible(s);
    s->movable = !s->movable_once || s->class.verdict == ROUTER_VERDICT_READ;
}

static bool in_read_only_block(const struct core_session *s)
{
    return s->block == CORE_OPEN || core_begin_reads_only(s) ||
           s->class.begin == ROUTER_BEGIN_READ_ONLY;
}

/* Does what is sent to the primary count as the session's write? What a replica refuses writes;
 * what nobody can read may; and so may what nothing is known of, once something is known of the
 * rest: a view that hides a function. */
static bool counts_as_write(const struct core_session *s, const struct router_class *class)
{
    return class->writes || s->refused || core_is_misread(s) ||
           (s->doubtful && core_catalog_is_known(s));
}

static void note_write(struct core_session *s)
{
    if (!s->dirty_block)
        s->last_write_before_ns = s->last_write_ns;
    s->dirty_block = true;
    s->last_write_ns = ROUTER_NEVER_NS;
}

/* What was executed and answered without its Sync would be missing elsewhere, but in a block that
 * had not ended by it. */
static bool goes_on(const struct core_session *s, bool was_ending)
{
    return s->unsynced && s->executed && (!s->movable || was_ending);
}

/* Nothing is outstanding: the batch is the first of a flight. */
static void start_flight(struct core_session *s, uint64_t now_ns)
{
    struct core_backend *b = s->backend;
    assert(s->kept == NULL);
    s->flight_failed = s->unproven = s->outside = s->error_seen = false;
    s->replayable = s->writes_nothing = true;
    s->cancel_asked = false;
    s->sent_ns = now_ns;
    s->forwarded = s->named_answered = s->told_again = 0;
    s->told_count = s->replay_swallow > 0 ? s->told_count : 0;
    b->generation = s->worker->topology->nodes[b->node].generation;
    if (!s->in_flight)
        s->worker->loads[b->node].in_flight++;
    s->in_flight = true;
}

/* What a batch changes about the session, at the moment its first byte leaves. */
void core_start_batch(struct core_session *s, uint64_t now_ns)
{
    struct core_backend *b = s->backend;
    const struct router_class *class = &s->class;
    const bool was_ending = s->ending;
    s->hurried = false;
    assert(!b->is_replica || class->verdict == ROUTER_VERDICT_READ ||
           class->verdict == ROUTER_VERDICT_LOCAL || in_read_only_block(s) || core_is_bound(s) ||
           s->loggable);
    assert(
        !b->is_replica || !s->movable || s->movable_once || class->verdict == ROUTER_VERDICT_READ ||
        class->verdict == ROUTER_VERDICT_LOCAL || class->verdict == ROUTER_VERDICT_TRANSACTION ||
        class->reason == ROUTER_REASON_DEALLOCATE || b->status == 'E' || core_begin_reads_only(s));
    if (b->is_replica && s->block == CORE_DEFERRED)
        begin_on_replica(s);
    if (class->verdict == ROUTER_VERDICT_READ && class->reason != ROUTER_REASON_SHOW)
        s->has_snapshot = s->has_snapshot || s->movable;
    const bool first = core_expect_count(b) == 0;
    const bool misread = core_is_misread(s);
    if (!b->is_replica && counts_as_write(s, class))
        note_write(s);
    if (s->dirty_block && (core_ends_inside(class) || class->outside))
        s->dirty_for_good = true; /* no ROLLBACK takes back what a function did elsewhere */
    core_pin_take(s, class);
    if (s->group->database->pool_mode == CORE_POOL_SESSION && s->pin == ROUTER_REASON_NONE)
        core_pin_force(s, ROUTER_PIN_POOL);
    b->tainted = b->tainted || core_taints(s) || s->refused || misread;
    b->spoiled = b->spoiled || (class->keeps && s->group->database->isolates);
    b->sequence_moved = b->sequence_moved || class->moves_sequence || class->taints;
    if (class->taints || s->refused || misread) {
        b->temp_used = true;
        b->spoiled = b->spoiled || s->spoils;
        core_left_note(s);
    }
    if (s->group->catalog != NULL)
        core_catalog_note(s);
    s->seed_set = s->seed_set || class->changes_seed;
    s->drops_statements = s->drops_statements || class->forgets_statements;
    s->unpins = class->unpins;
    s->releases = s->block == CORE_NO_BLOCK ? class->releases : 0;
    s->rolls_back = class->rolls_back;
    if (class->forgets_statements || class->unpins || s->releases != 0 ||
        moves_settings(s, class) || (s->movable && s->loggable) ||
        (b->is_replica &&
         (class->ends || class->rolls_back || class->has_transaction || s->streaming ||
          (s->block == CORE_NO_BLOCK && goes_on(s, was_ending))))) {
        s->barrier = true;
        s->ending = s->ending || (s->movable && (class->ends || class->rolls_back ||
                                                 class->has_transaction || s->streaming));
    }
    const bool at_start = s->block == CORE_NO_BLOCK && b->status == 'I';
    /* LOCAL: a Sync or an empty text behind others, which changes nothing either */
    const bool harmless =
        class->verdict == ROUTER_VERDICT_READ || class->verdict == ROUTER_VERDICT_LOCAL ||
        (s->movable && (s->loggable || class->ends || class->rolls_back)); /* it has not written */
    const bool can_replay =
        harmless && (at_start || (s->movable && b->status != 'E' && !s->group_failed)) &&
        (!class->writes || (class->hinted && b->is_replica)) && s->pin == ROUTER_REASON_NONE &&
        !s->streaming && !(first && goes_on(s, was_ending));
    /* a view may hide a function that writes; on a replica that can have happened outside alone */
    const bool unproven =
        class->verdict == ROUTER_VERDICT_READ && (b->is_replica ? class->outside : !class->proven);
    if (first)
        start_flight(s, now_ns);
    s->replayable = s->replayable && can_replay;
    s->unproven = s->unproven || unproven;
    s->outside = s->outside || class->outside;
    s->writes_nothing =
        s->writes_nothing && (class->proven || class->verdict == ROUTER_VERDICT_LOCAL);
    s->batch_unnamed_id = s->unnamed_id;
    s->lent_before = s->lent != NULL;
    s->emitting = true;
    s->batch_left = s->streaming ? 0 : s->batch_size;
    s->worker->counters.batches++;
}

void core_keep(struct core_session *s, struct proto_span bytes)
{
    if (!s->replayable && !s->unbegun)
        return;
    if (core_block_span(s->kept).size + bytes.size > s->worker->limits.retry_keep) {
        s->replayable = s->unbegun = false;
        core_block_give(s->worker, &s->kept);
        return;
    }
    const struct core_backend *b = s->backend;
    if (core_expect_count(b) == 0 && !s->emitting) { /* a Flush alone: nobody waits for anything */
        core_block_give(s->worker, &s->kept);
        s->kept_run = 0;
        return;
    }
    core_block_append(s->worker, &s->kept, bytes);
    s->kept_run += (uint32_t)bytes.size;
    struct core_expect *last = &b->expect[(b->expect_tail - 1) & (b->expect_capacity - 1)];
    if (core_expect_count(b) > 0 && !s->emitting &&
        (last->kind == CORE_EXPECT_SYNC || last->kind == CORE_EXPECT_QUERY)) {
        last->kept_size = s->kept_run;
        s->kept_run = 0;
    }
}

/* A read behind a write that its replica is not known to have: no primary answers. */
__attribute__((noinline)) static void count_unproven(struct core_session *s,
                                                     const struct router_request *request)
{
    if (s->choice.target != ROUTER_TARGET_REPLICA || s->choice.node == ROUTER_NODE_NONE)
        return;
    const uint64_t proven_ns = s->worker->topology->nodes[s->choice.node].proven_ns;
    if (request->last_write_ns > proven_ns || request->global_write_ns > proven_ns)
        s->worker->counters.reads_unproven++;
}

void core_want(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    struct router_request request;
    core_request_fill(s, &s->class, &request);
    router_decide(w->topology, w->loads, &request, w->trial_ok, core_random(w), now_ns, &s->choice);
    if (s->choice.node == ROUTER_NODE_NONE && s->avoid_node != ROUTER_NODE_NONE) {
        request.avoid_node = s->avoid_node =
            ROUTER_NODE_NONE; /* a second time is better than none */
        router_decide(w->topology, w->loads, &request, w->trial_ok, core_random(w), now_ns,
                      &s->choice);
    }
    s->decided_ns = now_ns;
    s->decided_by = w->topology->generation;
    if (w->topology->is_gone)
        count_unproven(s, &request);
    if (!s->waiting)
        s->waiting_since_ns = now_ns;
    s->waiting = true;
    a->want = true;
    a->probe = a->probe || s->choice.wants_probe;
}

/* Sends what the session has set. False: nothing has to be sent. */
static bool send_settings(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool foreign = core_ahead_is_foreign(s);
    const bool learns = s->phase == CORE_WELCOME && s->settings->count > 0;
    if (!foreign && !s->settings_off && !learns)
        return false;
    struct proto_writer w = core_sink_writer(&a->server);
    uint32_t queries = 0;
    if (foreign) {
        struct proto_span resets[CORE_RESETS_MAX];
        const uint32_t resets_count = core_reset_texts(core_catalog_facts(s), resets);
        for (uint32_t i = 0; i < resets_count; i++) {
            proto_write_query(&w, resets[i]);
            core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW)->ahead = CORE_AHEAD_RESET;
        }
        core_lru_clear(b);
        core_backend_clean(b);
        s->worker->counters.resets++;
    }
    queries += core_settings_write(s->settings, foreign || b->settings_hash == 0, learns, &w);
    for (uint32_t i = 0; i < queries; i++)
        (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
    core_sink_commit(&a->server, &w);
    b->unnamed_id = 0;
    b->tainted = b->tainted || core_settings_seed(s);
    b->settings_hash = CORE_SETTINGS_UNKNOWN;
    s->settings_off = false;
    s->preflight = foreign || queries > 0;
    s->worker->counters.preflights++;
    return s->preflight;
}

/* The batch goes along, or follows when that was answered. */
bool core_preflight(struct core_session *s, struct core_actions *a)
{
    s->settings_fly = core_ahead_may_fly(s);
    return !s->settings_fly && send_settings(s, a);
}

/* Nothing but what it has brought along: the rest is as it is, with SET LOCAL in it. */
bool core_preflight_alone(struct core_session *s, struct core_actions *a)
{
    if (s->backend->cancels > 0) { /* one that is for what has just ended would hit it */
        s->preflight = s->preflight_alone = true;
        return true;
    }
    struct core_settings *start = core_settings_common(s->worker, s->settings, s->profile->start);
    struct proto_writer w = core_sink_writer(&a->server);
    const uint32_t queries = core_settings_write(start, true, false, &w);
    core_settings_release(s->worker, start);
    core_sink_commit(&a->server, &w);
    for (uint32_t i = 0; i < queries; i++)
        (void)core_expect_push(s->backend, CORE_EXPECT_QUERY, CORE_SWALLOW);
    s->backend->tainted = s->backend->tainted || core_settings_seed(s);
    s->settings_off = false;
    s->preflight = s->preflight_alone = queries > 0;
    if (s->preflight) {
        s->backend->unnamed_id = 0;
        s->worker->counters.preflights++;
    } else if (s->ready_held) { /* another SET has come behind the RESET */
        core_ready_write(s, a);
        s->ready_held = false;
    }
    return s->preflight;
}
