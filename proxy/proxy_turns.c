/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_turns: see the header.
 */
#include "proxy_turns.h"

#define KEPT_NS UINT64_C(5000000000)

static void on_prepare(uv_prepare_t *prepare)
{
    struct turns *t = prepare->data;
    const uint64_t now_ns = uv_hrtime();
    const uint64_t idle_ns = uv_metrics_idle_time(prepare->loop);
    const uint64_t busy_ns = now_ns - t->began_ns - (idle_ns - t->idle_ns);
    if (t->began_ns != 0 && busy_ns > t->longest_ns)
        t->longest_ns = busy_ns;
    t->began_ns = now_ns;
    t->idle_ns = idle_ns;
    shared_add(&t->stats->loop_turns, 1);
}

int turns_init(struct turns *t, uv_loop_t *loop, struct stats_worker *stats)
{
    *t = (struct turns){.stats = stats};
    int r = uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    if (r == 0)
        r = uv_prepare_init(loop, &t->prepare);
    t->prepare.data = t;
    return r == 0 ? uv_prepare_start(&t->prepare, on_prepare) : r;
}

void turns_publish(struct turns *t, uint64_t now_ns)
{
    const uint64_t recent_ns = t->longest_ns > t->before_ns ? t->longest_ns : t->before_ns;
    if (recent_ns > t->stats->turn_max_ns)
        shared_set(&t->stats->turn_max_ns, recent_ns);
    shared_set(&t->stats->turn_recent_ns, recent_ns);
    if (now_ns < t->since_ns + KEPT_NS)
        return;
    t->since_ns = now_ns;
    t->before_ns = t->longest_ns;
    t->longest_ns = 0;
}

void turns_close(struct turns *t)
{
    if (!uv_is_closing((uv_handle_t *)&t->prepare))
        uv_close((uv_handle_t *)&t->prepare, NULL);
}
