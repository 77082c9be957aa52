/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls_socket: the socket below an SSL. It does what OpenSSL's own BIO for sockets does, which
 * spends more on going through its layers than on the question: a record asks it thirteen times for
 * kernel TLS alone.
 */
#ifndef PROXY_TLS_SOCKET_H
#define PROXY_TLS_SOCKET_H

#include <openssl/ssl.h>
#include <stdbool.h>

/* Before the first socket; the supervisor's thread. Again: nothing happens. False: no memory. */
bool tls_socket_init(void);
/* As SSL_set_fd(): the descriptor stays its owner's. */
bool tls_socket_set(SSL *ssl, int fd);

#endif
