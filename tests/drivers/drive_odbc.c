/* SPDX-License-Identifier: PostgreSQL */
/*
 * drive_odbc: the features of the driver matrix through ODBC (psqlodbc under unixODBC). The
 * connection comes from libpq's environment variables, the table from DRIVER_TABLE.
 */
#include <pthread.h>
#include <sql.h>
#include <sqlext.h>
#include <stdbool.h>
#include <threads.h>
#include <time.h>

#include "drive.h"

enum { BATCH = 300 };

static const char *table;
static SQLHENV environment;
static SQLHDBC conn; /* the connection of the feature that runs */

static const char *state_of(SQLSMALLINT type, SQLHANDLE handle, char *text, size_t text_size)
{
    static char state[6];
    SQLINTEGER native;
    SQLSMALLINT size;
    text[0] = state[0] = '\0';
    (void)SQLGetDiagRec(type, handle, 1, (SQLCHAR *)state, &native, (SQLCHAR *)text,
                        (SQLSMALLINT)text_size, &size);
    return state;
}

static void must(SQLRETURN r, SQLSMALLINT type, SQLHANDLE handle, const char *what)
{
    char text[600];
    if (SQL_SUCCEEDED(r) || r == SQL_NO_DATA)
        return;
    const char *state = state_of(type, handle, text, sizeof(text));
    fail("%.80s: %s %s", what, state, text);
}

static SQLRETURN open_connection(const char *password, SQLHDBC *ret)
{
    char text[600];
    must(SQLAllocHandle(SQL_HANDLE_DBC, environment, ret), SQL_HANDLE_ENV, environment,
         "connection");
    snprintf(text, sizeof(text),
             "Driver={PostgreSQL Unicode};Server=%s;Port=%s;Database=%s;Uid=%s;Pwd=%s;SSLmode=%s;"
             "UseServerSidePrepare=1;MaxVarcharSize=255;UnknownsAsLongVarchar=1",
             drive_setting("PGHOST"), drive_setting("PGPORT"), drive_setting("PGDATABASE"),
             drive_setting("PGUSER"), password, drive_setting("PGSSLMODE"));
    return SQLDriverConnect(*ret, NULL, (SQLCHAR *)text, SQL_NTS, NULL, 0, NULL,
                            SQL_DRIVER_NOPROMPT);
}

static void close_connection(SQLHDBC c)
{
    (void)SQLDisconnect(c);
    (void)SQLFreeHandle(SQL_HANDLE_DBC, c);
}

static SQLHSTMT statement(void)
{
    SQLHSTMT s;
    must(SQLAllocHandle(SQL_HANDLE_STMT, conn, &s), SQL_HANDLE_DBC, conn, "statement");
    return s;
}

static char *sql(const char *format)
{
    static char text[300];
    snprintf(text, sizeof(text), format, table);
    return text;
}

static void run(const char *text)
{
    SQLHSTMT s = statement();
    must(SQLExecDirect(s, (SQLCHAR *)text, SQL_NTS), SQL_HANDLE_STMT, s, text);
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
}

/* A column of the first row; static. */
static const char *first(SQLHSTMT s, SQLUSMALLINT column)
{
    static char value[200];
    SQLLEN size;
    must(SQLFetch(s), SQL_HANDLE_STMT, s, "fetch");
    must(SQLGetData(s, column, SQL_C_CHAR, value, sizeof(value), &size), SQL_HANDLE_STMT, s, "get");
    (void)SQLCloseCursor(s);
    return value;
}

static const char *ask(const char *text, SQLUSMALLINT column)
{
    SQLHSTMT s = statement();
    must(SQLExecDirect(s, (SQLCHAR *)text, SQL_NTS), SQL_HANDLE_STMT, s, text);
    const char *value = first(s, column);
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
    return value;
}

static void expect(const char *text, const char *wanted)
{
    const char *got = ask(text, 1);
    if (strcmp(got, wanted) != 0)
        fail("%s: %s, not %s", text, got, wanted);
}

static void expect_state(const char *text, const char *wanted)
{
    char message[600];
    SQLHSTMT s = statement();
    if (SQL_SUCCEEDED(SQLExecDirect(s, (SQLCHAR *)text, SQL_NTS)))
        fail("no %s: %s", wanted, text);
    const char *state = state_of(SQL_HANDLE_STMT, s, message, sizeof(message));
    if (strcmp(state, wanted) != 0)
        fail("SQLSTATE %s, not %s: %s", state, wanted, message);
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
}

static void set_autocommit(bool on)
{
    const SQLULEN value = on ? SQL_AUTOCOMMIT_ON : SQL_AUTOCOMMIT_OFF;
    must(SQLSetConnectAttr(conn, SQL_ATTR_AUTOCOMMIT, (SQLPOINTER)value, SQL_IS_UINTEGER),
         SQL_HANDLE_DBC, conn, "autocommit");
}

static void end_transaction(SQLSMALLINT how)
{
    must(SQLEndTran(SQL_HANDLE_DBC, conn, how), SQL_HANDLE_DBC, conn, "end of transaction");
}

static void bind_number(SQLHSTMT s, SQLUSMALLINT index, SQLINTEGER *value)
{
    must(
        SQLBindParameter(s, index, SQL_PARAM_INPUT, SQL_C_SLONG, SQL_INTEGER, 0, 0, value, 0, NULL),
        SQL_HANDLE_STMT, s, "bind");
}

static void test_connect(void)
{
    SQLHDBC wrong;
    char message[600];
    expect("select 1", "1");
    if (SQL_SUCCEEDED(open_connection("wrong", &wrong)))
        fail("a wrong password was taken");
    (void)state_of(SQL_HANDLE_DBC, wrong, message, sizeof(message));
    if (strstr(message, "password") == NULL)
        fail("a wrong password: %s", message);
    (void)SQLFreeHandle(SQL_HANDLE_DBC, wrong);
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
    set_autocommit(false);
    run(sql("insert into %s values (10, 'kept')"));
    end_transaction(SQL_COMMIT);
    run(sql("insert into %s values (11, 'dropped')"));
    end_transaction(SQL_ROLLBACK);
    run(sql("insert into %s values (12, 'kept')"));
    run("savepoint s");
    run(sql("insert into %s values (13, 'dropped')"));
    run("rollback to s");
    run(sql("insert into %s values (14, 'kept')"));
    end_transaction(SQL_COMMIT);
    set_autocommit(true);
    expect(sql("select string_agg(id::text, ',' order by id) from %s where id between 10 and 19"),
           "10,12,14");
}

static void test_prepared(void)
{
    SQLINTEGER number = 0;
    SQLHSTMT plus = statement(), put = statement();
    must(SQLPrepare(plus, (SQLCHAR *)"select ?::int + 1", SQL_NTS), SQL_HANDLE_STMT, plus, "plus");
    must(SQLPrepare(put, (SQLCHAR *)sql("insert into %s values (?, 'prepared')"), SQL_NTS),
         SQL_HANDLE_STMT, put, "put");
    bind_number(plus, 1, &number);
    bind_number(put, 1, &number);
    for (int i = 0; i < DRIVE_TIMES; i++) {
        char wanted[12];
        number = 100 + i;
        snprintf(wanted, sizeof(wanted), "%d", 101 + i);
        must(SQLExecute(plus), SQL_HANDLE_STMT, plus, "plus");
        const char *got = first(plus, 1);
        if (strcmp(got, wanted) != 0)
            fail("%s, not %s", got, wanted);
        must(SQLExecute(put), SQL_HANDLE_STMT, put, "put");
    }
    (void)SQLFreeHandle(SQL_HANDLE_STMT, plus);
    (void)SQLFreeHandle(SQL_HANDLE_STMT, put);
    expect(sql("select count(*) from %s where v = 'prepared'"), "30");
}

/* Arrays of parameters: one call, many rows. */
static void test_pipeline(void)
{
    static SQLINTEGER numbers[BATCH];
    for (int i = 0; i < BATCH; i++)
        numbers[i] = 1000 + i;
    SQLHSTMT s = statement();
    must(SQLSetStmtAttr(s, SQL_ATTR_PARAMSET_SIZE, (SQLPOINTER)(SQLULEN)BATCH, 0), SQL_HANDLE_STMT,
         s, "size");
    must(SQLPrepare(s, (SQLCHAR *)sql("insert into %s values (?, 'batch')"), SQL_NTS),
         SQL_HANDLE_STMT, s, "prepare");
    bind_number(s, 1, numbers);
    must(SQLExecute(s), SQL_HANDLE_STMT, s, "batch");
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
    expect(sql("select count(*) from %s where v = 'batch'"), "300");
    run("select 1; select 2");
}

static void *cancel_soon(void *s)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    (void)SQLCancel(s);
    return NULL;
}

static void test_cancel(void)
{
    for (int i = 0; i < 3; i++) {
        char message[600];
        pthread_t thread;
        SQLHSTMT s = statement();
        pthread_create(&thread, NULL, cancel_soon, s);
        const SQLRETURN r = SQLExecDirect(s, (SQLCHAR *)"select pg_sleep(30)", SQL_NTS);
        pthread_join(thread, NULL);
        if (SQL_SUCCEEDED(r))
            fail("not cancelled");
        const char *state = state_of(SQL_HANDLE_STMT, s, message, sizeof(message));
        if (strcmp(state, "57014") != 0 && strcmp(state, "HY008") != 0)
            fail("SQLSTATE %s: %s", state, message);
        (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
        expect("select 1", "1");
    }
}

static void test_large(void)
{
    char *big = malloc(DRIVE_BIG + 1), *got = malloc(DRIVE_BIG + 1);
    if (big == NULL || got == NULL)
        fail("no memory");
    for (int i = 0; i < DRIVE_BIG; i++)
        big[i] = (char)('a' + i % 26);
    big[DRIVE_BIG] = '\0';
    SQLLEN size = DRIVE_BIG;
    SQLHSTMT s = statement();
    must(SQLBindParameter(s, 1, SQL_PARAM_INPUT, SQL_C_CHAR, SQL_LONGVARCHAR, DRIVE_BIG, 0, big, 0,
                          &size),
         SQL_HANDLE_STMT, s, "bind");
    must(SQLExecDirect(s, (SQLCHAR *)sql("insert into %s values (50000, ?)"), SQL_NTS),
         SQL_HANDLE_STMT, s, "insert");
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
    s = statement();
    must(SQLExecDirect(s, (SQLCHAR *)sql("select v from %s where id = 50000"), SQL_NTS),
         SQL_HANDLE_STMT, s, "select");
    must(SQLFetch(s), SQL_HANDLE_STMT, s, "fetch");
    must(SQLGetData(s, 1, SQL_C_CHAR, got, DRIVE_BIG + 1, &size), SQL_HANDLE_STMT, s, "get");
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
    if (strcmp(big, got) != 0)
        fail("the value came back changed");
    free(big);
    free(got);
}

static void test_errors(void)
{
    expect_state("selec 1", "42601");
    expect_state("select * from no_such_table", "42P01");
    expect_state(sql("insert into %s values (10, 'again')"), "23505");
    expect("select 1", "1");
    set_autocommit(false); /* its transactions survive an error: it sets savepoints */
    run(sql("insert into %s values (20, 'kept')"));
    expect_state("select 1/0", "22012");
    expect(sql("select v from %s where id = 20"), "kept");
    end_transaction(SQL_COMMIT);
    set_autocommit(true);
    expect(sql("select v from %s where id = 20"), "kept");
}

static void test_reconnect(void)
{
    char message[600];
    set_autocommit(false);
    SQLHSTMT s = statement();
    const char *text = "select pg_terminate_backend(pg_backend_pid())";
    if (SQL_SUCCEEDED(SQLExecDirect(s, (SQLCHAR *)text, SQL_NTS)))
        fail("it lives");
    const char *state = state_of(SQL_HANDLE_STMT, s, message, sizeof(message));
    if (strcmp(state, "57P01") != 0 && strncmp(state, "08", 2) != 0)
        fail("SQLSTATE %s: %s", state, message);
    (void)SQLFreeHandle(SQL_HANDLE_STMT, s);
    close_connection(conn);
    must(open_connection(drive_setting("PGPASSWORD"), &conn), SQL_HANDLE_DBC, conn, "connect");
    expect("select 1", "1");
}

static void test_split(void)
{
    int replica = 0;
    (void)thrd_sleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* replicas catch up */
    for (int i = 0; i < DRIVE_READS; i++) {
        (void)ask(sql("select count(*) from %s"), 1);
        replica += strcmp(ask("show switchgear.last_route", 2), "replica") == 0;
    }
    if (replica < DRIVE_READS / 4)
        fail("%d of %d reads on replicas", replica, DRIVE_READS);
    expect(sql("insert into %s values (60000, 'split') returning pg_is_in_recovery()"), "0");
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
    if (!SQL_SUCCEEDED(open_connection(drive_setting("PGPASSWORD"), &conn))) {
        char message[600];
        (void)state_of(SQL_HANDLE_DBC, conn, message, sizeof(message));
        drive_report(name, "false", message);
        return;
    }
    drive_feature(name, feature);
    close_connection(conn);
}

static void report_version(void)
{
    char number[40] = "", text[60];
    if (SQL_SUCCEEDED(open_connection(drive_setting("PGPASSWORD"), &conn)))
        (void)SQLGetInfo(conn, SQL_DRIVER_VER, number, sizeof(number), NULL);
    snprintf(text, sizeof(text), "psqlodbc %s", number);
    drive_report("version", "true", text);
    close_connection(conn);
}

int main(void)
{
    table = drive_setting("DRIVER_TABLE");
    SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &environment);
    SQLSetEnvAttr(environment, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0);
    report_version();
    drive("connect", test_connect);
    drive("autocommit", test_autocommit);
    drive("transactions", test_transactions);
    drive("prepared", test_prepared);
    drive("pipeline", test_pipeline);
    drive_report("copy", "null", "it has none");
    drive("cancel", test_cancel);
    drive_report("notify", "null", "it has none");
    drive("large", test_large);
    drive("errors", test_errors);
    drive("reconnect", test_reconnect);
    drive("split", test_split);
    drive("read_your_writes", test_read_your_writes);
    return 0;
}
