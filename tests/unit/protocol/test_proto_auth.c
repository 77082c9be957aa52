/* SPDX-License-Identifier: PostgreSQL
 *
 * test_proto_auth: SCRAM-SHA-256 against RFC 7677's vector, md5, and whatever a client may get
 * wrong. OpenSSL lends the hashes.
 */
#include "proto_test.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proto_auth.h"
#include "proto_base64.h"

static void sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    assert_int_equal(1, EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL));
}

static void md5(const uint8_t *data, size_t size, uint8_t ret[16])
{
    assert_int_equal(1, EVP_Digest(data, size, ret, NULL, EVP_md5(), NULL));
}

static void hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                        uint8_t ret[32])
{
    assert_non_null(HMAC(EVP_sha256(), key, (int)key_size, data, size, ret, NULL));
}

static void pbkdf2_sha256(const uint8_t *password, size_t password_size, const uint8_t *salt,
                          size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    assert_int_equal(1, PKCS5_PBKDF2_HMAC((const char *)password, (int)password_size, salt,
                                          (int)salt_size, (int)iterations, EVP_sha256(), 32, ret));
}

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

static const struct proto_hashes hashes = {
    .sha256 = sha256, .hmac_sha256 = hmac_sha256, .pbkdf2_sha256 = pbkdf2_sha256, .md5 = md5};

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
    static const char *const rows[] = {
        "",
        "c=biws",
        "c=biws,r=" RFC_NONCE,
        "c=biws,r=" RFC_NONCE ",",
        "c=biws,r=" RFC_NONCE ",p=",
        "c=biws,r=" RFC_NONCE ",p=AAAA",
        "c=biws,r=" RFC_NONCE ",p=" RFC_PROOF ",x=y",
        "c=biws,r=" RFC_NONCE ",p=" RFC_PROOF " ",
        "c=biws,r=" RFC_NONCE "x,p=" RFC_PROOF,
        "c=biws,r=" RFC_NONCE ",,p=" RFC_PROOF,
        "c=biws,r=" RFC_NONCE ",xy,p=" RFC_PROOF,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=" RFC_PROOF,
        "c=eSws,r=" RFC_NONCE ",p=" RFC_PROOF, /* not the header that it began with */
        "c=,r=" RFC_NONCE ",p=" RFC_PROOF,
        "r=" RFC_NONCE ",p=" RFC_PROOF,
        "c=biws,p=" RFC_PROOF,
        "c=biws,r=" RFC_NONCE ",p=" RFC_PROOF "AAAA",
    };
    struct proto_scram s = rfc_exchange();
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool proven = true;
        char server_final[64];
        const struct proto_span copy = span_copy(span_of(rows[i]));
        if (proto_scram_final(&hashes, &s, copy, &proven, server_final) != PROTO_EMALFORMED)
            fail_msg("taken: %s", rows[i]);
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

/* What a client does: from the password and the two first messages to the final one. */
static void client_final_make(const struct proto_scram *s, const char *binding,
                              const char *password, char ret[512])
{
    uint8_t salted[32], client_key[32], stored_key[32], signature[32];
    char text[1024];
    char proof[45];
    (void)stpcpy(stpcpy(stpcpy(stpcpy(ret, "c="), binding), ",r="), s->nonce);
    char *out = stpcpy(stpcpy(text, s->client_first_bare), ",");
    (void)stpcpy(stpcpy(stpcpy(out, s->server_first), ","), ret);

    pbkdf2_sha256((const uint8_t *)password, strlen(password), s->secret.salt, s->secret.salt_size,
                  s->secret.iterations, salted);
    hmac_sha256(salted, 32, (const uint8_t *)"Client Key", 10, client_key);
    sha256(client_key, 32, stored_key);
    hmac_sha256(stored_key, 32, (const uint8_t *)text, strlen(text), signature);
    for (size_t i = 0; i < 32; i++)
        client_key[i] ^= signature[i];
    proto_base64_encode((struct proto_span){client_key, 32}, proof);
    (void)stpcpy(stpcpy(ret + strlen(ret), ",p="), proof);
}

static const uint8_t random_bytes[PROTO_SCRAM_NONCE_SIZE] = "eighteen at random";

static bool exchange(struct proto_scram *s, const char *first, const char *binding,
                     const char *password)
{
    char message[512];
    char server_final[64];
    bool proven = false;
    assert_int_equal(PROTO_OK, proto_scram_first(s, span_of(first), random_bytes));
    client_final_make(s, binding, password, message);
    assert_int_equal(PROTO_OK,
                     proto_scram_final(&hashes, s, span_of(message), &proven, server_final));
    if (proven)
        assert_int_equal(strlen(server_final), 46);
    return proven;
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
    char message[1024] = "n,,n=";
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
    assert_int_equal(PROTO_OK, first_of_sizes(0, 103, &s)); /* 103 + 24 + NUL = 128 */
    assert_int_equal(strlen(s.nonce), 127);
    assert_int_equal(strlen(s.server_first), 2 + 127 + 3 + 88 + 3 + 10);
    assert_int_equal(PROTO_EMALFORMED, first_of_sizes(0, 104, &s));
    assert_int_equal(PROTO_OK, first_of_sizes(250 - 20, 20, &s)); /* 5 + 250 + NUL = 256 */
    assert_int_equal(strlen(s.client_first_bare), 255);
    assert_int_equal(PROTO_EMALFORMED, first_of_sizes(251 - 20, 20, &s));
    assert_int_equal(PROTO_EMALFORMED, first_of_sizes(900, 20, &s));
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
         PROTO_SCRAM_MALFORMED},
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
    static const char *const stored[] = {NULL, "", MD5_OF_PASS_USER};
    for (size_t i = 0; i < COUNT(stored); i++) {
        assert_false(checked(stored[i], "wrong"));
        assert_int_equal(work[2], 4096);
    }
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
        cmocka_unit_test(a_client_bound_to_our_certificate_is_let_in),
        cmocka_unit_test(a_client_bound_to_another_certificate_is_not),
        cmocka_unit_test(whoever_takes_the_binding_away_is_found_out),
        cmocka_unit_test(a_proven_exchange_tells_the_clients_key),
        cmocka_unit_test(an_unknown_user_costs_what_a_wrong_password_costs),
        cmocka_unit_test(a_password_in_clear_text_is_checked_against_any_secret),
        cmocka_unit_test(every_password_costs_the_same),
        cmocka_unit_test(md5_answers_are_those_of_a_client),
        cmocka_unit_test(an_oversized_md5_input_has_no_answer),
        cmocka_unit_test(equality_looks_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
