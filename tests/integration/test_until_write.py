# SPDX-License-Identifier: PostgreSQL
"""transaction_reads = until_write: a plain block begins on a replica and moves once, to write."""
import asyncio

import asyncpg
import psycopg
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import last_route, one, rows_of
from wire import (Wire, bind, describe, execute, first_error, message, parse, query, sync,
                  types)

pytestmark = pytest.mark.one_session


@pytest.fixture(name="gear2")
def a_proxy_that_begins_on_replicas(proxy):
    p = proxy(database={"transaction_reads": "until_write", "pool_size": 4},
              switchgear={"auth_type": "trust"})
    p.connect().close()  # so that the names are known
    return p


def moved(p):
    return int(p.metric("switchgear_blocks_moved_total"))


@pytest.mark.core
def test_a_block_that_only_reads_stays_on_its_replica(cluster, gear2):
    c = gear2.connect(autocommit=False)
    for _ in range(3):
        assert one(c, "select count(*) from t /*early*/") == 100
        assert one(c, "select sum(v) from t /*early*/") is not None
        c.commit()
    seen = cluster.saw("early")
    assert "p1" not in seen and sum(seen.values()) == 6
    assert moved(gear2) == 0


DOUBTS = ["select doubted()", "select count(*) from pg_stat_activity", "select pg_is_in_recovery()", "select txid_current()",
          "select currval('log_id_seq')", "select * from doubt", "explain analyze select doubted()",
          "select pg_backend_pid()", "call doubted_too()", "do 'begin perform doubted(); end'"]


@pytest.mark.invariant
@pytest.mark.parametrize("how", ["a setting", "a hint"])
def test_a_block_may_begin_on_a_replica_with_what_the_client_wants_there(cluster, gear2, how):
    """It was in doubt: the client has said that it reads. Whatever comes of that, the next write is written."""
    cluster.primary.psql("create or replace function doubted() returns int language plpgsql volatile as 'begin return 1; "
                         "end'; create or replace view doubt as select doubted(); create or replace procedure doubted_too() "
                         "language plpgsql as 'begin perform doubted(); end'; grant select on doubt to public", APP_DATABASE)
    cluster.wait_replicated()
    c = gear2.connect()
    rows_of(c, f"set switchgear.route = {'replica' if how == 'a setting' else 'auto'}")
    hint = "/* switchgear: route=replica */ " if how == "a hint" else ""
    for sql in DOUBTS * 3:
        rows_of(c, "begin")
        try:
            rows_of(c, hint + sql)
            rows_of(c, "insert into log (note) values ('after a doubt')")
            rows_of(c, "commit")
        except psycopg2.Error as error:
            assert error.pgcode in ("55000", "25006", "0A000"), (sql, error)
            rows_of(c, "rollback")
    gear2.insist_alive()
    written = one(c, "/* switchgear: route=primary */ select count(*) from log where note = 'after a doubt'")
    assert written >= len(DOUBTS)


@pytest.mark.core
@pytest.mark.invariant
def test_a_block_moves_before_its_first_write_and_only_then(cluster, gear2):
    for value in (7, 8):
        c = gear2.connect(autocommit=False)  # another one: no write of its own is too recent
        assert one(c, "select count(*) from t /*before*/") == 100
        rows_of(c, f"update t set v = {value} where id = 1")
        assert one(c, "select v from t where id = 1 /*after*/") == value
        assert last_route(c)["reason"] == "in_write_transaction"
        c.commit()
        wait_until(lambda v=value: one(c, "select v from t where id = 1") == v, 5, "it is there")
        c.commit()
    assert "p1" not in cluster.saw("before") and set(cluster.saw("after")) == {"p1"}
    wait_until(lambda: moved(gear2) == 2, 5, "two were counted")
    rows_of(c, "update t set v = 0 where id = 1")
    c.rollback()
    assert one(c, "select v from t where id = 1") == 8


def test_set_local_and_savepoints_are_said_again_on_the_primary(cluster, gear2):
    c = gear2.connect()
    rows_of(c, "begin")
    rows_of(c, "set local work_mem = '7MB'")
    assert one(c, "select count(*) from t /*read_at_first*/") == 100
    rows_of(c, "savepoint one")
    rows_of(c, "set local work_mem = '8MB'")
    rows_of(c, "rollback to one")
    rows_of(c, "savepoint two")
    assert one(c, "show work_mem") == "7MB"
    rows_of(c, "insert into log (note) values ('moved')")
    assert one(c, "show work_mem") == "7MB"
    rows_of(c, "rollback to two")
    rows_of(c, "insert into log (note) values ('kept')")
    rows_of(c, "rollback to one; release one")
    assert one(c, "select count(*) from log where note in ('moved', 'kept')") == 0
    rows_of(c, "commit")
    assert one(c, "show work_mem") == "4MB"
    assert "p1" not in cluster.saw("read_at_first")


def test_what_would_live_on_the_replica_moves_the_block_first(cluster, gear2):
    c = gear2.connect()
    rows_of(c, "set switchgear.consistency = 'eventual'")
    for sql, marker in (("declare d cursor for select 1 /*xcursor*/", "xcursor"),
                        ("select pg_advisory_xact_lock(1) /*xlock*/", "xlock"),
                        ("select 1 from t for share /*xshare*/", "xshare"),
                        ("set work_mem = '5MB' /*xset*/", "xset")):
        rows_of(c, "begin")
        one(c, "select count(*) from t")
        assert last_route(c)["role"] == "replica"
        rows_of(c, sql)
        assert last_route(c)["role"] == "primary"
        rows_of(c, "commit")
        assert set(cluster.saw(marker)) == {"p1"}
    assert one(c, "show work_mem") == "5MB"
    with Wire(gear2.port) as w:
        w.login(APP_USER, APP_DATABASE)
        w.run(query("begin"))
        w.run(query("select 1 /*small*/"))
        # a portal that is not at its end, and has a name
        m = w.run(parse("", "select id from t order by id /*part*/"), bind("C_1", ""),
                  execute("C_1", 2), sync())
        assert types(m) == "12DDsZ"
        m = w.run(execute("C_1", 2), sync())
        assert types(m) == "DDsZ"
        w.run(query("commit"))
    assert set(cluster.saw("part")) == {"p1"} and "p1" not in cluster.saw("small")


def test_an_unnamed_portal_is_read_in_parts_on_the_primary(cluster, gear2):
    """Whatever comes between two parts; see test_until_write_cursors.py."""
    with Wire(gear2.port) as w:
        w.login(APP_USER, APP_DATABASE)
        w.run(query("begin"))
        m = w.run(parse("", "select id from t order by id /*some*/"), bind("", ""), execute("", 2),
                  sync())
        assert types(m) == "12DDsZ"
        m = w.run(execute("", 2), sync())
        assert types(m) == "DDsZ" and m[0][1].endswith(b"3") and m[1][1].endswith(b"4")
        w.send(parse("u", "update t set v = 41 where id = 10 /*write*/"), describe("S", "u"),
               message("H"))
        assert types(w.recv_all("n")) == "1tn"
        m = w.run(execute("", 2), sync())
        assert types(m) == "DDsZ" and m[0][1].endswith(b"5")
        assert types(w.run(bind("", "u"), execute(), sync())) == "2CZ"
        m = w.run(parse("", "select v from t where id = 10"), bind("", ""), execute(), sync())
        assert m[2][1].endswith(b"41")
        w.run(query("commit"))
    assert set(cluster.saw("some")) == {"p1"}
    assert moved(gear2) == 0


def test_other_levels_and_declared_blocks_are_as_they_were(cluster, gear2):
    c = gear2.connect()
    for begin in ("begin isolation level repeatable read", "begin isolation level serializable",
                  "begin read write"):
        rows_of(c, begin)
        one(c, "select count(*) from t /*strict*/")
        rows_of(c, "commit")
    assert set(cluster.saw("strict")) == {"p1"}
    rows_of(c, "set default_transaction_isolation = 'repeatable read'")
    rows_of(c, "begin")
    one(c, "select count(*) from t /*default*/")
    rows_of(c, "commit")
    assert set(cluster.saw("default")) == {"p1"}
    rows_of(c, "reset default_transaction_isolation")
    rows_of(c, "begin read only")
    one(c, "select count(*) from t /*declared*/")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(c, "update t set v = 1 where id = 1")
    assert caught.value.pgcode == "25006"
    rows_of(c, "rollback")
    assert "p1" not in cluster.saw("declared")


@pytest.mark.invariant
def test_a_read_that_a_replica_refuses_moves_its_block(cluster, gear2):
    """Its text says read, what it calls writes."""
    c = gear2.connect()
    rows_of(c, "create or replace view sly as select stable_liar('sly') as n")
    cluster.wait_replicated()
    gear2.wait_names(c)
    rows_of(c, "set switchgear.consistency = 'eventual'")
    rows_of(c, "begin")
    one(c, "select count(*) from t")
    assert last_route(c)["role"] == "replica"
    assert one(c, "select n from sly") == 1
    rows_of(c, "commit")
    assert one(c, "/* switchgear: route=primary */ select count(*) from log where note = 'sly'") == 1
    rows_of(c, "drop view sly")


def test_a_failed_block_stays_failed_where_it_is(gear2):
    c = gear2.connect()
    rows_of(c, "begin")
    one(c, "select count(*) from t")
    with pytest.raises(psycopg2.Error):
        rows_of(c, "select 1/0")
    for sql in ("select 1", "update t set v = 5 where id = 2"):
        with pytest.raises(psycopg2.Error) as caught:
            rows_of(c, sql)
        assert caught.value.pgcode == "25P02"
    rows_of(c, "rollback")
    rows_of(c, "update t set v = v where id = 2")


@pytest.mark.parametrize("begins, value", {
    "rollback to sp; update t set v = 41 where id = 9": 41,
    "/* x */ rollback to sp; select 1; update t set v = 42 where id = 9": 42,
    "rollback; update t set v = 43 where id = 9": 43,
    "abort; begin; update t set v = 44 where id = 9": 44,
}.items())
def test_a_string_that_revives_a_failed_block_moves_it_to_write(cluster, gear2, begins, value):
    with Wire(gear2.port) as w:
        w.login(APP_USER, APP_DATABASE)
        for text in ("begin", "select count(*) from t", "savepoint sp"):
            w.run(query(text))
        assert first_error(w.run(query("select 1 / 0 from t where id = 1")))["C"] == "22012"
        assert first_error(w.run(query(begins))) is None
        w.run(query("commit"))
    assert cluster.primary.psql("select v from t where id = 9", APP_DATABASE) == [(value,)]


@pytest.mark.parametrize("text", ["select 1; rollback to sp; update t set v = 45 where id = 9",
                                  "update t set v = 46 where id = 9", "rollback to sp2; delete from t"])
def test_a_string_that_does_not_is_refused_as_ever(cluster, gear2, text):
    before = cluster.primary.psql("select v from t where id = 9", APP_DATABASE)
    with Wire(gear2.port) as w:
        w.login(APP_USER, APP_DATABASE)
        for sql in ("begin", "savepoint sp", "select count(*) from t", "select 1 / 0 from t where id = 1"):
            w.run(query(sql))
        error = first_error(w.run(query(text)))
        assert error["C"] == ("3B001" if "sp2" in text else "25P02")
        w.run(query("commit"))
    assert cluster.primary.psql("select v from t where id = 9", APP_DATABASE) == before


def test_a_block_survives_the_replica_that_it_read_from(cluster, gear2):
    c = gear2.connect()
    rows_of(c, "begin")
    one(c, "select count(*) from t")
    node = last_route(c)["node"]
    cluster.node(node).psql("select pg_terminate_backend(pid) from pg_stat_activity "
                            f"where usename = '{APP_USER}'")
    assert one(c, "select count(*) from t") == 100
    rows_of(c, "update t set v = v where id = 3")
    rows_of(c, "commit")


@pytest.mark.invariant
def test_a_write_of_ones_own_is_read_in_the_next_block(gear2):
    c = gear2.connect(autocommit=False)
    for value in range(20):
        one(c, "select count(*) from t")
        rows_of(c, f"update t set v = {value} where id = 4")
        c.commit()
        assert one(c, "select v from t where id = 4") == value
        c.commit()


def test_prepared_statements_go_along(gear2):
    with psycopg.connect(gear2.dsn(), prepare_threshold=0) as c:
        for value in (1, 2):
            for _ in range(2):
                assert c.execute("select count(*) from t where id <= %s", (50,)).fetchone() == (50,)
            c.execute("update t set v = %s where id = 5", (value,))
            assert c.execute("select v from t where id = %s", (5,)).fetchone() == (value,)
            c.commit()


# ---- BEGIN in the extended protocol, and what else drivers do in their blocks ----

@pytest.mark.core
def test_psycopg_3_reads_its_blocks_on_replicas(cluster, gear2):
    """Its BEGIN, SAVEPOINT and COMMIT are Parse, Bind, Describe, Execute, Sync."""
    with psycopg.connect(gear2.dsn()) as c:
        for n in range(8):
            row = c.execute("select count(*) from t where id > %s /*three*/", (n,)).fetchone()
            assert row == (100 - n,)
            with c.transaction():
                assert c.execute("select 1 /*three*/").fetchone() == (1,)
            c.commit()
        with c.transaction():
            with pytest.raises(psycopg.Error), c.transaction():
                c.execute("select 1/0 /*three*/")
            assert c.execute("select 2 /*three*/").fetchone() == (2,)
    seen = cluster.saw("three")
    assert "p1" not in seen and sum(seen.values()) >= 18
    assert moved(gear2) == 0
    assert gear2.routed_to("proxy", "transaction") >= 9  # each BEGIN


@pytest.mark.core
@pytest.mark.invariant
def test_a_block_of_psycopg_3_moves_with_its_savepoints(cluster, gear2):
    with psycopg.connect(gear2.dsn()) as c:
        assert c.execute("select count(*) from t where id > %s /*far*/", (0,)).fetchone() == (100,)
        c.execute("set local work_mem = '7MB'")
        with c.transaction() as inner:
            c.execute("select 1 /*far*/")
            c.execute("update t set v = %s where id = 6", (-1,))
            assert c.execute("select v from t where id = %s /*near*/", (6,)).fetchone() == (-1,)
            raise psycopg.Rollback(inner)
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        assert c.execute("select v from t where id = %s /*near*/", (6,)).fetchone() != (-1,)
        c.execute("update t set v = %s where id = 6", (2,))
        c.commit()
        assert c.execute("select v from t where id = 6").fetchone() == (2,)
    assert "p1" not in cluster.saw("far") and set(cluster.saw("near")) == {"p1"}
    wait_until(lambda: moved(gear2) == 1, 5, "it was counted")


@pytest.mark.invariant
def test_a_pipeline_moves_in_the_middle(cluster, gear2):
    """A result is fetched in the pipeline: Flush comes, and no Sync."""
    with psycopg.connect(gear2.dsn()) as c:
        with c.pipeline():
            assert c.execute("select count(*) from t /*pipe1*/").fetchone() == (100,)
            assert c.execute("select sum(id) from t /*pipe1*/").fetchone() == (5050,)
            c.execute("update t set v = 11 where id = 7")
            assert c.execute("select v from t where id = 7 /*pipe2*/").fetchone() == (11,)
        c.commit()
        c.execute("set switchgear.route = 'primary'")
        assert c.execute("select v from t where id = 7").fetchone() == (11,)
    assert "p1" not in cluster.saw("pipe1") and set(cluster.saw("pipe2")) == {"p1"}
    wait_until(lambda: moved(gear2) == 1, 5, "it was counted")


@pytest.mark.core
def test_asyncpg_reads_its_blocks_on_replicas_and_moves_them(cluster, gear2):
    """It looks at a statement (Parse, Describe, Flush) before it binds it."""
    async def go():
        c = await asyncpg.connect(host="127.0.0.1", port=gear2.port, user=APP_USER,
                                  password=APP_PASSWORD, database=APP_DATABASE, ssl=False)
        for n in range(5):
            async with c.transaction():
                assert await c.fetchval("select count(*) from t where id > $1 /*apg1*/", n) == 100 - n
                async with c.transaction():
                    assert await c.fetchval("select $1::int /*apg1*/", n) == n
        async with c.transaction():
            await c.fetchval("select count(*) from t where id > $1 /*apg1*/", 50)
            await c.execute("update t set v = $1 where id = 8", 21)
            assert await c.fetchval("select v from t where id = $1 /*apg2*/", 8) == 21
        assert await c.fetchval("select v from t where id = $1", 8) == 21
        await c.close()

    asyncio.run(go())
    assert "p1" not in cluster.saw("apg1") and set(cluster.saw("apg2")) == {"p1"}
    wait_until(lambda: moved(gear2) == 1, 5, "it was counted")


def test_begin_and_its_first_statement_in_one_batch(cluster, gear2):
    """As JDBC sends them; tests/drivers has the real one."""
    begin = (parse("", "BEGIN"), bind("", ""), execute())
    named = (parse("S_1", "BEGIN"), bind("", "S_1"), execute())
    with Wire(gear2.port) as w:
        w.login(APP_USER, APP_DATABASE)
        for opened in (begin, named, (bind("", "S_1"), execute())):
            answer = w.run(*opened, parse("", "select count(*) from t /*jay*/"), bind("", ""),
                           describe("P", ""), execute(), sync())
            assert types(answer).lstrip("1").endswith("TDCZ") and answer[-1][1] == b"T"
            assert w.run(parse("", "commit"), bind("", ""), execute("", 1), sync())[-1][1] == b"I"
        # nothing can follow the reads of a block that ends with them
        answer = w.run(*begin, parse("", "select count(*) from t /*jay*/"), bind("", ""), execute(),
                       parse("", "commit"), bind("", ""), execute("", 1), sync())
        assert types(answer) == "12C12DC12CZ" and answer[-1][1] == b"I"
        answer = w.run(bind("", "S_1"), execute(), parse("", "update t set v = 31 where id = 9 /*bee*/"),
                       bind("", ""), execute("", 1), sync())
        assert types(answer) == "2C12CZ" and answer[-1][1] == b"T"
        w.run(query("commit"))
        # an error behind a BEGIN of ours fails its block
        answer = w.run(*begin, parse("", "select 1/0"), bind("", ""), execute(), sync())
        assert types(answer) == "12C1EZ" and answer[-1][1] == b"E"
        assert types(w.run(parse("", "rollback"), bind("", ""), execute(), sync())) == "12CZ"
    assert "p1" not in cluster.saw("jay") and set(cluster.saw("bee")) == {"p1"}
    assert moved(gear2) == 0


# ---- a replica that does no longer ----

@pytest.mark.invariant
def test_no_block_reads_behind_its_sessions_write(cluster, gear2):
    """Replay stands still: whatever a replica shows is old."""
    with psycopg.connect(gear2.dsn()) as c:
        assert c.execute("select count(*) from t").fetchone() == (100,)
        c.commit()
        for node in cluster.replicas:
            node.pause_replay()
        try:
            for value in range(60, 65):
                c.execute("update t set v = %s where id = 11", (value,))
                c.commit()
                for _ in range(2):
                    assert c.execute("select v from t where id = %s", (11,)).fetchone() == (value,)
                with c.transaction():
                    assert c.execute("select v from t where id = 11").fetchone() == (value,)
                c.commit()
        finally:
            for node in cluster.replicas:
                node.resume_replay()


def test_a_block_leaves_a_replica_that_is_drained(gear2):
    c = gear2.connect()
    rows_of(c, "set switchgear.consistency = 'eventual'")
    rows_of(c, "begin")
    one(c, "select count(*) from t")
    node = last_route(c)["node"]
    assert last_route(c)["role"] == "replica"
    rows_of(c, "savepoint one")
    gear2.admin(f"DRAIN {node}")
    try:
        def elsewhere():
            one(c, "select count(*) from t")
            return last_route(c)["node"] != node

        wait_until(elsewhere, 5, "the block is elsewhere")
        rows_of(c, "rollback to one")
        rows_of(c, "commit")
    finally:
        gear2.admin(f"UNDRAIN {node}")


def test_a_level_asked_for_within_a_block_counts(gear2):
    c = gear2.connect()
    rows_of(c, "begin")
    one(c, "select count(*) from t")
    assert last_route(c)["role"] == "replica"
    rows_of(c, "set local switchgear.consistency = 'primary'")
    one(c, "select count(*) from t")
    assert (last_route(c)["role"], last_route(c)["reason"]) == ("primary", "consistency")
    rows_of(c, "commit")
    one(c, "select count(*) from t")
    assert last_route(c)["role"] == "replica"


@pytest.mark.parametrize("begin", ["begin", "begin read only"])
@pytest.mark.parametrize("reads", [[], ["select count(*) from t"], ["savepoint a", "select 1"]])
def test_a_block_is_prepared_on_the_primary(cluster, proxy, begin, reads):
    """A standby refuses PREPARE TRANSACTION; the block may have begun on one."""
    p = proxy(database={"transaction_reads": "until_write"})
    s = p.connect()
    for sql in [begin, *reads, "prepare transaction 'held'"]:
        rows_of(s, sql)
    assert one(s, "/* switchgear: route=primary */ select count(*) from pg_prepared_xacts") == 1
    rows_of(s, "rollback prepared 'held'")
    assert one(s, "/* switchgear: route=primary */ select count(*) from pg_prepared_xacts") == 0


def test_what_was_prepared_is_seen_when_it_is_committed(proxy):
    p = proxy(database={"transaction_reads": "until_write"})
    s = p.connect()
    for sql in ["begin", "select 1", "insert into log (note) values ('prepared')",
                "prepare transaction 'note'"]:
        rows_of(s, sql)
    assert one(s, "select count(*) from log where note = 'prepared'") == 0
    rows_of(s, "commit prepared 'note'")
    assert one(s, "select count(*) from log where note = 'prepared'") == 1
