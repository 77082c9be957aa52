/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_base64: base64 as SCRAM uses it, strict in what it accepts.
 */
#include "proto_base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t proto_base64_encode(struct proto_span in, char *ret)
{
    assert(in.size < SIZE_MAX / 2);
    char *out = ret;
    for (size_t i = 0; i < in.size; i += 3) {
        const size_t count = in.size - i < 3 ? in.size - i : 3;
        const uint32_t b1 = count > 1 ? in.base[i + 1] : 0;
        const uint32_t b2 = count > 2 ? in.base[i + 2] : 0;
        const uint32_t group = (uint32_t)in.base[i] << 16 | b1 << 8 | b2;
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = '=';
        *out++ = '=';
        if (count > 1)
            out[-2] = alphabet[group >> 6 & 63];
        if (count > 2)
            out[-1] = alphabet[group & 63];
    }
    *out = '\0';
    return (size_t)(out - ret);
}

/* The value of one letter, or 64. */
static uint32_t letter_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0' + 52);
    if (c == '+')
        return 62;
    return c == '/' ? 63 : 64;
}

/* Reads four letters of which the last `padding` must be '='. False: malformed. */
static bool group_read(const uint8_t *text, size_t padding, uint32_t *ret_group)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        const uint32_t value = i < 4 - padding ? letter_value(text[i]) : 0;
        if (value == 64)
            return false;
        group = group << 6 | value;
    }
    if ((group & ((1U << 8 * padding) - 1)) != 0) /* bits that belong to no byte */
        return false;
    *ret_group = group;
    return true;
}

enum proto_status proto_base64_decode(struct proto_span text, uint8_t *ret, size_t capacity,
                                      size_t *ret_size)
{
    if (text.size % 4 != 0)
        return PROTO_EMALFORMED;
    size_t size = 0;
    for (size_t i = 0; i < text.size; i += 4) {
        const uint8_t *letters = text.base + i;
        size_t padding = 0;
        if (i + 4 == text.size && letters[3] == '=')
            padding = letters[2] == '=' ? 2 : 1;
        uint32_t group;
        if (!group_read(letters, padding, &group))
            return PROTO_EMALFORMED;
        const size_t count = 3 - padding;
        if (capacity - size < count)
            return PROTO_ETOOBIG;
        for (size_t k = 0; k < count; k++)
            ret[size++] = (uint8_t)(group >> (16 - 8 * k));
    }
    *ret_size = size;
    return PROTO_OK;
}
