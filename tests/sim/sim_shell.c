/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_shell: what the proxy's shell does around the core: it carries actions out, pools server
 * connections, and checks from the outside that a release is one.
 */
#include <stdlib.h>

#include "sim.h"

/* ---- the pool ---- */

static struct sim_conn *conn_of(struct core_backend *b)
{
    return b->shell;
}

void sim_conn_free(struct sim_conn *c)
{
    core_backend_deinit(&c->core);
    sim.nodes[c->node].conns--;
    if (!c->dead && sim_chance(50)) { /* what was sent is executed all the same */
        c->closed_by_proxy = true;
        sim_server_read(c, sim_queue_size(&c->in));
    }
    free(c->in.base);
    free(c->got.base);
    free(c->out.base);
    memset(c, 0, sizeof(*c));
}

static void send_server(struct sim_conn *c, const struct core_sink *sink)
{
    for (uint32_t i = 0; i < sink->count; i++) {
        sim_queue_add(&c->in, sink->spans[i].base, sink->spans[i].size);
        sim_trace(c->owner, c->node > 0 ? "replica > " : "primary > ", sink->spans[i]);
        if (sim.broken == SIM_BREAK_TWICE && sim_chance(5))
            sim_queue_add(&c->in, sink->spans[i].base, sink->spans[i].size);
    }
}

void sim_pool_put(struct sim_conn *c, bool client_gone)
{
    if (c->core.broken) {
        sim_conn_free(c);
        return;
    }
    if (!core_backend_idle(&c->core) || (client_gone && c->core.tainted)) {
        struct core_actions *a = core_backend_reset(&c->core);
        send_server(c, &a->server);
        c->resetting = true;
        return;
    }
    c->pooled = true;
}

void sim_unattended(struct sim_conn *c)
{
    if (c->core.broken) {
        if (c->pooled || c->resetting || c->draining)
            sim_conn_free(c);
    } else if (c->draining && core_backend_drained(&c->core)) {
        c->draining = false;
        sim_pool_put(c, true);
    } else if (c->resetting && core_backend_idle(&c->core)) {
        c->resetting = false;
        c->pooled = true;
    }
}

/* Late data of a COPY that has failed is no request: a server ignores it. */
static bool has_requests(const struct sim_queue *q)
{
    struct proto_header h = {0};
    for (struct proto_span in = sim_queue_span(q); in.size > 0;) {
        if (proto_header_peek(in, UINT32_MAX - 4, &h) != PROTO_OK || strchr("dcf", h.type) == NULL)
            return true;
        const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
        if (size > in.size)
            return true;
        in = (struct proto_span){.base = in.base + size, .size = in.size - size};
    }
    return false;
}

/* The release rule, from the outside. */
static void check_release(const struct sim_conn *c, uint64_t client_pending)
{
    if (c->core.session != NULL)
        sim_fail("released while attached");
    struct sim_queue left_over = {0};
    sim_queue_add(&left_over, sim_queue_span(&c->got).base, sim_queue_size(&c->got));
    sim_queue_add(&left_over, sim_queue_span(&c->in).base, sim_queue_size(&c->in));
    const bool requests = has_requests(&left_over);
    free(left_over.base);
    if (requests && !c->dead) /* else the rest of a late message goes nowhere */
        sim_fail("released with requests unread by the server");
    const bool moved = (sim.database.until_write || c->read_only) && c->node != 0 &&
                       c->core.status == c->status && c->status != 'I' && c->pending_count == 0;
    if (!c->dead && !moved && (c->status != 'I' || c->skipping || c->copy_in))
        sim_fail("released in a transaction");
    if (!c->dead && c->locks > 0)
        sim_fail("released with a lock");
    if (client_pending > 0 && c->said)
        sim_fail("released before its client has everything");
    const struct proto_span left = sim_queue_span(&c->out);
    if (left.size > 0 && left.base[0] != 'N' && left.base[0] != 'S' && !c->dead)
        sim_fail("released with a reply on its way");
}

/* ---- actions ---- */

static void wait_add(struct sim_client *c)
{
    if (c->waiting)
        return;
    c->waiting = true;
    c->waits_since = sim.step;
    sim.waiters[sim.waiters_count++] = c->index;
}

void sim_wait_remove(struct sim_client *c)
{
    int n = 0;
    for (int i = 0; i < sim.waiters_count; i++)
        if (sim.waiters[i] != c->index)
            sim.waiters[n++] = sim.waiters[i];
    sim.waiters_count = n;
    c->waiting = false;
}

void sim_client_close(struct sim_client *c)
{
    if (!c->open)
        return;
    c->open = false;
    struct core_actions *a = core_client_gone(&c->core, sim.now_ns);
    struct core_backend *b = a->backend;
    if (a->cancel_want)
        sim_wait_remove(c);
    if (a->close_backend != CORE_KEEP)
        sim_conn_free(conn_of(b));
    else if (a->release)
        sim_pool_put(conn_of(b), true);
    else if (a->drain) {
        send_server(conn_of(b), &a->server);
        conn_of(b)->draining = true;
        if (a->cancel_backend && sim.cancels)
            sim_cancel_send(conn_of(b), c->index);
        if (b->hold != NULL) { /* that its client was too tired for */
            (void)core_server_data(b, (struct proto_span){0}, sim.now_ns);
            sim_unattended(conn_of(b));
        }
    }
    core_session_deinit(&c->core);
}

static void send_client(struct sim_client *c, const struct core_sink *sink)
{
    struct sim_client *to = c;
    if (c->goodbye)
        return; /* nobody looks at it */
    if (sim.broken == SIM_BREAK_SWAP && sim_chance(2))
        to = &sim.clients[sim_below((uint32_t)sim.clients_count)];
    for (uint32_t i = 0; i < sink->count; i++)
        sim_queue_add(&to->to_client, sink->spans[i].base, sink->spans[i].size);
    for (uint32_t i = 0; i < sink->count; i++)
        sim_trace(c->index, "client  < ", sink->spans[i]);
    c->core.client_pending = sim_queue_size(&c->to_client);
}

static struct core_actions *log_in(struct sim_client *c)
{
    const struct core_login_answer answer = {.auth = CORE_AUTH_TRUST, .group = &sim.group};
    return core_login_user(&c->core, &answer, sim.now_ns);
}

/* One step's wishes. Returns the next step's actions, when it is to be taken at once. */
static struct core_actions *execute_one(struct sim_client *client, struct core_actions *a)
{
    struct core_backend *b = a->backend;
    struct sim_conn *conn = b != NULL ? conn_of(b) : NULL;
    const struct core_actions did = {.again = a->again,
                                     .again_server = a->again_server,
                                     .tired = a->tired,
                                     .settle = a->settle,
                                     .close_client = a->close_client,
                                     .login_want_user = a->login_want_user};
    /* what an answer of the proxy's own adds in this step is not the backend's */
    const uint64_t pending = client != NULL ? client->core.client_pending : 0;
    if (a->server.size > 0 && !conn->dead)
        send_server(conn, &a->server);
    if (a->client.size > 0)
        send_client(client, &a->client);
    if (a->client.size > 0 && conn != NULL)
        conn->said = true;
    if (a->want)
        wait_add(client);
    if (a->cancel_want)
        sim_wait_remove(client);
    if (a->unended)
        client->unended = true;
    if (a->signal)
        client->signal = (int)a->wish.pid - SIM_SIGNAL_PID;
    if (client != NULL && client->waiting && !client->core.waiting)
        sim_wait_remove(client);
    if (a->release) {
        check_release(conn, pending);
        sim_pool_put(conn, false);
        conn = NULL;
    } else if (a->close_backend != CORE_KEEP) {
        if (b->session != NULL)
            sim_fail("closed while attached");
        sim_conn_free(conn);
        conn = NULL;
    }
    if (did.close_client != CORE_KEEP) {
        if (did.close_client == CORE_CLOSE_NOW)
            sim_queue_clear(&client->to_client);
        client->lost = client->lost || !client->finished;
        if (!sim.faults && !sim.refuse && !client->finished && !client->goodbye)
            sim_fail("client %d was closed for nothing", client->index);
        sim_queue_add(&client->received, sim_queue_span(&client->to_client).base,
                      sim_queue_size(&client->to_client));
        sim_queue_clear(&client->to_client);
        client->lost = false;
        sim_client_check(client);
        client->lost = true;
        sim_client_close(client);
        return NULL;
    }
    if (did.settle && client != NULL)
        client->settle = true;
    if (did.login_want_user)
        return log_in(client);
    if (did.tired) {
        client->tired = true;
        return NULL;
    }
    if (did.again_server && conn != NULL)
        return core_server_data(b, (struct proto_span){0}, sim.now_ns);
    if (did.again)
        return core_resume(&client->core, sim.now_ns);
    if (client != NULL && client->settle && client->core.client_pending == 0) {
        client->settle = false;
        return core_client_drained(&client->core, sim.now_ns);
    }
    return NULL;
}

void sim_execute(struct sim_client *client, struct core_actions *a)
{
    while (a != NULL)
        a = execute_one(client, a);
}

void sim_client_goes_on(struct sim_client *c)
{
    c->tired = false;
    if (c->open && c->core.backend != NULL && c->core.backend->hold != NULL)
        sim_execute(c, core_server_data(c->core.backend, (struct proto_span){0}, sim.now_ns));
    if (c->open)
        sim_execute(c, core_resume(&c->core, sim.now_ns));
    if (c->open && c->core.client_pending == 0)
        sim_execute(c, core_client_drained(&c->core, sim.now_ns));
}

struct sim_conn *sim_conn_find(uint8_t node)
{
    for (int i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *c = &sim.conns[i];
        if (c->open && c->pooled && c->node == node && core_backend_idle(&c->core))
            return c;
    }
    if (sim.nodes[node].conns >= sim.budget || !sim.nodes[node].up)
        return NULL;
    for (int i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *c = &sim.conns[i];
        if (c->open)
            continue;
        sim_server_start(c, node);
        sim.nodes[node].conns++;
        core_backend_init(&c->core, &sim.worker, node, node != 0, sim.now_ns, c);
        struct sim_queue params = {0};
        sim_reply_application(&params, "");
        c->core.params = params.base;
        c->core.params_size = (uint32_t)params.size;
        return c;
    }
    return NULL;
}
