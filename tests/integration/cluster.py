# SPDX-License-Identifier: PostgreSQL
"""A real PostgreSQL primary with streaming replicas, ready in seconds.

Happy path: initdb, start, pg_basebackup per replica, start, create the database. Nodes live in one
temporary directory that goes when the cluster stops. Nothing is synced to disk: a machine that
crashes loses the cluster, a process that is killed loses nothing.

What the tests need of single servers and of the machine is in node.py, and comes through here.
"""
import os
import shutil
import subprocess
import tempfile

# The others of these are for those who import from here.
from node import (APP_DATABASE, APP_PASSWORD, APP_USER, PROBE_PASSWORD, PROBE_USER, as_user,
                  ClusterError, free_port, Node, postgres_bindir, signal_quietly,
                  unprivileged_user, wait_until)


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

    def wait_running(self, text, count=1, timeout=15):
        """Until so many statements with this text run, wherever."""
        wait_until(lambda: sum(state == "active" and text in sql for node in self.nodes
                               if node.alive() and not node.stopped
                               for _, state, sql in node.backends()) >= count,
                   timeout, f"{count} x {text} run")

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
