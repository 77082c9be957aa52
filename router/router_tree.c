/* SPDX-License-Identifier: PostgreSQL
 *
 * router_tree: a JSON reader without recursion; the innermost open container is its only state.
 */
#include "router_tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *json;
    size_t size;
    size_t pos;
};

/* Appends a node under `parent`; false: no memory. */
static bool append(struct router_tree *tree, uint32_t parent, enum router_tree_kind kind)
{
    if (tree->count == tree->room) {
        const uint32_t room = tree->room * 2;
        struct router_tree_node *nodes = realloc(tree->nodes, room * sizeof(*nodes));
        if (nodes == NULL)
            return false;
        tree->nodes = nodes;
        tree->room = room;
    }
    tree->nodes[tree->count++] =
        (struct router_tree_node){.parent = parent, .end = tree->count, .kind = (uint8_t)kind};
    return true;
}

/* The span of a string whose opening quote is at pos; false: it does not end. */
static bool read_string(struct reader *r, uint32_t *ret_start, uint32_t *ret_size)
{
    const size_t start = ++r->pos;
    for (; r->pos < r->size; r->pos++) {
        if (r->json[r->pos] == '\\') {
            r->pos++;
        } else if (r->json[r->pos] == '"') {
            *ret_start = (uint32_t)start;
            *ret_size = (uint32_t)(r->pos - start);
            r->pos++;
            return true;
        }
    }
    return false;
}

static bool ends_word(char c)
{
    return c == ',' || c == ']' || c == '}';
}

static bool read_word(struct reader *r, struct router_tree_node *node)
{
    const size_t start = r->pos;
    while (r->pos < r->size && !ends_word(r->json[r->pos]))
        r->pos++;
    node->value = (uint32_t)start;
    node->value_size = (uint32_t)(r->pos - start);
    return r->pos > start;
}

/* Reads one value and its key, if it has one. A container becomes *open. */
static bool read_value(struct router_tree *tree, struct reader *r, uint32_t *open, bool keyed)
{
    uint32_t key = 0;
    uint32_t key_size = 0;
    if (keyed) {
        if (r->json[r->pos] != '"' || !read_string(r, &key, &key_size) || key_size > UINT16_MAX)
            return false;
        if (r->pos == r->size || r->json[r->pos++] != ':' || r->pos == r->size)
            return false;
    }
    const char c = r->json[r->pos];
    const enum router_tree_kind kind = c == '{'   ? ROUTER_TREE_OBJECT
                                       : c == '[' ? ROUTER_TREE_ARRAY
                                       : c == '"' ? ROUTER_TREE_STRING
                                                  : ROUTER_TREE_WORD;
    const uint32_t index = tree->count;
    if (!append(tree, *open, kind))
        return false;
    struct router_tree_node *node = &tree->nodes[index];
    node->key = key;
    node->key_size = (uint16_t)key_size;
    if (kind == ROUTER_TREE_STRING)
        return read_string(r, &node->value, &node->value_size);
    if (kind == ROUTER_TREE_WORD)
        return read_word(r, node);
    r->pos++;
    *open = index;
    return true;
}

static bool read_all(struct router_tree *tree, struct reader *r)
{
    uint32_t open = 0;
    if (r->size == 0 || r->json[0] != '{' || !append(tree, 0, ROUTER_TREE_OBJECT))
        return false;
    r->pos = 1;
    while (r->pos < r->size) {
        const bool in_object = tree->nodes[open].kind == ROUTER_TREE_OBJECT;
        const char c = r->json[r->pos];
        if (c == ',') {
            r->pos++;
        } else if (c == (in_object ? '}' : ']')) {
            tree->nodes[open].end = tree->count;
            r->pos++;
            if (open == 0)
                return r->pos == r->size;
            open = tree->nodes[open].parent;
        } else if (!read_value(tree, r, &open, in_object)) {
            return false;
        }
    }
    return false;
}

bool router_tree_init(struct router_tree *tree, const char *json, size_t size)
{
    *tree = (struct router_tree){.json = json, .room = 128};
    if (size > UINT32_MAX / 2)
        return false;
    tree->nodes = malloc(tree->room * sizeof(tree->nodes[0]));
    struct reader r = {.json = json, .size = size};
    if (tree->nodes != NULL && read_all(tree, &r))
        return true;
    router_tree_deinit(tree);
    return false;
}

void router_tree_deinit(struct router_tree *tree)
{
    free(tree->nodes);
    *tree = (struct router_tree){0};
}

uint32_t router_tree_field(const struct router_tree *tree, uint32_t object, const char *key)
{
    const uint32_t end = tree->nodes[object].end;
    for (uint32_t i = object + 1; i < end; i = tree->nodes[i].end) {
        if (router_name_is(router_tree_key(tree, i), key))
            return i;
    }
    return ROUTER_TREE_NONE;
}

struct router_name router_tree_text(const struct router_tree *tree, uint32_t object,
                                    const char *key)
{
    const uint32_t field = router_tree_field(tree, object, key);
    if (field == ROUTER_TREE_NONE)
        return (struct router_name){.base = "", .size = 0};
    return router_tree_value(tree, field);
}

uint32_t router_tree_element(const struct router_tree *tree, uint32_t array, uint32_t nth)
{
    const uint32_t end = tree->nodes[array].end;
    for (uint32_t i = array + 1; i < end; i = tree->nodes[i].end) {
        if (nth-- == 0)
            return i;
    }
    return ROUTER_TREE_NONE;
}

uint32_t router_tree_size(const struct router_tree *tree, uint32_t array)
{
    uint32_t size = 0;
    const uint32_t end = tree->nodes[array].end;
    for (uint32_t i = array + 1; i < end; i = tree->nodes[i].end)
        size++;
    return size;
}

struct router_name router_tree_string(const struct router_tree *tree, uint32_t index)
{
    const uint32_t string = router_tree_field(tree, index, "String");
    if (string == ROUTER_TREE_NONE)
        return (struct router_name){.base = NULL, .size = 0};
    return router_tree_text(tree, string, "sval");
}

struct router_name router_tree_constant(const struct router_tree *tree, uint32_t object)
{
    static const char *const kinds[] = {"sval", "ival", "fval", "boolval", "bsval"};
    static const char *const nodes[] = {"A_Const", "String", "Integer", "Float", "Boolean"};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        const uint32_t node = router_tree_field(tree, object, nodes[i]);
        if (node != ROUTER_TREE_NONE)
            object = node;
    }
    for (uint32_t depth = 0; depth < 2; depth++) {
        uint32_t found = ROUTER_TREE_NONE;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && found == ROUTER_TREE_NONE; i++)
            found = router_tree_field(tree, object, kinds[i]);
        if (found == ROUTER_TREE_NONE)
            break;
        if (tree->nodes[found].kind != ROUTER_TREE_OBJECT)
            return router_tree_value(tree, found);
        object = found;
    }
    return (struct router_name){.base = "0", .size = 1};
}

/* Of \uXXXX: libpg_query writes it for ASCII characters only; others mean a broken text. */
static int unicode_escape(const char *digits)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = digits[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value > 0 && value < 0x80 ? value : -1;
}

bool router_tree_unescape(struct router_name escaped, char *ret, size_t room)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    size_t used = 0;
    for (size_t i = 0; i < escaped.size; i++) {
        int c = (unsigned char)escaped.base[i];
        if (c == '\\') {
            if (++i == escaped.size)
                return false;
            const char *known = memchr(from, escaped.base[i], sizeof(from) - 1);
            if (known != NULL) {
                c = (unsigned char)to[known - from];
            } else if (escaped.base[i] == 'u' && escaped.size - i > 4) {
                c = unicode_escape(escaped.base + i + 1);
                i += 4;
            } else {
                c = -1;
            }
        }
        if (c < 0 || used + 1 >= room)
            return false;
        ret[used++] = (char)c;
    }
    if (room == 0)
        return false;
    ret[used] = '\0';
    return true;
}
