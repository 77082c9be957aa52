/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_saslprep: a password in the form in which SCRAM hashes it. Pure; any thread.
 * Source: RFC 4013; PostgreSQL's src/common/saslprep.c, whose exceptions are kept: what cannot be
 * prepared is used as it is.
 */
#ifndef PROXY_SASLPREP_H
#define PROXY_SASLPREP_H

#include "proto_frame.h"

enum {
    SASLPREP_SIZE_MAX = 2048,     /* a longer one is used as it is: preparing is not linear */
    SASLPREP_BUFFER_SIZE = 32768, /* one letter may become eighteen */
};

/* `password`, or what it was made into in `buf`, which the caller wipes. */
struct proto_span saslprep(struct proto_span password, char buf[SASLPREP_BUFFER_SIZE]);

#endif
