/* SPDX-License-Identifier: PostgreSQL
 *
 * core_inject: messages of our own for a server. Statements that the backend lacks, what makes room
 * for them, and errors that are provoked there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_internal.h"
#include "core_shape.h"
#include "core_stmt.h"

static const char provoked[] = "switchgear provokes an error";
/* With a name, so that the unnamed statement stays: that may be one that we have not kept. */
static const char provoked_name[] = "sg_error";
static const char taken[] = "sg_taken"; /* the name of an empty statement */

#define SIGNAL_HINT                                                                          \
    "Through the proxy a user may do this to sessions that logged in as the same user, and " \
    "admin_users to all."

/* `rest`: the message goes on with the name in quotes, and this. */
static const struct own_error {
    const char *sqlstate, *message, *rest, *hint;
} own_errors[CORE_OWN_COUNT] = {
    [CORE_OWN_DUPLICATE_STATEMENT] = {"42P05", "prepared statement ", " already exists", NULL},
    [CORE_OWN_NO_UNNAMED_STATEMENT] = {"26000", "unnamed prepared statement does not exist", NULL,
                                       NULL},
    [CORE_OWN_NO_STATEMENT] = {"26000", "prepared statement ", " does not exist", NULL},
    [CORE_OWN_LONG_NAME] = {"42622", "the name of a prepared statement or portal is too long", NULL,
                            NULL},
    [CORE_OWN_TOO_MANY_STATEMENTS] =
        {"54000",
         "the prepared statements of this session take too much memory, there is no room for ", "",
         "Close statements that are no longer needed, or raise client_prepared_memory."},
    [CORE_OWN_TOO_MANY_PINS] =
        {"53300",
         "this statement would bind the session to a server connection, and pin_limit allows no "
         "more of them",
         NULL,
         "Raise pool_size or pin_limit, or look with SHOW PINS and SHOW CLIENTS in the admin "
         "console for sessions that LISTEN, lock or make temporary tables."},
    [CORE_OWN_NO_SEQUENCE_VALUE] =
        {"55000",
         "currval and lastval are not defined here: the connection that called nextval may serve "
         "another client now",
         NULL,
         "Use INSERT ... RETURNING, call them in the transaction that called nextval, or set "
         "currval = session for this database."},
    [CORE_OWN_PIN_ON_REPLICA] =
        {"0A000", "this statement would bind the session to a replica", NULL,
         "Run it before the READ ONLY transaction, or in one that is not READ ONLY."},
    [CORE_OWN_ACT_ON_REPLICA] =
        {"0A000", "this statement would act on a replica instead of the primary", NULL,
         "Run it first in its READ ONLY transaction, or in one that is not READ ONLY."},
    [CORE_OWN_MAY_NOT_CANCEL] =
        {"42501",
         "must be a member of the role whose query is being canceled or member of "
         "pg_signal_backend",
         NULL, SIGNAL_HINT},
    [CORE_OWN_MAY_NOT_END] =
        {"42501",
         "must be a member of the role whose process is being terminated or member of "
         "pg_signal_backend",
         NULL, SIGNAL_HINT},
    [CORE_OWN_CANCELLED] = {"57014", "canceling statement due to user request", NULL, NULL},
    /* PostgreSQL's own: drivers know it by this, and by the function that it comes from */
    [CORE_OWN_OTHER_SHAPE] = {"0A000", "cached plan must not change result type", NULL, NULL},
    [CORE_OWN_QUERY_TIMEOUT] = {"57014", "canceling statement due to query_timeout", NULL, NULL},
    [CORE_OWN_MOVED] = {"40001",
                        "the transaction has moved to the primary, and what it had open on its "
                        "replica is gone",
                        NULL,
                        "Run the transaction again. DECLARE, a portal with a name, or an Execute "
                        "with a limit of more than one row keeps it in one place from there on."},
    [CORE_OWN_ABORTED] = {"25P02",
                          "current transaction is aborted, commands ignored until end of "
                          "transaction block",
                          NULL, NULL},
    [CORE_OWN_NO_BLOCKS] = {"0A000", "transaction blocks not allowed in statement pooling mode",
                            NULL,
                            "Use autocommit, or set pool_mode = transaction for this database."},
};

struct proto_error_text core_own_error_text(enum core_own_error error)
{
    assert(error < CORE_OWN_COUNT);
    const struct own_error *own = &own_errors[error];
    return (struct proto_error_text){
        .severity = "ERROR",
        .sqlstate = own->sqlstate,
        .message = own->message,
        .hint = own->hint,
        .routine = error == CORE_OWN_OTHER_SHAPE ? "RevalidateCachedQuery" : NULL};
}

void core_own_error_write(struct core_session *s, enum core_own_error error, const char *name,
                          struct core_actions *a)
{
    struct proto_error_text text = core_own_error_text(error);
    const struct own_error *own = &own_errors[error];
    char message[CORE_NAME_SIZE_MAX + 128];
    if (own->rest != NULL) {
        (void)snprintf(message, sizeof(message), "%s\"%s\"%s", own->message, name, own->rest);
        text.message = message;
    }
    core_write_error(s, &text, a);
}

char *core_copy_name(struct proto_span name)
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

void core_inject_parse(struct core_actions *a, struct proto_span name, struct proto_span text,
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

void core_inject_stmt(struct core_actions *a, struct proto_span name, const struct core_stmt *stmt)
{
    core_inject_parse(a, name, core_stmt_text(stmt), core_stmt_types(stmt));
}

void core_inject_sync(struct core_backend *b, struct core_actions *a,
                      enum core_expect_action action)
{
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_sync(&w);
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(b, CORE_EXPECT_SYNC, action);
}

/* `stmt`: what it closes, if the backend's list gets it back when the server skips this. */
void core_inject_close(struct core_session *s, struct core_actions *a, struct proto_span name,
                       struct core_stmt *stmt)
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
void core_list_in_backend(struct core_session *s, struct core_actions *a,
                          const struct core_stmt *stmt)
{
    uint8_t evicted[CORE_DIGEST_SIZE];
    if (!core_lru_add(s->backend, stmt->digest, evicted))
        return;
    char name[CORE_SERVER_NAME_SIZE + 1];
    core_server_name(evicted, name);
    core_inject_close(s, a, core_span(name), NULL);
    const uint32_t last = core_expect_count(s->backend) - 1;
    core_expect_at(s->backend, last)->name = core_copy_name(core_span(name));
}

void core_inject_error(struct core_backend *b, struct core_actions *a)
{
    core_inject_parse(a, core_span(""), core_span(provoked), core_span(""));
    (void)core_expect_push(b, CORE_EXPECT_PARSE, CORE_SWALLOW);
}

void core_provoke(struct core_session *s, struct core_actions *a, enum core_own_error error,
                  struct proto_span name)
{
    core_inject_parse(a, core_span(provoked_name), core_span(provoked), core_span(""));
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_REPLACE_ERROR);
    e->fake = (uint8_t)error;
    e->name = core_copy_name(name);
}

void core_refuse_parse(struct core_session *s, struct core_actions *a,
                       const struct proto_parse *parse)
{
    const struct proto_span name = core_span(taken);
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_close(&w, 'S', name); /* an earlier one */
    core_sink_commit(&a->server, &w);
    (void)core_expect_push(s->backend, CORE_EXPECT_CLOSE, CORE_SWALLOW);
    core_inject_parse(a, name, core_span(""), core_span(""));
    (void)core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW);
    core_inject_parse(a, name, parse->text, parse->types);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_REPLACE_ERROR);
    e->fake = CORE_OWN_DUPLICATE_STATEMENT;
    e->name = core_copy_name(parse->name);
}

bool core_plan_anew(struct core_session *s, const struct core_stmt *stmt)
{
    const uint64_t id = core_shape_id(stmt);
    for (uint32_t i = 0; i < s->planned_count; i++)
        if (s->planned[i] == id)
            return false;
    if (s->planned_count == sizeof(s->planned) / sizeof(s->planned[0]))
        return false;
    s->planned[s->planned_count++] = id;
    return true;
}

void core_ensure_named(struct core_session *s, struct core_actions *a, struct core_stmt *stmt)
{
    const bool has_it = core_lru_touch(s->backend, stmt->digest);
    const bool anew = s->replan && core_plan_anew(s, stmt);
    if (!has_it)
        core_list_in_backend(s, a, stmt);
    else if (anew)
        core_inject_close(s, a, core_span(stmt->server_name), stmt);
    else
        return;
    core_inject_named(s, a, stmt);
}

void core_inject_named(struct core_session *s, struct core_actions *a, struct core_stmt *stmt)
{
    *core_lru_shape(s->backend) = 0;
    core_inject_stmt(a, core_span(stmt->server_name), stmt);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_PARSE, CORE_SWALLOW);
    e->stmt = core_stmt_hold(stmt);
    e->in_backend = true;
    s->names_in_flight = true; /* if it is skipped, what comes behind the next Sync lacks it */
    s->worker->counters.parses_injected++;
}

/* False: the session has no unnamed statement; an error was provoked. */
bool core_ensure_unnamed(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    if (s->unnamed_id == 0) {
        core_provoke(s, a, CORE_OWN_NO_UNNAMED_STATEMENT, core_span(""));
        return false;
    }
    s->unnamed_used = s->unnamed_used || s->unnamed_id == s->batch_unnamed_id;
    if (b->unnamed_id == s->unnamed_id)
        return true;
    struct proto_parse parse;
    if (proto_parse_read(core_unnamed_body(s), &parse) != PROTO_OK) {
        /* too long to be kept, and a Query of ours has dropped it */
        core_provoke(s, a, CORE_OWN_NO_UNNAMED_STATEMENT, core_span(""));
        return false;
    }
    core_inject_parse(a, core_span(""), parse.text, parse.types);
    core_expect_push(b, CORE_EXPECT_PARSE, CORE_SWALLOW)->unnamed_id = s->unnamed_id;
    b->unnamed_id = s->unnamed_id;
    s->unnamed_in_flight = true;
    s->worker->counters.parses_injected++;
    return true;
}
