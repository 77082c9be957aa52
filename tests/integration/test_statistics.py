# SPDX-License-Identifier: PostgreSQL
"""The nodes' own statistics as a second opinion on our counters.

A file of its own: a proxy that a whole file shares would keep backends open, whose reports are late.
"""
from cluster import wait_until
from test_pgbench import pgbench

STATEMENTS_OF_TPCB = 5  # without BEGIN and END: three updates, a select, an insert


def test_the_nodes_statistics_agree_with_show_routes(cluster, proxy):
    """Backends report when they end: those of other tests have, and the proxy is stopped before the
    nodes are asked."""
    wait_until(lambda: not any(n.backends() for n in cluster.nodes), 10, "earlier backends are gone")
    before = {n.name: n.statistics()["xact_commit"] for n in cluster.nodes}
    p = proxy(database={"pool_size": 5})
    reads, _ = pgbench(cluster, p, "-t", "50", "-b", "select-only", "-M", "prepared")
    writes, _ = pgbench(cluster, p, "-t", "25", "-b", "tpcb-like")
    on_replicas = p.routed_to("replica")
    on_primary = p.routed_to("primary")
    p.stop()
    wait_until(lambda: not any(n.backends() for n in cluster.nodes), 10, "all backends are closed")

    def commits(nodes):
        return sum(n.statistics()["xact_commit"] - before[n.name] for n in nodes)

    assert reads == 800 and on_replicas + on_primary >= reads + STATEMENTS_OF_TPCB * writes
    # A replica runs one transaction a read. Ten backends at most add their log-ins and settings.
    wait_until(lambda: commits(cluster.replicas) >= on_replicas, 15, "replicas reported")
    assert commits(cluster.replicas) - on_replicas < 60
    wait_until(lambda: commits([cluster.primary]) >= writes, 15, "the primary reported")
