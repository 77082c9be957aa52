# SPDX-License-Identifier: PostgreSQL
"""Many clients on few backends, fairly."""
import glob
import os
import socket
import subprocess
import threading
import time

import psycopg2
import pytest

from cluster import APP_PASSWORD, APP_USER, as_user, wait_until
from proxy import child_environment, one, rows_of


OPEN = {"switchgear": {"auth_type": "trust", "workers": 2},  # 200 log-ins by SCRAM take their time
        "database": {"user": APP_USER, "password": APP_PASSWORD, "pool_size": 10}}


def pgbench_ends(cluster, p, clients, transactions, script):
    """Runs a pgbench script, so often for each client: {client: [when each ended, in s]}."""
    directory = cluster.subdirectory("pgbench")
    for old in glob.glob(directory + "/fair.*"):
        os.remove(old)
    p.write(directory + "/script.sql", script)
    cluster.give(directory)
    done = subprocess.run(
        [cluster.binary("pgbench"), "-n", "-c", str(clients), "-j", "2", "-t",
         str(transactions), "-l",
         "--log-prefix", directory + "/fair", "-f", directory + "/script.sql", p.dsn()],
        capture_output=True, text=True, timeout=90, cwd=directory,
        env=child_environment({}), **as_user(cluster.user))
    assert done.returncode == 0, done.stdout + done.stderr
    ends = {}
    for path in glob.glob(directory + "/fair.*"):
        with open(path, encoding="utf-8") as f:
            for line in f:
                client, _, _, _, seconds, microseconds = line.split()[:6]
                ends.setdefault(int(client), []).append(int(seconds) + int(microseconds) / 1e6)
    return ends


class BackendWatch:
    """The most backends of the application that each node had at one moment."""

    def __init__(self, cluster):
        self.highest = {node.name: 0 for node in cluster.nodes}
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(cluster,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def run(self, cluster):
        while not self.ending.wait(0.05):
            for node in cluster.nodes:
                self.highest[node.name] = max(self.highest[node.name], len(node.backends()))


def test_200_clients_share_10_backends_a_node_fairly(cluster, proxy):
    p = proxy(**OPEN)
    with BackendWatch(cluster) as watch:
        ends = pgbench_ends(cluster, p, 200, 50, "select pg_sleep(0.002);\n")
    assert len(ends) == 200, "every client was served"
    first = min(values[-1] for values in ends.values())
    done = {client: sum(end <= first for end in values) for client, values in ends.items()}
    assert min(done.values()) > 10, "when the first is through with its 50, nobody is far behind"
    assert max(watch.highest.values()) <= 10, watch.highest
    assert watch.highest["r1"] > 0 and watch.highest["r2"] > 0


def test_200_writers_share_10_backends_of_the_primary(cluster, proxy):
    p = proxy(**OPEN)
    script = "\\set id random(1, 100)\nupdate t set v = v + 1 where id = :id;\n"
    with BackendWatch(cluster) as watch:
        ends = pgbench_ends(cluster, p, 200, 20, script)
    assert len(ends) == 200
    assert 0 < watch.highest["p1"] <= 10, watch.highest


@pytest.mark.core
def test_two_clients_take_turns_on_one_backend(proxy):
    p = proxy(database={"pool_size": 1})
    a, b = p.connect(), p.connect()
    pids = {one(c, "select pg_backend_pid()") for c in (a, b, a, b)}
    assert len(pids) == 1
    for c in (a, b):
        rows_of(c, "begin")
        rows_of(c, "update t set v = v + 1 where id = 20")
        rows_of(c, "commit")


def test_an_idle_block_holds_no_backend(proxy):
    p = proxy(database={"pool_size": 1})
    idle = [p.connect() for _ in range(5)]
    for c in idle:
        rows_of(c, "begin")
    busy = p.connect()
    rows_of(busy, "update t set v = v + 1 where id = 21")
    for c in idle:
        rows_of(c, "update t set v = v + 1 where id = 21")
        rows_of(c, "commit")


@pytest.mark.core
def test_a_client_that_vanishes_in_a_block_is_rolled_back(cluster, proxy):
    p = proxy(database={"pool_size": 2})
    gone = p.connect()
    rows_of(gone, "begin")
    rows_of(gone, "insert into log (note) values ('vanished')")
    vanish(gone)
    wait_until(lambda: not [b for b in cluster.primary.backends() if b[1] != "idle"], 5,
               "no backend is left in a transaction")
    assert one(p.connect(), "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'vanished'") == 0
    rows_of(p.connect(), "update t set v = v + 1 where id = 22")


def vanish(connection):
    """Ends the stream under libpq: no Terminate is sent."""
    with socket.socket(fileno=os.dup(connection.fileno())) as s:
        s.shutdown(socket.SHUT_RDWR)


def test_a_client_that_vanishes_while_a_statement_runs_frees_its_backend(cluster, proxy):
    p = proxy(database={"pool_size": 1})
    gone = p.connect()
    thread = threading.Thread(target=swallow, args=(gone, "select pg_sleep(60), txid_current()"))
    thread.start()
    wait_until(lambda: [b for b in cluster.primary.backends() if b[1] == "active"], 5, "it runs")
    vanish(gone)
    wait_until(lambda: not [b for b in cluster.primary.backends() if b[1] == "active"], 10,
               "the statement was cancelled")
    rows_of(p.connect(), "update t set v = v + 1 where id = 22")
    thread.join(70)


def swallow(connection, sql):
    try:
        rows_of(connection, sql)
    except psycopg2.Error:
        pass


@pytest.mark.core
def test_waiting_too_long_for_a_backend_is_an_error(proxy):
    p = proxy(switchgear={"query_wait_timeout": "500ms"}, database={"pool_size": 1})
    holder, waiter = p.connect(), p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 23")
    began = time.monotonic()
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(waiter, "update t set v = v + 1 where id = 24")
    assert 0.3 < time.monotonic() - began < 5
    assert "query_wait_timeout" in str(caught.value)
    rows_of(holder, "commit")
    rows_of(p.connect(), "update t set v = v + 1 where id = 24")


def test_max_client_conn_refuses_with_53300(proxy):
    p = proxy(switchgear={"max_client_conn": 5})
    kept = [p.connect() for _ in range(5)]
    with pytest.raises(psycopg2.OperationalError, match="max_client_conn|too many"):
        p.connect()
    kept.pop().close()
    wait_until(lambda: connects(p), 5, "a place is free again")


def connects(p):
    try:
        return p.connect()
    except psycopg2.OperationalError:
        return None


def test_waiters_are_served_when_the_holder_commits(proxy):
    p = proxy(database={"pool_size": 1})
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = 0 where id = 25")
    waiters = [p.connect() for _ in range(20)]
    threads = [threading.Thread(target=rows_of, args=(c, "update t set v = v + 1 where id = 25"))
               for c in waiters]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert int(sum(int(r["cl_waiting"]) for r in p.admin("SHOW POOLS"))) == 20
    rows_of(holder, "commit")
    for thread in threads:
        thread.join(10)
    assert one(p.connect(), "/* switchgear: route=primary */ select v from t where id = 25") == 20


def test_a_full_pool_of_the_primary_keeps_nobody_from_logging_in(proxy):
    """A client whose settings nobody had before learns its parameters from a server: from any."""
    p = proxy(database={"pool_size": 1})
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v where id = 27")
    began = time.monotonic()
    clients = [p.connect(application_name=f"late{i}") for i in range(6)]
    assert time.monotonic() - began < 3
    assert one(clients[0], "select current_setting('application_name')") == "late0"
    rows_of(holder, "commit")
    assert one(clients[1], "show application_name") == "late1"


def test_session_mode_keeps_one_backend(proxy):
    p = proxy(database={"pool_mode": "session"})
    a, b = p.connect(), p.connect()
    pids_a = {one(a, "select pg_backend_pid()") for _ in range(5)}
    pids_b = {one(b, "select pg_backend_pid()") for _ in range(5)}
    assert len(pids_a) == len(pids_b) == 1 and pids_a != pids_b


def test_a_backend_that_was_terminated_while_idle_is_replaced_silently(cluster, proxy):
    p = proxy()
    c = p.connect()
    one(c, "select pg_backend_pid()")
    cluster.primary.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                         "where usename = 'app'")
    wait_until(lambda: not cluster.primary.backends(), 5, "the backends are gone")
    time.sleep(0.2)
    rows_of(c, "update t set v = v + 1 where id = 26")


def test_a_lifetime_shorter_than_a_login_lets_each_connection_serve_once(proxy):
    p = proxy(switchgear={"server_lifetime": "1us"}, database={"pool_mode": "session"})
    pids = []
    for _ in range(3):
        c = p.connect()
        assert one(c, "select 1") == 1
        pids.append(one(c, "select pg_backend_pid()"))
        assert one(c, "select pg_backend_pid()") == pids[-1]
        c.close()
    assert len(set(pids)) == 3
