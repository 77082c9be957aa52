/* SPDX-License-Identifier: PostgreSQL
 *
 * core_login: from a client's first byte to its first ReadyForQuery.
 *
 * Happy path: start-up packet -> login_want_user -> core_login_user() -> password or SCRAM ->
 * AuthenticationOk -> (the first client with these settings: a backend to learn the parameters
 * from) -> welcome. Failure modes: FATAL and close, always with the SQLSTATE that PostgreSQL has.
 */
#include "core_login.h"
#include "core_settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "core_base.h"
#include "core_internal.h"

enum { PASSWORD_SIZE_MAX = 64 * 1024 };

/* ---- authentication ---- */

const char *core_login_user_name(const struct core_session *s)
{
    return s->login->user;
}

const char *core_login_database(const struct core_session *s)
{
    return s->login->database;
}

const char *core_login_refusal(const struct core_session *s)
{
    return s->login->refusal;
}

const char *core_login_application(const struct core_session *s)
{
    return s->login->application;
}

const char *core_login_password(const struct core_session *s)
{
    return s->login->proven ? s->login->password : NULL;
}

const struct proto_scram *core_login_scram(const struct core_session *s)
{
    const struct core_login *l = s->login;
    return l->proven && l->auth == CORE_AUTH_SCRAM ? &l->scram : NULL;
}

struct proto_span core_login_cancel(const struct core_session *s, uint32_t *ret_pid)
{
    *ret_pid = s->login->cancel_pid;
    return (struct proto_span){s->login->cancel_key, s->login->cancel_key_size};
}

static void password_failed(struct core_session *s, struct core_actions *a)
{
    char message[CORE_LOGIN_TEXT_MAX + 64];
    (void)snprintf(message, sizeof(message), "password authentication failed for user \"%s\"",
                   s->login->user);
    core_login_refuse(s, "28P01", message, NULL, a);
}

static void admitted(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    if (s->replication != CORE_REPLICATION_NONE) {
        s->phase = CORE_WELCOME;
        a->want_link = true;
        return;
    }
    s->profile = core_profile_get(s->worker, s->group, s->login->start);
    s->settings = core_settings_hold(s->login->start);
    if (!s->level_given)
        s->level = s->group->database->level;
    s->phase = CORE_WELCOME;
    if (s->profile->welcome != NULL && core_base_is_current(s->group)) {
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

static void write_auth_ok(struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_ok(&w);
    core_sink_commit(&a->client, &w);
}

/* The client is who it says it is. AuthenticationOk leaves together with what follows it. */
static void authenticated(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    s->login->proven = true;
    s->phase = CORE_ADMIT;
    if (s->group == NULL) {
        a->login_proven = true;
        return;
    }
    write_auth_ok(a);
    admitted(s, now_ns, a);
}

struct core_actions *core_login_admit(struct core_session *s, struct core_group *group,
                                      const struct proto_error_text *error, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    assert(s->phase == CORE_ADMIT && s->group == NULL);
    assert((group == NULL) == (error != NULL));
    write_auth_ok(a);
    if (error != NULL) {
        core_login_refuse(s, error->sqlstate, error->message, error->hint, a);
        return a;
    }
    s->group = group;
    admitted(s, now_ns, a);
    return a;
}

/* The secret that the exchange runs against, made up where there is none that could prove it. */
static void scram_secret(struct core_session *s, const struct core_login_answer *answer)
{
    struct core_login *l = s->login;
    const struct proto_hashes *h = s->worker->hashes;
    const struct proto_span secret =
        answer->secret != NULL ? core_span(answer->secret) : (struct proto_span){0};
    proto_scram_secret_mock(h, core_span(l->user), answer->server_key, &l->scram.secret);
    if (secret.size == 0 || proto_md5_is_hash(secret))
        l->scram.doomed = true;             /* an md5 hash cannot prove a SCRAM exchange */
    else if (proto_scram_is_secret(secret)) /* a broken one is no password either */
        l->scram.doomed = !proto_scram_secret_read(secret, &l->scram.secret);
    else
        proto_scram_secret_make(h, secret, answer->random, 16, PROTO_SCRAM_ITERATIONS,
                                &l->scram.secret);
}

static void scram_start(struct core_session *s, const struct core_login_answer *answer,
                        struct core_actions *a)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
    struct core_login *l = s->login;
    const struct proto_span binding = answer->channel_binding;
    assert(binding.size <= sizeof(l->scram.binding));
    if (binding.size > 0)
        memcpy(l->scram.binding, binding.base, binding.size);
    l->scram.binding_size = (uint8_t)binding.size;
    scram_secret(s, answer);
    const size_t skip = binding.size > 0 ? 0 : 1;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_sasl(&w, mechanisms + skip, 2 - skip);
    core_sink_commit(&a->client, &w);
    s->phase = CORE_SASL_FIRST;
}

static void keep_answer(struct core_session *s, const struct core_login_answer *answer)
{
    struct core_login *l = s->login;
    s->group = answer->group;
    l->auth = answer->auth;
    memcpy(l->random, answer->random, sizeof(l->random));
    memcpy(l->md5_salt, answer->random + PROTO_SCRAM_NONCE_SIZE, sizeof(l->md5_salt));
    if (answer->auth != CORE_AUTH_MD5 && answer->auth != CORE_AUTH_PASSWORD)
        return;
    proto_scram_secret_mock(s->worker->hashes, core_span(l->user), answer->server_key,
                            &l->scram.secret);
    if (answer->secret == NULL)
        return;
    l->secret = strdup(answer->secret);
    if (l->secret == NULL)
        abort();
}

struct core_actions *core_login_user(struct core_session *s, const struct core_login_answer *answer,
                                     uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    assert(s->phase == CORE_USER);
    if (answer->error != NULL) {
        core_login_refuse(s, answer->error->sqlstate, answer->error->message, answer->error->hint,
                          a);
        return a;
    }
    keep_answer(s, answer);
    struct proto_writer w = core_sink_writer(&a->client);
    switch (answer->auth) {
    case CORE_AUTH_TRUST:
        authenticated(s, now_ns, a);
        break;
    case CORE_AUTH_SCRAM:
        scram_start(s, answer, a);
        break;
    case CORE_AUTH_MD5:
        proto_write_auth_md5(&w, s->login->md5_salt);
        core_sink_commit(&a->client, &w);
        s->phase = CORE_PASSWORD;
        break;
    case CORE_AUTH_PASSWORD:
        proto_write_auth_cleartext(&w);
        core_sink_commit(&a->client, &w);
        s->phase = CORE_PASSWORD;
        break;
    case CORE_AUTH_REJECT:
        password_failed(s, a);
        break;
    }
    if (s->phase != CORE_DOOMED && s->hold != NULL)
        a->again = true; /* a client that did not wait for the question */
    return a;
}

static bool md5_right(const struct core_session *s, struct proto_span answer)
{
    const struct core_login *l = s->login;
    char expected[36];
    /* a user that does not exist costs the same time and gets the same answer */
    const bool known = l->secret != NULL && l->secret[0] != '\0';
    const struct proto_span stored = core_span(known ? l->secret : "no such user");
    proto_md5_answer(s->worker->hashes, stored, core_span(l->user), l->md5_salt, expected);
    const bool same =
        answer.size == 35 && proto_equal_constant_time(answer.base, (const uint8_t *)expected, 35);
    return same && known;
}

static void on_password(struct core_session *s, struct proto_span body, uint64_t now_ns,
                        struct core_actions *a)
{
    struct core_login *l = s->login;
    struct proto_span password;
    if (proto_password_read(body, &password) != PROTO_OK) {
        core_login_refuse(s, "08P01", "invalid password packet", NULL, a);
        return;
    }
    bool right;
    if (l->auth == CORE_AUTH_MD5)
        right = md5_right(s, password);
    else
        right = proto_password_check(s->worker->hashes, l->secret, core_span(l->user), password,
                                     &l->scram.secret);
    if (right && l->auth == CORE_AUTH_PASSWORD) {
        l->password = strndup((const char *)password.base, password.size);
        if (l->password == NULL)
            abort();
    }
    /* the block goes round among sessions, and into a core dump */
    explicit_bzero(s->hold->data + s->hold->start + PROTO_HEADER_SIZE, body.size);
    if (right)
        authenticated(s, now_ns, a);
    else
        password_failed(s, a);
}

/* As PostgreSQL words it. */
static void scram_refuse(struct core_session *s, struct core_actions *a)
{
    static const struct {
        const char *sqlstate, *message;
    } faults[] = {
        [PROTO_SCRAM_MALFORMED] = {"08P01", "malformed SCRAM message"},
        [PROTO_SCRAM_DOWNGRADE] = {"28000", "SCRAM channel binding negotiation error"},
        [PROTO_SCRAM_NOT_BOUND] = {"08P01", "malformed SCRAM message"},
        [PROTO_SCRAM_BINDING_TYPE] = {"08P01", "unsupported SCRAM channel-binding type"},
        [PROTO_SCRAM_BINDING] = {"28000", "SCRAM channel binding check failed"},
        [PROTO_SCRAM_FLAG] = {"08P01", "unexpected SCRAM channel-binding attribute in "
                                       "client-final-message"},
        [PROTO_SCRAM_NONCE] = {"08P01", "invalid SCRAM response"},
        [PROTO_SCRAM_AUTHORIZATION] = {"0A000", "client uses authorization identity, but it is "
                                                "not supported"},
        [PROTO_SCRAM_EXTENSION] = {"0A000", "client requires an unsupported SCRAM extension"},
    };
    const uint8_t fault = s->login->scram.fault;
    assert(fault < sizeof(faults) / sizeof(faults[0]));
    core_login_refuse(s, faults[fault].sqlstate, faults[fault].message, NULL, a);
}

static void challenge(struct core_actions *a, const char *text)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_auth_sasl_continue(&w, core_span(text));
    core_sink_commit(&a->client, &w);
}

static void on_sasl_first(struct core_session *s, struct proto_span body, struct core_actions *a)
{
    struct core_login *l = s->login;
    struct proto_sasl_initial initial = {.response = body, .has_response = true};
    if (!l->mechanism_chosen) {
        const bool read = proto_sasl_initial_read(body, &initial) == PROTO_OK;
        l->scram.plus = read && l->scram.binding_size > 0 &&
                        core_text_equal(initial.mechanism, "SCRAM-SHA-256-PLUS");
        if (!read || (!l->scram.plus && !core_text_equal(initial.mechanism, "SCRAM-SHA-256"))) {
            core_login_refuse(s, "08P01",
                              "client selected an invalid SASL authentication mechanism", NULL, a);
            return;
        }
        l->mechanism_chosen = true;
    }
    if (!initial.has_response) {
        challenge(a, ""); /* RFC 4422: a client may want to hear the server first */
        return;
    }
    if (proto_scram_first(&l->scram, initial.response, l->random) != PROTO_OK) {
        scram_refuse(s, a);
        return;
    }
    challenge(a, l->scram.server_first);
    s->phase = CORE_SASL_FINAL;
}

static void on_sasl_final(struct core_session *s, struct proto_span body, uint64_t now_ns,
                          struct core_actions *a)
{
    struct core_login *l = s->login;
    bool proven = false;
    char server_final[64];
    if (proto_scram_final(s->worker->hashes, &l->scram, body, &proven, server_final) != PROTO_OK) {
        scram_refuse(s, a);
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

/* Another message came. Who only leaves, as psql does to ask its user first, is no failure. */
static void no_password(struct core_session *s, uint8_t type, struct core_actions *a)
{
    char message[96];
    if (type == 'X') {
        s->phase = CORE_DOOMED;
        a->close_client = CORE_CLOSE_NOW;
        return;
    }
    (void)snprintf(message, sizeof(message), "expected %s response, got message type %u",
                   s->phase == CORE_PASSWORD ? "password" : "SASL", (unsigned)type);
    core_login_refuse(s, "08P01", message, NULL, a);
}

/* A password message. True: it was whole, and is dealt with. */
static bool on_auth_message(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct proto_header h;
    const struct proto_span in = core_block_span(s->hold);
    if (in.size > 0 && in.base[0] != 'p') {
        no_password(s, in.base[0], a);
        return false;
    }
    const enum proto_status status = proto_header_peek(in, PASSWORD_SIZE_MAX, &h);
    if (status == PROTO_MORE || (status == PROTO_OK && in.size < PROTO_HEADER_SIZE + h.body_size))
        return false;
    if (status != PROTO_OK) {
        core_login_refuse(s, "08P01", "invalid password message length", NULL, a);
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
            again = core_login_startup(s, a);
            break;
        case CORE_PASSWORD:
        case CORE_SASL_FIRST:
        case CORE_SASL_FINAL:
            again = on_auth_message(s, now_ns, a);
            break;
        case CORE_USER:
        case CORE_ADMIT:
        case CORE_WELCOME:
        case CORE_QUERY:
        case CORE_LINKED:
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
    struct core_group *g = s->group;
    if (s->backend != NULL) {
        struct core_base *base = core_base_of(s->backend);
        core_profile_meet(s->worker, p, base, core_block_span(s->login->overlay));
        core_base_release(s->worker, base);
    } else if (g->base != NULL && p->base != g->base) {
        core_profile_meet(s->worker, p, g->base, (struct proto_span){p->overlay, p->overlay_size});
    }
    s->base = p->base != NULL ? core_base_hold(p->base) : NULL;
    s->told_flags = p->flags;
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_raw(&w, (struct proto_span){.base = p->welcome, .size = p->welcome_size});
    proto_write_backend_key(&w, s->cancel_pid,
                            (struct proto_span){s->cancel_key, s->cancel_key_size});
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

static void forget_text(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

void core_login_free(struct core_session *s)
{
    if (s->login == NULL)
        return;
    core_block_give(s->worker, &s->login->overlay);
    if (s->login->start != NULL)
        core_settings_release(s->worker, s->login->start);
    explicit_bzero(&s->login->scram, sizeof(s->login->scram));
    forget_text(s->login->secret);
    forget_text(s->login->password);
    free(s->login);
    s->login = NULL;
}
