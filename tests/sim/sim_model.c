/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_model: see the header.
 */
#include "sim_model.h"

#include <stdio.h>
#include <stdlib.h>

const char *const sim_names[SIM_NAMES_ALL] = {"a", "b", "c", "", "begin", "t", "u", "x", "y"};
const char *const sim_portals[SIM_PORTALS] = {"", "p", "q", "r"};

/* ---- messages of the client ---- */

void sim_send_message(struct sim_client *c, char type, const void *body, size_t size)
{
    uint8_t head[PROTO_HEADER_SIZE] = {(uint8_t)type};
    proto_store_u32(head + 1, (uint32_t)(4 + size));
    sim_queue_add(&c->script, head, sizeof(head));
    sim_queue_add(&c->script, body, size);
}

void sim_send_query(struct sim_client *c, const char *text, size_t size)
{
    sim_send_message(c, 'Q', text, size + 1);
}

void sim_send_parse(struct sim_client *c, const char *name, const char *text, size_t size)
{
    static char body[16384];
    const size_t name_size = strlen(name) + 1;
    memcpy(body, name, name_size);
    memcpy(body + name_size, text, size + 1);
    body[name_size + size + 1] = body[name_size + size + 2] = 0;
    sim_send_message(c, 'P', body, name_size + size + 3);
}

void sim_send_bind(struct sim_client *c, const char *portal, const char *name, const char *value,
                   size_t pad)
{
    static uint8_t body[16384];
    struct proto_writer w = proto_writer_make(body, sizeof(body));
    const uint8_t numbers[] = {0, 0, 0, value != NULL ? 1 : 0};
    proto_write_raw(&w, (struct proto_span){(const uint8_t *)portal, strlen(portal) + 1});
    proto_write_raw(&w, (struct proto_span){(const uint8_t *)name, strlen(name) + 1});
    proto_write_raw(&w, (struct proto_span){numbers, sizeof(numbers)});
    if (value != NULL) {
        uint8_t size[4];
        proto_store_u32(size, (uint32_t)(strlen(value) + pad));
        proto_write_raw(&w, (struct proto_span){size, sizeof(size)});
        proto_write_raw(&w, (struct proto_span){(const uint8_t *)value, strlen(value)});
        while (pad-- > 0)
            proto_write_raw(&w, (struct proto_span){(const uint8_t *)" ", 1});
    }
    proto_write_raw(&w, (struct proto_span){numbers, 2});
    sim_send_message(c, 'B', body, w.size);
}

void sim_send_target(struct sim_client *c, char type, char what, const char *name)
{
    char body[16];
    const int n = snprintf(body, sizeof(body), "%c%s", what, name);
    sim_send_message(c, type, body, (size_t)n + 1);
}

void sim_send_execute(struct sim_client *c, const char *portal, uint32_t rows)
{
    uint8_t body[16];
    const size_t size = strlen(portal) + 1;
    memcpy(body, portal, size);
    proto_store_u32(body + size, rows);
    sim_send_message(c, 'E', body, size + 4);
}

/* ---- what comes back ---- */

bool sim_model_writes(enum sim_kind kind)
{
    return kind == SIM_WRITE || kind == SIM_PWRITE || kind == SIM_FUNCTION || kind == SIM_COPY_IN ||
           kind == SIM_CALL;
}

/* A transaction, whatever began it. */
static void ended(struct sim_model *m, bool committed)
{
    if (!committed)
        m->pending_count = 0;
    sim_settings_end(&m->now);
    if (committed)
        m->committed = m->now;
    else
        m->now = m->committed;
    m->savepoints_count = 0;
    memset(m->portals, 0, sizeof(m->portals));
}

void sim_model_fails(struct sim_model *m, const char *sqlstate, const char *message)
{
    sim_reply_error(&m->c->expected, "ERROR", sqlstate, message, "");
    m->failed = true;
    if (m->status == 'T')
        m->status = 'E';
    else if (m->status == 'I')
        ended(m, false);
}

void sim_model_wildcard(struct sim_client *c, char type)
{
    const uint8_t message[] = {'*', 0, 0, 0, 5, (uint8_t)type};
    sim_queue_add(&c->expected, message, sizeof(message));
}

bool sim_model_ends_failure(enum sim_kind kind)
{
    return kind == SIM_COMMIT || kind == SIM_ROLLBACK || kind == SIM_ROLLBACK_TO;
}

bool sim_model_may_run(struct sim_model *m, enum sim_kind kind, const char *value)
{
    if (m->status == 'E' && !sim_model_ends_failure(kind))
        sim_model_fails(m, "25P02", "");
    else if ((kind == SIM_SAVEPOINT || kind == SIM_ROLLBACK_TO) && m->status == 'I')
        sim_model_fails(m, "25P01", "");
    else if (kind == SIM_ROLLBACK_TO && m->savepoints_count == 0)
        sim_model_fails(m, "3B001", "");
    else if (kind == SIM_ERROR)
        sim_model_fails(m, "22012", value);
    else if (sim_model_writes(kind) && m->status == 'T' && m->read_only)
        sim_model_fails(m, "25006", "");
    else
        return true;
    return false;
}

static void durable(struct sim_model *m)
{
    for (int i = 0; i < m->pending_count; i++)
        m->c->writes[m->pending[i]].commit_unit = m->c->units_count;
    m->pending_count = 0;
}

void sim_model_note_write(struct sim_model *m, enum sim_kind kind, int number)
{
    if (!sim_model_writes(kind))
        return;
    m->c->writes[number] =
        (struct sim_write){.made = true, .commit_unit = -1, .statement_unit = m->c->units_count};
    m->pending[m->pending_count++] = number;
}

void sim_model_result(struct sim_model *m, enum sim_kind kind, int number, bool columns)
{
    struct sim_client *c = m->c;
    char value[SIM_VALUE_SIZE];
    (void)snprintf(value, sizeof(value), "c%d.s%d", c->index, number);
    c->settings[number] = m->now;
    if (sim_model_writes(kind))
        c->writes[number] =
            (struct sim_write){.made = true, .commit_unit = -1, .statement_unit = c->units_count};
    if (!sim_model_may_run(m, kind, value))
        return;
    sim_model_note_write(m, kind, number);
    const struct sim_sql sql = {.kind = kind, .client = c->index, .number = number};
    switch ((int)kind) {
    case SIM_BEGIN:
    case SIM_BEGIN_READ_ONLY:
        if (m->status == 'I')
            m->read_only = kind == SIM_BEGIN_READ_ONLY;
        m->status = 'T';
        break;
    case SIM_COMMIT:
        if (m->status == 'E') {
            sim_reply_tag(&c->expected, "ROLLBACK");
            m->status = 'I';
            ended(m, false);
            return;
        }
        durable(m);
        m->status = 'I';
        ended(m, true);
        break;
    case SIM_ROLLBACK:
        m->status = 'I';
        ended(m, false);
        break;
    case SIM_SAVEPOINT:
        m->savepoints[m->savepoints_count++] =
            (struct sim_savepoint){.settings = m->now, .pending_count = (uint32_t)m->pending_count};
        break;
    case SIM_ROLLBACK_TO:
        m->now = m->savepoints[m->savepoints_count - 1].settings;
        m->pending_count = (int)m->savepoints[m->savepoints_count - 1].pending_count;
        m->status = 'T';
        for (int i = 0; i < SIM_PORTALS; i++)
            m->portals[i].unsure = m->portals[i].exists;
        break;
    case SIM_SHOW:
        (void)snprintf(value, sizeof(value), "%s", m->now.work_mem);
        break;
    case SIM_SHOW_APPLICATION:
        (void)snprintf(value, sizeof(value), "%s", m->now.application);
        break;
    case SIM_DISCARD:
        memset(m->names, 0, sizeof(m->names));
        m->locks = 0;
        break;
    case SIM_LOCK:
    case SIM_TRY_LOCK:
    case SIM_UNLOCK:
        m->locks = sim_locks(m->locks, kind, number);
        (void)snprintf(value, sizeof(value), "%u locks", m->locks);
        break;
    default:
        break;
    }
    (void)sim_settings_apply(&m->now, kind, value, c->application);
    if (m->portal == NULL)
        sim_reply_result(&c->expected, sql, value, columns);
    else
        m->portal->done = sim_reply_part(&c->expected, sql, value, &m->portal->position, m->rows);
}

void sim_model_query(struct sim_model *m)
{
    m->names[SIM_UNNAMED].exists = false;
    m->portals[0].exists = false;
}

void sim_model_synced(struct sim_model *m)
{
    m->failed = false;
    if (m->status == 'I') {
        durable(m);
        ended(m, true);
    }
    const struct sim_settings *before =
        m->savepoints_count > 0 ? &m->savepoints[m->savepoints_count - 1].settings : &m->committed;
    struct sim_ready *r = &m->c->readies[m->c->readies_count++];
    assert(m->c->readies_count < 2 * SIM_STATEMENTS_MAX);
    r->position = m->c->expected.size;
    (void)snprintf(r->application, sizeof(r->application), "%s",
                   (m->status == 'E' ? before : &m->now)->application);
    sim_reply_ready(&m->c->expected, m->status);
}

void sim_model_unit_ends(struct sim_model *m, bool wait_before, bool refusable)
{
    struct sim_client *c = m->c;
    c->units[c->units_count++] = (struct sim_unit){.sent_end = (uint32_t)c->script.size,
                                                   .expected_end = (uint32_t)c->expected.size,
                                                   .wait_before = wait_before || m->wait_next,
                                                   .refusable = refusable};
    m->wait_next = false;
}

void sim_model_block_ends(struct sim_model *m)
{
    struct sim_client *c = m->c;
    for (int i = m->block_begin + 1; c->refusable && i < c->units_count; i++)
        c->units[i].block_end = c->units_count - 1;
}

size_t sim_model_padding(enum sim_kind kind)
{
    if ((kind >= SIM_SAVEPOINT && kind <= SIM_EXECUTE) || kind == SIM_LIAR || kind == SIM_EMPTY ||
        kind == SIM_SIGNAL || sim_chance(94))
        return 0; /* what is too long is not looked at: it neither pins nor is it learned */
    return sim_chance(50) ? SIM_STATEMENT_MAX + sim_below(5000) : sim_below(SIM_STATEMENT_MAX);
}
