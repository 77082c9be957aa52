/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_client: a client's socket. Readiness comes from uv_poll; bytes go through the worker's
 * scratch to the session core and back; only what a slow client has not taken is kept.
 *
 * Happy path: client_open -> on_client_event -> core_client_data -> worker_apply.
 * Failure modes: EOF and errors end in client_close(); everything a client holds is given back
 * there, its memory goes when the handle has closed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_auth.h"
#include "proxy_cancel_key.h"
#include "proxy_client_io.h"
#include "proxy_limits.h"
#include "proxy_log.h"
#include "proxy_preface.h"
#include "proxy_signal.h"
#include "proxy_spans.h"
#include "proxy_worker.h"

/* ---- events ---- */

static void on_client_event(uv_poll_t *poll, int status, int events);

static int events_wanted(const struct client *c)
{
    int events = 0;
    if (c->in_handshake)
        return c->tls_wants;
    const struct server *v = c->core.backend != NULL ? c->core.backend->shell : NULL;
    const bool full = v != NULL && v->full;
    /* our own answers have no server that could be stopped: whoever takes none may ask for no more
     */
    const bool owes = c->core.client_pending > c->worker->core.limits.hold_max;
    if (c->lingers) /* there is nothing to be heard of it any more */
        return c->out != NULL ? UV_WRITABLE : 0;
    if (!full && !owes && !core_client_paused(&c->core) && !c->close_after_flush)
        events |= UV_READABLE;
    if ((events & UV_READABLE) == 0 && !c->close_after_flush)
        events |= UV_DISCONNECT; /* it may leave all the same */
    /* what the descriptor does not tell of is read at once: it can be written to, nearly always */
    if (c->out != NULL || (c->unread && (events & UV_READABLE) != 0))
        events |= UV_WRITABLE;
    return events;
}

void client_events_update(struct client *c)
{
    if (c->closing)
        return;
    const int events = events_wanted(c);
    if (events == c->events)
        return;
    c->events = (uint8_t)events;
    const int r =
        events != 0 ? uv_poll_start(&c->poll, events, on_client_event) : uv_poll_stop(&c->poll);
    assert(r == 0);
}

/* ---- writing ---- */

static void note_pending(struct client *c)
{
    const uint64_t before = c->core.client_pending;
    c->core.client_pending = core_block_span(c->out).size;
    c->worker->spooled += c->core.client_pending - before;
}

/* Above this its server is not read. */
static uint64_t spool_limit(const struct client *c)
{
    const struct worker *w = c->worker;
    const uint64_t max = w->core.limits.spool_max;
    return max > WORKER_OUT_HIGH && w->spooled < WORKER_SPOOL_MAX ? max : WORKER_OUT_HIGH;
}

bool client_is_spooled(const struct client *c)
{
    return c->core.client_pending <= c->worker->core.limits.spool_max;
}

/* What the socket does not take is kept, and counted in client_pending. */
void client_write(struct client *c, struct core_sink *sink)
{
    if (c->closing || c->close_after_flush || c->in_handshake)
        return;
    size_t sent = 0;
    if (c->out == NULL) {
        const ssize_t n = client_io_send(c, sink->spans, sink->count);
        if (n >= 0)
            sent = (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            sent = sink->size; /* it is gone: its EOF comes with the next event */
    }
    if (c->core.group != NULL) {
        struct group *g = (struct group *)c->core.group;
        shared_add(&c->worker->database_stats[g->database].bytes_out, sink->size);
    }
    if (sent == sink->size)
        return;
    spans_keep(&c->worker->core, &c->out, sink, sent);
    note_pending(c);
    client_events_update(c);
    if (c->core.client_pending > spool_limit(c) && c->core.backend != NULL) {
        struct server *v = c->core.backend->shell;
        if (!c->server_stopped)
            c->took_ns = uv_hrtime();
        c->server_stopped = true;
        v->stopped = true;
        server_events_update(v);
    }
}

static void flush(struct client *c, uint64_t now_ns)
{
    struct worker *w = c->worker;
    const struct proto_span span = core_block_span(c->out);
    const ssize_t n = client_io_send(c, &span, 1);
    const bool failed = n < 0 && errno != EAGAIN && errno != EINTR;
    if (failed && !c->lingers) {
        client_close(c, "write failed");
        return;
    }
    if (failed)
        core_block_give(&w->core, &c->out);
    else if (n > 0)
        core_block_consume(&w->core, &c->out, (uint32_t)n);
    if (n > 0)
        c->took_ns = now_ns;
    note_pending(c);
    if (c->server_stopped && c->core.client_pending < WORKER_OUT_LOW) {
        c->server_stopped = false;
        if (c->core.backend != NULL) {
            struct server *v = c->core.backend->shell;
            v->stopped = false;
            server_events_update(v);
        }
    }
    if (c->out != NULL)
        return;
    if (c->close_after_flush) {
        client_close(c, "done");
        return;
    }
    worker_apply(w, c, core_client_drained(&c->core, now_ns), now_ns);
    /* what was held back because this client took nothing (worker_apply) */
    if (!c->closing && c->core.hold != NULL && c->core.client_pending < WORKER_OUT_HIGH)
        worker_apply(w, c, core_resume(&c->core, now_ns), now_ns);
}

/* ---- reading ---- */

/* Nothing more will come from it. */
static void client_ended(struct client *c, const char *why)
{
    c->lingers = core_client_lingers(&c->core);
    if (c->lingers)
        client_events_update(c);
    else
        client_close(c, why);
}

void client_readable(struct client *c)
{
    struct worker *w = c->worker;
    const ssize_t n = client_io_receive(c, w->scratch, WORKER_READ_SIZE);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        client_events_update(c);
        return;
    }
    if (n <= 0) {
        client_ended(c, n == 0 ? "client closed the connection" : "read failed");
        return;
    }
    const uint64_t now_ns = uv_hrtime();
    w->core.work = 0;
    c->quiet_since_ns = now_ns;
    if (c->core.group != NULL) {
        struct group *g = (struct group *)c->core.group;
        shared_add(&w->database_stats[g->database].bytes_in, (uint64_t)n);
    }
    const struct proto_span in = {.base = w->scratch, .size = (size_t)n};
    if (c->logging_in && client_io_is_direct(c, in)) {
        if (!client_io_start_tls(c, in))
            client_close(c, "no TLS");
        return;
    }
    worker_apply(w, c, core_client_data(&c->core, in, now_ns), now_ns);
    if (!c->closing)
        client_events_update(c);
}

/* It was reset; what had come before that is there all the same. libuv has stopped the watch. */
static void on_client_error(struct client *c)
{
    const bool readable = (c->events & UV_READABLE) != 0;
    c->events = 0;
    if (c->preface != NULL || c->in_handshake || (!readable && !c->lingers))
        client_close(c, "poll failed");
    else if (readable)
        client_readable(c);
    else if (c->out != NULL)
        flush(c, uv_hrtime());
}

static void on_client_event(uv_poll_t *poll, int status, int events)
{
    struct client *c = poll->data;
    assert(!c->closing);
    worker_topology_refresh(c->worker);
    if (status < 0) {
        on_client_error(c);
        return;
    }
    if (c->in_later)
        return; /* the descriptor will say it again */
    if (c->preface != NULL) {
        preface_ready(c);
        return;
    }
    if (c->in_handshake) {
        client_io_handshake_ready(c);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && c->out != NULL) {
        flush(c, uv_hrtime());
        if (c->closing)
            return;
    }
    if ((events & c->events & UV_DISCONNECT) != 0) { /* what it sent and we held back is void */
        client_close(c, "client closed the connection");
        return;
    }
    if ((c->events & UV_READABLE) != 0 && ((events & UV_READABLE) != 0 || c->unread))
        client_readable(c);
}

/* ---- life ---- */

/* With a key and a watch, or NULL. */
static struct client *client_create(struct worker *w, int fd)
{
    struct client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->worker = w;
    core_session_init(&c->core, &w->core, c);
    const bool has_key = cancel_key_take(c);
    if (has_key && uv_poll_init(&w->loop, &c->poll, fd) == 0) {
        c->poll.data = c;
        return c;
    }
    if (has_key)
        cancel_key_give(c);
    free(c);
    return NULL;
}

static void logging_in(struct client *c, bool is)
{
    struct stats_worker *stats = &c->worker->stats;
    if (c->logging_in != is)
        shared_set(&stats->logging_in, is ? stats->logging_in + 1 : stats->logging_in - 1);
    c->logging_in = is;
}

void client_open(struct worker *w, struct mail_client *mail)
{
    struct client *c = client_create(w, mail->fd);
    if (c == NULL) {
        log_error("client_refused", "reason=\"no resources\"");
        (void)close(mail->fd);
        shared_add(&w->stats.left, 1);
        return;
    }
    c->fd = mail->fd;
    c->is_unix = mail->is_unix;
    c->is_admin_socket = mail->is_admin_socket;
    c->port = mail->port;
    if (!mail->is_unix && inet_pton(AF_INET6, mail->address, &c->address) != 1) {
        c->address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        (void)inet_pton(AF_INET, mail->address, &c->address.s6_addr[12]);
    }
    c->accepted_ns = uv_hrtime();
    c->core.tls = (uint8_t)client_io_offer(c);
    logging_in(c, true);
    TAILQ_INSERT_TAIL(&w->logins, c, link);
    w->clients_count++;
    shared_set(&w->stats.clients, w->clients_count);
    shared_add(&w->stats.accepted, 1);
    if (mail->begins_with_header && !preface_expect(c)) {
        client_close(c, "no memory");
        return;
    }
    client_events_update(c);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    struct worker *w = c->worker;
    struct group *g = (struct group *)c->core.group;
    core_block_give(&w->core, &c->out);
    note_pending(c);
    core_session_deinit(&c->core);
    if (g != NULL)
        g->users--;
    free(c->user);
    cancel_key_give(c);
    w->clients_count--;
    shared_set(&w->stats.clients, w->clients_count);
    if (c->counted)
        ck_pr_dec_64(&w->proxy->client_count);
    shared_add(&w->stats.left, 1);
    free(c);
}

void client_forget_pin(struct client *c)
{
    struct stats_worker *stats = &c->worker->stats;
    if (c->pin_seen == 0)
        return;
    shared_set(&stats->pinned_now[c->pin_seen], stats->pinned_now[c->pin_seen] - 1);
    shared_set(&stats->pinned, stats->pinned - 1);
    c->pin_seen = 0;
}

/* Takes the client out of everything that it is in, but for its descriptor. */
static void leave(struct client *c)
{
    struct worker *w = c->worker;
    const uint64_t now_ns = uv_hrtime();
    c->closing = true;
    struct core_actions *a = core_client_gone(&c->core, now_ns);
    worker_apply(w, c, a, now_ns);
    pool_forget_waiter(c);
    replication_forget(c);
    auth_forget(c);
    client_forget_unended(c);
    signal_forget(c);
    client_limits_give(c);
    client_io_forget(c);
    preface_forget(c);
    client_forget_pin(c);
    const bool known = !c->logging_in;
    if (known)
        TAILQ_REMOVE(&w->clients, c, link);
    else
        TAILQ_REMOVE(&w->logins, c, link);
    logging_in(c, false);
    if (known && c->core.group != NULL) {
        struct group *g = (struct group *)c->core.group;
        g->clients--;
        struct stats_database *d = &w->database_stats[g->database];
        shared_set(&d->clients, d->clients - 1);
    }
    uv_close((uv_handle_t *)&c->poll, on_client_closed);
}

void client_close(struct client *c, const char *why)
{
    if (c->closing)
        return;
    log_debug("client_closed", "client=%llu reason=\"%s\"", (unsigned long long)c->core.id, why);
    leave(c);
    client_io_end(c);
    (void)close(c->fd);
}

void client_end(struct client *c, const struct proto_error_text *error)
{
    struct worker *w = c->worker;
    const uint64_t now_ns = uv_hrtime();
    pool_forget_waiter(c);
    if (c->core.waiting)
        worker_apply(w, c, core_refused(&c->core, error, now_ns), now_ns);
    else
        worker_apply(w, c, core_client_fatal(&c->core, error), now_ns);
}

void client_terminate(struct client *c)
{
    static const struct proto_error_text error = {
        .severity = "FATAL",
        .sqlstate = "57P01",
        .message = "terminating connection due to administrator command"};
    client_end(c, &error);
    if (!c->closing)
        client_close(c, "administrator command");
}

void client_close_after_flush(struct client *c)
{
    if (c->closing)
        return;
    if (c->out == NULL) {
        client_close(c, "done");
        return;
    }
    c->close_after_flush = true;
    client_events_update(c);
}

void client_address_text(const struct client *c, char *buf, size_t buf_size)
{
    if (c->is_unix) {
        (void)snprintf(buf, buf_size, "unix");
        return;
    }
    const bool v4 = IN6_IS_ADDR_V4MAPPED(&c->address);
    const void *source = v4 ? (const void *)&c->address.s6_addr[12] : (const void *)&c->address;
    if (inet_ntop(v4 ? AF_INET : AF_INET6, source, buf, (socklen_t)buf_size) == NULL)
        buf[0] = '\0';
}

void client_logged_in(struct client *c)
{
    struct worker *w = c->worker;
    struct group *g = (struct group *)c->core.group;
    assert(c->logging_in);
    TAILQ_REMOVE(&w->logins, c, link);
    TAILQ_INSERT_TAIL(&w->clients, c, link);
    logging_in(c, false);
    auth_forget(c);
    c->quiet_since_ns = uv_hrtime(); /* it was not idle while its log-in waited */
    g->clients++;
    struct stats_database *d = &w->database_stats[g->database];
    shared_set(&d->clients, d->clients + 1);
    shared_add(&w->stats.logins, 1);
}

/* ---- log-in ---- */

void client_hand_to_admin(struct client *c)
{
    struct worker *w = c->worker;
    const struct proto_span rest = core_block_span(c->core.hold);
    struct mail_admin_client *mail = calloc(1, sizeof(*mail) + rest.size);
    if (mail == NULL || c->out != NULL) {
        free(mail);
        client_close(c, "admin console: no resources");
        return;
    }
    mail->mail.kind = MAIL_ADMIN_CLIENT;
    mail->fd = c->fd;
    const char *user = core_login_user_name(&c->core);
    mail->may_change =
        c->is_admin_socket || config_list_has(w->config->switchgear.admin_users, user);
    (void)snprintf(mail->user, sizeof(mail->user), "%s", user);
    (void)snprintf(mail->database, sizeof(mail->database), "%s", core_login_database(&c->core));
    (void)snprintf(mail->application, sizeof(mail->application), "%s",
                   core_login_application(&c->core));
    client_address_text(c, mail->address, sizeof(mail->address));
    mail->port = c->port;
    mail->rest_size = (uint32_t)rest.size;
    if (rest.size > 0)
        memcpy(mail->rest, rest.base, rest.size);
    (void)uv_poll_stop(&c->poll);
    const int fd = c->fd;
    SSL *ssl = c->ssl;
    mail->ssl = ssl;
    leave(c);
    c->ssl = NULL;
    if (!mailbox_post(w->proxy->supervisor_mail, &mail->mail)) {
        SSL_free(ssl);
        (void)close(fd);
        free(mail);
    }
}
