#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""make demo: a real primary, two replicas, the proxy, and a short mixed load.

Shows where each statement went and why, and what the breaker does when a replica is killed and
comes back. Ends with a summary; the exit code is 0 when at least 65 % of the reads ran on replicas
and no client saw an error or a stale read. With --stay everything stays up until Ctrl-C.
"""
import argparse
import os
import random
import signal
import socket
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import psycopg2  # noqa: E402

from cluster import (APP_DATABASE, APP_PASSWORD, APP_USER, Cluster, ClusterError,  # noqa: E402
                     free_port)
from proxy import Proxy, ProxyError, one, rows_of  # noqa: E402

CLIENTS = 16
STATEMENTS_A_SECOND = 200
READ_SHARE = 0.7
SHARE_WANTED = 0.65
CALM_SECONDS, BROKEN_SECONDS, HEALED_SECONDS = 6, 4, 3


class Load:
    """CLIENTS threads, one session each, at STATEMENTS_A_SECOND together.

    Each client has a row of its own and reads it back now and then: a value older than its own
    last write is a stale read.
    """

    def __init__(self, connect, clients=CLIENTS):
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.reads = self.writes = self.stale = 0
        self.errors, self.latencies = [], []
        self.threads = [threading.Thread(target=self.run, args=(connect, i), daemon=True)
                        for i in range(clients)]
        self.period = clients / STATEMENTS_A_SECOND

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(30)

    def run(self, connect, index):
        rng = random.Random(index)
        row, written = index + 1, 0
        connection = connect()
        due = time.monotonic() + rng.random() * self.period
        while not self.ending.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due += self.period
            began = time.monotonic()
            is_read = rng.random() < READ_SHARE
            stale = False
            try:
                if is_read:
                    stale = self.read(connection, rng, row) < written
                else:
                    rows_of(connection, f"update t set v = {written + 1} where id = {row} /*demo write*/")
                    written += 1
            except psycopg2.Error as error:
                self.note_error(error)
                if connection.closed:
                    connection = connect()
                continue
            with self.lock:
                self.latencies.append(time.monotonic() - began)
                self.reads += is_read
                self.writes += not is_read
                self.stale += stale

    @staticmethod
    def read(connection, rng, row):
        """Reads the client's own row by one of two statements, with some company."""
        if rng.random() < 0.5:
            return one(connection, f"select v from t where id = {row} /*demo read*/")
        account = rng.randrange(1, 100000)
        return one(connection, "select t.v from t, pgbench_accounts a "
                   f"where t.id = {row} and a.aid = {account} /*demo read*/")

    def note_error(self, error):
        with self.lock:
            self.errors.append(f"{error.pgcode or 'no code'}: {str(error).strip()}")


def say(text=""):
    print(text, flush=True)


def url(host, port):
    return f"postgresql://{APP_USER}:{APP_PASSWORD}@{host}:{port}/{APP_DATABASE}"


def prefer(port):
    """`port` when nobody has it, else any free one."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return port
        except OSError:
            return free_port()


def table(rows, columns):
    """Rows of dicts as an aligned table."""
    lines = [columns] + [[str(row[c] if row[c] is not None else "") for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        say("   " + "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


def reads_by_node(cluster):
    """What the nodes themselves logged."""
    return {node.name: node.saw("demo read") for node in cluster.nodes}


def show_reads(cluster):
    counts = reads_by_node(cluster)
    total = max(1, sum(counts.values()))
    say("\nReads by node, from PostgreSQL's own logs:")
    for name, count in counts.items():
        role = "primary" if name == cluster.primary.name else "replica"
        say(f"   {name} ({role})  {count:5d}  {100 * count / total:5.1f} %")


def show_routes(proxy):
    say("\nWhere statements went, and why (SHOW ROUTES):")
    rows = [r for r in proxy.admin("SHOW ROUTES") if r["database"] == APP_DATABASE and int(r["count"])]
    rows.sort(key=lambda r: -int(r["count"]))
    table(rows, ["target", "verdict", "reason", "count"])


def show_nodes(proxy, title):
    say(f"\n{title} (SHOW NODES):")
    table(proxy.admin("SHOW NODES"),
          ["node", "role", "breaker", "breaker_reason", "lag_ms", "connections"])


def break_and_heal(cluster, proxy):
    victim = cluster.replicas[0]
    say(f"\nkill -9 of replica {victim.name} while the load goes on ...")
    began = time.monotonic()
    victim.kill9()
    proxy.wait_breaker(victim.name, "OPEN", 10, drive=False)
    say(f"   its breaker is OPEN after {1000 * (time.monotonic() - began):.0f} ms")
    time.sleep(BROKEN_SECONDS)
    show_nodes(proxy, "While it is down")
    say(f"\nstarting {victim.name} again ...")
    victim.start()
    began = time.monotonic()
    proxy.wait_breaker(victim.name, "CLOSED", 60, drive=False)
    say(f"   its breaker is CLOSED {time.monotonic() - began:.1f} s after PostgreSQL accepts connections")
    time.sleep(HEALED_SECONDS)
    show_nodes(proxy, "Healed")


def summary(cluster, load):
    counts = reads_by_node(cluster)
    total = max(1, sum(counts.values()))
    on_replicas = sum(counts[r.name] for r in cluster.replicas)
    share = on_replicas / total
    statements = max(1, load.reads + load.writes)
    latencies = sorted(load.latencies) or [0.0]
    p95 = latencies[int(0.95 * (len(latencies) - 1))]
    good = share >= SHARE_WANTED and not load.errors and not load.stale
    say("\nSummary")
    say(f"   {statements} statements by {CLIENTS} sessions: {100 * load.reads / statements:.0f} % reads, "
        f"{100 * load.writes / statements:.0f} % writes; p95 {1000 * p95:.1f} ms")
    say(f"   reads on replicas: {100 * share:.1f} % (at least {100 * SHARE_WANTED:.0f} % wanted); "
        f"of all statements: {100 * on_replicas / statements:.1f} %")
    say(f"   stale reads: {load.stale}; client errors: {len(load.errors)}, with one replica killed")
    for text in load.errors[:5]:
        say(f"      {text}")
    say(f"   {'as it should be' if good else 'NOT as it should be'}")
    return good


def demonstrate(cluster, proxy):
    load = Load(proxy.connect)
    say(f"\n{CLIENTS} sessions, {STATEMENTS_A_SECOND} statements a second, "
        f"{100 * READ_SHARE:.0f} % reads, consistency level `session` ...")
    load.start()
    try:
        time.sleep(CALM_SECONDS)
        show_reads(cluster)
        show_routes(proxy)
        break_and_heal(cluster, proxy)
    finally:
        load.stop()
    show_reads(cluster)
    show_routes(proxy)
    return summary(cluster, load)


def stay(proxy):
    say("\nEverything stays up until Ctrl-C.")
    say(f"   DATABASE_URL={url('127.0.0.1', proxy.port)}")
    say(f"   admin console: psql -h {proxy.directory} -p {proxy.port} -U admin switchgear")
    say(f"   metrics:       http://127.0.0.1:{proxy.http_port}/metrics")
    try:
        while proxy.alive():
            time.sleep(0.5)
        say(proxy.log_tail())
    except KeyboardInterrupt:
        say("\nstopping")


def main():
    options = argparse.ArgumentParser(description="shows Switchgear at work")
    options.add_argument("--stay", action="store_true", help="stay up until Ctrl-C")
    options = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    say("Starting a PostgreSQL primary and two streaming replicas ...")
    began = time.monotonic()
    with Cluster() as cluster:
        say(f"   ready after {time.monotonic() - began:.1f} s")
        environment = {
            "DATABASE_URL": url("127.0.0.1", cluster.primary.port),
            "DATABASE_READ_REPLICAS": ",".join(url("127.0.0.1", r.port) for r in cluster.replicas)}
        say("Starting switchgear from two environment variables:")
        for name, value in environment.items():
            say(f"   {name}={value}")
        proxy = Proxy(cluster, "switchgear", environment=environment)
        proxy.port, proxy.http_port = prefer(6432), prefer(9188)
        names = {str(node.port): node for node in cluster.nodes}
        proxy.start()
        rename_nodes(names, proxy)
        try:
            good = demonstrate(cluster, proxy)
            if options.stay:
                stay(proxy)
        finally:
            proxy.stop()
    return 0 if good else 1


def rename_nodes(by_port, proxy):
    """The proxy names nodes of the environment by itself: we use its names from here on."""
    for name, row in proxy.nodes().items():
        by_port[str(row["port"])].name = name


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ClusterError, ProxyError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
