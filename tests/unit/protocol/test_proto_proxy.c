/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_proxy: headers of load balancers, whole, cut, too long and hostile.
 */
#include "proto_test.h"

#include "proto_proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\x0a\1\2\3\x0a\x09\x08\x07\x9c\x41\x19\x20" /* 10.1.2.3:40001 to 10.9.8.7:6432 */
#define V6                                             \
    "\0\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f" \
    "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x9c\x41\x19\x20"

static enum proto_status read_copy(struct proto_span in, struct proto_proxy *ret)
{
    const struct proto_span copy = span_copy(in);
    const enum proto_status status = proto_proxy_read(copy, ret);
    span_free(copy);
    return status;
}

static void tcp_over_ipv4(void **state)
{
    (void)state;
    struct proto_proxy h;
    static const struct proto_span in = SPAN_INIT(SIGNATURE "\x21\x11\0\x0c" V4 "\0\0\0\x08");
    assert_int_equal(read_copy(in, &h), PROTO_OK);
    assert_int_equal(h.size, 28);
    assert_true(h.has_address && h.is_v4);
    assert_memory_equal(h.source, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\1\2\3", 16);
    assert_memory_equal(h.destination, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x09\x08\x07", 16);
    assert_int_equal(h.source_port, 40001);
    assert_int_equal(h.destination_port, 6432);
}

static void tcp_over_ipv6(void **state)
{
    (void)state;
    struct proto_proxy h;
    static const struct proto_span in = SPAN_INIT(SIGNATURE "\x21\x21\0\x24" V6);
    assert_int_equal(read_copy(in, &h), PROTO_OK);
    assert_true(h.has_address && !h.is_v4);
    for (uint8_t i = 0; i < 16; i++) {
        assert_int_equal(h.source[i], i);
        assert_int_equal(h.destination[i], 16 + i);
    }
    assert_int_equal(h.source_port, 40001);
}

static void what_has_no_address_leaves_the_real_one(void **state)
{
    (void)state;
    static uint8_t path[PROTO_PROXY_FIXED_SIZE + 216] = SIGNATURE "\x21\x31\0\xd8/run/x";
    static const struct proto_span rows[] = {
        SPAN_INIT(SIGNATURE "\x20\0\0\0"),        /* LOCAL: a health check */
        SPAN_INIT(SIGNATURE "\x20\x11\0\x0c" V4), /* ... whose address means nothing */
        SPAN_INIT(SIGNATURE "\x20\x21\0\1x"),     /* ... and need not even be one */
        SPAN_INIT(SIGNATURE "\x21\0\0\x08"
                            "anything"),          /* unspecified */
        SPAN_INIT(SIGNATURE "\x21\x12\0\x0c" V4), /* datagrams */
        {path, sizeof(path)},                     /* a Unix socket of another machine */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proto_proxy h;
        assert_int_equal(read_copy(rows[i], &h), PROTO_OK);
        assert_false(h.has_address);
        assert_int_equal(h.is_local, i < 3);
        assert_int_equal(h.size, rows[i].size);
    }
}

static void tlvs_are_skipped_and_a_checksum_is_checked(void **state)
{
    (void)state;
    struct proto_proxy h;
    uint8_t bytes[] = SIGNATURE "\x21\x11\0\x16" V4 "\x04\0\0\x03\0\4\0\0\0\0";
    static const uint8_t crc[4] = {0x4a, 0xc8, 0x60, 0xf2};
    memcpy(bytes + 34, crc, 4);
    const struct proto_span in = {bytes, 38};
    assert_int_equal(read_copy(in, &h), PROTO_OK);
    assert_int_equal(h.size, 38);
    for (size_t i = 16; i < 38; i++) { /* every byte behind the fixed ones counts */
        bytes[i] ^= 0x10;
        if (i != 31) /* the type of the checksum itself */
            assert_int_not_equal(read_copy(in, &h), PROTO_OK);
        bytes[i] ^= 0x10;
    }
    static const struct proto_span plain =
        SPAN_INIT(SIGNATURE "\x21\x11\0\x16" V4 "\x04\0\0\xea\0\4abcd");
    assert_int_equal(read_copy(plain, &h), PROTO_OK);
}

static void bad_headers_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct proto_span in;
        enum proto_status want;
    } rows[] = {
        {SPAN_INIT("\0"), PROTO_EMALFORMED},
        {SPAN_INIT("PROXY TCP4"), PROTO_EMALFORMED}, /* version 1 */
        {SPAN_INIT("\r\n\r\n\0\r\nQUIT\r"), PROTO_EMALFORMED},
        {SPAN_INIT(SIGNATURE "\x11"), PROTO_EUNSUPPORTED},
        {SPAN_INIT(SIGNATURE "\x22"), PROTO_EUNSUPPORTED},
        {SPAN_INIT(SIGNATURE "\x21\x41"), PROTO_EUNSUPPORTED},
        {SPAN_INIT(SIGNATURE "\x21\x13"), PROTO_EUNSUPPORTED},
        {SPAN_INIT(SIGNATURE "\x21\x11\xff\xff"), PROTO_ETOOBIG},
        {SPAN_INIT(SIGNATURE "\x20\0\x3f\xf1"), PROTO_ETOOBIG},
        {SPAN_INIT(SIGNATURE "\x20\0\x3f\xf0"), PROTO_MORE},
        {SPAN_INIT(SIGNATURE "\x21\x11\0\x0b"), PROTO_EMALFORMED}, /* addresses do not fit */
        {SPAN_INIT(SIGNATURE "\x21\x21\0\x0c" V4), PROTO_EMALFORMED},
        {SPAN_INIT(SIGNATURE "\x21\x31\0\xd7"), PROTO_EMALFORMED},
        {SPAN_INIT(SIGNATURE "\x21\x11\0\x0d" V4 "\4"), PROTO_EMALFORMED}, /* half a TLV */
        {SPAN_INIT(SIGNATURE "\x21\x11\0\x10" V4 "\4\0\2x"), PROTO_EMALFORMED},
        {SPAN_INIT(SIGNATURE "\x21\x11\0\x0f" V4 "\3\0\0"), PROTO_EMALFORMED}, /* no checksum */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proto_proxy h = {.size = 12345};
        assert_int_equal(read_copy(rows[i].in, &h), rows[i].want);
        assert_int_equal(h.size, 12345);
    }
}

static void it_may_come_one_byte_at_a_time_and_is_never_read_past(void **state)
{
    (void)state;
    static const struct proto_span in = SPAN_INIT(SIGNATURE "\x21\x11\0\x13" V4 "\4\0\4noop"
                                                            "\0\0\0\x08");
    struct proto_proxy h;
    for (size_t size = 0; size < 35; size++) {
        const struct proto_span part = {in.base, size};
        assert_int_equal(read_copy(part, &h), PROTO_MORE);
        assert_int_equal(proto_proxy_missing(part), size < 16 ? 16 - size : 35 - size);
    }
    assert_int_equal(read_copy(in, &h), PROTO_OK);
    assert_int_equal(h.size, 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_over_ipv4),
        cmocka_unit_test(tcp_over_ipv6),
        cmocka_unit_test(what_has_no_address_leaves_the_real_one),
        cmocka_unit_test(tlvs_are_skipped_and_a_checksum_is_checked),
        cmocka_unit_test(bad_headers_are_told_apart),
        cmocka_unit_test(it_may_come_one_byte_at_a_time_and_is_never_read_past),
    };
    return cmocka_run_group_tests_name("proto proxy", tests, NULL, NULL);
}
