# SPDX-License-Identifier: PostgreSQL
"""Read-your-writes, lag, and never back in time, with asynchronous replicas."""
import threading
import time

import pytest

from cluster import APP_DATABASE, wait_until
from proxy import last_route, one, rows_of


def write_then_read(connection, rounds, tag):
    """Each round writes a value and reads it back: how many reads were stale."""
    stale = 0
    for i in range(1, rounds + 1):
        rows_of(connection, f"update t set v = {i} where id = 1 /*{tag}_write*/")
        if one(connection, f"select v from t where id = 1 /*{tag}_read*/") != i:
            stale += 1
    return stale


def delay_replicas(cluster, delay):
    for replica in cluster.replicas:
        replica.set("recovery_min_apply_delay", delay)
    time.sleep(0.2)  # the start-up process reads its configuration between two records


@pytest.mark.core
@pytest.mark.invariant
def test_a_session_sees_its_own_writes_1000_times(cluster, gear):
    assert write_then_read(gear.connect(), 1000, "own") == 0
    assert cluster.saw("own_write") == {"p1": 1000}


@pytest.mark.invariant
def test_a_session_sees_its_own_writes_with_replicas_that_apply_late(cluster, gear):
    delay_replicas(cluster, "300ms")
    assert write_then_read(gear.connect(), 200, "late") == 0


def test_eventual_reads_do_see_old_data(cluster, gear):
    """The counter-proof: without the gate the same loop is stale."""
    delay_replicas(cluster, "300ms")
    connection = gear.connect()
    rows_of(connection, "set switchgear.consistency = 'eventual'")
    assert write_then_read(connection, 100, "eventual") > 50


@pytest.mark.core
def test_reads_return_to_the_replicas_100_ms_after_a_write(cluster, proxy):
    p = proxy(probe={"interval": "500ms", "freshness_interval": "500ms"})
    connection = p.connect()
    for i in range(20):
        rows_of(connection, f"update t set v = {i} where id = 2")
        assert one(connection, "select v from t where id = 2") == i
        time.sleep(0.1)
        assert one(connection, "select v from t where id = 2 /*returned*/") == i
    seen = cluster.saw("returned")
    assert sum(seen.values()) == 20
    assert seen.get("p1", 0) <= 4, seen


def test_a_read_right_after_a_write_says_recent_write(cluster, gear):
    delay_replicas(cluster, "300ms")
    connection = gear.connect()
    rows_of(connection, "update t set v = 5 where id = 3")
    one(connection, "select v from t where id = 3")
    route = last_route(connection)
    assert (route["role"], route["reason"]) == ("primary", "recent_write")


def test_a_rolled_back_block_does_not_make_a_session_dirty(cluster, gear):
    delay_replicas(cluster, "2s")
    connection = gear.connect()
    rows_of(connection, "begin")
    rows_of(connection, "update t set v = 6 where id = 3")
    rows_of(connection, "rollback")
    one(connection, "select 1 /*after_rollback*/")
    assert "p1" not in cluster.saw("after_rollback")


def test_another_sessions_read_is_not_held_back(cluster, gear):
    delay_replicas(cluster, "300ms")
    writer, reader = gear.connect(), gear.connect()
    rows_of(writer, "update t set v = 7 where id = 3")
    one(reader, "select v from t where id = 3 /*not_held*/")
    assert "p1" not in cluster.saw("not_held")


@pytest.mark.invariant
def test_what_a_chained_commit_kept_is_read_back(cluster, gear):
    delay_replicas(cluster, "1s")
    for value, chain in enumerate(("commit and chain", "commit; begin"), 77):
        session = gear.connect()
        for sql in ("begin", f"update t set v = {value} where id = 98", chain, "rollback"):
            rows_of(session, sql)
        assert one(session, "select v from t where id = 98") == value


@pytest.mark.parametrize("isolation", ["text", "proven"])
def test_a_table_that_another_session_has_just_made_is_found(cluster, proxy, isolation):
    p = proxy(database={"isolation": isolation})
    maker, reader = p.connect(), p.connect()
    delay_replicas(cluster, "1s")
    rows_of(maker, "create table just_made (id int)")
    assert one(reader, f"select count(*) from just_made /*found {isolation}*/") == 0
    rows_of(maker, "drop table just_made")
    seen = set(cluster.saw(f"found {isolation}"))
    if isolation == "text":
        assert seen > {"p1"}  # a replica was asked first
    else:
        assert "p1" in seen


@pytest.mark.invariant
def test_global_sees_every_write_through_this_proxy(cluster, gear):
    delay_replicas(cluster, "300ms")
    writer, reader = gear.connect(), gear.connect()
    rows_of(reader, "set switchgear.consistency = 'global'")
    for i in range(100):
        rows_of(writer, f"update t set v = {i} where id = 4")
        assert one(reader, "select v from t where id = 4") == i


def test_a_lagging_replica_gets_no_reads_and_says_why(cluster, proxy):
    p = proxy(database={"max_lag": "800ms"})
    cluster.replicas[0].set("recovery_min_apply_delay", "20s")
    time.sleep(0.2)
    rows_of(p.connect(), "update t set v = v + 1 where id = 5")
    wait_until(lambda: p.nodes()["r1"]["breaker_reason"] == "lagging", 10, "r1 lags")
    assert float(p.nodes()["r1"]["lag_ms"]) > 800
    for _ in range(30):
        one(p.connect(), "select v from t where id = 5 /*lagging*/")
    assert cluster.saw("lagging") == {"r2": 30}


def test_a_paused_replica_gets_no_reads_and_says_why(cluster, gear):
    cluster.replicas[1].pause_replay()
    wait_until(lambda: gear.nodes()["r2"]["breaker_reason"] == "paused", 10, "r2 is paused")
    for _ in range(20):
        one(gear.connect(), "select 1 /*stands_still*/")
    assert cluster.saw("stands_still") == {"r1": 20}
    cluster.replicas[1].resume_replay()
    wait_until(lambda: gear.nodes()["r2"]["breaker_reason"] in ("", None), 10, "r2 is back")


def test_max_lag_of_a_session_is_a_bound_of_its_own(cluster, gear):
    for replica in cluster.replicas:
        replica.set("recovery_min_apply_delay", "1500ms")
    time.sleep(0.2)
    gear_writer = gear.connect()
    rows_of(gear_writer, "update t set v = v + 1 where id = 6")
    time.sleep(0.9)  # older than the bound below, well under the database's
    strict, lax = gear.connect(), gear.connect()
    rows_of(strict, "set switchgear.max_lag = '300ms'")
    one(strict, "select 1 /*strict*/")
    one(lax, "select 1 /*lax*/")
    assert cluster.saw("strict") == {"p1": 1}
    assert "p1" not in cluster.saw("lax")


@pytest.mark.core
@pytest.mark.invariant
def test_a_session_never_goes_back_in_time_from_replica_to_replica(cluster, gear):
    """One replica applies late and each is drained in turn, so the session has to move. Reads that
    went to the primary in between do not count: they do not raise the floor."""
    cluster.replicas[0].set("recovery_min_apply_delay", "150ms")
    time.sleep(0.2)
    ending = threading.Event()

    def count_up():
        c = cluster.primary.connect(APP_DATABASE)
        while not ending.is_set():
            rows_of(c, "update t set v = v + 1 where id = 9")
            time.sleep(0.005)
        c.close()

    cluster.primary.psql("update t set v = 0 where id = 9", APP_DATABASE)
    writer = threading.Thread(target=count_up)
    writer.start()
    reader, seen = gear.connect(), []
    try:
        for turn in range(8):
            gear.admin(f"UNDRAIN r{turn % 2 + 1}")
            gear.admin(f"DRAIN r{(turn + 1) % 2 + 1}")
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                value = one(reader, "select v from t where id = 9")
                seen.append((last_route(reader)["node"], value))
    finally:
        ending.set()
        writer.join()
        gear.admin("UNDRAIN r1")
        gear.admin("UNDRAIN r2")
    on_replicas = [(node, value) for node, value in seen if node != "p1"]
    moves = sum(a[0] != b[0] for a, b in zip(on_replicas, on_replicas[1:]))
    values = [value for _, value in on_replicas]
    assert values == sorted(values)
    assert values[-1] > values[0]
    assert moves >= 3, "both replicas were used in turn"


@pytest.mark.invariant
def test_ddl_is_visible_to_the_session_that_ran_it(gear):
    connection = gear.connect()
    for i in range(20):
        rows_of(connection, f"create table fresh{i} (id int)")
        assert one(connection, f"select count(*) from fresh{i}") == 0
        rows_of(connection, f"drop table fresh{i}")


def test_a_reconnected_replica_is_not_trusted_before_a_new_probe(cluster, proxy):
    """After a crash a standby accepts readers at an older point: no read may slip through."""
    p = proxy()
    connection = p.connect()
    stop = threading.Event()
    errors = []

    def check():
        i = 0
        while not stop.is_set():
            i += 1
            rows_of(connection, f"update t set v = {i} where id = 10")
            found = one(connection, "select v from t where id = 10")
            if found != i:
                errors.append((i, found))

    thread = threading.Thread(target=check)
    thread.start()
    for _ in range(3):
        time.sleep(0.3)
        cluster.replicas[0].kill9()
        cluster.replicas[0].start()
    time.sleep(1)
    stop.set()
    thread.join(20)
    assert not thread.is_alive() and errors == []
