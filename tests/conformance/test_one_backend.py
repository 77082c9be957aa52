# SPDX-License-Identifier: PostgreSQL
"""Several clients on a single server connection: who holds it, when it is let go, and what the next
one finds on it (items 18, 22 to 24, 31, 35)."""
import threading

import pytest

from cluster import APP_PASSWORD, APP_USER, wait_until
from proxy import Proxy
from talk import DATABASE, USER
from wire import Wire, bind, describe, error_fields, execute, message, parse, query, sync, types

H = message("H")
LISTEN = parse("", "listen chatter") + bind("", "") + execute()


@pytest.fixture(scope="module")
def lone(world, binary):
    p = Proxy(world, "lone", switchgear={"auth_type": "trust", "workers": 1},
              database={"pool_size": 1, "user": APP_USER, "password": APP_PASSWORD,
                        "consistency": "primary"})
    yield p.start()
    p.stop()


def login(p):
    w = Wire(p.port)
    assert types(w.login(USER, DATABASE))[-1] == "Z"
    return w


def values(messages):
    return [body[6:].decode() for kind, body in messages if kind == "D"]


def error_of(messages):
    return [error_fields(body) for kind, body in messages if kind == "E"]


# ---- 22: several Syncs are outstanding; only the last one's I lets the connection go ----

def flight(who, n):
    """Ten batches of all sorts, and the values that must come back."""
    parts, wanted = [], []
    for i in range(10):
        value = f"{who}-{n}-{i}"
        kind = (n + i) % 4
        if kind == 0:
            parts.append(query(f"select '{value}'"))
        elif kind == 1:
            parts.append(parse("", f"select '{value}'") + bind("", "") + execute() + sync())
        elif kind == 2:  # an error, and what is skipped behind it
            parts.append(parse("", "select 1/0") + bind("", "") + execute() +
                         parse("", f"select 'skipped {value}'") + bind("", "") + execute() + sync())
            continue
        else:  # a transaction over three of its own
            parts.append(query("begin") + parse("", f"select '{value}'") + bind("", "") + execute() +
                         sync() + query("commit"))
        wanted.append(value)
    return b"".join(parts), wanted


def readies(data):
    return data.count(b"S\0\0\0\4") + data.count(b"Q\0\0\0")


def test_a_connection_is_let_go_at_the_last_of_several_readies(lone):
    """A client that had it at an earlier one would read what belongs to the next."""
    problems, rounds = [], 25

    def pipeline(who):
        try:
            with login(lone) as w:
                for n in range(rounds):
                    data, wanted = flight(who, n)
                    w.send(data)
                    got = []
                    for _ in range(readies(data)):
                        got += w.recv_all()
                    if values(got) != wanted or types(got).count("Z") != readies(data):
                        problems.append((who, n, values(got), wanted))
                        return
        except Exception as problem:  # a thread's own do not fail the test
            problems.append((who, problem))

    threads = [threading.Thread(target=pipeline, args=(f"client{i}",)) for i in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert problems == []


def test_a_block_that_opens_in_the_last_batch_of_a_flight_keeps_the_connection(lone):
    with login(lone) as a, login(lone) as b:
        a.send(query("select 1") + query("begin") + query("select 2"))
        a.recv_all(), a.recv_all()
        assert a.recv_all()[-1] == ("Z", b"T")
        b.send(query("select 'b'"))
        assert types(a.run(query("select 3"))) == "TDCZ"
        b.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            b.recv()
        b.socket.settimeout(10)
        assert types(a.run(query("rollback"))) == "CZ"
        assert values(b.recv_all()) == ["b"]


def test_a_batch_without_its_sync_keeps_the_connection(lone):
    """Item 25 and 22: the server is in an implicit transaction, though it has said nothing yet."""
    with login(lone) as a, login(lone) as b:
        a.send(parse("", "select 'a'"), bind("", ""), execute(), H)
        assert types(a.recv_all("C")) == "12DC"
        b.send(query("select 'b'"))
        b.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            b.recv()
        b.socket.settimeout(10)
        assert types(a.run(sync())) == "Z"
        assert values(b.recv_all()) == ["b"]


# ---- 18: what a Query destroys, its neighbour cannot bring back ----

def test_the_unnamed_statement_of_another_client_is_not_ones_own(lone):
    with login(lone) as a, login(lone) as b:
        assert types(a.run(parse("", "select 'a'"), sync())) == "1Z"
        assert types(b.run(parse("", "select 'b'"), sync())) == "1Z"
        assert values(a.run(bind("", ""), execute(), sync())) == ["a"]
        assert values(b.run(bind("", ""), execute(), sync())) == ["b"]
        assert types(a.run(query("select 1"))) == "TDCZ"
        assert types(b.run(parse("", "select 'b'"), sync())) == "1Z"
        assert error_of(a.run(bind("", ""), execute(), sync()))[0]["C"] == "26000"


# ---- 31: a Parse of our own may fail ----

@pytest.fixture
def forgetful(lone):
    """Server connections that know no statement: those there were are closed."""
    def forget():
        lone.admin("RECONNECT")
        wait_until(lambda: all(int(r["connections"]) == 0 for r in lone.admin("SHOW POOLS")), 5,
                   "the pools are empty")
    return forget


def make(w, *sql):
    for text in sql:
        assert "E" not in types(w.run(query(text)))


def test_an_injected_parse_that_fails_is_the_clients_bind_that_fails(lone, forgetful):
    with login(lone) as a, login(lone) as b:
        make(b, "drop table if exists gone", "create table gone (id int)", "insert into gone values (7)")
        assert types(a.run(parse("st", "select id from gone"), sync())) == "1Z"
        assert values(a.run(bind("", "st"), execute(), sync())) == ["7"]
        make(b, "drop table gone")
        forgetful()
        for _ in range(2):  # it fails again, and is asked for again
            answers = a.run(bind("", "st"), execute(), sync())
            assert types(answers) == "EZ" and error_of(answers)[0]["C"] == "42P01"
        # what went before it in the batch is answered, what comes behind is skipped
        answers = a.run(parse("", "select 'before'") + bind("", "") + execute() + bind("", "st") +
                        execute() + parse("late", "select 1") + sync())
        assert types(answers) == "12DCEZ" and values(answers) == ["before"]
        assert error_of(a.run(bind("", "late"), sync()))[0]["C"] == "26000"
        # a pipeline goes on behind its Sync
        a.send(bind("", "st") + execute() + sync() + query("select 'next'"))
        assert types(a.recv_all()) == "EZ" and values(a.recv_all()) == ["next"]
        make(b, "create table gone (id int)", "insert into gone values (8)")
        assert values(a.run(bind("", "st"), execute(), sync())) == ["8"]
        make(b, "drop table gone")


def test_an_injected_parse_that_fails_fails_its_transaction(lone, forgetful):
    with login(lone) as a, login(lone) as b:
        make(b, "drop table if exists gone", "create table gone (id int)")
        assert types(a.run(parse("st", "select id from gone"), sync())) == "1Z"
        make(b, "drop table gone", "truncate w")
        forgetful()
        make(a, "begin", "insert into w values (1, 1)")
        answers = a.run(bind("", "st"), execute(), sync())
        assert types(answers) == "EZ" and answers[-1] == ("Z", b"E")
        answers = a.run(query("commit"))
        assert answers[0] == ("C", b"ROLLBACK\0")
        assert values(a.run(query("select count(*) from w"))) == ["0"]


# ---- 24: errors of our own ----

def no_pin(a):
    """The batch, its SQLSTATE, and what may go before it."""
    del a
    return LISTEN, "53300", "insert into w values (1, 1)"


def no_sequence(a):
    """Behind an INSERT of the same batch or block it would be allowed: that may call nextval."""
    make(a, "create sequence if not exists own_seq", "select nextval('own_seq')")
    return (parse("", "select currval('own_seq')") + bind("", "") + execute(), "55000",
            "select 1")


@pytest.fixture(scope="module")
def unpinnable(world, binary):
    """There is not a single pin to be had."""
    p = Proxy(world, "unpinnable", switchgear={"auth_type": "trust", "workers": 1},
              database={"pool_size": 2, "pin_limit": "1%", "user": APP_USER,
                        "password": APP_PASSWORD, "consistency": "primary"})
    yield p.start()
    p.stop()


@pytest.mark.parametrize("why", [no_pin, no_sequence], ids=lambda f: f.__name__)
def test_an_error_of_our_own_looks_like_the_servers(unpinnable, why):
    with login(unpinnable) as a:
        refused, code, sql = why(a)
        before = parse("", sql) + bind("", "") + execute()
        count = "1" if "insert" in sql else "0"
        make(a, "truncate w")
        # in a batch: what went before is undone, what comes behind is skipped, one ReadyForQuery
        answers = a.run(before + refused + parse("late", "select 1") + bind("", "late") + execute() +
                        sync())
        assert types(answers).endswith("EZ") and "D" not in types(answers)
        assert error_of(answers)[0]["C"] == code and error_of(answers)[0]["S"] == "ERROR"
        assert answers[-1] == ("Z", b"I")
        assert error_of(a.run(bind("", "late"), sync()))[0]["C"] == "26000"
        assert values(a.run(query("select count(*) from w"))) == ["0"], "our Sync committed nothing"
        # in a transaction: the server is in E as well, and COMMIT is a ROLLBACK
        make(a, "begin", sql)
        answers = a.run(refused + sync())
        assert (types(answers)[-2:], answers[-1][1]) == ("EZ", b"E")
        assert error_of(a.run(query("select 1")))[0]["C"] == "25P02"
        assert a.run(query("commit"))[0] == ("C", b"ROLLBACK\0")
        assert values(a.run(query("select count(*) from w"))) == ["0"]
        # in a pipeline: the batches around it are their own
        a.send(before + sync() + refused + sync() + query("select count(*) from w"))
        assert types(a.recv_all())[-2:] == "CZ"
        assert types(a.recv_all())[-2:] == "EZ"
        assert values(a.recv_all()) == [count]
        # with Flush: the error comes at once, the ReadyForQuery at the Sync
        a.send(refused + H)
        assert error_of(a.recv_all("E"))[0]["C"] == code
        assert types(a.run(query("select 'skipped'"), sync())) == "Z"
        assert values(a.run(query("select 'well'"))) == ["well"]


def test_the_value_of_another_clients_nextval_is_never_ones_own(lone):
    """However currval is asked for: alone, in a string, in a batch, in a block that has not written."""
    with login(lone) as a, login(lone) as b:
        make(a, "create sequence if not exists own_seq", "select nextval('own_seq')")
        make(b, "select nextval('own_seq')")
        asked = parse("", "select currval('own_seq')") + bind("", "") + execute()
        for words in (query("select currval('own_seq')"), query("select 1; select currval('own_seq')"),
                      query("select lastval(); select nextval('own_seq')"), asked + sync(),
                      parse("", "select 1") + bind("", "") + execute() + asked + sync(),
                      query("begin; select currval('own_seq')")):
            answers = a.run(words)
            assert [e["C"] for e in error_of(answers)] == ["55000"], answers
            if answers[-1][1] != b"I":
                make(a, "rollback")
        # a block that has written may be asked; since currval is, connections are left without a value
        make(b, "select nextval('own_seq')")
        for before in ("insert into w values (1, 1)", "select id from w for update"):
            make(a, "truncate w", "begin", before)
            answers = a.run(query("select currval('own_seq')"))
            assert [e["C"] for e in error_of(answers)] == ["55000"], answers
            make(a, "rollback")
            make(b, "insert into w values (nextval('own_seq'), 1)")
        own = values(a.run(query("select nextval('own_seq'); select currval('own_seq')")))
        assert own[0] == own[1]
        a.send(parse("", "select nextval('own_seq')") + bind("", "") + execute() + asked + sync())
        own = values(a.recv_all())
        assert own[0] == own[1]


# ---- 35: a COPY that the server has failed ----

def test_late_data_of_a_failed_copy_pins_no_connection(lone):
    """Its client has not said that it is done; the connection serves others all the same."""
    with login(lone) as a, login(lone) as b:
        make(a, "truncate w")
        a.send(query("copy w (id, v) from stdin"))
        assert a.recv()[0] == "G"
        a.send(message("d", b"1\tnot a number\n"), message("d", b"x" * 100000))
        assert types(a.recv_all()) == "EZ"
        for i in range(3):
            assert values(b.run(query(f"select {i}"))) == [str(i)]
            a.send(message("d", b"2\t2\n") * 100)
        a.send(message("c"))
        assert values(b.run(query("select count(*) from w"))) == ["0"]
        assert values(a.run(query("select 'a'"))) == ["a"]


def test_late_data_of_a_failed_extended_copy_pins_no_connection(lone):
    with login(lone) as a, login(lone) as b:
        a.send(parse("", "copy w (id, v) from stdin") + bind("", "") + execute() + H)
        assert types(a.recv_all("G")) == "12G"
        a.send(message("d", b"1\tnot a number\n"), message("d", b"x" * 100000))
        assert types(a.recv_all("E")) == "E"
        a.send(message("d", b"2\t2\n") * 100, message("c"), sync())
        assert types(a.recv_all()) == "Z"
        assert values(b.run(query("select 'b'"))) == ["b"]
        assert values(a.run(query("select 'a'"))) == ["a"]


# ---- 31: who keeps a description has to learn that it is no longer true ----

def test_a_stale_plan_is_told_to_whom_no_description_comes(lone):
    with login(lone) as w:
        assert "E" not in types(w.run(query("drop table if exists retyped; create table retyped (a int); "
                                            "insert into retyped values (65)")))
        assert types(w.run(parse("st", "select * from retyped"), describe("S", "st"), sync())) == "1tTZ"
        run = bind("", "st") + execute() + sync()
        assert values(w.run(run)) == ["65"]
        w.run(query("alter table retyped alter column a type text"))
        for _ in range(2):
            assert error_of(w.run(run))[0]["C"] == "0A000"
        assert types(w.run(parse("again", "select * from retyped"), sync())) == "1Z"
        assert values(w.run(bind("", "again") + execute() + sync())) == ["65"]
        w.run(query("drop table retyped"))


def test_a_kept_description_is_refused_by_a_connection_that_parses_the_text_now(lone, forgetful):
    with login(lone) as w, login(lone) as other:
        make(other, "drop table if exists retyped", "create table retyped (a int)",
             "insert into retyped values (65)")
        run = bind("", "st") + execute() + sync()
        assert types(w.run(parse("st", "select * from retyped"), describe("S", "st"), sync())) == "1tTZ"
        forgetful()
        assert values(w.run(run)) == ["65"]  # it still holds there
        make(other, "alter table retyped alter column a type text")
        forgetful()
        for _ in range(2):
            error = error_of(w.run(run))[0]
            assert (error["C"], error["R"]) == ("0A000", "RevalidateCachedQuery")
        # another client's plan is not the one that was described either
        assert types(other.run(parse("new", "select * from retyped"), describe("S", "new"), sync())) == "1tTZ"
        assert values(other.run(bind("", "new") + execute() + sync())) == ["65"]
        assert error_of(w.run(run))[0]["C"] == "0A000"
        # and it fails a block, before anything behind it runs
        w.run(query("begin"))
        assert types(w.run(run))[-1] == "Z" and error_of(w.run(query("select 1")))[0]["C"] == "25P02"
        w.run(query("rollback"))
        assert types(w.run(parse("st2", "select * from retyped"), describe("S", "st2"), sync())) == "1tTZ"
        assert values(w.run(bind("", "st2") + execute() + sync())) == ["65"]
        make(other, "drop table retyped")


@pytest.mark.invariant
def test_a_write_whose_parameters_are_of_another_type_now_is_not_done(lone, forgetful):
    with login(lone) as w, login(lone) as other:
        make(other, "drop table if exists retyped", "create table retyped (a int)")
        text = "insert into retyped values ($1)"
        assert types(w.run(parse("st", text), describe("S", "st"), sync())) == "1tnZ"
        make(other, "alter table retyped alter column a type text")
        forgetful()
        answers = w.run(bind("", "st", ("65",)) + execute() + sync())
        assert error_of(answers)[0]["C"] == "0A000"
        assert values(other.run(query("select count(*) from retyped"))) == ["0"]
        make(other, "drop table retyped")
