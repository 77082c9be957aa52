/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_preface: what may come before a client's first byte: the PROXY protocol's header, with
 * which a trusted load balancer says whose connection it is.
 *
 * Exactly the header is read, so that whatever comes behind it, TLS too, is left in the socket. Its
 * wait is part of client_login_timeout. A cancel request needs none: it is asked for no address,
 * and peers send it themselves. The worker's own thread.
 */
#ifndef PROXY_PREFACE_H
#define PROXY_PREFACE_H

#include "proxy_worker.h"

/* The client begins with a header. False: no memory. */
bool preface_expect(struct client *c);
/* The descriptor of a client whose header is not whole (c->preface) is ready. */
void preface_ready(struct client *c);
/* A client that began without its header wants more than a cancel: closes it. */
void preface_refuse(struct client *c);
void preface_forget(struct client *c);

#endif
