/* SPDX-License-Identifier: PostgreSQL
 *
 * router_cache: from a statement text to its class without parsing: lex, hash, look up.
 *
 * One cache a worker, of fixed size, made at start-up; not shared between threads. The key is a
 * keyed 128-bit hash of the text's tokens: literals and comments are left out, lists of literals
 * count as one. The key is secret and random, so that nobody can build a collision that makes a
 * write look like a read. The warm path (a hit) takes no lock, no malloc and no parse.
 *
 * A context's key is mixed into each hash. So verdicts, proofs and what was learned belong to one
 * database, user, search_path and set of facts.
 */
#ifndef ROUTER_CACHE_H
#define ROUTER_CACHE_H

#include "router_classify.h"
#include "router_lexer.h"

#define ROUTER_CACHE_LEARNED_NS (UINT64_C(3600) * 1000000000)

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
/* From now on, what parsing takes is added to *work, in about as many instructions. */
void router_cache_count_work(struct router_cache *cache, uint64_t *work);

/*
 * The class of a text, from the cache or by router_classify(). context may be NULL, and is then not
 * part of the hash. `ret_hash` (may be NULL) is the token hash under that context, with which a
 * class can be corrected; all zero: the text has none. ret_detail may be NULL; it is filled only on
 * the cold path, which every statement that has details takes (they are not cacheable).
 */
void router_cache_classify(struct router_cache *cache, const struct router_context *context,
                           struct router_name text, struct router_class *ret,
                           struct router_hash *ret_hash, struct router_detail *ret_detail);

/* What is remembered of a hash. False: nothing. */
bool router_cache_known(struct router_cache *cache, const struct router_hash *hash,
                        struct router_class *ret);
/* The same text's hash under another context. */
struct router_hash router_cache_rehash(struct router_hash hash, uint64_t from_key, uint64_t to_key);

/* A replica has run it, so that it writes nothing. Only what is remembered as a read is touched. */
void router_cache_prove(struct router_cache *cache, const struct router_hash *hash);
bool router_cache_proven(struct router_cache *cache, const struct router_hash *hash);

/*
 * Remembers that this statement is a write (reason `learned`), because a replica refused it. That
 * holds for ROUTER_CACHE_LEARNED_NS: a function may be made anew, and no lesson stays for ever.
 */
void router_cache_learn(struct router_cache *cache, const struct router_hash *hash,
                        uint64_t now_ns);
/* What time it is, for what ages. */
void router_cache_clock(struct router_cache *cache, uint64_t now_ns);

#endif
