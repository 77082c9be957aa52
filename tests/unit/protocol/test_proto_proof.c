/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_proof: SCRAM bound to TLS, passwords in clear text, and that who is unknown costs the
 * same work.
 */
#include "proto_exchange.h"

static uint32_t work[3]; /* calls of sha256, hmac, pbkdf2 */

static void counting_sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    work[0]++;
    sha256(data, size, ret);
}

static void counting_hmac(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                          uint8_t ret[32])
{
    work[1]++;
    hmac_sha256(key, key_size, data, size, ret);
}

static void counting_pbkdf2(const uint8_t *password, size_t password_size, const uint8_t *salt,
                            size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    work[2] += iterations;
    pbkdf2_sha256(password, password_size, salt, salt_size, iterations, ret);
}

static const struct proto_hashes counting = {.sha256 = counting_sha256,
                                             .hmac_sha256 = counting_hmac,
                                             .pbkdf2_sha256 = counting_pbkdf2,
                                             .md5 = md5};

/* ---- channel binding ---- */

#define PLUS "p=tls-server-end-point,,"

static struct proto_scram bound(bool plus)
{
    struct proto_scram s = {.plus = plus, .binding_size = 32};
    memset(s.binding, 0xc5, 32);
    proto_scram_secret_make(&hashes, SPAN("secret"), (const uint8_t *)"0123456789abcdef", 16, 100,
                            &s.secret);
    return s;
}

/* What a client of a TLS connection with this certificate puts behind "c=". */
static void binding_of(uint8_t byte, char ret[128])
{
    uint8_t raw[24 + 32];
    memcpy(raw, PLUS, 24);
    memset(raw + 24, byte, 32);
    proto_base64_encode((struct proto_span){raw, sizeof raw}, ret);
}

static void a_client_bound_to_our_certificate_is_let_in(void **state)
{
    (void)state;
    struct proto_scram s = bound(true);
    char binding[128];
    binding_of(0xc5, binding);
    assert_true(exchange(&s, PLUS "n=,r=abc", binding, "secret"));
    assert_false(exchange(&s, PLUS "n=,r=abc", binding, "secreT"));
}

static void a_client_bound_to_another_certificate_is_not(void **state)
{
    (void)state;
    struct proto_scram s = bound(true);
    char bindings[2][128];
    char message[512];
    char server_final[64];
    bool proven = false;
    binding_of(0xc6, bindings[0]);
    (void)stpcpy(bindings[1], "biws");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(PROTO_OK, proto_scram_first(&s, SPAN(PLUS "n=,r=abc"), random_bytes));
        client_final_make(&s, bindings[i], "secret", message);
        assert_int_equal(PROTO_EMALFORMED,
                         proto_scram_final(&hashes, &s, span_of(message), &proven, server_final));
        assert_int_equal(s.fault, PROTO_SCRAM_BINDING);
        assert_false(proven);
    }
}

static void whoever_takes_the_binding_away_is_found_out(void **state)
{
    (void)state;
    static const struct {
        const char *first;
        bool plus, tls;
        enum proto_status status;
        enum proto_scram_fault fault;
    } rows[] = {
        {"n,,n=,r=abc", false, true, PROTO_OK, PROTO_SCRAM_MALFORMED},
        {"y,,n=,r=abc", false, false, PROTO_OK, PROTO_SCRAM_MALFORMED},
        {"y,,n=,r=abc", false, true, PROTO_EMALFORMED, PROTO_SCRAM_DOWNGRADE},
        {"n,,n=,r=abc", true, true, PROTO_EMALFORMED, PROTO_SCRAM_NOT_BOUND},
        {"y,,n=,r=abc", true, true, PROTO_EMALFORMED, PROTO_SCRAM_NOT_BOUND},
        {PLUS "n=,r=abc", false, true, PROTO_EMALFORMED, PROTO_SCRAM_NOT_BOUND},
        {PLUS "n=,r=abc", false, false, PROTO_EMALFORMED, PROTO_SCRAM_NOT_BOUND},
        {"p=tls-unique,,n=,r=abc", true, true, PROTO_EMALFORMED, PROTO_SCRAM_BINDING_TYPE},
        {"p=tls-exporter,,n=,r=abc", true, true, PROTO_EMALFORMED, PROTO_SCRAM_BINDING_TYPE},
        {"p=tls-server-end-point,a=me,n=,r=abc", true, true, PROTO_EMALFORMED,
         PROTO_SCRAM_AUTHORIZATION},
        {"n,a=me,n=,r=abc", false, true, PROTO_EMALFORMED, PROTO_SCRAM_AUTHORIZATION},
        {"y,a=me,n=,r=abc", false, false, PROTO_EMALFORMED, PROTO_SCRAM_AUTHORIZATION},
        {"n,,m=x,n=,r=abc", false, true, PROTO_EMALFORMED, PROTO_SCRAM_EXTENSION},
        {"p=tls-server-end-point", true, true, PROTO_EMALFORMED, PROTO_SCRAM_BINDING_TYPE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct proto_scram s = bound(rows[i].plus);
        s.binding_size = rows[i].tls ? 32 : 0;
        const struct proto_span copy = span_copy(span_of(rows[i].first));
        assert_int_equal(rows[i].status, proto_scram_first(&s, copy, random_bytes));
        assert_int_equal(rows[i].fault, s.fault);
        span_free(copy);
    }
}

static void a_proven_exchange_tells_the_clients_key(void **state)
{
    (void)state;
    struct proto_scram s = bound(false);
    uint8_t hash[32];
    assert_true(exchange(&s, "n,,n=,r=abc", "biws", "secret"));
    sha256(s.client_key, 32, hash);
    assert_memory_equal(hash, s.secret.stored_key, 32);
}

/* ---- what strangers can measure ---- */

static void an_unknown_user_costs_what_a_wrong_password_costs(void **state)
{
    (void)state;
    static const uint8_t key[32] = "a key of the instance";
    uint32_t costs[2][3];
    for (int known = 0; known < 2; known++) {
        struct proto_scram s = {.doomed = known == 0};
        char message[512];
        char server_final[64];
        bool proven = true;
        proto_scram_secret_mock(&hashes, SPAN("ghost"), key, &s.secret);
        memset(work, 0, sizeof work);
        assert_int_equal(PROTO_OK, proto_scram_first(&s, SPAN("n,,n=,r=abc"), random_bytes));
        client_final_make(&s, "biws", "wrong", message);
        assert_int_equal(PROTO_OK,
                         proto_scram_final(&counting, &s, span_of(message), &proven, server_final));
        assert_false(proven);
        memcpy(costs[known], work, sizeof work);
    }
    assert_memory_equal(costs[0], costs[1], sizeof work);
}

#define MD5_OF_PASS_USER "md57f409a7c046daea1c2c60502d7e2becc" /* md5("passuser") */

static bool checked(const char *stored, const char *password)
{
    static const uint8_t key[32] = "a key of the instance";
    struct proto_scram_secret mock;
    proto_scram_secret_mock(&hashes, SPAN("user"), key, &mock);
    memset(work, 0, sizeof work);
    return proto_password_check(&counting, stored, SPAN("user"), span_of(password), &mock);
}

static void a_password_in_clear_text_is_checked_against_any_secret(void **state)
{
    (void)state;
    struct proto_scram_secret s;
    char secret[256];
    char salt[32], stored[64], server[64];
    proto_scram_secret_make(&hashes, SPAN("pass"), (const uint8_t *)"0123456789abcdef", 16, 4096,
                            &s);
    proto_base64_encode((struct proto_span){s.salt, 16}, salt);
    proto_base64_encode((struct proto_span){s.stored_key, 32}, stored);
    proto_base64_encode((struct proto_span){s.server_key, 32}, server);
    (void)snprintf(secret, sizeof secret, "SCRAM-SHA-256$4096:%s$%s:%s", salt, stored, server);

    assert_true(checked(secret, "pass"));
    assert_int_equal(work[2], 4096);
    assert_false(checked(secret, "Pass"));
    assert_false(checked(secret, secret)); /* what is stored is no password */
    assert_true(checked(MD5_OF_PASS_USER, "pass"));
    assert_false(checked(MD5_OF_PASS_USER, "Pass"));
    assert_false(checked(MD5_OF_PASS_USER, MD5_OF_PASS_USER));
    assert_false(checked("", ""));
    assert_false(checked(secret, ""));
}

static void every_password_costs_the_same(void **state)
{
    (void)state;
    static const char *const stored[] = {
        NULL, "", MD5_OF_PASS_USER,
        "SCRAM-SHA-256$2000000000:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcX"
        "kuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="};
    for (size_t i = 0; i < COUNT(stored); i++) {
        assert_false(checked(stored[i], "wrong"));
        assert_int_equal(work[2], 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_bound_to_our_certificate_is_let_in),
        cmocka_unit_test(a_client_bound_to_another_certificate_is_not),
        cmocka_unit_test(whoever_takes_the_binding_away_is_found_out),
        cmocka_unit_test(a_proven_exchange_tells_the_clients_key),
        cmocka_unit_test(an_unknown_user_costs_what_a_wrong_password_costs),
        cmocka_unit_test(a_password_in_clear_text_is_checked_against_any_secret),
        cmocka_unit_test(every_password_costs_the_same),
    };
    return cmocka_run_group_tests_name("proto_proof", tests, NULL, NULL);
}
