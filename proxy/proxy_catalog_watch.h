/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog_watch: a look, each second, at how often rows of a database's catalogs have been
 * written: another number, and there was DDL that did not pass here. Cheap: it reads counters in
 * shared memory. A server may tell of it some seconds late. It is no proof: the counters move for
 * temporary tables too. A value; proxy_catalog.c asks for it on its own connection.
 */
#ifndef PROXY_CATALOG_WATCH_H
#define PROXY_CATALOG_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

struct catalog_watch {
    bool watches;        /* its database was asked here last: who was told last looks out */
    bool asked;          /* at this moment */
    uint64_t watched_ns; /* when it looked last */
    uint64_t summed_ns;  /* ... when it last took the sum: looks for log-ins come more often */
    char sum[48];        /* what it saw; "": nothing yet */
};

enum catalog_watch_finding {
    CATALOG_WATCH_NOTHING,
    CATALOG_WATCH_SOMETHING, /* something has changed since the look before, or may have, as this
                                is the first: the question came earlier */
    CATALOG_WATCH_CODE       /* functions, triggers, rules, policies, operators or casts have */
};

/* Is it time to look? `others_ns`: when any worker looked last; `wanted_ns`: when a look was last
 * wanted. */
bool catalog_watch_is_due(const struct catalog_watch *w, uint64_t others_ns, uint64_t wanted_ns,
                          uint64_t now_ns);
/* Returns the question to ask a server of this version: a row (NULL, how often), then one (role,
 * digest of its defaults) for each that has any (proxy_defaults.h). */
const char *catalog_watch_ask(struct catalog_watch *w, uint64_t server_version, uint64_t now_ns);
/* Its answer. */
enum catalog_watch_finding catalog_watch_sees(struct catalog_watch *w, const PGresult *result);

#endif
