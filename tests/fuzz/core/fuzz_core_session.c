/* SPDX-License-Identifier: PostgreSQL
 *
 * fuzz_core_session: the input drives one session and its backends, with bytes of a hostile client
 * and of hostile servers in any order. Whatever they send, no invariant of ours may break and
 * nothing may leak.
 *
 * The input is a list of steps: a byte that says which, and what the step needs.
 */
#include <stdlib.h>

#include "core.h"
#include "fuzz_core_hashes.h"
#include "fuzz_core_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NODES = 3, BACKENDS_MAX = 4 };

struct shell {
    struct core_worker worker;
    struct core_session session;
    struct core_backend *backends[BACKENDS_MAX];
    struct router_topology topology;
    struct core_database database;
    struct core_group group;
    struct core_catalog catalog;
    struct router_facts *facts;
    uint64_t changes, wishes, suspects;
    uint64_t routes[CORE_ROUTE_COUNTERS];
    uint64_t errors[CORE_ERROR_CLASSES];
    uint64_t global_write_ns;
    uint64_t pins_used;
    uint8_t reads;
    uint64_t now_ns;
    bool gone;
    bool tired; /* the session goes on when others were served */
    const uint8_t *in;
    size_t left;
    uint64_t writes_given, writes_sent; /* of the Query that is `a_write` */
    uint8_t client_tail[64];            /* the last bytes that the client sent */
    size_t client_tail_size;
};

/* A Query that no replica may see, but in a block that the client declared READ ONLY, and that is
 * never sent twice. */
static const struct proto_span a_write = BYTES("Q\0\0\0\x19INSERT INTO t SELECT\0");

/* ---- the input ---- */

static uint8_t take_byte(struct shell *sh)
{
    if (sh->left == 0)
        return 0;
    sh->left--;
    return *sh->in++;
}

static struct proto_span take_bytes(struct shell *sh)
{
    size_t size = take_byte(sh);
    size = size < sh->left ? size : sh->left;
    const struct proto_span span = {.base = sh->in, .size = size};
    sh->in += size;
    sh->left -= size;
    return span;
}

/* ---- the shell ---- */

static void forget(struct shell *sh, struct core_backend *b)
{
    for (uint32_t i = 0; i < BACKENDS_MAX; i++)
        if (sh->backends[i] == b)
            sh->backends[i] = NULL;
    core_backend_deinit(b);
    free(b);
}

static void check_spans(const struct core_sink *sink)
{
    volatile uint8_t sum = 0;
    size_t size = 0;
    for (uint32_t i = 0; i < sink->count; i++) {
        for (size_t j = 0; j < sink->spans[i].size; j++)
            sum = (uint8_t)(sum + sink->spans[i].base[j]);
        size += sink->spans[i].size;
    }
    assert(size == sink->size);
}

static uint64_t count_writes(const uint8_t *base, size_t size)
{
    uint64_t count = 0;
    for (size_t i = 0; i + a_write.size <= size; i++)
        count += memcmp(base + i, a_write.base, a_write.size) == 0;
    return count;
}

/* What the client has given, across the ends of its pieces. */
static void note_client(struct shell *sh, struct proto_span in)
{
    static uint8_t both[sizeof(sh->client_tail) + 65536];
    const size_t size = in.size < 65536 ? in.size : 65536;
    memcpy(both, sh->client_tail, sh->client_tail_size);
    if (size > 0)
        memcpy(both + sh->client_tail_size, in.base, size);
    const size_t all = sh->client_tail_size + size;
    sh->writes_given += count_writes(both, all);
    const size_t keep = all < a_write.size - 1 ? all : a_write.size - 1;
    memcpy(sh->client_tail, both + all - keep, keep);
    sh->client_tail_size = keep;
}

static void check_writes(struct shell *sh, const struct core_actions *a)
{
    static uint8_t bytes[CORE_SCRATCH_SIZE];
    size_t size = 0;
    for (uint32_t i = 0; i < a->server.count; i++) {
        const struct proto_span span = a->server.spans[i];
        if (span.size > sizeof(bytes) - size)
            return;
        memcpy(bytes + size, span.base, span.size);
        size += span.size;
    }
    const uint64_t count = count_writes(bytes, size);
    sh->writes_sent += count;
    assert(sh->writes_sent <= sh->writes_given);
    /* A server that says that a block is open is believed, and the session stays with it. One that
     * says behind our BEGIN READ ONLY that none is gets the rest of that batch: it is a replica. */
    assert(count == 0 || !a->backend->is_replica || sh->session.block != CORE_NO_BLOCK ||
           a->backend->status != 'I' ||
           sh->session.choice.reason == ROUTER_REASON_READ_ONLY_TRANSACTION);
}

static void gone(struct shell *sh);

static void execute(struct shell *sh, struct core_actions *a)
{
    for (;;) {
        struct core_session *s = &sh->session;
        struct core_backend *b = a->backend;
        check_spans(&a->server);
        check_spans(&a->client);
        assert(a->server.size == 0 || b != NULL);
        check_writes(sh, a);
        const bool again = a->again;
        const bool again_server = a->again_server;
        const bool tired = a->tired;
        const uint8_t close_client = a->close_client;
        const bool look_up = a->login_want_user;
        const bool proven = a->login_proven;
        assert(!a->signal || (s->signal == CORE_SIGNAL_ASKED && a->wish.pid > 1u << 22));
        if (a->close_backend != CORE_KEEP) {
            assert(b->session == NULL);
            forget(sh, b);
            b = NULL;
        } else if (a->release) {
            assert(b->session == NULL);
            if (!core_backend_idle(b) && !b->broken && b->session == NULL) {
                a = core_backend_reset(b);
                check_spans(&a->server);
            }
        }
        if (close_client != CORE_KEEP) {
            gone(sh);
            return;
        }
        if (look_up) {
            const struct core_login_answer answer = {.auth = CORE_AUTH_TRUST, .group = &sh->group};
            a = core_login_user(s, &answer, sh->now_ns);
        } else if (proven) {
            a = core_login_admit(s, &sh->group, NULL, sh->now_ns);
        } else if (tired) {
            sh->tired = true;
            return;
        } else if (again_server && b != NULL) {
            a = core_server_data(b, (struct proto_span){0}, sh->now_ns);
        } else if (again) {
            a = core_resume(s, sh->now_ns);
        } else {
            return;
        }
    }
}

static void goes_on(struct shell *sh)
{
    struct core_session *s = &sh->session;
    sh->tired = false;
    sh->worker.work = 0;
    if (s->backend != NULL && s->backend->hold != NULL)
        execute(sh, core_server_data(s->backend, (struct proto_span){0}, sh->now_ns));
    if (!sh->gone)
        execute(sh, core_resume(s, sh->now_ns));
    if (!sh->gone)
        execute(sh, core_client_drained(s, sh->now_ns));
}

static void drained(struct core_backend *b)
{
    if (b->hold != NULL) /* that its client was too tired for */
        (void)core_server_data(b, (struct proto_span){0}, 1);
    if (core_backend_drained(b))
        (void)core_backend_reset(b);
}

static void gone(struct shell *sh)
{
    if (sh->gone)
        return;
    sh->gone = true;
    assert(!core_client_lingers(&sh->session) || sh->session.hold != NULL);
    struct core_actions *a = core_client_gone(&sh->session, sh->now_ns);
    struct core_backend *b = a->backend;
    assert(sh->session.backend == NULL);
    if (a->close_backend != CORE_KEEP)
        forget(sh, b);
    else if (a->release && (!core_backend_idle(b) || b->tainted))
        (void)core_backend_reset(b);
    else if (a->drain)
        drained(b);
}

static struct core_backend *any_backend(struct shell *sh, uint8_t which)
{
    if (sh->session.backend != NULL && which < 0xc0)
        return sh->session.backend;
    return sh->backends[which % BACKENDS_MAX];
}

static void grant(struct shell *sh, uint8_t which)
{
    struct core_session *s = &sh->session;
    if (!s->waiting || s->choice.node == ROUTER_NODE_NONE)
        return;
    const uint8_t node = s->choice.node;
    struct core_backend **slot = &sh->backends[which % BACKENDS_MAX];
    if (*slot != NULL && (*slot)->node != node && (*slot)->session == NULL)
        forget(sh, *slot);
    if (*slot == NULL) {
        *slot = malloc(sizeof(**slot));
        if (*slot == NULL)
            abort();
        core_backend_init(*slot, &sh->worker, node, node != 0, sh->now_ns, NULL);
    }
    if ((*slot)->session == NULL && core_backend_idle(*slot))
        execute(sh, core_granted(s, *slot, sh->now_ns));
}

static void server_says(struct shell *sh, uint8_t which, struct proto_span bytes)
{
    struct core_backend *b = any_backend(sh, which);
    if (b == NULL)
        return;
    const bool unbegun = sh->session.backend == b && sh->session.unbegun;
    struct core_actions *a = core_server_data(b, bytes, sh->now_ns);
    if (unbegun && sh->session.backend == NULL && sh->session.hold != NULL) {
        /* what was to reset the connection in front has failed: the server skips what came behind
         * it, and another connection gets that */
        const struct proto_span held = core_block_span(sh->session.hold);
        sh->writes_given += count_writes(held.base, held.size);
    }
    execute(sh, a);
    for (uint32_t i = 0; i < BACKENDS_MAX; i++)
        if (sh->backends[i] == b && b->session == NULL && b->broken)
            forget(sh, b);
}

static void client_repeats(struct shell *sh, struct proto_span message, uint32_t times)
{
    for (uint32_t i = 0; i < times && !sh->gone; i++) {
        note_client(sh, message);
        execute(sh, core_client_data(&sh->session, message, sh->now_ns));
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* One of the messages, or one of the texts, in either protocol. */
static void client_says_one(struct shell *sh, uint8_t which, uint32_t times)
{
    uint8_t bytes[256];
    const size_t nth = which % (COUNT(client_says) + 2 * COUNT(client_texts));
    if (nth < COUNT(client_says)) {
        client_repeats(sh, client_says[nth], times);
        return;
    }
    const char *text = client_texts[(nth - COUNT(client_says)) / 2];
    const struct proto_span span = {.base = (const uint8_t *)text, .size = strlen(text)};
    struct proto_writer w = proto_writer_make(bytes, sizeof(bytes));
    if ((nth - COUNT(client_says)) % 2 == 0)
        proto_write_query(&w, span);
    else
        proto_write_parse(&w, (struct proto_span){0}, span, (struct proto_span){0});
    client_repeats(sh, proto_writer_span(&w), times);
}

/* A server that does what is expected of it, up to its next ReadyForQuery. */
static void server_answers(struct shell *sh, uint8_t how)
{
    static const struct proto_span parsed = BYTES("1\0\0\0\4");
    static const struct proto_span bound = BYTES("2\0\0\0\4");
    static const struct proto_span closed = BYTES("3\0\0\0\4");
    static const struct proto_span described = BYTES("T\0\0\0\6\0\0");
    static const struct proto_span complete = BYTES("C\0\0\0\x0dSELECT 1\0");
    static const struct proto_span parameters = BYTES("t\0\0\0\6\0\0");
    static const struct proto_span statuses[] = {BYTES("Z\0\0\0\5I"), BYTES("Z\0\0\0\5T"),
                                                 BYTES("Z\0\0\0\5E")};
    for (int i = 0; i < 64 && !sh->gone; i++) {
        struct core_backend *b = sh->session.backend;
        if (b == NULL || b->expect_head == b->expect_tail)
            return;
        const struct core_expect *e = &b->expect[b->expect_head & (b->expect_capacity - 1)];
        const uint8_t kind = e->kind;
        struct proto_span says = complete;
        if (kind == CORE_EXPECT_PARSE)
            says = parsed;
        else if (kind == CORE_EXPECT_BIND)
            says = bound;
        else if (kind == CORE_EXPECT_CLOSE)
            says = closed;
        else if (kind == CORE_EXPECT_DESCRIBE)
            says = (how & 4) != 0 && !e->seen_t ? parameters : described;
        else if (kind == CORE_EXPECT_SYNC || (kind == CORE_EXPECT_QUERY && i % 2 == 1))
            says = statuses[how % 3];
        server_says(sh, 0, says);
        if (says.base[0] == 'Z')
            return;
    }
}

/* One of a server's messages, with one byte of it wrong. */
static void server_errs(struct shell *sh)
{
    uint8_t bytes[256];
    const struct proto_span right = servers_say[take_byte(sh) % COUNT(servers_say)];
    assert(right.size <= sizeof(bytes));
    memcpy(bytes, right.base, right.size);
    bytes[take_byte(sh) % right.size] ^= take_byte(sh);
    server_says(sh, 0, (struct proto_span){bytes, right.size});
}

/* The client asks for a cancel; it is on its way to the server until cancels_end(). */
static void cancel(struct shell *sh)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57014", .message = "cancelled"};
    struct core_session *s = &sh->session;
    switch (core_cancel(s)) {
    case CORE_CANCEL_NOTHING:
        break;
    case CORE_CANCEL_WAIT:
        execute(sh, core_refused(s, &error, sh->now_ns));
        break;
    case CORE_CANCEL_SERVER:
        s->backend->cancels = 1;
        break;
    case CORE_CANCEL_SIGNAL:
        execute(sh, core_signalled(s, CORE_SIGNAL_CANCELLED, sh->now_ns));
        break;
    }
}

static void cancels_end(struct shell *sh, bool may_come)
{
    for (uint32_t i = 0; i < BACKENDS_MAX; i++) {
        struct core_backend *b = sh->backends[i];
        if (b == NULL || b->cancels == 0)
            continue;
        b->cancels = 0;
        b->broken = b->broken || may_come;
        if (b->session != NULL)
            execute(sh, core_client_drained(b->session, sh->now_ns));
        else if (b->broken)
            forget(sh, b);
    }
}

static void turn_topology(struct shell *sh, uint8_t how)
{
    struct router_node *n = &sh->topology.nodes[how % NODES];
    n->breaker = how & 0x10 ? BREAKER_OPEN : BREAKER_CLOSED;
    n->fresh_as_of_ns = how & 0x20 ? 0 : sh->now_ns;
    execute(sh, core_redecide(&sh->session, sh->now_ns));
}

static void wait_fails(struct shell *sh, uint8_t how)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57P03", .message = "no"};
    static const struct proto_error_text fatal = {
        .severity = "FATAL", .sqlstate = "28000", .message = "no"};
    struct core_actions *a = how > 200 ? core_turned_away(&sh->session, sh->now_ns) : NULL;
    if (a == NULL)
        a = core_refused(&sh->session, how > 240 ? &fatal : &error, sh->now_ns);
    execute(sh, a);
}

static void step(struct shell *sh)
{
    struct core_session *s = &sh->session;
    const uint8_t op = take_byte(sh);
    sh->now_ns += 1000;
    if (sh->tired && op % 2 == 0)
        goes_on(sh);
    if (sh->gone)
        return;
    switch (op % 14) {
    case 0:
        client_repeats(sh, take_bytes(sh), 1);
        break;
    case 10:
        server_answers(sh, op / 14);
        break;
    case 11:
        server_errs(sh);
        break;
    case 12:
        cancel(sh);
        break;
    case 13:
        cancels_end(sh, op > 128);
        break;
    case 1:
        server_says(sh, op, take_bytes(sh));
        break;
    case 2:
        grant(sh, op / 14);
        break;
    case 3:
        execute(sh, op > 128 ? core_unended(s, sh->now_ns) : core_client_drained(s, sh->now_ns));
        break;
    case 4: {
        struct core_backend *b = any_backend(sh, op);
        if (b != NULL)
            execute(sh, core_server_lost(b, sh->now_ns));
        break;
    }
    case 5:
        if (s->waiting)
            wait_fails(sh, op);
        break;
    case 6:
    case 7: {
        const uint8_t which = take_byte(sh);
        client_says_one(sh, which, op > 240 ? 40 : 1);
        break;
    }
    case 8:
        server_says(sh, 0, servers_say[take_byte(sh) % COUNT(servers_say)]);
        break;
    default: {
        const uint8_t how = op / 14 * 3 + take_byte(sh);
        if (s->signal == CORE_SIGNAL_ASKED || how == 255) /* ... or waits no more */
            execute(sh, core_signalled(s, CORE_SIGNAL_DONE + how % 5, sh->now_ns));
        else
            turn_topology(sh, how);
        break;
    }
    }
}

#define NAME(text)             \
    {                          \
        text, sizeof(text) - 1 \
    }

/* What the words name. */
static void set_up_names(struct shell *sh)
{
    static const struct router_fact facts[] = {
        {ROUTER_FACT_FUNCTION, ROUTER_FACT_THERE, NAME("f")},
        {ROUTER_FACT_FUNCTION, ROUTER_FACT_THERE | ROUTER_FACT_RUNS | ROUTER_FACT_HOME,
         NAME("runs")},
        {ROUTER_FACT_FUNCTION, ROUTER_FACT_THERE | ROUTER_FACT_RUNS | ROUTER_FACT_OPAQUE,
         NAME("opaque")},
        {ROUTER_FACT_RELATION, ROUTER_FACT_THERE | ROUTER_FACT_OUTSIDE | ROUTER_FACT_WRITE_OPAQUE,
         NAME("foreign_table")},
        {ROUTER_FACT_RELATION, ROUTER_FACT_THERE, NAME("t")},
    };
    static const char *const settings[] = {"a.b"};
    sh->facts = router_facts_create(facts, COUNT(facts), settings, 1);
    if (sh->facts == NULL)
        abort();
    sh->catalog = (struct core_catalog){.facts = sh->facts,
                                        .changes = &sh->changes,
                                        .wishes = &sh->wishes,
                                        .suspects = &sh->suspects};
    sh->group.catalog = &sh->catalog;
}

/* Levels come by SET, too. */
static void set_up_database(struct shell *sh, uint8_t kind)
{
    struct core_database *d = &sh->database;
    if (kind == 1)
        d->pool_mode = CORE_POOL_STATEMENT;
    else if (kind == 2)
        d->pool_mode = CORE_POOL_SESSION;
    else if (kind == 3)
        d->level = ROUTER_LEVEL_EVENTUAL;
    else if (kind == 4)
        d->level = ROUTER_LEVEL_BOUNDED;
    else if (kind == 5)
        d->level = ROUTER_LEVEL_GLOBAL;
    else if (kind == 6)
        d->level = ROUTER_LEVEL_PRIMARY;
    else if (kind == 7)
        d->keeps_sequences = true;
    d->global_write_ns = &sh->global_write_ns;
    d->errors = sh->errors;
    sh->group.pins_used = &sh->pins_used;
    sh->group.pins_max = kind == 4 ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[ROUTER_KEY_SIZE] = {1, 2, 3};
    static const char *const names[] = {"n0", "n1", "n2"};
    struct shell *sh = calloc(1, sizeof(*sh));
    if (sh == NULL || size == 0)
        goto out;
    sh->in = data;
    sh->left = size;
    sh->now_ns = 1000000000;
    const struct core_limits limits = {.statement_max = data[0] & 1 ? 4096 : 200,
                                       .retry_keep = 4096,
                                       .prepared_max = data[0] & 2 ? 2 : 50,
                                       .names_size_max = data[0] & 2 ? 1000 : 100000,
                                       .hold_max = 65536};
    if (!core_worker_init(&sh->worker, &limits, 64, key, 7))
        abort();
    if (data[size - 1] % 2 != 0) /* somebody is tired after each message */
        sh->worker.work_share = 0;
    sh->worker.hashes = &hashes;
    sh->worker.node_names = names;
    sh->worker.topology = &sh->topology;
    sh->topology.nodes_count = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        sh->topology.nodes[i] =
            (struct router_node){.role = i == 0 ? ROUTER_ROLE_PRIMARY : ROUTER_ROLE_REPLICA,
                                 .weight_permille = i == 0 ? 0 : 1000,
                                 .fresh_as_of_ns = sh->now_ns};
    sh->database = (struct core_database){.name = "d",
                                          .level = ROUTER_LEVEL_SESSION,
                                          .pool_mode = 1,
                                          .fallback_allowed = true,
                                          .reads = &sh->reads,
                                          .until_write = (data[0] & 16) != 0,
                                          .routes = sh->routes};
    sh->group = (struct core_group){.database = &sh->database, .user = "u"};
    set_up_database(sh, data[0] >> 5);
    sh->database.isolates = (data[0] & 1) != 0;
    if ((data[0] & 2) != 0)
        set_up_names(sh);
    core_session_init(&sh->session, &sh->worker, NULL);
    sh->session.cancel_pid = 5000001;
    if ((data[0] & 12) == 8) /* a start-up packet is refused, SSLRequest is not */
        sh->session.tls = CORE_TLS_REQUIRED;
    (void)take_byte(sh);
    if (data[0] & 4) { /* past the log-in */
        static const struct proto_span start = BYTES("\0\0\0\x10\0\3\0\0user\0u\0\0");
        client_repeats(sh, start, 1);
        grant(sh, 0);
        execute(sh, core_client_drained(&sh->session, sh->now_ns));
    }
    while (sh->left > 0 && !sh->gone)
        step(sh);
    gone(sh);
    while (sh->left > 0) { /* what it left behind goes on talking */
        const uint8_t which = take_byte(sh);
        server_says(sh, which, take_bytes(sh));
        if (sh->backends[which % BACKENDS_MAX] != NULL)
            drained(sh->backends[which % BACKENDS_MAX]);
    }
    core_session_deinit(&sh->session);
    for (uint32_t i = 0; i < BACKENDS_MAX; i++)
        if (sh->backends[i] != NULL)
            forget(sh, sh->backends[i]);
    for (uint32_t i = 0; i < NODES; i++)
        assert(sh->worker.loads[i].in_flight == 0);
    assert(sh->worker.blocks_out == 0);
    core_group_deinit(&sh->worker, &sh->group);
    core_worker_deinit(&sh->worker);
    if (sh->facts != NULL)
        router_facts_destroy(sh->facts);
out:
    free(sh);
    return 0;
}
