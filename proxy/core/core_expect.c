/* SPDX-License-Identifier: PostgreSQL
 *
 * core_expect: the queue of replies that a backend still owes, and what each one is for.
 */
#include <stdlib.h>

#include "core_internal.h"
#include "core_stmt.h"

enum {
    EXPECT_CAPACITY_MIN = 16,
    UNNAMED_KEPT_MAX = 16, /* a block each; more of them in one batch, and behind an error: rare */
};

/* Out of line, that a push need not save what it has in registers for it. */
__attribute__((noinline)) static struct core_expect *
push_grown(struct core_backend *b, enum core_expect_kind kind, enum core_expect_action action)
{
    const uint32_t capacity =
        b->expect_capacity == 0 ? EXPECT_CAPACITY_MIN : b->expect_capacity * 2;
    struct core_expect *larger = malloc(capacity * sizeof(*larger));
    if (larger == NULL)
        abort();
    const uint32_t count = core_expect_count(b);
    for (uint32_t i = 0; i < count; i++)
        larger[i] = b->expect[(b->expect_head + i) & (b->expect_capacity - 1)];
    free(b->expect);
    b->expect = larger;
    b->expect_capacity = capacity;
    b->expect_head = 0;
    b->expect_tail = count;
    return core_expect_push(b, kind, action);
}

struct core_expect *core_expect_push(struct core_backend *b, enum core_expect_kind kind,
                                     enum core_expect_action action)
{
    if (core_expect_count(b) == b->expect_capacity)
        return push_grown(b, kind, action);
    struct core_expect *e = &b->expect[b->expect_tail++ & (b->expect_capacity - 1)];
    *e = (struct core_expect){.kind = (uint8_t)kind, .action = (uint8_t)action};
    return e;
}

/* On the warm path: most own nothing, which is one question. */
static inline bool owns_nothing(const struct core_expect *e)
{
    return ((uintptr_t)e->stmt | (uintptr_t)e->name | (uintptr_t)e->changes |
            (uintptr_t)e->unnamed_was) == 0;
}

void core_expect_release(struct core_backend *b, struct core_expect *e)
{
    if (e->stmt != NULL)
        core_stmt_release(b->worker, e->stmt);
    if (e->name != NULL && e->shaped)
        b->shaped_count--;
    if (e->name != NULL)
        free(e->name);
    if (e->changes != NULL)
        router_changes_free(e->changes);
    if (e->unnamed_was != NULL) {
        core_block_give(b->worker, &e->unnamed_was);
        b->unnamed_kept--;
    }
}

void core_expect_keep_unnamed(struct core_backend *b)
{
    struct core_session *s = b->session;
    const uint32_t count = core_expect_count(b);
    /* behind a Sync, or nothing, there is nothing whose error it could be skipped for */
    if (s->unnamed == NULL || s->unnamed_id == 0 || count < 2 ||
        core_expect_at(b, count - 2)->kind == CORE_EXPECT_SYNC ||
        b->unnamed_kept == UNNAMED_KEPT_MAX)
        return;
    core_expect_at(b, count - 1)->unnamed_was = s->unnamed;
    s->unnamed = NULL;
    b->unnamed_kept++;
}

void core_expect_pop(struct core_backend *b)
{
    struct core_expect *e = core_expect_head(b);
    assert(e != NULL);
    b->expect_head++;
    if (!owns_nothing(e))
        core_expect_release(b, e); /* nothing is pushed meanwhile */
}

/* The server still has it, and what made it go has been undone: there is room for it. */
static void undo_close(struct core_backend *b, const struct core_expect *e)
{
    uint8_t digest[CORE_DIGEST_SIZE];
    uint8_t evicted[CORE_DIGEST_SIZE];
    if (e->stmt != NULL)
        memcpy(digest, e->stmt->digest, sizeof(digest));
    else
        core_server_name_read(e->name, digest);
    if (core_lru_touch(b, digest) || core_lru_add(b, digest, evicted))
        b->broken = true;
}

/* What the client's unnamed statement was is what it still is; one that failed is none. */
static void undo_unnamed(struct core_backend *b, struct core_expect *e, bool failed)
{
    struct core_session *s = b->session;
    core_block_give(b->worker, &s->unnamed);
    s->unnamed_id = 0;
    if (failed || e->unnamed_was == NULL)
        return;
    s->unnamed = e->unnamed_was;
    s->unnamed_id = ((const struct core_unnamed *)(const void *)s->unnamed->data)->id;
    e->unnamed_was = NULL;
    b->unnamed_kept--;
    if (core_unnamed_body(s).size == 0) /* it cannot be told again, and is still there */
        b->unnamed_id = s->unnamed_id;
}

/* Likewise, where a later batch has made another one since: should that be undone too, it goes back
 * to what was there before this one. */
static void undo_unnamed_later(struct core_backend *b, struct core_expect *e, uint32_t first,
                               bool failed)
{
    for (uint32_t i = first; i < core_expect_count(b); i++) {
        struct core_expect *later = core_expect_at(b, i);
        if (later->action == CORE_SWALLOW || later->unnamed_id == 0)
            continue;
        if (later->unnamed_was != NULL) {
            core_block_give(b->worker, &later->unnamed_was);
            b->unnamed_kept--;
        }
        if (!failed) {
            later->unnamed_was = e->unnamed_was;
            e->unnamed_was = NULL;
        }
        return;
    }
}

static void undo(struct core_backend *b, const struct core_expect *e)
{
    struct core_session *s = b->session;
    if (e->in_backend && e->kind == CORE_EXPECT_PARSE)
        core_lru_remove(b, e->stmt->digest);
    if (e->in_backend && e->kind == CORE_EXPECT_CLOSE)
        undo_close(b, e);
    if (e->kind == CORE_EXPECT_PARSE && e->stmt == NULL && b->unnamed_id == e->unnamed_id)
        b->unnamed_id = 0; /* an unnamed Parse that never happened, or failed */
    if (e->named_in_client && s != NULL) {
        const struct proto_span name = core_span(e->name);
        uint64_t *told;
        if (e->kind == CORE_EXPECT_PARSE) {
            core_names_take(s, name);
        } else if (core_names_find_shape(s->names, name, &told) == NULL &&
                   core_names_set(s, name, core_stmt_hold(e->stmt))) {
            (void)core_names_find_shape(s->names, name, &told);
            *told = e->told;
        }
        if (e->kind == CORE_EXPECT_FAKE && e->fake == 0)
            b->tainted = true; /* the empty statement of that name is still there */
    }
}

void core_expect_undo(struct core_backend *b, uint32_t count, bool failed)
{
    assert(count <= core_expect_count(b));
    const struct core_session *s = b->session;
    bool last = false; /* no message behind these has made the unnamed statement what it is */
    /* the newest first: a name may have been closed and given again */
    for (uint32_t i = count; i-- > 0;) {
        struct core_expect *e = core_expect_at(b, i);
        undo(b, e);
        if (s == NULL || e->action == CORE_SWALLOW || e->unnamed_id == 0)
            continue;
        last = last || e->unnamed_id == s->unnamed_change;
        if (last)
            undo_unnamed(b, e, failed && i == 0);
        else
            undo_unnamed_later(b, e, count, failed && i == 0);
    }
    for (uint32_t i = 0; i < count; i++)
        core_expect_pop(b);
}

const char *core_expect_text(struct core_backend *b)
{
    static const char *const texts[] = {
        [CORE_EXPECT_PARSE] = "ParseComplete",
        [CORE_EXPECT_BIND] = "BindComplete",
        [CORE_EXPECT_DESCRIBE] = "a description",
        [CORE_EXPECT_EXECUTE] = "the rows or the end of an Execute",
        [CORE_EXPECT_CLOSE] = "CloseComplete",
        [CORE_EXPECT_SYNC] = "ReadyForQuery",
        [CORE_EXPECT_QUERY] = "the answer to a Query",
        [CORE_EXPECT_FAKE] = "nothing",
    };
    const struct core_expect *e = core_expect_head(b);
    return e != NULL ? texts[e->kind] : "nothing";
}

void core_expect_emit_fakes(struct core_backend *b, struct core_actions *a)
{
    struct core_sink *client = &a->client;
    struct core_expect *e;
    if (b->body_left > 0)
        return; /* within a message of the server's */
    while ((e = core_expect_head(b)) != NULL && e->kind == CORE_EXPECT_FAKE) {
        if (core_sink_full(client)) {
            a->again_server = true;
            return;
        }
        struct proto_writer w = core_sink_writer(client);
        if (e->fake == '1')
            proto_write_parse_complete(&w);
        else if (e->fake == '3')
            proto_write_close_complete(&w);
        core_sink_commit(client, &w);
        b->session->rows_forwarded = true; /* the client has something that would come again */
        core_expect_pop(b);
    }
}
