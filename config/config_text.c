/* SPDX-License-Identifier: PostgreSQL
 *
 * config_text: lists, addresses, libpq's keyword='value', and which known word another resembles.
 */
#include "config_internal.h"

#include <string.h>
#include <strings.h>

/* ---- lists ---- */

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}

bool config_list_next(const char *list, size_t *position, struct config_item *ret)
{
    const char *at = list + *position;
    const char *start = at;
    if (*position == 0) {
        while (is_blank(*start))
            start++;
        if (*start == '\0')
            return false;
    } else if (at[-1] == '\0') { /* the former item was the last */
        return false;
    }
    const char *end = strchrnul(start, ',');
    *position = (size_t)(end - list) + 1;
    while (start < end && is_blank(*start))
        start++;
    while (end > start && is_blank(end[-1]))
        end--;
    *ret = (struct config_item){.text = start, .size = (size_t)(end - start)};
    return true;
}

bool config_list_has(const char *list, const char *item)
{
    const size_t size = strlen(item);
    struct config_item each;
    for (size_t position = 0; config_list_next(list, &position, &each);) {
        if (size > 0 && each.size == size && memcmp(each.text, item, size) == 0)
            return true;
    }
    return false;
}

/* ---- addresses ---- */

static bool port_parse(const char *text, uint16_t *ret)
{
    uint32_t port = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && port <= 65535; at++)
        port = port * 10 + (uint32_t)(*at - '0');
    if (at == text || *at != '\0' || port == 0 || port > 65535)
        return false;
    *ret = (uint16_t)port;
    return true;
}

/* 127.a.b.c in digits only, so that a host name of another machine is never taken for it. */
static bool is_loopback(const char *host)
{
    if (strcmp(host, "::1") == 0 || strcasecmp(host, "localhost") == 0)
        return true;
    if (strncmp(host, "127.", 4) != 0)
        return false;
    uint32_t parts = 1;
    uint32_t part = 0;
    uint32_t digits = 0;
    for (const char *at = host + 4; *at != '\0'; at++) {
        if (*at == '.' && digits > 0) {
            parts++;
            part = 0;
            digits = 0;
            continue;
        }
        if (*at < '0' || *at > '9' || ++digits > 3)
            return false;
        part = part * 10 + (uint32_t)(*at - '0');
        if (part > 255)
            return false;
    }
    return parts == 3 && digits > 0;
}

/* Letters, digits and what stands in names and addresses. */
static bool host_check(const char *host, bool bracketed)
{
    for (const char *at = host; *at != '\0'; at++) {
        const bool common = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                            (*at >= '0' && *at <= '9') || *at == '.' || *at == '-' || *at == '_';
        if (!common && !(bracketed && (*at == ':' || *at == '%')))
            return false;
    }
    return *host != '\0';
}

bool config_address_parse(const char *text, struct config_address *ret)
{
    enum { DIRECTORY_MAX = 107 - (int)sizeof "/.s.PGSQL.65535" + 1 };
    struct config_address address = {0};
    if (strncmp(text, "unix:", 5) == 0) {
        const size_t size = strlen(text + 5);
        const bool is_abstract = text[5] == '@' && size > 1;
        if ((text[5] != '/' && !is_abstract) || size > DIRECTORY_MAX)
            return false;
        address.is_unix = true;
        address.is_loopback = true;
        memcpy(address.host, text + 5, size + 1);
        *ret = address;
        return true;
    }
    const bool bracketed = text[0] == '[';
    const char *start = bracketed ? text + 1 : text;
    const char *end = strchr(start, bracketed ? ']' : ':');
    if (end == NULL || (bracketed && end[1] != ':'))
        return false;
    const size_t size = (size_t)(end - start);
    if ((size == 0 && bracketed) || size >= sizeof address.host ||
        !port_parse(end + (bracketed ? 2 : 1), &address.port))
        return false;
    memcpy(address.host, start, size);
    address.host[size] = '\0';
    if (size == 0 || (!bracketed && strcmp(address.host, "*") == 0)) /* ":6432": all addresses */
        address.host[0] = '\0';
    else if (!host_check(address.host, bracketed))
        return false;
    address.is_loopback = is_loopback(address.host);
    *ret = address;
    return true;
}

/* ---- libpq's keywords ---- */

static bool is_keyword_byte(char ch)
{
    return (ch >= 'a' && ch <= 'z') || ch == '_' || (ch >= '0' && ch <= '9');
}

const char *config_keyword_append(struct config_arena *a, const char *options, const char *keyword,
                                  const char *value)
{
    char *quoted = config_arena_alloc(a, 2 * strlen(value) + 1);
    if (quoted == NULL)
        return options;
    char *to = quoted;
    for (const char *from = value; *from != '\0'; from++) {
        if (*from == '\'' || *from == '\\')
            *to++ = '\\';
        *to++ = *from;
    }
    *to = '\0';
    return config_arena_print(a, "%s%s%s='%s'", options, *options == '\0' ? "" : " ", keyword,
                              quoted);
}

/* Past a value, quoted or plain; NULL: a quote that does not end. */
static const char *value_skip(const char *at)
{
    const bool quoted = *at == '\'';
    if (quoted)
        at++;
    for (; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (quoted && *at == '\'')
            return at + 1;
        else if (!quoted && is_blank(*at))
            return at;
    }
    return quoted ? NULL : at;
}

const char *config_keywords_check(struct config_arena *scratch, const char *text)
{
    static const char *const ours[] = {"host", "hostaddr", "port", "dbname"};
    for (const char *at = text;;) {
        while (is_blank(*at))
            at++;
        if (*at == '\0')
            return NULL;
        const char *start = at;
        while (is_keyword_byte(*at))
            at++;
        const size_t size = (size_t)(at - start);
        while (is_blank(*at))
            at++;
        if (size == 0 || *at != '=')
            return "options: write keyword=value pairs separated by blanks, as for libpq";
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
            if (strlen(ours[i]) == size && strncmp(ours[i], start, size) == 0)
                return config_arena_print(scratch,
                                          "options: %s cannot be given here: use the keys host and "
                                          "port of the node and dbname of the database",
                                          ours[i]);
        }
        at++;
        while (is_blank(*at))
            at++;
        at = value_skip(at);
        if (at == NULL)
            return "options: a quote does not end: add '";
    }
}

/* ---- the word that was meant ---- */

enum { WORD_MAX = 32 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and changes of a byte that turn one into the other. */
static size_t word_distance(const char *a, const char *b)
{
    const size_t a_size = strlen(a);
    const size_t b_size = strlen(b);
    size_t row[WORD_MAX + 1];
    if (a_size > WORD_MAX || b_size > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = least(change, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

const char *config_nearest(const char *word, const char *const *candidates)
{
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; /* farther is no likeness */
    for (size_t i = 0; candidates[i] != NULL; i++) {
        const size_t distance = word_distance(word, candidates[i]);
        if (distance >= best || distance >= strlen(candidates[i]))
            continue;
        best = distance;
        nearest = candidates[i];
    }
    return nearest;
}
