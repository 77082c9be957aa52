# SPDX-License-Identifier: PostgreSQL
"""Sixty clients, two workers, small pools, and replicas that die all the time: nobody reads a row of
somebody else, nothing confirmed is lost, and afterwards everything is as it was."""
import os
import random
import time

import pytest

import chaos
from baseline import budget_is_true, is_at_rest, own_files
from cluster import APP_DATABASE, APP_USER, wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = os.environ.get("CHAOS_SEED") or str(random.randrange(1 << 32))


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
