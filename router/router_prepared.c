/* SPDX-License-Identifier: PostgreSQL
 *
 * router_prepared: looks for the nodes that have the name of a prepared statement.
 */
#include "router_prepared.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

#include "router_classify.h"
#include "router_tree.h"

static bool has(const struct router_prepared *p, const char *name)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (strcmp(p->names[i], name) == 0)
            return true;
    return false;
}

static void collect(const struct router_tree *tree, struct router_prepared *ret)
{
    for (uint32_t i = 0; i < tree->count && ret->count < ROUTER_PREPARED_MAX; i++) {
        const struct router_name node = router_tree_key(tree, i);
        char *name = ret->names[ret->count];
        if (!router_tree_is_node(tree, i) ||
            (!router_name_is(node, "ExecuteStmt") && !router_name_is(node, "PrepareStmt") &&
             !router_name_is(node, "DeallocateStmt")))
            continue;
        if (router_tree_text(tree, i, "name").size > 0 && /* not DEALLOCATE ALL */
            router_tree_unescape(router_tree_text(tree, i, "name"), name,
                                 ROUTER_PREPARED_NAME_SIZE) &&
            !has(ret, name))
            ret->count++;
    }
}

void router_prepared_read(const char *text, size_t size, struct router_prepared *ret)
{
    ret->count = 0;
    char *copy = size <= ROUTER_TEXT_SIZE_MAX ? malloc(size + 1) : NULL;
    if (copy == NULL)
        return;
    memcpy(copy, text, size);
    copy[size] = '\0';
    PgQueryParseResult parsed = pg_query_parse(copy);
    struct router_tree tree;
    if (parsed.error == NULL && parsed.parse_tree != NULL &&
        router_tree_init(&tree, parsed.parse_tree, strlen(parsed.parse_tree))) {
        collect(&tree, ret);
        router_tree_deinit(&tree);
    }
    pg_query_free_parse_result(parsed);
    free(copy);
}
