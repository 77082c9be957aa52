/* SPDX-License-Identifier: PostgreSQL
 *
 * core_known: the class of a text, and of one that is kept. For the session core alone.
 */
#ifndef CORE_KNOWN_H
#define CORE_KNOWN_H

#include "core_catalog.h"
#include "proto_message.h"

/* ret_detail may be NULL: router_classify.h. */
void core_classify(const struct core_session *s, struct proto_span text, struct core_known *ret,
                   struct router_detail *ret_detail);
/* Of what a Parse brings along: a domain checks what is bound, and no text has its name. */
void core_classify_parse(const struct core_session *s, const struct proto_parse *parse,
                         struct core_known *ret);
/* As core_classify(), of one that is kept; without a parse where that can be. */
void core_known_renew(const struct core_session *s, struct core_known *known,
                      struct proto_span text);

/* What it is to this session, now: one comparison where nothing has changed. */
static inline void core_known_refresh(const struct core_session *s, struct core_known *known,
                                      struct proto_span text)
{
    if (known->key != core_catalog_key(s) || known->learned != s->worker->counters.learned ||
        known->class.reason == ROUTER_REASON_LEARNED)
        core_known_renew(s, known, text);
}

#endif
