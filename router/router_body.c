/* SPDX-License-Identifier: PostgreSQL
 *
 * router_body: one pass over the words. Any of them may be what runs: a function, a view, a table
 * with triggers.
 */
#include "router_body.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "router_lexer.h"

enum {
    NAME_SIZE_MAX = 256, /* no name is as long */
    DEPTH_MAX = 8,       /* of texts in texts; whoever goes deeper hides something */
};

/* SET app.tenant: the setting is none of PostgreSQL's, and nobody keeps its name. */
enum set_state { SET_NONE, SET_SEEN, SET_NAMED };

static bool word_is(struct router_name word, const char *text)
{
    return word.size == strlen(text) && strncasecmp(word.base, text, word.size) == 0;
}

/* What a word that runs or sets something is waiting for. */
enum waits {
    WAITS_NONE,
    WAITS_TEXT,
    WAITS_TEXT_END,
    WAITS_BODY,
    WAITS_LANGUAGE,
    WAITS_CALL,
    WAITS_NAME,
    WAITS_NAME_END
};

/* EXECUTE 'text', DO $$text$$ and set_config('name', ...) say what they do; anything else is
 * computed. True: the token is a text to look into. */
static bool next_literal(enum waits *waits, const struct router_token *t, struct router_name word,
                         struct router_finding *f)
{
    const bool literal = t->kind == ROUTER_TOKEN_STRING && *word.base == '\'';
    enum waits next = WAITS_NONE;
    bool plain = true;
    const bool string = t->kind == ROUTER_TOKEN_STRING;
    switch (*waits) {
    case WAITS_NONE:
        break;
    case WAITS_BODY: /* or ON CONFLICT DO */
        plain = !string || literal || *word.base == '$';
        next = word_is(word, "language") ? WAITS_LANGUAGE : WAITS_NONE;
        break;
    case WAITS_LANGUAGE:
        next = WAITS_BODY;
        break;
    case WAITS_TEXT:
        plain = literal;
        next = WAITS_TEXT_END;
        break;
    case WAITS_TEXT_END:
        plain = t->kind != ROUTER_TOKEN_OPERATOR;
        break;
    case WAITS_CALL:
        plain = router_name_is(word, "(");
        next = WAITS_NAME;
        break;
    case WAITS_NAME: /* one of PostgreSQL's settings: the server lists them, and hides the seed */
        plain = literal && memchr(word.base, '.', word.size) == NULL && !word_is(word, "'seed'");
        next = WAITS_NAME_END;
        break;
    case WAITS_NAME_END:
        plain = router_name_is(word, ",");
        break;
    }
    if (!plain)
        f->opaque = f->outside = true;
    const bool is_text = plain && string && (*waits == WAITS_TEXT || *waits == WAITS_BODY);
    *waits = plain ? next : WAITS_NONE;
    if (t->kind == ROUTER_TOKEN_WORD && word_is(word, "execute"))
        *waits = WAITS_TEXT;
    else if (t->kind == ROUTER_TOKEN_WORD && word_is(word, "do"))
        *waits = WAITS_BODY;
    else if (word_is(word, "set_config") || word_is(word, "\"set_config\""))
        *waits = WAITS_CALL;
    return is_text;
}

/* $tag$text$tag$ and 'text', without what is around it. */
static struct router_name inside(struct router_name string)
{
    size_t skip = 1;
    if (string.size > 0 && *string.base == '$') {
        const char *end = memchr(string.base + 1, '$', string.size - 1);
        skip = end != NULL ? (size_t)(end - string.base) + 1 : string.size;
    }
    if (string.size < 2 * skip)
        return (struct router_name){.base = string.base, .size = 0};
    return (struct router_name){.base = string.base + skip, .size = string.size - 2 * skip};
}

static void look_up(struct router_name word, const struct router_context *names,
                    struct router_finding *f)
{
    char lower[NAME_SIZE_MAX];
    if (word.size > sizeof(lower))
        word.size = sizeof(lower);
    for (size_t i = 0; i < word.size; i++) {
        const char c = word.base[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    const struct router_name spellings[] = {{.base = lower, .size = word.size}, word};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        const uint8_t flags =
            router_facts_of(names->facts, ROUTER_FACT_FUNCTION, spellings[i]) |
            router_facts_of(names->facts, ROUTER_FACT_RELATION, spellings[i]) |
            router_facts_of(names->facts, ROUTER_FACT_TYPE, spellings[i]) |
            router_facts_of(names->facts, ROUTER_FACT_OPERATOR, spellings[i]) |
            router_facts_of(names->facts, ROUTER_FACT_OPERATOR_APART, spellings[i]);
        f->opaque = f->opaque || (flags & (ROUTER_FACT_OPAQUE | ROUTER_FACT_WRITE_OPAQUE)) != 0;
        f->outside = f->outside || (flags & ROUTER_FACT_OUTSIDE) != 0;
        f->keeps = f->keeps || (flags & ROUTER_FACT_KEEPS) != 0;
    }
}

static enum set_state next_state(enum set_state state, enum router_token_kind kind,
                                 struct router_name word)
{
    if (kind == ROUTER_TOKEN_WORD && word_is(word, "set"))
        return SET_SEEN;
    if (state == SET_SEEN && (word_is(word, "session") || word_is(word, "local")))
        return SET_SEEN;
    return state == SET_SEEN && (kind == ROUTER_TOKEN_WORD || kind == ROUTER_TOKEN_QUOTED_NAME)
               ? SET_NAMED
               : SET_NONE;
}

static void scan(struct router_name body, const struct router_context *names, uint32_t depth,
                 struct router_finding *f)
{
    const char *text = body.base;
    struct router_lexer lexer = router_lexer_make(text, body.size);
    enum set_state state = SET_NONE;
    enum waits waits = WAITS_NONE;
    if (depth > DEPTH_MAX) {
        f->opaque = f->outside = true;
        return;
    }
    for (;;) {
        const struct router_token t = router_lexer_next(&lexer);
        struct router_name word = {.base = text + t.start, .size = t.size};
        if (t.kind == ROUTER_TOKEN_END)
            return;
        if (t.kind == ROUTER_TOKEN_COMMENT)
            continue;
        if (t.kind == ROUTER_TOKEN_ERROR ||
            (t.kind == ROUTER_TOKEN_QUOTED_NAME && *word.base != '"')) {
            f->opaque = f->outside = true; /* U&"..." may be any name */
            if (t.kind == ROUTER_TOKEN_ERROR)
                return;
        }
        if (next_literal(&waits, &t, word, f))
            scan(inside(word), names, depth + 1, f);
        f->opaque = f->opaque || (state == SET_NAMED && router_name_is(word, "."));
        state = next_state(state, t.kind, word);
        if (t.kind == ROUTER_TOKEN_QUOTED_NAME && word.size > 2)
            word = (struct router_name){.base = word.base + 1, .size = word.size - 2};
        else if (t.kind != ROUTER_TOKEN_WORD && t.kind != ROUTER_TOKEN_OPERATOR)
            continue;
        if (word_is(word, "load"))
            f->opaque = f->outside = true;
        if (word_is(word, "setseed") || (word_is(word, "seed") && state == SET_NAMED))
            f->opaque = true; /* nobody can ask for it */
        if (names->facts != NULL)
            look_up(word, names, f);
    }
}

void router_body_scan(const char *text, size_t size, const struct router_context *names,
                      struct router_finding *f)
{
    scan((struct router_name){.base = text, .size = size}, names, 0, f);
}

void router_body_argument(const struct router_tree *tree, uint32_t def_elem,
                          const struct router_context *names, struct router_finding *f)
{
    const struct router_name defname = router_tree_text(tree, def_elem, "defname");
    const uint32_t arg = router_tree_field(tree, def_elem, "arg");
    const struct router_name value = arg != ROUTER_TREE_NONE ? router_tree_constant(tree, arg)
                                                             : (struct router_name){.base = ""};
    const bool trusted = router_name_is(value, "plpgsql") || router_name_is(value, "sql");
    if (router_name_is(defname, "language")) {
        f->opaque = f->opaque || !trusted;
        f->outside = f->outside || !trusted;
        return;
    }
    char *text = malloc(value.size + 1);
    if (names->facts == NULL || text == NULL || !router_tree_unescape(value, text, value.size + 1))
        f->opaque = f->outside = true;
    else
        router_body_scan(text, strlen(text), names, f);
    free(text);
}
