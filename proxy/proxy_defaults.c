/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_defaults: see the header.
 *
 * A replica gets a change with its replay: what is opened there before its evidence is as new as
 * the look that showed the change may still begin with the old ones. So its connections go twice:
 * at once, and when it has caught up.
 */
#include "proxy_defaults.h"

#include <stdlib.h>
#include <string.h>

/* Of one role, "" for all. They stay when the last setting goes: that is a change too. */
struct shared_defaults {
    char role[64];
    uint64_t digest;
    uint64_t since_ns; /* when they were seen to be others than before; 0: they never were */
    bool there;        /* in the answer that is being read */
};

/* A sum of hashes; 0 is that of none. */
static uint64_t digest_of(const char *text)
{
    return strtoull(text[0] == '-' ? text + 1 : text, NULL, 10) * 2 + (text[0] == '-');
}

static struct shared_defaults *find(const struct shared_catalog *s, const char *role)
{
    for (uint32_t i = 0; i < s->defaults_count; i++)
        if (strcmp(s->defaults[i].role, role) == 0)
            return &s->defaults[i];
    return NULL;
}

static void put(struct shared_catalog *s, const char *role, uint64_t digest, uint64_t since_ns)
{
    struct shared_defaults *d = find(s, role);
    if (d == NULL && s->defaults_count < DEFAULTS_ROLES_MAX) {
        if (s->defaults == NULL)
            s->defaults = calloc(DEFAULTS_ROLES_MAX, sizeof(*s->defaults));
        if (s->defaults == NULL)
            return; /* asked again in a second */
        d = &s->defaults[s->defaults_count++];
        (void)snprintf(d->role, sizeof(d->role), "%s", role);
        d->digest = 0; /* it had none */
    }
    if (d == NULL)
        return;
    d->there = true;
    if (d->digest == digest)
        return;
    d->digest = digest;
    d->since_ns = since_ns;
    shared_set(&s->defaults_version, s->defaults_version + 1);
}

bool defaults_read(struct shared_catalog *s, const PGresult *result, uint64_t now_ns)
{
    if (uv_mutex_trylock(&s->lock) != 0)
        return false;
    for (uint32_t i = 0; i < s->defaults_count; i++)
        s->defaults[i].there = false;
    for (int i = 0; i < PQntuples(result); i++)
        if (!PQgetisnull(result, i, 0))
            put(s, PQgetvalue(result, i, 0), digest_of(PQgetvalue(result, i, 1)), now_ns);
    for (uint32_t i = 0; i < s->defaults_count; i++)
        if (!s->defaults[i].there)
            put(s, s->defaults[i].role, 0, now_ns);
    uv_mutex_unlock(&s->lock);
    return true;
}

/* ---- for one group ---- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t since_of(const struct shared_catalog *s, const char *role)
{
    const struct shared_defaults *d = find(s, role);
    return d != NULL ? d->since_ns : 0;
}

/* A node may have a user of its own, in its options: then any role may be meant. */
static uint64_t since_for(const struct group *g, const struct shared_catalog *s)
{
    const struct config *config = g->worker->config;
    uint64_t since_ns = later(since_of(s, ""), since_of(s, g->server_user));
    bool is_other = false;
    for (uint32_t i = 0; i < config->nodes_count; i++)
        is_other |= strstr(config->nodes[i].options, "user") != NULL;
    for (uint32_t i = 0; is_other && i < s->defaults_count; i++)
        since_ns = later(since_ns, s->defaults[i].since_ns);
    return since_ns;
}

void defaults_join(struct group *g, struct shared_catalog *shared)
{
    g->catalog = shared;
    if (uv_mutex_trylock(&shared->lock) != 0)
        return; /* then it comes to know them as a change: its first connections are made again */
    g->core.defaults_ns = since_for(g, shared);
    uv_mutex_unlock(&shared->lock);
    for (uint32_t i = 0; i < CONFIG_NODES_MAX; i++)
        g->pools[i].defaults_for = g->core.defaults_ns;
}

static bool follow(struct pool *pool, uint64_t since_ns, uint64_t now_ns)
{
    if (pool->shared == NULL || pool->defaults_for == since_ns)
        return false; /* nobody has used it yet, or nothing is new */
    const struct router_node *node = &pool->group->worker->topology.nodes[pool->node];
    const bool caught_up = node->role == ROUTER_ROLE_REPLICA && node->fresh_as_of_ns >= since_ns;
    if (caught_up || node->role == ROUTER_ROLE_PRIMARY) {
        pool->defaults_for = since_ns;
        pool->defaults_ns = caught_up ? now_ns : since_ns;
        return true;
    }
    if (pool->defaults_ns >= since_ns)
        return false;
    pool->defaults_ns = since_ns;
    return true;
}

/* Have they changed for this group, and has each node heard of it? True: some of its connections
 * are used no more. */
static bool follow_all(struct group *g, uint64_t now_ns)
{
    struct shared_catalog *shared = g->catalog;
    const uint64_t version = shared_load(&shared->defaults_version);
    if (g->defaults_version != version && uv_mutex_trylock(&shared->lock) == 0) {
        const uint64_t before_ns = g->core.defaults_ns;
        g->defaults_version = version;
        g->core.defaults_ns = since_for(g, shared);
        uv_mutex_unlock(&shared->lock);
        if (g->core.defaults_ns != before_ns) /* the search_path, perhaps: names are others */
            g->core.names_key = ++g->worker->core.next_id;
    }
    bool changed = false;
    for (uint32_t i = 0; i < g->worker->topology.nodes_count; i++)
        changed |= follow(&g->pools[i], g->core.defaults_ns, now_ns);
    return changed;
}

void defaults_tick(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    bool changed = false;
    TAILQ_FOREACH (g, &w->groups, link)
        changed |= g->catalog != NULL && follow_all(g, now_ns);
    if (changed)
        pools_obey(w);
}
