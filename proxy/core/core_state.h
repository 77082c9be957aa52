/* SPDX-License-Identifier: PostgreSQL
 *
 * core_state: what the session core knows of a client, of a server connection and of what a
 * worker's clients have in common. Visible values: the shell embeds them and reads them; but for
 * what is said to be the shell's, only the core writes them.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "core_actions.h"
#include "core_block.h"
#include "proto_auth.h"
#include "router_cache.h"
#include "router_decide.h"
#include "router_facts.h"

enum {
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

/* ---- prepared statements ---- */

enum { CORE_DIGEST_SIZE = 16, CORE_SERVER_NAME_SIZE = 3 + 2 * CORE_DIGEST_SIZE };

/* What a text is, and for whom that was found: core_known.h. */
struct core_known {
    struct router_class class;
    struct router_hash hash; /* under `key`; all zero: it has none */
    uint64_t key;            /* of the context */
    uint64_t learned;        /* the worker's counter, as of then */
    bool typed;              /* a parameter of it has a type that is none of PostgreSQL's own */
};

/* A statement as text and parameter types, shared by all clients of a worker. */
struct core_stmt {
    struct core_stmt *next;     /* in its hash chain */
    struct core_stmt *variants; /* of a text: the same under other settings, by `salt` */
    uint8_t digest[CORE_DIGEST_SIZE];
    uint8_t salt[CORE_DIGEST_SIZE];
    char server_name[CORE_SERVER_NAME_SIZE + 1];
    bool is_variant; /* not in the table: its text's list holds it */
    uint32_t references;
    struct core_known known; /* to the one who asked last: core_known_class() */
    uint32_t text_size;
    uint32_t types_size;
    uint8_t data[]; /* text, then types */
};

struct core_stmts; /* the worker's table; core_stmt.h */
struct core_names; /* a client's names; core_stmt.h */
struct core_lru;   /* what a backend has; core_stmt.h */

struct core_settings;       /* what a client has set; core_settings.h */
struct core_bound;          /* what portals will change; core_bound.c */
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
    CORE_AHEAD_RESET,         /* takes back what another session may have left */
    CORE_AHEAD_SETTING,       /* makes a setting of the client's, or resets another's */
    CORE_AHEAD_SETTINGS_DONE, /* ... and commits them all */
    CORE_AHEAD_BEGIN, /* the client's own, which was deferred, and what its block has said */
};

/* The unnamed portal of a block. */
enum core_portal {
    CORE_PORTAL_UNTOUCHED, /* what its BEGIN has left */
    CORE_PORTAL_NONE,      /* a Query, or an error, has ended it */
    CORE_PORTAL_WHOLE,     /* bound, and not left half read */
    CORE_PORTAL_HALF,      /* in a block that may move: perhaps it was */
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
    bool shaped;          /* DESCRIBE: what it says of `stmt` and `name` is kept: core_shape.c */
    bool foreign;         /* BIND: not of the plan that its client knows, perhaps: core_shape.h */
    uint8_t follow;       /* enum core_follow: what its CommandComplete changes of the settings */
    uint8_t ahead;        /* enum core_ahead: it is no message of the client's */
    uint32_t completed;   /* CommandCompletes so far: the statement of `changes` that is next;
                             shaped: of the parameters */
    struct router_changes *changes; /* owned, or NULL */
    struct core_stmt *stmt;         /* one reference, or NULL */
    char *name;                     /* the client's name, owned; NULL: none */
    uint64_t unnamed_id; /* PARSE: of the unnamed statement that it makes; 0: of none that counts.
                            QUERY, CLOSE: of the moment when it goes */
    struct core_block *unnamed_was; /* owned: the client's until then; NULL: none, or forgotten */
    uint32_t kept_size;             /* SYNC and QUERY: bytes of s->kept that it answers */
    uint32_t portal;                /* BIND: core_portal_id() of its portal; EXECUTE, DESCRIBE of a
                                       portal: not 0 where it has a name */
    union {
        struct router_hash hash; /* QUERY, BIND, EXECUTE: of what we called a read; else 0 */
        uint64_t told;           /* FAKE: of the name that was dropped, core_shape.h */
    };
};

/* ---- settings that a client brought along ---- */

/* Parameters that server connections began with; one object of all that are equal: core_base.h. */
struct core_base {
    struct core_base *next;
    uint64_t hash;
    uint64_t hash_set; /* of those that a session may set, and a replica has like the primary */
    uint32_t references;
    uint32_t size;
    uint8_t flags;  /* enum router_setting_flag bits, PRIMARY and LEXER */
    uint8_t data[]; /* ParameterStatus messages */
};

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
    uint32_t overlay_size;
    uint8_t *overlay;       /* ... of them, those that `start` caused */
    struct core_base *base; /* ... that the others are of; one reference */
    uint32_t references;
    uint8_t flags; /* enum router_setting_flag bits, PRIMARY and LEXER, of what the server has set
                      by itself: ALTER ROLE ... SET */
};

/*
 * What one worker knows of the names of one database on the servers. The shell owns it, asks for
 * the facts, and exchanges them between two calls of the core.
 *
 * Facts hold as long as the database's catalog is as it was when they were asked for: `changes`
 * counts, over all workers, what may have changed it. It is raised before a DDL statement is sent
 * and again when its transaction is over; the shell reads it into `facts_changes` before it asks.
 */
struct core_catalog {
    const struct router_facts *facts; /* NULL: not known yet */
    uint64_t facts_changes;
    uint64_t *changes;
    uint64_t *wishes;   /* over all workers: what has made names: the shell asks again soon */
    uint64_t *suspects; /* over all workers: what may have changed it unseen: the shell asks again
                           after a while */
};

/* Per (database, user) of one worker. */
struct core_group {
    struct core_database *database;
    struct core_catalog *catalog; /* NULL: names are what their text shows */
    uint64_t names_key;           /* unlike any other group's of this worker */
    struct core_custom *custom;   /* custom settings that its texts have named; core_left.c */
    const char *user;
    struct core_profile *profiles;
    struct core_base *base; /* of its newest connection, if it has had one; one reference */
    uint64_t base_ns;       /* when that was opened */
    uint64_t *renewed_ns;   /* over all workers: what older connections began with counts no more */
    uint64_t defaults_ns;   /* the same, of its user's defaults; 0: they never changed */
    uint64_t *pins_used;    /* over all workers, changed by fetch-and-add; NULL: no limit */
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
    bool isolates;        /* isolation = proven */
    bool no_hints;        /* hints = off */
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

/* The backend is asked what the statement of the next Bind looks like there. */
enum core_shape { CORE_SHAPE_NONE, CORE_SHAPE_ASKED, CORE_SHAPE_ANSWERED };

/* Why the batch at the front fails unsent. */
enum core_cancelled {
    CORE_CANCELLED_NOT,
    CORE_CANCELLED_ASKED,          /* its client asked for it, or it took too long */
    CORE_CANCELLED_MAY_NOT_CANCEL, /* pg_cancel_backend of another user's session */
    CORE_CANCELLED_MAY_NOT_END,    /* pg_terminate_backend */
};

/* pg_terminate_backend and pg_cancel_backend of a client of ours: what the shell says of it. */
enum core_signal {
    CORE_SIGNAL_NONE,
    CORE_SIGNAL_ASKED,     /* the shell looks for that client */
    CORE_SIGNAL_DONE,      /* it is told */
    CORE_SIGNAL_LATE,      /* ... but has not ended within the time that was given */
    CORE_SIGNAL_NOBODY,    /* there is none */
    CORE_SIGNAL_DENIED,    /* it is another user's */
    CORE_SIGNAL_CANCELLED, /* the one who asks does not want to wait any more */
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
    struct core_base *base;       /* ... what the client was told of its server; NULL: nothing */
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
    struct core_bound *bound;              /* what portals will change: core_bound.c */
    struct core_block *left_rows;          /* what the server says is left: core_left.c */
    struct core_block *lent; /* names of statements that SQL was lent, each with NUL: core_lend.c */
    struct core_taken *taken; /* what was told of names that a replay takes back, or NULL */
    char *bound_deallocate;   /* the statement that a bound DEALLOCATE will drop, or NULL */
    uint64_t planned[4];      /* `replan`: core_shape_id() of what was parsed anew, once each */
    uint64_t shape_asked;     /* core_shape_id() of what a Bind has waited for; 0: it has not */
    char *shape_name;         /* whose portal the next message describes, or NULL */
    uint32_t shape_tail;      /* ... if expect_tail is this by then; 0: whatever it is */
    uint64_t salt_id;         /* of salt_unique */
    uint8_t local_salt[CORE_DIGEST_SIZE]; /* of SET LOCAL search_path and the like */

    uint64_t id;
    uint64_t unnamed_id;       /* identity of `unnamed`; 0: none */
    uint64_t unnamed_change;   /* when it last became another, or none; of the same numbers */
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
    uint32_t told[4];        /* descriptions among those that were forwarded: core_shape.c */
    uint32_t told_count;
    uint32_t planned_count;
    uint32_t told_again;     /* ... so many of them have come again */
    uint32_t named_answered; /* named Parse messages among what is kept that succeeded */
    uint32_t named_replayed; /* ... and that a replay, which has not begun to run, sends again */
    uint32_t kept_run;       /* bytes of kept behind the last Sync or Query */
    uint32_t cancel_pid;     /* what the client is told, set by the shell before its welcome */
    uint8_t cancel_key[CORE_CANCEL_KEY_SIZE_MAX];
    uint8_t cancel_key_size; /* of it, by the protocol that the client speaks */

    uint8_t phase;       /* enum core_phase */
    uint8_t tls;         /* enum core_tls */
    uint8_t block;       /* enum core_block_state */
    uint8_t begin;       /* enum router_begin of the deferred BEGIN */
    uint8_t pin;         /* enum router_reason; ROUTER_REASON_NONE: not pinned */
    uint16_t pins;       /* enum router_pin bits */
    uint16_t releases;   /* ... that go when the batch in flight has succeeded */
    uint16_t pins_new;   /* ... that came since the session was idle */
    uint16_t pins_left;  /* ... that the server says are left: core_unpin.c */
    uint8_t level;       /* enum router_level */
    uint8_t level_local; /* SET LOCAL: back to `level` when the block ends; 0xff: none */
    uint8_t route;       /* enum router_route */
    uint8_t told_flags;  /* of what its server has set by itself: as profile->flags */
    uint8_t floor_node;
    uint8_t avoid_node;
    uint8_t sick_node; /* what is in flight met a sickness there, and was taken back;
                          ROUTER_NODE_NONE: nothing was */
    uint32_t sick_generation;
    bool waiting;  /* for a backend, as of `choice` */
    bool emitting; /* the batch at the front is decided, and batch_left of it is to be sent */
    bool parse_known_valid;
    bool streaming;       /* ... and it is too long to be planned: its end is not known yet */
    bool preflight;       /* settings are being sent; the batch follows */
    bool preflight_alone; /* ... no batch does: the client reset what it had brought along */
    bool movable;         /* the block is open on a replica, and may leave it: core_move.c */
    bool movable_once; /* ... but only until its first answer: it is READ ONLY, with a snapshot */
    bool stays;        /* the block has moved to the primary, or will not move */
    bool ending;       /* its end was sent, and no ReadyForQuery has come since */
    bool has_snapshot; /* ... and has read: it is too late for an isolation level */
    bool moved;        /* the block has left a replica: what was open there is gone */
    uint8_t own_portal, portal_lost; /* enum core_portal; lost with a replica (0: none) */
    bool loggable;                   /* the batch at the front could be said again there */
    bool ready_held;                 /* ... and its ReadyForQuery waits for that */
    bool settings_off;               /* the backend's settings are not `settings` */
    bool settings_off_before;
    bool settings_fly;     /* they go ahead of the batch in the same flight */
    bool settings_hidden;  /* ... and what the server reports of them is not for the client */
    bool settings_awaited; /* a replica would not: until they change it is asked first */
    bool local_salted;
    bool salt_unique;  /* settings change in flight: what is parsed now is nobody else's */
    bool group_failed; /* an error came since the last ReadyForQuery */
    bool skipping;     /* after an error: drop everything up to Sync */
    bool hurried;      /* what is there of the batch at the front begins without its end */
    uint32_t framed;   /* bytes at the front that are whole messages of a batch without an end */
    uint32_t judged;   /* ... of them were found not to begin early */
    bool stream_drop;  /* the streamed message goes nowhere */
    bool copy_in;
    bool copied; /* ... since the last Sync: the server says nothing of its end before the next one
                  */
    bool unsynced;        /* extended messages were sent since the last Sync */
    bool executed;        /* ... and a Bind or Execute was among them */
    bool pin_counted;     /* in group->pins_used */
    bool spoils;          /* ... could not be pinned, and leaves what nobody can tell */
    bool pin_denied;      /* the batch would pin, and no pin is left: it fails with 53300 */
    uint8_t pin_wait;     /* enum core_pin_wait: ... behind a wait for one */
    bool block_denied;    /* pool_mode = statement, and it begins a block: 0A000 */
    bool sequence_denied; /* it asks for a currval that may be another session's: 55000 */
    bool lent_before;     /* ... by an earlier batch */
    bool pins_doubtful;   /* some of `pins` may be gone: the server is to be asked */
    bool left_unknown; /* something unproven ran there: what it left is to be asked: core_left.c */
    bool unbegun;      /* a reset flies in front of the batch: `kept` holds it until that is done */
    bool cancel_asked; /* its server was asked to cancel what is in flight */
    uint8_t resets_failed; /* in front of the batch at the front */
    uint8_t left_count;    /* texts in `left`; more than it holds: not to be remembered */
    bool bad_message;      /* a long batch turned out to be no protocol half-way */
    bool odd;              /* the batch being sent has messages that will fail for their form */
    bool trades_unnamed; /* ... begins with an unnamed statement that it replaces: not said again */
    bool asks_portal;    /* ... may ask for an unnamed portal that it has not bound */
    bool begin_bound;    /* of a deferred BEGIN: its unnamed portal is the client's own */
    bool barrier;        /* nothing more to this backend until all replies are in */
    bool replayable; /* kept holds all that is in flight, and nothing that counts was forwarded */
    bool rows_forwarded;  /* ... of the oldest batch in flight: it may not be sent again */
    bool names_in_flight; /* a named Parse or Close is: a batch that names statements has to wait */
    bool unnamed_in_flight; /* likewise an unnamed Parse: were it skipped, the server would have
                               another one, of whoever used it before */
    bool unnamed_used;      /* by a batch in flight that did not parse it */
    bool retried;
    bool unproven;       /* something in flight looks like a read, but may have changed something */
    bool outside;        /* ... or may have reached outside of the database */
    bool proves;         /* all that is in flight is executed, not just prepared */
    bool flight_failed;  /* an error came to what is in flight */
    bool writes_nothing; /* all that is in flight is known to: core_writes_nothing() */
    bool replan; /* ... for a stale plan: named statements are parsed anew wherever it goes */
    bool replay_on_primary; /* a replica refused it: until that flight is over */
    bool refused;           /* ... as it writes, whatever its text says */
    bool in_flight;         /* replies are outstanding; counted in the worker's loads */
    bool dirty_block;       /* a write was sent since the last idle ReadyForQuery */
    bool doubtful;          /* the batch at the front may write, though it does not look like it */
    bool dirty_for_good;    /* ... and a rollback may not take it back: COMMIT AND CHAIN */
    bool seed_set;
    bool level_given;      /* by the start-up packet: the database's default does not apply */
    bool drops_statements; /* DISCARD ALL or DEALLOCATE ALL is in flight: their tags count */
    bool unpins, rolls_back;
    bool error_seen;
    bool cancel_found;
    uint8_t replication;   /* enum core_replication */
    bool said_goodbye;     /* Terminate came: it did not just vanish */
    uint8_t cancelled;     /* enum core_cancelled: before anything of the batch was sent; it fails
                              when its turn comes */
    uint8_t cancel_denied; /* ... and that is so for its server too */
    uint8_t signal;        /* enum core_signal: of the batch at the front */
    uint8_t shape;         /* enum core_shape: sending has stopped in front of a Bind */
    bool timed_out;        /* what runs is being cancelled for query_timeout */

    uint32_t hashes_count;
    uint32_t portal; /* that was bound last, and the text of it */
    struct router_hash portal_hash;
    struct router_hash query_hash;              /* of the Query at the front of `hold` */
    struct router_hash hashes[CORE_HASHES_MAX]; /* of the batch in flight */
    struct router_hash left[CORE_HASHES_MAX];   /* of what left_unknown is about */
    uint32_t batch_size;                        /* of the batch that waits at the front of `hold` */
    uint32_t batch_left;           /* bytes of the batch being sent that are not sent yet */
    struct router_class class;     /* of the batch at the front of `hold`, or in flight */
    struct core_known parse_known; /* its first message, when that is an unnamed Parse */
    struct router_choice choice;   /* of the wish or of the last batch */
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
    uint32_t expect_head, expect_tail;
    uint8_t *params; /* ParameterStatus messages of its start, owned */
    uint32_t params_size;
    uint64_t base_hash;     /* of them: core_base_is_other(); 0: not known yet */
    uint32_t body_left;     /* bytes of the message that streams */
    uint32_t generation;    /* of the node's breaker when the batch was sent */
    uint64_t unnamed_id;    /* whose unnamed statement it has */
    uint64_t settings_hash; /* of a struct core_settings; while attached: see the session */
    uint64_t opened_ns;
    uint64_t last_session_id;
    uint32_t pid; /* the server process's, from the shell; 0: not known */
    uint8_t node;
    uint8_t status; /* 'I', 'T' or 'E': of the last ReadyForQuery */
    bool is_replica;
    bool body_swallow;
    bool linked;           /* belongs to one session that replicates, and goes with it */
    bool with_role;        /* a role may be set, or a session authorization */
    bool tainted;          /* ran code of unknown effect: reset before it serves another session */
    bool sequence_moved;   /* nextval may have run since it was reset */
    bool sequence_foreign; /* ... for another session than the one that it serves */
    bool spoiled;          /* closed instead of given back */
    bool temp_used;        /* a temporary table may have been there: temp_buffers is fixed */
    bool skips;            /* an error came within a batch: the server skips to the next Sync */
    bool draining;         /* its client is gone: replies are dropped until none is outstanding */
    bool pinned_left;      /* a pinned session left it: locks and temporary tables must go now */
    bool resetting;        /* a reset of ours is in flight, no session is attached */
    bool preflight_done;   /* within one step */
    struct core_block *preflight_error; /* the body of the error that a setting met */
    bool broken;                        /* close it, never reuse it */
    bool fatal_seen;                    /* sent a FATAL: its end is near */
    bool trial;                         /* holds a trial permit */
    uint32_t cancels;                   /* cancel requests in flight against it */
    struct core_catalog *suspect;       /* what runs may change it; told when that is over */
    bool changing;                      /* ... and its text shows it */
    bool making;                        /* ... but only that it makes or drops some names */
    uint64_t *unfinished_write;         /* draining: of level global, where its end is noted */
    uint32_t unnamed_kept;              /* unnamed_was that are not NULL, of all that is expected */
    uint32_t shaped_count;              /* ... `shaped` with a name */
};

/* ---- a worker's part of the core ---- */

struct core_limits {
    uint32_t statement_max; /* bytes of a batch that is planned whole */
    uint32_t retry_keep;
    uint32_t prepared_max; /* a backend's */
    uint64_t spool_max;    /* bytes that a client need not have taken for its backend to be free */
    uint32_t hold_max;     /* bytes a client may send ahead */
    uint64_t names_size_max; /* bytes of a client's names and of what they stand for */
};

struct core_counters {
    uint64_t statements, batches, reads_missed, retries, learned, misroutes, reads_unproven;
    uint64_t parses_injected, closes_injected, preflights, begins_deferred, local_answers;
    uint64_t blocks_moved;     /* from a replica to the primary, at their first write */
    uint64_t shapes_asked;     /* questions to a server, what a statement looks like there */
    uint64_t pins_asked;       /* questions to a server, whether a pin is still needed */
    uint64_t lefts_asked;      /* ... what something unproven has left */
    uint64_t lefts_found;      /* ... and it had left something */
    uint64_t resets;           /* of a connection, before another session's batch */
    uint64_t resets_failed;    /* ... in vain: the connection is closed */
    uint64_t settings_refused; /* by a replica: the primary took over */
    uint64_t errors_made, pins[ROUTER_REASON_COUNT];
    uint64_t server_errors[CORE_ERROR_CLASSES];
};

struct core_worker {
    const struct router_topology *topology; /* set by the shell for the length of a call */
    struct router_cache *cache;
    struct core_stmts *stmts;
    struct core_settings_table *settings;
    struct core_lefts *lefts; /* texts that leave nothing: core_left.c */
    struct core_base *bases;
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
    uint64_t work;       /* instructions, about, since the shell set it to 0: at each event */
    uint64_t work_share; /* above this, whoever has more to do is tired */
    uint64_t random;     /* state of a small generator, seeded by the shell */
    uint64_t next_id;    /* of sessions and unnamed statements: unique over all workers, as backends
                            migrate; the shell starts each worker at its own multiple of
                            1 << CORE_ID_WORKER_SHIFT */
    const char *const *node_names;
    struct core_actions actions; /* one step's result; the scratch buffers live here */
};

#endif
