# SPDX-License-Identifier: PostgreSQL
"""Who may come in by which way: auth_hba_file, auth_ident_file, certificates, peers."""
import os
import pwd
import socket
import subprocess

import psycopg2
import pytest

import tls
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import ADMIN_PASSWORD, ADMIN_USER, one
from wire import Wire, error_fields, first_error, message, startup, types

pytestmark = pytest.mark.one_session

SERVER_SIDE = {"user": APP_USER, "password": APP_PASSWORD}
MYSELF = pwd.getpwuid(os.getuid()).pw_name


def refused(p, **parameters):
    with pytest.raises(psycopg2.OperationalError) as caught:
        p.connect(**parameters)
    return str(caught.value)


# ---- the methods ----

@pytest.mark.core
def test_each_line_has_its_method(hba):
    p = hba("host all app      all scram-sha-256\n"
            "host all older    all md5\n"
            "host all plain    all password\n"
            "host all trusted  all trust\n"
            "host all rejected all reject\n"
            "host all dba      all scram-sha-256\n", database=SERVER_SIDE,
            users={"older": "old-secret", "plain": "plain-secret", "rejected": "x"})
    assert one(p.connect(), "select 1") == 1
    assert one(p.connect(user="older", password="old-secret"), "select 1") == 1
    assert one(p.connect(user="plain", password="plain-secret"), "select 1") == 1
    assert one(p.connect(user="trusted", password=""), "select 1") == 1
    assert "password authentication failed" in refused(p, password="x")
    assert "password authentication failed" in refused(p, user="older", password="x")
    assert "password authentication failed" in refused(p, user="plain", password="x")
    assert ('pg_hba.conf rejects connection for host "127.0.0.1", user "rejected", database '
            f'"{APP_DATABASE}", no encryption') in refused(p, user="rejected", password="x")
    assert ('no pg_hba.conf entry for host "127.0.0.1", user "nobody", database '
            f'"{APP_DATABASE}", no encryption') in refused(p, user="nobody", password="x")
    assert p.admin("SHOW VERSION", ADMIN_USER, ADMIN_PASSWORD)


def test_what_each_method_asks_for_and_how_it_says_no(hba):
    p = hba("host all s all scram-sha-256\nhost all m all md5\nhost all p all password\n"
            "host all r all reject\n", users={"s": "x", "m": "x", "p": "x"})
    asked = {"s": 10, "m": 5, "p": 3}
    for user, code in asked.items():
        with Wire(p.port) as w:
            w.send(startup(user, APP_DATABASE))
            kind, body = w.recv()
            assert (kind, body[:4]) == ("R", code.to_bytes(4, "big")), user
    for user in ("r", "stranger"):
        with Wire(p.port) as w:
            w.send(startup(user, APP_DATABASE))
            error = first_error(w.recv_all())
            assert (error["S"], error["C"]) == ("FATAL", "28000")
    with Wire(p.port) as w:
        w.send(startup("p", APP_DATABASE), message("p", b"wrong\0"))
        answers = w.recv_all()
        assert types(answers) == "RE" and error_fields(answers[1][1])["C"] == "28P01"


def test_a_password_sent_in_clear_text_logs_in_to_the_server_too(cluster, hba):
    cluster.primary.psql("drop role if exists carried")
    cluster.primary.psql("create role carried login password 'carried-secret'")
    cluster.wait_replicated()
    secret = "md5" + __import__("hashlib").md5(b"carried-secretcarried").hexdigest()
    p = hba("host all carried all password\nhost all all all scram-sha-256\n",
            users={"carried": secret})
    c = p.connect(user="carried", password="carried-secret")
    assert one(c, "select current_user") == "carried"


def test_databases_and_users_are_chosen_by_name(hba):
    p = hba("host sameuser all all trust\n"
            "host /^ap*$ second,third all trust\n"
            "host all app all scram-sha-256\n",
            database=SERVER_SIDE, users={"second": "x"})
    for user in ("second", "third", "app"):  # app: the user's name is the database's
        assert one(p.connect(user=user, password=""), "select 1") == 1
    assert "no pg_hba.conf entry" in refused(p, user="fourth", password="")


def test_a_replaced_file_counts_from_the_reload_on(hba):
    p = hba("host all all all reject\n", database=SERVER_SIDE)
    assert "rejects" in refused(p)
    p.write_config(files={"hba.conf": "host all all samehost trust\n"})
    p.admin("RELOAD")
    wait_until(lambda: "rejects" not in (p.refusal(password="") or ""), what="the new file counts")
    assert one(p.connect(password=""), "select 1") == 1


def test_a_file_of_names_is_read_again_by_a_reload(hba):
    p = hba("host all @names.txt all trust\n", database=SERVER_SIDE,
            more={"names.txt": "first # and\n@others.txt\n", "others.txt": "second, third"})
    for user in ("first", "second", "third"):
        assert one(p.connect(user=user, password=""), "select 1") == 1
    assert "no pg_hba.conf entry" in refused(p, user="fourth", password="")
    p.write_config(files={"others.txt": "fourth"})
    p.admin("RELOAD")
    assert one(p.connect(user="fourth", password=""), "select 1") == 1
    assert "no pg_hba.conf entry" in refused(p, user="second", password="")
    p.write_config(files={"others.txt": "fourth @missing"})
    with pytest.raises(psycopg2.Error) as caught:
        p.admin("RELOAD")
    assert "hba.conf:1" in str(caught.value) and "missing cannot be read" in p.log_text()
    assert one(p.connect(user="fourth", password=""), "select 1") == 1


def test_a_file_with_errors_changes_nothing_and_all_are_named(hba):
    p = hba("host all all all trust\n", database=SERVER_SIDE)
    p.write_config(files={"hba.conf": "host all all 10.0.0 trust\nlocal all all\n"})
    with pytest.raises(psycopg2.Error) as caught:
        p.admin("RELOAD")
    assert "hba.conf:1" in str(caught.value)
    log = p.log_text()
    assert "line=1" in log and "10.0.0 is no address" in log
    assert "line=2" in log and "the method is missing" in log
    assert one(p.connect(password=""), "select 1") == 1


def test_replication_is_allowed_by_its_own_name(hba):
    p = hba("host replication all all reject\nhost all all all trust\n", database=SERVER_SIDE)
    for value, sqlstate in (("true", "28000"), ("database", None)):
        with Wire(p.port) as w:
            w.send(startup(APP_USER, APP_DATABASE, replication=value))
            kind, body = w.recv()
            assert (error_fields(body)["C"] if kind == "E" else None) == sqlstate, value
            assert kind != "E" or error_fields(body)["M"] == (
                'pg_hba.conf rejects replication connection for host "127.0.0.1", user '
                f'"{APP_USER}", no encryption')


# ---- Unix sockets ----

def test_a_peer_is_who_the_system_says(hba):
    p = hba(f"local all boss peer map=m\nlocal all all peer\n", ident=f"m {MYSELF} boss\n",
            database=SERVER_SIDE, unix_socket=True)
    assert one(p.connect(host=p.sockets, user=MYSELF, password=""), "select 1") == 1
    assert one(p.connect(host=p.sockets, user="boss", password=""), "select 1") == 1
    assert 'Peer authentication failed for user "other"' in refused(p, host=p.sockets, user="other")
    wait_until(lambda: p.metric("switchgear_logins_failed_total", reason="rejected") == 1,
               what="it is counted, once")
    assert 'no pg_hba.conf entry for host "127.0.0.1"' in refused(p, user="boss")


def test_a_peer_that_leaves_at_once_harms_nobody(hba):
    p = hba("local all all peer\nhost all all all trust\n", database=SERVER_SIDE, unix_socket=True)
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{p.sockets}/.s.PGSQL.{p.port}")
            s.sendall(startup(MYSELF, APP_DATABASE))
    assert one(p.connect(host=p.sockets, user=MYSELF, password=""), "select 1") == 1


# ---- certificates ----

def with_tls(certificates, sslmode="require", **more):
    return {**tls.switchgear(certificates, sslmode), "client_tls_ca_file": certificates.ca, **more}


def test_tls_decides_between_hostssl_and_hostnossl(hba, certificates):
    p = hba("hostnossl all all all reject\nhostssl all all all password\n", database=SERVER_SIDE,
            switchgear=with_tls(certificates, "allow"))
    assert "no encryption" in refused(p)
    assert one(p.connect(**tls.libpq_parameters(certificates)), "select 1") == 1


def test_a_certificate_names_the_user(proxy, certificates):
    p = proxy(switchgear=with_tls(certificates, "verify-full", auth_type="cert"),
              wait=False, database=SERVER_SIDE)
    p.wait_listening()
    own = tls.libpq_parameters(certificates, client="app")
    assert one(p.connect(password="", **own), "select 1") == 1
    assert 'certificate authentication failed for user "other"' in refused(p, user="other", **own)
    for name in ("expired", "foreign"):
        refused(p, **tls.libpq_parameters(certificates, client=name))
    refused(p, **tls.libpq_parameters(certificates))
    p.connections[0].close()


def test_a_map_says_whom_a_certificate_may_be(proxy, certificates):
    p = proxy(switchgear=with_tls(certificates, "verify-full", auth_type="cert",
                                  auth_ident_file="ident.conf"), wait=False,
              files={"ident.conf": "cert /^(a).*$ \\1_user\nother app eve\n"},
              database=SERVER_SIDE)
    p.wait_listening()
    own = tls.libpq_parameters(certificates, client="app")
    assert one(p.connect(user="a_user", password="", **own), "select 1") == 1
    assert one(p.connect(user="app", password="", **own), "select 1") == 1
    refused(p, user="eve", **own)


def whole_name(certificates):
    said = subprocess.run(["openssl", "x509", "-in", certificates.cert("app"), "-noout", "-subject",
                           "-nameopt", "RFC2253"], capture_output=True, text=True, check=True)
    return said.stdout.strip().removeprefix("subject=")


def test_lines_ask_for_certificates_by_common_or_whole_name(hba, certificates):
    p = hba("hostssl all app    all cert\n"
            "hostssl all byname all cert map=names clientname=DN\n"
            "hostssl all byca   all scram-sha-256 clientcert=verify-ca\n"
            "hostssl all byfull all trust clientcert=verify-full\n"
            "hostssl all free   all trust\n"
            "host all all all scram-sha-256\n",
            ident=f'names "{whole_name(certificates)}" byname\n', users={"byca": "x"},
            switchgear=with_tls(certificates, "allow"), database=SERVER_SIDE)
    own = tls.libpq_parameters(certificates, client="app")
    none = tls.libpq_parameters(certificates)
    assert one(p.connect(password="", **own), "select 1") == 1
    assert one(p.connect(user="byname", password="", **own), "select 1") == 1
    assert one(p.connect(user="byca", password="x", **own), "select 1") == 1
    assert one(p.connect(user="free", password="", **none), "select 1") == 1
    assert "certificate authentication failed" in refused(p, user="byfull", **own)
    assert "password authentication failed" in refused(p, user="byca", password="y", **own)
    for user in ("app", "byname", "byca", "byfull"):
        assert "requires a valid client certificate" in refused(p, user=user, **none)
    refused(p, **tls.libpq_parameters(certificates, client="foreign"))
