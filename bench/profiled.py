#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""profiled: builds Switchgear once more, laid out by what gcc saw it do (build-profiled/switchgear).

Builds it with counters, drives it with pgbench against a cluster of its own (reads, writes, plain
and over TLS), and builds it again with what was counted. gcc only.
"""

import argparse
import os
import shutil
import subprocess
import sys

from cluster import Cluster
from contenders import Switchgear
from measure import Pgbench
from processes import BenchError, Keeper

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.path.join(ROOT, "build-profiled")
BINARY = os.path.join(BUILD, "switchgear")
CLIENTS = 16
SECONDS = 3
# Protocols, and what pgbench is told besides: reads alone, then mixed with transactions that write.
LOADS = [(protocol, []) for protocol in ("simple", "extended", "prepared", "tls", "tls-connect")]
LOADS += [(protocol, ["-b", "tpcb-like"]) for protocol in ("simple", "extended", "prepared")]


def build(profile):
    """`profile`: generate or use."""
    options = [f"-Db_pgo={profile}", "-Db_lto=true", "-Dtests=false"]
    if profile == "generate":
        shutil.rmtree(BUILD, ignore_errors=True)
        subprocess.run(["meson", "setup", BUILD, ROOT, *options], check=True,
                       stdout=subprocess.DEVNULL, env=os.environ | {"CC": "gcc"})
    else:
        subprocess.run(["meson", "configure", BUILD, *options], check=True)
    subprocess.run(["meson", "compile", "-C", BUILD, "switchgear"], check=True)


def train():
    options = argparse.Namespace(binary=BINARY, pool=CLIENTS, clients_max=200)
    with Keeper() as keeper:
        # gcc's counters are written as the proxy ends, by whoever it runs as: not into the build
        counters = keeper.make_directory("counters")
        os.environ["GCOV_PREFIX"] = counters
        cluster = Cluster(keeper, 2, 1, 200)
        cluster.start()
        proxy = Switchgear("switchgear-1", "Switchgear", cluster, options, "1", True)
        proxy.start()
        for protocol, more in LOADS:
            with Pgbench(keeper, proxy, protocol, CLIENTS, ["-T", str(SECONDS), *more]) as bench:
                transactions, _ = bench.finish(60)
            print(f"profiled: {protocol} {' '.join(more)}: {transactions} transactions", flush=True)
        proxy.stop()
        shutil.copytree(counters + BUILD, BUILD, dirs_exist_ok=True)


def main():
    try:
        build("generate")
        train()
        build("use")
    except (BenchError, subprocess.CalledProcessError) as e:
        print(f"profiled: {e}", file=sys.stderr)
        return 1
    print(f"built {os.path.relpath(BINARY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
