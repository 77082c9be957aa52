/* SPDX-License-Identifier: PostgreSQL
 *
 * core_block_story: what the stories about blocks that may begin on a replica share.
 */
#ifndef CORE_BLOCK_STORY_H
#define CORE_BLOCK_STORY_H

#include "core_story.h"

static inline int block_open(void **state)
{
    (void)story_open(state);
    ((struct story *)*state)->database.until_write = true;
    return 0;
}

#undef STORY
#define STORY(name) cmocka_unit_test_setup_teardown(name, block_open, story_close)

/* The first read of a block, in one batch with its BEGIN as JDBC sends them. */
static inline void open_by_a_read(struct story *st)
{
    story_client(st, "P(|BEGIN) B() E P(|SELECT 1) B() D(P) E S");
    story_server(st, 1, "1 2 C(BEGIN) 1 2 T(a) D(1) C(SELECT 1) Z(T)");
    story_expect(st, "client: 1 2 C(BEGIN)\n"
                     "replica: P(|BEGIN) B() E P(|SELECT 1) B() D(P) E S\n"
                     "client: 1 2 T D(1) C(SELECT 1) Z(T)\n");
}

static inline void commit_on_replica(struct story *st)
{
    story_client(st, "P(|COMMIT) B() D(P) E S");
    story_server(st, 1, "1 2 n C(COMMIT) Z(I)");
    story_expect(st, "replica: P(|COMMIT) B() D(P) E S\n"
                     "client: 1 2 n C(COMMIT) Z(I)\n"
                     "release replica\n");
}

#endif
