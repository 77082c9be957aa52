/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_metrics_text: the text format of metrics, a family, then its samples.
 *
 * Source: OpenMetrics 1.0; Prometheus, "Exposition formats". Appends to a text, keeps nothing else.
 */
#ifndef PROXY_METRICS_TEXT_H
#define PROXY_METRICS_TEXT_H

#include "proxy_text.h"

struct metrics {
    struct text *out;
    bool openmetrics;
    const char *name; /* of the family */
    const char *suffix;
};

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM, METRICS_INFO };

/* `name` is without _total or _info. The unit is "", or the last word of the name. */
void metrics_family(struct metrics *m, const char *name, enum metrics_type type, const char *unit,
                    const char *help);

/* A label is a name and a value; the list ends with NULL. Values are escaped. */
#define METRICS_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define METRICS_NO_LABELS ((const char *const[]){NULL})

void metrics_integer(struct metrics *m, const char *const *labels, uint64_t value);
void metrics_real(struct metrics *m, const char *const *labels, double value);
/* One sample of a histogram: suffix "_bucket" with its bound, "_sum" or "_count". */
void metrics_bucket(struct metrics *m, const char *const *labels, double bound, uint64_t count);
void metrics_sum(struct metrics *m, const char *const *labels, double sum, uint64_t count);
void metrics_end(struct metrics *m);

#endif
