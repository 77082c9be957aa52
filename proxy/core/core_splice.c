/* SPDX-License-Identifier: PostgreSQL
 *
 * core_splice: RESET among other statements of one string. The server goes back to its own value,
 * not to what the client brought along in its start-up packet; what stands behind it in the string
 * is to see the latter. So the settings are made again right behind the RESET, in the client's own
 * string: what they answer is dropped, and the position in an error is the client's.
 *
 * Not done for a RESET at the end (it is mended before its ReadyForQuery: core_preflight_alone()),
 * for a second one behind other statements, and where letters beyond ASCII make positions unsure.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core_follow.h"
#include "core_internal.h"
#include "core_settings.h"

static bool is_ascii(struct proto_span text)
{
    uint8_t all = 0;
    for (size_t i = 0; i < text.size; i++)
        all |= text.base[i];
    return all < 0x80;
}

static bool resets(const struct router_changes *changes, uint32_t nth,
                   const struct core_setting *one)
{
    const struct router_change *c = &changes->items[nth];
    if (c->kind == ROUTER_CHANGE_RESET)
        return strcmp(changes->texts + c->name, one->name) == 0;
    return c->kind == ROUTER_CHANGE_RESET_ALL && (one->flags & ROUTER_SETTING_ROLE) == 0;
}

static bool resets_any(const struct router_changes *changes, uint32_t nth,
                       const struct core_settings *start)
{
    for (uint32_t i = 0; i < start->count; i++)
        if (resets(changes, nth, &start->items[i]))
            return true;
    return false;
}

static bool in_run(const struct router_changes *changes, uint32_t first, uint32_t last,
                   const struct core_setting *one)
{
    for (uint32_t i = first; i <= last; i++)
        if (resets(changes, i, one))
            return true;
    return false;
}

/* What goes behind the RESETs [first, last]. */
static struct core_block *settings_of(struct core_session *s, struct router_changes *changes,
                                      uint32_t first, uint32_t last)
{
    const struct core_settings *start = s->profile->start;
    struct core_block *block = NULL;
    changes->spliced_count = 0;
    for (uint32_t i = 0; i < start->count; i++) {
        if (!in_run(changes, first, last, &start->items[i]))
            continue;
        core_block_append(s->worker, &block, core_span(";"));
        core_block_append(s->worker, &block, core_span(start->items[i].text));
        changes->spliced_count++;
    }
    return block;
}

bool core_splice(struct core_session *s, struct router_changes *changes, struct proto_span text,
                 struct core_actions *a)
{
    const struct core_settings *start = s->profile->start;
    uint32_t first = 0;
    if (start->count == 0 || (start->flags & ROUTER_SETTING_WIDE) != 0 || s->class.alone ||
        !is_ascii(text))
        return false;
    while (first < changes->count && !resets_any(changes, first, start))
        first++;
    if (first == changes->count)
        return false;
    uint32_t last = first;
    while (last + 1 < changes->count && resets_any(changes, last + 1, start) &&
           changes->items[last + 1].statement == changes->items[last].statement + 1)
        last++;
    const uint32_t end = changes->items[last].end;
    if (end == 0)
        return false; /* the string ends with it */
    struct core_block *block = settings_of(s, changes, first, last);
    const struct proto_span settings = core_block_span(block);
    uint8_t head[PROTO_HEADER_SIZE] = {'Q'};
    proto_store_u32(head + 1, (uint32_t)(4 + text.size + settings.size + 1));
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_raw(&w, (struct proto_span){head, sizeof(head)});
    core_sink_commit(&a->server, &w);
    core_sink_append(&a->server, (struct proto_span){text.base, end});
    core_sink_append(&a->server,
                     settings); /* a block that is given back stays until the next step */
    core_block_give(s->worker, &block);
    core_sink_append(&a->server, (struct proto_span){text.base + end, text.size + 1 - end});
    changes->spliced_from = changes->items[last].statement + 1;
    changes->spliced_at = end;
    changes->spliced_size = (uint32_t)settings.size;
    return true;
}

/* One more message of a kind that is swallowed. */
static struct core_expect *expect(struct core_session *s, enum core_expect_kind kind)
{
    return core_expect_push(s->backend, kind, CORE_SWALLOW);
}

void core_splice_behind(struct core_session *s, const struct router_changes *changes,
                        struct core_actions *a)
{
    const struct core_settings *start = s->profile->start;
    const struct proto_span name = core_span("sg_reset"); /* the unnamed ones are the client's */
    struct core_expect *last = NULL;
    for (uint32_t i = 0; i < start->count; i++) {
        if (changes->count == 0 || !in_run(changes, 0, changes->count - 1, &start->items[i]))
            continue;
        struct proto_writer w = core_sink_writer(&a->server);
        proto_write_close(&w, 'S', name);
        proto_write_parse(&w, name, core_span(start->items[i].text), core_span(""));
        proto_write_bind_empty(&w, name, name);
        proto_write_execute(&w, name, 0);
        proto_write_close(&w, 'P', name);
        core_sink_commit(&a->server, &w);
        (void)expect(s, CORE_EXPECT_CLOSE);
        (void)expect(s, CORE_EXPECT_PARSE);
        (void)expect(s, CORE_EXPECT_BIND);
        (void)expect(s, CORE_EXPECT_EXECUTE);
        (void)expect(s, CORE_EXPECT_CLOSE);
        last = core_expect_at(s->backend, core_expect_count(s->backend) - 2);
    }
    if (last != NULL)
        last->follow = CORE_FOLLOW_RESTORED;
}

uint32_t core_splice_completed(struct core_session *s, const struct router_changes *changes,
                               uint32_t statement)
{
    const uint32_t from = changes->spliced_from;
    const uint32_t count = changes->spliced_count;
    if (count == 0 || statement < from)
        return statement;
    if (statement == from + count - 1)
        s->settings_off = false; /* the server has them again */
    return statement < from + count ? UINT32_MAX : statement - count;
}

/* The value of field P, with its NUL; size 0: there is none. */
static struct proto_span position_of(struct proto_span body)
{
    struct proto_reader r = proto_reader_make(body);
    for (uint8_t type = proto_read_u8(&r); type != 0; type = proto_read_u8(&r)) {
        const struct proto_span value = proto_read_string(&r);
        if (type == 'P')
            return (struct proto_span){value.base, value.size + 1};
    }
    return (struct proto_span){0};
}

bool core_splice_error(const struct router_changes *changes, struct proto_span body,
                       struct core_actions *a)
{
    const struct proto_span old = position_of(body);
    const unsigned long at = old.size > 0 ? strtoul((const char *)old.base, NULL, 10) : 0;
    if (at <= changes->spliced_at)
        return false; /* there is none, or it is in front of what was put in */
    char new[24] = "";
    const bool ours = at <= changes->spliced_at + changes->spliced_size;
    size_t before = (size_t)(old.base - body.base);
    int size = 0;
    if (ours)
        before--; /* nothing of the client's is wrong: without a position */
    else
        size = 1 + snprintf(new, sizeof(new), "%lu", at - changes->spliced_size);
    const struct proto_span rest = core_span_skip(body, (size_t)(old.base - body.base) + old.size);
    uint8_t head[PROTO_HEADER_SIZE] = {'E'};
    proto_store_u32(head + 1, (uint32_t)(4 + before + (size_t)size + rest.size));
    struct proto_writer w = core_sink_writer(&a->client);
    proto_write_raw(&w, (struct proto_span){head, sizeof(head)});
    proto_write_raw(&w, (struct proto_span){body.base, before});
    proto_write_raw(&w, (struct proto_span){(const uint8_t *)new, (size_t)size});
    core_sink_commit(&a->client, &w);
    core_sink_append(&a->client, rest);
    return true;
}
