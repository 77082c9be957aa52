# SPDX-License-Identifier: PostgreSQL
"""A server that sends nonsense costs the one client that it answered, and itself: its connection is
never used again, and nobody else notices."""
import struct

import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import Proxy, one, rows_of
from relay import LyingRelay
from wire import Wire, message, query, types

pytestmark = pytest.mark.one_session

MARK = "/*lie*/"
ROW = message("T", struct.pack("!h", 1) + b"x\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
DONE = message("C", b"SELECT 0\0")
READY = message("Z", b"I")

LIES = {
    "an_unknown_type": message("!", b"what"),
    "a_length_of_three": b"D\0\0\0\3",
    "a_negative_length": b"D\xff\xff\xff\xff",
    "an_endless_error": b"E\x7f\xff\xff\xff" + b"x" * 100000,
    "a_ready_of_no_known_status": ROW + DONE + message("Z", b"X"),
    "a_ready_without_a_status": message("Z"),
    "a_ready_of_two_bytes": message("Z", b"II"),
    "an_authentication_request": message("R", struct.pack("!i", 3)),
    "a_second_sasl_exchange": message("R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"),
    "a_parse_complete_to_a_query": message("1") + READY,
    "a_bind_complete_to_a_query": message("2") + READY,
    "a_portal_suspended_to_a_query": message("s") + READY,
    "a_negotiation": message("v", struct.pack("!ii", 0, 0)),
    "a_client_s_message": message("Q", b"drop table t\0"),
    "an_error_without_an_end": message("E", b"SERROR\0C42"),
    "an_error_of_garbage": message("E", bytes(range(256))),
    "a_parameter_without_an_end": message("S", b"TimeZone\0UTC"),
    "random_bytes": bytes((i * 167 + 13) % 251 for i in range(70000)),
    "html": b"HTTP/1.1 400 Bad Request\r\n\r\n<html></html>",
    "nothing_at_all": b"",
}


# Nonsense opens the breaker at once, as it should: let it close as quickly.
QUICK = {"open_for": "10ms", "open_max": "10ms", "trial_probes": 1, "trial_calls": 1, "trial_failures": 1,
         "min_dwell": "0", "slow_start": "0"}


@pytest.fixture(scope="module")
def lying(cluster):
    with LyingRelay(cluster.primary.port) as relay:
        yield relay


@pytest.fixture(scope="module")
def deceived(cluster, lying, binary):
    p = Proxy(cluster, "deceived", nodes={cluster.primary.name: {"port": lying.port}},
              switchgear={"auth_type": "trust", "query_wait_timeout": "10s"},
              breaker=QUICK,
              database={"pool_size": 4, "user": APP_USER, "password": APP_PASSWORD})
    yield p.start()
    p.stop()


def answer_of(p, *parts):
    """What a raw client gets until ReadyForQuery or the end of its connection."""
    with Wire(p.port, timeout=10) as w:
        w.login(APP_USER, APP_DATABASE)
        return w.run(*parts)


@pytest.mark.parametrize("name", LIES)
def test_nonsense_ends_the_server_and_reaches_nobody_else(lying, deceived, name):
    deceived.wait_ready()
    lying.lie(MARK, LIES[name], "relay" if LIES[name] else "close")
    bystander = deceived.connect()
    rows_of(bystander, "update t set v = v where id = 1")
    told = lying.told
    got = answer_of(deceived, query(f"update t set v = v where id = 2 {MARK}"))
    assert lying.told == told + 1
    assert set(types(got)) <= set("TCDESN1Z"), got
    lying.lies.clear()
    deceived.wait_ready()
    # whoever comes next gets answers to his own questions, on every connection of the pool
    rows_of(bystander, "update t set v = v where id = 1")
    others = [deceived.connect() for _ in range(4)]
    for number, c in enumerate(others):
        c.autocommit = False
        assert one(c, f"select {number} where txid_current() > 0") == number
    for c in others + [bystander]:
        c.close()
    wait_until(lambda: all(int(r["sv_active"]) == 0 for r in deceived.admin("SHOW POOLS")), 10,
               "no connection is left in use")


@pytest.mark.invariant
@pytest.mark.parametrize("late", [message("D", struct.pack("!hi", 1, 3) + b"abc"), READY,
                                  message("1"), b"\0" * 40])
def test_what_a_server_says_behind_its_ready_reaches_no_other_client(lying, deceived, late):
    deceived.wait_ready()
    lying.lie(MARK, DONE + READY + late)
    got = answer_of(deceived, query(f"update t set v = v where id = 2 {MARK}"))
    assert types(got)[-1] in "ZE", got
    lying.lies.clear()
    deceived.wait_ready()
    for _ in range(6):
        got = answer_of(deceived, query("update t set v = v where id = 3"))
        assert types(got) == "CZ", got


def test_a_row_cut_in_the_middle_closes_its_client_without_a_word(lying, deceived):
    deceived.wait_ready()
    cut = b"D\0\0\1\0\0\1\0\0\0\xf0abc"
    lying.lie(MARK, ROW + cut, "reset")
    with Wire(deceived.port) as w:
        w.login(APP_USER, APP_DATABASE)
        assert types(w.run(query(f"update t set v = v where id = 2 returning v {MARK}"))) == "T"
        assert w.buffer in (b"", cut[5:]), "an error message would be taken for the rest of the row"
    lying.lies.clear()
    deceived.wait_ready()
    assert one(deceived.connect(), "select 1") == 1
