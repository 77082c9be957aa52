/* SPDX-License-Identifier: PostgreSQL
 *
 * test_log: lines as they arrive at standard error.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy_log.h"

static int pipe_fds[2];
static int stderr_copy;
static char line[8192];

static void capture(enum config_log_format format)
{
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    stderr_copy = dup(STDERR_FILENO);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
    log_configure(CONFIG_LOG_INFO, format);
}

/* What came, behind the time. */
static const char *captured(void)
{
    assert_true(dup2(stderr_copy, STDERR_FILENO) >= 0);
    close(stderr_copy);
    const ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    line[n > 0 ? n : 0] = 0;
    const char *level = strstr(line, "level");
    return level != NULL ? level : line;
}

static void a_line_is_pairs(void **arg)
{
    (void)arg;
    capture(CONFIG_LOG_TEXT);
    log_info("client_in", "user=\"%s\" port=%u name=\"%s\" empty=\"%s\"", "app", 5432u, "a b", "");
    assert_string_equal(captured(),
                        "level=info event=client_in user=app port=5432 name=\"a b\" empty=\"\"\n");
}

static void a_value_cannot_make_up_a_pair_or_a_line(void **arg)
{
    (void)arg;
    capture(CONFIG_LOG_TEXT);
    log_warning("x", "user=\"%s\" id=%d", "a\" id=9\nlevel=error", 1);
    assert_string_equal(captured(),
                        "level=warning event=x user=\"a\\\" id=9\\nlevel=error\" id=1\n");
}

static void json_has_numbers_and_strings(void **arg)
{
    (void)arg;
    capture(CONFIG_LOG_JSON);
    log_error("x", "n=%d text=\"%d\" address=%s zero=%s", -7, 7, "::1", "007");
    assert_string_equal(captured(), "level\":\"error\",\"event\":\"x\",\"n\":-7,\"text\":\"7\","
                                    "\"address\":\"::1\",\"zero\":\"007\"}\n");
}

static void json_is_escaped(void **arg)
{
    (void)arg;
    capture(CONFIG_LOG_JSON);
    log_error("x", "v=\"%s\"", "\"\\\n\t\x01");
    assert_string_equal(captured(),
                        "level\":\"error\",\"event\":\"x\",\"v\":\"\\\"\\\\\\n\\u0009\\u0001\"}\n");
}

static void a_line_is_always_utf_8(void **arg)
{
    (void)arg;
    capture(CONFIG_LOG_JSON);
    log_error("x", "good=\"%s\" bad=\"%s\" cut=\"%s\" long=\"%s\" half=\"%s\" high=\"%s\"",
              "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xff\x80", "a\xe2\x82", "\xc0\x80",
              "\xed\xa0\x80", "\xf4\x90\x80\x80");
    assert_string_equal(captured(),
                        "level\":\"error\",\"event\":\"x\","
                        "\"good\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\","
                        "\"bad\":\"\\u00ff\\u0080\",\"cut\":\"a\\u00e2\\u0082\","
                        "\"long\":\"\\u00c0\\u0080\",\"half\":\"\\u00ed\\u00a0\\u0080\","
                        "\"high\":\"\\u00f4\\u0090\\u0080\\u0080\"}\n");
}

static void a_lower_level_is_silent(void **arg)
{
    (void)arg;
    capture(CONFIG_LOG_TEXT);
    assert_false(log_enabled(CONFIG_LOG_DEBUG));
    log_debug("x", "n=%d", 1);
    assert_string_equal(captured(), "");
}

static void a_long_value_is_cut_and_the_line_stays_whole(void **arg)
{
    (void)arg;
    static char text[9000];
    memset(text, '\x01', sizeof text - 1);
    capture(CONFIG_LOG_JSON);
    log_error("x", "v=\"%s\" n=%d", text, 1);
    const char *found = captured();
    assert_true(strlen(found) < 4096);
    assert_string_equal(found + strlen(found) - 2, "}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_pairs),
        cmocka_unit_test(a_value_cannot_make_up_a_pair_or_a_line),
        cmocka_unit_test(json_has_numbers_and_strings),
        cmocka_unit_test(json_is_escaped),
        cmocka_unit_test(a_line_is_always_utf_8),
        cmocka_unit_test(a_lower_level_is_silent),
        cmocka_unit_test(a_long_value_is_cut_and_the_line_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
