/* SPDX-License-Identifier: PostgreSQL
 *
 * router_prepared: looks for the nodes that have the name of a prepared statement.
 */
#include "router_prepared.h"

#include <stdlib.h>
#include <string.h>

#include "router_classify.h"
#include "router_parse.h"

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
    struct router_parse parsed;
    if (!router_parse_open(&parsed, text, size, NULL))
        return;
    collect(&parsed.tree, ret);
    router_parse_close(&parsed);
}
