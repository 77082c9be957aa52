/* SPDX-License-Identifier: PostgreSQL
 *
 * core_shape: what a prepared statement takes and gives, as its client was told. For the session
 * core alone.
 *
 * PostgreSQL fixes it at Parse: when a table changes, Bind fails with 0A000, "cached plan must not
 * change result type", and drivers that keep descriptions (asyncpg, JDBC, lib/pq) prepare anew.
 * Here another connection may have parsed the text later than the client did, or does so now, and
 * would take parameters and give rows that the client reads as what they are not. So the last
 * description is remembered, as a number, of each name of a client and of each statement of a
 * backend. Before a Bind whose result is not described the two are compared, and where parameters
 * are binary. Where they differ, or the backend's is not known, the backend parses the text once
 * more, unless it just did, and describes it (Close, Parse, Describe, Flush); the batch goes on
 * behind the answer. If it still is another, the Bind fails as PostgreSQL would have it. A Bind
 * whose result is described is not held up; but if it names a format for each column (pgx) and the
 * server counts others, that is the same error, not one of the protocol.
 *
 * A number has two halves: the low one for the columns (or that there are none), the high one for
 * the parameters. A half that is 0 is not known; one that says "none" fits all, as such a text
 * never has any. Source: chapter 55.2.3 of the manual; RowDescription and ParameterDescription
 * in 55.7.
 */
#ifndef CORE_SHAPE_H
#define CORE_SHAPE_H

#include <stdlib.h>

#include "core_stmt.h"
#include "proto_message.h"

/* A setting that was answered meanwhile makes another statement of the same text. */
static inline uint64_t core_shape_id(const struct core_stmt *stmt)
{
    uint64_t id;
    memcpy(&id, stmt->digest, sizeof(id));
    return id | 1;
}

/* Would a description tell something that is not known of one of the two, or what differs?
 * `statement`: one of a statement, which tells parameters too. */
static inline bool core_shape_is_new(uint64_t told, uint64_t there, bool statement)
{
    const uint64_t mask = statement ? UINT64_MAX : UINT32_MAX;
    return ((told ^ there) & mask) != 0 || (uint32_t)told == 0 || (statement && told >> 32 == 0);
}

/* In front of a Bind of `stmt`, which the backend has (and used last). `told`: what its client
 * knows of it. False: the Bind does not go, or not yet (s->shape: CORE_SHAPE_ASKED). */
bool core_shape_fits(struct core_session *s, uint64_t told, struct core_stmt *stmt,
                     struct core_actions *a);

/* In front of such a Bind whose client calls the statement `name`, while what it will be told of it
 * is on its way: was the text parsed once more since, by another name of it? True: the Bind does
 * not go yet. */
bool core_shape_waits(struct core_session *s, struct proto_span name, struct core_stmt *stmt,
                      struct core_actions *a);

/* A cancel, or query_timeout, came. What fails of it is the question, or the Bind behind that. */
void core_shape_cancel(struct core_session *s);
/* True: the Bind that has waited fails for it. */
bool core_shape_cancelled(struct core_session *s, struct core_actions *a);

/* The next message will describe the portal of the statement that the client calls `name`. */
void core_shape_remember(struct core_session *s, struct proto_span name);
/* ... or will not: it is not here yet. */
void core_shape_remember_cut(struct core_session *s, const struct proto_bind *bind, uint64_t told);
/* No Describe is about what was remembered. */
static inline void core_shape_forget_name(struct core_session *s)
{
    if (s->shape_name != NULL) {
        free(s->shape_name);
        s->shape_name = NULL;
    }
}

/* Are not all of its parameters text, which any type reads in its own way? */
bool core_shape_sends_binary(const struct proto_bind *bind);

/* Is this a Describe of the portal that the Bind in front of it makes? */
static inline bool core_shape_is_told(const struct proto_bind *bind, struct proto_span next)
{
    const size_t size = bind->portal.size;
    return next.size > PROTO_HEADER_SIZE + 1 + size && next.base[0] == 'D' &&
           next.base[PROTO_HEADER_SIZE] == 'P' &&
           (size == 0 || memcmp(next.base + PROTO_HEADER_SIZE + 1, bind->portal.base, size) == 0) &&
           next.base[PROTO_HEADER_SIZE + 1 + size] == '\0';
}

/* In front of a Bind, as above; `next`: what is here behind it. A client that is told next what it
 * gets need not have known it, but what it gives. */
static inline bool core_shape_at_bind(struct core_session *s, const struct proto_bind *bind,
                                      uint64_t told, struct core_stmt *stmt, struct proto_span next,
                                      struct core_actions *a)
{
    const uint64_t there = *core_lru_shape(s->backend);
    if (s->backend->shaped_count > 0 && ((uint32_t)told == 0 || told >> 32 == 0) &&
        core_shape_waits(s, bind->statement, stmt, a))
        return false;
    if (!core_shape_is_told(bind, next)) {
        if (told != there && !core_shape_fits(s, told, stmt, a))
            return false;
        if (next.size == 0 || next.base[0] == 'D') /* it may be to come, or half of it is here */
            core_shape_remember_cut(s, bind, told);
        return true;
    }
    if (told >> 32 != there >> 32 && core_shape_sends_binary(bind) &&
        !core_shape_fits(s, told & ~(uint64_t)UINT32_MAX, stmt, a))
        return false;
    if (bind->portal.size == 0 && core_shape_is_new(told, there, false))
        core_shape_remember(s, bind->statement);
    else
        core_shape_forget_name(s);
    return true;
}

/* Is the plan of the Bind that goes next perhaps another than that which its client knows? It was
 * parsed just now, or by another client, and was not described as the same. `told`: as above, or
 * NULL for the unnamed statement. */
static inline bool core_shape_is_foreign(const struct core_session *s, const uint64_t *told)
{
    const struct core_backend *b = s->backend;
    const uint32_t columns = told != NULL ? (uint32_t)*told : 0;
    if (columns != 0 && columns != (uint32_t)*core_lru_shape(s->backend))
        return true;
    if (b->expect_head == b->expect_tail)
        return false;
    const struct core_expect *last = &b->expect[(b->expect_tail - 1) & (b->expect_capacity - 1)];
    return last->kind == CORE_EXPECT_PARSE && last->action == CORE_SWALLOW;
}

/* A foreign Bind met this error. Does it name a format for each column, and are there others than
 * it was told? PostgreSQL, which looks at the plan first, has 0A000 for that. */
bool core_shape_is_misfit(const struct core_expect *e, const char *sqlstate, const char *routine);

/* The Describe that is expected last is this one of a portal, whose statement was remembered. */
void core_shape_expect_portal(struct core_session *s, struct proto_span message);

/* The Describe that is expected last is of this statement, under the client's `name`. */
void core_shape_expect(struct core_session *s, struct core_stmt *stmt, struct proto_span name);

/* ParameterDescription or RowDescription came. False: a batch runs again, and its client has
 * another description of what comes now. */
bool core_shape_repeats(struct core_backend *b, uint8_t type, struct proto_span body);

/* Is what is described now of a batch that may run again, or does? Not when rows go along. */
static inline bool core_shape_is_kept(const struct core_backend *b, uint8_t next)
{
    const struct core_session *s = b->session;
    return s != NULL && (s->replay_swallow > 0 || (next != 'D' && next != 'C' && next != 'Z' &&
                                                   s->replayable && !s->rows_forwarded));
}

/* ParameterDescription, RowDescription or NoData came for the head of what is expected. */
void core_shape_described(struct core_backend *b, uint8_t type, struct proto_span body);

/* Does the head of what is expected want to see a description whole? */
static inline bool core_shape_is_awaited(const struct core_backend *b)
{
    return b->expect_head != b->expect_tail &&
           b->expect[b->expect_head & (b->expect_capacity - 1)].shaped;
}

/* What was under way is over. */
static inline void core_shape_forget(struct core_session *s)
{
    s->shape = CORE_SHAPE_NONE;
    s->shape_asked = 0;
    core_shape_forget_name(s);
}

#endif
