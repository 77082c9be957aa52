/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_listen_unix: see the header.
 */
#include "proxy_listen_unix.h"

#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A socket file that nobody listens on is left over from a process that was killed. Anything else
 * of that name is not ours to remove. */
static void remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
        errno == ECONNREFUSED)
        (void)unlink(address->sun_path);
    (void)close(fd);
}

/* By name or by number. 0, or why not. */
static int group_find(const char *text, gid_t *ret)
{
    char buf[4096];
    struct group found;
    struct group *entry = NULL;
    if (text[0] >= '0' && text[0] <= '9') {
        char *end;
        *ret = (gid_t)strtoul(text, &end, 10);
        return *end == '\0' ? 0 : EINVAL;
    }
    const int r = getgrnam_r(text, &found, buf, sizeof(buf), &entry);
    if (r != 0 || entry == NULL)
        return r != 0 ? r : ENOENT;
    *ret = found.gr_gid;
    return 0;
}

/* Who may connect. Nobody could before: nothing listens yet. */
static bool set_rights(const struct config_switchgear *config, const char *path, bool is_admin,
                       char error[512])
{
    uint32_t mode = 0600;
    gid_t gid = (gid_t)-1;
    if (!is_admin && !config_mode_parse(config->unix_socket_mode, &mode))
        mode = 0700;
    if (!is_admin && config->unix_socket_group[0] != '\0') {
        int r = group_find(config->unix_socket_group, &gid);
        if (r == 0 && chown(path, (uid_t)-1, gid) != 0)
            r = errno;
        if (r != 0) {
            (void)snprintf(error, 512, "cannot give %s to the group %s: %s", path,
                           config->unix_socket_group, strerror(r));
            return false;
        }
    }
    if (chmod(path, mode) == 0)
        return true;
    (void)snprintf(error, 512, "cannot set the rights of %s: %s", path, strerror(errno));
    return false;
}

/* A name that is no file: nothing to make, to give rights to or to remove. libpq, PgBouncer and
 * PostgreSQL make it from "@name" in the same way. */
static int bind_abstract(struct sockaddr_un *address, char error[512])
{
    const socklen_t size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address->sun_path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address->sun_path[0] = '\0';
    if (fd >= 0 && bind(fd, (struct sockaddr *)address, size) == 0)
        return fd;
    (void)snprintf(error, 512, "cannot listen on @%s: %s", address->sun_path + 1, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

int listen_unix_bind(const struct config_switchgear *config, const char *directory, uint16_t port,
                     bool is_admin, struct sockaddr_un *ret, char error[512])
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    const int n =
        snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/.s.PGSQL.%u", directory, (unsigned)port);
    if (n < 0 || (size_t)n >= sizeof(ret->sun_path)) {
        (void)snprintf(error, 512, "the path %s is too long for a socket", directory);
        return -1;
    }
    if (directory[0] == '@')
        return bind_abstract(ret, error);
    (void)mkdir(directory, is_admin ? 0700 : 0755);
    remove_stale(ret);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, sizeof(*ret)) != 0) {
        (void)snprintf(error, 512, "cannot listen on %s: %s", ret->sun_path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    if (set_rights(config, ret->sun_path, is_admin, error))
        return fd;
    (void)unlink(ret->sun_path);
    (void)close(fd);
    return -1;
}
