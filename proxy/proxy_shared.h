/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_shared: what threads share, and who writes what. Each datum has one writer; others read it
 * relaxed (shared_load). Exceptions are words that are changed by compare-and-swap or
 * fetch-and-add, and say so.
 */
#ifndef PROXY_SHARED_H
#define PROXY_SHARED_H

#include <ck_pr.h>
#include <uv.h>

#include "core.h"
#include "proxy_mailbox.h"
#include "proxy_outcomes.h"
#include "proxy_topology.h"

enum {
    PROXY_WORKERS_MAX = 64,
    PROXY_HISTOGRAM_BUCKETS = 27, /* below 2^i * 32 us, and 250, 350, 500 ms; the last: all above */
    PROXY_SQLSTATE_CLASSES = CORE_ERROR_CLASSES,
};

static inline uint64_t shared_load(const uint64_t *p)
{
    return ck_pr_load_64(p);
}
/* The owner's thread only. */
static inline void shared_add(uint64_t *p, uint64_t n)
{
    ck_pr_store_64(p, *p + n);
}
static inline void shared_set(uint64_t *p, uint64_t v)
{
    ck_pr_store_64(p, v);
}

struct histogram {
    uint64_t buckets[PROXY_HISTOGRAM_BUCKETS];
    uint64_t sum_ns;
    uint64_t count;
};
/* Upper bound of a bucket in seconds; the last one is infinite. */
double histogram_bound_s(uint32_t bucket);
void histogram_observe(struct histogram *h, uint64_t sample_ns); /* owner's thread */

/* Why a log-in ended, by the SQLSTATE that the client got. */
#define LOGIN_FAILURE_MAP(X) \
    X(PASSWORD, "password")  \
    X(REJECTED, "rejected")  \
    X(DATABASE, "database")  \
    X(LIMIT, "limit")        \
    X(PROTOCOL, "protocol")  \
    X(TIMEOUT, "timeout")    \
    X(OTHER, "other")
enum login_failure {
#define X(name, text) LOGIN_FAILED_##name,
    LOGIN_FAILURE_MAP(X)
#undef X
        LOGIN_FAILURES
};

/* Limits of time that were reached; metrics call them by the option's name. */
enum timeout_kind {
    TIMEOUT_CLIENT_LOGIN,
    TIMEOUT_CLIENT_IDLE,
    TIMEOUT_IDLE_TRANSACTION,
    TIMEOUT_TRANSACTION,
    TIMEOUT_QUERY,
    TIMEOUT_QUERY_WAIT,
    TIMEOUT_WRITE_WAIT,
    TIMEOUT_SERVER_CONNECT,
    TIMEOUT_CLIENT_WRITE,
    TIMEOUT_KINDS
};

/* Per worker and [database] section. Writer: the worker. */
struct stats_database {
    uint64_t routes[CORE_ROUTE_COUNTERS];
    uint64_t transactions;        /* ended: idle ReadyForQuery after work */
    uint64_t queries;             /* batches that were answered */
    uint64_t bytes_in, bytes_out; /* from and to clients */
    uint64_t transaction_ns, query_ns, wait_ns;
    uint64_t clients;                               /* gauge: logged in */
    uint64_t client_errors[PROXY_SQLSTATE_CLASSES]; /* sent to clients, by class */
    uint64_t wait_timeouts, login_failures;
    struct histogram latency[2]; /* by target: 0 primary, 1 replica */
    struct histogram wait;
    struct histogram connect;
};

/* Per worker. Writer: the worker. */
struct stats_worker {
    uint64_t clients, logins, accepted;
    uint64_t logins_failed[LOGIN_FAILURES];
    uint64_t servers, waiting, pinned, logging_in; /* gauges */
    uint64_t pins[ROUTER_REASON_COUNT];            /* counters */
    uint64_t pinned_now[ROUTER_REASON_COUNT];      /* gauges */
    uint64_t retries, learned, misroutes, statements, batches, reads_unproven;
    uint64_t parses_injected, shapes_asked, preflights, pins_asked, left_asked, left_found,
        session_resets, session_resets_failed, begins_deferred, blocks_moved, local_answers,
        reads_missed;
    uint64_t migrations_out, cancels, cancels_passed_on, errors_made;
    uint64_t sqlstate_classes[PROXY_SQLSTATE_CLASSES]; /* errors that servers sent, by class */
    uint64_t timeouts[TIMEOUT_KINDS];
    uint64_t cache_hits, cache_misses, cache_uncacheable;
    uint64_t loop_turns;
    uint64_t turn_max_ns, turn_recent_ns;       /* gauges, not to be added up: proxy_turns.h */
    uint64_t node_latency_ns[CONFIG_NODES_MAX]; /* gauge: peak EWMA; not to be added up */
    uint64_t memory_blocks;
    uint64_t tls_handshakes, tls_resumed, tls_failures;
    uint64_t left; /* clients that are gone, of all that were dealt to this worker */
};

/* Per node. */
struct shared_node {
    /* HALF_OPEN: permits that workers may still take (fetch-and-add below zero is given back).
     * Set by the supervisor together with the generation: high 32 bits generation, low 32 bits
     * count; changed by compare-and-swap. */
    uint64_t permits CK_CC_CACHELINE;
    /* Another server answers at the node's address: what was opened before `left_ns` leads to the
     * former one, what was opened before `renewed_ns` may. 0: never. Writer: the supervisor. */
    uint64_t left_ns, renewed_ns;
};
/* Worker: takes one under this generation. */
bool shared_permit_take(struct shared_node *node, uint32_t generation);

/* A limit over all workers. */
struct shared_cap {
    uint64_t used CK_CC_CACHELINE; /* fetch-and-add */
    /* Since when the oldest client waits that it holds up (0: none), when that was last said, and
     * for which pool. Hints: anybody stores. */
    uint64_t blocked_since_ns, blocked_seen_ns;
    struct shared_pool *blocked_pool;
};

/* A user, at servers or of clients. */
struct shared_user {
    struct shared_cap connections;
    uint64_t clients; /* fetch-and-add */
    struct shared_user *next;
    char name[256];
};

/* One pool over all workers: (database section, name at the server, user, node). */
/* What was said of a fault that many meet: once, anew when it changes, and again every
 * SAID_AGAIN_NS.
 */
struct shared_said {
    uint64_t at_ns, what; /* compare-and-swap; a hash of the text */
    uint64_t hidden;      /* not said since; fetch-and-add */
};
#define SAID_AGAIN_NS UINT64_C(30000000000)
/* Is it to be said now? *ret_hidden: how often it was not since it was last said. */
bool shared_say(struct shared_said *said, const char *text, uint64_t now_ns, uint64_t *ret_hidden);

struct shared_pool {
    struct shared_pool *next; /* shared_pools_next() */
    uint32_t references;      /* of workers; under pools_lock. The last one takes it out */
    uint32_t database;        /* index into config->databases */
    uint8_t node;
    char user[256];
    char dbname[256];          /* at the server */
    char client_database[256]; /* as clients name it */
    uint64_t pins_used; /* pinned sessions of (database, user): counted in the pool of node 0 */
    struct shared_user *owner;   /* `user` */
    struct shared_said failures; /* to connect */
    uint64_t was_open; /* 1: there was a connection; 0: its names may be anybody's invention */
    uint64_t budget_used CK_CC_CACHELINE; /* connections open or opening; fetch-and-add */
    uint64_t fallback_used;    /* of them, those that serve reads that fell back; fetch-and-add */
    uint64_t fallback_waiting; /* such reads that wait; fetch-and-add */
    struct shared_pool_worker {
        /* 0: none waits. Writer: that worker */
        uint64_t oldest_waiter_ns CK_CC_CACHELINE;
        uint64_t idle, active, opening, waiting, tested, canceling; /* gauges */
        uint64_t clients_active;
        uint64_t incoming; /* connections on their way to it; fetch-and-add */
    } workers[PROXY_WORKERS_MAX];
};

/* What a server said of its names (proxy_catalog_facts.c). */
struct catalog_answer {
    struct router_fact *facts; /* malloc'd, as `names`, which their names point to: C strings */
    char *names;
    uint32_t facts_count;
    uint32_t settings_count;
    const char *settings[ROUTER_FACT_SETTINGS_MAX]; /* in `names` */
};

/* What is known of the names of one database of the servers, over all workers (proxy_catalog.c). */
struct shared_catalog {
    struct shared_catalog *next; /* shared_catalogs_next() */
    uint32_t references;         /* as of a pool */
    uint64_t was_open;           /* likewise */
    uint8_t shard;
    char dbname[256]; /* at the servers */
    /* fetch-and-add, by any session's statements: what may have changed the catalog, seen, only
     * for new names, and unseen (core_state.h) */
    uint64_t changes CK_CC_CACHELINE;
    uint64_t wishes, suspects;
    /* fetch-and-add: questions asked, failed, answered, and what answers took */
    uint64_t questions CK_CC_CACHELINE;
    uint64_t failures, answers, spent_ns;
    uint64_t slow_ns;     /* when a question last met its time limit; 0: none has since an answer */
    uint64_t slow_events; /* ... what had been counted of changes and wishes when it was put */
    uint64_t logged_ns;   /* when a failure was last logged; compare-and-swap */
    uint64_t asking_ns;   /* since when one worker asks for all; 0: none does; compare-and-swap */
    uv_mutex_t lock;      /* of storing what follows; no worker waits for it */
    /* Of the last answer: when it was asked for (0: there is none), `changes`, `wishes` and
     * `suspects` at that moment, its size, what it took, the node. */
    uint64_t answered_ns, answered_for, answered_wishes, answered_suspects, objects, took_ns, node;
    struct catalog_answer last;
    char error[256]; /* of the last question; "": it was answered */
    /* Defaults of roles, under the lock (proxy_defaults.h); the version is raised with each change,
     * and read by all. `watched_ns`: when somebody last looked out; `version`: of the server. */
    struct shared_defaults *defaults;
    uint32_t defaults_count;
    uint64_t defaults_version, watched_ns, server_version;
    /* Looks at the defaults (proxy_look.h): the worker that looks, counted from 1 (0: none does
     * yet), when one was wanted, when the last one that was answered began, and when one was
     * awaited in vain. */
    uint64_t watcher CK_CC_CACHELINE;
    uint64_t look_wanted_ns, looked_ns, look_failed_ns;
};

struct worker;     /* proxy_worker.h */
struct supervisor; /* proxy_supervisor.h */

/* The whole process. */
struct proxy {
    struct config *config; /* the supervisor's; workers read it through the topology */
    struct topology_box box;
    struct worker *workers; /* array */
    uint32_t workers_count;
    struct supervisor *supervisor;
    struct mailbox *supervisor_mail;
    struct shared_node nodes[CONFIG_NODES_MAX];
    const char *node_names[CONFIG_NODES_MAX];
    uint8_t reads[CONFIG_DATABASES_MAX];            /* enum router_reads; writer: supervisor */
    uint64_t global_write_ns[CONFIG_DATABASES_MAX]; /* raised by compare-and-swap */
    uint64_t probe_wanted; /* 1: some worker wants fresher evidence; exchanged by the supervisor */
    uint64_t descriptors;  /* limit of the process; the supervisor's */
    uint64_t descriptors_clients_max; /* of them, how many clients may take */
    uint64_t client_count;  /* that sent a start-up packet, over all workers; fetch-and-add */
    struct ssl_ctx_st *tls; /* what clients are offered; the supervisor's */
    uint64_t shutting_down;
    uint64_t paused[CONFIG_DATABASES_MAX];       /* writer of these three: the supervisor */
    uint64_t disabled[CONFIG_DATABASES_MAX];     /* nobody new logs in */
    uint64_t reconnect_ns[CONFIG_DATABASES_MAX]; /* older connections are used no more; 0: never */
    struct shared_cap node_caps[CONFIG_NODES_MAX];
    struct shared_cap database_caps[CONFIG_DATABASES_MAX];
    struct shared_cap database_node_caps[CONFIG_DATABASES_MAX][CONFIG_NODES_MAX];
    uint64_t database_clients[CONFIG_DATABASES_MAX]; /* fetch-and-add */
    struct shared_user *users;                       /* as pools, under the same lock */
    struct shared_catalog *catalogs;                 /* as pools */
    struct shared_pool *pools; /* changed under pools_lock; read without it, within one turn */
    uv_mutex_t pools_lock;     /* cold path: the first connection of a (database, user, node) */
    struct retired *retired;   /* what was taken out: proxy_retired.h */
    uv_mutex_t retired_lock;
    uint64_t started_ns;
    uint8_t cache_key[ROUTER_KEY_SIZE];
    uint8_t server_key[32];
};

/* Made when it is not there; a reference for whoever asks. NULL: no memory, or a name that is too
 * long. */
struct shared_pool *shared_pool_get(struct proxy *p, uint32_t database, const char *client_database,
                                    const char *dbname, const char *user, uint8_t node);
void shared_pool_put(struct proxy *p, struct shared_pool *pool);
/* Of any thread, for one turn of its loop; NULL: there is none (any more). */
struct shared_pool *shared_pools_first(const struct proxy *p);
struct shared_pool *shared_pools_next(const struct shared_pool *pool);

/* Made when it is not there. NULL: no memory, or a name that is too long. */
struct shared_user *shared_user_get(struct proxy *p, const char *name);

/* As for pools. */
struct shared_catalog *shared_catalog_get(struct proxy *p, uint8_t shard, const char *dbname);
/* NULL: there is none. It is given back as what shared_catalog_get() has returned. */
struct shared_catalog *shared_catalog_find(struct proxy *p, uint8_t shard, const char *dbname);
void shared_catalog_put(struct proxy *p, struct shared_catalog *c);
struct shared_catalog *shared_catalogs_first(const struct proxy *p);
struct shared_catalog *shared_catalogs_next(const struct shared_catalog *c);
void shared_catalogs_free(struct proxy *p); /* all threads have ended */

/* ---- mail ---- */

enum mail_kind {
    /* to a worker */
    MAIL_CLIENT,      /* struct mail_client: a new connection */
    MAIL_BACKEND,     /* struct mail_backend (proxy_pool.h): a backend changes worker */
    MAIL_STEAL,       /* struct mail_steal: give one idle backend of a pool away */
    MAIL_EVICT,       /* struct mail_steal: close one idle backend of a pool: its place is needed */
    MAIL_CANCEL,      /* struct mail_cancel: a cancel request for one of your sessions */
    MAIL_CANCEL_DONE, /* struct mail_cancel_done: one that you posted has come to its end */
    MAIL_SIGNAL,      /* struct mail_signal: end one of your sessions, or cancel what it runs */
    MAIL_SIGNAL_DONE, /* struct mail_signal_done: what came of one that you posted */
    MAIL_SNAPSHOT,    /* struct mail_snapshot: describe your clients and servers */
    MAIL_ORDER,       /* struct mail_order */
    MAIL_STOP,        /* struct mail_stop */
    /* to the supervisor */
    MAIL_ADMIN_CLIENT,  /* struct mail_admin_client: logged in for the admin console */
    MAIL_SNAPSHOT_DONE, /* struct mail_snapshot again, filled */
    MAIL_ORDER_DONE,    /* struct mail_order again, answered */
    MAIL_WORKER_STOPPED /* struct mail_stop again */
};

struct mail_client {
    struct mail mail;
    int fd;
    bool is_unix;
    bool begins_with_header; /* of the PROXY protocol: it comes from a trusted load balancer */
    bool is_admin_socket;    /* admin console without a password: peer credentials were checked */
    char address[64];
    uint16_t port;
};

/* The connection that brought a cancel request: it stays open until the request is done. */
struct cancel_ticket {
    uint32_t worker; /* whose client it is */
    uint32_t slot;
    uint64_t id; /* of that client, as slots are given again */
};

struct mail_cancel {
    struct mail mail;
    uint32_t slot; /* of the session that is meant */
    uint32_t key_size;
    uint8_t key[CORE_CANCEL_KEY_SIZE_MAX];
    struct cancel_ticket ticket;
};

struct mail_cancel_done {
    struct mail mail;
    struct cancel_ticket ticket;
};

/* Who waits for what comes of a signal. */
struct signal_ticket {
    uint32_t worker;
    uint64_t serial; /* of that worker's */
};

struct mail_signal {
    struct mail mail;
    struct core_signal_wish wish;
    uint32_t slot; /* of the session that is meant */
    struct signal_ticket ticket;
    bool is_admin; /* who asks, by its log-in */
    uint8_t shard; /* ... and where it is */
    char user[256];
};

struct mail_signal_done {
    struct mail mail;
    struct signal_ticket ticket;
    uint8_t answer; /* enum core_signal */
};

/* What the admin console wants of a worker. */
enum order {
    ORDER_COUNT_STALE, /* server connections from before RECONNECT */
    ORDER_KILL_CLIENT, /* this client */
    ORDER_KILL,        /* all clients and server connections of the database */
};

struct mail_order {
    struct mail mail;
    uint8_t what;      /* enum order */
    uint32_t database; /* index of its section; UINT32_MAX: all */
    uint64_t client;
    uint64_t request_id; /* the admin's */
    uint64_t count;      /* the answer: how many there were */
};

struct mail_stop {
    struct mail mail;
    uint8_t how; /* 0 when all transactions have ended, 1 now, 2 when all clients have left */
    uint32_t worker;
};

/* A client that logged in for the admin database: the descriptor changes hands. What is already
 * read behind its log-in comes along. AuthenticationOk was not sent yet. */
struct mail_admin_client {
    struct mail mail;
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    bool may_change;    /* admin_users; else SHOW only (stats_users) */
    char user[64];
    char database[64];
    char application[64];
    char address[64];
    uint16_t port;
    uint32_t rest_size;
    uint8_t rest[];
};

/* One row a client or server, filled by the worker that owns it. */
struct snapshot_row {
    bool is_client;
    bool is_replica;
    bool close_needed;
    char user[64];
    char database[64];
    char application[64];
    char address[64];
    char local_address[64];
    char state[16]; /* client: active, waiting, idle; server: active, idle, used, login, ... */
    char node[64];
    char pin[24]; /* client: reason, "" when not pinned */
    uint16_t port, local_port;
    uint64_t id;                             /* of the client or server */
    uint64_t link;                           /* id of the other side, 0: none */
    uint64_t connect_time_s, request_time_s; /* Unix time; 0: none */
    uint64_t wait_us;
    uint32_t remote_pid;
    uint32_t prepared;
    char tls[64]; /* version/cipher, "": none */
    uint64_t statements;
    int64_t last_write_ms_ago; /* client; -1: never */
};

struct mail_snapshot {
    struct mail mail;
    uint32_t worker;
    uint64_t request_id; /* the admin's */
    bool want_clients, want_servers;
    struct snapshot_row *rows; /* malloc'd by the worker, freed by the supervisor */
    uint32_t rows_count;
};

#endif
