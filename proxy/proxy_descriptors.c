/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_descriptors: see the header.
 */
#include "proxy_descriptors.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto_message.h"
#include "proxy_log.h"
#include "proxy_shared.h"

enum {
    OWN = 32,        /* standard ones, listeners, the log, HTTP clients, a file that is read */
    OF_A_WORKER = 8, /* its loop; questions about users and catalogs */
    OF_A_NODE = 4,   /* a probe, a witness, a cancel request */
    LAST = 16        /* what clients that have not said who they are leave alone */
};

void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* One user for each database; where there are more of them it is the limits of servers that hold.
 */
static uint64_t kept_for_servers(const struct config *config)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < config->databases_count; i++)
        for (uint32_t n = 0; n < config->nodes_count; n++)
            if (config->nodes[n].shard_index == config->databases[i].shard_first)
                count += config->databases[i].pool_size;
    return count;
}

void descriptors_plan(struct proxy *p, const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        p->descriptors = UINT64_MAX;
        ck_pr_store_64(&p->descriptors_clients_max, UINT64_MAX);
        return;
    }
    const uint64_t wanted = OWN + OF_A_WORKER * (uint64_t)p->workers_count +
                            OF_A_NODE * (uint64_t)config->nodes_count + kept_for_servers(config);
    const uint64_t kept = wanted < limit.rlim_cur / 2 ? wanted : limit.rlim_cur / 2;
    p->descriptors = limit.rlim_cur;
    ck_pr_store_64(&p->descriptors_clients_max, limit.rlim_cur - kept);
    if (config->switchgear.max_client_conn <= limit.rlim_cur - wanted && wanted < limit.rlim_cur)
        return;
    log_warning(
        "descriptors",
        "limit=%llu needed=%llu clients=%llu why=\"max_client_conn and the pools want more; "
        "raise ulimit -n (LimitNOFILE= of systemd), or lower max_client_conn\"",
        (unsigned long long)limit.rlim_cur,
        (unsigned long long)(config->switchgear.max_client_conn + wanted),
        (unsigned long long)(limit.rlim_cur - kept));
}

bool descriptors_refuse(const struct proxy *p, int fd)
{
    if ((uint64_t)fd + LAST < p->descriptors)
        return false;
    uint8_t buf[256];
    struct proto_writer w = proto_writer_make(buf, sizeof(buf));
    const struct proto_error_text error = {
        .severity = "FATAL",
        .sqlstate = "53300",
        .message = "no more connections allowed (the proxy's limit of open files)"};
    proto_write_error(&w, &error);
    (void)recv(fd, (uint8_t[1024]){0}, 1024, MSG_DONTWAIT); /* else its error would meet a reset */
    (void)send(fd, w.base, w.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
    return true;
}
