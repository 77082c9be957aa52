/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_server: the bytes of a connection to PostgreSQL that libpq has made (proxy_connect.c): its
 * descriptor and its SSL are ours, the PGconn stays for cancel and for PQfinish(), which closes
 * both.
 *
 * Happy path: on_server_event -> core_server_data -> worker_apply.
 * Failure modes: server_lost; server_close gives everything back.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_cancel.h"
#include "proxy_client_io.h"
#include "proxy_log.h"
#include "proxy_spans.h"
#include "proxy_tls_bytes.h"
#include "proxy_worker.h"

static void on_server_event(uv_poll_t *poll, int status, int events);

#define DRAIN_AGAIN_NS UINT64_C(1000000000) /* then cancel once more, at each tick */
#define DRAIN_MAX_NS UINT64_C(10000000000)  /* then give it up */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

void server_unwatch(struct server *v)
{
    if (v->poll == NULL)
        return;
    (void)uv_poll_stop(v->poll); /* the loop has forgotten the descriptor after this */
    v->poll->data = NULL;
    uv_close((uv_handle_t *)v->poll, free_handle);
    v->poll = NULL;
    v->events = 0;
}

bool server_watch(struct server *v)
{
    assert(v->poll == NULL);
    v->poll = malloc(sizeof(*v->poll));
    if (v->poll == NULL || uv_poll_init(&v->worker->loop, v->poll, v->fd) != 0) {
        free(v->poll);
        v->poll = NULL;
        return false;
    }
    v->poll->data = v;
    v->events = 0;
    return true;
}

void server_events_update(struct server *v)
{
    if (v->closing || v->poll == NULL)
        return;
    int events = v->stopped ? 0 : UV_READABLE;
    /* what the descriptor does not tell of is read at once: it can be written to, nearly always */
    if (v->out != NULL || (v->unread && !v->stopped))
        events |= UV_WRITABLE;
    if (events == v->events)
        return;
    v->events = (uint8_t)events;
    const int r =
        events != 0 ? uv_poll_start(v->poll, events, on_server_event) : uv_poll_stop(v->poll);
    assert(r == 0);
}

/* ---- the end ---- */

void server_close(struct server *v, const char *why)
{
    if (v->closing)
        return;
    v->closing = true;
    struct worker *w = v->worker;
    log_debug("server_closed", "server=%llu node=%s reason=\"%s\"", (unsigned long long)v->id,
              w->proxy->node_names[v->pool->node], why);
    assert(v->core.session == NULL);
    if (v->owner !=
        NULL) { /* closed from elsewhere: its client's log-in runs into its time limit */
        v->owner->own_server = NULL;
        v->owner = NULL;
    }
    server_unwatch(v);
    core_block_give(&w->core, &v->out);
    if (v->core.cancels > 0)
        cancel_server_gone(v);
    core_backend_deinit(&v->core);
    pool_gone(v);
    if (v->step != NULL)
        server_key_abandon(v);
    else
        server_key_drop(v);
    if (v->resolver != NULL) { /* on_resolved() frees what is left */
        (void)uv_cancel((uv_req_t *)v->resolver);
        return;
    }
    if (v->conn != NULL && v->step == NULL)
        PQfinish(v->conn);
    free(v);
}

void server_drop(struct server *v)
{
    assert(v->poll == NULL && v->out == NULL && v->core.cancels == 0);
    core_backend_deinit(&v->core);
    PQfinish(v->conn);
    free(v);
}

/* ---- bytes ---- */

static ssize_t transport_send(struct server *v, const struct proto_span *spans, uint32_t count)
{
    if (v->ssl != NULL)
        return tls_bytes_send(v->ssl, spans, count, v->worker->gather);
    return spans_send(v->fd, spans, count);
}

static ssize_t transport_receive(struct server *v, uint8_t *buf, size_t size)
{
    if (v->ssl != NULL)
        return tls_bytes_receive(v->ssl, buf, size, &v->unread);
    return recv(v->fd, buf, size, 0);
}

static void keep_rest(struct server *v, const struct core_sink *sink, size_t sent)
{
    spans_keep(&v->worker->core, &v->out, sink, sent);
    v->full = v->full || core_block_span(v->out).size > WORKER_OUT_HIGH;
    server_events_update(v);
}

void server_write(struct server *v, struct core_sink *sink)
{
    if (v->closing)
        return;
    size_t sent = 0;
    if (v->out == NULL) {
        const ssize_t n = transport_send(v, sink->spans, sink->count);
        if (n >= 0)
            sent = (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            sent = sink->size; /* it is gone: its EOF comes with the next event */
    }
    if (sent < sink->size)
        keep_rest(v, sink, sent);
}

static bool flush(struct server *v)
{
    const struct proto_span span = core_block_span(v->out);
    const ssize_t n = transport_send(v, &span, 1);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    core_block_consume(&v->worker->core, &v->out, (uint32_t)n);
    v->full = v->full && core_block_span(v->out).size > WORKER_OUT_LOW;
    server_events_update(v);
    struct client *c = v->core.session != NULL ? v->core.session->shell : NULL;
    if (!v->full && c != NULL)
        client_events_update(c);
    return true;
}

void server_lost(struct server *v, const char *why)
{
    struct worker *w = v->worker;
    struct client *c = v->core.session != NULL ? v->core.session->shell : NULL;
    log_debug("server_lost", "server=%llu node=%s reason=\"%s\"", (unsigned long long)v->id,
              w->proxy->node_names[v->pool->node], why);
    const uint64_t now_ns = uv_hrtime();
    worker_apply(w, c, core_server_lost(&v->core, now_ns), now_ns);
}

/* ---- what a client left behind ---- */

static void drained(struct server *v, uint64_t now_ns)
{
    if (v->core.broken)
        server_close(v, "it cannot be brought to idle");
    else if (core_backend_drained(&v->core))
        pool_release(v->worker, v, now_ns);
}

void server_drain(struct server *v, bool cancels, uint64_t now_ns)
{
    v->stopped = false; /* whoever took nothing of it is gone */
    v->drain_cancels = cancels;
    pool_move(v, SERVER_DRAINING, now_ns);
    server_events_update(v);
    if (v->core.hold !=
        NULL) { /* it waited for the client's turn, and nothing may come behind it */
        worker_apply(v->worker, NULL, core_server_data(&v->core, (struct proto_span){0}, now_ns),
                     now_ns);
        if (v->core.broken || core_backend_drained(&v->core)) {
            drained(v, now_ns);
            return;
        }
    }
    if (cancels)
        server_cancel(v);
}

/* A cancel may have been lost, or another batch of a pipeline runs now. */
void server_drain_tick(struct server *v, uint64_t now_ns)
{
    const uint64_t for_ns = now_ns > v->since_ns ? now_ns - v->since_ns : 0;
    if (!v->drain_cancels || v->core.cancels > 0)
        return;
    if (for_ns > DRAIN_MAX_NS)
        server_close(v, "a cancelled statement of a client that is gone does not end");
    else if (for_ns > DRAIN_AGAIN_NS)
        server_cancel(v);
}

/* Bytes came to a connection that serves nobody: the end of a reset, or last words. */
static void unattended(struct server *v, uint64_t now_ns)
{
    if (v->state == SERVER_DRAINING)
        drained(v, now_ns);
    else if (v->state == SERVER_RESETTING && !v->core.resetting)
        pool_release(v->worker, v, now_ns);
    else if (v->state == SERVER_IDLE && !core_backend_idle(&v->core))
        server_close(v, "it is no longer fit to be used");
}

/* Something that came of it waits until others were served. */
static bool is_late(const struct server *v)
{
    const struct client *c = v->core.session != NULL ? v->core.session->shell : NULL;
    return c != NULL && c->in_later;
}

static void on_server_event(uv_poll_t *poll, int status, int events)
{
    struct server *v = poll->data;
    if (v == NULL || v->closing)
        return;
    struct worker *w = v->worker;
    worker_topology_refresh(w);
    const bool ended = status < 0; /* reset: its last words may still be there to be read */
    if (!ended && is_late(v))
        return; /* the descriptor will say it again */
    if (!ended && (events & UV_WRITABLE) != 0 && v->out != NULL && !flush(v)) {
        server_lost(v, "write failed");
        return;
    }
    if (!ended && (events & UV_READABLE) == 0 && (!v->unread || v->stopped))
        return;
    for (;;) {
        if (is_late(v)) /* what came before the end is done before it */
            client_later_now(v->core.session->shell);
        if (poll->data != v)
            return;
        /* The analyser does not see that the handle of a closed connection has lost its data, so
         * that the loop ends below. */
        const ssize_t n = transport_receive(v, w->scratch, WORKER_READ_SIZE); // NOLINT
        if (n < 0 && !ended && (errno == EAGAIN || errno == EINTR)) {
            server_events_update(v);
            return;
        }
        if (n <= 0) {
            server_lost(v, n == 0 ? "server closed the connection" : "read failed");
            return;
        }
        const uint64_t now_ns = uv_hrtime();
        w->core.work = 0;
        const struct proto_span in = {.base = w->scratch, .size = (size_t)n};
        struct client *c = v->core.session != NULL ? v->core.session->shell : NULL;
        struct core_actions *a = core_server_data(&v->core, in, now_ns);
        worker_apply(w, c, a, now_ns);
        /* v may be gone, or serve another client in another worker, after this */
        if (poll->data == v && v->core.session == NULL)
            unattended(v, now_ns);
        if (poll->data != v) // NOLINT
            return;
        if (!ended) {
            if (v->ssl != NULL)          // NOLINT
                server_events_update(v); /* v->unread */
            return;
        }
    }
}

/* ---- cancel (proxy_cancel.c) ---- */

void server_cancel_ended(struct server *v, bool may_come, uint64_t now_ns)
{
    struct worker *w = v->worker;
    assert(v->core.cancels > 0);
    v->core.cancels--;
    v->core.broken = v->core.broken || may_come; /* whom would it hit? nobody: it is not reused */
    struct client *c = v->core.session != NULL ? v->core.session->shell : NULL;
    if (v->state == SERVER_DRAINING)
        drained(v, now_ns);
    else if (c != NULL && client_is_spooled(c))
        worker_apply(w, c, core_client_drained(&c->core, now_ns), now_ns);
}
