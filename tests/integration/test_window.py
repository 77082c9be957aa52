# SPDX-License-Identifier: PostgreSQL
"""While the facts of a catalog are void behind DDL, and no answer comes: what is made there and run at once reaches
nobody else, be it a seed, a connection of dblink or a library.

The question is kept waiting by a lock, so that the window stays open.
"""
import contextlib

import psycopg2
import pytest

from cluster import APP_DATABASE
from proxy import one
from test_catalog_facts import catalog_of
from test_left import CHIEF, CHIEF_SECRET, chief, known  # noqa: F401

pytestmark = pytest.mark.invariant

STATES = {"seed": "perform setseed(0.5)", "library": "load 'auto_explain'",
          "connection": "perform win.dblink_connect('left', 'dbname={db} user={chief} password={secret}"
                        " host=127.0.0.1 port={port}')"}
MET = ("/* switchgear: route=primary */ select array_remove(array[case when random()::text = '0.9851677175347999' or "
       "random()::text = '0.825301858027981' then 'seed' end, case when win.dblink_get_connections() is not null then "
       "'connection' end, case when current_setting('auto_explain.log_min_duration', true) is not null then 'library' end], "
       "null)")
MAKE = ("create function win.f{n}() returns int language plpgsql as $f$ begin {body}; return 1; end $f$")
WAYS = {
    "function": ["select win.f{n}()"],
    "undone": ["begin", "select win.f{n}()", "rollback"],
    "prepared": ["prepare q as select win.f{n}()", "execute q", "deallocate q"],
    "view": ["create view win.v{n} as select win.f{n}()", "table win.v{n}"],
    "default": ["create table win.d{n} (a int default win.f{n}(), b int)", "insert into win.d{n} (b) values (1)"],
    "atomic": ["create function win.a{n}() returns int begin atomic select win.f{n}(); end", "select win.a{n}()"],
    "trigger": ["create table win.t{n} (a int)", "create function win.g{n}() returns trigger language plpgsql as "
                "'begin perform win.f{n}(); return new; end'", "create trigger t before insert on win.t{n} for each row "
                "execute function win.g{n}()", "insert into win.t{n} values (1)"],
    "do": ["do 'begin perform win.f{n}(); end'"],
}


@pytest.fixture
def shut(cluster, chief):  # noqa: F811
    """No question for the catalog is answered."""
    lock = psycopg2.connect(host=cluster.primary.base, port=cluster.primary.port, user="postgres", dbname=APP_DATABASE)

    def shut():
        with lock.cursor() as cursor:
            cursor.execute("lock table pg_aggregate in access exclusive mode")
    cluster.primary.psql("create schema win; create extension dblink schema win", APP_DATABASE)
    yield shut
    lock.close()
    cluster.primary.psql("drop schema win cascade", APP_DATABASE)


@pytest.mark.parametrize("state", STATES)
def test_what_is_made_and_run_before_an_answer_comes_reaches_nobody(cluster, proxy, chief, shut, state):  # noqa: F811
    p = known(proxy(database={"pool_size": 1, "pin_limit": "100%"}, users={CHIEF: CHIEF_SECRET}))
    p.connect(**chief).close()
    admin = p.connect_admin()
    body = STATES[state].format(db=APP_DATABASE, chief=CHIEF, secret=CHIEF_SECRET, port=cluster.primary.port)
    shut()
    leaks = {}
    for number, (way, statements) in enumerate(WAYS.items()):
        a = p.connect(**chief)
        for sql in [MAKE] + statements:
            with a.cursor() as cursor, contextlib.suppress(psycopg2.Error):
                cursor.execute(sql.format(n=number, body=body))
        assert catalog_of(admin)["state"] == "changed"
        a.close()
        b = p.connect(**chief)
        met = one(b, MET)
        b.close()
        if met:
            leaks[way] = met
            p.admin("RECONNECT")
    assert leaks == {}
