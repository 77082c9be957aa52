/* SPDX-License-Identifier: PostgreSQL
 *
 * core_life: sessions and backends begin and end; attaching, detaching; the proxy's own errors.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_base.h"
#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_left.h"
#include "core_login.h"
#include "core_pin.h"
#include "core_settings.h"
#include "core_shape.h"
#include "core_stmt.h"

/* ---- life ---- */

bool core_worker_init(struct core_worker *w, const struct core_limits *limits,
                      uint32_t cache_entries, const uint8_t key[ROUTER_KEY_SIZE], uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->limits = *limits;
    w->random = seed | 1;
    w->cache = router_cache_create(cache_entries, key);
    w->work_share = CORE_WORK_SHARE;
    if (w->cache != NULL)
        router_cache_count_work(w->cache, &w->work);
    w->stmts = core_stmts_create();
    w->actions.server.scratch = malloc(CORE_SCRATCH_SIZE);
    w->actions.client.scratch = malloc(CORE_SCRATCH_SIZE);
    return core_settings_init(w) && core_lefts_init(w) && w->cache != NULL && w->stmts != NULL &&
           w->actions.server.scratch != NULL && w->actions.client.scratch != NULL;
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
    core_settings_deinit(w);
    core_lefts_deinit(w);
    assert(w->bases == NULL); /* a reference leaked */
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
    s->floor_node = s->avoid_node = s->sick_node = ROUTER_NODE_NONE;
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
    core_move_over(s);
    core_follow_deinit(s);
    core_base_release(s->worker, s->base);
    s->base = NULL;
    if (s->profile != NULL)
        core_profile_release(s->worker, s->profile);
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
    core_block_give(b->worker, &b->preflight_error);
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
    b->sequence_foreign = b->sequence_foreign || (b->sequence_moved && b->last_session_id != s->id);
    core_follow_attach(s);
}

void core_detach(struct core_session *s)
{
    struct core_backend *b = s->backend;
    assert(b != NULL && b->session == s);
    core_follow_detach(s);
    core_deallocate_detach(s);
    core_lend_detach(s);
    core_shape_forget(s);
    if (s->left_unknown)
        core_left_forget(s);
    b->last_session_id = s->id;
    b->session = NULL;
    s->backend = NULL;
}

bool core_backend_idle(const struct core_backend *b)
{
    return !b->broken && !b->resetting && !b->draining && !b->fatal_seen && b->status == 'I' &&
           core_expect_count(b) == 0 && b->body_left == 0 && b->hold == NULL && b->cancels == 0;
}

/* ---- errors of our own ---- */

static uint32_t class_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0');
    return c >= 'A' && c <= 'Z' ? (uint32_t)(c - 'A') + 10 : 36;
}

uint32_t core_error_class(const char *sqlstate)
{
    const uint32_t first = class_digit(sqlstate[0]);
    const uint32_t second = first < 36 ? class_digit(sqlstate[1]) : 36;
    return second < 36 ? first * 36 + second : CORE_ERROR_CLASSES;
}

void core_count_error(const struct core_session *s, const char *sqlstate)
{
    const uint32_t class = core_error_class(sqlstate);
    uint64_t *errors = s->group != NULL ? s->group->database->errors : NULL;
    if (errors != NULL && class < CORE_ERROR_CLASSES)
        __atomic_store_n(&errors[class], errors[class] + 1, __ATOMIC_RELAXED); /* one writer */
}

void core_timed_out(struct core_session *s)
{
    s->timed_out = true;
    core_shape_cancel(s);
}

void core_write_error(struct core_session *s, const struct proto_error_text *text,
                      struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_error(&w, text);
    core_sink_commit(&a->client, &w);
    s->worker->counters.errors_made++;
    core_count_error(s, text->sqlstate);
}

static uint8_t ready_status(const struct core_session *s)
{
    if (s->block == CORE_FAILED)
        return 'E';
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

void core_fatal_text(struct core_session *s, const struct proto_error_text *text,
                     struct core_actions *a)
{
    if (s->phase == CORE_DOOMED)
        return;
    /* half a message was forwarded: its stream cannot be repaired with another message */
    const struct core_backend *b = s->backend;
    if (b == NULL || (!b->linked && (b->body_left == 0 || b->body_swallow)))
        core_write_error(s, text, a);
    if (s->phase != CORE_QUERY) {
        a->login_failed = true;
        (void)snprintf(a->login_sqlstate, sizeof(a->login_sqlstate), "%s", text->sqlstate);
        if (s->login != NULL)
            (void)snprintf(s->login->refusal, sizeof(s->login->refusal), "%s", text->message);
    }
    s->phase = CORE_DOOMED;
    a->close_client = CORE_CLOSE_AFTER_FLUSH;
}

void core_fatal(struct core_session *s, const char *sqlstate, const char *message, const char *hint,
                struct core_actions *a)
{
    const struct proto_error_text text = {
        .severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint};
    core_fatal_text(s, &text, a);
}

struct core_actions *core_client_fatal(struct core_session *s, const struct proto_error_text *error)
{
    struct core_actions *a = core_actions_begin(s->worker);
    core_fatal_text(s, error, a);
    return a;
}
