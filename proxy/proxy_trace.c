/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_trace: see the header. Lines look like this, up to libpq 17 and from 18 on:
 *     B\t12\tBackendKeyData\t 24384 -1363114380
 *     B\t12\tBackendKeyData\t 24384 'a\\x00b\\x7f'
 */
#include "proxy_trace.h"

#include <string.h>

struct cursor {
    const char *at;
    const char *end;
};

static bool skip(struct cursor *c, const char *text)
{
    const size_t size = strlen(text);
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, text, size) != 0)
        return false;
    c->at += size;
    return true;
}

/* A signed number of 32 bits, as its bits. */
static bool number(struct cursor *c, uint32_t *ret)
{
    const bool minus = skip(c, "-");
    const char *first = c->at;
    uint64_t value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && value <= UINT32_MAX)
        value = value * 10 + (uint64_t)(*c->at++ - '0');
    if (c->at == first || value > (minus ? UINT64_C(1) << 31 : UINT32_MAX))
        return false;
    *ret = minus ? 0u - (uint32_t)value : (uint32_t)value;
    return true;
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* What can be printed stands for itself, a backslash too; the rest is \xNN. Only one of the ways to
 * read that gives four bytes, as what is printed in four characters is never written as \xNN. */
static bool quoted(struct cursor *c, uint32_t *ret)
{
    uint32_t value = 0;
    uint32_t count = 0;
    const char *last = c->end - 1;
    if (!skip(c, "'") || last < c->at || *last != '\'')
        return false;
    if (last - c->at == 4) {
        for (; count < 4; count++)
            value = value << 8 | (uint8_t)c->at[count];
        *ret = value;
        return true;
    }
    while (c->at < last && count < 5) {
        const bool escape = last - c->at >= 4 && c->at[0] == '\\' && c->at[1] == 'x' &&
                            hex_digit(c->at[2]) >= 0 && hex_digit(c->at[3]) >= 0;
        const uint32_t byte =
            escape ? (uint32_t)(hex_digit(c->at[2]) << 4 | hex_digit(c->at[3])) : (uint8_t)*c->at;
        value = value << 8 | byte;
        c->at += escape ? 4 : 1;
        count++;
    }
    *ret = value;
    return count == 4;
}

static bool line_read(struct cursor c, uint32_t pid, uint32_t *ret_secret)
{
    uint32_t found;
    uint32_t secret;
    if (!skip(&c, "B\t12\tBackendKeyData\t ") || !number(&c, &found) || found != pid ||
        !skip(&c, " ") || c.at == c.end)
        return false;
    if (*c.at == '\'' ? !quoted(&c, &secret) : !number(&c, &secret))
        return false;
    *ret_secret = secret;
    return true;
}

bool trace_key_read(const char *text, size_t size, uint32_t pid, uint32_t *ret_secret)
{
    bool found = false;
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;
        found = line_read((struct cursor){text, line_end}, pid, ret_secret) || found;
        text = newline != NULL ? newline + 1 : end;
    }
    return found;
}
