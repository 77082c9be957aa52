/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_marks: two sorted columns and a binary search.
 */
#include "proxy_marks.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    PAGE_SIZE_DEFAULT = 8192,
    HEADER_SHORT = 24, /* XLogPageHeaderData */
    HEADER_LONG = 40,  /* XLogLongPageHeaderData */
};

static void marks_invariants(const struct marks *m)
{
    assert(m->count <= MARKS_MAX);
    if (m->count < 2)
        return;
    assert(m->time_ns[m->count - 2] < m->time_ns[m->count - 1]);
    assert(m->lsn[m->count - 2] < m->lsn[m->count - 1]);
}

void marks_reset(struct marks *m, const char *system_identifier, uint32_t timeline)
{
    m->count = 0;
    m->timeline = timeline;
    snprintf(m->system_identifier, sizeof(m->system_identifier), "%s", system_identifier);
}

bool marks_fits(const struct marks *m, const char *system_identifier, uint32_t timeline)
{
    if (m->timeline != 0 && timeline != 0 && m->timeline != timeline)
        return false;
    return m->system_identifier[0] == '\0' || system_identifier[0] == '\0' ||
           strcmp(m->system_identifier, system_identifier) == 0;
}

/* Every second mark of the older half goes. */
static void thin_out(struct marks *m)
{
    const uint32_t half = m->count / 2;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        if (i < half && i % 2 == 1)
            continue;
        m->time_ns[kept] = m->time_ns[i];
        m->lsn[kept] = m->lsn[i];
        kept++;
    }
    m->count = kept;
}

void marks_add(struct marks *m, uint64_t time_ns, uint64_t lsn)
{
    if (m->count > 0 && time_ns <= m->time_ns[m->count - 1])
        return;
    if (m->count > 0 && lsn < m->lsn[m->count - 1])
        m->count = 0;
    if (m->count > 0 && lsn == m->lsn[m->count - 1]) {
        m->time_ns[m->count - 1] = time_ns; /* nothing was written: the later time says more */
        marks_invariants(m);
        return;
    }
    if (m->count == MARKS_MAX)
        thin_out(m);
    m->time_ns[m->count] = time_ns;
    m->lsn[m->count] = lsn;
    m->count++;
    marks_invariants(m);
}

uint64_t marks_fresh_as_of(const struct marks *m, uint64_t replayed)
{
    uint32_t low = 0; /* marks before it are at or below `replayed`, those from `high` on above */
    uint32_t high = m->count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (m->lsn[middle] <= replayed)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? m->time_ns[low - 1] : 0;
}

uint64_t marks_newest_lsn(const struct marks *m)
{
    return m->count > 0 ? m->lsn[m->count - 1] : 0;
}

uint64_t marks_idle_lsn(uint64_t insert_lsn, uint64_t segment_size, uint64_t page_size)
{
    const uint64_t page = page_size != 0 ? page_size : PAGE_SIZE_DEFAULT;
    const uint64_t offset = insert_lsn % page;
    const uint64_t boundary = insert_lsn - offset;
    const bool first_of_segment = segment_size != 0 && boundary % segment_size == 0;

    if (offset == (first_of_segment ? HEADER_LONG : HEADER_SHORT))
        return boundary;
    return insert_lsn;
}
