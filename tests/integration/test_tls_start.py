# SPDX-License-Identifier: PostgreSQL
"""How TLS begins: asked for, or at once; with garbage, late, and with many at the same time."""
import socket
import ssl
import struct
import threading
import time

import pytest

import tls
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER
from proxy import one
from tls import TlsWire, client_context, login
from wire import GSS_REQUEST, SSL_REQUEST, Wire, error_fields, message, query, startup, types

SERVER_SIDE = {"user": APP_USER, "password": APP_PASSWORD}


@pytest.mark.core
def test_plain_bytes_behind_an_ssl_request_end_the_connection(trusting):
    for behind in (startup(APP_USER, APP_DATABASE), b"x", query("select 1")):
        with Wire(trusting.port) as w:
            w.send(struct.pack("!II", 8, SSL_REQUEST) + behind)
            assert w.recv_bytes(1) in (None, b"E")
            assert w.closed_within(2)  # sooner than client_login_timeout


def test_tls_after_a_refused_gss_request(trusting, certificates):
    with Wire(trusting.port) as plain:
        plain.send(struct.pack("!II", 8, GSS_REQUEST))
        assert plain.recv_bytes(1) == b"N"
        plain.send(struct.pack("!II", 8, SSL_REQUEST))
        assert plain.recv_bytes(1) == b"S"
        plain.socket = client_context(certificates).wrap_socket(plain.socket,
                                                                server_hostname="localhost")
        assert types(plain.login(APP_USER, APP_DATABASE)).endswith("Z")


@pytest.mark.parametrize("code", [SSL_REQUEST, GSS_REQUEST])
def test_no_encryption_request_inside_tls(trusting, certificates, code):
    for direct in (False, True):
        with TlsWire(trusting.port, client_context(certificates), direct=direct) as w:
            w.send(struct.pack("!II", 8, code))
            assert error_fields(w.recv()[1])["C"] == "0A000"
            assert w.recv() is None


@pytest.mark.core
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_direct_tls_with_the_protocol_named(trusting, certificates, version):
    with TlsWire(trusting.port, client_context(certificates, version), direct=True) as w:
        assert w.socket.selected_alpn_protocol() == "postgresql"
        assert types(w.login(APP_USER, APP_DATABASE)).endswith("Z")
        assert types(w.run(query("select 1"))) == "TDCZ"


def test_direct_tls_without_the_protocol_is_dropped(trusting, certificates):
    with TlsWire(trusting.port, client_context(certificates, alpn=False), direct=True) as w:
        assert w.recv() is None
    other = client_context(certificates, alpn=False)
    other.set_alpn_protocols(["http/1.1", "postgresq", "postgresqlx"])
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        TlsWire(trusting.port, other, direct=True)
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        TlsWire(trusting.port, other)
    login(trusting, certificates, alpn=False).socket.close()  # who asks first need not name it


def test_direct_tls_where_tls_is_off_is_an_error(proxy, certificates):
    p = proxy(switchgear=tls.switchgear(certificates, "disable"))
    with pytest.raises(OSError):
        TlsWire(p.port, client_context(certificates), direct=True)
    assert one(p.connect(), "select 1") == 1


def test_a_client_hello_may_come_byte_by_byte(trusting, certificates):
    for direct in (False, True):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = client_context(certificates).wrap_bio(incoming, outgoing,
                                                     server_hostname="localhost")
        with Wire(trusting.port) as w:
            w.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not direct:
                w.send(struct.pack("!II", 8, SSL_REQUEST))
                assert w.recv_bytes(1) == b"S"
            while True:
                try:
                    peer.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    pass
                for byte in outgoing.read():
                    w.send(bytes([byte]))
                incoming.write(w.socket.recv(65536))
            w.send(outgoing.read())
            peer.write(startup(APP_USER, APP_DATABASE))
            for byte in outgoing.read():
                w.send(bytes([byte]))
            incoming.write(w.socket.recv(65536))
            with pytest.raises(ssl.SSLWantReadError):  # tickets alone, or the first answer
                assert peer.read(1) == b"R"
                raise ssl.SSLWantReadError


def test_garbage_instead_of_a_handshake_ends_only_its_sender(trusting, certificates):
    good = login(trusting, certificates)
    for garbage in (b"\x16\x03\x01\x00\x05hello", b"\x16" * 500, startup(APP_USER, APP_DATABASE),
                    b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x01\xff\xff" + b"x" * 70000):
        for ask in (True, False):
            with Wire(trusting.port) as w:
                if ask:
                    w.send(struct.pack("!II", 8, SSL_REQUEST))
                    assert w.recv_bytes(1) == b"S"
                try:
                    w.send(garbage)
                except ConnectionError:
                    continue
                assert w.closed_within(5)
    assert types(good.run(query("select 1"))) == "TDCZ"
    good.socket.close()


def test_the_login_timeout_covers_the_handshake(trusting, certificates):
    began = time.monotonic()
    with Wire(trusting.port) as silent, Wire(trusting.port) as halting:
        silent.send(struct.pack("!II", 8, SSL_REQUEST))
        halting.send(b"\x16\x03\x01\x02\x00\x01")
        assert silent.recv_bytes(1) == b"S"
        assert silent.closed_within(6) and halting.closed_within(6)
    assert 2 < time.monotonic() - began < 6
    assert login(trusting, certificates) is not None


def test_the_end_is_announced_inside_tls(trusting, certificates):
    w = login(trusting, certificates)
    w.send(message("X"))
    assert w.socket.recv(10) == b""  # an EOF without close_notify would raise SSLEOFError
    w.socket.close()


# ---- handshakes and the others ----

def client_hello(certificates):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = client_context(certificates).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        peer.do_handshake()
    return outgoing.read()


def test_a_flood_of_handshakes_does_not_stall_the_other_clients(proxy, certificates):
    certificates.openssl("req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "30", "-keyout",
                         certificates.key("slow"), "-out", certificates.cert("slow"), "-subj",
                         "/CN=localhost")
    p = proxy(switchgear=tls.switchgear(certificates, "allow", "slow", workers=1),
              database=SERVER_SIDE)
    calm = p.connect()
    hello = client_hello(certificates)
    flood = [socket.create_connection(("127.0.0.1", p.port)) for _ in range(600)]
    for s in flood:
        s.sendall(struct.pack("!II", 8, SSL_REQUEST))
        assert s.recv(1) == b"S"
    answered, waits = 0, []

    def release():
        for s in flood:
            s.sendall(hello)

    releaser = threading.Thread(target=release)
    began = time.monotonic()
    releaser.start()
    while answered < len(flood) and time.monotonic() - began < 60:
        at = time.monotonic()
        assert one(calm, "select 1") == 1
        waits.append(time.monotonic() - at)
        answered = sum(1 for s in flood if peek(s))
    took = time.monotonic() - began
    releaser.join()
    for s in flood:
        s.close()
    assert answered == len(flood)
    # all handshakes together take as long as the flood; a statement waits for a few of them
    assert max(waits) < max(0.15, took / 4), (max(waits), took)
    assert len(waits) > 10


def peek(s):
    try:
        return s.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return False
