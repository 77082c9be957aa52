/* SPDX-License-Identifier: PostgreSQL
 *
 * core_session: the way of a client's bytes. Frame a batch, decide, get a backend, send, wait for
 * the replies, release.
 *
 * Happy path: core_client_data -> run -> next -> core_want; core_granted -> run -> core_emit;
 * core_server_data (core_relay.c) -> core_flight_over; core_client_drained -> core_release.
 * Failure modes: core_refused (no backend), core_server_lost (replay or FATAL), core_client_gone.
 */
#include <stdlib.h>

#include "core_internal.h"

/* ---- life ---- */

bool core_worker_init(struct core_worker *w, const struct core_limits *limits,
                      uint32_t cache_entries, const uint8_t key[ROUTER_KEY_SIZE], uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->limits = *limits;
    w->random = seed | 1;
    w->cache = router_cache_create(cache_entries, key);
    w->stmts = core_stmts_create();
    w->actions.server.scratch = malloc(CORE_SCRATCH_SIZE);
    w->actions.client.scratch = malloc(CORE_SCRATCH_SIZE);
    return w->cache != NULL && w->stmts != NULL && w->actions.server.scratch != NULL &&
           w->actions.client.scratch != NULL;
}

void core_worker_deinit(struct core_worker *w)
{
    core_blocks_recycle(w);
    while (w->free_blocks != NULL) {
        struct core_block *block = w->free_blocks;
        w->free_blocks = block->next;
        free(block);
    }
    router_cache_destroy(w->cache);
    core_stmts_destroy(w->stmts);
    free(w->actions.server.scratch);
    free(w->actions.client.scratch);
}

void core_session_init(struct core_session *s, struct core_worker *w, void *shell)
{
    memset(s, 0, sizeof(*s));
    s->worker = w;
    s->shell = shell;
    s->id = ++w->next_id;
    s->level = ROUTER_LEVEL_SESSION;
    s->level_local = 0xff;
    s->floor_node = s->avoid_node = ROUTER_NODE_NONE;
    s->last_route.node = ROUTER_NODE_NONE;
    s->last_route.lag_ms = -1;
}

void core_session_deinit(struct core_session *s)
{
    assert(s->backend == NULL && !s->waiting);
    core_pin_drop(s);
    core_block_give(s->worker, &s->hold);
    core_block_give(s->worker, &s->kept);
    core_block_give(s->worker, &s->unnamed);
    core_names_clear(s);
    core_login_free(s);
    free(s->begin_text);
    s->begin_text = NULL;
    if (s->profile != NULL)
        core_profile_release(s->profile);
    s->profile = NULL;
}

void core_backend_init(struct core_backend *b, struct core_worker *w, uint8_t node, bool is_replica,
                       uint64_t now_ns, void *shell)
{
    *b = (struct core_backend){.worker = w,
                               .shell = shell,
                               .node = node,
                               .is_replica = is_replica,
                               .opened_ns = now_ns,
                               .status = 'I'};
}

void core_backend_deinit(struct core_backend *b)
{
    assert(b->session == NULL);
    while (core_expect_count(b) > 0)
        core_expect_pop(b);
    core_block_give(b->worker, &b->hold);
    free(b->expect);
    free(b->stmts);
    free(b->params);
    b->expect = NULL;
    b->stmts = NULL;
    b->params = NULL;
}

void core_attach(struct core_session *s, struct core_backend *b)
{
    assert(s->backend == NULL && b->session == NULL);
    assert(core_backend_idle(b));
    s->backend = b;
    b->session = s;
}

void core_detach(struct core_session *s)
{
    struct core_backend *b = s->backend;
    assert(b != NULL && b->session == s);
    b->last_session_id = s->id;
    b->session = NULL;
    s->backend = NULL;
}

bool core_backend_idle(const struct core_backend *b)
{
    return !b->broken && !b->resetting && !b->fatal_seen && b->status == 'I' &&
           core_expect_count(b) == 0 && b->body_left == 0 && b->hold == NULL && b->cancels == 0;
}

/* ---- errors of our own ---- */

static void write_error(struct core_session *s, const struct proto_error_text *text,
                        struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_error(&w, text);
    core_sink_commit(&a->client, &w);
    s->worker->counters.errors_made++;
}

static uint8_t ready_status(const struct core_session *s)
{
    if (s->backend != NULL)
        return s->backend->status;
    return s->block == CORE_DEFERRED ? 'T' : 'I';
}

void core_ready_write(struct core_session *s, struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_ready(&w, ready_status(s));
    core_sink_commit(&a->client, &w);
}

static void fatal_text(struct core_session *s, const struct proto_error_text *text,
                       struct core_actions *a)
{
    if (s->phase == CORE_DOOMED)
        return;
    /* half a message was forwarded: its stream cannot be repaired with another message */
    if (s->backend == NULL || s->backend->body_left == 0 || s->backend->body_swallow)
        write_error(s, text, a);
    s->phase = CORE_DOOMED;
    a->close_client = CORE_CLOSE_AFTER_FLUSH;
}

void core_fatal(struct core_session *s, const char *sqlstate, const char *message, const char *hint,
                struct core_actions *a)
{
    const struct proto_error_text text = {
        .severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint};
    fatal_text(s, &text, a);
}

struct core_actions *core_client_fatal(struct core_session *s, const struct proto_error_text *error)
{
    struct core_actions *a = core_actions_begin(s->worker);
    fatal_text(s, error, a);
    return a;
}

/* ---- sending ---- */

bool core_is_bound(const struct core_session *s)
{
    return s->pin != ROUTER_REASON_NONE || s->block == CORE_OPEN || s->backend->status != 'I' ||
           s->unsynced || s->copy_in;
}

/* May the next batch go to the backend that the session has? */
static bool may_follow(const struct core_session *s, const struct router_class *class)
{
    const struct core_backend *b = s->backend;
    if (core_expect_count(b) >= CORE_EXPECT_MAX || (s->barrier && core_expect_count(b) > 0))
        return false;
    if (b->fatal_seen || (b->broken && !core_is_bound(s)))
        return false;
    if (core_is_bound(s))
        return true;
    if (b->settings_hash != s->profile->settings_hash)
        return false; /* after DISCARD ALL: its settings have to be sent again */
    if (!b->is_replica)
        return true;
    return class->verdict == ROUTER_VERDICT_READ;
}

/* What a batch changes about the session, at the moment its first byte leaves. */
static void start_batch(struct core_session *s, uint64_t now_ns)
{
    struct core_backend *b = s->backend;
    const struct router_class *class = &s->class;
    const bool read_only_block =
        s->block == CORE_OPEN || s->begin == ROUTER_BEGIN_READ_ONLY || s->default_read_only;
    assert(!b->is_replica || class->verdict == ROUTER_VERDICT_READ ||
           class->verdict == ROUTER_VERDICT_LOCAL || read_only_block || core_is_bound(s));
    const bool first = core_expect_count(b) == 0;
    if (class->writes && !b->is_replica) {
        if (!s->dirty_block)
            s->last_write_before_ns = s->last_write_ns;
        s->dirty_block = true;
        s->last_write_ns = ROUTER_NEVER_NS;
    }
    core_pin_take(s, class);
    if (s->group->database->pool_mode == CORE_POOL_SESSION && s->pin == ROUTER_REASON_NONE)
        s->pin = ROUTER_REASON_PINNED;
    b->tainted = b->tainted || class->taints;
    s->seed_set = s->seed_set || class->changes_seed;
    s->drops_statements = s->drops_statements || class->forgets_statements;
    s->unpins = class->unpins;
    s->rolls_back = class->rolls_back;
    if (class->forgets_statements || class->unpins ||
        (b->is_replica &&
         (class->ends || class->rolls_back || class->has_transaction || s->streaming)))
        s->barrier = true;
    const bool can_replay = class->verdict == ROUTER_VERDICT_READ && s->block == CORE_NO_BLOCK &&
                            s->pin == ROUTER_REASON_NONE && !s->streaming && b->status == 'I';
    if (first) {
        s->sent_ns = now_ns;
        s->forwarded = s->named_answered = 0;
        s->error_seen = false;
        s->replayable = can_replay;
        b->generation = s->worker->topology->nodes[b->node].generation;
        if (!s->in_flight)
            s->worker->loads[b->node].in_flight++;
        s->in_flight = true;
    } else if (!can_replay) {
        s->replayable = false;
    }
    s->batch_unnamed_id = s->unnamed_id;
    s->emitting = true;
    s->batch_left = s->streaming ? 0 : s->batch_size;
    s->worker->counters.batches++;
}

static void keep(struct core_session *s, struct proto_span bytes)
{
    if (!s->replayable)
        return;
    if (core_block_span(s->kept).size + bytes.size > s->worker->limits.retry_keep) {
        s->replayable = false;
        core_block_give(s->worker, &s->kept);
        return;
    }
    core_block_append(s->worker, &s->kept, bytes);
    s->kept_run += (uint32_t)bytes.size;
    const struct core_backend *b = s->backend;
    struct core_expect *last = &b->expect[(b->expect_tail - 1) & (b->expect_capacity - 1)];
    if (core_expect_count(b) > 0 && !s->emitting &&
        (last->kind == CORE_EXPECT_SYNC || last->kind == CORE_EXPECT_QUERY)) {
        last->kept_size = s->kept_run;
        s->kept_run = 0;
    }
}

void core_want(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    struct router_request request;
    core_request_fill(s, &s->class, &request);
    router_decide(w->topology, w->loads, &request, w->trial_ok, core_random(w), now_ns, &s->choice);
    if (s->choice.node == ROUTER_NODE_NONE && s->avoid_node != ROUTER_NODE_NONE) {
        request.avoid_node = s->avoid_node =
            ROUTER_NODE_NONE; /* a second time is better than none */
        router_decide(w->topology, w->loads, &request, w->trial_ok, core_random(w), now_ns,
                      &s->choice);
    }
    if (!s->waiting)
        s->waiting_since_ns = now_ns;
    s->waiting = true;
    a->want = true;
    a->probe = a->probe || s->choice.wants_probe;
}

static const char discard_all[] = "DISCARD ALL";

/* Brings the backend into the state that this session's settings ask for. The batch follows when
 * that was answered. */
static bool preflight(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool foreign = b->tainted && b->last_session_id != s->id;
    const bool settings = b->settings_hash != s->profile->settings_hash || foreign;
    if (!foreign && !settings)
        return false;
    struct proto_writer w = core_sink_writer(&a->server);
    if (foreign) {
        proto_write_query(&w, core_span(discard_all));
        (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
        core_lru_clear(b);
        b->tainted = false;
    }
    const char *text = s->profile->settings[0] != '\0' ? s->profile->settings : "RESET ALL";
    if (s->profile->settings[0] != '\0' || b->settings_hash != 0) {
        proto_write_query(&w, core_span(text));
        (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
    }
    core_sink_commit(&a->server, &w);
    b->unnamed_id = 0;
    b->settings_hash = s->profile->settings_hash;
    s->preflight = core_expect_count(b) > 0;
    s->worker->counters.preflights++;
    return s->preflight;
}

/* ---- deciding what is next ---- */

static void defer_begin(struct core_session *s, struct proto_span in, uint64_t now_ns,
                        struct core_actions *a)
{
    struct proto_span text;
    (void)proto_query_read(
        (struct proto_span){in.base + PROTO_HEADER_SIZE, s->batch_size - PROTO_HEADER_SIZE}, &text);
    s->begin_text = malloc(text.size + 1);
    if (s->begin_text == NULL)
        abort();
    memcpy(s->begin_text, text.base, text.size);
    s->begin_size = (uint32_t)text.size;
    s->begin = s->class.begin;
    s->block = CORE_DEFERRED;
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_TRANSACTION,
                     ROUTER_REASON_BEGIN, now_ns);
    struct router_lexer lexer = router_lexer_make((const char *)text.base, text.size);
    struct router_token word;
    do
        word = router_lexer_next(&lexer);
    while (word.kind == ROUTER_TOKEN_COMMENT || word.kind == ROUTER_TOKEN_SELF);
    const bool start = word.size == 5 && (text.base[word.start] | 0x20) == 's';
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_command_complete(&w, start ? "START TRANSACTION" : "BEGIN");
    core_sink_commit(&a->client, &w);
    core_ready_write(s, a);
}

/* COMMIT, ROLLBACK or another BEGIN in a block that no server knows of. True: answered. */
static bool answer_deferred(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    const struct router_class *c = &s->class;
    const char *tag = NULL;
    if (!c->alone)
        return false;
    if (c->begin != ROUTER_BEGIN_NONE) {
        const struct proto_error_text warning = {.severity = "WARNING",
                                                 .sqlstate = "25001",
                                                 .message =
                                                     "there is already a transaction in progress"};
        struct proto_writer w = core_sink_writer(&a->client);
        proto_write_error(&w, &warning);
        core_sink_commit(&a->client, &w);
        tag = "BEGIN";
    } else if (c->ends || c->rolls_back) {
        tag = c->ends ? "COMMIT" : "ROLLBACK";
        s->block = CORE_NO_BLOCK;
        s->begin = ROUTER_BEGIN_NONE;
        s->level_local = 0xff;
        free(s->begin_text);
        s->begin_text = NULL;
    } else {
        return false;
    }
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_TRANSACTION,
                     (enum router_reason)c->reason, now_ns);
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_command_complete(&w, tag);
    core_sink_commit(&a->client, &w);
    core_ready_write(s, a);
    return true;
}

static bool own_deallocate(const struct core_session *s, const struct core_batch *batch)
{
    return batch->simple && batch->class.alone && batch->detail.deallocate[0] != '\0' &&
           batch->class.reason == ROUTER_REASON_DEALLOCATE &&
           core_names_find(s->names, core_span(batch->detail.deallocate)) != NULL;
}

/* What can be learned from, if a replica refuses it: of all batches in flight. */
static void remember_hashes(struct core_session *s, const struct core_batch *batch)
{
    if (s->backend == NULL || core_expect_count(s->backend) == 0)
        s->hashes_count = 0;
    s->parse_hash = s->hashes_count; /* an unnamed Parse's is the batch's first */
    for (uint32_t i = 0; i < batch->hashes_count && s->hashes_count < CORE_HASHES_MAX; i++)
        s->hashes[s->hashes_count++] = batch->hashes[i];
}

/* A whole batch is at the front. Returns the bytes that were dealt with; 0 with s->emitting: send
 * it; 0 without: it has to wait. */
static size_t dispose(struct core_session *s, struct proto_span in, const struct core_batch *batch,
                      uint64_t now_ns, struct core_actions *a)
{
    s->class = batch->class;
    s->batch_size = batch->size;
    core_pin_ask(s);
    s->parse_class_valid = batch->parse_class_valid;
    if (s->group->database->pool_mode == CORE_POOL_SESSION) {
        s->class.verdict = ROUTER_VERDICT_WRITE; /* one backend for all it will do: the primary's */
        s->class.reason = ROUTER_REASON_PINNED;
    }
    if (batch->flushes && batch->binds && s->class.verdict == ROUTER_VERDICT_READ &&
        s->block == CORE_NO_BLOCK) {
        s->class.verdict = ROUTER_VERDICT_WRITE; /* what comes before its Sync is not known */
        s->class.reason = ROUTER_REASON_PIPELINED;
    }
    const bool answer =
        (batch->all_local && s->class.local != ROUTER_LOCAL_EMPTY) || own_deallocate(s, batch);
    if (s->backend != NULL) {
        const uint32_t owed = core_expect_count(s->backend);
        if (answer && (owed > 0 || s->backend->body_left > 0 || s->backend->fatal_seen))
            return 0; /* something is on its way to the client: nothing may come between */
        if (answer && !s->unsynced) {
            core_local_answer(s, in, batch, now_ns, a);
            return batch->size;
        }
        if (!may_follow(s, &s->class)) {
            if (owed == 0 && s->group->database->pool_mode == 0 && !core_is_bound(s) &&
                !s->backend->fatal_seen) {
                remember_hashes(s, batch);
                (void)preflight(s, a); /* its own again, after DISCARD ALL */
            }
            return 0;
        }
        if (owed > 0 && ((batch->names && s->names_in_flight) ||
                         (batch->drops_unnamed && s->unnamed_used && s->replayable)))
            return 0;
        if (batch->executes)
            core_route_attached(s, &s->class, now_ns);
        remember_hashes(s, batch);
        start_batch(s, now_ns);
        return 0;
    }
    if (answer || !batch->needs_server || batch->all_local) {
        core_local_answer(s, in, batch, now_ns, a);
        return batch->size;
    }
    if (s->block == CORE_DEFERRED) {
        if (batch->simple && answer_deferred(s, now_ns, a))
            return batch->size;
        if (s->class.set_read_only && s->begin == ROUTER_BEGIN_PLAIN)
            s->begin = ROUTER_BEGIN_READ_ONLY;
    } else if (batch->simple && s->class.alone && s->class.begin != ROUTER_BEGIN_NONE) {
        defer_begin(s, in, now_ns, a);
        return batch->size;
    }
    remember_hashes(s, batch);
    core_want(s, now_ns, a);
    return 0;
}

static size_t too_long(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    s->class = (struct router_class){.verdict = ROUTER_VERDICT_WRITE,
                                     .reason = ROUTER_REASON_TOO_LONG,
                                     .writes = true,
                                     .taints = true};
    s->streaming = true;
    s->batch_size = 0;
    s->parse_class_valid = false;
    s->hashes_count = 0;
    if (s->backend == NULL) {
        core_want(s, now_ns, a);
        return 0;
    }
    if (!may_follow(s, &s->class) ||
        (core_expect_count(s->backend) > 0 && (s->names_in_flight || s->unnamed_used))) {
        s->streaming = false;
        return 0;
    }
    core_route_attached(s, &s->class, now_ns);
    start_batch(s, now_ns);
    return 0;
}

/* A message that is forwarded or dropped as it is, whatever its size. */
static size_t stream_message(struct core_session *s, struct proto_span in, bool drop,
                             struct core_actions *a)
{
    struct proto_header h;
    const uint32_t max = proto_client_body_size_max(in.base[0]);
    if (max == UINT32_MAX) {
        core_fatal(s, "08P01", "invalid frontend message type", NULL, a);
        return in.size;
    }
    const enum proto_status status = proto_header_peek(in, max, &h);
    if (status == PROTO_MORE)
        return 0;
    if (status != PROTO_OK) {
        core_fatal(s, "08P01", "invalid message length", NULL, a);
        return in.size;
    }
    s->stream_left = PROTO_HEADER_SIZE + h.body_size;
    s->stream_drop = drop;
    return 0;
}

/* While the server copies in: everything goes there; Sync and Flush it would ignore. */
static size_t copy_message(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    const uint8_t type = in.base[0];
    const bool ignored = type == 'S' || type == 'H';
    const size_t taken = stream_message(s, in, ignored, a);
    if (s->stream_left > 0 && type != 'd' && !ignored)
        s->copy_in = false; /* CopyDone, CopyFail, or what fails the COPY */
    return taken;
}

static size_t next(struct core_session *s, struct proto_span in, uint64_t now_ns,
                   struct core_actions *a)
{
    const uint8_t type = in.base[0];
    if (type == 'X') {
        s->phase = CORE_DOOMED;
        a->close_client = CORE_CLOSE_NOW;
        return in.size;
    }
    if (s->copy_in)
        return copy_message(s, in, a);
    if (type == 'd' || type == 'c' || type == 'f') {
        if (s->backend != NULL && core_expect_count(s->backend) > 0)
            return 0;                          /* a COPY may be about to begin */
        return stream_message(s, in, true, a); /* late: it is over already */
    }
    if (s->skipping && type != 'S')
        return stream_message(s, in, true, a);

    struct core_batch batch;
    size_t taken;
    switch (core_batch_scan(s, in, &batch)) {
    case CORE_BATCH_MORE:
        return 0;
    case CORE_BATCH_TOO_LONG:
        return too_long(s, now_ns, a);
    case CORE_BATCH_WHOLE:
        s->skipping = false;
        taken = dispose(s, in, &batch, now_ns, a);
        if (taken > 0 && batch.simple) { /* as a server does at every Query */
            s->unnamed_id = 0;
            core_block_give(s->worker, &s->unnamed);
        }
        return taken;
    case CORE_BATCH_EBADLEN:
        core_fatal(s, "08P01", "invalid message length", NULL, a);
        break;
    case CORE_BATCH_EUNKNOWN:
        core_fatal(s, "08P01", "invalid frontend message type", NULL, a);
        break;
    case CORE_BATCH_EMALFORMED:
        core_fatal(s, "08P01", "invalid message format", NULL, a);
        break;
    }
    return in.size;
}

static size_t stream_part(struct core_session *s, struct proto_span in, struct core_actions *a)
{
    const size_t size = in.size < s->stream_left ? in.size : s->stream_left;
    if (!s->stream_drop && s->backend != NULL)
        core_sink_append(&a->server, (struct proto_span){.base = in.base, .size = size});
    s->stream_left -= (uint32_t)size;
    return size;
}

/* Takes what can be taken of the client's bytes. */
static size_t run(struct core_session *s, struct proto_span in, uint64_t now_ns,
                  struct core_actions *a)
{
    size_t pos = 0;
    while (pos < in.size && s->phase == CORE_QUERY && !s->waiting && !s->preflight) {
        const struct proto_span rest = core_span_skip(in, pos);
        if (core_sink_full(&a->server) || core_sink_full(&a->client)) {
            a->again = true;
            break;
        }
        size_t taken;
        if (s->stream_left > 0) {
            taken = stream_part(s, rest, a);
        } else if (s->emitting) {
            taken = core_emit(s, rest, a);
            keep(s, (struct proto_span){.base = rest.base, .size = taken});
            if (s->bad_message) {
                core_fatal(s, "08P01", "invalid frontend message in a long batch", NULL, a);
                break;
            }
            if (taken == 0 || a->again) {
                pos += taken;
                break;
            }
        } else {
            taken = next(s, rest, now_ns, a);
            if (taken == 0 && !s->emitting && s->stream_left == 0)
                break;
        }
        pos += taken;
    }
    struct core_backend *b = s->backend;
    if (b != NULL) {
        a->backend = b;
        if (!s->emitting && core_expect_count(b) == 0) {
            if (s->in_flight)
                core_flight_over(s, now_ns, a); /* nothing of it wanted a reply */
            a->settle = a->settle || pos > 0;
        }
    }
    return s->phase == CORE_DOOMED ? in.size : pos;
}

/* One span is left to be taken: what was held back, or what just came. */
void core_pump(struct core_session *s, struct proto_span in, uint64_t now_ns,
               struct core_actions *a)
{
    struct core_worker *w = s->worker;
    if (s->hold == NULL) {
        const size_t taken = run(s, in, now_ns, a);
        core_block_append(w, &s->hold, core_span_skip(in, taken));
        return;
    }
    core_block_append(w, &s->hold, in);
    const size_t taken = run(s, core_block_span(s->hold), now_ns, a);
    core_block_consume(w, &s->hold, (uint32_t)taken);
}

struct core_actions *core_client_data(struct core_session *s, struct proto_span in, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (s->phase == CORE_DOOMED)
        return a;
    if (s->phase != CORE_QUERY) {
        core_block_append(s->worker, &s->hold, in);
        core_login_data(s, now_ns, a);
        return a;
    }
    core_pump(s, in, now_ns, a);
    return a;
}

struct core_actions *core_resume(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (s->phase == CORE_QUERY && s->hold != NULL)
        core_pump(s, (struct proto_span){0}, now_ns, a);
    return a;
}

bool core_client_paused(const struct core_session *s)
{
    return s->hold != NULL && s->hold->size - s->hold->start > s->worker->limits.hold_max;
}

/* ---- backends come and go ---- */

struct core_actions *core_granted(struct core_session *s, struct core_backend *b, uint64_t now_ns)
{
    struct core_worker *w = s->worker;
    struct core_actions *a = core_actions_begin(w);
    assert(s->waiting);
    a->backend = b;
    struct router_request request;
    if (s->phase == CORE_QUERY && b->is_replica) {
        core_request_fill(s, &s->class, &request);
        if (router_refusal(w->topology, &request, b->node, now_ns) != ROUTER_REASON_NONE) {
            a->release = true; /* it was right when it was asked for, and is no longer */
            core_want(s, now_ns, a);
            return a;
        }
    }
    s->waiting = false;
    core_attach(s, b);
    if (preflight(s, a))
        return a;
    core_preflight_over(s, now_ns, a);
    return a;
}

void core_preflight_over(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    s->preflight = false;
    a->backend = s->backend;
    if (s->phase != CORE_QUERY) {
        core_login_welcome(s, a);
        a->settle = true;
        return;
    }
    struct core_backend *b = s->backend;
    enum router_reason reason = (enum router_reason)s->choice.reason;
    core_route_count(s, b->is_replica ? ROUTER_TARGET_REPLICA : ROUTER_TARGET_PRIMARY, b->node,
                     (enum router_verdict)s->class.verdict, reason, now_ns);
    if (s->class.verdict == ROUTER_VERDICT_READ && !b->is_replica)
        s->worker->counters.reads_missed++;
    if (s->class.verdict == ROUTER_VERDICT_WRITE && b->is_replica && s->block == CORE_NO_BLOCK)
        s->class.verdict = ROUTER_VERDICT_READ; /* route = replica lifted a doubt */
    start_batch(s, now_ns);
    core_pump(s, (struct proto_span){0}, now_ns, a);
}

bool core_may_release(const struct core_session *s)
{
    const struct core_backend *b = s->backend;
    return b != NULL && !b->fatal_seen && b->status == 'I' && core_expect_count(b) == 0 &&
           b->body_left == 0 && b->hold == NULL && b->cancels == 0 && s->client_pending == 0 &&
           !s->preflight && s->pin == ROUTER_REASON_NONE && s->block == CORE_NO_BLOCK &&
           !s->copy_in && s->stream_left == 0 && !s->emitting && !s->streaming && !s->unsynced &&
           s->syncs == 0;
}

void core_release(struct core_session *s, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    assert(core_may_release(s));
    assert(a->server.size == 0 && a->client.size == 0);
    core_detach(s);
    a->backend = b;
    a->release = !b->broken;
    a->close_backend = b->broken ? CORE_CLOSE_NOW : CORE_KEEP;
}

struct core_actions *core_client_drained(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    struct core_backend *b = s->backend;
    if (s->phase == CORE_DOOMED || b == NULL)
        return a;
    if (core_may_release(s))
        core_release(s, a);
    else if (core_expect_count(b) > 0)
        return a;
    if (s->hold != NULL && s->phase == CORE_QUERY)
        core_pump(s, (struct proto_span){0}, now_ns, a);
    a->backend = b;
    return a;
}

static void not_in_flight(struct core_session *s, uint8_t node)
{
    if (s->in_flight)
        s->worker->loads[node].in_flight--;
    s->in_flight = false;
}

void core_flight_over(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_worker *w = s->worker;
    struct core_backend *b = s->backend;
    assert(core_expect_count(b) == 0);
    if (s->in_flight) {
        const uint8_t node = b->node;
        const uint64_t sample_ns = now_ns > s->sent_ns ? now_ns - s->sent_ns : 1;
        router_load_observe(&w->loads[node], sample_ns, now_ns - w->loads_seen_ns[node]);
        w->loads_seen_ns[node] = now_ns;
        a->latency_ns = sample_ns;
        if (!a->has_outcome) {
            a->has_outcome = true;
            a->outcome_node = node;
            a->outcome = (struct breaker_outcome){.input = BREAKER_SUCCESS};
            a->outcome_generation = b->generation;
        }
    }
    not_in_flight(s, b->node);
    core_block_give(w, &s->kept);
    s->replayable = s->retried = s->replay_on_primary = s->barrier = false;
    s->names_in_flight = s->unnamed_used = s->rows_forwarded = false;
    s->kept_run = 0;
    s->replay_swallow = 0;
    s->avoid_node = ROUTER_NODE_NONE;
    a->settle = true;
}

static void forget_flight(struct core_session *s)
{
    s->syncs = 0;
    s->emitting = s->streaming = s->preflight = s->unsynced = s->executed = s->copy_in = false;
    s->names_in_flight = s->unnamed_used = s->rows_forwarded = false;
    s->barrier = s->error_seen = false;
    s->batch_left = s->kept_run = 0;
}

/* Before a replay: the names that were given already will be given again. */
static void forget_names(struct core_session *s)
{
    struct proto_span in = core_block_span(s->kept);
    struct proto_header h;
    struct proto_parse parse;
    while (s->named_answered > 0 && proto_header_peek(in, UINT32_MAX - 4, &h) == PROTO_OK) {
        const struct proto_span body = {.base = in.base + PROTO_HEADER_SIZE, .size = h.body_size};
        if (h.type == 'P' && proto_parse_read(body, &parse) == PROTO_OK && parse.name.size > 0) {
            struct core_stmt *stmt = core_names_remove(s, parse.name);
            if (stmt != NULL)
                core_stmt_release(s->worker, stmt);
            s->named_answered--;
        }
        in = core_span_skip(in, PROTO_HEADER_SIZE + (size_t)h.body_size);
    }
}

bool core_replay(struct core_session *s, uint8_t avoid_node, enum router_reason reason,
                 uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool learned = reason == ROUTER_REASON_LEARNED;
    if (learned ? s->replay_on_primary : s->retried)
        return false; /* once for each reason */
    if (!s->replayable || s->rows_forwarded || s->phase != CORE_QUERY || s->emitting ||
        s->stream_left > 0 || s->kept == NULL || b->body_left > 0)
        return false;
    not_in_flight(s, b->node);
    core_expect_undo(b, core_expect_count(b));
    forget_names(s);
    b->broken = true; /* what it still sends belongs to nobody */
    core_detach(s);
    forget_flight(s);
    s->retried = s->retried || !learned;
    s->replay_on_primary = s->replay_on_primary || learned;
    s->replay_swallow += s->forwarded;
    s->avoid_node = avoid_node;
    /* what was in flight goes in front of what came since */
    core_block_append(s->worker, &s->kept, core_block_span(s->hold));
    core_block_give(s->worker, &s->hold);
    s->hold = s->kept;
    s->kept = NULL;
    s->worker->counters.retries++;
    a->backend = b;
    a->close_backend = CORE_CLOSE_NOW;
    core_pump(s, (struct proto_span){0}, now_ns, a);
    a->backend = b;
    return true;
}

struct core_actions *core_redecide(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    if (s->waiting)
        core_want(s, now_ns, a);
    return a;
}

struct core_actions *core_refused(struct core_session *s, const struct proto_error_text *error,
                                  uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    assert(s->waiting);
    s->waiting = false;
    if (s->pin == ROUTER_REASON_NONE)
        core_pin_drop(s); /* it was counted for what is not sent */
    const bool ends_session = s->phase != CORE_QUERY || s->streaming || s->block == CORE_DEFERRED ||
                              s->replay_swallow > 0 || strcmp(error->severity, "FATAL") == 0;
    if (ends_session) {
        struct proto_error_text fatal = *error;
        fatal.severity = "FATAL";
        fatal_text(s, &fatal, a);
        return a;
    }
    write_error(s, error, a);
    struct proto_header last = {0};
    const struct proto_span in = core_block_span(s->hold);
    for (size_t pos = 0; pos < s->batch_size; pos += PROTO_HEADER_SIZE + last.body_size)
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &last);
    core_block_consume(s->worker, &s->hold, s->batch_size);
    s->retried = s->replay_on_primary = false;
    s->avoid_node = ROUTER_NODE_NONE;
    if (last.type == 'Q' || last.type == 'F' || last.type == 'S')
        core_ready_write(s, a);
    else
        s->skipping = true;
    if (s->hold != NULL)
        core_pump(s, (struct proto_span){0}, now_ns, a);
    return a;
}

struct core_actions *core_client_gone(struct core_session *s, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    (void)now_ns;
    a->cancel_want = s->waiting;
    s->waiting = false;
    s->phase = CORE_DOOMED;
    struct core_backend *b = s->backend;
    if (b == NULL)
        return a;
    a->backend = b;
    not_in_flight(s, b->node);
    const bool clean = !b->broken && !b->fatal_seen && !b->resetting && core_expect_count(b) == 0 &&
                       b->body_left == 0 && b->hold == NULL && b->cancels == 0 && !s->copy_in &&
                       s->stream_left == 0 && !s->emitting && !s->unsynced;
    if (!clean) {
        a->cancel_backend = core_expect_count(b) > 0 && !b->fatal_seen;
        while (core_expect_count(b) > 0)
            core_expect_pop(b);
        b->broken = true;
        a->close_backend = CORE_CLOSE_NOW;
    } else {
        b->pinned_left = s->pin != ROUTER_REASON_NONE;
        b->tainted = b->tainted || b->pinned_left;
        a->release = true; /* core_backend_reset() first, where it is not idle or is tainted */
    }
    core_detach(s);
    return a;
}

struct core_actions *core_backend_reset(struct core_backend *b)
{
    struct core_actions *a = core_actions_begin(b->worker);
    assert(b->session == NULL && core_expect_count(b) == 0);
    a->backend = b;
    struct proto_writer w = core_sink_writer(&a->server);
    if (b->status != 'I') {
        proto_write_query(&w, core_span("ROLLBACK"));
        (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
    }
    if (b->tainted) {
        proto_write_query(&w, core_span(discard_all));
        (void)core_expect_push(b, CORE_EXPECT_QUERY, CORE_SWALLOW);
        core_lru_clear(b);
        b->settings_hash = 0;
    }
    core_sink_commit(&a->server, &w);
    b->unnamed_id = 0;
    b->resetting = core_expect_count(b) > 0;
    return a;
}

void core_server_lost_for(struct core_session *s, uint64_t now_ns, struct core_actions *a)
{
    struct core_backend *b = s->backend;
    const bool running = core_expect_count(b) > 0 || s->emitting || s->stream_left > 0;
    const bool unsent = s->preflight && s->phase != CORE_DOOMED && !s->retried;
    const bool bound = core_is_bound(s);
    const bool told = b->fatal_seen && !s->preflight; /* by the server's own last words */
    const bool half = b->body_left > 0 && !b->body_swallow;
    not_in_flight(s, b->node);
    core_expect_undo(b, core_expect_count(b));
    if (unsent) { /* only our own settings were on their way: nothing of the client's was sent */
        const bool streaming = s->streaming;
        core_detach(s);
        forget_flight(s);
        s->streaming = streaming;
        s->retried = true;
        s->avoid_node = b->node;
        if (s->login != NULL)
            core_login_forget(s);
        core_want(s, now_ns, a);
        return;
    }
    if (!running && !bound && !half) {
        core_detach(s);
        forget_flight(s);
        if (s->hold != NULL && s->phase == CORE_QUERY)
            core_pump(s, (struct proto_span){0}, now_ns, a);
        return;
    }
    if (!told)
        core_fatal(
            s, "08006", "the connection to the server was lost",
            s->dirty_block ? "The outcome of the statement that was running is unknown." : NULL, a);
    s->phase = CORE_DOOMED;
    a->close_client = CORE_CLOSE_AFTER_FLUSH;
    core_detach(s);
    forget_flight(s);
}
