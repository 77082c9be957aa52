# SPDX-License-Identifier: PostgreSQL
"""The console's commands that PgBouncer has too: pause, kill, reconnect, set, shut down."""
import os
import signal
import socket
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import ADMIN_PASSWORD, ADMIN_USER, one, rows_of
from wire import Wire, error_fields, query, types


def backends(cluster):
    return sum(len(node.backends()) for node in cluster.nodes)


class Background:
    """Runs an admin command in a thread; `answered` once it is answered."""

    def __init__(self, p, sql, **login):
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(p, sql, login))
        self.thread.start()

    def run(self, p, sql, login):
        try:
            p.admin(sql, **login)
        except psycopg2.Error as error:
            self.error = error

    @property
    def answered(self):
        return not self.thread.is_alive()

    def end(self):
        self.thread.join(10)
        assert self.answered, "the command hangs"
        return self.error


def database_row(p, name=APP_DATABASE):
    return [row for row in p.admin("SHOW DATABASES") if row["name"] == name][0]


# ---- PAUSE ----

@pytest.mark.core
def test_pause_waits_for_transactions_and_closes_server_connections(cluster, proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 70")
    pause = Background(p, "PAUSE app")
    time.sleep(0.3)
    assert not pause.answered, "a transaction is open"
    rows_of(c, "update t set v = v + 1 where id = 70")  # it goes on
    rows_of(c, "commit")
    assert pause.end() is None
    wait_until(lambda: backends(cluster) == 0, 5, "no connection is left")
    assert database_row(p)["paused"] == "1"
    late = threading.Thread(target=rows_of, args=(c, "update t set v = v + 1 where id = 70"))
    late.start()
    time.sleep(0.3)
    assert late.is_alive(), "statements wait"
    p.admin("RESUME app")
    late.join(5)
    assert not late.is_alive()


def test_pause_over_tcp_while_clients_come(cluster, proxy):
    p = proxy()
    rows_of(p.connect(), "update t set v = v + 1 where id = 71")
    assert Background(p, "PAUSE", user=ADMIN_USER, password=ADMIN_PASSWORD).end() is None
    wait_until(lambda: backends(cluster) == 0, 5, "no connection is left")
    results = []
    thread = threading.Thread(target=lambda: results.append(one(p.connect(), "select 5")))
    thread.start()
    time.sleep(0.3)
    assert results == []
    p.admin("RESUME")
    thread.join(5)
    assert results == [5]


def test_pause_of_idle_pools_is_answered_at_once(proxy):
    p = proxy()
    rows_of(p.connect(), "update t set v = v + 1 where id = 71")
    began = time.monotonic()
    assert Background(p, "PAUSE").end() is None
    assert time.monotonic() - began < 2
    p.admin("RESUME")


def test_pause_waits_for_a_session_that_keeps_its_connection(cluster, proxy):
    p = proxy(database={"pool_mode": "session"})
    c = p.connect()
    one(c, "select 1")
    pause = Background(p, "PAUSE")
    time.sleep(0.3)
    assert not pause.answered
    c.close()
    assert pause.end() is None
    wait_until(lambda: backends(cluster) == 0, 5, "no connection is left")
    p.admin("RESUME")


def test_resume_ends_a_pause_that_waits(proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 72")
    pause = Background(p, "PAUSE")
    time.sleep(0.2)
    p.admin("RESUME")
    assert "RESUME" in str(pause.end())
    rows_of(c, "commit")
    rows_of(c, "update t set v = v + 1 where id = 72")


def test_who_leaves_while_pause_waits_changes_nothing(cluster, proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 72")
    admin = p.connect_admin()
    asking = threading.Thread(target=swallow, args=(admin, "PAUSE"))
    asking.start()
    wait_until(lambda: database_row(p)["paused"] == "1", 5, "it waits")
    with socket.socket(fileno=os.dup(admin.fileno())) as s:
        s.shutdown(socket.SHUT_RDWR)
    asking.join(10)
    assert not asking.is_alive()
    assert database_row(p)["paused"] == "1"
    rows_of(c, "commit")
    wait_until(lambda: backends(cluster) == 0, 5, "all is closed")
    p.admin("RESUME")


def swallow(connection, sql):
    try:
        rows_of(connection, sql)
    except psycopg2.Error:
        pass


# ---- DISABLE ----

@pytest.mark.core
def test_a_disabled_database_lets_nobody_new_in(proxy):
    p = proxy()
    c = p.connect()
    p.admin("DISABLE app")
    assert database_row(p)["disabled"] == "1"
    with pytest.raises(psycopg2.OperationalError, match="does not allow connections"):
        p.connect()
    assert one(c, "select 1") == 1, "who is in stays"
    p.admin("ENABLE app")
    assert one(p.connect(), "select 2") == 2


# ---- RECONNECT ----

@pytest.mark.core
def test_reconnect_replaces_connections_once_they_are_released(cluster, proxy):
    p = proxy(database={"pool_size": 1})
    idle, busy = p.connect(), p.connect()
    one(idle, "select 1")
    rows_of(busy, "begin")
    first = one(busy, "select pg_backend_pid() from txid_current()")
    p.admin("RECONNECT app")
    wait_close = Background(p, "WAIT_CLOSE app")
    time.sleep(0.3)
    assert not wait_close.answered, "one is in a transaction"
    assert one(busy, "select pg_backend_pid()") == first
    rows_of(busy, "commit")
    assert wait_close.end() is None
    assert one(busy, "select pg_backend_pid() from txid_current()") != first
    assert Background(p, "WAIT_CLOSE").end() is None


# ---- KILL ----

def last_words(w):
    messages = w.recv_all(until="")
    return error_fields(messages[-1][1])


@pytest.mark.core
def test_kill_drops_clients_and_servers_of_a_database(cluster, proxy):
    p = proxy(switchgear={"auth_type": "trust"}, database={"user": "app", "password": "app-secret"},
              databases={"other": {"user": "app", "password": "app-secret"}})
    idle, busy, other = Wire(p.port), Wire(p.port), p.connect(dbname="other")
    for w in (idle, busy):
        w.login("app", APP_DATABASE)
    busy.send(query("select pg_sleep(60), txid_current()"))
    wait_until(lambda: [b for b in cluster.primary.backends() if b[1] == "active"], 5, "it runs")
    assert one(other, "select 1") == 1
    p.admin("KILL app")
    for w in (idle, busy):
        error = last_words(w)
        assert (error["S"], error["C"]) == ("FATAL", "57P01")
    wait_until(lambda: not [b for b in cluster.primary.backends() if b[1] == "active"], 5,
               "the statement was cancelled")
    assert one(other, "select 2") == 2
    late = Wire(p.port)  # as with PgBouncer: until RESUME
    late.login("app", APP_DATABASE)
    late.send(query("select 1"))
    late.socket.settimeout(0.3)
    with pytest.raises(OSError):
        late.recv()
    late.socket.settimeout(5)
    p.admin("RESUME app")
    assert types(late.recv_all()) == "TDCZ"


def client_ids(p):
    return [row["ptr"] for row in p.admin("SHOW CLIENTS") if row["database"] == APP_DATABASE]


def test_kill_client_drops_that_one(proxy):
    p = proxy()
    spared, victim = p.connect(), p.connect()
    one(spared, "select 1")
    before = set(client_ids(p))
    one(victim, "select 1")
    third = p.connect()
    ids = client_ids(p)
    assert len(ids) == 3 and before <= set(ids)
    pid = {row["ptr"]: row["remote_pid"] for row in p.admin("SHOW CLIENTS")}
    target = [i for i in ids if pid[i] == str(victim.get_backend_pid())][0]
    p.admin(f"KILL_CLIENT {target}")
    with pytest.raises(psycopg2.OperationalError):
        rows_of(victim, "select 1")
    assert one(spared, "select 1") == 1 and one(third, "select 1") == 1
    with pytest.raises(psycopg2.Error, match="no such client"):
        p.admin(f"KILL_CLIENT {target}")
    with pytest.raises(psycopg2.Error):
        p.admin("KILL_CLIENT nobody")


def test_suspend_says_that_it_is_not_supported(gear):
    with pytest.raises(psycopg2.Error) as caught:
        gear.admin("SUSPEND")
    assert caught.value.pgcode == "0A000"


@pytest.mark.parametrize("command", ["PAUSE", "RESUME", "DISABLE", "ENABLE", "RECONNECT", "KILL",
                                     "WAIT_CLOSE"])
def test_commands_on_a_database_that_is_not_there_fail(gear, command):
    with pytest.raises(psycopg2.Error) as caught:
        gear.admin(f"{command} nowhere")
    assert caught.value.pgcode == "22023"


# ---- SET ----

def setting(p, key):
    return [row["value"] for row in p.admin("SHOW CONFIG") if row["key"] == key][0]


@pytest.mark.core
def test_set_holds_until_the_next_reload(proxy):
    p = proxy()
    c = p.connect()
    p.admin("SET query_timeout = '300ms'")
    p.admin("SET database.app.pool_size = 3")
    assert setting(p, "query_timeout") == "300ms"
    assert database_row(p)["pool_size"] == "3"
    with pytest.raises(psycopg2.errors.QueryCanceled):
        rows_of(c, "select pg_sleep(20)")
    p.admin("RELOAD")
    assert setting(p, "query_timeout") == "0"
    assert database_row(p)["pool_size"] == "20"


def test_what_cannot_be_set_is_an_error_and_changes_nothing(proxy):
    p = proxy()
    p.admin("SET query_timeout = 7")
    for statement in ("SET no_such_option = 1", "SET query_timeout = never", "SET workers = 7",
                      "SET pool_size = 1"):
        with pytest.raises(psycopg2.Error) as caught:
            p.admin(statement)
        assert caught.value.pgcode == "22023", statement
    assert setting(p, "query_timeout") == "7s"


# ---- SHUTDOWN ----

def test_shutdown_wait_for_servers_sends_idle_clients_away_and_lets_transactions_end(proxy):
    p = proxy(switchgear={"auth_type": "trust"}, database={"user": "app", "password": "app-secret"})
    idle = Wire(p.port)
    idle.login("app", APP_DATABASE)
    busy = p.connect(autocommit=False)
    rows_of(busy, "update t set v = v + 1 where id = 73")
    p.admin("SHUTDOWN WAIT_FOR_SERVERS")
    error = last_words(idle)
    assert (error["S"], error["C"]) == ("FATAL", "57P01")
    busy.commit()
    wait_until(lambda: not p.alive(), 10, "the process ended")


def test_who_waits_for_resume_does_not_hold_up_a_shutdown(proxy):
    p = proxy(switchgear={"auth_type": "trust"}, database={"user": "app", "password": "app-secret"})
    waits = Wire(p.port)
    waits.login("app", APP_DATABASE)
    p.admin("PAUSE")
    waits.send(query("begin"), query("select 1"))
    assert types(waits.recv_all()) == "CZ"
    wait_until(lambda: any(int(row["cl_waiting"]) for row in p.admin("SHOW POOLS")), 10, "it waits")
    p.signal(signal.SIGTERM)
    error = last_words(waits)
    assert (error["S"], error["C"]) == ("FATAL", "57P01")
    wait_until(lambda: not p.alive(), 10, "the process ended")


def test_shutdown_wait_for_clients_sends_nobody_away(proxy):
    p = proxy()
    idle = p.connect()
    p.admin("SHUTDOWN WAIT_FOR_CLIENTS")
    time.sleep(0.4)
    assert p.alive() and one(idle, "select 1") == 1
    with pytest.raises(psycopg2.OperationalError):
        p.connect()
    idle.close()
    wait_until(lambda: not p.alive(), 10, "the process ended")


def test_sigterm_ends_the_patience_of_wait_for_clients(proxy):
    p = proxy()
    idle = p.connect()
    p.admin("SHUTDOWN WAIT_FOR_CLIENTS")
    time.sleep(0.2)
    p.signal(signal.SIGTERM)
    wait_until(lambda: not p.alive(), 10, "the process ended")
    with pytest.raises(psycopg2.Error):
        rows_of(idle, "select 1")


def test_shutdown_timeout_cuts_off_a_transaction_that_does_not_end(cluster, proxy):
    p = proxy(switchgear={"shutdown_timeout": "500ms"})
    c = p.connect(autocommit=False)
    rows_of(c, "update t set v = v + 1 where id = 74")
    began = time.monotonic()
    p.signal(signal.SIGTERM)
    wait_until(lambda: not p.alive(), 10, "the process ended")
    assert time.monotonic() - began > 0.4
    wait_until(lambda: backends(cluster) == 0, 5, "nothing is left")


def test_resume_is_refused_while_the_proxy_shuts_down(proxy):
    p = proxy()
    c = p.connect()
    console = p.connect(user=ADMIN_USER, password=ADMIN_PASSWORD, dbname="switchgear")
    rows_of(console, "SHUTDOWN WAIT_FOR_CLIENTS")
    with pytest.raises(psycopg2.Error, match="shutting down"):
        rows_of(console, "RESUME")
    console.close()
    c.close()
    wait_until(lambda: not p.alive(), 10, "the process ended")
