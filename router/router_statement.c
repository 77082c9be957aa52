/* SPDX-License-Identifier: PostgreSQL
 *
 * router_statement: a table from node type to handler; what is not in it is a write.
 */
#include "router_statement_internal.h"

#include "router_body.h"
#include "router_change.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void walk(struct context *c, enum router_walk_scope scope)
{
    router_walk(c->tree, c->node, scope, c->names, &c->s->finding);
}

/* The wrapped node in a field such as {"query": {"SelectStmt": ...}}; NONE: the field is absent. */
static uint32_t wrapped(const struct router_tree *tree, uint32_t object, const char *key)
{
    const uint32_t field = router_tree_field(tree, object, key);
    if (field == ROUTER_TREE_NONE || tree->nodes[field].end == field + 1)
        return ROUTER_TREE_NONE;
    return field + 1;
}

static bool says_false(struct router_name value)
{
    static const char *const words[] = {"0", "false", "off"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (value.size == strlen(words[i]) && strncasecmp(value.base, words[i], value.size) == 0)
            return true;
    }
    return false;
}

static void on_select(struct context *c)
{
    struct router_finding *f = &c->s->finding;
    decide(c, ROUTER_VERDICT_READ, ROUTER_REASON_SELECT);
    walk(c, ROUTER_WALK_READ);
    if ((f->pins & ROUTER_PIN_SET_CONFIG) != 0 && router_change_select_known(c->tree, c->node)) {
        f->pins &= (uint16_t) ~(ROUTER_PIN_SET_CONFIG | ROUTER_PIN_OTHER);
        f->changes = true;
    }
}

static void on_dml(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_DML);
    walk(c, ROUTER_WALK_WRITE);
}

static void note_event_triggers(struct context *c)
{
    struct router_finding *f = &c->s->finding;
    if (c->names->facts == NULL)
        return;
    const uint8_t flags = router_facts_of_default(c->names->facts, ROUTER_EVENT_TRIGGERS);
    f->opaque = f->opaque || (flags & ROUTER_FACT_OPAQUE) != 0;
    f->outside = f->outside || (flags & ROUTER_FACT_OUTSIDE) != 0;
}

/* Event triggers run with it, and expressions of indexes and defaults. */
static void on_ddl(struct context *c)
{
    note_event_triggers(c);
    const enum router_ddl effect = router_statement_ddl(c, router_tree_key(c->tree, c->node));
    c->s->finding.taints = true;
    c->s->finding.changes_catalog = effect == ROUTER_DDL_CHANGES;
    c->s->finding.makes_names = effect == ROUTER_DDL_MAKES;
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_DDL);
    walk(c, ROUTER_WALK_DDL);
}

static void on_truncate(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_DDL);
    walk(c, ROUTER_WALK_WRITE);
}

static void on_database(struct context *c)
{
    c->s->finding.moves_database = true;
    on_ddl(c);
}

static void on_rename(struct context *c)
{
    c->s->finding.moves_database = router_name_is(text_of(c, "renameType"), "OBJECT_DATABASE");
    on_ddl(c);
}

/* CREATE TABLE ... AS EXECUTE runs what this text does not show. */
static void on_create_as(struct context *c)
{
    const uint32_t query = wrapped(c->tree, c->node, "query");
    on_ddl(c);
    if (query != ROUTER_TREE_NONE && router_name_is(router_tree_key(c->tree, query), "ExecuteStmt"))
        c->s->finding.taints = c->s->finding.names_prepared = true;
}

/* Of what a READ ONLY transaction may do at all, a standby does not take most. */
static void on_utility(struct context *c)
{
    c->s->finding.home = true;
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_UTILITY);
    walk(c, ROUTER_WALK_WRITE);
}

/* It runs the expressions of indexes, of tables too that it does not name. */
static void on_maintenance(struct context *c)
{
    on_utility(c);
    c->s->finding.taints = true;
}

/* Locks that a standby takes as well, and that pg_dump wants where it reads: up to ROW EXCLUSIVE.
 */
static void on_lock(struct context *c)
{
    const struct router_name mode = text_of(c, "mode");
    on_utility(c);
    c->s->finding.home = mode.size != 1 || mode.base[0] < '1' || mode.base[0] > '3';
}

static void on_checkpoint(struct context *c)
{
    on_utility(c);
    c->s->finding.acts = true;
}

/* What its body does is seen by nobody: locks, for one. */
static void on_call(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_CALL);
    c->s->finding.taints = c->s->finding.home = true;
    walk(c, ROUTER_WALK_WRITE);
}

static void on_do(struct context *c)
{
    const uint32_t args = router_tree_field(c->tree, c->node, "args");
    on_call(c);
    c->s->finding.outside = c->names->facts == NULL;
    c->s->finding.cacheable = false; /* a body is a literal, which the hash leaves out */
    if (args == ROUTER_TREE_NONE || (c->names->facts == NULL && !c->names->strict))
        return;
    for (uint32_t i = args + 1; i < c->tree->nodes[args].end; i = c->tree->nodes[i].end) {
        const uint32_t arg = router_tree_field(c->tree, i, "DefElem");
        if (arg != ROUTER_TREE_NONE)
            router_body_argument(c->tree, arg, c->names, &c->s->finding);
    }
}

static void on_copy(struct context *c)
{
    const bool out = !is_true(c, "is_from") && !is_true(c, "is_program") &&
                     router_tree_field(c->tree, c->node, "filename") == ROUTER_TREE_NONE;
    if (!out) {
        on_utility(c);
        c->s->finding.acts = !is_true(c, "is_from"); /* to a file or program */
        return;
    }
    decide(c, ROUTER_VERDICT_READ, ROUTER_REASON_COPY_OUT);
    walk(c, ROUTER_WALK_READ);
}

static void classify_node(struct context *c);

/* Every ANALYZE that does not plainly say no counts, though PostgreSQL would take the last. */
static bool explain_runs(const struct context *c)
{
    const struct router_tree *tree = c->tree;
    const uint32_t options = router_tree_field(tree, c->node, "options");
    if (options == ROUTER_TREE_NONE)
        return false;
    for (uint32_t i = options + 1; i < tree->nodes[options].end; i = tree->nodes[i].end) {
        const uint32_t option = router_tree_field(tree, i, "DefElem");
        if (option == ROUTER_TREE_NONE)
            return true;
        if (!router_name_is(router_tree_text(tree, option, "defname"), "analyze"))
            continue;
        const uint32_t arg = router_tree_field(tree, option, "arg");
        if (arg == ROUTER_TREE_NONE || !says_false(router_tree_constant(tree, arg)))
            return true;
    }
    return false;
}

static void on_explain(struct context *c)
{
    const uint32_t query = wrapped(c->tree, c->node, "query");
    c->s->finding.cacheable = false;
    if (query == ROUTER_TREE_NONE) {
        decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_UNKNOWN_NODE);
        return;
    }
    const struct router_name body = router_tree_key(c->tree, query);
    if (router_name_is(body, "ExecuteStmt")) {
        walk(c, ROUTER_WALK_WRITE);
        c->s->finding.taints = c->s->finding.names_prepared = true;
        decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_SQL_PREPARE);
        return;
    }
    decide(c, ROUTER_VERDICT_READ, ROUTER_REASON_EXPLAIN);
    if (!explain_runs(c)) {
        walk(c, ROUTER_WALK_PLAN);
        return;
    }
    struct context inner = *c;
    inner.node = query;
    classify_node(&inner);
    if (c->s->finding.changes)
        c->s->finding.pins |= ROUTER_PIN_SET_CONFIG | /* nobody looks for one down here */
                              (c->names->strict ? 0 : ROUTER_PIN_OTHER);
}

static void on_set_constraints(struct context *c)
{
    decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_SET);
}

static void on_transaction(struct context *c)
{
    const struct router_name kind = text_of(c, "kind");
    struct router_statement *s = c->s;
    s->is_transaction = true;
    if (router_name_is(kind, "TRANS_STMT_BEGIN") || router_name_is(kind, "TRANS_STMT_START")) {
        const uint32_t options = router_tree_field(c->tree, c->node, "options");
        s->begin = (uint8_t)router_statement_modes(c->tree, options);
        s->snapshot = router_statement_declares_snapshot(c->tree, options);
        s->declares = options != ROUTER_TREE_NONE;
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_BEGIN);
    } else if (router_name_is(kind, "TRANS_STMT_COMMIT")) {
        s->ends = !is_true(c, "chain");
        s->finding.changes = !s->ends;
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_COMMIT);
    } else if (router_name_is(kind, "TRANS_STMT_ROLLBACK")) {
        s->rolls_back = !is_true(c, "chain");
        s->finding.changes = !s->rolls_back;
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_ROLLBACK);
    } else if (router_name_is(kind, "TRANS_STMT_SAVEPOINT") ||
               router_name_is(kind, "TRANS_STMT_RELEASE") ||
               router_name_is(kind, "TRANS_STMT_ROLLBACK_TO")) {
        s->finding.changes = true;
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_SAVEPOINT);
    } else { /* two-phase commit */
        s->finding.changes = router_name_is(kind, "TRANS_STMT_PREPARE");
        s->finding.home = true; /* a primary prepares READ ONLY blocks too */
        decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_UTILITY);
    }
}

/* An error outside a block unless WITH HOLD, and in a block the node is known: never a read. */
static void on_declare(struct context *c)
{
    enum { CURSOR_WITH_HOLD = 0x20 };
    const struct router_name options = text_of(c, "options");
    uint32_t bits = 0;
    for (size_t i = 0; i < options.size && options.base[i] >= '0' && options.base[i] <= '9'; i++)
        bits = bits * 10 + (uint32_t)(options.base[i] - '0');
    walk(c, ROUTER_WALK_READ);
    const bool writes = c->s->finding.writes;
    if ((bits & CURSOR_WITH_HOLD) != 0) {
        decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_HOLD_CURSOR);
        return;
    }
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_CURSOR);
    c->s->finding.writes = writes;
}

static void on_cursor(struct context *c)
{
    const bool closes = router_name_is(router_tree_key(c->tree, c->node), "ClosePortalStmt");
    if (closes && text_of(c, "portalname").size == 0)
        c->s->releases = ROUTER_PIN_CURSOR;
    if (closes)
        c->s->finding.asks |= ROUTER_PIN_CURSOR;
    decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_CURSOR);
}

static void on_discard(struct context *c)
{
    const bool all = router_name_is(text_of(c, "target"), "DISCARD_ALL");
    c->s->unpins = all;
    c->s->forgets_statements = c->s->resets = all;
    c->s->finding.changes = all;
    if (router_name_is(text_of(c, "target"), "DISCARD_TEMP"))
        c->s->releases = c->s->finding.asks = ROUTER_PIN_TEMP;
    if (router_name_is(text_of(c, "target"), "DISCARD_SEQUENCES"))
        c->s->releases = ROUTER_PIN_SEQUENCE;
    decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_DISCARD);
}

static void on_deallocate(struct context *c)
{
    const struct router_name name = text_of(c, "name");
    c->s->finding.cacheable = false;
    c->s->forgets_statements = name.size == 0;
    c->s->releases = name.size == 0 ? ROUTER_PIN_PREPARE : 0;
    c->s->finding.asks |= ROUTER_PIN_PREPARE;
    c->s->finding.names_prepared = c->s->finding.changes = name.size > 0;
    if (!router_tree_unescape(name, c->detail->deallocate, sizeof(c->detail->deallocate)))
        c->detail->deallocate[0] = '\0'; /* not PostgreSQL's: its names are shorter */
    decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_DEALLOCATE);
}

/* What no DISCARD takes back outlives the name: it binds for itself, before anything runs. */
static void on_prepare(struct context *c)
{
    enum { LASTING = ROUTER_PIN_SEED | ROUTER_PIN_LOAD };
    struct router_statement found = {.finding = {.verdict = ROUTER_VERDICT_LOCAL}};
    struct context inner = *c;
    inner.s = &found;
    inner.node = wrapped(c->tree, c->node, "query");
    if (inner.node != ROUTER_TREE_NONE)
        classify_node(&inner);
    inner.node = c->node;
    walk(&inner, ROUTER_WALK_DDL); /* the types of its parameters */
    c->s->finding.pins |= found.finding.pins & LASTING;
    c->s->finding.opaque = found.finding.opaque;
    c->s->finding.changes_seed = found.finding.changes_seed;
    c->s->finding.cacheable = false;
    c->s->finding.names_prepared = true;
    decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_SQL_PREPARE);
}

static void on_execute(struct context *c)
{
    walk(c, ROUTER_WALK_WRITE);                          /* its arguments */
    c->s->finding.taints = c->s->finding.outside = true; /* what it runs was prepared elsewhere */
    c->s->finding.keeps = c->names->stale != NULL;
    c->s->finding.names_prepared = true;
    decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_SQL_PREPARE);
}

static void on_listen(struct context *c)
{
    decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_LISTEN);
}

static void on_unlisten(struct context *c)
{
    c->s->releases = text_of(c, "conditionname").size == 0 ? ROUTER_PIN_LISTEN : 0;
    c->s->finding.asks |= ROUTER_PIN_LISTEN;
    decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_LISTEN);
}

static void on_load(struct context *c)
{
    c->s->finding.taints = c->s->finding.opaque = true;
    decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_LOAD);
}

struct rule {
    const char *node;
    void (*handler)(struct context *);
};

/* Sorted by name. DDL that needs nothing special is told by its prefix. */
static const struct rule rules[] = {
    {"AlterDatabaseStmt", on_database},
    {"CallStmt", on_call},
    {"CheckPointStmt", on_checkpoint},
    {"ClosePortalStmt", on_cursor},
    {"ClusterStmt", on_maintenance},
    {"ConstraintsSetStmt", on_set_constraints},
    {"CopyStmt", on_copy},
    {"CreateTableAsStmt", on_create_as},
    {"CreatedbStmt", on_database},
    {"DeallocateStmt", on_deallocate},
    {"DeclareCursorStmt", on_declare},
    {"DeleteStmt", on_dml},
    {"DiscardStmt", on_discard},
    {"DoStmt", on_do},
    {"DropdbStmt", on_database},
    {"ExecuteStmt", on_execute},
    {"ExplainStmt", on_explain},
    {"FetchStmt", on_cursor},
    {"InsertStmt", on_dml},
    {"ListenStmt", on_listen},
    {"LoadStmt", on_load},
    {"LockStmt", on_lock},
    {"MergeStmt", on_dml},
    {"NotifyStmt", on_utility},
    {"PrepareStmt", on_prepare},
    {"ReindexStmt", on_maintenance},
    {"RenameStmt", on_rename},
    {"SelectStmt", on_select},
    {"TransactionStmt", on_transaction},
    {"TruncateStmt", on_truncate},
    {"UnlistenStmt", on_unlisten},
    {"UpdateStmt", on_dml},
    {"VacuumStmt", on_maintenance},
    {"VariableSetStmt", router_statement_set},
    {"VariableShowStmt", router_statement_show},
};

static bool is_ddl(struct router_name node)
{
    static const char *const prefixes[] = {
        "Alter", "Comment",  "CompositeType", "Create", "Define", "Drop",     "Grant", "Import",
        "Index", "Reassign", "RefreshMat",    "Rename", "Rule",   "SecLabel", "View",
    };
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (router_name_starts(node, prefixes[i]))
            return true;
    }
    return false;
}

static int rule_compare(const void *key, const void *element)
{
    const struct router_name *name = key;
    const struct rule *rule = element;
    const size_t size = strlen(rule->node);
    const int r = memcmp(name->base, rule->node, name->size < size ? name->size : size);
    return r != 0 ? r : (name->size > size) - (name->size < size);
}

static void classify_node(struct context *c)
{
    const struct router_name node = router_tree_key(c->tree, c->node);
    const struct rule *rule =
        bsearch(&node, rules, sizeof(rules) / sizeof(rules[0]), sizeof(rules[0]), rule_compare);
    if (rule != NULL) {
        rule->handler(c);
        return;
    }
    if (is_ddl(node)) {
        if (router_name_starts(node, "Drop"))
            c->s->finding.asks |= ROUTER_PIN_TEMP;
        on_ddl(c);
        return;
    }
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_UNKNOWN_NODE);
    c->s->finding.taints = true;
    walk(c, ROUTER_WALK_WRITE);
}

/* A setting whose value no text shows, but whose name does: where the server is asked what has been
 * left, its answer is followed, and nothing has to stay. */
static void ask_instead(struct context *c)
{
    struct router_finding *f = &c->s->finding;
    if (!c->names->strict || (f->pins & ROUTER_PIN_SET_CONFIG) == 0 ||
        (f->pins & ROUTER_PIN_OTHER) != 0)
        return;
    f->pins &= (uint16_t)~ROUTER_PIN_SET_CONFIG;
    f->taints = true;
}

void router_statement_classify(const struct router_tree *tree, uint32_t statement,
                               const struct router_context *names, struct router_statement *ret,
                               struct router_detail *detail)
{
    *ret = (struct router_statement){.finding = {.verdict = ROUTER_VERDICT_LOCAL,
                                                 .reason = ROUTER_REASON_NONE,
                                                 .cacheable = true}};
    struct context c = {
        .tree = tree, .names = names, .node = statement, .s = ret, .detail = detail};
    classify_node(&c);
    ask_instead(&c);
}
