/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_frame: where one PostgreSQL message ends and the next begins.
 *
 * Pure: borrows the bytes it is given, keeps nothing, allocates nothing; any thread.
 * Source: PostgreSQL manual, "Frontend/Backend Protocol", "Message Formats".
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes. base may be NULL only when size is 0. */
struct proto_span {
    const uint8_t *base;
    size_t size;
};

#define PROTO_STATUS_MAP(X)                              \
    X(OK, 0, "ok")                                       \
    X(MORE, 1, "incomplete: call again with more bytes") \
    X(EBADLEN, -1, "invalid message length")             \
    X(ETOOBIG, -2, "message too large")                  \
    X(EMALFORMED, -3, "malformed message body")          \
    X(EUNSUPPORTED, -4, "unsupported protocol version or request")

enum proto_status {
#define X(name, value, text) PROTO_##name = (value),
    PROTO_STATUS_MAP(X)
#undef X
};

const char *proto_status_text(enum proto_status status);

enum {
    PROTO_HEADER_SIZE = 5,             /* type byte and length word */
    PROTO_BODY_SIZE_SMALL = 10000 - 4, /* bound of PostgreSQL for Sync, Flush, Execute, ... */
    PROTO_BODY_SIZE_MAX = 0x3fffffff - 1 - 4, /* bound of PostgreSQL for everything else */
};

/* One message's header: the type byte and the size of what follows the length word. */
struct proto_header {
    uint8_t type;
    uint32_t body_size;
};

static inline uint16_t proto_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t proto_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void proto_store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/*
 * Reads the header at the front of `in`. PROTO_MORE below five bytes; PROTO_EBADLEN when the length
 * word is below 4; PROTO_ETOOBIG when the body exceeds `body_size_max`. *ret is written on PROTO_OK
 * only. The body need not be there.
 */
static inline enum proto_status proto_header_peek(struct proto_span in, uint32_t body_size_max,
                                                  struct proto_header *ret)
{
    assert(in.base != NULL || in.size == 0);
    if (in.size < PROTO_HEADER_SIZE)
        return PROTO_MORE;
    const uint32_t length = proto_load_u32(in.base + 1); /* counts itself, not the type byte */
    if (length < 4)
        return PROTO_EBADLEN;
    if (length - 4 > body_size_max)
        return PROTO_ETOOBIG;
    *ret = (struct proto_header){.type = in.base[0], .body_size = length - 4};
    return PROTO_OK;
}

/* The largest body that PostgreSQL accepts in a message of this type from a client after start-up;
 * 0xffffffff when the type is not a client's. */
extern const uint32_t proto_client_body_sizes_inverted[256]; /* so that what is not there is it */
static inline uint32_t proto_client_body_size_max(uint8_t type)
{
    return ~proto_client_body_sizes_inverted[type];
}

/* True when a server may send a message of this type after its first ReadyForQuery: so neither
 * Authentication ('R') nor BackendKeyData ('K') nor NegotiateProtocolVersion ('v'). */
bool proto_server_type_known(uint8_t type);

/*
 * A cursor over one body whose failure sticks: read every field, then ask proto_reader_done() once.
 * Borrowed strings point into the body and end with the NUL that was found.
 */
struct proto_reader {
    const uint8_t *pos;
    const uint8_t *end;
    bool failed;
};

static inline struct proto_reader proto_reader_make(struct proto_span body)
{
    assert(body.base != NULL || body.size == 0);
    const uint8_t *end =
        body.size > 0 ? body.base + body.size : body.base; /* NULL + 0 is undefined */
    return (struct proto_reader){.pos = body.base, .end = end, .failed = false};
}

uint8_t proto_read_u8(struct proto_reader *r);
uint16_t proto_read_u16(struct proto_reader *r);
uint32_t proto_read_u32(struct proto_reader *r);
struct proto_span proto_read_bytes(struct proto_reader *r, uint32_t size);
/* A NUL-terminated string; size excludes the NUL. On failure an empty string "" is returned. */
struct proto_span proto_read_string(struct proto_reader *r);

/* True when nothing failed and everything was read. */
static inline bool proto_reader_done(const struct proto_reader *r)
{
    return !r->failed && r->pos == r->end;
}

#endif
