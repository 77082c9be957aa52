/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_ask: what servers are asked about users, each worker for itself. What was said is
 * remembered for some seconds, that there is no such user for fewer.
 *
 * Happy path: auth_ask_start -> (remembered) or entry -> dispatch -> ask_link_ask ->
 * link_answered -> told() of all who wait for this user.
 * Failure modes: a node that cannot be asked: the next one of its shard; none left, or an error of
 * the query: those who wait get 57P03 and the log says why. A database that is not there looks like
 * a user who is not. A log-in that waits too long ends by client_login_timeout.
 */
#include <stdlib.h>

#include "proxy_auth_ask.h"
#include "proxy_log.h"

enum {
    LINKS_MAX = 4,      /* connections of a worker */
    ENTRIES_MAX = 1024, /* users that are remembered or asked for */
    BUCKETS = 256,
};
static const uint64_t remember_ns = 10000000000;      /* an answer */
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
    uint32_t tried; /* nodes, a bit each */
    struct auth_question question;
    char user[256];
    struct auth_words said;
    uint64_t fetched_ns;
    uint64_t expires_ns;
};
TAILQ_HEAD(entry_list, auth_entry);

static void link_answered(struct ask_link *l, const PGresult *result);
static void link_failed(struct ask_link *l, const char *sqlstate, const char *message);

struct auth_asks {
    struct worker *worker;
    struct entry_list buckets[BUCKETS];
    struct entry_list wanted; /* oldest first; for want of a connection */
    struct entry_list others;
    uint32_t entries_count;
    bool dispatching;
    struct ask_link links[LINKS_MAX];
};

static struct auth_asks *asks_of(struct worker *w)
{
    if (w->asks != NULL)
        return w->asks;
    struct auth_asks *q = calloc(1, sizeof(*q));
    if (q == NULL)
        abort();
    q->worker = w;
    for (uint32_t i = 0; i < BUCKETS; i++)
        TAILQ_INIT(&q->buckets[i]);
    TAILQ_INIT(&q->wanted);
    TAILQ_INIT(&q->others);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        q->links[i] = (struct ask_link){.watch = {.loop = &w->loop},
                                        .owner = q,
                                        .answered = link_answered,
                                        .failed = link_failed};
    w->asks = q;
    return q;
}

/* ---- entries ---- */

void auth_words_free(struct auth_words *words)
{
    if (words->text != NULL)
        explicit_bzero(words->text, words->size);
    free(words->text);
    *words = (struct auth_words){0};
}

static uint32_t bucket_of(const char *user)
{
    uint32_t hash = 2166136261u;
    for (; *user != '\0'; user++)
        hash = (hash ^ (uint8_t)*user) * 16777619u;
    return hash % BUCKETS;
}

static struct entry_list *list_of(struct auth_asks *q, const struct auth_entry *e)
{
    return e->state == ENTRY_WANTED ? &q->wanted : &q->others;
}

static void entry_move(struct auth_asks *q, struct auth_entry *e, enum entry_state state)
{
    TAILQ_REMOVE(list_of(q, e), e, in_order);
    e->state = state;
    TAILQ_INSERT_TAIL(list_of(q, e), e, in_order);
}

static void entry_free(struct auth_asks *q, struct auth_entry *e)
{
    assert(TAILQ_EMPTY(&e->waiters) && e->state != ENTRY_ASKED);
    TAILQ_REMOVE(&q->buckets[e->bucket], e, in_bucket);
    TAILQ_REMOVE(list_of(q, e), e, in_order);
    q->entries_count--;
    auth_words_free(&e->said);
    free(e);
}

static bool is_expired(const struct auth_entry *e, uint64_t now_ns)
{
    return e->state == ENTRY_ANSWERED && TAILQ_EMPTY(&e->waiters) && now_ns >= e->expires_ns;
}

/* Room for one more: what has expired goes, else the oldest that is only remembered. */
static bool make_room(struct auth_asks *q)
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

static bool is_same(const struct auth_question *a, const struct auth_question *b)
{
    return a->to.config == b->to.config && a->query == b->query && a->to.user == b->to.user &&
           strcmp(a->to.dbname, b->to.dbname) == 0;
}

static struct auth_entry *entry_find(struct auth_asks *q, const struct auth_question *question,
                                     const char *user)
{
    struct auth_entry *e;
    TAILQ_FOREACH (e, &q->buckets[bucket_of(user)], in_bucket)
        if (strcmp(e->user, user) == 0 && is_same(&e->question, question))
            return e;
    return NULL;
}

static struct auth_entry *entry_make(struct auth_asks *q, const struct auth_question *question,
                                     const char *user)
{
    struct auth_entry *e = calloc(1, sizeof(*e));
    if (e == NULL)
        abort();
    e->question = *question;
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

static void tell_waiters(struct auth_entry *e, const struct auth_refusal *refusal)
{
    struct auth *a;
    while ((a = TAILQ_FIRST(&e->waiters)) != NULL) {
        TAILQ_REMOVE(&e->waiters, a, link);
        a->entry = NULL;
        e->question.kind->told(a, &e->said, refusal, false, uv_hrtime());
    }
}

static void refuse_waiters(struct auth_asks *q, struct auth_entry *e)
{
    struct auth_refusal refusal;
    auth_refuse(&refusal, "57P03", "the user could not be looked up");
    refusal.text.hint = e->question.kind->hint;
    e->expires_ns = 0; /* not remembered: the next tick frees it */
    entry_move(q, e, ENTRY_ANSWERED);
    tell_waiters(e, &refusal);
}

/* ---- asking ---- */

/* The primary first, then whoever is reachable. */
static uint8_t node_choose(const struct worker *w, const struct auth_entry *e)
{
    const struct config *config = e->question.to.config;
    uint8_t best = ROUTER_NODE_NONE;
    for (uint8_t i = 0; i < config->nodes_count; i++) {
        const struct router_node *n = &w->topology.nodes[i];
        if (config->nodes[i].shard_index != e->question.shard || (e->tried & 1u << i) != 0)
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
static struct ask_link *link_choose(struct auth_asks *q, const struct ask_target *target)
{
    struct ask_link *closed = NULL;
    struct ask_link *idle = NULL;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct ask_link *l = &q->links[i];
        if (l->state == ASK_LINK_IDLE && ask_link_fits(l, target))
            return l;
        if (l->state == ASK_LINK_CLOSED)
            closed = l;
        else if (l->state == ASK_LINK_IDLE)
            idle = l;
    }
    if (closed == NULL && idle != NULL)
        ask_link_close(idle);
    return closed != NULL ? closed : idle;
}

/* Asks for the oldest that are wanted, as far as there are connections. Not re-entered: a link that
 * fails at once puts its entry back and is asked again here. */
static void dispatch(struct auth_asks *q)
{
    struct worker *w = q->worker;
    struct auth_entry *e;
    if (q->dispatching)
        return;
    q->dispatching = true;
    while ((e = TAILQ_FIRST(&q->wanted)) != NULL) {
        assert(e->state == ENTRY_WANTED);
        e->question.to.node = node_choose(w, e);
        if (e->question.to.node == ROUTER_NODE_NONE) {
            refuse_waiters(q, e);
            continue;
        }
        struct ask_link *l = link_choose(q, &e->question.to);
        if (l == NULL)
            break;
        e->question.to.settings = "-c search_path=";
        e->question.to.application_name = "switchgear-auth";
        entry_move(q, e, ENTRY_ASKED);
        l->entry = e;
        ask_link_ask(l, &e->question.to, e->question.query, e->user, uv_hrtime());
    }
    q->dispatching = false;
}

static void log_failure(const struct auth_entry *e, const char *sqlstate, const char *message)
{
    const struct ask_target *to = &e->question.to;
    log_warning(e->question.kind->event,
                "node=%s database=\"%s\" auth_user=\"%s\" user=\"%s\" sqlstate=%s error=\"%s\"",
                to->config->nodes[to->node].name, to->dbname, to->user, e->user, sqlstate, message);
}

static void link_answered(struct ask_link *l, const PGresult *result)
{
    struct auth_asks *q = l->owner;
    struct auth_entry *e = l->entry;
    worker_topology_refresh(q->worker);
    assert(e != NULL && e->state == ENTRY_ASKED);
    const char *wrong = NULL;
    const bool good = e->question.kind->take(q->worker, e->user, result, &e->said, &wrong);
    if (wrong != NULL)
        log_failure(e, "", wrong);
    l->entry = NULL;
    if (good) {
        e->fetched_ns = uv_hrtime();
        e->expires_ns = e->fetched_ns + (e->said.text != NULL ? remember_ns : remember_none_ns);
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

static void link_failed(struct ask_link *l, const char *sqlstate, const char *message)
{
    struct auth_asks *q = l->owner;
    struct auth_entry *e = l->entry;
    worker_topology_refresh(q->worker);
    assert(e != NULL && e->state == ENTRY_ASKED);
    const bool was_stale = l->reused && sqlstate[0] == '\0';
    if (!was_stale) {
        log_failure(e, sqlstate, message);
        e->tried |= 1u << e->question.to.node;
    }
    l->entry = NULL;
    if (e->question.kind->no_database_is_no_user && strncmp(sqlstate, "3D", 2) == 0) {
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

void auth_ask_start(struct auth *a, const struct auth_question *question, uint64_t now_ns)
{
    struct auth_asks *q = asks_of(a->client->worker);
    const char *user = core_login_user_name(&a->client->core);
    struct auth_entry *e = entry_find(q, question, user);
    if (e != NULL && is_expired(e, now_ns)) {
        entry_free(q, e);
        e = NULL;
    }
    if (e != NULL && e->state == ENTRY_ANSWERED && TAILQ_EMPTY(&e->waiters)) {
        question->kind->told(a, &e->said, NULL, true, now_ns);
        return;
    }
    if (e == NULL && !make_room(q)) {
        struct auth_refusal refusal;
        auth_refuse(&refusal, "53300", "too many users are being looked up");
        question->kind->told(a, NULL, &refusal, false, now_ns);
        return;
    }
    if (e == NULL)
        e = entry_make(q, question, user);
    a->entry = e;
    TAILQ_INSERT_TAIL(&e->waiters, a, link);
    dispatch(q);
}

void auth_ask_forget(struct auth *a)
{
    assert(a->entry != NULL);
    TAILQ_REMOVE(&a->entry->waiters, a, link);
    a->entry = NULL;
}

void auth_ask_distrust(struct auth *a, const struct auth_question *question, bool from_cache)
{
    struct auth_asks *q = asks_of(a->client->worker);
    struct auth_entry *e = entry_find(q, question, core_login_user_name(&a->client->core));
    if (e == NULL || e->state != ENTRY_ANSWERED || !TAILQ_EMPTY(&e->waiters))
        return;
    if (from_cache)
        e->expires_ns = 0;
    else if (e->expires_ns > e->fetched_ns + remember_none_ns)
        e->expires_ns = e->fetched_ns + remember_none_ns;
}

void auth_ask_tick(struct worker *w, uint64_t now_ns)
{
    struct auth_asks *q = w->asks;
    struct auth_entry *e;
    struct auth_entry *next;
    if (q == NULL)
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct ask_link *l = &q->links[i];
        if (l->state == ASK_LINK_CLOSED || now_ns < l->since_ns)
            continue;
        if (l->state == ASK_LINK_IDLE && now_ns - l->since_ns > idle_timeout_ns)
            ask_link_close(l);
        else if (l->state != ASK_LINK_IDLE && now_ns - l->since_ns > answer_timeout_ns)
            ask_link_time_out(l);
    }
    TAILQ_EACH_SAFE (e, &q->others, in_order, next)
        if (is_expired(e, now_ns))
            entry_free(q, e);
    TAILQ_EACH_SAFE (e, &q->wanted, in_order, next)
        if (TAILQ_EMPTY(&e->waiters))
            entry_free(q, e);
}

void auth_ask_stop(struct worker *w)
{
    struct auth_asks *q = w->asks;
    if (q == NULL)
        return;
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        ask_link_close(&q->links[i]);
}

void auth_ask_destroy(struct worker *w)
{
    struct auth_asks *q = w->asks;
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
    w->asks = NULL;
}
