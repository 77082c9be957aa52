# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through psycopg2: see drive.py."""
import contextlib
import io
import select
import threading
import time

import psycopg2
import psycopg2.extras

import drive
from drive import BIG, READS, TABLE, TIMES, WRITES, expect


@contextlib.contextmanager
def connected(autocommit=True, **parameters):
    connection = psycopg2.connect("", **parameters)  # from libpq's environment
    connection.autocommit = autocommit
    try:
        yield connection
    finally:
        connection.close()


def ask(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def expect_state(connection, state, sql, values=None):
    try:
        ask(connection, sql, values)
    except psycopg2.Error as error:
        expect(error.pgcode, state, sql[:60])
    else:
        raise AssertionError(f"no {state}: {sql[:60]}")


def test_connect():
    with connected() as c:
        expect(ask(c, "select 1"), [(1,)])
        expect(c.info.ssl_in_use, drive.SSLMODE != "disable", "TLS")
    try:
        psycopg2.connect("", password="wrong")
    except psycopg2.OperationalError as error:
        expect("password authentication failed" in str(error), True, str(error))
    else:
        raise AssertionError("a wrong password was taken")


def test_autocommit():
    with connected() as c:
        ask(c, f"insert into {TABLE} values (1, 'one')")
        expect(ask(c, f"select v from {TABLE} where id = 1"), [("one",)])
        ask(c, f"delete from {TABLE} where id = 1")
        expect(ask(c, f"select count(*) from {TABLE}"), [(0,)])


def test_transactions():
    with connected(autocommit=False) as c:
        ask(c, f"insert into {TABLE} values (10, 'kept')")
        c.commit()
        ask(c, f"insert into {TABLE} values (11, 'dropped')")
        c.rollback()
        ask(c, f"insert into {TABLE} values (12, 'kept')")
        ask(c, "savepoint s")
        ask(c, f"insert into {TABLE} values (13, 'dropped')")
        ask(c, "rollback to s")
        ask(c, f"insert into {TABLE} values (14, 'kept')")
        c.commit()
        rows = ask(c, f"select id from {TABLE} where id between 10 and 19 order by id")
        expect([row[0] for row in rows], drive.KEPT)
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        with connected(autocommit=False) as c:
            c.set_session(isolation_level=level, readonly=True)
            expect(ask(c, "show transaction_isolation"), [(level.lower(),)])
            c.commit()


def test_prepared():
    """It prepares nothing by itself: PREPARE in SQL is what its users have."""
    with connected() as c:
        ask(c, f"prepare put (int, text) as insert into {TABLE} values ($1, $2)")
        for i in range(TIMES):
            ask(c, "execute put (%s, %s)", (100 + i, "prepared"))
        ask(c, "deallocate put")
        expect(ask(c, f"select count(*) from {TABLE} where v = 'prepared'"), [(TIMES,)])
        expect_state(c, "26000", "execute put (1, 'x')")


def test_pipeline():
    """Batches: many statements in one string, and many rows in one statement."""
    with connected(autocommit=False) as c, c.cursor() as cursor:
        insert = f"insert into {TABLE} values (%s, 'batch')"
        psycopg2.extras.execute_batch(cursor, insert, [(1000 + i,) for i in range(300)])
        psycopg2.extras.execute_values(cursor, f"insert into {TABLE} values %s",
                                       [(1300 + i, "batch") for i in range(300)])
        c.commit()
        expect(ask(c, f"select count(*) from {TABLE} where v = 'batch'"), [(600,)])


def test_copy():
    with connected() as c, c.cursor() as cursor:
        lines = "".join(f"{10000 + i}\tcopied\n" for i in range(5000))
        cursor.copy_expert(f"copy {TABLE} from stdin", io.StringIO(lines))
        out = io.StringIO()
        cursor.copy_expert(f"copy (select * from {TABLE} where v = 'copied' order by id) to stdout",
                           out)
        expect(out.getvalue(), lines, "copied")
        try:
            cursor.copy_expert(f"copy {TABLE} from stdin", io.StringIO("no number\tx\n"))
        except psycopg2.Error as error:
            expect(error.pgcode, "22P02")
        expect(ask(c, "select 1"), [(1,)])


def test_cancel():
    with connected() as c:
        for _ in range(3):
            threading.Timer(0.3, c.cancel).start()
            expect_state(c, "57014", "select pg_sleep(30)")
            expect(ask(c, "select 1"), [(1,)])


def test_notify():
    with connected() as c, connected() as other:
        ask(c, f"listen {TABLE}")
        ask(other, f"notify {TABLE}, 'hello'")
        deadline = time.monotonic() + 10
        while not c.notifies and time.monotonic() < deadline:
            select.select([c], [], [], 1)
            c.poll()
        expect([n.payload for n in c.notifies], ["hello"])


def test_large():
    with connected() as c:
        ask(c, f"insert into {TABLE} values (50000, %s)", (BIG,))
        expect(ask(c, f"select v from {TABLE} where id = 50000") == [(BIG,)], True, "same value")


def test_errors():
    with connected() as c:
        expect_state(c, "42601", "selec 1")
        expect_state(c, "42P01", "select * from no_such_table")
        expect_state(c, "23505", f"insert into {TABLE} values (10, 'again')")
        expect(ask(c, "select 1"), [(1,)])
        c.autocommit = False
        expect_state(c, "22012", "select 1/0")
        expect_state(c, "25P02", "select 1")
        c.rollback()
        expect(ask(c, "select 1"), [(1,)])


def test_reconnect():
    with connected(autocommit=False) as c:
        ask(c, "select 1")
        try:
            ask(c, "select pg_terminate_backend(pg_backend_pid())")
        except psycopg2.OperationalError as error:  # libpq shows the end, not the SQLSTATE before
            expect("closed" in str(error), True, str(error))
        expect(bool(c.closed), True, "closed")
    with connected() as c:
        expect(ask(c, "select 1"), [(1,)])


def test_split():
    with connected() as c:
        roles = []
        for _ in range(READS):
            ask(c, f"select count(*) from {TABLE}")
            roles.append(ask(c, "show switchgear.last_route")[0][1])
        drive.expect_split(roles)
        rows = ask(c, f"insert into {TABLE} values (60000, 'x') returning pg_is_in_recovery()")
        expect(rows, [(False,)])


def test_read_your_writes():
    with connected() as c:
        ask(c, f"insert into {TABLE} values (70000, '-1')")
        for i in range(WRITES):
            ask(c, f"update {TABLE} set v = %s where id = 70000", (str(i),))
            expect(ask(c, f"select v from {TABLE} where id = 70000"), [(str(i),)])


if __name__ == "__main__":
    drive.report("version", True, "psycopg2 " + psycopg2.__version__.split()[0])
    drive.features(globals())
