# SPDX-License-Identifier: PostgreSQL
"""What a function has done to its session unseen: it follows the session or binds it, and nobody else
meets it. No text below shows what happens.

Two connections to PostgreSQL serve all clients here: a second client makes the first one change.
"""
import contextlib
import hashlib

import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import last_route, one, rows_of
from test_catalog_facts import catalog_of
from test_pins import pins

pytestmark = pytest.mark.invariant

PRIMARY = "/* switchgear: route=primary */ "
# The body of each function shows what it does; what calls it does not.
MANY_TABLES = ("for i in 1..400 loop execute 'create temp table t' || i || ' (id int primary key)'; "
               "end loop")


def name_of(body):
    return "sg_" + hashlib.md5(body.encode()).hexdigest()[:12]


def by(body):
    """Calls the function with that body, which `functions` has made."""
    assert body in bodies(), body
    return f"select {name_of(body)}()"


def setting(name, value):
    return f"perform set_config('{name}', '{value.replace(chr(39), chr(39) * 2)}', false)"


@pytest.fixture(scope="module", autouse=True)
def functions(cluster):
    for body in bodies():
        cluster.primary.psql(f"create or replace function {name_of(body)}() returns text language "
                             f"plpgsql volatile as $f$ begin {body}; return 'done'; end $f$",
                             APP_DATABASE)
    cluster.primary.psql("grant pg_monitor to " + APP_USER)
    cluster.wait_replicated()


def known(p):
    """The proxy knows what the functions do."""
    admin = p.connect_admin()
    one(p.connect(), "select 1")
    wait_until(lambda: catalog_of(admin).get("state") == "known", what="the catalog is known")
    return p


def pinned_by(p):
    return {reason for reason, count in pins(p).items() if count}


class Pair:
    """Two clients of a pool of one connection."""

    def __init__(self, proxy, **database):
        self.proxy = known(proxy(database={"pool_size": 1, **database}))
        self.a, self.b = self.proxy.connect(), self.proxy.connect()

    def swap(self):
        """B uses the connection between two statements of A."""
        rows_of(self.b, "select 1 from generate_series(1, 2)")
        return self


SETTINGS = [
    ("work_mem", "9MB", "4MB"), ("TimeZone", "Asia/Tokyo", None), ("search_path", "pg_catalog, public", None),
    ("app.tenant", "t1", ""), ("extra_float_digits", "2", None), ("statement_timeout", "77s", "0"),
    ("bytea_output", "escape", "hex"), ("application_name", "it's a \\ \"name\"", None),
]


@pytest.mark.parametrize("name, value, default", SETTINGS, ids=[s[0] for s in SETTINGS])
def test_a_setting_that_a_function_made_follows_its_session(proxy, name, value, default):
    pair = Pair(proxy)
    before = one(pair.b, f"select current_setting('{name}', true)")
    one(pair.a, by(setting(name, value)))
    for _ in range(3):
        got = one(pair.b, f"select current_setting('{name}', true)")
        assert got == before or (got == "" and before is None)
        assert one(pair.a, f"select current_setting('{name}', true)") == value
    assert pinned_by(pair.proxy) == set()
    if default is not None:
        assert one(pair.a, by(f"reset {name}")) == "done"
        pair.swap()
        assert one(pair.a, f"select current_setting('{name}', true)") == default


@pytest.mark.parametrize("right", ["without the right", "with the right"])
def test_a_setting_that_was_made_on_a_replica_follows_its_session(cluster, proxy, right):
    """An immutable function does it. A standby answers whoever may ask for a replication origin, as a superuser may,
    with an error."""
    function = "pg_replication_origin_session_is_setup()"
    cluster.primary.psql("create or replace function sg_pure(int) returns int language plpgsql immutable as $f$ begin "
                         "perform set_config('app.tenant', 't2', false); return 1; end $f$", APP_DATABASE)
    if right == "with the right":
        cluster.primary.psql(f"grant execute on function {function} to {APP_USER}", APP_DATABASE)
    cluster.wait_replicated()
    try:
        pair = Pair(proxy)
        rows_of(pair.a, "select sg_pure(1)")
        assert last_route(pair.a)["role"] == "replica"
        for _ in range(2):
            assert one(pair.a, "select current_setting('app.tenant', true)") == "t2"
            assert not one(pair.b, "select current_setting('app.tenant', true)")
            assert one(pair.a, PRIMARY + "select current_setting('app.tenant', true)") == "t2"
    finally:
        cluster.primary.psql(f"revoke execute on function {function} from {APP_USER}; "
                             "drop function sg_pure(int)", APP_DATABASE)


@pytest.mark.parametrize("body", ["perform set_config('app.unread', 't3', false)", "set app.unread = 't3'",
                                  "SET SESSION App.Unread TO t3"])
def test_a_setting_follows_its_session_while_nobody_knows_the_functions(cluster, proxy, body):
    """The name is in the body alone, and the proxy has not read it: it may not read all that it asks for."""
    cluster.primary.psql("create or replace function sg_unread() returns int language plpgsql as "
                         f"$f$ begin {body}; return 1; end $f$; revoke select on pg_amproc from public", APP_DATABASE)
    try:
        p = proxy(database={"pool_size": 1})
        a, b = p.connect(), p.connect()
        rows_of(a, "select sg_unread()")
        for _ in range(2):
            assert not one(b, PRIMARY + "select current_setting('app.unread', true)")
            assert one(a, PRIMARY + "select current_setting('app.unread', true)") == "t3"
        assert catalog_of(p.connect_admin()).get("state") != "known"
    finally:
        cluster.primary.psql("grant select on pg_amproc to public; drop function sg_unread()", APP_DATABASE)


NEARLY = [  # what both sessions have set, and what a function makes of it in one of them
    ("set app.tenant = '12'", "app.tenant", "12", "1 2"),
    ("set app.tenant = 'Web'", "app.tenant", "Web", "web"),
    ("set app.tenant to 'a''b'", "app.tenant", "a'b", "ab"),
    ("set app.tenant = 'a,b'", "app.tenant", "a,b", "a, b"),
    ("set app.tenant = 'x'", "app.tenant", "x", "'x'"), ("set app.tenant = Yes", "app.tenant", "yes", "Yes"),
    ("select set_config('app.tenant', 'q ', false)", "app.tenant", "q ", "q"),
    ("set search_path = public, \"A\"", "search_path", 'public, "A"', "public, a"),
]


@pytest.mark.parametrize("sql, name, had, value", NEARLY, ids=[n[0] for n in NEARLY])
def test_a_value_that_differs_in_a_letter_or_a_blank_is_another(proxy, sql, name, had, value):
    pair = Pair(proxy)
    for c in (pair.a, pair.b):
        rows_of(c, sql)
        assert one(c, f"select current_setting('{name}')") == had
    one(pair.a, by(setting(name, value)))
    for _ in range(2):
        assert one(pair.b, f"select current_setting('{name}')") == had
        assert one(pair.a, f"select current_setting('{name}')") == value


def test_a_role_that_a_function_took_follows_its_session(proxy):
    pair = Pair(proxy)
    one(pair.a, by("set role pg_monitor"))
    for _ in range(2):
        assert one(pair.b, "select current_user") == APP_USER
        assert one(pair.a, "select current_user") == "pg_monitor"
    one(pair.a, by("reset role"))
    assert one(pair.b, "select current_user") == APP_USER
    assert one(pair.a, "select current_user") == APP_USER


KEPT = [
    ("listen channel_x", "listen", "select pg_listening_channels()", "channel_x"),
    ("perform pg_advisory_lock(4711)", "advisory_lock",
     "select objid::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", 4711),
    ("create temp table mine as select 5 as x", "temp_table", "select x from mine", 5),
    ("create function pg_temp.f() returns int language sql as 'select 6'", "temp_table",
     "select pg_temp.f()", 6),
    ("prepare p as select 7", "sql_prepare", "execute p", 7),
]


@pytest.mark.parametrize("text, reason, question, answer", KEPT, ids=[k[0] for k in KEPT])
def test_what_a_function_has_left_binds_its_session(proxy, text, reason, question, answer):
    p = known(proxy(database={"pool_size": 2}))
    a, b = p.connect(), p.connect()
    one(a, by(text))
    wait_until(lambda: pinned_by(p) == {reason}, 5, reason)
    for _ in range(4):
        one(b, by(setting("work_mem", "11MB")))
        assert one(a, question) == answer
    a.close()
    wait_until(lambda: pinned_by(p) == set(), 5, "nobody is pinned")
    for _ in range(4):
        c = p.connect()
        assert rows_of(c, "select * from pg_listening_channels()") == []
        assert rows_of(c, "select 1 from pg_locks where locktype = 'advisory' "
                          "and pid = pg_backend_pid()") == []
        assert one(c, "select to_regclass('mine')::text") is None
        c.close()


def test_a_block_is_asked_about_when_it_is_over(proxy):
    pair = Pair(proxy)
    a = pair.proxy.connect(autocommit=False)
    cursor = a.cursor()
    cursor.execute(by(setting("work_mem", "11MB")))
    a.commit()
    cursor.execute(by(setting("work_mem", "12MB")))
    a.rollback()
    pair.swap()
    cursor.execute("show work_mem")
    assert cursor.fetchone()[0] == "11MB"
    a.rollback()


def test_a_text_that_leaves_nothing_is_not_asked_about_for_ever(proxy):
    p = known(proxy())
    c = p.connect()
    for _ in range(60):
        one(c, by("perform 1"))
    asked = wait_until(lambda: p.metric("switchgear_left_asked_total"), what="it was asked")
    assert 1 <= asked <= 30
    for _ in range(60):
        one(c, by("perform 1"))
    assert p.metric("switchgear_left_asked_total") - asked <= 20


BROUGHT = {"a name": {"application_name": "web"}, "a quote": {"application_name": "it's \\ here"},
           "a search path": {"options": "-c search_path=public,pg_catalog"},
           "a style": {"options": "-c datestyle=German -c intervalstyle=iso_8601"},
           "a name of its own": {"options": "-c app.tenant=E'7'"},
           "a unit": {"options": "-c work_mem=4096kB -c statement_timeout=60000"}}


@pytest.mark.parametrize("brought", BROUGHT)
def test_what_a_client_brought_along_is_found_once_at_most(proxy, brought):
    """What is found, is set; what is set is not found again as something new."""
    p = known(proxy())
    c = p.connect(**BROUGHT[brought])
    for _ in range(40):
        one(c, by("perform 1"))
    assert p.metric("switchgear_left_found_total") <= 1
    assert p.metric("switchgear_left_asked_total") <= 20


def test_a_timeout_left_behind_fails_no_reset(proxy):
    """The reset of a connection would take longer than the timeout that its last session has set."""
    pair = Pair(proxy)
    one(pair.a, by(MANY_TABLES))
    pair.a.close()
    for i in range(3):
        a = pair.proxy.connect()
        one(a, by("set statement_timeout = 1"))
        assert one(pair.b, f"select 40 + {i}") == 40 + i
        one(pair.b, "insert into log (note) values ('reset') returning 1")
        a.close()


def test_the_seed_of_random_reaches_nobody(proxy):
    pair = Pair(proxy, pin_limit="100%")
    one(pair.a, "select setseed(0.5)")
    first = one(pair.a, "select random()")
    pair.a.close()
    assert one(pair.b, "select random() from (select 1) x") != first


# What no reset takes back, by functions whose bodies say so and whose calls do not.
LASTING = {
    "seed": ("perform setseed(0.5)", "select random() = 0.825301858027981", False),
    "seed_by_set": ("set seed = 0.5", "select random() = 0.9851677175347999", False),
    "seed_by_config": ("perform set_config('seed', '0.5', false)",
                       "select random() = 0.9851677175347999", False),
    "library": ("load 'auto_explain'", "select current_setting('auto_explain.log_format', true)", None),
    "slot": ("perform pg_create_physical_replication_slot('left_slot', true, true)",
             "select count(*) from pg_replication_slots where active_pid = pg_backend_pid()", 0),
    "origin": ("perform pg_replication_origin_session_setup('left_origin')",
               "select pg_replication_origin_session_is_setup()", False),
}
CHIEF, CHIEF_SECRET = "left_chief", "chief-secret"


@pytest.fixture(scope="module")
def chief(cluster):
    """A superuser, as some of it wants one."""
    run = cluster.primary.psql
    run(f"create role {CHIEF} login superuser password '{CHIEF_SECRET}'")
    run("select pg_replication_origin_create('left_origin')", APP_DATABASE)
    cluster.wait_replicated()
    yield {"user": CHIEF, "password": CHIEF_SECRET}
    run("select pg_replication_origin_drop('left_origin')", APP_DATABASE)
    run(f"drop owned by {CHIEF}", APP_DATABASE)
    run(f"drop role {CHIEF}")


REPLICA = ["set switchgear.route = 'replica'", "begin", "begin read only"]


@pytest.mark.parametrize("sql", ["select {}", "/* switchgear: route=replica */ select {}",
                                 "select count(*) from (select {}) s", "explain analyze select {}",
                                 "declare c cursor for select {}", "select {}; select 1"])
@pytest.mark.parametrize("first", REPLICA)
def test_no_replica_is_made_to_keep_what_binds_a_session(proxy, first, sql):
    """It runs on the primary, or on a replica whose connection ends with it; the process lives."""
    p = known(proxy(database={"pool_size": 2}))
    c = p.connect()
    rows_of(c, first)
    with contextlib.suppress(psycopg2.Error):
        rows_of(c, sql.format(by("perform setseed(0.5)").removeprefix("select ")))
    c.close()
    for _ in range(6):
        fresh = p.connect()
        assert one(fresh, "select random() = 0.825301858027981") is False
        fresh.close()
    p.insist_alive()


@pytest.mark.parametrize("sql", ["select {}", "do $$ begin perform {}; end $$", "listen x", "select setseed(0.5)",
                                 "prepare q as select {}", "set seed = 0.5", "create temp table x (a int)"])
def test_in_a_failed_block_on_a_replica_nothing_binds(proxy, sql):
    p = known(proxy())
    c = p.connect()
    rows_of(c, "begin read only")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        rows_of(c, "select 1 / count(*) from t where id < 0")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        rows_of(c, sql.format(by("perform setseed(0.5)").removeprefix("select ")))
    rows_of(c, "rollback")
    assert one(c, "select 1") == 1
    p.insist_alive()


@pytest.mark.parametrize("way", ["function", "do"])
@pytest.mark.parametrize("name", LASTING)
def test_what_no_reset_takes_back_ends_its_connection(proxy, chief, name, way):
    body, question, fresh = LASTING[name]
    p = known(proxy(database={"pool_size": 1, "pin_limit": "100%"}, users={CHIEF: CHIEF_SECRET}))
    a, b = p.connect(**chief), p.connect(**chief)
    where = "select pg_backend_pid() where txid_current() > 0"
    server = one(a, where)
    if way == "function":
        one(a, by(body))
    else:
        with a.cursor() as cursor:
            cursor.execute(f"do $$ begin {body}; end $$")
    wait_until(lambda: pinned_by(p) == {"opaque_function"}, what="it is bound")
    assert one(a, where) == server
    a.close()
    assert one(b, "/* switchgear: route=primary */ " + question) == fresh
    assert one(b, where) != server


def bodies():
    return [setting(name, value) for name, value, _ in SETTINGS] + [
        setting(name, value) for _, name, _, value in NEARLY] + [
        f"reset {name}" for name, _, default in SETTINGS if default is not None] + [
        text for text, _, _, _ in KEPT] + [body for body, _, _ in LASTING.values()] + [
        "set role pg_monitor", "reset role", setting("work_mem", "11MB"), setting("work_mem", "12MB"),
        "perform 1", MANY_TABLES, "set statement_timeout = 1"]
