/* SPDX-License-Identifier: PostgreSQL
 *
 * core_base: see the header. Equal ones of a worker are one object; a connection keeps the hash of
 * its own, so that a session that meets it compares two numbers.
 */
#include "core_base.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "core_settings.h"

enum { NAME_SIZE_MAX = 64, VALUE_SIZE_MAX = 1024 };

/* ---- a run of ParameterStatus messages ---- */

struct parameters {
    struct proto_span rest;
    struct proto_span message;
    struct proto_parameter one;
};

static bool next(struct parameters *p)
{
    struct proto_header h;
    while (proto_header_peek(p->rest, PROTO_BODY_SIZE_MAX, &h) == PROTO_OK &&
           p->rest.size >= PROTO_HEADER_SIZE + h.body_size) {
        const size_t size = PROTO_HEADER_SIZE + (size_t)h.body_size;
        p->message = (struct proto_span){.base = p->rest.base, .size = size};
        p->rest = core_span_skip(p->rest, size);
        if (proto_parameter_read(core_span_skip(p->message, PROTO_HEADER_SIZE), &p->one) ==
            PROTO_OK)
            return true;
    }
    return false;
}

static bool value_of(struct proto_span all, struct proto_span name, struct proto_span *ret)
{
    struct parameters p = {.rest = all};
    while (next(&p))
        if (core_span_equal(p.one.name, name)) {
            *ret = p.one.value;
            return true;
        }
    return false;
}

static struct proto_span span_of(const struct core_base *base)
{
    return (struct proto_span){.base = base->data, .size = base->size};
}

/* ---- one object each ---- */

static bool may_set(struct proto_span name)
{
    static const char *const names[] = {"TimeZone",
                                        "DateStyle",
                                        "IntervalStyle",
                                        "client_encoding",
                                        "standard_conforming_strings",
                                        "application_name",
                                        "default_transaction_read_only",
                                        "search_path"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (name.size == strlen(names[i]) &&
            strncasecmp((const char *)name.base, names[i], name.size) == 0)
            return true;
    return false;
}

/* What a replica has otherwise than the primary is not for a client to see, nor to mind: it writes
 * nothing there anyway. */
static bool is_of_the_role(struct proto_span name)
{
    return core_text_equal(name, "in_hot_standby") ||
           core_text_equal(name, "default_transaction_read_only");
}

static uint64_t hash_of(struct proto_span all, bool set_only)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    struct parameters p = {.rest = all};
    while (next(&p)) {
        const bool skip = set_only ? !may_set(p.one.name) || is_of_the_role(p.one.name)
                                   : core_text_equal(p.one.name, "in_hot_standby");
        for (size_t i = 0; !skip && i < p.message.size; i++)
            hash = (hash ^ p.message.base[i]) * 1099511628211u;
    }
    return hash | 1;
}

static uint8_t flags_of(struct proto_span all)
{
    uint8_t flags = 0;
    struct parameters p = {.rest = all};
    while (next(&p))
        flags |= router_setting_flags(
            (struct router_name){(const char *)p.one.name.base, p.one.name.size},
            (struct router_name){(const char *)p.one.value.base, p.one.value.size});
    return flags & (ROUTER_SETTING_PRIMARY | ROUTER_SETTING_LEXER);
}

struct core_base *core_base_of(struct core_backend *b)
{
    struct core_worker *w = b->worker;
    const struct proto_span params = {.base = b->params, .size = b->params_size};
    for (struct core_base *base = w->bases; base != NULL; base = base->next)
        if (core_span_equal(span_of(base), params))
            return core_base_hold(base);
    struct core_base *base = malloc(sizeof(*base) + params.size);
    if (base == NULL)
        abort();
    *base = (struct core_base){.next = w->bases,
                               .hash = hash_of(params, false),
                               .hash_set = hash_of(params, true),
                               .references = 1,
                               .size = b->params_size,
                               .flags = flags_of(params)};
    if (params.size > 0)
        memcpy(base->data, params.base, params.size);
    w->bases = base;
    return base;
}

void core_base_release(struct core_worker *w, struct core_base *base)
{
    if (base == NULL || --base->references > 0)
        return;
    struct core_base **link = &w->bases;
    while (*link != base)
        link = &(*link)->next;
    *link = base->next;
    free(base);
}

void core_base_look(struct core_group *g, struct core_backend *b)
{
    if (b->base_hash == 0)
        b->base_hash = hash_of((struct proto_span){b->params, b->params_size}, b->is_replica);
    if (g->base != NULL && (b->is_replica || b->opened_ns <= g->base_ns))
        return;
    g->base_ns = b->opened_ns;
    core_base_release(b->worker, g->base);
    g->base = core_base_of(b);
}

/* ---- a session meets another one ---- */

/* False: it cannot be followed. */
static bool set_it(struct core_session *s, const struct proto_parameter *told, const char *lower)
{
    char value[VALUE_SIZE_MAX];
    char text[CORE_SETTING_TEXT_MAX];
    if (told->value.size >= sizeof(value))
        return false;
    if (told->value.size > 0)
        memcpy(value, told->value.base, told->value.size);
    value[told->value.size] = '\0';
    struct core_setting one;
    if (!core_setting_make(lower, value, text, &one))
        return false;
    struct core_settings *set = core_settings_with(s->worker, s->settings, &one, true);
    if (set == NULL)
        return false;
    core_settings_release(s->worker, s->settings);
    s->settings = set;
    return true;
}

void core_base_meet(struct core_session *s, struct core_backend *b, struct core_actions *a)
{
    const struct proto_span params = {.base = b->params, .size = b->params_size};
    struct proto_writer w = core_sink_writer(&a->client);
    struct parameters p = {.rest = span_of(s->base)};
    char lower[NAME_SIZE_MAX];
    while (next(&p)) {
        struct proto_span here;
        if (!value_of(params, p.one.name, &here) || core_span_equal(here, p.one.value) ||
            core_text_equal(p.one.name, "in_hot_standby") ||
            (b->is_replica && is_of_the_role(p.one.name)) ||
            !core_fold(p.one.name, lower, sizeof(lower)))
            continue;
        if (core_settings_has(s->settings, lower) ||
            (may_set(p.one.name) && set_it(s, &p.one, lower)))
            continue;
        if (!b->is_replica) /* a client sees one server, the primary */
            proto_write_parameter_status(&w, p.one.name, here);
    }
    core_sink_commit(&a->client, &w);
    if (b->is_replica)
        return;
    core_base_release(s->worker, s->base);
    s->base = core_base_of(b);
    s->told_flags |= s->base->flags; /* a RESET would bring them about */
}
