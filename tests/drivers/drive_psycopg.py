# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through psycopg 3: see drive.py."""
import asyncio
import threading

import psycopg

import drive
from drive import BIG, READS, TABLE, TIMES, WRITES, expect


def connected(**parameters):
    return psycopg.connect("", **{"autocommit": True, **parameters})


def ask(connection, sql, values=None, **options):
    cursor = connection.execute(sql, values, **options)
    return cursor.fetchall() if cursor.description else []


def expect_state(connection, state, sql, values=None):
    try:
        ask(connection, sql, values)
    except psycopg.Error as error:
        expect(error.sqlstate, state, sql[:60])
    else:
        raise AssertionError(f"no {state}: {sql[:60]}")


def test_connect():
    with connected() as c:
        expect(ask(c, "select 1"), [(1,)])
        expect(bool(c.pgconn.ssl_in_use), drive.SSLMODE != "disable", "TLS")
    try:
        connected(password="wrong")
    except psycopg.OperationalError as error:
        expect("password authentication failed" in str(error), True, str(error))
    else:
        raise AssertionError("a wrong password was taken")

    async def over_asyncio():
        async with await psycopg.AsyncConnection.connect("") as c:
            return await (await c.execute("select %s", ("async",))).fetchone()

    expect(asyncio.run(over_asyncio()), ("async",))


def test_autocommit():
    with connected() as c:
        ask(c, f"insert into {TABLE} values (1, 'one')")
        expect(ask(c, f"select v from {TABLE} where id = %s", (1,)), [("one",)])
        ask(c, f"delete from {TABLE} where id = %s", (1,))
        expect(ask(c, f"select count(*) from {TABLE}"), [(0,)])


def test_transactions():
    with connected(autocommit=False) as c:
        ask(c, f"insert into {TABLE} values (10, 'kept')")
        c.commit()
        ask(c, f"insert into {TABLE} values (11, 'dropped')")
        c.rollback()
        with c.transaction():
            ask(c, f"insert into {TABLE} values (12, 'kept')")
            with c.transaction():
                ask(c, f"insert into {TABLE} values (13, 'dropped')")
                raise psycopg.Rollback()
            ask(c, f"insert into {TABLE} values (14, 'kept')")
        rows = ask(c, f"select id from {TABLE} where id between 10 and 19 order by id")
        expect([row[0] for row in rows], drive.KEPT)
        with c.cursor("served") as cursor:  # a cursor on the server, fetched piece by piece
            cursor.itersize = 7
            cursor.execute("select generate_series(1, 50)")
            expect(len(list(cursor)), 50)


def test_prepared():
    with connected() as c:
        c.prepare_threshold = 2
        for i in range(TIMES):
            expect(ask(c, "select %s::int + 1", (i,)), [(i + 1,)])
            ask(c, f"insert into {TABLE} values (%s, %s)", (100 + i, "prepared"))
            if i % 10 == 0:
                with c.transaction():
                    expect(ask(c, "select %s::int + 1", (i,)), [(i + 1,)])
        expect(ask(c, f"select count(*) from {TABLE} where v = %s", ("prepared",)), [(TIMES,)])
        c.prepared_max = 5  # more than it keeps: it closes the oldest, by DEALLOCATE
        for i in range(20):
            for _ in range(3):
                expect(ask(c, f"select %s::int + {i}", (1,)), [(1 + i,)])


def test_pipeline():
    with connected() as c, c.cursor() as cursor:
        with c.pipeline():
            for i in range(300):
                c.execute(f"insert into {TABLE} values (%s, 'pipelined')", (1000 + i,))
        cursor.executemany(f"insert into {TABLE} values (%s, 'pipelined')",
                           [(1300 + i,) for i in range(300)])
        try:
            with c.pipeline():
                c.execute(f"insert into {TABLE} values (%s, 'pipelined')", (2000,))
                c.execute(f"insert into {TABLE} values (%s, 'pipelined')", (1000,))
                c.execute(f"insert into {TABLE} values (%s, 'pipelined')", (2001,))
        except psycopg.errors.UniqueViolation:
            pass
        expect(ask(c, f"select count(*) from {TABLE} where v = 'pipelined'"), [(600,)])


def test_copy():
    with connected() as c, c.cursor() as cursor:
        rows = [(10000 + i, "copied") for i in range(5000)]
        with cursor.copy(f"copy {TABLE} from stdin") as copy:
            for row in rows:
                copy.write_row(row)
        with cursor.copy(f"copy (select * from {TABLE} where v = 'copied' order by id) "
                         "to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            expect(list(copy.rows()) == rows, True, "same rows")
        try:
            with cursor.copy(f"copy {TABLE} from stdin") as copy:
                copy.write("no number\tx\n")
        except psycopg.Error as error:
            expect(error.sqlstate, "22P02")
        expect(ask(c, "select 1"), [(1,)])


def test_cancel():
    with connected() as c:
        for _ in range(3):
            threading.Timer(0.3, c.cancel).start()
            expect_state(c, "57014", "select pg_sleep(%s)", (30,))
            expect(ask(c, "select 1"), [(1,)])


def test_notify():
    with connected() as c, connected() as other:
        ask(c, f"listen {TABLE}")
        ask(other, f"notify {TABLE}, 'hello'")
        watchdog = threading.Timer(10, c.cancel)  # notifies() waits for ever
        watchdog.daemon = True
        watchdog.start()
        expect(next(c.notifies()).payload, "hello")
        watchdog.cancel()


def test_large():
    with connected() as c:
        ask(c, f"insert into {TABLE} values (50000, %s)", (BIG,))
        expect(ask(c, f"select v from {TABLE} where id = 50000") == [(BIG,)], True, "same value")


def test_errors():
    with connected() as c:
        expect_state(c, "42601", "selec 1")
        expect_state(c, "42P01", "select * from no_such_table where a = %s", (1,))
        expect_state(c, "23505", f"insert into {TABLE} values (%s, 'again')", (10,))
        expect(ask(c, "select 1"), [(1,)])
        c.autocommit = False
        expect_state(c, "22012", "select 1/%s", (0,))
        expect_state(c, "25P02", "select 1")
        c.rollback()
        expect(ask(c, "select 1"), [(1,)])


def test_reconnect():
    with connected(autocommit=False) as c:
        ask(c, "select 1")
        try:
            ask(c, "select pg_terminate_backend(pg_backend_pid())")
        except psycopg.OperationalError as error:  # libpq shows the end, not the SQLSTATE before
            expect("closed" in str(error), True, str(error))
        expect(c.broken, True, "broken")
    with connected() as c:
        expect(ask(c, "select 1"), [(1,)])


def test_split():
    with connected() as c:
        roles = []
        for _ in range(READS):
            ask(c, f"select count(*) from {TABLE} where id > %s", (0,))
            roles.append(ask(c, "show switchgear.last_route")[0][1])
        drive.expect_split(roles)
        rows = ask(c, f"insert into {TABLE} values (60000, 'x') returning pg_is_in_recovery()")
        expect(rows, [(False,)])


def test_read_your_writes():
    with connected() as c:
        ask(c, f"insert into {TABLE} values (70000, '-1')")
        for i in range(WRITES):
            ask(c, f"update {TABLE} set v = %s where id = 70000", (str(i),))
            expect(ask(c, f"select v from {TABLE} where id = %s", (70000,)), [(str(i),)])


if __name__ == "__main__":
    drive.report("version", True, "psycopg " + psycopg.__version__)
    drive.features(globals())
