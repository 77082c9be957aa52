/* SPDX-License-Identifier: PostgreSQL
 *
 * core_relay_error: a server's ErrorResponse. What it says of the node and of our verdict, whether
 * the batch may be tried elsewhere, what the server skips behind it, and whether the client sees
 * it.
 */
#include <stdio.h>

#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_shape.h"

/* What was sent behind the failed message will be skipped by the server: forget it, undone. */
static void skip_to_sync(struct core_backend *b, struct core_actions *a)
{
    struct core_session *s = b->session;
    const uint32_t count = core_expect_count(b);
    bool query_skipped = false;
    uint32_t skipped = 0;
    for (; skipped < count; skipped++) {
        const struct core_expect *e = core_expect_at(b, skipped);
        if (e->kind == CORE_EXPECT_SYNC)
            break;
        if (e->kind == CORE_EXPECT_QUERY && e->action == CORE_FORWARD) {
            query_skipped = query_skipped || e->behind_ours;
            s->syncs--;
        }
    }
    core_expect_undo(b, skipped, true);
    if (query_skipped) { /* behind what was ours a Query is skipped too: a Sync of ours ends it */
        core_inject_sync(b, a, CORE_FORWARD);
        s->syncs++;
        s->unsynced = s->executed = false;
    } else if (skipped == count) { /* the client's Sync is still to come */
        s->unsynced = true;        /* also behind a Query: the server has skipped it */
        s->skipping = b->skips = true;
        s->emitting = s->streaming = false;
        s->batch_left = 0;
        const bool waits = s->shape != CORE_SHAPE_NONE;
        s->cancelled = waits ? CORE_CANCELLED_NOT : s->cancelled;
        core_shape_forget(s);
        if (waits)
            s->shape = CORE_SHAPE_ANSWERED; /* what waits for it is skipped */
    }
}

static void preflight_failed(struct core_session *s, const struct proto_error *error,
                             struct core_actions *a)
{
    struct core_backend *b = s->backend;
    char message[512];
    char sqlstate[6] = "XX000";
    if (error->sqlstate.size == 5)
        memcpy(sqlstate, error->sqlstate.base, 5);
    (void)snprintf(message, sizeof(message), "%.*s", (int)error->message.size,
                   (const char *)error->message.base);
    if (s->phase == CORE_QUERY && (s->preflight_alone || !core_is_bound(s))) {
        if (b->preflight_error != NULL)
            return;
        core_block_append(s->worker, &b->preflight_error, core_span(sqlstate));
        core_block_append(s->worker, &b->preflight_error, core_span(message));
        return; /* its ReadyForQuery comes first */
    }
    s->preflight = false;
    b->broken = true;
    char detail[512];
    (void)snprintf(detail, sizeof(detail), "%.*s", (int)error->detail.size,
                   (const char *)error->detail.base);
    const struct proto_error_text text = {
        .severity = "FATAL",
        .sqlstate = sqlstate,
        .message = message,
        .detail = detail[0] != '\0' ? detail : NULL,
        .hint = s->phase == CORE_QUERY
                    ? "The server refused to make a setting again that it had made."
                    : NULL};
    core_fatal_text(s, &text, a);
}

static void judge(struct core_backend *b, const char *sqlstate, const char *routine, bool fatal,
                  struct core_actions *a)
{
    a->outcome = breaker_judge(fatal ? BREAKER_EVENT_FATAL : BREAKER_EVENT_ERROR, sqlstate, routine,
                               b->is_replica);
    a->has_outcome = true;
    a->outcome_node = b->node;
    a->outcome_generation = b->generation;
    if (a->outcome.misroute)
        b->worker->counters.misroutes++;
}

static void span_copy(struct proto_span span, char *buf, size_t buf_size)
{
    const size_t size = span.size < buf_size - 1 ? span.size : buf_size - 1;
    if (size > 0)
        memcpy(buf, span.base, size);
    buf[size] = '\0';
}

/* Is the result of what comes next not described? Then its reader has kept a description. */
static bool is_undescribed(struct core_backend *b)
{
    for (uint32_t i = 0; i < core_expect_count(b); i++) {
        const uint8_t kind = core_expect_at(b, i)->kind;
        if (kind == CORE_EXPECT_DESCRIBE || kind == CORE_EXPECT_SYNC)
            return false;
        if (kind == CORE_EXPECT_EXECUTE)
            return true;
    }
    return false;
}

/* "cached plan must not change result type": the connection knows the statement from before a table
 * changed, from another client perhaps. It is parsed again, on another connection. But who reads
 * rows by an old description has to learn of it: asyncpg would decode them wrongly, and prepares
 * anew when it is told. */
static bool replan(struct core_backend *b, const char *sqlstate, const char *routine,
                   uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    if (strcmp(sqlstate, "0A000") != 0 || strcmp(routine, "RevalidateCachedQuery") != 0 ||
        s->group->database->pool_mode == CORE_POOL_SESSION || is_undescribed(b) ||
        s->told_count > 0) /* what it was told already would not hold */
        return false;
    b->broken = true; /* it would fail there for the next client too */
    const bool before = s->replan;
    s->planned_count = before ? s->planned_count : 0;
    s->replan = true;
    if (core_replay(s, ROUTER_NODE_NONE, ROUTER_REASON_RETRY, now_ns, a))
        return true;
    s->replan = before; /* what waits for a description has been parsed anew already */
    return false;
}

/* The words that a primary has for a COPY FROM in a READ ONLY block; a replica would say "during
 * recovery", of which the client need not know. */
static bool read_only_copy(struct core_session *s, const struct proto_error *error,
                           const char *sqlstate, struct core_actions *a)
{
    const struct proto_error_text text = {
        .severity = "ERROR",
        .sqlstate = "25006",
        .message = "cannot execute COPY FROM in a read-only transaction"};
    if (!s->backend->is_replica || strcmp(sqlstate, text.sqlstate) != 0 ||
        !core_text_equal(error->message, "cannot execute COPY during recovery"))
        return false;
    core_write_error(s, &text, a);
    return true;
}

/* A replica does not know the table, column, function, type or schema. Somebody may just have made
 * it here: the replica does not show the last of what was written through this proxy. */
static bool is_behind(struct core_backend *b, const char *sqlstate)
{
    static const char *const unknown[] = {"42P01", "42703", "42883", "42704", "3F000"};
    const struct core_session *s = b->session;
    const uint64_t *written = s->group->database->global_write_ns;
    if (!b->is_replica || written == NULL ||
        s->worker->topology->nodes[b->node].fresh_as_of_ns >=
            __atomic_load_n(written, __ATOMIC_ACQUIRE))
        return false;
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        if (strcmp(sqlstate, unknown[i]) == 0)
            return true;
    return false;
}

/* A replica refuses what is no read. That is learned, whatever becomes of this one: the text has
 * gone wrong once, and does not again. True: it runs on the primary. That is not done for what may
 * have reached outside, where it would happen twice. */
static bool refuse(struct core_backend *b, const struct core_expect *e, const char *sqlstate,
                   const char *routine, uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    if (!b->is_replica ||
        (strcmp(sqlstate, "25006") != 0 && !breaker_is_refusal(sqlstate, routine)))
        return false;
    core_learn(s, &e->hash, now_ns);
    if (s->outside || !core_replay(s, ROUTER_NODE_NONE, ROUTER_REASON_LEARNED, now_ns, a))
        return false;
    s->refused = true;
    return true;
}

/* The replica's disk, memory or data may be sick, or the statement says so itself: the answer of
 * another node will tell. What it may have done on a replica an error has undone. */
static bool leave_sick_node(struct core_backend *b, const char *sqlstate, uint64_t now_ns,
                            struct core_actions *a)
{
    struct core_session *s = b->session;
    const uint8_t node = b->node;
    const uint32_t generation = b->generation;
    if (!b->is_replica || !breaker_is_sickness(sqlstate) ||
        !core_replay(s, node, ROUTER_REASON_RETRY, now_ns, a))
        return false;
    a->outcome = (struct breaker_outcome){.input = BREAKER_NEUTRAL};
    s->sick_node = node;
    s->sick_generation = generation;
    return true;
}

/* An error that another connection or node would not have met. True: it is replayed there. */
static bool try_elsewhere(struct core_backend *b, const char *sqlstate, const char *routine,
                          uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    const uint8_t kind = core_expect_head(b)->kind;
    const bool unrun = kind == CORE_EXPECT_BIND || kind == CORE_EXPECT_DESCRIBE;
    if ((!s->outside || unrun) && replan(b, sqlstate, routine, now_ns, a))
        return true; /* a plan that is found to be stale has not been run */
    if (s->outside)
        return false; /* it would be done there twice */
    if (leave_sick_node(b, sqlstate, now_ns, a))
        return true;
    if (is_behind(b, sqlstate)) /* what the primary says counts */
        return core_replay(s, ROUTER_NODE_NONE, ROUTER_REASON_LEARNED, now_ns, a);
    /* a conflict with recovery; the second one where each waits for the other's pinned page */
    const bool conflict = strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0;
    if (!b->is_replica || !conflict)
        return false;
    if (core_replay(s, b->node, ROUTER_REASON_RETRY, now_ns, a))
        return true;
    /* The next replica replays the same WAL and has the same conflict. The primary has none: a part
     * of the same retry. */
    const struct router_topology *t = s->worker->topology;
    const uint8_t primary = router_primary(t, s->group->database->shard);
    return primary != ROUTER_NODE_NONE && t->nodes[primary].breaker == BREAKER_CLOSED &&
           core_replay(s, ROUTER_NODE_NONE, ROUTER_REASON_LEARNED, now_ns, a);
}

/* What becomes of an error whose fields were read. */
static enum core_verdict take_error(struct core_backend *b, const struct proto_error *error,
                                    const char *sqlstate, uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    char routine[64];
    span_copy(error->routine, routine, sizeof(routine));
    const bool fatal =
        core_text_equal(error->severity, "FATAL") || core_text_equal(error->severity, "PANIC");
    judge(b, sqlstate, routine, fatal, a);
    if (fatal)
        b->fatal_seen = b->broken = true;
    if (s == NULL) {
        if (b->draining && !fatal)
            core_drain_error(b);
        else
            b->broken = true;
        return CORE_VERDICT_SWALLOW;
    }
    if (fatal && (core_expect_count(b) > 0 || s->shape != CORE_SHAPE_NONE) && !s->unproven &&
        core_replay(s, b->node, ROUTER_REASON_RETRY, now_ns, a))
        return CORE_VERDICT_STOP;
    const bool idle = (core_expect_count(b) == 0 && !core_is_bound(s)) || core_may_defer(s);
    if (fatal && (s->preflight || idle))
        return CORE_VERDICT_SWALLOW; /* nothing of the client's is there: another will do */
    if (core_ahead_reset_failed(b, now_ns, a))
        return CORE_VERDICT_STOP;
    if (s->preflight) {
        preflight_failed(s, error, a);
        return CORE_VERDICT_SWALLOW;
    }
    struct core_expect *e = core_expect_head(b);
    if (fatal)
        s->rows_forwarded = true; /* the client sees its end: no replay comes behind that */
    if (fatal || e == NULL)
        return e == NULL && !fatal ? CORE_VERDICT_BAD : CORE_VERDICT_FORWARD;
    if (e->follow == CORE_FOLLOW_ASKED || e->follow == CORE_FOLLOW_LEFT)
        return CORE_VERDICT_SWALLOW; /* nothing was learned: what pins stays */
    if (e->ahead != CORE_AHEAD_NONE) {
        if (core_ahead_failed(b, error, sqlstate, now_ns, a))
            return CORE_VERDICT_STOP;
        skip_to_sync(b, a);
        return CORE_VERDICT_SWALLOW;
    }
    if (refuse(b, e, sqlstate, routine, now_ns, a))
        return CORE_VERDICT_STOP;
    if (try_elsewhere(b, sqlstate, routine, now_ns, a))
        return CORE_VERDICT_STOP;
    s->error_seen = s->group_failed = s->flight_failed = true;
    s->rows_forwarded = true;
    const bool late = s->timed_out && strcmp(sqlstate, "57014") == 0;
    const bool misfit = core_shape_is_misfit(e, sqlstate, routine);
    const bool lost = core_move_lost(s, sqlstate, routine);
    if (late || misfit || lost)
        core_own_error_write(s,
                             late     ? CORE_OWN_QUERY_TIMEOUT
                             : misfit ? CORE_OWN_OTHER_SHAPE
                             : b->status == 'E'
                                 ? CORE_OWN_ABORTED /* it would still be there, of no use */
                                 : CORE_OWN_MOVED,
                             "", a);
    s->timed_out = false;
    const bool told = late || misfit || lost || read_only_copy(s, error, sqlstate, a);
    if (e->kind == CORE_EXPECT_QUERY || e->kind == CORE_EXPECT_SYNC)
        return told ? CORE_VERDICT_SWALLOW : CORE_VERDICT_FORWARD;
    /* a text under a name that is taken may be wrong itself: then the server has said so */
    const bool replace =
        e->action == CORE_REPLACE_ERROR &&
        (e->fake != CORE_OWN_DUPLICATE_STATEMENT || strcmp(sqlstate, "42P05") == 0);
    if (replace)
        core_own_error_write(s, (enum core_own_error)e->fake, e->name != NULL ? e->name : "", a);
    s->copy_in = false;
    skip_to_sync(b, a);
    return replace || told ? CORE_VERDICT_SWALLOW : CORE_VERDICT_FORWARD;
}

enum core_verdict core_relay_error(struct core_backend *b, struct proto_span body, uint64_t now_ns,
                                   struct core_actions *a)
{
    struct proto_error error;
    char sqlstate[6];
    if (proto_error_read(body, &error) != PROTO_OK)
        return CORE_VERDICT_BAD;
    span_copy(error.sqlstate, sqlstate, sizeof(sqlstate));
    const uint32_t class = core_error_class(sqlstate);
    if (class < CORE_ERROR_CLASSES)
        b->worker->counters.server_errors[class]++;
    enum core_verdict v = take_error(b, &error, sqlstate, now_ns, a);
    if (v == CORE_VERDICT_FORWARD)
        core_count_error(b->session, sqlstate);
    const struct core_expect *e = core_expect_head(b);
    if (v == CORE_VERDICT_FORWARD && e != NULL && e->changes != NULL &&
        e->changes->splices_count > 0 && core_splice_error(e->changes, body, a))
        v = CORE_VERDICT_SWALLOW;
    return v;
}
