# SPDX-License-Identifier: PostgreSQL
"""PostgreSQL's tests of libpq's pipeline mode (src/test/modules/libpq_pipeline): each is a run of one
program, and its result the messages that went to and fro, as libpq traces them."""
import os
import subprocess

from cluster import as_user
from source import run

ROWS = 700  # so many make both directions wait for each other
SECONDS = 120
UNTRACED = ("pipelined_insert", "uniqviol")  # whose messages come in an order of their own


def build(suite):
    program = os.path.join(suite.library, "libpq_pipeline")
    headers = os.path.join(suite.directory, "headers", "usr")
    if not os.path.exists(program):
        run("gcc", "-O2", "-w", f"-I{headers}/include/postgresql/{suite.major}/server",
            "-I/usr/include/postgresql", "-I/usr/include/postgresql/internal",
            os.path.join(suite.source, "src/test/modules/libpq_pipeline/libpq_pipeline.c"),
            "-o", program, "-lpq", f"-L{headers}/lib/postgresql/{suite.major}/lib", "-lpgcommon",
            "-lpgport")
    return program


class Pipeline:
    """A part of the suite, as those of pg_regress are."""

    name = "pipeline"

    def __init__(self, suite):
        self.program = build(suite)

    def run(self, _suite, cluster, port, output):
        os.makedirs(output)
        cluster.give(output)
        where = f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable"
        failed = []
        for test in run(self.program, "tests").split():
            path = os.path.join(output, test)
            options = [] if test in UNTRACED else ["-t", path + ".trace"]
            with open(path + ".log", "wb") as log:
                done = subprocess.run(
                    [self.program, *options, "-r", str(ROWS), test, where], cwd=output,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SECONDS, check=False,
                    **as_user(cluster.user))
            with open(path + ".status", "w", encoding="utf-8") as f:
                f.write(f"exit {done.returncode}\n")
            if done.returncode != 0:
                failed.append(f"pipeline/{test}")
        return failed

    def results(self, output):
        found = {}
        for file in sorted(os.listdir(output)):
            name, kind = os.path.splitext(file)
            if kind in (".trace", ".status"):
                with open(os.path.join(output, file), encoding="utf-8", errors="replace") as f:
                    found[f"pipeline/{name}"] = found.get(f"pipeline/{name}", "") + f.read()
        return found
