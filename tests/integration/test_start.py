# SPDX-License-Identifier: PostgreSQL
"""Starting, checking, reloading and stopping."""
import re
import signal
import socket
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from node import signal_quietly
from proxy import one, rows_of, run_binary
from wire import Wire, error_fields, query, types


def url(node):
    return f"postgresql://{APP_USER}:{APP_PASSWORD}@{node.host}:{node.port}/{APP_DATABASE}"


def environment(cluster):
    return {"DATABASE_URL": url(cluster.primary),
            "DATABASE_READ_REPLICAS": ",".join(url(r) for r in cluster.replicas),
            "DATABASE_REPLICA_HEALTH_CHECK_INTERVAL": "200"}


@pytest.mark.core
def test_two_environment_variables_are_enough_to_start(cluster, proxy):
    p = proxy(environment=environment(cluster))
    c = p.connect()
    assert one(c, "select count(*) from t /*env_read*/") == 100
    rows_of(c, "update t set v = v + 1 where id = 1 /*env_write*/")
    assert "p1" not in cluster.saw("env_read")
    assert cluster.saw("env_write") == {"p1": 1}


def test_without_replicas_all_goes_to_the_primary(cluster, proxy):
    p = proxy(environment={"DATABASE_URL": url(cluster.primary)})
    one(p.connect(), "select 1 /*alone*/")
    assert cluster.saw("alone") == {"p1": 1}


def test_a_client_of_the_environment_needs_its_password(cluster, proxy):
    p = proxy(environment=environment(cluster))
    with pytest.raises(psycopg2.OperationalError, match="password"):
        p.connect(password="wrong")


def test_check_lists_every_error_with_file_and_line(cluster, binary):
    path = cluster.subdirectory("bad") + "/bad.ini"
    with open(path, "w", encoding="utf-8") as f:
        f.write("[switchgear]\nlisten = 127.0.0.1:6432\nworkerz = 3\n\n[node a]\nhost = 127.0.0.1\n"
                "port = 99999999\n\n[database app]\npool_size = many\n\n[nonsense]\nx = 1\n")
    done = run_binary(cluster, "check", path)
    assert done.returncode == 1
    lines = {int(n) for n in re.findall(r"bad\.ini:(\d+): ", done.stdout + done.stderr)}
    assert {3, 7, 10} <= lines
    assert lines & {12, 13}


def test_check_accepts_a_good_file(cluster, gear):
    done = run_binary(cluster, "check", gear.config_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bad_configuration_exits_with_1(cluster, gear):
    path = gear.directory + "/broken.ini"
    gear.write(path, "[switchgear]\nno_such_key = 1\n")
    assert run_binary(cluster, "serve", path).returncode == 1


@pytest.mark.parametrize("arguments", [("frobnicate",), ("serve", "--no-such-option"), ("check",)])
def test_a_usage_error_exits_with_2(cluster, binary, arguments):
    assert run_binary(cluster, *arguments).returncode == 2


def test_a_taken_port_exits_with_3_and_names_it(cluster, gear):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = run_binary(cluster, "serve", gear.config_path, "--listen", f"127.0.0.1:{port}",
                          "--http", "", "--admin-socket", cluster.subdirectory("taken"))
    assert done.returncode == 3
    assert str(port) in done.stdout + done.stderr


def test_version_and_help_say_who_we_are(cluster, binary):
    done = run_binary(cluster, "--version")
    assert done.returncode == 0 and re.search(r"switchgear.* \d+\.\d+", done.stdout, re.I)
    done = run_binary(cluster, "--help")
    assert done.returncode == 0 and "serve" in done.stdout and "check" in done.stdout


def test_show_config_options_prints_the_table(cluster, binary):
    done = run_binary(cluster, "show", "CONFIG-options")
    assert done.returncode == 0
    assert any("query_wait_timeout" in line for line in done.stdout.splitlines())


def test_a_reload_takes_new_values(proxy):
    p = proxy(database={"consistency": "session"})
    before = {row["key"]: row["value"] for row in p.admin("SHOW CONFIG")}["query_wait_timeout"]
    p.write_config(switchgear={"query_wait_timeout": "7s"})
    p.signal(signal.SIGHUP)

    def changed():
        now = {row["key"]: row["value"] for row in p.admin("SHOW CONFIG")}["query_wait_timeout"]
        return now != before and "7" in now

    wait_until(changed, 5, "the reload took effect")


def test_a_bad_reload_changes_nothing_and_says_why(proxy):
    p = proxy()
    c = p.connect()
    before = p.admin("SHOW CONFIG")
    p.write_config(switchgear={"query_wait_timeout": "9s", "no_such_key": "1"})
    p.signal(signal.SIGHUP)
    wait_until(lambda: "no_such_key" in p.log_text(), 5, "the log names the bad key")
    assert p.admin("SHOW CONFIG") == before
    assert one(c, "select 1") == 1
    with pytest.raises(psycopg2.Error, match="no_such_key"):
        p.admin("RELOAD")


@pytest.mark.core
def test_term_lets_a_transaction_finish(cluster, proxy):
    p = proxy()
    c = p.connect(autocommit=False)
    rows_of(c, "insert into log (note) values ('finish')")
    p.signal(signal.SIGTERM)
    time.sleep(0.3)
    rows_of(c, "insert into log (note) values ('finish')")
    c.commit()
    assert cluster.primary.psql("select count(*) from log where note = 'finish'",
                                APP_DATABASE) == [(2,)]
    wait_until(lambda: not p.alive(), 5, "the proxy ended after the commit")


def test_term_tells_idle_clients_57P01(proxy):
    """By the bytes: libpq shows no code of a FATAL that came while nothing was asked."""
    p = proxy(switchgear={"auth_type": "trust"},
              database={"user": APP_USER, "password": APP_PASSWORD})
    with Wire(p.port) as w:
        w.login(APP_USER, APP_DATABASE)
        assert types(w.run(query("select 1"))) == "TDCZ"
        p.signal(signal.SIGTERM)
        kind, body = w.recv()
        fields = error_fields(body)
        assert (kind, fields["S"], fields["C"]) == ("E", "FATAL", "57P01")
        assert w.recv() is None
    assert 'event=shutdown how="when transactions have ended"\n' in p.log_text()


@pytest.mark.invariant
def test_a_term_that_comes_while_it_stops_does_not_kill_it(proxy):
    """A service manager may repeat itself; until the last instruction the exit code is ours."""
    p = proxy()
    while p.alive():
        signal_quietly(p.process.pid, signal.SIGTERM)
    assert p.process.returncode == 0


def test_a_second_int_stops_at_once(cluster, proxy):
    p = proxy()
    c = p.connect()
    errors = []

    def sleep():
        try:
            one(c, "select pg_sleep(30)")
        except psycopg2.Error as error:
            errors.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    cluster.wait_running("pg_sleep(30)")
    p.signal(signal.SIGINT)
    time.sleep(0.5)
    assert p.alive()
    p.signal(signal.SIGINT)
    wait_until(lambda: not p.alive(), 5, "the proxy ended at the second SIGINT")
    thread.join(5)
    assert errors
