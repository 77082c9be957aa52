/* SPDX-License-Identifier: PostgreSQL
 *
 * core_emit: a decided batch on its way to its backend. Names become server names, statements that
 * the backend lacks are parsed there in the same flight, and the expected replies are written down.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_internal.h"

static const char provoked[] = "switchgear provokes an error";

static void write_own_error(struct core_sink *client, enum core_own_error error, const char *name)
{
    char message[CORE_NAME_SIZE_MAX + 128];
    struct proto_error_text text = {.severity = "ERROR", .message = message};
    switch (error) {
    case CORE_OWN_DUPLICATE_STATEMENT:
        text.sqlstate = "42P05";
        (void)snprintf(message, sizeof(message), "prepared statement \"%s\" already exists", name);
        break;
    case CORE_OWN_TOO_MANY_STATEMENTS:
        text.sqlstate = "54000";
        text.hint = "Close statements that are no longer needed, or raise max_prepared_statements.";
        (void)snprintf(message, sizeof(message),
                       "too many prepared statements in this session, \"%s\" is one too many",
                       name);
        break;
    case CORE_OWN_NO_SEQUENCE_VALUE:
        text.sqlstate = "55000";
        text.message =
            "currval and lastval are not defined here: the connection that called nextval "
            "may serve another client now";
        text.hint =
            "Use INSERT ... RETURNING, or call them in the transaction that called nextval.";
        break;
    case CORE_OWN_TOO_MANY_PINS:
        text.sqlstate = "53300";
        text.message = "this statement would bind the session to a server connection, and "
                       "pin_limit allows no more of them";
        text.hint = "Raise pool_size or pin_limit, or look with SHOW PINS and SHOW CLIENTS in the "
                    "admin console for sessions that SET, LISTEN or lock.";
        break;
    case CORE_OWN_PIN_ON_REPLICA:
        text.sqlstate = "0A000";
        text.message = "this statement would bind the session to a replica";
        text.hint = "Run it before the READ ONLY transaction, or in one that is not READ ONLY.";
        break;
    case CORE_OWN_NO_UNNAMED_STATEMENT:
    case CORE_OWN_COUNT:
        text.sqlstate = "26000";
        text.message = "unnamed prepared statement does not exist";
        break;
    }
    struct proto_writer w = core_sink_writer(client);
    proto_write_error(&w, &text);
    core_sink_commit(client, &w);
}

void core_own_error_write(struct core_worker *w, const struct core_expect *e,
                          struct core_sink *client)
{
    w->counters.errors_made++;
    write_own_error(client, (enum core_own_error)e->fake, e->name != NULL ? e->name : "");
}

static char *copy_name(struct proto_span name)
{
    char *copy = malloc(name.size + 1);
    if (copy == NULL)
        abort();
    if (name.size > 0)
        memcpy(copy, name.base, name.size);
    copy[name.size] = '\0';
    return copy;
}

/* ---- things that we put in front of a client's message ---- */

static void emit_parse(struct core_actions *a, struct proto_span name, struct proto_span text,
                       struct proto_span types)
{
    uint8_t head[PROTO_HEADER_SIZE];
    uint8_t count[3] = {0, (uint8_t)(types.size / 4 >> 8), (uint8_t)(types.size / 4)};
    head[0] = 'P';
    proto_store_u32(head + 1,
                    (uint32_t)(4 + name.size + 1 + text.size + 1 + sizeof(count) - 1 + types.size));
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_raw(&w, (struct proto_span){.base = head, .size = sizeof(head)});
    proto_write_raw(&w, name);
    proto_write_raw(&w, (struct proto_span){.base = count, .size = 1}); /* the name's NUL */
    core_sink_commit(&a->server, &w);
    core_sink_append(&a->server, text);
    w = core_sink_writer(&a->server);
    proto_write_raw(&w, (struct proto_span){.base = count, .size = sizeof(count)});
    core_sink_commit(&a->server, &w);
    core_sink_append(&a->server, types); /* up to 256 kB: not through the scratch */
}

void core_emit_begin(struct core_session *s, struct core_actions *a)
{
    assert(s->block == CORE_DEFERRED);
    const struct proto_span text = core_block_span(s->begin_text);
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_parse(&w, core_span(""), text, core_span(""));
    proto_write_bind_empty(&w, core_span(""), core_span(""));
    proto_write_execute(&w, core_span(""), 0);
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW);
    (void)core_expect_push(s->backend, CORE_EXPECT_BIND, CORE_SWALLOW);
    (void)core_expect_push(s->backend, CORE_EXPECT_EXECUTE, CORE_SWALLOW);
    s->backend->unnamed_id = 0;
    s->unsynced = true;
    s->block = CORE_OPEN;
    core_block_give(s->worker, &s->begin_text);
    s->worker->counters.begins_deferred++;
}

/* `stmt`: what it closes, if the backend's list gets it back when the server skips this. */
static void emit_close_injected(struct core_session *s, struct core_actions *a,
                                struct proto_span name, struct core_stmt *stmt)
{
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_close(&w, 'S', name);
    core_sink_commit(&a->server, &w);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_SWALLOW);
    e->in_backend = true;
    e->stmt = stmt != NULL ? core_stmt_hold(stmt) : NULL;
    s->names_in_flight = true;
    s->worker->counters.closes_injected++;
}

/* Tells the backend's list of a statement; what falls out of it is closed on the server. */
static void list_in_backend(struct core_session *s, struct core_actions *a,
                            const struct core_stmt *stmt)
{
    uint8_t evicted[CORE_DIGEST_SIZE];
    if (!core_lru_add(s->backend, stmt->digest, evicted))
        return;
    char name[CORE_SERVER_NAME_SIZE + 1];
    core_server_name(evicted, name);
    emit_close_injected(s, a, core_span(name), NULL);
}

static void provoke(struct core_session *s, struct core_actions *a, enum core_own_error error,
                    struct proto_span name)
{
    emit_parse(a, core_span(""), core_span(provoked), core_span(""));
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_REPLACE_ERROR);
    e->fake = (uint8_t)error;
    e->name = copy_name(name);
    s->backend->unnamed_id = 0;
}

static void ensure_named(struct core_session *s, struct core_actions *a, struct core_stmt *stmt)
{
    if (core_lru_touch(s->backend, stmt->digest))
        return;
    list_in_backend(s, a, stmt);
    emit_parse(
        a, core_span(stmt->server_name),
        (struct proto_span){.base = stmt->data, .size = stmt->text_size},
        (struct proto_span){.base = stmt->data + stmt->text_size + 1, .size = stmt->types_size});
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW);
    e->stmt = core_stmt_hold(stmt);
    e->in_backend = true;
    s->names_in_flight = true; /* if it is skipped, what comes behind the next Sync lacks it */
    s->worker->counters.parses_injected++;
}

/* False: the session has no unnamed statement; an error was provoked. */
static bool ensure_unnamed(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    if (s->unnamed_id == 0) {
        provoke(s, a, CORE_OWN_NO_UNNAMED_STATEMENT, core_span(""));
        return false;
    }
    s->unnamed_used = s->unnamed_used || s->unnamed_id == s->batch_unnamed_id;
    if (b->unnamed_id == s->unnamed_id)
        return true;
    const struct proto_span body =
        core_span_skip(core_block_span(s->unnamed), sizeof(struct core_unnamed));
    struct proto_parse parse;
    const enum proto_status status = proto_parse_read(body, &parse);
    assert(status == PROTO_OK); /* it was read before it was kept */
    emit_parse(a, core_span(""), parse.text, parse.types);
    core_expect_push(b, CORE_EXPECT_PARSE, CORE_SWALLOW)->unnamed_id = s->unnamed_id;
    b->unnamed_id = s->unnamed_id;
    s->worker->counters.parses_injected++;
    return true;
}

/* ---- the client's messages ---- */

/* A batch in flight that needs the one that goes could not be sent again. */
static void unnamed_goes(struct core_session *s)
{
    if (s->unnamed_used)
        s->replayable = false;
}

static void drop_unnamed(struct core_session *s)
{
    unnamed_goes(s);
    s->unnamed_id = 0;
    s->backend->unnamed_id = 0;
    core_block_give(s->worker, &s->unnamed);
}

static void emit_query(struct core_session *s, struct proto_span message, bool behind_begin,
                       struct core_actions *a)
{
    core_expect_push(s->backend, CORE_EXPECT_QUERY, CORE_FORWARD)->behind_begin = behind_begin;
    core_sink_append(&a->server, message);
    drop_unnamed(s);
    s->syncs++;
    s->unsynced = s->executed = false;
}

void core_unnamed_keep(struct core_session *s, struct proto_span body,
                       const struct router_class *class, const struct router_hash *hash)
{
    struct core_worker *w = s->worker;
    const struct core_unnamed head = {.class = *class, .hash = *hash};
    unnamed_goes(s);
    core_block_give(w, &s->unnamed); /* not in place: a span of this step may point at its text */
    core_block_append(w, &s->unnamed,
                      (struct proto_span){.base = (const uint8_t *)&head, .size = sizeof(head)});
    core_block_append(w, &s->unnamed, body);
    s->unnamed_id = ++w->next_id;
}

static void emit_parse_unnamed(struct core_session *s, struct proto_span message,
                               struct core_actions *a)
{
    const struct proto_span body = core_span_skip(message, PROTO_HEADER_SIZE);
    struct router_class class = s->parse_class;
    struct router_hash hash = {0};
    if (s->parse_class_valid && s->parse_hash < s->hashes_count) {
        hash = s->hashes[s->parse_hash];
    } else {
        struct proto_parse parse;
        (void)proto_parse_read(body, &parse);
        router_cache_classify(s->worker->cache, (const char *)parse.text.base, parse.text.size,
                              &class, &hash, NULL);
    }
    s->parse_class_valid = false;
    core_unnamed_keep(s, body, &class, &hash);
    s->backend->unnamed_id = s->unnamed_id;
    core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD)->unnamed_id = s->unnamed_id;
    core_sink_append(&a->server, message);
}

static void emit_parse_named(struct core_session *s, const struct proto_parse *parse,
                             struct core_actions *a)
{
    if (core_names_find(s->names, parse->name) != NULL) {
        provoke(s, a, CORE_OWN_DUPLICATE_STATEMENT, parse->name);
        return;
    }
    struct core_worker *w = s->worker;
    struct router_class class;
    struct router_hash hash;
    router_cache_classify(w->cache, (const char *)parse->text.base, parse->text.size, &class, &hash,
                          NULL);
    struct core_stmt *stmt = core_stmt_intern(w, parse->text, parse->types, &class, &hash);
    if (!core_names_set(s, parse->name, core_stmt_hold(stmt))) {
        core_stmt_release(w, stmt);
        provoke(s, a, CORE_OWN_TOO_MANY_STATEMENTS, parse->name);
        return;
    }
    /* A client's own Parse is always answered by a server: what is there already makes way. */
    if (core_lru_touch(s->backend, stmt->digest))
        emit_close_injected(s, a, core_span(stmt->server_name), stmt);
    else
        list_in_backend(s, a, stmt);
    emit_parse(a, core_span(stmt->server_name), parse->text, parse->types);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD);
    e->stmt = stmt;
    e->in_backend = e->named_in_client = true;
    e->name = copy_name(parse->name);
    s->names_in_flight = true;
}

static bool reserved(struct proto_span name)
{
    return name.size >= 3 && memcmp(name.base, "sg_", 3) == 0;
}

/* The name by which the server knows what the client calls `name`; the statement is there after
 * this. False: an error was provoked instead. */
static bool ensure_statement(struct core_session *s, struct proto_span name, struct core_actions *a,
                             struct proto_span *ret)
{
    *ret = name;
    if (name.size == 0)
        return ensure_unnamed(s, a);
    struct core_stmt *stmt = core_names_find(s->names, name);
    if (stmt != NULL) {
        ensure_named(s, a, stmt);
        *ret = core_span(stmt->server_name);
    } else if (reserved(name)) {
        *ret = core_span_skip(name, 1); /* nobody reaches our own names by guessing them */
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

static void emit_bind(struct core_session *s, struct proto_span prefix, uint32_t body_size,
                      struct core_actions *a)
{
    struct proto_bind bind;
    const enum proto_status status = proto_bind_peek(prefix, &bind);
    assert(status == PROTO_OK);
    struct proto_span name;
    s->executed = true;
    if (!ensure_statement(s, bind.statement, a, &name)) {
        s->stream_drop = true;
        return;
    }
    (void)core_expect_push(s->backend, CORE_EXPECT_BIND, CORE_FORWARD);
    struct proto_writer w = core_sink_writer(&a->server);
    assert(w.capacity >= PROTO_HEADER_SIZE + bind.portal.size + 1 + name.size + 1);
    w.base[0] = 'B'; /* by hand: this is the hottest of all messages */
    proto_store_u32(w.base + 1, (uint32_t)(4 + body_size - bind.statement.size + name.size));
    w.size = PROTO_HEADER_SIZE;
    w.size += store_string(w.base + w.size, bind.portal);
    w.size += store_string(w.base + w.size, name);
    core_sink_commit(&a->server, &w);
    core_sink_append(&a->server, bind.rest);
}

static void emit_describe(struct core_session *s, struct proto_span message, struct core_actions *a)
{
    if (message.base[PROTO_HEADER_SIZE] == 'P') { /* a portal's name is the client's own */
        (void)core_expect_push(s->backend, CORE_EXPECT_DESCRIBE, CORE_FORWARD);
        core_sink_append(&a->server, message);
        return;
    }
    struct proto_target target;
    (void)proto_target_read(core_span_skip(message, PROTO_HEADER_SIZE), &target);
    struct proto_span name = target.name;
    if (!ensure_statement(s, target.name, a, &name))
        return;
    (void)core_expect_push(s->backend, CORE_EXPECT_DESCRIBE, CORE_FORWARD);
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_describe(&w, target.what, name);
    core_sink_commit(&a->server, &w);
}

static void emit_close(struct core_session *s, struct proto_span message, struct core_actions *a)
{
    struct proto_target target;
    (void)proto_target_read(core_span_skip(message, PROTO_HEADER_SIZE), &target);
    struct core_stmt *stmt = NULL;
    const bool named = target.what == 'S' && target.name.size > 0;
    if (named)
        stmt = core_names_remove(s, target.name);
    if (named && (stmt != NULL || reserved(target.name))) {
        struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_FAKE, CORE_FORWARD);
        e->fake = '3';
        e->stmt = stmt;
        e->named_in_client = stmt != NULL;
        e->name = stmt != NULL ? copy_name(target.name) : NULL;
        s->names_in_flight = true;
        return;
    }
    if (target.what == 'S' && target.name.size == 0)
        drop_unnamed(s);
    (void)core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_FORWARD);
    core_sink_append(&a->server, message);
}

/* The batch may not run: the server is made to fail it. True: the message is replaced. */
static bool deny(struct core_session *s, uint8_t type, struct core_actions *a)
{
    provoke(s, a,
            s->sequence_denied       ? CORE_OWN_NO_SEQUENCE_VALUE
            : s->backend->is_replica ? CORE_OWN_PIN_ON_REPLICA
                                     : CORE_OWN_TOO_MANY_PINS,
            core_span(""));
    s->pin_denied = s->sequence_denied = false;
    if (type != 'Q')
        return false; /* the server skips the rest, up to the batch's own Sync */
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_sync(&w);
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(s->backend, CORE_EXPECT_SYNC, CORE_FORWARD);
    s->syncs++;
    s->unsynced = s->executed = false;
    return true;
}

/* One whole message. */
static void emit_message(struct core_session *s, struct proto_header h, struct proto_span message,
                         struct core_actions *a)
{
    const struct proto_span body = core_span_skip(message, PROTO_HEADER_SIZE);
    struct proto_parse parse;
    const bool behind_begin = s->block == CORE_DEFERRED;
    if (behind_begin)
        core_emit_begin(s, a);
    if ((s->pin_denied || s->sequence_denied) && deny(s, h.type, a))
        return;
    if (h.type != 'Q' && h.type != 'F' && h.type != 'S')
        s->unsynced = true;
    switch (h.type) {
    case 'Q':
    case 'F':
        emit_query(s, message, behind_begin, a);
        return;
    case 'P':
        (void)proto_parse_read(body, &parse);
        if (parse.name.size == 0)
            emit_parse_unnamed(s, message, a);
        else
            emit_parse_named(s, &parse, a);
        return;
    case 'B':
        emit_bind(s, body, h.body_size, a);
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
        (void)core_expect_push(s->backend, CORE_EXPECT_EXECUTE, CORE_FORWARD);
        break;
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
    const struct core_unnamed head = {.class = {.verdict = ROUTER_VERDICT_WRITE,
                                                .reason = ROUTER_REASON_TOO_LONG,
                                                .writes = true,
                                                .taints = true}};
    uint64_t unnamed_id = 0;
    s->unsynced = true;
    if (s->backend->is_replica) { /* in a READ ONLY block: no write could follow it */
        provoke(s, a, CORE_OWN_PIN_ON_REPLICA, core_span(""));
        s->stream_drop = true;
        return;
    }
    s->pin = s->pin == ROUTER_REASON_NONE ? ROUTER_REASON_TOO_LONG : s->pin;
    s->backend->tainted = true;
    if (in.base[PROTO_HEADER_SIZE] == '\0') {
        core_block_give(w, &s->unnamed);
        core_block_append(
            w, &s->unnamed,
            (struct proto_span){.base = (const uint8_t *)&head, .size = sizeof(head)});
        s->unnamed_id = s->backend->unnamed_id = unnamed_id = ++w->next_id;
    }
    core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD)->unnamed_id = unnamed_id;
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
        else if (prefix.size > 2u * (CORE_NAME_SIZE_MAX + 1))
            s->bad_message = true;
        else
            return false;
        if (s->bad_message)
            return false;
    }
    const bool behind_begin = s->block == CORE_DEFERRED;
    if (behind_begin)
        core_emit_begin(s, a);
    s->stream_drop = false;
    if (h.type == 'B') {
        s->unsynced = true;
        emit_bind(s, prefix, h.body_size, a);
    } else if (h.type == 'Q' || h.type == 'F') {
        emit_query(s, in, behind_begin, a);
    } else {
        emit_long_parse(s, in, a);
    }
    s->stream_left = (uint32_t)(PROTO_HEADER_SIZE + (size_t)h.body_size - in.size);
    return true;
}

/* In a long batch nothing was looked at before: is this message one that may be sent? */
static bool acceptable(struct core_session *s, struct proto_header h, struct proto_span rest)
{
    struct proto_parse parse;
    struct proto_bind bind;
    struct proto_target target;
    const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
    const bool whole = rest.size >= size;
    const struct proto_span body = {.base = rest.base + PROTO_HEADER_SIZE, .size = h.body_size};
    bool good = h.type != 0 && strchr("PBDECSHQF", h.type) != NULL &&
                h.body_size <= proto_client_body_size_max(h.type);
    if (good && whole && h.type == 'P')
        good = proto_parse_read(body, &parse) == PROTO_OK && parse.name.size <= CORE_NAME_SIZE_MAX;
    else if (good && whole && h.type == 'B')
        good = proto_bind_peek(body, &bind) == PROTO_OK && names_fit(&bind);
    else if (good && whole && (h.type == 'D' || h.type == 'C'))
        good =
            proto_target_read(body, &target) == PROTO_OK && target.name.size <= CORE_NAME_SIZE_MAX;
    else if (good && !whole)
        good = strchr("PBQF", h.type) != NULL || rest.size < PROTO_BODY_SIZE_SMALL;
    s->bad_message = !good;
    return good;
}

static bool ends_batch(uint8_t type)
{
    return type == 'S' || type == 'H' || type == 'Q' || type == 'F';
}

size_t core_emit(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    assert(s->emitting && s->backend != NULL);
    size_t pos = 0;
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
        if (rest.size < size) { /* only when streaming */
            if (strchr("PBQF", h.type) != NULL && emit_long(s, h, rest, a)) {
                pos += rest.size;
                s->streaming = !ends_batch(h.type);
            }
            break;
        }
        emit_message(s, h, (struct proto_span){.base = rest.base, .size = size}, a);
        core_expect_fakes(s->backend, a);
        pos += size;
        if (s->streaming && ends_batch(h.type)) {
            s->streaming = false;
            s->batch_left = (uint32_t)pos;
        }
    }
    if (!s->streaming) {
        s->batch_left -= s->batch_left < pos ? s->batch_left : (uint32_t)pos;
        s->emitting = s->batch_left > 0;
    }
    return pos;
}
