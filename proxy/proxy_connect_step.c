/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_connect_step: see the header.
 *
 * Happy path: connect_step_begin -> run (another thread) -> on_run -> done.
 */
#include "proxy_connect_step.h"

#include <assert.h>
#include <stdlib.h>

struct connect_step {
    uv_work_t work;
    PGconn *conn;
    PostgresPollingStatusType status;
    connect_step_done *done; /* NULL: abandoned */
    connect_step_gone *gone;
    void *data; /* of `done`, then of `gone` */
};

static void run(uv_work_t *work)
{
    struct connect_step *s = work->data;
    s->status = PQconnectPoll(s->conn);
}

static void on_run(uv_work_t *work, int status)
{
    struct connect_step *s = work->data;
    const struct connect_step was = *s;
    (void)status; /* not 0: connect_step_abandon() came before it had begun */
    free(s);
    if (was.done != NULL) {
        was.done(was.data, was.status);
        return;
    }
    if (was.gone != NULL)
        was.gone(was.conn, was.data);
    PQfinish(was.conn);
}

struct connect_step *connect_step_begin(uv_loop_t *loop, PGconn *conn, connect_step_done *done,
                                        void *data)
{
    struct connect_step *s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    s->work.data = s;
    s->conn = conn;
    s->done = done;
    s->data = data;
    const int r = uv_queue_work(loop, &s->work, run, on_run);
    assert(r == 0); /* fails only without a callback */
    return s;
}

void connect_step_abandon(struct connect_step *step, connect_step_gone *gone, void *data)
{
    step->done = NULL;
    step->gone = gone;
    step->data = data;
    (void)uv_cancel((uv_req_t *)&step->work);
}
