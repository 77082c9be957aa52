/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_run: what a statement does on a simulated server, and what is checked as it runs.
 */
#include "sim_run.h"

#include <stdio.h>
#include <stdlib.h>

static const char aborted[] =
    "current transaction is aborted, commands ignored until end of transaction block";

/* A transaction, whatever began it. */
void sim_run_ended(struct sim_conn *c, bool committed)
{
    if (!committed)
        c->pending_count = 0;
    sim_settings_end(&c->now);
    if (committed)
        c->committed = c->now;
    else
        c->now = c->committed;
    c->savepoints_count = 0;
    memset(c->portals, 0, sizeof(c->portals));
}

void sim_run_error(struct sim_conn *c, bool extended, const char *sqlstate, const char *message,
                   const char *routine)
{
    sim_reply_error(&c->out, "ERROR", sqlstate, message, routine);
    c->errors++;
    if (c->status == 'T')
        c->status = 'E';
    else if (c->status == 'I')
        sim_run_ended(c, false);
    if (extended)
        c->skipping = true;
}

void sim_run_commit(struct sim_conn *c)
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
    if (client->lost || client->adrift_until > 0)
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
    sim_run_error(c, extended, "25006", "cannot execute this in a read-only transaction",
                  "PreventCommandIfReadOnly");
    return false;
}

/* False: it is no such statement, or fails like any other. */
static bool transaction(struct sim_conn *c, struct sim_sql sql, bool extended)
{
    switch ((int)sql.kind) {
    case SIM_BEGIN:
    case SIM_BEGIN_READ_ONLY:
        if (c->status == 'E')
            return false;
        if (c->status == 'I') {
            c->status = 'T';
            c->read_only = sql.kind == SIM_BEGIN_READ_ONLY;
        }
        sim_reply_tag(&c->out, "BEGIN");
        return true;
    case SIM_COMMIT:
        sim_reply_tag(&c->out, c->status == 'E' ? "ROLLBACK" : "COMMIT");
        if (c->status != 'E')
            sim_run_commit(c);
        sim_run_ended(c, c->status != 'E');
        c->status = 'I';
        return true;
    case SIM_SAVEPOINT:
        if (c->status != 'T')
            return false;
        assert(c->savepoints_count < SIM_SAVEPOINTS);
        c->savepoints[c->savepoints_count++] =
            (struct sim_savepoint){.settings = c->now, .pending_count = c->pending_count};
        sim_reply_tag(&c->out, "SAVEPOINT");
        return true;
    case SIM_ROLLBACK_TO:
        if (c->savepoints_count == 0) {
            sim_run_error(c, extended, c->status == 'I' ? "25P01" : "3B001",
                          "there is no such savepoint", "RollbackToSavepoint");
            return true;
        }
        c->now = c->savepoints[c->savepoints_count - 1].settings;
        c->pending_count = c->savepoints[c->savepoints_count - 1].pending_count;
        c->status = 'T';
        sim_reply_tag(&c->out, "ROLLBACK");
        return true;
    case SIM_ROLLBACK:
        sim_run_ended(c, false);
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
bool sim_run_settings(struct sim_conn *c, struct proto_span text, bool extended)
{
    const bool bears_it =
        !sim.clients[c->owner].wild; /* what is sent ahead can be sent elsewhere */
    if (extended && c->node != 0 && !sim.quiet && bears_it && c->status == 'I' && sim_chance(3)) {
        sim_run_error(c, true, "42704", "unrecognized configuration parameter", "GUC");
        return false;
    }
    if (sim.broken != SIM_BREAK_SETTINGS || !sim_chance(10))
        apply_settings(c, text);
    return true;
}

struct sim_statement *sim_run_find(struct sim_conn *c, struct proto_span name)
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
    const struct sim_statement *s = sim_run_find(c, (struct proto_span){&name, 1});
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
    case SIM_CALL:
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
    case SIM_TABLE:
    case SIM_COPY_OUT:
        check_read(c, sql);
        break;
    case SIM_ERROR:
        sim_run_error(c, extended, "22012", value, "int4div");
        return false;
    case SIM_GARBAGE:
        sim_run_error(c, extended, "42601", "syntax error", "scanner_yyerror");
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
            sim_run_error(c, extended, "57014", "canceling statement due to statement timeout",
                          "sim");
        else
            sim_reply_question(&c->out, c->locks > 0);
        return false;
    case SIM_SAVEPOINT:
        sim_run_error(c, extended, "25P01", "SAVEPOINT can only be used in transaction blocks",
                      "RequireTransactionBlock");
        return false;
    default:
        break;
    }
    return true;
}

bool sim_run_in_failed_block(struct sim_conn *c, enum sim_kind kind)
{
    if (c->status != 'E' || kind == SIM_COMMIT || kind == SIM_ROLLBACK || kind == SIM_ROLLBACK_TO)
        return false;
    sim_run_error(c, true, "25P02", aborted, "exec_parse_message");
    return true;
}

/* Of a portal: so many rows, and then whether that was all. */
static void reply(struct sim_conn *c, struct sim_sql sql, const char *text,
                  struct sim_portal *portal, uint32_t rows)
{
    if (portal == NULL) {
        sim_reply_result(&c->out, sql, text, true);
        return;
    }
    (void)snprintf(portal->shown, sizeof(portal->shown), "%s", text);
    portal->sql = sql;
    portal->done = sim_reply_part(&c->out, sql, text, &portal->position, rows);
}

/* An Execute of a portal that has run already. */
static void go_on(struct sim_conn *c, struct sim_portal *portal, uint32_t rows)
{
    if (!sim_has_rows(portal->sql.kind))
        sim_run_error(c, true, "55000", "portal cannot be run", "PortalRun");
    else
        portal->done = sim_reply_part(&c->out, portal->sql, portal->shown, &portal->position, rows);
}

bool sim_run_execute(struct sim_conn *c, struct sim_sql sql, const char *value,
                     struct sim_portal *portal, uint32_t rows)
{
    const bool extended = portal != NULL;
    const size_t before = c->errors;
    if (sql.client >= 0)
        check_owner(c, sql.client);
    const bool ends =
        sql.kind == SIM_COMMIT || sql.kind == SIM_ROLLBACK || sql.kind == SIM_ROLLBACK_TO;
    if (extended && portal->started && (c->status != 'E' || ends)) {
        go_on(c, portal, rows);
        return c->errors == before;
    }
    if (sql.client >= 0 && c->status != 'E' && sql.kind != SIM_ERROR)
        check_settings(c, sql);
    if (extended)
        portal->started = true;
    if (transaction(c, sql, extended))
        return c->errors == before;
    if (c->status == 'E') {
        sim_run_error(c, extended, "25P02", aborted, "exec_simple_query");
        return false;
    }
    char text[SIM_VALUE_SIZE];
    (void)snprintf(text, sizeof(text), "%s", value);
    if (sql.kind == SIM_EXECUTE && !find_executed(c, &sql)) {
        sim_run_error(c, extended, "26000", "prepared statement does not exist",
                      "FetchPreparedStatement");
        return false;
    }
    if (!run(c, sql, value, extended, text))
        return c->errors == before;
    if (sql.kind == SIM_TABLE && extended)
        (void)snprintf(text, sizeof(text), "%s v%u", value, portal->shape);
    (void)sim_settings_apply(&c->now, sql.kind, value, "");
    reply(c, sql, text, portal, rows);
    return true;
}
