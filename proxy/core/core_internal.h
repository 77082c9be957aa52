/* SPDX-License-Identifier: PostgreSQL
 *
 * core_internal: what the files of the session core share with each other, and with nobody else.
 */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "core.h"
#include "core_span.h"
#include "core_work.h"
#include "router_change.h"

/* ---- core_sink.c ---- */

struct core_actions *core_actions_begin(struct core_worker *w);
static inline bool core_sink_full(const struct core_sink *sink)
{
    return sink->count > CORE_SPANS_MAX - CORE_SPANS_RESERVE ||
           CORE_SCRATCH_SIZE - sink->scratch_used < CORE_SCRATCH_SIZE / 4;
}
void core_sink_append_piece(struct core_sink *sink, struct proto_span bytes);
/* Small pieces are copied together; larger ones are borrowed. Most bytes go on where the last ones
 * ended: they only make the span longer. */
static inline void core_sink_append(struct core_sink *sink, struct proto_span bytes)
{
    struct proto_span *last = &sink->spans[sink->count > 0 ? sink->count - 1 : 0];
    if (sink->count == 0 || last->base + last->size != bytes.base) {
        core_sink_append_piece(sink, bytes);
        return;
    }
    last->size += bytes.size;
    sink->size += bytes.size;
}
void core_sink_borrow(struct core_sink *sink, struct proto_span bytes);
struct proto_writer core_sink_writer(struct core_sink *sink);
void core_sink_commit(struct core_sink *sink, const struct proto_writer *writer);

/* ---- core_expect.c ---- */

static inline uint32_t core_expect_count(const struct core_backend *b)
{
    return b->expect_tail - b->expect_head;
}
static inline struct core_expect *core_expect_head(struct core_backend *b)
{
    return core_expect_count(b) == 0 ? NULL : &b->expect[b->expect_head & (b->expect_capacity - 1)];
}
struct core_expect *core_expect_push(struct core_backend *b, enum core_expect_kind kind,
                                     enum core_expect_action action);
/* Gives back what it owns. */
void core_expect_release(struct core_backend *b, struct core_expect *e);
/* Forgets the head after it was answered. */
void core_expect_pop(struct core_backend *b);
/* Undoes what the first `count` would have changed, then forgets them: the server skipped them.
 * `failed`: all but the very first, which it has tried. */
void core_expect_undo(struct core_backend *b, uint32_t count, bool failed);
/* The client's unnamed statement is about to be another one, or none, by the message that is
 * expected last: the server may skip it. */
void core_expect_keep_unnamed(struct core_backend *b);
static inline struct core_expect *core_expect_at(struct core_backend *b, uint32_t nth)
{
    return &b->expect[(b->expect_head + nth) & (b->expect_capacity - 1)];
}
/* What is to come next, for whoever reads the log. */
const char *core_expect_text(struct core_backend *b);
void core_expect_emit_fakes(struct core_backend *b, struct core_actions *a);
/* Emits made-up replies whose turn has come. */
static inline void core_expect_fakes(struct core_backend *b, struct core_actions *a)
{
    const struct core_expect *e = core_expect_head(b);
    if (e != NULL && e->kind == CORE_EXPECT_FAKE)
        core_expect_emit_fakes(b, a);
}

/* ---- core_batch.c ---- */

enum core_batch_status {
    CORE_BATCH_WHOLE,
    CORE_BATCH_MORE,
    CORE_BATCH_TOO_LONG,
    CORE_BATCH_EBADLEN,
    CORE_BATCH_EUNKNOWN,
};

/* A COMMIT or ROLLBACK in an extended batch: none yet, one behind reads, or anything else. */
enum core_batch_end { CORE_END_NONE, CORE_END_SEEN, CORE_END_OTHER };

/* What the front of the client's bytes is. */
struct core_batch {
    uint32_t size; /* bytes, when whole; what was seen, when too long */
    uint32_t messages;
    bool simple;   /* one Query or FunctionCall */
    bool executes; /* an Execute, a Query or a FunctionCall is in it */
    bool binds;
    bool flushes;           /* ends in Flush or in nothing, not in Sync */
    bool cut;               /* ... in nothing, and more of it may come */
    bool early;             /* ... in nothing, and nobody has waited for more */
    bool needs_server;      /* false: only Sync, Flush and Close of statements */
    bool all_local;         /* every statement in it is one that we answer */
    bool executes_unbound;  /* an Execute comes before any Bind */
    bool asks_portal;       /* ... or a Describe or Close of a portal */
    bool names;             /* a statement's name is in it */
    bool uses_unnamed;      /* the unnamed statement, as an earlier batch has made it */
    bool odd;               /* a message of it is malformed, or a name too long */
    bool bound;             /* a Bind is not executed yet */
    bool opens;             /* a portal that has a name, or is bound and not executed */
    bool continues;         /* an Execute goes on with a portal that was executed before */
    bool drops_unnamed;     /* the unnamed statement will not be what it is */
    bool doubtful;          /* a statement in it does not look like a write, and may be one */
    bool closes;            /* reads, then the end of their block, and nothing behind it */
    uint8_t end;            /* enum core_batch_end */
    uint8_t runs;           /* Executes behind the end of a block */
    bool parse_known_valid; /* its first message is an unnamed Parse: s->parse_known */
    bool one;     /* one Query, or all messages of one transaction statement with their Sync */
    bool control; /* one that core_begin_answers(), up to its Execute or Sync: it was cut there */
    uint32_t hashes_count;
    struct router_class class;
    /* the rest says something only where others say so, and is not cleared */
    struct router_hash hashes[CORE_HASHES_MAX]; /* so many as hashes_count */
    struct proto_span text;                     /* of `one` and of `control` */
    struct router_detail detail;                /* of a simple Query on the cold path */
};
enum core_batch_status core_batch_scan(struct core_session *s, struct proto_span in,
                                       struct core_batch *ret);

enum core_message { CORE_MESSAGE_GOOD, CORE_MESSAGE_MALFORMED, CORE_MESSAGE_LONG_NAME };
/* Of an extended message: would the server refuse its form, and are its names short enough? */
enum core_message core_message_check(uint8_t type, struct proto_span body);

/* The unnamed statement's block starts with this. */
struct core_unnamed {
    uint64_t id;
    struct core_known known;
};
/* The body of the Parse of the unnamed statement, which the session has. */
static inline struct proto_span core_unnamed_body(const struct core_session *s)
{
    return core_span_skip(core_block_span(s->unnamed), sizeof(struct core_unnamed));
}

/* ---- core_inject.c ---- */

/* Errors that are ours, provoked on the server so that its state follows (CORE_REPLACE_ERROR). */
enum core_own_error {
    CORE_OWN_DUPLICATE_STATEMENT,
    CORE_OWN_NO_UNNAMED_STATEMENT,
    CORE_OWN_NO_STATEMENT,
    CORE_OWN_LONG_NAME,
    CORE_OWN_TOO_MANY_STATEMENTS,
    CORE_OWN_TOO_MANY_PINS,
    CORE_OWN_NO_SEQUENCE_VALUE,
    CORE_OWN_PIN_ON_REPLICA,
    CORE_OWN_ACT_ON_REPLICA,
    CORE_OWN_QUERY_TIMEOUT,
    CORE_OWN_OTHER_SHAPE,
    CORE_OWN_CANCELLED,
    CORE_OWN_MAY_NOT_CANCEL,
    CORE_OWN_MAY_NOT_END,
    CORE_OWN_NO_BLOCKS,
    CORE_OWN_MOVED,
    CORE_OWN_ABORTED,
    CORE_OWN_COUNT
};
char *core_copy_name(struct proto_span name);
void core_inject_parse(struct core_actions *a, struct proto_span name, struct proto_span text,
                       struct proto_span types);
/* ... of a statement, under this name. */
void core_inject_stmt(struct core_actions *a, struct proto_span name, const struct core_stmt *stmt);
/* A Sync of ours. The session's books (syncs, unsynced) are the caller's. */
void core_inject_sync(struct core_backend *b, struct core_actions *a,
                      enum core_expect_action action);
void core_inject_close(struct core_session *s, struct core_actions *a, struct proto_span name,
                       struct core_stmt *stmt);
void core_list_in_backend(struct core_session *s, struct core_actions *a,
                          const struct core_stmt *stmt);
/* An error for nobody: what was executed since the last Sync is rolled back. */
void core_inject_error(struct core_backend *b, struct core_actions *a);
void core_provoke(struct core_session *s, struct core_actions *a, enum core_own_error error,
                  struct proto_span name);
/* A Parse under a name that the client has given already: the server finds what is wrong with the
 * text first, and else says that such a name is taken. */
void core_refuse_parse(struct core_session *s, struct core_actions *a,
                       const struct proto_parse *parse);
void core_ensure_named(struct core_session *s, struct core_actions *a, struct core_stmt *stmt);
/* s->replan: was it not parsed since? What is described and what is bound have to be one plan. */
bool core_plan_anew(struct core_session *s, const struct core_stmt *stmt);
/* Parses it; the backend's list has it already, as what was used last. */
void core_inject_named(struct core_session *s, struct core_actions *a, struct core_stmt *stmt);
bool core_ensure_unnamed(struct core_session *s, struct core_actions *a);

/* ---- core_emit.c ---- */

/* Writes one for the client. `name`: of the statement that it is about, or "". */
void core_own_error_write(struct core_session *s, enum core_own_error error, const char *name,
                          struct core_actions *a);
/* One that is about no statement, for whoever writes it in another way. */
struct proto_error_text core_own_error_text(enum core_own_error error);
static inline enum core_own_error core_own_denied(uint8_t cancelled)
{
    return cancelled == CORE_CANCELLED_MAY_NOT_END      ? CORE_OWN_MAY_NOT_END
           : cancelled == CORE_CANCELLED_MAY_NOT_CANCEL ? CORE_OWN_MAY_NOT_CANCEL
                                                        : CORE_OWN_CANCELLED;
}
/* What a statement fails with that was cancelled before it ran. */
static inline enum core_own_error core_own_cancelled(const struct core_session *s)
{
    return s->timed_out ? CORE_OWN_QUERY_TIMEOUT : core_own_denied(s->cancelled);
}

/* Sends the batch at the front of `in` (s->batch_left bytes of it; when streaming: what is there of
 * it) to s->backend, message by message, until it ends or the sink is full. Returns the bytes that
 * were taken; s->emitting is false when the batch has ended. */
size_t core_emit(struct core_session *s, struct proto_span in, struct core_actions *a);

/* ---- core_emit_parse.c ---- */

/* Keeps the body of an unnamed Parse, so that any backend can be told it. */
void core_unnamed_keep(struct core_session *s, struct proto_span body,
                       const struct core_known *known);
/* Of the unnamed statement, which the session has. */
struct proto_span core_unnamed_text(const struct core_session *s);
/* What a Query does to it. */
void core_unnamed_drop(struct core_session *s);
void core_emit_parse_unnamed(struct core_session *s, struct proto_span message,
                             struct core_actions *a);
void core_emit_parse_named(struct core_session *s, const struct proto_parse *parse,
                           struct core_actions *a);

/* ---- core_ahead.c: what goes in front of a client's message, in the same flight ---- */

/* Did another session leave the backend in a state that nobody knows? */
static inline bool core_ahead_is_foreign(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    const bool sequences = b->sequence_foreign && (s->group->asks_sequences || s->class.taints ||
                                                   s->group->database->keeps_sequences);
    return (b->tainted || sequences) && b->last_session_id != s->id && !s->preflight_alone;
}
/* All of another session is gone from it. */
static inline void core_backend_clean(struct core_backend *b)
{
    b->tainted = b->sequence_moved = b->sequence_foreign = false;
}
/* What the session that has just got a backend needs there: may it go along with its batch? False
 * also when it needs nothing. */
bool core_ahead_may_fly(const struct core_session *s);
/* True when something has to go in front of the next message. */
static inline bool core_ahead_waits(const struct core_session *s)
{
    return s->block == CORE_DEFERRED || s->settings_fly;
}
/* Sends it: settings, then a deferred BEGIN and what its block has left for itself. */
void core_ahead_emit(struct core_session *s, struct core_actions *a);
/* An error came to what is at the head of what is expected. True: it was a reset, and the session
 * has left that backend for another one. */
bool core_ahead_reset_failed(struct core_backend *b, uint64_t now_ns, struct core_actions *a);
/* The server has made the settings. */
void core_ahead_done(struct core_session *s);
/* One of these, at the head of what is expected, was answered with this error. Writes what the
 * client gets to see of it; the server skips the rest. True: the session has left that backend, as
 * it is replayed elsewhere, or as the block that was to begin has failed. */
bool core_ahead_failed(struct core_backend *b, const struct proto_error *error,
                       const char *sqlstate, uint64_t now_ns, struct core_actions *a);

/* ---- core_life.c ---- */

/* CORE_ERROR_CLASSES: it is no SQLSTATE. */
uint32_t core_error_class(const char *sqlstate);
/* One more that the session's client gets. */
void core_count_error(const struct core_session *s, const char *sqlstate);

void core_write_error(struct core_session *s, const struct proto_error_text *text,
                      struct core_actions *a);
void core_fatal_text(struct core_session *s, const struct proto_error_text *text,
                     struct core_actions *a);

/* ---- core_notification.c ---- */

/* Writes the NotificationResponse with the client's number for the process where one is due. False:
 * it goes as it is. */
bool core_notification_renamed(const struct core_backend *b, struct proto_span message,
                               struct core_actions *a);

/* ---- core_relay.c, core_relay_error.c, core_relay_ready.c ---- */

/* What becomes of a server's message. */
enum core_verdict {
    CORE_VERDICT_FORWARD,
    CORE_VERDICT_SWALLOW,
    CORE_VERDICT_BAD,  /* it is no protocol */
    CORE_VERDICT_STOP, /* the session has left this backend */
};
enum core_verdict core_relay_error(struct core_backend *b, struct proto_span body, uint64_t now_ns,
                                   struct core_actions *a);
/* A ReadyForQuery that the client gets, its status in b->status. */
void core_relay_ready(struct core_backend *b, uint64_t now_ns, struct core_actions *a);
/* Level global: a write has finished, or may have. NULL: nobody asks. */
void core_write_raise(uint64_t *global_write_ns, uint64_t now_ns);
/* The client reset something that it had brought along, and the server went back to its own: may it
 * be mended now? */
bool core_may_mend(const struct core_session *s);

/* ---- core_deallocate.c ---- */

/* In front of a Bind: of a DEALLOCATE of a name that only we know? Then the server gets it. */
void core_deallocate_bound(struct core_session *s, const struct router_class *class,
                           struct proto_span text, struct core_actions *a);
/* A statement has completed in a flight with one that forgets all of them. Is this that one? */
void core_deallocate_completed(struct core_backend *b, struct proto_span tag);
/* Behind its Execute: the client's name is gone with it. */
void core_deallocate_executed(struct core_session *s);
void core_deallocate_detach(struct core_session *s);

/* ---- core_splice.c: RESET among other statements of one string ---- */

/* Sends the Query with what the client brought along put in behind its RESET. False: there is
 * nothing to be put in; nothing was sent. */
bool core_splice(struct core_session *s, struct router_changes *changes, struct proto_span text,
                 struct core_actions *a);
/* Behind an Execute of such a statement: the settings that its RESET takes are made again. */
void core_splice_behind(struct core_session *s, const struct router_changes *changes,
                        struct core_actions *a);
/* Is what the server answers now what was put in? */
static inline bool core_splice_covers(const struct core_expect *e)
{
    for (uint32_t i = 0; e->changes != NULL && i < e->changes->splices_count; i++)
        if (e->completed - e->changes->splices[i].from < e->changes->splices[i].count)
            return true;
    return false;
}
/* Its nth statement has completed. Which one of the client's is that? UINT32_MAX: none. */
uint32_t core_splice_completed(struct core_session *s, const struct router_changes *changes,
                               uint32_t statement);
/* Writes an error for the client with the position in the client's own text. False: it is so. */
bool core_splice_error(const struct router_changes *changes, struct proto_span body,
                       struct core_actions *a);

/* ---- core_lend.c ---- */

/* In front of a text that names prepared statements in SQL: those of the protocol are there under
 * these names. False: it names none. */
bool core_lend(struct core_session *s, struct proto_span text, struct core_actions *a);
/* In front of what comes next: no longer. */
void core_lend_back(struct core_session *s, struct core_actions *a);
/* In front of a Parse: the server says so if SQL has given its name already. */
void core_lend_ask(struct core_session *s, const struct proto_parse *parse, struct core_actions *a);
/* SQL has dropped the statement of that name. */
void core_lend_forget(struct core_session *s, const char *name);
void core_lend_detach(struct core_session *s);

/* ---- core_learn.c ---- */

/* A Bind of this statement (NULL: the unnamed one, or none) is expected as `e`. */
void core_learn_bind(struct core_session *s, struct core_expect *e, struct proto_span portal,
                     struct core_stmt *stmt);
void core_learn_other(struct core_session *s, struct core_expect *e, struct proto_span message);
/* An Execute is expected as `e`: what text is it of? Its portal was bound by this flight, or is the
 * one that was bound last. On the warm path: that one has no name. */
static inline void core_learn_execute(struct core_session *s, struct core_expect *e,
                                      struct proto_span message)
{
    if (message.size > PROTO_HEADER_SIZE && message.base[PROTO_HEADER_SIZE] == 0 && s->portal == 0)
        e->hash = s->portal_hash;
    else
        core_learn_other(s, e, message);
}
/* A replica said that this was no read: every copy of the verdict is corrected. All zero: nobody
 * had called it one. */
void core_learn(struct core_session *s, const struct router_hash *hash, uint64_t now_ns);

/* ---- core_gone.c ---- */

/* An ErrorResponse came to a backend that is drained. */
void core_drain_error(struct core_backend *b);
/* Something came to it: one that is not to be used again ends with its last reply. */
void core_drain_data(struct core_backend *b);

/* ---- core_replication.c ---- */

/* The start-up parameter `replication`; base NULL: not given. False: it has no meaning. */
bool core_replication_read(struct proto_span value, enum core_replication *ret);
void core_link_client_data(struct core_session *s, struct proto_span in, struct core_actions *a);
void core_link_server_data(struct core_backend *b, struct proto_span in, struct core_actions *a);
void core_link_server_lost(struct core_backend *b, struct core_actions *a);

/* ---- core_send.c ---- */

/* Does a transaction end in it before its ReadyForQuery says so, or may one? */
static inline bool core_ends_inside(const struct router_class *c)
{
    const bool chains = c->verdict == ROUTER_VERDICT_TRANSACTION && !c->ends && !c->rolls_back &&
                        (c->reason == ROUTER_REASON_COMMIT || c->reason == ROUTER_REASON_ROLLBACK);
    return c->has_transaction || c->unread || chains;
}
/* May the next batch go to the backend that the session has? */
bool core_may_follow(const struct core_session *s, const struct router_class *class);
/* What a batch changes about the session, at the moment its first byte leaves. */
void core_start_batch(struct core_session *s, uint64_t now_ns);
/* Keeps what was sent, in case it must be sent again elsewhere. */
void core_keep(struct core_session *s, struct proto_span bytes);
/* Brings the backend into the state that the session's settings ask for. False: it is in it, or
 * will be as the batch is sent. */
bool core_preflight(struct core_session *s, struct core_actions *a);
/* After the client reset what it had brought along: its start-up settings again. */
bool core_preflight_alone(struct core_session *s, struct core_actions *a);

/* ---- core_flight.c ---- */

/* Is all that is in flight known to write nothing? */
bool core_writes_nothing(const struct core_session *s);
/* What the work on `b` met that is no ErrorResponse, for the node's breaker. */
void core_outcome(struct core_backend *b, enum breaker_event event, struct core_actions *a);
void core_not_in_flight(struct core_session *s, uint8_t node);
void core_forget_flight(struct core_session *s);
/* What was to be sent again is not: what its client has had of it already stays true. */
void core_replay_ends(struct core_session *s);

/* ---- core_session.c and its neighbours ---- */

void core_pump(struct core_session *s, struct proto_span in, uint64_t now_ns,
               struct core_actions *a);
void core_attach(struct core_session *s, struct core_backend *b);
void core_detach(struct core_session *s);
void core_want(struct core_session *s, uint64_t now_ns, struct core_actions *a);
/* True when what comes next must go to the backend that it has. */
bool core_is_bound(const struct core_session *s);
/* Nothing is open, outstanding or half-way; but it may be pinned. */
bool core_at_rest(const struct core_session *s);
bool core_may_release(const struct core_session *s);
void core_release(struct core_session *s, struct core_actions *a);
/* Has nothing of what is in flight begun to run, and is all of it here? Then it can be taken back
 * in front of what came since. */
bool core_unbegun_whole(const struct core_session *s);
void core_unbegun_take(struct core_session *s);
/* Takes back what is in flight and asks for another node. False: it may not be sent again. */
bool core_replay(struct core_session *s, uint8_t avoid_node, enum router_reason reason,
                 uint64_t now_ns, struct core_actions *a);
/* The session's backend is gone and nothing can be replayed. */
void core_server_lost_for(struct core_session *s, uint64_t now_ns, struct core_actions *a);
/* The batch at the front fails, before anything of it was sent. */
void core_fail_unsent(struct core_session *s, const struct proto_error_text *error, uint64_t now_ns,
                      struct core_actions *a);
/* ... with 57014, as its client asked while settings were sent ahead of it. */
void core_cancel_unsent(struct core_session *s, uint64_t now_ns, struct core_actions *a);
/* Its client asked while the batch at the front waited for something of ours, and now it is its
 * turn. True: it has failed. False: a server has to know that it fails (s->cancel_denied), or it
 * begins or ends a block, and goes on. */
bool core_cancel_next(struct core_session *s, const struct core_batch *batch,
                      struct core_actions *a);
/* The same of what is too long to be planned. False: it goes on. */
bool core_cancel_long(struct core_session *s, struct proto_span in, struct core_actions *a);
/* All replies are in: books are closed, what was kept is given back. */
void core_flight_over(struct core_session *s, uint64_t now_ns, struct core_actions *a);
void core_ready_write(struct core_session *s, struct core_actions *a);
void core_fatal(struct core_session *s, const char *sqlstate, const char *message, const char *hint,
                struct core_actions *a);
void core_error(struct core_session *s, const char *sqlstate, const char *message, const char *hint,
                struct core_actions *a);
void core_preflight_over(struct core_session *s, uint64_t now_ns, struct core_actions *a);

/* ---- core_route.c ---- */

void core_request_fill(const struct core_session *s, const struct router_class *class,
                       struct router_request *ret);
void core_route_count(struct core_session *s, enum router_target target, uint8_t node,
                      enum router_verdict verdict, enum router_reason reason, uint64_t now_ns);
/* For a batch that goes to the backend that the session has already. */
void core_route_attached(struct core_session *s, const struct router_class *class, uint64_t now_ns);
static inline uint64_t core_random(struct core_worker *w)
{
    uint64_t x = w->random; /* xorshift: for balancing only */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return w->random = x;
}

/* ---- core_local.c ---- */

/* Answers a batch that needs no server. */
void core_local_answer(struct core_session *s, struct proto_span in, const struct core_batch *batch,
                       uint64_t now_ns, struct core_actions *a);
/* A Parse that no server has to see. False: it failed, the error is written. */
bool core_local_parse(struct core_session *s, struct proto_span body, struct core_actions *a);
/* A Close of a statement of ours, if it has that name. */
void core_local_close(struct core_session *s, const struct proto_target *target);

/* ---- core_failed.c: CORE_FAILED ---- */

/* A deferred block has failed. */
void core_block_fails(struct core_session *s);
/* Returns how many bytes of the batch were answered; 0: none, as it is to be sent after all. */
size_t core_failed_answer(struct core_session *s, struct proto_span in,
                          const struct core_batch *batch, uint64_t now_ns, struct core_actions *a);
/* What is too long to be kept, and comes in such a block. */
void core_failed_long(struct core_session *s, struct proto_span in, struct core_actions *a);
/* Its error was written: what is still to come of the message or batch at the front is dropped. */
void core_drop_long(struct core_session *s, struct proto_span in, struct core_actions *a);

/* ---- core_profile.c ---- */

struct core_profile *core_profile_get(struct core_worker *w, struct core_group *group,
                                      struct core_settings *start);
void core_profile_release(struct core_worker *w, struct core_profile *p);
/* Does its welcome say that the parameter has this value? */
bool core_profile_says(const struct core_profile *p, const char *name, const char *value);
/* Makes the welcome from a backend's own parameters and what `overlay` changed. */
void core_profile_learn(struct core_profile *p, struct proto_span params,
                        struct proto_span overlay);
/* ... from a connection's, which it remembers. */
void core_profile_meet(struct core_worker *w, struct core_profile *p, struct core_base *base,
                       struct proto_span overlay);

/* ---- core_login.c ---- */

/* Everything before CORE_QUERY. Returns true when bytes may be left for the next phase. */
void core_login_data(struct core_session *s, uint64_t now_ns, struct core_actions *a);
void core_login_welcome(struct core_session *s, struct core_actions *a);
void core_login_free(struct core_session *s);
/* The server that was to tell the parameters is gone. */
void core_login_forget(struct core_session *s);
/* A ParameterStatus message that the client's own settings caused. */
void core_login_parameter(struct core_session *s, struct proto_span message);

#endif
