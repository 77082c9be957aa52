# SPDX-License-Identifier: PostgreSQL
"""What a server may say, and when: between any two messages, while it is idle, and as its last words.
The primary is behind a relay that can lie (items 37 and 39 to 41)."""
import struct
import time

import pytest

from cluster import APP_PASSWORD, APP_USER, wait_until
from proxy import Proxy
from relay import LyingRelay
from talk import DATABASE, USER
from wire import Wire, bind, error_fields, execute, message, parse, query, sync, types

MARK = "/*lie*/"
WRITE = f"update w set v = v {MARK}"
READY = message("Z", b"I")
ROW = message("T", struct.pack("!h", 1) + b"x\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
DATA = message("D", struct.pack("!hi", 1, 3) + b"abc")
DONE = message("C", b"SELECT 1\0")
NOTICE = message("N", b"SNOTICE\0VNOTICE\0C00000\0Mby the way\0\0")
STATUS = message("S", b"application_name\0somebody\0")
HEARD = message("A", struct.pack("!I", 4711) + b"chatter\0payload\0")

# What a server does in these tests says nothing about its health.
CALM = {"failures": 1000, "min_calls": 100000, "open_for": "10ms", "open_max": "10ms", "trial_probes": 1,
        "trial_calls": 1, "trial_failures": 1, "min_dwell": "0", "slow_start": "0"}


@pytest.fixture(scope="module")
def lying(world):
    with LyingRelay(world.primary.port) as relay:
        yield relay


@pytest.fixture(scope="module")
def lying_replicas(world):
    with LyingRelay(world.node("r1").port) as r1, LyingRelay(world.node("r2").port) as r2:
        r2.lies = r1.lies  # what is told once is told by one of them
        yield {"r1": r1, "r2": r2}


@pytest.fixture(scope="module")
def behind(world, lying, lying_replicas, binary):
    """behind("session"), behind("transaction"): proxies of one server connection each."""
    started = {}

    def get(mode):
        if mode not in started:
            relays = {world.primary.name: lying, **lying_replicas}
            p = Proxy(world, f"behind_{mode}",
                      nodes={name: {"port": relay.port} for name, relay in relays.items()},
                      switchgear={"auth_type": "trust", "workers": 1}, breaker=CALM,
                      database={"pool_size": 1, "pool_mode": mode, "user": APP_USER,
                                "password": APP_PASSWORD})
            started[mode] = p.start()
        started[mode].wait_ready()
        return started[mode]

    yield get
    for p in started.values():
        p.stop()


@pytest.fixture(params=["session", "transaction"])
def liar(behind, lying, request):
    """A proxy, whose mode it knows; afterwards nobody lies any more."""
    p = behind(request.param)
    p.mode = request.param
    yield p
    lying.lies.clear()


def login(p):
    w = Wire(p.port)
    assert types(w.login(USER, DATABASE))[-1] == "Z"
    return w


def error(severity, code, text="so it is"):
    fields = (f"S{severity}", f"V{severity}", f"C{code}", f"M{text}")
    return message("E", b"".join(f.encode() + b"\0" for f in fields) + b"\0")


def insist_well(p):
    """The next client gets answers to its own questions, and no word more."""
    with login(p) as w:
        for i in range(3):
            assert types(w.run(query("update w set v = v"))) == "CZ"
            answers = w.run(query(f"select {i} where txid_current() > 0"))
            assert types(answers) == "TDCZ" and answers[1][1].endswith(str(i).encode())


# ---- 41: fields of an error may be absent ----

SPARSE = {
    "no_field_at_all": b"\0",
    "a_code_alone": b"C42P01\0\0",
    "a_message_alone": b"Mjust words\0\0",
    "no_code": b"SERROR\0VERROR\0Mwithout a code\0\0",
    "an_unknown_field": b"SERROR\0C42601\0!what is this\0Mwords\0\0",
    "empty_fields": b"S\0V\0C\0M\0\0",
}


@pytest.mark.parametrize("name", SPARSE)
def test_fields_of_an_error_may_be_absent(liar, lying, name):
    wanted = [("E", SPARSE[name]), ("Z", b"I")]
    lying.lie(MARK, message("E", SPARSE[name]) + READY)
    with login(liar) as w:
        assert w.run(query(WRITE)) == wanted
        w.send(parse("", WRITE) + bind("", "") + execute() + sync())
        assert w.recv_all() == wanted
        assert types(w.run(query("select 1"))) == "TDCZ", "the session goes on"
        lying.lie(MARK, message("E", SPARSE[name]) + message("Z", b"E"))
        w.run(query("begin"))
        assert types(w.run(query("update w set v = v"))) == "CZ"
        assert w.run(query(WRITE)) == [wanted[0], ("Z", b"E")]
        lying.lies.clear()
        assert types(w.run(query("rollback"))) == "CZ"
    insist_well(liar)


# ---- 37: notices, parameters and notifications come at any time ----

def test_asynchronous_messages_come_between_any_two(liar, lying):
    others = NOTICE + STATUS + HEARD
    lying.lie(MARK, others.join([b"", ROW, DATA, DATA, DONE, READY]))
    with login(liar) as w:
        assert types(w.run(query(WRITE))) == "NSA" + "T" + "NSA" + "D" + "NSA" + "D" + "NSA" + "C" + "NSA" + "Z"
    lying.lie(MARK, others.join([b"", message("1"), message("2"), ROW, DATA, DONE, READY]))
    with login(liar) as w:
        w.send(parse("", WRITE) + bind("", "") + message("D", b"P\0") + execute() + sync())
        assert types(w.recv_all()) == "NSA".join(["", "1", "2", "T", "D", "C", "Z"])
    lying.lies.clear()
    insist_well(liar)


def test_what_an_idle_server_says_reaches_only_whose_it_is(liar, lying):
    """In session mode a client that keeps its server hears it at once; in transaction mode the server
    is nobody's, and what it says is lost."""
    with login(liar) as w:
        assert types(w.run(query("update w set v = v"))) == "CZ"
        for spoken in (NOTICE, STATUS, HEARD, NOTICE + STATUS + HEARD):
            time.sleep(0.05)  # a question of the proxy's own, what is left, is over by then
            assert lying.say(spoken, APP_USER) > 0
            heard = []
            if liar.mode == "session":
                while sum(len(body) + 5 for _, body in heard) < len(spoken):
                    heard.append(w.recv())
                assert b"".join(message(kind, body) for kind, body in heard) == spoken
            time.sleep(0.05)
            assert types(w.run(query("update w set v = v"))) == "CZ"
    insist_well(liar)


# ---- 39: FATAL ----

FATALS = ("57P01", "57P02", "57P03", "57P05", "25P03", "40001")


@pytest.mark.parametrize("code", FATALS)
def test_a_fatal_to_an_idle_server_is_nobodys_or_its_clients(liar, lying, code):
    """Where the server was nobody's it is replaced, and nobody notices."""
    with login(liar) as w:
        assert types(w.run(query("update w set v = v"))) == "CZ"
        assert lying.say(error("FATAL", code), APP_USER, and_close=True) > 0
        if liar.mode == "session":
            kind, body = w.recv()
            assert (kind, error_fields(body)["S"], error_fields(body)["C"]) == ("E", "FATAL", code)
            assert w.closed_within(5)
        else:
            for _ in range(3):
                assert types(w.run(query("update w set v = v"))) == "CZ"
    insist_well(liar)


def test_a_server_that_has_said_its_last_word_serves_nobody_any_more(behind, lying):
    """Its end need not have come yet."""
    p = behind("transaction")
    with login(p) as w:
        who = query("select pg_backend_pid() where txid_current() > 0")
        before = w.run(who)[1]
        assert lying.say(error("FATAL", "57P01"), APP_USER) > 0
        wait_until(lambda: not [row for row in p.admin("SHOW SERVERS") if row["state"] != "closing" and
                                row["node"] == p.cluster.primary.name], 5, "it was closed")
        after = w.run(who)[1]
        assert before[0] == after[0] == "D" and before != after
    insist_well(p)


@pytest.mark.parametrize("code", FATALS)
def test_a_fatal_to_a_write_is_forwarded_and_the_write_is_not_sent_again(liar, lying, code):
    told = lying.told
    lying.lie(MARK, error("FATAL", code), "close")
    with login(liar) as w:
        answers = w.run(query(WRITE))
        assert types(answers) == "E" and w.closed_within(5)
        fields = error_fields(answers[0][1])
        assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", code, "so it is")
    assert lying.told == told + 1
    lying.lies.clear()
    insist_well(liar)


@pytest.mark.parametrize("code", FATALS)
def test_a_fatal_in_an_idle_transaction_is_forwarded(liar, lying, code):
    with login(liar) as w:
        w.run(query("begin"))
        assert types(w.run(query("update w set v = v"))) == "CZ"
        assert lying.say(error("FATAL", code), APP_USER, and_close=True) > 0
        answers = w.recv_all()
        assert types(answers) == "E" and w.closed_within(5)
        assert (error_fields(answers[0][1])["C"]) == code
    insist_well(liar)


@pytest.mark.parametrize("code", FATALS)
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_fatal_to_a_read_is_not_forwarded_but_the_read_sent_elsewhere(behind, lying_replicas, code,
                                                                         protocol):
    p = behind("transaction")
    read = f"select 'seen' from fixed where id = 1 {MARK}"
    lying_replicas["r1"].lie(MARK, error("FATAL", code), "close", times=1)
    told = sum(relay.told for relay in lying_replicas.values())
    with login(p) as w:
        if protocol == "simple":
            answers = w.run(query(read))
            assert types(answers) == "TDCZ", answers
        else:
            answers = w.run(parse("", read) + bind("", "") + execute() + sync())
            assert types(answers) == "12DCZ", answers
        assert answers[-3][1].endswith(b"seen")
    assert sum(relay.told for relay in lying_replicas.values()) == told + 1
    lying_replicas["r1"].lies.clear()
    insist_well(p)


# ---- 40: a server that dies between two messages ----

@pytest.mark.parametrize("spoken", [ROW, ROW + DATA, ROW + DATA + DONE], ids=["T", "TD", "TDC"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_dies_between_messages_is_a_fatal_with_the_reason(liar, lying, spoken, how):
    lying.lie(MARK, spoken, how)
    told = lying.told
    with login(liar) as w:
        answers = w.run(query(WRITE))
        assert types(answers[-1:]) == "E", answers
        fields = error_fields(answers[-1][1])
        assert fields["S"] == "FATAL" and fields["C"][:2] in ("08", "57") and fields["M"]
        assert w.closed_within(5)
    assert lying.told == told + 1
    lying.lies.clear()
    insist_well(liar)


# ---- 44: an idle server that closes is noticed by the loop ----

def connections(p, node):
    return sum(int(row["connections"]) for row in p.admin("SHOW POOLS")
               if row["database"] == DATABASE and row["node"] == node)


def test_a_server_that_closes_while_idle_is_noticed_before_anybody_asks(world, behind, lying):
    p = behind("transaction")
    insist_well(p)
    assert connections(p, world.primary.name) == 1
    assert lying.say(b"", APP_USER, and_close=True) > 0
    wait_until(lambda: connections(p, world.primary.name) == 0, 5, "the loop has noticed")
    insist_well(p)
