# SPDX-License-Identifier: PostgreSQL
"""PostgreSQL's tools through the proxy: pg_dump, pg_restore, pg_basebackup, pg_receivewal."""
import os
import shutil
import subprocess
import time

import drive
from drive import TABLE, TEMP, expect

SCHEMA = TABLE + "_dumped"

CREATE = f"""
create schema {SCHEMA};
set search_path = {SCHEMA};
create table owners (id int primary key, name text not null);
create table things (id serial primary key, owner int references owners, what text,
    at timestamptz default now());
create index on things (owner);
create view counted as select owner, count(*) from things group by owner;
create function double(n int) returns int language sql immutable as 'select n * 2';
create sequence tickets;
insert into owners select i, 'owner ' || i from generate_series(1, 500) i;
insert into things (owner, what)
    select 1 + i % 500, repeat('x', i % 100) from generate_series(1, 20000) i;
select nextval('tickets') from generate_series(1, 7);
"""

# Another session than the one that restored: it may only ask the primary.
COUNT = f"""/* switchgear: route=primary */
select (select count(*) from {SCHEMA}.owners), (select count(*) from {SCHEMA}.things),
    (select sum(count) from {SCHEMA}.counted), {SCHEMA}.double(21),
    (select last_value from {SCHEMA}.tickets)"""


def path_of(name):
    return os.path.join(TEMP, f"{TABLE}.{name}")


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False,
                          **options)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout


def psql(*options):
    return run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *options).strip()


def drop_and(restore):
    psql("-c", f"set client_min_messages = error; drop schema {SCHEMA} cascade")
    restore()
    expect(psql("-c", COUNT), "500|20000|20000|42|7", "what was restored")


def test_pg_dump():
    """As a script, in one session."""
    psql("-c", CREATE)
    run("pg_dump", "-n", SCHEMA, "-f", path_of("sql"))
    drop_and(lambda: psql("-f", path_of("sql")))
    run("pg_dump", "-n", SCHEMA, "--inserts", "--rows-per-insert=100", "-f", path_of("inserts"))
    expect(os.path.getsize(path_of("inserts")) > 1000000, True, "size")


def test_pg_dump_parallel():
    """Four sessions that share the snapshot of a fifth: all of them on one server."""
    shutil.rmtree(path_of("directory"), ignore_errors=True)
    run("pg_dump", "-n", SCHEMA, "-Fd", "-j", "4", "-f", path_of("directory"))


def test_pg_restore():
    """Four sessions at once, from a file and from a directory."""
    run("pg_dump", "-n", SCHEMA, "-Fc", "-f", path_of("custom"))
    drop_and(lambda: run("pg_restore", "-j", "4", "-d", drive.DATABASE, path_of("custom")))
    if os.path.exists(path_of("directory")):
        drop_and(lambda: run("pg_restore", "-j", "4", "-d", drive.DATABASE, path_of("directory")))


def test_pg_basebackup():
    """With the log streamed beside it: two replication connections. It names no database."""
    target = path_of("backup")
    shutil.rmtree(target, ignore_errors=True)
    run("pg_basebackup", "-D", target, "-X", "stream", "-c", "fast", "-d", "dbname=" + drive.DATABASE)
    expect(os.path.exists(os.path.join(target, "backup_manifest")), True, "manifest")
    run(os.path.join(os.environ["PGBINDIR"], "pg_verifybackup"), "-q", target)


def test_pg_receivewal():
    target = path_of("wal")
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    with open(path_of("wal.log"), "w", encoding="utf-8") as log, subprocess.Popen(
            ["pg_receivewal", "-D", target, "-n", "-d", "dbname=" + drive.DATABASE], stderr=log) as p:
        try:
            deadline = time.monotonic() + 30
            while not os.listdir(target) and p.poll() is None and time.monotonic() < deadline:
                psql("-c", f"insert into {TABLE} values ({time.monotonic_ns() % 2000000000}, 'wal')")
                time.sleep(0.1)
        finally:
            p.terminate()
            p.wait(20)
    with open(path_of("wal.log"), encoding="utf-8") as f:
        expect(bool(os.listdir(target)), True, f.read()[-800:])


if __name__ == "__main__":
    drive.report("version", True, run("pg_dump", "--version").strip())
    drive.features(globals(), [name[5:] for name in list(globals()) if name.startswith("test_")])
