# SPDX-License-Identifier: PostgreSQL
"""contenders: how each proxy is configured and started. All trust their clients and the servers,
all have the same pool, none logs single connections."""

import os
import re
import shutil
import subprocess

from cluster import DATABASE, USER
from processes import BenchError, find_program, free_port, wait_until

TLS_PROTOCOLS = ("tls", "tls-connect")  # simple: steady, and with a connection a transaction
ALL_PROTOCOLS = ("simple", "extended", "prepared", *TLS_PROTOCOLS)

HAPROXY = """
global
    nbthread 1
    maxconn {clients_max}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen postgres
    bind 127.0.0.1:{port}
    server primary 127.0.0.1:{primary_port}
"""

PGBOUNCER = """
[databases]
{database} = host=127.0.0.1 port={primary_port} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {auth_file}
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = {clients_max}
log_connections = 0
log_disconnections = 0
client_tls_sslmode = allow
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
"""

SWITCHGEAR = """
[switchgear]
listen = 127.0.0.1:{port}
admin_socket = {admin_directory}
http_listen = {http_listen}
workers = {workers}
auth_type = trust
max_client_conn = {clients_max}
client_tls_sslmode = allow
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
{nodes}
[database {database}]
shards = main
dbname = {database}
user = {user}
pool_mode = transaction
pool_size = {pool}
{database_options}
[probe]
user = {user}
timeout = 30s
late_timeout = 0
"""

SWITCHGEAR_NODE = """
[node {name}]
shard = main
host = 127.0.0.1
port = {port}
role = auto
"""


def certificate(keeper):
    """A self-signed one, the same for all; made when it is first wanted."""
    files = {"certificate": keeper.path("bench.crt"), "key": keeper.path("bench.key")}
    if not os.path.exists(files["key"]):
        keeper.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", files["key"], "-out", files["certificate"]])
    return files


class Contender:
    """One row of the comparison. `child` is None for PostgreSQL itself, which has no proxy."""

    protocols = ALL_PROTOCOLS
    child = None
    port = None

    def __init__(self, key, title, cluster, options):
        self.key = key
        self.title = title
        self.cluster = cluster
        self.keeper = cluster.keeper
        self.options = options

    def missing(self):
        """Why this contender cannot take part; None if it can."""
        return None

    def version(self):
        return ""

    def start(self):
        self.port = free_port()
        self.child = self.keeper.start(self.key, self.command())
        try:
            wait_until(f"{self.title} passes a query on", self.ready, 15, self.child)
        except BenchError:
            self.stop()
            raise

    def ready(self):
        return self.query("SELECT 1") == "1"

    def query(self, sql):
        return self.cluster.psql(self.port, sql, USER, DATABASE, "127.0.0.1")

    def restart_if_dead(self):
        if self.child is not None and not self.child.alive():
            self.stop()
            self.start()

    def stop(self):
        if self.child is not None:
            self.keeper.forget(self.child)
            self.child = None


class Direct(Contender):
    protocols = ALL_PROTOCOLS[:3]

    def start(self):
        self.port = self.cluster.primary_port


class Haproxy(Contender):
    program = find_program("haproxy")
    protocols = ALL_PROTOCOLS[:3]

    def missing(self):
        return None if self.program else "haproxy is not installed"

    def version(self):
        return first_line([self.program, "-v"])

    def command(self):
        text = HAPROXY.format(port=self.port, primary_port=self.cluster.primary_port,
                              clients_max=self.options.clients_max)
        return [self.program, "-db", "-f", self.keeper.write("haproxy.cfg", text)]


class Pgbouncer(Contender):
    program = find_program("pgbouncer")
    protocols = ("simple", "extended", *TLS_PROTOCOLS)

    def missing(self):
        return None if self.program else "pgbouncer is not installed"

    def version(self):
        return first_line([self.program, "--version"])

    def command(self):
        auth_file = self.keeper.write("pgbouncer-users.txt", f'"{USER}" ""\n')
        text = PGBOUNCER.format(port=self.port, primary_port=self.cluster.primary_port,
                                auth_file=auth_file, **certificate(self.keeper),
                                database=DATABASE, pool=self.options.pool,
                                clients_max=self.options.clients_max)
        return [self.program, self.keeper.write("pgbouncer.ini", text)]


class Switchgear(Contender):
    database_options = ()  # more lines of [database]
    http_listen = ""

    def __init__(self, key, title, cluster, options, workers, split):
        super().__init__(key, title, cluster, options)
        self.workers = workers
        self.split = split

    def missing(self):
        if os.access(self.options.binary, os.X_OK):
            return None
        return f"{self.options.binary} does not exist yet: build it first"

    def version(self):
        return first_line([self.options.binary, "--version"])

    def _binary(self):
        """A copy: the unprivileged user may not reach the build tree, and a rebuild during the
        measurement must not change what is measured."""
        copy = self.keeper.path("switchgear")
        if not os.path.exists(copy):
            shutil.copy(self.options.binary, copy)
            os.chmod(copy, 0o755)
        return copy

    def command(self):
        ports = [self.cluster.primary_port]
        if self.split:
            ports += self.cluster.replica_ports
        nodes = "".join(SWITCHGEAR_NODE.format(name=f"pg{i + 1}", port=port)
                        for i, port in enumerate(ports))
        admin_directory = self.keeper.path(f"{self.key}-admin")
        if not os.path.isdir(admin_directory):
            self.keeper.make_directory(f"{self.key}-admin")
        text = SWITCHGEAR.format(port=self.port, admin_directory=admin_directory, nodes=nodes,
                                 **certificate(self.keeper),
                                 workers=self.workers, database=DATABASE, user=USER,
                                 http_listen=self.http_listen,
                                 database_options="\n".join(self.database_options),
                                 pool=self.options.pool, clients_max=self.options.clients_max)
        return [self._binary(), "serve", self.keeper.write(f"{self.key}.ini", text)]

    def ready(self):
        """With the split on, ready means that a read did go to a replica: a run in which all went
        to the primary would measure something else than its title says."""
        if not super().ready():
            return False
        route = self.query(["SELECT bid FROM pgbench_branches LIMIT 1",
                            "SHOW switchgear.last_route"]).splitlines()[-1].split("|")
        wanted = "replica" if self.split else "primary"
        if wanted in route:
            return True
        raise BenchError(f"a read went to {route}, not to the {wanted}")


def first_line(argv):
    """A program's version. HAProxy's goes on with a build date and an address."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    line = (done.stdout or done.stderr).strip().split("\n")[0]
    return re.sub(r" \d{4}/\d\d/\d\d - http.*", "", line)


def make_contenders(cluster, options):
    """All contenders in the order of the tables."""
    contenders = [Direct("direct", "PostgreSQL directly", cluster, options),
                  Haproxy("haproxy", "HAProxy, TCP relay", cluster, options),
                  Pgbouncer("pgbouncer", "PgBouncer", cluster, options)]
    for split in (True, False):
        for workers in ("1", "auto"):
            key = f"switchgear-{workers}" + ("" if split else "-off")
            title = f"Switchgear, split {'on' if split else 'off'}, workers {workers}"
            contenders.append(Switchgear(key, title, cluster, options, workers, split))
    return contenders


def select_contenders(contenders, only):
    """Those named by `only`: full keys, or `switchgear` for its four."""
    if not only:
        return contenders
    known = {c.key for c in contenders} | {"switchgear"}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise BenchError(f"--only: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return [c for c in contenders if c.key in only or
            ("switchgear" in only and isinstance(c, Switchgear))]
