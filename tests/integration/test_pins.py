# SPDX-License-Identifier: PostgreSQL
"""Session state that cannot follow its client (test_settings.py has what can) pins it."""
import os
import select
import socket
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import one, rows_of
from wire import Wire, first_error


def pins(p):
    """SHOW PINS as {reason: sessions}."""
    return {row["reason"]: int(row["count"]) for row in p.admin("SHOW PINS")}


@pytest.mark.core
def test_start_up_settings_pin_nobody_and_hold_on_replicas_too(cluster, gear):
    tokyo = gear.connect(options="-c timezone=Asia/Tokyo -c extra_float_digits=0")
    utc = gear.connect()
    for _ in range(10):
        assert one(tokyo, "select extract(timezone from now())::int /*east*/") == 9 * 3600
        assert one(utc, "select extract(timezone from now())::int /*zero*/") == 0
    for marker in ("east", "zero"):
        seen = cluster.saw(marker)
        assert sum(seen.values()) == 10 and "p1" not in seen
    assert sum(pins(gear).values()) == 0


def test_start_up_parameters_follow_their_client(proxy):
    p = proxy(database={"pool_size": 1})
    a = p.connect(application_name="alpha", options="-c work_mem=5MB")
    b = p.connect(application_name="beta")
    for _ in range(3):
        assert (one(a, "show application_name"), one(a, "show work_mem")) == ("alpha", "5MB")
        assert (one(b, "show application_name"), one(b, "show work_mem")) == ("beta", "4MB")


@pytest.mark.core
def test_listen_receives_what_others_notify(proxy):
    p = proxy()
    listener, speaker = p.connect(), p.connect()
    rows_of(listener, "listen news")
    assert pins(p).get("listen") == 1
    rows_of(speaker, "notify news, 'hello'")
    until = time.monotonic() + 5
    while not listener.notifies and time.monotonic() < until:
        select.select([listener], [], [], 0.2)
        listener.poll()
    assert [n.payload for n in listener.notifies] == ["hello"]
    rows_of(listener, "unlisten *")
    rows_of(listener, "discard all")
    wait_until(lambda: not pins(p).get("listen"), 5, "the pin is released")


@pytest.mark.core
def test_an_advisory_lock_is_held_across_statements_and_goes_with_its_client(proxy):
    p = proxy()
    holder, other = p.connect(), p.connect()
    rows_of(holder, "select pg_advisory_lock(4711)")
    assert pins(p).get("advisory_lock") == 1
    for _ in range(3):
        assert one(other, "select pg_try_advisory_xact_lock(4711)") is False
        one(holder, "select count(*) from t")
    holder.close()
    wait_until(lambda: one(other, "select pg_try_advisory_xact_lock(4711)"), 5, "the lock is free")


@pytest.mark.core
def test_a_temporary_table_lives_as_long_as_its_session(proxy):
    p = proxy()
    a, b = p.connect(), p.connect()
    rows_of(a, "create temp table mine (id int)")
    rows_of(a, "insert into mine values (1), (2)")
    assert pins(p).get("temp_table") == 1
    for _ in range(3):
        assert one(a, "select count(*) from mine") == 2
    with pytest.raises(psycopg2.Error) as caught:
        one(b, "select count(*) from mine")
    assert caught.value.pgcode == "42P01"
    a.close()
    wait_until(lambda: not pins(p).get("temp_table"), 5, "the pin is released")
    c = p.connect()
    rows_of(c, "create temp table mine (id int)")
    assert one(c, "select count(*) from mine") == 0


@pytest.mark.core
def test_sql_prepare_and_execute_work(proxy):
    p = proxy()
    a, b = p.connect(), p.connect()
    rows_of(a, "prepare plus (int) as select $1 + 1")
    assert pins(p).get("sql_prepare") == 1
    for i in range(5):
        one(b, "select 1")
        assert one(a, f"execute plus({i})") == i + 1
    with pytest.raises(psycopg2.Error) as caught:
        one(b, "execute plus(1)")
    assert caught.value.pgcode == "26000"
    rows_of(a, "deallocate plus")


def test_a_hold_cursor_outlives_its_block(proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "begin")
    rows_of(c, "declare held cursor with hold for select id from t order by id")
    rows_of(c, "commit")
    assert rows_of(c, "fetch 2 from held") == [(1,), (2,)]
    one(p.connect(), "select 1")
    assert rows_of(c, "fetch 2 from held") == [(3,), (4,)]
    assert pins(p).get("hold_cursor") == 1


def test_currval_belongs_to_the_transaction_that_called_nextval(proxy):
    """Between transactions the backend may change: there currval is not promised."""
    p = proxy()
    c, other = p.connect(), p.connect()
    for _ in range(5):
        rows_of(c, "begin")
        value = one(c, "select nextval('ticket')")
        assert one(other, "select nextval('ticket')") != value
        assert one(c, "select currval('ticket')") == value
        rows_of(c, "commit")


def test_currval_outside_the_block_of_its_nextval_is_an_error_not_another_ones_value(proxy):
    p = proxy()
    c, other = p.connect(), p.connect()
    rows_of(c, "select nextval('ticket')")
    rows_of(other, "select nextval('ticket')")
    for sql in ("select currval('ticket')", "select lastval()"):
        with pytest.raises(psycopg2.Error) as caught:
            one(c, sql)
        assert caught.value.pgcode == "55000" and "RETURNING" in str(caught.value)
    rows_of(c, "begin")
    with pytest.raises(psycopg2.Error) as caught:
        one(c, "select currval('ticket')")
    assert caught.value.pgcode == "55000"
    rows_of(c, "rollback")
    assert one(c, "select currval('ticket') from (select nextval('ticket')) as now") > 0
    rows_of(c, "listen pinned")
    value = one(c, "select nextval('ticket')")
    assert one(c, "select currval('ticket')") == value


def test_currval_lasts_as_long_as_the_session_where_the_database_wants_it(proxy):
    p = proxy(database={"currval": "session", "pool_size": 4, "consistency": "primary"})
    c, other = p.connect(), p.connect()
    for connection in (c, other):
        rows_of(connection, "select nextval('ticket')")
    assert pins(p) == {"sequence": 2}
    value = one(c, "select nextval('ticket')")
    assert one(other, "select nextval('ticket')") == value + 1
    for _ in range(3):
        assert one(c, "select currval('ticket')") == value
        assert one(c, "select lastval()") == value
        assert one(other, "select lastval()") == value + 1
    rows_of(c, "discard sequences")
    assert pins(p) == {"sequence": 1}
    with pytest.raises(psycopg2.Error) as caught:
        one(c, "select currval('ticket')")
    assert caught.value.pgcode == "55000" and "is not yet defined" in str(caught.value)
    rows_of(other, "discard all")
    assert not any(pins(p).values())


def test_reads_bind_nobody_where_currval_lasts_as_long_as_the_session(proxy):
    p = proxy(database={"currval": "session"})
    c = p.connect()
    assert one(c, "select count(*) > 0 from t")
    rows_of(c, "begin read only")
    assert one(c, "select count(*) > 0 from t")
    rows_of(c, "commit")
    assert pins(p) == {}
    rows_of(c, "insert into t (id, v) values (1000001, 1)")
    assert pins(p) == {"sequence": 1}
    rows_of(c, "delete from t where id = 1000001")


def test_a_connection_of_dblink_belongs_to_its_session(cluster, proxy):
    """It lives in the server's process, and DISCARD ALL leaves it there."""
    cluster.primary.psql("create extension if not exists dblink", APP_DATABASE)
    p = proxy(database={"pool_size": 2, "consistency": "primary"})
    c, other = p.connect(), p.connect()
    far = f"host=127.0.0.1 port={cluster.primary.port} dbname={APP_DATABASE} user={APP_USER} " \
          f"password={APP_PASSWORD}"
    assert one(c, f"select dblink_connect('mine', '{far}')") == "OK"
    assert pins(p).get("load") == 1
    for _ in range(3):
        assert one(other, "select dblink_get_connections()") is None
        assert one(c, "select x from dblink('mine', 'select 7') as r(x int)") == 7
    pid = one(c, "select pg_backend_pid()")
    c.close()
    wait_until(lambda: not any(pins(p).values()), 5, "it is gone")
    others = [p.connect(autocommit=False) for _ in range(2)]
    for o in others:
        assert one(o, "select pg_backend_pid()") != pid
        assert one(o, "select dblink_get_connections()") is None
    for o in others:
        o.close()
    cluster.primary.psql("drop extension dblink", APP_DATABASE)


def test_discard_all_unpins(proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "create temp table gone (id int)")
    rows_of(c, "listen gone")
    rows_of(c, "discard all")
    wait_until(lambda: sum(pins(p).values()) == 0, 5, "no pin is left")
    with pytest.raises(psycopg2.Error):
        one(c, "select * from gone")


@pytest.mark.core
def test_pins_leave_room_and_one_too_many_is_53300_with_a_hint(proxy):
    p = proxy(database={"pool_size": 2}, switchgear={"query_wait_timeout": "1s"})
    a, b = p.connect(), p.connect()
    rows_of(a, "listen one")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(b, "listen two")
    assert caught.value.pgcode == "53300"
    assert caught.value.diag.message_hint
    rows_of(b, "update t set v = v + 1 where id = 50")


def test_a_tainted_backend_is_clean_for_the_next_client(proxy):
    """A function can set what no parser sees."""
    p = proxy(database={"pool_size": 1})
    a, b = p.connect(), p.connect()
    rows_of(a, "do $$ begin perform set_config('work_mem', '11MB', false); "
               "execute 'create temp table smuggled (id int)'; end $$")
    assert one(b, "/* switchgear: route=primary */ select current_setting('work_mem')") == "4MB"
    with pytest.raises(psycopg2.Error):
        one(b, "/* switchgear: route=primary */ select count(*) from smuggled")


# ---- more of them than pin_limit allows ----

KEEP = {"a lock": "select pg_advisory_lock(4711)", "a channel": "listen something",
        "a temporary table": "create temp table kept (a int)", "a cursor": "declare c cursor with hold for select 1",
        "a text": "prepare q as select 1", "a lock in a block": "begin; select pg_advisory_lock(4712)"}
LET_GO = {"a lock": "select pg_advisory_unlock(4711)", "a channel": "unlisten *", "a temporary table": "drop table kept",
          "a cursor": "close c", "a text": "deallocate q",
          "a lock in a block": "select pg_advisory_unlock(4712); commit"}


@pytest.fixture(name="narrow")
def a_proxy_with_one_pin(proxy):
    return proxy(database={"pool_size": 2, "pin_limit": "50%"})


def in_thread(work):
    results = []

    def run():
        try:
            results.append(work())
        except psycopg2.Error as error:
            results.append(error.pgcode)
    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def waits(p):
    return p.metric("switchgear_clients_waiting")


@pytest.mark.parametrize("what", KEEP)
def test_who_finds_no_pin_waits_until_another_lets_go(narrow, what):
    first, second = narrow.connect(), narrow.connect()
    rows_of(first, "listen other")
    thread, results = in_thread(lambda: rows_of(second, KEEP[what]) is None or "done")
    wait_until(lambda: waits(narrow) > 0, what="the second one waits")
    assert results == []
    assert one(narrow.connect(), "select count(*) from t where id = 1") == 1, "others are served meanwhile"
    rows_of(first, "unlisten *")
    thread.join(10)
    assert results == ["done"]
    rows_of(second, LET_GO[what])
    wait_until(lambda: sum(pins(narrow).values()) == 0, what="nobody is pinned")


def test_thirty_migrations_take_their_turns(cluster, proxy):
    p = proxy()

    def migrate(connection):
        rows_of(connection, "select pg_advisory_lock(72707369)")
        rows_of(connection, "select pg_advisory_unlock(72707369)")
        return "migrated"

    started = [in_thread(lambda c=c: migrate(c)) for c in [p.connect() for _ in range(30)]]
    for thread, _ in started:
        thread.join(30)
    assert [results for _, results in started] == [["migrated"]] * 30


def test_who_waits_for_a_pin_in_vain_or_leaves_or_is_cancelled_harms_nobody(proxy):
    p = proxy(switchgear={"query_wait_timeout": "1s"}, database={"pool_size": 2, "pin_limit": "50%"})
    first, late, gone, cancelled = (p.connect() for _ in range(4))
    rows_of(first, "listen other")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(late, "listen something")
    assert caught.value.pgcode == "53300" and "pin_limit" in str(caught.value)
    assert one(late, "select count(*) from t where id = 1") == 1, "its session lives"
    thread, results = in_thread(lambda: rows_of(cancelled, "listen something"))
    wait_until(lambda: waits(p) > 0, what="it waits")
    cancelled.cancel()
    thread.join(10)
    assert results == ["57014"]
    thread, _ = in_thread(lambda: rows_of(gone, "listen something"))
    wait_until(lambda: waits(p) > 0, what="it waits")
    p.admin(f"KILL_CLIENT {client_of(p, gone)}")
    thread.join(10)
    rows_of(first, "unlisten *")
    rows_of(late, "listen something")
    assert pins(p).get("listen") == 1


def client_of(p, connection):
    return next(row["ptr"] for row in p.admin("SHOW CLIENTS")
                if row["port"] == str(local_port(connection)))


def local_port(connection):
    with socket.socket(fileno=os.dup(connection.fileno())) as s:
        return s.getsockname()[1]


def test_in_a_block_that_has_its_connection_nobody_waits_for_a_pin(narrow):
    first, second = narrow.connect(), narrow.connect()
    rows_of(first, "listen other")
    rows_of(second, "begin; update t set v = v where id = 3")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(second, "select pg_advisory_lock(4711)")
    assert caught.value.pgcode == "53300"
    rows_of(second, "rollback")


# ---- a server that lets nobody in ----

DOORS = {
    "the database takes nobody": ("alter database app allow_connections off", "alter database app allow_connections on",
                                  "55000", "is not currently accepting connections"),
    "a library is not there": ("alter role few set local_preload_libraries = 'nosuch'", "alter role few reset all",
                               "58P01", "could not access file"),
    "a limit of the role": ("alter role few connection limit 0", "alter role few connection limit -1", "53300",
                            'too many connections for role "few"'),
    "a limit of the database": ("alter database app connection limit 0", "alter database app connection limit -1",
                                "53300", 'too many connections for database "app"'),
    "the role may not": ("alter role few nologin", "alter role few login", "28000", "is not permitted to log in"),
    "another password": ("alter role few password 'other'", "alter role few password 'few'", "28P01",
                         "password authentication failed"),
}


@pytest.fixture(name="few", scope="module")
def a_role_that_may_log_in(cluster):
    cluster.primary.psql("create role few login password 'few'")
    cluster.wait_replicated()
    yield
    cluster.primary.psql("drop role few")


@pytest.mark.parametrize("door", DOORS)
def test_a_servers_refusal_reaches_the_client_at_once_in_its_own_words(cluster, proxy, few, door):
    do, undo, sqlstate, words = DOORS[door]
    p = proxy(users={"few": "few"}, switchgear={"auth_type": "trust", "query_wait_timeout": "60s"})
    cluster.primary.psql(do)
    cluster.wait_replicated()
    try:
        for _ in range(3):
            began = time.monotonic()
            with Wire(p.port) as w:
                error = first_error(w.login("few", APP_DATABASE))
            assert error["C"] == sqlstate and words in error["M"], error
            assert "connection to server" not in error["M"] and str(cluster.primary.port) not in error["M"]
            assert time.monotonic() - began < 20
    finally:
        cluster.primary.psql(undo)
        cluster.wait_replicated()
    p.admin("RECONNECT")

    def let_in():
        try:
            p.connect(user="few", password="few").close()
            return True
        except psycopg2.OperationalError:
            return False
    wait_until(let_in, 20, "it is let in again")
