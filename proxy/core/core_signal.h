/* SPDX-License-Identifier: PostgreSQL
 *
 * core_signal: pg_terminate_backend and pg_cancel_backend of a client of this proxy. A client knows
 * another one by the number that its key was given; no server knows that number. So the statement
 * is answered here, once the shell has done what it asks for. For the session core alone.
 */
#ifndef CORE_SIGNAL_H
#define CORE_SIGNAL_H

#include "core_internal.h"
#include "router_signal.h"

/* A batch that is one such statement, and nothing else. */
struct core_signal_call {
    struct core_signal_wish wish;
    struct proto_span name; /* of its statement */
    uint32_t types[2];      /* of its parameters */
    uint32_t types_count;
    uint16_t format; /* of the result: 0 text, 1 binary */
    uint32_t rows_max;
};

/* Is it one, of a number that may be a client's? A server's process ids are smaller. */
bool core_signal_read(const struct core_session *s, struct proto_span in,
                      const struct core_batch *batch, struct core_signal_call *ret);

enum core_signal_step {
    CORE_SIGNAL_WAITS,      /* for core_signalled() */
    CORE_SIGNAL_ANSWERED,   /* or its client is gone by it */
    CORE_SIGNAL_FOR_SERVER, /* which says that there is no such process, or fails it (s->cancelled)
                             */
};
/* Nothing is outstanding: takes the batch one step further. */
enum core_signal_step core_signal_next(struct core_session *s, struct proto_span in,
                                       const struct core_batch *batch,
                                       const struct core_signal_call *call, uint64_t now_ns,
                                       struct core_actions *a);

#endif
