/* SPDX-License-Identifier: PostgreSQL
 *
 * config_users: PgBouncer's auth_file: "name" "secret" on each line, quotes inside doubled, `;`
 * begins a comment line, what follows the secret is passed over. No message quotes a secret.
 */
#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

enum { USER_NAME_MAX = 127, USER_SECRET_MAX = 2047 };

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r';
}

/* One quoted word from *at on, undoubled; NULL: it does not start or does not end. */
static const char *word_take(struct config_arena *a, const char **at, const char *end)
{
    const char *from = *at;
    while (from < end && is_blank(*from))
        from++;
    if (from == end || *from != '"')
        return NULL;
    char *word = config_arena_alloc(a, (size_t)(end - from));
    size_t used = 0;
    if (word == NULL)
        return NULL;
    for (from++; from < end; from++) {
        if (*from == '"' && (from + 1 == end || from[1] != '"')) {
            word[used] = '\0';
            *at = from + 1;
            return word;
        }
        if (*from == '"')
            from++;
        word[used++] = *from;
    }
    return NULL;
}

/* NULL: *ret was filled, or the line is empty (no name); else what is wrong. */
static const char *line_parse(struct config_arena *a, const char *line, size_t size,
                              struct config_user *ret)
{
    const char *at = line;
    const char *end = line + size;
    while (at < end && is_blank(*at))
        at++;
    if (at == end || *at == ';')
        return NULL;
    if (memchr(line, '\0', size) != NULL)
        return "the line holds a zero byte: is this a text file?";
    if (size > CONFIG_LINE_MAX)
        return "the line is too long";
    const char *name = word_take(a, &at, end);
    if (name == NULL)
        return "there is no user name in double quotes: write \"name\" \"secret\"";
    const char *secret = word_take(a, &at, end);
    if (secret == NULL)
        return "there is no secret in double quotes behind the name: write \"name\" \"secret\"";
    if (name[0] == '\0')
        return "the user name is empty";
    if (strlen(name) > USER_NAME_MAX)
        return "the user name is longer than 127 bytes";
    if (strlen(secret) > USER_SECRET_MAX)
        return "the secret is longer than 2047 bytes";
    *ret = (struct config_user){.name = name, .secret = secret};
    return NULL;
}

static int line_compare(const void *left, const void *right)
{
    const struct config_user_line *a = left;
    const struct config_user_line *b = right;
    const int order = strcmp(a->user.name, b->user.name);
    if (order != 0)
        return order;
    return (a->line > b->line) - (a->line < b->line);
}

void config_users_add(struct config *c, const struct config_user_line *lines, uint32_t count,
                      const char *file, struct config_problems *p)
{
    const size_t total = (size_t)c->users_count + count;
    struct config_user_line *all = config_arena_alloc(c->arena, total * sizeof *all);
    struct config_user *users = config_arena_alloc(c->arena, total * sizeof *users);
    uint32_t kept = 0;
    if (all == NULL || users == NULL || total == 0)
        return;
    for (uint32_t i = 0; i < c->users_count; i++)
        all[i] = (struct config_user_line){.user = c->users[i], .line = c->users[i].line};
    memcpy(all + c->users_count, lines, count * sizeof *lines);
    qsort(all, total, sizeof *all, line_compare);
    for (size_t i = 0; i < total; i++) {
        const struct config_source source = {.file = file, .line = all[i].line, .about = ""};
        if (kept > 0 && strcmp(users[kept - 1].name, all[i].user.name) == 0) {
            config_error(p, &source, "user %s is here twice: remove one", all[i].user.name);
        } else {
            users[kept] = all[i].user;
            users[kept++].line = all[i].line;
        }
    }
    c->users = users;
    c->users_count = kept;
}

void config_parse_users(struct config *c, const char *file, const char *text, size_t size,
                        struct config_problems *p)
{
    struct config_source source = {.rank = CONFIG_BY_FILE, .about = ""};
    struct config_user_line *lines = config_arena_alloc(c->arena, CONFIG_USERS_MAX * sizeof *lines);
    uint32_t count = 0;
    if (lines == NULL) /* config_finish() says so */
        return;
    source.file = config_arena_copy(c->arena, file, strlen(file));
    for (size_t position = 0; position < size;) {
        const char *line = text + position;
        const char *newline = memchr(line, '\n', size - position);
        const size_t line_size = newline == NULL ? size - position : (size_t)(newline - line);
        struct config_user user = {0};
        source.line++;
        position += newline == NULL ? line_size : line_size + 1;
        const char *wrong = line_parse(c->arena, line, line_size, &user);
        if (wrong != NULL) {
            config_error(p, &source, "%s", wrong);
            continue;
        }
        if (user.name == NULL)
            continue;
        if (count == CONFIG_USERS_MAX - c->users_count) {
            config_error(p, &source, "more than %d users", CONFIG_USERS_MAX);
            break;
        }
        lines[count++] = (struct config_user_line){.user = user, .line = source.line};
    }
    config_users_add(c, lines, count, source.file, p);
}

const char *config_keep(struct config *c, const char *text)
{
    const size_t size = strlen(text) + 1;
    char *copy = config_arena_alloc(c->arena, size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

bool config_secret_is_clear(const char *secret)
{
    return secret[0] != '\0' && strncmp(secret, "SCRAM-SHA-256$", 14) != 0 &&
           !(strncmp(secret, "md5", 3) == 0 && strlen(secret) == 35 &&
             strspn(secret + 3, "0123456789abcdef") == 32);
}

const char *config_user_password(const struct config *c, const char *name)
{
    const struct config_user *user = config_user_find(c, name);
    return user != NULL && config_secret_is_clear(user->secret) ? user->secret : "";
}

bool config_user_has_console(const struct config *c, const char *name)
{
    return config_list_has(c->switchgear.admin_users, name) ||
           config_list_has(c->switchgear.stats_users, name);
}
