/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_model: what a client sends and what must come back for it, while a script is made.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "sim.h"

/* Behind those that SQL executes: the unnamed statement, a BEGIN that has a name, and what may be
 * anything. */
enum {
    SIM_UNNAMED = SIM_NAMES,
    SIM_NAMED_BEGIN,
    SIM_NAMED_TABLE,
    SIM_ANY = SIM_NAMED_TABLE + SIM_TABLES,
    SIM_NAMES_ALL = SIM_ANY + 2
};
extern const char *const sim_names[SIM_NAMES_ALL];
extern const char *const sim_portals[SIM_PORTALS];

struct sim_model {
    struct sim_client *c;
    uint8_t status;
    bool read_only;
    struct sim_model_name {
        bool exists;
        bool used; /* by a Bind: one without a parameter runs only once */
        enum sim_kind kind;
        int number;
    } names[SIM_NAMES_ALL];
    struct sim_model_portal {
        bool exists;
        bool unsure; /* a ROLLBACK TO may have ended it */
        bool started;
        bool done;
        enum sim_kind kind;
        int number;
        uint32_t position;
    } portals[SIM_PORTALS];          /* the first has no name */
    struct sim_model_portal *portal; /* that is executed, NULL: a Query */
    uint32_t rows;                   /* ... so many of it; 0: all */
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
void sim_send_bind(struct sim_client *c, const char *portal, const char *name, const char *value,
                   size_t pad);
void sim_send_target(struct sim_client *c, char type, char what, const char *name);
void sim_send_execute(struct sim_client *c, const char *portal, uint32_t rows);
/* ---- what comes back ---- */

bool sim_model_writes(enum sim_kind kind);
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
/* A Query begins: what has no name is gone. */
void sim_model_query(struct sim_model *m);
static inline bool sim_takes_parameter(enum sim_kind kind)
{
    return kind == SIM_PREAD || kind == SIM_PWRITE;
}

/* ---- sim_soup.c: messages in any order ---- */

/* A batch of the extended protocol. */
void sim_soup(struct sim_model *m);
/* A Query of many statements. */
void sim_string(struct sim_model *m);
void sim_call(struct sim_model *m);

/* ---- sim_table.c ---- */

/* A batch or a block with what reads the table that changes. */
void sim_table_unit(struct sim_model *m);

#endif
