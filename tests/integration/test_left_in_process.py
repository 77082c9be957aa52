# SPDX-License-Identifier: PostgreSQL
"""What a server's process keeps behind DISCARD ALL, and no question finds: the seed of random(), the
connections of extensions, their modes. Whoever made it, and by whatever way, the next session does
not meet it.

Neither a text nor a body below shows what happens. One connection to the primary serves everybody.
"""
import psycopg
import psycopg.types.string
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
create schema kept; grant all on schema kept to public;
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
create schema kept_{n};
create table kept_{n}.x (a int); insert into kept_{n}.x values (1);
create function kept.k_{n}(int) returns int immutable language plpgsql as $f$ declare q text; begin
  if current_setting('kept.now', true) = '{n}' then q := '{one}' || '{two}'; execute q; end if; return 1; end $f$;
create index on kept_{n}.x (kept.k_{n}(a));
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
    "reindex": ["set kept.now = '{n}'", "reindex schema kept_{n}"],
    "vacuum": ["set kept.now = '{n}'", "analyze"],
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
        run(f"drop schema kept_{values(cluster, state)['n']} cascade", APP_DATABASE)
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


SEEDS = {  # where the text shows it
    "true": "select set_config('seed', '0.5', true)", "false": "select set_config('seed', '0.5', false)",
    "upper case": "select set_config('SEED', '0.5', false)", "E": "select set_config(E's\\145ed', '0.5', true)",
    "qualified": "select pg_catalog.set_config('seed', '0.5', true)",
    "computed": "select set_config('se' || 'ed', '0.5', true)",
    "by a name": "select set_config(n, '0.5', true) from (values ('seed')) v(n)",
    "named arguments": "select set_config(setting_name => 'seed', new_value => '0.5', is_local => true)",
    "explained": "explain analyze select set_config('seed', '0.5', false)",
    "cursor": "begin; declare c cursor for select set_config('seed', '0.5', true); fetch c; commit",
    "set": "set seed = 0.5", "set local": "begin; set local seed = 0.5; commit",
    "set clause": "select kept.seeded()",
    "undone": "begin; select set_config('seed', '0.5', false); rollback",
}


def test_a_seed_that_a_client_says_is_met_by_nobody(proxy, cluster, chief, guessed):  # noqa: F811
    cluster.primary.psql("create function kept.seeded() returns int language sql set seed = '0.5' as 'select 1'",
                         APP_DATABASE)
    p = pool_of_one(proxy)
    tries = [(way, {}, [part.strip() for part in sql.split("; ")]) for way, sql in SEEDS.items()]
    tries += [("start-up", {"options": "-c seed=0.5"}, [PRIMARY + "select 1"]),
              ("start-up alone", {"options": "-c seed=0.5"}, []),
              ("start-up, in a block", {"options": "-c seed=0.5"}, ["begin", "insert into kept.told values (1)",
                                                                    "rollback"])]
    assert leaks_of(p, chief, guessed, tries) == {}


def test_the_type_of_a_parameter_may_be_a_domain(proxy, cluster, chief, guessed):  # noqa: F811
    """No text has its name: it is an OID in the Parse. Its checks run on what is bound."""
    class Typed(str):
        pass

    p, leaks = pool_of_one(proxy), {}
    for state in STATES:
        oid = int(cluster.primary.psql(
            f"select 'kept.d_{values(cluster, state)['n']}'::regtype::oid", APP_DATABASE)[0][0])

        class Dumper(psycopg.types.string.StrDumper):
            pass

        Dumper.oid = oid
        for prepare in (False, True):
            with psycopg.connect(host="127.0.0.1", port=p.port, dbname=APP_DATABASE, **chief) as a:
                a.autocommit = True
                a.adapters.register_dumper(Typed, Dumper)
                for _ in range(1 + prepare):
                    try:
                        a.execute(PRIMARY + "select %s", [Typed("1")], prepare=prepare)
                    except psycopg.Error:
                        pass
            b = p.connect(**chief)
            found = met(b, guessed)
            b.close()
            if found:
                leaks[state, prepare] = found
                p.admin("RECONNECT")
    assert leaks == {}


def test_who_stays_keeps_its_seed(proxy, chief):  # noqa: F811
    p = known(proxy(database={"pool_size": 2}, users={CHIEF: CHIEF_SECRET}))
    a, b = p.connect(**chief), p.connect(**chief)
    for sql in ("select setseed(0.5)", "select set_config('seed', '0.5', false)", "set seed = 0.5"):
        numbers = []
        for _ in range(2):
            said(a, sql)
            one(b, "select kept.f_4()")
            numbers.append(one(a, "select random()"))
        assert numbers[0] == numbers[1], sql
