/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_defaults: what ALTER ROLE and ALTER DATABASE ... SET give to new connections. A digest of
 * them for each role comes with each look at a database (proxy_catalog.c); where it is another than
 * before, connections that began earlier are used no more once they are released, and log-ins are
 * told what new ones begin with. The worker's thread; what is shared is under the catalog's lock.
 */
#ifndef PROXY_DEFAULTS_H
#define PROXY_DEFAULTS_H

#include <libpq-fe.h>

#include "proxy_worker.h"

enum { DEFAULTS_ROLES_MAX = 4096 };

/* Rows of (role, digest); role "": all of them. Those without a role's name are passed over. False:
 * another worker looks at it just now. */
bool defaults_read(struct shared_catalog *shared, const PGresult *result, uint64_t now_ns);
/* A group was made, whose connections are all to come. */
void defaults_join(struct group *g, struct shared_catalog *shared);
void defaults_tick(struct worker *w, uint64_t now_ns);

#endif
