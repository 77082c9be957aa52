# SPDX-License-Identifier: PostgreSQL
"""Every limit of time ends in an error of its own, and is counted."""
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of
from wire import Wire, error_fields, execute, bind, message, parse, query, sync, types

TRUST = {"auth_type": "trust", "workers": 1}
OWNER = {"user": "app", "password": "app-secret"}


def start(proxy, database=None, **limits):
    return proxy(switchgear={**TRUST, **limits}, database={**OWNER, **(database or {})})


def wire(p):
    w = Wire(p.port)
    assert types(w.login("app", APP_DATABASE))[-1] == "Z"
    return w


def last_words(w):
    """The fields of the ErrorResponse that ends the connection."""
    messages = w.recv_all(until="")
    assert messages and messages[-1][0] == "E", messages
    return error_fields(messages[-1][1])


def counted(p, kind):
    return p.metric("switchgear_timeouts_total", kind=kind)


def idle_backends(cluster):
    return all(b[1] == "idle" for b in cluster.primary.backends())


@pytest.mark.core
def test_idle_transaction_timeout_ends_the_client_and_keeps_the_backend(cluster, proxy):
    p = start(proxy, idle_transaction_timeout="300ms")
    w = wire(p)
    assert types(w.run(query("begin")))[-1] == "Z"
    w.run(query("insert into log (note) values ('idle in transaction')"))
    pids = [b[0] for b in cluster.primary.backends()]
    error = last_words(w)
    assert (error["S"], error["C"]) == ("FATAL", "25P03")
    assert "idle_transaction_timeout" in error["M"]
    wait_until(lambda: idle_backends(cluster), 5, "it was rolled back")
    assert [b[0] for b in cluster.primary.backends()] == pids
    assert one(p.connect(), "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'idle in transaction'") == 0
    assert counted(p, "idle_transaction") == 1


def test_idle_transaction_timeout_counts_from_the_end_of_the_last_statement(proxy):
    p = start(proxy, idle_transaction_timeout="400ms")
    c = p.connect()
    rows_of(c, "begin")
    rows_of(c, "select pg_sleep(0.7), txid_current()")
    rows_of(c, "commit")


def test_a_block_that_no_server_knows_of_times_out_too(proxy):
    p = start(proxy, idle_transaction_timeout="200ms")
    w = wire(p)
    w.run(query("begin"))
    assert last_words(w)["C"] == "25P03"


def test_a_batch_without_its_sync_is_an_idle_transaction(cluster, proxy):
    p = start(proxy, idle_transaction_timeout="200ms")
    w = wire(p)
    w.send(parse("", "insert into log (note) values ('no sync')"), bind("", ""), execute(),
           message("H"))
    assert last_words(w)["C"] == "25P03"
    wait_until(lambda: idle_backends(cluster), 5, "it was rolled back")


@pytest.mark.core
def test_query_timeout_cancels_the_statement_and_keeps_the_client(cluster, proxy):
    p = start(proxy, query_timeout="300ms")
    c = p.connect()
    began = time.monotonic()
    with pytest.raises(psycopg2.errors.QueryCanceled, match="query_timeout"):
        rows_of(c, "select pg_sleep(30), txid_current()")
    assert 0.25 < time.monotonic() - began < 3
    assert one(c, "select 7") == 7
    wait_until(lambda: idle_backends(cluster), 5, "nothing runs")
    assert counted(p, "query") == 1


def test_query_timeout_cancels_a_read_on_a_replica(cluster, proxy):
    p = start(proxy, query_timeout="300ms")
    c = p.connect()
    with pytest.raises(psycopg2.errors.QueryCanceled, match="query_timeout"):
        rows_of(c, "select pg_sleep(30)")
    assert one(c, "select 8") == 8


def test_query_timeout_in_a_block_fails_the_block(proxy):
    p = start(proxy, query_timeout="300ms")
    c = p.connect()
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 40")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        rows_of(c, "select pg_sleep(30)")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        rows_of(c, "select 1")
    rows_of(c, "rollback")
    assert one(c, "select 1") == 1


def test_query_timeout_in_an_extended_batch(proxy):
    p = start(proxy, query_timeout="300ms")
    w = wire(p)
    got = w.run(parse("", "select pg_sleep(30), txid_current()"), bind("", ""), execute(), sync())
    assert types(got)[-2:] == "EZ"
    error = error_fields(got[-2][1])
    assert error["C"] == "57014" and "query_timeout" in error["M"]
    assert types(w.run(query("select 1"))) == "TDCZ"


def test_a_pipeline_that_goes_on_is_no_long_statement(proxy):
    """Each statement of it has its own time."""
    p = start(proxy, query_timeout="600ms")
    w = wire(p)
    w.send(*[query("select pg_sleep(0.25), txid_current()")] * 6)
    for _ in range(6):
        assert types(w.recv_all()) == "TDCZ"
    assert counted(p, "query") == 0


def test_a_users_own_cancel_keeps_its_own_words(proxy):
    import threading
    p = start(proxy, query_timeout="30s")
    c = p.connect()
    threading.Timer(0.3, c.cancel).start()
    with pytest.raises(psycopg2.errors.QueryCanceled, match="user request"):
        rows_of(c, "select pg_sleep(20), txid_current()")


@pytest.mark.core
def test_transaction_timeout_ends_a_transaction_that_lasts(cluster, proxy):
    p = start(proxy, transaction_timeout="500ms")
    w = wire(p)
    w.run(query("begin"))
    w.run(query("insert into log (note) values ('lasts')"))
    w.send(query("select pg_sleep(30)"))
    error = last_words(w)
    assert (error["S"], error["C"]) == ("FATAL", "25P04")
    assert "transaction_timeout" in error["M"]
    wait_until(lambda: idle_backends(cluster), 5, "it was cancelled and rolled back")
    assert counted(p, "transaction") == 1
    c = p.connect()
    for _ in range(8):  # many short ones last longer together
        rows_of(c, "select pg_sleep(0.1), txid_current()")


@pytest.mark.core
def test_client_idle_timeout_ends_an_idle_client(proxy):
    p = start(proxy, client_idle_timeout="300ms")
    w = wire(p)
    began = time.monotonic()
    error = last_words(w)
    assert (error["S"], error["C"]) == ("FATAL", "57P05")
    assert "client_idle_timeout" in error["M"]
    assert 0.1 < time.monotonic() - began < 3  # it counts from its last byte
    assert counted(p, "client_idle") == 1


def test_client_idle_timeout_spares_who_works_and_who_is_in_a_block(proxy):
    p = start(proxy, client_idle_timeout="400ms")
    c = p.connect()
    rows_of(c, "select pg_sleep(0.8), txid_current()")
    rows_of(c, "begin")
    time.sleep(0.8)
    rows_of(c, "commit")


def test_a_statement_that_waits_for_a_backend_is_not_idle(proxy):
    p = start(proxy, {"pool_size": 1}, client_idle_timeout="300ms", query_wait_timeout="900ms")
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 41")
    w = wire(p)
    got = w.run(query("update t set v = v + 1 where id = 42"))
    error = error_fields(got[0][1])
    assert (error["S"], error["C"]) == ("ERROR", "53300")
    assert counted(p, "query_wait") == 1
    rows_of(holder, "commit")


def test_client_login_timeout(proxy):
    p = start(proxy, client_login_timeout="300ms")
    with Wire(p.port) as w:
        error = last_words(w)
        assert (error["S"], error["C"]) == ("FATAL", "57014")
    assert counted(p, "client_login") == 1


def test_write_wait(cluster, proxy):
    p = start(proxy, {"write_wait": "300ms"})
    p.admin("BREAKER p1 OPEN")
    c = p.connect()
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(c, "update t set v = v + 1 where id = 43")
    assert caught.value.pgcode == "57P03"
    assert counted(p, "write_wait") == 1


def test_server_connect_timeout(cluster, proxy):
    p = start(proxy, {"write_wait": "5s"}, server_connect_timeout="400ms",
              query_wait_timeout="1500ms")
    assert not cluster.primary.backends()
    cluster.primary.sigstop()
    try:
        with pytest.raises(psycopg2.Error):  # its log-in finds a replica
            rows_of(p.connect(), "update t set v = v + 1 where id = 44")
    finally:
        cluster.primary.sigcont()
    assert counted(p, "server_connect") >= 1


def pids(cluster):
    return {b[0] for b in cluster.primary.backends()}


def test_server_idle_timeout_closes_what_nobody_uses(cluster, proxy):
    p = start(proxy, server_idle_timeout="400ms")
    rows_of(p.connect(), "update t set v = v + 1 where id = 45")
    assert pids(cluster)
    wait_until(lambda: not pids(cluster), 5, "it was closed")


def test_server_lifetime_ends_used_backends_too_but_not_within_a_block(cluster, proxy):
    p = start(proxy, {"pool_size": 1}, server_lifetime="500ms")
    c = p.connect()
    first = one(c, "select pg_backend_pid() from txid_current()")
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 46")
    time.sleep(0.8)
    rows_of(c, "commit")
    wait_until(lambda: first not in pids(cluster), 5, "it was closed once unused")
    assert one(c, "select pg_backend_pid() from txid_current()") != first
