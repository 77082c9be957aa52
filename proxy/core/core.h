/* SPDX-License-Identifier: PostgreSQL
 *
 * core: the session core. Bytes of a client, bytes of a server, the time and a topology go in;
 * bytes for either side and wishes (want a backend, release it, close) come out.
 *
 * Pure: knows no socket, no clock, no thread, no libuv. Everything below belongs to one worker
 * thread; nothing is shared. Spans in a struct core_actions are borrowed: they point into the bytes
 * that were passed in, into the worker's scratch or into blocks, and are good until the next call.
 *
 * Invariants (asserted):
 *  - a backend serves at most one session at a time, and is released only when ReadyForQuery said
 *    'I', no reply is outstanding, no byte of either side is left half-way, everything is flushed
 *    to the client, no COPY runs and nothing pins it;
 *  - a batch that is not a read is never sent to a replica, but for the statements of a block that
 *    the client itself declared READ ONLY;
 *  - a write is never sent twice.
 */
#ifndef CORE_H
#define CORE_H

#include "breaker_outcome.h"
#include "proto_auth.h"
#include "proto_message.h"
#include "proto_startup.h"
#include "proto_write.h"
#include "router_cache.h"
#include "router_decide.h"

enum {
    CORE_SPANS_MAX = 256,
    CORE_SPANS_RESERVE = 16, /* one message never adds more */
    CORE_SCRATCH_SIZE = 256 * 1024,
    CORE_BLOCK_SIZE = 16 * 1024,
    CORE_COPY_MAX = 1024,      /* smaller pieces are copied together instead of getting a span */
    CORE_NAME_SIZE_MAX = 9000, /* of a client's statement or portal name; longer: 42622 */
    CORE_NAME_SIZE_TOLD = 63,  /* PostgreSQL tells statements apart by that much of their names */
    CORE_ID_WORKER_SHIFT = 48,
    CORE_BEGIN_SIZE_MAX = 4096, /* a longer BEGIN (a comment in it?) goes to the primary as it is */
    CORE_EXPECT_MAX = 16384,    /* replies outstanding on one backend; then the client waits */
    CORE_HOLD_UNPROVEN = 80 * 1024, /* bytes that somebody may send ahead who has proven nothing */
    CORE_CANCEL_KEY_SIZE = 4,       /* of a client that speaks protocol 3.0 */
    CORE_CANCEL_KEY_SIZE_MAX = 32,  /* ... 3.2 */
    CORE_PROTOCOL_MINOR = 2,        /* the newest that is spoken */
    CORE_HASHES_MAX = 4,            /* statements of one batch that can be learned from */
};

/* ---- memory: blocks borrowed from the worker ---- */

/* A growable run of bytes: [start, size) is in use. The base size comes from a free list. */
struct core_block {
    struct core_block *next;
    uint32_t start;
    uint32_t size;
    uint32_t capacity;
    _Alignas(8) uint8_t data[]; /* the unnamed statement's begins with a struct */
};

struct core_worker;
struct core_block *core_block_take(struct core_worker *w, uint32_t capacity);
/* The bytes stay readable until the next step begins: spans may still point at them. */
void core_block_give(struct core_worker *w, struct core_block **block);
/* The next step begins: nothing points any more at what was given back. */
void core_blocks_recycle(struct core_worker *w);
/* Appends, taking or growing the block as needed. */
void core_block_append(struct core_worker *w, struct core_block **block, struct proto_span bytes);
/* Drops `size` bytes at the front; gives the block back when nothing is left. */
void core_block_consume(struct core_worker *w, struct core_block **block, uint32_t size);
struct proto_span core_block_span(const struct core_block *block); /* NULL: empty */

/* ---- what a step asks of the shell ---- */

/* Bytes for one peer, in order. */
struct core_sink {
    struct proto_span spans[CORE_SPANS_MAX];
    uint32_t count;
    size_t size;
    uint8_t *scratch;
    size_t scratch_used;
};

enum core_close { CORE_KEEP, CORE_CLOSE_AFTER_FLUSH, CORE_CLOSE_NOW };

/* Executed by the shell in the order of the fields. */
struct core_actions {
    struct core_sink server;      /* to `backend` */
    struct core_sink client;      /* to the session's client */
    struct core_backend *backend; /* whom `server`, close_backend and release mean */
    uint8_t close_backend;        /* enum core_close: NOW means it is no longer to be trusted */
    bool cancel_backend;  /* with close_backend or drain: a statement runs that nobody waits for */
    bool drain;           /* detached, but replies are outstanding: feed them to core_server_data()
                             until core_backend_drained(), then core_backend_reset() it */
    bool release;         /* back to its pool; the session is detached already */
    bool settle;          /* once the client has taken everything: core_client_drained() */
    bool want_link;       /* replication: a backend of its own, then core_linked() */
    bool want;            /* a backend as of session->choice, then core_granted() */
    bool cancel_want;     /* withdrawn: the session waits for no backend any more */
    bool again;           /* call core_resume() after executing these */
    bool again_server;    /* call core_server_data() without new bytes */
    bool probe;           /* fresher evidence would help: ask the supervisor */
    uint8_t close_client; /* enum core_close */
    bool login_failed;    /* a FATAL ended its log-in ... */
    char login_sqlstate[6]; /* ... with this */
    bool login_done;        /* the client has just got its first ReadyForQuery */
    bool login_want_user;   /* look the user up, then core_login_user() */
    bool login_proven;      /* it is who it says it is: core_login_admit(), or hand it over */
    bool cancel_request;    /* core_login_cancel() says whom; the shell closes the connection */
    bool has_outcome;       /* for the breaker of `outcome_node` */
    bool start_tls;         /* what comes next from the client begins a handshake */
    uint8_t outcome_node;
    struct breaker_outcome outcome;
    uint32_t outcome_generation;
    uint64_t latency_ns; /* of the statement that ended here; 0: none ended */
    struct proto_span
        moves_database; /* the text of a DROP DATABASE or the like that leaves now: idle
                           connections to the databases that it names are in its way */
};

/* ---- prepared statements ---- */

enum { CORE_DIGEST_SIZE = 16, CORE_SERVER_NAME_SIZE = 3 + 2 * CORE_DIGEST_SIZE };

/* A statement as text and parameter types, shared by all clients of a worker. */
struct core_stmt {
    struct core_stmt *next;     /* in its hash chain */
    struct core_stmt *variants; /* of a text: the same under other settings, by `salt` */
    uint8_t digest[CORE_DIGEST_SIZE];
    uint8_t salt[CORE_DIGEST_SIZE];
    char server_name[CORE_SERVER_NAME_SIZE + 1];
    bool is_variant; /* not in the table: its text's list holds it */
    uint32_t references;
    struct router_class class;
    struct router_hash hash;
    uint32_t text_size;
    uint32_t types_size;
    uint8_t data[]; /* text, then types */
};

struct core_stmts; /* the worker's table; core_stmt.h */
struct core_names; /* a client's names; core_stmt.h */
struct core_lru;   /* what a backend has; core_stmt.h */

struct core_settings;       /* what a client has set; core_settings.h */
struct core_settings_table; /* a worker's; core_settings.h */

/* ---- expected replies ---- */

enum core_expect_kind {
    CORE_EXPECT_PARSE,    /* 1 */
    CORE_EXPECT_BIND,     /* 2 */
    CORE_EXPECT_DESCRIBE, /* (t, then T or n) or (T or n) */
    CORE_EXPECT_EXECUTE,  /* ... C, I or s */
    CORE_EXPECT_CLOSE,    /* 3 */
    CORE_EXPECT_SYNC,     /* Z */
    CORE_EXPECT_QUERY,    /* ... Z; also FunctionCall */
    CORE_EXPECT_FAKE,     /* nothing comes: `fake` is for the client */
};

/* What we put in front of a client's message, without a Sync of its own: when it fails, the server
 * skips the client's message too. */
enum core_ahead {
    CORE_AHEAD_NONE,
    CORE_AHEAD_SETTING,       /* makes a setting of the client's, or resets another's */
    CORE_AHEAD_SETTINGS_DONE, /* ... and commits them all */
    CORE_AHEAD_BEGIN,         /* the client's own, which was deferred */
};

enum core_expect_action {
    CORE_FORWARD,
    CORE_SWALLOW,       /* an error is forwarded all the same: it is the client's next one */
    CORE_REPLACE_ERROR, /* the error that we provoked is replaced by core_own_errors[fake] */
};

struct core_expect {
    uint8_t kind;
    uint8_t action;
    uint8_t fake;         /* type byte of the made-up message: '1', '3'; 0: none, only its undo */
    bool named_in_client; /* undo: the client's name was set (PARSE) or dropped (FAKE '3') */
    bool in_backend;      /* undo: the backend's list was told (PARSE adds, CLOSE removes) */
    bool behind_ours;     /* QUERY: something of ours was put in front of it */
    bool seen_t;          /* DESCRIBE: ParameterDescription came, T or n is next */
    uint8_t follow;       /* enum core_follow: what its CommandComplete changes of the settings */
    uint8_t ahead;        /* enum core_ahead: it is no message of the client's */
    uint32_t completed;   /* CommandCompletes so far: the statement of `changes` that is next */
    struct router_changes *changes; /* owned, or NULL */
    struct core_stmt *stmt;         /* one reference, or NULL */
    char *name;                     /* the client's name, owned; NULL: none */
    uint64_t unnamed_id; /* PARSE: of the unnamed statement that it makes; 0: of none that counts */
    uint32_t kept_size;  /* SYNC and QUERY: bytes of s->kept that it answers */
};

/* ---- settings that a client brought along ---- */

/*
 * One per (database, user, start-up settings) and worker: what RESET ALL goes back to, and the
 * ParameterStatus messages that such a client is welcomed with.
 */
struct core_profile {
    struct core_profile *next;
    struct core_group *group;
    struct core_settings *start; /* one reference */
    uint8_t *welcome;            /* ParameterStatus messages; NULL: not known yet */
    uint32_t welcome_size;
    uint32_t references;
};

/* Per (database, user) of one worker. */
struct core_group {
    struct core_database *database;
    const char *user;
    struct core_profile *profiles;
    uint64_t *pins_used; /* over all workers, changed by fetch-and-add; NULL: no limit */
    uint64_t pins_max;
    bool asks_sequences; /* currval was asked for: no session finds what another's nextval left */
    void *shell;
};

/* The first two characters of a SQLSTATE, each a digit or a letter. */
enum { CORE_ERROR_CLASSES = 36 * 36 };
enum { CORE_POOL_SESSION = 0, CORE_POOL_STATEMENT = 2 }; /* as enum config_pool_mode */
enum { CORE_ROUTE_COUNTERS = ROUTER_TARGET_COUNT * ROUTER_VERDICT_COUNT * ROUTER_REASON_COUNT };

/* Per database section of one worker. Counters have one writer; others read them relaxed. */
struct core_database {
    const char *name; /* as clients name it */
    uint8_t shard;
    uint8_t level;     /* enum router_level */
    uint8_t pool_mode; /* enum config_pool_mode */
    bool fallback_allowed;
    bool until_write;     /* transaction_reads: plain blocks begin on a replica */
    bool keeps_sequences; /* currval = session: what may call nextval pins */
    const uint8_t *reads; /* enum router_reads, shared with the supervisor, read relaxed */
    uint64_t max_lag_ns;
    uint64_t *routes;          /* [CORE_ROUTE_COUNTERS] */
    uint64_t *global_write_ns; /* level global: shared, raised by compare and swap */
    uint64_t *errors;          /* [CORE_ERROR_CLASSES], sent to clients; NULL: not counted */
};

/* ---- a client ---- */

enum core_phase {
    CORE_STARTUP,  /* before the first packet is whole */
    CORE_PASSWORD, /* clear text or md5 asked for */
    CORE_SASL_FIRST,
    CORE_SASL_FINAL,
    CORE_USER,    /* the shell looks the user up */
    CORE_ADMIT,   /* authenticated; the shell says which group it belongs to */
    CORE_WELCOME, /* authenticated, waits for a backend to learn the parameters from */
    CORE_QUERY,   /* everything else */
    CORE_LINKED,  /* replication: bytes go both ways as they come */
    CORE_DOOMED,  /* a FATAL was written: nothing more is read */
};

/* The states of a block that a client began with a BEGIN of its own. */
enum core_block_state {
    CORE_NO_BLOCK,
    CORE_DEFERRED, /* BEGIN was answered by us; session->begin_text is to be sent */
    CORE_OPEN,     /* a block is open at the attached backend, or may be */
    CORE_FAILED,   /* it failed while no server knew of it: we answer until it ends */
};

/* How a client's connection is, or may be, protected; the shell begins with one of the first three.
 */
enum core_tls {
    CORE_TLS_NONE,     /* SSLRequest is answered N */
    CORE_TLS_OFFERED,  /* ... S */
    CORE_TLS_REQUIRED, /* ... and who does not ask is refused */
    CORE_TLS_ON,
};

struct core_session {
    struct core_worker *worker;
    struct core_group *group;     /* NULL before the start-up packet */
    struct core_profile *profile; /* one reference */
    struct core_backend *backend; /* attached, or NULL */
    void *shell;

    struct core_block *hold;    /* bytes that are not planned yet */
    struct core_block *kept;    /* the batches in flight, in case they must be replayed */
    struct core_block *unnamed; /* body of the client's last unnamed Parse, without its header */
    struct core_names *names;
    struct core_login *login;      /* until CORE_QUERY */
    struct core_block *begin_text; /* CORE_DEFERRED: the client's own words */

    struct core_block *block_log; /* of a movable block: SET LOCAL and savepoints, each with NUL */
    struct core_block *log_pending; /* one that is not answered yet */
    struct core_settings *settings; /* what the client has set, as far as servers have answered */
    struct core_settings *settings_before; /* ... when the transaction that changed them began */
    struct core_block *savepoints;         /* ... and at each savepoint; core_follow.c */
    struct router_changes *bound_changes;  /* of the statement that the unnamed portal holds */
    struct core_block *lent; /* names of statements that SQL was lent, each with NUL: core_lend.c */
    char *bound_deallocate;  /* the statement that a bound DEALLOCATE will drop, or NULL */
    uint64_t salt_id;        /* of salt_unique */
    uint8_t local_salt[CORE_DIGEST_SIZE]; /* of SET LOCAL search_path and the like */

    uint64_t id;
    uint64_t unnamed_id;       /* identity of `unnamed`; 0: none */
    uint64_t batch_unnamed_id; /* what it was when the batch being sent began */
    uint64_t last_write_ns;
    uint64_t last_write_before_ns; /* restored when the block is rolled back */
    uint64_t floor_ns;
    uint64_t max_lag_ns; /* the session's own bound; 0: the database's */
    uint64_t sent_ns;    /* when the oldest batch in flight was sent */
    uint64_t waiting_since_ns;
    uint64_t progress_ns; /* of the last ReadyForQuery */
    uint64_t decided_ns;  /* when `choice` was made, and by which topology */
    uint64_t decided_by;
    uint64_t statements;
    uint64_t client_pending; /* bytes written here that the client has not taken; the shell's */

    uint32_t stream_left;    /* bytes of the client's message that are still to be streamed */
    uint32_t syncs;          /* ReadyForQuery that are still to come for the client */
    uint32_t replay_swallow; /* replies that the client has from before the replay */
    uint32_t forwarded;      /* such replies of the batch in flight */
    uint32_t named_answered; /* named Parse messages among what is kept that succeeded */
    uint32_t named_replayed; /* ... and that a replay, which has not begun to run, sends again */
    uint32_t kept_run;       /* bytes of kept behind the last Sync or Query */
    uint32_t cancel_pid;     /* what the client is told, set by the shell before its welcome */
    uint8_t cancel_key[CORE_CANCEL_KEY_SIZE_MAX];
    uint8_t cancel_key_size; /* of it, by the protocol that the client speaks */

    uint8_t phase;      /* enum core_phase */
    uint8_t tls;        /* enum core_tls */
    uint8_t block;      /* enum core_block_state */
    uint8_t begin;      /* enum router_begin of the deferred BEGIN */
    uint8_t pin;        /* enum router_reason; ROUTER_REASON_NONE: not pinned */
    uint16_t pins;      /* enum router_pin bits */
    uint16_t releases;  /* ... that go when the batch in flight has succeeded */
    uint16_t pins_new;  /* ... that came since the session was idle */
    uint16_t pins_left; /* ... that the server says are left: core_unpin.c */
    uint8_t bound_follow;
    uint8_t level;       /* enum router_level */
    uint8_t level_local; /* SET LOCAL: back to `level` when the block ends; 0xff: none */
    uint8_t route;       /* enum router_route */
    uint8_t floor_node;
    uint8_t avoid_node;
    bool waiting;  /* for a backend, as of `choice` */
    bool emitting; /* the batch at the front is decided, and batch_left of it is to be sent */
    bool parse_class_valid;
    bool streaming;       /* ... and it is too long to be planned: its end is not known yet */
    bool preflight;       /* settings are being sent; the batch follows */
    bool preflight_alone; /* ... no batch does: the client reset what it had brought along */
    bool movable;         /* the block is open on a replica and has not written: core_move.c */
    bool stays;           /* the block begins on the primary, or has moved there */
    bool portal_open;     /* the unnamed portal of a movable block may have been left half read */
    bool loggable;        /* the batch at the front could be said again there */
    bool ready_held;      /* ... and its ReadyForQuery waits for that */
    bool settings_off;    /* the backend's settings are not `settings` */
    bool settings_off_before;
    bool settings_fly;     /* they go ahead of the batch in the same flight */
    bool settings_hidden;  /* ... and what the server reports of them is not for the client */
    bool settings_awaited; /* a replica would not: until they change it is asked first */
    bool local_salted;
    bool salt_unique;  /* settings change in flight: what is parsed now is nobody else's */
    bool group_failed; /* an error came since the last ReadyForQuery */
    bool skipping;     /* after an error: drop everything up to Sync */
    bool stream_drop;  /* the streamed message goes nowhere */
    bool copy_in;
    bool unsynced;        /* extended messages were sent since the last Sync */
    bool executed;        /* ... and a Bind or Execute was among them */
    bool pin_counted;     /* in group->pins_used */
    bool pin_denied;      /* the batch would pin, and no pin is left: it fails with 53300 */
    bool block_denied;    /* pool_mode = statement, and it begins a block: 0A000 */
    bool sequence_denied; /* it asks for a currval that may be another session's: 55000 */
    bool lent_before;     /* ... by an earlier batch */
    bool pins_doubtful;   /* some of `pins` may be gone: the server is to be asked */
    bool bad_message;     /* a long batch turned out to be no protocol half-way */
    bool odd;             /* the batch being sent has messages that will fail for their form */
    bool barrier;         /* nothing more to this backend until all replies are in */
    bool replayable; /* kept holds all that is in flight, and nothing that counts was forwarded */
    bool rows_forwarded;  /* ... of the oldest batch in flight: it may not be sent again */
    bool names_in_flight; /* a named Parse or Close is: a batch that names statements has to wait */
    bool unnamed_in_flight; /* likewise an unnamed Parse: were it skipped, the server would have
                               another one, of whoever used it before */
    bool unnamed_used;      /* by a batch in flight that did not parse it */
    bool retried;
    bool replan; /* ... for a stale plan: named statements are parsed anew wherever it goes */
    bool replay_on_primary; /* a replica refused it: until that flight is over */
    bool refused;           /* ... as it writes, whatever its text says */
    bool in_flight;         /* replies are outstanding; counted in the worker's loads */
    bool dirty_block;       /* a write was sent since the last idle ReadyForQuery */
    bool seed_set;
    bool level_given;      /* by the start-up packet: the database's default does not apply */
    bool drops_statements; /* DISCARD ALL or DEALLOCATE ALL is in flight */
    bool unpins;
    bool rolls_back;
    bool error_seen;
    bool cancel_found;
    uint8_t replication; /* enum core_replication */
    bool said_goodbye;   /* Terminate came: it did not just vanish */
    bool cancelled; /* while settings are sent ahead of the batch: it fails before it is sent */
    bool timed_out; /* what runs is being cancelled for query_timeout */

    uint32_t hashes_count;
    uint32_t parse_hash;                        /* which of them parse_class belongs to */
    struct router_hash hashes[CORE_HASHES_MAX]; /* of the batch in flight */
    uint32_t batch_size;                        /* of the batch that waits at the front of `hold` */
    uint32_t batch_left;             /* bytes of the batch being sent that are not sent yet */
    struct router_class class;       /* of the batch at the front of `hold`, or in flight */
    struct router_class parse_class; /* of its first message, when that is an unnamed Parse */
    struct router_choice choice;     /* of the wish or of the last batch */
    struct {
        uint8_t node, role, verdict, reason;
        int64_t lag_ms; /* -1: unknown */
    } last_route;
};

/* ---- a server connection ---- */

struct core_backend {
    struct core_worker *worker;   /* changes when it migrates */
    struct core_session *session; /* whom it serves, or NULL */
    void *shell;
    struct core_block *hold; /* an incomplete message's bytes */
    struct core_lru *stmts;
    struct core_expect *expect; /* ring */
    uint32_t expect_capacity;   /* power of two */
    uint32_t expect_head;
    uint32_t expect_tail;
    uint8_t *params; /* ParameterStatus messages of its start, owned */
    uint32_t params_size;
    uint32_t body_left;     /* bytes of the message that streams */
    uint32_t generation;    /* of the node's breaker when the batch was sent */
    uint64_t unnamed_id;    /* whose unnamed statement it has */
    uint64_t settings_hash; /* of a struct core_settings; while attached: see the session */
    uint64_t opened_ns;
    uint64_t last_session_id;
    uint8_t node;
    uint8_t status; /* 'I', 'T' or 'E': of the last ReadyForQuery */
    bool is_replica;
    bool body_swallow;
    bool linked;         /* belongs to one session that replicates, and goes with it */
    bool with_role;      /* a role may be set, or a session authorization */
    bool tainted;        /* ran code of unknown effect: reset before it serves another session */
    bool draining;       /* its client is gone: replies are dropped until none is outstanding */
    bool pinned_left;    /* a pinned session left it: locks and temporary tables must go now */
    bool resetting;      /* a reset of ours is in flight, no session is attached */
    bool preflight_done; /* within one step */
    struct core_block *preflight_error; /* the body of the error that a setting met */
    bool broken;                        /* close it, never reuse it */
    bool fatal_seen;                    /* sent a FATAL: its end is near */
    bool trial;                         /* holds a trial permit */
    uint32_t cancels;                   /* cancel requests in flight against it */
};

/* ---- a worker's part of the core ---- */

struct core_limits {
    uint32_t statement_max; /* bytes of a batch that is planned whole */
    uint32_t retry_keep;
    uint32_t prepared_max; /* a backend's; a client's names are bounded by 16 times it */
    uint32_t hold_max;     /* bytes a client may send ahead */
};

struct core_counters {
    uint64_t statements, batches, reads_missed, retries, learned, misroutes;
    uint64_t parses_injected, closes_injected, preflights, begins_deferred, local_answers;
    uint64_t blocks_moved;     /* from a replica to the primary, at their first write */
    uint64_t pins_asked;       /* questions to a server, whether a pin is still needed */
    uint64_t settings_refused; /* by a replica: the primary took over */
    uint64_t errors_made, pins[ROUTER_REASON_COUNT];
    uint64_t server_errors[CORE_ERROR_CLASSES];
};

struct core_worker {
    const struct router_topology *topology; /* set by the shell for the length of a call */
    struct router_cache *cache;
    struct core_stmts *stmts;
    struct core_settings_table *settings;
    struct router_load loads[ROUTER_NODES_MAX];
    uint64_t loads_seen_ns[ROUTER_NODES_MAX];
    uint32_t trial_ok;
    const struct proto_hashes *hashes;
    struct core_limits limits;
    struct core_counters counters;
    struct core_block *free_blocks;
    uint32_t free_blocks_count;
    struct core_block *dying_blocks; /* free when the next step begins */
    uint32_t blocks_out;             /* borrowed: 0 when every session is idle */
    uint64_t random;                 /* state of a small generator, seeded by the shell */
    uint64_t next_id; /* of sessions and unnamed statements: unique over all workers, as backends
                         migrate; the shell starts each worker at its own multiple of
                         1 << CORE_ID_WORKER_SHIFT */
    const char *const *node_names;
    struct core_actions actions; /* one step's result; the scratch buffers live here */
};

/* False: no memory. `key` is secret and random, the same for all workers or not. */
bool core_worker_init(struct core_worker *w, const struct core_limits *limits,
                      uint32_t cache_entries, const uint8_t key[ROUTER_KEY_SIZE], uint64_t seed);
void core_worker_deinit(struct core_worker *w);
/* Gives back what the group's clients had in common. None may be left. */
void core_group_deinit(struct core_worker *w, struct core_group *group);

/* ---- sessions ---- */

void core_session_init(struct core_session *s, struct core_worker *w, void *shell);
/* Gives everything back. The session must be detached and must not wait. */
void core_session_deinit(struct core_session *s);

void core_backend_init(struct core_backend *b, struct core_worker *w, uint8_t node, bool is_replica,
                       uint64_t now_ns, void *shell);
void core_backend_deinit(struct core_backend *b);

/*
 * Every call below returns the worker's actions, emptied first. They are to be executed before the
 * next call.
 */

/* Bytes from the client. All of them are taken. */
struct core_actions *core_client_data(struct core_session *s, struct proto_span in,
                                      uint64_t now_ns);
/* Continues what did not fit (actions->again), or may go on now. */
struct core_actions *core_resume(struct core_session *s, uint64_t now_ns);
/* Everything that was written to the client has been taken: it may release its backend now. */
struct core_actions *core_client_drained(struct core_session *s, uint64_t now_ns);
/* No more bytes will come from the client. True: it said goodbye (Terminate) behind something that
 * is still to be sent to a server: the session goes on without it. To be asked again after each
 * step; when false, core_client_gone(). */
bool core_client_lingers(const struct core_session *s);
/* The client is gone, or is to go. Detaches: actions->release, ->drain or ->close_backend say how.
 */
struct core_actions *core_client_gone(struct core_session *s, uint64_t now_ns);

/* The backend that the session waited for. The session may want another one after all: then
 * ->release gives this one back and ->want is set. */
struct core_actions *core_granted(struct core_session *s, struct core_backend *b, uint64_t now_ns);
/* The wait is over without a backend: the batch fails with this error. FATAL closes the client. */
struct core_actions *core_refused(struct core_session *s, const struct proto_error_text *error,
                                  uint64_t now_ns);
/* The replica that it waits for does not let its user in, or has not got its database yet: the
 * primary is asked. NULL: it was the primary, or a log-in that waits for any node. */
struct core_actions *core_turned_away(struct core_session *s, uint64_t now_ns);
/* The client asks for a cancel. What the shell has to do: nothing; take the session out of the
 * queue (core_refused() with 57014); cancel what runs on session->backend. */
enum core_cancel { CORE_CANCEL_NOTHING, CORE_CANCEL_WAIT, CORE_CANCEL_SERVER };
enum core_cancel core_cancel(struct core_session *s);
/* The topology changed: decide again. May return with ->want (another choice). */
struct core_actions *core_redecide(struct core_session *s, uint64_t now_ns);

/* Bytes from a server, with or without a session. All of them are taken. */
struct core_actions *core_server_data(struct core_backend *b, struct proto_span in,
                                      uint64_t now_ns);
/* The server's connection ended. Detaches it: the session is told, or its batch is replayed
 * (->want). */
struct core_actions *core_server_lost(struct core_backend *b, uint64_t now_ns);

/* True when what is in flight may be taken back and sent to another node: core_server_lost(). */
bool core_may_replay(const struct core_session *s);

/* Resets a backend that was left in a transaction, pinned or tainted; it serves nobody until
 * core_backend_idle(). Fills actions->server. */
struct core_actions *core_backend_reset(struct core_backend *b);
/* True when it may serve any session. */
bool core_backend_idle(const struct core_backend *b);
/* After actions->drain: nothing is outstanding any more. False for ever: it is broken. */
bool core_backend_drained(const struct core_backend *b);

/* ---- replication (core_replication.c) ---- */

enum core_replication {
    CORE_REPLICATION_NONE,
    CORE_REPLICATION_PHYSICAL, /* replication=true: of no database */
    CORE_REPLICATION_LOGICAL,  /* replication=database */
};
/* Until the log-in ends: what the client asked for, and its settings as libpq's `options`. */
enum core_replication core_login_replication(const struct core_session *s);
const char *core_login_options(const struct core_session *s);
/* The backend that was made for this session, and serves no other. If there is none to be had:
 * core_client_fatal(). */
struct core_actions *core_linked(struct core_session *s, struct core_backend *b, uint64_t now_ns);

/* True when the shell should not read from the client for now. */
bool core_client_paused(const struct core_session *s);

/* What runs has taken too long and is being cancelled: its error will say so. */
void core_timed_out(struct core_session *s);

/* FATAL and close, for example at a shutdown or a timeout. */
struct core_actions *core_client_fatal(struct core_session *s,
                                       const struct proto_error_text *error);

/* ---- log-in (core_login.c) ---- */

enum core_auth {
    CORE_AUTH_TRUST, /* whatever there was to prove is proven already */
    CORE_AUTH_SCRAM,
    CORE_AUTH_MD5,
    CORE_AUTH_PASSWORD, /* in clear text */
    CORE_AUTH_REJECT    /* as a wrong password */
};

/* What the shell found for actions->login_want_user. Nothing of it is kept. */
struct core_login_answer {
    enum core_auth auth;
    const char *secret;       /* "md5...", "SCRAM-SHA-256$..." or clear text; NULL: no such user */
    struct core_group *group; /* NULL: asked for with login_proven, strangers get none */
    const struct proto_error_text *error; /* or NULL: refused before any proof */
    uint8_t random[PROTO_SCRAM_NONCE_SIZE + 4];
    uint8_t server_key[32];            /* for made-up secrets */
    struct proto_span channel_binding; /* tls-server-end-point; empty: no TLS */
};
/* What the client asked for; valid from login_want_user until the log-in ends. */
const char *core_login_user_name(const struct core_session *s);
const char *core_login_database(const struct core_session *s);
const char *core_login_application(const struct core_session *s);
/* Its password where it was sent in clear text, and its SCRAM keys where it proved them; NULL: not.
 * From login_proven on. */
const char *core_login_password(const struct core_session *s);
const struct proto_scram *core_login_scram(const struct core_session *s);
/* The key of a cancel request: of actions->cancel_request, until the session ends. */
struct proto_span core_login_cancel(const struct core_session *s, uint32_t *ret_pid);
struct core_actions *core_login_user(struct core_session *s, const struct core_login_answer *answer,
                                     uint64_t now_ns);
/* After login_proven: its group, or NULL and why it may not go on. AuthenticationOk is the first
 * word of the answer; who hands the client over says it himself. */
struct core_actions *core_login_admit(struct core_session *s, struct core_group *group,
                                      const struct proto_error_text *error, uint64_t now_ns);

#endif
