# SPDX-License-Identifier: PostgreSQL
"""What no comparison of answers can show: bounds, single bytes, and where the proxy may do better."""
import struct

import pytest

from cluster import wait_until
from talk import DATABASE, USER, Talker, raw_startup
from wire import (GSS_REQUEST, SSL_REQUEST, Wire, bind, close, describe, error_fields, execute,
                  first_error, message, parse, query, startup, sync, types)
from words import bind_raw, framed

PLAIN_MAX = 0x3ffffffe  # PostgreSQL's PQ_LARGE_MESSAGE_LIMIT
SMALL_MAX = 10000  # PQ_SMALL_MESSAGE_LIMIT
PLAIN, SMALL = "QPBFd", "SHEDCcf"


def login(p, **parameters):
    w = Wire(p.port)
    assert types(w.login(USER, DATABASE, **parameters))[-1] == "Z"
    return w


def last_error(messages):
    return [error_fields(body) for kind, body in messages if kind == "E"][-1]


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("length", [0, 3, 0x7fffffff, 0x80000000, 0xffffffff])
@pytest.mark.parametrize("kind", ["Q", "S", "d", "c"])
def test_an_impossible_length_is_fatal(through, mode, kind, length):
    with login(through(mode)) as w:
        w.send(framed(kind, length), b"xxxx")
        error = last_error(w.recv_all())
        assert (error["S"], error["C"]) == ("FATAL", "08P01")


@pytest.mark.parametrize("kind", PLAIN + SMALL)
def test_each_type_has_postgresqls_bound(through, kind):
    bound = PLAIN_MAX if kind in PLAIN else SMALL_MAX
    with login(through("transaction")) as w:
        w.send(framed(kind, bound + 1))
        assert last_error(w.recv_all())["C"] == "08P01"
    with login(through("transaction")) as w:  # one less is waited for
        w.send(query("select 1") + framed(kind, bound))
        assert types(w.recv_all()) == "TDCZ"
        w.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            w.recv()


def request(code):
    return raw_startup(code)


@pytest.mark.parametrize("codes", [(SSL_REQUEST,), (GSS_REQUEST,), (SSL_REQUEST, GSS_REQUEST),
                                   (GSS_REQUEST, SSL_REQUEST)])
def test_each_encryption_request_is_answered_once(through, codes):
    with Wire(through("transaction").port) as w:
        for code in codes:
            w.send(request(code))
            assert w.recv_bytes(1) == b"N"
        w.send(startup(USER, DATABASE))
        assert types(w.recv_all())[-1] == "Z"


@pytest.mark.parametrize("codes", [(SSL_REQUEST, SSL_REQUEST), (GSS_REQUEST, GSS_REQUEST),
                                   (SSL_REQUEST, GSS_REQUEST, SSL_REQUEST)])
def test_a_repeated_encryption_request_ends_the_connection(through, codes):
    with Wire(through("transaction").port) as w:
        for code in codes[:-1]:
            w.send(request(code))
            assert w.recv_bytes(1) == b"N"
        w.send(request(codes[-1]))
        assert w.closed_within(5)


@pytest.mark.parametrize("code", [SSL_REQUEST, GSS_REQUEST])
def test_plain_bytes_behind_an_encryption_request_end_the_connection(through, code):
    with Wire(through("transaction").port) as w:
        w.send(request(code) + startup(USER, DATABASE))
        assert "Z" not in types(w.recv_all())
        assert w.closed_within(5)


def is_a_read(w, sql):
    w.run(query(sql))
    return b"replica" in b"".join(body for _, body in w.run(query("show switchgear.last_route")))


def test_a_stale_plan_is_not_shown_outside_a_transaction(world, through):
    read = bind("", "st") + describe("P", "") + execute() + sync()
    with login(through("transaction")) as w:
        for sql in ("drop table if exists replanned", "create table replanned (id int)",
                    "insert into replanned values (1)"):
            w.run(query(sql))
        world.wait_replicated()
        wait_until(lambda: is_a_read(w, "select * from replanned"), 10,
                   "it is known what the name stands for")
        assert types(w.run(parse("st", "select * from replanned"), sync())) == "1Z"
        assert types(w.run(read)) == "2TDCZ"
        world.primary.psql("alter table replanned add column extra int default 2; select 1", DATABASE)
        world.wait_replicated()
        for _ in range(3):
            answers = w.run(read)
            assert types(answers) == "2TDCZ", first_error(answers)
            assert answers[2][1] == struct.pack("!HI", 2, 1) + b"1" + struct.pack("!I", 1) + b"2"
    world.primary.psql("drop table replanned; select 1", DATABASE)


CHANGES = {  # what is done to the table (id, f1, f2), and the formats that are asked for then
    "a column goes": ("drop column f1", (1, 1, 1)),
    "two columns go": ("drop column f1, drop column f2", (1, 1, 1)),
    "a column comes": ("add column f3 int", (0, 0, 0)),
    "a column goes, text": ("drop column f1", (0, 0, 0)),
    "a column goes, mixed": ("drop column f2", (1, 0, 1)),
}


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_stale_plan_is_one_with_a_format_for_each_column(world, through, change, described):
    """As pgx binds: the result is described, and has other columns than formats were named for."""
    action, formats = CHANGES[change]
    world.primary.psql("drop table if exists refitted; create table refitted (id int, f1 int, f2 int); "
                       "grant all on refitted to public; insert into refitted values (1, 2, 3); "
                       "select 1", DATABASE)
    world.wait_replicated()
    read = (bind_raw("", "st", results=formats) + (describe("P", "") if described else b"") +
            execute() + sync())
    prepared = parse("st", "select * from refitted") + describe("S", "st") + sync()
    with login(through("transaction")) as w, login(through("transaction")) as other:
        assert types(w.run(prepared)) == "1tTZ"
        assert types(w.run(read))[0] == "2"
        world.primary.psql(f"alter table refitted {action}; select 1", DATABASE)
        world.wait_replicated()
        for _ in range(3):
            error = first_error(w.run(read))
            assert error is not None and error["C"] == "0A000", error
            assert error["R"] == "RevalidateCachedQuery"
        assert types(other.run(prepared)) == "1tTZ"  # whoever prepares now knows better
        assert first_error(w.run(read))["C"] == "0A000"
        assert types(w.run(close("S", "st") + prepared)) == "31tTZ"
        error = first_error(w.run(read))
        assert error["R"] == "PortalSetResultFormat"  # now it is the client's own fault
    world.primary.psql("drop table refitted; select 1", DATABASE)


def test_copy_data_of_a_failed_copy_reaches_no_other_client(world, through):
    """The server has failed the COPY long before its client has sent all of the data."""
    p = through("transaction")
    with login(p) as a, login(p) as b:
        a.send(query("copy w (id, v) from stdin"))
        assert a.recv()[0] == "G"
        a.send(message("d", b"1\tnot a number\n"), message("d", b"x" * 100000))
        assert types(a.recv_all()) == "EZ"
        assert types(b.run(query("select 'b'"))) == "TDCZ"
        a.send(message("d", b"2\t2\n") * 1000, message("c"))
        for i in range(20):
            assert types(b.run(query(f"select {i}"))) == "TDCZ"
        assert types(a.run(query("select 'a'"))) == "TDCZ"


def test_a_script_that_hangs_is_seen(through):
    """The suite's own eyes: a missing answer is a difference, not a pass."""
    with Talker(("127.0.0.1", through("transaction").port)) as t:
        t.socket.settimeout(0.2)
        t.say(startup(USER, DATABASE))
        assert t.listen("Z")[-1][0] == "Z"
        assert t.listen("Z")[-1][0] == "hang"
