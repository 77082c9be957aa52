/* SPDX-License-Identifier: PostgreSQL
 *
 * core_notation: the messages of the protocol as the stories write and log them (core_story.h).
 */
#ifndef CORE_NOTATION_H
#define CORE_NOTATION_H

#include "core_story.h"

/* Adds to the log of the story. */
void story_say(struct story *st, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What was sent to `whom`, a server or a client. */
void story_say_sink(struct story *st, const char *whom, const struct core_sink *sink, bool server);

#endif
