# SPDX-License-Identifier: PostgreSQL
"""Few descriptors: clients do not take those that servers, probes and the console need, and no node is blamed."""
import re
import socket

import psycopg2
import pytest

from cluster import wait_until
from proxy import one


@pytest.fixture(name="tight")
def a_proxy_with_few_descriptors(proxy):
    return proxy(database={"pool_size": 10}, wrapper=["/bin/sh", "-c", 'ulimit -n 150; exec "$@"', "sh"])


def test_clients_beyond_are_refused_with_53300_and_the_others_served(tight):
    p = tight
    assert re.search(r"event=descriptors limit=150 needed=\d+ clients=\d+", p.log_text())
    let_in, refused = [], []
    for _ in range(110):
        try:
            let_in.append(p.connect())
        except psycopg2.OperationalError as error:
            refused.append(str(error))
    assert len(let_in) >= 40 and len(refused) >= 10
    assert all("limit of open files" in text for text in refused), refused[:3]
    for c in let_in[::7]:
        assert one(c, "select count(*) from t where id = 1") == 1
    assert p.admin("SHOW VERSION")
    assert {n["breaker"] for n in p.nodes().values()} == {"CLOSED"}
    assert "event=accept_failed" not in p.log_text()
    for c in let_in[:5]:
        c.close()
    wait_until(lambda: p.connect() is not None, what="there is room again")


def test_connections_that_never_say_who_they_are_leave_the_last_ones(tight):
    p = tight
    c = p.connect()
    silent = [socket.create_connection(("127.0.0.1", p.port)) for _ in range(200)]
    assert one(c, "select count(*) from t where id = 1") == 1
    assert p.admin("SHOW VERSION")
    assert {n["breaker"] for n in p.nodes().values()} == {"CLOSED"}
    told = []
    for s in silent[-20:]:
        s.settimeout(5)
        try:
            told.append(s.recv(1000))
        except ConnectionError:
            told.append(b"")
    assert any(b"53300" in text for text in told)
    for s in silent:
        s.close()
    wait_until(lambda: p.connect() is not None, what="they are gone")
