/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_crypto: OpenSSL's hashes and random bytes, lent to the pure folders.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "proxy_saslprep.h"
#include "proxy_worker.h"

static void hash_sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    (void)SHA256(data, size, ret);
}

static void hash_hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                             uint8_t ret[32])
{
    unsigned int ret_size = 32;
    if (HMAC(EVP_sha256(), key, (int)key_size, data, size, ret, &ret_size) == NULL)
        abort();
}

static void hash_pbkdf2_sha256(const uint8_t *password, size_t password_size, const uint8_t *salt,
                               size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    char buf[SASLPREP_BUFFER_SIZE];
    const struct proto_span prepared =
        saslprep((struct proto_span){.base = password, .size = password_size}, buf);
    if (PKCS5_PBKDF2_HMAC((const char *)prepared.base, (int)prepared.size, salt, (int)salt_size,
                          (int)iterations, EVP_sha256(), 32, ret) != 1)
        abort();
    if (prepared.base != password)
        OPENSSL_cleanse(buf, prepared.size);
}

static void hash_md5(const uint8_t *data, size_t size, uint8_t ret[16])
{
    unsigned int ret_size = 16;
    if (EVP_Digest(data, size, ret, &ret_size, EVP_md5(), NULL) != 1)
        memset(ret, 0, 16); /* a provider that forbids MD5: no md5 log-in succeeds */
}

const struct proto_hashes proxy_hashes = {
    .sha256 = hash_sha256,
    .hmac_sha256 = hash_hmac_sha256,
    .pbkdf2_sha256 = hash_pbkdf2_sha256,
    .md5 = hash_md5,
};

void proxy_random(void *buf, size_t size)
{
    if (RAND_bytes(buf, (int)size) != 1)
        abort(); /* keys that can be guessed are worse than no service */
}
