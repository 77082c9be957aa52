/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_run: what a statement does on a simulated server.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim.h"

void sim_run_error(struct sim_conn *c, bool extended, const char *sqlstate, const char *message,
                   const char *routine);
/* A transaction ends, whatever began it. */
void sim_run_ended(struct sim_conn *c, bool committed);
/* What it has written is seen by everybody. */
void sim_run_commit(struct sim_conn *c);
/* False: refused. Only what flies ahead of a read: it may go to the primary then. */
bool sim_run_settings(struct sim_conn *c, struct proto_span text, bool extended);
struct sim_statement *sim_run_find(struct sim_conn *c, struct proto_span name);
/* A block that has failed takes no other statements. False: it is no such one. */
bool sim_run_in_failed_block(struct sim_conn *c, enum sim_kind kind);
/* One statement of a Query (portal NULL), or up to `rows` rows of a portal; 0: all. False: it
 * failed. */
bool sim_run_execute(struct sim_conn *c, struct sim_sql sql, const char *value,
                     struct sim_portal *portal, uint32_t rows);

#endif
