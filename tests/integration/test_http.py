# SPDX-License-Identifier: PostgreSQL
"""The HTTP endpoint: metrics, health, readiness."""
import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import time

import pytest

from cluster import wait_until
from proxy import one, rows_of


@pytest.mark.core
def test_metrics_parse_and_carry_the_routing_counters(gear):
    before = gear.metric("switchgear_routes_total", target="replica")
    c = gear.connect()
    for _ in range(5):
        one(c, "select 1")
    rows_of(c, "update t set v = v + 1 where id = 90")
    samples = gear.metrics()
    assert all(name.startswith(("switchgear_", "process_")) for name, _, _ in samples)
    wait_until(lambda: gear.metric("switchgear_routes_total", target="replica") == before + 5, 5,
               "five reads on replicas were counted")


def test_no_metric_is_given_twice(gear):
    keys = [(name, tuple(sorted(labels.items()))) for name, labels, _ in gear.metrics()]
    assert len(keys) == len(set(keys))


def test_promtool_has_nothing_to_say(gear):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([promtool, "check", "metrics"], input=gear.http("/metrics")[2], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_openmetrics_ends_with_eof(gear):
    status, kind, text = gear.http("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert status == 200 and text.endswith("# EOF\n")
    assert "text" in kind


@pytest.mark.core
def test_health_is_healthy_and_degrades_when_a_replica_dies(cluster, proxy):
    p = proxy()
    assert p.http_json("/health") == (200, {**p.http_json("/health")[1], "status": "healthy"})
    cluster.replicas[0].kill9()
    p.wait_breaker("r1", "OPEN", 10, drive=False)
    wait_until(lambda: p.http_json("/health")[1]["status"] == "degraded", 5, "degraded")
    assert p.http("/health")[0] == 200


def test_detailed_health_names_every_node(gear):
    status, body = gear.http_json("/health/detailed")
    assert status == 200
    text = str(body)
    assert all(name in text for name in ("p1", "r1", "r2", "CLOSED"))


def test_ready_follows_the_primary(cluster, proxy):
    p = proxy()
    assert p.http("/ready")[0] == 200
    cluster.primary.stop("immediate")
    wait_until(lambda: p.http("/ready")[0] == 503, 10, "not ready without a primary")
    cluster.primary.start()
    wait_until(lambda: p.http("/ready")[0] == 200, 40, "ready again")


def test_unknown_paths_are_404_and_the_endpoint_lives(gear):
    assert gear.http("/nothing/here")[0] == 404
    assert gear.http("/health")[0] == 200


def test_no_password_is_published(gear):
    for path in ("/metrics", "/health", "/health/detailed", "/ready"):
        assert "secret" not in gear.http(path)[2]
    assert "-secret" not in str(gear.admin("SHOW CONFIG"))
    assert "-secret" not in gear.log_text()


def test_pinned_clients_are_counted_wherever_they_are_shown(proxy):
    p = proxy(switchgear={"workers": 2})

    def shown():
        lists = {row["list"]: int(row["items"]) for row in p.admin("SHOW LISTS")}
        return (p.metric("switchgear_clients_pinned"), lists["pinned_clients"],
                p.http_json("/health/detailed")[1]["clients_pinned"])

    assert shown() == (0, 0, 0)
    clients = [p.connect() for _ in range(4)]
    rows_of(clients[0], "listen news")
    rows_of(clients[1], "create temp table mine (i int)")
    rows_of(clients[2], "select pg_advisory_lock(77001)")
    assert shown() == (3, 3, 3)
    rows_of(clients[0], "prepare q as select 1")  # a second reason is no second client
    rows_of(clients[3], "select 1")
    assert shown() == (3, 3, 3)
    rows_of(clients[0], "deallocate q")
    rows_of(clients[0], "unlisten *")
    rows_of(clients[0], "discard all")
    wait_until(lambda: shown() == (2, 2, 2), 5, "one is free again")
    for c in clients:
        c.close()
    wait_until(lambda: shown() == (0, 0, 0), 5, "whoever leaves is pinned no more")


def test_statements_are_counted_as_they_are_routed(proxy):
    p = proxy()
    c = p.connect()
    for _ in range(5):
        one(c, "select 1")
    rows_of(c, "update t set v = v + 1 where id = 92; select 1")
    rows_of(c, "begin")
    rows_of(c, "update t set v = v + 1 where id = 93")
    rows_of(c, "commit")

    def counted():
        routed = sum(value for name, _, value in p.metrics() if name == "switchgear_routes_total")
        return p.metric("switchgear_statements_total"), routed

    wait_until(lambda: counted()[0] == counted()[1] > 7, 5, "all that was routed is counted")


# ---- who holds a connection, and who asks by which name ----


def half(p, data=b"GET /ready HTTP/1.1\r\nHost: x\r\n"):
    s = socket.create_connection(("127.0.0.1", p.http_port))
    s.sendall(data)
    return s


def is_closed(s):
    s.settimeout(0.05)
    try:
        return s.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def kept_going(s):
    """One more byte of it. False: it has been ended."""
    try:
        s.sendall(b"X: y\r\n")
    except OSError:
        return False
    return not is_closed(s)


@pytest.mark.parametrize("count", (64, 300))
def test_half_requests_keep_nobody_out(proxy, count):
    p = proxy()
    held = []
    for _ in range(count):
        held.append(half(p))
        if len(held) % 30 == 0:
            assert p.http("/ready")[0] == 200
    for path in ("/ready", "/health", "/metrics", "/"):
        assert p.http(path)[0] == 200
    for s in held:
        s.close()


def test_who_drips_is_ended_by_its_deadline(proxy):
    p = proxy()
    held = [half(p), half(p, b""), half(p, b"G")]
    began = time.monotonic()
    wait_until(lambda: not any([kept_going(s) for s in held]), 12, "each of them is closed")
    assert time.monotonic() - began > 3
    assert p.http("/ready")[0] == 200


def test_who_does_not_read_its_answer_is_ended(proxy):
    """Many answers, so that no buffer on the way takes them all."""
    p = proxy()
    page, count = len(p.http("/metrics")[2]), 2000
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", p.http_port))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        began, got = time.monotonic(), 0
        while time.monotonic() - began < 12:
            s.settimeout(0.1)
            with contextlib.suppress(OSError):
                got += len(s.recv(16))
            assert p.http("/ready")[0] == 200
        s.settimeout(5)
        with contextlib.suppress(ConnectionError):
            while some := s.recv(1 << 20):
                got += len(some)
    assert got < page * count / 2


def test_a_kept_connection_may_ask_again_and_again(proxy):
    p = proxy()
    c = http.client.HTTPConnection("127.0.0.1", p.http_port)
    c.connect()
    local = c.sock.getsockname()
    for _ in range(7):  # longer than one request may take
        c.request("GET", "/health")
        answer = c.getresponse()
        assert answer.status == 200 and answer.read()
        time.sleep(1)
    assert c.sock.getsockname() == local
    c.close()


HOSTS = {  # with http_listen on loopback
    "evil.example": 421, "evil.example:9188": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421,
    "a" * 300 + ".example": 421, "db.example.org": 200, "DB.example.org:9188": 200, "other.example.org": 421,
    "localhost": 200, "127.0.0.1:9188": 200, "[::1]:9188": 200, "switchgear": 200, "app.localhost": 200, None: 200,
}


def status_for(p, path, host):
    with socket.create_connection(("127.0.0.1", p.http_port), timeout=5) as s:
        version, line = ("1.0", "") if host is None else ("1.1", f"Host: {host}\r\n")
        s.sendall(f"GET {path} HTTP/{version}\r\n{line}Connection: close\r\n\r\n".encode())
        return int(re.match(rb"HTTP/1.. (\d+)", s.recv(65536))[1])


def test_a_host_that_is_none_of_ours_is_told_nothing(proxy):
    p = proxy(switchgear={"http_hosts": "db.example.org, db2.example.org"})
    for path in ("/metrics", "/health/detailed", "/", "/nothing"):
        for host, status in HOSTS.items():
            wanted = 404 if path == "/nothing" and status == 200 else status
            assert status_for(p, path, host) == wanted, (path, host)
    for path in ("/health", "/ready"):
        assert status_for(p, path, "evil.example") == 200
