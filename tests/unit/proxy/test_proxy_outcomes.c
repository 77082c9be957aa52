/* SPDX-License-Identifier: PostgreSQL */
#include "proxy_outcomes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

enum { SIZE = 16, RECORDS = 20000 };

static void a_full_ring_refuses_and_loses_nothing(void **state)
{
    (void)state;
    struct outcomes o;
    struct outcome_record record;
    uint32_t put = 0;
    assert_true(outcomes_init(&o, SIZE));
    while (outcomes_put(&o, &(struct outcome_record){.generation = put}))
        put++;
    assert_true(put >= SIZE - 2 && put <= SIZE);
    for (uint32_t i = 0; i < put; i++) {
        assert_true(outcomes_take(&o, &record));
        assert_int_equal(i, record.generation);
    }
    assert_false(outcomes_take(&o, &record));
    assert_true(outcomes_put(&o, &record)); /* there is room again; dropped at the end */
    outcomes_deinit(&o);
}

static void *produce(void *arg)
{
    struct outcomes *o = arg;
    for (uint32_t i = 0; i < RECORDS;) {
        const struct outcome_record record = {.node = (uint8_t)i, .generation = i};
        if (outcomes_put(o, &record))
            i++;
        else
            (void)sched_yield();
    }
    return NULL;
}

static void records_cross_threads_in_order(void **state)
{
    (void)state;
    struct outcomes o;
    pthread_t thread;
    assert_true(outcomes_init(&o, SIZE));
    assert_int_equal(0, pthread_create(&thread, NULL, produce, &o));
    for (uint32_t i = 0; i < RECORDS;) {
        struct outcome_record record;
        if (!outcomes_take(&o, &record)) {
            (void)sched_yield();
            continue;
        }
        assert_int_equal(i, record.generation);
        assert_int_equal((uint8_t)i, record.node);
        i++;
    }
    (void)pthread_join(thread, NULL);
    outcomes_deinit(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_ring_refuses_and_loses_nothing),
        cmocka_unit_test(records_cross_threads_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
