/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_frame: headers, bounds and the cursor.
 */
#include "proto_test.h"

static void header_needs_five_bytes(void **state)
{
    (void)state;
    const struct proto_span whole = SPAN("Z\0\0\0\5I");
    for (size_t size = 0; size <= whole.size; size++) {
        const struct proto_span part = span_copy((struct proto_span){whole.base, size});
        struct proto_header header = {0};
        const enum proto_status status = proto_header_peek(part, 1, &header);
        if (size < PROTO_HEADER_SIZE) {
            assert_int_equal(status, PROTO_MORE);
            assert_int_equal(header.type, 0);
        } else {
            assert_int_equal(status, PROTO_OK);
            assert_int_equal(header.type, 'Z');
            assert_int_equal(header.body_size, 1);
        }
        span_free(part);
    }
}

static void header_lengths_are_judged_at_their_limits(void **state)
{
    (void)state;
    static const struct {
        uint32_t length;
        uint32_t body_size_max;
        enum proto_status want;
    } rows[] = {
        {0, 100, PROTO_EBADLEN},
        {3, 100, PROTO_EBADLEN},
        {3, UINT32_MAX, PROTO_EBADLEN},
        {4, 0, PROTO_OK},
        {5, 0, PROTO_ETOOBIG},
        {104, 100, PROTO_OK},
        {105, 100, PROTO_ETOOBIG},
        {10000, PROTO_BODY_SIZE_SMALL, PROTO_OK},
        {10001, PROTO_BODY_SIZE_SMALL, PROTO_ETOOBIG},
        {0x3ffffffe, PROTO_BODY_SIZE_MAX, PROTO_OK},
        {0x3fffffff, PROTO_BODY_SIZE_MAX, PROTO_ETOOBIG},
        {0x80000000, PROTO_BODY_SIZE_MAX, PROTO_ETOOBIG}, /* negative, for the server */
        {UINT32_MAX, PROTO_BODY_SIZE_MAX, PROTO_ETOOBIG},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t bytes[5] = {'x'};
        proto_store_u32(bytes + 1, rows[i].length);
        struct proto_header header = {.type = 1, .body_size = 77};
        assert_int_equal(rows[i].want, proto_header_peek((struct proto_span){bytes, sizeof bytes},
                                                         rows[i].body_size_max, &header));
        assert_int_equal(header.body_size, rows[i].want == PROTO_OK ? rows[i].length - 4 : 77);
    }
}

static void client_bounds_are_those_of_the_server(void **state)
{
    (void)state;
    static const char small[] = "CDEHSXcf";
    static const char large[] = "BFPQd";
    for (unsigned type = 0; type <= UINT8_MAX; type++) {
        uint32_t want = UINT32_MAX;
        if (type != 0 && strchr(small, (int)type) != NULL)
            want = 9996;
        if (type != 0 && strchr(large, (int)type) != NULL)
            want = 0x3ffffffa;
        assert_int_equal(want, proto_client_body_size_max((uint8_t)type));
    }
}

static void server_types_are_known_or_not(void **state)
{
    (void)state;
    static const char known[] = "123ACDEGHINSTVWZcdnst";
    for (unsigned type = 0; type <= UINT8_MAX; type++) {
        const bool want = type != 0 && strchr(known, (int)type) != NULL;
        assert_int_equal(want, proto_server_type_known((uint8_t)type));
    }
}

static void cursor_reads_fields_in_order(void **state)
{
    (void)state;
    const struct proto_span body = span_copy(SPAN("\x81\x82\x83\xfe\xdc\xba\x98name\0xyz"));
    struct proto_reader r = proto_reader_make(body);
    assert_int_equal(proto_read_u8(&r), 0x81);
    assert_int_equal(proto_read_u16(&r), 0x8283);
    assert_int_equal(proto_read_u32(&r), 0xfedcba98);
    assert_span(proto_read_string(&r), "name");
    assert_false(proto_reader_done(&r));
    assert_span(proto_read_bytes(&r, 3), "xyz");
    assert_true(proto_reader_done(&r));
    assert_span(proto_read_bytes(&r, 0), "");
    assert_true(proto_reader_done(&r));
    span_free(body);
}

static void cursor_failure_sticks(void **state)
{
    (void)state;
    const struct proto_span body = span_copy(SPAN("abc"));
    struct proto_reader r = proto_reader_make(body);
    assert_int_equal(proto_read_u32(&r), 0); /* one byte short */
    assert_true(r.failed);
    assert_int_equal(proto_read_u8(&r), 0); /* would have been 'a' */
    assert_int_equal(proto_read_u16(&r), 0);
    assert_int_equal(proto_read_bytes(&r, 1).size, 0);
    assert_int_equal(proto_read_string(&r).size, 0);
    assert_false(proto_reader_done(&r));
    span_free(body);
}

static void hostile_sizes_do_not_pass_the_end(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {4, 0x7fffffff, 0x80000000, UINT32_MAX - 3, UINT32_MAX};
    const struct proto_span body = span_copy(SPAN("abc"));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct proto_reader r = proto_reader_make(body);
        assert_int_equal(proto_read_bytes(&r, sizes[i]).size, 0);
        assert_true(r.failed);
    }
    span_free(body);
}

static void string_without_nul_is_empty_and_fails(void **state)
{
    (void)state;
    const struct proto_span body = span_copy(SPAN("abc"));
    struct proto_reader r = proto_reader_make(body);
    const struct proto_span s = proto_read_string(&r);
    assert_int_equal(s.size, 0);
    assert_non_null(s.base);
    assert_true(r.failed);
    span_free(body);
}

static void no_bytes_at_all_can_be_read_from(void **state)
{
    (void)state;
    struct proto_reader r = proto_reader_make((struct proto_span){NULL, 0});
    assert_true(proto_reader_done(&r));
    assert_int_equal(proto_read_bytes(&r, 0).size, 0);
    assert_true(proto_reader_done(&r));
    assert_int_equal(proto_read_string(&r).size, 0);
    assert_false(proto_reader_done(&r));
}

static void every_status_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(proto_status_text(PROTO_OK), "ok");
    assert_string_equal(proto_status_text(PROTO_EBADLEN), "invalid message length");
    assert_string_equal(proto_status_text(PROTO_EUNSUPPORTED),
                        "unsupported protocol version or request");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_needs_five_bytes),
        cmocka_unit_test(header_lengths_are_judged_at_their_limits),
        cmocka_unit_test(client_bounds_are_those_of_the_server),
        cmocka_unit_test(server_types_are_known_or_not),
        cmocka_unit_test(cursor_reads_fields_in_order),
        cmocka_unit_test(cursor_failure_sticks),
        cmocka_unit_test(hostile_sizes_do_not_pass_the_end),
        cmocka_unit_test(string_without_nul_is_empty_and_fails),
        cmocka_unit_test(no_bytes_at_all_can_be_read_from),
        cmocka_unit_test(every_status_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
