/* SPDX-License-Identifier: PostgreSQL
 *
 * core_route: what the router is asked, and the book that is kept of its answers.
 */
#include "core_begin.h"
#include "core_internal.h"
#include "core_settings.h"

void core_request_fill(const struct core_session *s, const struct router_class *class,
                       struct router_request *ret)
{
    const struct core_database *db = s->group->database;
    const uint8_t level = s->level_local != 0xff ? s->level_local : s->level;
    const uint8_t flags = core_settings_flags(s);
    const bool deferred = s->block == CORE_DEFERRED;
    const uint8_t begin = deferred ? s->begin : class->alone ? class->begin : ROUTER_BEGIN_NONE;
    const bool read_only = begin == ROUTER_BEGIN_READ_ONLY ||
                           (begin == ROUTER_BEGIN_PLAIN && (flags & ROUTER_SETTING_READ_ONLY) != 0);
    /* who keeps one server for good needs one that can do everything */
    const bool primary_only =
        s->replay_on_primary || db->pool_mode == 0 || (flags & ROUTER_SETTING_PRIMARY) != 0;
    const bool may_move = deferred && core_move_eligible(s);
    *ret = (struct router_request){
        .class = *class,
        .shard = db->shard,
        .level = level,
        .route = primary_only ? (uint8_t)ROUTER_ROUTE_PRIMARY : s->route,
        .reads = __atomic_load_n(db->reads, __ATOMIC_RELAXED),
        .fallback_allowed = db->fallback_allowed,
        .begins_read_only = read_only,
        .in_plain_block = deferred && !read_only && s->begin == ROUTER_BEGIN_PLAIN && !may_move,
        .in_write_block = deferred && s->begin == ROUTER_BEGIN_WRITE,
        .floor_node = s->floor_node,
        .avoid_node = s->avoid_node,
        .floor_ns = s->floor_ns,
        .last_write_ns = s->last_write_ns,
        .global_write_ns = level == ROUTER_LEVEL_GLOBAL && db->global_write_ns != NULL
                               ? __atomic_load_n(db->global_write_ns, __ATOMIC_ACQUIRE)
                               : 0,
        .max_lag_ns = s->max_lag_ns != 0 ? s->max_lag_ns : db->max_lag_ns,
    };
    if (may_move && s->loggable)
        ret->class.verdict = ROUTER_VERDICT_READ; /* it does not keep the block from a replica */
}

void core_route_count(struct core_session *s, enum router_target target, uint8_t node,
                      enum router_verdict verdict, enum router_reason reason, uint64_t now_ns)
{
    struct core_worker *w = s->worker;
    uint64_t *count =
        &s->group->database
             ->routes[((uint32_t)target * ROUTER_VERDICT_COUNT + verdict) * ROUTER_REASON_COUNT +
                      reason];
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED); /* one writer: this worker */
    s->statements++;
    w->counters.statements++;
    if (reason == ROUTER_REASON_SWITCHGEAR)
        return; /* asking for the last route does not become the last route */
    s->last_route.node = node;
    s->last_route.role = target == ROUTER_TARGET_REPLICA   ? ROUTER_ROLE_REPLICA
                         : target == ROUTER_TARGET_PRIMARY ? ROUTER_ROLE_PRIMARY
                                                           : ROUTER_ROLE_UNKNOWN;
    s->last_route.verdict = (uint8_t)verdict;
    s->last_route.reason = (uint8_t)reason;
    s->last_route.lag_ms = -1;
    if (target == ROUTER_TARGET_PRIMARY)
        s->last_route.lag_ms = 0;
    else if (node != ROUTER_NODE_NONE && w->topology->nodes[node].fresh_as_of_ns != 0 &&
             now_ns > w->topology->nodes[node].fresh_as_of_ns)
        s->last_route.lag_ms =
            (int64_t)((now_ns - w->topology->nodes[node].fresh_as_of_ns) / 1000000);
}

void core_route_attached(struct core_session *s, const struct router_class *class, uint64_t now_ns)
{
    const struct core_backend *b = s->backend;
    enum router_reason reason = (enum router_reason) class->reason;
    if (b->is_replica && s->block == CORE_OPEN && (!s->movable || core_begin_reads_only(s)))
        reason = ROUTER_REASON_READ_ONLY_TRANSACTION;
    else if (class->verdict == ROUTER_VERDICT_READ && !b->is_replica)
        reason = s->block == CORE_OPEN && s->dirty_block ? ROUTER_REASON_IN_WRITE_TRANSACTION
                 : s->block == CORE_OPEN                 ? ROUTER_REASON_IN_TRANSACTION
                 : s->pin != ROUTER_REASON_NONE          ? ROUTER_REASON_PINNED
                                                         : ROUTER_REASON_PIPELINED;
    core_route_count(s, b->is_replica ? ROUTER_TARGET_REPLICA : ROUTER_TARGET_PRIMARY, b->node,
                     (enum router_verdict) class->verdict, reason, now_ns);
}
