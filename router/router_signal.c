/* SPDX-License-Identifier: PostgreSQL
 *
 * router_signal: see the header.
 */
#include "router_signal.h"

#include <string.h>
#include <strings.h>

#include "router_lexer.h"

enum { DIGITS_MAX = 18 };

struct reader {
    struct router_lexer lexer;
    struct router_token token; /* the one that is next */
};

static void advance(struct reader *r)
{
    do
        r->token = router_lexer_next(&r->lexer);
    while (r->token.kind == ROUTER_TOKEN_COMMENT);
}

static const char *start_of(const struct reader *r)
{
    return r->lexer.text + r->token.start;
}

static bool is(const struct reader *r, enum router_token_kind kind, const char *text)
{
    const size_t size = strlen(text);
    return r->token.kind == kind && r->token.size == size &&
           strncasecmp(start_of(r), text, size) == 0;
}

/* True, and past it, where the next token is that one. */
static bool take(struct reader *r, enum router_token_kind kind, const char *text)
{
    if (!is(r, kind, text))
        return false;
    advance(r);
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    return take(r, ROUTER_TOKEN_WORD, word);
}

static bool take_sign(struct reader *r, const char *sign)
{
    return take(r, ROUTER_TOKEN_SELF, sign) || take(r, ROUTER_TOKEN_OPERATOR, sign);
}

bool router_signal_number(const char *text, size_t size, int64_t *ret)
{
    int64_t value = 0;
    if (size == 0 || size > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (text[i] - '0');
    }
    *ret = value;
    return true;
}

/* 123, '123' or $1. */
static bool read_value(struct reader *r, struct router_signal_argument *ret)
{
    const char *text = start_of(r);
    const size_t size = r->token.size;
    int64_t number = 0;
    bool good = false;
    if (r->token.kind == ROUTER_TOKEN_NUMBER) {
        good = router_signal_number(text, size, &ret->value);
    } else if (r->token.kind == ROUTER_TOKEN_STRING) {
        good = size > 2 && text[0] == '\'' && router_signal_number(text + 1, size - 2, &ret->value);
    } else if (r->token.kind == ROUTER_TOKEN_PARAMETER) {
        good = size > 1 && router_signal_number(text + 1, size - 1, &number) && number > 0 &&
               number <= 2;
        ret->parameter = (uint16_t)number;
    }
    if (good)
        advance(r);
    return good;
}

static bool read_type(struct reader *r, bool is_pid, struct router_signal_argument *ret)
{
    ret->cast = ROUTER_SIGNAL_INT4;
    if (take_word(r, "int") || take_word(r, "int4") || take_word(r, "integer"))
        return ret->value <= INT32_MAX;
    ret->cast = ROUTER_SIGNAL_INT8; /* of a process id: there is no such function */
    return !is_pid && (take_word(r, "bigint") || take_word(r, "int8"));
}

static bool read_argument(struct reader *r, bool is_pid, struct router_signal_argument *ret)
{
    ret->given = true;
    if (take_word(r, "cast"))
        return take_sign(r, "(") && read_value(r, ret) && take_word(r, "as") &&
               read_type(r, is_pid, ret) && take_sign(r, ")");
    return read_value(r, ret) && (!take_sign(r, "::") || read_type(r, is_pid, ret));
}

/* Up to the parenthesis that opens. */
static enum router_signal read_name(struct reader *r)
{
    enum router_signal kind = ROUTER_SIGNAL_NONE;
    if (!take_word(r, "select") || (take_word(r, "pg_catalog") && !take_sign(r, ".")))
        return ROUTER_SIGNAL_NONE;
    if (take_word(r, "pg_terminate_backend"))
        kind = ROUTER_SIGNAL_TERMINATE;
    else if (take_word(r, "pg_cancel_backend"))
        kind = ROUTER_SIGNAL_CANCEL;
    return take_sign(r, "(") ? kind : ROUTER_SIGNAL_NONE;
}

static struct reader reader_make(const char *text, size_t size)
{
    struct reader r = {.lexer = router_lexer_make(text, size)};
    advance(&r);
    return r;
}

enum router_signal router_signal_named(const char *text, size_t size)
{
    struct reader r = reader_make(text, size);
    return read_name(&r);
}

bool router_signal_read(const char *text, size_t size, struct router_signal_call *ret)
{
    struct reader r = reader_make(text, size);
    struct router_signal_call call = {.kind = (uint8_t)read_name(&r)};
    const bool ends = call.kind == ROUTER_SIGNAL_TERMINATE;
    if (call.kind == ROUTER_SIGNAL_NONE || !read_argument(&r, true, &call.pid))
        return false;
    if (ends && take_sign(&r, ",")) {
        if (take_word(&r, "timeout") && !take_sign(&r, "=>"))
            return false;
        if (!read_argument(&r, false, &call.timeout))
            return false;
    }
    if (!take_sign(&r, ")"))
        return false;
    while (take_sign(&r, ";"))
        ;
    if (r.token.kind != ROUTER_TOKEN_END)
        return false;
    *ret = call;
    return true;
}

const char *router_signal_function(enum router_signal kind)
{
    return kind == ROUTER_SIGNAL_CANCEL ? "pg_cancel_backend" : "pg_terminate_backend";
}
