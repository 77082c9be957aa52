/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_startup: the first packet of a connection, which has no type byte.
 *
 * Pure; borrows; any thread.
 * Source: PostgreSQL manual, "Frontend/Backend Protocol", "Start-up", "Message Formats".
 */
#ifndef PROTO_STARTUP_H
#define PROTO_STARTUP_H

#include "proto_frame.h"

enum {
    PROTO_STARTUP_SIZE_MIN = 8,
    PROTO_STARTUP_SIZE_MAX = 10004,     /* PostgreSQL's MAX_STARTUP_PACKET_LENGTH, and the length */
    PROTO_STARTUP_PARAMETERS_MAX = 256, /* more are PROTO_EMALFORMED */
    PROTO_CANCEL_KEY_SIZE_MAX = 256,
};

enum proto_startup_kind {
    PROTO_STARTUP_SESSION, /* StartupMessage, 3.x */
    PROTO_STARTUP_SSL,
    PROTO_STARTUP_GSSENC,
    PROTO_STARTUP_CANCEL,
};

struct proto_startup {
    enum proto_startup_kind kind;
    uint32_t packet_size;   /* bytes of the packet, its length word included */
    uint16_t version_major; /* SESSION */
    uint16_t version_minor;
    uint16_t parameters_count;
    uint16_t unknown_options_count; /* parameters whose name begins with _pq_. */
    struct proto_parameter_pair {
        struct proto_span name;
        struct proto_span value;
    } parameters[PROTO_STARTUP_PARAMETERS_MAX];
    uint32_t cancel_pid; /* CANCEL */
    struct proto_span cancel_key;
};

/*
 * Reads the packet at the front of `in`. PROTO_MORE until it is whole, but the length word is
 * judged as soon as its four bytes are there: PROTO_EBADLEN below 8, PROTO_ETOOBIG above 10,004.
 * PROTO_EUNSUPPORTED for any code that is not one of the four kinds (protocol 2, garbage);
 * PROTO_EMALFORMED for parameters that do not end where the packet does, or a cancel request or
 * SSL request of the wrong size. *ret is written on PROTO_OK only.
 */
enum proto_status proto_startup_read(struct proto_span in, struct proto_startup *ret);

/* Is a packet that proto_startup_read() refused as malformed a cancel request? */
bool proto_startup_is_cancel(struct proto_span packet);

/* The value of the last parameter with this name, or a span with base NULL. */
struct proto_span proto_startup_find(const struct proto_startup *s, const char *name);

/*
 * Splits the start-up parameter `options` ("-c k=v --k=v -ck=v", a backslash makes the next byte
 * an ordinary one, as in PostgreSQL) into settings. Names and values are written NUL-terminated
 * into `buf`; `-` in a name becomes `_`. `emit` is called once a setting, in order, and only when
 * the whole text was good. PROTO_EMALFORMED on a setting without a value, PROTO_EUNSUPPORTED on
 * anything else (the server's other switches too): then `buf` holds the word at fault.
 * PROTO_ETOOBIG when buf is too small (the text's size plus 2 always suffices).
 */
enum proto_status proto_options_split(struct proto_span options, char *buf, size_t buf_size,
                                      void (*emit)(void *arg, const char *name, const char *value),
                                      void *arg);

#endif
