/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_look: see the header.
 *
 * Happy path: look_hold -> (the watching worker) catalogs_look -> look_answered -> look_turn ->
 * auth_proven.
 */
#include "proxy_look.h"

#include "proxy_auth_internal.h"
#include "proxy_defaults.h"

/* Changes and log-ins cannot be told apart more finely than that. It is also the pause between
 * looks. */
static const uint64_t moment_ns = UINT64_C(20000000);
static const uint64_t wait_max_ns = UINT64_C(500000000);
static const uint64_t renewed_ns = UINT64_C(10000000000); /* RECONNECT: nobody looks, all is new */
static const uint64_t discouraged_ns = UINT64_C(5000000000); /* after one that waited in vain */

static bool is_of_this_moment(const struct shared_catalog *s, uint64_t at_ns)
{
    return shared_load(&s->looked_ns) + moment_ns > at_ns;
}

void look_want(struct proxy *p, struct shared_catalog *s, uint64_t now_ns)
{
    const uint64_t watcher = shared_load(&s->watcher);
    if (is_of_this_moment(s, now_ns))
        return;
    shared_set(&s->look_wanted_ns, now_ns);
    if (watcher != 0)
        mailbox_wake(&p->workers[watcher - 1].mail);
}

bool look_hold(struct auth *a, uint32_t database, const char *dbname, uint64_t now_ns)
{
    struct worker *w = a->client->worker;
    const uint8_t shard = w->databases[database].shard;
    struct shared_catalog *s = a->looked ? NULL : shared_catalog_find(w->proxy, shard, dbname);
    if (s == NULL)
        return false;
    const uint64_t reconnect_ns = shared_load(&w->proxy->reconnect_ns[database]);
    if ((shared_load(&s->watcher) == 0 && shared_load(&s->asking_ns) == 0) ||
        (reconnect_ns != 0 && now_ns < reconnect_ns + renewed_ns) || is_of_this_moment(s, now_ns) ||
        now_ns < shared_load(&s->look_failed_ns) + discouraged_ns ||
        router_primary(&w->topology, shard) == ROUTER_NODE_NONE) {
        shared_catalog_put(w->proxy, s);
        return false;
    }
    a->looked = true;
    a->look = s;
    a->look_ns = now_ns;
    LIST_INSERT_HEAD(&w->looking, a, look_link);
    look_want(w->proxy, s, now_ns);
    return true;
}

void look_forget(struct auth *a)
{
    if (a->look == NULL)
        return;
    shared_catalog_put(a->client->worker->proxy, a->look);
    a->look = NULL;
    LIST_REMOVE(a, look_link);
}

void look_answered(struct proxy *p, struct shared_catalog *s, uint64_t began_ns, bool changed)
{
    const bool tells = changed || shared_load(&s->look_wanted_ns) > shared_load(&s->looked_ns);
    shared_set(&s->looked_ns, began_ns);
    shared_set(&s->look_failed_ns, 0);
    for (uint32_t i = 0; tells && i < p->workers_count; i++)
        mailbox_wake(&p->workers[i].mail);
}

static bool is_over(struct auth *a, uint64_t now_ns)
{
    if (is_of_this_moment(a->look, a->look_ns))
        return true;
    if (now_ns < a->look_ns + wait_max_ns)
        return false;
    shared_set(&a->look->look_failed_ns, now_ns);
    return true;
}

void look_turn(struct worker *w, uint64_t now_ns)
{
    struct auth_list over = LIST_HEAD_INITIALIZER(over);
    struct auth *a = LIST_FIRST(&w->looking);
    defaults_tick(w, now_ns);
    while (a != NULL) {
        struct auth *next = LIST_NEXT(a, look_link);
        if (is_over(a, now_ns)) {
            LIST_REMOVE(a, look_link);
            LIST_INSERT_HEAD(&over, a, look_link);
        }
        a = next;
    }
    while ((a = LIST_FIRST(&over)) != NULL) {
        look_forget(a);
        auth_proven(a->client, now_ns); /* may free it */
    }
}
