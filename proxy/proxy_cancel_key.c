/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel_key: see the header.
 */
#include "proxy_cancel_key.h"

#include <stdlib.h>

enum { SLOTS_FIRST = 64 };

static bool slots_grow(struct worker *w)
{
    const uint32_t max = cancel_slots_max(w->proxy->workers_count);
    uint32_t count = w->slots_count == 0 ? SLOTS_FIRST : w->slots_count * 2;
    count = count < max ? count : max;
    if (count <= w->slots_count)
        return false;
    struct client **slots = realloc(w->slots, count * sizeof(struct client *));
    if (slots == NULL)
        return false;
    memset(slots + w->slots_count, 0, (count - w->slots_count) * sizeof(struct client *));
    w->slots_free = w->slots_count;
    w->slots = slots;
    w->slots_count = count;
    return true;
}

static uint32_t slot_find(const struct worker *w)
{
    for (uint32_t i = 0; i < w->slots_count; i++) {
        const uint32_t slot = (w->slots_free + i) % w->slots_count;
        if (slot != 0 && w->slots[slot] == NULL)
            return slot;
    }
    return 0;
}

bool cancel_key_take(struct client *c)
{
    struct worker *w = c->worker;
    const uint32_t workers_count = w->proxy->workers_count;
    uint32_t slot = slot_find(w);
    if (slot == 0 && slots_grow(w))
        slot = slot_find(w);
    if (slot == 0)
        return false;
    w->slots[slot] = c;
    w->slots_free = slot + 1;
    c->slot = slot;
    const struct cancel_name name = {
        .instance = (uint32_t)w->config->switchgear.instance_id, .worker = w->index, .slot = slot};
    c->core.cancel_pid = cancel_name_write(name, workers_count);
    proxy_random(c->core.cancel_key, sizeof(c->core.cancel_key));
    return true;
}

void cancel_key_give(struct client *c)
{
    struct worker *w = c->worker;
    assert(w->slots[c->slot] == c);
    w->slots[c->slot] = NULL;
}

struct client *cancel_key_slot(const struct worker *w, uint32_t slot)
{
    return slot < w->slots_count ? w->slots[slot] : NULL;
}

struct client *cancel_key_find(const struct worker *w, uint32_t slot, struct proto_span secret)
{
    struct client *c = cancel_key_slot(w, slot);
    if (c == NULL || c->closing || c->core.phase != CORE_QUERY ||
        c->core.cancel_key_size != secret.size ||
        !proto_equal_constant_time(c->core.cancel_key, secret.base, secret.size))
        return NULL;
    return c;
}
