/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_proto_startup: any bytes as the first packet of a connection.
 */
#include "proto_startup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct proto_span span, const uint8_t *data, size_t size)
{
    assert(span.base >= data);
    assert(span.size <= size);
    assert((size_t)(span.base - data) <= size - span.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proto_startup s = {0};
    const enum proto_status status = proto_startup_read((struct proto_span){data, size}, &s);
    if (status != PROTO_OK) {
        assert(s.packet_size == 0); /* nothing is written on failure */
        return 0;
    }
    assert(s.packet_size >= PROTO_STARTUP_SIZE_MIN);
    assert(s.packet_size <= PROTO_STARTUP_SIZE_MAX);
    assert(s.packet_size <= size);
    assert(s.unknown_options_count <= s.parameters_count);
    for (size_t i = 0; i < s.parameters_count; i++) {
        inside(s.parameters[i].name, data, s.packet_size);
        inside(s.parameters[i].value, data, s.packet_size);
        assert(s.parameters[i].name.size > 0);
        assert(s.parameters[i].value.base[s.parameters[i].value.size] == 0);
    }
    if (s.kind == PROTO_STARTUP_CANCEL)
        inside(s.cancel_key, data, s.packet_size);
    (void)proto_startup_find(&s, "user");

    /* What stands behind a packet does not matter, and one byte less is never enough. */
    struct proto_startup again;
    assert(proto_startup_read((struct proto_span){data, s.packet_size}, &again) == PROTO_OK);
    assert(again.kind == s.kind);
    assert(again.parameters_count == s.parameters_count);
    assert(proto_startup_read((struct proto_span){data, s.packet_size - 1}, &again) == PROTO_MORE);
    return 0;
}
