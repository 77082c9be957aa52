/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_check_connect: `check --connect`: logs in to every node as serving would, and says what
 * fails. It blocks, and runs before there is a loop.
 */
#ifndef PROXY_CHECK_CONNECT_H
#define PROXY_CHECK_CONNECT_H

#include "config.h"

/* A line for each log-in, to standard output where it works and to standard error where not. True:
 * all work, and each shard has one primary. */
bool check_connect(const struct config *config);

#endif
