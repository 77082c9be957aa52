# SPDX-License-Identifier: PostgreSQL
"""What the proxy finds out about the names of a database: whether what is behind each of them may leave
something on a connection, needs the primary, reaches outside, or does what nobody can ask for."""
import time

import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, PROBE_PASSWORD, PROBE_USER, wait_until
from proxy import dicts_of, last_route, one, rows_of

SETUP = """
create schema f; grant all on schema f to public; set search_path = f, public;
create extension hstore schema f; create extension citext schema f; create extension dblink schema f;
create function far_call() returns trigger language plpgsql as
    'begin perform f.dblink_exec(x, y); return new; end';
create function far_caller() returns int language plpgsql as 'begin perform far_call(); return 1; end';
create table far_written (a int);
create trigger far before insert on far_written for each row execute function far_call();
create extension "uuid-ossp" schema f; create extension postgres_fdw schema f;
create extension tablefunc schema f; create extension moddatetime schema f;

create table plain (id serial primary key, a int check (a > 0), b text default 'x',
    t timestamptz default now(), u uuid default gen_random_uuid(), v uuid default uuid_generate_v4(),
    h hstore, c citext);
create index on plain (lower(b));
create unlogged table unlogged (a int);
create sequence seq;
create server elsewhere foreign data wrapper postgres_fdw options (dbname 'x');
create foreign table foreign_t (a int) server elsewhere;
create materialized view matview as select a from plain;

create function vol() returns int language plpgsql as 'begin return 1; end';
create function stab(x int) returns int language plpgsql stable as 'begin return x; end';
create function imm(x int) returns int language sql immutable as 'select x';
create function trg() returns trigger language plpgsql as 'begin return new; end';
create procedure proc() language plpgsql as 'begin commit; end';
create function atomic_plain() returns int begin atomic select 1; end;
create function atomic_set(n text) returns text begin atomic select set_config(n, '1', false); end;
create function sets_literal() returns text language sql as
    $$ select set_config('app.tenant', '5', false) $$;
create function sets_computed(n text) returns text language plpgsql as
    $$ begin return set_config('app.' || n, '5', false); end $$;
create function sets_dynamic(n text) returns void language plpgsql as
    $$ begin execute format('SET %I = 5', n); end $$;
create function runs_argument(statement text) returns void language plpgsql as
    $$ begin execute statement; end $$;
create function runs_literal(n text) returns void language plpgsql as
    $$ begin execute format('select 1 from %I', n); end $$;
create function sets_in_body() returns void language plpgsql as
    $$ begin set app.mode = 'x'; end $$;
create function with_config() returns int language sql set app.region = 'eu' as 'select 1';
create function calls_opaque() returns void language plpgsql as
    $$ begin perform f.sets_computed('x'); end $$;
create function calls_calls_opaque() returns void language plpgsql as
    $$ begin perform CALLS_OPAQUE(); end $$;
create function loads() returns void language plpgsql as $$ begin LOAD 'x'; end $$;
create function seeds() returns void language plpgsql as $$ begin perform SetSeed(0.5); end $$;
create function seeds_by_set() returns void language sql as 'set session Seed = 0.5';
create function seeds_by_config() returns void language plpgsql as
    $$ begin perform set_config('seed', '0.5', false); end $$;
create function seeds_by_text() returns void language plpgsql as
    $$ begin execute 'select setseed(0.5)'; end $$;
create function seeds_atomic() returns text begin atomic select setseed(0.5)::text; end;
create function has_a_seed(seed int) returns int language plpgsql volatile as
    $$ begin return seed + (select count(*) from resetseeds); end $$;
create view v_seed as select setseed(0.5)::text as a;
create function in_c() returns text language internal as 'current_database';
create function overloaded(a int) returns int language sql immutable as 'select 1';
create function overloaded(a text) returns int language sql volatile as 'select 1';
create function trg_opaque() returns trigger language plpgsql as
    $$ begin perform set_config(tg_table_name, 'x', false); return new; end $$;
create aggregate agg_plain(int) (sfunc = int4pl, stype = int);
create function near(a int, b int) returns bool language plpgsql immutable as 'begin return a = b; end';
create aggregate agg_runs(int) (sfunc = stab2, stype = int)
"""

# agg_runs needs a function of two arguments first
SETUP = SETUP.replace("create aggregate agg_runs(int) (sfunc = stab2, stype = int)", """
create function two(a int, b int) returns int language plpgsql immutable as 'begin return a; end';
create aggregate agg_runs(int) (sfunc = two, stype = int);
create aggregate agg_sets(text, bool) (sfunc = set_config, stype = text);

create view v_plain as select a, upper(b) as b, now() as n, random() as r from plain;
create view v_over_view as select * from v_plain;
create view v_runs as select stab(a) as a from plain;
create view v_over_runs as select * from v_runs;
create view v_volatile as select vol() as a;
create view v_opaque as select sets_computed('x') as a;
create view v_lock as select pg_advisory_lock(1) is null as a;
create view v_xact_lock as select pg_advisory_xact_lock(1) is null as a;
create view v_set as select set_config('a.b', 'c', false) as a;
create view v_xml as select query_to_xml('select 1', true, true, '')::text as a;
create view v_seq as select last_value from seq;
create view v_nextval as select nextval('seq') as a;
create view v_unlogged as select a from unlogged;
create view v_foreign as select a from foreign_t;
create view v_backend as select pg_backend_pid() as a;
create view v_catalog as select count(*) as a from pg_stat_activity;
create view v_settings as select * from pg_settings;
create view v_extension as select h -> 'a' as a, c = 'X' as b from plain;
create view v_crosstab as select * from crosstab('select 1, 2, 3') as x(a int, b int);
create view v_instead as select 1 as a;
create trigger g instead of insert on v_instead for each row execute function trg();

create table triggered (a int);
create trigger g before insert on triggered for each row execute function trg();
create table trigger_off (a int);
create trigger g before insert on trigger_off for each row execute function trg();
alter table trigger_off disable trigger g;
create table trigger_opaque (a int);
create trigger g before insert on trigger_opaque for each row execute function trg_opaque();
create table trigger_built_in (a int);
create trigger g before update on trigger_built_in for each row
    execute function suppress_redundant_updates_trigger();
create function writes_opaque() returns void language plpgsql as
    $$ begin insert into trigger_opaque values (1); end $$;
create table default_runs (a int default stab(1));
create table default_sets (a text default set_config('a.b', 'c', false));
create table excluded (a int, exclude using btree (imm(a) with =));
create table check_runs (a int check (imm(a) > 0));
create table index_runs (a int); create index on index_runs (imm(a));
create table index_where (a int); create index on index_where (a) where imm(a) > 1;
create table generated_runs (a int, b int generated always as (imm(a)) stored);
create domain dom_plain as int check (value > 0);
create domain dom_runs as int check (imm(value) > 0);
create domain dom_over as dom_runs;
create table domain_plain (a dom_plain);
create table domain_runs (a dom_runs);
create table domain_array (a dom_over[]);
create type pair as (a int, b dom_runs);
create table composite_runs (a pair);
create type mood as enum ('a', 'b');
create type span as range (subtype = int);
create type plain_pair as (a int, b mood);
create table ruled (a int);
create rule r as on insert to ruled do also select 1;
create table secured (a int); alter table secured enable row level security;
create policy p on secured using (stab(a) > 0);
create table secured_plain (a int); alter table secured_plain enable row level security;
create policy p on secured_plain using (a > 0);
create table secured_off (a int); create policy p on secured_off using (stab(a) > 0);
create view v_secured as select a from secured;

create table fk_parent (id int primary key);
create table fk_child (id int references fk_parent on delete cascade);
create trigger g after delete on fk_child for each row execute function trg();
create table fk_quiet_parent (id int primary key);
create table fk_quiet_child (id int references fk_quiet_parent on delete cascade);
create table fk_restrict_parent (id int primary key);
create table fk_restrict_child (id int references fk_restrict_parent);
create trigger g after delete on fk_restrict_child for each row execute function trg();

create table parted (a int) partition by range (a);
create table part_1 partition of parted for values from (0) to (10);
create table part_2 partition of parted for values from (10) to (20);
create trigger g before insert on part_1 for each row execute function trg();
create table parted_runs (a int) partition by range (imm(a));
create table part_runs partition of parted_runs for values from (0) to (10);
create table parent_t (a int); create table child_t () inherits (parent_t);
create trigger g before insert on child_t for each row execute function trg();
create table parted_foreign (a int) partition by range (a);
create foreign table part_foreign partition of parted_foreign for values from (0) to (1)
    server elsewhere;

create table row_of (a dom_runs);
create table row_runs (a row_of);
create table row_array_runs (a row_of[]);
create domain dom_default as int default stab(1);
create type span_runs as range (subtype = dom_runs);
create operator <=> (function = near, leftarg = int, rightarg = int, commutator = <=>);
create table when_runs (a int);
create trigger g before update on when_runs for each row when (imm(old.a) > 0)
    execute function suppress_redundant_updates_trigger();
create table secured_subquery (a int); alter table secured_subquery enable row level security;
create policy p on secured_subquery using (a in (select a from unlogged));
create table secured_insert (a int); alter table secured_insert enable row level security;
create policy p on secured_insert for insert with check (stab(a) > 0);
create table deferred (a int);
create constraint trigger g after insert on deferred deferrable initially deferred
    for each row execute function trg();
create table fk_chain (id int primary key);
create table fk_middle (id int primary key references fk_chain on delete cascade);
create table fk_end (id int references fk_middle on update cascade);
create trigger g after update on fk_end for each row execute function trg();
create table fk_default (id int primary key);
create table fk_default_child (id int default 1 references fk_default on delete set default);
create rule r as on update to fk_default_child do also select 1;
create table sub_parted (a int, b int) partition by list (a);
create table sub_1 partition of sub_parted for values in (1) partition by list (b);
create table sub_1_1 partition of sub_1 for values in (1);
create table sub_2 partition of sub_parted for values in (2);
create trigger g before insert on sub_1_1 for each row execute function trg();

create table check_sets (a int check (set_config('a.b', 'c', false) is not null));
create table secured_sets (a int); alter table secured_sets enable row level security;
create policy p on secured_sets using (set_config('a.b', 'c', false) is not null);
create table when_sets (a int);
create trigger g before update on when_sets for each row
    when (set_config('a.b', 'c', false) is not null)
    execute function suppress_redundant_updates_trigger();
create domain dom_sets as text default set_config('a.b', 'c', false);
create function atomic_calls() returns text begin atomic select atomic_set('x'); end;
create view v_visible as select oid from plain, (select 1::oid as oid) x where pg_type_is_visible(oid);
create view v_table_xml as select table_to_xml('f.plain', true, true, '')::text as a;

create view v_slot as select slot_name from pg_create_physical_replication_slot('x', true, true);
create view v_temporary as select pg_my_temp_schema() as a;
create view v_function_in_from as select * from stab(1) as a;
create view v_subquery as select (select max(vol()) from plain) as a;
create view v_cte as with c as materialized (select nextval('seq'), stab(1) as b) select b from c;
create view v_union as select a from plain union all select stab(2);
create view v_window as select sum(imm(a)) over (order by a) as a from plain;
create view v_domain as select a::dom_runs as a from plain;
create view v_aggregate as select agg_runs(a) as a from plain;
create view v_aggregate_plain as select agg_plain(a) as a from plain;
create view v_parted as select a from parted;
create view v_check as select a from check_runs;
create view v_default as select a from plain; alter view v_default alter a set default stab(1);

create function sets_built(n text) returns void language plpgsql as
    $$ declare v text; begin v := 'SET app.' || n || ' = 5'; execute v; end $$;
create function sets_local(n text) returns void language plpgsql as
    $$ begin execute format('SET LOCAL app.tenant = %L', n); end $$;
create function updates(n text) returns void language plpgsql as
    $$ begin execute 'update plain set b = $1' using n; end $$;
create function "Mixed"(n text) returns text language sql as 'select set_config(n, n, false)';
create function calls_mixed() returns text language sql as $$ select f."Mixed"('x') $$;
create function near_miss() returns text language sql as $$ select 'calls_opaque_not' $$;
create function with_default(a int default vol()) returns int language sql as 'select 1';
create function makes_slot() returns void language plpgsql as
    $$ begin perform pg_create_logical_replication_slot('x', 'y', true); end $$;
create function now() returns int language sql as 'select 1';

create operator === (function = two, leftarg = int, rightarg = int);
create operator !== (function = pg_advisory_lock, leftarg = int, rightarg = int);
create operator &&& (function = int4pl, leftarg = int, rightarg = int);
create view v_operator as select a === 1 as a from plain;
create table cast_from (a mood);
create function mood_number(mood) returns int language plpgsql as 'begin return 1; end';
create cast (mood as int) with function mood_number(mood) as assignment;
create view "Quoted View" as select 1 as a;
alter role app set app.from_role = 'x';
""")

R, F, T, O, A = "relation", "function", "type", "operator", "operator apart"
EXPECTED = {
    (R, "plain"): "", (R, "plain_id_seq"): "home", (R, "unlogged"): "home", (R, "seq"): "home",
    (R, "foreign_t"): "runs write_runs home outside", (R, "matview"): "",
    (R, "v_plain"): "", (R, "v_over_view"): "", (R, "v_runs"): "runs write_runs",
    (R, "v_over_runs"): "runs write_runs", (R, "v_volatile"): "runs write_runs home",
    (R, "v_opaque"): "runs write_runs home opaque write_opaque",
    (R, "v_lock"): "runs write_runs home", (R, "v_xact_lock"): "home",
    (R, "v_set"): "runs write_runs home opaque write_opaque",
    (R, "v_xml"): "runs write_runs home opaque write_opaque",
    (R, "v_seed"): "runs write_runs home opaque write_opaque",
    (R, "v_slot"): "runs write_runs home opaque write_opaque", (R, "v_temporary"): "home",
    (R, "v_function_in_from"): "runs write_runs", (R, "v_subquery"): "runs write_runs home",
    (R, "v_cte"): "runs write_runs home", (R, "v_union"): "runs write_runs",
    (R, "v_window"): "runs write_runs", (R, "v_domain"): "runs write_runs",
    (R, "v_aggregate"): "runs write_runs", (R, "v_aggregate_plain"): "",
    (R, "v_parted"): "write_runs", (R, "v_check"): "write_runs", (R, "v_default"): "write_runs",
    (R, "v_seq"): "home", (R, "v_nextval"): "home", (R, "v_unlogged"): "home",
    (R, "v_foreign"): "runs write_runs home outside", (R, "v_backend"): "home",
    (R, "v_catalog"): "write_runs home", (R, "v_settings"): "write_runs home",
    (R, "v_extension"): "", (R, "v_crosstab"): "runs write_runs home", (R, "v_instead"): "write_runs",
    (R, "triggered"): "write_runs", (R, "trigger_off"): "",
    (R, "trigger_opaque"): "write_runs write_opaque", (R, "trigger_built_in"): "",
    (R, "default_runs"): "write_runs", (R, "default_sets"): "write_runs write_opaque",
    (R, "check_runs"): "write_runs", (R, "index_runs"): "write_runs",
    (R, "index_where"): "write_runs", (R, "generated_runs"): "write_runs",
    (R, "domain_plain"): "", (R, "domain_runs"): "write_runs", (R, "domain_array"): "write_runs",
    (R, "composite_runs"): "write_runs", (R, "check_sets"): "write_runs write_opaque",
    (R, "secured_sets"): "runs write_runs home opaque write_opaque",
    (R, "when_sets"): "write_runs write_opaque", (R, "v_visible"): "home",
    (R, "v_table_xml"): "runs write_runs home opaque write_opaque", (R, "row_runs"): "write_runs",
    (R, "row_array_runs"): "write_runs", (R, "excluded"): "write_runs", (R, "when_runs"): "write_runs",
    (R, "secured_subquery"): "home", (R, "secured_insert"): "write_runs",
    (R, "deferred"): "write_runs", (R, "fk_chain"): "write_runs", (R, "fk_default"): "write_runs",
    (R, "sub_1"): "write_runs", (R, "sub_2"): "", (R, "ruled"): "write_runs",
    (R, "secured"): "runs write_runs", (R, "secured_plain"): "", (R, "secured_off"): "",
    (R, "v_secured"): "runs write_runs",
    (R, "fk_parent"): "write_runs", (R, "fk_child"): "write_runs", (R, "fk_quiet_parent"): "",
    (R, "fk_quiet_child"): "", (R, "fk_restrict_parent"): "", (R, "fk_restrict_child"): "write_runs",
    (R, "parted"): "write_runs", (R, "part_1"): "write_runs", (R, "part_2"): "",
    (R, "parted_runs"): "write_runs", (R, "part_runs"): "write_runs",
    (R, "parent_t"): "write_runs", (R, "child_t"): "write_runs",
    (R, "parted_foreign"): "runs write_runs home outside",
    (R, "part_foreign"): "runs write_runs home outside",
    (R, "v_operator"): "runs write_runs", (R, "cast_from"): "runs write_runs home",
    (R, "Quoted View"): "",
    (F, "vol"): "runs home", (F, "stab"): "runs", (F, "imm"): "runs", (F, "trg"): "runs home",
    (F, "proc"): "runs home", (F, "atomic_plain"): "runs home",
    (F, "atomic_set"): "runs home opaque", (F, "sets_literal"): "runs home",
    (F, "sets_computed"): "runs home opaque", (F, "sets_dynamic"): "runs home opaque",
    (F, "runs_argument"): "runs home opaque", (F, "runs_literal"): "runs home",
    (F, "sets_in_body"): "runs home", (F, "with_config"): "runs home",
    (F, "calls_opaque"): "runs home opaque", (F, "calls_calls_opaque"): "runs home opaque",
    (F, "writes_opaque"): "runs home opaque", (F, "loads"): "runs home opaque",
    (F, "seeds"): "runs home opaque", (F, "seeds_by_set"): "runs home opaque",
    (F, "seeds_by_config"): "runs home opaque", (F, "seeds_by_text"): "runs home opaque",
    (F, "seeds_atomic"): "runs home opaque", (F, "has_a_seed"): "runs home",
    (F, "in_c"): "runs home outside opaque", (F, "overloaded"): "runs home",
    (F, "agg_plain"): "", (F, "agg_runs"): "runs", (F, "agg_sets"): "runs home opaque", (F, "atomic_calls"): "runs home opaque",
    (F, "sets_built"): "runs home opaque", (F, "sets_local"): "runs home",
    (F, "updates"): "runs home", (F, "Mixed"): "runs home opaque", (F, "calls_mixed"): "runs home opaque",
    (F, "near_miss"): "runs home", (F, "with_default"): "runs home", (F, "makes_slot"): "runs home opaque",
    (F, "now"): "runs home",
    (F, "uuid_generate_v4"): "", (F, "hstore"): "", (F, "dblink"): "runs home outside",
    (F, "far_call"): "runs home outside", (F, "far_caller"): "runs home outside",
    (R, "far_written"): "write_runs outside",
    (F, "dblink_connect"): "runs home outside opaque", (F, "crosstab"): "runs home",
    (F, "moddatetime"): "runs home",
    (T, "hstore"): "", (T, "citext"): "", (T, "dom_plain"): "", (T, "dom_runs"): "runs",
    (T, "dom_over"): "runs", (T, "_dom_over"): "runs",
    (T, "dom_default"): "runs", (T, "dom_sets"): "runs home opaque", (T, "span_runs"): "runs", (T, "pair"): "runs", (T, "span"): "",
    (T, "plain_pair"): "runs home", (T, "mood"): "runs home", (T, "int4"): "runs home",
    (A, "==="): "runs", (A, "!=="): "runs home", (A, "&&&"): "", (A, "->"): "",
    ("setting", "app.tenant"): "", ("setting", "app.mode"): "", ("setting", "app.region"): "",
    ("setting", "app.from_role"): "",
}


@pytest.fixture(scope="module")
def objects(cluster):
    cluster.primary.psql(SETUP, APP_DATABASE)
    yield
    cluster.primary.psql("drop schema f cascade; alter role app reset app.from_role", APP_DATABASE)


def catalog_of(admin, database=APP_DATABASE):
    for row in dicts_of(admin, "SHOW CATALOG"):
        if row["database"] == database:
            return {key: int(value) if value and value.isdigit() else value
                    for key, value in row.items()}
    return {}


def known(p):
    """Kind and name of each object -> its flags."""
    p.connect().close()
    admin = p.connect_admin()
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    return {(row["kind"], row["name"]): row["flags"]
            for row in dicts_of(admin, f"SHOW CATALOG {APP_DATABASE}")}


def test_each_object_is_known_for_what_it_may_do(objects, proxy):
    found = known(proxy())
    wrong = [f"{' '.join(key)}: {found.get(key)!r} instead of {flags!r}"
             for key, flags in EXPECTED.items() if found.get(key) != flags]
    assert not wrong, "\n".join(wrong)


def flags_of(admin, kind, name):
    return next((row["flags"] for row in dicts_of(admin, f"SHOW CATALOG {APP_DATABASE}")
                 if (row["kind"], row["name"]) == (kind, name)), None)


@pytest.fixture
def table(cluster):
    run = cluster.primary.psql
    run("create table facts_t (a int)", APP_DATABASE)
    yield run
    run("drop table facts_t cascade; drop function if exists facts_f", APP_DATABASE)


@pytest.mark.parametrize("interval", ["1s", "24h"])
def test_what_others_change_is_found_soon(table, proxy, interval):
    p = proxy(switchgear={"catalog_interval": interval})
    client, admin = p.connect(), p.connect_admin()
    one(client, "select 1")
    wait_until(lambda: flags_of(admin, "relation", "facts_t") == "", what="it is a plain table")
    table("create function facts_f() returns trigger language plpgsql as 'begin return new; end'",
          APP_DATABASE)
    table("create trigger t before insert on facts_t for each row execute function facts_f()",
          APP_DATABASE)
    wait_until(lambda: flags_of(admin, "relation", "facts_t") == "write_runs", 40,
               what="it has a trigger")
    table("drop trigger t on facts_t", APP_DATABASE)
    wait_until(lambda: flags_of(admin, "relation", "facts_t") == "", 40, what="it has none")


def test_code_that_others_bring_lets_nothing_out_while_it_is_not_known(cluster, proxy):
    """A function hides one of PostgreSQL's own, and nobody answers what it does: the answer waits for a lock."""
    run = cluster.primary.psql
    p = proxy(switchgear={"catalog_interval": "24h"}, database={"pool_size": 1})
    p.admin("DRAIN r2")  # both meet on one replica
    a, b, admin = p.connect(), p.connect(), p.connect_admin()
    one(a, "select 1")
    for _ in range(2):  # the first look comes behind the question, and is followed by another one
        wait_until(lambda: catalog_of(admin).get("state") == "known", 20, "the catalog is known")
        time.sleep(2)
    blocker = cluster.primary.connect(APP_DATABASE)
    try:
        rows_of(blocker, "begin; lock table pg_policy in access exclusive mode")
        maker = cluster.primary.connect(APP_DATABASE)
        rows_of(maker, "create function public.upper(int) returns text language plpgsql as "
                       "$$ begin perform set_config('app.tenant', 'A', false); return 'x'; end $$")
        maker.close()  # what it has written is counted now
        time.sleep(3)
        for _ in range(3):
            assert one(a, "select upper(5)") == "x"
            for hint in ("", "/* switchgear: route=primary */ "):
                assert not one(b, hint + "select current_setting('app.tenant', true)")
    finally:
        blocker.close()
        run("drop function if exists public.upper(int)", APP_DATABASE)


def test_a_database_with_fixed_credentials_is_known_before_its_first_client(cluster, proxy):
    p = proxy(database={"user": APP_USER, "password": APP_PASSWORD})
    admin = p.connect_admin()
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")


def test_workers_and_users_of_a_database_share_what_is_known(table, proxy):
    p = proxy(switchgear={"workers": 3}, users={PROBE_USER: PROBE_PASSWORD})
    admin = p.connect_admin()
    one(p.connect(), "select 1")
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    asked = catalog_of(admin)["questions"]
    clients = [p.connect() for _ in range(6)]
    clients += [p.connect(user=PROBE_USER, password=PROBE_PASSWORD) for _ in range(6)]
    for client in clients:
        one(client, "select 1")
    wait_until(lambda: p.log_text().count("event=catalog_known") == 3, what="all workers know it")
    assert catalog_of(admin)["questions"] <= asked + 1  # the first look-out is a suspicion


def test_what_cannot_be_asked_is_said_and_asked_again(cluster, table, proxy):
    p = proxy(switchgear={"catalog_interval": "1s", "workers": 1})
    client, admin = p.connect(), p.connect_admin()
    one(client, "select 1")
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    cluster.primary.psql(f"alter role {APP_USER} nologin")
    cluster.primary.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                         "where application_name = 'switchgear-catalog'")
    try:
        row = wait_until(lambda: next((r for r in [catalog_of(admin)] if r["failures"] > 0), None),
                         what="a question fails")
        assert "not permitted to log in" in row["last_error"]
        assert row["state"] == "known" and flags_of(admin, "relation", "facts_t") == ""
        wait_until(lambda: catalog_of(admin)["failures"] > 1, what="it is asked again")
        assert p.log_text().count("event=catalog_failed") == 1
    finally:
        cluster.primary.psql(f"alter role {APP_USER} login")
    wait_until(lambda: catalog_of(admin)["last_error"] == "", what="it is answered again")


def test_a_new_primary_is_asked_at_once(cluster, proxy):
    p = proxy(switchgear={"workers": 1})
    client, admin = p.connect(), p.connect_admin()
    one(client, "select 1")
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    asked = catalog_of(admin)["questions"]
    cluster.primary.kill9()
    cluster.replicas[0].promote()
    wait_until(lambda: catalog_of(admin)["questions"] > asked and
               catalog_of(admin)["last_error"] == "", 30, "the new one is asked")


def test_a_paused_database_is_left_alone(cluster, proxy):
    p = proxy(switchgear={"catalog_interval": "1s"})
    client, admin = p.connect(), p.connect_admin()
    one(client, "select 1")
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    dicts_of(admin, "PAUSE")
    asking = ("select count(*) from pg_stat_activity where application_name = 'switchgear-catalog'")
    wait_until(lambda: cluster.primary.psql(asking) == [(0,)], 2, "its connection is closed")
    asked = catalog_of(admin)["questions"]
    wait_until(lambda: catalog_of(admin)["age_ms"] > 2500, what="time passes")
    assert catalog_of(admin)["questions"] == asked
    dicts_of(admin, "RESUME")
    wait_until(lambda: catalog_of(admin)["questions"] > asked, what="it is asked again")


KEPT = ["comment on table facts_k is 'x'", "grant select on facts_k to public", "analyze facts_k",
        "create index on facts_k (a)", "create index on facts_k (lower(b)) where a > 0",
        "alter table facts_k add column c int not null default 5", "alter table facts_k add d bool default true",
        "alter table facts_k rename column c to e", "alter table facts_k drop column e",
        "alter table facts_k add check (a < 100)", "create table facts_new (a int)",
        "create table facts_as as select 1 as a", "select 1 as a into facts_into",
        "create sequence facts_seq", "drop table facts_new, facts_as, facts_into", "drop sequence facts_seq",
        "vacuum facts_k"]


def test_ddl_that_changes_nothing_of_a_table_leaves_its_reads_where_they_are(cluster, proxy):
    cluster.primary.psql("create table facts_k (a int, b text); grant all on facts_k to app; "
                         "alter table facts_k owner to app; grant create on schema public to app", APP_DATABASE)
    cluster.wait_replicated()
    p = proxy(switchgear={"workers": 1})
    c, other, admin = p.connect(), p.connect(), p.connect_admin()
    try:
        wait_until(lambda: one(other, "select count(*) from facts_k") == 0 and
                   last_route(other)["role"] == "replica", what="it is read on a replica")
        changes = catalog_of(admin)["changes"]
        for sql in KEPT:
            with c.cursor() as cursor:
                cursor.execute(sql)
            one(other, "select count(*) from facts_k")
            assert last_route(other)["reason"] not in ("unknown_relation", "catalog_relation"), sql
        assert catalog_of(admin)["changes"] == changes
        with c.cursor() as cursor:
            cursor.execute("alter table facts_k enable row level security")
        one(other, "select count(*) from facts_k")
        assert catalog_of(admin)["changes"] > changes
    finally:
        cluster.primary.psql("drop table facts_k; revoke create on schema public from app", APP_DATABASE)
        cluster.wait_replicated()


APART = """
create schema apart; grant usage on schema apart to public;
create function apart.both(a int, b int) returns bool language plpgsql as
    $$ begin perform pg_advisory_xact_lock(a, b); return a operator(pg_catalog.=) b; end $$;
create operator apart.= (procedure = apart.both, leftarg = int, rightarg = int);
create operator apart.<=> (procedure = apart.both, leftarg = int, rightarg = int)"""


def test_an_operator_that_no_search_path_leads_to_is_not_meant(cluster, proxy):
    cluster.primary.psql(APART, APP_DATABASE)
    cluster.wait_replicated()
    p = proxy()
    c = p.connect()
    sql = "select count(*) from t where id = 1"

    def role(session, text=sql):
        one(session, text)
        return last_route(session)["role"]
    try:
        wait_until(lambda: role(c) == "replica", what="the names are known")
        assert role(c, "select count(*) from t join t u using (id)") == "replica"
        assert role(c, "select count(*) from t where id operator(apart.=) 1") == "primary"
        assert last_route(c)["reason"] == "unknown_operator"
        for paths in ("set search_path = apart, pg_catalog, public", "set search_path to 'apart', pg_catalog, public",
                      "select set_config('search_path', 'apart, pg_catalog, public', false)"):
            s = p.connect()
            with s.cursor() as cursor:
                cursor.execute(paths)
            assert role(s) == "primary", paths
            assert last_route(s)["reason"] == "unknown_operator"
            with s.cursor() as cursor:
                cursor.execute("reset search_path")
            wait_until(lambda s=s: role(s) == "replica", what="it looks where all do")
            s.close()
        s = p.connect(options="-c search_path=apart,pg_catalog,public")
        assert role(s) == "primary"
        cluster.primary.psql(f"alter role {APP_USER} set search_path = apart, pg_catalog, public", APP_DATABASE)
        wait_until(lambda: (role(c), last_route(c)["reason"]) == ("primary", "unknown_operator"), 40,
                   what="sessions may begin with it")
    finally:
        cluster.primary.psql(f"alter role {APP_USER} reset search_path; drop schema apart cascade", APP_DATABASE)
        cluster.wait_replicated()


def test_an_operator_beside_the_tables_is_meant(cluster, proxy):
    cluster.primary.psql("""create function facts_both(a int, b int) returns bool language plpgsql as
        $$ begin return a operator(pg_catalog.=) b; end $$;
        create operator public.= (procedure = facts_both, leftarg = int, rightarg = int)""", APP_DATABASE)
    cluster.wait_replicated()
    try:
        p = proxy()
        assert known(p)[("operator", "=")] == "runs home"
        c = p.connect()
        one(c, "select count(*) from t where id = 1")
        assert last_route(c)["reason"] == "unknown_operator"
    finally:
        cluster.primary.psql("drop function facts_both cascade", APP_DATABASE)
        cluster.wait_replicated()


# Schemas that are alike, each with functions that call one another down to what is opaque.
TENANTS = """
do $$ begin for i in 1..300 loop execute format('create schema many%1$s; create table many%1$s.facts_t (a int); '
    'create function many%1$s.facts_f0() returns float8 language plpgsql as '
    '$x$ begin perform setseed(0.5); return 1; end $x$; ', i);
    for k in 1..8 loop execute format('create function many%1$s.facts_f%2$s() returns int language plpgsql as '
        '$x$ begin perform facts_f%3$s(); return %2$s; end $x$', i, k, k - 1); end loop; end loop; end $$"""


def test_many_schemas_that_are_alike_are_asked_quickly(cluster, proxy):
    run = cluster.primary.psql
    run("create database many")
    try:
        for start in range(1, 400, 50):
            run(TENANTS.replace("1..300", f"{start}..{start + 49}"), "many")
        p = proxy(databases={"many": {"dbname": "many"}})
        admin = p.connect_admin()
        one(p.connect(dbname="many"), "select 1")
        wait_until(lambda: catalog_of(admin, "many").get("state") == "known", 30, what="the catalog is known")
        found = {(row["kind"], row["name"]): row["flags"] for row in dicts_of(admin, "SHOW CATALOG many")}
        assert found[("function", "facts_f8")] == "runs home opaque"
        took_ms = catalog_of(admin, "many")["avg_us"] / 1000
        assert took_ms < 6000, took_ms
        p.stop()
    finally:
        run("drop database many with (force)")
