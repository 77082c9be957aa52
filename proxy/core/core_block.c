/* SPDX-License-Identifier: PostgreSQL
 *
 * core_block: memory for bytes that have to wait. Base-size blocks come from the worker's free
 * list; larger ones are made and freed on the cold path.
 */
#include <stdlib.h>

#include "core_internal.h"

enum { FREE_BLOCKS_MAX = 64 };

struct core_block *core_block_take(struct core_worker *w, uint32_t capacity)
{
    struct core_block *block = NULL;
    if (capacity <= CORE_BLOCK_SIZE) {
        capacity = CORE_BLOCK_SIZE;
        if ((block = w->free_blocks) != NULL) {
            w->free_blocks = block->next;
            w->free_blocks_count--;
        }
    }
    if (block == NULL && (block = malloc(sizeof(*block) + capacity)) == NULL)
        abort(); /* without memory for a client's bytes nothing can be kept right */
    block->next = NULL;
    block->start = block->size = 0;
    block->capacity = capacity;
    w->blocks_out++;
    return block;
}

void core_block_give(struct core_worker *w, struct core_block **slot)
{
    struct core_block *block = *slot;
    if (block == NULL)
        return;
    *slot = NULL;
    assert(w->blocks_out > 0);
    w->blocks_out--;
    block->next = w->dying_blocks; /* spans may point at it until the next step */
    w->dying_blocks = block;
}

void core_blocks_recycle(struct core_worker *w)
{
    while (w->dying_blocks != NULL) {
        struct core_block *block = w->dying_blocks;
        w->dying_blocks = block->next;
        if (block->capacity == CORE_BLOCK_SIZE && w->free_blocks_count < FREE_BLOCKS_MAX) {
            block->next = w->free_blocks;
            w->free_blocks = block;
            w->free_blocks_count++;
        } else {
            free(block);
        }
    }
}

void core_block_append(struct core_worker *w, struct core_block **slot, struct proto_span bytes)
{
    if (bytes.size == 0)
        return;
    struct core_block *block = *slot;
    if (block == NULL)
        *slot = block = core_block_take(w, (uint32_t)bytes.size);
    const uint32_t used = block->size - block->start;
    if (bytes.size <= block->capacity - block->size) {
        memcpy(block->data + block->size, bytes.base, bytes.size);
        block->size += (uint32_t)bytes.size;
        return;
    }
    /* A new block rather than a move: spans of this step may point into the old one. */
    uint64_t capacity = block->capacity;
    while (capacity < used + bytes.size)
        capacity *= 2;
    struct core_block *larger = core_block_take(w, (uint32_t)capacity);
    memcpy(larger->data, block->data + block->start, used);
    memcpy(larger->data + used, bytes.base, bytes.size);
    larger->size = used + (uint32_t)bytes.size;
    core_block_give(w, slot);
    *slot = larger;
}

void core_block_consume(struct core_worker *w, struct core_block **slot, uint32_t size)
{
    struct core_block *block = *slot;
    if (size == 0)
        return;
    assert(block != NULL);
    assert(size <= block->size - block->start);
    block->start += size;
    if (block->start == block->size)
        core_block_give(w, slot);
}

struct proto_span core_block_span(const struct core_block *block)
{
    if (block == NULL)
        return (struct proto_span){0};
    return (struct proto_span){.base = block->data + block->start,
                               .size = block->size - block->start};
}
