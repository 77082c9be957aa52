/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_auth_link: libpq under uv_poll; see the header.
 *
 * Happy path: (resolve) -> start -> on_connecting -> send_question -> read_answer -> answered,
 * idle. Failure modes: every one closes the connection, then calls auth_link_failed() once; but for
 * an idle connection that ends: nobody waits for it.
 */
#include "proxy_auth_link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_tls.h"

struct auth_resolve {
    uv_getaddrinfo_t request;
    struct auth_link *link; /* NULL: given up */
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void move(struct auth_link *l, enum auth_link_state state)
{
    l->state = state;
    l->since_ns = uv_hrtime();
}

/* ---- closing and failing ---- */

void auth_link_close(struct auth_link *l)
{
    if (l->lookup != NULL) {
        l->lookup->link = NULL;
        (void)uv_cancel((uv_req_t *)&l->lookup->request);
        l->lookup = NULL;
    }
    libpq_watch_end(&l->watch);
    PQclear(l->result);
    l->result = NULL;
    PQfinish(l->conn);
    l->conn = NULL;
    move(l, AUTH_LINK_CLOSED);
}

static void fail(struct auth_link *l, const char *sqlstate, const char *text)
{
    char code[6];
    char message[256];
    const bool nobody_waits = l->state == AUTH_LINK_IDLE;
    (void)snprintf(code, sizeof(code), "%s", sqlstate != NULL ? sqlstate : "");
    (void)snprintf(message, sizeof(message), "%.*s", (int)strcspn(text, "\n"), text);
    auth_link_close(l);
    if (!nobody_waits)
        auth_link_failed(l, code, message);
}

void auth_link_time_out(struct auth_link *l)
{
    assert(l->state != AUTH_LINK_CLOSED && l->state != AUTH_LINK_IDLE);
    fail(l, NULL, l->state == AUTH_LINK_ASKED ? "no answer in time" : "connecting took too long");
}

static void fail_connect(struct auth_link *l)
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

static void flush(struct auth_link *l)
{
    if (!libpq_watch_flush(&l->watch, l->conn))
        fail(l, NULL, PQerrorMessage(l->conn));
}

static void send_question(struct auth_link *l)
{
    const char *values[1] = {l->name};
    move(l, AUTH_LINK_ASKED);
    if (PQsendQueryParams(l->conn, l->query, 1, NULL, values, NULL, NULL, 0) != 1)
        fail(l, NULL, PQerrorMessage(l->conn));
    else
        flush(l);
}

/* A whole reply is in. */
static void take_result(struct auth_link *l, PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        move(l, AUTH_LINK_IDLE);
        auth_link_answered(l, result);
    } else {
        fail(l, sqlstate, text != NULL ? text : PQerrorMessage(l->conn));
    }
    PQclear(result);
}

static void read_answer(struct auth_link *l)
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

static void step_connecting(struct auth_link *l)
{
    /* libpq may close the descriptor and open another one, even of the same number. */
    libpq_watch_end(&l->watch);
    const PostgresPollingStatusType status = PQconnectPoll(l->conn);
    if (status == PGRES_POLLING_OK) {
        (void)PQsetnonblocking(l->conn, 1);
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
    struct auth_link *l = poll->data;
    (void)events;
    assert(l->watch.poll == poll);
    if (l->state == AUTH_LINK_CONNECTING)
        step_connecting(l); /* an error of the descriptor is libpq's to tell */
    else if (status < 0)
        fail(l, NULL, "the connection was lost");
    else
        read_answer(l);
}

/* server_tls_* first, then the node's options, then what we know: the last one wins. */
static PGconn *start(const struct auth_target *t, const char *address)
{
    enum { OPTIONS_MAX = 40, OURS = 10 };
    const struct config_node *node = &t->config->nodes[t->node];
    const char *names[TLS_KEYWORDS_MAX + OPTIONS_MAX + OURS + 1];
    const char *values[TLS_KEYWORDS_MAX + OPTIONS_MAX + OURS + 1];
    const char *settings = "";
    char port[16];
    char all_settings[1024];
    size_t n = tls_server_keywords(t->config, names, values);
    PQconninfoOption *options =
        node->options[0] != '\0' ? PQconninfoParse(node->options, NULL) : NULL;
    for (PQconninfoOption *o = options;
         o != NULL && o->keyword != NULL && n < TLS_KEYWORDS_MAX + OPTIONS_MAX; o++) {
        if (o->val == NULL)
            continue;
        if (strcmp(o->keyword, "options") == 0)
            settings = o->val;
        names[n] = o->keyword;
        values[n++] = o->val;
    }
    (void)snprintf(port, sizeof(port), "%llu", (unsigned long long)node->port);
    (void)snprintf(all_settings, sizeof(all_settings), "%s -c search_path=", settings);
    const struct {
        const char *name, *value;
    } ours[OURS] = {{"host", node->host},
                    {"hostaddr", address[0] != '\0' ? address : NULL},
                    {"port", port},
                    {"user", t->user},
                    {"password", t->password},
                    {"dbname", t->dbname},
                    {"options", all_settings},
                    {"gssencmode", "disable"},
                    {"application_name", "switchgear-auth"},
                    {"target_session_attrs", "any"}};
    for (size_t i = 0; i < OURS; i++) {
        if (ours[i].value == NULL)
            continue;
        names[n] = ours[i].name;
        values[n++] = ours[i].value;
    }
    names[n] = values[n] = NULL;
    PGconn *conn = PQconnectStartParams(names, values, 0);
    PQconninfoFree(options);
    return conn;
}

static void connect_to(struct auth_link *l, const char *address)
{
    move(l, AUTH_LINK_CONNECTING);
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
    struct auth_resolve *lookup = request->data;
    struct auth_link *l = lookup->link;
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

static void resolve(struct auth_link *l, const char *host)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct auth_resolve *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        abort();
    lookup->link = l;
    lookup->request.data = lookup;
    move(l, AUTH_LINK_RESOLVING);
    l->lookup = lookup;
    const int r = uv_getaddrinfo(l->watch.loop, &lookup->request, on_resolved, host, NULL, &hints);
    if (r == 0)
        return;
    l->lookup = NULL;
    free(lookup);
    fail(l, NULL, uv_strerror(r));
}

bool auth_link_fits(const struct auth_link *l, const struct auth_target *target)
{
    return l->target.config == target->config && l->target.node == target->node &&
           strcmp(l->target.user, target->user) == 0 &&
           strcmp(l->target.dbname, target->dbname) == 0;
}

void auth_link_ask(struct auth_link *l, const struct auth_target *target, const char *query,
                   const char *name, uint64_t now_ns)
{
    assert(l->state == AUTH_LINK_CLOSED ||
           (l->state == AUTH_LINK_IDLE && auth_link_fits(l, target)));
    l->query = query;
    l->since_ns = now_ns;
    (void)snprintf(l->name, sizeof(l->name), "%s", name);
    l->reused = l->state == AUTH_LINK_IDLE;
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
