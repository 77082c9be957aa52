/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_metrics: what the workers counted. Nodes, pools and the process are in
 * proxy_metrics_nodes.c.
 */
#include "proxy_metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy_sum.h"
#include "proxy_worker.h"

/* Sums of one scrape: a family at a time reads them again and again. */
struct scrape {
    const struct config *config;
    struct stats_worker workers;
    struct stats_database databases[CONFIG_DATABASES_MAX];
};

/* ---- by database ---- */

static void write_routes(struct metrics *m, const struct scrape *s)
{
    metrics_family(m, "switchgear_routes", METRICS_COUNTER, "",
                   "Statements by where they went, and why.");
    for (uint32_t d = 0; d < s->config->databases_count; d++) {
        const uint64_t *routes = s->databases[d].routes;
        for (uint32_t i = 0; i < CORE_ROUTE_COUNTERS; i++) {
            if (routes[i] == 0)
                continue;
            const uint32_t reason = i % ROUTER_REASON_COUNT;
            const uint32_t verdict = i / ROUTER_REASON_COUNT % ROUTER_VERDICT_COUNT;
            const uint32_t target = i / ROUTER_REASON_COUNT / ROUTER_VERDICT_COUNT;
            metrics_integer(
                m,
                METRICS_LABELS("database", s->config->databases[d].name, "target",
                               router_target_text((enum router_target)target), "verdict",
                               router_verdict_text((enum router_verdict)verdict), "reason",
                               router_reason_text((enum router_reason)reason)),
                routes[i]);
        }
    }
}

static void write_histogram(struct metrics *m, const char *const *labels, const struct histogram *h)
{
    uint64_t below = 0;
    for (uint32_t i = 0; i < PROXY_HISTOGRAM_BUCKETS; i++) {
        below += h->buckets[i];
        metrics_bucket(m, labels, histogram_bound_s(i), below);
    }
    /* Not h->count: it may be a little ahead or behind, and the two have to agree. */
    metrics_sum(m, labels, (double)h->sum_ns / 1e9, below);
}

static void write_histograms(struct metrics *m, const struct scrape *s)
{
    const uint32_t count = s->config->databases_count;
    metrics_family(m, "switchgear_query_duration_seconds", METRICS_HISTOGRAM, "seconds",
                   "Time from sending a statement to the end of its reply.");
    for (uint32_t d = 0; d < count; d++) {
        const char *name = s->config->databases[d].name;
        write_histogram(m, METRICS_LABELS("database", name, "target", "primary"),
                        &s->databases[d].latency[0]);
        write_histogram(m, METRICS_LABELS("database", name, "target", "replica"),
                        &s->databases[d].latency[1]);
    }
    metrics_family(m, "switchgear_wait_duration_seconds", METRICS_HISTOGRAM, "seconds",
                   "Time that clients waited for a server connection.");
    for (uint32_t d = 0; d < count; d++)
        write_histogram(m, METRICS_LABELS("database", s->config->databases[d].name),
                        &s->databases[d].wait);
    metrics_family(m, "switchgear_connect_duration_seconds", METRICS_HISTOGRAM, "seconds",
                   "Time to open a server connection.");
    for (uint32_t d = 0; d < count; d++)
        write_histogram(m, METRICS_LABELS("database", s->config->databases[d].name),
                        &s->databases[d].connect);
}

static void write_databases(struct metrics *m, const struct scrape *s)
{
    static const struct {
        const char *name;
        enum metrics_type type;
        const char *unit;
        size_t offset;
        const char *help;
    } families[] = {
        {"switchgear_transactions", METRICS_COUNTER, "",
         offsetof(struct stats_database, transactions), "Transactions that ended."},
        {"switchgear_queries", METRICS_COUNTER, "", offsetof(struct stats_database, queries),
         "Queries that were answered."},
        {"switchgear_client_received_bytes", METRICS_COUNTER, "bytes",
         offsetof(struct stats_database, bytes_in), "Bytes from clients."},
        {"switchgear_client_sent_bytes", METRICS_COUNTER, "bytes",
         offsetof(struct stats_database, bytes_out), "Bytes to clients."},
        {"switchgear_clients", METRICS_GAUGE, "", offsetof(struct stats_database, clients),
         "Clients that are logged in."},
        {"switchgear_wait_timeouts", METRICS_COUNTER, "",
         offsetof(struct stats_database, wait_timeouts),
         "Clients that waited longer than query_wait_timeout."},
        {"switchgear_login_failures", METRICS_COUNTER, "",
         offsetof(struct stats_database, login_failures), "Log-ins that were refused."},
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        metrics_family(m, families[i].name, families[i].type, families[i].unit, families[i].help);
        for (uint32_t d = 0; d < s->config->databases_count; d++) {
            uint64_t value;
            memcpy(&value, (const char *)&s->databases[d] + families[i].offset, sizeof value);
            metrics_integer(m, METRICS_LABELS("database", s->config->databases[d].name), value);
        }
    }
}

/* ---- over all databases ---- */

static void write_workers(struct metrics *m, const struct stats_worker *w)
{
    const struct {
        const char *name;
        enum metrics_type type;
        uint64_t value;
        const char *help;
    } families[] = {
        {"switchgear_accepted", METRICS_COUNTER, w->accepted, "Connections of clients, all."},
        {"switchgear_logins", METRICS_COUNTER, w->logins, "Log-ins that succeeded."},
        {"switchgear_clients_waiting", METRICS_GAUGE, w->waiting,
         "Clients that wait for a server connection."},
        {"switchgear_clients_pinned", METRICS_GAUGE, w->pinned,
         "Clients that are bound to one server connection."},
        {"switchgear_servers", METRICS_GAUGE, w->servers, "Server connections."},
        {"switchgear_statements", METRICS_COUNTER, w->statements, "Statements that were routed."},
        {"switchgear_batches", METRICS_COUNTER, w->batches, "Batches that were planned."},
        {"switchgear_retries", METRICS_COUNTER, w->retries,
         "Reads that were run again on another node."},
        {"switchgear_learned", METRICS_COUNTER, w->learned,
         "Statements remembered as writes because a replica refused them."},
        {"switchgear_misroutes", METRICS_COUNTER, w->misroutes,
         "Statements that a replica refused as writes."},
        {"switchgear_primary_gone_unproven", METRICS_COUNTER, w->reads_unproven,
         "Reads behind a write of theirs that no replica is known to have, while no primary "
         "answered."},
        {"switchgear_parses_injected", METRICS_COUNTER, w->parses_injected,
         "Prepared statements parsed on a server connection that lacked them."},
        {"switchgear_shapes_asked", METRICS_COUNTER, w->shapes_asked,
         "Questions to servers what a prepared statement takes and gives there."},
        {"switchgear_preflights", METRICS_COUNTER, w->preflights,
         "Times that settings were sent ahead of a statement."},
        {"switchgear_pins_asked", METRICS_COUNTER, w->pins_asked,
         "Questions to servers whether what pins a session is still there."},
        {"switchgear_left_asked", METRICS_COUNTER, w->left_asked,
         "Questions to servers what something unproven has left in its session."},
        {"switchgear_left_found", METRICS_COUNTER, w->left_found,
         "Such questions whose answer was that something is left."},
        {"switchgear_session_resets", METRICS_COUNTER, w->session_resets,
         "Server connections reset in front of another session's statement."},
        {"switchgear_session_resets_failed", METRICS_COUNTER, w->session_resets_failed,
         "Resets that failed: the connection is closed, and the statement goes to another."},
        {"switchgear_begins_deferred", METRICS_COUNTER, w->begins_deferred,
         "BEGINs that were answered before a server was chosen."},
        {"switchgear_blocks_moved", METRICS_COUNTER, w->blocks_moved,
         "Blocks that began on a replica and moved to the primary at their first write."},
        {"switchgear_local_answers", METRICS_COUNTER, w->local_answers,
         "Statements that the proxy answered itself."},
        {"switchgear_reads_missed", METRICS_COUNTER, w->reads_missed,
         "Reads in a transaction that could have used a replica."},
        {"switchgear_migrations", METRICS_COUNTER, w->migrations_out,
         "Server connections handed from one worker to another."},
        {"switchgear_cancels", METRICS_COUNTER, w->cancels, "Cancel requests sent to servers."},
        {"switchgear_cancels_passed_on", METRICS_COUNTER, w->cancels_passed_on,
         "Cancel requests sent to peers."},
        {"switchgear_errors_made", METRICS_COUNTER, w->errors_made,
         "Errors that the proxy itself sent to clients."},
        {"switchgear_verdict_cache_hits", METRICS_COUNTER, w->cache_hits,
         "Statements whose verdict was known."},
        {"switchgear_verdict_cache_misses", METRICS_COUNTER, w->cache_misses,
         "Statements that had to be parsed."},
        {"switchgear_verdict_cache_uncacheable", METRICS_COUNTER, w->cache_uncacheable,
         "Statements whose verdict is not kept."},
    };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        metrics_family(m, families[i].name, families[i].type, "", families[i].help);
        metrics_integer(m, METRICS_NO_LABELS, families[i].value);
    }
}

static void write_turns(struct metrics *m, const struct proxy *p)
{
    static const char *const names[] = {"switchgear_worker_turn_seconds_max",
                                        "switchgear_worker_turn_seconds_recent"};
    static const char *const helps[] = {
        "Longest time that a worker was busy before it looked for what is ready again.",
        "The longest such time of the last five to ten seconds."};
    for (uint32_t n = 0; n < 2; n++) {
        metrics_family(m, names[n], METRICS_GAUGE, "", helps[n]);
        for (uint32_t i = 0; i < p->workers_count; i++) {
            const struct stats_worker *stats = worker_stats(p, i);
            const uint64_t ns = shared_load(n == 0 ? &stats->turn_max_ns : &stats->turn_recent_ns);
            char worker[16];
            (void)snprintf(worker, sizeof worker, "%u", i + 1);
            metrics_real(m, METRICS_LABELS("worker", worker), (double)ns / 1e9);
        }
    }
}

static void write_handshakes(struct metrics *m, const struct stats_worker *w)
{
    metrics_family(m, "switchgear_tls_handshakes", METRICS_COUNTER, "",
                   "TLS handshakes with clients that succeeded, by whether a session went on.");
    metrics_integer(m, METRICS_LABELS("resumed", "yes"), w->tls_resumed);
    metrics_integer(m, METRICS_LABELS("resumed", "no"), w->tls_handshakes - w->tls_resumed);
    metrics_family(m, "switchgear_tls_handshake_failures", METRICS_COUNTER, "",
                   "TLS handshakes with clients that failed.");
    metrics_integer(m, METRICS_NO_LABELS, w->tls_failures);
}

static void write_failed_logins(struct metrics *m, const struct stats_worker *w)
{
    static const char *const reasons[] = {
#define X(name, text) text,
        LOGIN_FAILURE_MAP(X)
#undef X
    };
    metrics_family(m, "switchgear_logins_failed", METRICS_COUNTER, "",
                   "Log-ins that failed, those to unknown databases too, by reason.");
    for (uint32_t i = 0; i < LOGIN_FAILURES; i++)
        metrics_integer(m, METRICS_LABELS("reason", reasons[i]), w->logins_failed[i]);
}

static void write_pins(struct metrics *m, const struct stats_worker *w)
{
    metrics_family(m, "switchgear_pins", METRICS_COUNTER, "",
                   "Times that a client was bound to a server connection.");
    for (uint32_t i = 0; i < ROUTER_REASON_COUNT; i++) {
        if (w->pins[i] > 0)
            metrics_integer(m, METRICS_LABELS("reason", router_reason_text((enum router_reason)i)),
                            w->pins[i]);
    }
    metrics_family(m, "switchgear_pinned", METRICS_GAUGE, "",
                   "Clients that are bound to a server connection, by reason.");
    for (uint32_t i = 0; i < ROUTER_REASON_COUNT; i++) {
        if (w->pins[i] > 0 || w->pinned_now[i] > 0)
            metrics_integer(m, METRICS_LABELS("reason", router_reason_text((enum router_reason)i)),
                            w->pinned_now[i]);
    }
}

/* The class is the first two characters of a SQLSTATE, each a digit or an upper case letter. */
static char class_character(uint32_t index)
{
    return "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index];
}

static void write_sqlstates(struct metrics *m, const struct stats_worker *w)
{
    metrics_family(m, "switchgear_server_errors", METRICS_COUNTER, "",
                   "Errors that servers sent, by class of their SQLSTATE.");
    for (uint32_t i = 0; i < PROXY_SQLSTATE_CLASSES; i++) {
        if (w->sqlstate_classes[i] == 0)
            continue;
        const char class[3] = {class_character(i / 36), class_character(i % 36), 0};
        metrics_integer(m, METRICS_LABELS("class", class), w->sqlstate_classes[i]);
    }
}

static void write_client_errors(struct metrics *m, const struct scrape *s)
{
    metrics_family(m, "switchgear_client_errors", METRICS_COUNTER, "",
                   "Errors that clients were sent, by class of their SQLSTATE.");
    for (uint32_t d = 0; d < s->config->databases_count; d++) {
        for (uint32_t i = 0; i < PROXY_SQLSTATE_CLASSES; i++) {
            const char class[3] = {class_character(i / 36), class_character(i % 36), 0};
            if (s->databases[d].client_errors[i] == 0)
                continue;
            metrics_integer(
                m, METRICS_LABELS("database", s->config->databases[d].name, "class", class),
                s->databases[d].client_errors[i]);
        }
    }
}

static void write_timeouts(struct metrics *m, const struct stats_worker *w)
{
    static const char *const kinds[] = {
        [TIMEOUT_CLIENT_LOGIN] = "client_login",
        [TIMEOUT_CLIENT_IDLE] = "client_idle",
        [TIMEOUT_IDLE_TRANSACTION] = "idle_transaction",
        [TIMEOUT_TRANSACTION] = "transaction",
        [TIMEOUT_QUERY] = "query",
        [TIMEOUT_QUERY_WAIT] = "query_wait",
        [TIMEOUT_WRITE_WAIT] = "write_wait",
        [TIMEOUT_SERVER_CONNECT] = "server_connect",
        [TIMEOUT_CLIENT_WRITE] = "client_write",
    };
    static_assert(sizeof kinds / sizeof kinds[0] == TIMEOUT_KINDS, "each has a name");
    metrics_family(m, "switchgear_timeouts", METRICS_COUNTER, "",
                   "Limits of time that were reached, by option.");
    for (uint32_t i = 0; i < TIMEOUT_KINDS; i++)
        metrics_integer(m, METRICS_LABELS("kind", kinds[i]), w->timeouts[i]);
}

void metrics_write(const struct supervisor *s, bool openmetrics, struct text *ret)
{
    struct metrics m = {.out = ret, .openmetrics = openmetrics};
    const uint64_t now_ns = uv_hrtime();
    struct scrape *scrape = calloc(1, sizeof *scrape);
    if (scrape == NULL) {
        ret->failed = true;
        return;
    }
    scrape->config = s->proxy->config;
    sum_workers(s->proxy, &scrape->workers);
    for (uint32_t i = 0; i < scrape->config->databases_count; i++)
        sum_database(s->proxy, i, &scrape->databases[i]);
    write_routes(&m, scrape);
    write_databases(&m, scrape);
    write_histograms(&m, scrape);
    write_workers(&m, &scrape->workers);
    write_turns(&m, s->proxy);
    write_failed_logins(&m, &scrape->workers);
    write_handshakes(&m, &scrape->workers);
    write_pins(&m, &scrape->workers);
    write_sqlstates(&m, &scrape->workers);
    write_client_errors(&m, scrape);
    write_timeouts(&m, &scrape->workers);
    metrics_write_nodes(&m, s, now_ns);
    metrics_write_pools(&m, s, now_ns);
    metrics_write_catalogs(&m, s, now_ns);
    metrics_write_process(&m, s, now_ns);
    metrics_end(&m);
    free(scrape);
}
