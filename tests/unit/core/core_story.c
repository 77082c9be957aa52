/* SPDX-License-Identifier: PostgreSQL */
#include "core_notation.h"
#include "router_signal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const node_names[] = {"primary", "replica", "other"};

static void sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    (void)SHA256(data, size, ret);
}

static void hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                        uint8_t ret[32])
{
    assert_non_null(HMAC(EVP_sha256(), key, (int)key_size, data, size, ret, NULL));
}

static void pbkdf2(const uint8_t *password, size_t password_size, const uint8_t *salt,
                   size_t salt_size, uint32_t iterations, uint8_t ret[32])
{
    assert_int_equal(PKCS5_PBKDF2_HMAC((const char *)password, (int)password_size, salt,
                                       (int)salt_size, (int)iterations, EVP_sha256(), 32, ret),
                     1);
}

static void md5(const uint8_t *data, size_t size, uint8_t ret[16])
{
    assert_int_equal(EVP_Digest(data, size, ret, NULL, EVP_md5(), NULL), 1);
}

static const struct proto_hashes hashes = {sha256, hmac_sha256, pbkdf2, md5};

/* ---- the shell ---- */

static void drop(struct story *st, struct core_backend *b)
{
    for (uint32_t i = 0; i < STORY_NODES; i++)
        if (st->backends[i] == b)
            st->backends[i] = NULL;
    core_backend_deinit(b);
    free(b);
}

void story_grant(struct story *st)
{
    struct core_session *s = &st->session;
    const uint8_t node = s->choice.node;
    assert_true(s->waiting && node < STORY_NODES);
    struct core_backend **slot = &st->backends[node];
    if (*slot == NULL) {
        *slot = malloc(sizeof(**slot));
        assert_non_null(*slot);
        core_backend_init(*slot, &st->worker, node, node != 0, st->now_ns, NULL);
    }
    story_execute(st, core_granted(s, *slot, st->now_ns));
}

static void note_outcome(struct story *st, const struct core_actions *a)
{
    if (a->misfit != 0) {
        st->misfit = a->misfit;
        st->misfit_expected = a->misfit_expected;
    }
    if (!a->has_outcome || (a->outcome.input == BREAKER_SUCCESS && !a->outcome.alert))
        return;
    st->outcome = a->outcome;
    st->outcome_node = a->outcome_node;
    st->outcome_what = a->outcome_what;
}

static struct core_actions *one(struct story *st, struct core_actions *a)
{
    note_outcome(st, a);
    struct core_backend *b = a->backend;
    st->sent += a->server.size;
    if (a->server.size > 0)
        story_say_sink(st, node_names[b->node], &a->server, true);
    if (a->client.size > 0)
        story_say_sink(st, "client", &a->client, false);
    const bool want = a->want;
    const bool settle = a->settle;
    st->unended = st->unended || a->unended;
    if (a->release)
        story_say(st, "release %s\n", node_names[b->node]);
    if (a->close_backend != CORE_KEEP) {
        story_say(st, "close %s\n", node_names[b->node]);
        drop(st, b);
        b = NULL;
    }
    if (a->start_tls)
        story_say(st, "tls\n");
    if (a->cancel_request) {
        uint32_t pid;
        const struct proto_span key = core_login_cancel(&st->session, &pid);
        story_say(st, "cancel %u, key of %zu\n", pid, key.size);
    }
    if (a->signal) /* a test calls core_signalled() */
        story_say(st, "%s %u %llu\n", a->wish.kind == ROUTER_SIGNAL_CANCEL ? "cancel" : "end",
                  a->wish.pid, (unsigned long long)a->wish.timeout_ms);
    if (a->close_client != CORE_KEEP) {
        story_say(st, "close client\n");
        story_leave(st);
        return NULL;
    }
    if (a->login_proven) {
        story_say(st, "proven\n");
        return NULL;
    }
    if (a->want_link) {
        story_say(st, "want link\n"); /* a test calls core_linked() */
        return NULL;
    }
    const struct core_actions did = {
        .login_want_user = a->login_want_user, .again_server = a->again_server, .again = a->again};
    if (a->release && !core_backend_idle(b)) /* in the middle of a block */
        story_say_sink(st, node_names[b->node], &core_backend_reset(b)->server, true);
    if (want && st->session.choice.node == ROUTER_NODE_NONE)
        story_say(st, "want nobody\n");
    if (want && !st->nobody_grants && st->session.choice.node != ROUTER_NODE_NONE) {
        story_grant(st);
        return NULL;
    }
    if (want)
        return NULL;
    if (did.login_want_user && !st->nobody_answers)
        return core_login_user(&st->session, &st->answer, st->now_ns);
    if (did.again_server && b != NULL)
        return core_server_data(b, (struct proto_span){0}, st->now_ns);
    if (did.again)
        return core_resume(&st->session, st->now_ns);
    if (settle && !st->nobody_drains)
        return core_client_drained(&st->session, st->now_ns);
    return NULL;
}

void story_execute(struct story *st, struct core_actions *a)
{
    while (a != NULL)
        a = one(st, a);
}

void story_leave(struct story *st)
{
    if (st->gone)
        return;
    st->gone = true;
    struct core_actions *a = core_client_gone(&st->session, st->now_ns);
    struct core_backend *b = a->backend;
    if (a->close_backend != CORE_KEEP) {
        story_say(st, "close %s\n", node_names[b->node]);
        drop(st, b);
    } else if (a->release && (!core_backend_idle(b) || b->tainted)) {
        story_say_sink(st, node_names[b->node], &core_backend_reset(b)->server, true);
    } else if (a->release) {
        story_say(st, "release %s\n", node_names[b->node]);
    } else if (a->drain) {
        story_say(st, "drain %s%s\n", node_names[b->node], a->cancel_backend ? ", cancel" : "");
        if (a->server.size > 0)
            story_say_sink(st, node_names[b->node], &a->server, true);
    }
}

void story_client_bytes(struct story *st, const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size + 1); /* so that a sanitizer sees who keeps a span */
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    st->now_ns += 1000;
    story_execute(st, core_client_data(&st->session, (struct proto_span){copy, size}, st->now_ns));
    free(copy);
}

void story_client(struct story *st, const char *messages)
{
    uint8_t buf[8192];
    story_client_bytes(st, buf, story_encode(true, messages, buf, sizeof(buf)));
}

void story_pause(struct story *st)
{
    st->now_ns += 10000000;
    if (st->unended)
        story_execute(st, core_unended(&st->session, st->now_ns));
    st->unended = false;
}

void story_server_bytes(struct story *st, uint32_t node, const void *bytes, size_t size)
{
    assert_non_null(st->backends[node]);
    st->now_ns += 1000;
    story_execute(
        st, core_server_data(st->backends[node], (struct proto_span){bytes, size}, st->now_ns));
    struct core_backend *b = st->backends[node]; /* NULL: it was closed */
    if (b != NULL && b->session == NULL && core_backend_drained(b))
        story_say_sink(st, node_names[node], &core_backend_reset(b)->server, true);
}

void story_server(struct story *st, uint32_t node, const char *messages)
{
    uint8_t buf[8192];
    story_server_bytes(st, node, buf, story_encode(false, messages, buf, sizeof(buf)));
}

void story_server_dies(struct story *st, uint32_t node)
{
    story_execute(st, core_server_lost(st->backends[node], st->now_ns));
}

void story_replicate(struct story *st)
{
    for (uint32_t i = 0; i < STORY_NODES; i++)
        st->topology.nodes[i].fresh_as_of_ns = st->now_ns;
}

void story_expect(struct story *st, const char *log)
{
    st->log[st->log_size] = '\0';
    assert_string_equal(st->log, log);
    st->log_size = 0;
    st->log[0] = '\0';
}

/* ---- life ---- */

void story_init(struct story *st)
{
    static const uint8_t key[ROUTER_KEY_SIZE] = {7};
    const struct core_limits limits = {.statement_max = 2048,
                                       .retry_keep = 4096,
                                       .prepared_max = 4,
                                       .hold_max = 16384,
                                       .names_size_max = 4096};
    memset(st, 0, sizeof(*st));
    st->now_ns = 1000000000;
    assert_true(core_worker_init(&st->worker, &limits, 64, key, 1));
    st->worker.hashes = &hashes;
    st->worker.node_names = node_names;
    st->worker.topology = &st->topology;
    st->topology.nodes_count = 2; /* a test that wants a third node says so */
    for (uint32_t i = 0; i < STORY_NODES; i++)
        st->topology.nodes[i] =
            (struct router_node){.role = i == 0 ? ROUTER_ROLE_PRIMARY : ROUTER_ROLE_REPLICA,
                                 .weight_permille = i == 0 ? 0 : 1000,
                                 .fresh_as_of_ns = st->now_ns};
    st->database = (struct core_database){.name = "d",
                                          .level = ROUTER_LEVEL_SESSION,
                                          .pool_mode = 1,
                                          .fallback_allowed = true,
                                          .reads = &st->reads,
                                          .routes = st->routes};
    st->group = (struct core_group){.database = &st->database, .user = "u"};
    st->answer = (struct core_login_answer){.auth = CORE_AUTH_TRUST, .group = &st->group};
    core_session_init(&st->session, &st->worker, NULL);
}

void story_begin(struct story *st)
{
    static const uint8_t start[] = {0, 0, 0, 16, 0, 3, 0, 0, 'u', 's', 'e', 'r', 0, 'u', 0, 0};
    story_init(st);
    story_client_bytes(st, start, sizeof(start));
    assert_int_equal(st->session.phase, CORE_QUERY);
    st->log_size = 0;
}

void story_end(struct story *st)
{
    story_leave(st);
    core_session_deinit(&st->session);
    for (uint32_t i = 0; i < STORY_NODES; i++)
        if (st->backends[i] != NULL)
            drop(st, st->backends[i]);
    for (uint32_t i = 0; i < STORY_NODES; i++)
        assert_int_equal(st->worker.loads[i].in_flight, 0);
    assert_int_equal(st->worker.blocks_out, 0);
    core_group_deinit(&st->worker, &st->group);
    core_worker_deinit(&st->worker);
}
