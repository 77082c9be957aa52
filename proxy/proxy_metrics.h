/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_metrics: everything that is counted, as text for Prometheus. The supervisor's thread.
 *
 * Two forms, chosen by the Accept header: OpenMetrics 1.0, and the classic text format 0.0.4, which
 * differ in the names of a counter's family, in units and in the last line.
 * Reference: docs/reference/metrics.md.
 */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "proxy_metrics_text.h"
#include "proxy_supervisor.h"

#define METRICS_TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define METRICS_TYPE_CLASSIC "text/plain; version=0.0.4; charset=utf-8"

/* Appends all of it. */
void metrics_write(const struct supervisor *s, bool openmetrics, struct text *ret);

/* ---- parts, proxy_metrics_nodes.c ---- */

void metrics_write_nodes(struct metrics *m, const struct supervisor *s, uint64_t now_ns);
void metrics_write_pools(struct metrics *m, const struct supervisor *s, uint64_t now_ns);
void metrics_write_catalogs(struct metrics *m, const struct supervisor *s, uint64_t now_ns);
void metrics_write_process(struct metrics *m, const struct supervisor *s, uint64_t now_ns);

#endif
