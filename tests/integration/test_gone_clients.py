# SPDX-License-Identifier: PostgreSQL
"""Clients that leave without a word, and the server connections that they leave behind."""
import os
import socket
import struct
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of
from wire import Wire, bind, execute, message, parse, query, sync, types

TRUST = {"auth_type": "trust", "workers": 1}
POOL = {"pool_size": 1, "pin_limit": "100%", "user": "app", "password": "app-secret"}


@pytest.fixture
def lone(proxy):
    """One worker with one server connection a node; nobody needs a password."""
    return proxy(switchgear=TRUST, database=POOL)


def wire(p):
    w = Wire(p.port)
    assert types(w.login("app", APP_DATABASE))[-1] == "Z"
    return w


def primary_pid(cluster):
    """The process of the only application backend of the primary."""
    found = cluster.primary.backends()
    assert len(found) == 1, found
    return found[0][0]


def active(cluster):
    return [b for b in cluster.primary.backends() if b[1] == "active"]


def idle_and_same(cluster, pid):
    """The backend is back in its pool, and it is the one from before."""
    wait_until(lambda: [b[:2] for b in cluster.primary.backends()] == [(pid, "idle")], 5,
               "the backend is idle again")


@pytest.mark.core
def test_a_block_that_was_left_is_rolled_back_and_its_backend_kept(cluster, lone):
    w = wire(lone)
    w.run(query("begin"))
    w.run(query("insert into log (note) values ('left')"))
    pid = primary_pid(cluster)
    w.socket.close()
    idle_and_same(cluster, pid)
    after = lone.connect()
    assert one(after, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'left'") == 0
    assert primary_pid(cluster) == pid


@pytest.mark.core
def test_a_statement_of_a_vanished_client_is_cancelled_and_its_backend_kept(cluster, lone):
    w = wire(lone)
    w.send(query("select pg_sleep(60), txid_current()"))
    wait_until(lambda: active(cluster), 5, "it runs")
    pid = primary_pid(cluster)
    began = time.monotonic()
    w.socket.close()
    idle_and_same(cluster, pid)
    assert time.monotonic() - began < 3
    after = lone.connect()
    rows_of(after, "update t set v = v + 1 where id = 30")
    assert primary_pid(cluster) == pid


def test_what_a_vanished_client_had_set_reaches_nobody(cluster, lone):
    w = wire(lone)
    w.run(query("set work_mem = '123kB'"))
    w.send(query("select pg_sleep(60), txid_current()"))
    wait_until(lambda: active(cluster), 5, "it runs")
    pid = primary_pid(cluster)
    w.socket.close()
    idle_and_same(cluster, pid)
    assert one(lone.connect(), "/* switchgear: route=primary */ show work_mem") == "4MB"
    assert primary_pid(cluster) == pid


def test_a_pipeline_that_was_left_half_way_leaves_a_usable_backend(cluster, lone):
    w = wire(lone)
    w.send(parse("", "insert into log (note) values ('pipeline')"), bind("", ""), execute(), sync(),
           query("select pg_sleep(60), txid_current()"),
           query("insert into log (note) values ('pipeline')"))
    wait_until(lambda: active(cluster), 5, "it runs")
    pid = primary_pid(cluster)
    w.socket.close()
    idle_and_same(cluster, pid)
    rows_of(lone.connect(), "update t set v = v + 1 where id = 30")
    assert primary_pid(cluster) == pid


@pytest.mark.invariant
def test_a_batch_without_its_sync_is_rolled_back_and_its_backend_kept(cluster, lone):
    w = wire(lone)
    w.send(parse("", "insert into log (note) values ('unsynced')"), bind("", ""), execute(),
           message("H"))
    assert [w.recv()[0] for _ in range(3)] == ["1", "2", "C"]
    pid = primary_pid(cluster)
    w.socket.close()
    idle_and_same(cluster, pid)
    assert one(lone.connect(), "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'unsynced'") == 0
    assert primary_pid(cluster) == pid


def test_a_copy_in_that_was_left_ends_its_backend(cluster, lone):
    w = wire(lone)
    w.send(query("copy log (note) from stdin"))
    while w.recv()[0] != "G":
        pass
    w.send(message("d", b"copied by nobody\n"))
    pid = primary_pid(cluster)
    w.socket.close()
    wait_until(lambda: pid not in [b[0] for b in cluster.primary.backends()], 5, "it is closed")
    after = lone.connect()
    assert one(after, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'copied by nobody'") == 0


def test_half_a_message_that_was_left_ends_its_backend(cluster, lone):
    w = wire(lone)
    text = b"select '" + b"x" * 3_000_000 + b"'\0"
    w.send(b"Q" + (len(text) + 4).to_bytes(4, "big") + text[:2_000_000])
    wait_until(lambda: cluster.primary.backends(), 5, "a backend was taken")
    pid = primary_pid(cluster)
    time.sleep(0.2)
    w.socket.close()
    wait_until(lambda: pid not in [b[0] for b in cluster.primary.backends()], 5, "it is closed")
    rows_of(lone.connect(), "update t set v = v + 1 where id = 30")


def test_a_goodbye_behind_a_write_does_not_cancel_it(cluster, lone):
    """As PostgreSQL: a statement that was begun before Terminate is executed to its end."""
    rows_of(lone.connect(), "update t set v = v + 1 where id = 33")  # a connection is there
    w = wire(lone)
    w.send(query("insert into log (note) select 'last will' from pg_sleep(0.3)"), message("X"))
    w.socket.close()
    observer = lone.connect()
    wait_until(lambda: one(observer, "/* switchgear: route=primary */ select count(*) from log "
                           "where note = 'last will'") == 1, 5, "it was written")


def waiting(p):
    return sum(int(row["cl_waiting"]) for row in p.admin("SHOW POOLS") if row["node"] == "p1")


def test_a_waiting_client_that_leaves_is_forgotten(lone):
    holder = lone.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 31")
    w = wire(lone)
    w.send(query("insert into log (note) values ('never waited for')"))
    wait_until(lambda: waiting(lone) == 1, 5, "it waits")
    w.socket.close()
    wait_until(lambda: waiting(lone) == 0, 5, "its end was noticed")
    rows_of(holder, "commit")
    assert one(holder, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'never waited for'") == 0


LAST_WILLS = {
    "simple": [query("insert into log (note) values ('will')"), message("X")],
    "extended": [parse("", "insert into log (note) values ('will')"), bind("", ""), execute(),
                 sync(), message("X")],
    "block": [query("begin"), query("insert into log (note) values ('will')"), query("commit"),
              message("X")],
    "copy": [query("copy log (note) from stdin"), message("d", b"will\n"), message("c"),
             message("X")],
    "behind a read": [query("select pg_sleep(0.2)"), query("insert into log (note) values ('will')"),
                      message("X")],
}
CUT = struct.pack("ii", 1, 0)  # SO_LINGER: a reset instead of an ordinary end


@pytest.mark.core
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("will", LAST_WILLS)
def test_what_came_before_a_goodbye_is_run_though_it_has_to_wait(lone, will, reset):
    """As PostgreSQL, which reads on in what has arrived: nothing is lost."""
    holder = lone.connect()
    count = "/* switchgear: route=primary */ select count(*) from log where note = 'will'"
    before = one(holder, count)
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 34")
    w = wire(lone)
    w.send(*LAST_WILLS[will])
    wait_until(lambda: waiting(lone) == 1, 5, "it waits")
    if reset:
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT)
    w.socket.close()
    time.sleep(0.3)
    assert waiting(lone) == 1
    rows_of(holder, "commit")
    wait_until(lambda: one(holder, count) == before + 1, 5, "it was written")
    wait_until(lambda: len(lone.admin("SHOW CLIENTS")) == 2, 5, "nobody is left over")


def test_who_said_goodbye_waits_no_longer_than_others(proxy):
    p = proxy(switchgear={**TRUST, "query_wait_timeout": "500ms"}, database=POOL)
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 34")
    w = wire(p)
    w.send(query("insert into log (note) values ('too late')"), message("X"))
    wait_until(lambda: waiting(p) == 1, 5, "it waits")
    w.socket.close()
    wait_until(lambda: waiting(p) == 0, 5, "it was given up")
    wait_until(lambda: len(p.admin("SHOW CLIENTS")) == 2, 5, "nobody is left over")
    rows_of(holder, "commit")
    assert one(holder, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'too late'") == 0


def test_a_client_that_is_not_read_any_more_is_missed_all_the_same(cluster, lone):
    """It sent ahead more than the proxy takes, so that its bytes are not read; it is cut off."""
    w = wire(lone)
    w.send(query("select pg_sleep(60), txid_current()"))
    wait_until(lambda: active(cluster), 5, "it runs")
    w.socket.settimeout(0.5)
    with pytest.raises(socket.timeout):
        for _ in range(10000):
            w.send(query("select 1" + " " * 4000))
    w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CUT)
    w.socket.close()  # a reset: an ordinary end would queue up behind the bytes
    wait_until(lambda: not active(cluster), 5, "it was cancelled")


def test_hundreds_of_clients_that_vanish_leave_no_backend_busy(cluster, proxy):
    p = proxy(database={"pool_size": 5})
    statements = ("begin; update t set v = v + 1 where id = 32", "select pg_sleep(5)",
                  "insert into log (note) select 'many' from pg_sleep(5)", "select 1")

    def come_and_go(number):
        connection = psycopg2.connect(p.dsn("app", "app-secret"), async_=False)
        connection.autocommit = True
        cut = threading.Timer(0.05 + number % 7 * 0.02, vanish, [connection])
        cut.start()
        try:
            rows_of(connection, statements[number % len(statements)])
        except psycopg2.Error:
            pass
        cut.join()
        connection.close()

    threads = [threading.Thread(target=come_and_go, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    wait_until(lambda: all(b[1] == "idle" for n in cluster.nodes for b in n.backends()), 10,
               "every backend is idle")
    row = [r for r in p.admin("SHOW POOLS") if r["node"] == "p1"][0]
    assert (row["sv_active"], row["cl_waiting"]) == ("0", "0")
    rows_of(p.connect(), "update t set v = v + 1 where id = 32")


def vanish(connection):
    with socket.socket(fileno=os.dup(connection.fileno())) as s:
        s.shutdown(socket.SHUT_RDWR)
