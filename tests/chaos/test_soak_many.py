# SPDX-License-Identifier: PostgreSQL
"""Hundreds of clients of ten kinds that fail, cancel and vanish at random, on connections that are
cut: nobody reads a row of somebody else, and afterwards everything is as it was.

`make soak` is the long one: SOAK_SECONDS=60 SOAK_CLIENTS=500, plain and under ASan.
"""
import asyncio
import os
import random
import threading
import time

import pytest

import crowd
from async_wire import Client, Cutter
from baseline import Baseline
from cluster import APP_DATABASE, wait_until
from proxy import one
from test_soak import SEED

SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))
CLIENTS = int(os.environ.get("SOAK_CLIENTS", "200"))
WARM_SECONDS = max(3, SECONDS / 6)  # the first crowd fills what is kept: caches, pools, threads
TIME_MAX = SECONDS + crowd.ANSWER_SECONDS + 30
TO_PROXY_BYTES, TO_NODE_BYTES = 20000, 300000  # a connection carries until it is cut, on average


async def soak(p, to_nodes, seed, seconds):
    """Runs the crowd; the relays live in the same loop. Returns its World."""
    to_proxy = await Cutter(p.port, random.Random(seed), TO_PROXY_BYTES).start()
    for relay in to_nodes:
        relay.hurt()
    world = crowd.World([p.port, to_proxy.port], seconds, seed)
    await crowd.run(world, CLIENTS)
    for relay in to_nodes:
        relay.heal()
    to_proxy.stop()
    world.cuts = [relay.cuts for relay in (to_proxy, *to_nodes)]
    return world


class Loop:
    """An asyncio loop in a thread: the relays in front of the nodes outlive the crowd."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine, timeout):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def stop(self):
        async def end():
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.run(end(), 10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


def report(world):
    print(f"the longest wait for an answer: {Client.longest:.1f} s")
    print("lives:", world.done, "cuts (clients, primary, replica):", world.cuts)
    for (kind, outcome), count in sorted(world.errors.items(), key=lambda item: -item[1])[:40]:
        print("  ", count, kind, outcome)


@pytest.mark.invariant
def test_a_crowd_of_ten_kinds_leaves_nothing_behind(cluster, proxy):
    print(f"CHAOS_SEED={SEED}")
    cluster.primary.psql(crowd.SCHEMA, APP_DATABASE)
    cluster.wait_replicated()
    loop = Loop()
    relays = {name: loop.run(Cutter(cluster.node(name).port, random.Random(SEED),
                                    TO_NODE_BYTES).start(), 10) for name in ("p1", "r1")}
    p = proxy(switchgear={"auth_type": "trust", "max_client_conn": CLIENTS * 2 + 50},
              database={"pool_size": 60},
              nodes={name: {"port": relay.port} for name, relay in relays.items()},
              breaker={"open_for": "300ms", "open_max": "1s"})
    to_nodes = list(relays.values())
    assert loop.run(soak(p, to_nodes, f"warm {SEED}", WARM_SECONDS), TIME_MAX).complaints == []
    before = Baseline(cluster, p)
    cluster.primary.psql("truncate crowd, crowd_log", APP_DATABASE)

    world = loop.run(soak(p, to_nodes, SEED, SECONDS), TIME_MAX)
    report(world)
    assert world.complaints == [], "no row of another, no error that was not deserved"
    assert all(world.done.get(kind.__name__, 0) > 0 for kind in crowd.KINDS)
    assert all(world.cuts)
    print("complaints (rows of others, undeserved errors, clients that hang): none")
    before.insist_unchanged(cluster, p)
    began = time.monotonic()
    p.stop()
    assert time.monotonic() - began < 10
    loop.stop()
