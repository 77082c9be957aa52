# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through asyncpg: see drive.py."""
import asyncio
import io

import asyncpg

import drive
from drive import BIG, READS, TABLE, TIMES, WRITES, expect


class Connected:
    """A connection for the time of a block; the parameters come from libpq's environment."""

    def __init__(self, **parameters):
        self.parameters = parameters

    async def __aenter__(self):
        self.connection = await asyncpg.connect(**self.parameters)
        return self.connection

    async def __aexit__(self, *_):
        await self.connection.close(timeout=10)


async def expect_state(connection, state, sql, *values):
    try:
        await connection.fetch(sql, *values)
    except asyncpg.PostgresError as error:
        expect(error.sqlstate, state, sql[:60])
    else:
        raise AssertionError(f"no {state}: {sql[:60]}")


async def test_connect():
    async with Connected() as c:
        expect(await c.fetchval("select 1"), 1)
        tls = c._transport.get_extra_info("sslcontext") is not None
        expect(tls, drive.SSLMODE != "disable", "TLS")
    try:
        await asyncpg.connect(password="wrong")
    except asyncpg.InvalidPasswordError as error:
        expect(error.sqlstate, "28P01")
    else:
        raise AssertionError("a wrong password was taken")


async def test_autocommit():
    async with Connected() as c:
        await c.execute(f"insert into {TABLE} values ($1, $2)", 1, "one")
        expect(await c.fetchval(f"select v from {TABLE} where id = 1"), "one")
        expect(await c.execute(f"delete from {TABLE} where id = 1"), "DELETE 1")
        expect(await c.fetchval(f"select count(*) from {TABLE}"), 0)


async def test_transactions():
    async with Connected() as c:
        async with c.transaction():
            await c.execute(f"insert into {TABLE} values (10, 'kept')")
        transaction = c.transaction()
        await transaction.start()
        await c.execute(f"insert into {TABLE} values (11, 'dropped')")
        await transaction.rollback()
        async with c.transaction(isolation="serializable"):
            await c.execute(f"insert into {TABLE} values (12, 'kept')")
            inner = c.transaction()
            await inner.start()
            await c.execute(f"insert into {TABLE} values (13, 'dropped')")
            await inner.rollback()
            await c.execute(f"insert into {TABLE} values (14, 'kept')")
        rows = await c.fetch(f"select id from {TABLE} where id between 10 and 19 order by id")
        expect([row["id"] for row in rows], drive.KEPT)
        async with c.transaction():
            numbers = [row[0] async for row in c.cursor("select generate_series(1, 500)")]
            expect(len(numbers), 500)


async def test_prepared():
    """It prepares everything; a statement made by hand lives as long as its connection."""
    async with Connected() as c:
        plus = await c.prepare("select $1::int + 1")
        put = await c.prepare(f"insert into {TABLE} values ($1, $2)")
        expect(plus.get_parameters()[0].name, "int4")
        for i in range(TIMES):
            expect(await plus.fetchval(i), i + 1)
            await put.fetch(100 + i, "prepared")
            if i % 10 == 0:
                async with c.transaction():
                    expect(await plus.fetchval(i), i + 1)
        expect(await c.fetchval(f"select count(*) from {TABLE} where v = $1", "prepared"), TIMES)
    async with Connected(statement_cache_size=5) as c:  # closes the oldest ones
        for i in range(20):
            expect(await c.fetchval(f"select $1::int + {i}", 1), 1 + i)


async def test_pipeline():
    """executemany: Bind and Execute of all rows before one Sync."""
    async with Connected() as c:
        insert = f"insert into {TABLE} values ($1, 'batch')"
        await c.executemany(insert, [(1000 + i,) for i in range(600)])
        try:
            await c.executemany(insert, [(2000,), (1000,), (2001,)])
        except asyncpg.UniqueViolationError:
            pass
        expect(await c.fetchval(f"select count(*) from {TABLE} where v = 'batch'"), 600)


async def test_copy():
    async with Connected() as c:
        rows = [(10000 + i, "copied") for i in range(5000)]
        expect(await c.copy_records_to_table(TABLE, records=rows), "COPY 5000")
        out = io.BytesIO()
        await c.copy_from_query(f"select * from {TABLE} where v = $1", "copied", output=out)
        expect(out.getvalue().count(b"\n"), 5000, "lines")
        try:
            await c.copy_to_table(TABLE, source=io.BytesIO(b"no number\tx\n"))
        except asyncpg.PostgresError as error:
            expect(error.sqlstate, "22P02")
        expect(await c.fetchval("select 1"), 1)


async def test_cancel():
    """A timeout cancels on the server; so does a task that is cancelled."""
    async with Connected() as c:
        for _ in range(2):
            try:
                await c.fetchval("select pg_sleep(30)", timeout=0.3)
            except asyncio.TimeoutError:
                pass
            else:
                raise AssertionError("no timeout")
            expect(await c.fetchval("select 1", timeout=10), 1)
        task = asyncio.ensure_future(c.fetchval("select pg_sleep(30)"))
        await asyncio.sleep(0.3)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        expect(await c.fetchval("select 1", timeout=10), 1)


async def test_notify():
    async with Connected() as c, Connected() as other:
        heard = asyncio.get_running_loop().create_future()
        await c.add_listener(TABLE, lambda _c, _pid, _channel, payload: heard.set_result(payload))
        await other.execute(f"notify {TABLE}, 'hello'")
        expect(await asyncio.wait_for(heard, 10), "hello")


async def test_large():
    async with Connected() as c:
        await c.execute(f"insert into {TABLE} values (50000, $1)", BIG)
        got = await c.fetchval(f"select v from {TABLE} where id = 50000")
        expect(got == BIG, True, "same value")


async def test_errors():
    async with Connected() as c:
        await expect_state(c, "42601", "selec 1")
        await expect_state(c, "42P01", "select * from no_such_table where a = $1", 1)
        await expect_state(c, "23505", f"insert into {TABLE} values ($1, 'again')", 10)
        expect(await c.fetchval("select 1"), 1)
        transaction = c.transaction()
        await transaction.start()
        await expect_state(c, "22012", "select 1/$1::int", 0)
        await expect_state(c, "25P02", "select 1")
        await transaction.rollback()
        expect(await c.fetchval("select 1"), 1)


async def test_reconnect():
    """Its pool drops a connection that broke, and resets those that come back."""
    async with asyncpg.create_pool(min_size=1, max_size=1) as pool:
        try:
            async with pool.acquire() as c, c.transaction():
                await c.fetchval("select pg_terminate_backend(pg_backend_pid())")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            expect(getattr(error, "sqlstate", "57P01"), "57P01")
        for i in range(5):
            async with pool.acquire() as c:
                await c.execute("set application_name = 'pooled'")
                expect(await c.fetchval("select $1::int", i), i)


async def test_split():
    async with Connected() as c:
        roles = []
        for _ in range(READS):
            await c.fetchval(f"select count(*) from {TABLE} where id > $1", 0)
            roles.append((await c.fetchrow("show switchgear.last_route"))["role"])
        drive.expect_split(roles)
        expect(await c.fetchval(f"insert into {TABLE} values (60000, 'x') "
                                "returning pg_is_in_recovery()"), False)


async def test_read_your_writes():
    async with Connected() as c:
        await c.execute(f"insert into {TABLE} values (70000, '-1')")
        for i in range(WRITES):
            await c.execute(f"update {TABLE} set v = $1 where id = 70000", str(i))
            expect(await c.fetchval(f"select v from {TABLE} where id = $1", 70000), str(i))


if __name__ == "__main__":
    drive.report("version", True, "asyncpg " + asyncpg.__version__)
    drive.features({name: (lambda f=f: asyncio.run(f()))
                    for name, f in list(globals().items()) if name.startswith("test_")})
