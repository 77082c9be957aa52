/* SPDX-License-Identifier: PostgreSQL
 *
 * core_profile: the settings that clients bring along at start-up, one record for all clients that
 * bring the same, and the welcome (ParameterStatus messages) that such clients get.
 */
#include <stdlib.h>

#include "core_base.h"
#include "core_internal.h"
#include "core_settings.h"

struct core_profile *core_profile_get(struct core_worker *w, struct core_group *group,
                                      struct core_settings *start)
{
    (void)w;
    for (struct core_profile *p = group->profiles; p != NULL; p = p->next)
        if (p->start == start) {
            p->references++;
            return p;
        }
    struct core_profile *p = calloc(1, sizeof(*p));
    if (p == NULL)
        abort();
    p->group = group;
    p->start = core_settings_hold(start);
    p->references = 1;
    p->next = group->profiles;
    group->profiles = p;
    return p;
}

static void destroy(struct core_worker *w, struct core_profile *p)
{
    core_settings_release(w, p->start);
    core_base_release(w, p->base);
    free(p->overlay);
    free(p->welcome);
    free(p);
}

void core_profile_release(struct core_worker *w, struct core_profile *p)
{
    assert(p->references > 0);
    if (--p->references > 0 || p->start->count == 0)
        return; /* the plain one stays: the next client is welcomed at once */
    struct core_profile **link = &p->group->profiles;
    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    destroy(w, p);
}

void core_group_deinit(struct core_worker *w, struct core_group *group)
{
    for (struct core_profile *p = group->profiles, *next; p != NULL; p = next) {
        next = p->next;
        assert(p->references == 0);
        destroy(w, p);
    }
    group->profiles = NULL;
    free(group->custom);
    group->custom = NULL;
    core_base_release(w, group->base);
    group->base = NULL;
}

/* The value of a parameter in a run of ParameterStatus messages; the last one wins. */
static bool find_last(struct proto_span messages, struct proto_span name, struct proto_span *ret)
{
    bool found = false;
    struct proto_header h;
    while (proto_header_peek(messages, PROTO_BODY_SIZE_MAX, &h) == PROTO_OK &&
           messages.size >= PROTO_HEADER_SIZE + h.body_size) {
        const struct proto_span body = {.base = messages.base + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        struct proto_parameter p;
        if (proto_parameter_read(body, &p) == PROTO_OK && p.name.size == name.size &&
            memcmp(p.name.base, name.base, name.size) == 0) {
            *ret = p.value;
            found = true;
        }
        messages = core_span_skip(messages, PROTO_HEADER_SIZE + h.body_size);
    }
    return found;
}

bool core_profile_says(const struct core_profile *p, const char *name, const char *value)
{
    const struct proto_span welcome = {.base = p->welcome, .size = p->welcome_size};
    struct proto_span found;
    return find_last(welcome, core_span(name), &found) && core_text_equal(found, value);
}

static struct router_name name_of(struct proto_span span)
{
    return (struct router_name){.base = (const char *)span.base, .size = span.size};
}

/* It is what it was, or that of a log-in. */
static void keep_overlay(struct core_profile *p, struct proto_span overlay)
{
    if (overlay.base == p->overlay)
        return;
    free(p->overlay);
    p->overlay = NULL;
    p->overlay_size = (uint32_t)overlay.size;
    if (overlay.size == 0)
        return;
    p->overlay = malloc(overlay.size);
    if (p->overlay == NULL)
        abort();
    memcpy(p->overlay, overlay.base, overlay.size);
}

void core_profile_learn(struct core_profile *p, struct proto_span params, struct proto_span overlay)
{
    const size_t capacity = params.size + overlay.size + 256;
    uint8_t *welcome = malloc(capacity);
    if (welcome == NULL)
        abort();
    struct proto_writer w = proto_writer_make(welcome, capacity);
    struct proto_header h;
    const struct proto_span standby = core_span("in_hot_standby");
    p->flags = 0;
    while (proto_header_peek(params, PROTO_BODY_SIZE_MAX, &h) == PROTO_OK &&
           params.size >= PROTO_HEADER_SIZE + h.body_size) {
        const struct proto_span body = {.base = params.base + PROTO_HEADER_SIZE,
                                        .size = h.body_size};
        struct proto_parameter parameter;
        if (proto_parameter_read(body, &parameter) == PROTO_OK) {
            struct proto_span value = parameter.value;
            (void)find_last(overlay, parameter.name, &value);
            p->flags |= router_setting_flags(name_of(parameter.name), name_of(value)) &
                        (ROUTER_SETTING_PRIMARY | ROUTER_SETTING_LEXER);
            /* a client sees one server, and that one is the primary */
            if (parameter.name.size == standby.size &&
                memcmp(parameter.name.base, standby.base, standby.size) == 0)
                value = core_span("off");
            proto_write_parameter_status(&w, parameter.name, value);
        }
        params = core_span_skip(params, PROTO_HEADER_SIZE + h.body_size);
    }
    assert(!w.overflow);
    free(p->welcome);
    p->welcome = welcome;
    p->welcome_size = (uint32_t)w.size;
    keep_overlay(p, overlay);
}

void core_profile_meet(struct core_worker *w, struct core_profile *p, struct core_base *base,
                       struct proto_span overlay)
{
    core_profile_learn(p, (struct proto_span){base->data, base->size}, overlay);
    core_base_release(w, p->base);
    p->base = core_base_hold(base);
}
