# SPDX-License-Identifier: PostgreSQL
"""The features of the driver matrix through psql: see drive.py."""
import os
import pty
import select
import signal
import subprocess
import time

import drive
from drive import BIG, READS, TABLE, TEMP, TIMES, WRITES, expect

PSQL = ["psql", "-X", "-A", "-t", "-q"]


def psql(script, *options, code=0, **environment):
    """Runs a script and gives its output's lines and its errors."""
    done = subprocess.run([*PSQL, *options], input=script, capture_output=True, text=True,
                          timeout=60, check=False, env={**os.environ, **environment})
    if done.returncode != code:
        raise AssertionError(f"psql ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.splitlines(), done.stderr


def ask(script, *options):
    lines, errors = psql(script, "-v", "ON_ERROR_STOP=1", *options)
    expect(errors, "", "errors")
    return lines


def test_connect():
    expect(ask("select 1"), ["1"])
    lines = psql("\\conninfo")[0]
    expect("SSL connection" in lines[-1], drive.SSLMODE != "disable", lines)
    _, errors = psql("select 1", code=2, PGPASSWORD="wrong")
    expect("password authentication failed" in errors, True, errors)


def test_autocommit():
    expect(ask(f"insert into {TABLE} values (1, 'one');\n"
               f"select v from {TABLE} where id = 1;\n"
               f"delete from {TABLE};\n"
               f"select count(*) from {TABLE};"), ["one", "0"])


def test_transactions():
    put = f"insert into {TABLE} values (%d, '%s');\n"
    psql(put % (15, "dropped") + "select 1/0;", "-1", "-v", "ON_ERROR_STOP=1", code=3)
    rows = ask("begin;" + put % (10, "kept") + "commit;\n"
               "begin;\n" + put % (11, "dropped") + "rollback;\n"
               "begin;\n" + put % (12, "kept") + "savepoint s;\n" + put % (13, "dropped")
               + "rollback to s;\n" + put % (14, "kept") + "commit;\n"
               f"select id from {TABLE} where id between 10 and 19 order by id;")
    expect(rows, [str(n) for n in drive.KEPT])
    expect(ask("\\set FETCH_COUNT 50\nselect generate_series(1, 500)")[-1], "500")


def test_prepared():
    """PREPARE in SQL, and \\gdesc, which describes by the extended protocol."""
    lines = ask("prepare plus (int) as select $1 + 1;\n"
                + "".join(f"execute plus({i});\n" for i in range(TIMES))
                + "select 1 as one, 'x'::text as two \\gdesc\n"
                "deallocate plus;")
    expect(lines, [str(i + 1) for i in range(TIMES)] + ["one|integer", "two|text"])


def test_pipeline():
    """Many statements in one string: one message, one transaction."""
    out, errors = psql(None, "-c", f"insert into {TABLE} values (1000, 'batch'); "
                       f"insert into {TABLE} values (1001, 'batch'); select 2 as two",
                       "-c", f"insert into {TABLE} values (1002, 'batch'); select 1/0",
                       "-c", f"select count(*) from {TABLE} where v = 'batch'")
    expect(out, ["2", "2"], errors)


def test_copy():
    path = os.path.join(TEMP, TABLE + ".copy")
    lines = "".join(f"{10000 + i}\tcopied\n" for i in range(5000))
    with open(path, "w", encoding="ascii") as f:
        f.write(lines)
    out = ask(f"\\copy {TABLE} from '{path}'\n"
              f"copy (select * from {TABLE} where v = 'copied' order by id) to stdout;")
    expect("".join(line + "\n" for line in out) == lines, True, "same lines")
    out, errors = psql(f"\\set VERBOSITY sqlstate\ncopy {TABLE} from stdin;\nno number\tx\n\\.\n"
                       "select 'usable';")
    expect(("22P02" in errors, out), (True, ["usable"]), errors)


class Terminal:
    """psql on a terminal: there it asks, is interrupted, and connects again."""

    def __enter__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", PAGER="", INPUTRC="/dev/null", PSQL_HISTORY="/dev/null")
            os.execvp("psql", ["psql", "-X", "-n", "-v", "VERBOSITY=verbose"])
        self.text = ""
        self.wait("=> ")
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGTERM)
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def say(self, text):
        os.write(self.fd, (text + "\n").encode())

    def wait(self, wanted, timeout=15):
        """Reads until `wanted` has come; what came before it is gone then."""
        deadline = time.monotonic() + timeout
        while wanted not in self.text:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"no {wanted!r} in {self.text!r}")
            self.text += os.read(self.fd, 65536).decode(errors="replace")
        before, _, self.text = self.text.partition(wanted)
        return before


def test_cancel():
    with Terminal() as psql_:
        for _ in range(3):
            psql_.say("select pg_sleep(30);")
            time.sleep(0.5)
            os.write(psql_.fd, b"\x03")
            psql_.wait("57014")
            psql_.say("select 'us' || 'able';")
            psql_.wait("usable")


def test_notify():
    lines = ask(f"listen {TABLE};\nnotify {TABLE}, 'hello';\nselect 1;\nunlisten *;")
    expect(any("hello" in line for line in lines), True, lines)


def test_large():
    path = os.path.join(TEMP, TABLE + ".sql")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"insert into {TABLE} values (50000, '{BIG}');\n"
                f"select v from {TABLE} where id = 50000;\n")
    expect(ask("", "-f", path) == [BIG], True, "same value")


def test_errors():
    out, _ = psql(f"selec 1;\n\\echo :SQLSTATE\nselect * from no_such_table;\n\\echo :SQLSTATE\n"
                  f"insert into {TABLE} values (10, 'again');\n\\echo :SQLSTATE\n"
                  "begin;\nselect 1/0;\n\\echo :SQLSTATE\nselect 1;\n\\echo :SQLSTATE\nrollback;\n"
                  "select 'usable';")
    expect(out, ["42601", "42P01", "23505", "22012", "25P02", "usable"])


def test_reconnect():
    with Terminal() as psql_:
        psql_.say("begin;")
        psql_.wait("BEGIN")
        psql_.say("select pg_terminate_backend(pg_backend_pid());")
        psql_.wait("57P01")
        psql_.wait("Succeeded.")  # it connects again by itself
        psql_.say("select 'us' || 'able';")
        psql_.wait("usable")


def test_split():
    lines = ask(f"select count(*) from {TABLE};\nshow switchgear.last_route;\n" * READS)
    drive.expect_split([line.split("|")[1] for line in lines[1::2]])
    expect(ask(f"insert into {TABLE} values (60000, 'x') returning pg_is_in_recovery();"), ["f"])


def test_read_your_writes():
    lines = ask(f"insert into {TABLE} values (70000, '-1');\n" + "".join(
        f"update {TABLE} set v = '{i}' where id = 70000;\nselect v from {TABLE} where id = 70000;\n"
        for i in range(WRITES)))
    expect(lines, [str(i) for i in range(WRITES)])


if __name__ == "__main__":
    drive.report("version", True, subprocess.check_output(["psql", "--version"], text=True).strip())
    drive.features(globals())
