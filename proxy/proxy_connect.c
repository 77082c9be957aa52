/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_connect: libpq makes a connection to PostgreSQL (TLS, SCRAM, certificates, every option)
 * without blocking; once it is ready it is taken over by proxy_server.c.
 *
 * Happy path: server_open -> (resolve) -> on_connecting -> stepped -> taken_over -> pool_opened.
 * Failure modes: connect_failed (reported to the breaker, the pool backs off).
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxy_cancel.h"
#include "proxy_connect_step.h"
#include "proxy_libpq.h"
#include "proxy_log.h"
#include "proxy_look.h"
#include "proxy_tls.h"
#include "proxy_worker.h"

static void on_connecting(uv_poll_t *poll, int status, int events);

static const char cannot_watch[] = "the loop cannot watch the socket";

/* ---- connecting ---- */

/* What it says of the node. Whom the node does not let in, for want of a password too, gets its
 * SQLSTATE. */
static struct breaker_outcome judge_failure(const struct server *v, const char *message,
                                            char sqlstate[6])
{
    libpq_sqlstate(message, sqlstate);
    if (sqlstate[0] != '\0')
        return breaker_judge(BREAKER_EVENT_CONNECT_SQLSTATE, sqlstate, "", v->core.is_replica);
    const bool ours = message == cannot_watch;
    if (v->step != NULL) /* too late: the connection is not ours to ask */
        return breaker_judge(BREAKER_EVENT_CONNECT_FAILED, NULL, "", v->core.is_replica);
    switch (ours ? LIBPQ_OURS : libpq_blame(v->conn, message)) {
    case LIBPQ_NO_PASSWORD:
        memcpy(sqlstate, "28P01", 6);
        return breaker_judge(BREAKER_EVENT_CONNECT_LOGIN, NULL, "", v->core.is_replica);
    case LIBPQ_LOGIN:
        return breaker_judge(BREAKER_EVENT_CONNECT_LOGIN, NULL, "", v->core.is_replica);
    case LIBPQ_OURS:
        return breaker_judge(BREAKER_EVENT_CONNECT_OURS, NULL, "", v->core.is_replica);
    case LIBPQ_NODE:
        break;
    }
    return breaker_judge(BREAKER_EVENT_CONNECT_FAILED, NULL, "", v->core.is_replica);
}

/* One line for one fault: all workers' attempts meet it, again and again. */
static void say_failed(const struct server *v, const char *sqlstate, const char *text)
{
    const struct pool *pool = v->pool;
    const struct config_node *node = &v->worker->config->nodes[pool->node];
    uint64_t hidden = 0;
    if (pool->shared != NULL && !shared_say(&pool->shared->failures, text, uv_hrtime(), &hidden))
        return;
    log_warning("connect_failed",
                "node=%s host=\"%s\" port=%llu user=\"%s\" database=\"%s\" sqlstate=%s errno=%s "
                "error=\"%s\" hidden=%llu",
                v->worker->proxy->node_names[pool->node], node->host,
                (unsigned long long)node->port, pool->group->server_user, pool->group->dbname,
                sqlstate, libpq_errno(text), text, (unsigned long long)hidden);
}

static void connect_failed(struct server *v, const char *message)
{
    struct worker *w = v->worker;
    struct pool *pool = v->pool;
    char sqlstate[6];
    char text[256];
    char reason[256];
    libpq_reason(message, reason, sizeof(reason));
    const struct breaker_outcome outcome = judge_failure(v, message, sqlstate);
    (void)snprintf(text, sizeof(text), "%s", message);
    char *location = strstr(text, "\nLOCATION:"); /* in the server's source: nobody's business */
    if (location != NULL)
        *location = '\0';
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
    say_failed(v, sqlstate, text);
    const struct outcome_record record = {.node = pool->node,
                                          .input = (uint8_t)outcome.input,
                                          .reason = (uint8_t)outcome.reason,
                                          .probe_now = outcome.probe_now,
                                          .generation = w->topology.nodes[pool->node].generation};
    if (v->owner != NULL) { /* what the pool's connections meet is not for this one to say */
        replication_failed(v, sqlstate, reason);
        return;
    }
    server_close(v, "connect failed");
    worker_outcome(w, &record);
    pool_open_failed(pool, sqlstate, reason, uv_hrtime());
}

void server_connect_timeout(struct server *v)
{
    shared_add(&v->worker->stats.timeouts[TIMEOUT_SERVER_CONNECT], 1);
    connect_failed(v, "the connection attempt took longer than server_connect_timeout");
}

static void append_parameter(struct server *v, const char *name, struct proto_writer *out)
{
    const char *value = PQparameterStatus(v->conn, name);
    if (value != NULL)
        proto_write_parameter_status(out, (struct proto_span){(const uint8_t *)name, strlen(name)},
                                     (struct proto_span){(const uint8_t *)value, strlen(value)});
}

/* What the server said of itself; the parameters that PostgreSQL reports, of all its versions. */
static void keep_parameters(struct server *v)
{
    static const char *const names[] = {"server_version",
                                        "server_encoding",
                                        "client_encoding",
                                        "application_name",
                                        "default_transaction_read_only",
                                        "in_hot_standby",
                                        "is_superuser",
                                        "session_authorization",
                                        "DateStyle",
                                        "IntervalStyle",
                                        "TimeZone",
                                        "integer_datetimes",
                                        "standard_conforming_strings",
                                        "scram_iterations",
                                        "search_path"};
    uint8_t buf[8192];
    struct proto_writer w = proto_writer_make(buf, sizeof(buf));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        append_parameter(v, names[i], &w);
    v->core.params = malloc(w.size + 1);
    if (v->core.params == NULL)
        abort();
    memcpy(v->core.params, buf, w.size);
    v->core.params_size = (uint32_t)w.size;
}

static void taken_over(struct server *v)
{
    struct worker *w = v->worker;
    const uint64_t now_ns = uv_hrtime();
    v->ssl = PQsslStruct(v->conn, "OpenSSL");
    if (v->ssl != NULL) {
        (void)SSL_set_mode(v->ssl,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_set_read_ahead(v->ssl, 1); /* a record's head and body in one read */
    }
    keep_parameters(v);
    server_key_learn(v);
    v->core.opened_ns = now_ns;
    /* what it is decides which statements it may carry, whatever the topology believes */
    const char *standby = PQparameterStatus(v->conn, "in_hot_standby");
    if (standby != NULL) /* PostgreSQL 14 and later say so themselves */
        v->core.is_replica = strcmp(standby, "on") == 0;
    (void)PQsetnonblocking(v->conn,
                           1); /* else PQfinish() waits for a full socket to take its 'X' */
    histogram_observe(&w->database_stats[v->pool->group->database].connect, now_ns - v->started_ns);
    v->pool->failures_row = 0;
    v->pool->refused = false;
    if (v->pool->shared != NULL)
        shared_set(&v->pool->shared->was_open, 1);
    server_events_update(v);
    if (v->pool->group->catalog != NULL) {
        shared_set(&v->pool->group->catalog->was_open, 1);
        look_want(w->proxy, v->pool->group->catalog, now_ns);
    }
    if (v->owner != NULL)
        replication_connected(v, now_ns);
    else
        pool_opened(v, now_ns);
}

static void stepped(void *data, PostgresPollingStatusType status)
{
    struct server *v = data;
    v->step = NULL;
    v->fd = PQsocket(v->conn);
    if (status == PGRES_POLLING_FAILED || v->fd < 0) {
        char message[512];
        (void)snprintf(message, sizeof(message), "%s", PQerrorMessage(v->conn));
        connect_failed(v, message);
        return;
    }
    if (!server_watch(v)) {
        connect_failed(v, cannot_watch);
        return;
    }
    if (status == PGRES_POLLING_OK) {
        taken_over(v);
        return;
    }
    const int events = status == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE;
    const int r = uv_poll_start(v->poll, events, on_connecting);
    assert(r == 0);
}

static void on_connecting(uv_poll_t *poll, int status, int events)
{
    struct server *v = poll->data;
    (void)status;
    (void)events; /* libpq finds out by itself what is wrong */
    server_unwatch(v);
    v->step = connect_step_begin(&v->worker->loop, v->conn, stepped, v);
}

/* A machine that is gone is found in 25 s though nothing is under way: the system's own two hours
 * are longer than anybody waits. */
static void add_keepalives(struct libpq_keywords *k)
{
    libpq_keyword_add(k, "keepalives_idle", "10");
    libpq_keyword_add(k, "keepalives_interval", "5");
    libpq_keyword_add(k, "keepalives_count", "3");
}

static void add_login(struct libpq_keywords *k, const struct group *g)
{
    const bool own_password = libpq_keyword_find(k, "password") != NULL;
    if (libpq_keyword_find(k, "user") == NULL)
        libpq_keyword_add(k, "user", g->server_user);
    if (!own_password && g->password != NULL) {
        libpq_keyword_add(k, "password", g->password);
    } else if (!own_password && g->scram_keys != NULL) { /* libpq 18 */
        libpq_keyword_add(k, "scram_client_key", g->scram_keys->client);
        libpq_keyword_add(k, "scram_server_key", g->scram_keys->server);
    }
}

/* The keywords for libpq: server_tls_* first, then the node's options, which win over them, then
 * what we know, which wins over all. */
static bool start_connect(struct server *v)
{
    const struct config *config = v->worker->config;
    const struct config_node *node = &config->nodes[v->pool->node];
    struct libpq_keywords k = {.count = 0};
    char port[16];
    char timeout[16];
    char *error = NULL;
    PQconninfoOption *options =
        node->options[0] != '\0' ? PQconninfoParse(node->options, &error) : NULL;
    tls_server_keywords(config, &k);
    add_keepalives(&k);
    libpq_keywords_add(&k, options);
    (void)snprintf(port, sizeof(port), "%llu", (unsigned long long)node->port);
    (void)snprintf(timeout, sizeof(timeout), "%llu",
                   (unsigned long long)(config->switchgear.server_connect_timeout_ns / 1000000000));
    libpq_keyword_add(&k, "host", node->host);
    libpq_keyword_add(&k, "hostaddr", v->hostaddr[0] != '\0' ? v->hostaddr : NULL);
    libpq_keyword_add(&k, "port", port);
    libpq_keyword_add(&k, "dbname", v->pool->group->dbname);
    libpq_keyword_add(&k, "gssencmode", "disable");
    libpq_keyword_add(&k, "connect_timeout", timeout);
    add_login(&k, v->pool->group);
    if (v->owner != NULL)
        replication_keywords(v, &k);
    v->conn = PQconnectStartParams(k.names, k.values, 0);
    PQconninfoFree(options);
    if (error != NULL)
        PQfreemem(error);
    if (v->conn == NULL || PQstatus(v->conn) == CONNECTION_BAD)
        return false;
    (void)PQsetErrorVerbosity(v->conn, PQERRORS_VERBOSE); /* so that we see the SQLSTATE */
    server_key_listen(v);
    return true;
}

static void begin_connect(struct server *v)
{
    pool_move(v, SERVER_CONNECTING, uv_hrtime());
    if (!start_connect(v)) {
        char message[512];
        (void)snprintf(message, sizeof(message), "%s",
                       v->conn != NULL ? PQerrorMessage(v->conn) : "out of memory");
        connect_failed(v, message);
        return;
    }
    v->fd = PQsocket(v->conn);
    if (v->fd < 0 || !server_watch(v)) {
        connect_failed(v, cannot_watch);
        return;
    }
    const int r = uv_poll_start(v->poll, UV_WRITABLE, on_connecting);
    assert(r == 0);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct server *v = request->data;
    v->resolver = NULL;
    free(request);
    if (v->closing) {
        uv_freeaddrinfo(found);
        free(v);
        return;
    }
    if (status != 0) {
        uv_freeaddrinfo(found);
        connect_failed(v, uv_strerror(status));
        return;
    }
    const struct sockaddr *address = found->ai_addr;
    if (address->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
                        v->hostaddr, sizeof(v->hostaddr));
    else
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                        v->hostaddr, sizeof(v->hostaddr));
    uv_freeaddrinfo(found);
    begin_connect(v);
}

void server_open(struct pool *pool, uint64_t now_ns)
{
    server_open_for(pool, NULL, now_ns);
}

void server_open_for(struct pool *pool, struct client *owner, uint64_t now_ns)
{
    struct worker *w = pool->group->worker;
    const struct config_node *node = &w->config->nodes[pool->node];
    struct server *v = calloc(1, sizeof(*v));
    if (v == NULL)
        abort();
    v->worker = w;
    v->pool = pool;
    v->owner = owner;
    if (owner != NULL)
        owner->own_server = v;
    v->fd = -1;
    v->id = (uint64_t)(w->index + 1) << 40 | ++w->next_server_id;
    v->started_ns = v->since_ns = now_ns;
    v->state = SERVER_RESOLVING;
    core_backend_init(&v->core, &w->core, pool->node,
                      w->topology.nodes[pool->node].role != ROUTER_ROLE_PRIMARY, now_ns, v);
    TAILQ_INSERT_TAIL(&pool->others, v, link);
    pool->opening_count++;
    w->servers_count++;
    if (!libpq_needs_lookup(node->host)) {
        begin_connect(v);
        return;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    v->resolver = calloc(1, sizeof(*v->resolver));
    if (v->resolver == NULL)
        abort();
    v->resolver->data = v;
    const int r = uv_getaddrinfo(&w->loop, v->resolver, on_resolved, node->host, NULL, &hints);
    if (r != 0) {
        free(v->resolver);
        v->resolver = NULL;
        connect_failed(v, uv_strerror(r));
    }
}
