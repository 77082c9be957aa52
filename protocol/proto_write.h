/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_write: messages that the proxy itself writes, to either side.
 *
 * Pure: bytes are appended to a buffer of the caller's with a hard end. When a message does not
 * fit, nothing of it is written and `overflow` sticks; one check at the end is enough. Any thread.
 * Source: PostgreSQL manual, "Frontend/Backend Protocol", "Message Formats", "Error Fields".
 */
#ifndef PROTO_WRITE_H
#define PROTO_WRITE_H

#include "proto_frame.h"

struct proto_writer {
    uint8_t *base;
    size_t size; /* bytes written */
    size_t capacity;
    bool overflow;
};

static inline struct proto_writer proto_writer_make(uint8_t *base, size_t capacity)
{
    return (struct proto_writer){.base = base, .capacity = capacity};
}

static inline struct proto_span proto_writer_span(const struct proto_writer *w)
{
    return (struct proto_span){.base = w->base, .size = w->size};
}

/* Copies whole, ready-made bytes (for example a client's message as it came). */
void proto_write_raw(struct proto_writer *w, struct proto_span bytes);

/* To a server. Strings are spans without NUL; an embedded NUL is a bug of the caller (assert). */
void proto_write_query(struct proto_writer *w, struct proto_span text);
void proto_write_parse(struct proto_writer *w, struct proto_span name, struct proto_span text,
                       struct proto_span types); /* types: big-endian OIDs, size a multiple of 4 */
void proto_write_bind(struct proto_writer *w, struct proto_span portal, struct proto_span statement,
                      struct proto_span rest); /* rest: as of proto_bind_peek, from formats on */
void proto_write_bind_empty(struct proto_writer *w, struct proto_span portal,
                            struct proto_span statement); /* no parameters, text results */
void proto_write_describe(struct proto_writer *w, uint8_t what, struct proto_span name);
void proto_write_close(struct proto_writer *w, uint8_t what, struct proto_span name);
void proto_write_execute(struct proto_writer *w, struct proto_span portal, uint32_t rows_max);
void proto_write_sync(struct proto_writer *w);
void proto_write_flush(struct proto_writer *w);
void proto_write_terminate(struct proto_writer *w);

/* To a client. */
void proto_write_auth_ok(struct proto_writer *w);
void proto_write_auth_cleartext(struct proto_writer *w);
void proto_write_auth_md5(struct proto_writer *w, const uint8_t salt[4]);
void proto_write_auth_sasl(struct proto_writer *w, const char *const *mechanisms, size_t count);
void proto_write_auth_sasl_continue(struct proto_writer *w, struct proto_span data);
void proto_write_auth_sasl_final(struct proto_writer *w, struct proto_span data);
void proto_write_parameter_status(struct proto_writer *w, struct proto_span name,
                                  struct proto_span value);
void proto_write_backend_key(struct proto_writer *w, uint32_t pid, struct proto_span key);
/* Protocol 3.`minor` is what will be spoken: never newer than what the client asked for. */
void proto_write_negotiate(struct proto_writer *w, uint32_t minor,
                           const struct proto_span *unknown_options, size_t count);
void proto_write_ready(struct proto_writer *w, uint8_t status);
void proto_write_parse_complete(struct proto_writer *w);
void proto_write_bind_complete(struct proto_writer *w);
void proto_write_close_complete(struct proto_writer *w);
void proto_write_no_data(struct proto_writer *w);
void proto_write_empty_query(struct proto_writer *w);
void proto_write_portal_suspended(struct proto_writer *w);
void proto_write_command_complete(struct proto_writer *w, const char *tag);

/* Columns of text type (OID 25). */
void proto_write_row_description(struct proto_writer *w, const char *const *names, size_t count);
/* One column of another type. `size` of its values, `format` 0 for text and 1 for binary. */
void proto_write_column(struct proto_writer *w, const char *name, uint32_t type, uint16_t size,
                        uint16_t format);
void proto_write_parameter_description(struct proto_writer *w, const uint32_t *types, size_t count);
/* A NULL value has base NULL. */
void proto_write_data_row(struct proto_writer *w, const struct proto_span *values, size_t count);

/*
 * An ErrorResponse ('E') or, for the severities NOTICE, WARNING, INFO, LOG and DEBUG, a
 * NoticeResponse ('N'). Severity is written as S and V. detail and hint may be NULL.
 */
struct proto_error_text {
    const char *severity; /* "ERROR", "FATAL", "WARNING", ... */
    const char *sqlstate; /* five characters */
    const char *message;
    const char *detail;
    const char *hint;
    const char *routine; /* by which clients tell apart what has one SQLSTATE */
};
void proto_write_error(struct proto_writer *w, const struct proto_error_text *e);

#endif
