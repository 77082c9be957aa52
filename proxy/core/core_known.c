/* SPDX-License-Identifier: PostgreSQL
 *
 * core_known: what a text is, for the session that asks. Prepared statements are kept for long, and
 * some by several clients: what one of them learned, or what names mean to its user, under its
 * search_path, is not handed to another.
 */
#include "core_known.h"
#include "core_internal.h"

void core_classify(const struct core_session *s, struct proto_span text, struct core_known *ret,
                   struct router_detail *ret_detail)
{
    struct router_cache *cache = s->worker->cache;
    const struct router_facts *facts = core_catalog_facts(s);
    const struct router_context context = {
        .facts = facts,
        .stale = facts == NULL && core_catalog_is_known(s) && !core_catalog_is_orphaned(s)
                     ? s->group->catalog->facts
                     : NULL,
        .key = core_catalog_key_with(s, facts),
        .any_path = core_catalog_may_look_anywhere(s),
        .no_hints = s->group->database->no_hints,
        .strict = s->group->catalog != NULL && s->group->database->isolates,
        .orphaned = facts == NULL && s->group->catalog != NULL && core_catalog_is_orphaned(s)};
    ret->key = context.key;
    ret->learned = s->worker->counters.learned;
    ret->typed = false;
    router_cache_classify(cache, &context,
                          (struct router_name){.base = (const char *)text.base, .size = text.size},
                          &ret->class, &ret->hash, ret_detail);
}

enum { FIRST_OF_USERS = 16384 }; /* the first OID that PostgreSQL has not given away itself */

static void note_types(struct core_known *known)
{
    if (!known->typed)
        return;
    known->class.taints = true;
    known->class.proven = false;
}

void core_classify_parse(const struct core_session *s, const struct proto_parse *parse,
                         struct core_known *ret)
{
    core_classify(s, parse->text, ret, NULL);
    for (size_t i = 0; i + sizeof(uint32_t) <= parse->types.size; i += sizeof(uint32_t))
        ret->typed = ret->typed || proto_load_u32(parse->types.base + i) >= FIRST_OF_USERS;
    note_types(ret);
}

void core_known_renew(const struct core_session *s, struct core_known *known,
                      struct proto_span text)
{
    if ((known->hash.low | known->hash.high) == 0)
        return; /* it was not read: no context makes more of it */
    const uint64_t key = core_catalog_key(s);
    const struct router_hash hash = router_cache_rehash(known->hash, known->key, key);
    if (!router_cache_known(s->worker->cache, &hash, &known->class)) {
        const bool typed = known->typed;
        core_classify(s, text, known, NULL);
        known->typed = typed;
    } else {
        known->hash = hash;
        known->key = key;
        known->learned = s->worker->counters.learned;
    }
    note_types(known);
}
