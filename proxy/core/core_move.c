/* SPDX-License-Identifier: PostgreSQL
 *
 * core_move: a block that is open on a replica moves to the primary, once. To move is to be a
 * deferred block again: its BEGIN goes ahead of the statement once more, and behind it what the
 * block has left for itself since, SET LOCAL and savepoints. READ COMMITTED alone: each of its
 * statements sees what is there at that moment, wherever it runs.
 *
 * With transaction_reads = until_write a block that declared nothing begins on a replica, and moves
 * before its first statement that is not a read. One that is READ ONLY moves before what is the
 * primary's in such a block too: functions that nobody knows to be harmless, locks, NOTIFY.
 *
 * While a block may move, nothing of it may live on the replica that cannot be said again: no
 * cursor, no portal that has a name, is still to be executed or is read in pieces, no setting of
 * the session. A plain block begins on the primary for these, or moves there first; one that is
 * READ ONLY stays on its replica behind them, to its end. The unnamed portal may be left half read
 * by who wanted one row, as drivers do. A statement that moves the block mostly ends it; if it goes
 * on after all, or with a cursor that a function has opened unseen, the client gets 40001.
 */
#include <stdlib.h>

#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_pin.h"
#include "core_settings.h"

enum { LOG_SIZE_MAX = 8192 };

/* Do blocks that say nothing of their level hold no snapshot? The client says what it sets; that
 * the server's administrator has set another default is a fact. */
static bool begins_read_committed(const struct core_session *s)
{
    const struct core_catalog *c = s->group->catalog;
    if (core_settings_has(s->settings, ROUTER_DEFAULT_ISOLATION))
        return false;
    if (c == NULL || c->facts == NULL) /* who sets until_write says that it is so */
        return c == NULL || s->group->database->until_write;
    return router_facts_of_default(c->facts, ROUTER_DEFAULT_ISOLATION) == 0;
}

bool core_move_eligible(const struct core_session *s)
{
    return s->block == CORE_DEFERRED && !s->stays &&
           (core_begin_reads_only(s) ||
            (s->group->database->until_write && s->begin == ROUTER_BEGIN_PLAIN)) &&
           s->group->database->pool_mode != CORE_POOL_SESSION && s->pin == ROUTER_REASON_NONE &&
           (core_settings_flags(s) & ROUTER_SETTING_PRIMARY) == 0 && begins_read_committed(s);
}

bool core_move_logs(const struct core_session *s, const struct core_batch *batch)
{
    const struct router_class *c = &batch->class;
    /* a second BEGIN warns, and declares all the same */
    const bool declares = c->set_read_only || (s->block != CORE_NO_BLOCK && !c->snapshot &&
                                               c->begin == ROUTER_BEGIN_READ_ONLY);
    const bool may_move = s->group->database->until_write || core_begin_reads_only(s) || declares;
    return may_move && batch->one && c->alone && c->verdict == ROUTER_VERDICT_TRANSACTION &&
           (c->reason == ROUTER_REASON_SAVEPOINT || c->sets_local || declares) &&
           core_pins_of(s, c) == 0 &&
           core_block_span(s->block_log).size + batch->text.size < LOG_SIZE_MAX;
}

/* Does a declaration of the block name what must not change once it has read? */
static bool names_level(struct proto_span text)
{
    static const char *const words[] = {"serializable",          "repeatable",
                                        "uncommitted",           "deferrable",
                                        "transaction_isolation", "transaction_deferrable"};
    struct router_lexer lexer = router_lexer_make((const char *)text.base, text.size);
    for (;;) {
        const struct router_token token = router_lexer_next(&lexer);
        if (token.kind == ROUTER_TOKEN_END || token.kind == ROUTER_TOKEN_ERROR)
            return false;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            if (router_token_is(&lexer, token, words[i]))
                return true;
    }
}

/* The replica refuses it as the primary would, had the block read there; on the primary it would be
 * the first that the block does, and hold. */
static bool comes_too_late(const struct core_session *s, const struct core_batch *batch)
{
    const struct router_class *c = &batch->class;
    return s->has_snapshot && batch->one && c->alone &&
           (c->reason == ROUTER_REASON_SET || c->reason == ROUTER_REASON_BEGIN) &&
           names_level(batch->text);
}

/* Only a function can have opened a cursor here, and here it is. */
static bool is_about_cursor(const struct router_class *c)
{
    return c->alone && c->verdict == ROUTER_VERDICT_TRANSACTION &&
           c->reason == ROUTER_REASON_CURSOR;
}

bool core_move_lost(const struct core_session *s, const char *sqlstate, const char *routine)
{
    static const char *const of_cursors[] = {"PerformPortalFetch", "PerformPortalClose",
                                             "execCurrentOf"};
    if (!s->moved || strcmp(sqlstate, "34000") != 0)
        return false;
    for (size_t i = 0; i < sizeof(of_cursors) / sizeof(of_cursors[0]); i++)
        if (strcmp(routine, of_cursors[i]) == 0)
            return true;
    const struct core_expect *e = core_expect_head(s->backend);
    const bool unnamed = e != NULL && e->portal == 0; /* no other may be left where a block moves */
    return s->portal_lost != 0 && unnamed &&
           (strcmp(routine, "exec_execute_message") == 0 ||
            strcmp(routine, "exec_describe_portal_message") == 0);
}

bool core_move_prepares(const struct core_session *s, const struct core_batch *batch)
{
    const struct router_class *c = &batch->class;
    return s->own_portal == CORE_PORTAL_HALF && batch->needs_server && !batch->simple &&
           !batch->binds && !batch->executes && c->verdict == ROUTER_VERDICT_WRITE &&
           c->pins == 0 && !c->changes;
}

bool core_move_revives(const struct core_batch *batch)
{
    if (!batch->simple || !batch->one || batch->class.alone)
        return false;
    struct router_lexer lexer = router_lexer_make((const char *)batch->text.base, batch->text.size);
    struct router_token token;
    do
        token = router_lexer_next(&lexer);
    while (token.kind == ROUTER_TOKEN_COMMENT);
    return router_token_is(&lexer, token, "rollback") || router_token_is(&lexer, token, "abort");
}

/* In a READ ONLY block the server keeps the rest from writing, wherever it is. */
static bool is_home(const struct core_session *s, const struct router_class *c)
{
    return c->verdict != ROUTER_VERDICT_READ && s->route != ROUTER_ROUTE_REPLICA &&
           (c->home || c->acts || core_pins_of(s, c) != 0);
}

/* Does nothing of it live on in its block, or if it does, can it be said again? */
static bool leaves_nothing(const struct core_session *s, const struct router_class *c)
{
    switch ((enum router_verdict)c->verdict) {
    case ROUTER_VERDICT_LOCAL:
    case ROUTER_VERDICT_READ:
        return true;
    case ROUTER_VERDICT_TRANSACTION:
        return s->loggable || c->ends || c->rolls_back || is_about_cursor(c);
    case ROUTER_VERDICT_WRITE: /* refused; or it asks a catalog */
        return c->alone && (c->reason == ROUTER_REASON_DML || c->reason == ROUTER_REASON_DDL ||
                            (!c->by_node_type && (c->reason == ROUTER_REASON_CATALOG ||
                                                  c->reason == ROUTER_REASON_NODE_SPECIFIC)));
    case ROUTER_VERDICT_SESSION:
        return c->alone && c->reason == ROUTER_REASON_DEALLOCATE;
    case ROUTER_VERDICT_PIN:
    case ROUTER_VERDICT_COUNT:
        break;
    }
    return false;
}

bool core_move_ties(const struct core_session *s, const struct core_batch *batch)
{
    return batch->needs_server && core_begin_reads_only(s) &&
           (batch->opens || (batch->continues && s->own_portal != CORE_PORTAL_HALF) ||
            !leaves_nothing(s, &batch->class));
}

bool core_move_needed(const struct core_session *s, const struct core_batch *batch)
{
    const struct router_class *c = &batch->class;
    if (!batch->needs_server)
        return false;
    if (core_begin_reads_only(s))
        return is_home(s, c) && !comes_too_late(s, batch);
    if (batch->opens || (batch->continues && s->own_portal != CORE_PORTAL_HALF))
        return true;
    if (c->verdict == ROUTER_VERDICT_LOCAL)
        return false;
    if (c->verdict == ROUTER_VERDICT_READ) /* what binds its session is the primary's */
        return s->pin == ROUTER_REASON_NONE && core_pins_of(s, c) != 0;
    if (c->alone && c->verdict == ROUTER_VERDICT_SESSION && c->reason == ROUTER_REASON_DEALLOCATE)
        return false; /* what it forgets is parsed wherever it is wanted */
    if (is_about_cursor(c) || comes_too_late(s, batch))
        return false;
    return c->verdict != ROUTER_VERDICT_TRANSACTION || !(c->ends || c->rolls_back || s->loggable);
}

bool core_may_defer(const struct core_session *s)
{
    struct core_backend *b = s->backend;
    if (!s->movable || s->movable_once || s->block != CORE_OPEN || b->status == 'E' ||
        s->group_failed || s->emitting || s->ending || s->pin != ROUTER_REASON_NONE)
        return false;
    const struct core_expect *e = core_expect_head(b);
    return e == NULL || (e->kind == CORE_EXPECT_SYNC && e->action == CORE_SWALLOW &&
                         core_expect_count(b) == 1 && !s->preflight);
}

void core_move_defer(struct core_session *s)
{
    assert(s->movable && s->block == CORE_OPEN && s->begin_text != NULL);
    s->block = CORE_DEFERRED;
    s->moved = s->moved || !s->movable_once;
    if (s->own_portal >= CORE_PORTAL_WHOLE && s->own_portal > s->portal_lost)
        s->portal_lost = s->own_portal;
    s->begin_bound = s->begin_bound && s->own_portal == CORE_PORTAL_UNTOUCHED;
    s->own_portal = CORE_PORTAL_UNTOUCHED;
    s->movable = s->movable_once = s->ending = s->has_snapshot = false;
    core_block_give(s->worker, &s->log_pending);
}

bool core_move_unfit(const struct core_session *s, const struct core_batch *batch, uint64_t now_ns)
{
    struct router_request request;
    if (batch->class.verdict != ROUTER_VERDICT_READ || !batch->executes || batch->continues ||
        core_begin_reads_only(s)) /* it was declared to be of one piece */
        return false;
    core_request_fill(s, &batch->class, &request);
    return router_refusal(s->worker->topology, &request, s->backend->node, now_ns) !=
           ROUTER_REASON_NONE;
}

bool core_move(struct core_session *s, bool for_good, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    assert(b->is_replica && core_expect_count(b) == 0);
    if (s->unsynced) { /* nothing is open there that a Sync would end, and it says where we are */
        core_inject_sync(b, a, CORE_SWALLOW);
        s->unsynced = s->executed = false;
        s->barrier = true;
        return false;
    }
    if (b->status == 'I' && s->ending) { /* its COMMIT has run, and the Sync behind it was ours */
        s->block = CORE_NO_BLOCK;
        s->begin = ROUTER_BEGIN_NONE;
        s->level_local = 0xff;
        core_move_over(s);
        core_follow_over(s);
        a->settle = true;
        return false;
    }
    if (b->status == 'I') {
        core_fatal(s, "08P01", "the server ended a transaction that it was not asked to end", NULL,
                   a);
        return false;
    }
    core_move_defer(s);
    s->stays = for_good;
    core_detach(s); /* the shell rolls back what is left of the block there */
    a->backend = b;
    a->release = !b->broken;
    a->close_backend = b->broken ? CORE_CLOSE_NOW : CORE_KEEP;
    s->worker->counters.blocks_moved += for_good;
    return true;
}

void core_move_sent(struct core_session *s, struct proto_span text)
{
    core_block_give(s->worker, &s->log_pending);
    core_block_append(s->worker, &s->log_pending, text);
    core_block_append(s->worker, &s->log_pending, (struct proto_span){(const uint8_t *)"", 1});
}

void core_move_ready(struct core_session *s)
{
    s->ending = false;
    if (s->movable_once) { /* what it has shown is of this replica */
        if (s->movable)
            s->replayable = false;
        s->movable = s->movable_once = false;
    }
    if (s->backend->status == 'I') {
        core_move_over(s);
        return;
    }
    if (!s->movable) { /* a server knows of the block, and it stays there */
        core_block_give(s->worker, &s->begin_text);
        core_block_give(s->worker, &s->block_log);
    }
    if (s->backend->status != 'T')
        s->own_portal = CORE_PORTAL_NONE;
    if (s->log_pending != NULL && !s->group_failed)
        core_block_append(s->worker, &s->block_log, core_block_span(s->log_pending));
    core_block_give(s->worker, &s->log_pending);
}

void core_move_over(struct core_session *s)
{
    s->movable = s->movable_once = s->stays = s->loggable = s->ending = false;
    s->own_portal = CORE_PORTAL_UNTOUCHED;
    s->portal_lost = 0;
    s->moved = s->has_snapshot = false;
    core_block_give(s->worker, &s->begin_text);
    core_block_give(s->worker, &s->block_log);
    core_block_give(s->worker, &s->log_pending);
}
