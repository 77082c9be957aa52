/* SPDX-License-Identifier: PostgreSQL */
/*
 * proxy_http_host: whether a page of somebody else's may have sent a browser here.
 *
 * A name that its owner points at 127.0.0.1 makes a browser ask us as if we were that site ("DNS
 * rebinding"); the Host header tells. An address, and a name without a dot, are nobody's to point.
 */
#ifndef PROXY_HTTP_HOST_H
#define PROXY_HTTP_HOST_H

#include <stdbool.h>

/*
 * `host`: the header's value, NULL where there is none (no browser). `names`: http_hosts, comma
 * separated; "*": any. `listen`: http_listen; where it is not loopback, and no names are given,
 * any host will do. No state; any thread.
 */
bool http_host_allowed(const char *host, const char *names, const char *listen);

#endif
