/* SPDX-License-Identifier: PostgreSQL */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "router_cache.h"

static const uint8_t key[ROUTER_KEY_SIZE] = {3, 1, 4};

static int set_up(void **state)
{
    *state = router_cache_create(0, key);
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    router_cache_destroy(*state);
    return 0;
}

static struct router_name name_of(const char *text)
{
    return (struct router_name){.base = text, .size = strlen(text)};
}

static struct router_class classify(struct router_cache *cache, const char *text)
{
    struct router_class class;
    router_cache_classify(cache, NULL, name_of(text), &class, NULL, NULL);
    return class;
}

static void the_second_look_is_a_hit(void **state)
{
    const struct router_cache_stats *stats = router_cache_stats(*state);
    assert_int_equal(classify(*state, "SELECT 1").verdict, ROUTER_VERDICT_READ);
    assert_int_equal(stats->misses, 1);
    assert_int_equal(classify(*state, "select 2 -- again").verdict, ROUTER_VERDICT_READ);
    assert_int_equal(stats->hits, 1);
    assert_int_equal(stats->misses, 1);
}

static void a_hit_gives_the_whole_class(void **state)
{
    const struct router_class cold = classify(*state, "BEGIN READ ONLY");
    const struct router_class warm = classify(*state, "BEGIN READ ONLY");
    assert_int_equal(router_cache_stats(*state)->hits, 1);
    assert_memory_equal(&cold, &warm, sizeof(cold));
    assert_int_equal(warm.begin, ROUTER_BEGIN_READ_ONLY);
}

static void what_literals_decide_is_parsed_each_time(void **state)
{
    static const char *const texts[] = {
        "SELECT set_config('a', 'b', true)",
        "SELECT \"set_config\"('a', 'b', true)",
        "SET switchgear.route = 'primary'",
        "SHOW work_mem",
        "EXPLAIN (ANALYZE 'off') DELETE FROM t",
        "/* switchgear: route=primary */ SELECT 1",
        "DEALLOCATE a",
        "SELECT current_setting('in_hot_standby')",
        "SELEC 1",
        "SELECT 'unterminated",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        classify(*state, texts[i]);
        classify(*state, texts[i]);
        if (router_cache_stats(*state)->uncacheable != 2 * (i + 1))
            fail_msg("cached: %s", texts[i]);
    }
    assert_int_equal(router_cache_stats(*state)->hits, 0);
}

/* A hint is a comment, so the hinted text has the hash of the plain one. */
static void a_hinted_text_does_not_hit_the_plain_one(void **state)
{
    assert_int_equal(classify(*state, "SELECT 1").verdict, ROUTER_VERDICT_READ);
    assert_int_equal(classify(*state, "/* switchgear: route=primary */ SELECT 1").verdict,
                     ROUTER_VERDICT_WRITE);
    assert_int_equal(classify(*state, "SELECT 1").verdict, ROUTER_VERDICT_READ);
}

static void details_come_on_the_cold_path(void **state)
{
    struct router_class class;
    struct router_detail detail;
    for (int i = 0; i < 2; i++) {
        static const char text[] = "SET switchgear.max_lag = '200ms'";
        router_cache_classify(*state, NULL, name_of(text), &class, NULL, &detail);
        assert_int_equal(class.local, ROUTER_LOCAL_SET);
        assert_string_equal(detail.name, "max_lag");
        assert_string_equal(detail.value, "200ms");
    }
}

static void a_learned_write_stays_a_write(void **state)
{
    struct router_class class;
    struct router_hash hash;
    router_cache_classify(*state, NULL, name_of("SELECT liar(1)"), &class, &hash, NULL);
    router_cache_classify(*state, NULL, name_of("SELECT a.f FROM a"), &class, &hash, NULL);
    assert_int_equal(class.verdict, ROUTER_VERDICT_READ);
    router_cache_learn(*state, &hash, 0);
    class = classify(*state, "SELECT a.f FROM a");
    assert_int_equal(class.verdict, ROUTER_VERDICT_WRITE);
    assert_int_equal(class.reason, ROUTER_REASON_LEARNED);
    assert_true(class.writes && class.alone);
    assert_int_equal(classify(*state, "SELECT a.g FROM a").verdict, ROUTER_VERDICT_READ);
}

static struct router_class classify_under(struct router_cache *cache, uint64_t context_key,
                                          const char *text, struct router_hash *ret_hash)
{
    const struct router_context context = {.key = context_key};
    struct router_class class;
    router_cache_classify(cache, &context, name_of(text), &class, ret_hash, NULL);
    return class;
}

/* One user's lesson or proof says nothing of what the same words mean to another. */
static void what_is_remembered_belongs_to_its_key(void **state)
{
    static const char text[] = "SELECT a.f FROM a";
    struct router_hash one;
    struct router_hash two;
    struct router_class class;
    classify_under(*state, 1, text, &one);
    classify_under(*state, 2, text, &two);
    assert_true(one.low != two.low && one.high != two.high);
    assert_int_equal(router_cache_stats(*state)->misses, 2);
    router_cache_prove(*state, &two);
    router_cache_learn(*state, &one, 0);
    assert_int_equal(classify_under(*state, 1, text, NULL).reason, ROUTER_REASON_LEARNED);
    assert_false(classify_under(*state, 1, text, NULL).proven);
    assert_int_equal(classify_under(*state, 2, text, NULL).verdict, ROUTER_VERDICT_READ);
    assert_true(router_cache_proven(*state, &two));
    assert_int_equal(classify_under(*state, 3, text, NULL).verdict, ROUTER_VERDICT_READ);
    assert_false(classify_under(*state, 3, text, NULL).proven);
    const struct router_hash again = router_cache_rehash(one, 1, 2);
    assert_memory_equal(&again, &two, sizeof(two));
    assert_true(router_cache_known(*state, &again, &class) && class.proven);
    const struct router_hash none = router_cache_rehash(one, 1, 4);
    assert_false(router_cache_known(*state, &none, &class));
}

static void a_lesson_is_forgotten_after_a_while(void **state)
{
    static const char text[] = "SELECT a.f FROM a";
    struct router_hash hash;
    classify_under(*state, 1, text, &hash);
    router_cache_clock(*state, 1000);
    router_cache_learn(*state, &hash, 1000);
    router_cache_clock(*state, 1000 + ROUTER_CACHE_LEARNED_NS - 1);
    assert_int_equal(classify_under(*state, 1, text, NULL).reason, ROUTER_REASON_LEARNED);
    router_cache_clock(*state, 1000 + ROUTER_CACHE_LEARNED_NS);
    struct router_class class;
    assert_false(router_cache_known(*state, &hash, &class));
    assert_int_equal(classify_under(*state, 1, text, NULL).verdict, ROUTER_VERDICT_READ);
    router_cache_clock(*state, 3 * ROUTER_CACHE_LEARNED_NS); /* what was not learned stays */
    assert_true(router_cache_known(*state, &hash, &class));
}

/* What is parsed each time is learned too; it is no read because a hint says so. */
static void a_lesson_holds_where_literals_decide(void **state)
{
    static const char text[] = "SELECT f() /* switchgear: route=replica */";
    struct router_hash hash;
    struct router_class class = classify_under(*state, 1, text, &hash);
    assert_int_equal(class.verdict, ROUTER_VERDICT_READ);
    router_cache_learn(*state, &hash, 0);
    class = classify_under(*state, 1, text, NULL);
    assert_int_equal(class.verdict, ROUTER_VERDICT_WRITE);
    assert_int_equal(class.reason, ROUTER_REASON_LEARNED);
    assert_true(class.writes && class.home && class.taints && !class.proven);
    assert_int_equal(classify_under(*state, 2, text, NULL).verdict, ROUTER_VERDICT_READ);
}

/* Texts that are not read share no hash: nothing is learned from one for the others. */
static void what_is_not_read_has_no_hash(void **state)
{
    struct router_hash hash = {.low = 1, .high = 1};
    classify_under(*state, 7, "SELECT 'unterminated", &hash);
    assert_true(hash.low == 0 && hash.high == 0);
    router_cache_learn(*state, &hash, 0);
    struct router_class class;
    assert_false(router_cache_known(*state, &hash, &class));
}

/* Seven times as many statements as there are entries: the size is fixed, nothing is lost. */
static void full_sets_evict(void **state)
{
    char text[64];
    for (int i = 0; i < 448; i++) {
        snprintf(text, sizeof(text), "SELECT a%d", i);
        assert_int_equal(classify(*state, text).verdict, ROUTER_VERDICT_READ);
    }
    const struct router_cache_stats *stats = router_cache_stats(*state);
    assert_int_equal(stats->misses, 448);
    assert_true(stats->evictions >= 448 - 64);
    classify(*state, "SELECT a447");
    assert_int_equal(stats->hits, 1);
}

static void a_used_entry_outlives_unused_ones(void **state)
{
    char text[64];
    classify(*state, "SELECT favourite");
    for (int i = 0; i < 400; i++) {
        snprintf(text, sizeof(text), "SELECT a%d", i);
        classify(*state, text);
        classify(*state, "SELECT favourite");
    }
    assert_true(router_cache_stats(*state)->hits > 350);
}

static void too_long_is_a_write_and_not_hashed(void **state)
{
    static char text[ROUTER_TEXT_SIZE_MAX + 1];
    memset(text, ' ', sizeof(text));
    memcpy(text, "SELECT 1", 8); /* NOLINT(bugprone-not-null-terminated-result) */
    struct router_class class;
    router_cache_classify(*state, NULL, (struct router_name){.base = text, .size = sizeof(text)},
                          &class, NULL, NULL);
    assert_int_equal(class.reason, ROUTER_REASON_TOO_LONG);
    assert_int_equal(router_cache_stats(*state)->uncacheable, 1);
}

int main(void)
{
#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_CACHE(the_second_look_is_a_hit),
        WITH_CACHE(a_hit_gives_the_whole_class),
        WITH_CACHE(what_literals_decide_is_parsed_each_time),
        WITH_CACHE(a_hinted_text_does_not_hit_the_plain_one),
        WITH_CACHE(details_come_on_the_cold_path),
        WITH_CACHE(a_learned_write_stays_a_write),
        WITH_CACHE(what_is_remembered_belongs_to_its_key),
        WITH_CACHE(a_lesson_is_forgotten_after_a_while),
        WITH_CACHE(a_lesson_holds_where_literals_decide),
        WITH_CACHE(what_is_not_read_has_no_hash),
        WITH_CACHE(full_sets_evict),
        WITH_CACHE(a_used_entry_outlives_unused_ones),
        WITH_CACHE(too_long_is_a_write_and_not_hashed),
    };
    return cmocka_run_group_tests_name("router_cache", tests, NULL, NULL);
}
