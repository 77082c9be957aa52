# SPDX-License-Identifier: PostgreSQL
"""What a client is told of its server is true on whatever connection it meets: ParameterStatus."""
import psycopg2
import pytest

from cluster import APP_DATABASE, wait_until
from proxy import one, rows_of

ALTERS = {
    "timezone": ("TimeZone", "alter role app set timezone = 'Asia/Tokyo'", "Asia/Tokyo"),
    "timezone of the database": ("TimeZone", "alter database app set timezone = 'Asia/Kolkata'",
                                 "Asia/Kolkata"),
    "intervalstyle": ("IntervalStyle", "alter role app in database app set intervalstyle = 'iso_8601'",
                      "iso_8601"),
    "client_encoding": ("client_encoding", "alter role app set client_encoding = 'LATIN1'", "LATIN1"),
    "standard_conforming_strings": ("standard_conforming_strings",
                                    "alter role app set standard_conforming_strings = off", "off"),
}


@pytest.fixture(name="alter")
def a_default_that_is_taken_back(cluster):
    def change(sql):
        cluster.primary.psql(sql)
        cluster.wait_replicated()

    yield change
    for sql in ("alter role app reset all", "alter database app reset all",
                "alter role app in database app reset all"):
        cluster.primary.psql(sql)
    cluster.wait_replicated()


def everywhere(session, name):
    """What a setting is on the nodes that this session meets: on a replica, and on the primary in a block."""
    seen = []
    for _ in range(3):
        seen.append(one(session, f"select current_setting('{name}') from t where id = 1"))
        rows_of(session, "begin")
        seen.append(one(session, f"select current_setting('{name}')"))
        rows_of(session, "rollback")
        seen.append(session.get_parameter_status(name))
    return sorted(set(seen))


def renew(p):
    p.admin("RECONNECT")
    wait_until(lambda: not p.admin("SHOW SERVERS"), 10, "the old connections are gone")


@pytest.mark.core
@pytest.mark.parametrize("kind", list(ALTERS))
def test_a_new_default_reaches_new_log_ins_and_spares_the_old(proxy, alter, kind):
    name, sql, value = ALTERS[kind]
    p = proxy(database={"pool_size": 4})
    old = p.connect()
    before = everywhere(old, name)
    assert len(before) == 1
    alter(sql)
    renew(p)
    for _ in range(2):
        new = p.connect()
        assert everywhere(new, name) == [value]
        assert everywhere(old, name) == before  # as that of a connection of its own would be


def test_what_a_client_brought_along_is_its_own(proxy, alter):
    p = proxy(database={"pool_size": 4})
    mine = p.connect(options="-c timezone=America/Bogota")
    assert everywhere(mine, "TimeZone") == ["America/Bogota"]
    alter("alter role app set timezone = 'Asia/Tokyo'")
    renew(p)
    assert everywhere(mine, "TimeZone") == ["America/Bogota"]
    again = p.connect(options="-c timezone=America/Bogota")
    assert everywhere(again, "TimeZone") == ["America/Bogota"]
    assert everywhere(p.connect(options="-c datestyle=German"), "TimeZone") == ["Asia/Tokyo"]


def test_an_older_connection_to_the_primary_serves_nobody_behind_a_newer_one(cluster, proxy, alter):
    """As it would show old values of what no client is told: work_mem."""
    p = proxy(database={"pool_size": 2}, switchgear={"workers": 1})
    first = p.connect()
    rows_of(first, "begin; select 1 from t; commit")
    alter("alter role app set timezone = 'Asia/Tokyo'")
    alter("alter database app set work_mem = '9MB'")
    rows_of(first, "begin")
    one(first, "select 1 from t")  # keeps the old one
    second = p.connect()
    rows_of(second, "begin")
    assert one(second, "select current_setting('work_mem')") == "9MB"  # on a new one
    rows_of(second, "rollback")
    rows_of(first, "rollback")
    for session in (p.connect(), p.connect()):
        for _ in range(3):
            rows_of(session, "begin")
            assert one(session, "select current_setting('work_mem')") == "9MB"
            rows_of(session, "rollback")


@pytest.mark.parametrize("value", ["on", "off"])
def test_strings_are_read_as_the_client_was_told(cluster, proxy, alter, value):
    p = proxy(database={"pool_size": 4})
    if value == "off":
        alter("alter role app set standard_conforming_strings = off")
    session = p.connect()
    assert session.get_parameter_status("standard_conforming_strings") == value
    alter(f"alter role app set standard_conforming_strings = {'off' if value == 'on' else 'on'}")
    renew(p)
    text = r"select '\'' ; insert into log (note) values ('by string') --'"
    before = cluster.primary.psql("select count(*) from log where note = 'by string'", APP_DATABASE)[0][0]
    if value == "off":
        rows_of(session, text)
    else:
        with pytest.raises(psycopg2.Error, match="syntax error|unterminated"):
            rows_of(session, text)
    after = cluster.primary.psql("select count(*) from log where note = 'by string'", APP_DATABASE)[0][0]
    assert after - before == (1 if value == "off" else 0)
    session.close()
