# SPDX-License-Identifier: PostgreSQL
"""What a server's process keeps behind DISCARD ALL, and no question finds: the seed of random(), the
connections of extensions, their modes. Whoever made it, and by whatever way, the next session does
not meet it.

Neither a text nor a body below shows what happens. One connection to the primary serves everybody.
"""
import pytest

from client import Direct
from cluster import APP_DATABASE, wait_until
from proxy import one
from test_left import CHIEF, CHIEF_SECRET, chief, known  # noqa: F401

pytestmark = pytest.mark.invariant

PRIMARY = "/* switchgear: route=primary */ "
# What is done, in two halves, so that no body has it.
STATES = {
    "seed": ("select set", "seed(0.5)"), "seed by a setting": ("set se", "ed = 0.5"),
    "connection": ("select kept.dblink_con", "nect(''left'', ''{dsn}'')"),
    "unnamed connection": ("select kept.dblink_con", "nect(''{dsn}'')"),
    "mode": ("select kept.isn_", "weak(true)"),
    "foreign connection": ("select * from kept.for", "eign_log"),
}
SETUP = """
drop schema if exists kept cascade; create schema kept; grant all on schema kept to public;
create extension dblink schema kept; create extension isn schema kept;
create extension postgres_fdw schema kept;
create server kept_server foreign data wrapper postgres_fdw options (host '{host}', port '{port}', dbname '{db}');
create user mapping for {chief} server kept_server options (user '{chief}', password '{secret}');
create foreign table kept.foreign_log (note text) server kept_server
  options (schema_name 'public', table_name 'log');
create table kept.told (id int);
"""
OBJECTS = """
create function kept.f_{n}() returns int language plpgsql as
  $f$ declare q text; begin q := '{one}' || '{two}'; execute q; return 1; end $f$;
create function kept.b_{n}(int) returns bool language sql as 'select kept.f_{n}() = 1';
create domain kept.d_{n} as int check (kept.b_{n}(value));
create table kept.t_{n} (a kept.d_{n});
create function kept.o_{n}(int, int) returns int language sql as 'select kept.f_{n}()';
create operator kept.@{op}# (leftarg = int, rightarg = int, function = kept.o_{n});
create function kept.by_o_{n}() returns int language plpgsql as
  $f$ begin return 1 operator(kept.@{op}#) 2; end $f$;
create function kept.by_d_{n}() returns int language plpgsql as
  $f$ declare x kept.d_{n}; begin x := 1; return 1; end $f$;
create function kept.by_default_{n}(int default kept.f_{n}()) returns int language sql as 'select $1';
create view kept.v_{n} as select kept.f_{n}();
create function kept.e_{n}() returns event_trigger language plpgsql as
  $f$ declare q text; begin if current_setting('kept.now', true) = '{n}' then
  q := '{one}' || '{two}'; execute q; end if; end $f$;
create event trigger kept_{n} on ddl_command_end when tag in ('COMMENT') execute function kept.e_{n}();
"""
WAYS = {
    "function": ["select kept.f_{n}()"], "view": ["table kept.v_{n}"],
    "undone": ["begin", "select kept.f_{n}()", "rollback"],
    "failing": ["select kept.f_{n}(), 1 / (select 0)"],
    "prepared": ["prepare q as select kept.f_{n}()", "execute q", "deallocate q"],
    "argument of execute": ["prepare q(int) as select $1", "execute q(kept.f_{n}())", "deallocate q"],
    "explained": ["prepare q as select kept.f_{n}()", "explain analyze execute q", "deallocate q"],
    "domain of prepare": ["prepare q(kept.d_{n}) as select $1", "execute q(1)", "deallocate q"],
    "row type": ["select json_populate_record(null::kept.t_{n}, '{{\"a\": 1}}')"],
    "operator in a body": ["select kept.by_o_{n}()"], "domain in a body": ["select kept.by_d_{n}()"],
    "default": ["select kept.by_default_{n}()"],
    "do": ["do $d$ begin execute '{one}' || '{two}'; end $d$"],
    "do in a do": ["do $d$ begin execute 'do $e$ begin perform kept.f_{n}(); end $e$'; end $d$"],
    "event trigger": ["set kept.now = '{n}'", "comment on table kept.told is '{n}'"],
}


def values(cluster, state):
    node = cluster.primary
    dsn = f"host=127.0.0.1 port={node.port} dbname={APP_DATABASE} user={CHIEF} password={CHIEF_SECRET}"
    first, second = (half.format(dsn=dsn) for half in STATES[state])
    index = list(STATES).index(state)
    return {"n": index, "op": "@" * (index + 1), "one": first, "two": second}


@pytest.fixture(scope="module", autouse=True)
def made(cluster, chief):  # noqa: F811
    run = cluster.primary.psql
    run(SETUP.format(host="127.0.0.1", port=cluster.primary.port, db=APP_DATABASE, chief=CHIEF,
                     secret=CHIEF_SECRET), APP_DATABASE)
    for state in STATES:
        run(OBJECTS.format(**values(cluster, state)), APP_DATABASE)
    cluster.wait_replicated()
    yield
    for state in STATES:
        run(f"drop event trigger kept_{values(cluster, state)['n']}", APP_DATABASE)
    run("drop schema kept cascade", APP_DATABASE)


@pytest.fixture(scope="module", name="guessed")
def sequence_of_the_seed(cluster):
    c = Direct(cluster.primary, APP_DATABASE, CHIEF)
    c.run("select setseed(0.5)")
    rows, _ = c.run("select random()::text from generate_series(1, 50)")
    c.leave()
    return {row[0] for row in rows}


def said(c, sql):
    """Without an answer: an error may be what is meant."""
    with c.cursor() as cursor:
        try:
            cursor.execute(sql)
        except Exception:  # pylint: disable=broad-except
            pass


def met(c, guessed):
    """What a session finds of another's."""
    found = []
    with c.cursor() as cursor:
        cursor.execute(PRIMARY + "select random()::text, kept.dblink_get_connections(), kept.isn_weak(), "
                       "(select count(*) from kept.postgres_fdw_get_connections())")
        number, connections, weak, foreign = cursor.fetchone()
        found += ["seed"] * (number in guessed) + ["connections"] * bool(connections)
        found += ["mode"] * weak + ["foreign connections"] * (foreign > 0)
        try:
            cursor.execute(PRIMARY + "select * from kept.dblink('select 1') as x(a int)")
            found.append("unnamed connection")
        except Exception:  # pylint: disable=broad-except
            pass
    return found


def pool_of_one(proxy):
    return known(proxy(database={"pool_size": 1, "pin_limit": "100%"}, users={CHIEF: CHIEF_SECRET}))


def leaks_of(p, chief, guessed, tries):  # noqa: F811
    """{name: what B met behind A's statements}."""
    leaks = {}
    for name, options, statements in tries:
        a = p.connect(**chief, **options)
        for sql in statements:
            said(a, sql)
        a.close()
        b = p.connect(**chief)
        found = met(b, guessed)
        b.close()
        if found:
            leaks[name] = found
            p.admin("RECONNECT")
    return leaks


@pytest.mark.parametrize("state", STATES)
def test_what_a_process_keeps_is_met_by_nobody(proxy, cluster, chief, guessed, state):  # noqa: F811
    p = pool_of_one(proxy)
    tries = [(way, {}, [sql.format(**values(cluster, state)) for sql in statements])
             for way, statements in WAYS.items()]
    assert leaks_of(p, chief, guessed, tries) == {}
