/* SPDX-License-Identifier: PostgreSQL
 *
 * core_lend: prepared statements of the protocol, lent to SQL. PostgreSQL has one namespace for
 * both; here the server knows the protocol's by other names (core_stmt.c). So where a text says
 * EXECUTE x or PREPARE x, and x is the protocol's, the server is given it under that name, in the
 * same flight, and answers for itself. In front of whatever comes next it is taken back.
 *
 * Failure modes: the server skips what takes it back: the session is pinned then, its connection
 * tainted, so that nobody else meets it.
 */
#include <stdlib.h>

#include "core_internal.h"
#include "core_known.h"
#include "core_pin.h"
#include "core_stmt.h"
#include "router_prepared.h"

static void write_close(struct core_session *s, struct proto_span name, struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_close(&w, 'S', name);
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_SWALLOW);
}

static bool is_lent(const struct core_session *s, const char *name)
{
    for (struct proto_span lent = core_block_span(s->lent); lent.size > 0;) {
        const char *one = (const char *)lent.base;
        if (strcmp(one, name) == 0)
            return true;
        lent = core_span_skip(lent, strlen(one) + 1);
    }
    return false;
}

static void lend(struct core_session *s, const char *name, struct core_stmt *stmt,
                 struct core_actions *a)
{
    write_close(s, core_span(name), a); /* what an error may have left */
    core_inject_stmt(a, core_span(name), stmt);
    core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW)->stmt = core_stmt_hold(stmt);
    core_block_append(s->worker, &s->lent,
                      (struct proto_span){.base = (const uint8_t *)name, .size = strlen(name) + 1});
    core_known_refresh(s, &stmt->known, core_stmt_text(stmt));
    core_pin_take(s, &stmt->known.class);
    if (stmt->known.class.changes)
        core_pin_force(s, ROUTER_PIN_SET |
                              ROUTER_PIN_OTHER); /* EXECUTE's answer does not say what it set */
    s->worker->counters.parses_injected++;
}

bool core_lend(struct core_session *s, struct proto_span text, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    struct router_prepared prepared;
    bool any = false;
    if (s->names == NULL || b->status == 'E' || b->is_replica)
        return false;
    s->worker->work += CORE_WORK_PARSE + text.size * CORE_WORK_PARSED_BYTE;
    router_prepared_read((const char *)text.base, text.size, &prepared);
    for (uint32_t i = 0; i < prepared.count; i++) {
        const char *name = prepared.names[i];
        struct core_stmt *stmt = core_names_find(s->names, core_span(name));
        if (stmt == NULL || stmt->known.class.forgets_statements || is_lent(s, name))
            continue;
        lend(s, name, stmt, a);
        any = true;
    }
    if (!any)
        return false;
    core_pin_force(s, ROUTER_PIN_PREPARE);
    s->pins_doubtful = b->tainted = true;
    s->barrier = true; /* if one cannot be parsed, only this batch is skipped */
    return true;
}

void core_lend_back(struct core_session *s, struct core_actions *a)
{
    for (struct proto_span lent = core_block_span(s->lent); lent.size > 0;) {
        const struct proto_span name = core_span((const char *)lent.base);
        write_close(s, name, a);
        lent = core_span_skip(lent, name.size + 1);
    }
    core_block_give(s->worker, &s->lent);
}

void core_lend_ask(struct core_session *s, const struct proto_parse *parse, struct core_actions *a)
{
    if ((s->pins & ROUTER_PIN_PREPARE) == 0)
        return;
    /* with its text: what is wrong with that is found before the name */
    core_inject_parse(a, parse->name, parse->text, parse->types);
    (void)core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW);
    write_close(s, parse->name, a);
}

void core_lend_forget(struct core_session *s, const char *name)
{
    struct core_block *left = NULL;
    struct core_stmt *stmt = core_names_remove(s, core_span(name));
    if (stmt != NULL)
        core_stmt_release(s->worker, stmt);
    for (struct proto_span lent = core_block_span(s->lent); lent.size > 0;) {
        const size_t size = strlen((const char *)lent.base) + 1;
        if (strcmp((const char *)lent.base, name) != 0)
            core_block_append(s->worker, &left, (struct proto_span){lent.base, size});
        lent = core_span_skip(lent, size);
    }
    core_block_give(s->worker, &s->lent);
    s->lent = left; /* a PREPARE of that name, which may follow, is not ours to close */
}

void core_lend_detach(struct core_session *s)
{
    core_block_give(s->worker, &s->lent);
}
