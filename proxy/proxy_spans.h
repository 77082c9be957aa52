/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_spans: a sink's bytes on their way into a socket. Any worker thread, its own descriptors.
 */
#ifndef PROXY_SPANS_H
#define PROXY_SPANS_H

#include <sys/types.h>

#include "core.h"

/* All spans in one system call; as send(2), without SIGPIPE. count <= CORE_SPANS_MAX. */
ssize_t spans_send(int fd, const struct proto_span *spans, uint32_t count);
/* Keeps what is behind the first `sent` bytes of a sink. */
void spans_keep(struct core_worker *w, struct core_block **out, const struct core_sink *sink,
                size_t sent);

#endif
