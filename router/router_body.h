/* SPDX-License-Identifier: PostgreSQL
 *
 * router_body: what the text of a procedure shows without being parsed: whether what it leaves on
 * its connection can be asked for. Pure; any thread.
 */
#ifndef ROUTER_BODY_H
#define ROUTER_BODY_H

#include "router_walk.h"

/* Of DO: one of its arguments, the language or the text. */
void router_body_argument(const struct router_tree *tree, uint32_t def_elem,
                          const struct router_context *names, struct router_finding *f);
/* By its words alone. It may be a whole query string, too. */
void router_body_scan(const char *text, size_t size, const struct router_context *names,
                      struct router_finding *f);

#endif
