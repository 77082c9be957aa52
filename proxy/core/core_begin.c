/* SPDX-License-Identifier: PostgreSQL
 *
 * core_begin: a block that no server knows of yet. Its BEGIN is answered here, in either protocol,
 * and goes ahead of the block's first statement; what ends a block without one is answered too.
 *
 * In the extended protocol that is done where the messages are about this one statement and nothing
 * can go wrong with them: anything else is the server's to answer.
 */
#include "core_begin.h"
#include "core_follow.h"
#include "core_internal.h"
#include "core_settings.h"
#include "core_stmt.h"

bool core_begin_reads_only(const struct core_session *s)
{
    return s->begin == ROUTER_BEGIN_READ_ONLY ||
           (s->begin != ROUTER_BEGIN_WRITE && (s->settings->flags & ROUTER_SETTING_READ_ONLY) != 0);
}

bool core_begin_answers(const struct core_session *s, const struct router_class *class)
{
    if (s->backend != NULL || !class->alone || s->replay_swallow > 0 ||
        s->group->database->pool_mode == CORE_POOL_STATEMENT)
        return false;
    if (s->block == CORE_DEFERRED) /* what a second BEGIN declares counts for the block */
        return (class->begin != ROUTER_BEGIN_NONE && !class->declares) || class->ends ||
               class->rolls_back;
    return s->block == CORE_NO_BLOCK && class->begin != ROUTER_BEGIN_NONE;
}

static const char *begin_tag(struct proto_span text)
{
    struct router_lexer lexer = router_lexer_make((const char *)text.base, text.size);
    struct router_token word;
    do
        word = router_lexer_next(&lexer);
    while (word.kind == ROUTER_TOKEN_COMMENT || word.kind == ROUTER_TOKEN_SELF);
    const bool start = word.size == 5 && (text.base[word.start] | 0x20) == 's';
    return start ? "START TRANSACTION" : "BEGIN";
}

static void defer(struct core_session *s, const struct router_class *class, struct proto_span text)
{
    core_block_append(s->worker, &s->begin_text, text);
    s->begin = class->begin;
    s->stays = class->snapshot;
    s->block = CORE_DEFERRED;
    s->own_portal = CORE_PORTAL_UNTOUCHED;
}

void core_begin_over(struct core_session *s)
{
    s->block = CORE_NO_BLOCK;
    s->begin = ROUTER_BEGIN_NONE;
    s->level_local = 0xff;
    core_follow_over(s);
    core_move_over(s);
}

void core_begin_execute(struct core_session *s, const struct router_class *class,
                        struct proto_span text, uint64_t now_ns, struct core_actions *a)
{
    assert(core_begin_answers(s, class));
    core_replay_ends(s); /* of a COMMIT that comes here when its replica is lost */
    const char *tag = class->begin != ROUTER_BEGIN_NONE ? begin_tag(text)
                      : class->ends                     ? "COMMIT"
                                                        : "ROLLBACK";
    struct proto_writer w = core_sink_writer(&a->client);
    if (class->begin == ROUTER_BEGIN_NONE) {
        core_begin_over(s);
    } else if (s->block == CORE_DEFERRED) {
        const struct proto_error_text warning = {.severity = "WARNING",
                                                 .sqlstate = "25001",
                                                 .message =
                                                     "there is already a transaction in progress"};
        proto_write_error(&w, &warning);
    } else {
        defer(s, class, text);
    }
    proto_write_command_complete(&w, tag);
    core_sink_commit(&a->client, &w);
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_TRANSACTION,
                     (enum router_reason) class->reason, now_ns);
}

void core_begin_again(struct core_session *s, const struct router_class *class)
{
    if (class->begin == ROUTER_BEGIN_WRITE)
        s->begin = ROUTER_BEGIN_WRITE;
    else if ((class->set_read_only || class->begin == ROUTER_BEGIN_READ_ONLY) &&
             s->begin == ROUTER_BEGIN_PLAIN)
        s->begin = ROUTER_BEGIN_READ_ONLY;
}

/* ---- one such statement in the extended protocol ---- */

/* How far its messages have come. */
enum form { FORM_START, FORM_PARSED, FORM_BOUND, FORM_EXECUTED, FORM_OTHER };

struct control {
    enum form form;
    struct proto_span name;
    struct proto_span text;
};

/* The text that a statement of an earlier batch has. False: there is none. */
static bool known_text(const struct core_session *s, struct proto_span name, struct proto_span *ret)
{
    struct proto_parse parse;
    if (!core_statement_read(s, name, &parse) || parse.types.size > 0)
        return false;
    *ret = parse.text;
    return true;
}

/* What follows the names of a Bind: no parameter, and any format of results that there are not. */
static bool binds_nothing(struct proto_span rest)
{
    struct proto_reader r = proto_reader_make(rest);
    const uint16_t formats = proto_read_u16(&r);
    if (formats > 1)
        return false;
    (void)proto_read_bytes(&r, formats * 2u);
    if (proto_read_u16(&r) != 0)
        return false;
    (void)proto_read_bytes(&r, proto_read_u16(&r) * 2u);
    return proto_reader_done(&r);
}

static enum form form_parse(const struct core_session *s, struct control *c, struct proto_span body)
{
    struct proto_parse parse;
    if (c->form != FORM_START || proto_parse_read(body, &parse) != PROTO_OK ||
        parse.types.size > 0 || parse.text.size > CORE_BEGIN_SIZE_MAX ||
        (parse.name.size > 0 && core_names_find(s->names, parse.name) != NULL))
        return FORM_OTHER;
    c->name = parse.name;
    c->text = parse.text;
    return FORM_PARSED;
}

static enum form form_bind(const struct core_session *s, struct control *c, struct proto_span body)
{
    struct proto_bind bind;
    if (c->form >= FORM_BOUND || proto_bind_peek(body, &bind) != PROTO_OK || bind.portal.size > 0 ||
        !binds_nothing(bind.rest))
        return FORM_OTHER;
    if (c->form == FORM_PARSED)
        return core_span_equal(bind.statement, c->name) ? FORM_BOUND : FORM_OTHER;
    return known_text(s, bind.statement, &c->text) ? FORM_BOUND : FORM_OTHER;
}

static enum form form_describe(const struct control *c, struct proto_span body)
{
    struct proto_target target;
    if (proto_target_read(body, &target) != PROTO_OK)
        return FORM_OTHER;
    const bool statement = target.what == 'S' && c->form == FORM_PARSED;
    const bool portal = target.what == 'P' && c->form == FORM_BOUND && target.name.size == 0;
    return (statement && core_span_equal(target.name, c->name)) || portal ? c->form : FORM_OTHER;
}

/* Rows that are asked for do not matter: it has none, and runs to its end. */
static enum form form_execute(const struct control *c, struct proto_span body)
{
    return c->form == FORM_BOUND && body.size == 5 && body.base[0] == '\0' ? FORM_EXECUTED
                                                                           : FORM_OTHER;
}

uint32_t core_begin_scan(const struct core_session *s, struct proto_span in, uint32_t size,
                         struct proto_span *ret_text)
{
    struct control c = {.form = FORM_START};
    struct proto_header h = {0};
    uint32_t pos = 0;
    while (pos < size && c.form < FORM_EXECUTED) {
        (void)proto_header_peek(core_span_skip(in, pos), UINT32_MAX - 4, &h);
        const struct proto_span body = {.base = in.base + pos + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        pos += PROTO_HEADER_SIZE + h.body_size;
        c.form = h.type == 'P'   ? form_parse(s, &c, body)
                 : h.type == 'B' ? form_bind(s, &c, body)
                 : h.type == 'D' ? form_describe(&c, body)
                 : h.type == 'E' ? form_execute(&c, body)
                                 : FORM_OTHER;
    }
    if (c.form != FORM_EXECUTED)
        return 0;
    *ret_text = c.text;
    if (pos < size && in.base[pos] == 'S' && proto_load_u32(in.base + pos + 1) == 4)
        pos += PROTO_HEADER_SIZE;
    return pos;
}
