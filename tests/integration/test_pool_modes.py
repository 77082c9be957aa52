# SPDX-License-Identifier: PostgreSQL
"""pool_mode: session, transaction and statement."""
import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of
from wire import Wire, bind, error_fields, execute, first_error, parse, query, sync, types

OWNER = {"user": "app", "password": "app-secret"}
PID = "select pg_backend_pid() from txid_current()"


def start(proxy, mode, **database):
    return proxy(switchgear={"auth_type": "trust", "workers": 1},
                 database={**OWNER, "pool_mode": mode, **database})


def wire(p):
    w = Wire(p.port)
    assert types(w.login("app", APP_DATABASE))[-1] == "Z"
    return w


# ---- session ----

@pytest.mark.core
def test_session_mode_keeps_the_backend_until_the_client_leaves(proxy):
    p = start(proxy, "session", pool_size=1)
    a = p.connect()
    pid = one(a, PID)
    rows_of(a, "set work_mem = '77kB'")
    rows_of(a, "create temp table mine (v int)")
    rows_of(a, "begin")
    rows_of(a, "commit")
    rows_of(a, "discard all")
    rows_of(a, "set work_mem = '78kB'")
    assert one(a, PID) == pid
    assert one(a, "show work_mem") == "78kB"
    a.close()
    b = p.connect()
    assert one(b, PID) == pid, "the next client has it"
    assert one(b, "show work_mem") == "4MB", "reset"
    assert one(b, "select count(*) from pg_class where relname = 'mine'") == 0


def test_session_mode_makes_the_next_client_wait(proxy):
    p = proxy(switchgear={"query_wait_timeout": "400ms"},
              database={"pool_mode": "session", "pool_size": 1})
    a = p.connect()
    one(a, "select 1")
    with pytest.raises(psycopg2.Error) as caught:
        one(p.connect(), "select 1")
    assert caught.value.pgcode == "53300"
    assert one(a, "select 1") == 1


def test_session_mode_forgets_prepared_statements_of_the_last_client(proxy):
    p = start(proxy, "session", pool_size=1)
    a = p.connect()
    rows_of(a, "prepare mine as select 1")
    a.close()
    with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
        rows_of(p.connect(), "execute mine")


# ---- transaction ----

def test_transaction_mode_gives_the_backend_back_after_each_transaction(proxy):
    p = start(proxy, "transaction", pool_size=1)
    a, b = p.connect(), p.connect()
    for _ in range(3):
        for c in (a, b):
            rows_of(c, "begin")
            rows_of(c, "update t set v = v + 1 where id = 90")
            rows_of(c, "commit")


# ---- statement ----

@pytest.mark.core
def test_statement_mode_refuses_a_block(proxy):
    p = start(proxy, "statement")
    c = p.connect()
    for text in ("begin", "start transaction read only", "begin; select 1; commit",
                 "select 1; begin"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="statement pooling mode"):
            rows_of(c, text)
    assert one(c, "select 1") == 1, "the session goes on"
    rows_of(c, "update t set v = v + 1 where id = 91")


def test_statement_mode_refuses_a_block_in_the_extended_protocol(proxy):
    p = start(proxy, "statement")
    w = wire(p)
    got = w.run(parse("", "begin"), bind("", ""), execute(), sync())
    assert first_error(got)["C"] == "0A000" and types(got)[-1] == "Z" and got[-1][1] == b"I"
    got = w.run(parse("b", "begin"), sync())
    assert first_error(got)["C"] == "0A000"
    got = w.run(parse("", "select 1"), bind("", ""), execute(), sync())
    assert types(got) == "12DCZ"


def test_statement_mode_refuses_what_comes_between_other_statements_in_order(proxy):
    p = start(proxy, "statement")
    w = wire(p)
    w.send(query("select 1"), query("begin"), query("select 2"))
    assert types(w.recv_all()) == "TDCZ"
    error, ready = w.recv_all()
    assert error_fields(error[1])["C"] == "0A000" and ready == ("Z", b"I")
    assert types(w.recv_all()) == "TDCZ"


SYNTAX, NO_BLOCK = "42601", "25P01"


def both(first, second):
    """One batch."""
    return b"".join(parse("", text) + bind("", "") + execute() for text in (first, second)) + sync()


@pytest.mark.parametrize("sent, code", [
    (query("selec 1"), SYNTAX),
    (query("select 1; selec 2"), SYNTAX),
    (parse("", "selec 1") + bind("", "") + execute() + sync(), SYNTAX),
    (both("select 1", "selec 2"), SYNTAX),
    (both("selec 1", "select 2"), SYNTAX),
    (both("insert into log (note) values ('judged')", "insert into log"), SYNTAX),
    (both("select 1", "select 2 -- " + "x" * 300000), None),
    (both("select 1", "select 2 + " + "(" * 2001 + "1" + ")" * 2001), None),
    (query("select 1; savepoint a"), NO_BLOCK),
    (both("select 1", "savepoint a"), NO_BLOCK),
    (query("select 1; commit; select 2"), None),
    (both("select 1", "commit"), None),
    (query("selec 1; begin"), SYNTAX),
], ids=lambda value: "" if isinstance(value, bytes) else str(value))
def test_statement_mode_leaves_to_the_server_what_begins_no_block(proxy, sent, code):
    """Not read, or not about blocks: PostgreSQL says what is wrong with it, or nothing is."""
    p = start(proxy, "statement")
    with wire(p) as w, wire(p) as other:
        got = w.run(sent)
        error = first_error(got)
        assert (error and error["C"]) == code, error
        assert got[-1] == ("Z", b"I")
        assert types(w.run(query("select 3"))) == "TDCZ"
        assert types(other.run(query("select 4"))) == "TDCZ"


@pytest.mark.parametrize("sent", [both("select 1", "begin"), both("begin", "select 1"),
                                  query("select 1; begin"), query("commit; start transaction"),
                                  both("select 1", "begin read only")])
def test_statement_mode_refuses_a_block_among_others(proxy, sent):
    with wire(start(proxy, "statement")) as w:
        error = first_error(w.run(sent))
        assert (error["S"], error["C"]) == ("ERROR", "0A000")
        assert types(w.run(query("select 3"))) == "TDCZ"


def test_statement_mode_shares_one_backend_among_clients(proxy):
    p = start(proxy, "statement", pool_size=1)
    a, b = p.connect(), p.connect()
    assert len({one(c, PID) for c in (a, b, a, b)}) == 1


def test_several_statements_in_one_string_are_one_implicit_transaction(proxy):
    p = start(proxy, "statement")
    c = p.connect()
    with pytest.raises(psycopg2.errors.DivisionByZero):
        rows_of(c, "insert into log (note) values ('implicit'); select 1/0")
    assert one(c, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'implicit'") == 0
    rows_of(c, "insert into log (note) values ('implicit'); select 1")
    assert one(c, "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'implicit'") == 1


def test_a_block_that_nobody_could_read_ends_its_session(cluster, proxy):
    """A text of several megabytes is streamed unread: the server says that a block is open."""
    p = start(proxy, "statement")
    w = wire(p)
    w.send(query("begin; insert into log (note) values ('unread'); select 1 -- " + "x" * 3_000_000))
    messages = w.recv_all(until="")
    error = first_error(messages)
    assert (error["S"], error["C"]) == ("FATAL", "0A000")
    wait_until(lambda: all(b[1] == "idle" for b in cluster.primary.backends()), 5, "rolled back")
    assert one(p.connect(), "/* switchgear: route=primary */ "
               "select count(*) from log where note = 'unread'") == 0


def test_a_driver_without_autocommit_is_told_why(proxy):
    p = start(proxy, "statement")
    c = p.connect(autocommit=False)
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="statement pooling mode"):
        rows_of(c, "select 1")
