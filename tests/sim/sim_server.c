/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_server: one connection of a simulated PostgreSQL, in the words of the real protocol. It sees
 * what no client can see: what was executed, where, for whom and how often.
 */
#include "sim_run.h"

#include <stdio.h>
#include <stdlib.h>

void sim_server_start(struct sim_conn *c, uint8_t node)
{
    memset(c, 0, sizeof(*c));
    c->open = true;
    c->node = node;
    c->owner = -1;
    c->status = 'I';
}

void sim_server_die(struct sim_conn *c)
{
    if (c->dead)
        return;
    c->dead = true;
    c->pending_count = 0;
    const size_t left = sim_queue_size(&c->out);
    switch (sim_below(3)) {
    case 0:
        sim_reply_error(&c->out, "FATAL", "57P01",
                        "terminating connection due to administrator command", "ProcessInterrupts");
        break;
    case 1:
        if (left > 0) /* within a message, maybe */
            c->out.size -= sim_below((uint32_t)left + 1);
        break;
    default:
        break;
    }
}

static void value_of(struct sim_sql sql, char ret[SIM_VALUE_SIZE])
{
    (void)snprintf(ret, SIM_VALUE_SIZE, "c%d.s%d", sql.client, sql.number);
}

/* What has changed is told in front of a ReadyForQuery; what fails has gone back already. */
static void report(struct sim_conn *c)
{
    const struct sim_settings *before =
        c->savepoints_count > 0 ? &c->savepoints[c->savepoints_count - 1].settings : &c->committed;
    const char *now = (c->status == 'E' ? before : &c->now)->application;
    if (strcmp(now, c->reported) == 0)
        return;
    (void)snprintf(c->reported, sizeof(c->reported), "%s", now);
    sim_reply_application(&c->out, now);
}

static void ready(struct sim_conn *c)
{
    if (c->status == 'I') {
        sim_run_commit(c);
        sim_run_ended(c, true);
    }
    report(c);
    sim_reply_ready(&c->out, c->status);
    c->batches++;
}

static struct sim_portal *find_portal(struct sim_conn *c, struct proto_span name)
{
    for (int i = 0; i <= SIM_PORTALS; i++)
        if (c->portals[i].used && strlen(c->portals[i].name) == name.size &&
            memcmp(c->portals[i].name, name.base, name.size) == 0)
            return &c->portals[i];
    return NULL;
}

static void drop_unnamed(struct sim_conn *c)
{
    const struct proto_span unnamed = {(const uint8_t *)"", 0};
    struct sim_statement *s = sim_run_find(c, unnamed);
    struct sim_portal *p = find_portal(c, unnamed);
    if (s != NULL)
        s->used = false;
    if (p != NULL)
        p->used = false;
}

static void on_query(struct sim_conn *c, struct proto_span body)
{
    struct proto_span text;
    struct proto_span one;
    char value[SIM_VALUE_SIZE];
    if (proto_query_read(body, &text) != PROTO_OK)
        sim_fail("a server got a malformed Query");
    drop_unnamed(c);
    do {
        sim_sql_split(&text, &one);
        const struct sim_sql sql = sim_sql_read(one);
        value_of(sql, value);
        if (sim_is_setting(sql.kind) && !sim_run_settings(c, one, false))
            break;
        if (!sim_run_execute(c, sql, value, NULL, 0))
            break;
    } while (text.size > 0);
    if (!c->copy_in)
        ready(c);
}

/* A FunctionCall: who called it is its only argument. */
static void on_function(struct sim_conn *c, struct proto_span body)
{
    struct sim_sql sql = {.kind = SIM_CALL, .client = -1};
    char value[SIM_VALUE_SIZE];
    if (body.size > 12) /* behind the function, the formats and the size */
        (void)sim_tag_read((struct proto_span){body.base + 12, body.size - 12}, &sql.client,
                           &sql.number);
    value_of(sql, value);
    (void)sim_run_execute(c, sql, value, NULL, 0);
    ready(c);
}

static void on_parse(struct sim_conn *c, struct proto_span body)
{
    struct proto_parse p;
    if (proto_parse_read(body, &p) != PROTO_OK || p.name.size >= sizeof(c->statements[0].name))
        sim_fail("a server got a malformed Parse");
    const struct sim_sql sql = sim_sql_read(p.text);
    struct sim_statement *s = sim_run_find(c, p.name);
    if (p.name.size == 0 && s != NULL) {
        s->used = false;
        s = NULL;
    }
    if (sql.kind == SIM_GARBAGE) {
        sim_run_error(c, true, "42601", "syntax error", "scanner_yyerror");
        return;
    }
    if (sql.kind != SIM_EMPTY && sim_run_in_failed_block(c, sql.kind))
        return;
    if (s != NULL) {
        sim_run_error(c, true, "42P05", "prepared statement already exists",
                      "StorePreparedStatement");
        return;
    }
    for (s = c->statements; s->used; s++)
        if (s == c->statements + 63)
            sim_fail("a server has too many statements");
    s->used = true;
    s->batch = c->batches;
    s->shape = sim_table_shape(c->node);
    memcpy(s->path, c->now.path, sizeof(s->path));
    memcpy(s->name, p.name.base, p.name.size);
    s->name[p.name.size] = '\0';
    const size_t size = p.text.size < sizeof(s->text) - 1 ? p.text.size : sizeof(s->text) - 1;
    memcpy(s->text, p.text.base, size);
    s->text[size] = '\0';
    sim_reply_plain(&c->out, '1');
}

/* As PostgreSQL does it, for Bind and Describe. */
static bool is_outdated(struct sim_conn *c, const struct sim_statement *s, enum sim_kind kind)
{
    if (kind != SIM_TABLE || s->shape == sim_table_shape(c->node))
        return false;
    sim_run_error(c, true, "0A000", "cached plan must not change result type",
                  "RevalidateCachedQuery");
    return true;
}

static void on_bind(struct sim_conn *c, struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    const struct proto_span portal = proto_read_string(&r);
    const struct proto_span name = proto_read_string(&r);
    const uint16_t formats = proto_read_u16(&r);
    (void)proto_read_bytes(&r, formats * 2u);
    const uint16_t count = proto_read_u16(&r);
    struct proto_span value = {0};
    for (uint16_t i = 0; i < count; i++)
        value = proto_read_bytes(&r, proto_read_u32(&r));
    const uint16_t results = proto_read_u16(&r);
    (void)proto_read_bytes(&r, results * 2u);
    if (!proto_reader_done(&r))
        sim_fail("a server got a malformed Bind");
    const struct sim_statement *s = sim_run_find(c, name);
    if (s == NULL) {
        sim_run_error(c, true, "26000", "prepared statement does not exist", "exec_bind_message");
        return;
    }
    struct sim_sql sql =
        sim_sql_read((struct proto_span){(const uint8_t *)s->text, strlen(s->text)});
    if (sim_run_in_failed_block(c, sql.kind) || is_outdated(c, s, sql.kind))
        return;
    /* a session that stays with its connection has its statements analysed anew, as directly */
    const bool stays = c->core.session != NULL && c->core.session->pin != ROUTER_REASON_NONE;
    if (name.size > 3 && memcmp(name.base, "sg_", 3) == 0 && !stays && s->batch != c->batches &&
        strcmp(s->path, c->now.path) != 0)
        sim_fail("a statement parsed under search_path '%s' is bound under '%s'", s->path,
                 c->now.path);
    if (count > 0)
        (void)sim_tag_read(value, &sql.client, &sql.number);
    struct sim_portal *p = find_portal(c, portal);
    if (p != NULL && portal.size > 0) {
        sim_run_error(c, true, "42P03", "cursor already exists", "CreatePortal");
        return;
    }
    for (int i = 0; p == NULL && i <= SIM_PORTALS; i++)
        p = c->portals[i].used ? NULL : &c->portals[i];
    assert(p != NULL && portal.size < sizeof(p->name));
    *p = (struct sim_portal){.used = true, .sql = sql, .shape = s->shape};
    memcpy(p->name, portal.base, portal.size);
    value_of(sql, p->value);
    memcpy(p->text, s->text, sizeof(p->text));
    sim_reply_plain(&c->out, '2');
}

static void on_describe(struct sim_conn *c, struct proto_span body)
{
    struct proto_target t;
    if (proto_target_read(body, &t) != PROTO_OK)
        sim_fail("a server got a malformed Describe");
    const struct sim_statement *s = t.what == 'S' ? sim_run_find(c, t.name) : NULL;
    const struct sim_portal *p = t.what == 'P' ? find_portal(c, t.name) : NULL;
    if (s == NULL && p == NULL) {
        sim_run_error(c, true, t.what == 'S' ? "26000" : "34000", "does not exist",
                      "exec_describe");
        return;
    }
    struct sim_sql sql = {0};
    if (s != NULL)
        sql = sim_sql_read((struct proto_span){(const uint8_t *)s->text, strlen(s->text)});
    else
        sql = p->sql;
    const bool rows = sim_has_rows(sql.kind);
    if (rows && sim_run_in_failed_block(c, sql.kind))
        return;
    if (s != NULL && is_outdated(c, s, sql.kind))
        return;
    if (sql.kind == SIM_TABLE) {
        sim_table_describe(&c->out, s != NULL ? s->shape : p->shape, s != NULL);
        return;
    }
    if (s != NULL)
        sim_reply_parameters(&c->out, sql.kind == SIM_PREAD || sql.kind == SIM_PWRITE);
    if (rows)
        sim_reply_columns(&c->out);
    else
        sim_reply_plain(&c->out, 'n');
}

static void on_close(struct sim_conn *c, struct proto_span body)
{
    struct proto_target t;
    if (proto_target_read(body, &t) != PROTO_OK)
        sim_fail("a server got a malformed Close");
    struct sim_statement *s = t.what == 'S' ? sim_run_find(c, t.name) : NULL;
    struct sim_portal *p = t.what == 'P' ? find_portal(c, t.name) : NULL;
    if (s != NULL)
        s->used = false;
    if (p != NULL)
        p->used = false;
    sim_reply_plain(&c->out, '3');
}

static void on_execute(struct sim_conn *c, struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    const struct proto_span name = proto_read_string(&r);
    const uint32_t rows = proto_read_u32(&r);
    struct sim_portal *p = find_portal(c, name);
    if (!proto_reader_done(&r))
        sim_fail("a server got a malformed Execute");
    if (p == NULL) {
        sim_run_error(c, true, "34000", "portal does not exist", "exec_execute_message");
        return;
    }
    const struct proto_span text = {(const uint8_t *)p->text, strlen(p->text)};
    const struct sim_portal copy = *p; /* a COMMIT ends its own portal */
    if (!sim_is_setting(p->sql.kind) || sim_run_settings(c, text, true))
        (void)sim_run_execute(c, copy.sql, copy.value, p, rows);
}

/* ---- COPY IN ---- */

void sim_server_copy_ends(struct sim_conn *c)
{
    c->copy_in = false;
    if (!c->copy_extended)
        ready(c);
}

static void on_copy_message(struct sim_conn *c, uint8_t type, struct proto_span body)
{
    switch (type) {
    case 'S':
    case 'H':
        return;
    case 'd':
        if (body.size >= 3 && memcmp(body.base, "BAD", 3) == 0) {
            sim_run_error(c, c->copy_extended, "22P04", "bad data", "CopyReadLine");
            sim_server_copy_ends(c);
        }
        return;
    case 'c':
        c->pending[c->pending_count++] = c->copy;
        sim_reply_tag(&c->out, "COPY 1");
        sim_server_copy_ends(c);
        return;
    case 'f':
        sim_run_error(c, c->copy_extended, "57014", "COPY from stdin failed", "CopyGetData");
        sim_server_copy_ends(c);
        return;
    default:
        sim_run_error(c, c->copy_extended, "08P01", "unexpected message type during COPY",
                      "CopyGetData");
        sim_server_copy_ends(c);
        return;
    }
}

static void on_message(struct sim_conn *c, uint8_t type, struct proto_span body)
{
    if (c->copy_in) {
        on_copy_message(c, type, body);
        return;
    }
    if (c->skipping && type != 'S')
        return;
    switch (type) {
    case 'Q':
        on_query(c, body);
        break;
    case 'F':
        on_function(c, body);
        break;
    case 'P':
        on_parse(c, body);
        break;
    case 'B':
        on_bind(c, body);
        break;
    case 'D':
        on_describe(c, body);
        break;
    case 'C':
        on_close(c, body);
        break;
    case 'E':
        on_execute(c, body);
        break;
    case 'S':
        c->skipping = false;
        ready(c);
        break;
    case 'H':
    case 'd':
    case 'c':
    case 'f':
        break;
    default:
        sim_fail("a server got a message of type %c", type);
    }
}

/* What a message runs; SIM_GARBAGE: nothing that could take its time. */
static enum sim_kind runs(struct sim_conn *c, uint8_t type, struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    const struct proto_span first = type == 'F' ? body : proto_read_string(&r);
    if (c->copy_in || c->skipping || c->status == 'E')
        return SIM_GARBAGE;
    if (type == 'Q')
        return sim_sql_read(first).kind;
    const struct sim_portal *p = type == 'E' ? find_portal(c, first) : NULL;
    return p != NULL ? p->sql.kind : SIM_GARBAGE;
}

/* The statement that this message is fails. */
static void cancelled(struct sim_conn *c, uint8_t type)
{
    c->cancelled = false;
    sim_run_error(c, type == 'E', "57014", "sim cancels", "ProcessInterrupts");
    if (type == 'Q')
        ready(c);
}

void sim_server_read(struct sim_conn *c, size_t size)
{
    struct proto_header h = {0};
    if (c->dead)
        return;
    sim_queue_add(&c->got, sim_queue_span(&c->in).base, size);
    sim_queue_drop(&c->in, size);
    for (;;) {
        const struct proto_span in = sim_queue_span(&c->got);
        const enum proto_status status = proto_header_peek(in, PROTO_BODY_SIZE_MAX, &h);
        if (status == PROTO_MORE || in.size < PROTO_HEADER_SIZE + (size_t)h.body_size)
            return;
        if (status != PROTO_OK)
            sim_fail("a server got a message of a bad length");
        const struct proto_span body = {.base = in.base + PROTO_HEADER_SIZE, .size = h.body_size};
        if (c->slow && !c->closed_by_proxy && !sim_chance(10))
            return;
        c->slow_over = c->slow;
        c->slow = false;
        if (!c->cancelled && sim_cancel_is_slow(c, runs(c, h.type, body)))
            return;
        if (!sim.quiet && sim_chance(3))
            sim_reply_error(&c->out, "NOTICE", "00000", "by the way", "sim");
        if (c->cancelled)
            cancelled(c, h.type);
        else
            on_message(c, h.type, body);
        sim_queue_drop(&c->got, PROTO_HEADER_SIZE + (size_t)h.body_size);
    }
}
