/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls_bytes: see the header. OpenSSL's queue of errors belongs to the thread: it is empty in
 * front of each call, else the error of one connection would be taken for another's.
 */
#include "proxy_tls_bytes.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/* What a call that did not succeed means, in errno. False: the peer has ended the connection. */
static bool failure(const SSL *ssl, int result)
{
    const int error = SSL_get_error(ssl, result);
    if (error == SSL_ERROR_ZERO_RETURN)
        return false;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return true;
}

/* To look is much cheaper than to empty what is empty: OpenSSL wipes the whole ring. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- sending ---- */

static ssize_t send_one(SSL *ssl, const uint8_t *base, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        size_t taken = 0;
        forget_errors();
        const int r = SSL_write_ex(ssl, base + sent, size - sent, &taken);
        if (r != 1) {
            if (sent > 0)
                break;
            if (!failure(ssl, r))
                errno = EIO;
            return -1;
        }
        sent += taken;
    }
    return (ssize_t)sent;
}

/* Where one is in a row of spans. */
struct cursor {
    const struct proto_span *spans;
    uint32_t count;
    uint32_t at;
    size_t offset; /* in spans[at] */
};

/* The next piece: as it lies there where that makes whole records, else gathered. */
static struct proto_span next_piece(struct cursor *c, uint8_t *gather)
{
    const struct proto_span *first = &c->spans[c->at];
    const size_t left = first->size - c->offset;
    if (left >= TLS_RECORD_SIZE || c->at + 1 == c->count) {
        const size_t size = c->at + 1 == c->count ? left : left - left % TLS_RECORD_SIZE;
        const struct proto_span piece = {first->base + c->offset, size};
        c->offset += size;
        if (c->offset == first->size) {
            c->at++;
            c->offset = 0;
        }
        return piece;
    }
    size_t size = 0;
    while (c->at < c->count && size < TLS_RECORD_SIZE) {
        const struct proto_span *span = &c->spans[c->at];
        const size_t room = TLS_RECORD_SIZE - size;
        const size_t here = span->size - c->offset;
        const size_t taken = here < room ? here : room;
        if (taken > 0)
            memcpy(gather + size, span->base + c->offset, taken);
        size += taken;
        c->offset += taken;
        if (c->offset == span->size) {
            c->at++;
            c->offset = 0;
        }
    }
    return (struct proto_span){gather, size};
}

ssize_t tls_bytes_send(SSL *ssl, const struct proto_span *spans, uint32_t count, uint8_t *gather)
{
    struct cursor cursor = {.spans = spans, .count = count};
    size_t sent = 0;
    while (cursor.at < count) {
        const struct proto_span piece = next_piece(&cursor, gather);
        if (piece.size == 0)
            continue;
        const ssize_t n = send_one(ssl, piece.base, piece.size);
        if (n < 0) {
            if (sent > 0 && errno == EAGAIN)
                break;
            return -1;
        }
        sent += (size_t)n;
        if ((size_t)n < piece.size)
            break;
    }
    return (ssize_t)sent;
}

/* ---- receiving ---- */

ssize_t tls_bytes_receive(SSL *ssl, uint8_t *buf, size_t size, bool *ret_more)
{
    size_t received = 0;
    *ret_more = false;
    while (received < size) {
        size_t taken = 0;
        forget_errors();
        const int r = SSL_read_ex(ssl, buf + received, size - received, &taken);
        if (r != 1) {
            const bool goes_on = failure(ssl, r);
            if (received == 0)
                return goes_on ? -1 : 0;
            *ret_more = !goes_on || errno != EAGAIN; /* the next call finds it again */
            return (ssize_t)received;
        }
        received += taken;
        if (SSL_has_pending(ssl) == 0) /* what comes next, the descriptor tells */
            return (ssize_t)received;
    }
    *ret_more = true;
    return (ssize_t)received;
}

void tls_bytes_describe(const SSL *ssl, char *buf, size_t buf_size)
{
    const bool on = ssl != NULL && SSL_is_init_finished(ssl);
    (void)snprintf(buf, buf_size, "%s%s%s", on ? SSL_get_version(ssl) : "", on ? "/" : "",
                   on ? SSL_get_cipher_name(ssl) : "");
}

void tls_bytes_end(SSL *ssl)
{
    ERR_clear_error();
    (void)SSL_shutdown(ssl);
    ERR_clear_error();
}
