/* SPDX-License-Identifier: PostgreSQL
 *
 * core_shape: see the header. All of it is cold: a description is looked at once for each name and
 * for each statement of a backend.
 */
#include "core_shape.h"

#include "core_internal.h"
#include "core_stmt.h"

enum {
    NOTHING = 1,      /* half a number: no columns, or no parameters; it will never have any */
    COLUMN_SIZE = 18, /* behind its name */
    COLUMN_TYPE = 6,  /* its table and its number there may differ: the server compares neither */
    COLUMN_FORMAT = 16,
    OUTSTANDING_MAX = 256, /* replies, to look through */
};

/* ---- numbers ---- */

static uint32_t known(uint32_t h)
{
    return h > NOTHING ? h : h + NOTHING + 1;
}

/* What PostgreSQL compares of a result: names, types, their sizes and modifiers. */
static uint32_t hash_columns(struct proto_span body)
{
    uint32_t h = core_hash(CORE_HASH_START, (struct proto_span){.base = body.base, .size = 2});
    for (size_t pos = 2; pos < body.size;) {
        const uint8_t *end = memchr(body.base + pos, 0, body.size - pos);
        const size_t name_size = end != NULL ? (size_t)(end - body.base) - pos + 1 : 0;
        if (end == NULL || body.size - pos - name_size < COLUMN_SIZE)
            return known(
                core_hash(h, core_span_skip(body, pos))); /* no protocol; the client will see */
        const uint8_t *column = end + 1;
        h = core_hash(h, (struct proto_span){.base = body.base + pos, .size = name_size});
        h = core_hash(h, (struct proto_span){.base = column + COLUMN_TYPE,
                                             .size = COLUMN_FORMAT - COLUMN_TYPE});
        pos += name_size + COLUMN_SIZE;
    }
    return known(h);
}

/* ParameterDescription or RowDescription. */
static uint32_t hash_of(uint8_t type, struct proto_span body)
{
    return type == 'T' ? hash_columns(body) : known(core_hash(CORE_HASH_START, body));
}

static bool half_differs(uint32_t told, uint32_t there)
{
    return told > NOTHING && there != 0 && told != there;
}

static bool half_lacks(uint32_t told, uint32_t there)
{
    return told > NOTHING && there == 0;
}

/* Of what both know. */
static bool differs(uint64_t told, uint64_t there)
{
    return half_differs((uint32_t)told, (uint32_t)there) ||
           half_differs((uint32_t)(told >> 32), (uint32_t)(there >> 32));
}

static bool lacks(uint64_t told, uint64_t there)
{
    return half_lacks((uint32_t)told, (uint32_t)there) ||
           half_lacks((uint32_t)(told >> 32), (uint32_t)(there >> 32));
}

static void put(uint64_t *shape, uint8_t type, uint32_t part)
{
    if (type == 't')
        *shape = (uint64_t)part << 32 | (uint32_t)*shape;
    else
        *shape = (*shape & ~(uint64_t)UINT32_MAX) | part;
}

/* ---- before a Bind ---- */

static void ask(struct core_session *s, struct core_stmt *stmt, struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_describe(&w, 'S', core_span(stmt->server_name));
    proto_write_flush(&w);
    core_sink_commit(&a->server, &w);
    struct core_expect *e = core_expect_push(s->backend, CORE_EXPECT_DESCRIBE, CORE_SWALLOW);
    e->shaped = true;
    e->stmt = core_stmt_hold(stmt);
    s->shape = CORE_SHAPE_ASKED;
    s->shape_asked = core_shape_id(stmt);
    s->worker->counters.shapes_asked++;
}

/* Does its Parse go just in front of what comes next? */
static bool is_new_there(struct core_backend *b, const struct core_stmt *stmt)
{
    const uint32_t count = core_expect_count(b);
    const struct core_expect *last = count > 0 ? core_expect_at(b, count - 1) : NULL;
    return last != NULL && last->kind == CORE_EXPECT_PARSE && last->stmt == stmt;
}

/* One from before a change could not even be asked: a server refuses its Describe too. */
bool core_shape_fits(struct core_session *s, uint64_t told, struct core_stmt *stmt,
                     struct core_actions *a)
{
    const uint64_t there = *core_lru_shape(s->backend);
    if (!differs(told, there) && !lacks(told, there))
        return true;
    if (s->shape_asked == core_shape_id(stmt)) {
        core_provoke(s, a, CORE_OWN_OTHER_SHAPE, core_span(""));
        return false;
    }
    if (!is_new_there(s->backend, stmt)) {
        core_inject_close(s, a, core_span(stmt->server_name), stmt);
        core_inject_named(s, a, stmt);
    }
    ask(s, stmt, a);
    return false;
}

static bool is_parse_of(const struct core_expect *e, const struct core_stmt *stmt)
{
    return e->kind == CORE_EXPECT_PARSE && e->stmt != NULL &&
           memcmp(e->stmt->digest, stmt->digest, CORE_DIGEST_SIZE) == 0;
}

/* Where very much is outstanding nobody looks: it is asked. */
static bool is_overtaken(const struct core_session *s, struct proto_span name,
                         const struct core_stmt *stmt)
{
    struct core_backend *b = s->backend;
    const uint32_t count = core_expect_count(b);
    bool is_told = false;
    for (uint32_t i = 0; i < count && count <= OUTSTANDING_MAX; i++) {
        const struct core_expect *e = core_expect_at(b, i);
        if (is_told && is_parse_of(e, stmt))
            return true;
        is_told |= e->shaped && e->name != NULL && core_text_equal(name, e->name);
    }
    return count > OUTSTANDING_MAX;
}

/* The answer comes behind that description: what it told is known then. */
bool core_shape_waits(struct core_session *s, struct proto_span name, struct core_stmt *stmt,
                      struct core_actions *a)
{
    if (s->shape_asked == core_shape_id(stmt) || !is_overtaken(s, name, stmt))
        return false;
    ask(s, stmt, a);
    return true;
}

bool core_shape_sends_binary(const struct proto_bind *bind)
{
    const struct proto_span rest = bind->rest;
    const size_t count = rest.size >= 2 ? (size_t)rest.base[0] << 8 | rest.base[1] : 0;
    for (size_t i = 0; i < count && 2 + 2 * (i + 1) <= rest.size; i++)
        if (rest.base[2 + 2 * i] != 0 || rest.base[3 + 2 * i] != 0)
            return true;
    return false;
}

bool core_shape_is_misfit(const struct core_expect *e, const char *sqlstate, const char *routine)
{
    return e->kind == CORE_EXPECT_BIND && e->foreign && strcmp(sqlstate, "08P01") == 0 &&
           strcmp(routine, "PortalSetResultFormat") == 0;
}

/* ---- a cancel meanwhile ---- */

void core_shape_cancel(struct core_session *s)
{
    struct core_backend *b = s->backend;
    if (s->shape != CORE_SHAPE_ASKED)
        return;
    for (uint32_t i = 0; i < core_expect_count(b); i++)
        if (core_expect_at(b, i)->action != CORE_SWALLOW)
            return; /* something of the client's runs: it is meant for that */
    s->cancelled = true;
}

bool core_shape_cancelled(struct core_session *s, struct core_actions *a)
{
    if (s->shape_asked == 0 || !s->cancelled)
        return false;
    core_provoke(s, a, core_own_cancelled(s), core_span(""));
    s->cancelled = CORE_CANCELLED_NOT;
    s->timed_out = false;
    s->shape_asked = 0;
    return true;
}

/* ---- descriptions ---- */

void core_shape_expect(struct core_session *s, struct core_stmt *stmt, struct proto_span name)
{
    struct core_backend *b = s->backend;
    struct core_expect *e = core_expect_at(b, core_expect_count(b) - 1);
    assert(e->kind == CORE_EXPECT_DESCRIBE);
    e->shaped = true;
    e->stmt = core_stmt_hold(stmt);
    e->name = core_copy_name(name);
    b->shaped_count++;
}

void core_shape_remember(struct core_session *s, struct proto_span name)
{
    free(s->shape_name);
    s->shape_name = core_copy_name(name);
    s->shape_tail = 0;
}

void core_shape_remember_cut(struct core_session *s, const struct proto_bind *bind, uint64_t told)
{
    if (bind->portal.size > 0 || !core_shape_is_new(told, *core_lru_shape(s->backend), false))
        return;
    core_shape_remember(s, bind->statement);
    s->shape_tail = s->backend->expect_tail + 2; /* behind the Bind and its Describe */
}

void core_shape_expect_portal(struct core_session *s, struct proto_span message)
{
    const struct proto_span name = core_span(s->shape_name);
    struct core_stmt *stmt = core_names_find(s->names, name);
    const bool other = s->shape_tail != 0 && s->shape_tail != s->backend->expect_tail;
    if (!other && stmt != NULL &&
        message.base[PROTO_HEADER_SIZE + 1] == '\0') /* the unnamed portal */
        core_shape_expect(s, core_stmt_under(s, stmt), name);
    free(s->shape_name);
    s->shape_name = NULL;
}

static bool is_same_text(const struct core_stmt *a, const struct core_stmt *b)
{
    return a->text_size == b->text_size && a->types_size == b->types_size &&
           memcmp(a->data, b->data, (size_t)a->text_size + 1 + a->types_size) == 0;
}

/* Is the statement about to be parsed again there, so that this is of the one before? Yes, as far
 * as anybody knows, where very much is outstanding: whoever needs to know will ask. */
static bool is_outdated(struct core_backend *b, const struct core_stmt *stmt)
{
    const uint32_t count = core_expect_count(b);
    if (count > OUTSTANDING_MAX)
        return true;
    for (uint32_t i = 1; i < count; i++) {
        if (is_parse_of(core_expect_at(b, i), stmt))
            return true;
    }
    return false;
}

static void record(struct core_backend *b, const struct core_expect *e, uint8_t type, uint32_t part)
{
    uint64_t *there = is_outdated(b, e->stmt) ? NULL : core_lru_shape_of(b, e->stmt->digest);
    if (there != NULL)
        put(there, type, part);
    if (e->name == NULL || b->session == NULL)
        return;
    uint64_t *told;
    const struct core_stmt *stmt =
        core_names_find_shape(b->session->names, core_span(e->name), &told);
    if (stmt != NULL && is_same_text(stmt, e->stmt)) /* not closed and given again since */
        put(told, type, part);
}

void core_shape_described(struct core_backend *b, uint8_t type, struct proto_span body)
{
    const struct core_expect *e = core_expect_head(b);
    const bool nothing = type == 'n' || (type == 't' && body.size <= 2);
    record(b, e, type, nothing ? NOTHING : hash_of(type, body));
    if (type != 't' && e->action == CORE_SWALLOW && b->session != NULL &&
        b->session->shape == CORE_SHAPE_ASKED)
        b->session->shape = CORE_SHAPE_ANSWERED;
}

/* ---- a replay ---- */

bool core_shape_repeats(struct core_backend *b, uint8_t type, struct proto_span body)
{
    static const uint32_t max = sizeof(((struct core_session *)NULL)->told) / sizeof(uint32_t);
    struct core_session *s = b->session;
    const struct core_expect *e = core_expect_head(b);
    if (e == NULL || e->action != CORE_FORWARD || core_splice_covers(e))
        return true;
    if (s->replay_swallow > 0) {
        const uint32_t i = s->told_again++;
        return i >= s->told_count || s->told[i] == hash_of(type, body);
    }
    if (s->told_count < max)
        s->told[s->told_count++] = hash_of(type, body);
    else
        s->rows_forwarded = true; /* more than can be compared */
    return true;
}
