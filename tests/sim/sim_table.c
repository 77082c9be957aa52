/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_table: a table that changes, on the primary first and on a replica when it has come that far.
 * A statement that reads it is planned for the shape that the table has; when that changes, a
 * server refuses the plan. Its rows say of which shape they are: a client must have been told that
 * one last, of the name that it runs, or get the error.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim_model.h"

enum {
    SHAPES = 3, /* it may become again what it was */
    NOTHING = SHAPES,
    OF_STATEMENT = 0,
    OF_PORTAL = 1, /* a description */
};

/* ---- servers ---- */

void sim_table_alter(void)
{
    if (!sim.alters || sim.quiet || sim.version == SIM_VERSIONS || sim_below(400) > 0)
        return;
    sim.altered_ns[sim.version++] = sim.now_ns;
}

static uint32_t version_at(uint32_t node)
{
    uint32_t version = sim.version;
    while (node > 0 && version > 0 && sim.altered_ns[version - 1] > sim.nodes[node].position_ns)
        version--;
    return version;
}

uint8_t sim_table_shape(uint32_t node)
{
    return (uint8_t)(version_at(node) % SHAPES);
}

void sim_table_describe(struct sim_queue *q, uint8_t shape, bool parameters)
{
    uint8_t buf[128];
    char name[8];
    const char *const columns[] = {name};
    const uint8_t parameter[] = {'t', 0, 0, 0, 10, 0, 1, 0, 0, 0, (uint8_t)(25 + shape)};
    struct proto_writer w = proto_writer_make(buf, sizeof(buf));
    (void)snprintf(name, sizeof(name), "tag%u", shape);
    if (parameters)
        proto_write_raw(&w, (struct proto_span){parameter, sizeof(parameter)});
    proto_write_row_description(&w, columns, 1);
    sim_queue_add(q, buf, w.size);
}

/* ---- what a client gets ---- */

uint32_t sim_table_oldest(void)
{
    uint32_t version = sim.version;
    for (uint32_t i = 1; i < SIM_NODES; i++)
        version = version_at(i) < version ? version_at(i) : version;
    return version;
}

void sim_table_got(struct sim_client *c, struct proto_span got, struct proto_span want)
{
    char value[SIM_VALUE_SIZE];
    struct sim_table *t = &c->tables[want.base[6]];
    if (got.base[0] == '1') {
        t->told = t->prepared = NOTHING; /* the table may change in front of the Describe */
        return;
    }
    if (got.base[0] == 'T') {
        t->told = (uint8_t)(got.base[PROTO_HEADER_SIZE + 2 + 3] - '0');
        if (want.base[7] == OF_PORTAL)
            return; /* that says nothing of parameters */
        t->prepared = t->told;
        t->since = c->units[c->units_done].version;
        return;
    }
    const uint8_t shown = (uint8_t)(got.base[got.size - 1] - '0');
    (void)snprintf(value, sizeof(value), "c%d.s%d v%u", c->index, want.base[7],
                   t->told == NOTHING ? shown : t->told);
    if (got.size != 11 + strlen(value) || memcmp(got.base + 11, value, strlen(value)) != 0)
        sim_fail("client %d, unit %d: expected the row %s, got %.*s", c->index, c->units_done,
                 value, (int)got.size - 11, (const char *)got.base + 11);
}

bool sim_table_refuses(const struct sim_client *c)
{
    const uint8_t tables = c->units[c->units_done].tables;
    /* who is told what it gets may meet a plan that is older than what it has prepared */
    if ((tables & 1 << SIM_TABLES) != 0 && sim.version > 0)
        return true;
    for (int i = 0; i < SIM_TABLES; i++)
        if ((tables & 1 << i) != 0 && (c->tables[i].since != sim.version ||
                                       c->tables[i].prepared != (uint8_t)(sim.version % SHAPES)))
            return true;
    return false;
}

/* ---- scripts ---- */

/* A message of this type that sim_table_got() looks at. */
static void expect(struct sim_model *m, char type, int table, int number)
{
    const uint8_t message[] = {'*', 0, 0, 0, 7, (uint8_t)type, (uint8_t)table, (uint8_t)number};
    sim_queue_add(&m->c->expected, message, sizeof(message));
}

static void prepare(struct sim_model *m, int table)
{
    char text[128];
    struct sim_client *c = m->c;
    const int name = SIM_NAMED_TABLE + table;
    const size_t size = sim_sql_write(SIM_TABLE, c->index, 0, 0, text, sizeof(text));
    if (m->names[name].exists || sim_chance(20)) {
        sim_send_target(c, 'C', 'S', sim_names[name]);
        sim_reply_plain(&c->expected, '3');
    }
    sim_send_parse(c, sim_names[name], text, size);
    expect(m, '1', table, 0);
    sim_send_target(c, 'D', 'S', sim_names[name]);
    sim_model_wildcard(c, 't');
    expect(m, 'T', table, OF_STATEMENT);
    m->names[name] = (struct sim_model_name){.exists = true, .used = true, .kind = SIM_TABLE};
}

/* Returns a bit for sim_unit.tables. */
static uint8_t run(struct sim_model *m, int table)
{
    char value[SIM_VALUE_SIZE];
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    const size_t pad = sim_chance(5) ? SIM_STATEMENT_MAX + sim_below(3000) : 0;
    (void)snprintf(value, sizeof(value), "c%d.s%d", c->index, number);
    sim_send_bind(c, "", sim_names[SIM_NAMED_TABLE + table], value, pad);
    sim_reply_plain(&c->expected, '2');
    const bool described = sim_chance(30);
    if (described) {
        sim_send_target(c, 'D', 'P', "");
        expect(m, 'T', table, OF_PORTAL);
    }
    sim_send_execute(c, "", 0);
    expect(m, 'D', table, number);
    sim_reply_tag(&c->expected, "SELECT 1");
    c->settings[number] = m->now;
    return (uint8_t)(1 << (described ? SIM_TABLES : table));
}

/* It is taken back when what comes behind it in its batch is refused. */
static void write_before(struct sim_model *m)
{
    char text[128];
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    const size_t size = sim_sql_write(SIM_WRITE, c->index, number, 0, text, sizeof(text));
    sim_send_parse(c, "", text, size);
    sim_reply_plain(&c->expected, '1');
    sim_send_bind(c, "", "", NULL, 0);
    sim_reply_plain(&c->expected, '2');
    sim_send_execute(c, "", 0);
    m->names[SIM_UNNAMED] =
        (struct sim_model_name){.exists = true, .used = true, .kind = SIM_WRITE, .number = number};
    sim_model_result(m, SIM_WRITE, number, false);
    c->writes[number].shaky = true;
}

/* All of it fails, or nothing. */
static void batch(struct sim_model *m)
{
    struct sim_client *c = m->c;
    uint8_t tables = 0;
    if (sim_chance(20) && !m->read_only)
        write_before(m);
    for (uint32_t i = 1 + sim_below(3); i > 0; i--) {
        const int table = (int)sim_below(SIM_TABLES);
        const int name = SIM_NAMED_TABLE + table;
        if (m->status == 'I' && tables == 0 && (!m->names[name].exists || sim_chance(15)))
            prepare(m, table); /* not behind what may be refused */
        if (!m->names[name].exists)
            continue;
        tables |= run(m, table);
        if (sim_chance(10))
            sim_send_message(c, 'H', "", 0);
    }
    sim_send_message(c, 'S', "", 0);
    sim_model_synced(m);
    sim_model_unit_ends(m, false, true);
    c->units[c->units_count - 1].tables = tables;
    c->units[c->units_count - 1].refusable = m->status == 'I';
}

static void query(struct sim_model *m, enum sim_kind kind)
{
    char text[128];
    struct sim_client *c = m->c;
    const int number = c->numbers++;
    const size_t size = sim_sql_write(kind, c->index, number, 0, text, sizeof(text));
    sim_send_query(c, text, size);
    sim_model_query(m);
    sim_model_result(m, kind, number, true);
    c->writes[number].shaky = true;
    sim_model_synced(m);
    sim_model_unit_ends(m, false, false);
}

static void block(struct sim_model *m)
{
    struct sim_client *c = m->c;
    const int first = c->units_count;
    query(m, sim_chance(70) ? SIM_BEGIN : SIM_BEGIN_READ_ONLY);
    for (uint32_t i = 1 + sim_below(4); i > 0; i--) {
        if (sim_chance(60))
            batch(m);
        else
            query(m, sim_chance(50) && !m->read_only ? SIM_WRITE : SIM_READ);
    }
    query(m, SIM_COMMIT);
    for (int i = first + 1; i < c->units_count; i++)
        c->units[i].block_end = c->units_count - 1;
}

void sim_table_unit(struct sim_model *m)
{
    m->read_only = false;
    if (sim_chance(30) && m->c->numbers < SIM_STATEMENTS_MAX - 40)
        block(m);
    else if (m->c->numbers < SIM_STATEMENTS_MAX - 20)
        batch(m);
}
