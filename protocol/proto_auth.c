/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_auth: the server's side of SCRAM-SHA-256 and md5 password authentication.
 *
 * Happy path: proto_scram_first() reads "n,,n=,r=<nonce>" and answers "r=...,s=...,i=...";
 * proto_scram_final() reads "c=biws,r=...,p=<proof>" and answers "v=<signature>".
 * With SCRAM-SHA-256-PLUS they begin with "p=tls-server-end-point,," and "c=<that and the hash of
 * the certificate>". Failure modes: a message that is not of that form is PROTO_EMALFORMED; a wrong
 * proof, and any proof for an unknown user, is PROTO_OK with *ret_proven false, after the same
 * work.
 */
#include "proto_auth.h"

#include "proto_base64.h"

enum { MD5_HEX_SIZE = 32 };

static struct proto_span text_span(const char *text)
{
    return (struct proto_span){.base = (const uint8_t *)text, .size = strlen(text)};
}

bool proto_equal_constant_time(const uint8_t *a, const uint8_t *b, size_t size)
{
    volatile uint8_t difference = 0; /* volatile: no early way out for the compiler either */
    for (size_t i = 0; i < size; i++)
        difference = (uint8_t)(difference | (a[i] ^ b[i]));
    return difference == 0;
}

/* The next bytes must be these. */
static void expect(struct proto_reader *r, const char *literal)
{
    for (; *literal != '\0'; literal++)
        if (proto_read_u8(r) != (uint8_t)*literal)
            r->failed = true;
}

/* Everything up to `stop`, which is consumed, or to the end when it does not come. */
static struct proto_span read_until(struct proto_reader *r, uint8_t stop)
{
    const size_t left = (size_t)(r->end - r->pos);
    const uint8_t *found = left > 0 ? memchr(r->pos, stop, left) : NULL;
    const uint8_t *end = found != NULL ? found : r->end;
    const struct proto_span span = {.base = r->pos, .size = (size_t)(end - r->pos)};
    r->pos = found != NULL ? found + 1 : end;
    return span;
}

static uint32_t read_iterations(struct proto_span digits)
{
    uint64_t value = 0;
    if (digits.size > 10)
        return 0;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.base[i] < '0' || digits.base[i] > '9')
            return 0;
        value = value * 10 + (uint64_t)(digits.base[i] - '0');
    }
    return value <= INT32_MAX ? (uint32_t)value : 0; /* an int in the server */
}

static bool read_key(struct proto_span text, uint8_t ret[PROTO_SHA256_SIZE])
{
    size_t size;
    return proto_base64_decode(text, ret, PROTO_SHA256_SIZE, &size) == PROTO_OK &&
           size == PROTO_SHA256_SIZE;
}

bool proto_scram_secret_read(struct proto_span text, struct proto_scram_secret *ret)
{
    struct proto_reader r = proto_reader_make(text);
    struct proto_scram_secret secret = {0};
    size_t salt_size = 0;

    expect(&r, "SCRAM-SHA-256$");
    if (r.failed)
        return false;
    secret.iterations = read_iterations(read_until(&r, ':'));
    const struct proto_span salt = read_until(&r, '$');
    if (secret.iterations == 0 || salt.size == 0 ||
        proto_base64_decode(salt, secret.salt, sizeof secret.salt, &salt_size) != PROTO_OK)
        return false;
    secret.salt_size = (uint32_t)salt_size;
    const struct proto_span stored_key = read_until(&r, ':');
    const struct proto_span server_key = {.base = r.pos, .size = (size_t)(r.end - r.pos)};
    if (!read_key(stored_key, secret.stored_key) || !read_key(server_key, secret.server_key))
        return false;
    *ret = secret;
    return true;
}

bool proto_scram_is_secret(struct proto_span text)
{
    struct proto_reader r = proto_reader_make(text);
    expect(&r, "SCRAM-SHA-256$");
    return !r.failed;
}

static void hmac_text(const struct proto_hashes *h, const uint8_t key[PROTO_SHA256_SIZE],
                      const char *text, uint8_t ret[PROTO_SHA256_SIZE])
{
    h->hmac_sha256(key, PROTO_SHA256_SIZE, (const uint8_t *)text, strlen(text), ret);
}

void proto_scram_secret_make(const struct proto_hashes *h, struct proto_span password,
                             const uint8_t *salt, uint32_t salt_size, uint32_t iterations,
                             struct proto_scram_secret *ret)
{
    assert(salt_size > 0);
    assert(salt_size <= PROTO_SCRAM_SALT_SIZE_MAX);
    assert(iterations > 0);
    uint8_t salted[PROTO_SHA256_SIZE];
    uint8_t client_key[PROTO_SHA256_SIZE];

    *ret = (struct proto_scram_secret){.iterations = iterations, .salt_size = salt_size};
    memcpy(ret->salt, salt, salt_size);
    h->pbkdf2_sha256(password.base, password.size, salt, salt_size, iterations, salted);
    hmac_text(h, salted, "Client Key", client_key);
    h->sha256(client_key, sizeof client_key, ret->stored_key);
    hmac_text(h, salted, "Server Key", ret->server_key);
    explicit_bzero(salted, sizeof salted); /* as good as the password */
    explicit_bzero(client_key, sizeof client_key);
}

void proto_scram_secret_mock(const struct proto_hashes *h, struct proto_span user,
                             const uint8_t server_key[32], struct proto_scram_secret *ret)
{
    enum { SALT_SIZE = 16 }; /* the server's own, so that its size tells nothing */
    uint8_t digest[PROTO_SHA256_SIZE];

    *ret =
        (struct proto_scram_secret){.iterations = PROTO_SCRAM_ITERATIONS, .salt_size = SALT_SIZE};
    h->hmac_sha256(server_key, PROTO_SHA256_SIZE, user.base, user.size, digest);
    memcpy(ret->salt, digest, SALT_SIZE);
    h->hmac_sha256(server_key, PROTO_SHA256_SIZE, digest, sizeof digest, ret->stored_key);
    h->hmac_sha256(server_key, PROTO_SHA256_SIZE, ret->stored_key, sizeof ret->stored_key,
                   ret->server_key);
}

/* Printable ASCII without the comma, at least one: what RFC 5802 allows in a nonce. */
static bool nonce_valid(struct proto_span nonce)
{
    for (size_t i = 0; i < nonce.size; i++)
        if (nonce.base[i] < 0x21 || nonce.base[i] > 0x7e || nonce.base[i] == ',')
            return false;
    return nonce.size > 0;
}

/* Attributes that we do not know may follow: each a letter, '=' and a value. */
static bool extensions_valid(struct proto_reader r)
{
    while (r.pos != r.end) {
        const struct proto_span attribute = read_until(&r, ',');
        if (attribute.size < 2 || attribute.base[1] != '=')
            return false;
        const uint8_t letter = attribute.base[0] | 0x20;
        if (letter < 'a' || letter > 'z')
            return false;
    }
    return true;
}

/* Reads "n=<ignored>,r=<nonce>[,extension...]". False: malformed. */
static bool bare_read(struct proto_span bare, struct proto_span *ret_nonce)
{
    struct proto_reader r = proto_reader_make(bare);
    expect(&r, "n="); /* "m=" would be a mandatory extension: refused here */
    if (r.failed)
        return false;
    (void)read_until(&r, ','); /* the name: the start-up packet's counts */
    expect(&r, "r=");
    if (r.failed)
        return false;
    *ret_nonce = read_until(&r, ',');
    return nonce_valid(*ret_nonce) && extensions_valid(r);
}

/* s->nonce and s->secret are set; all sizes have been judged. */
static void server_first_write(struct proto_scram *s)
{
    char salt[88 + 1]; /* 64 bytes in base64 */
    char digits[10];   /* the last first */
    size_t count = 0;
    char *out = s->server_first;

    proto_base64_encode((struct proto_span){s->secret.salt, s->secret.salt_size}, salt);
    for (uint32_t rest = s->secret.iterations; rest > 0; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    static_assert(sizeof s->nonce + sizeof salt + sizeof digits + 8 <= sizeof s->server_first,
                  "server-first-message always fits");
    out = stpcpy(stpcpy(out, "r="), s->nonce);
    out = stpcpy(stpcpy(out, ",s="), salt);
    out = stpcpy(out, ",i=");
    while (count > 0)
        *out++ = digits[--count];
    *out = '\0';
}

static const char gs2_bound[] = "p=tls-server-end-point,,";

static bool is_text(struct proto_span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.base, text, span.size) == 0;
}

static bool starts_with(struct proto_span in, const char *literal)
{
    const size_t size = strlen(literal);
    return in.size >= size && memcmp(in.base, literal, size) == 0;
}

/*
 * "n,,", "y,,", or "p=tls-server-end-point,,": whether, and how, the client binds itself to the TLS
 * connection. An authorisation name between the commas is refused, as by the server.
 */
static bool gs2_read(struct proto_scram *s, struct proto_span in, struct proto_span *ret_bare)
{
    size_t size = 3;
    if (starts_with(in, "p=")) {
        if (!s->plus)
            s->fault = PROTO_SCRAM_NOT_BOUND;
        else if (!starts_with(in, "p=tls-server-end-point,"))
            s->fault = PROTO_SCRAM_BINDING_TYPE;
        else if (starts_with(in, "p=tls-server-end-point,a"))
            s->fault = PROTO_SCRAM_AUTHORIZATION;
        if (!s->plus || !starts_with(in, gs2_bound))
            return false;
        size = sizeof gs2_bound - 1;
    } else if (starts_with(in, "n,a") || starts_with(in, "y,a")) {
        s->fault = PROTO_SCRAM_AUTHORIZATION;
        return false;
    } else if (starts_with(in, "n,,") || starts_with(in, "y,,")) {
        if (s->plus)
            s->fault = PROTO_SCRAM_NOT_BOUND;
        else if (in.base[0] == 'y' && s->binding_size > 0)
            s->fault = PROTO_SCRAM_DOWNGRADE;
        if (s->fault != PROTO_SCRAM_MALFORMED)
            return false;
    } else {
        return false;
    }
    *ret_bare = (struct proto_span){in.base + size, in.size - size};
    return true;
}

enum proto_status proto_scram_first(struct proto_scram *s, struct proto_span client_first,
                                    const uint8_t nonce_random[PROTO_SCRAM_NONCE_SIZE])
{
    assert(s->secret.salt_size > 0 && s->secret.salt_size <= PROTO_SCRAM_SALT_SIZE_MAX);
    assert(s->secret.iterations > 0);
    assert(s->binding_size <= sizeof s->binding && (!s->plus || s->binding_size > 0));
    s->fault = PROTO_SCRAM_MALFORMED;
    if (client_first.size == 0 || memchr(client_first.base, 0, client_first.size) != NULL)
        return PROTO_EMALFORMED;
    struct proto_span bare;
    if (!gs2_read(s, client_first, &bare))
        return PROTO_EMALFORMED;
    struct proto_span nonce;
    if (starts_with(bare, "m="))
        s->fault = PROTO_SCRAM_EXTENSION;
    if (!bare_read(bare, &nonce) || bare.size >= sizeof s->client_first_bare)
        return PROTO_EMALFORMED;
    static_assert(PROTO_SCRAM_NONCE_SIZE % 3 == 0, "our half of the nonce has no padding");
    const size_t ours_size = proto_base64_size(PROTO_SCRAM_NONCE_SIZE);
    if (nonce.size >= sizeof s->nonce - ours_size)
        return PROTO_EMALFORMED;

    const size_t gs2_size = client_first.size - bare.size;
    assert(gs2_size < sizeof s->gs2_header);
    memcpy(s->gs2_header, client_first.base, gs2_size);
    s->gs2_header[gs2_size] = '\0';
    memcpy(s->client_first_bare, bare.base, bare.size);
    s->client_first_bare[bare.size] = '\0';
    memcpy(s->nonce, nonce.base, nonce.size);
    proto_base64_encode((struct proto_span){nonce_random, PROTO_SCRAM_NONCE_SIZE},
                        s->nonce + nonce.size);
    server_first_write(s);
    return PROTO_OK;
}

/* What the client must say behind "c=": its header and, when bound, our certificate's hash. */
static void binding_write(const struct proto_scram *s, char ret[128 + 1])
{
    uint8_t raw[sizeof s->gs2_header + sizeof s->binding];
    size_t size = strlen(s->gs2_header);
    memcpy(raw, s->gs2_header, size);
    if (s->plus) {
        memcpy(raw + size, s->binding, s->binding_size);
        size += s->binding_size;
    }
    assert(proto_base64_size(size) <= 128);
    proto_base64_encode((struct proto_span){raw, size}, ret);
}

/*
 * Reads "c=<gs2 header>,r=<nonce>[,extension...],p=<proof>". *ret_signed is what stands before
 * ",p=", which the proof covers.
 */
static bool final_read(struct proto_scram *s, struct proto_span message,
                       struct proto_span *ret_signed, uint8_t ret_proof[PROTO_SHA256_SIZE])
{
    char binding[128 + 1];
    binding_write(s, binding);

    struct proto_reader r = proto_reader_make(message);
    expect(&r, "c=");
    if (r.failed)
        return false;
    const struct proto_span said = read_until(&r, ',');
    if (!is_text(said, binding)) {
        s->fault = s->plus ? PROTO_SCRAM_BINDING : PROTO_SCRAM_FLAG;
        return false;
    }
    expect(&r, "r=");
    if (r.failed)
        return false;
    struct proto_reader behind = r;
    const struct proto_span nonce = read_until(&behind, ',');
    if (!is_text(nonce, s->nonce)) {
        s->fault = PROTO_SCRAM_NONCE;
        return false;
    }
    r.pos += nonce.size;          /* the comma stays */
    const uint8_t *proof = r.end; /* the last attribute begins behind the last comma */
    while (proof > r.pos && proof[-1] != ',')
        proof--;
    if (proof == r.pos) /* no comma after the nonce */
        return false;
    *ret_signed = (struct proto_span){message.base, (size_t)(proof - 1 - message.base)};

    struct proto_reader extensions = r;
    extensions.end = proof - 1;
    if (extensions.pos != extensions.end) {
        expect(&extensions, ",");
        if (extensions.failed || extensions.pos == extensions.end || !extensions_valid(extensions))
            return false;
    }
    struct proto_reader last = {.pos = proof, .end = r.end};
    expect(&last, "p=");
    return !last.failed &&
           read_key((struct proto_span){last.pos, (size_t)(last.end - last.pos)}, ret_proof);
}

enum proto_status proto_scram_final(const struct proto_hashes *h, struct proto_scram *s,
                                    struct proto_span client_final, bool *ret_proven,
                                    char ret_server_final[64])
{
    assert(s->nonce[0] != '\0'); /* proto_scram_first() came before */
    s->fault = PROTO_SCRAM_MALFORMED;
    struct proto_span covered;
    uint8_t proof[PROTO_SHA256_SIZE];
    if (client_final.size > PROTO_SCRAM_MESSAGE_SIZE_MAX ||
        !final_read(s, client_final, &covered, proof))
        return PROTO_EMALFORMED;

    assert(covered.base != NULL);
    char text[sizeof s->client_first_bare + sizeof s->server_first + PROTO_SCRAM_MESSAGE_SIZE_MAX];
    char *out = stpcpy(stpcpy(text, s->client_first_bare), ",");
    out = stpcpy(stpcpy(out, s->server_first), ",");
    memcpy(out, covered.base, covered.size);
    const size_t text_size = (size_t)(out - text) + covered.size;

    uint8_t client_key[PROTO_SHA256_SIZE];
    uint8_t key_hash[PROTO_SHA256_SIZE];
    uint8_t signature[PROTO_SHA256_SIZE];
    h->hmac_sha256(s->secret.stored_key, PROTO_SHA256_SIZE, (const uint8_t *)text, text_size,
                   signature);
    for (size_t i = 0; i < PROTO_SHA256_SIZE; i++)
        client_key[i] = proof[i] ^ signature[i];
    h->sha256(client_key, sizeof client_key, key_hash);
    const bool right = proto_equal_constant_time(key_hash, s->secret.stored_key, sizeof key_hash);

    h->hmac_sha256(s->secret.server_key, PROTO_SHA256_SIZE, (const uint8_t *)text, text_size,
                   signature);
    const bool proven = right && !s->doomed;
    if (proven)
        memcpy(s->client_key, client_key, sizeof client_key);
    explicit_bzero(client_key, sizeof client_key);
    if (proven)
        proto_base64_encode((struct proto_span){signature, sizeof signature},
                            stpcpy(ret_server_final, "v="));
    *ret_proven = proven;
    return PROTO_OK;
}

static void hex_write(const uint8_t digest[16], char ret[MD5_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 15];
    }
}

bool proto_md5_is_hash(struct proto_span stored)
{
    if (stored.size != 3 + MD5_HEX_SIZE || memcmp(stored.base, "md5", 3) != 0)
        return false;
    for (size_t i = 3; i < stored.size; i++) {
        const uint8_t c = stored.base[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
    }
    return true;
}

void proto_md5_answer(const struct proto_hashes *h, struct proto_span stored,
                      struct proto_span user, const uint8_t salt[4], char ret[36])
{
    uint8_t buf[PROTO_MD5_INPUT_SIZE_MAX];
    uint8_t digest[16];
    uint8_t salted[MD5_HEX_SIZE + 4];

    memset(ret, 0, 36);
    if (stored.size > sizeof buf || user.size > sizeof buf - stored.size)
        return;
    if (proto_md5_is_hash(stored)) {
        memcpy(salted, stored.base + 3, MD5_HEX_SIZE);
    } else {
        if (stored.size > 0)
            memcpy(buf, stored.base, stored.size);
        if (user.size > 0)
            memcpy(buf + stored.size, user.base, user.size);
        h->md5(buf, stored.size + user.size, digest);
        explicit_bzero(buf, stored.size);
        hex_write(digest, (char *)salted);
    }
    memcpy(salted + MD5_HEX_SIZE, salt, 4);
    h->md5(salted, sizeof salted, digest);
    (void)stpcpy(ret, "md5");
    hex_write(digest, ret + 3);
}

bool proto_password_check(const struct proto_hashes *h, const char *stored, struct proto_span user,
                          struct proto_span password, const struct proto_scram_secret *mock)
{
    static const uint8_t no_salt[4] = {0};
    const bool known = stored != NULL && stored[0] != '\0' && password.size > 0;
    const struct proto_span text = text_span(known ? stored : "");
    struct proto_scram_secret secret = *mock;
    struct proto_scram_secret said;
    bool same = false;

    bool is_scram = proto_scram_secret_read(text, &secret);
    if (secret.iterations > PROTO_PASSWORD_ITERATIONS_MAX) {
        secret = *mock;
        is_scram = false;
    }
    proto_scram_secret_make(h, password, secret.salt, secret.salt_size, secret.iterations, &said);
    if (is_scram)
        same =
            proto_equal_constant_time(said.stored_key, secret.stored_key, sizeof secret.stored_key);
    explicit_bzero(&said, sizeof said);
    /* An md5 hash: what either answers to the same challenge. */
    char theirs[36];
    char ours[36];
    proto_md5_answer(h, password, user, no_salt, theirs);
    proto_md5_answer(h, text, user, no_salt, ours);
    if (proto_md5_is_hash(text) && !proto_md5_is_hash(password))
        same = theirs[0] != '\0' &&
               proto_equal_constant_time((const uint8_t *)theirs, (const uint8_t *)ours, 35);
    return same && known;
}
