# SPDX-License-Identifier: PostgreSQL
"""Databases that come and go, through the proxy: what is idle in its pools is in nobody's way."""
import time

import psycopg
import psycopg2
import pytest

from cluster import APP_USER, wait_until
from proxy import one, rows_of

pytestmark = pytest.mark.one_session

ANY = {"database *": {"shards": "main", "pool_size": 10}}


@pytest.fixture
def maker(cluster, proxy):
    """A proxy for any database, whose user may create some."""
    cluster.primary.psql(f"alter role {APP_USER} createdb")
    p = proxy(sections=ANY)
    yield p
    for name in ("passing", "passed"):
        cluster.primary.psql(f"drop database if exists {name} with (force)")
    cluster.primary.psql(f"alter role {APP_USER} nocreatedb")


def use(p, name):
    """Leaves idle connections of several clients, on the primary and on replicas, behind."""
    clients = [p.connect(dbname=name) for _ in range(6)]
    for c in clients:
        rows_of(c, "begin")
        rows_of(c, "create temporary table x (a int)")
        rows_of(c, "rollback")
        assert one(c, "select 1") == 1
    for c in clients:
        c.close()


def test_a_database_is_made_used_renamed_copied_and_dropped(maker):
    c = maker.connect()
    rows_of(c, "create database passing")
    use(maker, "passing")
    rows_of(c, "alter database passing rename to passed")
    use(maker, "passed")
    rows_of(c, 'create database "passing" template Passed')
    use(maker, "passed")
    use(maker, "passing")
    rows_of(c, "drop database passed")
    with psycopg.connect(maker.dsn(options="?sslmode=disable"), autocommit=True) as extended:
        extended.execute("drop database passing", prepare=True)
    assert one(c, "select count(*) from pg_database where datname like 'pass%'") == 0


def test_a_client_that_is_connected_is_in_the_way_as_it_is_directly(maker):
    c = maker.connect()
    rows_of(c, "create database passing")
    other = maker.connect(dbname="passing")
    rows_of(other, "begin")
    rows_of(other, "create table held (a int)")
    with pytest.raises(psycopg2.errors.ObjectInUse):
        rows_of(c, "drop database passing")
    rows_of(other, "commit")
    assert one(other, "select count(*) from held") == 0


def test_a_database_that_was_missing_can_be_used_soon_after_it_was_made(maker):
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        maker.connect(dbname="passing")
    rows_of(maker.connect(), "create database passing")
    began = time.monotonic()

    def can_be_used():
        try:
            return one(maker.connect(dbname="passing"), "select current_database()") == "passing"
        except psycopg2.OperationalError:
            return False

    wait_until(can_be_used, 10, "the database can be used", 0.3)
    assert time.monotonic() - began < 8, "server_login_retry is 15 s"


def test_a_read_in_a_database_that_replicas_do_not_have_yet_uses_the_primary(cluster, maker):
    for replica in cluster.replicas:
        replica.pause_replay()
    rows_of(maker.connect(), "create database passing strategy wal_log")
    deadline = time.monotonic() + 3  # until the lag sends reads to the primary anyway
    while time.monotonic() < deadline:
        c = psycopg2.connect(maker.dsn(database="passing", options="?sslmode=disable"))
        c.autocommit = True
        assert one(c, "select 1") == 1
        c.close()
        time.sleep(0.1)
