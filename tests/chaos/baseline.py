# SPDX-License-Identifier: PostgreSQL
"""What a proxy holds while nobody uses it: the same before and after, or something was leaked."""
import os
import subprocess

from cluster import APP_DATABASE, APP_USER, wait_until

FILES_SPARE = 2
# What does stay (names of settings, the allocator's own) was 28 kB after 15 seconds and 2,500 lives, 41
# after 60 and 11,000. One block of 32 bytes that each connection leaves behind is more than this.
BYTES_SPARE = 80 * 1024


def open_files(p):
    return len(subprocess.check_output(["ls", f"/proc/{p.process.pid}/fd"], text=True).split())


def pools(p):
    return [row for row in p.admin("SHOW POOLS") if row["database"] == APP_DATABASE]


def total(rows, column):
    return sum(int(row[column]) for row in rows)


def own_files(p):
    """But for the connections to servers, of which SHOW POOLS tells."""
    return open_files(p) - total(pools(p), "connections")


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


def memory(p):
    """SHOW MEM: {name: bytes}, and blocks in use."""
    rows = {row["name"]: row for row in p.admin("SHOW MEM")}
    return int(rows["allocated"]["memtotal"]), int(rows["block_cache"]["used"])


def lists(p):
    return {row["list"]: int(row["items"]) for row in p.admin("SHOW LISTS")}


def is_sanitized(p):
    with open(f"/proc/{p.process.pid}/maps", encoding="utf-8") as f:
        return any(name in f.read() for name in ("libasan", "libtsan"))


class Baseline:
    """Taken once nobody is connected and the pools are empty. `allocated` is None where a sanitizer
    allocates: AddressSanitizer says at the end whether a byte was leaked."""

    def __init__(self, cluster, p):
        p.wait_ready()
        wait_until(lambda: is_at_rest(p), 20, "nobody waits, nothing is in use")
        wait_until(lambda: budget_is_true(cluster, p), 20, "the budget is what is open")
        found = lists(p)
        assert (found["used_clients"], found["admin_clients"]) == (1, 1), "the one who asks"
        assert found["pinned_clients"] == found["login_clients"] == found["used_servers"] == 0
        p.admin("RECONNECT")
        wait_until(lambda: total(pools(p), "connections") == 0, 20, "the pools are empty")
        wait_until(lambda: memory(p)[1] == 0, 10, "no block is in use")
        self.files = own_files(p)
        self.allocated = None if is_sanitized(p) else memory(p)[0]

    def insist_unchanged(self, cluster, p):
        now = Baseline(cluster, p)
        wait_until(lambda: own_files(p) <= self.files + FILES_SPARE, 20,
                   "no descriptor is left over")
        print(f"pools: empty, budgets true; clients: none; blocks in use: 0; descriptors: "
              f"{self.files} before, {own_files(p)} after")
        if self.allocated is None:
            print("bytes: AddressSanitizer's word at the end")
            return
        print(f"bytes allocated: {self.allocated} before, {now.allocated} after")
        assert now.allocated <= self.allocated + BYTES_SPARE, "no byte is left over"
