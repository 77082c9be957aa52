/* SPDX-License-Identifier: PostgreSQL
 *
 * router_statement: one statement of a parse tree, by its node type.
 *
 * Pure; any thread.
 */
#ifndef ROUTER_STATEMENT_H
#define ROUTER_STATEMENT_H

#include "router_walk.h"

/* What one statement is; the fields have the meanings of struct router_class. */
struct router_statement {
    struct router_finding finding;
    uint8_t begin;
    uint8_t local;
    bool ends;
    bool rolls_back;
    bool unpins;
    bool resets;
    bool snapshot;
    bool declares;
    bool sets_local;
    uint16_t releases;
    bool set_read_only;
    bool is_transaction; /* BEGIN, COMMIT, SAVEPOINT ... */
    bool forgets_statements;
};

/* `statement` is the wrapped node. detail is filled as router_classify.h says. */
void router_statement_classify(const struct router_tree *tree, uint32_t statement,
                               const struct router_context *names, struct router_statement *ret,
                               struct router_detail *detail);

#endif
