/* SPDX-License-Identifier: PostgreSQL
 *
 * core_notation: see the header.
 */
#include "core_notation.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- notation -> bytes ---- */

static struct proto_span span_of(const char *text)
{
    return (struct proto_span){(const uint8_t *)text, strlen(text)};
}

static void plain(struct proto_writer *w, char type, const void *body, size_t size)
{
    uint8_t head[5] = {(uint8_t)type};
    proto_store_u32(head + 1, (uint32_t)(4 + size));
    proto_write_raw(w, (struct proto_span){head, 5});
    proto_write_raw(w, (struct proto_span){body, size});
}

static void encode_client(struct proto_writer *w, char type, char *text)
{
    char *second = strchr(text, '|');
    switch (type) {
    case 'Q':
        proto_write_query(w, span_of(text));
        return;
    case 'P':
        assert_non_null(second);
        *second++ = '\0';
        proto_write_parse(w, span_of(text), span_of(second), span_of(""));
        return;
    case 'B':
        if (second != NULL)
            *second++ = '\0';
        proto_write_bind_empty(w, span_of(second != NULL ? second : ""), span_of(text));
        return;
    case 'D':
        proto_write_describe(w, (uint8_t)text[0], span_of(text + 1));
        return;
    case 'C':
        proto_write_close(w, (uint8_t)text[0], span_of(text + 1));
        return;
    case 'E':
        if (second != NULL)
            *second++ = '\0';
        proto_write_execute(w, span_of(text),
                            second != NULL ? (uint32_t)strtoul(second, NULL, 10) : 0);
        return;
    case 'F':
        plain(w, 'F', "\0\0\0\1\0\0\0\0\0\0", 10);
        return;
    default: /* S H X c have no body, d f p have text */
        plain(w, type, text, strlen(text) + (type == 'f' || type == 'p'));
    }
}

static void encode_server(struct proto_writer *w, char type, char *text)
{
    char buf[256];
    char *second = strchr(text, '|');
    const char *const column[] = {text};
    if (second != NULL)
        *second++ = '\0';
    switch (type) {
    case 'T':
        proto_write_row_description(w, column, 1);
        return;
    case 'D': { /* columns are separated by | */
        struct proto_span values[8] = {span_of(text)};
        uint16_t count = 1;
        for (; second != NULL && count < 8; count++) {
            char *third = strchr(second, '|');
            if (third != NULL)
                *third++ = '\0';
            values[count] = span_of(second);
            second = third;
        }
        proto_write_data_row(w, values, count);
        return;
    }
    case 'C':
        proto_write_command_complete(w, text);
        return;
    case 'Z':
        proto_write_ready(w, (uint8_t)text[0]);
        return;
    case 'E':
    case 'X': { /* X: FATAL */
        const int n =
            snprintf(buf, sizeof(buf), "S%s%cC%s%cMm%cR%s%c", type == 'X' ? "FATAL" : "ERROR", 0,
                     text, 0, 0, second != NULL ? second : "", 0);
        plain(w, 'E', buf, (size_t)n + 1);
        return;
    }
    case 'S':
        proto_write_parameter_status(w, span_of(text), span_of(second != NULL ? second : ""));
        return;
    case 't': /* t(x): one parameter, of the type x */
        plain(w, 't', text[0] != '\0' ? (char[]){0, 1, 0, 0, 0, text[0]} : "\0\0",
              text[0] != '\0' ? 6 : 2);
        return;
    case 'G':
    case 'H':
        plain(w, type, "\0\0\0", 3);
        return;
    case 'N':
        plain(w, 'N', "SNOTICE\0Mn\0\0", 12);
        return;
    default:
        plain(w, type, text, strlen(text));
    }
}

size_t story_encode(bool to_server, const char *messages, uint8_t *buf, size_t buf_size)
{
    struct proto_writer w = proto_writer_make(buf, buf_size);
    char text[4096];
    for (const char *p = messages; *p != '\0';) {
        if (isspace((unsigned char)*p)) {
            p++;
            continue;
        }
        const char type = *p++;
        size_t size = 0;
        if (*p == '(') {
            int depth = 0;
            do {
                depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
                text[size++] = *p++;
                assert_true(size < sizeof(text));
            } while (depth > 0);
            memmove(text, text + 1, size -= 2);
        }
        text[size] = '\0';
        if (to_server)
            encode_client(&w, type, text);
        else
            encode_server(&w, type, text);
    }
    assert_false(w.overflow);
    return w.size;
}

/* ---- bytes -> notation ---- */

void story_say(struct story *st, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    st->log_size +=
        (size_t)vsnprintf(st->log + st->log_size, sizeof(st->log) - st->log_size, format, args);
    va_end(args);
    assert_true(st->log_size < sizeof(st->log));
}

/* Names that the proxy gave are said as "sg". */
static void say_name(struct story *st, struct proto_span name)
{
    if (name.size == 35 && memcmp(name.base, "sg_", 3) == 0)
        story_say(st, "sg");
    else
        story_say(st, "%.*s", (int)name.size, (const char *)name.base);
}

static void say_to_server(struct story *st, uint8_t type, struct proto_span body)
{
    struct proto_parse parse;
    struct proto_bind bind;
    struct proto_target target;
    struct proto_span text;
    story_say(st, " %c", type);
    switch (type) {
    case 'Q':
        assert_int_equal(proto_query_read(body, &text), PROTO_OK);
        story_say(st, "(%.*s)", (int)(text.size < 60 ? text.size : 60), (const char *)text.base);
        return;
    case 'P':
        assert_int_equal(proto_parse_read(body, &parse), PROTO_OK);
        story_say(st, "(");
        say_name(st, parse.name);
        story_say(st, "|%.*s)", (int)parse.text.size, (const char *)parse.text.base);
        return;
    case 'B':
        assert_int_equal(proto_bind_peek(body, &bind), PROTO_OK);
        story_say(st, "(");
        say_name(st, bind.statement);
        story_say(st, ")");
        return;
    case 'C':
    case 'D':
        assert_int_equal(proto_target_read(body, &target), PROTO_OK);
        story_say(st, "(%c", target.what);
        say_name(st, target.name);
        story_say(st, ")");
        return;
    default:
        return;
    }
}

static void say_to_client(struct story *st, uint8_t type, struct proto_span body)
{
    struct proto_error error;
    story_say(st, " %c", type);
    if (type == 'E' ||
        (type == 'N' && proto_error_read(body, &error) == PROTO_OK && error.sqlstate.size > 0)) {
        assert_int_equal(proto_error_read(body, &error), PROTO_OK);
        const bool fatal = error.severity.size == 5 && error.severity.base[0] == 'F';
        story_say(st, "(%s%s)", fatal ? "FATAL " : "", error.sqlstate.base);
    } else if (type == 'Z') {
        story_say(st, "(%c)", body.base[0]);
    } else if (type == 'C') {
        story_say(st, "(%s)", body.base);
    } else if (type == 'R') {
        story_say(st, "(%u)", proto_load_u32(body.base));
    } else if (type == 'D') { /* all columns */
        const uint16_t count = proto_load_u16(body.base);
        struct proto_reader r =
            proto_reader_make((struct proto_span){body.base + 2, body.size - 2});
        story_say(st, "(");
        for (uint16_t i = 0; i < count; i++) {
            const uint32_t size = proto_read_u32(&r);
            const struct proto_span v =
                size == UINT32_MAX ? span_of("null") : proto_read_bytes(&r, size);
            story_say(st, "%s%.*s", i > 0 ? "," : "", (int)v.size, (const char *)v.base);
        }
        story_say(st, ")");
    }
}

void story_say_sink(struct story *st, const char *whom, const struct core_sink *sink, bool server)
{
    uint8_t *all = malloc(sink->size + 1);
    size_t size = 0;
    assert_non_null(all);
    for (uint32_t i = 0; i < sink->count; i++) {
        memcpy(all + size, sink->spans[i].base, sink->spans[i].size);
        size += sink->spans[i].size;
    }
    assert_int_equal(size, sink->size);
    story_say(st, "%s:", whom);
    for (size_t pos = 0; pos < size;) {
        struct proto_header h;
        if (size - pos == 1 && (all[pos] == 'N' || all[pos] == 'S')) { /* encryption? */
            story_say(st, all[pos] == 'N' ? " no" : " yes");
            break;
        }
        if (proto_header_peek((struct proto_span){all + pos, size - pos}, UINT32_MAX - 4, &h) !=
                PROTO_OK ||
            size - pos < 5 + (size_t)h.body_size) {
            story_say(st, " ...");
            break;
        }
        const struct proto_span body = {all + pos + 5, h.body_size};
        if (server)
            say_to_server(st, h.type, body);
        else
            say_to_client(st, h.type, body);
        pos += 5 + (size_t)h.body_size;
    }
    story_say(st, "\n");
    free(all);
}
