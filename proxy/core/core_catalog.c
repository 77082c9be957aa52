/* SPDX-License-Identifier: PostgreSQL
 *
 * core_catalog: facts are believed only while nothing has changed the catalog since they were asked
 * for.
 */
#include "core_catalog.h"

#include <string.h>

#include "core_follow.h"
#include "core_internal.h"

struct router_context core_catalog_context(const struct core_session *s)
{
    const struct core_group *g = s->group;
    struct router_context ret = {.key = g->names_key, .strict = g->database->isolates};
    const struct core_catalog *c = g->catalog;
    if (c != NULL && c->facts != NULL &&
        __atomic_load_n(c->changes, __ATOMIC_ACQUIRE) == c->facts_changes) {
        ret.facts = c->facts;
        ret.key ^= router_facts_digest(c->facts);
    }
    uint8_t salt[CORE_DIGEST_SIZE];
    if (core_follow_salt(s, salt)) {
        uint64_t word;
        memcpy(&word, salt, sizeof(word));
        ret.key ^= word;
    }
    return ret;
}

static void raise_one(uint64_t *count)
{
    if (count != NULL)
        (void)__atomic_fetch_add(count, 1, __ATOMIC_ACQ_REL);
}

void core_catalog_changed(const struct core_session *s)
{
    if (s->group->catalog != NULL)
        raise_one(s->group->catalog->changes);
}

void core_catalog_suspect(const struct core_session *s)
{
    if (s->group->catalog != NULL)
        raise_one(s->group->catalog->suspects);
}
