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
    uint32_t scope_looks;     /* steps that were spent on finding out what a WITH names */
    uint32_t relations_count; /* names by which a whole row can be meant */
    bool relations_all;       /* too many to remember: any name may be one */
    bool relations_known;
    bool row_exported; /* a subquery may return a row of a table as one column */
    bool column_cast;
    struct router_name relations[RELATIONS_MAX];
};

/* Where a name is looked for. */
enum walk_origin {
    WALK_ANY,       /* in the search_path, and pg_catalog */
    WALK_BUILT_IN,  /* in pg_catalog, which stands in front of it */
    WALK_USERS,     /* in another schema */
    WALK_TEMPORARY, /* in this session's own: no facts say anything of that */
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

/* ---- router_walk_names.c ---- */

/* What the facts say of a name, as it stands in the tree. 0: there is none, or no facts. */
uint8_t router_walk_fact(const struct walk *w, enum router_fact_kind kind, struct router_name name);
/* While DDL has made all facts void: was what this name stands for opaque before? What is new may
 * be, too. */
void router_walk_note_stale(struct walk *w, enum router_fact_kind kind, struct router_name name);
bool router_walk_is_temporary(struct router_name schema);
/* `name` is called. `args`: NONE where there are none. */
void router_walk_called(struct walk *w, struct router_name name, enum walk_origin origin,
                        uint32_t args);
void router_walk_function(struct walk *w, uint32_t call);
void router_walk_selection(struct walk *w, uint32_t selection);
void router_walk_attribute(struct walk *w, uint32_t fields);
void router_walk_method(struct walk *w, uint32_t names);
void router_walk_operator(struct walk *w, uint32_t names);
void router_walk_expression(struct walk *w, uint32_t expression);
/* Comparisons that are not written out: USING, NATURAL, CASE x WHEN, IN (SELECT ...). */
void router_walk_implied(struct walk *w, uint32_t node);
void router_walk_type(struct walk *w, uint32_t names);

/* ---- router_walk_call.c ---- */

/* What the function that PostgreSQL has of this name means, if it has one and may be meant. */
void router_walk_built_in(struct walk *w, struct router_name name, bool may_be, uint32_t args);

/* ---- router_walk_relation.c ---- */

void router_walk_relation(struct walk *w, uint32_t relation);
/* Of what is made: whatever is made in pg_temp is as bound to the backend as a table. */
void router_walk_new_name(struct walk *w, uint32_t array);

#endif
