/* SPDX-License-Identifier: PostgreSQL
 *
 * core_span: runs of bytes, compared, folded, hashed. For the session core alone.
 */
#ifndef CORE_SPAN_H
#define CORE_SPAN_H

#include <assert.h>
#include <string.h>

#include "proto_frame.h"

static inline struct proto_span core_span(const char *text)
{
    return (struct proto_span){.base = (const uint8_t *)text, .size = strlen(text)};
}

static inline struct proto_span core_span_skip(struct proto_span span, size_t size)
{
    assert(size <= span.size);
    return (struct proto_span){.base = span.base + size, .size = span.size - size};
}

static inline bool core_span_equal(struct proto_span a, struct proto_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.base, b.base, a.size) == 0);
}

static inline bool core_text_equal(struct proto_span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.base, text, span.size) == 0;
}

/* As PostgreSQL folds a name that is not in quotes; other alphabets stay as they are. */
static inline char core_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* The whole of a name so, with its NUL. False: it does not fit. */
static inline bool core_fold(struct proto_span name, char *ret, size_t room)
{
    if (name.size >= room)
        return false;
    for (size_t i = 0; i < name.size; i++)
        ret[i] = core_lower((char)name.base[i]);
    ret[name.size] = '\0';
    return true;
}

/* FNV-1a, of small things; begins with CORE_HASH_START. */
#define CORE_HASH_START 2166136261u
static inline uint32_t core_hash(uint32_t h, struct proto_span bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        h = (h ^ bytes.base[i]) * 16777619u;
    return h;
}

#endif
