/* SPDX-License-Identifier: PostgreSQL
 *
 * core_left: what is left on a connection of what a session ran there that is not proven to leave
 * nothing. Before such a session goes to another connection, the server is asked: settings are
 * followed, the rest binds. For the session core alone.
 *
 * A text that has left nothing many times is not asked about again. What it leaves after all is
 * lost to its own session, and reaches no other: the connection stays tainted.
 */
#ifndef CORE_LEFT_H
#define CORE_LEFT_H

#include "core_state.h"

/* False: no memory. */
bool core_lefts_init(struct core_worker *w);
void core_lefts_deinit(struct core_worker *w);

/* The batch at the front is about to be sent, and is not proven to leave nothing. */
void core_left_note(struct core_session *s);
/* A text of it: which custom settings does it name? The server does not list them. */
void core_left_text(struct core_session *s, struct proto_span text);
/* At rest: asks the server, unseen by the client. True: what comes next has to wait for the answer.
 */
bool core_left_ask(struct core_session *s, struct core_actions *a);
/* The answer's rows, and its ReadyForQuery. */
void core_left_row(struct core_session *s, struct proto_span body);
void core_left_ready(struct core_session *s, uint64_t now_ns, struct core_actions *a);
/* The session has left the connection, or that was reset. */
void core_left_forget(struct core_session *s);

#endif
