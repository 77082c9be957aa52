/* SPDX-License-Identifier: PostgreSQL
 *
 * core_bound: what the statements that portals hold will change of a session's settings, from their
 * Bind to their Execute. Empty but for a moment, and for most sessions always.
 */
#include <stdlib.h>

#include "core_follow.h"
#include "core_internal.h"

enum { BOUND_MAX = 64 };

struct core_bound {
    struct core_bound *next;
    struct router_changes *changes;
    uint8_t follow;
    size_t size;
    char portal[]; /* its name */
};

static void bound_free(struct core_bound *one)
{
    router_changes_free(one->changes);
    free(one);
}

void core_bound_clear(struct core_session *s)
{
    while (s->bound != NULL) {
        struct core_bound *one = s->bound;
        s->bound = one->next;
        bound_free(one);
    }
}

/* Takes it off the list; NULL: it will change nothing. */
static struct core_bound *bound_take(struct core_session *s, struct proto_span portal)
{
    for (struct core_bound **link = &s->bound; *link != NULL; link = &(*link)->next) {
        struct core_bound *one = *link;
        if (one->size == portal.size &&
            (portal.size == 0 || memcmp(one->portal, portal.base, portal.size) == 0)) {
            *link = one->next;
            return one;
        }
    }
    return NULL;
}

/* ---- values that are parameters ---- */

enum { TYPE_ANY = 0, TYPE_TEXT = 25, TYPE_UNKNOWN = 705, TYPE_VARCHAR = 1043 };

/* Are its bytes the text, in either format? That of a type which is not told is text. */
static bool is_text(struct proto_span types, uint32_t nth)
{
    if (types.size / 4 <= nth)
        return true;
    const uint32_t type = proto_load_u32(types.base + (size_t)nth * 4);
    return type == TYPE_ANY || type == TYPE_TEXT || type == TYPE_UNKNOWN || type == TYPE_VARCHAR;
}

/* The nth value of a Bind; base NULL: it is NULL. False: it is not here. */
static bool value_of(struct proto_span rest, uint32_t nth, struct proto_span *ret)
{
    struct proto_reader r = proto_reader_make(rest);
    (void)proto_read_bytes(&r, proto_read_u16(&r) * 2u);
    if (nth >= proto_read_u16(&r))
        return false;
    for (uint32_t i = 0; !r.failed; i++) {
        const uint32_t size = proto_read_u32(&r);
        const struct proto_span value =
            size == UINT32_MAX ? (struct proto_span){.base = NULL} : proto_read_bytes(&r, size);
        if (i == nth) {
            *ret = value;
            return !r.failed;
        }
    }
    return false;
}

/* False: one of them cannot be followed. */
static bool fill(struct router_changes *changes, struct proto_span types, struct proto_span rest)
{
    bool good = true;
    for (uint32_t i = 0; i < changes->count; i++) {
        const uint32_t parameter = changes->items[i].parameter;
        struct proto_span value = {.base = (const uint8_t *)"", .size = 1}; /* no value has a NUL */
        if (parameter == 0)
            continue;
        if (is_text(types, parameter - 1))
            (void)value_of(rest, parameter - 1, &value);
        good = router_change_set_value(changes, i, (const char *)value.base, value.size) && good;
    }
    return good;
}

bool core_bound_set(struct core_session *s, const struct router_class *class,
                    const struct proto_parse *what, const struct proto_bind *bind,
                    struct core_actions *a)
{
    const struct proto_span portal = bind->portal;
    uint32_t count = 0;
    struct core_bound *one = bound_take(s, portal);
    if (one != NULL)
        bound_free(one);
    if (!class->changes && !class->ends && !class->rolls_back)
        return true;
    for (one = s->bound; one != NULL; one = one->next)
        count++;
    if (count == BOUND_MAX) {
        core_follow_lose(s, a);
        return true;
    }
    one = malloc(sizeof(*one) + portal.size);
    if (one == NULL)
        abort();
    *one = (struct core_bound){.next = s->bound, .size = portal.size};
    if (portal.size > 0)
        memcpy(one->portal, portal.base, portal.size);
    one->follow = (uint8_t)core_follow_read(s, class, what->text, &one->changes);
    if (one->changes != NULL && !fill(one->changes, what->types, bind->rest)) {
        if (s->backend->is_replica && s->backend->status != 'E') {
            bound_free(one);
            return false;
        }
        if (!s->backend->is_replica)
            core_follow_lose(s, a);
    }
    s->bound = one;
    return true;
}

void core_bound_executed(struct core_session *s, struct core_expect *e, struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    const struct proto_span portal = proto_read_string(&r);
    struct core_bound *one = r.failed ? NULL : bound_take(s, portal);
    if (one == NULL)
        return;
    core_follow_sent(s, e, (enum core_follow)one->follow, one->changes);
    free(one);
}
