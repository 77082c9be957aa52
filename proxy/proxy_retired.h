/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_retired: memory that was taken out of a list which other threads read without a lock. Each
 * of them may still hold it within a turn of its loop, and have put it into a mail that another
 * worker reads in a turn of its own. So it is freed when every worker has ended two turns, twice.
 *
 * Thread: retired_add() any, retired_tick() the supervisor's, which reads such lists within its
 * own turns only.
 */
#ifndef PROXY_RETIRED_H
#define PROXY_RETIRED_H

#include <stdbool.h>

struct proxy;

/* `what` is freed by `give` later. False: no memory; it stays for good. */
bool retired_add(struct proxy *p, void *what, void (*give)(void *what));
void retired_tick(struct proxy *p);
void retired_free(struct proxy *p); /* all threads have ended */

#endif
