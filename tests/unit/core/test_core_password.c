/* SPDX-License-Identifier: PostgreSQL
 *
 * How a client proves who it is, and what it learns when it cannot.
 */
#include "core_login_story.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

static void a_rejected_user_fails_like_a_wrong_password(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_REJECT;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_expect(st, "client: E(FATAL 28P01)\nclose client\n");
}

static void md5_hex(const char *a, size_t a_size, const char *b, size_t b_size, char ret[33])
{
    uint8_t data[128];
    uint8_t sum[16];
    memcpy(data, a, a_size);
    memcpy(data + a_size, b, b_size);
    assert_int_equal(EVP_Digest(data, a_size + b_size, sum, NULL, EVP_md5(), NULL), 1);
    for (int i = 0; i < 16; i++)
        (void)snprintf(ret + 2 * i, 3, "%02x", sum[i]);
}

static void answer_md5(struct story *st, const char *password)
{
    char inner[33];
    char outer[33];
    uint8_t message[64] = {'p', 0, 0, 0, 40, 'm', 'd', '5'};
    md5_hex(password, strlen(password), "alice", 5, inner);
    md5_hex(inner, 32, (const char *)st->answer.random + PROTO_SCRAM_NONCE_SIZE, 4, outer);
    memcpy(message + 8, outer, 33);
    story_client_bytes(st, message, 41);
}

static void md5_knows_the_password(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "secret";
    memcpy(st->answer.random + PROTO_SCRAM_NONCE_SIZE, "salt", 4);
    story_client_bytes(st, login_start, sizeof(login_start));
    answer_md5(st, "secret");
    story_expect(st, "client: R(5)\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void md5_refuses_another(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "secret";
    story_client_bytes(st, login_start, sizeof(login_start));
    answer_md5(st, "Secret");
    story_expect(st, "client: R(5)\nclient: E(FATAL 28P01)\nclose client\n");
}

static void send_sasl(struct story *st, const char *mechanism, const char *text)
{
    uint8_t message[512] = {'p'};
    size_t size = 5;
    if (mechanism != NULL) {
        memcpy(message + size, mechanism, strlen(mechanism) + 1);
        size += strlen(mechanism) + 1;
        proto_store_u32(message + size, (uint32_t)strlen(text));
        size += 4;
    }
    memcpy(message + size, text, strlen(text));
    size += strlen(text);
    proto_store_u32(message + 1, (uint32_t)size - 1);
    story_client_bytes(st, message, size);
}

/* The client's side of RFC 7677, for iterations and salt as the core chooses them. The server's
 * first message is read out of what the core wrote. */
static void scram(struct story *st, const char *password)
{
    char server_first[256] = "";
    uint8_t out[256];
    login_start_up(st, PACKET("user\0alice\0"), 196608);
    uint8_t message[128] = {'p'};
    static const char first[] = "n,,n=,r=rOprNGfwEbeRWgbNEkqO";
    memcpy(message + 5, "SCRAM-SHA-256", 14);
    proto_store_u32(message + 19, sizeof(first) - 1);
    memcpy(message + 23, first, sizeof(first) - 1);
    proto_store_u32(message + 1, 22 + sizeof(first) - 1);
    const struct core_actions *a = core_client_data(
        &st->session, (struct proto_span){message, 23 + sizeof(first) - 1}, st->now_ns);
    assert_true(a->client.size > 9 && a->client.size < sizeof(out) && a->client.count == 1);
    memcpy(server_first, a->client.spans[0].base + 9, a->client.size - 9);

    char nonce[128];
    char salt64[64];
    int iterations;
    assert_int_equal(sscanf(server_first, "r=%127[^,],s=%63[^,],i=%d", nonce, salt64, &iterations),
                     3);
    uint8_t salt[64];
    int salt_size = EVP_DecodeBlock(salt, (const uint8_t *)salt64, (int)strlen(salt64));
    for (size_t i = strlen(salt64); i > 0 && salt64[i - 1] == '='; i--)
        salt_size--;
    char without_proof[160];
    char auth[640];
    (void)snprintf(without_proof, sizeof(without_proof), "c=biws,r=%s", nonce);
    (void)snprintf(auth, sizeof(auth), "%s,%s,%s", first + 3, server_first, without_proof);
    uint8_t salted[32];
    uint8_t client_key[32];
    uint8_t stored[32];
    uint8_t signature[32];
    assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, salt_size, iterations,
                                       EVP_sha256(), 32, salted),
                     1);
    (void)HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Client Key", 10, client_key, NULL);
    (void)SHA256(client_key, 32, stored);
    (void)HMAC(EVP_sha256(), stored, 32, (const uint8_t *)auth, strlen(auth), signature, NULL);
    for (int i = 0; i < 32; i++)
        client_key[i] ^= signature[i];
    uint8_t proof[64];
    (void)EVP_EncodeBlock(proof, client_key, 32);
    char final[256];
    (void)snprintf(final, sizeof(final), "%s,p=%s", without_proof, (const char *)proof);
    send_sasl(st, NULL, final);
}

static void scram_proves_the_password(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = "pencil";
    scram(st, "pencil");
    story_expect(st, "client: R(10)\nclient: R(12) R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void scram_takes_the_secret_of_rfc_7677(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret =
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcX"
        "kuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    scram(st, "pencil");
    story_expect(st, "client: R(10)\nclient: R(12) R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void a_wrong_password_fails(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = "pencil";
    scram(st, "pen");
    story_expect(st, "client: R(10)\nclient: E(FATAL 28P01)\nclose client\n");
}

static void an_unknown_user_looks_like_a_wrong_password(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = NULL;
    scram(st, "pencil");
    story_expect(st, "client: R(10)\nclient: E(FATAL 28P01)\nclose client\n");
}

static void another_mechanism_is_refused(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = "pencil";
    story_client_bytes(st, login_start, sizeof(login_start));
    send_sasl(st, "PLAIN", "x");
    story_expect(st, "client: R(10)\nclient: E(FATAL 08P01)\nclose client\n");
}

static void send_password(struct story *st, const char *password)
{
    uint8_t message[128] = {'p'};
    proto_store_u32(message + 1, (uint32_t)strlen(password) + 5);
    memcpy(message + 5, password, strlen(password) + 1);
    story_client_bytes(st, message, strlen(password) + 6);
}

static const char rfc_secret[] =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcX"
    "kuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

static void a_clear_text_password_is_kept_for_the_servers(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_PASSWORD;
    st->answer.secret = rfc_secret;
    st->answer.group = NULL;
    story_client_bytes(st, login_start, sizeof(login_start));
    send_password(st, "pencil");
    story_expect(st, "client: R(3)\nproven\n");
    assert_string_equal(core_login_password(&st->session), "pencil");
}

static void a_wrong_clear_text_password_fails(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_PASSWORD;
    st->answer.secret = rfc_secret;
    story_client_bytes(st, login_start, sizeof(login_start));
    send_password(st, "pen");
    story_expect(st, "client: R(3)\nclient: E(FATAL 28P01)\nclose client\n");
}

static void a_password_that_comes_with_the_start_up_packet_is_read(void **state)
{
    struct story *st = *state;
    uint8_t bytes[64];
    st->answer.auth = CORE_AUTH_PASSWORD;
    st->answer.secret = rfc_secret;
    memcpy(bytes, login_start, sizeof(login_start));
    memcpy(bytes + sizeof(login_start), "p\0\0\0\x0bpencil", 12);
    story_client_bytes(st, bytes, sizeof(login_start) + 12);
    story_expect(st, "client: R(3)\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void an_empty_stored_password_lets_nobody_in(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "";
    story_client_bytes(st, login_start, sizeof(login_start));
    answer_md5(st, "");
    story_expect(st, "client: R(5)\nclient: E(FATAL 28P01)\nclose client\n");
}

static void a_stranger_has_no_group_before_its_proof(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = rfc_secret;
    st->answer.group = NULL;
    scram(st, "pencil");
    story_expect(st, "client: R(10)\nclient: R(12)\nproven\n");
    assert_null(st->session.group);
    assert_null(core_login_password(&st->session));
    assert_non_null(core_login_scram(&st->session));
    story_execute(st, core_login_admit(&st->session, &st->group, NULL, st->now_ns));
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void whoever_is_not_admitted_hears_why(void **state)
{
    struct story *st = *state;
    const struct proto_error_text error = {
        .severity = "FATAL", .sqlstate = "3D000", .message = "no such database"};
    st->answer.group = NULL;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_expect(st, "proven\n");
    story_execute(st, core_login_admit(&st->session, NULL, &error, st->now_ns));
    story_expect(st, "client: R(0) E(FATAL 3D000)\nclose client\n");
}

static void whoever_has_proven_nothing_may_send_little_ahead(void **state)
{
    struct story *st = *state;
    static const uint8_t bytes[CORE_HOLD_UNPROVEN];
    st->nobody_answers = true;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_client_bytes(st, bytes, sizeof(bytes));
    assert_false(core_client_paused(&st->session));
    story_client_bytes(st, bytes, 1);
    assert_true(core_client_paused(&st->session));
}

static void plus_is_offered_with_tls_only(void **state)
{
    struct story *st = *state;
    static const uint8_t hash[32] = {1};
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = rfc_secret;
    st->answer.channel_binding = (struct proto_span){hash, sizeof(hash)};
    story_client_bytes(st, login_start, sizeof(login_start));
    send_sasl(st, "SCRAM-SHA-256", "y,,n=,r=abc"); /* it was told of no PLUS */
    story_expect(st, "client: R(10)\nclient: E(FATAL 28000)\nclose client\n");
}

static void plus_is_not_taken_without_tls(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = rfc_secret;
    story_client_bytes(st, login_start, sizeof(login_start));
    send_sasl(st, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc");
    story_expect(st, "client: R(10)\nclient: E(FATAL 08P01)\nclose client\n");
}

static void a_client_that_leaves_at_the_password_gets_no_answer(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "x";
    story_client_bytes(st, login_start, sizeof(login_start));
    story_client(st, "X");
    story_expect(st, "client: R(5)\nclose client\n");
}

static void another_message_than_the_password_is_refused(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = rfc_secret;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_client(st, "Q(SELECT 1)");
    story_expect(st, "client: R(10)\nclient: E(FATAL 08P01)\nclose client\n");
}

static void a_client_may_choose_first_and_begin_then(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = rfc_secret;
    story_client_bytes(st, login_start, sizeof(login_start));
    story_client_bytes(st, PACKET("p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff"));
    send_sasl(st, NULL, "n,,n=,r=abc");
    story_expect(st, "client: R(10)\nclient: R(11)\nclient: R(11)\n");
    send_sasl(st, NULL, "c=biws,r=abc,p=x");
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

/* Who can read the file could log in with what is there, otherwise. */
static void a_broken_scram_secret_is_no_password(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = "SCRAM-SHA-256$4096:salt$stored:server";
    scram(st, st->answer.secret);
    story_expect(st, "client: R(10)\nclient: E(FATAL 28P01)\nclose client\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOGIN(a_rejected_user_fails_like_a_wrong_password),
        LOGIN(md5_knows_the_password),
        LOGIN(md5_refuses_another),
        LOGIN(scram_proves_the_password),
        LOGIN(scram_takes_the_secret_of_rfc_7677),
        LOGIN(a_wrong_password_fails),
        LOGIN(an_unknown_user_looks_like_a_wrong_password),
        LOGIN(another_mechanism_is_refused),
        LOGIN(a_clear_text_password_is_kept_for_the_servers),
        LOGIN(a_wrong_clear_text_password_fails),
        LOGIN(a_password_that_comes_with_the_start_up_packet_is_read),
        LOGIN(an_empty_stored_password_lets_nobody_in),
        LOGIN(a_stranger_has_no_group_before_its_proof),
        LOGIN(whoever_is_not_admitted_hears_why),
        LOGIN(whoever_has_proven_nothing_may_send_little_ahead),
        LOGIN(plus_is_offered_with_tls_only),
        LOGIN(plus_is_not_taken_without_tls),
        LOGIN(a_client_that_leaves_at_the_password_gets_no_answer),
        LOGIN(another_message_than_the_password_is_refused),
        LOGIN(a_client_may_choose_first_and_begin_then),
        LOGIN(a_broken_scram_secret_is_no_password),
    };
    return cmocka_run_group_tests_name("core_password", tests, NULL, NULL);
}
