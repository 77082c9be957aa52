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

void core_bound_set(struct core_session *s, const struct router_class *class,
                    struct proto_span text, struct proto_span portal, struct core_actions *a)
{
    uint32_t count = 0;
    struct core_bound *one = bound_take(s, portal);
    if (one != NULL)
        bound_free(one);
    if (!class->changes && !class->ends && !class->rolls_back)
        return;
    for (one = s->bound; one != NULL; one = one->next)
        count++;
    if (count == BOUND_MAX) {
        core_follow_lose(s, a);
        return;
    }
    one = malloc(sizeof(*one) + portal.size);
    if (one == NULL)
        abort();
    *one = (struct core_bound){.next = s->bound, .size = portal.size};
    if (portal.size > 0)
        memcpy(one->portal, portal.base, portal.size);
    one->follow = (uint8_t)core_follow_read(s, class, text, &one->changes);
    s->bound = one;
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
