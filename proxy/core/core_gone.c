/* SPDX-License-Identifier: PostgreSQL
 *
 * core_gone: the client is gone. What becomes of the backend that it leaves behind: given back at
 * once, drained of replies that nobody waits for, or closed; and how it is made clean.
 *
 * A client that said goodbye gets what PostgreSQL would give it: what it sent before is run. One
 * that just vanishes is looked after by nobody: what waits is dropped, what runs is cancelled.
 *
 * Drained: every reply that is outstanding is dropped, a statement that runs is cancelled; when all
 * are in, core_backend_reset() rolls back and forgets everything of the session.
 */
#include <stdlib.h>

#include "core_internal.h"
#include "core_pin.h"
#include "core_reset.h"
#include "core_stmt.h"

/* Whole messages were sent and no COPY runs: the server will come to its ReadyForQuery by itself.
 */
static bool may_drain(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    return !b->broken && !b->fatal_seen && !b->resetting && !s->copy_in && s->stream_left == 0 &&
           !s->emitting && !s->streaming;
}

static bool is_quiet(const struct core_backend *b)
{
    return core_expect_count(b) == 0 && b->body_left == 0 && b->hold == NULL && b->cancels == 0;
}

/* Who says goodbye while its write runs has it run to its end, in a block too: its COMMIT may be
 * on its way already. Whoever just vanishes, or reads, has nothing to lose by a cancel. */
static bool has_last_will(const struct core_session *s)
{
    const bool said_goodbye =
        s->said_goodbye || (s->hold != NULL && core_block_span(s->hold).base[0] == 'X');
    return said_goodbye && s->dirty_block;
}

static bool runs_for_nobody(const struct core_session *s)
{
    struct core_backend *b = s->backend;
    const bool last_will = has_last_will(s);
    bool runs = s->emitting || s->streaming || s->stream_left > 0;
    for (uint32_t i = 0; i < core_expect_count(b) && !runs; i++)
        runs = core_expect_at(b, i)->action != CORE_SWALLOW; /* a question of ours is quick */
    return runs && !last_will;
}

bool core_client_lingers(const struct core_session *s)
{
    const struct proto_span in = core_block_span(s->hold);
    struct proto_header h;
    size_t pos = s->stream_left;
    if (s->phase != CORE_QUERY || pos >= in.size)
        return false;
    while (proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &h) == PROTO_OK) {
        if (h.type == 'X') {
            const bool reads = s->waiting && !s->streaming && pos == s->batch_size &&
                               s->class.verdict == ROUTER_VERDICT_READ;
            return pos > 0 && !reads; /* nobody is left to look at a row */
        }
        if (in.size - pos - PROTO_HEADER_SIZE <= h.body_size)
            return false;
        pos += PROTO_HEADER_SIZE + (size_t)h.body_size;
    }
    return false;
}

/* What is outstanding is for nobody: made-up replies vanish, the rest is swallowed. */
static void swallow_all(struct core_backend *b)
{
    const uint32_t count = core_expect_count(b);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct core_expect e = *core_expect_at(b, i);
        core_expect_release(b, &e);
        if (e.kind != CORE_EXPECT_FAKE)
            *core_expect_at(b, kept++) =
                (struct core_expect){.kind = e.kind, .action = CORE_SWALLOW};
    }
    b->expect_tail = b->expect_head + kept;
}

static void drain(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    a->drain = true;
    a->cancel_backend = runs_for_nobody(s);
    /* Not when a Sync is on its way already: then the error was of an earlier batch. */
    const bool skips = b->skips && core_expect_count(b) == 0;
    swallow_all(b);
    /* A Sync alone would commit it; the client has not asked that. Behind an error the server skips
     * to the Sync already, and what is executed is undone: it would skip a message of ours too. */
    if (s->unsynced && s->executed && !skips)
        core_inject_error(b, a);
    if (s->unsynced) /* the server waits for the end of the batch */
        core_inject_sync(b, a, CORE_SWALLOW);
    b->draining = b->body_swallow = true;
    b->unfinished_write = s->dirty_block ? s->group->database->global_write_ns : NULL;
    b->tainted = b->pinned_left = true; /* nobody has looked at what became of it */
}

struct core_actions *core_client_gone(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    a->cancel_want = s->waiting;
    s->waiting = false;
    s->phase = CORE_DOOMED;
    struct core_backend *b = s->backend;
    if (b == NULL)
        return a;
    a->backend = b;
    core_not_in_flight(s, b->node);
    if (s->dirty_block) /* it may be committed by now */
        core_write_raise(s->group->database->global_write_ns, now_ns);
    core_block_give(b->worker, &b->preflight_error);
    b->spoiled = b->spoiled || b->broken || (s->pins & CORE_PINS_CLOSING) != 0;
    b->broken = b->spoiled && (is_quiet(b) || !has_last_will(s)); /* else when that is done */
    if (b->linked || !may_drain(s)) {
        a->cancel_backend = core_expect_count(b) > 0 && !b->fatal_seen;
        while (core_expect_count(b) > 0)
            core_expect_pop(b);
        b->broken = true;
        a->close_backend = CORE_CLOSE_NOW;
    } else if (!is_quiet(b) || s->unsynced) {
        drain(s, a);
    } else {
        b->pinned_left = s->pin != ROUTER_REASON_NONE;
        b->tainted = b->tainted || b->pinned_left;
        a->release = true; /* core_backend_reset() first, where it is not idle or is tainted */
    }
    core_detach(s);
    return a;
}

void core_drain_data(struct core_backend *b)
{
    b->broken = b->broken || (b->spoiled && is_quiet(b));
}

bool core_backend_drained(const struct core_backend *b)
{
    assert(b->session == NULL);
    return b->draining && !b->broken && is_quiet(b);
}

void core_drain_error(struct core_backend *b)
{
    const struct core_expect *e = core_expect_head(b);
    if (e == NULL || e->kind == CORE_EXPECT_QUERY || e->kind == CORE_EXPECT_SYNC) {
        b->broken = b->broken || e == NULL;
        return;
    }
    while ((e = core_expect_head(b)) != NULL && e->kind != CORE_EXPECT_SYNC)
        core_expect_pop(b);             /* a Query too */
    b->broken = b->broken || e == NULL; /* it waits for a Sync */
}

struct core_actions *core_backend_reset(struct core_backend *b)
{
    struct core_actions *a = core_actions_begin(b->worker);
    assert(b->session == NULL && core_expect_count(b) == 0);
    a->backend = b;
    b->draining = false;
    b->broken = b->broken || b->spoiled;
    b->unfinished_write = NULL;
    struct proto_writer w = core_sink_writer(&a->server);
    if (b->status != 'I') {
        proto_write_query(&w, core_span("ROLLBACK"));
        (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
    }
    if (b->tainted) {
        struct proto_span resets[CORE_RESETS_MAX];
        const uint32_t resets_count = core_reset_texts(NULL, resets);
        for (uint32_t i = 0; i < resets_count; i++) {
            proto_write_query(&w, resets[i]);
            (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
        }
        core_lru_clear(b);
        core_backend_clean(b); /* it serves nobody before that has succeeded */
        b->pinned_left = false;
        b->settings_hash = 0;
        b->with_role = false;
    }
    core_sink_commit(&a->server, &w);
    b->unnamed_id = 0;
    b->resetting = core_expect_count(b) > 0;
    return a;
}
