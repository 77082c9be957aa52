/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_shared: histograms, trial permits and the list of pools. What each thread may touch is in
 * the header.
 */
#include "proxy_shared.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "proxy_retired.h"

#define FIRST_BOUND_NS UINT64_C(32000)

/* From here on the doublings have what objectives are written in between them. */
#define SPLIT_FROM 13
static const uint64_t split_bounds_ns[] = {250000000, FIRST_BOUND_NS << 13, 350000000, 500000000};
enum { SPLITS = sizeof(split_bounds_ns) / sizeof(split_bounds_ns[0]) };

double histogram_bound_s(uint32_t bucket)
{
    assert(bucket < PROXY_HISTOGRAM_BUCKETS);
    if (bucket == PROXY_HISTOGRAM_BUCKETS - 1)
        return INFINITY;
    if (bucket >= SPLIT_FROM && bucket < SPLIT_FROM + SPLITS)
        return (double)split_bounds_ns[bucket - SPLIT_FROM] / 1e9;
    return (double)(FIRST_BOUND_NS << (bucket < SPLIT_FROM ? bucket : bucket - (SPLITS - 1))) / 1e9;
}

static uint32_t __attribute__((noinline)) slow_bucket(uint32_t doubling, uint64_t sample_ns)
{
    uint32_t bucket = SPLIT_FROM;
    while (bucket < SPLIT_FROM + SPLITS && sample_ns >= split_bounds_ns[bucket - SPLIT_FROM])
        bucket++;
    return bucket < SPLIT_FROM + SPLITS ? bucket : doubling + SPLITS - 1;
}

void histogram_observe(struct histogram *h, uint64_t sample_ns)
{
    const uint64_t units = sample_ns / FIRST_BOUND_NS;
    uint32_t bucket = units == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(units);

    if (bucket >= SPLIT_FROM)
        bucket = slow_bucket(bucket, sample_ns);
    if (bucket >= PROXY_HISTOGRAM_BUCKETS)
        bucket = PROXY_HISTOGRAM_BUCKETS - 1;
    shared_add(&h->buckets[bucket], 1);
    shared_add(&h->sum_ns, sample_ns);
    shared_add(&h->count, 1);
}

bool shared_say(struct shared_said *said, const char *text, uint64_t now_ns, uint64_t *ret_hidden)
{
    const uint64_t before_ns = ck_pr_load_64(&said->at_ns);
    const uint64_t what = XXH3_64bits(text, strlen(text));
    const bool is_new = ck_pr_load_64(&said->what) != what;
    if ((before_ns != 0 && !is_new && now_ns - before_ns < SAID_AGAIN_NS) ||
        !ck_pr_cas_64(&said->at_ns, before_ns, now_ns)) {
        ck_pr_faa_64(&said->hidden, 1);
        return false;
    }
    ck_pr_store_64(&said->what, what);
    *ret_hidden = ck_pr_fas_64(&said->hidden, 0);
    return true;
}

bool shared_permit_take(struct shared_node *node, uint32_t generation)
{
    uint64_t word = ck_pr_load_64(&node->permits);

    while ((uint32_t)(word >> 32) == generation && (uint32_t)word > 0) {
        if (ck_pr_cas_64_value(&node->permits, word, word - 1, &word))
            return true;
    }
    return false;
}

static struct shared_pool *pool_find(struct shared_pool *pool, uint32_t database,
                                     const char *dbname, const char *user, uint8_t node)
{
    for (; pool != NULL; pool = pool->next) {
        if (pool->database == database && pool->node == node && strcmp(pool->user, user) == 0 &&
            strcmp(pool->dbname, dbname) == 0)
            return pool;
    }
    return NULL;
}

static struct shared_pool *pool_create(uint32_t database, const char *client_database,
                                       const char *dbname, const char *user, uint8_t node)
{
    struct shared_pool *pool = aligned_alloc(_Alignof(struct shared_pool), sizeof(*pool));
    if (pool == NULL)
        return NULL;
    memset(pool, 0, sizeof(*pool));
    pool->database = database;
    pool->node = node;
    memcpy(pool->user, user, strlen(user) + 1);
    memcpy(pool->dbname, dbname, strlen(dbname) + 1);
    memcpy(pool->client_database, client_database, strlen(client_database) + 1);
    return pool;
}

static struct shared_user *user_get_locked(struct proxy *p, const char *name)
{
    struct shared_user *user = p->users;
    while (user != NULL && strcmp(user->name, name) != 0)
        user = user->next;
    if (user != NULL || strlen(name) >= sizeof(user->name))
        return user;
    user = aligned_alloc(_Alignof(struct shared_user), sizeof(*user));
    if (user == NULL)
        return NULL;
    memset(user, 0, sizeof(*user));
    memcpy(user->name, name, strlen(name) + 1);
    user->next = p->users;
    p->users = user;
    return user;
}

struct shared_user *shared_user_get(struct proxy *p, const char *name)
{
    uv_mutex_lock(&p->pools_lock);
    struct shared_user *user = user_get_locked(p, name);
    uv_mutex_unlock(&p->pools_lock);
    return user;
}

struct shared_pool *shared_pool_get(struct proxy *p, uint32_t database, const char *client_database,
                                    const char *dbname, const char *user, uint8_t node)
{
    const struct shared_pool *sizes = NULL;
    if (strlen(user) >= sizeof(sizes->user) || strlen(dbname) >= sizeof(sizes->dbname) ||
        strlen(client_database) >= sizeof(sizes->client_database))
        return NULL;

    uv_mutex_lock(&p->pools_lock);
    struct shared_pool *pool = pool_find(p->pools, database, dbname, user, node);
    if (pool == NULL) {
        struct shared_user *owner = user_get_locked(p, user);
        pool = owner != NULL ? pool_create(database, client_database, dbname, user, node) : NULL;
        if (pool != NULL) {
            pool->owner = owner;
            pool->next = p->pools;
            /* the contents before the pointer: others read without the lock */
            __atomic_store_n(&p->pools, pool, __ATOMIC_RELEASE);
        }
    }
    if (pool != NULL)
        pool->references++;
    uv_mutex_unlock(&p->pools_lock);
    return pool;
}

void shared_pool_put(struct proxy *p, struct shared_pool *pool)
{
    uv_mutex_lock(&p->pools_lock);
    assert(pool->references > 0);
    if (--pool->references == 0) {
        struct shared_pool **link = &p->pools;
        while (*link != pool)
            link = &(*link)->next;
        __atomic_store_n(link, pool->next, __ATOMIC_RELEASE);
        (void)retired_add(p, pool, free);
    }
    uv_mutex_unlock(&p->pools_lock);
}

struct shared_pool *shared_pools_first(const struct proxy *p)
{
    return __atomic_load_n(&p->pools, __ATOMIC_ACQUIRE);
}

struct shared_pool *shared_pools_next(const struct shared_pool *pool)
{
    return __atomic_load_n(&pool->next, __ATOMIC_ACQUIRE);
}

/* ---- catalogs ---- */

static struct shared_catalog *catalog_find_locked(struct proxy *p, uint8_t shard,
                                                  const char *dbname)
{
    struct shared_catalog *c = p->catalogs;
    while (c != NULL && (c->shard != shard || strcmp(c->dbname, dbname) != 0))
        c = c->next;
    return c;
}

static struct shared_catalog *catalog_get_locked(struct proxy *p, uint8_t shard, const char *dbname)
{
    struct shared_catalog *c = catalog_find_locked(p, shard, dbname);
    if (c != NULL || strlen(dbname) >= sizeof(c->dbname))
        return c;
    c = aligned_alloc(_Alignof(struct shared_catalog), sizeof(*c));
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof(*c));
    if (uv_mutex_init(&c->lock) != 0) {
        free(c);
        return NULL;
    }
    c->shard = shard;
    memcpy(c->dbname, dbname, strlen(dbname) + 1);
    c->next = p->catalogs;
    __atomic_store_n(&p->catalogs, c, __ATOMIC_RELEASE);
    return c;
}

struct shared_catalog *shared_catalog_get(struct proxy *p, uint8_t shard, const char *dbname)
{
    uv_mutex_lock(&p->pools_lock);
    struct shared_catalog *c = catalog_get_locked(p, shard, dbname);
    if (c != NULL)
        c->references++;
    uv_mutex_unlock(&p->pools_lock);
    return c;
}

struct shared_catalog *shared_catalog_find(struct proxy *p, uint8_t shard, const char *dbname)
{
    uv_mutex_lock(&p->pools_lock);
    struct shared_catalog *c = catalog_find_locked(p, shard, dbname);
    if (c != NULL)
        c->references++;
    uv_mutex_unlock(&p->pools_lock);
    return c;
}

static void catalog_destroy(void *what)
{
    struct shared_catalog *c = what;
    uv_mutex_destroy(&c->lock);
    free(c->last.facts);
    free(c->last.names);
    free(c->defaults);
    free(c);
}

void shared_catalog_put(struct proxy *p, struct shared_catalog *c)
{
    uv_mutex_lock(&p->pools_lock);
    assert(c->references > 0);
    if (--c->references == 0) {
        struct shared_catalog **link = &p->catalogs;
        while (*link != c)
            link = &(*link)->next;
        __atomic_store_n(link, c->next, __ATOMIC_RELEASE);
        (void)retired_add(p, c, catalog_destroy);
    }
    uv_mutex_unlock(&p->pools_lock);
}

struct shared_catalog *shared_catalogs_first(const struct proxy *p)
{
    return __atomic_load_n(&p->catalogs, __ATOMIC_ACQUIRE);
}

struct shared_catalog *shared_catalogs_next(const struct shared_catalog *c)
{
    return __atomic_load_n(&c->next, __ATOMIC_ACQUIRE);
}

void shared_catalogs_free(struct proxy *p)
{
    while (p->catalogs != NULL) {
        struct shared_catalog *c = p->catalogs;
        p->catalogs = c->next;
        catalog_destroy(c);
    }
}
