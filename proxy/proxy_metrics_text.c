/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_metrics_text: the text format of metrics.
 */
#include "proxy_metrics_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const type_names[] = {"counter", "gauge", "histogram", "info"};

/* A backslash, a quote and a line feed are the only bytes that need it. */
static void put_escaped(struct text *t, const char *value)
{
    for (const char *p = value; *p != 0; p++) {
        if (*p == '\\' || *p == '"')
            text_add(t, "\\", 1);
        if (*p == '\n')
            text_add(t, "\\n", 2);
        else
            text_add(t, p, 1);
    }
}

void metrics_family(struct metrics *m, const char *name, enum metrics_type type, const char *unit,
                    const char *help)
{
    m->name = name;
    m->suffix = type == METRICS_COUNTER ? "_total" : type == METRICS_INFO ? "_info" : "";
    /* The classic format knows no info, and names the family as the sample. */
    const char *type_name = !m->openmetrics && type == METRICS_INFO ? "gauge" : type_names[type];
    const char *suffix = m->openmetrics ? "" : m->suffix;
    text_format(m->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
                type_name);
    if (m->openmetrics && *unit != 0)
        text_format(m->out, "# UNIT %s %s\n", name, unit);
}

static void put_head(struct metrics *m, const char *suffix, const char *const *labels,
                     const char *bound)
{
    const char *separator = "{";
    text_string(m->out, m->name);
    text_string(m->out, suffix);
    for (; labels[0] != NULL; labels += 2) {
        text_format(m->out, "%s%s=\"", separator, labels[0]);
        put_escaped(m->out, labels[1]);
        text_string(m->out, "\"");
        separator = ",";
    }
    if (bound != NULL) {
        text_format(m->out, "%sle=\"%s\"", separator, bound);
        separator = ",";
    }
    text_string(m->out, *separator == ',' ? "} " : " ");
}

void metrics_integer(struct metrics *m, const char *const *labels, uint64_t value)
{
    put_head(m, m->suffix, labels, NULL);
    text_format(m->out, "%" PRIu64 "\n", value);
}

static void put_real(struct text *t, double value)
{
    if (isinf(value))
        text_string(t, value > 0 ? "+Inf" : "-Inf");
    else if (isnan(value))
        text_string(t, "NaN");
    else
        text_format(t, "%.12g", value);
}

void metrics_real(struct metrics *m, const char *const *labels, double value)
{
    put_head(m, m->suffix, labels, NULL);
    put_real(m->out, value);
    text_string(m->out, "\n");
}

void metrics_bucket(struct metrics *m, const char *const *labels, double bound, uint64_t count)
{
    struct text le = {0};
    put_real(&le, bound);
    text_add(&le, "", 1);
    put_head(m, "_bucket", labels, le.failed ? "" : le.base);
    text_format(m->out, "%" PRIu64 "\n", count);
    text_deinit(&le);
}

void metrics_sum(struct metrics *m, const char *const *labels, double sum, uint64_t count)
{
    put_head(m, "_sum", labels, NULL);
    put_real(m->out, sum);
    text_string(m->out, "\n");
    put_head(m, "_count", labels, NULL);
    text_format(m->out, "%" PRIu64 "\n", count);
}

void metrics_end(struct metrics *m)
{
    if (m->openmetrics)
        text_string(m->out, "# EOF\n");
}
