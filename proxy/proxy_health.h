/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_health: how the proxy and its nodes are, as JSON. The supervisor's thread.
 */
#ifndef PROXY_HEALTH_H
#define PROXY_HEALTH_H

#include "proxy_supervisor.h"

enum health {
    HEALTH_HEALTHY,   /* every shard has a primary, every node is admitted */
    HEALTH_DEGRADED,  /* every shard has a primary, some node is not admitted */
    HEALTH_UNHEALTHY, /* some shard has no primary that can be reached */
};

enum health health_of(const struct supervisor *s);
/* free() the result. NULL: no memory. */
char *health_json(const struct supervisor *s);
char *health_detailed_json(const struct supervisor *s);
char *health_ready_json(bool ready);

#endif
