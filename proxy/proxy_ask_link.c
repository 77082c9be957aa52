/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_ask_link: libpq under uv_poll; see the header.
 *
 * Happy path: (resolve) -> start -> on_connecting -> send_question -> read_answer -> answered,
 * idle. Failure modes: every one closes the connection, then calls failed() once; but for
 * an idle connection that ends: nobody waits for it.
 */
#include "proxy_ask_link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_connect_step.h"
#include "proxy_libpq.h"
#include "proxy_tls.h"

struct ask_resolve {
    uv_getaddrinfo_t request;
    struct ask_link *link; /* NULL: given up */
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void move(struct ask_link *l, enum ask_link_state state)
{
    l->state = state;
    l->since_ns = uv_hrtime();
}

/* ---- closing and failing ---- */

void ask_link_close(struct ask_link *l)
{
    if (l->lookup != NULL) {
        l->lookup->link = NULL;
        (void)uv_cancel((uv_req_t *)&l->lookup->request);
        l->lookup = NULL;
    }
    libpq_watch_end(&l->watch);
    PQclear(l->result);
    l->result = NULL;
    if (l->step != NULL)
        connect_step_abandon(l->step, NULL, NULL);
    else
        PQfinish(l->conn);
    l->step = NULL;
    l->conn = NULL;
    move(l, ASK_LINK_CLOSED);
}

static void fail(struct ask_link *l, const char *sqlstate, const char *text)
{
    char code[6];
    char message[256];
    const bool nobody_waits = l->state == ASK_LINK_IDLE;
    (void)snprintf(code, sizeof(code), "%s", sqlstate != NULL ? sqlstate : "");
    (void)snprintf(message, sizeof(message), "%.*s", (int)strcspn(text, "\n"), text);
    ask_link_close(l);
    if (!nobody_waits)
        l->failed(l, code, message);
}

void ask_link_time_out(struct ask_link *l)
{
    assert(l->state != ASK_LINK_CLOSED && l->state != ASK_LINK_IDLE);
    fail(l, NULL, l->state == ASK_LINK_ASKED ? "no answer in time" : "connecting took too long");
}

static void fail_connect(struct ask_link *l)
{
    const char *text = l->conn != NULL ? PQerrorMessage(l->conn) : "no memory";
    char code[6];
    libpq_sqlstate(text, code);
    fail(l, code, text);
}

static void on_notice(void *arg, const PGresult *result)
{
    (void)arg; /* never to standard error */
    (void)result;
}

/* ---- asking ---- */

static void flush(struct ask_link *l)
{
    if (!libpq_watch_flush(&l->watch, l->conn))
        fail(l, NULL, PQerrorMessage(l->conn));
}

static void send_query(struct ask_link *l, const char *query, bool has_parameter)
{
    const char *values[1] = {l->name};
    move(l, ASK_LINK_ASKED);
    if (PQsendQueryParams(l->conn, query, has_parameter ? 1 : 0, NULL, values, NULL, NULL, 0) != 1)
        fail(l, NULL, PQerrorMessage(l->conn));
    else
        flush(l);
}

static void send_question(struct ask_link *l)
{
    l->prelude = false;
    send_query(l, l->query, l->has_parameter);
}

/* A whole reply is in. */
static void take_result(struct ask_link *l, PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && l->prelude) {
        send_question(l);
    } else if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        move(l, ASK_LINK_IDLE);
        l->answered(l, result);
    } else {
        fail(l, sqlstate, text != NULL ? text : PQerrorMessage(l->conn));
    }
    PQclear(result);
}

static void read_answer(struct ask_link *l)
{
    if (PQconsumeInput(l->conn) != 1) {
        fail(l, NULL, PQerrorMessage(l->conn));
        return;
    }
    while (!PQisBusy(l->conn)) {
        PGresult *result = PQgetResult(l->conn);
        if (result == NULL) { /* the reply is complete; or nothing was asked: a notice */
            PGresult *first = l->result;
            l->result = NULL;
            if (first != NULL)
                take_result(l, first);
            else if (PQstatus(l->conn) == CONNECTION_BAD)
                fail(l, NULL, PQerrorMessage(l->conn));
            return;
        }
        if (l->result == NULL)
            l->result = result;
        else
            PQclear(result);
    }
    flush(l);
}

/* ---- connecting ---- */

static void stepped(void *data, PostgresPollingStatusType status)
{
    struct ask_link *l = data;
    l->step = NULL;
    if (status == PGRES_POLLING_OK) {
        (void)PQsetnonblocking(l->conn, 1);
        l->prelude = l->target.prelude != NULL;
        if (l->prelude)
            send_query(l, l->target.prelude, false);
        else
            send_question(l);
        return;
    }
    const bool waits = status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING;
    if (!waits || !libpq_watch_start(&l->watch, l->conn,
                                     status == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE))
        fail_connect(l);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct ask_link *l = poll->data;
    (void)events;
    assert(l->watch.poll == poll);
    if (l->state == ASK_LINK_CONNECTING) { /* an error of the descriptor is libpq's to tell */
        libpq_watch_end(&l->watch);
        l->step = connect_step_begin(poll->loop, l->conn, stepped, l);
    } else if (status < 0)
        fail(l, NULL, "the connection was lost");
    else
        read_answer(l);
}

/* server_tls_* first, then the node's options, then what we know: the last one wins. */
static PGconn *start(const struct ask_target *t, const char *address)
{
    const struct config_node *node = &t->config->nodes[t->node];
    struct libpq_keywords k = {.count = 0};
    char port[16];
    char all_settings[1024];
    PQconninfoOption *options =
        node->options[0] != '\0' ? PQconninfoParse(node->options, NULL) : NULL;
    tls_server_keywords(t->config, &k);
    libpq_keywords_add(&k, options);
    const char *settings = libpq_keyword_find(&k, "options");
    const bool own_user = t->node_user_first && libpq_keyword_find(&k, "user") != NULL;
    const bool own_password = t->node_user_first && libpq_keyword_find(&k, "password") != NULL;
    (void)snprintf(port, sizeof(port), "%llu", (unsigned long long)node->port);
    (void)snprintf(all_settings, sizeof(all_settings), "%s %s", settings != NULL ? settings : "",
                   t->settings);
    libpq_keyword_add(&k, "host", node->host);
    libpq_keyword_add(&k, "hostaddr", address[0] != '\0' ? address : NULL);
    libpq_keyword_add(&k, "port", port);
    libpq_keyword_add(&k, "user", own_user ? NULL : t->user);
    libpq_keyword_add(&k, "password", own_password ? NULL : t->password);
    libpq_keyword_add(&k, "scram_client_key", own_password ? NULL : t->scram[0]);
    libpq_keyword_add(&k, "scram_server_key", own_password ? NULL : t->scram[1]);
    libpq_keyword_add(&k, "dbname", t->dbname);
    libpq_keyword_add(&k, "options", all_settings);
    libpq_keyword_add(&k, "gssencmode", "disable");
    libpq_keyword_add(&k, "application_name", t->application_name);
    libpq_keyword_add(&k, "target_session_attrs", "any");
    PGconn *conn = PQconnectStartParams(k.names, k.values, 0);
    PQconninfoFree(options);
    return conn;
}

static void connect_to(struct ask_link *l, const char *address)
{
    move(l, ASK_LINK_CONNECTING);
    l->watch.on_ready = on_ready;
    l->watch.arg = l;
    l->conn = start(&l->target, address);
    if (l->conn == NULL || PQstatus(l->conn) == CONNECTION_BAD) {
        fail_connect(l);
        return;
    }
    (void)PQsetErrorVerbosity(l->conn, PQERRORS_VERBOSE); /* so that we see the SQLSTATE */
    (void)PQsetNoticeReceiver(l->conn, on_notice, NULL);
    if (!libpq_watch_start(&l->watch, l->conn, UV_WRITABLE))
        fail_connect(l);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct ask_resolve *lookup = request->data;
    struct ask_link *l = lookup->link;
    char address[INET6_ADDRSTRLEN] = "";
    if (found != NULL && found->ai_family == AF_INET)
        (void)inet_ntop(AF_INET,
                        &((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr,
                        address, sizeof(address));
    else if (found != NULL)
        (void)inet_ntop(AF_INET6,
                        &((const struct sockaddr_in6 *)(const void *)found->ai_addr)->sin6_addr,
                        address, sizeof(address));
    uv_freeaddrinfo(found);
    free(lookup);
    if (l == NULL) /* given up meanwhile */
        return;
    l->lookup = NULL;
    if (status != 0)
        fail(l, NULL, uv_strerror(status));
    else
        connect_to(l, address);
}

static void resolve(struct ask_link *l, const char *host)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct ask_resolve *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        abort();
    lookup->link = l;
    lookup->request.data = lookup;
    move(l, ASK_LINK_RESOLVING);
    l->lookup = lookup;
    const int r = uv_getaddrinfo(l->watch.loop, &lookup->request, on_resolved, host, NULL, &hints);
    if (r == 0)
        return;
    l->lookup = NULL;
    free(lookup);
    fail(l, NULL, uv_strerror(r));
}

bool ask_link_fits(const struct ask_link *l, const struct ask_target *target)
{
    return l->target.config == target->config && l->target.node == target->node &&
           strcmp(l->target.user, target->user) == 0 &&
           strcmp(l->target.dbname, target->dbname) == 0;
}

void ask_link_ask(struct ask_link *l, const struct ask_target *target, const char *query,
                  const char *name, uint64_t now_ns)
{
    assert(l->state == ASK_LINK_CLOSED || (l->state == ASK_LINK_IDLE && ask_link_fits(l, target)));
    l->query = query;
    l->since_ns = now_ns;
    l->has_parameter = name != NULL;
    (void)snprintf(l->name, sizeof(l->name), "%s", name != NULL ? name : "");
    l->reused = l->state == ASK_LINK_IDLE;
    if (l->reused) {
        send_question(l);
        return;
    }
    l->target = *target;
    const char *host = target->config->nodes[target->node].host;
    if (libpq_needs_lookup(host))
        resolve(l, host);
    else
        connect_to(l, "");
}
