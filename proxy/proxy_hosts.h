/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_hosts: the host names of addresses, as PostgreSQL takes them for pg_hba.conf: a reverse
 * lookup of the address, and a forward lookup of what it said must lead back to the address, since
 * whoever owns an address may give it any name.
 *
 * One per worker, on its loop; nothing blocks. Few lookups run at a time, so that those of servers'
 * names find a thread too; the others wait in order. What was found is remembered for seconds.
 */
#ifndef PROXY_HOSTS_H
#define PROXY_HOSTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum {
    HOSTS_MAX = 256,   /* addresses that are remembered or asked for */
    HOSTS_RUNNING = 2, /* lookups at a time */
};

struct hosts;
struct hosts_entry;

/* Who waits for a name; the caller's memory. */
struct hosts_wait {
    void *owner;               /* for on_known() */
    struct hosts_entry *entry; /* NULL: not waiting */
    TAILQ_ENTRY(hosts_wait) link;
    /* `name` NULL: there is none that leads back to the address; else borrowed for the call. */
    void (*on_known)(struct hosts_wait *wait, const char *name);
};

struct hosts *hosts_create(uv_loop_t *loop);
/* After the loop has ended. NULL does nothing. */
void hosts_destroy(struct hosts *hosts);

/* on_known() comes, perhaps at once. `address`: IPv4 as ::ffff:a.b.c.d. False: too many are being
 * looked up; it does not come. */
bool hosts_ask(struct hosts *hosts, const uint8_t address[16], struct hosts_wait *wait,
               uint64_t now_ns);
/* It does not come any more. */
void hosts_forget(struct hosts_wait *wait);
/* Gives up what runs; nothing is asked after it. NULL does nothing. */
void hosts_stop(struct hosts *hosts);

#endif
