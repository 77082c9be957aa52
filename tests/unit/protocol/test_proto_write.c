/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_write: each writer's bytes, its round trip through the parser of the same message, and
 * every capacity that is too small.
 */
#include "proto_test.h"

#include "proto_message.h"
#include "proto_write.h"

#define EMPTY ((struct proto_span){NULL, 0})

/* One call of each writer, and what it must write. */
static void query(struct proto_writer *w)
{
    proto_write_query(w, SPAN("select 1"));
}
static void parse(struct proto_writer *w)
{
    proto_write_parse(w, SPAN("s"), SPAN("x"), SPAN("\0\0\0\x17\0\0\0\x19"));
}
static void parse_unnamed(struct proto_writer *w)
{
    proto_write_parse(w, EMPTY, SPAN("x"), EMPTY);
}
static void bind(struct proto_writer *w)
{
    proto_write_bind(w, SPAN("p"), SPAN("s"), SPAN("\0\0\0\1\0\0\0\1v\0\0"));
}
static void bind_empty(struct proto_writer *w)
{
    proto_write_bind_empty(w, EMPTY, SPAN("s"));
}
static void describe(struct proto_writer *w)
{
    proto_write_describe(w, 'S', SPAN("s"));
}
static void close_target(struct proto_writer *w)
{
    proto_write_close(w, 'P', SPAN("p"));
}
static void execute(struct proto_writer *w)
{
    proto_write_execute(w, SPAN("p"), 258);
}
static void auth_md5(struct proto_writer *w)
{
    proto_write_auth_md5(w, (const uint8_t *)"\1\2\3\4");
}
static void auth_sasl(struct proto_writer *w)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
    proto_write_auth_sasl(w, mechanisms, COUNT(mechanisms));
}
static void auth_sasl_continue(struct proto_writer *w)
{
    proto_write_auth_sasl_continue(w, SPAN("r=x"));
}
static void auth_sasl_final(struct proto_writer *w)
{
    proto_write_auth_sasl_final(w, SPAN("v=x"));
}
static void parameter_status(struct proto_writer *w)
{
    proto_write_parameter_status(w, SPAN("TimeZone"), SPAN("UTC"));
}
static void backend_key(struct proto_writer *w)
{
    proto_write_backend_key(w, 0x01020304, SPAN("abcd"));
}
static void negotiate(struct proto_writer *w)
{
    const struct proto_span options[] = {SPAN("_pq_.a"), SPAN("_pq_.b")};
    proto_write_negotiate(w, 2, options, COUNT(options));
}
static void ready(struct proto_writer *w)
{
    proto_write_ready(w, 'T');
}
static void command_complete(struct proto_writer *w)
{
    proto_write_command_complete(w, "SELECT 1");
}
static void row_description(struct proto_writer *w)
{
    static const char *const names[] = {"a", "bc"};
    proto_write_row_description(w, names, COUNT(names));
}
static void data_row(struct proto_writer *w)
{
    const struct proto_span values[] = {SPAN("v"), EMPTY, SPAN("")};
    proto_write_data_row(w, values, COUNT(values));
}
static void error(struct proto_writer *w)
{
    proto_write_error(
        w,
        &(struct proto_error_text){
            .severity = "FATAL", .sqlstate = "08P01", .message = "m", .detail = "d", .hint = "h"});
}
static void warning(struct proto_writer *w)
{
    proto_write_error(
        w, &(struct proto_error_text){.severity = "WARNING", .sqlstate = "01000", .message = "m"});
}

static const struct {
    void (*write)(struct proto_writer *w);
    struct proto_span want;
} rows[] = {
    {query, SPAN_INIT("Q\0\0\0\x0dselect 1\0")},
    {parse, SPAN_INIT("P\0\0\0\x12s\0x\0\0\2\0\0\0\x17\0\0\0\x19")},
    {parse_unnamed, SPAN_INIT("P\0\0\0\x09\0x\0\0\0")},
    {bind, SPAN_INIT("B\0\0\0\x13p\0s\0\0\0\0\1\0\0\0\1v\0\0")},
    {bind_empty, SPAN_INIT("B\0\0\0\x0d\0s\0\0\0\0\0\0\0")},
    {describe, SPAN_INIT("D\0\0\0\7Ss\0")},
    {close_target, SPAN_INIT("C\0\0\0\7Pp\0")},
    {execute, SPAN_INIT("E\0\0\0\x0ap\0\0\0\1\2")},
    {proto_write_sync, SPAN_INIT("S\0\0\0\4")},
    {proto_write_flush, SPAN_INIT("H\0\0\0\4")},
    {proto_write_terminate, SPAN_INIT("X\0\0\0\4")},
    {proto_write_auth_ok, SPAN_INIT("R\0\0\0\x08\0\0\0\0")},
    {proto_write_auth_cleartext, SPAN_INIT("R\0\0\0\x08\0\0\0\3")},
    {auth_md5, SPAN_INIT("R\0\0\0\x0c\0\0\0\5\1\2\3\4")},
    {auth_sasl, SPAN_INIT("R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")},
    {auth_sasl_continue, SPAN_INIT("R\0\0\0\x0b\0\0\0\x0br=x")},
    {auth_sasl_final, SPAN_INIT("R\0\0\0\x0b\0\0\0\x0cv=x")},
    {parameter_status, SPAN_INIT("S\0\0\0\x11TimeZone\0UTC\0")},
    {backend_key, SPAN_INIT("K\0\0\0\x0c\1\2\3\4abcd")},
    {negotiate, SPAN_INIT("v\0\0\0\x1a\0\3\0\2\0\0\0\2_pq_.a\0_pq_.b\0")},
    {ready, SPAN_INIT("Z\0\0\0\5T")},
    {proto_write_parse_complete, SPAN_INIT("1\0\0\0\4")},
    {proto_write_bind_complete, SPAN_INIT("2\0\0\0\4")},
    {proto_write_close_complete, SPAN_INIT("3\0\0\0\4")},
    {proto_write_no_data, SPAN_INIT("n\0\0\0\4")},
    {proto_write_empty_query, SPAN_INIT("I\0\0\0\4")},
    {command_complete, SPAN_INIT("C\0\0\0\x0dSELECT 1\0")},
    {row_description, SPAN_INIT("T\0\0\0\x2f\0\2"
                                "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
                                "bc\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")},
    {data_row, SPAN_INIT("D\0\0\0\x13\0\3\0\0\0\1v\xff\xff\xff\xff\0\0\0\0")},
    {error, SPAN_INIT("E\0\0\0\x23SFATAL\0VFATAL\0"
                      "C08P01\0Mm\0Dd\0Hh\0\0")},
    {warning, SPAN_INIT("N\0\0\0\x21SWARNING\0VWARNING\0"
                        "C01000\0Mm\0\0")},
};

static void each_writer_writes_its_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t bytes[128];
        struct proto_writer w = proto_writer_make(bytes, sizeof bytes);
        rows[i].write(&w);
        assert_false(w.overflow);
        if (w.size != rows[i].want.size || memcmp(bytes, rows[i].want.base, w.size) != 0)
            fail_msg("message %zu ('%c') is wrong", i, rows[i].want.base[0]);

        struct proto_header header = {0};
        assert_int_equal(PROTO_OK,
                         proto_header_peek(proto_writer_span(&w), PROTO_BODY_SIZE_MAX, &header));
        assert_int_equal(w.size, PROTO_HEADER_SIZE + header.body_size);
    }
}

static void a_message_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t capacity = 0; capacity <= rows[i].want.size; capacity++) {
            uint8_t *bytes = malloc(capacity + 1 + 6); /* six for the message in front */
            assert_non_null(bytes);
            struct proto_writer w = proto_writer_make(bytes, capacity + 6);
            proto_write_ready(&w, 'I');
            rows[i].write(&w);
            const bool fits = capacity == rows[i].want.size;
            assert_int_equal(w.overflow, !fits);
            assert_int_equal(w.size, fits ? 6 + rows[i].want.size : 6);
            assert_memory_equal(bytes, "Z\0\0\0\5I", 6);
            free(bytes);
        }
    }
}

static void overflow_sticks_even_for_what_would_fit(void **state)
{
    (void)state;
    uint8_t bytes[16];
    struct proto_writer w = proto_writer_make(bytes, sizeof bytes);
    proto_write_sync(&w);
    proto_write_query(&w, SPAN("far too long for it"));
    assert_true(w.overflow);
    proto_write_sync(&w);
    proto_write_raw(&w, SPAN("x"));
    proto_write_raw(&w, EMPTY);
    assert_true(w.overflow);
    assert_span(proto_writer_span(&w), "S\0\0\0\4");
}

static void raw_bytes_go_whole_or_not_at_all(void **state)
{
    (void)state;
    uint8_t bytes[4];
    struct proto_writer w = proto_writer_make(bytes, sizeof bytes);
    proto_write_raw(&w, SPAN("abc"));
    proto_write_raw(&w, SPAN("d"));
    assert_false(w.overflow);
    assert_span(proto_writer_span(&w), "abcd");
    w = proto_writer_make(bytes, sizeof bytes);
    proto_write_raw(&w, SPAN("abc"));
    proto_write_raw(&w, SPAN("de"));
    assert_true(w.overflow);
    assert_span(proto_writer_span(&w), "abc");
    w = proto_writer_make(NULL, 0);
    proto_write_raw(&w, EMPTY);
    assert_false(w.overflow);
    proto_write_sync(&w);
    assert_true(w.overflow);
}

static struct proto_span body_of(const struct proto_writer *w)
{
    return (struct proto_span){w->base + PROTO_HEADER_SIZE, w->size - PROTO_HEADER_SIZE};
}

static void what_goes_to_a_server_reads_back(void **state)
{
    (void)state;
    uint8_t bytes[128];
    struct proto_writer w = proto_writer_make(bytes, sizeof bytes);
    struct proto_span text;
    query(&w);
    assert_int_equal(PROTO_OK, proto_query_read(body_of(&w), &text));
    assert_span(text, "select 1");

    struct proto_parse p;
    w = proto_writer_make(bytes, sizeof bytes);
    parse(&w);
    assert_int_equal(PROTO_OK, proto_parse_read(body_of(&w), &p));
    assert_span(p.name, "s");
    assert_span(p.text, "x");
    assert_span(p.types, "\0\0\0\x17\0\0\0\x19");

    struct proto_bind b;
    w = proto_writer_make(bytes, sizeof bytes);
    bind(&w);
    assert_int_equal(PROTO_OK, proto_bind_peek(body_of(&w), &b));
    assert_span(b.portal, "p");
    assert_span(b.statement, "s");
    assert_span(b.rest, "\0\0\0\1\0\0\0\1v\0\0");

    struct proto_target t;
    w = proto_writer_make(bytes, sizeof bytes);
    close_target(&w);
    assert_int_equal(PROTO_OK, proto_target_read(body_of(&w), &t));
    assert_int_equal(t.what, 'P');
    assert_span(t.name, "p");

    struct proto_execute e;
    w = proto_writer_make(bytes, sizeof bytes);
    execute(&w);
    assert_int_equal(PROTO_OK, proto_execute_read(body_of(&w), &e));
    assert_span(e.portal, "p");
    assert_int_equal(e.rows_max, 258);
}

static void what_goes_to_a_client_reads_back(void **state)
{
    (void)state;
    uint8_t bytes[128];
    struct proto_writer w = proto_writer_make(bytes, sizeof bytes);
    uint8_t status;
    ready(&w);
    assert_int_equal(PROTO_OK, proto_ready_read(body_of(&w), &status));
    assert_int_equal(status, 'T');

    struct proto_parameter p;
    w = proto_writer_make(bytes, sizeof bytes);
    parameter_status(&w);
    assert_int_equal(PROTO_OK, proto_parameter_read(body_of(&w), &p));
    assert_span(p.name, "TimeZone");
    assert_span(p.value, "UTC");

    struct proto_error e;
    w = proto_writer_make(bytes, sizeof bytes);
    error(&w);
    assert_int_equal(PROTO_OK, proto_error_read(body_of(&w), &e));
    assert_span(e.severity, "FATAL");
    assert_span(e.sqlstate, "08P01");
    assert_span(e.message, "m");
    assert_span(e.detail, "d");
    assert_span(e.hint, "h");
}

static void notices_and_errors_differ_in_type(void **state)
{
    (void)state;
    static const char *const severities[] = {"NOTICE", "WARNING", "INFO",  "LOG",  "DEBUG",
                                             "DEBUG1", "ERROR",   "FATAL", "PANIC"};
    for (size_t i = 0; i < COUNT(severities); i++) {
        uint8_t bytes[128];
        struct proto_writer w = proto_writer_make(bytes, sizeof bytes);
        proto_write_error(&w, &(struct proto_error_text){
                                  .severity = severities[i], .sqlstate = "00000", .message = ""});
        assert_int_equal(bytes[0], i < 6 ? 'N' : 'E');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_writer_writes_its_message),
        cmocka_unit_test(a_message_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(overflow_sticks_even_for_what_would_fit),
        cmocka_unit_test(raw_bytes_go_whole_or_not_at_all),
        cmocka_unit_test(what_goes_to_a_server_reads_back),
        cmocka_unit_test(what_goes_to_a_client_reads_back),
        cmocka_unit_test(notices_and_errors_differ_in_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
