/* SPDX-License-Identifier: PostgreSQL
 *
 * router_cache: from a statement text to its class without parsing: lex, hash, look up.
 *
 * One cache a worker, of fixed size, made at start-up; not shared between threads. The key is a
 * keyed 128-bit hash of the text's tokens: literals and comments are left out, lists of literals
 * count as one. The key is secret and random, so that nobody can build a collision that makes a
 * write look like a read. The warm path (a hit) takes no lock, no malloc and no parse.
 */
#ifndef ROUTER_CACHE_H
#define ROUTER_CACHE_H

#include "router_classify.h"
#include "router_lexer.h"

struct router_cache; /* opaque: sets of 4 entries with a clock hand a set */

/* `entries` is rounded up to a power of two, at least 64. NULL: no memory. */
struct router_cache *router_cache_create(uint32_t entries, const uint8_t key[ROUTER_KEY_SIZE]);
void router_cache_destroy(struct router_cache *cache);

struct router_cache_stats {
    uint64_t hits;
    uint64_t misses;      /* parsed, then stored */
    uint64_t uncacheable; /* parsed each time */
    uint64_t evictions;
};
const struct router_cache_stats *router_cache_stats(const struct router_cache *cache);

/*
 * The class of a text, from the cache or by router_classify(). `ret_hash` (may be NULL) is the
 * token hash, with which a class can be corrected. ret_detail may be NULL; it is filled only on
 * the cold path, which every statement that has details takes (they are not cacheable).
 */
void router_cache_classify(struct router_cache *cache, const char *text, size_t size,
                           struct router_class *ret, struct router_hash *ret_hash,
                           struct router_detail *ret_detail);

/* A replica has run it, so that it writes nothing. Only what is remembered as a read is touched. */
void router_cache_prove(struct router_cache *cache, const struct router_hash *hash);
bool router_cache_proven(struct router_cache *cache, const struct router_hash *hash);

/* Remembers that this statement is a write (reason `learned`), because a replica refused it. */
void router_cache_learn(struct router_cache *cache, const struct router_hash *hash);

#endif
