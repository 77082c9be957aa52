/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_test: what the tests of the protocol folder share.
 */
#ifndef PROTO_TEST_H
#define PROTO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto_frame.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The bytes of a literal without its last NUL: SPAN("ab\0") has three. SPAN_INIT is for tables. */
#define SPAN_INIT(literal)                              \
    {                                                   \
        (const uint8_t *)(literal), sizeof(literal) - 1 \
    }
#define SPAN(literal) ((struct proto_span)SPAN_INIT(literal))

static inline struct proto_span span_of(const char *text)
{
    return (struct proto_span){(const uint8_t *)text, strlen(text)};
}

/* A copy in a block of exactly this size, so that a sanitizer sees one byte read too far. */
static inline struct proto_span span_copy(struct proto_span in)
{
    uint8_t *base = malloc(in.size > 0 ? in.size : 1);
    assert_non_null(base);
    if (in.size > 0)
        memcpy(base, in.base, in.size);
    return (struct proto_span){base, in.size};
}

static inline void span_free(struct proto_span copy)
{
    free((void *)(uintptr_t)copy.base);
}

#define assert_span(span, literal)                                     \
    do {                                                               \
        const struct proto_span span_ = (span);                        \
        assert_int_equal(span_.size, sizeof(literal) - 1);             \
        assert_memory_equal(span_.base, literal, sizeof(literal) - 1); \
    } while (0)

#endif
