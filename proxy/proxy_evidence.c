/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_evidence: parse, compare with what was known, look up the marks.
 */
#include "proxy_evidence.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *evidence_finding_text(enum evidence_finding finding)
{
    static const char *const texts[] = {
#define X(name, text) text,
        EVIDENCE_FINDING_MAP(X)
#undef X
    };
    assert(finding < EVIDENCE_FINDING_COUNT);
    return texts[finding];
}

/* ---- parsing ---- */

static bool number(const char *text, int base, uint64_t max, uint64_t *ret)
{
    /* strtoull would take blanks and signs, too. */
    if (text == NULL || strspn(text, "0123456789ABCDEFabcdef") != strlen(text) || *text == '\0')
        return false;
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, base);
    if (errno != 0 || *end != '\0' || value > max)
        return false;
    *ret = value;
    return true;
}

bool evidence_parse_lsn(const char *text, uint64_t *ret)
{
    char half[9];
    const char *slash = text != NULL ? strchr(text, '/') : NULL;
    if (slash == NULL || slash - text > 8)
        return false;
    memcpy(half, text, (size_t)(slash - text));
    half[slash - text] = '\0';

    uint64_t high, low;
    if (!number(half, 16, UINT32_MAX, &high) || !number(slash + 1, 16, UINT32_MAX, &low))
        return false;
    *ret = high << 32 | low;
    return true;
}

static bool flag(const char *text)
{
    return text != NULL && text[0] == 't';
}

static void parse_full(const char *const *columns, struct evidence_answer *a)
{
    uint64_t value;

    a->is_full = true;
    a->receiver_up = flag(columns[EVIDENCE_RECEIVER]);
    a->replay_paused = flag(columns[EVIDENCE_PAUSED]);
    if (evidence_parse_lsn(columns[EVIDENCE_RECEIVED_LSN], &value))
        a->received_lsn = value;
    if (number(columns[EVIDENCE_SEGMENT_SIZE], 10, UINT64_MAX, &value))
        a->segment_size = value;
    if (number(columns[EVIDENCE_PAGE_SIZE], 10, UINT64_MAX, &value))
        a->page_size = value;
    if (a->timeline == 0 && number(columns[EVIDENCE_TIMELINE], 10, UINT32_MAX, &value))
        a->timeline = (uint32_t)value;
    const char *system = columns[EVIDENCE_SYSTEM];
    const char *started = columns[EVIDENCE_STARTED];
    snprintf(a->system_identifier, sizeof(a->system_identifier), "%s", system ? system : "");
    snprintf(a->postmaster_start, sizeof(a->postmaster_start), "%s", started ? started : "");
}

bool evidence_parse(const char *const *columns, uint32_t count, struct evidence_answer *ret)
{
    struct evidence_answer a = {.is_full = false};
    uint64_t timeline;

    if (count != EVIDENCE_QUICK_COLUMNS && count != EVIDENCE_COLUMNS)
        return false;
    if (columns[EVIDENCE_IN_RECOVERY] == NULL)
        return false;
    a.in_recovery = flag(columns[EVIDENCE_IN_RECOVERY]);
    if (!evidence_parse_lsn(columns[EVIDENCE_LSN], &a.lsn))
        return false;
    if (number(columns[EVIDENCE_WAL_FILE], 16, UINT32_MAX, &timeline))
        a.timeline = (uint32_t)timeline;
    if (!a.in_recovery && a.timeline == 0)
        return false;
    if (count == EVIDENCE_COLUMNS)
        parse_full(columns, &a);
    *ret = a;
    return true;
}

/* ---- judging ---- */

bool evidence_void(struct evidence *e)
{
    const bool was_known = e->fresh_as_of_ns != 0;
    e->is_known = false;
    e->fresh_as_of_ns = 0;
    e->evidence_ns = 0;
    return was_known;
}

bool evidence_differs(const char *known, const char *now)
{
    return known[0] != '\0' && now[0] != '\0' && strcmp(known, now) != 0;
}

/* What this answer contradicts of what the same connection showed before. */
static enum evidence_finding contradiction(const struct evidence *e,
                                           const struct evidence_answer *a)
{
    if (a->is_full && evidence_differs(e->system_identifier, a->system_identifier))
        return EVIDENCE_OTHER_SYSTEM;
    if (a->is_full && evidence_differs(e->postmaster_start, a->postmaster_start))
        return EVIDENCE_RESTARTED;
    if (a->in_recovery != e->in_recovery)
        return EVIDENCE_OTHER_ROLE;
    /* A replica's lower one only says that the receiver, which knew better, has ended. */
    if (e->timeline != 0 && a->timeline > e->timeline)
        return EVIDENCE_OTHER_TIMELINE;
    if (!a->in_recovery && a->timeline != e->timeline)
        return EVIDENCE_OTHER_TIMELINE;
    if (a->lsn < e->lsn)
        return EVIDENCE_WENT_BACK;
    return EVIDENCE_GOOD;
}

enum evidence_finding evidence_take(struct evidence *e, const struct evidence_answer *answer)
{
    struct evidence_answer a = *answer;
    assert(e->is_known || a.is_full);

    if (a.is_full) {
        e->segment_size = a.segment_size;
        e->page_size = a.page_size;
    }
    if (!a.in_recovery)
        a.lsn = marks_idle_lsn(a.lsn, e->segment_size, e->page_size);

    const enum evidence_finding finding = e->is_known ? contradiction(e, &a) : EVIDENCE_GOOD;
    if (finding != EVIDENCE_GOOD) {
        evidence_void(e);
        return finding;
    }
    e->in_recovery = a.in_recovery;
    e->lsn = a.lsn;
    if (a.is_full) {
        if (!e->is_known || a.timeline > e->timeline)
            e->timeline = a.timeline;
        memcpy(e->system_identifier, a.system_identifier, sizeof(e->system_identifier));
        memcpy(e->postmaster_start, a.postmaster_start, sizeof(e->postmaster_start));
        e->is_known = true;
    }
    return EVIDENCE_GOOD;
}

bool evidence_refresh(struct evidence *e, const struct marks *marks, uint64_t sent_ns)
{
    assert(e->is_known && e->in_recovery);

    if (!marks_fits(marks, e->system_identifier, e->timeline)) {
        e->fresh_as_of_ns = 0;
        e->evidence_ns = 0;
        return false;
    }
    const uint64_t fresh_ns = marks_fresh_as_of(marks, e->lsn);
    if (fresh_ns > e->fresh_as_of_ns)
        e->fresh_as_of_ns = fresh_ns;
    if (e->fresh_as_of_ns != 0)
        e->evidence_ns = sent_ns;
    return true;
}
