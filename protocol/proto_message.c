/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_message: the bodies of the messages that a proxy has to read.
 */
#include "proto_message.h"

enum proto_status proto_query_read(struct proto_span body, struct proto_span *ret_text)
{
    struct proto_reader r = proto_reader_make(body);
    const struct proto_span text = proto_read_string(&r);
    if (!proto_reader_done(&r))
        return PROTO_EMALFORMED;
    *ret_text = text;
    return PROTO_OK;
}

enum proto_status proto_parse_read(struct proto_span body, struct proto_parse *ret)
{
    struct proto_reader r = proto_reader_make(body);
    struct proto_parse parse = {0};
    parse.name = proto_read_string(&r);
    parse.text = proto_read_string(&r);
    parse.types_count = proto_read_u16(&r);
    parse.types = proto_read_bytes(&r, (uint32_t)parse.types_count * 4);
    if (!proto_reader_done(&r))
        return PROTO_EMALFORMED;
    *ret = parse;
    return PROTO_OK;
}

enum proto_status proto_bind_peek(struct proto_span body, struct proto_bind *ret)
{
    struct proto_reader r = proto_reader_make(body);
    struct proto_bind bind = {0};
    bind.portal = proto_read_string(&r);
    bind.statement = proto_read_string(&r);
    if (r.failed)
        return PROTO_MORE; /* the only failure here is a NUL that has not come */
    bind.rest = (struct proto_span){.base = r.pos, .size = (size_t)(r.end - r.pos)};
    *ret = bind;
    return PROTO_OK;
}

enum proto_status proto_target_read(struct proto_span body, struct proto_target *ret)
{
    struct proto_reader r = proto_reader_make(body);
    struct proto_target target = {0};
    target.what = proto_read_u8(&r);
    target.name = proto_read_string(&r);
    if (!proto_reader_done(&r) || (target.what != 'S' && target.what != 'P'))
        return PROTO_EMALFORMED;
    *ret = target;
    return PROTO_OK;
}

enum proto_status proto_execute_read(struct proto_span body, struct proto_execute *ret)
{
    struct proto_reader r = proto_reader_make(body);
    struct proto_execute execute = {0};
    execute.portal = proto_read_string(&r);
    execute.rows_max = proto_read_u32(&r);
    if (!proto_reader_done(&r))
        return PROTO_EMALFORMED;
    if (execute.rows_max > INT32_MAX) /* negative on the wire: all, as the server takes it */
        execute.rows_max = 0;
    *ret = execute;
    return PROTO_OK;
}

enum proto_status proto_ready_read(struct proto_span body, uint8_t *ret_status)
{
    struct proto_reader r = proto_reader_make(body);
    const uint8_t status = proto_read_u8(&r);
    if (!proto_reader_done(&r) || (status != 'I' && status != 'T' && status != 'E'))
        return PROTO_EMALFORMED;
    *ret_status = status;
    return PROTO_OK;
}

enum proto_status proto_parameter_read(struct proto_span body, struct proto_parameter *ret)
{
    struct proto_reader r = proto_reader_make(body);
    struct proto_parameter parameter = {0};
    parameter.name = proto_read_string(&r);
    parameter.value = proto_read_string(&r);
    if (!proto_reader_done(&r))
        return PROTO_EMALFORMED;
    *ret = parameter;
    return PROTO_OK;
}

/* Where a field of this type goes; NULL for a type that we do not need. */
static struct proto_span *error_field(struct proto_error *error, struct proto_span *localised,
                                      uint8_t type)
{
    switch (type) {
    case 'S':
        return localised;
    case 'V':
        return &error->severity;
    case 'C':
        return &error->sqlstate;
    case 'M':
        return &error->message;
    case 'D':
        return &error->detail;
    case 'H':
        return &error->hint;
    case 'R':
        return &error->routine;
    default:
        return NULL; /* the manual: fields of unknown type are to be ignored */
    }
}

enum proto_status proto_error_read(struct proto_span body, struct proto_error *ret)
{
    const struct proto_span none = {.base = (const uint8_t *)"", .size = 0};
    struct proto_error error = {none, none, none, none, none, none};
    struct proto_span localised = none;

    struct proto_reader r = proto_reader_make(body);
    for (uint8_t type = proto_read_u8(&r); type != 0; type = proto_read_u8(&r)) {
        const struct proto_span value = proto_read_string(&r);
        struct proto_span *field = error_field(&error, &localised, type);
        if (field != NULL)
            *field = value;
    }
    if (!proto_reader_done(&r) || (error.sqlstate.size != 0 && error.sqlstate.size != 5))
        return PROTO_EMALFORMED;
    if (error.severity.size == 0) /* servers before 9.6 send no V */
        error.severity = localised;
    *ret = error;
    return PROTO_OK;
}

enum proto_status proto_sasl_initial_read(struct proto_span body, struct proto_sasl_initial *ret)
{
    struct proto_reader r = proto_reader_make(body);
    struct proto_sasl_initial initial = {0};
    initial.mechanism = proto_read_string(&r);
    const uint32_t size = proto_read_u32(&r);
    initial.has_response = size != UINT32_MAX;
    initial.response = proto_read_bytes(&r, initial.has_response ? size : 0);
    if (!proto_reader_done(&r))
        return PROTO_EMALFORMED;
    *ret = initial;
    return PROTO_OK;
}

enum proto_status proto_password_read(struct proto_span body, struct proto_span *ret_password)
{
    return proto_query_read(body, ret_password); /* the same shape: one string */
}
