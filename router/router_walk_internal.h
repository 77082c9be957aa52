/* SPDX-License-Identifier: PostgreSQL
 *
 * router_walk_internal: a walk over a statement while it goes on; only router_walk*.c include it.
 */
#ifndef ROUTER_WALK_INTERNAL_H
#define ROUTER_WALK_INTERNAL_H

#include "router_walk.h"

enum { RELATIONS_MAX = 64 };

struct walk {
    const struct router_tree *tree;
    struct router_finding *finding;
    const struct router_context *names;
    uint32_t statement;
    enum router_walk_scope scope;
    uint32_t relations_count; /* names by which a whole row can be meant */
    bool relations_all;       /* too many to remember: any name may be one */
    bool relations_known;
    bool row_exported; /* a subquery may return a row of a table as one column */
    bool column_cast;
    struct router_name relations[RELATIONS_MAX];
};

/* A write that a hint may still make a read. */
static inline void doubt(struct walk *w, enum router_reason reason)
{
    router_finding_add(w->finding, ROUTER_VERDICT_WRITE, reason);
    w->finding->writes = true;
}

/* It writes nothing, but its answer is the primary's to give: a hint may still lift that. */
static inline void keep_home(struct walk *w, enum router_reason reason)
{
    router_finding_add(w->finding, ROUTER_VERDICT_WRITE, reason);
}

static inline void pin(struct walk *w, enum router_reason reason)
{
    router_finding_add(w->finding, ROUTER_VERDICT_PIN, reason);
    w->finding->by_node_type = true;
    w->finding->writes = true;
}

/* router_walk_call.c: `name` is called; foreign: in a schema other than pg_catalog. `args`: NONE
 * where there are none. */
void router_walk_called(struct walk *w, struct router_name name, bool foreign, uint32_t args);

#endif
