/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_server_key: a server's cancel key. libpq keeps it to itself (PQcancel() uses it, but blocks
 * and never speaks TLS); what it does show, on request, is a trace of the messages of the log-in,
 * BackendKeyData among them. The trace goes to memory and is wiped as soon as it was read.
 *
 * Failure mode: no key is found; then cancels of this connection do nothing, and the log says so.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proxy_cancel.h"
#include "proxy_connect_step.h"
#include "proxy_log.h"
#include "proxy_trace.h"

struct server_key {
    FILE *stream;
    char *text;
    size_t size;
};

void server_key_listen(struct server *v)
{
    struct server_key *source = calloc(1, sizeof(*source));
    if (source == NULL)
        return;
    source->stream = open_memstream(&source->text, &source->size);
    if (source->stream == NULL) {
        free(source);
        return;
    }
    PQtrace(v->conn, source->stream);
    PQsetTraceFlags(v->conn, PQTRACE_SUPPRESS_TIMESTAMPS);
    v->key_source = source;
}

static void forget(PGconn *conn, void *data)
{
    struct server_key *source = data;
    if (source == NULL)
        return;
    if (conn != NULL)
        PQuntrace(conn);
    (void)fclose(source->stream);
    if (source->text != NULL)
        OPENSSL_cleanse(source->text, source->size);
    free(source->text);
    free(source);
}

void server_key_drop(struct server *v)
{
    forget(v->conn, v->key_source);
    v->key_source = NULL;
}

void server_key_abandon(struct server *v)
{
    connect_step_abandon(v->step, forget, v->key_source);
    v->key_source = NULL;
}

void server_key_learn(struct server *v)
{
    struct server_key *source = v->key_source;
    v->cancel_pid = v->core.pid = (uint32_t)PQbackendPID(v->conn);
    if (source != NULL) {
        PQuntrace(v->conn);
        if (fflush(source->stream) == 0 && source->text != NULL)
            v->has_key =
                trace_key_read(source->text, source->size, v->cancel_pid, &v->cancel_secret);
    }
    server_key_drop(v);
    if (!v->has_key)
        log_warning("no_cancel_key", "server=%llu node=%s", (unsigned long long)v->id,
                    v->worker->proxy->node_names[v->pool->node]);
}
