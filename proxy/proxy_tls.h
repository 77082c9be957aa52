/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls: TLS towards clients: what is offered (made from the configuration, one SSL_CTX that
 * all workers share, so that a ticket of one is good at another), and what is known of a peer.
 *
 * An SSL_CTX is immutable once it is made, and counts its references by itself: a reload makes
 * another one, and connections of the former one live on with it.
 */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <openssl/ssl.h>

#include "config.h"

struct client;         /* proxy_worker.h */
struct libpq_keywords; /* proxy_libpq.h */

/* Reads certificates and keys. False: problems were added, each at the setting to change. True:
 * *ret is what to offer, one reference; NULL with client_tls_sslmode = disable. */
bool tls_create(const struct config *config, struct config_problems *problems, SSL_CTX **ret);

/* What server_tls_* says in libpq's words, to be put in front of a node's options, which win. The
 * texts are the configuration's. */
void tls_server_keywords(const struct config *config, struct libpq_keywords *k);

/* ---- of one client; its worker's thread ---- */

/* The handshake is done: nothing of this client is sent or read in clear. */
bool tls_is_on(const struct client *c);
/* The channel binding data `tls-server-end-point` (RFC 5929): the hash of our certificate. Returns
 * its size, at most 64 bytes; 0: none (no TLS, or a signature without a hash of its own). */
size_t tls_channel_binding(const struct client *c, uint8_t *buf, size_t buf_size);
/* The names of the client's certificate, which was verified: its common name, and its subject as
 * RFC 2253 writes it. False: it showed none, it has no common name, or a name does not fit or holds
 * a zero byte. */
bool tls_peer_name(const struct client *c, char *cn, size_t cn_size, char *dn, size_t dn_size);

#endif
