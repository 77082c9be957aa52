# SPDX-License-Identifier: PostgreSQL
"""Unix sockets, on either side of the proxy."""
import os
import signal
import socket
import stat
import subprocess

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, free_port, wait_until
from proxy import last_route, one, rows_of
from test_cancel import Sleeper


@pytest.fixture
def local(proxy, cluster):
    """A proxy that has a socket directory too."""
    def make(port=None, **more):
        port = port or free_port()
        directory = cluster.subdirectory(f"sockets{port}")
        p = proxy(wait=False, **{**more, "switchgear": {
            "listen": f"127.0.0.1:{port}, unix:{directory}", **more.get("switchgear", {})}})
        p.port, p.sockets = port, directory
        p.path = f"{directory}/.s.PGSQL.{port}"
        return p
    return make


def ready(p):
    p.wait_listening()
    p.wait_ready()
    return p


def connect(p, **more):
    return p.connect(host=p.sockets, port=p.port, **more)


def test_clients_come_through_a_unix_socket(local, cluster):
    p = ready(local())
    c = connect(p)
    assert one(c, "select 40 + 2") == 42
    rows_of(c, "insert into log (note) values ('by a socket file')")
    assert {r["addr"] for r in p.admin("SHOW CLIENTS") if r["database"] == APP_DATABASE} == {"unix"}
    sleeper = Sleeper(c, "select pg_sleep(20)")
    cluster.wait_running("pg_sleep(20)")
    c.cancel()
    sleeper.join(5)
    assert sleeper.error == "57014"
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(p, password="wrong")
    environment = {**os.environ, "PGPASSWORD": APP_PASSWORD}
    where = ["-h", p.sockets, "-p", str(p.port), "-U", APP_USER]
    out = subprocess.run([cluster.binary("psql"), "-X", *where, "-Atc", "select 'psql'", APP_DATABASE],
                         env=environment, capture_output=True, text=True, timeout=20)
    assert out.stdout == "psql\n", out.stderr
    out = subprocess.run([cluster.binary("pgbench"), "-n", "-S", "-c", "4", "-t", "50", "-M", "prepared",
                          *where, "-f", "/dev/stdin", APP_DATABASE], input="select v from t where id = 1;",
                         env=environment, capture_output=True, text=True, timeout=60)
    assert "number of failed transactions: 0 (0.000%)" in out.stdout, out.stdout + out.stderr


@pytest.mark.parametrize("mode", ["0777", "0700", "660"])
def test_the_file_has_the_rights_that_were_asked_for(local, cluster, mode):
    group = cluster.user.pw_gid
    p = ready(local(switchgear={"unix_socket_mode": mode, "unix_socket_group": str(group)}))
    status = os.stat(p.path)
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == int(mode, 8) and status.st_gid == group
    p.stop()
    assert not os.path.exists(p.path)


def test_a_file_that_a_killed_process_left_is_replaced(local):
    p = ready(local())
    p.signal(signal.SIGKILL)
    p.process.wait(10)
    assert os.path.exists(p.path)
    p.exit_code = 0
    p.start(wait=False)
    ready(p)
    assert one(connect(p), "select 1") == 1


def test_a_file_that_somebody_else_made_in_its_place_is_left_alone(local):
    p = ready(local())
    os.unlink(p.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(p.path)
        p.stop()
        assert os.path.exists(p.path)
    os.unlink(p.path)


def ends_with_3(p, text):
    assert p.process.wait(15) == 3
    wait_until(lambda: text in p.log_text(), 5, text)
    p.process = None


def test_a_file_that_is_no_socket_is_left_alone(local, cluster):
    port = free_port()
    path = os.path.join(cluster.subdirectory(f"sockets{port}"), f".s.PGSQL.{port}")
    with open(path, "w", encoding="utf-8") as f:
        f.write("precious")
    p = local(port)
    ends_with_3(p, "cannot listen on")
    with open(path, encoding="utf-8") as f:
        assert f.read() == "precious"


def test_a_socket_that_somebody_listens_on_is_left_alone(local, cluster):
    node = cluster.primary
    p = local(switchgear={"listen": f"127.0.0.1:{node.port}, unix:{node.base}"})
    ends_with_3(p, "cannot listen on")
    assert node.psql("select 1") == [(1,)]


def test_a_group_that_is_not_there_is_an_error_at_start(local):
    p = local(switchgear={"unix_socket_group": "no-such-group"})
    ends_with_3(p, "no-such-group")


@pytest.mark.core
def test_clients_come_through_an_abstract_socket(cluster, proxy):
    port = free_port()
    name = f"@switchgear-{port}"
    p = proxy(wait=False, switchgear={"listen": f"127.0.0.1:{port}, unix:{name}"})
    p.port = port
    c = ready(p).connect(host=name)
    assert one(c, "select 40 + 2") == 42
    sleeper = Sleeper(c, "select pg_sleep(20)")
    cluster.wait_running("pg_sleep(20)")
    c.cancel()
    sleeper.join(5)
    assert sleeper.error == "57014"
    p.stop()
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        p.connect(host=name)


@pytest.mark.parametrize("where", ["{base}", "@switchgear-{port}"])
def test_servers_are_reached_through_unix_sockets(proxy, cluster, where):
    p = proxy(nodes={n.name: {"host": where.format(base=n.base, port=n.port)} for n in cluster.nodes})
    c = p.connect()
    one(c, "select count(*) from t")
    assert last_route(c)["role"] == "replica"
    assert one(c, "select inet_server_addr() is null, txid_current()") is True
    rows_of(c, "insert into log (note) values ('by a socket file')")
    sleeper = Sleeper(c, "select pg_sleep(20), txid_current()")
    cluster.wait_running("pg_sleep(20)")
    c.cancel()
    sleeper.join(5)
    assert sleeper.error == "57014"
    assert one(c, "select 1") == 1
