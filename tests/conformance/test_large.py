# SPDX-License-Identifier: PostgreSQL
"""Much data, large messages, long pipelines: in bounded memory, and without a deadlock.

COPY_MB=4096 makes the COPY tests move that much instead of what CI has time for.
"""
import os
import re
import struct
import threading
import time

import pytest

from talk import DATABASE, USER
from wire import (Wire, bind, describe, execute, first_error, message, parse, query, sync, types)
from words import bind_raw

COPY_MB = int(os.environ.get("COPY_MB", "200"))
LARGE = 100 * 1024 * 1024
FLAT_KB = 16 * 1024  # how much the proxy may grow, whatever passes through it
LINE = b"x" * 1023 + b"\n"
CHUNK = message("d", LINE * 64)  # 64 kB of data

SECONDS = 100 + COPY_MB // 5


@pytest.fixture(scope="module")
def sink(world):
    world.primary.psql("create unlogged table sink (line text); grant all on sink to public; "
                       "create function swallow() returns trigger language plpgsql as "
                       "$$ begin return null; end $$; create trigger swallow before insert on sink "
                       "for each row when (new.line is not null) execute function swallow(); select 1",
                       DATABASE)
    yield "sink"
    world.primary.psql("drop table sink; drop function swallow; select 1", DATABASE)


def login(p):
    w = Wire(p.port, timeout=SECONDS)
    assert types(w.login(USER, DATABASE))[-1] == "Z"
    return w


def peak_kb(p):
    with open(f"/proc/{p.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


class Flat:
    """The proxy's memory does not grow while this is open."""

    def __init__(self, p):
        self.proxy = p

    def __enter__(self):
        self.before = peak_kb(self.proxy)
        return self

    def __exit__(self, kind, *_):
        grown = peak_kb(self.proxy) - self.before
        print(f"peak memory {self.before} kB, grown by {grown} kB")
        if kind is None:
            assert grown < FLAT_KB


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_copy_in_of_much_is_flat(measured, sink, mode, protocol):
    p = measured(mode)
    sql = f"copy {sink} from stdin"
    with login(p) as w, Flat(p):
        began = time.monotonic()
        w.send(query(sql) if protocol == "simple" else
               parse("", sql) + bind("", "") + execute() + message("H"))
        while w.recv()[0] != "G":
            pass
        for _ in range(COPY_MB * 16):
            w.socket.sendall(CHUNK)
        w.send(message("c"), sync() if protocol == "extended" else b"")
        answers = w.recv_all()
        print(f"{COPY_MB / (time.monotonic() - began):.0f} MB/s in")
        assert types(answers) == "CZ", first_error(answers)


def drain(w, size_min):
    """Reads CopyData up to CopyDone without keeping it; returns its bytes."""
    total, rest = 0, w.buffer
    while True:
        pos = 0
        while len(rest) - pos >= 5:
            size = struct.unpack_from("!I", rest, pos + 1)[0] + 1
            if rest[pos:pos + 1] != b"d":
                w.buffer = rest[pos:]
                assert total >= size_min
                return total
            if len(rest) - pos < size:
                break
            total += size - 5
            pos += size
        more = w.socket.recv(1 << 20)
        assert more, "the stream ended"
        rest = rest[pos:] + more


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_copy_out_of_much_is_flat(measured, mode, protocol):
    p = measured(mode)
    sql = (f"copy (select repeat('y', 8191) from generate_series(1, {COPY_MB * 128})) to stdout")
    with login(p) as w, Flat(p):
        began = time.monotonic()
        w.send(query(sql) if protocol == "simple" else
               parse("", sql) + bind("", "") + execute() + sync())
        while w.recv()[0] != "H":
            pass
        if mode == "transaction":
            time.sleep(0.3)  # a client that does not read for a while costs nothing either
        drain(w, COPY_MB * 1024 * 1024)
        print(f"{COPY_MB / (time.monotonic() - began):.0f} MB/s out")
        assert types(w.recv_all()) == "cCZ"


def test_a_large_parameter_and_a_large_row_pass_in_flat_memory(measured):
    p = measured("transaction")
    with login(p) as w, Flat(p):
        w.send(parse("big", "select length($1::text)"), sync())
        assert types(w.recv_all()) == "1Z"
        w.socket.sendall(bind_raw("", "big", (), (b"z" * LARGE,)))
        w.send(execute(), sync())
        answers = w.recv_all()
        assert types(answers) == "2DCZ", first_error(answers)
        assert str(LARGE).encode() in answers[1][1]
        w.send(query(f"select repeat('r', {LARGE})"))
        assert w.recv()[0] == "T"
        head = w.recv_bytes(5)
        size = struct.unpack("!I", head[1:])[0]
        assert head[:1] == b"D" and size == LARGE + 10
        left = size - 4 - len(w.buffer)
        w.buffer = b""
        while left > 0:
            left -= len(w.socket.recv(min(left, 1 << 20)))
        assert types(w.recv_all()) == "CZ"
        assert types(w.run(query("select 1"))) == "TDCZ"


def test_a_large_query_passes_in_flat_memory(measured):
    p = measured("transaction")
    with login(p) as w, Flat(p):
        w.socket.sendall(query("select length('" + "q" * (LARGE // 4) + "')"))
        answers = w.recv_all()
        assert types(answers) == "TDCZ", first_error(answers)


# ---- pipelines ----

BATCHES = 10000


def unnamed(i):
    return parse("", "select $1::int") + bind("", "", [str(i)]) + execute() + sync()


def named(i):
    return bind("", "st", [str(i)]) + describe("P", "") + execute() + sync()


def simple(i):
    return query(f"select {i}")


def mixed(i):
    """Reads, writes and transactions: the pipeline has to change nodes on its way."""
    return (unnamed, named, simple, lambda n: query(f"update w set v = {n % 900}"),
            lambda n: query("begin") + query(f"select {n}") + query("commit"))[i % 5](i)


def failing(i):
    return parse("", f"select 1 / {i % 2}") + bind("", "") + execute() + sync()


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("batch", [unnamed, named, simple, mixed, failing], ids=lambda f: f.__name__)
def test_ten_thousand_batches_before_anything_is_read(through, mode, batch):
    p = through(mode)
    with login(p) as w:
        assert types(w.run(parse("st", "select $1::int"), sync())) == "1Z"
        data = b"".join(batch(i) for i in range(BATCHES))
        expected = sum(batch(i).count(b"S\0\0\0\4") if batch in (unnamed, named, failing) else 0
                       for i in range(BATCHES)) or data.count(b"Q\0\0\0") + data.count(b"S\0\0\0\4")
        sender = threading.Thread(target=w.socket.sendall, args=(data,))
        sender.start()
        sender.join(1)  # done, or held up by what was not read
        ready = values = 0
        while ready < expected:
            kind, body = w.recv()
            ready += kind == "Z"
            values += kind == "D"
            assert kind != "E" or batch is failing, first_error([(kind, body)])
        sender.join(10)
        assert not sender.is_alive()
        assert values >= BATCHES // 2
        assert types(w.run(query("select 1"))) == "TDCZ"
