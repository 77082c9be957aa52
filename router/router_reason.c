/* SPDX-License-Identifier: PostgreSQL
 *
 * router_reason: the texts of the enums, from the same lists.
 */
#include "router_reason.h"

#include <assert.h>

#define X(name, text) text,

const char *router_verdict_text(enum router_verdict verdict)
{
    static const char *const texts[] = {ROUTER_VERDICT_MAP(X)};
    assert(verdict < ROUTER_VERDICT_COUNT);
    return texts[verdict];
}

const char *router_target_text(enum router_target target)
{
    static const char *const texts[] = {ROUTER_TARGET_MAP(X)};
    assert(target < ROUTER_TARGET_COUNT);
    return texts[target];
}

const char *router_reason_text(enum router_reason reason)
{
    static const char *const texts[] = {ROUTER_REASON_MAP(X)};
    assert(reason < ROUTER_REASON_COUNT);
    return texts[reason];
}
