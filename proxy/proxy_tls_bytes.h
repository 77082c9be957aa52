/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls_bytes: bytes through an SSL that works on a non-blocking descriptor, with the results
 * and errno of sendmsg() and recv(). For clients, servers and the admin console.
 */
#ifndef PROXY_TLS_BYTES_H
#define PROXY_TLS_BYTES_H

#include <openssl/ssl.h>
#include <sys/types.h>

#include "proto_frame.h"

enum { TLS_RECORD_SIZE = 16384 };

/* Sends spans in as few records as they fit in: `gather` has TLS_RECORD_SIZE bytes, to put small
 * spans together. Returns how many bytes were taken, which may be fewer than there are; -1 with
 * EAGAIN: none for now. What was not taken has to be what the next call begins with, and no fewer
 * bytes of it: they may be half-way out already (where they lie does not matter). */
ssize_t tls_bytes_send(SSL *ssl, const struct proto_span *spans, uint32_t count, uint8_t *gather);

/* Reads until the buffer is full, or nothing more is there. 0: the peer has ended the connection;
 * -1 with EAGAIN: nothing for now. *ret_more: call again without waiting for the descriptor, which
 * will not tell of what there is. */
ssize_t tls_bytes_receive(SSL *ssl, uint8_t *buf, size_t size, bool *ret_more);

/* Version/cipher, as PgBouncer writes it; "" for NULL, or before the handshake is done. */
void tls_bytes_describe(const SSL *ssl, char *buf, size_t buf_size);

/* Says goodbye, once; the descriptor is not closed. */
void tls_bytes_end(SSL *ssl);

#endif
