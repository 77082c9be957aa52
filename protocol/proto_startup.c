/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_startup: the first packet of a connection, which has no type byte.
 */
#include "proto_startup.h"

enum {
    CODE_CANCEL = 80877102,
    CODE_SSL = 80877103,
    CODE_GSSENC = 80877104,
    CANCEL_KEY_SIZE_MIN = 4,
};

/* Names and values up to an empty name, which must be the packet's last byte. */
static enum proto_status parameters_read(struct proto_reader *r, struct proto_startup *s)
{
    static const char option_prefix[] = "_pq_.";

    for (;;) {
        const struct proto_span name = proto_read_string(r);
        if (name.size == 0) /* the end, or a failure that proto_reader_done() reports */
            break;
        const struct proto_span value = proto_read_string(r);
        if (s->parameters_count == PROTO_STARTUP_PARAMETERS_MAX)
            return PROTO_EMALFORMED;
        s->parameters[s->parameters_count++] =
            (struct proto_parameter_pair){.name = name, .value = value};
        if (name.size >= sizeof option_prefix - 1 &&
            memcmp(name.base, option_prefix, sizeof option_prefix - 1) == 0)
            s->unknown_options_count++;
    }
    return proto_reader_done(r) ? PROTO_OK : PROTO_EMALFORMED;
}

static enum proto_status cancel_read(struct proto_reader *r, struct proto_startup *s)
{
    s->cancel_pid = proto_read_u32(r);
    const size_t key_size = (size_t)(r->end - r->pos);
    if (r->failed || key_size < CANCEL_KEY_SIZE_MIN || key_size > PROTO_CANCEL_KEY_SIZE_MAX)
        return PROTO_EMALFORMED;
    s->cancel_key = proto_read_bytes(r, (uint32_t)key_size);
    return PROTO_OK;
}

enum proto_status proto_startup_read(struct proto_span in, struct proto_startup *ret)
{
    assert(in.base != NULL || in.size == 0);
    if (in.size < 4)
        return PROTO_MORE;
    const uint32_t size = proto_load_u32(in.base); /* counts itself */
    if (size < PROTO_STARTUP_SIZE_MIN)
        return PROTO_EBADLEN;
    if (size > PROTO_STARTUP_SIZE_MAX)
        return PROTO_ETOOBIG;
    if (in.size < size)
        return PROTO_MORE;

    struct proto_reader r = proto_reader_make((struct proto_span){in.base + 4, size - 4});
    const uint32_t code = proto_read_u32(&r);
    struct proto_startup s = {.packet_size = size};
    enum proto_status status = PROTO_EUNSUPPORTED;
    if (code == CODE_SSL || code == CODE_GSSENC) {
        s.kind = code == CODE_SSL ? PROTO_STARTUP_SSL : PROTO_STARTUP_GSSENC;
        status = proto_reader_done(&r) ? PROTO_OK : PROTO_EMALFORMED;
    } else if (code == CODE_CANCEL) {
        s.kind = PROTO_STARTUP_CANCEL;
        status = cancel_read(&r, &s);
    } else if (code >> 16 == 3) {
        s.kind = PROTO_STARTUP_SESSION;
        s.version_major = 3;
        s.version_minor = (uint16_t)(code & 0xffff);
        status = parameters_read(&r, &s);
    }
    if (status == PROTO_OK)
        *ret = s;
    return status;
}

bool proto_startup_is_cancel(struct proto_span packet)
{
    return packet.size >= PROTO_STARTUP_SIZE_MIN && proto_load_u32(packet.base + 4) == CODE_CANCEL;
}

struct proto_span proto_startup_find(const struct proto_startup *s, const char *name)
{
    assert(s->parameters_count <= PROTO_STARTUP_PARAMETERS_MAX);
    const size_t name_size = strlen(name);
    for (size_t i = s->parameters_count; i > 0; i--) {
        const struct proto_parameter_pair *p = &s->parameters[i - 1];
        if (p->name.size == name_size && memcmp(p->name.base, name, name_size) == 0)
            return p->value;
    }
    return (struct proto_span){.base = NULL, .size = 0};
}
