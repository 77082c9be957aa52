/* SPDX-License-Identifier: PostgreSQL
 *
 * core_failed: a block whose BEGIN was answered by us and that has failed before any server knew of
 * it: the wait for a connection ended in an error. As with PostgreSQL, only its end is accepted
 * then. Nothing of it is anywhere, so that we say so ourselves: no connection has to be free for
 * it.
 *
 * What needs a server is not guessed at. ROLLBACK TO a savepoint that the block has (core_move.c)
 * makes it a deferred block again, with the statement behind it. A Query that begins with the end
 * of the block and goes on is sent as it is, outside of one.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_stmt.h"

enum way_out {
    WAY_NONE,  /* fails with 25P02 */
    WAY_EMPTY, /* nothing to fail */
    WAY_END,
    WAY_CHAIN, /* ... and a block of the same kind begins */
    WAY_SAVEPOINT,
};

/* ---- what a text means in such a block: its first statement decides ---- */

struct words {
    struct router_lexer lexer;
    struct router_token token;
};

static void words_next(struct words *w)
{
    do
        w->token = router_lexer_next(&w->lexer);
    while (w->token.kind == ROUTER_TOKEN_COMMENT);
}

/* Takes the next word if it is this one. */
static bool words_take(struct words *w, const char *word)
{
    const size_t size = strlen(word);
    const bool is = w->token.kind == ROUTER_TOKEN_WORD && w->token.size == size &&
                    strncasecmp(w->lexer.text + w->token.start, word, size) == 0;
    if (is)
        words_next(w);
    return is;
}

static bool words_over(const struct words *w)
{
    return w->token.kind == ROUTER_TOKEN_END;
}

static bool words_semicolon(struct words *w)
{
    const bool is = w->token.kind == ROUTER_TOKEN_SELF && w->lexer.text[w->token.start] == ';';
    if (is)
        words_next(w);
    return is;
}

static enum way_out way_of_statement(struct words *w)
{
    const bool prepares = words_take(w, "prepare");
    if (prepares) { /* PREPARE TRANSACTION 'x' rolls back what has failed */
        if (!words_take(w, "transaction") || w->token.kind != ROUTER_TOKEN_STRING)
            return WAY_NONE;
        words_next(w);
        return WAY_END;
    }
    const bool rolls_back = words_take(w, "rollback");
    if (!rolls_back && !words_take(w, "commit") && !words_take(w, "end") && !words_take(w, "abort"))
        return WAY_NONE;
    if (!words_take(w, "work"))
        (void)words_take(w, "transaction");
    if (rolls_back && words_take(w, "to"))
        return WAY_SAVEPOINT;
    if (!words_take(w, "and"))
        return WAY_END;
    const bool chains = !words_take(w, "no");
    return !words_take(w, "chain") ? WAY_NONE : chains ? WAY_CHAIN : WAY_END;
}

/* *ret_more: other statements follow. */
static enum way_out way_of(struct proto_span text, bool *ret_more)
{
    struct words w = {.lexer = router_lexer_make((const char *)text.base, text.size)};
    words_next(&w);
    while (words_semicolon(&w))
        continue;
    *ret_more = false;
    if (words_over(&w))
        return WAY_EMPTY;
    const enum way_out way = way_of_statement(&w);
    if (way == WAY_NONE || way == WAY_SAVEPOINT)
        return way;
    if (!words_over(&w) && !words_semicolon(&w))
        return WAY_NONE; /* COMMIT PREPARED 'x', or no SQL */
    while (words_semicolon(&w))
        continue;
    *ret_more = !words_over(&w);
    return way;
}

/* ---- the end ---- */

void core_block_fails(struct core_session *s)
{
    if (s->block == CORE_DEFERRED)
        s->block = CORE_FAILED;
}

static void leave(struct core_session *s, enum way_out way)
{
    if (way == WAY_END) {
        core_begin_over(s);
        return;
    }
    assert(way == WAY_CHAIN);
    core_follow_over(s);
    core_block_give(s->worker, &s->block_log);
    core_block_give(s->worker, &s->log_pending);
    s->stays = false;
    s->block = CORE_DEFERRED; /* its BEGIN is still kept */
}

static void answer_way(struct core_session *s, enum way_out way, uint64_t now_ns,
                       struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    if (way == WAY_EMPTY)
        proto_write_empty_query(&w);
    else
        proto_write_command_complete(&w, "ROLLBACK");
    core_sink_commit(&a->client, &w);
    if (way == WAY_EMPTY)
        return;
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_TRANSACTION,
                     ROUTER_REASON_ROLLBACK, now_ns);
    leave(s, way);
}

static void write_aborted(struct core_session *s, struct core_actions *a)
{
    core_own_error_write(s, CORE_OWN_ABORTED, "", a);
}

static void write_no_savepoint(struct core_session *s, struct core_actions *a)
{
    static const struct proto_error_text missing = {
        .severity = "ERROR", .sqlstate = "3B001", .message = "savepoint does not exist"};
    core_write_error(s, &missing, a);
}

/* ---- extended protocol ---- */

/* The statement that a name means; false: there is none. */
static bool text_of(const struct core_session *s, struct proto_span name, struct proto_span *ret)
{
    struct proto_parse parse;
    if (!core_statement_read(s, name, &parse))
        return false;
    *ret = parse.text;
    return true;
}

/* What a Parse, Bind or Describe of a statement is about. False: of a name that nobody knows. */
static bool text_meant(const struct core_session *s, uint8_t type, struct proto_span body,
                       struct proto_span *ret)
{
    struct proto_parse parse;
    struct proto_bind bind;
    struct proto_target target;
    switch (type) {
    case 'P':
        (void)proto_parse_read(body, &parse);
        *ret = parse.text;
        return true;
    case 'B':
        (void)proto_bind_peek(body, &bind);
        return text_of(s, bind.statement, ret);
    default:
        (void)proto_target_read(body, &target);
        return text_of(s, target.name, ret);
    }
}

/* Nothing of it needs a server. */
struct part {
    enum way_out bound; /* of the portal that this batch has made */
    bool has_portal;
    bool failed;
    bool over; /* the block is: what follows is not for us to answer */
};

static void plain(struct core_actions *a, void (*write)(struct proto_writer *w))
{
    struct proto_writer w = core_sink_writer(&a->client);
    write(&w);
    core_sink_commit(&a->client, &w);
}

static void fail_part(struct core_session *s, struct part *p, const char *sqlstate,
                      const char *message, struct core_actions *a)
{
    const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = sqlstate, .message = message};
    p->failed = true;
    if (sqlstate == NULL)
        write_aborted(s, a);
    else
        core_write_error(s, &error, a);
}

static void on_statement(struct core_session *s, uint8_t type, struct proto_span body,
                         struct part *p, struct core_actions *a)
{
    static const uint8_t no_parameters[] = {'t', 0, 0, 0, 6, 0, 0};
    struct proto_span text;
    bool more;
    if (!text_meant(s, type, body, &text)) {
        fail_part(s, p, "26000", "prepared statement does not exist", a);
        return;
    }
    const enum way_out way = way_of(text, &more);
    if (way == WAY_SAVEPOINT && type == 'B') {
        p->failed = true;
        write_no_savepoint(s, a); /* as its Execute would; it has no other use */
    } else if (way == WAY_NONE || more) {
        fail_part(s, p, NULL, NULL, a);
    } else if (type == 'P') {
        p->failed = !core_local_parse(s, body, a);
    } else if (type == 'B') {
        p->bound = way;
        p->has_portal = true;
        plain(a, proto_write_bind_complete);
    } else {
        struct proto_writer w = core_sink_writer(&a->client);
        proto_write_raw(&w, (struct proto_span){no_parameters, sizeof(no_parameters)});
        proto_write_no_data(&w);
        core_sink_commit(&a->client, &w);
    }
}

static void on_message(struct core_session *s, uint8_t type, struct proto_span body, struct part *p,
                       uint64_t now_ns, struct core_actions *a)
{
    struct proto_target target = {0};
    if (type == 'D' || type == 'C')
        (void)proto_target_read(body, &target);
    if (type == 'P' || type == 'B' || (type == 'D' && target.what == 'S')) {
        on_statement(s, type, body, p, a);
    } else if ((type == 'D' || type == 'E') && !p->has_portal) {
        fail_part(s, p, "34000", "portal does not exist", a);
    } else if (type == 'D') {
        plain(a, proto_write_no_data);
    } else if (type == 'E') {
        answer_way(s, p->bound, now_ns, a);
        p->over = s->block != CORE_FAILED;
    } else if (type == 'C') {
        core_local_close(s, &target);
        plain(a, proto_write_close_complete);
    }
}

/* Returns the bytes that were answered: not all, where the block ended within. */
static size_t answer_extended(struct core_session *s, struct proto_span in,
                              const struct core_batch *batch, uint64_t now_ns,
                              struct core_actions *a)
{
    struct part p = {.failed = batch->odd};
    size_t pos = 0;
    if (batch->odd)
        write_aborted(s, a); /* a message of it is malformed: nothing is looked at */
    while (pos < batch->size && !p.over) {
        struct proto_header h = {0};
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &h);
        const struct proto_span body = {.base = in.base + pos + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        pos += PROTO_HEADER_SIZE + h.body_size;
        if (h.type == 'S') {
            core_ready_write(s, a);
            p = (struct part){0};
        } else if (!p.failed && core_sink_full(&a->client)) {
            fail_part(s, &p, "54000", "too many messages in a batch that the proxy answers", a);
        } else if (!p.failed) {
            on_message(s, h.type, body, &p, now_ns, a);
        }
    }
    s->skipping = p.failed;
    return pos;
}

/* ---- both ---- */

/* Does the batch begin with a ROLLBACK TO of a savepoint that the block may have? */
static bool goes_back(const struct core_session *s, struct proto_span in,
                      const struct core_batch *batch)
{
    bool more;
    struct proto_header h = {0};
    if (s->block_log == NULL || batch->odd)
        return false;
    for (size_t pos = 0; pos < batch->size; pos += PROTO_HEADER_SIZE + h.body_size) {
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &h);
        const struct proto_span body = {.base = in.base + pos + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        struct proto_span text;
        if (h.type == 'Q')
            return proto_query_read(body, &text) == PROTO_OK &&
                   way_of(text, &more) == WAY_SAVEPOINT;
        if (h.type == 'P' || h.type == 'B')
            return text_meant(s, h.type, body, &text) && way_of(text, &more) == WAY_SAVEPOINT;
    }
    return false;
}

/* 0: the block has ended, and the text goes on behind that. */
static size_t answer_query(struct core_session *s, struct proto_span in,
                           const struct core_batch *batch, uint64_t now_ns, struct core_actions *a)
{
    struct proto_span text = {0};
    bool more = false;
    enum way_out way = WAY_NONE;
    if (in.base[0] == 'Q' && proto_query_read((struct proto_span){in.base + PROTO_HEADER_SIZE,
                                                                  batch->size - PROTO_HEADER_SIZE},
                                              &text) == PROTO_OK)
        way = way_of(text, &more);
    if (more) {
        leave(s, way);
        return 0;
    }
    if (way == WAY_NONE)
        write_aborted(s, a);
    else if (way == WAY_SAVEPOINT)
        write_no_savepoint(s, a);
    else
        answer_way(s, way, now_ns, a);
    core_ready_write(s, a);
    return batch->size;
}

size_t core_failed_answer(struct core_session *s, struct proto_span in,
                          const struct core_batch *batch, uint64_t now_ns, struct core_actions *a)
{
    assert(s->block == CORE_FAILED);
    if (goes_back(s, in, batch)) {
        s->block = CORE_DEFERRED; /* the savepoint is made again, and gone back to */
        return 0;
    }
    return batch->simple ? answer_query(s, in, batch, now_ns, a)
                         : answer_extended(s, in, batch, now_ns, a);
}

/* A message that is too long to be kept, or the batch that it is in, fails: what is still to come
 * of it is dropped. */
void core_drop_long(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    struct proto_header h = {0};
    (void)proto_header_peek(in, UINT32_MAX - 4, &h);
    s->streaming = false;
    s->stream_left = PROTO_HEADER_SIZE + h.body_size;
    s->stream_drop = true;
    if (h.type == 'Q' || h.type == 'F')
        core_ready_write(s, a);
    else
        s->skipping = true;
}

void core_failed_long(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    assert(s->block == CORE_FAILED);
    write_aborted(s, a);
    core_drop_long(s, in, a);
}
