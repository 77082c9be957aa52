# SPDX-License-Identifier: PostgreSQL
"""transaction_reads = until_write: what is open in a block, and what it declares late, is as with PostgreSQL."""
import asyncio

import asyncpg
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER
from proxy import last_route, one, rows_of
from wire import Wire, bind, execute, first_error, parse, query, sync, types

pytestmark = pytest.mark.one_session

INSERT = "insert into log (note) values ('between')"
READ = "select id from t order by id"


@pytest.fixture(name="gear2")
def a_proxy_that_begins_on_replicas(proxy):
    return proxy(database={"transaction_reads": "until_write", "pool_size": 4},
                 switchgear={"auth_type": "trust"})


@pytest.fixture(name="wire")
def a_client(gear2):
    with Wire(gear2.port) as w:
        w.login(APP_USER, APP_DATABASE)
        yield w


def ids(messages):
    return [int(body[6:]) for kind, body in messages if kind == "D"]


def bound(text, portal=""):
    return parse("", text) + bind(portal, "")


# What comes between two pieces of the unnamed portal, and leaves it where it is.
BETWEEN = {
    "insert": bound(INSERT, "x") + execute("x"),
    "named insert": parse("n", INSERT) + bind("x", "n") + execute("x"),
    "read": bound("select 1", "x") + execute("x"),
    "lock": bound("select id from t where id = 1 for update", "x") + execute("x"),
    "sequence": bound("select nextval('ticket')", "x") + execute("x"),
}


@pytest.mark.parametrize("between", list(BETWEEN))
def test_a_portal_goes_on_behind_other_statements(wire, between):
    wire.run(bound("begin"), execute(), sync())
    assert ids(wire.run(bound(READ), execute(rows=2), sync())) == [1, 2]
    assert first_error(wire.run(BETWEEN[between], sync())) is None
    messages = wire.run(execute(rows=2), sync())
    assert ids(messages) == [3, 4], messages
    assert types(wire.run(query("commit"))) == "CZ"


def test_a_block_that_has_read_moves_before_it_reads_in_pieces(wire):
    wire.run(query("begin"))
    assert ids(wire.run(bound("select id from t where id = 7"), execute(), sync())) == [7]
    assert ids(wire.run(bound(READ), execute(rows=3), sync())) == [1, 2, 3]
    assert first_error(wire.run(BETWEEN["insert"], sync())) is None
    assert ids(wire.run(execute(rows=3), sync())) == [4, 5, 6]
    wire.run(query("rollback"))


@pytest.mark.parametrize("between", ["insert", "named insert", "lock", "sequence"])
def test_one_row_and_then_more_is_run_again_or_goes_on(wire, between):
    wire.run(query("begin"))
    assert ids(wire.run(bound(READ), execute(rows=1), sync())) == [1]
    assert first_error(wire.run(BETWEEN[between], sync())) is None
    messages = wire.run(execute(rows=1), sync())
    error = first_error(messages)
    assert ids(messages) == [2] or (error["C"] == "40001" and "Run the transaction again" in error["H"])
    assert wire.run(query("rollback"))[-1] == ("Z", b"I")


def test_one_row_and_then_a_write_commits(cluster, wire):
    """As asyncpg's fetchrow() does it: the unnamed portal is left as it is."""
    wire.run(query("begin"))
    assert ids(wire.run(bound(READ), execute(rows=1), sync())) == [1]
    assert first_error(wire.run(bound("insert into log (note) values ('fetchrow')"), execute(), sync())) is None
    assert types(wire.run(query("commit"))) == "CZ"
    assert cluster.primary.psql("select count(*) from log where note = 'fetchrow'", APP_DATABASE) == [(1,)]


@pytest.mark.parametrize("moves", [INSERT, "savepoint s", "select 1", "select nextval('ticket')",
                                   "set local work_mem = '5MB'"])
def test_a_cursor_goes_on_behind_other_statements(gear2, moves):
    c = gear2.connect()
    rows_of(c, "begin")
    assert one(c, "select count(*) from t") == 100
    rows_of(c, f"declare c cursor for {READ}")
    assert rows_of(c, "fetch 2 from c") == [(1,), (2,)]
    rows_of(c, moves)
    assert rows_of(c, "fetch 2 from c") == [(3,), (4,)]
    rows_of(c, "commit")


def test_asyncpg_reads_one_row_then_a_cursor_then_writes(gear2):
    async def work():
        c = await asyncpg.connect(host="127.0.0.1", port=gear2.port, user=APP_USER,
                                  password=APP_PASSWORD, database=APP_DATABASE)
        async with c.transaction():
            assert (await c.fetchrow(READ))["id"] == 1
            seen = [r["id"] async for r in c.cursor(READ, prefetch=3)]
            assert seen == list(range(1, 101))
            assert (await c.fetchrow(READ))["id"] == 1
            await c.execute(INSERT)
        await c.close()
    asyncio.run(work())


LATE = [
    "set transaction isolation level repeatable read",
    "begin isolation level serializable",
    "start transaction isolation level repeatable read",
    "set local transaction_isolation = 'serializable'",
    "set transaction_isolation to 'repeatable read'",
    "set transaction deferrable",
    "set transaction isolation level read committed",
    "set transaction isolation level read uncommitted",
    "set transaction read write",
    "set transaction read only",
    "begin read write",
]


@pytest.mark.parametrize("text", LATE)
@pytest.mark.parametrize("first", [READ, "savepoint a"])
def test_what_is_declared_late_is_judged_as_by_postgresql(cluster, gear2, text, first):
    def talk(c):
        def code_of(sql):
            try:
                rows_of(c, sql)
            except psycopg2.Error as error:
                return error.pgcode
            return None

        c.autocommit = True
        rows_of(c, "begin")
        said = [code_of(first), first != READ and code_of("release a"), code_of(text)]
        status = c.info.transaction_status
        said += [status, status == 2 and one(c, "show transaction_isolation"), code_of("commit")]
        c.close()
        return said

    assert talk(gear2.connect()) == talk(cluster.primary.connect(APP_DATABASE, APP_USER))


def test_a_block_that_failed_so_ends_and_the_next_one_is_new(gear2):
    c = gear2.connect()
    rows_of(c, "begin")
    assert one(c, "select count(*) from t") == 100
    with pytest.raises(psycopg2.Error, match="before any query"):
        rows_of(c, "set transaction isolation level serializable")
    rows_of(c, "rollback")
    rows_of(c, "begin")
    assert one(c, "select count(*) from t") == 100
    assert last_route(c)["role"] == "replica"
    rows_of(c, "commit")
