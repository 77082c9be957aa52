/* SPDX-License-Identifier: PostgreSQL
 *
 * core_cancel: what a cancel request means to a session, by what it is doing.
 */
#include "core_follow.h"
#include "core_internal.h"

enum core_cancel core_cancel(struct core_session *s)
{
    if (s->phase == CORE_LINKED)
        return CORE_CANCEL_SERVER;
    if (s->phase != CORE_QUERY)
        return CORE_CANCEL_NOTHING;
    if (s->waiting)
        return CORE_CANCEL_WAIT;
    if (s->preflight) {
        /* A cancel would hit our own settings, and leave the connection in a state that nobody
         * knows. They are quick; what they prepare for is not sent any more. */
        s->cancelled = !s->preflight_alone; /* else the client has its answer */
        return CORE_CANCEL_NOTHING;
    }
    if (s->backend != NULL && core_expect_count(s->backend) > 0)
        return core_expect_head(s->backend)->follow == CORE_FOLLOW_ASKED
                   ? CORE_CANCEL_NOTHING /* what runs is a question of ours */
                   : CORE_CANCEL_SERVER;
    return CORE_CANCEL_NOTHING; /* idle, or in a block that no server knows of: as in PostgreSQL */
}

void core_cancel_unsent(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    static const struct proto_error_text error = {.severity = "ERROR",
                                                  .sqlstate = "57014",
                                                  .message =
                                                      "canceling statement due to user request"};
    assert(s->cancelled && !s->preflight && s->backend != NULL);
    core_fail_unsent(s, &error, now_ns, a);
    a->settle = true; /* it needs the backend no more */
}
