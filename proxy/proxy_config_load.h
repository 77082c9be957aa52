/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_config_load: reads the files that config/ only gets as text.
 */
#ifndef PROXY_CONFIG_LOAD_H
#define PROXY_CONFIG_LOAD_H

#include <openssl/types.h>

#include "config.h"

/* What the command line said; kept for reloads. */
struct config_input {
    const char *path;               /* NULL: the environment */
    const char *const *assignments; /* --set and its short forms */
    size_t assignments_count;
};

/* NULL when there were errors (or no memory): the problems say which. *ret_tls is what clients are
 * offered, one reference; NULL: no TLS (proxy_tls.h). */
struct config *config_load(const struct config_input *source, struct config_problems *problems,
                           SSL_CTX **ret_tls);

/* Writes every problem as `file:line: message`, one a line. */
void config_problems_print(const struct config_problems *problems);

#endif
