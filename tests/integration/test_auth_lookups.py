# SPDX-License-Identifier: PostgreSQL
"""Lines of the hba file that ask somebody else: a server for roles, the resolver for host names."""
import socket

import pytest

from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import one
from wire import startup

SERVER_SIDE = {"user": APP_USER, "password": APP_PASSWORD}


# ---- roles ----

@pytest.fixture
def roles(cluster):
    names = ["hba_direct", "hba_far", "hba_super", "hba_leaves", "hba_lead", "hba_staff"]
    sql = cluster.primary.psql
    for name in names:
        sql(f"drop role if exists {name}")
        sql(f"create role {name} noinherit")
    sql("alter role hba_super superuser")
    sql("grant hba_staff to hba_direct, hba_lead, hba_leaves")
    sql("grant hba_lead to hba_far")
    cluster.wait_replicated()
    yield sql
    for name in names:
        sql(f"drop role if exists {name}")


@pytest.mark.core
def test_members_of_a_role_are_let_in_directly_or_through_others(hba, roles):
    p = hba("host all +hba_staff all trust\n", database=SERVER_SIDE)
    for user in ("hba_direct", "hba_far", "hba_leaves", "hba_lead", "hba_staff"):
        assert one(p.connect(user=user, password=""), "select 1") == 1
    for user in ("hba_super", "nobody_at_all"):
        assert "no pg_hba.conf entry" in p.refusal(user=user, password="")


@pytest.mark.one_session
def test_a_revoke_is_noticed_within_seconds(hba, roles):
    p = hba("host all +hba_staff all trust\n", database=SERVER_SIDE)
    assert p.refusal(user="hba_leaves", password="") is None
    roles("revoke hba_staff from hba_leaves")
    wait_until(lambda: p.refusal(user="hba_leaves", password=""), 30, "that is noticed")


def test_samerole_means_the_role_that_is_named_like_the_database(hba, roles):
    p = hba("host samerole all all trust\n", database=SERVER_SIDE,
            databases={"hba_staff": SERVER_SIDE})
    assert one(p.connect(dbname="hba_staff", user="hba_far", password=""), "select 1") == 1
    assert "no pg_hba.conf entry" in p.refusal(user="hba_far", password="")


def test_a_line_with_a_role_and_a_host_name_asks_for_both(hba, roles):
    p = hba(f"host all +hba_lead,+hba_staff {name_of_this_machine()} trust\n"
            "host all +hba_staff nobody.invalid reject\n", database=SERVER_SIDE)
    assert one(p.connect(user="hba_far", password=""), "select 1") == 1
    assert "no pg_hba.conf entry" in p.refusal(user="hba_super", password="")


def test_roles_that_cannot_be_looked_up_let_nobody_in(hba):
    p = hba("host all +hba_staff all trust\n", database=SERVER_SIDE,
            probe={"user": "not_there", "password": "x"}, wait=False)
    p.wait_listening()
    assert "the user could not be looked up" in p.refusal(password="")
    assert "auth_roles_failed" in p.log_text()


# ---- host names ----

def name_of_this_machine():
    return socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]


def test_a_host_name_is_looked_up_where_a_line_asks_for_it(hba):
    name = name_of_this_machine()
    suffix = "." + name.split(".", 1)[1] if "." in name else ".invalid"
    p = hba(f"host all first  {name.upper()} trust\n"
            f"host all second .invalid trust\n"
            f"host all third  nobody.invalid trust\n"
            f"host all third  {name} trust\n"
            f"host all fourth {suffix} trust\n"
            "host all all all reject\n", database=SERVER_SIDE)
    assert one(p.connect(user="first", password=""), "select 1") == 1
    assert "pg_hba.conf rejects connection" in p.refusal(user="second", password="")
    assert one(p.connect(user="third", password=""), "select 1") == 1
    assert (p.refusal(user="fourth", password="") is None) == ("." in name)


def test_clients_that_leave_while_their_name_is_looked_up_harm_nobody(hba):
    p = hba(f"host all all {name_of_this_machine()} trust\n", database=SERVER_SIDE)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", p.port)) as s:
            s.sendall(startup(APP_USER, APP_DATABASE))
    assert one(p.connect(password=""), "select 1") == 1
