/* SPDX-License-Identifier: PostgreSQL
 *
 * test_breaker_model: random streams of events against one breaker, in virtual time, with a small
 * model of what clients hold. The last line names the seed that failed: `test_breaker_model SEED`
 * begins there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "breaker.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

enum { SEEDS = 200, STEPS = 2000, HELD_MAX = 64 };

/* A permit that some client holds: by the contract it is given back only while it is valid. */
struct held {
    uint64_t ends_ns;
    uint32_t generation;
};

struct model {
    struct breaker breaker;
    struct breaker_config config;
    struct held held[HELD_MAX];
    uint32_t held_count;
    uint64_t now_ns;
    uint64_t seed;
    uint64_t closed_count;
    uint64_t half_open_count;
    uint64_t open_count;
};

static uint64_t first_seed = 1;
static uint64_t last_seed; /* the one that runs, or ran last */

static uint64_t draw(struct model *m)
{
    uint64_t z = (m->seed += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static struct breaker_config random_config(struct model *m)
{
    struct breaker_config c = breaker_config_default();
    if (draw(m) % 4 == 0)
        return c;
    c.failures = (uint32_t)(1 + draw(m) % 5);
    c.open_for_ns = (1 + draw(m) % 2000) * MS;
    c.open_factor = (uint32_t)(1 + draw(m) % 4);
    c.open_max_ns = c.open_for_ns + draw(m) % (30 * SECOND);
    c.open_decay_ns = draw(m) % (60 * SECOND);
    c.trial_probes = (uint32_t)(draw(m) % 4);
    c.trial_permits = (uint32_t)(draw(m) % 20);
    c.trial_lease_ns = draw(m) % (8 * SECOND);
    c.trial_calls = (uint32_t)(draw(m) % 12);
    c.trial_failures = (uint32_t)(draw(m) % 4);
    c.trial_max_ns = (1 + draw(m) % 30) * SECOND;
    c.min_dwell_ns = draw(m) % (3 * SECOND);
    c.slow_start_ns = draw(m) % (10 * SECOND);
    c.flap_limit = (uint32_t)(draw(m) % 10);
    return c;
}

static uint32_t permits_limit(const struct model *m)
{
    const uint32_t n = m->config.trial_permits;
    return n == 0 ? 1 : n > BREAKER_PERMITS_MAX ? BREAKER_PERMITS_MAX : n;
}

static uint32_t held_now(const struct model *m)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->held_count; i++)
        count += m->held[i].generation == m->breaker.generation && m->held[i].ends_ns > m->now_ns;
    return count;
}

/* What must hold after every step. */
static void check(const struct model *m, uint32_t generation_before)
{
    const struct breaker *b = &m->breaker;
    assert_true(b->permits_out <= permits_limit(m));
    assert_true(held_now(m) <= permits_limit(m));
    assert_true(b->generation - generation_before <= 1);
    if (b->state == BREAKER_HALF_OPEN)
        assert_true(m->now_ns < b->since_ns + m->config.trial_max_ns);
    if (b->state == BREAKER_OPEN && b->admitted)
        assert_true(b->retry_at_ns - b->since_ns <= m->config.open_max_ns);
    assert_true(breaker_deadline_ns(b, &m->config) > m->now_ns);
    const uint32_t weight = breaker_weight_permille(b, &m->config, m->now_ns);
    assert_in_range(weight, 100, 1000);
}

static void feed(struct model *m, enum breaker_input input, uint32_t generation)
{
    struct breaker *b = &m->breaker;
    const uint32_t before = b->generation;
    const enum breaker_state from = (enum breaker_state)b->state;
    const bool stale = generation != before;
    const uint64_t passed_ns = m->now_ns - b->since_ns;
    const bool changed =
        breaker_step(b, &m->config, input, BREAKER_REASON_ERRORS, generation, draw(m), m->now_ns);

    assert_int_equal(changed, b->generation != before);
    if (changed && from == BREAKER_CLOSED && stale)
        assert_true(passed_ns >= m->config.min_dwell_ns);
    if (changed && from == BREAKER_OPEN && b->state == BREAKER_CLOSED)
        assert_int_equal(input, BREAKER_PROBE_SUCCESS); /* the first one, nothing else */
    m->closed_count += changed && b->state == BREAKER_CLOSED;
    m->open_count += changed && b->state == BREAKER_OPEN;
    m->half_open_count += changed && b->state == BREAKER_HALF_OPEN;
    check(m, before);
}

/* The deadline is kept, as the supervisor keeps it: ticks come when they are asked for. */
static void pass(struct model *m, uint64_t by_ns)
{
    const uint64_t until_ns = m->now_ns + by_ns;
    for (;;) {
        const uint64_t at_ns = breaker_deadline_ns(&m->breaker, &m->config);
        if (at_ns > until_ns)
            break;
        m->now_ns = at_ns;
        feed(m, BREAKER_TICK, m->breaker.generation);
    }
    m->now_ns = until_ns;
}

static void forget_held(struct model *m, uint32_t i)
{
    m->held[i] = m->held[--m->held_count];
}

static void acquire(struct model *m)
{
    if (m->held_count == HELD_MAX)
        forget_held(m, (uint32_t)(draw(m) % HELD_MAX)); /* a client that never comes back */
    if (!breaker_permit_acquire(&m->breaker, &m->config, m->now_ns))
        return;
    const uint64_t lease_ns = m->config.trial_lease_ns > 0 ? m->config.trial_lease_ns : 1;
    m->held[m->held_count++] =
        (struct held){.ends_ns = m->now_ns + lease_ns, .generation = m->breaker.generation};
    check(m, m->breaker.generation);
}

static void give_back(struct model *m, enum breaker_input input)
{
    if (m->held_count == 0)
        return;
    const uint32_t i = (uint32_t)(draw(m) % m->held_count);
    const struct held held = m->held[i];
    forget_held(m, i);
    if (held.generation == m->breaker.generation && held.ends_ns > m->now_ns)
        breaker_permit_release(&m->breaker);
    feed(m, input, held.generation);
}

static void random_event(struct model *m)
{
    static const enum breaker_input inputs[] = {
        BREAKER_SUCCESS,       BREAKER_NEUTRAL,       BREAKER_FAILURE, BREAKER_HALF_FAILURE,
        BREAKER_PROBE_SUCCESS, BREAKER_PROBE_SUCCESS, BREAKER_TICK,    BREAKER_PROBE_FAILURE,
    };
    const enum breaker_input input = inputs[draw(m) % 8];
    const uint32_t generation = m->breaker.generation;

    switch (draw(m) % 8) {
    case 0:
        feed(m, input, generation - (uint32_t)(draw(m) % 3));
        break;
    case 1:
        feed(m, draw(m) % 20 == 0 ? BREAKER_FATAL : BREAKER_TICK, generation);
        break;
    case 2:
    case 3:
        acquire(m);
        break;
    case 4:
        give_back(m, draw(m) % 4 == 0 ? BREAKER_FAILURE : BREAKER_SUCCESS);
        break;
    case 5:
        if (draw(m) % 10 == 0)
            breaker_force(&m->breaker, (enum breaker_override)(draw(m) % 3), m->now_ns);
        break;
    default:
        feed(m, input, generation);
        break;
    }
    if (draw(m) % 2 == 0)
        pass(m, draw(m) % (draw(m) % 8 == 0 ? 10 * SECOND : 300 * MS));
}

/* All is well from here on: probes and clients succeed, whoever holds a permit comes back. */
static void heal(struct model *m)
{
    const uint64_t healed_ns = m->now_ns;
    const uint64_t bound_ns =
        m->config.open_max_ns + m->config.trial_max_ns + 2 * m->config.min_dwell_ns + 10 * SECOND;

    breaker_force(&m->breaker, BREAKER_AUTO, m->now_ns);
    m->held_count = 0;
    feed(m, BREAKER_PROBE_SUCCESS, m->breaker.generation); /* no failure waits for min_dwell */
    while (m->breaker.state != BREAKER_CLOSED) {
        pass(m, 500 * MS);
        feed(m, BREAKER_PROBE_SUCCESS, m->breaker.generation);
        acquire(m);
        give_back(m, BREAKER_SUCCESS);
        assert_true(m->now_ns - healed_ns <= bound_ns);
    }
    for (int i = 0; i < 100; i++) {
        pass(m, 500 * MS);
        feed(m, BREAKER_PROBE_SUCCESS, m->breaker.generation);
        assert_int_equal(m->breaker.state, BREAKER_CLOSED);
    }
}

static void random_streams_keep_the_promises_and_healing_closes(void **arg)
{
    (void)arg;
    uint64_t closed_count = 0;
    uint64_t half_open_count = 0;
    uint64_t open_count = 0;

    for (uint64_t seed = first_seed; seed < first_seed + SEEDS; seed++) {
        struct model m = {.seed = seed, .now_ns = 1000 * SECOND};
        m.config = random_config(&m);
        breaker_init(&m.breaker, m.now_ns);
        last_seed = seed;
        for (int i = 0; i < STEPS; i++)
            random_event(&m);
        heal(&m);
        closed_count += m.closed_count;
        half_open_count += m.half_open_count;
        open_count += m.open_count;
    }
    /* The streams went everywhere. */
    assert_true(closed_count > UINT64_C(3) * SEEDS);
    assert_true(half_open_count > UINT64_C(5) * SEEDS);
    assert_true(open_count > UINT64_C(5) * SEEDS);
}

static int name_the_seed(void **arg)
{
    (void)arg;
    print_message("last seed: %llu\n", (unsigned long long)last_seed);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(random_streams_keep_the_promises_and_healing_closes,
                                  name_the_seed),
    };
    return cmocka_run_group_tests_name("breaker_model", tests, NULL, NULL);
}
