# SPDX-License-Identifier: PostgreSQL
"""set_config: its value may be a parameter, it may stand beside others, and what cannot be followed
binds until it is reset. asyncpg looks up types so."""
import struct

import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of
from test_pins import pins
from wire import Wire, cstring, describe, execute, first_error, message, parse, query, sync, types

HOME = "/* switchgear: route=primary */ "
INT4, TEXT, VARCHAR = 23, 25, 1043


@pytest.fixture
def tight(proxy):
    """All clients share one connection to each node."""
    return proxy(switchgear={"auth_type": "trust"},
                 database={"pool_size": 1, "user": "app", "password": "app-secret"})


@pytest.fixture
def roomy(proxy):
    return proxy(switchgear={"auth_type": "trust"},
                 database={"pool_size": 4, "user": "app", "password": "app-secret"})


@pytest.fixture
def believed(proxy):
    """As roomy, but nobody is asked what has been set."""
    return proxy(switchgear={"auth_type": "trust"},
                 database={"pool_size": 4, "user": "app", "password": "app-secret",
                           "isolation": "text"})


def wire(p):
    w = Wire(p.port)
    assert types(w.login("app", APP_DATABASE))[-1] == "Z"
    return w


def bind(values, binary=False, name=""):
    body = cstring("") + cstring(name) + struct.pack("!HHH", 1, int(binary), len(values))
    for v in values:
        raw = None if v is None else v.encode()
        body += struct.pack("!i", -1) if raw is None else struct.pack("!I", len(raw)) + raw
    return message("B", body + struct.pack("!H", 0))


def run(w, sql, values=(), binary=False, declared=()):
    return w.run(parse("", sql, declared), bind(values, binary), describe("P", ""), execute(), sync())


def value(w, name, where=HOME):
    """What it is on whatever connection comes next."""
    rows = [b for kind, b in w.run(query(f"{where}select current_setting('{name}', true)")) if kind == "D"]
    return rows[0][6:].decode()


def nobody_is_pinned(p):
    wait_until(lambda: sum(pins(p).values()) == 0, 5, f"nobody is pinned: {pins(p)}")
    return True


FOLLOWED = [  # the text, the values, what work_mem is then
    ("select set_config('work_mem', $1, false)", ["6MB"], "6MB"),
    ("select set_config('work_mem', $1::text, false)", ["6MB"], "6MB"),
    ("select pg_catalog.set_config('Work_Mem', $1, false) as x", ["7MB"], "7MB"),
    ("select set_config('my.own', $2, false), set_config('work_mem', $1, false)", ["8MB", "it's \\"],
     "8MB"),
    ("select current_setting('jit') as cur, set_config('work_mem', '9MB', false) as new", [], "9MB"),
    ("select 1, 'x', current_setting($1), set_config('work_mem', $2, false)", ["jit", "9MB"], "9MB"),
    ("select current_setting('jit', true), set_config('work_mem', $1, false), null", ["5MB"], "5MB"),
    ("select set_config('work_mem', $1, false)", [None], "4MB"),
]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("sql, values, wanted", FOLLOWED)
def test_a_value_that_is_bound_follows_its_session(tight, sql, values, wanted, binary):
    with wire(tight) as a, wire(tight) as b:
        for _ in range(2):
            replies = run(a, sql, values, binary)
            assert types(replies) == "12TDCZ", first_error(replies)
            for where in (HOME, ""):
                assert value(b, "work_mem", where) == "4MB"
                assert value(a, "work_mem", where) == wanted
        assert nobody_is_pinned(tight)


def test_a_named_statement_sets_what_is_bound_each_time(tight):
    with wire(tight) as a, wire(tight) as b:
        a.run(parse("s", "select set_config('work_mem', $1, false)"), sync())
        for n in (5, 6, 7, 5):
            assert types(a.run(bind([f"{n}MB"], name="s"), execute(), sync())) == "2DCZ"
            assert value(b, "work_mem") == "4MB"
            assert value(a, "work_mem") == f"{n}MB"
        a.run(bind(["8MB"], name="s") + bind(["9MB"], name="s") + execute() + sync())
        assert value(b, "work_mem") == "4MB"
        assert value(a, "work_mem") == "9MB"
        assert nobody_is_pinned(tight)


@pytest.mark.parametrize("declared", [(TEXT,), (VARCHAR,), (0,)])
def test_declared_types_that_are_text_are_followed(tight, declared):
    with wire(tight) as a, wire(tight) as b:
        assert types(run(a, "select set_config('work_mem', $1, false)", ["6MB"], True, declared)) == "12TDCZ"
        assert value(b, "work_mem") == "4MB"
        assert value(a, "work_mem") == "6MB"
        assert nobody_is_pinned(tight)


def test_a_rollback_takes_a_bound_value_back(tight):
    with wire(tight) as a, wire(tight) as b:
        a.run(query("begin"))
        run(a, "select set_config('work_mem', $1, false)", ["6MB"])
        a.run(query("rollback"))
        run(a, "select set_config('work_mem', $1, false), 1", ["nonsense"])  # an error
        assert value(b, "work_mem") == "4MB"
        assert value(a, "work_mem") == "4MB"
        a.run(query("begin"))
        run(a, "select set_config('work_mem', $1, false)", ["6MB"])
        a.run(query("commit"))
        assert value(b, "work_mem") == "4MB"
        assert value(a, "work_mem") == "6MB"
        assert nobody_is_pinned(tight)


def test_a_search_path_that_is_bound_counts_for_what_is_parsed_behind_it(tight):
    setup = tight.connect()
    for schema in ("one", "two"):
        rows_of(setup, f"create schema {schema}; create table {schema}.place (v text); "
                f"insert into {schema}.place values ('{schema}')")
    try:
        with wire(tight) as a, wire(tight) as b:
            for w, schema in ((a, "one"), (b, "two"), (a, "two"), (b, "one")):
                run(w, "select set_config('search_path', $1, false)", [schema])
                rows = [x for kind, x in run(w, HOME + "select v from place") if kind == "D"]
                assert rows[0][6:].decode() == schema
    finally:
        rows_of(setup, "drop schema one cascade; drop schema two cascade")


BINDS = [  # what cannot be followed: from RESET ALL on nothing is left of it
    "select set_config('work_mem', '6' || 'MB', false)",
    "select set_config('work_mem', v || 'MB', false) from (values ('6')) x (v)",
    "select case when true then set_config('work_mem', '6MB', false) end",
    "select length(set_config('work_mem', '6MB', false))",
    "select set_config('work_mem', '6MB', false) from generate_series(1, 2)",
    "set work_mem from current",
]
RESETS = ["reset all", "RESET ALL;", "select 1; reset all",
          "select pg_advisory_unlock_all(); close all; unlisten *; reset all;", "discard all"]


@pytest.mark.parametrize("sql, undone", [(sql, RESETS[0]) for sql in BINDS] +
                         [(BINDS[0], undone) for undone in RESETS[1:]])
def test_what_cannot_be_followed_binds_until_it_is_reset(believed, sql, undone):
    with wire(believed) as a, wire(believed) as b:
        assert first_error(a.run(query(sql))) is None
        wait_until(lambda: sum(pins(believed).values()) == 1, 5, "it is pinned")
        value(a, "work_mem")
        assert value(b, "work_mem") == "4MB"
        assert first_error(a.run(query(undone))) is None
        assert nobody_is_pinned(believed)
        for where in (HOME, ""):
            assert value(a, "work_mem", where) == "4MB"
            assert value(b, "work_mem", where) == "4MB"


def test_reset_all_by_the_extended_protocol_releases_too(believed):
    with wire(believed) as a:
        run(a, "select set_config('work_mem', $1 || 'MB', false)", ["6"])
        wait_until(lambda: sum(pins(believed).values()) == 1, 5, "it is pinned")
        run(a, "select set_config('work_mem', '5MB', false)")
        a.run(parse("", "reset all"), bind([]), execute(), sync())
        assert nobody_is_pinned(believed)
        assert value(a, "work_mem") == "4MB"


@pytest.mark.parametrize("sql, values, declared", [
    ("select set_config('work_mem', $1, false)", ["6MB" + " " * 3000], ()),  # too long to keep
    ("select set_config($1, '6MB', false)", ["work_mem"], ()),
    ("select set_config('client_encoding', $1, false)", ["LATIN1"], ()),
    ("select set_config('role', $1 || '', false)", ["app"], ()),
], ids=["long", "name", "encoding", "role"])
def test_a_value_that_cannot_be_kept_binds(believed, sql, values, declared):
    with wire(believed) as a, wire(believed) as b:
        replies = run(a, sql, values, False, declared)
        assert types(replies)[-1] == "Z"
        if first_error(replies) is None:
            wait_until(lambda: sum(pins(believed).values()) == 1, 5, "it is pinned")
        assert value(b, "work_mem") == "4MB"
        a.run(query("discard all"))
        assert nobody_is_pinned(believed)


@pytest.mark.parametrize("sql", [b for b in BINDS if b.startswith("select")] + [
    "update pg_settings set setting = '6144' where name = 'work_mem'",
    pytest.param("select set_config('work_mem', '6MB', false) /*" + "x" * 300000 + "*/", id="long")])
def test_what_no_text_shows_is_asked_for(tight, sql):
    with wire(tight) as a, wire(tight) as b:
        for _ in range(2):
            assert first_error(a.run(query(sql))) is None
            for where in (HOME, ""):
                assert value(b, "work_mem", where) == "4MB"
                assert value(a, "work_mem", where) == "6MB"
        assert nobody_is_pinned(tight)
        a.run(query("reset all"))
        assert value(b, "work_mem") == value(a, "work_mem") == "4MB"


@pytest.mark.parametrize("sql", ["reset all; select set_config('work_mem', '6' || 'MB', false)",
                                 "begin; reset all; rollback", "reset all; select 1/0"])
def test_a_reset_that_is_not_the_last_word_releases_nothing(believed, sql):
    with wire(believed) as a:
        a.run(query("select set_config('work_mem', '6' || 'MB', false)"))
        a.run(query(sql))
        wait_until(lambda: sum(pins(believed).values()) == 1, 5, "it is pinned")
        assert value(a, "work_mem") == "6MB"


def test_a_role_of_a_function_is_not_undone_by_reset_all(roomy):
    with wire(roomy) as a, wire(roomy) as b:
        a.run(query("select set_config('ro' || 'le', 'app', false)"))
        wait_until(lambda: sum(pins(roomy).values()) == 1, 5, "it is pinned")
        a.run(query("reset all"))
        assert value(a, "role") == "app"
        assert value(b, "role") == "none"
        assert sum(pins(roomy).values()) == 1
        a.run(query("discard all"))
        assert nobody_is_pinned(roomy)
        assert value(a, "role") == "none"


def test_twenty_four_asyncpg_clients_look_up_types_in_a_small_pool(roomy):
    """What asyncpg sends when it meets a type that it does not know, and its pool behind it."""
    sessions = [roomy.connect() for _ in range(24)]
    for s in sessions:
        rows_of(s, "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new")
        rows_of(s, "SELECT set_config('jit', 'o' || 'n', false)")
        rows_of(s, "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;")
    assert nobody_is_pinned(roomy)
    assert one(sessions[0], "select count(*) from t") > 0
