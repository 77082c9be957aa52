/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_soup: messages of the extended protocol in any order, as no driver sends them and as
 * PostgreSQL takes them; and Queries of many statements.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim_model.h"

enum { MESSAGES_MAX = 14, STRING_MAX = 5 };

static const enum sim_kind kinds[] = {SIM_READ,
                                      SIM_READ,
                                      SIM_ROWS,
                                      SIM_ROWS,
                                      SIM_PREAD,
                                      SIM_PREAD,
                                      SIM_WRITE,
                                      SIM_WRITE,
                                      SIM_PWRITE,
                                      SIM_PWRITE,
                                      SIM_FUNCTION,
                                      SIM_ERROR,
                                      SIM_BEGIN,
                                      SIM_BEGIN,
                                      SIM_COMMIT,
                                      SIM_ROLLBACK,
                                      SIM_SAVEPOINT,
                                      SIM_ROLLBACK_TO,
                                      SIM_SET,
                                      SIM_SET,
                                      SIM_SET_PATH,
                                      SIM_SHOW,
                                      SIM_SHOW,
                                      SIM_RESET,
                                      SIM_SET_LOCAL,
                                      SIM_SET_APPLICATION,
                                      SIM_SHOW_APPLICATION,
                                      SIM_COPY_OUT};

/* What comes behind the end of a READ ONLY block, in the same batch, stays on its replica, and is
 * refused there when it writes; likewise where a block that may move has failed. */
static bool ends_on_replica(const struct sim_model *m, enum sim_kind kind)
{
    const bool on_replica = m->read_only || (m->status == 'E' && sim.database.until_write);
    return m->status != 'I' && on_replica && (kind == SIM_COMMIT || kind == SIM_ROLLBACK);
}

/* What the proxy does not follow as a server would is left out: a RESET of what was brought along
 * among other statements. */
static enum sim_kind some_kind(const struct sim_model *m)
{
    const enum sim_kind kind = kinds[sim_below(sizeof(kinds) / sizeof(kinds[0]))];
    if (kind == SIM_SAVEPOINT && m->savepoints_count + 4 > SIM_SAVEPOINTS)
        return SIM_READ;
    return ends_on_replica(m, kind) ? SIM_READ : kind;
}

/* ---- one message ---- */

static void parse(struct sim_model *m, int name, enum sim_kind kind)
{
    char text[256];
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    const size_t size = sim_sql_write(kind, c->index, number, 0, text, sizeof(text));
    sim_send_parse(c, sim_names[name], text, size);
    struct sim_model_name *n = &m->names[name];
    if (m->failed)
        return;
    if (name == SIM_UNNAMED)
        n->exists = false;
    if (m->status == 'E' && !sim_model_ends_failure(kind)) {
        sim_model_fails(m, "25P02", "");
    } else if (n->exists) {
        sim_model_fails(m, "42P05", "");
    } else {
        *n = (struct sim_model_name){.exists = true, .kind = kind, .number = number};
        sim_reply_plain(&c->expected, '1');
    }
}

/* True: what it would run was run before, and has its number. */
static bool used_up(const struct sim_model_name *n)
{
    return n->exists && n->used && !sim_takes_parameter(n->kind);
}

static void bind(struct sim_model *m, int portal, int name)
{
    char value[SIM_VALUE_SIZE];
    struct sim_client *c = m->c;
    struct sim_model_name *n = &m->names[name];
    const bool parameter = n->exists && sim_takes_parameter(n->kind);
    const int number = parameter ? c->numbers++ : n->number;
    (void)snprintf(value, sizeof(value), "c%d.s%d", c->index, number);
    sim_send_bind(c, sim_portals[portal], sim_names[name], parameter ? value : NULL, 0);
    n->used = true;
    if (m->failed)
        return;
    if (!n->exists) {
        sim_model_fails(m, "26000", "");
    } else if (m->status == 'E' && !sim_model_ends_failure(n->kind)) {
        sim_model_fails(m, "25P02", "");
    } else if (portal > 0 && m->portals[portal].exists) {
        sim_model_fails(m, "42P03", "");
    } else {
        m->portals[portal] =
            (struct sim_model_portal){.exists = true, .kind = n->kind, .number = number};
        sim_reply_plain(&c->expected, '2');
    }
}

static void described(struct sim_model *m, enum sim_kind kind, bool statement)
{
    struct sim_client *c = m->c;
    if (m->status == 'E' && sim_has_rows(kind)) {
        sim_model_fails(m, "25P02", "");
        return;
    }
    if (statement)
        sim_reply_parameters(&c->expected, sim_takes_parameter(kind));
    if (sim_has_rows(kind))
        sim_reply_columns(&c->expected);
    else
        sim_reply_plain(&c->expected, 'n');
}

static void describe(struct sim_model *m, bool statement, int which)
{
    if (statement && m->status == 'E')
        return; /* the server may lack it, and cannot be told it in a failed block */
    sim_send_target(m->c, 'D', statement ? 'S' : 'P',
                    statement ? sim_names[which] : sim_portals[which]);
    if (m->failed)
        return;
    if (statement ? !m->names[which].exists : !m->portals[which].exists)
        sim_model_fails(m, statement ? "26000" : "34000", "");
    else
        described(m, statement ? m->names[which].kind : m->portals[which].kind, statement);
}

static void execute(struct sim_model *m, int portal, uint32_t rows)
{
    struct sim_client *c = m->c;
    struct sim_model_portal *p = &m->portals[portal];
    sim_send_execute(c, sim_portals[portal], rows);
    if (m->failed)
        return;
    if (!p->exists) {
        sim_model_fails(m, "34000", "");
        return;
    }
    m->portal = p;
    m->rows = rows;
    if (p->started && m->status == 'E' && !sim_model_ends_failure(p->kind)) {
        sim_model_fails(m, "25P02", "");
    } else if (!p->started) {
        p->started = true;
        sim_model_result(m, p->kind, p->number, false);
    } else if (!sim_has_rows(p->kind)) {
        sim_model_fails(m, "55000", "");
    } else {
        char value[SIM_VALUE_SIZE];
        (void)snprintf(value, sizeof(value), "c%d.s%d", c->index, p->number);
        const struct sim_sql sql = {.kind = p->kind, .client = c->index, .number = p->number};
        p->done = sim_reply_part(&c->expected, sql, value, &p->position, rows);
    }
    m->portal = NULL;
}

static void close_target(struct sim_model *m, bool statement, int which)
{
    sim_send_target(m->c, 'C', statement ? 'S' : 'P',
                    statement ? sim_names[which] : sim_portals[which]);
    if (m->failed)
        return;
    if (statement)
        m->names[which].exists = false;
    else
        m->portals[which].exists = false;
    sim_reply_plain(&m->c->expected, '3');
}

/* ---- in any order ---- */

static int some_name(void)
{
    return sim_chance(40) ? SIM_UNNAMED : SIM_ANY + (int)sim_below(SIM_NAMES_ALL - SIM_ANY);
}

/* One whose state is known. */
static int some_portal(const struct sim_model *m)
{
    const int portal = sim_chance(60) ? 0 : (int)sim_below(SIM_PORTALS);
    return m->portals[portal].unsure ? 0 : portal;
}

static uint32_t some_rows(void)
{
    return sim_chance(60) ? 0 : 1 + sim_below(6);
}

/* May what a portal has left be gone? Its block moves, or the replica is lost and the block goes on
 * on another: then the client is told so (40001), and not what the portal would have said. */
static bool may_be_left(const struct sim_model *m, const struct sim_model_portal *p)
{
    return p->started && (sim.database.until_write || (m->status == 'T' && m->read_only));
}

/* A SHOW by a portal tells what it was when it began: one that goes on is not known here. */
static bool may_execute(const struct sim_model *m, int portal)
{
    const struct sim_model_portal *p = &m->portals[portal];
    /* the unnamed one may be that of a BEGIN of the proxy's; and what asks for one that is not
     * there keeps a read in front of it from being sent again */
    if (p->unsure || (!p->exists && (portal == 0 || !m->c->wild)))
        return false;
    if (may_be_left(m, p))
        return false;
    return !p->started || (p->kind != SIM_SHOW && p->kind != SIM_SHOW_APPLICATION);
}

static void statement(struct sim_model *m)
{
    const int name = some_name();
    const int portal = some_portal(m);
    parse(m, name, some_kind(m));
    if (used_up(&m->names[name]))
        return;
    if (sim_chance(20))
        describe(m, true, name);
    bind(m, portal, name);
    if (sim_chance(30) && (portal > 0 || m->portals[0].exists))
        describe(m, false, portal);
    if (may_execute(m, portal))
        execute(m, portal, some_rows());
}

static void some_message(struct sim_model *m)
{
    const uint32_t what = sim_below(100);
    const int name = some_name();
    const int portal = some_portal(m);
    if (what < 55) {
        statement(m);
    } else if (what < 60) {
        parse(m, name, some_kind(m));
    } else if (what < 72) {
        if (!used_up(&m->names[name]))
            bind(m, portal, name);
    } else if (what < 86) {
        if (may_execute(m, portal))
            execute(m, portal, some_rows());
    } else if (what < 90) {
        describe(m, true, name);
    } else if (what < 93) {
        if ((portal > 0 || m->portals[0].exists) && !may_be_left(m, &m->portals[portal]))
            describe(m, false, portal);
    } else if (what < 97) {
        close_target(m, sim_chance(50), sim_chance(50) ? 0 : 1);
    } else {
        sim_send_message(m->c, 'H', "", 0);
    }
}

/* A Query where a Sync could be. */
static void query_within(struct sim_model *m)
{
    char text[256];
    struct sim_client *c = m->c;
    const enum sim_kind kind = sim_chance(50) ? SIM_READ : SIM_WRITE;
    const int number = c->numbers++;
    const size_t size = sim_sql_write(kind, c->index, number, 0, text, sizeof(text));
    sim_send_query(c, text, size);
    sim_model_query(m);
    sim_model_result(m, kind, number, true);
    sim_model_synced(m);
}

void sim_soup(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const uint32_t start = (uint32_t)c->expected.size;
    bool flushed = false;
    for (uint32_t i = 1 + sim_below(MESSAGES_MAX); i > 0; i--) {
        if (c->numbers > SIM_STATEMENTS_MAX - 12)
            break;
        some_message(m);
        if (!m->failed && sim_chance(4) && c->expected.size > start) {
            sim_send_message(c, 'H', "", 0);
            sim_model_unit_ends(m, false, false);
            flushed = true;
            break;
        }
    }
    m->wait_next = m->wait_next || flushed;
    if (!m->failed && sim_chance(5)) {
        query_within(m);
    } else {
        sim_send_message(c, 'S', "", 0);
        sim_model_synced(m);
    }
    sim_model_unit_ends(m, false, false);
    m->wait_next = flushed;
}

/* ---- strings ---- */

static const enum sim_kind in_strings[] = {SIM_READ,        SIM_READ,
                                           SIM_ROWS,        SIM_WRITE,
                                           SIM_WRITE,       SIM_FUNCTION,
                                           SIM_ERROR,       SIM_SET,
                                           SIM_SET,         SIM_SET_PATH,
                                           SIM_SHOW,        SIM_SHOW,
                                           SIM_RESET,       SIM_BEGIN,
                                           SIM_BEGIN,       SIM_COMMIT,
                                           SIM_ROLLBACK,    SIM_SAVEPOINT,
                                           SIM_ROLLBACK_TO, SIM_COPY_OUT,
                                           SIM_SET_LOCAL,   SIM_RESET_APPLICATION,
                                           SIM_RESET_ALL,   SIM_SHOW_APPLICATION};

void sim_string(struct sim_model *m)
{
    static char text[4096];
    struct sim_client *c = m->c;
    const uint32_t count = 2 + sim_below(STRING_MAX - 1);
    enum sim_kind kind[STRING_MAX];
    int number[STRING_MAX];
    size_t size = 0;
    bool resets = false;
    for (uint32_t i = 0; i < count; i++) {
        kind[i] = in_strings[sim_below(sizeof(in_strings) / sizeof(in_strings[0]))];
        if (kind[i] == SIM_RESET_APPLICATION || kind[i] == SIM_RESET_ALL) {
            if (resets) /* a second one is not followed */
                kind[i] = SIM_READ;
            resets = true;
        }
        if (ends_on_replica(m, kind[i]))
            kind[i] = SIM_READ;
        if (kind[i] == SIM_SAVEPOINT && m->savepoints_count + STRING_MAX > SIM_SAVEPOINTS)
            kind[i] = SIM_READ;
        number[i] = c->numbers++;
        if (i > 0)
            size += (size_t)snprintf(text + size, sizeof(text) - size, "; ");
        size += sim_sql_write(kind[i], c->index, number[i], 0, text + size, sizeof(text) - size);
    }
    sim_send_query(c, text, size);
    sim_model_query(m);
    for (uint32_t i = 0; i < count && !m->failed; i++)
        sim_model_result(m, kind[i], number[i], true);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

void sim_call(struct sim_model *m)
{
    static const uint8_t head[] = {0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0};
    uint8_t body[64];
    struct sim_client *c = m->c;
    const uint8_t before = m->status;
    const int number = c->numbers++;
    memcpy(body, head, sizeof(head));
    const int n = snprintf((char *)body + sizeof(head), sizeof(body) - sizeof(head) - 2, "c%d.s%d",
                           c->index, number);
    proto_store_u32(body + 8, (uint32_t)n);
    body[sizeof(head) + (size_t)n] = body[sizeof(head) + (size_t)n + 1] = 0;
    sim_send_message(c, 'F', body, sizeof(head) + (size_t)n + 2);
    sim_model_result(m, SIM_CALL, number, true);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, before == 'I' && m->status == 'I');
}
