# SPDX-License-Identifier: PostgreSQL
"""What pins a session is undone piece by piece; the server is asked what is left of it."""
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import one, rows_of
from test_pins import pins
from wire import Wire, bind, execute, parse, query, sync, types

pytestmark = pytest.mark.one_session


def pinned_by(p):
    return {reason for reason, count in pins(p).items() if count}


def comes_to(p, *reasons):
    wait_until(lambda: pinned_by(p) == set(reasons), 5, f"pinned by {reasons}, not {pinned_by(p)}")


def questions(p):
    return p.metric("switchgear_pins_asked_total")


LOCKS = [
    (["select pg_advisory_lock(1)"], ["select pg_advisory_unlock(1)"]),
    (["select pg_advisory_lock(1, 2)"], ["select pg_advisory_unlock(1, 2)"]),
    (["select pg_advisory_lock_shared(7)"], ["select pg_advisory_unlock_shared(7)"]),
    (["select pg_try_advisory_lock(8)"], ["begin", "select pg_advisory_unlock(8)", "commit"]),
    (["select pg_advisory_lock(i) from generate_series(1, 9) i"],
     ["select pg_advisory_unlock(i), 1 from generate_series(1, 9) i"]),
    (["select pg_advisory_lock(1)"],
     ["select pg_advisory_unlock_all(); close all; unlisten *; reset all"]),
]
REST = [
    (["listen a"], ["unlisten a"]),
    (["listen a"], ["begin", "unlisten *", "commit"]),
    (["create temp table x (id int)"], ["drop table x"]),
    (["create temp table x (id int)"], ["begin", "discard temp", "commit"]),
    (["create function pg_temp.f() returns int language sql as 'select 1'"],
     ["drop function pg_temp.f()"]),
    (["create temp view v as select 1"], ["drop view v"]),
    (["create temp sequence s"], ["drop sequence s"]),
    (["begin", "declare c cursor with hold for select 1", "commit"], ["close c"]),
    (["prepare p as select 1"], ["deallocate p"]),
    (["prepare p as select 1", "execute p"], ["begin", "deallocate p", "commit"]),
]


@pytest.mark.parametrize("binds, frees", LOCKS + REST,
                         ids=[f"{i}-{b[-1]}" for i, (b, _) in enumerate(LOCKS + REST)])
def test_a_pin_goes_with_its_counterpart(proxy, binds, frees):
    p = proxy()
    c = p.connect()
    for sql in binds:
        rows_of(c, sql)
    assert len(pinned_by(p)) == 1
    one(c, "select 1")
    assert len(pinned_by(p)) == 1
    for sql in frees:
        rows_of(c, sql)
    comes_to(p)
    assert one(c, "select 2") == 2


@pytest.mark.core
def test_a_lock_that_was_taken_twice_needs_two_unlocks(proxy):
    p = proxy()
    c, other = p.connect(), p.connect()
    for _ in range(2):
        rows_of(c, "select pg_advisory_lock(5)")
    assert one(c, "select pg_advisory_unlock(5)") is True
    assert one(c, "select pg_advisory_unlock(6)") is False
    for _ in range(3):
        one(other, "select 1")
        assert one(c, "select 1") == 1
    assert pinned_by(p) == {"advisory_lock"}
    assert one(other, "select pg_try_advisory_xact_lock(5)") is False
    assert one(c, "select pg_advisory_unlock(5)") is True
    comes_to(p)
    assert one(other, "select pg_try_advisory_xact_lock(5)") is True


@pytest.mark.core
def test_a_lock_that_was_not_got_pins_nobody(proxy):
    p = proxy()
    holder, other = p.connect(), p.connect()
    rows_of(holder, "select pg_advisory_lock(5)")
    assert one(other, "select pg_try_advisory_lock(5)") is False
    wait_until(lambda: pins(p).get("advisory_lock") == 1, 5, "only the holder is pinned")
    assert one(holder, "select pg_advisory_unlock(5)") is True
    comes_to(p)


@pytest.mark.parametrize("attempt", [
    ["create temp table x (id nonsense)"],
    ["begin", "create temp table x (id int)", "rollback"],
    ["begin", "create temp table x (id int)", "select 1/0", "commit"],
    ["begin; listen a; rollback"],
    ["listen a; select 1/0"],
    ["begin", "declare c cursor with hold for select 1", "rollback"],
    ["execute nothing_of_the_kind"],
    ["begin", "select pg_export_snapshot()", "commit"],
], ids=lambda attempt: attempt[-2] if len(attempt) > 1 else attempt[0])
def test_what_failed_or_was_rolled_back_pins_nobody(proxy, attempt):
    p = proxy()
    c = p.connect()
    for sql in attempt:
        try:
            rows_of(c, sql)
        except psycopg2.Error:
            pass
    comes_to(p)
    assert one(c, "select 1") == 1


def test_of_two_reasons_one_stays(proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "listen a")
    rows_of(c, "create temp table x (id int)")
    rows_of(c, "unlisten a")
    comes_to(p, "temp_table")
    rows_of(c, "insert into x values (1)")
    assert one(c, "select count(*) from x") == 1
    rows_of(c, "drop table x")
    comes_to(p)


def test_one_of_several_is_not_all(proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "listen a")
    rows_of(c, "listen b")
    rows_of(c, "unlisten a")
    rows_of(c, "create temp table x (id int); create temp table y (id int)")
    rows_of(c, "drop table x")
    assert one(c, "select count(*) from y") == 0
    rows_of(c, "unlisten b")
    comes_to(p, "temp_table")
    assert one(c, "select count(*) from y") == 0


def test_what_a_function_did_unseen_is_seen_then(proxy):
    p = proxy()
    c, other = p.connect(), p.connect()
    rows_of(c, "listen a")
    rows_of(c, "do $$ begin perform pg_advisory_lock(77); end $$")
    rows_of(c, "unlisten a")
    comes_to(p, "advisory_lock")
    assert one(other, "select pg_try_advisory_xact_lock(77)") is False
    rows_of(c, "select pg_advisory_unlock(77)")
    comes_to(p)


def test_no_search_path_misleads_the_question(proxy, cluster):
    p = proxy()
    c = p.connect()
    for sql in ("create schema evil",
                "create view evil.pg_locks as select 'none'::text locktype, 0 pid where false",
                "create function evil.never(text, text) returns bool language sql as 'select false'",
                "create operator evil.= (leftarg = text, rightarg = text, function = evil.never)",
                "create function evil.pg_backend_pid() returns int language sql as 'select -1'"):
        rows_of(c, sql)
    try:
        rows_of(c, "set search_path = evil, pg_catalog, public")
        rows_of(c, "select pg_advisory_lock(5)")
        rows_of(c, "select pg_advisory_lock(6)")
        rows_of(c, "select pg_advisory_unlock(6)")
        one(c, "select 1")
        assert pinned_by(p) == {"advisory_lock"}
        rows_of(c, "select pg_advisory_unlock(5)")
        comes_to(p)
    finally:
        rows_of(c, "drop schema evil cascade")


def test_nothing_is_asked_of_sessions_that_hold_nothing(proxy):
    p = proxy()
    c = p.connect()
    before = questions(p)
    for sql in ("drop table if exists no_such_table", "unlisten x", "select pg_advisory_unlock(1)",
                "begin", "insert into t values (77001, 1)", "rollback", "select 1"):
        rows_of(c, sql)
    rows_of(c, "listen a")
    for _ in range(5):
        rows_of(c, "select pg_advisory_xact_lock(3)")
        rows_of(c, "drop table if exists no_such_table")
        one(c, "select count(*) from t")
    assert questions(p) == before
    rows_of(c, "unlisten a")
    comes_to(p)
    wait_until(lambda: questions(p) > before, 5, "the question is counted")
    assert questions(p) == before + 1


@pytest.mark.core
def test_a_statement_of_the_protocol_is_lent_to_sql_and_to_nobody_else(proxy):
    p = proxy(switchgear={"auth_type": "trust"},
              database={"pool_size": 2, "user": "app", "password": "app-secret"})
    other = p.connect()
    with Wire(p.port) as w:
        assert types(w.login(APP_USER, APP_DATABASE))[-1] == "Z"
        assert types(w.run(parse("mine", "select $1::int + 1"), sync())) == "1Z"
        for i in range(3):
            answer = w.run(query(f"execute mine({i})"))
            assert types(answer) == "TDCZ" and answer[1][1][-1:] == str(i + 1).encode()
            comes_to(p)
            with pytest.raises(psycopg2.Error) as caught:
                rows_of(other, "execute mine(1)")
            assert caught.value.pgcode == "26000"
            assert one(other, "/* switchgear: route=primary */ select count(*) "
                              "from pg_prepared_statements where name = 'mine'") == 0
        assert types(w.run(bind("", "mine", ["6"]), execute(), sync())) == "2DCZ"
