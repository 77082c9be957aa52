/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel_link: see the header.
 *
 * Happy path: cancel_link_open -> CONNECTING -> (ASKING -> SHAKING ->) SENDING -> WAITING -> ended.
 * Failure modes: ended() from any state; whoever opened it limits its time (cancel_link_close).
 */
#include "proxy_cancel_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy_log.h"

enum link_state { LINK_CONNECTING, LINK_ASKING, LINK_SHAKING, LINK_SENDING, LINK_WAITING };

/* What a step says: again at the next event, on to the next state, or over. */
enum link_step { STEP_READ, STEP_WRITE, STEP_NEXT, STEP_OVER };

struct cancel_link {
    uv_poll_t poll;
    struct cancel_target target;
    SSL *ssl;
    int fd;
    uint32_t sent; /* of what the state sends */
    uint8_t state; /* enum link_state */
    bool has_left; /* of the request: a byte */
    bool hung_up;  /* the other side, after it had all of the request */
    void (*on_ended)(void *arg, bool may_come);
    void *arg;
};

void cancel_tls_deinit(struct cancel_tls *tls)
{
    SSL_CTX_free(tls->context);
    X509_free(tls->certificate);
    tls->context = NULL;
    tls->certificate = NULL;
}

void cancel_target_write(struct cancel_target *t, uint32_t pid, struct proto_span key)
{
    assert(key.size <= sizeof(t->packet) - 12);
    t->packet_size = 12 + (uint32_t)key.size;
    proto_store_u32(t->packet, t->packet_size);
    proto_store_u32(t->packet + 4, 80877102);
    proto_store_u32(t->packet + 8, pid);
    memcpy(t->packet + 12, key.base, key.size);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct cancel_link *link = handle->data;
    free(link);
}

bool cancel_link_close(struct cancel_link *link)
{
    (void)uv_poll_stop(&link->poll);
    if (link->ssl != NULL) {
        ERR_clear_error();
        if (link->state > LINK_SHAKING)
            (void)SSL_shutdown(link->ssl); /* close_notify, if the socket takes it */
        SSL_free(link->ssl);
    }
    ERR_clear_error();
    cancel_tls_deinit(&link->target.tls);
    OPENSSL_cleanse(link->target.packet, sizeof(link->target.packet));
    (void)close(link->fd);
    uv_close((uv_handle_t *)&link->poll, on_closed);
    return link->has_left;
}

static void ended(struct cancel_link *link)
{
    void (*on_ended)(void *, bool) = link->on_ended;
    void *arg = link->arg;
    const bool hung_up = link->hung_up;
    const bool may_come = cancel_link_close(link) && !hung_up;
    on_ended(arg, may_come);
}

/* ---- TLS ---- */

static bool is_address(const char *host)
{
    uint8_t buf[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, buf) == 1 || inet_pton(AF_INET6, host, buf) == 1;
}

/* The same server as the session's? Either it shows the same certificate, or another one that would
 * have been good enough for the session. */
static bool peer_is_right(const struct cancel_link *link)
{
    const struct cancel_tls *tls = &link->target.tls;
    X509 *shown = SSL_get1_peer_certificate(link->ssl);
    bool right =
        shown != NULL && tls->certificate != NULL && X509_cmp(shown, tls->certificate) == 0;
    if (!right && !tls->verify)
        right = true; /* as the session's own sslmode: nobody is verified */
    else if (!right && shown != NULL && SSL_get_verify_result(link->ssl) == X509_V_OK)
        right = !tls->verify_host ||
                (is_address(tls->host) ? X509_check_ip_asc(shown, tls->host, 0) == 1
                                       : X509_check_host(shown, tls->host, 0, 0, NULL) == 1);
    X509_free(shown);
    return right;
}

static bool tls_begin(struct cancel_link *link)
{
    struct cancel_tls *tls = &link->target.tls; /* OpenSSL's macro takes no const text */
    link->ssl = SSL_new(tls->context);
    if (link->ssl == NULL || SSL_set_fd(link->ssl, link->fd) != 1)
        return false;
    SSL_set_verify(link->ssl, SSL_VERIFY_NONE, NULL); /* judged afterwards, by peer_is_right() */
    if (tls->host[0] != '\0' && !is_address(tls->host))
        (void)SSL_set_tlsext_host_name(link->ssl, tls->host);
    SSL_set_connect_state(link->ssl);
    return true;
}

/* ---- steps ---- */

static enum link_step step_of_ssl(const struct cancel_link *link, int n)
{
    const int error = SSL_get_error(link->ssl, n);
    if (error == SSL_ERROR_WANT_READ)
        return STEP_READ;
    return error == SSL_ERROR_WANT_WRITE ? STEP_WRITE : STEP_OVER;
}

static enum link_step step_of_errno(enum link_step again)
{
    return errno == EAGAIN || errno == EINTR ? again : STEP_OVER;
}

static enum link_step connected(struct cancel_link *link)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
        return STEP_OVER;
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof(peer);
    if (getpeername(link->fd, (struct sockaddr *)&peer, &peer_size) != 0)
        return errno == ENOTCONN ? STEP_WRITE : STEP_OVER; /* woken too early */
    link->state = link->target.tls.context != NULL ? LINK_ASKING : LINK_SENDING;
    return STEP_NEXT;
}

static enum link_step ask(struct cancel_link *link)
{
    static const uint8_t request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}; /* SSLRequest */
    while (link->sent < sizeof(request)) {
        const ssize_t n =
            send(link->fd, request + link->sent, sizeof(request) - link->sent, MSG_NOSIGNAL);
        if (n < 0)
            return step_of_errno(STEP_WRITE);
        link->sent += (uint32_t)n;
    }
    uint8_t answer;
    const ssize_t n = recv(link->fd, &answer, 1, 0);
    if (n < 0)
        return step_of_errno(STEP_READ);
    /* never in clear what the session keeps secret */
    if (n == 0 || answer != 'S' || !tls_begin(link))
        return STEP_OVER;
    link->sent = 0;
    link->state = LINK_SHAKING;
    return STEP_NEXT;
}

static enum link_step shake(struct cancel_link *link)
{
    const int n = SSL_do_handshake(link->ssl);
    if (n != 1)
        return step_of_ssl(link, n);
    if (!peer_is_right(link)) {
        log_warning("cancel_not_sent", "reason=\"the server shows another certificate, which "
                                       "does not verify\"");
        return STEP_OVER;
    }
    link->state = LINK_SENDING;
    return STEP_NEXT;
}

static enum link_step send_request(struct cancel_link *link)
{
    const struct cancel_target *t = &link->target;
    link->has_left = true; /* what TLS has taken may leave, though it says it has not */
    while (link->sent < t->packet_size) {
        const uint8_t *from = t->packet + link->sent;
        const uint32_t size = t->packet_size - link->sent;
        const ssize_t n = link->ssl != NULL ? SSL_write(link->ssl, from, (int)size)
                                            : send(link->fd, from, size, MSG_NOSIGNAL);
        if (n <= 0 && link->ssl != NULL)
            return step_of_ssl(link, (int)n);
        if (n < 0)
            return step_of_errno(STEP_WRITE);
        link->sent += (uint32_t)n;
    }
    link->state = LINK_WAITING;
    return STEP_NEXT;
}

/* Did the other side end the connection, or did the network only lose it? A server that could not
 * be reached any more may still have the request in its hands. */
static bool is_hang_up(int error)
{
    return error != ETIMEDOUT && error != EHOSTUNREACH && error != ENETUNREACH;
}

/* Until it hangs up; it has nothing to say, and nothing that it says counts. */
static enum link_step wait_for_end(struct cancel_link *link)
{
    uint8_t buf[256];
    enum link_step next = STEP_READ;
    for (int i = 0; i < 16 && next == STEP_READ; i++) {
        errno = 0;
        const ssize_t n = link->ssl != NULL ? SSL_read(link->ssl, buf, sizeof(buf))
                                            : recv(link->fd, buf, sizeof(buf), 0);
        if (n > 0)
            continue;
        link->hung_up = is_hang_up(errno);
        next = link->ssl != NULL ? step_of_ssl(link, (int)n)
               : n < 0           ? step_of_errno(STEP_READ)
                                 : STEP_OVER;
        break;
    }
    return next;
}

static enum link_step step(struct cancel_link *link)
{
    ERR_clear_error(); /* else another connection's error would be taken for this one's */
    switch ((enum link_state)link->state) {
    case LINK_CONNECTING:
        return connected(link);
    case LINK_ASKING:
        return ask(link);
    case LINK_SHAKING:
        return shake(link);
    case LINK_SENDING:
        return send_request(link);
    case LINK_WAITING:
        break;
    }
    return wait_for_end(link);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct cancel_link *link = poll->data;
    (void)status; /* the calls find out by themselves what is wrong */
    (void)events;
    enum link_step next;
    do
        next = step(link);
    while (next == STEP_NEXT);
    if (next == STEP_OVER) {
        ended(link);
        return;
    }
    const int r = uv_poll_start(poll, next == STEP_READ ? UV_READABLE : UV_WRITABLE, on_event);
    assert(r == 0);
}

struct cancel_link *cancel_link_open(uv_loop_t *loop, struct cancel_target *target,
                                     void (*on_ended)(void *arg, bool may_come), void *arg)
{
    struct cancel_link *link = calloc(1, sizeof(*link));
    const struct sockaddr *address = (const struct sockaddr *)&target->address;
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    if (fd >= 0 && address->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const bool begun = link != NULL && fd >= 0 &&
                       (connect(fd, address, target->address_size) == 0 || errno == EINPROGRESS) &&
                       uv_poll_init(loop, &link->poll, fd) == 0;
    if (!begun) {
        const int error = errno;
        if (fd >= 0)
            (void)close(fd);
        free(link);
        errno = error;
        return NULL;
    }
    link->target = *target;
    target->tls = (struct cancel_tls){0};
    link->fd = fd;
    link->on_ended = on_ended;
    link->arg = arg;
    link->poll.data = link;
    const int r = uv_poll_start(&link->poll, UV_WRITABLE, on_event);
    assert(r == 0);
    return link;
}
