/* SPDX-License-Identifier: PostgreSQL
 *
 * router_change: reads libpg_query's tree statement by statement; a setting's text is the client's
 * own, token by token, so that the server reads in it what it read the first time.
 */
#include "router_change.h"

#include <stdlib.h>
#include <string.h>

#include "router_change_internal.h"
#include "router_classify.h"
#include "router_lexer.h"
#include "router_parse.h"

enum { NAME_SIZE_MAX = ROUTER_CHANGE_NAME_MAX, MODES_MAX = 8 };

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

bool router_change_put(struct router_changes *c, const char *text)
{
    return put(c, text, strlen(text));
}

static bool put_end(struct router_changes *c)
{
    return put(c, "", 1);
}

bool router_change_put_literal(struct router_changes *c, const char *text)
{
    bool good = router_change_put(c, "E'");
    for (; *text != '\0'; text++)
        good = good && put(c, text, 1) && ((*text != '\'' && *text != '\\') || put(c, text, 1));
    return good && router_change_put(c, "'");
}

struct router_change *router_change_add(struct router_changes *c, enum router_change_kind kind,
                                        uint32_t statement, const char *name)
{
    if (c->count == ROUTER_CHANGES_MAX)
        return NULL;
    struct router_change *change = &c->items[c->count];
    *change = (struct router_change){
        .kind = (uint8_t)kind, .statement = statement, .name = c->texts_size};
    if (!router_change_put(c, name) || !put_end(c))
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

bool router_change_finish(struct router_changes *c, struct router_change *change, const char *value)
{
    if (!put_end(c))
        return false;
    change->flags = router_setting_flags(name_of(c->texts + change->name), name_of(value));
    if (is_wide(c->texts + change->text))
        change->flags |= ROUTER_SETTING_WIDE;
    return strlen(c->texts + change->text) <= ROUTER_CHANGE_TEXT_MAX;
}

/* ---- SET ---- */

void router_change_fold(char *text)
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
        if (!first && t.start > end && !router_change_put(c, blank_between(text, end, t.start)))
            return false;
        const uint32_t at = c->texts_size;
        if (!put(c, text + t.start, t.size))
            return false;
        if (t.kind == ROUTER_TOKEN_WORD)
            router_change_fold(c->texts + at);
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
    router_change_fold(ret);
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
        struct router_change *change = router_change_add(c, ROUTER_CHANGE_SET, statement, name);
        if (change == NULL)
            return false;
        change->text = c->texts_size;
        if (!router_change_put(c, "SET ") || !router_change_put(c, name) ||
            !router_change_put(c, " TO ") || !router_change_put_literal(c, value) ||
            !router_change_finish(c, change, value))
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
        return c == NULL || router_change_add(c, ROUTER_CHANGE_RESET_ALL, statement, "") != NULL;
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
    struct router_change *change = router_change_add(c,
                                                     local    ? ROUTER_CHANGE_LOCAL
                                                     : resets ? ROUTER_CHANGE_RESET
                                                              : ROUTER_CHANGE_SET,
                                                     statement, name);
    if (change == NULL || (resets && !local))
        return change != NULL;
    change->text = c->texts_size;
    return put_tokens(c, source.base, source.size) && router_change_finish(c, change, value);
}

bool router_change_set_known(const struct router_tree *tree, uint32_t set)
{
    return add_set(NULL, tree, set, 0, (struct router_name){.base = "", .size = 0});
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
            return router_change_add(c, kinds[i].kind, statement, name) != NULL;
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
            return router_change_add(c, ROUTER_CHANGE_LOCAL, statement, "") != NULL;
    return true;
}

static bool add_statement(struct router_changes *c, const struct router_tree *tree, uint32_t node,
                          uint32_t statement, struct router_name source)
{
    const struct router_name type = router_tree_key(tree, node);
    if (router_name_is(type, "VariableSetStmt"))
        return add_set(c, tree, node, statement, source) ||
               router_change_add(c, ROUTER_CHANGE_LOCAL, statement, "") !=
                   NULL; /* the class pins */
    if (router_name_is(type, "TransactionStmt"))
        return add_transaction(c, tree, node, statement);
    if (router_name_is(type, "DiscardStmt"))
        return !router_name_is(router_tree_text(tree, node, "target"), "DISCARD_ALL") ||
               router_change_add(c, ROUTER_CHANGE_DISCARD_ALL, statement, "") != NULL;
    if (router_name_is(type, "DeallocateStmt")) {
        char name[NAME_SIZE_MAX];
        const struct router_name written = router_tree_text(tree, node, "name");
        return written.size == 0 ||
               (router_tree_unescape(written, name, sizeof(name)) &&
                router_change_add(c, ROUTER_CHANGE_DEALLOCATE, statement, name) != NULL);
    }
    if (router_name_is(type, "SelectStmt") && router_change_select_known(tree, node))
        return router_change_select(c, tree, node, statement);
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
    const struct router_name cut =
        router_name_cut((struct router_name){.base = name, .size = name_size});
    struct router_changes *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    memcpy(text, cut.base, cut.size);
    text[cut.size] = '\0';
    router_change_fold(text);
    if (put_end(c) && router_change_add(c, kind, 0, text) != NULL)
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
