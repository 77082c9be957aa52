/* SPDX-License-Identifier: PostgreSQL
 *
 * sim_cancel: cancel requests, on their way beside everything else: they hit what runs when they
 * arrive, or nothing.
 */
#include "sim_run.h"

static const char text[] = "sim cancels";

static struct sim_client *client_of(struct sim_conn *c)
{
    return c->core.session != NULL ? c->core.session->shell : NULL;
}

void sim_cancel_send(struct sim_conn *c, int client)
{
    if (c->cancel_sent)
        return;
    c->cancel_sent = true;
    c->cancel_for = client;
    if (sim.broken != SIM_BREAK_CANCEL)
        c->core.cancels++;
}

void sim_cancel_ask(struct sim_client *c)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57014", .message = text};
    if (!sim.cancels || sim.quiet || !c->open || !c->logged_in || c->goodbye || !c->refusable)
        return;
    c->cancels_asked++;
    switch (core_cancel(&c->core)) {
    case CORE_CANCEL_NOTHING:
        return;
    case CORE_CANCEL_SIGNAL:
        sim_execute(c, core_signalled(&c->core, CORE_SIGNAL_CANCELLED, sim.now_ns));
        return;
    case CORE_CANCEL_WAIT:
        sim_wait_remove(c);
        sim_execute(c, core_refused(&c->core, &error, sim.now_ns));
        return;
    case CORE_CANCEL_SERVER:
        if (sim_chance(30)) { /* a COPY that its client fails has the same SQLSTATE, and says so */
            core_timed_out(&c->core);
            c->cancels_asked++;
        }
        sim_cancel_send(c->core.backend->shell, c->index);
        return;
    }
}

/* A server gets it. */
static void arrives(struct sim_conn *c)
{
    const struct sim_client *serves = client_of(c);
    if (sim.broken != SIM_BREAK_CANCEL &&
        (c->pooled || (serves != NULL && serves->index != c->cancel_for)))
        sim_fail("a cancel of client %d comes to a server that serves another", c->cancel_for);
    if (c->dead)
        return;
    if (c->slow) {
        c->slow = false;
        c->cancelled = true;
    } else if (c->copy_in) {
        sim_run_error(c, c->copy_extended, "57014", text, "ProcessInterrupts");
        sim_server_copy_ends(c);
    }
}

void sim_cancel_arrive(struct sim_conn *c)
{
    if (!c->open || !c->cancel_sent)
        return;
    arrives(c);
    c->cancel_sent = false;
    if (sim.broken == SIM_BREAK_CANCEL)
        return;
    c->core.cancels--;
    struct sim_client *client = client_of(c);
    if (client != NULL && client->core.client_pending == 0)
        sim_execute(client, core_client_drained(&client->core, sim.now_ns));
    else if (client == NULL)
        sim_unattended(c);
}

bool sim_cancel_is_slow(struct sim_conn *c, enum sim_kind kind)
{
    if (!sim.cancels || sim.quiet || c->closed_by_proxy || c->slow_over || kind > SIM_FUNCTION)
        return false;
    c->slow = sim_chance(8);
    return c->slow;
}
