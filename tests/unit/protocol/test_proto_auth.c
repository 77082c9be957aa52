/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_auth: SCRAM-SHA-256 against RFC 7677's vector, md5, and whatever a client may get
 * wrong. OpenSSL lends the hashes.
 */
#include "proto_test.h"

#include "proto_exchange.h"

/* RFC 7677, section 3. The server's half of its nonce is not base64 of 18 bytes, so the vector is
 * laid into the exchange by hand. */
#define RFC_BARE "n=user,r=rOprNGfwEbeRWgbNEkqO"
#define RFC_NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define RFC_PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static struct proto_scram rfc_exchange(void)
{
    struct proto_scram s = {.gs2_header = "n,,", .client_first_bare = RFC_BARE, .nonce = RFC_NONCE};
    uint8_t salt[16];
    size_t size;
    (void)stpcpy(s.server_first, "r=" RFC_NONCE ",s=" RFC_SALT ",i=4096");
    assert_int_equal(PROTO_OK, proto_base64_decode(SPAN(RFC_SALT), salt, sizeof salt, &size));
    proto_scram_secret_make(&hashes, SPAN("pencil"), salt, (uint32_t)size, 4096, &s.secret);
    return s;
}

static void the_vector_of_rfc_7677_is_proven(void **state)
{
    (void)state;
    struct proto_scram s = rfc_exchange();
    bool proven = false;
    char server_final[64];
    assert_int_equal(PROTO_OK,
                     proto_scram_final(&hashes, &s, SPAN("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF),
                                       &proven, server_final));
    assert_true(proven);
    assert_string_equal(server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

static void a_doomed_exchange_ends_as_a_wrong_password(void **state)
{
    (void)state;
    struct proto_scram s = rfc_exchange();
    s.doomed = true;
    bool proven = true;
    char server_final[64] = "untouched";
    assert_int_equal(PROTO_OK,
                     proto_scram_final(&hashes, &s, SPAN("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF),
                                       &proven, server_final));
    assert_false(proven);
    assert_string_equal(server_final, "untouched");
}

static void a_proof_with_one_bit_wrong_is_not_proven(void **state)
{
    (void)state;
    struct proto_scram s = rfc_exchange();
    uint8_t proof[32];
    size_t size;
    assert_int_equal(PROTO_OK, proto_base64_decode(SPAN(RFC_PROOF), proof, sizeof proof, &size));
    for (size_t bit = 0; bit < 256; bit++) {
        char text[45];
        char message[256];
        char server_final[64];
        bool proven = true;
        proof[bit / 8] ^= (uint8_t)(1U << bit % 8);
        proto_base64_encode((struct proto_span){proof, sizeof proof}, text);
        proof[bit / 8] ^= (uint8_t)(1U << bit % 8);
        (void)stpcpy(stpcpy(message, "c=biws,r=" RFC_NONCE ",p="), text);
        assert_int_equal(PROTO_OK,
                         proto_scram_final(&hashes, &s, span_of(message), &proven, server_final));
        assert_false(proven);
    }
}

static void client_finals_are_read_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum proto_scram_fault fault;
    } rows[] = {
        {"", PROTO_SCRAM_MALFORMED},
        {"c=biws", PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE, PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",", PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",p=", PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",p=AAAA", PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",p=" RFC_PROOF ",x=y", PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",p=" RFC_PROOF " ", PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE "x,p=" RFC_PROOF, PROTO_SCRAM_NONCE},
        {"c=biws,r=" RFC_NONCE ",,p=" RFC_PROOF, PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",xy,p=" RFC_PROOF, PROTO_SCRAM_MALFORMED},
        {"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=" RFC_PROOF, PROTO_SCRAM_NONCE},
        {"c=eSws,r=" RFC_NONCE ",p=" RFC_PROOF,
         PROTO_SCRAM_FLAG}, /* not the header that it began with */
        {"c=,r=" RFC_NONCE ",p=" RFC_PROOF, PROTO_SCRAM_FLAG},
        {"r=" RFC_NONCE ",p=" RFC_PROOF, PROTO_SCRAM_MALFORMED},
        {"c=biws,p=" RFC_PROOF, PROTO_SCRAM_MALFORMED},
        {"c=biws,r=" RFC_NONCE ",p=" RFC_PROOF "AAAA", PROTO_SCRAM_MALFORMED},
    };
    struct proto_scram s = rfc_exchange();
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool proven = true;
        char server_final[64];
        const struct proto_span copy = span_copy(span_of(rows[i].text));
        if (proto_scram_final(&hashes, &s, copy, &proven, server_final) != PROTO_EMALFORMED)
            fail_msg("taken: %s", rows[i].text);
        assert_int_equal(rows[i].fault, s.fault);
        assert_true(proven); /* not written */
        span_free(copy);
    }
    const struct proto_span whole = SPAN("c=biws,r=" RFC_NONCE ",p=" RFC_PROOF);
    for (size_t size = 0; size < whole.size; size++) {
        bool proven = true;
        char server_final[64];
        const struct proto_span copy = span_copy((struct proto_span){whole.base, size});
        assert_int_equal(PROTO_EMALFORMED,
                         proto_scram_final(&hashes, &s, copy, &proven, server_final));
        span_free(copy);
    }
}

static void extensions_are_covered_by_the_proof(void **state)
{
    (void)state;
    struct proto_scram s = rfc_exchange();
    bool proven = true;
    char server_final[64];
    assert_int_equal(PROTO_OK,
                     proto_scram_final(&hashes, &s, SPAN("c=biws,r=" RFC_NONCE ",x=y,p=" RFC_PROOF),
                                       &proven, server_final));
    assert_false(proven); /* the vector's proof was made without x=y */
}

static void whole_exchanges_tell_right_from_wrong(void **state)
{
    (void)state;
    struct proto_scram s = {0};
    proto_scram_secret_make(&hashes, SPAN("secret"), (const uint8_t *)"0123456789abcdef", 16, 100,
                            &s.secret);
    assert_true(exchange(&s, "n,,n=,r=abc", "biws", "secret"));
    assert_true(exchange(&s, "y,,n=,r=abc", "eSws", "secret"));
    assert_true(exchange(&s, "n,,n=some=2Cname,r=abc,x=ext", "biws", "secret"));
    assert_false(exchange(&s, "n,,n=,r=abc", "biws", "secreT"));
    assert_false(exchange(&s, "n,,n=,r=abc", "biws", ""));
    assert_true(exchange(&s, "n,,n=,r=abc", "biws", "secret")); /* nothing is left over */
}

static void server_first_joins_nonce_salt_and_iterations(void **state)
{
    (void)state;
    struct proto_scram s = {.secret = {.iterations = 100, .salt = "salt", .salt_size = 4}};
    assert_int_equal(PROTO_OK, proto_scram_first(&s, SPAN("n,,n=,r=abc"), random_bytes));
    assert_string_equal(s.server_first, "r=abcZWlnaHRlZW4gYXQgcmFuZG9t,s=c2FsdA==,i=100");
    assert_string_equal(s.client_first_bare, "n=,r=abc");
    assert_string_equal(s.gs2_header, "n,,");
}

static void client_firsts_are_read_strictly(void **state)
{
    (void)state;
    static const struct proto_span rows[] = {
        SPAN_INIT(""),
        SPAN_INIT("n"),
        SPAN_INIT("n,,"),
        SPAN_INIT("n,,n="),
        SPAN_INIT("n,,n=,"),
        SPAN_INIT("n,,n=,r="),
        SPAN_INIT("n,,n=,r=,x=y"),
        SPAN_INIT("n,,n=,x=abc"),
        SPAN_INIT("n,,r=abc"),
        SPAN_INIT("n,,m=x,n=,r=abc"),
        SPAN_INIT("n,a=me,n=,r=abc"),
        SPAN_INIT("p=tls-server-end-point,,n=,r=abc"),
        SPAN_INIT("N,,n=,r=abc"),
        SPAN_INIT("n,xn=,r=abc"),
        SPAN_INIT("nx,n=,r=abc"),
        SPAN_INIT("n,,n=,r=a c"),
        SPAN_INIT("n,,n=,r=a\x7f"),
        SPAN_INIT("n,,n=,r=\xc3\xa9"),
        SPAN_INIT("n,,n=,r=abc\0"),
        SPAN_INIT("n,,n=\0,r=abc"),
        SPAN_INIT("n,,n=,r=abc,xy"),
        SPAN_INIT("n,,n=,r=abc,1=y"),
        SPAN_INIT("n,,n=,r=abc,,x=y"),
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proto_scram s = {.secret = {.iterations = 1, .salt_size = 1}};
        const struct proto_span copy = span_copy(rows[i]);
        if (proto_scram_first(&s, copy, random_bytes) != PROTO_EMALFORMED)
            fail_msg("client-first %zu was taken", i);
        assert_int_equal(s.nonce[0], 0);
        span_free(copy);
    }
}

static enum proto_status first_of_sizes(size_t name_size, size_t nonce_size, struct proto_scram *s)
{
    char message[2048] = "n,,n=";
    memset(message + 5, 'u', name_size);
    (void)stpcpy(message + 5 + name_size, ",r=");
    memset(message + 8 + name_size, 'x', nonce_size);
    *s = (struct proto_scram){.secret = {.iterations = INT32_MAX, .salt_size = 64}};
    const struct proto_span copy =
        span_copy((struct proto_span){(const uint8_t *)message, 8 + name_size + nonce_size});
    const enum proto_status status = proto_scram_first(s, copy, random_bytes);
    span_free(copy);
    return status;
}

static void names_and_nonces_are_bounded(void **state)
{
    (void)state;
    struct proto_scram s;
    assert_int_equal(PROTO_OK, first_of_sizes(0, 999, &s)); /* 999 + 24 + NUL = 1024 */
    assert_int_equal(strlen(s.nonce), 1023);
    assert_int_equal(strlen(s.server_first), 2 + 1023 + 3 + 88 + 3 + 10);
    assert_int_equal(PROTO_EMALFORMED, first_of_sizes(0, 1000, &s));
    assert_int_equal(PROTO_OK, first_of_sizes(1018 - 20, 20, &s)); /* 5 + 1018 + NUL = 1024 */
    assert_int_equal(strlen(s.client_first_bare), 1023);
    assert_int_equal(PROTO_EMALFORMED, first_of_sizes(1019 - 20, 20, &s));
    assert_int_equal(PROTO_EMALFORMED, first_of_sizes(1900, 20, &s));
}

static void final_messages_are_bounded(void **state)
{
    (void)state;
    struct proto_scram s = rfc_exchange();
    for (size_t size = PROTO_SCRAM_MESSAGE_SIZE_MAX; size <= PROTO_SCRAM_MESSAGE_SIZE_MAX + 1;
         size++) {
        static const char head[] = "c=biws,r=" RFC_NONCE ",x=";
        static const char tail[] = ",p=" RFC_PROOF;
        char message[PROTO_SCRAM_MESSAGE_SIZE_MAX + 2];
        memset(message, 'x', sizeof message);
        memcpy(message, head, sizeof head - 1);
        memcpy(message + size - (sizeof tail - 1), tail, sizeof tail - 1);
        bool proven = true;
        char server_final[64];
        assert_int_equal(size <= PROTO_SCRAM_MESSAGE_SIZE_MAX ? PROTO_OK : PROTO_EMALFORMED,
                         proto_scram_final(&hashes, &s,
                                           (struct proto_span){(const uint8_t *)message, size},
                                           &proven, server_final));
    }
}

#define KEY_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define SALT_64 \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define SALT_65 \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void stored_secrets_are_read(void **state)
{
    (void)state;
    struct proto_scram_secret s;
    assert_true(proto_scram_secret_read(SPAN("SCRAM-SHA-256$4096:c2FsdA==$" KEY_A ":" KEY_B), &s));
    assert_int_equal(s.iterations, 4096);
    assert_int_equal(s.salt_size, 4);
    assert_memory_equal(s.salt, "salt", 4);
    assert_int_equal(s.stored_key[0], 0);
    assert_int_equal(s.stored_key[31], 0);
    assert_int_equal(s.server_key[0], 1);
    assert_int_equal(s.server_key[31], 1);
    assert_true(
        proto_scram_secret_read(SPAN("SCRAM-SHA-256$2147483647:" SALT_64 "$" KEY_A ":" KEY_B), &s));
    assert_int_equal(s.iterations, INT32_MAX);
    assert_int_equal(s.salt_size, 64);
}

static void other_stored_passwords_are_not_scram_secrets(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "secret",
        "md50123456789abcdef0123456789abcdef",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096",
        "SCRAM-SHA-256$4096:c2FsdA==",
        "SCRAM-SHA-256$4096:c2FsdA==$" KEY_A,
        "SCRAM-SHA-256$4096:c2FsdA==$" KEY_A ":",
        "SCRAM-SHA-256$4096:c2FsdA==$" KEY_A ":" KEY_B "x",
        "SCRAM-SHA-256$4096:c2FsdA==$" KEY_A ":" KEY_B ":",
        "SCRAM-SHA-256$4096:c2FsdA==$AAAA:" KEY_B,
        "SCRAM-SHA-256$4096:$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$4096:" SALT_65 "$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$4096:c2FsdA$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$0:c2FsdA==$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$:c2FsdA==$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$-1:c2FsdA==$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$4096x:c2FsdA==$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$2147483648:c2FsdA==$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$4294967297:c2FsdA==$" KEY_A ":" KEY_B,
        "SCRAM-SHA-256$18446744073709551617:c2FsdA==$" KEY_A ":" KEY_B,
        "scram-sha-256$4096:c2FsdA==$" KEY_A ":" KEY_B,
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proto_scram_secret s;
        const struct proto_span copy = span_copy(span_of(rows[i]));
        if (proto_scram_secret_read(copy, &s))
            fail_msg("taken: %s", rows[i]);
        span_free(copy);
    }
}

static void a_mock_is_stable_and_looks_like_the_servers_own(void **state)
{
    (void)state;
    static const uint8_t key[32] = "a key of the instance";
    static const uint8_t other_key[32] = "a key of another";
    struct proto_scram_secret a, again, other_user, other_instance;
    memset(&a, 1, sizeof a);
    memset(&again, 2, sizeof again);
    proto_scram_secret_mock(&hashes, SPAN("ghost"), key, &a);
    proto_scram_secret_mock(&hashes, SPAN("ghost"), key, &again);
    proto_scram_secret_mock(&hashes, SPAN("ghosT"), key, &other_user);
    proto_scram_secret_mock(&hashes, SPAN("ghost"), other_key, &other_instance);
    assert_memory_equal(&a, &again, sizeof a);
    assert_memory_not_equal(a.salt, other_user.salt, 16);
    assert_memory_not_equal(a.salt, other_instance.salt, 16);
    assert_int_equal(a.iterations, 4096);
    assert_int_equal(a.salt_size, 16);
    struct proto_scram s = {.secret = a, .doomed = true};
    assert_false(exchange(&s, "n,,n=,r=abc", "biws", "anything"));
}

static void md5_answers_are_those_of_a_client(void **state)
{
    (void)state;
    static const uint8_t salt[4] = {1, 2, 3, 4};
    char answer[36];
    /* md5 of "passuser", then of its hex and the salt; made with md5sum. */
    proto_md5_answer(&hashes, SPAN("pass"), SPAN("user"), salt, answer);
    assert_string_equal(answer, "md56cf524962d8413e6b0cdf79fddff891c");
    proto_md5_answer(&hashes, SPAN("md57f409a7c046daea1c2c60502d7e2becc"), SPAN("user"), salt,
                     answer);
    assert_string_equal(answer, "md56cf524962d8413e6b0cdf79fddff891c");
    proto_md5_answer(&hashes, SPAN("md5"), SPAN("user"), salt, answer); /* a password after all */
    assert_int_equal(strlen(answer), 35);
    proto_md5_answer(&hashes, SPAN(""), SPAN(""), salt, answer);
    assert_int_equal(strlen(answer), 35);
}

static void an_oversized_md5_input_has_no_answer(void **state)
{
    (void)state;
    static const uint8_t salt[4] = {1, 2, 3, 4};
    static uint8_t user[PROTO_MD5_INPUT_SIZE_MAX];
    char answer[36];
    memset(user, 'u', sizeof user);
    proto_md5_answer(&hashes, SPAN("pass"), (struct proto_span){user, sizeof user - 4}, salt,
                     answer);
    assert_int_equal(strlen(answer), 35);
    proto_md5_answer(&hashes, SPAN("pass"), (struct proto_span){user, sizeof user - 3}, salt,
                     answer);
    for (size_t i = 0; i < sizeof answer; i++)
        assert_int_equal(answer[i], 0);
}

static void equality_looks_at_every_byte(void **state)
{
    (void)state;
    uint8_t a[40] = {0};
    uint8_t b[40] = {0};
    assert_true(proto_equal_constant_time(a, b, 0));
    for (size_t i = 0; i < sizeof a; i++) {
        assert_true(proto_equal_constant_time(a, b, sizeof a));
        b[i] = 0x80;
        assert_false(proto_equal_constant_time(a, b, sizeof a));
        assert_true(proto_equal_constant_time(a, b, i));
        b[i] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_rfc_7677_is_proven),
        cmocka_unit_test(a_doomed_exchange_ends_as_a_wrong_password),
        cmocka_unit_test(a_proof_with_one_bit_wrong_is_not_proven),
        cmocka_unit_test(client_finals_are_read_strictly),
        cmocka_unit_test(extensions_are_covered_by_the_proof),
        cmocka_unit_test(whole_exchanges_tell_right_from_wrong),
        cmocka_unit_test(server_first_joins_nonce_salt_and_iterations),
        cmocka_unit_test(client_firsts_are_read_strictly),
        cmocka_unit_test(names_and_nonces_are_bounded),
        cmocka_unit_test(final_messages_are_bounded),
        cmocka_unit_test(stored_secrets_are_read),
        cmocka_unit_test(other_stored_passwords_are_not_scram_secrets),
        cmocka_unit_test(a_mock_is_stable_and_looks_like_the_servers_own),
        cmocka_unit_test(md5_answers_are_those_of_a_client),
        cmocka_unit_test(an_oversized_md5_input_has_no_answer),
        cmocka_unit_test(equality_looks_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
