/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proxy_evidence: what answers of probes prove, and what makes the proof void.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy_evidence.h"

static struct marks marks;
static struct evidence e;

static int known_primary(void **arg)
{
    (void)arg;
    marks_reset(&marks, "42", 1);
    marks_add(&marks, 10, 100);
    marks_add(&marks, 20, 200);
    memset(&e, 0, sizeof(e));
    return 0;
}

/* A full answer of a replica that was started at `started`. */
static struct evidence_answer full(uint64_t lsn, uint32_t timeline, const char *system,
                                   const char *started)
{
    struct evidence_answer a = {
        .is_full = true, .in_recovery = true, .lsn = lsn, .timeline = timeline};
    snprintf(a.system_identifier, sizeof(a.system_identifier), "%s", system);
    snprintf(a.postmaster_start, sizeof(a.postmaster_start), "%s", started);
    return a;
}

static struct evidence_answer quick(uint64_t lsn)
{
    return (struct evidence_answer){.in_recovery = true, .lsn = lsn};
}

static enum evidence_finding take(struct evidence_answer answer)
{
    return evidence_take(&e, &answer);
}

/* The replica answers well at 25 and is as fresh as 20. */
static void answer_well(void)
{
    assert_int_equal(take(full(200, 1, "42", "noon")), EVIDENCE_GOOD);
    assert_true(evidence_refresh(&e, &marks, 25));
    assert_int_equal(e.fresh_as_of_ns, 20);
    assert_int_equal(e.evidence_ns, 25);
}

static void assert_void(void)
{
    assert_int_equal(e.fresh_as_of_ns, 0);
    assert_int_equal(e.evidence_ns, 0);
    assert_false(e.is_known);
}

static void a_replica_becomes_fresher_as_it_replays(void **arg)
{
    (void)arg;
    assert_int_equal(take(full(150, 1, "42", "noon")), EVIDENCE_GOOD);
    assert_true(evidence_refresh(&e, &marks, 22));
    assert_int_equal(e.fresh_as_of_ns, 10);
    assert_int_equal(take(quick(200)), EVIDENCE_GOOD);
    assert_true(evidence_refresh(&e, &marks, 24));
    assert_int_equal(e.fresh_as_of_ns, 20);
    assert_int_equal(e.evidence_ns, 24);
}

static void a_replica_behind_all_marks_proves_nothing(void **arg)
{
    (void)arg;
    assert_int_equal(take(full(99, 1, "42", "noon")), EVIDENCE_GOOD);
    assert_true(evidence_refresh(&e, &marks, 22));
    assert_int_equal(e.fresh_as_of_ns, 0);
    assert_int_equal(e.evidence_ns, 0);
}

static void freshness_never_decreases_when_marks_are_lost(void **arg)
{
    (void)arg;
    answer_well();
    marks_reset(&marks, "42", 1); /* the primary was restarted */
    assert_int_equal(take(quick(210)), EVIDENCE_GOOD);
    assert_true(evidence_refresh(&e, &marks, 30));
    assert_int_equal(e.fresh_as_of_ns, 20);
    assert_int_equal(e.evidence_ns, 30);
}

static void a_lost_connection_voids_until_a_new_one_answers(void **arg)
{
    (void)arg;
    answer_well();
    assert_true(evidence_void(&e));
    assert_void();
    assert_false(evidence_void(&e)); /* nothing more to lose */
    /* After a crash it may well accept readers at an older point. */
    assert_int_equal(take(full(150, 1, "42", "later")), EVIDENCE_GOOD);
    assert_true(evidence_refresh(&e, &marks, 40));
    assert_int_equal(e.fresh_as_of_ns, 10);
    assert_int_equal(e.evidence_ns, 40);
}

static void an_lsn_that_went_back_voids(void **arg)
{
    (void)arg;
    answer_well();
    assert_int_equal(take(quick(199)), EVIDENCE_WENT_BACK);
    assert_void();
}

static void another_start_time_voids(void **arg)
{
    (void)arg;
    answer_well();
    assert_int_equal(take(full(200, 1, "42", "one o'clock")), EVIDENCE_RESTARTED);
    assert_void();
}

static void another_timeline_voids(void **arg)
{
    (void)arg;
    answer_well();
    assert_int_equal(take(full(200, 2, "42", "noon")), EVIDENCE_OTHER_TIMELINE);
    assert_void();
}

static void another_system_voids(void **arg)
{
    (void)arg;
    answer_well();
    assert_int_equal(take(full(200, 1, "43", "noon")), EVIDENCE_OTHER_SYSTEM);
    assert_void();
}

static void leaving_recovery_voids(void **arg)
{
    (void)arg;
    answer_well();
    const struct evidence_answer a = {.in_recovery = false, .lsn = 300, .timeline = 2};
    assert_int_equal(take(a), EVIDENCE_OTHER_ROLE);
    assert_void();
}

/* Who may not see the receiver's timeline any more still has what it told. */
static void a_receiver_that_ended_does_not_put_the_timeline_back(void **arg)
{
    (void)arg;
    marks_reset(&marks, "42", 2);
    marks_add(&marks, 10, 100);
    assert_int_equal(take(full(100, 2, "42", "noon")), EVIDENCE_GOOD);
    assert_int_equal(take(full(100, 1, "42", "noon")), EVIDENCE_GOOD);
    assert_int_equal(e.timeline, 2);
    assert_true(evidence_refresh(&e, &marks, 30));
    assert_int_equal(e.fresh_as_of_ns, 10);
}

/* It replayed more of the old timeline than the new primary has: its LSN says nothing. */
static void a_replica_on_the_old_timeline_is_not_fresh_after_a_promotion(void **arg)
{
    (void)arg;
    answer_well();
    marks_reset(&marks, "42", 2);
    marks_add(&marks, 30, 190);
    assert_int_equal(take(quick(200)), EVIDENCE_GOOD);
    assert_false(evidence_refresh(&e, &marks, 35));
    assert_int_equal(e.fresh_as_of_ns, 0);
    assert_int_equal(e.evidence_ns, 0);
}

static void another_cluster_is_never_fresh(void **arg)
{
    (void)arg;
    assert_int_equal(take(full(200, 1, "43", "noon")), EVIDENCE_GOOD);
    assert_false(evidence_refresh(&e, &marks, 25));
    assert_int_equal(e.fresh_as_of_ns, 0);
}

static void the_primarys_idle_position_is_normalised(void **arg)
{
    (void)arg;
    struct evidence_answer a = full(8192 * 7 + 24, 1, "42", "noon");
    a.in_recovery = false;
    assert_int_equal(take(a), EVIDENCE_GOOD);
    assert_int_equal(e.lsn, 8192 * 7);
    /* A replica's is taken as it stands. */
    evidence_void(&e);
    a.in_recovery = true;
    assert_int_equal(take(a), EVIDENCE_GOOD);
    assert_int_equal(e.lsn, 8192 * 7 + 24);
}

/* ---- parsing ---- */

static void lsns_are_parsed(void **arg)
{
    (void)arg;
    uint64_t lsn = 7;
    assert_true(evidence_parse_lsn("16/B374D848", &lsn));
    assert_int_equal(lsn, UINT64_C(0x16B374D848));
    assert_true(evidence_parse_lsn("0/0", &lsn));
    assert_int_equal(lsn, 0);
    const char *const bad[] = {"",    "/",    "1/",          "/1",   "1",    "1/2/3",
                               "G/1", "1/-2", "1/123456789", " 1/2", "1/ 2", "123456789/1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(evidence_parse_lsn(bad[i], &lsn));
    assert_false(evidence_parse_lsn(NULL, &lsn));
}

static void a_replicas_full_answer_is_parsed(void **arg)
{
    (void)arg;
    const char *const columns[EVIDENCE_COLUMNS] = {"t",     "0/100",    NULL,   "t",    "f", "noon",
                                                   "0/200", "16777216", "8192", "4242", "3"};
    struct evidence_answer a;
    assert_true(evidence_parse(columns, EVIDENCE_COLUMNS, &a));
    assert_true(a.is_full && a.in_recovery && a.receiver_up);
    assert_false(a.replay_paused);
    assert_int_equal(a.lsn, 0x100);
    assert_int_equal(a.received_lsn, 0x200);
    assert_int_equal(a.timeline, 3);
    assert_int_equal(a.segment_size, 16777216);
    assert_string_equal(a.system_identifier, "4242");
    assert_string_equal(a.postmaster_start, "noon");
}

static void what_a_role_may_not_know_is_unknown(void **arg)
{
    (void)arg;
    const char *const columns[EVIDENCE_COLUMNS] = {"t", "0/100", NULL, "f", "f", "noon"};
    struct evidence_answer a;
    assert_true(evidence_parse(columns, EVIDENCE_COLUMNS, &a));
    assert_int_equal(a.timeline, 0);
    assert_string_equal(a.system_identifier, "");
    assert_int_equal(a.segment_size, 0);
}

static void a_primary_without_a_timeline_is_no_answer(void **arg)
{
    (void)arg;
    struct evidence_answer a;
    const char *const good[] = {"f", "0/100", "0000000A"};
    assert_true(evidence_parse(good, EVIDENCE_QUICK_COLUMNS, &a));
    assert_int_equal(a.timeline, 10);
    assert_false(a.is_full || a.in_recovery);
    const char *const bad[] = {"f", "0/100", NULL};
    assert_false(evidence_parse(bad, EVIDENCE_QUICK_COLUMNS, &a));
    assert_false(evidence_parse(good, 2, &a));
    const char *const no_lsn[] = {"t", NULL, NULL};
    assert_false(evidence_parse(no_lsn, EVIDENCE_QUICK_COLUMNS, &a));
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup(name, known_primary)
    const struct CMUnitTest tests[] = {
        STORY(a_replica_becomes_fresher_as_it_replays),
        STORY(a_replica_behind_all_marks_proves_nothing),
        STORY(freshness_never_decreases_when_marks_are_lost),
        STORY(a_lost_connection_voids_until_a_new_one_answers),
        STORY(an_lsn_that_went_back_voids),
        STORY(another_start_time_voids),
        STORY(another_timeline_voids),
        STORY(another_system_voids),
        STORY(leaving_recovery_voids),
        STORY(a_receiver_that_ended_does_not_put_the_timeline_back),
        STORY(a_replica_on_the_old_timeline_is_not_fresh_after_a_promotion),
        STORY(another_cluster_is_never_fresh),
        STORY(the_primarys_idle_position_is_normalised),
        STORY(lsns_are_parsed),
        STORY(a_replicas_full_answer_is_parsed),
        STORY(what_a_role_may_not_know_is_unknown),
        STORY(a_primary_without_a_timeline_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
