/* SPDX-License-Identifier: PostgreSQL
 *
 * config_ident: pg_ident.conf: MAP SYSTEM-USERNAME DATABASE-USERNAME. A system name that begins
 * with a slash is an expression; \1 in the database's name stands for what its first parentheses
 * found.
 */
#include "config_internal.h"

#include <string.h>

#include "config_hba.h"

enum { NAME_SIZE_MAX = 1024 };

struct config_ident {
    const char *map;
    const char *system;
    const regex_t *system_regex; /* NULL: `system` is the name itself */
    const char *user;            /* NULL: all */
    const regex_t *user_regex;   /* NULL: `user` is the name, with \1 */
};

/* NULL: *ret was filled; else what is wrong. */
static const char *name_read(struct config_arena *a, const struct config_word *word,
                             const char **ret_text, const regex_t **ret_regex)
{
    const char *wrong = NULL;
    *ret_text = word->text;
    if (word->quoted || word->text[0] != '/')
        return NULL;
    *ret_regex = config_regex_make(a, word->text + 1, &wrong);
    return *ret_regex == NULL ? wrong : NULL;
}

/* NULL: *ret was filled. */
static const char *line_read(struct config_arena *a, const struct config_line *line,
                             struct config_ident *ret)
{
    uint32_t count;
    const struct config_word *words[3];
    if (line->fields_count != 3 || line->words_count != 3)
        return "write three fields: MAP SYSTEM-USERNAME DATABASE-USERNAME";
    for (uint32_t i = 0; i < 3; i++)
        words[i] = config_line_field(line, i, &count);
    *ret = (struct config_ident){.map = words[0]->text};
    if (ret->map[0] == '\0' || words[1]->text[0] == '\0' || words[2]->text[0] == '\0')
        return "a name is empty";
    const char *wrong = name_read(a, words[1], &ret->system, &ret->system_regex);
    if (wrong == NULL)
        wrong = name_read(a, words[2], &ret->user, &ret->user_regex);
    if (wrong != NULL)
        return config_arena_print(a, "this is no regular expression: %s", wrong);
    if (!words[2]->quoted && ret->user[0] == '+')
        return "members of a role (+name) cannot be looked up: name the users";
    if (!words[2]->quoted && strcmp(ret->user, "all") == 0)
        ret->user = NULL;
    const bool has_part =
        ret->user != NULL && ret->user_regex == NULL && strstr(ret->user, "\\1") != NULL;
    if (has_part && (ret->system_regex == NULL || ret->system_regex->re_nsub == 0))
        return "\\1 stands for a part in parentheses of the system name, and there is none";
    return NULL;
}

void config_parse_ident(struct config *c, const char *file, const char *text, size_t size,
                        struct config_problems *p)
{
    struct config_words words = {.arena = c->arena,
                                 .file = config_arena_copy(c->arena, file, strlen(file)),
                                 .text = text,
                                 .size = size};
    struct config_ident *idents =
        config_arena_alloc(c->arena, CONFIG_IDENT_LINES_MAX * sizeof *idents);
    struct config_line line;
    if (idents == NULL)
        return;
    c->idents = idents;
    c->idents_count = 0;
    while (config_words_next(&words, p, &line)) {
        const struct config_source source = {.file = words.file, .line = line.line, .about = ""};
        if (c->idents_count == CONFIG_IDENT_LINES_MAX) {
            config_error(p, &source, "more than %d lines", CONFIG_IDENT_LINES_MAX);
            return;
        }
        const char *wrong = line_read(c->arena, &line, &idents[c->idents_count]);
        if (wrong != NULL)
            config_error(p, &source, "%s", wrong);
        else
            c->idents_count++;
    }
}

/* `pattern` with \1 replaced by what the parentheses found; false: it does not fit. */
static bool expand(const char *pattern, const char *system, const regmatch_t *part, char *ret,
                   size_t ret_size)
{
    size_t used = 0;
    while (*pattern != '\0') {
        const char *from = pattern;
        size_t size = 1;
        if (pattern[0] == '\\' && pattern[1] == '1') {
            from = part->rm_so < 0 ? "" : system + part->rm_so;
            size = part->rm_so < 0 ? 0 : (size_t)(part->rm_eo - part->rm_so);
            pattern += 2;
        } else {
            pattern++;
        }
        if (size >= ret_size - used)
            return false;
        memcpy(ret + used, from, size);
        used += size;
    }
    ret[used] = '\0';
    return true;
}

static bool ident_allows(const struct config_ident *i, const char *system_name, const char *user)
{
    regmatch_t parts[2] = {{.rm_so = -1}, {.rm_so = -1}};
    char expected[NAME_SIZE_MAX];
    if (i->system_regex != NULL) {
        if (regexec(i->system_regex, system_name, 2, parts, 0) != 0)
            return false;
    } else if (strcmp(i->system, system_name) != 0) {
        return false;
    }
    if (i->user == NULL)
        return true;
    if (i->user_regex != NULL)
        return regexec(i->user_regex, user, 0, NULL, 0) == 0;
    if (i->system_regex == NULL)
        return strcmp(i->user, user) == 0;
    return expand(i->user, system_name, &parts[1], expected, sizeof expected) &&
           strcmp(expected, user) == 0;
}

bool config_ident_allows(const struct config *c, const char *map, const char *system_name,
                         const char *user)
{
    if (map[0] == '\0')
        return strcmp(system_name, user) == 0;
    for (uint32_t i = 0; i < c->idents_count; i++) {
        if (strcmp(c->idents[i].map, map) == 0 && ident_allows(&c->idents[i], system_name, user))
            return true;
    }
    return false;
}
