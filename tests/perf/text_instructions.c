/* SPDX-License-Identifier: PostgreSQL
 *
 * text_instructions: what a hostile text costs the thread that reads it. Each kind is made in two
 * sizes and given to whatever reads a client's text; callgrind counts, a dump for each call.
 *
 * text_instructions [KIND]: all kinds, or one. Prints a line for each dump: kind, bytes, verdict.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "router_cache.h"
#include "router_change.h"
#include "router_prepared.h"

enum { SMALL = 128 * 1024, LARGE = 256 * 1024 };

/* head, then `part` and `more` as often as fits, then `tail`; a nested kind has as many of each. */
struct kind {
    const char *name;
    const char *head, *part, *middle, *more, *tail;
};

#include "text_kinds.h"

static size_t put(char *text, size_t at, const char *part)
{
    const size_t size = strlen(part);
    memcpy(text + at, part, size);
    return at + size;
}

/* Never longer than `room`. */
static size_t make(const struct kind *k, char *text, size_t room)
{
    const char *more = k->more != NULL ? k->more : "";
    const char *middle = k->middle != NULL ? k->middle : "";
    const char *tail = k->tail != NULL ? k->tail : "";
    const size_t fixed = strlen(k->head) + strlen(middle) + strlen(tail);
    const size_t times = (room - fixed) / (strlen(k->part) + strlen(more));
    size_t size = put(text, 0, k->head);
    for (size_t i = 0; i < times; i++)
        size = put(text, size, k->part);
    size = put(text, size, middle);
    for (size_t i = 0; i < times && *more != '\0'; i++)
        size = put(text, size, more);
    return put(text, size, tail);
}

/* All that a statement's text goes through on its way to a server, at most. */
static void read_text(struct router_cache *cache, const char *text, size_t size,
                      struct router_class *class)
{
    struct router_detail detail;
    struct router_hash hash;
    struct router_prepared prepared;
    for (int i = 0; i < 2; i++) /* with its batch, and once more when it is sent */
        router_cache_classify(cache, NULL, (struct router_name){text, size}, class, &hash, &detail);
    if (class->changes && !class->unread)
        router_changes_free(router_changes_read(text, size));
    if (class->names_prepared)
        router_prepared_read(text, size, &prepared);
}

static void count(const struct kind *k, size_t room)
{
    static const uint8_t key[ROUTER_KEY_SIZE] = {7};
    char label[128];
    char *text = malloc(room);
    struct router_cache *cache = router_cache_create(64, key);
    struct router_class class;
    if (text == NULL || cache == NULL)
        abort();
    const size_t size = make(k, text, room);
    CALLGRIND_ZERO_STATS;
    read_text(cache, text, size, &class);
    (void)snprintf(label, sizeof(label), "%s\t%zu", k->name, size);
    CALLGRIND_DUMP_STATS_AT(label);
    (void)printf("%s\t%s\t%s\n", label, router_verdict_text((enum router_verdict) class.verdict),
                 router_reason_text((enum router_reason) class.reason));
    router_cache_destroy(cache);
    free(text);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (argc > 1 && strcmp(argv[1], kinds[i].name) != 0)
            continue;
        count(&kinds[i], SMALL);
        count(&kinds[i], LARGE);
    }
    return 0;
}
