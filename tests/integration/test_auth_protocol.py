# SPDX-License-Identifier: PostgreSQL
"""Log-in byte by byte: SCRAM bound to TLS, what strangers can see, and many wrong passwords."""
import hashlib
import os
import ssl
import struct
import threading

import psycopg2
import pytest

import scram
import tls
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import Load, is_sanitized, one, rows_of
from wire import SSL_REQUEST, Wire, first_error, message, startup, types

pytestmark = pytest.mark.one_session

WRONG_PASSWORDS = int(os.environ.get("WRONG_PASSWORDS", "1000"))
SERVER_SIDE = {"user": APP_USER, "password": APP_PASSWORD}


class TlsWire(Wire):
    """A Wire over TLS; self.binding is what tls-server-end-point says of the connection."""

    def __init__(self, port, timeout=10):
        super().__init__(port, timeout)
        self.socket.sendall(struct.pack("!II", 8, SSL_REQUEST))
        assert self.socket.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
        self.binding = hashlib.sha256(self.socket.getpeercert(binary_form=True)).digest()


@pytest.fixture
def tls_proxy(proxy, certificates):
    return proxy(switchgear=tls.switchgear(certificates, "allow"))


def try_scram(port, password=APP_PASSWORD, wire=TlsWire, user=APP_USER, binding=None, **how):
    """("RRZ...", error fields or None, the wire)"""
    with wire(port) as w:
        w.send(startup(user, APP_DATABASE))
        if binding is None and how.get("header") == scram.BOUND:
            binding = w.binding
        answers = scram.log_in(w, password, binding=binding or b"", **how)
        return types(answers), first_error(answers), w


# ---- the messages ----

def in_pieces(w, data, size=1000):
    for at in range(0, len(data), size):
        w.send(data[at:at + size])


def insist_refused(wire, port, user, data, code):
    with wire(port) as w:
        w.send(startup(user, APP_DATABASE))
        assert w.recv()[0] == "R"
        in_pieces(w, data)
        error = first_error(w.recv_all())
        assert (error["S"], error["C"]) == ("FATAL", code)
        assert w.closed_within(5)


def test_a_password_message_may_have_64_kib_and_come_in_pieces(proxy, certificates):
    methods = {"clear": "password", "hashed": "md5", "salted": "scram-sha-256"}
    users = {user: "s" * 900 for user in methods}
    p = proxy(switchgear={**tls.switchgear(certificates, "allow"), "auth_type": "hba",
                          "auth_hba_file": "hba.conf"}, users=users, database=SERVER_SIDE,
              files={"hba.conf": "".join(f"host all {u} all {m}\n" for u, m in methods.items())})
    most = 64 * 1024 - 10
    for wire in (Wire, TlsWire):
        with wire(p.port) as w:
            w.send(startup("clear", APP_DATABASE))
            assert w.recv()[0] == "R"
            in_pieces(w, message("p", users["clear"].encode() + b"\0"), 7)
            assert types(w.recv_all())[-1] == "Z"
        for user in ("clear", "hashed"):
            insist_refused(wire, p.port, user, message("p", b"x" * most + b"\0"), "28P01")
            too_long = b"p" + struct.pack("!I", most + 20) + b"x" * 100
            insist_refused(wire, p.port, user, too_long, "08P01")
        first = b"n,,n=,r=" + b"x" * (most - 40)  # a nonce of that length is none
        insist_refused(wire, p.port, "salted",
                       message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first),
                       "08P01")
    assert one(p.connect(user="salted", password=users["salted"]), "select 1") == 1


def test_a_newer_version_is_negotiated_once_and_before_the_password(proxy):
    p = proxy()
    with Wire(p.port) as w:
        packet = startup(APP_USER, APP_DATABASE, **{"_pq_.unheard_of": "1"})
        w.send(packet[:4] + struct.pack("!I", 196608 + 7) + packet[8:])
        kind, body = w.recv()
        assert (kind, body) == ("v", struct.pack("!II", 196608 + 2, 1) + b"_pq_.unheard_of\0")
        answers = scram.log_in(w, APP_PASSWORD)
        assert "v" not in types(answers) and types(answers)[-1] == "Z"


# ---- channel binding ----

def test_a_client_may_bind_itself_to_the_tls_connection(tls_proxy):
    kinds, error, w = try_scram(tls_proxy.port, mechanism=scram.PLUS, header=scram.BOUND)
    assert error is None and kinds.startswith("RR") and kinds.endswith("KZ")
    assert w.mechanisms == [scram.PLUS, scram.PLAIN]


def test_only_plain_scram_is_offered_without_tls(tls_proxy):
    kinds, error, w = try_scram(tls_proxy.port, wire=Wire)
    assert error is None and kinds.endswith("Z")
    assert w.mechanisms == [scram.PLAIN]
    _, error, _ = try_scram(tls_proxy.port, wire=Wire, mechanism=scram.PLUS, header=scram.BOUND,
                            binding=b"x" * 32)
    assert error["C"] == "08P01"


def test_a_client_need_not_bind_itself(tls_proxy):
    kinds, error, _ = try_scram(tls_proxy.port)
    assert error is None and kinds.endswith("Z")


@pytest.mark.parametrize("how, sqlstate, says", [
    ({"mechanism": scram.PLUS, "header": scram.BOUND, "binding": b"\xc5" * 32}, "28000",
     "channel binding check failed"),
    ({"mechanism": scram.PLUS, "header": scram.BOUND, "binding": b""}, "28000",
     "channel binding check failed"),
    ({"header": "y,,"}, "28000", "channel binding negotiation"),  # PLUS was offered: taken away
    ({"mechanism": scram.PLUS, "header": "n,,"}, "08P01", "malformed"),
    ({"header": scram.BOUND}, "08P01", "malformed"),
    ({"mechanism": scram.PLUS, "header": "p=tls-unique,,"}, "08P01",
     "unsupported SCRAM channel-binding type"),
])
def test_whoever_sits_in_between_is_found_out(tls_proxy, how, sqlstate, says):
    kinds, error, _ = try_scram(tls_proxy.port, **how)
    assert kinds == "E" and error["C"] == sqlstate and says in error["M"], error


def test_y_is_right_where_there_is_no_tls(tls_proxy):
    kinds, error, _ = try_scram(tls_proxy.port, wire=Wire, header="y,,")
    assert error is None and kinds.endswith("Z")


@pytest.mark.core
def test_libpq_binds_itself(tls_proxy, certificates):
    secure = tls.libpq_parameters(certificates)
    assert one(tls_proxy.connect(channel_binding="require", **secure), "select 1") == 1
    with pytest.raises(psycopg2.OperationalError):
        tls_proxy.connect(channel_binding="require", password="wrong", **secure)


# ---- what strangers can see ----

def test_the_server_proves_itself_too(gear):
    with Wire(gear.port) as w:
        w.send(startup(APP_USER, APP_DATABASE))
        answers = scram.log_in(w, APP_PASSWORD)
        assert answers[0] == ("R", struct.pack("!I", 12) + w.expected.encode())


def greeting(p, user):
    """(salt, iterations) of a user, known or not."""
    with Wire(p.port) as w:
        w.send(startup(user, APP_DATABASE))
        answers = scram.log_in(w, "wrong")
        assert first_error(answers)["C"] == "28P01"
        found = scram.attributes(w.server_first)
        return found["s"], found["i"], types(answers), first_error(answers)["M"].replace(user, "")


def test_a_stranger_is_greeted_like_a_user_by_every_worker_and_after_a_reload(proxy):
    p = proxy(switchgear={"workers": 2}, users={"stored": scram.secret("x", os.urandom(16))})
    users = [APP_USER, "stored", "stranger", "stranger2"]
    before = {user: greeting(p, user) for user in users}
    assert len({(len(salt), *rest) for salt, *rest in before.values()}) == 1
    assert len({salt for salt, *_ in before.values()}) == 4
    p.write_config(users={"further": "y"})
    p.admin("RELOAD")
    wait_until(lambda: can_log_in(p, "further", "y"), what="the new file counts")
    for _ in range(6):  # both workers
        assert {user: greeting(p, user) for user in users} == before


def can_log_in(p, user, password):
    try_it = {"user": user, "password": password, "dbname": "switchgear"}
    try:
        p.connect(**try_it)
    except psycopg2.OperationalError as error:
        return "may not use the admin console" in str(error)
    return True


def test_md5_asks_strangers_like_users(proxy):
    p = proxy(switchgear={"auth_type": "md5"}, database=SERVER_SIDE)
    said = []
    for user in (APP_USER, "stranger"):
        with Wire(p.port) as w:
            w.send(startup(user, APP_DATABASE))
            kind, body = w.recv()
            w.send(b"p\0\0\0\x28md5" + b"0" * 32 + b"\0")
            said.append((kind, body[:4], len(body), first_error(w.recv_all())["C"]))
    assert said[0] == said[1] == ("R", struct.pack("!I", 5), 8, "28P01")


# ---- many ----

def test_many_wrong_passwords_leave_nothing_behind_and_disturb_nobody(proxy):
    """WRONG_PASSWORDS=10000 in the environment for more of them."""
    p = proxy(sections={"database *": {"shards": "main"}})
    wrong = threading.Semaphore(0)
    errors = []

    def attack(index):
        for i in range(WRONG_PASSWORDS // 4):
            user = APP_USER if i % 2 else f"stranger{index}-{i}"
            try:
                with Wire(p.port) as w:
                    w.send(startup(user, APP_DATABASE if i % 3 else f"nowhere{i}"))
                    error = first_error(scram.log_in(w, "wrong"))
                    if error["C"] != "28P01":
                        errors.append(error)
            except (OSError, AssertionError) as problem:
                errors.append(problem)
            wrong.release()

    memory = resident_kb(p)
    threads = [threading.Thread(target=attack, args=(i,)) for i in range(4)]
    with Load(p, lambda c, _: rows_of(c, "select 1"), clients=3) as load:
        for t in threads:
            t.start()
        for t in threads:
            t.join(110)
    assert not errors, errors[:5]
    assert not load.errors and load.done > 0 and load.slowest < 5
    assert p.metric("switchgear_logins_failed_total", reason="password") == WRONG_PASSWORDS // 4 * 4
    assert {row["database"] for row in p.admin("SHOW POOLS")} <= {APP_DATABASE, "switchgear",
                                                                 "pgbouncer"}
    wait_until(lambda: p.metric("switchgear_clients", database=APP_DATABASE) <= 3,
               what="all of them are gone")
    assert descriptors(p) < 60
    if not is_sanitized():
        assert resident_kb(p) - memory < 20000


def resident_kb(p):
    with open(f"/proc/{p.process.pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def descriptors(p):
    return len(os.listdir(f"/proc/{p.process.pid}/fd"))
