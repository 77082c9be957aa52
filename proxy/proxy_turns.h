/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_turns: how long a worker's loop is busy between two waits. So long every client of that
 * worker may have to wait for another one, whatever the servers do.
 *
 * The worker's thread; the results are in its struct stats_worker. The time counts in which the
 * system gave the core to others.
 */
#ifndef PROXY_TURNS_H
#define PROXY_TURNS_H

#include <uv.h>

#include "proxy_shared.h"

struct turns {
    uv_prepare_t prepare; /* runs last before the loop waits */
    struct stats_worker *stats;
    uint64_t began_ns, idle_ns;     /* when it was last there, and what it had waited until then */
    uint64_t longest_ns, before_ns; /* in this span of five seconds, and the one before */
    uint64_t since_ns;
};

/* Before anything else is done with the loop. A code of libuv's. */
int turns_init(struct turns *t, uv_loop_t *loop, struct stats_worker *stats);
/* From time to time. */
void turns_publish(struct turns *t, uint64_t now_ns);
void turns_close(struct turns *t);

#endif
