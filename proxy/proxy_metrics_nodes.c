/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_metrics_nodes: metrics of nodes, pools and the process.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "proxy_metrics.h"
#include "proxy_sum.h"
#include "proxy_tsan.h"

/* ---- nodes ---- */

#define NODE_AND_SHARD(s, i) \
    "node", (s)->proxy->config->nodes[i].name, "shard", (s)->proxy->config->nodes[i].shard

/* One gauge or counter a node. */
static void write_each(struct metrics *m, const struct supervisor *s,
                       double (*value)(const struct node_state *n, uint64_t now_ns),
                       uint64_t now_ns)
{
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const double v = value(&s->nodes[i], now_ns);
        if (!isnan(v)) /* unknown: no sample is better than a wrong one */
            metrics_real(m, METRICS_LABELS(NODE_AND_SHARD(s, i)), v);
    }
}

static double lag_s(const struct node_state *n, uint64_t now_ns)
{
    const uint64_t lag_ns = probes_lag_ns(n, now_ns);
    if (n->role != ROUTER_ROLE_REPLICA || lag_ns == UINT64_MAX)
        return NAN;
    return (double)lag_ns / 1e9;
}

static double lag_bytes(const struct node_state *n, uint64_t now_ns)
{
    (void)now_ns;
    return n->role == ROUTER_ROLE_REPLICA && n->probed_ns != 0 ? (double)n->lag_bytes : NAN;
}

static double transitions(const struct node_state *n, uint64_t now_ns)
{
    (void)now_ns;
    return (double)n->breaker.transitions;
}

static double drained(const struct node_state *n, uint64_t now_ns)
{
    (void)now_ns;
    return n->drained ? 1 : 0;
}

static double probed_s_ago(const struct node_state *n, uint64_t now_ns)
{
    if (n->probed_ns == 0)
        return NAN;
    return now_ns > n->probed_ns ? (double)(now_ns - n->probed_ns) / 1e9 : 0;
}

static void write_one_hot(struct metrics *m, const struct supervisor *s)
{
    static const char *const roles[] = {"unknown", "primary", "replica"};
    metrics_family(m, "switchgear_breaker_state", METRICS_GAUGE, "",
                   "1 for the state that the breaker of a node is in.");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const enum breaker_state state = breaker_effective(&s->nodes[i].breaker);
        for (int is = 0; is < BREAKER_STATE_COUNT; is++)
            metrics_integer(m,
                            METRICS_LABELS(NODE_AND_SHARD(s, i), "state",
                                           breaker_state_text((enum breaker_state)is)),
                            (int)state == is);
    }
    metrics_family(m, "switchgear_node_role", METRICS_GAUGE, "",
                   "1 for the role that a node was last seen in.");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        for (int is = 0; is <= ROUTER_ROLE_REPLICA; is++)
            metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "role", roles[is]),
                            (int)s->nodes[i].role == is);
    }
    metrics_family(m, "switchgear_gate_shut", METRICS_GAUGE, "",
                   "1 while the lag gate of a node is shut, for this reason.");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        for (int is = BREAKER_GATE_OPEN + 1; is < BREAKER_GATE_COUNT; is++)
            metrics_integer(m,
                            METRICS_LABELS(NODE_AND_SHARD(s, i), "reason",
                                           breaker_gate_text((enum breaker_gate_reason)is)),
                            s->nodes[i].gate.reason == is);
    }
}

static void write_counters(struct metrics *m, const struct supervisor *s)
{
    static const char *const outcomes[] = {"success", "neutral", "failure", "fatal"};
    metrics_family(m, "switchgear_probes", METRICS_COUNTER, "", "Probes of nodes, by result.");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const struct node_state *n = &s->nodes[i];
        const uint64_t good = n->probes > n->probes_failed ? n->probes - n->probes_failed : 0;
        metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "result", "ok"), good);
        metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "result", "failed"),
                        n->probes_failed);
    }
    metrics_family(m, "switchgear_outcomes", METRICS_COUNTER, "",
                   "What the work on a node told its breaker.");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        for (uint32_t o = 0; o < 4; o++)
            metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "outcome", outcomes[o]),
                            s->nodes[i].faults[o]);
    }
}

static void write_evidence(struct metrics *m, const struct supervisor *s)
{
    static const char *const kinds[] = {
        [BREAKER_SUSPICION_BROKEN] = "broken", [BREAKER_SUSPICION_SICK] = "sick"};
    metrics_family(m, "switchgear_alerts", METRICS_COUNTER, "",
                   "Errors of clients that told of a sick disk, memory or data.");
    for (uint32_t i = 0; i < s->nodes_count; i++)
        metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i)), probes_evidence(s, i).alerts);
    metrics_family(m, "switchgear_suspicions", METRICS_COUNTER, "",
                   "What one user met of a node, and counts when several do.");
    for (uint32_t i = 0; i < s->nodes_count; i++)
        for (uint32_t k = BREAKER_SUSPICION_NONE + 1; k < BREAKER_SUSPICION_COUNT; k++)
            metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "kind", kinds[k]),
                            probes_evidence(s, i).suspicions[k]);
    metrics_family(m, "switchgear_witnesses", METRICS_COUNTER, "",
                   "Second looks at a node, on new connections, by result.");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "result", "ok"),
                        probes_evidence(s, i).witnesses_good);
        metrics_integer(m, METRICS_LABELS(NODE_AND_SHARD(s, i), "result", "failed"),
                        probes_evidence(s, i).witnesses_bad);
    }
}

void metrics_write_nodes(struct metrics *m, const struct supervisor *s, uint64_t now_ns)
{
    write_one_hot(m, s);
    write_counters(m, s);
    write_evidence(m, s);
    metrics_family(m, "switchgear_breaker_transitions", METRICS_COUNTER, "",
                   "Changes of state of a breaker.");
    write_each(m, s, transitions, now_ns);
    metrics_family(m, "switchgear_node_drained", METRICS_GAUGE, "", "1 while a node is drained.");
    write_each(m, s, drained, now_ns);
    metrics_family(m, "switchgear_primary_gone", METRICS_GAUGE, "",
                   "1 while no primary of the shard answers, and lag is not counted.");
    for (uint32_t i = 0; i < s->proxy->config->shards_count; i++)
        metrics_integer(m, METRICS_LABELS("shard", s->proxy->config->shards[i]),
                        probes_primary_is_gone(s, i) ? 1 : 0);
    metrics_family(m, "switchgear_replica_lag_seconds", METRICS_GAUGE, "seconds",
                   "How far a replica may be behind the primary, now.");
    write_each(m, s, lag_s, now_ns);
    metrics_family(m, "switchgear_replica_lag_bytes", METRICS_GAUGE, "bytes",
                   "WAL that a replica had not replayed when it was probed.");
    write_each(m, s, lag_bytes, now_ns);
    metrics_family(m, "switchgear_probe_age_seconds", METRICS_GAUGE, "seconds",
                   "Time since a probe of a node was last answered.");
    write_each(m, s, probed_s_ago, now_ns);
}

/* ---- pools ---- */

/* Whoever makes names up makes no series. */
static bool is_shown(const struct shared_pool *p, const struct config *c)
{
    return p->node < c->nodes_count && p->database < c->databases_count &&
           shared_load(&p->was_open) != 0;
}

static void write_pool_samples(struct metrics *m, const struct supervisor *s, uint64_t now_ns,
                               const char *state, size_t offset)
{
    const struct config *c = s->proxy->config;
    for (const struct shared_pool *p = shared_pools_first(s->proxy); p != NULL;
         p = shared_pools_next(p)) {
        if (!is_shown(p, c))
            continue;
        struct sum_pool sum;
        uint64_t value;
        sum_pool(s->proxy, p, now_ns, &sum);
        memcpy(&value, (const char *)&sum + offset, sizeof value);
        const char *const labels[] = {"database",
                                      p->client_database,
                                      "user",
                                      p->user,
                                      "node",
                                      c->nodes[p->node].name,
                                      "shard",
                                      c->nodes[p->node].shard,
                                      state != NULL ? "state" : NULL,
                                      state,
                                      NULL};
        metrics_integer(m, labels, value);
    }
}

void metrics_write_pools(struct metrics *m, const struct supervisor *s, uint64_t now_ns)
{
    const struct config *c = s->proxy->config;
    metrics_family(m, "switchgear_pool_size", METRICS_GAUGE, "",
                   "Server connections that a pool may have.");
    for (const struct shared_pool *p = shared_pools_first(s->proxy); p != NULL;
         p = shared_pools_next(p)) {
        if (is_shown(p, c))
            metrics_integer(m,
                            METRICS_LABELS("database", p->client_database, "user", p->user, "node",
                                           c->nodes[p->node].name, "shard",
                                           c->nodes[p->node].shard),
                            c->databases[p->database].pool_size);
    }
    metrics_family(m, "switchgear_pool_connections", METRICS_GAUGE, "",
                   "Server connections of a pool, by what they do.");
    write_pool_samples(m, s, now_ns, "active", offsetof(struct sum_pool, active));
    write_pool_samples(m, s, now_ns, "idle", offsetof(struct sum_pool, idle));
    write_pool_samples(m, s, now_ns, "opening", offsetof(struct sum_pool, opening));
    write_pool_samples(m, s, now_ns, "tested", offsetof(struct sum_pool, tested));
    metrics_family(m, "switchgear_pool_used", METRICS_GAUGE, "",
                   "Server connections of a pool that count against its size.");
    write_pool_samples(m, s, now_ns, NULL, offsetof(struct sum_pool, connections));
    metrics_family(m, "switchgear_pool_waiting", METRICS_GAUGE, "",
                   "Clients that wait for a connection of a pool.");
    write_pool_samples(m, s, now_ns, NULL, offsetof(struct sum_pool, waiting));
}

/* ---- what names stand for ---- */

/* One counter or gauge a database at the servers, by the offset of its word. */
static void write_catalog_words(struct metrics *m, const struct supervisor *s, size_t offset,
                                bool is_time)
{
    for (const struct shared_catalog *c = shared_catalogs_first(s->proxy); c != NULL;
         c = shared_catalogs_next(c)) {
        if (shared_load(&c->was_open) == 0)
            continue;
        const uint64_t *word = (const uint64_t *)(const void *)((const char *)c + offset);
        const char *const shard = s->proxy->config->shards[c->shard];
        const uint64_t value = shared_load(word);
        if (is_time)
            metrics_real(m, METRICS_LABELS("dbname", c->dbname, "shard", shard),
                         (double)value / 1e9);
        else
            metrics_integer(m, METRICS_LABELS("dbname", c->dbname, "shard", shard), value);
    }
}

void metrics_write_catalogs(struct metrics *m, const struct supervisor *s, uint64_t now_ns)
{
    metrics_family(m, "switchgear_catalog_questions", METRICS_COUNTER, "",
                   "Questions to servers what the names of a database stand for.");
    write_catalog_words(m, s, offsetof(struct shared_catalog, questions), false);
    metrics_family(m, "switchgear_catalog_failures", METRICS_COUNTER, "",
                   "Such questions that were not answered.");
    write_catalog_words(m, s, offsetof(struct shared_catalog, failures), false);
    metrics_family(m, "switchgear_catalog_answer_seconds", METRICS_COUNTER, "seconds",
                   "What answers took, with connecting.");
    write_catalog_words(m, s, offsetof(struct shared_catalog, spent_ns), true);
    metrics_family(m, "switchgear_catalog_objects", METRICS_GAUGE, "",
                   "Objects in the last answer.");
    write_catalog_words(m, s, offsetof(struct shared_catalog, objects), false);
    metrics_family(m, "switchgear_catalog_age_seconds", METRICS_GAUGE, "seconds",
                   "Time since what was answered last was asked for.");
    for (const struct shared_catalog *c = shared_catalogs_first(s->proxy); c != NULL;
         c = shared_catalogs_next(c)) {
        const uint64_t asked_ns = shared_load(&c->answered_ns);
        if (asked_ns != 0 && now_ns > asked_ns)
            metrics_real(
                m, METRICS_LABELS("dbname", c->dbname, "shard", s->proxy->config->shards[c->shard]),
                (double)(now_ns - asked_ns) / 1e9);
    }
}

/* ---- the process ---- */

static uint32_t open_files(void)
{
    uint32_t count = 0;
    LOOK_AWAY(); /* its descriptor has a number that another thread's has had */
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL)
        closedir(directory);
    LOOK_AGAIN();
    return count > 3 ? count - 3 : 0; /* itself, . and .. */
}

static double files_max(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : 0;
}

/* Field `number` of /proc/self/stat, as proc(5) counts them; at least 3. */
static double stat_field(int number)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    const size_t size = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    text[size] = '\0';
    const char *at = strrchr(text, ')'); /* the name of the program may hold blanks */
    for (int i = 3; at != NULL && i <= number; i++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtod(at + 1, NULL) : 0;
}

static double virtual_memory(void)
{
    return stat_field(23);
}

static double thread_count(void)
{
    return stat_field(20);
}

/* Since the epoch: the machine's start is now less its time since then. */
static double started_s(void)
{
    struct timespec wall, up;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    const double boot_s =
        (double)(wall.tv_sec - up.tv_sec) + (double)(wall.tv_nsec - up.tv_nsec) / 1e9;
    return boot_s + stat_field(22) / (double)sysconf(_SC_CLK_TCK);
}

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/* The names that clients of Prometheus in any language have. */
static void write_process_standard(struct metrics *m, const struct rusage *usage, size_t resident)
{
    static const char *const help = "As every process that Prometheus scrapes has it.";
    const struct {
        const char *name;
        enum metrics_type type;
        const char *unit;
        double value;
    } all[] = {{"process_cpu_seconds", METRICS_COUNTER, "seconds",
                seconds(&usage->ru_utime) + seconds(&usage->ru_stime)},
               {"process_resident_memory_bytes", METRICS_GAUGE, "bytes", (double)resident},
               {"process_virtual_memory_bytes", METRICS_GAUGE, "bytes", virtual_memory()},
               {"process_open_fds", METRICS_GAUGE, "", open_files()},
               {"process_max_fds", METRICS_GAUGE, "", files_max()},
               {"process_start_time_seconds", METRICS_GAUGE, "seconds", started_s()},
               {"process_threads", METRICS_GAUGE, "", thread_count()}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        metrics_family(m, all[i].name, all[i].type, all[i].unit, help);
        metrics_real(m, METRICS_NO_LABELS, all[i].value);
    }
}

void metrics_write_process(struct metrics *m, const struct supervisor *s, uint64_t now_ns)
{
    struct rusage usage;
    size_t resident = 0;
    getrusage(RUSAGE_SELF, &usage);
    uv_resident_set_memory(&resident);
    metrics_family(m, "switchgear_build", METRICS_INFO, "", "The version that runs.");
    metrics_integer(m, METRICS_LABELS("version", SWITCHGEAR_VERSION), 1);
    metrics_family(m, "switchgear_uptime_seconds", METRICS_GAUGE, "seconds",
                   "Time since the start.");
    metrics_real(m, METRICS_NO_LABELS, (double)(now_ns - s->proxy->started_ns) / 1e9);
    metrics_family(m, "switchgear_workers", METRICS_GAUGE, "", "Threads that serve clients.");
    metrics_integer(m, METRICS_NO_LABELS, s->proxy->workers_count);
    metrics_family(m, "switchgear_reloads", METRICS_COUNTER, "",
                   "Times that the configuration was read again.");
    metrics_integer(m, METRICS_LABELS("result", "ok"), s->reloads);
    metrics_integer(m, METRICS_LABELS("result", "failed"), s->reloads_failed);
    metrics_family(m, "switchgear_topologies", METRICS_COUNTER, "", "Topologies published.");
    metrics_integer(m, METRICS_NO_LABELS, s->generation);
    metrics_family(m, "switchgear_process_resident_memory_bytes", METRICS_GAUGE, "bytes",
                   "Resident memory.");
    metrics_integer(m, METRICS_NO_LABELS, resident);
    metrics_family(m, "switchgear_process_open_fds", METRICS_GAUGE, "", "Open descriptors.");
    metrics_integer(m, METRICS_NO_LABELS, open_files());
    metrics_family(m, "switchgear_process_cpu_seconds", METRICS_COUNTER, "seconds",
                   "Time on processors, in the program and in the kernel for it.");
    metrics_real(m, METRICS_NO_LABELS, seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
    write_process_standard(m, &usage, resident);
}
