/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proxy_waitlist: first in, first out for every node, compared with a list that is walked; and
 * that no call walks one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "proxy_waitlist.h"

enum { MANY = 100000, CROWD = 300, TURNS = 40000, SECONDS = 2 };

static struct waitlist list;

static int setup(void **arg)
{
    (void)arg;
    waitlist_init(&list);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    waitlist_deinit(&list);
    waitlist_deinit(&list); /* safe twice */
    return 0;
}

static void add(struct waiter *w, enum waitlist_kind kind, uint32_t mask, uint64_t since_ns)
{
    *w = (struct waiter){.kind = (uint8_t)kind, .mask = mask, .since_ns = since_ns};
    waitlist_add(&list, w, mask != 0 ? (uint8_t)__builtin_ctz(mask) : 0);
}

static void the_oldest_that_a_node_may_serve_comes_first(void **arg)
{
    struct waiter w[6];
    (void)arg;
    assert_null(waitlist_first(&list, WAITLIST_REPLICA, 1));
    add(&w[0], WAITLIST_REPLICA, 1u << 2, 10); /* bound to one */
    add(&w[1], WAITLIST_REPLICA, 1u << 1 | 1u << 2, 20);
    add(&w[2], WAITLIST_REPLICA, 1u << 1, 30);
    add(&w[3], WAITLIST_PRIMARY, 1u << 0, 5);
    add(&w[4], WAITLIST_LOGIN, 7, 1);
    add(&w[5], WAITLIST_HOMELESS, 0, 2);
    assert_ptr_equal(waitlist_first(&list, WAITLIST_REPLICA, 1), &w[1]);
    assert_ptr_equal(waitlist_first(&list, WAITLIST_REPLICA, 2), &w[0]);
    assert_null(waitlist_first(&list, WAITLIST_REPLICA, 0));
    assert_ptr_equal(waitlist_first(&list, WAITLIST_PRIMARY, 0), &w[3]);
    assert_null(waitlist_first(&list, WAITLIST_FALLBACK, 0));
    assert_ptr_equal(waitlist_first(&list, WAITLIST_LOGIN, 2), &w[4]);
    assert_null(waitlist_first(&list, WAITLIST_HOMELESS, 0));
    assert_ptr_equal(waitlist_oldest(&list, WAITLIST_HOMELESS), &w[5]);
    waitlist_remove(&list, &w[1]);
    assert_ptr_equal(waitlist_first(&list, WAITLIST_REPLICA, 1), &w[2]);
    waitlist_remove(&list, &w[2]);
    assert_null(waitlist_first(&list, WAITLIST_REPLICA, 1));
    assert_ptr_equal(waitlist_oldest(&list, WAITLIST_REPLICA), &w[0]);
}

static void who_came_at_the_same_time_keeps_the_order_of_coming(void **arg)
{
    struct waiter w[20];
    (void)arg;
    for (int i = 0; i < 20; i++)
        add(&w[i], WAITLIST_FALLBACK, 1, 7);
    for (int i = 0; i < 20; i++) {
        assert_ptr_equal(waitlist_first(&list, WAITLIST_FALLBACK, 0), &w[i]);
        waitlist_remove(&list, &w[i]);
    }
}

static void who_waits_again_keeps_its_place(void **arg)
{
    struct waiter w[50];
    (void)arg;
    for (int i = 0; i < 50; i++)
        add(&w[i], WAITLIST_REPLICA, i % 2 == 0 ? 1 : 2, (uint64_t)i);
    for (int i = 0; i < 50; i += 2) { /* node 0 is out: they may use node 1 alone */
        waitlist_remove(&list, &w[i]);
        add(&w[i], WAITLIST_REPLICA, 2, (uint64_t)i);
    }
    assert_null(waitlist_first(&list, WAITLIST_REPLICA, 0));
    for (int i = 0; i < 50; i++) {
        assert_ptr_equal(waitlist_first(&list, WAITLIST_REPLICA, 1), &w[i]);
        waitlist_remove(&list, &w[i]);
    }
}

static void too_many_kinds_of_nodes_leave_a_waiter_its_home(void **arg)
{
    static struct waiter w[1 << 10];
    (void)arg;
    for (uint32_t i = 1; i < 1 << 10; i++) {
        w[i] = (struct waiter){.kind = WAITLIST_REPLICA, .mask = i << 6, .since_ns = i};
        const uint8_t home = (uint8_t)(31 - __builtin_clz(i << 6));
        waitlist_add(&list, &w[i], home);
        assert_true(w[i].mask == i << 6 || w[i].mask == 1u << home);
    }
    for (uint8_t node = 0; node < WAITLIST_NODES_MAX; node++) { /* there is room for each alone */
        struct waiter one;
        add(&one, WAITLIST_REPLICA, 1u << node, 0);
        assert_ptr_equal(waitlist_first(&list, WAITLIST_REPLICA, node), &one);
        waitlist_remove(&list, &one);
    }
    for (uint32_t i = 1; i < 1 << 10; i++)
        waitlist_remove(&list, &w[i]);
    assert_null(waitlist_oldest(&list, WAITLIST_REPLICA));
}

/* ---- against a list that is walked ---- */

static uint64_t state = 42;

static uint32_t chance(uint32_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % below;
}

static uint64_t walked_first(const struct waiter *w, const bool *in, enum waitlist_kind kind,
                             uint32_t mask)
{
    uint64_t oldest_ns = UINT64_MAX;
    for (int i = 0; i < CROWD; i++)
        if (in[i] && w[i].kind == kind && (mask == 0 || (w[i].mask & mask) != 0) &&
            w[i].since_ns < oldest_ns)
            oldest_ns = w[i].since_ns;
    return oldest_ns;
}

static void insist_on(const struct waiter *found, uint64_t since_ns)
{
    assert_true(found == NULL ? since_ns == UINT64_MAX : found->since_ns == since_ns);
}

static void any_mix_is_served_as_a_walk_would(void **arg)
{
    static struct waiter w[CROWD];
    static bool in[CROWD];
    const uint32_t masks[] = {1, 2, 4, 6, 7, 1u << 15, 0xffff, 0x5555};
    uint64_t now_ns = 1;
    (void)arg;
    for (int turn = 0; turn < TURNS; turn++) {
        const uint32_t i = chance(CROWD);
        const enum waitlist_kind kind = (enum waitlist_kind)chance(WAITLIST_KINDS);
        const bool few = turn < TURNS / 2;
        if (in[i]) {
            waitlist_remove(&list, &w[i]);
            in[i] = false;
        }
        if (chance(3) != 0) {
            now_ns += chance(3);
            const bool again = chance(4) == 0 && w[i].since_ns != 0; /* keeps its time */
            const uint64_t since_ns = again ? w[i].since_ns : now_ns;
            const uint32_t mask = few ? masks[chance(8)] : 1 + chance(0xffff);
            add(&w[i], kind, kind == WAITLIST_HOMELESS ? 0 : mask, since_ns);
            in[i] = true;
        }
        const enum waitlist_kind asked = (enum waitlist_kind)chance(WAITLIST_KINDS);
        const uint8_t node = (uint8_t)chance(WAITLIST_NODES_MAX);
        if (asked != WAITLIST_HOMELESS)
            insist_on(waitlist_first(&list, asked, node), walked_first(w, in, asked, 1u << node));
        insist_on(waitlist_oldest(&list, asked), walked_first(w, in, asked, 0));
    }
}

/* ---- no call walks a list: each of these would take minutes if one did ---- */

static double seconds_since(clock_t begin)
{
    return (double)(clock() - begin) / CLOCKS_PER_SEC;
}

static void a_crowd_for_one_node_does_not_hide_the_waiter_of_another(void **arg)
{
    struct waiter *w = calloc(MANY, sizeof(*w));
    const clock_t begin = clock();
    (void)arg;
    for (int i = 0; i < MANY; i++)
        add(&w[i], WAITLIST_REPLICA, 1, (uint64_t)i);
    for (int i = 0; i < MANY; i++) {
        struct waiter other;
        add(&other, WAITLIST_REPLICA, i % 2 == 0 ? 2 : 6, (uint64_t)MANY + (uint64_t)i);
        assert_ptr_equal(waitlist_first(&list, WAITLIST_REPLICA, 1), &other);
        waitlist_remove(&list, &other);
        assert_null(waitlist_first(&list, WAITLIST_REPLICA, 1));
    }
    assert_true(seconds_since(begin) < SECONDS);
    free(w);
}

/* Every second one decides again, among those that stay; then those at the front do, one by one,
 * while new ones come. */
static void many_that_decide_again_find_their_places(void **arg)
{
    struct waiter *w = calloc(2 * MANY, sizeof(*w));
    const clock_t begin = clock();
    (void)arg;
    for (int i = 0; i < MANY; i++)
        add(&w[i], WAITLIST_REPLICA, i % 2 == 0 ? 1 : 3, (uint64_t)i);
    for (int i = 0; i < MANY; i += 2)
        waitlist_remove(&list, &w[i]);
    for (int i = 0; i < MANY; i += 2)
        add(&w[i], WAITLIST_REPLICA, 3, (uint64_t)i);
    for (int i = 0; i < MANY; i++) {
        struct waiter *first = waitlist_first(&list, WAITLIST_REPLICA, 1);
        assert_ptr_equal(first, &w[i]);
        waitlist_remove(&list, first);
        add(first, WAITLIST_REPLICA, 3, (uint64_t)i);
        add(&w[MANY + i], WAITLIST_REPLICA, 3, (uint64_t)(MANY + i - i % 3));
        waitlist_remove(&list, first);
    }
    assert_true(seconds_since(begin) < SECONDS);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_that_a_node_may_serve_comes_first, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_came_at_the_same_time_keeps_the_order_of_coming, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_waits_again_keeps_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_kinds_of_nodes_leave_a_waiter_its_home, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(any_mix_is_served_as_a_walk_would, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crowd_for_one_node_does_not_hide_the_waiter_of_another,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(many_that_decide_again_find_their_places, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
