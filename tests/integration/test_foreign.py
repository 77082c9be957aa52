# SPDX-License-Identifier: PostgreSQL
"""What a session does on a foreign server stays in the connection that its server's process has there, past
DISCARD ALL. Of a wrapper that nobody knows how to reset the server connection is closed, not lent on.

The wrapper is postgres_fdw's code under another name, and the foreign server is the primary itself.
"""
import pytest

from cluster import APP_DATABASE
from proxy import one, rows_of
from test_catalog_facts import flags_of, known
from test_left import CHIEF, CHIEF_SECRET, chief  # noqa: F401

pytestmark = pytest.mark.invariant

SETUP = """
create schema far; grant all on schema far to public; set search_path = far, public;
create extension file_fdw schema far; create extension postgres_fdw schema far;
create function handles() returns fdw_handler language c as '$libdir/postgres_fdw', 'postgres_fdw_handler';
create foreign data wrapper other handler handles;
create server other_server foreign data wrapper other options (host '{host}', port '{port}', dbname '{db}');
create server known_server foreign data wrapper postgres_fdw options (host '{host}', port '{port}', dbname '{db}');
create server files foreign data wrapper file_fdw;
create user mapping for public server other_server options (user '{chief}', password '{secret}');
create user mapping for public server known_server options (user '{chief}', password '{secret}');
create function sets() returns text language plpgsql as
    $$ begin perform set_config('app.tenant', 'secret', false); return 'x'; end $$;
create view sets_there as select far.sets() as a;
create view asks_there as select current_setting('app.tenant', true) as a;
create table plain_there (a text);
create foreign table sets_far (a text) server other_server options (schema_name 'far', table_name 'sets_there');
create foreign table asks_far (a text) server other_server options (schema_name 'far', table_name 'asks_there');
create foreign table plain_far (a text) server other_server options (schema_name 'far', table_name 'plain_there');
create foreign table sets_known (a text) server known_server options (schema_name 'far', table_name 'sets_there');
create foreign table asks_known (a text) server known_server options (schema_name 'far', table_name 'asks_there');
create foreign table in_file (a text) server files options (filename '/dev/null');
create view over as select a from sets_far; create view over_over as select a from over;
create function by_sql() returns text language sql stable as 'select a from far.sets_far';
create function by_plpgsql() returns text language plpgsql as 'begin return far.by_sql(); end';
create function by_trigger() returns trigger language plpgsql as
    'begin perform a from far.sets_far; return new; end';
create table written (a int); create trigger t before insert on written for each row execute function by_trigger();
create table parent (a text); alter foreign table sets_far inherit parent;
create materialized view stored as select a from sets_far with no data;
grant all on all tables in schema far to public;
"""
WAYS = {"table": ["table far.sets_far"], "view": ["table far.over"], "view over a view": ["table far.over_over"],
        "parent": ["table far.parent"], "sql": ["select far.by_sql()"], "plpgsql": ["select far.by_plpgsql()"],
        "trigger": ["insert into far.written values (1)"], "rolled back": ["begin", "table far.over", "rollback"],
        "prepared": ["prepare q as table far.over", "execute q", "deallocate q"],
        "copy": ["copy (table far.sets_far) to stdout"], "do": ["do 'begin perform a from far.sets_far; end'"],
        "written": ["insert into far.plain_far select a from far.sets_far"],
        "postgres_fdw": ["table far.sets_known"]}


@pytest.fixture(scope="module")
def far(cluster, chief):  # noqa: F811
    run = cluster.primary.psql
    run(SETUP.format(host="127.0.0.1", port=cluster.primary.port, db=APP_DATABASE, chief=CHIEF,
                     secret=CHIEF_SECRET), APP_DATABASE)
    cluster.wait_replicated()
    yield
    run("drop schema far cascade", APP_DATABASE)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_set_on_a_foreign_server_reaches_nobody(far, proxy, way):
    p = proxy(database={"pool_size": 1, "pin_limit": "100%"})
    known(p)
    a, b = p.connect(), p.connect()
    for sql in WAYS[way]:
        with a.cursor() as cursor:
            if sql.startswith("copy"):
                with open("/dev/null", "w") as nowhere:
                    cursor.copy_expert(sql, nowhere)
            else:
                cursor.execute(sql)
    a.close()
    asks = "asks_known" if way == "postgres_fdw" else "asks_far"
    assert one(b, f"select a from far.{asks}") in (None, "")


def test_a_connection_with_a_foreign_one_is_closed_when_it_is_given_back(far, proxy):
    p = proxy(database={"pool_size": 1})
    found = known(p)
    admin = p.connect_admin()
    assert found[("relation", "over")] == "runs write_runs home outside write_opaque keeps"
    assert "keeps" not in found[("relation", "written")] and "write_opaque" in found[("relation", "written")]
    assert found[("relation", "stored")] == "write_runs outside write_opaque"
    assert flags_of(admin, "relation", "sets_known") == "runs write_runs home outside"
    assert flags_of(admin, "relation", "in_file") == "write_runs home outside"
    a, b = p.connect(), p.connect()
    pid = "select pg_backend_pid()"
    before = one(a, pid)
    for sql, stays in (("table far.in_file", True), ("table far.sets_known", True), ("table far.over", False)):
        rows_of(a, sql)
        assert (one(b, pid) == before) == stays, sql
