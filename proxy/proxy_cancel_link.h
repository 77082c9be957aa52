/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel_link: one connection that carries one CancelRequest, to a PostgreSQL server or to
 * another proxy. Connects, speaks TLS where it is told to, sends, and waits until the other side
 * hangs up: then the request has done all that it will ever do.
 *
 * Never blocks; everything runs on the worker's loop. The worker's own thread.
 */
#ifndef PROXY_CANCEL_LINK_H
#define PROXY_CANCEL_LINK_H

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <uv.h>

#include "proto_startup.h"

enum { CANCEL_PACKET_SIZE_MAX = 12 + PROTO_CANCEL_KEY_SIZE_MAX + 1 };

/* How to make sure that the other side is the one that the session talks to. */
struct cancel_tls {
    SSL_CTX *context;  /* of the session's connection, one reference; NULL: plain */
    X509 *certificate; /* that the server showed to the session, one reference; NULL: none */
    bool verify;       /* another certificate than that has to be a good one */
    bool verify_host;  /* ... made out for `host` */
    char host[256];
};
/* Gives the references back; a zeroed struct is fine. */
void cancel_tls_deinit(struct cancel_tls *tls);

struct cancel_target {
    struct sockaddr_storage address;
    socklen_t address_size;
    struct cancel_tls tls; /* moves to the link */
    uint8_t packet[CANCEL_PACKET_SIZE_MAX];
    uint32_t packet_size;
};
/* The packet; a key of an impossible size is a bug of the caller. */
void cancel_target_write(struct cancel_target *t, uint32_t pid, struct proto_span key);

struct cancel_link;

/*
 * `on_ended` is called once, never from within this call; `may_come`: the request was given up
 * after its first byte had left. NULL: it could not be begun, `errno` says why (EAGAIN: a Unix
 * socket's queue is full) and `target` is as it was; else target->tls has moved.
 */
struct cancel_link *cancel_link_open(uv_loop_t *loop, struct cancel_target *target,
                                     void (*on_ended)(void *arg, bool may_come), void *arg);
/* Gives up. Returns may_come; on_ended is not called any more. The memory goes later. */
bool cancel_link_close(struct cancel_link *link);

#endif
