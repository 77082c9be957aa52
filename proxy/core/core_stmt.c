/* SPDX-License-Identifier: PostgreSQL
 *
 * core_stmt: prepared statements without a home: their texts, the names that clients gave them, and
 * what each backend has of them. Cold but for the look-ups.
 */
#include <stdlib.h>

#include "core_follow.h"
#include "core_internal.h"
#include "core_shape.h"
#include "core_stmt.h"

/* ---- texts ---- */

enum {
    STMT_BUCKETS = 16384,
    VARIANTS_MAX = 64, /* of one text */
};

struct core_stmts {
    struct core_stmt *buckets[STMT_BUCKETS];
    uint32_t count;
};

struct core_stmts *core_stmts_create(void)
{
    return calloc(1, sizeof(struct core_stmts));
}

void core_stmts_destroy(struct core_stmts *t)
{
    if (t == NULL)
        return;
    assert(t->count == 0); /* a reference leaked */
    free(t);
}

static struct core_stmt **bucket_of(struct core_stmts *t, const uint8_t digest[CORE_DIGEST_SIZE])
{
    return &t->buckets[(proto_load_u32(digest)) % STMT_BUCKETS];
}

void core_server_name(const uint8_t digest[CORE_DIGEST_SIZE], char ret[CORE_SERVER_NAME_SIZE + 1])
{
    static const char hex[] = "0123456789abcdef";
    memcpy(ret, "sg_", 3);
    for (uint32_t i = 0; i < CORE_DIGEST_SIZE; i++) {
        ret[3 + 2 * i] = hex[digest[i] >> 4];
        ret[4 + 2 * i] = hex[digest[i] & 15];
    }
    ret[CORE_SERVER_NAME_SIZE] = '\0';
}

void core_server_name_read(const char *name, uint8_t ret[CORE_DIGEST_SIZE])
{
    assert(strlen(name) == CORE_SERVER_NAME_SIZE);
    for (uint32_t i = 0; i < CORE_DIGEST_SIZE; i++) {
        const char high = name[3 + 2 * i];
        const char low = name[4 + 2 * i];
        ret[i] = (uint8_t)((high <= '9' ? high - '0' : high - 'a' + 10) << 4 |
                           (low <= '9' ? low - '0' : low - 'a' + 10));
    }
}

struct core_stmt *core_stmt_intern(struct core_worker *w, struct proto_span text,
                                   struct proto_span types, const struct core_known *known)
{
    struct core_stmt *stmt = malloc(sizeof(*stmt) + text.size + types.size + 1);
    if (stmt == NULL)
        abort();
    memset(stmt, 0, sizeof(*stmt));
    memcpy(stmt->data, text.base, text.size);
    stmt->data[text.size] = 0; /* separates text from types in the digest; types follow it */
    if (types.size > 0)
        memcpy(stmt->data + text.size + 1, types.base, types.size);
    uint8_t digest[PROTO_SHA256_SIZE];
    w->hashes->sha256(stmt->data, text.size + 1 + types.size, digest);

    struct core_stmt **bucket = bucket_of(w->stmts, digest);
    for (struct core_stmt *found = *bucket; found != NULL; found = found->next)
        if (memcmp(found->digest, digest, CORE_DIGEST_SIZE) == 0) {
            free(stmt);
            found->references++;
            return found;
        }
    memcpy(stmt->digest, digest, CORE_DIGEST_SIZE);
    core_server_name(stmt->digest, stmt->server_name);
    stmt->references = 1;
    stmt->known = *known;
    stmt->text_size = (uint32_t)text.size;
    stmt->types_size = (uint32_t)types.size;
    stmt->next = *bucket;
    *bucket = stmt;
    w->stmts->count++;
    return stmt;
}

void core_stmt_release(struct core_worker *w, struct core_stmt *stmt)
{
    assert(stmt->references > 0);
    if (--stmt->references > 0)
        return;
    while (stmt->variants != NULL) {
        struct core_stmt *variant = stmt->variants;
        stmt->variants = variant->next;
        core_stmt_release(w, variant);
    }
    if (stmt->is_variant) {
        free(stmt);
        return;
    }
    struct core_stmt **link = bucket_of(w->stmts, stmt->digest);
    while (*link != stmt)
        link = &(*link)->next;
    *link = stmt->next;
    w->stmts->count--;
    free(stmt);
}

static struct core_stmt *variant_make(const struct core_stmt *stmt,
                                      const uint8_t salt[CORE_DIGEST_SIZE])
{
    const size_t size = sizeof(*stmt) + stmt->text_size + 1 + stmt->types_size;
    struct core_stmt *variant = malloc(size);
    if (variant == NULL)
        abort();
    memcpy(variant, stmt, size);
    variant->variants = NULL;
    variant->is_variant = true;
    variant->references = 1; /* the list's */
    memcpy(variant->salt, salt, CORE_DIGEST_SIZE);
    for (size_t i = 0; i < CORE_DIGEST_SIZE; i++)
        variant->digest[i] ^= salt[i];
    core_server_name(variant->digest, variant->server_name);
    return variant;
}

struct core_stmt *core_stmt_under(struct core_session *s, struct core_stmt *stmt)
{
    uint8_t salt[CORE_DIGEST_SIZE];
    if (!core_follow_salt(s, salt))
        return stmt;
    uint32_t count = 0;
    struct core_stmt **link = &stmt->variants;
    for (; *link != NULL && memcmp((*link)->salt, salt, CORE_DIGEST_SIZE) != 0; count++) {
        if (count + 1 == VARIANTS_MAX) { /* the one that was used longest ago goes */
            struct core_stmt *last = *link;
            *link = NULL;
            while (last != NULL) {
                struct core_stmt *next = last->next;
                core_stmt_release(s->worker, last);
                last = next;
            }
            break;
        }
        link = &(*link)->next;
    }
    struct core_stmt *found = *link;
    if (found != NULL)
        *link = found->next;
    else
        found = variant_make(stmt, salt);
    found->next = stmt->variants;
    stmt->variants = found;
    return found;
}

/* ---- a client's names ---- */

struct core_names {
    uint64_t size; /* name_cost() of all of them */
    uint32_t count;
    uint32_t capacity; /* power of two; at most half full */
    struct core_name {
        char *name; /* NULL: free */
        struct core_stmt *stmt;
        uint64_t shape;
        uint32_t size;
        uint32_t hash;
    } slots[];
};

/* PostgreSQL's table of statements has keys of this size: what is longer is cut. */
static struct proto_span told(struct proto_span name)
{
    if (name.size > CORE_NAME_SIZE_TOLD)
        name.size = CORE_NAME_SIZE_TOLD;
    return name;
}

/* What a name takes of its client's share: slots half of which are free, the name, and the text,
 * which others may have too: who shares it today may be alone with it tomorrow. */
static uint64_t name_cost(size_t name_size, const struct core_stmt *stmt)
{
    return 2 * sizeof(struct core_name) + name_size + 1 + sizeof(*stmt) + stmt->text_size + 1 +
           stmt->types_size;
}

static uint32_t name_hash(struct proto_span name)
{
    return core_hash(CORE_HASH_START, name);
}

static struct core_name *slot_of(struct core_names *names, struct proto_span name, uint32_t hash)
{
    for (uint32_t i = hash;; i++) {
        struct core_name *slot = &names->slots[i & (names->capacity - 1)];
        if (slot->name == NULL || (slot->hash == hash && slot->size == name.size &&
                                   memcmp(slot->name, name.base, name.size) == 0))
            return slot;
    }
}

struct core_stmt *core_names_find(const struct core_names *names, struct proto_span name)
{
    uint64_t *shape;
    return core_names_find_shape(names, name, &shape);
}

uint64_t core_names_told(const struct core_names *names, struct proto_span name)
{
    uint64_t *shape;
    return core_names_find_shape(names, name, &shape) != NULL ? *shape : 0;
}

struct core_stmt *core_names_find_shape(const struct core_names *names, struct proto_span name,
                                        uint64_t **ret_shape)
{
    name = told(name);
    if (names == NULL)
        return NULL;
    union { /* slot_of() serves writers too */
        const struct core_names *in;
        struct core_names *out;
    } cast = {.in = names};
    struct core_name *slot = slot_of(cast.out, name, name_hash(name));
    *ret_shape = &slot->shape;
    return slot->stmt;
}

bool core_statement_read(const struct core_session *s, struct proto_span name,
                         struct proto_parse *ret)
{
    if (name.size == 0)
        return s->unnamed_id != 0 && proto_parse_read(core_unnamed_body(s), ret) == PROTO_OK;
    const struct core_stmt *stmt = core_names_find(s->names, name);
    if (stmt == NULL)
        return false;
    *ret = (struct proto_parse){
        .name = name, .text = core_stmt_text(stmt), .types = core_stmt_types(stmt)};
    return true;
}

static struct core_names *names_resize(struct core_names *old, uint32_t capacity)
{
    struct core_names *names =
        calloc(1, sizeof(*names) + (size_t)capacity * sizeof(names->slots[0]));
    if (names == NULL)
        abort();
    names->capacity = capacity;
    names->size = old != NULL ? old->size : 0;
    for (uint32_t i = 0; old != NULL && i < old->capacity; i++) {
        const struct core_name *from = &old->slots[i];
        if (from->name == NULL)
            continue;
        const struct proto_span name = {.base = (const uint8_t *)from->name, .size = from->size};
        *slot_of(names, name, from->hash) = *from;
        names->count++;
    }
    free(old);
    return names;
}

/* What a client was told of a name that a replay has taken back. */
struct core_taken {
    struct core_taken *next;
    uint64_t id; /* core_shape_id() of its statement */
    uint64_t shape;
    size_t size;
    char name[];
};

static void taken_clear(struct core_session *s)
{
    while (s->taken != NULL) {
        struct core_taken *one = s->taken;
        s->taken = one->next;
        free(one);
    }
}

/* ... and once more of its statement: that is told no second time. 0: nothing. */
static uint64_t taken_shape(struct core_session *s, struct proto_span name,
                            const struct core_stmt *stmt)
{
    if (!s->retried && !s->replay_on_primary) { /* that replay is long over */
        taken_clear(s);
        return 0;
    }
    for (struct core_taken **link = &s->taken; *link != NULL; link = &(*link)->next) {
        struct core_taken *one = *link;
        if (one->size != name.size || one->id != core_shape_id(stmt) ||
            memcmp(one->name, name.base, name.size) != 0)
            continue;
        const uint64_t shape = one->shape;
        *link = one->next;
        free(one);
        return shape;
    }
    return 0;
}

void core_names_take(struct core_session *s, struct proto_span name)
{
    const uint64_t shape = core_names_told(s->names, name);
    struct core_stmt *stmt = core_names_remove(s, name);
    if (stmt == NULL)
        return;
    name = told(name);
    if (shape != 0) {
        struct core_taken *one = malloc(sizeof(*one) + name.size);
        if (one == NULL)
            abort();
        *one = (struct core_taken){
            .next = s->taken, .id = core_shape_id(stmt), .shape = shape, .size = name.size};
        memcpy(one->name, name.base, name.size);
        s->taken = one;
    }
    core_stmt_release(s->worker, stmt);
}

bool core_names_set(struct core_session *s, struct proto_span name, struct core_stmt *stmt)
{
    name = told(name);
    const uint32_t count = s->names != NULL ? s->names->count : 0;
    const uint64_t size = s->names != NULL ? s->names->size : 0;
    const uint64_t cost = name_cost(name.size, stmt);
    if (size + cost > s->worker->limits.names_size_max) {
        core_stmt_release(s->worker, stmt);
        return false;
    }
    if (s->names == NULL)
        s->names = names_resize(NULL, 8);
    else if ((count + 1) * 2 > s->names->capacity)
        s->names = names_resize(s->names, s->names->capacity * 2);
    struct core_name *slot = slot_of(s->names, name, name_hash(name));
    assert(slot->name == NULL);
    char *copy = malloc(name.size + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, name.base, name.size);
    copy[name.size] = '\0';
    *slot = (struct core_name){
        .name = copy, .stmt = stmt, .size = (uint32_t)name.size, .hash = name_hash(name)};
    s->names->count++;
    s->names->size += cost;
    if (s->taken != NULL)
        slot->shape = taken_shape(s, name, stmt);
    return true;
}

struct core_stmt *core_names_remove(struct core_session *s, struct proto_span name)
{
    name = told(name);
    if (s->names == NULL)
        return NULL;
    struct core_name *slot = slot_of(s->names, name, name_hash(name));
    if (slot->name == NULL)
        return NULL;
    struct core_stmt *stmt = slot->stmt;
    s->names->size -= name_cost(slot->size, stmt);
    free(slot->name);
    *slot = (struct core_name){0};
    s->names->count--;
    /* close the gap, so that no chain of the probing is broken */
    const uint32_t mask = s->names->capacity - 1;
    for (uint32_t i = (uint32_t)(slot - s->names->slots) + 1;
         s->names->slots[i & mask].name != NULL; i++) {
        const struct core_name moved = s->names->slots[i & mask];
        s->names->slots[i & mask] = (struct core_name){0};
        const struct proto_span span = {.base = (const uint8_t *)moved.name, .size = moved.size};
        *slot_of(s->names, span, moved.hash) = moved;
    }
    return stmt;
}

void core_names_clear(struct core_session *s)
{
    taken_clear(s);
    if (s->names == NULL)
        return;
    for (uint32_t i = 0; i < s->names->capacity; i++) {
        if (s->names->slots[i].name == NULL)
            continue;
        core_stmt_release(s->worker, s->names->slots[i].stmt);
        free(s->names->slots[i].name);
    }
    free(s->names);
    s->names = NULL;
}

/* ---- what a backend has ---- */

enum { LRU_NONE = 0xffff };

struct core_lru {
    uint16_t capacity;
    uint16_t count;
    uint16_t newest;
    uint16_t oldest;
    uint16_t free; /* chained by `chain` */
    uint16_t heads[256];
    struct core_lru_entry {
        uint64_t shape;
        uint8_t digest[CORE_DIGEST_SIZE];
        uint16_t newer, older, chain;
    } entries[];
};

static void lru_reset(struct core_lru *lru)
{
    lru->count = 0;
    lru->newest = lru->oldest = LRU_NONE;
    for (uint32_t i = 0; i < 256; i++)
        lru->heads[i] = LRU_NONE;
    for (uint32_t i = 0; i < lru->capacity; i++)
        lru->entries[i].chain = i + 1u < lru->capacity ? (uint16_t)(i + 1) : LRU_NONE;
    lru->free = 0;
}

static struct core_lru *lru_of(struct core_backend *b)
{
    if (b->stmts != NULL)
        return b->stmts;
    const uint32_t capacity = b->worker->limits.prepared_max;
    assert(capacity > 0 && capacity < LRU_NONE);
    b->stmts = malloc(sizeof(*b->stmts) + capacity * sizeof(b->stmts->entries[0]));
    if (b->stmts == NULL)
        abort();
    b->stmts->capacity = (uint16_t)capacity;
    lru_reset(b->stmts);
    return b->stmts;
}

static uint16_t lru_find(const struct core_lru *lru, const uint8_t digest[CORE_DIGEST_SIZE])
{
    uint16_t i = lru->heads[digest[0]];
    while (i != LRU_NONE && memcmp(lru->entries[i].digest, digest, CORE_DIGEST_SIZE) != 0)
        i = lru->entries[i].chain;
    return i;
}

static void lru_unlink(struct core_lru *lru, uint16_t i)
{
    const struct core_lru_entry *e = &lru->entries[i];
    if (e->newer != LRU_NONE)
        lru->entries[e->newer].older = e->older;
    else
        lru->newest = e->older;
    if (e->older != LRU_NONE)
        lru->entries[e->older].newer = e->newer;
    else
        lru->oldest = e->newer;
}

static void lru_link_newest(struct core_lru *lru, uint16_t i)
{
    struct core_lru_entry *e = &lru->entries[i];
    e->newer = LRU_NONE;
    e->older = lru->newest;
    if (lru->newest != LRU_NONE)
        lru->entries[lru->newest].newer = i;
    else
        lru->oldest = i;
    lru->newest = i;
}

bool core_lru_touch(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE])
{
    struct core_lru *lru = b->stmts;
    if (lru == NULL)
        return false;
    const uint16_t i = lru_find(lru, digest);
    if (i == LRU_NONE)
        return false;
    if (lru->newest != i) {
        lru_unlink(lru, i);
        lru_link_newest(lru, i);
    }
    return true;
}

uint64_t *core_lru_shape(struct core_backend *b)
{
    assert(b->stmts != NULL && b->stmts->newest != LRU_NONE);
    return &b->stmts->entries[b->stmts->newest].shape;
}

uint64_t *core_lru_shape_of(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE])
{
    const uint16_t i = b->stmts != NULL ? lru_find(b->stmts, digest) : LRU_NONE;
    return i != LRU_NONE ? &b->stmts->entries[i].shape : NULL;
}

void core_lru_remove(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE])
{
    struct core_lru *lru = b->stmts;
    if (lru == NULL)
        return;
    uint16_t *link = &lru->heads[digest[0]];
    while (*link != LRU_NONE && memcmp(lru->entries[*link].digest, digest, CORE_DIGEST_SIZE) != 0)
        link = &lru->entries[*link].chain;
    if (*link == LRU_NONE)
        return;
    const uint16_t i = *link;
    *link = lru->entries[i].chain;
    lru_unlink(lru, i);
    lru->entries[i].chain = lru->free;
    lru->free = i;
    lru->count--;
}

bool core_lru_add(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE],
                  uint8_t ret_evicted[CORE_DIGEST_SIZE])
{
    struct core_lru *lru = lru_of(b);
    assert(lru_find(lru, digest) == LRU_NONE);
    bool evicted = false;
    if (lru->free == LRU_NONE) {
        memcpy(ret_evicted, lru->entries[lru->oldest].digest, CORE_DIGEST_SIZE);
        core_lru_remove(b, ret_evicted);
        evicted = true;
    }
    const uint16_t i = lru->free;
    struct core_lru_entry *e = &lru->entries[i];
    lru->free = e->chain;
    e->shape = 0;
    memcpy(e->digest, digest, CORE_DIGEST_SIZE);
    e->chain = lru->heads[digest[0]];
    lru->heads[digest[0]] = i;
    lru_link_newest(lru, i);
    lru->count++;
    return evicted;
}

void core_lru_clear(struct core_backend *b)
{
    if (b->stmts != NULL)
        lru_reset(b->stmts);
}
