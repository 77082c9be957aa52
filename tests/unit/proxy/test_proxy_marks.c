/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proxy_marks: stories of a primary that writes and a replica that replays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy_marks.h"

#define MB (UINT64_C(1) << 20)
#define SEGMENT (16 * MB)
#define PAGE UINT64_C(8192)

static struct marks m;

static int fresh_marks(void **arg)
{
    (void)arg;
    marks_reset(&m, "42", 1);
    return 0;
}

static void a_replica_is_as_fresh_as_the_newest_mark_that_it_has_replayed(void **arg)
{
    (void)arg;
    marks_add(&m, 10, 100);
    marks_add(&m, 20, 200);
    marks_add(&m, 30, 300);
    assert_int_equal(marks_fresh_as_of(&m, 99), 0);
    assert_int_equal(marks_fresh_as_of(&m, 100), 10);
    assert_int_equal(marks_fresh_as_of(&m, 299), 20);
    assert_int_equal(marks_fresh_as_of(&m, 300), 30);
    assert_int_equal(marks_fresh_as_of(&m, UINT64_MAX), 30);
    assert_int_equal(marks_newest_lsn(&m), 300);
}

static void without_marks_nothing_is_known(void **arg)
{
    (void)arg;
    assert_int_equal(marks_fresh_as_of(&m, UINT64_MAX), 0);
    assert_int_equal(marks_newest_lsn(&m), 0);
}

static void an_idle_primary_makes_its_replicas_fresher_all_the_same(void **arg)
{
    (void)arg;
    for (uint64_t t = 1; t <= 10 * MARKS_MAX; t++)
        marks_add(&m, t, 500);
    assert_int_equal(m.count, 1);
    assert_int_equal(marks_fresh_as_of(&m, 500), 10 * MARKS_MAX);
    assert_int_equal(marks_fresh_as_of(&m, 499), 0);
}

static void an_answer_that_overtook_a_later_one_is_ignored(void **arg)
{
    (void)arg;
    marks_add(&m, 20, 200);
    marks_add(&m, 10, 300);
    marks_add(&m, 20, 300);
    assert_int_equal(m.count, 1);
    assert_int_equal(marks_fresh_as_of(&m, 300), 20);
}

static void a_primary_whose_lsn_went_back_has_no_older_marks(void **arg)
{
    (void)arg;
    marks_add(&m, 10, 100);
    marks_add(&m, 20, 200);
    marks_add(&m, 30, 150);
    assert_int_equal(m.count, 1);
    assert_int_equal(marks_fresh_as_of(&m, 140), 0);
    assert_int_equal(marks_fresh_as_of(&m, 150), 30);
}

/* Whatever was thinned out: no answer may be fresher than the truth, and order holds. */
static void many_more_marks_than_fit_never_make_a_replica_too_fresh(void **arg)
{
    (void)arg;
    enum { COUNT = 20 * MARKS_MAX };
    for (uint64_t t = 1; t <= COUNT; t++)
        marks_add(&m, t, 10 * t);
    assert_true(m.count <= MARKS_MAX);

    uint64_t before = 0;
    for (uint64_t t = 1; t <= COUNT; t++) {
        const uint64_t fresh = marks_fresh_as_of(&m, 10 * t + 5);
        assert_true(fresh <= t);
        assert_true(fresh >= before);
        before = fresh;
    }
    /* Near the end nothing is coarse, and the oldest times are still known. */
    for (uint64_t t = COUNT - MARKS_MAX / 4; t <= COUNT; t++)
        assert_int_equal(marks_fresh_as_of(&m, 10 * t), t);
    assert_int_equal(marks_fresh_as_of(&m, 10), 1);
}

static void another_timeline_or_system_shares_no_history(void **arg)
{
    (void)arg;
    assert_true(marks_fits(&m, "42", 1));
    assert_false(marks_fits(&m, "42", 2));
    assert_false(marks_fits(&m, "43", 1));
    assert_true(marks_fits(&m, "", 1));
    assert_true(marks_fits(&m, "42", 0));
}

static void a_promotion_drops_the_marks(void **arg)
{
    (void)arg;
    marks_add(&m, 10, 100);
    marks_reset(&m, "42", 2);
    assert_int_equal(marks_fresh_as_of(&m, UINT64_MAX), 0);
    assert_true(marks_fits(&m, "42", 2));
    assert_false(marks_fits(&m, "42", 1));
}

static void an_idle_position_behind_a_page_header_is_the_page_boundary(void **arg)
{
    (void)arg;
    const uint64_t page = 3 * SEGMENT + 5 * PAGE;
    assert_int_equal(marks_idle_lsn(page + 24, SEGMENT, PAGE), page);
    assert_int_equal(marks_idle_lsn(3 * SEGMENT + 40, SEGMENT, PAGE), 3 * SEGMENT);
    assert_int_equal(marks_idle_lsn(page + 24, 0, 0), page);
}

static void every_other_position_stays_what_it_is(void **arg)
{
    (void)arg;
    const uint64_t page = 3 * SEGMENT + 5 * PAGE;
    const uint64_t kept[] = {page,        page + 16,       page + 32, page + 40, page + PAGE - 8,
                             3 * SEGMENT, 3 * SEGMENT + 24};
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        assert_int_equal(marks_idle_lsn(kept[i], SEGMENT, PAGE), kept[i]);
    /* 40 at a place that is the start of a 16 MB segment, but of no 64 MB one: that is data. */
    assert_int_equal(marks_idle_lsn(SEGMENT + 40, 64 * MB, PAGE), SEGMENT + 40);
    assert_int_equal(marks_idle_lsn(SEGMENT + 24, 64 * MB, PAGE), SEGMENT);
    assert_int_equal(marks_idle_lsn(SEGMENT + 40, 0, PAGE), SEGMENT + 40);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup(name, fresh_marks)
    const struct CMUnitTest tests[] = {
        STORY(a_replica_is_as_fresh_as_the_newest_mark_that_it_has_replayed),
        STORY(without_marks_nothing_is_known),
        STORY(an_idle_primary_makes_its_replicas_fresher_all_the_same),
        STORY(an_answer_that_overtook_a_later_one_is_ignored),
        STORY(a_primary_whose_lsn_went_back_has_no_older_marks),
        STORY(many_more_marks_than_fit_never_make_a_replica_too_fresh),
        STORY(another_timeline_or_system_shares_no_history),
        STORY(a_promotion_drops_the_marks),
        STORY(an_idle_position_behind_a_page_header_is_the_page_boundary),
        STORY(every_other_position_stays_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
