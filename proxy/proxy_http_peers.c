/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_http_peers: a slot per connection, looked through from end to end: there are few.
 */
#include "proxy_http_peers.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum state { FREE, ASKING, ANSWERED, IDLE, ENDING };

struct peer {
    enum state state;
    int fd;
    struct in6_addr address; /* zeroes where there is none */
    uint64_t since_ms, due_ms;
};

struct http_peers {
    const uint64_t *now_ms;
    struct peer slots[HTTP_CONNECTIONS_MAX];
};

struct http_peers *http_peers_new(const uint64_t *now_ms)
{
    struct http_peers *peers = calloc(1, sizeof *peers);
    if (peers != NULL)
        peers->now_ms = now_ms;
    return peers;
}

void http_peers_free(struct http_peers *peers)
{
    free(peers);
}

static void enter(const struct http_peers *peers, struct peer *p, enum state state, uint64_t ms)
{
    p->state = state;
    p->since_ms = *peers->now_ms;
    p->due_ms = p->since_ms + ms;
}

static void end(struct peer *p)
{
    (void)shutdown(p->fd, SHUT_RDWR);
    p->state = ENDING;
}

static struct peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static struct in6_addr address_of(struct MHD_Connection *connection)
{
    struct in6_addr ret = {0};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL)
        return ret;
    if (info->client_addr->sa_family == AF_INET6)
        ret = ((const struct sockaddr_in6 *)(const void *)info->client_addr)->sin6_addr;
    else if (info->client_addr->sa_family == AF_INET)
        memcpy(&ret, &((const struct sockaddr_in *)(const void *)info->client_addr)->sin_addr,
               sizeof(struct in_addr));
    return ret;
}

/* Among those that hold a place, or among those of `address` alone. */
static uint32_t count(struct http_peers *peers, const struct in6_addr *address,
                      struct peer **ret_oldest)
{
    uint32_t found = 0;
    *ret_oldest = NULL;
    for (uint32_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct peer *p = &peers->slots[i];
        if (p->state == FREE || p->state == ENDING ||
            (address != NULL && memcmp(&p->address, address, sizeof *address) != 0))
            continue;
        found++;
        if (p->state != ANSWERED && (*ret_oldest == NULL || p->since_ms < (*ret_oldest)->since_ms))
            *ret_oldest = p;
    }
    return found;
}

static void make_room(struct http_peers *peers, const struct in6_addr *address)
{
    struct peer *oldest, *oldest_there;
    const uint32_t there = count(peers, address, &oldest_there);
    const uint32_t all = count(peers, NULL, &oldest);
    if (there < HTTP_PER_ADDRESS_MAX && all < HTTP_PEERS_MAX)
        return;
    if (oldest_there != NULL)
        end(oldest_there);
    else if (oldest != NULL)
        end(oldest);
}

static struct peer *begin(struct http_peers *peers, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const struct in6_addr address = address_of(connection);
    make_room(peers, &address);
    for (uint32_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct peer *p = &peers->slots[i];
        if (p->state != FREE || info == NULL)
            continue;
        p->fd = info->connect_fd;
        p->address = address;
        enter(peers, p, ASKING, HTTP_REQUEST_MS);
        return p;
    }
    return NULL; /* libmicrohttpd lets nobody in beyond that many */
}

void http_peers_on_connection(void *peers, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *context = begin(peers, connection);
    else if (*context != NULL)
        ((struct peer *)*context)->state = FREE;
}

/* A connection's first request has its time from the connection's start. */
void *http_peers_on_line(void *peers, const char *uri, struct MHD_Connection *connection)
{
    struct peer *p = peer_of(connection);
    (void)uri;
    if (p != NULL && p->state == IDLE)
        enter(peers, p, ASKING, HTTP_REQUEST_MS);
    return NULL;
}

void http_peers_on_done(void *peers, struct MHD_Connection *connection, void **request,
                        enum MHD_RequestTerminationCode code)
{
    struct peer *p = peer_of(connection);
    (void)request;
    (void)code;
    if (p != NULL && p->state != ENDING)
        enter(peers, p, IDLE, HTTP_IDLE_MS);
}

void http_peers_answered(struct http_peers *peers, struct MHD_Connection *connection)
{
    struct peer *p = peer_of(connection);
    if (p != NULL && p->state != ENDING)
        enter(peers, p, ANSWERED, HTTP_ANSWER_MS);
}

uint64_t http_peers_sweep(struct http_peers *peers)
{
    uint64_t next_ms = UINT64_MAX;
    for (uint32_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct peer *p = &peers->slots[i];
        if (p->state == FREE || p->state == ENDING)
            continue;
        if (p->due_ms <= *peers->now_ms)
            end(p);
        else if (p->due_ms - *peers->now_ms < next_ms)
            next_ms = p->due_ms - *peers->now_ms;
    }
    return next_ms;
}
