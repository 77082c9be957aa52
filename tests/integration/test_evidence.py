# SPDX-License-Identifier: PostgreSQL
"""No client can make evidence about a node: whatever one user does, in as many connections as it
likes, the breakers stay where they are and no other user notices. A replica that is sick in truth is
taken out all the same."""
import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import itertools
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import Load, one, rows_of
from wire import (CANCEL_REQUEST, Wire, bind, close, describe, error_fields, execute, message, parse,
                  query, sync, types)

EVE = "eve"
SECRETS = {EVE: "eve-secret", "bob": "bob-secret", "carol": "carol-secret"}
SECONDS = float(os.environ.get("EVIDENCE_SECONDS", "1.5"))  # of each way, at ten statements a second
REPORT = os.environ.get("EVIDENCE_REPORT")  # a file for the other user's p99 before and during each way

FUNCTIONS = """
create or replace function eve.raises(code text) returns int language plpgsql as
  $$ begin raise exception 'mine' using errcode = code; end $$;
create or replace function eve.raises_on_replica(code text) returns int language plpgsql stable as
  $$ begin if pg_is_in_recovery() then raise exception 'mine' using errcode = code; end if; return 1; end $$;
create or replace function eve.ends() returns bool language plpgsql as
  $$ begin return pg_terminate_backend(pg_backend_pid()); end $$;
"""


@pytest.fixture(scope="module")
def eve(cluster):
    """A user who owns a schema and may do what any user may."""
    p = cluster.primary
    for name, secret in SECRETS.items():
        p.psql(f"create role {name} login password '{secret}'")
        p.psql(f"grant all on all tables in schema public to {name}", APP_DATABASE)
        p.psql(f"grant all on all sequences in schema public to {name}", APP_DATABASE)
    p.psql(f"create schema eve authorization {EVE}", APP_DATABASE)
    connection = p.connect(APP_DATABASE, EVE)
    rows_of(connection, FUNCTIONS)
    connection.close()
    cluster.wait_replicated()
    yield EVE
    p.psql("drop schema eve cascade", APP_DATABASE)
    for name in SECRETS:
        p.psql(f"drop owned by {name}", APP_DATABASE)
        p.psql(f"drop role {name}")


@contextlib.contextmanager
def nothing_moves(p, attack=None, beside=None):
    """Another user writes and reads all the time: no error, and no breaker has moved at the end. For a report the
    `attack` comes through another proxy first, `beside`: what it costs the servers and the machine in any case."""
    def transitions():
        return {row["node"]: (row["state"], row["transitions"]) for row in p.admin("SHOW BREAKERS")}

    def work(connection, _):
        rows_of(connection, "update t set v = v + 1 where id = 77")
        rows_of(connection, "select count(*) from pgbench_branches")

    p.wait_ready()
    before = transitions()
    load = Load(p, work, clients=2, pause=0.01)
    with load, concurrent.futures.ThreadPoolExecutor() as pool:
        alone = neighbour(p, SECONDS) if REPORT else None
        elsewhere = pool.submit(neighbour, p, SECONDS) if REPORT and attack else None
        if elsewhere:
            at_ten_a_second(lambda: attack(beside))
            elsewhere.result()
        attacked = pool.submit(neighbour, p, SECONDS) if REPORT else None
        yield
    if REPORT:
        report(alone, elsewhere.result() if elsewhere else None, attacked.result())
    assert not load.errors
    assert load.done > 10
    assert load.slowest < 1.5
    time.sleep(0.3)  # what was suspected last has been looked at: nothing to wait for is allowed to come
    assert transitions() == before, p.log_tail()
    p.insist_alive()


def neighbour(p, seconds):
    """p99 in seconds of another user's writes and reads, a hundred of each per second.

    A program of its own measures: threads of this one wait for each other.
    """
    with tempfile.TemporaryDirectory(dir=p.cluster.directory) as folder:
        p.cluster.give(folder)
        script = os.path.join(folder, "script")
        with open(script, "w", encoding="utf-8") as f:
            f.write("update t set v = v + 1 where id = 78;\nselect count(*) from pgbench_branches;\n")
        p.cluster.run("pgbench", "-n", "-c", "2", "-R", "100", "-T", str(max(1, round(seconds))), "-f", script,
                      "-l", "--log-prefix", os.path.join(folder, "log"), p.dsn())
        took = []
        for name in os.listdir(folder):
            if name.startswith("log"):
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    took += [int(line.split()[2]) / 1e6 for line in f]
    took.sort()
    return took[len(took) * 99 // 100]


def report(alone, elsewhere, attacked):
    """A timing is no test: it is written down for who asked for it."""
    name = os.environ["PYTEST_CURRENT_TEST"].rsplit("::", 1)[-1].split(" ")[0]
    with open(REPORT, "a", encoding="utf-8") as f:
        share = f"{attacked / elsewhere:5.2f} {elsewhere * 1e3:7.2f} ms" if elsewhere else " " * 16
        f.write(f"{attacked / alone:5.2f} {alone * 1e3:7.2f} ms, {share}, {attacked * 1e3:7.2f} ms {name}\n")


def at_ten_a_second(step, seconds=SECONDS):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        due = time.monotonic() + 0.1
        step()
        time.sleep(max(0.0, due - time.monotonic()))


@pytest.fixture(scope="module", name="target")
def make_target(cluster, eve, binary):
    yield from started(cluster, "target")


@pytest.fixture(scope="module", name="beside")
def make_beside(cluster, eve, binary):
    """The same, and only for a report: None else."""
    yield from started(cluster, "beside") if REPORT else [None]


def started(cluster, name):
    from proxy import Proxy
    p = Proxy(cluster, name, switchgear={"auth_type": "trust", "workers": 1}, users=SECRETS)
    yield p.start()
    p.stop()


def login(p, user=EVE, **parameters):
    w = Wire(p.port)
    assert types(w.login(user, APP_DATABASE, **parameters))[-1] == "Z"
    return w


def says(sql):
    """A way: the statement in a session of its own, whatever comes of it."""
    def step(p):
        with login(p) as w:
            w.run(query(sql))
    return step


def raising(code):
    return f"do $$ begin raise exception 'mine' using errcode = '{code}'; end $$"


def on_replica(sql):
    return f"/* switchgear: route=replica */ {sql}"


def leaves(*parts, until=None, goodbye=True, reset=False, block=False):
    """A way: the messages, then the end, with or without a word."""
    def step(p):
        with login(p) as w:
            if block:
                w.run(query("begin"))
                w.run(query("update t set v = v where id = 78"))
            w.send(*parts)
            if until:
                w.recv_all(until)
            if goodbye:
                w.send(message("X"))
            if reset:
                w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return step


def cancels(p):
    with login(p) as w:
        w.send(query("select pg_sleep(1) from eve.raises_on_replica('00000')"))
        pid, secret = struct.unpack("!II", w.key[:8])
        with Wire(p.port) as other:
            other.send(struct.pack("!IIII", 16, CANCEL_REQUEST, pid, secret))
        w.recv_all()


def ends_with_much_behind_it(p):
    """What the server has not read when it ends makes its kernel reset the connection: its last
    words may be lost."""
    with login(p) as w:
        w.send(query("select pg_terminate_backend(pg_backend_pid())"),
               *[query(f"insert into log (note) values ('{'x' * 60000}')") for _ in range(20)],
               message("X"))


def ends_its_neighbours(p):
    with login(p) as w:
        w.run(query("select count(pg_terminate_backend(pid)) from pg_stat_activity "
                    "where usename = current_user and pid <> pg_backend_pid()"))


def sleeps_in_its_block(p):
    with login(p) as w:
        w.run(query("set idle_in_transaction_session_timeout = '5ms'"))
        w.run(query("begin"))
        w.run(query("update t set v = v where id = 78"))
        w.recv_all("E")


def gives_up_a_copy(p):
    with login(p) as w:
        w.send(query("copy log (note) from stdin"))
        w.recv_all("G")
        w.send(message("d", b"half"))


def does_not_read(p):
    """Its server's kernel gives the connection up: an end without a word, while a statement runs."""
    with login(p) as w:
        w.run(query("set tcp_user_timeout = '100ms'"))
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        w.send(query("select repeat('x', 1000000) from generate_series(1, 100), "
                     "(select pg_backend_pid() offset 0) as x"))
        time.sleep(0.6)
        ends = time.monotonic() + 0.5
        with contextlib.suppress(OSError):
            while time.monotonic() < ends and w.socket.recv(1 << 20):
                pass


BAD = (parse("", "select 1/0 from t"), bind("", ""), execute())
BAD_WRITE = (parse("", "update t set v = 1/0 where id = 78"), bind("", ""), execute())
GOOD_WRITE = (parse("", "update t set v = v where id = 78"), bind("", ""), execute())
FLUSH = message("H")

WAYS = {
    **{f"raises_{code}": says(raising(code)) for code in
       ("57P03", "57P02", "57P01", "58030", "53100", "53200", "XX000", "XX001", "25006", "08006")},
    **{f"raises_{code}_on_a_replica": says(on_replica(f"select eve.raises('{code}')")) for code in
       ("57P03", "57P02", "58030", "53200", "XX001")},
    "raises_only_on_replicas": says(on_replica("select eve.raises_on_replica('58030')")),
    "loads_what_is_not_there": says("load '$libdir/plugins/nosuch'"),
    "ends_its_own_backend": says("select pg_terminate_backend(pg_backend_pid())"),
    "ends_its_own_backend_on_a_replica": says(on_replica("select eve.ends()")),
    "ends_with_much_behind_it": ends_with_much_behind_it,
    "ends_its_neighbours": ends_its_neighbours,
    "sleeps_in_its_block": sleeps_in_its_block,
    "is_timed_out": says("set statement_timeout = 10; select pg_sleep(1)"),
    "cancels": cancels,
    "gives_up_a_copy": gives_up_a_copy,
    "an_error_and_goodbye": leaves(*BAD),
    "an_error_flush_and_goodbye": leaves(*BAD, FLUSH, until="E"),
    "an_error_flush_and_vanishes": leaves(*BAD, FLUSH, until="E", goodbye=False),
    "an_error_of_a_write_flush_and_goodbye": leaves(*BAD_WRITE, FLUSH, until="E"),
    "an_error_of_a_write_unread_and_goodbye": leaves(*BAD_WRITE, FLUSH),
    "an_error_in_a_block_and_goodbye": leaves(*BAD_WRITE, FLUSH, until="E", block=True),
    "an_error_in_a_block_and_vanishes": leaves(*BAD_WRITE, FLUSH, until="E", block=True,
                                               goodbye=False, reset=True),
    "an_error_flush_a_query": leaves(*BAD, FLUSH, query("select 1"), until="E"),
    "an_error_flush_more_and_goodbye": leaves(*BAD_WRITE, FLUSH, *GOOD_WRITE, FLUSH, until="E"),
    "an_error_flush_sync_more": leaves(*BAD_WRITE, FLUSH, sync(), *GOOD_WRITE, FLUSH, until="E"),
    "a_write_flush_and_goodbye": leaves(*GOOD_WRITE, FLUSH, until="C"),
    "a_write_and_vanishes": leaves(*GOOD_WRITE, FLUSH, goodbye=False, reset=True),
    "an_unknown_name": leaves(bind("", "nix"), FLUSH, until="E"),
    "an_unknown_name_and_a_query": leaves(bind("", "nix"), FLUSH, query("select 1"), until="E"),
    "an_unknown_portal": leaves(execute("nix"), FLUSH, until="E"),
    "an_unknown_description": leaves(describe("S", "nix"), FLUSH, until="E"),
    "a_close_and_goodbye": leaves(close("S", "nix"), FLUSH, until="3"),
    "a_text_of_no_sql_and_a_query": leaves(parse("", "selec"), FLUSH, query("select 1"), until="E"),
    "half_a_message": leaves(query("select pg_sleep(0.05)"), b"Q\0\0\1\0sel", goodbye=False),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_client_moves_no_breaker(target, beside, way):
    with nothing_moves(target, WAYS[way], beside):
        at_ten_a_second(lambda: WAYS[way](target))


def test_a_client_that_does_not_read_moves_no_breaker(target):
    with nothing_moves(target):
        for _ in range(3):
            threads = [threading.Thread(target=does_not_read, args=(target,)) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()


def test_ended_probes_move_no_breaker(cluster, eve, proxy):
    """Its role is the probes' own: it may end their backends, the first and each new one."""
    p = proxy(switchgear={"auth_type": "trust"}, users=SECRETS,
              probe={"user": EVE, "password": "eve-secret"})
    with nothing_moves(p):
        with login(p) as w:
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                w.run(query("select count(pg_terminate_backend(pid)) from pg_stat_activity "
                            "where application_name = 'switchgear-probe'"))


def test_statements_that_run_for_long_do_not_end_a_trial(cluster, eve, proxy):
    """They hold its permits longer than they are leased for: that is no failure of the node."""
    p = proxy(switchgear={"auth_type": "trust"}, users=SECRETS,
              breaker={"open_for": "100ms", "trial_probes": 1, "trial_lease": "100ms",
                       "trial_max": "3s"})
    ending = threading.Event()

    def sleeps():
        with login(p) as w:
            while not ending.is_set():
                w.run(query("select pg_sleep(0.4)"))

    cluster.replicas[0].kill9()
    p.wait_breaker("r1", "OPEN", 5, drive=False)
    p.admin("DRAIN r2")  # what is on trial is all that is left for them
    threads = [threading.Thread(target=sleeps) for _ in range(12)]
    for t in threads:
        t.start()
    cluster.replicas[0].start()
    try:
        p.wait_breaker("r1", "CLOSED", 20, drive=False)
    finally:
        ending.set()
        for t in threads:
            t.join()
    assert "from=HALF_OPEN to=OPEN" not in p.log_text()


# ---- at the door ----


DOORS = {"eve_none": "28P01", "eve_wrong": "28P01", "eve_odd": None, "eve_limit": None,
         "eve_library": None}


@pytest.fixture(scope="module")
def strangers(cluster, eve):
    """Users whom the nodes do not let in, each for a reason of its own."""
    p = cluster.primary
    for name in DOORS:
        p.psql(f"create role {name} login password 'server-side'")
    p.psql("alter role eve_limit connection limit 0")
    p.psql("alter role eve_library set local_preload_libraries = 'nosuch'")
    p.psql("alter role eve_odd password %s", parameters=(odd_verifier("known"),))
    cluster.wait_replicated()
    yield
    for name in DOORS:
        p.psql(f"drop role {name}")


def odd_verifier(password):
    """A SCRAM secret that any user may give itself: the password is right, and the server's own
    proof is not: it is the client that breaks the log-in off."""
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    texts = [base64.b64encode(x).decode() for x in (salt, stored, b"x" * 32)]
    return f"SCRAM-SHA-256$4096:{texts[0]}${texts[1]}:{texts[2]}"


@pytest.mark.parametrize("user", DOORS)
def test_whom_a_node_does_not_let_in_moves_no_breaker(strangers, proxy, user):
    users = {"eve_wrong": "not-it", "eve_odd": "known", "eve_limit": "server-side",
             "eve_library": "server-side"}
    p = proxy(switchgear={"auth_type": "trust", "workers": 1, "query_wait_timeout": "600ms",
                          "server_login_retry": "10ms"}, users=users)
    errors = []

    def step():
        with Wire(p.port) as w:
            answer = w.login(user, APP_DATABASE)
            if types(answer)[-1] == "Z":
                answer = w.run(query("select count(*) from t"))
            errors.extend(error_fields(body)["C"] for kind, body in answer if kind == "E")

    with nothing_moves(p):
        at_ten_a_second(step)
    assert len(errors) >= 2
    if DOORS[user]:  # 53300: the wait for a connection ends at its limit where a node answers slowly
        assert DOORS[user] in errors and set(errors) <= {DOORS[user], "53300"}


# ---- what is not a client's making counts ----


def test_a_server_that_ends_is_out_at_once_though_one_client_saw_it(cluster, proxy):
    p = proxy(breaker={"open_for": "10s"})
    began = time.monotonic()
    cluster.replicas[0].kill9()
    p.wait_breaker("r1", "OPEN", 3, drive=False)
    assert time.monotonic() - began < 2


def test_the_primary_s_end_needs_no_third_witness(cluster, proxy):
    p = proxy()
    c = p.connect()
    one(c, "select 1")
    began = time.monotonic()
    cluster.primary.kill9()
    p.wait_breaker("p1", "OPEN", 3, drive=False)
    assert time.monotonic() - began < 2


def users_of(p):
    return {name: p.connect(user=name, password="x") for name in (APP_USER, "bob", "carol")}


READS = {APP_USER: "select count(*) from evidence", "bob": "select max(id) from evidence",
         "carol": "select min(id), max(id) from evidence"}


def learn(cluster, p, texts=None):
    """Replicas have run these reads: they are known to write nothing."""
    for user, c in users_of(p).items():
        for sql in (texts or READS)[user]:
            def ran(c=c, sql=sql):
                rows_of(c, sql)
                return one_route(c) == "replica"
            wait_until(ran, 10, f"{sql} ran on a replica")


def one_route(connection):
    with connection.cursor() as cursor:
        cursor.execute("SHOW switchgear.last_route")
        return cursor.fetchall()[0][1]


def sick_until_open(p, users, texts, seconds=20):
    """All users read until r1 is out; nobody is told of an error."""
    errors = []
    ends = time.monotonic() + seconds
    while p.breaker("r1") == "CLOSED" and time.monotonic() < ends:
        for user, c in users.items():
            for sql in texts[user]:
                try:
                    rows_of(c, sql)
                except psycopg2.Error as error:
                    errors.append((user, error.pgcode, str(error)))
    assert not errors
    assert p.breaker("r1") != "CLOSED", p.log_tail()


@pytest.fixture
def evidence(cluster, eve):
    p = cluster.primary
    p.psql("create table evidence as select i as id, repeat('x', 500) as filler "
           "from generate_series(1, 2000) i", APP_DATABASE)
    p.psql("grant select on evidence to public", APP_DATABASE)
    cluster.wait_replicated()
    yield
    p.psql("drop table evidence", APP_DATABASE)


@pytest.fixture
def broken_replica(cluster, evidence):
    """break_it() takes a part of the table's file away from r1, where nobody has it open."""
    r = cluster.replicas[0]

    def break_it(how):
        path = os.path.join(r.data, one_of(r, "select pg_relation_filepath('evidence')"))
        cluster.primary.psql("checkpoint")
        cluster.wait_replicated()
        r.psql("checkpoint")
        r.stop()
        how(path)
        r.start()

    yield break_it
    r.stop("immediate")
    cluster.clone(r)


def one_of(node, sql):
    return node.psql(sql, APP_DATABASE)[0][0]


def scribble(path):
    with open(path, "r+b") as f:
        f.write(b"\xff" * 8192 * 3)


DAMAGES = {"a file that is gone": os.remove, "pages that are damaged": scribble}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_replica_with_damaged_files_is_out_when_three_users_meet_it(cluster, proxy, broken_replica,
                                                                      damage):
    p = proxy(switchgear={"auth_type": "trust", "workers": 1}, users=SECRETS,
              breaker={"open_for": "4s"},
              database={"consistency": "eventual"})
    texts = {user: [sql] for user, sql in READS.items()}
    learn(cluster, p, texts)
    broken_replica(DAMAGES[damage])
    p.wait_ready()
    sick_until_open(p, users_of(p), texts)
    assert re.search(r"event=breaker node=r1 from=CLOSED to=OPEN reason=\"?errors", p.log_text())
    assert p.breaker("r2") == p.breaker("p1") == "CLOSED"
    assert p.metric("switchgear_suspicions_total", node="r1", kind="sick") >= 3


def test_one_user_with_damaged_files_is_answered_and_takes_nothing_out(cluster, proxy, broken_replica):
    p = proxy(switchgear={"auth_type": "trust", "workers": 1}, users=SECRETS,
              database={"consistency": "eventual"})
    texts = {user: [f"select count(*) as n{i} from evidence" for i in range(4)] for user in READS}
    learn(cluster, p, texts)
    broken_replica(os.remove)
    p.wait_ready()
    bob = p.connect(user="bob", password="x")

    def suspected():
        for sql in texts["bob"]:
            assert rows_of(bob, sql) == [(2000,)]
        return p.metric("switchgear_suspicions_total", node="r1", kind="sick") >= 3

    wait_until(suspected, 10, "bob's reads have met the damage three times")
    for _ in range(20):
        for sql in texts["bob"]:
            assert rows_of(bob, sql) == [(2000,)]
    assert p.breaker("r1") == "CLOSED"


@pytest.fixture
def full_replica(cluster, evidence):
    """A small file system, which is full, for r1's temporary files."""
    r = cluster.replicas[0]
    path = os.path.join(r.data, "base", "pgsql_tmp")
    os.makedirs(path, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", path],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    with contextlib.suppress(OSError), open(os.path.join(path, "filler"), "wb") as f:
        for _ in itertools.repeat(None, 64):
            f.write(b"x" * 4096)
            f.flush()
    yield
    subprocess.run(["umount", path], check=True)


def test_a_replica_whose_disk_is_full_is_out_when_three_users_meet_it(cluster, proxy, full_replica):
    p = proxy(switchgear={"auth_type": "trust", "workers": 1}, users=SECRETS,
              breaker={"open_for": "4s"},
              database={"consistency": "eventual"})
    spill = "select count(*) as {0} from (select filler from evidence order by filler, id) as x"
    texts = {user: [spill.format(user)] for user in READS}
    p.admin("DRAIN r1")
    learn(cluster, p, texts)
    p.admin("UNDRAIN r1")
    users = users_of(p)
    for c in users.values():
        rows_of(c, "set work_mem = '64kB'")
    sick_until_open(p, users, texts)
    assert p.breaker("r2") == p.breaker("p1") == "CLOSED"
    wait_until(lambda: re.search(r"event=page node=r1 ok=no sqlstate=\"?53100", p.log_text()), 10,
               "a page could not be written")


def test_looks_for_one_client_become_rare(target):
    """It loads the node with errors, and not with ten new connections per second."""
    def looks():
        return target.metric("switchgear_witnesses_total", node="p1", result="ok")

    target.wait_ready()
    before = looks()
    with login(target) as w:
        at_ten_a_second(lambda: w.run(query(raising("53100"))), 4)
    assert 2 <= looks() - before <= 8


def test_a_page_is_written_and_read_when_a_client_tells_of_a_full_disk(cluster, target):
    """The probe decides, not the client: it makes a temporary table on the primary."""
    target.wait_ready()
    good = target.metric("switchgear_witnesses_total", node="p1", result="ok")
    with login(target) as w:
        w.run(query(raising("53100")))
    wait_until(lambda: target.metric("switchgear_witnesses_total", node="p1", result="ok") > good, 5,
               "a witness has answered")
    assert cluster.saw("switchgear_page").get("p1", 0) >= 1
    assert target.metric("switchgear_alerts_total", node="p1") >= 1
