/* SPDX-License-Identifier: PostgreSQL
 *
 * core_work: how much one client may have done in one turn of its worker. What takes long adds what
 * it takes to worker->work; the shell sets that to 0 at each event. Above its share, a session
 * stops between two messages (actions->tired), and the shell goes on with it in the next turn. For
 * the session core alone.
 */
#ifndef CORE_WORK_H
#define CORE_WORK_H

#include "core_actions.h"
#include "core_state.h"

/* About how many instructions is taken by what takes many, and is not bounded by one read. A
 * planned batch goes out in one piece, so one that takes more than a share is streamed instead. */
enum {
    CORE_WORK_SHARE = 8 * 1000 * 1000,
    CORE_WORK_BATCH_MAX = CORE_WORK_SHARE,
    CORE_WORK_MESSAGES_MAX = 65536, /* likewise */
    CORE_WORK_BATCH = 2500,
    CORE_WORK_MESSAGE = 400,
    CORE_WORK_HASHED_BYTE = 12,
    CORE_WORK_PARSE = 12000, /* a statement once more, for what it sets or executes */
    CORE_WORK_PARSED_BYTE = 100,
};

/* What is left waits until others were served. */
static inline bool core_is_tired(const struct core_worker *w, struct core_actions *a)
{
    if (__builtin_expect(w->work <= w->work_share, 1))
        return false;
    return a->tired = true;
}

#endif
