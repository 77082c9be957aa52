/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_options: the start-up parameter `options`, split into settings as the server does it:
 * first into words at white space, then each word as a command line switch.
 */
#include "proto_startup.h"

/* The text still to be read, and the caller's buffer with the finished settings in front. */
struct splitter {
    struct proto_reader in;
    char *buf;
    size_t used;
    size_t capacity;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void blanks_skip(struct proto_reader *in)
{
    while (in->pos != in->end && is_blank(*in->pos))
        in->pos++;
}

/* Unescapes the next word behind the finished settings, NUL-terminated. It may be empty: at the
 * end, and after a lone backslash. */
static enum proto_status word_read(struct splitter *s, size_t *ret_size)
{
    struct proto_reader *in = &s->in;
    size_t size = 0;
    bool escaped = false;
    if (s->used == s->capacity)
        return PROTO_ETOOBIG;
    for (; in->pos != in->end && (escaped || !is_blank(*in->pos)); in->pos++) {
        if (*in->pos == '\0') {
            s->buf[s->used] = '\0'; /* no word to tell of */
            return PROTO_EMALFORMED;
        }
        if (*in->pos == '\\' && !escaped) {
            escaped = true;
            continue;
        }
        escaped = false;
        if (s->capacity - s->used <= size)
            return PROTO_ETOOBIG;
        s->buf[s->used + size++] = (char)*in->pos;
    }
    if (s->capacity - s->used <= size)
        return PROTO_ETOOBIG;
    s->buf[s->used + size] = '\0';
    *ret_size = size;
    return PROTO_OK;
}

/* Turns the word "name=value" into "name\0value\0" in its place and keeps it. */
static enum proto_status setting_keep(struct splitter *s, size_t size)
{
    char *name = s->buf + s->used;
    char *equals = memchr(name, '=', size);
    if (equals == NULL || equals == name)
        return PROTO_EMALFORMED;
    for (char *p = name; p < equals; p++)
        if (*p == '-')
            *p = '_';
    *equals = '\0';
    s->used += size + 1;
    return PROTO_OK;
}

/* One switch: -c name=value, -cname=value or --name=value. Its NUL stops too short a word. */
static enum proto_status switch_read(struct splitter *s, size_t size)
{
    char *word = s->buf + s->used;
    if (word[0] != '-' || (word[1] != 'c' && word[1] != '-'))
        return PROTO_EUNSUPPORTED;
    if (size > 2) {
        memmove(word, word + 2, size - 2 + 1);
        return setting_keep(s, size - 2);
    }
    if (word[1] == '-') /* "--" alone */
        return PROTO_EUNSUPPORTED;
    blanks_skip(&s->in);
    size_t next_size;
    const enum proto_status status = word_read(s, &next_size);
    return status == PROTO_OK ? setting_keep(s, next_size) : status;
}

/* The word that is at fault goes to the front of the buffer. */
static void blame(struct splitter *s, enum proto_status status)
{
    const bool told = status != PROTO_ETOOBIG && s->used < s->capacity;
    const size_t size = told ? strnlen(s->buf + s->used, s->capacity - s->used - 1) : 0;
    if (s->capacity == 0)
        return;
    memmove(s->buf, s->buf + (told ? s->used : 0), size);
    s->buf[size] = '\0';
}

enum proto_status proto_options_split(struct proto_span options, char *buf, size_t buf_size,
                                      void (*emit)(void *arg, const char *name, const char *value),
                                      void *arg)
{
    struct splitter s = {.in = proto_reader_make(options), .buf = buf, .capacity = buf_size};
    assert(buf != NULL);
    blanks_skip(&s.in);
    while (s.in.pos != s.in.end) {
        size_t size;
        enum proto_status status = word_read(&s, &size);
        if (status == PROTO_OK)
            status = switch_read(&s, size);
        if (status != PROTO_OK) {
            blame(&s, status);
            return status;
        }
        blanks_skip(&s.in);
    }
    for (const char *name = buf; name < buf + s.used;) {
        const char *value = name + strlen(name) + 1;
        emit(arg, name, value);
        name = value + strlen(value) + 1;
    }
    return PROTO_OK;
}
