/* SPDX-License-Identifier: PostgreSQL
 *
 * config_arena: the memory of a config or of its problems, freed at once; and the problems. Pure.
 */
#include "config_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_SIZE = 16384, ALIGNMENT = 16 };

struct config_chunk {
    struct config_chunk *next;
    size_t size; /* of bytes */
    _Alignas(ALIGNMENT) char bytes[];
};

struct config_regex {
    struct config_regex *next;
    regex_t compiled; /* has memory of its own */
};

struct config_arena *config_arena_create(void)
{
    return calloc(1, sizeof(struct config_arena));
}

void config_arena_destroy(struct config_arena *a)
{
    if (a == NULL)
        return;
    for (struct config_regex *r = a->regexes; r != NULL; r = r->next)
        regfree(&r->compiled);
    while (a->chunks != NULL) {
        struct config_chunk *next = a->chunks->next;
        explicit_bzero(a->chunks->bytes, a->chunks->size); /* passwords are in there */
        free(a->chunks);
        a->chunks = next;
    }
    free(a);
}

static bool chunk_add(struct config_arena *a, size_t size)
{
    const size_t wanted = size > CHUNK_SIZE ? size : CHUNK_SIZE;
    if (size > CONFIG_MEMORY_MAX || a->total > CONFIG_MEMORY_MAX - size)
        return false;
    struct config_chunk *chunk = calloc(1, sizeof *chunk + wanted);
    if (chunk == NULL)
        return false;
    chunk->next = a->chunks;
    chunk->size = wanted;
    a->chunks = chunk;
    a->used = 0;
    a->total += wanted;
    return true;
}

void *config_arena_alloc(struct config_arena *a, size_t size)
{
    const size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded < size) {
        a->failed = true;
        return NULL;
    }
    const bool fits = a->chunks != NULL && a->chunks->size - a->used >= rounded;
    if (!fits && !chunk_add(a, rounded)) {
        a->failed = true;
        return NULL;
    }
    void *at = a->chunks->bytes + a->used;
    a->used += rounded;
    assert(a->used <= a->chunks->size);
    return at;
}

const char *config_arena_copy(struct config_arena *a, const char *text, size_t size)
{
    char *copy = config_arena_alloc(a, size + 1);
    if (copy == NULL)
        return "";
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

__attribute__((format(printf, 2, 0))) static const char *
print_list(struct config_arena *a, const char *format, va_list list)
{
    va_list again;
    va_copy(again, list);
    const int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (size < 0)
        return "";
    char *text = config_arena_alloc(a, (size_t)size + 1);
    if (text == NULL)
        return "";
    vsnprintf(text, (size_t)size + 1, format, list);
    return text;
}

const char *config_arena_print(struct config_arena *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const char *text = print_list(a, format, list);
    va_end(list);
    return text;
}

const regex_t *config_regex_make(struct config_arena *a, const char *pattern,
                                 const char **ret_wrong)
{
    enum { PATTERN_SIZE_MAX = 256 };
    char text[128];
    struct config_regex *r = config_arena_alloc(a, sizeof *r);
    *ret_wrong = "no memory";
    if (r == NULL)
        return NULL;
    if (pattern[0] == '\0' || strlen(pattern) > PATTERN_SIZE_MAX) {
        *ret_wrong = "write an expression of 1 to 256 bytes behind the slash";
        return NULL;
    }
    for (const char *at = strchr(pattern, '\\'); at != NULL && at[1] != '\0';
         at = strchr(at + 2, '\\')) {
        if (strchr("dDmMyYAZ", at[1]) == NULL)
            continue;
        *ret_wrong = "POSIX expressions know no \\d, \\m, \\y, \\A and \\Z: write [0-9], ^ and $";
        return NULL;
    }
    const int code = regcomp(&r->compiled, pattern, REG_EXTENDED);
    if (code != 0) {
        (void)regerror(code, NULL, text, sizeof text);
        *ret_wrong = config_arena_copy(a, text, strlen(text));
        return NULL;
    }
    r->next = a->regexes;
    a->regexes = r;
    return &r->compiled;
}

/* ---- problems ---- */

void config_problems_init(struct config_problems *p)
{
    *p = (struct config_problems){.arena = config_arena_create()};
}

void config_problems_deinit(struct config_problems *p)
{
    config_arena_destroy(p->arena);
    *p = (struct config_problems){0};
}

/* What a file holds goes to a terminal: without control characters. */
static const char *printable(struct config_arena *a, const char *text)
{
    char *copy = config_arena_alloc(a, strlen(text) + 1);
    if (copy == NULL)
        return "no memory for the message";
    for (size_t i = 0; text[i] != '\0'; i++) {
        const unsigned char byte = (unsigned char)text[i];
        copy[i] = (char)(byte < ' ' || byte == 0x7f ? '?' : byte);
    }
    return copy;
}

static void problem_add(struct config_problems *p, const struct config_source *source, bool warning,
                        const char *text)
{
    p->errors += warning ? 0 : 1;
    if (p->count == CONFIG_ERRORS_MAX)
        return;
    struct config_problem *item = &p->items[p->count++];
    *item = (struct config_problem){.file = "",
                                    .line = source->line,
                                    .warning = warning,
                                    .message = "no memory for the message"};
    if (p->arena == NULL)
        return;
    const char *file = source->file == NULL ? "configuration" : source->file;
    item->file = config_arena_copy(p->arena, file, strlen(file));
    item->message = printable(p->arena, config_arena_print(p->arena, "%s%s", source->about, text));
}

__attribute__((format(printf, 4, 0))) static void problem_print(struct config_problems *p,
                                                                const struct config_source *source,
                                                                bool warning, const char *format,
                                                                va_list list)
{
    problem_add(p, source, warning, p->arena == NULL ? "" : print_list(p->arena, format, list));
}

void config_error(struct config_problems *p, const struct config_source *source, const char *format,
                  ...)
{
    va_list list;
    va_start(list, format);
    problem_print(p, source, false, format, list);
    va_end(list);
}

void config_warning(struct config_problems *p, const struct config_source *source,
                    const char *format, ...)
{
    va_list list;
    va_start(list, format);
    problem_print(p, source, true, format, list);
    va_end(list);
}

void config_problem_add(struct config_problems *p, const char *file, uint32_t line,
                        const char *message)
{
    const struct config_source source = {.file = file, .line = line, .about = ""};
    config_error(p, &source, "%s", message);
}

/* The first item of the same file: its index orders the files. */
static uint32_t file_order(const struct config_problems *p, uint32_t index)
{
    uint32_t i = 0;
    while (strcmp(p->items[i].file, p->items[index].file) != 0)
        i++;
    return i;
}

void config_problems_sort(struct config_problems *p)
{
    uint32_t order[CONFIG_ERRORS_MAX];
    for (uint32_t i = 0; i < p->count; i++)
        order[i] = file_order(p, i);
    for (uint32_t i = 1; i < p->count; i++) { /* few: insertion, which is stable */
        const struct config_problem item = p->items[i];
        const uint32_t file = order[i];
        uint32_t at = i;
        while (at > 0 && (order[at - 1] > file ||
                          (order[at - 1] == file && p->items[at - 1].line > item.line))) {
            p->items[at] = p->items[at - 1];
            order[at] = order[at - 1];
            at--;
        }
        p->items[at] = item;
        order[at] = file;
    }
}
