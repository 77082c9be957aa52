# SPDX-License-Identifier: PostgreSQL
"""What ALTER ROLE and ALTER DATABASE ... SET give to new log-ins, though no ParameterStatus tells of it: soon, on
each node, and without a way back."""
import threading
import time

import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of

# name: (what is asked, the change, the new value, the change back)
CHANGES = {
    "of a role": ("work_mem", "alter role app set work_mem = '9MB'", "9MB"),
    "of a database": ("lock_timeout", "alter database app set lock_timeout = '7s'", "7s"),
    "of a role in a database": ("statement_timeout",
                                "alter role app in database app set statement_timeout = '77s'", "77s"),
    "of all roles": ("work_mem", "alter role all set work_mem = '10MB'", "10MB"),
    "of all roles in a database": ("work_mem", "alter role all in database app set work_mem = '11MB'", "11MB"),
    "a custom name": ("app.kind", "alter role app set app.kind = 'blue'", "blue"),
    "the search_path": ("search_path", "alter role app set search_path = hidden, public", "hidden, public"),
    "isolation": ("default_transaction_isolation",
                  "alter database app set default_transaction_isolation = 'repeatable read'", "repeatable read"),
    "a planner's": ("enable_seqscan", "alter role app set enable_seqscan = off", "off"),
}
TEMPORARY = ("alter role app set search_path = pg_temp, public", "alter database app set search_path = 'pg_temp', public",
             "alter role app in database app set search_path = \"$user\", PG_TEMP")
MAKES = {"a table": ("create table mine (id int)", "select count(*) from mine"),
         "a table of a query": ("create table mine as select 1 as id", "select count(*) from mine"),
         "a view": ("create view mine as select 1 as id", "select count(*) from mine"),
         "a sequence": ("create sequence mine", "select count(last_value) from mine"),
         "into": ("select 1 as id into mine", "select count(*) from mine")}
TAKE_BACK = ("alter role app reset all", "alter database app reset all", "alter role app in database app reset all",
             "alter role all reset all", "alter role all in database app reset all")


@pytest.fixture(name="psql")
def whatever_is_changed_is_taken_back(cluster):
    yield cluster.primary.psql
    for sql in TAKE_BACK:
        cluster.primary.psql(sql)
    cluster.wait_replicated()


@pytest.fixture(name="p")
def a_proxy_with_connections_everywhere(proxy):
    p = proxy(database={"pool_size": 3})
    warm = [p.connect() for _ in range(3)]
    for w in warm:
        everywhere(w, "work_mem")
    for w in warm:
        w.close()
    admin = p.connect_admin()
    wait_until(lambda: known(admin), what="the catalog is known")
    look(p)
    return p


def known(admin):
    return any("known" in map(str, row) for row in rows_of(admin, "SHOW CATALOG"))


def look(p):
    """Some seconds go by, with a client that keeps the database wanted: the first look is no change."""
    with p.connect() as s:
        rows_of(s, "select pg_sleep(2.5)")
    s.close()


def everywhere(session, name):
    """What a setting is on a replica, and on the primary in a block."""
    ask = f"select current_setting('{name}', true)"
    seen = []
    for _ in range(3):
        seen.append(one(session, f"{ask} from t where id = 1"))
        rows_of(session, "begin")
        seen.append(one(session, ask))
        rows_of(session, "rollback")
    return seen


def new_log_in(p, name):
    session = p.connect()
    seen = everywhere(session, name)
    session.close()
    return seen


def wait_for(p, name, value):
    """A connection from before may come back until the proxy has looked: so several in a row."""
    wait_until(lambda: all(set(new_log_in(p, name)) == {value} for _ in range(5)), 20,
               what=f"{name} is {value} for new log-ins")


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_default_reaches_new_log_ins_on_every_node(p, psql, what):
    name, change, value = CHANGES[what]
    before = new_log_in(p, name)[0]
    assert before != value
    psql(change)
    wait_for(p, name, value)
    for sql in TAKE_BACK:
        psql(sql)
    wait_for(p, name, before)


@pytest.mark.parametrize("what", CHANGES)
def test_the_very_next_log_in_has_it_on_every_node(cluster, p, psql, what):
    name, change, value = CHANGES[what]
    for i, (sql, wanted) in enumerate([(change, value), (None, new_log_in(p, name)[0])]):
        for one_sql in [sql] if sql else TAKE_BACK:
            psql(one_sql)
        cluster.wait_replicated()
        psql("select pg_sleep(0.05)")  # log-ins of one moment share a look
        assert set(new_log_in(p, name)) == {wanted}, i


def test_a_change_before_the_first_look_reaches_who_logs_in_next(cluster, proxy, psql):
    p = proxy(database={"pool_size": 3})
    warm = p.connect()
    everywhere(warm, "work_mem")
    warm.close()
    psql("alter role app set work_mem = '16MB'; alter database app set timezone = 'Asia/Tokyo'")
    cluster.wait_replicated()
    psql("select pg_sleep(0.05)")
    for name, value in (("work_mem", "16MB"), ("timezone", "Asia/Tokyo")):
        assert set(new_log_in(p, name)) == {value}
    s = p.connect()
    assert s.get_parameter_status("TimeZone") == "Asia/Tokyo"
    s.close()


@pytest.mark.parametrize("pause", [0.02, 0.2])
def test_a_change_is_seen_while_somebody_makes_ddl_again_and_again(cluster, proxy, psql, pause):
    """What names stand for is void all the time, and asked for again and again."""
    p = proxy(database={"pool_size": 4})
    maker, ending = p.connect(), threading.Event()

    def make():
        while not ending.is_set():
            rows_of(maker, "create or replace function made_again() returns int language sql as 'select 1'")
            time.sleep(pause)

    thread = threading.Thread(target=make)
    thread.start()
    try:
        time.sleep(2)
        for value in ("11MB", "12MB"):
            psql(f"alter role app set work_mem = '{value}'")
            cluster.wait_replicated()
            wait_until(lambda v=value: set(new_log_in(p, "work_mem")) == {v}, 15, "it is seen")
    finally:
        ending.set()
        thread.join()
        rows_of(maker, "drop function made_again()")


def test_log_ins_go_on_when_nobody_can_look(cluster, proxy):
    p = proxy(database={"pool_size": 3})
    p.connect().close()
    cluster.primary.stop("fast")
    try:
        wait_until(lambda: p.breaker("p1") == "OPEN", what="the primary is seen to be gone")
        began = time.monotonic()
        for _ in range(20):
            s = p.connect()
            assert one(s, "select count(*) from t where id = 1") == 1
            s.close()
        assert time.monotonic() - began < 10
    finally:
        cluster.primary.start()
    wait_until(lambda: p.breaker("p1") == "CLOSED", what="the primary is back")


def test_a_change_that_passes_the_proxy_reaches_the_next_ones(p, psql):
    owner = p.connect()
    rows_of(owner, "alter role app set work_mem = '12MB'")  # a role may change its own
    owner.close()
    wait_for(p, "work_mem", "12MB")


def test_a_session_sees_a_change_once_and_never_the_old_value_again(p, psql):
    sessions = [p.connect() for _ in range(3)]
    before = everywhere(sessions[0], "work_mem")[0]
    psql("alter role app set work_mem = '13MB'")
    wait_for(p, "work_mem", "13MB")
    for s in sessions:
        seen = [v for _ in range(4) for v in everywhere(s, "work_mem")]
        assert set(seen) <= {before, "13MB"}
        assert seen == sorted(seen, key=lambda v: v != before)  # the old ones first, if any


def test_a_block_keeps_what_it_began_with(p, psql):
    s = p.connect()
    rows_of(s, "begin; create temp table held (a int)")
    before = one(s, "select current_setting('work_mem')")
    psql("alter role app set work_mem = '14MB'")
    wait_for(p, "work_mem", "14MB")
    assert one(s, "select current_setting('work_mem')") == before
    rows_of(s, "rollback")
    s.close()


def test_another_roles_defaults_close_nobodys_connections(p, psql):
    def connections():
        return set(psql("select pid::text from pg_stat_activity where usename = 'app' and "
                        "application_name not like 'switchgear%'"))

    psql("create role somebody_else")
    try:
        before = connections()
        psql("alter role somebody_else set work_mem = '15MB'")
        look(p)
        assert before and before <= connections()
        psql("alter role app set work_mem = '15MB'")
        wait_until(lambda: not before & connections(), 20, what="those of the role that is meant go")
    finally:
        psql("drop role somebody_else")


def test_tables_that_a_new_search_path_hides_are_hidden(p, psql, cluster):
    cluster.primary.psql("create schema hidden; create table hidden.t as select 1 as id, 4711 as v; "
                         "grant usage on schema hidden to app; grant select on hidden.t to app", APP_DATABASE)
    try:
        assert new_count(p) == {0}
        psql("alter role app set search_path = hidden, public")
        wait_for(p, "search_path", "hidden, public")
        assert new_count(p) == {1}
    finally:
        for sql in TAKE_BACK:
            psql(sql)
        cluster.primary.psql("drop schema hidden cascade", APP_DATABASE)


def new_count(p):
    session = p.connect()
    seen = set()
    for _ in range(3):
        seen.add(one(session, "select count(*) from t where v = 4711"))
        rows_of(session, "begin")
        seen.add(one(session, "select count(*) from t where v = 4711"))
        rows_of(session, "rollback")
    session.close()
    return seen


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("change", TEMPORARY)
def test_what_is_made_in_pg_temp_by_default_is_its_sessions_own(psql, proxy, change, make):
    psql(change)
    p = proxy(database={"pool_size": 2, "consistency": "primary"})
    admin = p.connect_admin()
    a, b, c = p.connect(), p.connect(), p.connect()
    wait_until(lambda: known(admin), what="the catalog is known")
    rows_of(a, MAKES[make][0])
    for _ in range(3):  # a block holds the one that is free for all, or the one that A had
        with pytest.raises(psycopg2.errors.UndefinedTable):
            rows_of(b, MAKES[make][1])
        rows_of(c, "begin; select 1")
        assert one(a, MAKES[make][1]) in (0, 1)
        rows_of(c, "rollback")
    a.close()
    wait_until(lambda: one(b, "select count(*) from pg_class where relname = 'mine'") == 0, what="it is gone")
