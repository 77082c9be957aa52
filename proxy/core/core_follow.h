/* SPDX-License-Identifier: PostgreSQL
 *
 * core_follow: a session's settings, from what servers answer to its statements. For the session
 * core alone.
 */
#ifndef CORE_FOLLOW_H
#define CORE_FOLLOW_H

#include "core_state.h"
#include "proto_message.h"
#include "router_change.h"

enum core_follow {
    CORE_FOLLOW_NOTHING,
    CORE_FOLLOW_COMMIT,
    CORE_FOLLOW_ROLLBACK,
    CORE_FOLLOW_CHANGES,  /* as e->changes says, statement by statement */
    CORE_FOLLOW_UNREAD,   /* nobody read the text: the answer's tag has to do */
    CORE_FOLLOW_ASKED,    /* a question of ours: core_unpin.c */
    CORE_FOLLOW_LEFT,     /* ... : core_left.c */
    CORE_FOLLOW_RESTORED, /* what the client brought along is there again: core_splice.c */
};
/* A statement is about to be sent. *ret_changes is NULL or to be given to its expected reply. */
enum core_follow core_follow_read(struct core_session *s, const struct router_class *class,
                                  struct proto_span text, struct router_changes **ret_changes);
/* ... and is being executed. */
void core_follow_sent(struct core_session *s, struct core_expect *e, enum core_follow follow,
                      struct router_changes *changes);
/* Its CommandComplete. `body`: of that message. */
void core_follow_completed(struct core_backend *b, struct core_expect *e, struct proto_span body,
                           struct core_actions *a);
/* Its PortalSuspended. */
void core_follow_suspended(struct core_backend *b, struct core_expect *e, struct core_actions *a);
/* A ParameterStatus of its server. */
void core_follow_reported(struct core_session *s, const struct proto_parameter *parameter);
/* A ReadyForQuery that the client gets, its status in b->status. */
void core_follow_ready(struct core_session *s);
/* The transaction is over, and has changed nothing. */
void core_follow_over(struct core_session *s);
void core_follow_attach(struct core_session *s);
void core_follow_detach(struct core_session *s);
void core_follow_deinit(struct core_session *s);
/* It cannot be told any more what the settings are: they stay where they are. */
void core_follow_lose(struct core_session *s, struct core_actions *a);
static inline bool core_follow_pending(const struct core_session *s)
{
    return s->settings_before != NULL || s->savepoints != NULL || s->local_salted;
}
/* The server has these, which are not what was believed. Takes the reference. No transaction is
 * open. */
void core_follow_adopt(struct core_session *s, struct core_settings *next);
/* What the names of statements that are parsed now are mixed with. False: with nothing. */
bool core_follow_salt(const struct core_session *s, uint8_t ret[CORE_DIGEST_SIZE]);

/* ---- core_bound.c: a statement that is bound by one message and executed by another ---- */

/* `what`: the statement. False: what it sets cannot be followed, and its backend is a replica. */
bool core_bound_set(struct core_session *s, const struct router_class *class,
                    const struct proto_parse *what, const struct proto_bind *bind,
                    struct core_actions *a);
/* `body`: of the Execute that `e` answers. */
void core_bound_executed(struct core_session *s, struct core_expect *e, struct proto_span body);
void core_bound_clear(struct core_session *s);

#endif
