/* SPDX-License-Identifier: PostgreSQL
 *
 * router_prepared: which prepared statements a text names in SQL: EXECUTE x, also in EXPLAIN or
 * CREATE TABLE ... AS, PREPARE x and DEALLOCATE x.
 *
 * Pure; any thread. Cold path: parses the text. Only for texts whose class has `names_prepared`.
 */
#ifndef ROUTER_PREPARED_H
#define ROUTER_PREPARED_H

#include <stddef.h>
#include <stdint.h>

enum { ROUTER_PREPARED_MAX = 16, ROUTER_PREPARED_NAME_SIZE = 64 };

struct router_prepared {
    uint32_t count; /* of several names more than that many are left out */
    char names[ROUTER_PREPARED_MAX][ROUTER_PREPARED_NAME_SIZE];
};

/* A text that cannot be parsed has none. */
void router_prepared_read(const char *text, size_t size, struct router_prepared *ret);

#endif
