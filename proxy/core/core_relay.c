/* SPDX-License-Identifier: PostgreSQL
 *
 * core_relay: the way of a server's bytes. Each message answers the head of the queue of expected
 * replies, which says whether the client gets to see it.
 *
 * Failure modes: bytes that are no protocol (broken, FATAL to the client); an error that says "this
 * was no read" (learn, replay on the primary); a dying node's FATAL (replay elsewhere if nothing
 * that counts was forwarded).
 */
#include "core_catalog.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_left.h"
#include "core_pin.h"
#include "core_settings.h"
#include "core_shape.h"

enum { INSPECT_MAX = 16 * 1024 * 1024 }; /* an error may quote a whole statement */

static bool counts_for_replay(uint8_t type)
{
    return type == '1' || type == '2' || type == '3' || type == 't' || type == 'T' || type == 'n';
}

/* The oldest batch in flight has all its replies: it will not be sent again. */
static void batch_answered(struct core_session *s, uint32_t kept_size)
{
    s->rows_forwarded = false;
    s->forwarded = s->named_answered = s->named_replayed = s->replay_swallow = s->told_count = 0;
    if (s->replayable)
        core_block_consume(s->worker, &s->kept, kept_size);
}

/* The head's action, once the message was found to be what the head expects. */
static enum core_verdict answer(struct core_backend *b, uint8_t type, bool pop)
{
    struct core_session *s = b->session;
    struct core_expect *e = core_expect_head(b);
    const uint8_t action = e->action;
    const uint32_t kept_size = e->kept_size;
    if (type == '1' && e->named_in_client && s != NULL)
        s->named_answered++;
    if (pop)
        core_expect_pop(b);
    if (action == CORE_REPLACE_ERROR)
        return CORE_VERDICT_BAD; /* it was to fail */
    if (action == CORE_SWALLOW || s == NULL)
        return CORE_VERDICT_SWALLOW;
    if (type == 'Z') {
        batch_answered(s, kept_size);
        return CORE_VERDICT_FORWARD;
    }
    if (!counts_for_replay(type)) {
        s->rows_forwarded = true;
        return CORE_VERDICT_FORWARD;
    }
    s->forwarded++;
    if (s->replay_swallow > 0) {
        s->replay_swallow--;
        return CORE_VERDICT_SWALLOW;
    }
    return CORE_VERDICT_FORWARD;
}

static void start_copy_in(struct core_backend *b)
{
    struct core_session *s = b->session;
    if (s == NULL) {
        b->broken = true; /* nobody is left who would send the data */
        return;
    }
    s->copy_in = s->copied = true;
    /* Syncs that were sent along already will be ignored by the server. */
    struct core_expect head = *core_expect_head(b);
    b->expect_head++;
    while (core_expect_head(b) != NULL && core_expect_head(b)->kind == CORE_EXPECT_SYNC) {
        core_expect_pop(b);
        s->syncs--;
        s->unsynced = s->executed = true;
    }
    b->expect[--b->expect_head & (b->expect_capacity - 1)] = head;
}

/* Is what completes now perhaps a DEALLOCATE ALL of the client's? */
static bool drops_statements(struct core_backend *b)
{
    const struct core_expect *e = core_expect_head(b);
    return b->session != NULL && b->session->drops_statements && e != NULL &&
           e->action == CORE_FORWARD;
}

static enum core_verdict on_completed(struct core_backend *b, struct proto_span tag, bool execute,
                                      struct core_actions *a)
{
    struct core_expect *e = core_expect_head(b);
    const bool ours = core_splice_covers(e);
    if (drops_statements(b))
        core_deallocate_completed(b, tag);
    if (e->follow != CORE_FOLLOW_NOTHING)
        core_follow_completed(b, e, tag, a);
    if (ours)
        return CORE_VERDICT_SWALLOW;
    if (e->ahead == CORE_AHEAD_SETTINGS_DONE && b->session != NULL)
        core_ahead_done(b->session);
    return answer(b, 'C', execute);
}

/* Messages of which the type alone says enough. */
static enum core_verdict on_plain(struct core_backend *b, uint8_t type, struct proto_span body,
                                  struct core_actions *a)
{
    struct core_expect *e = core_expect_head(b);
    if (e == NULL)
        return CORE_VERDICT_BAD;
    const bool query = e->kind == CORE_EXPECT_QUERY;
    const bool execute = e->kind == CORE_EXPECT_EXECUTE;
    switch (type) {
    case '1':
        return e->kind == CORE_EXPECT_PARSE ? answer(b, type, true) : CORE_VERDICT_BAD;
    case '2':
        return e->kind == CORE_EXPECT_BIND ? answer(b, type, true) : CORE_VERDICT_BAD;
    case '3':
        return e->kind == CORE_EXPECT_CLOSE ? answer(b, type, true) : CORE_VERDICT_BAD;
    case 't':
    case 'n':
        if (e->kind != CORE_EXPECT_DESCRIBE)
            return CORE_VERDICT_BAD;
        e->seen_t = true;
        if (e->shaped)
            core_shape_described(b, type, body);
        return answer(b, type, type == 'n');
    case 'T':
        if (e->shaped)
            core_shape_described(b, type, body);
        if (e->kind == CORE_EXPECT_DESCRIBE)
            return answer(b, type, true);
        if (core_splice_covers(e))
            return CORE_VERDICT_SWALLOW;
        return query ? answer(b, type, false) : CORE_VERDICT_BAD;
    case 'C':
        return query || execute ? on_completed(b, body, execute, a) : CORE_VERDICT_BAD;
    case 'I':
        return query || execute ? answer(b, type, execute) : CORE_VERDICT_BAD;
    case 's':
        if (e->follow != CORE_FOLLOW_NOTHING)
            core_follow_suspended(b, e, a);
        if (b->session != NULL && b->session->movable)
            b->session->own_portal = CORE_PORTAL_HALF;
        return execute ? answer(b, type, true) : CORE_VERDICT_BAD;
    case 'G': /* 'W' belongs to replication, and a server that says it here is out of its mind */
        /* a replica has no table that it could copy into; what the client has sent already may be a
         * write, and would go there as data */
        if ((!query && !execute) || b->is_replica)
            return CORE_VERDICT_BAD;
        start_copy_in(b);
        return answer(b, type, false);
    case 'D':
        if (e->follow == CORE_FOLLOW_ASKED && b->session != NULL)
            core_unpin_row(b->session, body);
        if (e->follow == CORE_FOLLOW_LEFT && b->session != NULL)
            core_left_row(b->session, body);
        if (core_splice_covers(e))
            return CORE_VERDICT_SWALLOW;
        return query || execute ? answer(b, type, false) : CORE_VERDICT_BAD;
    case 'H':
    case 'd':
    case 'c':
        return query || execute ? answer(b, type, false) : CORE_VERDICT_BAD;
    case 'V':
        return query ? answer(b, type, false) : CORE_VERDICT_BAD;
    default:
        return CORE_VERDICT_BAD;
    }
}

static enum core_verdict on_ready(struct core_backend *b, struct proto_span body, uint64_t now_ns,
                                  struct core_actions *a)
{
    struct core_expect *e = core_expect_head(b);
    uint8_t status;
    if (e == NULL || (e->kind != CORE_EXPECT_QUERY && e->kind != CORE_EXPECT_SYNC) ||
        proto_ready_read(body, &status) != PROTO_OK)
        return CORE_VERDICT_BAD;
    b->status = status;
    b->skips = false;
    if (b->suspect != NULL && status == 'I')
        core_catalog_over(b);
    const bool ours = e->action == CORE_SWALLOW;
    struct core_session *s = b->session;
    if (!ours && s != NULL)
        core_relay_ready(b, now_ns, a);
    else if (s != NULL && e->follow == CORE_FOLLOW_ASKED)
        core_unpin_ready(s);
    else if (s != NULL && e->follow == CORE_FOLLOW_LEFT)
        core_left_ready(s, now_ns, a);
    else if (s == NULL)
        core_write_raise(b->unfinished_write, now_ns);
    enum core_verdict v = answer(b, 'Z', true);
    if (v == CORE_VERDICT_FORWARD && s != NULL && s->settings_off && core_expect_count(b) == 0 &&
        core_may_mend(s)) {
        s->ready_held = true; /* until its start-up settings are there again */
        v = CORE_VERDICT_SWALLOW;
    }
    if (ours && core_expect_count(b) == 0) {
        b->resetting = false;
        if (s != NULL && s->preflight)
            b->preflight_done = true;
    }
    return v;
}

/* A client sees one server, the primary; and not what a RESET made of what it had brought along,
 * which is about to be mended. */
static bool is_hidden(const struct core_session *s, struct proto_span body)
{
    struct proto_parameter p;
    char name[64];
    if (proto_parameter_read(body, &p) != PROTO_OK || !core_fold(p.name, name, sizeof(name)))
        return false;
    return strcmp(name, "in_hot_standby") == 0 ||
           (s->settings_off && !s->preflight && core_settings_has(s->profile->start, name));
}

/* ParameterStatus: during a log-in's preflight it becomes part of the welcome. */
static enum core_verdict on_parameter(struct core_backend *b, struct proto_span message)
{
    struct core_session *s = b->session;
    if (s == NULL || s->settings_hidden)
        return CORE_VERDICT_SWALLOW;
    if (!s->preflight || s->preflight_alone)
        return is_hidden(s, core_span_skip(message, PROTO_HEADER_SIZE)) ? CORE_VERDICT_SWALLOW
                                                                        : CORE_VERDICT_FORWARD;
    if (s->login != NULL)
        core_login_parameter(s, message);
    return CORE_VERDICT_SWALLOW;
}

static enum core_verdict on_message(struct core_backend *b, uint8_t type, struct proto_span message,
                                    uint64_t now_ns, struct core_actions *a)
{
    const struct proto_span body = core_span_skip(message, PROTO_HEADER_SIZE);
    struct core_session *s = b->session;
    switch (type) {
    case 'Z':
        return on_ready(b, body, now_ns, a);
    case 'E':
        return core_relay_error(b, body, now_ns, a);
    case 'S': {
        struct proto_parameter parameter;
        if (proto_parameter_read(body, &parameter) != PROTO_OK)
            return CORE_VERDICT_BAD;
        if (s != NULL)
            core_follow_reported(s, &parameter);
        return on_parameter(b, message);
    }
    case 'N': {
        const struct core_expect *e = core_expect_head(b);
        const bool hidden = s == NULL || (e != NULL && e->action != CORE_FORWARD);
        return hidden ? CORE_VERDICT_SWALLOW : CORE_VERDICT_FORWARD;
    }
    case 'A':
        if (s == NULL || s->phase == CORE_DOOMED || core_notification_renamed(b, message, a))
            return CORE_VERDICT_SWALLOW;
        return CORE_VERDICT_FORWARD;
    default:
        return on_plain(b, type, body, a);
    }
}

/* A reply that does not fit costs its connection. Of the node it says something only when several
 * users meet it: what one client has sent, and when it left, may have got the books wrong. */
static void no_protocol(struct core_backend *b, uint8_t type, uint64_t now_ns,
                        struct core_actions *a)
{
    struct core_session *s = b->session;
    const bool left = s == NULL || s->phase == CORE_DOOMED;
    core_outcome(b, left ? BREAKER_EVENT_LEFT : BREAKER_EVENT_NO_PROTOCOL, a);
    a->misfit = type != 0 ? type : '?';
    a->misfit_expected = core_expect_text(b);
    b->broken = true;
    a->close_backend = CORE_CLOSE_NOW;
    if (s == NULL)
        return;
    if (core_expect_count(b) > 0 && !s->preflight)
        core_fatal(s, "08P01", "the server sent something that is no protocol",
                   "The outcome of the statement that was running is unknown.", a);
    core_server_lost_for(s, now_ns, a);
}

/* A table has changed between two runs of a read, of which the client knows nothing: it would read
 * the rows by the description of the first. */
static void told_otherwise(struct core_backend *b, uint64_t now_ns, struct core_actions *a)
{
    struct core_session *s = b->session;
    b->broken = true;
    a->close_backend = CORE_CLOSE_NOW;
    core_fatal(s, "0A000", "the result of a statement that was run again is of another type", NULL,
               a);
    core_server_lost_for(s, now_ns, a);
}

/* All rows of a result are treated alike: the whole ones that follow go along with the first. */
static size_t more_rows(struct proto_span in)
{
    struct proto_header h;
    size_t pos = 0;
    while (in.size - pos >= PROTO_HEADER_SIZE && in.base[pos] == 'D' &&
           proto_header_peek(core_span_skip(in, pos), PROTO_BODY_SIZE_MAX, &h) == PROTO_OK &&
           in.size - pos - PROTO_HEADER_SIZE >= h.body_size)
        pos += PROTO_HEADER_SIZE + (size_t)h.body_size;
    return pos;
}

/* Is what completes now a statement that changes settings? */
static bool is_followed(struct core_backend *b)
{
    const struct core_expect *e = core_expect_head(b);
    return e != NULL && e->follow != CORE_FOLLOW_NOTHING;
}

static bool is_asked(struct core_backend *b)
{
    const struct core_expect *e = core_expect_head(b);
    return e != NULL && (e->follow == CORE_FOLLOW_ASKED || e->follow == CORE_FOLLOW_LEFT);
}

/* The rest of a message that is longer than what came at once. */
static size_t relay_body(struct core_backend *b, struct proto_span in, struct core_actions *a)
{
    const size_t size = in.size < b->body_left ? in.size : b->body_left;
    if (!b->body_swallow)
        core_sink_append(&a->client, (struct proto_span){.base = in.base, .size = size});
    b->body_left -= (uint32_t)size;
    if (b->body_left == 0 && b->session != NULL)
        core_expect_fakes(b, a);
    return size;
}

/* The type of the message behind one of this size; 0: it is not there, or not enough of it that it
 * would go along now. */
static uint8_t next_type(struct proto_span rest, size_t size)
{
    struct proto_header h;
    if (rest.size <= size ||
        proto_header_peek(core_span_skip(rest, size), PROTO_BODY_SIZE_MAX, &h) != PROTO_OK)
        return 0;
    const bool goes = h.type == 'D' || rest.size - size - PROTO_HEADER_SIZE >= h.body_size;
    return goes ? h.type : 0;
}

/* The short way of what a Query answers mostly: descriptions, rows and completions that change
 * nothing but the books of a replay go to the client together. Returns the size of those that are
 * here whole. */
static size_t relay_result(struct core_backend *b, struct proto_span in, struct core_actions *a)
{
    struct core_session *s = b->session;
    const struct core_expect *e = core_expect_head(b);
    if (e == NULL || e->kind != CORE_EXPECT_QUERY || s == NULL || e->action != CORE_FORWARD ||
        e->follow != CORE_FOLLOW_NOTHING || s->drops_statements || s->replay_swallow > 0 ||
        s->phase == CORE_DOOMED)
        return 0;
    struct proto_header h;
    size_t pos = 0;
    while (proto_header_peek(core_span_skip(in, pos), PROTO_BODY_SIZE_MAX, &h) == PROTO_OK &&
           (h.type == 'T' || h.type == 'D' || h.type == 'C') &&
           in.size - pos - PROTO_HEADER_SIZE >= h.body_size) {
        if (counts_for_replay(h.type))
            s->forwarded++;
        else
            s->rows_forwarded = true;
        const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
        if (h.type == 'T' && core_shape_is_kept(b, next_type(core_span_skip(in, pos), size)))
            (void)core_shape_repeats(b, 'T',
                                     (struct proto_span){.base = in.base + pos + PROTO_HEADER_SIZE,
                                                         .size = h.body_size});
        pos += size;
    }
    if (pos > 0)
        core_sink_append(&a->client, (struct proto_span){.base = in.base, .size = pos});
    return pos;
}

static size_t relay(struct core_backend *b, struct proto_span in, uint64_t now_ns,
                    struct core_actions *a)
{
    size_t pos = 0;
    if (b->session != NULL)
        core_expect_fakes(b, a); /* more than one step could write */
    while (pos < in.size) {
        const struct proto_span rest = core_span_skip(in, pos);
        if (core_sink_full(&a->client)) {
            a->again_server = true;
            break;
        }
        const size_t quick = b->body_left > 0 ? relay_body(b, rest, a) : relay_result(b, rest, a);
        if (quick > 0) {
            pos += quick;
            continue;
        }
        struct proto_header h;
        const enum proto_status status = proto_header_peek(rest, PROTO_BODY_SIZE_MAX, &h);
        if (status == PROTO_MORE)
            break;
        if (status != PROTO_OK) {
            no_protocol(b, rest.base[0], now_ns, a);
            return in.size;
        }
        const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
        const bool inspect =
            h.type == 'Z' || h.type == 'E' || h.type == 'S' || h.type == 'A' ||
            (h.type == 'C' && (is_followed(b) || drops_statements(b))) ||
            (h.type == 'D' && is_asked(b)) ||
            ((h.type | 0x20) == 't' &&
             (core_shape_is_awaited(b) || (rest.size < size && core_shape_is_kept(b, 0))));
        if (inspect && rest.size < size && size <= INSPECT_MAX)
            break;
        if (inspect && rest.size < size) { /* absurd for these three */
            no_protocol(b, rest.base[0], now_ns, a);
            return in.size;
        }
        const size_t here = rest.size < size ? rest.size : size;
        const struct proto_span message = {.base = rest.base, .size = here};
        if ((h.type | 0x20) == 't' && core_shape_is_kept(b, next_type(rest, size)) &&
            !core_shape_repeats(b, h.type, core_span_skip(message, PROTO_HEADER_SIZE))) {
            told_otherwise(b, now_ns, a);
            return in.size;
        }
        const struct core_session *served = b->session;
        const enum core_verdict v = on_message(b, h.type, message, now_ns, a);
        if (v == CORE_VERDICT_BAD) {
            no_protocol(b, rest.base[0], now_ns, a);
            return in.size;
        }
        if (v == CORE_VERDICT_STOP)
            return in.size;
        assert(b->session == served);
        const bool forward = v == CORE_VERDICT_FORWARD && b->session->phase != CORE_DOOMED;
        size_t taken = here;
        if (forward && h.type == 'D' && here == size) /* others are read one by one */
            taken += more_rows(core_span_skip(rest, size));
        if (forward)
            core_sink_append(&a->client, (struct proto_span){.base = rest.base, .size = taken});
        b->body_left = (uint32_t)(size - here);
        b->body_swallow = !forward;
        pos += taken;
        if (b->session != NULL)
            core_expect_fakes(b, a);
    }
    return pos;
}

struct core_actions *core_server_data(struct core_backend *b, struct proto_span in, uint64_t now_ns)
{
    struct core_worker *w = b->worker;
    struct core_actions *a = core_actions_begin(w);
    a->backend = b;
    if (b->linked) {
        core_link_server_data(b, in, a);
        return a;
    }
    const uint32_t owed = core_expect_count(b);
    if (b->hold == NULL) {
        const size_t taken = relay(b, in, now_ns, a);
        if (taken < in.size)
            core_block_append(w, &b->hold, core_span_skip(in, taken));
    } else {
        core_block_append(w, &b->hold, in);
        const size_t taken = relay(b, core_block_span(b->hold), now_ns, a);
        core_block_consume(w, &b->hold, (uint32_t)taken);
    }
    struct core_session *s = b->session;
    if (b->draining)
        core_drain_data(b);
    if (s == NULL || s->phase == CORE_DOOMED)
        return a;
    if (s->shape == CORE_SHAPE_ANSWERED && !a->again_server && !b->fatal_seen) {
        s->shape = CORE_SHAPE_NONE;
        if (core_expect_count(b) == 0 && !s->emitting)
            core_flight_over(s, now_ns, a); /* an error: the rest of the batch is skipped */
        core_pump(s, (struct proto_span){0}, now_ns, a); /* the Bind that waited for it */
    } else if (b->preflight_done) {
        b->preflight_done = false;
        core_preflight_over(s, now_ns, a);
    } else if (core_expect_count(b) == 0 && !b->fatal_seen && !s->preflight) {
        if (owed > 0 && !s->emitting)
            core_flight_over(s, now_ns, a);
        a->settle = !s->settings_off || !core_may_mend(s) || !core_preflight_alone(s, a);
    } else if (s->copy_in && s->hold != NULL) {
        core_pump(s, (struct proto_span){0}, now_ns, a); /* what came before the COPY began */
    }
    a->backend = b;
    return a;
}

struct core_actions *core_server_lost(struct core_backend *b, uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(b->worker);
    struct core_session *s = b->session;
    const bool running = core_expect_count(b) > 0;
    core_catalog_over(b);
    a->backend = b;
    core_outcome(b,
                 !running    ? BREAKER_EVENT_LOST_IDLE
                 : s != NULL ? BREAKER_EVENT_LOST_RUNNING
                             : BREAKER_EVENT_LEFT,
                 a);
    a->has_outcome = !b->broken;
    a->close_backend = CORE_CLOSE_NOW;
    b->broken = true;
    if (b->linked) {
        core_link_server_lost(b, a);
        return a;
    }
    if (s == NULL) {
        core_write_raise(b->unfinished_write, now_ns);
        while (core_expect_count(b) > 0)
            core_expect_pop(b);
        return a;
    }
    if (running && !s->unproven && core_replay(s, b->node, ROUTER_REASON_RETRY, now_ns, a))
        return a;
    core_server_lost_for(s, now_ns, a);
    a->backend = b;
    return a;
}
