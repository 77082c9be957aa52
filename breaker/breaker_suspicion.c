/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_suspicion: see the header. Pure.
 */
#include "breaker_suspicion.h"

#include <assert.h>

static bool is_late(const struct breaker_suspicion *one, uint64_t window_ns, uint64_t now_ns)
{
    return one->at_ns == 0 || now_ns - one->at_ns > window_ns;
}

/* Its user's own place, else one that is free or out of the window, else the oldest. */
static struct breaker_suspicion *place_for(struct breaker_suspicions *s, uint64_t who)
{
    struct breaker_suspicion *place = &s->latest[0];
    for (uint32_t i = 0; i < BREAKER_SUSPECTS_MAX; i++) {
        struct breaker_suspicion *one = &s->latest[i];
        if (one->at_ns != 0 && one->who == who)
            return one;
        if (one->at_ns < place->at_ns)
            place = one;
    }
    return place;
}

bool breaker_suspect(struct breaker_suspicions *s, uint64_t who, uint64_t what, uint64_t window_ns,
                     uint64_t now_ns)
{
    static_assert(BREAKER_SUSPECTS == 3, "pairs besides the new one are looked for below");
    assert(now_ns > 0);

    struct breaker_suspicion *new = place_for(s, who);
    *new = (struct breaker_suspicion){.at_ns = now_ns, .who = who, .what = what};
    for (uint32_t i = 0; i < BREAKER_SUSPECTS_MAX; i++) {
        const struct breaker_suspicion *a = &s->latest[i];
        if (a == new || is_late(a, window_ns, now_ns) || a->what == what)
            continue;
        for (uint32_t k = i + 1; k < BREAKER_SUSPECTS_MAX; k++) {
            const struct breaker_suspicion *b = &s->latest[k];
            if (b == new || is_late(b, window_ns, now_ns) || b->what == what || b->what == a->what)
                continue;
            *s = (struct breaker_suspicions){0};
            return true;
        }
    }
    return false;
}
