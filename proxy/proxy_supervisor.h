/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_supervisor: the main thread. Accepts, reads configuration and signals, probes nodes, steps
 * breakers, publishes topologies, serves the admin console and HTTP. All of it on one uv_loop.
 */
#ifndef PROXY_SUPERVISOR_H
#define PROXY_SUPERVISOR_H

#include "breaker_outcome.h"
#include "proxy_shared.h"

/* One node as the supervisor knows it. Written by proxy_probe.c and the outcome path only. */
struct node_state {
    struct breaker breaker;
    struct breaker_gate gate;
    enum router_role role;
    bool drained;
    bool lag_hard;
    bool receiver_up, replay_paused;
    uint64_t fresh_as_of_ns; /* 0: unknown */
    uint64_t evidence_ns;
    uint64_t stands_ns;    /* no primary answers, and it has replayed most: it is taken for fresh as
                              of then; 0: it is not */
    uint64_t received_lsn; /* replica: of its receiver, as far as is known */
    uint64_t probed_ns;    /* when the last probe was answered; 0: never */
    uint64_t answered_ns;  /* when it was sent, if its answer was taken; 0: none was */
    uint64_t served_ns;    /* when a client's statement was last answered; 0: never */
    uint64_t lsn;          /* primary: insert LSN (normalised); replica: replay LSN */
    uint64_t lag_bytes;
    uint32_t timeline;
    char system_identifier[24];
    char postmaster_start[40];
    char last_error[160]; /* of the last failed probe, "" after a good one */
    uint64_t probes, probes_failed;
    uint64_t voided;     /* how often fresh_as_of was voided */
    uint64_t faults[4];  /* outcomes taken: success, neutral, failure, fatal */
    struct probe *probe; /* proxy_probe.c */
};

struct supervisor {
    struct proxy *proxy;
    uv_loop_t *loop;
    struct mailbox mail;
    struct node_state nodes[CONFIG_NODES_MAX];
    uint32_t nodes_count;
    uint64_t generation;
    uint64_t admission;
    struct probes *probes;   /* proxy_probe.c */
    struct state *state;     /* proxy_state.c */
    struct admin *admin;     /* proxy_admin.c */
    struct http *http;       /* proxy_http.c */
    const char *config_path; /* NULL: environment */
    char admin_socket[108];  /* path of the socket, "" when there is none */
    struct listener *listeners;
    bool stopping;
    uint64_t reloads, reloads_failed;
};

/* What the file remembers of a shard is forgotten: whoever is a primary now is believed. */
bool probes_forget(struct supervisor *s, const char *shard, char *error);

/* ---- proxy_probe.c: roles, lag, freshness, breakers ---- */

/* Starts probing every node of the config. 0 or a libuv error. */
int probes_start(struct supervisor *s);
/* Something changed that workers should see: builds and publishes a topology. */
void probes_publish(struct supervisor *s, bool admission_changed);
/* A node (or all, ROUTER_NODE_NONE) as soon as the rate limit allows. */
void probes_wanted(struct supervisor *s, uint8_t node);
/* Takes one outcome of a worker. */
void probes_outcome(struct supervisor *s, const struct outcome_record *record);
/* What clients met of a node that one of them may have made itself, and the second looks. */
struct probes_evidence {
    uint64_t alerts;
    uint64_t suspicions[BREAKER_SUSPICION_COUNT];
    uint64_t witnesses_good, witnesses_bad;
};
struct probes_evidence probes_evidence(const struct supervisor *s, uint32_t node);
void probes_config_changed(struct supervisor *s);
void probes_stop(struct supervisor *s);
/* Has no primary of the shard answered for a while? */
bool probes_primary_is_gone(const struct supervisor *s, uint32_t shard);
/* Lag now, in nanoseconds; UINT64_MAX: unknown. */
uint64_t probes_lag_ns(const struct node_state *n, uint64_t now_ns);

/* ---- commands, for the admin console (proxy_supervisor.c) ---- */

/* True: done. False: `error` (256 bytes) says why not. */
bool supervisor_breaker(struct supervisor *s, const char *node, enum breaker_override override,
                        char *error);
bool supervisor_drain(struct supervisor *s, const char *node, bool drained, char *error);
bool supervisor_reads(struct supervisor *s, const char *database, enum router_reads reads,
                      char *error);
bool supervisor_reload(struct supervisor *s, char *error, size_t error_size);
/* Until the next reload. `key` as in [switchgear], or section.key. */
bool supervisor_set(struct supervisor *s, const char *key, const char *value, char *error,
                    size_t error_size);
/* how: 0 waits for transactions (shutdown_timeout), 1 at once, 2 waits for clients to leave. */
void supervisor_shutdown(struct supervisor *s, int how);

/* ---- proxy_admin.c ---- */

int admin_start(struct supervisor *s);
/* Takes the mail and its descriptor. */
void admin_take_client(struct supervisor *s, struct mail_admin_client *mail);
/* Takes the mail: an order that a worker has carried out. */
void admin_take_order(struct supervisor *s, struct mail_order *mail);
/* Takes the mail: an answered snapshot. */
void admin_take_snapshot(struct supervisor *s, struct mail_snapshot *mail);
void admin_stop(struct supervisor *s);

/* ---- proxy_http.c ---- */

int http_start(struct supervisor *s);
void http_stop(struct supervisor *s);

#endif
