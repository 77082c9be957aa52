# SPDX-License-Identifier: PostgreSQL
"""Pools that nobody uses go, with their memory and their metrics; so do those of names that do not exist."""
import random
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import dicts_of, one

ANY = {"database *": {"shards": "main", "pool_size": 10}}
OTHERS = ["unused_a", "unused_b", "unused_c"]
GONE = 10  # seconds that nobody was there


@pytest.fixture(scope="module", name="others")
def databases(cluster):
    for name in OTHERS:
        cluster.primary.psql(f"create database {name} owner {APP_USER}")
    cluster.wait_replicated()
    yield OTHERS
    for name in OTHERS:
        cluster.primary.psql(f"drop database {name} with (force)")


def pools(p):
    return {(row["database"], row["user"]) for row in p.admin("SHOW POOLS")}


def catalogs(p):
    return {next(iter(row.values())) for row in dicts_of(p.connect_admin(), "SHOW CATALOG")}


def test_names_that_do_not_exist_leave_nothing(proxy):
    p = proxy(sections=ANY, switchgear={"server_idle_timeout": "1s"})
    one(p.connect(), "select 1")
    for i in range(40):
        assert "does not exist" in p.refusal(dbname=f"nosuch_{i}")
    assert "nosuch" not in p.http("/metrics")[2], "whoever makes names up makes no series"
    wait_until(lambda: not [name for name, _ in pools(p) if "nosuch" in name], GONE + 10, "their pools are gone")
    wait_until(lambda: not [name for name in catalogs(p) if "nosuch" in name], 10, "nobody asks for their names")
    assert "does not exist" in p.refusal(dbname="nosuch_1")


def test_pools_that_nobody_uses_go_and_come_back(proxy, others):
    p = proxy(sections=ANY, switchgear={"server_idle_timeout": "1s", "auth_type": "trust"})
    kept = p.connect()
    for name in others:
        p.connect(dbname=name).close()
    assert {(name, APP_USER) for name in others} <= pools(p)
    wait_until(lambda: pools(p) == {(APP_DATABASE, APP_USER)}, GONE + 10, "they are gone")
    assert not [s for s in p.metrics() if s[1].get("database") in others]
    for name in others:
        assert one(p.connect(dbname=name), "select current_database()") == name
    assert one(kept, "select 1") == 1


def test_clients_that_come_as_their_pool_goes_are_served(proxy, others):
    """Each comes back just when nobody has been there for long enough, on either worker."""
    p = proxy(sections=ANY, switchgear={"server_idle_timeout": "1s", "auth_type": "trust", "workers": 2})
    errors, ends = [], time.monotonic() + 35
    rnd = random.Random(20)

    def comes(name, pause):
        while time.monotonic() < ends:
            try:
                c = p.connect(dbname=name)
                assert one(c, "select current_database()") == name
                c.close()
            except (psycopg2.Error, AssertionError) as error:
                errors.append(error)
            time.sleep(pause)

    threads = [threading.Thread(target=comes, args=(name, GONE + 1 + rnd.uniform(-0.3, 0.7)))
               for name in others for _ in range(4)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        p.admin("SHOW POOLS")
        p.http("/metrics")
        time.sleep(0.05)
    for t in threads:
        t.join()
    assert errors == []
    p.insist_alive()
