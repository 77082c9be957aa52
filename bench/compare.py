#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""compare: Switchgear beside PostgreSQL itself, HAProxy and PgBouncer, in one run on one machine.

Starts its own PostgreSQL cluster and all contenders, drives them with pgbench -S, prints a
Markdown report and writes it to bench/results/latest.md. Ends everything that it started.
"""

import argparse
import os
import signal
import sys
import time

import measure
import report
from cluster import Cluster
from contenders import ALL_PROTOCOLS, Direct, first_line, make_contenders, select_contenders
from processes import BenchError, Keeper, find_program, raise_open_files

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_BINARY = os.path.abspath(os.path.join(HERE, "..", "build", "switchgear"))
RESULT_PATH = os.path.join(HERE, "results", "latest.md")
IDLE_RELAYED_MAX = 300  # a plain relay needs a PostgreSQL backend for each idle client
ADMITTED_SPARE = 200


def comma_list(kind, allowed=None):
    def parse(text):
        try:
            values = [kind(part.strip()) for part in text.split(",") if part.strip()]
        except ValueError as e:
            raise argparse.ArgumentTypeError(str(e)) from e
        wrong = [v for v in values if allowed and v not in allowed]
        if wrong or not values:
            raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(allowed or ())}")
        return values
    return parse


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError(f"{text} is not positive")
    return value


def parse_options():
    p = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    p.add_argument("--quick", action="store_true",
                   help="a minute's look: scale 1, one round of 1 s; no figure to quote")
    p.add_argument("--seconds", type=positive, help="length of one run (4; quick: 1)")
    p.add_argument("--rounds", type=positive, help="rounds, of which medians are quoted (3; 1)")
    p.add_argument("--only", type=comma_list(str), metavar="NAME,NAME",
                   help="direct, haproxy, pgbouncer, switchgear (all four), switchgear-1, "
                        "switchgear-auto, switchgear-1-off, switchgear-auto-off")
    p.add_argument("--clients", type=comma_list(positive), default=[1, 16, 64], metavar="N,N")
    p.add_argument("--protocols", type=comma_list(str, ALL_PROTOCOLS), default=ALL_PROTOCOLS,
                   metavar="NAME,NAME", help=", ".join(ALL_PROTOCOLS))
    p.add_argument("--syscalls", nargs="?", const="auto", default=None,
                   choices=("auto", "perf", "strace", "off"),
                   help="how system calls are counted, in runs of their own (auto; quick: off)")
    p.add_argument("--no-timing", action="store_true",
                   help="leave the timed runs out: only --syscalls or --idle")
    p.add_argument("--idle", type=positive, metavar="N",
                   help="also: resident memory that each of N idle clients adds")
    p.add_argument("--pool", type=positive, default=16, help="backends a pool (16)")
    p.add_argument("--binary", default=DEFAULT_BINARY,
                   metavar="PATH", help="the proxy to measure (build/switchgear)")
    p.add_argument("--keep", action="store_true", help="keep the working directory with its logs")
    options = p.parse_args()
    options.binary = os.path.abspath(options.binary)
    options.seconds = options.seconds or (1 if options.quick else 4)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.syscalls = options.syscalls or ("off" if options.quick else "auto")
    options.scale = 1 if options.quick else 10
    return options


def set_limits(options):
    """Connections: what the load needs, within what open files allow (two a relayed client)."""
    open_files = raise_open_files()
    options.clients_max = max(options.clients + [options.idle or 0]) + ADMITTED_SPARE
    if options.clients_max * 2 + ADMITTED_SPARE > open_files:
        raise BenchError(f"too many clients for the limit of {open_files} open files (ulimit -n)")
    relayed = max(options.clients + [min(options.idle or 0, IDLE_RELAYED_MAX)])
    # Room for the direct and the relayed load, and for the pools of all the others.
    return 2 * relayed + 12 * options.pool + 50


def say(text):
    print(text, file=sys.stderr, flush=True)


def start_contenders(cluster, options, results):
    running = []
    for contender in select_contenders(make_contenders(cluster, options), options.only):
        reason = contender.missing()
        if reason is None:
            try:
                contender.start()
                running.append(contender)
            except BenchError as e:
                reason = f"did not start: {e}"
        if reason is not None:
            results.errors.append(f"left out: {contender.title}: {reason}")
            say(results.errors[-1])
    return running


def attempt(results, contender, what, action):
    """Runs one measurement; a failure is noted and does not stop the others. None then."""
    try:
        contender.restart_if_dead()
        return action()
    except BenchError as e:
        died = contender.child is not None and not contender.child.alive()
        end = f" (the proxy ended by itself: {contender.child.log_tail(2)})" if died else ""
        results.errors.append(f"{contender.title}, {what}: {e}{end}")
        say("    " + results.errors[-1])
        return None


def timed_rounds(running, options, results):
    """Every contender has its turn at each load before the load changes, and the order shifts
    by one each time: what the machine does meanwhile hits all of them alike."""
    turn = 0
    for round_number in range(1, options.rounds + 1):
        for protocol in options.protocols:
            for clients in options.clients:
                turn += 1
                field = [c for c in running if protocol in c.protocols]
                shift = turn % len(field) if field else 0
                for contender in field[shift:] + field[:shift]:
                    timed_turn(contender, (protocol, clients, round_number), options, results)


def timed_turn(contender, load, options, results):
    protocol, clients, round_number = load
    key = (contender.key, protocol, clients)
    what = f"{protocol}, {clients} clients, round {round_number}"
    expected_tps = results.median_of(key, "tps") or 20000
    run = attempt(results, contender, what, lambda: measure.timed_run(
        contender, protocol, clients, options.seconds, expected_tps))
    if run is not None:
        results.add(key, round_number, run)
        cpu = f", {run.cpu_us:.1f} us CPU" if run.cpu_us else ""
        say(f"  {what}: {contender.key}: {run.tps:,.0f} tps, p99 {run.p99_ms:.2f} ms{cpu}")


def count_system_calls(tool, running, options, results):
    for protocol in options.protocols:
        for clients in options.clients:
            for contender in running:
                if contender.child is None or protocol not in contender.protocols:
                    continue
                what = f"system calls, {protocol}, {clients} clients"
                calls = attempt(results, contender, what, lambda c=contender, p=protocol, n=clients:
                                measure.system_calls_per_transaction(tool, c, p, n))
                if calls is not None:
                    results.calls[(contender.key, protocol, clients)] = calls
                    say(f"  {what}: {contender.key}: {calls:.2f}")


def measure_idle(running, options, results):
    idle = []
    for contender in running:
        if contender.child is None:
            continue
        clients = options.idle
        if contender.key == "haproxy":
            clients = min(clients, IDLE_RELAYED_MAX)
        contender.stop()  # from fresh: memory that the load left behind would hide the growth

        def action(c=contender, n=clients):
            c.start()
            return measure.idle_memory(c, n)
        found = attempt(results, contender, f"{clients} idle clients", action)
        if found is not None:
            idle.append((contender.title, clients, *found))
            say(f"  {clients} idle clients: {contender.key}: {found[0]:.2f} KiB each")
    return idle


def machine_facts(cluster, running, options, tool, load_before):
    kernel = os.uname()
    facts = [time.strftime("%Y-%m-%d %H:%M %Z") +
             f", {os.cpu_count()} CPUs, {kernel.sysname} {kernel.release} {kernel.machine}, "
             f"load average before the start {load_before:.2f}",
             f"PostgreSQL {cluster.version()}, {cluster.replica_count} replicas, fsync off, "
             f"pgbench -S, scale {options.scale}; pools of {options.pool}, trust, loopback TCP",
             f"medians of {options.rounds} rounds x {options.seconds} s, contenders interleaved; "
             "in brackets the smallest and the largest"]
    facts += [f"{c.title}: {c.version()}" for c in running
              if not isinstance(c, Direct) and (not c.key.startswith("switchgear-") or
                                                c.key == report.SUBJECT)]
    if tool:
        program = [find_program(tool), "--version"]
        facts.append(f"system calls by {first_line(program)}, in runs of their own")
    if options.binary != DEFAULT_BINARY:
        facts.append(f"**not build/switchgear was measured but {options.binary}**")
    if load_before > 0.5:
        facts.append("**the machine was busy before the start: do not quote these figures**")
    if options.quick:
        facts.append("**--quick: a look, not figures to quote**")
    return facts


def compare(options):
    results = report.Results()
    load_before = os.getloadavg()[0]
    tool = measure.choose_counter(options.syscalls)
    max_connections = set_limits(options)
    with Keeper(options.keep) as keeper:
        say("starting a primary and two replicas")
        cluster = Cluster(keeper, 2, options.scale, max_connections)
        cluster.start()
        running = start_contenders(cluster, options, results)
        idle = []
        if not options.no_timing:
            timed_rounds(running, options, results)
        if tool:
            count_system_calls(tool, running, options, results)
        if options.idle:
            idle = measure_idle(running, options, results)
        facts = machine_facts(cluster, running, options, tool, load_before)
    return report.render(results, running, options, facts, idle)


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    options = parse_options()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, interrupted)
    try:
        text = compare(options)
    except BenchError as e:
        say(f"bench: {e}")
        return 1
    except KeyboardInterrupt:
        say("bench: interrupted; all that was started has been ended")
        return 130
    os.makedirs(os.path.dirname(RESULT_PATH), exist_ok=True)
    with open(RESULT_PATH, "w", encoding="utf-8") as f:
        f.write(text)
    print(text)
    say(f"written to {os.path.relpath(RESULT_PATH)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
