/* SPDX-License-Identifier: PostgreSQL
 *
 * router_change: reads libpg_query's tree statement by statement; a setting's text is the client's
 * own, token by token, so that the server reads in it what it read the first time.
 */
#include "router_change.h"

#include <stdlib.h>
#include <string.h>

#include "router_classify.h"
#include "router_lexer.h"
#include "router_parse.h"

enum { NAME_SIZE_MAX = 256, MODES_MAX = 8 };

/* ---- the list ---- */

/* Where bytes of a text begin, ended by NUL later. */
static bool put(struct router_changes *c, const char *bytes, size_t size)
{
    if (c->texts_room - c->texts_size < size + 1) {
        const uint32_t room = (c->texts_room + (uint32_t)size + 1) * 2;
        char *texts = realloc(c->texts, room);
        if (texts == NULL)
            return false;
        c->texts = texts;
        c->texts_room = room;
    }
    memcpy(c->texts + c->texts_size, bytes, size);
    c->texts_size += (uint32_t)size;
    c->texts[c->texts_size] = '\0';
    return true;
}

static bool put_text(struct router_changes *c, const char *text)
{
    return put(c, text, strlen(text));
}

static bool put_end(struct router_changes *c)
{
    return put(c, "", 1);
}

static bool put_literal(struct router_changes *c, const char *text)
{
    bool good = put_text(c, "E'");
    for (; *text != '\0'; text++)
        good = good && put(c, text, 1) && ((*text != '\'' && *text != '\\') || put(c, text, 1));
    return good && put_text(c, "'");
}

/* A new change, its text still to come; NULL: too many, or no memory. */
static struct router_change *add(struct router_changes *c, enum router_change_kind kind,
                                 uint32_t statement, const char *name)
{
    if (c->count == ROUTER_CHANGES_MAX)
        return NULL;
    struct router_change *change = &c->items[c->count];
    *change = (struct router_change){
        .kind = (uint8_t)kind, .statement = statement, .name = c->texts_size};
    if (!put_text(c, name) || !put_end(c))
        return NULL;
    change->text = c->texts_size - 1; /* "" */
    c->count++;
    return change;
}

static bool is_wide(const char *text)
{
    for (; *text != '\0'; text++)
        if ((*text & 0x80) != 0)
            return true;
    return false;
}

static struct router_name name_of(const char *text)
{
    return (struct router_name){.base = text, .size = strlen(text)};
}

/* After the text was put behind the name. */
static bool finish(struct router_changes *c, struct router_change *change, const char *value)
{
    if (!put_end(c))
        return false;
    change->flags = router_setting_flags(name_of(c->texts + change->name), name_of(value));
    if (is_wide(c->texts + change->text))
        change->flags |= ROUTER_SETTING_WIDE;
    return strlen(c->texts + change->text) <= ROUTER_CHANGE_TEXT_MAX;
}

/* ---- SET ---- */

static void fold(char *text)
{
    for (; *text != '\0'; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text + ('a' - 'A'));
}

/* Blanks between two tokens: a line's end matters between two parts of one string. */
static const char *blank_between(const char *text, size_t from, size_t to)
{
    return memchr(text + from, '\n', to - from) != NULL ? "\n" : " ";
}

static bool put_tokens(struct router_changes *c, const char *text, size_t size)
{
    struct router_lexer lexer = router_lexer_make(text, size);
    size_t end = 0;
    bool first = true;
    for (;;) {
        const struct router_token t = router_lexer_next(&lexer);
        if (t.kind == ROUTER_TOKEN_END)
            return !first;
        if (t.kind == ROUTER_TOKEN_ERROR)
            return false;
        if (t.kind == ROUTER_TOKEN_COMMENT)
            continue;
        if (!first && t.start > end && !put_text(c, blank_between(text, end, t.start)))
            return false;
        const uint32_t at = c->texts_size;
        if (!put(c, text + t.start, t.size))
            return false;
        if (t.kind == ROUTER_TOKEN_WORD)
            fold(c->texts + at);
        end = t.start + t.size;
        first = false;
    }
}

static void first_value(const struct router_tree *tree, uint32_t set, char *ret, size_t room)
{
    const uint32_t args = router_tree_field(tree, set, "args");
    ret[0] = '\0';
    if (args == ROUTER_TREE_NONE || tree->nodes[args].end == args + 1)
        return;
    if (!router_tree_unescape(router_tree_constant(tree, args + 1), ret, room))
        ret[0] = '\0'; /* longer than any value that matters here */
}

static bool set_name(const struct router_tree *tree, uint32_t set, char ret[NAME_SIZE_MAX])
{
    if (!router_tree_unescape(router_tree_text(tree, set, "name"), ret, NAME_SIZE_MAX))
        return false;
    fold(ret);
    return true;
}

/* SET SESSION CHARACTERISTICS AS TRANSACTION is a way to write up to three settings. */
static bool add_characteristics(struct router_changes *c, const struct router_tree *tree,
                                uint32_t set, uint32_t statement)
{
    const uint32_t args = router_tree_field(tree, set, "args");
    if (args == ROUTER_TREE_NONE || router_tree_size(tree, args) > MODES_MAX)
        return false;
    for (uint32_t i = args + 1; i < tree->nodes[args].end; i = tree->nodes[i].end) {
        const uint32_t mode = router_tree_field(tree, i, "DefElem");
        char mode_name[64];
        char name[80] = "default_";
        char value[64];
        if (mode == ROUTER_TREE_NONE ||
            !router_tree_unescape(router_tree_text(tree, mode, "defname"), mode_name,
                                  sizeof(mode_name)))
            return false;
        memcpy(name + 8, mode_name, strlen(mode_name) + 1);
        const uint32_t arg = router_tree_field(tree, mode, "arg");
        if (arg == ROUTER_TREE_NONE ||
            !router_tree_unescape(router_tree_constant(tree, arg), value, sizeof(value)))
            return false;
        if (c == NULL)
            continue;
        struct router_change *change = add(c, ROUTER_CHANGE_SET, statement, name);
        if (change == NULL)
            return false;
        change->text = c->texts_size;
        if (!put_text(c, "SET ") || !put_text(c, name) || !put_text(c, " TO ") ||
            !put_literal(c, value) || !finish(c, change, value))
            return false;
    }
    return true;
}

/* `c` NULL: only asks. `source`: the statement's own text. */
static bool add_set(struct router_changes *c, const struct router_tree *tree, uint32_t set,
                    uint32_t statement, struct router_name source)
{
    const struct router_name kind = router_tree_text(tree, set, "kind");
    const struct router_name own = router_tree_text(tree, set, "name");
    const bool local = router_name_is(router_tree_text(tree, set, "is_local"), "true");
    char name[NAME_SIZE_MAX];
    char value[NAME_SIZE_MAX];
    if (router_name_is(kind, "VAR_RESET_ALL"))
        return c == NULL || add(c, ROUTER_CHANGE_RESET_ALL, statement, "") != NULL;
    if (router_name_is(kind, "VAR_SET_MULTI"))
        return !router_name_is(own, "SESSION CHARACTERISTICS") ||
               add_characteristics(c, tree, set, statement);
    if (!set_name(tree, set, name))
        return false;
    first_value(tree, set, value, sizeof(value));
    const uint8_t flags = router_setting_flags(name_of(name), name_of(value));
    const bool resets =
        router_name_is(kind, "VAR_RESET") || router_name_is(kind, "VAR_SET_DEFAULT");
    if (!local && strncmp(name, "transaction_", 12) == 0)
        return true; /* of this transaction alone */
    if (strcmp(name, "seed") == 0 || (!resets && (flags & ROUTER_SETTING_LEXER) != 0) ||
        (!resets && !router_name_is(kind, "VAR_SET_VALUE")))
        return false;
    if (c == NULL || (local && (flags & ROUTER_SETTING_PARSES) == 0))
        return true;
    struct router_change *change = add(c,
                                       local    ? ROUTER_CHANGE_LOCAL
                                       : resets ? ROUTER_CHANGE_RESET
                                                : ROUTER_CHANGE_SET,
                                       statement, name);
    if (change == NULL || (resets && !local))
        return change != NULL;
    change->text = c->texts_size;
    return put_tokens(c, source.base, source.size) && finish(c, change, value);
}

bool router_change_set_known(const struct router_tree *tree, uint32_t set)
{
    return add_set(NULL, tree, set, 0, (struct router_name){.base = "", .size = 0});
}

/* ---- SELECT set_config(...) ---- */

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

/* The arguments of a plain call of pg_catalog's set_config; NONE: it is something else. */
static uint32_t set_config_args(const struct router_tree *tree, uint32_t call)
{
    const uint32_t names = router_tree_field(tree, call, "funcname");
    const uint32_t args = router_tree_field(tree, call, "args");
    if (names == ROUTER_TREE_NONE || args == ROUTER_TREE_NONE || router_tree_size(tree, args) != 3)
        return ROUTER_TREE_NONE;
    const uint32_t parts = router_tree_size(tree, names);
    const struct router_name last =
        router_tree_string(tree, router_tree_element(tree, names, parts - 1));
    if (parts > 2 || last.base == NULL || !router_name_is(last, "set_config"))
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

static bool add_set_config(struct router_changes *c, const struct router_tree *tree, uint32_t args,
                           uint32_t statement)
{
    char name[NAME_SIZE_MAX];
    char value[ROUTER_CHANGE_TEXT_MAX / 2];
    bool local;
    if (!literal_text(tree, args, 0, name, sizeof(name)) ||
        !literal_text(tree, args, 1, value, sizeof(value)) || !literal_bool(tree, args, 2, &local))
        return false;
    fold(name);
    const uint8_t flags = router_setting_flags(name_of(name), name_of(value));
    if (strcmp(name, "seed") == 0 || (flags & ROUTER_SETTING_LEXER) != 0)
        return false;
    if (c == NULL || strncmp(name, "transaction_", 12) == 0 ||
        (local && (flags & ROUTER_SETTING_PARSES) == 0))
        return true;
    struct router_change *change =
        add(c, local ? ROUTER_CHANGE_LOCAL : ROUTER_CHANGE_SET, statement, name);
    if (change == NULL)
        return false;
    change->text = c->texts_size;
    return put_text(c, "SELECT pg_catalog.set_config(") && put_literal(c, name) &&
           put_text(c, ",") && put_literal(c, value) && put_text(c, ",false)") &&
           finish(c, change, value);
}

/* SELECT of nothing but calls of set_config with literals. */
static bool add_select(struct router_changes *c, const struct router_tree *tree, uint32_t select,
                       uint32_t statement)
{
    static const char *const plain[] = {"targetList", "limitOption", "op", NULL};
    for (uint32_t i = select + 1; i < tree->nodes[select].end; i = tree->nodes[i].end)
        if (!is_plain(router_tree_key(tree, i), plain))
            return false;
    const uint32_t list = router_tree_field(tree, select, "targetList");
    if (list == ROUTER_TREE_NONE || tree->nodes[list].end == list + 1)
        return false;
    for (uint32_t i = list + 1; i < tree->nodes[list].end; i = tree->nodes[i].end) {
        const uint32_t target = router_tree_field(tree, i, "ResTarget");
        const uint32_t val =
            target != ROUTER_TREE_NONE ? router_tree_field(tree, target, "val") : ROUTER_TREE_NONE;
        const uint32_t call =
            val != ROUTER_TREE_NONE ? router_tree_field(tree, val, "FuncCall") : ROUTER_TREE_NONE;
        const uint32_t args =
            call != ROUTER_TREE_NONE ? set_config_args(tree, call) : ROUTER_TREE_NONE;
        if (args == ROUTER_TREE_NONE || !add_set_config(c, tree, args, statement))
            return false;
    }
    return true;
}

bool router_change_select_known(const struct router_tree *tree, uint32_t select)
{
    return add_select(NULL, tree, select, 0);
}

/* ---- all statements ---- */

static bool add_transaction(struct router_changes *c, const struct router_tree *tree, uint32_t node,
                            uint32_t statement)
{
    static const struct {
        const char *text;
        enum router_change_kind kind;
    } kinds[] = {
        {"TRANS_STMT_COMMIT", ROUTER_CHANGE_COMMIT},
        {"TRANS_STMT_PREPARE", ROUTER_CHANGE_COMMIT},
        {"TRANS_STMT_ROLLBACK", ROUTER_CHANGE_ROLLBACK},
        {"TRANS_STMT_SAVEPOINT", ROUTER_CHANGE_SAVEPOINT},
        {"TRANS_STMT_RELEASE", ROUTER_CHANGE_RELEASE},
        {"TRANS_STMT_ROLLBACK_TO", ROUTER_CHANGE_ROLLBACK_TO},
    };
    const struct router_name kind = router_tree_text(tree, node, "kind");
    char name[NAME_SIZE_MAX];
    if (!router_tree_unescape(router_tree_text(tree, node, "savepoint_name"), name, sizeof(name)))
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (router_name_is(kind, kinds[i].text))
            return add(c, kinds[i].kind, statement, name) != NULL;
    return true;
}

/* The name of a call in `index`, when that is a FuncCall of set_config. */
static bool calls_set_config(const struct router_tree *tree, uint32_t index)
{
    if (!router_name_is(router_tree_key(tree, index), "FuncCall"))
        return false;
    const uint32_t names = router_tree_field(tree, index, "funcname");
    if (names == ROUTER_TREE_NONE)
        return false;
    const struct router_name last = router_tree_string(
        tree, router_tree_element(tree, names, router_tree_size(tree, names) - 1));
    return last.base != NULL && router_name_is(last, "set_config");
}

/* A set_config deeper down, or of a value that is not written out: for the transaction, or the
 * class pins. */
static bool add_hidden(struct router_changes *c, const struct router_tree *tree, uint32_t node,
                       uint32_t statement)
{
    for (uint32_t i = node; i < tree->nodes[node].end; i++)
        if (calls_set_config(tree, i))
            return add(c, ROUTER_CHANGE_LOCAL, statement, "") != NULL;
    return true;
}

static bool add_statement(struct router_changes *c, const struct router_tree *tree, uint32_t node,
                          uint32_t statement, struct router_name source)
{
    const struct router_name type = router_tree_key(tree, node);
    if (router_name_is(type, "VariableSetStmt"))
        return add_set(c, tree, node, statement, source) ||
               add(c, ROUTER_CHANGE_LOCAL, statement, "") != NULL; /* the class pins */
    if (router_name_is(type, "TransactionStmt"))
        return add_transaction(c, tree, node, statement);
    if (router_name_is(type, "DiscardStmt"))
        return !router_name_is(router_tree_text(tree, node, "target"), "DISCARD_ALL") ||
               add(c, ROUTER_CHANGE_DISCARD_ALL, statement, "") != NULL;
    if (router_name_is(type, "DeallocateStmt")) {
        char name[NAME_SIZE_MAX];
        const struct router_name written = router_tree_text(tree, node, "name");
        return written.size == 0 || (router_tree_unescape(written, name, sizeof(name)) &&
                                     add(c, ROUTER_CHANGE_DEALLOCATE, statement, name) != NULL);
    }
    if (router_name_is(type, "SelectStmt") && router_change_select_known(tree, node))
        return add_select(c, tree, node, statement);
    return add_hidden(c, tree, node, statement);
}

static uint32_t number_of(const struct router_tree *tree, uint32_t object, const char *key)
{
    const struct router_name text = router_tree_text(tree, object, key);
    uint32_t value = 0;
    for (size_t i = 0; i < text.size && text.base[i] >= '0' && text.base[i] <= '9'; i++)
        value = value * 10 + (uint32_t)(text.base[i] - '0');
    return value;
}

static bool add_all(struct router_changes *c, const struct router_tree *tree, const char *text,
                    size_t size)
{
    const uint32_t statements = router_tree_field(tree, 0, "stmts");
    uint32_t nth = 0;
    if (statements == ROUTER_TREE_NONE)
        return false;
    for (uint32_t i = statements + 1; i < tree->nodes[statements].end; i = tree->nodes[i].end) {
        const uint32_t stmt = router_tree_field(tree, i, "stmt");
        const uint32_t start = number_of(tree, i, "stmt_location");
        uint32_t length = number_of(tree, i, "stmt_len");
        uint32_t end = start + length;
        const uint32_t before = c->count;
        if (stmt == ROUTER_TREE_NONE || !router_tree_is_node(tree, stmt + 1) || start > size)
            return false;
        if (length == 0 || length > size - start) {
            length = (uint32_t)(size - start); /* to the end */
            end = 0;
        }
        const struct router_name source = {.base = text + start, .size = length};
        if (!add_statement(c, tree, stmt + 1, nth++, source))
            return false;
        for (uint32_t added = before; added < c->count; added++)
            c->items[added].end = end;
    }
    return true;
}

struct router_changes *router_changes_read(const char *text, size_t size)
{
    struct router_parse parsed;
    if (!router_parse_open(&parsed, text, size, NULL))
        return NULL;
    struct router_changes *c = calloc(1, sizeof(*c));
    const bool good = c != NULL && put_end(c) && add_all(c, &parsed.tree, parsed.text, size);
    router_parse_close(&parsed);
    if (good)
        return c;
    router_changes_free(c);
    return NULL;
}

struct router_changes *router_changes_savepoint(enum router_change_kind kind, const char *name,
                                                size_t name_size)
{
    char text[NAME_SIZE_MAX];
    struct router_changes *c = name_size < sizeof(text) ? calloc(1, sizeof(*c)) : NULL;
    if (c == NULL)
        return NULL;
    memcpy(text, name, name_size);
    text[name_size] = '\0';
    fold(text);
    if (put_end(c) && add(c, kind, 0, text) != NULL)
        return c;
    router_changes_free(c);
    return NULL;
}

void router_changes_free(struct router_changes *changes)
{
    if (changes == NULL)
        return;
    free(changes->texts);
    free(changes);
}
