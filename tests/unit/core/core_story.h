/* SPDX-License-Identifier: PostgreSQL
 *
 * core_story: a session core among peers that say what a test tells them to, in a short notation.
 *
 * Messages are a letter and, in parentheses, what matters of them: "Q(SELECT 1)", "P(name|text)",
 * "B(name|portal)", "E(portal|rows)", "C(tag)", "Z(I)", "E(42601)". Everything that the core sends
 * or wishes is written to a log in the same notation; a test compares it, line by line.
 */
#ifndef CORE_STORY_H
#define CORE_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core.h"
#include "core_reset.h"

/* A reset of ours, as the log has it (60 bytes of a query), and what a server says to it. */
#define STORY_RESET                                                                   \
    "Q(DISCARD ALL) Q(SELECT pg_catalog.setseed(pg_catalog.concat('.',pg_catalog.t) " \
    "Q(DO 'DECLARE s pg_catalog.text;e pg_catalog.text;BEGIN FOR s,)"
#define STORY_RESET_DONE "C(DISCARD ALL) Z(I) T(a) D(1) C(SELECT 1) Z(I) C(DO) Z(I)"

enum { STORY_NODES = 3, STORY_LOG_SIZE = 16384 };

struct story {
    struct core_worker worker;
    struct router_topology topology;
    struct core_database database;
    struct core_group group;
    uint64_t routes[CORE_ROUTE_COUNTERS];
    uint8_t reads;
    uint64_t now_ns;
    struct core_session session;
    bool gone;
    bool unended;                               /* the core has said so */
    bool nobody_grants;                         /* wishes for a backend are logged and stay open */
    bool nobody_drains;                         /* the client does not take what it is sent */
    bool nobody_answers;                        /* who a user is stays open */
    struct core_login_answer answer;            /* for whoever logs in */
    struct core_backend *backends[STORY_NODES]; /* 0: primary, 1 and 2: replicas */
    char log[STORY_LOG_SIZE];
    size_t log_size;
    size_t sent; /* bytes, to servers */
    /* what the breakers were told last, but for successes */
    struct breaker_outcome outcome;
    uint8_t outcome_node;
    uint64_t outcome_what;
    uint8_t misfit; /* and of a reply that did not fit */
    const char *misfit_expected;
};

/* A session before its first byte; story_begin() logs it in (trust) and empties the log. */
void story_init(struct story *st);
void story_begin(struct story *st);
/* Frees everything and sees that nothing is left. */
void story_end(struct story *st);

void story_client(struct story *st, const char *messages);
/* Nothing more comes for a while: what has no end begins. */
void story_pause(struct story *st);
void story_client_bytes(struct story *st, const void *bytes, size_t size);
void story_server(struct story *st, uint32_t node, const char *messages);
void story_server_bytes(struct story *st, uint32_t node, const void *bytes, size_t size);
void story_server_dies(struct story *st, uint32_t node);
void story_execute(struct story *st, struct core_actions *a);
void story_grant(struct story *st);
/* Replicas show everything up to now. */
void story_replicate(struct story *st);
void story_leave(struct story *st);

/* What was logged since the last time. */
void story_expect(struct story *st, const char *log);

/* "a" was described on the replica, to whoever keeps descriptions; then reads go to the primary. */
static inline struct story *story_described(void **state)
{
    struct story *st = *state;
    story_client(st, "P(a|SELECT v FROM t) D(Sa) S");
    story_server(st, 1, "1 t T(int) Z(I)");
    st->topology.nodes[1].breaker = BREAKER_OPEN;
    st->log_size = 0;
    return st;
}

/* For cmocka: the story of a client that has logged in. */
static inline int story_open(void **state)
{
    static struct story st;
    story_begin(&st);
    *state = &st;
    return 0;
}

static inline int story_close(void **state)
{
    story_end(*state);
    return 0;
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, story_open, story_close)

/* The first read: the primary's connection is known already, the replica's is made by it. */
static inline void story_read_on_replica(struct story *st)
{
    story_client(st, "Q(SELECT 1)");
    story_server(st, 1, "T(a) D(1) C(SELECT 1) Z(I)");
    story_expect(st, "replica: Q(SELECT 1)\n"
                     "client: T D(1) C(SELECT 1) Z(I)\n"
                     "release replica\n");
}

/* As bytes, for those who want to cut them. Returns their size. */
size_t story_encode(bool to_server, const char *messages, uint8_t *buf, size_t buf_size);

#endif
