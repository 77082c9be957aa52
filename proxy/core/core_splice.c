/* SPDX-License-Identifier: PostgreSQL
 *
 * core_splice: RESET among other statements of one string. The server goes back to its own value,
 * not to what the client brought along in its start-up packet; what stands behind it in the string
 * is to see the latter. So the settings are made again right behind the RESET, in the client's own
 * string: what they answer is dropped, and the position in an error is the client's.
 *
 * Not done for a RESET at the end (it is mended before its ReadyForQuery: core_preflight_alone()),
 * and where letters beyond ASCII and UTF-8 make positions unsure.
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

/* Can its characters be counted as the server will? */
static bool is_countable(struct core_session *s, struct proto_span text)
{
    if (is_ascii(text))
        return true;
    struct core_settings *same = core_settings_common(s->worker, s->settings, s->profile->start);
    const bool unchanged = core_settings_has(s->settings, "client_encoding") ==
                           core_settings_has(same, "client_encoding");
    core_settings_release(s->worker, same);
    return unchanged && core_profile_says(s->profile, "client_encoding", "UTF8") &&
           core_profile_says(s->profile, "server_encoding", "UTF8");
}

/* Of UTF-8. */
static uint32_t characters(struct proto_span text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < text.size; i++)
        count += (text.base[i] & 0xc0) != 0x80;
    return count;
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

/* What goes behind the RESETs [first, last], and how many statements that is. */
static struct core_block *settings_of(struct core_session *s, const struct router_changes *changes,
                                      uint32_t first, uint32_t last, uint32_t *ret_count)
{
    const struct core_settings *start = s->profile->start;
    struct core_block *block = NULL;
    *ret_count = 0;
    for (uint32_t i = 0; i < start->count; i++) {
        if (!in_run(changes, first, last, &start->items[i]))
            continue;
        core_block_append(s->worker, &block, core_span(";"));
        core_block_append(s->worker, &block, core_span(start->items[i].text));
        (*ret_count)++;
    }
    return block;
}

/* The next RESETs that stand together and are not the string's last: [*first, *last]. */
static bool next_run(const struct router_changes *changes, const struct core_settings *start,
                     uint32_t *first, uint32_t *last)
{
    while (*first < changes->count && !resets_any(changes, *first, start))
        (*first)++;
    if (*first == changes->count)
        return false;
    *last = *first;
    while (*last + 1 < changes->count && resets_any(changes, *last + 1, start) &&
           changes->items[*last + 1].statement == changes->items[*last].statement + 1)
        (*last)++;
    return changes->items[*last].end != 0;
}

/* The string with the settings in it, NUL and all; NULL: there is nothing to be put in. */
static struct core_block *spliced(struct core_session *s, struct router_changes *changes,
                                  struct proto_span text)
{
    const struct core_settings *start = s->profile->start;
    struct core_block *all = NULL;
    uint32_t first = 0, last = 0, pos = 0, statements = 0, size = 0;
    while (changes->splices_count < ROUTER_SPLICES_MAX && next_run(changes, start, &first, &last)) {
        struct router_splice *splice = &changes->splices[changes->splices_count++];
        const uint32_t end = changes->items[last].end;
        struct core_block *block = settings_of(s, changes, first, last, &splice->count);
        const struct proto_span settings = core_block_span(block);
        core_block_append(s->worker, &all, (struct proto_span){text.base + pos, end - pos});
        core_block_append(s->worker, &all, settings);
        splice->from = changes->items[last].statement + 1 + statements;
        splice->at = characters((struct proto_span){text.base, end}) + size;
        splice->size = (uint32_t)settings.size;
        core_block_give(s->worker, &block);
        statements += splice->count;
        size += splice->size;
        pos = end;
        first = last + 1;
    }
    if (all != NULL)
        core_block_append(s->worker, &all,
                          (struct proto_span){text.base + pos, text.size + 1 - pos});
    return all;
}

bool core_splice(struct core_session *s, struct router_changes *changes, struct proto_span text,
                 struct core_actions *a)
{
    const struct core_settings *start = s->profile->start;
    if (start->count == 0 || (start->flags & ROUTER_SETTING_WIDE) != 0 || s->class.alone ||
        !is_countable(s, text))
        return false;
    struct core_block *block = spliced(s, changes, text);
    if (block == NULL)
        return false;
    uint8_t head[PROTO_HEADER_SIZE] = {'Q'};
    proto_store_u32(head + 1, (uint32_t)(4 + core_block_span(block).size));
    struct proto_writer w = core_sink_writer(&a->server);
    proto_write_raw(&w, (struct proto_span){head, sizeof(head)});
    core_sink_commit(&a->server, &w);
    core_sink_append(&a->server, core_block_span(block)); /* it stays until the next step */
    core_block_give(s->worker, &block);
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
    uint32_t ours = 0;
    for (uint32_t i = 0; i < changes->splices_count; i++) {
        const struct router_splice *splice = &changes->splices[i];
        if (statement < splice->from)
            break;
        if (statement == splice->from + splice->count - 1)
            s->settings_off = false; /* the server has them again */
        if (statement < splice->from + splice->count)
            return UINT32_MAX;
        ours += splice->count;
    }
    return statement - ours;
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
    if (at <= changes->splices[0].at)
        return false; /* there is none, or it is in front of what was put in */
    char new[24] = "";
    unsigned long shift = 0;
    bool ours = false;
    for (uint32_t i = 0; i < changes->splices_count && at > changes->splices[i].at; i++) {
        ours = at <= changes->splices[i].at + (unsigned long)changes->splices[i].size;
        shift += changes->splices[i].size;
    }
    size_t before = (size_t)(old.base - body.base);
    int size = 0;
    if (ours)
        before--; /* nothing of the client's is wrong: without a position */
    else
        size = 1 + snprintf(new, sizeof(new), "%lu", at - shift);
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
