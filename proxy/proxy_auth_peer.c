/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_peer: who is at the other end of a Unix socket. The kernel knows its user's number at
 * once; the name may have to come over a network (LDAP), so a thread of libuv's pool asks for it.
 *
 * Happy path: auth_peer_start -> look_up -> on_looked_up -> auth_answer.
 * Failure modes: no such user, or a name that may not be this user: refused. A client that leaves
 * meanwhile is forgotten (`auth` is NULL).
 */
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxy_auth_internal.h"

struct auth_peer {
    uv_work_t work;
    struct auth *auth; /* NULL: its client has left */
    struct worker *worker;
    uid_t uid;
    char name[256]; /* "": there is none */
};

static void refuse(struct auth *a, uint64_t now_ns)
{
    struct auth_refusal refusal;
    auth_refuse(&refusal, "28000", "Peer authentication failed for user \"%s\"",
                core_login_user_name(&a->client->core));
    auth_answer(a, &refusal, now_ns);
}

/* In a thread of the pool: only of `peer`'s own is used. */
static void look_up(uv_work_t *work)
{
    struct auth_peer *peer = work->data;
    struct passwd entry;
    struct passwd *found = NULL;
    char buf[16384];
    if (getpwuid_r(peer->uid, &entry, buf, sizeof(buf), &found) == 0 && found != NULL &&
        strlen(entry.pw_name) < sizeof(peer->name))
        (void)snprintf(peer->name, sizeof(peer->name), "%s", entry.pw_name);
}

static void on_looked_up(uv_work_t *work, int status)
{
    struct auth_peer *peer = work->data;
    struct auth *a = peer->auth;
    if (a != NULL) {
        a->peer = NULL;
        worker_topology_refresh(peer->worker);
        if (status == 0 && peer->name[0] != '\0' && auth_name_allowed(a, peer->name))
            auth_answer(a, NULL, uv_hrtime());
        else
            refuse(a, uv_hrtime());
    }
    free(peer);
}

void auth_peer_start(struct auth *a, uint64_t now_ns)
{
    struct worker *w = a->client->worker;
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    struct auth_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL || a->client->is_relayed || /* the socket is the load balancer's */
        getsockopt(a->client->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        free(peer);
        refuse(a, now_ns);
        return;
    }
    peer->work.data = peer;
    peer->auth = a;
    peer->worker = w;
    peer->uid = credentials.uid;
    a->peer = peer;
    const int r = uv_queue_work(&w->loop, &peer->work, look_up, on_looked_up);
    assert(r == 0); /* fails only without a callback */
}

void auth_peer_forget(struct auth_peer *peer)
{
    peer->auth = NULL;
}
