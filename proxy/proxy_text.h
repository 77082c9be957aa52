/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_text: bytes that grow, for answers of the supervisor (console, metrics, pages).
 *
 * Off the data path. When memory runs out `failed` sticks and nothing more is added; one check at
 * the end is enough.
 */
#ifndef PROXY_TEXT_H
#define PROXY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *base; /* not NUL-terminated */
    size_t size;
    size_t capacity;
    bool failed;
};

void text_deinit(struct text *t);
/* Room for `size` more bytes behind base + size. False: no memory. */
bool text_reserve(struct text *t, size_t size);
void text_add(struct text *t, const void *bytes, size_t size);
/* What is behind the first `size` bytes moves to the front. */
void text_drop_front(struct text *t, size_t size);
void text_string(struct text *t, const char *string);
void text_format(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
