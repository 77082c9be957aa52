/* SPDX-License-Identifier: PostgreSQL
 *
 * router_facts: a table of hashed names, at most half full, that is never changed.
 */
#include "router_facts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct slot {
    uint64_t hash; /* of the name; never 0 where the slot is taken */
    uint8_t kind;
    uint8_t flags; /* 0: free */
};

struct router_facts {
    uint64_t digest;
    uint32_t mask;
    uint32_t settings_count;
    char *settings[ROUTER_FACT_SETTINGS_MAX];
    struct slot slots[];
};

struct router_name router_name_cut(struct router_name name)
{
    if (name.size <= ROUTER_FACT_NAME_SIZE)
        return name;
    size_t size = ROUTER_FACT_NAME_SIZE;
    while (size > 0 && ((uint8_t)name.base[size] & 0xc0) == 0x80) /* within a character */
        size--;
    return (struct router_name){.base = name.base, .size = size};
}

static uint64_t hash_of(enum router_fact_kind kind, struct router_name name)
{
    const struct router_name cut = router_name_cut(name);
    const uint64_t hash = XXH3_64bits_withSeed(cut.base, cut.size, (uint64_t)kind);
    return hash != 0 ? hash : 1;
}

/* The slot of this name, or the free one where it would be. */
static uint32_t find(const struct router_facts *f, enum router_fact_kind kind, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & f->mask;
    while (f->slots[at].flags != 0 && (f->slots[at].hash != hash || f->slots[at].kind != kind))
        at = (at + 1) & f->mask;
    return at;
}

/* A sum, so that the order in which a server lists its objects does not count. */
static uint64_t digest_of(const struct router_facts *f)
{
    uint64_t digest = 0;
    for (uint32_t i = 0; i <= f->mask; i++) {
        const struct slot *s = &f->slots[i];
        const uint64_t parts[] = {s->hash, s->kind, s->flags};
        if (s->flags != 0)
            digest += XXH3_64bits(parts, sizeof(parts));
    }
    for (uint32_t i = 0; i < f->settings_count; i++)
        digest += XXH3_64bits(f->settings[i], strlen(f->settings[i]));
    return digest != 0 ? digest : 1;
}

struct router_facts *router_facts_create(const struct router_fact *facts, uint32_t facts_count,
                                         const char *const *settings, uint32_t settings_count)
{
    uint32_t slots_count = 16;
    if (facts_count > ROUTER_FACTS_MAX)
        return NULL;
    while (slots_count < 2 * facts_count)
        slots_count *= 2;
    struct router_facts *f = calloc(1, sizeof(*f) + slots_count * sizeof(f->slots[0]));
    if (f == NULL)
        return NULL;
    f->mask = slots_count - 1;
    for (uint32_t i = 0; i < facts_count; i++) {
        const struct router_fact *one = &facts[i];
        assert(one->kind < ROUTER_FACT_KINDS);
        const uint64_t hash = hash_of(one->kind, one->name);
        struct slot *slot = &f->slots[find(f, one->kind, hash)];
        slot->hash = hash;
        slot->kind = one->kind;
        slot->flags |= (uint8_t)(one->flags | ROUTER_FACT_THERE);
    }
    for (uint32_t i = 0; i < settings_count && i < ROUTER_FACT_SETTINGS_MAX; i++) {
        f->settings[i] = strdup(settings[i]);
        if (f->settings[i] == NULL) {
            router_facts_destroy(f);
            return NULL;
        }
        f->settings_count++;
    }
    f->digest = digest_of(f);
    return f;
}

void router_facts_destroy(struct router_facts *f)
{
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < f->settings_count; i++)
        free(f->settings[i]);
    free(f);
}

uint8_t router_facts_of(const struct router_facts *f, enum router_fact_kind kind,
                        struct router_name name)
{
    return f->slots[find(f, kind, hash_of(kind, name))].flags;
}

uint8_t router_facts_of_default(const struct router_facts *f, const char *name)
{
    return router_facts_of(f, ROUTER_FACT_DEFAULT, (struct router_name){name, strlen(name)});
}

uint64_t router_facts_digest(const struct router_facts *f)
{
    return f->digest;
}

uint32_t router_facts_settings_count(const struct router_facts *f)
{
    return f->settings_count;
}

const char *router_facts_setting(const struct router_facts *f, uint32_t index)
{
    assert(index < f->settings_count);
    return f->settings[index];
}
