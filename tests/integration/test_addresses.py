# SPDX-License-Identifier: PostgreSQL
"""What stands for a node (a service, a name, a virtual address) leads elsewhere after a while, or nowhere."""
import contextlib
import os
import time

import psycopg2
import pytest

from cluster import APP_USER, wait_until
from proxy import Proxy, rows_of
from relay import LyingRelay

WRITE = "insert into log (note) values ('address') returning 'written'"


class Shut(LyingRelay):
    """Lets no new connection of applications through, while what was made stays."""

    shut = False

    def pass_on(self, near, far):
        known = near in self.clients
        if not super().pass_on(near, far):
            return False
        packet = self.clients.get(near, b"")
        return known or not self.shut or b"user\0" + APP_USER.encode() + b"\0" not in packet


@contextlib.contextmanager
def standby_of(node):
    """It starts as a standby of nobody here; later starts are as ever."""
    path = os.path.join(node.data, "standby.signal")
    with open(path, "w", encoding="utf-8"):
        pass
    yield
    os.unlink(path)


def test_writes_are_back_when_one_address_leads_to_another_primary(cluster, proxy, monkeypatch):
    """The old one is a standby before the address moves, and connections stay where they led."""
    old, new = cluster.primary, cluster.replicas[0]
    sections = Proxy.sections
    monkeypatch.setattr(Proxy, "sections", lambda p: {k: v for k, v in sections(p).items()
                                                      if not k.startswith("node r")})
    with LyingRelay(old.port) as address:
        p = proxy(nodes={"p1": {"port": address.port}}, database={"write_wait": "5s"})
        client = p.connect()
        assert rows_of(client, WRITE) == [("written",)]
        old.stop("fast")
        new.promote()
        with standby_of(old):
            old.start()
        wait_until(lambda: p.nodes()["p1"]["role"] == "replica", 10, "the old one is a standby")
        address.target_port = new.port
        began = time.monotonic()
        assert rows_of(client, WRITE) == [("written",)]
        assert time.monotonic() - began < 2
        assert rows_of(p.connect(), WRITE) == [("written",)]


def test_connections_follow_an_address_that_leads_to_another_replica(cluster, proxy):
    """Both are replicas, and the former one lives on: nobody would look after what it shows."""
    first, second = cluster.replicas
    with LyingRelay(first.port) as address:
        p = proxy(nodes={"r1": {"port": address.port}})
        p.admin("DRAIN r2")
        clients = [p.connect() for _ in range(4)]
        for c in clients:
            assert on_replica(c) == str(first.port)
        held = p.connect(autocommit=False)
        rows_of(held, "set transaction read only")
        assert on_replica(held) == str(first.port)
        address.target_port = second.port
        assert address.say(b"", "prober", and_close=True) > 0
        for c in clients:
            wait_until(lambda c=c: on_replica(c) == str(second.port), 10, "what is pooled is opened anew")
        assert on_replica(held) == str(first.port), "a block goes on where it is"
        held.rollback()
        wait_until(lambda: not backends_of(first), 10, "nobody is left there")
        assert "event=server_changed node=r1" in p.log_text()


def on_replica(connection):
    return rows_of(connection, "/* switchgear: route=replica */ select current_setting('port') from t where id = 1")[0][0]


def backends_of(node):
    return node.psql(f"select pid from pg_stat_activity where usename = '{APP_USER}'")


@pytest.mark.parametrize("in_use", [False, True])
def test_a_primary_that_no_connection_reaches_lets_writes_wait_for_write_wait(cluster, proxy, in_use):
    """The probe's own connection stands. Where one of the pool does too, it is waited for longer."""
    with Shut(cluster.primary.port) as relay:
        p = proxy(nodes={"p1": {"port": relay.port}},
                  switchgear={"query_wait_timeout": "6s"}, database={"write_wait": "1s"})
        holder, client = p.connect(autocommit=False), p.connect()
        if in_use:
            rows_of(holder, WRITE)
        relay.shut = True
        p.admin("RECONNECT")
        began = time.monotonic()
        with pytest.raises(psycopg2.Error) as raised:
            rows_of(client, WRITE)
        waited = time.monotonic() - began
        if in_use:
            assert raised.value.pgcode == "53300" and waited > 5
        else:
            assert raised.value.pgcode == "57P03" and waited < 3, (raised.value, waited)
            assert "The last attempt to open one failed" in raised.value.pgerror
        relay.shut = False
        holder.rollback()
        wait_until(lambda: rows_of(p.connect(), WRITE) == [("written",)], 10, "it is reached again")
