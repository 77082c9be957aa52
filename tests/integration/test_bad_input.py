# SPDX-License-Identifier: PostgreSQL
"""Peers that send rubbish, too much, too little, or go away: an error for them, nothing for others."""
import os
import random
import socket
import statistics
import struct
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import ini_text, one, run_binary
from wire import (GSS_REQUEST, SSL_REQUEST, VERSION_3, Wire, bind, cstring, execute, first_error,
                  message, parse, query, startup, sync, types)

pytestmark = pytest.mark.one_session


@pytest.fixture
def open_gear(proxy):
    """No password, so that a bare socket can go beyond the start-up."""
    return proxy(switchgear={"auth_type": "trust", "client_login_timeout": "1s"},
                 database={"pool_size": 3, "user": "app", "password": "app-secret"})


def login(p):
    w = Wire(p.port)
    w.login(APP_USER, APP_DATABASE)
    return w


def still_serves(p):
    assert one(p.connect(), "select 1") == 1


STARTUPS = {
    "garbage": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length of zero": struct.pack("!II", 0, VERSION_3),
    "a length of four": struct.pack("!I", 4),
    "a negative length": struct.pack("!iI", -1, VERSION_3),
    "an enormous length": struct.pack("!II", 0x7fffffff, VERSION_3),
    "a length just over the limit": struct.pack("!II", 10001, VERSION_3) + b"x" * 9993,
    "protocol 2": struct.pack("!II", 8, 2 << 16),
    "protocol 4": struct.pack("!II", 8, 4 << 16),
    "no user": struct.pack("!II", 9, VERSION_3) + b"\0",
    "no terminator": struct.pack("!II", 8 + 13, VERSION_3) + b"user\0app\0data",
    "a key without a value": struct.pack("!II", 8 + 6, VERSION_3) + b"user\0\0",
    "an SSLRequest that is too long": struct.pack("!II", 12, SSL_REQUEST) + b"abcd",
    "a cancel that is too short": struct.pack("!II", 10, 80877102) + b"ab",
    "zeroes": b"\0" * 64,
}


@pytest.mark.core
@pytest.mark.parametrize("name", STARTUPS)
def test_a_bad_start_up_packet_ends_only_its_sender(gear, name):
    with Wire(gear.port) as w:
        w.send(STARTUPS[name])
        assert w.closed_within(5)
    still_serves(gear)


def test_ssl_and_gss_requests_are_answered_with_one_byte(gear):
    with Wire(gear.port) as w:
        w.send(struct.pack("!II", 8, GSS_REQUEST))
        assert w.recv_bytes(1) == b"N"
        w.send(struct.pack("!II", 8, SSL_REQUEST))
        assert w.recv_bytes(1) in (b"N", b"S")
    with Wire(gear.port) as w:  # a repeat is not legal
        w.send(struct.pack("!II", 8, GSS_REQUEST))
        w.recv_bytes(1)
        w.send(struct.pack("!II", 8, GSS_REQUEST))
        assert w.closed_within(5)
    still_serves(gear)


def test_a_start_up_packet_may_come_byte_by_byte(open_gear):
    with Wire(open_gear.port) as w:
        w.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in startup(APP_USER, APP_DATABASE):
            w.send(bytes([byte]))
            time.sleep(0.002)
        got = w.recv_all()
    assert types(got)[-1] == "Z", got


@pytest.mark.core
@pytest.mark.parametrize("sent", [0, 3, 20])
def test_a_slow_login_is_closed_by_client_login_timeout(open_gear, sent):
    with Wire(open_gear.port) as w:
        w.send(startup(APP_USER, APP_DATABASE)[:sent])
        assert w.closed_within(4)


def test_a_drip_of_bytes_does_not_reset_the_login_timer(open_gear):
    with Wire(open_gear.port) as w:
        began = time.monotonic()
        packet = startup(APP_USER, APP_DATABASE, application_name="x" * 200)
        try:
            for byte in packet:
                w.send(bytes([byte]))
                time.sleep(0.05)
        except ConnectionError:
            pass
        assert w.closed_within(3) and time.monotonic() - began < 6


FRAMES = {
    "an unknown type": message("z", b"abc"),
    "a length below four": b"Q" + struct.pack("!I", 3),
    "a negative length": b"Q" + struct.pack("!i", -5),
    "a length over a gigabyte": b"Q" + struct.pack("!I", 0x7fffffff),
    "a Sync with a huge body": b"S" + struct.pack("!I", 20000) + b"x" * 19996,
    "a zero byte as type": b"\0" * 10,
}


@pytest.mark.core
@pytest.mark.parametrize("name", FRAMES)
def test_a_bad_frame_is_fatal_08P01_for_its_sender(open_gear, name):
    with login(open_gear) as w:
        w.send(FRAMES[name])
        error = first_error(w.recv_all())
        assert error and error["C"] == "08P01" and error["S"] == "FATAL"
        assert w.closed_within(5)
    still_serves(open_gear)


BODIES = {
    "Query without a terminator": message("Q", b"select 1"),
    "Parse without a text": message("P", b"name\0"),
    "Parse with too many types": message("P", b"\0select 1\0" + struct.pack("!H", 60000)),
    "Bind that ends early": message("B", b"\0\0" + struct.pack("!HH", 0, 5)),
    "Bind with a negative size": message("B", b"\0\0" + struct.pack("!HHi", 0, 1, -7)),
    "Describe of nothing": message("D", b"x\0"),
    "Execute without a count": message("E", b"\0"),
    "Close of an unknown kind": message("C", b"q\0"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_malformed_body_is_08P01_and_others_go_on(open_gear, name):
    with login(open_gear) as w:
        w.send(parse("", "select 1"), BODIES[name], sync())
        assert first_error(w.recv_all())["C"] == "08P01"
    still_serves(open_gear)


@pytest.mark.core
def test_random_bytes_after_login_never_hurt(open_gear):
    rng = random.Random(20261120)
    for _ in range(60):
        with login(open_gear) as w:
            w.socket.settimeout(0.05)
            try:
                kind = rng.choice("QPBEDCSHFdcfpX")
                size = rng.randrange(0, 300)
                body = rng.randbytes(size)
                w.send(kind.encode() + struct.pack("!I", size + 4) + body, sync())
                w.socket.recv(65536)
            except OSError:
                pass
    still_serves(open_gear)
    assert {n["breaker"] for n in open_gear.nodes().values()} == {"CLOSED"}


def goes_before_start_up(w):
    pass


def goes_in_half_a_start_up(w):
    w.send(startup(APP_USER, APP_DATABASE)[:11])


def goes_idle(w):
    w.login(APP_USER, APP_DATABASE)


def goes_in_half_a_message(w):
    w.login(APP_USER, APP_DATABASE)
    w.send(query("update t set v = v where id = 1")[:9])


def goes_while_a_read_runs(w):
    w.login(APP_USER, APP_DATABASE)
    w.send(query("select pg_sleep(0.5)"))


def goes_in_a_block(w):
    w.login(APP_USER, APP_DATABASE)
    w.run(query("begin"))
    w.run(query("update t set v = -9 where id = 95"))


def goes_before_sync(w):
    w.login(APP_USER, APP_DATABASE)
    w.send(parse("", "update t set v = -9 where id = 95"), bind("", ""), execute())


def goes_in_copy_in(w):
    w.login(APP_USER, APP_DATABASE)
    w.send(query("copy log (note) from stdin"))
    w.recv()
    w.send(message("d", b"half a copy\n"))


def goes_in_copy_out(w):
    w.login(APP_USER, APP_DATABASE)
    w.send(query("copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout"))
    w.recv()


def goes_without_reading_a_big_result(w):
    w.login(APP_USER, APP_DATABASE)
    w.send(query("select repeat('x', 1000) from generate_series(1, 50000)"))
    time.sleep(0.1)


EXITS = [goes_before_start_up, goes_in_half_a_start_up, goes_idle, goes_in_half_a_message,
         goes_while_a_read_runs, goes_in_a_block, goes_before_sync, goes_in_copy_in,
         goes_in_copy_out, goes_without_reading_a_big_result]


@pytest.mark.core
@pytest.mark.parametrize("leave", EXITS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_that_vanishes_leaves_nothing_behind(cluster, open_gear, leave, how):
    for _ in range(5):
        w = Wire(open_gear.port)
        leave(w)
        if how == "reset":
            w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        w.socket.close()

    def clean():
        clients = [r for r in open_gear.admin("SHOW CLIENTS") if r["database"] == APP_DATABASE]
        busy = [b for node in cluster.nodes for b in node.backends() if b[1] != "idle"]
        return not clients and not busy

    wait_until(clean, 10, "no client and no busy backend is left")
    c = open_gear.connect()
    assert one(c, "/* switchgear: route=primary */ select v from t where id = 95") != -9
    assert one(c, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'half a copy'") == 0


def test_a_client_that_does_not_read_costs_bounded_memory(open_gear):
    def resident_kb():
        with open(f"/proc/{open_gear.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    before = resident_kb()
    with login(open_gear) as w:
        w.send(query("select repeat('x', 1000) from generate_series(1, 200000)"))
        time.sleep(1.5)
        assert resident_kb() - before < 50_000
        assert types([w.recv() for _ in range(3)]) == "TDD"
    still_serves(open_gear)


@pytest.mark.core
def test_a_client_that_pipelines_without_reading_is_not_deadlocked(open_gear):
    one_query = query("select repeat('x', 2000)")
    with login(open_gear) as w:
        w.socket.settimeout(20)
        for _ in range(100):
            w.send(one_query * 10)
        for _ in range(1000):
            assert types(w.recv_all()) == "TDCZ"


def login_error(p, **parameters):
    began = time.monotonic()
    with pytest.raises(psycopg2.OperationalError) as caught:
        p.connect(**parameters)
    return str(caught.value), time.monotonic() - began


@pytest.mark.core
def test_an_unknown_user_looks_like_a_wrong_password(gear):
    wrong, unknown, wrong_seconds, unknown_seconds = [], [], [], []
    for _ in range(5):
        text, seconds = login_error(gear, password="wrong")
        wrong.append(text.replace('"app"', "USER"))
        wrong_seconds.append(seconds)
        text, seconds = login_error(gear, user="nobody_at_all", password="wrong")
        unknown.append(text.replace('"nobody_at_all"', "USER"))
        unknown_seconds.append(seconds)
    assert set(wrong) == set(unknown) and len(set(wrong)) == 1
    a, b = statistics.median(wrong_seconds), statistics.median(unknown_seconds)
    assert abs(a - b) < max(0.02, 0.5 * max(a, b))


def test_an_unknown_user_and_a_wrong_password_are_28P01(gear):
    codes = []
    for user in (APP_USER, "nobody_at_all"):
        with Wire(gear.port) as w:
            w.send(startup(user, APP_DATABASE))
            kind, body = w.recv()
            assert kind == "R" and struct.unpack("!I", body[:4])[0] == 10
            first = b"n,,n=,r=abcdefghijklmnop"
            w.send(message("p", cstring("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
            kind, body = w.recv()
            nonce = body[4:].split(b",")[0]
            w.send(message("p", b"c=biws," + nonce + b",p=" + b"A" * 43 + b"="))
            error = first_error(w.recv_all())
            codes.append((error["C"], error["S"]))
    assert codes == [("28P01", "FATAL")] * 2


def test_an_unknown_database_is_3D000(gear):
    text, _ = login_error(gear, dbname="no_such_database")
    assert "no_such_database" in text


def test_trust_is_refused_on_addresses_that_are_not_loopback(cluster, gear):
    sections = gear.sections()
    sections["switchgear"].update({"listen": "0.0.0.0:6432", "auth_type": "trust"})
    path = gear.directory + "/trust.ini"
    gear.write(path, ini_text(sections))
    done = run_binary(cluster, "check", path)
    assert done.returncode == 1 and "trust" in done.stdout + done.stderr


def test_500_connections_that_say_nothing_do_not_stop_others(gear):
    silent = [socket.create_connection(("127.0.0.1", gear.port)) for _ in range(500)]
    still_serves(gear)
    for s in silent:
        s.close()
    still_serves(gear)
