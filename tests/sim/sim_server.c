/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_server: one connection of a simulated PostgreSQL, in the words of the real protocol. It sees
 * what no client can see: what was executed, where, for whom and how often.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

static const char aborted[] =
    "current transaction is aborted, commands ignored until end of transaction block";

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

/* ---- executing ---- */

/* A transaction, whatever began it. */
static void ended(struct sim_conn *c, bool committed)
{
    if (!committed)
        c->pending_count = 0;
    sim_settings_end(&c->now);
    if (committed)
        c->committed = c->now;
    else
        c->now = c->committed;
    c->savepoints_count = 0;
}

static void error(struct sim_conn *c, bool extended, const char *sqlstate, const char *message,
                  const char *routine)
{
    sim_reply_error(&c->out, "ERROR", sqlstate, message, routine);
    if (c->status == 'T')
        c->status = 'E';
    else if (c->status == 'I')
        ended(c, false);
    if (extended)
        c->skipping = true;
}

static void commit(struct sim_conn *c)
{
    for (uint32_t i = 0; i < c->pending_count; i++) {
        struct sim_client *client = &sim.clients[c->pending[i].client];
        struct sim_write *w = &client->writes[c->pending[i].number];
        if (++w->commits > 1)
            sim_fail("write c%d.s%d was executed twice", client->index, c->pending[i].number);
        client->last_commit_ns = sim.now_ns;
    }
    c->pending_count = 0;
}

static void check_owner(const struct sim_conn *c, int client)
{
    if (client != c->owner)
        sim_fail("a statement of client %d runs on the server of client %d", client, c->owner);
}

/* What a read must see, and must not unsee. */
static void check_read(struct sim_conn *c, struct sim_sql sql)
{
    struct sim_client *client = &sim.clients[sql.client];
    client->read_ns[sql.number] = 0;
    if (c->node == 0)
        return;
    const uint64_t position_ns = sim.nodes[c->node].position_ns;
    client->read_ns[sql.number] = position_ns;
    if (client->eventual || client->lost)
        return;
    if (position_ns < client->last_commit_ns)
        sim_fail("client %d does not see its own write: replica %u is at %lu, the write at %lu",
                 client->index, c->node, (unsigned long)position_ns,
                 (unsigned long)client->last_commit_ns);
    if (position_ns < client->seen_ns)
        sim_fail("client %d goes back in time: replica %u is at %lu, it has seen %lu",
                 client->index, c->node, (unsigned long)position_ns,
                 (unsigned long)client->seen_ns);
}

/* Whatever runs, runs under its client's settings. */
static void check_settings(const struct sim_conn *c, struct sim_sql sql)
{
    const struct sim_client *client = &sim.clients[sql.client];
    const struct sim_settings *must = &client->settings[sql.number];
    if (client->lost)
        return;
    if (strcmp(c->now.work_mem, must->work_mem) != 0 || strcmp(c->now.path, must->path) != 0 ||
        strcmp(c->now.application, must->application) != 0)
        sim_fail("c%d.s%d runs with work_mem '%s', search_path '%s', application '%s'; its client "
                 "has '%s', '%s', '%s'",
                 sql.client, sql.number, c->now.work_mem, c->now.path, c->now.application,
                 must->work_mem, must->path, must->application);
}

/* False: refused. */
static bool write_allowed(struct sim_conn *c, struct sim_sql sql, bool extended)
{
    const bool read_only = c->status == 'T' && c->read_only;
    if (c->node != 0 && !read_only && sql.kind != SIM_LIAR)
        sim_fail("write c%d.s%d was sent to a replica", sql.client, sql.number);
    if (c->node == 0 && (!read_only || sql.kind == SIM_LIAR))
        return true;
    error(c, extended, "25006", "cannot execute this in a read-only transaction",
          "PreventCommandIfReadOnly");
    return false;
}

static bool transaction(struct sim_conn *c, struct sim_sql sql)
{
    switch ((int)sql.kind) {
    case SIM_BEGIN:
    case SIM_BEGIN_READ_ONLY:
        if (c->status == 'I') {
            c->status = 'T';
            c->read_only = sql.kind == SIM_BEGIN_READ_ONLY;
        }
        sim_reply_tag(&c->out, "BEGIN");
        return true;
    case SIM_COMMIT:
        sim_reply_tag(&c->out, c->status == 'E' ? "ROLLBACK" : "COMMIT");
        if (c->status != 'E')
            commit(c);
        ended(c, c->status != 'E');
        c->status = 'I';
        return true;
    case SIM_SAVEPOINT:
        if (c->status != 'T' || c->savepoints_count == SIM_SAVEPOINTS)
            return false;
        c->savepoints[c->savepoints_count++] =
            (struct sim_savepoint){.settings = c->now, .pending_count = c->pending_count};
        sim_reply_tag(&c->out, "SAVEPOINT");
        return true;
    case SIM_ROLLBACK_TO:
        if (c->savepoints_count == 0)
            return false;
        c->now = c->savepoints[c->savepoints_count - 1].settings;
        c->pending_count = c->savepoints[c->savepoints_count - 1].pending_count;
        c->status = 'T';
        sim_reply_tag(&c->out, "ROLLBACK");
        return true;
    case SIM_ROLLBACK:
        ended(c, false);
        c->status = 'I';
        sim_reply_tag(&c->out, "ROLLBACK");
        return true;
    default:
        return false;
    }
}

static void set_from(struct sim_conn *c, struct proto_span text, const char *key,
                     enum sim_kind kind)
{
    char value[SIM_VALUE_SIZE];
    const char *at = memmem(text.base, text.size, key, strlen(key));
    if (at == NULL)
        return;
    at += strlen(key);
    (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "'"), at);
    (void)sim_settings_apply(&c->now, kind, value, "");
}

/* What the proxy sends of its own. A replica may refuse it. */
static void apply_settings(struct sim_conn *c, struct proto_span text)
{
    static const char key[] = "set_config(E'application_name',E'";
    static const struct {
        const char *text;
        enum sim_kind kind;
    } sets[] = {{"set work_mem = '", SIM_SET},
                {"set search_path = '", SIM_SET_PATH},
                {"set application_name = '", SIM_SET_APPLICATION}};
    if (memmem(text.base, text.size, "RESET ALL;", 10) != NULL)
        (void)sim_settings_apply(&c->now, SIM_RESET_ALL, "", "");
    set_from(c, text, key, SIM_SET_APPLICATION);
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        set_from(c, text, sets[i].text, sets[i].kind);
}

/* False: refused. Only what flies ahead of a read: it may go to the primary then. */
static bool settings_made(struct sim_conn *c, struct proto_span text, bool extended)
{
    if (extended && c->node != 0 && !sim.quiet && sim_chance(3)) {
        error(c, true, "42704", "unrecognized configuration parameter", "GUC");
        return false;
    }
    apply_settings(c, text);
    return true;
}

static struct sim_statement *find(struct sim_conn *c, struct proto_span name)
{
    for (size_t i = 0; i < sizeof(c->statements) / sizeof(c->statements[0]); i++)
        if (c->statements[i].used && strlen(c->statements[i].name) == name.size &&
            memcmp(c->statements[i].name, name.base, name.size) == 0)
            return &c->statements[i];
    return NULL;
}

/* Its words are those of the statement that it names. False: there is none. */
static bool find_executed(struct sim_conn *c, struct sim_sql *sql)
{
    const uint8_t name = (uint8_t)('a' + sim_executes(sql->number));
    const struct sim_statement *s = find(c, (struct proto_span){&name, 1});
    if (s == NULL)
        return false;
    sql->kind = sim_sql_read((struct proto_span){(const uint8_t *)s->text, strlen(s->text)}).kind;
    return true;
}

/* What it does; false: its answer was given. `text`: what a row of its result shows. */
static bool run(struct sim_conn *c, struct sim_sql sql, const char *value, bool extended,
                char text[SIM_VALUE_SIZE])
{
    switch ((int)sql.kind) {
    case SIM_LIAR:
        if (!write_allowed(c, sql, extended))
            return false;
        break;
    case SIM_WRITE:
    case SIM_PWRITE:
    case SIM_FUNCTION:
        if (!write_allowed(c, sql, extended))
            return false;
        c->pending[c->pending_count++] = sql;
        break;
    case SIM_COPY_IN:
        if (!write_allowed(c, sql, extended))
            return false;
        c->copy_in = true;
        c->copy_extended = extended;
        c->copy = sql;
        sim_reply_copy(&c->out, 'G');
        return false;
    case SIM_READ:
    case SIM_ROWS:
    case SIM_PREAD:
    case SIM_COPY_OUT:
        check_read(c, sql);
        break;
    case SIM_ERROR:
        error(c, extended, "22012", value, "int4div");
        return false;
    case SIM_GARBAGE:
        error(c, extended, "42601", "syntax error", "scanner_yyerror");
        return false;
    case SIM_SHOW:
        (void)snprintf(text, SIM_VALUE_SIZE, "%s", c->now.work_mem);
        break;
    case SIM_SHOW_APPLICATION:
        (void)snprintf(text, SIM_VALUE_SIZE, "%s", c->now.application);
        break;
    case SIM_DISCARD:
        memset(c->statements, 0, sizeof(c->statements));
        c->locks = 0;
        break;
    case SIM_LOCK:
    case SIM_TRY_LOCK:
    case SIM_UNLOCK:
        c->locks = sim_locks(c->locks, sql.kind, sql.number);
        (void)snprintf(text, SIM_VALUE_SIZE, "%u locks", c->locks);
        break;
    case SIM_QUESTION:
        if (sim_chance(10))
            error(c, extended, "57014", "canceling statement due to statement timeout", "sim");
        else
            sim_reply_question(&c->out, c->locks > 0);
        return false;
    case SIM_SAVEPOINT:
    case SIM_ROLLBACK_TO:
        error(c, extended, "3B001", "there is no such savepoint", "RollbackToSavepoint");
        return false;
    default:
        break;
    }
    return true;
}

/* One statement. */
static void execute(struct sim_conn *c, struct sim_sql sql, const char *value, bool extended)
{
    if (sql.client >= 0)
        check_owner(c, sql.client);
    if (sql.client >= 0 && c->status != 'E' && sql.kind != SIM_ERROR)
        check_settings(c, sql);
    if (transaction(c, sql))
        return;
    if (c->status == 'E') {
        error(c, extended, "25P02", aborted, "exec_simple_query");
        return;
    }
    char text[SIM_VALUE_SIZE];
    (void)snprintf(text, sizeof(text), "%s", value);
    if (sql.kind == SIM_EXECUTE && !find_executed(c, &sql)) {
        error(c, extended, "26000", "prepared statement does not exist", "FetchPreparedStatement");
        return;
    }
    if (!run(c, sql, value, extended, text))
        return;
    (void)sim_settings_apply(&c->now, sql.kind, value, "");
    sim_reply_result(&c->out, sql, text, !extended);
}

static void value_of(struct sim_sql sql, char ret[SIM_VALUE_SIZE])
{
    (void)snprintf(ret, SIM_VALUE_SIZE, "c%d.s%d", sql.client, sql.number);
}

static void ready(struct sim_conn *c)
{
    if (c->status == 'I') {
        commit(c);
        ended(c, true);
    }
    sim_reply_ready(&c->out, c->status);
    if (c->status == 'I')
        c->portal.used = false;
}

static void on_query(struct sim_conn *c, struct proto_span body)
{
    struct proto_span text;
    char value[SIM_VALUE_SIZE];
    if (proto_query_read(body, &text) != PROTO_OK)
        sim_fail("a server got a malformed Query");
    struct sim_statement *unnamed = find(c, (struct proto_span){(const uint8_t *)"", 0});
    if (unnamed != NULL)
        unnamed->used = false;
    c->portal.used = false;
    const struct sim_sql sql = sim_sql_read(text);
    value_of(sql, value);
    if (sql.kind != SIM_SETTINGS || settings_made(c, text, false))
        execute(c, sql, value, false);
    if (!c->copy_in)
        ready(c);
}

static bool in_failed_block(struct sim_conn *c, enum sim_kind kind)
{
    if (c->status != 'E' || kind == SIM_COMMIT || kind == SIM_ROLLBACK || kind == SIM_ROLLBACK_TO)
        return false;
    error(c, true, "25P02", aborted, "exec_parse_message");
    return true;
}

static void on_parse(struct sim_conn *c, struct proto_span body)
{
    struct proto_parse p;
    if (proto_parse_read(body, &p) != PROTO_OK || p.name.size >= sizeof(c->statements[0].name))
        sim_fail("a server got a malformed Parse");
    const struct sim_sql sql = sim_sql_read(p.text);
    struct sim_statement *s = find(c, p.name);
    if (p.name.size == 0 && s != NULL) {
        s->used = false;
        s = NULL;
    }
    if (sql.kind == SIM_GARBAGE) {
        error(c, true, "42601", "syntax error", "scanner_yyerror");
        return;
    }
    if (in_failed_block(c, sql.kind))
        return;
    if (s != NULL) {
        error(c, true, "42P05", "prepared statement already exists", "StorePreparedStatement");
        return;
    }
    for (s = c->statements; s->used; s++)
        if (s == c->statements + 63)
            sim_fail("a server has too many statements");
    s->used = true;
    memcpy(s->path, c->now.path, sizeof(s->path));
    memcpy(s->name, p.name.base, p.name.size);
    s->name[p.name.size] = '\0';
    const size_t size = p.text.size < sizeof(s->text) - 1 ? p.text.size : sizeof(s->text) - 1;
    memcpy(s->text, p.text.base, size);
    s->text[size] = '\0';
    sim_reply_plain(&c->out, '1');
}

static void on_bind(struct sim_conn *c, struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    (void)proto_read_string(&r);
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
    const struct sim_statement *s = find(c, name);
    if (s == NULL) {
        error(c, true, "26000", "prepared statement does not exist", "exec_bind_message");
        return;
    }
    struct sim_sql sql =
        sim_sql_read((struct proto_span){(const uint8_t *)s->text, strlen(s->text)});
    if (in_failed_block(c, sql.kind))
        return;
    if (name.size > 3 && memcmp(name.base, "sg_", 3) == 0 && strcmp(s->path, c->now.path) != 0)
        sim_fail("a statement parsed under search_path '%s' is bound under '%s'", s->path,
                 c->now.path);
    if (count > 0)
        (void)sim_tag_read(value, &sql.client, &sql.number);
    c->portal = (struct sim_portal){.used = true, .sql = sql};
    value_of(sql, c->portal.value);
    memcpy(c->portal.text, s->text, sizeof(c->portal.text));
    sim_reply_plain(&c->out, '2');
}

static void on_describe(struct sim_conn *c, struct proto_span body)
{
    struct proto_target t;
    if (proto_target_read(body, &t) != PROTO_OK)
        sim_fail("a server got a malformed Describe");
    struct sim_sql sql = c->portal.sql;
    const struct sim_statement *s = t.what == 'S' ? find(c, t.name) : NULL;
    if (t.what == 'S' ? s == NULL : !c->portal.used) {
        error(c, true, t.what == 'S' ? "26000" : "34000", "does not exist", "exec_describe");
        return;
    }
    if (s != NULL) {
        sql = sim_sql_read((struct proto_span){(const uint8_t *)s->text, strlen(s->text)});
        sim_reply_parameters(&c->out, sql.kind == SIM_PREAD || sql.kind == SIM_PWRITE);
    }
    const bool rows = sql.kind <= SIM_LIAR || sql.kind == SIM_FUNCTION || sql.kind == SIM_SHOW ||
                      sql.kind == SIM_SHOW_APPLICATION || sim_is_lock(sql.kind);
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
    struct sim_statement *s = t.what == 'S' ? find(c, t.name) : NULL;
    if (s != NULL)
        s->used = false;
    sim_reply_plain(&c->out, '3');
}

static void on_execute(struct sim_conn *c)
{
    const struct proto_span text = {(const uint8_t *)c->portal.text, strlen(c->portal.text)};
    if (!c->portal.used)
        error(c, true, "34000", "portal \"\" does not exist", "exec_execute_message");
    else if (c->portal.sql.kind != SIM_SETTINGS || settings_made(c, text, true))
        execute(c, c->portal.sql, c->portal.value, true);
}

/* ---- COPY IN ---- */

static void copy_ends(struct sim_conn *c)
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
            error(c, c->copy_extended, "22P04", "bad data", "CopyReadLine");
            copy_ends(c);
        }
        return;
    case 'c':
        c->pending[c->pending_count++] = c->copy;
        sim_reply_tag(&c->out, "COPY 1");
        copy_ends(c);
        return;
    case 'f':
        error(c, c->copy_extended, "57014", "COPY from stdin failed", "CopyGetData");
        copy_ends(c);
        return;
    default:
        error(c, c->copy_extended, "08P01", "unexpected message type during COPY", "CopyGetData");
        copy_ends(c);
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
        on_execute(c);
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
        if (!sim.quiet && sim_chance(3))
            sim_reply_error(&c->out, "NOTICE", "00000", "by the way", "sim");
        on_message(c, h.type,
                   (struct proto_span){.base = in.base + PROTO_HEADER_SIZE, .size = h.body_size});
        sim_queue_drop(&c->got, PROTO_HEADER_SIZE + (size_t)h.body_size);
    }
}
