/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_supervisor_internal: the process while it runs, for the files of the supervisor alone. Its
 * thread.
 */
#ifndef PROXY_SUPERVISOR_INTERNAL_H
#define PROXY_SUPERVISOR_INTERNAL_H

#include "proxy_config_load.h"
#include "proxy_supervisor.h"
#include "proxy_worker.h"

enum { RUN_RETIRED_MAX = 1024, RUN_SETS_MAX = 64 };

/* What only the life of the process needs. */
struct run {
    struct supervisor supervisor;
    struct proxy proxy;
    struct config_input input;
    uv_loop_t loop;
    uv_signal_t signals[4];
    uv_check_t check;
    uint32_t workers_left;
    bool interrupted;
    bool patient; /* stopping, but no client is sent away */
    uv_timer_t deadline;
    char *sets[RUN_SETS_MAX]; /* of SET, as --set takes them, since the last reload */
    uint32_t sets_count;
    struct config
        *retired[RUN_RETIRED_MAX]; /* a reload's former ones: workers may still name them */
    uint32_t retired_count;
};

static inline struct run *run_of(struct supervisor *s)
{
    return (struct run *)(void *)s; /* its first member */
}

/* ---- proxy_reload.c ---- */

/* At the end: what SET said, and the configurations that reloads have replaced. */
void reload_forget(struct run *run);

#endif
