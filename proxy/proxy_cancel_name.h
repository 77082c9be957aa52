/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel_name: whom the process id of a cancel key names.
 *
 * It is positive, as PostgreSQL's are, and greater than any of a server on Linux (2^22), so that
 * pg_terminate_backend() can tell them apart. Its upper 8 bits are the instance, the next one is
 * always set, then come the worker and a slot of that worker. How many bits the worker has depends
 * on how many workers there are: only the instance that made a key can read all of it, and every
 * instance can tell whose it is.
 */
#ifndef PROXY_CANCEL_NAME_H
#define PROXY_CANCEL_NAME_H

#include <assert.h>
#include <stdint.h>

enum {
    CANCEL_INSTANCE_BITS = 8,
    CANCEL_LOCAL_BITS = 31 - CANCEL_INSTANCE_BITS - 1, /* worker and slot */
    CANCEL_MARK = 1 << CANCEL_LOCAL_BITS,
};

struct cancel_name {
    uint32_t instance;
    uint32_t worker;
    uint32_t slot; /* 0 names nobody */
};

/* Bits of the worker's index among `workers_count`. */
static inline uint32_t cancel_worker_bits(uint32_t workers_count)
{
    uint32_t bits = 0;
    while ((1u << bits) < workers_count)
        bits++;
    return bits;
}

static inline uint32_t cancel_slots_max(uint32_t workers_count)
{
    return 1u << (CANCEL_LOCAL_BITS - cancel_worker_bits(workers_count));
}

static inline uint32_t cancel_name_write(struct cancel_name name, uint32_t workers_count)
{
    const uint32_t slot_bits = CANCEL_LOCAL_BITS - cancel_worker_bits(workers_count);
    assert(name.instance < 1u << CANCEL_INSTANCE_BITS && name.worker < workers_count);
    assert(name.slot > 0 && name.slot < 1u << slot_bits);
    return name.instance << (CANCEL_LOCAL_BITS + 1) | (uint32_t)CANCEL_MARK |
           name.worker << slot_bits | name.slot;
}

/* Worker and slot mean something only where the instance is the reader's own. */
static inline struct cancel_name cancel_name_read(uint32_t pid, uint32_t workers_count)
{
    const uint32_t slot_bits = CANCEL_LOCAL_BITS - cancel_worker_bits(workers_count);
    return (struct cancel_name){.instance = (pid & INT32_MAX) >> (CANCEL_LOCAL_BITS + 1),
                                .worker = (pid & ((1u << CANCEL_LOCAL_BITS) - 1)) >> slot_bits,
                                .slot = pid & ((1u << slot_bits) - 1)};
}

#endif
