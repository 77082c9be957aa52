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
    uint64_t learned_ns; /* where the reason is `learned` */
    bool taken;
    bool used; /* since the hand came by */
};

struct set {
    struct entry entries[WAYS];
    uint8_t hand;
};

struct router_cache {
    struct router_cache_stats stats;
    uint64_t *work; /* or NULL */
    uint64_t now_ns;
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

static bool is_over(const struct router_cache *cache, const struct entry *e)
{
    return e->class.reason == ROUTER_REASON_LEARNED && cache->now_ns > e->learned_ns &&
           cache->now_ns - e->learned_ns >= ROUTER_CACHE_LEARNED_NS;
}

static struct set *set_of(struct router_cache *cache, const struct router_hash *hash)
{
    return &cache->sets[hash->low & cache->mask];
}

static bool has_hash(const struct router_hash *hash)
{
    return (hash->low | hash->high) != 0;
}

static inline struct entry *find(struct router_cache *cache, const struct router_hash *hash)
{
    struct set *set = set_of(cache, hash);
    for (uint32_t i = 0; i < WAYS; i++) {
        struct entry *e = &set->entries[i];
        if (!e->taken || e->hash.low != hash->low || e->hash.high != hash->high)
            continue;
        if (!is_over(cache, e))
            return e;
        e->taken = false;
        return NULL;
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

static struct entry *store(struct router_cache *cache, const struct router_hash *hash,
                           const struct router_class *class)
{
    struct entry *e = find(cache, hash);
    if (e == NULL)
        e = evict(cache, set_of(cache, hash));
    *e = (struct entry){.hash = *hash, .class = *class, .taken = true, .used = true};
    return e;
}

static inline struct router_hash rehash(struct router_hash hash, uint64_t from_key, uint64_t to_key)
{
    const uint64_t low = UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t high = UINT64_C(0xc2b2ae3d27d4eb4f);
    hash.low ^= (from_key * low) ^ (to_key * low);
    hash.high ^= (from_key * high) ^ (to_key * high);
    return hash;
}

struct router_hash router_cache_rehash(struct router_hash hash, uint64_t from_key, uint64_t to_key)
{
    return rehash(hash, from_key, to_key);
}

static inline bool known(struct router_cache *cache, const struct router_hash *hash,
                         struct router_class *ret)
{
    struct entry *e = has_hash(hash) ? find(cache, hash) : NULL;
    if (e == NULL)
        return false;
    e->used = true;
    *ret = e->class;
    return true;
}

/* What literals decide is parsed each time; yet what a replica has refused is no read. */
static void apply_lesson(struct router_cache *cache, const struct router_hash *hash,
                         struct router_class *class)
{
    const struct entry *e = class->verdict == ROUTER_VERDICT_READ ? find(cache, hash) : NULL;
    if (e == NULL || e->class.reason != ROUTER_REASON_LEARNED)
        return;
    class->verdict = ROUTER_VERDICT_WRITE;
    class->reason = ROUTER_REASON_LEARNED;
    class->writes = class->home = class->taints = true;
    class->proven = class->hinted = false;
}

void router_cache_count_work(struct router_cache *cache, uint64_t *work)
{
    cache->work = work;
}

static __attribute__((noinline)) void parse(struct router_cache *cache,
                                            const struct router_context *context,
                                            struct router_name text, struct router_class *ret,
                                            struct router_detail *ret_detail)
{
    struct router_detail unwanted;
    struct router_detail *detail = ret_detail != NULL ? ret_detail : &unwanted;
    router_classify(text.base, text.size, context, ret, detail);
    if (cache->work != NULL)
        *cache->work += detail->work;
}

void router_cache_classify(struct router_cache *cache, const struct router_context *context,
                           struct router_name text, struct router_class *ret,
                           struct router_hash *ret_hash, struct router_detail *ret_detail)
{
    struct router_scan scan = {0};
    if (text.size <= ROUTER_TEXT_SIZE_MAX)
        router_lexer_scan(text.base, text.size, cache->key, &scan);
    if (!scan.whole)
        scan.hash = (struct router_hash){0};
    else if (context != NULL)
        scan.hash = rehash(scan.hash, 0, context->key);
    if (ret_hash != NULL)
        *ret_hash = scan.hash;
    const bool may_cache = scan.whole && !scan.has_hint && !scan.literal_matters;
    if (may_cache && known(cache, &scan.hash, ret)) {
        cache->stats.hits++;
        return;
    }
    parse(cache, context, text, ret, ret_detail);
    if (may_cache && ret->cacheable) {
        cache->stats.misses++;
        (void)store(cache, &scan.hash, ret);
    } else {
        cache->stats.uncacheable++;
        apply_lesson(cache, &scan.hash, ret);
    }
}

bool router_cache_known(struct router_cache *cache, const struct router_hash *hash,
                        struct router_class *ret)
{
    return known(cache, hash, ret);
}

void router_cache_prove(struct router_cache *cache, const struct router_hash *hash)
{
    struct entry *e = find(cache, hash);
    if (e != NULL && e->class.verdict == ROUTER_VERDICT_READ)
        e->class.proven = true;
}

bool router_cache_proven(struct router_cache *cache, const struct router_hash *hash)
{
    const struct entry *e = find(cache, hash);
    return e != NULL && e->class.proven;
}

void router_cache_learn(struct router_cache *cache, const struct router_hash *hash, uint64_t now_ns)
{
    if (!has_hash(hash))
        return;
    const struct entry *e = find(cache, hash);
    struct router_class class = {.cacheable = true, .alone = true};
    if (e != NULL)
        class = e->class;
    class.verdict = ROUTER_VERDICT_WRITE;
    class.reason = ROUTER_REASON_LEARNED;
    class.writes = true;
    class.proven = false;
    class.home = true;
    class.taints = true;
    store(cache, hash, &class)->learned_ns = now_ns;
}

void router_cache_clock(struct router_cache *cache, uint64_t now_ns)
{
    cache->now_ns = now_ns;
}
