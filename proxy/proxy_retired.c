/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_retired: see the header.
 */
#include "proxy_retired.h"

#include <stdlib.h>

#include "proxy_worker.h"

enum { PERIODS = 2, TURNS = 2 };

struct retired {
    struct retired *next;
    void *what;
    void (*give)(void *what);
    uint32_t periods; /* that are over */
    uint64_t turns[PROXY_WORKERS_MAX];
};

static void period_begin(struct retired *r, const struct proxy *p)
{
    for (uint32_t i = 0; i < p->workers_count; i++)
        r->turns[i] = __atomic_load_n(&p->workers[i].turns_ended, __ATOMIC_ACQUIRE);
}

static bool period_is_over(const struct retired *r, const struct proxy *p)
{
    for (uint32_t i = 0; i < p->workers_count; i++)
        if (__atomic_load_n(&p->workers[i].turns_ended, __ATOMIC_ACQUIRE) - r->turns[i] < TURNS)
            return false;
    return true;
}

bool retired_add(struct proxy *p, void *what, void (*give)(void *what))
{
    struct retired *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return false;
    r->what = what;
    r->give = give;
    period_begin(r, p);
    uv_mutex_lock(&p->retired_lock);
    r->next = p->retired;
    __atomic_store_n(&p->retired, r, __ATOMIC_RELAXED);
    uv_mutex_unlock(&p->retired_lock);
    return true;
}

void retired_tick(struct proxy *p)
{
    if (__atomic_load_n(&p->retired, __ATOMIC_RELAXED) == NULL)
        return;
    uv_mutex_lock(&p->retired_lock);
    struct retired **link = &p->retired;
    while (*link != NULL) {
        struct retired *r = *link;
        if (period_is_over(r, p)) {
            period_begin(r, p);
            r->periods++;
        }
        if (r->periods < PERIODS) {
            link = &r->next;
            continue;
        }
        *link = r->next;
        r->give(r->what);
        free(r);
    }
    uv_mutex_unlock(&p->retired_lock);
}

void retired_free(struct proxy *p)
{
    while (p->retired != NULL) {
        struct retired *r = p->retired;
        p->retired = r->next;
        r->give(r->what);
        free(r);
    }
}
