/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_table: a result of the console, cell after cell, as messages of the protocol. Every column
 * is text. The supervisor's thread; borrows the text that it appends to.
 */
#ifndef PROXY_TABLE_H
#define PROXY_TABLE_H

#include "proto_write.h"
#include "proxy_text.h"

enum { TABLE_COLUMNS_MAX = 40, TABLE_NAMES_SIZE = 640 };

struct table {
    struct text *out;
    struct text row; /* the cells of the row that is being made */
    uint64_t rows;
    uint32_t columns_count;
    uint32_t cells;
    uint32_t ends[TABLE_COLUMNS_MAX]; /* in row */
    bool nulls[TABLE_COLUMNS_MAX];
};

/* Columns are names with a blank between each two. */
void table_description(struct text *out, const char *columns);

void table_init(struct table *t, struct text *out, const char *columns);
void table_deinit(struct table *t);
void table_string(struct table *t, const char *string); /* NULL: an SQL NULL */
void table_number(struct table *t, uint64_t number);
void table_format(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Every cell is there: appends the DataRow. */
void table_row_end(struct table *t);

/* Any message of proto_write.h: a writer on the text's free end, and its end. */
struct proto_writer text_writer(struct text *out, size_t size_max);
void text_commit(struct text *out, const struct proto_writer *w);

#endif
