/* SPDX-License-Identifier: PostgreSQL
 *
 * router_statement_ddl: which DDL leaves standing what is known of names. One table; what is not in
 * it changes anything. Event triggers may change more than the text says: whoever sends DDL is
 * suspected of that, whatever is found here (core_catalog.c).
 */
#include "router_statement_internal.h"

#include <string.h>

typedef enum router_ddl judge(const struct context *c);

static bool is_one_of(struct router_name word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (router_name_is(word, words[i]))
            return true;
    return false;
}

#define IS_ONE_OF(word, words) is_one_of(word, words, sizeof(words) / sizeof((words)[0]))

/* ---- expressions, types and constraints that it names ---- */

/* Do the expressions and types below run nothing but PostgreSQL's own? */
static bool runs_nothing(const struct context *c, uint32_t part)
{
    struct router_finding found = {.verdict = ROUTER_VERDICT_LOCAL};
    if (part == ROUTER_TREE_NONE)
        return true;
    router_walk(c->tree, part, ROUTER_WALK_WRITE, c->names, &found);
    return !found.taints && !found.opaque && !found.outside;
}

/* Does it constrain its own rows alone, without a table or a sequence beside it? */
static bool has_only_own_constraints(const struct context *c, uint32_t part)
{
    static const char *const own[] = {"CONSTR_NULL",     "CONSTR_NOTNULL", "CONSTR_DEFAULT",
                                      "CONSTR_CHECK",    "CONSTR_PRIMARY", "CONSTR_UNIQUE",
                                      "CONSTR_GENERATED"};
    const struct router_tree *tree = c->tree;
    for (uint32_t i = part; part != ROUTER_TREE_NONE && i < tree->nodes[part].end; i++)
        if (router_name_is(router_tree_key(tree, i), "Constraint") &&
            !IS_ONE_OF(router_tree_text(tree, i, "contype"), own))
            return false;
    return true;
}

/* ---- what it makes ---- */

static enum router_ddl made(const struct context *c, uint32_t relation)
{
    return relation != ROUTER_TREE_NONE && router_walk_is_new(c->tree, relation, c->names)
               ? ROUTER_DDL_MAKES
               : ROUTER_DDL_CHANGES;
}

/* A child is read, and written, with its parent: it may have nothing that the parent has not. What
 * a foreign key refers to is written through it, too. */
static enum router_ddl of_table(const struct context *c)
{
    const uint32_t relation = router_tree_field(c->tree, c->node, "relation");
    const uint32_t elements = router_tree_field(c->tree, c->node, "tableElts");
    const bool child = router_tree_field(c->tree, c->node, "inhRelations") != ROUTER_TREE_NONE;
    const bool permanent =
        relation != ROUTER_TREE_NONE &&
        router_name_is(router_tree_text(c->tree, relation, "relpersistence"), "p");
    if (child && (elements != ROUTER_TREE_NONE || !permanent))
        return ROUTER_DDL_CHANGES;
    if (!has_only_own_constraints(c, elements) && !runs_nothing(c, elements))
        return ROUTER_DDL_CHANGES;
    return made(c, relation);
}

static enum router_ddl of_query(const struct context *c)
{
    const uint32_t into = router_tree_field(c->tree, c->node, "into");
    return made(c, into != ROUTER_TREE_NONE ? router_tree_field(c->tree, into, "rel")
                                            : ROUTER_TREE_NONE);
}

static enum router_ddl of_view(const struct context *c)
{
    return made(c, router_tree_field(c->tree, c->node, "view"));
}

static enum router_ddl of_sequence(const struct context *c)
{
    return made(c, router_tree_field(c->tree, c->node, "sequence"));
}

static enum router_ddl of_schema(const struct context *c)
{
    return router_tree_field(c->tree, c->node, "schemaElts") == ROUTER_TREE_NONE
               ? ROUTER_DDL_KEEPS
               : ROUTER_DDL_CHANGES;
}

/* ---- what it alters ---- */

/* Whoever writes the table runs the index's expressions. */
static enum router_ddl of_index(const struct context *c)
{
    const bool harmless = runs_nothing(c, router_tree_field(c->tree, c->node, "indexParams")) &&
                          runs_nothing(c, router_tree_field(c->tree, c->node, "whereClause")) &&
                          router_tree_field(c->tree, c->node, "excludeOpNames") == ROUTER_TREE_NONE;
    return harmless ? ROUTER_DDL_KEEPS : ROUTER_DDL_CHANGES;
}

/* All of them leave the table as it was, or with less that could run. */
static enum router_ddl of_alter_table(const struct context *c)
{
    static const char *const types[] = {"OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_MATVIEW",
                                        "OBJECT_SEQUENCE"};
    static const char *const harmless[] = {"AT_AddColumn",
                                           "AT_AddConstraint",
                                           "AT_ChangeOwner",
                                           "AT_ClusterOn",
                                           "AT_ColumnDefault",
                                           "AT_DetachPartition",
                                           "AT_DetachPartitionFinalize",
                                           "AT_DisableRowSecurity",
                                           "AT_DisableRule",
                                           "AT_DisableTrig",
                                           "AT_DisableTrigAll",
                                           "AT_DisableTrigUser",
                                           "AT_DropCluster",
                                           "AT_DropColumn",
                                           "AT_DropConstraint",
                                           "AT_DropExpression",
                                           "AT_DropInherit",
                                           "AT_DropNotNull",
                                           "AT_ForceRowSecurity",
                                           "AT_NoForceRowSecurity",
                                           "AT_ReplicaIdentity",
                                           "AT_ResetOptions",
                                           "AT_ResetRelOptions",
                                           "AT_SetCompression",
                                           "AT_SetLogged",
                                           "AT_SetNotNull",
                                           "AT_SetOptions",
                                           "AT_SetRelOptions",
                                           "AT_SetStatistics",
                                           "AT_SetStorage",
                                           "AT_SetTableSpace",
                                           "AT_ValidateConstraint"};
    const struct router_tree *tree = c->tree;
    const uint32_t commands = router_tree_field(tree, c->node, "cmds");
    if (commands == ROUTER_TREE_NONE || !IS_ONE_OF(text_of(c, "objtype"), types) ||
        !has_only_own_constraints(c, commands))
        return ROUTER_DDL_CHANGES;
    for (uint32_t i = commands + 1; i < tree->nodes[commands].end; i = tree->nodes[i].end) {
        const uint32_t command = router_tree_field(tree, i, "AlterTableCmd");
        if (command == ROUTER_TREE_NONE ||
            !IS_ONE_OF(router_tree_text(tree, command, "subtype"), harmless) ||
            !runs_nothing(c, router_tree_field(tree, command, "def")))
            return ROUTER_DDL_CHANGES;
    }
    return ROUTER_DDL_KEEPS;
}

/* What the facts have no names of. */
static enum router_ddl of_rename(const struct context *c)
{
    static const char *const types[] = {
        "OBJECT_COLUMN",        "OBJECT_DATABASE",   "OBJECT_INDEX",
        "OBJECT_POLICY",        "OBJECT_ROLE",       "OBJECT_RULE",
        "OBJECT_TABCONSTRAINT", "OBJECT_TABLESPACE", "OBJECT_TRIGGER"};
    return IS_ONE_OF(text_of(c, "renameType"), types) ? ROUTER_DDL_KEEPS : ROUTER_DDL_CHANGES;
}

/* ---- the table ---- */

static enum router_ddl drops(const struct context *c)
{
    (void)c;
    return ROUTER_DDL_MAKES; /* less than was known, and some of it is gone */
}

static enum router_ddl keeps(const struct context *c)
{
    (void)c;
    return ROUTER_DDL_KEEPS;
}

static const struct {
    const char *node;
    judge *judge;
} table[] = {
    {"AlterDatabaseStmt", keeps},
    {"AlterDefaultPrivilegesStmt", keeps},
    {"AlterEnumStmt", keeps},
    {"AlterOwnerStmt", keeps},
    {"AlterPublicationStmt", keeps},
    {"AlterRoleStmt", keeps},
    {"AlterSeqStmt", keeps},
    {"AlterStatsStmt", keeps},
    {"AlterSubscriptionStmt", keeps},
    {"AlterSystemStmt", keeps},
    {"AlterTableSpaceOptionsStmt", keeps},
    {"AlterTableStmt", of_alter_table},
    {"CommentStmt", keeps},
    {"CreatePublicationStmt", keeps},
    {"CreateRoleStmt", keeps},
    {"CreateSchemaStmt", of_schema},
    {"CreateSeqStmt", of_sequence},
    {"CreateStatsStmt", keeps},
    {"CreateStmt", of_table},
    {"CreateSubscriptionStmt", keeps},
    {"CreateTableAsStmt", of_query},
    {"CreateTableSpaceStmt", keeps},
    {"CreatedbStmt", keeps},
    {"DropOwnedStmt", drops},
    {"DropRoleStmt", keeps},
    {"DropStmt", drops},
    {"DropSubscriptionStmt", keeps},
    {"DropTableSpaceStmt", keeps},
    {"DropdbStmt", keeps},
    {"GrantRoleStmt", keeps},
    {"GrantStmt", keeps},
    {"IndexStmt", of_index},
    {"ReassignOwnedStmt", keeps},
    {"RefreshMatViewStmt", keeps},
    {"RenameStmt", of_rename},
    {"SecLabelStmt", keeps},
    {"ViewStmt", of_view},
};

enum router_ddl router_statement_ddl(const struct context *c, struct router_name node)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (router_name_is(node, table[i].node))
            return table[i].judge(c);
    return ROUTER_DDL_CHANGES;
}
