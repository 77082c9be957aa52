/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_probe_link: libpq under uv_poll.
 *
 * Happy path: resolve the host's name -> PQconnectPoll -> prepare two statements -> ask, answer,
 * ask, answer ... An idle connection stays watched: its end is seen at once.
 * Failure modes: every one closes the connection, then calls on_failed once.
 */
#include "proxy_probe_link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Only what PUBLIC may run. The second text is for servers where pg_control_*() was revoked. */
#define FROM_ROLE " FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) AS x"
#define QUICK                                                        \
    "SELECT r, CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn()" \
    " ELSE pg_catalog.pg_current_wal_insert_lsn() END,"              \
    " CASE WHEN NOT r THEN pg_catalog.substr("                       \
    "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END"
#define REST                                                                     \
    ", EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver),"                    \
    " CASE WHEN r THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,"     \
    " extract(epoch FROM pg_catalog.pg_postmaster_start_time()),"                \
    " pg_catalog.pg_last_wal_receive_lsn(),"                                     \
    " pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))," \
    " pg_catalog.current_setting('wal_block_size'),"
#define RECEIVED_TLI "(SELECT pg_catalog.max(received_tli) FROM pg_catalog.pg_stat_wal_receiver)"

/* A page that is written and read, where the node may: a temporary table, gone with its
 * transaction; on a standby rows that do not fit into memory. */
static const char primary_page[] =
    "BEGIN;"
    " CREATE TEMPORARY TABLE switchgear_page (filler text) ON COMMIT DROP;"
    " INSERT INTO switchgear_page SELECT pg_catalog.repeat('x', 1500)"
    " FROM pg_catalog.generate_series(1, 20);"
    " SELECT pg_catalog.count(filler) FROM switchgear_page;"
    " ROLLBACK";
static const char standby_page[] =
    "SET work_mem = '64kB';"
    " SELECT pg_catalog.count(*) FROM (SELECT g FROM pg_catalog.generate_series(1, 20000) AS g"
    " ORDER BY -g OFFSET 0) AS x";

enum { STATEMENTS = 2, VARIANTS = 2, ADDRESSES_MAX = 8 };

static const char *const statement_names[STATEMENTS] = {"switchgear_full", "switchgear_quick"};
static const char *const full_texts[VARIANTS] = {
    QUICK REST " (SELECT system_identifier FROM pg_catalog.pg_control_system()),"
               " greatest(" RECEIVED_TLI ","
               " (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),"
               " (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()))" //
    FROM_ROLE,
    QUICK REST " NULL, " RECEIVED_TLI FROM_ROLE,
};
static const char *const quick_text = QUICK FROM_ROLE;

/* A look-up in libuv's thread pool. `link` is NULL once nobody waits for it. */
struct link_lookup {
    uv_getaddrinfo_t request;
    struct link *link;
};

const char *link_fault_text(enum link_fault fault)
{
    static const char *const texts[] = {
#define X(name, text) text,
        LINK_FAULT_MAP(X)
#undef X
    };
    assert(fault < LINK_FAULT_COUNT);
    return texts[fault];
}

/* ---- closing and failing ---- */

void link_close(struct link *l)
{
    if (l->lookup != NULL) {
        l->lookup->link = NULL;
        uv_cancel((uv_req_t *)&l->lookup->request);
        l->lookup = NULL;
    }
    libpq_watch_end(&l->watch);
    PQclear(l->result);
    l->result = NULL;
    PQfinish(l->conn);
    l->conn = NULL;
    l->state = LINK_CLOSED;
    l->at_page = false;
    l->prepared = 0;
    l->node = NULL;
    l->config = NULL;
}

/* libpq's texts have several lines and end with one. */
static void first_line(char *to, size_t to_size, const char *text)
{
    snprintf(to, to_size, "%.*s", (int)strcspn(text, "\n"), text);
}

static void fail_with(struct link *l, enum link_fault fault, const char *sqlstate, const char *text)
{
    struct link_failure failure = {.fault = fault, .page = l->at_page};

    snprintf(failure.sqlstate, sizeof(failure.sqlstate), "%s", sqlstate != NULL ? sqlstate : "");
    first_line(failure.message, sizeof(failure.message), text);
    link_close(l);
    l->on_failed(l, &failure);
}

bool link_has_answer(const struct link *l)
{
    struct pollfd fd = {.fd = PQsocket(l->conn), .events = POLLIN};
    return l->state == LINK_ASKED && poll(&fd, 1, 0) > 0;
}

void link_time_out(struct link *l)
{
    assert(l->state != LINK_CLOSED && l->state != LINK_IDLE);
    const enum link_fault fault =
        l->state == LINK_ASKED ? LINK_TIMEOUT_ANSWER : LINK_TIMEOUT_CONNECT;
    fail_with(l, fault, NULL, link_fault_text(fault));
}

/* ---- errors of libpq, which come as text ---- */

static bool is_refusal(const char *message)
{
    return strstr(message, strerror(ECONNREFUSED)) != NULL ||
           strstr(message, strerror(ENOENT)) != NULL; /* no such Unix socket */
}

static void fail_connect(struct link *l)
{
    char sqlstate[6];
    char message[160];

    first_line(message, sizeof(message), l->conn != NULL ? PQerrorMessage(l->conn) : "no memory");
    libpq_sqlstate(message, sqlstate);
    if (sqlstate[0] != '\0') {
        fail_with(l, LINK_REJECTED, sqlstate, message);
        return;
    }
    switch (libpq_blame(l->conn, message)) {
    case LIBPQ_NO_PASSWORD:
    case LIBPQ_LOGIN:
        fail_with(l, LINK_LOGIN, NULL, message);
        return;
    case LIBPQ_OURS:
        fail_with(l, LINK_OURS, NULL, message);
        return;
    case LIBPQ_NODE:
        break;
    }
    fail_with(l, is_refusal(message) ? LINK_REFUSED : LINK_UNREACHABLE, NULL, message);
}

static void fail_lost(struct link *l)
{
    char message[160];
    char sqlstate[6];

    first_line(message, sizeof(message), PQerrorMessage(l->conn));
    memcpy(sqlstate, l->lost_sqlstate, sizeof(sqlstate));
    fail_with(l, l->state == LINK_IDLE ? LINK_LOST_IDLE : LINK_LOST_ASKED, sqlstate, message);
}

/* What a server says unasked: a FATAL before it closes. Never to standard error. */
static void on_notice(void *arg, const PGresult *result)
{
    struct link *l = arg;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate != NULL)
        snprintf(l->lost_sqlstate, sizeof(l->lost_sqlstate), "%s", sqlstate);
}

/* ---- asking ---- */

static void on_ready(uv_poll_t *poll, int status, int events);

static void flush(struct link *l)
{
    if (!libpq_watch_flush(&l->watch, l->conn))
        fail_lost(l);
}

static void send_prepare(struct link *l)
{
    assert(l->prepared < STATEMENTS);
    const char *text = l->prepared == 0 ? full_texts[l->variant] : quick_text;
    l->state = LINK_PREPARING;
    if (PQsendPrepare(l->conn, statement_names[l->prepared], text, 0, NULL) != 1)
        fail_lost(l);
    else
        flush(l);
}

static void send_question(struct link *l)
{
    l->state = LINK_ASKED;
    l->sent_ns = uv_hrtime(); /* before a byte leaves: a mark's time is a lower bound */
    if (PQsendQueryPrepared(l->conn, statement_names[l->wants_full ? 0 : 1], 0, NULL, NULL, NULL,
                            0) != 1)
        fail_lost(l);
    else
        flush(l);
}

static void send_page(struct link *l)
{
    l->at_page = true;
    l->state = LINK_ASKED;
    if (PQsendQuery(l->conn, l->answer.in_recovery ? standby_page : primary_page) != 1)
        fail_lost(l);
    else
        flush(l);
}

/* ---- answers ---- */

static void take_error(struct link *l, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char message[160];

    first_line(message, sizeof(message), text != NULL ? text : "error without a message");
    if (sqlstate == NULL) { /* made by libpq: the connection is gone */
        fail_lost(l);
        return;
    }
    char code[6];
    snprintf(code, sizeof(code), "%s", sqlstate);
    const bool is_denied = strcmp(code, "42501") == 0 || strcmp(code, "42883") == 0;
    if (is_denied && l->variant + 1 < VARIANTS) {
        const struct config_node *node = l->node;
        const struct config *config = l->config;
        link_close(l);
        l->variant++;
        link_ask(l, config, node, true);
        return;
    }
    fail_with(l, LINK_ERROR, code, message);
}

static void take_answer(struct link *l, const PGresult *result)
{
    const char *columns[EVIDENCE_COLUMNS] = {NULL};
    const int count = PQnfields(result);
    struct evidence_answer answer;

    if (PQntuples(result) != 1 || count > EVIDENCE_COLUMNS) {
        fail_with(l, LINK_GARBLED, NULL, "not one row");
        return;
    }
    for (int i = 0; i < count; i++)
        columns[i] = PQgetisnull(result, 0, i) ? NULL : PQgetvalue(result, 0, i);
    if (!evidence_parse(columns, (uint32_t)count, &answer)) {
        fail_with(l, LINK_GARBLED, NULL, "a column is not what it should be");
        return;
    }
    if (l->wants_page) {
        l->answer = answer;
        send_page(l);
        return;
    }
    l->state = LINK_IDLE;
    l->on_answer(l, &answer);
}

/* A whole reply is in: `result` is its first result. */
static void take_result(struct link *l, const PGresult *result)
{
    if (l->at_page && PQresultStatus(result) == PGRES_COMMAND_OK) {
        l->at_page = false;
        l->state = LINK_IDLE;
        l->on_answer(l, &l->answer);
        return;
    }
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        take_answer(l, result);
        return;
    case PGRES_COMMAND_OK:
        l->prepared++;
        if (l->prepared < STATEMENTS)
            send_prepare(l);
        else
            send_question(l);
        return;
    case PGRES_FATAL_ERROR:
        take_error(l, result);
        return;
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_OUT:
    case PGRES_COPY_IN:
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_COPY_BOTH:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED:
        break;
    }
    fail_with(l, LINK_GARBLED, NULL, "not a result of a query");
}

static void read_answer(struct link *l)
{
    if (PQconsumeInput(l->conn) != 1) {
        fail_lost(l);
        return;
    }
    while (!PQisBusy(l->conn)) {
        PGresult *result = PQgetResult(l->conn);
        if (result == NULL) { /* the reply is complete; or nothing was asked: a notice */
            PGresult *first = l->result;
            l->result = NULL;
            if (first != NULL)
                take_result(l, first);
            PQclear(first);
            return;
        }
        /* The first one stands for all, but for an error among those of a page. */
        if (l->result == NULL || PQresultStatus(result) == PGRES_FATAL_ERROR) {
            PQclear(l->result);
            l->result = result;
        } else {
            PQclear(result);
        }
    }
    flush(l);
}

/* ---- connecting ---- */

static void on_connect_ready(struct link *l)
{
    /* libpq may close the descriptor and open another one, even of the same number. */
    libpq_watch_end(&l->watch);
    const PostgresPollingStatusType status = PQconnectPoll(l->conn);
    switch (status) {
    case PGRES_POLLING_OK:
        PQsetnonblocking(l->conn, 1);
        send_prepare(l);
        return;
    case PGRES_POLLING_READING:
    case PGRES_POLLING_WRITING:
        if (libpq_watch_start(&l->watch, l->conn,
                              status == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE))
            return;
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        break;
    }
    fail_connect(l);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct link *l = poll->data;
    assert(l != NULL && l->watch.poll == poll); /* a stopped watch calls nobody */

    if (l->state == LINK_CONNECTING)
        on_connect_ready(l); /* an error of the descriptor is libpq's to tell */
    else if (status < 0)
        fail_lost(l);
    else
        read_answer(l);
}

static void start_connect(struct link *l, const char *addresses)
{
    char error[160] = "no memory";

    l->conn = link_start(l->config, l->node, addresses, error, sizeof(error));
    if (l->conn == NULL) {
        fail_with(l, LINK_UNREACHABLE, NULL, error);
        return;
    }
    l->state = LINK_CONNECTING;
    if (PQstatus(l->conn) == CONNECTION_BAD) {
        fail_connect(l);
        return;
    }
    PQsetErrorVerbosity(l->conn, PQERRORS_VERBOSE); /* libpq 15 tells a SQLSTATE in no other way */
    PQsetNoticeReceiver(l->conn, on_notice, l);
    if (!libpq_watch_start(&l->watch, l->conn, UV_WRITABLE))
        fail_connect(l);
}

/* ---- names ---- */

static void join_addresses(const struct addrinfo *found, char *to, size_t to_size)
{
    size_t size = 0;
    int count = 0;

    to[0] = '\0';
    for (const struct addrinfo *a = found; a != NULL && count < ADDRESSES_MAX; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
            continue;
        if (size + strlen(text) + 2 > to_size)
            return;
        size += (size_t)snprintf(to + size, to_size - size, "%s%s", size > 0 ? "," : "", text);
        count++;
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct link_lookup *lookup = request->data;
    struct link *l = lookup->link;
    char addresses[ADDRESSES_MAX * (INET6_ADDRSTRLEN + 1)];

    join_addresses(found, addresses, sizeof(addresses));
    uv_freeaddrinfo(found);
    free(lookup);
    if (l == NULL) /* given up meanwhile */
        return;
    l->lookup = NULL;
    if (status != 0)
        fail_with(l, LINK_UNREACHABLE, NULL, uv_strerror(status));
    else if (addresses[0] == '\0')
        fail_with(l, LINK_UNREACHABLE, NULL, "the host has no address");
    else
        start_connect(l, addresses);
}

static void resolve(struct link *l)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct link_lookup *lookup = calloc(1, sizeof(*lookup));
    int r = UV_ENOMEM;

    if (lookup != NULL) {
        lookup->link = l;
        lookup->request.data = lookup;
        r = uv_getaddrinfo(l->watch.loop, &lookup->request, on_resolved, l->node->host, NULL,
                           &hints);
    }
    if (r != 0) {
        free(lookup);
        fail_with(l, LINK_UNREACHABLE, NULL, uv_strerror(r));
        return;
    }
    l->lookup = lookup;
}

/* ---- front door ---- */

void link_init(struct link *l, uv_loop_t *loop, void *owner)
{
    *l = (struct link){.watch = {.loop = loop, .on_ready = on_ready, .arg = l},
                       .owner = owner,
                       .state = LINK_CLOSED};
}

void link_ask(struct link *l, const struct config *config, const struct config_node *node,
              bool full)
{
    assert(l->state == LINK_CLOSED || l->state == LINK_IDLE);
    assert(l->on_answer != NULL && l->on_failed != NULL);
    l->asked_ns = uv_hrtime();
    l->node = node;
    l->config = config;
    if (l->state == LINK_IDLE) {
        l->wants_full = full;
        send_question(l);
        return;
    }
    l->wants_full = true;
    l->lost_sqlstate[0] = '\0';
    l->state = LINK_RESOLVING;
    const char *host = node->host;
    if (libpq_needs_lookup(host))
        resolve(l);
    else
        start_connect(l, host[0] == '/' || host[0] == '@' ? "" : host);
}
