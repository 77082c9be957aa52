/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_client: sends its script and compares every byte that it gets with what must come.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

void sim_client_start(struct sim_client *c, int index)
{
    memset(c, 0, sizeof(*c));
    c->index = index;
    c->open = true;
    c->eventual = sim_chance(15);
    c->refusable = (sim.refuse || sim.cancels) && sim_chance(50);
    c->wild = !c->refusable && sim_chance(30);
    c->window = 1 + (sim_chance(40) ? (int)sim_below(5) : 0);
    if (sim_chance(30))
        (void)snprintf(c->application, sizeof(c->application), "app%d", index % 3);
    uint8_t packet[256];
    int n = snprintf((char *)packet + 8, sizeof(packet) - 8, "user%cu%cdatabase%cd%c", 0, 0, 0, 0);
    if (c->application[0] != '\0')
        n += snprintf((char *)packet + 8 + n, sizeof(packet) - 8 - (size_t)n,
                      "application_name%c%s%c", 0, c->application, 0);
    if (c->eventual)
        n += snprintf((char *)packet + 8 + n, sizeof(packet) - 8 - (size_t)n,
                      "options%c-c switchgear.consistency=eventual%c", 0, 0);
    packet[8 + n] = 0;
    proto_store_u32(packet, (uint32_t)n + 9);
    proto_store_u32(packet + 4, 196608);
    sim_queue_add(&c->to_core, packet, (size_t)n + 9);
    sim_script_make(c, 5 + (int)sim_below(35));
}

void sim_client_send(struct sim_client *c)
{
    if (!c->open || c->goodbye || c->units_sent == c->units_count)
        return;
    struct sim_unit *unit = &c->units[c->units_sent];
    const int limit = unit->wait_before || !c->logged_in ? 1 : c->window;
    if (c->units_sent - c->units_done >= limit || (!c->logged_in && c->units_sent > 0))
        return;
    if (!c->logged_in && !sim_chance(10))
        return; /* few do not wait for their welcome */
    sim_queue_add(&c->to_core, c->script.base + c->script_pos, unit->sent_end - c->script_pos);
    c->script_pos = unit->sent_end;
    unit->version = sim_table_oldest();
    c->units_sent++;
}

static void unit_done(struct sim_client *c)
{
    const int unit = c->units_done++;
    c->has_rows = false;
    for (int i = 0; i < c->numbers; i++) {
        const struct sim_write *w = &c->writes[i];
        if (w->made && w->commit_unit == unit && !w->refused && !w->any && w->commits != 1)
            sim_fail("client %d was told that write s%d is done, and it is not", c->index, i);
    }
}

static void advance(struct sim_client *c, size_t size)
{
    c->expected_pos += size;
    while (c->units_done < c->units_sent && c->expected_pos >= c->units[c->units_done].expected_end)
        unit_done(c);
}

static struct proto_span body_of(struct proto_span message)
{
    return (struct proto_span){message.base + PROTO_HEADER_SIZE, message.size - PROTO_HEADER_SIZE};
}

static bool is_state(struct proto_span sqlstate, const char *text)
{
    return memcmp(sqlstate.base, text, 5) == 0;
}

static bool is_cancel(const struct proto_error *e)
{
    return is_state(e->sqlstate, "57014") &&
           (strcmp((const char *)e->message.base, "sim cancels") == 0 ||
            strncmp((const char *)e->message.base, "canceling statement", 19) == 0);
}

static bool is_within(const struct sim_client *c, int unit, int last)
{
    return unit >= c->units_done && unit <= last;
}

static void set_adrift(struct sim_client *c, int last)
{
    for (int i = 0; i < c->numbers; i++)
        c->writes[i].any = c->writes[i].any || is_within(c, c->writes[i].statement_unit, last);
    c->adrift_until = last;
}

/* A message while it is. */
static void adrift(struct sim_client *c, struct proto_span got)
{
    struct proto_error e;
    if (got.base[0] == 'E' && proto_error_read(body_of(got), &e) == PROTO_OK && is_cancel(&e))
        c->cancels_seen++;
    if (got.base[0] != 'Z')
        return;
    c->adrift_until = c->units_done == c->adrift_until ? 0 : c->adrift_until;
    c->expected_pos = c->units[c->units_done++].expected_end;
    c->has_rows = false;
}

/* The proxy would not run it, or its client has cancelled what `runs`: only possible where the
 * simulation refused it. */
static void refused(struct sim_client *c, bool runs)
{
    const struct sim_unit *unit = &c->units[c->units_done];
    const int last = unit->block_end > 0 ? unit->block_end : c->units_done;
    if (runs && !unit->refusable && unit->block_end == 0 && unit[1].block_end > 0) {
        set_adrift(c, unit[1].block_end);
        return;
    }
    /* of one that was cut, what comes first may have been answered */
    const bool whole = c->units_done >= c->cut_until;
    if ((!unit->refusable && unit->block_end == 0) || (c->has_rows && !runs && whole))
        sim_fail("client %d: unit %d cannot have been refused", c->index, c->units_done);
    for (int i = 0; i < c->numbers; i++)
        if (is_within(c, c->writes[i].statement_unit, last) ||
            is_within(c, c->writes[i].commit_unit, last))
            c->writes[i].refused = true;
    c->expected_pos = unit->expected_end - 6; /* its ReadyForQuery */
    c->failed_until = unit->block_end;
}

/* In a block that was refused: nothing but its end is accepted. */
static void in_failed_block(struct sim_client *c, struct proto_span got)
{
    const bool last = c->units_done == c->failed_until;
    const uint8_t type = got.base[0];
    struct proto_error e;
    if (type == 'Z' && got.base[5] == (last ? 'I' : 'E')) {
        c->expected_pos = c->units[c->units_done].expected_end;
        c->failed_until = last ? 0 : c->failed_until;
        c->has_rows = false;
        c->units_done++;
    } else if (type == 'E' && proto_error_read(body_of(got), &e) == PROTO_OK) {
        if (memcmp(e.sqlstate.base, "25P02", 5) != 0)
            sim_fail("client %d: %s in a failed block", c->index, e.sqlstate.base);
    } else if (!last || strchr("12ntC", type) == NULL ||
               (type == 'C' && strcmp((const char *)got.base + 5, "ROLLBACK") != 0)) {
        sim_fail("client %d, unit %d: got a %c in a failed block", c->index, c->units_done, type);
    }
}

static bool is_fatal(struct proto_span message)
{
    struct proto_error e;
    return message.base[0] == 'E' && proto_error_read(body_of(message), &e) == PROTO_OK &&
           e.severity.size == 5 && memcmp(e.severity.base, "FATAL", 5) == 0;
}

/* A read was run again, and a table has changed meanwhile. */
static bool is_told_otherwise(const struct proto_error *e)
{
    return sim.version > 0 && is_state(e->sqlstate, "0A000");
}

/* True: it is dealt with; false: it is the one that was expected. */
static bool on_error(struct sim_client *c, struct proto_span got, struct proto_span want)
{
    struct proto_error g;
    struct proto_error e;
    if (proto_error_read(body_of(got), &g) != PROTO_OK)
        sim_fail("client %d got a malformed error", c->index);
    if (is_fatal(got)) {
        if (!sim.faults && !sim.refuse && c->cancels_asked == 0 && !is_told_otherwise(&g))
            sim_fail("client %d got a FATAL without any fault: %s %s", c->index, g.sqlstate.base,
                     g.message.base);
        c->lost = true;
        return true;
    }
    if (strcmp((const char *)g.message.base, "sim refuses") == 0) {
        refused(c, false);
        return true;
    }
    if (is_cancel(&g)) {
        if (c->cancels_seen++ >= c->cancels_asked)
            sim_fail("client %d was cancelled and has not asked for it", c->index);
        refused(c, true);
        return true;
    }
    if (is_state(g.sqlstate, "0A000") &&
        strcmp((const char *)g.message.base, "cached plan must not change result type") == 0) {
        if (!sim_table_refuses(c))
            sim_fail("client %d, unit %d: nothing has changed for it", c->index, c->units_done);
        refused(c, true);
        return true;
    }
    if (want.size == 0 || want.base[0] != 'E')
        sim_fail("client %d, unit %d: got an error instead of a %c: %s %s", c->index, c->units_done,
                 want.size > 0 ? want.base[0] : '-', g.sqlstate.base, g.message.base);
    (void)proto_error_read(body_of(want), &e);
    if (memcmp(g.sqlstate.base, e.sqlstate.base, 5) != 0 ||
        (e.message.size > 0 &&
         strcmp((const char *)e.message.base, (const char *)g.message.base) != 0))
        sim_fail("client %d, unit %d: expected %s %s, got %s %s", c->index, c->units_done,
                 e.sqlstate.base, e.message.base, g.sqlstate.base, g.message.base);
    return false;
}

static void note_row(struct sim_client *c, struct proto_span message)
{
    int client;
    int number;
    if (c->eventual || message.size < 11 ||
        !sim_tag_read((struct proto_span){message.base + 11, message.size - 11}, &client, &number))
        return;
    if (client != c->index || number >= c->numbers)
        sim_fail("client %d got a row of client %d", c->index, client);
    if (c->read_ns[number] > c->seen_ns)
        c->seen_ns = c->read_ns[number];
}

static void note_parameter(struct sim_client *c, struct proto_span got)
{
    struct proto_parameter p;
    if (sim.broken == SIM_BREAK_TOLD && sim_chance(5))
        return;
    if (proto_parameter_read(body_of(got), &p) == PROTO_OK && p.name.size == 16 &&
        memcmp(p.name.base, "application_name", 16) == 0)
        (void)snprintf(c->told, sizeof(c->told), "%.*s", (int)p.value.size,
                       (const char *)p.value.base);
}

/* Whoever is ready has been told what its settings are. (A RESET to what it has brought along is
 * mended by another message, and a server may die within.) */
static void check_told(const struct sim_client *c)
{
    for (int i = 0; i < c->readies_count; i++) {
        const char *application = c->readies[i].application;
        if (c->readies[i].position != c->expected_pos || strcmp(application, c->told) == 0 ||
            (sim.faults && strcmp(application, c->application) == 0))
            continue;
        sim_fail("client %d, unit %d: was told that its application_name is '%s', it is '%s'",
                 c->index, c->units_done, c->told, application);
    }
}

static void on_message(struct sim_client *c, struct proto_span got)
{
    const uint8_t type = got.base[0];
    if (type == 'S')
        note_parameter(c, got);
    if (type == 'N' || type == 'S')
        return;
    if (!c->logged_in && type != 'E') {
        c->logged_in = type == 'Z';
        return;
    }
    if (c->adrift_until > 0 && !is_fatal(got)) {
        adrift(c, got);
        return;
    }
    if (c->failed_until > 0 && !is_fatal(got)) {
        in_failed_block(c, got);
        return;
    }
    struct proto_span want = {.base = c->expected.base + c->expected_pos,
                              .size = c->expected.size - c->expected_pos};
    if (c->units_done < c->units_sent)
        want.size = c->units[c->units_sent - 1].expected_end - c->expected_pos;
    else
        want.size = 0;
    if (want.size > 0)
        want.size = 1 + proto_load_u32(want.base + 1);
    if (type == 'E') {
        if (!on_error(c, got, want))
            advance(c, want.size);
        return;
    }
    if (want.size == 0)
        sim_fail("client %d got a %c that nobody asked for", c->index, type);
    const bool any = want.base[0] == '*' && want.base[5] == type;
    if (!any && (got.size != want.size || memcmp(got.base, want.base, got.size) != 0))
        sim_fail("client %d, unit %d of %d: got a %c of %zu bytes (%.20s), expected a %c of %zu "
                 "(%.20s)",
                 c->index, c->units_done, c->units_count, type, got.size,
                 got.size > 11 ? (const char *)got.base + 11 : (const char *)got.base + 5,
                 want.base[0], want.size,
                 want.size > 11 ? (const char *)want.base + 11 : (const char *)want.base + 5);
    if (type == 'Z')
        check_told(c);
    if (type == 'D')
        note_row(c, got);
    if (any && want.size == 8)
        sim_table_got(c, got, want);
    c->has_rows = c->has_rows || type == 'D' || type == 'C';
    advance(c, want.size);
}

void sim_client_check(struct sim_client *c)
{
    struct proto_header h = {0};
    for (;;) {
        const struct proto_span in = sim_queue_span(&c->received);
        const enum proto_status status = proto_header_peek(in, PROTO_BODY_SIZE_MAX, &h);
        if (status == PROTO_MORE ||
            (status == PROTO_OK && in.size < PROTO_HEADER_SIZE + (size_t)h.body_size))
            break;
        if (status != PROTO_OK)
            sim_fail("client %d got bytes that are no protocol", c->index);
        if (c->lost)
            sim_fail("client %d got a %c after a FATAL", c->index, h.type);
        on_message(c, (struct proto_span){in.base, PROTO_HEADER_SIZE + (size_t)h.body_size});
        sim_queue_drop(&c->received, PROTO_HEADER_SIZE + (size_t)h.body_size);
    }
    c->finished = c->logged_in && c->units_done == c->units_count;
}

void sim_client_audit(const struct sim_client *c)
{
    for (int i = 0; i < c->numbers; i++) {
        const struct sim_write *w = &c->writes[i];
        if (w->any)
            continue;
        if (w->made && w->commit_unit >= c->units_sent && w->commits > 0)
            sim_fail("write c%d.s%d was committed, and its client has not said so", c->index, i);
        if (c->goodbye && !sim.faults && !sim.refuse && c->cancels_asked == 0 && w->made &&
            !w->shaky && w->commit_unit >= 0 && w->commit_unit < c->units_sent && w->commits == 0)
            sim_fail("write c%d.s%d came before a goodbye and was not executed", c->index, i);
        if (w->made && (w->commit_unit < 0 || w->refused) && w->commits > 0)
            sim_fail("write c%d.s%d was executed, and the client was told that it failed", c->index,
                     i);
    }
}

void sim_client_free(struct sim_client *c)
{
    free(c->script.base);
    free(c->expected.base);
    free(c->to_core.base);
    free(c->to_client.base);
    free(c->received.base);
}
