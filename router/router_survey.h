/* SPDX-License-Identifier: PostgreSQL
 *
 * router_survey: what one pass over the tokens tells before anything is parsed.
 *
 * Pure; any thread; about 12 KiB of stack.
 */
#ifndef ROUTER_SURVEY_H
#define ROUTER_SURVEY_H

#include "router_classify.h"

struct router_survey {
    struct router_hint hint;
    bool hinted;    /* a comment said something to us */
    bool broken;    /* a lexical error */
    bool uescape;   /* a literal that changes what a name is */
    uint32_t depth; /* the text's parse tree is not deeper; UINT32_MAX: too many parentheses */
    uint64_t work;  /* of the parser, in about as many instructions */
    uint32_t body_offset; /* EXPLAIN (ROUTE): where the statement begins; 0: it is none */
};

/* More than a worker takes upon itself while its other clients wait, or too deep for its stack.
 * What comes behind the place where that is certain was not looked at. */
static inline bool router_survey_too_long(const struct router_survey *survey)
{
    return survey->depth > ROUTER_DEPTH_MAX || survey->work > ROUTER_WORK_MAX;
}

void router_survey(const char *text, size_t size, struct router_survey *ret);

#endif
