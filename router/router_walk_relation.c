/* SPDX-License-Identifier: PostgreSQL
 *
 * router_walk_relation: tables, views, sequences, and what looks like one.
 */
#include <string.h>

#include "router_walk_internal.h"

enum { CLIMB_MAX = 256, SCOPE_LOOKS_MAX = 20000 };

void router_walk_pin_temporary(struct router_finding *f)
{
    f->pins |= ROUTER_PIN_TEMP;
    f->taints = true;
}

/* A new temporary relation lives in one backend, unless it goes with the transaction. */
static void visit_temporary(struct walk *w, uint32_t relation)
{
    const struct router_tree *tree = w->tree;
    const uint32_t owner = tree->nodes[relation].parent;
    const bool drops = router_name_is(router_tree_text(tree, owner, "oncommit"), "ONCOMMIT_DROP") ||
                       router_name_is(router_tree_text(tree, owner, "onCommit"), "ONCOMMIT_DROP");
    if (drops)
        router_finding_deny(w->finding, ROUTER_REASON_TEMP_TABLE);
    else
        pin(w, ROUTER_REASON_TEMP_TABLE);
    w->finding->taints = true;
}

/* ---- WITH ---- */

static bool is_named(const struct router_tree *tree, uint32_t element, struct router_name name)
{
    const uint32_t cte = router_tree_field(tree, element, "CommonTableExpr");
    if (cte == ROUTER_TREE_NONE)
        return false;
    const struct router_name own = router_tree_text(tree, cte, "ctename");
    return own.size == name.size && memcmp(own.base, name.base, name.size) == 0;
}

/* Does this WITH show the name to what is at or below `from`? One that is not RECURSIVE shows its
 * queries only those in front of them. */
static bool shows(struct walk *w, uint32_t with, uint32_t from, struct router_name name)
{
    const struct router_tree *tree = w->tree;
    const uint32_t list = router_tree_field(tree, with, "ctes");
    const bool all = router_name_is(router_tree_text(tree, with, "recursive"), "true") ||
                     from < with || from >= tree->nodes[with].end;
    if (list == ROUTER_TREE_NONE)
        return false;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        if (w->scope_looks++ >= SCOPE_LOOKS_MAX || (!all && from < tree->nodes[i].end))
            return false;
        if (is_named(tree, i, name))
            return true;
    }
    return false;
}

/* Is it a query of a WITH, rather than a relation? In doubt not. */
static bool is_query(struct walk *w, uint32_t relation, struct router_name name)
{
    const struct router_tree *tree = w->tree;
    uint32_t at = relation;
    if (!router_name_is(router_tree_key(tree, relation), "RangeVar"))
        return false; /* what is written, or made */
    for (uint32_t i = 0; i < CLIMB_MAX && at != ROUTER_TREE_NONE; i++) {
        at = tree->nodes[at].parent;
        if (w->scope_looks++ >= SCOPE_LOOKS_MAX)
            return false;
        const uint32_t with = router_tree_is_node(tree, at)
                                  ? router_tree_field(tree, at, "withClause")
                                  : ROUTER_TREE_NONE;
        if (with != ROUTER_TREE_NONE && shows(w, with, relation, name))
            return true;
    }
    return false;
}

/* ---- relations ---- */

/* What the server brings along, not a user's view with a name like that. */
static bool reads_catalog_only(struct router_name schema, struct router_name name)
{
    if (router_name_is(schema, "information_schema") || router_name_starts(schema, "pg_toast"))
        return true;
    return (schema.size == 0 || router_name_is(schema, "pg_catalog")) &&
           router_name_catalog_known(name);
}

/* It is written, or what stands in the text may be. */
static bool is_target(const struct walk *w, uint32_t relation)
{
    const struct router_tree *tree = w->tree;
    const uint32_t list = tree->nodes[tree->nodes[relation].parent].parent;
    if (router_name_is(router_tree_key(tree, relation), "relation"))
        return w->scope != ROUTER_WALK_READ ||
               !router_name_is(router_tree_key(tree, tree->nodes[relation].parent), "CopyStmt");
    return router_name_is(router_tree_key(tree, list), "relations"); /* TRUNCATE a, b */
}

static void visit_catalog(struct walk *w, struct router_name schema, struct router_name name)
{
    if (reads_catalog_only(schema, name))
        keep_home(w, ROUTER_REASON_CATALOG);
    else
        doubt(w, ROUTER_REASON_CATALOG); /* perhaps a user's view, whatever it calls */
    /* a rule turns this UPDATE into set_config() */
    if (w->scope == ROUTER_WALK_WRITE && router_name_is(name, "pg_settings")) {
        w->finding->by_node_type = true;
        router_finding_add(w->finding, ROUTER_VERDICT_SESSION, ROUTER_REASON_SET_CONFIG);
        w->finding->pins |= ROUTER_PIN_SET_CONFIG | (w->names->strict ? 0 : ROUTER_PIN_OTHER);
    }
}

static void visit_known(struct walk *w, uint8_t flags, bool target)
{
    struct router_finding *f = w->finding;
    const uint8_t runs = ROUTER_FACT_RUNS | (target ? ROUTER_FACT_WRITE_RUNS : 0);
    const uint8_t opaque = ROUTER_FACT_OPAQUE | (target ? ROUTER_FACT_WRITE_OPAQUE : 0);
    f->taints = f->taints || (flags & runs) != 0;
    f->opaque = f->opaque || (flags & opaque) != 0;
    f->outside = f->outside || (flags & ROUTER_FACT_OUTSIDE) != 0;
    f->keeps = f->keeps || (flags & ROUTER_FACT_KEEPS) != 0;
    f->touches = f->touches || (flags & (runs | ROUTER_FACT_HOME)) != 0;
    if ((flags & ROUTER_FACT_HOME) == 0 || w->scope == ROUTER_WALK_PLAN)
        return;
    f->home = true;
    doubt(w, ROUTER_REASON_CATALOG_RELATION);
}

/* The catalog is not known, or does not have it: the worst that it can be. */
static void visit_unknown(struct walk *w, struct router_name name)
{
    struct router_finding *f = w->finding;
    f->touches = true;
    if (w->names->strict) {
        f->taints = f->outside = true;
        router_walk_note_stale(w, ROUTER_FACT_RELATION, name);
        if (w->scope == ROUTER_WALK_PLAN || (w->names->orphaned && w->scope == ROUTER_WALK_READ))
            return;
        f->home = true;
        doubt(w, ROUTER_REASON_UNKNOWN_RELATION);
    } else if (w->scope == ROUTER_WALK_READ && router_name_ends(name, "_seq")) {
        keep_home(w, ROUTER_REASON_NODE_SPECIFIC); /* a sequence, as serial names them */
        f->home = true;
    }
}

bool router_walk_is_new(const struct router_tree *tree, uint32_t relation,
                        const struct router_context *names)
{
    const struct router_name name = router_tree_text(tree, relation, "relname");
    return names->facts != NULL && name.size > 0 &&
           router_facts_of(names->facts, ROUTER_FACT_RELATION, name) == 0;
}

void router_walk_relation(struct walk *w, uint32_t relation)
{
    const struct router_tree *tree = w->tree;
    const struct router_name name = router_tree_text(tree, relation, "relname");
    const struct router_name schema = router_tree_text(tree, relation, "schemaname");
    const bool made = w->scope == ROUTER_WALK_DDL ||
                      router_name_is(router_tree_key(tree, relation), "rel"); /* INTO */
    if (router_walk_is_temporary(schema)) {
        w->finding->touches = w->finding->taints = true;
        if (made)
            visit_temporary(w, relation);
        else
            router_finding_deny(w->finding, ROUTER_REASON_TEMP_TABLE);
        return;
    }
    if (router_name_is(router_tree_text(tree, relation, "relpersistence"), "t")) {
        w->finding->changes_catalog = w->finding->makes_names = false;
        visit_temporary(w, relation);
        return;
    }
    if (made && w->scope == ROUTER_WALK_READ)
        return; /* SELECT INTO */
    const bool own = router_name_is(schema, "information_schema") ||
                     router_name_is(schema, "pg_catalog") || router_name_starts(schema, "pg_toast");
    const uint8_t flags = own ? 0 : router_walk_fact(w, ROUTER_FACT_RELATION, name);
    const uint8_t plain = ROUTER_FACT_THERE | ROUTER_FACT_WRITE_RUNS | ROUTER_FACT_WRITE_OPAQUE;
    if ((flags & ~plain) == 0 && schema.size == 0 && is_query(w, relation, name))
        return;
    const bool catalog = own || router_name_starts(schema, "pg_") ||
                         (schema.size == 0 && router_name_starts(name, "pg_"));
    if (flags != 0)
        visit_known(w, flags, is_target(w, relation));
    if (catalog)
        visit_catalog(w, schema, name);
    if (flags != 0)
        return;
    if (!catalog || !reads_catalog_only(schema, name))
        visit_unknown(w, name);
    else if (!own && w->names->facts == NULL) { /* a user's may stand in front of it */
        w->finding->touches = true;
        w->finding->taints = w->finding->taints || w->names->strict;
    }
}

void router_walk_new_name(struct walk *w, uint32_t array)
{
    if (w->tree->nodes[array].end - array < 3 || router_tree_size(w->tree, array) < 2)
        return;
    const struct router_name schema =
        router_tree_string(w->tree, router_tree_element(w->tree, array, 0));
    if (schema.base != NULL && router_walk_is_temporary(schema))
        pin(w, ROUTER_REASON_TEMP_TABLE);
}
