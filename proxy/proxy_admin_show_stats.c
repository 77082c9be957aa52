/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_show_stats: SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS. Times are in
 * microseconds, as PgBouncer's. Counts and bytes are averages a second, times a query or
 * transaction, over the last one to two minutes.
 */
#include <stdio.h>

#include "proxy_admin_internal.h"

enum { NUMBERS = 7 }; /* transactions, queries, received, sent, and the times of three things */

struct numbers {
    uint64_t values[NUMBERS];
};

static const char *const number_names[NUMBERS] = {"xact_count",   "query_count", "client_bytes",
                                                  "server_bytes", "xact_time",   "query_time",
                                                  "wait_time"};

static struct numbers totals(const struct stats_database *d)
{
    return (struct numbers){{d->transactions, d->queries, d->bytes_in, d->bytes_out,
                             d->transaction_ns / 1000, d->query_ns / 1000, d->wait_ns / 1000}};
}

static void add(struct numbers *to, const struct numbers *n)
{
    for (uint32_t i = 0; i < NUMBERS; i++)
        to->values[i] += n->values[i];
}

/* Between two moments. */
static struct numbers averages(const struct numbers *from, const struct numbers *to,
                               uint64_t elapsed_ns)
{
    struct numbers d;
    for (uint32_t i = 0; i < NUMBERS; i++)
        d.values[i] = to->values[i] > from->values[i] ? to->values[i] - from->values[i] : 0;
    const uint64_t transactions = d.values[0], queries = d.values[1];
    const double seconds = elapsed_ns > 0 ? (double)elapsed_ns / 1e9 : 1;
    for (uint32_t i = 0; i < 4; i++)
        d.values[i] = (uint64_t)((double)d.values[i] / seconds);
    d.values[4] = transactions > 0 ? d.values[4] / transactions : 0;
    d.values[5] = queries > 0 ? d.values[5] / queries : 0;
    d.values[6] = transactions > 0 ? d.values[6] / transactions : 0;
    return d;
}

static void both(const struct admin_show_context *x, uint32_t database, struct numbers *ret_totals,
                 struct numbers *ret_averages)
{
    const struct admin_sample *since = x->admin->older;
    struct stats_database sum;
    sum_database(x->proxy, database, &sum);
    const struct numbers then = totals(&since->databases[database]);
    *ret_totals = totals(&sum);
    *ret_averages = averages(&then, ret_totals, x->now_ns - since->at_ns);
}

static void put(struct table *t, const struct numbers *n)
{
    for (uint32_t i = 0; i < NUMBERS; i++)
        table_number(t, n->values[i]);
}

static void show(const struct admin_show_context *x, bool with_totals, bool with_averages,
                 struct table *t)
{
    for (uint32_t i = 0; i < x->config->databases_count; i++) {
        struct numbers total, average;
        both(x, i, &total, &average);
        table_string(t, x->config->databases[i].name);
        if (with_totals)
            put(t, &total);
        if (with_averages)
            put(t, &average);
        if (with_totals) { /* ours, behind PgBouncer's */
            struct stats_database sum;
            sum_database(x->proxy, i, &sum);
            table_number(t, sum.login_failures);
        }
        table_row_end(t);
    }
}

void admin_show_stats(const struct admin_show_context *x, struct table *t)
{
    show(x, true, true, t);
}

void admin_show_stats_totals(const struct admin_show_context *x, struct table *t)
{
    show(x, true, false, t);
}

void admin_show_stats_averages(const struct admin_show_context *x, struct table *t)
{
    show(x, false, true, t);
}

void admin_show_totals(const struct admin_show_context *x, struct table *t)
{
    struct numbers now = {{0}}, then = {{0}};
    for (uint32_t i = 0; i < x->config->databases_count; i++) {
        struct stats_database sum;
        sum_database(x->proxy, i, &sum);
        const struct numbers one = totals(&sum);
        const struct numbers before = totals(&x->admin->older->databases[i]);
        add(&now, &one);
        add(&then, &before);
    }
    const struct numbers average = averages(&then, &now, x->now_ns - x->admin->older->at_ns);
    for (uint32_t i = 0; i < 2 * NUMBERS; i++) {
        const bool is_total = i < NUMBERS;
        table_format(t, "%s_%s", is_total ? "total" : "avg", number_names[i % NUMBERS]);
        table_number(t, (is_total ? &now : &average)->values[i % NUMBERS]);
        table_row_end(t);
    }
}
