/* SPDX-License-Identifier: PostgreSQL
 *
 * router_walk: one loop over the nodes in pre-order, a handler for each kind that matters.
 */
#include "router_walk_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CLIMB_MAX = 256 };

/* Nodes that a read may contain; sorted. */
static const char *const read_nodes[] = {
    "A_ArrayExpr",      "A_Const",        "A_Expr",         "A_Indices",
    "A_Indirection",    "A_Star",         "Alias",          "BitString",
    "BoolExpr",         "Boolean",        "BooleanTest",    "CTECycleClause",
    "CTESearchClause",  "CaseExpr",       "CaseWhen",       "CoalesceExpr",
    "CollateClause",    "ColumnDef",      "ColumnRef",      "CommonTableExpr",
    "DefElem",          "Float",          "FuncCall",       "GroupingFunc",
    "GroupingSet",      "Integer",        "JoinExpr",       "List",
    "MinMaxExpr",       "NamedArgExpr",   "NullTest",       "ParamRef",
    "RangeFunction",    "RangeSubselect", "RangeTableFunc", "RangeTableFuncCol",
    "RangeTableSample", "RangeVar",       "ResTarget",      "RowExpr",
    "SQLValueFunction", "SelectStmt",     "SortBy",         "String",
    "SubLink",          "TypeCast",       "TypeName",       "WindowDef",
    "XmlExpr",          "XmlSerialize",
};

static int verdict_weight(uint8_t verdict)
{
    static const int weights[] = {
        [ROUTER_VERDICT_LOCAL] = 0, [ROUTER_VERDICT_READ] = 1,    [ROUTER_VERDICT_TRANSACTION] = 2,
        [ROUTER_VERDICT_WRITE] = 3, [ROUTER_VERDICT_SESSION] = 4, [ROUTER_VERDICT_PIN] = 5,
    };
    assert(verdict < ROUTER_VERDICT_COUNT);
    return weights[verdict];
}

void router_finding_add(struct router_finding *f, enum router_verdict verdict,
                        enum router_reason reason)
{
    if (verdict == ROUTER_VERDICT_PIN)
        f->pins |= router_pin_of(reason);
    const bool nothing_yet = f->reason == ROUTER_REASON_NONE;
    if (!nothing_yet && verdict_weight((uint8_t)verdict) <= verdict_weight(f->verdict))
        return;
    f->verdict = (uint8_t)verdict;
    f->reason = (uint8_t)reason;
}

void router_finding_deny(struct router_finding *f, enum router_reason reason)
{
    router_finding_add(f, ROUTER_VERDICT_WRITE, reason);
    f->by_node_type = true;
    f->writes = true;
}

static int node_compare(const void *key, const void *element)
{
    const struct router_name *name = key;
    const char *text = *(const char *const *)element;
    const size_t size = strlen(text);
    const int r = memcmp(name->base, text, name->size < size ? name->size : size);
    return r != 0 ? r : (name->size > size) - (name->size < size);
}

static bool read_may_contain(struct router_name node)
{
    return bsearch(&node, read_nodes, sizeof(read_nodes) / sizeof(read_nodes[0]),
                   sizeof(read_nodes[0]), node_compare) != NULL;
}

static void remember_relations(struct walk *w)
{
    const struct router_tree *tree = w->tree;
    w->relations_known = true;
    for (uint32_t i = w->statement + 1; i < tree->nodes[w->statement].end; i++) {
        if (!router_name_is(router_tree_key(tree, i), "relname"))
            continue;
        if (w->relations_count == RELATIONS_MAX) {
            w->relations_all = true;
            return;
        }
        const uint32_t alias = router_tree_field(tree, tree->nodes[i].parent, "alias");
        w->relations[w->relations_count++] = alias != ROUTER_TREE_NONE
                                                 ? router_tree_text(tree, alias, "aliasname")
                                                 : router_tree_value(tree, i);
    }
}

/* t or t.* or s.t, where t is a relation of this statement: its row as one value. */
static bool is_whole_row(struct walk *w, uint32_t column)
{
    const struct router_tree *tree = w->tree;
    const uint32_t fields = router_tree_field(tree, column, "fields");
    if (fields == ROUTER_TREE_NONE)
        return false;
    uint32_t size = router_tree_size(tree, fields);
    const uint32_t last = router_tree_element(tree, fields, size - 1);
    if (router_tree_field(tree, last, "A_Star") != ROUTER_TREE_NONE)
        return size > 1;
    if (!w->relations_known)
        remember_relations(w);
    if (w->relations_all)
        return true;
    const struct router_name name = router_tree_string(tree, last);
    for (uint32_t i = 0; i < w->relations_count; i++) {
        if (name.base != NULL && w->relations[i].size == name.size &&
            memcmp(w->relations[i].base, name.base, name.size) == 0)
            return true;
    }
    return false;
}

/* Only a sequence's own row has such columns. What a standby shows of it is up to 32 values ahead:
 * so many are written to the log at once. */
static bool is_of_sequence(const struct router_tree *tree, uint32_t column)
{
    const uint32_t fields = router_tree_field(tree, column, "fields");
    if (fields == ROUTER_TREE_NONE)
        return false;
    const struct router_name name = router_tree_string(
        tree, router_tree_element(tree, fields, router_tree_size(tree, fields) - 1));
    return name.base != NULL &&
           (router_name_is(name, "last_value") || router_name_is(name, "is_called") ||
            router_name_is(name, "log_cnt"));
}

static bool makes_another_value(struct router_name node)
{
    return router_name_is(node, "FuncCall") || router_name_is(node, "A_Expr") ||
           router_name_is(node, "A_Indirection") || router_name_is(node, "BoolExpr") ||
           router_name_is(node, "BooleanTest") || router_name_is(node, "NullTest");
}

/*
 * A cast of a table's row is a user's function, whatever the type's name is. The way up from the
 * column shows whether a cast takes it: a function or an operator in between makes another value.
 */
static void visit_column(struct walk *w, uint32_t column)
{
    const struct router_tree *tree = w->tree;
    const uint32_t own_fields = router_tree_field(tree, column, "fields");
    if (own_fields != ROUTER_TREE_NONE)
        router_walk_attribute(w, own_fields);
    if (w->names->facts == NULL && is_of_sequence(tree, column)) {
        keep_home(w, ROUTER_REASON_NODE_SPECIFIC);
        w->finding->home = true;
    }
    bool cast = false;
    bool exported = false;
    uint32_t at = tree->nodes[column].parent;
    for (uint32_t i = 0; at != w->statement && !cast; i++, at = tree->nodes[at].parent) {
        const struct router_name key = router_tree_key(tree, at);
        if (makes_another_value(key))
            break;
        exported = exported || router_name_is(key, "ResTarget");
        cast = router_name_is(key, "TypeCast") || i == CLIMB_MAX;
    }
    w->column_cast = w->column_cast || cast;
    if ((!cast && !exported) || !is_whole_row(w, column))
        return;
    const uint32_t fields = router_tree_field(tree, column, "fields");
    const bool starred =
        router_tree_field(tree,
                          router_tree_element(tree, fields, router_tree_size(tree, fields) - 1),
                          "A_Star") != ROUTER_TREE_NONE;
    if (cast)
        doubt(w, ROUTER_REASON_UNKNOWN_FUNCTION);
    else if (!starred) /* SELECT t.* is its columns; SELECT t is a row */
        w->row_exported = true;
}

static void visit_node(struct walk *w, uint32_t index)
{
    const struct router_name node = router_tree_key(w->tree, index);
    if (router_name_is(node, "FuncCall"))
        router_walk_function(w, index);
    else if (router_name_is(node, "A_Expr"))
        router_walk_expression(w, index);
    else if (router_name_is(node, "A_Indirection"))
        router_walk_selection(w, index);
    else if (router_name_is(node, "ColumnRef"))
        visit_column(w, index);
    else if (router_name_is(node, "JoinExpr") || router_name_is(node, "CaseExpr") ||
             router_name_is(node, "SubLink"))
        router_walk_implied(w, index);
    else if (router_name_is(node, "LockingClause"))
        router_finding_deny(w->finding, ROUTER_REASON_LOCKING_CLAUSE);
    else if (router_name_is(node, "InsertStmt") || router_name_is(node, "UpdateStmt") ||
             router_name_is(node, "DeleteStmt") || router_name_is(node, "MergeStmt"))
        router_finding_deny(w->finding, ROUTER_REASON_CTE_DML);
    else if (w->scope == ROUTER_WALK_READ && !read_may_contain(node))
        router_finding_deny(w->finding, ROUTER_REASON_UNKNOWN_NODE);
}

static void visit_field(struct walk *w, uint32_t index)
{
    const struct router_name key = router_tree_key(w->tree, index);
    const bool array = w->tree->nodes[index].kind == ROUTER_TREE_ARRAY;
    if (key.size == 0)
        return;
    if (router_name_is(key, "relname"))
        router_walk_relation(w, w->tree->nodes[index].parent);
    else if (w->scope == ROUTER_WALK_PLAN)
        return;
    else if (router_name_is(key, "funccall"))
        router_walk_function(w, index);
    else if (router_name_is(key, "intoClause")) {
        const uint32_t made = router_tree_field(w->tree, index, "rel");
        const bool is_new = made != ROUTER_TREE_NONE && router_walk_is_new(w->tree, made, w->names);
        w->finding->changes_catalog = w->finding->changes_catalog || !is_new;
        w->finding->makes_names = w->finding->makes_names || is_new;
        router_finding_deny(w->finding, ROUTER_REASON_SELECT_INTO);
    } else if (array && (router_name_is(key, "useOp") || router_name_is(key, "operName")))
        router_walk_operator(w, index);
    else if (array && router_name_is(key, "names"))
        router_walk_type(w, index);
    else if (array && router_name_is(key, "method"))
        router_walk_method(w, index);
    if (array && w->scope == ROUTER_WALK_DDL && key.size >= 4)
        router_walk_new_name(w, index);
}

/* Planning calls what is IMMUTABLE, and it is users who say what that is. */
static void note_planned(struct walk w)
{
    struct router_finding planned = {.verdict = ROUTER_VERDICT_LOCAL};
    struct router_finding *f = w.finding;
    w.finding = &planned;
    w.scope = ROUTER_WALK_WRITE;
    for (uint32_t i = w.statement + 1; i < w.tree->nodes[w.statement].end; i++) {
        if (router_tree_is_node(w.tree, i))
            visit_node(&w, i);
        else if (!router_name_is(router_tree_key(w.tree, i), "relname"))
            visit_field(&w, i);
    }
    f->taints = f->taints || planned.taints;
    f->touches = f->touches || planned.taints;
    f->opaque = f->opaque || planned.opaque;
    f->outside = f->outside || planned.outside;
    f->keeps = f->keeps || planned.keeps;
}

void router_walk(const struct router_tree *tree, uint32_t statement, enum router_walk_scope scope,
                 const struct router_context *names, struct router_finding *f)
{
    struct walk w = {
        .tree = tree, .finding = f, .names = names, .statement = statement, .scope = scope};
    for (uint32_t i = statement + 1; i < tree->nodes[statement].end; i++) {
        if (!router_tree_is_node(tree, i))
            visit_field(&w, i);
        else if (scope != ROUTER_WALK_PLAN)
            visit_node(&w, i);
    }
    if (scope == ROUTER_WALK_PLAN && (names->facts != NULL || names->strict))
        note_planned(w);
    if (w.row_exported && w.column_cast)
        doubt(&w, ROUTER_REASON_UNKNOWN_FUNCTION);
}
