/* SPDX-License-Identifier: PostgreSQL
 *
 * From a client's first byte to its first ReadyForQuery.
 */
#include "core_story.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define PACKET(text) text, sizeof(text) - 1

static const char start[] = "\0\0\0\x14\0\3\0\0user\0alice\0";

static int begin(void **state)
{
    static struct story st;
    story_init(&st);
    *state = &st;
    return 0;
}

static int end(void **state)
{
    story_end(*state);
    return 0;
}

static void start_up(struct story *st, const char *parameters, size_t size, uint32_t version)
{
    uint8_t packet[1024];
    proto_store_u32(packet, (uint32_t)size + 9);
    proto_store_u32(packet + 4, version);
    memcpy(packet + 8, parameters, size);
    packet[8 + size] = 0;
    story_client_bytes(st, packet, size + 9);
}

/* ---- trust, packets ---- */

static void trust_is_welcomed_with_the_parameters_of_a_server(void **state)
{
    struct story *st = *state;
    st->nobody_grants = true;
    story_client_bytes(st, start, sizeof(start));
    story_expect(st, "client: R(0)\n");
    assert_string_equal(core_login_user_name(&st->session), "alice");
    assert_string_equal(core_login_database(&st->session), "alice");
    st->nobody_grants = false;
    story_grant(st);
    story_expect(st, "client: K Z(I)\nrelease primary\n");
}

static void a_packet_may_come_byte_by_byte(void **state)
{
    struct story *st = *state;
    for (size_t i = 0; i < sizeof(start); i++)
        story_client_bytes(st, start + i, 1);
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void a_client_need_not_wait_for_its_welcome(void **state)
{
    struct story *st = *state;
    uint8_t bytes[128];
    memcpy(bytes, start, sizeof(start));
    const size_t more = story_encode(true, "Q(INSERT INTO t VALUES (1))", bytes + sizeof(start),
                                     sizeof(bytes) - sizeof(start));
    story_client_bytes(st, bytes, sizeof(start) + more);
    story_expect(st, "client: R(0)\nclient: K Z(I)\nprimary: Q(INSERT INTO t VALUES (1))\n");
}

static void encryption_is_refused_once(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f"));
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x30"));
    story_expect(st, "client: no\nclient: no\n");
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f"));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void encryption_is_granted_where_it_is_offered(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_OFFERED;
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x30"));
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f"));
    story_expect(st, "client: no\nclient: yes\ntls\n");
    assert_int_equal(st->session.tls, CORE_TLS_ON);
    story_client_bytes(st, start, sizeof(start));
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void nothing_clear_may_lie_behind_the_request_for_tls(void **state)
{
    struct story *st = *state;
    uint8_t bytes[8 + sizeof(start)] = "\0\0\0\x08\x04\xd2\x16\x2f";
    memcpy(bytes + 8, start, sizeof(start));
    st->session.tls = CORE_TLS_OFFERED;
    story_client_bytes(st, bytes, sizeof(bytes));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void there_is_no_encryption_inside_tls(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_ON; /* it began with it */
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x30"));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void who_has_to_use_tls_is_told_so(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_REQUIRED;
    story_client_bytes(st, start, sizeof(start));
    story_expect(st, "client: E(FATAL 28000)\nclose client\n");
}

static void a_cancel_request_needs_no_tls(void **state)
{
    struct story *st = *state;
    st->session.tls = CORE_TLS_REQUIRED;
    story_client_bytes(st, PACKET("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7\0\0\0\x09"));
    story_expect(st, "cancel 7, key of 4\n");
}

static void nothing_may_lie_behind_an_encryption_request(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x08\x04\xd2\x16\x2f\0\0"));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void a_cancel_request_gets_no_answer(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7\0\0\0\x09"));
    story_expect(st, "cancel 7, key of 4\n");
}

static void a_cancel_key_may_have_256_bytes(void **state)
{
    struct story *st = *state;
    uint8_t packet[12 + 256] = "\0\0\1\x0c\x04\xd2\x16\x2e\0\0\0\7";
    story_client_bytes(st, packet, sizeof(packet));
    story_expect(st, "cancel 7, key of 256\n");
}

static void an_unknown_option_is_negotiated(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0_pq_.x\0y\0"), 196608);
    story_expect(st, "client: v\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
    assert_int_equal(CORE_CANCEL_KEY_SIZE, st->session.cancel_key_size);
}

static void a_newer_minor_version_is_negotiated(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0"), 196608 + 9999);
    story_expect(st, "client: v\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
    assert_int_equal(CORE_CANCEL_KEY_SIZE_MAX, st->session.cancel_key_size);
}

static void protocol_3_2_is_spoken(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0"), 196610);
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n");
    assert_int_equal(CORE_CANCEL_KEY_SIZE_MAX, st->session.cancel_key_size);
}

static void another_protocol_is_refused(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\0\0\x08\0\2\0\0"));
    story_expect(st, "client: E(FATAL 0A000)\nclose client\n");
}

static void a_length_out_of_bounds_is_refused(void **state)
{
    struct story *st = *state;
    story_client_bytes(st, PACKET("\0\1\0\0"));
    story_expect(st, "client: E(FATAL 08P01)\nclose client\n");
}

static void a_user_is_required(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("database\0d\0"), 196608);
    story_expect(st, "client: E(FATAL 28000)\nclose client\n");
}

/* ---- settings ---- */

static void a_level_may_come_in_options(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0options\0-c switchgear.consistency=primary\0"), 196608);
    story_client(st, "Q(SHOW switchgear.consistency)");
    story_expect(st, "client: R(0)\nclient: K Z(I)\nrelease primary\n"
                     "client: T D(primary) C(SHOW) Z(I)\n");
}

static void a_level_that_is_none_is_refused(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0options\0-c switchgear.consistency=perhaps\0"), 196608);
    story_expect(st, "client: E(FATAL 22023)\nclose client\n");
}

static void settings_are_sent_before_the_welcome(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0application_name\0a'b\0"), 196608);
    story_expect(st, "client: R(0)\n"
                     "primary: Q(SELECT pg_catalog.set_config(E'application_name',E'a''b',fal)\n");
    story_server(st, 0, "C(RESET) S(application_name|a'b) T(x) D(x) C(SELECT 1) Z(I)");
    story_expect(st, "client: K Z(I)\nrelease primary\n");
}

static void a_setting_that_the_server_refuses_is_fatal(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0wonk\0y\0"), 196608);
    st->log_size = 0;
    story_server(st, 0, "E(42704)");
    story_expect(st, "client: E(FATAL 42704)\nclose client\nclose primary\n");
}

static void a_server_that_dies_before_the_welcome_is_replaced(void **state)
{
    struct story *st = *state;
    start_up(st, PACKET("user\0u\0application_name\0a\0"), 196608);
    st->log_size = 0;
    story_server(st, 0, "X(57P01)");
    story_expect(st, "");
    story_server_dies(st, 0);
    story_expect(st, "close primary\n"
                     "primary: Q(SELECT pg_catalog.set_config(E'application_name',E'a',false))\n");
}

/* ---- passwords ---- */

static void a_rejected_user_fails_like_a_wrong_password(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_REJECT;
    story_client_bytes(st, start, sizeof(start));
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
    story_client_bytes(st, start, sizeof(start));
    answer_md5(st, "secret");
    story_expect(st, "client: R(5)\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void md5_refuses_another(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "secret";
    story_client_bytes(st, start, sizeof(start));
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
    start_up(st, PACKET("user\0alice\0"), 196608);
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
    story_client_bytes(st, start, sizeof(start));
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
    story_client_bytes(st, start, sizeof(start));
    send_password(st, "pencil");
    story_expect(st, "client: R(3)\nproven\n");
    assert_string_equal(core_login_password(&st->session), "pencil");
}

static void a_wrong_clear_text_password_fails(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_PASSWORD;
    st->answer.secret = rfc_secret;
    story_client_bytes(st, start, sizeof(start));
    send_password(st, "pen");
    story_expect(st, "client: R(3)\nclient: E(FATAL 28P01)\nclose client\n");
}

static void a_password_that_comes_with_the_start_up_packet_is_read(void **state)
{
    struct story *st = *state;
    uint8_t bytes[64];
    st->answer.auth = CORE_AUTH_PASSWORD;
    st->answer.secret = rfc_secret;
    memcpy(bytes, start, sizeof(start));
    memcpy(bytes + sizeof(start), "p\0\0\0\x0bpencil", 12);
    story_client_bytes(st, bytes, sizeof(start) + 12);
    story_expect(st, "client: R(3)\nclient: R(0)\nclient: K Z(I)\nrelease primary\n");
}

static void an_empty_stored_password_lets_nobody_in(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "";
    story_client_bytes(st, start, sizeof(start));
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
    story_client_bytes(st, start, sizeof(start));
    story_expect(st, "proven\n");
    story_execute(st, core_login_admit(&st->session, NULL, &error, st->now_ns));
    story_expect(st, "client: R(0) E(FATAL 3D000)\nclose client\n");
}

static void whoever_has_proven_nothing_may_send_little_ahead(void **state)
{
    struct story *st = *state;
    static const uint8_t bytes[CORE_HOLD_UNPROVEN];
    st->nobody_answers = true;
    story_client_bytes(st, start, sizeof(start));
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
    story_client_bytes(st, start, sizeof(start));
    send_sasl(st, "SCRAM-SHA-256", "y,,n=,r=abc"); /* it was told of no PLUS */
    story_expect(st, "client: R(10)\nclient: E(FATAL 28000)\nclose client\n");
}

static void plus_is_not_taken_without_tls(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_SCRAM;
    st->answer.secret = rfc_secret;
    story_client_bytes(st, start, sizeof(start));
    send_sasl(st, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc");
    story_expect(st, "client: R(10)\nclient: E(FATAL 08P01)\nclose client\n");
}

static void a_client_that_leaves_at_the_password_gets_no_answer(void **state)
{
    struct story *st = *state;
    st->answer.auth = CORE_AUTH_MD5;
    st->answer.secret = "x";
    story_client_bytes(st, start, sizeof(start));
    story_client(st, "X");
    story_expect(st, "client: R(5)\nclose client\n");
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        STORY(trust_is_welcomed_with_the_parameters_of_a_server),
        STORY(a_packet_may_come_byte_by_byte),
        STORY(a_client_need_not_wait_for_its_welcome),
        STORY(encryption_is_refused_once),
        STORY(nothing_may_lie_behind_an_encryption_request),
        STORY(encryption_is_granted_where_it_is_offered),
        STORY(nothing_clear_may_lie_behind_the_request_for_tls),
        STORY(there_is_no_encryption_inside_tls),
        STORY(who_has_to_use_tls_is_told_so),
        STORY(a_cancel_request_needs_no_tls),
        STORY(a_cancel_request_gets_no_answer),
        STORY(a_cancel_key_may_have_256_bytes),
        STORY(an_unknown_option_is_negotiated),
        STORY(a_newer_minor_version_is_negotiated),
        STORY(protocol_3_2_is_spoken),
        STORY(another_protocol_is_refused),
        STORY(a_length_out_of_bounds_is_refused),
        STORY(a_user_is_required),
        STORY(a_level_may_come_in_options),
        STORY(a_level_that_is_none_is_refused),
        STORY(settings_are_sent_before_the_welcome),
        STORY(a_setting_that_the_server_refuses_is_fatal),
        STORY(a_server_that_dies_before_the_welcome_is_replaced),
        STORY(a_rejected_user_fails_like_a_wrong_password),
        STORY(md5_knows_the_password),
        STORY(md5_refuses_another),
        STORY(scram_proves_the_password),
        STORY(scram_takes_the_secret_of_rfc_7677),
        STORY(a_wrong_password_fails),
        STORY(an_unknown_user_looks_like_a_wrong_password),
        STORY(another_mechanism_is_refused),
        STORY(a_clear_text_password_is_kept_for_the_servers),
        STORY(a_wrong_clear_text_password_fails),
        STORY(a_password_that_comes_with_the_start_up_packet_is_read),
        STORY(an_empty_stored_password_lets_nobody_in),
        STORY(a_stranger_has_no_group_before_its_proof),
        STORY(whoever_is_not_admitted_hears_why),
        STORY(whoever_has_proven_nothing_may_send_little_ahead),
        STORY(plus_is_offered_with_tls_only),
        STORY(plus_is_not_taken_without_tls),
        STORY(a_client_that_leaves_at_the_password_gets_no_answer),
    };
    return cmocka_run_group_tests_name("core_login", tests, NULL, NULL);
}
