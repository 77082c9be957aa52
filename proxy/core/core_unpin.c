/* SPDX-License-Identifier: PostgreSQL
 *
 * core_unpin: is what pins a session still there? Behind a statement that may have undone some of
 * it the server is asked, once the client has its answer and nothing is open. The text of such a
 * statement cannot tell: locks are counted, their keys are parameters, a rollback takes things
 * back.
 *
 * Failure modes: the question fails, or is answered by nonsense: what pins stays.
 */
#include "core_follow.h"
#include "core_internal.h"
#include "core_pin.h"

static const char question[] = "SELECT " CORE_PINS_QUESTION; /* one column a kind */
static const uint16_t kinds[] = {CORE_PINS_ASKED_IN_ORDER};
enum {
    KINDS = sizeof(kinds) / sizeof(kinds[0]),
    PINS_ASKED = ROUTER_PIN_LISTEN | ROUTER_PIN_ADVISORY | ROUTER_PIN_TEMP | ROUTER_PIN_PREPARE |
                 ROUTER_PIN_CURSOR,
    /* it stays pinned whatever the answer; and a long unnamed statement would be lost */
    PINS_LASTING = ROUTER_PIN_POOL | ROUTER_PIN_LONG,
    PINS_UNKNOWN = 0xffff,
};

bool core_unpin_ask(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    if (!core_at_rest(s) || s->phase != CORE_QUERY || b->broken)
        return false;
    s->pins_doubtful = false;
    if ((s->pins & PINS_ASKED) == 0 || (s->pins & PINS_LASTING) != 0)
        return false;
    core_lend_back(s, a);
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_query(&w, core_span(question));
    core_sink_commit(&a->server, &w);
    struct core_expect *e = core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
    e->follow = CORE_FOLLOW_ASKED;
    a->backend = b;
    b->unnamed_id = 0; /* a Query drops it */
    s->pins_left = PINS_UNKNOWN;
    s->barrier = true;
    s->worker->counters.pins_asked++;
    return true;
}

void core_unpin_row(struct core_session *s, struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    uint16_t left = 0;
    bool good = proto_read_u16(&r) == KINDS;
    for (uint32_t i = 0; i < KINDS; i++) {
        good = good && proto_read_u32(&r) == 1;
        const uint8_t value = proto_read_u8(&r);
        good = good && (value == 't' || value == 'f');
        if (value == 't')
            left |= kinds[i];
    }
    if (good && proto_reader_done(&r))
        s->pins_left = left;
}

void core_unpin_ready(struct core_session *s)
{
    const uint16_t left = s->pins_left;
    if (left == PINS_UNKNOWN)
        return;
    if (left != 0)
        core_pin_force(s, left); /* also what a function has done unseen */
    s->pins_new = 0;
    core_pin_release(s, (uint16_t)(PINS_ASKED & ~left));
}
