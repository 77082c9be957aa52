/* SPDX-License-Identifier: PostgreSQL
 *
 * router_survey: hints, EXPLAIN (ROUTE), and a bound of the depth.
 *
 * The bound is needed because libpg_query writes its tree by recursion. Within one pair of
 * parentheses a chain (a + b + c, NOT NOT a) is at most as deep as it has words and operators. A
 * comma, AND, OR and the parts of a CASE begin a new chain: lists are flat, and so are AND and OR.
 * CASE itself, set operations, joins and BETWEEN nest across those, so they are counted apart.
 */
#include "router_survey.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "router_hint.h"
#include "router_lexer.h"

enum { GROUPS_MAX = 1024 };

/*
 * What libpg_query and the walk over its tree take at most, in instructions: measured by callgrind,
 * text by text (tests/perf). A name may be a relation, a column or a whole target, an operator is a
 * node with two operands; a string is copied and escaped several times.
 */
enum {
    WORK_TEXT = 20000,
    WORK_BYTE = 20,
    WORK_COMMENT = 1000,
    WORK_WORD = 9000,
    WORK_WORD_MORE = 4500, /* behind another word, a keyword's or a dot's */
    WORK_LITERAL = 6500,
    WORK_LITERAL_BYTE = 70,
    WORK_ESCAPE_BYTE = 130,
    WORK_OPERATOR = 8000, /* and :: */
    WORK_SELF = 2000,
    WORK_COMMA = 650,
    WORK_STEP = 18, /* of the scanner, over one character once more */
};

struct group {
    uint32_t chain;         /* words and operators since the chain began */
    uint32_t chain_deepest; /* of the chains so far */
    uint32_t nesting;       /* words that nest across chains */
    uint32_t inner_deepest; /* of the groups inside */
};

struct groups {
    struct group stack[GROUPS_MAX];
    uint32_t last; /* the innermost */
    uint32_t deepest;
    bool overflow;
};

static bool word_is(const char *word, size_t size, const char *lower)
{
    return (word[0] | 0x20) == lower[0] && strncasecmp(word, lower, size) == 0 &&
           lower[size] == '\0';
}

static void chain_end(struct group *g)
{
    if (g->chain > g->chain_deepest)
        g->chain_deepest = g->chain;
    g->chain = 0;
}

static uint32_t group_depth(struct group *g)
{
    chain_end(g);
    return g->chain_deepest + g->nesting + g->inner_deepest + 1;
}

static void groups_open(struct groups *s)
{
    s->overflow = s->overflow || s->last + 1 == GROUPS_MAX;
    if (s->overflow)
        return;
    s->stack[++s->last] = (struct group){0};
}

static void groups_close(struct groups *s)
{
    if (s->last == 0 || s->overflow)
        return;
    const uint32_t depth = group_depth(&s->stack[s->last--]);
    struct group *outer = &s->stack[s->last];
    if (depth > outer->inner_deepest)
        outer->inner_deepest = depth;
}

/* A semicolon ends a statement, or one of a function's body: the next hangs beside it. */
static void groups_statement_end(struct groups *s)
{
    if (s->last != 0)
        return;
    const uint32_t depth = group_depth(&s->stack[0]);
    if (depth > s->deepest)
        s->deepest = depth;
    s->stack[0] = (struct group){0};
}

/* Asked of every word, so most are told by their size and first letter. */
static bool begins_chain(const char *word, size_t size)
{
    switch (size) {
    case 2:
        return word_is(word, size, "or");
    case 3:
        return word_is(word, size, "and");
    case 4:
        return word_is(word, size, "when") || word_is(word, size, "then") ||
               word_is(word, size, "else");
    default:
        return false;
    }
}

static bool nests(const char *word, size_t size)
{
    switch (size) {
    case 4:
        return word_is(word, size, "case") || word_is(word, size, "join");
    case 5:
        return word_is(word, size, "union");
    case 6:
        return word_is(word, size, "except");
    case 7:
        return word_is(word, size, "between");
    case 9:
        return word_is(word, size, "intersect");
    default:
        return false;
    }
}

static void count_word(struct group *g, const char *word, size_t size)
{
    if (begins_chain(word, size)) {
        chain_end(g);
        g->chain = 1;
    } else if (nests(word, size)) {
        g->nesting++;
    } else {
        g->chain++;
    }
}

static void count_self(struct groups *s, const char *token, size_t size)
{
    switch (token[0]) {
    case '(':
    case '[':
        groups_open(s);
        return;
    case ')':
    case ']':
        groups_close(s);
        return;
    case ',':
        chain_end(&s->stack[s->last]);
        return;
    case ';':
        groups_statement_end(s);
        return;
    default:
        s->stack[s->last].chain += size == 2; /* :: */
    }
}

/* EXPLAIN ( ROUTE ) and what follows: the nth token must be the nth of these. */
static bool explain_route_token(uint32_t nth, const char *token, size_t size)
{
    static const char *const tokens[] = {"explain", "(", "route", ")"};
    return word_is(token, size, tokens[nth]);
}

/* ---- what the parser's own scanner does more than once ---- */

/* A run of characters that an operator may have. The scanner looks at all of what is left of it at
 * each operator, and at each start of a comment, that it finds in it. */
struct run {
    size_t end;
    uint64_t steps;
};

static void run_note(struct run *r, const char *text, size_t size, size_t at)
{
    if (at >= r->end)
        for (r->end = at; r->end < size && router_lexer_is_operator(text[r->end]);)
            r->end++;
    r->steps += r->end - at;
}

static void run_comment(struct run *r, const char *text, size_t size, struct router_token t)
{
    const size_t end = t.start + t.size;
    for (size_t at = t.start; at + 1 < end && r->steps <= ROUTER_WORK_MAX / WORK_STEP; at++)
        if (text[at] == '/' && text[at + 1] == '*')
            run_note(r, text, size, at);
}

static uint64_t literal_work(const struct router_token *t, const char *token)
{
    const bool escapes = token[0] != '\'' && token[0] != '$';
    return WORK_LITERAL + (uint64_t)t->size * (escapes ? WORK_ESCAPE_BYTE : WORK_LITERAL_BYTE);
}

/* `last`: the token before. */
static uint64_t token_work(const struct router_token *t, const char *token,
                           const struct router_token *last, const char *text)
{
    switch (t->kind) {
    case ROUTER_TOKEN_WORD:
        if (last->kind == ROUTER_TOKEN_WORD || begins_chain(token, t->size) ||
            (last->kind == ROUTER_TOKEN_SELF && text[last->start] == '.'))
            return WORK_WORD_MORE;
        return WORK_WORD;
    case ROUTER_TOKEN_QUOTED_NAME:
        return WORK_WORD + (uint64_t)t->size * WORK_LITERAL_BYTE;
    case ROUTER_TOKEN_STRING:
    case ROUTER_TOKEN_NUMBER:
    case ROUTER_TOKEN_PARAMETER:
        return literal_work(t, token);
    case ROUTER_TOKEN_OPERATOR:
        return WORK_OPERATOR;
    case ROUTER_TOKEN_SELF:
        return t->size > 1 ? WORK_OPERATOR : token[0] == ',' ? WORK_COMMA : WORK_SELF;
    case ROUTER_TOKEN_COMMENT:
        return WORK_COMMENT;
    case ROUTER_TOKEN_END:
    case ROUTER_TOKEN_ERROR:
        break;
    }
    return 0;
}

void router_survey(const char *text, size_t size, struct router_survey *ret)
{
    assert(size <= UINT32_MAX);
    struct router_survey survey = {.work = WORK_TEXT + (uint64_t)size * WORK_BYTE};
    struct router_lexer lexer = router_lexer_make(text, size);
    struct groups s;
    s.last = 0;
    s.deepest = 0;
    s.overflow = false;
    s.stack[0] = (struct group){0};
    struct run run = {0};
    uint32_t nth = 0;
    bool route = true; /* so far the text reads EXPLAIN (ROUTE) */

    struct router_token last = {.kind = ROUTER_TOKEN_END};
    struct router_token t = router_lexer_next(&lexer);
    for (; t.kind != ROUTER_TOKEN_END && !survey.broken &&
           survey.work + run.steps * WORK_STEP <= ROUTER_WORK_MAX;
         t = router_lexer_next(&lexer)) {
        const char *const token = text + t.start;
        survey.work += token_work(&t, token, &last, text);
        if (t.kind == ROUTER_TOKEN_COMMENT) {
            run_comment(&run, text, size, t);
            survey.hinted |= router_hint_read(token, t.size, &survey.hint);
            continue;
        }
        if (nth < 4)
            route = route && explain_route_token(nth, token, t.size);
        else if (nth == 4 && route)
            survey.body_offset = t.start;
        nth++;
        survey.broken = survey.broken || t.kind == ROUTER_TOKEN_ERROR;
        last = t;
        if (t.kind == ROUTER_TOKEN_WORD) {
            survey.uescape |= word_is(token, t.size, "uescape");
            count_word(&s.stack[s.last], token, t.size);
        } else if (t.kind == ROUTER_TOKEN_OPERATOR) {
            s.stack[s.last].chain++;
            run_note(&run, text, size, t.start);
        } else if (t.kind == ROUTER_TOKEN_SELF) {
            count_self(&s, token, t.size);
        }
    }
    while (s.last > 0 && !s.overflow)
        groups_close(&s);
    groups_statement_end(&s);
    survey.depth = s.overflow ? UINT32_MAX : s.deepest;
    survey.work += run.steps * WORK_STEP;
    *ret = survey;
}
