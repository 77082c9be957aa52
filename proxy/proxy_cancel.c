/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_cancel: cancel requests to servers. PQcancel() blocks until the server has hung up, on a
 * frozen one for ever: so each has a thread of its own rather than one of libuv's few, which look
 * up names too. A server is not reused before its cancel has ended, so that it can never hit the
 * statement of the next client.
 *
 * Happy path: server_cancel -> cancel_thread -> on_cancel_timer -> server_cancel_ended.
 * Failure modes: one that takes too long is left to itself; its server is closed, never reused.
 */
#include <pthread.h>
#include <stdlib.h>

#include "proxy_worker.h"

enum {
    JOBS_MAX = 128,      /* a worker's; a cancel beyond it is dropped, as PostgreSQL may */
    LOOK_MS = 2,         /* how soon a cancel that has ended is noticed */
    LOOK_SLOWLY_MS = 50, /* ... one that takes long */
    STOPPING_MS = 500,   /* for those that run when the proxy stops */
};

enum job_state { JOB_RUNS, JOB_DONE, JOB_LEFT };

/* Belongs to the worker and its thread; the second to leave it frees it. */
struct cancel_job {
    TAILQ_ENTRY(cancel_job) link;
    struct server *server; /* the worker's */
    PGcancel *cancel;      /* the thread's */
    uint64_t began_ns;
    int state; /* enum job_state, changed by compare-and-swap */
};

static void job_free(struct cancel_job *job)
{
    PQfreeCancel(job->cancel);
    free(job);
}

/* True: the other side is still there, and frees the job. */
static bool job_leave(struct cancel_job *job, enum job_state state)
{
    int runs = JOB_RUNS;
    return __atomic_compare_exchange_n(&job->state, &runs, (int)state, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static void *cancel_thread(void *arg)
{
    struct cancel_job *job = arg;
    char error[256];
    (void)PQcancel(job->cancel, error, sizeof(error));
    if (!job_leave(job, JOB_DONE))
        job_free(job);
    return NULL;
}

static bool thread_start(struct cancel_job *job)
{
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, (size_t)256 * 1024);
    const bool started = pthread_create(&thread, &attributes, cancel_thread, job) == 0;
    (void)pthread_attr_destroy(&attributes);
    return started;
}

static uint64_t limit_ns(const struct worker *w)
{
    const uint64_t connect_ns = w->config->switchgear.server_connect_timeout_ns;
    if (w->stopping)
        return (uint64_t)STOPPING_MS * 1000000u;
    return connect_ns != 0 ? connect_ns : UINT64_MAX;
}

/* Takes the jobs that have ended, or that took too long. */
static void on_cancel_timer(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    const uint64_t now_ns = uv_hrtime();
    struct cancel_job *job;
    struct cancel_job *next;
    bool is_fresh = false;
    worker_topology_refresh(w);
    TAILQ_EACH_SAFE (job, &w->cancels, link, next) {
        const bool done = __atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == JOB_DONE;
        const bool late = now_ns - job->began_ns > limit_ns(w);
        is_fresh = is_fresh || now_ns - job->began_ns < (uint64_t)LOOK_SLOWLY_MS * 1000000u;
        if (!done && !late)
            continue;
        struct server *v = job->server;
        TAILQ_REMOVE(&w->cancels, job, link);
        w->cancels_count--;
        const bool left = !done && job_leave(job, JOB_LEFT);
        if (!left)
            job_free(job);
        server_cancel_ended(v, left, now_ns);
    }
    if (w->cancels_count > 0)
        (void)uv_timer_start(timer, on_cancel_timer, is_fresh ? LOOK_MS : LOOK_SLOWLY_MS, 0);
}

void server_cancel(struct server *v)
{
    struct worker *w = v->worker;
    if (v->core.cancels > 0 || w->cancels_count >= JOBS_MAX)
        return; /* one at a time: many must not stampede a server */
    struct cancel_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return;
    job->server = v;
    job->began_ns = uv_hrtime();
    job->cancel = PQgetCancel(v->conn);
    if (job->cancel == NULL || !thread_start(job)) {
        job_free(job);
        return;
    }
    TAILQ_INSERT_TAIL(&w->cancels, job, link);
    w->cancels_count++;
    (void)uv_timer_start(&w->cancel_timer, on_cancel_timer, LOOK_MS, 0);
    v->core.cancels++;
    shared_add(&w->stats.cancels, 1);
}
