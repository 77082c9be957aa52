/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_limits: see the header.
 */
#include "proxy_limits.h"

#include <stdlib.h>

#include "proxy_pool_internal.h"
#include "proxy_sum.h"

enum { CAP_DATABASE, CAP_DATABASE_NODE, CAP_USER, CAP_NODE, CAPS };

#define BLOCKED_GOOD_NS UINT64_C(300000000) /* who is held up says so again at each tick */
/* ... and must have waited this much longer: a connection that is closed for it costs a log-in, and
 * to a replica the wait for a probe */
#define BLOCKED_LEAD_NS UINT64_C(500000000)
#define ASK_AGAIN_NS UINT64_C(5000000)

struct limit {
    struct shared_cap *cap;
    uint64_t max; /* 0: none */
};

static void limits_of(const struct pool *pool, struct limit ret[CAPS])
{
    struct worker *w = pool->group->worker;
    const struct config *config = w->config;
    const uint32_t database = pool->group->database;
    const struct config_database *d = pool_section(pool->group);
    ret[CAP_DATABASE] = (struct limit){&w->proxy->database_caps[database], d->max_db_connections};
    ret[CAP_DATABASE_NODE] = (struct limit){&w->proxy->database_node_caps[database][pool->node],
                                            d->max_db_connections_per_node};
    ret[CAP_USER] =
        (struct limit){&pool->shared->owner->connections, config->switchgear.max_user_connections};
    ret[CAP_NODE] =
        (struct limit){&w->proxy->node_caps[pool->node], config->nodes[pool->node].max_connections};
}

/* Counts one more. False: there are `max` already. */
static bool count_up(uint64_t *used, uint64_t max)
{
    if (ck_pr_load_64(used) >= max)
        return false; /* look before writing: the word is shared */
    if (ck_pr_faa_64(used, 1) < max)
        return true;
    ck_pr_dec_64(used);
    return false;
}

static bool cap_take(const struct limit *l)
{
    if (!count_up(&l->cap->used, l->max == 0 ? UINT64_MAX : l->max))
        return false;
    if (ck_pr_load_64(&l->cap->blocked_since_ns) != 0)
        ck_pr_store_64(&l->cap->blocked_since_ns, 0); /* who still waits says so again */
    return true;
}

/* CAPS: all were taken; else the one that is full, and none is taken. */
static int caps_take(struct limit limits[CAPS])
{
    for (int i = 0; i < CAPS; i++) {
        if (cap_take(&limits[i]))
            continue;
        for (int j = 0; j < i; j++)
            ck_pr_dec_64(&limits[j].cap->used);
        return i;
    }
    return CAPS;
}

/* ---- making room ---- */

static bool shares(const struct shared_pool *a, const struct shared_pool *b, int cap)
{
    if (a == b)
        return false;
    switch (cap) {
    case CAP_DATABASE:
        return a->database == b->database;
    case CAP_DATABASE_NODE:
        return a->database == b->database && a->node == b->node;
    case CAP_USER:
        return a->owner == b->owner;
    default:
        return a->node == b->node;
    }
}

/* It was opened for somebody who still waits: to close it before it has served would cost its
 * log-in for nothing, and where the limit is tight nobody would ever be served. */
static bool is_owed(const struct server *v)
{
    return v->core.last_session_id == 0 && pool_first_waiter(v->pool->group, v->pool->node) != NULL;
}

/* The idle connection of this worker, under the same limit, that was used least recently. */
static bool evict_here(struct pool *pool, int cap)
{
    struct worker *w = pool->group->worker;
    struct server *oldest = NULL;
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
            struct pool *other = &g->pools[n];
            if (other->shared == NULL || !shares(other->shared, pool->shared, cap))
                continue;
            struct server *v = TAILQ_LAST(&other->idle, server_list);
            if (v != NULL && !is_owed(v) && (oldest == NULL || v->since_ns < oldest->since_ns))
                oldest = v;
        }
    if (oldest == NULL)
        return false;
    server_close(oldest, "another pool needs its place");
    return true;
}

static void evict_elsewhere(struct pool *pool, int cap, uint64_t now_ns)
{
    struct worker *w = pool->group->worker;
    if (now_ns - pool->asked_room_ns < ASK_AGAIN_NS)
        return;
    pool->asked_room_ns = now_ns;
    for (const struct shared_pool *p = shared_pools_first(w->proxy); p != NULL;
         p = shared_pools_next(p))
        for (uint32_t i = 0; i < pool_workers(w); i++) {
            if (i == w->index || !shares(p, pool->shared, cap) ||
                shared_load(&p->workers[i].idle) == 0)
                continue;
            struct mail_steal *mail = calloc(1, sizeof(*mail));
            if (mail == NULL)
                return;
            *mail = (struct mail_steal){{MAIL_EVICT}, p, w->index};
            if (!worker_post(w->proxy, i, &mail->mail))
                free(mail);
            return;
        }
}

void limits_evict(struct worker *w, const struct shared_pool *shared)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link) {
        struct pool *pool = &g->pools[shared->node];
        if (pool->shared != shared)
            continue;
        struct server *v = TAILQ_LAST(&pool->idle, server_list);
        if (v != NULL && pool_first_waiter(g, pool->node) == NULL)
            server_close(v, "another pool needs its place");
    }
}

/* Whoever releases a connection under this limit is to know. A younger one does not keep the word
 * of an older one alive: that one may have been served meanwhile, by what its own pool had. */
static void say_blocked(const struct pool *pool, struct shared_cap *cap, uint64_t since_ns,
                        uint64_t now_ns)
{
    const uint64_t known_ns = ck_pr_load_64(&cap->blocked_since_ns);
    const uint64_t seen_ns = ck_pr_load_64(&cap->blocked_seen_ns);
    const bool stale = seen_ns < now_ns && now_ns - seen_ns > BLOCKED_GOOD_NS;
    if (known_ns != 0 && since_ns > known_ns && !stale)
        return;
    ck_pr_store_ptr(&cap->blocked_pool, pool->shared);
    ck_pr_store_64(&cap->blocked_since_ns, since_ns);
    ck_pr_store_64(&cap->blocked_seen_ns, now_ns);
}

/* Somebody else under this limit has waited for longer, by more than chance. Not of the same pool:
 * what this pool has serves them too, in the order of time, and a log-in would be for nothing. */
static bool is_overtaken(const struct limit *l, const struct pool *pool, uint64_t own_since_ns,
                         uint64_t now_ns)
{
    const uint64_t since_ns = ck_pr_load_64(&l->cap->blocked_since_ns);
    const uint64_t seen_ns = ck_pr_load_64(&l->cap->blocked_seen_ns);
    const bool good = seen_ns > now_ns || now_ns - seen_ns < BLOCKED_GOOD_NS;
    return l->max != 0 && since_ns != 0 && good && since_ns + BLOCKED_LEAD_NS < own_since_ns &&
           ck_pr_load_ptr(&l->cap->blocked_pool) != pool->shared;
}

/* ---- connections ---- */

bool limits_take(struct pool *pool, uint64_t pool_max, uint64_t since_ns, uint64_t now_ns)
{
    struct limit limits[CAPS];
    limits_of(pool, limits);
    for (int i = 0; i < CAPS; i++)
        if (is_overtaken(&limits[i], pool, since_ns != 0 ? since_ns : now_ns, now_ns))
            return false; /* what is free is for them */
    if (!count_up(&pool->shared->budget_used, pool_max))
        return false;
    int full = caps_take(limits);
    if (full != CAPS && since_ns != 0 && evict_here(pool, full))
        full = caps_take(limits);
    if (full == CAPS)
        return true;
    ck_pr_dec_64(&pool->shared->budget_used);
    if (since_ns != 0) {
        evict_elsewhere(pool, full, now_ns);
        say_blocked(pool, limits[full].cap, since_ns, now_ns);
    }
    return false;
}

void limits_give(struct pool *pool)
{
    struct limit limits[CAPS];
    bool capped = false;
    limits_of(pool, limits);
    ck_pr_dec_64(&pool->shared->budget_used);
    for (int i = 0; i < CAPS; i++) {
        ck_pr_dec_64(&limits[i].cap->used);
        capped = capped || limits[i].max != 0;
    }
    if (capped)
        workers_wake(pool->group->worker->proxy); /* any pool may open one now */
}

bool limits_must_close(const struct server *v, uint64_t now_ns)
{
    const struct pool *pool = v->pool;
    const struct config_database *d = pool_section(pool->group);
    const uint64_t used = ck_pr_load_64(&pool->shared->budget_used);
    const struct client *own = pool_first_waiter(pool->group, pool->node);
    struct limit limits[CAPS];
    limits_of(pool, limits);
    for (int i = 0; i < CAPS; i++) {
        const struct limit *l = &limits[i];
        if (l->max != 0 && /* else nobody is held up by it: its word is not looked at */
            (ck_pr_load_64(&l->cap->used) > l->max ||
             (!is_owed(v) &&
              is_overtaken(l, pool, own != NULL ? own->core.waiting_since_ns : now_ns, now_ns))))
            return true;
    }
    if (used <= d->pool_size)
        return false;
    uint32_t other;
    return used > d->pool_size + d->reserve_pool_size ||
           (own == NULL && pool_oldest_elsewhere(pool, &other) == 0);
}

/* ---- reads that fell back ---- */

static uint64_t fallback_max(const struct pool *pool)
{
    const struct config_database *d = pool_section(pool->group);
    const uint64_t share = d->pool_size * d->fallback_limit_permille / 1000;
    return share == 0 && d->fallback_limit_permille > 0 ? 1 : share;
}

uint64_t fallback_room(const struct pool *pool)
{
    const uint64_t used = ck_pr_load_64(&pool->shared->fallback_used);
    const uint64_t max = fallback_max(pool);
    return used < max ? max - used : 0;
}

bool fallback_take(struct pool *pool)
{
    return count_up(&pool->shared->fallback_used, fallback_max(pool));
}

void fallback_give(struct server *v)
{
    if (!v->fallback)
        return;
    v->fallback = false;
    ck_pr_dec_64(&v->pool->shared->fallback_used);
    if (ck_pr_load_64(&v->pool->shared->fallback_waiting) > 0)
        workers_wake(v->worker->proxy);
}

/* ---- clients ---- */

bool client_limits_take(struct client *c, uint32_t database, const char *user,
                        struct proto_error_text *error)
{
    struct proxy *p = c->worker->proxy;
    const struct config_switchgear *o = &c->worker->config->switchgear;
    struct shared_user *u = shared_user_get(p, user);
    const uint64_t database_max = o->max_db_client_connections;
    const uint64_t user_max = o->max_user_client_connections;
    assert(c->counted_user == NULL);
    *error = (struct proto_error_text){.severity = "FATAL", .sqlstate = "53300"};
    if (u == NULL || !count_up(&u->clients, user_max == 0 ? UINT64_MAX : user_max)) {
        error->message = "no more connections allowed (max_user_client_connections)";
        return false;
    }
    if (!count_up(&p->database_clients[database], database_max == 0 ? UINT64_MAX : database_max)) {
        ck_pr_dec_64(&u->clients);
        error->message = "no more connections allowed (max_db_client_connections)";
        return false;
    }
    c->counted_user = u;
    c->counted_database = database;
    return true;
}

void client_limits_give(struct client *c)
{
    if (c->counted_user == NULL)
        return;
    ck_pr_dec_64(&c->counted_user->clients);
    ck_pr_dec_64(&c->worker->proxy->database_clients[c->counted_database]);
    c->counted_user = NULL;
}
