/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_listen: listening sockets of the supervisor. New connections go to the worker with the
 * fewest clients.
 */
#ifndef PROXY_LISTEN_H
#define PROXY_LISTEN_H

#include "proxy_supervisor.h"

/* Opens every address of `listen` and the admin socket. 0, or -1 with `error` filled. */
int listen_start(struct supervisor *s, char *error, size_t error_size);
/* No new connections from now on; socket files are removed. */
void listen_stop(struct supervisor *s);

#endif
