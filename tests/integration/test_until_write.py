# SPDX-License-Identifier: PostgreSQL
"""transaction_reads = until_write: a plain block begins on a replica and moves once, to write."""
import psycopg
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import last_route, one, rows_of
from wire import Wire, bind, execute, parse, query, sync, types

pytestmark = pytest.mark.one_session


@pytest.fixture(name="gear2")
def a_proxy_that_begins_on_replicas(proxy):
    return proxy(database={"transaction_reads": "until_write", "pool_size": 4},
                 switchgear={"auth_type": "trust"})


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
    assert one(c, "select count(*) from t /*first*/") == 100
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
    assert "p1" not in cluster.saw("first")


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
        # a portal that is not at its end
        m = w.run(parse("", "select id from t order by id /*part*/"), bind("", ""), execute("", 2),
                  sync())
        assert types(m) == "12DDsZ"
        m = w.run(execute("", 2), sync())
        assert types(m) == "DDsZ"
        w.run(query("commit"))
    assert set(cluster.saw("part")) == {"p1"} and "p1" not in cluster.saw("small")


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
