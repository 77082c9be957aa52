/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_internal: between the files of the admin console. All on the supervisor's thread.
 *
 *   proxy_admin.c          sockets: takes clients, reads, writes, closes; waits for snapshots
 *   proxy_admin_session.c  the protocol: messages in, answers out
 *   proxy_admin_run.c      one command
 *   proxy_admin_control.c  those that pause, kill and wait
 *   proxy_admin_show*.c    SHOW: one function a table
 */
#ifndef PROXY_ADMIN_INTERNAL_H
#define PROXY_ADMIN_INTERNAL_H

#include <openssl/ssl.h>
#include <sys/queue.h>

#include "proxy_admin_command.h"
#include "proxy_sum.h"
#include "proxy_supervisor.h"
#include "proxy_table.h"

enum {
    ADMIN_CLIENTS_MAX = 256,
    ADMIN_IN_SIZE = 64 * 1024,    /* a longer message ends the connection */
    ADMIN_OUT_HIGH = 1024 * 1024, /* unsent bytes beyond which no further message is taken */
    ADMIN_STATEMENTS_MAX = 64,    /* prepared ones, and as many portals, a client */
    ADMIN_STATEMENT_NAME_SIZE = 64,
    ADMIN_SNAPSHOT_TIMEOUT_MS = 2000,
    ADMIN_SAMPLE_MS = 60 * 1000, /* PgBouncer's stats_period */
};

/* A prepared statement, or a portal: here that is the same. */
struct admin_statement {
    char name[ADMIN_STATEMENT_NAME_SIZE];
    char *text; /* owned; NULL: the place is free */
    size_t size;
};

/* Rows that workers describe; a command that needs them is suspended until they are here. */
struct admin_snapshot {
    uint64_t request_id; /* 0: none asked for */
    uint32_t asked, answered;
    bool ready; /* the command may go on */
    struct snapshot_row *rows;
    uint32_t rows_count;
};

/* A command that waits for pools or workers (proxy_admin_control.c). */
struct admin_wait {
    bool began;
    uint64_t request_id; /* 0: no worker was asked */
    uint32_t asked;      /* that have not answered */
    uint64_t count;      /* sum of the answers */
};

struct admin_client {
    LIST_ENTRY(admin_client) link;
    struct admin *admin;
    uv_poll_t poll;
    uv_timer_t timer;
    uint32_t open_handles;
    int fd;
    SSL *ssl;    /* NULL: plain */
    bool unread; /* it has bytes that the descriptor does not tell of */
    int events;  /* armed in poll */
    bool may_change;
    bool in_block;  /* a BEGIN was answered; nothing depends on it */
    bool skipping;  /* after an error: drop everything up to Sync */
    bool suspended; /* the message at the front of `in` waits for a snapshot */
    bool closing;
    bool close_after_flush;
    bool shutdown_wanted; /* once the answer is out */
    uint8_t shutdown;     /* enum admin_shutdown */
    uint64_t id;
    uint64_t connected_s;
    uint16_t port;
    char user[64], database[64], application[64], address[64];
    struct admin_snapshot snapshot;
    struct admin_wait wait;
    struct admin_statement statements[ADMIN_STATEMENTS_MAX];
    struct admin_statement portals[ADMIN_STATEMENTS_MAX];
    size_t query_done; /* bytes of the simple Query at the front that have been run */
    uint32_t query_commands;
    struct text out;
    size_t out_sent;
    size_t in_size;
    uint8_t in[ADMIN_IN_SIZE];
};

/* Totals at one moment, for averages. */
struct admin_sample {
    uint64_t at_ns;
    struct stats_database databases[CONFIG_DATABASES_MAX];
};

struct admin {
    struct supervisor *supervisor;
    LIST_HEAD(, admin_client) clients;
    uint32_t clients_count;
    uint64_t next_id;
    uint64_t next_request_id;
    bool stopping;
    bool timer_closed;
    uv_timer_t sample_timer;
    struct admin_sample *older, *newer; /* averages are from `older` to now */
};

/* ---- proxy_admin.c ---- */

/* The client is not suspended any more: its command is run again. */
void admin_go_on(struct admin_client *c);
/* Asks every worker. The client is suspended until all have answered or time is up. */
void admin_snapshot_request(struct admin_client *c, bool clients, bool servers);
void admin_snapshot_forget(struct admin_client *c);

/* ---- proxy_admin_session.c ---- */

/* What a client gets that has proven who it is: AuthenticationOk and what follows. */
void admin_session_welcome(struct admin_client *c);
/* Handles whole messages in `in` until there is none, or the client is suspended or closing. */
void admin_session_process(struct admin_client *c);
void admin_session_deinit(struct admin_client *c);
void admin_error(struct admin_client *c, const char *severity, const char *sqlstate,
                 const char *message, const char *hint);

/* ---- proxy_admin_run.c ---- */

enum admin_result { ADMIN_DONE, ADMIN_FAILED, ADMIN_SUSPENDED };

/* Columns of its result, NULL when it returns none. */
const char *admin_columns(const struct admin_command *command);
/* Rows and CommandComplete, or an error, are appended to c->out. `describe`: with a
 * RowDescription. ADMIN_SUSPENDED: nothing was written; call again when the client goes on. */
enum admin_result admin_run(struct admin_client *c, const struct admin_command *command,
                            bool describe);

/* Logs a command that changed something, or failed to, and answers it. */
enum admin_result admin_changed(struct admin_client *c, bool ok, const char *tag,
                                const char *detail, const char *error);

/* ---- proxy_admin_control.c ---- */

enum admin_result admin_control(struct admin_client *c, const struct admin_command *command);

/* ---- proxy_admin_show.c ---- */

struct admin_show_context {
    const struct admin *admin;
    struct supervisor *s;
    const struct proxy *proxy;
    const struct config *config;
    const struct snapshot_row *rows; /* of SHOW CLIENTS and the like */
    uint32_t rows_count;
    uint64_t now_ns;
    const char *argument; /* "": there is none */
};

struct admin_show {
    const char *name; /* in upper case */
    const char *help;
    const char *columns;
    void (*fill)(const struct admin_show_context *x, struct table *t);
    bool wants_clients, wants_servers;
};
/* NULL: there is no such thing to show. */
const struct admin_show *admin_show_find(const char *name);
/* All names, with a blank between each two. */
void admin_show_names(struct text *ret);
/* The value of a setting of PostgreSQL's that drivers ask for, or NULL. `name` in upper case. */
const char *admin_setting(const char *name);
const char *admin_pool_mode_text(int pool_mode);

/* proxy_admin_show_nodes.c */
void admin_show_nodes(const struct admin_show_context *x, struct table *t);
void admin_show_breakers(const struct admin_show_context *x, struct table *t);
void admin_show_routes(const struct admin_show_context *x, struct table *t);
void admin_show_pins(const struct admin_show_context *x, struct table *t);
void admin_show_consistency(const struct admin_show_context *x, struct table *t);

/* proxy_admin_show_pools.c */
void admin_show_pools(const struct admin_show_context *x, struct table *t);
void admin_show_databases(const struct admin_show_context *x, struct table *t);
void admin_show_lists(const struct admin_show_context *x, struct table *t);
void admin_show_workers(const struct admin_show_context *x, struct table *t);
void admin_show_users(const struct admin_show_context *x, struct table *t);
void admin_show_mem(const struct admin_show_context *x, struct table *t);
void admin_show_clients(const struct admin_show_context *x, struct table *t);
void admin_show_servers(const struct admin_show_context *x, struct table *t);
void admin_show_sockets(const struct admin_show_context *x, struct table *t);
void admin_show_active_sockets(const struct admin_show_context *x, struct table *t);

/* proxy_admin_show_stats.c */
void admin_show_stats(const struct admin_show_context *x, struct table *t);
void admin_show_stats_totals(const struct admin_show_context *x, struct table *t);
void admin_show_stats_averages(const struct admin_show_context *x, struct table *t);
void admin_show_totals(const struct admin_show_context *x, struct table *t);

/* proxy_admin_show_catalog.c */
void admin_show_catalog(const struct admin_show_context *x, struct table *t);
void admin_show_catalog_objects(const struct admin_show_context *x, struct table *t);

/* proxy_admin_show_config.c */
void admin_show_config(const struct admin_show_context *x, struct table *t);

#endif
