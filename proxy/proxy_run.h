/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_run: `switchgear serve` from start to end.
 */
#ifndef PROXY_RUN_H
#define PROXY_RUN_H

#include "proxy_config_load.h"

/* Takes both, tls is what clients are offered. Returns the exit code: 0 clean stop, 3 cannot start.
 */
int run_serve(const struct config_input *input, struct config *config, SSL_CTX *tls);

#endif
