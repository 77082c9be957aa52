/* SPDX-License-Identifier: PostgreSQL
 *
 * core_instructions: the session core as `pgbench -S` drives it, with bytes in memory for sockets.
 * Deterministic: run under callgrind, two runs of different length tell what one more transaction
 * costs. It does what the shell does with a step's actions, and checks that the bytes are right.
 *
 * core_instructions simple|prepared TRANSACTIONS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

enum { NODES = 3, CLIENTS = 4, BACKENDS = 2 };

static const char *const node_names[] = {"primary", "replica", "other"};

struct peer {
    struct core_session session;
    uint64_t taken; /* bytes that it was sent */
};

struct shell {
    struct core_worker worker;
    struct router_topology topology;
    struct core_database database;
    struct core_group group;
    struct core_profile *profile;
    struct core_login_answer answer;
    uint64_t routes[CORE_ROUTE_COUNTERS];
    uint8_t reads;
    uint64_t now_ns;
    struct peer peers[CLIENTS];
    struct core_backend backends[NODES][BACKENDS];
    struct core_backend *idle[NODES][BACKENDS]; /* last in, first out */
    uint32_t idle_count[NODES];
    struct core_backend *asked; /* the one that got the last request */
    uint8_t asked_bytes[1024];  /* kept while `warm_size` does not say what is in them */
    size_t asked_size;
    size_t warm_size; /* of a request that is answered with `warm_reply` */
    struct proto_span warm_reply;
    uint64_t ended;
};

static struct shell shell;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "core_instructions: %s\n", what);
    exit(1);
}

/* One name is hashed once, before the counting begins: it need not be SHA-256. */
static void any_hash(const uint8_t *data, size_t size, uint8_t ret[32])
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 1099511628211u;
    for (size_t i = 0; i < 32; i++)
        ret[i] = (uint8_t)(h >> (i % 8 * 8));
}

static const struct proto_hashes hashes = {.sha256 = any_hash};

static struct proto_span span_of(const char *text)
{
    return (struct proto_span){.base = (const uint8_t *)text, .size = strlen(text)};
}

/* ---- a server ---- */

static void keep_request(struct core_backend *b, const struct core_sink *sink)
{
    shell.asked = b;
    shell.asked_size = sink->size;
    if (sink->size == shell.warm_size)
        return;
    require(sink->size <= sizeof(shell.asked_bytes), "a request is too long");
    size_t size = 0;
    for (uint32_t i = 0; i < sink->count; i++) {
        memcpy(shell.asked_bytes + size, sink->spans[i].base, sink->spans[i].size);
        size += sink->spans[i].size;
    }
}

static void write_rows(struct proto_writer *w)
{
    const struct proto_span value = span_of("-1234");
    proto_write_data_row(w, &value, 1);
    proto_write_command_complete(w, "SELECT 1");
}

static void write_description(struct proto_writer *w)
{
    static const char *const column[] = {"abalance"};
    proto_write_row_description(w, column, 1);
}

/* What a server says to whole messages, to each in its turn. */
static void answer(struct proto_span in, struct proto_writer *w)
{
    struct proto_header h;
    while (in.size > 0) {
        require(proto_header_peek(in, UINT32_MAX - 4, &h) == PROTO_OK &&
                    PROTO_HEADER_SIZE + (size_t)h.body_size <= in.size,
                "half a message was sent");
        if (h.type == 'P')
            proto_write_parse_complete(w);
        if (h.type == 'C')
            proto_write_close_complete(w);
        if (h.type == 'B')
            proto_write_bind_complete(w);
        if (h.type == 'D' || h.type == 'Q')
            write_description(w);
        if (h.type == 'E' || h.type == 'Q')
            write_rows(w);
        if (h.type == 'S' || h.type == 'Q')
            proto_write_ready(w, 'I');
        in.base += PROTO_HEADER_SIZE + (size_t)h.body_size;
        in.size -= PROTO_HEADER_SIZE + (size_t)h.body_size;
    }
}

/* ---- what the shell does ---- */

static struct core_actions *execute_once(struct peer *p, struct core_actions *a)
{
    struct core_session *s = &p->session;
    struct core_backend *b = a->backend;
    if (a->server.size > 0)
        keep_request(b, &a->server);
    p->taken += a->client.size;
    shell.ended += a->latency_ns != 0;
    require(a->close_backend == CORE_KEEP && a->close_client == CORE_KEEP, "something was closed");
    const bool want = a->want;
    const bool settle = a->settle;
    if (a->release) {
        require(core_backend_idle(b), "a backend was released that is not idle");
        shell.idle[b->node][shell.idle_count[b->node]++] = b;
    }
    if (a->login_want_user)
        return core_login_user(s, &shell.answer, shell.now_ns);
    if (want) {
        const uint8_t node = s->choice.node;
        require(node < NODES && shell.idle_count[node] > 0, "no backend is idle");
        return core_granted(s, shell.idle[node][--shell.idle_count[node]], shell.now_ns);
    }
    if (a->again)
        return core_resume(s, shell.now_ns);
    return settle ? core_client_drained(s, shell.now_ns) : NULL;
}

static void execute(struct peer *p, struct core_actions *a)
{
    while (a != NULL)
        a = execute_once(p, a);
}

/* A request of a client's and its answer, of `client_size` bytes as the client is to see it; the
 * backend is idle again afterwards. */
static void exchange(struct peer *p, struct proto_span request, size_t client_size)
{
    uint8_t buf[1024];
    const uint64_t taken = p->taken;
    shell.now_ns += 20000;
    execute(p, core_client_data(&p->session, request, shell.now_ns));
    require(shell.asked != NULL, "nothing was sent to a server");
    require(p->taken == taken, "the client was answered by the proxy");
    struct proto_span reply = shell.warm_reply;
    if (shell.asked_size != shell.warm_size) {
        struct proto_writer w = proto_writer_make(buf, sizeof(buf));
        answer((struct proto_span){shell.asked_bytes, shell.asked_size}, &w);
        reply = proto_writer_span(&w);
    }
    shell.now_ns += 80000;
    execute(p, core_server_data(shell.asked, reply, shell.now_ns));
    require(p->taken == taken + client_size, "the client got something else");
    require(p->session.backend == NULL, "the backend was not released");
    shell.asked = NULL;
}

/* ---- life ---- */

static void start(void)
{
    static const uint8_t key[ROUTER_KEY_SIZE] = {7};
    static const uint8_t start_up[] = {0, 0, 0, 16, 0, 3, 0, 0, 'u', 's', 'e', 'r', 0, 'u', 0, 0};
    const struct core_limits limits = {.statement_max = 256 * 1024,
                                       .retry_keep = 64 * 1024,
                                       .prepared_max = 200,
                                       .names_size_max = 1 << 20,
                                       .hold_max = 256 * 1024};
    shell.now_ns = 1000000000;
    require(core_worker_init(&shell.worker, &limits, 4096, key, 1), "out of memory");
    shell.worker.hashes = &hashes;
    shell.worker.node_names = node_names;
    shell.worker.topology = &shell.topology;
    shell.topology.nodes_count = NODES;
    shell.database = (struct core_database){.name = "app",
                                            .level = ROUTER_LEVEL_SESSION,
                                            .pool_mode = 1, /* transaction */
                                            .fallback_allowed = true,
                                            .reads = &shell.reads,
                                            .max_lag_ns = UINT64_C(60) * 1000000000,
                                            .routes = shell.routes};
    shell.group = (struct core_group){.database = &shell.database, .user = "u"};
    shell.answer = (struct core_login_answer){.auth = CORE_AUTH_TRUST, .group = &shell.group};
    for (uint8_t n = 0; n < NODES; n++) {
        const bool is_primary = n == 0;
        shell.topology.nodes[n] =
            (struct router_node){.role = is_primary ? ROUTER_ROLE_PRIMARY : ROUTER_ROLE_REPLICA,
                                 .weight_permille = is_primary ? 0 : 1000,
                                 .fresh_as_of_ns = shell.now_ns};
        for (uint32_t i = 0; i < BACKENDS; i++) {
            core_backend_init(&shell.backends[n][i], &shell.worker, n, !is_primary, shell.now_ns,
                              NULL);
            shell.idle[n][shell.idle_count[n]++] = &shell.backends[n][i];
        }
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        core_session_init(&shell.peers[i].session, &shell.worker, &shell.peers[i]);
        execute(&shell.peers[i],
                core_client_data(&shell.peers[i].session,
                                 (struct proto_span){start_up, sizeof(start_up)}, shell.now_ns));
        require(shell.peers[i].session.phase == CORE_QUERY, "the log-in failed");
    }
}

static void stop(void)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        execute(&shell.peers[i], core_client_gone(&shell.peers[i].session, shell.now_ns));
        core_session_deinit(&shell.peers[i].session);
    }
    for (uint32_t n = 0; n < NODES; n++)
        for (uint32_t i = 0; i < BACKENDS; i++)
            core_backend_deinit(&shell.backends[n][i]);
    require(shell.worker.blocks_out == 0, "a block was not given back");
    core_group_deinit(&shell.worker, &shell.group);
    core_worker_deinit(&shell.worker);
}

/* ---- the load ---- */

/* From here on a request of `size` bytes at the server is this one. */
static void set_warm(struct proto_span request, size_t size)
{
    static uint8_t reply[256];
    struct proto_writer w = proto_writer_make(reply, sizeof(reply));
    answer(request, &w);
    shell.warm_size = size;
    shell.warm_reply = proto_writer_span(&w);
}

/* The texts differ in a literal of always the same length. */
static void run_simple(uint64_t transactions)
{
    static uint8_t bytes[100][128];
    struct proto_span requests[100];
    char text[128];
    for (uint32_t i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof(text), "SELECT abalance FROM pgbench_accounts WHERE aid = %u;",
                       100000 + i * 7919);
        struct proto_writer w = proto_writer_make(bytes[i], sizeof(bytes[i]));
        proto_write_query(&w, span_of(text));
        requests[i] = proto_writer_span(&w);
    }
    set_warm(requests[0], requests[0].size);
    for (uint64_t i = 0; i < transactions; i++)
        exchange(&shell.peers[i % CLIENTS], requests[i % 100], shell.warm_reply.size);
}

/* One Parse a client, then Bind, Describe, Execute, Sync in one piece, as libpq sends them. */
static void run_prepared(uint64_t transactions)
{
    static const char text[] = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;";
    /* no formats, one parameter of six bytes, one result format */
    static const uint8_t rest[] = {0,   0,   0,   1,   0,   0, 0, 6, '1',
                                   '2', '3', '4', '5', '6', 0, 1, 0, 0};
    uint8_t prepare[256];
    uint8_t request[256];
    struct proto_writer p = proto_writer_make(prepare, sizeof(prepare));
    proto_write_parse(&p, span_of("P_0"), span_of(text), span_of(""));
    proto_write_sync(&p);
    for (uint32_t i = 0; i < CLIENTS; i++)
        exchange(&shell.peers[i], proto_writer_span(&p), 5 + 6); /* '1', 'Z' */

    struct proto_writer r = proto_writer_make(request, sizeof(request));
    proto_write_bind(&r, span_of(""), span_of("P_0"), (struct proto_span){rest, sizeof(rest)});
    proto_write_describe(&r, 'P', span_of(""));
    proto_write_execute(&r, span_of(""), 0);
    proto_write_sync(&r);
    set_warm(proto_writer_span(&r), r.size + CORE_SERVER_NAME_SIZE - strlen("P_0"));
    for (uint64_t i = 0; i < transactions; i++)
        exchange(&shell.peers[i % CLIENTS], proto_writer_span(&r), shell.warm_reply.size);
    require(shell.asked_size == shell.warm_size, "the server was asked something else");
}

int main(int argc, char **argv)
{
    if (argc != 3 || (strcmp(argv[1], "simple") != 0 && strcmp(argv[1], "prepared") != 0)) {
        (void)fprintf(stderr, "usage: core_instructions simple|prepared TRANSACTIONS\n");
        return 2;
    }
    const uint64_t transactions = strtoull(argv[2], NULL, 10);
    start();
    if (argv[1][0] == 's')
        run_simple(transactions);
    else
        run_prepared(transactions);
    require(shell.ended >= transactions, "not every transaction was seen to end");
    require(shell.worker.counters.retries == 0, "something was sent twice");
    stop();
    return 0;
}
