/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_outcomes: the only file that uses the one-producer ring.
 */
#include "proxy_outcomes.h"

#include <assert.h>
#include <stdlib.h>

#include "proxy_tsan.h"

bool outcomes_init(struct outcomes *o, uint32_t size)
{
    assert(size >= 4 && (size & (size - 1)) == 0); /* ck_ring wants a power of two */
    ck_ring_init(&o->ring, size);
    o->buffer = calloc(size, sizeof(*o->buffer));
    return o->buffer != NULL;
}

static struct outcome_record *ring_take(struct outcomes *o)
{
    void *record = NULL;
    LOOK_AWAY();
    const bool is_out = ck_ring_dequeue_spsc(&o->ring, o->buffer, &record);
    LOOK_AGAIN();
    if (!is_out)
        return NULL;
    HAPPENS_AFTER(record);
    return record;
}

void outcomes_deinit(struct outcomes *o)
{
    struct outcome_record *record;
    while (o->buffer != NULL && (record = ring_take(o)) != NULL)
        free(record);
    free(o->buffer);
    o->buffer = NULL;
}

bool outcomes_put(struct outcomes *o, const struct outcome_record *record)
{
    struct outcome_record *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return false;
    *copy = *record;
    HAPPENS_BEFORE(copy);
    LOOK_AWAY();
    const bool is_in = ck_ring_enqueue_spsc(&o->ring, o->buffer, copy);
    LOOK_AGAIN();
    if (!is_in)
        free(copy);
    return is_in;
}

bool outcomes_take(struct outcomes *o, struct outcome_record *ret)
{
    struct outcome_record *record = ring_take(o);
    if (record == NULL)
        return false;
    *ret = *record;
    free(record);
    return true;
}
