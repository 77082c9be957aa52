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
    uint64_t asked_size;
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

/* ---- what the shell does ---- */

static struct core_actions *execute_once(struct peer *p, struct core_actions *a)
{
    struct core_session *s = &p->session;
    struct core_backend *b = a->backend;
    if (a->server.size > 0) {
        shell.asked = b;
        shell.asked_size = a->server.size;
    }
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

/* A request of a client's and the server's answer to it; the backend is idle again afterwards. */
static void exchange(struct peer *p, struct proto_span request, struct proto_span reply)
{
    const uint64_t taken = p->taken;
    shell.now_ns += 20000;
    execute(p, core_client_data(&p->session, request, shell.now_ns));
    require(shell.asked != NULL, "nothing was sent to a server");
    require(p->taken == taken, "the client was answered by the proxy");
    shell.now_ns += 80000;
    execute(p, core_server_data(shell.asked, reply, shell.now_ns));
    require(p->taken == taken + reply.size, "the client got something else");
    require(p->session.backend == NULL, "the backend was not released");
    shell.asked = NULL;
}

/* ---- life ---- */

static void start(void)
{
    static const uint8_t key[ROUTER_KEY_SIZE] = {7};
    static const uint8_t start_up[] = {0,   0,   0,   16,  0, 3,   0, 0,
                                       'u', 's', 'e', 'r', 0, 'u', 0, 0};
    const struct core_limits limits = {.statement_max = 256 * 1024,
                                       .retry_keep = 64 * 1024,
                                       .prepared_max = 200,
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
    for (struct core_profile *p = shell.group.profiles, *next; p != NULL; p = next) {
        next = p->next;
        free(p->settings);
        free(p->welcome);
        free(p);
    }
    core_worker_deinit(&shell.worker);
}

/* ---- the load ---- */

static struct proto_span row_of(struct proto_writer *w, bool prepared)
{
    static const char *const column[] = {"abalance"};
    const struct proto_span value = span_of("-1234");
    if (prepared)
        proto_write_bind_complete(w);
    proto_write_row_description(w, column, 1);
    proto_write_data_row(w, &value, 1);
    proto_write_command_complete(w, "SELECT 1");
    proto_write_ready(w, 'I');
    return proto_writer_span(w);
}

static void run_simple(uint64_t transactions)
{
    uint8_t question[256];
    uint8_t answer[256];
    char text[128];
    struct proto_writer reply = proto_writer_make(answer, sizeof(answer));
    const struct proto_span row = row_of(&reply, false);
    for (uint64_t i = 0; i < transactions; i++) {
        (void)snprintf(text, sizeof(text), "SELECT abalance FROM pgbench_accounts WHERE aid = %llu;",
                       (unsigned long long)(i * 7919 % 1000000 + 1));
        struct proto_writer request = proto_writer_make(question, sizeof(question));
        proto_write_query(&request, span_of(text));
        exchange(&shell.peers[i % CLIENTS], proto_writer_span(&request), row);
    }
}

/* One Parse a client, then Bind, Describe, Execute, Sync in one piece, as libpq sends them. */
static void run_prepared(uint64_t transactions)
{
    static const char text[] = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;";
    /* no formats, one parameter of one byte, one result format */
    static const uint8_t rest[] = {0, 0, 0, 1, 0, 0, 0, 1, '7', 0, 1, 0, 0};
    uint8_t question[256];
    uint8_t answer[256];
    struct proto_writer prepare = proto_writer_make(question, sizeof(question));
    proto_write_parse(&prepare, span_of("P_0"), span_of(text), span_of(""));
    proto_write_sync(&prepare);
    struct proto_writer prepared = proto_writer_make(answer, sizeof(answer));
    proto_write_parse_complete(&prepared);
    proto_write_ready(&prepared, 'I');
    for (uint32_t i = 0; i < CLIENTS; i++)
        exchange(&shell.peers[i], proto_writer_span(&prepare), proto_writer_span(&prepared));

    struct proto_writer request = proto_writer_make(question, sizeof(question));
    proto_write_bind(&request, span_of(""), span_of("P_0"),
                     (struct proto_span){rest, sizeof(rest)});
    proto_write_describe(&request, 'P', span_of(""));
    proto_write_execute(&request, span_of(""), 0);
    proto_write_sync(&request);
    struct proto_writer reply = proto_writer_make(answer, sizeof(answer));
    const struct proto_span row = row_of(&reply, true);
    uint64_t name_size = CORE_SERVER_NAME_SIZE - strlen("P_0");
    for (uint64_t i = 0; i < transactions; i++)
        exchange(&shell.peers[i % CLIENTS], proto_writer_span(&request), row);
    require(shell.asked_size == request.size + name_size, "the server was asked something else");
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
