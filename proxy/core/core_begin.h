/* SPDX-License-Identifier: PostgreSQL
 *
 * core_begin: the blocks that a client begins, from BEGIN to where a server has to know of it, and
 * from there to where that has to be the primary. For the session core alone.
 */
#ifndef CORE_BEGIN_H
#define CORE_BEGIN_H

#include "core_state.h"

struct core_batch;

/* Is the block READ ONLY, whoever knows of it, or would the next one be? */
bool core_begin_reads_only(const struct core_session *s);

/* ---- no server knows of it yet ---- */

/* Is it a BEGIN that is deferred, or the end of a block whose BEGIN was? */
bool core_begin_answers(const struct core_session *s, const struct router_class *class);
/* ... then this does what it says and writes its CommandComplete. */
void core_begin_execute(struct core_session *s, const struct router_class *class,
                        struct proto_span text, uint64_t now_ns, struct core_actions *a);
/* The first statement of a deferred block is about to be sent, and may itself say what kind it is:
 * SET TRANSACTION, or a second BEGIN. */
void core_begin_again(struct core_session *s, const struct router_class *class);
/* The block has ended, and no server knows of it. */
void core_begin_over(struct core_session *s);
/* Do the extended messages in `in` begin with Parse, Bind, Describe, Execute of one statement
 * without parameters or rows, of which none can fail for its form? Then their size, with a Sync
 * that follows; else 0. */
uint32_t core_begin_scan(const struct core_session *s, struct proto_span in, uint32_t size,
                         struct proto_span *ret_text);

/* ---- it begins on a replica, and moves to the primary (core_move.c) ---- */

/* May this deferred block begin on a replica, and leave it for the primary later? */
bool core_move_eligible(const struct core_session *s);
/* Is it something that can be said again on the primary: a savepoint, SET LOCAL? */
bool core_move_logs(const struct core_session *s, const struct core_batch *batch);
/* Of a block that is open on a replica: is it only parsed and described, and would be parsed on the
 * primary at the price of a portal that is half read? */
bool core_move_prepares(const struct core_session *s, const struct core_batch *batch);
/* Does a string of several statements begin with what a failed block takes, a ROLLBACK (TO)? What
 * is behind it may be the primary's; there the block moves as if it had not failed. */
bool core_move_revives(const struct core_batch *batch);
/* Likewise: must this be sent to the primary, and the block with it? */
bool core_move_needed(const struct core_session *s, const struct core_batch *batch);
/* Of a READ ONLY block, where that is not so: would something that cannot be said again live on the
 * replica behind it? Then the block stays there to its end. */
bool core_move_ties(const struct core_session *s, const struct core_batch *batch);
/* A read that is next: does the replica still do for it? It may have been drained, have fallen
 * behind, or behind another session's write, and the session may have asked for another level. */
bool core_move_unfit(const struct core_session *s, const struct core_batch *batch, uint64_t now_ns);
/* All replies are in: leaves the replica; the block is a deferred one again. `for_good`: it goes to
 * the primary. False: not yet, as the server is in the middle of a batch and has to end it first.
 */
bool core_move(struct core_session *s, bool for_good, struct core_actions *a);
/* The same, where the replica is lost or refused. */
void core_move_defer(struct core_session *s);
/* True when nothing runs in a movable block, but for a Sync of ours: its replica may vanish. */
bool core_may_defer(const struct core_session *s);
/* An error: a portal or cursor is missing. Was it where the block was before it moved? */
bool core_move_lost(const struct core_session *s, const char *sqlstate, const char *routine);
/* A statement that logs is on its way; a ReadyForQuery for the client; the block is over. */
void core_move_sent(struct core_session *s, struct proto_span text);
void core_move_ready(struct core_session *s);
void core_move_over(struct core_session *s);

#endif
