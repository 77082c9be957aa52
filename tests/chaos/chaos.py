# SPDX-License-Identifier: PostgreSQL
"""Clients of many kinds that never stop asking, and notice when an answer is not theirs.

A client of a kind is a function kind(world, owner, random) that does one small piece of work. Each
row that it reads carries its owner; a row of somebody else is a Wrong. Losing a connection is part
of the game while nodes die: what it must never cost is truth.
"""
import os
import random
import socket
import struct
import threading
import time

import psycopg
import psycopg2
import psycopg2.errors

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER
from proxy import one, rows_of
from wire import Wire, message, query, startup

# Errors that honest clients meet while nodes die: lost connections, waits that ended, cancels.
ALLOWED = ("08", "57", "53", "40", "25P")


class Wrong(Exception):
    """An answer that is not the truth."""


def is_allowed(error):
    code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
    if code is None:  # the driver's own words for a connection that ended
        return isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError,
                                  psycopg.OperationalError, psycopg.InterfaceError))
    return code.startswith(ALLOWED)


class World:
    """What all clients share: the proxy, the ledger of confirmed writes, the complaints."""

    def __init__(self, proxy, seconds, seed):
        self.proxy = proxy
        self.deadline = time.monotonic() + seconds
        self.seed = seed
        self.lock = threading.Lock()
        self.confirmed = {}  # owner: numbers whose insert was confirmed
        self.attempted = {}
        self.complaints = []
        self.done = {}
        self.errors = {}

    def running(self):
        return time.monotonic() < self.deadline and not self.complaints

    def complain(self, text):
        with self.lock:
            self.complaints.append(text)

    def count(self, kind, error=None):
        with self.lock:
            self.done[kind] = self.done.get(kind, 0) + 1
            if error is not None:
                key = (kind, getattr(error, "pgcode", None) or getattr(error, "sqlstate", None),
                       str(error).strip()[:60])
                self.errors[key] = self.errors.get(key, 0) + 1

    def connect(self, **parameters):
        values = {"host": "127.0.0.1", "port": self.proxy.port, "user": APP_USER,
                  "password": APP_PASSWORD, "dbname": APP_DATABASE, "connect_timeout": 10,
                  "sslmode": "disable", "gssencmode": "disable", **parameters}
        connection = psycopg2.connect(**values)
        connection.autocommit = True
        return connection


def insist(owner, got, wanted):
    if got != wanted:
        raise Wrong(f"{owner} was answered {got!r}, not {wanted!r}")


# ---- kinds ----

def reader(world, owner, rnd):
    c = world.connect()
    for i in range(rnd.randrange(1, 40)):
        n = rnd.randrange(1, 101)
        insist(owner, rows_of(c, f"select '{owner}-{i}', id from t where id = {n}"),
               [(f"{owner}-{i}", n)])
    c.close()


def writer(world, owner, rnd):
    c = world.connect()
    for _ in range(rnd.randrange(1, 20)):
        with world.lock:
            n = world.attempted[owner] = world.attempted.get(owner, 0) + 1
        rows_of(c, f"insert into ledger (owner, n) values ('{owner}', {n})")
        with world.lock:
            world.confirmed.setdefault(owner, []).append(n)
        newest = one(c, f"select max(n) from ledger where owner = '{owner}'")
        if newest is None or newest < n:
            raise Wrong(f"{owner} wrote {n} and read {newest}")
    c.close()


def block(world, owner, rnd):
    c = world.connect()
    c.autocommit = False
    for _ in range(rnd.randrange(1, 10)):
        n = rnd.randrange(1, 101)
        before = one(c, f"select v from t where id = {n} for update")
        rows_of(c, f"update t set v = v + 1 where id = {n}")
        insist(owner, rows_of(c, f"select '{owner}', v from t where id = {n}"),
               [(owner, before + 1)])
        c.commit() if rnd.random() < 0.5 else c.rollback()
    c.close()


def prepared(world, owner, rnd):
    with psycopg.connect(world.proxy.dsn(options="?sslmode=disable"), autocommit=True,
                         connect_timeout=10) as c:
        for i in range(rnd.randrange(1, 30)):
            text = f"select %s::text, id, {rnd.randrange(3)} from t where id = %s"
            n = rnd.randrange(1, 101)
            row = c.execute(text, (f"{owner}-{i}", n), prepare=True).fetchone()
            insist(owner, row[:2], (f"{owner}-{i}", n))


def pinned(world, owner, rnd):
    c = world.connect()
    how = rnd.randrange(3)
    if how == 0:
        rows_of(c, "create temporary table mine (owner text)")
        rows_of(c, f"insert into mine values ('{owner}')")
        for _ in range(5):
            insist(owner, one(c, "select owner from mine"), owner)
    elif how == 1:
        key = int(owner.rpartition("-")[2]) + 1000
        insist(owner, one(c, f"select pg_try_advisory_lock({key})"), True)
        insist(owner, one(c, f"select pg_advisory_unlock({key})"), True)
    else:
        channel = owner.replace("-", "_")
        rows_of(c, f"listen {channel}")
        rows_of(c, f"notify {channel}, '{owner}'")
        insist(owner, one(c, f"select '{owner}'"), owner)
        c.poll()
        for n in c.notifies:
            insist(owner, n.payload, owner)
    if rnd.random() < 0.5:
        rows_of(c, "discard all")
        insist(owner, one(c, f"select '{owner}'"), owner)
    c.close()


def canceller(world, owner, rnd):
    c = world.connect()
    timer = threading.Timer(rnd.uniform(0.0, 0.15), c.cancel)
    timer.start()
    try:
        rows_of(c, rnd.choice(["select pg_sleep(0.4)", "select count(*) from t, pg_sleep(0.2)"]))
    except psycopg2.errors.QueryCanceled:
        pass
    finally:
        timer.join()
    try:
        insist(owner, one(c, f"select '{owner}'"), owner)
    except psycopg2.errors.QueryCanceled:
        pass  # a cancel that came late: as late as one can come to PostgreSQL
    c.close()


def vanishing(world, owner, rnd):
    """Is gone in the middle of whatever runs: RST, no Terminate."""
    c = world.connect()
    if rnd.random() < 0.3:
        rows_of(c, "begin")
        rows_of(c, f"update t set v = v where id = {rnd.randrange(1, 101)}")
    s = socket.socket(fileno=os.dup(c.fileno()))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    work = query(rnd.choice(["select pg_sleep(0.3)", "select * from t", "select repeat('x', 5000000)",
                             "copy log (note) from stdin", "insert into log (note) values ('x')"]))
    s.send(work[:rnd.choice([3, len(work), len(work)])])
    time.sleep(rnd.choice([0, 0.01, 0.1]))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, c.fileno())
    os.close(nothing)
    s.close()
    c.close()


def slow(world, owner, rnd):
    c = world.connect()
    c.autocommit = False
    with c.cursor(name="slow") if rnd.random() < 0.3 else c.cursor() as cursor:
        count = rnd.randrange(500, 5000)
        cursor.execute(f"select '{owner}', repeat('y', 1000) from generate_series(1, {count})")
        seen = 0
        for who, text in cursor:
            insist(owner, (who, len(text)), (owner, 1000))
            seen += 1
            if seen % 500 == 0:
                time.sleep(0.01)
        insist(owner, seen, count)
    c.rollback()
    c.close()


def stranger(world, owner, rnd):
    try:
        world.connect(password="wrong" if rnd.random() < 0.7 else "").close()
    except psycopg2.OperationalError as error:
        text = str(error)
        if "authentication failed" in text or "no password supplied" in text:
            return
        raise
    raise Wrong("a wrong password was let in")


KINDS = {reader: 16, writer: 10, block: 8, prepared: 8, pinned: 4, canceller: 4, vanishing: 6,
         slow: 3, stranger: 2}


def live(world, kind, owner):
    rnd = random.Random(f"{world.seed}-{owner}")
    while world.running():
        try:
            kind(world, owner, rnd)
            world.count(kind.__name__)
        except (psycopg2.Error, psycopg.Error) as error:
            world.count(kind.__name__, error)
            if not is_allowed(error):
                world.complain(f"{owner}: {type(error).__name__}: "
                               f"{getattr(error, 'pgcode', '')} {error}")
            time.sleep(0.02)
        except Wrong as wrong:
            world.complain(str(wrong))
        except OSError as error:  # of a socket of our own that was reset
            world.count(kind.__name__, error)


def start(world):
    threads = []
    number = 0
    for kind, count in KINDS.items():
        for _ in range(count):
            number += 1
            threads.append(threading.Thread(target=live, daemon=True,
                                            args=(world, kind, f"{kind.__name__}-{number}")))
    for thread in threads:
        thread.start()
    return threads


# ---- what is done to the nodes ----

def trouble(cluster, p, rnd, deadline):
    """One misfortune after the other, each of them over before the next."""
    log = []

    def admin(sql):
        p.admin(sql)

    def killed(node):
        node.kill9()
        time.sleep(rnd.uniform(0.1, 1.0))
        node.start()

    def frozen(node):
        node.sigstop()
        time.sleep(rnd.uniform(0.2, 1.5))
        node.sigcont()

    def paused(node):
        node.pause_replay()
        time.sleep(rnd.uniform(0.2, 1.0))
        node.resume_replay()

    def restarted(node):
        node.stop("fast")
        node.start()

    def drained(node):
        admin(f"DRAIN {node.name}")
        time.sleep(rnd.uniform(0.1, 0.5))
        admin(f"UNDRAIN {node.name}")

    def flipped(_):
        admin(f"READS {APP_DATABASE} TO PRIMARY")
        time.sleep(rnd.uniform(0.05, 0.3))
        admin(f"READS {APP_DATABASE} TO AUTO")

    def reloaded(_):
        p.write_config(database={"pool_size": rnd.choice([3, 8, 12])})
        admin("RELOAD")

    def looked(_):
        for what in ("CLIENTS", "SERVERS", "POOLS", "NODES", "STATS"):
            admin(f"SHOW {what}")

    def halted(_):
        admin(f"PAUSE {APP_DATABASE}")
        time.sleep(0.2)
        admin(f"RESUME {APP_DATABASE}")

    def ended(node):
        node.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                  f"where usename = '{APP_USER}' and random() < 0.5")

    while time.monotonic() < deadline:
        what = rnd.choice([killed, frozen, frozen, paused, restarted, drained, flipped, reloaded,
                           looked, halted, ended])
        node = rnd.choice(cluster.replicas)
        log.append(f"{what.__name__} {node.name}")
        what(node)
        time.sleep(rnd.uniform(0, 0.5))
    return log
