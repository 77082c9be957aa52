/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_listen: see the header. Failure modes: an address that is taken ends the start with a clear
 * message; out of descriptors while accepting pauses accepting for a moment.
 */
#include "proxy_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy_descriptors.h"
#include "proxy_listen_unix.h"
#include "proxy_log.h"
#include "proxy_worker.h"

enum {
    ACCEPTS_A_TURN = 64,
    PAUSE_MS = 100,
    LISTENERS_MAX = CONFIG_LISTEN_MAX * 4 + 1,
    BACKLOG = 1024
};

struct listener {
    struct listener *next;
    uv_poll_t poll;
    uv_timer_t pause; /* runs while nothing is accepted, for want of descriptors */
    int handles;      /* that are not closed yet */
    struct supervisor *supervisor;
    int fd;
    bool is_unix;
    bool is_admin;
    char path[108]; /* of a Unix socket; "": there is no file */
    dev_t device;
    ino_t inode; /* of that file */
};

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void file_remember(struct listener *l, const char *path)
{
    struct stat status;
    (void)snprintf(l->path, sizeof(l->path), "%s", path);
    if (path[0] == '\0' || lstat(path, &status) != 0)
        return;
    l->device = status.st_dev;
    l->inode = status.st_ino;
}

/* Not one that somebody else has made in its place. */
static void file_remove(const struct listener *l)
{
    struct stat status;
    if (l->path[0] != '\0' && lstat(l->path, &status) == 0 && status.st_dev == l->device &&
        status.st_ino == l->inode)
        (void)unlink(l->path);
}

static uint32_t least_loaded(const struct proxy *p)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < p->workers_count; i++)
        if (p->workers[i].dealt - shared_load(&p->workers[i].stats.left) <
            p->workers[best].dealt - shared_load(&p->workers[best].stats.left))
            best = i;
    return best;
}

/* The admin socket is for the user who runs the proxy, and for root. */
static bool peer_may_administer(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void refuse_admin(int fd)
{
    uint8_t buf[256];
    struct proto_writer w = proto_writer_make(buf, sizeof(buf));
    const struct proto_error_text error = {
        .severity = "FATAL",
        .sqlstate = "28000",
        .message = "the admin socket is for the user who runs the proxy and for root"};
    proto_write_error(&w, &error);
    (void)send(fd, w.base, w.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

static void describe_peer(const struct config_switchgear *config,
                          const struct sockaddr_storage *from, struct mail_client *mail)
{
    uint8_t address[16] = {0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
        address[10] = address[11] = 0xff;
        memcpy(address + 12, &v4->sin_addr, 4);
        (void)inet_ntop(AF_INET, &v4->sin_addr, mail->address, sizeof(mail->address));
        mail->port = ntohs(v4->sin_port);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
        memcpy(address, &v6->sin6_addr, 16);
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, mail->address, sizeof(mail->address));
        mail->port = ntohs(v6->sin6_port);
    }
    mail->begins_with_header =
        config->proxy_protocol == CONFIG_PROXY_V2 && !mail->is_admin_socket &&
        config_network_has(config->proxy_protocol_from, mail->is_unix ? NULL : address);
}

static void on_pause_over(uv_timer_t *timer)
{
    struct listener *l = timer->data;
    (void)uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static bool accept_one(struct listener *l)
{
    struct supervisor *s = l->supervisor;
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof(from);
    const int fd = accept4(l->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* the client stays in the backlog, and we would be told of it without end */
            log_error("accept_failed", "error=\"%s\"", strerror(errno));
            (void)uv_poll_stop(&l->poll);
            (void)uv_timer_start(&l->pause, on_pause_over, PAUSE_MS, 0);
        }
        return false;
    }
    if (!l->is_admin && descriptors_refuse(s->proxy, fd))
        return true;
    if (l->is_admin && !peer_may_administer(fd)) {
        refuse_admin(fd);
        return true;
    }
    struct mail_client *mail = calloc(1, sizeof(*mail));
    if (mail == NULL) {
        (void)close(fd);
        return false;
    }
    mail->mail.kind = MAIL_CLIENT;
    mail->fd = fd;
    mail->is_unix = l->is_unix;
    mail->is_admin_socket = l->is_admin;
    describe_peer(&s->proxy->config->switchgear, &from, mail);
    const uint32_t worker = least_loaded(s->proxy);
    s->proxy->workers[worker].dealt++;
    if (!worker_post(s->proxy, worker, &mail->mail)) {
        log_error("client_refused", "reason=\"the worker's mailbox is full\"");
        s->proxy->workers[worker].dealt--;
        (void)close(fd);
        free(mail);
    }
    return true;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(l); i++)
        continue;
}

static int add(struct supervisor *s, int fd, bool is_unix, bool is_admin, const char *path)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (l == NULL || listen(fd, BACKLOG) != 0 || uv_poll_init(s->loop, &l->poll, fd) != 0) {
        (void)close(fd);
        free(l);
        return -1;
    }
    l->supervisor = s;
    l->fd = fd;
    l->is_unix = is_unix;
    l->is_admin = is_admin;
    file_remember(l, path);
    (void)uv_timer_init(s->loop, &l->pause);
    l->handles = 2;
    l->poll.data = l->pause.data = l;
    l->next = s->listeners;
    s->listeners = l;
    return uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static int add_unix(struct supervisor *s, const char *directory, uint16_t port, bool is_admin,
                    char *error, size_t error_size)
{
    struct sockaddr_un address;
    char why[512];
    const int listening =
        listen_unix_bind(&s->proxy->config->switchgear, directory, port, is_admin, &address, why);
    if (listening < 0) {
        (void)snprintf(error, error_size, "%s", why);
        return -1;
    }
    if (is_admin)
        (void)snprintf(s->admin_socket, sizeof(s->admin_socket), "%s", address.sun_path);
    return add(s, listening, true, is_admin, address.sun_path);
}

static int add_tcp(struct supervisor *s, const struct config_address *address, char *error,
                   size_t error_size)
{
    char port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    (void)snprintf(port, sizeof(port), "%u", (unsigned)address->port);
    const int r =
        getaddrinfo(address->host[0] != '\0' ? address->host : NULL, port, &hints, &found);
    if (r != 0) {
        (void)snprintf(error, error_size, "cannot listen on %s:%s: %s", address->host, port,
                       gai_strerror(r));
        return -1;
    }
    int result = -1;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        const int on = 1;
        const int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        /* on Linux whoever is accepted inherits these two; the second is for clients that vanish */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        if (a->ai_family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0) {
            (void)snprintf(error, error_size, "cannot listen on %s:%s: %s", address->host, port,
                           strerror(errno));
            (void)close(fd);
            continue;
        }
        if (add(s, fd, false, false, "") == 0)
            result = 0;
        else
            (void)snprintf(error, error_size, "cannot listen on %s:%s: %s", address->host, port,
                           strerror(errno));
    }
    freeaddrinfo(found);
    return result;
}

/* The admin socket's directory: as configured, else where this user may write. */
static int add_admin(struct supervisor *s, uint16_t port, char *error, size_t error_size)
{
    const char *directory = s->proxy->config->switchgear.admin_socket;
    char fallback[96];
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (directory[0] == '\0')
        return 0;
    if (add_unix(s, directory, port, true, error, error_size) == 0)
        return 0;
    if (strcmp(directory, "/run/switchgear") != 0)
        return -1; /* it was asked for by name */
    if (runtime != NULL && runtime[0] != '\0') {
        (void)snprintf(fallback, sizeof(fallback), "%s/switchgear", runtime);
        if (add_unix(s, fallback, port, true, error, error_size) == 0)
            return 0;
    }
    const char *temporary = getenv("TMPDIR");
    (void)snprintf(fallback, sizeof(fallback), "%s/switchgear-%u",
                   temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp",
                   (unsigned)geteuid());
    struct stat status;
    if (mkdir(fallback, 0700) != 0 && (lstat(fallback, &status) != 0 || !S_ISDIR(status.st_mode) ||
                                       status.st_uid != geteuid() || (status.st_mode & 077) != 0)) {
        (void)snprintf(error, error_size, "%s is not a private directory of this user", fallback);
        return -1;
    }
    return add_unix(s, fallback, port, true, error, error_size);
}

int listen_start(struct supervisor *s, char *error, size_t error_size)
{
    struct config_address addresses[CONFIG_LISTEN_MAX];
    size_t count = 0;
    uint16_t port = 6432;
    char list[1024];
    char *save = NULL;
    (void)snprintf(list, sizeof(list), "%s", s->proxy->config->switchgear.listen);
    for (char *item = strtok_r(list, ",", &save); item != NULL && count < CONFIG_LISTEN_MAX;
         item = strtok_r(NULL, ",", &save)) {
        while (*item == ' ')
            item++;
        for (size_t end = strlen(item); end > 0 && item[end - 1] == ' ';)
            item[--end] = '\0';
        if (!config_address_parse(item, &addresses[count])) {
            (void)snprintf(error, error_size, "bad listen address %s", item);
            return -1;
        }
        count++;
    }
    for (size_t i = count; i-- > 0;)
        if (!addresses[i].is_unix)
            port = addresses[i].port;
    for (size_t i = 0; i < count; i++) {
        const int r = addresses[i].is_unix
                          ? add_unix(s, addresses[i].host, port, false, error, error_size)
                          : add_tcp(s, &addresses[i], error, error_size);
        if (r != 0)
            return -1;
    }
    return add_admin(s, port, error, error_size);
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    if (--l->handles == 0)
        free(l);
}

void listen_stop(struct supervisor *s)
{
    while (s->listeners != NULL) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        file_remove(l);
        (void)uv_poll_stop(&l->poll);
        (void)close(l->fd);
        uv_close((uv_handle_t *)&l->poll, on_closed);
        uv_close((uv_handle_t *)&l->pause, on_closed);
    }
}
