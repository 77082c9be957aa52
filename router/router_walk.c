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

/*
 * The last name of a possibly qualified one; *ret_foreign: it names a schema other than pg_catalog.
 */
static struct router_name last_name(const struct router_tree *tree, uint32_t array,
                                    bool *ret_foreign)
{
    const uint32_t size = router_tree_size(tree, array);
    *ret_foreign = false;
    if (size == 0)
        return (struct router_name){.base = "", .size = 0};
    if (size > 1) {
        const struct router_name schema =
            router_tree_string(tree, router_tree_element(tree, array, 0));
        *ret_foreign = size > 2 || schema.base == NULL || !router_name_is(schema, "pg_catalog");
    }
    const struct router_name name =
        router_tree_string(tree, router_tree_element(tree, array, size - 1));
    return name.base != NULL ? name : (struct router_name){.base = "", .size = 0};
}

static void visit_function(struct walk *w, uint32_t call)
{
    const struct router_tree *tree = w->tree;
    const uint32_t names = router_tree_field(tree, call, "funcname");
    w->finding->touches = true;
    if (names == ROUTER_TREE_NONE) {
        router_finding_deny(w->finding, ROUTER_REASON_UNKNOWN_NODE);
        return;
    }
    bool foreign;
    const struct router_name name = last_name(tree, names, &foreign);
    router_walk_called(w, name, foreign, router_tree_field(tree, call, "args"));
}

/* (x).f is a field of x, or f(x): ('s'::regclass).nextval moves the sequence. */
static void visit_selection(struct walk *w, uint32_t selection)
{
    const struct router_tree *tree = w->tree;
    const uint32_t list = router_tree_field(tree, selection, "indirection");
    if (list == ROUTER_TREE_NONE)
        return;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const struct router_name name = router_tree_string(tree, i);
        if (name.base != NULL)
            router_walk_called(w, name, false, ROUTER_TREE_NONE);
    }
}

static void visit_operator(struct walk *w, uint32_t names)
{
    bool foreign;
    char text[16]; /* pg_catalog has none as long */
    const struct router_name name = last_name(w->tree, names, &foreign);
    if (!foreign && router_tree_unescape(name, text, sizeof(text)) &&
        router_name_operator_known((struct router_name){.base = text, .size = strlen(text)}))
        return;
    w->finding->taints = true;
    doubt(w, ROUTER_REASON_UNKNOWN_OPERATOR);
}

/* BETWEEN's and DISTINCT's names are words; what they call are the type's own comparisons. */
static void visit_expression(struct walk *w, uint32_t expression)
{
    const struct router_name kind = router_tree_text(w->tree, expression, "kind");
    const uint32_t names = router_tree_field(w->tree, expression, "name");
    if (names != ROUTER_TREE_NONE && !router_name_starts(kind, "AEXPR_BETWEEN") &&
        !router_name_starts(kind, "AEXPR_NOT_BETWEEN"))
        visit_operator(w, names);
}

static void visit_type(struct walk *w, uint32_t names)
{
    bool foreign;
    const struct router_name name = last_name(w->tree, names, &foreign);
    if (!foreign && router_name_type_reg(name))
        keep_home(w, ROUTER_REASON_CATALOG);
    else if (foreign || !router_name_type_known(name))
        doubt(w, ROUTER_REASON_UNKNOWN_FUNCTION); /* of a cast, or of a domain's check */
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
}

static bool is_temporary_schema(struct router_name schema)
{
    return router_name_is(schema, "pg_temp") || router_name_starts(schema, "pg_temp_");
}

/* What the server brings along, not a user's view with a name like that. */
static bool reads_catalog_only(struct router_name schema, struct router_name name)
{
    if (router_name_is(schema, "information_schema") || router_name_starts(schema, "pg_toast"))
        return true;
    return (schema.size == 0 || router_name_is(schema, "pg_catalog")) &&
           router_name_catalog_known(name);
}

static void visit_relation(struct walk *w, uint32_t relation)
{
    const struct router_tree *tree = w->tree;
    const struct router_name name = router_tree_text(tree, relation, "relname");
    const struct router_name schema = router_tree_text(tree, relation, "schemaname");
    w->finding->touches = true;
    if (is_temporary_schema(schema)) {
        if (w->scope == ROUTER_WALK_DDL)
            visit_temporary(w, relation);
        else
            router_finding_deny(w->finding, ROUTER_REASON_TEMP_TABLE);
    } else if (router_name_is(router_tree_text(tree, relation, "relpersistence"), "t")) {
        visit_temporary(w, relation);
    } else if (w->scope == ROUTER_WALK_READ && router_name_ends(name, "_seq")) {
        keep_home(w, ROUTER_REASON_NODE_SPECIFIC); /* a sequence, as serial names them */
        w->finding->home = true;
    } else if (router_name_is(schema, "information_schema") || router_name_starts(schema, "pg_") ||
               (schema.size == 0 && router_name_starts(name, "pg_"))) {
        if (reads_catalog_only(schema, name))
            keep_home(w, ROUTER_REASON_CATALOG);
        else
            doubt(w, ROUTER_REASON_CATALOG); /* perhaps a user's view, whatever it calls */
        /* a rule turns this UPDATE into set_config() */
        if (w->scope == ROUTER_WALK_WRITE && router_name_is(name, "pg_settings")) {
            w->finding->by_node_type = true;
            router_finding_add(w->finding, ROUTER_VERDICT_SESSION, ROUTER_REASON_SET_CONFIG);
            w->finding->pins |= ROUTER_PIN_SET_CONFIG | ROUTER_PIN_OTHER;
        }
    }
}

/* Whatever is made in pg_temp, a function or a type, is as bound to the backend as a table. */
static void visit_new_name(struct walk *w, uint32_t array)
{
    if (w->tree->nodes[array].end - array < 3 || router_tree_size(w->tree, array) < 2)
        return;
    const struct router_name schema =
        router_tree_string(w->tree, router_tree_element(w->tree, array, 0));
    if (schema.base != NULL && is_temporary_schema(schema))
        pin(w, ROUTER_REASON_TEMP_TABLE);
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
    if (is_of_sequence(tree, column)) {
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
        visit_function(w, index);
    else if (router_name_is(node, "A_Expr"))
        visit_expression(w, index);
    else if (router_name_is(node, "A_Indirection"))
        visit_selection(w, index);
    else if (router_name_is(node, "ColumnRef"))
        visit_column(w, index);
    else if (router_name_is(node, "LockingClause"))
        router_finding_deny(w->finding, ROUTER_REASON_LOCKING_CLAUSE);
    else if (router_name_is(node, "InsertStmt") || router_name_is(node, "UpdateStmt") ||
             router_name_is(node, "DeleteStmt") || router_name_is(node, "MergeStmt"))
        router_finding_deny(w->finding, ROUTER_REASON_CTE_DML);
    else if (w->scope == ROUTER_WALK_READ && !read_may_contain(node))
        router_finding_deny(w->finding, ROUTER_REASON_UNKNOWN_NODE);
}

/* Sampling methods are functions too; an extension's is unknown. */
static void visit_method(struct walk *w, uint32_t names)
{
    bool foreign;
    const struct router_name name = last_name(w->tree, names, &foreign);
    if (foreign || (!router_name_is(name, "system") && !router_name_is(name, "bernoulli")))
        doubt(w, ROUTER_REASON_UNKNOWN_FUNCTION);
}

static void visit_field(struct walk *w, uint32_t index)
{
    const struct router_name key = router_tree_key(w->tree, index);
    const bool array = w->tree->nodes[index].kind == ROUTER_TREE_ARRAY;
    if (key.size == 0)
        return;
    if (router_name_is(key, "relname"))
        visit_relation(w, w->tree->nodes[index].parent);
    else if (w->scope == ROUTER_WALK_PLAN)
        return;
    else if (router_name_is(key, "funccall"))
        visit_function(w, index);
    else if (router_name_is(key, "intoClause"))
        router_finding_deny(w->finding, ROUTER_REASON_SELECT_INTO);
    else if (array && (router_name_is(key, "useOp") || router_name_is(key, "operName")))
        visit_operator(w, index);
    else if (array && router_name_is(key, "names"))
        visit_type(w, index);
    else if (array && router_name_is(key, "method"))
        visit_method(w, index);
    if (array && w->scope == ROUTER_WALK_DDL && key.size >= 4)
        visit_new_name(w, index);
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
    if (w.row_exported && w.column_cast)
        doubt(&w, ROUTER_REASON_UNKNOWN_FUNCTION);
}
