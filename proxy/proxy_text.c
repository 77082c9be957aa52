/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_text: bytes that grow, for answers of the supervisor.
 */
#include "proxy_text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE_FIRST = 4096, TEXT_SIZE_MAX = 1 << 28 };

void text_deinit(struct text *t)
{
    free(t->base);
    *t = (struct text){0};
}

bool text_reserve(struct text *t, size_t size)
{
    if (t->failed || size > TEXT_SIZE_MAX - t->size) {
        t->failed = true;
        return false;
    }
    if (t->capacity - t->size >= size)
        return true;
    size_t capacity = t->capacity > 0 ? t->capacity : TEXT_SIZE_FIRST;
    while (capacity - t->size < size)
        capacity *= 2;
    char *base = realloc(t->base, capacity);
    if (base == NULL) {
        t->failed = true;
        return false;
    }
    t->base = base;
    t->capacity = capacity;
    return true;
}

void text_add(struct text *t, const void *bytes, size_t size)
{
    if (size == 0 || !text_reserve(t, size))
        return;
    memcpy(t->base + t->size, bytes, size);
    t->size += size;
}

void text_drop_front(struct text *t, size_t size)
{
    assert(size <= t->size);
    if (size == 0)
        return;
    memmove(t->base, t->base + size, t->size - size);
    t->size -= size;
}

void text_string(struct text *t, const char *string)
{
    text_add(t, string, strlen(string));
}

void text_format(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0 || !text_reserve(t, (size_t)size + 1)) {
        t->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(t->base + t->size, (size_t)size + 1, format, args);
    va_end(args);
    t->size += (size_t)size;
}
