/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_admin_show_catalog: what is known of the names of each database at the servers. The workers
 * leave their last answer in struct shared_catalog; one that comes while we read it is not shown.
 */
#include "proxy_admin_internal.h"

static const struct {
    uint8_t flag;
    const char *name;
} flag_names[] = {
    {ROUTER_FACT_RUNS, "runs"},     {ROUTER_FACT_WRITE_RUNS, "write_runs"},
    {ROUTER_FACT_HOME, "home"},     {ROUTER_FACT_OUTSIDE, "outside"},
    {ROUTER_FACT_OPAQUE, "opaque"}, {ROUTER_FACT_WRITE_OPAQUE, "write_opaque"},
    {ROUTER_FACT_KEEPS, "keeps"},
};

static const char *const kind_names[ROUTER_FACT_KINDS] = {
    [ROUTER_FACT_RELATION] = "relation", [ROUTER_FACT_FUNCTION] = "function",
    [ROUTER_FACT_TYPE] = "type",         [ROUTER_FACT_OPERATOR] = "operator",
    [ROUTER_FACT_DEFAULT] = "default",   [ROUTER_FACT_OPERATOR_APART] = "operator apart",
};

/* What changes under its lock, which is no part of what it says. */
static uv_mutex_t *lock_of(const struct shared_catalog *c)
{
    union {
        const uv_mutex_t *in;
        uv_mutex_t *out;
    } cast = {.in = &c->lock};
    return cast.out;
}

void admin_show_catalog(const struct admin_show_context *x, struct table *t)
{
    for (const struct shared_catalog *c = shared_catalogs_first(x->proxy); c != NULL;
         c = shared_catalogs_next(c)) {
        const uint64_t answered_ns = shared_load(&c->answered_ns);
        const uint64_t questions = shared_load(&c->questions);
        const uint64_t failures = shared_load(&c->failures);
        const bool changed = shared_load(&c->answered_for) != shared_load(&c->changes);
        const uint64_t answers = shared_load(&c->answers);
        table_string(t, c->dbname);
        table_string(t, x->config->shards[c->shard]);
        table_string(t, answered_ns == 0 ? "unknown" : changed ? "changed" : "known");
        table_number(t, shared_load(&c->objects));
        if (answered_ns == 0)
            table_string(t, NULL);
        else
            table_number(t, x->now_ns > answered_ns ? (x->now_ns - answered_ns) / 1000000 : 0);
        table_number(t, questions);
        table_number(t, failures);
        table_number(t, answers > 0 ? shared_load(&c->spent_ns) / answers / 1000 : 0);
        table_number(t, shared_load(&c->changes));
        table_number(t, shared_load(&c->suspects));
        uv_mutex_lock(lock_of(c));
        table_string(t, c->error);
        uv_mutex_unlock(lock_of(c));
        table_row_end(t);
    }
}

static void show_flags(uint8_t flags, struct table *t)
{
    struct text words = {0};
    for (size_t i = 0; i < sizeof flag_names / sizeof flag_names[0]; i++)
        if ((flags & flag_names[i].flag) != 0)
            text_format(&words, "%s%s", words.size > 0 ? " " : "", flag_names[i].name);
    text_add(&words, "", 1);
    table_string(t, words.failed ? NULL : words.base);
    text_deinit(&words);
}

static void show_object(const struct shared_catalog *c, const char *kind, const char *name,
                        uint8_t flags, struct table *t)
{
    table_string(t, c->dbname);
    table_string(t, kind);
    table_string(t, name);
    show_flags(flags, t);
    table_row_end(t);
}

void admin_show_catalog_objects(const struct admin_show_context *x, struct table *t)
{
    for (const struct shared_catalog *c = shared_catalogs_first(x->proxy); c != NULL;
         c = shared_catalogs_next(c)) {
        if (x->argument[0] != '\0' && strcmp(x->argument, c->dbname) != 0)
            continue;
        uv_mutex_lock(lock_of(c));
        for (uint32_t i = 0; i < c->last.facts_count; i++)
            show_object(c, kind_names[c->last.facts[i].kind], c->last.facts[i].name.base,
                        c->last.facts[i].flags, t);
        for (uint32_t i = 0; i < c->last.settings_count; i++)
            show_object(c, "setting", c->last.settings[i], 0, t);
        uv_mutex_unlock(lock_of(c));
    }
}
