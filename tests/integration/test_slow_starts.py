# SPDX-License-Identifier: PostgreSQL
"""Ten thousand connections that never finish their log-in do not keep anybody else from theirs."""
import errno
import resource
import select
import socket
import time

import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import Load, one
from wire import startup

pytestmark = pytest.mark.one_session

COUNT = 10000
TIMEOUT_S = 4


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < COUNT + 500:
        pytest.skip(f"{hard} descriptors at most: {COUNT} connections cannot be held")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Slow:
    """Connections of three kinds: silent, with half a packet, and with a byte a second."""

    def __init__(self, port):
        self.port = port
        self.packet = startup(APP_USER, APP_DATABASE, application_name="a slow start")
        self.open = {}  # by descriptor: (socket, kind, began)
        self.lasted = []
        self.poll = select.epoll()
        self.dripped, self.drips_at = 0, time.monotonic() + 1

    def connect(self, kind):
        while True:
            try:
                s = socket.create_connection(("127.0.0.1", self.port), timeout=20)
                break
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                time.sleep(0.1)
        s.setblocking(False)
        if kind == 1:
            s.send(self.packet[:len(self.packet) // 2])
        self.open[s.fileno()] = (s, kind, time.monotonic())
        self.poll.register(s, select.EPOLLIN)

    def drip(self):
        """Called often; a byte a second, and never the last one."""
        if time.monotonic() < self.drips_at or self.dripped >= len(self.packet) - 1:
            return
        self.drips_at += 1
        for s, kind, _ in self.open.values():
            if kind == 2:
                try:
                    s.send(self.packet[self.dripped:self.dripped + 1])
                except OSError:
                    pass
        self.dripped += 1

    def reap(self, seconds):
        for fd, _ in self.poll.poll(seconds):
            s, _, began = self.open[fd]
            try:
                if s.recv(4096):
                    continue  # the FATAL that says why
            except BlockingIOError:
                continue
            except ConnectionError:
                pass
            self.lasted.append(time.monotonic() - began)
            del self.open[fd]
            self.poll.unregister(fd)
            s.close()


def test_slow_starts_end_in_time_and_hold_up_nobody(proxy, many_descriptors):
    p = proxy(switchgear={"client_login_timeout": f"{TIMEOUT_S}s", "max_client_conn": 100})
    slow = Slow(p.port)
    with Load(p, lambda c, i: one(c, "select 1"), clients=3) as load:
        for i in range(COUNT):
            slow.connect(i % 3)
            slow.drip()
            if i % 64 == 0:
                slow.reap(0)
            if i % 1000 == 500:  # a log-in among them; they do not count as clients
                c = p.connect()
                assert one(c, "select 7") == 7
                c.close()
        deadline = time.monotonic() + 30
        while slow.open and time.monotonic() < deadline:
            slow.drip()
            slow.reap(0.05)
    assert not slow.open, f"{len(slow.open)} of them are still there"
    # one timer from accept, which no byte resets; what is above it is this machine's load
    assert min(slow.lasted) > TIMEOUT_S - 1.5 and max(slow.lasted) < TIMEOUT_S + 10
    assert load.errors == [] and load.done > 100 and load.slowest < 3
    wait_until(lambda: int({r["list"]: r["items"] for r in p.admin("SHOW LISTS")}["used_clients"]) <= 5,
               10, "all are forgotten")
    assert p.admin("SHOW MEM") is not None and one(p.connect(), "select 1") == 1
