/* SPDX-License-Identifier: PostgreSQL
 *
 * router_hint: comments are mostly other people's, so everything that is not ours is passed over.
 */
#include "router_hint.h"

#include <string.h>

#include "router_names.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static struct router_name trim(struct router_name s)
{
    while (s.size > 0 && is_blank(s.base[0])) {
        s.base++;
        s.size--;
    }
    while (s.size > 0 && is_blank(s.base[s.size - 1]))
        s.size--;
    return s;
}

/* The comment without its delimiters; of a block comment that is a planner hint, nothing. */
static struct router_name content(const char *comment, size_t size)
{
    if (comment[0] == '-')
        return trim((struct router_name){.base = comment + 2, .size = size - 2});
    if (size < 4 || comment[2] == '+')
        return (struct router_name){.base = comment, .size = 0};
    return trim((struct router_name){.base = comment + 2, .size = size - 4});
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Copies a value, sqlcommenter's %XX undone; false: it is empty or does not fit. */
static bool keep(char *to, size_t room, struct router_name value)
{
    char text[64]; /* as long as the longest value that is kept */
    size_t used = 0;
    for (size_t i = 0; i < value.size; i++) {
        int c = (unsigned char)value.base[i];
        if (c == '%' && value.size - i > 2 && hex_digit(value.base[i + 1]) >= 0 &&
            hex_digit(value.base[i + 2]) >= 0) {
            c = hex_digit(value.base[i + 1]) * 16 + hex_digit(value.base[i + 2]);
            i += 2;
        }
        if (c == '\0' || used + 1 >= room || used + 1 >= sizeof(text))
            return false;
        text[used++] = (char)c;
    }
    if (used == 0)
        return false;
    memcpy(to, text, used);
    to[used] = '\0';
    return true;
}

static bool take_route(struct router_name value, struct router_hint *hint)
{
    if (router_name_is(value, "primary"))
        hint->route = ROUTER_ROUTE_PRIMARY; /* wins over any other */
    else if (router_name_is(value, "replica"))
        hint->route =
            hint->route == ROUTER_ROUTE_PRIMARY ? ROUTER_ROUTE_PRIMARY : ROUTER_ROUTE_REPLICA;
    else
        return router_name_is(value, "auto");
    return true;
}

static bool take_pair(struct router_name key, struct router_name value, struct router_hint *hint)
{
    if (router_name_is(key, "route"))
        return take_route(value, hint);
    if (router_name_is(key, "max_lag"))
        return keep(hint->max_lag, sizeof(hint->max_lag), value);
    if (router_name_is(key, "consistency"))
        return keep(hint->consistency, sizeof(hint->consistency), value);
    if (router_name_is(key, "tenant"))
        return keep(hint->tenant, sizeof(hint->tenant), value);
    return false;
}

/* The next key=value of *rest, which moves behind it; false: none is left. */
static bool next_pair(struct router_name *rest, struct router_name *ret_key,
                      struct router_name *ret_value, bool quoted)
{
    const char *equals = memchr(rest->base, '=', rest->size);
    if (equals == NULL)
        return false;
    const char *end = rest->base + rest->size;
    const char *from = equals + 1;
    const char *to = from;
    if (quoted) {
        if (from == end || *from != '\'')
            return false;
        for (to = ++from; to < end && *to != '\''; to++)
            to += *to == '\\' && to + 1 < end;
        if (to == end)
            return false;
    } else {
        while (to < end && *to != ',')
            to++;
    }
    *ret_key =
        trim((struct router_name){.base = rest->base, .size = (size_t)(equals - rest->base)});
    *ret_value = trim((struct router_name){.base = from, .size = (size_t)(to - from)});
    const char *next = memchr(to, ',', (size_t)(end - to));
    rest->base = next != NULL ? next + 1 : end;
    rest->size = (size_t)(end - rest->base);
    return true;
}

bool router_hint_read(const char *comment, size_t size, struct router_hint *hint)
{
    struct router_name rest = content(comment, size);
    const bool ours = router_name_starts(rest, "switchgear:");
    if (ours) {
        rest.base += sizeof("switchgear:") - 1;
        rest.size -= sizeof("switchgear:") - 1;
    } else if (rest.size < 4 || rest.base[rest.size - 1] != '\'' ||
               memchr(rest.base, '=', rest.size) == NULL) {
        return false;
    }
    bool said = false;
    struct router_name key;
    struct router_name value;
    while (next_pair(&rest, &key, &value, !ours)) {
        if (ours && value.size >= 2 && value.base[0] == '\'' && value.base[value.size - 1] == '\'')
            value = (struct router_name){.base = value.base + 1, .size = value.size - 2};
        said |= take_pair(key, value, hint);
    }
    return said;
}
