# SPDX-License-Identifier: PostgreSQL
"""What a client sets follows it from server to server, and nobody else meets it."""
import select
import threading
import time

import psycopg
import psycopg2
import pytest

from cluster import APP_DATABASE, APP_USER, wait_until
from proxy import last_route, one, rows_of
from relay import LyingRelay
from wire import Wire, bind, execute, parse, query, sync, types

pytestmark = pytest.mark.one_session

HOME = "/* switchgear: route=primary */ "


def pins(p):
    """SHOW PINS as {reason: sessions}, of reasons that have any."""
    return {row["reason"]: int(row["count"]) for row in p.admin("SHOW PINS") if int(row["count"])}


def nobody_is_pinned(p):
    """The count is another thread's, and a moment late."""
    wait_until(lambda: not pins(p), 5, "nobody is pinned")
    return True


def pinned(p, expected):
    wait_until(lambda: pins(p) == expected, 5, f"the pins are {expected}, not {pins(p)}")
    return True


@pytest.fixture(name="tight")
def one_server_a_node(proxy):
    """All clients share one connection to each node."""
    return proxy(database={"pool_size": 1})


@pytest.fixture(scope="module", name="roles")
def roles_that_the_tests_take_on(cluster):
    p = cluster.node("p1")
    p.psql("do $$ begin create role painter; create role poet; "
           "create role chief login superuser password 'chief-secret'; "
           "exception when duplicate_object then null; end $$")
    p.psql(f"grant painter, poet to {APP_USER}")
    p.psql("create schema if not exists red", APP_DATABASE)
    p.psql("create schema if not exists blue", APP_DATABASE)
    for schema in ("red", "blue"):
        p.psql(f"grant usage on schema {schema} to public", APP_DATABASE)
        p.psql(f"create table if not exists {schema}.colour as select '{schema}'::text as name",
               APP_DATABASE)
        p.psql(f"grant select on {schema}.colour to public", APP_DATABASE)
    cluster.wait_replicated()


@pytest.mark.core
@pytest.mark.invariant
def test_settings_belong_to_their_clients_on_one_shared_server(tight):
    clients = [tight.connect() for _ in range(4)]
    for i, c in enumerate(clients):
        rows_of(c, f"set work_mem = '{i + 5}MB'")
        rows_of(c, f"set time zone 'Etc/GMT+{i}'")
    for _ in range(3):
        for i, c in enumerate(clients):
            for where in ("", HOME):
                assert one(c, where + "select current_setting('work_mem')") == f"{i + 5}MB"
                assert one(c, where + "select extract(timezone from now())::int") == -3600 * i
    plain = tight.connect()
    assert one(plain, HOME + "select current_setting('work_mem')") == "4MB"
    assert one(plain, "select current_setting('work_mem')") == "4MB"
    assert nobody_is_pinned(tight)


def test_settings_and_statement_are_one_flight_to_the_server(cluster, proxy):
    """The statement is there although no server has said a word since the settings were sent."""
    with LyingRelay(cluster.primary.port) as relay:
        p = proxy(nodes={cluster.primary.name: {"port": relay.port}}, database={"pool_size": 1})
        a, b = p.connect(), p.connect()
        rows_of(a, "set work_mem = '5MB'")
        rows_of(b, "set work_mem = '6MB'")
        seen = []
        relay.silent = True
        try:
            thread = threading.Thread(target=lambda: seen.append(
                one(a, HOME + "select current_setting('work_mem') /*one flight*/")))
            thread.start()
            wait_until(lambda: cluster.saw("one flight"), 5, "the statement is at the server")
        finally:
            relay.silent = False
        thread.join(10)
        assert seen == ["5MB"]
        assert one(b, HOME + "select current_setting('work_mem')") == "6MB"


def test_settings_made_again_outlive_the_blocks_rollback(tight):
    """They are committed before it begins; and it begins under them."""
    a, b = tight.connect(), tight.connect()
    rows_of(a, "set default_transaction_isolation = 'repeatable read'")
    for _ in range(3):
        rows_of(b, HOME + "select 1")
        rows_of(a, "begin")
        assert one(a, "show transaction_isolation") == "repeatable read"
        rows_of(a, "rollback")
        assert one(a, HOME + "show transaction_isolation") == "repeatable read"
        assert one(b, HOME + "show transaction_isolation") == "read committed"


def test_what_cannot_run_in_a_transaction_runs_behind_settings(cluster, tight):
    cluster.primary.psql(f"create table if not exists vacuumed (a int); "
                         f"alter table vacuumed owner to {APP_USER}", APP_DATABASE)
    a, b = tight.connect(), tight.connect()
    rows_of(a, "set work_mem = '5MB'")
    rows_of(b, HOME + "select 1")
    rows_of(a, "vacuum vacuumed")
    rows_of(b, HOME + "select 1")
    with pytest.raises(psycopg2.Error) as e:
        rows_of(a, "declare c cursor for select 1")  # a pipeline is no block
    assert e.value.pgcode == "25P01"


@pytest.mark.core
def test_a_session_with_settings_reads_from_replicas(cluster, session):
    rows_of(session, "set timezone = 'Asia/Tokyo'")
    for _ in range(10):
        assert one(session, "select extract(timezone from now())::int /*tokyo*/") == 9 * 3600
    seen = cluster.saw("tokyo")
    assert sum(seen.values()) == 10 and "p1" not in seen
    assert last_route(session)["role"] == "replica"


@pytest.mark.invariant
@pytest.mark.core
@pytest.mark.invariant
def test_search_path_never_leaks_not_even_through_a_prepared_statement(proxy, roles):
    """Two sessions, the same text, another table: each server is asked for the one that is meant."""
    p = proxy(database={"pool_size": 1})

    def connect(schema):
        c = psycopg.connect(p.dsn(), autocommit=True, prepare_threshold=0)
        c.execute(f"set search_path = {schema}")
        return c

    red, blue = connect("red"), connect("blue")
    try:
        for _ in range(4):
            for c, name in ((red, "red"), (blue, "blue")):
                assert c.execute("select name from colour").fetchone() == (name,)
                assert c.execute(HOME + "select name from colour").fetchone() == (name,)
        red.execute("set search_path = blue")
        assert red.execute("select name from colour").fetchone() == ("blue",)
        with red.transaction():
            red.execute("set local search_path = red")
            assert red.execute(HOME + "select name from colour").fetchone() == ("red",)
        assert red.execute(HOME + "select name from colour").fetchone() == ("blue",)
    finally:
        red.close()
        blue.close()


@pytest.mark.invariant
@pytest.mark.core
@pytest.mark.invariant
def test_a_role_never_leaks(tight, roles):
    a, b, c = (tight.connect() for _ in range(3))
    rows_of(a, "set role painter")
    rows_of(b, "set session role poet")
    for _ in range(3):
        for where in ("", HOME):
            assert one(a, where + "select current_user") == "painter"
            assert one(b, where + "select current_user") == "poet"
            assert one(c, where + "select current_user") == APP_USER
    rows_of(a, "reset role")
    rows_of(b, "set role none")
    assert [one(x, "select current_user") for x in (a, b, c)] == [APP_USER] * 3
    assert nobody_is_pinned(tight)


@pytest.mark.invariant
@pytest.mark.invariant
def test_session_authorization_never_leaks(proxy, roles):
    p = proxy(database={"pool_size": 1}, users={"chief": "chief-secret"})
    a, b = (p.connect(user="chief", password="chief-secret") for _ in range(2))
    who = "select session_user || ' ' || current_user"
    rows_of(a, f"set session authorization {APP_USER}")
    rows_of(a, "set role painter")
    for _ in range(3):
        for where in ("", HOME):
            assert one(a, where + who) == f"{APP_USER} painter"
            assert one(b, where + who) == "chief chief"
    rows_of(a, "set session authorization poet")
    assert one(b, who) == "chief chief"
    assert one(a, who) == "poet poet"


def test_what_a_role_may_set_is_set_again_in_its_turn(proxy, roles):
    """A superuser's setting first, the role that could not have made it then."""
    p = proxy(database={"pool_size": 1}, users={"chief": "chief-secret"})
    a, b = (p.connect(user="chief", password="chief-secret") for _ in range(2))
    rows_of(a, "set log_min_duration_statement = 12345")
    rows_of(a, "set role painter")
    for _ in range(2):
        assert one(b, HOME + "show log_min_duration_statement") != "12345ms"
        assert one(a, HOME + "select current_setting('log_min_duration_statement')") == "12345ms"
        assert one(a, HOME + "select current_user") == "painter"


@pytest.mark.core
def test_a_rollback_takes_settings_back(tight):
    a, b = tight.connect(), tight.connect()

    def mem(connection=a):
        assert one(b, HOME + "select current_setting('work_mem')") == "4MB"
        return one(connection, HOME + "select current_setting('work_mem')")

    rows_of(a, "set work_mem = '6MB'")
    for sql in ("begin; set work_mem = '9MB'; rollback", "set work_mem = '9MB'; rollback",
                "begin; set local work_mem = '9MB'; commit"):
        rows_of(a, sql)
        assert mem() == "6MB", sql
    with pytest.raises(psycopg2.Error):
        rows_of(a, "set work_mem = '9MB'; select 1/0")
    assert mem() == "6MB"
    rows_of(a, "begin")
    rows_of(a, "set work_mem = '9MB'")
    with pytest.raises(psycopg2.Error):
        rows_of(a, "select 1/0")
    rows_of(a, "commit")  # which is a rollback
    assert mem() == "6MB"
    rows_of(a, "begin")
    rows_of(a, "set work_mem = '7MB'")
    rows_of(a, "commit")
    assert mem() == "7MB"
    rows_of(a, "begin; set work_mem = '8MB'; commit; set work_mem = '9MB'")
    assert mem() == "9MB"
    with pytest.raises(psycopg2.Error):
        rows_of(a, "set work_mem = '10MB'; commit; set work_mem = '11MB'; select 1/0")
    assert mem() == "10MB"
    assert nobody_is_pinned(tight)


@pytest.mark.core
def test_savepoints_take_settings_back(tight):
    a, b = tight.connect(), tight.connect()
    rows_of(a, "begin")
    rows_of(a, "set work_mem = '5MB'")
    rows_of(a, "savepoint one")
    rows_of(a, "set work_mem = '6MB'")
    rows_of(a, 'savepoint "Two"')
    rows_of(a, "set work_mem = '7MB'")
    rows_of(a, 'rollback to "Two"')
    assert one(a, "show work_mem") == "6MB"
    rows_of(a, "savepoint three; set work_mem = '8MB'; release three")
    assert one(a, "show work_mem") == "8MB"
    rows_of(a, "rollback work to savepoint ONE")
    rows_of(a, "commit")
    assert one(b, HOME + "select current_setting('work_mem')") == "4MB"
    for where in ("", HOME):
        assert one(a, where + "select current_setting('work_mem')") == "5MB"


def test_set_local_ends_with_its_block_and_pins_nobody(tight):
    a, b = tight.connect(), tight.connect()
    rows_of(a, "begin")
    rows_of(a, "set local work_mem = '9MB'")
    assert one(a, "show work_mem") == "9MB"
    rows_of(a, "commit")
    assert one(b, "show work_mem") == "4MB"
    assert one(a, "show work_mem") == "4MB"
    assert nobody_is_pinned(tight)


@pytest.mark.core
def test_reset_goes_back_to_what_the_client_brought_along(tight):
    """Not to the server's own: a direct connection would not either."""
    a = tight.connect(application_name="mine", options="-c work_mem=5MB")
    b = tight.connect()
    for reset in ("reset work_mem", "reset all", "set work_mem to default", "discard all"):
        rows_of(a, "set work_mem = '9MB'")
        rows_of(a, "set application_name = 'other'")
        rows_of(a, reset)
        rows_of(a, "reset application_name")
        assert one(b, HOME + "select current_setting('work_mem')") == "4MB"
        for where in ("", HOME):
            assert one(a, where + "select current_setting('work_mem')") == "5MB", reset
            assert one(a, where + "select current_setting('application_name')") == "mine", reset
        assert a.get_parameter_status("application_name") == "mine"
    rows_of(a, "begin")
    rows_of(a, "reset all")
    assert one(a, "show work_mem") == "5MB"
    rows_of(a, "rollback")
    assert one(a, "show application_name") == "mine"
    assert nobody_is_pinned(tight)


def test_a_client_is_told_of_its_own_parameters_and_of_nobody_elses(tight):
    a, b = tight.connect(), tight.connect()
    zone = b.get_parameter_status("TimeZone")
    rows_of(a, "set timezone = 'Asia/Tokyo'")
    assert a.get_parameter_status("TimeZone") == "Asia/Tokyo"
    for _ in range(3):
        for where in ("", HOME):
            one(a, where + "select 1")
            one(b, where + "select 1")
            assert a.get_parameter_status("TimeZone") == "Asia/Tokyo"
            assert b.get_parameter_status("TimeZone") == zone
            assert b.get_parameter_status("in_hot_standby") in (None, "off")
    rows_of(a, "begin; set timezone = 'Asia/Seoul'; rollback")
    assert a.get_parameter_status("TimeZone") == "Asia/Tokyo"


@pytest.mark.core
def test_discard_all_is_a_fresh_session(proxy):
    p = proxy(database={"pool_size": 3})
    a = p.connect()
    rows_of(a, "set work_mem = '9MB'")
    rows_of(a, "create temp table gone (id int)")
    assert pinned(p, {"temp_table": 1})
    rows_of(a, "discard all")
    assert nobody_is_pinned(p)
    for where in ("", HOME):
        assert one(a, where + "select current_setting('work_mem')") == "4MB"


@pytest.mark.core
def test_set_config_is_followed_when_its_words_are_all_there(tight):
    a, b = tight.connect(), tight.connect()
    assert one(a, "select set_config('work_mem', '6MB', false)") == "6MB"
    assert rows_of(a, "select pg_catalog.set_config('search_path', '', false), "
                      "set_config('My.Own', E'it''s \\\\ this', false)") == [("", "it's \\ this")]
    assert nobody_is_pinned(tight)
    for where in ("", HOME):
        assert one(b, where + "select current_setting('work_mem')") == "4MB"
        assert one(b, where + "select current_setting('my.own', true)") in (None, "")
        assert one(a, where + "select current_setting('work_mem')") == "6MB"
        assert one(a, where + "select current_setting('my.own')") == "it's \\ this"
        assert one(a, where + "select current_setting('search_path')") == ""


def test_a_set_config_that_cannot_be_read_pins(proxy):
    p = proxy(database={"pool_size": 3, "isolation": "text"})
    a, b = p.connect(), p.connect()
    rows_of(a, "select set_config('work_mem', (6 + 1) || 'MB', false)")
    assert pinned(p, {"set_config": 1})
    assert one(b, HOME + "select current_setting('work_mem')") == "4MB"
    assert one(a, "show work_mem") == "7MB"
    rows_of(a, "discard all")
    assert nobody_is_pinned(p)


def test_a_value_is_whatever_the_client_wrote(tight):
    """Lists, quotes, intervals, line breaks, other letters: the server reads the client's words."""
    a, b = tight.connect(), tight.connect()
    statements = [
        ("set names 'UTF8'", "client_encoding", "UTF8"),
        ('set search_path = "A b", pg_catalog', "search_path", '"A b", pg_catalog'),
        ("set session time zone interval '-08:00' hour to minute", "timezone", "<-08>+08"),
        ("set my.text = -- by the way\n 'it''s'\n '\\n';", "my.text", "it's\\n"),
        ("set my.text to E'a\\'b'", "my.text", "a'b"),
        ("set my.text = 'Grüße'", "my.text", "Grüße"),
        ("SET /* what */ DateStyle TO postgres, dmy", "datestyle", "Postgres, DMY"),
        ("set session characteristics as transaction isolation level repeatable read",
         "default_transaction_isolation", "repeatable read"),
    ]
    for sql, name, value in statements:
        rows_of(a, sql)
        one(b, HOME + "select 1")
        one(b, "select 1")
        for where in ("", HOME):
            assert one(a, where + "select current_setting(%s)", (name,)) == value, sql
    assert nobody_is_pinned(tight)


def test_an_encoding_is_the_clients(tight):
    a, b = tight.connect(client_encoding="LATIN1"), tight.connect()
    rows_of(b, "set client_encoding = 'UTF8'")
    for _ in range(2):
        assert one(b, "select 'ä' || ascii('ä')") == "ä228"
        assert one(a, "select 'ä' || ascii('ä')") == "ä228"
        assert one(a, HOME + "select current_setting('client_encoding')") == "LATIN1"
    a.set_client_encoding("UTF8")
    assert one(a, "select 'ä' || ascii('ä')") == "ä228"
    assert one(b, HOME + "select 'ä' || ascii('ä')") == "ä228"


def test_a_read_only_session_begins_its_blocks_on_a_replica(cluster, tight):
    """As JDBC's setReadOnly() does it."""
    a = tight.connect()
    rows_of(a, "set session characteristics as transaction read only")
    rows_of(a, "begin")
    assert one(a, "select count(*) from t /*jdbc*/") == 100
    rows_of(a, "commit")
    assert "p1" not in cluster.saw("jdbc")
    with pytest.raises(psycopg2.Error) as caught:
        rows_of(a, "update t set v = 1 where id = 1")
    assert caught.value.pgcode == "25006"
    rows_of(a, "set session characteristics as transaction read write")
    rows_of(a, "update t set v = v where id = 1")


def test_a_serializable_session_stays_on_the_primary(cluster, tight):
    """A standby refuses such transactions."""
    a = tight.connect()
    rows_of(a, "set default_transaction_isolation = 'serializable'")
    assert one(a, "select count(*) from t /*strict*/") == 100
    assert cluster.saw("strict") == {"p1": 1}
    assert nobody_is_pinned(tight)


@pytest.mark.core
def test_the_extended_protocol_sets_too(proxy):
    p = proxy(database={"pool_size": 1}, switchgear={"auth_type": "trust"})
    with Wire(p.port) as a, Wire(p.port) as b:
        for c in (a, b):
            c.login(APP_USER, APP_DATABASE)

        def mem(c):
            m = c.run(query("select current_setting('work_mem')"))
            return next(body for kind, body in m if kind == "D")[6:].decode()

        m = a.run(parse("", "set work_mem = '5MB'"), bind("", ""), execute(), sync())
        assert types(m) == "12CZ"
        assert (mem(b), mem(a)) == ("4MB", "5MB")
        a.run(parse("s", "set work_mem = '6MB'"), sync())
        assert (mem(b), mem(a)) == ("4MB", "5MB")  # parsed is not done
        a.run(bind("", "s"), execute(), sync())
        assert (mem(b), mem(a)) == ("4MB", "6MB")
        m = a.run(bind("", "s"), execute(), parse("", "set work_mem = '7MB'"), bind("", ""),
                  execute(), parse("", "select 1/0"), bind("", ""), execute(), sync())
        assert "E" in types(m)
        assert (mem(b), mem(a)) == ("4MB", "6MB")  # one transaction, and it failed
        begin, commit, rollback = ((parse("", sql), bind("", ""), execute())
                                   for sql in ("begin", "commit", "rollback"))
        nine = parse("", "set work_mem = '9MB'"), bind("", ""), execute()
        a.run(*begin, *nine, *rollback, sync())
        assert (mem(b), mem(a)) == ("4MB", "6MB")
        a.run(*begin, *nine, *commit, sync())
        assert (mem(b), mem(a)) == ("4MB", "9MB")
    assert nobody_is_pinned(p)


def test_pipelined_statements_run_under_the_settings_before_them(proxy, roles):
    p = proxy(database={"pool_size": 2})
    with psycopg.connect(p.dsn(), autocommit=True, prepare_threshold=0) as c:
        for _ in range(3):
            with c.pipeline():
                c.execute("set search_path = red")
                first = c.execute("select name from colour")
                c.execute("set search_path = blue")
                second = c.execute("select name from colour")
                assert (first.fetchone(), second.fetchone()) == (("red",), ("blue",))
            assert c.execute("select name from colour").fetchone() == ("blue",)


@pytest.mark.core
def test_an_error_of_set_is_the_servers_and_changes_nothing(tight):
    a = tight.connect()
    for sql, code in (("set work_mem = 'much'", "22023"), ("set nonsense = 1", "42704"),
                      ("set role nobody_at_all", "22023"), ("reset nonsense", "42704")):
        with pytest.raises(psycopg2.Error) as caught:
            rows_of(a, sql)
        assert caught.value.pgcode == code
    assert one(a, "show work_mem") == "4MB"
    assert nobody_is_pinned(tight)


def test_a_setting_that_can_no_longer_be_made_is_the_statements_error(cluster, proxy, roles):
    p = proxy(database={"pool_size": 1})
    cluster.node("p1").psql(f"drop role if exists fleeting; create role fleeting; "
                            f"grant fleeting to {APP_USER}")
    cluster.wait_replicated()
    a, b = p.connect(), p.connect()
    rows_of(a, "set role fleeting")
    cluster.node("p1").psql("drop role fleeting")
    cluster.wait_replicated()
    one(b, HOME + "select 1")
    with pytest.raises(psycopg2.Error) as caught:
        one(a, HOME + "select 1")
    assert caught.value.pgcode == "22023"
    assert "setting" in caught.value.diag.message_hint
    assert one(b, HOME + "select current_user") == APP_USER


def test_settings_hold_while_sessions_come_and_go(proxy):
    """Eight clients, two servers a node, each with a zone of its own that every read tells."""
    p = proxy(database={"pool_size": 2})
    wrong = []

    def work(i):
        c = p.connect()
        for n in range(40):
            zone = (i * 7 + n // 4) % 12
            if n % 4 == 0:
                rows_of(c, f"set time zone 'Etc/GMT+{zone}'")
            seen = one(c, "select extract(timezone from now())::int /*n*/")
            if seen != -3600 * zone:
                wrong.append((i, n, zone, seen))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert nobody_is_pinned(p)


def test_pins_go_with_their_counterpart(proxy):
    p = proxy(database={"pool_size": 5})
    c = p.connect()
    for pin, reason, release in (
            ("listen news", "listen", "unlisten *"),
            ("select pg_advisory_lock(7)", "advisory_lock", "select pg_advisory_unlock_all()"),
            ("prepare plus (int) as select $1 + 1", "sql_prepare", "deallocate all"),
            ("create temp table mine (id int)", "temp_table", "discard temp")):
        rows_of(c, pin)
        assert pinned(p, {reason: 1})
        rows_of(c, release)
        assert nobody_is_pinned(p), release
    rows_of(c, "begin; declare held cursor with hold for select 1; commit")
    assert pinned(p, {"hold_cursor": 1})
    rows_of(c, "close all")
    assert nobody_is_pinned(p)
    rows_of(c, "listen news")
    rows_of(c, "select pg_advisory_lock(7)")
    rows_of(c, "unlisten *")
    assert pinned(p, {"advisory_lock": 1})
    rows_of(c, "discard all")
    assert nobody_is_pinned(p)


def test_discards_that_forget_nothing_of_ours_pin_nobody(tight):
    c = tight.connect()
    for sql in ("discard plans", "discard sequences", "discard temp", "unlisten *", "unlisten x",
                "deallocate all"):
        rows_of(c, sql)
        assert nobody_is_pinned(tight), sql


def test_a_listener_hears_while_it_is_idle(proxy):
    p = proxy()
    listener = p.connect()
    rows_of(listener, "listen news")
    speaker = p.connect()
    for text in ("one", "two"):
        rows_of(speaker, f"notify news, '{text}'")
        until = time.monotonic() + 5
        while not listener.notifies and time.monotonic() < until:
            select.select([listener], [], [], 0.2)
            listener.poll()
        assert [n.payload for n in listener.notifies] == [text]
        listener.notifies.clear()


def test_a_setting_in_a_text_too_long_to_be_read_keeps_its_server(proxy):
    """Nobody looks into a megabyte; its answer tells that something was set."""
    p = proxy(database={"pool_size": 2, "isolation": "text"})
    a, b = p.connect(), p.connect()
    for size in (400_000, 1_500_000):
        rows_of(a, "set work_mem = '6MB'; select '" + "x" * size + "'")
        assert pinned(p, {"too_long": 1})
        assert one(a, "show work_mem") == "6MB"
        for where in ("", HOME):
            assert one(b, where + "select current_setting('work_mem')") == "4MB"
        rows_of(a, "discard all")
        assert nobody_is_pinned(p)
    rows_of(a, "select '" + "x" * 1_500_000 + "'")
    assert nobody_is_pinned(p)


def test_what_a_function_set_is_gone_before_the_next_client_and_settings_are_back(tight):
    a, b = tight.connect(), tight.connect()
    rows_of(b, "set work_mem = '6MB'")
    rows_of(a, "do $$ begin perform set_config('work_mem', '11MB', false); end $$")
    assert one(b, HOME + "select current_setting('work_mem')") == "6MB"


def test_start_up_options_as_drivers_send_them(proxy):
    p = proxy(database={"pool_size": 1}, switchgear={"auth_type": "trust"})
    with Wire(p.port) as a, Wire(p.port) as b:
        m = a.login(APP_USER, APP_DATABASE, client_encoding="UTF8", DateStyle="ISO",
                    TimeZone="Asia/Tokyo", extra_float_digits="2",
                    options="-c search_path=a,b -c geqo=off", application_name="Jürgen's")
        told = [body for kind, body in m if kind == "S"]
        assert b"TimeZone\0Asia/Tokyo\0" in told
        b.login(APP_USER, APP_DATABASE)
        for _ in range(2):
            b.run(query(HOME + "select 1"))
            for name, value in (("timezone", b"Asia/Tokyo"), ("search_path", b"a,b"),
                                ("geqo", b"off"), ("extra_float_digits", b"2")):
                m = a.run(query(HOME + f"select current_setting('{name}')"))
                assert next(body for kind, body in m if kind == "D")[6:] == value


def test_half_a_datestyle_keeps_its_other_half_wherever_it_is_made_again(tight):
    a = tight.connect(options="-c datestyle=postgres,mdy")
    b = tight.connect(options="-c datestyle=german")
    for c in (a, b):  # psycopg2 has said SET datestyle TO 'ISO'
        rows_of(c, "reset datestyle")
    for statement, wanted in (("set datestyle to dmy", "Postgres, DMY"),
                              ("set datestyle to iso", "ISO, DMY"),
                              ("reset datestyle", "Postgres, MDY"),
                              ("set datestyle to ymd", "Postgres, YMD")):
        rows_of(a, statement)
        assert one(b, HOME + "show datestyle") == "German, DMY"
        assert one(a, HOME + "show datestyle") == wanted
    rows_of(a, "begin")
    rows_of(a, "set local datestyle to sql")
    assert one(a, "show datestyle") == "SQL, YMD"
    rows_of(a, "rollback")
    assert one(b, HOME + "show datestyle") == "German, DMY"
    assert one(a, HOME + "show datestyle") == "Postgres, YMD"
