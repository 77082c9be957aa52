/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_quiet: a node that owes this worker answers and gives none, to nobody, for a while. Whether
 * it is silent or busy with long statements, a probe tells: the supervisor is asked for one.
 */
#ifndef PROXY_QUIET_H
#define PROXY_QUIET_H

#include <stdint.h>

struct worker;

/* What one worker knows of one node. */
struct quiet {
    uint64_t seen_ns;  /* its last answer, when that was looked at */
    uint64_t since_ns; /* it has owed one since, or was asked about then; to the tick */
};

/* At each tick. */
void quiet_tick(struct worker *w, uint64_t now_ns);

#endif
