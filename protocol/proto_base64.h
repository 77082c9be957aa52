/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_base64: base64 as SCRAM uses it, strict in what it accepts.
 *
 * Pure; borrows; any thread.
 * Source: RFC 4648, section 4.
 */
#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

#include "proto_frame.h"

/* The size of `size` bytes in base64, without a NUL. `size` is below SIZE_MAX / 2. */
static inline size_t proto_base64_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

/* Writes the text and a NUL: `ret` has room for proto_base64_size(in.size) + 1. Returns the size
 * without the NUL. */
size_t proto_base64_encode(struct proto_span in, char *ret);

/*
 * Reads one whole text. PROTO_EMALFORMED: its size is no multiple of four, a byte is not of the
 * alphabet (white space is not), padding is elsewhere than at the end, or bits that the padding
 * leaves over are not zero. PROTO_ETOOBIG: more than `capacity` bytes. `ret` may be written on
 * failure too.
 */
enum proto_status proto_base64_decode(struct proto_span text, uint8_t *ret, size_t capacity,
                                      size_t *ret_size);

#endif
