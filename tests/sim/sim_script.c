/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_script: what a client will send, and, since a client knows its own statements, every byte
 * that must come back. The model is a direct connection to one PostgreSQL.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim_model.h"

static void simple(struct sim_model *m, enum sim_kind kind)
{
    static char text[16384];
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    const uint8_t before = m->status;
    const bool bounds = kind >= SIM_BEGIN && kind <= SIM_ROLLBACK; /* whose end must be its end */
    const size_t pad = bounds && c->refusable ? 0 : sim_model_padding(kind);
    const size_t size = sim_sql_write(kind, c->index, number, pad, text, sizeof(text));
    sim_send_query(c, text, size);
    sim_model_query(m);
    sim_model_result(m, kind, number, true);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, before == 'I' && m->status == 'I');
}

static void copy_in(struct sim_model *m)
{
    struct sim_client *c = m->c;
    char text[64];
    const int number = c->numbers++;
    const size_t size = sim_sql_write(SIM_COPY_IN, c->index, number, 0, text, sizeof(text));
    const uint8_t before = m->status;
    const uint32_t ending = sim_below(4);
    sim_send_query(c, text, size);
    for (uint32_t i = sim_below(4); i > 0; i--)
        sim_send_message(c, 'd', "row\n", 4);
    if (ending == 0) {
        sim_send_message(c, 'd', "BAD\n", 4);
        sim_send_message(c, 'd', "late\n", 5);
    }
    if (ending == 1)
        sim_send_message(c, 'f', "no\0", 3);
    else
        sim_send_message(c, 'c', "", 0);
    sim_model_query(m);
    c->writes[number] =
        (struct sim_write){.made = true, .commit_unit = -1, .statement_unit = c->units_count};
    c->settings[number] = m->now;
    if (sim_model_may_run(m, SIM_COPY_IN, "")) {
        sim_reply_copy(&c->expected, 'G');
        if (ending == 0) {
            sim_model_fails(m, "22P04", "");
        } else if (ending == 1) {
            sim_model_fails(m, "57014", "");
        } else {
            sim_model_note_write(m, SIM_COPY_IN, number);
            sim_reply_tag(&c->expected, "COPY 1");
        }
    }
    sim_model_synced(m);
    sim_model_unit_ends(m, true, before == 'I' && m->status == 'I');
}

static void parse(struct sim_model *m, int name, enum sim_kind kind, int number)
{
    static char text[16384];
    struct sim_client *c = m->c;
    /* on a replica a long Parse would pin, and is refused */
    const bool may_be_long =
        name == SIM_UNNAMED && m->status != 'E' && !(m->status != 'I' && m->read_only);
    const size_t size = sim_sql_write(
        kind, c->index, number, may_be_long ? sim_model_padding(kind) : 0, text, sizeof(text));
    sim_send_parse(c, sim_names[name], text, size);
    if (m->failed)
        return;
    if (name == SIM_UNNAMED)
        m->names[name].exists = false;
    if (m->status == 'E' && !sim_model_ends_failure(kind)) {
        sim_model_fails(m, "25P02", "");
        return;
    }
    if (m->names[name].exists) {
        sim_model_fails(m, "42P05", "");
        return;
    }
    m->names[name] =
        (struct sim_model_name){.exists = true, .used = true, .kind = kind, .number = number};
    sim_reply_plain(&c->expected, '1');
}

static void bind_execute(struct sim_model *m, int name, enum sim_kind kind, int number,
                         bool describe)
{
    struct sim_client *c = m->c;
    char value[SIM_VALUE_SIZE];
    (void)snprintf(value, sizeof(value), "c%d.s%d", c->index, number);
    const bool parameter = kind == SIM_PREAD || kind == SIM_PWRITE;
    sim_send_bind(c, "", sim_names[name], parameter ? value : NULL,
                  parameter && sim_chance(5) ? SIM_STATEMENT_MAX + sim_below(3000) : 0);
    if (!m->failed && !m->names[name].exists)
        sim_model_fails(m, "26000", "");
    if (!m->failed && m->status == 'E' && !sim_model_ends_failure(kind))
        sim_model_fails(m, "25P02", "");
    if (!m->failed)
        sim_reply_plain(&c->expected, '2');
    if (!m->failed)
        m->portals[0].exists = false; /* it is another one, and soon done */
    if (describe) {
        sim_send_target(c, 'D', 'P', "");
        if (!m->failed && sim_has_rows(kind))
            sim_reply_columns(&c->expected);
        else if (!m->failed)
            sim_reply_plain(&c->expected, 'n');
    }
    sim_send_execute(c, "", 0);
    if (!m->failed)
        sim_model_result(m, kind, number, false);
    else if (sim_model_writes(kind))
        c->writes[number] =
            (struct sim_write){.made = true, .commit_unit = -1, .statement_unit = c->units_count};
}

static enum sim_kind some_kind(struct sim_model *m)
{
    /* what a replica refuses is not sent again along with what looks like a portal's */
    static const enum sim_kind kinds[] = {SIM_READ,     SIM_READ, SIM_ROWS,  SIM_PREAD, SIM_WRITE,
                                          SIM_FUNCTION, SIM_LIAR, SIM_ERROR, SIM_PWRITE};
    const enum sim_kind kind = kinds[sim_below(sizeof(kinds) / sizeof(kinds[0]))];
    if (kind == SIM_LIAR && (m->c->wild || sim.small_keep || (m->status == 'T' && m->read_only)))
        return SIM_READ; /* what it does depends on the node, or it cannot be replayed */
    return kind;
}

/* One to three statements and one Sync. */
static void extended(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const uint8_t before = m->status;
    bool more = false;
    for (uint32_t i = 1 + (sim_chance(30) ? sim_below(3) : 0); i > 0; i--) {
        enum sim_kind kind = some_kind(m);
        const int number = c->numbers++;
        if (kind == SIM_LIAR && (more || i > 1))
            kind = SIM_READ; /* behind a row it could not be replayed */
        more = true;
        parse(m, SIM_UNNAMED, kind, number);
        bind_execute(m, SIM_UNNAMED, kind, number, sim_chance(50));
    }
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, before == 'I' && m->status == 'I');
}

static void close_name(struct sim_model *m, int name)
{
    sim_send_target(m->c, 'C', 'S', sim_names[name]);
    if (m->failed)
        return;
    m->names[name].exists = false;
    sim_reply_plain(&m->c->expected, '3');
}

/* BEGIN, COMMIT and ROLLBACK as some drivers send them. */
static void extended_control(struct sim_model *m, enum sim_kind kind)
{
    const int number = m->c->numbers++;
    parse(m, SIM_UNNAMED, kind, number);
    bind_execute(m, SIM_UNNAMED, kind, number, sim_chance(30));
    sim_send_message(m->c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

/* BEGIN and a statement or two in one batch, as JDBC sends them. */
static void begin_and_more(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const int name = sim_chance(60) ? SIM_UNNAMED : SIM_NAMED_BEGIN;
    const int number = c->numbers++;
    if (name == SIM_UNNAMED || !m->names[name].exists)
        parse(m, name, SIM_BEGIN, number);
    bind_execute(m, name, SIM_BEGIN, number, sim_chance(20));
    for (uint32_t i = 1 + (sim_chance(30) ? 1 : 0), n = 0; n < i; n++) {
        enum sim_kind kind = some_kind(m);
        const int next = c->numbers++;
        if (kind == SIM_LIAR && i > 1)
            kind = SIM_READ; /* behind a row it could not be replayed */
        parse(m, SIM_UNNAMED, kind, next);
        bind_execute(m, SIM_UNNAMED, kind, next, sim_chance(50));
    }
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

/* In a block: each statement with a Flush, and a Sync at last, as psycopg's pipelines. */
static void flushed_in_block(struct sim_model *m)
{
    struct sim_client *c = m->c;
    for (uint32_t i = 1 + sim_below(3); i > 0; i--) {
        const enum sim_kind kind = some_kind(m);
        const int number = c->numbers++;
        parse(m, SIM_UNNAMED, kind, number);
        bind_execute(m, SIM_UNNAMED, kind, number, sim_chance(50));
        sim_send_message(c, 'H', "", 0);
        if (m->failed)
            break; /* what follows has no answer that could be waited for */
        sim_model_unit_ends(m, sim_chance(50), false);
    }
    if (sim_chance(20)) {
        const int number = c->numbers++;
        parse(m, SIM_UNNAMED, SIM_COMMIT, number);
        bind_execute(m, SIM_UNNAMED, SIM_COMMIT, number, false);
    }
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

/* A simple Query behind an error, before the Sync: the server does not even look at it. */
static void skipped_query(struct sim_model *m)
{
    char text[256];
    const size_t size =
        sim_sql_write(SIM_READ, m->c->index, m->c->numbers++, 0, text, sizeof(text));
    assert(m->failed);
    sim_send_query(m->c, text, size);
}

/* Something with a named statement. */
static void named(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const int name = (int)sim_below(SIM_NAMES);
    if (sim_chance(10)) { /* what follows is skipped */
        parse(m, SIM_UNNAMED, SIM_ERROR, c->numbers);
        bind_execute(m, SIM_UNNAMED, SIM_ERROR, c->numbers++, false);
        for (uint32_t i = sim_below(3); m->failed && i > 0; i--)
            skipped_query(m);
    }
    if (m->names[name].exists && sim_chance(15))
        close_name(m, name);
    if (!m->names[name].exists || sim_chance(5))
        parse(m, name, sim_chance(60) ? SIM_PREAD : SIM_PWRITE, c->numbers);
    if (sim_chance(20)) {
        sim_send_message(c, 'S', "", 0);
        sim_model_synced(m);
    }
    const enum sim_kind kind = m->names[name].exists ? m->names[name].kind : SIM_PREAD;
    for (uint32_t i = sim_below(3); i > 0; i--)
        bind_execute(m, name, kind, c->numbers++, sim_chance(30));
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

/* The unnamed statement is parsed now and used later. */
static void unnamed_kept(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const int missing = (int)sim_below(SIM_NAMES);
    if (!m->names[missing].exists && sim_chance(20)) { /* a Parse that is skipped changes nothing */
        bind_execute(m, missing, SIM_PREAD, c->numbers++, false);
        parse(m, SIM_UNNAMED, SIM_PREAD, c->numbers);
    } else if (m->names[SIM_UNNAMED].exists && sim_takes_parameter(m->names[SIM_UNNAMED].kind)) {
        bind_execute(m, SIM_UNNAMED, m->names[SIM_UNNAMED].kind, c->numbers++, sim_chance(50));
    } else if (sim_chance(15) && !m->names[SIM_UNNAMED].exists) {
        bind_execute(m, SIM_UNNAMED, SIM_PREAD, c->numbers++, false);
    } else {
        parse(m, SIM_UNNAMED, sim_chance(60) ? SIM_PREAD : SIM_PWRITE, c->numbers);
    }
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

/* Parse, Describe, Flush; then Bind, Execute, Sync. */
static void flushed(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const enum sim_kind kind = sim_chance(60) ? SIM_PREAD : SIM_PWRITE;
    parse(m, SIM_UNNAMED, kind, c->numbers);
    sim_send_target(c, 'D', 'S', "");
    if (!m->failed) {
        sim_reply_parameters(&c->expected, true);
        if (sim_has_rows(kind))
            sim_reply_columns(&c->expected);
        else
            sim_reply_plain(&c->expected, 'n');
    }
    sim_send_message(c, 'H', "", 0);
    sim_model_unit_ends(m, true, false);
    bind_execute(m, SIM_UNNAMED, kind, c->numbers++, sim_chance(50));
    if (sim_chance(30)) {
        sim_send_message(c, 'H', "", 0);
        sim_model_unit_ends(m, true, false);
    }
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, true, false);
    m->wait_next = true; /* behind a Flush nothing is sent again */
}

static void last_route(struct sim_model *m)
{
    static const char text[] = "SHOW switchgear.last_route";
    sim_send_query(m->c, text, sizeof(text) - 1);
    sim_model_query(m);
    sim_model_wildcard(m->c, 'T');
    sim_model_wildcard(m->c, 'D');
    sim_model_wildcard(m->c, 'C');
    sim_model_synced(m);
    sim_model_unit_ends(m, false, true);
}

/* pg_terminate_backend: answered by the proxy, refused by it, or, where nobody has that number, by
 * the primary. */
static void signals(struct sim_model *m)
{
    char text[128];
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    const enum core_signal answer = sim_signal_of(number);
    /* it fails a block that a server knows: of others the end is told in other words */
    if (answer == CORE_SIGNAL_DENIED && m->status == 'T' && m->pending_count == 0) {
        simple(m, SIM_READ);
        return;
    }
    const uint8_t before = m->status;
    const size_t size = sim_sql_write(SIM_SIGNAL, c->index, number, 0, text, sizeof(text));
    const bool extended = sim_chance(50);
    if (extended && answer == CORE_SIGNAL_DENIED)
        sim_model_fails(m, "42501", ""); /* before its Parse is answered */
    if (extended) {
        parse(m, SIM_UNNAMED, SIM_SIGNAL, number);
        sim_send_bind(c, "", "", NULL, 0);
        sim_send_execute(c, "", 0);
        sim_send_message(c, 'S', "", 0);
        if (!m->failed)
            sim_reply_plain(&c->expected, '2');
        if (!m->failed)
            m->portals[0].exists = false;
    } else {
        sim_send_query(c, text, size);
        sim_model_query(m);
    }
    if (answer == CORE_SIGNAL_DONE) {
        if (!extended)
            sim_model_wildcard(c, 'T');
        sim_reply_row(&c->expected, "t", 0);
        sim_reply_tag(&c->expected, "SELECT 1");
    } else if (answer == CORE_SIGNAL_NOBODY) {
        sim_model_result(m, SIM_SIGNAL, number, !extended);
    } else if (!extended) {
        sim_model_fails(m, "42501", "");
    }
    sim_model_synced(m);
    sim_model_unit_ends(m, false, before == 'I' && m->status == 'I');
}

/* A setting, and an error behind it before the Sync: it takes the setting back. */
static void setting_and_error(struct sim_model *m, enum sim_kind kind)
{
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    parse(m, SIM_UNNAMED, kind, number);
    bind_execute(m, SIM_UNNAMED, kind, number, false);
    parse(m, SIM_UNNAMED, SIM_ERROR, c->numbers);
    bind_execute(m, SIM_UNNAMED, SIM_ERROR, c->numbers++, false);
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

/* Something that changes or shows a setting, in either protocol. */
static void setting(struct sim_model *m, bool in_block)
{
    static const enum sim_kind kinds[] = {SIM_SET,
                                          SIM_SET,
                                          SIM_SET_PATH,
                                          SIM_SET_PATH,
                                          SIM_SHOW,
                                          SIM_SHOW,
                                          SIM_SHOW,
                                          SIM_RESET,
                                          SIM_RESET,
                                          SIM_RESET_APPLICATION,
                                          SIM_RESET_ALL,
                                          SIM_SET_APPLICATION,
                                          SIM_SHOW_APPLICATION,
                                          SIM_SET_LOCAL};
    const enum sim_kind kind =
        kinds[sim_below(sizeof(kinds) / sizeof(kinds[0]) - (in_block ? 0 : 1))];
    if (sim_chance(60))
        simple(m, kind);
    else if (sim_chance(20) && kind != SIM_SHOW && kind != SIM_SHOW_APPLICATION)
        setting_and_error(m, kind);
    else
        extended_control(m, kind);
}

/* Locks are the connection's: a session that holds one must stay with it. */
static void lock(struct sim_model *m)
{
    const enum sim_kind kind = m->locks > 0 && sim_chance(60) ? SIM_UNLOCK
                               : sim_chance(50)               ? SIM_LOCK
                                                              : SIM_TRY_LOCK;
    if (m->status == 'T' && m->read_only)
        simple(m, SIM_READ); /* a replica would refuse it */
    else if (sim_chance(50))
        simple(m, kind);
    else if (sim_chance(20))
        setting_and_error(m, kind);
    else
        extended_control(m, kind);
}

/* EXECUTE of a name of the protocol's. */
static void execute_by_name(struct sim_model *m)
{
    char text[128];
    struct sim_client *c = m->c;
    const int name = sim_executes(c->numbers);
    const uint8_t before = m->status;
    if ((m->status == 'T' && m->read_only) || (m->status == 'I' && sim_chance(30))) {
        simple(m, SIM_READ); /* a replica would refuse to be pinned */
        return;
    }
    const int number = c->numbers++;
    const size_t size = sim_sql_write(SIM_EXECUTE, c->index, number, 0, text, sizeof(text));
    sim_send_query(c, text, size);
    sim_model_query(m);
    c->settings[number] = m->now;
    if (m->status == 'E')
        sim_model_fails(m, "25P02", "");
    else if (!m->names[name].exists)
        sim_model_fails(m, "26000", "");
    else
        sim_model_result(m, m->names[name].kind, number, true);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, before == 'I' && m->status == 'I');
}

static void savepoint(struct sim_model *m)
{
    enum sim_kind kind = SIM_READ;
    if (m->savepoints_count > 0 && (m->status == 'E' || sim_chance(50)))
        kind = SIM_ROLLBACK_TO;
    else if (m->status == 'T' && m->savepoints_count < SIM_SAVEPOINTS)
        kind = SIM_SAVEPOINT;
    if (kind == SIM_READ || sim_chance(50))
        simple(m, kind);
    else
        extended_control(m, kind);
}

static bool wild_unit(struct sim_model *m)
{
    if (!m->c->wild || sim_chance(50))
        return false;
    if (sim_chance(75))
        sim_soup(m);
    else
        sim_string(m);
    return true;
}

static void idle_unit(struct sim_model *m)
{
    const uint32_t what = sim_below(100);
    struct sim_client *c = m->c;
    if (sim.alters && !c->refusable && sim_chance(20)) {
        sim_table_unit(m);
        return;
    }
    if (wild_unit(m))
        return;
    if (what < 20)
        simple(m, some_kind(m) == SIM_WRITE ? SIM_WRITE : sim_chance(50) ? SIM_READ : SIM_ROWS);
    else if (what < 28)
        simple(m, SIM_WRITE);
    else if (what < 31)
        simple(m, SIM_FUNCTION);
    else if (what < 34)
        simple(m, sim.small_keep || c->wild ? SIM_READ : SIM_LIAR);
    else if (what < 37)
        simple(m, SIM_ERROR);
    else if (what < 39)
        simple(m, SIM_EMPTY);
    else if (what < 42)
        simple(m, SIM_COPY_OUT);
    else if (what < 45)
        copy_in(m);
    else if (what < 52)
        extended(m);
    else if (what < 54 && !c->refusable)
        sim_string(m);
    else if (what < 55)
        sim_call(m);
    else if (what < 60 && !c->refusable)
        sim_soup(m);
    else if (what < 66)
        simple(m, sim_chance(60) ? SIM_BEGIN : SIM_BEGIN_READ_ONLY);
    else if (what < 68 && !c->refusable)
        extended_control(m, sim_chance(60) ? SIM_BEGIN : SIM_BEGIN_READ_ONLY);
    else if (what < 71 && !c->refusable)
        begin_and_more(m);
    else if (what < 72)
        simple(m, SIM_SHOW_APPLICATION);
    else if (what < 73)
        last_route(m);
    else if (what < 74)
        signals(m);
    else if (c->refusable)
        simple(m, SIM_READ);
    else if (what < 86)
        named(m);
    else if (what < 90)
        unnamed_kept(m);
    else if (what < 92)
        flushed(m);
    else if (what < 94)
        lock(m);
    else if (what < 95)
        execute_by_name(m);
    else if (what < 99)
        setting(m, false);
    else
        simple(m, SIM_DISCARD);
}

static void block_unit(struct sim_model *m)
{
    const uint32_t what = sim_below(100);
    if (wild_unit(m))
        return;
    if (what < 5 && !m->c->refusable) /* it would ask a server, and could be refused */
        extended_control(m, sim_chance(70) ? SIM_COMMIT : SIM_ROLLBACK);
    else if (what < 25)
        simple(m, sim_chance(70) ? SIM_COMMIT : SIM_ROLLBACK);
    else if (what < 32 && !m->c->refusable) /* a failed one could be gone on with */
        savepoint(m);
    else if (m->status == 'E')
        simple(m, SIM_READ);
    else if (what < 34 && !m->read_only)
        signals(m);
    else if (what < 39 && !m->c->refusable)
        setting(m, true);
    else if (what < 41 && !m->c->refusable)
        lock(m);
    else if (what < 43 && !m->c->refusable)
        execute_by_name(m);
    else if (what < 50)
        simple(m, sim_chance(50) ? SIM_READ : SIM_WRITE);
    else if (what < 55)
        copy_in(m);
    else if (what < 60)
        simple(m, SIM_ERROR);
    else if (what < 65)
        simple(m, SIM_ROWS);
    else if (what < 75 || m->c->refusable)
        extended(m);
    else if (what < 76)
        sim_call(m);
    else if (what < 78)
        sim_string(m);
    else if (what < 86)
        sim_soup(m);
    else if (what < 92)
        named(m);
    else if (what < 94)
        flushed(m);
    else if (what < 97)
        flushed_in_block(m);
    else
        unnamed_kept(m);
}

void sim_script_make(struct sim_client *c, int units)
{
    struct sim_model m = {.c = c, .status = 'I'};
    (void)snprintf(m.now.application, sizeof(m.now.application), "%s", c->application);
    m.committed = m.now;
    while (c->units_count < units && c->numbers < SIM_STATEMENTS_MAX - 10) {
        const bool in_block = m.status != 'I';
        if (in_block) {
            block_unit(&m);
        } else {
            m.block_begin = c->units_count;
            idle_unit(&m);
        }
        if (in_block && m.status == 'I')
            sim_model_block_ends(&m);
    }
    if (m.status != 'I') {
        simple(&m, SIM_COMMIT);
        sim_model_block_ends(&m);
    }
    while (m.locks > 0 && c->numbers < SIM_STATEMENTS_MAX - 1) /* others want the connection */
        simple(&m, SIM_UNLOCK);
}
