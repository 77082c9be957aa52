/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_evidence: what one probe's answer says of a node, and when former evidence is void. Pure:
 * texts and times come in. One owner.
 */
#ifndef PROXY_EVIDENCE_H
#define PROXY_EVIDENCE_H

#include "proxy_marks.h"

/* The columns of a probe's answer, in this order. A quick probe asks for the first three. */
enum evidence_column {
    EVIDENCE_IN_RECOVERY, /* "t" or "f" */
    EVIDENCE_LSN,         /* insert LSN of a primary, replay LSN of a replica */
    EVIDENCE_WAL_FILE,    /* primary: the timeline, eight hexadecimal digits */
    EVIDENCE_QUICK_COLUMNS,
    EVIDENCE_RECEIVER = EVIDENCE_QUICK_COLUMNS, /* does a WAL receiver run? */
    EVIDENCE_PAUSED,
    EVIDENCE_STARTED, /* when the postmaster started */
    EVIDENCE_RECEIVED_LSN,
    EVIDENCE_SEGMENT_SIZE,
    EVIDENCE_PAGE_SIZE,
    EVIDENCE_SYSTEM,   /* NULL where the role may not know it */
    EVIDENCE_TIMELINE, /* the newest one that the node is known to have reached, or NULL */
    EVIDENCE_COLUMNS
};

struct evidence_answer {
    bool is_full; /* the members below `timeline` were asked for */
    bool in_recovery;
    uint64_t lsn;      /* a primary's is normalised by evidence_take() */
    uint32_t timeline; /* 0: unknown, or not asked for */
    bool receiver_up;
    bool replay_paused;
    uint64_t received_lsn;
    uint64_t segment_size, page_size;         /* 0: unknown */
    char system_identifier[MARKS_SYSTEM_MAX]; /* "": unknown */
    char postmaster_start[40];
};

/* Texts of EVIDENCE_COLUMNS or EVIDENCE_QUICK_COLUMNS, NULL where the value is. False: no answer
 * that we understand. */
bool evidence_parse(const char *const *columns, uint32_t count, struct evidence_answer *ret);
bool evidence_parse_lsn(const char *text, uint64_t *ret);
/* Of two identities, "" where one is not known: are they of different servers, or starts? */
bool evidence_differs(const char *known, const char *now);

#define EVIDENCE_FINDING_MAP(X)                                             \
    X(GOOD, "good")                                                         \
    X(WENT_BACK, "the LSN went back")                                       \
    X(RESTARTED, "the server was restarted")                                \
    X(OTHER_TIMELINE, "the node is on another timeline than before")        \
    X(OTHER_SYSTEM, "another database cluster answers (system identifier)") \
    X(OTHER_ROLE, "the node left recovery, or went back into it")
enum evidence_finding {
#define X(name, text) EVIDENCE_##name,
    EVIDENCE_FINDING_MAP(X)
#undef X
        EVIDENCE_FINDING_COUNT
};
const char *evidence_finding_text(enum evidence_finding finding);

/* What is known of one node. Zeroed: nothing. */
struct evidence {
    bool is_known; /* a full answer came on the connection that is open now */
    bool in_recovery;
    uint64_t fresh_as_of_ns; /* replica; 0: unknown */
    uint64_t evidence_ns;    /* when the newest probe was sent that bears fresh_as_of_ns out */
    uint64_t lsn;
    uint32_t timeline;
    uint64_t segment_size, page_size;
    char system_identifier[MARKS_SYSTEM_MAX];
    char postmaster_start[40];
};

/* The probe's connection was lost or refused: nothing holds until a probe on a new one answers.
 * What identifies the node is kept. True when fresh_as_of_ns was known. */
bool evidence_void(struct evidence *e);

/*
 * Takes an answer. Anything but GOOD contradicts what this connection showed before: the evidence
 * is void, the answer was not taken, and the caller closes the connection. Only the first answer
 * on a connection may bring another start time, timeline or an older LSN; it must be a full one.
 */
enum evidence_finding evidence_take(struct evidence *e, const struct evidence_answer *answer);

/* After evidence_take() of a replica's answer: looks for the newest mark that it has replayed.
 * Never decreases. False when the node does not share the history of the marks: void. */
bool evidence_refresh(struct evidence *e, const struct marks *marks, uint64_t sent_ns);

#endif
