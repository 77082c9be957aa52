/* SPDX-License-Identifier: PostgreSQL
 *
 * router_rows: tables of statements, and the verdict and the reason that each has.
 */
#ifndef ROUTER_ROWS_H
#define ROUTER_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router_classify.h"

static struct router_detail detail; /* of the last one that was classified */

static inline struct router_class classify(const char *text)
{
    struct router_class class;
    router_classify(text, strlen(text), NULL, &class, &detail);
    return class;
}

struct row {
    const char *text;
    enum router_verdict verdict;
    enum router_reason reason;
};

#define READ(reason) ROUTER_VERDICT_READ, ROUTER_REASON_##reason
#define WRITE(reason) ROUTER_VERDICT_WRITE, ROUTER_REASON_##reason
#define PIN(reason) ROUTER_VERDICT_PIN, ROUTER_REASON_##reason
#define SESSION(reason) ROUTER_VERDICT_SESSION, ROUTER_REASON_##reason
#define TRANSACTION(reason) ROUTER_VERDICT_TRANSACTION, ROUTER_REASON_##reason
#define LOCAL(reason) ROUTER_VERDICT_LOCAL, ROUTER_REASON_##reason

static inline void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct router_class class = classify(rows[i].text);
        if (class.verdict != rows[i].verdict || class.reason != rows[i].reason)
            fail_msg("%s/%s: %s", router_verdict_text(class.verdict),
                     router_reason_text(class.reason), rows[i].text);
    }
}
#define CHECK(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

#endif
