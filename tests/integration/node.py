# SPDX-License-Identifier: PostgreSQL
"""One PostgreSQL server of a Cluster: started, stopped, killed, frozen, promoted, and asked what it
saw; and what it takes from the machine: a user to run as, a port, time.

PostgreSQL refuses to run as root, so under root every server runs as an unprivileged user.
"""
import glob
import os
import pwd
import random
import re
import signal
import socket
import subprocess
import time

import psycopg2

APP_USER, APP_PASSWORD, APP_DATABASE = "app", "app-secret", "app"
PROBE_USER, PROBE_PASSWORD = "prober", "probe-secret"

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}, @switchgear-{port}'
max_connections = 300
superuser_reserved_connections = 10
shared_buffers = 64MB
fsync = off
full_page_writes = off
wal_level = logical
max_wal_size = 512MB
max_wal_senders = 10
max_replication_slots = 10
max_prepared_transactions = 10
hot_standby = on
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 200ms
track_activities = on
track_counts = on
autovacuum = off
logging_collector = off
log_destination = stderr
log_statement = all
log_line_prefix = '%m [%p] %u@%d '
log_min_messages = warning
timezone = UTC
log_timezone = UTC
lc_messages = C
"""

# The local socket is ours alone (a private directory); TCP wants passwords, as production does.
HBA = """
local all all trust
local replication all trust
host replication all 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


class ClusterError(Exception):
    pass


def postgres_bindir():
    """The directory that holds initdb and postgres, or None."""
    candidates = []
    try:
        candidates.append(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
    except (OSError, subprocess.CalledProcessError):
        pass
    found = glob.glob("/usr/lib/postgresql/*/bin")
    candidates += sorted(found, key=lambda path: int(path.split("/")[4]), reverse=True)
    for path in candidates:
        if os.access(os.path.join(path, "initdb"), os.X_OK):
            return path
    return None


def unprivileged_user():
    """The passwd entry that servers run as: postgres or nobody under root, else ourselves."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def as_user(user):
    """Arguments of Popen that drop to `user`; none where we are that user."""
    if os.getuid() == user.pw_uid:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def port_range():
    """Test runs at the same time keep out of each other's ports, also of those whose server is down
    just now: each takes a share for itself, by a name in the abstract namespace. Below the ports that
    the kernel gives to outgoing connections: one of these could take it before its server does."""
    for share in range(4):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0switchgear-test-ports-{share}")
        except OSError:
            name.close()
            continue
        return range(12000 + 5000 * share, 17000 + 5000 * share), name
    return range(12000, 32000), None


_ports, _ports_name = port_range()
_given_ports = set()


def free_port():
    """A port of 127.0.0.1 that nobody uses and that we have not given away before."""
    while True:
        port = random.choice(_ports)
        if port in _given_ports:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given_ports.add(port)
        return port


def wait_until(condition, timeout=10, what="condition", interval=0.02):
    """Polls until `condition()` is true and returns its value; raises ClusterError after timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {timeout} s: {what}")
        time.sleep(interval)


def process_tree(pid):
    """The children of a postmaster. PostgreSQL puts each into a session of its own, so a process
    group does not reach them."""
    children = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            children.append(int(path.split("/")[2]))
    return children


def runs(pid):
    """False also for a zombie: it holds nothing any more, and who inherits it may let it lie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def signal_quietly(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Node:
    """One PostgreSQL server."""

    def __init__(self, cluster, name, base):
        self.cluster = cluster
        self.name = name
        self.base = base
        self.data = os.path.join(base, "data")
        self.log_path = os.path.join(base, "log")
        self.port = free_port()
        self.host = "127.0.0.1"
        self.process = None
        self.stopped = False  # by SIGSTOP
        self.promoted = False
        self.log_mark = 0
        self._connection = None

    # ---- life and death ----

    def configure(self):
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write(SETTINGS.format(port=self.port, sockets=self.base))
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="utf-8") as f:
            f.write(HBA)
        self.cluster.give(self.data)

    def start(self, wait=True):
        assert not self.alive()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.cluster.binary("postgres"), "-D", self.data], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, cwd=self.base,
                **as_user(self.cluster.user))
        self.stopped = False
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=30):
        def ready():
            if self.process.poll() is not None:
                raise ClusterError(f"{self.name} did not start:\n{self.log_tail()}")
            try:
                return self.psql("select 1") == [(1,)]
            except psycopg2.Error:
                return False

        wait_until(ready, timeout, f"{self.name} accepts connections")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, mode="fast"):
        """mode: smart, fast or immediate, as pg_ctl."""
        if not self.alive():
            return
        self.sigcont()
        self.forget_connection()
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill9()

    def kill9(self):
        """The whole server at once, as when the machine loses power."""
        children = process_tree(self.process.pid)
        self.process.kill()
        for pid in children:
            signal_quietly(pid, signal.SIGKILL)
        self.process.wait()
        self.stopped = False
        self.forget_connection()

        def gone():
            return not any(runs(pid) for pid in children)

        wait_until(gone, 10, f"{self.name}'s processes are gone")

    def sigstop(self):
        """Accepts connections (the kernel does) but answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        for pid in process_tree(self.process.pid):
            signal_quietly(pid, signal.SIGSTOP)
        self.stopped = True

    def sigcont(self):
        if not self.stopped:
            return
        for pid in [*process_tree(self.process.pid), self.process.pid]:
            signal_quietly(pid, signal.SIGCONT)
        self.stopped = False

    # ---- SQL ----

    def connect(self, database="postgres", user="postgres"):
        """Past the proxy, over the private socket: no password."""
        connection = psycopg2.connect(host=self.base, port=self.port, dbname=database, user=user,
                                      connect_timeout=5,
                                      application_name="switchgear-test-observer")
        connection.autocommit = True
        return connection

    def forget_connection(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def psql(self, sql, database="postgres", parameters=None):
        """Runs SQL on this node as superuser and returns its rows ([] where there are none)."""
        if database != "postgres":
            connection = self.connect(database)
            try:
                return rows(connection, sql, parameters)
            finally:
                connection.close()
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
        try:
            return rows(self._connection, sql, parameters)
        except psycopg2.OperationalError:
            self.forget_connection()
            raise

    def set(self, name, value):
        """ALTER SYSTEM and reload; None resets."""
        if value is None:
            self.psql(f"alter system reset {name}")
        else:
            self.psql(f"alter system set {name} = %s", parameters=(value,))
        self.psql("select pg_reload_conf()")

    # ---- replication ----

    def is_replica(self):
        return self.psql("select pg_is_in_recovery()") == [(True,)]

    def pause_replay(self):
        self.psql("select pg_wal_replay_pause()")
        wait_until(lambda: self.psql("select pg_get_wal_replay_pause_state()") == [("paused",)],
                   what=f"{self.name} paused replay")

    def resume_replay(self):
        self.psql("select pg_wal_replay_resume()")

    def promote(self):
        self.promoted = True
        self.psql("select pg_promote(true, 30)")
        wait_until(lambda: not self.is_replica(), what=f"{self.name} left recovery")

    # ---- what it was asked to do ----

    def mark_log(self):
        self.log_mark = os.path.getsize(self.log_path)

    def saw(self, marker):
        """How many statements with `marker` in their text it ran since the test began."""
        with open(self.log_path, "rb") as f:
            f.seek(self.log_mark)
            text = f.read()
        pattern = rb"LOG:  (?:statement|execute [^:\n]*): (?:[^\n]|\n\t)*?" + re.escape(marker.encode())
        return len(re.findall(pattern, text))

    def log_tail(self, size=4000):
        with open(self.log_path, "rb") as f:
            return f.read()[-size:].decode(errors="replace")

    def statistics(self):
        """A snapshot of pg_stat_database of the test database. Backends that stay open report up
        to 10 s late: close them before counting."""
        columns = ("xact_commit", "xact_rollback", "tup_returned", "tup_fetched", "tup_inserted",
                   "tup_updated", "tup_deleted", "sessions")
        row = self.psql(f"select {', '.join(columns)} from pg_stat_database where datname = %s",
                        parameters=(APP_DATABASE,))[0]
        return dict(zip(columns, row))

    def backends(self, user=APP_USER):
        """Client backends of `user`: a list of (pid, state, query). Not the proxy's own, which ask
        what the database's names stand for."""
        return self.psql("select pid, state, query from pg_stat_activity "
                         "where backend_type = 'client backend' and usename = %s"
                         "  and application_name not in ('switchgear-test-observer', "
                         "                               'switchgear-catalog')",
                         parameters=(user,))


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
