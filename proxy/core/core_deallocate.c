/* SPDX-License-Identifier: PostgreSQL
 *
 * core_deallocate: DEALLOCATE of a statement that was prepared by the protocol, run in the extended
 * protocol (some drivers do): only we know such a name, and yet the server has to answer it, in the
 * transaction and at the place where it stands. So the server is given an empty statement of that
 * name in front of the client's Bind, which the client's own DEALLOCATE then drops.
 */
#include <stdlib.h>

#include "core_internal.h"
#include "core_known.h"
#include "core_reset.h"
#include "core_stmt.h"

/* An empty statement of that name may be left at the backend: nobody else is to find it. */
static void leave(struct core_session *s)
{
    if (s->bound_deallocate == NULL)
        return;
    if (s->backend != NULL)
        s->backend->tainted = true;
    free(s->bound_deallocate);
    s->bound_deallocate = NULL;
}

void core_deallocate_bound(struct core_session *s, const struct router_class *class,
                           struct proto_span text, struct core_actions *a)
{
    leave(s);
    if (class->reason != ROUTER_REASON_DEALLOCATE || class->forgets_statements)
        return;
    struct core_known again;
    struct router_detail detail = {0};
    core_classify(s, text, &again, &detail);
    const struct proto_span name = core_span(detail.deallocate);
    if (name.size == 0 || core_names_find(s->names, name) == NULL)
        return; /* the server knows it, by PREPARE, or says that there is none */
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_close(&w, 'S', name); /* what an earlier one may have left */
    proto_write_parse(&w, name, core_span(""), core_span(""));
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_SWALLOW);
    (void)core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW);
    s->bound_deallocate = core_copy_name(name);
}

void core_deallocate_executed(struct core_session *s)
{
    if (s->bound_deallocate == NULL)
        return;
    const uint64_t told = core_names_told(s->names, core_span(s->bound_deallocate));
    struct core_stmt *stmt = core_names_remove(s, core_span(s->bound_deallocate));
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_FAKE, CORE_FORWARD);
    e->told = told;
    e->fake = 0; /* nothing more is said; undone when the server skips or fails the Execute */
    e->name = s->bound_deallocate;
    e->stmt = stmt;
    e->named_in_client = stmt != NULL;
    s->bound_deallocate = NULL;
    s->names_in_flight = true;
}

static bool tag_is(struct proto_span body, const char *tag)
{
    return body.size == strlen(tag) + 1 && memcmp(body.base, tag, body.size) == 0;
}

void core_deallocate_completed(struct core_backend *b, struct proto_span tag)
{
    struct core_session *s = b->session;
    struct core_names *before = s->names;
    if (!tag_is(tag, "DEALLOCATE ALL") && !tag_is(tag, CORE_RESET_DISCARD))
        return;
    core_lru_clear(b);
    s->names = NULL;
    /* what the same batch parses behind it is still to come */
    for (uint32_t i = 0; i < core_expect_count(b); i++) {
        const struct core_expect *e = core_expect_at(b, i);
        uint8_t evicted[CORE_DIGEST_SIZE];
        if (e->kind != CORE_EXPECT_PARSE || e->stmt == NULL || !e->in_backend)
            continue;
        if (core_lru_add(b, e->stmt->digest, evicted))
            b->broken = true; /* more in one batch than it may have: it has forgotten its place */
        struct core_stmt *stmt =
            e->named_in_client ? core_names_find(before, core_span(e->name)) : NULL;
        if (stmt != NULL)
            (void)core_names_set(s, core_span(e->name), core_stmt_hold(stmt));
    }
    struct core_names *after = s->names;
    s->names = before;
    core_names_clear(s);
    s->names = after;
}

void core_deallocate_detach(struct core_session *s)
{
    leave(s);
}
