/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_waitlist: who waits for a connection, in which order, and which nodes may serve it. First
 * in, first out for every node: of those that a node may serve it finds the oldest without a look
 * at the others, however many they are and whatever they wait for. Pure: no clock, no thread; a
 * waiter is the caller's memory.
 *
 * Waiters of one kind that the same nodes may serve stand in one lane, oldest first. A kind has at
 * most WAITLIST_LANES lanes, so that the oldest of a few heads is what a node serves next.
 */
#ifndef PROXY_WAITLIST_H
#define PROXY_WAITLIST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
    WAITLIST_NODES_MAX = 16,
    WAITLIST_LANES = 32,
    /* Lanes of more than one node. What is left has room for one of each node alone, and for those
     * whom no node may serve. */
    WAITLIST_WIDE_MAX = WAITLIST_LANES - WAITLIST_NODES_MAX - 1,
};

/* WAITLIST_FALLBACK: reads for which no replica is admitted, for the primary. HOMELESS: no node may
 * serve it now. PIN: it would keep its connection, and no more of them may be kept. */
enum waitlist_kind {
    WAITLIST_PRIMARY,
    WAITLIST_REPLICA,
    WAITLIST_FALLBACK,
    WAITLIST_LOGIN,
    WAITLIST_HOMELESS,
    WAITLIST_PIN,
    WAITLIST_KINDS
};

struct waiter {
    TAILQ_ENTRY(waiter) link;
    uint64_t since_ns;
    uint32_t mask; /* nodes that may serve it; may have become its home alone (waitlist_add) */
    uint8_t kind;  /* enum waitlist_kind */
    uint8_t lane;
};
TAILQ_HEAD(waiter_list, waiter);

struct waitlist_lane {
    struct waiter_list waiters; /* oldest first */
    struct waiter *hint;        /* the last that went far from the end */
    uint32_t mask;
};

struct waitlist_lanes {
    struct waitlist_lane *lanes; /* WAITLIST_LANES, or NULL before the first waiter */
    uint32_t used;               /* bits of the lanes that have waiters */
    uint32_t wide;               /* of them, those of more than one node */
    uint32_t of_node[WAITLIST_NODES_MAX];
};

struct waitlist {
    struct waitlist_lanes kinds[WAITLIST_KINDS];
};

void waitlist_init(struct waitlist *l);
void waitlist_deinit(struct waitlist *l);
/* kind, mask and since_ns are set; a waiter that is older than others takes its place before them.
 * Where a kind has too many lanes it waits for `home` alone, one of its nodes. */
void waitlist_add(struct waitlist *l, struct waiter *w, uint8_t home);
void waitlist_remove(struct waitlist *l, struct waiter *w);
/* The oldest of a kind that the node may serve, or NULL. */
struct waiter *waitlist_first(const struct waitlist *l, enum waitlist_kind kind, uint8_t node);
/* The oldest of a kind, whoever may serve it, or NULL. */
struct waiter *waitlist_oldest(const struct waitlist *l, enum waitlist_kind kind);

#endif
