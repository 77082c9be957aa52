# SPDX-License-Identifier: PostgreSQL
"""Who gets in, and as whom the proxy goes to the servers."""
import hashlib

import psycopg2
import pytest

import scram
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER
from proxy import ADMIN_USER, one
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
    p = proxy(users={"visitor": scram.secret("come in")}, database=SERVER_SIDE)
    c = p.connect(user="visitor", password="come in")
    assert one(c, "select current_user") == APP_USER
    refused(p, user="visitor", password="come on")


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


def test_a_stranger_does_not_learn_which_databases_there_are(gear):
    known = refused(gear, user="stranger", password="x")
    unknown = refused(gear, user="stranger", password="x", dbname="elsewhere")
    assert 'password authentication failed for user "stranger"' in known
    assert known == unknown
    assert 'database "elsewhere" does not exist' in refused(gear, dbname="elsewhere")
