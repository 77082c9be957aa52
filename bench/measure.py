# SPDX-License-Identifier: PostgreSQL
"""measure: one pgbench run against one contender, and what it cost: CPU, memory, system calls."""

import glob
import math
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass

from cluster import DATABASE, USER, server_program
from processes import BenchError, find_program

LATENCY_SAMPLES = 20000  # enough for a steady p99, and a log of at most a megabyte
# Transactions of the two counting runs: strace slows each system call down, perf does not.
COUNTING_RUNS = {"perf": (2000, 12000), "strace": (1000, 4000)}


@dataclass
class Run:
    tps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float | None  # per transaction, of the proxy alone; None without a proxy
    rss_kb: int | None


def cpu_ns(pid):
    """CPU time that a process used so far: all its threads, those that ended included, to the
    nanosecond. It is the process's own POSIX CPU clock, MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
    in the kernel's words: no cgroup and no privilege is needed, and nothing has ticks in it."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def memory_kb(pid):
    """VmRSS and, where the kernel lets us, Pss."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        rss = int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M).group(1))
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return rss, int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    except OSError:
        return rss, None


def percentile(ordered, share):
    """Nearest rank, of an ascending list."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# What pgbench is told of a protocol that is not one of its own.
OVER_TLS = {"tls": ["-M", "simple"], "tls-connect": ["-M", "simple", "-C"]}


class Pgbench:
    """Starts pgbench against a contender; used by `with`, so that an interrupt ends it."""

    def __init__(self, keeper, contender, protocol, clients, more_arguments, scripts=("-S",)):
        self.keeper = keeper
        self.command = [server_program("pgbench"), *scripts, "-n",
                        *OVER_TLS.get(protocol, ["-M", protocol]), "-c", str(clients),
                        "-j", str(min(clients, 2)), "-h", "127.0.0.1", "-p", str(contender.port),
                        "-U", USER, *more_arguments, DATABASE]
        self.environment = os.environ | {
            "PGSSLMODE": "require" if protocol in OVER_TLS else "disable",
            "PGGSSENCMODE": "disable"}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True, cwd=self.keeper.directory,
                                        env=self.environment)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def finish(self, timeout):
        """Waits for the end; returns (transactions, tps)."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as e:
            raise BenchError(f"pgbench hung for {timeout:.0f} s") from e
        done = re.search(r"transactions actually processed: (\d+)", out)
        tps = re.search(r"^tps = ([\d.]+)", out, re.M)
        failed = re.search(r"number of failed transactions: (\d+)", out)
        if self.process.returncode != 0 or not done or not tps or (failed and int(failed[1])):
            lines = [line for line in err.splitlines() if "error" in line] or err.splitlines()
            raise BenchError("pgbench: " + (lines[0] if lines else "no result"))
        return int(done[1]), float(tps[1])


def read_latencies(prefix):
    """Ascending latencies in ms from pgbench's transaction logs, which are removed."""
    latencies = []
    for path in glob.glob(glob.escape(prefix) + ".*"):
        with open(path, encoding="ascii") as f:
            latencies += [int(line.split()[2]) / 1000 for line in f]
        os.unlink(path)
    if not latencies:
        raise BenchError("pgbench logged no transaction: the run is too short")
    return sorted(latencies)


def timed_run(contender, protocol, clients, seconds, expected_tps):
    """One measured run. `expected_tps` only sets how many transactions are logged."""
    pid = contender.child.pid if contender.child else None
    prefix = contender.keeper.path("latency")
    rate = min(1.0, LATENCY_SAMPLES / (expected_tps * seconds))
    arguments = ["-T", str(seconds), "-l", f"--log-prefix={prefix}", f"--sampling-rate={rate:.4f}"]
    cpu_before = cpu_ns(pid) if pid else 0
    rss = None
    with Pgbench(contender.keeper, contender, protocol, clients, arguments) as bench:
        time.sleep(seconds * 0.75)
        if pid and contender.child.alive():
            rss, _ = memory_kb(pid)
        transactions, tps = bench.finish(seconds + 30)
    if pid and not contender.child.alive():
        raise BenchError(f"{contender.key} ended by itself: {contender.child.log_tail(2)}")
    cpu_us = (cpu_ns(pid) - cpu_before) / 1000 / transactions if pid else None
    latencies = read_latencies(prefix)
    return Run(tps, *(percentile(latencies, p) for p in (0.50, 0.95, 0.99)), cpu_us, rss)


# ---- system calls ----

def choose_counter(wanted):
    """`perf` counts at a tracepoint and hardly disturbs; `strace` works where perf may not."""
    if wanted == "off":
        return None
    perf, strace = find_program("perf"), find_program("strace")
    if wanted in ("auto", "perf") and perf:
        probe = subprocess.run([perf, "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"],
                               capture_output=True, text=True, check=False)
        if probe.returncode == 0 and re.search(r"^\d+,", probe.stderr, re.M):
            return "perf"
    if wanted in ("auto", "strace") and strace:
        return "strace"
    if wanted != "auto":
        raise BenchError(f"--syscalls {wanted}: {wanted} is not installed or may not count here")
    return None


class SystemCallCounter:
    def __init__(self, tool, keeper, pid):
        self.output = keeper.path("system-calls")
        if tool == "perf":
            self.command = [find_program("perf"), "stat", "-x,", "-e", "raw_syscalls:sys_enter",
                            "-o", self.output, "-p", str(pid)]
            self.pattern = r"^(\d+),.*raw_syscalls:sys_enter"
        else:
            self.command = [find_program("strace"), "-c", "-f", "-o", self.output, "-p", str(pid)]
            self.pattern = r"^100\.00\s+\S+\s+\d+\s+(\d+)\s.*total$"
        self.count = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        time.sleep(0.4)  # to attach; before the load starts there is next to nothing to miss
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind is None:
            with open(self.output, encoding="utf-8", errors="replace") as f:
                found = re.search(self.pattern, f.read(), re.M)
            if not found:
                raise BenchError("system calls could not be counted: may this user trace?")
            self.count = int(found[1])


def system_calls_per_transaction(tool, contender, protocol, clients):
    """Two runs of different length; the difference has neither log-ins nor start-up in it."""
    counts, transactions = [], []
    for total in COUNTING_RUNS[tool]:
        total //= 10 if protocol == "tls-connect" else 1
        arguments = ["-t", str(max(1, total // clients))]
        with SystemCallCounter(tool, contender.keeper, contender.child.pid) as counter:
            with Pgbench(contender.keeper, contender, protocol, clients, arguments) as bench:
                transactions.append(bench.finish(120)[0])
        counts.append(counter.count)
    return (counts[1] - counts[0]) / (transactions[1] - transactions[0])


# ---- idle clients ----

def startup_packet():
    body = struct.pack("!I", 196608)
    for text in ("user", USER, "database", DATABASE):
        body += text.encode() + b"\0"
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def log_in(sock):
    """Speaks the start-up of the protocol (trust only) up to the first ReadyForQuery."""
    sock.sendall(startup_packet())
    buffered = b""
    while True:
        part = sock.recv(4096)
        if not part:
            raise BenchError("the server closed the connection during the log-in")
        buffered += part
        while len(buffered) >= 5:
            size = 1 + struct.unpack("!I", buffered[1:5])[0]
            if len(buffered) < size:
                break
            kind, body, buffered = buffered[:1], buffered[5:size], buffered[size:]
            if kind == b"E":
                raise BenchError("log-in refused: " + body.replace(b"\0", b" ").decode())
            if kind == b"R" and body != b"\0\0\0\0":
                raise BenchError("log-in: a password is wanted, but all here is meant to be trust")
            if kind == b"Z":
                return


def idle_memory(contender, clients):
    """KiB of resident memory that each of `clients` idle, logged-in clients adds: (rss, pss)."""
    pid = contender.child.pid
    with Pgbench(contender.keeper, contender, "simple", min(16, clients), ["-t", "50"]) as warm_up:
        warm_up.finish(30)
    before = memory_kb(pid)
    sockets = []
    try:
        for _ in range(clients):
            sockets.append(socket.create_connection(("127.0.0.1", contender.port), 10))
            log_in(sockets[-1])
        time.sleep(1)  # closing backends, timers and trimming come to rest
        after = memory_kb(pid)
        watch_idle(sockets)
    finally:
        for sock in sockets:
            sock.close()
    return tuple((b - a) / clients if a is not None and b is not None else None
                 for a, b in zip(before, after))


def watch_idle(sockets):
    """Idle clients must still be connected, else their memory was not measured."""
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        ready = [key.fileobj for key, _ in selector.select(0)]
    closed = sum(1 for sock in ready if sock.recv(1, socket.MSG_PEEK) == b"")
    if closed:
        raise BenchError(f"{closed} of {len(sockets)} idle clients were disconnected")
