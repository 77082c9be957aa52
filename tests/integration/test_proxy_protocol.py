# SPDX-License-Identifier: PostgreSQL
"""The PROXY protocol: a load balancer that is trusted says whose connection it brings."""
import os
import pwd
import socket
import ssl
import struct
import time

import pytest

import tls
from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import one
from test_cancel_keys import TRUST, cancel_packet, start_up
from wire import SSL_REQUEST, Wire, first_error, query, startup, types

pytestmark = pytest.mark.one_session

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BALANCER = "127.0.0.2"  # it connects from here; everybody else comes from 127.0.0.1


def header(command=1, family=0x11, body=b""):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def tcp4(source="10.1.2.3", port=40001, tlvs=b""):
    return header(1, 0x11, socket.inet_aton(source) + socket.inet_aton("10.9.9.9") +
                  struct.pack("!HH", port, 6432) + tlvs)


def tcp6(source="fd00::77", port=40002):
    return header(1, 0x21, socket.inet_pton(socket.AF_INET6, source) + bytes(16) +
                  struct.pack("!HH", port, 6432))


def unix():
    return header(1, 0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0"))


class Balanced(Wire):
    """A connection from the load balancer."""

    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout,
                                               source_address=(BALANCER, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.key = b"", None


@pytest.fixture
def balanced(proxy):
    return lambda **more: proxy(
        switchgear={**TRUST["switchgear"], "proxy_protocol": "v2",
                    "proxy_protocol_from": f"{BALANCER}, 192.0.2.0/24", **more},
        database=TRUST["database"])


def clients(p):
    return {(row["addr"], str(row["port"])) for row in p.admin("SHOW CLIENTS")
            if row["database"] == APP_DATABASE}


@pytest.mark.parametrize("head, seen", [
    (tcp4(), ("10.1.2.3", "40001")),
    (tcp4(tlvs=b"\x04\0\x03abc\xea\0\0"), ("10.1.2.3", "40001")),
    (tcp6(), ("fd00::77", "40002")),
    (header(0, 0), None),          # LOCAL: the load balancer's own
    (header(1, 0), None),          # unspecified
    (unix(), None),                # another machine's Unix socket
], ids=["tcp4", "tlvs", "tcp6", "local", "unspecified", "unix"])
def test_the_address_in_the_header_is_the_clients(balanced, head, seen):
    p = balanced()
    with Balanced(p.port) as w:
        w.send(head)
        start_up(w, 0)
        here = w.socket.getsockname()
        assert (seen or (BALANCER, str(here[1]))) in clients(p)
        assert types(w.run(query("select 1"))) == "TDCZ"
    assert one(p.connect(password=""), "select 1") == 1  # who is no load balancer has no header


def test_a_header_may_come_byte_by_byte_or_with_all_that_follows(balanced):
    p = balanced()
    packet = startup(APP_USER, APP_DATABASE)
    with Balanced(p.port) as w:
        for byte in tcp4() + packet:
            w.send(bytes([byte]))
        assert "Z" in types(w.recv_all())
    with Balanced(p.port) as w:
        w.send(tcp4(tlvs=b"\x04\x0f\xa0" + bytes(4000)) + packet + query("select 1"))
        assert types(w.recv_all())[-1] == "Z" and types(w.recv_all()) == "TDCZ"


def test_a_header_comes_before_tls(cluster, balanced):
    certificates = tls.certificates_of(cluster)
    p = balanced(**tls.switchgear(certificates))
    with Balanced(p.port) as w:
        w.send(tcp4() + struct.pack("!II", 8, SSL_REQUEST))
        assert w.recv_bytes(1) == b"S"
        context = ssl.create_default_context(cafile=certificates.ca)
        w.socket = context.wrap_socket(w.socket, server_hostname="localhost")
        start_up(w, 0)
        assert ("10.1.2.3", "40001") in clients(p)


@pytest.mark.parametrize("bytes_sent", [
    startup(APP_USER, APP_DATABASE),
    b"GET / HTTP/1.1\r\n\r\n",
    b"PROXY TCP4 10.1.2.3 10.9.9.9 40001 6432\r\n",
    header(2, 0x11, bytes(12)),
    header(1, 0x11, bytes(11)),
    tcp4(tlvs=b"\x03\0\x04\0\0\0\0"),  # a wrong checksum
    b"\x16\x03\x01\x02\0\x01",         # TLS at once
], ids=["none", "http", "version 1", "command", "short", "checksum", "tls"])
def test_a_connection_without_a_good_header_is_closed_and_logged(balanced, bytes_sent):
    p = balanced()
    with Balanced(p.port) as w:
        w.send(bytes_sent)
        assert w.closed_within(5)
    wait_until(lambda: "proxy_header_refused" in p.log_text(), 5, "it is logged")
    assert f"address={BALANCER}" in p.log_text()


def test_nobody_else_may_say_where_he_comes_from(balanced):
    p = balanced()
    with Wire(p.port) as w:
        w.send(tcp4())
        assert w.recv() is None  # to whoever is not asked for it a header is a bad length


def test_a_header_that_never_ends_is_waited_for_as_long_as_a_log_in(balanced):
    p = balanced(client_login_timeout="1s")
    with Balanced(p.port) as w, Balanced(p.port) as silent:
        w.send(tcp4()[:20])
        began = time.monotonic()
        assert w.closed_within(5) and silent.closed_within(5)
        assert time.monotonic() - began < 4
    assert one(p.connect(password=""), "select 1") == 1


@pytest.mark.parametrize("head", [b"", tcp4()], ids=["without", "with"])
def test_a_cancel_needs_no_header(cluster, balanced, head):
    """Peers pass cancels on by themselves."""
    p = balanced()
    with Wire(p.port) as victim:
        start_up(victim, 0)
        victim.send(query("select pg_sleep(20)"))
        cluster.wait_running("pg_sleep(20)")
        with Balanced(p.port) as w:
            w.send(head + cancel_packet(victim.key))
            assert w.recv() is None
        assert first_error(victim.recv_all())["C"] == "57014"


@pytest.mark.parametrize("head, end", [(header(0, 0), "Z"), (header(1, 0), "E"), (unix(), "E")],
                         ids=["local", "unspecified", "unix"])
def test_the_system_user_of_a_balancer_is_none_of_its_clients(hba, head, end):
    p = hba("local all all peer\nhost all all all trust\n", database=TRUST["database"],
            unix_socket=True, switchgear={"proxy_protocol": "v2", "proxy_protocol_from": "unix"})
    with Wire(p.port) as w:
        w.socket.close()
        w.socket = socket.socket(socket.AF_UNIX)
        w.socket.settimeout(10)
        w.socket.connect(f"{p.sockets}/.s.PGSQL.{p.port}")
        w.send(head + startup(pwd.getpwuid(os.getuid()).pw_name, APP_DATABASE))
        assert types(w.recv_all()).endswith(end)


def test_it_is_off_unless_it_is_wanted(gear):
    with Wire(gear.port) as w:
        w.send(tcp4())
        assert w.recv() is None  # to whoever is not asked for it a header is a bad length
