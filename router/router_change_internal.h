/* SPDX-License-Identifier: PostgreSQL
 *
 * router_change_internal: what router_change.c and router_change_select.c share.
 */
#ifndef ROUTER_CHANGE_INTERNAL_H
#define ROUTER_CHANGE_INTERNAL_H

#include <string.h>

#include "router_change.h"

enum { ROUTER_CHANGE_NAME_MAX = 256 };

static inline struct router_name name_of(const char *text)
{
    return (struct router_name){.base = text, .size = strlen(text)};
}

/* A new change, its text still to come; NULL: too many, or no memory. */
struct router_change *router_change_add(struct router_changes *c, enum router_change_kind kind,
                                        uint32_t statement, const char *name);
bool router_change_put(struct router_changes *c, const char *text);
bool router_change_put_literal(struct router_changes *c, const char *text);
/* After the text was put behind the name. */
bool router_change_finish(struct router_changes *c, struct router_change *change,
                          const char *value);
/* To lower case. */
void router_change_fold(char *text);
/* What a SELECT sets. False: it cannot be followed. `c` NULL: only asks. */
bool router_change_select(struct router_changes *c, const struct router_tree *tree, uint32_t select,
                          uint32_t statement);

#endif
