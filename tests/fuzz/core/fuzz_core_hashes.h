/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_core_hashes: hashes that are none, but quick, and the same each time.
 */
#ifndef FUZZ_CORE_HASHES_H
#define FUZZ_CORE_HASHES_H

#include "core.h"

static void fake_hash(const uint8_t *data, size_t size, uint8_t *ret, size_t ret_size)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 1099511628211u;
    for (size_t i = 0; i < ret_size; i++) {
        h = (h ^ i) * 1099511628211u;
        ret[i] = (uint8_t)(h >> 32);
    }
}

static void fake_sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    fake_hash(data, size, ret, 32);
}

static void fake_hmac(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                      uint8_t ret[32])
{
    (void)key;
    (void)key_size;
    fake_hash(data, size, ret, 32);
}

static void fake_pbkdf2(const uint8_t *password, size_t password_size, const uint8_t *salt,
                        size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    (void)salt;
    (void)salt_size;
    (void)iterations;
    fake_hash(password, password_size, ret, 32);
}

static void fake_md5(const uint8_t *data, size_t size, uint8_t ret[16])
{
    fake_hash(data, size, ret, 16);
}

static const struct proto_hashes hashes = {fake_sha256, fake_hmac, fake_pbkdf2, fake_md5};

#endif
