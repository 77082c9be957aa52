# SPDX-License-Identifier: PostgreSQL
"""The first hour of a new user, whose servers want passwords."""
import os

import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, free_port
from proxy import ini_text, one, run_binary

USER = f'"{APP_USER}" "{APP_PASSWORD}"\n'


def write(cluster, name, sections, users=USER):
    directory = cluster.subdirectory(name)
    sections.setdefault("switchgear", {}).update(
        {"listen": f"127.0.0.1:{free_port()}", "auth_file": "users.txt", "http_listen": "",
         "admin_socket": directory})
    for file, text in (("sg.ini", ini_text(sections)), ("users.txt", users)):
        with open(os.path.join(directory, file), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(os.path.join(directory, file), 0o600)
    cluster.give(directory)
    return os.path.join(directory, "sg.ini")


def readme(cluster, **database):
    """The README's file."""
    return {**{f"node pg{i}": {"host": n.host, "port": n.port}
               for i, n in enumerate(cluster.nodes, 1)},
            f"database {APP_DATABASE}": {"pool_size": 20, **database}}


def check(cluster, path, *arguments):
    done = run_binary(cluster, "check", *arguments, path)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.core
def test_the_file_of_the_readme_serves_where_servers_want_passwords(cluster, proxy):
    p = proxy(probe={"user": None, "password": None, "dbname": None})
    assert one(p.connect(), "select count(*) from t /*first_hour*/") == 100
    assert "p1" not in cluster.saw("first_hour")  # the probes have found the replicas


def test_the_password_of_a_forced_user_is_in_auth_file(proxy):
    p = proxy(database={"user": APP_USER}, users={"visitor": "visitor-secret"})
    c = p.connect(user="visitor", password="visitor-secret")
    assert one(c, "select current_user::text") == APP_USER


def test_check_connects_to_every_node_user_and_database(cluster):
    status, text = check(cluster, write(cluster, "good", readme(cluster)), "--connect")
    assert status == 0, text
    assert text.count(": ok, primary") == 1 and text.count(": ok, replica") == 2
    for node in cluster.nodes:
        assert f"port {node.port}), user \"{APP_USER}\", database \"{APP_DATABASE}\"" in text


@pytest.mark.parametrize("database, users, said", [
    ({"user": APP_USER, "password": "wrong"}, USER, ["password authentication failed", "28P01"]),
    ({"user": "nobody_knows"}, USER, ["the server wants a password", "auth_file"]),
    ({"dbname": "nowhere"}, USER, ['database "nowhere" does not exist', "3D000"]),
    ({}, f'"{APP_USER}" "wrong"\n', ["password authentication failed", f'user "{APP_USER}"']),
], ids=["wrong", "unknown", "database", "users.txt"])
def test_check_says_which_log_in_fails_and_why(cluster, database, users, said):
    path = write(cluster, "bad", readme(cluster, **database), users)
    status, text = check(cluster, path, "--connect")
    assert status == 1
    assert all(word in text for word in said), text
    assert "node pg3" in text and "wrong\"" not in text
    assert check(cluster, path)[0] == 0  # without --connect nobody is asked


def test_check_says_which_node_is_away(cluster):
    sections = {**readme(cluster), "node pg9": {"host": "127.0.0.1", "port": free_port()}}
    status, text = check(cluster, write(cluster, "away", sections), "--connect")
    assert status == 1
    assert text.count("node pg9") == 1 and "Connection refused" in text


def test_check_says_that_there_is_no_primary(cluster):
    sections = {k: v for k, v in readme(cluster).items() if k != "node pg1"}
    status, text = check(cluster, write(cluster, "orphans", sections), "--connect")
    assert status == 1 and "shard main: no primary: all of its nodes are replicas" in text


@pytest.mark.parametrize("option", ["sslrootcert", "sslcrl", "passfile"])
def test_a_file_of_a_nodes_options_that_is_not_there_is_an_error(cluster, option):
    sections = readme(cluster)
    sections["node pg1"]["options"] = f"{option}=/nowhere/at-all"
    status, text = check(cluster, write(cluster, "files", sections))
    assert status == 1 and f"{option}: /nowhere/at-all: cannot be read" in text


def test_a_userlist_of_hashes_is_refused_with_a_way_out(cluster):
    hashed = f'"{APP_USER}" "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy"\n'
    path = write(cluster, "hashed", readme(cluster), hashed)
    status, text = check(cluster, path)
    assert status == 1 and "there is only a hash" in text and "server_passwordless = yes" in text
    assert check(cluster, path, "--set", "switchgear.server_passwordless=yes")[0] == 0


@pytest.mark.parametrize("arguments", [("serve", "--help"), ("check", "-h"), ("classify", "--help"),
                                       ("show", "--help")])
def test_every_command_has_help(cluster, arguments):
    done = run_binary(cluster, *arguments)
    assert done.returncode == 0 and "usage:" in done.stdout


def test_a_port_alone_listens_on_all_addresses(cluster, proxy):
    port = free_port()
    p = proxy(arguments=["--listen", f":{port}"], wait=False)
    p.port = port
    p.wait_listening()
    p.wait_ready()
    assert one(p.connect(), "select 1") == 1


def test_a_frameworks_parameters_do_not_stop_a_start(cluster, proxy):
    n = cluster.primary
    p = proxy(environment={
        "DATABASE_URL": f"postgresql://{APP_USER}:{APP_PASSWORD}@{n.host}:{n.port}/{APP_DATABASE}"
                        "?schema=public&connection_limit=5&pool_timeout=10&pgbouncer=true",
        "PGBOUNCER_POOL_SIZE": "7", "SLOW_QUERY_THRESHOLD_MS": "100"})
    assert one(p.connect(), "select 1") == 1
    log = p.log_text()
    assert "schema, connection_limit, pool_timeout, pgbouncer" in log
    assert "SLOW_QUERY_THRESHOLD_MS has no effect" in log
