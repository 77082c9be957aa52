/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_trace: reads BackendKeyData in the text that PQtrace() of libpq 14 and later writes,
 * without time stamps. A function of its arguments; any thread.
 */
#ifndef PROXY_TRACE_H
#define PROXY_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The last key of 4 bytes that belongs to this process. False: there is none. */
bool trace_key_read(const char *text, size_t size, uint32_t pid, uint32_t *ret_secret);

#endif
