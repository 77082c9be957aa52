/* SPDX-License-Identifier: PostgreSQL
 *
 * router_change_select: SELECT set_config(...), the settings that functions make. The value may be
 * a parameter: whoever binds one says what it is (router_change_set_value()).
 */
#include <stdlib.h>
#include <string.h>

#include "router_change_internal.h"

enum { VALUE_MAX = ROUTER_CHANGE_TEXT_MAX / 2 };

/* A literal's text; false: it is none. */
static bool literal_text(const struct router_tree *tree, uint32_t args, uint32_t nth, char *ret,
                         size_t room)
{
    const uint32_t constant =
        router_tree_field(tree, router_tree_element(tree, args, nth), "A_Const");
    const uint32_t sval =
        constant != ROUTER_TREE_NONE ? router_tree_field(tree, constant, "sval") : ROUTER_TREE_NONE;
    return sval != ROUTER_TREE_NONE &&
           router_tree_unescape(router_tree_text(tree, sval, "sval"), ret, room);
}

static bool literal_bool(const struct router_tree *tree, uint32_t args, uint32_t nth, bool *ret)
{
    const uint32_t constant =
        router_tree_field(tree, router_tree_element(tree, args, nth), "A_Const");
    const uint32_t value = constant != ROUTER_TREE_NONE
                               ? router_tree_field(tree, constant, "boolval")
                               : ROUTER_TREE_NONE;
    if (value == ROUTER_TREE_NONE)
        return false;
    *ret = router_name_is(router_tree_text(tree, value, "boolval"), "true");
    return true;
}

static bool is_plain(struct router_name key, const char *const *plain)
{
    for (; *plain != NULL; plain++)
        if (router_name_is(key, *plain))
            return true;
    return false;
}

/* The number of a parameter, bare or as $1::text; 0: it is none. */
static uint32_t parameter_of(const struct router_tree *tree, uint32_t element)
{
    const uint32_t cast = router_tree_field(tree, element, "TypeCast");
    if (cast != ROUTER_TREE_NONE) {
        const uint32_t type = router_tree_field(tree, cast, "typeName");
        const uint32_t names =
            type != ROUTER_TREE_NONE ? router_tree_field(tree, type, "names") : ROUTER_TREE_NONE;
        if (names == ROUTER_TREE_NONE || router_tree_size(tree, names) != 1 ||
            !router_name_is(router_tree_string(tree, router_tree_element(tree, names, 0)),
                            "text") ||
            router_tree_field(tree, type, "arrayBounds") != ROUTER_TREE_NONE)
            return 0;
        element = router_tree_field(tree, cast, "arg");
        if (element == ROUTER_TREE_NONE)
            return 0;
    }
    const uint32_t reference = router_tree_field(tree, element, "ParamRef");
    if (reference == ROUTER_TREE_NONE)
        return 0;
    const struct router_name number = router_tree_text(tree, reference, "number");
    uint32_t value = 0;
    for (size_t i = 0; i < number.size && value <= UINT16_MAX; i++)
        value = value * 10 + (uint32_t)(number.base[i] - '0');
    return value <= UINT16_MAX ? value : 0;
}

/* The arguments of a plain call of pg_catalog's `function`; NONE: it is something else. */
static uint32_t call_args(const struct router_tree *tree, uint32_t call, const char *function)
{
    const uint32_t names = router_tree_field(tree, call, "funcname");
    const uint32_t args = router_tree_field(tree, call, "args");
    if (names == ROUTER_TREE_NONE || args == ROUTER_TREE_NONE)
        return ROUTER_TREE_NONE;
    const uint32_t parts = router_tree_size(tree, names);
    const struct router_name last =
        router_tree_string(tree, router_tree_element(tree, names, parts - 1));
    if (parts > 2 || last.base == NULL || !router_name_is(last, function))
        return ROUTER_TREE_NONE;
    if (parts == 2 && !router_name_is(router_tree_string(tree, router_tree_element(tree, names, 0)),
                                      "pg_catalog"))
        return ROUTER_TREE_NONE;
    for (uint32_t i = call + 1; i < tree->nodes[call].end; i = tree->nodes[i].end) {
        static const char *const plain[] = {"funcname", "args", "funcformat", "location", NULL};
        if (!is_plain(router_tree_key(tree, i), plain))
            return ROUTER_TREE_NONE;
    }
    return args;
}

static bool is_given(const struct router_tree *tree, uint32_t value)
{
    return router_tree_field(tree, value, "A_Const") != ROUTER_TREE_NONE ||
           parameter_of(tree, value) != 0;
}

/* What stands beside a set_config and leaves it one row: a value, or current_setting() of one. */
static bool is_beside(const struct router_tree *tree, uint32_t value)
{
    if (is_given(tree, value))
        return true;
    const uint32_t call = router_tree_field(tree, value, "FuncCall");
    const uint32_t args =
        call != ROUTER_TREE_NONE ? call_args(tree, call, "current_setting") : ROUTER_TREE_NONE;
    if (args == ROUTER_TREE_NONE)
        return false;
    for (uint32_t i = 0; i < router_tree_size(tree, args); i++)
        if (!is_given(tree, router_tree_element(tree, args, i)))
            return false;
    return true;
}

static bool put_call(struct router_changes *c, struct router_change *change, const char *name,
                     const char *value)
{
    change->text = c->texts_size;
    return router_change_put(c, "SELECT pg_catalog.set_config(") &&
           router_change_put_literal(c, name) && router_change_put(c, ",") &&
           router_change_put_literal(c, value) && router_change_put(c, ",false)") &&
           router_change_finish(c, change, value);
}

static bool add_set_config(struct router_changes *c, const struct router_tree *tree, uint32_t args,
                           uint32_t statement)
{
    char name[ROUTER_CHANGE_NAME_MAX];
    char value[VALUE_MAX] = "";
    bool local;
    const uint32_t parameter = parameter_of(tree, router_tree_element(tree, args, 1));
    if (!literal_text(tree, args, 0, name, sizeof(name)) ||
        (parameter == 0 && !literal_text(tree, args, 1, value, sizeof(value))) ||
        !literal_bool(tree, args, 2, &local))
        return false;
    router_change_fold(name);
    const uint8_t flags = router_setting_flags(name_of(name), name_of(value));
    const bool encodes = (flags & ROUTER_SETTING_ENCODING) != 0 && parameter != 0;
    if (strcmp(name, "seed") == 0 || (flags & ROUTER_SETTING_LEXER) != 0 || encodes)
        return false;
    if (c == NULL || strncmp(name, "transaction_", 12) == 0 ||
        (local && (flags & ROUTER_SETTING_PARSES) == 0))
        return true;
    struct router_change *change =
        router_change_add(c, local ? ROUTER_CHANGE_LOCAL : ROUTER_CHANGE_SET, statement, name);
    if (change == NULL)
        return false;
    change->parameter = local ? 0 : (uint16_t)parameter; /* local: its value is not known */
    return parameter != 0 || put_call(c, change, name, value);
}

bool router_change_set_value(struct router_changes *c, uint32_t nth, const char *value, size_t size)
{
    struct router_change *change = &c->items[nth];
    char name[ROUTER_CHANGE_NAME_MAX];
    char text[VALUE_MAX];
    change->parameter = 0;
    if (value == NULL) {
        change->kind = ROUTER_CHANGE_RESET;
        return true;
    }
    change->kind = ROUTER_CHANGE_LOCAL;
    change->text = 0; /* "": not known, until it is */
    if (size >= sizeof(text) || memchr(value, '\0', size) != NULL)
        return false;
    memcpy(text, value, size);
    text[size] = '\0';
    memcpy(name, c->texts + change->name, strlen(c->texts + change->name) + 1);
    if (!put_call(c, change, name, text)) {
        change->text = 0;
        return false;
    }
    change->kind = ROUTER_CHANGE_SET;
    return true;
}

/* Of nothing but such calls, and of what may stand beside them. */
bool router_change_select(struct router_changes *c, const struct router_tree *tree, uint32_t select,
                          uint32_t statement)
{
    static const char *const plain[] = {"targetList", "limitOption", "op", NULL};
    for (uint32_t i = select + 1; i < tree->nodes[select].end; i = tree->nodes[i].end)
        if (!is_plain(router_tree_key(tree, i), plain))
            return false;
    const uint32_t list = router_tree_field(tree, select, "targetList");
    if (list == ROUTER_TREE_NONE || tree->nodes[list].end == list + 1)
        return false;
    bool sets = false;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const uint32_t target = router_tree_field(tree, i, "ResTarget");
        const uint32_t val =
            target != ROUTER_TREE_NONE ? router_tree_field(tree, target, "val") : ROUTER_TREE_NONE;
        const uint32_t call =
            val != ROUTER_TREE_NONE ? router_tree_field(tree, val, "FuncCall") : ROUTER_TREE_NONE;
        const uint32_t args =
            call != ROUTER_TREE_NONE ? call_args(tree, call, "set_config") : ROUTER_TREE_NONE;
        const bool is_set = args != ROUTER_TREE_NONE && router_tree_size(tree, args) == 3;
        if (val == ROUTER_TREE_NONE ||
            (is_set ? !add_set_config(c, tree, args, statement) : !is_beside(tree, val)))
            return false;
        sets = sets || is_set;
    }
    return sets;
}

bool router_change_select_known(const struct router_tree *tree, uint32_t select)
{
    return router_change_select(NULL, tree, select, 0);
}
