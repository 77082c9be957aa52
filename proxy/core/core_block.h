/* SPDX-License-Identifier: PostgreSQL
 *
 * core_block: memory for bytes that have to be kept, in blocks borrowed from the worker.
 */
#ifndef CORE_BLOCK_H
#define CORE_BLOCK_H

#include "proto_frame.h"

enum { CORE_BLOCK_SIZE = 16 * 1024 };

/* A growable run of bytes: [start, size) is in use. The base size comes from a free list. */
struct core_block {
    struct core_block *next;
    uint32_t start;
    uint32_t size;
    uint32_t capacity;
    _Alignas(8) uint8_t data[]; /* the unnamed statement's begins with a struct */
};

struct core_worker;
struct core_block *core_block_take(struct core_worker *w, uint32_t capacity);
/* The bytes stay readable until the next step begins: spans may still point at them. */
void core_block_give(struct core_worker *w, struct core_block **block);
/* The next step begins: nothing points any more at what was given back. */
void core_blocks_recycle(struct core_worker *w);
/* Appends, taking or growing the block as needed. */
void core_block_append(struct core_worker *w, struct core_block **block, struct proto_span bytes);
/* Drops `size` bytes at the front; gives the block back when nothing is left. */
void core_block_consume(struct core_worker *w, struct core_block **block, uint32_t size);
struct proto_span core_block_span(const struct core_block *block); /* NULL: empty */

#endif
