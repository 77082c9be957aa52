/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_message: a table of good and bad bodies for each parser. Every good body is also cut
 * at every point and made one byte longer: neither may pass.
 */
#include "proto_test.h"

#include "proto_message.h"

/* One result for all parsers, so that the tables and the cutting are the same for each. */
union result {
    struct proto_span span;
    struct proto_parse parse;
    struct proto_target target;
    struct proto_execute execute;
    uint8_t ready;
    struct proto_parameter parameter;
    struct proto_error error;
    struct proto_sasl_initial sasl;
};

#define READER(name, function, member)                                       \
    static enum proto_status name(struct proto_span body, union result *ret) \
    {                                                                        \
        return function(body, &ret->member);                                 \
    }
READER(query, proto_query_read, span)
READER(parse, proto_parse_read, parse)
READER(target, proto_target_read, target)
READER(execute, proto_execute_read, execute)
READER(ready, proto_ready_read, ready)
READER(parameter, proto_parameter_read, parameter)
READER(error, proto_error_read, error)
READER(sasl, proto_sasl_initial_read, sasl)
READER(password, proto_password_read, span)

struct body_row {
    enum proto_status (*read)(struct proto_span body, union result *ret);
    struct proto_span body;
};

static const struct body_row good[] = {
    {query, SPAN_INIT("select 1\0")},
    {query, SPAN_INIT("\0")},
    {parse, SPAN_INIT("\0\0\0\0")},
    {parse, SPAN_INIT("s1\0select $1\0\0\1\0\0\0\x17")},
    {parse, SPAN_INIT("\0x\0\0\2\0\0\0\x17\xff\xff\xff\xff")},
    {target, SPAN_INIT("Sname\0")},
    {target, SPAN_INIT("P\0")},
    {execute, SPAN_INIT("\0\0\0\0\0")},
    {execute, SPAN_INIT("portal\0\0\0\0\5")},
    {execute, SPAN_INIT("\0\xff\xff\xff\xff")},
    {ready, SPAN_INIT("I")},
    {ready, SPAN_INIT("T")},
    {ready, SPAN_INIT("E")},
    {parameter, SPAN_INIT("TimeZone\0UTC\0")},
    {parameter, SPAN_INIT("\0\0")},
    {error, SPAN_INIT("\0")},
    {error, SPAN_INIT("SERROR\0C42601\0Msyntax\0\0")},
    {error, SPAN_INIT("zunknown\0\0")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\0\0\0\3abc")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\0\0\0\0")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\xff\xff\xff\xff")},
    {password, SPAN_INIT("secret\0")},
    {password, SPAN_INIT("\0")},
};

static const struct body_row bad[] = {
    {query, SPAN_INIT("")},
    {query, SPAN_INIT("select 1")},
    {query, SPAN_INIT("select 1\0;drop\0")}, /* an embedded NUL would hide what follows */
    {parse, SPAN_INIT("a\0b\0")},
    {parse, SPAN_INIT("a\0b\0\0\1")},
    {parse, SPAN_INIT("a\0b\0\0\1\0\0\0")},
    {parse, SPAN_INIT("a\0b\0\0\0\0\0\0\x17")},
    {parse, SPAN_INIT("a\0b\0\xff\xff\0\0\0\x17")}, /* 65535 types announced, one there */
    {target, SPAN_INIT("\0")},
    {target, SPAN_INIT("Xname\0")},
    {target, SPAN_INIT("sname\0")},
    {target, SPAN_INIT("S")},
    {execute, SPAN_INIT("portal\0")},
    {execute, SPAN_INIT("portal\0\0\0\0")},
    {execute, SPAN_INIT("portal\0\0\0\0\0\0")},
    {ready, SPAN_INIT("")},
    {ready, SPAN_INIT("X")},
    {ready, SPAN_INIT("II")},
    {parameter, SPAN_INIT("TimeZone\0")},
    {parameter, SPAN_INIT("TimeZone\0UTC\0x\0")},
    {error, SPAN_INIT("")},
    {error, SPAN_INIT("SERROR\0")},            /* no end */
    {error, SPAN_INIT("SERROR\0\0\0")},        /* two ends */
    {error, SPAN_INIT("SERROR\0C426\0\0")},    /* not a SQLSTATE */
    {error, SPAN_INIT("SERROR\0C426011\0\0")}, /* not one either */
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\0\0\0\4abc")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\0\0\0\2abc")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\xff\xff\xff\xff"
                     "abc")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\xff\xff\xff\xfe"
                     "abc")}, /* -2 */
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\x80\0\0\0"
                     "abc")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\x7f\xff\xff\xff"
                     "abc")},
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\xff\xff\xff\xfe")}, /* -2, and nothing behind it */
    {sasl, SPAN_INIT("SCRAM-SHA-256\0\x80\0\0\0")},
    {sasl, SPAN_INIT("SCRAM-SHA-256")},
    {password, SPAN_INIT("secret")},
    {password, SPAN_INIT("secret\0more\0")},
};

static enum proto_status read_copy(const struct body_row *row, struct proto_span body)
{
    const struct proto_span copy = span_copy(body);
    union result result;
    union result before;
    memset(&result, 0x5a, sizeof result);
    memcpy(&before, &result, sizeof result);
    const enum proto_status status = row->read(copy, &result);
    if (status != PROTO_OK) /* nothing is written on failure */
        assert_memory_equal(&result, &before, sizeof result);
    span_free(copy);
    return status;
}

static void good_bodies_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (read_copy(&good[i], good[i].body) != PROTO_OK)
            fail_msg("good body %zu was refused", i);
}

static void bad_bodies_are_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (read_copy(&bad[i], bad[i].body) != PROTO_EMALFORMED)
            fail_msg("bad body %zu was taken", i);
}

static void every_cut_of_a_good_body_is_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        for (size_t size = 0; size < good[i].body.size; size++)
            if (read_copy(&good[i], (struct proto_span){good[i].body.base, size}) !=
                PROTO_EMALFORMED)
                fail_msg("good body %zu passed when cut to %zu", i, size);
}

static void a_byte_more_is_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        uint8_t longer[64] = {0};
        assert_true(good[i].body.size < sizeof longer);
        memcpy(longer, good[i].body.base, good[i].body.size);
        if (read_copy(&good[i], (struct proto_span){longer, good[i].body.size + 1}) !=
            PROTO_EMALFORMED)
            fail_msg("good body %zu passed with a byte more", i);
    }
}

static void parse_gives_its_fields(void **state)
{
    (void)state;
    struct proto_parse p;
    assert_int_equal(PROTO_OK,
                     proto_parse_read(SPAN("s1\0select $1\0\0\2\0\0\0\x17\0\0\0\x19"), &p));
    assert_span(p.name, "s1");
    assert_span(p.text, "select $1");
    assert_int_equal(p.types_count, 2);
    assert_span(p.types, "\0\0\0\x17\0\0\0\x19");
}

static void parse_takes_as_many_types_as_the_count_can_say(void **state)
{
    (void)state;
    const size_t size = 4 + 65535 * 4;
    uint8_t *bytes = calloc(1, size + 1);
    assert_non_null(bytes);
    bytes[2] = bytes[3] = 0xff;
    struct proto_parse p = {0};
    assert_int_equal(PROTO_OK, proto_parse_read((struct proto_span){bytes, size}, &p));
    assert_int_equal(p.types_count, 65535);
    assert_int_equal(p.types.size, 262140);
    assert_int_equal(PROTO_EMALFORMED, proto_parse_read((struct proto_span){bytes, size - 1}, &p));
    assert_int_equal(PROTO_EMALFORMED, proto_parse_read((struct proto_span){bytes, size + 1}, &p));
    free(bytes);
}

static void bind_wants_more_until_both_names_are_there(void **state)
{
    (void)state;
    const struct proto_span whole = SPAN("portal\0statement\0\0\1\0\0tail");
    for (size_t size = 0; size <= whole.size; size++) {
        const struct proto_span part = span_copy((struct proto_span){whole.base, size});
        struct proto_bind bind = {0};
        const enum proto_status status = proto_bind_peek(part, &bind);
        assert_int_equal(status, size < 17 ? PROTO_MORE : PROTO_OK);
        if (status == PROTO_OK) {
            assert_span(bind.portal, "portal");
            assert_span(bind.statement, "statement");
            assert_ptr_equal(bind.rest.base, part.base + 17);
            assert_int_equal(bind.rest.size, size - 17);
        }
        span_free(part);
    }
}

static void negative_row_limits_mean_all(void **state)
{
    (void)state;
    struct proto_execute e;
    assert_int_equal(PROTO_OK, proto_execute_read(SPAN("c\0\x7f\xff\xff\xff"), &e));
    assert_int_equal(e.rows_max, INT32_MAX);
    assert_span(e.portal, "c");
    assert_int_equal(PROTO_OK, proto_execute_read(SPAN("c\0\x80\0\0\0"), &e));
    assert_int_equal(e.rows_max, 0);
    assert_int_equal(PROTO_OK, proto_execute_read(SPAN("c\0\xff\xff\xff\xff"), &e));
    assert_int_equal(e.rows_max, 0);
}

static void target_and_parameter_give_their_fields(void **state)
{
    (void)state;
    struct proto_target t;
    assert_int_equal(PROTO_OK, proto_target_read(SPAN("Pcursor\0"), &t));
    assert_int_equal(t.what, 'P');
    assert_span(t.name, "cursor");
    struct proto_parameter p;
    assert_int_equal(PROTO_OK, proto_parameter_read(SPAN("TimeZone\0UTC\0"), &p));
    assert_span(p.name, "TimeZone");
    assert_span(p.value, "UTC");
}

static void error_gives_the_fields_that_it_has(void **state)
{
    (void)state;
    struct proto_error e;
    assert_int_equal(PROTO_OK, proto_error_read(SPAN("SFEHLER\0VERROR\0C0A000\0Mtext\0Dmore\0Hdo\0"
                                                     "Fplan.c\0L7\0RRevalidateCachedQuery\0\0"),
                                                &e));
    assert_span(e.severity, "ERROR");
    assert_span(e.sqlstate, "0A000");
    assert_span(e.message, "text");
    assert_span(e.detail, "more");
    assert_span(e.hint, "do");
    assert_span(e.routine, "RevalidateCachedQuery");
}

static void absent_error_fields_are_empty_strings(void **state)
{
    (void)state;
    struct proto_error e;
    assert_int_equal(PROTO_OK, proto_error_read(SPAN("SFATAL\0\0"), &e));
    assert_span(e.severity, "FATAL"); /* no V: S stands in */
    const struct proto_span absent[] = {e.sqlstate, e.message, e.detail, e.hint, e.routine};
    for (size_t i = 0; i < COUNT(absent); i++) {
        assert_int_equal(absent[i].size, 0);
        assert_non_null(absent[i].base);
    }
    assert_int_equal(PROTO_OK, proto_error_read(SPAN("VERROR\0SFEHLER\0\0"), &e));
    assert_span(e.severity, "ERROR"); /* in either order */
}

static void sasl_initial_gives_its_fields(void **state)
{
    (void)state;
    struct proto_sasl_initial s;
    assert_int_equal(PROTO_OK, proto_sasl_initial_read(SPAN("SCRAM-SHA-256\0\0\0\0\3abc"), &s));
    assert_span(s.mechanism, "SCRAM-SHA-256");
    assert_span(s.response, "abc");
    assert_true(s.has_response);
    assert_int_equal(PROTO_OK, proto_sasl_initial_read(SPAN("X\0\xff\xff\xff\xff"), &s));
    assert_false(s.has_response);
    assert_int_equal(s.response.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies_pass),
        cmocka_unit_test(bad_bodies_are_malformed),
        cmocka_unit_test(every_cut_of_a_good_body_is_malformed),
        cmocka_unit_test(a_byte_more_is_malformed),
        cmocka_unit_test(parse_gives_its_fields),
        cmocka_unit_test(parse_takes_as_many_types_as_the_count_can_say),
        cmocka_unit_test(bind_wants_more_until_both_names_are_there),
        cmocka_unit_test(negative_row_limits_mean_all),
        cmocka_unit_test(target_and_parameter_give_their_fields),
        cmocka_unit_test(error_gives_the_fields_that_it_has),
        cmocka_unit_test(absent_error_fields_are_empty_strings),
        cmocka_unit_test(sasl_initial_gives_its_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
