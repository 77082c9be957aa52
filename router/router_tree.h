/* SPDX-License-Identifier: PostgreSQL
 *
 * router_tree: libpg_query's parse tree (JSON) as an array of nodes in pre-order.
 *
 * So "visit everything below" is a loop over [index + 1, end) and needs no stack. One allocation,
 * freed by router_tree_deinit(). Keys and values are spans of the JSON text, still escaped.
 */
#ifndef ROUTER_TREE_H
#define ROUTER_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "router_names.h"

enum router_tree_kind {
    ROUTER_TREE_OBJECT,
    ROUTER_TREE_ARRAY,
    ROUTER_TREE_STRING,
    ROUTER_TREE_WORD
};

struct router_tree_node {
    uint32_t key; /* offset; size 0: an array's element */
    uint32_t value;
    uint32_t value_size;
    uint32_t parent;
    uint32_t end; /* the index behind the last node below this one */
    uint16_t key_size;
    uint8_t kind;
};

struct router_tree {
    const char *json;
    struct router_tree_node *nodes;
    uint32_t count;
    uint32_t room;
};

enum { ROUTER_TREE_NONE = 0 }; /* node 0 is the root, which is nobody's child */

/* false: no memory, or not JSON. `json` must outlive the tree. */
bool router_tree_init(struct router_tree *tree, const char *json, size_t size);
void router_tree_deinit(struct router_tree *tree);

static inline struct router_name router_tree_key(const struct router_tree *tree, uint32_t index)
{
    const struct router_tree_node *n = &tree->nodes[index];
    return (struct router_name){.base = tree->json + n->key, .size = n->key_size};
}

static inline struct router_name router_tree_value(const struct router_tree *tree, uint32_t index)
{
    const struct router_tree_node *n = &tree->nodes[index];
    return (struct router_name){.base = tree->json + n->value, .size = n->value_size};
}

/* A wrapped node, {"SelectStmt": {...}}: its key begins with a capital, no field's does. */
static inline bool router_tree_is_node(const struct router_tree *tree, uint32_t index)
{
    const struct router_tree_node *n = &tree->nodes[index];
    return n->key_size > 0 && tree->json[n->key] >= 'A' && tree->json[n->key] <= 'Z' &&
           n->kind == ROUTER_TREE_OBJECT;
}

/* An object's field, or ROUTER_TREE_NONE. */
uint32_t router_tree_field(const struct router_tree *tree, uint32_t object, const char *key);
/* The value of a string or word field; empty when absent. */
struct router_name router_tree_text(const struct router_tree *tree, uint32_t object,
                                    const char *key);
/* The nth element of an array, or ROUTER_TREE_NONE. */
uint32_t router_tree_element(const struct router_tree *tree, uint32_t array, uint32_t nth);
uint32_t router_tree_size(const struct router_tree *tree, uint32_t array);
/* The text of {"String": {"sval": ...}} at `index`; base NULL: it is none. */
struct router_name router_tree_string(const struct router_tree *tree, uint32_t index);
/* The value of a DefElem or of an A_Const below `object` as text: numbers as written, a zero and
 * false as "0" because the tree leaves them out. base NULL: there is no value. */
struct router_name router_tree_constant(const struct router_tree *tree, uint32_t object);
/* Undoes the escapes of a key or value, ending it with NUL; false: it does not fit. */
bool router_tree_unescape(struct router_name escaped, char *ret, size_t room);

#endif
