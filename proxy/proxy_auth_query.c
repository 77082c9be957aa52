/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_query: secrets of users who are not in auth_file, fetched by auth_query; each worker
 * for itself. What was said is remembered for some seconds, that there is no such user for fewer.
 *
 * Happy path: auth_query_start -> (remembered) or entry -> dispatch -> auth_link_ask ->
 * auth_link_answered -> auth_fetched for all who wait for this user.
 * Failure modes: a node that cannot be asked: the next one of its shard; none left, or an error of
 * the query: those who wait get 57P03 and the log says why. A database that is not there looks like
 * a user who is not. A log-in that waits too long ends by client_login_timeout.
 */
#include <stdlib.h>

#include "proxy_auth_internal.h"
#include "proxy_auth_link.h"
#include "proxy_log.h"

enum {
    LINKS_MAX = 4,      /* connections of a worker */
    ENTRIES_MAX = 1024, /* users that are remembered or asked for */
    BUCKETS = 256,
    SECRET_SIZE_MAX = 2047,
};
static const uint64_t remember_ns = 10000000000;      /* a secret */
static const uint64_t remember_none_ns = 2000000000;  /* there is none, or it was wrong */
static const uint64_t answer_timeout_ns = 5000000000; /* a step of a connection */
static const uint64_t idle_timeout_ns = 30000000000;

enum entry_state { ENTRY_WANTED, ENTRY_ASKED, ENTRY_ANSWERED };

/* One user of one database, under one configuration. */
struct auth_entry {
    TAILQ_ENTRY(auth_entry) in_bucket;
    TAILQ_ENTRY(auth_entry) in_order; /* wanted: the queue; else by age */
    TAILQ_HEAD(, auth) waiters;
    enum entry_state state;
    uint32_t bucket;
    uint32_t tried;        /* nodes, a bit each */
    const char *query;     /* the configuration's */
    struct auth_target to; /* its node is chosen as it is asked */
    uint8_t shard;
    char user[256];
    char *secret; /* owned; NULL: there is no such user */
    uint64_t fetched_ns;
    uint64_t expires_ns;
};
TAILQ_HEAD(entry_list, auth_entry);

struct auth_query {
    struct worker *worker;
    struct entry_list buckets[BUCKETS];
    struct entry_list wanted; /* oldest first; for want of a connection */
    struct entry_list others;
    uint32_t entries_count;
    bool dispatching;
    struct auth_link links[LINKS_MAX];
};

static struct auth_query *query_of(struct worker *w)
{
    if (w->auth_query != NULL)
        return w->auth_query;
    struct auth_query *q = calloc(1, sizeof(*q));
    if (q == NULL)
        abort();
    q->worker = w;
    for (uint32_t i = 0; i < BUCKETS; i++)
        TAILQ_INIT(&q->buckets[i]);
    TAILQ_INIT(&q->wanted);
    TAILQ_INIT(&q->others);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        q->links[i] = (struct auth_link){.watch = {.loop = &w->loop}, .owner = q};
    w->auth_query = q;
    return q;
}

/* ---- entries ---- */

static uint32_t bucket_of(const char *user)
{
    uint32_t hash = 2166136261u;
    for (; *user != '\0'; user++)
        hash = (hash ^ (uint8_t)*user) * 16777619u;
    return hash % BUCKETS;
}

static struct entry_list *list_of(struct auth_query *q, const struct auth_entry *e)
{
    return e->state == ENTRY_WANTED ? &q->wanted : &q->others;
}

static void entry_move(struct auth_query *q, struct auth_entry *e, enum entry_state state)
{
    TAILQ_REMOVE(list_of(q, e), e, in_order);
    e->state = state;
    TAILQ_INSERT_TAIL(list_of(q, e), e, in_order);
}

static void entry_free(struct auth_query *q, struct auth_entry *e)
{
    assert(TAILQ_EMPTY(&e->waiters) && e->state != ENTRY_ASKED);
    TAILQ_REMOVE(&q->buckets[e->bucket], e, in_bucket);
    TAILQ_REMOVE(list_of(q, e), e, in_order);
    q->entries_count--;
    if (e->secret != NULL)
        explicit_bzero(e->secret, strlen(e->secret));
    free(e->secret);
    free(e);
}

static bool is_expired(const struct auth_entry *e, uint64_t now_ns)
{
    return e->state == ENTRY_ANSWERED && TAILQ_EMPTY(&e->waiters) && now_ns >= e->expires_ns;
}

/* Room for one more: what has expired goes, else the oldest that is only remembered. */
static bool make_room(struct auth_query *q)
{
    struct auth_entry *e;
    if (q->entries_count < ENTRIES_MAX)
        return true;
    TAILQ_FOREACH (e, &q->others, in_order) {
        if (e->state != ENTRY_ANSWERED || !TAILQ_EMPTY(&e->waiters))
            continue;
        entry_free(q, e);
        return true;
    }
    return false;
}

/* Where a client of this log-in's database is looked up. False: there is no auth_query for it. */
static bool target_of(const struct auth *a, struct auth_entry *ret)
{
    const struct config *config = a->client->worker->config;
    const char *name = core_login_database(&a->client->core);
    const struct config_database *d = config_database_find(config, name);
    const struct config_switchgear *own = &config->switchgear;
    const char *user = d != NULL ? d->auth_user : own->auth_user;
    const char *dbname = d != NULL ? d->auth_dbname : own->auth_dbname;
    ret->query = d != NULL ? d->auth_query : own->auth_query;
    if (dbname[0] != '\0') {
        name = dbname;
        d = config_database_find(config, dbname);
    }
    if (user[0] == '\0' || d == NULL)
        return false;
    const struct config_user *known = config_user_find(config, user);
    const bool clear = known != NULL && auth_is_clear(known->secret);
    ret->shard = (uint8_t)d->shard_first;
    ret->to = (struct auth_target){
        .config = config, .user = user, .password = clear ? known->secret : NULL};
    (void)snprintf(ret->to.dbname, sizeof(ret->to.dbname), "%s",
                   d->dbname[0] != '\0' ? d->dbname : name);
    return ret->query[0] != '\0';
}

static struct auth_entry *entry_find(struct auth_query *q, const struct auth_entry *like,
                                     const char *user)
{
    struct auth_entry *e;
    TAILQ_FOREACH (e, &q->buckets[bucket_of(user)], in_bucket)
        if (strcmp(e->user, user) == 0 && e->to.config == like->to.config &&
            e->query == like->query && e->to.user == like->to.user &&
            strcmp(e->to.dbname, like->to.dbname) == 0)
            return e;
    return NULL;
}

static struct auth_entry *entry_make(struct auth_query *q, const struct auth_entry *like,
                                     const char *user)
{
    struct auth_entry *e = calloc(1, sizeof(*e));
    if (e == NULL)
        abort();
    *e = *like;
    TAILQ_INIT(&e->waiters);
    (void)snprintf(e->user, sizeof(e->user), "%s", user);
    e->bucket = bucket_of(user);
    e->state = ENTRY_WANTED;
    TAILQ_INSERT_TAIL(&q->buckets[e->bucket], e, in_bucket);
    TAILQ_INSERT_TAIL(&q->wanted, e, in_order);
    q->entries_count++;
    return e;
}

/* ---- answers for those who wait ---- */

static void give(struct auth *a, const char *secret)
{
    if (secret == NULL)
        return;
    a->fetched = strdup(secret);
    if (a->fetched == NULL)
        abort();
}

static void tell_waiters(struct auth_entry *e, const struct auth_refusal *refusal)
{
    struct auth *a;
    while ((a = TAILQ_FIRST(&e->waiters)) != NULL) {
        TAILQ_REMOVE(&e->waiters, a, link);
        a->entry = NULL;
        give(a, e->secret);
        auth_fetched(a, refusal, uv_hrtime());
    }
}

static void refuse_waiters(struct auth_query *q, struct auth_entry *e)
{
    struct auth_refusal refusal;
    auth_refuse(&refusal, "57P03", "the user could not be looked up");
    refusal.text.hint = "The log of the proxy says why auth_query failed.";
    e->expires_ns = 0; /* not remembered: the next tick frees it */
    entry_move(q, e, ENTRY_ANSWERED);
    tell_waiters(e, &refusal);
}

/* ---- asking ---- */

/* The primary first, then whoever is reachable. */
static uint8_t node_choose(const struct worker *w, const struct auth_entry *e)
{
    const struct config *config = e->to.config;
    uint8_t best = ROUTER_NODE_NONE;
    for (uint8_t i = 0; i < config->nodes_count; i++) {
        const struct router_node *n = &w->topology.nodes[i];
        if (config->nodes[i].shard_index != e->shard || (e->tried & 1u << i) != 0)
            continue;
        if (n->role == ROUTER_ROLE_PRIMARY)
            return i;
        if (best == ROUTER_NODE_NONE)
            best = i;
    }
    return best;
}

/* Idle and of this target; else closed; else idle and of another, which is closed. NULL: all are
 * busy. */
static struct auth_link *link_choose(struct auth_query *q, const struct auth_target *target)
{
    struct auth_link *closed = NULL;
    struct auth_link *idle = NULL;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct auth_link *l = &q->links[i];
        if (l->state == AUTH_LINK_IDLE && auth_link_fits(l, target))
            return l;
        if (l->state == AUTH_LINK_CLOSED)
            closed = l;
        else if (l->state == AUTH_LINK_IDLE)
            idle = l;
    }
    if (closed == NULL && idle != NULL)
        auth_link_close(idle);
    return closed != NULL ? closed : idle;
}

/* Asks for the oldest that are wanted, as far as there are connections. Not re-entered: a link that
 * fails at once puts its entry back and is asked again here. */
static void dispatch(struct auth_query *q)
{
    struct worker *w = q->worker;
    struct auth_entry *e;
    if (q->dispatching)
        return;
    q->dispatching = true;
    while ((e = TAILQ_FIRST(&q->wanted)) != NULL) {
        assert(e->state == ENTRY_WANTED);
        e->to.node = node_choose(w, e);
        if (e->to.node == ROUTER_NODE_NONE) {
            refuse_waiters(q, e);
            continue;
        }
        struct auth_link *l = link_choose(q, &e->to);
        if (l == NULL)
            break;
        entry_move(q, e, ENTRY_ASKED);
        l->entry = e;
        auth_link_ask(l, &e->to, e->query, e->user, uv_hrtime());
    }
    q->dispatching = false;
}

static void log_failure(const struct auth_link *l, const char *sqlstate, const char *message)
{
    const struct auth_entry *e = l->entry;
    log_warning("auth_query_failed",
                "node=%s database=\"%s\" auth_user=\"%s\" user=\"%s\" sqlstate=%s error=\"%s\"",
                e->to.config->nodes[e->to.node].name, e->to.dbname, e->to.user, e->user, sqlstate,
                message);
}

/* Fills e->secret. False: the answer is not one. */
static bool take_secret(struct auth_link *l, const PGresult *result)
{
    struct auth_entry *e = l->entry;
    if (PQnfields(result) < 2 || PQntuples(result) > 1) {
        log_failure(l, "", "not one row of two columns, name and secret");
        return false;
    }
    if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0) || PQgetisnull(result, 0, 1))
        return true;
    const char *secret = PQgetvalue(result, 0, 1);
    if (strcmp(PQgetvalue(result, 0, 0), e->user) != 0 || strlen(secret) > SECRET_SIZE_MAX) {
        log_failure(l, "", "the row is of another user, or its secret is too long");
        return true;
    }
    if (secret[0] == '\0')
        return true;
    e->secret = strdup(secret);
    if (e->secret == NULL)
        abort();
    struct auth_query *q = l->owner;
    q->worker->auth_seen_md5 = strncmp(secret, "SCRAM-SHA-256$", 14) != 0;
    q->worker->auth_seen_clear = auth_is_clear(secret);
    return true;
}

void auth_link_answered(struct auth_link *l, const PGresult *result)
{
    struct auth_query *q = l->owner;
    struct auth_entry *e = l->entry;
    worker_topology_refresh(q->worker);
    assert(e != NULL && e->state == ENTRY_ASKED);
    const bool good = take_secret(l, result);
    l->entry = NULL;
    if (good) {
        e->fetched_ns = uv_hrtime();
        e->expires_ns = e->fetched_ns + (e->secret != NULL ? remember_ns : remember_none_ns);
        entry_move(q, e, ENTRY_ANSWERED);
        tell_waiters(e, NULL);
    } else {
        refuse_waiters(q, e);
    }
    dispatch(q);
}

/* Would another node say the same? Then it is not worth asking. */
static bool is_final(const char *sqlstate)
{
    return sqlstate[0] != '\0' && strncmp(sqlstate, "57", 2) != 0 &&
           strncmp(sqlstate, "53", 2) != 0 && strncmp(sqlstate, "08", 2) != 0 &&
           strncmp(sqlstate, "XX", 2) != 0;
}

void auth_link_failed(struct auth_link *l, const char *sqlstate, const char *message)
{
    struct auth_query *q = l->owner;
    struct auth_entry *e = l->entry;
    worker_topology_refresh(q->worker);
    assert(e != NULL && e->state == ENTRY_ASKED);
    const bool was_stale = l->reused && sqlstate[0] == '\0';
    if (!was_stale) {
        log_failure(l, sqlstate, message);
        e->tried |= 1u << e->to.node;
    }
    l->entry = NULL;
    if (strncmp(sqlstate, "3D", 2) == 0) { /* looks like a user who is not there */
        e->fetched_ns = uv_hrtime();
        e->expires_ns = e->fetched_ns + remember_none_ns;
        entry_move(q, e, ENTRY_ANSWERED);
        tell_waiters(e, NULL);
    } else if (is_final(sqlstate) || TAILQ_EMPTY(&e->waiters)) {
        refuse_waiters(q, e);
    } else {
        entry_move(q, e, ENTRY_WANTED);
    }
    dispatch(q);
}

/* ---- front door ---- */

bool auth_query_wanted(const struct auth *a)
{
    struct auth_entry like = {0};
    return target_of(a, &like);
}

void auth_query_start(struct auth *a, uint64_t now_ns)
{
    struct auth_query *q = query_of(a->client->worker);
    const char *user = core_login_user_name(&a->client->core);
    struct auth_entry like = {0};
    const bool wanted = target_of(a, &like);
    assert(wanted);
    a->asked = true;
    struct auth_entry *e = entry_find(q, &like, user);
    if (e != NULL && is_expired(e, now_ns)) {
        entry_free(q, e);
        e = NULL;
    }
    if (e != NULL && e->state == ENTRY_ANSWERED && TAILQ_EMPTY(&e->waiters)) {
        a->from_cache = true;
        give(a, e->secret);
        auth_fetched(a, NULL, now_ns);
        return;
    }
    if (e == NULL && !make_room(q)) {
        struct auth_refusal refusal;
        auth_refuse(&refusal, "53300", "too many users are being looked up");
        auth_fetched(a, &refusal, now_ns);
        return;
    }
    if (e == NULL)
        e = entry_make(q, &like, user);
    a->entry = e;
    TAILQ_INSERT_TAIL(&e->waiters, a, link);
    dispatch(q);
}

void auth_query_forget(struct auth *a)
{
    assert(a->entry != NULL);
    TAILQ_REMOVE(&a->entry->waiters, a, link);
    a->entry = NULL;
}

/*
 * A user who is there and one who is not are remembered alike from here on: what was asked for by
 * this log-in for as long as "there is none", what was remembered no longer.
 */
void auth_query_distrust(struct auth *a)
{
    struct auth_query *q = a->client->worker->auth_query;
    struct auth_entry like = {0};
    if (q == NULL || !target_of(a, &like))
        return;
    struct auth_entry *e = entry_find(q, &like, core_login_user_name(&a->client->core));
    if (e == NULL || e->state != ENTRY_ANSWERED || !TAILQ_EMPTY(&e->waiters))
        return;
    if (a->from_cache)
        e->expires_ns = 0;
    else if (e->expires_ns > e->fetched_ns + remember_none_ns)
        e->expires_ns = e->fetched_ns + remember_none_ns;
}

void auth_query_tick(struct worker *w, uint64_t now_ns)
{
    struct auth_query *q = w->auth_query;
    struct auth_entry *e;
    struct auth_entry *next;
    if (q == NULL)
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct auth_link *l = &q->links[i];
        if (l->state == AUTH_LINK_CLOSED || now_ns < l->since_ns)
            continue;
        if (l->state == AUTH_LINK_IDLE && now_ns - l->since_ns > idle_timeout_ns)
            auth_link_close(l);
        else if (l->state != AUTH_LINK_IDLE && now_ns - l->since_ns > answer_timeout_ns)
            auth_link_time_out(l);
    }
    TAILQ_EACH_SAFE (e, &q->others, in_order, next)
        if (is_expired(e, now_ns))
            entry_free(q, e);
    TAILQ_EACH_SAFE (e, &q->wanted, in_order, next)
        if (TAILQ_EMPTY(&e->waiters))
            entry_free(q, e);
}

void auth_query_stop(struct worker *w)
{
    struct auth_query *q = w->auth_query;
    if (q == NULL)
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        auth_link_close(&q->links[i]);
}

void auth_query_destroy(struct worker *w)
{
    struct auth_query *q = w->auth_query;
    struct auth_entry *e;
    struct auth_entry *next;
    if (q == NULL)
        return;
    TAILQ_EACH_SAFE (e, &q->others, in_order, next) {
        e->state = ENTRY_ANSWERED; /* if it was asked: its connection is closed already */
        entry_free(q, e);
    }
    TAILQ_EACH_SAFE (e, &q->wanted, in_order, next)
        entry_free(q, e);
    free(q);
    w->auth_query = NULL;
}
