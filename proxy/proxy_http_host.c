/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_http_host: the name without its port, compared.
 */
#include "proxy_http_host.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_SIZE = 256 };

/* False: too long. */
static bool name_of(const char *host, char *ret)
{
    const bool bracket = *host == '[';
    const size_t size = bracket ? strcspn(host + 1, "]") : strcspn(host, ":");
    if (size >= NAME_MAX_SIZE)
        return false;
    memcpy(ret, host + bracket, size);
    ret[size] = '\0';
    return true;
}

static bool is_address(const char *name)
{
    struct in6_addr room;
    return inet_pton(AF_INET, name, &room) == 1 || inet_pton(AF_INET6, name, &room) == 1;
}

static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
           strncasecmp(listen, "localhost:", 10) == 0;
}

/* A comma separated list, as config_list_has(), but names of hosts know no case. */
static bool has(const char *names, const char *name)
{
    static const char between[] = ", \t";
    for (const char *at = names + strspn(names, between); *at != '\0'; at += strspn(at, between)) {
        const size_t size = strcspn(at, between);
        if ((size == 1 && *at == '*') || (size == strlen(name) && strncasecmp(at, name, size) == 0))
            return true;
        at += size;
    }
    return false;
}

bool http_host_allowed(const char *host, const char *names, const char *listen)
{
    static const char local[] = ".localhost";
    char name[NAME_MAX_SIZE];
    if (host == NULL || (*names == '\0' && !is_loopback(listen)))
        return true;
    if (!name_of(host, name))
        return false;
    const size_t size = strlen(name);
    return is_address(name) || strchr(name, '.') == NULL || has(names, name) ||
           (size >= sizeof(local) && strcasecmp(name + size - sizeof(local) + 1, local) == 0);
}
