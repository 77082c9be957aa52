# SPDX-License-Identifier: PostgreSQL
"""Where statements go, by the nodes' own logs: a marker in the text says who ran it."""
import io
import itertools

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import dicts_of, last_route, one, rows_of

_numbers = itertools.count(1)


def mark():
    return f"mk{next(_numbers)}x"


def where(cluster, connection, sql):
    """Runs `sql` with a marker; the set of node names that ran it."""
    m = mark()
    rows_of(connection, f"{sql} /*{m}*/")
    return set(cluster.saw(m))


def on_a_replica(nodes):
    return len(nodes) == 1 and nodes <= {"r1", "r2"}


READS = [
    "select 1",
    "select * from t where id = 7",
    "with x as (select id from t) select count(*) from x",
    "values (1), (2)",
    "table t",
    "(select 1) union all (select 2)",
    "explain select * from t",
    "select now(), random()",
    "select pg_sleep(0.01)",
    "select 'for update; delete from t'",
    "select $$; insert into t values (1, 1)$$",
    "/* leading /* nested */ comment */ select count(*) from t",
    'select "update" from (select 1 as "update") q',
    "select count(*) from pgbench_accounts a join t on t.id = a.aid",
    "select coalesce(max(v), 0), upper('x'), jsonb_build_object('a', 1) from t",
]

WRITES = [
    "insert into log (note) values ('routed')",
    "update t set v = v where id = 1",
    "delete from t where id = -1",
    "select * from t where id = 1 for update",
    "select * from t where id = 1 for share",
    "select * from (select * from t where id = 1 for key share) q",
    "with x as (insert into log (note) values ('cte') returning id) select * from x",
    "select nextval('ticket')",
    "select last_value from ticket",
    "select txid_current()",
    "select pg_advisory_xact_lock(42)",
    "explain analyze insert into log (note) values ('explained')",
    "do $$ begin perform 1; end $$",
    "call note('called')",
    "select do_note('function')",
    "select pg_is_in_recovery()",
    "select count(*) from pg_class",
    "select count(*) from information_schema.tables",
    "select pg_backend_pid()",
    "vacuum t",
    "analyze t",
    "notify nobody",
    "comment on table t is 'routed'",
    "truncate scratch",
    "insert into scratch values (1)",
    "merge into t using (select 1 as id) s on t.id = s.id when matched then do nothing",
    "create table if not exists made (id int)",
    "select 1; update t set v = v where id = 1",
]


@pytest.mark.core
@pytest.mark.parametrize("sql", READS)
def test_a_read_runs_on_one_replica(cluster, session, sql):
    assert on_a_replica(where(cluster, session, sql))


@pytest.mark.core
@pytest.mark.parametrize("sql", WRITES)
def test_anything_else_runs_on_the_primary_alone(cluster, session, sql):
    assert where(cluster, session, sql) == {"p1"}


def test_reads_spread_over_the_replicas(cluster, gear):
    m = mark()
    for _ in range(40):
        connection = gear.connect()
        one(connection, f"select 1 /*{m}*/")
        connection.close()
    seen = cluster.saw(m)
    assert sum(seen.values()) == 40 and set(seen) == {"r1", "r2"}


def test_copy_goes_by_its_direction(cluster, session):
    out, into = mark(), mark()
    with session.cursor() as cursor:
        buffer = io.StringIO()
        cursor.copy_expert(f"copy t to stdout /*{out}*/", buffer)
        assert len(buffer.getvalue().splitlines()) == 100
        cursor.copy_expert(f"copy log (note) from stdin /*{into}*/", io.StringIO("a\nb\nc\n"))
        assert cursor.rowcount == 3
    assert on_a_replica(set(cluster.saw(out)))
    assert cluster.saw(into) == {"p1": 1}


@pytest.mark.core
def test_a_plain_block_stays_on_the_primary(cluster, session):
    rows_of(session, "begin")
    nodes = where(cluster, session, "select 1") | where(cluster, session, "update t set v = 1")
    rows_of(session, "rollback")
    assert nodes == {"p1"}


@pytest.mark.core
@pytest.mark.parametrize("begin", ["begin read only", "start transaction read only",
                                   "begin isolation level repeatable read read only"])
def test_a_read_only_block_runs_whole_on_one_replica(cluster, gear, begin):
    session = gear.connect()
    rows_of(session, begin)
    nodes = where(cluster, session, "select 1") | where(cluster, session, "select count(*) from t")
    rows_of(session, "commit")
    assert on_a_replica(nodes)


def test_set_transaction_read_only_chooses_a_replica(cluster, session):
    rows_of(session, "begin")
    rows_of(session, "set transaction read only")
    nodes = where(cluster, session, "select count(*) from t")
    rows_of(session, "commit")
    assert on_a_replica(nodes)


def test_a_write_in_a_read_only_block_gets_25006(session):
    rows_of(session, "begin read only")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(session, "update t set v = 1")
    rows_of(session, "rollback")
    assert caught.value.pgcode == "25006"


@pytest.mark.invariant
def test_a_read_only_block_takes_no_lock_on_a_replica(cluster, session):
    lock = "select pg_advisory_xact_lock(4711)"
    rows_of(session, "begin read only")
    assert where(cluster, session, lock) == {"p1"}
    rows_of(session, "rollback")
    rows_of(session, "begin read only")
    assert on_a_replica(where(cluster, session, "select 1"))
    assert where(cluster, session, lock) == {"p1"}
    rows_of(session, "rollback")
    for sql in ("lock table t in share mode", "notify nobody", "select txid_current()"):
        rows_of(session, "begin read only")
        assert where(cluster, session, sql) == {"p1"}
        rows_of(session, "commit")


def test_an_unlogged_table_is_read_in_a_read_only_block(session):
    for _ in range(2):
        rows_of(session, "begin read only")
        assert one(session, "select count(*) + 7 from scratch") >= 7
        rows_of(session, "commit")


def test_serializable_read_only_goes_to_the_primary(cluster, session):
    rows_of(session, "begin isolation level serializable read only")
    nodes = where(cluster, session, "select 1")
    rows_of(session, "commit")
    assert nodes == {"p1"}


def test_a_failed_block_answers_25P02_until_rollback(session):
    rows_of(session, "begin")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(session, "select 1 / 0")
    assert caught.value.pgcode == "22012"
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(session, "select 1")
    assert caught.value.pgcode == "25P02"
    rows_of(session, "rollback")
    assert one(session, "select 1") == 1


def test_savepoints_work(session):
    rows_of(session, "begin")
    rows_of(session, "savepoint s")
    with pytest.raises(psycopg2.Error):
        rows_of(session, "insert into t values (1, 1)")
    rows_of(session, "rollback to savepoint s")
    assert one(session, "select count(*) from t") == 100
    rows_of(session, "commit")


def test_an_empty_block_costs_no_server_anything(cluster, session):
    before = cluster.primary.psql("select count(*) from pg_stat_activity where state like 'idle in%'")
    rows_of(session, "begin")
    assert cluster.primary.psql(
        "select count(*) from pg_stat_activity where state like 'idle in%'") == before
    rows_of(session, "commit")


def test_an_unlogged_table_is_read_from_the_primary(cluster, session):
    rows_of(session, "select count(*) from scratch")
    assert last_route(session)["role"] == "primary"


@pytest.mark.core
def test_a_read_that_a_replica_refuses_is_replayed_on_the_primary_unseen(cluster, gear):
    for _ in range(3):
        session = gear.connect()
        assert one(session, "select stable_liar('learned')") == 1
        assert last_route(session)["role"] == "primary"
    assert cluster.primary.psql("select count(*) from log where note = 'learned'",
                                APP_DATABASE) == [(3,)]


def test_an_error_of_a_read_is_the_servers_own(session):
    with pytest.raises(psycopg2.Error) as caught:
        one(session, "select no_such_column from t")
    assert caught.value.pgcode == "42703"
    with pytest.raises(psycopg2.Error) as caught:
        one(session, "selekt 1")
    assert caught.value.pgcode == "42601"
    assert one(session, "select 1") == 1


@pytest.mark.core
def test_the_hint_primary_takes_one_read_to_the_primary(cluster, session):
    assert where(cluster, session, "/* switchgear: route=primary */ select 1") == {"p1"}
    assert where(cluster, session, "select 1 /*route='primary'*/") == {"p1"}
    assert on_a_replica(where(cluster, session, "select 1"))


def test_hints_are_comments_where_they_are_off(proxy):
    p = proxy(database={"hints": "off"})
    c = p.connect()
    for hint in ("/* switchgear: route=primary */ ", "/*route='primary'*/ "):
        wait_until(lambda h=hint: one(c, h + "select 1") and last_route(c)["role"] == "replica", 10, "it is a read")
        assert last_route(c)["reason"] != "hint"
    p.write_config(database={"hints": "on"})
    p.admin("RELOAD")
    wait_until(lambda: one(c, "/* switchgear: route=primary */ select 1") and last_route(c)["reason"] == "hint", 10,
               "they are obeyed")
    p.write_config(database={"hints": "off"})
    p.admin("RELOAD")
    wait_until(lambda: one(c, "/* switchgear: route=primary */ select 1") and last_route(c)["role"] == "replica", 10,
               "they are not, though the same text was known")


def test_the_hint_replica_frees_an_unknown_function_but_never_a_write(cluster, session):
    cluster.primary.psql("create or replace function harmless() returns int language plpgsql "
                         "volatile as 'begin return 1; end'", APP_DATABASE)
    cluster.wait_replicated()
    hinted = "/* switchgear: route=replica */ "
    assert on_a_replica(where(cluster, session, hinted + "select harmless()"))
    assert where(cluster, session, hinted + "update t set v = v where id = 1") == {"p1"}
    assert where(cluster, session, hinted + "select * from t for update") == {"p1"}


@pytest.mark.core
def test_last_route_tells_node_verdict_and_reason(cluster, session):
    m = mark()
    one(session, f"select 1 /*{m}*/")
    route = last_route(session)
    assert list(route)[:5] == ["node", "role", "verdict", "reason", "lag_ms"]
    assert {route["node"]} == set(cluster.saw(m))
    assert (route["role"], route["verdict"], route["reason"]) == ("replica", "read", "select")
    rows_of(session, "update t set v = v where id = 1")
    route = last_route(session)
    assert (route["node"], route["role"], route["verdict"]) == ("p1", "primary", "write")
    assert route["reason"] == "dml"


def test_explain_route_says_where_without_running(cluster, session):
    m = mark()
    rows = dicts_of(session, f"explain (route) update t set v = -1 /*{m}*/")
    assert cluster.saw(m) == {}
    assert rows[0]["role"] == "primary" and rows[0]["reason"] == "dml"
    rows = dicts_of(session, "EXPLAIN (ROUTE) select * from t")
    assert rows[0]["role"] == "replica" and rows[0]["verdict"] == "read"


@pytest.mark.core
def test_set_route_overrides_for_the_session(cluster, session):
    rows_of(session, "set switchgear.route = 'primary'")
    assert where(cluster, session, "select 1") == {"p1"}
    assert last_route(session)["reason"] == "forced"
    rows_of(session, "set switchgear.route = 'auto'")
    assert on_a_replica(where(cluster, session, "select 1"))
    rows_of(session, "set switchgear.route = 'replica'")
    assert where(cluster, session, "update t set v = v where id = 1") == {"p1"}
    rows_of(session, "reset switchgear.route")
    assert one(session, "show switchgear.route") == "auto"


def test_set_consistency_is_shown_and_checked(cluster, session):
    assert one(session, "show switchgear.consistency") == "session"
    rows_of(session, "set switchgear.consistency = 'primary'")
    assert one(session, "show switchgear.consistency") == "primary"
    assert where(cluster, session, "select 1") == {"p1"}
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(session, "set switchgear.consistency = 'sometimes'")
    assert caught.value.pgcode == "22023"
    assert one(session, "show switchgear.consistency") == "primary"


def test_start_up_options_set_the_consistency(cluster, gear):
    session = gear.connect(options="-c switchgear.consistency=primary")
    assert where(cluster, session, "select 1") == {"p1"}


def test_set_local_lasts_for_the_transaction(session):
    rows_of(session, "begin")
    rows_of(session, "set local switchgear.consistency = 'eventual'")
    assert one(session, "show switchgear.consistency") == "eventual"
    rows_of(session, "commit")
    assert one(session, "show switchgear.consistency") == "session"


def test_show_routes_counts_by_target_verdict_and_reason(gear):
    before = gear.routes()
    session = gear.connect()
    for _ in range(5):
        one(session, "select 1")
    rows_of(session, "update t set v = v where id = 1")
    after = gear.routes()

    def grown(*key):
        return after.get(key, 0) - before.get(key, 0)

    assert grown("replica", "read", "select") == 5
    assert grown("primary", "write", "dml") == 1


def test_ten_thousand_rows_arrive_whole(session):
    rows = rows_of(session, "select i, repeat('x', 100) from generate_series(1, 10000) i")
    assert [r[0] for r in rows] == list(range(1, 10001))


def test_a_value_of_twenty_megabytes_passes_both_ways(session):
    assert one(session, "select length(%s)", ("y" * 20_000_000,)) == 20_000_000
    assert len(one(session, "select repeat('z', 20000000)")) == 20_000_000
