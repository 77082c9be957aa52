/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_server_line: how long the kernel believes in a connection whose other end says nothing.
 *
 * Keepalives (proxy_connect.c) find a machine that has gone when nothing is under way. What is
 * under way is sent again for a quarter of an hour, unless TCP_USER_TIMEOUT says otherwise. That
 * one ends a connection as well whose server takes nothing for as long: a COPY that waits for a
 * lock. So it is set only while the node is out of use.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proxy_worker.h"

enum { OUT_MS = 5000 };

void server_line(struct server *v, bool is_out)
{
    const unsigned out_ms = OUT_MS;
    socklen_t size = sizeof(v->user_timeout_ms);
    if (v->is_line_short == is_out || v->fd < 0)
        return;
    v->is_line_short = is_out;
    if (is_out) /* as the node's options have it */
        (void)getsockopt(v->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &v->user_timeout_ms, &size);
    if (!is_out || v->user_timeout_ms == 0 || v->user_timeout_ms > out_ms)
        (void)setsockopt(v->fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
                         is_out ? &out_ms : &v->user_timeout_ms, sizeof(out_ms));
}
