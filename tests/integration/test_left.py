# SPDX-License-Identifier: PostgreSQL
"""What a function has done to its session unseen: it follows the session or binds it, and nobody else
meets it. No text below shows what happens.

Two connections to PostgreSQL serve all clients here: a second client makes the first one change.
"""
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import one, rows_of
from test_pins import pins

pytestmark = pytest.mark.invariant

SETUP = """
create or replace function sg_set(n text, v text) returns text language sql volatile
    as $$ select set_config(n, v, false) $$;
create or replace function sg_run(t text) returns text language plpgsql volatile
    as $$ begin execute t; return 'done'; end $$;
create or replace function sg_set_app_tenant(v text) returns text language plpgsql volatile
    as $$ begin perform set_config('app.tenant', v, false); return v; end $$;
"""


@pytest.fixture(scope="module", autouse=True)
def functions(cluster):
    cluster.primary.psql(SETUP, APP_DATABASE)
    cluster.primary.psql("grant pg_monitor to " + APP_USER)


def pinned_by(p):
    return {reason for reason, count in pins(p).items() if count}


class Pair:
    """Two clients of a pool of one connection."""

    def __init__(self, proxy, **database):
        self.proxy = proxy(database={"pool_size": 1, **database})
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
    one(pair.a, f"select sg_set('{name}', '{value.replace(chr(39), chr(39) * 2)}')")
    for _ in range(3):
        got = one(pair.b, f"select current_setting('{name}', true)")
        assert got == before or (got == "" and before is None)
        assert one(pair.a, f"select current_setting('{name}', true)") == value
    assert pinned_by(pair.proxy) == set()
    if default is not None:
        assert one(pair.a, f"select sg_run('reset {name}')") == "done"
        pair.swap()
        assert one(pair.a, f"select current_setting('{name}', true)") == default


def test_a_role_that_a_function_took_follows_its_session(proxy):
    pair = Pair(proxy)
    one(pair.a, "select sg_run('set role pg_monitor')")
    for _ in range(2):
        assert one(pair.b, "select current_user") == APP_USER
        assert one(pair.a, "select current_user") == "pg_monitor"
    one(pair.a, "select sg_run('reset role')")
    assert one(pair.b, "select current_user") == APP_USER
    assert one(pair.a, "select current_user") == APP_USER


KEPT = [
    ("listen channel_x", "listen", "select pg_listening_channels()", "channel_x"),
    ("select pg_advisory_lock(4711)", "advisory_lock",
     "select objid::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", 4711),
    ("create temp table mine as select 5 as x", "temp_table", "select x from mine", 5),
    ("create function pg_temp.f() returns int language sql as 'select 6'", "temp_table",
     "select pg_temp.f()", 6),
    ("prepare p as select 7", "sql_prepare", "execute p", 7),
]


@pytest.mark.parametrize("text, reason, question, answer", KEPT, ids=[k[0] for k in KEPT])
def test_what_a_function_has_left_binds_its_session(proxy, text, reason, question, answer):
    p = proxy(database={"pool_size": 2})
    a, b = p.connect(), p.connect()
    one(a, "select sg_run(%s)", (text,))
    wait_until(lambda: pinned_by(p) == {reason}, 5, reason)
    for _ in range(4):
        one(b, "select sg_set('work_mem', '5MB')")
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
    cursor.execute("select sg_set('work_mem', '11MB')")
    a.commit()
    cursor.execute("select sg_set('work_mem', '12MB')")
    a.rollback()
    pair.swap()
    cursor.execute("show work_mem")
    assert cursor.fetchone()[0] == "11MB"
    a.rollback()


def test_a_text_that_leaves_nothing_is_not_asked_about_for_ever(proxy):
    p = proxy()
    c = p.connect()
    for _ in range(60):
        one(c, "select sg_run('select 1')")
    asked = p.metric("switchgear_left_asked_total")
    assert 1 <= asked <= 30
    for _ in range(60):
        one(c, "select sg_run('select 1')")
    assert p.metric("switchgear_left_asked_total") - asked <= 20


def test_a_timeout_left_behind_fails_no_reset(proxy):
    """The reset of a connection would take longer than the timeout that its last session has set."""
    pair = Pair(proxy)
    one(pair.a, "select sg_run($$do $x$ begin for i in 1..400 loop execute "
                "'create temp table t' || i || ' (id int primary key)'; end loop; end $x$;$$)")
    pair.a.close()
    for i in range(3):
        a = pair.proxy.connect()
        one(a, "select sg_run('set statement_timeout = 1')")
        assert one(pair.b, f"select 40 + {i}") == 40 + i
        one(pair.b, "insert into log (note) values ('reset') returning 1")
        a.close()


def test_the_seed_of_random_reaches_nobody(proxy):
    pair = Pair(proxy, pin_limit="100%")
    one(pair.a, "select setseed(0.5)")
    first = one(pair.a, "select random()")
    pair.a.close()
    assert one(pair.b, "select random() from (select 1) x") != first
