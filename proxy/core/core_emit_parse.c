/* SPDX-License-Identifier: PostgreSQL
 *
 * core_emit_parse: a client's Parse on its way. A named one goes under the name of its text; the
 * unnamed one is kept, so that any backend can be told it.
 */
#include "core_internal.h"
#include "core_known.h"
#include "core_pin.h"
#include "core_stmt.h"

/* A batch in flight that needs the one that goes could not be sent again. What comes behind it on a
 * replica could: it begins a flight of its own. */
static void unnamed_goes(struct core_session *s)
{
    if (!s->unnamed_used)
        return;
    s->barrier = s->barrier || (s->replayable && s->backend->is_replica);
    s->replayable = false;
}

void core_unnamed_drop(struct core_session *s)
{
    unnamed_goes(s);
    s->unnamed_id = 0;
    s->unnamed_change = ++s->worker->next_id;
    s->backend->unnamed_id = 0;
    core_block_give(s->worker, &s->unnamed);
}

void core_unnamed_keep(struct core_session *s, struct proto_span body,
                       const struct core_known *known)
{
    struct core_worker *w = s->worker;
    s->unnamed_id = s->unnamed_change = ++w->next_id;
    const struct core_unnamed head = {.id = s->unnamed_id, .known = *known};
    unnamed_goes(s);
    core_block_give(w, &s->unnamed); /* not in place: a span of this step may point at its text */
    core_block_append(w, &s->unnamed,
                      (struct proto_span){.base = (const uint8_t *)&head, .size = sizeof(head)});
    core_block_append(w, &s->unnamed, body);
}

struct proto_span core_unnamed_text(const struct core_session *s)
{
    struct proto_parse parse = {0};
    (void)proto_parse_read(core_unnamed_body(s), &parse);
    return parse.text;
}

static void lend_parse(struct core_session *s, struct proto_span body, struct core_actions *a)
{
    struct proto_parse parse;
    if (proto_parse_read(body, &parse) == PROTO_OK)
        (void)core_lend(s, parse.text, a);
}

void core_emit_parse_unnamed(struct core_session *s, struct proto_span message,
                             struct core_actions *a)
{
    const struct proto_span body = core_span_skip(message, PROTO_HEADER_SIZE);
    struct core_known *known = &s->parse_known;
    if (!s->parse_known_valid) {
        struct proto_parse parse;
        (void)proto_parse_read(body, &parse);
        core_classify_parse(s, &parse, known);
    }
    s->parse_known_valid = false;
    if (s->streaming && !core_pin_late(s, &known->class, a))
        return;
    if (known->class.names_prepared)
        lend_parse(s, body, a);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD);
    core_expect_keep_unnamed(s->backend);
    core_unnamed_keep(s, body, known);
    e->unnamed_id = s->backend->unnamed_id = s->unnamed_id;
    s->unnamed_in_flight = true;
    core_sink_append(&a->server, message);
}

void core_emit_parse_named(struct core_session *s, const struct proto_parse *parse,
                           struct core_actions *a)
{
    if (core_names_find(s->names, parse->name) != NULL) {
        core_refuse_parse(s, a, parse);
        return;
    }
    struct core_worker *w = s->worker;
    struct core_known known;
    core_classify_parse(s, parse, &known);
    if (s->streaming && !core_pin_late(s, &known.class, a))
        return;
    if (known.class.names_prepared)
        (void)core_lend(s, parse->text, a);
    core_lend_ask(s, parse, a);
    struct core_stmt *stmt = core_stmt_intern(w, parse->text, parse->types, &known);
    if (!core_names_set(s, parse->name, core_stmt_hold(stmt))) {
        core_stmt_release(w, stmt);
        core_provoke(s, a, CORE_OWN_TOO_MANY_STATEMENTS, parse->name);
        return;
    }
    struct core_stmt *variant = core_stmt_hold(core_stmt_under(s, stmt));
    core_stmt_release(w, stmt); /* the name holds it */
    stmt = variant;
    /* A client's own Parse is always answered by a server: what is there already makes way. */
    if (core_lru_touch(s->backend, stmt->digest))
        core_inject_close(s, a, core_span(stmt->server_name), stmt);
    else
        core_list_in_backend(s, a, stmt);
    *core_lru_shape(s->backend) = 0;
    (void)(s->replan && core_plan_anew(s, stmt));
    core_inject_parse(a, core_span(stmt->server_name), parse->text, parse->types);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_FORWARD);
    e->stmt = stmt;
    e->in_backend = e->named_in_client = true;
    e->name = core_copy_name(parse->name);
    s->names_in_flight = true;
}
