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
    core_login_refuse(s, "28P01", message, NULL, a);
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
        core_login_refuse(s, answer->error->sqlstate, answer->error->message, answer->error->hint,
                          a);
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
        core_login_refuse(s, "08P01", "invalid password packet", NULL, a);
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
        !core_text_equal(initial.mechanism, "SCRAM-SHA-256")) {
        core_login_refuse(s, "08P01", "client selected an invalid SASL authentication mechanism",
                          NULL, a);
        return;
    }
    if (proto_scram_first(&l->scram, initial.response, l->random) != PROTO_OK) {
        core_login_refuse(s, "08P01", "malformed SCRAM message", NULL, a);
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
        core_login_refuse(s, "08P01", "malformed SCRAM message", NULL, a);
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
