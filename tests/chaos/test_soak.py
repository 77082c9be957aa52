# SPDX-License-Identifier: PostgreSQL
"""Sixty clients, two workers, small pools, and replicas that die all the time: nobody reads a row of
somebody else, nothing confirmed is lost, and afterwards everything is as it was."""
import os
import random
import subprocess
import time

import pytest

import chaos
from cluster import APP_DATABASE, APP_USER, wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = os.environ.get("CHAOS_SEED") or str(random.randrange(1 << 32))


def open_files(p):
    return len(subprocess.check_output(["ls", f"/proc/{p.process.pid}/fd"], text=True).split())


def own_files(p):
    """But for the connections to servers, of which SHOW POOLS tells."""
    return open_files(p) - total(pools(p), "connections")


def pools(p):
    return [row for row in p.admin("SHOW POOLS") if row["database"] == APP_DATABASE]


def total(rows, column):
    return sum(int(row[column]) for row in rows)


def is_at_rest(p):
    rows = pools(p)
    return not any(total(rows, c) for c in ("cl_active", "cl_waiting", "sv_active", "sv_login"))


def budget_is_true(cluster, p):
    """What the proxy believes to have open is what the servers see."""
    believed = {}
    for row in pools(p):
        believed[row["node"]] = believed.get(row["node"], 0) + int(row["connections"])
    seen = {node.name: len(node.backends(APP_USER)) for node in cluster.nodes}
    return all(believed.get(name, 0) == count for name, count in seen.items()) and believed


@pytest.mark.invariant
def test_sixty_clients_outlive_twenty_seconds_of_trouble(cluster, proxy):
    print(f"CHAOS_SEED={SEED}")
    cluster.primary.psql("drop table if exists ledger; create table ledger (owner text, n int); "
                         f"alter table ledger owner to {APP_USER}", APP_DATABASE)
    cluster.wait_replicated()
    p = proxy(database={"pool_size": 8, "write_wait": "20s"},
              switchgear={"max_client_conn": 500, "server_connect_timeout": "3s"},
              probe={"timeout": "500ms"}, breaker={"open_for": "300ms", "open_max": "1s"})
    one_client = p.connect()
    one_client.close()
    files_before = own_files(p)

    world = chaos.World(p, SECONDS, SEED)
    threads = chaos.start(world)
    log = chaos.trouble(cluster, p, random.Random(SEED), world.deadline)
    for thread in threads:
        thread.join(30)
    print("trouble:", ", ".join(log))
    print("done:", world.done)
    for key, count in sorted(world.errors.items(), key=lambda item: -item[1])[:25]:
        print("  ", count, key)
    assert world.complaints == []
    assert not [t for t in threads if t.is_alive()], "no client hangs"
    assert all(world.done.get(kind.__name__, 0) > 0 for kind in chaos.KINDS)

    cluster.heal()
    p.wait_ready()
    wait_until(lambda: is_at_rest(p), 15, "nobody waits, nothing is in use")
    wait_until(lambda: budget_is_true(cluster, p), 15, "the budget is what is open")
    written = cluster.primary.psql("select owner, n, count(*) from ledger group by 1, 2",
                                   APP_DATABASE)
    assert all(count == 1 for _, _, count in written), "nothing was written twice"
    found = {(owner, n) for owner, n, _ in written}
    confirmed = {(owner, n) for owner, ns in world.confirmed.items() for n in ns}
    assert confirmed <= found, "what was confirmed is there"
    wait_until(lambda: own_files(p) <= files_before + 2, 10,
               "no descriptor is left over")
    began = time.monotonic()
    p.stop()
    assert time.monotonic() - began < 10
