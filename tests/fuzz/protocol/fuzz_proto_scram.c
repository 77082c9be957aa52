/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_proto_scram: the first byte chooses a stored secret, base64, md5, or an exchange whose two
 * messages a newline parts. The hashes are toys: parsing is what is tested here.
 */
#include <stdlib.h>

#include "proto_auth.h"
#include "proto_base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void toy(const uint8_t *data, size_t size, uint32_t seed, uint8_t *ret, size_t ret_size)
{
    uint32_t h = seed;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 16777619U;
    for (size_t i = 0; i < ret_size; i++, h = h * 16777619U + 1)
        ret[i] = (uint8_t)(h >> 24);
}

static void toy_sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    toy(data, size, 1, ret, 32);
}

static void toy_hmac(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                     uint8_t ret[32])
{
    uint8_t seed[4];
    toy(key, key_size, 2, seed, sizeof seed);
    toy(data, size, proto_load_u32(seed), ret, 32);
}

static void toy_pbkdf2(const uint8_t *password, size_t password_size, const uint8_t *salt,
                       size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    (void)iterations;
    toy_hmac(password, password_size, salt, salt_size, ret);
}

static void toy_md5(const uint8_t *data, size_t size, uint8_t ret[16])
{
    toy(data, size, 3, ret, 16);
}

static const struct proto_hashes hashes = {toy_sha256, toy_hmac, toy_pbkdf2, toy_md5};

static void fuzz_secret(struct proto_span in)
{
    struct proto_scram_secret s;
    if (!proto_scram_secret_read(in, &s))
        return;
    assert(s.iterations > 0);
    assert(s.salt_size > 0 && s.salt_size <= PROTO_SCRAM_SALT_SIZE_MAX);
}

/* What a strict decoder takes has one spelling only. */
static void fuzz_base64(struct proto_span in)
{
    uint8_t *plain = malloc(in.size + 1);
    char *text = malloc(in.size + 1);
    size_t size;
    if (plain == NULL || text == NULL)
        abort();
    if (proto_base64_decode(in, plain, in.size, &size) == PROTO_OK) {
        const size_t text_size = proto_base64_encode((struct proto_span){plain, size}, text);
        assert(text_size == in.size);
        assert(in.size == 0 || memcmp(text, in.base, in.size) == 0);
    }
    free(text);
    free(plain);
}

static void fuzz_md5(struct proto_span in)
{
    static const uint8_t salt[4] = {1, 2, 3, 4};
    char answer[36];
    const size_t half = in.size / 2;
    proto_md5_answer(&hashes, (struct proto_span){in.base, half},
                     (struct proto_span){in.base + half, in.size - half}, salt, answer);
    assert(in.size > PROTO_MD5_INPUT_SIZE_MAX || strlen(answer) == 35);
}

static void fuzz_exchange(struct proto_span in)
{
    static const uint8_t random[PROTO_SCRAM_NONCE_SIZE] = {0};
    struct proto_scram s = {0};
    if ((in.size & 1) != 0) { /* TLS */
        s.binding_size = 32;
        s.plus = in.base[0] == 'p';
    }
    const uint8_t *newline = memchr(in.base, '\n', in.size);
    const size_t first_size = newline != NULL ? (size_t)(newline - in.base) : in.size;
    proto_scram_secret_make(&hashes, in, random, 16, 4096, &s.secret);
    if (proto_scram_first(&s, (struct proto_span){in.base, first_size}, random) != PROTO_OK)
        return;
    assert(strlen(s.server_first) < sizeof s.server_first);
    assert(strlen(s.nonce) > 24);
    if (newline == NULL)
        return;
    bool proven;
    char server_final[64];
    const struct proto_span last = {newline + 1, in.size - first_size - 1};
    if (proto_scram_final(&hashes, &s, last, &proven, server_final) == PROTO_OK && proven)
        assert(strlen(server_final) == 46);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(struct proto_span in) = {fuzz_secret, fuzz_base64, fuzz_md5,
                                                            fuzz_exchange};
    if (size < 2)
        return 0;
    targets[data[0] % 4]((struct proto_span){data + 1, size - 1});
    return 0;
}
