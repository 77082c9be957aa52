# SPDX-License-Identifier: PostgreSQL
"""transaction_reads = until_write with a driver that sends BEGIN together with the first statement.
The drivers for Python are in the integration tests."""
import os
import subprocess

import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from matrix import DRIVERS, HERE, JDBC, SECONDS
from proxy import Proxy
from test_drivers import need


@pytest.fixture(name="gear")
def a_proxy_that_begins_on_replicas(cluster, binary):
    p = Proxy(cluster, "blocks", database={"transaction_reads": "until_write", "pool_size": 4},
              switchgear={"auth_type": "trust"})
    p.start()
    yield p
    p.stop()


class Missing:
    """As an outcome of the matrix, of which none was run."""

    driver = DRIVERS["jdbc"]
    missing = driver.missing()


def test_jdbc_reads_its_blocks_on_replicas_and_moves_them_to_write(cluster, gear):
    need(Missing)
    gear.connect().close()  # names are known, and what a transaction's level is
    cluster.mark_logs()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DATABASE_"))}
    done = subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", JDBC,
                           "blocks_jdbc.java"],
                          cwd=HERE, env={**clean, "PGHOST": "127.0.0.1", "PGPORT": str(gear.port),
                                         "PGUSER": APP_USER, "PGDATABASE": APP_DATABASE},
                          capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    far, first = cluster.saw("jdbc-far"), cluster.saw("jdbc-first")
    near, declared = cluster.saw("jdbc-near"), cluster.saw("jdbc-declared")
    # a read right behind a write of its own session may ask the primary, and none of these is
    assert "p1" not in far and sum(far.values()) == 12 * 4 + 7 * 3
    assert "p1" not in first and sum(first.values()) == 7
    assert set(near) == {"p1"} and sum(near.values()) >= 7 * 3 + 2
    assert "p1" not in declared
    assert cluster.primary.psql("select v from t where id = 21", APP_DATABASE) == [(7,)]
    wait_until(lambda: int(gear.metric("switchgear_blocks_moved_total")) == 7, 5, "seven were counted")
