# SPDX-License-Identifier: PostgreSQL
"""TLS between clients and the proxy: who gets it, who must have it, and what it must survive. How it
begins: test_tls_start.py."""
import hashlib
import io
import os
import re
import socket
import ssl
import subprocess
import time

import psycopg2
import pytest

import tls
from cluster import APP_DATABASE, APP_PASSWORD, APP_USER, wait_until
from proxy import ADMIN_PASSWORD, ADMIN_USER, one, rows_of, run_binary
from tls import TlsWire, client_context, login
from wire import Wire, error_fields, query, startup, types

SERVER_SIDE = {"user": APP_USER, "password": APP_PASSWORD}


def reload(p, **switchgear):
    p.write_config(switchgear=switchgear)
    p.admin("RELOAD")


def refusal(p, **parameters):
    with pytest.raises(psycopg2.OperationalError) as caught:
        p.connect(**parameters)
    return str(caught.value)


# ---- who gets it ----

@pytest.mark.core
def test_scram_and_statements_over_tls(secure, certificates):
    c = secure.connect(**tls.libpq_parameters(certificates), channel_binding="require")
    assert c.info.ssl_attribute("protocol") == "TLSv1.3"
    assert one(c, "select 40 + 2") == 42


@pytest.mark.core
def test_each_mode_gives_tls_to_whom_it_promises(proxy, certificates):
    p = proxy(switchgear=tls.switchgear(certificates, "disable"))
    # what a client gets that asks with sslmode = disable, allow, prefer, require
    promises = {"disable": "plain plain plain none", "allow": "plain plain tls tls",
                "prefer": "plain plain tls tls", "require": "none tls tls tls"}
    for mode, expected in promises.items():
        reload(p, client_tls_sslmode=mode)
        got = []
        for asked in ("disable", "allow", "prefer", "require"):
            try:
                c = p.connect(sslmode=asked)
                got.append("tls" if c.info.ssl_in_use else "plain")
            except psycopg2.OperationalError:
                got.append("none")
        assert " ".join(got) == expected, mode


def test_a_plain_client_is_told_that_tls_is_required(trusting):
    with Wire(trusting.port) as w:
        w.send(startup(APP_USER, APP_DATABASE))
        fields = error_fields(w.recv()[1])
        assert fields["S"] == "FATAL" and fields["C"] == "28000" and "TLS" in fields["M"]
        assert w.closed_within(5)


def test_a_unix_socket_needs_no_tls(proxy, certificates, cluster):
    directory = cluster.subdirectory("sockets-tls")
    p = proxy(switchgear=tls.switchgear(certificates))
    p.stop()
    p.options["switchgear"]["listen"] = f"127.0.0.1:{p.port}, unix:{directory}"
    p.start()
    c = p.connect(host=directory, sslmode="prefer")
    assert not c.info.ssl_in_use and one(c, "select 1") == 1


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_the_versions_offered_are_those_of_the_setting(proxy, certificates, version):
    other = {"TLSv1.2": "TLSv1.3", "TLSv1.3": "TLSv1.2"}[version]
    p = proxy(switchgear=tls.switchgear(certificates, client_tls_protocols=version.lower()))
    c = p.connect(**tls.libpq_parameters(certificates))
    assert c.info.ssl_attribute("protocol") == version
    assert "protocol version" in refusal(p, sslmode="require", ssl_min_protocol_version=other,
                                         ssl_max_protocol_version=other)


def test_nothing_older_than_tls_1_2_is_spoken(secure, certificates):
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{secure.port}",
         "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], input="", capture_output=True, text=True,
        timeout=20)
    assert "alert protocol version" in done.stderr, done.stderr
    p = run_binary_with(secure, client_tls_protocols="tlsv1.1")
    assert p.returncode == 1 and "client_tls_protocols: tlsv1.1: write secure" in p.stderr


def test_the_cipher_settings_are_obeyed(proxy, certificates):
    p = proxy(switchgear=tls.switchgear(
        certificates, client_tls_ciphers="ECDHE-ECDSA-CHACHA20-POLY1305",
        client_tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256", client_tls_ecdhcurve="prime256v1"))
    for version, name in ((ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
                          (ssl.TLSVersion.TLSv1_3, "TLS_CHACHA20_POLY1305_SHA256")):
        with TlsWire(p.port, client_context(certificates, version)) as w:
            assert w.socket.cipher()[0] == name


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_of_one_worker_is_good_at_the_others(trusting, certificates, version):
    context = client_context(certificates, version)
    with TlsWire(trusting.port, context) as first:
        first.login(APP_USER, APP_DATABASE)
        session = first.socket.session
        assert not first.socket.session_reused
        others = []
        for _ in range(4):  # workers take turns, as all of these stay open
            w = TlsWire(trusting.port, context, session=session)
            others.append(w)
            assert types(w.login(APP_USER, APP_DATABASE)).endswith("Z")
            assert w.socket.session_reused
        for w in others:
            w.socket.close()
    assert trusting.metric("switchgear_tls_handshakes_total", resumed="yes") == 4


# ---- certificates of clients ----

@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_only_a_good_certificate_of_the_authority_gets_in(proxy, certificates, mode, version):
    p = proxy(switchgear=tls.switchgear(certificates, mode))

    def parameters(client):
        return {**tls.libpq_parameters(certificates, client=client),
                "ssl_min_protocol_version": version, "ssl_max_protocol_version": version}

    assert one(p.connect(**parameters("app")), "select 1") == 1
    assert "certificate expired" in refusal(p, **parameters("expired"))
    assert "unknown ca" in refusal(p, **parameters("foreign"))
    none = refusal(p, **{**parameters(None), "sslcert": "/nonexistent"})
    assert "alert" in none, none
    refusal(p, sslmode="disable")
    wait_until(lambda: p.metric("switchgear_tls_handshake_failures_total") == 3, 5, "3 failures")
    assert "certificate has expired" in p.log_text() or "certificate verify" in p.log_text()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_still_has_its_certificate(proxy, certificates, version):
    p = proxy(switchgear=tls.switchgear(certificates, "verify-full", auth_type="cert"),
              database=SERVER_SIDE)
    context = client_context(certificates, version, client="app")
    with TlsWire(p.port, context) as first:
        assert types(first.login(APP_USER, APP_DATABASE)).endswith("Z")
        session = first.socket.session
    for user, end in ((APP_USER, "Z"), ("somebody", "E")):
        with TlsWire(p.port, context, session=session) as again:
            assert again.socket.session_reused
            assert types(again.login(user, APP_DATABASE)).endswith(end)
    p.admin("RELOAD")  # another authority may be in force from here on
    with TlsWire(p.port, context, session=session) as late:
        assert not late.socket.session_reused
        assert types(late.login(APP_USER, APP_DATABASE)).endswith("Z")


def test_a_revoked_certificate_is_refused_from_the_reload_on(proxy, certificates):
    certificates.make("revoked", "app")
    p = proxy(switchgear=tls.switchgear(certificates, "verify-ca", auth_type="cert"),
              database=SERVER_SIDE)
    good, bad = (client_context(certificates, ssl.TLSVersion.TLSv1_3, client=name)
                 for name in ("app", "revoked"))
    with TlsWire(p.port, bad) as w:
        assert types(w.login(APP_USER, APP_DATABASE)).endswith("Z")
        session = w.socket.session
    reload(p, client_tls_crl_file=certificates.revoke("revoked"))
    with TlsWire(p.port, good) as w:
        assert types(w.login(APP_USER, APP_DATABASE)).endswith("Z")
    for kept in (None, session):
        with pytest.raises(OSError, match="revoked"):
            with TlsWire(p.port, bad, session=kept) as w:
                w.login(APP_USER, APP_DATABASE)
    with pytest.raises(psycopg2.Error, match="holds no revocation list"):
        reload(p, client_tls_crl_file=certificates.ca)


def s_client(p, *arguments):
    return subprocess.run(
        ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{p.port}",
         *arguments], input="", capture_output=True, text=True, timeout=20).stdout


def test_no_certificate_is_asked_for_unless_one_is_needed(proxy, certificates):
    p = proxy(switchgear=tls.switchgear(certificates, client_tls_ca_file=certificates.ca))
    assert "No client certificate CA names sent" in s_client(p)
    assert "Server public key" in s_client(p)
    reload(p, client_tls_sslmode="verify-ca")
    assert "CN = Switchgear test ca" in s_client(p).split("Acceptable client certificate")[1]


# ---- certificates change ----

def shown(p, certificates):
    with TlsWire(p.port, client_context(certificates)) as w:
        return w.socket.getpeercert()["serialNumber"]


@pytest.mark.core
def test_a_reload_changes_the_certificate_and_drops_nobody(secure, certificates):
    old = secure.connect(**tls.libpq_parameters(certificates))
    before = shown(secure, certificates)
    reload(secure, client_tls_cert_file=certificates.cert("proxy2"),
           client_tls_key_file=certificates.key("proxy2"))
    after = shown(secure, certificates)
    assert before != after
    with pytest.raises(psycopg2.Error, match="is not the key of the certificate"):
        reload(secure, client_tls_key_file=certificates.key("proxy"))
    assert shown(secure, certificates) == after  # a failed reload changes nothing
    assert one(old, "select repeat('x', 100000)") == "x" * 100000
    reload(secure, client_tls_cert_file=certificates.cert("expired-proxy"),
           client_tls_key_file=certificates.key("expired-proxy"))
    assert "has expired" in secure.log_text()  # a warning, not a refusal
    reload(secure, client_tls_sslmode="disable")
    assert one(old, "select 1") == 1 and old.info.ssl_in_use
    assert not secure.connect(sslmode="prefer").info.ssl_in_use


def test_files_are_read_again_by_a_reload_although_their_names_stay(proxy, certificates, cluster):
    directory = cluster.subdirectory("renewed")
    names = {ending: os.path.join(directory, "here" + ending) for ending in (".crt", ".key")}

    def install(name):
        for ending, path in names.items():
            with open(certificates.path(name + ending), "rb") as f, open(path, "wb") as to:
                to.write(f.read())
            os.chmod(path, 0o600)
        cluster.give(directory)

    install("proxy")
    p = proxy(switchgear=tls.switchgear(certificates, client_tls_cert_file=names[".crt"],
                                        client_tls_key_file=names[".key"]))
    before = shown(p, certificates)
    install("proxy2")
    assert shown(p, certificates) == before
    p.admin("RELOAD")
    assert shown(p, certificates) != before


def run_binary_with(p, **switchgear):
    """`switchgear check` of the proxy's configuration with some keys changed."""
    p.write_config(switchgear=switchgear)
    return run_binary(p.cluster, "check", p.config_path)


def test_what_is_wrong_with_a_file_is_said_at_its_line(secure, certificates, cluster):
    encrypted = certificates.path("encrypted.key")
    certificates.openssl("pkey", "-in", certificates.key("proxy"), "-aes256", "-passout",
                         "pass:secret", "-out", encrypted)
    cert, key = certificates.cert("proxy"), certificates.key("proxy")
    cases = [
        ({"client_tls_cert_file": "/none.crt"}, "/none.crt: cannot be read: No such file"),
        ({"client_tls_cert_file": key}, "is no certificate in PEM form"),
        ({"client_tls_key_file": cert}, "is no key in PEM form"),
        ({"client_tls_key_file": certificates.key("proxy2")}, "is not the key of the certificate"),
        ({"client_tls_key_file": encrypted}, "has a passphrase"),
        ({"client_tls_key_file": ""}, "needs client_tls_key_file"),
        ({"client_tls_sslmode": "verify-ca"}, "needs client_tls_ca_file"),
        ({"client_tls_sslmode": "verify-ca", "client_tls_ca_file": key}, "holds no certificate"),
        ({"client_tls_ciphers": "NO-SUCH"}, "client_tls_ciphers: NO-SUCH: names no cipher"),
        ({"client_tls13_ciphers": "NO-SUCH"}, "client_tls13_ciphers: NO-SUCH: is no list"),
        ({"client_tls_ecdhcurve": "flat"}, "client_tls_ecdhcurve: flat: is no list of groups"),
    ]
    base = dict(secure.options["switchgear"])
    for change, complaint in cases:
        secure.options["switchgear"] = dict(base)
        done = run_binary_with(secure, **change)
        assert done.returncode == 1 and complaint in done.stderr, (change, done.stderr)
        assert re.match(r"/\S+:\d+: ", done.stderr), done.stderr
    secure.options["switchgear"] = dict(base)
    done = run_binary_with(secure, client_tls_cert_file=certificates.cert("expired-proxy"),
                           client_tls_key_file=certificates.key("expired-proxy"))
    assert done.returncode == 0 and "warning" in done.stderr and "has expired" in done.stderr
    shared = certificates.path("shared.key")
    with open(shared, "wb") as to, open(key, "rb") as f:
        to.write(f.read())
    certificates.give()
    for rights, said, status in ((0o640, True, 0), (0o604, True, 1), (0o600, False, 0)):
        os.chmod(shared, rights)
        secure.options["switchgear"] = dict(base)
        done = run_binary_with(secure, client_tls_key_file=shared)
        assert done.returncode == status, done.stderr
        assert ("others may read" in done.stderr) == said, done.stderr
    with open(os.path.join(secure.directory, "near.crt"), "wb") as to, open(cert, "rb") as f:
        to.write(f.read())
    cluster.give(secure.directory)
    secure.options["switchgear"] = dict(base)
    done = run_binary_with(secure, client_tls_cert_file="near.crt")
    assert done.returncode == 0, done.stderr  # beside the configuration file


# ---- bytes ----

BIG_ROWS = 40000
BIG = f"select i, repeat(md5(i::text), 16) from generate_series(1, {BIG_ROWS}) i order by i"


def big_line(i):
    return f"{i}\t{hashlib.md5(str(i).encode()).hexdigest() * 16}\n"


def test_a_big_result_for_a_client_that_reads_slowly(trusting, certificates):
    context = client_context(certificates)
    with TlsWire(trusting.port, context, timeout=60) as w:
        w.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        w.login(APP_USER, APP_DATABASE)
        w.send(query(f"copy ({BIG}) to stdout"))
        got = []
        while True:
            kind, body = w.recv()
            if kind == "d":
                got.append(body)
                if len(got) % 4000 == 1:
                    time.sleep(0.05)
            if kind == "Z":
                break
        assert [b.decode() for b in got] == [big_line(i) for i in range(1, BIG_ROWS + 1)]
        assert types(w.run(query("select 1"))) == "TDCZ"


def test_many_results_at_once_that_nobody_reads_for_a_while(trusting, certificates):
    """Records that were half sent are finished with the same bytes, wherever those lie by then."""
    with TlsWire(trusting.port, client_context(certificates), timeout=60) as w:
        w.login(APP_USER, APP_DATABASE)
        sizes = [1, 100, 16383, 16384, 16385, 100000, 3000000] * 3
        w.send(*[query(f"select repeat('{'abcdefg'[i % 7]}', {n})") for i, n in enumerate(sizes)])
        time.sleep(0.5)
        for i, n in enumerate(sizes):
            messages = w.recv_all()
            row = next(body for kind, body in messages if kind == "D")
            assert row[6:] == b"abcdefg"[i % 7:i % 7 + 1] * n


def test_a_big_copy_in_and_out_again(secure, certificates):
    c = secure.connect(**tls.libpq_parameters(certificates))
    text = "".join(big_line(i) for i in range(1, BIG_ROWS + 1))
    with c.cursor() as cursor:
        cursor.execute("drop table if exists tls_copy; create table tls_copy (i int, t text)")
        cursor.copy_expert("copy tls_copy from stdin", io.StringIO(text))
        out = io.StringIO()
        cursor.copy_expert("copy (select * from tls_copy order by i) to stdout", out)
        cursor.execute("drop table tls_copy")
    assert out.getvalue() == text


def test_records_of_every_size_with_many_messages_in_each(trusting, certificates):
    with TlsWire(trusting.port, client_context(certificates), timeout=30) as w:
        w.login(APP_USER, APP_DATABASE)
        statements = b"".join(query(f"select {i}") for i in range(500))
        for step in (1, 7, 4096, 16384, len(statements)):
            part = statements if step > 7 else statements[:len(query("select 1")) * 10]
            count = 500 if step > 7 else 10
            for at in range(0, len(part), step):
                w.socket.sendall(part[at:at + step])
            rows = []
            for _ in range(count):
                rows += [body[6:] for kind, body in w.recv_all() if kind == "D"]
            assert rows == [str(i).encode() for i in range(count)]


def test_busy_clients_fall_silent_and_go_on(trusting, certificates):
    """The first 128 busy ones keep OpenSSL's buffers while they are busy; the first falls silent in
    the middle of a message. That the books of it balance is asserted as the proxy ends."""
    clients = [login(trusting, certificates) for _ in range(130)]

    def run_all(letter, size):
        for w in clients:
            w.send(query(f"select repeat('{letter}', {size})"))
        for w in clients:
            row = next(body for kind, body in w.recv_all() if kind == "D")
            assert row[6:] == letter.encode() * size

    for turn in range(6):
        run_all("abcdef"[turn], 20000 if turn == 5 else 10)
    last = query("select 'the end'")
    clients[0].socket.sendall(last[:9])
    time.sleep(2.5)
    clients[0].socket.sendall(last[9:])
    assert clients[0].recv_all()[1][1][6:] == b"the end"
    run_all("g", 20000)
    for w in clients:
        w.socket.close()


@pytest.mark.parametrize("arguments", [["-t", "200"], ["-t", "200", "-M", "prepared"],
                                       ["-t", "25", "-C"]])
def test_pgbench_over_tls(cluster, secure, certificates, arguments):
    text = cluster.run("pgbench", "-n", "-S", "-c", "8", "-j", "2", *arguments,
                       secure.dsn(options=tls.libpq_options(certificates)))
    count = 8 * int(arguments[1])
    assert f"actually processed: {count}/{count}" in text and "ABORTED" not in text.upper()


# ---- what is shown ----

def test_the_console_over_tls_and_what_it_shows(secure, certificates):
    c = secure.connect(**tls.libpq_parameters(certificates))
    rows_of(c, "select 1")
    admin = secure.connect(user=ADMIN_USER, password=ADMIN_PASSWORD, dbname="switchgear",
                           **tls.libpq_parameters(certificates))
    assert admin.info.ssl_in_use
    with admin.cursor() as cursor:
        cursor.execute("SHOW CLIENTS")
        names = [d.name for d in cursor.description]
        shown_as = [r[names.index("tls")] for r in cursor.fetchall()
                    if r[names.index("user")] in (APP_USER, ADMIN_USER)]
    assert shown_as == ["TLSv1.3/TLS_AES_128_GCM_SHA256"] * 2
    for _ in range(20):  # answers of some hundred kilobytes
        assert len(rows_of(admin, "SHOW CONFIG")) > 50
    assert secure.metric("switchgear_tls_handshakes_total") == 2
