/* SPDX-License-Identifier: PostgreSQL
 *
 * core_emit: a decided batch on its way to its backend. Names become server names, statements that
 * the backend lacks are parsed there in the same flight, and the expected replies are written down.
 * (Parse: core_emit_parse.c.)
 */
#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_known.h"
#include "core_left.h"
#include "core_pin.h"
#include "core_shape.h"
#include "core_stmt.h"

/* True: the message has been sent. */
static bool follow_query(struct core_session *s, struct core_expect *e, struct proto_span message,
                         struct core_actions *a)
{
    struct router_changes *changes = NULL;
    struct proto_span text = {0};
    if (message.base[0] != 'Q')
        return false;
    if (!s->class.unread) /* else it need not be whole */
        (void)proto_query_read(core_span_skip(message, PROTO_HEADER_SIZE), &text);
    if (s->class.moves_database)
        a->moves_database = text;
    const enum core_follow follow = core_follow_read(s, &s->class, text, &changes);
    core_follow_sent(s, e, follow, changes);
    return changes != NULL && core_splice(s, changes, text, a);
}

static bool lend_query(struct core_session *s, struct proto_span message, struct core_actions *a)
{
    struct proto_span text;
    return proto_query_read(core_span_skip(message, PROTO_HEADER_SIZE), &text) == PROTO_OK &&
           core_lend(s, text, a);
}

/* A Query goes: what has no name ends with it, though another message goes for it. */
static void drop_unnamed(struct core_session *s, struct core_expect *e)
{
    core_expect_keep_unnamed(s->backend);
    core_unnamed_drop(s);
    e->unnamed_id = s->unnamed_change;
    s->own_portal = CORE_PORTAL_NONE;
}

static void emit_query(struct core_session *s, struct proto_span message, bool behind_ours,
                       struct core_actions *a)
{
    const bool lent =
        s->class.names_prepared && (behind_ours || !s->unsynced) && lend_query(s, message, a);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_QUERY, CORE_FORWARD);
    bool sent = false;
    e->behind_ours = behind_ours || lent;
    if (s->class.verdict == ROUTER_VERDICT_READ)
        e->hash = s->query_hash;
    if (s->left_unknown)
        core_left_text(s, core_span_skip(message, PROTO_HEADER_SIZE));
    if (s->class.changes || s->class.ends || s->class.rolls_back || s->class.unread ||
        s->class.moves_database)
        sent = follow_query(s, e, message, a);
    if (s->movable && s->loggable) {
        struct proto_span text = {0};
        (void)proto_query_read(core_span_skip(message, PROTO_HEADER_SIZE), &text);
        core_move_sent(s, text);
    }
    if (!sent)
        core_sink_append(&a->server, message);
    if (message.base[0] == 'Q')
        drop_unnamed(s, e);
    s->syncs++;
    s->unsynced = s->executed = false;
}

static bool reserved(struct proto_span name)
{
    return name.size >= 3 && memcmp(name.base, "sg_", 3) == 0;
}

/* What a Bind or a Describe is about. */
struct meant {
    struct core_stmt *stmt; /* of a name that is known */
    struct core_stmt *sent; /* ... as it is parsed under the settings of now */
    uint64_t *shape;        /* ... what its client knows of it: core_shape.h */
    struct proto_span name; /* by which the server knows it */
};

/* The statement that the client calls `name` is there after this. False: an error was provoked
 * instead. */
static bool ensure_statement(struct core_session *s, struct proto_span name, struct core_actions *a,
                             struct meant *ret)
{
    *ret = (struct meant){.name = name};
    if (name.size == 0)
        return core_ensure_unnamed(s, a);
    ret->stmt = core_names_find_shape(s->names, name, &ret->shape);
    if (ret->stmt != NULL) {
        ret->sent = core_stmt_under(s, ret->stmt);
        core_ensure_named(s, a, ret->sent);
        ret->name = (struct proto_span){.base = (const uint8_t *)ret->sent->server_name,
                                        .size = CORE_SERVER_NAME_SIZE};
    } else if (reserved(name)) { /* nobody reaches our own names by guessing them */
        core_provoke(s, a, CORE_OWN_NO_STATEMENT, name);
        return false;
    }
    return true;
}

/* With its NUL; returns the bytes written. */
static size_t store_string(uint8_t *to, struct proto_span string)
{
    if (string.size > 0)
        memcpy(to, string.base, string.size);
    to[string.size] = '\0';
    return string.size + 1;
}

/* The statement that a Bind is of, as far as it is known. */
static struct proto_parse bound_statement(const struct core_session *s, struct proto_span name,
                                          const struct core_stmt *stmt)
{
    struct proto_parse parse = {0};
    if (stmt != NULL)
        return (struct proto_parse){.text = core_stmt_text(stmt), .types = core_stmt_types(stmt)};
    if (name.size == 0)
        (void)proto_parse_read(core_unnamed_body(s), &parse);
    return parse;
}

/* What the portal will change, if its statement changes anything that we keep books of. False: an
 * error was provoked instead. */
static bool follow_bind(struct core_session *s, const struct proto_bind *bind,
                        struct core_stmt *stmt, struct core_actions *a)
{
    if (stmt == NULL && bind->statement.size > 0)
        return true; /* the server will say that there is none */
    struct core_known *known =
        stmt != NULL ? &stmt->known : &((struct core_unnamed *)(void *)s->unnamed->data)->known;
    const struct router_class *class = &known->class;
    if (s->streaming) { /* else the whole batch was looked at before */
        core_known_refresh(s, known, bound_statement(s, bind->statement, stmt).text);
        if (!core_pin_late(s, class, a))
            return false;
    }
    if (s->left_unknown && class->taints)
        core_left_text(s, bound_statement(s, bind->statement, stmt).text);
    const bool drops = class->reason == ROUTER_REASON_DEALLOCATE || s->bound_deallocate != NULL;
    if (!class->changes && !class->ends && !class->rolls_back && !drops && !class->moves_database &&
        !class->names_prepared && s->bound == NULL)
        return true;
    const struct proto_parse what = bound_statement(s, bind->statement, stmt);
    if (class->moves_database)
        a->moves_database = what.text;
    if (class->names_prepared)
        (void)core_lend(s, what.text, a);
    if (!core_bound_set(s, class, &what, bind, a)) {
        core_provoke(s, a, CORE_OWN_PIN_ON_REPLICA, core_span(""));
        return false;
    }
    if (drops)
        core_deallocate_bound(s, class, what.text, a);
    return true;
}

/* `next`: what is here behind it. */
static void emit_bind(struct core_session *s, struct proto_span prefix, uint32_t body_size,
                      struct proto_span next, struct core_actions *a)
{
    struct proto_bind bind;
    const enum proto_status status = proto_bind_peek(prefix, &bind);
    assert(status == PROTO_OK);
    struct meant meant;
    const bool good =
        !core_shape_cancelled(s, a) && ensure_statement(s, bind.statement, a, &meant) &&
        (meant.stmt == NULL || core_shape_at_bind(s, &bind, *meant.shape, meant.sent, next, a));
    if (s->shape != CORE_SHAPE_NONE)
        return;
    const bool foreign = good && core_shape_is_foreign(s, meant.shape);
    s->shape_asked = 0;
    s->executed = true;
    if (!good || !follow_bind(s, &bind, meant.stmt, a)) {
        s->stream_drop = true;
        return;
    }
    if (bind.portal.size == 0)
        s->own_portal = CORE_PORTAL_WHOLE;
    if (s->movable && s->loggable)
        core_move_sent(s, bound_statement(s, bind.statement, meant.stmt).text);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_BIND, CORE_FORWARD);
    e->foreign = foreign;
    if (s->backend->is_replica)
        core_learn_bind(s, e, bind.portal, meant.stmt);
    struct proto_writer w = core_sink_writer(&a->server);
    assert(w.capacity >= PROTO_HEADER_SIZE + bind.portal.size + 1 + meant.name.size + 1);
    w.base[0] = 'B'; /* by hand: this is the hottest of all messages */
    proto_store_u32(w.base + 1, (uint32_t)(4 + body_size - bind.statement.size + meant.name.size));
    w.size = PROTO_HEADER_SIZE;
    w.size += store_string(w.base + w.size, bind.portal);
    w.size += store_string(w.base + w.size, meant.name);
    core_sink_commit(&a->server, &w);
    core_sink_append(&a->server, bind.rest);
}

static void emit_describe(struct core_session *s, struct proto_span message, struct core_actions *a)
{
    if (message.base[PROTO_HEADER_SIZE] == 'P') { /* a portal's name is the client's own */
        core_expect_push(s->backend, CORE_EXPECT_DESCRIBE, CORE_FORWARD)->portal =
            message.base[PROTO_HEADER_SIZE + 1] != '\0';
        if (s->shape_name != NULL)
            core_shape_expect_portal(s, message);
        core_sink_append(&a->server, message);
        return;
    }
    struct proto_target target;
    (void)proto_target_read(core_span_skip(message, PROTO_HEADER_SIZE), &target);
    struct meant meant;
    if (!ensure_statement(s, target.name, a, &meant))
        return;
    (void)core_expect_push(s->backend, CORE_EXPECT_DESCRIBE, CORE_FORWARD);
    if (meant.stmt != NULL && core_shape_is_new(*meant.shape, *core_lru_shape(s->backend), true))
        core_shape_expect(s, meant.sent, target.name);
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_describe(&w, target.what, meant.name);
    core_sink_commit(&a->server, &w);
}

static void emit_close(struct core_session *s, struct proto_span message, struct core_actions *a)
{
    struct proto_target target;
    (void)proto_target_read(core_span_skip(message, PROTO_HEADER_SIZE), &target);
    struct core_stmt *stmt = NULL;
    const bool named = target.what == 'S' && target.name.size > 0;
    const uint64_t told = named ? core_names_told(s->names, target.name) : 0;
    if (named)
        stmt = core_names_remove(s, target.name);
    if (stmt != NULL && s->lent != NULL)
        core_lend_back(s, a);
    if (named && (stmt != NULL || reserved(target.name))) {
        struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_FAKE, CORE_FORWARD);
        e->fake = '3';
        e->stmt = stmt;
        e->named_in_client = stmt != NULL;
        e->name = stmt != NULL ? core_copy_name(target.name) : NULL;
        e->told = told;
        s->names_in_flight = true;
        return;
    }
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_FORWARD);
    if (target.what == 'S' && target.name.size == 0) {
        core_expect_keep_unnamed(s->backend);
        core_unnamed_drop(s);
        e->unnamed_id = s->unnamed_change;
    }
    if (target.what == 'P' && target.name.size == 0)
        s->own_portal = CORE_PORTAL_NONE;
    core_sink_append(&a->server, message);
}

/* An Execute of what the books are kept of. */
static void emit_execute(struct core_session *s, struct proto_span message, struct core_actions *a)
{
    struct core_expect *e = core_expect_at(s->backend, core_expect_count(s->backend) - 1);
    if (s->bound != NULL)
        core_bound_executed(s, e, core_span_skip(message, PROTO_HEADER_SIZE));
    const struct router_changes *changes = e->changes;
    if (s->bound_deallocate != NULL)
        core_deallocate_executed(s);
    core_sink_append(&a->server, message);
    if (changes != NULL)
        core_splice_behind(s, changes, a);
}

/* The batch may not run: the server is made to fail it. True: the message is replaced. */
static bool deny(struct core_session *s, uint8_t type, struct core_actions *a)
{
    core_provoke(s, a,
                 s->cancel_denied          ? core_own_denied(s->cancel_denied)
                 : s->block_denied         ? CORE_OWN_NO_BLOCKS
                 : s->sequence_denied      ? CORE_OWN_NO_SEQUENCE_VALUE
                 : !s->backend->is_replica ? CORE_OWN_TOO_MANY_PINS
                 : s->class.acts           ? CORE_OWN_ACT_ON_REPLICA
                                           : CORE_OWN_PIN_ON_REPLICA,
                 core_span(""));
    s->pin_denied = s->sequence_denied = s->block_denied = false;
    s->cancel_denied = CORE_CANCELLED_NOT;
    if (type != 'Q')
        return false; /* the server skips the rest, up to the batch's own Sync */
    drop_unnamed(s, core_expect_at(s->backend, core_expect_count(s->backend) - 1));
    core_inject_sync(s->backend, a, CORE_FORWARD);
    s->syncs++;
    s->unsynced = s->executed = false;
    return true;
}

/* A message that will fail. False: there is nothing wrong with this one of the batch. */
static bool emit_odd(struct core_session *s, struct proto_header h, struct proto_span message,
                     struct core_actions *a)
{
    switch (core_message_check(h.type, core_span_skip(message, PROTO_HEADER_SIZE))) {
    case CORE_MESSAGE_GOOD:
        return false;
    case CORE_MESSAGE_LONG_NAME:
        core_provoke(s, a, CORE_OWN_LONG_NAME, core_span(""));
        return true;
    case CORE_MESSAGE_MALFORMED:
        break;
    }
    (void)core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD); /* an error is to come */
    core_sink_append(&a->server, message);
    return true;
}

/* One whole message; what came behind it goes up to `end`. */
static void emit_message(struct core_session *s, struct proto_header h, struct proto_span message,
                         const uint8_t *end, struct core_actions *a)
{
    const struct proto_span body = core_span_skip(message, PROTO_HEADER_SIZE);
    struct core_expect *e;
    struct proto_parse parse;
    const bool behind_ours = core_ahead_waits(s);
    if (behind_ours)
        core_ahead_emit(s, a);
    if ((s->pin_denied || s->sequence_denied || s->block_denied || s->cancel_denied) &&
        deny(s, h.type, a))
        return;
    if (h.type != 'Q' && h.type != 'F' && h.type != 'S')
        s->unsynced = true;
    if (s->odd && emit_odd(s, h, message, a))
        return;
    switch (h.type) {
    case 'Q':
    case 'F':
        emit_query(s, message, behind_ours, a);
        return;
    case 'P':
        (void)proto_parse_read(body, &parse);
        if (parse.name.size == 0)
            core_emit_parse_unnamed(s, message, a);
        else
            core_emit_parse_named(s, &parse, a);
        return;
    case 'B':
        emit_bind(s, body, h.body_size,
                  (struct proto_span){.base = message.base + message.size,
                                      .size = (size_t)(end - message.base) - message.size},
                  a);
        s->stream_drop = false;
        return;
    case 'D':
        emit_describe(s, message, a);
        return;
    case 'C':
        emit_close(s, message, a);
        return;
    case 'E':
        s->executed = true;
        e = core_expect_push(s->backend, CORE_EXPECT_EXECUTE, CORE_FORWARD);
        if (s->portal_lost != 0)
            e->portal = message.base[PROTO_HEADER_SIZE] != '\0';
        if (s->backend->is_replica)
            core_learn_execute(s, e, message);
        if (s->bound == NULL && s->bound_deallocate == NULL)
            break;
        emit_execute(s, message, a);
        return;
    case 'S':
        s->unsynced = s->executed = false;
        if (!s->copy_in) { /* a server ignores Sync while it copies in */
            (void)core_expect_push(s->backend, CORE_EXPECT_SYNC, CORE_FORWARD);
            s->syncs++;
        }
        break;
    default: /* Flush */
        break;
    }
    core_sink_append(&a->server, message);
}

/* A long Parse goes under the client's own name to a backend that stays with this session. */
static void emit_long_parse(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    struct core_unnamed head = {.known.class = {.verdict = ROUTER_VERDICT_WRITE,
                                                .reason = ROUTER_REASON_TOO_LONG,
                                                .writes = true,
                                                .taints = true}};
    s->unsynced = true;
    const bool on_replica = s->backend->is_replica; /* in a READ ONLY block */
    if (on_replica && s->backend->status != 'E') {  /* no write could follow it */
        core_provoke(s, a, CORE_OWN_PIN_ON_REPLICA, core_span(""));
        s->stream_drop = true;
        return;
    }
    if (!on_replica) /* else the server refuses it in its failed block */
        core_pin_force(s, ROUTER_PIN_LONG);
    s->backend->tainted = true;
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD);
    if (in.base[PROTO_HEADER_SIZE] == '\0') {
        head.id = e->unnamed_id = s->backend->unnamed_id = ++w->next_id;
        core_expect_keep_unnamed(s->backend);
        s->unnamed_id = s->unnamed_change = head.id;
        core_block_give(w, &s->unnamed);
        core_block_append(
            w, &s->unnamed,
            (struct proto_span){.base = (const uint8_t *)&head, .size = sizeof(head)});
        s->unnamed_in_flight = true;
    }
    core_sink_append(&a->server, in);
}

static bool names_fit(const struct proto_bind *bind)
{
    return bind->statement.size <= CORE_NAME_SIZE_MAX && bind->portal.size <= CORE_NAME_SIZE_MAX;
}

/* The first part of a message that is too long to wait for. False: its names are not here yet. */
static bool emit_long(struct core_session *s, struct proto_header h, struct proto_span in,
                      struct core_actions *a)
{
    const struct proto_span prefix = core_span_skip(in, PROTO_HEADER_SIZE);
    struct proto_bind bind;
    if (prefix.size == 0)
        return false;
    if (h.type == 'B') {
        if (proto_bind_peek(prefix, &bind) == PROTO_OK)
            s->bad_message = !names_fit(&bind);
        else if (prefix.size > (size_t)2 * (CORE_NAME_SIZE_MAX + 1))
            s->bad_message = true;
        else
            return false;
        if (s->bad_message)
            return false;
    }
    const bool behind_ours = core_ahead_waits(s);
    if (behind_ours)
        core_ahead_emit(s, a);
    s->stream_drop = false;
    if (h.type == 'B') {
        s->unsynced = true;
        emit_bind(s, prefix, h.body_size, (struct proto_span){0}, a);
        if (s->shape != CORE_SHAPE_NONE)
            return false;
    } else if (h.type == 'Q' || h.type == 'F') {
        emit_query(s, in, behind_ours, a);
    } else {
        emit_long_parse(s, in, a);
    }
    s->stream_left = (uint32_t)(PROTO_HEADER_SIZE + (size_t)h.body_size - in.size);
    return true;
}

/* In a long batch nothing was looked at before: is this message one that may be sent? */
static bool acceptable(struct core_session *s, struct proto_header h, struct proto_span rest)
{
    const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
    bool good = h.type != 0 && strchr("PBDECSHQF", h.type) != NULL &&
                h.body_size <= proto_client_body_size_max(h.type);
    if (good && rest.size < size)
        good = strchr("PBQF", h.type) != NULL || rest.size < PROTO_BODY_SIZE_SMALL;
    s->odd = true; /* each is looked at as it goes */
    s->bad_message = !good;
    return good;
}

static bool ends_batch(uint8_t type)
{
    return type == 'S' || type == 'H' || type == 'Q' || type == 'F';
}

/* A batch that something else than a Sync ended (a Query, CopyData, a message that is none): what
 * comes next has to wait for its replies, and the server keeps them back without this. */
static void flush(struct core_session *s, uint8_t last_type, struct core_actions *a)
{
    if (s->streaming || s->emitting || last_type == 0 || ends_batch(last_type))
        return;
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_flush(&w);
    core_sink_commit(&a->server, &w);
}

/* A message of a batch that was not planned. True: others have their turn before its next one. */
static __attribute__((noinline)) bool streamed(struct core_session *s, uint8_t type, size_t pos,
                                               struct core_actions *a)
{
    if (ends_batch(type)) {
        s->streaming = false;
        s->batch_left = (uint32_t)pos;
        return false;
    }
    s->worker->work += CORE_WORK_MESSAGE;
    a->again = core_is_tired(s->worker, a);
    return a->again;
}

size_t core_emit(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    assert(s->emitting && s->backend != NULL);
    if (s->shape != CORE_SHAPE_NONE)
        return 0;
    size_t pos = 0;
    uint8_t last_type = 0;
    if (s->lent_before) {
        core_lend_back(s, a);
        s->lent_before = false;
    }
    while (s->streaming || pos < s->batch_left) {
        const struct proto_span rest = core_span_skip(in, pos);
        if (core_sink_full(&a->server) || core_sink_full(&a->client)) {
            a->again = true;
            break;
        }
        struct proto_header h;
        if (proto_header_peek(rest, UINT32_MAX - 4, &h) != PROTO_OK)
            break;
        const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
        if (s->streaming && !acceptable(s, h, rest))
            break;
        if (rest.size < size) {                                    /* only when streaming */
            const bool whole = (h.type == 'P' || h.type == 'B') && /* will be waited for */
                               h.body_size <= s->worker->limits.statement_max;
            if (!whole && strchr("PBQF", h.type) != NULL && emit_long(s, h, rest, a)) {
                pos += rest.size;
                s->streaming = !ends_batch(h.type);
                last_type = h.type; /* nothing may come between its parts */
            }
            break;
        }
        emit_message(s, h, (struct proto_span){.base = rest.base, .size = size}, in.base + in.size,
                     a);
        core_expect_fakes(s->backend, a);
        if (s->shape != CORE_SHAPE_NONE)
            break; /* the same message again, when the answer is here */
        pos += size;
        last_type = h.type;
        if (s->streaming && streamed(s, h.type, pos, a))
            break;
    }
    if (!s->streaming) {
        s->batch_left -= s->batch_left < pos ? s->batch_left : (uint32_t)pos;
        s->emitting = s->batch_left > 0;
    }
    flush(s, last_type, a);
    return pos;
}
