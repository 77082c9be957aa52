/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_frame: message bounds, and the cursor that the body parsers share.
 */
#include "proto_frame.h"

const char *proto_status_text(enum proto_status status)
{
    switch (status) {
#define X(name, value, text) \
    case PROTO_##name:       \
        return text;
        PROTO_STATUS_MAP(X)
#undef X
    }
    assert(false);
    return "";
}

#define SMALL ~(uint32_t)PROTO_BODY_SIZE_SMALL
#define LARGE ~(uint32_t)PROTO_BODY_SIZE_MAX
const uint32_t proto_client_body_sizes_inverted[256] = {
    ['C'] = SMALL, /* Close */
    ['D'] = SMALL, /* Describe */
    ['E'] = SMALL, /* Execute */
    ['H'] = SMALL, /* Flush */
    ['S'] = SMALL, /* Sync */
    ['X'] = SMALL, /* Terminate */
    ['c'] = SMALL, /* CopyDone */
    ['f'] = SMALL, /* CopyFail */
    ['B'] = LARGE, /* Bind */
    ['F'] = LARGE, /* FunctionCall */
    ['P'] = LARGE, /* Parse */
    ['Q'] = LARGE, /* Query */
    ['d'] = LARGE, /* CopyData */
};

bool proto_server_type_known(uint8_t type)
{
    switch (type) {
    case '1': /* ParseComplete */
    case '2': /* BindComplete */
    case '3': /* CloseComplete */
    case 'A': /* NotificationResponse */
    case 'C': /* CommandComplete */
    case 'D': /* DataRow */
    case 'E': /* ErrorResponse */
    case 'G': /* CopyInResponse */
    case 'H': /* CopyOutResponse */
    case 'I': /* EmptyQueryResponse */
    case 'N': /* NoticeResponse */
    case 'S': /* ParameterStatus */
    case 'T': /* RowDescription */
    case 'V': /* FunctionCallResponse */
    case 'W': /* CopyBothResponse */
    case 'Z': /* ReadyForQuery */
    case 'c': /* CopyDone */
    case 'd': /* CopyData */
    case 'n': /* NoData */
    case 's': /* PortalSuspended */
    case 't': /* ParameterDescription */
        return true;
    default:
        return false;
    }
}

static size_t left(const struct proto_reader *r)
{
    assert(r->pos <= r->end);
    return (size_t)(r->end - r->pos);
}

/* The next `size` > 0 bytes, or NULL; the first failure makes all later reads fail. */
static const uint8_t *take(struct proto_reader *r, size_t size)
{
    assert(size > 0);
    if (r->failed || left(r) < size) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->pos;
    r->pos += size;
    return p;
}

uint8_t proto_read_u8(struct proto_reader *r)
{
    const uint8_t *p = take(r, 1);
    return p != NULL ? *p : 0;
}

uint16_t proto_read_u16(struct proto_reader *r)
{
    const uint8_t *p = take(r, 2);
    return p != NULL ? proto_load_u16(p) : 0;
}

uint32_t proto_read_u32(struct proto_reader *r)
{
    const uint8_t *p = take(r, 4);
    return p != NULL ? proto_load_u32(p) : 0;
}

struct proto_span proto_read_bytes(struct proto_reader *r, uint32_t size)
{
    static const struct proto_span none = {.base = (const uint8_t *)"", .size = 0};
    if (size == 0)
        return none;
    const uint8_t *p = take(r, size);
    return p != NULL ? (struct proto_span){.base = p, .size = size} : none;
}

struct proto_span proto_read_string(struct proto_reader *r)
{
    static const struct proto_span none = {.base = (const uint8_t *)"", .size = 0};
    const uint8_t *nul = NULL;
    if (!r->failed && left(r) > 0) /* many a name is empty, which is not worth a call */
        nul = *r->pos == '\0' ? r->pos : memchr(r->pos, 0, left(r));
    if (nul == NULL) {
        r->failed = true;
        return none;
    }
    const struct proto_span s = {.base = r->pos, .size = (size_t)(nul - r->pos)};
    r->pos = nul + 1;
    return s;
}
