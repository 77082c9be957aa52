/* SPDX-License-Identifier: PostgreSQL
 *
 * core_sink: bytes on their way to one peer, as few spans as possible.
 */
#include "core_internal.h"

static void sink_begin(struct core_sink *sink)
{
    sink->count = 0;
    sink->size = 0;
    sink->scratch_used = 0;
}

struct core_actions *core_actions_begin(struct core_worker *w)
{
    struct core_actions *a = &w->actions;
    core_blocks_recycle(w);
    sink_begin(&a->server);
    sink_begin(&a->client);
    /* what is behind the sinks, but for the rarest, is small: one clear */
    memset((uint8_t *)a + offsetof(struct core_actions, backend), 0,
           offsetof(struct core_actions, outcome_who) - offsetof(struct core_actions, backend));
    return a;
}

void core_sink_borrow(struct core_sink *sink, struct proto_span bytes)
{
    if (bytes.size == 0)
        return;
    sink->size += bytes.size;
    if (sink->count > 0) {
        struct proto_span *last = &sink->spans[sink->count - 1];
        if (last->base + last->size == bytes.base) {
            last->size += bytes.size;
            return;
        }
    }
    assert(sink->count < CORE_SPANS_MAX);
    sink->spans[sink->count++] = bytes;
}

void core_sink_append_piece(struct core_sink *sink, struct proto_span bytes)
{
    if (bytes.size == 0)
        return;
    if (sink->count == 0 || bytes.size > CORE_COPY_MAX ||
        CORE_SCRATCH_SIZE - sink->scratch_used < bytes.size) {
        core_sink_borrow(sink, bytes);
        return;
    }
    uint8_t *copy = sink->scratch + sink->scratch_used;
    memcpy(copy, bytes.base, bytes.size);
    sink->scratch_used += bytes.size;
    core_sink_borrow(sink, (struct proto_span){.base = copy, .size = bytes.size});
}

struct proto_writer core_sink_writer(struct core_sink *sink)
{
    return proto_writer_make(sink->scratch + sink->scratch_used,
                             CORE_SCRATCH_SIZE - sink->scratch_used);
}

void core_sink_commit(struct core_sink *sink, const struct proto_writer *writer)
{
    assert(!writer->overflow); /* core_sink_full() was asked before */
    sink->scratch_used += writer->size;
    core_sink_borrow(sink, proto_writer_span(writer));
}
