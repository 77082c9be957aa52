/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_catalog_slow: see the header.
 */
#include "proxy_catalog_slow.h"

#include <string.h>

#include "proxy_catalog.h"

#define SECOND_NS UINT64_C(1000000000)
static const uint64_t pause_ns = 30 * SECOND_NS;
static const uint64_t pause_changed_ns = 10 * SECOND_NS;
enum { SECONDS = 20, SLOW_SECONDS = 120 };      /* as the settings have them */
static const uint64_t grace_ns = 5 * SECOND_NS; /* the server gives up before we do */

bool catalog_slow_note(struct shared_catalog *s, const char *sqlstate, uint64_t events,
                       uint64_t now_ns)
{
    if (strcmp(sqlstate, "57014") != 0)
        return false;
    shared_set(&s->slow_events, events);
    shared_set(&s->slow_ns, now_ns);
    return true;
}

void catalog_slow_over(struct shared_catalog *s)
{
    shared_set(&s->slow_ns, 0);
}

bool catalog_slow_waits(const struct shared_catalog *s, uint64_t events, bool seen, uint64_t now_ns)
{
    const uint64_t since_ns = shared_load(&s->slow_ns);
    const bool changed = seen || events != shared_load(&s->slow_events);
    return since_ns != 0 && now_ns < since_ns + (changed ? pause_changed_ns : pause_ns);
}

const char *catalog_slow_settings(const struct shared_catalog *s)
{
    return shared_load(&s->slow_ns) != 0 ? CATALOG_QUESTION_SETTINGS " -c statement_timeout=120s"
                                         : CATALOG_QUESTION_SETTINGS;
}

uint64_t catalog_slow_limit(const struct shared_catalog *s)
{
    return (shared_load(&s->slow_ns) != 0 ? SLOW_SECONDS : SECONDS) * SECOND_NS + grace_ns;
}
