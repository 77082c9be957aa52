# SPDX-License-Identifier: PostgreSQL
"""pg_terminate_backend() and pg_cancel_backend() of the number by which a client of the proxy knows
itself or another one: they end that session, or cancel what it runs, as PostgreSQL does."""
import asyncio
import select
import struct

import asyncpg
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import ADMIN_USER, one, rows_of
from wire import (Wire, bind, cstring, describe, error_fields, execute, first_error, message, parse, query,
                  sync, types)

PID_MAX = 4194304
END, CANCEL = "pg_terminate_backend", "pg_cancel_backend"
ENDED = "terminating connection due to administrator command"
MAY_NOT = {END: "must be a member of the role whose process is being terminated or member of pg_signal_backend",
           CANCEL: "must be a member of the role whose query is being canceled or member of pg_signal_backend"}


@pytest.fixture
def gears(proxy):
    """Several workers; anybody may log in by any name."""
    return proxy(switchgear={"auth_type": "trust", "workers": 3},
                 database={"user": APP_USER, "password": APP_PASSWORD})


def login(p, user=APP_USER, database=APP_DATABASE):
    w = Wire(p.port)
    w.login(user, database)
    w.pid = struct.unpack("!I", w.key[:4])[0]
    return w


def rows(messages):
    """The values of a single column, as bytes."""
    return [body[6:] for kind, body in messages if kind == "D"]


def column(messages):
    """Name, type and format of the first column."""
    body = next(body for kind, body in messages if kind == "T")
    name, rest = body[2:].split(b"\0", 1)
    return name.decode(), struct.unpack("!I", rest[6:10])[0], struct.unpack("!H", rest[16:18])[0]


def tag(messages):
    return next(body[:-1].decode() for kind, body in messages if kind == "C")


def said_done(messages, function=END, types_are="TDCZ"):
    assert types(messages) == types_are, (messages,)
    assert rows(messages) == [b"t"] and column(messages) == (function, 16, 0) and tag(messages) == "SELECT 1"


def has_ended(wire):
    """Its last words, and the end."""
    messages = wire.recv_all()
    assert messages[-1][0] == "E", messages
    fields = error_fields(messages[-1][1])
    assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "57P01", ENDED)
    assert wire.recv() is None


def sleeping(cluster, p, text="select pg_sleep(30)", **options):
    w = login(p, **options)
    w.send(query(text))
    cluster.wait_running(text)
    return w


def ids(function, pid):
    return f"select {function}({pid})"


# ---- the numbers ----

def test_a_clients_number_is_no_process_of_a_server(gears):
    wires = [login(gears) for _ in range(6)]
    assert all(w.pid > PID_MAX for w in wires) and len({w.pid for w in wires}) == 6
    assert gears.connect().info.backend_pid > PID_MAX


# ---- who is ended ----

@pytest.mark.core
def test_idle_sessions_of_every_worker_are_ended(gears):
    wires = [login(gears) for _ in range(7)]
    asks = wires.pop(3)
    for w in wires:
        said_done(asks.run(query(ids(END, w.pid))))
        has_ended(w)
    assert types(asks.run(query("select 1"))) == "TDCZ"
    nobody = asks.run(query(ids(END, wires[0].pid)))
    assert types(nobody) == "TNDCZ" and rows(nobody) == [b"f"]
    said = error_fields(nobody[1][1])
    assert (said["S"], said["C"]) == ("WARNING", "01000")
    assert said["M"] == f"PID {wires[0].pid} is not a PostgreSQL backend process"


@pytest.mark.core
def test_what_runs_is_ended_and_leaves_its_server(cluster, gears):
    asks = login(gears)
    for _ in range(3):
        w = sleeping(cluster, gears)
        said_done(asks.run(query(ids(END, w.pid))))
        has_ended(w)
    wait_until(lambda: not any("pg_sleep(30)" in str(n.backends()) for n in cluster.nodes), 5, "nothing runs")


def test_a_block_of_an_ended_session_is_rolled_back(cluster, gears):
    asks, w = login(gears), login(gears)
    w.run(query("begin"))
    w.run(query("insert into log (note) values ('of the ended')"))
    # with a timeout: answered when its locks are gone
    said_done(asks.run(query(f"select pg_terminate_backend({w.pid}, 5000)")))
    has_ended(w)
    assert cluster.primary.psql("select count(*) from pg_locks where relation = 'log'::regclass", APP_DATABASE) == [(0,)]
    assert cluster.primary.psql("select count(*) from log where note = 'of the ended'", APP_DATABASE) == [(0,)]


def test_a_block_on_a_replica_is_ended(cluster, gears):
    asks, w = login(gears), login(gears)
    w.run(query("begin read only"))
    w.run(query("select 1"))
    wait_until(lambda: any("idle in transaction" in str(n.backends()) for n in cluster.replicas), 5, "it is there")
    said_done(asks.run(query(ids(END, w.pid))))
    has_ended(w)
    wait_until(lambda: not any("idle in transaction" in str(n.backends()) for n in cluster.replicas), 5, "it is left")


def test_a_session_in_a_queue_is_ended_and_another_cancelled(cluster, proxy):
    p = proxy(switchgear={"auth_type": "trust", "workers": 2},
              database={"user": APP_USER, "password": APP_PASSWORD, "pool_size": 1})
    asks = login(p)
    holder = sleeping(cluster, p, "select pg_sleep(20), txid_current()")
    first, second = login(p), login(p)
    for w in (first, second):
        w.send(query("insert into log (note) values ('queued')"))
    wait_until(lambda: sum(int(r["cl_waiting"]) for r in p.admin("SHOW POOLS")) >= 2, 5, "both wait")
    said_done(asks.run(query(ids(END, first.pid))))
    has_ended(first)
    said_done(asks.run(query(ids(CANCEL, second.pid))), CANCEL)
    assert first_error(second.recv_all())["C"] == "57014"
    said_done(asks.run(query(ids(END, holder.pid))))
    has_ended(holder)
    assert types(second.run(query("insert into log (note) values ('after the queue')"))) == "CZ"


# ---- who is cancelled ----

@pytest.mark.core
def test_what_runs_is_cancelled_and_its_session_lives(cluster, gears):
    asks = login(gears)
    for text in ("select pg_sleep(30)", "select pg_sleep(30), txid_current()"):
        w = sleeping(cluster, gears, text)
        said_done(asks.run(query(ids(CANCEL, w.pid))), CANCEL)
        assert first_error(w.recv_all())["C"] == "57014"
        assert types(w.run(query("select 1"))) == "TDCZ"
        said_done(asks.run(query(ids(CANCEL, w.pid))), CANCEL)  # it is idle: nothing happens
        assert types(w.run(query("select 1"))) == "TDCZ"


def test_a_copy_is_cancelled(gears):
    asks, w = login(gears), login(gears)
    w.send(query("copy log (note) from stdin"))
    assert types(w.recv_all("G")) == "G"
    said_done(asks.run(query(ids(CANCEL, w.pid))), CANCEL)

    def is_told():
        w.send(message("d", b"more\n"))  # a server looks when something comes
        return select.select([w.socket], [], [], 0.05)[0]

    wait_until(is_told, 5, "it has failed")
    assert first_error(w.recv_all())["C"] == "57014"
    assert types(w.run(query("select 1"))) == "TDCZ"


# ---- who may ----

def test_another_users_session_is_not_touched(cluster, gears):
    mine = sleeping(cluster, gears)
    eve = login(gears, "eve")
    for function in (END, CANCEL):
        refused = eve.run(query(ids(function, mine.pid)))
        assert types(refused) == "EZ"
        assert (first_error(refused)["C"], first_error(refused)["M"]) == ("42501", MAY_NOT[function])
    batch = eve.run(parse("", f"select pg_terminate_backend({mine.pid})"), bind("", ""), describe("P", ""),
                    execute(), sync())
    assert types(batch) == "EZ" and first_error(batch)["C"] == "42501"
    # in a block it fails that, where no server knows of it and where one does
    for before in ("select 1", "insert into log (note) values ('eve was here')"):
        assert types(eve.run(query("begin"))) == "CZ"
        eve.run(query(before))
        refused = eve.run(query(ids(END, mine.pid)))
        assert first_error(refused)["C"] == "42501" and refused[-1] == ("Z", b"E")
        assert first_error(eve.run(query(ids(END, mine.pid))))["C"] == "25P02"
        assert eve.run(query("rollback"))[-1] == ("Z", b"I")
    assert cluster.primary.psql("select count(*) from log where note = 'eve was here'", APP_DATABASE) == [(0,)]
    said_done(login(gears).run(query(ids(CANCEL, mine.pid))), CANCEL)
    assert first_error(mine.recv_all())["C"] == "57014"


def test_an_admin_may_end_any_session(gears):
    admin, w = login(gears, ADMIN_USER), login(gears)
    said_done(admin.run(query(ids(END, w.pid))))
    has_ended(w)
    assert first_error(login(gears).run(query(ids(END, admin.pid))))["C"] == "42501"


def test_a_name_of_another_shard_or_of_auth_query_alone_may_nothing(cluster, proxy):
    """The same name at another cluster is somebody else; and an admin's name is one only where the
    proxy itself vouches for it."""
    node = cluster.primary
    p = proxy(switchgear={"auth_type": "trust", "workers": 2, "admin_users": f"{ADMIN_USER}, boss"},
              database={"user": APP_USER, "password": APP_PASSWORD, "auth_user": "asker"},
              sections={"node other": {"shard": "other", "host": "localhost", "port": node.port},
                        "database elsewhere": {"shards": "other", "dbname": APP_DATABASE, "user": APP_USER,
                                               "password": APP_PASSWORD}})
    w = login(p)
    stranger = login(p, database="elsewhere").run(query(ids(END, w.pid)))
    assert types(stranger) == "TNDCZ" and rows(stranger) == [b"f"]
    assert first_error(login(p, "boss").run(query(ids(END, w.pid))))["C"] == "42501"
    said_done(login(p, "boss", "elsewhere").run(query(ids(CANCEL, w.pid))), CANCEL)
    said_done(login(p, ADMIN_USER).run(query(ids(END, w.pid))))
    has_ended(w)


# ---- oneself ----

def test_a_session_ends_itself(cluster, gears):
    for before in ((), (query("begin"),), (query("begin"), query("select txid_current()"))):
        w = login(gears)
        for part in before:
            w.run(part)
        w.send(query(ids(END, w.pid)), query("select 1"))
        has_ended(w)


def test_a_session_cancels_itself(gears):
    w = login(gears)
    for before, status in (((), b"I"), (("begin",), b"E"), (("begin", "select txid_current()"), b"E")):
        for part in before:
            w.run(query(part))
        failed = w.run(query(ids(CANCEL, w.pid)))
        assert types(failed) == "EZ" and first_error(failed)["C"] == "57014" and failed[-1] == ("Z", status)
        w.run(query("rollback"))
    assert types(w.run(query("select 1"))) == "TDCZ"


# ---- how it is asked ----

SPELLINGS = ["select pg_terminate_backend({})", "SELECT pg_catalog.pg_terminate_backend( {} );",
             "/* of a tool */ Select PG_Terminate_Backend('{}') -- so", "select pg_terminate_backend({}::int)",
             "select pg_terminate_backend(cast('{}' as integer))", "select pg_terminate_backend({}, 1000)",
             "select pg_terminate_backend({}, timeout => 0)", "select pg_terminate_backend({}, 10::bigint);;"]


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_spelling_is_understood_in_both_protocols(gears, text):
    asks = login(gears)
    w = login(gears)
    said_done(asks.run(query(text.format(w.pid))))
    has_ended(w)
    w = login(gears)
    said_done(asks.run(parse("", text.format(w.pid)), bind("", ""), describe("P", ""), execute(), sync()),
              types_are="12TDCZ")
    has_ended(w)


def bind_binary(statement, *values):
    """Binary parameters, binary results."""
    body = cstring("") + cstring(statement) + struct.pack("!HHH", 1, 1, len(values))
    for value in values:
        body += struct.pack("!I", len(value)) + value
    return message("B", body + struct.pack("!HH", 1, 1))


def test_a_parameter_is_read_as_text_and_as_binary(gears):
    asks, w = login(gears), login(gears)
    said_done(asks.run(parse("", "select pg_terminate_backend($1)"), bind("", "", [str(w.pid)]),
                       describe("P", ""), execute(), sync()), types_are="12TDCZ")
    has_ended(w)
    w = login(gears)
    answer = asks.run(parse("", "select pg_terminate_backend($1, $2)", [23, 20]), describe("S", ""),
                      bind_binary("", struct.pack("!I", w.pid), struct.pack("!Q", 100)), describe("P", ""),
                      execute(), sync())
    assert types(answer) == "1tT2TDCZ" and rows(answer) == [b"\1"]
    assert answer[1][1] == struct.pack("!HII", 2, 23, 20)
    assert column(answer[3:]) == (END, 16, 0) or column(answer[4:]) == (END, 16, 1)
    has_ended(w)
    w = login(gears)
    answer = asks.run(parse("", "select pg_terminate_backend($1::int)", [25]), bind("", "", [str(w.pid)]),
                      execute("", 1), sync())
    assert types(answer) == "12DsZ" and rows(answer) == [b"t"]
    has_ended(w)


def test_a_prepared_statement_is_asked_again_and_again(cluster, gears):
    """Prepared by a server, answered by us, and by a server when the id is one of a server."""
    asks = login(gears)
    assert types(asks.run(parse("s", "select pg_terminate_backend($1)"), describe("S", "s"), sync())) == "1tTZ"
    for _ in range(3):
        w = login(gears)
        said_done(asks.run(bind("", "s", [str(w.pid)]), describe("P", ""), execute(), sync()), types_are="2TDCZ")
        has_ended(w)
        unknown = asks.run(bind("", "s", ["1"]), execute(), sync())
        assert types(unknown) == "2NDCZ" and rows(unknown) == [b"f"]
    victim = cluster.primary.connect(APP_DATABASE)
    assert rows(asks.run(bind("", "s", [str(victim.info.backend_pid)]), execute(), sync())) in ([b"t"], [])


def test_one_that_only_we_know_is_parsed_when_a_server_needs_it(gears):
    asks, w = login(gears), login(gears)
    said_done(asks.run(parse("n", "select pg_terminate_backend($1)"), bind("", "n", [str(w.pid)]),
                       describe("P", ""), execute(), sync()), types_are="12TDCZ")
    has_ended(w)
    assert types(asks.run(bind("", "n", ["1"]), describe("P", ""), execute(), sync())) == "2TNDCZ"
    assert types(asks.run(describe("S", "n"), sync())) == "tTZ"


def test_it_is_answered_in_order_in_a_pipeline(gears):
    asks = login(gears)
    wires = [login(gears) for _ in range(3)]
    parts = [query("select 1")]
    for w in wires:
        parts += [query(ids(END, w.pid)), parse("", "select 2"), bind("", ""), execute(), sync()]
    asks.send(*parts)
    assert rows(asks.recv_all()) == [b"1"]
    for w in wires:
        assert rows(asks.recv_all()) == [b"t"]
        assert rows(asks.recv_all()) == [b"2"]
        has_ended(w)


def test_a_failed_block_refuses_it(gears):
    asks, w = login(gears), login(gears)
    asks.run(query("begin"))
    asks.run(query("select 1/0"))
    assert first_error(asks.run(query(ids(END, w.pid))))["C"] == "25P02"
    asks.run(query("rollback"))
    assert types(w.run(query("select 1"))) == "TDCZ"


def test_an_open_block_goes_on_behind_it(cluster, gears):
    asks = login(gears)
    for first in ("select 1", "insert into log (note) values ('goes on')"):
        w = login(gears)
        asks.run(query("begin"))
        if first.startswith("insert"):
            asks.run(query(first))
        answer = asks.run(query(ids(END, w.pid)))
        said_done(answer)
        assert answer[-1] == ("Z", b"T")
        has_ended(w)
        asks.run(query("insert into log (note) values ('goes on')"))
        assert asks.run(query("commit"))[-1] == ("Z", b"I")
    assert cluster.primary.psql("select count(*) from log where note = 'goes on'", APP_DATABASE) == [(3,)]


@pytest.mark.parametrize("text", ["select pg_terminate_backend({}) where false",
                                  "select pg_terminate_backend({}), 1",
                                  "select 1; select pg_terminate_backend({})",
                                  "select pg_terminate_backend({} + 0)",
                                  "select pg_terminate_backend({}::bigint)",
                                  "select pg_terminate_backend(-{})",
                                  "select pg_terminate_backend({}, -1)",
                                  "select pg_terminate_backend('{}x')",
                                  "select pg_terminate_backend({}, 1, 2)",
                                  "select pg_cancel_backend({}, 1)",
                                  "select pg_terminate_backend(null)",
                                  "select pg_cancel_backend(99{})"])
def test_what_is_something_else_is_the_servers(gears, text):
    asks, w = login(gears), login(gears)
    direct = gears.cluster.primary.connect(APP_DATABASE)
    direct.autocommit = True
    statement = text.format(w.pid)
    try:
        expected = ("rows", len(rows_of(direct, statement)))
    except psycopg2.Error as error:
        expected = ("error", error.pgcode)
    answer = asks.run(query(statement))
    error = first_error(answer)
    assert (("error", error["C"]) if error else ("rows", len([k for k, _ in answer if k == "D"]))) in (
        expected, ("rows", 2)), answer
    assert b"t" not in rows(answer)
    assert types(w.run(query("select 1"))) == "TDCZ"


def test_the_literals_of_one_text_say_nothing_of_the_next(gears):
    """All of these are one text to the verdict cache."""
    asks, w = login(gears), login(gears)
    for other in ("'x'", "1", "null", "99999999999"):
        asks.run(query(f"select pg_terminate_backend({other})"))
    said_done(asks.run(query(ids(END, w.pid))))
    has_ended(w)


def test_asyncpg_and_psycopg2(gears):
    async def ends(pid, block):
        c = await asyncpg.connect(host="127.0.0.1", port=gears.port, user=APP_USER, database=APP_DATABASE,
                                  ssl=False)
        try:
            if not block:
                return await c.fetchval("select pg_terminate_backend($1)", pid)
            async with c.transaction():
                await c.execute("select txid_current()")
                return await c.fetchval("select pg_terminate_backend($1)", pid)
        finally:
            await c.close()

    for block in (False, True):
        w = login(gears)
        assert asyncio.run(ends(w.pid, block)) is True
        has_ended(w)
    w = login(gears)
    assert one(gears.connect(), "select pg_terminate_backend(%s)", (w.pid,)) is True
    has_ended(w)


# ---- time ----

def test_whoever_waits_for_an_end_may_be_cancelled(cluster, gears):
    """The server is stopped, so that what was ended does not leave it."""
    asks, w = login(gears), sleeping(cluster, gears, "select pg_sleep(60), txid_current()")
    cluster.primary.sigstop()
    try:
        asks.send(query(f"select pg_terminate_backend({w.pid}, 60000)"))
        has_ended(w)
        other = login(gears, APP_USER)
        other.send(query(ids(CANCEL, asks.pid)))
        assert first_error(asks.recv_all())["C"] == "57014"
        said_done(other.recv_all(), CANCEL)
    finally:
        cluster.primary.sigcont()


def test_what_does_not_end_in_time_is_told(cluster, gears):
    asks, w = login(gears), sleeping(cluster, gears, "select pg_sleep(60), txid_current()")
    cluster.primary.sigstop()
    try:
        answer = asks.run(query(f"select pg_terminate_backend({w.pid}, 300)"))
        assert types(answer) == "TNDCZ" and rows(answer) == [b"f"]
        assert error_fields(answer[1][1])["M"] == f"backend with PID {w.pid} did not terminate within 300 milliseconds"
        has_ended(w)
    finally:
        cluster.primary.sigcont()


def test_who_asks_may_vanish_and_many_may_end_one_another(gears):
    """Each ends the next one while it is ended itself: no answer is lost, and nothing is left."""
    for _ in range(5):
        wires = [login(gears) for _ in range(12)]
        pids = [w.pid for w in wires]
        for i, w in enumerate(wires):
            w.send(query(ids(END, pids[(i + 1) % len(pids)])), *([message("X")] if i % 3 == 0 else []))
        for i, w in enumerate(wires):
            if i % 2 == 0:
                w.socket.close()
        for w in wires[1::2]:  # it has an answer, or was ended before it was heard
            w.recv()
            w.socket.close()
    wait_until(lambda: len(gears.admin("SHOW CLIENTS")) <= 2, 5, "all are gone")
