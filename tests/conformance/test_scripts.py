# SPDX-License-Identifier: PostgreSQL
"""Every script is spoken to PostgreSQL and through the proxy: whole, byte by byte, cut at random,
with another client in between, and with the server's bytes cut. The answers must be the same.

No second try for any of these (docs/decisions/0017): alone, a script meets servers that no other
script was on before, so what differs in a whole run only would pass.
"""
import zlib

import pytest

import scripts_copy  # noqa: F401  (they register their scripts)
import scripts_extended  # noqa: F401
import scripts_mixed  # noqa: F401
import scripts_simple  # noqa: F401
import scripts_startup  # noqa: F401
from talk import DATABASE, SCRIPTS, USER, Talker, at_random, byte_by_byte, difference, speak, whole
from wire import bind, execute, parse, query, startup, sync

pytestmark = pytest.mark.invariant

BYTES_MAX = 1500  # a longer script is cut at random only

_direct = {}  # script name -> PostgreSQL's answers


def ask_directly(cluster, name):
    node = cluster.primary
    return speak(f"{node.base}/.s.PGSQL.{node.port}", SCRIPTS[name])


def expected(cluster, name):
    if name not in _direct:
        _direct[name] = ask_directly(cluster, name)
        assert all(kind != "hang" for kind, _ in _direct[name]), f"{name}: the script hangs directly"
    return _direct[name]


def seed_of(name):
    return zlib.crc32(name.encode())


def compare(cluster, p, name, cut=whole, between=None):
    want = expected(cluster, name)
    got = speak(("127.0.0.1", p.port), SCRIPTS[name], cut, seed_of(name), between)
    found = difference(want, got)
    if found:
        if difference(want, ask_directly(cluster, name)):
            found += "\n  PostgreSQL itself answers otherwise than before: the script is at fault"
        pytest.fail(f"{name}, {cut.__name__}: {found}", pytrace=False)


@pytest.mark.parametrize("name, mode", [(n, m) for n, s in SCRIPTS.items() for m in s.modes])
def test_a_script_has_the_same_answers_through_the_proxy(world, through, name, mode):
    p = through(mode)
    compare(world, p, name)
    s = SCRIPTS[name]
    if not s.cuts:
        return
    compare(world, p, name, at_random)
    if mode == "transaction" and sum(len(turn.bytes) for turn in s.turns) <= BYTES_MAX:
        compare(world, p, name, byte_by_byte)


class Neighbour:
    """Another client of the same pool, who leaves what it can on the connection that it was lent."""

    def __init__(self, port):
        self.talker = Talker(("127.0.0.1", port))
        self.talker.say(startup(USER, DATABASE, datestyle="SQL, DMY"))
        self.talker.listen("Z")
        self.turn = 0

    def visit(self):
        self.turn += 1
        self.talker.say(parse("", f"select 'neighbour', {self.turn}") + bind("", "") + execute() +
                        parse(f"n{self.turn % 7}", f"select 'named', {self.turn % 7}") + sync() +
                        query(f"select 'neighbour', {self.turn}, date '2026-11-20'"))
        answers = self.talker.listen("ZZ")
        rows = [body for kind, body in answers if kind == "D"]
        assert rows and all(b"neighbour" in r and str(self.turn).encode() in r for r in rows), answers
        assert b"20/11/2026" in rows[-1], answers
        assert not any(kind in ("N", "A", "hang", "end") for kind, _ in answers), answers


@pytest.fixture(scope="session")
def neighbour(through):
    n = Neighbour(through("transaction").port)
    yield n
    n.talker.socket.close()


@pytest.mark.parametrize("name", [n for n, s in SCRIPTS.items() if not s.alone])
def test_a_script_has_the_same_answers_with_another_client_in_between(world, through, neighbour, name):
    compare(world, through("transaction"), name, between=neighbour.visit)


@pytest.mark.parametrize("name", [n for n, s in SCRIPTS.items() if s.cuts and "transaction" in s.modes])
def test_a_script_has_the_same_answers_when_the_servers_bytes_are_cut(world, through, name):
    compare(world, through("chopped"), name)
