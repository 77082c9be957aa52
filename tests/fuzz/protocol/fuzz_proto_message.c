/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_proto_message: the first byte chooses a parser, the rest is a body for it. What a parser
 * takes and a writer can write must come back as the same bytes.
 */
#include <stdlib.h>

#include "proto_message.h"
#include "proto_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct proto_writer *w, struct proto_span body)
{
    assert(!w->overflow);
    assert(w->size == PROTO_HEADER_SIZE + body.size);
    assert(memcmp(w->base + PROTO_HEADER_SIZE, body.base, body.size) == 0);
}

static void fuzz_query(struct proto_span body, struct proto_writer *w)
{
    struct proto_span text;
    if (proto_query_read(body, &text) != PROTO_OK)
        return;
    proto_write_query(w, text);
    same(w, body);
}

static void fuzz_parse(struct proto_span body, struct proto_writer *w)
{
    struct proto_parse p;
    if (proto_parse_read(body, &p) != PROTO_OK)
        return;
    assert(p.types.size == (size_t)p.types_count * 4);
    proto_write_parse(w, p.name, p.text, p.types);
    same(w, body);
}

static void fuzz_bind(struct proto_span body, struct proto_writer *w)
{
    struct proto_bind b;
    if (proto_bind_peek(body, &b) != PROTO_OK)
        return;
    proto_write_bind(w, b.portal, b.statement, b.rest);
    same(w, body);
}

static void fuzz_target(struct proto_span body, struct proto_writer *w)
{
    struct proto_target t;
    if (proto_target_read(body, &t) != PROTO_OK)
        return;
    proto_write_describe(w, t.what, t.name);
    same(w, body);
}

static void fuzz_execute(struct proto_span body, struct proto_writer *w)
{
    struct proto_execute e;
    if (proto_execute_read(body, &e) != PROTO_OK)
        return;
    proto_write_execute(w, e.portal, e.rows_max);
    if (body.base[body.size - 4] < 0x80) /* negative limits are read as 0 */
        same(w, body);
}

static void fuzz_ready(struct proto_span body, struct proto_writer *w)
{
    uint8_t status;
    if (proto_ready_read(body, &status) != PROTO_OK)
        return;
    proto_write_ready(w, status);
    same(w, body);
}

static void fuzz_parameter(struct proto_span body, struct proto_writer *w)
{
    struct proto_parameter p;
    if (proto_parameter_read(body, &p) != PROTO_OK)
        return;
    proto_write_parameter_status(w, p.name, p.value);
    same(w, body);
}

static void fuzz_error(struct proto_span body, struct proto_writer *w)
{
    struct proto_error e;
    (void)w;
    if (proto_error_read(body, &e) != PROTO_OK)
        return;
    const struct proto_span fields[] = {e.severity, e.message, e.detail,
                                        e.hint,     e.routine, e.sqlstate};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        assert(fields[i].base != NULL);
        assert(fields[i].base[fields[i].size] == 0);
    }
    assert(e.sqlstate.size == 0 || e.sqlstate.size == 5);
}

static void fuzz_sasl_initial(struct proto_span body, struct proto_writer *w)
{
    struct proto_sasl_initial s;
    (void)w;
    if (proto_sasl_initial_read(body, &s) == PROTO_OK)
        assert(s.mechanism.size + 1 + 4 + s.response.size == body.size);
}

/* Messages one after the other, as a relay frames them. */
static void fuzz_frames(struct proto_span in, struct proto_writer *w)
{
    struct proto_header header;
    (void)w;
    while (in.size > 0) {
        const uint32_t max = proto_client_body_size_max(in.base[0]);
        if (max == UINT32_MAX || proto_header_peek(in, max, &header) != PROTO_OK)
            return;
        assert(header.body_size <= max);
        if (in.size - PROTO_HEADER_SIZE < header.body_size)
            return;
        in.base += PROTO_HEADER_SIZE + header.body_size;
        in.size -= PROTO_HEADER_SIZE + header.body_size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(struct proto_span body, struct proto_writer * w) = {
        fuzz_query, fuzz_parse,     fuzz_bind,  fuzz_target,       fuzz_execute,
        fuzz_ready, fuzz_parameter, fuzz_error, fuzz_sasl_initial, fuzz_frames,
    };
    if (size == 0)
        return 0;
    const size_t capacity = size + PROTO_HEADER_SIZE;
    uint8_t *out = malloc(capacity);
    if (out == NULL)
        return 0;
    struct proto_writer w = proto_writer_make(out, capacity);
    targets[data[0] % (sizeof targets / sizeof targets[0])]((struct proto_span){data + 1, size - 1},
                                                            &w);
    free(out);
    return 0;
}
