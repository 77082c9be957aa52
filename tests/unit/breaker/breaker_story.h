/* SPDX-License-Identifier: PostgreSQL
 *
 * breaker_story: one breaker with its clock, and the states from which its stories begin.
 */
#ifndef BREAKER_STORY_H
#define BREAKER_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "breaker.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

/* A breaker with its clock. Jitter: `random` 0 gives the shortest open time (75 %). */
struct story {
    struct breaker breaker;
    struct breaker_config config;
    uint64_t now_ns;
    uint64_t random;
};

static inline bool feed_as(struct story *s, enum breaker_input input, enum breaker_reason reason)
{
    return breaker_step(&s->breaker, &s->config, input, reason, s->breaker.generation, s->random,
                        s->now_ns);
}

static inline bool feed(struct story *s, enum breaker_input input)
{
    return feed_as(s, input, BREAKER_REASON_ERRORS);
}

static inline void wait(struct story *s, uint64_t by_ns)
{
    s->now_ns += by_ns;
    feed(s, BREAKER_TICK);
}

static inline struct story starting(void)
{
    struct story s = {.config = breaker_config_default(), .now_ns = 1000 * SECOND};
    breaker_init(&s.breaker, s.now_ns);
    return s;
}

/* CLOSED for long enough that min_dwell does not matter. */
static inline struct story closed(void)
{
    struct story s = starting();
    feed(&s, BREAKER_PROBE_SUCCESS);
    wait(&s, 5 * SECOND);
    return s;
}

static inline struct story opened(void)
{
    struct story s = closed();
    for (int i = 0; i < 3; i++)
        feed_as(&s, BREAKER_PROBE_FAILURE, BREAKER_REASON_CONNECT);
    return s;
}

static inline void to_half_open(struct story *s)
{
    if (s->now_ns < s->breaker.retry_at_ns)
        s->now_ns = s->breaker.retry_at_ns;
    s->now_ns += s->config.min_dwell_ns;
    feed(s, BREAKER_PROBE_SUCCESS);
    feed(s, BREAKER_PROBE_SUCCESS);
}

static inline struct story half_open(void)
{
    struct story s = opened();
    to_half_open(&s);
    wait(&s, 2 * SECOND); /* past min_dwell */
    return s;
}

#define assert_state(s, expected) assert_int_equal((s).breaker.state, BREAKER_##expected)

#endif
