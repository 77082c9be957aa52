# SPDX-License-Identifier: PostgreSQL
"""What sorts, hashes, indexes or shows the values of a type may be a user's function that no text names: a
support function of a class of operators, what a range has for its bounds, and types made of such types."""
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import last_route, one, rows_of
from test_catalog_facts import known

pytestmark = pytest.mark.invariant

# Operators in C, the comparison not; a class that is no default, for a range, an index and a partition key; hashes.
SETUP = """
create schema o; grant usage on schema o to public; set search_path = o, public;
create type ct as (x int); create type hd as (x int);
do $$ declare r record; begin
    for r in select * from (values ('lt','<'),('le','<='),('eq','='),('ge','>='),('gt','>')) v(f, op) loop
    execute format('create function c_%1$s(ct, ct) returns bool immutable language internal as ''record_%1$s''', r.f);
    execute format('create operator o.%2$s (leftarg = ct, rightarg = ct, function = c_%1$s)', r.f, r.op);
    end loop; end $$;
create function compares(ct, ct) returns int immutable language plpgsql as
    $$ begin perform set_config('work_mem', '7777kB', false); return btint4cmp($1.x, $2.x); end $$;
create operator class ct_ops default for type ct using btree as
    operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 compares(ct, ct);
create function odd(int, int) returns int immutable language plpgsql as
    $$ begin perform set_config('work_mem', '7777kB', false);
    perform pg_try_advisory_lock(77); return btint4cmp($1, $2); end $$;
create operator class int_odd for type int using btree as
    operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 odd(int, int);
create type odd_range as range (subtype = int, subtype_opclass = int_odd);
create function apart(int, int) returns float8 immutable language plpgsql as $$ begin return $1 - $2; end $$;
create type apart_range as range (subtype = int, subtype_diff = apart);
create function hd_eq(hd, hd) returns bool immutable language internal as 'record_eq';
create operator o.= (leftarg = hd, rightarg = hd, function = hd_eq, hashes);
create function hashes(hd) returns int immutable language plpgsql as $$ begin return 1; end $$;
create operator class hd_ops default for type hd using hash as operator 1 =, function 1 hashes(hd);
create function point_cmp(point, point) returns int immutable language plpgsql as $$ begin return 0; end $$;
create operator class point_ops default for type point using btree as function 1 point_cmp(point, point);
create domain ct_domain as ct; create type ct_pair as (a int, b ct[]);
create table t_ct (a ct); insert into t_ct values (row(1)), (row(2));
create table t_array (a ct[]); create table t_domain (a ct_domain); create table t_pair (a ct_pair);
create table t_hd (a hd); create table t_range (a odd_range); create table t_multi (a odd_multirange);
create table t_index (a int); create index on t_index (a int_odd); create table t_point (a point);
create table t_part (a int) partition by range (a int_odd);
create materialized view m_ct as select row(1)::ct as a; create view v_ct as select * from t_ct;
create function makes_ct(int) returns ct immutable language plpgsql as 'begin return row($1); end';
create table t_plain (a int, r int4range, n numeric[], m int4multirange); create view v_plain as select * from t_plain;
grant select on all tables in schema o to public;
"""

SORTED = [("relation", name) for name in ("t_ct", "t_array", "t_domain", "t_pair", "t_hd", "t_range", "t_multi",
                                          "t_index", "t_part", "t_point", "m_ct", "v_ct")]
SORTED += [("type", name) for name in ("ct", "_ct", "ct_domain", "ct_pair", "hd", "odd_range", "odd_multirange",
                                       "_odd_range", "apart_range", "point")]
SORTED += [("function", name) for name in ("odd_range", "apart_range", "makes_ct", "point")]

READS = ["select * from o.t_ct order by 1", "select distinct a from o.t_ct", "table o.t_ct union table o.t_ct",
         "select count(distinct a) from o.t_ct", "select max(a::text) from o.v_ct group by a",
         "select greatest(row(1)::o.ct, row(2)::o.ct)::text", "values (row(1)::o.ct), (row(2)::o.ct) order by 1",
         "select a from json_to_recordset('[{\"a\": \"(1)\"}, {\"a\": \"(2)\"}]') as x(a o.ct) order by 1",
         "select '[1,2]'::o.odd_range::text", "select o.odd_range(1, 2)::text", "select '{[1,2]}'::o.odd_multirange::text",
         "select '{\"[1,2]\"}'::o.odd_range[]::text", "select (row('[1,2]')::o.t_range)::text",
         "select json_populate_record(null::o.t_range, '{\"a\": \"[1,2]\"}')::text"]


@pytest.fixture(scope="module")
def types(cluster):
    cluster.primary.psql(SETUP, APP_DATABASE)
    cluster.wait_replicated()
    yield
    cluster.primary.psql("drop schema o cascade", APP_DATABASE)
    cluster.wait_replicated()


def test_types_that_run_what_no_text_names_are_known(types, proxy):
    found = known(proxy())
    for key in SORTED:
        assert {"runs", "home"} <= set(found[key].split()), (key, found[key])
    assert found[("relation", "t_plain")] == "" and found[("relation", "v_plain")] == ""


@pytest.mark.parametrize("sql", READS)
def test_what_sorts_a_type_reaches_nobody_else(types, cluster, proxy, sql):
    p = proxy(database={"pool_size": 1, "pin_limit": "100%"})
    known(p)
    a, b = p.connect(), p.connect()
    rows_of(a, sql)
    assert last_route(a)["role"] == "primary"
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert all(r.psql(locks) == [(0,)] for r in cluster.replicas)
    a.close()
    for where in ("/* switchgear: route=primary */ ", ""):
        assert one(b, where + "select current_setting('work_mem')") == "4MB"
    wait_until(lambda: cluster.primary.psql(locks) == [(0,)], 5, "the lock has gone with its session")
