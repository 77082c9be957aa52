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

#include "core_state.h"
#include "proto_message.h"
#include "proto_startup.h"
#include "proto_write.h"

/* ---- workers ---- */

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
/* Nothing came for a while behind a batch that has no end yet (actions->unended): what is there of
 * it begins, as a server would begin it, or it has ended meanwhile. */
struct core_actions *core_unended(struct core_session *s, uint64_t now_ns);
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
 * queue (core_refused() with 57014); cancel what runs on session->backend; end its wait. */
enum core_cancel {
    CORE_CANCEL_NOTHING,
    CORE_CANCEL_WAIT,
    CORE_CANCEL_SERVER,
    CORE_CANCEL_SIGNAL, /* it waits for core_signalled(): with CORE_SIGNAL_CANCELLED */
};
enum core_cancel core_cancel(struct core_session *s);
/* What came of actions->signal. Says nothing to a session that does not wait for it any more. */
struct core_actions *core_signalled(struct core_session *s, enum core_signal answer,
                                    uint64_t now_ns);
/* The topology changed: decide again. May return with ->want (another choice). */
struct core_actions *core_redecide(struct core_session *s, uint64_t now_ns);
/* Does it wait, without a node, for others to end what binds them to their connections? While
 * core_pin_is_left(), core_redecide() may find one for it. */
bool core_waits_for_pin(const struct core_session *s);
bool core_pin_is_left(const struct core_group *g);
/* It has waited for long enough: its statement fails, on the primary. */
struct core_actions *core_pin_give_up(struct core_session *s, uint64_t now_ns);

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
const char *core_login_refusal(const struct core_session *s); /* after login_failed; for the log */
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
