/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_http: metrics, health and the status page, by libmicrohttpd on the supervisor's loop.
 *
 * Happy path: libmicrohttpd keeps its sockets in an epoll descriptor of its own; that is watched by
 * uv_poll, a uv_timer stands for its timeouts, and both call MHD_run().
 * Failure modes: a port that is taken is an error of http_start(); slow clients are closed by
 * libmicrohttpd, and late ones by http_peers; when memory runs out the connection is closed.
 */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_health.h"
#include "proxy_http_host.h"
#include "proxy_http_page.h"
#include "proxy_http_peers.h"
#include "proxy_log.h"
#include "proxy_metrics.h"
#include "proxy_supervisor.h"

enum { HTTP_TIMEOUT_S = 15, HTTP_BACKLOG = 64 };

struct http {
    struct supervisor *supervisor;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    uint32_t open_handles;
    uint64_t now_ms;
    struct http_peers *peers;
};

/* ---- answers ---- */

struct answer {
    unsigned status;
    const char *type;
    char *body; /* malloc'd; NULL: no memory */
    size_t size;
};

static bool wants_openmetrics(struct MHD_Connection *connection)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    return accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
}

static void answer_text(struct answer *a, unsigned status, const char *type, char *body)
{
    *a = (struct answer){.status = status, .type = type, .body = body};
    a->size = body != NULL ? strlen(body) : 0;
}

static void answer_metrics(struct answer *a, const struct supervisor *s, bool openmetrics)
{
    struct text text = {0};
    metrics_write(s, openmetrics, &text);
    if (text.failed)
        text_deinit(&text);
    *a = (struct answer){.status = MHD_HTTP_OK,
                         .type = openmetrics ? METRICS_TYPE_OPENMETRICS : METRICS_TYPE_CLASSIC,
                         .body = text.base,
                         .size = text.size};
}

/* What tells nothing answers whoever asks: a load balancer's own Host is no name of ours. */
static bool may_ask(const struct supervisor *s, struct MHD_Connection *connection, const char *path)
{
    const struct config_switchgear *c = &s->proxy->config->switchgear;
    return strcmp(path, "/health") == 0 || strcmp(path, "/ready") == 0 ||
           http_host_allowed(
               MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST),
               c->http_hosts, c->http_listen);
}

static void answer(struct answer *a, const struct supervisor *s, struct MHD_Connection *connection,
                   const char *path)
{
    static const char json[] = "application/json";
    if (strcmp(path, "/metrics") == 0) {
        answer_metrics(a, s, wants_openmetrics(connection));
    } else if (strcmp(path, "/health") == 0) {
        answer_text(a, MHD_HTTP_OK, json, health_json(s));
    } else if (strcmp(path, "/health/detailed") == 0) {
        answer_text(a, MHD_HTTP_OK, json, health_detailed_json(s));
    } else if (strcmp(path, "/ready") == 0) {
        const bool ready = health_of(s) != HEALTH_UNHEALTHY && !s->stopping;
        answer_text(a, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, json,
                    health_ready_json(ready));
    } else if (strcmp(path, "/") == 0) {
        answer_text(a, MHD_HTTP_OK, "text/html; charset=utf-8", strdup(http_page));
    } else {
        answer_text(a, MHD_HTTP_NOT_FOUND, "text/plain", strdup("not found\n"));
    }
}

static void add_headers(struct MHD_Response *response, const struct answer *a)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; style-src 'unsafe-inline'; "
                            "script-src 'unsafe-inline'; connect-src 'self'");
    if (a->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
}

/* MHD_NO closes the connection. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, const struct answer *a)
{
    if (a->body == NULL)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->size, a->body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(a->body);
        return MHD_NO;
    }
    add_headers(response, a);
    const enum MHD_Result result = MHD_queue_response(connection, a->status, response);
    MHD_destroy_response(response);
    return result;
}

/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    static int seen;
    struct http *h = arg;
    const bool known =
        strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    struct answer a;
    (void)version;
    (void)upload;
    /* An answer to the first call, which has the headers only, would end the connection. */
    if (known && (*request == NULL || *upload_size > 0)) {
        *request = &seen;
        *upload_size = 0;
        return MHD_YES;
    }
    http_peers_answered(h->peers, connection);
    if (known && may_ask(h->supervisor, connection, path))
        answer(&a, h->supervisor, connection, path);
    else if (known)
        answer_text(&a, MHD_HTTP_MISDIRECTED_REQUEST, "text/plain",
                    strdup("this Host is no name of this server: see http_hosts\n"));
    else
        answer_text(&a, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", strdup("GET or HEAD\n"));
    return send_answer(connection, &a);
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer);

static void run(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    h->now_ms = uv_now(h->supervisor->loop);
    uint64_t next_ms = http_peers_sweep(h->peers);
    MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &timeout_ms) == MHD_YES && timeout_ms < next_ms)
        next_ms = timeout_ms;
    if (next_ms > HTTP_REQUEST_MS) /* for those that came just now */
        next_ms = HTTP_REQUEST_MS;
    uv_timer_start(&h->timer, on_timer, next_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* ---- start and stop ---- */

static int listen_on(const struct addrinfo *address)
{
    const int on = 1;
    const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, HTTP_BACKLOG) != 0) {
        const int error = -errno; /* libuv's errors are negative errno */
        close(fd);
        return error;
    }
    return fd;
}

/* A descriptor, or a libuv error. */
static int listen_at(const char *text)
{
    struct config_address address;
    struct addrinfo *found = NULL;
    char port[8];
    if (!config_address_parse(text, &address) || address.is_unix)
        return UV_EINVAL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    snprintf(port, sizeof port, "%u", address.port);
    if (getaddrinfo(*address.host != 0 ? address.host : NULL, port, &hints, &found) != 0)
        return UV_EADDRNOTAVAIL;
    const int fd = listen_on(found);
    freeaddrinfo(found);
    return fd;
}

static int watch(struct http *h)
{
    uv_loop_t *loop = h->supervisor->loop;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL)
        return UV_ENOTSUP;
    const int r = uv_poll_init(loop, &h->poll, info->epoll_fd);
    if (r != 0)
        return r;
    uv_timer_init(loop, &h->timer);
    h->poll.data = h;
    h->timer.data = h;
    h->open_handles = 2;
    return uv_poll_start(&h->poll, UV_READABLE, on_poll);
}

static struct MHD_Daemon *start_daemon(struct http *h, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_NOTIFY_CONNECTION, http_peers_on_connection, h->peers,
        MHD_OPTION_URI_LOG_CALLBACK, http_peers_on_line, h->peers, MHD_OPTION_NOTIFY_COMPLETED,
        http_peers_on_done, h->peers, MHD_OPTION_END);
}

static void deinit(struct http *h)
{
    http_peers_free(h->peers);
    free(h);
}

int http_start(struct supervisor *s)
{
    const char *text = s->proxy->config->switchgear.http_listen;
    if (*text == 0)
        return 0;
    struct http *h = calloc(1, sizeof *h);
    if (h == NULL)
        return UV_ENOMEM;
    h->supervisor = s;
    h->now_ms = uv_now(s->loop);
    h->peers = http_peers_new(&h->now_ms);
    const int fd = h->peers != NULL ? listen_at(text) : UV_ENOMEM;
    h->daemon = fd >= 0 ? start_daemon(h, fd) : NULL;
    if (h->daemon == NULL) {
        if (fd >= 0)
            close(fd);
        deinit(h);
        return fd < 0 ? fd : UV_ENOMEM;
    }
    s->http = h;
    const int r = watch(h);
    if (r != 0) {
        http_stop(s);
        return r;
    }
    log_info("http_listening", "address=%s", text);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct http *h = handle->data;
    if (--h->open_handles > 0)
        return;
    MHD_stop_daemon(h->daemon); /* closes its descriptors, the listening one too */
    deinit(h);
}

void http_stop(struct supervisor *s)
{
    struct http *h = s->http;
    if (h == NULL)
        return;
    s->http = NULL;
    if (h->open_handles == 0) { /* not watched yet */
        MHD_stop_daemon(h->daemon);
        deinit(h);
        return;
    }
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}
