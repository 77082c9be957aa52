/* SPDX-License-Identifier: PostgreSQL
 *
 * router_signal: a text that is nothing but SELECT pg_terminate_backend(...) or SELECT
 * pg_cancel_backend(...), with or without pg_catalog in front, of a process id that is written down
 * or a parameter.
 *
 * Pure; any thread; reads tokens only. What is computed, or stands in a larger statement, is not
 * for us: those process ids are the server's.
 * Source: PostgreSQL manual, "System Administration Functions", "Server Signaling Functions".
 */
#ifndef ROUTER_SIGNAL_H
#define ROUTER_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROUTER_SIGNAL_INT4 = 23, ROUTER_SIGNAL_INT8 = 20 }; /* OIDs */
enum router_signal { ROUTER_SIGNAL_NONE, ROUTER_SIGNAL_CANCEL, ROUTER_SIGNAL_TERMINATE };

/* One of its arguments. */
struct router_signal_argument {
    bool given;
    uint16_t parameter; /* of $1: 1; 0: `value` is what is written */
    uint32_t cast;      /* to the type with this OID: 23 or 20; 0: none */
    int64_t value;
};

struct router_signal_call {
    uint8_t kind; /* enum router_signal */
    struct router_signal_argument pid;
    struct router_signal_argument timeout; /* milliseconds; pg_terminate_backend only */
};

/* Does the text begin like one? Literals do not matter to it, as to all that a cached class says.
 */
enum router_signal router_signal_named(const char *text, size_t size);
/* Digits alone, 18 at most. */
bool router_signal_number(const char *text, size_t size, int64_t *ret);
/* False: it is something else, or its arguments are no numbers that we can read. */
bool router_signal_read(const char *text, size_t size, struct router_signal_call *ret);

/* The name of its function, as PostgreSQL names the column. */
const char *router_signal_function(enum router_signal kind);

#endif
