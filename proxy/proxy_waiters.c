/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_waiters: clients that want a connection. Served from what is idle, else queued, first in
 * first out; matched once per loop turn; decided again when the topology changes.
 */
#include <stdlib.h>

#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_pool_internal.h"

/* ---- waiters ---- */

/* It only learns what the servers say of themselves. */
static bool is_login(const struct client *c)
{
    return c->core.phase != CORE_QUERY;
}

static enum waitlist_kind kind_of(const struct client *c)
{
    if (c->wait.mask == 0)
        return core_waits_for_pin(&c->core) ? WAITLIST_PIN : WAITLIST_HOMELESS;
    if (is_login(c))
        return WAITLIST_LOGIN;
    if (c->core.choice.target == ROUTER_TARGET_REPLICA)
        return WAITLIST_REPLICA;
    return c->core.choice.fell_back ? WAITLIST_FALLBACK : WAITLIST_PRIMARY;
}

struct client *pool_waiting_client(struct waiter *w)
{
    return w == NULL ? NULL : (struct client *)(void *)((char *)w - offsetof(struct client, wait));
}

/* Where a node is the primary, who needs one goes before the reads that could go elsewhere. */
struct client *pool_first_waiter(struct group *g, uint8_t node)
{
    const struct waitlist *l = &g->waiters;
    if (g->waiting == 0)
        return NULL;
    struct waiter *first = waitlist_first(l, WAITLIST_PRIMARY, node);
    if (first == NULL)
        first = waitlist_first(l, WAITLIST_REPLICA, node);
    struct waiter *back = waitlist_first(l, WAITLIST_FALLBACK, node);
    if (back != NULL && (first == NULL || back->since_ns < first->since_ns) &&
        fallback_room(&g->pools[node]) > 0)
        first = back;
    struct waiter *login = waitlist_first(l, WAITLIST_LOGIN, node);
    if (login != NULL && (first == NULL || login->since_ns < first->since_ns))
        first = login;
    return pool_waiting_client(first);
}

static void publish_waiter(struct pool *pool)
{
    const struct client *c = pool_first_waiter(pool->group, pool->node);
    shared_set(&pool_mine(pool)->oldest_waiter_ns, c != NULL ? c->core.waiting_since_ns : 0);
}

/* The others learn since when somebody waits here. */
void pool_publish_waiters(struct group *g)
{
    for (uint32_t n = 0; n < g->worker->topology.nodes_count; n++)
        if (g->pools[n].shared != NULL)
            publish_waiter(&g->pools[n]);
}

struct pool *pool_of(struct group *g, uint8_t node)
{
    struct pool *pool = &g->pools[node];
    if (pool->shared == NULL)
        pool_init(pool, g, node);
    return pool;
}

/* The waiter counts in every pool that could serve it. */
static void count_waiter(struct client *c, uint64_t n)
{
    struct group *g = (struct group *)c->core.group;
    struct worker *w = g->worker;
    const bool had_none = g->waiting == 0;
    g->fallback_waiting += c->wait.kind == WAITLIST_FALLBACK ? (uint32_t)n : 0;
    shared_set(&w->stats.waiting, w->stats.waiting + n);
    g->waiting += (uint32_t)n;
    w->pin_waiters += c->wait.kind == WAITLIST_PIN ? (uint32_t)n : 0;
    if (had_none)
        TAILQ_INSERT_TAIL(&w->waiting, g, waiting_link);
    else if (g->waiting == 0)
        TAILQ_REMOVE(&w->waiting, g, waiting_link);
    for (uint32_t nodes = c->wait.mask; nodes != 0; nodes &= nodes - 1) {
        struct pool *pool = pool_of(g, (uint8_t)__builtin_ctz(nodes));
        struct shared_pool_worker *m = pool_mine(pool);
        shared_set(&m->waiting, m->waiting + n);
        if (c->wait.kind == WAITLIST_FALLBACK)
            ck_pr_add_64(&pool->shared->fallback_waiting, n);
        if (pool_workers(w) > 1)
            publish_waiter(pool);
    }
}

void pool_dequeue(struct client *c)
{
    assert(c->queued);
    waitlist_remove(&((struct group *)c->core.group)->waiters, &c->wait);
    c->queued = false;
    count_waiter(c, (uint64_t)-1);
}

/* Where a connection is opened for it first. */
static uint8_t home_of(const struct client *c)
{
    const uint8_t node = c->core.choice.node;
    if (node != ROUTER_NODE_NONE && (c->wait.mask & 1u << node) != 0)
        return node;
    return c->wait.mask != 0 ? (uint8_t)__builtin_ctz(c->wait.mask) : ROUTER_NODE_NONE;
}

void pool_enqueue(struct client *c)
{
    assert(!c->queued);
    c->wait.kind = (uint8_t)kind_of(c);
    c->wait.since_ns = c->core.waiting_since_ns;
    waitlist_add(&((struct group *)c->core.group)->waiters, &c->wait, home_of(c));
    c->queued = true;
    count_waiter(c, 1);
}

void pool_forget_waiter(struct client *c)
{
    if (c->queued)
        pool_dequeue(c);
}

static void on_again(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    struct group *g;
    worker_topology_refresh(w);
    TAILQ_FOREACH (g, &w->waiting, waiting_link)
        pool_mark_dirty(g);
    pools_match(w, uv_hrtime()); /* timers run before the loop sleeps, the check handler after */
}

/* Who waits here now is looked at again in a millisecond, later when the wait is long already: what
 * others have may have become idle without their handing it over. */
static void look_again(struct worker *w, uint64_t waited_ns)
{
    const uint64_t quarter_ms = waited_ns / 4 / 1000000;
    const uint64_t in_ms = quarter_ms < 1 ? 1 : quarter_ms > 20 ? 20 : quarter_ms;
    const bool is_soon =
        uv_is_active((uv_handle_t *)&w->again) && uv_timer_get_due_in(&w->again) <= in_ms;
    if (!w->stopping && !is_soon)
        (void)uv_timer_start(&w->again, on_again, in_ms, 0);
}

/* Waiters that a connection would serve: of reads that fell back as many as may. */
static uint64_t servable(const struct pool *pool)
{
    const struct group *g = pool->group;
    const uint64_t waiting = shared_load(&pool_mine(pool)->waiting);
    if (waitlist_first(&g->waiters, WAITLIST_FALLBACK, pool->node) == NULL)
        return waiting;
    const uint64_t room = fallback_room(pool);
    return g->fallback_waiting > room ? waiting - (g->fallback_waiting - room) : waiting;
}

/* Opens as many connections as there are waiters without one on its way. */
static void open_for_waiters(struct group *g, uint8_t node, uint64_t now_ns)
{
    struct pool *pool = pool_of(g, node);
    const uint64_t parallel = g->worker->config->switchgear.connect_parallel;
    pool_refuse_waiters(pool, now_ns);
    const struct client *first = pool_first_waiter(g, node);
    if (first == NULL)
        return; /* fallback_limit holds up those that there are */
    const uint64_t since_ns = first->core.waiting_since_ns;
    const uint64_t waiting = servable(pool);
    ck_pr_fence_memory(); /* our waiter is published: now look at what others have idle or free */
    /* an attempt can fail at once (no descriptor left, no socket there): then the pool backs off */
    while (!pool_rests(pool, now_ns) && pool->opening_count + pool->warming_count < waiting &&
           pool->opening_count < parallel && pool_open_one(pool, since_ns, now_ns))
        ;
    if (pool_workers(g->worker) == 1)
        return;
    const uint64_t waited_ns = now_ns > since_ns ? now_ns - since_ns : 0;
    const bool comes_soon =
        pool->active_count + pool->resetting_count + pool->opening_count + pool->warming_count > 0;
    look_again(g->worker, waited_ns);
    if (comes_soon && waited_ns < POOL_HANDOVER_NS)
        return; /* one of our own is about to be free: moving one costs more than this wait */
    for (uint32_t i = 0; i < pool_workers(g->worker); i++) {
        if (i == g->worker->index || shared_load(&pool->shared->workers[i].idle) == 0)
            continue;
        struct mail_steal *mail = calloc(1, sizeof(*mail));
        if (mail == NULL)
            return;
        *mail = (struct mail_steal){{MAIL_STEAL}, pool->shared, g->worker->index};
        if (!worker_post(g->worker->proxy, i, &mail->mail))
            free(mail);
        return;
    }
}

/* The node has another role than when this connection was made, or is another server: after a
 * promotion what was a standby's may write, and what was the primary's must not any more; and a
 * server that has lost its address is not looked after. What the core knows of a connection does
 * not change while it lives, so that a new one is made. */
bool pool_is_mislabelled(const struct worker *w, const struct server *v)
{
    const uint8_t node = v->pool->node;
    const uint8_t role = w->topology.nodes[node].role;
    const bool as_was =
        v->core.is_replica ? role != ROUTER_ROLE_PRIMARY : role == ROUTER_ROLE_PRIMARY;
    return !as_was || v->started_ns < shared_load(&w->proxy->nodes[node].left_ns);
}

/* An idle connection to the node, or NULL. The topology may be newer than the last look at what is
 * idle (pools_topology_changed). */
static struct server *idle_of(struct worker *w, struct group *g, uint8_t node)
{
    struct pool *pool = &g->pools[node];
    struct server *v = NULL;
    while (pool->shared != NULL && (v = TAILQ_FIRST(&pool->idle)) != NULL &&
           pool_is_mislabelled(w, v))
        server_close(v, "its node has another role now");
    return v;
}

static void grant(struct worker *w, struct client *c, struct server *v, uint64_t now_ns)
{
    struct group *g = (struct group *)c->core.group;
    struct stats_database *d = &w->database_stats[g->database];
    const uint64_t waited_ns = now_ns - c->core.waiting_since_ns;
    shared_add(&d->wait_ns, waited_ns);
    histogram_observe(&d->wait, waited_ns);
    pool_move(v, SERVER_ACTIVE, now_ns);
    worker_apply(w, c, core_granted(&c->core, &v->core, now_ns), now_ns);
}

/* Any node will do for a log-in: neither a full pool of the primary nor its outage keeps clients
 * out. */
static uint32_t mask_of_login(const struct worker *w, uint8_t shard)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < w->topology.nodes_count; i++) {
        const struct router_node *n = &w->topology.nodes[i];
        if (n->shard == shard && n->role != ROUTER_ROLE_UNKNOWN && !n->drained &&
            n->breaker == BREAKER_CLOSED)
            mask |= 1u << i;
    }
    return mask;
}

static uint32_t mask_of(const struct worker *w, const struct client *c)
{
    const struct router_choice *choice = &c->core.choice;
    const uint32_t mask = is_login(c) ? mask_of_login(w, c->core.group->database->shard) : 0;
    if (choice->node == ROUTER_NODE_NONE)
        return mask;
    return mask | 1u << choice->node | (choice->target == ROUTER_TARGET_REPLICA ? choice->fit : 0);
}

/* A trial permit is taken when the statement is about to be sent to a node that is on trial. */
static bool may_use(struct worker *w, const struct client *c, struct server *v)
{
    const struct router_node *node = &w->topology.nodes[v->pool->node];
    assert(!v->fallback);
    if (kind_of(c) == WAITLIST_FALLBACK && !(v->fallback = fallback_take(v->pool)))
        return false;
    if (node->breaker != BREAKER_HALF_OPEN)
        return true;
    if (!shared_permit_take(&w->proxy->nodes[v->pool->node], node->generation)) {
        fallback_give(v);
        return false;
    }
    v->core.trial = true;
    v->core.generation = node->generation; /* under which it is given back, used or not */
    return true;
}

/* The node that was chosen has no connection to spare and another one served: without this a node
 * that is new or back would stay cold for as long as the others keep up. */
static void open_spare(struct pool *pool, uint64_t now_ns)
{
    if (pool->opening_count + pool->warming_count == 0 && !pool_rests(pool, now_ns))
        (void)pool_open_one(pool, 0, now_ns);
}

/* PAUSE: nobody is given a connection until RESUME. */
bool pool_is_paused(const struct group *g)
{
    return shared_load(&g->worker->proxy->paused[g->database]) != 0;
}

bool pool_holds_back(const struct client *c)
{
    return c->queued && pool_is_paused((const struct group *)c->core.group);
}

/* An idle connection that serves it now: its home's, or any other's that it may use. Not past those
 * who wait already. */
static struct server *idle_for(struct worker *w, struct client *c, uint8_t home)
{
    struct group *g = (struct group *)c->core.group;
    const uint32_t others = c->wait.mask & ~(1u << home);
    struct server *v = pool_first_waiter(g, home) == NULL ? idle_of(w, g, home) : NULL;
    for (uint32_t nodes = others; v == NULL && nodes != 0; nodes &= nodes - 1) {
        const uint8_t n = (uint8_t)__builtin_ctz(nodes);
        v = pool_first_waiter(g, n) == NULL ? idle_of(w, g, n) : NULL;
    }
    return v;
}

void pool_want(struct worker *w, struct client *c, uint64_t now_ns)
{
    struct group *g = (struct group *)c->core.group;
    if (c->queued)
        pool_dequeue(c);
    c->wait.mask = mask_of(w, c);
    if (c->wait.mask == 0) {
        pool_enqueue(c);
        return;
    }
    const uint8_t home = home_of(c);
    if (!pool_is_paused(g)) {
        struct server *v = idle_for(w, c, home);
        if (v != NULL && v->pool->node != home)
            open_spare(pool_of(g, home), now_ns);
        if (v != NULL && may_use(w, c, v)) {
            grant(w, c, v, now_ns);
            return;
        }
    }
    pool_enqueue(c);
    open_for_waiters(g, home_of(c), now_ns);
    pool_mark_dirty(g);
}

/* ---- once per loop turn ---- */

static void match(struct worker *w, struct group *g, uint64_t now_ns)
{
    if (pool_is_paused(g))
        return;
    for (uint32_t i = 0; i < w->topology.nodes_count; i++) {
        const uint8_t n = (uint8_t)i;
        struct pool *pool = &g->pools[n];
        if (pool->shared == NULL)
            continue;
        struct server *v;
        struct client *c;
        while ((v = idle_of(w, g, n)) != NULL && (c = pool_first_waiter(g, n)) != NULL) {
            if (!may_use(w, c, v))
                break;
            pool_dequeue(c);
            grant(w, c, v, now_ns);
        }
        if (shared_load(&pool_mine(pool)->waiting) > 0)
            open_for_waiters(g, n, now_ns);
    }
}

/* Who waits for others to let their connections go: whatever this turn has ended, or another
 * worker. */
void pools_pins(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    struct group *next;
    TAILQ_EACH_SAFE (g, &w->waiting, waiting_link, next) {
        struct waiter *first;
        while (core_pin_is_left(&g->core) &&
               (first = waitlist_oldest(&g->waiters, WAITLIST_PIN)) != NULL) {
            struct client *c = pool_waiting_client(first);
            pool_dequeue(c);
            worker_apply(w, c, core_redecide(&c->core, now_ns), now_ns);
            if (c->queued && c->wait.kind == WAITLIST_PIN)
                break; /* another worker was faster */
        }
    }
}

void pools_match(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    uint32_t turns = 0;
    while ((g = TAILQ_FIRST(&w->dirty)) != NULL && turns++ < 1024) {
        TAILQ_REMOVE(&w->dirty, g, dirty_link);
        g->dirty = false;
        match(w, g, now_ns);
    }
}

/* Takes the waiters of a kind out whose node is no longer fit. */
static void take_unfit(struct worker *w, struct group *g, enum waitlist_kind kind,
                       struct waiter_list *taken)
{
    const struct waitlist_lanes *k = &g->waiters.kinds[kind];
    for (uint32_t lanes = k->used; lanes != 0; lanes &= lanes - 1) {
        struct waiter *waiter;
        struct waiter *next;
        TAILQ_EACH_SAFE (waiter, &k->lanes[__builtin_ctz(lanes)].waiters, link, next) {
            struct client *c = pool_waiting_client(waiter);
            const uint8_t node = c->core.choice.node;
            if (kind != WAITLIST_FALLBACK && node != ROUTER_NODE_NONE &&
                w->topology.nodes[node].breaker == BREAKER_CLOSED &&
                w->topology.nodes[node].gate == BREAKER_GATE_OPEN &&
                !w->topology.nodes[node].drained)
                continue;
            pool_dequeue(c);
            TAILQ_INSERT_TAIL(taken, waiter, link);
        }
    }
}

/* They decide again, after all are taken out: who waits again is put back in the order of time, and
 * must not be met twice. */
static void redecide(struct worker *w, struct group *g, uint64_t now_ns)
{
    struct waiter_list taken = TAILQ_HEAD_INITIALIZER(taken);
    struct waiter *waiter;
    for (int kind = 0; kind < WAITLIST_KINDS && g->waiting > 0; kind++)
        take_unfit(w, g, (enum waitlist_kind)kind, &taken);
    while ((waiter = TAILQ_FIRST(&taken)) != NULL) {
        struct client *c = pool_waiting_client(waiter);
        TAILQ_REMOVE(&taken, waiter, link);
        worker_apply(w, c, core_redecide(&c->core, now_ns), now_ns);
    }
}

/* Connections that are not what they were opened for, and reads that a node which is out of use has
 * not begun to answer: they are tried elsewhere rather than to hang as long as it is silent. */
static void reconsider(struct worker *w, struct pool *pool)
{
    struct server *v;
    struct server *next;
    const bool is_out = w->topology.nodes[pool->node].breaker == BREAKER_OPEN;
    TAILQ_EACH_SAFE (v, &pool->idle, link, next) {
        if (pool_is_mislabelled(w, v))
            server_close(v, "its node has another role now");
        else
            server_line(v, is_out);
    }
    TAILQ_EACH_SAFE (v, &pool->others, link, next) {
        if (v->state == SERVER_ACTIVE)
            server_line(v, is_out);
        if (v->state == SERVER_WARMING && pool_is_mislabelled(w, v))
            server_close(v, "its node has another role now");
        else if (v->state == SERVER_ACTIVE && !v->core.is_replica && pool_is_mislabelled(w, v))
            server_lost(v, "its node is no longer the primary"); /* nothing may be written there */
        else if (is_out && v->core.session != NULL && core_may_replay(v->core.session))
            server_lost(v, "its node is out of use");
    }
}

void pools_topology_changed(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link) {
        for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
            if (g->pools[n].shared != NULL)
                reconsider(w, &g->pools[n]);
        }
        redecide(w, g, now_ns);
    }
}

/* Connections to replicas that wait for the first probe after they were opened. */
static void warm(struct worker *w, struct group *g, uint64_t now_ns)
{
    for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
        struct pool *pool = &g->pools[n];
        struct server *v;
        struct server *next;
        if (pool->shared == NULL || pool->warming_count == 0)
            continue;
        TAILQ_EACH_SAFE (v, &pool->others, link, next) {
            if (v->state != SERVER_WARMING)
                continue;
            if (pool_is_vouched_for(w, v)) {
                pool_move(v, SERVER_ACTIVE, now_ns);
                pool_release(w, v, now_ns);
            } else {
                worker_want_probe(w);
            }
        }
    }
}

void pools_warm(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        warm(w, g, now_ns);
}
