/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_look: a log-in waits for a look at what ALTER ROLE and ALTER DATABASE ... SET have made of
 * the defaults (proxy_defaults.h), if the last look is not of this moment: so it begins with what
 * PostgreSQL would begin it with. One worker looks, on the connection that it has for it; all
 * log-ins of the database that come meanwhile share its answer.
 *
 * Failure modes: nobody looks, there is no primary, no answer comes in time: the log-in goes on
 * with what is known, and none waits for some seconds.
 *
 * Thread: the client's worker; what is shared is written whole, without a lock.
 */
#ifndef PROXY_LOOK_H
#define PROXY_LOOK_H

#include <stdbool.h>
#include <stdint.h>

struct auth;
struct proxy;
struct shared_catalog;
struct worker;

/* `database`: index of its section; `dbname`: its name at the servers. True: auth_proven() comes
 * again, when somebody has looked. At most once for each log-in. */
bool look_hold(struct auth *a, uint32_t database, const char *dbname, uint64_t now_ns);
/* Its client is gone. */
void look_forget(struct auth *a);
/* A server connection has begun: if it began with other defaults than those before, they go. */
void look_want(struct proxy *p, struct shared_catalog *s, uint64_t now_ns);
/* A look that began at `began_ns` was answered; `changed`: and it saw other defaults than before.
 */
void look_answered(struct proxy *p, struct shared_catalog *s, uint64_t began_ns, bool changed);
/* On each wake, and each tick. */
void look_turn(struct worker *w, uint64_t now_ns);

#endif
