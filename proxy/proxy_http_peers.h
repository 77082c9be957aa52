/* SPDX-License-Identifier: PostgreSQL */
/*
 * proxy_http_peers: who is connected to the HTTP endpoint, so that half a request holds nothing.
 *
 * libmicrohttpd knows a time without a byte only; who sends one now and then would keep its place
 * for ever. Here a request has HTTP_REQUEST_MS from its connection's start, or from its first line,
 * until it is complete, and an answer HTTP_ANSWER_MS until it is read. When an address has
 * HTTP_PER_ADDRESS_MAX connections, or all together HTTP_PEERS_MAX, the oldest one that has no
 * whole request (of the same address, where there is one) makes room for a new one.
 *
 * A connection is ended by shutdown() of its socket; libmicrohttpd closes it. All of it runs on the
 * supervisor's thread.
 */
#ifndef PROXY_HTTP_PEERS_H
#define PROXY_HTTP_PEERS_H

#include <microhttpd.h>
#include <stdint.h>

enum {
    HTTP_PEERS_MAX = 64,
    HTTP_PER_ADDRESS_MAX = 32,
    HTTP_CONNECTIONS_MAX = 2 * HTTP_PEERS_MAX, /* libmicrohttpd's: those that are ending too */
    HTTP_REQUEST_MS = 5000,
    HTTP_ANSWER_MS = 10000,
    HTTP_IDLE_MS = 60000, /* between two requests */
};

struct http_peers;

/* `now_ms` is read at each call. NULL: no memory. */
struct http_peers *http_peers_new(const uint64_t *now_ms);
/* After MHD_stop_daemon(). */
void http_peers_free(struct http_peers *peers);

/* For MHD_OPTION_NOTIFY_CONNECTION, MHD_OPTION_URI_LOG_CALLBACK and MHD_OPTION_NOTIFY_COMPLETED;
 * `peers` is their first argument. */
void http_peers_on_connection(void *peers, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode code);
void *http_peers_on_line(void *peers, const char *uri, struct MHD_Connection *connection);
void http_peers_on_done(void *peers, struct MHD_Connection *connection, void **request,
                        enum MHD_RequestTerminationCode code);
/* The request is whole, and is answered. */
void http_peers_answered(struct http_peers *peers, struct MHD_Connection *connection);

/* Ends who is late. Returns in how many ms to call it again; UINT64_MAX: nobody is there. */
uint64_t http_peers_sweep(struct http_peers *peers);

#endif
