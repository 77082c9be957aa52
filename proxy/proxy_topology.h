/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_topology: one writer (the supervisor), many readers (the workers) of an immutable snapshot.
 * The only file that uses ck_epoch. libck 0.7.1 is sound on x86-64.
 */
#ifndef PROXY_TOPOLOGY_H
#define PROXY_TOPOLOGY_H

#include <ck_epoch.h>

#include "config.h"
#include "router_decide.h"

/* What is published: immutable from then on. The config outlives every topology that names it. */
struct topology {
    struct router_topology route;
    const struct config *config;
    struct ssl_ctx_st *tls; /* what clients are offered (proxy_tls.h), NULL: no TLS; whoever keeps
                               it takes a reference before topology_read_end() */
    uint64_t admission;     /* grows when who may be chosen changed, not when only freshness did */
};

struct topology_box {
    ck_epoch_t epoch;
    ck_epoch_record_t writer;
    struct topology *current;
    uint64_t generation; /* of current; read relaxed by workers to see whether to look at all */
};

struct topology_reader {
    ck_epoch_record_t record;
    struct topology_box *box;
};

void topology_box_init(struct topology_box *box);
void topology_box_deinit(struct topology_box *box);
/* Supervisor; takes next (malloc'd). Blocks until no reader holds the old one. */
void topology_publish(struct topology_box *box, struct topology *next);
/* Supervisor's thread only: the current one, without a section. */
const struct topology *topology_peek(const struct topology_box *box);

void topology_reader_init(struct topology_reader *reader, struct topology_box *box);
/* Worker; sections do not nest and never span a return to the loop. */
const struct topology *topology_read_begin(struct topology_reader *reader);
void topology_read_end(struct topology_reader *reader);
static inline uint64_t topology_generation(const struct topology_box *box)
{
    return ck_pr_load_64(&box->generation);
}

#endif
