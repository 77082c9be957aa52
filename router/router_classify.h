/* SPDX-License-Identifier: PostgreSQL
 *
 * router_classify: what a statement text is, and why.
 *
 * Pure: no clock, no I/O, no global that is written. The cold path (libpg_query) allocates and
 * frees within one call. Thread-safe. The warm path is router_cache.h.
 * Rules: docs/explanation/classification.md.
 */
#ifndef ROUTER_CLASSIFY_H
#define ROUTER_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router_facts.h"
#include "router_reason.h"

/* What a BEGIN (or START TRANSACTION) declares. */
enum router_begin {
    ROUTER_BEGIN_NONE,      /* not a BEGIN */
    ROUTER_BEGIN_PLAIN,     /* nothing declared: the session's default decides */
    ROUTER_BEGIN_READ_ONLY, /* and not serializable */
    ROUTER_BEGIN_WRITE,     /* READ WRITE, or SERIALIZABLE in any form: the primary */
};

/* Statements that the proxy itself answers, or that change only the proxy's own state. */
enum router_local {
    ROUTER_LOCAL_NONE,
    ROUTER_LOCAL_EMPTY,     /* nothing but blanks, comments and semicolons */
    ROUTER_LOCAL_SHOW,      /* SHOW switchgear.<name> */
    ROUTER_LOCAL_SET,       /* SET [SESSION] switchgear.<name> = <value>; value "" for DEFAULT */
    ROUTER_LOCAL_SET_LOCAL, /* SET LOCAL switchgear.<name> = <value> */
    ROUTER_LOCAL_RESET,     /* RESET switchgear.<name> */
    ROUTER_LOCAL_EXPLAIN_ROUTE, /* EXPLAIN (ROUTE) <statement>: the body is at text + body_offset */
};

enum { ROUTER_LOCAL_NAME_SIZE = 32, ROUTER_LOCAL_VALUE_SIZE = 96 };

/* What binds a session to its backend. */
enum router_pin {
    ROUTER_PIN_LISTEN = 1 << 0,
    ROUTER_PIN_ADVISORY = 1 << 1,
    ROUTER_PIN_TEMP = 1 << 2,
    ROUTER_PIN_PREPARE = 1 << 3,
    ROUTER_PIN_CURSOR = 1 << 4,
    ROUTER_PIN_SEED = 1 << 5,
    ROUTER_PIN_LOAD = 1 << 6,
    ROUTER_PIN_BACKUP = 1 << 7,
    ROUTER_PIN_SNAPSHOT = 1 << 8,
    ROUTER_PIN_SET = 1 << 9, /* a setting that cannot be followed: its value is not in the text */
    ROUTER_PIN_SET_CONFIG = 1 << 10,
    ROUTER_PIN_LONG = 1 << 11,
    ROUTER_PIN_POOL = 1 << 12,     /* pool_mode = session */
    ROUTER_PIN_OTHER = 1 << 13,    /* beside another: RESET ALL does not undo it, as a role */
    ROUTER_PIN_OPAQUE = 1 << 15,   /* nobody can tell what is there, or no reset takes it back */
    ROUTER_PIN_SEQUENCE = 1 << 14, /* what currval answers; only where the database wants it kept */
};
/* The bit of a reason, and the reason that the lowest bit stands for. */
uint16_t router_pin_of(enum router_reason reason);
enum router_reason router_pin_reason(uint16_t pins);

/* Small enough to be a cache's value and to be copied freely. */
struct router_class {
    uint8_t verdict; /* enum router_verdict */
    uint8_t reason;  /* enum router_reason: of the first thing that decided */
    uint8_t begin;   /* enum router_begin: the text *is exactly one* BEGIN */
    uint8_t local;   /* enum router_local: the text is exactly one such statement */
    bool cacheable;  /* literals, comments and settings cannot change it */
    bool alone;      /* exactly one statement in the text */
    bool ends;       /* exactly one COMMIT/END (without AND CHAIN) */
    bool rolls_back; /* exactly one ROLLBACK/ABORT (without TO, without AND CHAIN) */
    bool writes;     /* makes the session dirty for read-your-writes: everything that is not a
                        read and not transaction, session or local; several statements with
                        one too; not what a hint or set_config(..., true) made a write, nor
                        what only asks a catalog or for something of the node's own */
    bool taints;     /* ran code of unknown effect on session state: CALL, DO, functions that are
                        unknown or volatile and not on the allow-list */
    bool unpins;     /* exactly one DISCARD ALL: nothing is bound to the backend any more */
    uint16_t pins;   /* enum router_pin bits: what in it binds the session to its backend */
    uint16_t
        releases;  /* ... and what it sets free, all of it done: UNLISTEN *, CLOSE ALL, RESET ALL */
    uint16_t asks; /* ... and what may be free behind it, which only the server can tell:
                      pg_advisory_unlock, CLOSE x, DROP, also pg_try_advisory_lock */
    bool changes;  /* router_changes_read() has something to say of it: SET, RESET, DISCARD ALL,
                      set_config, SAVEPOINT, COMMIT among others */
    bool moves_database; /* DROP, CREATE, or ALTER DATABASE ... RENAME or SET TABLESPACE is in it:
                            it wants nobody else to be connected to the database that it names */
    bool names_prepared; /* EXECUTE x, PREPARE x, or DEALLOCATE x among others: router_prepared.h */
    bool snapshot;       /* begin: with an isolation level above READ COMMITTED */
    bool declares;       /* begin: with any mode at all */
    bool sets_local;     /* exactly one SET LOCAL of a setting */
    bool unread;         /* the text was not read: too long, or the parser does not know it */
    bool resets;         /* RESET, SET ... TO DEFAULT or DISCARD ALL is in it */
    bool set_read_only; /* exactly one SET TRANSACTION READ ONLY / SET transaction_read_only = on */
    bool begins;        /* a BEGIN is in it, alone or among others */
    bool has_transaction; /* multi-statement text with BEGIN/COMMIT/... inside */
    bool changes_seed;    /* setseed: random() is no longer a read in this session */
    bool uses_random;
    bool asks_sequence;  /* currval or lastval, without anything before it that may have moved one:
                            the answer lies in the backend that this session's nextval ran on */
    bool moves_sequence; /* nextval, setval, or what may call them: DML, functions */
    bool proven;         /* it writes nothing: it asks for no relation and calls nothing,
                            or a replica has run it: router_cache_prove() */
    bool home;           /* the primary's, in a READ ONLY block too, where that has the choice: a
                            standby refuses it or answers something else */
    bool acts;           /* ... and a standby would do it, silently, on itself alone: locks,
                            pg_terminate_backend, dblink, COPY to a file */
    bool by_node_type;   /* a write by its node type: no hint can make it a read */
    bool hinted;         /* a hint decided */
    bool forgets_statements; /* DEALLOCATE ALL or DISCARD ALL somewhere in the text */
    bool opaque;             /* what it leaves on the connection cannot be asked for */
    bool outside;            /* it may reach outside of the database: dblink, foreign tables */
    bool keeps;              /* what it leaves may outlast each reset: its connection is closed,
                                rather than given to another session */
    bool changes_catalog;    /* DDL: names may mean something else behind it */
    bool makes_names;        /* DDL that only makes or drops some: what is known of others holds */
    uint8_t signals;         /* enum router_signal: it begins like SELECT pg_cancel_backend(...) */
};

/* Hints of one text: comments of the form  switchgear: key=value, key=value  and sqlcommenter's
 * key='value' pairs with the keys route, max_lag, tenant, consistency. See router_hint.h. */
enum router_route { ROUTER_ROUTE_AUTO, ROUTER_ROUTE_PRIMARY, ROUTER_ROUTE_REPLICA };

struct router_hint {
    uint8_t route;    /* enum router_route: already in the class's verdict */
    char max_lag[24]; /* these as written, "" when absent */
    char consistency[16];
    char tenant[64];
};

/* Details that do not fit a cache's value; filled where c->local or a hint needs them. */
struct router_detail {
    char name[ROUTER_LOCAL_NAME_SIZE];   /* after "switchgear.": lower case */
    char value[ROUTER_LOCAL_VALUE_SIZE]; /* without quotes */
    uint32_t body_offset;                /* EXPLAIN (ROUTE): where the statement begins */
    char deallocate[64];                 /* name in a single DEALLOCATE <name>, else "" */
    struct router_hint hint;             /* what the text's comments ask for */
    uint64_t work;                       /* instructions, about, that it took; at most twice
                                            ROUTER_WORK_MAX */
};

/*
 * A longer text, one that nests deeper, or one that would take the parser more than so many
 * instructions (estimated from its tokens: router_survey.h) is a write, reason too_long, without
 * being parsed: a worker serves nobody else meanwhile. So many are about 6 ms where a core does
 * 2,500 in a microsecond. Whoever reads a text a second time does so in a quarter of them.
 */
enum {
    ROUTER_TEXT_SIZE_MAX = 256 * 1024,
    ROUTER_DEPTH_MAX = 2000,
    ROUTER_WORK_MAX = 16 * 1000 * 1000,
    ROUTER_WORK_AGAIN_MAX = ROUTER_WORK_MAX / 4
};

/*
 * Classifies one query string (a simple Query's or a Parse's, possibly several statements). `text`
 * need not end with NUL and is not kept. A parse error is a write, an unknown node type is a write.
 * `context` says what the names in it stand for; NULL: nothing is known but the text. ret_detail
 * may be NULL.
 */
void router_classify(const char *text, size_t size, const struct router_context *context,
                     struct router_class *ret, struct router_detail *ret_detail);

#endif
