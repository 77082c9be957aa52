# SPDX-License-Identifier: PostgreSQL
"""What the scripts find in the database. Reads use tables that never change; what writes empties
its table first, so that every run of a script sees the same.

Plans must not change either, and with them the rows that come before an error: a sort below the
SELECT list has them, a sort above it has none. So what is read has its statistics from the start,
and a script that fails on purpose reads what can be read in one way only.
"""

SQL = """
create table fixed (id int primary key, name text, payload text);
insert into fixed select i, 'name ' || i, repeat('p', i) from generate_series(1, 60) i;
create table other_fixed (id int, flag boolean);
insert into other_fixed select i, i % 2 = 0 from generate_series(1, 10) i;
create table w (id int primary key, v int check (v < 1000), note text);
create table deferred (id int unique deferrable initially deferred);
create table changing (id int);
create schema s1;
create schema s2;
create table s1.where_am_i (place text);
insert into s1.where_am_i values ('s1');
create table s2.where_am_i (place text);
insert into s2.where_am_i values ('s2');
create function says(text) returns int language plpgsql volatile as
  $$ begin raise notice '%', $1; return 1; end $$;
create function warns_and_fails() returns int language plpgsql volatile as
  $$ begin raise warning 'about to fail' using hint = 'no way back'; raise exception
     using message = 'it failed', errcode = 'P0123', detail = 'the detail', hint = 'the hint',
     schema = 'sch', table = 'tab', column = 'col', datatype = 'dat', constraint = 'con'; end $$;
create type mood as enum ('sad', 'ok', 'happy');
create view v_fixed as select id, name from fixed where id < 5;
analyze fixed, other_fixed;
"""


def make_world(cluster):
    connection = cluster.primary.connect("app", "app")
    try:
        with connection.cursor() as cursor:
            cursor.execute(SQL)
    finally:
        connection.close()
    cluster.wait_replicated()
