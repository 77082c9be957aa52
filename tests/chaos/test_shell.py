# SPDX-License-Identifier: PostgreSQL
"""The proxy's sockets, pools and threads when peers behave badly: one story a test."""
import os
import socket
import struct
import subprocess
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, as_user, wait_until
from proxy import ADMIN_PASSWORD, ADMIN_USER, Load, last_route, one, rows_of
from wire import Wire, bind, execute, message, parse, query, sync

TRUST = {"switchgear": {"auth_type": "trust", "trust_anywhere": "on"}}


def trusting(proxy, **options):
    """A proxy that asks for no password: for clients that speak the protocol by hand."""
    switchgear = {**TRUST["switchgear"], **options.pop("switchgear", {})}
    return proxy(switchgear=switchgear, **options)


def login(p, receive_buffer=None):
    w = Wire(p.port, timeout=20)
    if receive_buffer is not None:
        w.socket.close()
        w.socket = socket.socket()
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        w.socket.settimeout(20)
        w.socket.connect(("127.0.0.1", p.port))
    w.login(APP_USER, APP_DATABASE)
    return w


LEAST_MB = 150  # of a process under AddressSanitizer that has not much to do


def resident_mb(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4 // 1024


def reset(w):
    """The client vanishes: its kernel answers with RST."""
    w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    w.socket.close()


def free_again(p, size, timeout=10):
    """All `size` connections of the pool can be had at once: none is lost."""
    connections = [p.connect(autocommit=False) for _ in range(size)]
    done = []

    def hold(c):
        rows_of(c, "update t set v = v where id = %s" % (connections.index(c) + 1))
        done.append(c)

    threads = [threading.Thread(target=hold, args=(c,), daemon=True) for c in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert len(done) == size, f"{len(done)} of {size} connections of the pool can be had"
    for c in connections:
        c.rollback()
        c.close()


def test_a_client_that_pipelines_without_reading_gets_every_answer_of_ours(proxy):
    """What the proxy answers by itself has no server's reply behind it that would wake what was
    held back while the client took nothing. And what is kept for it has a limit."""
    p = trusting(proxy)
    with login(p, receive_buffer=4096) as w:
        count = 200000
        batch = query("show switchgear.last_route") * 1000
        sender = threading.Thread(
            target=lambda: [w.socket.sendall(batch) for _ in range(count // 1000)], daemon=True)
        w.socket.settimeout(30)
        sender.start()
        time.sleep(2)
        assert resident_mb(p.process.pid) < LEAST_MB + 60, "what is kept for it is bounded"
        seen, tail = 0, b""
        while seen < count:
            chunk = w.socket.recv(1 << 20)
            assert chunk, "the proxy hung up"
            text = tail + chunk
            seen += text.count(b"Z\x00\x00\x00\x05")
            tail = text[-4:]
        sender.join(10)
        assert not sender.is_alive()


def test_slow_readers_that_leave_their_blocks_open_give_their_connections_back(proxy):
    """Of so many sizes one ends just where the server was stopped for its client's sake."""
    size = 48
    p = trusting(proxy, database={"pool_size": size})
    clients = [login(p, receive_buffer=4096) for _ in range(size)]
    for i, w in enumerate(clients):
        w.send(query("begin"), query(f"update t set v = v where id = {i + 1}"))
        w.recv_all(), w.recv_all()
        w.send(query(f"select repeat('x', 1000) from generate_series(1, {100 * (i + 1)})"))
    time.sleep(2)
    for w in clients:
        reset(w)
    time.sleep(0.5)
    free_again(p, size)


def test_a_client_that_leaves_a_copy_to_a_frozen_server_does_not_block_the_others(cluster, proxy):
    p = trusting(proxy, switchgear={"workers": 1}, probe={"timeout": "2s"})
    with login(p) as other:
        assert other.run(query("select 1"))[-1][0] == "Z"
        w = login(p)
        w.send(query("copy log (note) from stdin"))
        assert w.recv()[0] == "G"
        cluster.primary.sigstop()
        data = message("d", b"x" * 60000 + b"\n")
        w.socket.settimeout(1)
        try:
            for _ in range(1000):
                w.send(data)
        except socket.timeout:
            pass
        reset(w)
        time.sleep(0.5)
        other.socket.settimeout(5)
        assert other.run(query("show switchgear.last_route"))[-1][0] == "Z", "the worker lives"
    cluster.primary.sigcont()


@pytest.mark.invariant
def test_late_data_of_a_failed_copy_reaches_nobody_and_breaks_nothing(proxy):
    p = trusting(proxy, database={"pool_size": 1})
    ending = threading.Event()
    errors = []

    def work():
        c = p.connect()
        while not ending.is_set():
            try:
                rows_of(c, "update t set v = v + 1 where id = 5")
            except psycopg2.Error as error:
                errors.append(error)
                return

    others = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in others:
        thread.start()
    data = message("d", (b"not a number\t1\n" * 2000))
    for _ in range(20):
        with login(p) as w:
            w.send(query("copy t from stdin"))
            assert w.recv()[0] == "G"
            w.send(data * 40)
            w.send(message("c"))
            reply = w.recv_all()
            assert [k for k, _ in reply] == ["E", "Z"]
            assert [k for k, _ in w.run(query("select 1"))] == ["T", "D", "C", "Z"]
    ending.set()
    for thread in others:
        thread.join(10)
    assert errors == []


def test_cancels_that_a_frozen_server_does_not_take_hold_up_nothing(cluster, proxy):
    """A cancel request has no answer but the end of its connection: a frozen server never ends it."""
    p = proxy(probe={"timeout": "500ms"}, switchgear={"cancel_wait_timeout": "1s"})
    victims = [p.connect() for _ in range(6)]

    def wait(c):
        with pytest.raises(psycopg2.Error):
            rows_of(c, "insert into log (note) select 'never' from pg_sleep(30)")

    threads = [threading.Thread(target=wait, args=(c,), daemon=True) for c in victims]
    [thread.start() for thread in threads]
    wait_until(lambda: cluster.primary.saw("never") == 6, 5, "all run")
    time.sleep(0.2)
    cluster.primary.sigstop()
    cancels = [threading.Thread(target=c.cancel, daemon=True) for c in victims]
    [cancel.start() for cancel in cancels]
    [cancel.join(5) for cancel in cancels]
    assert not any(cancel.is_alive() for cancel in cancels)
    p.wait_breaker("p1", "OPEN", 5, drive=False)
    # a cancel at a node that lives: it does not wait for those that are stuck
    c = p.connect()
    began = time.monotonic()
    timer = threading.Timer(0.3, c.cancel)
    timer.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        one(c, "select count(*) from t, (select pg_sleep(8)) s")
    timer.join()
    assert time.monotonic() - began < 3
    p.signal(3)  # SIGQUIT: at once
    p.process.wait(10)
    cluster.primary.sigcont()
    [thread.join(10) for thread in threads]


def test_clients_that_share_a_servers_user_share_its_pool(proxy):
    """With `user` in the section all clients use the same connections, whatever they are called."""
    p = proxy(database={"user": APP_USER, "password": APP_PASSWORD, "pool_size": 2,
                        "pin_limit": "100%"}, switchgear={"query_wait_timeout": "3s"})
    blocks = [p.connect(autocommit=False) for _ in range(2)]
    for i, c in enumerate(blocks):
        rows_of(c, f"update t set v = v where id = {i + 1}")
    for c in blocks:
        c.rollback()
    other = p.connect(user=ADMIN_USER, password=ADMIN_PASSWORD)
    rows_of(other, "update t set v = v where id = 9")
    assert {row["user"] for row in p.admin("SHOW CLIENTS")} >= {APP_USER, ADMIN_USER}


def test_a_replica_that_refuses_the_user_costs_no_read(cluster, proxy):
    replica = cluster.replicas[0]
    path = os.path.join(replica.data, "pg_hba.conf")
    with open(path, encoding="utf-8") as f:
        honest = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"host all {APP_USER} 127.0.0.1/32 reject\n" + honest)
    try:
        replica.psql("select pg_reload_conf()")
        p = proxy(database={"pool_size": 2})

        def read(connection, _):
            assert one(connection, "select count(*) from t") == 100

        with Load(p, read, clients=12) as load:
            time.sleep(2)
        assert load.errors == [] and load.done > 100
    finally:
        with open(path, "w", encoding="utf-8") as f:
            f.write(honest)
        replica.psql("select pg_reload_conf()")


def test_a_pinned_session_that_is_idle_does_not_hold_up_a_shutdown(proxy):
    p = proxy()
    c = p.connect()
    rows_of(c, "listen something")
    assert one(c, "select 1") == 1
    began = time.monotonic()
    p.signal(15)
    p.process.wait(5)
    assert time.monotonic() - began < 5
    with pytest.raises(psycopg2.Error):
        one(c, "select 1")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def open_files(pid):
    return len(subprocess.check_output(["ls", f"/proc/{pid}/fd"], text=True).split())


def limit_files(p, soft):
    """As the user who runs the proxy: no one else may."""
    subprocess.run(["prlimit", "--pid", str(p.process.pid), f"--nofile={soft}:"], check=True,
                   **as_user(p.cluster.user))


def test_without_descriptors_it_neither_spins_nor_stays_away(proxy):
    p = trusting(proxy, database={"pool_size": 5})
    c = p.connect()
    assert one(c, "select 1") == 1
    pid = p.process.pid
    limit_files(p, open_files(pid) + 3)
    crowd = [socket.create_connection(("127.0.0.1", p.port)) for _ in range(20)]
    time.sleep(0.5)
    used = cpu_seconds(pid)
    writer = threading.Thread(target=lambda: rows_of(c, "update t set v = v where id = 1"),
                              daemon=True)  # needs a connection: there is no descriptor for it
    writer.start()
    time.sleep(2)
    assert cpu_seconds(pid) - used < 1, "it waits rather than to spin"
    limit_files(p, 1000)
    for s in crowd:
        s.close()
    writer.join(10)
    assert not writer.is_alive()
    assert one(p.connect(), "select 1") == 1


def test_a_read_that_a_frozen_replica_has_not_answered_is_tried_elsewhere(cluster, proxy):
    p = proxy(probe={"interval": "200ms", "timeout": "500ms"})

    def read(connection, _):
        assert one(connection, "select count(*) from t") == 100

    with Load(p, read, clients=8) as load:
        time.sleep(0.5)
        cluster.replicas[1].sigstop()
        p.wait_breaker("r2", "OPEN", 10)
        time.sleep(0.5)
        load.stop(5)  # a read that hangs would be an error here
    cluster.replicas[1].sigcont()
    assert load.errors == []


@pytest.mark.invariant
def test_pooled_connections_of_a_promoted_replica_write_once_and_are_the_primarys(cluster, proxy):
    p = proxy(database={"write_wait": "20s", "pool_size": 6})
    reads = [p.connect() for _ in range(6)]
    barrier = threading.Barrier(6)

    def warm_up(c):
        for _ in range(5):
            barrier.wait(20)
            one(c, "select count(*) from t, pg_sleep(0.05)")

    threads = [threading.Thread(target=warm_up, args=(c,)) for c in reads]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(cluster.replicas[0].backends()) > 1, "r1's pool is warm"
    cluster.wait_replicated()
    cluster.primary.kill9()
    cluster.replicas[0].promote()
    errors = []

    def write(i):
        try:
            c = reads[i]
            rows_of(c, f"insert into log (note) values ('promoted-{i}') /*promoted-{i}-x*/")
            assert last_route(c)["role"] == "primary"
            found = one(c, f"select count(*) from log where note = 'promoted-{i}'")
            assert found == 1, "it reads its own write"
        except (psycopg2.Error, AssertionError) as error:
            errors.append((i, error))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    [thread.start() for thread in threads]
    [thread.join(40) for thread in threads]
    assert errors == []
    for i in range(6):
        assert cluster.replicas[0].saw(f"promoted-{i}-x") == 1
    roles = {row["type"] if "type" in row else "" for row in p.admin("SHOW SERVERS")}
    assert roles, roles


@pytest.mark.invariant
def test_a_pinned_session_does_not_go_on_writing_at_a_primary_that_was_replaced(cluster, proxy):
    p = proxy(database={"write_wait": "20s"})
    c = p.connect()
    rows_of(c, "listen something")
    rows_of(c, "insert into log (note) values ('pinned-before')")
    cluster.wait_replicated()
    cluster.replicas[0].promote()  # and the old primary lives on
    wait_until(lambda: p.nodes()["r1"]["role"] == "primary", 15, "r1 is the primary")
    time.sleep(0.3)
    with pytest.raises(psycopg2.Error):
        rows_of(c, "insert into log (note) values ('pinned-lost')")
    assert cluster.primary.psql("select count(*) from log where note = 'pinned-lost'",
                                APP_DATABASE) == [(0,)]
    again = p.connect()
    rows_of(again, "insert into log (note) values ('pinned-after')")
    assert cluster.replicas[0].psql("select count(*) from log where note = 'pinned-after'",
                                    APP_DATABASE) == [(1,)]
