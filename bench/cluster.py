# SPDX-License-Identifier: PostgreSQL
"""cluster: a throw-away primary with streaming replicas on free loopback ports, holding pgbench's
tables in the database `app`. fsync is off: a benchmark of proxies wants no disk in it."""

import glob
import os
import re
import signal

from processes import BenchError, find_program, free_port, wait_until

DATABASE = "app"
USER = "bench"

SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
shared_buffers = 256MB
max_connections = {max_connections}
max_wal_senders = 10
wal_level = replica
wal_sender_timeout = 0
hot_standby = on
log_min_messages = warning
unix_socket_directories = '{sockets}'
"""


def server_program(name):
    """A program of the newest PostgreSQL; Debian keeps the server's outside PATH."""
    by_version = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"),
                        key=lambda p: int(re.search(r"/(\d+)/bin/", p).group(1)))
    path = by_version[-1] if by_version else find_program(name)
    if path is None:
        raise BenchError(f"{name} is missing: install postgresql")
    return path


class Cluster:
    def __init__(self, keeper, replica_count, scale, max_connections):
        self.keeper = keeper
        self.replica_count = replica_count
        self.scale = scale
        self.max_connections = max_connections
        self.sockets = keeper.make_directory("sockets")
        self.primary_port = None
        self.replica_ports = []

    def psql(self, port, sql, user="postgres", database="postgres", host=None):
        commands = [part for s in ([sql] if isinstance(sql, str) else sql) for part in ("-c", s)]
        return self.keeper.run([server_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1",
                                "-h", host or self.sockets, "-p", str(port), "-U", user,
                                "-d", database, *commands], timeout=20).strip()

    def start(self):
        self._start_primary()
        self._load()
        for i in range(self.replica_count):
            self._start_replica(f"replica{i + 1}")
        self._wait_for_replicas()

    def _start_primary(self):
        directory = self.keeper.path("primary")
        self.keeper.run([server_program("initdb"), "-D", directory, "-U", "postgres", "-A", "trust",
                         "-E", "UTF8", "--locale=C", "--no-sync"])
        with open(os.path.join(directory, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write(SETTINGS.format(max_connections=self.max_connections, sockets=self.sockets))
        self.primary_port = self._start_node("primary")

    def _start_node(self, name):
        port = free_port()
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
        child = self.keeper.start(name, [server_program("postgres"), "-D", self.keeper.path(name),
                                         "-p", str(port)], (signal.SIGINT, signal.SIGQUIT))
        wait_until(f"{name} answers", lambda: self.psql(port, "SELECT 1") == "1", 30, child)
        return port

    def _load(self):
        self.psql(self.primary_port, [f"CREATE ROLE {USER} LOGIN",
                                      f"GRANT pg_monitor TO {USER}",
                                      f"CREATE DATABASE {DATABASE} OWNER {USER}"])
        self.keeper.run([server_program("pgbench"), "-i", "-q", "-s", str(self.scale),
                         "-h", self.sockets, "-p", str(self.primary_port), "-U", USER, DATABASE])
        # Hint bits and the visibility map are settled before the copies are taken.
        self.psql(self.primary_port, ["VACUUM (FREEZE, ANALYZE)", "CHECKPOINT"], database=DATABASE)

    def _start_replica(self, name):
        self.keeper.run([server_program("pg_basebackup"), "-h", self.sockets,
                         "-p", str(self.primary_port), "-U", "postgres",
                         "-D", self.keeper.path(name), "-R", "-X", "stream", "-c", "fast",
                         "--no-sync", "-C", "-S", name])
        self.replica_ports.append(self._start_node(name))

    def _wait_for_replicas(self):
        position = self.psql(self.primary_port, "SELECT pg_current_wal_insert_lsn()")
        caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        for port in self.replica_ports:
            wait_until("a replica catches up", lambda p=port: self.psql(p, caught_up) == "t", 30)

    def version(self):
        return self.psql(self.primary_port, "SHOW server_version")
