/* SPDX-License-Identifier: PostgreSQL
 *
 * sim: the loop. `sim SEED` replays one seed; without arguments a fixed set of seeds runs, with
 * `--seeds FIRST COUNT` others.
 * `sim --canary KIND` breaks the shell on purpose (swap, twice, stale, cancel, told, settings,
 * shape): it succeeds when that is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core_internal.h"
#include "core_stmt.h"
#include "sim.h"

enum { SEEDS = 3000, STEPS = 12000, STEPS_QUIET = 400000 };

struct sim sim;
static jmp_buf on_failure;
static bool canary;
static int traced = -2;
static uint64_t total_counters[10];

static uint64_t routes[CORE_ROUTE_COUNTERS];

uint64_t sim_random(void)
{
    uint64_t z = sim.random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t sim_below(uint32_t below)
{
    return (uint32_t)(sim_random() % below);
}

void sim_fail(const char *format, ...)
{
    va_list args;
    if (canary)
        longjmp(on_failure, 1);
    va_start(args, format);
    fprintf(stderr, "seed %lu, step %lu: ", (unsigned long)sim.seed, (unsigned long)sim.step);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void sim_trace(int client, const char *who, struct proto_span bytes)
{
    if (client != traced)
        return;
    printf("%6lu %s", (unsigned long)sim.step, who);
    for (size_t i = 0; i < bytes.size && i < 400; i++)
        putchar(bytes.base[i] >= ' ' && bytes.base[i] < 0x7f ? bytes.base[i] : '.');
    putchar('\n');
}

/* ---- queues ---- */

void sim_queue_add(struct sim_queue *q, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    if (q->start == q->size)
        q->start = q->size = 0;
    if (q->size + size > q->capacity) {
        q->capacity = (q->size + size) * 2;
        q->base = realloc(q->base, q->capacity);
        if (q->base == NULL)
            abort();
    }
    memcpy(q->base + q->size, bytes, size);
    q->size += size;
}

void sim_queue_drop(struct sim_queue *q, size_t size)
{
    q->start += size;
}

void sim_queue_clear(struct sim_queue *q)
{
    q->start = q->size = 0;
}

/* ---- hashes that are none ---- */

static void fake_sha256(const uint8_t *data, size_t size, uint8_t ret[32])
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 1099511628211u;
    for (uint32_t i = 0; i < 32; i++) {
        h = (h ^ i) * 1099511628211u;
        ret[i] = (uint8_t)(h >> 32);
    }
}

static const struct proto_hashes hashes = {.sha256 = fake_sha256};

/* ---- what may happen ---- */

static struct sim_client *client_of(struct sim_conn *c)
{
    return c->core.session != NULL ? c->core.session->shell : NULL;
}

static size_t piece(size_t size)
{
    if (sim_chance(50) || size <= 1)
        return size;
    return 1 + sim_below((uint32_t)(size < 40 || sim_chance(50) ? size : 40));
}

static void forget_shapes(struct sim_client *c)
{
    static const char *const names[SIM_TABLES] = {"t", "u"};
    uint64_t *shape;
    for (int i = 0; i < SIM_TABLES; i++)
        if (core_names_find_shape(c->core.names, core_span(names[i]), &shape) != NULL)
            *shape = 0;
}

static void client_to_core(struct sim_client *c)
{
    static uint8_t copy[1 << 20];
    if (!c->open || core_client_paused(&c->core))
        return;
    const size_t size = sim_queue_size(&c->to_core);
    if (size == 0)
        return;
    const size_t part = piece(size);
    assert(part <= sizeof(copy));
    memcpy(copy, sim_queue_span(&c->to_core).base, part);
    sim_trace(c->index, "client  > ", (struct proto_span){copy, part});
    if (sim.broken == SIM_BREAK_SHAPE)
        forget_shapes(c);
    sim_queue_drop(&c->to_core, part);
    sim_execute(c, core_client_data(&c->core, (struct proto_span){copy, part}, sim.now_ns));
    memset(copy, 0xee, part);
}

static void core_to_client(struct sim_client *c)
{
    const size_t size = sim_queue_size(&c->to_client);
    if (size == 0)
        return;
    const size_t part = piece(size);
    sim_queue_add(&c->received, sim_queue_span(&c->to_client).base, part);
    sim_queue_drop(&c->to_client, part);
    if (!c->open) {
        sim_client_check(c);
        return;
    }
    c->core.client_pending = sim_queue_size(&c->to_client);
    sim_client_check(c);
    if (c->core.client_pending == 0 && c->settle) {
        c->settle = false;
        sim_execute(c, core_client_drained(&c->core, sim.now_ns));
    }
}

static void server_to_core(struct sim_conn *c)
{
    static uint8_t copy[1 << 20];
    const size_t size = sim_queue_size(&c->out);
    struct sim_client *client = client_of(c);
    if (size == 0) {
        if (!c->dead)
            return;
        while (client != NULL && client->tired) /* what it said comes before its end */
            sim_client_goes_on(client);
        if (c->open && client_of(c) == client)
            sim_execute(client, core_server_lost(&c->core, sim.now_ns));
        return;
    }
    const size_t part = piece(size);
    assert(part <= sizeof(copy));
    memcpy(copy, sim_queue_span(&c->out).base, part);
    sim_trace(c->owner, c->node > 0 ? "replica < " : "primary < ", (struct proto_span){copy, part});
    sim_queue_drop(&c->out, part);
    sim_execute(client, core_server_data(&c->core, (struct proto_span){copy, part}, sim.now_ns));
    memset(copy, 0xee, part);
    if (!c->open || c->core.session != NULL)
        return;
    sim_unattended(c);
}

static void match(void)
{
    for (int i = 0; i < sim.waiters_count; i++) {
        struct sim_client *c = &sim.clients[sim.waiters[i]];
        const uint8_t node = c->core.choice.node;
        if (node == ROUTER_NODE_NONE)
            continue;
        struct sim_conn *conn = sim_conn_find(node);
        if (conn == NULL)
            continue;
        conn->pooled = conn->said = false;
        conn->owner = c->index;
        sim_wait_remove(c);
        sim_execute(c, core_granted(&c->core, &conn->core, sim.now_ns));
        return; /* the list may be another one now */
    }
}

static void refuse(void)
{
    static const struct proto_error_text error = {
        .severity = "ERROR", .sqlstate = "57P03", .message = "sim refuses"};
    static const struct proto_error_text fatal = {
        .severity = "FATAL", .sqlstate = "57P03", .message = "sim refuses"};
    if (!sim.refuse || sim.quiet || sim.waiters_count == 0)
        return;
    struct sim_client *c = &sim.clients[sim.waiters[sim_below((uint32_t)sim.waiters_count)]];
    if (c->refusable && c->logged_in)
        sim_execute(c, core_refused(&c->core, &error, sim.now_ns));
    else if (sim_chance(5))
        sim_execute(c, core_refused(&c->core, &fatal, sim.now_ns));
}

static void publish(void)
{
    for (uint32_t i = 0; i < SIM_NODES; i++) {
        struct router_node *n = &sim.topology.nodes[i];
        if (sim_chance(50) || sim.quiet)
            n->fresh_as_of_ns = sim.nodes[i].position_ns;
        n->breaker = sim.nodes[i].up ? BREAKER_CLOSED : BREAKER_OPEN;
        if (!sim.quiet && i > 0) {
            n->drained = sim_chance(5);
            n->gate = sim_chance(5) ? BREAKER_GATE_LAGGING : BREAKER_GATE_OPEN;
        } else {
            n->drained = false;
            n->gate = BREAKER_GATE_OPEN;
        }
        if (sim.broken == SIM_BREAK_STALE && i > 0)
            n->fresh_as_of_ns = sim.now_ns;
    }
    sim.topology.generation++;
    for (int i = 0; i < sim.clients_count; i++)
        if (sim.clients[i].open && sim.clients[i].core.waiting)
            sim_execute(&sim.clients[i], core_redecide(&sim.clients[i].core, sim.now_ns));
}

static void replicate(uint32_t node)
{
    const uint64_t behind_ns = sim_below(3) == 0 ? 0 : sim_below(600000);
    const uint64_t to_ns = sim.now_ns > behind_ns ? sim.now_ns - behind_ns : 0;
    if (to_ns > sim.nodes[node].position_ns)
        sim.nodes[node].position_ns = to_ns;
}

static void fault(void)
{
    struct sim_conn *c = &sim.conns[sim_below(SIM_CONNS_MAX)];
    if (sim_chance(70)) {
        if (c->open)
            sim_server_die(c);
        return;
    }
    const uint32_t node = sim_below(SIM_NODES);
    sim.nodes[node].up = !sim.nodes[node].up;
    if (sim.nodes[node].up)
        return;
    for (int i = 0; i < SIM_CONNS_MAX; i++)
        if (sim.conns[i].open && sim.conns[i].node == node)
            sim_server_die(&sim.conns[i]);
}

/* It closes its socket at once; the shell sees that behind its last byte. */
static void say_goodbye(struct sim_client *c)
{
    sim_queue_add(&c->to_core, "X\0\0\0\4", 5);
    sim_queue_clear(&c->received);
    c->core.client_pending = 0;
    if (c->settle) {
        c->settle = false;
        sim_execute(c, core_client_drained(&c->core, sim.now_ns));
    }
}

static void leave(struct sim_client *c)
{
    if (!c->open)
        return;
    if (c->goodbye) {
        c->lingers = c->lingers || sim_queue_size(&c->to_core) == 0;
        if (c->lingers && !core_client_lingers(&c->core))
            sim_client_close(c);
        return;
    }
    if (c->finished && sim_queue_size(&c->to_core) == 0) {
        if (sim_chance(50))
            sim_execute(c, core_client_data(&c->core,
                                            (struct proto_span){(const uint8_t *)"X\0\0\0\4", 5},
                                            sim.now_ns));
        else
            sim_client_close(c);
    } else if (sim.vanish && !sim.quiet && sim_chance(2)) {
        c->lost = true;
        sim_queue_clear(&c->to_client);
        c->goodbye = c->logged_in && sim_chance(50);
        if (c->goodbye)
            say_goodbye(c);
        else
            sim_client_close(c);
    }
}

/* What became of a signal, some time later. */
static void signalled(struct sim_client *c)
{
    if (c->open && c->core.signal == CORE_SIGNAL_ASKED && sim_chance(30))
        sim_execute(c, core_signalled(&c->core, sim_signal_of(c->signal), sim.now_ns));
}

/* It sends more, or has not done so for some milliseconds. */
static void client_pauses(struct sim_client *c)
{
    if (c->open && c->tired && sim_chance(50)) {
        sim_client_goes_on(c);
        return;
    }
    if (!c->open || !c->unended || !sim_chance(20)) {
        client_to_core(c);
        return;
    }
    c->unended = false;
    c->cut_until = c->units_sent;
    sim_execute(c, core_unended(&c->core, sim.now_ns));
}

static void one_step(void)
{
    struct sim_client *c = &sim.clients[sim_below((uint32_t)sim.clients_count)];
    struct sim_conn *conn = &sim.conns[sim_below(SIM_CONNS_MAX)];
    sim.now_ns += 1 + sim_below(2000);
    sim.step++;
    if (sim_chance(30))
        sim.worker.work = 0; /* another turn */
    sim_table_alter();
    signalled(c);
    if (conn->open) {
        if (sim_chance(50) && (sim_queue_size(&conn->in) > 0 || conn->slow || conn->cancelled))
            sim_server_read(conn, piece(sim_queue_size(&conn->in)));
        else
            server_to_core(conn);
    }
    if (sim_chance(20))
        sim_cancel_arrive(conn);
    const uint32_t what = sim_below(sim.quiet ? 40 : 42);
    if (what < 10)
        sim_client_send(c);
    else if (what < 20)
        client_pauses(c);
    else if (what < 28)
        core_to_client(c);
    else if (what < 34)
        match();
    else if (what < 35)
        publish();
    else if (what < 37)
        replicate(1 + sim_below(SIM_NODES - 1));
    else if (what < 38)
        refuse();
    else if (what < 40)
        leave(c);
    else if (what < 41)
        sim_cancel_ask(c);
    else if (sim.faults && sim_chance(sim.fault_percent))
        fault();
}

/* ---- one seed ---- */

static bool all_gone(void)
{
    for (int i = 0; i < sim.clients_count; i++)
        if (sim.clients[i].open)
            return false;
    for (int i = 0; i < SIM_CONNS_MAX; i++)
        if (sim.conns[i].open && sim.conns[i].draining)
            return false;
    return true;
}

static void check_rest(void)
{
    for (int i = 0; i < sim.clients_count; i++) {
        sim_client_audit(&sim.clients[i]);
        sim_client_free(&sim.clients[i]);
    }
    for (int i = 0; i < SIM_CONNS_MAX; i++)
        if (sim.conns[i].open) {
            if (!sim.conns[i].pooled && !sim.conns[i].resetting && !sim.conns[i].draining)
                sim_fail("a server connection was never given back");
            sim_conn_free(&sim.conns[i]);
        }
    for (uint32_t i = 0; i < SIM_NODES; i++)
        if (sim.worker.loads[i].in_flight != 0)
            sim_fail("node %u has %u statements in flight for ever", i,
                     sim.worker.loads[i].in_flight);
    if (sim.worker.blocks_out != 0)
        sim_fail("%u blocks were never given back", sim.worker.blocks_out);
}

static void count_up(void)
{
    const struct core_counters *k = &sim.worker.counters;
    const uint64_t now[] = {k->batches,         k->retries,         k->learned,
                            k->preflights,      k->misroutes,       k->parses_injected,
                            k->closes_injected, k->begins_deferred, k->blocks_moved,
                            k->shapes_asked};
    for (size_t i = 0; i < sizeof(now) / sizeof(now[0]); i++)
        total_counters[i] += now[i];
}

static void start(uint64_t seed)
{
    static const uint8_t key[ROUTER_KEY_SIZE] = {3, 1, 4};
    static const char *const names[] = {"n0", "n1", "n2"};
    const enum sim_break broken = sim.broken;
    memset(&sim, 0, sizeof(sim));
    sim.broken = broken;
    sim.seed = sim.random = seed;
    sim.now_ns = 1000000000;
    sim.faults = sim_chance(60);
    sim.fault_percent = 1 + sim_below(30);
    sim.vanish = sim_chance(50);
    sim.refuse = sim_chance(30);
    sim.small_keep = sim_chance(20);
    sim.cancels = sim_chance(40);
    sim.alters = sim_chance(40);
    sim.budget = 2 + sim_below(5);
    sim.clients_count = 2 + (int)sim_below(SIM_CLIENTS_MAX - 1);
    const struct core_limits limits = {.statement_max = SIM_STATEMENT_MAX,
                                       .retry_keep = sim.small_keep ? 200 : 65536,
                                       .prepared_max = sim_chance(30) ? 2 : 50,
                                       .names_size_max = 1 << 20,
                                       .hold_max = 65536};
    if (!core_worker_init(&sim.worker, &limits, 256, key, seed))
        abort();
    if (sim_chance(50)) /* whoever has done this much in a turn is tired */
        sim.worker.work_share = sim_below(sim_chance(50) ? 1 : 10000);
    sim.worker.hashes = &hashes;
    sim.worker.node_names = names;
    sim.worker.topology = &sim.topology;
    sim.topology.nodes_count = SIM_NODES;
    for (uint32_t i = 0; i < SIM_NODES; i++) {
        sim.nodes[i] = (struct sim_node){.up = true, .position_ns = sim.now_ns};
        sim.topology.nodes[i] =
            (struct router_node){.role = i == 0 ? ROUTER_ROLE_PRIMARY : ROUTER_ROLE_REPLICA,
                                 .weight_permille = i == 0 ? 0 : 1000,
                                 .fresh_as_of_ns = sim.now_ns};
    }
    /* a client may keep its server for ever: then there must be one for each */
    const bool session_pooling = sim_chance(10);
    if (session_pooling) {
        sim.clients_count = sim.clients_count < 8 ? sim.clients_count : 8;
        sim.budget = (uint32_t)sim.clients_count;
    }
    if (sim_chance(30))
        sim.topology.nodes[0].weight_permille = 300;
    sim.database = (struct core_database){.name = "d",
                                          .level = ROUTER_LEVEL_SESSION,
                                          .pool_mode = session_pooling ? 0 : 1,
                                          .fallback_allowed = true,
                                          .reads = &sim.reads,
                                          .routes = routes};
    sim.database.until_write = sim_chance(40);
    sim.group = (struct core_group){.database = &sim.database, .user = "user"};
    for (int i = 0; i < sim.clients_count; i++) {
        sim_client_start(&sim.clients[i], i);
        core_session_init(&sim.clients[i].core, &sim.worker, &sim.clients[i]);
    }
}

static void finish(void)
{
    check_rest();
    count_up();
    core_group_deinit(&sim.worker, &sim.group);
    core_worker_deinit(&sim.worker);
}

static void report_stuck(void)
{
    for (int i = 0; i < sim.clients_count; i++) {
        const struct sim_client *c = &sim.clients[i];
        if (c->open)
            fprintf(stderr,
                    "client %d: phase %u, unit %d of %d (sent %d), waits %d node %u, backend %d, "
                    "expects %u, hold %u, emitting %d streaming %d skipping %d copy_in %d\n",
                    i, c->core.phase, c->units_done, c->units_count, c->units_sent, c->core.waiting,
                    c->core.choice.node, c->core.backend != NULL,
                    c->core.backend != NULL
                        ? c->core.backend->expect_tail - c->core.backend->expect_head
                        : 0,
                    c->core.hold != NULL ? c->core.hold->size - c->core.hold->start : 0,
                    c->core.emitting, c->core.streaming, c->core.skipping, c->core.copy_in);
    }
    sim_fail("not everybody comes to an end");
}

static void run(uint64_t seed, uint64_t steps)
{
    start(seed);
    while (sim.step < steps && !all_gone())
        one_step();
    sim.quiet = true;
    for (uint32_t i = 0; i < SIM_NODES; i++)
        sim.nodes[i].up = true;
    while (!all_gone()) {
        one_step();
        if (sim.step > steps + STEPS_QUIET)
            report_stuck();
    }
    finish();
}

static int run_canary(const char *kind)
{
    static const char *const kinds[] = {"",       "swap", "twice",    "stale",
                                        "cancel", "told", "settings", "shape"};
    volatile uint64_t seed = 1;
    canary = true;
    for (enum sim_break b = SIM_BREAK_SWAP; b < SIM_BREAKS; b++)
        if (strcmp(kind, kinds[b]) == 0)
            sim.broken = b;
    for (; seed <= 1000; seed++) {
        if (setjmp(on_failure) != 0) {
            printf("the canary was seen at seed %lu\n", (unsigned long)seed);
            fflush(stdout);
            _Exit(0); /* what that seed had allocated is not looked for */
        }
        run(seed, STEPS);
    }
    fprintf(stderr, "nobody saw the canary\n");
    return 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--canary") == 0)
        return run_canary(argv[2]);
    if (argc > 3 && strcmp(argv[1], "--seeds") == 0) {
        const uint64_t first = strtoull(argv[2], NULL, 10);
        for (uint64_t seed = first; seed < first + strtoull(argv[3], NULL, 10); seed++)
            run(seed, STEPS);
    } else if (argc > 1) {
        traced = argc > 3 ? (int)strtol(argv[3], NULL, 10) : -2;
        run(strtoull(argv[1], NULL, 10), argc > 2 ? strtoull(argv[2], NULL, 10) : STEPS);
        printf("seed %s: fine after %lu steps\n", argv[1], (unsigned long)sim.step);
    } else {
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            run(seed, STEPS);
    }
    printf("batches %lu, retries %lu, learned %lu, preflights %lu, misroutes %lu, parses injected "
           "%lu, closes injected %lu, deferred %lu, moved %lu, shapes asked %lu\n",
           total_counters[0], total_counters[1], total_counters[2], total_counters[3],
           total_counters[4], total_counters[5], total_counters[6], total_counters[7],
           total_counters[8], total_counters[9]);
    return 0;
}
