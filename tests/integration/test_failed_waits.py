# SPDX-License-Identifier: PostgreSQL
"""A wait for a connection that ends in an error fails what waited, and not its session."""
import struct
import threading

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import one, rows_of
from wire import CANCEL_REQUEST, Wire, bind, error_fields, execute, parse, query, sync, types

TRUST = {"auth_type": "trust"}
POOL = {"pool_size": 1, "user": "app", "password": "app-secret"}


def states(replies):
    """Of each message what matters here: a SQLSTATE, a tag, a status."""
    return [error_fields(body)["C"] if kind == "E" else
            body.rstrip(b"\0").decode() if kind in "CZ" else kind for kind, body in replies]


def waiting(p):
    return sum(int(row["cl_waiting"]) for row in p.admin("SHOW POOLS") if row["node"] == "p1")


def cancel(p, w):
    with Wire(p.port) as canceller:
        canceller.send(struct.pack("!II", 16, CANCEL_REQUEST) + w.key)
        assert canceller.recv() is None


@pytest.fixture
def full(proxy):
    """A proxy whose only connection to the primary is taken, a client beside, and the taker."""
    p = proxy(switchgear=TRUST, database=POOL)
    holder = p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 70")
    w = Wire(p.port)
    assert types(w.login(APP_USER, APP_DATABASE))[-1] == "Z"
    yield p, w, holder
    w.socket.close()


@pytest.mark.core
def test_a_client_that_is_cancelled_before_its_first_statement_is_in_a_failed_block(full):
    p, w, holder = full
    assert states(w.run(query("begin"))) == ["BEGIN", "T"]
    w.send(query("insert into log (note) values ('cancelled')"))
    wait_until(lambda: waiting(p) == 1, 5, "it waits")
    cancel(p, w)
    assert states(w.recv_all()) == ["57014", "E"]
    assert states(w.run(query("insert into log (note) values ('cancelled')"))) == ["25P02", "E"]
    assert states(w.run(parse("", "select 1"), bind("", ""), execute(), sync())) == ["25P02", "E"]
    assert states(w.run(query("commit"))) == ["ROLLBACK", "I"]
    rows_of(holder, "commit")
    assert states(w.run(query("insert into log (note) values ('after')"))) == ["INSERT 0 1", "I"]
    count = "/* switchgear: route=primary */ select count(*) from log where note = 'cancelled'"
    assert one(holder, count) == 0


def test_a_failed_block_is_ended_in_the_extended_protocol_too(full):
    p, w, _ = full
    assert states(w.run(query("begin"))) == ["BEGIN", "T"]
    w.send(parse("", "insert into log (note) values ('cancelled')"), bind("", ""), execute(), sync())
    wait_until(lambda: waiting(p) == 1, 5, "it waits")
    cancel(p, w)
    assert states(w.recv_all()) == ["57014", "E"]
    assert states(w.run(parse("", "rollback"), bind("", ""), execute(), sync())) == [
        "1", "2", "ROLLBACK", "I"]


def test_query_wait_timeout_in_a_block_fails_the_block(proxy):
    """PgBouncer ends the client; here a driver sees what it sees of any failed statement."""
    p = proxy(switchgear={"query_wait_timeout": "400ms"}, database={"pool_size": 1})
    holder, waiter = p.connect(), p.connect()
    rows_of(holder, "begin")
    rows_of(holder, "update t set v = v + 1 where id = 71")
    waiter.autocommit = False
    with waiter.cursor() as cursor:
        with pytest.raises(psycopg2.Error) as caught:
            cursor.execute("update t set v = v + 1 where id = 71")
        assert caught.value.pgcode == "53300"
        with pytest.raises(psycopg2.Error) as caught:
            cursor.execute("select 1")
        assert caught.value.pgcode == "25P02"
    waiter.rollback()
    rows_of(holder, "commit")
    with waiter.cursor() as cursor:
        cursor.execute("update t set v = v + 1 where id = 71")
    waiter.commit()


@pytest.mark.parametrize("in_block", [False, True])
def test_what_is_too_long_to_be_kept_is_cancelled_and_its_client_stays(full, in_block):
    p, w, holder = full
    if in_block:
        assert states(w.run(query("begin"))) == ["BEGIN", "T"]
    text = query("insert into log (note) values ('long') -- " + "x" * 3_000_000)
    sender = threading.Thread(target=w.send, args=(text,))
    sender.start()
    wait_until(lambda: waiting(p) == 1, 5, "it waits")
    cancel(p, w)
    assert states(w.recv_all()) == ["57014", "E" if in_block else "I"]
    sender.join(10)
    if in_block:
        assert states(w.run(query("rollback"))) == ["ROLLBACK", "I"]
    rows_of(holder, "commit")
    assert states(w.run(query("insert into log (note) values ('short')"))) == ["INSERT 0 1", "I"]
