/* SPDX-License-Identifier: PostgreSQL
 *
 * router_names: what is known by name alone: pg_catalog's functions, operators and types, settings
 * that differ from node to node, and node types of a parse tree.
 *
 * Pure; any thread. The tables (router_*.inc) are made by scripts/make-function-table.sh.
 */
#ifndef ROUTER_NAMES_H
#define ROUTER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router_reason.h"

struct router_name {
    const char *base;
    size_t size;
};

static inline bool router_name_is(struct router_name name, const char *text)
{
    return name.size == __builtin_strlen(text) && __builtin_memcmp(name.base, text, name.size) == 0;
}

static inline bool router_name_starts(struct router_name name, const char *text)
{
    const size_t size = __builtin_strlen(text);
    return name.size >= size && __builtin_memcmp(name.base, text, size) == 0;
}

static inline bool router_name_ends(struct router_name name, const char *text)
{
    const size_t size = __builtin_strlen(text);
    return name.size >= size && __builtin_memcmp(name.base + name.size - size, text, size) == 0;
}

enum router_function {
    ROUTER_FUNCTION_UNKNOWN,
    ROUTER_FUNCTION_READ,
    ROUTER_FUNCTION_RANDOM,   /* a read, while the session has not called setseed() */
    ROUTER_FUNCTION_VOLATILE, /* a write that may change the session's state */
    ROUTER_FUNCTION_EFFECT,   /* a write that leaves nothing in the session */
    ROUTER_FUNCTION_OUTSIDE, /* acts on the server, its files or large objects: hints do not help */
    ROUTER_FUNCTION_NODE,    /* the answer belongs to one node or one backend */
    ROUTER_FUNCTION_SQL_TEXT, /* runs SQL that is passed as text: hints do not help */
    ROUTER_FUNCTION_SET_CONFIG,
    ROUTER_FUNCTION_CURRENT_SETTING,
    ROUTER_FUNCTION_SETSEED,
    ROUTER_FUNCTION_ADVISORY, /* session-level advisory locks */
    ROUTER_FUNCTION_BACKUP,
    ROUTER_FUNCTION_SNAPSHOT,
};

/* Of a function of pg_catalog; UNKNOWN when PostgreSQL 15 has none of that name. */
enum router_function router_name_function(struct router_name name);
/* Functions of well-known extensions that reach outside, in whatever schema they live. */
bool router_name_runs_text(struct router_name name);
bool router_name_operator_known(struct router_name name);
bool router_name_type_known(struct router_name name); /* reg* types are not: they ask the catalog */
bool router_name_type_reg(struct router_name name);
bool router_name_catalog_known(struct router_name name); /* a table or view of pg_catalog */
/* SHOW's and current_setting()'s names, in any case: may it differ from node to node? */
bool router_name_setting_of_node(struct router_name name);

#endif
