# SPDX-License-Identifier: PostgreSQL
"""Replication through the proxy: a connection of the client's own to the primary, passed through."""
import os
import re
import signal
import subprocess
import time

import psycopg2
import psycopg2.extras
import pytest

from cluster import APP_PASSWORD, APP_USER, as_user, wait_until
from proxy import Proxy, one, rows_of
from wire import Wire, cstring, first_error, message, query, startup, types

REPLICATOR, SECRET = "replicator", "replicator-secret"


@pytest.fixture(scope="module")
def replicator(cluster):
    cluster.primary.psql("do $$ begin if not exists (select from pg_roles where rolname = "
                         f"'{REPLICATOR}') then create role {REPLICATOR} login replication password "
                         f"'{SECRET}'; end if; end $$; select 1")
    return REPLICATOR


OPTIONS = {"users": {REPLICATOR: SECRET}, "database": {"pool_size": 3}}


@pytest.fixture(scope="module")
def gate(cluster, binary, replicator):
    del binary, replicator
    p = Proxy(cluster, "replication", **OPTIONS).start()
    yield p
    p.stop()


def program(cluster, name, p, *arguments, user=REPLICATOR, password=SECRET):
    return subprocess.Popen(
        [cluster.binary(name), "-h", "127.0.0.1", "-p", str(p.port), "-U", user, *arguments],
        cwd=cluster.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "LC_ALL": "C", "PGPASSWORD": password, "PGSSLMODE": "disable",
             "PGAPPNAME": f"test {name}"}, **as_user(cluster.user))


def finish(process, timeout=60):
    text = process.communicate(timeout=timeout)[0]
    assert process.returncode == 0, text
    return text


def senders(cluster):
    return cluster.primary.psql("select application_name, state from pg_stat_replication "
                                "where application_name like 'test %'")


def replication(p, **parameters):
    c = psycopg2.connect(host="127.0.0.1", port=p.port, user=REPLICATOR, password=SECRET,
                         sslmode="disable", **parameters)
    return c


def test_pg_basebackup_copies_the_primary(cluster, gate):
    target = cluster.subdirectory("copied")
    finish(program(cluster, "pg_basebackup", gate, "-D", target, "-X", "stream", "-c", "fast", "-N"))
    assert os.path.exists(os.path.join(target, "PG_VERSION"))
    assert os.listdir(os.path.join(target, "pg_wal"))
    wait_until(lambda: not senders(cluster), what="no walsender is left")


def test_pg_receivewal_streams_until_it_is_stopped(cluster, gate):
    target = cluster.subdirectory("received")
    process = program(cluster, "pg_receivewal", gate, "-D", target, "--no-sync", "-v")
    try:
        wait_until(lambda: ("test pg_receivewal", "streaming") in senders(cluster), 20,
                   "pg_receivewal streams under its own name")
        rows_of(gate.connect(), "insert into log (note) values ('for the archive')")
        cluster.primary.psql("select pg_switch_wal()")
        wait_until(lambda: any(re.fullmatch("[0-9A-F]{24}", f) for f in os.listdir(target)), 20,
                   "a whole segment has come")
        assert one(gate.connect(), "select 1") == 1  # others are served meanwhile
    finally:
        process.send_signal(signal.SIGINT)
        finish(process)
    wait_until(lambda: not senders(cluster), what="no walsender is left")


def test_pg_recvlogical_decodes_what_is_written(cluster, gate):
    slot, target = "conformance_slot", os.path.join(cluster.subdirectory("decoded"), "out")
    base = ("-d", "app", "--slot", slot)
    finish(program(cluster, "pg_recvlogical", gate, *base, "--create-slot", "-P", "test_decoding"))
    process = program(cluster, "pg_recvlogical", gate, *base, "--start", "-f", target,
                      "--fsync-interval", "0")
    try:
        rows_of(gate.connect(), "insert into log (note) values ('decode me')")
        wait_until(lambda: os.path.exists(target) and "decode me" in open(target).read(), 20,
                   "the change was decoded")
    finally:
        process.send_signal(signal.SIGINT)
        finish(process)
        finish(program(cluster, "pg_recvlogical", gate, *base, "--drop-slot"))


def test_a_logical_walsender_also_runs_sql(gate):
    c = replication(gate, dbname="app",
                    connection_factory=psycopg2.extras.LogicalReplicationConnection,
                    options="-c work_mem=7MB", application_name="test sql")
    with c.cursor() as cursor:
        cursor.execute("IDENTIFY_SYSTEM")
        assert cursor.fetchone()[3] == "app"
        cursor.execute("select count(*) from generate_series(1, 100)")
        assert cursor.fetchone() == (100,)
        cursor.execute("show work_mem")
        assert cursor.fetchone() == ("7MB",)
        cursor.execute("show application_name")
        assert cursor.fetchone() == ("test sql",)
        with pytest.raises(psycopg2.Error) as caught:
            cursor.execute("select 1/0")
        assert caught.value.pgcode == "22012"
    c.close()


def test_a_physical_walsender_needs_no_database(gate):
    c = replication(gate, dbname="replication",
                    connection_factory=psycopg2.extras.PhysicalReplicationConnection)
    with c.cursor() as cursor:
        cursor.execute("IDENTIFY_SYSTEM")
        assert cursor.fetchone()[3] is None
        with pytest.raises(psycopg2.Error):
            cursor.execute("select 1")
    c.close()


def test_a_replication_connection_is_never_used_again(cluster, gate):
    def pids():
        return {pid for (pid,) in cluster.primary.psql(
            f"select pid from pg_stat_activity where usename = '{REPLICATOR}'")}

    seen = set()
    for _ in range(3):
        c = replication(gate, dbname="app",
                        connection_factory=psycopg2.extras.LogicalReplicationConnection)
        with c.cursor() as cursor:
            cursor.execute("select pg_backend_pid()")
            pid = cursor.fetchone()[0]
        assert pid not in seen
        seen.add(pid)
        c.close()
        wait_until(lambda p=pid: p not in pids(), what="its server process has ended")
    assert gate.metric("switchgear_pool_connections", user=REPLICATOR) in (0, 0.0)


def test_replication_connections_count_as_their_pools(gate):
    factory = psycopg2.extras.LogicalReplicationConnection
    open_ones = [replication(gate, dbname="app", connection_factory=factory) for _ in range(3)]
    with pytest.raises(psycopg2.OperationalError) as caught:
        replication(gate, dbname="app", connection_factory=factory)
    assert "no server connection is free for replication" in str(caught.value)
    open_ones.pop().close()

    def opens():
        try:
            replication(gate, dbname="app", connection_factory=factory).close()
            return True
        except psycopg2.OperationalError:
            return False

    wait_until(opens, what="the place is free again")
    for c in open_ones:
        c.close()


def test_the_servers_refusal_is_passed_on(gate):
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect(host="127.0.0.1", port=gate.port, user=APP_USER, password=APP_PASSWORD,
                         dbname="app", sslmode="disable",
                         connection_factory=psycopg2.extras.LogicalReplicationConnection)
    assert "must be superuser or replication role" in str(caught.value)
    assert one(gate.connect(), "select 1") == 1  # the pool of this user has nothing against it


def test_a_wrong_password_does_not_replicate(gate):
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect(host="127.0.0.1", port=gate.port, user=REPLICATOR, password="wrong",
                         dbname="app", sslmode="disable",
                         connection_factory=psycopg2.extras.LogicalReplicationConnection)
    assert "password authentication failed" in str(caught.value)


def test_a_walsender_dies_with_its_server_and_the_client_is_told_by_the_end(cluster, gate):
    c = replication(gate, dbname="app",
                    connection_factory=psycopg2.extras.LogicalReplicationConnection)
    with c.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        pid = cursor.fetchone()[0]
        cluster.primary.psql("select pg_terminate_backend(%s)", parameters=(pid,))
        time.sleep(0.1)
        with pytest.raises(psycopg2.Error):
            cursor.execute("select 1")
    assert c.closed


def test_any_bytes_pass_both_ways(proxy, replicator):
    """Whatever a walsender and its client say to each other is not looked at."""
    p = proxy(switchgear={"auth_type": "trust"}, users={REPLICATOR: SECRET})
    with Wire(p.port) as w:
        w.send(startup(replicator, "app", replication="database", application_name="raw bytes"))
        assert types(w.recv_all())[-1] == "Z"
        w.send(query("show application_name"), query("IDENTIFY_SYSTEM"))
        answers = w.recv_all() + w.recv_all()
        assert any(b"raw bytes" in body for _, body in answers)
        w.send(message("z", cstring("what is this")))
        error = first_error(w.recv_all())
        assert (error["S"], error["C"]) == ("FATAL", "08P01")
        assert error["M"] == "invalid frontend message type 122"
        assert error["R"] == "SocketBackend"  # the server itself said so


def test_shutdown_ends_a_replication_connection(proxy, replicator):
    del replicator
    p = proxy(**OPTIONS)
    c = replication(p, dbname="app",
                    connection_factory=psycopg2.extras.LogicalReplicationConnection)
    p.stop()
    with c.cursor() as cursor, pytest.raises(psycopg2.Error):
        cursor.execute("select 1")
