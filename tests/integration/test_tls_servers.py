# SPDX-License-Identifier: PostgreSQL
"""TLS between the proxy and PostgreSQL: server_tls_*, and a node's own options."""
import hashlib
import io
import re

import psycopg2
import pytest

import tls
from cluster import wait_until
from proxy import one, rows_of, run_binary
from test_tls import BIG, BIG_ROWS, big_line

pytestmark = pytest.mark.one_session


def set_ssl(cluster, certificates, on):
    """Turns TLS on or off at every node; new connections are asked again."""
    for node in cluster.nodes:
        if on:
            node.psql(f"alter system set ssl_cert_file = '{certificates.cert('proxy')}'")
            node.psql(f"alter system set ssl_key_file = '{certificates.key('proxy')}'")
            node.psql(f"alter system set ssl_ca_file = '{certificates.ca}'")
        node.psql(f"alter system set ssl = {'on' if on else 'off'}")
        node.psql("select pg_reload_conf()")
    for node in cluster.nodes:
        wait_until(lambda n=node: n.psql("show ssl") == [("on" if on else "off",)], 10, "ssl")


@pytest.fixture(scope="module")
def certificates(cluster):
    found = tls.certificates_of(cluster)
    set_ssl(cluster, found, True)
    yield found
    set_ssl(cluster, found, False)


def server_tls(certificates, sslmode="verify-full", **more):
    return {"server_tls_sslmode": sslmode, "server_tls_ca_file": certificates.ca, **more}


ABOUT = ("select ssl, version, coalesce(client_dn, '') from pg_stat_ssl "
         "where pid = pg_backend_pid()")


@pytest.mark.core
def test_every_server_connection_is_verified_in_full(proxy, certificates):
    p = proxy(switchgear=server_tls(certificates))
    c = p.connect()
    assert rows_of(c, ABOUT) == [(True, "TLSv1.3", "")]
    rows_of(c, "select 1")
    shown = {row["tls"] for row in p.admin("SHOW SERVERS") if row["state"] != "login"}
    assert shown == {"TLSv1.3/TLS_AES_256_GCM_SHA384"}


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_the_versions_towards_servers(proxy, certificates, version):
    p = proxy(switchgear=server_tls(certificates, server_tls_protocols=version.lower()))
    assert rows_of(p.connect(), ABOUT)[0][1] == version


def test_a_certificate_for_servers(proxy, certificates):
    p = proxy(switchgear=server_tls(certificates, server_tls_cert_file=certificates.cert("app"),
                                    server_tls_key_file=certificates.key("app")))
    assert rows_of(p.connect(), ABOUT) == [(True, "TLSv1.3", "/O=Switchgear/CN=app")]


def test_a_foreign_authority_is_not_believed(proxy, certificates):
    p = proxy(wait=False, switchgear={"server_tls_sslmode": "verify-ca",
                                      "server_tls_ca_file": certificates.foreign_ca,
                                      "query_wait_timeout": "2s"}, database={"write_wait": "1s"})
    p.wait_listening()
    with pytest.raises(psycopg2.Error):
        one(p.connect(), "select 1")
    assert "certificate verify failed" in p.log_text()


def test_disable_prefer_and_the_options_of_a_node(proxy, certificates):
    p = proxy(switchgear={"server_tls_sslmode": "disable"})
    assert rows_of(p.connect(), ABOUT)[0][0] is False
    everywhere = {n.name: {"options": "sslmode=disable"} for n in p.cluster.nodes}
    other = proxy(switchgear=server_tls(certificates), nodes=everywhere)
    assert rows_of(other.connect(), ABOUT)[0][0] is False
    default = proxy()
    assert rows_of(default.connect(), ABOUT)[0][0] is True  # prefer


def test_options_that_libpq_does_not_understand_are_no_start_without_them(proxy, certificates):
    """They would be left out as a whole, sslmode among them."""
    p = proxy()
    p.write_config(nodes={"p1": {"options": "sslmode=verify-full sslrotcert=/x password=s3cr3t"}})
    done = run_binary(p.cluster, "check", p.config_path)
    assert done.returncode == 1, done.stderr
    assert re.match(r'/\S+:\d+: node p1: options: invalid connection option "sslrotcert"', done.stderr)
    done = run_binary(p.cluster, "serve", "--listen", "127.0.0.1:1", DATABASE_URL=(
        "postgres://app:s3cr3t@127.0.0.1/app?sslmode=verify-full&shcema=public"))
    assert done.returncode == 1 and 'invalid connection option "shcema"' in done.stderr
    p.write_config(nodes={"p1": {"options": "password=s3cr3t has a blank"}})
    done = run_binary(p.cluster, "check", p.config_path)
    assert done.returncode == 1 and "s3cr3t" not in done.stderr


def test_what_is_wrong_with_the_settings_is_said(proxy, certificates):
    p = proxy(switchgear=server_tls(certificates))
    base = dict(p.options["switchgear"])
    cases = [
        ({"server_tls_ciphers": "HIGH"}, "server_tls_ciphers: libpq has no setting for it"),
        ({"server_tls_protocols": "ssl3"}, "server_tls_protocols: ssl3: write secure"),
        ({"server_tls_cert_file": certificates.cert("app")}, "go together: name both"),
        ({"server_tls_ca_file": ""}, "verify-full needs server_tls_ca_file"),
        ({"server_tls_ca_file": "/none"}, "server_tls_ca_file: /none: cannot be read"),
        ({"server_tls_cert_file": certificates.cert("app"),
          "server_tls_key_file": certificates.key("proxy")}, "is not the key of the certificate"),
    ]
    for change, complaint in cases:
        p.options["switchgear"] = {**base, **change}
        p.write_config()
        done = run_binary(p.cluster, "check", p.config_path)
        assert done.returncode == 1 and complaint in done.stderr, (change, done.stderr)
        assert re.match(r"/\S+:\d+: ", done.stderr), done.stderr


@pytest.mark.parametrize("both", [False, True])
def test_big_results_and_copies_over_server_tls(proxy, certificates, both):
    client = tls.switchgear(certificates) if both else {}
    p = proxy(switchgear={**server_tls(certificates), **client})
    c = p.connect(**(tls.libpq_parameters(certificates) if both else {}))
    text = "".join(big_line(i) for i in range(1, BIG_ROWS + 1))
    with c.cursor() as cursor:
        cursor.execute("drop table if exists tls_copy; create table tls_copy (i int, t text)")
        cursor.copy_expert("copy tls_copy from stdin", io.StringIO(text))
        out = io.StringIO()
        cursor.copy_expert("copy (select * from tls_copy order by i) to stdout", out)
        cursor.execute("drop table tls_copy")
        assert out.getvalue() == text
        cursor.execute(BIG)
        rows = cursor.fetchall()
        cursor.execute("select length(%s)", ("y" * 5000000,))
        assert cursor.fetchone() == (5000000,)
    digest = hashlib.md5(str(BIG_ROWS).encode()).hexdigest()
    assert len(rows) == BIG_ROWS and rows[-1] == (BIG_ROWS, digest * 16)


@pytest.mark.parametrize("arguments", [["-S", "-t", "200"], ["-S", "-t", "200", "-M", "prepared"],
                                       ["-t", "50"]])
def test_pgbench_with_tls_on_both_sides(cluster, proxy, certificates, arguments):
    p = proxy(switchgear={**server_tls(certificates), **tls.switchgear(certificates)})
    text = cluster.run("pgbench", "-n", "-c", "8", "-j", "2", *arguments,
                       p.dsn(options=tls.libpq_options(certificates)))
    assert "ABORTED" not in text.upper()
    assert re.search(r"actually processed: (\d+)/\1\b", text), text
