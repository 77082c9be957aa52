/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_gone: while no primary answers nothing new is written, and lag is not counted: the
 * replicas that have replayed most stand for the shard. What was acknowledged after the last mark
 * may be on none of them; a read behind such a write is served and counted.
 *
 * Happy path: a replica's answer -> probe_gone_look -> published as fresh; a primary's answer ->
 * probe_gone_over.
 */
#include "proxy_probe_internal.h"

#include "proxy_log.h"

/* A failover in good order is over by then, and at the start every node has been asked. */
#define GONE_NS (1000 * PROBE_MS)

static const char *shard_name(const struct supervisor *s, const struct probe_shard *shard)
{
    return s->proxy->config->shards[shard - s->probes->shards];
}

bool probes_primary_is_gone(const struct supervisor *s, uint32_t shard)
{
    return s->probes != NULL && s->probes->shards[shard].is_gone;
}

/* What it was told last may still be written there: only a breaker that is open keeps it away. */
static bool has_no_primary(const struct supervisor *s, const struct probe_shard *shard)
{
    if (shard->primary == ROUTER_NODE_NONE)
        return true;
    const struct node_state *n = &s->nodes[shard->primary];
    return n->probe->is_failing && breaker_effective(&n->breaker) == BREAKER_OPEN;
}

/* Has it replayed what it received, and no other replica more? */
static bool is_furthest(const struct supervisor *s, uint32_t node)
{
    const struct probe_shard *shard = probe_shard_of(s, node);
    const struct node_state *n = &s->nodes[node];
    if (n->received_lsn > n->lsn || n->replay_paused)
        return false;
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const struct node_state *other = &s->nodes[i];
        if (probe_shard_of(s, i) == shard && other->role == ROUTER_ROLE_REPLICA &&
            !other->probe->is_failing && other->lsn > n->lsn)
            return false;
    }
    return true;
}

static void say_gone(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns)
{
    const bool serves =
        s->proxy->config->switchgear.primary_gone_reads == CONFIG_PRIMARY_GONE_SERVE;
    const struct node_state *last =
        shard->primary != ROUTER_NODE_NONE ? &s->nodes[shard->primary] : NULL;
    shard->said_ns = now_ns;
    log_warning("primary_gone", "shard=%s reads=%s for_s=%llu last=%s error=\"%s\"",
                shard_name(s, shard), serves ? "serve" : "refuse",
                (unsigned long long)((now_ns - shard->alive_ns) / (1000 * PROBE_MS)),
                last != NULL ? s->proxy->config->nodes[shard->primary].name : "",
                last != NULL ? last->last_error : "");
}

void probe_gone_remind(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns)
{
    const uint64_t since_ns = shard->said_ns != 0 ? shard->said_ns : shard->alive_ns;
    const uint64_t pause_ns = shard->said_ns != 0 ? SAID_AGAIN_NS : GONE_NS;
    if (has_no_primary(s, shard) && now_ns > since_ns && now_ns - since_ns > pause_ns)
        say_gone(s, shard, now_ns);
}

static bool is_gone(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns)
{
    const bool gone = has_no_primary(s, shard) && now_ns - shard->alive_ns > GONE_NS;
    if (gone && !shard->is_gone) {
        shard->is_gone = true;
        say_gone(s, shard, now_ns);
    }
    return gone;
}

bool probe_gone_look(struct supervisor *s, uint32_t node, uint64_t now_ns)
{
    struct node_state *n = &s->nodes[node];
    const bool stood = n->stands_ns != 0;
    const bool stands =
        is_gone(s, probe_shard_of(s, node), now_ns) && is_furthest(s, node) &&
        s->proxy->config->switchgear.primary_gone_reads == CONFIG_PRIMARY_GONE_SERVE;
    probe_gone_remind(s, probe_shard_of(s, node), now_ns);
    n->stands_ns = stands ? n->probe->link.sent_ns : 0;
    return stands != stood;
}

bool probe_gone_over(struct supervisor *s, struct probe_shard *shard, uint64_t now_ns)
{
    shard->alive_ns = now_ns;
    if (shard->said_ns != 0)
        log_info("primary_back", "shard=%s", shard_name(s, shard));
    shard->said_ns = 0;
    if (!shard->is_gone)
        return false;
    shard->is_gone = false;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (probe_shard_of(s, i) == shard)
            s->nodes[i].stands_ns = 0;
    return true;
}
