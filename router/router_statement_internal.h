/* SPDX-License-Identifier: PostgreSQL
 *
 * router_statement_internal: what the handlers of node types share; only they include it.
 */
#ifndef ROUTER_STATEMENT_INTERNAL_H
#define ROUTER_STATEMENT_INTERNAL_H

#include "router_statement.h"

/* One statement while it is classified. */
struct context {
    const struct router_tree *tree;
    const struct router_context *names;
    uint32_t node;
    struct router_statement *s;
    struct router_detail *detail;
};

static inline void decide(struct context *c, enum router_verdict verdict, enum router_reason reason)
{
    struct router_finding *f = &c->s->finding;
    router_finding_add(f, verdict, reason);
    if (verdict == ROUTER_VERDICT_READ || verdict == ROUTER_VERDICT_LOCAL)
        return;
    f->by_node_type = true;
    f->writes = f->writes || verdict == ROUTER_VERDICT_WRITE || verdict == ROUTER_VERDICT_PIN;
}

static inline struct router_name text_of(const struct context *c, const char *key)
{
    return router_tree_text(c->tree, c->node, key);
}

static inline bool is_true(const struct context *c, const char *key)
{
    return router_name_is(text_of(c, key), "true");
}

/* ---- router_statement_ddl.c ---- */

/* What is left of what the facts say once it has run. */
enum router_ddl {
    ROUTER_DDL_KEEPS,  /* all of it */
    ROUTER_DDL_MAKES,  /* the same of others; what it makes is not known, what it drops is gone */
    ROUTER_DDL_CHANGES /* nobody knows */
};

enum router_ddl router_statement_ddl(const struct context *c, struct router_name node);

/* ---- router_statement_set.c ---- */

void router_statement_show(struct context *c);
/* SET, SET LOCAL, RESET, SET TRANSACTION, SET SESSION CHARACTERISTICS. */
void router_statement_set(struct context *c);
/* What BEGIN or SET TRANSACTION declares, from a list of DefElems. */
enum router_begin router_statement_modes(const struct router_tree *tree, uint32_t list);
/* REPEATABLE READ and above: all its statements see one moment of one node. */
bool router_statement_declares_snapshot(const struct router_tree *tree, uint32_t list);

#endif
