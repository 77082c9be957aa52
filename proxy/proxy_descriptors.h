/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_descriptors: how many descriptors the process may have, and how many of them clients may
 * take, so that server connections, probes, the console and the log always find one.
 *
 * Thread: the supervisor's; descriptors_clients_max is read by all. Source: getrlimit(2).
 */
#ifndef PROXY_DESCRIPTORS_H
#define PROXY_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct proxy;

/* Raises the soft limit to the hard one. Before anything is opened. */
void descriptors_raise(void);
/* At the start and with each configuration: what of the limit is the clients'. Warns, with the
 * figure that is needed, when that is less than max_client_conn. */
void descriptors_plan(struct proxy *p, const struct config *config);
/* Is this one of the last? Then its client is told so, before it has said who it is, and closed. */
bool descriptors_refuse(const struct proxy *p, int fd);

#endif
