/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_proxy: see the header.
 */
#include "proto_proxy.h"

enum { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum { FAMILY_UNSPEC = 0, FAMILY_INET = 1, FAMILY_INET6 = 2, FAMILY_UNIX = 3 };
enum { TRANSPORT_STREAM = 1, TRANSPORT_DGRAM = 2 };
enum { TLV_HEAD_SIZE = 3, TLV_CRC32C = 0x03 };

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* Bytes of both addresses and ports, by family. */
static const uint32_t address_sizes[] = {
    [FAMILY_UNSPEC] = 0, [FAMILY_INET] = 12, [FAMILY_INET6] = 36, [FAMILY_UNIX] = 216};

static uint32_t crc32c_byte(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    return crc;
}

/* Of the whole header, the checksum itself taken as zero. */
static uint32_t crc32c(struct proto_span header, size_t hole)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < header.size; i++)
        crc = crc32c_byte(crc, i >= hole && i < hole + 4 ? 0 : header.base[i]);
    return ~crc;
}

static bool tlvs_are_good(struct proto_span header, size_t pos)
{
    while (pos < header.size) {
        if (header.size - pos < TLV_HEAD_SIZE)
            return false;
        const uint8_t type = header.base[pos];
        const uint32_t size = proto_load_u16(header.base + pos + 1);
        pos += TLV_HEAD_SIZE;
        if (header.size - pos < size)
            return false;
        if (type == TLV_CRC32C &&
            (size != 4 || proto_load_u32(header.base + pos) != crc32c(header, pos)))
            return false;
        pos += size;
    }
    return true;
}

static void addresses_read(const uint8_t *p, uint8_t family, struct proto_proxy *ret)
{
    ret->has_address = true;
    ret->is_v4 = family == FAMILY_INET;
    if (ret->is_v4) {
        ret->source[10] = ret->source[11] = 0xff;
        ret->destination[10] = ret->destination[11] = 0xff;
        memcpy(ret->source + 12, p, 4);
        memcpy(ret->destination + 12, p + 4, 4);
        p += 8;
    } else {
        memcpy(ret->source, p, 16);
        memcpy(ret->destination, p + 16, 16);
        p += 32;
    }
    ret->source_port = proto_load_u16(p);
    ret->destination_port = proto_load_u16(p + 2);
}

/* What the bytes that are there already forbid. */
static enum proto_status fixed_check(struct proto_span in)
{
    const size_t same = in.size < sizeof(signature) ? in.size : sizeof(signature);
    if (same > 0 && memcmp(in.base, signature, same) != 0)
        return PROTO_EMALFORMED;
    if (in.size > 12 && (in.base[12] >> 4 != 2 || (in.base[12] & 0xf) > COMMAND_PROXY))
        return PROTO_EUNSUPPORTED;
    if (in.size > 13 && (in.base[13] >> 4 > FAMILY_UNIX || (in.base[13] & 0xf) > TRANSPORT_DGRAM))
        return PROTO_EUNSUPPORTED;
    if (in.size < PROTO_PROXY_FIXED_SIZE)
        return PROTO_MORE;
    return proto_load_u16(in.base + 14) > PROTO_PROXY_SIZE_MAX - PROTO_PROXY_FIXED_SIZE
               ? PROTO_ETOOBIG
               : PROTO_OK;
}

enum proto_status proto_proxy_read(struct proto_span in, struct proto_proxy *ret)
{
    assert(in.base != NULL || in.size == 0);
    const enum proto_status status = fixed_check(in);
    if (status != PROTO_OK)
        return status;
    const uint32_t body_size = proto_load_u16(in.base + 14);
    struct proto_proxy found = {.size = PROTO_PROXY_FIXED_SIZE + body_size,
                                .is_local = in.base[12] == (2 << 4 | COMMAND_LOCAL)};
    const uint8_t family = in.base[13] >> 4;
    if (in.base[12] == (2 << 4 | COMMAND_PROXY) && body_size < address_sizes[family])
        return PROTO_EMALFORMED;
    if (in.size < found.size)
        return PROTO_MORE;
    /* LOCAL and what has no address: the rest is to be ignored, whatever it is */
    if (in.base[12] == (2 << 4 | COMMAND_PROXY) && family != FAMILY_UNSPEC) {
        const struct proto_span header = {.base = in.base, .size = found.size};
        if (!tlvs_are_good(header, PROTO_PROXY_FIXED_SIZE + address_sizes[family]))
            return PROTO_EMALFORMED;
        if (family != FAMILY_UNIX && (in.base[13] & 0xf) == TRANSPORT_STREAM)
            addresses_read(in.base + PROTO_PROXY_FIXED_SIZE, family, &found);
    }
    *ret = found;
    return PROTO_OK;
}

uint32_t proto_proxy_missing(struct proto_span in)
{
    if (in.size < PROTO_PROXY_FIXED_SIZE)
        return PROTO_PROXY_FIXED_SIZE - (uint32_t)in.size;
    const uint32_t size = PROTO_PROXY_FIXED_SIZE + proto_load_u16(in.base + 14);
    return size > in.size ? size - (uint32_t)in.size : 0;
}
