/* SPDX-License-Identifier: PostgreSQL
 *
 * core_pin: what pins a session to its backend, or forbids it what it asks for, and whether that is
 * still there (core_unpin.c). For the session core alone.
 */
#ifndef CORE_PIN_H
#define CORE_PIN_H

#include "core_state.h"

/* What no reset takes back: a library, a backup, the seed of random(), and what nobody can tell.
 * The connection ends with the session. */
enum {
    CORE_PINS_CLOSING = ROUTER_PIN_LOAD | ROUTER_PIN_BACKUP | ROUTER_PIN_SEED | ROUTER_PIN_OPAQUE
};

/* A batch whose pin was denied, while nothing of its session is at a server. */
enum core_pin_wait {
    CORE_PIN_WAIT_NONE,
    CORE_PIN_WAITS, /* for one to become free: without a node, as who waits for a primary */
    CORE_PIN_WAITED /* in vain: it goes to the primary, and fails there */
};

/* Why it would pin the session: enum router_pin bits. */
uint16_t core_pins_found(const struct core_session *s, const struct router_class *class);
static inline uint16_t core_pins_of(const struct core_session *s, const struct router_class *class)
{
    const bool none =
        class->pins == 0 && !class->moves_sequence && !class->changes && !class->opaque;
    return none ? 0 : core_pins_found(s, class); /* most have none */
}
/* Before a batch is sent: would it pin the session, and is there a pin left? */
void core_pin_ask(struct core_session *s);
/* After that. True: it waits for a pin (->want, of no node), until core_redecide() finds one. */
bool core_pin_waits(struct core_session *s, uint64_t now_ns, struct core_actions *a);
/* Likewise: would its currval or lastval be this session's own? Only a pinned session, or a block
 * that has written, is still on the backend that its nextval ran on. */
void core_sequence_ask(struct core_session *s);
/* Does its batch leave anything behind that no other session may find? (If it is not misread.) */
static inline bool core_taints(const struct core_session *s)
{
    return s->class.taints || (s->class.moves_sequence && s->group->asks_sequences);
}
/* As it is sent. */
void core_pin_take(struct core_session *s, const struct router_class *class);
/* A batch that is too long to be planned: its statements are seen only as they go, one by one, and
 * pin then. False: on a replica none may; an error was provoked. */
bool core_pin_late(struct core_session *s, const struct router_class *class,
                   struct core_actions *a);
/* Without asking: what the server has answered cannot be followed. */
void core_pin_force(struct core_session *s, uint16_t pins);
/* The server has said that this is there. False: no pin is left for it. */
bool core_pin_found(struct core_session *s, uint16_t pins);
/* Some of what pins is gone. */
void core_pin_release(struct core_session *s, uint16_t pins);
void core_pin_drop(struct core_session *s);
/* The server has said that no transaction is open. `in_block`: one was. */
void core_pin_ready(struct core_session *s, bool in_block);
/* Likewise: would it begin a block, where pool_mode = statement allows none? */
void core_block_ask(struct core_session *s);

/*
 * Is it there? A truth value a kind, in the order of the kinds. All names and operators are
 * qualified, so that no search_path leads elsewhere. What DISCARD TEMP would drop depends on the
 * temporary schema; our own statements are named sg_..., any other is the client's.
 */
#define CORE_PINS_QUESTION                                                                      \
    "EXISTS (SELECT FROM pg_catalog.pg_listening_channels()),"                                  \
    "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' " \
    "AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),"                              \
    "EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) "         \
    "'pg_catalog.pg_namespace'::pg_catalog.regclass "                                           \
    "AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()),"                      \
    "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql "                     \
    "OR NOT pg_catalog.starts_with(name, 'sg_')),"                                              \
    "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)"
#define CORE_PINS_ASKED_IN_ORDER \
    ROUTER_PIN_LISTEN, ROUTER_PIN_ADVISORY, ROUTER_PIN_TEMP, ROUTER_PIN_PREPARE, ROUTER_PIN_CURSOR

/* ---- core_unpin.c: is what pins a session still there? ---- */

/* At rest, where it is in doubt: asks the server, unseen by the client. True: what comes next has
 * to wait for the answer, and for core_flight_over(). */
bool core_unpin_ask(struct core_session *s, struct core_actions *a);
/* The answer's row; its ReadyForQuery. */
void core_unpin_row(struct core_session *s, struct proto_span body);
void core_unpin_ready(struct core_session *s);

#endif
