/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_exchange: the client's side of an exchange, for the tests of proto_auth. OpenSSL lends the
 * hashes.
 */
#ifndef PROTO_EXCHANGE_H
#define PROTO_EXCHANGE_H

#include "proto_test.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proto_auth.h"
#include "proto_base64.h"

static inline void sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    assert_int_equal(1, EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL));
}

static inline void md5(const uint8_t *data, size_t size, uint8_t ret[16])
{
    assert_int_equal(1, EVP_Digest(data, size, ret, NULL, EVP_md5(), NULL));
}

static inline void hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *data,
                               size_t size, uint8_t ret[32])
{
    assert_non_null(HMAC(EVP_sha256(), key, (int)key_size, data, size, ret, NULL));
}

static inline void pbkdf2_sha256(const uint8_t *password, size_t password_size, const uint8_t *salt,
                                 size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    assert_int_equal(1, PKCS5_PBKDF2_HMAC((const char *)password, (int)password_size, salt,
                                          (int)salt_size, (int)iterations, EVP_sha256(), 32, ret));
}

static const struct proto_hashes hashes = {
    .sha256 = sha256, .hmac_sha256 = hmac_sha256, .pbkdf2_sha256 = pbkdf2_sha256, .md5 = md5};

/* What a client does: from the password and the two first messages to the final one. */
static inline void client_final_make(const struct proto_scram *s, const char *binding,
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

static inline bool exchange(struct proto_scram *s, const char *first, const char *binding,
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

#endif
