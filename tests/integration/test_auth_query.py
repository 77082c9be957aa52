# SPDX-License-Identifier: PostgreSQL
"""Users who are not in auth_file: looked up by auth_query, on a connection of its own."""
import os
import re
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import ROOT, Load, one, rows_of

ASKER = {"asker": "asker-secret"}
LOOKUP = "SELECT name, secret FROM pooler.lookup($1)"
SETUP = """
drop schema if exists pooler cascade;
drop schema if exists evil cascade;
drop role if exists asker;
drop role if exists found;
drop role if exists crypted;
drop role if exists late;
create role asker login password 'asker-secret';
create role found login password 'found-secret';
create role late login password 'late-secret' valid until '2001-01-01';
set password_encryption = md5;
create role crypted login password 'crypted-secret';
reset password_encryption;
create schema pooler;
grant usage on schema pooler to asker;
create table pooler.plain (name text primary key, secret text);
insert into pooler.plain values ('found', 'found-secret'), ('empty', ''), ('nothing', null);
create function pooler.lookup(text, out name text, out secret text) language sql security definer
    as 'select usename, passwd from pg_catalog.pg_shadow where usename = $1';
create function pooler.lookup_plain(text, out name text, out secret text) language sql
    security definer as 'select name, secret from pooler.plain where name = $1';
create function pooler.lookup_slowly(text, out name text, out secret text) language sql
    security definer as 'select $1, $1 || pg_catalog.pg_sleep(4)::text';
"""


@pytest.fixture
def asking(cluster, proxy):
    """asking(query) starts a proxy whose auth_user is `asker`."""
    cluster.primary.psql(SETUP, APP_DATABASE)
    cluster.wait_replicated()

    def make(query=LOOKUP, **options):
        own = options.pop("switchgear", {})
        users = {**ASKER, **options.pop("users", {})}
        return proxy(switchgear={"auth_query": query, "auth_user": "asker", **own}, users=users,
                     **options)
    return make


def refused(p, user, password, **parameters):
    with pytest.raises(psycopg2.OperationalError) as caught:
        p.connect(user=user, password=password, **parameters)
    return str(caught.value)


def askers(cluster):
    return cluster.primary.psql("select count(*) from pg_stat_activity "
                                "where application_name = 'switchgear-auth'")[0][0]


@pytest.mark.core
def test_a_user_who_is_not_in_the_file_is_looked_up(cluster, asking):
    p = asking(database={"user": "app", "password": "app-secret"})
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    assert "password authentication failed" in refused(p, "found", "wrong")
    assert "password authentication failed" in refused(p, "ghost", "found-secret")
    # which databases there are is only told to whoever has proven who he is; the console is none
    assert 'database "elsewhere" does not exist' in refused(p, "found", "found-secret",
                                                            dbname="elsewhere")
    for user, password, dbname in (("found", "wrong", "elsewhere"), ("ghost", "x", "elsewhere"),
                                   ("found", "found-secret", "switchgear")):
        assert "password authentication failed" in refused(p, user, password, dbname=dbname)
    assert askers(cluster) <= 2  # one a worker, kept
    assert one(p.connect(), "select 1") == 1  # the file comes first


def test_every_kind_of_secret_is_understood(asking):
    p = asking(switchgear={"auth_type": "md5"}, database={"user": "app", "password": "app-secret"})
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1  # SCRAM's
    assert one(p.connect(user="crypted", password="crypted-secret"), "select 1") == 1
    refused(p, "crypted", "wrong")


def test_without_a_query_of_ones_own_the_catalog_is_asked(cluster, asking):
    cluster.primary.psql("alter role asker superuser")
    cluster.wait_replicated()
    p = asking(None, database={"user": "app", "password": "app-secret"})
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    cluster.primary.psql("alter role found valid until '2001-01-01'")
    p.admin("RELOAD")  # what is remembered belongs to a configuration
    wait_until(lambda: not logs_in(p, "found", "found-secret"), what="an expired password is none")
    cluster.primary.psql("alter role found nologin valid until 'infinity'")
    refused(p, "found", "found-secret")
    cluster.primary.psql("alter role asker nosuperuser")


def logs_in(p, user, password):
    try:
        p.connect(user=user, password=password).close()
        return True
    except psycopg2.OperationalError:
        return False


def test_a_password_in_clear_text_goes_to_the_servers(asking):
    p = asking("SELECT name, secret FROM pooler.lookup_plain($1)")
    c = p.connect(user="found", password="found-secret")
    assert one(c, "select current_user") == "found"
    for user in ("empty", "nothing"):
        refused(p, user, "")
        refused(p, user, "x")


def test_nobody_puts_another_function_or_table_in_its_place(cluster, asking):
    cluster.primary.psql("""
        create schema evil;
        grant usage on schema evil to public;
        create view evil.pg_authid as select name as rolname, secret as rolpassword,
            null::timestamptz as rolvaliduntil, true as rolcanlogin
            from (values ('ghost', 'evil-secret')) as v(name, secret);
        grant select on evil.pg_authid to public;
        create function evil.search(text, out name text, out secret text) language sql
            as $$ select 'ghost', 'evil-secret' $$;
        alter role asker superuser;
        alter role asker set search_path = evil, pg_catalog;""", APP_DATABASE)
    cluster.wait_replicated()
    server = {"user": "app", "password": "app-secret"}
    p = asking(None, database=server)
    refused(p, "ghost", "evil-secret")
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    q = asking("SELECT name, secret FROM search($1)", database=server)
    assert "could not be looked up" in refused(q, "ghost", "evil-secret")
    assert "auth_query_failed" in q.log_text()
    cluster.primary.psql("alter role asker nosuperuser")


def test_a_changed_password_works_at_the_second_attempt_at_the_latest(cluster, asking):
    p = asking(switchgear={"workers": 1}, database={"user": "app", "password": "app-secret"})
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    cluster.primary.psql("alter role found password 'new-secret'")
    refused(p, "found", "new-secret")  # remembered, as the former one still works
    assert one(p.connect(user="found", password="new-secret"), "select 1") == 1
    refused(p, "found", "found-secret")


def test_what_was_said_is_remembered_for_a_while(cluster, asking):
    p = asking(switchgear={"workers": 1}, database={"user": "app", "password": "app-secret"})
    for _ in range(20):
        p.connect(user="found", password="found-secret").close()
    assert cluster.primary.saw("pooler.lookup") <= 2


def test_another_node_is_asked_when_the_primary_is_gone(cluster, asking):
    p = asking(database={"user": "app", "password": "app-secret"})
    p.waits_for_names = False
    cluster.primary.kill9()
    c = p.connect(user="found", password="found-secret")
    assert one(c, "select 1") == 1


def test_a_primary_that_was_down_at_the_start_is_not_needed(cluster, asking):
    cluster.primary.stop("fast")
    try:
        p = asking(wait=False, database={"user": "app", "password": "app-secret"})
        p.waits_for_names = False
        wait_until(lambda: "event=ready" in p.log_text(), 10, "it listens")
        wait_until(lambda: [p.breaker(n) for n in ("r1", "r2")] == ["CLOSED"] * 2, 10, "replicas are there")
        assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    finally:
        cluster.primary.start()


def test_a_slow_answer_holds_up_nobody_else(cluster, asking):
    import threading
    p = asking("SELECT name, secret FROM pooler.lookup_slowly($1)",
               switchgear={"client_login_timeout": "2s", "workers": 1})
    errors = []

    def try_it(user):
        errors.append(refused(p, user, "x"))

    with Load(p, lambda c, _: rows_of(c, "select 1"), clients=2) as load:
        threads = [threading.Thread(target=try_it, args=(f"slow{i}",)) for i in range(12)]
        for t in threads:
            t.start()
        began = time.monotonic()
        assert one(p.connect(), "select 1") == 1  # of the file: nothing to wait for
        assert time.monotonic() - began < 1.5
        assert askers(cluster) <= 4
        for t in threads:
            t.join(20)
    assert len(errors) == 12 and all("client_login_timeout" in e for e in errors), errors
    assert not load.errors


def test_an_auth_user_who_may_not_log_in_is_an_error_that_says_so(asking):
    p = asking(users={"asker": "not-the-password"})
    assert "the user could not be looked up" in refused(p, "found", "found-secret")
    assert "sqlstate=28P01" in p.log_text() and "auth_query_failed" in p.log_text()
    assert "not-the-password" not in p.log_text()
    assert one(p.connect(), "select 1") == 1


def test_auth_dbname_says_where_to_ask(cluster, asking):
    cluster.primary.psql("drop database if exists secrets with (force)")
    cluster.primary.psql("create database secrets")
    cluster.primary.psql("""
        create schema pooler; grant usage on schema pooler to asker;
        create function pooler.lookup(text, out name text, out secret text) language sql
            security definer as 'select usename, passwd from pg_catalog.pg_shadow
                                 where usename = $1'""", "secrets")
    cluster.primary.psql("drop function pooler.lookup", APP_DATABASE)
    cluster.wait_replicated()
    p = asking(wait=False, database={"user": "app", "password": "app-secret",
                                     "auth_dbname": "secrets"},
               sections={"database secrets": {"shards": "main"}})
    p.wait_listening()
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    p.stop()
    cluster.primary.psql("drop database secrets with (force)")


def test_a_hundred_strangers_cost_a_bounded_number_of_connections(cluster, asking):
    p = asking(database={"user": "app", "password": "app-secret"})
    for i in range(100):
        refused(p, f"stranger{i}", "x")
    assert askers(cluster) <= 8
    assert p.metric("switchgear_logins_failed_total", reason="password") == 100
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1


def test_what_the_howto_says_works(cluster, proxy):
    with open(os.path.join(ROOT, "docs", "howto", "authenticate-clients.md"), encoding="utf-8") as f:
        page = f.read()
    sql = re.search(r"```sql\n(.*?)```", page, re.DOTALL).group(1)
    query = re.search(r"^auth_query += (.*)$", page, re.MULTILINE).group(1)
    cluster.primary.psql("drop schema if exists switchgear cascade; "
                         "drop role if exists switchgear_auth;" + SETUP, APP_DATABASE)
    cluster.primary.psql(sql, APP_DATABASE)
    cluster.wait_replicated()
    p = proxy(switchgear={"auth_query": query, "auth_user": "switchgear_auth"},
              users={"switchgear_auth": "a long one"},
              database={"user": "app", "password": "app-secret"})
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    refused(p, "found", "wrong")
    refused(p, "late", "late-secret")  # PostgreSQL would not let it in either


@pytest.mark.parametrize("dbname, stops", [(None, True), ("other", False)])
def test_a_disabled_database_is_not_asked(asking, dbname, stops):
    """Where the question is put counts, not who comes."""
    own = {"user": "app", "password": "app-secret"}
    p = asking(switchgear={"auth_dbname": dbname} if dbname else {}, database=own,
               databases={"other": own})
    p.admin(f"DISABLE {APP_DATABASE}")
    said = refused(p, "found", "found-secret")
    assert ("could not be looked up" in said) == stops, said
    p.admin(f"ENABLE {APP_DATABASE}")
    assert one(p.connect(user="found", password="found-secret"), "select 1") == 1
    p.admin("DISABLE other")
    if not stops:
        assert "could not be looked up" in refused(p, "late", "late-secret")
