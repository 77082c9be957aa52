# SPDX-License-Identifier: PostgreSQL
"""Cancel keys: what they are made of, how far a request with one goes, and what it may cost."""
import asyncio
import signal
import socket
import struct
import subprocess
import threading
import time

import asyncpg
import psycopg2
import pytest

import tls
from cluster import APP_DATABASE, APP_USER, free_port, wait_until
from proxy import Load, one, rows_of
from test_cancel import Sleeper
from wire import CANCEL_REQUEST, VERSION_3, Wire, cstring, first_error, query, types

TRUST = {"switchgear": {"auth_type": "trust"},
         "database": {"user": "app", "password": "app-secret"}}
MINE, FORWARDED = "switchgear_cancels_total", "switchgear_cancels_passed_on_total"


def trusting(proxy, database=None, **switchgear):
    return proxy(switchgear={**TRUST["switchgear"], **switchgear},
                 database={**TRUST["database"], **(database or {})})


def start_up(wire, minor, **parameters):
    """A start-up packet of protocol 3.minor; the messages up to ReadyForQuery."""
    pairs = {"user": APP_USER, "database": APP_DATABASE, **parameters}
    body = b"".join(cstring(k) + cstring(v) for k, v in pairs.items()) + b"\0"
    wire.send(struct.pack("!II", len(body) + 8, VERSION_3 + minor) + body)
    messages = wire.recv_all()
    wire.key = next(body for kind, body in messages if kind == "K")
    return messages


def cancel_packet(key, more=b""):
    return struct.pack("!II", 8 + len(key) + len(more), CANCEL_REQUEST) + key + more


def send_cancel(port, key, more=b""):
    """Sends a request and waits for the end of its connection, as libpq does; the seconds."""
    began = time.monotonic()
    with Wire(port, timeout=20) as w:
        w.send(cancel_packet(key, more))
        assert w.recv() is None
    return time.monotonic() - began


def instance_of(key):
    return struct.unpack("!I", key[:4])[0] >> 23


# ---- keys ----

@pytest.mark.parametrize("minor, size", [(0, 4), (2, 32), (9999, 32)])
def test_a_key_has_the_size_of_its_protocol_and_cancels(cluster, proxy, minor, size):
    p = trusting(proxy, instance_id=77)
    with Wire(p.port) as w:
        messages = start_up(w, minor)
        assert len(w.key) == 4 + size and instance_of(w.key) == 77
        assert [body for kind, body in messages if kind == "v"] == (
            [struct.pack("!II", VERSION_3 + 2, 0)] if minor > 2 else [])
        w.send(query("select pg_sleep(30)"))
        cluster.wait_running("pg_sleep(30)")
        send_cancel(p.port, w.key)
        assert first_error(w.recv_all())["C"] == "57014"
        for wrong in (w.key + b"\0", w.key[:4] + bytes(32), w.key + b"\0\0", w.key[:7] + b"\0"):
            send_cancel(p.port, wrong)
        assert types(w.run(query("select 1"))) == "TDCZ"


def test_an_unknown_protocol_option_does_not_raise_the_version(proxy):
    p = trusting(proxy)
    with Wire(p.port) as w:
        messages = start_up(w, 0, **{"_pq_.wish": "x"})
        assert messages[0] == ("v", struct.pack("!II", VERSION_3, 1) + b"_pq_.wish\0")
        assert len(w.key) == 8


def test_keys_differ_and_name_their_worker(cluster, proxy):
    p = trusting(proxy)
    wires = [Wire(p.port) for _ in range(8)]
    for w in wires:
        start_up(w, 0)
    keys = {w.key for w in wires}
    assert len(keys) == 8 and len({k[4:] for k in keys}) == 8
    assert len({k[:4] for k in keys}) == 8
    for w in wires:
        w.send(query("select pg_sleep(30)"))
    cluster.wait_running("pg_sleep(30)", len(wires))
    for w in wires:  # some are other workers' sessions
        send_cancel(p.port, w.key)
        assert first_error(w.recv_all())["C"] == "57014"
        w.socket.close()


# ---- the end of a request ----

def test_no_statement_after_the_end_of_a_request_is_hit(proxy):
    """As with PostgreSQL: once PQcancel() has returned, whatever comes next is safe."""
    p = proxy(database={"pool_size": 2})
    c = p.connect()
    for i in range(60):
        sleeper = Sleeper(c, "select pg_sleep(0.004), txid_current()")
        time.sleep(0.001 * (i % 8))
        c.cancel()
        sleeper.join(10)
        assert sleeper.error in (None, "57014")
        assert one(c, "select 7, txid_current()") == 7


def test_a_copy_is_cancelled_in_both_directions(gear):
    c = gear.connect()

    class Stream:
        """What libpq sends or takes; it learns of an error only at the end of what it sends."""
        ended = False

        def write(self, data):
            pass

        def read(self, size):
            time.sleep(0.01)
            return "" if self.ended else "some note\n"

    for sql in ("copy (select repeat('x', 1000) from generate_series(1, 100000000)) to stdout",
                "copy log (note) from stdin"):
        stream = Stream()

        def cancel():
            c.cancel()
            time.sleep(0.2)
            stream.ended = True

        timer = threading.Timer(0.4, cancel)
        timer.start()
        with c.cursor() as cursor, pytest.raises(psycopg2.Error) as caught:
            cursor.copy_expert(sql, stream)
        timer.join()
        assert caught.value.pgcode == "57014"
        assert one(c, "select 1") == 1


def test_a_cancel_in_a_block_that_has_not_begun_does_nothing(gear):
    c = gear.connect()
    rows_of(c, "begin")
    c.cancel()
    time.sleep(0.1)
    assert one(c, "select 1") == 1
    rows_of(c, "commit")


def test_psql_stops_on_ctrl_c(gear, cluster):
    psql = subprocess.Popen([cluster.binary("psql"), "-X", gear.dsn(), "-c", "select pg_sleep(30)",
                             "-c", "select 'still here'"], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: any("pg_sleep(30)" in q for n in cluster.nodes for _, _, q in n.backends()), 5,
               "it runs")
    psql.send_signal(signal.SIGINT)
    output = psql.communicate(timeout=10)[0]
    assert "canceling statement due to user request" in output, output


def test_a_timeout_of_asyncpg_cancels(gear):
    async def run():
        c = await asyncpg.connect(gear.dsn(), ssl=False)
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await c.fetch("select pg_sleep(30)", timeout=0.3)
        assert await c.fetchval("select 40 + 2") == 42
        assert time.monotonic() - began < 5
        await c.close()

    asyncio.run(run())


# ---- nobody else's statement ----

@pytest.mark.invariant
def test_random_cancels_never_hit_another_client(proxy):
    """Everybody cancels at random, and two server connections serve them all: each client is hit
    only while it has asked for it."""
    p = proxy(database={"pool_size": 2})
    ending = threading.Event()
    wrong, hits, rounds = [], [0], [0]

    def client(number):
        c = p.connect()
        while not ending.is_set():
            wants = number % 2 == 0
            timer = threading.Timer(0.001 * (rounds[0] % 13), c.cancel)
            if wants:
                timer.start()
            try:
                value = one(c, f"select {number}, pg_sleep(0.004), txid_current()")
                if value != number:
                    wrong.append(value)
            except psycopg2.Error as error:
                hits[0] += 1
                if not wants or error.pgcode != "57014":
                    wrong.append((number, error.pgcode, str(error)))
            if wants:
                timer.join()
            rounds[0] += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    time.sleep(5)
    ending.set()
    [t.join(20) for t in threads]
    assert wrong == [] and rounds[0] > 100 and hits[0] > 5
    wait_until(lambda: all(s["state"] == "idle" for s in p.admin("SHOW SERVERS")), 5, "baseline")


# ---- peers ----

def peers(proxy, ids=(1, 2), known=None):
    """Two instances that know each other."""
    first = trusting(proxy, instance_id=ids[0])
    second = trusting(proxy, instance_id=ids[1])
    known = known or {ids[0]: first, ids[1]: second}
    text = ", ".join(f"{i}=127.0.0.1:{p.port}" for i, p in known.items())
    for p in (first, second):
        p.write_config(switchgear={"peers": text})
        p.admin("RELOAD")
    return first, second


@pytest.mark.parametrize("minor", [0, 2])
def test_a_cancel_that_reaches_another_instance_is_passed_on_to_its_owner(cluster, proxy, minor):
    first, second = peers(proxy)
    with Wire(first.port) as w:
        start_up(w, minor)
        w.send(query("select pg_sleep(30)"))
        cluster.wait_running("pg_sleep(30)")
        send_cancel(second.port, w.key)
        assert first_error(w.recv_all())["C"] == "57014"
        w.send(query("select pg_sleep(0.3)"))
        send_cancel(second.port, w.key[:4] + bytes(len(w.key) - 4))  # the owner compares
        assert first_error(w.recv_all()) is None
    assert second.metric(FORWARDED) == 2 and first.metric(MINE) == 1
    assert first.metric(FORWARDED) == second.metric(MINE) == 0


def test_two_proxies_that_point_at_each_other_do_not_pass_a_cancel_round(proxy):
    first = trusting(proxy, instance_id=1)
    second = trusting(proxy, instance_id=2)
    for p, other in ((first, second), (second, first)):  # 3 is nobody's
        p.write_config(switchgear={"peers": f"3=127.0.0.1:{other.port}"})
        p.admin("RELOAD")
    assert send_cancel(first.port, struct.pack("!I", 3 << 23 | 5) + b"abcd") < 5
    time.sleep(0.3)
    assert first.metric(FORWARDED) == 1 and second.metric(FORWARDED) == 0


def test_a_cancel_for_an_instance_that_nobody_knows_ends(proxy):
    p = trusting(proxy, instance_id=1)
    assert send_cancel(p.port, struct.pack("!I", 9 << 23 | 1) + b"abcd") < 2


def test_a_peer_that_does_not_answer_holds_a_canceller_for_the_timeout_only(proxy):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        p = trusting(proxy, instance_id=1, cancel_wait_timeout="500ms",
                     peers=f"2=127.0.0.1:{deaf.getsockname()[1]}, 3=127.0.0.1:{free_port()}")
        key = struct.pack("!I", 2 << 23 | 5) + b"abcd"
        assert 0.3 < send_cancel(p.port, key) < 3
        assert send_cancel(p.port, struct.pack("!I", 3 << 23 | 5) + b"abcd") < 2  # refused
        p.connect(password="")


# ---- TLS to the server ----

@pytest.fixture
def tls_primary(cluster):
    certificates = tls.certificates_of(cluster)
    primary = cluster.primary

    def show(name):
        primary.set("ssl_cert_file", certificates.cert(name))
        primary.set("ssl_key_file", certificates.key(name))
        primary.set("ssl", "on")
        wait_until(lambda: primary.psql("show ssl") == [("on",)], 5, "TLS at the primary")
        time.sleep(0.2)

    show("proxy")
    yield show, certificates
    for name in ("ssl", "ssl_cert_file", "ssl_key_file"):
        primary.set(name, None)


def server_options(sslmode, certificates):
    """No client certificate: libpq would look for one in a home that is not this user's."""
    return f"sslmode={sslmode} sslrootcert={certificates.ca} sslcert={certificates.ca}.none"


class Tap(threading.Thread):
    """Relays to a server, and keeps the first bytes of every connection."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target, self.firsts = port, []
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            first = bytearray()
            self.firsts.append(first)
            threading.Thread(target=self.pump, args=(client, server, first), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, None), daemon=True).start()

    def pump(self, source, sink, first):
        try:
            while data := source.recv(65536):
                if first is not None and len(first) < 64:
                    first += data
                sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cancels_in_clear(self):
        return sum(bytes(f[4:8]) == struct.pack("!I", CANCEL_REQUEST) for f in self.firsts)


def cancelled(cluster, p):
    """By hand: psycopg2 holds Python's lock while it cancels, and the relay is Python too."""
    with Wire(p.port) as w:
        start_up(w, 0)
        w.send(query("select pg_sleep(3), txid_current()"))
        cluster.wait_running("pg_sleep(3)")
        send_cancel(p.port, w.key)
        return (first_error(w.recv_all()) or {}).get("C")


@pytest.mark.parametrize("sslmode", ["disable", "require", "verify-full"])
def test_a_cancel_uses_tls_where_its_session_does(proxy, tls_primary, cluster, sslmode):
    _, certificates = tls_primary
    tap = Tap(cluster.primary.port)
    p = proxy(**TRUST, nodes={"p1": {"host": "localhost", "port": tap.port,
                                     "options": server_options(sslmode, certificates)}})
    before = len(tap.firsts)
    assert cancelled(cluster, p) == "57014"
    assert tap.cancels_in_clear() == (1 if sslmode == "disable" else 0)
    assert len(tap.firsts) > before and p.metric(MINE) == 1
    tap.listener.close()


@pytest.mark.parametrize("sslmode, shown, ending", [
    ("verify-full", "proxy2", "57014"),        # another good one: the server has a new certificate
    ("verify-full", "expired-proxy", None),    # no longer the server that it was
    ("require", "expired-proxy", "57014"),     # the session did not verify anybody either
])
def test_a_cancel_goes_only_to_the_server_that_the_session_trusts(proxy, tls_primary, sslmode, shown,
                                                                  ending, cluster):
    show, certificates = tls_primary
    p = proxy(nodes={"p1": {"host": "localhost",
                            "options": server_options(sslmode, certificates)}})
    c = p.connect()
    one(c, "select txid_current()")  # there is a connection, from before the change
    show(shown)
    sleeper = Sleeper(c, "select pg_sleep(2), txid_current()")
    cluster.wait_running("pg_sleep(2)")
    c.cancel()
    sleeper.join(10)
    assert sleeper.error == ending
    assert ("cancel_not_sent" in p.log_text()) == (ending is None)
    assert one(c, "select 1") == 1


# ---- floods ----

def test_a_flood_of_cancels_neither_stampedes_the_server_nor_starves_clients(proxy, cluster):
    """A thousand requests for few sessions: one for each of them goes to the server."""
    p = trusting(proxy, {"pool_size": 10}, max_client_conn=20)
    wires = [Wire(p.port) for _ in range(4)]
    for w in wires:
        start_up(w, 0)
        w.send(query("select pg_sleep(30), txid_current()"))
    cluster.wait_running("pg_sleep(30)", len(wires))
    with Load(p, lambda c, i: one(c, "select 1"), clients=3) as load:
        cancellers = []
        for i in range(1000):
            s = socket.create_connection(("127.0.0.1", p.port))
            right = i % 2 == 0
            key = wires[i % 4].key
            s.sendall(cancel_packet(key if right else key[:4] + b"none"))
            cancellers.append(s)
        assert p.connect(password="") is not None  # they do not count for max_client_conn
        for s in cancellers:
            s.settimeout(15)
            assert s.recv(1) == b""
            s.close()
    assert load.errors == [] and load.done > 10 and load.slowest < 2
    for i, w in enumerate(wires):
        if i % 2 == 0:
            assert first_error(w.recv_all())["C"] == "57014"
        w.socket.close()
    assert p.metric(MINE) <= 8  # two, but for clients that vanish with a statement running


def test_cancellers_that_send_nothing_do_not_count_as_clients(proxy):
    p = trusting(proxy, max_client_conn=3)
    silent = [socket.create_connection(("127.0.0.1", p.port)) for _ in range(20)]
    a, b = p.connect(password=""), p.connect(password="")
    assert one(a, "select 1") == one(b, "select 1") == 1
    assert p.connect_admin() is not None
    with pytest.raises(psycopg2.OperationalError, match="max_client_conn"):
        p.connect(password=""), p.connect(password="")
    for s in silent:
        s.close()
