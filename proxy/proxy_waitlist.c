/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_waitlist: see the header.
 */
#include "proxy_waitlist.h"

#include <assert.h>
#include <stdlib.h>

enum { NEAR_END = 4 };

void waitlist_init(struct waitlist *l)
{
    *l = (struct waitlist){0};
}

void waitlist_deinit(struct waitlist *l)
{
    for (int kind = 0; kind < WAITLIST_KINDS; kind++)
        free(l->kinds[kind].lanes);
    waitlist_init(l);
}

static bool is_wide(uint32_t mask)
{
    return (mask & (mask - 1)) != 0;
}

/* The lane of these nodes, or WAITLIST_LANES. */
static uint32_t lane_find(const struct waitlist_lanes *k, uint32_t mask)
{
    uint32_t bits = mask != 0 ? k->of_node[__builtin_ctz(mask)] : k->used;
    for (; bits != 0; bits &= bits - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(bits);
        if (k->lanes[i].mask == mask)
            return i;
    }
    return WAITLIST_LANES;
}

static void lane_mark(struct waitlist_lanes *k, uint32_t lane, bool used)
{
    const uint32_t bit = 1u << lane;
    const uint32_t mask = k->lanes[lane].mask;
    k->used = used ? k->used | bit : k->used & ~bit;
    if (is_wide(mask))
        k->wide += used ? 1u : UINT32_MAX;
    for (uint32_t nodes = mask; nodes != 0; nodes &= nodes - 1) {
        uint32_t *of = &k->of_node[__builtin_ctz(nodes)];
        *of = used ? *of | bit : *of & ~bit;
    }
}

static uint32_t lane_open(struct waitlist_lanes *k, uint32_t mask)
{
    assert(k->used != UINT32_MAX); /* WAITLIST_WIDE_MAX leaves room for all the narrow ones */
    const uint32_t lane = (uint32_t)__builtin_ctz(~k->used);
    k->lanes[lane].mask = mask;
    k->lanes[lane].hint = NULL;
    TAILQ_INIT(&k->lanes[lane].waiters);
    lane_mark(k, lane, true);
    return lane;
}

/* Nearly all come last, or nearly so. One that waits again after a change of mind keeps its place
 * in the order of time: many of those come in that order, and each begins its search where the last
 * one went. */
static void lane_insert(struct waitlist_lane *lane, struct waiter *w)
{
    struct waiter *after = TAILQ_LAST(&lane->waiters, waiter_list);
    for (int i = 0; i < NEAR_END && after != NULL && after->since_ns > w->since_ns; i++)
        after = TAILQ_PREV(after, waiter_list, link);
    const bool near_end = after == NULL || after->since_ns <= w->since_ns;
    if (!near_end) {
        struct waiter *next;
        after = lane->hint;
        while (after != NULL && after->since_ns > w->since_ns)
            after = TAILQ_PREV(after, waiter_list, link);
        next = after != NULL ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&lane->waiters);
        for (; next->since_ns <= w->since_ns; next = TAILQ_NEXT(next, link))
            after = next; /* the end is later: it was looked at */
        lane->hint = w;
    }
    if (after != NULL)
        TAILQ_INSERT_AFTER(&lane->waiters, after, w, link);
    else
        TAILQ_INSERT_HEAD(&lane->waiters, w, link);
}

void waitlist_add(struct waitlist *l, struct waiter *w, uint8_t home)
{
    struct waitlist_lanes *k = &l->kinds[w->kind];
    assert(w->kind < WAITLIST_KINDS && w->mask < 1u << WAITLIST_NODES_MAX);
    assert(w->mask == 0 || (w->mask & 1u << home) != 0);
    if (k->lanes == NULL && (k->lanes = calloc(WAITLIST_LANES, sizeof(*k->lanes))) == NULL)
        abort();
    uint32_t lane = lane_find(k, w->mask);
    if (lane == WAITLIST_LANES && is_wide(w->mask) && k->wide == WAITLIST_WIDE_MAX) {
        w->mask = 1u << home;
        lane = lane_find(k, w->mask);
    }
    if (lane == WAITLIST_LANES)
        lane = lane_open(k, w->mask);
    w->lane = (uint8_t)lane;
    lane_insert(&k->lanes[lane], w);
}

void waitlist_remove(struct waitlist *l, struct waiter *w)
{
    struct waitlist_lanes *k = &l->kinds[w->kind];
    struct waitlist_lane *lane = &k->lanes[w->lane];
    assert((k->used & 1u << w->lane) != 0);
    if (lane->hint == w)
        lane->hint = TAILQ_PREV(w, waiter_list, link);
    TAILQ_REMOVE(&lane->waiters, w, link);
    if (TAILQ_EMPTY(&lane->waiters))
        lane_mark(k, w->lane, false);
}

static struct waiter *oldest_of(const struct waitlist_lanes *k, uint32_t lanes)
{
    struct waiter *oldest = NULL;
    for (; lanes != 0; lanes &= lanes - 1) {
        struct waiter *w = TAILQ_FIRST(&k->lanes[__builtin_ctz(lanes)].waiters);
        if (oldest == NULL || w->since_ns < oldest->since_ns)
            oldest = w;
    }
    return oldest;
}

struct waiter *waitlist_first(const struct waitlist *l, enum waitlist_kind kind, uint8_t node)
{
    assert(node < WAITLIST_NODES_MAX);
    return oldest_of(&l->kinds[kind], l->kinds[kind].of_node[node]);
}

struct waiter *waitlist_oldest(const struct waitlist *l, enum waitlist_kind kind)
{
    return oldest_of(&l->kinds[kind], l->kinds[kind].used);
}
