/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_orders: what the admin console wants of a worker's pools and clients. PAUSE and RECONNECT
 * are words that all workers read (struct proxy); what needs an answer comes by mail.
 */
#include <stdlib.h>
#include <strings.h>

#include "proxy_catalog.h"
#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_pool_internal.h"

bool pool_is_stale(const struct server *v)
{
    const struct group *g = v->pool->group;
    const struct proxy *p = v->worker->proxy;
    return v->started_ns < v->pool->defaults_ns ||
           v->started_ns < shared_load(&p->nodes[v->pool->node].renewed_ns) ||
           v->started_ns < shared_load(&p->reconnect_ns[g->database]);
}

static const char *reason_of(const struct server *v, bool paused)
{
    return paused                                 ? "PAUSE"
           : v->started_ns < v->pool->defaults_ns ? "its defaults have changed"
                                                  : "RECONNECT";
}

/* What nobody uses goes at once, the rest when it is released. */
static void obey(struct worker *w, struct pool *pool)
{
    const bool paused = pool_is_paused(pool->group);
    struct server *v;
    struct server *next;
    TAILQ_EACH_SAFE (v, &pool->idle, link, next)
        if (paused || pool_is_stale(v))
            server_close(v, reason_of(v, paused));
    TAILQ_EACH_SAFE (v, &pool->others, link, next)
        if (v->state == SERVER_WARMING && (paused || pool_is_stale(v)))
            server_close(v, reason_of(v, paused));
    (void)w;
}

void pools_obey(struct worker *w)
{
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; n < w->topology.nodes_count; n++)
            if (g->pools[n].shared != NULL)
                obey(w, &g->pools[n]);
    catalogs_obey(w);
}

/* ---- DROP DATABASE ---- */

/* In any case, and anywhere: a connection too many that is opened anew does no harm. */
static bool mentions(struct proto_span text, const char *name)
{
    const size_t size = strlen(name);
    for (size_t at = 0; at + size <= text.size; at++)
        if (strncasecmp((const char *)text.base + at, name, size) == 0)
            return true;
    return false;
}

/* PostgreSQL waits five seconds for others to leave: time enough for idle connections. */
void pools_make_way(struct worker *w, struct proto_span text, uint64_t now_ns)
{
    struct proxy *p = w->proxy;
    bool found = false;
    for (int pass = 0; pass < 2 && !found; pass++) /* what no section names is the wildcard's */
        for (uint32_t i = 0; i < w->config->databases_count; i++) {
            const struct config_database *d = &w->config->databases[i];
            const char *name = d->dbname[0] != '\0' ? d->dbname : d->name;
            const bool any = strcmp(name, "*") == 0;
            if (pass == 0 ? any || !mentions(text, name) : !any)
                continue;
            shared_set(&p->reconnect_ns[i], now_ns);
            found = true;
        }
    for (uint32_t i = 0; found && i < pool_workers(w); i++)
        mailbox_wake(&p->workers[i].mail);
}

/* ---- mail ---- */

static bool concerns(const struct mail_order *o, const struct group *g)
{
    return o->database == UINT32_MAX || o->database == g->database;
}

static uint64_t count_stale(const struct worker *w, const struct mail_order *o)
{
    uint64_t count = 0;
    const struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; concerns(o, g) && n < w->topology.nodes_count; n++) {
            const struct server *v;
            if (g->pools[n].shared == NULL)
                continue;
            TAILQ_FOREACH (v, &g->pools[n].idle, link)
                count += pool_is_stale(v);
            TAILQ_FOREACH (v, &g->pools[n].others, link)
                count += pool_is_stale(v);
        }
    return count;
}

static uint64_t kill_client(struct worker *w, uint64_t id)
{
    struct client_list *lists[] = {&w->clients, &w->logins};
    for (int i = 0; i < 2; i++) {
        struct client *c;
        TAILQ_FOREACH (c, lists[i], link) {
            if (c->core.id != id || c->closing)
                continue;
            client_terminate(c);
            return 1;
        }
    }
    return 0;
}

static uint64_t kill_database(struct worker *w, const struct mail_order *o)
{
    uint64_t count = 0;
    struct client_list *lists[] = {&w->clients, &w->logins};
    for (int i = 0; i < 2; i++) {
        struct client *c;
        struct client *next;
        TAILQ_EACH_SAFE (c, lists[i], link, next) {
            if (c->closing || c->core.group == NULL ||
                !concerns(o, (const struct group *)c->core.group))
                continue;
            client_terminate(c);
            count++;
        }
    }
    struct group *g;
    TAILQ_FOREACH (g, &w->groups, link)
        for (uint32_t n = 0; concerns(o, g) && n < w->topology.nodes_count; n++) {
            struct server *v;
            struct server *next;
            if (g->pools[n].shared == NULL)
                continue;
            TAILQ_EACH_SAFE (v, &g->pools[n].idle, link, next)
                server_close(v, "KILL");
            TAILQ_EACH_SAFE (v, &g->pools[n].others, link, next)
                if (v->core.session == NULL)
                    server_close(v, "KILL");
        }
    return count;
}

void worker_order(struct worker *w, struct mail_order *mail)
{
    switch ((enum order)mail->what) {
    case ORDER_COUNT_STALE:
        pools_obey(w);
        mail->count = count_stale(w, mail);
        break;
    case ORDER_KILL_CLIENT:
        mail->count = kill_client(w, mail->client);
        break;
    case ORDER_KILL:
        mail->count = kill_database(w, mail);
        break;
    }
    mail->mail.kind = MAIL_ORDER_DONE;
    if (!mailbox_post(w->proxy->supervisor_mail, &mail->mail))
        free(mail); /* the console stops waiting by itself */
}
