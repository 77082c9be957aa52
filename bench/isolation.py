#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""isolation: what one option of [database] costs. Two configurations of Switchgear side by side.

    isolation.py --a isolation=proven --b isolation=text
    isolation.py --a consistency=session --b consistency=primary --scripts select-only \\
                 --clients 5000 --protocol simple

Both run at the same time against one cluster and have their turns at each script, in an order that
changes. The CPU of a proxy is read while pgbench runs, so that no log-in is in it. Instructions are
counted by callgrind: of the proxy's workers, in user mode, as the difference of a short and a long
run.
"""

import argparse
import glob
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request

import measure
from cluster import DATABASE, USER, Cluster, server_program
from compare import DEFAULT_BINARY, comma_list, positive, say
from contenders import Switchgear
from processes import BenchError, Keeper, find_program, free_port, raise_open_files, wait_until

OBJECTS = """
CREATE FUNCTION bench_balance(int) RETURNS int LANGUAGE sql STABLE AS
  'SELECT abalance FROM pgbench_accounts WHERE aid = $1';
CREATE TABLE bench_audited (id int PRIMARY KEY, v int NOT NULL, seen int NOT NULL DEFAULT 0);
INSERT INTO bench_audited SELECT g, 0, 0 FROM generate_series(1, 1000) g;
CREATE FUNCTION bench_audit() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.seen := OLD.seen + 1; RETURN NEW; END';
CREATE TRIGGER bench_audit BEFORE UPDATE ON bench_audited
  FOR EACH ROW EXECUTE FUNCTION bench_audit();
"""
FUNCTION = "\\set aid random(1, 100000 * :scale)\nSELECT bench_balance(:aid);\n"
TRIGGER = "\\set id random(1, 1000)\nUPDATE bench_audited SET v = v + 1 WHERE id = :id;\n"
SCRIPTS = {"select-only": ["-b", "select-only"],
           "simple-update": ["-b", "simple-update"],
           "tpcb-like": ["-b", "tpcb-like"],
           # 10 % of the transactions call a function of users or fire a trigger
           "mix": ["-b", "select-only@70", "-b", "simple-update@20",
                   "-f", "function.sql@5", "-f", "trigger.sql@5"]}
SHORT, LONG = 500, 2500  # transactions of the two runs whose instructions are counted


class Variant(Switchgear):
    """Switchgear with more options in [database]; under callgrind if it is to be counted."""

    def __init__(self, key, cluster, options, settings, binary):
        super().__init__(key, f"Switchgear, {', '.join(settings)}", cluster, options, "1", True)
        self.database_options = [s.replace("=", " = ", 1) for s in settings]
        self.binary = binary
        self.counts_to = None
        self.http_listen = f"127.0.0.1:{free_port()}"

    def transactions(self):
        with urllib.request.urlopen(f"http://{self.http_listen}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(n) for n in re.findall(r"^switchgear_transactions_total\S* (\S+)$", text,
                                                re.M))

    def _binary(self):
        copy = self.keeper.path(f"{self.key}-switchgear")
        if not os.path.exists(copy):
            # without debugging information, of which an older valgrind cannot read clang's
            subprocess.run(["strip", "-o", copy, self.binary], check=True)
            os.chmod(copy, 0o755)
        return copy

    def command(self):
        command = super().command()
        if self.counts_to is None:
            return command
        return ["valgrind", "--tool=callgrind", "-q", "--separate-threads=yes",
                f"--callgrind-out-file={self.counts_to}",
                *command]

    def ready(self):
        return self.query("SELECT 1") == "1"


def parse_options():
    p = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    p.add_argument("--a", action="append", required=True, metavar="KEY=VALUE",
                   help="an option of [database] of the first one; may be given again")
    p.add_argument("--b", action="append", required=True, metavar="KEY=VALUE",
                   help="of the second one, to which the first is compared")
    p.add_argument("--scripts", type=comma_list(str, tuple(SCRIPTS)), default=list(SCRIPTS))
    p.add_argument("--protocol", default="simple", choices=("simple", "extended", "prepared"))
    p.add_argument("--clients", type=positive, default=16)
    p.add_argument("--seconds", type=positive, default=4, help="length of one run (4)")
    p.add_argument("--rounds", type=positive, default=5, help="rounds, of medians are quoted (5)")
    p.add_argument("--pool", type=positive, default=16, help="backends a pool (16)")
    p.add_argument("--no-instructions", action="store_true", help="CPU alone")
    p.add_argument("--binary", default=DEFAULT_BINARY, help="of both (build/switchgear)")
    p.add_argument("--binary-b", help="of the second one, if it is another")
    p.add_argument("--keep", action="store_true", help="keep the working directory with its logs")
    options = p.parse_args()
    options.scale = 10
    options.clients_max = options.clients + 200
    for setting in options.a + options.b:
        if "=" not in setting:
            p.error(f"{setting}: KEY=VALUE")
    return options


def cpu_of_run(variant, script, options):
    """CPU us a transaction, and transactions a second, while pgbench is under way."""
    before = variant.transactions()
    duration = options.seconds + 1 + options.clients // 500  # pgbench counts connecting in
    with measure.Pgbench(variant.keeper, variant, options.protocol, options.clients,
                         ["-T", str(duration)], SCRIPTS[script]) as bench:
        wait_until("transactions", lambda: bench.process.poll() is not None or
                   variant.transactions() > before + 100, 60)
        samples = []
        for pause in (options.seconds, 0):
            samples.append((time.monotonic(), measure.cpu_ns(variant.child.pid),
                            variant.transactions()))
            time.sleep(pause)
        bench.finish(duration + 60)
    (begin, cpu_begin, from_), (end, cpu_end, to) = samples
    return (cpu_end - cpu_begin) / 1000 / (to - from_), (to - from_) / (end - begin)


def total_of(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return int(re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M)[1])


def instructions_of(variant, script, options, transactions):
    """Of a proxy that lives for this run alone."""
    variant.stop()
    variant.counts_to = variant.keeper.path(f"callgrind.{variant.key}.{script}.{transactions}")
    try:
        variant.start()
        clients = min(options.clients, 4)
        arguments = ["-t", str(transactions // clients), "--random-seed=42"]
        with measure.Pgbench(variant.keeper, variant, options.protocol, clients, arguments,
                             SCRIPTS[script]) as bench:
            bench.finish(300)
        variant.stop()
        return sum(total_of(path) for path in glob.glob(variant.counts_to + "-*")
                   if not path.endswith("-01"))  # the supervisor: probes go by time, not by work
    finally:
        variant.counts_to = None


def timed_rounds(variants, options):
    found = {script: ([], []) for script in options.scripts}
    for round_number in range(1, options.rounds + 1):
        for script in options.scripts:
            order = (0, 1) if round_number % 2 else (1, 0)
            for i in order:
                cpu_us, tps = cpu_of_run(variants[i], script, options)
                found[script][i].append(cpu_us)
                say(f"  round {round_number}, {script}, {'ab'[i]}: {cpu_us:.2f} us CPU, "
                    f"{tps:,.0f} tps")
    return found


def counted(variants, options):
    found = {}
    for script in options.scripts:
        found[script] = [(instructions_of(v, script, options, LONG) -
                          instructions_of(v, script, options, SHORT)) / (LONG - SHORT)
                         for v in variants]
        say(f"  {script}: {found[script][0]:.0f} and {found[script][1]:.0f} instructions")
    return found


def row(script, what, a, b, ratios):
    spread = f" ({min(ratios):.3f} to {max(ratios):.3f})" if len(ratios) > 1 else ""
    return f"| {script} | {what} | {a:,.2f} | {b:,.2f} | {statistics.median(ratios):.3f}{spread} |"


def report(variants, options, cpu, instructions):
    lines = [f"a: {' '.join(options.a)}; b: {' '.join(options.b)}; {options.protocol} protocol, "
             f"{options.clients} clients, one worker, pools of {options.pool}, median of "
             f"{options.rounds} rounds of {options.seconds} s, load average "
             f"{os.getloadavg()[0]:.1f}", "",
             "| script | a transaction | a | b | a / b |", "| --- | --- | ---: | ---: | ---: |"]
    for script in options.scripts:
        a, b = cpu[script]
        lines.append(row(script, "CPU us", statistics.median(a), statistics.median(b),
                         [x / y for x, y in zip(a, b)]))
        if script in instructions:
            a, b = instructions[script]
            lines.append(row(script, "instructions", a, b, [a / b]))
    return "\n".join(lines)


def compare(options):
    raise_open_files()
    with Keeper(options.keep) as keeper:
        for name, text in (("function.sql", FUNCTION), ("trigger.sql", TRIGGER)):
            keeper.write(name, text)
        cluster = Cluster(keeper, 2, options.scale, 6 * options.pool + 50)
        cluster.start()
        cluster.psql(cluster.primary_port, OBJECTS, USER, DATABASE)
        variants = [Variant(key, cluster, options, settings, os.path.abspath(binary))
                    for key, settings, binary in (
                        ("a", options.a, options.binary),
                        ("b", options.b, options.binary_b or options.binary))]
        for v in variants:
            v.start()
        time.sleep(2)  # probes have seen the replicas
        for script in options.scripts:  # pools are filled, verdicts known
            for v in variants:
                cpu_of_run(v, script, argparse.Namespace(**vars(options) | {"seconds": 1}))
        cpu = timed_rounds(variants, options)
        instructions = {}
        if not options.no_instructions and find_program("valgrind"):
            instructions = counted(variants, options)
        return report(variants, options, cpu, instructions)


def main():
    options = parse_options()
    try:
        print(compare(options))
    except BenchError as e:
        say(f"bench: {e}")
        return 1
    except KeyboardInterrupt:
        say("bench: interrupted; all that was started has been ended")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
