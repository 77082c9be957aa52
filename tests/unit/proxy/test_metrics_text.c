/* SPDX-License-Identifier: PostgreSQL
 *
 * test_metrics_text: families and samples, byte for byte.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy_metrics_text.h"

static void check(struct text *t, const char *expected)
{
    text_add(t, "", 1);
    assert_false(t->failed);
    assert_string_equal(t->base, expected);
    text_deinit(t);
}

static void a_counter_of_openmetrics_has_its_suffix_at_the_sample_only(void **arg)
{
    (void)arg;
    struct text t = {0};
    struct metrics m = {.out = &t, .openmetrics = true};
    metrics_family(&m, "switchgear_x_bytes", METRICS_COUNTER, "bytes", "Help.");
    metrics_integer(&m, METRICS_NO_LABELS, UINT64_MAX);
    metrics_end(&m);
    check(&t, "# HELP switchgear_x_bytes Help.\n# TYPE switchgear_x_bytes counter\n"
              "# UNIT switchgear_x_bytes bytes\n"
              "switchgear_x_bytes_total 18446744073709551615\n# EOF\n");
}

static void a_counter_of_the_classic_form_has_it_everywhere(void **arg)
{
    (void)arg;
    struct text t = {0};
    struct metrics m = {.out = &t};
    metrics_family(&m, "switchgear_x", METRICS_COUNTER, "", "Help.");
    metrics_integer(&m, METRICS_LABELS("node", "pg1"), 3);
    metrics_end(&m);
    check(&t, "# HELP switchgear_x_total Help.\n# TYPE switchgear_x_total counter\n"
              "switchgear_x_total{node=\"pg1\"} 3\n");
}

static void label_values_are_escaped(void **arg)
{
    (void)arg;
    struct text t = {0};
    struct metrics m = {.out = &t};
    metrics_family(&m, "g", METRICS_GAUGE, "", "Help.");
    t.size = 0;
    metrics_integer(&m, METRICS_LABELS("user", "a\"b\\c\nd", "database", "{x=1},"), 1);
    check(&t, "g{user=\"a\\\"b\\\\c\\nd\",database=\"{x=1},\"} 1\n");
}

static void a_histogram_ends_with_an_infinite_bucket(void **arg)
{
    (void)arg;
    struct text t = {0};
    struct metrics m = {.out = &t};
    metrics_family(&m, "h", METRICS_HISTOGRAM, "seconds", "Help.");
    t.size = 0;
    metrics_bucket(&m, METRICS_LABELS("database", "app"), 0.000032, 4);
    metrics_bucket(&m, METRICS_LABELS("database", "app"), INFINITY, 5);
    metrics_sum(&m, METRICS_LABELS("database", "app"), 0.25, 5);
    metrics_bucket(&m, METRICS_NO_LABELS, INFINITY, 0);
    check(&t, "h_bucket{database=\"app\",le=\"3.2e-05\"} 4\n"
              "h_bucket{database=\"app\",le=\"+Inf\"} 5\n"
              "h_sum{database=\"app\"} 0.25\nh_count{database=\"app\"} 5\n"
              "h_bucket{le=\"+Inf\"} 0\n");
}

static void an_info_is_a_gauge_in_the_classic_form(void **arg)
{
    (void)arg;
    struct text t = {0};
    struct metrics m = {.out = &t};
    metrics_family(&m, "b", METRICS_INFO, "", "Help.");
    metrics_integer(&m, METRICS_LABELS("version", "1"), 1);
    check(&t, "# HELP b_info Help.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_of_openmetrics_has_its_suffix_at_the_sample_only),
        cmocka_unit_test(a_counter_of_the_classic_form_has_it_everywhere),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(a_histogram_ends_with_an_infinite_bucket),
        cmocka_unit_test(an_info_is_a_gauge_in_the_classic_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
