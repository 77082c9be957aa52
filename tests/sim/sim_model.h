/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_model: what a client sends and what must come back for it, while a script is made.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "sim.h"

struct sim_model {
    struct sim_client *c;
    uint8_t status;
    bool read_only;
    struct {
        bool exists;
        enum sim_kind kind;
    } names[SIM_NAMES + 2]; /* the last two: the unnamed statement, and a BEGIN that has a name */
    struct sim_settings now, committed;
    uint32_t locks;
    struct sim_savepoint savepoints[SIM_SAVEPOINTS];
    int savepoints_count;
    int pending[SIM_STATEMENTS_MAX];
    int pending_count;
    int block_begin; /* the unit that began the block */
    bool wait_next;
    bool failed; /* this batch: the rest is skipped */
};

/* ---- messages of the client ---- */

void sim_send_message(struct sim_client *c, char type, const void *body, size_t size);
void sim_send_query(struct sim_client *c, const char *text, size_t size);
void sim_send_parse(struct sim_client *c, const char *name, const char *text, size_t size);
/* `value`: the only parameter, NULL: none. */
void sim_send_bind(struct sim_client *c, const char *name, const char *value, size_t pad);
void sim_send_target(struct sim_client *c, char type, char what, const char *name);
void sim_send_execute(struct sim_client *c);
/* ---- what comes back ---- */

bool sim_model_writes(enum sim_kind kind);
bool sim_model_has_rows(enum sim_kind kind);
/* The error; in a block it fails, and the rest of the batch is skipped. */
void sim_model_fails(struct sim_model *m, const char *sqlstate, const char *message);
/* A message of this type, whatever is in it. */
void sim_model_wildcard(struct sim_client *c, char type);
bool sim_model_ends_failure(enum sim_kind kind);
/* False: it fails. */
bool sim_model_may_run(struct sim_model *m, enum sim_kind kind, const char *value);
void sim_model_note_write(struct sim_model *m, enum sim_kind kind, int number);
/* The result of one statement, and what it changes. */
void sim_model_result(struct sim_model *m, enum sim_kind kind, int number, bool columns);
void sim_model_synced(struct sim_model *m);
void sim_model_unit_ends(struct sim_model *m, bool wait_before, bool refusable);
/* Behind the last unit of a block. */
void sim_model_block_ends(struct sim_model *m);
size_t sim_model_padding(enum sim_kind kind);

#endif
