/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_worker: the thread, its mail and its loop; what it knows of the topology and of groups.
 */
#include "proxy_worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy_auth.h"
#include "proxy_cancel.h"
#include "proxy_catalog.h"
#include "proxy_client_io.h"
#include "proxy_hosts.h"
#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_look.h"
#include "proxy_signal.h"
#include "proxy_tls_bytes.h"

/* ---- what the supervisor knows ---- */

static void databases_init(struct worker *w)
{
    const struct config *config = w->config;
    for (uint32_t i = 0; i < config->databases_count; i++) {
        const struct config_database *d = &config->databases[i];
        w->databases[i] = (struct core_database){
            .name = d->name,
            .shard = (uint8_t)d->shard_first,
            .level = (uint8_t)d->consistency,
            .pool_mode = (uint8_t)d->pool_mode,
            .fallback_allowed = d->read_fallback == CONFIG_FALLBACK_PRIMARY,
            .until_write = d->transaction_reads == CONFIG_TRANSACTION_READS_UNTIL_WRITE,
            .keeps_sequences = d->currval == CONFIG_CURRVAL_SESSION,
            .isolates = d->isolation == CONFIG_ISOLATION_PROVEN,
            .no_hints = d->hints == CONFIG_HINTS_OFF,
            .reads = &w->proxy->reads[i],
            .max_lag_ns = d->max_lag_ns,
            .routes = w->database_stats[i].routes,
            .global_write_ns = &w->proxy->global_write_ns[i],
            .errors = w->database_stats[i].client_errors,
        };
    }
}

/* Pinned sessions leave at least one connection to the others. */
static void pins_limit(struct group *g)
{
    const struct config_database *d = &g->worker->config->databases[g->database];
    const uint64_t share = d->pool_size * d->pin_limit_permille / 1000;
    const uint64_t spare = d->pool_size > 1 ? d->pool_size - 1 : d->pool_size;
    g->core.pins_max = share < spare ? share : spare;
}

void worker_topology_refresh(struct worker *w)
{
    if (topology_generation(w->reader.box) == w->topology.generation)
        return;
    const struct topology *t = topology_read_begin(&w->reader);
    const bool admission_changed = t->admission != w->admission;
    w->topology = t->route;
    const bool config_changed = w->config != t->config;
    w->config = t->config;
    if (w->tls != t->tls) {
        SSL_CTX_free(w->tls);
        w->tls = t->tls;
        if (w->tls != NULL)
            (void)SSL_CTX_up_ref(w->tls);
    }
    w->admission = t->admission;
    topology_read_end(&w->reader);
    if (config_changed) {
        struct group *g;
        databases_init(w);
        w->core.limits.names_size_max = w->config->switchgear.client_prepared_memory;
        TAILQ_FOREACH (g, &w->groups, link) {
            auth_group_password(w, g);
            pins_limit(g);
            g->core.names_key = ++w->core.next_id; /* what was found may be of another isolation */
            catalog_join(w, g);
        }
    }
    w->core.trial_ok = 0;
    for (uint32_t i = 0; i < w->topology.nodes_count; i++)
        if ((uint32_t)shared_load(&w->proxy->nodes[i].permits) > 0)
            w->core.trial_ok |= 1u << i;
    w->topology_changed = w->topology_changed || admission_changed;
    w->topology_fresher = true;
}

void worker_want_probe(struct worker *w)
{
    if (ck_pr_load_64(&w->proxy->probe_wanted) != 0)
        return; /* somebody has asked already */
    ck_pr_store_64(&w->proxy->probe_wanted, 1);
    mailbox_wake(w->proxy->supervisor_mail);
}

/* An error that a client can write as often as it likes: a few in a second say all there is. */
static bool is_told(struct worker *w, const struct outcome_record *record)
{
    if (record->input != BREAKER_SUCCESS || record->permit)
        return false;
    const uint64_t now_ns = uv_now(&w->loop) * 1000000u;
    if (now_ns - w->alert_sent_ns[record->node] < 50000000u)
        return true;
    w->alert_sent_ns[record->node] = now_ns;
    return false;
}

/* Faults go at once and wake the supervisor; successes only matter to a breaker that is not quiet:
 * one in 50 ms a node is enough to end a row of failures. */
void worker_outcome(struct worker *w, const struct outcome_record *record)
{
    const bool plain = record->input == BREAKER_SUCCESS && !record->permit && !record->probe_now;
    if (plain) {
        const uint64_t now_ns = uv_now(&w->loop) * 1000000u;
        if (now_ns - w->success_sent_ns[record->node] < 50000000u)
            return;
        w->success_sent_ns[record->node] = now_ns;
        struct outcome_record dated = *record;
        dated.at_ns = now_ns;
        (void)outcomes_put(&w->outcomes, &dated); /* full: faults matter more */
        return;
    }
    if (record->input == BREAKER_NEUTRAL && !record->permit && !record->probe_now && !record->late)
        return;
    if (is_told(w, record))
        return;
    for (uint32_t tries = 0; tries < 1000 && !outcomes_put(&w->outcomes, record); tries++)
        mailbox_wake(w->proxy->supervisor_mail);
    mailbox_wake(w->proxy->supervisor_mail);
}

/* ---- groups ---- */

struct group *worker_group(struct worker *w, uint32_t database, const char *client_database,
                           const char *user)
{
    const struct config_database *d = &w->config->databases[database];
    struct group *g;
    if (d->user[0] != '\0')
        user = d->user; /* one pool for all its clients, whatever they are called */
    TAILQ_FOREACH (g, &w->groups, link)
        if (g->database == database && strcmp(g->user, user) == 0 &&
            strcmp(g->client_database, client_database) == 0)
            return g;
    g = calloc(1, sizeof(*g));
    if (g == NULL)
        abort();
    g->worker = w;
    g->database = database;
    (void)snprintf(g->user, sizeof(g->user), "%s", user);
    (void)snprintf(g->client_database, sizeof(g->client_database), "%s", client_database);
    (void)snprintf(g->dbname, sizeof(g->dbname), "%s",
                   d->dbname[0] != '\0' ? d->dbname : client_database);
    (void)snprintf(g->server_user, sizeof(g->server_user), "%s", user);
    auth_group_password(w, g);
    g->core.database = &w->databases[database];
    g->core.user = g->user;
    g->core.names_key = ++w->core.next_id; /* of no other group */
    g->core.renewed_ns = &w->proxy->reconnect_ns[database];
    g->core.shell = g;
    waitlist_init(&g->waiters);
    pool_init(&g->pools[0], g, 0);
    g->core.pins_used = &g->pools[0].shared->pins_used;
    pins_limit(g);
    catalog_join(w, g);
    TAILQ_INSERT_TAIL(&w->groups, g, link);
    return g;
}

static void group_destroy(struct group *g)
{
    union {
        const char *in;
        char *out;
    } cast = {.in = g->password};
    free(cast.out);
    free(g->scram_keys);
    waitlist_deinit(&g->waiters);
    free(g);
}

/* Where nobody has been for so long, names that do not exist among them, nothing is kept: neither
 * memory nor lines of metrics. What was learned of its users is learned again. */
static const uint64_t group_unused_ns = UINT64_C(10000000000);

/* Is a connection of these pools on its way to another worker? It names its group until then. */
static bool is_moving(const struct pool *pool)
{
    const struct worker *w = pool->group->worker;
    for (uint32_t i = 0; i < w->proxy->workers_count; i++)
        if (shared_load(&pool->shared->workers[i].incoming) > 0)
            return true;
    return false;
}

static bool group_is_used(const struct group *g)
{
    if (g->users > 0 || g->waiting > 0 || g->dirty)
        return true;
    for (uint32_t n = 0; n < CONFIG_NODES_MAX; n++) {
        const struct pool *pool = &g->pools[n];
        if (pool->shared != NULL &&
            (!TAILQ_EMPTY(&pool->idle) || !TAILQ_EMPTY(&pool->others) || is_moving(pool)))
            return true;
    }
    return false;
}

static void group_remove(struct worker *w, struct group *g)
{
    log_debug("pools_removed", "user=\"%s\" database=\"%s\"", g->user, g->client_database);
    TAILQ_REMOVE(&w->groups, g, link);
    core_group_deinit(&w->core, &g->core);
    for (uint32_t n = 0; n < CONFIG_NODES_MAX; n++)
        if (g->pools[n].shared != NULL)
            shared_pool_put(w->proxy, g->pools[n].shared);
    group_destroy(g);
}

void worker_groups_tick(struct worker *w, uint64_t now_ns)
{
    struct group *g;
    struct group *next;
    TAILQ_EACH_SAFE (g, &w->groups, link, next)
        if (g->used_ns == 0 || group_is_used(g))
            g->used_ns = now_ns;
        else if (now_ns > g->used_ns && now_ns - g->used_ns > group_unused_ns)
            group_remove(w, g);
}

/* ---- mail ---- */

static void publish_core_counters(struct worker *w)
{
    const struct core_counters *from = &w->core.counters;
    struct stats_worker *to = &w->stats;
    const struct router_cache_stats *cache = router_cache_stats(w->core.cache);
    shared_set(&to->retries, from->retries);
    shared_set(&to->learned, from->learned);
    shared_set(&to->misroutes, from->misroutes);
    shared_set(&to->reads_unproven, from->reads_unproven);
    shared_set(&to->statements, from->statements);
    shared_set(&to->batches, from->batches);
    shared_set(&to->parses_injected, from->parses_injected);
    shared_set(&to->shapes_asked, from->shapes_asked);
    shared_set(&to->preflights, from->preflights);
    shared_set(&to->pins_asked, from->pins_asked);
    shared_set(&to->left_asked, from->lefts_asked);
    shared_set(&to->left_found, from->lefts_found);
    shared_set(&to->session_resets, from->resets);
    shared_set(&to->session_resets_failed, from->resets_failed);
    shared_set(&to->begins_deferred, from->begins_deferred);
    shared_set(&to->blocks_moved, from->blocks_moved);
    shared_set(&to->local_answers, from->local_answers);
    shared_set(&to->reads_missed, from->reads_missed);
    shared_set(&to->errors_made, from->errors_made);
    shared_set(&to->cache_hits, cache->hits);
    shared_set(&to->cache_misses, cache->misses);
    shared_set(&to->cache_uncacheable, cache->uncacheable);
    shared_set(&to->memory_blocks, w->core.blocks_out);
    for (uint32_t i = 0; i < PROXY_SQLSTATE_CLASSES; i++)
        shared_set(&to->sqlstate_classes[i], from->server_errors[i]);
    for (uint32_t i = 0; i < w->topology.nodes_count; i++)
        shared_set(&to->node_latency_ns[i], w->core.loads[i].latency_ns);
}

/* In a transaction or a statement. A session that only keeps its connection (pinned, or pooled by
 * session) is idle, and would hold up a shutdown for ever. */
static bool is_busy(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    if (s->waiting || s->hold != NULL || s->block != CORE_NO_BLOCK || s->client_pending > 0)
        return true;
    return b != NULL && (b->status != 'I' || s->in_flight || s->syncs > 0 || s->unsynced ||
                         s->copy_in || s->stream_left > 0 || s->preflight || s->emitting);
}

static void kill_all(struct worker *w, const char *message)
{
    const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = "57P01", .message = message};
    struct client_list *lists[] = {&w->clients, &w->logins};
    for (int i = 0; i < 2; i++) {
        struct client *c;
        struct client *next;
        TAILQ_EACH_SAFE (c, lists[i], link, next) {
            if (c->closing || (is_busy(&c->core) && !pool_holds_back(c) && !w->stop_now))
                continue;
            client_end(c, &error);
            if (!c->closing && w->stop_now)
                client_close(c, "shutdown");
        }
    }
}

static void close_servers(struct worker *w)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < CONFIG_NODES_MAX; n++) {
            struct server *v;
            struct server *next;
            if (g->pools[n].shared == NULL)
                continue;
            TAILQ_EACH_SAFE (v, &g->pools[n].idle, link, next)
                server_close(v, "shutdown");
            TAILQ_EACH_SAFE (v, &g->pools[n].others, link, next)
                if (v->core.session == NULL)
                    server_close(v, "shutdown");
        }
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Once a turn while stopping: when nobody is left, the loop runs dry. */
static void stop_step(struct worker *w)
{
    if (!w->stop_patient)
        kill_all(w, "terminating connection because the proxy is shutting down");
    if (w->clients_count > 0 || w->stopped)
        return;
    close_servers(w);
    auth_ask_stop(w);
    catalogs_stop(w);
    hosts_stop(w->hosts);
    if (w->servers_count > 0 || w->cancels_count > 0)
        return;
    w->stopped = true;
    mailbox_close(&w->mail);
    turns_close(&w->turns_of);
    close_handle((uv_handle_t *)&w->check);
    close_handle((uv_handle_t *)&w->tick);
    close_handle((uv_handle_t *)&w->again);
    close_handle((uv_handle_t *)&w->pause);
    close_handle((uv_handle_t *)&w->turns);
}

static void on_mail(void *owner, struct mail *mail)
{
    struct worker *w = owner;
    worker_topology_refresh(w);
    switch ((enum mail_kind)mail->kind) {
    case MAIL_CLIENT:
        client_open(w, (struct mail_client *)(void *)mail);
        free(mail);
        break;
    case MAIL_BACKEND:
        pool_take_backend(w, ((struct mail_backend *)(void *)mail)->server);
        free(mail);
        break;
    case MAIL_STEAL: {
        const struct mail_steal *steal = (const struct mail_steal *)(void *)mail;
        pool_steal(w, steal->pool, steal->thief);
        free(mail);
        break;
    }
    case MAIL_EVICT:
        limits_evict(w, ((const struct mail_steal *)(void *)mail)->pool);
        free(mail);
        break;
    case MAIL_CANCEL:
        cancel_mail(w, (const struct mail_cancel *)(void *)mail);
        free(mail);
        break;
    case MAIL_CANCEL_DONE:
        cancel_done_mail(w, (const struct mail_cancel_done *)(void *)mail);
        free(mail);
        break;
    case MAIL_SIGNAL:
        signal_mail(w, (const struct mail_signal *)(void *)mail);
        free(mail);
        break;
    case MAIL_SIGNAL_DONE:
        signal_done_mail(w, (const struct mail_signal_done *)(void *)mail);
        free(mail);
        break;
    case MAIL_SNAPSHOT:
        worker_snapshot(w, (struct mail_snapshot *)(void *)mail);
        break;
    case MAIL_ORDER:
        worker_order(w, (struct mail_order *)(void *)mail);
        break;
    case MAIL_STOP: {
        const struct mail_stop *stop = (const struct mail_stop *)(void *)mail;
        w->stopping = true;
        w->stop_now = w->stop_now || stop->how == 1;
        w->stop_patient = stop->how == 2 && !w->stop_now;
        free(mail);
        break;
    }
    case MAIL_ADMIN_CLIENT:
    case MAIL_SNAPSHOT_DONE:
    case MAIL_ORDER_DONE:
    case MAIL_WORKER_STOPPED:
        free(mail);
        break;
    }
}

/* What came after the loop had ended. */
static void drop_mail(struct mail *mail)
{
    if (mail->kind == MAIL_BACKEND)
        server_drop(((struct mail_backend *)(void *)mail)->server);
    else if (mail->kind == MAIL_CLIENT)
        (void)close(((struct mail_client *)(void *)mail)->fd);
    free(mail);
}

/* ---- the loop ---- */

/* Only woken: a new topology, room in a shared budget, a look that is wanted or was answered. */
static void on_wake(void *owner)
{
    struct worker *w = owner;
    struct group *g;
    worker_topology_refresh(w);
    pools_obey(w);
    TAILQ_FOREACH (g, &w->waiting, waiting_link)
        pool_mark_dirty(g);
    const uint64_t now_ns = uv_hrtime();
    catalogs_look(w, now_ns);
    look_turn(w, now_ns);
}

static void on_check(uv_check_t *check)
{
    struct worker *w = check->data;
    if (w->topology_changed) {
        w->topology_changed = false;
        pools_topology_changed(w, uv_hrtime());
    }
    if (w->topology_fresher) {
        w->topology_fresher = false;
        pools_warm(w, uv_hrtime());
    }
    if (!TAILQ_EMPTY(&w->dirty))
        pools_match(w, uv_hrtime());
    if (w->pin_waiters > 0)
        pools_pins(w, uv_hrtime());
    catalogs_turn(w);
    if (uv_is_active((uv_handle_t *)&w->turns))
        client_io_turn(w);
    if (w->stopping)
        stop_step(w);
    __atomic_store_n(&w->turns_ended, w->turns_ended + 1, __ATOMIC_RELEASE);
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    const uint64_t now_ns = uv_hrtime();
    worker_topology_refresh(w);
    router_cache_clock(w->core.cache, now_ns);
    clients_tick(w, now_ns);
    auth_ask_tick(w, now_ns);
    catalogs_tick(w, now_ns);
    look_turn(w, now_ns);
    pools_tick(w, now_ns);
    worker_groups_tick(w, now_ns);
    cancels_tick(w, now_ns);
    signals_tick(w, now_ns);
    quiet_tick(w, now_ns);
    publish_core_counters(w);
    turns_publish(&w->turns_of, now_ns);
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    const int alive = uv_run(&w->loop, UV_RUN_DEFAULT); /* until every handle has closed */
    assert(alive == 0);
    assert(w->tls_keepers == 0);
    publish_core_counters(w);
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        core_group_deinit(&w->core, &g->core);
    core_worker_deinit(&w->core);
    auth_ask_destroy(w);
    hosts_destroy(w->hosts);
    signals_drop(w);
    free(w->slots);
    struct mail_stop *mail = w->stop_mail;
    mail->mail.kind = MAIL_WORKER_STOPPED;
    mail->worker = w->index;
    while (!mailbox_post(w->proxy->supervisor_mail, &mail->mail))
        (void)uv_sleep(1);
}

static bool memory_init(struct worker *w, const struct config *config)
{
    const struct core_limits limits = {
        .statement_max = (uint32_t)config->switchgear.statement_max,
        .retry_keep = (uint32_t)config->switchgear.retry_keep,
        .prepared_max = (uint32_t)config->switchgear.max_prepared_statements,
        .names_size_max = config->switchgear.client_prepared_memory,
        .hold_max = (uint32_t)config->switchgear.statement_max * 2,
        .spool_max = config->switchgear.client_spool,
    };
    uint64_t seed;
    proxy_random(&seed, sizeof(seed));
    w->scratch = malloc(WORKER_READ_SIZE);
    w->gather = malloc(TLS_RECORD_SIZE);
    w->database_stats = calloc(CONFIG_DATABASES_MAX, sizeof(*w->database_stats));
    w->stop_mail = calloc(1, sizeof(*w->stop_mail));
    return w->scratch != NULL && w->gather != NULL && w->database_stats != NULL &&
           w->stop_mail != NULL && outcomes_init(&w->outcomes, WORKER_OUTCOMES_SIZE) &&
           core_worker_init(&w->core, &limits, (uint32_t)config->switchgear.verdict_cache_entries,
                            w->proxy->cache_key, seed);
}

int worker_start(struct worker *w, struct proxy *p, uint32_t index)
{
    memset(w, 0, sizeof(*w));
    w->proxy = p;
    w->index = index;
    TAILQ_INIT(&w->clients);
    TAILQ_INIT(&w->logins);
    TAILQ_INIT(&w->unended);
    TAILQ_INIT(&w->handshakes);
    TAILQ_INIT(&w->later);
    TAILQ_INIT(&w->groups);
    TAILQ_INIT(&w->dirty);
    TAILQ_INIT(&w->waiting);
    LIST_INIT(&w->looking);
    TAILQ_INIT(&w->cancels);
    TAILQ_INIT(&w->signals);
    TAILQ_INIT(&w->signal_waits);
    if (!memory_init(w, p->config))
        return UV_ENOMEM;
    topology_reader_init(&w->reader, &p->box);
    w->topology.generation = UINT64_MAX;
    worker_topology_refresh(w);
    /* Backends migrate: whose unnamed statement or whose state one has must be told apart over all
     * workers. */
    w->core.next_id = (uint64_t)(index + 1) << CORE_ID_WORKER_SHIFT;
    w->core.topology = &w->topology;
    w->core.hashes = &proxy_hashes;
    w->core.node_names = p->node_names;
    catalogs_begin(w);
    int r = uv_loop_init(&w->loop);
    if (r == 0)
        r = turns_init(&w->turns_of, &w->loop, &w->stats);
    if (r == 0)
        r = mailbox_init(&w->mail, &w->loop, 4096, w, on_mail, on_wake);
    if (r == 0)
        r = uv_check_init(&w->loop, &w->check);
    if (r == 0)
        r = uv_timer_init(&w->loop, &w->tick);
    if (r == 0)
        r = uv_timer_init(&w->loop, &w->again);
    if (r == 0)
        r = uv_timer_init(&w->loop, &w->pause);
    if (r == 0)
        r = uv_idle_init(&w->loop, &w->turns);
    if (r != 0)
        return r;
    w->check.data = w->tick.data = w->again.data = w->pause.data = w;
    (void)uv_check_start(&w->check, on_check);
    (void)uv_timer_start(&w->tick, on_tick, WORKER_TICK_MS, WORKER_TICK_MS);
    return uv_thread_create(&w->thread, worker_main, w);
}

void worker_join(struct worker *w)
{
    (void)uv_thread_join(&w->thread);
    mailbox_deinit(&w->mail, drop_mail);
    const int r = uv_loop_close(&w->loop);
    assert(r == 0);  /* UV_EBUSY here means a handle leaked */
    struct group *g; /* not earlier: a connection on its way to another worker names its group */
    while ((g = TAILQ_FIRST(&w->groups)) != NULL) {
        TAILQ_REMOVE(&w->groups, g, link);
        group_destroy(g);
    }
    catalogs_destroy(w);
    outcomes_deinit(&w->outcomes);
    free(w->database_stats);
    free(w->scratch);
    free(w->gather);
    SSL_CTX_free(w->tls);
}

bool worker_post(struct proxy *p, uint32_t worker, struct mail *mail)
{
    return mailbox_post(&p->workers[worker].mail, mail);
}

void workers_wake(struct proxy *p)
{
    for (uint32_t i = 0; i < p->workers_count; i++)
        mailbox_wake(&p->workers[i].mail);
}

const struct stats_worker *worker_stats(const struct proxy *p, uint32_t worker)
{
    return &p->workers[worker].stats;
}

const struct stats_database *worker_database_stats(const struct proxy *p, uint32_t worker,
                                                   uint32_t database)
{
    return &p->workers[worker].database_stats[database];
}
