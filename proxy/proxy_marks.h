/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_marks: what the primary had written by when. A mark (time, LSN) says: every commit that had
 * returned to a client before that time is at or below that LSN. Pure; one owner.
 */
#ifndef PROXY_MARKS_H
#define PROXY_MARKS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MARKS_MAX = 1024,
    MARKS_SYSTEM_MAX = 24, /* bytes of a system identifier, with its zero */
};

/* The marks of one history: a system identifier and a timeline. Oldest first; times and LSNs both
 * grow strictly. When full, every second one of the older half goes: old times get coarser, and
 * each mark that stays is as true as before. */
struct marks {
    uint64_t time_ns[MARKS_MAX];
    uint64_t lsn[MARKS_MAX];
    uint32_t count;
    uint32_t timeline; /* 0: no history yet */
    char system_identifier[MARKS_SYSTEM_MAX];
};

/* Drops all marks and begins another history. `system_identifier` is "" where it is unknown. */
void marks_reset(struct marks *m, const char *system_identifier, uint32_t timeline);
/* True when a node with this identity shares the history: unknown parts do not tell them apart. */
bool marks_fits(const struct marks *m, const char *system_identifier, uint32_t timeline);

/* `time_ns`: before the probe was sent; `lsn`: its answer, normalised. An LSN that went back (the
 * primary lost what it had not flushed) drops the marks before it. An older time is ignored. */
void marks_add(struct marks *m, uint64_t time_ns, uint64_t lsn);
/* The newest mark at or below `replayed`; 0: none. */
uint64_t marks_fresh_as_of(const struct marks *m, uint64_t replayed);
/* LSN of the newest mark; 0: none. */
uint64_t marks_newest_lsn(const struct marks *m);

/*
 * An idle insert position stands just behind the header of its WAL page (24 bytes, or 40 on the
 * first page of a segment), where a replica reports the page's boundary: the boundary is returned
 * for exactly these two. Where the segment's size is unknown (0), the long header is not assumed.
 */
uint64_t marks_idle_lsn(uint64_t insert_lsn, uint64_t segment_size, uint64_t page_size);

#endif
