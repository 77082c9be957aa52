/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls_socket: see the header. One BIO serves both directions, as with SSL_set_fd().
 */
#include "proxy_tls_socket.h"

#include <errno.h>
#include <sys/socket.h>

static BIO_METHOD *method;

static int descriptor(BIO *bio)
{
    return (int)(intptr_t)BIO_get_data(bio);
}

static bool is_temporary(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static int receive(BIO *bio, char *buf, size_t size, size_t *ret_size)
{
    const ssize_t n = recv(descriptor(bio), buf, size, 0);
    BIO_clear_retry_flags(bio);
    if (n > 0) {
        *ret_size = (size_t)n;
        return 1;
    }
    if (n < 0 && is_temporary())
        BIO_set_retry_read(bio);
    else if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return n < 0 ? -1 : 0;
}

static int transmit(BIO *bio, const char *bytes, size_t size, size_t *ret_size)
{
    const ssize_t n = send(descriptor(bio), bytes, size, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (n > 0) {
        *ret_size = (size_t)n;
        return 1;
    }
    if (n < 0 && is_temporary())
        BIO_set_retry_write(bio);
    return -1;
}

static long control(BIO *bio, int command, long number, void *argument)
{
    (void)number;
    (void)argument;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1; /* it holds nothing back */
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

bool tls_socket_init(void)
{
    if (method != NULL)
        return true;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    return method != NULL && BIO_meth_set_read_ex(method, receive) == 1 &&
           BIO_meth_set_write_ex(method, transmit) == 1 && BIO_meth_set_ctrl(method, control) == 1;
}

bool tls_socket_set(SSL *ssl, int fd)
{
    BIO *bio = BIO_new(method);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return true;
}
