/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_pool: one pool per (database, user, node), over all workers. Each worker has its own idle
 * list (last in, first out) and its own waiters (first in, first out); the number of connections
 * is one budget that all share; connections move to the worker whose waiter is older.
 *
 * No lost wake-up: a worker publishes its waiter, then (full fence) looks at what others have idle;
 * a worker publishes what is idle, then (full fence) looks at the others' waiters.
 */
#include <stdlib.h>

#include "proxy_log.h"
#include "proxy_worker.h"

enum { HANDOVER_NS = 1000000, BACKOFF_NS = 50000000, BACKOFF_MAX = 6, STEAL_RETRY_NS = 20000000 };

static const struct config_database *section(const struct group *g)
{
    return &g->worker->config->databases[g->database];
}

static uint32_t workers_count(const struct worker *w)
{
    return w->proxy->workers_count;
}

static struct shared_pool_worker *mine(const struct pool *pool)
{
    return &pool->shared->workers[pool->group->worker->index];
}

void pool_init(struct pool *pool, struct group *g, uint8_t node)
{
    pool->group = g;
    pool->node = node;
    pool->shared = shared_pool_get(g->worker->proxy, g->database, g->client_database, g->dbname,
                                   g->server_user, node);
    TAILQ_INIT(&pool->idle);
    TAILQ_INIT(&pool->others);
}

static void mark_dirty(struct group *g)
{
    if (g->dirty)
        return;
    g->dirty = true;
    TAILQ_INSERT_TAIL(&g->worker->dirty, g, dirty_link);
}

static void publish_gauges(struct pool *pool)
{
    struct shared_pool_worker *m = mine(pool);
    shared_set(&m->idle, pool->idle_count);
    shared_set(&m->active, pool->active_count);
    shared_set(&m->opening, pool->opening_count + pool->warming_count);
}

/* Every move between the lists goes through here: the counts follow the state. */
static uint32_t *count_of(struct pool *pool, uint8_t state)
{
    switch ((enum server_state)state) {
    case SERVER_RESOLVING:
    case SERVER_CONNECTING:
        return &pool->opening_count;
    case SERVER_WARMING:
        return &pool->warming_count;
    case SERVER_IDLE:
        return &pool->idle_count;
    case SERVER_ACTIVE:
    case SERVER_RESETTING:
    case SERVER_CLOSING:
        break;
    }
    return &pool->active_count;
}

void pool_move(struct server *v, enum server_state state, uint64_t now_ns)
{
    struct pool *pool = v->pool;
    TAILQ_REMOVE(v->state == SERVER_IDLE ? &pool->idle : &pool->others, v, link);
    (*count_of(pool, v->state))--;
    v->state = (uint8_t)state;
    v->since_ns = now_ns;
    (*count_of(pool, v->state))++;
    if (state == SERVER_IDLE)
        TAILQ_INSERT_HEAD(&pool->idle, v, link);
    else
        TAILQ_INSERT_TAIL(&pool->others, v, link);
    publish_gauges(pool);
}

/* ---- the budget ---- */

static bool budget_take(struct pool *pool)
{
    const uint64_t size = section(pool->group)->pool_size;
    if (ck_pr_load_64(&pool->shared->budget_used) >= size)
        return false; /* look before writing: the word is shared */
    if (ck_pr_faa_64(&pool->shared->budget_used, 1) < size)
        return true;
    ck_pr_dec_64(&pool->shared->budget_used);
    return false;
}

static uint64_t oldest_elsewhere(const struct pool *pool, uint32_t *ret_worker)
{
    uint64_t oldest_ns = 0;
    const struct worker *w = pool->group->worker;
    for (uint32_t i = 0; i < workers_count(w); i++) {
        if (i == w->index)
            continue;
        const uint64_t t = shared_load(&pool->shared->workers[i].oldest_waiter_ns);
        if (t != 0 && (oldest_ns == 0 || t < oldest_ns)) {
            oldest_ns = t;
            *ret_worker = i;
        }
    }
    return oldest_ns;
}

/* ---- waiters ---- */

/* It only learns what the servers say of themselves. */
static bool is_login(const struct client *c)
{
    return c->core.phase != CORE_QUERY;
}

static enum group_list list_of(const struct client *c)
{
    if (c->want_mask == 0)
        return GROUP_HOMELESS;
    if (is_login(c))
        return GROUP_LOGIN;
    return c->core.choice.target == ROUTER_TARGET_REPLICA ? GROUP_REPLICA : GROUP_PRIMARY;
}

/* The oldest that this node may serve. All who wait for a primary wait for the same one, so that
 * the first of them speaks for all; readers differ in what they may use. */
static struct client *first_for(struct group *g, uint8_t node)
{
    const uint32_t bit = 1u << node;
    struct client *c = TAILQ_FIRST(&g->waiters[GROUP_PRIMARY]);
    if (c == NULL || (c->want_mask & bit) == 0)
        TAILQ_FOREACH (c, &g->waiters[GROUP_REPLICA], waiter) {
            if ((c->want_mask & bit) != 0)
                break;
        }
    struct client *login = TAILQ_FIRST(&g->waiters[GROUP_LOGIN]);
    if (login != NULL && (login->want_mask & bit) != 0 &&
        (c == NULL || login->core.waiting_since_ns < c->core.waiting_since_ns))
        return login;
    return c;
}

/* The others learn since when somebody waits here. */
static void publish_waiters(struct group *g)
{
    struct worker *w = g->worker;
    for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
        struct pool *pool = &g->pools[n];
        if (pool->shared == NULL)
            continue;
        const struct client *c = g->waiting > 0 ? first_for(g, (uint8_t)n) : NULL;
        shared_set(&mine(pool)->oldest_waiter_ns, c != NULL ? c->core.waiting_since_ns : 0);
    }
}

static struct pool *pool_of(struct group *g, uint8_t node)
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
    for (uint32_t i = 0; i < g->worker->topology.nodes_count; i++) {
        if ((c->want_mask & 1u << i) == 0)
            continue;
        struct shared_pool_worker *m = mine(pool_of(g, (uint8_t)i));
        shared_set(&m->waiting, m->waiting + n);
    }
    shared_set(&g->worker->stats.waiting, g->worker->stats.waiting + n);
    g->waiting += (uint32_t)n;
}

static void dequeue(struct client *c)
{
    struct group *g = (struct group *)c->core.group;
    assert(c->queued);
    TAILQ_REMOVE(&g->waiters[c->want_list], c, waiter);
    c->queued = false;
    count_waiter(c, (uint64_t)-1);
    if (workers_count(g->worker) > 1)
        publish_waiters(g);
}

static void enqueue(struct client *c)
{
    struct group *g = (struct group *)c->core.group;
    assert(!c->queued);
    c->want_list = (uint8_t)list_of(c);
    /* one that waits again after a change of mind keeps its place in the order of time */
    struct client *later = TAILQ_LAST(&g->waiters[c->want_list], client_list);
    while (later != NULL && later->core.waiting_since_ns > c->core.waiting_since_ns)
        later = TAILQ_PREV(later, client_list, waiter);
    if (later != NULL)
        TAILQ_INSERT_AFTER(&g->waiters[c->want_list], later, c, waiter);
    else
        TAILQ_INSERT_HEAD(&g->waiters[c->want_list], c, waiter);
    c->queued = true;
    count_waiter(c, 1);
    if (workers_count(g->worker) > 1)
        publish_waiters(g);
}

void pool_forget_waiter(struct client *c)
{
    if (c->queued)
        dequeue(c);
}

static void on_again(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    struct group *g;
    worker_topology_refresh(w);
    TAILQ_FOREACH (g, &w->groups, link)
        if (g->waiting > 0)
            mark_dirty(g);
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

/* Opens as many connections as there are waiters without one on its way. */
static void open_for_waiters(struct group *g, uint8_t node, uint64_t now_ns)
{
    struct pool *pool = pool_of(g, node);
    const uint64_t parallel = g->worker->config->switchgear.connect_parallel;
    const uint64_t waiting = shared_load(&mine(pool)->waiting);
    ck_pr_fence_memory(); /* our waiter is published: now look at what others have idle or free */
    /* an attempt can fail at once (no descriptor left, no socket there): then the pool backs off */
    while (now_ns >= pool->retry_at_ns && pool->opening_count + pool->warming_count < waiting &&
           pool->opening_count < parallel && budget_take(pool))
        server_open(pool, now_ns);
    const struct client *first = workers_count(g->worker) > 1 ? first_for(g, node) : NULL;
    if (first == NULL)
        return;
    const uint64_t since_ns = first->core.waiting_since_ns;
    const uint64_t waited_ns = now_ns > since_ns ? now_ns - since_ns : 0;
    const bool comes_soon = pool->active_count + pool->opening_count + pool->warming_count > 0;
    look_again(g->worker, waited_ns);
    if (comes_soon && waited_ns < HANDOVER_NS)
        return; /* one of our own is about to be free: moving one costs more than this wait */
    for (uint32_t i = 0; i < workers_count(g->worker); i++) {
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

/* The node has another role than when this connection was made: after a promotion what was a
 * standby's may write, and what was the primary's must not any more. What the core knows of a
 * connection does not change while it lives, so that a new one is made. */
static bool is_mislabelled(const struct worker *w, const struct server *v)
{
    const uint8_t role = w->topology.nodes[v->pool->node].role;
    return v->core.is_replica ? role == ROUTER_ROLE_PRIMARY : role != ROUTER_ROLE_PRIMARY;
}

/* An idle connection to the node, or NULL. The topology may be newer than the last look at what is
 * idle (pools_topology_changed). */
static struct server *idle_of(struct worker *w, struct group *g, uint8_t node)
{
    struct pool *pool = &g->pools[node];
    struct server *v = NULL;
    while (pool->shared != NULL && (v = TAILQ_FIRST(&pool->idle)) != NULL && is_mislabelled(w, v))
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

/* Where a connection is opened for it first. */
static uint8_t home_of(const struct client *c)
{
    return c->core.choice.node != ROUTER_NODE_NONE ? c->core.choice.node
                                                   : (uint8_t)__builtin_ctz(c->want_mask);
}

/* A trial permit is taken when the statement is about to be sent to a node that is on trial. */
static bool may_use(struct worker *w, struct client *c, struct server *v)
{
    const struct router_node *node = &w->topology.nodes[v->pool->node];
    if (node->breaker != BREAKER_HALF_OPEN)
        return true;
    (void)c;
    if (!shared_permit_take(&w->proxy->nodes[v->pool->node], node->generation))
        return false;
    v->core.trial = true;
    v->core.generation = node->generation; /* under which it is given back, used or not */
    return true;
}

/* The node that was chosen has no connection to spare and another one served: without this a node
 * that is new or back would stay cold for as long as the others keep up. */
static void open_spare(struct pool *pool, uint64_t now_ns)
{
    if (pool->opening_count + pool->warming_count == 0 && now_ns >= pool->retry_at_ns &&
        budget_take(pool))
        server_open(pool, now_ns);
}

/* PAUSE: nobody is given a connection until RESUME. */
static bool is_paused(const struct group *g)
{
    return shared_load(&g->worker->proxy->paused[g->database]) != 0;
}

void pool_want(struct worker *w, struct client *c, uint64_t now_ns)
{
    struct group *g = (struct group *)c->core.group;
    if (c->queued)
        dequeue(c);
    c->want_mask = mask_of(w, c);
    const enum group_list list = list_of(c);
    if (list == GROUP_HOMELESS) {
        enqueue(c);
        return;
    }
    const uint8_t home = home_of(c);
    if (!is_paused(g) && TAILQ_EMPTY(&g->waiters[list])) {
        struct server *v = idle_of(w, g, home);
        for (uint32_t n = 0; v == NULL && n < w->topology.nodes_count; n++)
            if ((c->want_mask & 1u << n) != 0)
                v = idle_of(w, g, (uint8_t)n);
        if (v != NULL && v->pool->node != home)
            open_spare(pool_of(g, home), now_ns);
        if (v != NULL && may_use(w, c, v)) {
            grant(w, c, v, now_ns);
            return;
        }
    }
    enqueue(c);
    open_for_waiters(g, home, now_ns);
    mark_dirty(g);
}

/* ---- connections come and go ---- */

static bool is_vouched_for(const struct worker *w, const struct server *v)
{
    const struct router_node *node = &w->topology.nodes[v->pool->node];
    return !v->core.is_replica || node->evidence_ns >= v->core.opened_ns;
}

void pool_opened(struct server *v, uint64_t now_ns)
{
    struct worker *w = v->worker;
    struct pool *pool = v->pool;
    if (is_mislabelled(w, v)) { /* the probes will see it too: not before the next look */
        server_close(v, "its role is not what the probes saw");
        pool_open_failed(pool, "", "the server's role has just changed", now_ns);
        worker_want_probe(w);
        return;
    }
    if (!is_vouched_for(w, v)) {
        /* a restarted replica may accept us at an older point than the evidence knows */
        pool_move(v, SERVER_WARMING, now_ns);
        worker_want_probe(w);
        return;
    }
    pool_move(v, SERVER_ACTIVE, now_ns);
    pool_release(w, v, now_ns);
}

static void refuse_waiters(struct group *g, const struct pool *pool, uint64_t now_ns)
{
    char message[300];
    (void)snprintf(message, sizeof(message), "cannot connect to the server: %s",
                   pool->error_message);
    const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = pool->error_sqlstate, .message = message};
    struct client *c;
    while ((c = first_for(g, pool->node)) != NULL) {
        dequeue(c);
        c->want_mask &= ~(1u << pool->node);
        if (c->want_mask != 0) { /* another node will do as well */
            enqueue(c);
            continue;
        }
        worker_apply(g->worker, c, core_refused(&c->core, &error, now_ns), now_ns);
    }
}

void pool_open_failed(struct pool *pool, const char *sqlstate, const char *message, uint64_t now_ns)
{
    struct group *g = pool->group;
    pool->failures_row += pool->failures_row < BACKOFF_MAX;
    pool->retry_at_ns = now_ns + ((uint64_t)BACKOFF_NS << pool->failures_row);
    (void)snprintf(pool->error_sqlstate, sizeof(pool->error_sqlstate), "%s", sqlstate);
    (void)snprintf(pool->error_message, sizeof(pool->error_message), "%s", message);
    /* The server said no to this user or database: waiting does not help. Not so for "starting up"
     * and "too many connections". */
    const bool final = strncmp(sqlstate, "28", 2) == 0 || strcmp(sqlstate, "3D000") == 0 ||
                       strcmp(sqlstate, "42501") == 0;
    if (final && pool->active_count + pool->idle_count == 0)
        refuse_waiters(g, pool, now_ns);
    mark_dirty(g);
}

void pool_gone(struct server *v)
{
    struct pool *pool = v->pool;
    struct worker *w = v->worker;
    TAILQ_REMOVE(v->state == SERVER_IDLE ? &pool->idle : &pool->others, v, link);
    (*count_of(pool, v->state))--;
    v->state = SERVER_CLOSING;
    w->servers_count--;
    shared_set(&w->stats.servers, w->servers_count);
    publish_gauges(pool);
    ck_pr_dec_64(&pool->shared->budget_used);
    if (pool->group->waiting > 0)
        mark_dirty(pool->group);
    uint32_t other;
    ck_pr_fence_memory();
    if (workers_count(w) > 1 && oldest_elsewhere(pool, &other) != 0)
        mailbox_wake(&w->proxy->workers[other].mail); /* it may open one now */
}

/* It belongs to this worker from now on, active until it is released. */
static void adopt(struct worker *w, struct server *v, struct pool *pool)
{
    v->worker = w;
    v->pool = pool;
    v->core.worker = &w->core;
    v->state = SERVER_ACTIVE;
    TAILQ_INSERT_TAIL(&pool->others, v, link);
    pool->active_count++;
    w->servers_count++;
    shared_set(&w->stats.servers, w->servers_count);
}

static void migrate(struct server *v, uint32_t to)
{
    struct worker *w = v->worker;
    struct pool *pool = v->pool;
    struct mail_backend *mail = malloc(sizeof(*mail));
    if (mail == NULL)
        abort();
    mail->mail.kind = MAIL_BACKEND;
    mail->server = v;
    server_unwatch(v);
    pool_move(v, SERVER_ACTIVE, uv_hrtime());
    TAILQ_REMOVE(&pool->others, v, link);
    pool->active_count--;
    publish_gauges(pool);
    w->servers_count--;
    shared_set(&w->stats.servers, w->servers_count);
    shared_add(&w->stats.migrations_out, 1);
    assert(v->core.hold == NULL && v->out == NULL && core_backend_idle(&v->core));
    ck_pr_inc_64(&pool->shared->workers[to].incoming);
    if (worker_post(w->proxy, to, &mail->mail))
        return;
    ck_pr_dec_64(&pool->shared->workers[to].incoming);
    free(mail); /* its mailbox is full: keep the connection, and do not try again from here */
    adopt(w, v, pool);
    if (server_watch(v)) {
        server_events_update(v);
        pool_move(v, SERVER_IDLE, uv_hrtime());
    } else {
        server_close(v, "cannot watch the socket");
    }
}

void pool_take_backend(struct worker *w, struct server *v)
{
    const struct shared_pool *shared = v->pool->shared;
    struct group *g =
        worker_group(w, shared->database, shared->client_database, v->pool->group->user);
    struct pool *pool = pool_of(g, shared->node);
    const uint64_t now_ns = uv_hrtime();
    assert(pool->shared == shared);
    adopt(w, v, pool);
    ck_pr_dec_64(&mine(pool)->incoming);
    if (!server_watch(v)) {
        server_close(v, "cannot watch the socket");
        return;
    }
    server_events_update(v);
    pool_release(w, v, now_ns);
}

void pool_steal(struct worker *w, struct shared_pool *shared, uint32_t thief)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
            struct pool *pool = &g->pools[n];
            if (pool->shared != shared)
                continue;
            struct server *v = TAILQ_FIRST(&pool->idle);
            if (v != NULL && first_for(g, (uint8_t)n) == NULL &&
                shared_load(&shared->workers[thief].oldest_waiter_ns) != 0 &&
                shared_load(&shared->workers[thief].incoming) == 0)
                migrate(v, thief);
            return;
        }
}

static bool is_too_old(const struct server *v, uint64_t now_ns)
{
    const uint64_t lifetime_ns = v->worker->config->switchgear.server_lifetime_ns;
    return v->retire || (lifetime_ns != 0 && now_ns - v->started_ns > lifetime_ns);
}

void pool_release(struct worker *w, struct server *v, uint64_t now_ns)
{
    struct pool *pool = v->pool;
    assert(v->core.session == NULL);
    v->stopped = false; /* whoever took nothing of it is gone; a reset has to be read too */
    const bool left_dirty = v->core.status != 'I' || (v->core.tainted && v->core.pinned_left);
    if (left_dirty && !v->core.broken) {
        v->core.pinned_left = false;
        struct core_actions *a = core_backend_reset(&v->core);
        pool_move(v, SERVER_RESETTING, now_ns);
        if (v->core.resetting) {
            server_write(v, &a->server);
            server_events_update(v);
            return;
        }
    }
    /* unsent bytes are the late data of a COPY that has failed: nobody else's connection */
    if (!core_backend_idle(&v->core) || v->out != NULL || is_mislabelled(w, v) ||
        is_too_old(v, now_ns) ||
        ck_pr_load_64(&pool->shared->budget_used) > section(pool->group)->pool_size) {
        server_close(v, "not to be used again");
        return;
    }
    server_events_update(v);
    pool_move(v, SERVER_IDLE, now_ns);
    ck_pr_fence_memory(); /* it is published as idle: now look at who waits elsewhere */
    uint32_t other = 0;
    const uint64_t theirs_ns =
        workers_count(w) > 1 && !w->stopping ? oldest_elsewhere(pool, &other) : 0;
    /* one at a time: what a worker that sleeps is sent would be taken from those that work */
    if (theirs_ns != 0 && shared_load(&pool->shared->workers[other].incoming) == 0) {
        const struct client *own = first_for(pool->group, pool->node);
        /* who has another connection in use will soon have that one, and asks if not */
        const bool has_none = shared_load(&pool->shared->workers[other].active) == 0;
        const uint64_t ours_ns = own != NULL ? own->core.waiting_since_ns : now_ns;
        if ((own == NULL && has_none) || theirs_ns + HANDOVER_NS < ours_ns) {
            migrate(v, other);
            return;
        }
    }
    if (pool->group->waiting > 0)
        mark_dirty(pool->group);
}

/* ---- once per loop turn ---- */

static void match(struct worker *w, struct group *g, uint64_t now_ns)
{
    if (is_paused(g))
        return;
    for (uint32_t i = 0; i < w->topology.nodes_count; i++) {
        const uint8_t n = (uint8_t)i;
        struct pool *pool = &g->pools[n];
        if (pool->shared == NULL)
            continue;
        struct server *v;
        struct client *c;
        while ((v = idle_of(w, g, n)) != NULL && (c = first_for(g, n)) != NULL) {
            if (!may_use(w, c, v))
                break;
            dequeue(c);
            grant(w, c, v, now_ns);
        }
        if (shared_load(&mine(pool)->waiting) > 0)
            open_for_waiters(g, n, now_ns);
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

/* Waiters whose node is no longer fit decide again. They are taken out first: who waits again is
 * put back in the order of time, and must not be met twice. */
static void redecide(struct worker *w, struct group *g, uint64_t now_ns)
{
    struct client_list moved = TAILQ_HEAD_INITIALIZER(moved);
    struct client *c;
    struct client *next;
    for (int list = 0; list < GROUP_LISTS; list++) {
        TAILQ_EACH_SAFE (c, &g->waiters[list], waiter, next) {
            const uint8_t node = c->core.choice.node;
            if (node != ROUTER_NODE_NONE && w->topology.nodes[node].breaker == BREAKER_CLOSED &&
                w->topology.nodes[node].gate == BREAKER_GATE_OPEN &&
                !w->topology.nodes[node].drained)
                continue;
            dequeue(c);
            TAILQ_INSERT_TAIL(&moved, c, waiter);
        }
    }
    while ((c = TAILQ_FIRST(&moved)) != NULL) {
        TAILQ_REMOVE(&moved, c, waiter);
        worker_apply(w, c, core_redecide(&c->core, now_ns), now_ns);
    }
}

/* Connections that are not what they were opened for, and reads that a node which is out of use has
 * not begun to answer: they are tried elsewhere rather than to hang as long as it is silent. */
static void reconsider(struct worker *w, struct pool *pool)
{
    struct server *v;
    struct server *next;
    TAILQ_EACH_SAFE (v, &pool->idle, link, next) {
        if (is_mislabelled(w, v))
            server_close(v, "its node has another role now");
    }
    const bool is_out = w->topology.nodes[pool->node].breaker == BREAKER_OPEN;
    TAILQ_EACH_SAFE (v, &pool->others, link, next) {
        if (v->state == SERVER_WARMING && is_mislabelled(w, v))
            server_close(v, "its node has another role now");
        else if (v->state == SERVER_ACTIVE && !v->core.is_replica && is_mislabelled(w, v))
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
            if (is_vouched_for(w, v)) {
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

/* ---- timeouts ---- */

static void refuse(struct worker *w, struct client *c, uint64_t now_ns)
{
    struct proto_error_text error = {.severity = "ERROR"};
    struct group *g = (struct group *)c->core.group;
    if (c->want_list == GROUP_HOMELESS && c->core.choice.target == ROUTER_TARGET_PRIMARY) {
        error.sqlstate = "57P03";
        error.message = "no primary can be reached";
        error.detail = "The statement waited for write_wait, nothing of it was sent.";
    } else if (c->want_list == GROUP_HOMELESS) {
        error.sqlstate = "57P03";
        error.message = "no node may serve this read";
        error.hint = "See SHOW NODES in the admin console.";
    } else {
        error.sqlstate = "53300";
        error.message = "no server connection became free within query_wait_timeout";
        error.hint = "Raise pool_size or query_wait_timeout, or look for long transactions with "
                     "SHOW CLIENTS in the admin console.";
    }
    shared_add(&w->database_stats[g->database].wait_timeouts, 1);
    dequeue(c);
    worker_apply(w, c, core_refused(&c->core, &error, now_ns), now_ns);
}

static uint64_t wait_limit_ns(const struct worker *w, const struct group *g, const struct client *c)
{
    const uint64_t query_ns = w->config->switchgear.query_wait_timeout_ns;
    if (c->want_list != GROUP_HOMELESS)
        return query_ns;
    const uint64_t set_ns = section(g)->write_wait_ns;
    const uint64_t write_ns = set_ns != 0 ? set_ns : 1; /* 0: do not wait */
    return query_ns != 0 && query_ns < write_ns ? query_ns : write_ns;
}

static void tick_group(struct worker *w, struct group *g, uint64_t now_ns)
{
    for (int list = 0; list < GROUP_LISTS; list++) {
        struct client *c;
        while ((c = TAILQ_FIRST(&g->waiters[list])) != NULL) {
            const uint64_t limit_ns = wait_limit_ns(w, g, c);
            if (limit_ns == 0 || now_ns - c->core.waiting_since_ns < limit_ns)
                break;
            refuse(w, c, now_ns);
        }
    }
    publish_waiters(g); /* SHOW POOLS tells since when somebody waits, with one worker too */
    const uint64_t idle_ns = w->config->switchgear.server_idle_timeout_ns;
    const uint64_t connect_ns = w->config->switchgear.server_connect_timeout_ns;
    for (uint32_t n = 0; n < w->topology.nodes_count; n++) {
        struct pool *pool = &g->pools[n];
        struct server *v;
        struct server *next;
        if (pool->shared == NULL)
            continue;
        TAILQ_EACH_SAFE (v, &pool->idle, link, next)
            if ((idle_ns != 0 && now_ns - v->since_ns > idle_ns) || is_too_old(v, now_ns))
                server_close(v, "idle or old");
        TAILQ_EACH_SAFE (v, &pool->others, link, next)
            if (v->state == SERVER_CONNECTING && connect_ns != 0 &&
                now_ns - v->started_ns > connect_ns)
                server_connect_timeout(v);
            else if (v->state == SERVER_RESETTING && connect_ns != 0 &&
                     now_ns - v->since_ns > connect_ns)
                server_close(v, "its reset took longer than server_connect_timeout");
    }
    if (g->waiting > 0)
        mark_dirty(g);
}

void pools_tick(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        tick_group(w, g, now_ns);
    pools_warm(w, now_ns);
}
