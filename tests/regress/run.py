#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""PostgreSQL's own regression suite, directly and through the proxy: are the results the same?

run.py [--mode MODE]... [--schedule NAME] [TEST...]

direct       past the proxy: what the others are compared with
once         pool_mode = session, and no server connection serves a second client
session      pool_mode = session
transaction  pool_mode = transaction

Each run has a fresh cluster of a primary and two replicas. Every test must print what it prints
directly, but for those that docs/reference/regression.md names and explains for that mode; none
for `once`. Outputs stay in build/regress/out/<mode>; exit code 0 when all is as expected.
"""
import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
sys.path.insert(0, os.path.dirname(__file__))

from cluster import Cluster, as_user  # noqa: E402
from proxy import Proxy  # noqa: E402
from source import Suite  # noqa: E402

MODES = ("direct", "once", "session", "transaction")
PAGE = os.path.join(ROOT, "docs", "reference", "regression.md")
SUITE_SECONDS = 1800
TRUST = "host all all 127.0.0.1/32 trust\n"


class OpenProxy(Proxy):
    """Every database and every user, as pg_regress makes them, without passwords."""

    def __init__(self, cluster, mode):
        super().__init__(cluster, mode, switchgear={"auth_type": "trust", "max_client_conn": 500})
        self.pool_mode = "transaction" if mode == "transaction" else "session"
        if mode == "once":
            self.options["switchgear"]["server_lifetime"] = "1us"

    def sections(self):
        result = super().sections()
        result["database *"] = {"shards": "main", "pool_mode": self.pool_mode, "pool_size": 60}
        return result


class RegressCluster(Cluster):
    """One that lets everybody in and logs little."""

    def start(self):
        super().start()
        for node in self.nodes:
            with open(os.path.join(node.data, "pg_hba.conf"), "r+", encoding="utf-8") as f:
                text = f.read()
                f.seek(0)
                f.write(TRUST + text)
        self.primary.psql("alter system set log_statement = 'none'")
        for node in self.nodes:
            node.psql("select pg_reload_conf()")


def command(suite, cluster, port, schedule, tests, output):
    """pg_regress against whatever listens on `port`."""
    directory = os.path.join(suite.source, "src/test/regress")
    words = [suite.pg_regress, f"--inputdir={directory}", f"--outputdir={output}",
             f"--bindir={cluster.bindir}", f"--dlpath={suite.library}", "--host=127.0.0.1",
             f"--port={port}", "--user=postgres", "--dbname=regression"]
    if tests:
        return words + list(tests)
    return words + [f"--schedule={os.path.join(directory, schedule)}", "--max-connections=20"]


def run_suite(suite, mode, arguments):
    """Runs the suite once; returns {test: text of its output}."""
    output = os.path.join(suite.directory, "out", mode)
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(output)
    with RegressCluster() as cluster:
        cluster.give(output)
        proxy = None
        if mode != "direct":
            proxy = OpenProxy(cluster, mode).start()
        port = proxy.port if proxy else cluster.primary.port
        began = time.monotonic()
        with open(os.path.join(output, "pg_regress.log"), "wb") as log:
            subprocess.run(
                command(suite, cluster, port, arguments.schedule, arguments.tests, output),
                cwd=output, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                timeout=SUITE_SECONDS, check=False, env={**os.environ, "LC_ALL": "C"},
                **as_user(cluster.user))
        seconds = time.monotonic() - began
        if proxy:
            report_proxy(proxy, output)
    results = read_results(output)
    failed = failures(output)
    print(f"{mode}: {len(results)} tests in {seconds:.0f} s, {len(failed)} not as PostgreSQL's "
          f"expected files say{': ' if failed else ''}{' '.join(sorted(failed))}", flush=True)
    return results


def report_proxy(proxy, output):
    """How the statements went, for whoever wonders; then the proxy has to end well."""
    with open(os.path.join(output, "routes.txt"), "w", encoding="utf-8") as f:
        for row in sorted(proxy.admin("SHOW ROUTES"), key=lambda row: -int(row["count"])):
            f.write("\t".join(str(value) for value in row.values()) + "\n")
    try:
        proxy.stop()
    finally:
        shutil.copyfile(proxy.log_path, os.path.join(output, "proxy.log"))


def failures(output):
    with open(os.path.join(output, "pg_regress.log"), encoding="utf-8", errors="replace") as f:
        return set(re.findall(r"^(?:test|    ) ?([a-z0-9_.]+) +\.\.\. FAILED", f.read(), re.M))


def read_results(output):
    results = {}
    directory = os.path.join(output, "results")
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if name.endswith(".out"):
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as f:
                results[name[:-4]] = f.read()
    return results


def compare(suite, mode, direct, through):
    """Writes the differences to out/<mode>.diffs; returns the names of the tests that differ."""
    different = set()
    path = os.path.join(suite.directory, "out", mode + ".diffs")
    with open(path, "w", encoding="utf-8") as f:
        for name in sorted(set(direct) | set(through)):
            if direct.get(name) == through.get(name):
                continue
            different.add(name)
            f.writelines(difflib.unified_diff(
                direct.get(name, "").splitlines(True), through.get(name, "").splitlines(True),
                f"direct/{name}.out", f"{mode}/{name}.out"))
    return different


def explained(mode):
    """The tests that the page says differ in this mode: | `test` | modes | why |"""
    with open(PAGE, encoding="utf-8") as f:
        rows = re.findall(r"^\| `([a-z0-9_.]+)` \| ([a-z, ]+) \|", f.read(), re.M)
    return {name for name, modes in rows if mode in re.split(r",\s*", modes.strip())}


def judge(suite, mode, direct, through):
    """Says what differs; True when all of it is explained."""
    if len(through) < len(direct):
        direct = {name: text for name, text in direct.items() if name in through}
    different = compare(suite, mode, direct, through)
    expected = explained(mode)
    print(f"{mode}: {len(direct)} tests compared, {len(different)} differ from the direct run"
          f"{': ' if different else ''}{' '.join(sorted(different))}", flush=True)
    if different - expected:
        print(f"{mode}: NOT EXPLAINED: {' '.join(sorted(different - expected))}", flush=True)
    return bool(through) and not different - expected


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--mode", action="append", choices=MODES, help="several times; all")
    parser.add_argument("--schedule", default="parallel_schedule")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "regress"))
    parser.add_argument("tests", nargs="*", help="only these (test_setup is run before them)")
    arguments = parser.parse_args()
    if arguments.tests and arguments.tests[0] != "test_setup":
        arguments.tests.insert(0, "test_setup")
    os.makedirs(arguments.build, exist_ok=True)
    probe = Cluster(replicas=0)
    suite = Suite(arguments.build, probe.bindir)
    probe.stop()
    print(f"suite of {suite.version}, server programs in {probe.bindir}", flush=True)
    modes = arguments.mode or list(MODES)
    if "direct" in modes:
        direct = run_suite(suite, "direct", arguments)
    else:
        direct = read_results(os.path.join(suite.directory, "out", "direct"))
    good = bool(direct)
    for mode in modes:
        if mode != "direct":
            good = judge(suite, mode, direct, run_suite(suite, mode, arguments)) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
