/* SPDX-License-Identifier: PostgreSQL
 *
 * router_hint: what a comment asks of the proxy.
 *
 * Pure; any thread. Two forms:  switchgear: key=value, key=value  at the start of a comment, and
 * sqlcommenter's  key='value',key='value'  as the whole comment. Keys of others are passed over;
 * a route that is not ours (frameworks put an URL pattern under that key) is none.
 */
#ifndef ROUTER_HINT_H
#define ROUTER_HINT_H

#include <stdbool.h>
#include <stddef.h>

#include "router_classify.h"

/* Adds what the comment (with its delimiters) says; returns whether it says anything to us. */
bool router_hint_read(const char *comment, size_t size, struct router_hint *hint);

#endif
