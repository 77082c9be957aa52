/* SPDX-License-Identifier: PostgreSQL
 *
 * router_parse: libpg_query's tree of a text, for whoever reads one. The one place from which the
 * parser is called, so that nobody gives it a text that takes too long.
 *
 * Pure; any thread. Cold path: allocates. router_parse_close() gives all of it back.
 */
#ifndef ROUTER_PARSE_H
#define ROUTER_PARSE_H

#include <pg_query.h>

#include "router_survey.h"
#include "router_tree.h"

struct router_parse {
    struct router_tree tree;
    char *text; /* a copy, ended by NUL */
    PgQueryParseResult result;
};

/* False: the text is too long or does not parse, or no memory is left. `survey` is the text's own;
 * NULL: the text is read once more, and has to be short (ROUTER_WORK_AGAIN_MAX). */
bool router_parse_open(struct router_parse *p, const char *text, size_t size,
                       const struct router_survey *survey);
void router_parse_close(struct router_parse *p);

#endif
