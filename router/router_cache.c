/* SPDX-License-Identifier: PostgreSQL
 *
 * router_cache: sets of four, found by the hash's low bits and compared by the whole hash.
 */
#include "router_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, ENTRIES_MIN = 64 };

struct entry {
    struct router_hash hash;
    struct router_class class;
    bool taken;
    bool used; /* since the hand came by */
};

struct set {
    struct entry entries[WAYS];
    uint8_t hand;
};

struct router_cache {
    struct router_cache_stats stats;
    uint32_t mask;
    uint8_t key[ROUTER_KEY_SIZE];
    struct set sets[];
};

struct router_cache *router_cache_create(uint32_t entries, const uint8_t key[ROUTER_KEY_SIZE])
{
    uint32_t sets = ENTRIES_MIN / WAYS;
    while (sets < UINT32_MAX / (2 * WAYS) && sets * WAYS < entries)
        sets *= 2;
    struct router_cache *cache = calloc(1, sizeof(*cache) + sets * sizeof(cache->sets[0]));
    if (cache == NULL)
        return NULL;
    cache->mask = sets - 1;
    memcpy(cache->key, key, ROUTER_KEY_SIZE);
    return cache;
}

void router_cache_destroy(struct router_cache *cache)
{
    free(cache);
}

const struct router_cache_stats *router_cache_stats(const struct router_cache *cache)
{
    return &cache->stats;
}

static struct entry *find(struct set *set, const struct router_hash *hash)
{
    for (uint32_t i = 0; i < WAYS; i++) {
        struct entry *e = &set->entries[i];
        if (e->taken && e->hash.low == hash->low && e->hash.high == hash->high)
            return e;
    }
    return NULL;
}

/* The entry to overwrite: a free one, else the first that was not used since the hand came by. */
static struct entry *evict(struct router_cache *cache, struct set *set)
{
    for (uint32_t i = 0; i < WAYS; i++) {
        if (!set->entries[i].taken)
            return &set->entries[i];
    }
    for (;;) {
        struct entry *e = &set->entries[set->hand];
        set->hand = (uint8_t)((set->hand + 1) % WAYS);
        if (!e->used) {
            cache->stats.evictions++;
            return e;
        }
        e->used = false;
    }
}

static struct set *set_of(struct router_cache *cache, const struct router_hash *hash)
{
    return &cache->sets[hash->low & cache->mask];
}

static void store(struct router_cache *cache, const struct router_hash *hash,
                  const struct router_class *class)
{
    struct set *set = set_of(cache, hash);
    struct entry *e = find(set, hash);
    if (e == NULL)
        e = evict(cache, set);
    *e = (struct entry){.hash = *hash, .class = *class, .taken = true, .used = true};
}

void router_cache_classify(struct router_cache *cache, const char *text, size_t size,
                           struct router_class *ret, struct router_hash *ret_hash,
                           struct router_detail *ret_detail)
{
    struct router_scan scan = {0};
    if (size <= ROUTER_TEXT_SIZE_MAX)
        router_lexer_scan(text, size, cache->key, &scan);
    if (ret_hash != NULL)
        *ret_hash = scan.hash;
    const bool may_cache = scan.whole && !scan.has_hint && !scan.literal_matters;
    if (may_cache) {
        struct entry *e = find(set_of(cache, &scan.hash), &scan.hash);
        if (e != NULL) {
            e->used = true;
            cache->stats.hits++;
            *ret = e->class;
            return;
        }
    }
    router_classify(text, size, ret, ret_detail);
    if (may_cache && ret->cacheable) {
        cache->stats.misses++;
        store(cache, &scan.hash, ret);
    } else {
        cache->stats.uncacheable++;
    }
}

void router_cache_prove(struct router_cache *cache, const struct router_hash *hash)
{
    struct entry *e = find(set_of(cache, hash), hash);
    if (e != NULL && e->class.verdict == ROUTER_VERDICT_READ)
        e->class.proven = true;
}

bool router_cache_proven(struct router_cache *cache, const struct router_hash *hash)
{
    const struct entry *e = find(set_of(cache, hash), hash);
    return e != NULL && e->class.proven;
}

void router_cache_learn(struct router_cache *cache, const struct router_hash *hash)
{
    struct set *set = set_of(cache, hash);
    const struct entry *e = find(set, hash);
    struct router_class class = {.cacheable = true, .alone = true};
    if (e != NULL)
        class = e->class;
    class.verdict = ROUTER_VERDICT_WRITE;
    class.reason = ROUTER_REASON_LEARNED;
    class.writes = true;
    class.proven = false;
    class.home = true;
    class.taints = true;
    store(cache, hash, &class);
}
