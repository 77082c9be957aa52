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

static bool is_other(const struct breaker_suspicion *a, const struct breaker_suspicion *b)
{
    return a->who != b->who && a->login != b->login && a->what != b->what;
}

bool breaker_suspect(struct breaker_suspicions *s, struct breaker_suspicion one, uint64_t window_ns,
                     uint64_t now_ns)
{
    static_assert(BREAKER_SUSPECTS == 3, "pairs besides the new one are looked for below");
    assert(now_ns > 0);

    one.at_ns = now_ns;
    *place_for(s, one.who) = one;
    for (uint32_t i = 0; i < BREAKER_SUSPECTS_MAX; i++) {
        const struct breaker_suspicion *a = &s->latest[i];
        if (is_late(a, window_ns, now_ns) || !is_other(a, &one))
            continue;
        for (uint32_t k = i + 1; k < BREAKER_SUSPECTS_MAX; k++) {
            const struct breaker_suspicion *b = &s->latest[k];
            if (is_late(b, window_ns, now_ns) || !is_other(b, &one) || !is_other(b, a))
                continue;
            *s = (struct breaker_suspicions){0};
            return true;
        }
    }
    return false;
}
