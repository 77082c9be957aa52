# SPDX-License-Identifier: PostgreSQL
"""A real PostgreSQL primary with streaming replicas, ready in seconds.

Happy path: initdb, start, pg_basebackup per replica, start, create the database. Nodes live in one
temporary directory that goes when the cluster stops. Nothing is synced to disk: a machine that
crashes loses the cluster, a process that is killed loses nothing.

PostgreSQL refuses to run as root, so under root every server runs as an unprivileged user.
"""
import glob
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import psycopg2

APP_USER, APP_PASSWORD, APP_DATABASE = "app", "app-secret", "app"
PROBE_USER, PROBE_PASSWORD = "prober", "probe-secret"

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
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


_given_ports = set()


def free_port():
    """A port of 127.0.0.1 that nobody uses and that we have not given away before. Below those that
    the kernel gives to outgoing connections: one of these could take it before its server does."""
    while True:
        port = random.randrange(12000, 32000)
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
            return not any(os.path.exists(f"/proc/{pid}") for pid in children)

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
        """Client backends of `user`: a list of (pid, state, query)."""
        return self.psql("select pid, state, query from pg_stat_activity "
                         "where backend_type = 'client backend' and usename = %s"
                         "  and application_name <> 'switchgear-test-observer'",
                         parameters=(user,))


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


class Cluster:
    """primary, replicas, all nodes; `with Cluster() as c:` or start() and stop()."""

    def __init__(self, replicas=2):
        self.bindir = postgres_bindir()
        if self.bindir is None:
            raise ClusterError("PostgreSQL's server programs were not found")
        self.user = unprivileged_user()
        self.directory = tempfile.mkdtemp(prefix="switchgear-", dir="/tmp")
        self.give(self.directory)
        self.primary = Node(self, "p1", self.subdirectory("p1"))
        self.replicas = [Node(self, f"r{i}", self.subdirectory(f"r{i}"))
                         for i in range(1, replicas + 1)]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def nodes(self):
        return [self.primary, *self.replicas]

    def node(self, name):
        return next(n for n in self.nodes if n.name == name)

    def binary(self, name):
        return os.path.join(self.bindir, name)

    def give(self, path):
        """Makes `path` and all below it the unprivileged user's."""
        if os.getuid() != 0:
            return
        os.chown(path, self.user.pw_uid, self.user.pw_gid)
        for base, directories, files in os.walk(path):
            for name in directories + files:
                os.lchown(os.path.join(base, name), self.user.pw_uid, self.user.pw_gid)

    def subdirectory(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        self.give(path)
        return path

    def run(self, *arguments, **environment):
        """Runs one of PostgreSQL's programs as the unprivileged user; raises with its output."""
        done = subprocess.run(
            [self.binary(arguments[0]), *arguments[1:]], cwd=self.directory, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            env={**os.environ, "LC_ALL": "C", "HOME": self.directory, **environment},
            **as_user(self.user))
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    # ---- start and stop ----

    def start(self):
        self.run("initdb", "-D", self.primary.data, "-U", "postgres", "-A", "trust", "-N",
                 "-E", "UTF8", "--locale=C")
        self.primary.configure()
        self.primary.start()
        for replica in self.replicas:
            self.clone(replica)
        self.create_database()
        self.wait_replicated()

    def stop(self):
        for node in reversed(self.nodes):
            if node.alive():
                node.kill9()
        shutil.rmtree(self.directory, ignore_errors=True)

    def clone(self, replica):
        """Makes `replica` anew from the primary and starts it."""
        slot = f"slot_{replica.name}"
        shutil.rmtree(replica.data, ignore_errors=True)
        for (name,) in self.primary.psql("select slot_name from pg_replication_slots "
                                         "where slot_name = %s", parameters=(slot,)):
            wait_until(lambda: self.primary.psql("select active from pg_replication_slots where "
                                                 f"slot_name = '{slot}'") == [(False,)],
                       what=f"{slot} is free")
            self.primary.psql("select pg_drop_replication_slot(%s)", parameters=(name,))
        self.run("pg_basebackup", "-h", self.primary.base, "-p", str(self.primary.port),
                 "-U", "postgres", "-D", replica.data, "-R", "-X", "stream", "-C", "-S", slot,
                 "-c", "fast", "-N")
        replica.configure()
        replica.promoted = False
        replica.start()

    def create_database(self):
        p = self.primary
        p.psql(f"create role {APP_USER} login password '{APP_PASSWORD}'")
        p.psql(f"create role {PROBE_USER} login password '{PROBE_PASSWORD}' in role pg_monitor")
        p.psql(f"create database {APP_DATABASE} owner {APP_USER}")
        p.psql("grant all on schema public to public", APP_DATABASE)
        self.run("pgbench", "-i", "-q", "-s", "1", "-h", p.base, "-p", str(p.port), "-U", APP_USER,
                 APP_DATABASE)
        connection = p.connect(APP_DATABASE, APP_USER)
        try:
            with connection.cursor() as cursor:
                cursor.execute("create table t (id int primary key, v int)")
                cursor.execute("insert into t select i, 0 from generate_series(1, 100) i")
                cursor.execute("create table log (id serial primary key, note text)")
                cursor.execute("create unlogged table scratch (id int)")
                cursor.execute("create sequence ticket")
                # Declared stable, yet it writes: text and catalog both say "read", a standby does not.
                cursor.execute("create function stable_liar(n text) returns int language plpgsql stable "
                               "as $$ begin perform do_note(n); return 1; end $$")
                cursor.execute("create function do_note(n text) returns int language plpgsql volatile as "
                               "$$ begin insert into log (note) values (n); return 1; end $$")
                cursor.execute("create procedure note(n text) language sql as "
                               "$$ insert into log (note) values (n) $$")
        finally:
            connection.close()

    # ---- state ----

    def wait_replicated(self, timeout=20):
        """Until every living replica has replayed all that the primary has written."""
        lsn = self.primary.psql("select pg_current_wal_lsn()")[0][0]
        for replica in self.replicas:
            if not replica.alive() or replica.promoted:
                continue
            wait_until(lambda r=replica: r.psql(
                "select pg_last_wal_replay_lsn() >= %s::pg_lsn", parameters=(lsn,)) == [(True,)],
                timeout, f"{replica.name} replayed {lsn}")

    def heal(self):
        """Brings every node back to where it was after start(). Cheap when all is well."""
        for node in self.nodes:
            node.sigcont()
        if any(r.promoted for r in self.replicas):
            self.rebuild()
            return
        for node in self.nodes:
            if not node.alive():
                node.start()
        for replica in self.replicas:
            replica.psql("select pg_wal_replay_resume()")
            if replica.psql("select setting from pg_settings "
                            "where name = 'recovery_min_apply_delay'") != [("0",)]:
                replica.set("recovery_min_apply_delay", None)
        self.wait_replicated()

    def rebuild(self):
        """After a promotion: the old primary is the primary again, the replicas are made anew."""
        for node in self.nodes:
            node.stop("immediate")
        self.primary.start()
        for replica in self.replicas:
            self.clone(replica)
        self.wait_replicated()

    def mark_logs(self):
        for node in self.nodes:
            node.mark_log()

    def saw(self, marker):
        """{node name: statements with this marker}, of the nodes that saw any."""
        counts = {node.name: node.saw(marker) for node in self.nodes}
        return {name: count for name, count in counts.items() if count}
