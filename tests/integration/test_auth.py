# SPDX-License-Identifier: PostgreSQL
"""Who gets in, and as whom the proxy goes to the servers."""
import hashlib
import os

import psycopg2
import pytest

import scram
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import ADMIN_USER, Proxy, one, run_binary
from wire import Wire


def refused(p, **parameters):
    with pytest.raises(psycopg2.OperationalError) as caught:
        p.connect(**parameters)
    return str(caught.value)


SERVER_SIDE = {"user": APP_USER, "password": APP_PASSWORD}


@pytest.mark.core
def test_scram_with_a_clear_password_in_the_file(gear):
    assert one(gear.connect(), "select current_user") == APP_USER
    assert "password" in refused(gear, password="wrong")
    refused(gear, password="")


def test_scram_with_a_stored_secret(proxy):
    p = proxy(users={"visitor": scram.secret("come in"), "metric": "n\u00b2\u00b5",
                     "broken": "SCRAM-SHA-256$4096:salt$stored:server"}, database=SERVER_SIDE)
    c = p.connect(user="visitor", password="come in")
    assert one(c, "select current_user") == APP_USER
    refused(p, user="visitor", password="come on")
    for same in ("n\u00b2\u00b5", "n2\u03bc"):  # libpq and the proxy prepare it (SASLprep)
        assert one(p.connect(user="metric", password=same), "select 1") == 1
    refused(p, user="metric", password="n2u")
    refused(p, user="broken", password="SCRAM-SHA-256$4096:salt$stored:server")
    assert "event=secret_unreadable user=broken" in p.log_text()


def test_md5_with_a_clear_and_a_hashed_password(proxy):
    hashed = "md5" + hashlib.md5(b"old-secret" + b"older").hexdigest()
    p = proxy(switchgear={"auth_type": "md5"}, users={"older": hashed}, database=SERVER_SIDE)
    assert one(p.connect(), "select 1") == 1
    assert one(p.connect(user="older", password="old-secret"), "select 1") == 1
    refused(p, user="older", password="wrong")


def test_trust_on_loopback_asks_for_nothing(proxy):
    p = proxy(switchgear={"auth_type": "trust"}, database=SERVER_SIDE)
    assert one(p.connect(password=""), "select current_user") == APP_USER


def test_asyncpg_and_psycopg3_log_in_with_scram(gear):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(gear.dsn()) as c:
        assert c.execute("select 1").fetchone() == (1,)
    asyncpg = pytest.importorskip("asyncpg")
    import asyncio

    async def main():
        c = await asyncpg.connect(gear.dsn())
        assert await c.fetchval("select 1") == 1
        await c.close()

    asyncio.run(main())


def test_psql_logs_in_with_default_tls_and_gss_settings(cluster, gear):
    assert cluster.run("psql", gear.dsn(), "-Atc", "select 40 + 2").strip() == "42"


def test_a_wrong_server_password_is_an_error_for_the_client_and_not_for_the_breaker(proxy):
    p = proxy(database={"user": APP_USER, "password": "not-the-servers"})
    try:
        with pytest.raises(psycopg2.Error) as caught:
            one(p.connect(), "select 1")
        assert "28P01" in (caught.value.pgcode or "28P01")
    finally:
        states = {n["breaker"] for n in p.nodes().values()}
    assert states == {"CLOSED"}


def test_clients_of_two_users_do_not_share_backends(cluster, proxy):
    cluster.primary.psql("drop role if exists second")
    cluster.primary.psql("create role second login password 'second-secret'")
    cluster.wait_replicated()
    p = proxy(users={"second": "second-secret"})
    a, b = p.connect(), p.connect(user="second", password="second-secret")
    for _ in range(5):
        assert one(a, "select current_user") == APP_USER
        assert one(b, "select current_user") == "second"


def failures(p, reason):
    return p.metric("switchgear_logins_failed_total", reason=reason)


def test_failed_logins_are_counted_by_reason_and_database(proxy):
    p = proxy()
    refused(p, password="wrong")
    refused(p, user="nobody-knows-me", password="wrong")
    refused(p, dbname="elsewhere")
    refused(p, user=ADMIN_USER, password="wrong", dbname="switchgear")
    refused(p, dbname="switchgear")
    with Wire(p.port) as w:
        w.send(b"\0\0\0\x08\0\2\0\0")  # protocol 2
        w.recv_all()
    assert failures(p, "password") == 3
    assert failures(p, "database") == 1
    assert failures(p, "rejected") == 1
    assert failures(p, "other") == 1
    assert p.metric("switchgear_login_failures_total", database=APP_DATABASE) == 2
    assert {row["database"]: row["total_login_failures"] for row in p.admin("SHOW STATS")}[
        APP_DATABASE] in (2, "2")


def test_a_stranger_does_not_learn_which_databases_there_are(gear):
    known = refused(gear, user="stranger", password="x")
    unknown = refused(gear, user="stranger", password="x", dbname="elsewhere")
    assert 'password authentication failed for user "stranger"' in known
    assert known == unknown
    assert 'database "elsewhere" does not exist' in refused(gear, dbname="elsewhere")


# ---- towards the servers ----

def test_a_passfile_in_a_nodes_options_logs_in_to_it(cluster, proxy):
    path = f"{cluster.subdirectory('passfile')}/pgpass"
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"*:*:*:{APP_USER}:{APP_PASSWORD}\n")
    os.chmod(path, 0o600)
    cluster.give(cluster.subdirectory("passfile"))
    p = proxy(database={"user": APP_USER},
              nodes={node.name: {"options": f"passfile={path}"} for node in cluster.nodes})
    assert one(p.connect(), "select current_user") == APP_USER


def test_scram_keys_need_a_libpq_that_takes_them(cluster, proxy):
    if psycopg2.__libpq_version__ >= 180000:
        pytest.skip("libpq is new enough")
    p = Proxy(cluster, "scram-keys", switchgear={"server_scram_keys": "yes"})
    p.write_config()
    said = run_binary(cluster, "serve", p.config_path)
    assert said.returncode == 1
    assert "server_scram_keys = yes needs libpq 18 or newer, and this one is 1" in said.stderr


def test_a_reload_brings_the_new_password_to_the_servers(cluster, proxy):
    cluster.primary.psql("drop role if exists mover")
    cluster.primary.psql("create role mover login password 'first'")
    cluster.wait_replicated()
    p = proxy(users={"mover": "first"})
    c = p.connect(user="mover", password="first")
    assert one(c, "select current_user") == "mover"
    cluster.primary.psql("alter role mover password 'second'")
    cluster.wait_replicated()
    p.write_config(users={"mover": "second"})
    p.admin("RELOAD")
    for node in cluster.nodes:
        node.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mover'")
    wait_until(lambda: not try_connect(p, user="mover", password="first"), what="the new file")
    assert one(c, "select current_user") == "mover"  # on a connection that was opened after it


def try_connect(p, **parameters):
    try:
        return p.connect(**parameters)
    except psycopg2.OperationalError:
        return None


# ---- auth_file ----

def test_a_file_with_errors_is_refused_line_by_line(cluster, proxy):
    p = proxy()
    p.write(p.users_path, '"app" "app-secret"\nnobody\n"x" "y"\n"x" "z"\n')
    with pytest.raises(psycopg2.Error) as caught:
        p.admin("RELOAD")
    assert "users.txt:2" in str(caught.value)
    log = p.log_text()
    assert "line=2" in log and "line=4" in log and "user x is here twice" in log
    assert one(p.connect(), "select 1") == 1
    p.write(p.users_path, '; a comment\n"quo""te" "pass""word" "ignored"\n"empty" ""\n')
    p.admin("RELOAD")
    c = wait_until(lambda: try_connect(p, user='quo"te', password='pass"word',
                                       dbname="switchgear") or "may not use" in refused(
                       p, user='quo"te', password='pass"word', dbname="switchgear"),
                   what="quotes are doubled inside")
    assert c
    assert "password authentication failed" in refused(p, user="empty", password="x")
    assert "password authentication failed" in refused(p)
