/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_listen_unix: socket files: made, given their rights, and told from those that a killed
 * process left. The supervisor's thread.
 */
#ifndef PROXY_LISTEN_UNIX_H
#define PROXY_LISTEN_UNIX_H

#include <sys/un.h>

#include "config.h"

/* Binds <directory>/.s.PGSQL.<port>; the directory is made where it is not there. "@..." is a name
 * in the abstract namespace. `ret` gets the path, "" of an abstract one. A descriptor that does not
 * listen yet, or -1 with `error` filled. */
int listen_unix_bind(const struct config_switchgear *config, const char *directory, uint16_t port,
                     bool is_admin, struct sockaddr_un *ret, char error[512]);

#endif
