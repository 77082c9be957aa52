/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_replication: clients that replicate (pg_receivewal, pg_basebackup, a standby, logical
 * decoding) get a connection to the primary of their shard that is made for them alone. It counts
 * as one of its pool's pool_size while it lives, but is never in the pool.
 *
 * Happy path: replication_open -> (proxy_connect.c) -> replication_connected -> core_linked().
 * Failure modes: replication_failed (FATAL); replication_forget when the client leaves first.
 */
#include "proxy_libpq.h"
#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_pool_internal.h"

static void refuse(struct client *c, const char *sqlstate, const char *message, const char *hint)
{
    const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint};
    worker_apply(c->worker, c, core_client_fatal(&c->core, &error), uv_hrtime());
}

void replication_open(struct worker *w, struct client *c, uint64_t now_ns)
{
    struct group *g = (struct group *)c->core.group;
    const uint8_t node = router_primary(&w->topology, g->core.database->shard);
    assert(c->own_server == NULL);
    if (node == ROUTER_NODE_NONE) {
        refuse(c, "57P03", "no primary can be reached",
               "Replication connections go to the primary; see SHOW NODES in the admin console.");
        return;
    }
    struct pool *pool = pool_of(g, node);
    if (!limits_take(pool, pool_section(g)->pool_size, 0, now_ns)) {
        refuse(c, "53300", "no server connection is free for replication",
               "Raise pool_size: each replication connection takes one of it for good.");
        return;
    }
    server_open_for(pool, c, now_ns);
}

/* What libpq is told besides: at most two keywords. The client's own settings, as it gave them. */
void replication_keywords(const struct server *v, struct libpq_keywords *k)
{
    const struct core_session *s = &v->owner->core;
    libpq_keyword_add(k, "replication",
                      core_login_replication(s) == CORE_REPLICATION_LOGICAL ? "database" : "true");
    if (core_login_options(s)[0] != '\0')
        libpq_keyword_add(k, "options", core_login_options(s));
}

void replication_connected(struct server *v, uint64_t now_ns)
{
    struct client *c = v->owner;
    struct group *g = v->pool->group;
    assert(c != NULL && c->own_server == v);
    if (pool_is_mislabelled(v->worker, v)) {
        replication_failed(v, "57P03", "the server's role has just changed");
        return;
    }
    c->own_server = NULL;
    v->owner = NULL;
    pool_move(v, SERVER_ACTIVE, now_ns);
    log_info("replication_begins", "client=%llu server=%llu user=\"%s\"",
             (unsigned long long)c->core.id, (unsigned long long)v->id, g->user);
    worker_apply(v->worker, c, core_linked(&c->core, &v->core, now_ns), now_ns);
    pool_mark_dirty(g); /* who waits may have taken this one for theirs */
}

void replication_failed(struct server *v, const char *sqlstate, const char *message)
{
    struct client *c = v->owner;
    struct group *g = v->pool->group;
    char text[320];
    c->own_server = NULL;
    v->owner = NULL;
    server_close(v, "connect failed");
    (void)snprintf(text, sizeof(text), "cannot connect to the server: %s", message);
    refuse(c, sqlstate[0] != '\0' ? sqlstate : "08006", text, NULL);
    pool_mark_dirty(g);
}

void replication_forget(struct client *c)
{
    struct server *v = c->own_server;
    if (v == NULL)
        return;
    c->own_server = NULL;
    v->owner = NULL;
    server_close(v, "its client is gone");
}
