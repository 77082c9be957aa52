/* SPDX-License-Identifier: PostgreSQL
 *
 * router_values: see the header.
 */
#include "router_values.h"

#include <string.h>

static bool is_self(const struct router_lexer *lexer, struct router_token token, char c)
{
    return token.kind == ROUTER_TOKEN_SELF && token.size == 1 && lexer->text[token.start] == c;
}

/* U&'...' may be followed by UESCAPE. */
static bool is_plain_string(const struct router_lexer *lexer, struct router_token token)
{
    const char *const string = lexer->text + token.start;
    return token.size < 2 || (string[0] | 0x20) != 'u' || string[1] != '&';
}

/* A literal; `signed` if it is a number with a minus, which binds looser than a cast. */
static bool take_literal(struct router_lexer *lexer, struct router_token token, uint32_t *tokens,
                         bool *has_sign)
{
    *has_sign = false;
    switch (token.kind) {
    case ROUTER_TOKEN_NUMBER:
    case ROUTER_TOKEN_PARAMETER:
        return true;
    case ROUTER_TOKEN_STRING:
        return is_plain_string(lexer, token);
    case ROUTER_TOKEN_WORD:
        return router_token_is(lexer, token, "null") || router_token_is(lexer, token, "true") ||
               router_token_is(lexer, token, "false");
    case ROUTER_TOKEN_OPERATOR:
        if (token.size != 1 || lexer->text[token.start] != '-')
            return false;
        *has_sign = true;
        ++*tokens;
        return router_lexer_next(lexer).kind == ROUTER_TOKEN_NUMBER;
    case ROUTER_TOKEN_END:
    case ROUTER_TOKEN_QUOTED_NAME:
    case ROUTER_TOKEN_SELF:
    case ROUTER_TOKEN_COMMENT:
    case ROUTER_TOKEN_ERROR:
        break;
    }
    return false;
}

/* False: there are too many of them. */
static bool note_cast(const struct router_lexer *lexer, struct router_values *rows,
                      struct router_token type)
{
    for (uint8_t i = 0; i < rows->casts_count; i++)
        if (rows->casts[i].size == type.size &&
            memcmp(lexer->text + rows->casts[i].start, lexer->text + type.start, type.size) == 0)
            return true;
    if (rows->casts_count == ROUTER_VALUES_CASTS_MAX)
        return false;
    rows->casts[rows->casts_count++] = type;
    rows->casts_new++;
    return true;
}

/* Behind the opening parenthesis. */
static bool take_items(struct router_lexer *lexer, struct router_values *rows)
{
    for (uint32_t items = 0; items < ROUTER_VALUES_ITEMS_MAX; items++) {
        bool has_sign;
        struct router_token token = router_lexer_next(lexer);
        if (!take_literal(lexer, token, &rows->tokens, &has_sign))
            return false;
        token = router_lexer_next(lexer);
        rows->tokens += 2;
        if (token.kind == ROUTER_TOKEN_SELF && token.size == 2 &&
            lexer->text[token.start + 1] == ':' && !has_sign) {
            token = router_lexer_next(lexer);
            if (token.kind != ROUTER_TOKEN_WORD || !note_cast(lexer, rows, token))
                return false;
            token = router_lexer_next(lexer);
            rows->tokens += 2;
        }
        if (is_self(lexer, token, ')'))
            return true;
        if (!is_self(lexer, token, ','))
            return false;
    }
    return false;
}

bool router_values_next(struct router_lexer *lexer, struct router_values *rows)
{
    struct router_lexer at = *lexer;
    struct router_values next = *rows;
    next.tokens = 1;
    next.casts_new = 0;
    if (next.rows > 0) {
        if (!is_self(&at, router_lexer_next(&at), ','))
            return false;
        next.tokens++;
    }
    if (!is_self(&at, router_lexer_next(&at), '(') || !take_items(&at, &next))
        return false;
    next.rows++;
    *rows = next;
    *lexer = at;
    return true;
}
