/* SPDX-License-Identifier: PostgreSQL
 *
 * core_signal: see the header.
 *
 * Happy path: core_signal_read -> core_signal_next (asks the shell) -> core_signalled ->
 * core_signal_next (answers). What is not found is the server's to say: it has the words for it.
 */
#include "core_signal.h"

#include <stdio.h>

#include "core_stmt.h"

enum {
    PID_MAX = 1 << 22, /* of Linux: a process of a server has a smaller id */
    MESSAGES_MAX = 16,
    OID_BOOL = 16,
    OID_INT2 = 21,
    OID_TEXT = 25,
    OID_VARCHAR = 1043,
    OID_UNKNOWN = 705,
};

/* ---- the values ---- */

/* How far its messages have come. */
enum form { FORM_START, FORM_PARSED, FORM_BOUND, FORM_EXECUTED, FORM_OTHER };

struct scan {
    enum form form;
    struct proto_span name, text, types, bind;
};

struct parameter {
    uint16_t format;
    struct proto_span bytes; /* base NULL: it is NULL */
};

static bool big_endian(struct proto_span bytes, size_t size, int64_t *ret)
{
    uint64_t value = 0;
    if (bytes.size != size || size == 0 || (bytes.base[0] & 0x80) != 0)
        return false;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes.base[i];
    *ret = (int64_t)value;
    return true;
}

/* What type has this parameter? 0: one that such a statement does not have. */
static uint32_t type_of(struct proto_span types, const struct router_signal_argument *arg,
                        uint32_t own)
{
    const size_t at = (size_t)(arg->parameter - 1) * 4;
    uint32_t type = at < types.size ? proto_load_u32(types.base + at) : 0;
    if (type == 0)
        type = arg->cast != 0 ? arg->cast : own;
    const bool text = type == OID_TEXT || type == OID_VARCHAR || type == OID_UNKNOWN;
    const bool other = type == OID_INT2 || type == ROUTER_SIGNAL_INT8 || type == ROUTER_SIGNAL_INT4;
    /* without a cast the function is chosen by them: an int8 is no process id */
    const bool wider = own == ROUTER_SIGNAL_INT8 || arg->cast != 0;
    return (arg->cast != 0 && text) || (wider && other) || type == ROUTER_SIGNAL_INT4 ? type : 0;
}

static bool value_of(const struct parameter *p, uint32_t type, int64_t *ret)
{
    const bool text = type == OID_TEXT || type == OID_VARCHAR || type == OID_UNKNOWN;
    if (p->bytes.base == NULL)
        return false;
    if (p->format == 0 || text)
        return router_signal_number((const char *)p->bytes.base, p->bytes.size, ret);
    return big_endian(p->bytes, type == OID_INT2 ? 2 : type == ROUTER_SIGNAL_INT4 ? 4 : 8, ret);
}

/* Formats, values and result formats of a Bind with `count` parameters. */
static bool bind_read(struct proto_span rest, uint16_t count, struct parameter ret[2],
                      uint16_t *ret_format)
{
    struct proto_reader r = proto_reader_make(rest);
    uint16_t formats[2] = {0, 0};
    const uint16_t given = proto_read_u16(&r);
    if (given > 2 || (given > 1 && given != count))
        return false;
    for (uint16_t i = 0; i < given; i++)
        formats[i] = proto_read_u16(&r);
    if (proto_read_u16(&r) != count)
        return false;
    for (uint16_t i = 0; i < count; i++) {
        const uint32_t size = proto_read_u32(&r);
        ret[i].format = given == 1 ? formats[0] : formats[i];
        ret[i].bytes = size == UINT32_MAX ? (struct proto_span){0} : proto_read_bytes(&r, size);
        if (ret[i].format > 1)
            return false;
    }
    const uint16_t results = proto_read_u16(&r);
    *ret_format = results == 1 ? proto_read_u16(&r) : 0;
    return results <= 1 && *ret_format <= 1 && proto_reader_done(&r);
}

/* One argument's value. False: it has none that we can read. */
static bool argument(const struct scan *scan, struct router_signal_argument *arg, uint32_t own,
                     const struct parameter *bound, struct core_signal_call *ret)
{
    if (arg->parameter == 0)
        return true;
    const uint32_t type = type_of(scan->types, arg, own);
    ret->types[arg->parameter - 1] = type;
    return type != 0 && value_of(&bound[arg->parameter - 1], type, &arg->value);
}

/* The parameters are $1, or $1 and $2, and the Bind has so many. */
static bool arguments(const struct scan *scan, struct router_signal_call *call,
                      struct core_signal_call *ret)
{
    const uint16_t one = call->pid.parameter;
    const uint16_t two = call->timeout.parameter;
    const uint16_t count = (uint16_t)((one != 0) + (two != 0));
    struct parameter bound[2] = {{0}, {0}};
    if ((count == 1 && one + two != 1) || (count == 2 && one == two) ||
        scan->types.size > (size_t)count * 4)
        return false;
    ret->types_count = count;
    if (scan->form == FORM_EXECUTED && !bind_read(scan->bind, count, bound, &ret->format))
        return false;
    if (scan->form != FORM_EXECUTED && count > 0)
        return false; /* a Query */
    return argument(scan, &call->pid, ROUTER_SIGNAL_INT4, bound, ret) &&
           argument(scan, &call->timeout, ROUTER_SIGNAL_INT8, bound, ret);
}

static bool wish_of(const struct scan *scan, struct core_signal_call *ret)
{
    struct router_signal_call call;
    if (!router_signal_read((const char *)scan->text.base, scan->text.size, &call) ||
        !arguments(scan, &call, ret) || call.pid.value <= PID_MAX || call.pid.value > INT32_MAX ||
        (call.timeout.cast == ROUTER_SIGNAL_INT4 && call.timeout.value > INT32_MAX))
        return false;
    ret->wish = (struct core_signal_wish){.kind = call.kind,
                                          .pid = (uint32_t)call.pid.value,
                                          .timeout_ms = (uint64_t)call.timeout.value};
    return true;
}

/* ---- the messages ---- */

/* The statement that the batch is about: the one that it parses, or one of an earlier batch. */
static bool names(const struct core_session *s, struct scan *scan, struct proto_span name)
{
    struct proto_parse parse;
    if (scan->form == FORM_PARSED)
        return core_span_equal(name, scan->name);
    if (!core_statement_read(s, name, &parse))
        return false;
    scan->name = name;
    scan->text = parse.text;
    scan->types = parse.types;
    return true;
}

static enum form scan_parse(const struct core_session *s, struct scan *scan, struct proto_span body)
{
    struct proto_parse parse;
    if (scan->form != FORM_START || proto_parse_read(body, &parse) != PROTO_OK ||
        (parse.name.size > 0 && core_names_find(s->names, parse.name) != NULL))
        return FORM_OTHER;
    scan->name = parse.name;
    scan->text = parse.text;
    scan->types = parse.types;
    return FORM_PARSED;
}

static enum form scan_bind(const struct core_session *s, struct scan *scan, struct proto_span body)
{
    struct proto_bind bind;
    if (scan->form >= FORM_BOUND || proto_bind_peek(body, &bind) != PROTO_OK ||
        bind.portal.size > 0 || !names(s, scan, bind.statement))
        return FORM_OTHER;
    scan->bind = bind.rest;
    return FORM_BOUND;
}

static enum form scan_describe(const struct core_session *s, struct scan *scan,
                               struct proto_span body)
{
    struct proto_target target;
    if (proto_target_read(body, &target) != PROTO_OK)
        return FORM_OTHER;
    if (target.what == 'P')
        return scan->form == FORM_BOUND && target.name.size == 0 ? FORM_BOUND : FORM_OTHER;
    return scan->form < FORM_BOUND && names(s, scan, target.name) ? FORM_PARSED : FORM_OTHER;
}

static enum form scan_execute(const struct scan *scan, struct proto_span body,
                              struct core_signal_call *ret)
{
    struct proto_execute execute;
    if (scan->form != FORM_BOUND || proto_execute_read(body, &execute) != PROTO_OK ||
        execute.portal.size > 0)
        return FORM_OTHER;
    ret->rows_max = execute.rows_max;
    return FORM_EXECUTED;
}

static enum form scan_message(const struct core_session *s, struct scan *scan, uint8_t type,
                              struct proto_span body, struct core_signal_call *ret)
{
    switch (type) {
    case 'P':
        return scan_parse(s, scan, body);
    case 'D':
        return scan_describe(s, scan, body);
    case 'B':
        return scan_bind(s, scan, body);
    case 'E':
        return scan_execute(scan, body, ret);
    case 'C':
        return scan->form == FORM_EXECUTED ? FORM_EXECUTED : FORM_OTHER;
    case 'S':
    case 'H':
        return scan->form;
    default:
        return FORM_OTHER;
    }
}

/* The message at *pos, which moves behind it. */
static struct proto_span next_message(struct proto_span in, size_t *pos, uint8_t *ret_type)
{
    struct proto_header h = {0};
    (void)proto_header_peek(core_span_skip(in, *pos), UINT32_MAX - 4, &h);
    const struct proto_span body = {.base = in.base + *pos + PROTO_HEADER_SIZE,
                                    .size = h.body_size};
    *pos += PROTO_HEADER_SIZE + h.body_size;
    *ret_type = h.type;
    return body;
}

bool core_signal_read(const struct core_session *s, struct proto_span in,
                      const struct core_batch *batch, struct core_signal_call *ret)
{
    struct scan scan = {.form = FORM_START};
    *ret = (struct core_signal_call){0};
    if (batch->class.signals == ROUTER_SIGNAL_NONE || !batch->executes || batch->odd)
        return false;
    if (batch->simple) {
        scan.text = batch->text;
        return wish_of(&scan, ret);
    }
    if (batch->messages > MESSAGES_MAX)
        return false;
    for (size_t pos = 0; pos < batch->size && scan.form != FORM_OTHER;) {
        uint8_t type;
        const struct proto_span body = next_message(in, &pos, &type);
        scan.form = scan_message(s, &scan, type, body, ret);
    }
    ret->name = scan.name;
    return scan.form == FORM_EXECUTED && wish_of(&scan, ret);
}

/* ---- the answer ---- */

static void write_description(const struct core_signal_call *call, uint16_t format,
                              struct core_actions *a)
{
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_column(&w, router_signal_function((enum router_signal)call->wish.kind), OID_BOOL, 1,
                       format);
    core_sink_commit(&a->client, &w);
}

static void write_late(const struct core_signal_call *call, struct core_actions *a)
{
    char message[128];
    (void)snprintf(message, sizeof(message),
                   "backend with PID %u did not terminate within %llu milliseconds", call->wish.pid,
                   (unsigned long long)call->wish.timeout_ms);
    const struct proto_error_text warning = {
        .severity = "WARNING", .sqlstate = "01000", .message = message};
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_error(&w, &warning);
    core_sink_commit(&a->client, &w);
}

static void write_row(const struct core_signal_call *call, bool done, struct core_actions *a)
{
    static const uint8_t values[2][2] = {{'f', 't'}, {0, 1}};
    if (!done)
        write_late(call, a);
    const struct proto_span value = {.base = &values[call->format][done], .size = 1};
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_data_row(&w, &value, 1);
    if (call->rows_max == 1)
        proto_write_portal_suspended(&w); /* nobody has looked for a second row */
    else
        proto_write_command_complete(&w, "SELECT 1");
    core_sink_commit(&a->client, &w);
}

static void answer_message(struct core_session *s, uint8_t type, struct proto_span body,
                           const struct core_signal_call *call, bool done, struct core_actions *a)
{
    struct proto_writer w;
    struct proto_target target;
    switch (type) {
    case 'P':
        (void)core_local_parse(s, body, a);
        return;
    case 'B':
        w = core_sink_writer(&a->client);
        proto_write_bind_complete(&w);
        core_sink_commit(&a->client, &w);
        return;
    case 'D':
        w = core_sink_writer(&a->client);
        if (body.base[0] == 'S')
            proto_write_parameter_description(&w, call->types, call->types_count);
        core_sink_commit(&a->client, &w);
        write_description(call, body.base[0] == 'S' ? 0 : call->format, a);
        return;
    case 'E':
        write_row(call, done, a);
        return;
    case 'C':
        (void)proto_target_read(body, &target);
        core_local_close(s, &target);
        w = core_sink_writer(&a->client);
        proto_write_close_complete(&w);
        core_sink_commit(&a->client, &w);
        return;
    default:
        return;
    }
}

static void answer(struct core_session *s, struct proto_span in, const struct core_batch *batch,
                   const struct core_signal_call *call, bool done, uint64_t now_ns,
                   struct core_actions *a)
{
    s->worker->counters.local_answers++;
    core_route_count(s, ROUTER_TARGET_PROXY, ROUTER_NODE_NONE, ROUTER_VERDICT_LOCAL,
                     ROUTER_REASON_SWITCHGEAR, now_ns);
    if (batch->simple) {
        write_description(call, 0, a);
        write_row(call, done, a);
    }
    for (size_t pos = 0; !batch->simple && pos < batch->size;) {
        uint8_t type;
        const struct proto_span body = next_message(in, &pos, &type);
        answer_message(s, type, body, call, done, a);
    }
    if (!batch->flushes)
        core_ready_write(s, a);
}

/* The number is its own. */
static enum core_signal_step
signal_self(struct core_session *s, const struct core_signal_call *call, struct core_actions *a)
{
    if (call->wish.kind == ROUTER_SIGNAL_CANCEL) {
        s->cancelled = CORE_CANCELLED_ASKED;
        return CORE_SIGNAL_FOR_SERVER;
    }
    core_fatal(s, "57P01", "terminating connection due to administrator command", NULL, a);
    return CORE_SIGNAL_ANSWERED;
}

enum core_signal_step core_signal_next(struct core_session *s, struct proto_span in,
                                       const struct core_batch *batch,
                                       const struct core_signal_call *call, uint64_t now_ns,
                                       struct core_actions *a)
{
    const enum core_signal said = (enum core_signal)s->signal;
    s->signal = CORE_SIGNAL_NONE;
    switch (said) {
    case CORE_SIGNAL_ASKED:
        s->signal = CORE_SIGNAL_ASKED;
        return CORE_SIGNAL_WAITS;
    case CORE_SIGNAL_NONE:
        if (s->cancelled != CORE_CANCELLED_NOT)
            return CORE_SIGNAL_FOR_SERVER;
        if (call->wish.pid == s->cancel_pid)
            return signal_self(s, call, a);
        s->signal = CORE_SIGNAL_ASKED;
        a->signal = true;
        a->wish = call->wish;
        return CORE_SIGNAL_WAITS;
    case CORE_SIGNAL_DONE:
    case CORE_SIGNAL_LATE:
        answer(s, in, batch, call, said == CORE_SIGNAL_DONE, now_ns, a);
        return CORE_SIGNAL_ANSWERED;
    case CORE_SIGNAL_NOBODY:
        return CORE_SIGNAL_FOR_SERVER;
    case CORE_SIGNAL_DENIED:
        s->cancelled = call->wish.kind == ROUTER_SIGNAL_CANCEL ? CORE_CANCELLED_MAY_NOT_CANCEL
                                                               : CORE_CANCELLED_MAY_NOT_END;
        return CORE_SIGNAL_FOR_SERVER;
    case CORE_SIGNAL_CANCELLED:
        s->cancelled = CORE_CANCELLED_ASKED;
        return CORE_SIGNAL_FOR_SERVER;
    }
    return CORE_SIGNAL_FOR_SERVER;
}

struct core_actions *core_signalled(struct core_session *s, enum core_signal answer,
                                    uint64_t now_ns)
{
    struct core_actions *a = core_actions_begin(s->worker);
    assert(answer > CORE_SIGNAL_ASKED);
    if (s->phase != CORE_QUERY || s->signal != CORE_SIGNAL_ASKED)
        return a;
    s->signal = (uint8_t)answer;
    core_pump(s, (struct proto_span){0}, now_ns, a);
    return a;
}
