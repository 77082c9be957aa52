/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_preface: see the header.
 *
 * Happy path: preface_expect -> preface_ready (again and again) -> arrived.
 * Failure modes: refuse() logs why and closes; client_login_timeout closes who says nothing.
 */
#include "proxy_preface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proto_proxy.h"
#include "proxy_client_io.h"
#include "proxy_log.h"

enum { FIRST_SIZE = 64 }; /* room for the header of a TCP connection without TLVs */

struct preface {
    uint32_t have;
    uint32_t capacity;
    uint8_t bytes[];
};

bool preface_expect(struct client *c)
{
    c->preface = malloc(sizeof(*c->preface) + FIRST_SIZE);
    if (c->preface == NULL)
        return false;
    *c->preface = (struct preface){.capacity = FIRST_SIZE};
    return true;
}

void preface_forget(struct client *c)
{
    free(c->preface);
    c->preface = NULL;
}

static void refuse(struct client *c, const char *reason)
{
    char address[INET6_ADDRSTRLEN];
    client_address_text(c, address, sizeof(address));
    log_info("proxy_header_refused", "address=%s port=%u reason=\"%s\"", address, c->port, reason);
    client_close(c, "no good PROXY header");
}

void preface_refuse(struct client *c)
{
    refuse(c, "there is none");
}

static void arrived(struct client *c, const struct proto_proxy *header)
{
    preface_forget(c);
    c->is_relayed = !header->is_local;
    if (!header->has_address)
        return; /* a health check, or whoever is no TCP client: the load balancer itself */
    memcpy(&c->address, header->source, sizeof(c->address));
    c->port = header->source_port;
    c->is_unix = false;
    c->core.tls = (uint8_t)client_io_offer(c);
}

/* Room for all of a header whose length is known. */
static bool make_room(struct client *c, uint32_t size)
{
    if (size <= c->preface->capacity)
        return true;
    struct preface *larger = realloc(c->preface, sizeof(*larger) + size);
    if (larger == NULL)
        return false;
    c->preface = larger;
    larger->capacity = size;
    return true;
}

/* True: bytes were read, and what is there of the header is good so far. */
static bool read_part(struct client *c, struct proto_proxy *ret, enum proto_status *ret_status)
{
    struct preface *p = c->preface;
    const uint32_t missing = proto_proxy_missing((struct proto_span){p->bytes, p->have});
    if (!make_room(c, p->have + missing)) {
        refuse(c, "no memory");
        return false;
    }
    p = c->preface;
    const ssize_t n = recv(c->fd, p->bytes + p->have, missing, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        client_close(c, "client closed the connection");
        return false;
    }
    p->have += (uint32_t)n;
    *ret_status = proto_proxy_read((struct proto_span){p->bytes, p->have}, ret);
    if (*ret_status == PROTO_OK || *ret_status == PROTO_MORE)
        return true;
    refuse(c, proto_status_text(*ret_status));
    return false;
}

/* Its first byte says that it has no header. True: it is not looked for any more. */
static bool has_none(struct client *c)
{
    uint8_t first;
    if (c->preface->have > 0 || recv(c->fd, &first, 1, MSG_PEEK) != 1 ||
        first == PROTO_PROXY_FIRST_BYTE)
        return false;
    preface_forget(c);
    if (first == 0)
        c->lacks_header = true; /* a first packet: of a cancel request, maybe */
    else
        preface_refuse(c);
    return true;
}

void preface_ready(struct client *c)
{
    struct proto_proxy header;
    enum proto_status status = PROTO_MORE;
    if (has_none(c))
        return;
    while (status == PROTO_MORE)
        if (!read_part(c, &header, &status))
            return;
    arrived(c, &header);
}
