/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_auth: the server's side of SCRAM-SHA-256 and md5 password authentication.
 *
 * Pure: hashes and random bytes are arguments (struct proto_hashes), so that this folder links
 * with no crypto library; nothing is allocated; any thread.
 * Source: RFC 5802, RFC 7677; PostgreSQL manual, "SASL Authentication", "Password Authentication".
 */
#ifndef PROTO_AUTH_H
#define PROTO_AUTH_H

#include "proto_frame.h"

enum {
    PROTO_SHA256_SIZE = 32,
    PROTO_SCRAM_SALT_SIZE_MAX = 64,
    PROTO_SCRAM_NONCE_SIZE = 18, /* raw random bytes that the caller passes in */
    PROTO_SCRAM_MESSAGE_SIZE_MAX = 1024,
    PROTO_SCRAM_ITERATIONS = 4096,
    PROTO_PASSWORD_ITERATIONS_MAX = 100000, /* of a secret that a clear-text password is held to */
    PROTO_SCRAM_BINDING_SIZE_MAX = 64,      /* tls-server-end-point: a hash, SHA-512 at the most */
    PROTO_MD5_INPUT_SIZE_MAX = 16384,
};

/* The hash functions that the shell lends (OpenSSL's). None may fail. */
struct proto_hashes {
    void (*sha256)(const uint8_t *data, size_t size, uint8_t ret[32]);
    void (*hmac_sha256)(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                        uint8_t ret[32]);
    /* of a password: prepared by SASLprep first, where that can be done */
    void (*pbkdf2_sha256)(const uint8_t *password, size_t password_size, const uint8_t *salt,
                          size_t salt_size, uint32_t iterations, uint8_t ret[32]);
    void (*md5)(const uint8_t *data, size_t size, uint8_t ret[16]);
};

/* A stored secret in SCRAM's form. */
struct proto_scram_secret {
    uint32_t iterations;
    uint8_t salt[PROTO_SCRAM_SALT_SIZE_MAX];
    uint32_t salt_size;
    uint8_t stored_key[32];
    uint8_t server_key[32];
};

/* Reads "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>". False: not of that form. */
bool proto_scram_secret_read(struct proto_span text, struct proto_scram_secret *ret);

/* Is it meant to be one? Whatever is wrong with it, it is no password in clear text. */
bool proto_scram_is_secret(struct proto_span text);

/* Makes the secret of a clear-text password. */
void proto_scram_secret_make(const struct proto_hashes *h, struct proto_span password,
                             const uint8_t *salt, uint32_t salt_size, uint32_t iterations,
                             struct proto_scram_secret *ret);

/*
 * A made-up secret for a user that does not exist, the same each time for the same name and
 * `server_key`, so that it cannot be told from a real one: the exchange runs to its end and fails.
 */
void proto_scram_secret_mock(const struct proto_hashes *h, struct proto_span user,
                             const uint8_t server_key[32], struct proto_scram_secret *ret);

/* What is wrong about a message that was refused with PROTO_EMALFORMED. */
enum proto_scram_fault {
    PROTO_SCRAM_MALFORMED,
    PROTO_SCRAM_DOWNGRADE, /* "y": it can bind and was told that we cannot: somebody in between */
    PROTO_SCRAM_NOT_BOUND, /* SCRAM-SHA-256-PLUS without channel binding, or the reverse */
    PROTO_SCRAM_BINDING_TYPE,  /* not tls-server-end-point */
    PROTO_SCRAM_BINDING,       /* bound to another TLS connection: somebody in between */
    PROTO_SCRAM_FLAG,          /* the header is not the one that it began with */
    PROTO_SCRAM_NONCE,         /* not that of this exchange */
    PROTO_SCRAM_AUTHORIZATION, /* wants to be somebody else ("a=") */
    PROTO_SCRAM_EXTENSION,     /* wants something that we must know ("m=") and do not */
};

/* One exchange. The caller embeds it; zeroed is a good start. */
struct proto_scram {
    struct proto_scram_secret secret;
    bool doomed;          /* the user is unknown: fail at the end, whatever the proof says */
    bool plus;            /* the client chose SCRAM-SHA-256-PLUS */
    uint8_t fault;        /* enum proto_scram_fault */
    uint8_t binding_size; /* of this TLS connection; 0: none, only SCRAM-SHA-256 was offered */
    uint8_t binding[PROTO_SCRAM_BINDING_SIZE_MAX];
    char client_first_bare[PROTO_SCRAM_MESSAGE_SIZE_MAX];
    char server_first[PROTO_SCRAM_MESSAGE_SIZE_MAX + 128];
    char nonce[PROTO_SCRAM_MESSAGE_SIZE_MAX]; /* client's and ours, joined */
    char gs2_header[64];
    uint8_t client_key[32]; /* once proven: what a log-in elsewhere with these keys needs */
};

/*
 * Takes the client-first-message and writes the server-first-message, NUL-terminated, into
 * s->server_first. `nonce_random` holds PROTO_SCRAM_NONCE_SIZE random bytes. s->secret, s->doomed,
 * s->plus and the binding were set before. PROTO_EMALFORMED: s->fault says why; a name or nonce
 * that is too long is malformed.
 */
enum proto_status proto_scram_first(struct proto_scram *s, struct proto_span client_first,
                                    const uint8_t nonce_random[PROTO_SCRAM_NONCE_SIZE]);

/*
 * Takes the client-final-message. PROTO_OK with *ret_proven false: a wrong password. With true,
 * `ret_server_final` (at least 64 bytes) holds the server-final-message, NUL-terminated, and
 * s->client_key is set. PROTO_EMALFORMED: as above.
 * The proof is compared in constant time.
 */
enum proto_status proto_scram_final(const struct proto_hashes *h, struct proto_scram *s,
                                    struct proto_span client_final, bool *ret_proven,
                                    char ret_server_final[64]);

/*
 * Is `password`, sent in clear text, the one of `stored` (a SCRAM secret, "md5" + 32 hex digits, or
 * NULL: no such user; a clear-text password is to be made a SCRAM secret first)? Costs one PBKDF2,
 * whatever `stored` is; one with more than PROTO_PASSWORD_ITERATIONS_MAX matches nothing, as users
 * choose them and the caller's thread would be gone for minutes. `mock` is what
 * proto_scram_secret_mock() made.
 */
bool proto_password_check(const struct proto_hashes *h, const char *stored, struct proto_span user,
                          struct proto_span password, const struct proto_scram_secret *mock);

/* "md5" and 32 lower-case hex digits: this is how the server tells a hash from a password. */
bool proto_md5_is_hash(struct proto_span stored);

/* md5: what a client must answer: "md5" + hex(md5(hex(md5(password user)) salt)), 35 characters and
 * NUL. `stored` is a clear-text password or "md5" + 32 hex digits. When `stored` and `user`
 * together exceed PROTO_MD5_INPUT_SIZE_MAX, `ret` is all NULs, which no client can answer. */
void proto_md5_answer(const struct proto_hashes *h, struct proto_span stored,
                      struct proto_span user, const uint8_t salt[4], char ret[36]);

/* Compares without telling by its time where the difference is. */
bool proto_equal_constant_time(const uint8_t *a, const uint8_t *b, size_t size);

#endif
