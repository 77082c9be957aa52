/* SPDX-License-Identifier: PostgreSQL
 *
 * core_catalog: what the names in a session's texts mean, as far as that is known. For the session
 * core alone.
 */
#ifndef CORE_CATALOG_H
#define CORE_CATALOG_H

#include "core_settings.h"
#include "core_state.h"

/* Of settings that names depend on: search_path among others. */
uint64_t core_catalog_salt(const struct core_session *s);
/* The facts that hold for this session's next text; NULL: none. */
static inline const struct router_facts *core_catalog_facts(const struct core_session *s)
{
    const struct core_catalog *c = s->group->catalog;
    return c != NULL && c->facts != NULL &&
                   __atomic_load_n(c->changes, __ATOMIC_ACQUIRE) == c->facts_changes
               ? c->facts
               : NULL;
}

/* Are there any, though some that DDL may have made old? */
static inline bool core_catalog_is_known(const struct core_session *s)
{
    return s->group->catalog != NULL && s->group->catalog->facts != NULL;
}
/* Is there neither a fact nor a primary that could be asked, or could answer instead? */
bool core_catalog_is_orphaned(const struct core_session *s);
/* May its search_path be another than the one that it began with: set, or what a pin hides? */
static inline bool core_catalog_may_look_anywhere(const struct core_session *s)
{
    return s->settings->salted || s->local_salted || s->salt_unique ||
           (s->pins & (ROUTER_PIN_POOL | ROUTER_PIN_SET | ROUTER_PIN_SET_CONFIG |
                       ROUTER_PIN_OPAQUE | ROUTER_PIN_OTHER)) != 0;
}
/* Of the context of this session's next text, with these facts. Cheap: asked for each of them. */
static inline uint64_t core_catalog_key_with(const struct core_session *s,
                                             const struct router_facts *facts)
{
    uint64_t key = s->group->names_key ^ (uint64_t)s->group->database->no_hints << 63;
    if (facts != NULL)
        key ^= router_facts_digest(facts);
    else if (s->group->catalog != NULL && core_catalog_is_orphaned(s))
        key = ~key;
    else if (core_catalog_is_known(s))
        key ^= ~router_facts_digest(s->group->catalog->facts);
    if (core_catalog_may_look_anywhere(s))
        key ^= core_catalog_salt(s);
    return key;
}
static inline uint64_t core_catalog_key(const struct core_session *s)
{
    return core_catalog_key_with(s, core_catalog_facts(s));
}
/* The batch at the front is about to be sent: may it change the catalog? Then no facts hold that
 * were asked for before; or, if nothing shows whether it does, they are asked for again after a
 * while. */
void core_catalog_note(struct core_session *s);
/* Its transaction is over, or its connection. */
void core_catalog_over(struct core_backend *b);

#endif
