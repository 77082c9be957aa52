/* SPDX-License-Identifier: PostgreSQL
 *
 * sim: a whole session core among simulated clients, servers and a pool, driven by one seed.
 *
 * There is no socket and no clock: each step one of the things that may happen next happens, chosen
 * by the seed, and time moves a little. Bytes lie in queues between the parties and are delivered
 * in pieces of any size. What each client must get is worked out when its script is made.
 */
#ifndef SIM_H
#define SIM_H

#include "core.h"

enum {
    SIM_CLIENTS_MAX = 12,
    SIM_NODES = 3,            /* node 0 is the primary */
    SIM_CONNS_MAX = 24,       /* server connections, all nodes together */
    SIM_STATEMENTS_MAX = 96,  /* of one client */
    SIM_STATEMENT_MAX = 3000, /* limit of the core under test: longer ones are streamed */
    SIM_NAMES = 3,            /* prepared statements that a client names: "a", "b", "c" */
    SIM_PORTALS = 4,          /* of one connection */
    SIM_VALUE_SIZE = 24,
    SIM_TABLES = 2,    /* names of a client's that read the table that changes */
    SIM_VERSIONS = 64, /* of it */
};

/* A queue of bytes. */
struct sim_queue {
    uint8_t *base;
    size_t start, size, capacity;
};
void sim_queue_add(struct sim_queue *q, const void *bytes, size_t size);
void sim_queue_drop(struct sim_queue *q, size_t size);
void sim_queue_clear(struct sim_queue *q);
static inline size_t sim_queue_size(const struct sim_queue *q)
{
    return q->size - q->start;
}
static inline struct proto_span sim_queue_span(const struct sim_queue *q)
{
    return (struct proto_span){.base = q->base != NULL ? q->base + q->start : NULL,
                               .size = q->size - q->start};
}

/* ---- SQL as far as the simulation speaks it (sim_sql.c) ---- */

enum sim_kind {
    SIM_READ,  /* one row: its tag */
    SIM_ROWS,  /* many rows */
    SIM_PREAD, /* one row: its parameter */
    SIM_TABLE, /* ... and the shape of a table that changes: sim_table.c */
    SIM_LIAR,  /* looks like a read, and a standby refuses it */
    SIM_ERROR, /* fails */
    SIM_WRITE,
    SIM_PWRITE,   /* what is written is its parameter */
    SIM_FUNCTION, /* a row and a write */
    SIM_CALL,     /* FunctionCall, that writes */
    SIM_BEGIN,
    SIM_BEGIN_READ_ONLY,
    SIM_COMMIT,
    SIM_ROLLBACK,
    SIM_SAVEPOINT,
    SIM_ROLLBACK_TO,
    SIM_SET,
    SIM_SET_PATH, /* a setting on which it depends what a statement means */
    SIM_SET_LOCAL,
    SIM_SET_APPLICATION, /* one that the start-up packet may have brought along */
    SIM_RESET,
    SIM_RESET_APPLICATION,
    SIM_RESET_ALL,
    SIM_SHOW,
    SIM_SHOW_APPLICATION,
    SIM_DISCARD,
    SIM_LOCK,     /* they are counted, and held by the connection; a row says how many */
    SIM_TRY_LOCK, /* got by every other statement */
    SIM_UNLOCK,
    SIM_EXECUTE, /* by SQL, of a statement that was prepared by the protocol */
    SIM_COPY_IN,
    SIM_COPY_OUT,
    SIM_EMPTY,
    SIM_SETTINGS,   /* what the proxy sends by itself */
    SIM_SET_CONFIG, /* ... and that has a row */
    SIM_QUESTION,   /* ... to know whether what pins is still there */
    SIM_SIGNAL,     /* of another client's number: what comes of it says sim_signal_of() */
    SIM_GARBAGE,    /* a syntax error, provoked by the proxy */
};

static inline bool sim_is_lock(enum sim_kind kind)
{
    return kind >= SIM_LOCK && kind <= SIM_UNLOCK;
}
static inline bool sim_has_rows(enum sim_kind kind)
{
    return kind <= SIM_LIAR || kind == SIM_FUNCTION || kind == SIM_SHOW ||
           kind == SIM_SHOW_APPLICATION || sim_is_lock(kind) || kind == SIM_SET_CONFIG ||
           kind == SIM_SIGNAL;
}
static inline bool sim_is_setting(enum sim_kind kind)
{
    return kind == SIM_SETTINGS || kind == SIM_SET_CONFIG;
}
/* How many there are behind it. */
static inline uint32_t sim_locks(uint32_t locks, enum sim_kind kind, int number)
{
    if (kind == SIM_UNLOCK)
        return locks > 0 ? locks - 1 : 0;
    return kind == SIM_LOCK || number % 2 == 0 ? locks + 1 : locks;
}

enum { SIM_SIGNAL_PID = 5000000, SIM_SIGNALS = 3 };
static inline enum core_signal sim_signal_of(int number)
{
    return number % SIM_SIGNALS == 0   ? CORE_SIGNAL_DONE
           : number % SIM_SIGNALS == 1 ? CORE_SIGNAL_DENIED
                                       : CORE_SIGNAL_NOBODY; /* the server answers */
}

struct sim_sql {
    enum sim_kind kind;
    int client; /* whose it is; -1: the text does not say */
    int number;
};
struct sim_sql sim_sql_read(struct proto_span text);
/* Takes the first statement off a text. */
void sim_sql_split(struct proto_span *text, struct proto_span *ret);
bool sim_tag_read(struct proto_span text, int *ret_client, int *ret_number);
/* The text of one; `pad` makes it longer by a comment. */
size_t sim_sql_write(enum sim_kind kind, int client, int number, size_t pad, char *buf,
                     size_t buf_size);

/* What a session has set; "" is the server's own. */
struct sim_settings {
    char work_mem[SIM_VALUE_SIZE];
    char path[SIM_VALUE_SIZE];
    char path_session[SIM_VALUE_SIZE]; /* without SET LOCAL */
    char application[SIM_VALUE_SIZE];
};
/* What a statement does to them; `start`: what RESET goes back to. False: nothing. */
bool sim_settings_apply(struct sim_settings *s, enum sim_kind kind, const char *value,
                        const char *start);
void sim_settings_end(struct sim_settings *s);                      /* of a transaction */
void sim_reply_application(struct sim_queue *q, const char *value); /* ParameterStatus */

enum { SIM_SAVEPOINTS = 8 };
struct sim_savepoint {
    struct sim_settings settings;
    uint32_t pending_count;
};

/* Replies, made the same way by the servers and by those who know what must come. */
void sim_reply_columns(struct sim_queue *q);
void sim_reply_question(struct sim_queue *q, bool locks);
void sim_reply_row(struct sim_queue *q, const char *value, size_t pad);
void sim_reply_tag(struct sim_queue *q, const char *tag);
void sim_reply_ready(struct sim_queue *q, uint8_t status);
void sim_reply_plain(struct sim_queue *q, char type);
void sim_reply_parameters(struct sim_queue *q, bool one);
void sim_reply_copy(struct sim_queue *q, char type);
void sim_reply_copy_data(struct sim_queue *q, const char *text);
void sim_reply_error(struct sim_queue *q, const char *severity, const char *sqlstate,
                     const char *message, const char *routine);
/* All messages of a statement's result, but for errors. */
void sim_reply_result(struct sim_queue *q, struct sim_sql sql, const char *value, bool columns);
/* Up to `rows` rows from *position on (0: all), and the end of the result when that was reached.
 * False: it was not. */
bool sim_reply_part(struct sim_queue *q, struct sim_sql sql, const char *value, uint32_t *position,
                    uint32_t rows);

/* ---- a server connection (sim_server.c) ---- */

struct sim_statement {
    bool used;
    bool named;
    char name[64];
    char text[128];            /* its beginning */
    char path[SIM_VALUE_SIZE]; /* under which it was parsed */
    uint32_t batch;            /* ... in this one */
    uint8_t shape;             /* of the table, that it was planned for */
};

struct sim_portal {
    bool used;
    bool started;
    bool done;
    char name[16];
    struct sim_sql sql;
    char value[SIM_VALUE_SIZE];
    char shown[SIM_VALUE_SIZE]; /* by its rows */
    char text[128];             /* of its statement */
    uint32_t position;          /* rows that were given */
    uint8_t shape;
};

struct sim_conn {
    bool open;
    bool dead; /* the server is gone; what lies in `out` is all that will come */
    bool said; /* something to its client, since it was granted */
    bool closed_by_proxy;
    bool pooled;
    bool resetting;
    bool draining; /* its client is gone, replies are outstanding */
    uint8_t node;
    int owner; /* client that it served last */
    struct core_backend core;
    struct sim_queue in;  /* from the proxy, not read yet */
    struct sim_queue got; /* read, not a whole message yet */
    struct sim_queue out; /* to the proxy */
    uint8_t status;
    bool read_only;
    bool skipping;
    bool copy_in, copy_extended, copy_bad;
    bool slow;      /* a statement runs that is not over at once */
    bool slow_over; /* ... now it is */
    bool cancelled; /* ... as a cancel has arrived */
    bool cancel_sent;
    int cancel_for; /* the client that asked for it */
    struct sim_sql copy;
    struct sim_statement statements[64];
    struct sim_portal portals[SIM_PORTALS + 1]; /* one of the proxy's own */
    size_t errors;
    char reported[SIM_VALUE_SIZE]; /* application_name, as it has told it last */
    uint32_t batches;              /* that have ended */
    struct sim_settings now, committed;
    uint32_t locks;
    struct sim_savepoint savepoints[SIM_SAVEPOINTS];
    uint32_t savepoints_count;
    struct sim_sql pending[SIM_STATEMENTS_MAX];
    uint32_t pending_count;
};
void sim_server_start(struct sim_conn *c, uint8_t node);
/* Reads up to `size` bytes of what was sent to it and answers whole messages. */
void sim_server_read(struct sim_conn *c, size_t size);
void sim_server_die(struct sim_conn *c);
void sim_server_copy_ends(struct sim_conn *c);

/* ---- a client (sim_client.c) ---- */

/* What a script sends at once and what must come back. */
struct sim_unit {
    uint32_t sent_end;     /* in script */
    uint32_t expected_end; /* in expected */
    bool wait_before;      /* all replies must be in before it is sent */
    bool refusable;        /* failing it as a whole changes nothing for what follows */
    uint32_t version;      /* of the table that changes, at the oldest node when it was sent */
    uint8_t tables; /* that it reads by what it was told, a bit each; then: by a description */
    int block_end;  /* the unit that ends its block, where failing it fails that; else 0 */
};

struct sim_write {
    bool made;
    int commit_unit; /* whose last reply says that it is durable; -1: never */
    int statement_unit;
    uint32_t commits;
    bool refused;
    bool any;   /* nobody knows what has become of it */
    bool shaky; /* a table that has changed may have it fail */
};

struct sim_client {
    int index;
    bool open;
    bool finished; /* got all that it waited for */
    bool lost;     /* a FATAL, or closed */
    bool goodbye;  /* it has said Terminate and closed: what it sent is to be run all the same */
    bool lingers;  /* ... and the shell has seen its end */
    bool logged_in;
    bool waiting;
    bool settle;
    bool unended;  /* the core has said so */
    int signal;    /* the number that it has asked for */
    bool tired;    /* likewise: it goes on when others were served */
    int cut_until; /* units up to this one may have begun without their end */
    bool eventual;
    bool refusable; /* nothing in its script depends on what came before */
    bool wild;      /* its messages come in any order */
    int cancels_asked, cancels_seen;
    int window; /* units that may be under way at once */
    uint64_t waits_since;
    struct core_session core;
    struct sim_queue script;
    struct sim_queue expected;
    struct sim_unit units[SIM_STATEMENTS_MAX];
    int units_count;
    int units_sent;
    int units_done;
    int failed_until; /* its block was refused: nothing of it runs up to the end of this unit */
    int adrift_until; /* its BEGIN was cancelled: what comes runs by itself up to this unit */
    bool has_rows;    /* of the unit that is being answered: it may not be refused any more */
    size_t script_pos;
    size_t expected_pos;
    struct sim_queue to_core;
    struct sim_queue to_client;
    struct sim_queue received;
    char application[SIM_VALUE_SIZE];
    struct sim_settings settings[SIM_STATEMENTS_MAX]; /* under which each must run */
    struct sim_write writes[SIM_STATEMENTS_MAX];
    char told[SIM_VALUE_SIZE]; /* application_name by ParameterStatus */
    struct sim_ready {
        size_t position; /* in expected */
        char application[SIM_VALUE_SIZE];
    } readies[2 * SIM_STATEMENTS_MAX];
    int readies_count;
    struct sim_table {
        uint8_t told;     /* its shape */
        uint8_t prepared; /* ... when it was prepared */
        uint32_t since;   /* the oldest node was of this version, or a newer one */
    } tables[SIM_TABLES];
    uint64_t last_commit_ns;              /* of any write of this client */
    uint64_t seen_ns;                     /* newest position of a replica that it has seen */
    uint64_t read_ns[SIM_STATEMENTS_MAX]; /* where the replica was when the statement ran there */
    int numbers;
};
void sim_client_start(struct sim_client *c, int index);
/* Fills script, expected and units (sim_script.c). */
void sim_script_make(struct sim_client *c, int units);
void sim_client_send(struct sim_client *c);
/* Looks at what has been received. */
void sim_client_check(struct sim_client *c);
void sim_client_audit(const struct sim_client *c); /* at the end */
void sim_client_free(struct sim_client *c);

/* ---- everything (sim.c) ---- */

struct sim_node {
    bool up;
    uint64_t position_ns; /* every commit until then is visible */
    uint32_t conns;
};

/* Which of the client's names that statement executes: "a" is 0. */
static inline int sim_executes(int number)
{
    return number % SIM_NAMES;
}

enum sim_break {
    SIM_INTACT,
    SIM_BREAK_SWAP,
    SIM_BREAK_TWICE,
    SIM_BREAK_STALE,
    SIM_BREAK_CANCEL,   /* a connection is used again before its cancel has come */
    SIM_BREAK_TOLD,     /* a ParameterStatus is lost */
    SIM_BREAK_SETTINGS, /* settings that are made again are not */
    SIM_BREAK_SHAPE,    /* what a client was told of its statements is forgotten */
    SIM_BREAKS
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ns;
    uint64_t step;
    bool faults;
    uint32_t fault_percent;
    bool vanish;
    bool refuse;
    bool cancels;
    bool small_keep; /* most batches are too large to be replayed */
    bool alters;
    bool quiet; /* faults are over: everything must come to its end */
    enum sim_break broken;
    int clients_count;
    struct core_worker worker;
    struct router_topology topology;
    struct core_database database;
    struct core_group group;
    uint8_t reads;
    struct sim_node nodes[SIM_NODES];
    struct sim_client clients[SIM_CLIENTS_MAX];
    struct sim_conn conns[SIM_CONNS_MAX];
    int waiters[SIM_CLIENTS_MAX];
    int waiters_count;
    uint32_t budget;
    uint32_t version; /* of the table that changes */
    uint64_t altered_ns[SIM_VERSIONS];
};
extern struct sim sim;

/* ---- the shell (sim_shell.c) ---- */

/* Carries out one step's actions and those of the steps that it calls for. */
void sim_execute(struct sim_client *client, struct core_actions *a);
/* What it was too tired for. */
void sim_client_goes_on(struct sim_client *c);
void sim_client_close(struct sim_client *c);
void sim_conn_free(struct sim_conn *c);
/* An idle connection to the node, or a new one; NULL: the budget is used up. */
struct sim_conn *sim_conn_find(uint8_t node);
/* Back to the pool, after a reset where one is needed. */
void sim_pool_put(struct sim_conn *c, bool client_gone);
void sim_wait_remove(struct sim_client *c);
/* Something came to a connection that serves nobody: what it is good for now. */
void sim_unattended(struct sim_conn *c);

/* ---- cancel requests (sim_cancel.c) ---- */

void sim_cancel_ask(struct sim_client *c);
void sim_cancel_send(struct sim_conn *c, int client);
void sim_cancel_arrive(struct sim_conn *c);
/* Does this statement take its time? */
bool sim_cancel_is_slow(struct sim_conn *c, enum sim_kind kind);

/* ---- a table that changes (sim_table.c) ---- */

void sim_table_alter(void); /* now and then */
uint8_t sim_table_shape(uint32_t node);
uint32_t sim_table_oldest(void); /* version of a node */
void sim_table_describe(struct sim_queue *q, uint8_t shape, bool parameters);
/* A description or a row of it came; `want`: where that was expected. */
void sim_table_got(struct sim_client *c, struct proto_span got, struct proto_span want);
/* May what is being answered fail because the table has changed? */
bool sim_table_refuses(const struct sim_client *c);

/* ---- chance, and what is wrong ---- */

uint64_t sim_random(void);
/* [0, below) */
uint32_t sim_below(uint32_t below);
static inline bool sim_chance(uint32_t percent)
{
    return sim_below(100) < percent;
}
/* `sim SEED STEPS CLIENT` tells what that client and its servers say. */
void sim_trace(int client, const char *who, struct proto_span bytes);
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
