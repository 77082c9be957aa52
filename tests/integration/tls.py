# SPDX-License-Identifier: PostgreSQL
"""Certificates made by openssl when they are first wanted, and a proxy that speaks TLS with them.

    certificates = tls.certificates_of(cluster)
    p = proxy(switchgear=tls.switchgear(certificates))
    psycopg2.connect(p.dsn(options=tls.libpq_options(certificates)))

The default is what the tests of drivers want: sslmode = require, log-in by SCRAM.
"""
import os
import ssl
import struct
import subprocess

from cluster import APP_DATABASE, APP_USER, as_user
from wire import SSL_REQUEST, Wire

SERVER_NAMES = "DNS:localhost,IP:127.0.0.1"

CA_CONFIG = """
[ca]
default_ca = this
[this]
database = {directory}/index.txt
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
copy_extensions = copyall
[any]
organizationName = optional
commonName = supplied
"""

_made = {}  # by directory of the cluster


def certificates_of(cluster):
    """One set of certificates for all tests of a run."""
    if cluster.directory not in _made:
        _made[cluster.directory] = Certificates(cluster)
    return _made[cluster.directory]


def switchgear(certificates, sslmode="require", name="proxy", **more):
    """The keys of [switchgear] for a proxy that shows `name`'s certificate."""
    return {"client_tls_sslmode": sslmode, "client_tls_cert_file": certificates.cert(name),
            "client_tls_key_file": certificates.key(name),
            "client_tls_ca_file": certificates.ca if sslmode.startswith("verify") else None, **more}


def libpq_options(certificates, sslmode="verify-full", client=None):
    """What goes behind the database in a libpq URL; every driver on libpq understands it."""
    text = f"?sslmode={sslmode}&sslrootcert={certificates.ca}"
    if client:
        text += f"&sslcert={certificates.cert(client)}&sslkey={certificates.key(client)}"
    return text


def libpq_parameters(certificates, sslmode="verify-full", client=None):
    """The same as keywords of psycopg2.connect()."""
    values = {"sslmode": sslmode, "sslrootcert": certificates.ca}
    if client:
        values.update(sslcert=certificates.cert(client), sslkey=certificates.key(client))
    return values


class Certificates:
    """An authority, `proxy` and `proxy2` for servers, and for clients `app`, `expired` (of the
    same authority, out of date) and `foreign` (in date, of another authority)."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.directory = cluster.subdirectory("certificates")
        self.ca = self.authority("ca")
        self.foreign_ca = self.authority("foreign-ca")
        self.make("proxy", "localhost", names=SERVER_NAMES)
        self.make("proxy2", "localhost", names=SERVER_NAMES)
        self.make("expired-proxy", "localhost", names=SERVER_NAMES, dates=("20200101", "20210101"))
        self.make("app", "app")
        self.make("expired", "app", dates=("20200101", "20210101"))
        self.make("foreign", "app", authority="foreign-ca")

    def path(self, name):
        return os.path.join(self.directory, name)

    def cert(self, name):
        return self.path(name + ".crt")

    def key(self, name):
        return self.path(name + ".key")

    def authority(self, name):
        self.new_key(name)
        self.openssl("req", "-x509", "-new", "-key", self.key(name), "-out", self.cert(name),
                     "-days", "30", "-subj", f"/CN=Switchgear test {name}",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        with open(self.path("index.txt"), "a", encoding="utf-8"):
            pass
        with open(self.path("ca.cnf"), "w", encoding="utf-8") as f:
            f.write(CA_CONFIG.format(directory=self.directory))
        self.give()
        return self.cert(name)

    def new_key(self, name):
        self.openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-out", self.key(name))
        os.chmod(self.key(name), 0o600)

    def make(self, name, common_name, names=None, authority="ca", dates=None):
        """A key and a certificate, in force for 30 days or between the two `dates`."""
        self.new_key(name)
        extension = ["-addext", f"subjectAltName={names}"] if names else []
        self.openssl("req", "-new", "-key", self.key(name), "-out", self.path(name + ".csr"),
                     "-subj", f"/O=Switchgear/CN={common_name}", *extension)
        span = ["-days", "30"]
        if dates:
            span = ["-startdate", dates[0] + "000000Z", "-enddate", dates[1] + "000000Z"]
        self.openssl("ca", "-batch", "-notext", "-config", self.path("ca.cnf"),
                     "-cert", self.cert(authority), "-keyfile", self.key(authority),
                     "-in", self.path(name + ".csr"), "-out", self.cert(name), *span)
        self.give()
        return self.cert(name)

    def revoke(self, name, authority="ca"):
        """The list of all that this authority has revoked, `name` among them."""
        own = ["-config", self.path("ca.cnf"), "-cert", self.cert(authority), "-keyfile",
               self.key(authority)]
        self.openssl("ca", "-batch", *own, "-revoke", self.cert(name))
        self.openssl("ca", "-gencrl", *own, "-crldays", "30", "-out", self.path(authority + ".crl"))
        self.give()
        return self.path(authority + ".crl")

    def give(self):
        self.cluster.give(self.directory)

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, timeout=60,
                              capture_output=True, text=True, cwd=self.directory,
                              **as_user(self.cluster.user))
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")
        return done.stdout


def client_context(certificates, version=None, alpn=True, client=None):
    """For Python's ssl, which can do what no driver would."""
    context = ssl.create_default_context(cafile=certificates.ca)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # a bare EOF is an error
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(["postgresql"])
    if client:
        context.load_cert_chain(certificates.cert(client), certificates.key(client))
    return context


class TlsWire(Wire):
    """A Wire through TLS, asked for with SSLRequest or begun at once (direct)."""

    def __init__(self, port, context, direct=False, session=None, timeout=10):
        super().__init__(port, timeout)
        if not direct:
            self.send(struct.pack("!II", 8, SSL_REQUEST))
            answer = self.recv_bytes(1)
            if answer != b"S":
                self.socket.close()
                raise ConnectionError(f"SSLRequest was answered with {answer!r}")
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost",
                                              session=session, suppress_ragged_eofs=False)
        except OSError:
            self.socket.close()
            raise


def login(p, certificates, **context_options):
    w = TlsWire(p.port, client_context(certificates, **context_options))
    w.login(APP_USER, APP_DATABASE)
    return w
