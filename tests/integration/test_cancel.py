# SPDX-License-Identifier: PostgreSQL
"""A cancel request stops the statement that was meant, and no other."""
import struct
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import one, rows_of
from wire import CANCEL_REQUEST, Wire, first_error, query, types


class Sleeper(threading.Thread):
    """Runs one statement in its own thread and keeps how it ended."""

    def __init__(self, connection, sql):
        super().__init__(daemon=True)
        self.connection, self.sql, self.error, self.rows = connection, sql, None, None
        self.start()

    def run(self):
        try:
            self.rows = rows_of(self.connection, self.sql)
        except psycopg2.Error as error:
            self.error = error.pgcode or str(error)


@pytest.mark.core
@pytest.mark.parametrize("sql", ["select pg_sleep(30)", "select pg_sleep(30), txid_current()"])
def test_a_cancel_stops_the_running_statement(cluster, gear, sql):
    c = gear.connect()
    sleeper = Sleeper(c, sql)
    cluster.wait_running(sql)
    c.cancel()
    sleeper.join(5)
    assert sleeper.error == "57014"
    assert one(c, "select 1") == 1


@pytest.mark.invariant
@pytest.mark.core
def test_a_cancel_hits_no_other_client(cluster, gear):
    connections = [gear.connect() for _ in range(6)]
    sleepers = [Sleeper(c, "select pg_sleep(1.5)") for c in connections]
    cluster.wait_running("pg_sleep(1.5)", 6)
    connections[3].cancel()
    for s in sleepers:
        s.join(10)
    assert [s.error for s in sleepers] == [None, None, None, "57014", None, None]


@pytest.mark.invariant
def test_late_cancels_never_hit_the_next_client(proxy):
    """Cancels race the ends of short statements; the other clients share the same two backends."""
    p = proxy(database={"pool_size": 2})
    ending = threading.Event()
    innocent_errors = []

    def innocent():
        c = p.connect()
        while not ending.is_set():
            try:
                one(c, "select pg_sleep(0.005), txid_current()")
            except psycopg2.Error as error:
                innocent_errors.append(error.pgcode)

    threads = [threading.Thread(target=innocent) for _ in range(3)]
    for thread in threads:
        thread.start()
    c = p.connect()
    for i in range(100):
        sleeper = Sleeper(c, "select pg_sleep(0.005), txid_current()")
        time.sleep(0.001 * (i % 12))
        c.cancel()
        sleeper.join(10)
        assert sleeper.error in (None, "57014")
    ending.set()
    for thread in threads:
        thread.join(10)
    assert innocent_errors == []


@pytest.mark.core
def test_a_waiting_client_is_cancelled_out_of_the_queue(proxy):
    p = proxy(database={"pool_size": 1})
    holder, waiter = p.connect(), p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = 1 where id = 60")
    sleeper = Sleeper(waiter, "update t set v = 2 where id = 60")
    wait_until(lambda: sum(int(row["cl_waiting"]) for row in p.admin("SHOW POOLS")) == 1, 5, "it waits")
    began = time.monotonic()
    waiter.cancel()
    sleeper.join(5)
    assert sleeper.error == "57014" and time.monotonic() - began < 2
    rows_of(holder, "commit")
    assert one(waiter, "/* switchgear: route=primary */ select v from t where id = 60") == 1


def test_a_cancel_of_an_idle_client_does_nothing(gear):
    c = gear.connect()
    one(c, "select 1")
    c.cancel()
    time.sleep(0.2)
    assert one(c, "select 1") == 1


def test_a_cancel_inside_a_block_fails_the_block(cluster, gear):
    c = gear.connect()
    rows_of(c, "begin")
    rows_of(c, "update t set v = 1 where id = 61")
    sleeper = Sleeper(c, "select pg_sleep(30)")
    cluster.wait_running("pg_sleep(30)")
    c.cancel()
    sleeper.join(5)
    assert sleeper.error == "57014"
    with pytest.raises(psycopg2.Error) as caught:
        one(c, "select 1")
    assert caught.value.pgcode == "25P02"
    rows_of(c, "rollback")


def test_a_wrong_key_cancels_nobody_and_gets_no_answer(cluster, proxy):
    p = proxy(switchgear={"auth_type": "trust"}, database={"user": "app", "password": "app-secret"})
    with Wire(p.port) as w:
        w.login(APP_USER, APP_DATABASE)
        w.send(query("select pg_sleep(1)"))
        cluster.wait_running("pg_sleep(1)")
        wrong = w.key[:4] + bytes(b ^ 0xff for b in w.key[4:])
        with Wire(p.port) as canceller:
            canceller.send(struct.pack("!II", 16, CANCEL_REQUEST) + wrong)
            assert canceller.recv() is None
        replies = w.recv_all()
        assert types(replies) == "TDCZ" and first_error(replies) is None
