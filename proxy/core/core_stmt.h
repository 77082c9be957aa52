/* SPDX-License-Identifier: PostgreSQL
 *
 * core_stmt: prepared statements. A worker's table of texts, shared by its clients; a client's
 * names for them; and which of them a backend has. For the session core alone.
 */
#ifndef CORE_STMT_H
#define CORE_STMT_H

#include "core_state.h"
#include "proto_message.h"

struct core_stmts *core_stmts_create(void);
void core_stmts_destroy(struct core_stmts *t);
/* Finds or makes the statement; returns one reference. */
struct core_stmt *core_stmt_intern(struct core_worker *w, struct proto_span text,
                                   struct proto_span types, const struct core_known *known);
void core_stmt_release(struct core_worker *w, struct core_stmt *stmt);
/* The same text as it is parsed under the settings that this session has now. Borrowed. */
struct core_stmt *core_stmt_under(struct core_session *s, struct core_stmt *stmt);
static inline struct core_stmt *core_stmt_hold(struct core_stmt *stmt)
{
    assert(stmt != NULL);
    stmt->references++;
    return stmt;
}

static inline struct proto_span core_stmt_text(const struct core_stmt *stmt)
{
    return (struct proto_span){.base = stmt->data, .size = stmt->text_size};
}
static inline struct proto_span core_stmt_types(const struct core_stmt *stmt)
{
    return (struct proto_span){.base = stmt->data + stmt->text_size + 1, .size = stmt->types_size};
}

/* Text and types of the statement that the client calls `name`, or of the unnamed one. False: there
 * is none. */
bool core_statement_read(const struct core_session *s, struct proto_span name,
                         struct proto_parse *ret);

/* A client's names. */
struct core_stmt *core_names_find(const struct core_names *names, struct proto_span name);
/* ... and what its client was told of it: core_shape.h. Borrowed until names change. */
struct core_stmt *core_names_find_shape(const struct core_names *names, struct proto_span name,
                                        uint64_t **ret_shape);
/* What its client was told of it; 0: nothing, or there is none. */
uint64_t core_names_told(const struct core_names *names, struct proto_span name);
/* Takes one reference of stmt. False: its client has no room for it (names_size_max). What was told
 * of it before core_names_take() is told still. */
bool core_names_set(struct core_session *s, struct proto_span name, struct core_stmt *stmt);
/* Returns the statement with its reference, or NULL. */
struct core_stmt *core_names_remove(struct core_session *s, struct proto_span name);
void core_names_clear(struct core_session *s);
/* Takes back a name that is given again where its batch is replayed. */
void core_names_take(struct core_session *s, struct proto_span name);

/* What a backend has. */
bool core_lru_touch(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE]);
/* Adds; when that needs room, *ret_evicted gets the digest that fell out and true is returned. */
bool core_lru_add(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE],
                  uint8_t ret_evicted[CORE_DIGEST_SIZE]);
/* What the statement that was touched or added last looks like there. */
uint64_t *core_lru_shape(struct core_backend *b);
/* ... or this one; NULL: it is not there. */
uint64_t *core_lru_shape_of(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE]);
void core_lru_remove(struct core_backend *b, const uint8_t digest[CORE_DIGEST_SIZE]);
void core_lru_clear(struct core_backend *b);
void core_server_name(const uint8_t digest[CORE_DIGEST_SIZE], char ret[CORE_SERVER_NAME_SIZE + 1]);
/* The digest that such a name was made of. */
void core_server_name_read(const char *name, uint8_t ret[CORE_DIGEST_SIZE]);

#endif
