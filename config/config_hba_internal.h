/* SPDX-License-Identifier: PostgreSQL
 *
 * config_hba_internal: what the files that read and match lines of pg_hba.conf share. Pure.
 */
#ifndef CONFIG_HBA_INTERNAL_H
#define CONFIG_HBA_INTERNAL_H

#include "config_hba.h"
#include "config_internal.h"

/* A line while it is read. What is wrong with it is told as text, in memory of the arena. */
struct config_hba_line {
    struct config_arena *arena;
    const struct config_line *line;
    const struct config_reader *files;
    struct config_problems *problems; /* for what is wrong inside of files that it names */
    const char *file;
    struct config_hba hba;
    uint32_t field;       /* the next one */
    uint32_t *files_left; /* that this hba file may still name */
};

bool config_hba_is_keyword(const struct config_word *word, const char *keyword);
/* The one word of the next field; NULL: there is none, or several. */
const struct config_word *config_hba_single(struct config_hba_line *l);

/* ---- config_hba_names.c ---- */

/* NULL: l->hba.databases or l->hba.users is filled. */
const char *config_hba_databases_read(struct config_hba_line *l);
const char *config_hba_users_read(struct config_hba_line *l);
enum config_hba_match config_hba_names_match(const struct config_hba *h,
                                             const struct config_hba_request *request);

/* ---- config_hba_address.c ---- */

/* NULL: l->hba.address is filled. */
const char *config_hba_address_read(struct config_hba_line *l);
enum config_hba_match config_hba_address_match(const struct config *c,
                                               const struct config_hba_address *a,
                                               const struct config_hba_request *request);

#endif
