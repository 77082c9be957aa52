/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_state: see the header.
 *
 * Happy path: state_restore; a change -> state_save -> write_out (another thread) -> on_written.
 * Failure modes: one line in the log for each failure that is another than the last; tried again
 * with the next change.
 */
#include "proxy_state.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy_log.h"
#include "proxy_probe_internal.h"

enum { FILE_MAX = 1 << 20, VERSION = 1 };

struct state {
    uv_work_t work;
    struct supervisor *supervisor;
    bool is_writing, is_stale; /* stale: something changed while it was written */
    char path[4096];           /* "": nothing is kept */
    char *text;                /* what is being written */
    int error;                 /* of the last write */
    int error_logged;
};

/* ---- where ---- */

/* auto: what systemd gives the unit, else beside the admin socket. */
static void choose_path(const struct supervisor *s, char *ret, size_t size)
{
    const struct config_switchgear *c = &s->proxy->config->switchgear;
    const char *given = getenv("STATE_DIRECTORY");
    if (strcmp(c->state_file, "auto") != 0)
        (void)snprintf(ret, size, "%s", c->state_file);
    else if (given != NULL && given[0] != '\0')
        (void)snprintf(ret, size, "%.*s/switchgear.state", (int)strcspn(given, ":"), given);
    else if (c->admin_socket[0] == '/')
        (void)snprintf(ret, size, "%s/switchgear.state", c->admin_socket);
    else
        ret[0] = '\0';
}

/* ---- writing ---- */

static bool write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        const ssize_t n = write(fd, text, left);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            text += n;
            left -= (size_t)n;
        }
    }
    return true;
}

static bool sync_directory(const char *path)
{
    char directory[4096];
    (void)snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        (void)snprintf(directory, sizeof(directory), ".");
    else if (slash == directory)
        slash[1] = '\0';
    else
        *slash = '\0';
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool good = fsync(fd) == 0;
    (void)close(fd);
    return good;
}

/* Another thread: touches nothing but `text`, `path` and `error`. */
static void write_out(uv_work_t *work)
{
    struct state *t = work->data;
    char beside[4104];
    (void)snprintf(beside, sizeof(beside), "%s.new", t->path);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write_all(fd, t->text) && fsync(fd) == 0;
    t->error = good ? 0 : errno;
    if (fd >= 0)
        (void)close(fd);
    good = good && rename(beside, t->path) == 0 && sync_directory(t->path);
    if (!good && t->error == 0)
        t->error = errno;
}

static char *text_of(const struct supervisor *s)
{
    static const char *const reads[] = {"auto", "primary", "replicas"};
    const struct config *c = s->proxy->config;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "version", VERSION);
    cJSON *shards = cJSON_AddArrayToObject(root, "shards");
    for (uint32_t i = 0; i < c->shards_count; i++) {
        const struct probe_shard *shard = &s->probes->shards[i];
        cJSON *one = cJSON_CreateObject();
        if (shard->remembered_timeline == 0) {
            cJSON_Delete(one);
            continue;
        }
        cJSON_AddStringToObject(one, "shard", c->shards[i]);
        cJSON_AddStringToObject(one, "system", shard->remembered_system);
        cJSON_AddNumberToObject(one, "timeline", shard->remembered_timeline);
        cJSON_AddItemToArray(shards, one);
    }
    cJSON *nodes = cJSON_AddArrayToObject(root, "nodes");
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const struct node_state *n = &s->nodes[i];
        if (!n->drained && n->breaker.override == BREAKER_AUTO)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "node", c->nodes[i].name);
        cJSON_AddBoolToObject(one, "drained", n->drained);
        cJSON_AddNumberToObject(one, "override", n->breaker.override);
        cJSON_AddItemToArray(nodes, one);
    }
    cJSON *databases = cJSON_AddArrayToObject(root, "databases");
    for (uint32_t i = 0; i < c->databases_count; i++) {
        const uint8_t to = __atomic_load_n(&s->proxy->reads[i], __ATOMIC_RELAXED);
        if (to == ROUTER_READS_AUTO)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "database", c->databases[i].name);
        cJSON_AddStringToObject(one, "reads", reads[to]);
        cJSON_AddItemToArray(databases, one);
    }
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    return text;
}

static void on_written(uv_work_t *work, int status);

static void begin(struct supervisor *s)
{
    struct state *t = s->state;
    t->text = text_of(s);
    if (t->text == NULL)
        return; /* no memory: the next change tries again */
    t->is_writing = true;
    t->is_stale = false;
    const int r = uv_queue_work(s->loop, &t->work, write_out, on_written);
    assert(r == 0); /* fails only without a callback */
}

static void on_written(uv_work_t *work, int status)
{
    struct state *t = work->data;
    struct supervisor *s = t->supervisor;
    (void)status;
    cJSON_free(t->text);
    t->text = NULL;
    t->is_writing = false;
    if (t->error != 0 && t->error != t->error_logged)
        log_warning("state_not_kept", "file=\"%s\" error=\"%s\"", t->path, strerror(t->error));
    t->error_logged = t->error;
    if (t->is_stale && s->probes != NULL)
        begin(s);
}

void state_save(struct supervisor *s)
{
    struct state *t = s->state;
    if (t == NULL || t->path[0] == '\0' || s->probes == NULL)
        return;
    t->is_stale = true;
    if (!t->is_writing)
        begin(s);
}

/* ---- reading ---- */

static char *read_file(const char *path)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    char *text = NULL;
    ssize_t n = -1;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > FILE_MAX)
        errno = EFBIG;
    else if ((text = calloc(1, (size_t)status.st_size + 1)) != NULL)
        n = read(fd, text, (size_t)status.st_size);
    (void)close(fd);
    if (n >= 0)
        return text;
    free(text);
    return NULL;
}

static const char *text_at(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text != NULL ? text : "";
}

static double number_at(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static void restore_shards(struct supervisor *s, const cJSON *list)
{
    const struct config *c = s->proxy->config;
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
    {
        const double timeline = number_at(one, "timeline");
        for (uint32_t i = 0; i < c->shards_count; i++) {
            struct probe_shard *shard = &s->probes->shards[i];
            if (strcmp(c->shards[i], text_at(one, "shard")) != 0 || !(timeline >= 1) ||
                timeline > UINT32_MAX)
                continue;
            shard->remembered_timeline = (uint32_t)timeline;
            (void)snprintf(shard->remembered_system, sizeof(shard->remembered_system), "%s",
                           text_at(one, "system"));
            log_info("state", "shard=%s system=%s timeline=%u", c->shards[i],
                     shard->remembered_system, shard->remembered_timeline);
        }
    }
}

static void restore_nodes(struct supervisor *s, const cJSON *list)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
    {
        const double override = number_at(one, "override");
        for (uint32_t i = 0; i < s->nodes_count; i++) {
            struct node_state *n = &s->nodes[i];
            if (strcmp(s->proxy->config->nodes[i].name, text_at(one, "node")) != 0)
                continue;
            n->drained = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(one, "drained"));
            if (override == BREAKER_FORCED_OPEN || override == BREAKER_FORCED_CLOSED)
                (void)breaker_force(&n->breaker, (enum breaker_override) override, uv_hrtime());
            log_warning("state", "node=%s drained=%s breaker=%s", text_at(one, "node"),
                        n->drained ? "yes" : "no",
                        override == BREAKER_FORCED_OPEN     ? "open"
                        : override == BREAKER_FORCED_CLOSED ? "closed"
                                                            : "auto");
        }
    }
}

static void restore_databases(struct supervisor *s, const cJSON *list)
{
    const struct config *c = s->proxy->config;
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
    {
        const char *to = text_at(one, "reads");
        for (uint32_t i = 0; i < c->databases_count; i++) {
            if (strcmp(c->databases[i].name, text_at(one, "database")) != 0)
                continue;
            const enum router_reads reads = strcmp(to, "primary") == 0    ? ROUTER_READS_PRIMARY
                                            : strcmp(to, "replicas") == 0 ? ROUTER_READS_REPLICAS
                                                                          : ROUTER_READS_AUTO;
            __atomic_store_n(&s->proxy->reads[i], (uint8_t)reads, __ATOMIC_RELAXED);
            log_warning("state", "database=\"%s\" reads=%s", c->databases[i].name, to);
        }
    }
}

void state_restore(struct supervisor *s)
{
    struct state *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return;
    s->state = t;
    t->work.data = t;
    t->supervisor = s;
    choose_path(s, t->path, sizeof(t->path));
    if (t->path[0] == '\0')
        return;
    char *text = read_file(t->path);
    if (text == NULL) {
        if (errno != ENOENT)
            log_warning("state_not_read", "file=\"%s\" error=\"%s\"", t->path, strerror(errno));
        return;
    }
    cJSON *root = cJSON_Parse(text);
    free(text);
    if (!cJSON_IsObject(root) || number_at(root, "version") != VERSION) {
        log_warning("state_not_read", "file=\"%s\" error=\"it is not a state file of version %d\"",
                    t->path, VERSION);
    } else {
        restore_shards(s, cJSON_GetObjectItemCaseSensitive(root, "shards"));
        restore_nodes(s, cJSON_GetObjectItemCaseSensitive(root, "nodes"));
        restore_databases(s, cJSON_GetObjectItemCaseSensitive(root, "databases"));
        probes_publish(s, true);
    }
    cJSON_Delete(root);
}

void state_destroy(struct supervisor *s)
{
    free(s->state);
    s->state = NULL;
}
