/* SPDX-License-Identifier: PostgreSQL
 *
 * proto_proxy: the header that a load balancer puts in front of a connection, to say whose it is.
 *
 * Pure; borrows; any thread.
 * Source: HAProxy, "The PROXY protocol", version 2 (binary), sections 2.2 and 2.2.1 to 2.2.3.
 */
#ifndef PROTO_PROXY_H
#define PROTO_PROXY_H

#include "proto_frame.h"

enum {
    PROTO_PROXY_FIXED_SIZE = 16,  /* signature, version and command, family, length */
    PROTO_PROXY_SIZE_MAX = 16384, /* with addresses and TLVs; more is PROTO_ETOOBIG */
    PROTO_PROXY_FIRST_BYTE = 0x0d,
};

struct proto_proxy {
    uint32_t size;      /* of the header: the connection's own bytes begin behind it */
    bool is_local;      /* LOCAL: the load balancer speaks for itself */
    bool has_address;   /* false: LOCAL, or a family that has no IP address: the real one counts */
    bool is_v4;         /* addresses are v4-mapped then */
    uint8_t source[16]; /* of the client */
    uint8_t destination[16];
    uint16_t source_port;
    uint16_t destination_port;
};

/*
 * Reads the header at the front of `in`. What is wrong is told as early as it can be:
 * PROTO_EMALFORMED for another signature, for addresses or TLVs that do not fit, for a wrong
 * checksum (CRC32c, where there is one); PROTO_EUNSUPPORTED for another version, command, family or
 * transport; PROTO_ETOOBIG. The TLVs are checked and skipped. *ret is written on PROTO_OK only.
 */
enum proto_status proto_proxy_read(struct proto_span in, struct proto_proxy *ret);

/* Bytes that may be read without going past the header's end, by what is there of it: at least 1
 * while proto_proxy_read() says PROTO_MORE. */
uint32_t proto_proxy_missing(struct proto_span in);

#endif
