# SPDX-License-Identifier: PostgreSQL
"""Nodes that take what is sent and say nothing: a late statement asks for a probe, whose silence is
the verdict. Who is only slow, or whose silence is ours, stays in use."""
import os
import signal
import threading
import time

import psycopg2
import pytest

from cluster import PROBE_USER, wait_until
from proxy import Load, one, rows_of
from relay import LyingRelay

# Without a late statement three probes have to fail, each after so long.
PATIENT = {"interval": "2s", "timeout": "2s"}
SEEN_SECONDS = 2.5  # one second on a machine that has time for us


def read(connection, _):
    assert one(connection, "select count(*) from t") == 100


def write(connection, index):
    rows_of(connection, f"update t set v = v + 1 where id = {80 + index}")


def generations(p):
    return {name: node["generation"] for name, node in p.nodes().items()}


def seconds_until_open(p, name):
    began = time.monotonic()
    wait_until(lambda: p.breaker(name) == "OPEN", 20, f"{name} is OPEN", 0.01)
    print(f"{name} was seen after {time.monotonic() - began:.2f} s")
    return time.monotonic() - began


def test_a_replica_that_stops_is_seen_by_a_late_read(cluster, proxy):
    p = proxy(probe=PATIENT)
    with Load(p, read, clients=4) as load:
        wait_until(lambda: load.done > 100, 10, "reads run")
        cluster.replicas[1].sigstop()
        seen = seconds_until_open(p, "r2")
        cluster.replicas[1].sigcont()
        p.wait_breaker("r2", "CLOSED", 40)
    assert seen < SEEN_SECONDS
    assert load.errors == []
    assert load.slowest < SEEN_SECONDS + 1
    assert p.nodes()["r1"]["breaker"] == p.nodes()["p1"]["breaker"] == "CLOSED"


def test_a_primary_that_stops_is_seen_by_a_late_write(cluster, proxy):
    p = proxy(probe=PATIENT)
    with Load(p, write, clients=4) as load:
        wait_until(lambda: load.done > 100, 10, "writes run")
        cluster.primary.sigstop()
        seen = seconds_until_open(p, "p1")
        done = load.done
        cluster.primary.sigcont()
        wait_until(lambda: load.done > done + 100, 20, "writes go on")
    assert seen < SEEN_SECONDS
    assert load.errors == []


@pytest.mark.parametrize("name", ["r1", "p1"])
def test_a_node_behind_a_black_hole_is_seen(cluster, proxy, name):
    with LyingRelay(cluster.node(name).port) as relay:
        p = proxy(probe=PATIENT, nodes={name: {"port": relay.port}})
        p.admin("DRAIN r2")  # the relay is slow: reads would keep away from r1
        with Load(p, read if name == "r1" else write, clients=4) as load:
            wait_until(lambda: load.done > 100, 10, "statements run")
            relay.silent = True
            seen = seconds_until_open(p, name)
            relay.silent = False
            p.wait_breaker(name, "CLOSED", 40)
        assert load.errors == []
    assert seen < SEEN_SECONDS


def test_who_waits_for_a_connection_asks_too(cluster, proxy):
    """Nothing has been sent there yet: its door is what is silent."""
    with LyingRelay(cluster.replicas[0].port) as relay:
        p = proxy(probe={**PATIENT, "freshness_interval": "50ms"},
                  nodes={"r1": {"port": relay.port}}, database={"consistency": "eventual"})
        clients = [p.connect() for _ in range(8)]
        relay.silent = True
        threads = [threading.Thread(target=read, args=(c, 0)) for c in clients]
        for thread in threads:
            thread.start()
        assert seconds_until_open(p, "r1") < SEEN_SECONDS
        for thread in threads:
            thread.join(10)
        relay.silent = False


@pytest.mark.parametrize("sql", ["select pg_sleep(2)", "select count(*) from t, pg_sleep(2)",
                                 "update t set v = v from pg_sleep(2) where id = 90"])
def test_a_long_statement_alone_opens_nothing(cluster, proxy, sql):
    p = proxy(probe=PATIENT)
    before = generations(p)
    rows_of(p.connect(), sql)
    assert generations(p) == before


def test_a_wait_for_a_lock_opens_nothing(cluster, proxy):
    p = proxy(probe=PATIENT)
    before = generations(p)
    holder, waiter = p.connect(autocommit=False), p.connect()
    rows_of(holder, "update t set v = v where id = 91")
    thread = threading.Thread(target=rows_of, args=(waiter, "update t set v = v where id = 91"))
    thread.start()
    cluster.wait_running("where id = 91")
    time.sleep(2)
    holder.rollback()
    thread.join(10)
    assert generations(p) == before


def stop_backends_of_probes(node):
    """Of the standing connection: a new one is answered."""
    pids = [row[0] for row in node.psql(
        "select pid from pg_stat_activity where usename = %s and application_name = "
        "'switchgear-probe'", parameters=(PROBE_USER,))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def test_a_primary_that_answers_a_witness_stays(cluster, proxy):
    """All that was sent there is stuck, and the probe with it, but its door is open."""
    p = proxy(probe=PATIENT)
    c = p.connect()
    rows_of(c, "update t set v = v where id = 92")
    before = generations(p)
    pids = stop_backends_of_probes(cluster.primary)
    assert pids
    try:
        rows_of(c, "update t set v = v from pg_sleep(2) where id = 92")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert generations(p)["p1"] == before["p1"]
    assert p.metric("switchgear_witnesses_total", node="p1", result="ok") > 0


def test_a_node_that_serves_others_stays(cluster, proxy):
    p = proxy(probe={"interval": "2s", "timeout": "10s"})
    before = generations(p)
    with Load(p, read, clients=4) as load:
        pids = stop_backends_of_probes(cluster.replicas[0])
        assert pids
        try:
            time.sleep(2)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    assert load.errors == []
    assert generations(p) == before


def test_a_proxy_that_slept_blames_nobody(cluster, proxy):
    p = proxy(probe={"interval": "200ms", "timeout": "600ms"})
    before = generations(p)
    with Load(p, read, clients=4) as load:
        wait_until(lambda: load.done > 100, 10, "reads run")
        for _ in range(3):
            p.signal(signal.SIGSTOP)
            time.sleep(1.5)
            p.signal(signal.SIGCONT)
            done = load.done
            wait_until(lambda: load.done > done + 100, 10, "reads go on")
    assert load.errors == []
    assert generations(p) == before


def test_late_statements_may_ask_for_nothing(cluster, proxy):
    p = proxy(probe={"interval": "500ms", "timeout": "600ms", "late_timeout": "0"})
    with Load(p, read, clients=4) as load:
        wait_until(lambda: load.done > 100, 10, "reads run")
        cluster.replicas[1].sigstop()
        seen = seconds_until_open(p, "r2")
        cluster.replicas[1].sigcont()
    assert seen > 1.2
    assert load.errors == []


class Endless:
    """A file for COPY that ends when it is told to."""

    def __init__(self):
        self.ending = threading.Event()

    def read(self, size):
        return "" if self.ending.is_set() else "x" * (size - 1) + "\n"


def copy(connection, source, errors):
    try:
        with connection.cursor() as cursor:
            cursor.copy_expert("copy log (note) from stdin", source, 8192)
    except psycopg2.Error as error:
        errors.append(error)


def test_what_is_under_way_to_a_node_that_is_out_ends(cluster, proxy):
    """The kernel would send it again for a quarter of an hour."""
    errors, source = [], Endless()
    with LyingRelay(cluster.primary.port) as relay:
        p = proxy(nodes={"p1": {"port": relay.port}})
        thread = threading.Thread(target=copy, args=(p.connect(), source, errors))
        thread.start()
        cluster.wait_running("copy log")
        relay.deaf = True
        p.wait_breaker("p1", "OPEN", 10, drive=False)
        thread.join(20)
        relay.deaf = False
        source.ending.set()
        assert not thread.is_alive()
    assert len(errors) == 1 and isinstance(errors[0], psycopg2.OperationalError), errors


def test_a_copy_that_its_server_does_not_take_waits(cluster, proxy):
    """For a lock, as long as it takes: the node is in use."""
    errors, source = [], Endless()
    p = proxy()
    holder, c = p.connect(autocommit=False), p.connect()
    rows_of(holder, "lock table log in exclusive mode")
    thread = threading.Thread(target=copy, args=(c, source, errors))
    thread.start()
    cluster.wait_running("copy log")
    time.sleep(7)
    source.ending.set()
    holder.rollback()
    thread.join(20)
    assert not thread.is_alive() and errors == []
