# SPDX-License-Identifier: PostgreSQL
"""pgbench through one proxy."""
import os
import re

import pytest

SECONDS = int(os.environ.get("PGBENCH_SECONDS", "2"))


def pgbench(cluster, p, *arguments):
    """Runs pgbench; (transactions processed, failed)."""
    text = cluster.run("pgbench", "-n", "-c", "16", "-j", "2", *arguments, p.dsn())
    processed = int(re.search(r"number of transactions actually processed: (\d+)", text).group(1))
    failed = re.search(r"number of failed transactions: (\d+)", text)
    assert "ABORTED" not in text.upper() and processed > 0, text
    return processed, int(failed.group(1)) if failed else 0


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["tpcb-like", "select-only"])
def test_pgbench_has_no_failed_transaction(cluster, gear, script, protocol):
    _, failed = pgbench(cluster, gear, "-T", str(SECONDS), "-b", script, "-M", protocol)
    assert failed == 0


@pytest.mark.core
@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_a_short_pgbench_has_no_failed_transaction(cluster, gear, protocol):
    assert pgbench(cluster, gear, "-t", "20", "-b", "select-only", "-M", protocol) == (320, 0)
    assert pgbench(cluster, gear, "-t", "10", "-b", "tpcb-like", "-M", protocol) == (160, 0)


def test_pgbench_reads_go_to_the_replicas(cluster, gear):
    processed, _ = pgbench(cluster, gear, "-t", "100", "-b", "select-only")
    on_replicas = sum(r.saw("SELECT abalance FROM pgbench_accounts") for r in cluster.replicas)
    assert processed == 1600 and on_replicas >= 0.99 * processed
