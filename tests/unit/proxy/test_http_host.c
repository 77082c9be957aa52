/* SPDX-License-Identifier: PostgreSQL
 *
 * test_http_host: which Host headers are answered.
 */
#include "proxy_http_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char loopback[] = "127.0.0.1:9188";

static void addresses_and_names_without_a_dot_are_ours(void **state)
{
    static const char *const hosts[] = {"127.0.0.1",    "10.1.2.3:9188", "[::1]",
                                        "[fe80::1]:80", "localhost",     "switchgear:9188",
                                        "a.localhost"};
    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        assert_true(http_host_allowed(hosts[i], "", loopback));
    assert_true(http_host_allowed(NULL, "", loopback));
}

static void others_are_not(void **state)
{
    static const char *const hosts[] = {
        "evil.example", "evil.example:9188", "127.0.0.1.evil.example",
        "1.2.3",        "[evil.example]",    ".localhost.evil.example",
        "a.b]",         "localhost.evil"};
    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        assert_false(http_host_allowed(hosts[i], "", loopback));
    char longest[600];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_false(http_host_allowed(longest, "", loopback));
}

static void the_list_adds_names(void **state)
{
    (void)state;
    assert_true(http_host_allowed("db.example.org:1", "x.example.org,  DB.example.org", loopback));
    assert_false(http_host_allowed("b.example.org", "db.example.org", loopback));
    assert_true(http_host_allowed("evil.example", "*", loopback));
}

static void elsewhere_the_list_alone_says(void **state)
{
    (void)state;
    assert_true(http_host_allowed("db.example.org", "", "*:9188"));
    assert_true(http_host_allowed("db.example.org", "", "10.0.0.1:9188"));
    assert_false(http_host_allowed("evil.example", "db.example.org", "*:9188"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_names_without_a_dot_are_ours),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(the_list_adds_names),
        cmocka_unit_test(elsewhere_the_list_alone_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
