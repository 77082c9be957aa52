/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_libpq: see the header.
 */
#include "proxy_libpq.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool libpq_watch_start(struct libpq_watch *w, const PGconn *conn, int events)
{
    if (w->poll == NULL) {
        const int fd = PQsocket(conn);
        uv_poll_t *poll = malloc(sizeof(*poll));
        if (fd < 0 || poll == NULL || uv_poll_init(w->loop, poll, fd) != 0) {
            free(poll);
            return false;
        }
        poll->data = w->arg;
        w->poll = poll;
    }
    return uv_poll_start(w->poll, events, w->on_ready) == 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

void libpq_watch_end(struct libpq_watch *w)
{
    if (w->poll == NULL)
        return;
    (void)uv_poll_stop(w->poll);
    w->poll->data = NULL;
    uv_close((uv_handle_t *)w->poll, on_poll_closed);
    w->poll = NULL;
}

bool libpq_watch_flush(struct libpq_watch *w, PGconn *conn)
{
    const int left = PQflush(conn);
    return left >= 0 &&
           libpq_watch_start(w, conn, left > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

void libpq_keyword_add(struct libpq_keywords *k, const char *name, const char *value)
{
    if (value == NULL)
        return;
    assert(k->count < LIBPQ_KEYWORDS_MAX);
    k->names[k->count] = name;
    k->values[k->count++] = value;
    k->names[k->count] = k->values[k->count] = NULL;
}

void libpq_keywords_add(struct libpq_keywords *k, const PQconninfoOption *options)
{
    for (const PQconninfoOption *o = options;
         o != NULL && o->keyword != NULL && k->count < LIBPQ_OPTIONS_MAX; o++)
        libpq_keyword_add(k, o->keyword, o->val);
}

const char *libpq_keyword_find(const struct libpq_keywords *k, const char *name)
{
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->names[i], name) == 0)
            return k->values[i];
    return NULL;
}

void libpq_sqlstate(const char *message, char ret[6])
{
    static const char allowed[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    ret[0] = '\0';
    for (const char *p = message; (p = strstr(p, ":  ")) != NULL; p += 3) {
        if (strspn(p + 3, allowed) == 5 && p[8] == ':') {
            memcpy(ret, p + 3, 5);
            ret[5] = '\0';
            return;
        }
    }
}

void libpq_reason(const char *message, char *ret, size_t size)
{
    static const char *const prefixes[] = {" failed: ", "fe_sendauth: "};
    char sqlstate[6];
    const char *text = message;
    libpq_sqlstate(message, sqlstate);
    if (sqlstate[0] != '\0') {
        char code[12];
        (void)snprintf(code, sizeof(code), ":  %s: ", sqlstate);
        const char *found = strstr(text, code);
        text = found != NULL ? found + strlen(code) : text;
    }
    for (size_t i = 0; sqlstate[0] == '\0' && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        const char *found = strstr(text, prefixes[i]);
        text = found != NULL ? found + strlen(prefixes[i]) : text;
    }
    (void)snprintf(ret, size, "%.*s", (int)strcspn(text, "\n"), text);
}

const char *libpq_errno(const char *message)
{
    static const int known[] = {ECONNREFUSED, ECONNRESET, ETIMEDOUT,     EHOSTUNREACH, ENETUNREACH,
                                EHOSTDOWN,    ENETDOWN,   EPIPE,         ENOENT,       EACCES,
                                EPERM,        EMFILE,     ENFILE,        ENOBUFS,      ENOMEM,
                                ECONNABORTED, ENOTCONN,   EADDRNOTAVAIL, ENOTDIR,      ELOOP,
                                EAGAIN,       EINVAL,     ENOTSOCK,      EIO,          EPROTO};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strstr(message, strerror(known[i])) != NULL)
            return strerrorname_np(known[i]);
    return "";
}

enum libpq_blame libpq_blame(const PGconn *conn, const char *message)
{
    static const int ours[] = {EMFILE, ENFILE, EADDRNOTAVAIL, ENOBUFS};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strstr(message, strerror(ours[i])) != NULL)
            return LIBPQ_OURS;
    if (PQconnectionNeedsPassword(conn))
        return LIBPQ_NO_PASSWORD;
    return PQconnectionUsedPassword(conn) ? LIBPQ_LOGIN : LIBPQ_NODE;
}

bool libpq_needs_lookup(const char *host)
{
    struct in6_addr address;
    return host[0] != '\0' && host[0] != '/' && host[0] != '@' &&
           inet_pton(AF_INET, host, &address) != 1 && inet_pton(AF_INET6, host, &address) != 1;
}
