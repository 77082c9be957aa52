/* SPDX-License-Identifier: PostgreSQL
 *
 * test_tls_bytes: two ends of TLS over a pair of sockets that hold little. Without certificates:
 * the key exchange is anonymous.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy_tls_bytes.h"

enum { BUF_SIZE = 1 << 20 };

struct pair {
    int fds[2];
    SSL_CTX *ctx[2];
    SSL *ssl[2];
    uint8_t gather[TLS_RECORD_SIZE];
    uint8_t out[BUF_SIZE], in[BUF_SIZE];
};

static SSL *make_end(struct pair *p, int end)
{
    p->ctx[end] = SSL_CTX_new(end == 0 ? TLS_server_method() : TLS_client_method());
    assert_int_equal(SSL_CTX_set_cipher_list(p->ctx[end], "ADH-AES128-GCM-SHA256:@SECLEVEL=0"), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(p->ctx[end], TLS1_2_VERSION), 1);
    (void)SSL_CTX_set_dh_auto(p->ctx[end], 1);
    (void)SSL_CTX_set_mode(p->ctx[end], SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(p->ctx[end], 1);
    SSL *ssl = SSL_new(p->ctx[end]);
    assert_int_equal(SSL_set_fd(ssl, p->fds[end]), 1);
    return ssl;
}

static int begin(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    assert_non_null(p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), 0);
    for (int end = 0; end < 2; end++) {
        const int size = 8192;
        assert_int_equal(setsockopt(p->fds[end], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        p->ssl[end] = make_end(p, end);
    }
    for (int i = 0; i < 20; i++) {
        (void)SSL_accept(p->ssl[0]);
        (void)SSL_connect(p->ssl[1]);
    }
    assert_true(SSL_is_init_finished(p->ssl[0]) && SSL_is_init_finished(p->ssl[1]));
    for (int i = 0; i < BUF_SIZE; i++)
        p->out[i] = (uint8_t)(i * 7 + i / 251);
    *state = p;
    return 0;
}

static int end(void **state)
{
    struct pair *p = *state;
    for (int i = 0; i < 2; i++) {
        SSL_free(p->ssl[i]);
        SSL_CTX_free(p->ctx[i]);
        (void)close(p->fds[i]);
    }
    free(p);
    return 0;
}

static void nothing_there_is_eagain(void **state)
{
    struct pair *p = *state;
    bool more = true;
    errno = 0;
    assert_int_equal(tls_bytes_receive(p->ssl[1], p->in, BUF_SIZE, &more), -1);
    assert_int_equal(errno, EAGAIN);
    assert_false(more);
}

static void small_spans_leave_as_one_record(void **state)
{
    struct pair *p = *state;
    struct proto_span spans[100];
    for (size_t i = 0; i < 100; i++)
        spans[i] = (struct proto_span){&p->out[i * 50], i % 10 == 0 ? 0 : 50};
    assert_int_equal(tls_bytes_send(p->ssl[0], spans, 100, p->gather), 90 * 50);
    size_t taken = 0;
    assert_int_equal(SSL_read_ex(p->ssl[1], p->in, BUF_SIZE, &taken), 1);
    assert_int_equal(taken, 90 * 50); /* one call never returns bytes of two records */
    assert_int_equal(SSL_has_pending(p->ssl[1]), 0);
    for (int i = 0, at = 0; i < 100; i++) {
        assert_memory_equal(p->in + at, spans[i].base, spans[i].size);
        at += (int)spans[i].size;
    }
}

/* Sends all of it as the shell does: what is not taken is copied to another place and comes first
 * the next time, with more behind it. Returns how often nothing was taken. */
static int send_and_receive(struct pair *p, const struct proto_span *spans, uint32_t count,
                            size_t size)
{
    uint8_t *kept = malloc(BUF_SIZE);
    assert_non_null(kept);
    ssize_t n = tls_bytes_send(p->ssl[0], spans, count, p->gather);
    size_t sent = n > 0 ? (size_t)n : 0;
    size_t received = 0;
    int refused = 0;
    while (received < size) {
        bool more = true;
        while (more) {
            n = tls_bytes_receive(p->ssl[1], p->in + received, 4000, &more);
            if (n < 0)
                assert_int_equal(errno, EAGAIN);
            else
                received += (size_t)n;
        }
        if (sent == size)
            continue;
        uint8_t *moved = malloc(BUF_SIZE);
        assert_non_null(moved);
        memcpy(moved, p->out + sent, size - sent);
        memset(kept, 0xee, BUF_SIZE);
        free(kept);
        kept = moved;
        const struct proto_span rest = {kept, size - sent};
        n = tls_bytes_send(p->ssl[0], &rest, 1, p->gather);
        assert_true(n > 0 || errno == EAGAIN);
        refused += n < 0 ? 1 : 0;
        sent += n > 0 ? (size_t)n : 0;
    }
    free(kept);
    assert_int_equal(received, size);
    assert_memory_equal(p->in, p->out, size);
    return refused;
}

static void what_was_not_taken_may_come_from_elsewhere(void **state)
{
    struct pair *p = *state;
    /* of every size, next to each other in `out` */
    static const size_t sizes[] = {1, 16383, 16384, 16385, 40000, 3, 0, 70000, 16384, 5, 100000};
    struct proto_span spans[sizeof sizes / sizeof sizes[0]];
    size_t size = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        spans[i] = (struct proto_span){p->out + size, sizes[i]};
        size += sizes[i];
    }
    (void)send_and_receive(p, spans, sizeof sizes / sizeof sizes[0], size);
    const struct proto_span whole = {p->out, BUF_SIZE - 1};
    assert_true(send_and_receive(p, &whole, 1, BUF_SIZE - 1) > 0); /* the sockets were full */
}

static void the_end_of_a_peer_is_zero_behind_its_last_bytes(void **state)
{
    struct pair *p = *state;
    const struct proto_span word = {p->out, 5};
    bool more = false;
    assert_int_equal(tls_bytes_send(p->ssl[0], &word, 1, p->gather), 5);
    tls_bytes_end(p->ssl[0]);
    assert_int_equal(tls_bytes_receive(p->ssl[1], p->in, BUF_SIZE, &more), 5);
    assert_true(more); /* no descriptor would tell of it */
    assert_int_equal(tls_bytes_receive(p->ssl[1], p->in, BUF_SIZE, &more), 0);
    assert_false(more);
}

static void an_end_without_goodbye_is_an_error(void **state)
{
    struct pair *p = *state;
    bool more = false;
    (void)shutdown(p->fds[0], SHUT_RDWR);
    assert_int_equal(tls_bytes_receive(p->ssl[1], p->in, BUF_SIZE, &more), -1);
    assert_int_equal(errno, EIO);
    const struct proto_span word = {p->out, 5};
    errno = 0;
    assert_int_equal(tls_bytes_send(p->ssl[1], &word, 1, p->gather), -1);
    assert_int_equal(errno, EIO);
}

static void what_did_not_fit_is_told_of(void **state)
{
    struct pair *p = *state;
    const struct proto_span word = {p->out, 3000};
    bool more = false;
    assert_int_equal(tls_bytes_send(p->ssl[0], &word, 1, p->gather), 3000);
    assert_int_equal(tls_bytes_receive(p->ssl[1], p->in, 1000, &more), 1000);
    assert_true(more);
    assert_int_equal(tls_bytes_receive(p->ssl[1], p->in + 1000, 5000, &more), 2000);
    assert_false(more);
    assert_memory_equal(p->in, p->out, 3000);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(nothing_there_is_eagain),
        STORY(small_spans_leave_as_one_record),
        STORY(what_was_not_taken_may_come_from_elsewhere),
        STORY(the_end_of_a_peer_is_zero_behind_its_last_bytes),
        STORY(an_end_without_goodbye_is_an_error),
        STORY(what_did_not_fit_is_told_of),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the proxy does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
