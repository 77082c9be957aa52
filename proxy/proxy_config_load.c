/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_config_load: see the header.
 */
#include "proxy_config_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_tls.h"

enum { FILE_SIZE_MAX = 16 * 1024 * 1024 };

/* A whole file, NUL-terminated; NULL with errno. */
static char *read_file(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return NULL;
    char *text = NULL;
    size_t size = 0;
    size_t capacity = 0;
    for (;;) {
        if (size + 4096 > capacity) {
            capacity = capacity == 0 ? 16384 : capacity * 2;
            char *larger = capacity <= FILE_SIZE_MAX ? realloc(text, capacity) : NULL;
            if (larger == NULL) {
                free(text);
                (void)fclose(f);
                errno = EFBIG;
                return NULL;
            }
            text = larger;
        }
        const size_t n = fread(text + size, 1, capacity - size - 1, f);
        size += n;
        if (n == 0)
            break;
    }
    if (ferror(f)) {
        const int error = errno;
        free(text);
        (void)fclose(f);
        errno = error;
        return NULL;
    }
    (void)fclose(f);
    text[size] = '\0';
    *ret_size = size;
    return text;
}

static void load_file(struct config *c, const char *path, struct config_problems *p,
                      void (*parse)(struct config *c, const char *file, const char *text,
                                    size_t size, struct config_problems *p))
{
    size_t size = 0;
    char *text = read_file(path, &size);
    if (text == NULL) {
        char message[256];
        (void)snprintf(message, sizeof(message), "cannot be read: %s", strerror(errno));
        config_problem_add(p, path, 0, message);
        return;
    }
    parse(c, path, text, size, p);
    free(text);
}

/* A relative auth_file is beside the configuration file. */
static void load_users(struct config *c, const char *config_path, struct config_problems *p)
{
    const char *name = c->switchgear.auth_file;
    char path[4096];
    if (name[0] == '\0')
        return;
    const char *slash = config_path != NULL ? strrchr(config_path, '/') : NULL;
    if (name[0] == '/' || slash == NULL)
        (void)snprintf(path, sizeof(path), "%s", name);
    else
        (void)snprintf(path, sizeof(path), "%.*s%s", (int)(slash - config_path + 1), config_path,
                       name);
    load_file(c, path, p, config_parse_users);
}

static const char *get_variable(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

struct config *config_load(const struct config_input *source, struct config_problems *problems,
                           SSL_CTX **ret_tls)
{
    struct config *c = config_create();
    if (c == NULL)
        return NULL;
    if (source->path != NULL)
        load_file(c, source->path, problems, config_parse_ini);
    else
        config_parse_environment(c, get_variable, NULL, problems);
    for (size_t i = 0; i < source->assignments_count; i++)
        config_set(c, source->assignments[i], problems);
    load_users(c, source->path, problems);
    config_finish(c, problems);
    if (problems->errors == 0 && tls_create(c, problems, ret_tls))
        return c;
    config_destroy(c);
    return NULL;
}

void config_problems_print(const struct config_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct config_problem *p = &problems->items[i];
        if (p->line > 0)
            (void)fprintf(stderr, "%s:%u: %s%s\n", p->file, p->line, p->warning ? "warning: " : "",
                          p->message);
        else
            (void)fprintf(stderr, "%s: %s%s\n", p->file, p->warning ? "warning: " : "", p->message);
    }
}
