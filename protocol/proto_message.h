/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_message: the bodies of the messages that a proxy has to read.
 *
 * Pure: a whole body (without its five header bytes) goes in, spans into it come out. PROTO_OK or
 * PROTO_EMALFORMED. Nothing is kept; any thread.
 * Source: PostgreSQL manual, "Frontend/Backend Protocol", "Message Formats".
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "proto_frame.h"

/* Query ('Q'): one string. The span excludes the terminating NUL. */
enum proto_status proto_query_read(struct proto_span body, struct proto_span *ret_text);

/* Parse ('P'). types: `types_count` big-endian int32 OIDs, 4 bytes each. */
struct proto_parse {
    struct proto_span name; /* empty: the unnamed statement */
    struct proto_span text;
    struct proto_span types;
    uint16_t types_count;
};
enum proto_status proto_parse_read(struct proto_span body, struct proto_parse *ret);

/*
 * Bind ('B'): only its two names are read, `rest` is what follows them (formats, values, result
 * formats), unread. So a Bind of any size can be forwarded from its first bytes: `body` may be a
 * prefix of the body as long as both names are in it; PROTO_MORE when they are not.
 */
struct proto_bind {
    struct proto_span portal;
    struct proto_span statement;
    struct proto_span rest;
};
enum proto_status proto_bind_peek(struct proto_span body, struct proto_bind *ret);

/* Describe ('D') and Close ('C'): what is 'S' (statement) or 'P' (portal). */
struct proto_target {
    uint8_t what;
    struct proto_span name;
};
enum proto_status proto_target_read(struct proto_span body, struct proto_target *ret);

/* Execute ('E'). rows_max 0: all; a negative number means all too, and is read as 0. */
struct proto_execute {
    struct proto_span portal;
    uint32_t rows_max;
};
enum proto_status proto_execute_read(struct proto_span body, struct proto_execute *ret);

/* ReadyForQuery ('Z') from a server: 'I' idle, 'T' in a transaction, 'E' in a failed one. */
enum proto_status proto_ready_read(struct proto_span body, uint8_t *ret_status);

/* ParameterStatus ('S') from a server. */
struct proto_parameter {
    struct proto_span name;
    struct proto_span value;
};
enum proto_status proto_parameter_read(struct proto_span body, struct proto_parameter *ret);

/* ErrorResponse ('E') and NoticeResponse ('N') from a server: any field may be absent: then it
 * is an empty string. PROTO_EMALFORMED also when C is there without five characters. */
struct proto_error {
    struct proto_span severity; /* field V, not localised, else S */
    struct proto_span sqlstate; /* C: five characters when present */
    struct proto_span message;  /* M */
    struct proto_span detail;   /* D */
    struct proto_span hint;     /* H */
    struct proto_span routine;  /* R: not localised */
};
enum proto_status proto_error_read(struct proto_span body, struct proto_error *ret);

/* SASLInitialResponse ('p'): mechanism and the initial response (empty when its length is -1). */
struct proto_sasl_initial {
    struct proto_span mechanism;
    struct proto_span response;
    bool has_response; /* false: its length is -1, and the client waits for a challenge first */
};
enum proto_status proto_sasl_initial_read(struct proto_span body, struct proto_sasl_initial *ret);

/* PasswordMessage ('p') as answer to a clear-text or md5 request. */
enum proto_status proto_password_read(struct proto_span body, struct proto_span *ret_password);

#endif
