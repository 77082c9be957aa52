/* SPDX-License-Identifier: PostgreSQL
 *
 * router_values: rows behind VALUES that are nothing but literals: (1, 'a', NULL), (-2, 'b', now)
 * has one. What a statement is does not depend on how many of them there are, nor on what stands in
 * them, but for the types that a literal is cast to. Pure; any thread.
 */
#ifndef ROUTER_VALUES_H
#define ROUTER_VALUES_H

#include "router_lexer.h"

/* Of a row; of a list; of all its rows: to read more of them takes too long. */
enum {
    ROUTER_VALUES_ITEMS_MAX = 256,
    ROUTER_VALUES_CASTS_MAX = 8,
    ROUTER_VALUES_TOKENS_MAX = 65536
};

/* Zeroed before the first row of each list. */
struct router_values {
    uint32_t rows;   /* taken so far */
    uint32_t tokens; /* of the last row, with the comma before it */
    uint8_t casts_count;
    uint8_t casts_new; /* of them the last ones came with the last row */
    struct router_token casts[ROUTER_VALUES_CASTS_MAX]; /* words, each once */
};

/*
 * Takes one more row, with the comma before it if it is not the first, and returns true. False:
 * what comes next is no such row (it has a call, a name, DEFAULT, a comment, or very many items),
 * and the lexer is where it was. A row is read twice at most.
 */
bool router_values_next(struct router_lexer *lexer, struct router_values *rows);

#endif
