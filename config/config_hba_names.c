/* SPDX-License-Identifier: PostgreSQL
 *
 * config_hba_names: the DATABASES and USERS of a line of pg_hba.conf, also those that stand in
 * files of their own (@file), and which clients they name.
 */
#include <stdlib.h>
#include <string.h>

#include "config_hba_internal.h"

enum name_kind {
    NAME_PLAIN,
    NAME_ALL,
    NAME_SAMEUSER,
    NAME_SAMEROLE,
    NAME_REPLICATION,
    NAME_REGEX,
    NAME_MEMBER /* of the role `text` */
};

struct config_hba_name {
    enum name_kind kind;
    const char *text;
    const regex_t *regex;
};

/* A list while it is read. */
struct list {
    struct config_hba_line *line;
    bool of_databases;
    struct config_hba_name *names;
    uint32_t count, capacity;
};

/* A file that is being read, and the one that named it. */
struct source {
    const char *path;
    uint32_t depth;
    const struct source *outer; /* NULL: of the hba file itself */
};

static const char *words_read(struct list *list, const struct source *source,
                              const struct config_word *words, uint32_t count);

/* ---- one name ---- */

/* NULL: *ret was filled. */
static const char *name_read(const struct list *list, const struct config_word *word,
                             struct config_hba_name *ret)
{
    struct config_arena *arena = list->line->arena;
    const char *wrong = NULL;
    *ret = (struct config_hba_name){.kind = NAME_PLAIN, .text = word->text};
    if (word->quoted)
        return NULL;
    if (strcmp(word->text, "all") == 0) {
        ret->kind = NAME_ALL;
    } else if (word->text[0] == '/') {
        ret->kind = NAME_REGEX;
        ret->regex = config_regex_make(arena, word->text + 1, &wrong);
        if (ret->regex == NULL)
            return config_arena_print(arena, "%s is no regular expression: %s", word->text, wrong);
    } else if (list->of_databases && strcmp(word->text, "sameuser") == 0) {
        ret->kind = NAME_SAMEUSER;
    } else if (list->of_databases && strcmp(word->text, "replication") == 0) {
        ret->kind = NAME_REPLICATION;
    } else if (list->of_databases &&
               (strcmp(word->text, "samerole") == 0 || strcmp(word->text, "samegroup") == 0)) {
        ret->kind = NAME_SAMEROLE;
    } else if (!list->of_databases && word->text[0] == '+') {
        ret->kind = NAME_MEMBER;
        ret->text = word->text + 1;
        return ret->text[0] == '\0' ? "write the name of a role behind the plus" : NULL;
    }
    return NULL;
}

/* NULL: its words are in the list. */
static const char *name_add(struct list *list, const struct config_word *word)
{
    struct config_hba_name name;
    const char *wrong = name_read(list, word, &name);
    if (wrong != NULL)
        return wrong;
    if (list->count == list->capacity) { /* what it grows out of stays in the arena: not much */
        const uint32_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
        struct config_hba_name *names =
            config_arena_alloc(list->line->arena, capacity * sizeof *names);
        if (names == NULL)
            return "no memory for so many names";
        if (list->count > 0)
            memcpy(names, list->names, list->count * sizeof *names);
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = name;
    return NULL;
}

/* ---- files of names ---- */

/* A relative path is beside the file that names it. */
static const char *path_of(struct config_arena *arena, const char *outer, const char *name)
{
    const char *slash = strrchr(outer, '/');
    if (name[0] == '/' || slash == NULL)
        return name;
    return config_arena_print(arena, "%.*s%s", (int)(slash - outer + 1), outer, name);
}

static const char *text_read(struct list *list, const struct source *source, const char *text,
                             size_t size)
{
    struct config_words words = {
        .arena = list->line->arena, .file = source->path, .text = text, .size = size};
    struct config_line line;
    while (config_words_next(&words, list->line->problems, &line)) {
        const char *wrong = words_read(list, source, line.words, line.words_count);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

static const char *file_read(struct list *list, const struct source *outer, const char *name)
{
    struct config_hba_line *l = list->line;
    size_t size = 0;
    const char *wrong = "";
    const struct source source = {
        .path = path_of(l->arena, outer->path, name), .depth = outer->depth + 1, .outer = outer};
    for (const struct source *s = outer; s != NULL; s = s->outer)
        if (strcmp(s->path, source.path) == 0)
            return config_arena_print(l->arena, "@%s: the file %s names itself", name, source.path);
    if (source.depth > CONFIG_HBA_DEPTH_MAX)
        return config_arena_print(l->arena, "@%s: more than %d files name each other", name,
                                  CONFIG_HBA_DEPTH_MAX);
    if (*l->files_left == 0)
        return config_arena_print(l->arena, "@%s: more than %d files are named", name,
                                  CONFIG_HBA_FILES_MAX);
    --*l->files_left;
    char *text = l->files->read(l->files->arg, source.path, &size, &wrong);
    if (text == NULL)
        return config_arena_print(l->arena, "@%s: %s cannot be read: %s", name, source.path, wrong);
    wrong = text_read(list, &source, text, size);
    free(text);
    return wrong;
}

static const char *words_read(struct list *list, const struct source *source,
                              const struct config_word *words, uint32_t count)
{
    const char *wrong = NULL;
    for (uint32_t i = 0; i < count && wrong == NULL; i++) {
        const bool is_file =
            !words[i].quoted && words[i].text[0] == '@' && words[i].text[1] != '\0';
        wrong = is_file ? file_read(list, source, words[i].text + 1) : name_add(list, &words[i]);
    }
    return wrong;
}

/* ---- a field ---- */

static const char *field_read(struct list *list)
{
    struct config_hba_line *l = list->line;
    const struct source source = {.path = l->file};
    uint32_t count;
    const struct config_word *words = config_line_field(l->line, l->field++, &count);
    return words_read(list, &source, words, count);
}

const char *config_hba_databases_read(struct config_hba_line *l)
{
    struct list list = {.line = l, .of_databases = true};
    if (l->field == l->line->fields_count)
        return "the databases are missing";
    const char *wrong = field_read(&list);
    l->hba.databases = list.names;
    l->hba.databases_count = list.count;
    return wrong;
}

const char *config_hba_users_read(struct config_hba_line *l)
{
    struct list list = {.line = l};
    if (l->field == l->line->fields_count)
        return "the users are missing";
    const char *wrong = field_read(&list);
    l->hba.users = list.names;
    l->hba.users_count = list.count;
    return wrong;
}

/* ---- matching ---- */

static enum config_hba_match matched_if(bool matches)
{
    return matches ? CONFIG_HBA_MATCHED : CONFIG_HBA_NO_LINE;
}

static enum config_hba_match member_match(const char *role,
                                          const struct config_hba_request *request)
{
    if (request->roles == NULL)
        return CONFIG_HBA_WANTS_ROLES;
    for (const char *at = request->roles; *at != '\0'; at += strlen(at) + 1)
        if (strcmp(at, role) == 0)
            return CONFIG_HBA_MATCHED;
    return CONFIG_HBA_NO_LINE;
}

static enum config_hba_match name_match(const struct config_hba_name *name, const char *text,
                                        const struct config_hba_request *request)
{
    switch (name->kind) {
    case NAME_ALL:
        return CONFIG_HBA_MATCHED;
    case NAME_PLAIN:
        return matched_if(strcmp(name->text, text) == 0);
    case NAME_SAMEUSER:
        return matched_if(strcmp(request->database, request->user) == 0);
    case NAME_SAMEROLE:
        return member_match(request->database, request);
    case NAME_MEMBER:
        return member_match(name->text, request);
    case NAME_REGEX:
        return matched_if(regexec(name->regex, text, 0, NULL, 0) == 0);
    case NAME_REPLICATION:
        return CONFIG_HBA_NO_LINE;
    }
    return CONFIG_HBA_NO_LINE;
}

/* Any of them will do; roles are wanted only where none of the others does. */
static enum config_hba_match list_match(const struct config_hba_name *names, uint32_t count,
                                        const char *text, const struct config_hba_request *request)
{
    enum config_hba_match result = CONFIG_HBA_NO_LINE;
    for (uint32_t i = 0; i < count; i++) {
        const enum config_hba_match found = name_match(&names[i], text, request);
        if (found == CONFIG_HBA_MATCHED)
            return found;
        if (found != CONFIG_HBA_NO_LINE)
            result = found;
    }
    return result;
}

static bool is_replication(const struct config_hba *h)
{
    for (uint32_t i = 0; i < h->databases_count; i++)
        if (h->databases[i].kind == NAME_REPLICATION)
            return true;
    return false;
}

enum config_hba_match config_hba_names_match(const struct config_hba *h,
                                             const struct config_hba_request *request)
{
    const enum config_hba_match user = list_match(h->users, h->users_count, request->user, request);
    if (user == CONFIG_HBA_NO_LINE)
        return user;
    const enum config_hba_match database =
        request->is_replication
            ? matched_if(is_replication(h))
            : list_match(h->databases, h->databases_count, request->database, request);
    return database == CONFIG_HBA_MATCHED ? user : database;
}
