/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_client_io: see the header.
 *
 * Happy path: client_io_start_tls -> (a turn of the queue, the descriptor, a turn) -> opened ->
 * client_readable.
 * Failure modes: what is wrong with a handshake ends in client_close(), logged with OpenSSL's
 * reason; client_login_timeout covers handshakes that do not go on.
 */
#include "proxy_client_io.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "proxy_log.h"
#include "proxy_tls_bytes.h"
#include "proxy_tls_socket.h"

enum {
    KEEPERS_MAX = 128,   /* a worker's; a keeper has two buffers of 17 KB */
    KEEPS_STATEMENTS = 4 /* so many have to come first: not every connection lives for long */
};
#define KEEPS_QUIET_NS UINT64_C(1000000000)

enum core_tls client_io_offer(const struct client *c)
{
    if (c->worker->tls == NULL || c->is_unix)
        return CORE_TLS_NONE;
    return c->worker->config->switchgear.client_tls_sslmode >= CONFIG_SSL_REQUIRE
               ? CORE_TLS_REQUIRED
               : CORE_TLS_OFFERED;
}

/* ---- the queue ---- */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* it only keeps the loop from sleeping */
}

void client_io_handshake_ready(struct client *c)
{
    struct worker *w = c->worker;
    assert(c->in_handshake);
    if (c->in_turn) { /* told of once more: from now on it would be, in every turn */
        c->tls_wants = 0;
        client_events_update(c);
        return;
    }
    c->in_turn = true;
    TAILQ_INSERT_TAIL(&w->handshakes, c, turn);
    (void)uv_idle_start(&w->turns, on_idle);
}

void client_later(struct client *c)
{
    struct worker *w = c->worker;
    if (c->in_later)
        return;
    assert(!c->in_turn); /* its handshake is over */
    c->in_later = true;
    TAILQ_INSERT_TAIL(&w->later, c, turn);
    (void)uv_idle_start(&w->turns, on_idle);
}

static void forget_later(struct client *c)
{
    if (c->in_later)
        TAILQ_REMOVE(&c->worker->later, c, turn);
    c->in_later = false;
}

/* All that may have been put off; each of these does nothing where there is nothing to do. */
static void later_step(struct client *c)
{
    struct worker *w = c->worker;
    const uint64_t now_ns = uv_hrtime();
    w->core.work = 0;
    forget_later(c);
    if (c->core.backend != NULL && c->core.backend->hold != NULL)
        worker_apply(w, c, core_server_data(c->core.backend, (struct proto_span){0}, now_ns),
                     now_ns);
    if (!c->closing && c->core.client_pending < WORKER_OUT_HIGH) /* else when it has taken that */
        worker_apply(w, c, core_resume(&c->core, now_ns), now_ns);
    if (!c->closing && client_is_spooled(c))
        worker_apply(w, c, core_client_drained(&c->core, now_ns), now_ns);
}

void client_later_now(struct client *c)
{
    while (c->in_later)
        later_step(c);
}

/* Those who are in the queue now, as far as one share goes; each may come back to its end. */
static void later_turn(struct worker *w)
{
    uint32_t count = 0;
    uint64_t work = 0;
    struct client *c;
    TAILQ_FOREACH (c, &w->later, turn)
        count++;
    for (; count > 0 && work <= w->core.work_share; count--) {
        c = TAILQ_FIRST(&w->later);
        if (c == NULL)
            return;
        later_step(c);
        work += w->core.work;
    }
}

/* ---- buffers ---- */

/* OpenSSL allocates a buffer for each record that it reads or writes and frees it again, unless it
 * is told to keep them: that is for clients who are busy. */
static void buffers_keep(struct client *c)
{
    if (c->worker->tls_keepers >= KEEPERS_MAX)
        return;
    c->worker->tls_keepers++;
    c->keeps_buffers = true;
    (void)SSL_clear_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
}

static void buffers_release(struct client *c)
{
    c->worker->tls_keepers--;
    c->keeps_buffers = false;
    (void)SSL_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_free_buffers(c->ssl); /* what is in use yet goes after its record */
}

void client_io_rest(struct client *c, uint64_t now_ns)
{
    if (c->keeps_buffers && now_ns > c->quiet_since_ns + KEEPS_QUIET_NS)
        buffers_release(c);
}

void client_io_forget(struct client *c)
{
    if (c->keeps_buffers)
        buffers_release(c);
    forget_later(c);
    if (!c->in_turn)
        return;
    c->in_turn = false;
    TAILQ_REMOVE(&c->worker->handshakes, c, turn);
}

/* ---- the handshake ---- */

bool client_io_start_tls(struct client *c, struct proto_span early)
{
    struct worker *w = c->worker;
    ERR_clear_error();
    SSL *ssl = w->tls != NULL ? SSL_new(w->tls) : NULL;
    BIO *first = NULL;
    bool good = ssl != NULL && tls_socket_set(ssl, c->fd);
    if (good && early.size > 0) { /* read from here first, then from the descriptor */
        first = BIO_new(BIO_s_mem());
        good = first != NULL && BIO_write(first, early.base, (int)early.size) == (int)early.size;
    }
    if (!good) {
        BIO_free(first);
        SSL_free(ssl);
        return false;
    }
    if (first != NULL) {
        (void)BIO_set_mem_eof_return(first, -1);
        SSL_set0_rbio(ssl, first);
        c->is_direct_tls = true;
        c->core.tls = CORE_TLS_ON;
    }
    SSL_set_accept_state(ssl);
    c->ssl = ssl;
    c->in_handshake = true;
    c->tls_wants = UV_READABLE;
    if (first != NULL)
        client_io_handshake_ready(c);
    else
        client_events_update(c);
    return true;
}

/* The bytes that were there first are used up: true when the descriptor takes their place now. */
static bool leave_early_bytes(SSL *ssl)
{
    BIO *descriptor = SSL_get_wbio(ssl);
    if (SSL_get_rbio(ssl) == descriptor)
        return false;
    (void)BIO_up_ref(descriptor);
    SSL_set0_rbio(ssl, descriptor);
    return true;
}

static void failed(struct client *c, const char *reason)
{
    char address[INET6_ADDRSTRLEN];
    client_address_text(c, address, sizeof(address));
    log_info("tls_handshake_failed", "address=%s port=%u reason=\"%s\"", address, c->port, reason);
    shared_add(&c->worker->stats.tls_failures, 1);
    client_close(c, "TLS handshake failed");
}

static const char *failure_text(unsigned long error)
{
    if (error == 0)
        return "the client closed the connection";
    const char *reason = ERR_reason_error_string(error);
    return reason != NULL ? reason : "unknown error";
}

/* Why a finished handshake is not good enough; NULL: it is. */
static const char *objection(const struct client *c)
{
    const uint8_t *protocol = NULL;
    unsigned int size = 0;
    SSL_get0_alpn_selected(c->ssl, &protocol, &size);
    if (c->is_direct_tls && size == 0)
        return "a client that begins with TLS has to name the protocol postgresql (ALPN)";
    /* a ticket proves that the certificate was good once */
    const X509 *peer = SSL_session_reused(c->ssl) == 1 ? SSL_get0_peer_certificate(c->ssl) : NULL;
    if (peer != NULL && X509_cmp_current_time(X509_get0_notAfter(peer)) < 0)
        return "certificate has expired since it was shown";
    return NULL;
}

static void opened(struct client *c)
{
    struct worker *w = c->worker;
    const char *wrong = objection(c);
    c->in_handshake = false;
    if (wrong != NULL) {
        failed(c, wrong);
        return;
    }
    shared_add(&w->stats.tls_handshakes, 1);
    if (SSL_session_reused(c->ssl) == 1)
        shared_add(&w->stats.tls_resumed, 1);
    client_events_update(c);
    if (SSL_has_pending(c->ssl) != 0) /* its next words came along with its last one */
        client_readable(c);
}

static void handshake_step(struct client *c)
{
    ERR_clear_error();
    int r = SSL_do_handshake(c->ssl);
    while (r != 1 && SSL_get_error(c->ssl, r) == SSL_ERROR_WANT_READ && leave_early_bytes(c->ssl))
        r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        c->tls_wants = 0;
        (void)leave_early_bytes(c->ssl);
        opened(c);
        return;
    }
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        c->tls_wants = UV_READABLE;
        client_events_update(c);
        return;
    case SSL_ERROR_WANT_WRITE:
        c->tls_wants = UV_WRITABLE;
        client_events_update(c);
        return;
    default:
        failed(c, failure_text(ERR_peek_error()));
    }
}

void client_io_turn(struct worker *w)
{
    struct client *c = TAILQ_FIRST(&w->handshakes);
    if (c != NULL) {
        client_io_forget(c);
        handshake_step(c);
    }
    later_turn(w);
    if (TAILQ_EMPTY(&w->handshakes) && TAILQ_EMPTY(&w->later))
        (void)uv_idle_stop(&w->turns);
}

/* ---- bytes ---- */

ssize_t client_io_send_tls(struct client *c, const struct proto_span *spans, uint32_t count)
{
    assert(!c->in_handshake);
    const ssize_t n = tls_bytes_send(c->ssl, spans, count, c->worker->gather);
    if (n < 0 && errno != EAGAIN) {
        (void)shutdown(c->fd, SHUT_RDWR); /* so that the descriptor tells of its end */
        errno = EPIPE;
    }
    return n;
}

ssize_t client_io_receive_tls(struct client *c, uint8_t *buf, size_t size)
{
    assert(!c->in_handshake);
    if (!c->keeps_buffers && c->core.statements >= KEEPS_STATEMENTS)
        buffers_keep(c);
    return tls_bytes_receive(c->ssl, buf, size, &c->unread);
}

void client_io_end(struct client *c)
{
    if (c->ssl == NULL)
        return;
    if (!c->in_handshake && c->out == NULL) /* not into the middle of a record */
        tls_bytes_end(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
}
