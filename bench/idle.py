#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""idle: what an idle client costs in resident memory, plain and over TLS.

Starts a PostgreSQL of its own with Switchgear (and PgBouncer where it is installed) in front, lets
thousands of clients log in and say nothing, and prints a Markdown table. Ends all that it started.
"""

import argparse
import os
import signal
import socket
import ssl
import struct
import sys
import time

import measure
from cluster import Cluster
from contenders import Pgbouncer, Switchgear, make_contenders
from processes import BenchError, Keeper, raise_open_files

SSL_REQUEST = struct.pack("!II", 8, 80877103)
HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_BINARY = os.path.abspath(os.path.join(HERE, "..", "build", "switchgear"))
SPARE = 300  # descriptors, and clients, beyond the idle ones


def parse_options():
    p = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    p.add_argument("--plain", type=int, default=10000, metavar="N", help="plain clients (10000)")
    p.add_argument("--tls", type=int, default=5000, metavar="N", help="clients over TLS (5000)")
    p.add_argument("--binary", default=DEFAULT_BINARY, metavar="PATH",
                   help="the proxy to measure (build/switchgear)")
    p.add_argument("--only", choices=("switchgear", "pgbouncer"), help="one of the two")
    p.add_argument("--bound-plain", type=float, metavar="KIB",
                   help="exit with 1 when a plain client of Switchgear adds more")
    p.add_argument("--bound-tls", type=float, metavar="KIB", help="the same over TLS")
    options = p.parse_args()
    options.binary = os.path.abspath(options.binary)
    options.clients_max = max(options.plain, options.tls) + SPARE
    options.pool = 16
    return options


def connect_plain(port):
    s = socket.create_connection(("127.0.0.1", port), 30)
    measure.log_in(s)
    return s


def make_connect_tls():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def connect(port):
        s = socket.create_connection(("127.0.0.1", port), 30)
        s.sendall(SSL_REQUEST)
        if s.recv(1) != b"S":
            raise BenchError("TLS was refused")
        s = context.wrap_socket(s)
        measure.log_in(s)
        return s
    return connect


def memory_of(contender, connect, clients):
    """KiB of resident memory that each client adds, once a few have been there and gone."""
    pid = contender.child.pid
    warm = [connect(contender.port) for _ in range(50)]
    for s in warm:
        s.close()
    time.sleep(1)
    before, _ = measure.memory_kb(pid)
    sockets = []
    try:
        for _ in range(clients):
            sockets.append(connect(contender.port))
        time.sleep(1)
        after, _ = measure.memory_kb(pid)
        measure.watch_idle([s for s in sockets if not isinstance(s, ssl.SSLSocket)])
        for s in sockets[::max(1, clients // 50)]:
            ask(s)
    finally:
        for s in sockets:
            s.close()
    return (after - before) / clients


def ask(sock):
    """A client that was idle is still served."""
    sock.sendall(b"Q" + struct.pack("!I", 13) + b"SELECT 1\0")
    got = b""
    while not got.endswith(b"I") or b"Z\0\0\0\5" not in got:
        part = sock.recv(4096)
        if not part:
            raise BenchError("an idle client was disconnected")
        got += part


def chosen(cluster, options):
    for contender in make_contenders(cluster, options):
        is_ours = isinstance(contender, Switchgear) and contender.key == "switchgear-1"
        if options.only != "pgbouncer" and is_ours:
            yield contender
        if options.only != "switchgear" and isinstance(contender, Pgbouncer):
            reason = contender.missing()
            if reason:
                print(f"left out: {reason}", file=sys.stderr)
            else:
                yield contender


def run(options):
    open_files = raise_open_files()
    if options.clients_max + SPARE > open_files:
        raise BenchError(f"too many clients for the limit of {open_files} open files (ulimit -n)")
    rows = []
    good = True
    with Keeper() as keeper:
        cluster = Cluster(keeper, 2, 1, 100)
        cluster.start()
        for contender in chosen(cluster, options):
            for kind, connect, clients, bound in (
                    ("plain", connect_plain, options.plain, options.bound_plain),
                    ("TLS", make_connect_tls(), options.tls, options.bound_tls)):
                contender.start()  # afresh: memory that others left would hide the growth
                kib = memory_of(contender, connect, clients)
                contender.stop()
                rows.append(f"| {contender.title} | {clients:,} | {kind} | {kib:.2f} |")
                print(rows[-1], file=sys.stderr)
                if bound and isinstance(contender, Switchgear) and kib > bound:
                    print(f"{kind}: above the bound of {bound} KiB", file=sys.stderr)
                    good = False
    print("\n".join(["| proxy | idle clients | connection | KiB a client |", "| --- | --- | --- | --- |",
                     *rows]))
    return 0 if good else 1


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, interrupted)
    try:
        return run(parse_options())
    except BenchError as e:
        print(f"idle: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("idle: interrupted; all that was started has been ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
