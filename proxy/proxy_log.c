/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_log: one write(2) a line, so that lines of several threads do not mix.
 *
 * Where a value begins and ends is read off the format, never off what was printed: so a user name
 * with a quote in it cannot make up a pair. The places in the printed text are the lengths of the
 * format's beginnings, printed with the same arguments.
 */
#include "proxy_log.h"

#include <assert.h>
#include <ck_pr.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 4096, FORMAT_SIZE = 1024, VALUE_SIZE_MAX = 1024 };

static unsigned log_level = CONFIG_LOG_INFO; /* any thread reads, the supervisor writes */
static unsigned log_format = CONFIG_LOG_TEXT;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

struct line {
    size_t size;
    bool full;
    char text[LINE_SIZE];
};

/* One value within the format, and within what was printed. */
struct pair {
    const char *key;
    size_t key_size;
    const char *value_begin, *value_end; /* in the format */
    bool quoted;
};

void log_configure(enum config_log_level level, enum config_log_format format)
{
    ck_pr_store_uint(&log_level, level);
    ck_pr_store_uint(&log_format, format);
}

bool log_enabled(enum config_log_level level)
{
    return level <= ck_pr_load_uint(&log_level);
}

/* Two bytes stay free for the end of the line. */
static void put(struct line *l, const char *text, size_t size)
{
    const size_t room = sizeof l->text - 2 - l->size;
    if (size > room) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->size, text, size);
    l->size += size;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Bytes of the letter beyond ASCII that begins here; 0: it is no UTF-8. */
static size_t letter_size(const char *text, size_t size)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char first = (unsigned char)text[0];
    const size_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    uint32_t letter = first & (0x7fu >> wanted);
    if (first < 0xc0 || first > 0xf4 || wanted > size)
        return 0;
    for (size_t i = 1; i < wanted; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        letter = letter << 6 | (text[i] & 0x3fu);
    }
    const bool good =
        letter >= least[wanted] && letter <= 0x10ffff && (letter < 0xd800 || letter > 0xdfff);
    return good ? wanted : 0;
}

/* JSON's escapes, and for text the same ones. Nobody can make a line that is no UTF-8, which what
 * reads the log might drop: such bytes are shown as the letters of Latin 1. */
static void put_escaped(struct line *l, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i];
        const size_t letter = c >= 0x80 ? letter_size(text + i, size - i) : 0;
        char escape[8];
        if (letter > 0) {
            put(l, text + i, letter);
            i += letter - 1;
            continue;
        }
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if (c < 0x20 || c >= 0x7f)
            snprintf(escape, sizeof escape, "\\u%04x", c);
        else
            snprintf(escape, sizeof escape, "%c", c);
        put_text(l, escape);
    }
}

static bool is_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f)
            return false;
    }
    return size > 0;
}

/* As JSON writes an integer; other numbers become strings, which is safe. */
static bool is_integer(const char *text, size_t size)
{
    const size_t sign = size > 0 && text[0] == '-';
    if (size - sign < 1 || size - sign > 19 || (text[sign] == '0' && size - sign > 1))
        return false;
    for (size_t i = sign; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return true;
}

static void put_value(struct line *l, bool json, const struct pair *pair, const char *value,
                      size_t size)
{
    if (json) {
        const bool bare = !pair->quoted && is_integer(value, size);
        put_text(l, ",\"");
        put_escaped(l, pair->key, pair->key_size);
        put_text(l, bare ? "\":" : "\":\"");
        put_escaped(l, value, size);
        put_text(l, bare ? "" : "\"");
        return;
    }
    const bool bare = is_plain(value, size);
    put_text(l, " ");
    put(l, pair->key, pair->key_size);
    put_text(l, bare ? "=" : "=\"");
    put_escaped(l, value, size);
    put_text(l, bare ? "" : "\"");
}

/* Long values are cut, and a pair that does not fit is left out: the line stays well-formed. */
static void put_pair(struct line *l, bool json, const struct pair *pair, const char *value,
                     size_t size)
{
    const size_t before = l->size;
    put_value(l, json, pair, value, size < VALUE_SIZE_MAX ? size : VALUE_SIZE_MAX);
    if (l->full)
        l->size = before;
    l->full = false;
}

/* The next key=value of the format at `p`. NULL: there is none. Else where to go on. */
static const char *pair_next(const char *p, struct pair *ret)
{
    p += strspn(p, " ");
    const size_t key_size = strcspn(p, " =");
    if (p[key_size] != '=')
        return NULL;
    *ret = (struct pair){.key = p, .key_size = key_size};
    p += key_size + 1;
    ret->quoted = *p == '"';
    if (ret->quoted)
        p++;
    ret->value_begin = p;
    ret->value_end = p + strcspn(p, ret->quoted ? "\"" : " ");
    return ret->value_end + (*ret->value_end == '"' ? 1 : 0);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* beginnings of a format that was checked */
/* Bytes that the format up to `end` prints. */
static size_t printed_size(const char *format, const char *end, size_t size_max, va_list args)
{
    char beginning[FORMAT_SIZE];
    const size_t size = (size_t)(end - format);
    if (size >= sizeof beginning)
        return size_max;
    memcpy(beginning, format, size);
    beginning[size] = 0;
    va_list copy;
    va_copy(copy, args);
    const int r = vsnprintf(NULL, 0, beginning, copy);
    va_end(copy);
    return r < 0 || (size_t)r > size_max ? size_max : (size_t)r;
}

static size_t print_all(char *buf, size_t buf_size, const char *format, va_list args)
{
    va_list copy;
    va_copy(copy, args);
    const int r = vsnprintf(buf, buf_size, format, copy);
    va_end(copy);
    if (r < 0)
        return 0;
    return (size_t)r < buf_size ? (size_t)r : buf_size - 1;
}
#pragma GCC diagnostic pop

static void put_head(struct line *l, bool json, enum config_log_level level, const char *event)
{
    struct timespec now;
    struct tm tm;
    char stamp[40], head[160];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    const size_t size = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + size, sizeof stamp - size, ".%03ldZ", now.tv_nsec / 1000000);
    snprintf(head, sizeof head,
             json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"" : "%s level=%s event=%s",
             stamp, level_names[level], event);
    put_text(l, head);
}

void log_write(enum config_log_level level, const char *event, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    const int saved = errno;
    const bool json = ck_pr_load_uint(&log_format) == CONFIG_LOG_JSON;
    struct line l = {.size = 0};
    put_head(&l, json, level, event);

    char printed[LINE_SIZE];
    va_list args;
    va_start(args, format);
    const size_t size = print_all(printed, sizeof printed, format, args);
    struct pair pair;
    for (const char *p = pair_next(format, &pair); p != NULL; p = pair_next(p, &pair)) {
        const size_t from = printed_size(format, pair.value_begin, size, args);
        const size_t to = printed_size(format, pair.value_end, size, args);
        put_pair(&l, json, &pair, printed + from, to - from);
    }
    va_end(args);

    l.text[l.size++] = json ? '}' : '\n';
    if (json)
        l.text[l.size++] = '\n';
    assert(l.size <= sizeof l.text);
    const ssize_t ignored = write(STDERR_FILENO, l.text, l.size); /* nobody to tell */
    (void)ignored;
    errno = saved;
}
