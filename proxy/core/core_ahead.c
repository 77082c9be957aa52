/* SPDX-License-Identifier: PostgreSQL
 *
 * core_ahead: what goes in front of a client's message in the same flight: the settings of its
 * session, where the backend has others, and a deferred BEGIN.
 *
 * It goes without a Sync of its own, so that the server skips the client's message when it fails.
 * Settings are committed before the client's message begins, by a BEGIN and a COMMIT behind them:
 * in a pipeline a COMMIT is no Sync. So they stay when the client's statement fails or its block is
 * rolled back, its block takes the isolation level from them, and what cannot run in a transaction
 * can run behind them. (PostgreSQL's manual, 55.2.3 Extended Query, and 55.2.4 Pipelining.)
 */
#include <stdio.h>

#include "core_catalog.h"
#include "core_internal.h"
#include "core_pin.h"
#include "core_reset.h"
#include "core_settings.h"
#include "core_stmt.h"

enum { FLY_COUNT_MAX = 16, FLY_TEXTS_MAX = 2048 }; /* more are awaited: they are no burst */
/* In front of a longer batch a reset is awaited: it is kept whole until the reset has succeeded. */
enum { FLY_BATCH_MAX = CORE_BLOCK_SIZE };
enum { RESETS_MAX = 3 };

static bool needs_any(const struct core_session *s)
{
    return s->settings_off || core_ahead_is_foreign(s);
}

bool core_ahead_may_fly(const struct core_session *s)
{
    const struct router_class *c = &s->class;
    const struct core_settings *set = s->settings;
    if (s->phase != CORE_QUERY || s->streaming || !needs_any(s) || s->pin != ROUTER_REASON_NONE ||
        s->group->database->pool_mode == CORE_POOL_SESSION)
        return false;
    if (set->count > FLY_COUNT_MAX || set->texts_size > FLY_TEXTS_MAX ||
        s->batch_size > FLY_BATCH_MAX)
        return false;
    /* what the server reports of the client's own SET could not be told from what it reports of
     * these; and a statement that pins has no place to go when they fail */
    if (c->changes || c->unread || core_pins_of(s, c) != 0)
        return false;
    if (!s->backend->is_replica)
        return true;
    /* a replica may know less than the primary (an extension): it must be possible to go there */
    return !s->settings_awaited && !s->trades_unnamed && s->block == CORE_NO_BLOCK &&
           c->verdict == ROUTER_VERDICT_READ && (!c->writes || c->hinted) &&
           s->batch_size <= s->worker->limits.retry_keep;
}

/* A statement that has no rows for anybody. */
static void inject(struct core_session *s, struct core_actions *a, struct proto_span text,
                   enum core_ahead ahead)
{
    static const enum core_expect_kind kinds[] = {CORE_EXPECT_PARSE, CORE_EXPECT_BIND,
                                                  CORE_EXPECT_EXECUTE};
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_parse(&w, core_span(""), text, core_span(""));
    proto_write_bind_empty(&w, core_span(""), core_span(""));
    proto_write_execute(&w, core_span(""), 0);
    core_sink_commit(&a->server, &w);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const bool last = kinds[i] == CORE_EXPECT_EXECUTE;
        struct core_expect *e = core_expect_push(s->backend, kinds[i], CORE_SWALLOW);
        e->ahead =
            (uint8_t)(ahead == CORE_AHEAD_SETTINGS_DONE && !last ? CORE_AHEAD_SETTING : ahead);
    }
    s->backend->unnamed_id = 0;
    s->unsynced = true;
}

static void emit_settings(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    if (core_ahead_is_foreign(s)) {
        struct proto_span resets[CORE_RESETS_MAX];
        const uint32_t resets_count = core_reset_texts(core_catalog_facts(s), resets);
        for (uint32_t i = 0; i < resets_count; i++)
            inject(s, a, resets[i], CORE_AHEAD_RESET);
        core_lru_clear(b);
        core_backend_clean(b);
        b->tainted = core_taints(s) || core_is_misread(s);
        b->sequence_moved = s->class.moves_sequence || s->class.taints;
        s->unbegun = true;
        s->worker->counters.resets++;
    } else if (b->settings_hash != 0) {
        if (b->with_role) {
            inject(s, a, core_span("RESET SESSION AUTHORIZATION"), CORE_AHEAD_RESET);
            inject(s, a, core_span("RESET ROLE"), CORE_AHEAD_RESET);
        }
        inject(s, a, core_span("RESET ALL"), CORE_AHEAD_RESET);
        s->unbegun = true;
    }
    for (uint32_t i = 0; i < s->settings->count; i++)
        inject(s, a, core_span(s->settings->items[i].text), CORE_AHEAD_SETTING);
    inject(s, a, core_span("BEGIN"), CORE_AHEAD_SETTING);
    inject(s, a, core_span("COMMIT"), CORE_AHEAD_SETTINGS_DONE);
    b->tainted = b->tainted || core_settings_seed(s);
    b->settings_hash = CORE_SETTINGS_UNKNOWN; /* until the session leaves it */
    s->settings_off = true;
    s->settings_fly = false;
    s->settings_hidden = true;
    s->barrier = true; /* if they fail, only this batch is skipped */
    s->worker->counters.preflights++;
}

static void emit_begin(struct core_session *s, struct core_actions *a)
{
    inject(s, a, core_block_span(s->begin_text), CORE_AHEAD_BEGIN);
    for (struct proto_span log = core_block_span(s->block_log); log.size > 0;) {
        const size_t size = strlen((const char *)log.base);
        inject(s, a, (struct proto_span){.base = log.base, .size = size}, CORE_AHEAD_BEGIN);
        log = core_span_skip(log, size + 1);
    }
    s->block = CORE_OPEN; /* what was said of it is kept until a server has answered */
    s->worker->counters.begins_deferred++;
}

/* The unnamed portal that ours have left is not for the client to find. */
static void close_portal(struct core_session *s, struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_close(&w, 'P', core_span(""));
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_SWALLOW);
    s->asks_portal = false;
}

void core_ahead_emit(struct core_session *s, struct core_actions *a)
{
    if (s->settings_fly)
        emit_settings(s, a);
    const bool begins = s->block == CORE_DEFERRED;
    if (begins)
        emit_begin(s, a);
    const bool asks = s->asks_portal || s->portal_lost == CORE_PORTAL_HALF;
    if (asks && !(begins && s->begin_bound))
        close_portal(s, a);
}

void core_ahead_done(struct core_session *s)
{
    s->settings_off = s->unbegun = false;
    s->resets_failed = 0;
    if (!s->replayable)
        core_block_give(s->worker, &s->kept);
}

/* Will the server skip the BEGIN of a block that the client believes to be in? */
static bool loses_block(struct core_backend *b)
{
    const uint32_t count = core_expect_count(b);
    for (uint32_t i = 0; i < count && core_expect_at(b, i)->kind != CORE_EXPECT_SYNC; i++)
        if (core_expect_at(b, i)->ahead == CORE_AHEAD_BEGIN)
            return true;
    return false;
}

/* What a session has done with a batch that did not run: nothing. */
static void forget_batch(struct core_session *s, uint64_t now_ns)
{
    struct core_backend *b = s->backend;
    core_not_in_flight(s, b->node);
    core_expect_undo(b, core_expect_count(b), false);
    core_block_give(s->worker, &s->kept);
    s->replayable = false;
    core_pin_drop(s);
    if (s->dirty_block)
        s->last_write_ns = now_ns; /* later than need be */
    s->dirty_block = s->dirty_for_good = s->drops_statements = s->unpins = s->rolls_back = false;
    s->releases = 0;
    core_detach(s);
    core_forget_flight(s);
}

/* Its error has been written: no server has begun the block, so that it fails here (core_failed.c).
 * The server skips what is left of the batch, and is closed. */
static void lose_block(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool synced = s->syncs > 0;
    forget_batch(s, now_ns);
    core_block_give(s->worker, &s->log_pending);
    s->movable = s->movable_once = false;
    s->block = CORE_FAILED;
    if (synced)
        core_ready_write(s, a);
    else
        s->skipping = true;
    a->close_backend = CORE_CLOSE_NOW;
    if (s->hold != NULL)
        core_pump(s, (struct proto_span){0}, now_ns, a);
    a->backend = b;
}

/* A reset has failed: whoever had the connection before has seen to that, by a timeout for example.
 * Nothing of the client's batch has run, whatever it is: it goes to another connection. False: it
 * cannot, or it was tried too often. */
static bool leave_unclean(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    if (s->resets_failed >= RESETS_MAX || s->cancel_asked || s->timed_out || b->cancels > 0)
        return false;
    const bool begins = loses_block(b), sent = !s->preflight;
    if (sent && !core_unbegun_whole(s))
        return false;
    const bool streaming = s->streaming;
    s->resets_failed++;
    s->worker->counters.resets_failed++;
    b->broken = true;
    core_not_in_flight(s, b->node);
    core_expect_undo(b, core_expect_count(b), false);
    if (begins) {
        s->block = CORE_DEFERRED;
        s->movable = s->movable_once = false;
    }
    core_detach(s);
    core_forget_flight(s);
    a->backend = b;
    a->close_backend = CORE_CLOSE_NOW;
    if (sent) {
        core_unbegun_take(s);
        core_pump(s, (struct proto_span){0}, now_ns, a);
    } else {
        s->streaming = streaming;
        if (s->login != NULL)
            core_login_forget(s);
        core_want(s, now_ns, a);
    }
    a->backend = b;
    return true;
}

bool core_ahead_reset_failed(struct core_backend *b, uint64_t now_ns, struct core_actions *a)
{
    const struct core_expect *e = core_expect_head(b);
    return e != NULL && e->ahead == CORE_AHEAD_RESET && leave_unclean(b->session, now_ns, a);
}

static void write_failure(struct core_session *s, const struct proto_error *error,
                          const char *sqlstate, bool fatal, bool hint, struct core_actions *a)
{
    char message[512];
    (void)snprintf(message, sizeof(message), "%.*s", (int)error->message.size,
                   (const char *)error->message.base);
    const struct proto_error_text text = {
        .severity = fatal ? "FATAL" : "ERROR",
        .sqlstate = sqlstate[0] != '\0' ? sqlstate : "XX000", /* a server that forgot it */
        .message = message,
        .hint = hint ? "The server refused to make a setting of this session again; the statement "
                       "was not run."
                     : NULL};
    if (fatal)
        core_fatal_text(s, &text, a);
    else
        core_write_error(s, &text, a);
}

bool core_ahead_failed(struct core_backend *b, const struct proto_error *error,
                       const char *sqlstate, uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    const bool setting = core_expect_head(b)->ahead != CORE_AHEAD_BEGIN;
    const bool cancelled = strcmp(sqlstate, "57014") == 0;
    const bool loses = loses_block(b);
    /* pipelined behind it: skipped too */
    const bool ends_session = loses && (s->syncs > 1 || (s->syncs == 1 && s->unsynced));
    if (setting && !cancelled && b->is_replica) {
        s->worker->counters.settings_refused++;
        s->settings_awaited = true;
        if (core_replay(s, ROUTER_NODE_NONE, ROUTER_REASON_LEARNED, now_ns, a))
            return true;
    }
    b->broken = true; /* it has half of what it was to have */
    s->error_seen = s->group_failed = s->rows_forwarded = true;
    s->cancelled = false;
    if (cancelled && s->timed_out && !ends_session)
        core_own_error_write(s, CORE_OWN_QUERY_TIMEOUT, "", a);
    else
        write_failure(s, error, sqlstate, ends_session, setting && !cancelled, a);
    s->timed_out = false;
    if (!loses || ends_session)
        return false;
    lose_block(s, now_ns, a);
    return true;
}
