# SPDX-License-Identifier: PostgreSQL
"""Scripts that nobody has thought of: messages in any order, from a seed, to PostgreSQL and through
the proxy. The answers must be the same, and so must be what was written.

RANDOM_SEEDS=first:count runs others than the usual ones."""
import os
import random

import pytest

from talk import MODES, Script, at_random, difference, speak
from words import DONE, B, C, D, E, H, P, Q, S, Turn, copy_data, copy_fail

FIRST, COUNT = (int(n) for n in os.environ.get("RANDOM_SEEDS", "10:40").split(":"))
NAMES = ("", "", "a", "b")

READS = ("select 1", "select id, name from fixed where id < 4", "select 1/0", "select nowhere",
         "show work_mem", "select count(*) from w", "select note from w order by id", "nonsense",
         "copy other_fixed to stdout", "select id from fixed limit 5; select 'second'", "fetch 2 from c")
WRITES = ("insert into w values ({k}, 1, 'n{k}') on conflict do nothing", "insert into w values ({k}, 1)",
          "update w set v = v + 1", "delete from w where id = {k}", "insert into w values ({k}, 5000)",
          "insert into w values ({k}, 1) returning id", "insert into w values ({k}, 2); select 1/0")
BLOCKS = ("begin", "begin", "begin read only", "commit", "commit", "rollback", "savepoint s",
          "rollback to s", "release s", "begin; insert into w values ({k}, 3)", "commit and chain",
          "rollback; select 'behind'", "end", "declare c cursor for select id from fixed")
SETTINGS = ("set work_mem = '{k}MB'", "set local work_mem = '3MB'", "reset work_mem", "reset all",
            "set search_path = s1, public", "set local search_path = s2")


def statement(rng):
    words = rng.choices((READS, WRITES, BLOCKS, SETTINGS), (4, 3, 4, 1))[0]
    return rng.choice(words).format(k=rng.randrange(1, 40))


def message(rng):
    name, sql = rng.choice(NAMES), statement(rng)
    whole = P("", sql) + B("", "") + D("P", "") + E()
    return rng.choices((Q(sql), whole + S, whole, P(name, sql), B("", name) + E(), D("S", name),
                        B("", name) + E("", 1) + E(), B("", name) + D("P", "") + C("P", ""),
                        C("S", name), S, H,
                        Q("copy w (id, v) from stdin") + copy_data("77\t1\n") + DONE,
                        Q("copy w (id, v) from stdin") + copy_data("bad\n") + DONE, copy_data("late"), DONE),
                       (14, 8, 4, 3, 5, 1, 2, 1, 1, 4, 1, 1, 1, 1, 1))[0]


def random_script(seed):
    """Each turn ends whatever it has left open of a batch or a COPY, but for a block."""
    rng = random.Random(seed)
    turns = [Turn(Q("truncate w"))]
    for _ in range(rng.randrange(3, 12)):
        some = [message(rng) for _ in range(rng.randrange(1, 7))]
        turns.append(Turn(*some, copy_fail("no more"), S, Q(""), until="IZ"))
    turns.append(Turn(Q("rollback"), Q("select id, v, note from w order by id"), until="ZZ"))
    return Script(f"random {seed}", (), turns)


@pytest.mark.parametrize("mode", MODES)
def test_random_scripts_have_the_same_answers(world, through, mode):
    p = through(mode)
    node = world.primary
    failed = []
    for seed in range(FIRST, FIRST + COUNT):
        s = random_script(seed)
        want = speak(f"{node.base}/.s.PGSQL.{node.port}", s)
        assert all(kind != "hang" for kind, _ in want), f"seed {seed} hangs directly"
        found = difference(want, speak(("127.0.0.1", p.port), s, at_random, seed))
        if found:
            failed.append(f"seed {seed}: {found}")
    assert not failed, f"{len(failed)} of {COUNT}\n" + "\n".join(failed[:5])
