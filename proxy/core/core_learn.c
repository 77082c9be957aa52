/* SPDX-License-Identifier: PostgreSQL
 *
 * core_learn: a replica refuses what we called a read. Which text that was is known for each reply
 * that is expected, so that it alone is learned, wherever in a pipeline it stands.
 */
#include "core_internal.h"
#include "core_known.h"
#include "core_stmt.h"

/* Of its portal's name; 0: the unnamed one. */
static uint32_t portal_id(struct proto_span name)
{
    return name.size > 0 ? core_hash(CORE_HASH_START, name) | 1 : 0;
}

void core_learn_bind(struct core_session *s, struct core_expect *e, struct proto_span portal,
                     struct core_stmt *stmt)
{
    const struct core_known *known = NULL;
    if (stmt != NULL) {
        core_known_refresh(s, &stmt->known, core_stmt_text(stmt)); /* others may have asked since */
        known = &stmt->known;
    } else if (s->unnamed_id != 0) {
        known = &((const struct core_unnamed *)(const void *)s->unnamed->data)->known;
    }
    if (known != NULL && known->class.verdict == ROUTER_VERDICT_READ)
        e->hash = known->hash; /* else it is zero */
    e->portal = s->portal = portal_id(portal);
    s->portal_hash = e->hash;
}

void core_learn_other(struct core_session *s, struct core_expect *e, struct proto_span message)
{
    struct core_backend *b = s->backend;
    const uint32_t count = core_expect_count(b);
    struct proto_span name = core_span_skip(message, PROTO_HEADER_SIZE);
    name.size = strnlen((const char *)name.base, name.size);
    const uint32_t portal = portal_id(name);
    if (portal == s->portal) {
        e->hash = s->portal_hash;
        return;
    }
    for (uint32_t i = count - 1; i-- > 0;) {
        const struct core_expect *bind = core_expect_at(b, i);
        if (bind->kind != CORE_EXPECT_BIND || bind->portal != portal)
            continue;
        e->hash = bind->hash;
        return;
    }
}

void core_learn(struct core_session *s, const struct router_hash *hash, uint64_t now_ns)
{
    struct core_worker *w = s->worker;
    if ((hash->low | hash->high) == 0)
        return;
    router_cache_learn(w->cache, hash, now_ns);
    w->counters.learned++;
}
