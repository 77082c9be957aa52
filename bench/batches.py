#!/usr/bin/python3
# SPDX-License-Identifier: PostgreSQL
"""batches: what many rows sent at once cost through the proxy, beside PostgreSQL without one.

    batches.py
    batches.py --rows 200,2000 --ways pipelined --binary-b ../other/build/switchgear

The drivers' own ways to write many rows: psycopg's executemany (one batch of Bind and Execute up to
one Sync, in a pipeline), psycopg2's execute_values and execute_batch (one long text), COPY. Direct and
proxied runs take turns; a ratio is the median of the ratios of neighbours. What is compared is the
time of each run, and the CPU of the proxy for each row.
"""

import argparse
import os
import statistics
import sys
import time

import psycopg
import psycopg2
import psycopg2.extras

import measure
from cluster import DATABASE, USER, Cluster
from compare import DEFAULT_BINARY, comma_list, positive, say
from contenders import Direct
from isolation import Variant
from processes import BenchError, Keeper

INSERT = "INSERT INTO bench_rows VALUES (%s, %s, %s)"


def rows_of(count):
    """Each run has other values: signs, NULLs and lengths too."""
    begin = time.time_ns() % 1_000_003
    return [((begin + 7919 * i) % 2003 - 1000, None if (begin + i) % 7 == 0 else "v" * (i % 40),
             ((begin + i) % 1000) / 8 - 60) for i in range(count)]


def pipelined(links, rows):
    with links.new.cursor() as cursor:
        cursor.executemany(INSERT, rows)


def values(links, rows):
    with links.old.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "INSERT INTO bench_rows VALUES %s", rows,
                                       page_size=links.page)


def batch(links, rows):
    with links.old.cursor() as cursor:
        psycopg2.extras.execute_batch(cursor, INSERT, rows, page_size=links.page)


def copied(links, rows):
    with links.new.cursor() as cursor, cursor.copy("COPY bench_rows FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


WAYS = {"pipelined": pipelined, "execute_values": values, "execute_batch": batch, "copy": copied}


class Links:
    """One connection of each driver to one contender, both outside of blocks."""

    def __init__(self, contender, page):
        where = {"host": "127.0.0.1", "port": contender.port, "user": USER, "dbname": DATABASE,
                 "sslmode": "disable"}
        self.new = psycopg.connect(**where, autocommit=True)
        self.old = psycopg2.connect(**where)
        self.old.autocommit = True
        self.page = page
        self.child = contender.child

    def run(self, way, rows):
        """Seconds of the run, and CPU us of the proxy for each row."""
        cpu = measure.cpu_ns(self.child.pid) if self.child else 0
        begin = time.monotonic()
        WAYS[way](self, rows)
        took = time.monotonic() - begin
        used = measure.cpu_ns(self.child.pid) - cpu if self.child else 0
        return took, used / 1000 / len(rows)


def parse_options():
    p = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    p.add_argument("--rows", type=comma_list(int), default=[1000, 10000],
                   help="rows of one run (1000,10000)")
    p.add_argument("--page", type=positive, default=100, help="rows of one text (100)")
    p.add_argument("--ways", type=comma_list(str, tuple(WAYS)), default=list(WAYS))
    p.add_argument("--rounds", type=positive, default=21, help="of each way (21)")
    p.add_argument("--pool", type=positive, default=4, help="backends a pool (4)")
    p.add_argument("--binary", default=DEFAULT_BINARY, help="build/switchgear")
    p.add_argument("--binary-b", help="another build, for comparison")
    p.add_argument("--keep", action="store_true", help="keep the working directory with its logs")
    options = p.parse_args()
    options.scale = 1
    options.clients_max = 100
    return options


def compare(options):
    lines = ["| way | rows | | direct ms | proxied ms | proxied / direct | CPU us a row |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: |"]
    with Keeper(options.keep) as keeper:
        cluster = Cluster(keeper, 2, options.scale, 50)
        cluster.start()
        direct = Direct("direct", "PostgreSQL", cluster, options)
        cluster.psql(cluster.primary_port, "CREATE TABLE bench_rows (a int, b text, c float8)",
                     USER, DATABASE)
        contenders = [direct] + [Variant(key, cluster, options, (), os.path.abspath(path))
                                 for key, path in (("a", options.binary), ("b", options.binary_b))
                                 if path]
        for c in contenders:
            c.start()
        links = [Links(c, options.page) for c in contenders]
        time.sleep(2)  # probes have seen the replicas
        for way in options.ways:
            for count in options.rows:
                found = [[l.run(way, rows_of(count)) for l in links]
                         for _ in range(options.rounds + 2)][2:]
                cluster.psql(cluster.primary_port, "TRUNCATE bench_rows", USER, DATABASE)
                for i, contender in enumerate(contenders[1:], 1):
                    ratios = [round_[i][0] / round_[0][0] for round_ in found]
                    lines.append(
                        f"| {way} | {count} | {contender.key} "
                        f"| {1000 * statistics.median(r[0][0] for r in found):.2f} "
                        f"| {1000 * statistics.median(r[i][0] for r in found):.2f} "
                        f"| {statistics.median(ratios):.2f} "
                        f"| {statistics.median(r[i][1] for r in found):.2f} |")
                    say(lines[-1])
        for l in links:
            l.new.close()
            l.old.close()
    return "\n".join(lines)


def main():
    try:
        print(compare(parse_options()))
    except BenchError as e:
        say(f"bench: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
