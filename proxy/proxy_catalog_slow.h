/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog_slow: what is done about a catalog so large, or a server so busy, that the question
 * meets its time limit: it gets a longer one, and is put less often. Of all workers; any thread.
 */
#ifndef PROXY_CATALOG_SLOW_H
#define PROXY_CATALOG_SLOW_H

#include "proxy_shared.h"

/* A question has failed that began when these changes had been counted. True: for its time. */
bool catalog_slow_note(struct shared_catalog *s, const char *sqlstate, uint64_t events,
                       uint64_t now_ns);
/* It was answered in time. */
void catalog_slow_over(struct shared_catalog *s);
/* Shall it not be put again yet? Half a minute later, or sooner if the reason may be gone: `events`
 * have been counted by now, or somebody has looked and `seen` a change. */
bool catalog_slow_waits(const struct shared_catalog *s, uint64_t events, bool seen,
                        uint64_t now_ns);
/* For the start-up packet of the connection. */
const char *catalog_slow_settings(const struct shared_catalog *s);
/* Within this time the server has answered, or given up. */
uint64_t catalog_slow_limit(const struct shared_catalog *s);

#endif
