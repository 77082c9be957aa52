# SPDX-License-Identifier: PostgreSQL
"""Prepared statements over pooled backends, as drivers use them and as the protocol has them."""
import asyncio
import threading

import pytest

from cluster import APP_DATABASE, APP_USER
from proxy import one, rows_of
from wire import (Wire, bind, close, describe, execute, first_error, message, parse, query, sync,
                  types)

pytestmark = pytest.mark.one_session


@pytest.fixture
def open_gear(proxy):
    """Clients need no password here, so that a bare socket can log in."""
    return proxy(switchgear={"auth_type": "trust"},
                 database={"pool_size": 2, "user": "app", "password": "app-secret"})


def login(p):
    w = Wire(p.port)
    assert types(w.login(APP_USER, APP_DATABASE))[-1] == "Z"
    return w


@pytest.mark.core
def test_psycopg3_prepared_statements_survive_shared_backends(proxy):
    psycopg = pytest.importorskip("psycopg")
    p = proxy(database={"pool_size": 1})
    connections = [psycopg.connect(p.dsn(), autocommit=True) for _ in range(3)]
    for i in range(30):
        for c in connections:
            found = c.execute("select id, %s::int from t where id = %s", (i, i + 1),
                              prepare=True).fetchone()
            assert found == (i + 1, i)
            c.execute("update t set v = %s where id = 30", (i,), prepare=True)
    for c in connections:
        c.close()


def test_psycopg3_pipelines_keep_their_order(proxy):
    psycopg = pytest.importorskip("psycopg")
    p = proxy()
    with psycopg.connect(p.dsn(), autocommit=True) as c:
        if not psycopg.Pipeline.is_supported():
            pytest.skip("this libpq has no pipeline mode")
        with c.pipeline():
            cursors = [c.execute("select %s::int", (i,)) for i in range(50)]
            c.execute("update t set v = 31 where id = 31")
            cursors += [c.execute("select v + %s::int from t where id = 31", (i,))
                        for i in range(10)]
        assert [x.fetchone()[0] for x in cursors] == list(range(50)) + list(range(31, 41))


@pytest.mark.core
def test_asyncpg_prepared_statements_work_across_transactions(proxy):
    asyncpg = pytest.importorskip("asyncpg")
    p = proxy(database={"pool_size": 2})

    async def client(number):
        c = await asyncpg.connect(p.dsn(), ssl=False)
        statement = await c.prepare("select id + $1::int from t where id = $2")
        for i in range(1, 21):
            assert await statement.fetchval(number, i) == i + number
            async with c.transaction():
                await c.execute("update t set v = $1 where id = $2", i, 40 + number)
                assert await c.fetchval("select v from t where id = $1", 40 + number) == i
            async with c.transaction(readonly=True):
                assert await c.fetchval("select count(*) from t") == 100
        await c.close()

    async def main():
        await asyncio.gather(*(client(n) for n in range(8)))

    asyncio.run(main())


def test_asyncpg_cursors_and_copy_work(proxy):
    asyncpg = pytest.importorskip("asyncpg")
    p = proxy()

    async def main():
        c = await asyncpg.connect(p.dsn(), ssl=False)
        async with c.transaction():
            found = [r[0] async for r in c.cursor("select id from t order by id", prefetch=7)]
        assert found == list(range(1, 101))
        await c.copy_records_to_table("log", records=[("copied",)] * 500, columns=["note"])
        assert await c.fetchval("select count(*) from log where note = 'copied'") == 500
        await c.execute("delete from log where note = 'copied'")
        await c.close()

    asyncio.run(main())


def test_a_second_clients_first_parse_sees_a_changed_table(proxy):
    """A backend still knows the text from another client: its stale plan must not show."""
    p = proxy(database={"pool_size": 1})
    psycopg = pytest.importorskip("psycopg")
    a, b = (psycopg.connect(p.dsn(), autocommit=True) for _ in range(2))
    for c in (a, b):
        c.execute("set switchgear.route = 'primary'")  # ours: it pins nobody
    a.execute("create table changing (id int)")
    a.execute("insert into changing values (1)")
    assert a.execute("select * from changing", prepare=True).fetchall() == [(1,)]
    a.execute("alter table changing add column extra int default 2")
    assert b.execute("select * from changing", prepare=True).fetchall() == [(1, 2)]
    a.execute("drop table changing")
    a.close()
    b.close()


@pytest.mark.core
def test_an_unknown_statement_is_26000_and_the_session_lives(open_gear):
    with login(open_gear) as w:
        replies = w.run(bind("", "never_parsed"), execute(), sync())
        assert first_error(replies)["C"] == "26000" and types(replies) == "EZ"
        assert types(w.run(query("select 1"))) == "TDCZ"


def test_an_unknown_portal_is_34000(open_gear):
    with login(open_gear) as w:
        replies = w.run(execute("nowhere"), sync())
        assert first_error(replies)["C"] == "34000" and types(replies) == "EZ"


@pytest.mark.core
def test_a_duplicate_statement_is_42P05(open_gear):
    with login(open_gear) as w:
        assert types(w.run(parse("s", "select 1"), sync())) == "1Z"
        replies = w.run(parse("s", "select 2"), sync())
        assert first_error(replies)["C"] == "42P05" and types(replies) == "EZ"
        assert types(w.run(bind("", "s"), execute(), sync())) == "2DCZ"


@pytest.mark.core
def test_the_unnamed_statement_lives_until_the_next_one(open_gear):
    with login(open_gear) as w, login(open_gear) as other:
        assert types(w.run(parse("", "select 11"), sync())) == "1Z"
        for _ in range(3):  # the backend serves others in between
            other.run(query("update t set v = v where id = 1"))
            other.run(parse("", "select 12"), bind("", ""), execute(), sync())
        replies = w.run(bind("", ""), execute(), sync())
        assert types(replies) == "2DCZ" and replies[1][1].endswith(b"11")
        w.run(query("select 1"))
        assert first_error(w.run(bind("", ""), execute(), sync()))["C"] == "26000"


def test_a_closed_statement_is_gone_and_closing_nothing_succeeds(open_gear):
    with login(open_gear) as w:
        w.run(parse("s", "select 1"), sync())
        assert types(w.run(close("S", "s"), close("S", "nothing"), sync())) == "33Z"
        assert first_error(w.run(bind("", "s"), sync()))["C"] == "26000"
        assert types(w.run(parse("s", "select 2"), sync())) == "1Z"


def test_deallocate_all_reaches_named_statements(open_gear):
    with login(open_gear) as w:
        w.run(parse("s", "select 1"), sync())
        w.run(query("deallocate all"))
        assert first_error(w.run(bind("", "s"), sync()))["C"] == "26000"


def deallocate(name, executed=True):
    """As psycopg 3 does it: in the extended protocol."""
    return (parse("", f"DEALLOCATE {name}"), bind("", ""), *([execute()] if executed else []),
            sync())


def test_deallocate_in_the_extended_protocol_reaches_named_statements(open_gear):
    with login(open_gear) as w, login(open_gear) as other:
        w.run(parse("p1", "select 1"), sync())
        assert types(w.run(*deallocate("p1"))) == "12CZ"
        assert first_error(w.run(bind("", "p1"), execute(), sync()))["C"] == "26000"
        assert first_error(w.run(*deallocate("p1")))["C"] == "26000"
        assert types(w.run(parse("p1", "select 1"), sync())) == "1Z", "the name is free again"
        # in a block that has failed it fails too, and the statement stays
        w.run(query("begin"), query("select 1/0"))
        w.recv_all()
        assert first_error(w.run(*deallocate("p1")))["C"] == "25P02"
        w.run(query("rollback"))
        assert types(w.run(bind("", "p1"), execute(), sync())) == "2DCZ"
        # never executed: the statement stays, and nobody else finds what was put in its place
        assert types(w.run(*deallocate("p1", executed=False))) == "12Z"
        assert types(w.run(bind("", "p1"), execute(), sync())) == "2DCZ"
        for _ in range(4):
            assert first_error(other.run(query("execute p1")))["C"] == "26000"
        assert types(w.run(*deallocate("p1"))) == "12CZ"


def test_psycopg3_evicts_prepared_statements(proxy):
    psycopg = pytest.importorskip("psycopg")
    p = proxy(database={"pool_size": 1})
    with psycopg.connect(p.dsn(), autocommit=True) as c:
        c.prepared_max = 2
        for i in range(12):
            assert c.execute(f"select {i % 4}, %s::int", (i,), prepare=True).fetchone() == (i % 4, i)


def test_an_error_skips_to_sync_and_undoes_a_skipped_parse(open_gear):
    with login(open_gear) as w:
        replies = w.run(parse("", "select 1 / (id - 1) from t where id = 1"), bind("", ""), execute(),
                        parse("later", "select 1"), sync())
        assert types(replies) == "12EZ" and first_error(replies)["C"] == "22012"
        assert first_error(w.run(bind("", "later"), sync()))["C"] == "26000"
        assert types(w.run(parse("later", "select 1"), sync())) == "1Z"


@pytest.mark.core
def test_flush_answers_without_sync(open_gear):
    with login(open_gear) as w:
        w.send(parse("f", "select id from t where id = $1", (23,)), describe("S", "f"),
               message("H"))
        assert types([w.recv() for _ in range(3)]) == "1tT"
        assert types(w.run(bind("", "f", ["3"]), execute(), sync())) == "2DCZ"


def prepare_on_a_replica(w):
    """Parse, Describe, Flush, and no Sync: as asyncpg prepares."""
    w.send(parse("held", "select id from t where id = 1"), describe("S", "held"), message("H"))
    assert types([w.recv() for _ in range(3)]) == "1tT"


@pytest.mark.core
@pytest.mark.parametrize("sql, answer", [
    ("update t set v = v where id = 1 /*unsynced*/", "CZ"),
    ("select id from t where id = 1 for update /*unsynced*/", "TDCZ"),
    ("begin; update t set v = v where id = 1 /*unsynced*/; commit", "CCCZ"),
])
def test_what_follows_a_flushed_parse_goes_where_it_belongs(cluster, open_gear, sql, answer):
    with login(open_gear) as w:
        for _ in range(4):
            prepare_on_a_replica(w)
            assert types(w.run(query(sql))) == answer
            assert types(w.run(close("S", "held"), sync())) == "3Z"
    assert cluster.saw("unsynced") == {"p1": 4}


def test_a_block_or_a_setting_of_ours_may_follow_a_flushed_parse(open_gear):
    with login(open_gear) as w:
        prepare_on_a_replica(w)
        assert types(w.run(query("begin"))) == "CZ"
        assert types(w.run(query("update t set v = v where id = 1"))) == "CZ"
        assert types(w.run(query("commit"))) == "CZ"
        w.run(close("S", "held"), sync())
        prepare_on_a_replica(w)
        assert types(w.run(query("show switchgear.last_route"))) == "TDCZ"
        assert types(w.run(bind("", "held"), execute(), sync())) == "2DCZ"


def test_asyncpg_writes_after_it_prepared_a_read(proxy):
    asyncpg = pytest.importorskip("asyncpg")
    p = proxy()

    async def main():
        for _ in range(5):
            c = await asyncpg.connect(p.dsn(), ssl=False)
            statement = await c.prepare("select count(*) from t")
            await c.execute("update t set v = v where id = 1")
            await c.prepare("select count(*) from log")
            async with c.transaction():
                await c.execute("update t set v = v where id = 2")
            assert await statement.fetchval() == 100
            await c.close()

    asyncio.run(main())


def test_a_portal_is_suspended_and_goes_on(open_gear):
    with login(open_gear) as w:
        w.run(query("begin"))
        replies = w.run(parse("", "select id from t order by id"), bind("c", ""), execute("c", 3),
                        sync())
        assert types(replies) == "12DDDsZ"
        assert types(w.run(execute("c", 2), sync())) == "DDsZ"
        w.run(query("commit"))
        assert first_error(w.run(execute("c", 2), sync()))["C"] == "34000"


def test_two_syncs_in_flight_get_two_answers(open_gear):
    with login(open_gear) as w:
        w.send(parse("", "select 1"), bind("", ""), execute(), sync(),
               parse("", "update t set v = v where id = 1"), bind("", ""), execute(), sync())
        assert types(w.recv_all()) == "12DCZ"
        assert types(w.recv_all()) == "12CZ"


def test_an_empty_query_gets_an_empty_answer(open_gear):
    with login(open_gear) as w:
        assert types(w.run(query(""))) == "IZ"
        assert types(w.run(query("/* nothing */;;"))) == "IZ"
        assert types(w.run(parse("", ""), bind("", ""), execute(), sync())) == "12IZ"


def test_many_statements_in_one_query_get_one_ready(open_gear):
    with login(open_gear) as w:
        assert types(w.run(query("select 1; select 2; update t set v = v where id = 1"))) == \
            "TDCTDCCZ"
        replies = w.run(query("insert into log (note) values ('x'); select 1 / 0"))
        assert types(replies) == "CEZ"
    assert one(open_gear.connect(), "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'x'") == 0


def test_parameter_types_are_part_of_a_statements_identity(open_gear):
    with login(open_gear) as a, login(open_gear) as b:
        int4, text = 23, 25
        for _ in range(3):
            replies = a.run(parse("", "select $1", (int4,)), bind("", "", ["7"]), describe("P", ""),
                            execute(), sync())
            assert replies[2][1][-12:-8] == int4.to_bytes(4, "big")
            replies = b.run(parse("", "select $1", (text,)), bind("", "", ["x"]), describe("P", ""),
                            execute(), sync())
            assert replies[2][1][-12:-8] == text.to_bytes(4, "big")


def test_more_statements_than_a_backend_keeps_still_work(proxy):
    psycopg = pytest.importorskip("psycopg")
    p = proxy(switchgear={"max_prepared_statements": 10}, database={"pool_size": 1})
    with psycopg.connect(p.dsn(), autocommit=True) as c:
        c.prepared_max = 200
        for _ in range(2):
            for i in range(50):
                found = c.execute(f"select {i} + %s::int /*lru{i}*/", (1,), prepare=True).fetchone()
                assert found == (i + 1,)


def test_a_session_may_name_ten_thousand_statements(open_gear):
    """Drivers close them when their garbage is collected, or never."""
    with login(open_gear) as w:
        for first in range(0, 10000, 500):
            w.send(b"".join(parse(f"s{i}", f"select {i}") for i in range(first, first + 500)), sync())
            assert types(w.recv_all()) == "1" * 500 + "Z"
        for i in (0, 4321, 9999):
            replies = w.run(bind("", f"s{i}"), execute(), sync())
            assert replies[1][1].endswith(str(i).encode())


def test_the_memory_of_a_sessions_statements_is_bounded(proxy):
    p = proxy(switchgear={"auth_type": "trust", "client_prepared_memory": "64kB"},
              database={"user": "app", "password": "app-secret"})
    with login(p) as w, login(p) as other:
        pad = "x" * 1000
        replies, count = w.run(parse("s0", f"select 0 /* {pad} */"), sync()), 1
        while types(replies) == "1Z" and count < 100:
            replies = w.run(parse(f"s{count}", f"select {count} /* {pad} */"), sync())
            count += 1
        error = first_error(replies)
        assert error["C"] == "54000" and "client_prepared_memory" in error["H"]
        assert 30 < count < 60
        assert types(other.run(parse("s0", "select 1"), sync())) == "1Z"  # each has its own
        assert types(w.run(bind("", "s1"), execute(), sync())) == "2DCZ"
        assert types(w.run(close("S", "s1"), parse("s1", f"select 1 /* {pad} */"), sync())) == "31Z"
        p.admin("SET client_prepared_memory = '1MB'")
        assert types(w.run(parse("more", f"select 2 /* {pad} */"), sync())) == "1Z"


def test_prepared_statements_from_many_threads(proxy):
    psycopg = pytest.importorskip("psycopg")
    p = proxy(database={"pool_size": 3})
    errors = []

    def run(number):
        try:
            with psycopg.connect(p.dsn(), autocommit=True) as c:
                for i in range(50):
                    got = c.execute("select %s::int * 1000 + %s::int", (number, i),
                                    prepare=True).fetchone()[0]
                    assert got == number * 1000 + i
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_a_statement_prepared_by_one_client_is_unknown_to_another(open_gear):
    with login(open_gear) as a, login(open_gear) as b:
        assert types(a.run(parse("mine", "select 1"), sync())) == "1Z"
        assert first_error(b.run(bind("", "mine"), sync()))["C"] == "26000"


def test_a_parse_that_was_skipped_leaves_no_other_clients_statement_behind(proxy):
    """Pipelined: an error, the unnamed Parse that it skips, and behind a Sync a Bind of it."""
    p = proxy(switchgear={"auth_type": "trust", "workers": 1},
              database={"pool_size": 1, "user": "app", "password": "app-secret"})
    one_client, other = login(p), login(p)
    assert types(one_client.run(parse("", "insert into log (note) values ('not yours')"),
                                bind("", ""), execute(), sync())) == "12CZ"
    other.send(parse("n", "selec"), parse("", "select 1"), bind("", ""), execute(), sync(),
               bind("", ""), execute(), sync())
    assert types(other.recv_all()) == "EZ"
    replies = other.recv_all()
    assert types(replies) == "EZ" and first_error(replies)["C"] == "26000"
    assert one(p.connect(), "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'not yours'") == 1


def test_the_search_path_at_parse_time_counts(proxy):
    """The same text means two tables; the paths came with the start-up packets, so one backend
    serves both clients."""
    psycopg = pytest.importorskip("psycopg")
    p = proxy(database={"pool_size": 1})
    setup = p.connect()
    for schema, value in (("one", 1), ("two", 2)):
        rows_of(setup, f"create schema {schema}; create table {schema}.place (v int); "
                f"insert into {schema}.place values ({value})")
    try:
        a, b = (psycopg.connect(p.dsn(options=f"?options=-csearch_path%3D{path}"), autocommit=True)
                for path in ("one", "two"))
        for c in (a, b):
            c.execute("set switchgear.route = 'primary'")
        for _ in range(4):
            assert a.execute("select v from place", prepare=True).fetchone() == (1,)
            assert b.execute("select v from place", prepare=True).fetchone() == (2,)
        a.close()
        b.close()
    finally:
        rows_of(setup, "drop schema one cascade; drop schema two cascade")


def test_a_search_path_that_was_set_counts_too(proxy):
    """Both on one server: its statements are told apart by the path under which they were parsed."""
    psycopg = pytest.importorskip("psycopg")
    p = proxy(database={"pool_size": 2})
    setup = p.connect()
    for schema, value in (("one", 1), ("two", 2)):
        rows_of(setup, f"create schema {schema}; create table {schema}.place (v int); "
                f"insert into {schema}.place values ({value})")
    try:
        a, b = (psycopg.connect(p.dsn(), autocommit=True) for _ in range(2))
        for first, second in ((1, 2), (2, 1)):  # the second turn swaps the paths
            names = {1: "one", 2: "two"}
            a.execute(f"set search_path = {names[first]}")
            b.execute(f"set search_path = {names[second]}")
            for _ in range(6):
                assert a.execute("select v from place", prepare=True).fetchone() == (first,)
                assert b.execute("select v from place", prepare=True).fetchone() == (second,)
        a.close()
        b.close()
    finally:
        rows_of(setup, "drop schema one cascade; drop schema two cascade")
