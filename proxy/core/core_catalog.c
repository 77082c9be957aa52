/* SPDX-License-Identifier: PostgreSQL
 *
 * core_catalog: facts are believed only while nothing has changed the catalog since they were asked
 * for.
 */
#include "core_catalog.h"

#include <string.h>

#include "core_follow.h"
#include "core_internal.h"

uint64_t core_catalog_salt(const struct core_session *s)
{
    uint8_t salt[CORE_DIGEST_SIZE];
    uint64_t word = UINT64_C(0x9e3779b97f4a7c15); /* only pinned: unlike the key of who is not */
    if (core_follow_salt(s, salt))
        memcpy(&word, salt, sizeof(word));
    return word;
}

bool core_catalog_is_orphaned(const struct core_session *s)
{
    const struct router_topology *t = s->worker->topology;
    if (t == NULL)
        return false;
    const uint8_t primary = router_primary(t, s->group->database->shard);
    return primary == ROUTER_NODE_NONE || t->nodes[primary].breaker == BREAKER_OPEN;
}

static void raise_one(uint64_t *count)
{
    if (count != NULL)
        (void)__atomic_fetch_add(count, 1, __ATOMIC_ACQ_REL);
}

void core_catalog_note(struct core_session *s)
{
    struct core_backend *b = s->backend;
    struct core_catalog *c = s->group->catalog;
    assert(c != NULL);
    if (b->is_replica)
        return;
    if (s->class.changes_catalog || s->class.unread) {
        raise_one(c->changes);
        b->changing = true;
    }
    b->making = b->making || s->class.makes_names;
    if (b->changing || b->making || s->class.taints)
        b->suspect = c;
}

void core_catalog_over(struct core_backend *b)
{
    const struct core_session *s = b->session;
    if (b->suspect == NULL)
        return;
    raise_one(b->changing ? b->suspect->changes
              : b->making ? b->suspect->wishes
                          : b->suspect->suspects);
    if (s != NULL && s->syncs > 0)
        return; /* another one may be on its way */
    b->suspect = NULL;
    b->changing = b->making = false;
}
