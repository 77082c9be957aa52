/* SPDX-License-Identifier: PostgreSQL
 *
 * What the names of a database stand for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "router_facts.h"

static struct router_name name_of(const char *text)
{
    return (struct router_name){.base = text, .size = strlen(text)};
}

static struct router_fact fact(enum router_fact_kind kind, uint8_t flags, const char *text)
{
    return (struct router_fact){.kind = (uint8_t)kind, .flags = flags, .name = name_of(text)};
}

static void objects_of_one_name_have_the_flags_of_all(void **state)
{
    (void)state;
    const struct router_fact facts[] = {
        fact(ROUTER_FACT_RELATION, 0, "t"),
        fact(ROUTER_FACT_RELATION, ROUTER_FACT_RUNS, "v"),
        fact(ROUTER_FACT_RELATION, ROUTER_FACT_HOME, "v"),
        fact(ROUTER_FACT_FUNCTION, ROUTER_FACT_HOME, "t"),
    };
    struct router_facts *f = router_facts_create(facts, 4, NULL, 0);
    assert_int_equal(router_facts_of(f, ROUTER_FACT_RELATION, name_of("t")), ROUTER_FACT_THERE);
    assert_int_equal(router_facts_of(f, ROUTER_FACT_RELATION, name_of("v")),
                     ROUTER_FACT_THERE | ROUTER_FACT_RUNS | ROUTER_FACT_HOME);
    assert_int_equal(router_facts_of(f, ROUTER_FACT_FUNCTION, name_of("t")),
                     ROUTER_FACT_THERE | ROUTER_FACT_HOME);
    assert_int_equal(router_facts_of(f, ROUTER_FACT_RELATION, name_of("w")), 0);
    assert_int_equal(router_facts_of(f, ROUTER_FACT_TYPE, name_of("t")), 0);
    router_facts_destroy(f);
}

static void names_are_told_apart_by_63_bytes(void **state)
{
    (void)state;
    char longer[80], other[80];
    memset(longer, 'a', sizeof(longer));
    memset(other, 'a', sizeof(other));
    other[70] = 'b';
    const struct router_fact one = {.kind = ROUTER_FACT_RELATION, .name = {longer, 80}};
    struct router_facts *f = router_facts_create(&one, 1, NULL, 0);
    const struct router_name cut = {other, 80}, whole = {longer, 63}, shorter = {longer, 62};
    assert_int_not_equal(router_facts_of(f, ROUTER_FACT_RELATION, cut), 0);
    assert_int_not_equal(router_facts_of(f, ROUTER_FACT_RELATION, whole), 0);
    assert_int_equal(router_facts_of(f, ROUTER_FACT_RELATION, shorter), 0);
    router_facts_destroy(f);
    /* 62 letters and one of two bytes: it goes whole */
    memcpy(longer + 62, "\xc3\xa4", 2);
    const struct router_name wide = {longer, 64};
    assert_int_equal(router_name_cut(wide).size, 62);
}

static void facts_in_another_order_have_the_same_digest(void **state)
{
    (void)state;
    struct router_fact facts[200];
    char names[200][8];
    for (uint32_t i = 0; i < 200; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "n%u", i);
        facts[i] = fact(ROUTER_FACT_TYPE, (uint8_t)(i % 2 * ROUTER_FACT_RUNS), names[i]);
    }
    const char *settings[] = {"app.tenant", "app.user"}, *swapped[] = {"app.user", "app.tenant"};
    struct router_facts *one = router_facts_create(facts, 200, settings, 2);
    for (uint32_t i = 0; i < 100; i++) {
        const struct router_fact first = facts[i];
        facts[i] = facts[199 - i];
        facts[199 - i] = first;
    }
    struct router_facts *two = router_facts_create(facts, 200, swapped, 2);
    struct router_facts *three = router_facts_create(facts, 199, swapped, 2);
    assert_true(router_facts_digest(one) == router_facts_digest(two));
    assert_true(router_facts_digest(one) != router_facts_digest(three));
    assert_int_equal(router_facts_settings_count(one), 2);
    assert_string_equal(router_facts_setting(one, 1), "app.user");
    router_facts_destroy(one);
    router_facts_destroy(two);
    router_facts_destroy(three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_of_one_name_have_the_flags_of_all),
        cmocka_unit_test(names_are_told_apart_by_63_bytes),
        cmocka_unit_test(facts_in_another_order_have_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
