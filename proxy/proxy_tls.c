/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_tls: see the header. The files that the configuration names are read here, at a start, a
 * check and a reload, never later. Failure modes: whatever is wrong with one of them is a problem
 * of the configuration, at the line of its setting.
 */
#include "proxy_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_hba.h"
#include "proxy_libpq.h"
#include "proxy_tls_socket.h"

/* Where problems of one setting go. */
struct setting {
    const struct config *config;
    struct config_problems *problems;
    const char *key;
    const char *value;
};

static void complain(const struct setting *s, const char *what)
{
    char message[800];
    (void)snprintf(message, sizeof(message), "%s: %.300s: %.400s", s->key, s->value, what);
    config_setting_problem(s->config, s->key, false, message, s->problems);
}

/* OpenSSL's last word on it, behind ours. */
static void complain_ssl(const struct setting *s, const char *what)
{
    char text[384];
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    (void)snprintf(text, sizeof(text), "%s%s%s%s", what, reason != NULL ? " (" : "",
                   reason != NULL ? reason : "", reason != NULL ? ")" : "");
    complain(s, text);
    ERR_clear_error();
}

static bool readable(const struct setting *s)
{
    char text[160];
    if (access(s->value, R_OK) == 0)
        return true;
    (void)snprintf(text, sizeof(text), "cannot be read: %s", strerror(errno));
    complain(s, text);
    return false;
}

/* ---- certificates and keys ---- */

/* Nobody is there to be asked. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

static void warn_of_dates(const struct setting *s, const X509 *certificate)
{
    char message[512];
    const char *wrong = NULL;
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        wrong = "has expired: peers that verify it will refuse it";
    else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        wrong = "is not valid yet: peers that verify it will refuse it";
    if (wrong == NULL)
        return;
    (void)snprintf(message, sizeof(message), "%s: %.300s: %s", s->key, s->value, wrong);
    config_setting_problem(s->config, s->key, true, message, s->problems);
}

/* PostgreSQL's rule for its own key: a warning, unless everybody may read it. */
static bool check_rights(const struct setting *s)
{
    char message[512];
    struct stat status;
    if (stat(s->value, &status) != 0 || !S_ISREG(status.st_mode))
        return true;
    const mode_t others =
        status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO; /* root: 0640 */
    if ((status.st_mode & others) == 0)
        return true;
    const bool allowed =
        (status.st_mode & (S_IROTH | S_IWOTH)) == 0 || s->config->switchgear.secrets_readable;
    (void)snprintf(message, sizeof(message),
                   "%s: %.300s: others may read or write this key: give it the rights 0600", s->key,
                   s->value);
    config_setting_problem(s->config, s->key, allowed, message, s->problems);
    return allowed;
}

static bool load_pair(SSL_CTX *ctx, const struct setting *certificate, const struct setting *key)
{
    bool asked = false;
    if (!readable(certificate) || !readable(key))
        return false;
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate->value) != 1) {
        complain_ssl(certificate, "is no certificate in PEM form that can be used");
        return false;
    }
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
    const bool good = SSL_CTX_use_PrivateKey_file(ctx, key->value, SSL_FILETYPE_PEM) == 1 &&
                      SSL_CTX_check_private_key(ctx) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (!good) {
        const unsigned long error = ERR_peek_last_error();
        if (asked)
            complain(key, "has a passphrase: take it off, as nobody could be asked for it");
        else if (ERR_GET_LIB(error) == ERR_LIB_X509 &&
                 ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH)
            complain(key, "is not the key of the certificate");
        else
            complain_ssl(key, "is no key in PEM form that can be used");
        ERR_clear_error();
        return false;
    }
    warn_of_dates(certificate, SSL_CTX_get0_certificate(ctx));
    return check_rights(key);
}

static bool load_authorities(SSL_CTX *ctx, const struct setting *authorities)
{
    if (!readable(authorities))
        return false;
    if (SSL_CTX_load_verify_file(ctx, authorities->value) == 1)
        return true;
    complain_ssl(authorities, "holds no certificate in PEM form");
    return false;
}

/* ---- what clients are offered ---- */

static bool set_versions(SSL_CTX *ctx, const char *text)
{
    struct config_tls_versions versions = {true, true};
    const bool known = config_tls_versions_parse(text, &versions);
    (void)known; /* config_finish() has complained */
    return SSL_CTX_set_min_proto_version(ctx, versions.v12 ? TLS1_2_VERSION : TLS1_3_VERSION) ==
               1 &&
           SSL_CTX_set_max_proto_version(ctx, versions.v13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1;
}

/* PgBouncer's words; anything else is OpenSSL's own language. */
static const char *cipher_list(const char *text)
{
    static const char *const words[][2] = {
        {"default", "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:HIGH:"
                    "!aNULL:!eNULL:!PSK:!SRP:!3DES:!SHA1"},
        {"secure", "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"},
        {"fast", "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20:HIGH:!aNULL:!eNULL"},
        {"normal", "HIGH:!aNULL:!eNULL"},
        {"all", "ALL:!aNULL:!eNULL"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i][0], text) == 0)
            return words[i][1];
    return text;
}

/* 128 bits first: a handshake and each record are cheaper, and nobody breaks either. */
static const char suites_default[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/* OpenSSL's macro takes no const text. */
static bool set_groups(SSL_CTX *ctx, const char *list)
{
    char text[1024];
    const int size = snprintf(text, sizeof(text), "%s", list);
    return size >= 0 && (size_t)size < sizeof(text) && SSL_CTX_set1_groups_list(ctx, text) == 1;
}

static bool set_ciphers(SSL_CTX *ctx, const struct config *config, struct config_problems *problems)
{
    const struct config_switchgear *c = &config->switchgear;
    const struct setting list = {config, problems, "client_tls_ciphers", c->client_tls_ciphers};
    const struct setting suites = {config, problems, "client_tls13_ciphers",
                                   c->client_tls13_ciphers};
    const struct setting groups = {config, problems, "client_tls_ecdhcurve",
                                   c->client_tls_ecdhcurve};
    bool good = true;
    if (SSL_CTX_set_cipher_list(ctx, cipher_list(list.value)) != 1) {
        complain(&list, "names no cipher that OpenSSL knows");
        good = false;
    }
    if (SSL_CTX_set_ciphersuites(ctx, suites.value[0] != '\0' ? suites.value : suites_default) !=
        1) {
        complain(&suites, "is no list of cipher suites of TLS 1.3");
        good = false;
    }
    if (strcmp(groups.value, "auto") != 0 && !set_groups(ctx, groups.value)) {
        complain(&groups, "is no list of groups that OpenSSL knows, such as X25519:prime256v1");
        good = false;
    }
    ERR_clear_error();
    (void)SSL_CTX_set_dh_auto(ctx, strcmp(c->client_tls_dheparams, "none") != 0);
    return good;
}

/* Another application's client must not be talked into sending its bytes here (ALPACA): who names
 * protocols must name ours. */
static int select_protocol(SSL *ssl, const uint8_t **out, uint8_t *out_size, const uint8_t *in,
                           unsigned int in_size, void *arg)
{
    static const char name[] = "postgresql";
    (void)ssl;
    (void)arg;
    for (unsigned int at = 0; at < in_size; at += 1 + (unsigned int)in[at]) {
        if (in[at] != sizeof(name) - 1 || in_size - at - 1 < in[at] ||
            memcmp(&in[at + 1], name, in[at]) != 0)
            continue;
        *out = &in[at + 1];
        *out_size = in[at];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Each certificate of a chain is looked up in its issuer's list, as PostgreSQL does it. */
static bool load_revoked(SSL_CTX *ctx, const struct setting *revoked)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    if (revoked->value[0] == '\0')
        return true;
    if (!readable(revoked))
        return false;
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, revoked->value, X509_FILETYPE_PEM) < 1) {
        complain_ssl(revoked, "holds no revocation list in PEM form");
        return false;
    }
    return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

/* Not `required`: only who has one shows it; log-in decides who needs one (pg_hba.conf). */
static bool ask_for_certificates(SSL_CTX *ctx, const struct setting *authorities, bool required)
{
    if (!load_authorities(ctx, authorities))
        return false;
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(authorities->value));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return true;
}

/* One thread never waits for another here: nothing in the SSL_CTX changes once it is in use. A
 * session is kept by its client alone, as a ticket. */
static void set_behaviour(SSL_CTX *ctx)
{
    static const unsigned char context[] = "switchgear";
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record's head and body in one read */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
    (void)SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
}

static bool fill_clients(SSL_CTX *ctx, const struct config *config,
                         struct config_problems *problems)
{
    const struct config_switchgear *c = &config->switchgear;
    const struct setting certificate = {config, problems, "client_tls_cert_file",
                                        c->client_tls_cert_file};
    const struct setting key = {config, problems, "client_tls_key_file", c->client_tls_key_file};
    const struct setting authorities = {config, problems, "client_tls_ca_file",
                                        c->client_tls_ca_file};
    const struct setting revoked = {config, problems, "client_tls_crl_file",
                                    c->client_tls_crl_file};
    bool good = set_versions(ctx, c->client_tls_protocols);
    good = set_ciphers(ctx, config, problems) && good;
    good = load_pair(ctx, &certificate, &key) && good;
    const bool required = c->client_tls_sslmode >= CONFIG_SSL_VERIFY_CA;
    if (required || (config_wants_certificates(config) && c->client_tls_ca_file[0] != '\0'))
        good = ask_for_certificates(ctx, &authorities, required) && load_revoked(ctx, &revoked) &&
               good;
    set_behaviour(ctx);
    return good;
}

/* ---- what libpq will read for itself ---- */

static bool check_servers(SSL_CTX *ctx, const struct config *config,
                          struct config_problems *problems)
{
    const struct config_switchgear *c = &config->switchgear;
    const struct setting certificate = {config, problems, "server_tls_cert_file",
                                        c->server_tls_cert_file};
    const struct setting key = {config, problems, "server_tls_key_file", c->server_tls_key_file};
    const struct setting authorities = {config, problems, "server_tls_ca_file",
                                        c->server_tls_ca_file};
    bool good = true;
    if (c->server_tls_sslmode == CONFIG_SSL_DISABLE)
        return true;
    if (certificate.value[0] != '\0')
        good = load_pair(ctx, &certificate, &key);
    if (authorities.value[0] != '\0')
        good = load_authorities(ctx, &authorities) && good;
    return good;
}

bool tls_create(const struct config *config, struct config_problems *problems, SSL_CTX **ret)
{
    SSL_CTX *clients = SSL_CTX_new(TLS_server_method());
    SSL_CTX *servers = SSL_CTX_new(TLS_client_method());
    bool good = clients != NULL && servers != NULL && tls_socket_init();
    if (!good)
        config_setting_problem(config, "client_tls_sslmode", false, "no memory for TLS", problems);
    if (good && config->switchgear.client_tls_sslmode != CONFIG_SSL_DISABLE)
        good = fill_clients(clients, config, problems);
    if (servers != NULL)
        good = check_servers(servers, config, problems) && good;
    SSL_CTX_free(servers);
    if (!good || config->switchgear.client_tls_sslmode == CONFIG_SSL_DISABLE) {
        SSL_CTX_free(clients);
        clients = NULL;
    }
    if (good)
        *ret = clients;
    return good;
}

/* Else libpq would look for one in the home directory, and fail where it may not look there. */
#define NO_FILE "/dev/null/none"

void tls_server_keywords(const struct config *config, struct libpq_keywords *k)
{
    static const char *const modes[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};
    const struct config_switchgear *c = &config->switchgear;
    struct config_tls_versions versions = {true, true};
    const bool known = config_tls_versions_parse(c->server_tls_protocols, &versions);
    (void)known; /* config_finish() has complained */
    libpq_keyword_add(k, "sslmode", modes[c->server_tls_sslmode]);
    libpq_keyword_add(k, "sslcert",
                      c->server_tls_cert_file[0] != '\0' ? c->server_tls_cert_file : NO_FILE);
    libpq_keyword_add(k, "sslkey", c->server_tls_key_file);
    libpq_keyword_add(k, "sslrootcert", c->server_tls_ca_file);
    libpq_keyword_add(k, "ssl_min_protocol_version", versions.v12 ? "TLSv1.2" : "TLSv1.3");
    libpq_keyword_add(k, "ssl_max_protocol_version", versions.v13 ? "" : "TLSv1.2");
}
