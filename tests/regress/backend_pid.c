/* SPDX-License-Identifier: PostgreSQL
 *
 * backend_pid: preloaded into isolationtester, which knows its sessions by the process ids of the
 * servers behind them. PQbackendPID() says what came in BackendKeyData, and behind a proxy that is
 * the key of the proxy's own session: here the server itself is asked.
 */
#include <libpq-fe.h>
#include <stdlib.h>

int PQbackendPID(const PGconn *conn)
{
    PGresult *result = PQexec((PGconn *)conn, "SELECT pg_catalog.pg_backend_pid()");
    const int pid = PQresultStatus(result) == PGRES_TUPLES_OK
                        ? (int)strtol(PQgetvalue(result, 0, 0), NULL, 10)
                        : 0;
    PQclear(result);
    return pid;
}
