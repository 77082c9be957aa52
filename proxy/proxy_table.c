/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_table: a result of the console, cell after cell.
 */
#include "proxy_table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct proto_writer text_writer(struct text *out, size_t size_max)
{
    if (!text_reserve(out, size_max))
        return proto_writer_make(NULL, 0); /* everything overflows */
    return proto_writer_make((uint8_t *)out->base + out->size, size_max);
}

void text_commit(struct text *out, const struct proto_writer *w)
{
    if (w->overflow)
        out->failed = true;
    else
        out->size += w->size;
}

/* Splits into `names`, which point into `storage`. */
static uint32_t split(const char *columns, char storage[TABLE_NAMES_SIZE],
                      const char *names[TABLE_COLUMNS_MAX])
{
    const size_t size = strlen(columns);
    assert(size > 0 && size < TABLE_NAMES_SIZE);
    memcpy(storage, columns, size + 1);
    uint32_t count = 0;
    char *p = storage;
    while (true) {
        assert(count < TABLE_COLUMNS_MAX);
        names[count++] = p;
        p = strchr(p, ' ');
        if (p == NULL)
            return count;
        *p++ = 0;
    }
}

void table_description(struct text *out, const char *columns)
{
    char storage[TABLE_NAMES_SIZE];
    const char *names[TABLE_COLUMNS_MAX];
    const uint32_t count = split(columns, storage, names);
    struct proto_writer w = text_writer(out, strlen(columns) + 8 + 20 * (size_t)count);
    proto_write_row_description(&w, names, count);
    text_commit(out, &w);
}

void table_init(struct table *t, struct text *out, const char *columns)
{
    char storage[TABLE_NAMES_SIZE];
    const char *names[TABLE_COLUMNS_MAX];
    *t = (struct table){.out = out, .columns_count = split(columns, storage, names)};
}

void table_deinit(struct table *t)
{
    assert(t->cells == 0);
    text_deinit(&t->row);
}

static void cell_end(struct table *t, bool null)
{
    assert(t->cells < t->columns_count);
    t->ends[t->cells] = (uint32_t)t->row.size;
    t->nulls[t->cells++] = null;
}

void table_string(struct table *t, const char *string)
{
    if (string != NULL)
        text_string(&t->row, string);
    cell_end(t, string == NULL);
}

void table_number(struct table *t, uint64_t number)
{
    text_format(&t->row, "%" PRIu64, number);
    cell_end(t, false);
}

void table_format(struct table *t, const char *format, ...)
{
    char cell[1024]; /* longer ones are cut */
    va_list args;
    va_start(args, format);
    vsnprintf(cell, sizeof cell, format, args);
    va_end(args);
    text_string(&t->row, cell);
    cell_end(t, false);
}

void table_row_end(struct table *t)
{
    assert(t->cells == t->columns_count);
    struct proto_span values[TABLE_COLUMNS_MAX];
    uint32_t begin = 0;
    if (t->row.failed)
        t->out->failed = true;
    for (uint32_t i = 0; i < t->cells && !t->row.failed; i++) {
        const uint8_t *base =
            t->row.base != NULL ? (const uint8_t *)t->row.base + begin : (const uint8_t *)"";
        values[i] =
            t->nulls[i] ? (struct proto_span){0} : (struct proto_span){base, t->ends[i] - begin};
        begin = t->ends[i];
    }
    if (!t->out->failed) {
        struct proto_writer w = text_writer(t->out, t->row.size + 8 + 4 * (size_t)t->cells);
        proto_write_data_row(&w, values, t->cells);
        text_commit(t->out, &w);
    }
    t->row.size = 0;
    t->cells = 0;
    t->rows++;
}
