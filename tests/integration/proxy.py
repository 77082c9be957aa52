# SPDX-License-Identifier: PostgreSQL
"""Runs one switchgear process in front of a Cluster, and looks after it.

A Proxy writes its configuration into a directory of its own, starts the program as an unprivileged
user, waits until it serves, and at the end insists that the process stopped by itself, with exit
code 0, and that no sanitizer and no assertion spoke.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import psycopg2

from cluster import (APP_DATABASE, APP_PASSWORD, APP_USER, PROBE_PASSWORD, PROBE_USER, as_user,
                     free_port, signal_quietly, wait_until)

ADMIN_USER, ADMIN_PASSWORD = "dba", "dba-secret"
STATS_USER, STATS_PASSWORD = "monitor", "monitor-secret"
USERS = {APP_USER: APP_PASSWORD, ADMIN_USER: ADMIN_PASSWORD, STATS_USER: STATS_PASSWORD}

BAD_WORDS = re.compile(r"Sanitizer|runtime error:|[Aa]ssertion .*failed|Assertion `", re.MULTILINE)

SANITIZERS = {
    "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "exitcode=66:second_deadlock_stack=1",
}

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class ProxyError(Exception):
    pass


def binary_path():
    return os.path.abspath(os.environ.get("SWITCHGEAR", os.path.join(ROOT, "build", "switchgear")))


def is_sanitized():
    with open(binary_path(), "rb") as f:
        return re.search(rb"__[at]san_init", f.read()) is not None


def install_binary(cluster):
    """A copy that the unprivileged user may run, wherever the build directory is."""
    source = binary_path()
    target = os.path.join(cluster.subdirectory("bin"), "switchgear")
    if not os.path.exists(target):
        if not os.access(source, os.X_OK):
            raise ProxyError(f"{source} is not there: build it, or set SWITCHGEAR")
        shutil.copyfile(source, target)
        os.chmod(target, 0o755)
    return target


def run_binary(cluster, *arguments, timeout=20, **environment):
    """Runs switchgear to its end as the unprivileged user: subprocess.CompletedProcess."""
    return subprocess.run(
        [install_binary(cluster), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=timeout, cwd=cluster.directory, env=child_environment(environment),
        **as_user(cluster.user))


def child_environment(extra):
    base = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "PG"))}
    return {**base, **SANITIZERS, **extra}


def ini_text(sections):
    """{section: {key: value}} as a file; a value of None leaves the key out."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
        lines.append("")
    return "\n".join(lines)


class Proxy:
    """options: one dict a section, merged over the defaults of these tests:
    switchgear, database, probe, breaker, nodes ({"r1": {"weight": 3}}); users: {name: secret};
    files: {name: text} beside the configuration; sections: more of them. unix_socket: listen there too.
    environment: a dict: start from it alone, without a file. sanitizer: further options of ASan's."""

    def __init__(self, cluster, name="proxy", environment=None, arguments=(), unix_socket=False,
                 sanitizer="", wrapper=(), **options):
        self.cluster = cluster
        self.directory = cluster.subdirectory(name)
        self.port = free_port()
        self.http_port = free_port()
        self.log_path = os.path.join(self.directory, "log")
        self.config_path = os.path.join(self.directory, "switchgear.ini")
        self.users_path = os.path.join(self.directory, "users.txt")
        self.sockets = os.path.join(self.directory, "sockets") if unix_socket else None
        self.environment = environment
        self.sanitizer = sanitizer
        self.arguments = list(arguments)
        self.options = options
        self.process = None
        self.exit_code = 0  # what stop() insists on
        self.wrapper = list(wrapper)  # a command that runs the proxy's
        self.waits_for_names = True
        self.connections = []

    # ---- configuration ----

    def sections(self):
        o = self.options
        result = {"switchgear": {
            "listen": f"127.0.0.1:{self.port}" + (f", unix:{self.sockets}" if self.sockets else ""),
            "admin_socket": self.directory,
            "http_listen": f"127.0.0.1:{self.http_port}", "workers": 2,
            "auth_type": "scram-sha-256", "auth_file": self.users_path,
            "admin_users": ADMIN_USER, "stats_users": STATS_USER, **o.get("switchgear", {})}}
        for node in self.cluster.nodes:
            result[f"node {node.name}"] = {"shard": "main", "host": node.host, "port": node.port,
                                           **o.get("nodes", {}).get(node.name, {})}
        result[f"database {APP_DATABASE}"] = {"shards": "main", "dbname": APP_DATABASE,
                                              "pool_size": 20, **o.get("database", {})}
        for name, keys in o.get("databases", {}).items():  # further ones
            result[f"database {name}"] = {"shards": "main", "dbname": APP_DATABASE,
                                           "pool_size": 20, **keys}
        result["probe"] = {"user": PROBE_USER, "password": PROBE_PASSWORD, "dbname": "postgres",
                           "interval": "200ms", "freshness_interval": "200ms",
                           **o.get("probe", {})}
        if o.get("breaker"):
            result["breaker"] = o["breaker"]
        if self.knows_hashes(result) and "server_passwordless" not in result["switchgear"]:
            result["switchgear"]["server_passwordless"] = "yes"  # how servers are met is the test's to say
        return {**result, **o.get("sections", {})}

    def knows_hashes(self, sections):
        """Is somebody known by a hash alone?"""
        return (any("auth_user" in keys for keys in sections.values())
                or any(s.startswith(("SCRAM-SHA-256$", "md5"))
                       for s in self.options.get("users", {}).values()))

    def write_config(self, **options):
        """Writes the file, with further options from now on."""
        for section, values in options.items():
            self.options[section] = {**self.options.get(section, {}), **values}
        self.write(self.config_path, ini_text(self.sections()))
        for name, text in self.options.get("files", {}).items():
            self.write(os.path.join(self.directory, name), text)
        users = {**USERS, **self.options.get("users", {})}
        self.write(self.users_path, "".join(f'"{u}" "{s}"\n' for u, s in users.items()))

    def write(self, path, text):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        self.cluster.give(self.directory)

    # ---- life ----

    def start(self, wait=True):
        command = [install_binary(self.cluster), "serve"]
        if self.environment is None:
            self.write_config()
            command.append(self.config_path)
        else:
            command += ["--listen", f"127.0.0.1:{self.port}", "--http",
                        f"127.0.0.1:{self.http_port}", "--admin-socket", self.directory]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + command + self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, env=child_environment(
                    {"ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + self.sanitizer,
                     **(self.environment or {})}),
                start_new_session=True, **as_user(self.cluster.user))
        if wait:
            self.wait_listening()
            self.wait_ready()
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def insist_alive(self):
        if not self.alive():
            raise ProxyError(f"switchgear ended with {self.process.returncode}:\n{self.log_tail()}")

    def wait_listening(self, timeout=15):
        admin = os.path.join(self.directory, f".s.PGSQL.{self.port}")

        def accepts():
            self.insist_alive()
            with socket.socket() as s, socket.socket(socket.AF_UNIX) as u:
                return s.connect_ex(("127.0.0.1", self.port)) == 0 and u.connect_ex(admin) == 0

        wait_until(accepts, timeout, "switchgear listens")

    def wait_ready(self, timeout=45):
        """Until every node that lives is CLOSED with its gate open and fresh evidence. A breaker on
        trial wants client reads before it closes: they are driven here."""
        def ready():
            self.insist_alive()
            states = self.nodes().values()
            if any(n["breaker"] == "HALF_OPEN" for n in states):
                self.drive(20)
            return all(self.is_ready(n) for n in states)

        try:
            wait_until(ready, timeout, "all nodes are CLOSED and fresh", 0.05)
        except Exception as error:
            raise ProxyError(f"{error}\n{self.nodes()}\n{self.log_tail()}") from error

    @staticmethod
    def is_ready(node):
        fresh = node["fresh_ms_ago"] not in (None, "") and float(node["fresh_ms_ago"]) < 5000
        return node["breaker"] == "CLOSED" and not node["breaker_reason"] and (
            fresh or node["role"] == "primary")

    def drive(self, count):
        """A few statements for replicas and for the primary, so that a trial gets its traffic."""
        connection = self.connect()
        try:
            for _ in range(count):
                rows_of(connection, "select 1")
                rows_of(connection, "select pg_is_in_recovery()")
        finally:
            connection.close()

    def stop(self):
        """Ends the process and complains about whatever went wrong in its life."""
        for connection in self.connections:
            try:
                connection.close()
            except psycopg2.Error:
                pass
        self.connections = []
        if self.process is None:
            return
        slow = not self.end()
        code = self.process.returncode
        log = self.log_text()
        self.process = None
        found = BAD_WORDS.search(log)
        if found:
            raise ProxyError(f"switchgear's log has {found.group()!r}:\n{log[found.start():][:6000]}")
        if slow:
            raise ProxyError(f"switchgear did not stop on SIGTERM:\n{log[-4000:]}")
        if code != self.exit_code:
            raise ProxyError(f"switchgear ended with {code}, not {self.exit_code}:\n{log[-4000:]}")

    def end(self):
        """True when a single SIGTERM was enough."""
        for number, seconds in ((signal.SIGTERM, 15), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            signal_quietly(self.process.pid, number)
            try:
                self.process.wait(seconds)
                return number == signal.SIGTERM
            except subprocess.TimeoutExpired:
                continue
        return False

    def signal(self, number):
        self.process.send_signal(number)

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_tail(self):
        return self.log_text()[-4000:]

    # ---- clients ----

    def dsn(self, user=APP_USER, password=APP_PASSWORD, database=APP_DATABASE, options=""):
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}{options}"

    def connect(self, autocommit=True, **parameters):
        """A psycopg2 connection, closed at the latest when the proxy stops."""
        values = {"host": "127.0.0.1", "port": self.port, "user": APP_USER,
                  "password": APP_PASSWORD, "dbname": APP_DATABASE, "connect_timeout": 10,
                  "sslmode": "disable", "gssencmode": "disable", **parameters}
        connection = psycopg2.connect(**values)
        connection.autocommit = autocommit
        self.connections.append(connection)
        if self.waits_for_names and values["dbname"] == APP_DATABASE:
            self.wait_names(connection)
        return connection

    def wait_names(self, connection):
        """Until the connection's worker knows what the database's names stand for. Reads go to the
        primary before that, and behind DDL."""
        def known():
            return rows_of(connection, "explain (route) table t")[0][2] == "read"
        autocommit, connection.autocommit = connection.autocommit, True
        try:
            wait_until(known, 5, "the names are known", 0.02)
        except Exception:  # no node answers, or all are nonsense: some tests are about that
            self.waits_for_names = False
        finally:
            if connection.closed == 0:
                connection.autocommit = autocommit

    def refusal(self, **parameters):
        """What the attempt to connect ends with; None: it succeeds."""
        try:
            self.connect(**parameters).close()
        except psycopg2.OperationalError as error:
            return str(error)
        return None

    def connect_admin(self, user=None, password=None, database="switchgear"):
        """Over the admin socket as the user who runs the tests, or over TCP with a password."""
        if user is None:
            return self.connect(host=self.directory, user="admin", password="", dbname=database)
        return self.connect(user=user, password=password, dbname=database)

    def admin(self, sql, user=None, password=None):
        """Runs one admin command: a list of dicts, in the order of the columns."""
        connection = self.connect_admin(user, password)
        try:
            return dicts_of(connection, sql)
        finally:
            self.connections.remove(connection)
            connection.close()

    def nodes(self):
        """SHOW NODES by name."""
        return {row["node"]: row for row in self.admin("SHOW NODES")}

    def breaker(self, name):
        return self.nodes()[name]["breaker"]

    def wait_breaker(self, name, state, timeout=15, drive=True):
        """Waits for a breaker's state, with reads that give a trial its traffic."""
        def reached():
            now = self.breaker(name)
            if now == "HALF_OPEN" and drive:
                self.drive(20)
            return now == state

        wait_until(reached, timeout, f"breaker of {name} is {state}", 0.05)

    def routes(self):
        """SHOW ROUTES as {(target, verdict, reason): count}, of the test database."""
        result = {}
        for row in self.admin("SHOW ROUTES"):
            if row["database"] == APP_DATABASE:
                key = (row["target"], row["verdict"], row["reason"])
                result[key] = result.get(key, 0) + int(row["count"])
        return result

    def routed_to(self, target, verdict=None):
        return sum(count for (t, v, _), count in self.routes().items()
                   if t == target and verdict in (None, v))

    # ---- HTTP ----

    def http(self, path, accept=None):
        """(status, content type, text)"""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}",
                                         headers={"Accept": accept} if accept else {})
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, reply.headers.get("Content-Type", ""), reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Content-Type", ""), error.read().decode()

    def http_json(self, path):
        status, _, text = self.http(path)
        return status, json.loads(text)

    def metrics(self):
        """A list of (name, labels, value)."""
        return parse_metrics(self.http("/metrics")[2])

    def metric(self, name, **labels):
        """The sum over all samples of `name` that carry these labels."""
        return sum(value for n, found, value in self.metrics()
                   if n == name and labels.items() <= found.items())


SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: [0-9.]+)?(?: # .*)?$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def parse_metrics(text):
    samples = []
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        found = SAMPLE.match(line)
        if not found:
            raise ProxyError(f"not a sample: {line!r}")
        name, labels, value = found.groups()
        if LABEL.sub("", labels or ""):
            raise ProxyError(f"bad labels: {line!r}")
        samples.append((name, dict(LABEL.findall(labels or "")), float(value)))
    return samples


def rows_of(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def one(connection, sql, parameters=None):
    """The single value of a single row."""
    return rows_of(connection, sql, parameters)[0][0]


def dicts_of(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        if not cursor.description:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def last_route(connection):
    """SHOW switchgear.last_route: node, role, verdict, reason, lag_ms."""
    return dicts_of(connection, "SHOW switchgear.last_route")[0]


class Load:
    """Threads that run `work(connection, index)` again and again until stop(); errors are kept."""

    def __init__(self, proxy, work, clients=4, pause=0.002):
        import threading
        self.work, self.pause = work, pause
        self.errors, self.durations = [], []
        self.lock = threading.Lock()
        self.ending = threading.Event()
        connections = [proxy.connect() for _ in range(clients)]
        self.threads = [threading.Thread(target=self.run, args=(c, i), daemon=True)
                        for i, c in enumerate(connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, connection, index):
        while not self.ending.is_set():
            began = time.monotonic()
            try:
                self.work(connection, index)
            except psycopg2.Error as error:
                with self.lock:
                    self.errors.append((error.pgcode, str(error).strip()))
                if connection.closed:
                    return
            with self.lock:
                self.durations.append(time.monotonic() - began)
            time.sleep(self.pause)

    @property
    def done(self):
        return len(self.durations)

    @property
    def slowest(self):
        return max(self.durations, default=0.0)

    def p99(self):
        """In seconds."""
        durations = sorted(self.durations)
        return durations[len(durations) * 99 // 100]

    def stop(self, timeout=30):
        self.ending.set()
        for thread in self.threads:
            thread.join(timeout)
        if any(thread.is_alive() for thread in self.threads):
            self.errors.append((None, "a client hangs"))
