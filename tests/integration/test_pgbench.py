# SPDX-License-Identifier: PostgreSQL
"""pgbench through one proxy, and the nodes' own statistics as a second opinion on our counters."""
import os
import re

import pytest

from cluster import wait_until

SECONDS = int(os.environ.get("PGBENCH_SECONDS", "5"))
STATEMENTS_OF_TPCB = 5  # without BEGIN and END: three updates, a select, an insert


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


def test_the_nodes_statistics_agree_with_show_routes(cluster, proxy):
    """Backends report when they end, so the proxy is stopped before the nodes are asked."""
    before = {n.name: n.statistics()["xact_commit"] for n in cluster.nodes}
    p = proxy()
    reads, _ = pgbench(cluster, p, "-t", "50", "-b", "select-only", "-M", "prepared")
    writes, _ = pgbench(cluster, p, "-t", "25", "-b", "tpcb-like")
    on_replicas = p.routed_to("replica")
    on_primary = p.routed_to("primary")
    p.stop()
    wait_until(lambda: not any(n.backends() for n in cluster.nodes), 10, "all backends are closed")

    def commits(nodes):
        return sum(n.statistics()["xact_commit"] - before[n.name] for n in nodes)

    assert reads == 800 and on_replicas + on_primary >= reads + STATEMENTS_OF_TPCB * writes
    # A replica runs one transaction a read. Logging in and probing add a few of their own.
    wait_until(lambda: commits(cluster.replicas) >= on_replicas, 15, "replicas reported")
    assert commits(cluster.replicas) - on_replicas < 60
    wait_until(lambda: commits([cluster.primary]) >= writes, 15, "the primary reported")
