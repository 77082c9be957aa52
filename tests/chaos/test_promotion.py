# SPDX-License-Identifier: PostgreSQL
"""The primary dies, a replica takes over: writes wait and go on, each at most once."""
import random
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER
from proxy import Load, one, rows_of
from test_soak import SEED


@pytest.mark.invariant
def test_writes_wait_for_the_promotion_and_none_is_executed_twice(cluster, proxy):
    print(f"CHAOS_SEED={SEED}")
    rnd = random.Random(SEED)
    cluster.primary.psql("drop table if exists ledger; create table ledger (owner text, n int); "
                         f"alter table ledger owner to {APP_USER}", APP_DATABASE)
    cluster.wait_replicated()
    p = proxy(database={"write_wait": "20s", "pool_size": 6}, probe={"timeout": "500ms"})
    ending = threading.Event()
    confirmed, unseen, failed, slowest = set(), set(), [], [0.0]

    def write(number):
        c, n = p.connect(), 0
        while not ending.is_set():
            n += 1
            began = time.monotonic()
            try:
                rows_of(c, f"insert into ledger values ('w{number}', {n})")
                confirmed.add((f"w{number}", n))
                if (one(c, f"select max(n) from ledger where owner = 'w{number}'") or 0) < n:
                    unseen.add((f"w{number}", n))
            except psycopg2.Error as error:
                failed.append((number, n, error.pgcode, str(error)))
                if c.closed:
                    c = p.connect()
            slowest[0] = max(slowest[0], time.monotonic() - began)
            time.sleep(0.005)

    def read(connection, _):
        assert one(connection, "select count(*) from t") == 100

    writers = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(8)]
    for thread in writers:
        thread.start()
    with Load(p, read, clients=6) as load:
        time.sleep(0.5 + rnd.random())
        cluster.primary.kill9()
        time.sleep(rnd.uniform(0.2, 1.0))
        reads_while_there_is_no_primary = load.done
        time.sleep(0.3)
        assert load.done > reads_while_there_is_no_primary, "reads go on"
        at_promotion = set(confirmed)
        cluster.replicas[0].promote()
        promoted = time.monotonic()
        known = len(confirmed)
        while len(confirmed) < known + 20 and time.monotonic() < promoted + 15:
            time.sleep(0.02)
        print(f"first writes {time.monotonic() - promoted:.2f} s after the promotion")
        time.sleep(1)
        ending.set()
        for thread in writers:
            thread.join(25)
        assert not any(thread.is_alive() for thread in writers)
    assert load.errors == [], load.errors[:5]
    assert len(confirmed) >= known + 20, "writes go on"
    # one statement a client was running when the primary died; those that waited all succeed
    assert all(code is None or code[:2] in ("08", "57") for _, _, code, _ in failed), failed
    assert len(failed) <= 2 * len(writers), failed
    rows = cluster.replicas[0].psql("select owner, n, count(*) from ledger group by 1, 2",
                                    APP_DATABASE)
    assert all(count == 1 for _, _, count in rows), "none was executed twice"
    found = {(owner, n) for owner, n, _ in rows}
    assert confirmed - at_promotion <= found, "what the new primary confirmed is there"
    assert unseen <= at_promotion - found, "what a session did not see of its own is truly lost"
    # asynchronous replication may lose the last instant before the death
    assert len(at_promotion - found) <= 2 * len(writers), at_promotion - found
