/* SPDX-License-Identifier: PostgreSQL
 *
 * router_statement: a table from node type to handler; what is not in it is a write.
 */
#include "router_statement.h"

#include "router_change.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct context {
    const struct router_tree *tree;
    uint32_t node;
    struct router_statement *s;
    struct router_detail *detail;
};

static void decide(struct context *c, enum router_verdict verdict, enum router_reason reason)
{
    struct router_finding *f = &c->s->finding;
    router_finding_add(f, verdict, reason);
    if (verdict == ROUTER_VERDICT_READ || verdict == ROUTER_VERDICT_LOCAL)
        return;
    f->by_node_type = true;
    f->writes = f->writes || verdict == ROUTER_VERDICT_WRITE || verdict == ROUTER_VERDICT_PIN;
}

static struct router_name text_of(const struct context *c, const char *key)
{
    return router_tree_text(c->tree, c->node, key);
}

static bool is_true(const struct context *c, const char *key)
{
    return router_name_is(text_of(c, key), "true");
}

static void walk(struct context *c, enum router_walk_scope scope)
{
    router_walk(c->tree, c->node, scope, &c->s->finding);
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

static bool says_true(struct router_name value)
{
    static const char *const words[] = {"1", "true", "on", "yes"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (value.size == strlen(words[i]) && strncasecmp(value.base, words[i], value.size) == 0)
            return true;
    }
    return false;
}

/* SELECT pg_advisory_unlock_all(), and nothing else. */
static bool calls_unlock_all(const struct context *c)
{
    static const char *const path[] = {"targetList", NULL, "ResTarget", "val", "FuncCall"};
    const struct router_tree *tree = c->tree;
    uint32_t at = c->node;
    if (router_tree_field(tree, at, "fromClause") != ROUTER_TREE_NONE ||
        router_tree_field(tree, at, "whereClause") != ROUTER_TREE_NONE ||
        router_tree_field(tree, at, "limitCount") != ROUTER_TREE_NONE ||
        router_tree_field(tree, at, "limitOffset") != ROUTER_TREE_NONE ||
        router_tree_field(tree, at, "withClause") != ROUTER_TREE_NONE)
        return false;
    for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++) {
        if (path[i] == NULL && router_tree_size(tree, at) != 1)
            return false;
        at = path[i] != NULL ? router_tree_field(tree, at, path[i]) : at + 1;
        if (at == ROUTER_TREE_NONE)
            return false;
    }
    const uint32_t names = router_tree_field(tree, at, "funcname");
    if (names == ROUTER_TREE_NONE)
        return false;
    const struct router_name last = router_tree_string(
        tree, router_tree_element(tree, names, router_tree_size(tree, names) - 1));
    return last.base != NULL && router_name_is(last, "pg_advisory_unlock_all");
}

static void on_select(struct context *c)
{
    struct router_finding *f = &c->s->finding;
    decide(c, ROUTER_VERDICT_READ, ROUTER_REASON_SELECT);
    walk(c, ROUTER_WALK_READ);
    if ((f->pins & ROUTER_PIN_SET_CONFIG) != 0 && router_change_select_known(c->tree, c->node)) {
        f->pins &= (uint16_t)~ROUTER_PIN_SET_CONFIG;
        f->changes = true;
    }
    c->s->releases = calls_unlock_all(c) ? ROUTER_PIN_ADVISORY : 0;
}

static void on_dml(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_DML);
    walk(c, ROUTER_WALK_WRITE);
}

static void on_ddl(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_DDL);
    walk(c, ROUTER_WALK_DDL);
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
        c->s->finding.taints = true;
}

static void on_utility(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_UTILITY);
    walk(c, ROUTER_WALK_WRITE);
}

static void on_call(struct context *c)
{
    decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_CALL);
    c->s->finding.taints = true;
    walk(c, ROUTER_WALK_WRITE);
}

static void on_copy(struct context *c)
{
    const bool out = !is_true(c, "is_from") && !is_true(c, "is_program") &&
                     router_tree_field(c->tree, c->node, "filename") == ROUTER_TREE_NONE;
    if (!out) {
        on_utility(c);
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
        c->s->finding.taints = true;
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
        c->s->finding.pins |= ROUTER_PIN_SET_CONFIG; /* nobody looks for one down here */
}

/* The name behind "switchgear.", lower case; false: the setting is not ours, or too long. */
static bool take_own_name(struct context *c, struct router_name name)
{
    static const char prefix[] = "switchgear.";
    const size_t skip = sizeof(prefix) - 1;
    if (name.size <= skip || strncasecmp(name.base, prefix, skip) != 0)
        return false;
    const size_t size = name.size - skip;
    if (size >= sizeof(c->detail->name))
        return false;
    for (size_t i = 0; i < size; i++) {
        const char ch = name.base[skip + i];
        c->detail->name[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch);
    }
    c->detail->name[size] = '\0';
    return true;
}

static void on_show(struct context *c)
{
    const struct router_name name = text_of(c, "name");
    c->s->finding.cacheable = false;
    if (take_own_name(c, name)) {
        c->s->local = ROUTER_LOCAL_SHOW;
        decide(c, ROUTER_VERDICT_LOCAL, ROUTER_REASON_SWITCHGEAR);
        return;
    }
    if (router_name_setting_of_node(name)) {
        decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_NODE_SPECIFIC);
        c->s->finding.writes = false; /* it only belongs to one node */
        return;
    }
    decide(c, ROUTER_VERDICT_READ, ROUTER_REASON_SHOW);
}

/* Appends a value of the tree to detail->value; false: it does not fit. */
static bool append_value(struct router_detail *detail, struct router_name value)
{
    const size_t used = strlen(detail->value);
    return router_tree_unescape(value, detail->value + used, sizeof(detail->value) - used);
}

static bool take_own_value(struct context *c)
{
    const struct router_tree *tree = c->tree;
    const uint32_t args = router_tree_field(tree, c->node, "args");
    c->detail->value[0] = '\0';
    if (args == ROUTER_TREE_NONE)
        return true;
    for (uint32_t i = args + 1; i < tree->nodes[args].end; i = tree->nodes[i].end) {
        if (i != args + 1 && !append_value(c->detail, (struct router_name){.base = ",", .size = 1}))
            return false;
        if (!append_value(c->detail, router_tree_constant(tree, i)))
            return false;
    }
    return true;
}

/* SET, SET LOCAL and RESET of a setting of the proxy's own. */
static bool on_own_setting(struct context *c, struct router_name kind)
{
    if (!take_own_name(c, text_of(c, "name")) || router_name_is(kind, "VAR_SET_CURRENT") ||
        !take_own_value(c))
        return false;
    if (router_name_is(kind, "VAR_RESET"))
        c->s->local = ROUTER_LOCAL_RESET;
    else
        c->s->local = is_true(c, "is_local") ? ROUTER_LOCAL_SET_LOCAL : ROUTER_LOCAL_SET;
    decide(c, ROUTER_VERDICT_LOCAL, ROUTER_REASON_SWITCHGEAR);
    return true;
}

/* What BEGIN or SET TRANSACTION declares, from a list of DefElems. */
static enum router_begin modes_of(const struct router_tree *tree, uint32_t list)
{
    enum router_begin begin = ROUTER_BEGIN_PLAIN;
    if (list == ROUTER_TREE_NONE)
        return begin;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const uint32_t option = router_tree_field(tree, i, "DefElem");
        if (option == ROUTER_TREE_NONE)
            return ROUTER_BEGIN_WRITE;
        const struct router_name name = router_tree_text(tree, option, "defname");
        const uint32_t arg = router_tree_field(tree, option, "arg");
        const struct router_name value = arg != ROUTER_TREE_NONE ? router_tree_constant(tree, arg)
                                                                 : (struct router_name){.base = ""};
        if (router_name_is(name, "transaction_isolation")) {
            if (router_name_is(value, "serializable"))
                return ROUTER_BEGIN_WRITE;
        } else if (router_name_is(name, "transaction_read_only")) {
            if (!says_true(value))
                return ROUTER_BEGIN_WRITE;
            begin = ROUTER_BEGIN_READ_ONLY;
        }
    }
    return begin;
}

/* REPEATABLE READ and above: all its statements see one moment of one node. */
static bool declares_snapshot(const struct router_tree *tree, uint32_t list)
{
    if (list == ROUTER_TREE_NONE)
        return false;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const uint32_t option = router_tree_field(tree, i, "DefElem");
        const uint32_t arg =
            option != ROUTER_TREE_NONE ? router_tree_field(tree, option, "arg") : ROUTER_TREE_NONE;
        if (arg == ROUTER_TREE_NONE)
            return true;
        if (router_name_is(router_tree_text(tree, option, "defname"), "transaction_isolation") &&
            !router_name_starts(router_tree_constant(tree, arg), "read "))
            return true;
    }
    return false;
}

static bool name_is_any_case(struct router_name name, const char *text)
{
    return name.size == strlen(text) && strncasecmp(name.base, text, name.size) == 0;
}

/* What can be followed is, the rest pins. */
static void follow_set(struct context *c)
{
    const struct router_name kind = text_of(c, "kind");
    struct router_finding *f = &c->s->finding;
    c->s->resets = !router_name_is(kind, "VAR_SET_VALUE") && !router_name_is(kind, "VAR_SET_MULTI");
    if (router_change_set_known(c->tree, c->node))
        f->changes = true;
    else
        f->pins |= name_is_any_case(text_of(c, "name"), "seed") ? ROUTER_PIN_SEED : ROUTER_PIN_SET;
}

static void on_set(struct context *c)
{
    const struct router_name kind = text_of(c, "kind");
    const struct router_name name = text_of(c, "name");
    struct router_finding *f = &c->s->finding;
    f->cacheable = false;
    if (router_name_is(kind, "VAR_SET_MULTI")) {
        if (router_name_is(name, "TRANSACTION SNAPSHOT")) {
            decide(c, ROUTER_VERDICT_WRITE, ROUTER_REASON_SNAPSHOT);
            return;
        }
        if (!router_name_is(name, "TRANSACTION")) { /* SESSION CHARACTERISTICS */
            follow_set(c);
            decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_SET);
            return;
        }
        const uint32_t args = router_tree_field(c->tree, c->node, "args");
        c->s->set_read_only = modes_of(c->tree, args) == ROUTER_BEGIN_READ_ONLY;
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_SET);
        return;
    }
    if (on_own_setting(c, kind))
        return;
    if (name_is_any_case(name, "transaction_read_only") ||
        name_is_any_case(name, "transaction_isolation") ||
        name_is_any_case(name, "transaction_deferrable")) {
        const uint32_t args = router_tree_field(c->tree, c->node, "args");
        c->s->set_read_only = name_is_any_case(name, "transaction_read_only") &&
                              router_name_is(kind, "VAR_SET_VALUE") && args != ROUTER_TREE_NONE &&
                              says_true(router_tree_constant(c->tree, args + 1));
        decide(c, ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_SET);
        return;
    }
    follow_set(c);
    f->changes_seed = f->changes_seed || name_is_any_case(name, "seed");
    c->s->sets_local = is_true(c, "is_local");
    decide(c, c->s->sets_local ? ROUTER_VERDICT_TRANSACTION : ROUTER_VERDICT_SESSION,
           ROUTER_REASON_SET);
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
        s->begin = (uint8_t)modes_of(c->tree, options);
        s->snapshot = declares_snapshot(c->tree, options);
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
    decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_DISCARD);
}

static void on_deallocate(struct context *c)
{
    const struct router_name name = text_of(c, "name");
    c->s->finding.cacheable = false;
    c->s->forgets_statements = name.size == 0;
    c->s->releases = name.size == 0 ? ROUTER_PIN_PREPARE : 0;
    c->s->finding.asks |= ROUTER_PIN_PREPARE;
    if (!router_tree_unescape(name, c->detail->deallocate, sizeof(c->detail->deallocate)))
        c->detail->deallocate[0] = '\0'; /* not PostgreSQL's: its names are shorter */
    decide(c, ROUTER_VERDICT_SESSION, ROUTER_REASON_DEALLOCATE);
}

static void on_prepare(struct context *c)
{
    c->s->finding.cacheable = false;
    decide(c, ROUTER_VERDICT_PIN, ROUTER_REASON_SQL_PREPARE);
}

static void on_execute(struct context *c)
{
    c->s->finding.taints = true; /* what it runs was prepared elsewhere */
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
    {"CheckPointStmt", on_utility},
    {"ClosePortalStmt", on_cursor},
    {"ClusterStmt", on_utility},
    {"ConstraintsSetStmt", on_set_constraints},
    {"CopyStmt", on_copy},
    {"CreateTableAsStmt", on_create_as},
    {"CreatedbStmt", on_database},
    {"DeallocateStmt", on_deallocate},
    {"DeclareCursorStmt", on_declare},
    {"DeleteStmt", on_dml},
    {"DiscardStmt", on_discard},
    {"DoStmt", on_call},
    {"DropdbStmt", on_database},
    {"ExecuteStmt", on_execute},
    {"ExplainStmt", on_explain},
    {"FetchStmt", on_cursor},
    {"InsertStmt", on_dml},
    {"ListenStmt", on_listen},
    {"LoadStmt", on_load},
    {"LockStmt", on_utility},
    {"MergeStmt", on_dml},
    {"NotifyStmt", on_utility},
    {"PrepareStmt", on_prepare},
    {"ReindexStmt", on_utility},
    {"RenameStmt", on_rename},
    {"SelectStmt", on_select},
    {"TransactionStmt", on_transaction},
    {"UnlistenStmt", on_unlisten},
    {"UpdateStmt", on_dml},
    {"VacuumStmt", on_utility},
    {"VariableSetStmt", on_set},
    {"VariableShowStmt", on_show},
};

static bool is_ddl(struct router_name node)
{
    static const char *const prefixes[] = {
        "Alter", "Comment",  "CompositeType", "Create", "Define", "Drop",     "Grant",    "Import",
        "Index", "Reassign", "RefreshMat",    "Rename", "Rule",   "SecLabel", "Truncate", "View",
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

void router_statement_classify(const struct router_tree *tree, uint32_t statement,
                               struct router_statement *ret, struct router_detail *detail)
{
    *ret = (struct router_statement){.finding = {.verdict = ROUTER_VERDICT_LOCAL,
                                                 .reason = ROUTER_REASON_NONE,
                                                 .cacheable = true}};
    struct context c = {.tree = tree, .node = statement, .s = ret, .detail = detail};
    classify_node(&c);
}
