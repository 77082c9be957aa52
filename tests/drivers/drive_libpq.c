/* SPDX-License-Identifier: PostgreSQL */
/*
 * drive_libpq: the features of the driver matrix through libpq, with its pipeline mode.
 * The connection comes from libpq's own environment variables, the table from DRIVER_TABLE.
 */
#include <libpq-fe.h>
#include <poll.h>

#include "drive.h"

enum { PIPELINED = 500, COPIED = 5000 };

static const char *table;
static PGconn *conn; /* the connection of the feature that runs */

static PGconn *open_connection(const char *conninfo)
{
    PGconn *c = PQconnectdb(conninfo);
    if (PQstatus(c) != CONNECTION_OK)
        fail("cannot connect: %s", PQerrorMessage(c));
    return c;
}

static char *sql(const char *format)
{
    static char text[300];
    snprintf(text, sizeof(text), format, table);
    return text;
}

/* Runs a statement, wants `status`, and gives the first value (static, cut) or "". */
static const char *value_of(PGresult *result, ExecStatusType status)
{
    static char value[100];
    if (PQresultStatus(result) != status)
        fail("%s, not %s: %s", PQresStatus(PQresultStatus(result)), PQresStatus(status),
             PQresultErrorMessage(result));
    snprintf(value, sizeof(value), "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return value;
}

static void run(const char *text)
{
    value_of(PQexec(conn, text), PGRES_COMMAND_OK);
}

static void expect(const char *text, const char *wanted)
{
    const char *got = value_of(PQexec(conn, text), PGRES_TUPLES_OK);
    if (strcmp(got, wanted) != 0)
        fail("%s: %s, not %s", text, got, wanted);
}

static void expect_state(PGresult *result, const char *state)
{
    const char *got = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (got == NULL || strcmp(got, state) != 0)
        fail("SQLSTATE %s, not %s: %s", got != NULL ? got : "none", state,
             PQresultErrorMessage(result));
    PQclear(result);
}

static void test_connect(void)
{
    expect("select 1", "1");
    if (PQparameterStatus(conn, "server_version") == NULL)
        fail("no server_version");
    const char *mode = getenv("PGSSLMODE");
    if (mode != NULL && strcmp(mode, "disable") != 0 && !PQsslInUse(conn))
        fail("not over TLS");
    PGconn *wrong = PQconnectdb("password=wrong");
    if (PQstatus(wrong) == CONNECTION_OK || strstr(PQerrorMessage(wrong), "password") == NULL)
        fail("a wrong password: %s", PQerrorMessage(wrong));
    PQfinish(wrong);
}

static void test_autocommit(void)
{
    run(sql("insert into %s values (1, 'one')"));
    expect(sql("select v from %s where id = 1"), "one");
    run(sql("delete from %s where id = 1"));
    expect(sql("select count(*) from %s"), "0");
}

static void test_transactions(void)
{
    run("begin");
    run(sql("insert into %s values (10, 'kept')"));
    run("commit");
    run("begin");
    run(sql("insert into %s values (11, 'dropped')"));
    run("rollback");
    run("begin");
    run(sql("insert into %s values (12, 'kept')"));
    run("savepoint s");
    run(sql("insert into %s values (13, 'dropped')"));
    run("rollback to s");
    run(sql("insert into %s values (14, 'kept')"));
    run("commit");
    expect(sql("select string_agg(id::text, ',' order by id) from %s where id between 10 and 19"),
           "10,12,14");
}

static void test_prepared(void)
{
    value_of(PQprepare(conn, "plus", "select $1::int + 1", 1, NULL), PGRES_COMMAND_OK);
    value_of(PQprepare(conn, "put", sql("insert into %s values ($1, $2)"), 2, NULL),
             PGRES_COMMAND_OK);
    for (int i = 0; i < DRIVE_TIMES; i++) {
        char number[12], id[12], wanted[12];
        snprintf(number, sizeof(number), "%d", i);
        snprintf(id, sizeof(id), "%d", 100 + i);
        snprintf(wanted, sizeof(wanted), "%d", i + 1);
        const char *const one[] = {number};
        const char *const two[] = {id, "prepared"};
        const char *got =
            value_of(PQexecPrepared(conn, "plus", 1, one, NULL, NULL, 0), PGRES_TUPLES_OK);
        if (strcmp(got, wanted) != 0)
            fail("%s, not %s", got, wanted);
        value_of(PQexecPrepared(conn, "put", 2, two, NULL, NULL, 0), PGRES_COMMAND_OK);
    }
    expect(sql("select count(*) from %s where v = 'prepared'"), "30");
    run("deallocate plus");
    const char *const one[] = {"1"};
    expect_state(PQexecPrepared(conn, "plus", 1, one, NULL, NULL, 0), "26000");
}

/* Takes the results of one pipeline up to its Sync; gives how many of them are `status`. */
static int drain_pipeline(ExecStatusType status)
{
    int count = 0, gaps = 0;
    while (gaps < 2) {
        PGresult *result = PQgetResult(conn);
        if (result == NULL) { /* one after each statement */
            gaps++;
            continue;
        }
        gaps = 0;
        const ExecStatusType got = PQresultStatus(result);
        PQclear(result);
        if (got == PGRES_PIPELINE_SYNC)
            return count;
        count += got == status;
    }
    fail("a pipeline ended without its Sync: %s", PQerrorMessage(conn));
}

static void send_inserts(int first, int count)
{
    for (int i = 0; i < count; i++) {
        char id[12];
        snprintf(id, sizeof(id), "%d", first + i);
        const char *const values[] = {id};
        if (!PQsendQueryParams(conn, sql("insert into %s values ($1, 'pipelined')"), 1, NULL,
                               values, NULL, NULL, 0))
            fail("cannot send: %s", PQerrorMessage(conn));
    }
}

static void test_pipeline(void)
{
    if (!PQenterPipelineMode(conn))
        fail("no pipeline mode");
    send_inserts(1000, PIPELINED);
    PQpipelineSync(conn);
    int count = drain_pipeline(PGRES_COMMAND_OK);
    if (count != PIPELINED)
        fail("%d of %d inserts", count, PIPELINED);

    send_inserts(2000, 10); /* all of them go with the one that fails */
    send_inserts(1000, 1);
    send_inserts(2010, 10);
    PQpipelineSync(conn);
    count = drain_pipeline(PGRES_PIPELINE_ABORTED);
    if (count != 10)
        fail("%d statements aborted, not 10", count);
    if (!PQexitPipelineMode(conn))
        fail("cannot leave: %s", PQerrorMessage(conn));
    expect(sql("select count(*) from %s where v = 'pipelined'"), "500");
}

static void put_copy(const char *line)
{
    if (PQputCopyData(conn, line, (int)strlen(line)) != 1)
        fail("copy: %s", PQerrorMessage(conn));
}

static void test_copy(void)
{
    value_of(PQexec(conn, sql("copy %s from stdin")), PGRES_COPY_IN);
    for (int i = 0; i < COPIED; i++) {
        char line[40];
        snprintf(line, sizeof(line), "%d\tcopied\n", 10000 + i);
        put_copy(line);
    }
    PQputCopyEnd(conn, NULL);
    value_of(PQgetResult(conn), PGRES_COMMAND_OK);
    PQgetResult(conn);

    value_of(PQexec(conn, sql("copy (select * from %s where v = 'copied') to stdout")),
             PGRES_COPY_OUT);
    int lines = 0;
    char *line;
    while (PQgetCopyData(conn, &line, 0) > 0) {
        lines++;
        PQfreemem(line);
    }
    value_of(PQgetResult(conn), PGRES_COMMAND_OK);
    PQgetResult(conn);
    if (lines != COPIED)
        fail("%d lines came back, not %d", lines, COPIED);

    value_of(PQexec(conn, sql("copy %s from stdin")), PGRES_COPY_IN);
    put_copy("no number\tx\n");
    PQputCopyEnd(conn, NULL);
    expect_state(PQgetResult(conn), "22P02");
    PQgetResult(conn);
    expect("select 1", "1");
}

static void test_cancel(void)
{
    PGcancel *cancel = PQgetCancel(conn);
    for (int i = 0; i < 3; i++) {
        char error[256];
        PQsendQuery(conn, "select pg_sleep(30)");
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        poll(&fd, 1, 300); /* time for it to begin */
        if (!PQcancel(cancel, error, sizeof(error)))
            fail("cancel: %s", error);
        expect_state(PQgetResult(conn), "57014");
        PQgetResult(conn);
        expect("select 1", "1");
    }
    PQfreeCancel(cancel);
}

static void test_notify(void)
{
    PGconn *other = open_connection("");
    run(sql("listen %s"));
    PQclear(PQexec(other, sql("notify %s, 'hello'")));
    PGnotify *notify = NULL;
    for (int i = 0; i < 10 && notify == NULL; i++) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        poll(&fd, 1, 1000);
        PQconsumeInput(conn);
        notify = PQnotifies(conn);
    }
    if (notify == NULL || strcmp(notify->extra, "hello") != 0)
        fail("no notification");
    PQfreemem(notify);
    PQfinish(other);
    run("unlisten *");
}

static void test_large(void)
{
    char *big = malloc(DRIVE_BIG + 1);
    if (big == NULL)
        fail("no memory");
    for (int i = 0; i < DRIVE_BIG; i++)
        big[i] = (char)('a' + i % 26);
    big[DRIVE_BIG] = '\0';
    const char *const values[] = {big};
    value_of(PQexecParams(conn, sql("insert into %s values (50000, $1)"), 1, NULL, values, NULL,
                          NULL, 0),
             PGRES_COMMAND_OK);
    PGresult *result = PQexec(conn, sql("select v from %s where id = 50000"));
    if (PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), big) != 0)
        fail("the value came back changed: %s", PQresultErrorMessage(result));
    PQclear(result);
    free(big);
}

static void test_errors(void)
{
    expect_state(PQexec(conn, "selec 1"), "42601");
    expect_state(PQexec(conn, "select * from no_such_table"), "42P01");
    expect_state(PQexec(conn, sql("insert into %s values (10, 'again')")), "23505");
    run("begin");
    expect_state(PQexec(conn, "select 1/0"), "22012");
    expect_state(PQexec(conn, "select 1"), "25P02");
    run("rollback");
    expect("select 1", "1");
}

static void test_reconnect(void)
{
    run("begin");
    PQsendQuery(conn,
                "select pg_terminate_backend(pg_backend_pid())"); /* PQexec shows the end only */
    expect_state(PQgetResult(conn), "57P01");
    PGresult *result;
    while ((result = PQgetResult(conn)) != NULL)
        PQclear(result);
    if (PQstatus(conn) != CONNECTION_BAD)
        fail("the connection outlived its server in a transaction");
    PQreset(conn);
    if (PQstatus(conn) != CONNECTION_OK)
        fail("cannot reconnect: %s", PQerrorMessage(conn));
    expect("select 1", "1");
}

static void test_split(void)
{
    int replica = 0;
    for (int i = 0; i < DRIVE_READS; i++) {
        value_of(PQexec(conn, sql("select count(*) from %s")), PGRES_TUPLES_OK);
        PGresult *route = PQexec(conn, "show switchgear.last_route");
        replica += strcmp(PQgetvalue(route, 0, PQfnumber(route, "role")), "replica") == 0;
        PQclear(route);
    }
    if (replica < DRIVE_READS / 4)
        fail("%d of %d reads on replicas", replica, DRIVE_READS);
    expect(sql("insert into %s values (60000, 'split') returning pg_is_in_recovery()"), "f");
}

static void test_read_your_writes(void)
{
    run(sql("insert into %s values (70000, '-1')"));
    for (int i = 0; i < DRIVE_WRITES; i++) {
        char text[200], wanted[12];
        snprintf(wanted, sizeof(wanted), "%d", i);
        snprintf(text, sizeof(text), "update %s set v = '%d' where id = 70000", table, i);
        run(text);
        expect(sql("select v from %s where id = 70000"), wanted);
    }
}

static void drive(const char *name, void (*feature)(void))
{
    conn = PQconnectdb("");
    drive_feature(name, feature);
    PQfinish(conn);
}

int main(void)
{
    char version[40];
    table = drive_setting("DRIVER_TABLE");
    const int number = PQlibVersion();
    snprintf(version, sizeof(version), "libpq %d.%d", number / 10000, number % 10000);
    drive_report("version", "true", version);
    drive("connect", test_connect);
    drive("autocommit", test_autocommit);
    drive("transactions", test_transactions);
    drive("prepared", test_prepared);
    drive("pipeline", test_pipeline);
    drive("copy", test_copy);
    drive("cancel", test_cancel);
    drive("notify", test_notify);
    drive("large", test_large);
    drive("errors", test_errors);
    drive("reconnect", test_reconnect);
    drive("split", test_split);
    drive("read_your_writes", test_read_your_writes);
    return 0;
}
