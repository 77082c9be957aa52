# SPDX-License-Identifier: PostgreSQL
"""What the bodies, domains, operators and event triggers of a database do, is known of what reaches
them: a lock is the primary's, whatever its function is declared as, and who may have loaded a library
keeps its connection.
"""
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of
from test_left import CHIEF, CHIEF_SECRET, chief, known, pinned_by  # noqa: F401

LOCK, LIBRARY = "pg_try_advisory_lock(4, 11)", "load ''auto_explain''"
SETUP = f"""
create schema eff; grant all on schema eff to public; create extension dblink schema eff;
create function eff.reads() returns int stable language plpgsql as 'begin return 1; end';
create function eff.locks() returns bool stable language plpgsql as 'begin return {LOCK}; end';
create function eff.locks_sql() returns bool immutable language sql as 'select {LOCK}';
create function eff.locks_atomic() returns bool stable language sql begin atomic select {LOCK}; end;
create function eff.locks_in_block() returns bool stable language plpgsql as
  'begin perform pg_advisory_xact_lock(4); return true; end';
create function eff.locks_by_another() returns bool stable language sql as 'select eff.locks()';
create function eff.locks_by_default(bool default {LOCK}) returns bool stable language sql as 'select $1';
create view eff.locked as select {LOCK} as x;
create function eff.locks_by_view() returns bool stable language sql as 'select x from eff.locked';
create function eff.signals() returns bool stable language sql as 'select pg_cancel_backend(0)';
create function eff.asks_elsewhere() returns int stable language sql as
  $f$ select 1 from eff.dblink('select 1') as x(a int) $f$;
create function eff.checks(int) returns bool stable language sql as 'select {LOCK} or true';
create domain eff.checked as int check (eff.checks(value));
create function eff.locks_by_domain() returns int stable language plpgsql as
  'declare x eff.checked; begin x := 1; return x; end';
create function eff.compares(int, int) returns bool stable language sql as 'select {LOCK}';
create operator eff.@#@ (leftarg = int, rightarg = int, function = eff.compares);
create function eff.locks_by_operator() returns bool stable language plpgsql as
  'begin return 1 operator(eff.@#@) 2; end';
create function eff.loads() returns int language plpgsql as 'begin {LIBRARY}; return 1; end';
create function eff.loads_if(int) returns bool language plpgsql as 'begin {LIBRARY}; return true; end';
create domain eff.loaded as int check (eff.loads_if(value));
create table eff.rows (a eff.loaded);
create function eff.loads_by_domain() returns int language plpgsql as
  'declare x eff.loaded; begin x := 1; return x; end';
create function eff.loads_for(int, int) returns bool language plpgsql as 'begin {LIBRARY}; return true; end';
create operator eff.@@#@@ (leftarg = int, rightarg = int, function = eff.loads_for);
create function eff.loads_by_operator() returns bool language plpgsql as
  'begin return 1 operator(eff.@@#@@) 2; end';
create function eff.loads_by_default(int default eff.loads()) returns int language sql as 'select $1';
"""
READS = ["select eff.reads()", "select 1 where eff.reads() = 1"]
LOCKS = ["select eff.locks()", "select eff.locks_sql()", "select eff.locks_atomic()", "select eff.locks_in_block()",
         "select eff.locks_by_another()", "select eff.locks_by_default()", "table eff.locked",
         "select eff.locks_by_view()", "select eff.signals()", "select eff.asks_elsewhere()",
         "select 1::eff.checked", "select eff.locks_by_domain()", "select 1 operator(eff.@#@) 2",
         "select eff.locks_by_operator()"]
LOADS = {
    "function": ["select eff.loads()"], "domain": ["select 1::eff.loaded"],
    "row type": ["select json_populate_record(null::eff.rows, '{\"a\": 1}')"],
    "domain in a body": ["select eff.loads_by_domain()"], "operator in a body": ["select eff.loads_by_operator()"],
    "default": ["select eff.loads_by_default()"],
    "prepared": ["prepare q as select eff.loads()", "execute q", "deallocate q"],
    "argument of execute": ["prepare q(int) as select $1", "execute q(eff.loads())", "deallocate q"],
    "argument, explained": ["prepare q(int) as select $1", "explain analyze execute q(eff.loads())", "deallocate q"],
    "argument, for a table": ["prepare q(int) as select $1", "create temp table z on commit drop as "
                              "execute q(eff.loads())", "deallocate q"],
    "domain of prepare": ["prepare q(eff.loaded) as select $1", "execute q(1)", "deallocate q"],
    "do in a do": ["do $d$ begin execute 'do $e$ begin perform eff.loads(); end $e$'; end $d$"],
    "do in a do, with a language": ["do $d$ begin execute 'do language plpgsql $e$ begin load ''auto_explain''; "
                                    "end $e$'; end $d$"],
    "do of a domain": ["do $d$ declare x eff.loaded; begin x := 1; end $d$"],
    "do of an operator": ["do $d$ begin perform 1 operator(eff.@@#@@) 2; end $d$"],
}


@pytest.fixture(scope="module", autouse=True)
def effects(cluster):
    cluster.primary.psql(SETUP, APP_DATABASE)
    cluster.wait_replicated()
    yield
    cluster.primary.psql("drop schema eff cascade", APP_DATABASE)


def target_of(c, sql):
    """Where it went, with an error or not."""
    with c.cursor() as cursor:
        try:
            cursor.execute(sql)
        except Exception:  # pylint: disable=broad-except
            pass
    return rows_of(c, "show switchgear.last_route")[0][1]


def test_a_lock_is_the_primarys_whatever_its_function_says(proxy):
    p = known(proxy())
    c = p.connect()
    wait_until(lambda: target_of(c, READS[0]) == "replica", what="a replica is read")
    assert {sql: target_of(c, sql) for sql in READS} == dict.fromkeys(READS, "replica")
    went = {}
    for sql in LOCKS:
        c = p.connect()
        went[sql] = target_of(c, sql)
        c.close()
    assert went == dict.fromkeys(LOCKS, "primary")


def test_a_stable_lock_keeps_others_out(proxy):
    p = known(proxy())
    clients = [p.connect() for _ in range(3)]
    assert sorted(one(c, "select eff.locks()") for c in clients) == [False, False, True]


def bound_by(p, chief, statements):  # noqa: F811
    c = p.connect(**chief)
    with c.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)
    # what was prepared is found to be gone a moment later
    pins = wait_until(lambda: {reason for reason in pinned_by(p) or {"none"} if reason != "sql_prepare"},
                      what="a pin or none")
    c.close()
    wait_until(lambda: pinned_by(p) == set(), what="nobody is bound")
    return pins


@pytest.mark.invariant
def test_whatever_reaches_a_library_binds(proxy, chief):  # noqa: F811
    p = known(proxy(database={"pool_size": 2}, users={CHIEF: CHIEF_SECRET}))
    pins = {way: bound_by(p, chief, statements) for way, statements in LOADS.items()}
    assert {way: found for way, found in pins.items() if not found & {"opaque_function", "load"}} == {}


@pytest.mark.invariant
def test_an_event_trigger_runs_with_all_ddl(proxy, cluster, chief):  # noqa: F811
    cluster.primary.psql("create table eff.told (a int); create function eff.on_ddl() returns event_trigger "
                         f"language plpgsql as 'begin {LIBRARY}; end'; create event trigger eff_ddl on "
                         "ddl_command_end when tag in ('COMMENT') execute function eff.on_ddl()", APP_DATABASE)
    try:
        p = known(proxy(database={"pool_size": 2}, users={CHIEF: CHIEF_SECRET}))
        assert bound_by(p, chief, ["comment on table eff.told is 'x'"]) == {"opaque_function"}
    finally:
        cluster.primary.psql("drop event trigger eff_ddl", APP_DATABASE)
