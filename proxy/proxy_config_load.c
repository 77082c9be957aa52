/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_config_load: see the header.
 */
#include "proxy_config_load.h"

#include <errno.h>
#include <ifaddrs.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_hba.h"

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
    explicit_bzero(text, size);
    free(text);
}

/* A relative path is beside the configuration file. */
static void path_beside(const char *config_path, const char *name, char *ret, size_t ret_size)
{
    const char *slash = config_path != NULL ? strrchr(config_path, '/') : NULL;
    if (name[0] == '/' || slash == NULL)
        (void)snprintf(ret, ret_size, "%s", name);
    else
        (void)snprintf(ret, ret_size, "%.*s%s", (int)(slash - config_path + 1), config_path, name);
}

/* "": nothing to be read. */
static void load_beside(struct config *c, const char *config_path, const char *name,
                        struct config_problems *p,
                        void (*parse)(struct config *c, const char *file, const char *text,
                                      size_t size, struct config_problems *p))
{
    char path[4096];
    if (name[0] == '\0')
        return;
    path_beside(config_path, name, path, sizeof(path));
    load_file(c, path, p, parse);
}

/* IPv4 as ::ffff:a.b.c.d. False: neither IPv4 nor IPv6. */
static bool copy_address(const struct sockaddr *from, uint8_t fill, uint8_t ret[16])
{
    if (from == NULL || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
        return false;
    if (from->sa_family == AF_INET6) {
        memcpy(ret, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
        return true;
    }
    memset(ret, fill, 10);
    ret[10] = ret[11] = 0xff;
    memcpy(ret + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    return true;
}

/* For samehost and samenet: the addresses that this machine has now. */
static void load_interfaces(struct config *c)
{
    struct ifaddrs *all = NULL;
    if (!config_hba_wants_interfaces(c) || getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        uint8_t address[16];
        uint8_t mask[16];
        if (copy_address(i->ifa_addr, 0, address) && copy_address(i->ifa_netmask, 0xff, mask))
            config_interface_add(c, address, mask);
    }
    freeifaddrs(all);
}

static void check_library(const struct config *c, const char *path, struct config_problems *p)
{
    char message[128];
    if (!c->switchgear.server_scram_keys || PQlibVersion() >= 180000)
        return;
    (void)snprintf(message, sizeof(message),
                   "server_scram_keys = yes needs libpq 18 or newer, and this one is %d.%d",
                   PQlibVersion() / 10000, PQlibVersion() % 10000);
    config_problem_add(p, path != NULL ? path : "environment", 0, message);
}

/* A file that is named and not there is a slip: libpq would go without, an sslrootcert's check of
 * the server with it. */
static void check_option_files(const struct config *c, uint32_t node,
                               const PQconninfoOption *options, struct config_problems *p)
{
    static const char *const files[] = {"sslrootcert", "sslcrl", "sslcrldir", "passfile"};
    char message[512];
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
            const bool named = strcmp(o->keyword, files[i]) == 0 && o->val != NULL &&
                               o->val[0] != '\0' && strchr(o->val, ':') == NULL; /* an engine's */
            const bool built_in = strcmp(files[i], "sslrootcert") == 0 && named &&
                                  strcmp(o->val, "system") == 0 && PQlibVersion() >= 160000;
            if (!named || built_in || access(o->val, R_OK) == 0)
                continue;
            (void)snprintf(message, sizeof(message), "%s: %.300s: cannot be read: %s", files[i],
                           o->val, strerror(errno));
            config_node_problem(c, node, "options", message, p);
        }
    }
}

/* Here, and not when a connection is made: what libpq does not understand it would leave out as a
 * whole, an sslmode with it. */
static void check_options(const struct config *c, struct config_problems *p)
{
    for (uint32_t i = 0; i < c->nodes_count; i++) {
        char message[256];
        char *wrong = NULL;
        PQconninfoOption *options = PQconninfoParse(c->nodes[i].options, &wrong);
        if (options == NULL) {
            (void)snprintf(message, sizeof(message), "options: %.*s",
                           wrong != NULL ? (int)strcspn(wrong, "\n") : 0,
                           wrong != NULL ? wrong : "");
            config_node_problem(c, i, "options", message, p);
        } else {
            check_option_files(c, i, options, p);
        }
        PQconninfoFree(options);
        PQfreemem(wrong);
    }
}

/* Does it hold a password of ours towards servers? */
static bool has_passwords(const struct config *c)
{
    bool found = c->probe.password[0] != '\0';
    for (uint32_t i = 0; i < c->databases_count; i++)
        found = found || c->databases[i].password[0] != '\0';
    for (uint32_t i = 0; i < c->nodes_count; i++)
        found = found || strstr(c->nodes[i].options, "password") != NULL;
    return found;
}

static bool has_secrets(const struct config *c)
{
    bool found = false;
    for (uint32_t i = 0; i < c->users_count; i++)
        found = found || c->users[i].secret[0] != '\0';
    return found;
}

/* A file of passwords that every user of the machine may read or write. */
static void check_rights(const struct config *c, const char *path, struct config_problems *p)
{
    struct stat status;
    if (c->switchgear.secrets_readable || stat(path, &status) != 0 || !S_ISREG(status.st_mode) ||
        (status.st_mode & (S_IROTH | S_IWOTH)) == 0)
        return;
    config_problem_add(p, path, 0,
                       "it holds passwords, and every user of this machine may read it: "
                       "chmod o-rw, or set secrets_readable = yes");
}

static void check_secrets(const struct config *c, const char *config_path,
                          struct config_problems *p)
{
    const struct config_switchgear *own = &c->switchgear;
    char path[4096];
    if (config_path != NULL && has_passwords(c)) /* before what auth_file knows is copied there */
        check_rights(c, config_path, p);
    if (own->auth_file[0] != '\0' && has_secrets(c)) {
        path_beside(config_path, own->auth_file, path, sizeof(path));
        check_rights(c, path, p);
    }
}

static const char *get_variable(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

static char *read_named(void *arg, const char *path, size_t *ret_size, const char **ret_wrong)
{
    (void)arg;
    char *text = read_file(path, ret_size);
    if (text == NULL)
        *ret_wrong = strerror(errno);
    return text;
}

static void parse_hba(struct config *c, const char *file, const char *text, size_t size,
                      struct config_problems *p)
{
    static const struct config_reader files = {.read = read_named};
    config_parse_hba(c, file, text, size, &files, p);
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
    const struct config_switchgear *own = &c->switchgear;
    load_beside(c, source->path, own->auth_file, problems, config_parse_users);
    load_beside(c, source->path, own->auth_hba_file, problems, parse_hba);
    load_beside(c, source->path, own->auth_ident_file, problems, config_parse_ident);
    load_interfaces(c);
    check_secrets(c, source->path, problems);
    check_library(c, source->path, problems);
    config_finish(c, problems);
    if (problems->errors == 0) /* else libpq's words may quote a password that has lost its key */
        check_options(c, problems);
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
