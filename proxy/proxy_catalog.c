/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog: see the header.
 *
 * Happy path: catalog_join -> (turn or tick) consider -> ask -> answered: the facts are exchanged,
 * and the connection is closed when nothing more was asked for a while.
 * Failure modes: no primary, no credentials, an error: asked again later, with a growing pause; the
 * log says so once in a while. Facts that are older than the last change are void by themselves.
 */
#include "proxy_catalog.h"

#include <stdlib.h>

#include "proxy_catalog_slow.h"
#include "proxy_catalog_watch.h"
#include "proxy_defaults.h"
#include "proxy_log.h"
#include "proxy_look.h"

#define SECOND_NS UINT64_C(1000000000)
static const uint64_t idle_ns = 2 * SECOND_NS; /* then its connection is closed */
static const uint64_t make_way_ns = 10 * SECOND_NS;
static const uint64_t log_pause_ns = 30 * SECOND_NS;
static const uint64_t suspect_pause_ns = SECOND_NS;
static const uint64_t changed_pause_max_ns = 30 * SECOND_NS;
enum {
    BUSY_PARTS_CHANGED = 4,  /* a pause between questions, in their durations: after a change */
    BUSY_PARTS_SUSPECT = 50, /* ... that is only suspected */
    BUSY_PARTS_SEEN = 16,    /* ... that somebody has made past the proxy, or seems to have */
    VOIDS_MAX = 3,           /* answers in vain that double that */
    BACKOFF_MAX = 5,         /* failures in a row that double the pause */
};

/* One database at the servers. */
struct catalog {
    struct core_catalog core;
    TAILQ_ENTRY(catalog) link;
    struct worker *worker;
    struct shared_catalog *shared;
    struct ask_link ask;
    bool asking;                /* it has taken shared->asking_ns */
    struct catalog_watch watch; /* for what changes past the proxy */
    bool seen;                  /* it saw something since the last question */
    bool kept;                  /* without clients too */
    uint8_t node;               /* that answered last; ROUTER_NODE_NONE: none has */
    uint32_t failures;          /* in a row */
    uint32_t voids;             /* answers in a row that something had overtaken */
    uint32_t database;          /* the section that it was made for */
    uint64_t changes;           /* as they were when the question was begun */
    uint64_t wishes;            /* ... of the last question */
    uint64_t suspects;          /* ... of the last question */
    uint64_t began_ns;          /* the question that is under way, or the last one */
    uint64_t duration_ns;       /* of the last answer */
    uint64_t ended_ns;          /* of the last question, answered or not; 0: there was none */
    struct catalog_answer unpublished; /* somebody looked at the shared one; .names NULL: none */
    char user[256];                    /* as the question that is under way logs in */
    char password[1024];
    struct scram_keys keys;
};

struct catalogs {
    TAILQ_HEAD(, catalog) all;
    struct catalog *looked_at; /* in the last turn */
};

static void answered(struct ask_link *l, const PGresult *result);
static void failed(struct ask_link *l, const char *sqlstate, const char *message);

static struct catalogs *catalogs_of(struct worker *w)
{
    if (w->catalogs != NULL)
        return w->catalogs;
    w->catalogs = calloc(1, sizeof(*w->catalogs));
    if (w->catalogs == NULL)
        abort();
    TAILQ_INIT(&w->catalogs->all);
    return w->catalogs;
}

/* ---- which there are ---- */

/* NULL: the name is too long for PostgreSQL, or there is no memory: names are what their text
 * shows, all of them unknown. */
static struct catalog *catalog_get(struct worker *w, uint32_t database, const char *dbname)
{
    struct catalogs *all = catalogs_of(w);
    const uint8_t shard = w->databases[database].shard;
    struct catalog *c;
    TAILQ_FOREACH (c, &all->all, link)
        if (c->shared->shard == shard && strcmp(c->shared->dbname, dbname) == 0)
            return c;
    struct shared_catalog *shared = shared_catalog_get(w->proxy, shard, dbname);
    c = shared != NULL ? calloc(1, sizeof(*c)) : NULL;
    if (c == NULL)
        return NULL;
    c->worker = w;
    c->shared = shared;
    c->database = database;
    c->node = ROUTER_NODE_NONE;
    c->core = (struct core_catalog){
        .changes = &shared->changes, .wishes = &shared->wishes, .suspects = &shared->suspects};
    c->ask = (struct ask_link){
        .watch = {.loop = &w->loop}, .owner = c, .answered = answered, .failed = failed};
    TAILQ_INSERT_TAIL(&all->all, c, link);
    return c;
}

void catalog_join(struct worker *w, struct group *g)
{
    struct catalog *c = catalog_get(w, g->database, g->dbname);
    if (c != NULL && g->catalog == NULL)
        defaults_join(g, c->shared);
    g->core.catalog = c != NULL ? &c->core : NULL;
}

/* The configuration names it, and who logs in there. */
static void keep(struct catalog *c)
{
    if (c != NULL)
        c->kept = true;
}

void catalogs_begin(struct worker *w)
{
    for (uint32_t i = 0; i < w->config->databases_count; i++) {
        const struct config_database *d = &w->config->databases[i];
        const char *dbname = d->dbname[0] != '\0' ? d->dbname : d->name;
        if (d->user[0] != '\0' && strcmp(dbname, "*") != 0)
            keep(catalog_get(w, i, dbname));
    }
}

/* ---- as whom, and where ---- */

static void log_in_as(struct catalog *c, const char *user, const char *password,
                      const struct scram_keys *keys)
{
    (void)snprintf(c->user, sizeof(c->user), "%s", user);
    (void)snprintf(c->password, sizeof(c->password), "%s", password != NULL ? password : "");
    c->keys = keys != NULL && password == NULL ? *keys : (struct scram_keys){0};
}

static void log_in_forget(struct catalog *c)
{
    explicit_bzero(c->password, sizeof(c->password));
    explicit_bzero(&c->keys, sizeof(c->keys));
}

/* The groups of this database in turn: where one's log-in is refused, another's may not be. */
static bool log_in_choose(struct catalog *c)
{
    const struct worker *w = c->worker;
    const struct config_database *d = &w->config->databases[c->database];
    const struct group *g;
    uint32_t count = 0;
    TAILQ_FOREACH (g, &w->groups, link)
        count += g->core.catalog == &c->core;
    uint32_t skip = count > 0 ? c->failures % count : 0;
    TAILQ_FOREACH (g, &w->groups, link) {
        if (g->core.catalog != &c->core || skip-- > 0)
            continue;
        log_in_as(c, g->server_user, g->password, g->scram_keys);
        return true;
    }
    if (d->user[0] == '\0')
        return false;
    log_in_as(c, d->user, d->password[0] != '\0' ? d->password : NULL, NULL);
    return true;
}

/* ---- the question ---- */

static void put_question(struct catalog *c, uint8_t node, const char *question, uint64_t now_ns)
{
    struct ask_target target = {.config = c->worker->config,
                                .user = c->user,
                                .password = c->password[0] != '\0' ? c->password : NULL,
                                .settings = catalog_slow_settings(c->shared),
                                .prelude = CATALOG_QUESTION_PRELUDE,
                                .application_name = "switchgear-catalog",
                                .node_user_first = true,
                                .node = node};
    if (c->keys.client[0] != '\0') {
        target.scram[0] = c->keys.client;
        target.scram[1] = c->keys.server;
    }
    (void)snprintf(target.dbname, sizeof(target.dbname), "%s", c->shared->dbname);
    if (c->ask.state == ASK_LINK_IDLE && !ask_link_fits(&c->ask, &target))
        ask_link_close(&c->ask);
    ask_link_ask(&c->ask, &target, question, NULL, now_ns);
}

static void unpublished_drop(struct catalog *c)
{
    free(c->unpublished.facts);
    free(c->unpublished.names);
    c->unpublished = (struct catalog_answer){0};
}

static void ask(struct catalog *c, uint8_t node, uint64_t now_ns)
{
    unpublished_drop(c);
    c->asking = true;
    c->seen = false;
    c->began_ns = now_ns;
    c->changes = shared_load(&c->shared->changes); /* before the server looks */
    c->wishes = shared_load(&c->shared->wishes);
    c->suspects = shared_load(&c->shared->suspects);
    ck_pr_faa_64(&c->shared->questions, 1);
    put_question(c, node, catalog_question, now_ns);
}

/* From the end of a question to the next. */
static uint64_t pause_of(const struct catalog *c)
{
    const uint64_t interval_ns = c->worker->config->switchgear.catalog_interval_ns;
    const uint64_t suspect_ns = c->duration_ns * (c->seen ? BUSY_PARTS_SEEN : BUSY_PARTS_SUSPECT);
    const uint64_t changed_ns = c->duration_ns * BUSY_PARTS_CHANGED
                                << (c->voids < VOIDS_MAX ? c->voids : VOIDS_MAX);
    if (c->ended_ns == 0)
        return 0;
    if (c->failures > 0 && shared_load(&c->shared->slow_ns) == 0)
        return SECOND_NS << (c->failures < BACKOFF_MAX ? c->failures - 1 : BACKOFF_MAX);
    if (c->core.facts == NULL || c->core.facts_changes != shared_load(&c->shared->changes) ||
        c->node != router_primary(&c->worker->topology, c->shared->shard) ||
        c->wishes != shared_load(&c->shared->wishes))
        return changed_ns < changed_pause_max_ns ? changed_ns : changed_pause_max_ns;
    if (c->suspects != shared_load(&c->shared->suspects) && suspect_ns < interval_ns)
        return suspect_ns > suspect_pause_ns ? suspect_ns : suspect_pause_ns;
    return interval_ns;
}

/* Not for nobody: a database without clients is not asked again, it may not even be there. */
static bool is_wanted(const struct catalog *c)
{
    const struct group *g;
    TAILQ_FOREACH (g, &c->worker->groups, link)
        if (g->core.catalog == &c->core && g->clients > 0)
            return true;
    return c->ended_ns == 0;
}

/* Server connections without clients: whoever comes next may get one that is older than a change.
 */
static bool is_kept_ready(const struct catalog *c)
{
    const struct group *g;
    TAILQ_FOREACH (g, &c->worker->groups, link)
        for (uint32_t n = 0; g->core.catalog == &c->core && n < CONFIG_NODES_MAX; n++)
            if (g->pools[n].idle_count > 0)
                return true;
    return false;
}

static bool is_paused(const struct catalog *c)
{
    return shared_load(&c->worker->proxy->paused[c->database]) != 0;
}

static void facts_free(struct core_catalog *core)
{
    union {
        const struct router_facts *in;
        struct router_facts *out;
    } cast = {.in = core->facts};
    router_facts_destroy(cast.out);
    core->facts = NULL;
}

/* One worker asks for all. A lease that nobody gave back is over some time. */
static bool lease_take(struct catalog *c, uint64_t now_ns)
{
    const uint64_t since_ns = shared_load(&c->shared->asking_ns);
    if (since_ns != 0 &&
        (now_ns < since_ns || now_ns - since_ns < 2 * catalog_slow_limit(c->shared)))
        return false;
    return ck_pr_cas_64(&c->shared->asking_ns, since_ns, now_ns);
}

static void lease_end(struct catalog *c)
{
    assert(c->asking);
    c->asking = false;
    c->ended_ns = uv_hrtime();
    (void)ck_pr_cas_64(&c->shared->asking_ns, c->began_ns, 0); /* else it was taken over */
}

static void facts_set(struct catalog *c, struct router_facts *facts, uint64_t changes, uint8_t node)
{
    if (c->core.facts == NULL)
        log_info("catalog_known", "worker=%u database=\"%s\"", c->worker->index, c->shared->dbname);
    facts_free(&c->core);
    c->core.facts = facts;
    c->core.facts_changes = changes;
    c->node = node;
    c->failures = 0;
}

/* What another worker was told, if it is newer than what we know and not older than it may be.
 * Under the lock, but nobody waits for that. */
static bool adopt(struct catalog *c, uint8_t node, uint64_t now_ns)
{
    struct shared_catalog *s = c->shared;
    const uint64_t interval_ns = c->worker->config->switchgear.catalog_interval_ns;
    const uint64_t answered_ns = shared_load(&s->answered_ns);
    if (answered_ns == 0 || answered_ns <= c->began_ns || now_ns - answered_ns >= interval_ns ||
        shared_load(&s->answered_for) != shared_load(&s->changes) ||
        shared_load(&s->node) != node || uv_mutex_trylock(&s->lock) != 0)
        return false;
    struct router_facts *facts = router_facts_create(s->last.facts, s->last.facts_count,
                                                     s->last.settings, s->last.settings_count);
    if (facts != NULL) {
        facts_set(c, facts, s->answered_for, (uint8_t)s->node);
        c->watch.watches = false; /* the other one does */
        c->suspects = s->answered_suspects;
        c->wishes = s->answered_wishes;
        unpublished_drop(c);
        c->began_ns = s->answered_ns;
        c->duration_ns = s->took_ns;
        c->ended_ns = s->answered_ns + s->took_ns;
    }
    uv_mutex_unlock(&s->lock);
    return facts != NULL;
}

static bool is_void(const struct catalog *c)
{
    return c->core.facts == NULL || c->core.facts_changes != shared_load(&c->shared->changes);
}

/* How long its connection is kept; not at all while somebody wants all to leave the database. */
static uint64_t idle_limit(const struct catalog *c, uint64_t now_ns)
{
    const uint64_t reconnect_ns = shared_load(&c->worker->proxy->reconnect_ns[c->database]);
    return reconnect_ns == 0 || now_ns > reconnect_ns + make_way_ns ? idle_ns : 0;
}

/* Between two questions: has anything changed that did not pass here? */
static void look_out(struct catalog *c, uint8_t node, uint64_t now_ns)
{
    struct shared_catalog *s = c->shared;
    if (c->node != node ||
        !catalog_watch_is_due(&c->watch, shared_load(&s->watched_ns),
                              shared_load(&s->look_wanted_ns), now_ns) ||
        idle_limit(c, now_ns) == 0 || !log_in_choose(c))
        return;
    shared_set(&s->watched_ns, now_ns);
    shared_set(&s->watcher, c->worker->index + 1);
    const uint64_t version = shared_load(&s->server_version);
    put_question(c, node, catalog_watch_ask(&c->watch, version, now_ns), now_ns);
}

static void looked_out(struct catalog *c, const PGresult *result)
{
    const enum catalog_watch_finding finding = catalog_watch_sees(&c->watch, result);
    struct shared_catalog *s = c->shared;
    const uint64_t began_ns = c->watch.watched_ns;
    const uint64_t version = shared_load(&s->defaults_version);
    if (defaults_read(s, result, uv_hrtime()))
        look_answered(c->worker->proxy, s, began_ns, shared_load(&s->defaults_version) != version);
    else
        c->watch.watched_ns = 0; /* at the next tick again */
    if (finding == CATALOG_WATCH_NOTHING)
        return;
    c->seen = true;
    ck_pr_faa_64(&s->suspects, 1);
    if (finding == CATALOG_WATCH_CODE) /* what is known may be wrong by now, and lets states out */
        ck_pr_faa_64(&s->changes, 1);
}

static uint64_t events_of(const struct shared_catalog *s)
{
    return shared_load(&s->changes) + shared_load(&s->wishes);
}

/* A log-in waits for one: it may be the first client of all. */
static bool look_is_wanted(const struct catalog *c, uint64_t now_ns)
{
    const uint64_t wanted_ns = shared_load(&c->shared->look_wanted_ns);
    return c->watch.watches && wanted_ns > c->watch.watched_ns && now_ns < wanted_ns + SECOND_NS;
}

static void consider(struct catalog *c, uint64_t now_ns)
{
    const bool wanted = is_wanted(c);
    if (c->asking || c->watch.asked || c->worker->stopping || is_paused(c) ||
        (!wanted && !is_kept_ready(c) && !look_is_wanted(c, now_ns)))
        return;
    const uint8_t node = router_primary(&c->worker->topology, c->shared->shard);
    const bool waits = catalog_slow_waits(c->shared, events_of(c->shared), c->seen, now_ns);
    const bool is_time = !waits && now_ns >= c->ended_ns && now_ns - c->ended_ns >= pause_of(c);
    if (node == ROUTER_NODE_NONE)
        return;
    if (!wanted || (!is_time && (waits || !is_void(c)))) {
        look_out(c, node, now_ns);
        return;
    }
    if (c->node != ROUTER_NODE_NONE && c->node != node)
        c->core.facts_changes = UINT64_MAX; /* of another server: perhaps it had not seen all */
    if (adopt(c, node, now_ns))
        return;
    if (!is_time)
        look_out(c, node, now_ns); /* somebody makes DDL again and again: log-ins go on */
    else if (log_in_choose(c) && lease_take(c, now_ns))
        ask(c, node, now_ns);
}

/* ---- the answer ---- */

static void failure_note(struct catalog *c, const char *sqlstate, const char *message)
{
    struct shared_catalog *s = c->shared;
    const uint64_t now_ns = uv_hrtime();
    const bool slow = catalog_slow_note(s, sqlstate, c->changes + c->wishes, now_ns);
    c->failures++;
    c->seen = false;
    c->watch.watches = c->watch.watches || slow; /* until the reason is gone */
    lease_end(c);
    ck_pr_faa_64(&s->failures, 1);
    if (uv_mutex_trylock(&s->lock) == 0) {
        (void)snprintf(s->error, sizeof(s->error), "%s%s", message,
                       slow ? ": it gets 120 s, half a minute later" : "");
        uv_mutex_unlock(&s->lock);
    }
    const uint64_t logged_ns = shared_load(&s->logged_ns);
    if (logged_ns != 0 && now_ns - logged_ns < log_pause_ns)
        return;
    if (ck_pr_cas_64(&s->logged_ns, logged_ns, now_ns)) /* else another worker does */
        log_warning("catalog_failed",
                    "node=%s database=\"%s\" user=\"%s\" sqlstate=%s error=\"%s\"",
                    c->worker->proxy->node_names[c->ask.target.node], s->dbname, c->user, sqlstate,
                    message);
}

static void failed(struct ask_link *l, const char *sqlstate, const char *message)
{
    struct catalog *c = l->owner;
    worker_topology_refresh(c->worker);
    log_in_forget(c);
    if (c->watch.asked)
        c->watch.asked = false; /* the next question says what is wrong, if anything is */
    else
        failure_note(c, sqlstate, message);
}

/* For the other workers and SHOW CATALOG, if nobody looks at it just now: else at the next tick. */
static void publish(struct catalog *c)
{
    struct shared_catalog *s = c->shared;
    if (uv_mutex_trylock(&s->lock) == 0) {
        const struct catalog_answer old = s->last;
        s->last = c->unpublished;
        c->unpublished = old;
        s->error[0] = '\0';
        shared_set(&s->answered_for, c->changes);
        shared_set(&s->answered_suspects, c->suspects);
        shared_set(&s->answered_wishes, c->wishes);
        shared_set(&s->objects, s->last.facts_count);
        shared_set(&s->took_ns, c->duration_ns);
        shared_set(&s->node, c->node);
        shared_set(&s->answered_ns, c->began_ns);
        uv_mutex_unlock(&s->lock);
        unpublished_drop(c);
    }
}

static void answered(struct ask_link *l, const PGresult *result)
{
    struct catalog *c = l->owner;
    struct catalog_answer answer;
    const char *standby = PQparameterStatus(l->conn, "in_hot_standby");
    worker_topology_refresh(c->worker);
    log_in_forget(c);
    if (c->watch.asked) {
        looked_out(c, result);
        return;
    }
    if (standby != NULL && strcmp(standby, "on") == 0) {
        failure_note(c, "", "the primary is a standby by now");
        return;
    }
    if (!catalog_answer_read(result, &answer)) {
        failure_note(c, "", "its answer cannot be read");
        return;
    }
    struct router_facts *facts = router_facts_create(answer.facts, answer.facts_count,
                                                     answer.settings, answer.settings_count);
    if (facts == NULL)
        abort();
    facts_set(c, facts, c->changes, l->target.node);
    c->watch.watches = true;
    catalog_slow_over(c->shared);
    c->watch.watched_ns = 0; /* DDL has passed here, perhaps: what of the defaults? */
    shared_set(&c->shared->watcher, c->worker->index + 1);
    look_want(c->worker->proxy, c->shared, uv_hrtime());
    shared_set(&c->shared->server_version, (uint64_t)PQserverVersion(l->conn));
    lease_end(c);
    c->duration_ns = c->ended_ns - c->began_ns;
    c->voids = is_void(c) ? c->voids + 1 : 0;
    ck_pr_faa_64(&c->shared->answers, 1);
    ck_pr_faa_64(&c->shared->spent_ns, c->duration_ns);
    c->unpublished = answer;
    publish(c);
}

/* ---- the loop ---- */

void catalogs_turn(struct worker *w)
{
    struct catalogs *all = w->catalogs;
    if (all == NULL)
        return;
    struct catalog *c = all->looked_at != NULL ? TAILQ_NEXT(all->looked_at, link) : NULL;
    if (c == NULL)
        c = TAILQ_FIRST(&all->all);
    all->looked_at = c;
    if (c != NULL && !c->asking && is_void(c))
        consider(c, uv_hrtime());
}

/* Its connection is given up. */
static void give_up(struct catalog *c)
{
    ask_link_close(&c->ask);
    log_in_forget(c);
    c->watch.asked = false;
    if (c->asking)
        lease_end(c);
}

void catalogs_obey(struct worker *w)
{
    struct catalog *c;
    if (w->catalogs == NULL)
        return;
    TAILQ_FOREACH (c, &w->catalogs->all, link)
        if (is_paused(c) || c->began_ns < shared_load(&w->proxy->reconnect_ns[c->database]))
            give_up(c);
}

void catalogs_look(struct worker *w, uint64_t now_ns)
{
    struct catalog *c;
    if (w->catalogs == NULL)
        return;
    TAILQ_FOREACH (c, &w->catalogs->all, link)
        if (c->watch.watches && shared_load(&c->shared->look_wanted_ns) > c->watch.watched_ns)
            consider(c, now_ns);
}

static void destroy(struct worker *w, struct catalog *c)
{
    if (w->catalogs->looked_at == c)
        w->catalogs->looked_at = NULL;
    TAILQ_REMOVE(&w->catalogs->all, c, link);
    unpublished_drop(c);
    ask_link_close(&c->ask);
    log_in_forget(c);
    facts_free(&c->core);
    shared_catalog_put(w->proxy, c->shared);
    free(c);
}

/* Nobody is there any more, and nobody has ever answered: there may be no such database. */
static bool is_for_nobody(const struct worker *w, const struct catalog *c)
{
    const struct group *g;
    if (c->kept || c->core.facts != NULL || c->asking || c->watch.asked ||
        (c->ask.state != ASK_LINK_CLOSED && c->ask.state != ASK_LINK_IDLE))
        return false;
    TAILQ_FOREACH (g, &w->groups, link)
        if (g->core.catalog == &c->core)
            return false;
    return true;
}

void catalogs_tick(struct worker *w, uint64_t now_ns)
{
    struct catalog *c;
    struct catalog *next;
    if (w->catalogs == NULL)
        return;
    TAILQ_EACH_SAFE (c, &w->catalogs->all, link, next) {
        if (is_for_nobody(w, c)) {
            destroy(w, c);
            continue;
        }
        if (c->unpublished.names != NULL)
            publish(c);
        consider(c, now_ns);
        const uint64_t connect_ns = w->config->switchgear.server_connect_timeout_ns;
        const bool is_asked = c->ask.state == ASK_LINK_ASKED;
        const uint64_t limit_ns =
            is_asked || connect_ns == 0 ? catalog_slow_limit(c->shared) : connect_ns;
        const uint64_t since_ns = c->ask.since_ns;
        if (c->ask.state == ASK_LINK_CLOSED || now_ns < since_ns)
            continue;
        if (c->ask.state == ASK_LINK_IDLE && now_ns - since_ns > idle_limit(c, now_ns))
            ask_link_close(&c->ask);
        else if (c->ask.state != ASK_LINK_IDLE && now_ns - since_ns > limit_ns)
            ask_link_time_out(&c->ask);
    }
}

void catalogs_stop(struct worker *w)
{
    struct catalog *c;
    if (w->catalogs == NULL)
        return;
    TAILQ_FOREACH (c, &w->catalogs->all, link)
        give_up(c);
}

void catalogs_destroy(struct worker *w)
{
    struct catalog *c;
    if (w->catalogs == NULL)
        return;
    while ((c = TAILQ_FIRST(&w->catalogs->all)) != NULL)
        destroy(w, c);
    free(w->catalogs);
    w->catalogs = NULL;
}
