/* SPDX-License-Identifier: PostgreSQL
 *
 * router_facts: what the names of one database stand for, as far as their text cannot tell: which
 * relations are more than plain tables, which functions, types and operators are users'.
 *
 * Pure; an immutable value, made once and then read by any thread. Whoever made it destroys it.
 * Names are bare: without their schema, cut at 63 bytes, and where several objects share one, its
 * flags are those of all of them together. So a name is never believed to be less than it may be,
 * whatever search_path is in force; but operators, of which one `=` would be all, are told apart.
 */
#ifndef ROUTER_FACTS_H
#define ROUTER_FACTS_H

#include "router_names.h"

struct router_facts; /* opaque */

enum router_fact_kind {
    ROUTER_FACT_RELATION, /* tables, views, sequences, indexes are not */
    ROUTER_FACT_FUNCTION, /* of a user or an extension: what is not in pg_catalog */
    ROUTER_FACT_TYPE,
    ROUTER_FACT_OPERATOR,
    ROUTER_FACT_DEFAULT, /* a setting that somebody's sessions begin with, unlike PostgreSQL's own:
                            ROUTER_DEFAULT_ISOLATION, ROUTER_DEFAULT_PATH with pg_temp, or
                            ROUTER_EVENT_TRIGGERS */
    ROUTER_FACT_OPERATOR_APART, /* in a schema that no session's search_path begins with */
    ROUTER_FACT_KINDS
};

enum router_fact_flag {
    /* There is something of that name outside pg_catalog and information_schema. Always set. */
    ROUTER_FACT_THERE = 1 << 0,
    /* To read the relation, to call the function, to cast to the type, to use the operator may run
     * what is not proven to leave nothing on the connection. */
    ROUTER_FACT_RUNS = 1 << 1,
    /* To write the relation may: triggers, rules, policies, defaults, checks, indexes. */
    ROUTER_FACT_WRITE_RUNS = 1 << 2,
    /* A replica may not run it, or would answer something else: a sequence, a foreign or an
     * unlogged table, a VOLATILE function, and views over them. */
    ROUTER_FACT_HOME = 1 << 3,
    /* It may reach outside of the database: foreign tables, untrusted languages. */
    ROUTER_FACT_OUTSIDE = 1 << 4,
    /* What it leaves cannot be asked for: it computes the names of settings, is written in an
     * untrusted language, loads libraries. Of a relation: when it is read. */
    ROUTER_FACT_OPAQUE = 1 << 5,
    /* ... when it is written. */
    ROUTER_FACT_WRITE_OPAQUE = 1 << 6,
    /* The server's process keeps what is done there, past each reset: a connection to yet another
     * server, of a foreign-data wrapper that nobody knows how to end. Read or written. */
    ROUTER_FACT_KEEPS = 1 << 7,
};

/* Blocks of somebody hold a snapshot though they do not say so. */
#define ROUTER_DEFAULT_ISOLATION "default_transaction_isolation"
#define ROUTER_DEFAULT_PATH "search_path"
/* All of them together: with DDL runs what their functions do. */
#define ROUTER_EVENT_TRIGGERS "event triggers"

enum { ROUTER_FACT_NAME_SIZE = 63, ROUTER_FACTS_MAX = 1 << 20, ROUTER_FACT_SETTINGS_MAX = 64 };

/* One object. A name may come several times. */
struct router_fact {
    uint8_t kind;  /* enum router_fact_kind */
    uint8_t flags; /* enum router_fact_flag bits */
    struct router_name name;
};

/*
 * `settings`: names of custom settings ("app.tenant", lower case) that functions of this database
 * may change; those beyond ROUTER_FACT_SETTINGS_MAX are left out. Everything is copied. NULL: no
 * memory, or more than ROUTER_FACTS_MAX.
 */
struct router_facts *router_facts_create(const struct router_fact *facts, uint32_t facts_count,
                                         const char *const *settings, uint32_t settings_count);
void router_facts_destroy(struct router_facts *f);

/* Of all that has this name (cut at 63 bytes). 0: nothing has. */
uint8_t router_facts_of(const struct router_facts *f, enum router_fact_kind kind,
                        struct router_name name);
/* Of a setting, or of ROUTER_EVENT_TRIGGERS: a fact of kind DEFAULT. `name` is NUL-terminated. */
uint8_t router_facts_of_default(const struct router_facts *f, const char *name);
/* Equal for two that say the same. Never 0. */
uint64_t router_facts_digest(const struct router_facts *f);
uint32_t router_facts_settings_count(const struct router_facts *f);
const char *router_facts_setting(const struct router_facts *f, uint32_t index);

/*
 * What a verdict depends on besides its text. `key` stands for all of it in a cache's keys: the
 * database, the user, the facts, and the settings that names depend on.
 */
struct router_context {
    const struct router_facts *facts; /* NULL: not known */
    const struct router_facts *stale; /* ... those that DDL has made void, or NULL: what was not
                                         there, or was opaque, keeps what it does */
    uint64_t key;
    bool strict;   /* isolation = proven: what the facts do not know is taken for the worst, and all
                      names where they are NULL. Else it is what its text shows. */
    bool no_hints; /* hints = off */
    bool any_path; /* the session's search_path may be another than it began with */
    bool orphaned; /* no facts, and no primary to ask for them: a relation that nobody knows may be
                      read on a replica. It taints all the same. */
};

/* How much of a name PostgreSQL looks at: 63 bytes at most, whole characters of UTF-8. */
struct router_name router_name_cut(struct router_name name);

#endif
