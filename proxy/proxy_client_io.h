/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_client_io: a client's bytes, plain or through TLS. Everything belongs to the worker's
 * thread.
 *
 * A handshake costs as much as a hundred statements. So its steps wait in the worker's queue, and
 * the loop takes one a turn: between two of them every other client is served.
 */
#ifndef PROXY_CLIENT_IO_H
#define PROXY_CLIENT_IO_H

#include <sys/socket.h>

#include "proxy_spans.h"
#include "proxy_worker.h"

/* What a client that has just been accepted is offered. */
enum core_tls client_io_offer(const struct client *c);
/* The client's first bytes are those of a TLS handshake: it does not ask for it first. */
static inline bool client_io_is_direct(const struct client *c, struct proto_span in)
{
    return c->core.phase == CORE_STARTUP && c->core.login == NULL && in.size > 0 &&
           in.base[0] == 0x16 && c->core.tls != CORE_TLS_NONE && c->core.tls != CORE_TLS_ON;
}
/* From now on it speaks TLS. `early`: bytes of its that are read already (direct TLS). False: no
 * memory, or TLS was switched off in the meantime. */
bool client_io_start_tls(struct client *c, struct proto_span early);
/* The descriptor of a client in its handshake is ready. */
void client_io_handshake_ready(struct client *c);
/* It has more to be done than its share of a turn: it goes on in the next ones, when others were
 * served. Neither it nor its server is read until then. */
void client_later(struct client *c);
/* It does so now, as far as what has come goes. */
void client_later_now(struct client *c);
/* Once a loop turn, while anybody is in a queue: one step of a handshake, and one of each who was
 * told to go on later. */
void client_io_turn(struct worker *w);
/* Says goodbye where that is possible, and forgets its TLS; the descriptor stays open. */
void client_io_end(struct client *c);
/* Takes it out of the queue, and its buffers away. */
void client_io_forget(struct client *c);
/* Once in a while: who is quiet keeps no buffers. */
void client_io_rest(struct client *c, uint64_t now_ns);

ssize_t client_io_send_tls(struct client *c, const struct proto_span *spans, uint32_t count);

/* As sendmsg(), and as tls_bytes_send() what is not taken is to come again first. */
static inline ssize_t client_io_send(struct client *c, const struct proto_span *spans,
                                     uint32_t count)
{
    if (c->ssl != NULL)
        return client_io_send_tls(c, spans, count);
    return spans_send(c->fd, spans, count);
}

ssize_t client_io_receive_tls(struct client *c, uint8_t *buf, size_t size);

/* As recv(). c->unread: there is more that the descriptor will not tell of. */
static inline ssize_t client_io_receive(struct client *c, uint8_t *buf, size_t size)
{
    if (c->ssl != NULL)
        return client_io_receive_tls(c, buf, size);
    return recv(c->fd, buf, size, 0);
}

#endif
