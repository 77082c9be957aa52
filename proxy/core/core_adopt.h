/* SPDX-License-Identifier: PostgreSQL
 *
 * core_adopt: what the server says that a session's settings are becomes what the session has set.
 * A function may have changed them unseen. For core_left.c alone.
 */
#ifndef CORE_ADOPT_H
#define CORE_ADOPT_H

#include "core_settings.h"

struct core_adoption {
    struct core_session *session;
    struct core_settings *next; /* one reference; NULL: they cannot be followed */
    uint8_t seen[CORE_SETTINGS_COUNT_MAX / 8 + 1]; /* which of session->settings came */
    bool changed;
    bool temp_buffers; /* it is set */
};

void core_adopt_begin(struct core_adoption *d, struct core_session *s);
void core_adopt_drop(struct core_adoption *d);
/* A setting that was made in the session. `value`.base NULL: too long to be followed. */
void core_adopt_row(struct core_adoption *d, struct proto_span name, struct proto_span value);
/* All have come. False: they cannot be followed, the session has to stay. *ret_changed: raised when
 * they are others than was believed. */
bool core_adopt_end(struct core_adoption *d, bool *ret_changed);

#endif
