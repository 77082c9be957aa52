#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""PostgreSQL's own regression suite, directly and through the proxy: are the results the same?

run.py [--mode MODE]... [--part PART]... [--write] [TEST...]

direct       past the proxy: what the others are compared with
once         pool_mode = session, and no server connection serves a second client
session      pool_mode = session
transaction  pool_mode = transaction
kept         the same with currval = session: what may call nextval binds its session
shuffled     as transaction, while other clients take and give back the same connections all the time, so
             that a session hardly ever gets the same one twice; only on request, as which lines
             differ is a matter of chance

Each run has a fresh cluster of a primary and two replicas. Every test must print what it prints
directly, but for those that docs/reference/regression.md names and explains for that mode, and
there every line that differs is listed; none for `once`. --write puts the results and the lines
into that page. Outputs stay in build/regress/out/<mode>; exit code 0 when all is as expected.
"""
import argparse
import contextlib
import difflib
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time

import psycopg2

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
sys.path.insert(0, os.path.dirname(__file__))

from cluster import Cluster, as_user  # noqa: E402
from proxy import Proxy, one  # noqa: E402
from page import Page  # noqa: E402
from pipeline import Pipeline  # noqa: E402
from source import Suite  # noqa: E402

MODES = ("direct", "once", "session", "transaction", "kept", "shuffled")
PART_SECONDS = 1800
DATABASE = "regression"
MODULES = ("bloom", "btree_gin", "btree_gist", "citext", "cube", "dblink", "earthdistance",
           "fuzzystrmatch", "hstore", "intarray", "isn", "lo", "ltree", "pg_trgm", "pgcrypto",
           "pgstattuple", "postgres_fdw", "seg", "tablefunc", "unaccent")
TRUST = "host all all 127.0.0.1/32 trust\n"


class OpenProxy(Proxy):
    """Every database and every user, as pg_regress makes them, without passwords."""

    def __init__(self, cluster, mode):
        super().__init__(cluster, mode, switchgear={"auth_type": "trust", "max_client_conn": 500})
        self.pooling = {"shards": "main", "pool_size": 60, "pool_mode":
                        "session" if mode in ("once", "session") else "transaction"}
        if self.pooling["pool_mode"] == "transaction":  # a test that reconnects is a new session
            self.pooling["consistency"] = "global"
        if mode == "kept":
            self.pooling["currval"] = "session"
        if mode == "once":
            self.options["switchgear"]["server_lifetime"] = "1us"

    def sections(self):
        result = super().sections()
        result["database *"] = self.pooling
        return result


class Shufflers:
    """Clients of the suite's own pool that hold a connection for a few milliseconds, again and
    again. In between the statements of their blocks they hold no snapshot and no lock. They begin
    once the part has made its database anew: on one that is about to be dropped they would be in
    its way, and a database that was asked for in vain is missing for a moment longer."""

    def __init__(self, cluster, proxy, count=8):
        self.cluster, self.proxy = cluster, proxy
        self.ending, self.rounds = threading.Event(), 0
        self.former = self.database()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(20)
        for c in self.proxy.connections:  # the next part drops the database
            c.close()
        self.proxy.connections = []

    def database(self, node=None):
        """Its oid on a node, the primary: None when it is not there."""
        rows = (node or self.cluster.primary).psql(
            "select oid from pg_database where datname = %s", "postgres", (DATABASE,))
        return rows[0][0] if rows else None

    def is_new(self):
        made = self.database()
        return made not in (None, self.former) and all(
            self.database(node) == made for node in self.cluster.nodes)

    def run(self):
        while not self.ending.is_set() and not self.is_new():
            time.sleep(0.05)
        while not self.ending.is_set():
            try:
                c = self.proxy.connect(autocommit=False, user="postgres", dbname=DATABASE)
                while not self.ending.is_set():
                    one(c, "select pg_backend_pid()")
                    time.sleep(random.uniform(0, 0.02))
                    c.commit()
                    self.rounds += 1
                    time.sleep(random.uniform(0, 0.005))
            except psycopg2.Error:  # a test may change what everybody needs
                time.sleep(0.1)


class RegressCluster(Cluster):
    """One that lets everybody in and logs little."""

    def start(self):
        os.environ["PGHOST"] = "127.0.0.1"  # for servers that connect to themselves: dblink
        super().start()
        for node in self.nodes:
            with open(os.path.join(node.data, "pg_hba.conf"), "r+", encoding="utf-8") as f:
                text = f.read()
                f.seek(0)
                f.write(TRUST + text)
        self.primary.psql("alter system set log_statement = 'none'")
        for node in self.nodes:
            node.psql("select pg_reload_conf()")


class Part:
    """One run of pg_regress or pg_isolation_regress: `words` are its tests or a schedule."""

    def __init__(self, suite, name, directory, words, driver="regress", **environment):
        self.name, self.words, self.driver = name, words, suite.driver(driver)
        self.environment = {**os.environ, "LC_ALL": "C", **environment}
        self.input = os.path.join(suite.source, directory)

    def run(self, suite, cluster, port, output):
        """Returns the names of the tests whose expected files say something else."""
        cluster.give(make_directory(output))
        if os.path.isdir(os.path.join(self.input, "data")):  # psql's \copy looks here
            os.symlink(os.path.join(self.input, "data"), os.path.join(output, "data"))
        words = [self.driver, f"--inputdir={self.input}", f"--outputdir={output}",
                 f"--bindir={cluster.bindir}", f"--dlpath={suite.library}", "--host=127.0.0.1",
                 f"--port={port}", "--user=postgres", f"--dbname={DATABASE}",
                 "--max-connections=20", *self.words]
        log = os.path.join(output, "pg_regress.log")
        with open(log, "wb") as f:
            subprocess.run(words, cwd=output, stdin=subprocess.DEVNULL, stdout=f,
                           stderr=subprocess.STDOUT, timeout=PART_SECONDS, check=False,
                           env=self.environment, **as_user(cluster.user))
        with open(log, encoding="utf-8", errors="replace") as f:
            return re.findall(r"^(?:test|    ) ?(\S+) +\.\.\. FAILED", f.read(), re.M)

    def results(self, output):
        """{test: text}, the tests of all parts but the first with the part's name in front."""
        found = {}
        for path in glob.glob(os.path.join(output, "results", "*.out")):
            name = os.path.basename(path)[:-4]
            with open(path, encoding="utf-8", errors="replace") as f:
                found[name if self.name == "regress" else f"{self.name}/{name}"] = f.read()
        return found


def make_directory(path):
    os.makedirs(path)
    return path


def make_parts(suite, mode, arguments):
    directory = os.path.join(suite.source, "src/test")
    schedule = f"--schedule={directory}/regress/parallel_schedule"
    if arguments.tests:
        return [Part(suite, "regress", "src/test/regress", ["test_setup", *arguments.tests])]
    parts = [Part(suite, "regress", "src/test/regress", [schedule])]
    if mode in ("direct", "once", "session"):  # it knows its sessions by their servers' process ids
        parts.append(Part(suite, "isolation", "src/test/isolation",
                          [f"--schedule={directory}/isolation/isolation_schedule",
                           "prepared-transactions"], "isolation", LD_PRELOAD=suite.shim))
    parts.append(Part(suite, "plpgsql", "src/pl/plpgsql/src", suite.tests("src/pl/plpgsql/src")))
    parts += [Part(suite, name, f"contrib/{name}", suite.tests(f"contrib/{name}"))
              for name in MODULES]
    parts.append(Pipeline(suite))
    chosen = arguments.part or [part.name for part in parts]
    return [part for part in parts if part.name in chosen]


def forget_prepared(cluster):
    """A prepared transaction that a test left behind would be in the next part's way."""
    for gid, database in cluster.primary.psql("select gid, database from pg_prepared_xacts"):
        cluster.primary.psql("rollback prepared %s", database, (gid,))


def run_suite(suite, mode, arguments):
    """Runs the suite once; returns {test: text of its output}."""
    output = os.path.join(suite.directory, "out", mode)
    before = read_results(suite, mode) if arguments.part or arguments.tests else {}
    shutil.rmtree(output, ignore_errors=True)
    os.makedirs(output)
    results, failed = {}, []
    with RegressCluster() as cluster:
        cluster.give(output)
        began = time.monotonic()
        with serving(cluster, mode, output) as peer:
            for part in make_parts(suite, mode, arguments):
                where = os.path.join(output, part.name)
                with Shufflers(cluster, peer) if mode == "shuffled" else contextlib.nullcontext():
                    failed += part.run(suite, cluster, peer.port, where)
                results.update(part.results(where))
                forget_prepared(cluster)
        seconds = time.monotonic() - began
    print(f"{mode}: {len(results)} tests in {seconds:.0f} s, {len(failed)} not as PostgreSQL's "
          f"expected files say{': ' if failed else ''}{' '.join(sorted(failed))}", flush=True)
    with open(os.path.join(output, "results.json"), "w", encoding="utf-8") as f:
        json.dump({**before, **results}, f)
    return results


def read_results(suite, mode):
    """Of the last run: {} when there was none."""
    try:
        path = os.path.join(suite.directory, "out", mode, "results.json")
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except OSError:
        return {}


@contextlib.contextmanager
def serving(cluster, mode, output):
    """What listens: the primary, or a proxy, which has to end well."""
    if mode == "direct":
        yield cluster.primary
        return
    proxy = OpenProxy(cluster, mode).start()
    try:
        yield proxy
        with open(os.path.join(output, "routes.txt"), "w", encoding="utf-8") as f:
            for row in sorted(proxy.admin("SHOW ROUTES"), key=lambda row: -int(row["count"])):
                f.write("\t".join(str(value) for value in row.values()) + "\n")
    finally:
        shutil.copyfile(proxy.log_path, os.path.join(output, "proxy.log"))
        proxy.stop()


def compare(suite, mode, direct, through):
    """Writes the differences to out/<mode>.diffs; returns {test: lines of its unified diff}."""
    different = {}
    path = os.path.join(suite.directory, "out", mode + ".diffs")
    with open(path, "w", encoding="utf-8") as f:
        for name in sorted(set(direct) | set(through)):
            if direct.get(name) == through.get(name):
                continue
            lines = difflib.unified_diff(
                direct.get(name, "").splitlines(), through.get(name, "").splitlines(),
                f"direct/{name}.out", f"{mode}/{name}.out", lineterm="")
            different[name] = [line.rstrip() for line in lines]
            f.write("\n".join(different[name]) + "\n")
    return different


def is_wanted(test, suite, mode, arguments):
    """Was this test of the direct run to be run in `mode` too?"""
    part = test.split("/")[0] if "/" in test else "regress"
    return part in [p.name for p in make_parts(suite, mode, arguments)] and (
        not arguments.tests or test in ["test_setup", *arguments.tests])


def judge(page, mode, direct, through, different):
    """Says what differs; True when all of it is explained, line by line."""
    names, expected = set(different), page.explained(mode)
    print(f"{mode}: {len(direct)} tests compared, {len(different)} differ from the direct run"
          f"{': ' if different else ''}{' '.join(sorted(different))}", flush=True)
    if names - expected:
        print(f"{mode}: NOT EXPLAINED: {' '.join(sorted(names - expected))}", flush=True)
    unlisted = [f"{name}: {line}" for name in sorted(names & expected) if mode != "shuffled"
                for line in page.unlisted(name, different[name])]
    for line in unlisted:
        print(f"{mode}: NOT LISTED: {line}", flush=True)
    if (expected & set(direct)) - names:
        print(f"{mode}: these are listed and did not differ: "
              f"{' '.join(sorted((expected & set(direct)) - names))}", flush=True)
    return bool(through) and not names - expected and not unlisted


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--mode", action="append", choices=MODES, help="several times; all")
    parser.add_argument("--part", action="append", help="regress, isolation, plpgsql, hstore...")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "regress"))
    parser.add_argument("--write", action="store_true", help="results and lines into the page")
    parser.add_argument("tests", nargs="*", help="of regress only these, behind test_setup")
    arguments = parser.parse_args()
    os.makedirs(arguments.build, exist_ok=True)
    probe = Cluster(replicas=0)
    suite = Suite(arguments.build, probe.bindir)
    probe.stop()
    print(f"suite of {suite.version}, server programs in {probe.bindir}", flush=True)
    modes = arguments.mode or [mode for mode in MODES if mode != "shuffled"]
    if "direct" in modes:
        direct = run_suite(suite, "direct", arguments)
    else:
        direct = read_results(suite, "direct")
    good, page = bool(direct), Page()
    for mode in modes:
        if mode != "direct":
            began = time.monotonic()
            through = run_suite(suite, mode, arguments)
            seconds = time.monotonic() - began
            wanted = {name: text for name, text in direct.items()
                      if is_wanted(name, suite, mode, arguments)}
            different = compare(suite, mode, wanted, through)
            if arguments.write:
                page.take(mode, len(wanted), different, seconds)
                page.write(suite.version)
            good = judge(page, mode, wanted, through, different) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
