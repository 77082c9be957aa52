/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_spans: see the header.
 */
#include "proxy_spans.h"

#include <sys/socket.h>
#include <sys/uio.h>

ssize_t spans_send(int fd, const struct proto_span *spans, uint32_t count)
{
    if (count == 1)
        return send(fd, spans[0].base, spans[0].size, MSG_NOSIGNAL);
    struct iovec iov[CORE_SPANS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        union {
            const uint8_t *in;
            void *out;
        } cast = {.in = spans[i].base}; /* sendmsg() takes no const */
        iov[i] = (struct iovec){.iov_base = cast.out, .iov_len = spans[i].size};
    }
    const struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

void spans_keep(struct core_worker *w, struct core_block **out, const struct core_sink *sink,
                size_t sent)
{
    for (uint32_t i = 0; i < sink->count; i++) {
        const struct proto_span span = sink->spans[i];
        const size_t skip = sent < span.size ? sent : span.size;
        sent -= skip;
        core_block_append(w, out, (struct proto_span){span.base + skip, span.size - skip});
    }
}
