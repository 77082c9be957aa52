/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proxy_mailbox: many threads post, one reads; and readers of a topology never see one that
 * was freed. Worth running under ThreadSanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "proxy_mailbox.h"
#include "proxy_topology.h"

enum { WRITERS = 3, LETTERS = 3000, SIZE = 64, TOPOLOGIES = 2000 };

struct letter {
    struct mail mail;
    uint32_t writer;
    uint32_t number;
};

struct office {
    struct mailbox box;
    uint32_t next[WRITERS];
    uint32_t received;
    uint32_t wakes;
    bool in_order;
};

static void on_mail(void *owner, struct mail *mail)
{
    struct office *o = owner;
    struct letter *letter = (struct letter *)mail;
    o->in_order = o->in_order && letter->number == o->next[letter->writer];
    o->next[letter->writer]++;
    free(letter);
    if (++o->received == WRITERS * LETTERS)
        mailbox_close(&o->box);
}

static void on_wake(void *owner)
{
    struct office *o = owner;
    o->wakes++;
}

struct writer {
    struct mailbox *box;
    uint32_t index;
};

static void write_letters(void *arg)
{
    struct writer *w = arg;
    for (uint32_t i = 0; i < LETTERS; i++) {
        struct letter *letter = calloc(1, sizeof(*letter));
        if (letter == NULL)
            abort();
        letter->writer = w->index;
        letter->number = i;
        while (!mailbox_post(w->box, &letter->mail))
            uv_sleep(1);
    }
}

static void no_mail_is_lost_and_each_writers_stay_in_order(void **arg)
{
    (void)arg;
    uv_loop_t loop;
    struct office o = {.in_order = true};
    struct writer writers[WRITERS];
    uv_thread_t threads[WRITERS];

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mailbox_init(&o.box, &loop, SIZE, &o, on_mail, on_wake), 0);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.box = &o.box, .index = i};
        assert_int_equal(uv_thread_create(&threads[i], write_letters, &writers[i]), 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (uint32_t i = 0; i < WRITERS; i++)
        uv_thread_join(&threads[i]);
    mailbox_deinit(&o.box, NULL);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(o.received, WRITERS * LETTERS);
    assert_true(o.in_order);
}

static void refuse_mail(void *owner, struct mail *mail)
{
    (void)owner;
    (void)mail;
    fail();
}

static uint32_t dropped;
static void drop(struct mail *mail)
{
    (void)mail;
    dropped++;
}

static void a_full_mailbox_refuses_and_gives_back_what_it_holds(void **arg)
{
    (void)arg;
    uv_loop_t loop;
    struct mailbox box;
    struct letter letters[SIZE] = {{.number = 0}};
    uint32_t taken = 0;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(mailbox_init(&box, &loop, SIZE, NULL, refuse_mail, NULL), 0);
    while (taken < SIZE && mailbox_post(&box, &letters[taken].mail))
        taken++;
    assert_int_equal(taken, SIZE - 1);
    mailbox_close(&box);
    uv_run(&loop, UV_RUN_DEFAULT);
    mailbox_deinit(&box, drop);
    assert_int_equal(dropped, taken);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static struct topology_box box;

static void read_topologies(void *arg)
{
    uint64_t *wrong = arg;
    struct topology_reader reader;
    uint64_t before = 0;

    topology_reader_init(&reader, &box);
    while (before < TOPOLOGIES) {
        const uint64_t announced = topology_generation(&box);
        const struct topology *t = topology_read_begin(&reader);
        const uint64_t generation = t->route.generation;
        *wrong += generation < before || generation < announced;
        *wrong += t->admission != generation; /* what was written before it was published */
        topology_read_end(&reader);
        before = generation;
    }
}

static void readers_see_whole_topologies_in_order(void **arg)
{
    (void)arg;
    uv_thread_t threads[2];
    uint64_t wrong[2] = {0, 0};

    topology_box_init(&box);
    for (uint64_t i = 1; i <= TOPOLOGIES; i++) {
        struct topology *next = calloc(1, sizeof(*next));
        assert_non_null(next);
        next->route.generation = next->admission = i;
        topology_publish(&box, next);
        for (int k = 0; i == 1 && k < 2; k++)
            assert_int_equal(uv_thread_create(&threads[k], read_topologies, &wrong[k]), 0);
    }
    for (int k = 0; k < 2; k++)
        uv_thread_join(&threads[k]);
    assert_int_equal(topology_peek(&box)->route.generation, TOPOLOGIES);
    topology_box_deinit(&box);
    assert_int_equal(wrong[0] + wrong[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_mail_is_lost_and_each_writers_stay_in_order),
        cmocka_unit_test(a_full_mailbox_refuses_and_gives_back_what_it_holds),
        cmocka_unit_test(readers_see_whole_topologies_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
