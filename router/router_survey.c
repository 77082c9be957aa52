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
    return strlen(lower) == size && strncasecmp(word, lower, size) == 0;
}

static bool is_one_of(const char *word, size_t size, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (word_is(word, size, *list))
            return true;
    }
    return false;
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

static void count_word(struct group *g, const char *word, size_t size)
{
    static const char *const new_chain[] = {"and", "or", "when", "then", "else", NULL};
    static const char *const nesting[] = {"case", "union",   "intersect", "except",
                                          "join", "between", NULL};
    if (is_one_of(word, size, new_chain)) {
        chain_end(g);
        g->chain = 1;
    } else if (is_one_of(word, size, nesting)) {
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

void router_survey(const char *text, size_t size, struct router_survey *ret)
{
    assert(size <= UINT32_MAX);
    struct router_survey survey = {0};
    struct router_lexer lexer = router_lexer_make(text, size);
    struct groups s;
    s.last = 0;
    s.deepest = 0;
    s.overflow = false;
    s.stack[0] = (struct group){0};
    bool route = true; /* so far the text reads EXPLAIN (ROUTE) */

    struct router_token t = router_lexer_next(&lexer);
    for (uint32_t nth = 0; t.kind != ROUTER_TOKEN_END; t = router_lexer_next(&lexer)) {
        const char *const token = text + t.start;
        if (t.kind == ROUTER_TOKEN_COMMENT) {
            survey.hinted |= router_hint_read(token, t.size, &survey.hint);
            continue;
        }
        if (nth < 4)
            route = route && explain_route_token(nth, token, t.size);
        else if (nth == 4 && route)
            survey.body_offset = t.start;
        nth++;
        if (t.kind == ROUTER_TOKEN_ERROR) {
            survey.broken = true;
        } else if (t.kind == ROUTER_TOKEN_WORD) {
            survey.uescape |= word_is(token, t.size, "uescape");
            count_word(&s.stack[s.last], token, t.size);
        } else if (t.kind == ROUTER_TOKEN_OPERATOR) {
            s.stack[s.last].chain++;
        } else if (t.kind == ROUTER_TOKEN_SELF) {
            count_self(&s, token, t.size);
        }
    }
    while (s.last > 0 && !s.overflow)
        groups_close(&s);
    groups_statement_end(&s);
    survey.depth = s.overflow ? UINT32_MAX : s.deepest;
    *ret = survey;
}
