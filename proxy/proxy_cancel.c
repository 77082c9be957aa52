/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel: see the header.
 *
 * Happy path: cancel_requested -> (mail) -> cancel_session -> server_cancel -> on_link_ended ->
 * server_cancel_ended, and answer() to each canceller.
 * Failure modes: whatever goes wrong, the cancellers are answered; a request that may still come
 * closes its server.
 */
#include "proxy_cancel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "proxy_cancel_key.h"
#include "proxy_cancel_link.h"
#include "proxy_log.h"
#include "proxy_signal.h"

enum {
    LANE_PEERS = CONFIG_NODES_MAX, /* one lane a node, and one for all peers */
    LANE_SIZE = 8,                 /* under way at once */
    TICKETS_MAX = 8,     /* cancellers that wait for one job; the others are let go at once */
    PEER_JOBS_MAX = 256, /* a request beyond them is dropped, as PostgreSQL may */
    STOPPING_MS = 500,   /* for those that run when the proxy stops */
};

static void start_jobs(struct worker *w);

struct cancel_job {
    TAILQ_ENTRY(cancel_job) link;
    struct worker *worker;
    struct server *server;          /* NULL: it is gone, or this is for a peer */
    struct cancel_link *connection; /* NULL: waits for its turn, or for the peer's address */
    uv_getaddrinfo_t *resolver;     /* NULL: the address is known */
    struct cancel_target target;
    uint64_t began_ns;
    uint32_t lane;
    bool over; /* it could not be begun, or need not: the next tick ends it */
    uint32_t tickets_count;
    struct cancel_ticket tickets[TICKETS_MAX];
};

/* ---- cancellers ---- */

static void canceller_close(const struct worker *w, const struct cancel_ticket *t)
{
    struct client *c = cancel_key_slot(w, t->slot);
    if (c != NULL && c->core.id == t->id && c->cancelling)
        client_close(c, "its cancel request is done");
}

/* The canceller need not wait any longer. */
static void answer(const struct worker *w, const struct cancel_ticket *t)
{
    if (t->worker == w->index) {
        canceller_close(w, t);
        return;
    }
    struct mail_cancel_done *mail = malloc(sizeof(*mail));
    if (mail == NULL)
        return; /* cancel_wait_timeout ends its wait */
    *mail = (struct mail_cancel_done){{MAIL_CANCEL_DONE}, *t};
    if (!worker_post(w->proxy, t->worker, &mail->mail))
        free(mail);
}

void cancel_done_mail(struct worker *w, const struct mail_cancel_done *mail)
{
    canceller_close(w, &mail->ticket);
}

/* ---- jobs ---- */

static struct cancel_job *job_create(struct worker *w, uint32_t lane)
{
    struct cancel_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    job->worker = w;
    job->lane = lane;
    job->began_ns = uv_hrtime();
    return job;
}

static void job_queue(struct cancel_job *job)
{
    struct worker *w = job->worker;
    TAILQ_INSERT_TAIL(&w->cancels, job, link);
    w->cancels_count++;
}

static void job_destroy(struct cancel_job *job)
{
    cancel_tls_deinit(&job->target.tls);
    OPENSSL_cleanse(&job->target, sizeof(job->target));
    free(job);
}

static void job_join(struct cancel_job *job, const struct cancel_ticket *t)
{
    if (job->tickets_count < TICKETS_MAX)
        job->tickets[job->tickets_count++] = *t;
    else
        answer(job->worker, t);
}

static void job_finish(struct cancel_job *job, bool may_come)
{
    struct worker *w = job->worker;
    assert(job->connection == NULL);
    TAILQ_REMOVE(&w->cancels, job, link);
    w->cancels_count--;
    if (job->resolver != NULL) {
        job->resolver->data = NULL; /* on_resolved() frees it */
        (void)uv_cancel((uv_req_t *)job->resolver);
    }
    worker_topology_refresh(w);
    if (job->server != NULL)
        server_cancel_ended(job->server, may_come, uv_hrtime());
    for (uint32_t i = 0; i < job->tickets_count; i++)
        answer(w, &job->tickets[i]);
    job_destroy(job);
}

static void on_link_ended(void *arg, bool may_come)
{
    struct cancel_job *job = arg;
    struct worker *w = job->worker;
    job->connection = NULL;
    w->cancels_at[job->lane]--;
    job_finish(job, may_come);
    start_jobs(w);
}

/* Its statement has ended before its turn came: there is nothing to be cancelled. */
static bool job_is_void(const struct cancel_job *job)
{
    const struct server *v = job->server;
    return v != NULL && v->core.session != NULL && v->core.expect_head == v->core.expect_tail;
}

static void job_start(struct cancel_job *job)
{
    struct worker *w = job->worker;
    job->over = job_is_void(job);
    if (job->over)
        return;
    job->connection = cancel_link_open(&w->loop, &job->target, on_link_ended, job);
    if (job->connection == NULL) {
        job->over = errno != EAGAIN; /* a Unix socket whose queue is full: at the next tick */
        return;
    }
    w->cancels_at[job->lane]++;
    if (job->lane == LANE_PEERS)
        shared_add(&w->stats.cancels_passed_on, 1);
    else
        shared_add(&w->stats.cancels, 1);
}

/* Ends none: whoever asks for a cancel may be in the middle of a step. */
static void start_jobs(struct worker *w)
{
    struct cancel_job *job;
    TAILQ_FOREACH (job, &w->cancels, link)
        if (job->connection == NULL && job->resolver == NULL && !job->over &&
            w->cancels_at[job->lane] < LANE_SIZE)
            job_start(job);
}

static void job_give_up(struct cancel_job *job)
{
    struct worker *w = job->worker;
    bool may_come = false;
    if (job->connection != NULL) {
        may_come = cancel_link_close(job->connection);
        job->connection = NULL;
        w->cancels_at[job->lane]--;
    }
    log_warning("cancel_gave_up", "node=%s",
                job->lane == LANE_PEERS ? "peer" : w->proxy->node_names[job->lane]);
    job_finish(job, may_come);
}

void cancels_tick(struct worker *w, uint64_t now_ns)
{
    const uint64_t wait_ns = w->stopping ? (uint64_t)STOPPING_MS * 1000000u
                                         : w->config->switchgear.cancel_wait_timeout_ns;
    struct cancel_job *job = TAILQ_FIRST(&w->cancels);
    while (job != NULL) {
        struct cancel_job *next = TAILQ_NEXT(job, link);
        const bool late =
            wait_ns != 0 && now_ns > job->began_ns && now_ns - job->began_ns > wait_ns;
        if (late)
            job_give_up(job);
        else if (job->connection == NULL && (job->over || job_is_void(job)))
            job_finish(job, false);
        else {
            job = next;
            continue;
        }
        job = TAILQ_FIRST(&w->cancels); /* steps were taken meanwhile */
    }
    start_jobs(w);
}

/* ---- a server's ---- */

static struct cancel_job *job_of(const struct server *v)
{
    struct cancel_job *job;
    TAILQ_FOREACH (job, &v->worker->cancels, link)
        if (job->server == v)
            return job;
    return NULL;
}

/* As the session's own connection: its context has the authorities and the TLS versions. */
static void tls_of(const struct server *v, struct cancel_tls *ret)
{
    SSL *ssl = PQsslStruct(v->conn, "OpenSSL");
    *ret = (struct cancel_tls){0};
    if (ssl == NULL)
        return;
    ret->context = SSL_get_SSL_CTX(ssl);
    (void)SSL_CTX_up_ref(ret->context);
    ret->certificate = SSL_get1_peer_certificate(ssl);
    const char *host = PQhost(v->conn);
    (void)snprintf(ret->host, sizeof(ret->host), "%s", host != NULL ? host : "");
    ret->verify = ret->verify_host = true; /* in doubt, as strict as can be */
    PQconninfoOption *options = PQconninfo(v->conn);
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "sslmode") == 0 && o->val != NULL) {
            ret->verify_host = strcmp(o->val, "verify-full") == 0;
            ret->verify = ret->verify_host || strcmp(o->val, "verify-ca") == 0;
        }
    PQconninfoFree(options);
}

static struct cancel_job *job_for_server(struct server *v)
{
    if (!v->has_key)
        return NULL;
    struct cancel_job *job = job_create(v->worker, v->pool->node);
    if (job == NULL)
        return NULL;
    uint8_t key[4];
    proto_store_u32(key, v->cancel_secret);
    cancel_target_write(&job->target, v->cancel_pid, (struct proto_span){key, sizeof(key)});
    job->target.address_size = sizeof(job->target.address);
    if (getpeername(v->fd, (struct sockaddr *)&job->target.address, &job->target.address_size) !=
        0) {
        job_destroy(job); /* it is gone: so is its statement */
        return NULL;
    }
    tls_of(v, &job->target.tls);
    job->server = v;
    v->core.cancels++;
    job_queue(job);
    return job;
}

void server_cancel(struct server *v)
{
    if (v->core.cancels == 0 && job_for_server(v) != NULL)
        start_jobs(v->worker);
}

void cancel_server_gone(const struct server *v)
{
    struct cancel_job *job = v->core.cancels > 0 ? job_of(v) : NULL;
    if (job != NULL)
        job->server = NULL; /* it goes on: the statement may still run */
}

/* ---- a session's ---- */

static void cancel_waiting(struct worker *w, struct client *c)
{
    static const struct proto_error_text error = {.severity = "ERROR",
                                                  .sqlstate = "57014",
                                                  .message =
                                                      "canceling statement due to user request"};
    const uint64_t now_ns = uv_hrtime();
    worker_topology_refresh(w);
    pool_forget_waiter(c);
    worker_apply(w, c, core_refused(&c->core, &error, now_ns), now_ns);
}

/* It waits for another session's end. */
static void cancel_signal(struct worker *w, struct client *c)
{
    const uint64_t now_ns = uv_hrtime();
    signal_forget(c);
    worker_apply(w, c, core_signalled(&c->core, CORE_SIGNAL_CANCELLED, now_ns), now_ns);
}

/* NULL: no server is to be asked. */
static struct cancel_job *cancel(struct worker *w, struct client *c)
{
    switch (core_cancel(&c->core)) {
    case CORE_CANCEL_NOTHING:
        break;
    case CORE_CANCEL_WAIT:
        cancel_waiting(w, c);
        break;
    case CORE_CANCEL_SIGNAL:
        cancel_signal(w, c);
        break;
    case CORE_CANCEL_SERVER: {
        struct server *v = c->core.backend->shell;
        return v->core.cancels > 0 ? job_of(v) : job_for_server(v);
    }
    }
    return NULL;
}

void cancel_client(struct worker *w, struct client *c)
{
    if (cancel(w, c) != NULL)
        start_jobs(w);
}

static void cancel_session(struct worker *w, uint32_t slot, struct proto_span key,
                           const struct cancel_ticket *t)
{
    struct client *c = cancel_key_find(w, slot, key);
    struct cancel_job *job = c != NULL ? cancel(w, c) : NULL;
    if (job == NULL) {
        answer(w, t);
        return;
    }
    job_join(job, t);
    start_jobs(w);
}

void cancel_mail(struct worker *w, const struct mail_cancel *mail)
{
    cancel_session(w, mail->slot, (struct proto_span){mail->key, mail->key_size}, &mail->ticket);
}

/* ---- a peer's ---- */

static bool address_of(const struct config_address *from, struct cancel_target *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&ret->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&ret->address;
    ret->address_size = sizeof(*v4);
    if (uv_ip4_addr(from->host, from->port, v4) == 0)
        return true;
    ret->address_size = sizeof(*v6);
    return uv_ip6_addr(from->host, from->port, v6) == 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct cancel_job *job = request->data;
    free(request);
    if (job != NULL) {
        struct worker *w = job->worker;
        job->resolver = NULL;
        if (status == 0) {
            memcpy(&job->target.address, found->ai_addr, found->ai_addrlen);
            job->target.address_size = found->ai_addrlen;
        } else {
            log_warning("cancel_not_passed_on", "error=\"%s\"", uv_strerror(status));
            job_finish(job, false);
        }
        start_jobs(w);
    }
    uv_freeaddrinfo(found);
}

static bool resolve(struct cancel_job *job, const struct config_address *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", (unsigned)address->port);
    job->resolver = calloc(1, sizeof(*job->resolver));
    if (job->resolver == NULL)
        return false;
    job->resolver->data = job;
    if (uv_getaddrinfo(&job->worker->loop, job->resolver, on_resolved, address->host, port,
                       &hints) == 0)
        return true;
    free(job->resolver);
    job->resolver = NULL;
    return false;
}

static struct cancel_job *peer_job_like(const struct worker *w, const struct cancel_target *t,
                                        uint32_t *ret_count)
{
    struct cancel_job *job;
    TAILQ_FOREACH (job, &w->cancels, link) {
        if (job->lane != LANE_PEERS)
            continue;
        ++*ret_count;
        if (job->target.packet_size == t->packet_size &&
            CRYPTO_memcmp(job->target.packet, t->packet, t->packet_size) == 0)
            return job;
    }
    return NULL;
}

/* False: there is no such peer, or there are too many requests for peers. */
static bool pass_on(struct worker *w, uint32_t instance, uint32_t pid, struct proto_span key,
                    const struct cancel_ticket *t)
{
    struct config_address address;
    uint8_t marked[CORE_CANCEL_KEY_SIZE_MAX + 1];
    if (!config_peer_find(w->config->switchgear.peers, instance, &address))
        return false;
    memcpy(marked, key.base, key.size);
    marked[key.size] = CANCEL_KEY_PASSED_ON;
    struct cancel_job *job = job_create(w, LANE_PEERS);
    if (job == NULL)
        return false;
    cancel_target_write(&job->target, pid, (struct proto_span){marked, key.size + 1});
    uint32_t count = 0;
    struct cancel_job *same = peer_job_like(w, &job->target, &count);
    if (same != NULL) {
        job_destroy(job);
        job_join(same, t);
        return true;
    }
    if (count >= PEER_JOBS_MAX ||
        (!address_of(&address, &job->target) && !resolve(job, &address))) {
        job_destroy(job);
        return false;
    }
    job_queue(job);
    job_join(job, t);
    start_jobs(w);
    return true;
}

/* ---- a request ---- */

static bool to_owner(struct worker *w, const struct cancel_name *name, struct proto_span key,
                     const struct cancel_ticket *t)
{
    if (name->worker == w->index) {
        cancel_session(w, name->slot, key, t);
        return true;
    }
    struct mail_cancel *mail = calloc(1, sizeof(*mail));
    if (mail == NULL)
        return false;
    mail->mail.kind = MAIL_CANCEL;
    mail->slot = name->slot;
    mail->key_size = (uint32_t)key.size;
    memcpy(mail->key, key.base, key.size);
    mail->ticket = *t;
    if (worker_post(w->proxy, name->worker, &mail->mail))
        return true;
    free(mail);
    return false;
}

void cancel_requested(struct client *c)
{
    struct worker *w = c->worker;
    const struct cancel_ticket ticket = {.worker = w->index, .slot = c->slot, .id = c->core.id};
    uint32_t pid;
    struct proto_span key = core_login_cancel(&c->core, &pid);
    const struct cancel_name name = cancel_name_read(pid, w->proxy->workers_count);
    const bool passed_on = key.size % 2 == 1;
    key.size -= passed_on ? 1 : 0;
    c->cancelling = true;
    const bool ours = /* or a peer's */
        pid <= INT32_MAX &&
        (key.size == CORE_CANCEL_KEY_SIZE || key.size == CORE_CANCEL_KEY_SIZE_MAX);
    bool taken = false;
    if (ours && name.instance != w->config->switchgear.instance_id)
        taken = !passed_on && pass_on(w, name.instance, pid, key, &ticket);
    else if (ours && name.worker < w->proxy->workers_count)
        taken = to_owner(w, &name, key, &ticket);
    if (!taken)
        answer(w, &ticket);
}
