# SPDX-License-Identifier: PostgreSQL
"""Clients that do not take their results hold no connection for long, and no memory without a bound."""
import re

import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import is_sanitized, one
from wire import Wire, first_error, query

BIG = "select repeat('x', 10000) from generate_series(1, {0})"  # ten kilobytes a row


def ask(p, rows):
    w = Wire(p.port)
    w.login(APP_USER, APP_DATABASE)
    w.send(query(BIG.format(rows)))
    return w


def active(p):
    return sum(int(row["sv_active"]) for row in p.admin("SHOW POOLS"))


@pytest.fixture(name="small")
def a_small_pool(proxy):
    return proxy(switchgear={"auth_type": "trust", "workers": 1, "client_write_timeout": "1s"},
                 database={"pool_size": 2})


def test_a_result_that_fits_the_spool_holds_no_connection(small):
    """Though nobody reads it: eight of them, on a pool of two on each node."""
    waiting = [ask(small, 60) for _ in range(8)]
    wait_until(lambda: active(small) == 0, what="no connection waits for them")
    assert one(small.connect(), "select count(*) from t where id = 1") == 1
    for w in waiting:  # and they have all of it, and go on
        assert sum(kind == "D" for kind, _ in w.recv_all()) == 60
        assert first_error(w.run(query("select 1"))) is None
        w.socket.close()
    assert "client_timeout" not in small.log_text()


def test_who_takes_nothing_of_a_longer_one_is_ended_and_its_connection_free(small):
    waiting = [ask(small, 1000) for _ in range(6)]
    assert one(small.connect(), "select count(*) from t where id = 1") == 1
    ended = r"event=client_timeout client=\d+ reason=.*client_write_timeout"
    wait_until(lambda: len(re.findall(ended, small.log_text())) == 6, 20, "all of them are ended")
    wait_until(lambda: active(small) == 0, what="their connections are free")
    assert small.metric("switchgear_timeouts_total", kind="client_write") == 6
    for w in waiting:
        w.socket.close()


def test_who_reads_slowly_is_let_alone(small):
    w = ask(small, 500)
    got = 0
    for _ in range(12):  # more than client_write_timeout, less than it at a time
        w.socket.settimeout(5)
        got += len(w.socket.recv(1 << 18))
        one(small.connect(), "select count(*) from t, pg_sleep(0.15) where id = 1")
    assert got > 0 and "client_write_timeout" not in small.log_text()
    w.socket.close()


def test_what_is_kept_for_all_is_bounded(proxy, cluster):
    p = proxy(switchgear={"auth_type": "trust", "workers": 1, "client_write_timeout": "0", "client_spool": "16MB"},
              database={"pool_size": 20})

    def resident_kb():
        with open(f"/proc/{p.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    before = resident_kb()
    waiting = [ask(p, 4000) for _ in range(20)]
    wait_until(lambda: active(p) >= 10, what="they wait for their clients")
    assert one(p.connect(), "select 1 from pg_sleep(0.5)") == 1
    grown = resident_kb() - before
    for w in waiting:
        w.socket.close()
    assert is_sanitized() or grown < 200 * 1024  # a sanitizer keeps what is freed for a while


def test_a_block_that_is_not_read_keeps_its_connection(small):
    w = Wire(small.port)
    w.login(APP_USER, APP_DATABASE)
    w.run(query("begin; update t set v = v where id = 1"))
    w.send(query(BIG.format(20)))
    wait_until(lambda: active(small) == 1, what="it is the block's")
    assert sum(kind == "D" for kind, _ in w.recv_all()) == 20
    assert first_error(w.run(query("commit"))) is None
    w.socket.close()
