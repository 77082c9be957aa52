/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin: the sockets of the admin console.
 *
 * Happy path: a worker has logged a client in and sends its descriptor; uv_poll reads, the session
 * answers into a growing buffer, which is written until the socket takes no more.
 * Failure modes: a client that goes, or takes nothing, is closed or waited for; a worker that does
 * not describe its connections in time is left out of the table, with a notice.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proxy_admin_internal.h"
#include "proxy_log.h"
#include "proxy_tls_bytes.h"
#include "proxy_worker.h"

/* ---- the end of a client ---- */

static void admin_free_when_done(struct admin *admin)
{
    if (!admin->stopping || !admin->timer_closed || !LIST_EMPTY(&admin->clients))
        return;
    admin->supervisor->admin = NULL;
    free(admin->older);
    free(admin->newer);
    free(admin);
}

static void on_closed(uv_handle_t *handle)
{
    struct admin_client *c = handle->data;
    assert(c->closing && c->open_handles > 0);
    if (--c->open_handles > 0)
        return;
    struct admin *admin = c->admin;
    if (c->ssl != NULL && c->out.size == c->out_sent)
        tls_bytes_end(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    admin_session_deinit(c);
    LIST_REMOVE(c, link);
    admin->clients_count--;
    free(c);
    admin_free_when_done(admin);
}

static void peer_close(struct admin_client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    log_debug("admin_client_gone", "user=\"%s\" id=%llu", c->user, (unsigned long long)c->id);
    uv_close((uv_handle_t *)&c->poll, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

/* ---- sockets ---- */

static ssize_t peer_send(struct admin_client *c)
{
    const struct proto_span rest = {(const uint8_t *)c->out.base + c->out_sent,
                                    c->out.size - c->out_sent};
    if (c->ssl != NULL)
        return tls_bytes_send(c->ssl, &rest, 1, NULL); /* one span: nothing to gather */
    return write(c->fd, rest.base, rest.size);
}

static ssize_t peer_receive(struct admin_client *c)
{
    if (c->ssl != NULL)
        return tls_bytes_receive(c->ssl, c->in + c->in_size, sizeof c->in - c->in_size, &c->unread);
    return read(c->fd, c->in + c->in_size, sizeof c->in - c->in_size);
}

/* False: the client is gone. */
static bool peer_flush(struct admin_client *c)
{
    while (c->out_sent < c->out.size) {
        const ssize_t n = peer_send(c);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return false;
        if (n < 0) {
            text_drop_front(&c->out, c->out_sent);
            c->out_sent = 0;
            return true;
        }
        c->out_sent += (size_t)n;
    }
    text_deinit(&c->out); /* an idle client holds no buffer */
    c->out_sent = 0;
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void peer_events_update(struct admin_client *c)
{
    const bool may_read = c->in_size < sizeof c->in && !c->close_after_flush;
    const int events = (may_read ? UV_READABLE : 0) | UV_DISCONNECT |
                       (c->out_sent < c->out.size ? UV_WRITABLE : 0);
    if (events == c->events)
        return;
    c->events = events;
    if (uv_poll_start(&c->poll, events, on_poll) != 0)
        peer_close(c);
}

/* False: the client is gone. */
static bool peer_read(struct admin_client *c)
{
    while (c->in_size < sizeof c->in) {
        const ssize_t n = peer_receive(c);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        if (n == 0)
            return false;
        c->in_size += (size_t)n;
    }
    return true;
}

static bool is_full(const struct admin_client *c)
{
    return c->out.size - c->out_sent >= ADMIN_OUT_HIGH;
}

/* Handles what is there, sends the answers, and goes on while that makes room. */
void admin_go_on(struct admin_client *c)
{
    bool more = true;
    while (more) {
        const size_t before = c->in_size;
        const bool was_full = is_full(c); /* then nothing was handled */
        admin_session_process(c);
        if (!peer_flush(c)) {
            peer_close(c);
            return;
        }
        more = !c->suspended && !c->close_after_flush && !is_full(c) &&
               (c->in_size < before || was_full);
        if (c->unread && c->in_size < sizeof c->in && !c->close_after_flush) {
            if (!peer_read(c)) {
                peer_close(c);
                return;
            }
            more = more || !c->suspended;
        }
    }
    const bool flushed = c->out_sent == c->out.size;
    if (c->shutdown_wanted && flushed) {
        c->shutdown_wanted = false;
        supervisor_shutdown(c->admin->supervisor, c->shutdown);
        if (c->closing)
            return;
    }
    if (c->close_after_flush && flushed)
        peer_close(c);
    else
        peer_events_update(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct admin_client *c = poll->data;
    assert(!c->closing);
    const bool reads = (events & UV_READABLE) != 0;
    if (status < 0 || (reads && !peer_read(c)) || (!reads && (events & UV_DISCONNECT) != 0)) {
        peer_close(c);
        return;
    }
    admin_go_on(c);
}

/* ---- snapshots ---- */

static void snapshot_end(struct admin_client *c)
{
    c->snapshot.request_id = 0;
    c->snapshot.ready = true;
    c->suspended = false;
    uv_timer_stop(&c->timer);
    admin_go_on(c);
}

static void on_snapshot_timeout(uv_timer_t *timer)
{
    snapshot_end(timer->data);
}

void admin_snapshot_forget(struct admin_client *c)
{
    free(c->snapshot.rows);
    c->snapshot = (struct admin_snapshot){.rows = NULL};
}

void admin_snapshot_request(struct admin_client *c, bool clients, bool servers)
{
    struct proxy *p = c->admin->supervisor->proxy;
    assert(!c->suspended && c->snapshot.rows == NULL);
    c->snapshot = (struct admin_snapshot){.request_id = ++c->admin->next_request_id};
    for (uint32_t i = 0; i < p->workers_count; i++) {
        struct mail_snapshot *mail = calloc(1, sizeof *mail);
        if (mail == NULL)
            continue;
        mail->mail.kind = MAIL_SNAPSHOT;
        mail->worker = i;
        mail->request_id = c->snapshot.request_id;
        mail->want_clients = clients;
        mail->want_servers = servers;
        if (worker_post(p, i, &mail->mail))
            c->snapshot.asked++;
        else
            free(mail);
    }
    c->suspended = true;
    /* Even when nobody was asked the answer comes from the loop: no re-entry. */
    uv_timer_start(&c->timer, on_snapshot_timeout,
                   c->snapshot.asked > 0 ? ADMIN_SNAPSHOT_TIMEOUT_MS : 0, 0);
}

static void snapshot_take_rows(struct admin_snapshot *snapshot, const struct mail_snapshot *mail)
{
    snapshot->answered++;
    if (mail->rows_count == 0)
        return;
    const size_t count = (size_t)snapshot->rows_count + mail->rows_count;
    struct snapshot_row *rows = realloc(snapshot->rows, count * sizeof *rows);
    if (rows == NULL) {
        snapshot->answered--; /* the notice says that some are missing */
        return;
    }
    memcpy(rows + snapshot->rows_count, mail->rows, mail->rows_count * sizeof *rows);
    snapshot->rows = rows;
    snapshot->rows_count = (uint32_t)count;
}

void admin_take_snapshot(struct supervisor *s, struct mail_snapshot *mail)
{
    struct admin_client *c = NULL;
    if (s->admin != NULL) {
        LIST_FOREACH(c, &s->admin->clients, link)
        {
            if (!c->closing && c->snapshot.request_id == mail->request_id)
                break;
        }
    }
    if (c != NULL) { /* else it waits no longer */
        c->snapshot.asked--;
        snapshot_take_rows(&c->snapshot, mail);
    }
    free(mail->rows);
    free(mail);
    if (c != NULL && c->snapshot.asked == 0)
        snapshot_end(c);
}

/* ---- the beginning of a client ---- */

static struct admin_client *peer_create(struct admin *admin, struct mail_admin_client *mail)
{
    struct admin_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->admin = admin;
    c->fd = mail->fd;
    c->ssl = mail->ssl;
    c->unread = mail->ssl != NULL; /* maybe */
    c->may_change = mail->may_change;
    c->id = ++admin->next_id;
    c->connected_s = (uint64_t)time(NULL);
    c->port = mail->port;
    snprintf(c->user, sizeof c->user, "%s", mail->user);
    snprintf(c->database, sizeof c->database, "%s", mail->database);
    snprintf(c->application, sizeof c->application, "%s", mail->application);
    snprintf(c->address, sizeof c->address, "%s", mail->address);
    if (mail->rest_size > sizeof c->in ||
        uv_poll_init(admin->supervisor->loop, &c->poll, c->fd) != 0) {
        free(c);
        return NULL;
    }
    memcpy(c->in, mail->rest, mail->rest_size);
    c->in_size = mail->rest_size;
    c->poll.data = c;
    c->timer.data = c;
    uv_timer_init(admin->supervisor->loop, &c->timer);
    c->open_handles = 2;
    return c;
}

void admin_take_client(struct supervisor *s, struct mail_admin_client *mail)
{
    struct admin *admin = s->admin;
    struct admin_client *c = NULL;
    if (admin != NULL && !admin->stopping && admin->clients_count < ADMIN_CLIENTS_MAX)
        c = peer_create(admin, mail);
    if (c == NULL) {
        log_warning("admin_client_refused", "user=\"%s\" address=%s", mail->user, mail->address);
        SSL_free(mail->ssl);
        close(mail->fd);
        free(mail);
        return;
    }
    log_debug("admin_client", "user=\"%s\" address=%s id=%llu may_change=%d", c->user, c->address,
              (unsigned long long)c->id, c->may_change);
    free(mail);
    LIST_INSERT_HEAD(&admin->clients, c, link);
    admin->clients_count++;
    admin_session_welcome(c);
    admin_go_on(c);
}

/* ---- start and stop ---- */

static void sample(struct admin *admin)
{
    const struct proxy *p = admin->supervisor->proxy;
    struct admin_sample *oldest = admin->older;
    admin->older = admin->newer;
    admin->newer = oldest;
    oldest->at_ns = uv_hrtime();
    for (uint32_t i = 0; i < p->config->databases_count; i++)
        sum_database(p, i, &oldest->databases[i]);
}

static void on_sample(uv_timer_t *timer)
{
    sample(timer->data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct admin *admin = handle->data;
    admin->timer_closed = true;
    admin_free_when_done(admin);
}

int admin_start(struct supervisor *s)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL)
        return UV_ENOMEM;
    admin->older = calloc(1, sizeof *admin->older);
    admin->newer = calloc(1, sizeof *admin->newer);
    if (admin->older == NULL || admin->newer == NULL) {
        free(admin->older);
        free(admin->newer);
        free(admin);
        return UV_ENOMEM;
    }
    admin->supervisor = s;
    admin->older->at_ns = admin->newer->at_ns = uv_hrtime();
    LIST_INIT(&admin->clients);
    uv_timer_init(s->loop, &admin->sample_timer);
    admin->sample_timer.data = admin;
    uv_timer_start(&admin->sample_timer, on_sample, ADMIN_SAMPLE_MS, ADMIN_SAMPLE_MS);
    s->admin = admin;
    return 0;
}

void admin_stop(struct supervisor *s)
{
    struct admin *admin = s->admin;
    if (admin == NULL || admin->stopping)
        return;
    admin->stopping = true;
    struct admin_client *c;
    LIST_FOREACH(c, &admin->clients, link)
    {
        if (c->closing)
            continue;
        admin_error(c, "FATAL", "57P01", "the proxy is shutting down", NULL);
        (void)peer_flush(c);
        peer_close(c);
    }
    uv_close((uv_handle_t *)&admin->sample_timer, on_timer_closed);
}
