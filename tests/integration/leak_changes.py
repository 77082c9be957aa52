# SPDX-License-Identifier: PostgreSQL
"""What a session can leave on a server, and the ways to do it: their product is the leak test.

A state is something that PostgreSQL keeps for a session: a role, a setting, a lock. A way is how a
statement comes to make it: said outright, by a function, behind a view, a trigger, a policy. Each
state has functions of its own with plain bodies, so that nothing but the catalog tells what they
  do.
"""
import re

PAINTER, CHIEF, ORIGIN = "leak_painter", "leak_chief", "leak_origin"
CHIEF_PASSWORD = "chief-secret"


class State:
    """name; sql: as a client says it; body: as plpgsql does it, `sql` where that is the same.
    chief: it wants a superuser; standby: a replica can have it too."""

    def __init__(self, name, sql, body=None, chief=False, standby=True):
        self.name, self.sql, self.chief, self.standby = name, sql, chief, standby
        self.body = body or sql + ";"

    @property
    def sql_body(self):
        """As a function in SQL."""
        parts = self.body.rstrip(";").split("; ")
        return "; ".join(re.sub("^perform ", "select ", re.sub("^execute '(.*)'$", r"\1", part))
                         for part in parts)


def setting(name, value, **more):
    return State(name.replace(".", "_"), f"set {name} = '{value}'", **more)


def by_config(name, value, **more):
    return State(name.replace(".", "_") + "_config", f"select set_config('{name}', '{value}', "
    "false)",
                 f"perform set_config('{name}', '{value}', false);", **more)


STATES = [
    State("role", f"set role {PAINTER}"),
    by_config("role", PAINTER),
    State("authorization", f"set session authorization {PAINTER}", chief=True),
    by_config("session_authorization", PAINTER, chief=True),
    setting("app.tenant", "A"),
    by_config("app.tenant", "A"),
    by_config("leak.other", "A"),
    State("timezone", "set time zone 'Asia/Tokyo'"),
    by_config("search_path", "lk, public"),
    by_config("statement_timeout", "77s"),
    setting("default_transaction_read_only", "on"),
    by_config("bytea_output", "escape"),
    setting("standard_conforming_strings", "off"),
    by_config("backslash_quote", "on"),
    State("characteristics",
         "set session characteristics as transaction isolation level repeatable read"),
    by_config("default_transaction_deferrable", "on"),
    setting("datestyle", "german"),
    by_config("work_mem", "7MB"),
    by_config("row_security", "off"),
    by_config("session_replication_role", "replica", chief=True),
    State("settings_table", "update pg_settings set setting = '77777' where name = 'lock_timeout'",
          "perform set_config('lock_timeout', '77777', false);"),
    State("temp_table", "create temp table doc as select 'planted'::text as body", standby=False),
    State("temp_view", "create temp view doc as select 'planted'::text as body", standby=False),
    State("temp_sequence", "create temp sequence leak_serial", standby=False),
    State("temp_function", "create function pg_temp.planted() returns int language sql return 1",
          standby=False),
    State("temp_type", "create type pg_temp.planted as (a int)", standby=False),
    State("temp_path", "set search_path = pg_temp, public; create table doc (body text)",
          "perform set_config('search_path', 'pg_temp, public', false); "
          "execute 'create table doc (body text)';", standby=False),
    State("temp_into", "select 'planted'::text as body into pg_temp.doc",
          "create table pg_temp.doc as select 'planted'::text as body;", standby=False),
    State("listen", "listen leak_channel", standby=False),
    State("lock", "select pg_advisory_lock(4711)", "perform pg_advisory_lock(4711);"),
    State("shared_lock",
         "select pg_advisory_lock_shared(4711)", "perform pg_advisory_lock_shared(4711);"),
    State("try_lock",
         "select pg_try_advisory_lock(47, 11)", "perform pg_try_advisory_lock(47, 11);"),
    State("hold_cursor", "declare held cursor with hold for select 1",
          "execute 'declare held cursor with hold for select 1';"),
    State("prepared", "prepare planted as select 666", "execute 'prepare planted as select 666';"),
    State("sequence",
         "select nextval('lk.serial')", "perform nextval('lk.serial');", standby=False),
]


class Way:
    """name; script: statements of a client, with {n} and so on; objects: what it needs, once a
    state. read: a replica can be asked; own_block: not in a block of the test's; simple: not by
    the extended protocol."""

    def __init__(self, name, script, objects="", read=False, own_block=False, simple=False):
        self.name, self.objects, self.read, self.own_block = name, objects, read, own_block
        self.script = script if isinstance(script, list) else [script]
        self.simple = simple

    def statements(self, state):
        if self.script == ["{sql}"]:
            return state.sql.split("; ")
        return [fill(s, state) for s in self.script]


def fill(text, state):
    for key, value in (("{n}", state.name), ("{sql}", state.sql), ("{body}", state.body),
                       ("{sqlbody}", state.sql_body)):
        text = text.replace(key, value)
    return text


FUNCTIONS = """
create function lk.f_{n}() returns int language plpgsql as $f$ begin {body} return 1; end $f$;
create function lk.s_{n}() returns int language sql as $f$ {sqlbody}; select 1 $f$;
create function lk.b_{n}(int) returns bool language plpgsql as $f$ begin {body} return true; end
  $f$;
create function lk.l_{n}(int) returns int immutable language plpgsql as
    $f$ begin perform lk.f_{n}(); return 1; end $f$;
create function lk.trigger_{n}() returns trigger language plpgsql as
    $f$ begin {body} return new; end $f$;
create type lk.ct_{n} as (a int);
create function lk.on_ct_{n}(lk.ct_{n}) returns int language plpgsql as
    $f$ begin {body} return 1; end $f$;
create table lk.sink_{n} (id int); create table lk.one_{n} (id int); insert into lk.one_{n} values
  (1);
"""

WAYS = [
    Way("direct", "{sql}"),
    Way("string", "select 1; {sql}; select 2", simple=True),
    Way("function", "select lk.f_{n}()", read=True),
    Way("sql function", "select lk.s_{n}()", read=True),
    Way("function as a table", "select * from lk.f_{n}() x", read=True),
    Way("function in WHERE", "select 1 where lk.f_{n}() = 1", read=True),
    Way("function of another", "select lk.nested_{n}(3)",
        "create function lk.nested_{n}(int) returns int language sql as 'select lk.f_{n}() + $1';",
        read=True),
    Way("stable liar", "select lk.stable_{n}()",
        "create function lk.stable_{n}() returns int stable language sql as 'select "
        "lk.f_{n}()';", read=True),
    Way("immutable liar", "select lk.l_{n}(1)", read=True),
    Way("definer", "select lk.definer_{n}()",
        "create function lk.definer_{n}() returns int security definer language plpgsql as "
        "$f$ begin {body} return 1; end $f$;", read=True),
    Way("default argument", "select lk.argument_{n}()",
        "create function lk.argument_{n}(int default lk.f_{n}()) returns int language sql as "
        "'select $1';",
        read=True),
    Way("view", "select * from lk.view_{n}", "create view lk.view_{n} as select lk.f_{n}() as "
         "x;", read=True),
    Way("view of a view",
         "table lk.outer_{n}", "create view lk.inner_{n} as select lk.s_{n}() as x; "
        "create view lk.outer_{n} as select * from lk.inner_{n};", read=True),
    Way("attribute", "select r.at_{n} from lk.one_{n} r",
        "create function public.at_{n}(lk.one_{n}) returns int language plpgsql as "
        "$f$ begin {body} return 1; end $f$;", read=True),
    Way("overload", "select upper(row(1)::lk.ct_{n})",
        "create function public.upper(lk.ct_{n}) returns int language plpgsql as "
        "$f$ begin {body} return 1; end $f$;", read=True),
    Way("operator", "select row(1)::lk.ct_{n} + 1",
        "create function lk.plus_{n}(lk.ct_{n}, int) returns int language plpgsql as "
        "$f$ begin {body} return 1; end $f$; create operator public.+ "
        "(leftarg = lk.ct_{n}, rightarg = int, function = lk.plus_{n});", read=True),
    Way("cast", "select row(1)::lk.ct_{n}::int",
        "create cast (lk.ct_{n} as int) with function lk.on_ct_{n} as implicit;", read=True),
    Way("implicit cast", "select abs(c) from lk.casts_{n}",
        "create table lk.casts_{n} (c lk.ct_{n}); insert into lk.casts_{n} values (row(1));",
        read=True),
    Way("aggregate", "select lk.total_{n}(x) from generate_series(1, 2) x",
        "create function lk.add_{n}(int, int) returns int language plpgsql as "
        "$f$ begin if $1 = 0 then {body} end if; return $1 + $2; end $f$; create aggregate "
        "lk.total_{n}(int) "
        "(sfunc = lk.add_{n}, stype = int, initcond = '0');", read=True),
    Way("window", "select lk.total_{n}(x) over () from generate_series(1, 2) x", read=True),
    Way("domain",
         "select 1::lk.domain_{n}", "create domain lk.domain_{n} as int check (lk.b_{n}(value));",
        read=True),
    Way("policy", "select * from lk.policed_{n}",
        "create table lk.policed_{n} (id int); insert into lk.policed_{n} values (1); "
        "alter table lk.policed_{n} enable row level security, force row level security; "
        "create policy p on lk.policed_{n} using (lk.b_{n}(id));", read=True),
    Way("policy of a write", "insert into lk.guarded_{n} values (1)",
        "create table lk.guarded_{n} (id int); "
        "alter table lk.guarded_{n} enable row level security, force row level security; "
        "create policy p on lk.guarded_{n} with check (lk.b_{n}(id));"),
    Way("copy out", "copy (select lk.f_{n}()) to stdout", read=True),
    Way("copy of a view", "copy (table lk.view_{n}) to stdout", read=True),
    Way("explain analyze", "explain analyze select lk.f_{n}()", read=True),
    Way("cursor",
         ["begin", "declare c cursor for select lk.f_{n}()", "fetch c", "commit"], own_block=True),
    Way("text in xml", "select query_to_xml('select lk.f_{n}()', true, true, '')", read=True),
    Way("do", "do $d$ begin {body} end $d$", read=True),
    Way("do of a function", "do $d$ begin perform lk.f_{n}(); end $d$", read=True),
    Way("call", "call lk.procedure_{n}()",
        "create procedure lk.procedure_{n}() language plpgsql as $f$ begin {body} end $f$;",
        read=True),
    Way("call that commits",
         "call lk.commits_{n}()", "create procedure lk.commits_{n}() language plpgsql as "
        "$f$ begin {body} commit; end $f$;", own_block=True),
    Way("execute", ["prepare own as select lk.f_{n}()", "execute own", "deallocate own"]),
    Way("trigger", "insert into lk.triggered_{n} values (1)",
        "create table lk.triggered_{n} (id int); create trigger tr before insert on "
        "lk.triggered_{n} "
        "for each row execute function lk.trigger_{n}();"),
    Way("trigger by copy", "copy lk.triggered_{n} from stdin", simple=True),
    Way("trigger by merge", "merge into lk.triggered_{n} t using (select 9 as i) s on t.id = s.i "
        "when not matched then insert values (1)"),
    Way("trigger by cte",
         "with x as (insert into lk.triggered_{n} values (2) returning id) select * from x"),
    Way("trigger of a statement", "update lk.stated_{n} set id = 2",
        "create table lk.stated_{n} (id int); create trigger tr after update on lk.stated_{n} "
        "for each statement execute function lk.trigger_{n}();"),
    Way("trigger of truncate", "truncate lk.truncated_{n}",
        "create table lk.truncated_{n} (id int); create trigger tr before truncate on "
        "lk.truncated_{n} "
        "for each statement execute function lk.trigger_{n}();"),
    Way("trigger of a view", "insert into lk.insertable_{n} values (1)",
        "create view lk.insertable_{n} as select id from lk.one_{n} where id > 0; create trigger "
        "tr instead "
        "of insert on lk.insertable_{n} for each row execute function lk.trigger_{n}();"),
    Way("trigger at the commit", "insert into lk.deferring_{n} values (1)",
        "create table lk.deferring_{n} (id int); create constraint trigger tr after insert on "
        "lk.deferring_{n} deferrable initially deferred for each row execute function "
        "lk.trigger_{n}();"),
    Way("trigger of a partition", "insert into lk.parted_{n} values (1)",
        "create table lk.parted_{n} (id int) partition by list (id); create table lk.part_{n} "
        "partition of "
        "lk.parted_{n} default; create trigger tr before insert on lk.part_{n} for each row "
        "execute "
        "function lk.trigger_{n}();"),
    Way("trigger by a cascade", ["insert into lk.parent_{n} values (1)",
                                 "insert into lk.child_{n} values (1)", "update lk.parent_{n} "
                                 "set id = 2",
                                 "delete from lk.parent_{n}"],
        "create table lk.parent_{n} (id int primary key); create table lk.child_{n} (id int "
        "references "
        "lk.parent_{n} on delete cascade on update cascade); create trigger tr before update on "
        "lk.child_{n} for each row execute function lk.trigger_{n}();"),
    Way("rule", "insert into lk.ruled_{n} values (1)", "create table lk.ruled_{n} (id int); "
         "create rule r as "
        "on insert to lk.ruled_{n} do also select lk.f_{n}();"),
    Way("default", "insert into lk.defaults_{n} (id) values (1)",
        "create table lk.defaults_{n} (id int, v int default lk.f_{n}());"),
    Way("check", "insert into lk.checked_{n} values (1)",
        "create table lk.checked_{n} (id int check (lk.b_{n}(id)));"),
    Way("domain of a column", "insert into lk.typed_{n} values (1)",
        "create table lk.typed_{n} (id lk.domain_{n});"),
    Way("generated", "insert into lk.generated_{n} (id) values (1)",
        "create table lk.generated_{n} (id int, v int generated always as (lk.l_{n}(id)) stored);"),
    Way("index", "insert into lk.indexed_{n} values (1)",
        "create table lk.indexed_{n} (id int); create index on lk.indexed_{n} (lk.l_{n}(id));"),
    Way("index of a part", "insert into lk.partly_{n} values (1)",
        "create table lk.partly_{n} (id int); create index on lk.partly_{n} (id) where "
        "lk.l_{n}(id) = 1;"),
    Way("insert of a select", "insert into lk.sink_{n} select lk.f_{n}()"),
    Way("returning", "update lk.one_{n} set id = 1 returning lk.f_{n}()"),
    Way("values", "values (lk.f_{n}())", read=True),
    Way("table as",
         ["drop table if exists lk.made_{n}", "create table lk.made_{n} as select lk.f_{n}()"]),
    Way("column added", ["alter table lk.widened_{n} drop column if exists v",
                         "alter table lk.widened_{n} add column v int default lk.f_{n}()"],
        "create table lk.widened_{n} (id int); insert into lk.widened_{n} values (1);"),
    Way("refresh", "refresh materialized view lk.kept_{n}",
        "create materialized view lk.kept_{n} as select lk.f_{n}() as x with no data;"),
]

BEFORE = f"""
drop schema if exists lk cascade;
do $$ begin create role {PAINTER}; exception when duplicate_object then null; end $$;
do $$ begin create role {CHIEF} login superuser password '{CHIEF_PASSWORD}';
      exception when duplicate_object then null; end $$;
do $$ begin perform pg_replication_origin_create('{ORIGIN}'); exception when duplicate_object then
  null; end $$;
grant {PAINTER} to app;
grant execute on function pg_replication_origin_session_is_setup() to public;
create schema lk authorization app;
grant all on schema lk to public;
create table if not exists public.doc (body text);
grant all on public.doc to public;
"""

AFTER = """
grant all on all tables in schema lk to public;
"""


def setup_of(state):
    return fill(FUNCTIONS + "\n".join(way.objects for way in WAYS), state)


def setup():
    return "set role app; set check_function_bodies = off; create sequence lk.serial; " + \
        "\n".join(setup_of(s) for s in STATES) + AFTER
