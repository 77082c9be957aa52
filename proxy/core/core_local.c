/* SPDX-License-Identifier: PostgreSQL
 *
 * core_local: what the proxy answers by itself. SHOW, SET and RESET of switchgear.*, EXPLAIN
 * (ROUTE), BEGIN (core_begin.c), DEALLOCATE of a statement that only we know, empty strings, and
 * batches that hold nothing but Close and Sync. In both protocols.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_begin.h"
#include "core_internal.h"
#include "core_known.h"
#include "core_stmt.h"

enum { COLUMNS_MAX = 6, TEXT_MAX = 1024 };

static const char *const route_columns[] = {"node", "role", "verdict", "reason", "lag_ms"};
static const char *const explain_columns[] = {"node",   "role",   "verdict",
                                              "reason", "lag_ms", "passed_over"};

static const char *role_text(uint8_t role)
{
    return role == ROUTER_ROLE_PRIMARY   ? "primary"
           : role == ROUTER_ROLE_REPLICA ? "replica"
                                         : "proxy";
}

static void local_error(struct core_session *s, const char *sqlstate, const char *message,
                        const char *hint, struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    const struct proto_error_text text = {
        .severity = "ERROR", .sqlstate = sqlstate, .message = message, .hint = hint};
    proto_write_error(&w, &text);
    core_sink_commit(&a->client, &w);
    s->worker->counters.errors_made++;
    core_count_error(s, sqlstate);
}

static void write_tag(struct core_actions *a, const char *tag)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_command_complete(&w, tag);
    core_sink_commit(&a->client, &w);
}

static void write_row(struct core_actions *a, const char *const *values, size_t count)
{
    struct proto_span spans[COLUMNS_MAX];
    assert(count <= COLUMNS_MAX);
    for (size_t i = 0; i < count; i++)
        spans[i] = values[i] != NULL ? core_span(values[i]) : (struct proto_span){0};
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_data_row(&w, spans, count);
    core_sink_commit(&a->client, &w);
}

/* ---- what a local statement shows ---- */

/* Columns of its result; 0: it returns no rows. */
static size_t columns_of(const struct router_class *c, const struct router_detail *d,
                         const char *ret[COLUMNS_MAX])
{
    if (c->local == ROUTER_LOCAL_EXPLAIN_ROUTE) {
        memcpy(ret, explain_columns, sizeof(explain_columns));
        return sizeof(explain_columns) / sizeof(explain_columns[0]);
    }
    if (c->local != ROUTER_LOCAL_SHOW)
        return 0;
    if (strcmp(d->name, "last_route") == 0) {
        memcpy(ret, route_columns, sizeof(route_columns));
        return sizeof(route_columns) / sizeof(route_columns[0]);
    }
    ret[0] = d->name;
    return 1;
}

static bool show_last_route(struct core_session *s, struct core_actions *a)
{
    char lag[32];
    (void)snprintf(lag, sizeof(lag), "%lld", (long long)s->last_route.lag_ms);
    const bool known = s->last_route.node != ROUTER_NODE_NONE;
    const char *const row[] = {
        known ? s->worker->node_names[s->last_route.node] : "",
        role_text(s->last_route.role),
        router_verdict_text((enum router_verdict)s->last_route.verdict),
        router_reason_text((enum router_reason)s->last_route.reason),
        s->last_route.lag_ms < 0 ? NULL : lag,
    };
    write_row(a, row, 5);
    write_tag(a, "SHOW");
    return true;
}

static const char *route_text(uint8_t route)
{
    return route == ROUTER_ROUTE_PRIMARY   ? "primary"
           : route == ROUTER_ROUTE_REPLICA ? "replica"
                                           : "auto";
}

static bool show(struct core_session *s, const struct router_detail *d, struct core_actions *a)
{
    char text[64];
    const char *value = text;
    if (strcmp(d->name, "last_route") == 0)
        return show_last_route(s, a);
    if (strcmp(d->name, "consistency") == 0) {
        value = router_level_text(
            (enum router_level)(s->level_local != 0xff ? s->level_local : s->level));
    } else if (strcmp(d->name, "route") == 0) {
        value = route_text(s->route);
    } else if (strcmp(d->name, "max_lag") == 0) {
        const uint64_t lag_ns = s->max_lag_ns != 0 ? s->max_lag_ns : s->group->database->max_lag_ns;
        (void)snprintf(text, sizeof(text), "%llums", (unsigned long long)(lag_ns / 1000000));
    } else {
        local_error(s, "42704", "unrecognized configuration parameter of switchgear",
                    "SHOW knows switchgear.last_route, consistency, route and max_lag.", a);
        return false;
    }
    write_row(a, &value, 1);
    write_tag(a, "SHOW");
    return true;
}

/* "200ms", "5s", "1min"; a plain number is milliseconds. False: not a duration. */
static bool duration_read(const char *text, uint64_t *ret_ns)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {{"us", 1000},         {"ms", 1000000},       {"", 1000000},
                 {"s", 1000000000},    {"min", 60000000000u}, {"m", 60000000000u},
                 {"h", 3600000000000u}};
    char *end;
    const double number = strtod(text, &end);
    if (end == text || !(number > 0) || number > 1e9)
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].unit) == 0) {
            *ret_ns = (uint64_t)(number * (double)units[i].ns);
            return *ret_ns > 0;
        }
    return false;
}

static bool set(struct core_session *s, const struct router_class *c, const struct router_detail *d,
                struct core_actions *a)
{
    const bool reset = c->local == ROUTER_LOCAL_RESET || d->value[0] == '\0';
    const bool local = c->local == ROUTER_LOCAL_SET_LOCAL;
    const bool in_block = s->block != CORE_NO_BLOCK;
    enum router_level level = (enum router_level)s->group->database->level;
    if (local && !in_block) {
        struct proto_writer w = core_sink_writer(&a->client);
        const struct proto_error_text warning = {
            .severity = "WARNING",
            .sqlstate = "25P01",
            .message = "SET LOCAL can only be used in transaction blocks"};
        proto_write_error(&w, &warning);
        core_sink_commit(&a->client, &w);
    } else if (strcmp(d->name, "consistency") == 0) {
        if (!reset && !router_level_parse(d->value, &level)) {
            local_error(s, "22023", "invalid value for switchgear.consistency",
                        "Use eventual, bounded, session, global or primary.", a);
            return false;
        }
        if (local)
            s->level_local = (uint8_t)level;
        else
            s->level = (uint8_t)level;
    } else if (strcmp(d->name, "route") == 0 && !local) {
        const bool primary = strcmp(d->value, "primary") == 0;
        const bool replica = strcmp(d->value, "replica") == 0;
        if (!reset && !primary && !replica && strcmp(d->value, "auto") != 0) {
            local_error(s, "22023", "invalid value for switchgear.route",
                        "Use auto, primary or replica.", a);
            return false;
        }
        s->route = primary   ? ROUTER_ROUTE_PRIMARY
                   : replica ? ROUTER_ROUTE_REPLICA
                             : ROUTER_ROUTE_AUTO;
    } else if (strcmp(d->name, "max_lag") == 0 && !local) {
        uint64_t lag_ns = 0;
        if (!reset && !duration_read(d->value, &lag_ns)) {
            local_error(s, "22023", "invalid value for switchgear.max_lag",
                        "Use a duration such as '200ms' or '5s'.", a);
            return false;
        }
        s->max_lag_ns = lag_ns;
    } else {
        local_error(s, "0A000", "this setting of switchgear is not supported yet",
                    "SET knows switchgear.consistency (also SET LOCAL), route and max_lag.", a);
        return false;
    }
    write_tag(a, c->local == ROUTER_LOCAL_RESET ? "RESET" : "SET");
    return true;
}

static void passed_over(struct core_session *s, const struct router_request *request,
                        uint8_t chosen, uint64_t now_ns, char *buf, size_t buf_size)
{
    const struct router_topology *t = s->worker->topology;
    size_t used = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < t->nodes_count && used < buf_size; i++) {
        if (i == chosen || t->nodes[i].shard != request->shard)
            continue;
        const enum router_reason why = router_refusal(t, request, (uint8_t)i, now_ns);
        const char *text = why != ROUTER_REASON_NONE                 ? router_reason_text(why)
                           : t->nodes[i].role == ROUTER_ROLE_PRIMARY ? "the replica will do"
                                                                     : "as good, not chosen";
        const int n = snprintf(buf + used, buf_size - used, "%s%s: %s", used > 0 ? ", " : "",
                               s->worker->node_names[i], text);
        used += n > 0 ? (size_t)n : 0;
    }
}

static bool explain(struct core_session *s, struct proto_span text, const struct router_detail *d,
                    uint64_t now_ns, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    struct core_known body_known;
    const struct router_class *class = &body_known.class;
    if (d->body_offset >= text.size) {
        local_error(s, "42601", "EXPLAIN (ROUTE) needs a statement", NULL, a);
        return false;
    }
    const struct proto_span body = core_span_skip(text, d->body_offset);
    core_classify(s, body, &body_known, NULL);
    struct router_request request;
    struct router_choice choice = {.target = ROUTER_TARGET_PRIMARY, .node = ROUTER_NODE_NONE};
    core_request_fill(s, class, &request);
    const bool would_move = s->movable && class->verdict != ROUTER_VERDICT_READ &&
                            (class->home || !core_begin_reads_only(s));
    if (s->backend != NULL && !would_move) {
        choice.node = s->backend->node;
        choice.target = s->backend->is_replica ? ROUTER_TARGET_REPLICA : ROUTER_TARGET_PRIMARY;
        choice.reason =
            s->pin != ROUTER_REASON_NONE ? ROUTER_REASON_PINNED : ROUTER_REASON_IN_TRANSACTION;
    } else {
        router_decide(w->topology, w->loads, &request, w->trial_ok, core_random(w), now_ns,
                      &choice);
    }
    char over[TEXT_MAX];
    char lag[32];
    const bool known = choice.node != ROUTER_NODE_NONE;
    const uint64_t fresh_ns = known ? w->topology->nodes[choice.node].fresh_as_of_ns : 0;
    const uint64_t lag_ms = fresh_ns != 0 && now_ns > fresh_ns ? (now_ns - fresh_ns) / 1000000 : 0;
    (void)snprintf(lag, sizeof(lag), "%llu",
                   (unsigned long long)(choice.target == ROUTER_TARGET_REPLICA ? lag_ms : 0));
    passed_over(s, &request, choice.node, now_ns, over, sizeof(over));
    const char *const row[] = {
        known ? w->node_names[choice.node] : NULL,
        router_target_text((enum router_target)choice.target),
        router_verdict_text((enum router_verdict) class->verdict),
        router_reason_text((enum router_reason)choice.reason),
        known && (choice.target != ROUTER_TARGET_REPLICA || fresh_ns != 0) ? lag : NULL,
        over,
    };
    write_row(a, row, 6);
    write_tag(a, "EXPLAIN");
    return true;
}

/* Runs one. False: it failed, the error is written. */
static bool execute(struct core_session *s, struct proto_span text, const struct router_class *c,
                    const struct router_detail *d, uint64_t now_ns, struct core_actions *a)
{
    if (c->verdict == ROUTER_VERDICT_TRANSACTION) {
        core_begin_execute(s, c, text, now_ns, a);
        return true;
    }
    s->worker->counters.local_answers++;
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_LOCAL,
                     (enum router_reason)c->reason, now_ns);
    switch ((enum router_local)c->local) {
    case ROUTER_LOCAL_NONE:
    case ROUTER_LOCAL_EMPTY: {
        struct proto_writer w = core_sink_writer(&a->client);
        proto_write_empty_query(&w);
        core_sink_commit(&a->client, &w);
        return true;
    }
    case ROUTER_LOCAL_SHOW:
        return show(s, d, a);
    case ROUTER_LOCAL_SET:
    case ROUTER_LOCAL_SET_LOCAL:
    case ROUTER_LOCAL_RESET:
        return set(s, c, d, a);
    case ROUTER_LOCAL_EXPLAIN_ROUTE:
        return explain(s, text, d, now_ns, a);
    }
    return true;
}

/* ---- simple protocol ---- */

static void answer_simple(struct core_session *s, struct proto_span in,
                          const struct core_batch *batch, uint64_t now_ns, struct core_actions *a)
{
    struct proto_span text = {0};
    (void)proto_query_read(
        (struct proto_span){in.base + PROTO_HEADER_SIZE, batch->size - PROTO_HEADER_SIZE}, &text);
    if (batch->class.reason == ROUTER_REASON_DEALLOCATE) { /* of a name of ours */
        struct core_stmt *stmt = core_names_remove(s, core_span(batch->detail.deallocate));
        core_stmt_release(s->worker, stmt);
        core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_SESSION,
                         ROUTER_REASON_DEALLOCATE, now_ns);
        write_tag(a, "DEALLOCATE");
        core_ready_write(s, a);
        return;
    }
    const char *columns[COLUMNS_MAX];
    const size_t count = columns_of(&batch->class, &batch->detail, columns);
    if (count > 0) {
        struct proto_writer w = core_sink_writer(&a->client);
        proto_write_row_description(&w, columns, count);
        core_sink_commit(&a->client, &w);
    }
    (void)execute(s, text, &batch->class, &batch->detail, now_ns, a);
    core_ready_write(s, a);
}

/* ---- extended protocol ---- */

/* The statement that Describe, Bind and Execute mean now. */
struct current {
    struct router_class class;
    struct router_detail detail;
    struct proto_span text;
    const struct router_class *decided; /* as which it is answered; NULL: as what it is */
    bool known;
};

static void look_up(struct core_session *s, struct proto_span name, struct current *ret)
{
    struct proto_parse parse;
    ret->known = core_statement_read(s, name, &parse);
    if (ret->known) {
        ret->text = parse.text;
        ret->detail.name[0] = ret->detail.value[0] = '\0';
        struct core_known known;
        core_classify(s, ret->text, &known, &ret->detail);
        ret->class = ret->decided != NULL ? *ret->decided : known.class;
    }
}

bool core_local_parse(struct core_session *s, struct proto_span body, struct core_actions *a)
{
    struct proto_parse parse;
    struct core_known known;
    (void)proto_parse_read(body, &parse);
    core_classify_parse(s, &parse, &known);
    if (parse.name.size == 0) {
        core_unnamed_keep(s, body, &known);
    } else if (core_names_find(s->names, parse.name) != NULL) {
        core_own_error_write(s, CORE_OWN_DUPLICATE_STATEMENT, (const char *)parse.name.base, a);
        return false;
    } else {
        struct core_stmt *stmt = core_stmt_intern(s->worker, parse.text, parse.types, &known);
        if (!core_names_set(s, parse.name, stmt)) {
            core_own_error_write(s, CORE_OWN_TOO_MANY_STATEMENTS, (const char *)parse.name.base, a);
            return false;
        }
    }
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_parse_complete(&w);
    core_sink_commit(&a->client, &w);
    return true;
}

static bool local_describe(const struct current *current, uint8_t what, struct core_actions *a)
{
    const char *columns[COLUMNS_MAX];
    const size_t count = columns_of(&current->class, &current->detail, columns);
    struct proto_writer w = core_sink_writer(&a->client);
    if (what == 'S') {
        static const uint8_t no_parameters[] = {'t', 0, 0, 0, 6, 0, 0};
        proto_write_raw(&w, (struct proto_span){no_parameters, sizeof(no_parameters)});
    }
    if (count > 0)
        proto_write_row_description(&w, columns, count);
    else
        proto_write_no_data(&w);
    core_sink_commit(&a->client, &w);
    return true;
}

static bool no_statement(struct core_session *s, struct core_actions *a)
{
    local_error(s, "26000", "prepared statement does not exist", NULL, a);
    return false;
}

void core_local_close(struct core_session *s, const struct proto_target *target)
{
    struct core_stmt *stmt = NULL;
    if (target->what == 'S' && target->name.size > 0)
        stmt = core_names_remove(s, target->name);
    if (stmt != NULL)
        core_stmt_release(s->worker, stmt);
}

/* One message. False: it failed, skip to Sync. */
static bool local_message(struct core_session *s, uint8_t type, struct proto_span body,
                          struct current *current, uint64_t now_ns, struct core_actions *a)
{
    struct proto_target target = {0};
    struct proto_bind bind;
    struct proto_writer w;
    switch (type) {
    case 'P':
        return core_local_parse(s, body, a);
    case 'B':
        (void)proto_bind_peek(body, &bind);
        look_up(s, bind.statement, current);
        if (!current->known)
            return no_statement(s, a);
        w = core_sink_writer(&a->client);
        proto_write_bind_complete(&w);
        core_sink_commit(&a->client, &w);
        return true;
    case 'D':
        (void)proto_target_read(body, &target);
        if (target.what == 'S')
            look_up(s, target.name, current);
        return current->known ? local_describe(current, target.what, a) : no_statement(s, a);
    case 'E':
        return current->known
                   ? execute(s, current->text, &current->class, &current->detail, now_ns, a)
                   : no_statement(s, a);
    case 'C':
        (void)proto_target_read(body, &target);
        core_local_close(s, &target);
        if (s->replay_swallow > 0) { /* a server has answered it before it was lost */
            s->replay_swallow--;
            return true;
        }
        w = core_sink_writer(&a->client);
        proto_write_close_complete(&w);
        core_sink_commit(&a->client, &w);
        return true;
    default:
        return true;
    }
}

void core_local_answer(struct core_session *s, struct proto_span in, const struct core_batch *batch,
                       uint64_t now_ns, struct core_actions *a)
{
    if (batch->control || batch->simple) /* a Query ends the unnamed portal */
        s->begin_bound = batch->control;
    if (batch->simple) {
        answer_simple(s, in, batch, now_ns, a);
        return;
    }
    struct current current = {.decided = batch->control ? &batch->class : NULL};
    bool good = true;
    for (size_t pos = 0; pos < batch->size;) {
        struct proto_header h = {0};
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &h);
        const struct proto_span body = {.base = in.base + pos + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        pos += PROTO_HEADER_SIZE + h.body_size;
        if (h.type == 'S') {
            core_ready_write(s, a);
            good = true;
        } else if (good && core_sink_full(&a->client)) {
            local_error(s, "54000", "too many messages in a batch that the proxy answers", NULL, a);
            good = false;
        } else if (good) {
            good = local_message(s, h.type, body, &current, now_ns, a);
        }
    }
    s->skipping = !good;
}
