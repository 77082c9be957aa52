# SPDX-License-Identifier: PostgreSQL
"""Forms in which a statement writes, and where what it wrote is read.

In each text {t} is a token of this one run: ow.put('{t}') writes it into ow.notes. `read` is asked
  right
behind the write, and must say what the primary says.
"""

READ = "select count(*) from ow.notes where note = '{t}'"


class Form:
    """name; steps: what the session runs, in order; read: what shows the write. block: may stand
      in a block;
    raw: its steps are for the simple protocol only, as several statements in a string are. fails:
      an
    error is its right end."""

    def __init__(self, name, steps, read=READ, block=True, raw=False, fails=False):
        self.name, self.read, self.block, self.raw, self.fails = name, read, block, raw, fails
        self.steps = steps if isinstance(steps, list) else [steps]


def whole(name, steps, read=READ, **more):
    """A form that begins and ends its own blocks, or cannot be in one."""
    return Form(name, steps, read, block=False, **more)


SETUP = """
create extension if not exists dblink; create extension if not exists postgres_fdw;
drop schema if exists ow cascade; drop server if exists ow_itself cascade;
create schema ow authorization app; grant all on schema ow to public;
create server ow_itself foreign data wrapper postgres_fdw options (host '127.0.0.1', port '{port}',
  dbname 'app');
create user mapping for app server ow_itself options (user 'app', password '{password}');
grant usage on foreign server ow_itself to app;
create function ow_dblink(text) returns text security definer language plpgsql as
  $f$ begin return dblink_exec('host={host} port={port} dbname=app user=postgres', $1); end $f$;
set role app;
create table ow.notes (id serial, note text); create index on ow.notes (note);
create table ow.keys (k text primary key, n int);
create table ow.rel (id int); insert into ow.rel values (1);
create sequence ow.seq; create sequence ow.ticket; select nextval('ow.seq'), nextval('ow.ticket');
create table ow.numbered (id int default nextval('ow.seq'), v text);
create view ow.of_seq as select last_value as n from ow.ticket;
create function ow.put(text) returns int language plpgsql as
  $f$ begin insert into ow.notes (note) values ($1); return 1; end $f$;
create function ow.put_sql(text) returns int language sql as 'insert into ow.notes (note) values
  ($1); select 1';
create function ow.put_returning(text) returns setof int language sql as
  'insert into ow.notes (note) values ($1) returning id';
create function ow.put_definer(text) returns int security definer language plpgsql as
  $f$ begin insert into ow.notes (note) values ($1); return 1; end $f$;
create function ow.put_nested(text) returns int language sql as 'select ow.put($1)';
create function ow.put_dynamic(text) returns int language plpgsql as
  $f$ begin execute format('insert into ow.notes (note) values (%L)', $1); return 1; end $f$;
create function ow.put_caught(text) returns int language plpgsql as
  $f$ begin begin perform ow.put($1); exception when division_by_zero then null; end; return 1; end
    $f$;
create function ow.put_default(text, int default 0) returns int language sql as 'select ow.put($1)';
create function ow.put_many(variadic text[]) returns int language sql as 'select ow.put($1[1])';
create function ow.put_any(anyelement) returns int language sql as 'select ow.put($1::text)';
create procedure ow.note(text) language sql as 'insert into ow.notes (note) values ($1)';
create procedure ow.note_commits(text) language plpgsql as
  $f$ begin insert into ow.notes (note) values ($1); commit; end $f$;
create procedure ow.note_fails(text) language plpgsql as
  $f$ begin insert into ow.notes (note) values ($1); commit; raise exception 'behind the commit';
    end $f$;
create function ow.put_rel(ow.rel) returns int language plpgsql as
  $f$ begin insert into ow.notes (note) values (current_setting('ow.t')); return 1; end $f$;
create function public.attribute_ow(ow.rel) returns int language sql as 'select ow.put_rel($1)';
create view ow.writing as select ow.put(current_setting('ow.t')) as x;
create view ow.outer_writing as select * from ow.writing;
create type ow.ct as (t text);
create function ow.put_ct(ow.ct) returns int language sql as 'select ow.put(($1).t)';
create cast (ow.ct as int) with function ow.put_ct as implicit;
create function ow.plus_ct(ow.ct, int) returns int language sql as 'select ow.put(($1).t)';
create operator public.+ (leftarg = ow.ct, rightarg = int, function = ow.plus_ct);
create operator public.!!! (rightarg = ow.ct, function = ow.put_ct);
create function ow.is_put(ow.ct, ow.ct) returns bool language sql as 'select ow.put(($1).t) = 1';
create operator ow.^@ (leftarg = ow.ct, rightarg = ow.ct, function = ow.is_put);
create function ow.lower(text) returns text language sql as 'select ow.put($1)::text';
create function public.length(ow.ct) returns int language sql as 'select ow.put(($1).t)';
create function ow.count_state(int, text) returns int language plpgsql as
  $f$ begin perform ow.put($2); return $1 + 1; end $f$;
create aggregate ow.putting(text) (sfunc = ow.count_state, stype = int, initcond = '0');
create function ow.valid(text) returns bool language sql as 'select ow.put(value) = 1 from (select
  $1 as value) x';
create domain ow.noted as text check (ow.valid(value));
create table ow.policed (id int); insert into ow.policed values (1);
alter table ow.policed enable row level security, force row level security;
create policy p on ow.policed using (ow.put(current_setting('ow.t')) = 1);
create function ow.tf() returns trigger language plpgsql as
  $f$ begin insert into ow.notes (note) values (new.note); return new; end $f$;
create table ow.watched (note text);
create trigger tr before insert on ow.watched for each row execute function ow.tf();
create table ow.late (note text); create constraint trigger tr after insert on ow.late
  deferrable initially deferred for each row execute function ow.tf();
create view ow.door as select note from ow.notes where id > 0;
create trigger tr instead of insert on ow.door for each row execute function ow.tf();
create view ow.simple_door as select note from ow.notes;
create table ow.ruled (note text); create rule r as on insert to ow.ruled do instead
  insert into ow.notes (note) values (new.note);
create table ow.ruled_also (note text); create rule r as on insert to ow.ruled_also do also select
  ow.put(new.note);
create table ow.parted (note text) partition by list (note);
create table ow.part partition of ow.parted default;
create table ow.defaults (id int, v int default ow.put(current_setting('ow.t')));
create table ow.checked (note text check (ow.valid(note)));
create materialized view ow.kept as select count(*) as n from ow.notes;
create foreign table ow.far (id int, note text) server ow_itself options (schema_name 'ow',
  table_name 'notes');
create unlogged table ow.unlogged (note text);
create table ow.cascade_parent (k text primary key);
create table ow.cascade_child (k text references ow.cascade_parent on delete cascade);
create table ow.trunc (note text);
grant all on all tables in schema ow to public;
"""

SET_T = "select set_config('ow.t', '{t}', false)"
SEQUENCE = "select last_value from ow.seq"

FORMS = [
    # ---- statements that say that they write ----
    Form("insert", "insert into ow.notes (note) values ('{t}')"),
    Form("insert returning", "insert into ow.notes (note) values ('{t}') returning id"),
    Form("insert select", "insert into ow.notes (note) select '{t}'"),
    Form("insert on conflict",
         "insert into ow.keys values ('{t}', 1) on conflict (k) do update set n = 2",
         "select n from ow.keys where k = '{t}'"),
    Form("update",
         ["insert into ow.keys values ('{t}', 1)", "update ow.keys set n = 7 where k = '{t}'"],
         "select n from ow.keys where k = '{t}'"),
    Form("update returning", ["insert into ow.keys values ('{t}', 1)",
                              "update ow.keys set n = n + 1 where k = '{t}' returning n"],
         "select n from ow.keys where k = '{t}'"),
    Form("delete", ["insert into ow.keys values ('{t}', 1)", "delete from ow.keys where k = '{t}'"],
         "select count(*) from ow.keys where k = '{t}'"),
    Form("delete using", ["insert into ow.keys values ('{t}', 1)",
                          "delete from ow.keys using ow.rel where k = '{t}'"],
         "select count(*) from ow.keys where k = '{t}'"),
    Form("merge", "merge into ow.keys using (select '{t}' as k) s on keys.k = s.k "
         "when not matched then insert values (s.k, 5)", "select n from ow.keys where k = '{t}'"),
    Form("truncate", ["insert into ow.trunc values ('{t}')", "truncate ow.trunc"],
         "select count(*) from ow.trunc"),
    Form("cte",
         "with x as (insert into ow.notes (note) values ('{t}') returning id) select * from x"),
    Form("cte behind a select",
         "with a as (select 1), x as (insert into ow.notes (note) values ('{t}')) "
         "select count(*) from a"),
    Form("select into",
         "select '{t}'::text as note into ow.into_{t}", "select count(*) from ow.into_{t}"),
    Form("create table as",
         "create table ow.as_{t} as select 1 as a", "select count(*) from ow.as_{t}"),
    Form("create table as function", "create table ow.asf_{t} as select ow.put('{t}') as a"),
    Form("copy", "copy ow.notes (note) from stdin"),
    Form("copy with a trigger", "copy ow.watched from stdin"),
    Form("insert into a partitioned table", "insert into ow.parted values ('{t}')",
         "select count(*) from ow.part where note = '{t}'"),
    Form("explain analyze insert", "explain analyze insert into ow.notes (note) values ('{t}')"),
    Form("cascade", ["insert into ow.cascade_parent values ('{t}')", "insert into "
         "ow.cascade_child values ('{t}')",
                     "delete from ow.cascade_parent where k = '{t}'"],
         "select count(*) from ow.cascade_child where k = '{t}'"),
    # ---- what hides behind a name ----
    Form("function", "select ow.put('{t}')"),
    Form("sql function", "select ow.put_sql('{t}')"),
    Form("function as a table", "select * from ow.put_returning('{t}')"),
    Form("definer", "select ow.put_definer('{t}')"),
    Form("nested", "select ow.put_nested('{t}')"),
    Form("dynamic", "select ow.put_dynamic('{t}')"),
    Form("subtransaction in a function", "select ow.put_caught('{t}')"),
    Form("default argument", "select ow.put_default('{t}')"),
    Form("variadic", "select ow.put_many('{t}', 'x')"),
    Form("polymorphic", "select ow.put_any('{t}'::text)"),
    Form("function in WHERE", "select 1 where ow.put('{t}') = 1"),
    Form("function in FROM of a join", "select * from ow.rel, lateral (select ow.put('{t}')) x"),
    Form("function in CASE", "select case when id = 1 then ow.put('{t}') end from ow.rel"),
    Form("function in ORDER BY", "select id from ow.rel order by ow.put('{t}')"),
    Form("function in LIMIT", "select id from ow.rel limit ow.put('{t}')"),
    Form("function in VALUES", "values (ow.put('{t}'))"),
    Form("function with offset 0", "select * from (select ow.put('{t}') as x offset 0) s"),
    Form("function and a lock", "select ow.put('{t}') from ow.rel for update"),
    Form("copy to", "copy (select ow.put('{t}')) to stdout"),
    Form("explain analyze", "explain analyze select ow.put('{t}')"),
    Form("view", [SET_T, "select * from ow.writing a_{t}"]),
    Form("view of a view", [SET_T, "table ow.outer_writing"]),
    Form("copy of a view", [SET_T, "copy (select * from ow.writing a_{t}) to stdout"]),
    Form("copy of a view, table", [SET_T, "copy (table ow.writing) to stdout"]),
    Form("explain analyze of a view", [SET_T, "explain (analyze) select * from ow.writing a_{t}"]),
    Form("attribute", [SET_T, "select r.attribute_ow from ow.rel r"]),
    Form("attribute in WHERE", [SET_T, "select 1 from ow.rel r where r.attribute_ow = 1"]),
    Form("operator", "select row('{t}')::ow.ct + 1"),
    Form("prefix operator", "select !!! row('{t}')::ow.ct"),
    Form("operator of a schema", "select row('{t}')::ow.ct operator(ow.^@) row('')::ow.ct"),
    Form("cast", "select row('{t}')::ow.ct::int"),
    Form("cast by CAST", "select cast(row('{t}')::ow.ct as int)"),
    Form("implicit cast", "select abs(row('{t}')::ow.ct)"),
    Form("implicit cast of a column", ["create table ow.casts_{t} as select row('{t}')::ow.ct as c",
                                       "select abs(c) from ow.casts_{t}"]),
    Form("overload of a built-in", "select length(row('{t}')::ow.ct)"),
    Form("hidden built-in", ["set search_path = ow, pg_catalog, public", "select lower('{t}')"]),
    Form("hidden operator", ["set search_path = ow, pg_catalog, public",
                             "select row('{t}')::ct ^@ row('')::ct"]),
    Form("by search_path", ["set search_path = ow, public", "select put('{t}')"]),
    Form("aggregate", "select ow.putting('{t}') from ow.rel"),
    Form("window", "select ow.putting('{t}') over () from ow.rel"),
    Form("filter", "select count(*) filter (where ow.put('{t}') = 1) from ow.rel"),
    Form("domain", "select '{t}'::ow.noted"),
    Form("policy", [SET_T, "select * from ow.policed a_{t}"]),
    Form("text in xml", "select query_to_xml('select ow.put(''{t}'')', true, true, '')"),
    Form("text in ts_stat", "select * from ts_stat('select to_tsvector(ow.put(''{t}'')::text)')"),
    # ---- triggers, rules and the like ----
    Form("trigger", "insert into ow.watched values ('{t}')"),
    Form("deferred trigger", "insert into ow.late values ('{t}')"),
    Form("trigger of a view", "insert into ow.door values ('{t}')"),
    Form("view that can be written", "insert into ow.simple_door values ('{t}')"),
    Form("rule", "insert into ow.ruled values ('{t}')"),
    Form("rule, also", "insert into ow.ruled_also values ('{t}')"),
    Form("column default", [SET_T, "insert into ow.defaults (id) values (1)"]),
    Form("check", "insert into ow.checked values ('{t}')", "select count(*) from ow.checked "
         "where note = '{t}'"),
    # ---- DO, CALL, EXECUTE, cursors ----
    Form("do", "do $d$ begin insert into ow.notes (note) values ('{t}'); end $d$"),
    Form("do of a function", "do $d$ begin perform ow.put('{t}'); end $d$"),
    whole("do that commits", "do $d$ begin insert into ow.notes (note) values ('{t}'); commit; "
          "perform 1; end $d$"),
    whole("do that fails behind its commit",
         "do $d$ begin insert into ow.notes (note) values ('{t}'); "
          "commit; raise exception 'x'; end $d$", fails=True),
    Form("call", "call ow.note('{t}')"),
    whole("call that commits", "call ow.note_commits('{t}')"),
    whole("call that fails behind its commit", "call ow.note_fails('{t}')", fails=True),
    Form("execute",
         ["prepare p_{t}(text) as insert into ow.notes (note) values ($1)", "execute p_{t}('{t}')",
                     "deallocate p_{t}"]),
    Form("execute of a function", ["prepare p_{t} as select ow.put('{t}')", "execute p_{t}"]),
    Form("create table as execute", ["prepare p_{t} as select ow.put('{t}') as a",
                                     "create table ow.ase_{t} as execute p_{t}"]),
    Form("explain analyze execute", ["prepare p_{t} as select ow.put('{t}') as a",
                                     "explain analyze execute p_{t}"]),
    whole("fetch", ["begin", "declare c cursor for select ow.put('{t}')", "fetch c", "commit"]),
    whole("fetch of a view", [SET_T, "begin", "declare c cursor for select * from ow.writing "
         "a_{t}", "fetch all c", "commit"]),
    whole("move", ["begin", "declare c cursor for select ow.put('{t}')", "move all c", "commit"]),
    whole("hold cursor",
         ["begin", "declare h cursor with hold for select ow.put('{t}')", "commit", "close h"]),
    whole("where current of", ["insert into ow.keys values ('{t}', 1)", "begin",
                               "declare c cursor for select * from ow.keys where k = '{t}' for "
                               "update", "fetch c",
                               "update ow.keys set n = 9 where current of c", "commit"],
          "select n from ow.keys where k = '{t}'"),
    # ---- sequences and large objects ----
    Form("nextval", "select nextval('ow.seq')", SEQUENCE),
    Form("nextval, read by star", "select nextval('ow.seq')", "select * from ow.seq"),
    Form("nextval, read by TABLE", "select nextval('ow.seq')", "table ow.seq"),
    Form("nextval, read by a view", "select nextval('ow.ticket')", "select n from ow.of_seq"),
    Form("nextval, read by a view's star", "select nextval('ow.ticket')", "table ow.of_seq"),
    Form("setval",
         "select setval('ow.ticket', 500 + nextval('ow.seq'))", "select last_value from ow.ticket"),
    Form("nextval of a default",
         "insert into ow.numbered (v) values ('{t}')", "select last_value from ow.seq"),
    Form("restart",
         "alter sequence ow.ticket restart with 77", "select last_value, is_called from ow.ticket"),
    Form("large object",
         "select lo_from_bytea(0, '{t}'::bytea)", "select count(*) from pg_largeobject_metadata"),
    # ---- other connections of the server ----
    Form("dblink", "select ow_dblink('insert into ow.notes (note) values (''{t}'')')"),
    whole("dblink that fails", "select ow_dblink('insert into ow.notes (note) values (''{t}'')'), "
          "1 / (select 0 from ow.rel)", fails=True),
    Form("foreign table", "insert into ow.far (id, note) values (0, '{t}')"),
    Form("read through a foreign table", "insert into ow.notes (note) values ('{t}')",
         "select count(*) from ow.far where note = '{t}'"),
    Form("unlogged", "insert into ow.unlogged values ('{t}')",
         "select count(*) from ow.unlogged where note = '{t}'"),
    whole("dblink that is rolled back",
          ["begin", "select ow_dblink('insert into ow.notes (note) values (''{t}'')')", "rollback"]),
    whole("dblink in a READ ONLY block",
          ["begin read only", "select ow_dblink('insert into ow.notes (note) values (''{t}'')')",
           "commit"]),
    # ---- DDL and maintenance ----
    Form("create table", "create table ow.ct_{t} (a int)", "select count(*) from ow.ct_{t}"),
    Form("create view", "create view ow.cv_{t} as select 1 as a", "select a from ow.cv_{t}"),
    Form("add column",
         ["create table ow.ac_{t} (a int)", "alter table ow.ac_{t} add b int default 3"],
         "select count(b) from ow.ac_{t}"),
    Form("rename",
         ["create table ow.rn_{t} as select 1 as a", "alter table ow.rn_{t} rename to rm_{t}"],
         "select a from ow.rm_{t}"),
    Form("drop", ["create table ow.dr_{t} as select 1 as a", "drop table ow.dr_{t}"],
         "select count(*) from pg_class where relname = 'dr_{t}'"),
    Form("create function",
         "create function ow.cf_{t}() returns int stable language sql as 'select 5'",
         "select ow.cf_{t}()"),
    Form("replace function",
         ["create function ow.rf_{t}() returns int stable language sql as 'select 5'",
                              "create or replace function ow.rf_{t}() returns int stable "
                              "language sql as "
                              "'select 6'"], "select ow.rf_{t}()"),
    Form("create type", "create type ow.en_{t} as enum ('a', 'b')", "select 'b'::ow.en_{t}::text"),
    Form("replace view", ["create view ow.rv_{t} as select 1 as a",
                          "create or replace view ow.rv_{t} as select 2 as a"], "select a from "
                          "ow.rv_{t}"),
    Form("refresh",
         ["insert into ow.notes (note) values ('{t}')", "refresh materialized view ow.kept"],
         "select n from ow.kept"),
    Form("grant", ["create table ow.gr_{t} (a int)", "grant select on ow.gr_{t} to public"],
         "select has_table_privilege('prober', 'ow.gr_{t}', 'select')"),
    Form("comment",
         "comment on table ow.rel is '{t}'", "select obj_description('ow.rel'::regclass)"),
    Form("policy made",
         ["create table ow.pm_{t} as select 1 as a", "alter table ow.pm_{t} enable row level "
                         "security, force row level security"], "select count(*) from ow.pm_{t}"),
    Form("analyze", ["create table ow.an_{t} as select 1 as a", "analyze ow.an_{t}"],
         "select reltuples from pg_class where relname = 'an_{t}'"),
    whole("vacuum", ["create table ow.va_{t} as select 1 as a", "vacuum ow.va_{t}"],
          "select relpages from pg_class where relname = 'va_{t}'"),
    # ---- several statements, and ends of blocks ----
    whole("string", "select 1; insert into ow.notes (note) values ('{t}'); select 2", raw=True),
    whole("string of functions", "select 1; select ow.put('{t}'); select 2", raw=True),
    whole("string of a view",
         [SET_T, "select 1; select * from ow.writing a_{t}; select 2"], raw=True),
    whole("string with a block",
         "begin; insert into ow.notes (note) values ('{t}'); commit; select 1", raw=True),
    whole("string that fails behind its commit",
         "begin; insert into ow.notes (note) values ('{t}'); commit; "
          "select 1 / (select 0 from ow.rel)", raw=True, fails=True),
    whole("string that does not parse behind nothing",
         ["insert into ow.notes (note) values ('{t}')",
                                                        "select 1; selec"], raw=True, fails=True),
    whole("commit and chain", ["begin", "select ow.put('{t}')", "commit and chain", "rollback"]),
    whole("end", ["begin", "select ow.put('{t}')", "end"]),
    whole("start transaction",
         ["start transaction isolation level repeatable read", "select ow.put('{t}')",
                                "commit work"]),
    whole("serializable", ["begin isolation level serializable", "select ow.put('{t}')", "commit"]),
    whole("two phases", ["begin", "select ow.put('{t}')", "prepare transaction 'ow_{t}'",
                         "commit prepared 'ow_{t}'"]),
    whole("savepoint", ["begin", "savepoint a", "select ow.put('{t}')", "release a", "commit"]),
    whole("failed part",
         ["begin", "select ow.put('{t}')", "savepoint a", "select 1 / (select 0 from ow.rel)",
                          "rollback to a", "commit"], fails=True),
    whole("block with a view", [SET_T, "begin", "select * from ow.writing a_{t}", "commit"]),
    whole("block with a view's star",
         [SET_T, "begin", "select count(*) from ow.rel", "select * from ow.writing a_{t}",
                                       "select count(*) from ow.rel", "commit"]),
    whole("block with an operator", ["begin", "select row('{t}')::ow.ct + 1", "commit"]),
    whole("block with a cast", ["begin", "select abs(row('{t}')::ow.ct)", "commit"]),
    whole("block with a policy", [SET_T, "begin", "select * from ow.policed a_{t}", "end"]),
    whole("repeatable read block with a view", [SET_T, "begin isolation level repeatable read",
                                                "select * from ow.writing a_{t}", "commit"]),
    whole("setting in between",
         ["select ow.put('{t}')", "select set_config('work_mem', '5MB', false)"]),
    whole("set in between", ["insert into ow.notes (note) values ('{t}')", "set work_mem = '6MB'",
                             "reset work_mem", "discard plans"]),
    whole("discard all in between", ["insert into ow.notes (note) values ('{t}')", "discard all"],
          "select 1 from ow.notes where note = '{t}'"),
    whole("level set again in between", ["insert into ow.notes (note) values ('{t}')",
                                         "set switchgear.consistency = 'eventual'",
                                         "set switchgear.consistency = 'session'"]),
    whole("a read-only block in between",
         ["insert into ow.notes (note) values ('{t}')", "begin read only",
                                           "select 1", "commit"]),
    whole("an empty block in between",
         ["insert into ow.notes (note) values ('{t}')", "begin", "rollback"]),
    whole("behind a pin",
         ["create temp table own_{t} (a int)", "select ow.put('{t}')", "drop table own_{t}"]),
    whole("behind a lock",
         ["select pg_advisory_lock(7)", "select ow.put('{t}')", "select pg_advisory_unlock(7)"]),
    whole("hint to the primary",
         [SET_T, "/* switchgear: route=primary */ select * from ow.writing a_{t}"]),
    whole("do after set role",
         ["set role app", "do $d$ begin perform ow.put('{t}'); end $d$", "reset role"]),
]
