# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through pgbench, in its three protocols: see drive.py."""
import os
import re
import subprocess

import drive
from drive import READS, TABLE, TEMP, DoesNotApply, expect


def pgbench(*options, script=None, **environment):
    """Runs it, and gives all that it said."""
    command = ["pgbench", "-n", *options]
    if script is not None:
        path = os.path.join(TEMP, TABLE + ".pgbench")
        with open(path, "w", encoding="ascii") as f:
            f.write(script)
        command += ["-f", path]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
                          env={**os.environ, **environment})
    if done.returncode != 0:
        raise AssertionError(f"pgbench ended with {done.returncode}: {done.stdout}")
    return done.stdout


def expect_processed(output, count):
    found = re.search(r"actually processed: (\d+)/(\d+)", output)
    expect(found and found.groups(), (str(count), str(count)), output)
    failed = re.search(r"number of failed transactions: (\d+)", output)
    expect(failed and failed.group(1), "0", output)


def values_of(output):
    """What debug() wrote."""
    return re.findall(r"debug\(script=\d+,command=\d+\): \w+ (\S+)", output)


def everywhere(script, count=20):
    for protocol in ("simple", "extended", "prepared"):
        output = pgbench("-M", protocol, "-c", "4", "-j", "2", "-t", str(count), script=script)
        expect_processed(output, 4 * count)


def test_connect():
    expect_processed(pgbench("-t", "1", script="select 1;\n"), 1)
    try:
        pgbench("-t", "1", script="select 1;\n", PGPASSWORD="wrong")
    except AssertionError as error:
        expect("password authentication failed" in str(error), True, error)
    else:
        raise AssertionError("a wrong password was taken")


def test_autocommit():
    everywhere("\\set id random(1, 100000)\nselect abalance from pgbench_accounts where aid = :id;\n")


def test_transactions():
    """TPC-B: a block of five statements, and the same with a savepoint and with a rollback."""
    for protocol in ("simple", "extended", "prepared"):
        output = pgbench("-M", protocol, "-c", "4", "-j", "2", "-t", "20", "-b", "tpcb-like")
        expect_processed(output, 80)
    everywhere("begin;\nselect 1;\nsavepoint s;\n"
               "update pgbench_accounts set abalance = 1 where aid = :client_id + 1;\n"
               "rollback to s;\ncommit;\nbegin;\nselect 2;\nrollback;\n")


def test_prepared():
    output = pgbench("-M", "prepared", "-c", "4", "-j", "2", "-t", "200", "-S")
    expect_processed(output, 800)


def test_pipeline():
    script = ("\\startpipeline\nbegin;\nselect 1;\n"
              "update pgbench_accounts set abalance = 2 where aid = :client_id + 1;\n"
              "select abalance from pgbench_accounts where aid = :client_id + 1;\ncommit;\n"
              "\\endpipeline\n")
    for protocol in ("extended", "prepared"):
        output = pgbench("-M", protocol, "-c", "4", "-j", "2", "-t", "20", script=script)
        expect_processed(output, 80)


def test_copy():
    """Its initialisation: tables, a COPY in one transaction, VACUUM, keys."""
    output = pgbench("-i", "-I", "dtgvp", "-q", "-s", "1")
    expect("done in" in output, True, output)


def test_cancel():
    raise DoesNotApply("it has none")


def test_notify():
    raise DoesNotApply("it has none")


def test_large():
    everywhere("select repeat('x', 4000000);\n", count=1)


def test_errors():
    """It tries a serialization failure and a deadlock again."""
    script = ("begin isolation level serializable;\n"
              "select sum(abalance) from pgbench_accounts where aid < 5;\n"
              "update pgbench_accounts set abalance = abalance + 1 where aid = 1;\ncommit;\n")
    output = pgbench("-c", "4", "-j", "2", "-t", "20", "--max-tries", "1000", "-M", "prepared",
                     script=script)
    expect_processed(output, 80)
    retried = re.search(r"number of transactions retried: (\d+)", output)
    expect(int(retried.group(1)) > 0, True, output)


def test_reconnect():
    expect_processed(pgbench("-C", "-c", "4", "-j", "2", "-t", "20", "-S"), 80)


def test_split():
    """Its expressions know only numbers: expr counts how much of the role is "replica"."""
    output = pgbench("-t", str(READS), script=(
        "select count(*) from pgbench_branches;\nshow switchgear.last_route \\gset\n"
        "\\setshell matching expr match :role replica\n\\set role debug(:matching)\n"))
    expect_processed(output, READS)
    drive.expect_split(["replica" if n == "7" else "primary" for n in values_of(output)])


def test_read_your_writes():
    script = (f"\\set v random(1, 1000000)\n"
              f"update {TABLE} set v = :v where id = 1;\n"
              f"select v as got from {TABLE} where id = 1 \\gset\n"
              "\\if :got <> :v\n"
              "\\set stale debug(:got)\n"
              "\\endif\n")
    subprocess.run(["psql", "-X", "-q", "-c", f"insert into {TABLE} values (1, '0')"], check=True)
    for protocol in ("simple", "extended", "prepared"):
        output = pgbench("-t", "100", "-M", protocol, script=script)
        expect_processed(output, 100)
        expect(values_of(output), [], "stale reads")


if __name__ == "__main__":
    drive.report("version", True,
                 subprocess.check_output(["pgbench", "--version"], text=True).strip())
    drive.features(globals())
