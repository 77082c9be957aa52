/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_base64: RFC 4648's vectors, and what a strict decoder refuses.
 */
#include "proto_test.h"

#include "proto_base64.h"

static void vectors_of_the_rfc_hold_both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *plain;
        const char *text;
    } rows[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[16];
        uint8_t plain[16];
        size_t size = 99;
        assert_int_equal(strlen(rows[i].text), proto_base64_encode(span_of(rows[i].plain), text));
        assert_string_equal(text, rows[i].text);
        assert_int_equal(PROTO_OK, proto_base64_decode(span_of(text), plain, sizeof plain, &size));
        assert_int_equal(size, strlen(rows[i].plain));
        assert_memory_equal(plain, rows[i].plain, size);
    }
}

static void every_byte_survives_the_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        char text[(256 + 2) / 3 * 4 + 1];
        uint8_t plain[256];
        size_t plain_size = 0;
        const size_t text_size = proto_base64_encode((struct proto_span){bytes, size}, text);
        assert_int_equal(text_size, proto_base64_size(size));
        assert_int_equal(PROTO_OK, proto_base64_decode(span_of(text), plain, size, &plain_size));
        assert_int_equal(plain_size, size);
        assert_memory_equal(plain, bytes, size);
        if (size > 0)
            assert_int_equal(PROTO_ETOOBIG,
                             proto_base64_decode(span_of(text), plain, size - 1, &plain_size));
    }
}

static void loose_texts_are_malformed(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "Z",    "Zg",   "Zg=",    "Zg==Zg==", "Zg===", "====", "=Zg=", "Zm=v",    "Z===", "Zh==",
        "Zm9=", "Zm9 ", "Zm9v\n", " Zm9v",    "Zm9-",  "Zm9_", "Zm9*", "Zm9\xc3", "Zg=A", "=m9v",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t plain[16];
        size_t size = 99;
        const struct proto_span copy = span_copy(span_of(rows[i]));
        if (proto_base64_decode(copy, plain, sizeof plain, &size) != PROTO_EMALFORMED)
            fail_msg("taken: %s", rows[i]);
        span_free(copy);
        assert_int_equal(size, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc_hold_both_ways),
        cmocka_unit_test(every_byte_survives_the_round_trip),
        cmocka_unit_test(loose_texts_are_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
