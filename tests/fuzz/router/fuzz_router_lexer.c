/* SPDX-License-Identifier: PostgreSQL
 *
 * The lexer against libpg_query's scanner: the same tokens at the same places.
 *
 * Known differences, which the comparison allows for: the scanner stops at an embedded NUL (such
 * texts are only run through); N'...' is a keyword and a string there, one string here; it reports
 * PostgreSQL goes on with a string behind a line comment, libpg_query does not (it makes tokens of
 * comments); it reports a wrong end of U&'...' and U&"..." (the tokens behind them show ours to be
 * right); the values of escapes and the length of operators are checked there only, so where it
 * reports an error nothing is compared.
 */
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router_lexer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, const char *text, struct router_token t)
{
    fprintf(stderr, "%s at %u, size %u, kind %d: %s\n", what, t.start, t.size, (int)t.kind, text);
    abort();
}

static bool is_national(const char *text, struct router_token t)
{
    return t.kind == ROUTER_TOKEN_STRING && (text[t.start] == 'n' || text[t.start] == 'N');
}

static bool is_unicode(const char *text, struct router_token t)
{
    return t.size > 2 && (text[t.start] == 'u' || text[t.start] == 'U') &&
           text[t.start + 1] == '&' &&
           (t.kind == ROUTER_TOKEN_STRING || t.kind == ROUTER_TOKEN_QUOTED_NAME);
}

static bool may_continue_over_comment(const char *text, struct router_token t)
{
    return (t.kind == ROUTER_TOKEN_STRING || t.kind == ROUTER_TOKEN_ERROR) &&
           memmem(text + t.start, t.size, "--", 2) != NULL &&
           (memchr(text + t.start, '\n', t.size) != NULL ||
            memchr(text + t.start, '\r', t.size) != NULL);
}

/* What the grammar is given as a literal must be one here. */
static bool kind_fits(PgQuery__Token theirs, enum router_token_kind ours)
{
    switch ((int)theirs) {
    case PG_QUERY__TOKEN__ICONST:
    case PG_QUERY__TOKEN__FCONST:
        return ours == ROUTER_TOKEN_NUMBER;
    case PG_QUERY__TOKEN__SCONST:
    case PG_QUERY__TOKEN__USCONST:
    case PG_QUERY__TOKEN__BCONST:
    case PG_QUERY__TOKEN__XCONST:
        return ours == ROUTER_TOKEN_STRING;
    case PG_QUERY__TOKEN__PARAM:
        return ours == ROUTER_TOKEN_PARAMETER;
    case PG_QUERY__TOKEN__UIDENT:
        return ours == ROUTER_TOKEN_QUOTED_NAME;
    case PG_QUERY__TOKEN__SQL_COMMENT:
    case PG_QUERY__TOKEN__C_COMMENT:
        return ours == ROUTER_TOKEN_COMMENT;
    default:
        return ours != ROUTER_TOKEN_NUMBER && ours != ROUTER_TOKEN_STRING &&
               ours != ROUTER_TOKEN_PARAMETER && ours != ROUTER_TOKEN_COMMENT &&
               ours != ROUTER_TOKEN_END;
    }
}

static void compare(const char *text, size_t size, const PgQuery__ScanResult *theirs)
{
    struct router_lexer lexer = router_lexer_make(text, size);
    for (size_t i = 0; i < theirs->n_tokens; i++) {
        const PgQuery__ScanToken *token = theirs->tokens[i];
        const struct router_token t = router_lexer_next(&lexer);
        if (may_continue_over_comment(text, t))
            return;
        if (is_national(text, t) && i + 1 < theirs->n_tokens)
            token = theirs->tokens[++i];
        else if ((uint32_t)token->start != t.start)
            fail("start", text, t);
        if ((uint32_t)token->end != t.start + t.size && !is_unicode(text, t))
            fail("end", text, t);
        if (!kind_fits(token->token, t.kind))
            fail("kind", text, t);
    }
    const struct router_token end = router_lexer_next(&lexer);
    if (end.kind != ROUTER_TOKEN_END)
        fail("more", text, end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* without a NUL behind it, so that reading past the end is seen */
    char *exact = malloc(size == 0 ? 1 : size);
    char *copy = malloc(size + 1);
    if (size > 0) {
        memcpy(exact, data, size);
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    struct router_scan scan;
    static const uint8_t key[ROUTER_KEY_SIZE] = {1, 2, 3};
    router_lexer_scan(exact, size, key, &scan);
    struct router_lexer lexer = router_lexer_make(exact, size);
    uint32_t before = 0;
    for (struct router_token t = router_lexer_next(&lexer); t.kind != ROUTER_TOKEN_END;
         t = router_lexer_next(&lexer)) {
        if (t.start < before || t.size == 0 || t.start + t.size > size)
            fail("span", copy, t);
        before = t.start + t.size;
    }
    if (strlen(copy) == size) {
        PgQueryScanResult r = pg_query_scan(copy);
        if (r.error == NULL) {
            PgQuery__ScanResult *tokens =
                pg_query__scan_result__unpack(NULL, r.pbuf.len, (const uint8_t *)r.pbuf.data);
            if (tokens != NULL)
                compare(copy, size, tokens);
            pg_query__scan_result__free_unpacked(tokens, NULL);
        }
        pg_query_free_scan_result(r);
    }
    free(copy);
    free(exact);
    return 0;
}
