/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls_peer: what log-in asks about a client's TLS; see proxy_tls.h.
 */
#include <openssl/x509.h>
#include <string.h>

#include "proxy_tls.h"
#include "proxy_worker.h"

bool tls_is_on(const struct client *c)
{
    return c->ssl != NULL && SSL_is_init_finished(c->ssl);
}

size_t tls_channel_binding(const struct client *c, uint8_t *buf, size_t buf_size)
{
    int digest = NID_undef;
    unsigned int size = 0;
    uint8_t hash[EVP_MAX_MD_SIZE];
    X509 *own = tls_is_on(c) ? SSL_get_certificate(c->ssl) : NULL;
    if (own == NULL || X509_get_signature_info(own, &digest, NULL, NULL, NULL) != 1)
        return 0;
    const bool weak = digest == NID_md5 || digest == NID_sha1; /* RFC 5929, 4.1 */
    const EVP_MD *md = weak ? EVP_sha256() : EVP_get_digestbynid(digest);
    if (md == NULL || X509_digest(own, md, hash, &size) != 1 || size > buf_size)
        return 0;
    memcpy(buf, hash, size);
    return size;
}

/* One name as text; no byte of it may end the text early. */
static bool copy_name(const uint8_t *text, size_t size, char *to, size_t to_size)
{
    if (size == 0 || size >= to_size || memchr(text, '\0', size) != NULL)
        return false;
    memcpy(to, text, size);
    to[size] = '\0';
    return true;
}

static bool common_name(const X509_NAME *subject, char *to, size_t to_size)
{
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    uint8_t *text = NULL;
    if (at < 0)
        return false;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    const bool good = size > 0 && copy_name(text, (size_t)size, to, to_size);
    OPENSSL_free(text);
    return good;
}

static bool whole_name(const X509_NAME *subject, char *to, size_t to_size)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool good = false;
    if (out != NULL && X509_NAME_print_ex(out, subject, 0, XN_FLAG_RFC2253) >= 0) {
        const long size = BIO_get_mem_data(out, &text);
        good = size > 0 && copy_name((const uint8_t *)text, (size_t)size, to, to_size);
    }
    BIO_free(out);
    return good;
}

bool tls_peer_name(const struct client *c, char *cn, size_t cn_size, char *dn, size_t dn_size)
{
    const X509 *peer = tls_is_on(c) ? SSL_get0_peer_certificate(c->ssl) : NULL;
    if (peer == NULL || SSL_get_verify_result(c->ssl) != X509_V_OK)
        return false;
    const X509_NAME *subject = X509_get_subject_name(peer);
    return common_name(subject, cn, cn_size) && whole_name(subject, dn, dn_size);
}
