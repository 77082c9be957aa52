/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_options: the start-up parameter `options` as a log of the settings in it.
 */
#include "proto_test.h"

#include "proto_startup.h"

/* Appends "name=value;" to the log. */
static void log_setting(void *arg, const char *name, const char *value)
{
    char *log = arg;
    const size_t used = strlen(log);
    assert_true(used + strlen(name) + strlen(value) + 3 < 256);
    char *out = stpcpy(stpcpy(stpcpy(log + used, name), "="), value);
    (void)stpcpy(out, ";");
}

/* Splits with a buffer of exactly this size, so that a sanitizer sees one byte too many. */
static enum proto_status split(struct proto_span options, size_t buf_size, char log[256])
{
    const struct proto_span copy = span_copy(options);
    char *buf = malloc(buf_size > 0 ? buf_size : 1);
    assert_non_null(buf);
    log[0] = '\0';
    const enum proto_status status = proto_options_split(copy, buf, buf_size, log_setting, log);
    free(buf);
    span_free(copy);
    return status;
}

static void options_are_split_as_the_server_does(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        const char *want;
    } rows[] = {
        {"", ""},
        {" \t\n ", ""},
        {"-c k=v", "k=v;"},
        {"-ck=v", "k=v;"},
        {"--k=v", "k=v;"},
        {"-c a=1 -cb=2 --c=3", "a=1;b=2;c=3;"},
        {"  -c   a=1   --b=2  ", "a=1;b=2;"},
        {"-c\ta=1\n--b=2", "a=1;b=2;"},
        {"--search-path=x-y", "search_path=x-y;"},
        {"-c search-path=x", "search_path=x;"},
        {"-c k=", "k=;"},
        {"-c k=a=b", "k=a=b;"},
        {"-c search_path=a,\\ b", "search_path=a, b;"},
        {"-c k=a\\\\b", "k=a\\b;"},
        {"-c k=a\\b", "k=ab;"},
        {"-c k=a\\", "k=a;"},
        {"-c\\ k=v", " k=v;"}, /* one word, as for the server, which then knows no such name */
        {"-c k=\\-c", "k=-c;"},
        {"-c a=1 -c a=2", "a=1;a=2;"},
        {"-c geqo=\xc3\xa9", "geqo=\xc3\xa9;"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char log[256];
        const struct proto_span options = span_of(rows[i].options);
        if (split(options, options.size + 2, log) != PROTO_OK)
            fail_msg("refused: %s", rows[i].options);
        assert_string_equal(log, rows[i].want);
    }
}

static void anything_else_is_refused_and_emits_nothing(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "k=v", "-c",        "--",      "-c k",      "--k",   "-c =v",    "--=v",
        "-e",  "-d 5",      "-",       "-x k=v",    "-c -c", "-c a=1 b", "c",
        "\\",  "-c a=1 --", "-ec a=1", "\\ -c a=1", "-c \\",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char log[256];
        const struct proto_span options = span_of(rows[i]);
        const enum proto_status status = split(options, options.size + 2, log);
        if (status != PROTO_EMALFORMED && status != PROTO_EUNSUPPORTED)
            fail_msg("taken: %s", rows[i]);
        assert_string_equal(log, "");
    }
    char log[256];
    assert_int_equal(PROTO_EMALFORMED, split(SPAN("-c k=a\0b"), 64, log));
}

static void ignore(void *arg, const char *name, const char *value)
{
    (void)arg;
    (void)name;
    (void)value;
}

static void the_word_at_fault_is_told(void **state)
{
    (void)state;
    char buf[64];
    assert_int_equal(PROTO_EUNSUPPORTED,
                     proto_options_split(SPAN("-c a=1 nonsense"), buf, sizeof buf, ignore, NULL));
    assert_string_equal(buf, "nonsense");
    assert_int_equal(PROTO_EMALFORMED, proto_options_split(SPAN("-c a=1 -c valueless"), buf,
                                                           sizeof buf, ignore, NULL));
    assert_string_equal(buf, "valueless");
}

static void a_small_buffer_is_an_error_not_an_overflow(void **state)
{
    (void)state;
    static const struct proto_span rows[] = {
        SPAN_INIT("-c a=1 -cb=2 --c=3"),
        SPAN_INIT("--k=v"),
        SPAN_INIT("-c k="),
        SPAN_INIT("-ck=\\ "),
        SPAN_INIT(""),
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char log[256];
        bool fitted = false;
        for (size_t size = 0; size <= rows[i].size + 2; size++) {
            const enum proto_status status = split(rows[i], size, log);
            assert_true(status == PROTO_OK || (!fitted && status == PROTO_ETOOBIG));
            fitted = status == PROTO_OK;
        }
        assert_true(fitted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_split_as_the_server_does),
        cmocka_unit_test(anything_else_is_refused_and_emits_nothing),
        cmocka_unit_test(the_word_at_fault_is_told),
        cmocka_unit_test(a_small_buffer_is_an_error_not_an_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
