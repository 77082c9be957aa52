/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_write: messages that the proxy itself writes, to either side.
 *
 * Every message is begin(), fields, end(). A field that does not fit sets `overflow`; end() then
 * takes the message back, and nothing more is ever written.
 */
#include "proto_write.h"

enum { OID_TEXT = 25 };

static void put(struct proto_writer *w, const void *bytes, size_t size)
{
    assert(w->size <= w->capacity);
    if (w->overflow || w->capacity - w->size < size) {
        w->overflow = true;
        return;
    }
    if (size > 0)
        memcpy(w->base + w->size, bytes, size);
    w->size += size;
}

static void put_u8(struct proto_writer *w, uint8_t v)
{
    put(w, &v, 1);
}

static void put_u16(struct proto_writer *w, uint16_t v)
{
    const uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    put(w, bytes, sizeof bytes);
}

static void put_u32(struct proto_writer *w, uint32_t v)
{
    uint8_t bytes[4];
    proto_store_u32(bytes, v);
    put(w, bytes, sizeof bytes);
}

static void put_string(struct proto_writer *w, struct proto_span s)
{
    assert(s.size == 0 || memchr(s.base, 0, s.size) == NULL);
    put(w, s.base, s.size);
    put_u8(w, 0);
}

static void put_text(struct proto_writer *w, const char *text)
{
    put(w, text, strlen(text) + 1);
}

static size_t begin(struct proto_writer *w, uint8_t type)
{
    const size_t start = w->size;
    put_u8(w, type);
    put_u32(w, 0); /* end() writes the length */
    return start;
}

static void end(struct proto_writer *w, size_t start)
{
    if (!w->overflow && w->size - start - 1 > INT32_MAX)
        w->overflow = true; /* no length word can say it */
    if (w->overflow)
        w->size = start;
    else
        proto_store_u32(w->base + start + 1, (uint32_t)(w->size - start - 1));
}

static void write_bare(struct proto_writer *w, uint8_t type)
{
    end(w, begin(w, type));
}

void proto_write_raw(struct proto_writer *w, struct proto_span bytes)
{
    put(w, bytes.base, bytes.size);
}

void proto_write_query(struct proto_writer *w, struct proto_span text)
{
    const size_t start = begin(w, 'Q');
    put_string(w, text);
    end(w, start);
}

void proto_write_parse(struct proto_writer *w, struct proto_span name, struct proto_span text,
                       struct proto_span types)
{
    assert(types.size % 4 == 0);
    assert(types.size / 4 <= UINT16_MAX);
    const size_t start = begin(w, 'P');
    put_string(w, name);
    put_string(w, text);
    put_u16(w, (uint16_t)(types.size / 4));
    put(w, types.base, types.size);
    end(w, start);
}

void proto_write_bind(struct proto_writer *w, struct proto_span portal, struct proto_span statement,
                      struct proto_span rest)
{
    const size_t start = begin(w, 'B');
    put_string(w, portal);
    put_string(w, statement);
    put(w, rest.base, rest.size);
    end(w, start);
}

void proto_write_bind_empty(struct proto_writer *w, struct proto_span portal,
                            struct proto_span statement)
{
    static const uint8_t rest[6] = {0}; /* no formats, no values, no result formats */
    proto_write_bind(w, portal, statement, (struct proto_span){rest, sizeof rest});
}

static void write_target(struct proto_writer *w, uint8_t type, uint8_t what, struct proto_span name)
{
    assert(what == 'S' || what == 'P');
    const size_t start = begin(w, type);
    put_u8(w, what);
    put_string(w, name);
    end(w, start);
}

void proto_write_describe(struct proto_writer *w, uint8_t what, struct proto_span name)
{
    write_target(w, 'D', what, name);
}

void proto_write_close(struct proto_writer *w, uint8_t what, struct proto_span name)
{
    write_target(w, 'C', what, name);
}

void proto_write_execute(struct proto_writer *w, struct proto_span portal, uint32_t rows_max)
{
    assert(rows_max <= INT32_MAX);
    const size_t start = begin(w, 'E');
    put_string(w, portal);
    put_u32(w, rows_max);
    end(w, start);
}

void proto_write_sync(struct proto_writer *w)
{
    write_bare(w, 'S');
}

void proto_write_flush(struct proto_writer *w)
{
    write_bare(w, 'H');
}

void proto_write_terminate(struct proto_writer *w)
{
    write_bare(w, 'X');
}

/* Authentication ('R'): a code and what belongs to it. */
static void write_auth(struct proto_writer *w, uint32_t code, struct proto_span data)
{
    const size_t start = begin(w, 'R');
    put_u32(w, code);
    put(w, data.base, data.size);
    end(w, start);
}

void proto_write_auth_ok(struct proto_writer *w)
{
    write_auth(w, 0, (struct proto_span){NULL, 0});
}

void proto_write_auth_cleartext(struct proto_writer *w)
{
    write_auth(w, 3, (struct proto_span){NULL, 0});
}

void proto_write_auth_md5(struct proto_writer *w, const uint8_t salt[4])
{
    write_auth(w, 5, (struct proto_span){salt, 4});
}

void proto_write_auth_sasl(struct proto_writer *w, const char *const *mechanisms, size_t count)
{
    const size_t start = begin(w, 'R');
    put_u32(w, 10);
    for (size_t i = 0; i < count; i++) {
        assert(mechanisms[i][0] != '\0'); /* an empty one ends the list */
        put_text(w, mechanisms[i]);
    }
    put_u8(w, 0);
    end(w, start);
}

void proto_write_auth_sasl_continue(struct proto_writer *w, struct proto_span data)
{
    write_auth(w, 11, data);
}

void proto_write_auth_sasl_final(struct proto_writer *w, struct proto_span data)
{
    write_auth(w, 12, data);
}

void proto_write_parameter_status(struct proto_writer *w, struct proto_span name,
                                  struct proto_span value)
{
    const size_t start = begin(w, 'S');
    put_string(w, name);
    put_string(w, value);
    end(w, start);
}

void proto_write_backend_key(struct proto_writer *w, uint32_t pid, struct proto_span key)
{
    assert(key.size >= 4);
    assert(key.size <= 256);
    const size_t start = begin(w, 'K');
    put_u32(w, pid);
    put(w, key.base, key.size);
    end(w, start);
}

void proto_write_negotiate(struct proto_writer *w, uint32_t minor,
                           const struct proto_span *unknown_options, size_t count)
{
    assert(count <= INT32_MAX);
    const size_t start = begin(w, 'v');
    put_u32(w, 3u << 16 | minor); /* all of the version, as PostgreSQL and libpq have it */
    put_u32(w, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        put_string(w, unknown_options[i]);
    end(w, start);
}

void proto_write_ready(struct proto_writer *w, uint8_t status)
{
    assert(status == 'I' || status == 'T' || status == 'E');
    const size_t start = begin(w, 'Z');
    put_u8(w, status);
    end(w, start);
}

void proto_write_parse_complete(struct proto_writer *w)
{
    write_bare(w, '1');
}

void proto_write_bind_complete(struct proto_writer *w)
{
    write_bare(w, '2');
}

void proto_write_close_complete(struct proto_writer *w)
{
    write_bare(w, '3');
}

void proto_write_portal_suspended(struct proto_writer *w)
{
    write_bare(w, 's');
}

void proto_write_no_data(struct proto_writer *w)
{
    write_bare(w, 'n');
}

void proto_write_empty_query(struct proto_writer *w)
{
    write_bare(w, 'I');
}

void proto_write_command_complete(struct proto_writer *w, const char *tag)
{
    const size_t start = begin(w, 'C');
    put_text(w, tag);
    end(w, start);
}

static void put_column(struct proto_writer *w, const char *name, uint32_t type, uint16_t size,
                       uint16_t format)
{
    put_text(w, name);
    put_u32(w, 0); /* of no table */
    put_u16(w, 0); /* and no column of one */
    put_u32(w, type);
    put_u16(w, size);
    put_u32(w, UINT32_MAX); /* -1: no type modifier */
    put_u16(w, format);
}

void proto_write_row_description(struct proto_writer *w, const char *const *names, size_t count)
{
    assert(count <= INT16_MAX);
    const size_t start = begin(w, 'T');
    put_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        put_column(w, names[i], OID_TEXT, UINT16_MAX, 0); /* -1: variable size */
    end(w, start);
}

void proto_write_column(struct proto_writer *w, const char *name, uint32_t type, uint16_t size,
                        uint16_t format)
{
    const size_t start = begin(w, 'T');
    put_u16(w, 1);
    put_column(w, name, type, size, format);
    end(w, start);
}

void proto_write_parameter_description(struct proto_writer *w, const uint32_t *types, size_t count)
{
    assert(count <= INT16_MAX);
    const size_t start = begin(w, 't');
    put_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++)
        put_u32(w, types[i]);
    end(w, start);
}

void proto_write_data_row(struct proto_writer *w, const struct proto_span *values, size_t count)
{
    assert(count <= INT16_MAX);
    const size_t start = begin(w, 'D');
    put_u16(w, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        if (values[i].base == NULL) {
            put_u32(w, UINT32_MAX); /* -1: NULL */
            continue;
        }
        put_u32(w, (uint32_t)values[i].size); /* end() refuses what exceeds 31 bits */
        put(w, values[i].base, values[i].size);
    }
    end(w, start);
}

static bool is_notice(const char *severity)
{
    return strcmp(severity, "NOTICE") == 0 || strcmp(severity, "WARNING") == 0 ||
           strcmp(severity, "INFO") == 0 || strcmp(severity, "LOG") == 0 ||
           strncmp(severity, "DEBUG", 5) == 0; /* and DEBUG1 to DEBUG5 */
}

static void put_field(struct proto_writer *w, uint8_t type, const char *text)
{
    if (text == NULL)
        return;
    put_u8(w, type);
    put_text(w, text);
}

void proto_write_error(struct proto_writer *w, const struct proto_error_text *e)
{
    assert(e->severity != NULL);
    assert(e->sqlstate != NULL && strlen(e->sqlstate) == 5);
    assert(e->message != NULL);
    const size_t start = begin(w, is_notice(e->severity) ? 'N' : 'E');
    put_field(w, 'S', e->severity);
    put_field(w, 'V', e->severity);
    put_field(w, 'C', e->sqlstate);
    put_field(w, 'M', e->message);
    put_field(w, 'D', e->detail);
    put_field(w, 'H', e->hint);
    put_field(w, 'R', e->routine);
    put_u8(w, 0);
    end(w, start);
}
