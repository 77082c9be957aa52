# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through SQLAlchemy, on psycopg2: see drive.py."""
import io
import threading
import time

import sqlalchemy
from sqlalchemy import Column, Integer, String, create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, declarative_base

import drive
from drive import BIG, READS, TABLE, TIMES, WRITES, DoesNotApply, expect

Base = declarative_base()


class Row(Base):
    __tablename__ = TABLE
    id = Column(Integer, primary_key=True)
    v = Column(String)


def make_engine(**parameters):
    return create_engine("postgresql+psycopg2://", future=True, **parameters)


engine = make_engine()
auto = engine.execution_options(isolation_level="AUTOCOMMIT")


def ask(connection, sql, **values):
    result = connection.execute(text(sql), values)
    return [tuple(row) for row in result] if result.returns_rows else []


def expect_state(connection, state, sql, **values):
    try:
        ask(connection, sql, **values)
    except DBAPIError as error:
        expect(error.orig.pgcode, state, sql[:60])
    else:
        raise AssertionError(f"no {state}: {sql[:60]}")


def test_connect():
    with engine.connect() as c:
        expect(ask(c, "select 1"), [(1,)])
        expect(c.connection.dbapi_connection.info.ssl_in_use, drive.SSLMODE != "disable", "TLS")
    try:
        make_engine(connect_args={"password": "wrong"}).connect()
    except DBAPIError as error:
        expect("password authentication failed" in str(error), True, str(error))
    else:
        raise AssertionError("a wrong password was taken")


def test_autocommit():
    with auto.connect() as c:
        ask(c, f"insert into {TABLE} values (1, 'one')")
        expect(c.execute(select(Row.v).where(Row.id == 1)).scalar(), "one")
        ask(c, f"delete from {TABLE} where id = :id", id=1)
        expect(ask(c, f"select count(*) from {TABLE}"), [(0,)])


def test_transactions():
    with Session(engine) as session:
        session.add(Row(id=10, v="kept"))
        session.commit()
        session.add(Row(id=11, v="dropped"))
        session.flush()
        session.rollback()
        session.add(Row(id=12, v="kept"))
        nested = session.begin_nested()
        session.add(Row(id=13, v="dropped"))
        session.flush()
        nested.rollback()
        session.add(Row(id=14, v="kept"))
        session.commit()
        ids = session.execute(select(Row.id).where(Row.id.between(10, 19)).order_by(Row.id))
        expect([row.id for row in ids], drive.KEPT)
    with engine.connect() as c:  # a cursor on the server
        rows = c.execution_options(stream_results=True).execute(
            text("select generate_series(1, 5000)"))
        expect(len(list(rows)), 5000)


def test_prepared():
    with engine.begin() as c:
        for i in range(TIMES):
            expect(ask(c, "select cast(:i as int) + 1", i=i), [(i + 1,)])
    raise DoesNotApply("psycopg2 puts the parameters into the text")


def test_pipeline():
    """The insert of many objects: rows in few statements, with their keys returned."""
    with Session(engine) as session:
        session.add_all([Row(id=1000 + i, v="batch") for i in range(600)])
        session.commit()
        session.bulk_update_mappings(Row, [{"id": 1000 + i, "v": "batch2"} for i in range(100)])
        session.commit()
        counts = ask(session, f"select v, count(*) from {TABLE} where v like 'batch%' "
                              "group by v order by v")
        expect(counts, [("batch", 500), ("batch2", 100)])


def test_copy():
    """Through the driver's connection: SQLAlchemy has none of its own."""
    with engine.begin() as c, c.connection.cursor() as cursor:
        lines = "".join(f"{10000 + i}\tcopied\n" for i in range(5000))
        cursor.copy_expert(f"copy {TABLE} from stdin", io.StringIO(lines))
        expect(ask(c, f"select count(*) from {TABLE} where v = 'copied'"), [(5000,)])


def test_cancel():
    """Through the driver's connection."""
    with auto.connect() as c:
        for _ in range(2):
            threading.Timer(0.3, c.connection.dbapi_connection.cancel).start()
            expect_state(c, "57014", "select pg_sleep(30)")
            expect(ask(c, "select 1"), [(1,)])


def test_notify():
    raise DoesNotApply("nothing of its own; see psycopg2")


def test_large():
    with Session(engine) as session:
        session.add(Row(id=50000, v=BIG))
        session.commit()
        session.expire_all()
        expect(session.get(Row, 50000).v == BIG, True, "same value")


def test_errors():
    with auto.connect() as c:
        expect_state(c, "42601", "selec 1")
        expect_state(c, "42P01", "select * from no_such_table")
        expect_state(c, "23505", f"insert into {TABLE} values (10, 'again')")
        expect(ask(c, "select 1"), [(1,)])
    with engine.connect() as c:
        expect_state(c, "22012", "select 1/0")
        expect_state(c, "25P02", "select 1")
        c.rollback()
        expect(ask(c, "select 1"), [(1,)])


def test_reconnect():
    """Its pool pings a connection before it gives it away, and replaces a dead one."""
    pinging = make_engine(pool_size=1, max_overflow=0, pool_pre_ping=True)
    with pinging.connect() as c:
        try:
            ask(c, "select pg_terminate_backend(pg_backend_pid())")
        except DBAPIError as error:
            expect(error.connection_invalidated, True, "invalidated")
    for _ in range(3):
        with pinging.connect() as c:
            expect(ask(c, "select 1"), [(1,)])
    pinging.dispose()


def test_split():
    with make_engine(isolation_level="AUTOCOMMIT").connect() as c:
        time.sleep(0.5)  # what it asks at its start is not known to write nothing
        roles = []
        for _ in range(READS):
            c.execute(select(sqlalchemy.func.count()).select_from(Row)).scalar()
            roles.append(ask(c, "show switchgear.last_route")[0][1])
        drive.expect_split(roles)
        rows = ask(c, f"insert into {TABLE} values (60000, 'x') returning pg_is_in_recovery()")
        expect(rows, [(False,)])


def test_read_your_writes():
    with auto.connect() as c:
        ask(c, f"insert into {TABLE} values (70000, '-1')")
        for i in range(WRITES):
            ask(c, f"update {TABLE} set v = :v where id = 70000", v=str(i))
            expect(ask(c, f"select v from {TABLE} where id = 70000"), [(str(i),)])


if __name__ == "__main__":
    drive.report("version", True, "SQLAlchemy " + sqlalchemy.__version__)
    drive.features(globals())
