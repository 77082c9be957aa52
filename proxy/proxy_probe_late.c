/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_late: a node that lets statements wait and answers nobody is asked at once, and what
 * it takes for that is its verdict: a replica opens, of a primary a witness tells, which looks
 * already while the probe waits.
 */
#include "proxy_probe_internal.h"

/* A primary that lets it wait so long is looked at on a new connection too. */
#define WITNESS_NS (150 * PROBE_MS)

/* With `late_timeout` above `timeout` it is the latter that counts, and as ever. */
static bool decides(const struct supervisor *s, const struct probe *p)
{
    const struct config_probe *c = &s->proxy->config->probe;
    return p->is_late && c->late_timeout_ns != 0 && c->late_timeout_ns <= c->timeout_ns;
}

void probe_late(struct supervisor *s, uint32_t node)
{
    struct probe *p = s->nodes[node].probe;
    if (s->proxy->config->probe.late_timeout_ns == 0)
        return;
    p->is_late = true;
    if (p->link.state == LINK_IDLE)
        probe_soon(p, uv_hrtime(), false);
}

void probe_late_over(struct probe *p)
{
    p->is_late = p->is_late_witnessed = false;
}

uint64_t probe_timeout_ns(const struct supervisor *s, const struct probe *p)
{
    const struct config_probe *c = &s->proxy->config->probe;
    return decides(s, p) ? c->late_timeout_ns : c->timeout_ns;
}

bool probe_late_decides(const struct supervisor *s, uint32_t node, enum link_fault fault)
{
    return fault == LINK_TIMEOUT_ANSWER && decides(s, s->nodes[node].probe);
}

uint64_t probe_late_witness(struct supervisor *s, uint32_t node, uint64_t since_ns, uint64_t now_ns)
{
    struct probe *p = s->nodes[node].probe;
    if (!p->is_late || p->is_late_witnessed || s->nodes[node].role != ROUTER_ROLE_PRIMARY)
        return PROBE_NEVER;
    if (now_ns < since_ns + WITNESS_NS)
        return since_ns + WITNESS_NS;
    p->is_late_witnessed = true;
    witness_want(s, node, false);
    return PROBE_NEVER;
}
