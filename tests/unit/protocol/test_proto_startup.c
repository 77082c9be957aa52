/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_startup: first packets, whole, cut, too short, too long and hostile.
 */
#include "proto_test.h"

#include "proto_startup.h"

#define V3 "\0\3\0\0"
#define CODE_CANCEL "\4\xd2\x16\x2e"
#define CODE_SSL "\4\xd2\x16\x2f"
#define CODE_GSSENC "\4\xd2\x16\x30"

static enum proto_status read_copy(struct proto_span in, struct proto_startup *ret)
{
    const struct proto_span copy = span_copy(in);
    const enum proto_status status = proto_startup_read(copy, ret);
    span_free(copy); /* the spans in *ret are gone: callers look at numbers only */
    return status;
}

static void packets_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct proto_span packet;
        enum proto_status want;
        enum proto_startup_kind kind;
    } rows[] = {
        {SPAN_INIT("\0\0\0\x08" CODE_SSL), PROTO_OK, PROTO_STARTUP_SSL},
        {SPAN_INIT("\0\0\0\x08" CODE_GSSENC), PROTO_OK, PROTO_STARTUP_GSSENC},
        {SPAN_INIT("\0\0\0\x09" CODE_SSL "x"), PROTO_EMALFORMED, 0},
        {SPAN_INIT("\0\0\0\x09" CODE_GSSENC "x"), PROTO_EMALFORMED, 0},
        {SPAN_INIT("\0\0\0\x09" V3 "\0"), PROTO_OK, PROTO_STARTUP_SESSION},
        {SPAN_INIT("\0\0\0\x09\0\3\0\2\0"), PROTO_OK, PROTO_STARTUP_SESSION},
        {SPAN_INIT("\0\0\0\x09\0\3\xff\xff\0"), PROTO_OK, PROTO_STARTUP_SESSION},
        {SPAN_INIT("\0\0\0\x08" V3), PROTO_EMALFORMED, 0},              /* no end */
        {SPAN_INIT("\0\0\0\x10" V3 "user\0me\0"), PROTO_EMALFORMED, 0}, /* no end either */
        {SPAN_INIT("\0\0\0\x11" V3 "user\0me\0\0"), PROTO_OK, PROTO_STARTUP_SESSION},
        {SPAN_INIT("\0\0\0\x12" V3 "user\0me\0\0\0"), PROTO_EMALFORMED,
         0},                                                          /* more behind the end */
        {SPAN_INIT("\0\0\0\x0d" V3 "user\0"), PROTO_EMALFORMED, 0},   /* no value */
        {SPAN_INIT("\0\0\0\x0e" V3 "user\0\0"), PROTO_EMALFORMED, 0}, /* empty value, no end */
        {SPAN_INIT("\0\0\0\x0f" V3 "user\0\0\0"), PROTO_OK, PROTO_STARTUP_SESSION},
        {SPAN_INIT("\0\0\0\x0c" V3 "user"), PROTO_EMALFORMED, 0},
        {SPAN_INIT("\0\0\0\x09\0\2\0\0\0"), PROTO_EUNSUPPORTED, 0}, /* protocol 2 */
        {SPAN_INIT("\0\0\0\x09\0\4\0\0\0"), PROTO_EUNSUPPORTED, 0},
        {SPAN_INIT("\0\0\0\x08\0\0\0\0"), PROTO_EUNSUPPORTED, 0},
        {SPAN_INIT("\0\0\0\x08\4\xd2\x16\x31"), PROTO_EUNSUPPORTED, 0},
        {SPAN_INIT("\0\0\0\x08\xff\xff\xff\xff"), PROTO_EUNSUPPORTED, 0},
        {SPAN_INIT("\0\0\0\x07"), PROTO_EBADLEN, 0},
        {SPAN_INIT("\0\0\0\0"), PROTO_EBADLEN, 0},
        {SPAN_INIT("\0\0\x27\x14"), PROTO_MORE, 0},    /* 10004 */
        {SPAN_INIT("\0\0\x27\x15"), PROTO_ETOOBIG, 0}, /* 10005 */
        {SPAN_INIT("\x80\0\0\0"), PROTO_ETOOBIG, 0},
        {SPAN_INIT("\xff\xff\xff\xff"), PROTO_ETOOBIG, 0},
        {SPAN_INIT("GET / HTTP/1.1"), PROTO_ETOOBIG, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proto_startup s = {.packet_size = 12345};
        if (read_copy(rows[i].packet, &s) != rows[i].want)
            fail_msg("packet %zu was judged wrongly", i);
        assert_int_equal(s.packet_size, rows[i].want == PROTO_OK ? rows[i].packet.size : 12345);
        if (rows[i].want == PROTO_OK)
            assert_int_equal(s.kind, rows[i].kind);
    }
}

static void every_cut_wants_more(void **state)
{
    (void)state;
    static const struct proto_span wholes[] = {
        SPAN_INIT("\0\0\0\x11" V3 "user\0me\0\0"),
        SPAN_INIT("\0\0\0\x08" CODE_SSL),
        SPAN_INIT("\0\0\0\x10" CODE_CANCEL "\0\0\0\1abcd"),
    };
    for (size_t i = 0; i < COUNT(wholes); i++) {
        struct proto_startup s;
        for (size_t size = 0; size < wholes[i].size; size++)
            assert_int_equal(PROTO_MORE, read_copy((struct proto_span){wholes[i].base, size}, &s));
        assert_int_equal(PROTO_OK, read_copy(wholes[i], &s));
    }
}

static void bytes_behind_the_packet_are_left_alone(void **state)
{
    (void)state;
    struct proto_startup s;
    assert_int_equal(PROTO_OK, proto_startup_read(SPAN("\0\0\0\x08" CODE_SSL "injected"), &s));
    assert_int_equal(s.packet_size, 8); /* so that the caller can see that there is more */
}

static void session_gives_version_and_parameters(void **state)
{
    (void)state;
    struct proto_startup s;
    assert_int_equal(
        PROTO_OK,
        proto_startup_read(SPAN("\0\0\0\x39\0\3\0\2user\0me\0_pq_.x\0on\0_pq_\0y\0user\0you\0"
                                "_pq_.\0\0TZ\0UTC\0\0"),
                           &s));
    assert_int_equal(s.version_major, 3);
    assert_int_equal(s.version_minor, 2);
    assert_int_equal(s.parameters_count, 6);
    assert_int_equal(s.unknown_options_count, 2);
    assert_span(s.parameters[0].value, "me");
    assert_span(proto_startup_find(&s, "user"), "you"); /* the last one counts */
    assert_span(proto_startup_find(&s, "TZ"), "UTC");
    assert_span(proto_startup_find(&s, "_pq_."), "");
    assert_non_null(proto_startup_find(&s, "_pq_.").base);
    assert_null(proto_startup_find(&s, "database").base);
    assert_null(proto_startup_find(&s, "use").base);
    assert_null(proto_startup_find(&s, "users").base);
}

static size_t session_make(uint8_t *ret, size_t parameters_count)
{
    memcpy(ret + 4, V3, 4);
    size_t size = 8;
    for (size_t i = 0; i < parameters_count; i++, size += 4)
        memcpy(ret + size, "k\0v", 4);
    ret[size++] = 0;
    proto_store_u32(ret, (uint32_t)size);
    return size;
}

static void parameters_are_bounded(void **state)
{
    (void)state;
    uint8_t bytes[2048];
    struct proto_startup s;
    size_t size = session_make(bytes, PROTO_STARTUP_PARAMETERS_MAX);
    assert_int_equal(PROTO_OK, proto_startup_read((struct proto_span){bytes, size}, &s));
    assert_int_equal(s.parameters_count, PROTO_STARTUP_PARAMETERS_MAX);
    size = session_make(bytes, PROTO_STARTUP_PARAMETERS_MAX + 1);
    assert_int_equal(PROTO_EMALFORMED, read_copy((struct proto_span){bytes, size}, &s));
}

static void the_largest_packet_passes(void **state)
{
    (void)state;
    static uint8_t bytes[PROTO_STARTUP_SIZE_MAX + 1];
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes, "\0\0\x27\x14" V3 "user\0", 13);
    bytes[PROTO_STARTUP_SIZE_MAX - 2] = 0;
    bytes[PROTO_STARTUP_SIZE_MAX - 1] = 0;
    struct proto_startup s;
    assert_int_equal(PROTO_OK,
                     proto_startup_read((struct proto_span){bytes, PROTO_STARTUP_SIZE_MAX}, &s));
    assert_int_equal(proto_startup_find(&s, "user").size, PROTO_STARTUP_SIZE_MAX - 13 - 2);
    bytes[3]++;
    assert_int_equal(PROTO_ETOOBIG,
                     proto_startup_read((struct proto_span){bytes, sizeof bytes}, &s));
}

static void cancel_keys_have_four_to_256_bytes(void **state)
{
    (void)state;
    uint8_t bytes[12 + 257];
    proto_store_u32(bytes + 4, 80877102);
    proto_store_u32(bytes + 8, 0x010203);
    for (size_t key_size = 0; key_size <= 257; key_size++) {
        memset(bytes + 12, (int)(key_size & 0xff), key_size);
        proto_store_u32(bytes, (uint32_t)(12 + key_size));
        const struct proto_span packet = span_copy((struct proto_span){bytes, 12 + key_size});
        struct proto_startup s;
        const enum proto_status status = proto_startup_read(packet, &s);
        if (key_size < 4 || key_size > 256) {
            assert_int_equal(status, PROTO_EMALFORMED);
        } else {
            assert_int_equal(status, PROTO_OK);
            assert_int_equal(s.kind, PROTO_STARTUP_CANCEL);
            assert_int_equal(s.cancel_pid, 0x010203);
            assert_int_equal(s.cancel_key.size, key_size);
            assert_ptr_equal(s.cancel_key.base, packet.base + 12);
        }
        span_free(packet);
    }
    struct proto_startup s;
    assert_int_equal(PROTO_EMALFORMED, read_copy(SPAN("\0\0\0\x08" CODE_CANCEL), &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_told_apart),
        cmocka_unit_test(every_cut_wants_more),
        cmocka_unit_test(bytes_behind_the_packet_are_left_alone),
        cmocka_unit_test(session_gives_version_and_parameters),
        cmocka_unit_test(parameters_are_bounded),
        cmocka_unit_test(the_largest_packet_passes),
        cmocka_unit_test(cancel_keys_have_four_to_256_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
