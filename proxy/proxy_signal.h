/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_signal: pg_terminate_backend and pg_cancel_backend of a client of this proxy, from the
 * session that asks to the one that is meant, which may be another worker's, and back.
 *
 * Whoever asks waits for an answer (core_signalled()) and gets one in any case: when the mail is
 * lost, after some seconds "nobody". A client may do this to sessions of its own log-in name on its
 * own shard, and admin_users to all. The worker's own thread.
 */
#ifndef PROXY_SIGNAL_H
#define PROXY_SIGNAL_H

#include "proxy_worker.h"

/* c asks (actions->signal). The answer comes in a later turn of the loop. */
void signal_requested(struct client *c, const struct core_signal_wish *wish, uint64_t now_ns);
/* c asks no more: it leaves, or was cancelled. */
void signal_forget(struct client *c);
/* Mail: do this to one of your sessions; what another worker, or this one, says of it. */
void signal_mail(struct worker *w, const struct mail_signal *mail);
void signal_done_mail(struct worker *w, const struct mail_signal_done *mail);
/* Every 100 ms: has what was ended left its server by now? Was an answer lost? */
void signals_tick(struct worker *w, uint64_t now_ns);
/* The worker ends: nobody is left to be told. */
void signals_drop(struct worker *w);

#endif
