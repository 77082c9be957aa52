/* SPDX-License-Identifier: PostgreSQL */
#include "core_story.h"

#include <ctype.h>
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

/* ---- notation -> bytes ---- */

static struct proto_span span_of(const char *text)
{
    return (struct proto_span){(const uint8_t *)text, strlen(text)};
}

static void plain(struct proto_writer *w, char type, const void *body, size_t size)
{
    uint8_t head[5] = {(uint8_t)type};
    proto_store_u32(head + 1, (uint32_t)(4 + size));
    proto_write_raw(w, (struct proto_span){head, 5});
    proto_write_raw(w, (struct proto_span){body, size});
}

static void encode_client(struct proto_writer *w, char type, char *text)
{
    char *second = strchr(text, '|');
    switch (type) {
    case 'Q':
        proto_write_query(w, span_of(text));
        return;
    case 'P':
        assert_non_null(second);
        *second++ = '\0';
        proto_write_parse(w, span_of(text), span_of(second), span_of(""));
        return;
    case 'B':
        proto_write_bind_empty(w, span_of(""), span_of(text));
        return;
    case 'D':
        proto_write_describe(w, (uint8_t)text[0], span_of(text + 1));
        return;
    case 'C':
        proto_write_close(w, (uint8_t)text[0], span_of(text + 1));
        return;
    case 'E':
        proto_write_execute(w, span_of(text), 0);
        return;
    case 'F':
        plain(w, 'F', "\0\0\0\1\0\0\0\0\0\0", 10);
        return;
    default: /* S H X c have no body, d f p have text */
        plain(w, type, text, strlen(text) + (type == 'f' || type == 'p'));
    }
}

static void encode_server(struct proto_writer *w, char type, char *text)
{
    char buf[256];
    char *second = strchr(text, '|');
    const char *const column[] = {text};
    if (second != NULL)
        *second++ = '\0';
    switch (type) {
    case 'T':
        proto_write_row_description(w, column, 1);
        return;
    case 'D': { /* columns are separated by | */
        struct proto_span values[8] = {span_of(text)};
        uint16_t count = 1;
        for (; second != NULL && count < 8; count++) {
            char *third = strchr(second, '|');
            if (third != NULL)
                *third++ = '\0';
            values[count] = span_of(second);
            second = third;
        }
        proto_write_data_row(w, values, count);
        return;
    }
    case 'C':
        proto_write_command_complete(w, text);
        return;
    case 'Z':
        proto_write_ready(w, (uint8_t)text[0]);
        return;
    case 'E':
    case 'X': { /* X: FATAL */
        const int n =
            snprintf(buf, sizeof(buf), "S%s%cC%s%cMm%cR%s%c", type == 'X' ? "FATAL" : "ERROR", 0,
                     text, 0, 0, second != NULL ? second : "", 0);
        plain(w, 'E', buf, (size_t)n + 1);
        return;
    }
    case 'S':
        proto_write_parameter_status(w, span_of(text), span_of(second != NULL ? second : ""));
        return;
    case 't':
        plain(w, 't', "\0\0", 2);
        return;
    case 'G':
    case 'H':
        plain(w, type, "\0\0\0", 3);
        return;
    case 'N':
        plain(w, 'N', "SNOTICE\0Mn\0\0", 12);
        return;
    default:
        plain(w, type, text, strlen(text));
    }
}

size_t story_encode(bool to_server, const char *messages, uint8_t *buf, size_t buf_size)
{
    struct proto_writer w = proto_writer_make(buf, buf_size);
    char text[4096];
    for (const char *p = messages; *p != '\0';) {
        if (isspace((unsigned char)*p)) {
            p++;
            continue;
        }
        const char type = *p++;
        size_t size = 0;
        if (*p == '(') {
            int depth = 0;
            do {
                depth += *p == '(' ? 1 : *p == ')' ? -1 : 0;
                text[size++] = *p++;
                assert_true(size < sizeof(text));
            } while (depth > 0);
            memmove(text, text + 1, size -= 2);
        }
        text[size] = '\0';
        if (to_server)
            encode_client(&w, type, text);
        else
            encode_server(&w, type, text);
    }
    assert_false(w.overflow);
    return w.size;
}

/* ---- bytes -> notation ---- */

static void say(struct story *st, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct story *st, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    st->log_size +=
        (size_t)vsnprintf(st->log + st->log_size, sizeof(st->log) - st->log_size, format, args);
    va_end(args);
    assert_true(st->log_size < sizeof(st->log));
}

/* Names that the proxy gave are said as "sg". */
static void say_name(struct story *st, struct proto_span name)
{
    if (name.size == 35 && memcmp(name.base, "sg_", 3) == 0)
        say(st, "sg");
    else
        say(st, "%.*s", (int)name.size, (const char *)name.base);
}

static void say_to_server(struct story *st, uint8_t type, struct proto_span body)
{
    struct proto_parse parse;
    struct proto_bind bind;
    struct proto_target target;
    struct proto_span text;
    say(st, " %c", type);
    switch (type) {
    case 'Q':
        assert_int_equal(proto_query_read(body, &text), PROTO_OK);
        say(st, "(%.*s)", (int)(text.size < 60 ? text.size : 60), (const char *)text.base);
        return;
    case 'P':
        assert_int_equal(proto_parse_read(body, &parse), PROTO_OK);
        say(st, "(");
        say_name(st, parse.name);
        say(st, "|%.*s)", (int)parse.text.size, (const char *)parse.text.base);
        return;
    case 'B':
        assert_int_equal(proto_bind_peek(body, &bind), PROTO_OK);
        say(st, "(");
        say_name(st, bind.statement);
        say(st, ")");
        return;
    case 'C':
    case 'D':
        assert_int_equal(proto_target_read(body, &target), PROTO_OK);
        say(st, "(%c", target.what);
        say_name(st, target.name);
        say(st, ")");
        return;
    default:
        return;
    }
}

static void say_to_client(struct story *st, uint8_t type, struct proto_span body)
{
    struct proto_error error;
    say(st, " %c", type);
    if (type == 'E' ||
        (type == 'N' && proto_error_read(body, &error) == PROTO_OK && error.sqlstate.size > 0)) {
        assert_int_equal(proto_error_read(body, &error), PROTO_OK);
        const bool fatal = error.severity.size == 5 && error.severity.base[0] == 'F';
        say(st, "(%s%s)", fatal ? "FATAL " : "", error.sqlstate.base);
    } else if (type == 'Z') {
        say(st, "(%c)", body.base[0]);
    } else if (type == 'C') {
        say(st, "(%s)", body.base);
    } else if (type == 'R') {
        say(st, "(%u)", proto_load_u32(body.base));
    } else if (type == 'D') { /* all columns */
        const uint16_t count = proto_load_u16(body.base);
        struct proto_reader r =
            proto_reader_make((struct proto_span){body.base + 2, body.size - 2});
        say(st, "(");
        for (uint16_t i = 0; i < count; i++) {
            const uint32_t size = proto_read_u32(&r);
            const struct proto_span v =
                size == UINT32_MAX ? span_of("null") : proto_read_bytes(&r, size);
            say(st, "%s%.*s", i > 0 ? "," : "", (int)v.size, (const char *)v.base);
        }
        say(st, ")");
    }
}

static void say_sink(struct story *st, const char *whom, const struct core_sink *sink, bool server)
{
    uint8_t *all = malloc(sink->size + 1);
    size_t size = 0;
    assert_non_null(all);
    for (uint32_t i = 0; i < sink->count; i++) {
        memcpy(all + size, sink->spans[i].base, sink->spans[i].size);
        size += sink->spans[i].size;
    }
    assert_int_equal(size, sink->size);
    say(st, "%s:", whom);
    for (size_t pos = 0; pos < size;) {
        struct proto_header h;
        if (size - pos == 1 && (all[pos] == 'N' || all[pos] == 'S')) { /* encryption? */
            say(st, all[pos] == 'N' ? " no" : " yes");
            break;
        }
        if (proto_header_peek((struct proto_span){all + pos, size - pos}, UINT32_MAX - 4, &h) !=
                PROTO_OK ||
            size - pos < 5 + (size_t)h.body_size) {
            say(st, " ...");
            break;
        }
        const struct proto_span body = {all + pos + 5, h.body_size};
        if (server)
            say_to_server(st, h.type, body);
        else
            say_to_client(st, h.type, body);
        pos += 5 + (size_t)h.body_size;
    }
    say(st, "\n");
    free(all);
}

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

static struct core_actions *one(struct story *st, struct core_actions *a)
{
    struct core_backend *b = a->backend;
    if (a->server.size > 0)
        say_sink(st, node_names[b->node], &a->server, true);
    if (a->client.size > 0)
        say_sink(st, "client", &a->client, false);
    const bool want = a->want;
    const bool settle = a->settle;
    if (a->release)
        say(st, "release %s\n", node_names[b->node]);
    if (a->close_backend != CORE_KEEP) {
        say(st, "close %s\n", node_names[b->node]);
        drop(st, b);
        b = NULL;
    }
    if (a->start_tls)
        say(st, "tls\n");
    if (a->cancel_request) {
        uint32_t pid;
        const struct proto_span key = core_login_cancel(&st->session, &pid);
        say(st, "cancel %u, key of %zu\n", pid, key.size);
    }
    if (a->close_client != CORE_KEEP) {
        say(st, "close client\n");
        story_leave(st);
        return NULL;
    }
    if (a->login_proven) {
        say(st, "proven\n");
        return NULL;
    }
    if (a->want_link) {
        say(st, "want link\n"); /* a test calls core_linked() */
        return NULL;
    }
    if (want && st->session.choice.node == ROUTER_NODE_NONE)
        say(st, "want nobody\n");
    if (want && !st->nobody_grants && st->session.choice.node != ROUTER_NODE_NONE) {
        story_grant(st);
        return NULL;
    }
    if (want)
        return NULL;
    if (a->login_want_user && !st->nobody_answers)
        return core_login_user(&st->session, &st->answer, st->now_ns);
    if (a->again_server && b != NULL)
        return core_server_data(b, (struct proto_span){0}, st->now_ns);
    if (a->again)
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
        say(st, "close %s\n", node_names[b->node]);
        drop(st, b);
    } else if (a->release && (!core_backend_idle(b) || b->tainted)) {
        say_sink(st, node_names[b->node], &core_backend_reset(b)->server, true);
    } else if (a->release) {
        say(st, "release %s\n", node_names[b->node]);
    } else if (a->drain) {
        say(st, "drain %s%s\n", node_names[b->node], a->cancel_backend ? ", cancel" : "");
        if (a->server.size > 0)
            say_sink(st, node_names[b->node], &a->server, true);
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

void story_server_bytes(struct story *st, uint32_t node, const void *bytes, size_t size)
{
    assert_non_null(st->backends[node]);
    st->now_ns += 1000;
    story_execute(
        st, core_server_data(st->backends[node], (struct proto_span){bytes, size}, st->now_ns));
    struct core_backend *b = st->backends[node];
    if (b != NULL && b->session == NULL && core_backend_drained(b))
        say_sink(st, node_names[node], &core_backend_reset(b)->server, true);
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
    const struct core_limits limits = {
        .statement_max = 2048, .retry_keep = 4096, .prepared_max = 4, .hold_max = 16384};
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
