/* SPDX-License-Identifier: PostgreSQL
 *
 * router_walk_names: functions, types and operators, by what the context knows of their names.
 *
 * A user's object may hide one of PostgreSQL's, or be another overload of it. So a bare name is
 * both: what PostgreSQL has of that name, and what the facts say of all others.
 */
#include <string.h>

#include "router_walk_internal.h"

enum { ESCAPED_SIZE_MAX = 512 }; /* of a name: no server has a longer one */

uint8_t router_walk_fact(const struct walk *w, enum router_fact_kind kind, struct router_name name)
{
    char plain[ESCAPED_SIZE_MAX];
    if (w->names->facts == NULL)
        return 0;
    if (memchr(name.base, '\\', name.size) != NULL) {
        if (!router_tree_unescape(name, plain, sizeof(plain)))
            return 0;
        name = (struct router_name){.base = plain, .size = strlen(plain)};
    }
    return router_facts_of(w->names->facts, kind, name);
}

void router_walk_note_stale(struct walk *w, enum router_fact_kind kind, struct router_name name)
{
    const struct router_facts *stale = w->names->stale;
    const uint8_t flags = stale != NULL ? router_facts_of(stale, kind, name) : ROUTER_FACT_THERE;
    const uint8_t kept = ROUTER_FACT_OPAQUE | ROUTER_FACT_WRITE_OPAQUE | ROUTER_FACT_KEEPS;
    w->finding->keeps = w->finding->keeps || flags == 0 || (flags & kept) != 0;
}

bool router_walk_is_temporary(struct router_name schema)
{
    return router_name_is(schema, "pg_temp") || router_name_starts(schema, "pg_temp_");
}

/* The last name of a possibly qualified one, and where it may be looked for. */
static struct router_name last_name(const struct router_tree *tree, uint32_t array,
                                    enum walk_origin *ret_origin)
{
    const uint32_t size = router_tree_size(tree, array);
    *ret_origin = WALK_ANY;
    if (size == 0)
        return (struct router_name){.base = "", .size = 0};
    if (size > 1) {
        const struct router_name schema =
            router_tree_string(tree, router_tree_element(tree, array, size - 2));
        if (schema.base == NULL || router_walk_is_temporary(schema))
            *ret_origin = WALK_TEMPORARY;
        else
            *ret_origin =
                size == 2 && router_name_is(schema, "pg_catalog") ? WALK_BUILT_IN : WALK_USERS;
    }
    const struct router_name name =
        router_tree_string(tree, router_tree_element(tree, array, size - 1));
    return name.base != NULL ? name : (struct router_name){.base = "", .size = 0};
}

static uint8_t fact_of(const struct walk *w, enum router_fact_kind kind, struct router_name name,
                       enum walk_origin origin)
{
    return origin == WALK_ANY || origin == WALK_USERS ? router_walk_fact(w, kind, name) : 0;
}

/* What may run, and what is left of it; for all kinds of names. */
static void note(struct walk *w, uint8_t flags)
{
    struct router_finding *f = w->finding;
    f->taints = f->taints || (flags & ROUTER_FACT_RUNS) != 0;
    f->opaque = f->opaque || (flags & ROUTER_FACT_OPAQUE) != 0;
    f->outside = f->outside || (flags & ROUTER_FACT_OUTSIDE) != 0;
    f->keeps = f->keeps || (flags & ROUTER_FACT_KEEPS) != 0;
    f->home = f->home || (flags & ROUTER_FACT_HOME) != 0;
    f->touches = f->touches || (flags & (ROUTER_FACT_RUNS | ROUTER_FACT_HOME)) != 0;
}

/* A cast's or an operator's: nothing tells which of its functions is meant. */
static void note_any(struct walk *w, uint8_t flags, enum router_reason reason)
{
    note(w, flags);
    if ((flags & (ROUTER_FACT_RUNS | ROUTER_FACT_HOME)) == 0)
        return;
    w->finding->home = true;
    doubt(w, reason);
}

/* PostgreSQL's own by its bare name, while nobody knows whether a user's hides it. */
static void note_hidden(struct walk *w, enum walk_origin origin)
{
    if (origin != WALK_ANY || w->names->facts != NULL || !w->names->strict)
        return;
    w->finding->touches = true;
    w->finding->taints = true;
}

/* Nobody knows it. */
static void note_unknown(struct walk *w, enum router_reason reason)
{
    struct router_finding *f = w->finding;
    f->touches = f->home = f->outside = f->taints = true;
    doubt(w, reason);
}

/* By the text alone: is there an operator or a type of users at all? */
static bool is_text_only(const struct walk *w)
{
    return w->names->facts == NULL && !w->names->strict;
}

/* ---- functions ---- */

void router_walk_called(struct walk *w, struct router_name name, enum walk_origin origin,
                        uint32_t args)
{
    const enum router_function built_in = origin == WALK_ANY || origin == WALK_BUILT_IN
                                              ? router_name_function(name)
                                              : ROUTER_FUNCTION_UNKNOWN;
    uint8_t flags = fact_of(w, ROUTER_FACT_FUNCTION, name, origin);
    if (flags == 0 && built_in == ROUTER_FUNCTION_UNKNOWN) /* type(x) is a cast */
        flags = fact_of(w, ROUTER_FACT_TYPE, name, origin);
    if (flags != 0) {
        note(w, flags);
        if ((flags & ROUTER_FACT_HOME) != 0)
            doubt(w, ROUTER_REASON_UNKNOWN_FUNCTION);
    } else if (built_in != ROUTER_FUNCTION_UNKNOWN) {
        note_hidden(w, origin);
    }
    if (flags == 0 && built_in == ROUTER_FUNCTION_UNKNOWN && !router_name_runs_text(name)) {
        note_unknown(w, ROUTER_REASON_UNKNOWN_FUNCTION);
        router_walk_note_stale(w, ROUTER_FACT_FUNCTION, name);
    }
    w->finding->touches = w->finding->touches || is_text_only(w);
    router_walk_built_in(w, name, origin == WALK_ANY || origin == WALK_BUILT_IN, args);
}

void router_walk_function(struct walk *w, uint32_t call)
{
    const struct router_tree *tree = w->tree;
    const uint32_t names = router_tree_field(tree, call, "funcname");
    if (names == ROUTER_TREE_NONE) {
        w->finding->touches = true;
        router_finding_deny(w->finding, ROUTER_REASON_UNKNOWN_NODE);
        return;
    }
    enum walk_origin origin;
    const struct router_name name = last_name(tree, names, &origin);
    router_walk_called(w, name, origin, router_tree_field(tree, call, "args"));
}

/* (x).f is a field of x, or f(x): ('s'::regclass).nextval moves the sequence. */
void router_walk_selection(struct walk *w, uint32_t selection)
{
    const struct router_tree *tree = w->tree;
    const uint32_t list = router_tree_field(tree, selection, "indirection");
    if (list == ROUTER_TREE_NONE)
        return;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const struct router_name name = router_tree_string(tree, i);
        if (name.base == NULL)
            continue;
        const bool is_field = w->names->facts != NULL &&
                              router_name_function(name) == ROUTER_FUNCTION_UNKNOWN &&
                              router_walk_fact(w, ROUTER_FACT_FUNCTION, name) == 0;
        if (!is_field)
            router_walk_called(w, name, WALK_ANY, ROUTER_TREE_NONE);
    }
}

/* t.f is a column of t, or f(t) where a user has a function of that name. */
void router_walk_attribute(struct walk *w, uint32_t fields)
{
    const uint32_t size = router_tree_size(w->tree, fields);
    if (w->names->facts == NULL || size < 2)
        return;
    const struct router_name name =
        router_tree_string(w->tree, router_tree_element(w->tree, fields, size - 1));
    if (name.base != NULL && router_walk_fact(w, ROUTER_FACT_FUNCTION, name) != 0)
        router_walk_called(w, name, WALK_USERS, ROUTER_TREE_NONE);
}

/* Sampling methods are functions too. */
void router_walk_method(struct walk *w, uint32_t names)
{
    enum walk_origin origin;
    const struct router_name name = last_name(w->tree, names, &origin);
    const uint8_t flags = fact_of(w, ROUTER_FACT_FUNCTION, name, origin);
    note(w, flags);
    if ((flags & ROUTER_FACT_HOME) != 0)
        doubt(w, ROUTER_REASON_UNKNOWN_FUNCTION);
    else if (flags == 0 &&
             (origin == WALK_USERS || origin == WALK_TEMPORARY ||
              (!router_name_is(name, "system") && !router_name_is(name, "bernoulli"))))
        note_unknown(w, ROUTER_REASON_UNKNOWN_FUNCTION);
}

/* ---- operators ---- */

/* True: the facts say what it is. One in another schema is meant where that is written, or may be
 * in the session's search_path. */
static bool known_operator(struct walk *w, struct router_name name, enum walk_origin origin)
{
    uint8_t flags = fact_of(w, ROUTER_FACT_OPERATOR, name, origin);
    if (origin == WALK_USERS || !w->names->strict || w->names->any_path)
        flags |= fact_of(w, ROUTER_FACT_OPERATOR_APART, name, origin);
    note_any(w, flags, ROUTER_REASON_UNKNOWN_OPERATOR);
    return flags != 0;
}

void router_walk_operator(struct walk *w, uint32_t names)
{
    enum walk_origin origin;
    char text[16]; /* pg_catalog has none as long */
    const struct router_name name = last_name(w->tree, names, &origin);
    if (known_operator(w, name, origin))
        return;
    if ((origin == WALK_ANY || origin == WALK_BUILT_IN) &&
        router_tree_unescape(name, text, sizeof(text)) &&
        router_name_operator_known((struct router_name){.base = text, .size = strlen(text)})) {
        note_hidden(w, origin);
        return;
    }
    if (!is_text_only(w)) {
        note_unknown(w, ROUTER_REASON_UNKNOWN_OPERATOR);
        return;
    }
    w->finding->taints = true;
    doubt(w, ROUTER_REASON_UNKNOWN_OPERATOR);
}

/* One that no word of the text names. */
static void implied(struct walk *w, const char *name)
{
    const struct router_name text = {.base = name, .size = strlen(name)};
    if (!known_operator(w, text, WALK_ANY))
        note_hidden(w, WALK_ANY);
}

void router_walk_expression(struct walk *w, uint32_t expression)
{
    const struct router_name kind = router_tree_text(w->tree, expression, "kind");
    const uint32_t names = router_tree_field(w->tree, expression, "name");
    if (router_name_starts(kind, "AEXPR_BETWEEN") ||
        router_name_starts(kind, "AEXPR_NOT_BETWEEN")) {
        static const char *const operators[] = {">=", "<=", "<", ">"}; /* its name is a word */
        for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
            implied(w, operators[i]);
    } else if (names != ROUTER_TREE_NONE) {
        router_walk_operator(w, names);
    }
}

void router_walk_implied(struct walk *w, uint32_t index)
{
    const struct router_tree *tree = w->tree;
    const struct router_name node = router_tree_key(tree, index);
    bool compares = false;
    if (router_name_is(node, "JoinExpr"))
        compares = router_tree_field(tree, index, "usingClause") != ROUTER_TREE_NONE ||
                   router_name_is(router_tree_text(tree, index, "isNatural"), "true");
    else if (router_name_is(node, "CaseExpr"))
        compares = router_tree_field(tree, index, "arg") != ROUTER_TREE_NONE;
    else if (router_name_is(node, "SubLink"))
        compares = router_tree_field(tree, index, "testexpr") != ROUTER_TREE_NONE &&
                   router_tree_field(tree, index, "operName") == ROUTER_TREE_NONE;
    if (compares)
        implied(w, "=");
}

/* ---- types ---- */

void router_walk_type(struct walk *w, uint32_t names)
{
    enum walk_origin origin;
    const struct router_name name = last_name(w->tree, names, &origin);
    const bool built_in = origin == WALK_ANY || origin == WALK_BUILT_IN;
    const bool is_data = router_name_is(name, "regconfig") || router_name_is(name, "regdictionary");
    if (built_in && router_name_type_reg(name) && !is_data) {
        keep_home(w, ROUTER_REASON_CATALOG);
        return;
    }
    const uint8_t flags = fact_of(w, ROUTER_FACT_TYPE, name, origin);
    note_any(w, flags, ROUTER_REASON_UNKNOWN_FUNCTION);
    if (flags == 0 && (fact_of(w, ROUTER_FACT_RELATION, name, origin) & ROUTER_FACT_WRITE_OPAQUE))
        w->finding->opaque = true; /* a row of it is checked as what is written into the table */
    if (flags != 0 || (built_in && (router_name_type_known(name) || is_data)))
        return;
    if (is_text_only(w)) /* of a cast, or of a domain's check */
        doubt(w, ROUTER_REASON_UNKNOWN_FUNCTION);
    else
        note_unknown(w, ROUTER_REASON_UNKNOWN_FUNCTION);
}
