/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_worker: one thread that serves clients. It owns its clients, its server connections, its
 * part of every pool, its verdict cache and its counters; nothing of it is touched by another
 * thread but its mailbox and, for reading, its counters.
 */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <libpq-fe.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/queue.h>

#include "proxy_quiet.h"
#include "proxy_shared.h"
#include "proxy_turns.h"
#include "proxy_waitlist.h"

enum {
    WORKER_READ_SIZE = 128 * 1024,
    WORKER_OUTCOMES_SIZE = 4096,
    WORKER_OUT_HIGH = 256 * 1024, /* a peer that has not taken this much stops the other side */
    WORKER_OUT_LOW = 64 * 1024,
    WORKER_SPOOL_MAX = 64 * 1024 * 1024, /* of all clients: beyond, none gets more than OUT_HIGH */
    WORKER_TICK_MS = 100,
    WORKER_CANCEL_LANES = CONFIG_NODES_MAX + 1,
};
static_assert(WORKER_OUT_LOW < WORKER_OUT_HIGH, "the marks are in order");

/* glibc's sys/queue.h lacks it: the element may be removed in the body. */
#define TAILQ_EACH_SAFE(var, head, field, next)                                            \
    for ((var) = TAILQ_FIRST(head); (var) != NULL && ((next) = TAILQ_NEXT(var, field), 1); \
         (var) = (next))

/* ---- a client ---- */

struct client {
    struct core_session core;
    uv_poll_t poll;
    struct worker *worker;
    TAILQ_ENTRY(client) link;         /* worker->clients, worker->logins */
    struct waiter wait;               /* among a group's waiters; its mask, what may serve it */
    TAILQ_ENTRY(client) turn;         /* worker->handshakes or worker->later */
    TAILQ_ENTRY(client) pause;        /* worker->unended */
    struct server *own_server;        /* being made for this client alone: replication */
    struct preface *preface;          /* NULL, or a header that is not whole (proxy_preface.h) */
    struct core_block *out;           /* what the client has not taken yet */
    SSL *ssl;                         /* NULL: plain */
    char *user;                       /* its own name, owned; NULL: as its group says */
    struct auth *auth;                /* of its log-in, while that lasts */
    struct shared_user *counted_user; /* in whose clients it counts; NULL: in nobody's */
    uint32_t counted_database;
    uint64_t accepted_ns;
    uint32_t slot;           /* in worker->slots; the cancel key names it (proxy_cancel_key.h) */
    uint64_t quiet_since_ns; /* it sent something, or a statement of it ended; the later one */
    uint64_t block_since_ns; /* when its transaction's first statement was sent; 0: none is open */
    uint64_t unended_until_ns;  /* in worker->unended: when its batch begins without an end */
    uint64_t flushing_since_ns; /* close_after_flush; 0: not yet seen */
    int fd;
    uint8_t events;  /* armed in poll */
    bool logging_in; /* is in worker->logins */
    bool is_admin_socket;
    bool closing;
    bool close_after_flush;
    bool server_stopped; /* its server is not read until it has taken more */
    uint64_t took_ns;    /* when it last took something, or its server was stopped */
    bool queued;         /* is among a group's waiters */
    uint8_t tls_wants;   /* events that its handshake waits for */
    bool in_handshake;   /* nothing is sent or read but by proxy_client_io.c */
    bool in_turn;        /* is in worker->handshakes */
    bool in_later;       /* ... worker->later */
    bool is_unended;     /* is in worker->unended */
    bool is_direct_tls;  /* it began with TLS, without asking for it */
    bool unread;         /* it has bytes that the descriptor does not tell of */
    bool keeps_buffers;  /* its SSL does, between two records: counted in worker->tls_keepers */
    bool lacks_header;   /* of the PROXY protocol: it may only cancel */
    bool is_relayed;     /* whoever is at the other end of its socket is not the client */
    bool lingers;        /* its side has ended; what it sent before its goodbye is still run */
    bool cancelling;     /* brought a cancel request, and waits for its end */
    bool counted;        /* in proxy->client_count; a cancel request never is */
    uint16_t port;       /* of the client, for SHOW CLIENTS */
    uint8_t pin_seen;    /* what the gauges know of its pin */
    bool is_unix;
    struct in6_addr address; /* v4-mapped for IPv4 */
};
TAILQ_HEAD(client_list, client);

/* ---- a server connection ---- */

enum server_state {
    SERVER_RESOLVING,
    SERVER_CONNECTING,
    SERVER_WARMING, /* a replica that no probe has vouched for since it was opened */
    SERVER_IDLE,
    SERVER_ACTIVE,
    SERVER_RESETTING,
    SERVER_DRAINING, /* its client is gone; what it still says is dropped */
    SERVER_CLOSING,
};

struct server {
    struct core_backend core;
    struct worker *worker;
    struct pool *pool;
    TAILQ_ENTRY(server) link; /* the pool's list of its state */
    struct client *owner;     /* for whom alone it is being made; NULL: for the pool */
    PGconn *conn;
    SSL *ssl;        /* of conn, NULL: plain */
    uv_poll_t *poll; /* its own memory: it may outlive the move to another worker */
    uv_getaddrinfo_t *resolver;
    struct connect_step *step; /* of its connecting, while it runs: conn is the step's then */
    struct core_block *out;
    uint64_t id;
    uint64_t started_ns; /* of the connection attempt */
    uint64_t since_ns;   /* in this state */
    int fd;
    unsigned user_timeout_ms; /* of the descriptor, when its node is in use */
    bool is_line_short;       /* ... and it is not: proxy_server_line.c */
    uint8_t state;
    uint8_t events;
    bool full;          /* it has not taken WORKER_OUT_HIGH bytes: its client is not read */
    bool stopped;       /* not read: its client takes nothing */
    bool fallback;      /* serves a read that fell back: counted in its pool */
    bool drain_cancels; /* draining: what runs is to be cancelled */
    bool unread;        /* it has bytes that the descriptor does not tell of */
    bool closing;
    char hostaddr[INET6_ADDRSTRLEN];
    struct server_key *key_source; /* while it logs in: proxy_server_key.c */
    uint32_t cancel_pid;
    uint32_t cancel_secret;
    bool has_key; /* the two above are known */
};
TAILQ_HEAD(server_list, server);

/* ---- pools ---- */

/* One worker's part of a pool: connections to one node. */
struct pool {
    struct group *group;
    struct shared_pool *shared;
    uint8_t node;
    struct server_list idle;   /* newest first */
    struct server_list others; /* every other state */
    uint32_t idle_count, active_count, opening_count, warming_count, resetting_count;
    uint32_t failures_row; /* of connection attempts */
    uint64_t retry_at_ns;
    uint64_t failed_ns; /* when the last of them failed, under this configuration */
    const struct config *failed_config;
    bool refused;           /* by the server, for good: until retry_at_ns nobody waits */
    uint64_t defaults_ns;   /* older connections began with other defaults: used no more */
    uint64_t defaults_for;  /* the change that its node has heard of */
    uint64_t asked_room_ns; /* when other workers were last asked to make room */
    char error_sqlstate[6]; /* of the last failed attempt, "" when the server said nothing */
    char error_message[256];
};

/* Of a client's own log-in, in base64, for a server that has the same secret. */
struct scram_keys {
    char client[48], server[48];
};

/* All pools of one (database section, database name, user). */
struct group {
    struct core_group core;
    TAILQ_ENTRY(group) link;
    TAILQ_ENTRY(group) dirty_link;
    TAILQ_ENTRY(group) waiting_link; /* while somebody waits in it */
    struct worker *worker;
    uint32_t database;              /* index of its section */
    bool dirty;                     /* to be matched in this loop turn */
    struct shared_catalog *catalog; /* of its database; NULL: names are what their text shows */
    uint64_t defaults_version;      /* of its catalog, as this worker has looked at it */
    uint32_t waiting;
    uint32_t fallback_waiting; /* of them, reads that fell back */
    uint32_t clients;
    uint32_t users;   /* clients that name it, from their log-in to their last callback */
    uint64_t used_ns; /* when it was last in use */
    struct waitlist waiters;
    struct pool pools[CONFIG_NODES_MAX];
    char user[256];
    char client_database[256];
    char dbname[256]; /* at the servers */
    char server_user[256];
    const char *password;          /* towards the servers; NULL: none known */
    struct scram_keys *scram_keys; /* server_scram_keys; NULL: none known */
};
TAILQ_HEAD(group_list_head, group);

/* ---- the worker ---- */

LIST_HEAD(auth_list, auth);

struct worker {
    struct proxy *proxy;
    uint32_t index;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox mail;
    struct turns turns_of; /* the loop */
    uv_check_t check;
    uv_timer_t tick;
    uv_timer_t again; /* one shot, while clients wait and there are other workers */
    uv_timer_t pause; /* one shot, for the first of `unended` */
    struct core_worker core;
    struct topology_reader reader;
    struct router_topology topology; /* copied out of the published one */
    const struct config *config;
    uint64_t admission;
    struct outcomes outcomes; /* to the supervisor */
    uint64_t success_sent_ns[CONFIG_NODES_MAX];
    uint64_t alert_sent_ns[CONFIG_NODES_MAX];
    struct quiet quiet[CONFIG_NODES_MAX];
    TAILQ_HEAD(, cancel_job) cancels; /* under way or waiting for their turn: proxy_cancel.c */
    uint32_t cancels_count;
    uint32_t cancels_at[WORKER_CANCEL_LANES]; /* under way to a node; the last one: to peers */
    TAILQ_HEAD(, signal_ask) signals;         /* of this worker's clients: proxy_signal.c */
    TAILQ_HEAD(, signal_wait) signal_waits;
    uint64_t signals_serial;
    struct client_list clients;
    struct client_list logins;     /* oldest first */
    SSL_CTX *tls;                  /* what clients are offered; NULL: no TLS */
    struct client_list unended;    /* with a batch that has no end yet; oldest first */
    struct client_list handshakes; /* those that can go on; oldest first */
    struct client_list later;      /* those that have had their share of a turn; oldest first */
    uv_idle_t turns;               /* active while there are any of these */
    uint32_t tls_keepers;          /* clients whose SSL keeps its buffers */
    struct group_list_head groups;
    struct group_list_head dirty;
    struct group_list_head waiting;   /* those in which somebody waits */
    uint32_t pin_waiters;             /* ... for others to let their connections go */
    struct client **slots;            /* by cancel key; the first stays empty */
    uint32_t slots_count, slots_free; /* slots_free: where to look first for a free one */
    uint64_t turns_ended; /* of the loop; released to who frees what this worker may have seen */
    uint32_t servers_count, clients_count;
    uint64_t spooled; /* bytes that clients have not taken */
    uint64_t dealt;   /* clients given to this worker; the supervisor's */
    uint64_t next_server_id;
    uint64_t timeouts_looked_ns; /* when clients were last looked at */
    uint8_t *scratch;            /* one read */
    uint8_t *gather;             /* one record: TLS_RECORD_SIZE */
    struct auth_asks *asks;      /* what servers said of users, and connections; or NULL */
    struct auth_list looking;    /* log-ins that wait for a look at the defaults: proxy_look.h */
    struct catalogs *catalogs;   /* what databases' names stand for: proxy_catalog.c */
    struct hosts *hosts;         /* names of addresses; NULL: no line asked for one yet */
    bool auth_seen_md5;          /* its last secret was not one of SCRAM */
    bool auth_seen_clear;        /* ... and in clear text */
    bool stopping, stop_now, stopped;
    bool stop_patient;     /* until the last client has left by itself */
    bool topology_changed; /* who may be chosen changed: waiters decide again */
    bool topology_fresher; /* new evidence: warming connections may be vouched for */
    struct mail_stop *stop_mail;
    struct core_database databases[CONFIG_DATABASES_MAX];
    struct stats_worker stats CK_CC_CACHELINE;
    struct stats_database *database_stats; /* one a section */
};

/* Starts and stops; the supervisor's thread. 0 or a libuv error. */
int worker_start(struct worker *w, struct proxy *p, uint32_t index);
void worker_join(struct worker *w);
bool worker_post(struct proxy *p, uint32_t worker, struct mail *mail);
void workers_wake(struct proxy *p);

/* Readers in any thread; relaxed. */
const struct stats_worker *worker_stats(const struct proxy *p, uint32_t worker);
const struct stats_database *worker_database_stats(const struct proxy *p, uint32_t worker,
                                                   uint32_t database);

/* ---- between the files of the worker; its own thread ---- */

/* proxy_worker.c */
void worker_topology_refresh(struct worker *w);
void worker_outcome(struct worker *w, const struct outcome_record *record);
void worker_want_probe(struct worker *w);
/* Executes what a step asked for; c may be NULL when no client is concerned. */
void worker_apply(struct worker *w, struct client *c, struct core_actions *a, uint64_t now_ns);
void worker_groups_tick(struct worker *w, uint64_t now_ns);
/* Made when it is not there. worker_groups_tick() takes it out when nobody has used it for a while,
 * with its pools. */
struct group *worker_group(struct worker *w, uint32_t database, const char *client_database,
                           const char *user);

/* proxy_client.c */
void client_open(struct worker *w, struct mail_client *mail);
void client_write(struct client *c, struct core_sink *sink);
void client_close(struct client *c, const char *why);
void client_close_after_flush(struct client *c);
void client_forget_pin(struct client *c); /* the gauges count its pin no more */
/* These are its last words, whether it waits for a connection or not; they may still be on their
 * way to it. */
void client_end(struct client *c, const struct proto_error_text *error);
/* ... by an administrator's command, or another session's: it is gone after this. */
void client_terminate(struct client *c);
void client_events_update(struct client *c);
/* Is what it has not taken so little that its connection need not wait for it? */
bool client_is_spooled(const struct client *c);
void client_readable(struct client *c);
void client_hand_to_admin(struct client *c);
void client_logged_in(struct client *c);
void client_address_text(const struct client *c, char *buf, size_t buf_size);

/* proxy_timeouts.c */
void clients_tick(struct worker *w, uint64_t now_ns);
/* Its bytes end in a batch without Sync or Flush: that begins after some milliseconds of silence.
 */
void client_unended(struct client *c, uint64_t now_ns);
void client_forget_unended(struct client *c);

/* proxy_server.c */
void server_open(struct pool *pool, uint64_t now_ns);
void server_open_for(struct pool *pool, struct client *owner, uint64_t now_ns);
void server_write(struct server *v, struct core_sink *sink);
void server_close(struct server *v, const char *why);
void server_lost(struct server *v, const char *why); /* its client is told, or replayed */
void server_drop(struct server *v);                  /* belongs to no worker: the proxy ends */
void server_events_update(struct server *v);
bool server_watch(struct server *v); /* registers with its worker's loop */
void server_unwatch(struct server *v);
void server_connect_timeout(struct server *v);

/* Its node is out of use, or no longer: how long the kernel waits for what is under way. */
void server_line(struct server *v, bool is_out);
/* Its client is gone: waits until nothing is outstanding, then the pool resets it. */
void server_drain(struct server *v, bool cancels, uint64_t now_ns);
void server_drain_tick(struct server *v, uint64_t now_ns);

/* proxy_replication.c */
void replication_open(struct worker *w, struct client *c, uint64_t now_ns);
struct libpq_keywords; /* proxy_libpq.h */
void replication_keywords(const struct server *v, struct libpq_keywords *k);
void replication_connected(struct server *v, uint64_t now_ns);
void replication_failed(struct server *v, const char *sqlstate,
                        const char *message); /* v is gone */
void replication_forget(struct client *c);    /* the client leaves */

/* The cancel request has ended, or was given up and may still come (may_come). */
void server_cancel_ended(struct server *v, bool may_come, uint64_t now_ns);

/* proxy_cancel.c: what runs there is to be cancelled; one request is under way at a time. */
void server_cancel(struct server *v);

/* proxy_pool.c */
void pool_init(struct pool *pool, struct group *g, uint8_t node);
void pool_want(struct worker *w, struct client *c, uint64_t now_ns);
void pool_forget_waiter(struct client *c);
/* It waits for a connection of a database that is paused: for RESUME. */
bool pool_holds_back(const struct client *c);
void pool_release(struct worker *w, struct server *v, uint64_t now_ns);
void pool_opened(struct server *v, uint64_t now_ns);
void pool_open_failed(struct pool *pool, const char *sqlstate, const char *message,
                      uint64_t now_ns);
void pool_gone(struct server *v); /* its connection has ended: the budget is free */
void pool_take_backend(struct worker *w, struct server *v);
void pool_steal(struct worker *w, const struct shared_pool *shared, uint32_t thief);
void pools_match(struct worker *w, uint64_t now_ns);
/* While somebody waits for a pin: are there any left? */
void pools_pins(struct worker *w, uint64_t now_ns);
void pools_topology_changed(struct worker *w, uint64_t now_ns);
void pools_tick(struct worker *w, uint64_t now_ns);
void pools_warm(struct worker *w, uint64_t now_ns);
void pool_move(struct server *v, enum server_state state, uint64_t now_ns);
void pool_mark_dirty(struct group *g); /* its waiters are matched in this loop turn */

/* proxy_orders.c */
/* PAUSE and RECONNECT: closes what they mean and nobody uses. */
void pools_obey(struct worker *w);
/* A statement that wants nobody to be connected to a database that it names is about to be sent:
 * connections of all workers to such a database are given up once unused, as after RECONNECT. */
void pools_make_way(struct worker *w, struct proto_span text, uint64_t now_ns);
/* Carries it out and sends it back. */
void worker_order(struct worker *w, struct mail_order *mail);

/* proxy_snapshot.c */
void worker_snapshot(struct worker *w, struct mail_snapshot *mail);

struct mail_backend {
    struct mail mail;
    struct server *server;
};

struct mail_steal {
    struct mail mail;
    const struct shared_pool *pool;
    uint32_t thief;
};

/* proxy_crypto.c */
extern const struct proto_hashes proxy_hashes;
void proxy_random(void *buf, size_t size);

#endif
