# SPDX-License-Identifier: PostgreSQL
"""Nodes die; reads do not notice, writes learn the truth."""
import re
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import Load, last_route, one, rows_of


def read(connection, _):
    assert one(connection, "select count(*) from t /*steady*/") == 100


def is_connection_loss(error):
    code = error.pgcode or ""
    return code[:2] == "08" or code[:3] == "57P" or (not code and "server closed" in str(error))


@pytest.mark.core
def test_no_read_fails_when_a_replica_is_killed_and_it_comes_back(cluster, proxy):
    p = proxy()
    with Load(p, read, clients=6) as load:
        time.sleep(0.5)
        cluster.replicas[0].kill9()
        p.wait_breaker("r1", "OPEN", 5)
        time.sleep(0.5)
        cluster.mark_logs()
        time.sleep(0.5)
        seen = cluster.saw("steady")
        assert seen.get("r2", 0) > 0 and "r1" not in seen
        cluster.replicas[0].start()
        p.wait_breaker("r1", "CLOSED", 30)
        cluster.mark_logs()
        wait_until(lambda: cluster.saw("steady").get("r1", 0) > 0, 20, "r1 serves reads again")
    assert load.errors == []
    assert load.done > 500


def test_a_killed_replica_opens_its_breaker_at_once(cluster, proxy):
    p = proxy(probe={"interval": "5s"})
    with Load(p, read, clients=2) as load:
        time.sleep(0.3)
        cluster.replicas[0].kill9()
        wait_until(lambda: p.breaker("r1") == "OPEN", 3, "r1 is OPEN long before the next probe", 0.01)
    assert load.errors == []
    assert p.nodes()["r1"]["breaker_reason"] in ("connect", "errors", "starting")


def test_no_read_fails_when_a_replica_falls_silent(cluster, proxy):
    p = proxy(probe={"interval": "200ms", "timeout": "500ms"})
    with Load(p, read, clients=6) as load:
        time.sleep(0.5)
        cluster.replicas[1].sigstop()
        p.wait_breaker("r2", "OPEN", 10)
        time.sleep(1)
        done = load.done
        time.sleep(1)
        assert load.done > done, "reads go on at the other replica"
        cluster.replicas[1].sigcont()
        p.wait_breaker("r2", "CLOSED", 40)
    assert load.errors == []
    assert load.slowest < 10


@pytest.mark.core
def test_with_all_replicas_down_reads_use_the_primary(cluster, proxy):
    p = proxy()
    with Load(p, read, clients=4) as load:
        time.sleep(0.3)
        for replica in cluster.replicas:
            replica.kill9()
        for replica in cluster.replicas:
            p.wait_breaker(replica.name, "OPEN", 5)
        cluster.mark_logs()
        time.sleep(0.5)
        assert set(cluster.saw("steady")) == {"p1"}
        c = p.connect()
        one(c, "select 1")
        route = last_route(c)
        assert route["role"] == "primary"
        assert route["reason"] in ("no_replica", "breaker_open")
    assert load.errors == []


def test_read_fallback_fail_says_57P03(cluster, proxy):
    p = proxy(database={"read_fallback": "fail", "write_wait": "500ms"})
    for replica in cluster.replicas:
        replica.stop("immediate")
    for replica in cluster.replicas:
        p.wait_breaker(replica.name, "OPEN", 10, drive=False)
    c = p.connect()
    began = time.monotonic()
    with pytest.raises(psycopg2.Error) as caught:
        one(c, "select 1")
    assert caught.value.pgcode == "57P03"
    assert 0.3 < time.monotonic() - began < 5
    rows_of(c, "update t set v = v + 1 where id = 70")
    for replica in cluster.replicas:
        replica.start()
    # A closed breaker is not yet evidence that the replica has caught up: until then it lags.
    wait_until(lambda: reads_again(c), 30, "the reads come back")


def reads_again(connection):
    try:
        return one(connection, "select 1") == 1
    except psycopg2.Error as error:
        assert error.pgcode == "57P03", error
        return False


@pytest.mark.core
@pytest.mark.invariant
def test_a_write_whose_backend_is_terminated_fails_truly_and_is_not_retried(cluster, proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "update t set v = v where id = 71")
    errors = []

    def write():
        try:
            rows_of(c, "insert into log (note) select 'lost' from pg_sleep(3) /*lost_write*/")
        except psycopg2.Error as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    wait_until(lambda: cluster.saw("lost_write"), 5, "the write runs")
    # The marker is split here: this statement is logged too.
    cluster.primary.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                         "where query like '%lost' || '_write%' and usename = 'app'")
    thread.join(10)
    assert len(errors) == 1 and is_connection_loss(errors[0]), errors
    assert cluster.saw("lost_write") == {"p1": 1}
    assert cluster.primary.psql("select count(*) from log where note = 'lost'",
                                APP_DATABASE) == [(0,)]
    assert one(p.connect(), "select 1") == 1


@pytest.mark.invariant
def test_a_write_whose_primary_is_killed_has_an_unknown_outcome(cluster, proxy):
    p = proxy()
    errors, done = [], []

    def write(number):
        c = p.connect()
        i = 0
        while not errors or i == 0:
            i += 1
            try:
                rows_of(c, f"insert into log (note) select 'w{number}-{i}' from pg_sleep(0.3) "
                           f"/*w{number}-{i}x*/")
                done.append(f"w{number}-{i}")
            except psycopg2.Error as error:
                errors.append((f"w{number}-{i}", error))
                return

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    # The writes are slow, so that the kill finds some of them running: idle connections that die are
    # replaced without a word.
    wait_until(lambda: len(done) >= 4, 20, "all four write")
    cluster.primary.kill9()
    time.sleep(0.2)
    cluster.primary.start()
    for thread in threads:
        thread.join(20)
    assert errors and all(is_connection_loss(e) for _, e in errors), errors
    notes = [n for (n,) in cluster.primary.psql("select note from log where note like 'w%-%'",
                                                APP_DATABASE)]
    assert set(done) <= set(notes), "what was confirmed is there"
    assert len(notes) == len(set(notes)), "nothing was written twice"
    for name, _ in errors:
        assert cluster.primary.saw(name + "x") <= 1


def test_writes_wait_for_a_primary_that_restarts(cluster, proxy):
    p = proxy(database={"write_wait": "10s"})
    c = p.connect()
    cluster.primary.stop("immediate")
    p.wait_breaker("p1", "OPEN", 10, drive=False)
    threading.Timer(1.0, cluster.primary.start).start()
    began = time.monotonic()
    rows_of(c, "update t set v = v + 1 where id = 72")
    assert 0.5 < time.monotonic() - began < 10


def test_writes_fail_with_57P03_after_write_wait(cluster, proxy):
    p = proxy(database={"write_wait": "500ms"})
    c = p.connect()
    cluster.primary.stop("immediate")
    p.wait_breaker("p1", "OPEN", 10, drive=False)
    began = time.monotonic()
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(c, "update t set v = v + 1 where id = 73")
    assert caught.value.pgcode == "57P03"
    assert 0.3 < time.monotonic() - began < 5
    p.waits_for_names = False  # nobody can be asked
    for i in range(4):  # by whichever worker, with settings that none of them knows yet
        late = p.connect(application_name=f"late{i}")
        assert one(late, "select 1") == 1, "log-ins and reads go on without a primary"


def test_a_promoted_replica_takes_the_writes(cluster, proxy):
    p = proxy(database={"write_wait": "15s"})
    c = p.connect()
    rows_of(c, "update t set v = 1 where id = 74")
    cluster.wait_replicated()
    cluster.primary.kill9()
    cluster.replicas[0].promote()
    rows_of(c, "update t set v = 2 where id = 74 /*promoted*/")
    assert cluster.replicas[0].saw("promoted") == 1
    assert one(c, "select v from t where id = 74") == 2
    assert p.nodes()["r1"]["role"] == "primary"


def test_a_flood_of_sql_errors_leaves_the_breakers_closed(gear):
    c = gear.connect()
    for _ in range(100):
        with pytest.raises(psycopg2.Error):
            one(c, "select 1 / 0")
    assert {n["breaker"] for n in gear.nodes().values()} == {"CLOSED"}


def test_terminating_one_backend_does_not_open_the_breaker(cluster, proxy):
    p = proxy()
    c = p.connect()
    one(c, "select 1")
    node = cluster.node(last_route(c)["node"])
    node.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
    time.sleep(0.5)
    assert one(c, "select 1") == 1
    assert p.breaker(node.name) == "CLOSED"


# ---- a primary of which there is no other ----


def steps_of(p, node):
    return [line for line in p.log_text().splitlines() if f"event=breaker node={node} " in line]


def test_a_sole_primary_serves_again_at_its_first_good_probe(cluster, proxy):
    """However often it goes: no trial, no open time that grows, and who waited is served."""
    p = proxy(database={"write_wait": "20s"})
    writers = {}

    def write(_, index):  # whose write was under way is told so by the end of its connection
        if index not in writers or writers[index].closed:
            writers[index] = p.connect()
        rows_of(writers[index], f"update t set v = v + 1 where id = {index}")

    try:
        for i in range(4):
            with Load(p, write, clients=4, pause=0.02) as load:
                wait_until(lambda: load.done > 8, 5, "writes go")
                cluster.primary.stop("immediate" if i % 2 else "fast")
                wait_until(lambda: p.breaker("p1") == "OPEN", 10, "it is seen to be gone")
                cluster.primary.start()
                wait_until(lambda: p.breaker("p1") == "CLOSED", 5, "it is back")
                done = load.done
                wait_until(lambda: load.done > done + 8, 5, "who waited is served")
            # what was under way when it ended is lost, and says so; nobody waited in vain
            assert [e for e in load.errors if e[0] == "57P03"] == []
    finally:
        if not cluster.primary.alive():
            cluster.primary.start()
    assert "to=HALF_OPEN" not in "".join(steps_of(p, "p1"))


def test_many_who_wait_are_served_though_another_node_changes_meanwhile(cluster, proxy):
    p = proxy(database={"write_wait": "20s", "pool_size": 20})
    writers, answers = [p.connect() for _ in range(30)], []
    cluster.primary.stop("fast")

    def write(connection):
        try:
            rows_of(connection, "insert into log (note) select 'waits' from pg_sleep(0.3)")
            answers.append("ok")
        except psycopg2.Error as error:
            answers.append(str(error))

    threads = [threading.Thread(target=write, args=(w,)) for w in writers]
    for t in threads:
        t.start()
    wait_until(lambda: p.breaker("p1") == "OPEN", 10, "it is seen to be gone")
    cluster.primary.start()
    for sql in ("DRAIN r1", "UNDRAIN r1", "DRAIN r2", "UNDRAIN r2"):
        p.admin(sql)
    for t in threads:
        t.join(15)
    assert answers == ["ok"] * len(writers)


# ---- a read that recovery cancels ----


def test_a_conflict_that_both_replicas_have_is_answered_by_the_primary(cluster, proxy):
    """Long reads, while the primary updates and vacuums what they read: on a replica none lives."""
    for r in cluster.replicas:
        r.psql("alter system set max_standby_streaming_delay = '50ms'")
        r.psql("select pg_reload_conf()")
    p = proxy(database={"consistency": "eventual"})
    cluster.primary.psql("create table conflicts as select g as id, 0 as n from generate_series(1, 300) as g",
                         APP_DATABASE)
    cluster.primary.psql("grant select on conflicts to public", APP_DATABASE)
    cluster.wait_replicated()
    p.connect().close()

    def read(connection, _):
        rows_of(connection, "select count(*) from conflicts, pg_sleep(0.4) where n >= 0")

    try:
        with Load(p, read, clients=6, pause=0.01) as load:
            ends = time.monotonic() + 6
            while time.monotonic() < ends:
                cluster.primary.psql("update conflicts set n = n + 1", APP_DATABASE)
                cluster.primary.psql("vacuum conflicts", APP_DATABASE)
                time.sleep(0.1)
        assert load.errors == [] and load.done > 10
        conflicts = sum(r.psql("select sum(confl_snapshot + confl_lock + confl_bufferpin) from "
                               "pg_stat_database_conflicts")[0][0] for r in cluster.replicas)
        assert conflicts > 2
    finally:
        for r in cluster.replicas:
            r.psql("alter system reset max_standby_streaming_delay")
            r.psql("select pg_reload_conf()")
        cluster.primary.psql("drop table conflicts", APP_DATABASE)
        cluster.wait_replicated()


# ---- nobody is promoted ----


@pytest.mark.parametrize("level", ["session", "global", "bounded", "eventual"])
def test_reads_and_log_ins_go_on_while_no_primary_answers(cluster, proxy, level):
    """Longer than max_lag, and than lag_hard."""
    p = proxy(database={"max_lag": "1s", "consistency": level, "write_wait": "1s"},
              breaker={"lag_hard": "2s"})
    old = p.connect()
    rows_of(old, "update t set v = v + 1 where id = 60")
    wait_until(lambda: one(old, "select count(*) from t where id = 60") and last_route(old)["role"] == "replica",
               what="its replica shows its write")

    def read(connection, _):
        rows_of(connection, "select count(*) from t where id = 1")

    try:
        with Load(p, read, clients=4, pause=0.01) as load:
            cluster.primary.kill9()
            wait_until(lambda: p.metric("switchgear_primary_gone", shard="main") == 1, 10, "it is seen")
            assert re.search(r"event=primary_gone shard=\S+ reads=serve", p.log_text())
            ends = time.monotonic() + 4
            while time.monotonic() < ends:
                c = p.connect()
                assert one(c, "select count(*) from t where id = 1") == 1
                c.close()
                assert one(old, "select count(*) from t where id = 60") == 1
            assert load.errors == [] and load.slowest < 3
            with pytest.raises(psycopg2.Error) as caught:
                rows_of(old, "update t set v = v + 1 where id = 60")
            assert caught.value.pgcode == "57P03"
        assert {n["breaker_reason"] for name, n in p.nodes().items() if name != "p1"} == {"primary_gone"}
    finally:
        cluster.primary.start()
    wait_until(lambda: p.breaker("p1") == "CLOSED", 10, "it is back")
    wait_until(lambda: p.metric("switchgear_primary_gone", shard="main") == 0, 10, "that is over")
    rows_of(old, "update t set v = v + 1 where id = 60")
    wait_until(lambda: "primary_gone" not in {n["breaker_reason"] for n in p.nodes().values()}, 10,
               "lag counts again")


@pytest.mark.parametrize("how", ["down", "silent"])
def test_a_primary_that_was_away_at_the_start_keeps_nobody_out(cluster, proxy, how):
    if how == "down":
        cluster.primary.stop("fast")
    else:
        cluster.primary.sigstop()
    try:
        p = proxy(wait=False, database={"max_lag": "1s", "write_wait": "300ms"})
        wait_until(lambda: "event=ready" in p.log_text(), 10, "it listens")
        wait_until(lambda: [p.breaker(n) for n in ("r1", "r2")] == ["CLOSED", "CLOSED"], 10, "the replicas are there")
        for _ in range(3):
            c = p.connect()
            assert one(c, "select count(*) from t where id = 1") == 1
            with pytest.raises(psycopg2.Error) as caught:
                rows_of(c, "update t set v = v + 1 where id = 61")
            assert caught.value.pgcode == "57P03"
            c.close()
    finally:
        if how == "down":
            cluster.primary.start()
        else:
            cluster.primary.sigcont()
    wait_until(lambda: p.breaker("p1") == "CLOSED", 10, "it is back")
    rows_of(p.connect(), "update t set v = v + 1 where id = 61")


def test_primary_gone_reads_may_be_refused(cluster, proxy):
    p = proxy(switchgear={"primary_gone_reads": "refuse"},
              database={"max_lag": "500ms", "write_wait": "300ms"})
    c = p.connect()
    assert one(c, "select count(*) from t where id = 1") == 1
    cluster.primary.kill9()
    try:
        def refused():
            try:
                one(c, "select count(*) from t where id = 1")
                return False
            except psycopg2.Error as error:
                return error.pgcode == "57P03"
        wait_until(refused, 10, "beyond max_lag nothing is read")
    finally:
        cluster.primary.start()
    wait_until(lambda: not refused(), 10, "it is read again")
