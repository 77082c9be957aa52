/* SPDX-License-Identifier: PostgreSQL
 *
 * core_login: from a client's first byte to its first ReadyForQuery.
 *
 * Happy path: start-up packet -> login_want_user -> core_login_user() -> password or SCRAM ->
 * AuthenticationOk -> (the first client with these settings: a backend to learn the parameters
 * from) -> welcome. Failure modes: FATAL and close, always with the SQLSTATE that PostgreSQL has.
 */
#include "core_login.h"

#include <stdio.h>
#include <stdlib.h>

#include "core_internal.h"

enum { PASSWORD_SIZE_MAX = 64 * 1024 };

/* ---- settings ---- */

static bool text_equal(struct proto_span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.base, text, span.size) == 0;
}

static void settings_add(struct core_login *l, const char *text)
{
    const size_t size = strlen(text);
    if (l->settings_size + size + 1 > sizeof(l->settings)) {
        l->settings_failed = true;
        return;
    }
    memcpy(l->settings + l->settings_size, text, size + 1);
    l->settings_size += (uint32_t)size;
}

static void settings_add_literal(struct core_login *l, const char *text)
{
    char piece[2] = {0};
    settings_add(l, "E'");
    for (const char *c = text; *c != '\0'; c++) {
        piece[0] = *c;
        settings_add(l, piece);
        if (*c == '\'' || *c == '\\')
            settings_add(l, piece); /* doubled */
    }
    settings_add(l, "'");
}

/* Text encodings in which a byte of a character may look like a quote or a backslash. */
static bool encoding_is_unsafe(const char *value)
{
    static const char *const unsafe[] = {"SJIS",    "MSKANJI", "SHIFTJIS", "WIN932", "WINDOWS932",
                                         "SHIFT",   "BIG5",    "WIN950",   "GBK",    "WIN936",
                                         "WINDOWS", "GB18030", "UHC",      "WIN949", "JOHAB",
                                         "SHIFT_J", "SHIFTJ"};
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        if (strncasecmp(value, unsafe[i], strlen(unsafe[i])) == 0)
            return true;
    return false;
}

static bool is_on(const char *value)
{
    return strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 ||
           strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;
}

/* Settings that change how statements have to be routed. */
static void settings_note(struct core_session *s, const char *name, const char *value)
{
    if (strcasecmp(name, "default_transaction_read_only") == 0)
        s->default_read_only = is_on(value);
    const bool primary_only =
        (strcasecmp(name, "default_transaction_isolation") == 0 &&
         strcasecmp(value, "serializable") == 0) ||
        (strcasecmp(name, "standard_conforming_strings") == 0 && !is_on(value)) ||
        (strcasecmp(name, "client_encoding") == 0 && encoding_is_unsafe(value));
    if (primary_only) {
        s->route = ROUTER_ROUTE_PRIMARY;
        s->route_fixed = true;
    }
}

static void on_setting(void *arg, const char *name, const char *value)
{
    struct core_login *l = arg;
    struct core_session *s = l->session;
    enum router_level level;
    if (strncasecmp(name, "switchgear.", 11) == 0) {
        if (strcasecmp(name + 11, "consistency") == 0 && router_level_parse(value, &level)) {
            s->level = (uint8_t)level;
            s->level_given = true;
        } else if (strcasecmp(name + 11, "route") == 0 && strcmp(value, "primary") == 0) {
            s->route = ROUTER_ROUTE_PRIMARY;
        } else if (strcasecmp(name + 11, "route") == 0 && strcmp(value, "replica") == 0) {
            s->route = s->route_fixed ? ROUTER_ROUTE_PRIMARY : ROUTER_ROUTE_REPLICA;
        } else if (strcasecmp(name + 11, "route") != 0 || strcmp(value, "auto") != 0) {
            l->settings_failed = true;
        }
        return;
    }
    settings_note(s, name, value);
    if (strcasecmp(name, "application_name") == 0)
        (void)snprintf(l->application, sizeof(l->application), "%s", value);
    settings_add(l, l->settings_size == 0 ? "RESET ALL;SELECT pg_catalog.set_config("
                                          : ",pg_catalog.set_config(");
    settings_add_literal(l, name);
    settings_add(l, ",");
    settings_add_literal(l, value);
    settings_add(l, ",false)");
}

/* ---- the first packet ---- */

static void refuse(struct core_session *s, const char *sqlstate, const char *message,
                   const char *hint, struct core_actions *a)
{
    core_block_give(s->worker, &s->hold);
    core_fatal(s, sqlstate, message, hint, a);
}

static void negotiate(struct core_session *s, const struct proto_startup *p, struct core_actions *a)
{
    struct proto_span unknown[PROTO_STARTUP_PARAMETERS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < p->parameters_count; i++)
        if (p->parameters[i].name.size >= 5 && memcmp(p->parameters[i].name.base, "_pq_.", 5) == 0)
            unknown[count++] = p->parameters[i].name;
    (void)s;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_negotiate(&w, 0, unknown, count);
    core_sink_commit(&a->client, &w);
}

static void copy_text(struct proto_span from, char *to, size_t to_size)
{
    const size_t size = from.size < to_size - 1 ? from.size : to_size - 1;
    if (size > 0)
        memcpy(to, from.base, size);
    to[size] = '\0';
}

static void take_parameters(struct core_session *s, const struct proto_startup *p)
{
    struct core_login *l = s->login;
    char name[CORE_LOGIN_TEXT_MAX];
    char value[4096];
    char buf[8192];
    for (uint32_t i = 0; i < p->parameters_count; i++) {
        const struct proto_span key = p->parameters[i].name;
        const struct proto_span text = p->parameters[i].value;
        bool last = true; /* the last duplicate wins */
        for (uint32_t j = i + 1; j < p->parameters_count && last; j++)
            last = p->parameters[j].name.size != key.size ||
                   memcmp(p->parameters[j].name.base, key.base, key.size) != 0;
        if (!last || text_equal(key, "user") || text_equal(key, "database") ||
            text_equal(key, "replication") || (key.size >= 5 && memcmp(key.base, "_pq_.", 5) == 0))
            continue;
        if (text.size >= sizeof(value) || key.size >= sizeof(name)) {
            l->settings_failed = true;
            continue;
        }
        if (text_equal(key, "options")) {
            if (proto_options_split(text, buf, sizeof(buf), on_setting, l) != PROTO_OK)
                l->settings_failed = true;
            continue;
        }
        copy_text(key, name, sizeof(name));
        copy_text(text, value, sizeof(value));
        on_setting(l, name, value);
    }
    if (l->settings_size > 0)
        settings_add(l, "");
}

static void on_session_packet(struct core_session *s, const struct proto_startup *p,
                              struct core_actions *a)
{
    struct core_login *l = s->login;
    const struct proto_span user = proto_startup_find(p, "user");
    const struct proto_span database = proto_startup_find(p, "database");
    const struct proto_span replication = proto_startup_find(p, "replication");
    if (user.base == NULL || user.size == 0) {
        refuse(s, "28000", "no PostgreSQL user name specified in startup packet", NULL, a);
        return;
    }
    if (user.size >= sizeof(l->user) || database.size >= sizeof(l->database)) {
        refuse(s, "08P01", "the user or database name of the startup packet is too long", NULL, a);
        return;
    }
    copy_text(user, l->user, sizeof(l->user));
    copy_text(database.size > 0 ? database : user, l->database, sizeof(l->database));
    if (replication.size > 0 && !text_equal(replication, "false") &&
        !text_equal(replication, "off") && !text_equal(replication, "0")) {
        refuse(s, "0A000", "replication connections are not supported yet",
               "Connect to the primary directly.", a);
        return;
    }
    take_parameters(s, p);
    if (l->settings_failed) {
        refuse(s, "22023", "invalid setting in the startup packet",
               "Look at the parameter \"options\"; switchgear.consistency and switchgear.route "
               "are the settings of switchgear that it may hold.",
               a);
        return;
    }
    if (p->version_minor > 0 || p->unknown_options_count > 0)
        negotiate(s, p, a);
    s->phase = CORE_USER;
    core_block_consume(s->worker, &s->hold, p->packet_size);
    a->login_want_user = true;
}

/* 'N': this release speaks no TLS towards clients. Each request at most once. */
static bool on_encryption_request(struct core_session *s, const struct proto_startup *p,
                                  struct core_actions *a)
{
    bool *asked = p->kind == PROTO_STARTUP_SSL ? &s->login->ssl_asked : &s->login->gss_asked;
    if (*asked) {
        refuse(s, "08P01", "an encryption request was repeated", NULL, a);
        return false;
    }
    *asked = true;
    core_block_consume(s->worker, &s->hold, p->packet_size);
    if (s->hold != NULL) { /* somebody may have put it there before an encryption began */
        refuse(s, "08P01", "received unencrypted data after an encryption request", NULL, a);
        return false;
    }
    static const uint8_t no[1] = {'N'};
    core_sink_borrow(&a->client, (struct proto_span){.base = no, .size = 1});
    return true;
}

/* True: look at the bytes again. */
static bool on_startup(struct core_session *s, struct core_actions *a)
{
    struct proto_startup packet;
    if (s->login == NULL) {
        s->login = calloc(1, sizeof(*s->login));
        if (s->login == NULL)
            abort();
        s->login->session = s;
    }
    switch (proto_startup_read(core_block_span(s->hold), &packet)) {
    case PROTO_OK:
        break;
    case PROTO_MORE:
        return false;
    case PROTO_EUNSUPPORTED:
        refuse(s, "0A000", "unsupported frontend protocol", "This proxy speaks protocol 3.", a);
        return false;
    case PROTO_EBADLEN:
    case PROTO_ETOOBIG:
    case PROTO_EMALFORMED:
        refuse(s, "08P01", "invalid startup packet", NULL, a);
        return false;
    }
    switch (packet.kind) {
    case PROTO_STARTUP_SSL:
    case PROTO_STARTUP_GSSENC:
        return on_encryption_request(s, &packet, a);
    case PROTO_STARTUP_CANCEL:
        if (packet.cancel_key.size == CORE_CANCEL_KEY_SIZE) {
            s->cancel_pid = packet.cancel_pid;
            s->cancel_secret = proto_load_u32(packet.cancel_key.base);
            a->cancel_request = true;
        }
        s->phase = CORE_DOOMED;
        a->close_client = CORE_CLOSE_NOW;
        return false;
    case PROTO_STARTUP_SESSION:
        on_session_packet(s, &packet, a);
        return false;
    }
    return false;
}

/* ---- authentication ---- */

const char *core_login_user_name(const struct core_session *s)
{
    return s->login->user;
}

const char *core_login_database(const struct core_session *s)
{
    return s->login->database;
}

const char *core_login_application(const struct core_session *s)
{
    return s->login->application;
}

static void password_failed(struct core_session *s, struct core_actions *a)
{
    char message[CORE_LOGIN_TEXT_MAX + 64];
    (void)snprintf(message, sizeof(message), "password authentication failed for user \"%s\"",
                   s->login->user);
    refuse(s, "28P01", message, NULL, a);
}

/* The client is who it says it is. */
static void authenticated(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_login *l = s->login;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_ok(&w);
    core_sink_commit(&a->client, &w);
    if (l->is_admin) {
        a->is_admin = true;
        return;
    }
    s->profile = core_profile_get(s->worker, s->group, l->settings);
    if (!s->level_given)
        s->level = s->group->database->level;
    s->phase = CORE_WELCOME;
    if (s->profile->welcome != NULL) {
        core_login_welcome(s, a);
        return;
    }
    /* The first client like this: learn the parameters from a server, the primary if there is
     * one, any other if there is none. */
    s->class =
        (struct router_class){.verdict = ROUTER_VERDICT_WRITE, .reason = ROUTER_REASON_UTILITY};
    if (router_primary(s->worker->topology, s->group->database->shard) == ROUTER_NODE_NONE)
        s->class.verdict = ROUTER_VERDICT_READ;
    core_want(s, now_ns, a);
}

static void scram_start(struct core_session *s, const struct core_login_answer *answer,
                        struct core_actions *a)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-256"};
    struct core_login *l = s->login;
    const struct proto_hashes *h = s->worker->hashes;
    const struct proto_span user = core_span(l->user);
    const struct proto_span secret =
        answer->secret != NULL ? core_span(answer->secret) : (struct proto_span){0};
    if (answer->secret == NULL || strncmp(answer->secret, "md5", 3) == 0) {
        l->scram.doomed = true; /* an md5 secret cannot prove a SCRAM exchange */
        proto_scram_secret_mock(h, user, answer->server_key, &l->scram.secret);
    } else if (!proto_scram_secret_read(secret, &l->scram.secret)) {
        proto_scram_secret_make(h, secret, answer->random, 16, PROTO_SCRAM_ITERATIONS,
                                &l->scram.secret);
    }
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_sasl(&w, mechanisms, 1);
    core_sink_commit(&a->client, &w);
    s->phase = CORE_SASL_FIRST;
}

struct core_actions *core_login_user(struct core_session *s, const struct core_login_answer *answer,
                                     uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    struct core_login *l = s->login;
    assert(s->phase == CORE_USER);
    if (answer->error != NULL) {
        refuse(s, answer->error->sqlstate, answer->error->message, answer->error->hint, a);
        return a;
    }
    s->group = answer->group;
    l->is_admin = answer->is_admin;
    l->auth = answer->auth;
    l->secret = answer->secret;
    memcpy(l->random, answer->random, sizeof(l->random));
    memcpy(l->md5_salt, answer->random + PROTO_SCRAM_NONCE_SIZE, sizeof(l->md5_salt));
    struct proto_writer w = core_sink_writer(&a->client);
    switch (answer->auth) {
    case CORE_AUTH_TRUST:
        authenticated(s, now_ns, a);
        break;
    case CORE_AUTH_SCRAM:
        scram_start(s, answer, a);
        break;
    case CORE_AUTH_MD5:
        proto_write_auth_md5(&w, l->md5_salt);
        core_sink_commit(&a->client, &w);
        s->phase = CORE_PASSWORD;
        break;
    case CORE_AUTH_REJECT:
        password_failed(s, a);
        break;
    }
    return a;
}

static void on_password(struct core_session *s, struct proto_span body, uint64_t now_ns,
                        struct core_actions *a)
{
    struct core_login *l = s->login;
    struct proto_span password;
    char expected[36];
    /* a user that does not exist costs the same time and gets the same answer */
    const struct proto_span stored = core_span(l->secret != NULL ? l->secret : "no such user");
    if (proto_password_read(body, &password) != PROTO_OK) {
        refuse(s, "08P01", "invalid password packet", NULL, a);
        return;
    }
    proto_md5_answer(s->worker->hashes, stored, core_span(l->user), l->md5_salt, expected);
    const bool same = password.size == 35 &&
                      proto_equal_constant_time(password.base, (const uint8_t *)expected, 35);
    if (same && l->secret != NULL)
        authenticated(s, now_ns, a);
    else
        password_failed(s, a);
}

static void on_sasl_first(struct core_session *s, struct proto_span body, struct core_actions *a)
{
    struct core_login *l = s->login;
    struct proto_sasl_initial initial;
    if (proto_sasl_initial_read(body, &initial) != PROTO_OK ||
        !text_equal(initial.mechanism, "SCRAM-SHA-256")) {
        refuse(s, "08P01", "client selected an invalid SASL authentication mechanism", NULL, a);
        return;
    }
    if (proto_scram_first(&l->scram, initial.response, l->random) != PROTO_OK) {
        refuse(s, "08P01", "malformed SCRAM message", NULL, a);
        return;
    }
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_sasl_continue(&w, core_span(l->scram.server_first));
    core_sink_commit(&a->client, &w);
    s->phase = CORE_SASL_FINAL;
}

static void on_sasl_final(struct core_session *s, struct proto_span body, uint64_t now_ns,
                          struct core_actions *a)
{
    struct core_login *l = s->login;
    bool proven = false;
    char server_final[64];
    if (proto_scram_final(s->worker->hashes, &l->scram, body, &proven, server_final) != PROTO_OK) {
        refuse(s, "08P01", "malformed SCRAM message", NULL, a);
        return;
    }
    if (!proven) {
        password_failed(s, a);
        return;
    }
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_sasl_final(&w, core_span(server_final));
    core_sink_commit(&a->client, &w);
    authenticated(s, now_ns, a);
}

/* A password message. True: it was whole, and is dealt with. */
static bool on_auth_message(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct proto_header h;
    const struct proto_span in = core_block_span(s->hold);
    if (in.size > 0 && in.base[0] != 'p') {
        s->phase = CORE_DOOMED; /* PostgreSQL says nothing to a client that leaves here */
        a->close_client = CORE_CLOSE_NOW;
        return false;
    }
    const enum proto_status status = proto_header_peek(in, PASSWORD_SIZE_MAX, &h);
    if (status == PROTO_MORE || (status == PROTO_OK && in.size < PROTO_HEADER_SIZE + h.body_size))
        return false;
    if (status != PROTO_OK) {
        refuse(s, "08P01", "invalid password message length", NULL, a);
        return false;
    }
    const struct proto_span body = {.base = in.base + PROTO_HEADER_SIZE, .size = h.body_size};
    const uint32_t size = PROTO_HEADER_SIZE + h.body_size;
    if (s->phase == CORE_PASSWORD)
        on_password(s, body, now_ns, a);
    else if (s->phase == CORE_SASL_FIRST)
        on_sasl_first(s, body, a);
    else
        on_sasl_final(s, body, now_ns, a);
    if (s->phase != CORE_DOOMED)
        core_block_consume(s->worker, &s->hold, size);
    return s->phase != CORE_DOOMED;
}

void core_login_data(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    bool again = true;
    while (again && s->hold != NULL) {
        switch ((enum core_phase)s->phase) {
        case CORE_STARTUP:
            again = on_startup(s, a);
            break;
        case CORE_PASSWORD:
        case CORE_SASL_FIRST:
        case CORE_SASL_FINAL:
            again = on_auth_message(s, now_ns, a) && !a->is_admin;
            break;
        case CORE_USER:
        case CORE_WELCOME:
        case CORE_QUERY:
        case CORE_DOOMED:
            again = false;
            break;
        }
    }
    if (s->phase == CORE_QUERY && s->hold != NULL)
        a->again = true; /* a client that did not wait for its welcome */
}

/* ---- welcome ---- */

void core_login_parameter(struct core_session *s, struct proto_span message)
{
    core_block_append(s->worker, &s->login->overlay, message);
}

void core_login_welcome(struct core_session *s, struct core_actions *a)
{
    struct core_profile *p = s->profile;
    assert(s->phase == CORE_WELCOME);
    if (p->welcome == NULL) {
        const struct core_backend *b = s->backend;
        core_profile_learn(p, (struct proto_span){.base = b->params, .size = b->params_size},
                           core_block_span(s->login->overlay));
    }
    uint8_t secret[CORE_CANCEL_KEY_SIZE];
    proto_store_u32(secret, s->cancel_secret);
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_raw(&w, (struct proto_span){.base = p->welcome, .size = p->welcome_size});
    proto_write_backend_key(&w, s->cancel_pid,
                            (struct proto_span){.base = secret, .size = sizeof(secret)});
    proto_write_ready(&w, 'I');
    core_sink_commit(&a->client, &w);
    s->phase = CORE_QUERY;
    a->login_done = true;
    if (s->hold != NULL)
        a->again = true;
    core_login_free(s);
}

void core_login_forget(struct core_session *s)
{
    core_block_give(s->worker, &s->login->overlay);
}

void core_login_free(struct core_session *s)
{
    if (s->login == NULL)
        return;
    core_block_give(s->worker, &s->login->overlay);
    explicit_bzero(&s->login->scram, sizeof(s->login->scram));
    free(s->login);
    s->login = NULL;
}
